//! Which etcd this server says it is.

use std::fmt;
use std::str::FromStr;

/// The version of etcd's API that clients read in `Status`, `/version` and the metrics. Several
/// of them refuse or degrade below 3.5.13 or 3.6, and cannot read anything that is not three
/// numbers; it says nothing about Synod's own version.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ApiVersion {
    minor: u16,
    patch: u16,
}

impl ApiVersion {
    /// As a cluster announces it, and as its storage is called: without the patch level.
    #[must_use]
    pub const fn of_cluster(self) -> Self {
        Self { patch: 0, ..self }
    }
}

impl Default for ApiVersion {
    /// The contract that this server was built and recorded against.
    fn default() -> Self {
        Self { minor: 6, patch: 4 }
    }
}

impl fmt::Display for ApiVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "3.{}.{}", self.minor, self.patch)
    }
}

/// The text is not a version that etcd's clients could read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InvalidApiVersion;

impl fmt::Display for InvalidApiVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("not a version that etcd's clients read: write 3.MINOR.PATCH, as 3.6.4")
    }
}

impl std::error::Error for InvalidApiVersion {}

impl FromStr for ApiVersion {
    type Err = InvalidApiVersion;

    fn from_str(text: &str) -> Result<Self, InvalidApiVersion> {
        let number = |part: &str| -> Result<u16, InvalidApiVersion> {
            // The standard's parser takes a sign.
            let plain = part.bytes().all(|byte| byte.is_ascii_digit());
            part.parse().ok().filter(|_| plain).ok_or(InvalidApiVersion)
        };
        let mut parts = text.split('.');
        let (Some("3"), Some(minor), Some(patch), None) =
            (parts.next(), parts.next(), parts.next(), parts.next())
        else {
            return Err(InvalidApiVersion);
        };
        Ok(Self {
            minor: number(minor)?,
            patch: number(patch)?,
        })
    }
}

#[cfg(test)]
mod tests;

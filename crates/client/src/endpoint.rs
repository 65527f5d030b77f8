//! Where a member is.

use http::Uri;
use http::uri::{Authority, Scheme};
use std::fmt;
use std::path::PathBuf;

/// The text does not name an endpoint.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InvalidEndpoint {
    /// The text.
    pub endpoint: String,
    /// What is wrong with it.
    pub reason: &'static str,
}

impl fmt::Display for InvalidEndpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`{}`: {}", self.endpoint, self.reason)
    }
}

impl std::error::Error for InvalidEndpoint {}

/// Where to connect, and what requests say of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Address {
    /// Scheme and authority of the requests.
    pub(crate) origin: Uri,
    /// The socket of this machine to connect to, instead of the authority.
    pub(crate) socket: Option<PathBuf>,
}

/// Reads `http://HOST:PORT`, `HOST:PORT` or `unix://PATH`.
pub(crate) fn address(text: &str) -> Result<Address, InvalidEndpoint> {
    let invalid = |reason| InvalidEndpoint {
        endpoint: text.to_owned(),
        reason,
    };
    if let Some(path) = text.trim().strip_prefix("unix://") {
        if path.is_empty() {
            return Err(invalid("the path is missing"));
        }
        return Ok(Address {
            // The other side has no name: it is on this machine.
            origin: Uri::from_static("http://localhost/"),
            socket: Some(PathBuf::from(path)),
        });
    }
    let trimmed = text.trim().trim_end_matches('/');
    let authority = match trimmed.split_once("://") {
        None => trimmed,
        Some(("http", authority)) => authority,
        Some(("https", _)) => return Err(invalid("TLS is not supported yet; use http")),
        Some(_) => return Err(invalid("the scheme must be http or unix")),
    };
    let authority: Authority = authority
        .parse()
        .map_err(|_| invalid("must be http://HOST:PORT"))?;
    if authority.port_u16().is_none() {
        return Err(invalid("the port is missing"));
    }
    let origin = Uri::builder()
        .scheme(Scheme::HTTP)
        .authority(authority)
        .path_and_query("/")
        .build()
        .map_err(|_| invalid("must be http://HOST:PORT"))?;
    Ok(Address {
        origin,
        socket: None,
    })
}

#[cfg(test)]
mod tests;

//! Where a member is.

use http::Uri;
use http::uri::{Authority, Scheme};
use std::fmt;

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

/// Reads `http://HOST:PORT` or `HOST:PORT`.
pub(crate) fn origin(text: &str) -> Result<Uri, InvalidEndpoint> {
    let invalid = |reason| InvalidEndpoint {
        endpoint: text.to_owned(),
        reason,
    };
    let trimmed = text.trim().trim_end_matches('/');
    let authority = match trimmed.split_once("://") {
        None => trimmed,
        Some(("http", authority)) => authority,
        Some(("https", _)) => return Err(invalid("TLS is not supported yet; use http")),
        Some(_) => return Err(invalid("the scheme must be http")),
    };
    let authority: Authority = authority
        .parse()
        .map_err(|_| invalid("must be http://HOST:PORT"))?;
    if authority.port_u16().is_none() {
        return Err(invalid("the port is missing"));
    }
    Uri::builder()
        .scheme(Scheme::HTTP)
        .authority(authority)
        .path_and_query("/")
        .build()
        .map_err(|_| invalid("must be http://HOST:PORT"))
}

#[cfg(test)]
mod tests;

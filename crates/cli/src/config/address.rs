//! Addresses as people write them: of the network, or of this machine.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;

/// Where something is reached.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Address {
    /// `http://HOST:PORT`.
    Http(HttpUrl),
    /// `https://HOST:PORT`: not this member, but what stands before it.
    Https(HttpUrl),
    /// `unix://PATH`: a socket of this machine.
    Unix(PathBuf),
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Http(url) => url.fmt(f),
            Self::Https(url) => write!(f, "https://{}:{}", url.host, url.port),
            Self::Unix(path) => write!(f, "unix://{}", path.display()),
        }
    }
}

/// An `http://` address without a path.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct HttpUrl {
    host: String,
    port: u16,
}

impl HttpUrl {
    /// The same host with another port.
    pub(crate) fn with_port(&self, port: u16) -> Self {
        Self {
            host: self.host.clone(),
            port,
        }
    }

    /// Where to listen.
    ///
    /// # Errors
    /// A sentence when the host is a name: which of its addresses to take would be a guess.
    pub(super) fn listen_address(&self) -> Result<SocketAddr, String> {
        if self.host == "localhost" {
            return Ok(SocketAddr::new(Ipv4Addr::LOCALHOST.into(), self.port));
        }
        let bare = self.host.trim_start_matches('[').trim_end_matches(']');
        let ip: IpAddr = bare.parse().map_err(|_| {
            format!(
                "`{}` is a name: listen on an IP address or on localhost",
                self.host
            )
        })?;
        Ok(SocketAddr::new(ip, self.port))
    }
}

impl fmt::Display for HttpUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "http://{}:{}", self.host, self.port)
    }
}

/// What a comma separates.
pub(super) fn list<T>(
    text: &str,
    one: impl Fn(&str) -> Result<T, String>,
) -> Result<Vec<T>, String> {
    text.split(',').map(|part| one(part.trim())).collect()
}

/// One `http://host:port`.
pub(crate) fn url(text: &str) -> Result<HttpUrl, String> {
    let (scheme, rest) = parts(text)?;
    match scheme {
        "http" => host_and_port(text, rest),
        "https" => Err(tls(text)),
        "unix" | "unixs" => Err(format!(
            "`{text}` is a socket of one machine: use http://HOST:PORT"
        )),
        other => Err(unknown(other)),
    }
}

/// One address to listen on.
pub(super) fn to_listen(text: &str) -> Result<Address, String> {
    match address(text)? {
        Address::Https(_) => Err(tls(text)),
        other @ (Address::Http(_) | Address::Unix(_)) => Ok(other),
    }
}

/// One address to tell clients. It may be that of a proxy that ends TLS.
pub(super) fn address(text: &str) -> Result<Address, String> {
    let (scheme, rest) = parts(text)?;
    match scheme {
        "http" => host_and_port(text, rest).map(Address::Http),
        "https" => host_and_port(text, rest).map(Address::Https),
        "unix" if rest.is_empty() => Err(format!("`{text}` has no path: write unix://PATH")),
        "unix" => Ok(Address::Unix(PathBuf::from(rest))),
        "unixs" => Err(format!(
            "`{text}` asks for TLS, which is not there yet: use unix://, which only this user reaches"
        )),
        other => Err(unknown(other)),
    }
}

fn tls(text: &str) -> String {
    format!("`{text}` asks for TLS, which is not there yet: use http://")
}

fn unknown(scheme: &str) -> String {
    format!("`{scheme}` is not a scheme known here: use http://")
}

fn parts(text: &str) -> Result<(&str, &str), String> {
    text.split_once("://")
        .ok_or_else(|| format!("`{text}` is not a URL: write http://HOST:PORT"))
}

fn host_and_port(text: &str, rest: &str) -> Result<HttpUrl, String> {
    let authority = rest.strip_suffix('/').unwrap_or(rest);
    if authority.contains(['/', '?', '#', '@']) {
        return Err(format!(
            "`{text}` has more than a host and a port: write http://HOST:PORT"
        ));
    }
    let Some((host, port)) = authority
        .rsplit_once(':')
        .filter(|(_, port)| !port.contains(']'))
    else {
        return Err(format!("`{text}` has no port: write http://HOST:PORT"));
    };
    if host.is_empty() {
        return Err(format!("`{text}` has no host: write http://HOST:PORT"));
    }
    if host.contains(':') && !(host.starts_with('[') && host.ends_with(']')) {
        return Err(format!("`{text}`: write an IPv6 address in brackets"));
    }
    let port = port
        .parse()
        .map_err(|_| format!("`{port}` is not a port, 0 to 65535"))?;
    Ok(HttpUrl {
        host: host.to_owned(),
        port,
    })
}

//! Values as people write them.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

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
    pub(crate) fn listen_address(&self) -> Result<SocketAddr, String> {
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

/// Comma-separated `http://host:port`.
pub(crate) fn urls(text: &str) -> Result<Vec<HttpUrl>, String> {
    text.split(',').map(|one| url(one.trim())).collect()
}

/// One `http://host:port`.
pub(crate) fn url(text: &str) -> Result<HttpUrl, String> {
    let Some((scheme, rest)) = text.split_once("://") else {
        return Err(format!("`{text}` is not a URL: write http://HOST:PORT"));
    };
    match scheme {
        "http" => {}
        "https" => {
            return Err(format!(
                "`{text}` asks for TLS, which is not there yet: use http://"
            ));
        }
        "unix" | "unixs" => {
            return Err(format!(
                "`{text}` is a local socket, not there yet: use http://"
            ));
        }
        other => return Err(format!("`{other}` is not a scheme known here: use http://")),
    }
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

/// A length of time as Go and etcd write it: `10m`, `1h30m`, `300ms`, `1.5s`.
pub(crate) fn duration(text: &str) -> Result<Duration, String> {
    let wrong = || format!("`{text}` is not a length of time: write 300ms, 5s, 10m or 1h30m");
    if text == "0" {
        return Ok(Duration::ZERO);
    }
    let mut rest = text;
    let mut nanos = 0_f64;
    while !rest.is_empty() {
        let digits = rest
            .find(|c: char| !c.is_ascii_digit() && c != '.')
            .ok_or_else(wrong)?;
        let number: f64 = rest[..digits].parse().map_err(|_| wrong())?;
        rest = &rest[digits..];
        let letters = rest
            .find(|c: char| c.is_ascii_digit() || c == '.')
            .unwrap_or(rest.len());
        let unit_ns = match &rest[..letters] {
            "ns" => 1.0,
            "us" | "µs" => 1e3,
            "ms" => 1e6,
            "s" => 1e9,
            "m" => 60e9,
            "h" => 3_600e9,
            _ => return Err(wrong()),
        };
        nanos += number * unit_ns;
        rest = &rest[letters..];
    }
    if text.is_empty() {
        return Err(wrong());
    }
    Duration::try_from_secs_f64(nanos / 1e9).map_err(|_| wrong())
}

/// A number of bytes: `1572864`, `2GiB`, `512MiB`, `1.5MiB`.
pub(crate) fn bytes(text: &str) -> Result<u64, String> {
    let wrong = || format!("`{text}` is not a number of bytes: write 1048576, 512MiB or 2GiB");
    let digits = text
        .find(|c: char| !c.is_ascii_digit() && c != '.')
        .unwrap_or(text.len());
    let unit: u32 = match text[digits..].trim_start() {
        "" | "B" => 0,
        "KiB" => 10,
        "MiB" => 20,
        "GiB" => 30,
        "TiB" => 40,
        _ => return Err(wrong()),
    };
    let (whole, fraction) = text[..digits]
        .split_once('.')
        .unwrap_or((&text[..digits], ""));
    let mut total = whole
        .parse::<u64>()
        .map_err(|_| wrong())?
        .checked_mul(1 << unit);
    if !fraction.is_empty() {
        let digits = u32::try_from(fraction.len()).map_err(|_| wrong())?;
        let part = fraction
            .parse::<u64>()
            .ok()
            .and_then(|part| part.checked_mul(1 << unit));
        let scale = 10_u64.checked_pow(digits);
        let part = part.zip(scale).map(|(part, scale)| part / scale);
        total = total
            .zip(part)
            .and_then(|(total, part)| total.checked_add(part));
    }
    total.ok_or_else(wrong)
}

/// A whole number in a range.
pub(crate) fn count(text: &str, least: u64, most: u64) -> Result<u64, String> {
    match text.parse::<u64>() {
        Ok(number) if (least..=most).contains(&number) => Ok(number),
        Ok(_) | Err(_) => Err(format!(
            "`{text}` is not a whole number from {least} to {most}"
        )),
    }
}

/// The candidate closest to `text`, if one is close enough to be a slip of the hand.
pub(crate) fn closest<'a>(
    text: &str,
    candidates: impl IntoIterator<Item = &'a str>,
) -> Option<&'a str> {
    let allowed = (text.chars().count() / 4).max(2);
    candidates
        .into_iter()
        .map(|candidate| (edit_distance(text, candidate), candidate))
        .filter(|(distance, _)| *distance <= allowed)
        .min()
        .map(|(_, candidate)| candidate)
}

/// Insertions, deletions and substitutions between two words (Levenshtein).
fn edit_distance(left: &str, right: &str) -> usize {
    let right: Vec<char> = right.chars().collect();
    let mut row: Vec<usize> = (0..=right.len()).collect();
    for (i, a) in left.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, b) in right.iter().enumerate() {
            let substituted = diagonal + usize::from(a != *b);
            diagonal = row[j + 1];
            row[j + 1] = substituted.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[right.len()]
}

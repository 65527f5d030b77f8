//! One request over HTTP/1.1, by hand, and the lines of JSON or text that answer it.

use crate::Outcome;
use std::time::Duration;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

/// Most of an answer that is read.
const ANSWER_BYTES_MAX: usize = 16 << 20;

/// What is sent.
#[derive(Clone, Debug, Default)]
pub(crate) struct Request<'a> {
    pub(crate) method: &'a str,
    pub(crate) path: &'a str,
    pub(crate) headers: Vec<(&'a str, &'a str)>,
    pub(crate) body: String,
    /// Hangs up after so many lines; otherwise the answer is read to its end.
    pub(crate) lines: Option<usize>,
}

/// What comes back.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Answer {
    pub(crate) status: String,
    pub(crate) content_type: String,
    pub(crate) body: String,
}

/// Asks once, on a connection of its own.
pub(crate) async fn exchange(
    endpoint: &str,
    request: &Request<'_>,
    within: Duration,
) -> Outcome<Answer> {
    let fail = |error: std::io::Error| format!("{} {}: {error}", request.method, request.path);
    let mut stream = TcpStream::connect(endpoint).await.map_err(fail)?;
    let mut head = format!(
        "{} {} HTTP/1.1\r\nhost: {endpoint}\r\nconnection: close\r\ncontent-length: {}\r\n",
        request.method,
        request.path,
        request.body.len()
    );
    for (name, value) in &request.headers {
        head.push_str(&format!("{name}: {value}\r\n"));
    }
    let whole = format!("{head}\r\n{}", request.body);
    stream.write_all(whole.as_bytes()).await.map_err(fail)?;
    let mut received = Vec::new();
    loop {
        let parsed = parse(&received)?;
        if let Some((answer, is_whole)) = &parsed {
            let lines = answer.body.lines().count();
            if *is_whole || request.lines.is_some_and(|wanted| lines >= wanted) {
                return Ok(answer.clone());
            }
        }
        if received.len() > ANSWER_BYTES_MAX {
            return Err(format!("an answer of more than {ANSWER_BYTES_MAX} bytes"));
        }
        let read = crate::play::within(within, stream.read_buf(&mut received)).await?;
        if read.map_err(fail)? == 0 {
            let (answer, _) = parsed.ok_or("the answer has no head")?;
            return Ok(answer);
        }
    }
}

/// What has been received so far, and whether that is all; nothing without a head.
fn parse(received: &[u8]) -> Outcome<Option<(Answer, bool)>> {
    let Some(end) = received.windows(4).position(|bytes| bytes == b"\r\n\r\n") else {
        return Ok(None);
    };
    let head = String::from_utf8_lossy(&received[..end]);
    let mut lines = head.split("\r\n");
    let status = lines.next().and_then(|line| line.split_once(' '));
    let (_, status) = status.ok_or("an answer has a status")?;
    let mut answer = Answer {
        status: status.to_owned(),
        ..Answer::default()
    };
    let (mut length, mut is_chunked) = (None, false);
    for line in lines {
        let (name, value) = line.split_once(':').unwrap_or((line, ""));
        match (name.to_ascii_lowercase().as_str(), value.trim()) {
            ("content-type", value) => answer.content_type = value.to_owned(),
            ("content-length", value) => length = value.parse::<usize>().ok(),
            ("transfer-encoding", "chunked") => is_chunked = true,
            _ => {}
        }
    }
    let rest = &received[end + 4..];
    let (body, is_whole) = if is_chunked {
        unchunk(rest)?
    } else {
        (rest.to_vec(), Some(rest.len()) == length)
    };
    answer.body = String::from_utf8(body).map_err(|_| "the answer is no text")?;
    Ok(Some((answer, is_whole)))
}

/// The content of all whole chunks, and whether the last has come.
fn unchunk(mut rest: &[u8]) -> Outcome<(Vec<u8>, bool)> {
    let mut body = Vec::new();
    loop {
        let Some(end) = rest.windows(2).position(|bytes| bytes == b"\r\n") else {
            return Ok((body, false));
        };
        let size = std::str::from_utf8(&rest[..end]).map_err(|_| "a chunk has a size")?;
        let size = usize::from_str_radix(size, 16).map_err(|_| "a chunk has a size")?;
        let Some(chunk) = rest.get(end + 2..end + 2 + size) else {
            return Ok((body, false));
        };
        if size == 0 {
            return Ok((body, true));
        }
        body.extend_from_slice(chunk);
        rest = rest.get(end + 4 + size..).unwrap_or_default();
    }
}

//! Words of a request, and bytes as printable text.

use crate::Outcome;
use bytes::Bytes;
use std::fmt::Write as _;

/// Runs of one byte longer than this are written as `x*N`.
const RUN_WRITTEN_OUT_MAX: usize = 32;

/// Splits a line at white space, except within braces.
pub(crate) fn split(line: &str) -> Outcome<Vec<&str>> {
    let mut words = Vec::new();
    let (mut depth, mut begin) = (0_usize, None);
    for (at, letter) in line.char_indices() {
        match letter {
            '{' => depth += 1,
            '}' => depth = depth.checked_sub(1).ok_or("a brace closes nothing")?,
            _ => {}
        }
        if letter.is_whitespace() && depth == 0 {
            words.extend(begin.take().map(|begin| &line[begin..at]));
        } else {
            begin.get_or_insert(at);
        }
    }
    words.extend(begin.map(|begin| &line[begin..]));
    if depth == 0 {
        Ok(words)
    } else {
        Err("a brace is not closed".into())
    }
}

/// Bytes from text: `\xNN`, `\0` and `\\` stand for one byte, `""` for none; `x*N` repeats.
pub(crate) fn bytes(text: &str) -> Outcome<Bytes> {
    if text == "\"\"" {
        return Ok(Bytes::new());
    }
    let repeated = text.rsplit_once('*').and_then(|(unit, times)| {
        let times: usize = times.parse().ok()?;
        Some((unit, times))
    });
    let (unit, times) = repeated.unwrap_or((text, 1));
    Ok(unescape(unit)?.repeat(times).into())
}

fn unescape(text: &str) -> Outcome<Vec<u8>> {
    let mut bytes = Vec::new();
    let mut letters = text.chars();
    while let Some(letter) = letters.next() {
        if letter != '\\' {
            bytes.extend_from_slice(letter.encode_utf8(&mut [0; 4]).as_bytes());
            continue;
        }
        match letters.next() {
            Some('0') => bytes.push(0),
            Some('\\') => bytes.push(b'\\'),
            Some('x') => {
                let digits: String = letters.by_ref().take(2).collect();
                let byte = u8::from_str_radix(&digits, 16);
                bytes.push(byte.map_err(|_| format!("\\x{digits} is no byte"))?);
            }
            other => return Err(format!("\\{other:?} is no escape")),
        }
    }
    Ok(bytes)
}

/// Text from bytes, such that [`bytes()`] reads it back and no white space or brace is in it.
pub(crate) fn text(bytes: &[u8]) -> String {
    if let Some(first) = bytes.first()
        && bytes.len() > RUN_WRITTEN_OUT_MAX
        && bytes.iter().all(|byte| byte == first)
    {
        return format!("{}*{}", escape(&[*first]), bytes.len());
    }
    escape(bytes)
}

fn escape(bytes: &[u8]) -> String {
    let mut text = String::new();
    for byte in bytes {
        match byte {
            0 => text.push_str("\\0"),
            b'\\' => text.push_str("\\\\"),
            b'{' | b'}' | b'"' | b'*' | b'=' => push_hex(&mut text, *byte),
            0x21..=0x7e => text.push(char::from(*byte)),
            _ => push_hex(&mut text, *byte),
        }
    }
    text
}

fn push_hex(text: &mut String, byte: u8) {
    write!(text, "\\x{byte:02x}").expect("a string takes everything");
}

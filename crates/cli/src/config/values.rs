//! Values as people write them.

use super::definition::Value;
use std::time::Duration;

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

/// A condition as Go's flags take it.
pub(crate) fn switch(text: &str) -> Result<bool, String> {
    match text {
        "true" | "TRUE" | "True" | "t" | "T" | "1" => Ok(true),
        "false" | "FALSE" | "False" | "f" | "F" | "0" => Ok(false),
        other => Err(format!("`{other}` is neither `true` nor `false`")),
    }
}

/// One of several words.
pub(crate) fn one_of(text: &str, words: &[&str]) -> Result<(), String> {
    if words.contains(&text) {
        return Ok(());
    }
    Err(match words {
        [one, other] => format!("`{text}` is neither `{one}` nor `{other}`"),
        _ => format!("`{text}` is none of {}", words.join(", ")),
    })
}

/// Whether the text has the form, whatever it says.
pub(super) fn check(form: Value, text: &str) -> Result<(), String> {
    match form {
        Value::Switch => switch(text).map(drop),
        Value::Count | Value::Millis | Value::Seconds => count(text, 0, u64::MAX)
            .map(drop)
            .map_err(|_| format!("`{text}` is not a whole number")),
        Value::Bytes => bytes(text).map(drop),
        Value::Duration => duration(text).map(drop),
        Value::OneOf(words) => one_of(text, words),
        Value::Text | Value::Path | Value::Urls | Value::Names | Value::Members => Ok(()),
    }
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

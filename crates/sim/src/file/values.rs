//! Values with units, in both directions: `5s`, `200ms`, `20%`, `500ppm`.

use super::Mistake;
use super::fields::{text, wrong};
use super::yaml::Node;
use std::fmt::Display;
use std::ops::{Range, RangeInclusive};
use std::str::FromStr;
use std::time::Duration;

/// Longest time that a file can name: a year.
const TIME_MAX: Duration = Duration::from_secs(366 * 86_400);

/// Units of time, with their nanoseconds, the largest first.
const UNITS: [(&str, i128); 6] = [
    ("h", 3_600_000_000_000),
    ("m", 60_000_000_000),
    ("s", 1_000_000_000),
    ("ms", 1_000_000),
    ("us", 1_000),
    ("ns", 1),
];

const TIME: &str = "a time such as 5s, 1.5s, 200ms, 30us or 2m";
const SHARE: &str = "a share such as 20%, 0.5% or 150ppm";

/// A decimal number with a sign, times `scale`; `None` unless the result is whole.
fn scaled(digits: &str, scale: i128) -> Option<i128> {
    let (sign, digits) = match digits.as_bytes().first()? {
        b'-' => (-1, &digits[1..]),
        b'+' => (1, &digits[1..]),
        _ => (1, digits),
    };
    let (whole, part) = digits.split_once('.').unwrap_or((digits, ""));
    let plain = |it: &str| it.len() <= 18 && it.bytes().all(|b| b.is_ascii_digit());
    if whole.is_empty() || digits.ends_with('.') || !plain(whole) || !plain(part) {
        return None;
    }
    let mut value = whole.parse::<i128>().ok()?.checked_mul(scale)?;
    if !part.is_empty() {
        let tens = 10_i128.checked_pow(u32::try_from(part.len()).ok()?)?;
        let share = part.parse::<i128>().ok()?.checked_mul(scale)?;
        if share % tens != 0 {
            return None;
        }
        value += share / tens;
    }
    Some(sign * value)
}

fn nanos(text: &str) -> Option<i128> {
    let unit = text.find(|c: char| c.is_ascii_alphabetic())?;
    let (digits, unit) = text.split_at(unit);
    let (_, scale) = UNITS.iter().find(|(name, _)| *name == unit)?;
    let nanos = scaled(digits, *scale)?;
    let most = i128::try_from(TIME_MAX.as_nanos()).ok()?;
    (nanos.abs() <= most).then_some(nanos)
}

/// A length of time.
pub(super) fn time(node: &Node) -> Result<Duration, Mistake> {
    nanos(text(node, TIME)?)
        .and_then(|nanos| u64::try_from(nanos).ok())
        .map(Duration::from_nanos)
        .ok_or_else(|| wrong(node, TIME))
}

/// A length of time with a sign, in whole milliseconds.
pub(super) fn shift_ms(node: &Node) -> Result<i64, Mistake> {
    const SHIFT: &str = "a time such as 5s, -3s or 200ms, in whole milliseconds";
    nanos(text(node, SHIFT)?)
        .filter(|nanos| nanos % 1_000_000 == 0)
        .and_then(|nanos| i64::try_from(nanos / 1_000_000).ok())
        .ok_or_else(|| wrong(node, SHIFT))
}

pub(super) fn show_time(time: Duration) -> String {
    let nanos = i128::try_from(time.as_nanos()).unwrap_or(i128::MAX);
    show_nanos(nanos)
}

/// In the largest unit, of seconds at most, of which it is a whole number.
fn show_nanos(nanos: i128) -> String {
    let units = UNITS.iter().skip(2);
    let (unit, scale) = units
        .into_iter()
        .find(|(_, scale)| nanos % scale == 0)
        .expect("every number of nanoseconds is whole");
    format!("{}{unit}", nanos / scale)
}

pub(super) fn show_shift_ms(by_ms: i64) -> String {
    show_nanos(i128::from(by_ms) * 1_000_000)
}

fn ppm(text: &str) -> Option<i128> {
    match text.strip_suffix('%') {
        Some(digits) => scaled(digits, 10_000),
        None => scaled(text.strip_suffix("ppm")?, 1),
    }
}

/// A share of all, in millionths.
pub(super) fn share(node: &Node) -> Result<u32, Mistake> {
    let read = ppm(text(node, SHARE)?).and_then(|it| u32::try_from(it).ok());
    read.filter(|ppm| *ppm <= 1_000_000)
        .ok_or_else(|| wrong(node, format!("{SHARE}, at most 100%")))
}

/// An error of a clock's rate, in millionths.
pub(super) fn rate(node: &Node) -> Result<i32, Mistake> {
    const RATE: &str = "a rate's error such as 5%, -2% or 150ppm, at least -100%";
    ppm(text(node, RATE)?)
        .and_then(|it| i32::try_from(it).ok())
        .filter(|ppm| *ppm >= -1_000_000)
        .ok_or_else(|| wrong(node, RATE))
}

pub(super) fn show_ppm(ppm: i64) -> String {
    if ppm % 1_000 == 0 && ppm != 0 {
        let (percents, tenths) = (ppm / 10_000, ppm % 10_000 / 1_000);
        match (tenths, percents) {
            (0, _) => format!("{percents}%"),
            (tenths, 0) if tenths < 0 => format!("-0.{}%", -tenths),
            (tenths, _) => format!("{percents}.{}%", tenths.abs()),
        }
    } else {
        format!("{ppm}ppm")
    }
}

/// A number within bounds.
pub(super) fn number<T>(node: &Node, bounds: RangeInclusive<T>) -> Result<T, Mistake>
where
    T: FromStr + PartialOrd + Display,
{
    let possible = || format!("a whole number from {} to {}", bounds.start(), bounds.end());
    let read: Option<T> = text(node, &possible())?.parse().ok();
    read.filter(|it| bounds.contains(it))
        .ok_or_else(|| wrong(node, possible()))
}

/// The bits of a byte, at least one, as `0x10` or `16`.
pub(super) fn mask(node: &Node) -> Result<u8, Mistake> {
    const MASK: &str = "bits of a byte, 0x01 to 0xff";
    let text = text(node, MASK)?;
    let read = match text.strip_prefix("0x") {
        Some(digits) if digits.bytes().all(|b| b.is_ascii_hexdigit()) => {
            u8::from_str_radix(digits, 16).ok()
        }
        Some(_) => None,
        None => text.parse().ok(),
    };
    read.filter(|mask| *mask != 0)
        .ok_or_else(|| wrong(node, MASK))
}

/// Numbers of operations: `7`, or `3..9` for those from 3 up to and without 9.
pub(super) fn range(node: &Node, below: u32) -> Result<Range<u32>, Mistake> {
    let possible = format!(
        "an operation's number such as 7, or several as 3..9 (without the 9), below {below}"
    );
    let text = text(node, &possible)?;
    let read = match text.split_once("..") {
        Some((start, end)) => start.parse().ok().zip(end.parse().ok()),
        None => text
            .parse()
            .ok()
            .map(|one: u32| (one, one.saturating_add(1))),
    };
    read.filter(|(start, end)| start < end && *end <= below)
        .map(|(start, end)| start..end)
        .ok_or_else(|| wrong(node, possible))
}

pub(super) fn show_range(range: &Range<u32>) -> String {
    if range.end == range.start + 1 {
        range.start.to_string()
    } else {
        format!("{}..{}", range.start, range.end)
    }
}

/// One of several names.
pub(super) fn one_of<T: Copy>(node: &Node, names: &[(&'static str, T)]) -> Result<T, Mistake> {
    let known: Vec<&str> = names.iter().map(|(name, _)| *name).collect();
    let possible = super::fields::or(&known);
    let found = text(node, &possible)?;
    let named = names.iter().find(|(name, _)| *name == found);
    named
        .map(|(_, value)| *value)
        .ok_or_else(|| wrong(node, possible))
}

//! Scenario files: a run as YAML that a person reads and writes.
//!
//! Faults are named by their effect, times carry their unit, members go by number or by role. The
//! same file is an experiment for real processes. Whatever a file says that is not understood is
//! refused with its place, what was found and what is possible: a field that is ignored would be
//! a fault that never comes.

mod fields;
#[cfg(test)]
mod manual;
mod read;
mod values;
mod write;
mod yaml;

pub use read::read;
pub(crate) use write::show_effect;
pub use write::write;

use std::fmt;

/// Largest file that is read, in bytes.
pub const FILE_BYTES_MAX: usize = 1 << 20;

/// Where something stands in a file, both from 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Position {
    /// The line.
    pub line: usize,
    /// The column, in characters.
    pub column: usize,
}

/// Why a file was refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mistake {
    /// Where.
    pub at: Position,
    /// What stands there, and what may.
    pub what: String,
}

impl Mistake {
    fn new(at: Position, what: impl fmt::Display) -> Self {
        let what = what.to_string();
        Self { at, what }
    }
}

/// `line:column: what`, so that the name of the file and a colon can stand before it.
impl fmt::Display for Mistake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: {}", self.at.line, self.at.column, self.what)
    }
}

impl std::error::Error for Mistake {}

/// The comment that a file begins with, without its signs: what a person says about it.
#[must_use]
pub fn prose(text: &str) -> String {
    let lines = text.lines().map_while(|line| line.strip_prefix('#'));
    let lines: Vec<&str> = lines
        .map(|line| line.strip_prefix(' ').unwrap_or(line))
        .collect();
    lines.join("\n").trim().to_owned()
}

#[cfg(test)]
mod tests;

//! What an option of `synod serve` is. The options themselves stand in [`super::options`].
//!
//! A row `listen-client-urls` is at once the flag `--listen-client-urls`, the environment names
//! `SYNOD_LISTEN_CLIENT_URLS` and `ETCD_LISTEN_CLIENT_URLS`, and the key of that name in the
//! configuration file. Parsing, the help text and `docs/reference/config.md` come from these rows.

use super::options::{OF_ETCD, OPTIONS};
use std::fmt;

/// One option.
#[derive(Debug)]
pub(crate) struct Definition {
    /// Its name: the flag without dashes in front.
    pub(crate) name: &'static str,
    /// What is written behind it.
    pub(crate) value: Value,
    /// The value it has when nobody sets it, as a person would write it; for options that Synod
    /// does not have, etcd's.
    pub(crate) default: &'static str,
    /// What it does, in one sentence; for options that do nothing, why.
    pub(crate) help: &'static str,
    /// What Synod makes of it.
    pub(crate) standing: Standing,
    /// Where help lists it.
    pub(crate) group: Group,
}

#[cfg(test)]
impl Definition {
    /// The environment name that etcd reads, too.
    pub(super) fn environment(&self) -> String {
        format!("ETCD_{}", self.name.to_ascii_uppercase().replace('-', "_"))
    }
}

/// What a value looks like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Value {
    /// `true` or `false`; a bare flag means `true`.
    Switch,
    /// Anything.
    Text,
    /// A file or a directory.
    Path,
    /// A whole number.
    Count,
    /// A number of bytes, with or without a unit.
    Bytes,
    /// Milliseconds, without a unit.
    Millis,
    /// Seconds, without a unit.
    Seconds,
    /// A length of time with its unit; in the file, nanoseconds without one.
    Duration,
    /// One or more addresses.
    Urls,
    /// One or more names.
    Names,
    /// Members with their addresses.
    Members,
    /// One of these.
    OneOf(&'static [&'static str]),
}

impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Switch => "true|false",
            Self::Text => "<text>",
            Self::Path => "<path>",
            Self::Count => "<count>",
            Self::Bytes => "<bytes>",
            Self::Millis => "<ms>",
            Self::Seconds => "<seconds>",
            Self::Duration => "<duration>",
            Self::Urls => "<url,…>",
            Self::Names => "<name,…>",
            Self::Members => "<name=url,…>",
            Self::OneOf(values) => return f.write_str(&values.join("|")),
        })
    }
}

/// What Synod makes of an option that an etcd operator may have set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Standing {
    /// It does what its help says.
    Works,
    /// It may be set to anything and changes nothing; the start says so.
    NoEffect,
    /// Only its default and the values listed here are accepted, because they ask for what happens
    /// anyway. Any other is refused: serving without what was asked for could cost data or
    /// secrecy.
    OnlyAs(&'static [&'static str]),
}

/// Chapters of the help text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Group {
    /// Name and place of the data.
    Member,
    /// Addresses.
    Addresses,
    /// The first start of a cluster.
    Cluster,
    /// Bounds.
    Limits,
    /// Intervals.
    Timing,
    /// What is served over HTTP beside gRPC.
    Http,
    /// Logs and files for other programs.
    Output,
    /// Accepted for etcd's sake.
    Etcd,
}

impl Group {
    /// The chapter's title.
    pub(crate) const fn title(self) -> &'static str {
        match self {
            Self::Member => "Member",
            Self::Addresses => "Addresses",
            Self::Cluster => "First start of a cluster",
            Self::Limits => "Limits",
            Self::Timing => "Timing",
            Self::Http => "HTTP",
            Self::Output => "Output",
            Self::Etcd => "etcd options without effect, or not there yet",
        }
    }
}

/// Every option, in the order of the help text.
pub(crate) fn all() -> impl Iterator<Item = &'static Definition> {
    OPTIONS.iter().chain(OF_ETCD)
}

/// The option of that name. Until etcd 3.6 some options began with `experimental-`.
pub(crate) fn find(name: &str) -> Option<&'static Definition> {
    let called = |name: &str| all().find(|option| option.name == name);
    called(name).or_else(|| called(name.strip_prefix("experimental-")?))
}

//! The three ends of a request: done, refused, unknown.

use std::fmt;
use synod_state::Invalid;
use synod_state::reply::Refusal;

/// Why a request was not done, or why nobody can say whether it was.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Failure {
    /// The request itself makes no sense. Nothing was done.
    Invalid(Invalid),
    /// The state refused it. Nothing was done.
    Refused(Refusal),
    /// It is larger than a request may be. Nothing was done.
    TooLarge,
    /// A lease's TTL is longer than any may be. Nothing was done.
    TtlTooLarge,
    /// Too many requests wait. Nothing was done; try again later.
    TooManyRequests,
    /// The disk or the quota has no room. Nothing was done.
    NoSpace,
    /// No leader was known until the deadline. Nothing was done.
    NoLeader,
    /// The deadline passed before the request got into the log. Nothing was done.
    TimedOut,
    /// The member stops, and did not take the request. Nothing was done.
    Stopped,
    /// The request may have been done, or may yet be.
    Unknown,
}

impl Failure {
    /// True if the request may have been done all the same.
    #[must_use]
    pub const fn is_unknown(&self) -> bool {
        match self {
            Self::Unknown => true,
            Self::Invalid(_)
            | Self::Refused(_)
            | Self::TooLarge
            | Self::TtlTooLarge
            | Self::TooManyRequests
            | Self::NoSpace
            | Self::NoLeader
            | Self::TimedOut
            | Self::Stopped => false,
        }
    }
}

impl From<Refusal> for Failure {
    fn from(refusal: Refusal) -> Self {
        match refusal {
            Refusal::NoSpace => Self::NoSpace,
            Refusal::Compacted(_)
            | Refusal::FutureRevision(_)
            | Refusal::KeyNotFound
            | Refusal::LeaseNotFound
            | Refusal::LeaseExists
            | Refusal::Corrupt
            | Refusal::TooManyAlarms => Self::Refused(refusal),
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Invalid(why) => write!(f, "invalid request: {why:?}"),
            Self::Refused(why) => write!(f, "refused: {why:?}"),
            Self::TooLarge => f.write_str("request is too large"),
            Self::TtlTooLarge => f.write_str("lease TTL is too large"),
            Self::TooManyRequests => f.write_str("too many requests wait"),
            Self::NoSpace => f.write_str("no space"),
            Self::NoLeader => f.write_str("no leader"),
            Self::TimedOut => f.write_str("timed out before it was begun"),
            Self::Stopped => f.write_str("the member has stopped"),
            Self::Unknown => f.write_str("unknown whether it was done"),
        }
    }
}

impl std::error::Error for Failure {}

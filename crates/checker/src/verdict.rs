//! How a judgement ends.

use crate::history::TimeNs;
use std::fmt;

/// Whether a history is one that a correct service could have made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It is.
    Ok,
    /// It is not, and this shows it.
    Violation(Violation),
    /// It could not be decided, for this reason. Never counts as a pass.
    Unknown(String),
}

impl Verdict {
    /// Both together: a violation counts most, then what could not be decided.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        match (self, other) {
            (violation @ Self::Violation(_), _) | (_, violation @ Self::Violation(_)) => violation,
            (Self::Unknown(one), Self::Unknown(other)) => Self::Unknown(format!("{one}; {other}")),
            (unknown @ Self::Unknown(_), Self::Ok) | (Self::Ok, unknown @ Self::Unknown(_)) => {
                unknown
            }
            (Self::Ok, Self::Ok) => Self::Ok,
        }
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ok => f.write_str("ok"),
            Self::Violation(violation) => write!(f, "violation of {violation}"),
            Self::Unknown(why) => write!(f, "unknown: {why}"),
        }
    }
}

/// A history breaks a promise.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// Which promise.
    pub property: Property,
    /// The time of the event that showed it.
    pub at: TimeNs,
    /// Which operations, what was expected, what was seen: for a person.
    pub witness: String,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} at {}: {}", self.property, self.at, self.witness)
    }
}

macro_rules! properties {
    ($($(#[doc = $meaning:literal])+ $name:ident = $text:literal,)+) => {
        /// What is promised, each judged on its own.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
        pub enum Property {
            $($(#[doc = $meaning])+ $name,)+
        }

        impl Property {
            /// All of them.
            pub const ALL: &'static [Self] = &[$(Self::$name,)+];

            /// Its name in reports and in files.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self {
                    $(Self::$name => $text,)+
                }
            }
        }
    };
}

properties! {
    /// Each revision is made once, by one write, without gaps among what is known.
    Revisions = "revisions",
    /// Operations take effect between invocation and return: none misses what had been seen.
    RealTime = "real-time",
    /// Every answer is what replaying the writes in the order of revisions gives.
    Replay = "replay",
    /// A read of a member's own state never shows less than the one before it.
    Session = "session",
    /// Each write takes effect at most once, and nothing does that nobody asked for.
    ExactlyOnce = "exactly-once",
    /// What was refused never took effect, and each refusal has its reason.
    ErrorHonesty = "error-honesty",
    /// History is readable from the compaction revision on, and not before it.
    Compaction = "compaction",
    /// Each key, taken alone, is a linearizable register.
    Linearizable = "linearizable",
    /// A watch tells changes in the order of revisions.
    WatchOrdered = "watch-ordered",
    /// A watch tells no change twice.
    WatchUnique = "watch-unique",
    /// A watch tells all changes of a revision together.
    WatchAtomic = "watch-atomic",
    /// A watch tells every change from its start on.
    WatchReliable = "watch-reliable",
    /// A watch goes on where it was interrupted, or says that it cannot.
    WatchResumable = "watch-resumable",
    /// A watch's progress is never ahead of what it has told.
    WatchBookmarkable = "watch-bookmarkable",
    /// A watch tells the pair before each change.
    WatchPrevKv = "watch-prev-kv",
    /// A watch tells only what was asked for.
    WatchFilter = "watch-filter",
    /// What a watch tells did happen.
    WatchTrue = "watch-true",
    /// No lease ends before its time by true time.
    LeaseNotEarly = "lease-not-early",
    /// Nobody believes in a lease that may have ended.
    LeaseBelief = "lease-belief",
    /// A lease that nobody renews ends.
    LeaseEnds = "lease-ends",
    /// Operations and leases fit together: attached keys live and die with their lease.
    LeaseTable = "lease-table",
    /// Nobody acts as a lock's holder after the next holder has.
    LockExclusive = "lock-exclusive",
    /// Members with equal index have equal state, and one member leads each reign.
    Agreement = "agreement",
    /// What was acknowledged is still there, or what came after it.
    Durability = "durability",
    /// A healed service serves again within the bound.
    Liveness = "liveness",
}

impl fmt::Display for Property {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

//! What came of a run.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;
use synod_env::sim::Fingerprint;

/// What came of a run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    /// Whether everything held.
    pub verdict: Verdict,
    /// Of everything that happened: equal for equal runs only.
    pub fingerprint: Fingerprint,
    /// How much true time passed in the world.
    pub virtual_time: Duration,
    /// How many events happened in the world.
    pub events: u64,
    /// How clients' operations ended.
    pub operations: Operations,
    /// How often each fault had an effect: a message lost, a crash with something unsynced. A
    /// fault that was only scheduled is not in here.
    pub faults_bitten: BTreeMap<&'static str, u64>,
    /// How often places that are hard to reach were reached.
    pub marks: BTreeMap<&'static str, u64>,
}

/// Whether everything that is promised held in a run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It did.
    Passed,
    /// It did not.
    Violation {
        /// What was promised.
        property: String,
        /// What shows that it does not hold.
        witness: String,
    },
    /// It cannot be told.
    Unknown {
        /// Why not.
        why: String,
    },
}

impl Verdict {
    /// True only if everything held.
    #[must_use]
    pub const fn passed(&self) -> bool {
        match self {
            Self::Passed => true,
            Self::Violation { .. } | Self::Unknown { .. } => false,
        }
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Passed => f.write_str("passed"),
            Self::Violation { property, witness } => {
                write!(f, "violation of {property}: {witness}")
            }
            Self::Unknown { why } => write!(f, "unknown: {why}"),
        }
    }
}

/// How clients' operations ended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Operations {
    /// Done.
    pub done: u64,
    /// Certainly not done.
    pub refused: u64,
    /// Nobody can say.
    pub unknown: u64,
}

impl Operations {
    /// All of them.
    #[must_use]
    pub const fn total(self) -> u64 {
        self.done + self.refused + self.unknown
    }
}

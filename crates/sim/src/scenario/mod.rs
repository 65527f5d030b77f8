//! What a run is made of, as plain data: members, limits, clients, faults.
//!
//! A scenario together with the commit it runs on decides everything that happens: two runs of it
//! have the same fingerprint. Everything in it can be taken away or made smaller on its own, which
//! is how a failure shrinks: what one client does is a function of the workload's seed, the
//! client's number and the operation's number, so that dropping some leaves the others as they
//! are; and the schedule has a seed of its own.

mod effect;
mod limit;
mod swarm;

pub use effect::{
    ClockEffect, DiskEffect, DiskOperation, Effect, Link, LinkEffect, Ppm, ProcessEffect, Who,
};
pub use limit::{Limit, limits};

use std::collections::BTreeMap;
use std::ops::Range;
use std::time::Duration;

/// A run: what it consists of, what goes wrong in it, and what it must still do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Scenario {
    /// For people.
    pub name: String,
    /// Decides the schedule: the order of tasks, delays, what of an unsynced write survives.
    pub seed: u64,
    /// How many members: 1, 3 or 5.
    pub members: u32,
    /// What the world may do at all.
    pub model: Model,
    /// Bounds other than the default. Usually smaller ones, so that every queue is full at times.
    pub limits: BTreeMap<Limit, u64>,
    /// What clients ask.
    pub workload: Workload,
    /// What goes wrong, in no particular order.
    pub faults: Vec<Fault>,
    /// How long, in true time from the start, before everything heals.
    pub run: Duration,
    /// What must hold afterwards.
    pub expect: Expect,
}

impl Scenario {
    /// A cluster that nobody asks for anything and nothing happens to.
    #[must_use]
    pub fn idle(members: u32, run: Duration) -> Self {
        Self {
            name: "idle".to_owned(),
            seed: 1,
            members,
            model: Model {
                timing: Timing::PartiallySynchronous,
                failure: FailureModel::CrashRecovery,
            },
            limits: BTreeMap::new(),
            workload: Workload {
                seed: 1,
                clients: Vec::new(),
            },
            faults: Vec::new(),
            run,
            expect: Expect::default(),
        }
    }
}

/// The system model: what the world may do at all (Dwork, Lynch, Stockmeyer, JACM 1988;
/// Cristian, CACM 1991).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Model {
    /// What is known of delays.
    pub timing: Timing,
    /// How members fail.
    pub failure: FailureModel,
}

/// What is known of how long messages and steps take.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Timing {
    /// Always within bounds that the members' timeouts allow for: nobody is ever suspected wrongly.
    Synchronous,
    /// Within bounds once everything has healed, not before.
    PartiallySynchronous,
    /// Never known: long delays go on after everything else has healed.
    Asynchronous,
}

/// How members fail.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum FailureModel {
    /// A member that stops stays away: a minority of them at most.
    CrashStop,
    /// A member that stops comes back with what its disk kept.
    CrashRecovery,
    /// Members run on, but messages are lost.
    Omission,
    /// A minority's messages are altered on their way.
    Byzantine,
}

/// What clients ask.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Workload {
    /// Decides what each operation is.
    pub seed: u64,
    /// One machine each; the first is client 0.
    pub clients: Vec<ClientPlan>,
}

/// What one client asks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientPlan {
    /// Its kind of operations.
    pub kind: ClientKind,
    /// How many. They have the numbers from 0.
    pub operations: u32,
    /// Numbers of operations that it leaves out.
    pub skip: Vec<Range<u32>>,
    /// How long it waits between two operations, on average; none means one right after the other.
    pub pace: Duration,
}

impl ClientPlan {
    /// Whether the client leaves an operation out.
    #[must_use]
    pub fn skips(&self, operation: u32) -> bool {
        self.skip.iter().any(|range| range.contains(&operation))
    }
}

/// Kinds of operations that one client mixes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ClientKind {
    /// Writes, reads, deletes and compare-and-swaps of single keys.
    Registers,
    /// Adds unique elements and reads the whole set.
    Sets,
    /// Moves amounts between accounts by transactions that keep the sum.
    Transfers,
    /// Reads ranges in every form, at present and past revisions, and deletes some.
    Ranges,
    /// Counts by compare-and-swap transactions.
    Counters,
    /// Watches keys and ranges, breaks off, and resumes.
    Watches,
    /// Grants leases, hangs keys on them, renews them for a while and lets them end.
    Leases,
    /// Waits for locks, acts while holding them, and lets go or vanishes.
    Locks,
    /// Compacts history and has snapshots written.
    Maintenance,
}

impl ClientKind {
    /// All of them.
    pub const ALL: [Self; 9] = [
        Self::Registers,
        Self::Sets,
        Self::Transfers,
        Self::Ranges,
        Self::Counters,
        Self::Watches,
        Self::Leases,
        Self::Locks,
        Self::Maintenance,
    ];

    /// Its name in a scenario file.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Registers => "registers",
            Self::Sets => "sets",
            Self::Transfers => "transfers",
            Self::Ranges => "ranges",
            Self::Counters => "counters",
            Self::Watches => "watches",
            Self::Leases => "leases",
            Self::Locks => "locks",
            Self::Maintenance => "maintenance",
        }
    }
}

/// One thing that goes wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// When, in true time from the start.
    pub at: Duration,
    /// For how long; `None` until everything heals at [`Scenario::run`]. What happens in a moment
    /// (a step of a clock, rot) is not undone.
    pub lasts: Option<Duration>,
    /// What.
    pub effect: Effect,
}

/// What must hold after everything has healed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Expect {
    /// How long after healing it may take until a request of every client succeeds.
    pub serve_within: Duration,
}

impl Default for Expect {
    fn default() -> Self {
        Self {
            serve_within: Duration::from_secs(20),
        }
    }
}

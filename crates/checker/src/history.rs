//! What a history consists of.

mod operation;
mod outcome;
mod watching;

pub use operation::{Compare, DeleteRange, Field, Operation, Put, Range, Relation, Txn, TxnOp};
pub use outcome::{Body, KeyValue, OpReply, Outcome, Refusal, Response};
pub use watching::{Change, WatchEvent, WatchRequest};

use std::fmt;
use synod_env::MemberId;

/// A revision of the key space: 1 when empty, one more with each write that changes a key.
pub type Revision = i64;

/// A lease's number: positive; 0 means "no lease".
pub type LeaseId = i64;

/// True time in nanoseconds since the run began: the observer's, which no clock of a member or a
/// client shows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TimeNs(pub u64);

impl TimeNs {
    /// The time `ns` nanoseconds later; the last one there is if that is too late.
    #[must_use]
    pub const fn after(self, ns: u64) -> Self {
        Self(self.0.saturating_add(ns))
    }
}

impl fmt::Display for TimeNs {
    /// As seconds with the digits that are not zero: `1.25 s`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let fraction = format!("{:09}", self.0 % 1_000_000_000);
        let digits = fraction.trim_end_matches('0');
        let point = if digits.is_empty() { "" } else { "." };
        write!(f, "{}{point}{digits} s", self.0 / 1_000_000_000)
    }
}

/// Who asks. A client may have several operations under way.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ClientId(pub u32);

/// One operation of a history; each has its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct OpId(pub u64);

/// One watch as the application has it: it stays the same when the client resumes it elsewhere.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct WatchId(pub u64);

/// A hash of a member's whole state.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct StateHash(pub u128);

/// One entry of a history.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// When it happened. Events stand in this order.
    pub at: TimeNs,
    /// What happened.
    pub what: What,
}

/// What happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum What {
    /// A client began an operation. Whatever it does to the service, it does after this.
    Invoked {
        /// Which operation.
        op: OpId,
        /// Who asks.
        client: ClientId,
        /// For what.
        operation: Operation,
    },
    /// The client has an outcome. Unless it is unknown, the service does nothing more for it.
    Returned {
        /// Which operation.
        op: OpId,
        /// How it ended.
        outcome: Outcome,
    },
    /// Something came of a watch.
    Watch {
        /// Which.
        watch: WatchId,
        /// What the application was told.
        event: WatchEvent,
    },
    /// A client acted on something that it believes.
    Believed {
        /// Who.
        client: ClientId,
        /// What.
        belief: Belief,
    },
    /// Something happened inside a member.
    Member {
        /// Which.
        member: MemberId,
        /// What.
        event: MemberEvent,
    },
    /// The observer says something about the world.
    Mark(Mark),
}

/// What a client believes at the moment of the event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Belief {
    /// The lease has not ended.
    LeaseValid {
        /// Which.
        lease: LeaseId,
    },
    /// The client holds the lock, and acts as its holder.
    LockHeld {
        /// Which.
        lock: u64,
        /// The revision at which the client came into the lock's line.
        token: Revision,
    },
}

/// What the observer sees of a member.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MemberEvent {
    /// It started, for the first time or again.
    Started {
        /// Its start count.
        incarnation: u64,
    },
    /// It stopped, in whichever way.
    Stopped,
    /// It has applied the log up to and including this entry.
    Applied {
        /// The entry's index.
        index: u64,
    },
    /// Its state after this entry has this hash.
    Hashed {
        /// The entry's index.
        index: u64,
        /// Of everything that is replicated.
        hash: StateHash,
    },
    /// It leads, and its reign has begun.
    Reigns {
        /// The reign's number.
        reign: u64,
    },
}

/// What the observer says about the world.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mark {
    /// From now on a majority is healthy and connected: some operation must succeed within the
    /// bound, and what clients invoke from now on is durable.
    Healed {
        /// How long the first success may take, in nanoseconds.
        within_ns: u64,
    },
    /// A new fault has begun: the promise of the last `Healed` is void.
    Hurt,
    /// Long enough has passed since the world was healed and writes ended that every open watch
    /// must have delivered everything.
    Settled,
}

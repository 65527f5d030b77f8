//! What happens in a run, told while it happens: for pictures and for people.

use bytes::Bytes;
use std::time::Duration;
use synod_env::sim::What;

/// A machine of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Machine {
    /// A member, from 1.
    Member(u32),
    /// A client, from 0.
    Client(u32),
}

/// A part of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Phase {
    /// Members start, clients ask, faults come and go.
    Faults,
    /// Every fault has ended; requests must succeed again.
    Serve,
    /// Everything acknowledged is read back, and the members' states are compared.
    Scan,
}

/// What a message says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Said {
    /// Something between a client and a member, in words.
    Client(String),
    /// A frame between members, for [`synod_protocols::glance`].
    Members(Bytes),
}

/// Something that happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Sight {
    /// An event of the world: a message, a disk operation, a task that ran.
    World {
        /// Whose; `None` for the world itself.
        machine: Option<Machine>,
        /// What.
        what: What,
    },
    /// What a message of the world says, before it is sent.
    Said {
        /// The message's number in the world.
        number: u64,
        /// What it says.
        said: Said,
    },
    /// A part of the run began.
    Phase(Phase),
    /// A fault began.
    FaultBegan {
        /// Its place in [`crate::Scenario::faults`].
        fault: usize,
        /// Those it was for.
        machines: Vec<Machine>,
    },
    /// A fault ended.
    FaultEnded {
        /// Its place in [`crate::Scenario::faults`].
        fault: usize,
    },
    /// A client began an operation.
    Invoked {
        /// Which client.
        client: u32,
        /// The operation; no other of the run has this number.
        operation: u64,
        /// What it asked.
        request: String,
    },
    /// A client's operation ended.
    Returned {
        /// Which client.
        client: u32,
        /// The operation.
        operation: u64,
        /// What it was told, or that it was told nothing.
        outcome: String,
    },
    /// A member's role changed.
    Role {
        /// Which member.
        member: u32,
        /// `leader`, `follower`, `candidate`.
        role: &'static str,
        /// In which epoch of the engine.
        epoch: u64,
    },
    /// A member has applied its log up to an index.
    Applied {
        /// Which member.
        member: u32,
        /// The index.
        index: u64,
        /// The hash of its state there.
        hash: u128,
    },
    /// A member has a snapshot that it had not before.
    Snapshot {
        /// Which member.
        member: u32,
        /// The index that it covers.
        index: u64,
        /// It came from another member, instead of being written from the member's own state.
        received: bool,
    },
    /// A member stopped by itself.
    Stopped {
        /// Which member.
        member: u32,
        /// What it said.
        reason: String,
    },
    /// Something that was promised does not hold.
    Violation {
        /// What was promised.
        property: String,
        /// What shows that it does not hold.
        witness: String,
    },
}

/// Is told what happens. Times are true times since the start.
pub trait Observer: Send {
    /// Something happened.
    fn see(&mut self, at: Duration, sight: &Sight);
}

impl<F: FnMut(Duration, &Sight) + Send> Observer for F {
    fn see(&mut self, at: Duration, sight: &Sight) {
        self(at, sight);
    }
}

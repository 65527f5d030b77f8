//! Messages between members.

use crate::BoxFuture;
use bytes::Bytes;
use std::fmt;

/// A member's number: its identity, whatever its address.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MemberId(pub u64);

impl fmt::Display for MemberId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:x}", self.0)
    }
}

/// Which of a link's queues a message takes, so that bulk never delays control.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Lane {
    /// Heartbeats, votes, detector traffic.
    Control,
    /// Log entries.
    Append,
    /// Snapshots and catch-up.
    Bulk,
}

/// The lane's queue is full: nothing was sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Full;

/// Links to the other members: fair-loss, in order per member and lane while a link lives.
pub trait Net: Send + Sync + 'static {
    /// Queues a message; it may be lost, duplicated or late, never altered unnoticed.
    ///
    /// # Errors
    /// [`Full`] when the lane has no room.
    fn send(&self, to: MemberId, lane: Lane, message: Bytes) -> Result<(), Full>;

    /// The next message to this member, in order of arrival.
    fn receive(&self) -> BoxFuture<'_, (MemberId, Lane, Bytes)>;
}

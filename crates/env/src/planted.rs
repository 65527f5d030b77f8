//! Known mistakes, planted on purpose to see whether the checks find them.
//!
//! Each stands in the production path behind [`planted`], which is a constant `false` without the
//! Cargo feature of that name. No check knows of them. `docs/internals/simulator.md` has the
//! table of how soon each is found.

/// A mistake that somebody has made before, here or elsewhere.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Bug {
    /// A write is reported durable before it is synced.
    AckBeforeSync,
    /// A linearizable read is answered without asking a quorum.
    SkipReadBarrier,
    /// A read takes over the barrier of an earlier attempt (etcd#20418).
    ReuseReadBarrier,
    /// A leader that was deposed goes on expiring leases (etcd#15247).
    DeposedLeaderExpires,
    /// A forwarded batch that arrives twice is applied twice.
    ForwardAppliesTwice,
    /// Compaction at the revision of a deletion loses the deletion (etcd#18089).
    TombstoneLost,
    /// Entries after the snapshot are applied again after a restart.
    ApplyTwiceAfterRestart,
    /// The revision goes back after a restart (etcd#17780).
    RevisionGoesBack,
    /// A watch that resumes misses the first event (etcd#17529).
    ResumeSkipsEvent,
    /// Leases go by the wall clock: when they end, and how long they are believed in.
    ExpireByWallClock,
    /// A renewal is answered while the expiry is already under way.
    RenewDuringExpiry,
    /// A snapshot says that it covers one entry more than it does.
    SnapshotMissesLast,
    /// A torn record below the durable offset is taken for the end of the log.
    TornTailAccepted,
    /// The records of a segment's former use are accepted.
    RecycledRecordAccepted,
    /// The client sends a transaction again whose outcome is unknown (jetcd).
    ClientRetriesUnknown,
    /// A follower votes again in the same term after a restart: the vote was not synced.
    VoteNotSynced,
    /// Whoever waits for a lock takes it when the place before goes, though the holder is there.
    LeaverTakenForHolder,
}

impl Bug {
    /// All of them.
    pub const ALL: [Self; 17] = [
        Self::AckBeforeSync,
        Self::SkipReadBarrier,
        Self::ReuseReadBarrier,
        Self::DeposedLeaderExpires,
        Self::ForwardAppliesTwice,
        Self::TombstoneLost,
        Self::ApplyTwiceAfterRestart,
        Self::RevisionGoesBack,
        Self::ResumeSkipsEvent,
        Self::ExpireByWallClock,
        Self::RenewDuringExpiry,
        Self::SnapshotMissesLast,
        Self::TornTailAccepted,
        Self::RecycledRecordAccepted,
        Self::ClientRetriesUnknown,
        Self::VoteNotSynced,
        Self::LeaverTakenForHolder,
    ];

    /// Its name in tables and on command lines: `ack-before-sync`.
    #[must_use]
    pub fn name(self) -> String {
        let mut name = String::new();
        for c in format!("{self:?}").chars() {
            if c.is_uppercase() && !name.is_empty() {
                name.push('-');
            }
            name.extend(c.to_lowercase());
        }
        name
    }
}

#[cfg(feature = "planted")]
mod plant {
    use super::Bug;
    use std::cell::Cell;

    thread_local! {
        static PLANTED: Cell<Option<Bug>> = const { Cell::new(None) };
    }

    /// Plants a bug in everything that runs on this thread, or none.
    pub fn plant(bug: Option<Bug>) {
        PLANTED.set(bug);
    }

    /// True if the bug is planted on this thread.
    #[must_use]
    pub fn planted(bug: Bug) -> bool {
        PLANTED.get() == Some(bug)
    }
}

#[cfg(feature = "planted")]
pub use plant::{plant, planted};

/// True if the bug is planted: never, without the feature.
#[cfg(not(feature = "planted"))]
#[must_use]
#[inline(always)]
pub const fn planted(_bug: Bug) -> bool {
    false
}

//! The proof that no other member leads, for a member that decides alone.
//!
//! A read is linearizable if the state it sees holds every write that was acknowledged before
//! the read was asked for. Usually a quorum has to be asked whether somebody else acknowledged
//! one. [`Lease::read`] asks nobody and needs no clock, by this argument:
//!
//! 1. An acknowledgement by another member needs that member to be elected, by a quorum of some
//!    membership. While this member is the only voter of the membership in force, each quorum
//!    contains it, so the election needs its vote; and each later membership comes into being as
//!    an entry in the log of a leader, which by the same argument is this member until its vote
//!    is given away.
//! 2. Both acts pass through the log adapter before anybody else can learn of them. A vote is
//!    saved before it is answered: [`Lease::vote`] withdraws the proof first. An entry is
//!    appended here before it is sent: [`Lease::membership_appended`] withdraws the proof if the
//!    entry is a membership.
//! 3. So if another member has acknowledged a write before the read was asked for, the proof was
//!    withdrawn before that, and the read finds it withdrawn, or renewed by a later election of
//!    this member. In that case the log of this member held that write when it was elected, and
//!    the first entry of its epoch comes after it.
//! 4. The proof holds only from the moment when the first entry of the epoch is about to be
//!    applied ([`Lease::applying`]). The index is read after the proof is found valid and never
//!    goes back: it covers that first entry and so every write of other leaders.
//! 5. Writes of this member are acknowledged when they are applied, and the index is raised
//!    before the machine gets them. So it covers every write acknowledged before the read.
//!
//! A member that was paused, at any point and for any time, changes nothing: nobody can be
//! elected without it.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use synod_log::Index;

/// No epoch: elections begin with epoch 1.
const NONE: u64 = 0;

/// See the module. All accesses are sequentially consistent: the argument orders stores to one
/// of these words before loads of another.
#[derive(Debug)]
pub(crate) struct Lease {
    /// The epoch this member leads by its last vote.
    leading: AtomicU64,
    /// The last epoch of which an entry was applied.
    opened: AtomicU64,
    /// This member decides alone, in the newest membership of its log.
    sole: AtomicBool,
    /// The last entry applied or being applied.
    index: AtomicU64,
    /// The newest entry that may hold a membership not applied yet.
    unsettled: Mutex<Option<Index>>,
}

impl Lease {
    /// No proof yet. Entries up to `last` are in the log and may hold memberships.
    pub(crate) fn new(last: Index) -> Self {
        Self {
            leading: AtomicU64::new(NONE),
            opened: AtomicU64::new(NONE),
            sole: AtomicBool::new(false),
            index: AtomicU64::new(0),
            unsettled: Mutex::new(Some(last)),
        }
    }

    /// An index as [`synod_log::Engine::read_lease`] promises it, if the proof holds.
    pub(crate) fn read(&self) -> Option<Index> {
        let leading = self.leading.load(Ordering::SeqCst);
        let holds = leading != NONE
            && self.sole.load(Ordering::SeqCst)
            && self.opened.load(Ordering::SeqCst) == leading;
        holds.then(|| Index(self.index.load(Ordering::SeqCst)))
    }

    /// A vote is about to be saved. `won` is its epoch if it says that this member leads.
    pub(crate) fn vote(&self, won: Option<u64>) {
        self.leading.store(won.unwrap_or(NONE), Ordering::SeqCst);
    }

    /// An entry that holds a membership is about to be appended at `at`.
    pub(crate) fn membership_appended(&self, at: Index) {
        let mut unsettled = self
            .unsettled
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        self.sole.store(false, Ordering::SeqCst);
        *unsettled = Some(unsettled.map_or(at, |newest| newest.max(at)));
    }

    /// Entries up to `last`, which is of `epoch`, are about to be applied. `is_sole` tells
    /// whether this member decides alone in the membership in force at `last`.
    pub(crate) fn applying(&self, last: Index, epoch: u64, is_sole: impl FnOnce() -> bool) {
        {
            let mut unsettled = self
                .unsettled
                .lock()
                .unwrap_or_else(PoisonError::into_inner);
            if unsettled.is_some_and(|newest| newest <= last) {
                *unsettled = None;
                self.sole.store(is_sole(), Ordering::SeqCst);
            }
        }
        let before = self.index.swap(last.0, Ordering::SeqCst);
        assert!(before <= last.0, "applied {last} after {before}");
        self.opened.store(epoch, Ordering::SeqCst);
    }
}

#[cfg(test)]
mod tests;

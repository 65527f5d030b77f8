//! A leader's side of forwarding: which batches of other members it takes up, and whose turn it
//! is.
//!
//! A batch that a link repeats must not be proposed twice. The state drops a copy that comes after
//! the batch, but not one that comes after the origin was told that the batch was refused and has
//! proposed its commands anew: the copy would be a second proposal of them. So a member takes each
//! sequence of an origin at most once for each reign, in increasing order, and remembers it
//! *before* it tries, and before it says that it does not lead that reign: it may come to lead it.
//! Memory need not outlive the member, since after a restart it leads a later reign, and the
//! state drops batches of any other than the present.
//!
//! A copy of a batch that was taken up is passed over in silence: to say that it is refused would
//! be understood of the batch itself. One that was overtaken by a later batch of its origin was
//! never taken up, and is refused, so that its commands need not wait for a fence.
//!
//! Nothing here knows of time passing, of links or of the engine.

use crate::messages::Refused;
use bytes::Bytes;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::ops::Bound;
use synod_env::{Bug, Instant, MemberId, planted};
use synod_state::command::{Batch, Command, LeaseId};

#[cfg(test)]
mod tests;

/// A batch of another member that was taken up.
#[derive(Debug)]
pub(crate) struct Forwarded<A> {
    /// The encoded batch; the leader's service time is not in it yet.
    pub(crate) batch: Bytes,
    /// After that nobody waits for it any more.
    pub(crate) until: Instant,
    /// It may use the space that is held back when the disk is full.
    pub(crate) vital: bool,
    /// The leases that it makes.
    pub(crate) grants: Vec<LeaseId>,
    /// Where the answer goes.
    pub(crate) answer: A,
}

/// Whose batch is to be proposed next.
#[derive(Debug)]
pub(crate) enum Turn<A> {
    /// One of this member's own.
    Own,
    /// One that was forwarded by the member.
    Forwarded(MemberId, Forwarded<A>),
    /// Nobody has one.
    Nobody,
}

/// Which batches of one origin came.
#[derive(Debug, Default)]
struct Taken {
    /// Reign and incarnation of the last one.
    of: (u64, u64),
    /// The sequences that came of those, the last [`REMEMBERED_MAX`].
    sequences: BTreeSet<u64>,
}

/// Sequences that are remembered one by one. A batch that is overtaken by more than that is
/// passed over like a copy.
const REMEMBERED_MAX: usize = 64;

/// What a batch is to those that came before it.
enum Place {
    /// It is the first of its number, and later than all others.
    New,
    /// It is late: others overtook it.
    Overtaken,
    /// It came before, or perhaps did.
    Copy,
}

impl Taken {
    /// Takes note of a batch.
    fn mark(&mut self, of: (u64, u64), sequence: u64) -> Place {
        if of < self.of {
            return Place::Copy;
        }
        if of > self.of {
            self.of = of;
            self.sequences.clear();
        }
        let last = self.sequences.last().copied();
        let is_forgotten = self.sequences.len() >= REMEMBERED_MAX
            && self
                .sequences
                .first()
                .is_some_and(|first| sequence < *first);
        if is_forgotten || !self.sequences.insert(sequence) {
            return Place::Copy;
        }
        if self.sequences.len() > REMEMBERED_MAX {
            self.sequences.pop_first();
        }
        if last.is_some_and(|last| sequence < last) {
            Place::Overtaken
        } else {
            Place::New
        }
    }
}

/// See the module. `A` is where an answer goes.
#[derive(Debug)]
pub(crate) struct Intake<A> {
    member: MemberId,
    reign: Option<u64>,
    /// By origin.
    taken: BTreeMap<MemberId, Taken>,
    waiting: BTreeMap<MemberId, VecDeque<Forwarded<A>>>,
    /// Who had the last turn.
    last: MemberId,
    /// Batches of one origin that may wait.
    waiting_max: usize,
    /// Largest encoded batch.
    bytes_max: usize,
}

impl<A> Intake<A> {
    pub(crate) fn new(member: MemberId, waiting_max: usize, bytes_max: usize) -> Self {
        Self {
            member,
            reign: None,
            taken: BTreeMap::new(),
            waiting: BTreeMap::new(),
            last: member,
            waiting_max: waiting_max.max(1),
            bytes_max,
        }
    }

    /// Sets the reign in which this member leads, if it does. Batches of another reign that wait
    /// are refused: where their answers go.
    pub(crate) fn set_reign(&mut self, reign: Option<u64>) -> Vec<A> {
        if reign == self.reign {
            return Vec::new();
        }
        self.reign = reign;
        let waiting = std::mem::take(&mut self.waiting).into_values().flatten();
        waiting.map(|forwarded| forwarded.answer).collect()
    }

    /// Takes up a batch that `from` has sent; or gives back the answer's address with the reason
    /// why not, if there is one to be told.
    pub(crate) fn take(
        &mut self,
        from: MemberId,
        batch: Bytes,
        until: Instant,
        answer: A,
    ) -> Result<(), (A, Option<Refused>)> {
        if batch.len() > self.bytes_max {
            return Err((answer, Some(Refused::Unacceptable)));
        }
        // Read before it can get into the log, where every member relies on it.
        let Ok(read) = Batch::decode(batch.clone()) else {
            return Err((answer, Some(Refused::Unacceptable)));
        };
        let is_leaders = |command: &Command| match command {
            Command::Reign { .. } => true,
            Command::LeaseExpire { .. } => !planted(Bug::DeposedLeaderExpires),
            Command::Put(_)
            | Command::DeleteRange(_)
            | Command::Txn(_)
            | Command::Compact { .. }
            | Command::LeaseGrant { .. }
            | Command::LeaseRevoke { .. }
            | Command::LeaseCheckpoint { .. }
            | Command::SetQuota { .. }
            | Command::SetCompactionStep { .. }
            | Command::SetLevel { .. }
            | Command::SetAlarm { .. }
            | Command::SetLimit(_) => false,
        };
        if read.origin.member != from || read.commands.iter().any(is_leaders) {
            return Err((answer, Some(Refused::Unacceptable)));
        }
        let of = (read.reign, read.origin.incarnation);
        let taken = self.taken.entry(from).or_default();
        match taken.mark(of, read.origin.sequence) {
            Place::New => {}
            Place::Overtaken => return Err((answer, Some(Refused::Late))),
            Place::Copy if planted(Bug::ForwardAppliesTwice) => {}
            Place::Copy => return Err((answer, None)),
        }
        if self.reign != Some(read.reign) {
            return Err((answer, Some(Refused::NotLeading)));
        }
        let waiting = self.waiting.entry(from).or_default();
        if waiting.len() >= self.waiting_max {
            return Err((answer, Some(Refused::Busy)));
        }
        let grants = read.commands.iter().filter_map(|command| match command {
            Command::LeaseGrant { lease, .. } => Some(*lease),
            Command::Reign { .. }
            | Command::Put(_)
            | Command::DeleteRange(_)
            | Command::Txn(_)
            | Command::Compact { .. }
            | Command::LeaseRevoke { .. }
            | Command::LeaseExpire { .. }
            | Command::LeaseCheckpoint { .. }
            | Command::SetQuota { .. }
            | Command::SetCompactionStep { .. }
            | Command::SetLevel { .. }
            | Command::SetAlarm { .. }
            | Command::SetLimit(_) => None,
        });
        waiting.push_back(Forwarded {
            until,
            vital: crate::proposer::leads_out_of_trouble(&read.commands),
            grants: grants.collect(),
            batch,
            answer,
        });
        Ok(())
    }

    /// Whose turn it is: after each member the next one in the order of their numbers that has
    /// something, this member included if `own_waits`.
    pub(crate) fn next(&mut self, own_waits: bool) -> Turn<A> {
        if !self.has_waiting() {
            return if own_waits { Turn::Own } else { Turn::Nobody };
        }
        let has = |member: MemberId| {
            if member == self.member {
                own_waits
            } else {
                self.waiting.get(&member).is_some_and(|w| !w.is_empty())
            }
        };
        let mut members: Vec<MemberId> = self.waiting.keys().copied().collect();
        members.push(self.member);
        members.sort_unstable();
        let (before, after): (Vec<_>, Vec<_>) =
            members.into_iter().partition(|member| *member <= self.last);
        let Some(next) = after.into_iter().chain(before).find(|member| has(*member)) else {
            return Turn::Nobody;
        };
        self.last = next;
        let forwarded = self.waiting.get_mut(&next).and_then(VecDeque::pop_front);
        match forwarded {
            Some(forwarded) if next != self.member => Turn::Forwarded(next, forwarded),
            Some(_) | None => Turn::Own,
        }
    }

    /// The engine had no place for a batch: it is its origin's turn again.
    pub(crate) fn put_back(&mut self, from: MemberId, forwarded: Forwarded<A>) {
        let before = self
            .waiting
            .range((Bound::Unbounded, Bound::Excluded(from)));
        // Whoever comes before it in the order, so that it is next.
        self.last = before
            .map(|(member, _)| *member)
            .chain((self.member < from).then_some(self.member))
            .max()
            .unwrap_or(MemberId(u64::MAX));
        self.waiting.entry(from).or_default().push_front(forwarded);
    }

    /// Where the answers go to batches for which nobody waits any more.
    pub(crate) fn take_overdue(&mut self, now: Instant) -> Vec<A> {
        let mut overdue = Vec::new();
        for waiting in self.waiting.values_mut() {
            for forwarded in std::mem::take(waiting) {
                if forwarded.until <= now {
                    overdue.push(forwarded.answer);
                } else {
                    waiting.push_back(forwarded);
                }
            }
        }
        overdue
    }

    /// True if a batch waits.
    pub(crate) fn has_waiting(&self) -> bool {
        self.waiting.values().any(|waiting| !waiting.is_empty())
    }

    /// True if a batch that waits makes this lease.
    pub(crate) fn grants(&self, lease: LeaseId) -> bool {
        let mut waiting = self.waiting.values().flatten();
        waiting.any(|forwarded| forwarded.grants.contains(&lease))
    }
}

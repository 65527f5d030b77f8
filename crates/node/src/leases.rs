//! The leader's lease clock: who is due, decided conservatively.
//!
//! The state knows leases and their TTLs; *when* one is due only the leader knows, and only as a
//! proposal: the expiry is a log entry, which a deposed leader's never becomes. The rules
//! (each exists because a known system lost leases or kept dead ones without it):
//! - Nothing is decided before this leader's reign is applied; then every deadline starts anew,
//!   later by the longest lease a former leader may have held.
//! - The granter waits for the *least* time that can have passed ([`Reading::since`]).
//! - A renewal counts once a quorum round that began after it arrived has ended. While one is on
//!   its way, its lease does not expire.
//! - Once an expiry is proposed, renewals of that lease wait for its outcome.
//! - A stall of the member's own loop is added to all deadlines: leases never die because the
//!   service was deaf (etcd#15247 is the bug this rules out).

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;
use synod_env::{Bug, Reading, oneshot, planted};
use synod_state::command::LeaseId;

/// A gap between two ticks beyond which the member counts itself as stalled.
pub(crate) const STALL_MIN: Duration = Duration::from_millis(250);

/// TTLs above this are checkpointed, so that a new leader need not start them anew.
pub(crate) const CHECKPOINT_TTL_MIN: Duration = Duration::from_secs(60);

/// How often the remainder of a long lease is recorded.
const CHECKPOINT_INTERVAL: Duration = Duration::from_secs(60);

/// The lease clock of one reign.
#[derive(Debug)]
pub(crate) struct LeaseClock {
    leases: BTreeMap<LeaseId, Lease>,
    /// When to look at a lease next, by the boot clock. A hint: the look decides.
    due: BTreeSet<(u64, LeaseId)>,
    checkpoints: BTreeSet<(u64, LeaseId)>,
    /// Stalls so far, added to every deadline.
    credit: Duration,
    last_tick: Reading,
}

#[derive(Debug)]
struct Lease {
    ttl: Duration,
    /// What it lives from `since` on: its TTL, or a checkpointed remainder, plus extensions.
    lives: Duration,
    since: Reading,
    credit_at_since: Duration,
    look_at_ns: u64,
    checkpoint_at_ns: Option<u64>,
    /// A remainder is recorded in the state and must be cleared before a renewal is answered.
    checkpointed: bool,
    /// A proposal that records one is under way, with the same consequence.
    recording: bool,
    /// Renewals that have arrived and wait for their quorum round.
    renewing: u32,
    expiring: Option<Vec<oneshot::Sender<()>>>,
}

/// What a renewal must do next.
#[derive(Debug)]
pub(crate) enum Renewal {
    /// The lease is not known: it has ended.
    Unknown,
    /// Its expiry is proposed: ask again when this ends.
    Wait(oneshot::Receiver<()>),
    /// Its recorded remainder must be cleared through the log first; then ask again.
    ClearCheckpoint,
    /// Renewed, with this TTL.
    Renewed(Duration),
}

impl LeaseClock {
    /// A clock that begins now, with the state's leases: number, TTL, and recorded remainder if
    /// there is one. `extension` is the longest time a former leader may have promised.
    #[must_use]
    pub(crate) fn begin(
        now: Reading,
        leases: impl IntoIterator<Item = (LeaseId, Duration, Option<Duration>)>,
        extension: Duration,
    ) -> Self {
        let mut clock = Self {
            leases: BTreeMap::new(),
            due: BTreeSet::new(),
            checkpoints: BTreeSet::new(),
            credit: Duration::ZERO,
            last_tick: now,
        };
        for (id, ttl, remaining) in leases {
            clock.insert(
                now,
                id,
                ttl,
                remaining.unwrap_or(ttl) + extension,
                remaining.is_some(),
            );
        }
        clock
    }

    fn insert(
        &mut self,
        now: Reading,
        id: LeaseId,
        ttl: Duration,
        lives: Duration,
        checkpointed: bool,
    ) {
        self.remove(id);
        let look_at_ns = later(now, lives);
        let checkpoint_at_ns = (ttl > CHECKPOINT_TTL_MIN).then(|| later(now, CHECKPOINT_INTERVAL));
        self.due.insert((look_at_ns, id));
        if let Some(at) = checkpoint_at_ns {
            self.checkpoints.insert((at, id));
        }
        self.leases.insert(
            id,
            Lease {
                ttl,
                lives,
                since: now,
                credit_at_since: self.credit,
                look_at_ns,
                checkpoint_at_ns,
                checkpointed,
                recording: false,
                renewing: 0,
                expiring: None,
            },
        );
    }

    /// A lease was granted by an applied entry.
    pub(crate) fn granted(&mut self, now: Reading, id: LeaseId, ttl: Duration) {
        self.insert(now, id, ttl, ttl, false);
    }

    /// A lease ended by an applied entry. Renewals that waited for its expiry learn it.
    pub(crate) fn ended(&mut self, id: LeaseId) {
        self.remove(id);
    }

    /// A remainder was recorded in the state, or cleared.
    pub(crate) fn checkpoint_applied(&mut self, id: LeaseId, recorded: bool) {
        if let Some(lease) = self.leases.get_mut(&id) {
            lease.checkpointed = recorded;
            if recorded {
                lease.recording = false;
            }
        }
    }

    /// Proposals that were to record remainders came to nothing.
    pub(crate) fn checkpoint_failed(&mut self, ids: &[LeaseId]) {
        for id in ids {
            if let Some(lease) = self.leases.get_mut(id) {
                lease.recording = false;
            }
        }
    }

    fn remove(&mut self, id: LeaseId) {
        if let Some(lease) = self.leases.remove(&id) {
            self.due.remove(&(lease.look_at_ns, id));
            if let Some(at) = lease.checkpoint_at_ns {
                self.checkpoints.remove(&(at, id));
            }
            wake(lease.expiring);
        }
    }

    /// A renewal has arrived: until [`LeaseClock::renew`] or [`LeaseClock::renewal_gone`], the
    /// lease does not expire. False if there is no such lease.
    pub(crate) fn renewal_arrived(&mut self, id: LeaseId) -> bool {
        match self.leases.get_mut(&id) {
            Some(lease) => {
                lease.renewing += 1;
                true
            }
            None => false,
        }
    }

    /// A renewal that arrived is given up.
    pub(crate) fn renewal_gone(&mut self, id: LeaseId) {
        if let Some(lease) = self.leases.get_mut(&id) {
            lease.renewing = lease.renewing.saturating_sub(1);
        }
    }

    /// Renews a lease. The caller has seen a quorum round end that began after the renewal
    /// arrived.
    pub(crate) fn renew(&mut self, now: Reading, id: LeaseId) -> Renewal {
        let credit = self.credit;
        let Some(lease) = self.leases.get_mut(&id) else {
            return Renewal::Unknown;
        };
        if let Some(waiting) = &mut lease.expiring
            && !planted(Bug::RenewDuringExpiry)
        {
            let (sender, receiver) = oneshot::channel();
            waiting.push(sender);
            return Renewal::Wait(receiver);
        }
        if lease.checkpointed || lease.recording {
            return Renewal::ClearCheckpoint;
        }
        lease.since = now;
        lease.lives = lease.ttl;
        lease.credit_at_since = credit;
        Renewal::Renewed(lease.ttl)
    }

    /// TTL and least remaining time of a lease.
    #[must_use]
    pub(crate) fn remaining(&self, now: Reading, id: LeaseId) -> Option<(Duration, Duration)> {
        let lease = self.leases.get(&id)?;
        Some((lease.ttl, self.left(lease, now)))
    }

    fn left(&self, lease: &Lease, now: Reading) -> Duration {
        let lives = lease.lives + (self.credit - lease.credit_at_since);
        lives.saturating_sub(now.since(lease.since).min)
    }

    /// Notes that time passes. A gap above [`STALL_MIN`] since the last call is credited to all
    /// leases and returned.
    pub(crate) fn tick(&mut self, now: Reading) -> Option<Duration> {
        let gap = now.since(self.last_tick).max;
        self.last_tick = now;
        if gap <= STALL_MIN {
            return None;
        }
        self.credit += gap;
        Some(gap)
    }

    /// Up to `most` leases whose time is over and that are not `passed_over`. They count as expiring from here on, until they
    /// end or [`LeaseClock::expiry_failed`] says that the proposal came to nothing.
    pub(crate) fn take_due(
        &mut self,
        now: Reading,
        most: usize,
        passed_over: impl Fn(LeaseId) -> bool,
    ) -> Vec<LeaseId> {
        let mut expired = Vec::new();
        while expired.len() < most {
            let Some(&(look_at_ns, id)) = self.due.first() else {
                break;
            };
            if look_at_ns > now.boot_ns {
                break;
            }
            self.due.remove(&(look_at_ns, id));
            let lease = self
                .leases
                .get(&id)
                .expect("only known leases are looked at");
            let left = self.left(lease, now);
            let busy = lease.renewing > 0 || (left == Duration::ZERO && passed_over(id));
            let lease = self.leases.get_mut(&id).expect("the lease was just found");
            if left > Duration::ZERO || busy {
                // At least a millisecond, so that the look at a slow clock does not spin.
                lease.look_at_ns = later(now, left.max(Duration::from_millis(1)));
                self.due.insert((lease.look_at_ns, id));
            } else {
                lease.expiring = Some(Vec::new());
                expired.push(id);
            }
        }
        expired
    }

    /// Proposed expiries came to nothing: the leases live on and are due again.
    pub(crate) fn expiry_failed(&mut self, now: Reading, ids: &[LeaseId]) {
        for id in ids {
            if let Some(lease) = self.leases.get_mut(id)
                && let Some(waiting) = lease.expiring.take()
            {
                lease.look_at_ns = later(now, Duration::from_millis(100));
                self.due.insert((lease.look_at_ns, *id));
                wake(Some(waiting));
            }
        }
    }

    /// Up to `most` long leases whose remainder is to be recorded now, with it.
    pub(crate) fn take_checkpoints(
        &mut self,
        now: Reading,
        most: usize,
        passed_over: impl Fn(LeaseId) -> bool,
    ) -> Vec<(LeaseId, Duration)> {
        let mut remaining = Vec::new();
        while remaining.len() < most {
            let Some(&(at, id)) = self.checkpoints.first() else {
                break;
            };
            if at > now.boot_ns {
                break;
            }
            self.checkpoints.remove(&(at, id));
            let next = later(now, CHECKPOINT_INTERVAL);
            self.checkpoints.insert((next, id));
            let lease = self
                .leases
                .get_mut(&id)
                .expect("only known leases are recorded");
            lease.checkpoint_at_ns = Some(next);
            if lease.expiring.is_none() && !passed_over(id) {
                lease.recording = true;
                let lease = &self.leases[&id];
                remaining.push((id, self.left(lease, now)));
            }
        }
        remaining
    }
}

fn later(now: Reading, after: Duration) -> u64 {
    now.boot_ns
        .saturating_add(u64::try_from(after.as_nanos()).unwrap_or(u64::MAX))
}

fn wake(waiting: Option<Vec<oneshot::Sender<()>>>) {
    for sender in waiting.into_iter().flatten() {
        let (Ok(()) | Err(())) = sender.send(());
    }
}

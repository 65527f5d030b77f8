//! All judges together, fed event by event.

#[cfg(test)]
mod tests;

use crate::history::{Belief, Event, Mark, OpId, Operation, Outcome, TimeNs, WatchId, What};
use crate::leases::{LeaseJudge, LeaseSettings};
use crate::ledger::LedgerJudge;
use crate::linear::{LinearJudge, LinearSettings};
use crate::liveness::LivenessJudge;
use crate::locks::LockJudge;
use crate::members::MemberJudge;
use crate::store::{StoreJudge, StoreSettings};
use crate::verdict::{Verdict, Violation};
use crate::watches::WatchJudge;
use crate::{ClientId, WatchEvent};
use std::collections::BTreeMap;
use std::sync::Arc;

/// What is promised beyond what every etcd promises, and how much to spend.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Settings {
    /// The replay of the whole store.
    pub store: StoreSettings,
    /// Leases by true time.
    pub leases: LeaseSettings,
    /// Each key as a register.
    pub linear: LinearSettings,
}

/// What a checker has been given so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Operations that were invoked.
    pub invoked: u64,
    /// Of those, carried out and answered.
    pub done: u64,
    /// Of those, refused.
    pub refused: u64,
    /// Of those, returned with an unknown outcome.
    pub unknown: u64,
    /// Changes that watches told.
    pub watched: u64,
    /// Hashes of members' states.
    pub hashed: u64,
}

/// Judges a history while it happens.
///
/// Each event costs a few microseconds; memory grows with the history. The first violation is
/// final.
#[derive(Clone, Debug)]
pub struct Checker {
    at: TimeNs,
    counts: Counts,
    violation: Option<Violation>,
    open: BTreeMap<OpId, Arc<Operation>>,
    members: MemberJudge,
    ledger: LedgerJudge,
    liveness: LivenessJudge,
    leases: LeaseJudge,
    locks: LockJudge,
    store: StoreJudge,
    watches: WatchJudge,
    linear: LinearJudge,
}

/// The verdict on a whole history.
///
/// # Panics
/// As [`Checker::observe`].
#[must_use]
pub fn judge<'a>(settings: Settings, history: impl IntoIterator<Item = &'a Event>) -> Verdict {
    let mut checker = Checker::new(settings);
    for event in history {
        if let Err(violation) = checker.observe(event) {
            return Verdict::Violation(violation);
        }
    }
    checker.finish()
}

impl Checker {
    /// A checker that has seen nothing yet: the store is empty and at revision 1.
    #[must_use]
    pub fn new(settings: Settings) -> Self {
        Self {
            at: TimeNs(0),
            counts: Counts::default(),
            violation: None,
            open: BTreeMap::new(),
            members: MemberJudge::default(),
            ledger: LedgerJudge::default(),
            liveness: LivenessJudge::default(),
            leases: LeaseJudge::new(settings.leases),
            locks: LockJudge::default(),
            store: StoreJudge::new(settings.store),
            watches: WatchJudge::default(),
            linear: LinearJudge::new(settings.linear),
        }
    }

    /// What it has been given so far.
    #[must_use]
    pub const fn counts(&self) -> Counts {
        self.counts
    }

    /// Takes the next event.
    ///
    /// # Errors
    /// The first violation, from the event on that shows it.
    ///
    /// # Panics
    /// If this is no history: an event earlier than the one before, an operation or watch begun
    /// twice, or one that goes on without having begun.
    pub fn observe(&mut self, event: &Event) -> Result<(), Violation> {
        if let Some(violation) = &self.violation {
            return Err(violation.clone());
        }
        assert!(
            event.at >= self.at,
            "an event of {} comes after one of {}",
            event.at,
            self.at
        );
        let judged = self.judge(event);
        if let Err(violation) = &judged {
            self.violation = Some(violation.clone());
        }
        judged
    }

    fn judge(&mut self, event: &Event) -> Result<(), Violation> {
        self.at = event.at;
        self.members.now(self.at);
        self.ledger.now(self.at);
        self.leases.now(self.at);
        self.store.now(self.at);
        self.watches.now(self.at);
        self.linear.now(self.at);
        match &event.what {
            What::Invoked {
                op,
                client,
                operation,
            } => self.invoked(*op, *client, operation),
            What::Returned { op, outcome } => self.returned(*op, outcome)?,
            What::Watch { watch, event } => self.watched(*watch, event)?,
            What::Believed {
                client,
                belief: Belief::LeaseValid { lease },
            } => self.leases.believed(*client, *lease)?,
            What::Believed {
                client,
                belief: Belief::LockHeld { lock, token },
            } => self.locks.believed(self.at, *client, *lock, *token)?,
            What::Member { member, event } => {
                self.members.observe(*member, *event)?;
                match event {
                    crate::MemberEvent::Started { .. } => self.store.member_started(*member),
                    crate::MemberEvent::Hashed { .. } => self.counts.hashed += 1,
                    crate::MemberEvent::Stopped
                    | crate::MemberEvent::Applied { .. }
                    | crate::MemberEvent::Reigns { .. } => {}
                }
            }
            What::Mark(Mark::Healed { within_ns }) => {
                self.liveness.healed(self.at, *within_ns);
                self.leases.healed();
            }
            What::Mark(Mark::Hurt) => {
                self.liveness.hurt();
                self.leases.hurt();
            }
            What::Mark(Mark::Settled) => {
                self.watches.settled(self.store.seen_max());
                self.compare_watches()?;
            }
        }
        self.liveness.now(self.at)
    }

    fn invoked(&mut self, op: OpId, client: ClientId, operation: &Operation) {
        self.counts.invoked += 1;
        let operation = Arc::new(operation.clone());
        self.liveness.invoked(&operation);
        self.ledger.invoked(op, &operation);
        self.leases.invoked(op, client, &operation);
        self.store.invoked(op, client, &operation);
        self.linear.invoked(op, &operation);
        self.open.insert(op, operation);
    }

    /// The judges that say most about what is wrong come first.
    fn returned(&mut self, op: OpId, outcome: &Outcome) -> Result<(), Violation> {
        let count = match outcome {
            Outcome::Done(_) => &mut self.counts.done,
            Outcome::Refused(_) => &mut self.counts.refused,
            Outcome::Unknown => &mut self.counts.unknown,
        };
        *count += 1;
        let operation = self.open.remove(&op);
        let operation = operation
            .unwrap_or_else(|| panic!("operation #{} returns without having been invoked", op.0));
        self.liveness.returned(&operation, outcome);
        self.store.in_time(op, outcome)?;
        self.ledger.returned(op, outcome)?;
        self.leases.returned(op, outcome)?;
        let replayed = self.store.returned(op, outcome);
        self.learn()?;
        replayed?;
        self.compare_watches()?;
        self.linear.returned(op, outcome)
    }

    fn watched(&mut self, watch: WatchId, event: &WatchEvent) -> Result<(), Violation> {
        let compacted = self.store.compacted_at_most();
        let shown = self.watches.observe(watch, event, compacted)?;
        self.store.shown_revision(shown.revision);
        for (revision, changes) in shown.changes {
            self.counts.watched += u64::try_from(changes.len()).expect("a length fits");
            let replayed = self.store.watched(watch, revision, changes, shown.complete);
            self.learn()?;
            replayed?;
        }
        self.compare_watches()
    }

    /// Tells the judge of leases what the replay has shown.
    fn learn(&mut self) -> Result<(), Violation> {
        let facts = self.store.take_facts();
        facts
            .into_iter()
            .try_for_each(|fact| self.leases.learn(fact))
    }

    fn compare_watches(&mut self) -> Result<(), Violation> {
        let compacted = self.store.compacted_at_most();
        self.watches.compare(self.store.replay(), compacted)
    }

    /// The verdict, now that the history has ended.
    #[must_use]
    pub fn finish(self) -> Verdict {
        if let Some(violation) = self.violation {
            return Verdict::Violation(violation);
        }
        let mut verdict = self.liveness.finish().and(self.linear.finish());
        let (replayed, store) = self.store.finish();
        verdict = verdict.and(replayed);
        if let Some(mut store) = store {
            let (mut leases, mut watches) = (self.leases, self.watches);
            let mut facts = store.take_facts().into_iter();
            let learnt = facts.try_for_each(|fact| leases.learn(fact));
            let compacted = store.compacted_at_most();
            let compared = learnt.and_then(|()| watches.compare(store.replay(), compacted));
            match compared {
                Ok(()) => {}
                // Another guess might have fitted the watches.
                Err(violation) if store.is_guess() => {
                    verdict = verdict.and(Verdict::Unknown(violation.to_string()));
                }
                Err(violation) => return Verdict::Violation(violation),
            }
        }
        verdict
    }
}

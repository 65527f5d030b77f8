//! What a run has come to so far. Clients' tasks, members' tasks and the run itself all write
//! here; the world runs on one thread, so that nobody ever waits.

use crate::observer::{Observer, Sight};
use crate::report::{Operations, Verdict};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use synod_checker::{
    Belief, ClientId, Event, Mark, MemberEvent, MemberId, OpId, Operation, Outcome, TimeNs,
    WatchEvent, WatchId, What,
};
use synod_env::sim::Nemesis;

/// A handle to what a run has come to; cheap to clone.
#[derive(Clone)]
pub(crate) struct Record {
    nemesis: Nemesis,
    inner: Arc<Mutex<Inner>>,
}

pub(crate) struct Inner {
    observer: Option<Box<dyn Observer>>,
    pub(crate) operations: Operations,
    pub(crate) bitten: BTreeMap<&'static str, u64>,
    pub(crate) marks: BTreeMap<&'static str, u64>,
    violation: Option<(String, String)>,
    invoked: u64,
    watches: u64,
}

impl Record {
    pub(crate) fn new(nemesis: Nemesis, observer: Option<Box<dyn Observer>>) -> Self {
        let inner = Inner {
            observer,
            operations: Operations::default(),
            bitten: BTreeMap::new(),
            marks: BTreeMap::new(),
            violation: None,
            invoked: 0,
            watches: 0,
        };
        Self {
            nemesis,
            inner: Arc::new(Mutex::new(inner)),
        }
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Tells the observer, if there is one; only then is it worked out what.
    pub(crate) fn tell(&self, sight: impl FnOnce() -> Sight) {
        let now = self.nemesis.now();
        if let Some(observer) = &mut self.lock().observer {
            observer.see(now, &sight());
        }
    }

    /// Passes an event of the world on.
    pub(crate) fn tell_at(&self, at: Duration, sight: &Sight) {
        if let Some(observer) = &mut self.lock().observer {
            observer.see(at, sight);
        }
    }

    pub(crate) fn is_observed(&self) -> bool {
        self.lock().observer.is_some()
    }

    /// A fault had an effect.
    pub(crate) fn bite(&self, fault: &'static str, times: u64) {
        if times > 0 {
            *self.lock().bitten.entry(fault).or_default() += times;
        }
    }

    /// A place that is hard to reach was reached.
    pub(crate) fn mark(&self, place: &'static str) {
        *self.lock().marks.entry(place).or_default() += 1;
    }

    /// Something that was promised does not hold. The first counts.
    pub(crate) fn violate(&self, property: impl Into<String>, witness: impl Into<String>) {
        let (property, witness) = (property.into(), witness.into());
        self.tell(|| Sight::Violation {
            property: property.clone(),
            witness: witness.clone(),
        });
        let mut inner = self.lock();
        inner.violation.get_or_insert((property, witness));
    }

    pub(crate) fn violation(&self) -> Option<(String, String)> {
        self.lock().violation.clone()
    }

    /// Everything has happened.
    pub(crate) fn finish(&self) {}

    pub(crate) fn verdict(&self) -> Verdict {
        match self.violation() {
            None => Verdict::Passed,
            Some((property, witness)) => Verdict::Violation { property, witness },
        }
    }

    // The history.

    fn add(&self, what: What) {
        let ns = u64::try_from(self.nemesis.now().as_nanos()).unwrap_or(u64::MAX);
        let event = Event {
            at: TimeNs(ns),
            what,
        };
        drop(event);
    }

    pub(crate) fn invoked(&self, client: ClientId, operation: Operation) -> OpId {
        let op = {
            let mut inner = self.lock();
            inner.invoked += 1;
            OpId(inner.invoked)
        };
        self.tell(|| Sight::Invoked {
            client: client.0,
            operation: op.0,
            request: format!("{operation:?}"),
        });
        self.add(What::Invoked {
            op,
            client,
            operation,
        });
        op
    }

    pub(crate) fn returned(&self, client: ClientId, op: OpId, outcome: Outcome) {
        {
            let operations = &mut self.lock().operations;
            match &outcome {
                Outcome::Done(_) => operations.done += 1,
                Outcome::Refused(_) => operations.refused += 1,
                Outcome::Unknown => operations.unknown += 1,
            }
        }
        self.tell(|| Sight::Returned {
            client: client.0,
            operation: op.0,
            outcome: format!("{outcome:?}"),
        });
        self.add(What::Returned { op, outcome });
    }

    pub(crate) fn watch_id(&self) -> WatchId {
        let mut inner = self.lock();
        inner.watches += 1;
        WatchId(inner.watches)
    }

    pub(crate) fn watched(&self, watch: WatchId, event: WatchEvent) {
        self.add(What::Watch { watch, event });
    }

    pub(crate) fn believed(&self, client: ClientId, belief: Belief) {
        self.add(What::Believed { client, belief });
    }

    pub(crate) fn member(&self, member: MemberId, event: MemberEvent) {
        self.add(What::Member { member, event });
    }

    pub(crate) fn say(&self, mark: Mark) {
        self.add(What::Mark(mark));
    }
}

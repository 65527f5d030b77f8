//! What a run has come to so far. Clients' tasks, members' tasks and the run itself all write
//! here; the world runs on one thread, so that nobody ever waits.

use crate::observer::{Observer, Sight};
use crate::report::{Operations, Verdict};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use synod_checker::{
    Belief, Checker, ClientId, Event, LeaseSettings, Mark, MemberEvent, MemberId, OpId, Operation,
    Outcome, Settings, TimeNs, Violation, WatchEvent, WatchId, What,
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
    /// Judges the history; taken when it has ended.
    checker: Option<Checker>,
    unknown: Option<String>,
    /// Of how operations ended.
    digest: u64,
    invoked: u64,
    watches: u64,
    /// Watches that go on, with whose they are.
    open_watches: BTreeMap<WatchId, ClientId>,
}

/// How long after its time a lease that nobody renews may still be there once all is well: a new
/// leader begins every time to live anew.
const LEASE_ENDS_WITHIN: Duration = Duration::from_secs(8);

fn checker() -> Checker {
    let ends_within_ns = u64::try_from(LEASE_ENDS_WITHIN.as_nanos()).ok();
    Checker::new(Settings {
        leases: LeaseSettings {
            ends_within_ns,
            ..LeaseSettings::default()
        },
        ..Settings::default()
    })
}

impl Record {
    pub(crate) fn new(nemesis: Nemesis, observer: Option<Box<dyn Observer>>) -> Self {
        let inner = Inner {
            observer,
            operations: Operations::default(),
            bitten: BTreeMap::new(),
            marks: BTreeMap::new(),
            violation: None,
            checker: Some(checker()),
            unknown: None,
            digest: 0,
            invoked: 0,
            watches: 0,
            open_watches: BTreeMap::new(),
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

    /// The history has ended: what could not be decided before is decided now.
    pub(crate) fn finish(&self) {
        let checker = self.lock().checker.take();
        match checker.map(Checker::finish) {
            None | Some(synod_checker::Verdict::Ok) => {}
            Some(synod_checker::Verdict::Violation(violation)) => self.broken(&violation),
            Some(synod_checker::Verdict::Unknown(why)) => self.lock().unknown = Some(why),
        }
    }

    /// What has been found so far.
    pub(crate) fn verdict(&self) -> Verdict {
        let inner = self.lock();
        match (&inner.violation, &inner.unknown) {
            (Some((property, witness)), _) => Verdict::Violation {
                property: property.clone(),
                witness: witness.clone(),
            },
            (None, Some(why)) => Verdict::Unknown { why: why.clone() },
            (None, None) => Verdict::Passed,
        }
    }

    fn broken(&self, violation: &Violation) {
        let witness = format!("at {}: {}", violation.at, violation.witness);
        self.violate(violation.property.name(), witness);
    }

    // The history.

    fn add(&self, what: What) {
        let ns = u64::try_from(self.nemesis.now().as_nanos()).unwrap_or(u64::MAX);
        let event = Event {
            at: TimeNs(ns),
            what,
        };
        let mut inner = self.lock();
        let over = inner.violation.is_some();
        let judged = match &mut inner.checker {
            Some(checker) if !over => checker.observe(&event),
            Some(_) | None => Ok(()),
        };
        drop(inner);
        if let Err(violation) = judged {
            self.broken(&violation);
        }
    }

    /// A digest of how all operations ended, for the fingerprint.
    pub(crate) fn digest(&self) -> u64 {
        self.lock().digest
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
            request: operation.to_string(),
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
            let mut inner = self.lock();
            let ended = match &outcome {
                Outcome::Done(response) => {
                    inner.operations.done += 1;
                    response.revision.cast_unsigned()
                }
                Outcome::Refused(why) => {
                    inner.operations.refused += 1;
                    u64::MAX - 1 - *why as u64
                }
                Outcome::Unknown => {
                    inner.operations.unknown += 1;
                    u64::MAX
                }
            };
            let mixed = (inner.digest ^ op.0).wrapping_mul(0x9e37_79b9_7f4a_7c15);
            inner.digest = (mixed.rotate_left(27) ^ ended).wrapping_mul(0xd134_2543_de82_ef95);
        }
        self.tell(|| Sight::Returned {
            client: client.0,
            operation: op.0,
            outcome: outcome.to_string(),
        });
        self.add(What::Returned { op, outcome });
    }

    pub(crate) fn watch_id(&self) -> WatchId {
        let mut inner = self.lock();
        inner.watches += 1;
        WatchId(inner.watches)
    }

    /// A client's process is gone, and with it whoever heard what its watches tell.
    pub(crate) fn close_watches(&self, client: u32) {
        let open = {
            let watches = &mut self.lock().open_watches;
            let of_client = watches.extract_if(.., |_, of| *of == ClientId(client));
            of_client.map(|(watch, _)| watch).collect::<Vec<_>>()
        };
        for watch in open {
            self.add(What::Watch {
                watch,
                event: WatchEvent::Closed,
            });
        }
    }

    pub(crate) fn watched(&self, watch: WatchId, event: WatchEvent) {
        match &event {
            WatchEvent::Created { client, .. } => {
                self.lock().open_watches.insert(watch, *client);
            }
            WatchEvent::Closed | WatchEvent::Compacted { .. } => {
                self.lock().open_watches.remove(&watch);
            }
            WatchEvent::Events { .. }
            | WatchEvent::Progress { .. }
            | WatchEvent::Resumed { .. } => {}
        }
        self.add(What::Watch { watch, event });
    }

    pub(crate) fn believed(&self, client: ClientId, belief: Belief) {
        self.add(What::Believed { client, belief });
    }

    pub(crate) fn member(&self, member: MemberId, event: MemberEvent) {
        if let MemberEvent::Hashed { index, hash } = event {
            self.tell(|| Sight::Applied {
                member: u32::try_from(member.0).expect("members are few"),
                index,
                hash: hash.0,
            });
        }
        self.add(What::Member { member, event });
    }

    pub(crate) fn say(&self, mark: Mark) {
        self.add(What::Mark(mark));
    }
}

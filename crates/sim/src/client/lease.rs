//! A client that holds a lease.

use super::{ANSWERS_MAX, Client, heard};
use crate::wire::Ask;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;
use synod_checker::{Belief, Body, LeaseId, OpId, Operation, Outcome, Refusal, Revision};
use synod_env::{Instant, Reading, queue};
use synod_session::{Attempt, Lease, LeaseConfig, LeaseStep, Renewal, Standing};

/// How often a holder acts in its lease's name, at most.
const ACTS_EVERY: Duration = Duration::from_millis(150);

/// How often a holder of a lock does.
const LOCKED_ACTS_EVERY: Duration = Duration::from_millis(10);

/// A lock that hangs on a lease.
pub(super) struct Lock {
    /// Which.
    number: u64,
    /// 0 as long as it is not held.
    token: AtomicI64,
}

impl Lock {
    /// One that is not held yet.
    pub(super) fn new(number: u64) -> Arc<Self> {
        let token = AtomicI64::new(0);
        Arc::new(Self { number, token })
    }

    /// From now on the holder of the lease is that of the lock.
    pub(super) fn take(&self, token: Revision) {
        self.token.store(token, Ordering::Relaxed);
    }

    /// No more.
    pub(super) fn let_go(&self) {
        self.token.store(0, Ordering::Relaxed);
    }

    fn belief(&self) -> Option<Belief> {
        let (lock, token) = (self.number, self.token.load(Ordering::Relaxed));
        (token > 0).then_some(Belief::LockHeld { lock, token })
    }
}

impl Client {
    /// Holds a lease that was granted in answer to a request sent at `sent`: renews it until
    /// `until`, and now and then acts in its name, or as the holder of the lock that hangs on it.
    pub(super) async fn hold(
        self,
        id: LeaseId,
        ttl: Duration,
        sent: Reading,
        until: Instant,
        lock: Option<Arc<Lock>>,
    ) {
        let acts_every = match lock {
            Some(_) => LOCKED_ACTS_EVERY,
            None => ACTS_EVERY,
        };
        let clock = self.env().clock();
        let config = LeaseConfig {
            grace: Duration::from_secs(2),
        };
        let mut lease = Lease::granted(ttl, sent, self.now(), clock, config, self.prng());
        let (answer, mut answers) = queue::bounded(ANSWERS_MAX);
        let mut asked: BTreeMap<Attempt, (u64, OpId)> = BTreeMap::new();
        loop {
            let (now, clock) = (self.now(), self.env().clock());
            if now >= until {
                break;
            }
            match lease.standing(clock) {
                Standing::Held(_) | Standing::AtRisk(_) => {
                    self.record()
                        .believed(self.id(), Belief::LeaseValid { lease: id });
                    if let Some(held) = lock.as_ref().and_then(|lock| lock.belief()) {
                        self.record().believed(self.id(), held);
                    }
                }
                Standing::Lapsed | Standing::Lost(_) => {}
            }
            let step = lease.step(now, clock, &mut self.session());
            match step {
                LeaseStep::Renew {
                    renewal: Renewal(renewal),
                    endpoint,
                } => {
                    let number = u32::try_from(renewal).expect("renewals are few");
                    let operation = Operation::LeaseKeepAlive { id };
                    let op = self.invoke(operation.clone());
                    let ask = Ask::Operation(operation);
                    let sent = self.attempt(endpoint, Attempt(number), ask, &answer);
                    asked.insert(Attempt(number), (sent, op));
                }
                LeaseStep::Wait(wake) => {
                    let wake = wake.min(until).min(now + acts_every);
                    let answered = self.env().deadline(wake, answers.receive()).await;
                    let Ok(Some((attempt, ended))) = answered else {
                        continue;
                    };
                    let Some((_, op)) = asked.remove(&attempt) else {
                        continue;
                    };
                    let outcome = match heard(ended) {
                        synod_session::Ended::Answered(response) => Outcome::Done(response),
                        synod_session::Ended::Refused(why) => Outcome::Refused(why),
                        synod_session::Ended::NotDone(_) => Outcome::Refused(Refusal::NotDone),
                        synod_session::Ended::Lost(_) => Outcome::Unknown,
                    };
                    let renewal = Renewal(attempt.0.into());
                    self.settle(&mut lease, renewal, &outcome);
                    self.returned(op, outcome);
                }
                LeaseStep::End(_) => break,
            }
        }
        for (number, op) in asked.into_values() {
            self.attempts().remove(&number);
            self.returned(op, Outcome::Unknown);
        }
    }

    /// Tells a lease what came of a renewal.
    fn settle(&self, lease: &mut Lease, renewal: Renewal, outcome: &Outcome) {
        let (now, clock) = (self.now(), self.env().clock());
        if let Outcome::Done(response) = outcome
            && let Body::LeaseKeepAlive { ttl_ms } = response.body
        {
            let ttl = Duration::from_millis(ttl_ms.unwrap_or(0));
            lease.renewed(now, clock, renewal, ttl, &mut self.session());
        } else {
            lease.failed(now, renewal, &mut self.session());
        }
    }
}

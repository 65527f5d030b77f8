//! How long a lease can be counted on, and when to renew it.

use crate::{Choice, Endpoint, Session};
use std::collections::BTreeMap;
use std::time::Duration;
use synod_env::{Instant, Prng, Reading};

/// The number of a request to renew, from 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Renewal(pub u64);

/// What a holder may think of its lease.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// Valid for at least that long.
    Held(Duration),
    /// Valid for at least that long, which is less than a third of its time to live: renewals
    /// fail. Nothing new should be begun in its name.
    AtRisk(Duration),
    /// The service may have ended it, though nobody has said so. It must not be relied on; a
    /// renewal that is confirmed makes it valid again.
    Lapsed,
    /// It is over for this holder, for good.
    Lost(LossReason),
}

/// How a lease was lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LossReason {
    /// The service knows no such lease: it expired or was revoked.
    Ended,
    /// The service has not been heard for so long that the holder gives up. The lease may live.
    Silence,
}

/// What a driver does next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LeaseStep {
    /// Ask that member to renew it, then step on.
    Renew {
        /// What to call this request in [`Lease::renewed`].
        renewal: Renewal,
        /// Whom to ask.
        endpoint: Endpoint,
    },
    /// Nothing before then, unless an answer comes. The lease's [`Standing`] may change then.
    Wait(Instant),
    /// It is lost.
    End(LossReason),
}

/// How a holder treats its lease.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LeaseConfig {
    /// How long beyond its validity the service is still asked to renew it. A service that had
    /// no leader for a while lets no lease expire meanwhile, so this is often worth the wait.
    pub grace: Duration,
}

impl Default for LeaseConfig {
    fn default() -> Self {
        Self {
            grace: Duration::from_secs(45),
        }
    }
}

/// A lease as its holder sees it.
///
/// Validity counts from the moment at which the confirmed request was *sent*, by the holder's
/// decision clock, and at its maximum: the service counts its time to live from a later moment,
/// and at its minimum. So whatever the network and the two clocks (within their bounds) do, the
/// holder stops first (Gray and Cheriton, SOSP 1989). A fiftieth of the time to live is taken off
/// besides, for what lies between the holder's look at the clock and its deed. What no clock can
/// exclude, a pause in between, is what fencing is for.
///
/// It is renewed after a third of its time to live. If that brings no answer, again at half of it,
/// and then every twentieth, each time at another endpoint.
#[derive(Clone, Debug)]
pub struct Lease {
    config: LeaseConfig,
    prng: Prng,
    /// The time to live that was confirmed.
    ttl: Duration,
    /// The decision clock when the confirmed request was sent.
    sent: Reading,
    next_renewal: Instant,
    renewals: u64,
    /// Renewals whose answer may still come.
    open: BTreeMap<Renewal, Open>,
    lost: Option<LossReason>,
}

#[derive(Clone, Copy, Debug)]
struct Open {
    sent: Reading,
    endpoint: Endpoint,
    /// Its silence has been held against the endpoint.
    overdue: bool,
}

/// Most renewals whose answers are awaited; older ones are given up.
const OPEN_MAX: usize = 16;

impl Lease {
    /// A lease that was granted for `ttl` in answer to a request sent at `sent`.
    #[must_use]
    pub fn granted(
        ttl: Duration,
        sent: Reading,
        now: Instant,
        clock: Reading,
        config: LeaseConfig,
        prng: Prng,
    ) -> Self {
        let mut lease = Self {
            config,
            prng,
            ttl,
            sent,
            next_renewal: now,
            renewals: 0,
            open: BTreeMap::new(),
            lost: None,
        };
        lease.renew_in_time(now, clock);
        lease
    }

    /// What may be thought of it at the moment of `clock`.
    ///
    /// Whoever acts in the lease's name reads the clock and asks this before each deed.
    #[must_use]
    pub fn standing(&self, clock: Reading) -> Standing {
        if let Some(reason) = self.lost {
            return Standing::Lost(reason);
        }
        let left = self.valid_for().saturating_sub(self.age(clock));
        if left.is_zero() {
            Standing::Lapsed
        } else if left < self.ttl / 3 {
            Standing::AtRisk(left)
        } else {
            Standing::Held(left)
        }
    }

    /// The time to live that was confirmed last.
    #[must_use]
    pub fn ttl(&self) -> Duration {
        self.ttl
    }

    /// What to do now.
    pub fn step(&mut self, now: Instant, clock: Reading, session: &mut Session) -> LeaseStep {
        let age = self.age(clock);
        let given_up = self.ttl.saturating_add(self.config.grace);
        if self.lost.is_none() && age >= given_up {
            self.lost = Some(LossReason::Silence);
        }
        if let Some(reason) = self.lost {
            return LeaseStep::End(reason);
        }
        if now >= self.next_renewal {
            // The last one has had its time; if it was not answered, somebody else is asked.
            if let Some(mut unanswered) = self.open.last_entry()
                && !std::mem::replace(&mut unanswered.get_mut().overdue, true)
            {
                session.endpoints.failed(now, unanswered.get().endpoint);
            }
            match session.endpoints.choose(now) {
                Choice::Ask(endpoint) => return self.renew(now, clock, endpoint),
                Choice::Wait(until) => self.next_renewal = until,
            }
        }
        let changes = [
            self.valid_for().saturating_sub(self.ttl / 3),
            self.valid_for(),
            given_up,
        ];
        let change = changes.into_iter().find(|at| *at > age);
        // The two clocks need not agree: if this is too early, there will be another step.
        let until_change = change.map_or(Duration::ZERO, |at| at - age) + Duration::from_micros(10);
        LeaseStep::Wait(self.next_renewal.min(now + until_change))
    }

    /// A request to renew was answered with this time to live; zero says that there is no such
    /// lease. Answers may come late and in any order.
    pub fn renewed(
        &mut self,
        now: Instant,
        clock: Reading,
        renewal: Renewal,
        ttl: Duration,
        session: &mut Session,
    ) {
        let Some(open) = self.open.remove(&renewal) else {
            return;
        };
        session.endpoints.worked(open.endpoint);
        if ttl.is_zero() {
            self.lost = self.lost.or(Some(LossReason::Ended));
            return;
        }
        let age = clock.since(open.sent).max;
        // The answer to an earlier request proves less than one to a later request.
        if ttl.saturating_add(self.age(clock)) > self.ttl.saturating_add(age) {
            self.sent = open.sent;
            self.ttl = ttl;
            self.open.retain(|other, _| *other > renewal);
            self.renew_in_time(now, clock);
        }
    }

    /// A request to renew will not be answered any more.
    pub fn failed(&mut self, now: Instant, renewal: Renewal, session: &mut Session) {
        let Some(open) = self.open.remove(&renewal) else {
            return;
        };
        if !open.overdue {
            session.endpoints.failed(now, open.endpoint);
        }
        let soon = now + self.retry_pause();
        self.next_renewal = self.next_renewal.min(soon);
    }

    fn renew(&mut self, now: Instant, clock: Reading, endpoint: Endpoint) -> LeaseStep {
        self.renewals += 1;
        let renewal = Renewal(self.renewals);
        let open = Open {
            sent: clock,
            endpoint,
            overdue: false,
        };
        self.open.insert(renewal, open);
        if self.open.len() > OPEN_MAX {
            self.open.pop_first();
        }
        let until_half = (self.ttl / 2).saturating_sub(self.age(clock));
        self.next_renewal = now + until_half.max(self.retry_pause());
        LeaseStep::Renew { renewal, endpoint }
    }

    /// Plans the next renewal for a third of the time to live, give or take a tenth of that.
    fn renew_in_time(&mut self, now: Instant, clock: Reading) {
        let third = self.jittered(self.ttl / 3);
        self.next_renewal = now + third.saturating_sub(self.age(clock));
    }

    /// The pause between renewals that fail.
    fn retry_pause(&mut self) -> Duration {
        self.jittered((self.ttl / 20).max(Duration::from_millis(1)))
    }

    fn jittered(&mut self, around: Duration) -> Duration {
        let tenth = around / 10;
        let spread = u64::try_from(tenth.as_nanos()).unwrap_or(u64::MAX / 4) * 2;
        around - tenth + Duration::from_nanos(self.prng.below(spread + 1))
    }

    /// The most that can have passed since the confirmed request was sent.
    fn age(&self, clock: Reading) -> Duration {
        clock.since(self.sent).max
    }

    fn valid_for(&self) -> Duration {
        self.ttl - self.ttl / 50
    }
}

//! Which member to ask.

use std::time::Duration;
use synod_env::{Instant, Prng};

/// A member's place in the list of endpoints that the client was given.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Endpoint(pub usize);

/// How long an endpoint is left alone after it failed.
///
/// The pause doubles with each failure in a row, and each is drawn between half of it and all of
/// it, so that clients that failed together do not come back together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Backoff {
    /// The longest pause after the first failure.
    pub first: Duration,
    /// The longest pause at all.
    pub most: Duration,
}

impl Default for Backoff {
    fn default() -> Self {
        Self {
            first: Duration::from_millis(50),
            most: Duration::from_secs(2),
        }
    }
}

impl Backoff {
    /// The pause after that many failures in a row, at least one.
    fn pause(&self, failures: u32, prng: &mut Prng) -> Duration {
        let doublings = failures.saturating_sub(1).min(31);
        let whole = self.first.saturating_mul(1 << doublings).min(self.most);
        let half = whole / 2;
        let spread = u64::try_from((whole - half).as_nanos()).unwrap_or(u64::MAX - 1);
        half + Duration::from_nanos(prng.below(spread.saturating_add(1)))
    }
}

/// Whom to ask now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Choice {
    /// That one.
    Ask(Endpoint),
    /// Nobody before then: all have failed lately.
    Wait(Instant),
}

/// The members that can be asked, and how they have fared.
///
/// One is kept as long as it works, so that connections are few and warm; clients spread over the
/// members because each begins at a place of its own. After a failure the next one is asked at
/// once: pauses keep the client from hammering a member, not from finding another.
#[derive(Clone, Debug)]
pub struct Endpoints {
    backoff: Backoff,
    prng: Prng,
    /// How each has fared, by its place in the list.
    health: Vec<Health>,
    /// The order in which they are tried.
    order: Vec<Endpoint>,
    /// The place in `order` at which the search for another begins.
    turn: usize,
    /// The one that is kept while it works.
    current: Option<Endpoint>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Health {
    /// Failures since it last worked.
    failures: u32,
    /// It is left alone until then.
    rests_until: Instant,
}

impl Endpoints {
    /// That many endpoints, in an order drawn from `prng`.
    ///
    /// # Panics
    /// If there is none.
    #[must_use]
    pub fn new(count: usize, backoff: Backoff, mut prng: Prng) -> Self {
        assert!(count > 0, "a client needs an endpoint");
        let mut order: Vec<Endpoint> = (0..count).map(Endpoint).collect();
        for unplaced in (1..count).rev() {
            let bound = u64::try_from(unplaced + 1).expect("a count fits");
            let drawn = usize::try_from(prng.below(bound)).expect("below a count");
            order.swap(unplaced, drawn);
        }
        Self {
            backoff,
            prng,
            health: vec![Health::default(); count],
            order,
            turn: 0,
            current: None,
        }
    }

    /// How many there are.
    #[must_use]
    pub fn count(&self) -> usize {
        self.health.len()
    }

    /// The one that is kept while it works.
    #[must_use]
    pub fn current(&self) -> Option<Endpoint> {
        self.current
    }

    /// Whether it has failed since it last worked. A connection to it that stands all the same may
    /// be one on which nobody answers.
    ///
    /// # Panics
    /// If there is no such endpoint.
    #[must_use]
    pub fn is_doubtful(&self, endpoint: Endpoint) -> bool {
        self.health[endpoint.0].failures > 0
    }

    /// Whom to ask now: the current one; without one, whoever has failed the least often lately.
    pub fn choose(&mut self, now: Instant) -> Choice {
        if let Some(current) = self.current {
            return Choice::Ask(current);
        }
        let count = self.order.len();
        let next = (0..count)
            .map(|step| (self.turn + step) % count)
            .filter(|place| !self.rests(now, self.order[*place]))
            .min_by_key(|place| self.health[self.order[*place].0].failures);
        match next {
            Some(place) => {
                let chosen = self.order[place];
                self.turn = (place + 1) % count;
                self.current = Some(chosen);
                Choice::Ask(chosen)
            }
            None => Choice::Wait(self.earliest()),
        }
    }

    /// It answered.
    ///
    /// # Panics
    /// If there is no such endpoint.
    pub fn worked(&mut self, endpoint: Endpoint) {
        self.health[endpoint.0] = Health::default();
    }

    /// It could not be reached, could not serve, or was silent for too long.
    ///
    /// While it rests anyway, further failures are echoes of the first and do not count: all
    /// requests on a connection fail when it breaks.
    ///
    /// # Panics
    /// If there is no such endpoint.
    pub fn failed(&mut self, now: Instant, endpoint: Endpoint) {
        if self.current == Some(endpoint) {
            self.current = None;
        }
        if self.rests(now, endpoint) {
            return;
        }
        let health = &mut self.health[endpoint.0];
        health.failures = health.failures.saturating_add(1);
        health.rests_until = now + self.backoff.pause(health.failures, &mut self.prng);
    }

    /// Somebody says that this one leads, so that asking it saves a detour. Taken up unless it
    /// has failed lately; nothing depends on it.
    ///
    /// # Panics
    /// If there is no such endpoint.
    pub fn hint(&mut self, now: Instant, leader: Endpoint) {
        if !self.rests(now, leader) {
            self.current = Some(leader);
        }
    }

    fn rests(&self, now: Instant, endpoint: Endpoint) -> bool {
        now < self.health[endpoint.0].rests_until
    }

    /// When the first of those that rest may be asked again.
    fn earliest(&self) -> Instant {
        self.health
            .iter()
            .map(|health| health.rests_until)
            .min()
            .expect("there is an endpoint")
    }
}

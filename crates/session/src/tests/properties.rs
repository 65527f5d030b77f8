//! What holds whatever the world does: each test plays many worlds, each drawn from a seed that a
//! failure prints.

use crate::{
    Attempt, Backoff, Budget, BudgetConfig, Call, CallConfig, Choice, Class, Delivery, Ended,
    Endpoint, Endpoints, Lease, LeaseConfig, LeaseStep, Message, Outcome, Renewal, Revision,
    Session, Standing, Step, StreamId, Watch, WatchConfig, WatchStep,
};
use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;
use synod_env::{Instant, Prng, Reading};

const MS: u64 = 1_000_000;

fn at(ns: u64) -> Instant {
    Instant::from_nanos(ns)
}

fn session(prng: &mut Prng) -> Session {
    let count = usize::try_from(1 + prng.below(4)).unwrap();
    let budget = BudgetConfig {
        per_hundred_calls: 20,
        per_second: 1 + u32::try_from(prng.below(50)).unwrap(),
        saved_max: 1 + u32::try_from(prng.below(20)).unwrap(),
    };
    Session::new(count, Backoff::default(), budget, prng.fork())
}

/// What the service does with the attempts of a call.
#[derive(Default)]
struct Service {
    /// Reports on their way, by when they arrive.
    reports: BTreeMap<(u64, u32), (Attempt, Ended<(), ()>)>,
    /// How many attempts were done, sooner or later.
    done: u32,
}

impl Service {
    /// Decides what becomes of an attempt that is sent `now`.
    fn receive(&mut self, prng: &mut Prng, now: u64, attempt: Attempt) {
        let ended = match prng.below(5) {
            0 => Some(Ended::Answered(())),
            1 => Some(Ended::Refused(())),
            2 => Some(Ended::NotDone(())),
            3 => Some(Ended::Lost(())),
            _ => None,
        };
        // Whoever hears that it was done can rely on it; a lost one is done, or not, or later.
        self.done += match ended {
            Some(Ended::Answered(())) => 1,
            Some(Ended::Refused(()) | Ended::NotDone(())) => 0,
            Some(Ended::Lost(())) | None => u32::from(prng.chance(1, 2)),
        };
        if let Some(ended) = ended {
            let arrival = now + prng.below(3_000) * MS;
            self.reports.insert((arrival, attempt.0), (attempt, ended));
        }
    }
}

#[test]
fn an_outcome_never_says_more_than_is_known() {
    for seed in 0..3_000 {
        let mut prng = Prng::new(seed);
        let mut session = session(&mut prng);
        let class =
            [Class::Read, Class::Write, Class::Idempotent][usize::try_from(seed % 3).unwrap()];
        let config = CallConfig {
            attempt_patience: Duration::from_millis(1 + prng.below(2_000)),
            attempts_max: 1 + u32::try_from(prng.below(10)).unwrap(),
        };
        let deadline = prng.below(8_000) * MS;
        let mut call = Call::new(class, at(deadline), config);
        let mut service = Service::default();
        let mut now = 0;
        let outcome = loop {
            match call.step(at(now), &mut session) {
                Step::Send {
                    attempt, send_by, ..
                } => {
                    assert!(at(now) < send_by && send_by <= at(deadline), "seed {seed}");
                    service.receive(&mut prng, now, attempt);
                }
                Step::Wait(until) => {
                    assert!(
                        until > at(now) && until <= at(deadline),
                        "seed {seed}: {until}"
                    );
                    let arrival = service.reports.first_entry();
                    let arrival = arrival.filter(|entry| at(entry.key().0) <= until);
                    now = arrival
                        .as_ref()
                        .map_or(until.as_nanos(), |entry| entry.key().0);
                    if let Some(entry) = arrival {
                        let (attempt, ended) = entry.remove();
                        call.report(at(now), attempt, ended.clone(), &mut session);
                        // A report that comes twice says nothing new.
                        call.report(at(now), attempt, ended, &mut session);
                    }
                }
                Step::End(outcome) => break outcome,
            }
        };
        assert!(now <= deadline, "seed {seed}: ended at {now}");
        match (class, outcome) {
            (Class::Write | Class::Idempotent, Outcome::Refused(_)) => {
                assert_eq!(
                    service.done, 0,
                    "seed {seed}: refused, and done all the same"
                );
            }
            (_, Outcome::Done(())) => assert!(service.done > 0, "seed {seed}: not done"),
            (_, Outcome::Unknown(_)) | (Class::Read, Outcome::Refused(_)) => {}
        }
        if class == Class::Write {
            assert!(
                service.done <= 1,
                "seed {seed}: a write was done {} times",
                service.done
            );
        }
    }
}

#[test]
fn an_endpoint_that_failed_is_left_alone_for_a_while() {
    for seed in 0..500 {
        let mut prng = Prng::new(seed);
        let backoff = Backoff {
            first: Duration::from_millis(1 + prng.below(100)),
            most: Duration::from_millis(100 + prng.below(3_000)),
        };
        let count = 1 + prng.below(4);
        let mut endpoints = Endpoints::new(usize::try_from(count).unwrap(), backoff, prng.fork());
        let mut failed_at: BTreeMap<Endpoint, u64> = BTreeMap::new();
        let mut now = 0;
        for _ in 0..200 {
            match endpoints.choose(at(now)) {
                Choice::Ask(endpoint) => {
                    if let Some(failed) = failed_at.remove(&endpoint) {
                        let rested = Duration::from_nanos(now - failed);
                        assert!(rested >= backoff.first / 2, "seed {seed}: {rested:?}");
                    }
                    if prng.chance(2, 3) {
                        endpoints.failed(at(now), endpoint);
                        assert!(endpoints.is_doubtful(endpoint), "seed {seed}");
                        failed_at.insert(endpoint, now);
                    } else {
                        endpoints.worked(endpoint);
                        assert!(!endpoints.is_doubtful(endpoint), "seed {seed}");
                        assert_eq!(endpoints.choose(at(now)), Choice::Ask(endpoint));
                        now += prng.below(50) * MS;
                    }
                }
                Choice::Wait(until) => {
                    assert!(until > at(now), "seed {seed}");
                    assert!(until <= at(now) + backoff.most, "seed {seed}");
                    assert_eq!(
                        failed_at.len(),
                        endpoints.count(),
                        "seed {seed}: somebody could be asked"
                    );
                    now = until.as_nanos();
                }
            }
        }
    }
}

#[test]
fn attempts_beyond_the_first_keep_to_their_budget() {
    for seed in 0..200 {
        let mut prng = Prng::new(seed);
        let config = BudgetConfig {
            per_hundred_calls: u32::try_from(prng.below(100)).unwrap(),
            per_second: 1 + u32::try_from(prng.below(30)).unwrap(),
            saved_max: 1 + u32::try_from(prng.below(30)).unwrap(),
        };
        let mut budget = Budget::new(config);
        let (mut now, mut calls, mut taken) = (0, 0, 0);
        for _ in 0..2_000 {
            if prng.chance(1, 3) {
                budget.call();
                calls += 1;
            }
            match budget.take(at(now)) {
                Ok(()) => taken += 1,
                Err(later) => {
                    assert!(later > at(now), "seed {seed}");
                    if prng.chance(1, 2) {
                        now = later.as_nanos();
                        assert_eq!(budget.take(at(now)), Ok(()), "seed {seed}: as promised");
                        taken += 1;
                    }
                }
            }
            now += prng.below(20) * MS;
        }
        let allowed = f64::from(config.saved_max)
            + f64::from(config.per_second) * (now as f64 / 1e9)
            + f64::from(config.per_hundred_calls) * f64::from(calls) / 100.0;
        assert!(
            f64::from(taken) <= allowed,
            "seed {seed}: {taken} of {allowed}"
        );
    }
}

/// A clock whose two oscillators run off by up to the assumed error, one of them perhaps slewed
/// by five percent.
struct Clock {
    boot_ppm: i64,
    raw_ppm: i64,
}

impl Clock {
    fn draw(prng: &mut Prng) -> Self {
        let mut ppm = || i64::try_from(prng.below(401)).unwrap() - 200;
        let (boot_ppm, raw_ppm) = (ppm(), ppm());
        let slewed = if prng.chance(1, 2) { 50_000 } else { 0 };
        Self {
            boot_ppm: boot_ppm + if prng.chance(1, 2) { slewed } else { -slewed },
            raw_ppm,
        }
    }

    fn read(&self, real_ns: u64) -> Reading {
        let run = |ppm: i64| {
            let real = i128::from(real_ns);
            u64::try_from(real + real * i128::from(ppm) / 1_000_000).unwrap()
        };
        Reading {
            boot_ns: run(self.boot_ppm),
            raw_ns: run(self.raw_ppm),
        }
    }
}

#[test]
fn a_holder_stops_to_rely_on_a_lease_before_the_service_ends_it() {
    let mut held_to_the_end = 0;
    for seed in 0..400 {
        let mut prng = Prng::new(seed);
        let mut session = session(&mut prng);
        let (holder, server) = (Clock::draw(&mut prng), Clock::draw(&mut prng));
        let ttl_ms = 50 + prng.below(20_000);
        let ttl = Duration::from_millis(ttl_ms);
        // The network: how long messages take at most, and how many are lost.
        let delay_max_ms = 1 + prng.below(ttl_ms);
        let lost_percent = prng.below(95);
        let mut delay = prng.fork();
        let mut delay = move || delay.below(delay_max_ms * MS);

        let granted = server.read(delay());
        let mut real = granted.raw_ns + delay();
        let sent = holder.read(0);
        let clock = holder.read(real);
        let now = |real| at(holder.read(real).boot_ns);
        let config = LeaseConfig::default();
        let mut lease = Lease::granted(ttl, sent, now(real), clock, config, prng.fork());

        // The service: since when the time to live counts, and whether it has ended the lease.
        let (mut renewed_at, mut ended) = (granted, false);
        let mut requests: BTreeMap<(u64, Renewal), ()> = BTreeMap::new();
        let mut answers: BTreeMap<(u64, Renewal), Duration> = BTreeMap::new();
        for _ in 0..300 {
            let step = lease.step(now(real), holder.read(real), &mut session);
            let wake = match step {
                LeaseStep::Renew { renewal, .. } => {
                    if !prng.chance(lost_percent, 100) {
                        requests.insert((real + delay(), renewal), ());
                    }
                    continue;
                }
                LeaseStep::Wait(until) => until,
                LeaseStep::End(_) => break,
            };
            // Whatever comes first: the holder's timer, a message, or somebody who looks.
            let asleep = wake.saturating_since(now(real));
            let mut next = real + u64::try_from(asleep.as_nanos()).unwrap() * 11 / 10 + 1;
            next = next.min(real + 1 + prng.below(ttl_ms * MS / 4));
            next = requests
                .first_key_value()
                .map_or(next, |((at, _), ())| next.min(*at));
            next = answers
                .first_key_value()
                .map_or(next, |((at, _), _)| next.min(*at));
            real = real.max(next);

            ended |= server.read(real).since(renewed_at).min >= ttl;
            while let Some(entry) = requests.first_entry().filter(|entry| entry.key().0 <= real) {
                let ((_, renewal), ()) = entry.remove_entry();
                if !ended {
                    renewed_at = server.read(real);
                }
                if !prng.chance(lost_percent, 100) {
                    let answer = if ended { Duration::ZERO } else { ttl };
                    answers.insert((real + delay(), renewal), answer);
                }
            }
            while let Some(entry) = answers.first_entry().filter(|entry| entry.key().0 <= real) {
                let ((_, renewal), answer) = entry.remove_entry();
                let clock = holder.read(real);
                lease.renewed(now(real), clock, renewal, answer, &mut session);
            }
            match lease.standing(holder.read(real)) {
                Standing::Held(_) | Standing::AtRisk(_) => {
                    assert!(!ended, "seed {seed}: relied on at {real} ns, and ended");
                }
                Standing::Lapsed | Standing::Lost(_) => {}
            }
        }
        held_to_the_end += u32::from(!ended);
    }
    // Otherwise the worlds are too hostile to show anything.
    assert!(
        (50..350).contains(&held_to_the_end),
        "{held_to_the_end} of 400"
    );
}

/// A stream as the service serves it: what it is going to say, in order.
fn stream(prng: &mut Prng, history: &[u64], start: Revision) -> VecDeque<Message<u64>> {
    let mut messages = VecDeque::from([Message::Created(Revision(history.len() as u64 - 1))]);
    let mut batch = Vec::new();
    let from = usize::try_from(start.0).unwrap();
    for (revision, events) in history.iter().enumerate().skip(from) {
        let revision = Revision(revision as u64);
        for event in 0..*events {
            batch.push((revision, event));
            if prng.chance(1, 4) && event + 1 < *events {
                let events = std::mem::take(&mut batch);
                let fragment = true;
                messages.push_back(Message::Events { events, fragment });
            }
        }
        if prng.chance(1, 2) && !batch.is_empty() {
            let events = std::mem::take(&mut batch);
            let fragment = false;
            messages.push_back(Message::Events { events, fragment });
            if prng.chance(1, 2) {
                messages.push_back(Message::Progress(revision));
            }
        }
    }
    if !batch.is_empty() {
        let (events, fragment) = (batch, false);
        messages.push_back(Message::Events { events, fragment });
    }
    messages
}

#[test]
fn a_watch_over_broken_streams_brings_each_change_once_and_revisions_whole() {
    for seed in 0..500 {
        let mut prng = Prng::new(seed);
        let mut session = session(&mut prng);
        // How many events each revision has; some have none that concern this watch.
        let history: Vec<u64> = (0..40).map(|_| prng.below(5)).collect();
        let start = Revision(prng.below(20));
        let mut watch = Watch::new(Some(start), WatchConfig::default());
        let mut streams: BTreeMap<StreamId, VecDeque<Message<u64>>> = BTreeMap::new();
        let mut seen = Vec::new();
        let mut now = 0;
        let end = Revision(history.len() as u64);
        for _ in 0..10_000 {
            match watch.step(at(now), &mut session) {
                WatchStep::Open {
                    stream: id, start, ..
                } => {
                    let start = start.expect("it began with a start");
                    streams.insert(id, stream(&mut prng, &history, start));
                    continue;
                }
                WatchStep::AskProgress(_) => continue,
                WatchStep::Wait(until) => assert!(until > at(now), "seed {seed}: {until}"),
                WatchStep::End(end) => panic!("seed {seed}: {end:?}"),
            }
            now += prng.below(400) * MS;
            // Any stream may speak, an old one too.
            let Some((last, _)) = streams.last_key_value() else {
                continue;
            };
            let id = StreamId(1 + prng.below(last.0));
            if prng.chance(1, 12) {
                watch.broken(at(now), id, &mut session);
                continue;
            }
            let Some(message) = streams.get_mut(&id).and_then(VecDeque::pop_front) else {
                continue;
            };
            match watch.take(at(now), id, message, &mut session) {
                None | Some(Delivery::Created(_)) => {}
                Some(Delivery::Progress(revision)) => {
                    assert!(watch.next() > Some(revision), "seed {seed}");
                }
                Some(Delivery::Events(events)) => {
                    for revision in events.iter().map(|(revision, _)| *revision) {
                        let here = events
                            .iter()
                            .filter(|(other, _)| *other == revision)
                            .count();
                        let all = history[usize::try_from(revision.0).unwrap()];
                        assert_eq!(
                            here as u64, all,
                            "seed {seed}: revision {revision:?} was cut"
                        );
                    }
                    seen.extend(events);
                }
                Some(Delivery::End(end)) => panic!("seed {seed}: {end:?}"),
            }
        }
        let all: Vec<(Revision, u64)> = (start.0..end.0)
            .flat_map(|revision| {
                let events = history[usize::try_from(revision).unwrap()];
                (0..events).map(move |event| (Revision(revision), event))
            })
            .collect();
        assert_eq!(seen, all, "seed {seed}");
        assert_eq!(
            watch.repeated(),
            0,
            "seed {seed}: the service kept to the start it was given"
        );
    }
}

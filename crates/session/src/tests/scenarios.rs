//! Runs `testdata/*.txt`: prose, commands, recorded output. `UPDATE=1` rewrites the output.
//!
//! A block is lines that begin with `> `, then `---`, then what they printed, up to an empty
//! line. Everything else is prose. Each file begins at time zero. Commands:
//!
//! ```text
//! endpoints COUNT [seed=N] [first=MS] [most=MS] [per_second=N] [saved=N]   a new session
//! call read|write|idempotent [deadline=MS] [patience=MS] [attempts=N]     a new call, stepped
//! answered ATTEMPT | refused ATTEMPT | notdone ATTEMPT | lost ATTEMPT     reports of it
//! held ATTEMPT | sent ATTEMPT          it has not left yet; it leaves now
//! lease TTL_MS [sent=MS] [grace=MS]    a lease, granted now to a request sent then
//! renewed RENEWAL TTL_MS | failed RENEWAL | standing
//! watch [FROM] [quiet=MS]              a watch
//! created STREAM REVISION | progress STREAM REVISION | compacted STREAM REVISION
//! events STREAM REVISION:NAME... [...]  where a final `...` says that more of the last follow
//! cancelled STREAM | broken STREAM
//! wait MS      lets time pass, stepping when asked to
//! jump MS      as if the machine had stood still: time has passed, and no timer has rung
//! choose | works ENDPOINT | fails ENDPOINT | hint ENDPOINT | retry
//! ```
//!
//! What the last command that made a call, a lease or a watch made is the one that is stepped.

use crate::{
    Attempt, Backoff, BudgetConfig, Call, CallConfig, Choice, Class, Delivery, Ended, Endpoint,
    Lease, LeaseConfig, LeaseStep, Message, Outcome, Renewal, Revision, Session, Step, StreamId,
    Watch, WatchConfig, WatchStep,
};
use std::fmt::Write as _;
use std::path::Path;
use std::time::Duration;
use synod_env::{Instant, Prng, Reading};

#[test]
#[expect(
    clippy::disallowed_methods,
    reason = "a test reads and rewrites its own files"
)]
fn scenarios_print_what_was_recorded() {
    let update = std::env::var_os("UPDATE").is_some();
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata");
    let mut files: Vec<_> = folder
        .read_dir()
        .expect("testdata is there")
        .map(|file| file.unwrap().path())
        .collect();
    files.sort();
    assert!(!files.is_empty(), "no scenario is in testdata");
    for file in files {
        let recorded = std::fs::read_to_string(&file).unwrap();
        let printed = Scenario::new().run(&recorded);
        if update {
            std::fs::write(&file, &printed).unwrap();
        } else {
            let mut lines = recorded.lines().zip(printed.lines());
            let place = lines.position(|(a, b)| a != b);
            let line = place.unwrap_or(recorded.lines().count()) + 1;
            assert!(
                recorded == printed,
                "{} differs from line {line} on:\n{printed}\nUPDATE=1 records this",
                file.display()
            );
        }
    }
}

enum Machine {
    None,
    Call(Call<(), ()>),
    Lease(Lease),
    Watch(Watch<String>),
}

struct Scenario {
    now: Instant,
    session: Session,
    machine: Machine,
    /// When the machine wants to be stepped again.
    wake: Option<Instant>,
    out: String,
}

impl Scenario {
    fn new() -> Self {
        Self {
            now: Instant::ZERO,
            session: session(&["3"]),
            machine: Machine::None,
            wake: None,
            out: String::new(),
        }
    }

    fn run(mut self, text: &str) -> String {
        let mut commands = Vec::new();
        let mut lines = text.lines();
        while let Some(line) = lines.next() {
            writeln!(self.out, "{line}").unwrap();
            if let Some(command) = line.strip_prefix("> ") {
                commands.push(command);
            } else if line == "---" {
                let recorded = lines.by_ref().take_while(|line| !line.is_empty());
                recorded.for_each(drop);
                for command in commands.drain(..) {
                    self.command(command);
                }
                self.out.push('\n');
            }
        }
        // The last block has no empty line of its own behind it.
        while self.out.ends_with("\n\n") {
            self.out.pop();
        }
        self.out
    }

    /// The decision clock agrees with the timer clock.
    fn clock(&self) -> Reading {
        Reading {
            boot_ns: self.now.as_nanos(),
            raw_ns: self.now.as_nanos(),
        }
    }

    fn command(&mut self, line: &str) {
        let words: Vec<&str> = line.split_whitespace().collect();
        let (now, clock) = (self.now, self.clock());
        match (&mut self.machine, &words[..]) {
            (_, ["endpoints", rest @ ..]) => {
                self.session = session(rest);
                self.machine = Machine::None;
                self.wake = None;
                return;
            }
            (_, ["call", class, rest @ ..]) => {
                let class = match *class {
                    "read" => Class::Read,
                    "write" => Class::Write,
                    "idempotent" => Class::Idempotent,
                    other => panic!("no such class: {other}"),
                };
                let deadline = now + option_ms(rest, "deadline=", 5_000);
                let config = CallConfig {
                    attempt_patience: option_ms(rest, "patience=", 2_000),
                    attempts_max: u32::try_from(option(rest, "attempts=", 64)).unwrap(),
                };
                self.machine = Machine::Call(Call::new(class, deadline, config));
            }
            (_, ["lease", ttl, rest @ ..]) => {
                let sent = option(rest, "sent=", now.as_nanos() / 1_000_000) * 1_000_000;
                let sent = Reading {
                    boot_ns: sent,
                    raw_ns: sent,
                };
                let grace = option_ms(rest, "grace=", 45_000);
                let config = LeaseConfig { grace };
                let lease = Lease::granted(ms(ttl), sent, now, clock, config, Prng::new(1));
                self.machine = Machine::Lease(lease);
            }
            (_, ["watch", rest @ ..]) => {
                let from = rest.first().filter(|word| !word.contains('='));
                let quiet_max = option_ms(rest, "quiet=", 10_000);
                let start = from.map(|from| revision(from));
                self.machine = Machine::Watch(Watch::new(start, WatchConfig { quiet_max }));
            }
            (_, ["wait", time]) => return self.pass(now + ms(time)),
            (_, ["jump", time]) => {
                self.now = now + ms(time);
                return;
            }
            (_, ["choose"]) => {
                let choice = match self.session.endpoints.choose(now) {
                    Choice::Ask(endpoint) => format!("ask {}", name(endpoint)),
                    Choice::Wait(until) => format!("wait until {until}"),
                };
                return self.say(&choice);
            }
            (_, ["works", endpoint]) => return self.session.endpoints.worked(place(endpoint)),
            (_, ["fails", endpoint]) => {
                return self.session.endpoints.failed(now, place(endpoint));
            }
            (_, ["hint", endpoint]) => return self.session.endpoints.hint(now, place(endpoint)),
            (_, ["retry"]) => {
                let taken = match self.session.budget.take(now) {
                    Ok(()) => "granted".to_owned(),
                    Err(at) => format!("not before {at}"),
                };
                return self.say(&taken);
            }
            (Machine::Call(call), ["held", attempt]) => {
                call.held(Attempt(attempt.parse().unwrap()));
            }
            (Machine::Call(call), ["sent", attempt]) => {
                call.sent(Attempt(attempt.parse().unwrap()));
            }
            (Machine::Call(call), [ended, attempt]) => {
                let attempt = Attempt(attempt.parse().unwrap());
                let ended = match *ended {
                    "answered" => Ended::Answered(()),
                    "refused" => Ended::Refused(()),
                    "notdone" => Ended::NotDone(()),
                    "lost" => Ended::Lost(()),
                    other => panic!("no such end: {other}"),
                };
                call.report(now, attempt, ended, &mut self.session);
                // A call that is over is not stepped any more.
                if self.wake.is_none() {
                    return self.say("nothing changes");
                }
            }
            (Machine::Lease(lease), ["renewed", renewal, ttl]) => {
                let renewal = Renewal(renewal.parse().unwrap());
                lease.renewed(now, clock, renewal, ms(ttl), &mut self.session);
            }
            (Machine::Lease(lease), ["failed", renewal]) => {
                let renewal = Renewal(renewal.parse().unwrap());
                lease.failed(now, renewal, &mut self.session);
            }
            (Machine::Lease(lease), ["standing"]) => {
                let standing = format!("{:?}", lease.standing(clock));
                return self.say(&standing);
            }
            (Machine::Watch(watch), ["broken", stream]) => {
                watch.broken(now, stream_id(stream), &mut self.session);
            }
            (Machine::Watch(watch), [kind, stream, rest @ ..]) => {
                let message = match (*kind, rest) {
                    ("created", [at]) => Message::Created(revision(at)),
                    ("progress", [at]) => Message::Progress(revision(at)),
                    ("compacted", [at]) => Message::Compacted(revision(at)),
                    ("cancelled", []) => Message::Cancelled("because".to_owned()),
                    ("events", words) => events(words),
                    other => panic!("no such message: {other:?}"),
                };
                let delivery = watch.take(now, stream_id(stream), message, &mut self.session);
                match delivery {
                    None => self.say("nothing is delivered"),
                    Some(delivery) => self.say(&show(&delivery)),
                }
            }
            (_, other) => panic!("no such command here: {other:?}"),
        }
        self.step();
    }

    fn say(&mut self, what: &str) {
        writeln!(self.out, "{} {what}", self.now).unwrap();
    }

    /// Lets time pass until `end`, with a step whenever the machine asks for it.
    fn pass(&mut self, end: Instant) {
        while let Some(wake) = self.wake.filter(|wake| *wake <= end) {
            self.now = self.now.max(wake);
            self.step();
        }
        self.now = end;
    }

    /// Steps the machine until it waits or ends.
    fn step(&mut self) {
        loop {
            let (now, clock) = (self.now, self.clock());
            let (said, wake) = match &mut self.machine {
                Machine::None => return,
                Machine::Call(call) => match call.step(now, &mut self.session) {
                    Step::Send {
                        attempt,
                        endpoint,
                        send_by,
                    } => (
                        format!("send {} to {} by {send_by}", attempt.0, name(endpoint)),
                        Some(now),
                    ),
                    Step::Wait(until) => (String::new(), Some(until)),
                    Step::End(outcome) => (show_outcome(&outcome), None),
                },
                Machine::Lease(lease) => match lease.step(now, clock, &mut self.session) {
                    LeaseStep::Renew { renewal, endpoint } => (
                        format!("renew {} at {}", renewal.0, name(endpoint)),
                        Some(now),
                    ),
                    LeaseStep::Wait(until) => (String::new(), Some(until)),
                    LeaseStep::End(reason) => (format!("lost: {reason:?}"), None),
                },
                Machine::Watch(watch) => match watch.step(now, &mut self.session) {
                    WatchStep::Open {
                        stream,
                        endpoint,
                        start,
                    } => {
                        let start = start.map_or("now".to_owned(), |start| start.0.to_string());
                        let place = name(endpoint);
                        (
                            format!("open {} at {place} from {start}", stream.0),
                            Some(now),
                        )
                    }
                    WatchStep::AskProgress(stream) => {
                        (format!("ask for progress on {}", stream.0), Some(now))
                    }
                    WatchStep::Wait(until) => (String::new(), Some(until)),
                    WatchStep::End(_) => ("the watch is over".to_owned(), None),
                },
            };
            if !said.is_empty() {
                self.say(&said);
            }
            self.wake = wake;
            if wake != Some(now) {
                return;
            }
        }
    }
}

fn session(words: &[&str]) -> Session {
    let count = words.first().expect("a count").parse().unwrap();
    let backoff = Backoff {
        first: option_ms(words, "first=", 50),
        most: option_ms(words, "most=", 2_000),
    };
    let budget = BudgetConfig {
        per_hundred_calls: 20,
        per_second: u32::try_from(option(words, "per_second=", 10)).unwrap(),
        saved_max: u32::try_from(option(words, "saved=", 50)).unwrap(),
    };
    Session::new(count, backoff, budget, Prng::new(option(words, "seed=", 1)))
}

fn option(words: &[&str], name: &str, default: u64) -> u64 {
    let given = words.iter().find_map(|word| word.strip_prefix(name));
    given.map_or(default, |text| text.parse().unwrap())
}

fn option_ms(words: &[&str], name: &str, default: u64) -> Duration {
    Duration::from_millis(option(words, name, default))
}

fn ms(text: &str) -> Duration {
    Duration::from_millis(text.parse().unwrap())
}

fn revision(text: &str) -> Revision {
    Revision(text.parse().unwrap())
}

fn stream_id(text: &str) -> StreamId {
    StreamId(text.parse().unwrap())
}

/// Endpoints are called A, B, C.
fn name(endpoint: Endpoint) -> char {
    char::from(b'A' + u8::try_from(endpoint.0).unwrap())
}

fn place(name: &str) -> Endpoint {
    Endpoint(usize::from(name.as_bytes()[0] - b'A'))
}

fn events(words: &[&str]) -> Message<String> {
    let fragment = words.last() == Some(&"...");
    let events = words.iter().filter(|word| **word != "...").map(|word| {
        let (at, name) = word.split_once(':').expect("REVISION:NAME");
        (revision(at), name.to_owned())
    });
    Message::Events {
        events: events.collect(),
        fragment,
    }
}

fn show(delivery: &Delivery<String>) -> String {
    match delivery {
        Delivery::Created(revision) => format!("delivered: created at {}", revision.0),
        Delivery::Events(events) => {
            let events: Vec<String> = events
                .iter()
                .map(|(revision, name)| format!("{}:{name}", revision.0))
                .collect();
            format!("delivered: {}", events.join(" "))
        }
        Delivery::Progress(revision) => format!("delivered: progress to {}", revision.0),
        Delivery::End(end) => format!("delivered: {end:?}"),
    }
}

fn show_outcome(outcome: &Outcome<(), ()>) -> String {
    match outcome {
        Outcome::Done(()) => "done".to_owned(),
        Outcome::Refused(refusal) => format!("refused: {refusal:?}"),
        Outcome::Unknown(last) => format!("unknown, last {last:?}"),
    }
}

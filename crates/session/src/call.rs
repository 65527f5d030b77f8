//! One request and all its attempts.

use crate::{Choice, Endpoint, Session};
use std::collections::BTreeMap;
use std::time::Duration;
use synod_env::{Bug, Instant, planted};

/// When a request may be sent again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Class {
    /// It changes nothing: at will.
    Read,
    /// It changes something: only while all earlier attempts are certainly not done.
    Write,
    /// It changes something, but doing it again, *even much later*, changes nothing more: at
    /// will. To set a key is not of this class: a second setting that comes late undoes what
    /// others have set in between. To end a lease is.
    Idempotent,
}

/// The number of an attempt within its call, from 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Attempt(pub u32);

/// How an attempt ended, as its driver knows it. `A` is an answer, `W` says why there is none.
///
/// A time-out is no end: the call counts time itself, and an answer that comes late still counts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ended<A, W> {
    /// Done, with this answer.
    Answered(A),
    /// The service says no, and would say so again: certainly not done.
    Refused(W),
    /// Certainly not done by this attempt, now or later; the next may fare better. It never left,
    /// or a member says that it could not.
    NotDone(W),
    /// No answer can come any more, and it may have been done or may yet be.
    Lost(W),
}

/// How a call ended: exactly one of three.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome<A, W> {
    /// Done, with this answer.
    Done(A),
    /// Certainly not done, and it will not be.
    Refused(Refusal<W>),
    /// Perhaps done, or yet to be done; of a read, that no answer came. With what was heard last.
    Unknown(Option<W>),
}

/// Why a request was certainly not done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refusal<W> {
    /// The service says so.
    Service(W),
    /// Nobody took it up in time; with what was heard last.
    Unavailable(Option<W>),
}

/// What a driver does next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step<A, W> {
    /// Send the request there, then step on: the call also says how long to wait for the answer.
    /// If it cannot be sent at once, see [`Call::held`].
    Send {
        /// What to call this attempt in [`Call::report`].
        attempt: Attempt,
        /// Where to send it.
        endpoint: Endpoint,
        /// What has not been sent by then should not be: report [`Ended::NotDone`].
        send_by: Instant,
    },
    /// Nothing before then, unless a report comes.
    Wait(Instant),
    /// The call is over.
    End(Outcome<A, W>),
}

/// Bounds on one call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CallConfig {
    /// How long an attempt may be silent before another endpoint is tried, if that is allowed.
    pub attempt_patience: Duration,
    /// Most attempts. To give up after each endpoint was tried once, set their number.
    pub attempts_max: u32,
}

impl Default for CallConfig {
    fn default() -> Self {
        Self {
            attempt_patience: Duration::from_secs(2),
            attempts_max: 64,
        }
    }
}

/// One request, from its first attempt to its outcome. The request itself stays with the driver.
#[derive(Clone, Debug)]
pub struct Call<A, W> {
    class: Class,
    deadline: Instant,
    config: CallConfig,
    attempts: u32,
    /// Attempts whose answer may still come.
    open: BTreeMap<Attempt, Open>,
    /// An attempt was lost that may have been done.
    maybe_done: bool,
    /// Why the last attempt that failed did.
    last: Option<W>,
    state: State<A, W>,
}

#[derive(Clone, Debug)]
enum State<A, W> {
    Running,
    /// Decided, and not told yet.
    Decided(Outcome<A, W>),
    Told,
}

#[derive(Clone, Copy, Debug)]
struct Open {
    endpoint: Endpoint,
    /// It has not left yet, and will not once the call is over.
    held: bool,
    /// When it has been silent for too long; `None` once it was.
    patience_ends: Option<Instant>,
}

impl<A, W> Call<A, W> {
    /// A call that ends at `deadline` at the latest.
    #[must_use]
    pub fn new(class: Class, deadline: Instant, config: CallConfig) -> Self {
        let class = match class {
            Class::Write if planted(Bug::ClientRetriesUnknown) => Class::Read,
            Class::Read | Class::Write | Class::Idempotent => class,
        };
        Self {
            class,
            deadline,
            config,
            attempts: 0,
            open: BTreeMap::new(),
            maybe_done: false,
            last: None,
            state: State::Running,
        }
    }

    /// When it ends at the latest.
    #[must_use]
    pub fn deadline(&self) -> Instant {
        self.deadline
    }

    /// What to do now.
    ///
    /// # Panics
    /// After [`Step::End`].
    pub fn step(&mut self, now: Instant, session: &mut Session) -> Step<A, W> {
        if matches!(self.state, State::Running) && now >= self.deadline {
            self.give_up();
        }
        match std::mem::replace(&mut self.state, State::Told) {
            State::Told => panic!("a call was stepped after its end"),
            State::Decided(outcome) => return Step::End(outcome),
            State::Running => self.state = State::Running,
        }
        for open in self.open.values_mut() {
            if open.patience_ends.is_some_and(|ends| now >= ends) {
                open.patience_ends = None;
                session.endpoints.failed(now, open.endpoint);
            }
        }
        let mut wake = self.deadline;
        if self.may_send() {
            if self.attempts >= self.config.attempts_max {
                if self.open.is_empty() {
                    self.give_up();
                    return self.step(now, session);
                }
            } else {
                match self.next_attempt(now, session) {
                    Ok(send) => return send,
                    Err(wait) => wake = wake.min(wait),
                }
            }
        }
        let patience = self.open.values().filter_map(|open| open.patience_ends);
        Step::Wait(patience.fold(wake, Instant::min))
    }

    /// An attempt cannot leave at once, because there is no connection yet, say. Until
    /// [`Call::sent`], it is certain that it was not done; if the call ends before that, the driver
    /// must not send it any more.
    pub fn held(&mut self, attempt: Attempt) {
        if let Some(open) = self.open.get_mut(&attempt) {
            open.held = true;
        }
    }

    /// An attempt that was held leaves now.
    pub fn sent(&mut self, attempt: Attempt) {
        if let Some(open) = self.open.get_mut(&attempt) {
            open.held = false;
        }
    }

    /// An attempt ended. Reports of attempts that have ended before, or that come after the
    /// outcome, change nothing but what is known of the endpoint.
    pub fn report(
        &mut self,
        now: Instant,
        attempt: Attempt,
        ended: Ended<A, W>,
        session: &mut Session,
    ) {
        let Some(open) = self.open.remove(&attempt) else {
            return;
        };
        match ended {
            Ended::Answered(_) | Ended::Refused(_) => session.endpoints.worked(open.endpoint),
            Ended::NotDone(_) | Ended::Lost(_) => {
                // Silence has been held against it already.
                if open.patience_ends.is_some() {
                    session.endpoints.failed(now, open.endpoint);
                }
            }
        }
        if !matches!(self.state, State::Running) {
            return;
        }
        match ended {
            Ended::Answered(answer) => self.state = State::Decided(Outcome::Done(answer)),
            Ended::Refused(why) => {
                // An attempt before this one may have been done: then "no" is only half the truth.
                let doubtful = self.may_be_done();
                self.state = State::Decided(if doubtful && self.class != Class::Read {
                    Outcome::Unknown(Some(why))
                } else {
                    Outcome::Refused(Refusal::Service(why))
                });
            }
            Ended::NotDone(why) => self.last = Some(why),
            Ended::Lost(why) => {
                self.maybe_done = true;
                self.last = Some(why);
                if self.class == Class::Write {
                    self.give_up();
                }
            }
        }
    }

    /// Whether another attempt is allowed and has a point.
    fn may_send(&self) -> bool {
        match self.class {
            Class::Read | Class::Idempotent => {
                self.open.values().all(|open| open.patience_ends.is_none())
            }
            Class::Write => self.open.is_empty() && !self.maybe_done,
        }
    }

    /// The next attempt, or when there can be one.
    fn next_attempt(&mut self, now: Instant, session: &mut Session) -> Result<Step<A, W>, Instant> {
        let endpoint = match session.endpoints.choose(now) {
            Choice::Ask(endpoint) => endpoint,
            Choice::Wait(until) => return Err(until),
        };
        if self.attempts == 0 {
            session.budget.call();
        } else {
            session.budget.take(now)?;
        }
        self.attempts += 1;
        let attempt = Attempt(self.attempts);
        let patience_ends = now + self.config.attempt_patience;
        let open = Open {
            endpoint,
            held: false,
            patience_ends: Some(patience_ends),
        };
        self.open.insert(attempt, open);
        Ok(Step::Send {
            attempt,
            endpoint,
            send_by: patience_ends.min(self.deadline),
        })
    }

    /// Whether an attempt may have been done, or may yet be.
    fn may_be_done(&self) -> bool {
        self.maybe_done || self.open.values().any(|open| !open.held)
    }

    /// Decides without an answer.
    fn give_up(&mut self) {
        let last = self.last.take();
        self.state = State::Decided(if self.may_be_done() {
            Outcome::Unknown(last)
        } else {
            Outcome::Refused(Refusal::Unavailable(last))
        });
    }
}

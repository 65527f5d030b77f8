//! A client's machine: the session's logic on simulated links.
//!
//! Whom to ask, when to ask again and when never, is `synod-session`'s to say; what is here sends
//! and receives, as `synod-client` does with sockets, and writes down what was asked and what came
//! of it.

mod lease;
mod watch;
mod work;

pub(crate) use self::work::Progress;

use crate::observer::Machine;
use crate::record::Record;
use crate::scenario::ClientPlan;
use crate::wire::{Answer, Ask, Ended, Parcel, Parcels, Request};
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use synod_checker::{ClientId, OpId, Operation, Outcome, Refusal, Response};
use synod_env::{Env, Instant, Lane, MemberId, Net, Prng, queue};
use synod_node::WatchMessage;
use synod_session::{
    Attempt, Backoff, BudgetConfig, Call, CallConfig, Class, Endpoint, Session, Step,
};

/// How long an operation may take.
const PATIENCE: Duration = Duration::from_secs(3);

/// How long an attempt may be silent before somebody else is asked.
const ATTEMPT_PATIENCE: Duration = Duration::from_millis(400);

/// What a client consists of, apart from its machine.
#[derive(Clone)]
pub(crate) struct Setup {
    /// Its number.
    pub(crate) number: u32,
    /// What it does.
    pub(crate) plan: ClientPlan,
    /// Decides what its operations are.
    pub(crate) workload_seed: u64,
    /// How many members it can ask.
    pub(crate) members: u32,
    /// How far its incarnations have come.
    pub(crate) progress: Arc<Progress>,
    pub(crate) parcels: Parcels,
    pub(crate) record: Record,
}

/// A client's process; cheap to clone.
#[derive(Clone)]
pub(crate) struct Client(Arc<Inner>);

struct Inner {
    env: Env,
    net: Arc<dyn Net>,
    setup: Setup,
    session: Mutex<Session>,
    /// Who waits for the answer to an attempt.
    attempts: Mutex<BTreeMap<u64, Waiting>>,
    /// Who reads a stream.
    streams: Mutex<BTreeMap<u64, queue::Sender<Arrival>>>,
    /// Attempts and streams get numbers that no process before this one gave.
    numbers: AtomicU64,
}

struct Waiting {
    endpoint: Endpoint,
    attempt: Attempt,
    answer: queue::Sender<(Attempt, Ended)>,
}

/// What arrives for a stream.
enum Arrival {
    Message { number: u64, message: WatchMessage },
    Broken,
}

/// Messages that wait to be put in order for one stream; the member sends no more than a window.
const ARRIVALS_MAX: usize = 64;

/// Answers that wait for one call: one for each attempt at most.
const ANSWERS_MAX: usize = 64;

impl Client {
    /// Starts the client's process on a machine: its tasks run until they are done or it dies.
    pub(crate) fn start(env: &Env, net: Arc<dyn Net>, setup: Setup) {
        let client = Self::new(env, net, setup);
        env.spawn("client receives", client.clone().receive());
        work::start(&client);
    }

    /// Starts a process that reads everything, through each member in turn.
    pub(crate) fn scan(env: &Env, net: Arc<dyn Net>, setup: Setup) {
        let client = Self::new(env, net, setup);
        env.spawn("client receives", client.clone().receive());
        env.spawn("client scans", work::scan(client));
    }

    fn new(env: &Env, net: Arc<dyn Net>, setup: Setup) -> Self {
        let incarnation = setup.progress.start();
        let budget = BudgetConfig::default();
        let prng = Prng::new(env.random());
        let session = Session::new(setup.members as usize, Backoff::default(), budget, prng);
        Self(Arc::new(Inner {
            env: env.clone(),
            net,
            setup,
            session: Mutex::new(session),
            attempts: Mutex::new(BTreeMap::new()),
            streams: Mutex::new(BTreeMap::new()),
            numbers: AtomicU64::new(incarnation << 32),
        }))
    }

    fn env(&self) -> &Env {
        &self.0.env
    }

    fn now(&self) -> Instant {
        self.0.env.now()
    }

    fn record(&self) -> &Record {
        &self.0.setup.record
    }

    fn id(&self) -> ClientId {
        ClientId(self.0.setup.number)
    }

    fn session(&self) -> MutexGuard<'_, Session> {
        self.0
            .session
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    fn attempts(&self) -> MutexGuard<'_, BTreeMap<u64, Waiting>> {
        self.0
            .attempts
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    fn streams(&self) -> MutexGuard<'_, BTreeMap<u64, queue::Sender<Arrival>>> {
        self.0
            .streams
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    fn number(&self) -> u64 {
        self.0.numbers.fetch_add(1, Ordering::Relaxed)
    }

    /// A generator for whatever this process does that is no operation of the workload.
    fn prng(&self) -> Prng {
        Prng::new(self.0.env.random())
    }

    // Links.

    async fn receive(self) {
        loop {
            let (from, _, message) = self.0.net.receive().await;
            let Some(parcel) = self.0.setup.parcels.fetch(&message) else {
                continue;
            };
            let Parcel::Answer(answer) = &*parcel else {
                continue;
            };
            match answer {
                Answer::Done { attempt, ended } => {
                    if let Some(waiting) = self.attempts().remove(attempt) {
                        // A call that has ended wants no more answers.
                        drop(waiting.answer.try_send((waiting.attempt, ended.clone())));
                    }
                }
                Answer::Watch {
                    stream,
                    number,
                    message,
                } => {
                    let arrival = Arrival::Message {
                        number: *number,
                        message: message.clone(),
                    };
                    if self.deliver(*stream, arrival).is_err() {
                        let close = Request::Close { stream: *stream };
                        self.send(endpoint_of(from), close);
                    }
                }
                Answer::NoStream { stream } => drop(self.deliver(*stream, Arrival::Broken)),
                Answer::Reset => self.reset(endpoint_of(from)),
            }
        }
    }

    /// Hands something to the reader of a stream; fails if there is none any more.
    fn deliver(&self, stream: u64, arrival: Arrival) -> Result<(), ()> {
        let mut streams = self.streams();
        let reader = streams.get(&stream).ok_or(())?;
        reader.try_send(arrival).map_err(|_| {
            streams.remove(&stream);
        })
    }

    /// The connection to a member broke: no answer to an earlier attempt will come.
    fn reset(&self, endpoint: Endpoint) {
        let mut attempts = self.attempts();
        let lost: Vec<u64> = attempts
            .iter()
            .filter(|(_, waiting)| waiting.endpoint == endpoint)
            .map(|(number, _)| *number)
            .collect();
        for number in lost {
            if let Some(waiting) = attempts.remove(&number) {
                drop(waiting.answer.try_send((waiting.attempt, Ended::Unknown)));
            }
        }
    }

    /// Sends a request. False if the link has no room for it: then it is certainly not sent.
    fn send(&self, endpoint: Endpoint, request: Request) -> bool {
        let message = self.0.setup.parcels.hand_in(Parcel::Request(request));
        let sent = self.0.net.send(member_of(endpoint), Lane::Append, message);
        sent.is_ok()
    }

    /// Makes one attempt. Its answer comes through `answer`, if one comes.
    fn attempt(
        &self,
        endpoint: Endpoint,
        attempt: Attempt,
        ask: Ask,
        answer: &queue::Sender<(Attempt, Ended)>,
    ) -> u64 {
        let number = self.number();
        let waiting = Waiting {
            endpoint,
            attempt,
            answer: answer.clone(),
        };
        self.attempts().insert(number, waiting);
        let request = Request::Do {
            attempt: number,
            ask,
        };
        if !self.send(endpoint, request) {
            self.attempts().remove(&number);
            drop(answer.try_send((attempt, Ended::NotDone)));
        }
        number
    }

    // Calls.

    /// Does an operation and writes down that it was asked and what came of it.
    async fn perform(&self, operation: Operation) -> Outcome {
        let op = self.invoke(operation.clone());
        let class = class(&operation);
        let outcome = match self.call(class, &Ask::Operation(operation)).await {
            synod_session::Outcome::Done(response) => Outcome::Done(response),
            synod_session::Outcome::Refused(synod_session::Refusal::Service(why)) => {
                Outcome::Refused(why)
            }
            synod_session::Outcome::Refused(synod_session::Refusal::Unavailable(_)) => {
                Outcome::Refused(Refusal::NotDone)
            }
            synod_session::Outcome::Unknown(_) => Outcome::Unknown,
        };
        self.returned(op, outcome.clone());
        outcome
    }

    fn invoke(&self, operation: Operation) -> OpId {
        self.record().invoked(self.id(), operation)
    }

    fn returned(&self, op: OpId, outcome: Outcome) {
        self.record().returned(self.id(), op, outcome);
    }

    async fn call(&self, class: Class, ask: &Ask) -> synod_session::Outcome<Response, Refusal> {
        let config = CallConfig {
            attempt_patience: ATTEMPT_PATIENCE,
            ..CallConfig::default()
        };
        let mut call = Call::new(class, self.now() + PATIENCE, config);
        let (answer, mut answers) = queue::bounded(ANSWERS_MAX);
        let mut sent = Vec::new();
        let outcome = loop {
            let step = call.step(self.now(), &mut self.session());
            match step {
                Step::Send {
                    attempt, endpoint, ..
                } => sent.push(self.attempt(endpoint, attempt, ask.clone(), &answer)),
                Step::Wait(until) => {
                    let answered = self.env().deadline(until, answers.receive()).await;
                    if let Ok(Some((attempt, ended))) = answered {
                        let ended = heard(ended);
                        call.report(self.now(), attempt, ended, &mut self.session());
                    }
                }
                Step::End(outcome) => break outcome,
            }
        };
        let mut attempts = self.attempts();
        for number in sent {
            attempts.remove(&number);
        }
        outcome
    }
}

/// When an operation may be sent again.
fn class(operation: &Operation) -> Class {
    match operation {
        Operation::Range(_) | Operation::LeaseTimeToLive { .. } => Class::Read,
        Operation::Put(_)
        | Operation::DeleteRange(_)
        | Operation::Txn(_)
        | Operation::LeaseGrant { .. } => Class::Write,
        Operation::Compact { .. }
        | Operation::LeaseRevoke { .. }
        | Operation::LeaseKeepAlive { .. } => Class::Idempotent,
    }
}

/// What an answer means to a call.
fn heard(ended: Ended) -> synod_session::Ended<Response, Refusal> {
    match ended {
        Ended::Answered(response) => synod_session::Ended::Answered(response),
        Ended::Refused(why) => synod_session::Ended::Refused(why),
        Ended::NotDone => synod_session::Ended::NotDone(Refusal::NotDone),
        Ended::Unknown => synod_session::Ended::Lost(Refusal::NotDone),
    }
}

/// The member at a place in the list of endpoints.
fn member_of(Endpoint(place): Endpoint) -> MemberId {
    let number = u32::try_from(place).expect("members are few");
    Machine::Member(number + 1).id()
}

fn endpoint_of(MemberId(id): MemberId) -> Endpoint {
    let number = usize::try_from(id).expect("members are few");
    Endpoint(number.saturating_sub(1))
}

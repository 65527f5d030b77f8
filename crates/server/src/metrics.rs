//! What the server counts, and what it shows of the member to Prometheus.
//!
//! Here is the counting. [`list`] says what is shown, by which name, and where it comes from: one
//! list, from which the page [docs/reference/metrics.md] is written too. [`text`] is the format.
//!
//! Names are etcd's where the meaning is, so that its dashboards and alerts go on working. How long
//! calls take counts all that ended, however they ended: a member that answers half of its calls
//! quickly and lets the others time out is not fast.
//!
//! [docs/reference/metrics.md]: ../../../docs/reference/metrics.md

mod list;
mod text;

pub(crate) use text::{Series, render};

use crate::methods::{Kind, Method};
use crate::probes::Probes;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use synod_env::{Env, Histogram, Instant};
use tonic::Code;

/// Counts up; read by whoever asks.
#[derive(Debug, Default)]
pub(crate) struct Counter(AtomicU64);

impl Counter {
    pub(crate) fn add(&self, count: u64) {
        self.0.fetch_add(count, Ordering::Relaxed);
    }

    /// Goes on from `count`, if it is not there yet.
    pub(crate) fn raise_to(&self, count: u64) {
        self.0.fetch_max(count, Ordering::Relaxed);
    }

    pub(crate) fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// gRPC codes are numbered from 0 to 16.
const CODE_COUNT: usize = 17;

/// How calls of one method began and ended.
#[derive(Debug, Default)]
struct Calls {
    started: Counter,
    handled: [Counter; CODE_COUNT],
    /// How long they took, whatever they came to.
    times: Histogram,
}

/// What a unary call came to, as far as it matters for how long it took.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Outcome {
    Done,
    /// The request was at fault, or the state did not allow it.
    Refused,
    /// The time of the client or of the server was over.
    TimedOut,
    /// The client went away.
    Canceled,
    /// Anything else: the member could not do it.
    Failed,
}

impl Outcome {
    const ALL: [Self; 5] = [
        Self::Done,
        Self::Refused,
        Self::TimedOut,
        Self::Canceled,
        Self::Failed,
    ];

    fn of(code: Code) -> Self {
        match code {
            Code::Ok => Self::Done,
            Code::Cancelled => Self::Canceled,
            // A request that the server gives up is `Unavailable`, as etcd has it.
            Code::DeadlineExceeded | Code::Unavailable => Self::TimedOut,
            Code::InvalidArgument
            | Code::NotFound
            | Code::AlreadyExists
            | Code::PermissionDenied
            | Code::FailedPrecondition
            | Code::OutOfRange
            | Code::Unimplemented
            | Code::Unauthenticated => Self::Refused,
            Code::Unknown
            | Code::ResourceExhausted
            | Code::Aborted
            | Code::Internal
            | Code::DataLoss => Self::Failed,
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Done => "done",
            Self::Refused => "refused",
            Self::TimedOut => "timed_out",
            Self::Canceled => "canceled",
            Self::Failed => "failed",
        }
    }
}

/// What the server counts.
#[derive(Debug)]
pub(crate) struct Metrics {
    env: Env,
    pub(crate) puts: Counter,
    pub(crate) ranges: Counter,
    pub(crate) deletes: Counter,
    pub(crate) txns: Counter,
    pub(crate) put_bytes: Counter,
    pub(crate) leases_granted: Counter,
    pub(crate) leases_revoked: Counter,
    pub(crate) leases_renewed: Counter,
    pub(crate) proposals_failed: Counter,
    pub(crate) reads_failed: Counter,
    pub(crate) health_successes: Counter,
    pub(crate) health_failures: Counter,
    /// Bytes of gRPC messages, with their frames.
    pub(crate) received_bytes: Counter,
    pub(crate) sent_bytes: Counter,
    pub(crate) probes: Probes,
    /// By the method's number.
    calls: Vec<Calls>,
    /// By the outcome's number.
    unary_times: [Histogram; Outcome::ALL.len()],
}

impl Metrics {
    pub(crate) fn new(env: Env) -> Self {
        Self {
            env,
            puts: Counter::default(),
            ranges: Counter::default(),
            deletes: Counter::default(),
            txns: Counter::default(),
            put_bytes: Counter::default(),
            leases_granted: Counter::default(),
            leases_revoked: Counter::default(),
            leases_renewed: Counter::default(),
            proposals_failed: Counter::default(),
            reads_failed: Counter::default(),
            health_successes: Counter::default(),
            health_failures: Counter::default(),
            received_bytes: Counter::default(),
            sent_bytes: Counter::default(),
            probes: Probes::default(),
            calls: Method::ALL.iter().map(|_| Calls::default()).collect(),
            unary_times: Default::default(),
        }
    }

    fn calls(&self, method: Method) -> &Calls {
        &self.calls[method as usize]
    }
}

/// Counts a call when it begins and, with its code and how long it took, when it ends. A call that
/// is dropped before it ends was canceled.
#[derive(Debug)]
pub(crate) struct Handling {
    metrics: Arc<Metrics>,
    method: Method,
    began: Instant,
    code: Code,
}

impl Handling {
    pub(crate) fn begin(metrics: &Arc<Metrics>, method: Method, now: Instant) -> Self {
        metrics.calls(method).started.add(1);
        Self {
            metrics: Arc::clone(metrics),
            method,
            began: now,
            code: Code::Cancelled,
        }
    }

    pub(crate) fn end(&mut self, code: Code) {
        self.code = code;
    }

    /// Where the bytes of responses are counted.
    pub(crate) fn sent_bytes(&self) -> &Counter {
        &self.metrics.sent_bytes
    }
}

impl Drop for Handling {
    fn drop(&mut self) {
        let code = usize::try_from(i32::from(self.code)).expect("codes are not negative");
        let took = self.metrics.env.now().saturating_since(self.began);
        let calls = self.metrics.calls(self.method);
        calls.handled[code].add(1);
        calls.times.record(took);
        match self.method.kind() {
            Kind::Unary => self.metrics.unary_times[Outcome::of(self.code) as usize].record(took),
            // A stream takes as long as its client likes.
            Kind::ServerStream | Kind::BidiStream => {}
        }
    }
}

/// What the operating system says about the process.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct ProcessUsage {
    /// User and system time since the start, in seconds.
    pub cpu_seconds: f64,
    /// Memory that is not swapped out, in bytes.
    pub resident_bytes: u64,
    /// Address space in use, in bytes.
    pub virtual_bytes: u64,
    /// Open file descriptors.
    pub open_fds: u64,
    /// Most file descriptors that may be open.
    pub max_fds: u64,
    /// When the process started, in seconds since 1970.
    pub start_time_seconds: f64,
}

#[cfg(test)]
mod tests;

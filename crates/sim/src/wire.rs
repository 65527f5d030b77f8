//! What clients and members say to each other, and how it travels.
//!
//! A message on the simulated network is a ticket; what it stands for lies aside, typed. So the
//! network can lose, repeat, delay and alter messages, and nobody has to encode and decode them:
//! that is `synod-server`'s business, tested on real sockets. An altered ticket is not honoured,
//! as an altered segment is not by TCP and TLS.

use bytes::Bytes;
use std::collections::VecDeque;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use synod_checker::{LeaseId, Operation, Refusal, Response, WatchRequest};
use synod_node::WatchMessage;
use synod_state::limit::LimitKind;

/// The port on which members serve clients.
pub(crate) const CLIENT_PORT: u16 = 2379;

/// From a client to a member.
#[derive(Clone, Debug)]
pub(crate) enum Request {
    /// Do this.
    Do {
        /// The number of the attempt; each has its own.
        attempt: u64,
        /// What.
        ask: Ask,
    },
    /// Begin a watch on a stream of its own.
    Watch {
        /// The stream's number, which the client chose; each has its own.
        stream: u64,
        /// What to watch.
        request: WatchRequest,
    },
    /// Everything on this stream before that message has been taken.
    Taken {
        /// Which stream.
        stream: u64,
        /// Up to which message.
        next: u64,
    },
    /// Say how far this stream is.
    Progress {
        /// Which stream.
        stream: u64,
    },
    /// The client has no use for this stream any more.
    Close {
        /// Which stream.
        stream: u64,
    },
}

/// What a client asks of a member.
#[derive(Clone, Debug)]
pub(crate) enum Ask {
    /// An operation of the history.
    Operation(Operation),
    /// A place in the line of a lock, until it is the first.
    Lock {
        /// The lock.
        name: Bytes,
        /// The lease that the place hangs on.
        lease: LeaseId,
        /// What the place's key says.
        value: Bytes,
    },
    /// A snapshot of this member's state.
    Snapshot,
    /// Clear whatever alarms are raised, so that a state that was full may grow again.
    ClearAlarms,
    /// Set a bound for the whole cluster, or give it back.
    SetLimit(LimitKind, Option<u64>),
}

/// From a member to a client.
#[derive(Clone, Debug)]
pub(crate) enum Answer {
    /// To an attempt.
    Done {
        /// Which.
        attempt: u64,
        /// How it ended there.
        ended: Ended,
    },
    /// On a stream.
    Watch {
        /// Which.
        stream: u64,
        /// Its place on the stream, from 0.
        number: u64,
        /// What.
        message: WatchMessage,
    },
    /// There is no such stream here.
    NoStream {
        /// Which.
        stream: u64,
    },
    /// The member's process is a new one: whatever went over connections to the last is lost.
    Reset,
}

/// How an attempt ended at the member.
#[derive(Clone, Debug)]
pub(crate) enum Ended {
    /// Done.
    Answered(Response),
    /// The state says no, and would again.
    Refused(Refusal),
    /// Certainly not done by this attempt.
    NotDone,
    /// The member does not know.
    Unknown,
}

/// A message as it lies aside.
#[derive(Clone, Debug)]
pub(crate) enum Parcel {
    Request(Request),
    Answer(Answer),
}

/// In a few words, for people who look at a run.
impl fmt::Display for Parcel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Request(request) => match request {
                Request::Do {
                    ask: Ask::Operation(operation),
                    ..
                } => operation.fmt(f),
                Request::Do {
                    ask: Ask::Lock { name, lease, .. },
                    ..
                } => write!(f, "lock {} with lease {lease}", name.escape_ascii()),
                Request::Do {
                    ask: Ask::Snapshot, ..
                } => f.write_str("write a snapshot"),
                Request::Do {
                    ask: Ask::ClearAlarms,
                    ..
                } => f.write_str("clear alarms"),
                Request::Do {
                    ask: Ask::SetLimit(kind, value),
                    ..
                } => write!(f, "set {kind:?} to {value:?}"),
                Request::Watch { stream, .. } => write!(f, "watch, stream {stream}"),
                Request::Taken { stream, next } => write!(f, "stream {stream}: taken up to {next}"),
                Request::Progress { stream } => write!(f, "stream {stream}: how far?"),
                Request::Close { stream } => write!(f, "stream {stream}: close"),
            },
            Self::Answer(answer) => match answer {
                Answer::Done { ended, .. } => match ended {
                    Ended::Answered(response) => {
                        let Response { revision, body, .. } = response;
                        write!(f, "done rev={revision} {body}")
                    }
                    Ended::Refused(refusal) => write!(f, "refused: {refusal}"),
                    Ended::NotDone => f.write_str("not done here"),
                    Ended::Unknown => f.write_str("unknown"),
                },
                Answer::Watch {
                    stream, message, ..
                } => write!(f, "stream {stream}: {message:?}"),
                Answer::NoStream { stream } => write!(f, "there is no stream {stream} here"),
                Answer::Reset => f.write_str("connection reset"),
            },
        }
    }
}

/// Where messages lie while their tickets travel.
#[derive(Clone, Default)]
pub(crate) struct Parcels(Arc<Mutex<Inner>>);

/// The place of a message in the order in which all were handed in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Ticket(u64);

#[derive(Default)]
struct Inner {
    /// The ticket of the first that is kept.
    first: u64,
    kept: VecDeque<Arc<Parcel>>,
}

/// So many messages are kept; one that travels longer than it takes to send so many is lost.
const KEPT_MAX: usize = 1 << 16;

impl Parcels {
    /// Lays a message aside and gives its ticket, to be sent.
    pub(crate) fn hand_in(&self, parcel: Parcel) -> Bytes {
        let mut inner = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if inner.kept.len() == KEPT_MAX {
            inner.kept.pop_front();
            inner.first += 1;
        }
        let ticket = inner.first + inner.kept.len() as u64;
        inner.kept.push_back(Arc::new(parcel));
        let mut message = [0; 16];
        message[..8].copy_from_slice(&ticket.to_le_bytes());
        message[8..].copy_from_slice(&seal(ticket).to_le_bytes());
        Bytes::copy_from_slice(&message)
    }

    /// The ticket that the next message will have: tells those sent before from those sent after.
    pub(crate) fn next(&self) -> Ticket {
        let inner = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        Ticket(inner.first + inner.kept.len() as u64)
    }

    /// The message for a ticket that arrived; none if it was altered, or is too old.
    pub(crate) fn fetch(&self, message: &[u8]) -> Option<Arc<Parcel>> {
        self.fetch_since(Ticket(0), message)
    }

    /// As [`Parcels::fetch`], but only what was handed in with this ticket or after it.
    pub(crate) fn fetch_since(&self, since: Ticket, message: &[u8]) -> Option<Arc<Parcel>> {
        let (ticket, sealed) = message.split_first_chunk::<8>()?;
        let ticket = u64::from_le_bytes(*ticket);
        if sealed != seal(ticket).to_le_bytes() || ticket < since.0 {
            return None;
        }
        let inner = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let place = usize::try_from(ticket.checked_sub(inner.first)?).ok()?;
        inner.kept.get(place).cloned()
    }
}

/// Makes sure that an altered ticket is not taken for another one.
fn seal(ticket: u64) -> u64 {
    (ticket ^ 0x73_796e_6f64)
        .wrapping_mul(0x9e37_79b9_7f4a_7c15)
        .rotate_left(29)
}

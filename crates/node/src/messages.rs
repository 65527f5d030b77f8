//! What members say to each other, apart from the engine: questions and their answers.
//!
//! Every message begins with the format (1 byte) and its kind (1 byte); numbers follow in
//! little-endian order. Times travel as durations, in milliseconds: no two members' clocks can be
//! compared.

use bytes::{Buf as _, BufMut as _, Bytes};
use std::time::Duration;
use synod_log::Index;
use synod_state::command::LeaseId;

#[cfg(test)]
mod tests;

/// The only format so far.
const FORMAT: u8 = 1;

/// Bytes that nothing here can have written, or that a later version wrote.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Unreadable;

/// What a member asks of the one that leads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Ask {
    /// To propose an encoded batch. After `within` nobody waits for it any more.
    Forward { within: Duration, batch: Bytes },
    /// For an index as [`synod_log::Engine::read_barrier`] gives it.
    Barrier,
    /// To renew a lease.
    KeepAlive { lease: LeaseId, within: Duration },
    /// What is left of a lease.
    TimeToLive { lease: LeaseId, within: Duration },
}

/// Why a member did not do what it was asked, and will not. Nothing has happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refused {
    /// It does not lead the reign that the question is for, or cannot prove that it leads.
    NotLeading,
    /// It has taken up a later batch of that origin, so the state would drop this one.
    Late,
    /// Its queues are full.
    Busy,
    /// Its disk has no room.
    NoSpace,
    /// Nobody waits for it any more.
    Overdue,
    /// The batch is larger than this member takes, or it cannot read it.
    Unacceptable,
}

/// What became of a forwarded batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Forwarding {
    /// It is entry `at`, which is committed.
    Proposed { at: Index },
    /// It was not appended and never will be.
    Refused(Refused),
    /// It may be appended and may yet be applied.
    Unknown,
}

/// What a leader says of a lease.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum LeaseAnswer<T> {
    /// The lease lives.
    Lives(T),
    /// There is no such lease.
    Ended,
    /// It cannot say.
    Refused(Refused),
}

/// A lease's times by the leader's clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Times {
    /// What it was granted.
    pub(crate) ttl: Duration,
    /// What is left of it, at least.
    pub(crate) left: Duration,
    /// A state that has applied this knows the lease as the leader did.
    pub(crate) at: Index,
}

/// What a message between members says, for people who look at a run from outside; `None` if it
/// says nothing that is known here.
#[must_use]
pub fn describe(message: &Bytes) -> Option<String> {
    let mut rest = message.clone();
    let kind = kind(&mut rest).ok()?;
    Some(match kind {
        REFUSED => format!("refused: {:?}", Refused::decode(&mut rest).ok()?),
        PROPOSED => format!("proposed as {}", number(&mut rest).ok()?),
        UNKNOWN => "unknown".to_owned(),
        BARRIER => format!("barrier at {}", number(&mut rest).ok()?),
        LIVES => "the lease lives".to_owned(),
        ENDED => "the lease has ended".to_owned(),
        _ => match Ask::decode(message.clone()).ok()? {
            Ask::Forward { batch, .. } => format!("forward {} bytes", batch.len()),
            Ask::Barrier => "ask for a barrier".to_owned(),
            Ask::KeepAlive { lease, .. } => format!("keep lease {lease} alive"),
            Ask::TimeToLive { lease, .. } => format!("ask about lease {lease}"),
        },
    })
}

fn begin(kind: u8) -> Vec<u8> {
    vec![FORMAT, kind]
}

/// Rounded down: whoever waits for the answer waits at least that long.
fn put_duration(out: &mut Vec<u8>, duration: Duration) {
    out.put_u64_le(u64::try_from(duration.as_millis()).unwrap_or(u64::MAX));
}

fn duration(rest: &mut Bytes) -> Result<Duration, Unreadable> {
    number(rest).map(Duration::from_millis)
}

fn number(rest: &mut Bytes) -> Result<u64, Unreadable> {
    rest.try_get_u64_le().map_err(|_| Unreadable)
}

/// Reads the format; the kind.
fn kind(rest: &mut Bytes) -> Result<u8, Unreadable> {
    if rest.try_get_u8() != Ok(FORMAT) {
        return Err(Unreadable);
    }
    rest.try_get_u8().map_err(|_| Unreadable)
}

fn end<T>(value: T, rest: &Bytes) -> Result<T, Unreadable> {
    rest.is_empty().then_some(value).ok_or(Unreadable)
}

impl Ask {
    pub(crate) fn encode(&self) -> Bytes {
        let out = match self {
            Self::Forward { within, batch } => {
                let mut out = begin(0);
                out.reserve_exact(8 + batch.len());
                put_duration(&mut out, *within);
                out.put_slice(batch);
                out
            }
            Self::Barrier => begin(1),
            Self::KeepAlive { lease, within } => {
                let mut out = begin(2);
                out.put_i64_le(*lease);
                put_duration(&mut out, *within);
                out
            }
            Self::TimeToLive { lease, within } => {
                let mut out = begin(3);
                out.put_i64_le(*lease);
                put_duration(&mut out, *within);
                out
            }
        };
        Bytes::from(out)
    }

    pub(crate) fn decode(mut rest: Bytes) -> Result<Self, Unreadable> {
        let kind = kind(&mut rest)?;
        if kind == 0 {
            let within = duration(&mut rest)?;
            let batch = rest;
            return Ok(Self::Forward { within, batch });
        }
        let ask = match kind {
            1 => Self::Barrier,
            2 | 3 => {
                let lease = rest.try_get_i64_le().map_err(|_| Unreadable)?;
                let within = duration(&mut rest)?;
                if kind == 2 {
                    Self::KeepAlive { lease, within }
                } else {
                    Self::TimeToLive { lease, within }
                }
            }
            _ => return Err(Unreadable),
        };
        end(ask, &rest)
    }
}

impl Refused {
    const fn number(self) -> u8 {
        match self {
            Self::NotLeading => 0,
            Self::Late => 1,
            Self::Busy => 2,
            Self::NoSpace => 3,
            Self::Overdue => 4,
            Self::Unacceptable => 5,
        }
    }

    fn encode(self) -> Bytes {
        let mut out = begin(REFUSED);
        out.put_u8(self.number());
        Bytes::from(out)
    }

    fn decode(rest: &mut Bytes) -> Result<Self, Unreadable> {
        Ok(match rest.try_get_u8().map_err(|_| Unreadable)? {
            0 => Self::NotLeading,
            1 => Self::Late,
            2 => Self::Busy,
            3 => Self::NoSpace,
            4 => Self::Overdue,
            5 => Self::Unacceptable,
            _ => return Err(Unreadable),
        })
    }
}

/// The kinds of answer. Which question an answer is for, the link knows.
const REFUSED: u8 = 128;
const PROPOSED: u8 = 129;
const UNKNOWN: u8 = 130;
const BARRIER: u8 = 131;
const LIVES: u8 = 132;
const ENDED: u8 = 133;

fn encode_index(kind: u8, at: Index) -> Bytes {
    let mut out = begin(kind);
    out.put_u64_le(at.0);
    Bytes::from(out)
}

impl Forwarding {
    pub(crate) fn encode(self) -> Bytes {
        match self {
            Self::Proposed { at } => encode_index(PROPOSED, at),
            Self::Refused(why) => why.encode(),
            Self::Unknown => Bytes::from(begin(UNKNOWN)),
        }
    }

    pub(crate) fn decode(mut rest: Bytes) -> Result<Self, Unreadable> {
        let became = match kind(&mut rest)? {
            PROPOSED => Self::Proposed {
                at: Index(number(&mut rest)?),
            },
            REFUSED => Self::Refused(Refused::decode(&mut rest)?),
            UNKNOWN => Self::Unknown,
            _ => return Err(Unreadable),
        };
        end(became, &rest)
    }
}

/// The answer to [`Ask::Barrier`].
pub(crate) type Barrier = Result<Index, Refused>;

pub(crate) fn encode_barrier(answer: Barrier) -> Bytes {
    match answer {
        Ok(at) => encode_index(BARRIER, at),
        Err(why) => why.encode(),
    }
}

pub(crate) fn decode_barrier(mut rest: Bytes) -> Result<Barrier, Unreadable> {
    let answer = match kind(&mut rest)? {
        BARRIER => Ok(Index(number(&mut rest)?)),
        REFUSED => Err(Refused::decode(&mut rest)?),
        _ => return Err(Unreadable),
    };
    end(answer, &rest)
}

/// What is said of a lease that lives.
pub(crate) trait Life: Sized {
    fn put(&self, out: &mut Vec<u8>);
    fn get(rest: &mut Bytes) -> Result<Self, Unreadable>;
}

/// Its TTL, for a renewal.
impl Life for Duration {
    fn put(&self, out: &mut Vec<u8>) {
        put_duration(out, *self);
    }

    fn get(rest: &mut Bytes) -> Result<Self, Unreadable> {
        duration(rest)
    }
}

impl Life for Times {
    fn put(&self, out: &mut Vec<u8>) {
        let Self { ttl, left, at } = self;
        put_duration(out, *ttl);
        put_duration(out, *left);
        out.put_u64_le(at.0);
    }

    fn get(rest: &mut Bytes) -> Result<Self, Unreadable> {
        Ok(Self {
            ttl: duration(rest)?,
            left: duration(rest)?,
            at: Index(number(rest)?),
        })
    }
}

impl<T: Life> LeaseAnswer<T> {
    pub(crate) fn encode(&self) -> Bytes {
        match self {
            Self::Lives(life) => {
                let mut out = begin(LIVES);
                life.put(&mut out);
                Bytes::from(out)
            }
            Self::Ended => Bytes::from(begin(ENDED)),
            Self::Refused(why) => why.encode(),
        }
    }

    pub(crate) fn decode(mut rest: Bytes) -> Result<Self, Unreadable> {
        let answer = match kind(&mut rest)? {
            LIVES => Self::Lives(T::get(&mut rest)?),
            ENDED => Self::Ended,
            REFUSED => Self::Refused(Refused::decode(&mut rest)?),
            _ => return Err(Unreadable),
        };
        end(answer, &rest)
    }
}

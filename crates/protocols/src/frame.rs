//! What travels between two members: its form on the wire.
//!
//! Integers are little-endian. Every frame begins with a checksum (XXH3, 64 bits) over all that
//! follows it, so that an altered frame is taken for no frame at all:
//!
//! | Bytes | Field |
//! |---|---|
//! | 8 | checksum of the rest |
//! | 1 | format version |
//! | 1 | kind |
//!
//! and then, by kind, the fields of [`HelloFrame`], [`RefuseFrame`] or [`MessageFrame`] in order.

use crate::link::{Life, Reason};
use bytes::{Buf, BufMut, Bytes, BytesMut};
use synod_env::{Lane, MemberId};
use xxhash_rust::xxh3::xxh3_64;

/// The only format version so far.
const VERSION: u8 = 1;
const HELLO: u8 = 1;
const REFUSE: u8 = 2;
const TELL: u8 = 3;
const ASK: u8 = 4;
const ANSWER: u8 = 5;

/// Checksum, version, kind.
const HEAD_BYTES: usize = 8 + 1 + 1;
const LIFE_BYTES: usize = 16 + 8;
const HELLO_BYTES: usize = HEAD_BYTES + 8 + 8 + 8 + LIFE_BYTES + 1 + LIFE_BYTES + 1;
const REFUSE_BYTES: usize = HEAD_BYTES + 8 + 8 + 8 + LIFE_BYTES + 1 + 16;
/// Bytes of a message besides its body.
pub(crate) const MESSAGE_BYTES: usize = HEAD_BYTES + 1 + 1 + 8 + 8 + 8;

/// How far a member is with one life of another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Stage {
    /// It has heard of it, and does not know whether it still lives.
    Heard = 0,
    /// It has taken it up: the session stands on this side.
    Accepted = 1,
    /// It knows that the other side has too.
    Linked = 2,
}

/// "This is who I am, and this is what I know of you."
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct HelloFrame {
    pub(crate) cluster_id: u64,
    pub(crate) from: MemberId,
    pub(crate) to: MemberId,
    pub(crate) life: Life,
    /// The life of the receiver that the sender has heard of last, and how far it is with it.
    pub(crate) echo: Option<(Life, Stage)>,
}

/// "I will not talk to you."
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct RefuseFrame {
    /// Of the sender.
    pub(crate) cluster_id: u64,
    pub(crate) from: MemberId,
    pub(crate) to: MemberId,
    /// Who is refused.
    pub(crate) life: Life,
    pub(crate) reason: Reason,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// A message that wants no answer.
    Tell,
    /// A message that wants one.
    Ask,
    /// An answer to the request of that number.
    Answer,
}

/// A message within a session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct MessageFrame {
    pub(crate) kind: Kind,
    pub(crate) service: u8,
    pub(crate) lane: Lane,
    /// Names both lives and the direction.
    pub(crate) session: u64,
    /// Counts the messages of this lane in the session.
    pub(crate) sequence: u64,
    /// The sender's number for an ask; the asker's for an answer; 0 for others.
    pub(crate) request: u64,
    pub(crate) body: Bytes,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Frame {
    Hello(HelloFrame),
    Refuse(RefuseFrame),
    Message(MessageFrame),
}

impl Frame {
    pub(crate) fn encode(&self) -> Bytes {
        let mut bytes = BytesMut::new();
        match self {
            Self::Hello(hello) => {
                begin(&mut bytes, HELLO_BYTES, HELLO);
                put_ends(
                    &mut bytes,
                    hello.cluster_id,
                    hello.from,
                    hello.to,
                    hello.life,
                );
                let (life, stage) = match hello.echo {
                    Some((life, stage)) => (life, Some(stage)),
                    None => (Life::default(), None),
                };
                bytes.put_u8(stage.is_some().into());
                put_life(&mut bytes, life);
                bytes.put_u8(stage.map_or(0, |stage| stage as u8));
            }
            Self::Refuse(refuse) => {
                begin(&mut bytes, REFUSE_BYTES, REFUSE);
                put_ends(
                    &mut bytes,
                    refuse.cluster_id,
                    refuse.from,
                    refuse.to,
                    refuse.life,
                );
                let (code, disk_id) = match refuse.reason {
                    Reason::OtherCluster => (1, 0),
                    Reason::NoMember => (2, 0),
                    Reason::OtherDisk { on_record } => (3, on_record),
                };
                bytes.put_u8(code);
                bytes.put_u128_le(disk_id);
            }
            Self::Message(message) => {
                let kind = match message.kind {
                    Kind::Tell => TELL,
                    Kind::Ask => ASK,
                    Kind::Answer => ANSWER,
                };
                begin(&mut bytes, MESSAGE_BYTES + message.body.len(), kind);
                bytes.put_u8(message.service);
                bytes.put_u8(message.lane as u8);
                bytes.put_u64_le(message.session);
                bytes.put_u64_le(message.sequence);
                bytes.put_u64_le(message.request);
                bytes.put_slice(&message.body);
            }
        }
        let checksum = xxh3_64(&bytes[8..]);
        bytes[..8].copy_from_slice(&checksum.to_le_bytes());
        bytes.freeze()
    }

    /// The frame, or `None` if it is not one, or not one any more.
    pub(crate) fn decode(frame: &Bytes) -> Option<Self> {
        if frame.len() < HEAD_BYTES {
            return None;
        }
        let mut rest = &frame[..];
        if rest.get_u64_le() != xxh3_64(&frame[8..]) || rest.get_u8() != VERSION {
            return None;
        }
        let kind = rest.get_u8();
        match kind {
            HELLO if frame.len() == HELLO_BYTES => {
                let (cluster_id, from, to, life) = get_ends(&mut rest);
                let heard = rest.get_u8() != 0;
                let echoed = get_life(&mut rest);
                let stage = match rest.get_u8() {
                    0 => Stage::Heard,
                    1 => Stage::Accepted,
                    2 => Stage::Linked,
                    3.. => return None,
                };
                Some(Self::Hello(HelloFrame {
                    cluster_id,
                    from,
                    to,
                    life,
                    echo: heard.then_some((echoed, stage)),
                }))
            }
            REFUSE if frame.len() == REFUSE_BYTES => {
                let (cluster_id, from, to, life) = get_ends(&mut rest);
                let code = rest.get_u8();
                let on_record = rest.get_u128_le();
                let reason = match code {
                    1 => Reason::OtherCluster,
                    2 => Reason::NoMember,
                    3 => Reason::OtherDisk { on_record },
                    0 | 4.. => return None,
                };
                Some(Self::Refuse(RefuseFrame {
                    cluster_id,
                    from,
                    to,
                    life,
                    reason,
                }))
            }
            TELL | ASK | ANSWER if frame.len() >= MESSAGE_BYTES => {
                let kind = match kind {
                    TELL => Kind::Tell,
                    ASK => Kind::Ask,
                    _ => Kind::Answer,
                };
                let service = rest.get_u8();
                let lane = match rest.get_u8() {
                    0 => Lane::Control,
                    1 => Lane::Append,
                    2 => Lane::Bulk,
                    3.. => return None,
                };
                Some(Self::Message(MessageFrame {
                    kind,
                    service,
                    lane,
                    session: rest.get_u64_le(),
                    sequence: rest.get_u64_le(),
                    request: rest.get_u64_le(),
                    body: frame.slice(MESSAGE_BYTES..),
                }))
            }
            _ => None,
        }
    }
}

fn begin(bytes: &mut BytesMut, length: usize, kind: u8) {
    bytes.reserve(length);
    bytes.put_u64_le(0);
    bytes.put_u8(VERSION);
    bytes.put_u8(kind);
}

fn put_life(bytes: &mut BytesMut, life: Life) {
    bytes.put_u128_le(life.disk_id);
    bytes.put_u64_le(life.incarnation);
}

fn get_life(rest: &mut &[u8]) -> Life {
    Life {
        disk_id: rest.get_u128_le(),
        incarnation: rest.get_u64_le(),
    }
}

fn put_ends(bytes: &mut BytesMut, cluster_id: u64, from: MemberId, to: MemberId, life: Life) {
    bytes.put_u64_le(cluster_id);
    bytes.put_u64_le(from.0);
    bytes.put_u64_le(to.0);
    put_life(bytes, life);
}

fn get_ends(rest: &mut &[u8]) -> (u64, MemberId, MemberId, Life) {
    let cluster_id = rest.get_u64_le();
    let from = MemberId(rest.get_u64_le());
    let to = MemberId(rest.get_u64_le());
    (cluster_id, from, to, get_life(rest))
}

/// The name of the direction from one life to another: 64 bits that no other direction has, but
/// for a chance of 2^-64.
pub(crate) fn session(cluster_id: u64, from: (MemberId, Life), to: (MemberId, Life)) -> u64 {
    let mut bytes = [0; 8 + 2 * (8 + LIFE_BYTES)];
    let mut rest = &mut bytes[..];
    rest.put_u64_le(cluster_id);
    for (member, life) in [from, to] {
        rest.put_u64_le(member.0);
        rest.put_u128_le(life.disk_id);
        rest.put_u64_le(life.incarnation);
    }
    xxh3_64(&bytes)
}

#[cfg(test)]
mod tests;

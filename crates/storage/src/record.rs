//! Records: what the log is a stream of, and their bytes.
//!
//! A record's checksum is seeded with the salt of its segment's present use and with its own
//! place. So neither a record left over from the segment's former use nor one that the disk put
//! in the wrong place can pass.

use bytes::{Buf, BufMut, Bytes};

/// A place in the engine's log (a log id).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Position {
    /// The engine's epoch (Raft: term) in which the entry was appended.
    pub epoch: u64,
    /// The member that led that epoch.
    pub node: u64,
    /// The entry's number in the log. The first is 0 or 1, as the engine likes.
    pub index: u64,
}

/// For whom a member has voted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Vote {
    /// The epoch voted in.
    pub term: u64,
    /// The member voted for.
    pub node: u64,
    /// True once a quorum is known to have given the same vote.
    pub committed: bool,
}

/// What an entry is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EntryKind {
    /// Nothing; the engine makes it to commit what came before.
    Blank,
    /// A batch of commands.
    Batch,
    /// The engine's membership, in the adapter's encoding.
    Membership,
}

/// One entry of the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Where it stands.
    pub position: Position,
    /// What it is for.
    pub kind: EntryKind,
    /// Opaque bytes; empty for [`EntryKind::Blank`].
    pub payload: Bytes,
}

/// Why a marker was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Marker {
    /// The log was opened.
    Opened,
    /// Nothing was written for a while.
    Idle,
    /// The log was closed in an orderly way.
    Closed,
}

/// The log's state where a segment begins: the segments before it may be dropped.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Summary {
    /// The latest vote.
    pub(crate) vote: Option<Vote>,
    /// The last position known to be committed.
    pub(crate) committed: Option<Position>,
    /// Everything up to here has been purged.
    pub(crate) purged: Option<Position>,
    /// The last entry, or `purged` if there is none after it.
    pub(crate) last: Option<Position>,
}

/// One record of the stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Record {
    /// An entry; its index is one above the last.
    Entry(Entry),
    /// A vote; it replaces the one before.
    Vote(Vote),
    /// Entries after this position are void; `None`: all are.
    Truncate(Option<Position>),
    /// Entries up to this position are no longer needed.
    Purge(Position),
    /// Entries up to this position are committed.
    Committed(Position),
    /// First in each segment.
    Opening(Summary),
    /// Nothing, but its group states that what came before is durable.
    Marker(Marker),
}

/// Checksum and length before each record's body, in bytes.
pub(crate) const RECORD_HEAD: usize = 8;
/// Bytes of an entry's record beside its payload.
pub(crate) const ENTRY_OVERHEAD: usize = RECORD_HEAD + 2 + POSITION_BYTES;

const POSITION_BYTES: usize = 24;
const VOTE_BYTES: usize = 17;

impl Record {
    /// Head and body together, in bytes. Optional fields take their room even if absent, so
    /// that it depends on nothing but the kind and the payload.
    pub(crate) fn length(&self) -> usize {
        RECORD_HEAD
            + 1
            + match self {
                Self::Entry(entry) => 1 + POSITION_BYTES + entry.payload.len(),
                Self::Vote(_) => VOTE_BYTES,
                Self::Truncate(_) => 1 + POSITION_BYTES,
                Self::Purge(_) | Self::Committed(_) => POSITION_BYTES,
                Self::Opening(_) => 1 + VOTE_BYTES + 3 * (1 + POSITION_BYTES),
                Self::Marker(_) => 1,
            }
    }
}

mod kind {
    pub(super) const ENTRY: u8 = 1;
    pub(super) const VOTE: u8 = 2;
    pub(super) const TRUNCATE: u8 = 3;
    pub(super) const PURGE: u8 = 4;
    pub(super) const COMMITTED: u8 = 5;
    pub(super) const OPENING: u8 = 6;
    pub(super) const MARKER: u8 = 7;
}

/// A record's bytes in a buffer, and where they will stand in the segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Framed {
    /// Head and body together, in bytes.
    pub(crate) length: u32,
    /// The checksum in the head.
    pub(crate) checksum: u32,
}

/// Appends `record` to `into`. It will stand at `offset` in a segment with checksum seed `seed`.
pub(crate) fn encode(record: &Record, seed: u32, offset: u32, into: &mut Vec<u8>) -> Framed {
    frame(seed, offset, into, |body| match record {
        Record::Entry(entry) => put_entry(entry, body),
        Record::Vote(vote) => {
            body.put_u8(kind::VOTE);
            put_vote(vote, body);
        }
        Record::Truncate(last) => {
            body.put_u8(kind::TRUNCATE);
            put_optional(last.as_ref(), body, put_position);
        }
        Record::Purge(upto) => {
            body.put_u8(kind::PURGE);
            put_position(upto, body);
        }
        Record::Committed(upto) => {
            body.put_u8(kind::COMMITTED);
            put_position(upto, body);
        }
        Record::Opening(Summary {
            vote,
            committed,
            purged,
            last,
        }) => {
            body.put_u8(kind::OPENING);
            put_optional(vote.as_ref(), body, put_vote);
            put_optional(committed.as_ref(), body, put_position);
            put_optional(purged.as_ref(), body, put_position);
            put_optional(last.as_ref(), body, put_position);
        }
        Record::Marker(marker) => {
            body.put_u8(kind::MARKER);
            body.put_u8(match marker {
                Marker::Opened => 1,
                Marker::Idle => 2,
                Marker::Closed => 3,
            });
        }
    })
}

/// As [`encode`], for an entry that the caller keeps.
pub(crate) fn encode_entry(entry: &Entry, seed: u32, offset: u32, into: &mut Vec<u8>) -> Framed {
    frame(seed, offset, into, |body| put_entry(entry, body))
}

pub(crate) fn frame(
    seed: u32,
    offset: u32,
    into: &mut Vec<u8>,
    put_body: impl FnOnce(&mut Vec<u8>),
) -> Framed {
    let start = into.len();
    into.put_u64_le(0);
    put_body(into);
    let body_length = u32::try_from(into.len() - start - RECORD_HEAD)
        .expect("the log refuses entries that do not fit a group");
    into[start + 4..start + 8].copy_from_slice(&body_length.to_le_bytes());
    let checksum = checksum(seed, offset, &into[start + 4..]);
    into[start..start + 4].copy_from_slice(&checksum.to_le_bytes());
    Framed {
        length: body_length + 8,
        checksum,
    }
}

fn checksum(seed: u32, offset: u32, length_and_body: &[u8]) -> u32 {
    let placed = crc32c::crc32c_append(seed, &offset.to_le_bytes());
    crc32c::crc32c_append(placed, length_and_body)
}

/// Why bytes are not the record that should stand there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Bad {
    pub(crate) expected: String,
    pub(crate) found: String,
}

impl Bad {
    pub(crate) fn new(expected: impl Into<String>, found: impl Into<String>) -> Self {
        Self {
            expected: expected.into(),
            found: found.into(),
        }
    }
}

/// The record at the start of `bytes`, which stand at `offset` in a segment with checksum seed
/// `seed`, and its frame.
pub(crate) fn decode(bytes: &Bytes, seed: u32, offset: u32) -> Result<(Record, Framed), Bad> {
    let Some((head, rest)) = bytes.split_at_checked(RECORD_HEAD) else {
        return Err(Bad::new("a record", format!("{} bytes", bytes.len())));
    };
    let (mut stored, mut length) = (&head[..4], &head[4..]);
    let (stored, length) = (stored.get_u32_le(), length.get_u32_le());
    let body_length = usize::try_from(length).expect("usize holds 32 bits");
    if body_length == 0 || body_length > rest.len() {
        return Err(Bad::new(
            format!("a record of 1 to {} bytes", rest.len()),
            format!("{length} bytes"),
        ));
    }
    let computed = checksum(seed, offset, &bytes[4..RECORD_HEAD + body_length]);
    if computed != stored {
        return Err(Bad::new(
            format!("checksum {stored:08x}"),
            format!("{computed:08x}"),
        ));
    }
    let body = bytes.slice(RECORD_HEAD..RECORD_HEAD + body_length);
    let record = decode_body(body)
        .ok_or_else(|| Bad::new("a record of a known kind", format!("kind {}", rest[0])))?;
    Ok((
        record,
        Framed {
            length: length + 8,
            checksum: stored,
        },
    ))
}

fn decode_body(mut body: Bytes) -> Option<Record> {
    let record = match body.try_get_u8().ok()? {
        kind::ENTRY => {
            let kind = match body.try_get_u8().ok()? {
                0 => EntryKind::Blank,
                1 => EntryKind::Batch,
                2 => EntryKind::Membership,
                _ => return None,
            };
            let position = get_position(&mut body)?;
            // The rest is the payload, however long.
            return Some(Record::Entry(Entry {
                position,
                kind,
                payload: body,
            }));
        }
        kind::VOTE => Record::Vote(get_vote(&mut body)?),
        kind::TRUNCATE => Record::Truncate(get_optional(&mut body, get_position)?),
        kind::PURGE => Record::Purge(get_position(&mut body)?),
        kind::COMMITTED => Record::Committed(get_position(&mut body)?),
        kind::OPENING => Record::Opening(Summary {
            vote: get_optional(&mut body, get_vote)?,
            committed: get_optional(&mut body, get_position)?,
            purged: get_optional(&mut body, get_position)?,
            last: get_optional(&mut body, get_position)?,
        }),
        kind::MARKER => Record::Marker(match body.try_get_u8().ok()? {
            1 => Marker::Opened,
            2 => Marker::Idle,
            3 => Marker::Closed,
            _ => return None,
        }),
        _ => return None,
    };
    body.is_empty().then_some(record)
}

fn put_entry(entry: &Entry, body: &mut Vec<u8>) {
    let Entry {
        position,
        kind,
        payload,
    } = entry;
    body.put_u8(kind::ENTRY);
    body.put_u8(match kind {
        EntryKind::Blank => 0,
        EntryKind::Batch => 1,
        EntryKind::Membership => 2,
    });
    put_position(position, body);
    body.put_slice(payload);
}

fn put_position(position: &Position, body: &mut Vec<u8>) {
    let Position { epoch, node, index } = *position;
    body.put_u64_le(epoch);
    body.put_u64_le(node);
    body.put_u64_le(index);
}

fn get_position(body: &mut Bytes) -> Option<Position> {
    Some(Position {
        epoch: body.try_get_u64_le().ok()?,
        node: body.try_get_u64_le().ok()?,
        index: body.try_get_u64_le().ok()?,
    })
}

fn put_vote(vote: &Vote, body: &mut Vec<u8>) {
    let Vote {
        term,
        node,
        committed,
    } = *vote;
    body.put_u64_le(term);
    body.put_u64_le(node);
    body.put_u8(u8::from(committed));
}

fn get_vote(body: &mut Bytes) -> Option<Vote> {
    Some(Vote {
        term: body.try_get_u64_le().ok()?,
        node: body.try_get_u64_le().ok()?,
        committed: get_bool(body)?,
    })
}

fn get_bool(body: &mut Bytes) -> Option<bool> {
    match body.try_get_u8().ok()? {
        0 => Some(false),
        1 => Some(true),
        _ => None,
    }
}

/// An absent value is written as zeros, so that the record's length does not depend on it.
fn put_optional<T: Blank>(
    value: Option<&T>,
    body: &mut Vec<u8>,
    put: impl FnOnce(&T, &mut Vec<u8>),
) {
    body.put_u8(u8::from(value.is_some()));
    put(value.unwrap_or(&T::BLANK), body);
}

fn get_optional<T>(
    body: &mut Bytes,
    get: impl FnOnce(&mut Bytes) -> Option<T>,
) -> Option<Option<T>> {
    let is_there = get_bool(body)?;
    let value = get(body)?;
    Some(is_there.then_some(value))
}

/// A value that is written as zeros.
trait Blank: 'static {
    const BLANK: Self;
}

impl Blank for Position {
    const BLANK: Self = Self {
        epoch: 0,
        node: 0,
        index: 0,
    };
}

impl Blank for Vote {
    const BLANK: Self = Self {
        term: 0,
        node: 0,
        committed: false,
    };
}

#[cfg(test)]
mod tests;

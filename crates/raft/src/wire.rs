//! What engines of different members say to each other, and its bytes.
//!
//! Requests are asked through [`synod_protocols::peers::Port`], which brings each at most once and
//! each answer to the request that it is for. Integers are little-endian. Every message begins
//! with the format byte of [`crate::types`] and a byte for its kind; the rest is told at
//! each kind below. A *vote* is a term and a member (`u64` each) and a byte that is 1 if a quorum
//! granted it; a *place* is an epoch and an index of the seam (`u64` each, index 0 for none);
//! *bytes* are a `u32` length and that many bytes.
//!
//! What is decoded is checked for everything that openraft and the log take for granted. A
//! message that fails is dropped like one that never came: its sender does not follow the
//! protocol, and nothing that could be answered would help it.

use crate::storage::{from_stored_payload, to_stored_payload};
use crate::types::{
    CommittedLeaderId, Entry, FORMAT, LeaderId, LogId, Reader, Types, Vote, invalid, put_log_id,
};
use bytes::{BufMut, Bytes, BytesMut};
use openraft::raft::{AppendEntriesRequest, VoteRequest, VoteResponse};
use std::io;
use synod_storage::EntryKind;

/// The place of an append among those of one leader's stream to one follower.
///
/// Streams of one leader's term are numbered upwards, so that a follower knows which of two is
/// the later one; within a stream requests are numbered from 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    /// Which stream.
    pub(crate) stream: u64,
    /// Which request of it.
    pub(crate) number: u32,
}

/// A question to another member's engine.
#[derive(Debug)]
pub(crate) enum Request {
    /// Entries to append, in the order of their places. Kind 1: the place (`u64`, `u32`), vote,
    /// place before the entries, committed place, `u32` number of entries; each is an epoch
    /// (`u64`), a kind (`u8`: 0 blank, 1 batch, 2 membership) and bytes.
    Append(Place, AppendEntriesRequest<Types>),
    /// A sign of life, to be answered at once. Kind 2: vote, place, committed place.
    Heartbeat(AppendEntriesRequest<Types>),
    /// Kind 3: vote, last place, a byte that is 1 if the leader has handed over.
    Vote(VoteRequest<Types>),
    /// Would you vote? Kind 4: as a vote.
    PreVote(VoteRequest<Types>),
    /// Announces a snapshot. Kind 5: `u64` transfer, vote, bytes of the position.
    SnapshotBegin {
        /// Chosen by the sender, different for each transfer.
        transfer: u64,
        /// The leader that sends it.
        vote: Vote,
        /// What it covers, as the machine has it.
        position: Bytes,
    },
    /// The next part of a snapshot. Kind 6: `u64` transfer, `u32` number from 0, bytes.
    SnapshotPart {
        /// Of which transfer.
        transfer: u64,
        /// Its place among the parts.
        number: u32,
        /// The part.
        part: Bytes,
    },
    /// That was the last part: make it durable and install it. Kind 7: `u64` transfer, `u32`
    /// number of parts.
    SnapshotEnd {
        /// Of which transfer.
        transfer: u64,
        /// How many parts there were.
        parts: u32,
    },
}

/// What a message between engines is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Topic {
    /// Entries, and signs of life.
    Replication,
    /// Votes.
    Election,
    /// The transfer of a snapshot.
    Snapshot,
}

/// What a question between engines says, for people who look at a run from outside; `None` if it
/// is none.
#[must_use]
pub fn describe(question: &Bytes) -> Option<(Topic, String)> {
    let describe_append = |request: &AppendEntriesRequest<Types>| {
        let committed = request.leader_commit.as_ref();
        let committed = committed.map_or(0, |id| id.index);
        match (request.entries.first(), request.entries.last()) {
            (Some(first), Some(last)) => format!(
                "append {} to {}, committed {committed}",
                first.log_id.index, last.log_id.index
            ),
            (None, _) | (_, None) => format!("append nothing, committed {committed}"),
        }
    };
    Some(match Request::decode(question).ok()? {
        Request::Append(_, request) => (Topic::Replication, describe_append(&request)),
        Request::Heartbeat(request) => {
            let committed = request.leader_commit.as_ref().map_or(0, |id| id.index);
            (
                Topic::Replication,
                format!("heartbeat, committed {committed}"),
            )
        }
        Request::Vote(request) => (Topic::Election, format!("vote for me: {}", request.vote)),
        Request::PreVote(request) => {
            let words = format!("would you vote for me: {}", request.vote);
            (Topic::Election, words)
        }
        Request::SnapshotBegin { .. } => (Topic::Snapshot, "snapshot begins".to_owned()),
        Request::SnapshotPart { number, part, .. } => {
            let words = format!("snapshot part {number}, {} bytes", part.len());
            (Topic::Snapshot, words)
        }
        Request::SnapshotEnd { .. } => (Topic::Snapshot, "snapshot ends".to_owned()),
    })
}

/// What the answer to a replication says; `None` if it is none.
#[must_use]
pub fn describe_appended(answer: &Bytes) -> Option<String> {
    Some(match Appended::decode(answer).ok()? {
        Appended::Done => "appended".to_owned(),
        Appended::Part(_) => "appended in part".to_owned(),
        Appended::Conflict => "conflict: the entry before is missing".to_owned(),
        Appended::HigherVote(vote) => format!("no: voted {vote}"),
        Appended::NoRoom => "no room".to_owned(),
        Appended::Missing => "an earlier request is missing".to_owned(),
    })
}

/// What a member answers to [`Request::Append`] and [`Request::Heartbeat`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Appended {
    /// All that was sent is in the log and durable. Kind 1.
    Done,
    /// The entry before those that were sent is not in the log. Kind 2.
    Conflict,
    /// This member has given a higher vote. Kind 3: the vote.
    HigherVote(Vote),
    /// There is no room in this member's log; nothing was looked at. Kind 4.
    NoRoom,
    /// An earlier request of the stream is missing; nothing was looked at. Kind 5.
    Missing,
    /// As `Done` for the entries up to this one; there was no room for more. Kind 6: the place.
    Part(LogId),
}

/// What a member answers to the requests about snapshots.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Received {
    /// Go on. Kind 1.
    Ready,
    /// All of it is installed or was not needed, unless the vote of this member, which follows, is
    /// higher than the sender's. Kind 2: the vote.
    Settled(Vote),
    /// This member is writing a snapshot of its own, or taking another one. Kind 3.
    Busy,
    /// The transfer is not known here, or was given up: begin anew. Kind 4.
    Unknown,
    /// The transfer failed here. Kind 5: bytes, the reason as text.
    Failed(String),
    /// This member's log ends with entries of a later epoch than the snapshot's last one: send a
    /// newer snapshot. Kind 6.
    Outdated,
}

/// Entries in one request beyond which its bytes are taken for garbage.
const ENTRIES_MAX: u32 = 1 << 16;
/// Letters of a reason that are sent.
const REASON_MAX: usize = 300;

impl Request {
    pub(crate) fn encode(&self) -> Bytes {
        let mut into = BytesMut::with_capacity(self.length_guess());
        into.put_u8(FORMAT);
        match self {
            Self::Append(place, request) => {
                into.put_u8(1);
                into.put_u64_le(place.stream);
                into.put_u32_le(place.number);
                put_append(request, &mut into);
                put_entries(&request.entries, &mut into);
            }
            Self::Heartbeat(request) => {
                into.put_u8(2);
                put_append(request, &mut into);
            }
            Self::Vote(request) => put_vote_request(3, request, &mut into),
            Self::PreVote(request) => put_vote_request(4, request, &mut into),
            Self::SnapshotBegin {
                transfer,
                vote,
                position,
            } => {
                into.put_u8(5);
                into.put_u64_le(*transfer);
                put_vote(vote, &mut into);
                put_bytes(position, &mut into);
            }
            Self::SnapshotPart {
                transfer,
                number,
                part,
            } => {
                into.put_u8(6);
                into.put_u64_le(*transfer);
                into.put_u32_le(*number);
                put_bytes(part, &mut into);
            }
            Self::SnapshotEnd { transfer, parts } => {
                into.put_u8(7);
                into.put_u64_le(*transfer);
                into.put_u32_le(*parts);
            }
        }
        into.freeze()
    }

    fn length_guess(&self) -> usize {
        match self {
            Self::Append(_, request) => 128 + entries_bytes(&request.entries),
            Self::SnapshotPart { part, .. } => 32 + part.len(),
            Self::Heartbeat(_)
            | Self::Vote(_)
            | Self::PreVote(_)
            | Self::SnapshotBegin { .. }
            | Self::SnapshotEnd { .. } => 128,
        }
    }

    /// Decodes what [`Request::encode`] made. Entries and parts share the memory of `bytes`.
    ///
    /// # Errors
    /// `InvalidData` for anything else, and for what no leader would send.
    pub(crate) fn decode(bytes: &Bytes) -> io::Result<Self> {
        let mut from = Reader::new(bytes)?;
        let request = match from.u8()? {
            1 => {
                let stream = from.u64()?;
                let number = from.u32()?;
                let mut request = append(&mut from)?;
                request.entries = entries(&request, &mut from, bytes)?;
                Self::Append(Place { stream, number }, request)
            }
            2 => Self::Heartbeat(append(&mut from)?),
            3 => Self::Vote(vote_request(&mut from)?),
            4 => Self::PreVote(vote_request(&mut from)?),
            5 => Self::SnapshotBegin {
                transfer: from.u64()?,
                vote: leader_vote(&mut from)?,
                position: bytes.slice_ref(from.bytes()?),
            },
            6 => Self::SnapshotPart {
                transfer: from.u64()?,
                number: from.u32()?,
                part: bytes.slice_ref(from.bytes()?),
            },
            7 => Self::SnapshotEnd {
                transfer: from.u64()?,
                parts: from.u32()?,
            },
            other => return Err(unknown_kind(other)),
        };
        from.end()?;
        Ok(request)
    }
}

impl Appended {
    pub(crate) fn encode(&self) -> Bytes {
        let mut into = BytesMut::new();
        into.put_u8(FORMAT);
        match self {
            Self::Done => into.put_u8(1),
            Self::Conflict => into.put_u8(2),
            Self::HigherVote(vote) => {
                into.put_u8(3);
                put_vote(vote, &mut into);
            }
            Self::NoRoom => into.put_u8(4),
            Self::Missing => into.put_u8(5),
            Self::Part(upto) => {
                into.put_u8(6);
                put_log_id(Some(upto), &mut into);
            }
        }
        into.freeze()
    }

    /// Decodes what [`Appended::encode`] made.
    ///
    /// # Errors
    /// `InvalidData` for anything else.
    pub(crate) fn decode(bytes: &[u8]) -> io::Result<Self> {
        let mut from = Reader::new(bytes)?;
        let answer = match from.u8()? {
            1 => Self::Done,
            2 => Self::Conflict,
            3 => Self::HigherVote(vote(&mut from)?),
            4 => Self::NoRoom,
            5 => Self::Missing,
            6 => {
                let upto = from.log_id()?;
                Self::Part(upto.ok_or_else(|| invalid("a part that ends before the first entry"))?)
            }
            other => return Err(unknown_kind(other)),
        };
        from.end()?;
        Ok(answer)
    }
}

impl Received {
    pub(crate) fn encode(&self) -> Bytes {
        let mut into = BytesMut::new();
        into.put_u8(FORMAT);
        match self {
            Self::Ready => into.put_u8(1),
            Self::Settled(vote) => {
                into.put_u8(2);
                put_vote(vote, &mut into);
            }
            Self::Busy => into.put_u8(3),
            Self::Unknown => into.put_u8(4),
            Self::Failed(reason) => {
                into.put_u8(5);
                let reason: String = reason.chars().take(REASON_MAX).collect();
                put_bytes(reason.as_bytes(), &mut into);
            }
            Self::Outdated => into.put_u8(6),
        }
        into.freeze()
    }

    /// Decodes what [`Received::encode`] made.
    ///
    /// # Errors
    /// `InvalidData` for anything else.
    pub(crate) fn decode(bytes: &[u8]) -> io::Result<Self> {
        let mut from = Reader::new(bytes)?;
        let answer = match from.u8()? {
            1 => Self::Ready,
            2 => Self::Settled(vote(&mut from)?),
            3 => Self::Busy,
            4 => Self::Unknown,
            5 => Self::Failed(String::from_utf8_lossy(from.bytes()?).into_owned()),
            6 => Self::Outdated,
            other => return Err(unknown_kind(other)),
        };
        from.end()?;
        Ok(answer)
    }
}

/// The answer to a request for a vote: vote, a byte that is 1 if it is granted, last place.
pub(crate) fn encode_voted(answer: &VoteResponse<Types>) -> Bytes {
    let mut into = BytesMut::new();
    into.put_u8(FORMAT);
    put_vote(&answer.vote, &mut into);
    into.put_u8(u8::from(answer.vote_granted));
    put_log_id(answer.last_log_id.as_ref(), &mut into);
    into.freeze()
}

/// Decodes what [`encode_voted`] made.
///
/// # Errors
/// `InvalidData` for anything else.
pub(crate) fn decode_voted(bytes: &[u8]) -> io::Result<VoteResponse<Types>> {
    let mut from = Reader::new(bytes)?;
    let answer = VoteResponse {
        vote: vote(&mut from)?,
        vote_granted: from.flag()?,
        last_log_id: from.log_id()?,
    };
    from.end()?;
    Ok(answer)
}

/// Bytes of the payloads of some entries and of what is sent beside them.
pub(crate) fn entries_bytes(entries: &[Entry]) -> usize {
    entries
        .iter()
        .map(|entry| {
            let payload = match &entry.payload {
                openraft::EntryPayload::Normal(batch) => batch.0.len(),
                openraft::EntryPayload::Blank => 0,
                openraft::EntryPayload::Membership(_) => 128,
            };
            13 + payload
        })
        .sum()
}

fn put_vote(vote: &Vote, into: &mut BytesMut) {
    into.put_u64_le(vote.leader_id.term);
    into.put_u64_le(vote.leader_id.voted_for);
    into.put_u8(u8::from(vote.committed));
}

fn vote(from: &mut Reader<'_>) -> io::Result<Vote> {
    Ok(Vote {
        leader_id: LeaderId {
            term: from.u64()?,
            voted_for: from.u64()?,
        },
        committed: from.flag()?,
    })
}

/// The vote of somebody who was elected.
fn leader_vote(from: &mut Reader<'_>) -> io::Result<Vote> {
    let vote = vote(from)?;
    if !vote.committed {
        return Err(invalid("somebody who was not elected speaks as a leader"));
    }
    Ok(vote)
}

fn put_append(request: &AppendEntriesRequest<Types>, into: &mut BytesMut) {
    put_vote(&request.vote, into);
    put_log_id(request.prev_log_id.as_ref(), into);
    put_log_id(request.leader_commit.as_ref(), into);
}

fn append(from: &mut Reader<'_>) -> io::Result<AppendEntriesRequest<Types>> {
    let vote = leader_vote(from)?;
    let prev_log_id = from.log_id()?;
    let leader_commit = from.log_id()?;
    let latest = [prev_log_id, leader_commit].into_iter().flatten();
    if latest.map(epoch).any(|epoch| epoch > vote.leader_id.term) {
        return Err(invalid("a leader tells of entries of a later epoch"));
    }
    Ok(AppendEntriesRequest {
        vote,
        prev_log_id,
        entries: Vec::new(),
        leader_commit,
    })
}

fn put_entries(entries: &[Entry], into: &mut BytesMut) {
    into.put_u32_le(u32::try_from(entries.len()).expect("a request holds few entries"));
    for entry in entries {
        let (kind, payload) = to_stored_payload(&entry.payload);
        into.put_u64_le(epoch(entry.log_id));
        into.put_u8(match kind {
            EntryKind::Blank => 0,
            EntryKind::Batch => 1,
            EntryKind::Membership => 2,
        });
        put_bytes(&payload, into);
    }
}

/// Entries that follow what `request` says is before them, without gap, epochs ascending.
fn entries(
    request: &AppendEntriesRequest<Types>,
    from: &mut Reader<'_>,
    bytes: &Bytes,
) -> io::Result<Vec<Entry>> {
    let count = from.count(ENTRIES_MAX)?;
    let mut entries = Vec::with_capacity(count.min(1_024) as usize);
    let mut last_epoch = request.prev_log_id.map_or(0, epoch);
    let first = request.prev_log_id.map_or(0, |prev| prev.index + 1);
    if first > u64::MAX / 2 {
        return Err(invalid("entries at an index that no log reaches"));
    }
    for index in first..first + u64::from(count) {
        let epoch = from.u64()?;
        if epoch < last_epoch || epoch > request.vote.leader_id.term {
            return Err(invalid("entries are not in the order of their epochs"));
        }
        let kind = match from.u8()? {
            0 => EntryKind::Blank,
            1 => EntryKind::Batch,
            2 => EntryKind::Membership,
            other => return Err(unknown_kind(other)),
        };
        let payload = from_stored_payload(kind, bytes.slice_ref(from.bytes()?))?;
        let log_id = LogId::new(CommittedLeaderId::new(epoch), index);
        entries.push(Entry { log_id, payload });
        last_epoch = epoch;
    }
    Ok(entries)
}

fn put_vote_request(kind: u8, request: &VoteRequest<Types>, into: &mut BytesMut) {
    into.put_u8(kind);
    put_vote(&request.vote, into);
    put_log_id(request.last_log_id.as_ref(), into);
    into.put_u8(u8::from(request.leadership_transfer));
}

fn vote_request(from: &mut Reader<'_>) -> io::Result<VoteRequest<Types>> {
    let vote = vote(from)?;
    if vote.committed {
        return Err(invalid("somebody who was elected asks for votes"));
    }
    Ok(VoteRequest {
        vote,
        last_log_id: from.log_id()?,
        leadership_transfer: from.flag()?,
    })
}

fn put_bytes(bytes: &[u8], into: &mut BytesMut) {
    into.put_u32_le(u32::try_from(bytes.len()).expect("messages are far smaller than 4 GiB"));
    into.put_slice(bytes);
}

fn epoch(id: LogId) -> u64 {
    id.leader_id.term
}

fn unknown_kind(kind: u8) -> io::Error {
    invalid(&format!("engine message of unknown kind {kind}"))
}

#[cfg(test)]
mod tests;

//! openraft's types chosen for Synod, and their own byte formats.
//!
//! No openraft type is written to a file or sent anywhere: the log stores the types of
//! `synod-storage`, and what openraft needs beside the state (its place in the log and the
//! membership) has the hand-written, versioned format below. So openraft can be upgraded, or
//! exchanged, without touching a data directory.
//!
//! openraft counts log entries from 0, the seam from 1 with 0 for "before the first". The only
//! conversions between the two are [`seam_index`] and [`raft_index`].

use crate::proposals::Responder;
use crate::runtime::Runtime;
use bytes::{Buf, BufMut, Bytes, BytesMut};
use openraft::impls::{BoxedErrorSource, InlineBatch};
use openraft::vote::leader_id_std;
use openraft::{EntryPayload, OptionalSend};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::io;
use synod_log::Index;

/// One leader per term, as in the Raft paper: a term is an epoch of the seam.
pub(crate) type LeaderId = leader_id_std::LeaderId<u64, u64>;
/// What remains of a [`LeaderId`] once a quorum granted it: the term.
pub(crate) type CommittedLeaderId = leader_id_std::CommittedLeaderId<u64>;
/// A term and an index.
pub(crate) type LogId = openraft::LogId<CommittedLeaderId>;
/// A log entry as openraft holds it.
pub(crate) type Entry = openraft::Entry<CommittedLeaderId, Payload>;
/// What a log entry carries.
pub(crate) type Payload = EntryPayload<Batch, u64, ()>;
/// Who votes and who only listens. Addresses of members are no part of consensus.
pub(crate) type Membership = openraft::Membership<u64, ()>;
/// A membership with its place in the log.
pub(crate) type StoredMembership = openraft::StoredMembership<CommittedLeaderId, u64, ()>;
/// What openraft knows of a snapshot.
pub(crate) type SnapshotMeta = openraft::SnapshotMeta<CommittedLeaderId, u64, ()>;
/// A term, whom this member voted for in it, and whether that one won.
pub(crate) type Vote = openraft::Vote<LeaderId>;

/// The choice of types under which openraft is compiled.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Types;

impl openraft::RaftTypeConfig for Types {
    type D = Batch;
    type R = ();
    type NodeId = u64;
    type Node = ();
    type Term = u64;
    type LeaderId = LeaderId;
    type Vote = Vote;
    type Payload = Payload;
    type Entry = Entry;
    type AsyncRuntime = Runtime;
    type Responder<T>
        = Responder<T>
    where
        T: OptionalSend + 'static;
    type Batch<T>
        = InlineBatch<T>
    where
        T: OptionalSend + 'static;
    type ErrorSource = BoxedErrorSource;
}

/// What was proposed: bytes that the engine does not read.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Batch(pub(crate) Bytes);

impl fmt::Debug for Batch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} bytes", self.0.len())
    }
}

impl fmt::Display for Batch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, f)
    }
}

/// The seam's name for the entry that openraft calls `index`.
pub(crate) const fn seam_index(index: u64) -> Index {
    Index(index + 1)
}

/// The seam's name for the last of some entries, which may be none.
pub(crate) fn seam_index_of(last: Option<&LogId>) -> Index {
    last.map_or(Index(0), |id| seam_index(id.index))
}

/// openraft's name for `index`, or `None` before the first entry.
pub(crate) const fn raft_index(index: Index) -> Option<u64> {
    index.0.checked_sub(1)
}

/// An identity of openraft's from the seam's two numbers; `None` before the first entry.
pub(crate) fn log_id(epoch: u64, index: Index) -> Option<LogId> {
    raft_index(index).map(|index| LogId::new(CommittedLeaderId::new(epoch), index))
}

/// True if `member` alone decides in `membership`.
pub(crate) fn is_sole_voter(membership: &Membership, member: u64) -> bool {
    match membership.get_joint_config().as_slice() {
        [voters] => voters.len() == 1 && voters.contains(&member),
        [] | [_, _, ..] => false,
    }
}

/// First byte of each format below, and of each message between members.
pub(crate) const FORMAT: u8 = 1;
/// Members in one configuration beyond which bytes are taken for garbage.
const MEMBERS_MAX: u32 = 1_024;
/// Configurations in force at once: two during a change.
const CONFIGS_MAX: u32 = 2;

/// Encodes a membership: the payload of a membership entry in the log.
///
/// Format 1, little-endian: `u8` format; `u32` number of voter sets, each a `u32` count and that
/// many `u64` members, ascending; then the same for the learners.
pub(crate) fn encode_membership(membership: &Membership) -> Bytes {
    let mut into = BytesMut::new();
    into.put_u8(FORMAT);
    put_membership(membership, &mut into);
    into.freeze()
}

/// Decodes what [`encode_membership`] made.
///
/// # Errors
/// `InvalidData` for anything else.
pub(crate) fn decode_membership(bytes: &[u8]) -> io::Result<Membership> {
    let mut from = Reader::new(bytes)?;
    let membership = from.membership()?;
    from.end()?;
    Ok(membership)
}

/// What openraft needs beside a state: up to which entry it is, and who the members are.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Position {
    /// The last entry the state has applied.
    pub(crate) applied: Option<LogId>,
    /// The membership in force there, with its own place in the log.
    pub(crate) membership: StoredMembership,
}

impl Position {
    /// What openraft knows of a snapshot of that state.
    pub(crate) fn describe(&self) -> SnapshotMeta {
        SnapshotMeta {
            last_log_id: self.applied,
            last_membership: self.membership.clone(),
        }
    }

    /// Format 1, little-endian: `u8` format; epoch and index of the last applied entry, `u64`
    /// each, index 0 for none; the same of the membership's entry; the membership as in
    /// [`encode_membership`] without its format byte.
    pub(crate) fn encode(&self) -> Bytes {
        let Self {
            applied,
            membership,
        } = self;
        let mut into = BytesMut::new();
        into.put_u8(FORMAT);
        put_log_id(applied.as_ref(), &mut into);
        put_log_id(membership.log_id().as_ref(), &mut into);
        put_membership(membership.membership(), &mut into);
        into.freeze()
    }

    /// Decodes what [`Position::encode`] made.
    ///
    /// # Errors
    /// `InvalidData` for anything else.
    pub(crate) fn decode(bytes: &[u8]) -> io::Result<Self> {
        let mut from = Reader::new(bytes)?;
        let applied = from.log_id()?;
        let membership_at = from.log_id()?;
        let membership = from.membership()?;
        from.end()?;
        Ok(Self {
            applied,
            membership: StoredMembership::new(membership_at, membership),
        })
    }
}

pub(crate) fn put_log_id(id: Option<&LogId>, into: &mut BytesMut) {
    into.put_u64_le(id.map_or(0, |id| id.leader_id.term));
    into.put_u64_le(seam_index_of(id).0);
}

fn put_membership(membership: &Membership, into: &mut BytesMut) {
    let configs = membership.get_joint_config();
    put_count(configs.len(), into);
    for voters in configs {
        put_members(voters.len(), voters.iter().copied(), into);
    }
    let learners: Vec<u64> = membership.learner_ids().collect();
    put_members(learners.len(), learners.into_iter(), into);
}

fn put_members(count: usize, members: impl Iterator<Item = u64>, into: &mut BytesMut) {
    put_count(count, into);
    for member in members {
        into.put_u64_le(member);
    }
}

fn put_count(count: usize, into: &mut BytesMut) {
    into.put_u32_le(u32::try_from(count).expect("a cluster has fewer than 2^32 members"));
}

/// Reads the formats above, and those of [`crate::wire`]; every shortfall is an error.
pub(crate) struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    /// Takes the first byte for the format.
    pub(crate) fn new(bytes: &'a [u8]) -> io::Result<Self> {
        let mut reader = Self(bytes);
        let format = reader.u8()?;
        if format != FORMAT {
            return Err(invalid(&format!(
                "engine record of unknown format {format}"
            )));
        }
        Ok(reader)
    }

    pub(crate) fn u8(&mut self) -> io::Result<u8> {
        self.0.try_get_u8().map_err(|_| cut_short())
    }

    pub(crate) fn u32(&mut self) -> io::Result<u32> {
        self.0.try_get_u32_le().map_err(|_| cut_short())
    }

    pub(crate) fn u64(&mut self) -> io::Result<u64> {
        self.0.try_get_u64_le().map_err(|_| cut_short())
    }

    pub(crate) fn flag(&mut self) -> io::Result<bool> {
        match self.u8()? {
            0 => Ok(false),
            1 => Ok(true),
            other => Err(invalid(&format!("engine record has {other} for a truth"))),
        }
    }

    /// Bytes with their length before them.
    pub(crate) fn bytes(&mut self) -> io::Result<&'a [u8]> {
        let length = usize::try_from(self.u32()?).map_err(|_| cut_short())?;
        let (bytes, after) = self.0.split_at_checked(length).ok_or_else(cut_short)?;
        self.0 = after;
        Ok(bytes)
    }

    pub(crate) fn count(&mut self, most: u32) -> io::Result<u32> {
        let count = self.u32()?;
        if count > most {
            return Err(invalid(&format!(
                "engine record counts {count} where {most} is the most"
            )));
        }
        Ok(count)
    }

    pub(crate) fn log_id(&mut self) -> io::Result<Option<LogId>> {
        let epoch = self.u64()?;
        let index = Index(self.u64()?);
        Ok(log_id(epoch, index))
    }

    fn members(&mut self) -> io::Result<BTreeSet<u64>> {
        let count = self.count(MEMBERS_MAX)?;
        (0..count).map(|_| self.u64()).collect()
    }

    fn membership(&mut self) -> io::Result<Membership> {
        let configs = self.count(CONFIGS_MAX)?;
        let configs: Vec<BTreeSet<u64>> = (0..configs)
            .map(|_| self.members())
            .collect::<io::Result<_>>()?;
        let learners = self.members()?;
        if configs.is_empty() && learners.is_empty() {
            // What a member knows before its first entry.
            return Ok(Membership::default());
        }
        let everybody: BTreeMap<u64, ()> = configs
            .iter()
            .flatten()
            .chain(&learners)
            .map(|member| (*member, ()))
            .collect();
        Membership::new(configs, everybody).map_err(|error| invalid(&error.to_string()))
    }

    pub(crate) fn end(&self) -> io::Result<()> {
        if self.0.is_empty() {
            Ok(())
        } else {
            Err(invalid("engine record has bytes after its end"))
        }
    }
}

fn cut_short() -> io::Error {
    invalid("engine record is cut short")
}

/// An error for bytes that cannot be what they should be.
pub(crate) fn invalid(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what)
}

#[cfg(test)]
mod tests;

//! The state as bytes: a header and chunks, each written and read on its own.
//!
//! A chunk is a few neighboring subtrees of a table. As long as nothing in them changes they are
//! the same nodes in memory, which [`Chunk::identity`] shows: a snapshot writes only chunks that
//! the one before did not have. Loading decodes chunks on as many threads as there are, then joins them; what
//! was loaded must have the hash, the size and the counts that the header states.
//!
//! Header: format (1 byte; 3 if a limit was ever changed, otherwise 2 if there are alarms, otherwise 1), scalars, number of versions (8), number of leases (8), size in bytes
//! (8), hash (16), number of origins (8), origins; then, in formats 2 and 3, number of alarms (8), alarms; then, in format 3, number of limits (8), limits. Chunk: format (1), then records of one kind,
//! which say themselves what they are, in the order of their table.

use crate::codec::{Corrupt, Reader};
use crate::command::{Alarm, Revision};
use crate::digest::{Digest, kind};
use crate::limit::{LimitChange, LimitKind};
use crate::record::Record;
use crate::root::{Root, Scalars};
use crate::state::State;
use crate::tables::{ByAlarm, ByKey, ByLease, ByMember, LEASE_BYTES, LastBatch, Lease};
use crate::tree::{Layout, Subtree, Tree};
use bytes::Bytes;
use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use synod_env::{Bug, planted};
use xxhash_rust::xxh3::xxh3_64;

/// The format of headers without alarms.
const HEADER_FORMAT: u8 = 1;
/// The format of headers with alarms.
const HEADER_FORMAT_ALARMS: u8 = 2;
/// The format of headers with limits, and with alarms or without.
const HEADER_FORMAT_LIMITS: u8 = 3;
/// The only format of chunks so far.
const CHUNK_FORMAT: u8 = 1;

/// A part of the state, fixed at the moment its [`Root`] was taken.
#[derive(Clone, Debug)]
pub struct Chunk(Part);

/// Which chunk it is: two are equal if and only if their content is the same memory, thus the
/// same. It keeps that memory; the order of identities means nothing.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Identity(Part);

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Part {
    Versions(Vec<Subtree<ByKey>>),
    Leases(Vec<Subtree<ByLease>>),
}

/// A chunk that was read, or several neighbors, checked within themselves.
#[derive(Debug, Default)]
pub struct DecodedChunk {
    records: Vec<Record>,
    /// The same records in order of time. The time stands beside the record, which is not looked
    /// at for it: in this order, records are all over the memory.
    moments: Vec<(Moment, Record)>,
    leases: Vec<Lease>,
    digest: Digest,
    bytes: u64,
}

/// A revision, and a place within it.
type Moment = (Revision, u32);

/// Why a state cannot be loaded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LoadError {
    /// A header or chunk does not hold what it should.
    Corrupt(Corrupt),
    /// The state is at a level that this build does not know: a newer one must load it.
    UnknownLevel {
        /// The state's level.
        level: u32,
        /// The highest level that this build knows.
        highest: u32,
    },
    /// The parts are sound but do not make up the state that the header describes.
    Mismatch {
        /// What differs, or which rule is broken.
        what: &'static str,
        /// What the header says, or the rule allows.
        expected: u128,
        /// What the chunks hold.
        found: u128,
    },
}

impl fmt::Display for LoadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Corrupt(_) => f.write_str("a part of the snapshot is corrupt"),
            Self::UnknownLevel { level, highest } => write!(
                f,
                "the state is at level {level} and this build knows levels up to {highest}: \
                 start a newer build"
            ),
            Self::Mismatch {
                what,
                expected,
                found,
            } => {
                write!(f, "{what}: expected {expected:#x}, found {found:#x}")
            }
        }
    }
}

impl std::error::Error for LoadError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Corrupt(corrupt) => Some(corrupt),
            Self::UnknownLevel { .. } | Self::Mismatch { .. } => None,
        }
    }
}

impl From<Corrupt> for LoadError {
    fn from(corrupt: Corrupt) -> Self {
        Self::Corrupt(corrupt)
    }
}

impl Root {
    /// Everything of the state that is not in chunks, and what the chunks must add up to.
    #[must_use]
    pub fn header(&self) -> Bytes {
        let format = match (self.limits.is_empty(), self.alarms.is_empty()) {
            (true, true) => HEADER_FORMAT,
            (true, false) => HEADER_FORMAT_ALARMS,
            (false, _) => HEADER_FORMAT_LIMITS,
        };
        let mut out = vec![format];
        out.extend_from_slice(&self.scalars.encode());
        out.extend_from_slice(&(self.versions.len() as u64).to_le_bytes());
        out.extend_from_slice(&(self.leases.len() as u64).to_le_bytes());
        out.extend_from_slice(&self.bytes().to_le_bytes());
        out.extend_from_slice(&self.hash().to_le_bytes());
        out.extend_from_slice(&(self.origins.len() as u64).to_le_bytes());
        for origin in &self.origins {
            out.extend_from_slice(&origin.encode());
        }
        if format != HEADER_FORMAT {
            out.extend_from_slice(&(self.alarms.len() as u64).to_le_bytes());
            for alarm in &self.alarms {
                out.extend_from_slice(&alarm.encode());
            }
        }
        if format == HEADER_FORMAT_LIMITS {
            out.extend_from_slice(&(self.limits.len() as u64).to_le_bytes());
            for change in self.limits.values() {
                out.extend_from_slice(&change.encode());
            }
        }
        Bytes::from(out)
    }

    /// The rest of the state, in the order in which [`State::load`] wants it. A chunk has at most
    /// `bytes_target` bytes, unless a few records alone are larger; in a state of many times that
    /// size a chunk has on average more than a third of it.
    #[must_use]
    pub fn chunks(&self, bytes_target: usize) -> Vec<Chunk> {
        let target = bytes_target as u64;
        let versions = group(&self.versions, target)
            .into_iter()
            .map(Part::Versions);
        let leases = group(&self.leases, target).into_iter().map(Part::Leases);
        versions.chain(leases).map(Chunk).collect()
    }
}

/// Cuts a table into groups of subtrees, of at most `weight_max` each.
///
/// Where a group begins must not depend on how large the groups before it are, or a change in one
/// would move the borders of all after it. So a border stands where a hash of the key there says
/// so, with a probability that makes groups about large enough (content-defined chunking,
/// Muthitacharoen, Chen, Mazières, SOSP 2001); those that grow beyond the bound are cut besides.
fn group<L: Layout>(tree: &Tree<L>, weight_max: u64) -> Vec<Vec<Subtree<L>>> {
    let mut groups: Vec<Vec<Subtree<L>>> = Vec::new();
    let mut weight = 0;
    let mut key = Vec::new();
    for subtree in tree.subtrees(weight_max) {
        key.clear();
        L::pack(L::key(subtree.first()), &mut key);
        let draw = u128::from(xxh3_64(&key)) * u128::from(weight_max);
        let is_border = draw < u128::from(subtree.weight()) << 64;
        weight += subtree.weight();
        match groups.last_mut() {
            Some(group) if !is_border && weight <= weight_max => group.push(subtree),
            Some(_) | None => {
                weight = subtree.weight();
                groups.push(vec![subtree]);
            }
        }
    }
    groups
}

impl Chunk {
    /// Which chunk it is, to find it again among those of a later root.
    #[must_use]
    pub fn identity(&self) -> Identity {
        Identity(self.0.clone())
    }

    /// The length of its encoding.
    #[must_use]
    pub fn encoded_len(&self) -> u64 {
        1 + match &self.0 {
            Part::Versions(part) => part.iter().map(Subtree::weight).sum::<u64>(),
            Part::Leases(part) => part.iter().map(Subtree::weight).sum(),
        }
    }

    /// The chunk as a snapshot holds it.
    #[must_use]
    pub fn encode(&self) -> Bytes {
        let length = usize::try_from(self.encoded_len()).expect("what is in memory has a usize");
        let mut out = Vec::with_capacity(length);
        out.push(CHUNK_FORMAT);
        match &self.0 {
            Part::Versions(part) => {
                part.iter()
                    .for_each(|s| s.for_each(|record| record.write(&mut out)));
            }
            Part::Leases(part) => {
                part.iter()
                    .for_each(|s| s.for_each(|lease| out.extend_from_slice(&lease.encode())));
            }
        }
        assert!(
            out.len() == length,
            "a chunk of {length} bytes has {}",
            out.len()
        );
        Bytes::from(out)
    }

    /// Reads a chunk. Needs nothing else, so chunks can be read side by side.
    ///
    /// # Errors
    /// [`Corrupt`] if [`Chunk::encode`] cannot have written it.
    pub fn decode(bytes: Bytes) -> Result<DecodedChunk, Corrupt> {
        let mut reader = Reader::new(bytes);
        reader.format(CHUNK_FORMAT, "chunk format 1")?;
        if reader.rest().first() == Some(&kind::LEASE) {
            return decode_leases(&mut reader);
        }
        decode_versions(&mut reader)
    }
}

fn decode_versions(reader: &mut Reader) -> Result<DecodedChunk, Corrupt> {
    let mut digest = Digest::default();
    let mut bytes = 0;
    let mut records: Vec<Record> = Vec::new();
    let mut scratch = Vec::new();
    while !reader.rest().is_empty() {
        let offset = reader.offset();
        let record = Record::read(reader, &mut scratch)?;
        if records
            .last()
            .is_some_and(|last| ByKey::key(last) >= ByKey::key(&record))
        {
            return Err(Corrupt {
                offset,
                expected: "versions in order",
            });
        }
        digest.add(record.encoded(&mut scratch));
        bytes += record.encoded_len();
        records.push(record);
    }
    let mut moments: Vec<_> = records
        .iter()
        .map(|record| (record.moment(), record.clone()))
        .collect();
    moments.sort_by_key(|(moment, _)| *moment);
    Ok(DecodedChunk {
        records,
        moments,
        digest,
        bytes,
        ..DecodedChunk::default()
    })
}

fn decode_leases(reader: &mut Reader) -> Result<DecodedChunk, Corrupt> {
    let mut digest = Digest::default();
    let mut bytes = 0;
    let mut leases: Vec<Lease> = Vec::new();
    while !reader.rest().is_empty() {
        let offset = reader.offset();
        let lease = Lease::read(reader)?;
        if leases.last().is_some_and(|last| last.id >= lease.id) {
            return Err(Corrupt {
                offset,
                expected: "leases in order",
            });
        }
        digest.add(&lease.encode());
        bytes += LEASE_BYTES as u64;
        leases.push(lease);
    }
    Ok(DecodedChunk {
        leases,
        digest,
        bytes,
        ..DecodedChunk::default()
    })
}

/// What a header says.
struct Header {
    scalars: Scalars,
    origins: Vec<LastBatch>,
    alarms: Vec<Alarm>,
    limits: BTreeMap<LimitKind, LimitChange>,
    version_count: u64,
    lease_count: u64,
    bytes: u64,
    hash: u128,
}

impl Header {
    fn decode(bytes: Bytes, highest_level: u32) -> Result<Self, LoadError> {
        let mut reader = Reader::new(bytes);
        let [format] = reader.peek_array("state header format")?;
        let known = [HEADER_FORMAT, HEADER_FORMAT_ALARMS, HEADER_FORMAT_LIMITS];
        let format = known.into_iter().find(|known| *known == format);
        let format = format.unwrap_or(HEADER_FORMAT);
        reader.format(format, "state header format 1, 2 or 3")?;
        reader.format(kind::SCALARS, "the state's numbers")?;
        // The level comes first: what follows may mean something else at a level not known here.
        let level = u32::from_le_bytes(reader.array("level")?);
        if level > highest_level {
            return Err(LoadError::UnknownLevel {
                level,
                highest: highest_level,
            });
        }
        let mut number = |expected| reader.fixed_u64(expected);
        let revision = number("revision")?.cast_signed();
        let compact_revision = number("compact revision")?.cast_signed();
        let next_revision = number("compaction's next revision")?.cast_signed();
        let next_sub = u32::from_le_bytes(reader.array("compaction's next place")?);
        let mut number = |expected| reader.fixed_u64(expected);
        let scalars = Scalars {
            revision,
            compact_revision,
            compaction_next: (next_revision >= 0).then_some((next_revision, next_sub)),
            compaction_step: number("compaction step")?,
            time_ms: number("service time")?,
            level,
            quota_bytes: number("quota")?,
            reign: number("reign")?,
        };
        let version_count = number("number of versions")?;
        let lease_count = number("number of leases")?;
        let bytes = number("size")?;
        let hash = u128::from_le_bytes(reader.array("hash")?);
        let origin_count = reader.fixed_u64("number of origins")?;
        let mut origins: Vec<LastBatch> = Vec::new();
        for _ in 0..origin_count {
            let offset = reader.offset();
            let origin = LastBatch::read(&mut reader)?;
            if origins
                .last()
                .is_some_and(|last| last.member >= origin.member)
            {
                return Err(Corrupt {
                    offset,
                    expected: "origins in order",
                }
                .into());
            }
            origins.push(origin);
        }
        let alarms = match format {
            HEADER_FORMAT => Vec::new(),
            _ => read_alarms(&mut reader, format == HEADER_FORMAT_ALARMS)?,
        };
        let limits = match format {
            HEADER_FORMAT_LIMITS => read_limits(&mut reader)?,
            _ => BTreeMap::new(),
        };
        reader.end("the end of the state header")?;
        Ok(Self {
            scalars,
            origins,
            alarms,
            limits,
            version_count,
            lease_count,
            bytes,
            hash,
        })
    }
}

/// Limits by kind; at least one.
fn read_limits(reader: &mut Reader) -> Result<BTreeMap<LimitKind, LimitChange>, Corrupt> {
    let count = reader.fixed_u64("number of limits")?;
    let mut limits = BTreeMap::new();
    for _ in 0..count {
        let offset = reader.offset();
        let change = LimitChange::read(reader)?;
        if limits
            .last_key_value()
            .is_some_and(|(last, _)| *last >= change.kind)
        {
            let expected = "limits in order";
            return Err(Corrupt { offset, expected });
        }
        limits.insert(change.kind, change);
    }
    // A state without limits has a header without them.
    if limits.is_empty() {
        let (offset, expected) = (reader.offset(), "a limit");
        return Err(Corrupt { offset, expected });
    }
    Ok(limits)
}

fn read_alarms(reader: &mut Reader, has_some: bool) -> Result<Vec<Alarm>, Corrupt> {
    let count = reader.fixed_u64("number of alarms")?;
    let mut alarms: Vec<Alarm> = Vec::new();
    for _ in 0..count {
        let offset = reader.offset();
        let alarm = Alarm::read(reader)?;
        if alarms.last().is_some_and(|last| *last >= alarm) {
            return Err(Corrupt {
                offset,
                expected: "alarms in order",
            });
        }
        alarms.push(alarm);
    }
    // A state without alarms has a header without them.
    if alarms.is_empty() && has_some {
        return Err(Corrupt {
            offset: reader.offset(),
            expected: "an alarm",
        });
    }
    Ok(alarms)
}

impl DecodedChunk {
    /// Neighbors as one, in the order of the snapshot. Done to a part of them on each of several
    /// threads, it leaves less for [`State::load`] to do on its one.
    ///
    /// # Errors
    /// [`LoadError::Mismatch`] if they are not in order.
    pub fn join(chunks: Vec<Self>) -> Result<Self, LoadError> {
        let mut joined = Self::default();
        let count = |of: fn(&Self) -> usize| chunks.iter().map(of).sum();
        joined
            .records
            .reserve_exact(count(|chunk| chunk.records.len()));
        joined
            .moments
            .reserve_exact(count(|chunk| chunk.moments.len()));
        for chunk in chunks {
            let Self {
                mut records,
                mut moments,
                mut leases,
                digest,
                bytes,
            } = chunk;
            check_join::<ByKey>(&joined.records, &records, "versions out of order")?;
            check_join::<ByLease>(&joined.leases, &leases, "leases out of order")?;
            joined.records.append(&mut records);
            joined.moments.append(&mut moments);
            joined.leases.append(&mut leases);
            joined.digest.merge(digest);
            joined.bytes += bytes;
        }
        // Each chunk is sorted already: a merge sort only has to join those runs.
        joined.moments.sort_by_key(|(moment, _)| *moment);
        Ok(joined)
    }
}

impl State {
    /// Puts a state together from what [`Root::header`] and [`Root::chunks`] gave, the chunks in
    /// the same order. `highest_level` is the highest level that this build knows.
    ///
    /// # Errors
    /// [`LoadError`].
    pub fn load(
        header: Bytes,
        chunks: Vec<DecodedChunk>,
        highest_level: u32,
    ) -> Result<Self, LoadError> {
        let header = Header::decode(header, highest_level)?;
        let Header {
            scalars,
            origins,
            alarms,
            limits,
            version_count,
            lease_count,
            bytes,
            hash,
        } = header;
        let mut digest = Digest::default();
        for origin in &origins {
            digest.add(&origin.encode());
        }
        for alarm in &alarms {
            digest.add(&alarm.encode());
        }
        for change in limits.values() {
            digest.add(&change.encode());
        }
        let DecodedChunk {
            records,
            moments,
            leases,
            digest: of_chunks,
            bytes: found_bytes,
        } = DecodedChunk::join(chunks)?;
        digest.merge(of_chunks);
        check_equal("number of versions", version_count, records.len() as u64)?;
        check_equal("number of leases", lease_count, leases.len() as u64)?;
        check_equal("size of the state", bytes, found_bytes)?;
        check_moments(&moments, scalars.revision)?;
        let events = moments.into_iter().map(|(_, record)| record).collect();
        let leases = Tree::<ByLease>::from_sorted(leases);
        let attached = attached(&records, &leases)?;
        let mut root = Root {
            // Both orders have been checked: within chunks, where they join, and in time.
            versions: Tree::from_checked(records),
            events: Tree::from_checked(events),
            attached: Tree::from_sorted(attached),
            leases,
            origins: Tree::<ByMember>::from_sorted(origins),
            alarms: Tree::<ByAlarm>::from_sorted(alarms),
            limits: Arc::new(limits),
            scalars,
            records: digest,
            index: 0,
        };
        if root.hash() != hash {
            let what = "hash of the state";
            return Err(LoadError::Mismatch {
                what,
                expected: hash,
                found: root.hash(),
            });
        }
        if planted(Bug::RevisionGoesBack) {
            let live = root.versions.iter().filter(|record| !record.is_tombstone());
            let newest = live.map(Record::mod_revision).max();
            root.scalars.revision = newest.unwrap_or(1).max(root.scalars.compact_revision);
        }
        Ok(Self::with_root(root, highest_level))
    }
}

/// The live records that hang on a lease, by lease and key.
fn attached(records: &[Record], leases: &Tree<ByLease>) -> Result<Vec<Record>, LoadError> {
    let mut attached = Vec::new();
    for (at, record) in records.iter().enumerate() {
        if record.lease() == 0 {
            continue;
        }
        let next = records.get(at + 1);
        if next.is_some_and(|next| next.key() == record.key()) {
            continue;
        }
        if leases.get(record.lease()).is_none() {
            let found = u128::from(record.lease().cast_unsigned());
            let what = "a key on a lease that does not exist";
            return Err(LoadError::Mismatch {
                what,
                expected: 0,
                found,
            });
        }
        attached.push(record.clone());
    }
    // Among equal leases the order of keys is there already.
    attached.sort_by_key(Record::lease);
    Ok(attached)
}

fn check_equal(what: &'static str, expected: u64, found: u64) -> Result<(), LoadError> {
    if expected == found {
        return Ok(());
    }
    Err(LoadError::Mismatch {
        what,
        expected: expected.into(),
        found: found.into(),
    })
}

/// Chunks must come in the order of their table.
fn check_join<L: Layout>(
    before: &[L::Element],
    after: &[L::Element],
    what: &'static str,
) -> Result<(), LoadError> {
    match (before.last(), after.first()) {
        (Some(last), Some(first)) if L::order(L::key(last), L::key(first)).is_ge() => {
            let (expected, found) = (before.len() as u128, after.len() as u128);
            Err(LoadError::Mismatch {
                what,
                expected,
                found,
            })
        }
        (Some(_) | None, Some(_) | None) => Ok(()),
    }
}

/// No two changes have the same place in history, and none comes after its end.
fn check_moments(moments: &[(Moment, Record)], revision: Revision) -> Result<(), LoadError> {
    let position = |revision: Revision| u128::from(revision.cast_unsigned());
    let mismatch = |what, expected, found| {
        Err(LoadError::Mismatch {
            what,
            expected: position(expected),
            found: position(found),
        })
    };
    if let Some(pair) = moments.windows(2).find(|pair| pair[0].0 >= pair[1].0) {
        let ((before, _), (after, _)) = (pair[0].0, pair[1].0);
        let what = "two changes at the same place of one revision";
        return mismatch(what, before, after);
    }
    match moments.last() {
        Some(((last, _), _)) if *last > revision => {
            mismatch("a change after the present revision", revision, *last)
        }
        Some(_) | None => Ok(()),
    }
}

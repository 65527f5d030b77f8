//! The tables: which records they hold, in which order.
//!
//! | table | holds | by |
//! |---|---|---|
//! | versions | every retained version of every key, tombstones too | key, revision, place |
//! | events | the same records | revision, place |
//! | attached | the live records that hang on a lease | lease, key |
//! | leases | leases | number |
//! | origins | the last applied batch of each member | member |
//! | alarms | the alarms that are raised | kind, member |
//!
//! The present value of a key is the last of its versions. Only versions, leases, origins and
//! alarms are stored in snapshots; the other tables are views of the same records, made again at loading.

use crate::codec::{Corrupt, Reader};
use crate::command::{Alarm, AlarmKind, LeaseId, Revision};
use crate::digest::kind;
use crate::record::Record;
use crate::tree::Layout;
use std::cmp::Ordering;
use synod_env::MemberId;

/// Versions by key, then by when they were written.
#[derive(Debug)]
pub(crate) struct ByKey;

impl Layout for ByKey {
    type Element = Record;
    type Key<'a> = (&'a [u8], Revision, u32);

    fn key(record: &Record) -> Self::Key<'_> {
        record.key_and_moment()
    }

    fn order(a: Self::Key<'_>, b: Self::Key<'_>) -> Ordering {
        a.cmp(&b)
    }

    fn pack((key, revision, sub): Self::Key<'_>, into: &mut Vec<u8>) {
        ByMoment::pack((revision, sub), into);
        into.extend_from_slice(key);
    }

    fn unpack(packed: &[u8]) -> Self::Key<'_> {
        let (moment, key) = packed.split_at(MOMENT_BYTES);
        let (revision, sub) = ByMoment::unpack(moment);
        (key, revision, sub)
    }

    fn weight(record: &Record) -> u64 {
        record.encoded_len()
    }
}

/// Versions by when they were written.
#[derive(Debug)]
pub(crate) struct ByMoment;

/// Length of a packed moment.
const MOMENT_BYTES: usize = 12;

impl Layout for ByMoment {
    type Element = Record;
    type Key<'a> = (Revision, u32);

    fn key(record: &Record) -> Self::Key<'_> {
        record.moment()
    }

    fn order(a: Self::Key<'_>, b: Self::Key<'_>) -> Ordering {
        a.cmp(&b)
    }

    fn pack((revision, sub): Self::Key<'_>, into: &mut Vec<u8>) {
        into.extend_from_slice(&revision.to_le_bytes());
        into.extend_from_slice(&sub.to_le_bytes());
    }

    fn unpack(packed: &[u8]) -> Self::Key<'_> {
        let (revision, sub) = packed.split_at(8);
        (
            Revision::from_le_bytes(revision.try_into().expect("a revision was packed")),
            u32::from_le_bytes(sub.try_into().expect("a place was packed")),
        )
    }

    fn weight(_: &Record) -> u64 {
        1
    }
}

/// Live keys by the lease they hang on.
#[derive(Debug)]
pub(crate) struct ByAttachment;

impl Layout for ByAttachment {
    type Element = Record;
    type Key<'a> = (LeaseId, &'a [u8]);

    fn key(record: &Record) -> Self::Key<'_> {
        (record.lease(), record.key())
    }

    fn order(a: Self::Key<'_>, b: Self::Key<'_>) -> Ordering {
        a.cmp(&b)
    }

    fn pack((lease, key): Self::Key<'_>, into: &mut Vec<u8>) {
        into.extend_from_slice(&lease.to_le_bytes());
        into.extend_from_slice(key);
    }

    fn unpack(packed: &[u8]) -> Self::Key<'_> {
        let (lease, key) = packed.split_at(8);
        (
            LeaseId::from_le_bytes(lease.try_into().expect("a lease was packed")),
            key,
        )
    }

    fn weight(_: &Record) -> u64 {
        1
    }
}

/// A lease.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lease {
    /// Its number.
    pub id: LeaseId,
    /// How long it lives without renewal, in milliseconds.
    pub ttl_ms: u64,
    /// What was left of it at its last checkpoint, in milliseconds; 0 without one.
    pub remaining_ms: u64,
}

/// Encoded length of a lease.
pub(crate) const LEASE_BYTES: usize = 25;

impl Lease {
    /// Kind, number, TTL, remaining TTL.
    pub(crate) fn encode(self) -> [u8; LEASE_BYTES] {
        let Self {
            id,
            ttl_ms,
            remaining_ms,
        } = self;
        let mut bytes = [kind::LEASE; LEASE_BYTES];
        bytes[1..9].copy_from_slice(&id.to_le_bytes());
        bytes[9..17].copy_from_slice(&ttl_ms.to_le_bytes());
        bytes[17..25].copy_from_slice(&remaining_ms.to_le_bytes());
        bytes
    }

    pub(crate) fn read(reader: &mut Reader) -> Result<Self, Corrupt> {
        reader.format(kind::LEASE, "a lease")?;
        let id = reader.fixed_u64("a lease's number")?.cast_signed();
        let ttl_ms = reader.fixed_u64("a lease's TTL")?;
        let remaining_ms = reader.fixed_u64("a lease's remaining TTL")?;
        Ok(Self {
            id,
            ttl_ms,
            remaining_ms,
        })
    }
}

/// Leases by number.
#[derive(Debug)]
pub(crate) struct ByLease;

impl Layout for ByLease {
    type Element = Lease;
    type Key<'a> = LeaseId;

    fn key(lease: &Lease) -> LeaseId {
        lease.id
    }

    fn order(a: Self::Key<'_>, b: Self::Key<'_>) -> Ordering {
        a.cmp(&b)
    }

    fn pack(id: LeaseId, into: &mut Vec<u8>) {
        into.extend_from_slice(&id.to_le_bytes());
    }

    fn unpack(packed: &[u8]) -> LeaseId {
        LeaseId::from_le_bytes(packed.try_into().expect("a lease was packed"))
    }

    fn weight(_: &Lease) -> u64 {
        LEASE_BYTES as u64
    }
}

/// Encoded length of an alarm.
pub(crate) const ALARM_BYTES: usize = 10;

impl Alarm {
    /// Kind of record, kind of alarm, member.
    pub(crate) fn encode(self) -> [u8; ALARM_BYTES] {
        let Self { kind, member } = self;
        let mut bytes = [kind::ALARM; ALARM_BYTES];
        bytes[1] = kind.code();
        bytes[2..10].copy_from_slice(&member.0.to_le_bytes());
        bytes
    }

    pub(crate) fn read(reader: &mut Reader) -> Result<Self, Corrupt> {
        reader.format(kind::ALARM, "an alarm")?;
        let kind = AlarmKind::read(reader)?;
        let member = MemberId(reader.fixed_u64("an alarm's member")?);
        Ok(Self { kind, member })
    }
}

/// Alarms by what is wrong, then by member.
#[derive(Debug)]
pub(crate) struct ByAlarm;

impl Layout for ByAlarm {
    type Element = Alarm;
    type Key<'a> = (u8, u64);

    fn key(alarm: &Alarm) -> Self::Key<'_> {
        (alarm.kind.code(), alarm.member.0)
    }

    fn order(a: Self::Key<'_>, b: Self::Key<'_>) -> Ordering {
        a.cmp(&b)
    }

    fn pack((kind, member): Self::Key<'_>, into: &mut Vec<u8>) {
        into.push(kind);
        into.extend_from_slice(&member.to_le_bytes());
    }

    fn unpack(packed: &[u8]) -> Self::Key<'_> {
        let (kind, member) = packed.split_at(1);
        let member = member.try_into().expect("a member was packed");
        (kind[0], u64::from_le_bytes(member))
    }

    fn weight(_: &Alarm) -> u64 {
        1
    }
}

/// The last batch of a member that was applied.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct LastBatch {
    pub(crate) member: MemberId,
    pub(crate) incarnation: u64,
    pub(crate) sequence: u64,
}

/// Encoded length of a [`LastBatch`].
pub(crate) const LAST_BATCH_BYTES: usize = 25;

impl LastBatch {
    /// Kind, member, incarnation, sequence.
    pub(crate) fn encode(self) -> [u8; LAST_BATCH_BYTES] {
        let Self {
            member,
            incarnation,
            sequence,
        } = self;
        let mut bytes = [kind::ORIGIN; LAST_BATCH_BYTES];
        bytes[1..9].copy_from_slice(&member.0.to_le_bytes());
        bytes[9..17].copy_from_slice(&incarnation.to_le_bytes());
        bytes[17..25].copy_from_slice(&sequence.to_le_bytes());
        bytes
    }

    pub(crate) fn read(reader: &mut Reader) -> Result<Self, Corrupt> {
        reader.format(kind::ORIGIN, "an origin")?;
        let member = MemberId(reader.fixed_u64("an origin's member")?);
        let incarnation = reader.fixed_u64("an origin's incarnation")?;
        let sequence = reader.fixed_u64("an origin's sequence")?;
        Ok(Self {
            member,
            incarnation,
            sequence,
        })
    }
}

/// Last applied batches by member.
#[derive(Debug)]
pub(crate) struct ByMember;

impl Layout for ByMember {
    type Element = LastBatch;
    type Key<'a> = MemberId;

    fn key(last: &LastBatch) -> MemberId {
        last.member
    }

    fn order(a: Self::Key<'_>, b: Self::Key<'_>) -> Ordering {
        a.cmp(&b)
    }

    fn pack(member: MemberId, into: &mut Vec<u8>) {
        into.extend_from_slice(&member.0.to_le_bytes());
    }

    fn unpack(packed: &[u8]) -> MemberId {
        MemberId(u64::from_le_bytes(
            packed.try_into().expect("a member was packed"),
        ))
    }

    fn weight(_: &LastBatch) -> u64 {
        1
    }
}

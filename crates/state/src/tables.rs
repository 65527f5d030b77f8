//! The tables: which records they hold, in which order.
//!
//! | table | holds | by |
//! |---|---|---|
//! | versions | every retained version of every key, tombstones too | key, revision, place |
//! | events | the same records | revision, place |
//! | attached | the live records that hang on a lease | lease, key |
//! | leases | leases | number |
//! | origins | the last applied batch of each member | member |
//!
//! The present value of a key is the last of its versions. Only versions, leases and origins are
//! stored in snapshots; the other tables are views of the same records, made again at loading.

use crate::codec::{Corrupt, Reader};
use crate::command::LeaseId;
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

    fn order(a: &Record, b: &Record) -> Ordering {
        a.key()
            .cmp(b.key())
            .then_with(|| a.moment().cmp(&b.moment()))
    }

    fn weight(record: &Record) -> u64 {
        record.encoded_len()
    }
}

/// Versions by when they were written.
#[derive(Debug)]
pub(crate) struct ByMoment;

impl Layout for ByMoment {
    type Element = Record;

    fn order(a: &Record, b: &Record) -> Ordering {
        a.moment().cmp(&b.moment())
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

    fn order(a: &Record, b: &Record) -> Ordering {
        a.lease().cmp(&b.lease()).then_with(|| a.key().cmp(b.key()))
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

    fn order(a: &Lease, b: &Lease) -> Ordering {
        a.id.cmp(&b.id)
    }

    fn weight(_: &Lease) -> u64 {
        LEASE_BYTES as u64
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

    fn order(a: &LastBatch, b: &LastBatch) -> Ordering {
        a.member.cmp(&b.member)
    }

    fn weight(_: &LastBatch) -> u64 {
        1
    }
}

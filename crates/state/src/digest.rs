//! The hash of the state: a sum modulo 2^128 of one hash per record.
//!
//! A sum does not depend on the order in which records came, so it follows each change at the
//! cost of that change, and can be computed again from a loaded snapshot, chunk by chunk on
//! several threads. (An incremental multiset hash after Bellare and Micciancio, Eurocrypt 1997;
//! with XXH3 it finds accidents and bugs, not adversaries.)

use xxhash_rust::xxh3::xxh3_128;

/// The first byte of everything that is hashed says what it is, so that no two kinds of record
/// can have the same bytes.
pub(crate) mod kind {
    /// A version of a key with a value.
    pub(crate) const PUT: u8 = 1;
    /// A version of a key that says that it is gone.
    pub(crate) const TOMBSTONE: u8 = 2;
    /// A lease.
    pub(crate) const LEASE: u8 = 3;
    /// The last batch of a member that was applied.
    pub(crate) const ORIGIN: u8 = 4;
    /// All that is a single number.
    pub(crate) const SCALARS: u8 = 5;
    /// An alarm.
    pub(crate) const ALARM: u8 = 6;
    /// What somebody made of a bound.
    pub(crate) const LIMIT: u8 = 7;
}

/// A sum of hashes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Digest(pub(crate) u128);

impl Digest {
    /// Takes a record in.
    pub(crate) fn add(&mut self, record: &[u8]) {
        self.0 = self.0.wrapping_add(xxh3_128(record));
    }

    /// Takes a record out that was taken in before.
    pub(crate) fn remove(&mut self, record: &[u8]) {
        self.0 = self.0.wrapping_sub(xxh3_128(record));
    }

    /// Takes in all that another sum holds.
    pub(crate) fn merge(&mut self, other: Self) {
        self.0 = self.0.wrapping_add(other.0);
    }
}

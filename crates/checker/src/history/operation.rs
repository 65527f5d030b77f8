//! What a client asks for.

use super::{LeaseId, Revision};
use bytes::Bytes;

/// What a client asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Operation {
    /// Writes a key.
    Put(Put),
    /// Deletes keys.
    DeleteRange(DeleteRange),
    /// Reads keys.
    Range(Range),
    /// Compares, then one of two lists of operations, all at one revision.
    Txn(Txn),
    /// Forgets history before `revision`, which is kept.
    Compact {
        /// The oldest revision that stays readable.
        revision: Revision,
    },
    /// Makes a lease.
    LeaseGrant {
        /// Its number, which the client chose.
        id: LeaseId,
        /// The time to live asked for, in milliseconds.
        ttl_ms: u64,
    },
    /// Ends a lease and deletes its keys in one revision.
    LeaseRevoke {
        /// Which.
        id: LeaseId,
    },
    /// Lets a lease live for its time to live from now on.
    LeaseKeepAlive {
        /// Which.
        id: LeaseId,
    },
    /// Asks how long a lease still lives.
    LeaseTimeToLive {
        /// Which.
        id: LeaseId,
    },
}

/// Writes one key.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Put {
    /// Not empty.
    pub key: Bytes,
    /// Best unique among all writes of the history: then what is seen of it says who wrote it.
    pub value: Bytes,
    /// 0 detaches the key from its lease.
    pub lease: LeaseId,
    /// Answer with the pair that was there before.
    pub prev_kv: bool,
}

/// Deletes a key or a range of keys.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DeleteRange {
    /// First key.
    pub key: Bytes,
    /// Empty: `key` alone. `"\0"`: all keys from `key` on. Otherwise the first key after.
    pub end: Bytes,
    /// Answer with the pairs that were deleted.
    pub prev_kv: bool,
}

/// Reads a key or a range of keys, in the order of keys.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Range {
    /// First key.
    pub key: Bytes,
    /// Empty: `key` alone. `"\0"`: all keys from `key` on. Otherwise the first key after.
    pub end: Bytes,
    /// At which revision; 0 or less for the present one.
    pub revision: Revision,
    /// Most pairs to answer with; 0 or less for all.
    pub limit: i64,
    /// Leave the values out.
    pub keys_only: bool,
    /// Answer with the count only.
    pub count_only: bool,
    /// The answering member's own state is enough, however old. Means nothing inside a
    /// transaction.
    pub serializable: bool,
}

/// Compares, then operations.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Txn {
    /// All must hold for `then`.
    pub compares: Vec<Compare>,
    /// Done if they hold.
    pub then: Vec<TxnOp>,
    /// Done if they do not.
    pub otherwise: Vec<TxnOp>,
}

/// One operation of a transaction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TxnOp {
    /// Write.
    Put(Put),
    /// Delete.
    DeleteRange(DeleteRange),
    /// Read; sees what earlier operations of the transaction wrote.
    Range(Range),
}

/// A condition on a key, or on every key of a range.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Compare {
    /// First key.
    pub key: Bytes,
    /// As in [`Range::end`].
    pub end: Bytes,
    /// How the field must relate to what it is held against.
    pub relation: Relation,
    /// Which field, and what it is held against.
    pub field: Field,
}

/// How a field must relate to what it is held against.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Relation {
    /// `==`
    Equal,
    /// `>`
    Greater,
    /// `<`
    Less,
    /// `!=`
    NotEqual,
}

/// Which field is compared, and with what.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Field {
    /// With the version; a missing key has 0.
    Version(i64),
    /// With the creation revision; a missing key has 0.
    Create(Revision),
    /// With the revision of the last change; a missing key has 0.
    Mod(Revision),
    /// With the value; never true of a missing key.
    Value(Bytes),
    /// With the lease; a missing key has 0.
    Lease(LeaseId),
}

//! How an operation ended.

use super::{LeaseId, Revision};
use bytes::Bytes;
use synod_env::MemberId;

/// How an operation ended, as its client knows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It was carried out.
    Done(Response),
    /// It was not carried out and never will be.
    Refused(Refusal),
    /// The client does not know. It may have been carried out, may still be, or never.
    Unknown,
}

/// Why an operation was certainly not carried out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Refusal {
    /// The revision asked for is older than what compaction has left.
    Compacted,
    /// The revision asked for is yet to come.
    FutureRevision,
    /// No such lease.
    LeaseNotFound,
    /// The lease exists already.
    LeaseExists,
    /// Whatever the reason, and it says nothing about the keys: overload, no room, not sent.
    NotDone,
}

/// What the service answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Response {
    /// The header's revision: the store's right after a write, or the one a read looked at. A
    /// read of a past revision has the store's present one here.
    pub revision: Revision,
    /// Who answered.
    pub member: MemberId,
    /// What.
    pub body: Body,
}

/// What an operation answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Body {
    /// To a put.
    Put {
        /// The pair before, if asked for and there.
        prev_kv: Option<KeyValue>,
    },
    /// To a delete.
    DeleteRange {
        /// How many keys were deleted.
        deleted: i64,
        /// Them, if asked for, by key.
        prev_kvs: Vec<KeyValue>,
    },
    /// To a read.
    Range {
        /// The pairs, by key.
        kvs: Vec<KeyValue>,
        /// There are more than the limit.
        more: bool,
        /// Keys in the range, whatever the limit.
        count: i64,
    },
    /// To a transaction.
    Txn {
        /// The compares held.
        succeeded: bool,
        /// One for each operation of the branch taken.
        replies: Vec<OpReply>,
    },
    /// To a compaction.
    Compact,
    /// To a lease grant.
    LeaseGrant {
        /// The lease.
        id: LeaseId,
        /// The time to live that was granted, in milliseconds.
        ttl_ms: u64,
    },
    /// To a lease revoke.
    LeaseRevoke,
    /// To a keep-alive.
    LeaseKeepAlive {
        /// The time to live from now on, in milliseconds; none if the lease is gone.
        ttl_ms: Option<u64>,
    },
    /// To the question how long a lease still lives.
    LeaseTimeToLive {
        /// What is left, in milliseconds, rounded in either direction; none if it is gone.
        remaining_ms: Option<u64>,
        /// What was granted, in milliseconds; 0 if it is gone.
        granted_ms: u64,
        /// The keys attached, if they were asked for.
        keys: Option<Vec<Bytes>>,
    },
}

/// To one operation of a transaction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OpReply {
    /// The store's revision as the transaction saw it after this operation.
    pub revision: Revision,
    /// What it answers: to a put, a delete or a read.
    pub body: Body,
}

/// A key with its value and its numbers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct KeyValue {
    /// The key.
    pub key: Bytes,
    /// The value; empty in a delete and where only keys were asked for.
    pub value: Bytes,
    /// Revision at which the key came to be; 0 in a delete.
    pub create_revision: Revision,
    /// Revision of this version.
    pub mod_revision: Revision,
    /// Writes since creation, this one included; 0 in a delete.
    pub version: i64,
    /// Lease it hangs on; 0 for none.
    pub lease: LeaseId,
}

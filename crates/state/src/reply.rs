//! What a command or a read answers.

use crate::command::{LeaseId, Revision};
use bytes::Bytes;

/// A key with its value and its numbers, as a client sees it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct KeyValue {
    /// The key.
    pub key: Bytes,
    /// The value; empty in a delete event.
    pub value: Bytes,
    /// Revision at which the key came to be; 0 in a delete event.
    pub create_revision: Revision,
    /// Revision of this version.
    pub mod_revision: Revision,
    /// Writes since creation, this one included; 0 in a delete event.
    pub version: i64,
    /// Lease it hangs on; 0 for none.
    pub lease: LeaseId,
}

/// The outcome of one applied command.
pub type Outcome = Result<Reply, Refusal>;

/// A command was applied; `revision` is that of the store right after it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reply {
    /// The store's revision after the command.
    pub revision: Revision,
    /// What it answers.
    pub body: Body,
}

/// What an applied command answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Body {
    /// To commands that answer nothing.
    Nothing,
    /// To a put.
    Put(PutReply),
    /// To a delete.
    DeleteRange(DeleteReply),
    /// To a transaction.
    Txn(TxnReply),
    /// To a lease grant: the TTL in milliseconds.
    LeaseGrant {
        /// The new lease.
        lease: LeaseId,
        /// Its TTL in milliseconds.
        ttl_ms: u64,
    },
    /// To an alarm.
    SetAlarm {
        /// It was not raised, or not cleared, before.
        changed: bool,
    },
}

/// To a put.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PutReply {
    /// The pair before, if asked for and there.
    pub prev_kv: Option<KeyValue>,
}

/// To a delete.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DeleteReply {
    /// How many keys were deleted.
    pub deleted: i64,
    /// Them, if asked for, by key.
    pub prev_kvs: Vec<KeyValue>,
}

/// To a range.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RangeReply {
    /// The pairs, in order.
    pub kvs: Vec<KeyValue>,
    /// There are more than `limit`.
    pub more: bool,
    /// Keys in the range at that revision, whatever the limit and the bounds.
    pub count: i64,
}

/// To a transaction.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TxnReply {
    /// The compares held.
    pub succeeded: bool,
    /// One for each operation of the branch taken.
    pub replies: Vec<OpReply>,
}

/// To an operation of a transaction, with the revision to show in its header.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OpReply {
    /// The store's revision as the transaction saw it after this operation.
    pub revision: Revision,
    /// What it answers.
    pub body: OpBody,
}

/// What an operation of a transaction answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum OpBody {
    /// To a read.
    Range(RangeReply),
    /// To a write.
    Put(PutReply),
    /// To a delete.
    DeleteRange(DeleteReply),
    /// To a transaction inside.
    Txn(TxnReply),
}

/// Why a command changed nothing, or a read cannot be answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// The revision is older than what compaction has left; carries the compact revision.
    Compacted(Revision),
    /// The revision is yet to come; carries the present one.
    FutureRevision(Revision),
    /// `ignore_value` or `ignore_lease` on a key that is not there.
    KeyNotFound,
    /// No such lease.
    LeaseNotFound,
    /// The lease exists already.
    LeaseExists,
    /// The state may not grow any more.
    NoSpace,
    /// The state may not change any more: see [`AlarmKind::Corrupt`].
    ///
    /// [`AlarmKind::Corrupt`]: crate::command::AlarmKind::Corrupt
    Corrupt,
    /// As many alarms are raised as can be.
    TooManyAlarms,
}

/// A change of one key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// Put or delete.
    pub kind: EventKind,
    /// The pair after a put; key and revision of a delete.
    pub kv: KeyValue,
}

/// What happened to a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EventKind {
    /// It was written.
    Put,
    /// It was deleted, by a request or with its lease.
    Delete,
}

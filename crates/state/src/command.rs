//! What can be asked of the replicated state.

use crate::limit::LimitChange;
use bytes::Bytes;
use synod_env::MemberId;

/// A lease's number: positive; 0 means "no lease".
pub type LeaseId = i64;

/// A revision of the key space: 1 when empty, one more with each batch that changes a key.
pub type Revision = i64;

/// One log entry: commands of one origin, made for one reign.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Batch {
    /// Who proposes it.
    pub origin: Origin,
    /// The reign it was made for; in any other it is dropped.
    pub reign: u64,
    /// Service time in milliseconds, stamped by the leader at append; never goes back.
    pub time_ms: u64,
    /// Applied in order.
    pub commands: Vec<Command>,
}

/// Who proposes a batch, and which of its batches it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Origin {
    /// The member that took the requests.
    pub member: MemberId,
    /// That member's start count.
    pub incarnation: u64,
    /// Its batch count since; an origin's sequence only grows.
    pub sequence: u64,
}

/// A change of the replicated state.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command {
    /// A new leader's first entry: from here on only batches made for `reign` apply.
    Reign {
        /// The engine's epoch that the leader leads.
        reign: u64,
    },
    /// Writes a key.
    Put(Put),
    /// Deletes keys.
    DeleteRange(DeleteRange),
    /// Compares, then one of two lists of operations, all at one revision.
    Txn(Txn),
    /// Forgets history before `revision`, which is kept. Carried out a bounded number of records
    /// at a time, with this and the following batches.
    Compact {
        /// The oldest revision that stays readable.
        revision: Revision,
    },
    /// Makes a lease.
    LeaseGrant {
        /// Its number, chosen before it is proposed.
        lease: LeaseId,
        /// How long it lives without renewal, in milliseconds.
        ttl_ms: u64,
    },
    /// Ends a lease and deletes its keys in one revision.
    LeaseRevoke {
        /// Which.
        lease: LeaseId,
    },
    /// As a revoke of each, proposed by the leader's lease clock; unknown ones are passed over.
    LeaseExpire {
        /// Which.
        leases: Vec<LeaseId>,
    },
    /// Records what is left of long leases, so that the next leader does not start them anew.
    LeaseCheckpoint {
        /// Lease and remaining milliseconds; 0 clears the record.
        remaining: Vec<(LeaseId, u64)>,
    },
    /// Sets the bound on the state's size, in bytes, to what the leader was started with, unless
    /// one was set for the cluster.
    SetQuota {
        /// Bytes of records, history included.
        bytes: u64,
    },
    /// Sets how many events compaction looks at with each batch; at least 1.
    SetCompactionStep {
        /// Events.
        events: u64,
    },
    /// Raises the replicated level; lower ones are passed over.
    SetLevel {
        /// The level that every member has announced to know.
        level: u32,
    },
    /// Raises or clears an alarm. [`AlarmKind::NoSpace`] is also raised by the first command that
    /// finds no room within the quota.
    SetAlarm {
        /// Which.
        alarm: Alarm,
        /// Raises it; otherwise clears it.
        raised: bool,
    },
    /// Sets a bound for the whole cluster, or gives it back to the members. A quota that is set
    /// so outlasts [`Command::SetQuota`].
    SetLimit(LimitChange),
}

/// Something is wrong that a person must look at. It stays raised until it is cleared by a
/// command, whatever has become of its cause.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Alarm {
    /// What is wrong.
    pub kind: AlarmKind,
    /// With which member, as far as whoever raised it knows.
    pub member: MemberId,
}

/// What is wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum AlarmKind {
    /// The state has reached its quota. Nothing may make it larger: puts, transactions that hold
    /// a put in any branch, and lease grants are refused.
    NoSpace,
    /// The members' states differ. Nothing may change keys or leases any more, except that
    /// leases go on expiring.
    Corrupt,
}

/// Most alarms that can be raised at a time. Members raise one at most; the rest is by hand.
pub const ALARMS_MAX: usize = 1_024;

/// Writes one key.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Put {
    /// Not empty.
    pub key: Bytes,
    /// Empty with `ignore_value`.
    pub value: Bytes,
    /// 0 detaches the key from its lease.
    pub lease: LeaseId,
    /// Answer with the pair that was there before.
    pub prev_kv: bool,
    /// Keep the value; the key must exist.
    pub ignore_value: bool,
    /// Keep the lease; the key must exist.
    pub ignore_lease: bool,
}

/// Deletes a key or a range of keys.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DeleteRange {
    /// First key.
    pub key: Bytes,
    /// Empty: `key` alone. `"\0"`: all keys from `key` on. Otherwise the first key after.
    pub range_end: Bytes,
    /// Answer with the pairs that were deleted.
    pub prev_kv: bool,
}

/// Reads a key or a range of keys.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Range {
    /// First key.
    pub key: Bytes,
    /// Empty: `key` alone. `"\0"`: all keys from `key` on. Otherwise the first key after.
    pub range_end: Bytes,
    /// Most pairs to answer with; 0 or less for all.
    pub limit: i64,
    /// At which revision; 0 or less for the present one.
    pub revision: Revision,
    /// In which order.
    pub order: Order,
    /// By what, if an order is given.
    pub target: Target,
    /// Leave the values out.
    pub keys_only: bool,
    /// Answer with the count only.
    pub count_only: bool,
    /// Inclusive; 0 for no bound.
    pub min_mod_revision: Revision,
    /// Inclusive; 0 for no bound.
    pub max_mod_revision: Revision,
    /// Inclusive; 0 for no bound.
    pub min_create_revision: Revision,
    /// Inclusive; 0 for no bound.
    pub max_create_revision: Revision,
}

/// The order of a range's answer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Order {
    /// By key; or ascending if the target is not the key, but then, unless there are bounds, only
    /// of as many keys as the limit needs.
    #[default]
    None,
    /// Smallest first.
    Ascend,
    /// Largest first.
    Descend,
}

/// What an order goes by.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Target {
    /// The key's bytes.
    #[default]
    Key,
    /// How many times the key was written since its creation.
    Version,
    /// Creation revision.
    Create,
    /// Revision of the last change.
    Mod,
    /// The value's bytes.
    Value,
}

/// Compares, then operations.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Txn {
    /// All must hold for `success`. They see the state before the transaction, also in a nested
    /// one.
    pub compare: Vec<Compare>,
    /// Done if they hold.
    pub success: Vec<Op>,
    /// Done if they do not.
    pub failure: Vec<Op>,
}

/// A condition on a key, or on every key of a range.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Compare {
    /// First key.
    pub key: Bytes,
    /// As in [`Range::range_end`].
    pub range_end: Bytes,
    /// How the key's field must relate to `operand`.
    pub relation: Relation,
    /// Which field, and what it is held against.
    pub operand: Operand,
}

/// How a field must relate to its operand.
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
pub enum Operand {
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

/// One operation of a transaction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Op {
    /// Read; sees what earlier operations of the transaction wrote.
    Range(Range),
    /// Write.
    Put(Put),
    /// Delete.
    DeleteRange(DeleteRange),
    /// A transaction inside.
    Txn(Txn),
}

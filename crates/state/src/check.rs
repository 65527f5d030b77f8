//! What makes a request senseless whatever the state: refused before it gets into the log.
//!
//! One place for the API and the node. Apply does not rely on these checks for its own safety:
//! what they let through, and also what they would not, has one defined effect.

use crate::codec::TXN_DEPTH_MAX;
use crate::command::{Command, DeleteRange, Op, Put, Range, Txn};
use crate::limit::{BY_BYTES_MAX, LimitChange};
use crate::range::KeyRange;
use std::collections::BTreeSet;
use std::fmt;

/// Why a request makes no sense.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Invalid {
    /// A key is empty.
    KeyNotProvided,
    /// A value comes with `ignore_value`.
    ValueProvided,
    /// A lease comes with `ignore_lease`.
    LeaseProvided,
    /// A transaction has too many compares or operations, or is nested too deeply.
    TooManyOperations,
    /// A transaction would write a key twice, or write and delete it.
    DuplicateKey,
    /// An operation of a transaction says not what it is; only requests from outside can.
    OperationMissing,
    /// A range asks for an order that does not exist; only requests from outside can.
    SortOption,
    /// A bound is set to what makes no sense, or who sets it is told at too great length.
    Limit,
}

impl fmt::Display for Invalid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::KeyNotProvided => "key is not provided",
            Self::ValueProvided => "value is provided",
            Self::LeaseProvided => "lease is provided",
            Self::TooManyOperations => "too many operations in a transaction",
            Self::DuplicateKey => "duplicate key in a transaction",
            Self::OperationMissing => "operation is missing in a transaction",
            Self::SortOption => "sort option does not exist",
            Self::Limit => "limit is out of range",
        })
    }
}

impl std::error::Error for Invalid {}

impl Command {
    /// Looks for what makes the command senseless. `ops_max` as in [`Txn::check`].
    ///
    /// # Errors
    /// [`Invalid`].
    pub fn check(&self, ops_max: usize) -> Result<(), Invalid> {
        match self {
            Self::Put(put) => put.check(),
            Self::DeleteRange(delete) => delete.check(),
            Self::Txn(txn) => txn.check(ops_max),
            Self::SetLimit(change) => change.check(),
            Self::Reign { .. }
            | Self::Compact { .. }
            | Self::LeaseGrant { .. }
            | Self::LeaseRevoke { .. }
            | Self::LeaseExpire { .. }
            | Self::LeaseCheckpoint { .. }
            | Self::SetQuota { .. }
            | Self::SetCompactionStep { .. }
            | Self::SetLevel { .. }
            | Self::SetAlarm { .. } => Ok(()),
        }
    }
}

impl LimitChange {
    fn check(&self) -> Result<(), Invalid> {
        let makes_sense = |value| self.kind.range().contains(&value);
        if self.value.is_none_or(makes_sense) && self.by.len() <= BY_BYTES_MAX {
            return Ok(());
        }
        Err(Invalid::Limit)
    }
}

impl Range {
    /// Looks for what makes the request senseless.
    ///
    /// # Errors
    /// [`Invalid::KeyNotProvided`].
    pub fn check(&self) -> Result<(), Invalid> {
        check_key(&self.key)
    }
}

impl Put {
    /// Looks for what makes the request senseless.
    ///
    /// # Errors
    /// [`Invalid`].
    pub fn check(&self) -> Result<(), Invalid> {
        check_key(&self.key)?;
        if self.ignore_value && !self.value.is_empty() {
            return Err(Invalid::ValueProvided);
        }
        if self.ignore_lease && self.lease != 0 {
            return Err(Invalid::LeaseProvided);
        }
        Ok(())
    }
}

impl DeleteRange {
    /// Looks for what makes the request senseless.
    ///
    /// # Errors
    /// [`Invalid::KeyNotProvided`].
    pub fn check(&self) -> Result<(), Invalid> {
        check_key(&self.key)
    }
}

impl Txn {
    /// Looks for what makes the request senseless. `ops_max` bounds the compares and the
    /// operations of each branch; a nested transaction has what its parent leaves of it.
    ///
    /// # Errors
    /// [`Invalid`].
    pub fn check(&self, ops_max: usize) -> Result<(), Invalid> {
        self.check_operations(ops_max, TXN_DEPTH_MAX)?;
        Writes::of(&self.success)?;
        Writes::of(&self.failure)?;
        Ok(())
    }

    fn check_operations(&self, ops_max: usize, depth: usize) -> Result<(), Invalid> {
        let Self {
            compare,
            success,
            failure,
        } = self;
        let most = compare.len().max(success.len()).max(failure.len());
        let Some(left) = ops_max.checked_sub(most) else {
            return Err(Invalid::TooManyOperations);
        };
        let Some(depth) = depth.checked_sub(1) else {
            return Err(Invalid::TooManyOperations);
        };
        for compare in compare {
            check_key(&compare.key)?;
        }
        for op in success.iter().chain(failure) {
            match op {
                Op::Range(range) => range.check()?,
                Op::Put(put) => put.check()?,
                Op::DeleteRange(delete) => delete.check()?,
                Op::Txn(txn) => txn.check_operations(left, depth)?,
            }
        }
        Ok(())
    }
}

fn check_key(key: &[u8]) -> Result<(), Invalid> {
    if key.is_empty() {
        Err(Invalid::KeyNotProvided)
    } else {
        Ok(())
    }
}

/// What one branch of a transaction may write, nested transactions included.
///
/// The order in which etcd looks at things shows: a key that one nested transaction puts and a
/// *later* one deletes is let through. So it is here.
#[derive(Default)]
struct Writes<'a> {
    puts: BTreeSet<&'a [u8]>,
    deletes: Vec<KeyRange<'a>>,
}

impl<'a> Writes<'a> {
    fn of(ops: &'a [Op]) -> Result<Self, Invalid> {
        let mut writes = Self::default();
        for op in ops {
            if let Op::DeleteRange(delete) = op {
                writes
                    .deletes
                    .push(KeyRange::new(&delete.key, &delete.range_end));
            }
        }
        for op in ops {
            if let Op::Txn(txn) = op {
                let success = Self::of(&txn.success)?;
                let failure = Self::of(&txn.failure)?;
                // Only one of the two branches will be taken: they do not clash.
                let puts: BTreeSet<_> = success.puts.union(&failure.puts).copied().collect();
                for key in puts {
                    writes.put(key)?;
                }
                writes.deletes.extend(success.deletes);
                writes.deletes.extend(failure.deletes);
            }
        }
        for op in ops {
            if let Op::Put(put) = op {
                writes.put(&put.key)?;
            }
        }
        Ok(writes)
    }

    fn put(&mut self, key: &'a [u8]) -> Result<(), Invalid> {
        if self.deletes.iter().any(|range| range.contains(key)) || !self.puts.insert(key) {
            return Err(Invalid::DuplicateKey);
        }
        Ok(())
    }
}

//! What was acknowledged, key by key: it is still there, and there once.
//!
//! This judge knows no order of writes and replays nothing. It holds two plain promises against
//! what is read, by revision and version only:
//! - The last acknowledged write of a key, or a later one, is there, unless somebody may have
//!   deleted the key (durability).
//! - A key that nobody can have deleted was written at least as often as that was acknowledged,
//!   and at most as often as it was asked for: its version counts. So every counter and every set
//!   is checked for lost and repeated increments without a word about counters and sets.

use crate::history::{
    Body, DeleteRange, KeyValue, OpId, Operation, Outcome, Put, Range, Revision, TimeNs, TxnOp,
};
use crate::store::Keys;
use crate::text::word;
use crate::verdict::{Property, Violation};
use bytes::Bytes;
use std::collections::BTreeMap;
use std::sync::Arc;

/// Judges what became of acknowledged writes.
#[derive(Clone, Debug, Default)]
pub(crate) struct LedgerJudge {
    now: TimeNs,
    open: BTreeMap<OpId, (TimeNs, Arc<Operation>)>,
    keys: BTreeMap<Bytes, Entry>,
    /// Ranges that somebody may have deleted.
    deleted: Vec<(Bytes, Bytes)>,
}

/// What is known of one key.
#[derive(Clone, Debug, Default)]
struct Entry {
    /// When each acknowledgement of a put came.
    acknowledged: Vec<TimeNs>,
    /// Puts that may have happened.
    possible: u64,
    /// Puts that were refused.
    refused: Vec<(OpId, Bytes)>,
    /// The highest acknowledged revision.
    last: Option<Last>,
    /// Somebody may have deleted the key.
    is_mortal: bool,
}

#[derive(Clone, Debug)]
struct Last {
    revision: Revision,
    value: Bytes,
    op: OpId,
    at: TimeNs,
}

impl LedgerJudge {
    pub(crate) fn now(&mut self, at: TimeNs) {
        self.now = at;
    }

    pub(crate) fn invoked(&mut self, op: OpId, operation: &Arc<Operation>) {
        match &**operation {
            Operation::Put(put) => self.may_put(put),
            Operation::DeleteRange(delete) => self.may_delete(delete),
            Operation::Txn(txn) => {
                for part in txn.then.iter().chain(&txn.otherwise) {
                    match part {
                        TxnOp::Put(put) => self.may_put(put),
                        TxnOp::DeleteRange(delete) => self.may_delete(delete),
                        TxnOp::Range(_) => {}
                    }
                }
            }
            Operation::Range(range) => {
                if range.serializable || range.revision > 0 {
                    return;
                }
            }
            Operation::Compact { .. }
            | Operation::LeaseGrant { .. }
            | Operation::LeaseRevoke { .. }
            | Operation::LeaseKeepAlive { .. }
            | Operation::LeaseTimeToLive { .. } => return,
        }
        self.open.insert(op, (self.now, Arc::clone(operation)));
    }

    fn may_put(&mut self, put: &Put) {
        let is_new = !self.keys.contains_key(&put.key);
        let is_covered = is_new
            && self
                .deleted
                .iter()
                .any(|(key, end)| Keys::new(key, end).contain(&put.key));
        let entry = self.keys.entry(put.key.clone()).or_default();
        entry.possible += 1;
        entry.is_mortal |= is_covered || put.lease != 0;
    }

    fn may_delete(&mut self, delete: &DeleteRange) {
        if delete.end.is_empty() {
            self.keys.entry(delete.key.clone()).or_default().is_mortal = true;
            return;
        }
        let range = (delete.key.clone(), delete.end.clone());
        if self.deleted.contains(&range) {
            return;
        }
        let keys = Keys::new(&delete.key, &delete.end);
        for (_, entry) in self.keys.iter_mut().filter(|(key, _)| keys.contain(key)) {
            entry.is_mortal = true;
        }
        self.deleted.push(range);
    }

    fn cannot_have_put(&mut self, put: &Put) {
        let entry = self
            .keys
            .get_mut(&put.key)
            .expect("it was noted when invoked");
        entry.possible -= 1;
    }

    fn was_refused(&mut self, op: OpId, put: &Put) {
        self.cannot_have_put(put);
        let entry = self
            .keys
            .get_mut(&put.key)
            .expect("it was noted when invoked");
        entry.refused.push((op, put.value.clone()));
    }

    fn has_put(&mut self, op: OpId, put: &Put, revision: Revision) {
        let entry = self
            .keys
            .get_mut(&put.key)
            .expect("it was noted when invoked");
        entry.acknowledged.push(self.now);
        if entry
            .last
            .as_ref()
            .is_none_or(|last| last.revision < revision)
        {
            entry.last = Some(Last {
                revision,
                value: put.value.clone(),
                op,
                at: self.now,
            });
        }
    }

    pub(crate) fn returned(&mut self, op: OpId, outcome: &Outcome) -> Result<(), Violation> {
        let Some((invoked, operation)) = self.open.remove(&op) else {
            return Ok(());
        };
        match outcome {
            Outcome::Unknown => {}
            Outcome::Refused(_) => match &*operation {
                Operation::Put(put) => self.was_refused(op, put),
                Operation::Txn(txn) => {
                    for part in txn.then.iter().chain(&txn.otherwise) {
                        if let TxnOp::Put(put) = part {
                            self.was_refused(op, put);
                        }
                    }
                }
                Operation::DeleteRange(_)
                | Operation::Range(_)
                | Operation::Compact { .. }
                | Operation::LeaseGrant { .. }
                | Operation::LeaseRevoke { .. }
                | Operation::LeaseKeepAlive { .. }
                | Operation::LeaseTimeToLive { .. } => {}
            },
            Outcome::Done(response) => match (&*operation, &response.body) {
                (Operation::Put(put), _) => self.has_put(op, put, response.revision),
                (Operation::Txn(txn), Body::Txn { succeeded, .. }) => {
                    let (taken, left) = if *succeeded {
                        (&txn.then, &txn.otherwise)
                    } else {
                        (&txn.otherwise, &txn.then)
                    };
                    for part in taken {
                        if let TxnOp::Put(put) = part {
                            self.has_put(op, put, response.revision);
                        }
                    }
                    for part in left {
                        if let TxnOp::Put(put) = part {
                            self.cannot_have_put(put);
                        }
                    }
                }
                (Operation::Range(range), Body::Range { kvs, more, .. }) => {
                    for kv in kvs {
                        self.is_there(op, invoked, range, kv)?;
                    }
                    if !more && !range.count_only {
                        self.none_is_missing(op, invoked, range, kvs)?;
                    }
                }
                _ => {}
            },
        }
        Ok(())
    }

    /// A pair was read by an operation that was invoked at a time.
    fn is_there(
        &self,
        op: OpId,
        invoked: TimeNs,
        range: &Range,
        kv: &KeyValue,
    ) -> Result<(), Violation> {
        let Some(entry) = self.keys.get(&kv.key) else {
            return Ok(());
        };
        if let Some(last) = entry.last.as_ref().filter(|last| last.at < invoked) {
            let is_same = kv.mod_revision == last.revision;
            let is_other = is_same && !range.keys_only && kv.value != last.value;
            if kv.mod_revision < last.revision || is_other {
                return Err(self.lost(op, &kv.key, last, &format!("{kv}")));
            }
        }
        if entry.is_mortal {
            return Ok(());
        }
        let least = entry.acknowledged.partition_point(|at| *at < invoked);
        let least = u64::try_from(least).expect("a length fits");
        let writes = u64::try_from(kv.version).unwrap_or(0);
        if (least..=entry.possible).contains(&writes) {
            return Ok(());
        }
        let mut refused = entry.refused.iter();
        if let Some((by, _)) = refused.find(|(_, value)| *value == kv.value) {
            let witness = format!(
                "#{} shows {kv}, which #{} was to put, but that was refused",
                op.0, by.0
            );
            return Err(Violation {
                property: Property::ErrorHonesty,
                at: self.now,
                witness,
            });
        }
        let witness = format!(
            "#{} shows {kv}, but that key was put between {least} and {} times: so many were \
             acknowledged before, and so many may have happened",
            op.0, entry.possible
        );
        Err(Violation {
            property: Property::ExactlyOnce,
            at: self.now,
            witness,
        })
    }

    fn none_is_missing(
        &self,
        op: OpId,
        invoked: TimeNs,
        range: &Range,
        kvs: &[KeyValue],
    ) -> Result<(), Violation> {
        let judge = |key: &Bytes, entry: &Entry| match &entry.last {
            Some(last) if last.at < invoked && !entry.is_mortal => {
                // Answers stand in the order of keys.
                match kvs.binary_search_by(|kv| kv.key.cmp(key)) {
                    Ok(_) => Ok(()),
                    Err(_) => Err(self.lost(op, key, last, "nothing")),
                }
            }
            Some(_) | None => Ok(()),
        };
        if range.end.is_empty() {
            let found = self.keys.get_key_value(&range.key);
            return found.map_or(Ok(()), |(key, entry)| judge(key, entry));
        }
        let keys = Keys::new(&range.key, &range.end);
        let from = self.keys.range(range.key.clone()..);
        from.take_while(|(key, _)| keys.contain(key))
            .try_for_each(|(key, entry)| judge(key, entry))
    }

    fn lost(&self, op: OpId, key: &Bytes, last: &Last, seen: &str) -> Violation {
        let witness = format!(
            "#{} was acknowledged at {} for putting {}={} at revision {}, but #{}, invoked after \
             that, shows {seen}",
            last.op.0,
            last.at,
            word(key),
            word(&last.value),
            last.revision,
            op.0
        );
        Violation {
            property: Property::Durability,
            at: self.now,
            witness,
        }
    }
}

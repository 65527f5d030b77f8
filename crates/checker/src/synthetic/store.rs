//! A store that makes no mistakes.

use crate::history::{
    Body, Change, DeleteRange, Field, KeyValue, LeaseId, OpReply, Operation, Outcome, Put, Range,
    Refusal, Relation, Response, Revision, Txn, TxnOp, WatchRequest,
};
use bytes::Bytes;
use std::collections::BTreeMap;
use synod_env::MemberId;

/// The present pairs, and every change that led there.
#[derive(Debug, Default)]
pub(super) struct Store {
    pairs: BTreeMap<Bytes, KeyValue>,
    /// By key, every pair it ever was; a deleted one has version 0.
    past: BTreeMap<Bytes, Vec<KeyValue>>,
    /// The changes of the second revision and those after it.
    log: Vec<Vec<Change>>,
    leases: BTreeMap<LeaseId, Lease>,
    compacted: Revision,
    /// The revision that an operation is about to make has changes already.
    is_open: bool,
}

#[derive(Debug)]
struct Lease {
    ttl_ms: u64,
    until_ns: u64,
}

fn within(key: &Bytes, from: &Bytes, end: &Bytes) -> bool {
    match &end[..] {
        b"" => key == from,
        b"\0" => key >= from,
        _ => key >= from && key < end,
    }
}

impl Store {
    pub(super) fn revision(&self) -> Revision {
        1 + Revision::try_from(self.log.len()).expect("it fits")
    }

    pub(super) fn value(&self, key: &Bytes) -> Option<Bytes> {
        Some(self.pairs.get(key)?.value.clone())
    }

    pub(super) fn mod_revision(&self, key: &Bytes) -> Revision {
        self.pairs.get(key).map_or(0, |pair| pair.mod_revision)
    }

    /// Ends the leases whose time is over, each with a revision of its own if it has keys.
    pub(super) fn expire(&mut self, now_ns: u64) {
        let over = self
            .leases
            .iter()
            .filter(|(_, lease)| lease.until_ns < now_ns);
        for id in over.map(|(id, _)| *id).collect::<Vec<_>>() {
            self.end(id);
        }
    }

    fn end(&mut self, id: LeaseId) {
        self.leases.remove(&id);
        let hanging = self.pairs.values().filter(|pair| pair.lease == id);
        for key in hanging.map(|pair| pair.key.clone()).collect::<Vec<_>>() {
            self.remove(&key);
        }
        self.is_open = false;
    }

    fn change(&mut self, kv: KeyValue, prev_kv: Option<KeyValue>) {
        if !self.is_open {
            self.log.push(Vec::new());
            self.is_open = true;
        }
        let past = self.past.entry(kv.key.clone()).or_default();
        past.push(kv.clone());
        let revision = self.log.last_mut().expect("one was just begun");
        revision.push(Change { kv, prev_kv });
    }

    /// The revision that the next change belongs to.
    fn making(&self) -> Revision {
        self.revision() + Revision::from(!self.is_open)
    }

    fn remove(&mut self, key: &Bytes) {
        let mod_revision = self.making();
        let before = self.pairs.remove(key);
        let kv = KeyValue {
            key: key.clone(),
            mod_revision,
            ..KeyValue::default()
        };
        self.change(kv, before);
    }

    pub(super) fn execute(
        &mut self,
        operation: &Operation,
        member: MemberId,
        now_ns: u64,
        applied: Revision,
    ) -> Outcome {
        let mut revision = None;
        let done = match operation {
            Operation::Put(put) if !self.has_lease(put) => Err(Refusal::LeaseNotFound),
            Operation::Put(put) => Ok(self.put(put)),
            Operation::DeleteRange(delete) => Ok(self.delete(delete)),
            Operation::Range(range) if range.serializable => {
                revision = Some(applied);
                self.range(range, applied)
            }
            Operation::Range(range) => self.range(range, self.revision()),
            Operation::Txn(txn) => self.txn(txn),
            Operation::Compact { revision } => self.compact(*revision),
            Operation::LeaseGrant { id, .. } if self.leases.contains_key(id) => {
                Err(Refusal::LeaseExists)
            }
            Operation::LeaseGrant { id, ttl_ms } => {
                let until_ns = now_ns + ttl_ms * super::MS;
                let (id, ttl_ms) = (*id, *ttl_ms);
                self.leases.insert(id, Lease { ttl_ms, until_ns });
                Ok(Body::LeaseGrant { id, ttl_ms })
            }
            Operation::LeaseRevoke { id } if !self.leases.contains_key(id) => {
                Err(Refusal::LeaseNotFound)
            }
            Operation::LeaseRevoke { id } => {
                self.end(*id);
                Ok(Body::LeaseRevoke)
            }
            Operation::LeaseKeepAlive { id } => Ok(Body::LeaseKeepAlive {
                ttl_ms: self.leases.get_mut(id).map(|lease| {
                    lease.until_ns = now_ns + lease.ttl_ms * super::MS;
                    lease.ttl_ms
                }),
            }),
            Operation::LeaseTimeToLive { id } => {
                let lease = self.leases.get(id);
                Ok(Body::LeaseTimeToLive {
                    remaining_ms: lease.map(|lease| (lease.until_ns - now_ns) / super::MS),
                    granted_ms: lease.map_or(0, |lease| lease.ttl_ms),
                    keys: None,
                })
            }
        };
        self.is_open = false;
        match done {
            Ok(body) => Outcome::Done(Response {
                revision: revision.unwrap_or_else(|| self.revision()),
                member,
                body,
            }),
            Err(refusal) => Outcome::Refused(refusal),
        }
    }

    fn has_lease(&self, put: &Put) -> bool {
        put.lease == 0 || self.leases.contains_key(&put.lease)
    }

    fn compact(&mut self, revision: Revision) -> Result<Body, Refusal> {
        if revision <= self.compacted {
            return Err(Refusal::Compacted);
        }
        if revision > self.revision() {
            return Err(Refusal::FutureRevision);
        }
        self.compacted = revision;
        Ok(Body::Compact)
    }

    fn put(&mut self, put: &Put) -> Body {
        let before = self.pairs.get(&put.key).cloned();
        let revision = self.making();
        let kv = KeyValue {
            key: put.key.clone(),
            value: put.value.clone(),
            create_revision: before.as_ref().map_or(revision, |kv| kv.create_revision),
            mod_revision: revision,
            version: before.as_ref().map_or(1, |kv| kv.version + 1),
            lease: put.lease,
        };
        self.pairs.insert(put.key.clone(), kv.clone());
        self.change(kv, before.clone());
        Body::Put {
            prev_kv: before.filter(|_| put.prev_kv),
        }
    }

    fn delete(&mut self, delete: &DeleteRange) -> Body {
        let pairs = self.pairs.range(delete.key.clone()..);
        let pairs: Vec<_> = pairs
            .filter(|(key, _)| within(key, &delete.key, &delete.end))
            .map(|(_, pair)| pair.clone())
            .collect();
        for pair in &pairs {
            self.remove(&pair.key);
        }
        Body::DeleteRange {
            deleted: i64::try_from(pairs.len()).expect("it fits"),
            prev_kvs: if delete.prev_kv { pairs } else { Vec::new() },
        }
    }

    fn range(&self, range: &Range, present: Revision) -> Result<Body, Refusal> {
        if range.revision > present {
            return Err(Refusal::FutureRevision);
        }
        if range.revision > 0 && range.revision < self.compacted {
            return Err(Refusal::Compacted);
        }
        let at = if range.revision > 0 {
            range.revision
        } else {
            present
        };
        let mut kvs: Vec<KeyValue> = Vec::new();
        let mut pick = |versions: &Vec<KeyValue>| {
            let mut newest_first = versions.iter().rev();
            let pair = newest_first.find(|pair| pair.mod_revision <= at);
            kvs.extend(pair.filter(|pair| pair.version > 0).cloned());
        };
        if range.end.is_empty() {
            self.past.get(&range.key).map(&mut pick);
        } else {
            let past = self.past.range(range.key.clone()..);
            past.take_while(|(key, _)| within(key, &range.key, &range.end))
                .for_each(|(_, versions)| pick(versions));
        }
        let count = kvs.len();
        let mut more = false;
        if range.count_only {
            kvs.clear();
        } else if let limit @ 1.. = usize::try_from(range.limit).expect("no limit is negative")
            && count > limit
        {
            kvs.truncate(limit);
            more = true;
        }
        if range.keys_only {
            for kv in &mut kvs {
                kv.value = Bytes::new();
                kv.lease = 0;
            }
        }
        let count = i64::try_from(count).expect("it fits");
        Ok(Body::Range { kvs, more, count })
    }

    fn txn(&mut self, txn: &Txn) -> Result<Body, Refusal> {
        let succeeded = txn.compares.iter().all(|compare| {
            let pair = self.pairs.get(&compare.key);
            assert_eq!(compare.relation, Relation::Equal, "no other is drawn");
            match &compare.field {
                Field::Version(version) => pair.map_or(0, |pair| pair.version) == *version,
                Field::Mod(revision) => pair.map_or(0, |pair| pair.mod_revision) == *revision,
                Field::Value(value) => pair.is_some_and(|pair| pair.value == *value),
                Field::Create(_) | Field::Lease(_) => unreachable!("none of these is drawn"),
            }
        });
        let branch = if succeeded { &txn.then } else { &txn.otherwise };
        let has_leases = branch.iter().all(|op| match op {
            TxnOp::Put(put) => self.has_lease(put),
            TxnOp::DeleteRange(_) | TxnOp::Range(_) => true,
        });
        if !has_leases {
            return Err(Refusal::LeaseNotFound);
        }
        let mut replies = Vec::new();
        for op in branch {
            let body = match op {
                TxnOp::Put(put) => self.put(put),
                TxnOp::DeleteRange(delete) => self.delete(delete),
                TxnOp::Range(range) => self.range(range, self.revision())?,
            };
            let revision = self.revision();
            replies.push(OpReply { revision, body });
        }
        Ok(Body::Txn { succeeded, replies })
    }

    /// What a watch is to tell of some revisions.
    pub(super) fn changes(
        &self,
        request: &WatchRequest,
        from: Revision,
        upto: Revision,
    ) -> Vec<Change> {
        let mut found = Vec::new();
        for revision in from.max(2)..=upto {
            let number = usize::try_from(revision - 2).expect("it is at least 2");
            let changes = self.log[number].iter();
            let asked = changes.filter(|change| within(&change.kv.key, &request.key, &request.end));
            found.extend(asked.cloned());
        }
        found
    }
}

//! The state as one would write it down to explain it: the list of all changes ever made, and
//! everything else worked out from it each time. Nothing is shared with the real one but the
//! types of requests and answers.

use crate::command::{
    Alarm, AlarmKind, Command, Compare, DeleteRange, LeaseId, Op, Operand, Order, Put, Range,
    Relation, Revision, Target, Txn,
};
use crate::limit::LimitKind;
use crate::reply::{
    Body, DeleteReply, Event, EventKind, KeyValue, OpBody, OpReply, Outcome, PutReply, RangeReply,
    Refusal, Reply, TxnReply,
};
use bytes::Bytes;
use std::collections::{BTreeMap, BTreeSet};
use synod_env::MemberId;

#[derive(Clone, Debug)]
pub(super) struct Model {
    pub(super) revision: Revision,
    pub(super) compact_revision: Revision,
    /// Every change ever made, in order; compaction removes nothing here.
    pub(super) history: Vec<Event>,
    /// TTL and remaining TTL in milliseconds.
    pub(super) leases: BTreeMap<LeaseId, (u64, u64)>,
    pub(super) quota: u64,
    /// The quota was set for the whole cluster.
    pub(super) is_quota_set: bool,
    /// Size of the state; the test corrects it after each step of compaction.
    pub(super) bytes: u64,
    pub(super) reign: u64,
    pub(super) alarms: BTreeSet<Alarm>,
}

/// Bytes that a change takes beside key and value.
const CHANGE_BYTES: u64 = 45;
/// Bytes that a lease takes.
const LEASE_BYTES: u64 = 25;

/// All operations of a transaction, whichever branches they are in.
fn all_ops(txn: &Txn) -> Vec<&Op> {
    let mut all = Vec::new();
    for op in txn.success.iter().chain(&txn.failure) {
        all.push(op);
        if let Op::Txn(nested) = op {
            all.extend(all_ops(nested));
        }
    }
    all
}

fn puts(command: &Command) -> bool {
    match command {
        Command::Put(_) | Command::LeaseGrant { .. } => true,
        Command::Txn(txn) => all_ops(txn).iter().any(|op| matches!(op, Op::Put(_))),
        Command::DeleteRange(_)
        | Command::Compact { .. }
        | Command::LeaseRevoke { .. }
        | Command::Reign { .. }
        | Command::LeaseExpire { .. }
        | Command::LeaseCheckpoint { .. }
        | Command::SetQuota { .. }
        | Command::SetCompactionStep { .. }
        | Command::SetLevel { .. }
        | Command::SetAlarm { .. }
        | Command::SetLimit(_) => false,
    }
}

fn changes(command: &Command) -> bool {
    match command {
        Command::DeleteRange(_) | Command::Compact { .. } | Command::LeaseRevoke { .. } => true,
        Command::Txn(txn) => all_ops(txn)
            .iter()
            .any(|op| matches!(op, Op::Put(_) | Op::DeleteRange(_))),
        Command::Put(_)
        | Command::LeaseGrant { .. }
        | Command::Reign { .. }
        | Command::LeaseExpire { .. }
        | Command::LeaseCheckpoint { .. }
        | Command::SetQuota { .. }
        | Command::SetCompactionStep { .. }
        | Command::SetLevel { .. }
        | Command::SetAlarm { .. }
        | Command::SetLimit(_) => puts(command),
    }
}

fn means(key: &[u8], range_end: &[u8], other: &[u8]) -> bool {
    match range_end {
        b"" => other == key,
        b"\0" => other >= key,
        _ => other >= key && other < range_end,
    }
}

impl Model {
    pub(super) fn new() -> Self {
        Self {
            revision: 1,
            compact_revision: -1,
            history: Vec::new(),
            leases: BTreeMap::new(),
            quota: 2 << 30,
            is_quota_set: false,
            bytes: 0,
            reign: 0,
            alarms: BTreeSet::new(),
        }
    }

    /// All keys as they were at a revision.
    pub(super) fn at(&self, revision: Revision) -> BTreeMap<Bytes, KeyValue> {
        let mut keys = BTreeMap::new();
        for event in &self.history {
            if event.kv.mod_revision > revision {
                continue;
            }
            match event.kind {
                EventKind::Put => keys.insert(event.kv.key.clone(), event.kv.clone()),
                EventKind::Delete => keys.remove(&event.kv.key),
            };
        }
        keys
    }

    fn present(&self) -> BTreeMap<Bytes, KeyValue> {
        self.at(Revision::MAX)
    }

    fn found(&self, key: &[u8], range_end: &[u8]) -> Vec<KeyValue> {
        let keys = self.present();
        keys.into_values()
            .filter(|kv| means(key, range_end, &kv.key))
            .collect()
    }

    pub(super) fn readable(&self, revision: Revision) -> Result<(), Refusal> {
        if revision <= 0 {
            Ok(())
        } else if revision > self.revision {
            Err(Refusal::FutureRevision(self.revision))
        } else if revision < self.compact_revision {
            Err(Refusal::Compacted(self.compact_revision))
        } else {
            Ok(())
        }
    }

    pub(super) fn range(&self, range: &Range) -> RangeReply {
        let keys = if range.revision > 0 {
            self.at(range.revision)
        } else {
            self.present()
        };
        let all: Vec<KeyValue> = keys
            .into_values()
            .filter(|kv| means(&range.key, &range.range_end, &kv.key))
            .collect();
        let count = i64::try_from(all.len()).unwrap();
        if range.count_only {
            return RangeReply {
                kvs: Vec::new(),
                more: false,
                count,
            };
        }
        let mut kvs = all;
        kvs.retain(|kv| {
            (range.min_mod_revision == 0 || kv.mod_revision >= range.min_mod_revision)
                && (range.max_mod_revision == 0 || kv.mod_revision <= range.max_mod_revision)
                && (range.min_create_revision == 0
                    || kv.create_revision >= range.min_create_revision)
                && (range.max_create_revision == 0
                    || kv.create_revision <= range.max_create_revision)
        });
        let mut more = false;
        let limit = usize::try_from(range.limit).ok().filter(|it| *it > 0);
        let bounds = [range.min_mod_revision, range.max_mod_revision];
        let bounds_of_creation = [range.min_create_revision, range.max_create_revision];
        if let Some(limit) = limit
            && range.order == Order::None
            && (bounds, bounds_of_creation) == ([0; 2], [0; 2])
        {
            kvs.truncate(limit + 1);
        }
        match range.target {
            Target::Key => kvs.sort_by_key(|kv| kv.key.clone()),
            Target::Version => kvs.sort_by_key(|kv| kv.version),
            Target::Create => kvs.sort_by_key(|kv| kv.create_revision),
            Target::Mod => kvs.sort_by_key(|kv| kv.mod_revision),
            Target::Value => kvs.sort_by_key(|kv| kv.value.clone()),
        }
        if range.order == Order::Descend {
            // Reversed, but what is equal keeps the order of keys.
            let by = |kv: &KeyValue| match range.target {
                Target::Key => (kv.key.clone(), 0),
                Target::Version => (Bytes::new(), kv.version),
                Target::Create => (Bytes::new(), kv.create_revision),
                Target::Mod => (Bytes::new(), kv.mod_revision),
                Target::Value => (kv.value.clone(), 0),
            };
            let groups: Vec<Vec<KeyValue>> = kvs
                .chunk_by(|a, b| by(a) == by(b))
                .map(<[KeyValue]>::to_vec)
                .collect();
            kvs = groups.into_iter().rev().flatten().collect();
        }
        if let Some(limit) = limit
            && kvs.len() > limit
        {
            kvs.truncate(limit);
            more = true;
        }
        if range.keys_only {
            kvs.iter_mut().for_each(|kv| kv.value = Bytes::new());
        }
        RangeReply { kvs, more, count }
    }

    /// What a watch from `from` is given when it reads `revisions` revisions at a time.
    pub(super) fn replay(&self, from: Revision, revisions: usize) -> Vec<Event> {
        let later = self
            .history
            .iter()
            .filter(|event| event.kv.mod_revision >= from);
        let mut wanted: Vec<Revision> = later.clone().map(|event| event.kv.mod_revision).collect();
        wanted.dedup();
        wanted.truncate(revisions);
        later
            .filter(|event| wanted.contains(&event.kv.mod_revision))
            .cloned()
            .collect()
    }

    pub(super) fn previous(&self, event: &Event) -> Option<KeyValue> {
        let before = event.kv.mod_revision - 1;
        if before < self.compact_revision {
            return None;
        }
        if event.kind == EventKind::Put && event.kv.create_revision == event.kv.mod_revision {
            return None;
        }
        self.at(before).remove(&event.kv.key)
    }

    fn holds(&self, compare: &Compare) -> bool {
        let number = |found: i64, wanted: i64| match compare.relation {
            Relation::Equal => found == wanted,
            Relation::Greater => found > wanted,
            Relation::Less => found < wanted,
            Relation::NotEqual => found != wanted,
        };
        let mut found = self.found(&compare.key, &compare.range_end);
        let missing = found.is_empty();
        if missing {
            found.push(KeyValue::default());
        }
        found.iter().all(|kv| match &compare.operand {
            Operand::Version(wanted) => number(kv.version, *wanted),
            Operand::Create(wanted) => number(kv.create_revision, *wanted),
            Operand::Mod(wanted) => number(kv.mod_revision, *wanted),
            Operand::Lease(wanted) => number(kv.lease, *wanted),
            Operand::Value(wanted) => {
                !missing
                    && match compare.relation {
                        Relation::Equal => kv.value == *wanted,
                        Relation::Greater => kv.value > *wanted,
                        Relation::Less => kv.value < *wanted,
                        Relation::NotEqual => kv.value != *wanted,
                    }
            }
        })
    }

    fn record(&mut self, kind: EventKind, kv: KeyValue) {
        self.bytes += CHANGE_BYTES + (kv.key.len() + kv.value.len()) as u64;
        self.history.push(Event { kind, kv });
    }

    fn write(&mut self, put: &Put, revision: Revision) -> PutReply {
        let previous = self.present().remove(&put.key);
        let mut kv = KeyValue {
            key: put.key.clone(),
            value: put.value.clone(),
            create_revision: revision,
            mod_revision: revision,
            version: 1,
            lease: put.lease,
        };
        if let Some(previous) = &previous {
            kv.create_revision = previous.create_revision;
            kv.version = previous.version + 1;
            if put.ignore_value {
                kv.value = previous.value.clone();
            }
            if put.ignore_lease {
                kv.lease = previous.lease;
            }
        }
        self.record(EventKind::Put, kv);
        PutReply {
            prev_kv: if put.prev_kv { previous } else { None },
        }
    }

    fn delete(&mut self, delete: &DeleteRange, revision: Revision) -> DeleteReply {
        let found = self.found(&delete.key, &delete.range_end);
        for kv in &found {
            let kv = KeyValue {
                key: kv.key.clone(),
                mod_revision: revision,
                ..KeyValue::default()
            };
            self.record(EventKind::Delete, kv);
        }
        let deleted = i64::try_from(found.len()).unwrap();
        DeleteReply {
            deleted,
            prev_kvs: if delete.prev_kv { found } else { Vec::new() },
        }
    }

    /// The value a put will leave, or why it cannot be done.
    fn kept(&self, put: &Put) -> Result<Bytes, Refusal> {
        let previous = self.present().remove(&put.key);
        match previous {
            None if put.ignore_value || put.ignore_lease => Err(Refusal::KeyNotFound),
            Some(previous) if put.ignore_value => Ok(previous.value),
            Some(_) | None => Ok(put.value.clone()),
        }
    }

    fn lease_exists(&self, lease: LeaseId) -> Result<(), Refusal> {
        if lease == 0 || self.leases.contains_key(&lease) {
            return Ok(());
        }
        Err(Refusal::LeaseNotFound)
    }

    fn room_for(&self, bytes: u64) -> Result<(), Refusal> {
        if self.bytes + bytes > self.quota {
            Err(Refusal::NoSpace)
        } else {
            Ok(())
        }
    }

    /// The operations of a transaction that will be done, as a transaction without compares.
    fn decide(&self, txn: &Txn) -> Txn {
        let holds = txn.compare.iter().all(|compare| self.holds(compare));
        let mut taken = if holds {
            txn.success.clone()
        } else {
            txn.failure.clone()
        };
        for op in &mut taken {
            if let Op::Txn(nested) = op {
                *nested = self.decide(nested);
            }
        }
        let (success, failure) = if holds {
            (taken, Vec::new())
        } else {
            (Vec::new(), taken)
        };
        // What `succeeded` will say is kept as the presence of a compare.
        let never = Compare {
            key: Bytes::new(),
            range_end: Bytes::new(),
            relation: Relation::Equal,
            operand: Operand::Version(0),
        };
        Txn {
            compare: if holds { Vec::new() } else { vec![never] },
            success,
            failure,
        }
    }

    fn flatten(txn: &Txn) -> Vec<Op> {
        let ops = txn.success.iter().chain(&txn.failure);
        ops.flat_map(|op| match op {
            Op::Txn(nested) => Self::flatten(nested),
            Op::Range(_) | Op::Put(_) | Op::DeleteRange(_) => vec![op.clone()],
        })
        .collect()
    }

    fn run(&mut self, decided: &Txn, before: usize) -> TxnReply {
        let revision = self.revision + 1;
        let succeeded = decided.compare.is_empty();
        let ops = if succeeded {
            &decided.success
        } else {
            &decided.failure
        };
        let mut replies = Vec::new();
        for op in ops {
            let body = match op {
                Op::Range(range) => OpBody::Range(self.range(range)),
                Op::Put(put) => OpBody::Put(self.write(put, revision)),
                Op::DeleteRange(delete) => OpBody::DeleteRange(self.delete(delete, revision)),
                Op::Txn(nested) => OpBody::Txn(self.run(nested, before)),
            };
            let wrote = self.history.len() > before;
            replies.push(OpReply {
                revision: self.revision + i64::from(wrote),
                body,
            });
        }
        TxnReply { succeeded, replies }
    }

    fn end_lease(&mut self, lease: LeaseId) {
        let before = self.history.len();
        for kv in self.found(b"", b"\0") {
            if kv.lease == lease {
                let delete = DeleteRange {
                    key: kv.key,
                    ..DeleteRange::default()
                };
                self.delete(&delete, self.revision + 1);
            }
        }
        self.leases.remove(&lease);
        self.bytes -= LEASE_BYTES;
        self.settle(before);
    }

    /// The revision moves once if there are changes after the first `before`.
    fn settle(&mut self, before: usize) {
        if self.history.len() > before {
            self.revision += 1;
        }
    }

    /// What `member` asks for is done or refused; and for want of room, refused from then on.
    pub(super) fn execute(&mut self, member: MemberId, command: &Command) -> Outcome {
        let has = |kind| self.alarms.iter().any(|alarm| alarm.kind == kind);
        if has(AlarmKind::Corrupt) && changes(command) {
            return Err(Refusal::Corrupt);
        }
        if has(AlarmKind::NoSpace) && puts(command) {
            return Err(Refusal::NoSpace);
        }
        let outcome = self.carry_out(command);
        if outcome == Err(Refusal::NoSpace) {
            let kind = AlarmKind::NoSpace;
            self.alarms.insert(Alarm { kind, member });
        }
        outcome
    }

    fn carry_out(&mut self, command: &Command) -> Outcome {
        let before = self.history.len();
        let body = match command {
            Command::Reign { .. }
            | Command::SetCompactionStep { .. }
            | Command::SetLevel { .. } => Body::Nothing,
            Command::Put(put) => {
                self.lease_exists(put.lease)?;
                let value = self.kept(put)?;
                self.room_for(CHANGE_BYTES + (put.key.len() + value.len()) as u64)?;
                let reply = self.write(put, self.revision + 1);
                self.settle(before);
                Body::Put(reply)
            }
            Command::DeleteRange(delete) => {
                let reply = self.delete(delete, self.revision + 1);
                self.settle(before);
                Body::DeleteRange(reply)
            }
            Command::Txn(txn) => {
                let decided = self.decide(txn);
                let mut needed = None;
                for op in Self::flatten(&decided) {
                    if let Op::Put(put) = op {
                        let value = self.kept(&put)?;
                        self.lease_exists(put.lease)?;
                        let cost = CHANGE_BYTES + (put.key.len() + value.len()) as u64;
                        needed = Some(needed.unwrap_or(0) + cost);
                    }
                }
                for op in Self::flatten(&decided) {
                    if let Op::Range(range) = op {
                        self.readable(range.revision)?;
                    }
                }
                if let Some(needed) = needed {
                    self.room_for(needed)?;
                }
                let reply = self.run(&decided, before);
                self.settle(before);
                Body::Txn(reply)
            }
            Command::Compact { revision } => {
                if *revision <= self.compact_revision {
                    return Err(Refusal::Compacted(self.compact_revision));
                }
                if *revision > self.revision {
                    return Err(Refusal::FutureRevision(self.revision));
                }
                self.compact_revision = *revision;
                Body::Nothing
            }
            Command::LeaseGrant { lease, ttl_ms } => {
                if self.leases.contains_key(lease) {
                    return Err(Refusal::LeaseExists);
                }
                self.room_for(LEASE_BYTES)?;
                self.bytes += LEASE_BYTES;
                self.leases.insert(*lease, (*ttl_ms, 0));
                Body::LeaseGrant {
                    lease: *lease,
                    ttl_ms: *ttl_ms,
                }
            }
            Command::LeaseRevoke { lease } => {
                if !self.leases.contains_key(lease) {
                    return Err(Refusal::LeaseNotFound);
                }
                self.end_lease(*lease);
                Body::Nothing
            }
            Command::LeaseExpire { leases } => {
                for lease in leases {
                    if self.leases.contains_key(lease) {
                        self.end_lease(*lease);
                    }
                }
                Body::Nothing
            }
            Command::LeaseCheckpoint { remaining } => {
                for (lease, remaining_ms) in remaining {
                    if let Some(known) = self.leases.get_mut(lease) {
                        known.1 = *remaining_ms;
                    }
                }
                Body::Nothing
            }
            Command::SetQuota { bytes } => {
                if !self.is_quota_set {
                    self.quota = *bytes;
                }
                Body::Nothing
            }
            Command::SetLimit(change) => {
                if change.kind == LimitKind::QuotaBytes {
                    self.is_quota_set = change.value.is_some();
                    self.quota = change.value.unwrap_or(self.quota);
                }
                Body::Nothing
            }
            Command::SetAlarm { alarm, raised } => Body::SetAlarm {
                changed: if *raised {
                    self.alarms.insert(*alarm)
                } else {
                    self.alarms.remove(alarm)
                },
            },
        };
        Ok(Reply {
            revision: self.revision,
            body,
        })
    }

    /// What may be left of history once a compaction is finished.
    pub(super) fn retained(&self) -> Vec<Event> {
        let compacted = self.compact_revision;
        let kept = self.at(compacted);
        let mut retained = self.history.clone();
        retained.retain(|event| {
            let is_kept = kept.get(&event.kv.key) == Some(&event.kv);
            event.kv.mod_revision >= compacted || is_kept
        });
        retained
    }
}

//! The model of the store: what each write does, and what every revision looked like.
//!
//! It is kept as plainly as possible, for it is what the service is measured by: each key has a
//! list of its versions, and each revision a list of the keys that it changed.

use crate::history::{
    Body, Compare, DeleteRange, Field, KeyValue, LeaseId, OpReply, Operation, Put, Range, Relation,
    Revision, Txn, TxnOp,
};
use bytes::Bytes;
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;

/// The revision of a store that nobody has written to.
pub(crate) const FIRST_REVISION: Revision = 1;

/// Which keys a request means.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Keys<'a> {
    pub(crate) key: &'a Bytes,
    pub(crate) end: &'a Bytes,
}

impl<'a> Keys<'a> {
    pub(crate) const fn new(key: &'a Bytes, end: &'a Bytes) -> Self {
        Self { key, end }
    }

    /// Whether the request means this key.
    pub(crate) fn contain(self, key: &Bytes) -> bool {
        if self.end.is_empty() {
            key == self.key
        } else {
            key >= self.key && (self.end[..] == *b"\0" || key < self.end)
        }
    }

    /// Whether it means every key there can be.
    pub(crate) fn are_all(self) -> bool {
        (self.key.is_empty() || self.key[..] == *b"\0") && self.end[..] == *b"\0"
    }

    /// For a lookup in an ordered table; none if the request means no key at all.
    fn bounds(self) -> Option<(Bound<&'a Bytes>, Bound<&'a Bytes>)> {
        let from = Bound::Included(self.key);
        if self.end.is_empty() {
            Some((from, Bound::Included(self.key)))
        } else if self.end[..] == *b"\0" {
            Some((from, Bound::Unbounded))
        } else if self.key < self.end {
            Some((from, Bound::Excluded(self.end)))
        } else {
            None
        }
    }
}

/// What a key was from a revision on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Version {
    pub(crate) revision: Revision,
    pub(crate) create: Revision,
    /// Writes since creation; 0 if the revision deleted the key.
    pub(crate) version: i64,
    pub(crate) lease: LeaseId,
    pub(crate) value: Bytes,
}

impl Version {
    const fn deleted(revision: Revision) -> Self {
        Self {
            revision,
            create: 0,
            version: 0,
            lease: 0,
            value: Bytes::new(),
        }
    }

    pub(crate) const fn is_deleted(&self) -> bool {
        self.version == 0
    }

    pub(crate) fn pair(&self, key: &Bytes) -> KeyValue {
        KeyValue {
            key: key.clone(),
            value: self.value.clone(),
            create_revision: self.create,
            mod_revision: self.revision,
            version: self.version,
            lease: self.lease,
        }
    }
}

/// A key and what a revision makes of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Written {
    pub(crate) key: Bytes,
    pub(crate) version: Version,
}

/// What an operation does and answers in a state.
#[derive(Clone, Debug)]
pub(crate) struct Evaluation {
    /// Nothing, or the content of one revision.
    pub(crate) changes: Vec<Written>,
    pub(crate) body: Body,
}

/// Every revision from the first to the frontier.
#[derive(Clone, Debug, Default)]
pub(crate) struct Replay {
    keys: BTreeMap<Bytes, Vec<Version>>,
    /// The keys at the frontier that hang on each lease.
    attached: BTreeMap<LeaseId, BTreeSet<Bytes>>,
    /// The keys that were changed, revision by revision.
    changed: Vec<Bytes>,
    /// Where in `changed` each revision ends, from the second revision on.
    ends: Vec<usize>,
}

impl Replay {
    /// The frontier.
    pub(crate) fn revision(&self) -> Revision {
        FIRST_REVISION + Revision::try_from(self.ends.len()).expect("memory holds fewer than 2^63")
    }

    /// The keys that a revision changed, in order.
    pub(crate) fn changes(&self, revision: Revision) -> &[Bytes] {
        let Ok(number) = usize::try_from(revision - FIRST_REVISION - 1) else {
            return &[];
        };
        let start = number.checked_sub(1).map_or(0, |before| self.ends[before]);
        &self.changed[start..self.ends[number]]
    }

    /// A key as it was at a revision, unless it was not there.
    pub(crate) fn get(&self, key: &Bytes, at: Revision) -> Option<&Version> {
        let versions = self.keys.get(key)?;
        // Most look at the frontier.
        let last = versions.last()?;
        let version = if last.revision <= at {
            last
        } else {
            let later = versions.partition_point(|version| version.revision <= at);
            versions.get(later.checked_sub(1)?)?
        };
        (!version.is_deleted()).then_some(version)
    }

    /// What a revision made of a key that it changed.
    pub(crate) fn made(&self, key: &Bytes, revision: Revision) -> Option<&Version> {
        let versions = self.keys.get(key)?;
        let place = versions.partition_point(|version| version.revision < revision);
        versions
            .get(place)
            .filter(|version| version.revision == revision)
    }

    /// The revisions of a range's changes that are above `after`, up to `upto`, in order.
    pub(crate) fn changes_within(
        &self,
        keys: Keys<'_>,
        after: Revision,
        upto: Revision,
    ) -> Vec<(Revision, Bytes)> {
        if keys.end.is_empty() {
            let versions = self.keys.get(keys.key).map_or(&[][..], Vec::as_slice);
            let start = versions.partition_point(|version| version.revision <= after);
            let end = versions.partition_point(|version| version.revision <= upto);
            let found = versions.get(start..end).unwrap_or(&[]).iter();
            return found
                .map(|version| (version.revision, keys.key.clone()))
                .collect();
        }
        let mut found = Vec::new();
        for revision in after.max(FIRST_REVISION) + 1..=upto.min(self.revision()) {
            let changes = self.changes(revision).iter();
            let within = changes.filter(|key| keys.contain(key));
            found.extend(within.map(|key| (revision, key.clone())));
        }
        found
    }

    /// The keys that hang on a lease at a revision.
    pub(crate) fn attached(&self, lease: LeaseId, at: Revision) -> Vec<Bytes> {
        if at == self.revision() {
            let keys = self.attached.get(&lease);
            return keys.map_or_else(Vec::new, |keys| keys.iter().cloned().collect());
        }
        let hangs = |key: &&Bytes| self.get(key, at).is_some_and(|v| v.lease == lease);
        self.keys.keys().filter(hangs).cloned().collect()
    }

    /// The leases that keys hang on at the frontier.
    pub(crate) fn attached_leases(&self) -> impl Iterator<Item = LeaseId> {
        self.attached.keys().copied()
    }

    /// Makes the next revision.
    pub(crate) fn commit(&mut self, changes: &[Written]) {
        let revision = self.revision() + 1;
        for Written { key, version } in changes {
            assert_eq!(
                version.revision, revision,
                "a change is made for the next revision"
            );
            let versions = self.keys.entry(key.clone()).or_default();
            let before = versions.last().map_or(0, |version| version.lease);
            if before != version.lease {
                if before != 0 {
                    let keys = self.attached.get_mut(&before).expect("its keys are listed");
                    keys.remove(key);
                    if keys.is_empty() {
                        self.attached.remove(&before);
                    }
                }
                if version.lease != 0 {
                    let keys = self.attached.entry(version.lease).or_default();
                    keys.insert(key.clone());
                }
            }
            versions.push(version.clone());
            self.changed.push(key.clone());
        }
        self.ends.push(self.changed.len());
    }

    /// What deleting these keys changes, whoever does it.
    pub(crate) fn deletes(&self, keys: &[Bytes], at: Revision) -> Vec<Written> {
        let there = keys.iter().filter(|key| self.get(key, at).is_some());
        there
            .map(|key| Written {
                key: key.clone(),
                version: Version::deleted(at + 1),
            })
            .collect()
    }

    /// What an operation would do and answer at a revision. That leases exist, and what of history
    /// is left, is judged elsewhere; an operation on a lease answers nothing here.
    pub(crate) fn evaluate(&self, operation: &Operation, at: Revision) -> Evaluation {
        let mut view = View {
            replay: self,
            at,
            changes: Vec::new(),
        };
        let body = match operation {
            Operation::Put(put) => view.put(put),
            Operation::DeleteRange(delete) => view.delete(delete),
            Operation::Range(range) => view.range(range),
            Operation::Txn(txn) => view.txn(txn),
            Operation::LeaseRevoke { id } => {
                view.changes = self.deletes(&self.attached(*id, at), at);
                Body::LeaseRevoke
            }
            Operation::Compact { .. }
            | Operation::LeaseGrant { .. }
            | Operation::LeaseKeepAlive { .. }
            | Operation::LeaseTimeToLive { .. } => Body::Compact,
        };
        Evaluation {
            changes: view.changes,
            body,
        }
    }
}

/// A revision with the changes of an operation that is under way.
struct View<'a> {
    replay: &'a Replay,
    at: Revision,
    changes: Vec<Written>,
}

impl View<'_> {
    fn revision(&self) -> Revision {
        self.at + Revision::from(!self.changes.is_empty())
    }

    fn get(&self, key: &Bytes) -> Option<&Version> {
        match self.changes.iter().rev().find(|change| change.key == *key) {
            Some(change) => Some(&change.version).filter(|version| !version.is_deleted()),
            None => self.replay.get(key, self.at),
        }
    }

    fn put(&mut self, put: &Put) -> Body {
        let before = self.get(&put.key);
        let prev_kv = before
            .filter(|_| put.prev_kv)
            .map(|version| version.pair(&put.key));
        let version = Version {
            revision: self.at + 1,
            create: before.map_or(self.at + 1, |version| version.create),
            version: before.map_or(0, |version| version.version) + 1,
            lease: put.lease,
            value: put.value.clone(),
        };
        let key = put.key.clone();
        self.changes.push(Written { key, version });
        Body::Put { prev_kv }
    }

    fn delete(&mut self, delete: &DeleteRange) -> Body {
        let keys = Keys::new(&delete.key, &delete.end);
        let (pairs, _) = self.pairs(keys, self.revision(), usize::MAX);
        for pair in &pairs {
            self.changes.push(Written {
                key: pair.key.clone(),
                version: Version::deleted(self.at + 1),
            });
        }
        Body::DeleteRange {
            deleted: pairs.len().try_into().expect("memory holds fewer"),
            prev_kvs: if delete.prev_kv { pairs } else { Vec::new() },
        }
    }

    fn range(&self, range: &Range) -> Body {
        let at = if range.revision > 0 {
            range.revision
        } else {
            self.revision()
        };
        let keys = Keys::new(&range.key, &range.end);
        let limit = usize::try_from(range.limit).unwrap_or(0);
        let kvs_max = match limit {
            _ if range.count_only => 0,
            0 => usize::MAX,
            limit => limit,
        };
        let (mut kvs, count) = self.pairs(keys, at, kvs_max);
        let more = limit > 0 && count > limit && !range.count_only;
        if range.keys_only {
            for kv in &mut kvs {
                kv.value = Bytes::new();
            }
        }
        Body::Range {
            kvs,
            more,
            count: count.try_into().expect("memory holds fewer"),
        }
    }

    /// The first pairs of a range at a revision, at most so many, and how many there are: the
    /// operation's own changes count only in its own.
    fn pairs(&self, keys: Keys<'_>, at: Revision, max: usize) -> (Vec<KeyValue>, usize) {
        let is_past = at <= self.at || self.changes.is_empty();
        if keys.end.is_empty() {
            let found = if is_past {
                self.replay.get(keys.key, at)
            } else {
                self.get(keys.key)
            };
            let pair = found.filter(|_| max > 0).map(|found| found.pair(keys.key));
            return (pair.into_iter().collect(), usize::from(found.is_some()));
        }
        let Some(bounds) = keys.bounds() else {
            return (Vec::new(), 0);
        };
        let base = self.replay.keys.range::<Bytes, _>(bounds);
        let live = base.filter_map(|(key, _)| Some((key, self.replay.get(key, at)?)));
        if is_past {
            let (mut pairs, mut count) = (Vec::new(), 0);
            for (key, version) in live {
                count += 1;
                if pairs.len() < max {
                    pairs.push(version.pair(key));
                }
            }
            return (pairs, count);
        }
        let mut pairs: BTreeMap<&Bytes, &Version> = live.collect();
        for Written { key, version } in &self.changes {
            if version.is_deleted() {
                pairs.remove(key);
            } else if keys.contain(key) {
                pairs.insert(key, version);
            }
        }
        let count = pairs.len();
        let first = pairs.into_iter().take(max);
        (
            first.map(|(key, version)| version.pair(key)).collect(),
            count,
        )
    }

    fn txn(&mut self, txn: &Txn) -> Body {
        let succeeded = txn.compares.iter().all(|compare| self.holds(compare));
        let branch = if succeeded { &txn.then } else { &txn.otherwise };
        let mut replies = Vec::with_capacity(branch.len());
        for op in branch {
            let body = match op {
                TxnOp::Put(put) => self.put(put),
                TxnOp::DeleteRange(delete) => self.delete(delete),
                TxnOp::Range(range) => self.range(range),
            };
            let revision = self.revision();
            replies.push(OpReply { revision, body });
        }
        Body::Txn { succeeded, replies }
    }

    fn holds(&self, compare: &Compare) -> bool {
        if compare.end.is_empty() {
            return holds(compare, self.get(&compare.key));
        }
        let keys = Keys::new(&compare.key, &compare.end);
        let Some(bounds) = keys.bounds() else {
            return holds(compare, None);
        };
        let mut live = self
            .replay
            .keys
            .range::<Bytes, _>(bounds)
            .filter_map(|(key, _)| self.replay.get(key, self.at))
            .peekable();
        if live.peek().is_none() {
            return holds(compare, None);
        }
        live.all(|version| holds(compare, Some(version)))
    }
}

/// Whether a condition holds of one key.
fn holds(compare: &Compare, version: Option<&Version>) -> bool {
    let number = |number: fn(&Version) -> i64| version.map_or(0, number);
    let order = match &compare.field {
        Field::Version(with) => number(|version| version.version).cmp(with),
        Field::Create(with) => number(|version| version.create).cmp(with),
        Field::Mod(with) => number(|version| version.revision).cmp(with),
        Field::Lease(with) => number(|version| version.lease).cmp(with),
        Field::Value(with) => match version {
            Some(version) => version.value.cmp(with),
            None => return false,
        },
    };
    match compare.relation {
        Relation::Equal => order.is_eq(),
        Relation::Greater => order.is_gt(),
        Relation::Less => order.is_lt(),
        Relation::NotEqual => order.is_ne(),
    }
}

/// Whether an answer is the expected one. Where only keys were asked for, a service may leave the
/// lease out as it leaves the value out.
pub(crate) fn same(operation: &Operation, expected: &Body, seen: &Body) -> bool {
    if expected == seen {
        return true;
    }
    match operation {
        Operation::Range(range) => same_range(range, expected, seen),
        Operation::Txn(txn) => {
            let (
                Body::Txn { succeeded, replies },
                Body::Txn {
                    succeeded: seen_succeeded,
                    replies: seen_replies,
                },
            ) = (expected, seen)
            else {
                return false;
            };
            let branch = if *succeeded {
                &txn.then
            } else {
                &txn.otherwise
            };
            succeeded == seen_succeeded
                && replies.len() == seen_replies.len()
                && branch
                    .iter()
                    .zip(replies.iter().zip(seen_replies))
                    .all(|(op, (reply, seen))| {
                        let same = match op {
                            TxnOp::Range(range) => same_range(range, &reply.body, &seen.body),
                            TxnOp::Put(_) | TxnOp::DeleteRange(_) => reply.body == seen.body,
                        };
                        same && reply.revision == seen.revision
                    })
        }
        Operation::Put(_)
        | Operation::DeleteRange(_)
        | Operation::Compact { .. }
        | Operation::LeaseGrant { .. }
        | Operation::LeaseRevoke { .. }
        | Operation::LeaseKeepAlive { .. }
        | Operation::LeaseTimeToLive { .. } => false,
    }
}

fn same_range(range: &Range, expected: &Body, seen: &Body) -> bool {
    if !range.keys_only {
        return expected == seen;
    }
    let (
        Body::Range { kvs, more, count },
        Body::Range {
            kvs: seen_kvs,
            more: seen_more,
            count: seen_count,
        },
    ) = (expected, seen)
    else {
        return false;
    };
    let same = |(kv, seen): (&KeyValue, &KeyValue)| {
        let mut without_lease = kv.clone();
        without_lease.lease = 0;
        kv == seen || without_lease == *seen
    };
    more == seen_more
        && count == seen_count
        && kvs.len() == seen_kvs.len()
        && kvs.iter().zip(seen_kvs).all(same)
}

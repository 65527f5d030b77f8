//! Which synced watchers an event concerns.
//!
//! Nearly all watches are for one key or for a prefix. Those are found by look-up: the key itself,
//! and the key's first n bytes for each length n that some prefix has. The few others are
//! compared one by one.
//!
//! Found are not watchers but groups of those that want the same: a thousand watchers of one prefix
//! are one match.

use bytes::Bytes;
use std::collections::{BTreeMap, BTreeSet};
use synod_state::reply::EventKind;

/// A watcher's address: its stream, and its number there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Address {
    pub(super) stream: u64,
    pub(super) watch: i64,
}

/// The keys a watcher is for.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Keys {
    /// One key.
    One(Bytes),
    /// All keys that begin so; empty for every key.
    Prefix(Bytes),
    /// All keys from the first on, and before the second if there is one.
    Between(Bytes, Option<Bytes>),
}

impl Keys {
    /// The keys that a request names by `key` and `range_end`; `None` if there can be none.
    pub(super) fn new(key: &Bytes, range_end: &Bytes) -> Option<Self> {
        // An empty key stands for the smallest one.
        let first = if key.is_empty() {
            Bytes::from_static(b"\0")
        } else {
            key.clone()
        };
        if range_end.is_empty() {
            return Some(Self::One(first));
        }
        if range_end.as_ref() == b"\0" {
            return Some(if first.as_ref() == b"\0" {
                Self::Prefix(Bytes::new())
            } else {
                Self::Between(first, None)
            });
        }
        if first >= range_end {
            return None;
        }
        if successor(&first).as_deref() == Some(range_end.as_ref()) {
            return Some(Self::Prefix(first));
        }
        Some(Self::Between(first, Some(range_end.clone())))
    }

    /// True if `key` is one of them.
    pub(super) fn contains(&self, key: &[u8]) -> bool {
        match self {
            Self::One(one) => one == key,
            Self::Prefix(prefix) => key.starts_with(prefix),
            Self::Between(first, end) => {
                first.as_ref() <= key && end.as_ref().is_none_or(|end| key < end.as_ref())
            }
        }
    }
}

/// The first key after all that begin with `prefix`.
fn successor(prefix: &[u8]) -> Option<Vec<u8>> {
    let last = prefix.iter().rposition(|byte| *byte != 0xff)?;
    let mut end = prefix.get(..=last)?.to_vec();
    *end.last_mut()? += 1;
    Some(end)
}

/// What a watcher wants to hear, wherever it began. Those who want the same are told the same.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Interest {
    /// Of these keys.
    pub(super) keys: Keys,
    /// With what was there before.
    pub(super) prev_kv: bool,
    /// Without writes.
    pub(super) no_put: bool,
    /// Without deletions.
    pub(super) no_delete: bool,
}

impl Interest {
    /// True for changes of this kind.
    pub(super) fn admits(&self, kind: EventKind) -> bool {
        match kind {
            EventKind::Put => !self.no_put,
            EventKind::Delete => !self.no_delete,
        }
    }
}

/// The number of a [`Group`].
pub(super) type GroupId = u64;

/// The synced watchers that have one interest.
#[derive(Debug)]
pub(super) struct Group {
    pub(super) interest: Interest,
    pub(super) watchers: BTreeSet<Address>,
}

/// All synced watchers by what they are for.
#[derive(Debug, Default)]
pub(super) struct Index {
    groups: BTreeMap<GroupId, Group>,
    next_group: GroupId,
    by_interest: BTreeMap<Interest, GroupId>,
    one: BTreeMap<Bytes, Vec<GroupId>>,
    prefix: BTreeMap<Bytes, Vec<GroupId>>,
    /// How many groups are for a prefix of that length.
    prefix_lengths: BTreeMap<usize, usize>,
    between: Vec<GroupId>,
}

impl Index {
    pub(super) fn insert(&mut self, interest: &Interest, address: Address) {
        if let Some(id) = self.by_interest.get(interest) {
            self.group_mut(*id).watchers.insert(address);
            return;
        }
        let id = self.next_group;
        self.next_group += 1;
        match &interest.keys {
            Keys::One(key) => self.one.entry(key.clone()).or_default().push(id),
            Keys::Prefix(prefix) => {
                *self.prefix_lengths.entry(prefix.len()).or_default() += 1;
                self.prefix.entry(prefix.clone()).or_default().push(id);
            }
            Keys::Between(..) => self.between.push(id),
        }
        self.by_interest.insert(interest.clone(), id);
        let group = Group {
            interest: interest.clone(),
            watchers: BTreeSet::from([address]),
        };
        self.groups.insert(id, group);
    }

    /// Takes out a watcher that was put in with this interest.
    pub(super) fn remove(&mut self, interest: &Interest, address: Address) {
        let Some(id) = self.by_interest.get(interest).copied() else {
            return;
        };
        let group = self.group_mut(id);
        group.watchers.remove(&address);
        if !group.watchers.is_empty() {
            return;
        }
        self.groups.remove(&id);
        self.by_interest.remove(interest);
        match &interest.keys {
            Keys::One(key) => take(&mut self.one, key, id),
            Keys::Prefix(prefix) => {
                take(&mut self.prefix, prefix, id);
                let count = self
                    .prefix_lengths
                    .get_mut(&prefix.len())
                    .expect("each group for a prefix is counted by its length");
                *count -= 1;
                if *count == 0 {
                    self.prefix_lengths.remove(&prefix.len());
                }
            }
            Keys::Between(..) => self.between.retain(|held| *held != id),
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.groups.is_empty()
    }

    /// The group of that number, which must be there.
    pub(super) fn group(&self, id: GroupId) -> &Group {
        self.groups.get(&id).expect("a group that is listed exists")
    }

    fn group_mut(&mut self, id: GroupId) -> &mut Group {
        self.groups
            .get_mut(&id)
            .expect("a group that is listed exists")
    }

    /// Calls `each` with every group that `key` concerns.
    pub(super) fn matching(&self, key: &[u8], mut each: impl FnMut(GroupId, &Interest)) {
        let mut all = |ids: &[GroupId]| {
            for id in ids {
                each(*id, &self.group(*id).interest);
            }
        };
        if let Some(ids) = self.one.get(key) {
            all(ids);
        }
        for length in self.prefix_lengths.keys() {
            let Some(prefix) = key.get(..*length) else {
                break;
            };
            if let Some(ids) = self.prefix.get(prefix) {
                all(ids);
            }
        }
        for id in &self.between {
            if self.group(*id).interest.keys.contains(key) {
                all(&[*id]);
            }
        }
    }
}

/// Removes a group from the list under `key`, and the list once it is empty.
fn take(lists: &mut BTreeMap<Bytes, Vec<GroupId>>, key: &Bytes, id: GroupId) {
    if let Some(list) = lists.get_mut(key) {
        list.retain(|held| *held != id);
        if list.is_empty() {
            lists.remove(key);
        }
    }
}

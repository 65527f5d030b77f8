//! Which synced watchers an event concerns.
//!
//! Nearly all watches are for one key or for a prefix. Those are found by look-up: the key itself,
//! and the key's first n bytes for each length n that some prefix has. The few others are
//! compared one by one.

use bytes::Bytes;
use std::collections::BTreeMap;

/// A watcher's address: its stream, and its number there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Address {
    pub(super) stream: u64,
    pub(super) watch: i64,
}

/// The keys a watcher is for.
#[derive(Clone, Debug, PartialEq, Eq)]
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

/// All synced watchers by what they are for.
#[derive(Debug, Default)]
pub(super) struct Index {
    one: BTreeMap<Bytes, Vec<Address>>,
    prefix: BTreeMap<Bytes, Vec<Address>>,
    prefix_lengths: BTreeMap<usize, usize>,
    between: Vec<(Keys, Address)>,
}

impl Index {
    pub(super) fn insert(&mut self, keys: &Keys, address: Address) {
        match keys {
            Keys::One(key) => self.one.entry(key.clone()).or_default().push(address),
            Keys::Prefix(prefix) => {
                *self.prefix_lengths.entry(prefix.len()).or_default() += 1;
                self.prefix.entry(prefix.clone()).or_default().push(address);
            }
            Keys::Between(..) => self.between.push((keys.clone(), address)),
        }
    }

    pub(super) fn remove(&mut self, keys: &Keys, address: Address) {
        match keys {
            Keys::One(key) => {
                take(&mut self.one, key, address);
            }
            Keys::Prefix(prefix) => {
                if take(&mut self.prefix, prefix, address) {
                    let count = self
                        .prefix_lengths
                        .get_mut(&prefix.len())
                        .expect("each prefix watcher is counted by its length");
                    *count -= 1;
                    if *count == 0 {
                        self.prefix_lengths.remove(&prefix.len());
                    }
                }
            }
            Keys::Between(..) => self.between.retain(|(_, held)| *held != address),
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.one.is_empty() && self.prefix.is_empty() && self.between.is_empty()
    }

    /// Calls `each` with every watcher that `key` concerns.
    pub(super) fn matching(&self, key: &[u8], mut each: impl FnMut(Address)) {
        if let Some(addresses) = self.one.get(key) {
            addresses.iter().copied().for_each(&mut each);
        }
        for length in self.prefix_lengths.keys() {
            let Some(prefix) = key.get(..*length) else {
                break;
            };
            if let Some(addresses) = self.prefix.get(prefix) {
                addresses.iter().copied().for_each(&mut each);
            }
        }
        for (keys, address) in &self.between {
            if keys.contains(key) {
                each(*address);
            }
        }
    }
}

/// Removes `address` from the list under `key`, and the list once it is empty.
fn take(lists: &mut BTreeMap<Bytes, Vec<Address>>, key: &Bytes, address: Address) -> bool {
    let Some(list) = lists.get_mut(key) else {
        return false;
    };
    let before = list.len();
    list.retain(|held| *held != address);
    let removed = list.len() < before;
    if list.is_empty() {
        lists.remove(key);
    }
    removed
}

//! Where each entry stands on the disk, and the latest entries themselves.

use crate::record::{Entry, Position};
use crate::segment::Segment;
use std::collections::VecDeque;
use std::ops::Range;
use std::sync::Arc;

/// Where one entry stands.
#[derive(Clone, Debug)]
pub(crate) struct Slot {
    pub(crate) epoch: u64,
    pub(crate) node: u64,
    pub(crate) segment: Arc<Segment>,
    /// Of its record, in the segment.
    pub(crate) offset: u32,
    /// Of its record, in bytes.
    pub(crate) length: u32,
}

/// The entries after the purged ones, in order and without gap.
#[derive(Debug, Default)]
pub(crate) struct Index {
    /// The index of the first slot, or of the next entry if there is none.
    first: u64,
    slots: VecDeque<Slot>,
    /// The last entries, without gap up to the last of all.
    cached: VecDeque<Entry>,
    cached_bytes: usize,
    /// Sum of the slots' lengths.
    record_bytes: u64,
}

impl Index {
    pub(crate) fn first(&self) -> u64 {
        self.first
    }

    /// One above the last index.
    pub(crate) fn end(&self) -> u64 {
        self.first + u64::try_from(self.slots.len()).expect("u64 holds a length")
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.slots.is_empty()
    }

    /// Bytes of all records of live entries.
    pub(crate) fn record_bytes(&self) -> u64 {
        self.record_bytes
    }

    pub(crate) fn slot(&self, index: u64) -> Option<&Slot> {
        let at = usize::try_from(index.checked_sub(self.first)?).ok()?;
        self.slots.get(at)
    }

    pub(crate) fn position(&self, index: u64) -> Option<Position> {
        self.slot(index).map(|slot| Position {
            epoch: slot.epoch,
            node: slot.node,
            index,
        })
    }

    /// The entry at `index`, if it is in memory.
    pub(crate) fn cached(&self, index: u64) -> Option<&Entry> {
        let first = self.end() - u64::try_from(self.cached.len()).expect("u64 holds a length");
        self.cached
            .get(usize::try_from(index.checked_sub(first)?).ok()?)
    }

    /// Adds the slot of the next entry; the first one decides where the log begins if nothing
    /// has been there before.
    pub(crate) fn push(&mut self, index: u64, slot: Slot) {
        if self.slots.is_empty() && self.first == 0 {
            self.first = index;
        }
        assert_eq!(index, self.end(), "log entries come without gap");
        self.record_bytes += u64::from(slot.length);
        self.slots.push_back(slot);
    }

    /// Keeps the entry whose slot was pushed last in memory.
    pub(crate) fn cache(&mut self, entry: Entry) {
        debug_assert_eq!(entry.position.index + 1, self.end());
        self.cached_bytes += cost(&entry);
        self.cached.push_back(entry);
    }

    /// Drops the oldest entries from memory until at most `bytes_max` are used; those at
    /// `written_end` and after are not on the disk yet and stay.
    pub(crate) fn shrink_cache(&mut self, bytes_max: usize, written_end: u64) {
        while self.cached_bytes > bytes_max {
            match self.cached.front() {
                Some(entry) if entry.position.index < written_end => {
                    self.cached_bytes -= cost(entry);
                    self.cached.pop_front();
                }
                Some(_) | None => break,
            }
        }
    }

    /// Drops the entries at `end` and after. If all of them lie before the first slot, the next
    /// entry is `end`.
    pub(crate) fn truncate(&mut self, end: u64) {
        while self.end() > end {
            let Some(slot) = self.slots.pop_back() else {
                break;
            };
            self.record_bytes -= u64::from(slot.length);
            if let Some(entry) = self.cached.pop_back() {
                self.cached_bytes -= cost(&entry);
            }
        }
        if self.slots.is_empty() {
            self.first = end;
        }
    }

    /// Drops the entries before `first`. If that is all of them, the next entry is `first`.
    pub(crate) fn purge(&mut self, first: u64) {
        while self.first < first {
            let Some(slot) = self.slots.pop_front() else {
                break;
            };
            self.record_bytes -= u64::from(slot.length);
            self.first += 1;
        }
        self.first = self.first.max(first);
        while self.cached.len() > self.slots.len() {
            let entry = self
                .cached
                .pop_front()
                .expect("longer than another is not empty");
            self.cached_bytes -= cost(&entry);
        }
    }

    /// The indexes of `range` that are in the log.
    pub(crate) fn clip(&self, range: Range<u64>) -> Range<u64> {
        range.start.max(self.first)..range.end.min(self.end())
    }

    /// The greatest index after which the records of live entries still take `bytes`.
    pub(crate) fn index_with_bytes_after(&self, bytes: u64) -> Option<u64> {
        let mut after = 0;
        let mut index = self.end();
        for slot in self.slots.iter().rev() {
            index -= 1;
            if after >= bytes {
                return Some(index);
            }
            after += u64::from(slot.length);
        }
        None
    }
}

/// Memory that a cached entry takes, in bytes.
fn cost(entry: &Entry) -> usize {
    size_of::<Entry>() + entry.payload.len()
}

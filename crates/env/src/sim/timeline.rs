//! What is to happen, in order of true time.

use super::kernel::Kernel;
use super::net::Envelope;
use super::state::Life;
use crate::Instant;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

/// What is to happen can be cancelled by this.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Key {
    slot: u32,
    /// Tells it from earlier uses of the slot.
    generation: u32,
}

pub(super) enum Due {
    /// A timer of this member rings.
    Ring { member: usize, waker: Waker },
    /// A message arrives.
    Arrive(Envelope),
}

/// A place in the order of events: by time, then by a tie-break drawn from the seed, so that
/// events of one moment come in any order, though always the same for a seed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Entry {
    at_ns: u64,
    tie: u64,
    slot: u32,
}

#[derive(Default)]
struct Slot {
    generation: u32,
    /// Where in the heap the entry is.
    position: usize,
    due: Option<Due>,
}

/// How many children a node of the heap has: flatter than two, and in one line of the cache.
const CHILDREN: usize = 4;

/// A heap whose entries know their place, since most timers are cancelled long before they ring:
/// they go at once instead of piling up.
#[derive(Default)]
pub(super) struct Timeline {
    heap: Vec<Entry>,
    slots: Vec<Slot>,
    free: Vec<u32>,
}

impl Timeline {
    pub(super) fn insert(&mut self, at_ns: u64, tie: u64, due: Due) -> Key {
        let slot = self.free.pop().unwrap_or_else(|| {
            self.slots.push(Slot::default());
            u32::try_from(self.slots.len() - 1).expect("fewer timers than 2^32")
        });
        let held = &mut self.slots[slot as usize];
        held.due = Some(due);
        let generation = held.generation;
        self.heap.push(Entry { at_ns, tie, slot });
        self.rise(self.heap.len() - 1);
        Key { slot, generation }
    }

    /// Cancels what has not happened yet.
    pub(super) fn remove(&mut self, key: Key) -> Option<Due> {
        // A world that has ended keeps no slots.
        let slot = self.slots.get(key.slot as usize)?;
        let (generation, position) = (slot.generation, slot.position);
        (generation == key.generation).then(|| self.take(position))
    }

    /// When the next event is due. What is due at the end of time never happens.
    pub(super) fn next_ns(&self) -> Option<u64> {
        let first = self.heap.first()?;
        (first.at_ns < u64::MAX).then_some(first.at_ns)
    }

    pub(super) fn pop(&mut self) -> Option<Due> {
        (!self.heap.is_empty()).then(|| self.take(0))
    }

    /// Takes out the timers of a member whose clock has changed, so that they look again.
    pub(super) fn take_timers(&mut self, member: usize) -> Vec<Waker> {
        let of_member = |slot: &Slot| match &slot.due {
            Some(Due::Ring { member: of, .. }) => *of == member,
            Some(Due::Arrive(_)) | None => false,
        };
        let entries = self.heap.iter();
        let of_member = entries.filter(|entry| of_member(&self.slots[entry.slot as usize]));
        let mut taken: Vec<_> = of_member.copied().collect();
        taken.sort_unstable();
        let waker = |entry: &Entry| match self.take(self.slots[entry.slot as usize].position) {
            Due::Ring { waker, .. } => Some(waker),
            Due::Arrive(_) => None,
        };
        taken.iter().filter_map(waker).collect()
    }

    /// Takes out what is at a position of the heap.
    fn take(&mut self, position: usize) -> Due {
        let entry = self.heap.swap_remove(position);
        if position < self.heap.len() {
            self.rise(position);
            self.sink(self.slots[self.heap[position].slot as usize].position);
        }
        let slot = &mut self.slots[entry.slot as usize];
        slot.generation = slot.generation.wrapping_add(1);
        self.free.push(entry.slot);
        let due = slot.due.take();
        due.expect("what is in the heap has a slot")
    }

    fn put(&mut self, position: usize, entry: Entry) {
        self.heap[position] = entry;
        self.slots[entry.slot as usize].position = position;
    }

    fn rise(&mut self, mut position: usize) {
        let entry = self.heap[position];
        while position > 0 {
            let above = (position - 1) / CHILDREN;
            if self.heap[above] <= entry {
                break;
            }
            self.put(position, self.heap[above]);
            position = above;
        }
        self.put(position, entry);
    }

    fn sink(&mut self, mut position: usize) {
        let entry = self.heap[position];
        loop {
            let first = position * CHILDREN + 1;
            let children = first..(first + CHILDREN).min(self.heap.len());
            let Some(least) = children.min_by_key(|child| self.heap[*child]) else {
                break;
            };
            if entry <= self.heap[least] {
                break;
            }
            self.put(position, self.heap[least]);
            position = least;
        }
        self.put(position, entry);
    }
}

/// What a wait is for.
#[derive(Clone, Copy)]
pub(super) enum Moment {
    /// A reading of the member's timer clock.
    Local(Instant),
    /// A moment of true time.
    True(u64),
}

/// Ends when a moment is reached; never for a member that is gone.
pub(super) struct Sleep {
    kernel: Arc<Kernel>,
    life: Life,
    until: Moment,
    key: Option<Key>,
}

impl Sleep {
    pub(super) fn new(kernel: Arc<Kernel>, life: Life, until: Moment) -> Self {
        Self {
            kernel,
            life,
            until,
            key: None,
        }
    }
}

impl Future for Sleep {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let this = &mut *self;
        let mut guard = this.kernel.lock();
        let state = &mut *guard;
        let before = this.key.take().and_then(|key| state.timeline.remove(key));
        if !state.is_alive(this.life) {
            drop(guard);
            return Poll::Pending;
        }
        // The clock decides, not the timer: it may have been changed since.
        let (over, at_ns) = match this.until {
            Moment::True(at_ns) => (state.now_ns >= at_ns, at_ns),
            Moment::Local(at) => {
                let clocks = &state.members[this.life.member].clocks;
                (clocks.now(state.now_ns) >= at, clocks.reaches(at))
            }
        };
        let result = if over {
            Poll::Ready(())
        } else {
            let due = Due::Ring {
                member: this.life.member,
                waker: cx.waker().clone(),
            };
            let clocks = &state.members[this.life.member].clocks;
            let skewed = matches!(this.until, Moment::Local(_)) && clocks.is_skewed();
            state.faults.timers_skewed += u64::from(skewed);
            let tie = state.choices.bits();
            this.key = Some(state.timeline.insert(at_ns, tie, due));
            Poll::Pending
        };
        drop(guard);
        drop(before);
        result
    }
}

impl Drop for Sleep {
    fn drop(&mut self) {
        if let Some(key) = self.key {
            let due = self.kernel.lock().timeline.remove(key);
            drop(due);
        }
    }
}

#[cfg(test)]
mod tests;

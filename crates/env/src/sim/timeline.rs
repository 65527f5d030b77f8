//! What is to happen, in order of true time.

use super::kernel::{Kernel, Life};
use super::net::Envelope;
use crate::Instant;
use std::collections::BTreeMap;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

/// A place in the order of events: by time, then by a tie-break drawn from the seed, so that
/// events of one moment come in any order, though always the same for a seed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Key {
    pub(super) at_ns: u64,
    tie: u64,
    sequence: u64,
}

pub(super) enum Due {
    /// A timer of this member rings.
    Ring { member: usize, waker: Waker },
    /// A message arrives.
    Arrive(Envelope),
}

/// A tree rather than a heap: most timers are cancelled long before they ring, and then go at
/// once instead of piling up.
#[derive(Default)]
pub(super) struct Timeline {
    due: BTreeMap<Key, Due>,
    sequence: u64,
}

impl Timeline {
    pub(super) fn insert(&mut self, at_ns: u64, tie: u64, due: Due) -> Key {
        self.sequence += 1;
        let key = Key {
            at_ns,
            tie,
            sequence: self.sequence,
        };
        self.due.insert(key, due);
        key
    }

    pub(super) fn remove(&mut self, key: Key) -> Option<Due> {
        self.due.remove(&key)
    }

    /// When the next event is due. What is due at the end of time never happens.
    pub(super) fn next_ns(&self) -> Option<u64> {
        let (key, _) = self.due.first_key_value()?;
        (key.at_ns < u64::MAX).then_some(key.at_ns)
    }

    pub(super) fn pop(&mut self) -> Option<Due> {
        self.due.pop_first().map(|(_, due)| due)
    }

    /// Takes out the timers of a member whose clock has changed, so that they look again.
    pub(super) fn take_timers(&mut self, member: usize) -> Vec<Waker> {
        let of_member = |_: &Key, due: &mut Due| match due {
            Due::Ring { member: of, .. } => *of == member,
            Due::Arrive(_) => false,
        };
        let taken = self.due.extract_if(.., of_member);
        let waker = |(_, due)| match due {
            Due::Ring { waker, .. } => Some(waker),
            Due::Arrive(_) => None,
        };
        taken.filter_map(waker).collect()
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

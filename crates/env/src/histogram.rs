//! How long things took, counted by size: what a monitor needs of them, in a few hundred bytes.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// Bounds of a histogram; beyond the last is one more count.
const BOUNDS: usize = 19;

/// The smallest bound. Each next one is twice as large, so that 1 ms is one of them and the last
/// is 16.384 s.
const SMALLEST: Duration = Duration::from_nanos(62_500);

/// Counts durations by powers of two. Recording is two additions; nobody waits.
#[derive(Debug, Default)]
pub struct Histogram {
    counts: [AtomicU64; BOUNDS + 1],
    sum_ns: AtomicU64,
}

/// What a histogram had counted at some moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Counted {
    /// Upper bounds, and how many durations were not longer.
    pub up_to: Vec<(Duration, u64)>,
    /// How many there were.
    pub count: u64,
    /// All of them together.
    pub sum: Duration,
}

impl Histogram {
    /// Counts one duration.
    pub fn record(&self, took: Duration) {
        let smallest = SMALLEST.as_nanos();
        // The number of doublings that reach it.
        let at = took.as_nanos().div_ceil(smallest).max(1) - 1;
        let at = usize::try_from(u128::BITS - at.leading_zeros()).unwrap_or(BOUNDS);
        self.counts[at.min(BOUNDS)].fetch_add(1, Ordering::Relaxed);
        let took_ns = u64::try_from(took.as_nanos()).unwrap_or(u64::MAX);
        self.sum_ns.fetch_add(took_ns, Ordering::Relaxed);
    }

    /// What has been counted so far.
    #[must_use]
    pub fn counted(&self) -> Counted {
        let mut count = 0;
        let mut bound = SMALLEST;
        let mut up_to = Vec::with_capacity(BOUNDS);
        for counter in &self.counts[..BOUNDS] {
            count += counter.load(Ordering::Relaxed);
            up_to.push((bound, count));
            bound *= 2;
        }
        count += self.counts[BOUNDS].load(Ordering::Relaxed);
        Counted {
            up_to,
            count,
            sum: Duration::from_nanos(self.sum_ns.load(Ordering::Relaxed)),
        }
    }
}

#[cfg(test)]
mod tests;

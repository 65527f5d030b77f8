//! Intended start times, evenly spaced, for load that does not wait for the server.

use crate::outside;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tokio::sync::Semaphore;

/// Lets operations through one by one as their times come.
pub(super) struct Schedule {
    interval_ns: f64,
    begun_ns: AtomicU64,
    taken: AtomicU64,
    last: AtomicU64,
    due: Semaphore,
}

/// The pacer looks at least that often whether it should end.
const LOOK_EVERY: Duration = Duration::from_millis(10);

impl Schedule {
    /// Starts pacing at `rate` a second while `goes_on`. At the end each of `takers` is told.
    ///
    /// It has a thread of its own: the runtime's timers count in milliseconds, which would show
    /// up in every latency.
    pub(super) fn start(
        rate: f64,
        takers: usize,
        elapsed_ns: impl Fn() -> u64 + Send + 'static,
        goes_on: impl Fn() -> bool + Send + 'static,
    ) -> Arc<Self> {
        let schedule = Arc::new(Self {
            interval_ns: 1e9 / rate,
            begun_ns: AtomicU64::new(elapsed_ns()),
            taken: AtomicU64::new(0),
            last: AtomicU64::new(u64::MAX),
            due: Semaphore::new(0),
        });
        let pacer = Arc::clone(&schedule);
        outside::spawn_thread(move || pacer.pace(takers, elapsed_ns, goes_on));
        schedule
    }

    fn pace(&self, takers: usize, elapsed_ns: impl Fn() -> u64, goes_on: impl Fn() -> bool) {
        let mut released = 0;
        while goes_on() {
            let now = elapsed_ns();
            let mut due = 0;
            while self.intended_ns(released) <= now {
                released += 1;
                due += 1;
            }
            self.due.add_permits(due);
            let wait = self.intended_ns(released).saturating_sub(elapsed_ns());
            outside::sleep_blocking(Duration::from_nanos(wait).min(LOOK_EVERY));
        }
        self.last.store(released, Ordering::Relaxed);
        self.due.add_permits(takers);
    }

    fn intended_ns(&self, number: u64) -> u64 {
        let after = (number as f64 * self.interval_ns).round();
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "not negative, and years of nanoseconds fit"
        )]
        let after = after as u64;
        self.begun_ns.load(Ordering::Relaxed) + after
    }

    /// The intended start of the next operation, once it is due; `None` at the end.
    pub(super) async fn next(&self) -> Option<u64> {
        self.due.acquire().await.ok()?.forget();
        let number = self.taken.fetch_add(1, Ordering::Relaxed);
        (number < self.last.load(Ordering::Relaxed)).then(|| self.intended_ns(number))
    }
}

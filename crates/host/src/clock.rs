//! The machine's clocks, and waiting for them.

use rustix::time::{ClockId, DynamicClockId, Timespec, clock_gettime, clock_gettime_dynamic};
use std::io;
use std::time::Duration;
use synod_env::{Instant, Reading, WallTime};

/// What tokio's timers round up to.
const TIMER_RESOLUTION: Duration = Duration::from_millis(1);

/// How long a timer may run before the clock is looked at again. Timers follow
/// `CLOCK_MONOTONIC`, which stands still while the machine is suspended.
const RECHECK_AFTER: Duration = Duration::from_secs(1);

fn nanos(at: Timespec) -> u64 {
    let Timespec { tv_sec, tv_nsec } = at;
    let nanos = i128::from(tv_sec) * 1_000_000_000 + i128::from(tv_nsec);
    u64::try_from(nanos.max(0)).expect("64 bits of nanoseconds last 584 years")
}

/// Sees to it that the clocks can be read later without looking for errors.
pub(crate) fn check() -> io::Result<()> {
    clock_gettime_dynamic(DynamicClockId::Boottime)?;
    Ok(())
}

pub(crate) fn now() -> Instant {
    Instant::from_nanos(nanos(clock_gettime(ClockId::Boottime)))
}

/// A reading is made of three clocks, read one after the other within this time if possible.
const READ_WITHIN_NS: u64 = 1_000;

/// Being preempted this often in so short a time means that the machine is overloaded, and then
/// a reading that is off by the preemption has to do.
const READ_ATTEMPTS: u32 = 8;

pub(crate) fn reading() -> Reading {
    let mut attempts = 0;
    loop {
        let boot_ns = nanos(clock_gettime(ClockId::Boottime));
        let monotonic_ns = nanos(clock_gettime(ClockId::Monotonic));
        let raw_ns = nanos(clock_gettime(ClockId::MonotonicRaw));
        let after_ns = nanos(clock_gettime(ClockId::Boottime));
        attempts += 1;
        if after_ns.saturating_sub(boot_ns) > READ_WITHIN_NS && attempts < READ_ATTEMPTS {
            continue;
        }
        // These two tick together but for suspend, which only the first counts.
        let suspended_ns = boot_ns.saturating_sub(monotonic_ns);
        return Reading {
            boot_ns,
            raw_ns: raw_ns.saturating_add(suspended_ns),
        };
    }
}

pub(crate) fn wall() -> WallTime {
    let Timespec { tv_sec, tv_nsec } = clock_gettime(ClockId::Realtime);
    WallTime(tv_sec * 1_000 + tv_nsec / 1_000_000)
}

/// Ends at `at`. Timers wake, the clock decides.
///
/// Must be polled inside a tokio runtime with timers, unless it is over already or shorter than
/// the timers' resolution.
#[expect(
    clippy::disallowed_methods,
    reason = "this is the door through which Env::sleep reaches the machine"
)]
pub(crate) async fn sleep_until(at: Instant) {
    // A millisecond is an age to who asked for a microsecond: such a wait yields to other tasks
    // until it is over, and keeps the thread awake meanwhile.
    if at.saturating_since(now()) < TIMER_RESOLUTION {
        while now() < at {
            tokio::task::yield_now().await;
        }
        return;
    }
    loop {
        let left = at.saturating_since(now());
        if left.is_zero() {
            return;
        }
        tokio::time::sleep(left.min(RECHECK_AFTER)).await;
    }
}

//! Points in time and how far apart they are.
//!
//! Three kinds of clock exist and are never mixed:
//! - [`Instant`] schedules: when to wake, when a wait ends. It counts suspend.
//! - [`Reading`] decides: two of them give the least and the most time that can have passed.
//! - [`WallTime`] is shown to people and decides nothing.

use std::fmt;
use std::ops::{Add, Sub};
use std::time::Duration;

/// A point on one member's timer clock, in nanoseconds since an arbitrary start.
///
/// It never goes back and it counts suspend (`CLOCK_BOOTTIME`). Instants of two members, or of
/// two runs of the same member on another boot of the machine, cannot be compared.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Instant(u64);

impl Instant {
    /// The start of the clock.
    pub const ZERO: Self = Self(0);
    /// Later than every instant a clock can show.
    pub const NEVER: Self = Self(u64::MAX);

    /// The instant `nanos` nanoseconds after the start of the clock.
    #[must_use]
    pub const fn from_nanos(nanos: u64) -> Self {
        Self(nanos)
    }

    /// Nanoseconds since the start of the clock.
    #[must_use]
    pub const fn as_nanos(self) -> u64 {
        self.0
    }

    /// Time from `earlier` to `self`, or zero if `earlier` is not earlier.
    #[must_use]
    pub const fn saturating_since(self, earlier: Self) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }
}

impl Add<Duration> for Instant {
    type Output = Self;

    /// Saturates at [`Instant::NEVER`].
    fn add(self, after: Duration) -> Self {
        let nanos = u64::try_from(after.as_nanos()).unwrap_or(u64::MAX);
        Self(self.0.saturating_add(nanos))
    }
}

impl Sub<Duration> for Instant {
    type Output = Self;

    /// Saturates at [`Instant::ZERO`].
    fn sub(self, before: Duration) -> Self {
        let nanos = u64::try_from(before.as_nanos()).unwrap_or(u64::MAX);
        Self(self.0.saturating_sub(nanos))
    }
}

impl fmt::Display for Instant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{}.{:06}s",
            self.0 / 1_000_000_000,
            self.0 % 1_000_000_000 / 1_000
        )
    }
}

/// The decision clock at one moment: two oscillator readings, both counting suspend.
///
/// `boot` is `CLOCK_BOOTTIME`, which a time daemon may slew by percents; `raw` is
/// `CLOCK_MONOTONIC_RAW` plus the time spent suspended, which nobody slews. What lies between
/// two readings is not a number but a pair of bounds, see [`Reading::since`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Reading {
    /// `CLOCK_BOOTTIME` in nanoseconds.
    pub boot_ns: u64,
    /// `CLOCK_MONOTONIC_RAW` plus suspend, in nanoseconds.
    pub raw_ns: u64,
}

/// The least and the most time that can have passed between two readings.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Elapsed {
    /// Whoever *grants* (an expiry, a new leader) waits until this has passed.
    pub min: Duration,
    /// Whoever *holds* (a lease, a lock) counts this.
    pub max: Duration,
}

/// Assumed worst error of an oscillator's rate, in parts per million.
///
/// Spanner assumes 200 ppm between synchronizations (Corbett et al., OSDI 2012).
pub const RATE_ERROR_PPM: u64 = 200;

/// Granularity added to each bound, in nanoseconds.
const GRANULARITY_NS: u64 = 1_000;

impl Reading {
    /// Bounds on the time from `earlier` to `self`. Both are zero when `earlier` is later.
    #[must_use]
    pub fn since(self, earlier: Self) -> Elapsed {
        let boot = self.boot_ns.saturating_sub(earlier.boot_ns);
        let raw = self.raw_ns.saturating_sub(earlier.raw_ns);
        let low = boot.min(raw);
        let high = boot.max(raw);
        let error = |nanos: u64| nanos / 1_000_000 * RATE_ERROR_PPM + GRANULARITY_NS;
        Elapsed {
            min: Duration::from_nanos(low.saturating_sub(error(low))),
            max: Duration::from_nanos(high.saturating_add(error(high))),
        }
    }
}

/// Milliseconds since 1970-01-01 UTC as this machine believes. For people, never for decisions.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct WallTime(pub i64);

#[cfg(test)]
mod tests;

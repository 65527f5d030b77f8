//! A member's clocks, as functions of true time.

use super::Choices;
use crate::{Instant, Reading, WallTime};
use std::time::Duration;

/// Parts of a clock's own time per million parts of true time, for a clock that runs true.
const TRUE_RATE: u64 = 1_000_000;

/// Wall time at the start of every world: 2026-01-01 00:00:00 UTC, in nanoseconds.
const WALL_START_NS: u64 = 1_767_225_600_000_000_000;

/// A clock that runs at a constant rate since a moment at which both times are known.
#[derive(Clone, Copy, Debug)]
pub(super) struct Line {
    true_ns: u64,
    local_ns: u64,
    rate: u64,
}

impl Line {
    pub(super) fn new(true_ns: u64, local_ns: u64) -> Self {
        Self {
            true_ns,
            local_ns,
            rate: TRUE_RATE,
        }
    }

    /// What the clock shows at `true_ns`, rounded down.
    pub(super) fn read(&self, true_ns: u64) -> u64 {
        let passed = true_ns.saturating_sub(self.true_ns);
        let shown = if self.rate == TRUE_RATE {
            passed
        } else {
            let parts = u128::from(passed) * u128::from(self.rate) / u128::from(TRUE_RATE);
            u64::try_from(parts).unwrap_or(u64::MAX)
        };
        self.local_ns.saturating_add(shown)
    }

    /// The first moment of true time at which the clock shows `local_ns` or more; `u64::MAX` if it
    /// never does. Rounding down instead would name a moment at which the clock is not there yet,
    /// and a sleep that looks again would spin there for ever.
    pub(super) fn reaches(&self, local_ns: u64) -> u64 {
        let Some(missing) = local_ns.checked_sub(self.local_ns) else {
            return self.true_ns;
        };
        if self.rate == 0 || local_ns == u64::MAX {
            return if missing == 0 { self.true_ns } else { u64::MAX };
        }
        let passed = (u128::from(missing) * u128::from(TRUE_RATE)).div_ceil(self.rate.into());
        let passed = u64::try_from(passed).unwrap_or(u64::MAX);
        self.true_ns.saturating_add(passed)
    }

    /// Goes on from what it shows at `true_ns`, at another rate.
    fn set_rate(&mut self, true_ns: u64, error_ppm: i64) {
        let rate = TRUE_RATE.saturating_add_signed(error_ppm);
        *self = Self {
            true_ns,
            local_ns: self.read(true_ns),
            rate,
        };
    }

    fn jump(&mut self, by_ns: u64) {
        self.local_ns = self.local_ns.saturating_add(by_ns);
    }
}

/// How far the rates of a member's clocks are off, in parts per million of true time; -1,000,000
/// or less stops a clock.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ClockRates {
    /// Of the timer clock, which is also the `boot` part of the decision clock.
    pub boot_ppm: i64,
    /// Of the `raw` part of the decision clock.
    pub raw_ppm: i64,
    /// Of the wall clock.
    pub wall_ppm: i64,
}

/// The clocks of one member's machine.
#[derive(Debug)]
pub(super) struct Clocks {
    boot: Line,
    raw: Line,
    wall: Line,
    /// Since when the machine has been frozen: its clocks show what they showed then.
    frozen_ns: Option<u64>,
    /// The wall clock has been set.
    pub(super) wall_was_set: bool,
}

impl Clocks {
    /// Clocks of a machine just switched on: timer clocks start anywhere in the first quarter of
    /// an hour, so that nobody can rely on instants of two boots or two members being comparable.
    pub(super) fn switched_on(true_ns: u64, choices: &mut Choices) -> Self {
        let mut start = || 1_000_000_000 + choices.below(900_000_000_000);
        Self {
            boot: Line::new(true_ns, start()),
            raw: Line::new(true_ns, start()),
            wall: Line::new(true_ns, WALL_START_NS.saturating_add(true_ns)),
            frozen_ns: None,
            wall_was_set: false,
        }
    }

    /// A reboot: the timer clocks start anew, the wall clock (which has a battery) runs on.
    pub(super) fn reboot(&mut self, true_ns: u64, choices: &mut Choices) {
        self.thaw(true_ns);
        let mut start = || 1_000_000_000 + choices.below(900_000_000_000);
        let restart = |line: &mut Line, local_ns| {
            line.true_ns = true_ns;
            line.local_ns = local_ns;
        };
        restart(&mut self.boot, start());
        restart(&mut self.raw, start());
    }

    /// True time as far as the clocks have noticed.
    fn noticed(&self, true_ns: u64) -> u64 {
        self.frozen_ns.unwrap_or(true_ns)
    }

    /// All clocks stop.
    pub(super) fn freeze(&mut self, true_ns: u64) {
        self.frozen_ns.get_or_insert(true_ns);
    }

    /// The clocks go on from what they show, and catch nothing up.
    pub(super) fn thaw(&mut self, true_ns: u64) {
        if let Some(frozen_ns) = self.frozen_ns.take() {
            for line in [&mut self.boot, &mut self.raw, &mut self.wall] {
                line.true_ns += true_ns - frozen_ns;
            }
        }
    }

    /// The timer clock runs at another rate than true time.
    pub(super) fn is_skewed(&self) -> bool {
        self.boot.rate != TRUE_RATE
    }

    pub(super) fn now(&self, true_ns: u64) -> Instant {
        Instant::from_nanos(self.boot.read(self.noticed(true_ns)))
    }

    pub(super) fn reading(&self, true_ns: u64) -> Reading {
        let true_ns = self.noticed(true_ns);
        Reading {
            boot_ns: self.boot.read(true_ns),
            raw_ns: self.raw.read(true_ns),
        }
    }

    pub(super) fn wall(&self, true_ns: u64) -> WallTime {
        let millis = self.wall.read(self.noticed(true_ns)) / 1_000_000;
        WallTime(i64::try_from(millis).expect("64-bit nanoseconds in milliseconds fit"))
    }

    /// True time at which the timer clock shows `at`; the end of time while it is frozen.
    pub(super) fn reaches(&self, at: Instant) -> u64 {
        match self.frozen_ns {
            None => self.boot.reaches(at.as_nanos()),
            Some(_) => u64::MAX,
        }
    }

    pub(super) fn set_rates(&mut self, true_ns: u64, rates: ClockRates) {
        let ClockRates {
            boot_ppm,
            raw_ppm,
            wall_ppm,
        } = rates;
        let true_ns = self.noticed(true_ns);
        self.boot.set_rate(true_ns, boot_ppm);
        self.raw.set_rate(true_ns, raw_ppm);
        self.wall.set_rate(true_ns, wall_ppm);
    }

    /// Timer and decision clock jump ahead together.
    pub(super) fn jump(&mut self, ahead: Duration) {
        let by_ns = u64::try_from(ahead.as_nanos()).unwrap_or(u64::MAX);
        self.boot.jump(by_ns);
        self.raw.jump(by_ns);
    }

    /// The wall clock is set, forwards or backwards.
    pub(super) fn step_wall(&mut self, by_ms: i64) {
        self.wall_was_set = true;
        let by_ns = by_ms.saturating_mul(1_000_000);
        self.wall.local_ns = self.wall.local_ns.saturating_add_signed(by_ns);
    }
}

#[cfg(test)]
mod tests;

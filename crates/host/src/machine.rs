//! The machine's clocks and randomness, for programs that are no members and so have no
//! [`Env`](synod_env::Env): clients and tools.

use crate::clock;
use std::io;
use synod_env::{Instant, Reading};

/// Sees to it that the other functions can be called without looking for errors.
///
/// # Errors
/// If the machine lacks a clock or gives no randomness.
pub fn check() -> io::Result<()> {
    clock::check()?;
    crate::random().map(drop)
}

/// The timer clock.
#[must_use]
pub fn now() -> Instant {
    clock::now()
}

/// The decision clock.
#[must_use]
pub fn clock() -> Reading {
    clock::reading()
}

/// 64 random bits.
///
/// # Panics
/// If the machine gives none, which [`check`] finds out.
#[must_use]
pub fn random() -> u64 {
    crate::random().expect("getrandom does not fail once it has succeeded")
}

/// Ends at `at` on the timer clock, never before. Must be polled inside a tokio runtime with
/// timers.
pub async fn sleep_until(at: Instant) {
    clock::sleep_until(at).await;
}

//! How much asking again a client may do.

use std::time::Duration;
use synod_env::Instant;

/// Limits on attempts beyond the first.
///
/// When a service is overloaded, clients that ask again multiply the load that made it fail. So
/// attempts beyond the first draw on a bucket that calls and time fill, as in Finagle's
/// `RetryBudget` and gRPC's retry throttling: a few are always possible, many only in proportion
/// to calls.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BudgetConfig {
    /// Further attempts that each hundred calls allow.
    pub per_hundred_calls: u32,
    /// Further attempts that each second allows, at least one.
    pub per_second: u32,
    /// Most that can be saved up, at least one.
    pub saved_max: u32,
}

impl Default for BudgetConfig {
    fn default() -> Self {
        Self {
            per_hundred_calls: 20,
            per_second: 10,
            saved_max: 50,
        }
    }
}

/// The bucket. It begins full.
#[derive(Clone, Debug)]
pub struct Budget {
    config: BudgetConfig,
    /// Billionths of an attempt, so that a nanosecond of filling is a whole number.
    saved_nano: u64,
    filled_at: Instant,
}

/// Billionths in one attempt.
const ONE_NANO: u64 = 1_000_000_000;

impl Budget {
    /// A full bucket.
    #[must_use]
    pub fn new(config: BudgetConfig) -> Self {
        let config = BudgetConfig {
            per_second: config.per_second.max(1),
            saved_max: config.saved_max.max(1),
            ..config
        };
        Self {
            config,
            saved_nano: u64::from(config.saved_max) * ONE_NANO,
            filled_at: Instant::ZERO,
        }
    }

    /// A call begins: it allows part of a further attempt, to whichever call needs it.
    pub fn call(&mut self) {
        let per_call_nano = u64::from(self.config.per_hundred_calls) * (ONE_NANO / 100);
        self.add(per_call_nano);
    }

    /// Takes one further attempt out of the bucket.
    ///
    /// # Errors
    /// When there will be one at the latest, if none is left.
    pub fn take(&mut self, now: Instant) -> Result<(), Instant> {
        let waited = now.saturating_since(self.filled_at);
        self.filled_at = self.filled_at.max(now);
        let waited_ns = u64::try_from(waited.as_nanos()).unwrap_or(u64::MAX);
        self.add(waited_ns.saturating_mul(self.config.per_second.into()));
        match self.saved_nano.checked_sub(ONE_NANO) {
            Some(rest) => {
                self.saved_nano = rest;
                Ok(())
            }
            None => {
                let missing = ONE_NANO - self.saved_nano;
                let wait_ns = missing.div_ceil(self.config.per_second.into());
                Err(now + Duration::from_nanos(wait_ns))
            }
        }
    }

    fn add(&mut self, nano: u64) {
        let most = u64::from(self.config.saved_max) * ONE_NANO;
        self.saved_nano = self.saved_nano.saturating_add(nano).min(most);
    }
}

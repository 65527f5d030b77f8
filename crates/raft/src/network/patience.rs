//! How long to wait for an answer, learned from those that came.

use std::time::Duration;

/// Never less: answers that are a little late are the rule on a busy machine.
const LEAST: Duration = Duration::from_millis(40);
/// Never more, so that a member that comes back is noticed.
const MOST: Duration = Duration::from_secs(2);

/// The estimator of TCP's retransmission timer (RFC 6298): a smoothed mean of the times that
/// answers took, and four times their smoothed deviation on top; doubled each time the wait was
/// in vain. An answer takes a round trip and the other side's sync of its disk, and both can
/// change by orders of magnitude while a cluster runs: a fixed limit would be too long for one
/// lost message or too short for a slow disk, and a limit that is too short makes an overloaded
/// member do everything twice.
#[derive(Clone, Debug)]
pub(super) struct Patience {
    smoothed: Option<Smoothed>,
    wait: Duration,
}

#[derive(Clone, Copy, Debug)]
struct Smoothed {
    mean: Duration,
    deviation: Duration,
}

impl Patience {
    /// Waits so long as long as no answer came.
    pub(super) fn new(first: Duration) -> Self {
        Self {
            smoothed: None,
            wait: first.clamp(LEAST, MOST),
        }
    }

    /// How long to wait for the answer to a request sent now.
    pub(super) fn wait(&self) -> Duration {
        self.wait
    }

    /// An answer took so long.
    pub(super) fn answered(&mut self, took: Duration) {
        let next = match self.smoothed {
            None => Smoothed {
                mean: took,
                deviation: took / 2,
            },
            Some(Smoothed { mean, deviation }) => Smoothed {
                mean: (mean * 7 + took) / 8,
                deviation: (deviation * 3 + mean.abs_diff(took)) / 4,
            },
        };
        self.smoothed = Some(next);
        self.wait = (next.mean + 4 * next.deviation).clamp(LEAST, MOST);
    }

    /// No answer came in time.
    pub(super) fn in_vain(&mut self) {
        self.wait = (self.wait * 2).min(MOST);
    }
}

#[cfg(test)]
mod tests;

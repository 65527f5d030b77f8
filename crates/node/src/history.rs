//! When which history is forgotten: etcd's automatic compaction.
//!
//! By revisions: every five minutes, all but the last so many. By time: every hour, or every
//! period if that is shorter, what was superseded more than a period ago. For that each member
//! notes every tenth of the interval which revision is the present one; the wall clock is never
//! asked. After a start a whole period passes before anything is forgotten, since how old the
//! revisions before it are nobody knows.

use std::collections::VecDeque;
use std::time::Duration;
use synod_env::{HistoryKeep, Instant};
use synod_state::command::Revision;

/// How often history is looked at that is kept by revisions.
const REVISIONS_EVERY: Duration = Duration::from_secs(300);

/// The longest time between two compactions by time.
const INTERVAL_MAX: Duration = Duration::from_secs(3_600);

/// Notes in one interval; a compaction that failed is tried again with the next.
const NOTES_PER_INTERVAL: u32 = 10;

/// Most notes that are kept. With longer periods there is more time between them.
const NOTES_MAX: u32 = 1_000;

/// What one member knows of the age of revisions, and when it forgets the next.
#[derive(Debug)]
pub(crate) struct History {
    keep: HistoryKeep,
    /// The present revision at each look, the oldest first.
    notes: VecDeque<Revision>,
    look_at: Instant,
    /// When a compaction was last applied, or the first could have been noted.
    forgot_at: Instant,
    /// Up to where that was.
    forgotten: Revision,
    /// The first period is over.
    had_period: bool,
}

impl Default for History {
    fn default() -> Self {
        Self::new(HistoryKeep::Everything, Instant::NEVER)
    }
}

impl History {
    fn new(keep: HistoryKeep, now: Instant) -> Self {
        Self {
            keep,
            notes: VecDeque::new(),
            look_at: now,
            forgot_at: now,
            forgotten: 0,
            had_period: false,
        }
    }

    /// The revision before which history is to be forgotten now, if it is time for that and this
    /// member `leads`. `keep` may change at any time; everything begins anew then.
    pub(crate) fn tick(
        &mut self,
        now: Instant,
        keep: HistoryKeep,
        present: Revision,
        leads: bool,
    ) -> Option<Revision> {
        if keep != self.keep {
            *self = Self::new(keep, now);
            if let HistoryKeep::Revisions(_) = keep {
                self.look_at = now + REVISIONS_EVERY;
            }
        }
        if now < self.look_at {
            return None;
        }
        match keep {
            HistoryKeep::Everything => {
                self.look_at = Instant::NEVER;
                None
            }
            HistoryKeep::Revisions(count) => {
                self.look_at = now + REVISIONS_EVERY;
                let due = present.saturating_sub_unsigned(count);
                (leads && due > 0 && due != self.forgotten).then_some(due)
            }
            HistoryKeep::For(period) => {
                let due = self.due(now, period, leads);
                let every = note_every(period);
                self.look_at = now + every;
                self.notes.push_back(present);
                if self.notes.len() as u128 > notes(period, every) {
                    self.notes.pop_front();
                }
                due
            }
        }
    }

    fn due(&mut self, now: Instant, period: Duration, leads: bool) -> Option<Revision> {
        let oldest = *self.notes.front()?;
        let wait = if self.had_period {
            interval(period)
        } else {
            period
        };
        let is_time = now.saturating_since(self.forgot_at) >= wait;
        if !leads || !is_time || oldest == self.forgotten {
            return None;
        }
        self.had_period = true;
        Some(oldest)
    }

    /// History before `revision` is forgotten, by whomever.
    pub(crate) fn forgotten(&mut self, now: Instant, revision: Revision) {
        (self.forgot_at, self.forgotten) = (now, revision);
    }
}

fn interval(period: Duration) -> Duration {
    period.min(INTERVAL_MAX)
}

fn note_every(period: Duration) -> Duration {
    let every = interval(period) / NOTES_PER_INTERVAL;
    every.max(period / NOTES_MAX).max(Duration::from_millis(1))
}

/// How many notes reach back a period.
fn notes(period: Duration, every: Duration) -> u128 {
    period.as_millis() / every.as_millis().max(1) + 1
}

#[cfg(test)]
mod tests;

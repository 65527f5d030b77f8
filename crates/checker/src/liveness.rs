//! A healed service serves again.

use crate::history::{Operation, Outcome, TimeNs};
use crate::verdict::{Property, Verdict, Violation};

/// Judges how soon the service serves again.
#[derive(Clone, Debug, Default)]
pub(crate) struct LivenessJudge {
    healed: Option<Healed>,
}

#[derive(Clone, Copy, Debug)]
struct Healed {
    at: TimeNs,
    until: TimeNs,
    asked: bool,
}

impl LivenessJudge {
    /// An event at this time: a bound may have passed.
    pub(crate) fn now(&self, now: TimeNs) -> Result<(), Violation> {
        let Some(healed) = self
            .healed
            .filter(|healed| healed.asked && now > healed.until)
        else {
            return Ok(());
        };
        let witness = format!(
            "the service was healed at {} and had to serve by {}, but nothing has succeeded since",
            healed.at, healed.until
        );
        Err(Violation {
            property: Property::Liveness,
            at: now,
            witness,
        })
    }

    pub(crate) fn healed(&mut self, now: TimeNs, within_ns: u64) {
        self.healed = Some(Healed {
            at: now,
            until: now.after(within_ns),
            asked: false,
        });
    }

    pub(crate) fn hurt(&mut self) {
        self.healed = None;
    }

    pub(crate) fn invoked(&mut self, operation: &Operation) {
        if let Some(healed) = self.healed.as_mut().filter(|_| needs_majority(operation)) {
            healed.asked = true;
        }
    }

    pub(crate) fn returned(&mut self, operation: &Operation, outcome: &Outcome) {
        if matches!(outcome, Outcome::Done(_)) && needs_majority(operation) {
            self.healed = None;
        }
    }

    pub(crate) fn finish(&self) -> Verdict {
        match self.healed {
            None => Verdict::Ok,
            Some(healed) if !healed.asked => {
                Verdict::Unknown(format!("nobody asked anything since {}", healed.at))
            }
            Some(healed) => Verdict::Unknown(format!("the history ends before {}", healed.until)),
        }
    }
}

/// Whether only a service with a majority can do it.
fn needs_majority(operation: &Operation) -> bool {
    match operation {
        Operation::Range(range) => !range.serializable,
        Operation::Put(_)
        | Operation::DeleteRange(_)
        | Operation::Txn(_)
        | Operation::Compact { .. }
        | Operation::LeaseGrant { .. }
        | Operation::LeaseRevoke { .. }
        | Operation::LeaseKeepAlive { .. }
        | Operation::LeaseTimeToLive { .. } => true,
    }
}

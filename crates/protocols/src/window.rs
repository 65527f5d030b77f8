//! Which messages of a session have been seen.

use synod_env::{Bug, planted};

/// How far behind the latest message an earlier one may arrive. More messages than this are never
/// under way in one lane of a sound network.
const SPAN: u64 = 1_024;

/// What a sequence number is to a [`Window`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Seen {
    /// It had not been seen.
    New,
    /// It had been seen.
    Before,
    /// It is so far behind that nobody knows. The message counts as lost.
    TooOld,
}

/// The sequence numbers of one lane that have been seen; the first is 1. The sliding window of
/// IPsec's protection against replay (RFC 4303, 3.4.3).
#[derive(Clone, Debug)]
pub(crate) struct Window {
    latest: u64,
    /// Bit `n % SPAN` is for number `n`, of those not older than `SPAN`.
    seen: [u64; (SPAN / 64) as usize],
}

impl Window {
    pub(crate) const fn new() -> Self {
        Self {
            latest: 0,
            seen: [0; (SPAN / 64) as usize],
        }
    }

    /// Takes note of a number.
    pub(crate) fn mark(&mut self, sequence: u64) -> Seen {
        if sequence > self.latest {
            // What falls out of the window makes room for what comes in.
            if sequence - self.latest >= SPAN {
                self.seen = [0; (SPAN / 64) as usize];
            } else {
                for passed in self.latest + 1..sequence {
                    let (word, bit) = place(passed);
                    self.seen[word] &= !bit;
                }
            }
            self.latest = sequence;
            let (word, bit) = place(sequence);
            self.seen[word] |= bit;
            return Seen::New;
        }
        if self.latest - sequence >= SPAN {
            return Seen::TooOld;
        }
        let (word, bit) = place(sequence);
        if self.seen[word] & bit != 0 && !planted(Bug::ForwardAppliesTwice) {
            return Seen::Before;
        }
        self.seen[word] |= bit;
        Seen::New
    }
}

fn place(sequence: u64) -> (usize, u64) {
    let at = sequence % SPAN;
    let word = usize::try_from(at / 64).expect("a small number");
    (word, 1 << (at % 64))
}

#[cfg(test)]
mod tests;

//! The source of everything a world leaves open.

use crate::Prng;

/// Draws for schedule and faults, apart from those of the workload, so that a change to one does
/// not shift the other.
#[derive(Debug)]
pub(super) struct Choices(Prng);

impl Choices {
    pub(super) fn new(prng: Prng) -> Self {
        Self(prng)
    }

    /// A number below `bound`. With one possibility nothing is drawn.
    pub(super) fn below(&mut self, bound: u64) -> u64 {
        if bound <= 1 { 0 } else { self.0.below(bound) }
    }

    /// A place in a list of `length` (at least one) things.
    pub(super) fn index(&mut self, length: usize) -> usize {
        usize::try_from(self.below(length as u64)).expect("below a usize")
    }

    /// A number from `least` to `most`, both included.
    pub(super) fn between(&mut self, least: u64, most: u64) -> u64 {
        least + self.below(most.saturating_sub(least).saturating_add(1))
    }

    /// True `ppm` times in a million. What is impossible or certain draws nothing.
    pub(super) fn chance(&mut self, ppm: u32) -> bool {
        match ppm {
            0 => false,
            1_000_000.. => true,
            1..1_000_000 => self.below(1_000_000) < u64::from(ppm),
        }
    }

    /// 64 bits, for breaking ties.
    pub(super) fn bits(&mut self) -> u64 {
        self.0.next_u64()
    }
}

//! What a seed chooses.

use crate::torture::generate::{Choices, Seeded};

/// Choices that follow from a seed, with a few more kinds of them than stories need.
#[derive(Clone, Debug)]
pub(super) struct Dice(Seeded);

impl Dice {
    pub(super) fn new(seed: u64) -> Dice {
        Dice(Seeded::new(seed))
    }

    /// Any number.
    pub(super) fn next(&mut self) -> u64 {
        self.0.below(u64::MAX)
    }

    /// A number below `bound`.
    pub(super) fn below(&mut self, bound: u64) -> u64 {
        self.0.below(bound)
    }

    /// A number below `bound`, the small ones more often.
    pub(super) fn skewed(&mut self, bound: u64) -> u64 {
        let below = self.below(bound) + 1;
        self.below(below)
    }

    /// A number of 1 to `most`, each order of magnitude as often as the others.
    pub(super) fn magnitude(&mut self, most: u64) -> u64 {
        let bits = self.below(u64::from(most.ilog2()) + 1) + 1;
        self.below(1 << bits).clamp(1, most)
    }

    /// True so many times in a hundred.
    pub(super) fn chance(&mut self, percent: u64) -> bool {
        self.0.chance(percent)
    }

    /// One of these.
    pub(super) fn one_of<T: Copy>(&mut self, all: &[T]) -> T {
        all[self.below(all.len() as u64) as usize]
    }
}

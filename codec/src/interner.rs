//! Numbers for names that come again and again: a number is looked up once, and then costs nothing.
//!
//! What is always true:
//!
//! - Numbers are dense: who keeps something for each name keeps it in a vector.
//! - The names lie in one piece of memory, and none is allocated by itself.
//! - Nobody can choose names that make it slow, because the hash is begun with a number that was drawn.

use std::ops::Range;

use twox_hash::XxHash3_64;

use crate::wire;

/// Gives each name a number, from 0 on, in the order in which they come.
///
/// ```
/// use annals_codec::Interner;
///
/// let mut names = Interner::new();
/// let (first, second) = (names.intern("order-7"), names.intern("order-8"));
/// assert_eq!(names.intern("order-7"), first);
/// assert_eq!(names.name(second), "order-8");
/// ```
#[derive(Debug)]
pub struct Interner {
    heap: String,
    /// Where each name ends in the heap.
    ends: Vec<usize>,
    /// Open addressing in a power of two. The upper half of a slot is that of the name's hash, the lower its number plus one; 0 is free.
    slots: Vec<u64>,
    /// Drawn for each interner, so that nobody can choose names that meet in one slot.
    seed: u64,
}

impl Interner {
    /// One without names.
    #[expect(clippy::new_without_default, reason = "each one draws a seed")]
    pub fn new() -> Interner {
        let seed = std::hash::BuildHasher::hash_one(&std::hash::RandomState::new(), 0);
        Interner { heap: String::new(), ends: Vec::new(), slots: vec![0; 64], seed }
    }

    /// How many names have a number.
    pub fn len(&self) -> usize {
        self.ends.len()
    }

    /// Whether no name has one.
    pub fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    /// The name with this number.
    ///
    /// # Panics
    ///
    /// When no name has it.
    pub fn name(&self, number: u32) -> &str {
        &self.heap[self.place(number)]
    }

    /// The name, without a look whether it begins and ends between characters.
    #[inline]
    fn bytes(&self, number: u32) -> &[u8] {
        &self.heap.as_bytes()[self.place(number)]
    }

    #[inline]
    fn place(&self, number: u32) -> Range<usize> {
        let number = number as usize;
        let start = number.checked_sub(1).map_or(0, |before| self.ends[before]);
        start..self.ends[number]
    }

    /// The number of this name, which it has from now on if it had none.
    ///
    /// # Panics
    ///
    /// When four thousand million names have one.
    #[inline]
    pub fn intern(&mut self, name: &str) -> u32 {
        let hash = self.hash(name);
        let mut at = self.slot(hash);
        while self.slots[at] != 0 {
            let number = self.slots[at] as u32 - 1;
            if self.slots[at] >> 32 == hash >> 32 && self.bytes(number) == name.as_bytes() {
                return number;
            }
            at = (at + 1) & (self.slots.len() - 1);
        }
        let number = u32::try_from(self.len()).expect("names of four thousand million events are no index");
        self.heap.push_str(name);
        self.ends.push(self.heap.len());
        self.slots[at] = slot_for(hash, number);
        if self.len() > self.slots.len() / 2 {
            self.grow();
        }
        number
    }

    /// All numbers, in the order of their names.
    pub(crate) fn sorted(&self) -> Vec<u32> {
        let mut keyed = (0..self.len() as u32).map(|number| (0, number)).collect::<Vec<_>>();
        self.sort(&mut keyed, 0);
        keyed.into_iter().map(|(_, number)| number).collect()
    }

    /// Sorts names that have their first `depth` bytes in common, by eight bytes at
    /// a time: numbers that lie side by side are compared faster than names that do not.
    fn sort(&self, keyed: &mut [(u64, u32)], depth: usize) {
        for (key, number) in &mut *keyed {
            *key = leading(self.bytes(*number).get(depth..).unwrap_or_default());
        }
        keyed.sort_unstable();
        for run in keyed.chunk_by_mut(|(one, _), (next, _)| one == next).filter(|run| run.len() > 1) {
            if run.iter().any(|&(_, number)| self.bytes(number).len() > depth + KEYED_BYTES) {
                self.sort(run, depth + KEYED_BYTES);
            } else {
                // They differ in bytes that are zero and bytes that are not there.
                run.sort_unstable_by_key(|&(_, number)| self.bytes(number));
            }
        }
    }

    fn grow(&mut self) {
        self.slots = vec![0; 2 * self.slots.len()];
        for number in 0..self.len() as u32 {
            let hash = self.hash(self.name(number));
            let mut at = self.slot(hash);
            while self.slots[at] != 0 {
                at = (at + 1) & (self.slots.len() - 1);
            }
            self.slots[at] = slot_for(hash, number);
        }
    }

    fn hash(&self, name: &str) -> u64 {
        XxHash3_64::oneshot_with_seed(self.seed, name.as_bytes())
    }

    fn slot(&self, hash: u64) -> usize {
        hash as usize & (self.slots.len() - 1)
    }
}

/// How many bytes of a name are compared as one number.
const KEYED_BYTES: usize = 8;

/// The first bytes as a number that sorts as they do.
fn leading(bytes: &[u8]) -> u64 {
    match bytes.first_chunk::<KEYED_BYTES>() {
        Some(first) => wire::big_endian_u64(*first),
        None => {
            let mut first = [0; KEYED_BYTES];
            first[..bytes.len()].copy_from_slice(bytes);
            wire::big_endian_u64(first)
        }
    }
}

fn slot_for(hash: u64, number: u32) -> u64 {
    (hash >> 32 << 32) | (u64::from(number) + 1)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::testing::{Rng, rounds};

    fn random_name(rng: &mut Rng) -> String {
        let part = ["customer-", "a", "", "\0", "\u{e9}", "00000000", "zzzzzzz", "\u{10FFFF}"];
        (0..rng.below(6)).map(|_| part[rng.below(part.len())]).collect()
    }

    #[test]
    fn a_name_keeps_its_number_and_no_two_share_one() {
        let mut rng = Rng::new(1);
        let (mut interner, mut numbers) = (Interner::new(), std::collections::HashMap::new());
        for _ in 0..rounds(20_000) {
            let name = random_name(&mut rng);
            let number = interner.intern(&name);
            assert_eq!(*numbers.entry(name.clone()).or_insert(number), number, "{name:?}");
            assert_eq!(interner.name(number), name);
        }
        assert_eq!(numbers.len(), interner.len());
        assert_eq!(numbers.into_values().collect::<BTreeSet<_>>().len(), interner.len());
    }

    #[test]
    fn names_are_sorted_as_their_bytes_are() {
        for seed in 0..rounds(200) {
            let mut rng = Rng::new(seed);
            let mut interner = Interner::new();
            let names = (0..rng.below(300)).map(|_| random_name(&mut rng)).collect::<BTreeSet<_>>();
            let mut shuffled = names.iter().collect::<Vec<_>>();
            shuffled.sort_by_cached_key(|_| rng.next());
            for name in shuffled {
                interner.intern(name);
            }
            let sorted = interner.sorted();
            assert!(sorted.iter().map(|&number| interner.name(number)).eq(&names), "seed {seed}");
        }
    }
}

//! Sorted names: entries of one length, each of which begins with the place of its name in a heap.
//!
//! ```text
//!  entries  | place 6 · len 2 | facts ... | place 6 · len 2 | facts ... | ...    ascending by name
//!                  |                              |
//!  heap     order-1order-17order-2 ...            +--> heap[place..place + len], UTF-8
//! ```
//!
//! The place and the length are one number of 64 bits: the length in its low 16, the place above.
//!
//! What is always true:
//!
//! - All names with one prefix stand together, so a prefix is a range of entries.
//! - Whatever the bytes are, a name that is not in the heap or not UTF-8 is a
//!   fault, and names in a wrong order are only not found.

use std::ops::Range;

use twox_hash::XxHash3_64;

use super::{IndexFault, Section, Sections};
use crate::wire;

/// Appends a name, in parts, to a heap; returns the number that tells its place.
pub(super) fn put_name(heap: &mut Vec<u8>, name: &[&str]) -> u64 {
    let place = heap.len() as u64;
    for part in name {
        heap.extend_from_slice(part.as_bytes());
    }
    let len = u16::try_from(heap.len() as u64 - place).expect("a name that was checked is short");
    place << 16 | u64::from(len)
}

/// An entry and its name.
pub(super) type Named<'a, const ENTRY: usize> = Result<(&'a str, &'a [u8; ENTRY]), IndexFault>;

/// Sorted names where they lie.
#[derive(Clone, Copy, Debug)]
pub(super) struct Names<'a, const ENTRY: usize> {
    entries: &'a [[u8; ENTRY]],
    heap: &'a [u8],
    section: Section,
}

impl<'a, const ENTRY: usize> Names<'a, ENTRY> {
    /// The names whose entries are one section, and whose heap is another.
    pub(super) fn of<S: Sections>(index: &'a S, entries: Section, heap: Section) -> Result<Self, S::Error> {
        Ok(Names { entries: index.section(entries)?.as_chunks().0, heap: index.section(heap)?, section: entries })
    }

    pub(super) fn len(self) -> usize {
        self.entries.len()
    }

    pub(super) fn fault(self) -> IndexFault {
        IndexFault::Content { section: self.section }
    }

    pub(super) fn entry(self, number: usize) -> Result<&'a [u8; ENTRY], IndexFault> {
        self.entries.get(number).ok_or(self.fault())
    }

    pub(super) fn name(self, entry: &[u8; ENTRY]) -> Result<&'a str, IndexFault> {
        let number = wire::u64_at(entry, 0);
        let (place, len) = ((number >> 16) as usize, (number & 0xFFFF) as usize);
        let bytes = self.heap.get(place..).and_then(|bytes| bytes.get(..len)).ok_or(self.fault())?;
        std::str::from_utf8(bytes).map_err(|_| self.fault())
    }

    /// The number of the entry with this name.
    pub(super) fn find(self, name: &str) -> Result<Option<usize>, IndexFault> {
        let number = self.first_not(0, |other| other < name)?;
        let Some(entry) = self.entries.get(number) else { return Ok(None) };
        Ok((self.name(entry)? == name).then_some(number))
    }

    /// The entries whose names begin with `prefix`, and their names.
    pub(super) fn with_prefix(self, prefix: &str) -> Result<impl Iterator<Item = Named<'a, ENTRY>>, IndexFault> {
        let first = self.first_not(0, |name| name < prefix)?;
        let end = self.first_not(first, |name| name.starts_with(prefix))?;
        // Names in a wrong order can lie between.
        Ok(self.entries[first..end].iter().map(move |entry| {
            let name = self.name(entry)?;
            if name.starts_with(prefix) { Ok((name, entry)) } else { Err(self.fault()) }
        }))
    }

    /// The first entry from `from` on for which `is_before` does not hold, if it holds for none behind that.
    fn first_not(self, mut from: usize, is_before: impl Fn(&str) -> bool) -> Result<usize, IndexFault> {
        let mut to = self.len();
        while from < to {
            let middle = from + (to - from) / 2;
            if is_before(self.name(&self.entries[middle])?) {
                from = middle + 1;
            } else {
                to = middle;
            }
        }
        Ok(from)
    }
}

/// Gives each name a number, from 0 on, in the order in which they come.
#[derive(Debug)]
pub(super) struct Interner {
    heap: String,
    /// Where each name ends in the heap.
    ends: Vec<usize>,
    /// Open addressing in a power of two. The upper half of a slot is that of the name's hash, the lower its number plus one; 0 is free.
    slots: Vec<u64>,
    /// Drawn for each interner, so that nobody can choose names that meet in one slot.
    seed: u64,
}

impl Interner {
    pub(super) fn new() -> Interner {
        let seed = std::hash::BuildHasher::hash_one(&std::hash::RandomState::new(), 0);
        Interner { heap: String::new(), ends: Vec::new(), slots: vec![0; 64], seed }
    }

    pub(super) fn len(&self) -> usize {
        self.ends.len()
    }

    pub(super) fn name(&self, number: u32) -> &str {
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

    /// The number of this name.
    #[inline]
    pub(super) fn intern(&mut self, name: &str) -> u32 {
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
    pub(super) fn sorted(&self) -> Vec<u32> {
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
    fn a_name_that_is_not_in_its_heap_is_a_fault() {
        let heap = "before\u{e9}behind".as_bytes();
        let name_at = |place: u64, len: u64| {
            let mut entry = [0; 8];
            wire::set_u64(&mut entry, 0, place << 16 | len);
            let names = Names { entries: &[entry], heap, section: Section::Streams };
            names.name(&entry).map(str::to_owned)
        };
        assert_eq!(name_at(0, 6).as_deref(), Ok("before"));
        assert_eq!(name_at(8, 6).as_deref(), Ok("behind"));
        assert_eq!(name_at(14, 0).as_deref(), Ok(""));
        let fault = Err(IndexFault::Content { section: Section::Streams });
        for (place, len) in [(8, 7), (9, 6), (14, 1), (15, 0), (u64::MAX >> 16, 0xFFFF), (0, 7), (7, 7)] {
            assert_eq!(name_at(place, len), fault, "{len} bytes from {place}");
        }
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

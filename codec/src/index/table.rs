//! A hash table that is a sorted list: searched where it lies, and read from one end to the other.
//!
//! ```text
//!  +--------+---------+--------+---------+--------+---------+
//!  | hash 4 | value 4 | hash 4 | value 4 | hash 4 | value 4 | ...   ascending: by hash, then by value
//!  +--------+---------+--------+---------+--------+---------+
//! ```
//!
//! Hashes are spread evenly, so the place of one among *n* is known to about √*n*
//! before anything is read, and the first few probes know it to a cache line.
//!
//! What is always true:
//!
//! - Whatever the bytes are, a look-up ends after some 2 log *n* probes, and an iteration after *n*.
//! - Sorted once, a list serves for look-ups, for filters that are filled from
//!   left to right, and for merging those of many segments.

use super::{IndexFault, KeyHash, Section, Sections};
use crate::wire;

/// The length of an entry, in bytes.
pub(super) const ENTRY_LEN: usize = 8;

/// How many probes guess from the distance in hashes before the search only halves.
const GUESSES: u32 = 3;

/// How many entries lie in a cache line.
const ENTRIES_OF_A_LINE: usize = 64 / ENTRY_LEN;

/// Entries while they are collected.
#[derive(Debug, Default)]
pub(crate) struct TableBuilder {
    entries: Vec<u64>,
}

impl TableBuilder {
    pub(crate) fn push(&mut self, hash: KeyHash, value: u32) {
        self.entries.push(u64::from(hash.get()) << 32 | u64::from(value));
    }

    /// Appends the table to `out`.
    pub(crate) fn finish(mut self, out: &mut Vec<u8>) {
        self.entries.sort_unstable();
        for entry in self.entries {
            wire::put_u32(out, (entry >> 32) as u32);
            wire::put_u32(out, entry as u32);
        }
    }
}

/// A table where it lies.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Table<'a> {
    entries: &'a [[u8; ENTRY_LEN]],
}

impl<'a> Table<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> Table<'a> {
        Table { entries: bytes.as_chunks().0 }
    }

    /// The table that is a section of an index.
    pub(super) fn of<S: Sections>(index: &'a S, section: Section) -> Result<Table<'a>, S::Error> {
        Ok(Table::new(index.section(section)?))
    }

    pub(super) fn len(self) -> usize {
        self.entries.len()
    }

    /// The values under this hash, ascending.
    pub(crate) fn find(self, hash: KeyHash) -> impl Iterator<Item = u32> + 'a {
        let from = self.first_not_below(hash);
        self.entries[from..]
            .iter()
            .take_while(move |entry| hash_in(**entry) == hash)
            .map(|entry| wire::u32_at(&entry[..], 4))
    }

    /// All hashes, checked to be ascending; a hash is there once for each of its values.
    pub(super) fn hashes(self, section: Section) -> impl Iterator<Item = Result<KeyHash, IndexFault>> + 'a {
        let mut least = KeyHash::new(0);
        self.entries.iter().map(move |entry| {
            let hash = hash_in(*entry);
            if hash < least {
                return Err(IndexFault::Content { section });
            }
            least = hash;
            Ok(hash)
        })
    }

    /// The number of entries with lower hashes, if the table is sorted, and some number of entries if it is not.
    fn first_not_below(self, hash: KeyHash) -> usize {
        // What is below `from` is lower, and what is not below `to` is not.
        let (mut from, mut to) = (0, self.len());
        let mut guess = scaled(hash.get(), to);
        for _ in 0..GUESSES {
            if from == to {
                return from;
            }
            let probe = guess.clamp(from, to - 1);
            let found = hash_in(self.entries[probe]);
            if found < hash {
                from = probe + 1;
                guess = probe.saturating_add(scaled(hash.get() - found.get(), self.len()));
            } else {
                to = probe;
                guess = probe.saturating_sub(scaled(found.get() - hash.get(), self.len()));
            }
        }
        // The place is near the last guess: a window around it, wider until it holds the place.
        let mut reach = ENTRIES_OF_A_LINE;
        while reach < to - from {
            let middle = guess.clamp(from, to);
            let (low, high) = (middle.saturating_sub(reach).max(from), middle.saturating_add(reach).min(to));
            if low > from {
                if self.is_below(low - 1, hash) { from = low } else { to = low - 1 }
            }
            if high < to {
                if self.is_below(high, hash) { from = high + 1 } else { to = high }
            }
            reach *= 8;
        }
        from + self.entries[from..to].partition_point(|&entry| hash_in(entry) < hash)
    }

    fn is_below(self, entry: usize, hash: KeyHash) -> bool {
        hash_in(self.entries[entry]) < hash
    }
}

/// How many of `len` entries have hashes below `hash`, on average.
fn scaled(hash: u32, len: usize) -> usize {
    ((u128::from(hash) * len as u128) >> 32) as usize
}

fn hash_in(entry: [u8; ENTRY_LEN]) -> KeyHash {
    KeyHash::new(wire::u32_at(&entry, 0))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{Rng, rounds};

    fn bytes_of(entries: &[(u32, u32)]) -> Vec<u8> {
        let mut builder = TableBuilder::default();
        for &(hash, value) in entries {
            builder.push(KeyHash::new(hash), value);
        }
        let mut bytes = Vec::new();
        builder.finish(&mut bytes);
        bytes
    }

    fn check_table(mut entries: Vec<(u32, u32)>, what: &str) {
        let bytes = bytes_of(&entries);
        entries.sort_unstable();
        let table = Table::new(&bytes);
        let near = entries.iter().flat_map(|&(hash, _)| [hash.wrapping_sub(1), hash, hash.wrapping_add(1)]);
        for hash in near.chain([0, 1, u32::MAX / 2, u32::MAX]) {
            let found = table.find(KeyHash::new(hash)).collect::<Vec<_>>();
            let expected = entries.iter().filter(|entry| entry.0 == hash).map(|entry| entry.1).collect::<Vec<_>>();
            assert_eq!(found, expected, "{what}: {hash:#x} among {}", entries.len());
        }
        let hashes = table.hashes(Section::IdTable).map(|hash| hash.unwrap().get());
        assert!(hashes.eq(entries.iter().map(|entry| entry.0)));
    }

    #[test]
    fn every_hash_is_found_however_hashes_are_spread() {
        for seed in 0..rounds(20) {
            let mut rng = Rng::new(seed);
            for len in [0, 1, 2, 7, 8, 9, 100, 700] {
                let mut make = |hash: fn(&mut Rng) -> u64| {
                    (0..len).map(|_| (hash(&mut rng) as u32, rng.next() as u32)).collect::<Vec<_>>()
                };
                check_table(make(Rng::next), "spread evenly");
                check_table(make(|rng| rng.next() % 50), "all low, many equal");
                check_table(make(|rng| !(rng.next() % 1_000)), "all high");
                check_table(make(|rng| rng.next() & 0x8000_00FF), "in two heaps");
                check_table(make(|_| 0x7777_7777), "all the same");
            }
        }
    }

    #[test]
    fn bytes_that_are_no_table_end_every_search_and_are_a_fault_for_who_needs_their_order() {
        let mut rng = Rng::new(1);
        for _ in 0..rounds(2_000) {
            let len = rng.below(400);
            let bytes = rng.bytes(len);
            let table = Table::new(&bytes);
            for _ in 0..10 {
                assert!(table.find(KeyHash::new(rng.next() as u32)).count() <= table.len());
            }
            let fault = IndexFault::Content { section: Section::KeyTable };
            let is_sorted = table.entries.is_sorted_by_key(|&entry| hash_in(entry));
            assert_eq!(table.hashes(Section::KeyTable).any(|hash| hash == Err(fault)), !is_sorted);
        }
    }
}

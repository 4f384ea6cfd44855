//! An array of atomics that grows at the end and never moves.
//!
//! One writer stores, any number of readers load, and nobody takes a lock:
//! chunk *k* holds `64 << k` elements and is allocated when it is first needed,
//! so what was handed out stays where it is.
//!
//! The elements say nothing about which of them are final. Readers learn that
//! from a number published after the stores (the head position), with
//! acquire and release on that number.

use crate::sync::OnceLock;
use crate::sync::atomic::{AtomicU32, AtomicU64, Ordering};

const FIRST_CHUNK: u64 = 64;
/// Enough chunks for 2³² elements, which is more than a segment can hold.
const CHUNKS: usize = 27;

#[derive(Debug)]
pub(crate) struct Growing<A> {
    chunks: [OnceLock<Box<[A]>>; CHUNKS],
}

impl<A: Default> Growing<A> {
    pub(crate) fn new() -> Growing<A> {
        Growing { chunks: [const { OnceLock::new() }; CHUNKS] }
    }

    /// The element, if anything near it was ever stored.
    #[inline]
    fn get(&self, index: u64) -> Option<&A> {
        let (chunk, within) = place(index);
        self.chunks.get(chunk)?.get()?.get(within)
    }

    /// The element, made if need be.
    fn get_or_grow(&self, index: u64) -> &A {
        let (chunk, within) = place(index);
        let chunk = self.chunks[chunk].get_or_init(|| {
            let len = FIRST_CHUNK << chunk;
            (0..len).map(|_| A::default()).collect()
        });
        &chunk[within]
    }
}

/// Chunk and index within it: chunk *k* begins at `64 · (2ᵏ − 1)`.
fn place(index: u64) -> (usize, usize) {
    let shifted = index + FIRST_CHUNK;
    let chunk = shifted.ilog2() - FIRST_CHUNK.ilog2();
    (chunk as usize, (shifted - (FIRST_CHUNK << chunk)) as usize)
}

impl Growing<AtomicU32> {
    /// The value stored at `index`; 0 when none was.
    #[inline]
    pub(crate) fn load(&self, index: u64) -> u32 {
        // Relaxed: the head position that let the reader ask was acquired.
        self.get(index).map_or(0, |element| element.load(Ordering::Relaxed))
    }

    pub(crate) fn store(&self, index: u64, value: u32) {
        self.get_or_grow(index).store(value, Ordering::Relaxed);
    }

    /// The first index from `from` on, and before `end`, at which a value other than 0 is stored. Where
    /// nothing near was ever stored, that is passed in one step.
    pub(crate) fn next_stored(&self, from: u64, end: u64) -> Option<u64> {
        let mut index = from;
        while index < end {
            let (chunk, within) = place(index);
            let elements = self.chunks.get(chunk)?.get();
            let stored = |element: &AtomicU32| element.load(Ordering::Relaxed) != 0;
            if let Some(ahead) = elements.and_then(|elements| elements[within..].iter().position(stored)) {
                return Some(index + ahead as u64).filter(|index| *index < end);
            }
            index += (FIRST_CHUNK << chunk) - within as u64;
        }
        None
    }
}

/// A set of numbers, one bit each.
impl Growing<AtomicU64> {
    #[inline]
    pub(crate) fn contains(&self, number: u64) -> bool {
        // Relaxed: a bit that is seen too late costs one more checksum.
        self.get(number / 64).is_some_and(|word| word.load(Ordering::Relaxed) >> (number % 64) & 1 == 1)
    }

    pub(crate) fn insert(&self, number: u64) {
        self.get_or_grow(number / 64).fetch_or(1 << (number % 64), Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_index_has_a_place_of_its_own() {
        let mut expected = Vec::new();
        for chunk in 0..6 {
            expected.extend((0..(64_usize << chunk)).map(|within| (chunk, within)));
        }
        for (index, expected) in expected.into_iter().enumerate() {
            assert_eq!(place(index as u64), expected, "index {index}");
        }
    }

    #[test]
    fn what_was_never_stored_reads_as_nothing() {
        let offsets = Growing::<AtomicU32>::new();
        offsets.store(1000, 7);
        assert_eq!((offsets.load(999), offsets.load(1000), offsets.load(1 << 30)), (0, 7, 0));

        assert_eq!((offsets.next_stored(0, 1 << 60), offsets.next_stored(1000, 1001)), (Some(1000), Some(1000)));
        assert_eq!((offsets.next_stored(0, 1000), offsets.next_stored(1001, 1 << 60)), (None, None));
        assert_eq!(offsets.next_stored(5, 5), None);

        let bits = Growing::<AtomicU64>::new();
        bits.insert(70);
        assert!(bits.contains(70) && !bits.contains(69) && !bits.contains(1 << 40));
    }
}

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

#[cfg(test)]
mod tests {
    use super::*;

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
}

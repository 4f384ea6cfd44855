//! All hashes of an index, ascending; and those of many.
//!
//! ```text
//!  stream table  12 | 40 | 77          ─┐
//!  label table   12 | 55               ─┼─> 12 12 40 55 61 77 90   what the filter was made of
//!  id table      61 | 90               ─┘
//! ```
//!
//! What is always true:
//!
//! - Hashes ascend, or the iteration ends with a fault: what is filled from left
//!   to right relies on it.
//! - Hashes that several tables hold come several times.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::collections::binary_heap::PeekMut;

use super::search::source_hashes;
use super::table::Table;
use super::{IndexFault, KeyHash, Section, Sections};

/// The sections that are hash tables.
const TABLES: [Section; 4] = [Section::StreamTable, Section::LabelTable, Section::IdTable, Section::KeyTable];

/// Every hash in the filter of an index, ascending.
///
/// # Errors
///
/// When a section cannot be had. The iterator ends with an [`IndexFault`] when a table is not sorted.
pub fn hashes<S: Sections>(index: &S) -> Result<Hashes<'_>, S::Error> {
    let sources = source_hashes(index)?;
    let mut count = sources.len() as u64;
    let mut parts: Vec<Part<'_>> = vec![Box::new(sources.into_iter().map(Ok))];
    for section in TABLES {
        let table = Table::of(index, section)?;
        count += table.len() as u64;
        parts.push(Box::new(table.hashes(section)));
    }
    Ok(Hashes { merge: Merge::new(parts), count })
}

type Part<'a> = Box<dyn Iterator<Item = Result<KeyHash, IndexFault>> + Send + 'a>;

/// Every hash of one index, ascending. Made by [`hashes`].
pub struct Hashes<'a> {
    merge: Merge<Part<'a>>,
    count: u64,
}

impl Hashes<'_> {
    /// How many there are in all, those that come several times counted as often.
    pub fn count_all(&self) -> u64 {
        self.count
    }
}

impl std::fmt::Debug for Hashes<'_> {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.debug_struct("Hashes").field("count", &self.count).finish_non_exhaustive()
    }
}

impl Iterator for Hashes<'_> {
    type Item = Result<KeyHash, IndexFault>;

    fn next(&mut self) -> Option<Self::Item> {
        self.merge.next()
    }
}

/// Merges iterators that ascend into one that does. It ends with the first error of any of them.
#[derive(Debug)]
pub struct Merge<I> {
    parts: Vec<I>,
    /// The next hash of each part that has one.
    next: BinaryHeap<Reverse<(KeyHash, usize)>>,
    is_begun: bool,
}

impl<I, E> Merge<I>
where
    I: Iterator<Item = Result<KeyHash, E>>,
{
    /// Merges these.
    pub fn new(parts: impl IntoIterator<Item = I>) -> Merge<I> {
        Merge { parts: parts.into_iter().collect(), next: BinaryHeap::new(), is_begun: false }
    }

    fn begin(&mut self) -> Result<(), E> {
        self.is_begun = true;
        for (number, part) in self.parts.iter_mut().enumerate() {
            if let Some(hash) = part.next() {
                self.next.push(Reverse((hash?, number)));
            }
        }
        Ok(())
    }

    fn step(&mut self) -> Result<Option<KeyHash>, E> {
        if !self.is_begun {
            self.begin()?;
        }
        let Some(mut top) = self.next.peek_mut() else { return Ok(None) };
        let Reverse((hash, number)) = *top;
        match self.parts[number].next() {
            Some(next) => *top = Reverse((next?, number)),
            None => _ = PeekMut::pop(top),
        }
        Ok(Some(hash))
    }
}

impl<I, E> Iterator for Merge<I>
where
    I: Iterator<Item = Result<KeyHash, E>>,
{
    type Item = Result<KeyHash, E>;

    fn next(&mut self) -> Option<Self::Item> {
        let step = self.step();
        if step.is_err() {
            self.next.clear();
        }
        step.transpose()
    }
}

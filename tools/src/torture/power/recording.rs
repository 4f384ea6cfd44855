//! What a disk was asked to do, in order: every write with its bytes, and every flush.
//!
//! ```text
//!  base ─► write · write · FLUSH · write · write · FLUSH · write · …
//!          └ durable ────────────┘ └ the window ┘ ▲
//!                                                 a cut here may keep any part of the window
//! ```
//!
//! A flush covers the writes that were answered before it came. The disk
//! answers one request after the other, so these are all that stand before it.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::image::Image;

/// One request that changes the disk, or makes changes last.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Record {
    /// These bytes were written there.
    Write {
        /// Where, in bytes.
        offset: u64,
        /// What.
        data: Arc<[u8]>,
    },
    /// Everything written before is durable from here on.
    Flush,
}

/// A disk as it was, and what it was asked to do since.
#[derive(Clone, Debug)]
pub struct Recording {
    /// The disk before the first record.
    pub base: Image,
    /// The requests, in order.
    pub records: Vec<Record>,
}

/// How much there is of a recording.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub struct Counts {
    /// Writes of blocks.
    pub writes: u64,
    /// The bytes they wrote.
    pub bytes: u64,
    /// Flushes.
    pub flushes: u64,
}

impl Recording {
    /// Nothing was asked yet of this disk.
    pub fn new(base: Image) -> Recording {
        Recording { base, records: Vec::new() }
    }

    /// How much it is.
    pub fn counts(&self) -> Counts {
        let mut counts = Counts::default();
        for record in &self.records {
            match record {
                Record::Write { data, .. } => {
                    counts.writes += 1;
                    counts.bytes += data.len() as u64;
                }
                Record::Flush => counts.flushes += 1,
            }
        }
        counts
    }

    /// Where the flushes stand.
    pub fn flushes(&self) -> Vec<usize> {
        let is_flush = |(at, record): (usize, &Record)| (*record == Record::Flush).then_some(at);
        self.records.iter().enumerate().filter_map(is_flush).collect()
    }

    /// Whether the bytes `needle` were written and a flush came behind them. `None` when they never were.
    pub fn is_flushed(&self, needle: &[u8]) -> Option<bool> {
        let holds = |record: &Record| match record {
            Record::Write { data, .. } => data.windows(needle.len()).any(|part| part == needle),
            Record::Flush => false,
        };
        let at = self.records.iter().rposition(holds)?;
        Some(self.records[at..].contains(&Record::Flush))
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// A recording over a disk of four blocks: `w3` writes one sector of threes, `F` flushes.
    pub(in super::super) fn recorded(story: &[(u64, u8, usize)]) -> Recording {
        let mut recording = Recording::new(Image::new(16 << 10));
        for (sector, byte, sectors) in story {
            recording.records.push(match sectors {
                0 => Record::Flush,
                _ => Record::Write { offset: sector * 512, data: vec![*byte; sectors * 512].into() },
            });
        }
        recording
    }

    #[test]
    fn what_was_recorded_is_counted() {
        let recording = recorded(&[(0, 1, 2), (0, 0, 0), (4, 2, 1), (0, 0, 0), (9, 3, 1)]);
        assert_eq!(recording.counts(), Counts { writes: 3, bytes: 4 * 512, flushes: 2 });
        assert_eq!(recording.flushes(), [1, 3]);
    }

    #[test]
    fn bytes_count_as_flushed_only_when_a_flush_stands_behind_the_last_of_their_writes() {
        let flushed = |story: &[(u64, u8, usize)]| recorded(story).is_flushed(&[7; 9]);
        assert_eq!(flushed(&[(0, 1, 1), (0, 0, 0)]), None);
        assert_eq!(flushed(&[(0, 7, 1)]), Some(false));
        assert_eq!(flushed(&[(0, 0, 0), (0, 7, 1)]), Some(false));
        assert_eq!(flushed(&[(0, 7, 1), (5, 1, 1), (0, 0, 0)]), Some(true));
        assert_eq!(flushed(&[(0, 7, 1), (0, 0, 0), (0, 7, 1)]), Some(false));
    }
}

//! A file as the codec's scan reads it: through one window of bounded size.

use std::io;
use std::sync::Arc;

use annals_codec::scan::Source;

use crate::storage::{File, Provenance};

const WINDOW: usize = 1 << 20;

/// Reads a file up to `len`, and from `fresh_from` on as the disk has it rather
/// than as the page cache believes it to be (recovery rule R5).
#[derive(Debug)]
pub(crate) struct FileSource {
    file: Arc<dyn File>,
    len: u64,
    fresh_from: u64,
    window: Vec<u8>,
    /// Where the window begins in the file.
    start: u64,
    /// Whether some of what was read above `fresh_from` may not be on the disk.
    unproven: bool,
}

impl FileSource {
    /// Reads through the page cache, up to `len` bytes.
    pub(crate) fn cached(file: Arc<dyn File>, len: u64) -> FileSource {
        FileSource::fresh_from(file, len, u64::MAX)
    }

    /// Reads what lies at or behind `fresh_from` from the disk itself.
    pub(crate) fn fresh_from(file: Arc<dyn File>, len: u64, fresh_from: u64) -> FileSource {
        FileSource { file, len, fresh_from, window: Vec::new(), start: 0, unproven: false }
    }

    /// Whether some of what was read above `fresh_from` could only be had from
    /// the page cache.
    pub(crate) fn is_unproven(&self) -> bool {
        self.unproven
    }

    /// From here on reads anew, what was read before too, and up to `len`.
    pub(crate) fn read_again_up_to(&mut self, len: u64) {
        self.len = len;
        self.window.clear();
    }

    fn fill(&mut self, offset: u64, least: usize) -> io::Result<()> {
        let left = self.len.saturating_sub(offset);
        let mut want = left.min(WINDOW.max(least) as u64);
        let fresh = offset + want > self.fresh_from;
        if fresh && offset + (least as u64) <= self.fresh_from {
            want = want.min(self.fresh_from - offset);
        }
        let fresh = offset + want > self.fresh_from;
        self.window.resize(want as usize, 0);
        let read = if fresh {
            let (read, provenance) = self.file.read_from_disk(offset, &mut self.window)?;
            self.unproven |= provenance == Provenance::Cache;
            read
        } else {
            self.file.read_at(offset, &mut self.window)?
        };
        self.window.truncate(read);
        self.start = offset;
        Ok(())
    }
}

impl Source for FileSource {
    type Error = io::Error;

    fn len(&self) -> u64 {
        self.len
    }

    fn bytes(&mut self, offset: u64, least: usize) -> io::Result<&[u8]> {
        let end = self.start + self.window.len() as u64;
        let wanted = (offset + least as u64).min(self.len);
        if offset < self.start || wanted > end {
            self.fill(offset, least)?;
        }
        let skip = (offset - self.start).min(self.window.len() as u64) as usize;
        Ok(&self.window[skip..])
    }
}

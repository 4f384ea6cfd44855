//! The bytes of a segment, as they are read to be verified: mapped where nobody writes to them, or else read.
//!
//! A mapping costs no copy, but a place that cannot be read is a signal there and no error. So pages are asked for a
//! stretch at a time, which does give an error, and nothing is looked at that was not had; from the first error on the
//! file is read.

use std::io;
use std::sync::Arc;

use annals_codec::scan::Source;

use crate::log::source::FileSource;
use crate::storage::{File, Mapping};

/// How many bytes are asked for at a time.
const STRETCH: u64 = 2 << 20;

#[derive(Debug)]
pub(super) struct SegmentSource {
    map: Option<Mapping>,
    /// Below this everything was had.
    had: u64,
    file: FileSource,
}

impl SegmentSource {
    /// Reads a file of this length. If it is final, nobody writes to it any more, and it may be mapped.
    pub(super) fn new(file: Arc<dyn File>, len: u64, is_final: bool) -> SegmentSource {
        let map = if is_final && len > 0 { file.map(len).ok().flatten() } else { None };
        if let Some(map) = &map {
            // As for who reads the log: a segment with a successor is never written again.
            map.commit_to(len);
        }
        SegmentSource { map, had: 0, file: FileSource::cached(file, len) }
    }

    /// From here on reads anew, what was read before too, and up to `len`.
    pub(super) fn read_again_up_to(&mut self, len: u64) {
        self.map = None;
        self.file.read_again_up_to(len);
    }
}

impl Source for SegmentSource {
    type Error = io::Error;

    fn len(&self) -> u64 {
        self.file.len()
    }

    #[inline]
    fn bytes(&mut self, offset: u64, least: usize) -> io::Result<&[u8]> {
        let wanted = offset.saturating_add(least as u64).min(self.file.len());
        if self.map.is_some() && wanted > self.had {
            self.ask_for(wanted);
        }
        match &self.map {
            Some(map) => Ok(map.slice(offset, (self.had.saturating_sub(offset)) as usize).unwrap_or_default()),
            None => self.file.bytes(offset, least),
        }
    }
}

impl SegmentSource {
    #[cold]
    fn ask_for(&mut self, wanted: u64) {
        let Some(map) = &self.map else { return };
        let end = (wanted + STRETCH).min(self.file.len());
        match map.populate_or_fail(self.had..end) {
            Ok(()) => self.had = end,
            Err(_) => self.map = None,
        }
    }
}

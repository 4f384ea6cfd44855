//! Finding events by something other than their position.
//!
//! Each segment has an index of its own, asked through [`IndexedSegment`]. What is
//! looked for is found by asking segments from the newest to the oldest. Index
//! entries hold the place of an event in its segment, not its position: one
//! look-up less for each event read.
//!
//! What is always true: an index gives candidates, and the frame decides. For ids, keys,
//! types and tags it may name an event that is not the one; it never leaves one out.
//! What it cannot know, because events cannot be read, is an error and no answer.
//!
//! - [`memory`]: the index of a segment that grows, or whose file is not made yet; [`build`] fills it from a scan.
//! - [`sealed`]: the index of a sealed segment, in a file; [`level`]: filters over many of them.
//! - [`files`]: how these are read and written; [`indexer`]: the thread that makes them; [`check`]: what `verify` does.
//! - [`load`]: from what recovery has surveyed to segments with their indexes.
//! - [`floor`]: what is known of streams whose events were removed; [`merge`]: how that is written.
//! - [`tree`]: the nodes over batches, for proofs.
//! - [`redactions`]: what the log says of payloads that were taken out.
//! - [`heads`]: where streams end, [`recent`]ly used ones remembered; [`find`]: events by id, batches by key.

pub(crate) mod build;
pub(crate) mod check;
pub(crate) mod files;
pub(crate) mod find;
pub(crate) mod floor;
pub(crate) mod heads;
pub(crate) mod indexer;
pub(crate) mod level;
pub(crate) mod load;
pub(crate) mod memory;
pub(crate) mod merge;
pub(crate) mod recent;
pub(crate) mod redactions;
pub(crate) mod sealed;
pub(crate) mod tree;

use std::io;
use std::ops::Range;
use std::sync::Arc;

use annals_codec::index::Label;
use annals_codec::{EventId, Position, RoaringBitmap, StreamVersion};

use self::files::IndexFiles;
use self::level::Level;
use self::memory::MemoryIndex;
use self::sealed::SealedIndex;
use crate::error::ReadError;
use crate::log::segment::Segment;

/// What one segment holds of one stream.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Span {
    pub(crate) first: StreamVersion,
    pub(crate) last: StreamVersion,
    /// How many events: `last - first + 1`, unless some lie in a damaged region.
    pub(crate) events: u64,
    /// By what the index that this comes from finds them again.
    handle: u32,
}

impl Span {
    /// Whether none of its events is missing, so that their versions can be counted.
    pub(crate) fn is_whole(&self) -> bool {
        // Versions that go back are damage that `verify` finds, and nothing to count with.
        self.last.get().checked_sub(self.first.get()) == self.events.checked_sub(1)
    }

    /// How many of its events certainly come before `version`; none, where some are missing.
    pub(crate) fn events_before(&self, version: StreamVersion) -> u64 {
        if self.is_whole() { version.get().saturating_sub(self.first.get()).min(self.events) } else { 0 }
    }
}

/// One segment with its index.
#[derive(Clone, Debug)]
pub(crate) struct IndexedSegment {
    pub(crate) log: Arc<Segment>,
    pub(crate) index: SegmentIndex,
    /// The filters that end with it, the widest first.
    levels: Option<Arc<[Level]>>,
}

/// Where the index of a segment is kept.
#[derive(Clone, Debug)]
pub(crate) enum SegmentIndex {
    /// In memory, growing with the segment.
    Memory(Arc<MemoryIndex>),
    /// In a file, of a segment that is sealed.
    Sealed(Arc<SealedIndex>),
}

impl IndexedSegment {
    /// A segment whose index is in memory.
    pub(crate) fn in_memory(log: Arc<Segment>, index: Arc<MemoryIndex>) -> IndexedSegment {
        IndexedSegment { log, index: SegmentIndex::Memory(index), levels: None }
    }

    /// A sealed segment, whose index is in a file, or will be.
    pub(crate) fn sealed(log: Arc<Segment>, files: &Arc<IndexFiles>) -> IndexedSegment {
        let levels = level::ending_with(log.number, files);
        IndexedSegment { log, index: SegmentIndex::Sealed(Arc::new(SealedIndex::new(Arc::clone(files)))), levels }
    }

    /// This segment, asked through an index that was made just now; `None` when it cannot be made.
    fn settled(&self, files: &Arc<IndexFiles>) -> Option<IndexedSegment> {
        let index = SealedIndex::made(Arc::clone(files), &self.log)?;
        Some(IndexedSegment { index: SegmentIndex::Sealed(Arc::new(index)), ..self.looking_anew(files) })
    }

    /// This segment, to look anew for the filters that end with it.
    fn looking_anew(&self, files: &Arc<IndexFiles>) -> IndexedSegment {
        IndexedSegment { levels: level::ending_with(self.log.number, files), ..self.clone() }
    }

    /// This segment, read from there.
    pub(crate) fn reading(&self, log: &Arc<Segment>) -> IndexedSegment {
        IndexedSegment { log: Arc::clone(log), ..self.clone() }
    }

    /// The filters over several segments of which this is the last, the widest first.
    pub(crate) fn levels(&self) -> &[Level] {
        self.levels.as_deref().unwrap_or_default()
    }

    /// Which versions of a stream the segment holds.
    pub(crate) fn span(&self, stream: &str) -> Result<Option<Span>, ReadError> {
        match &self.index {
            SegmentIndex::Memory(index) => Ok(index.span(stream)),
            SegmentIndex::Sealed(index) => index.span(&self.log, stream),
        }
    }

    /// Appends to `out` the offsets, divided by 8, of a range of a stream's
    /// events in the segment, as far as they exist. The first one is number 0.
    ///
    /// `span` is what this index has said of the stream.
    pub(crate) fn offsets(&self, span: &Span, range: Range<u64>, out: &mut Vec<u32>) -> Result<(), ReadError> {
        match &self.index {
            SegmentIndex::Memory(index) => {
                index.offsets(span, range, out);
                Ok(())
            }
            SegmentIndex::Sealed(index) => index.offsets(&self.log, span, range, out),
        }
    }

    /// Calls `each` with every stream of the segment whose name begins with `prefix`, in no order.
    pub(crate) fn streams(&self, prefix: &str, each: &mut dyn FnMut(&str, Span)) -> Result<(), ReadError> {
        match &self.index {
            SegmentIndex::Memory(index) => {
                index.streams(prefix, each);
                Ok(())
            }
            SegmentIndex::Sealed(index) => index.streams(&self.log, prefix, each),
        }
    }

    /// The position of the event that stands at `offset`.
    pub(crate) fn position_at(&self, offset: u64) -> Result<Position, ReadError> {
        self.log.position_at(offset).map_err(|error| self.unreadable(offset, error))
    }

    /// What the operating system refused to read of the segment.
    pub(crate) fn unreadable(&self, offset: u64, error: io::Error) -> ReadError {
        ReadError::Io { path: self.log.shown.clone(), offset, source: Arc::new(error) }
    }

    /// The numbers, from 0 in the segment, of its events up to `until` that are labelled so. It may
    /// name too many, also behind `until`, and never too few.
    pub(crate) fn labelled(&self, label: Label<'_>, until: Position) -> Result<RoaringBitmap, ReadError> {
        match &self.index {
            SegmentIndex::Memory(index) => Ok(index.labelled(&self.log, label, until)),
            SegmentIndex::Sealed(index) => index.labelled(&self.log, label),
        }
    }

    /// The latest position that the segment records for a foreign source.
    pub(crate) fn tracking(&self, source: &str) -> Result<Option<u64>, ReadError> {
        match &self.index {
            SegmentIndex::Memory(index) => Ok(index.tracking(source)),
            SegmentIndex::Sealed(index) => index.tracking(&self.log, source),
        }
    }

    /// Appends to `out` the positions at which the event with this id may be.
    pub(crate) fn ids(&self, id: EventId, out: &mut Vec<Position>) -> Result<(), ReadError> {
        match &self.index {
            SegmentIndex::Memory(index) => {
                index.positions(id, out);
                Ok(())
            }
            SegmentIndex::Sealed(index) => index.ids(&self.log, id, out),
        }
    }

    /// Appends to `out` the offsets of the commit markers that may have this idempotency key.
    pub(crate) fn markers(&self, key: &str, out: &mut Vec<u64>) -> Result<(), ReadError> {
        match &self.index {
            SegmentIndex::Memory(index) => {
                out.extend(index.marker(key));
                Ok(())
            }
            SegmentIndex::Sealed(index) => index.markers(&self.log, key, out),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_versions_with_a_hole_or_that_go_back_none_certainly_come_before() {
        let before = |first, last, events, version| {
            let (first, last) = (StreamVersion::new(first), StreamVersion::new(last));
            let span = Span { first, last, events, handle: 0 };
            span.events_before(StreamVersion::new(version))
        };
        assert_eq!(before(5, 9, 5, 7), 2);
        assert_eq!(before(5, 9, 5, 100), 5);
        assert_eq!(before(5, 9, 4, 7), 0, "one is missing");
        assert_eq!(before(5, 4, 2, 7), 0, "they go back");
    }
}

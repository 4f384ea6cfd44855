//! The index of a segment, in memory.
//!
//! The writer adds to it after a group is on disk and before its positions are
//! published; readers look things up at the same time. Both hold the lock for
//! one look-up or one group, never while anything is read from disk.
//! Types and tags have a lock of their own, which the writer never takes to append: see [`labels`].

mod ids;
mod labels;

use std::ops::Range;

use annals_codec::index::Label;
use annals_codec::{Position, RoaringBitmap, SourceName, StreamId, StreamVersion};
use hashbrown::HashMap;
use parking_lot::RwLock;
use smallvec::SmallVec;

use self::ids::Ids;
use self::labels::Labels;
use crate::index::Span;
use crate::log::segment::Segment;

#[derive(Debug, Default)]
pub(crate) struct MemoryIndex {
    inner: RwLock<Inner>,
    pub(crate) ids: Ids,
    labels: Labels,
}

#[derive(Debug, Default)]
struct Inner {
    streams: HashMap<StreamId, Postings>,
    tracking: HashMap<SourceName, u64>,
}

#[derive(Debug)]
struct Postings {
    first: StreamVersion,
    last: StreamVersion,
    /// Offset/8 of each event, in the order of versions.
    offsets: SmallVec<[u32; 4]>,
}

impl Postings {
    fn span(&self) -> Span {
        Span { first: self.first, last: self.last, events: self.offsets.len() as u64 }
    }
}

/// Events of one stream that follow each other in the log.
#[derive(Clone, Debug)]
pub(crate) struct Run {
    pub(crate) stream: StreamId,
    /// The version of the first of them.
    pub(crate) first: StreamVersion,
    /// Which of the offsets that are taken in with it are theirs.
    pub(crate) offsets: Range<usize>,
}

impl MemoryIndex {
    /// Takes in what a group of batches has added to the segment: its runs, and
    /// the offset/8 of each of its events.
    pub(crate) fn add(
        &self,
        runs: impl Iterator<Item = Run>,
        offsets: &[u32],
        tracking: impl Iterator<Item = (SourceName, u64)>,
    ) {
        let mut inner = self.inner.write();
        for run in runs {
            let offsets = &offsets[run.offsets];
            let last = run.first.plus(offsets.len() as u64).before();
            match inner.streams.get_mut(&*run.stream) {
                Some(postings) => {
                    postings.last = last;
                    postings.offsets.extend_from_slice(offsets);
                }
                None => {
                    let postings = Postings { first: run.first, last, offsets: SmallVec::from_slice(offsets) };
                    inner.streams.insert(run.stream, postings);
                }
            }
        }
        inner.tracking.extend(tracking);
    }

    /// Gives back what growing has reserved and sealing leaves unused.
    pub(crate) fn shrink(&self) {
        let mut inner = self.inner.write();
        inner.streams.shrink_to_fit();
        for postings in inner.streams.values_mut() {
            postings.offsets.shrink_to_fit();
        }
        drop(inner);
        self.ids.shrink();
    }

    pub(super) fn span(&self, stream: &str) -> Option<Span> {
        self.inner.read().streams.get(stream).map(Postings::span)
    }

    pub(super) fn offsets(&self, stream: &str, range: Range<u64>, out: &mut Vec<u32>) {
        let inner = self.inner.read();
        let Some(postings) = inner.streams.get(stream) else { return };
        let end = postings.offsets.len().min(range.end as usize);
        out.extend_from_slice(postings.offsets.get(range.start as usize..end).unwrap_or_default());
    }

    pub(super) fn streams(&self, prefix: &str, each: &mut dyn FnMut(&str, Span)) {
        for (stream, postings) in &self.inner.read().streams {
            if stream.starts_with(prefix) {
                each(stream, postings.span());
            }
        }
    }

    /// `segment` is the one whose index this is.
    pub(super) fn labelled(&self, segment: &Segment, label: Label<'_>, until: Position) -> RoaringBitmap {
        self.labels.labelled(segment, label, until)
    }

    pub(super) fn tracking(&self, source: &str) -> Option<u64> {
        self.inner.read().tracking.get(source).copied()
    }
}

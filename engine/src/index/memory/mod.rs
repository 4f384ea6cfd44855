//! The index of a segment, in memory.
//!
//! The writer adds to it after a group is on disk and before its positions are
//! published; readers look things up at the same time. Both hold the lock for
//! one look-up or one group, never while anything is read from disk.
//! Types and tags have a lock of their own, which the writer never takes to append: see [`labels`].

mod ids;
mod labels;

use std::hash::BuildHasher;
use std::ops::Range;

use annals_codec::index::Label;
use annals_codec::{Position, RoaringBitmap, SourceName, StreamId, StreamVersion};
use hashbrown::{DefaultHashBuilder, HashMap, HashTable};
use smallvec::SmallVec;

use self::ids::Ids;
use self::labels::Labels;
use crate::index::Span;
use crate::log::segment::Segment;
use crate::sync::RwLock;

#[derive(Debug, Default)]
pub(crate) struct MemoryIndex {
    inner: RwLock<Inner>,
    pub(crate) ids: Ids,
    labels: Labels,
}

#[derive(Debug, Default)]
struct Inner {
    streams: Vec<Postings>,
    /// The number of each name among the streams.
    numbers: HashTable<u32>,
    hasher: DefaultHashBuilder,
    tracking: HashMap<SourceName, u64>,
}

/// What the segment holds of a stream; nothing yet, when somebody has only asked for its number.
#[derive(Debug)]
struct Postings {
    name: StreamId,
    first: StreamVersion,
    last: StreamVersion,
    /// Offset/8 of each event, in the order of versions.
    offsets: SmallVec<[u32; 4]>,
}

impl Postings {
    fn span(&self, number: u32) -> Option<Span> {
        let events = self.offsets.len() as u64;
        (events > 0).then_some(Span { first: self.first, last: self.last, events, handle: number })
    }
}

impl Inner {
    fn number(&self, stream: &str) -> Option<u32> {
        let is_it = |number: &u32| *self.streams[*number as usize].name == *stream;
        self.numbers.find(self.hasher.hash_one(stream), is_it).copied()
    }

    fn add_stream(&mut self, name: StreamId) -> u32 {
        let Inner { streams, numbers, hasher, .. } = self;
        let number = streams.len() as u32;
        let hash = hasher.hash_one(&*name);
        let (first, last) = (StreamVersion::EMPTY, StreamVersion::EMPTY);
        streams.push(Postings { name, first, last, offsets: SmallVec::new() });
        numbers.insert_unique(hash, number, |number| hasher.hash_one(&*streams[*number as usize].name));
        number
    }
}

/// Events of one stream that follow each other in the log.
#[derive(Clone, Debug)]
pub(crate) struct Run {
    /// The [number](MemoryIndex::number) of the stream.
    pub(crate) stream: u32,
    /// The version of the first of them.
    pub(crate) first: StreamVersion,
    /// Which of the offsets that are taken in with it are theirs.
    pub(crate) offsets: Range<usize>,
}

impl MemoryIndex {
    /// The number by which the stream is known here; a new one gets the next.
    pub(crate) fn number(&self, stream: &str, name: impl FnOnce() -> StreamId) -> u32 {
        if let Some(number) = self.inner.read().number(stream) {
            return number;
        }
        // Only one thread adds streams: the writer, or whoever scans.
        self.inner.write().add_stream(name())
    }

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
            let postings = &mut inner.streams[run.stream as usize];
            if postings.offsets.is_empty() {
                postings.first = run.first;
            }
            postings.last = run.first.plus(offsets.len() as u64).before();
            postings.offsets.extend_from_slice(offsets);
        }
        inner.tracking.extend(tracking);
    }

    /// Gives back what growing has reserved and sealing leaves unused.
    pub(crate) fn shrink(&self) {
        let mut inner = self.inner.write();
        inner.streams.shrink_to_fit();
        for postings in &mut inner.streams {
            postings.offsets.shrink_to_fit();
        }
        drop(inner);
        self.ids.shrink();
    }

    pub(super) fn span(&self, stream: &str) -> Option<Span> {
        let inner = self.inner.read();
        let number = inner.number(stream)?;
        inner.streams[number as usize].span(number)
    }

    pub(super) fn offsets(&self, span: &Span, range: Range<u64>, out: &mut Vec<u32>) {
        let inner = self.inner.read();
        let postings = &inner.streams[span.handle as usize];
        let end = postings.offsets.len().min(range.end as usize);
        out.extend_from_slice(postings.offsets.get(range.start as usize..end).unwrap_or_default());
    }

    pub(super) fn streams(&self, prefix: &str, each: &mut dyn FnMut(&str, Span)) {
        for (number, postings) in (0..).zip(&self.inner.read().streams) {
            if let Some(span) = postings.span(number).filter(|_| postings.name.starts_with(prefix)) {
                each(&postings.name, span);
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

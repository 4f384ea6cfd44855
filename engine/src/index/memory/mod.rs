//! The index of a segment, in memory.
//!
//! The writer adds to it after a group is on disk and before its positions are
//! published; readers look things up at the same time. Both hold the lock for
//! one look-up or one group, never while anything is read from disk.
//!
//! A stream's postings lie anywhere in memory, and the writer waits for each of them: longer than it takes to
//! encode a small event. So it only writes down, in a row, what it has appended; who looks something up, or the
//! writer when there is enough of it, files it all at once, so that the processor waits for many of them together.
//! Types and tags have a lock of their own, which the writer never takes to append: see [`labels`].

mod ids;
mod labels;

use std::hash::BuildHasher;
use std::ops::Range;

use annals_codec::index::Label;
use annals_codec::{EventId, IdempotencyKey, Position, RoaringBitmap, SourceName, StreamId, StreamVersion};
use hashbrown::{DefaultHashBuilder, HashMap, HashTable};
use smallvec::SmallVec;

use self::ids::Ids;
use self::labels::Labels;
use crate::index::Span;
use crate::log::segment::Segment;
use crate::sync::{RwLock, RwLockReadGuard, RwLockWriteGuard};

#[derive(Debug, Default)]
pub(crate) struct MemoryIndex {
    inner: RwLock<Inner>,
    labels: Labels,
}

#[derive(Debug, Default)]
struct Inner {
    streams: Vec<Postings>,
    /// The number of each name among the streams.
    numbers: HashTable<u32>,
    hasher: DefaultHashBuilder,
    /// What is not filed yet: runs, and the offset/8 of each of their events.
    waiting: Vec<Run>,
    waiting_offsets: Vec<u32>,
    tracking: HashMap<SourceName, u64>,
    ids: Ids,
}

/// So many events wait at the most: filing them takes a few microseconds.
const MOST_WAITING: usize = 256;

/// What stays allocated for those that wait, in events: a larger group is rare.
const KEPT_WAITING: usize = 4096;

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

    /// Files what waits for it.
    fn file(&mut self) {
        for run in self.waiting.drain(..) {
            let offsets = &self.waiting_offsets[run.offsets];
            let postings = &mut self.streams[run.stream as usize];
            if postings.offsets.is_empty() {
                postings.first = run.first;
            }
            postings.last = run.first.plus(offsets.len() as u64).before();
            postings.offsets.extend_from_slice(offsets);
        }
        self.waiting_offsets.clear();
        self.waiting_offsets.shrink_to(KEPT_WAITING);
        self.waiting.shrink_to(KEPT_WAITING);
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

    /// Begins to take in what a group of batches has added to the segment.
    pub(crate) fn add(&self) -> Adding<'_> {
        Adding(self.inner.write())
    }

    /// Gives back what growing has reserved and sealing leaves unused.
    pub(crate) fn shrink(&self) {
        let mut inner = self.inner.write();
        inner.file();
        (inner.waiting, inner.waiting_offsets) = (Vec::new(), Vec::new());
        inner.streams.shrink_to_fit();
        for postings in &mut inner.streams {
            postings.offsets.shrink_to_fit();
        }
        inner.ids.shrink();
    }

    /// The streams, with nothing left to file.
    fn filed(&self) -> RwLockReadGuard<'_, Inner> {
        let inner = self.inner.read();
        if inner.waiting.is_empty() {
            return inner;
        }
        drop(inner);
        let mut inner = self.inner.write();
        inner.file();
        RwLockWriteGuard::downgrade(inner)
    }

    pub(super) fn span(&self, stream: &str) -> Option<Span> {
        let inner = self.filed();
        let number = inner.number(stream)?;
        inner.streams[number as usize].span(number)
    }

    pub(super) fn offsets(&self, span: &Span, range: Range<u64>, out: &mut Vec<u32>) {
        let inner = self.filed();
        let postings = &inner.streams[span.handle as usize];
        let end = postings.offsets.len().min(range.end as usize);
        out.extend_from_slice(postings.offsets.get(range.start as usize..end).unwrap_or_default());
    }

    pub(super) fn streams(&self, prefix: &str, each: &mut dyn FnMut(&str, Span)) {
        for (number, postings) in (0..).zip(&self.filed().streams) {
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
    /// Appends to `out` the positions at which the event with this id may be.
    pub(super) fn positions(&self, id: EventId, out: &mut Vec<Position>) {
        self.inner.read().ids.positions(id, out);
    }

    /// The offset of the commit marker that has this key.
    pub(super) fn marker(&self, key: &str) -> Option<u64> {
        self.inner.read().ids.marker(key)
    }
}

/// Takes in what a group of batches has added: nobody sees a part of it.
pub(crate) struct Adding<'a>(RwLockWriteGuard<'a, Inner>);

impl Adding<'_> {
    /// As [`MemoryIndex::number`].
    pub(crate) fn number(&mut self, stream: &str, name: impl FnOnce() -> StreamId) -> u32 {
        match self.0.number(stream) {
            Some(number) => number,
            None => self.0.add_stream(name()),
        }
    }

    /// Runs of events, and the offset/8 of each event.
    #[inline]
    pub(crate) fn runs(&mut self, runs: &[Run], offsets: &[u32]) {
        let inner = &mut *self.0;
        let before = inner.waiting_offsets.len();
        inner.waiting_offsets.extend_from_slice(offsets);
        for Run { stream, first, offsets } in runs {
            let offsets = before + offsets.start..before + offsets.end;
            inner.waiting.push(Run { stream: *stream, first: *first, offsets });
        }
        if inner.waiting_offsets.len() >= MOST_WAITING {
            inner.file();
        }
    }

    /// How far a foreign source was processed.
    pub(crate) fn tracking(&mut self, source: SourceName, upstream: u64) {
        self.0.tracking.insert(source, upstream);
    }

    /// The id of the event at `position`, which is higher than all before, of which nobody knows any
    /// more who made it, or which is known to be this store's: then those between may be left out.
    #[inline]
    pub(crate) fn id(&mut self, position: Position, recorded_at: i64, id: EventId) {
        self.0.ids.add(position, recorded_at, id);
    }

    /// The id of an event, given by a caller.
    pub(crate) fn given_id(&mut self, position: Position, id: EventId) {
        self.0.ids.add_given(position, id);
    }

    /// The idempotency key of a batch whose commit marker is at this offset.
    pub(crate) fn key(&mut self, key: IdempotencyKey, marker: u64) {
        self.0.ids.add_key(key, marker);
    }
}

//! Rebuilding what is derived from the log: indexes and offsets.
//!
//! A segment is scanned from its first frame; what the scan accepts, and only
//! that, is taken in, batch by batch.

use annals_codec::scan::Sink;
use annals_codec::{Commit, Event, EventId, FRAME_ALIGN, IdempotencyKey, Position, SourceName, StreamId};

use super::memory::{MemoryIndex, Run};
use crate::log::segment::Segment;

/// Takes a scan's events into a segment's index, and its offsets where they are kept in memory.
#[derive(Debug)]
pub(crate) struct IndexBuilder<'a> {
    index: &'a MemoryIndex,
    /// Of a segment without a dense index of its own.
    offsets: Option<&'a Segment>,
    /// Of a segment that is not there yet.
    kept: Option<&'a mut Vec<u32>>,
    /// The batch at hand: its runs, of each event the offset/8, the time of recording and the id, and the
    /// position of the first.
    runs: Vec<Run>,
    places: Vec<u32>,
    ids: Vec<(i64, EventId)>,
    first: Position,
}

impl<'a> IndexBuilder<'a> {
    pub(crate) fn new(index: &'a MemoryIndex) -> IndexBuilder<'a> {
        IndexBuilder {
            index,
            offsets: None,
            kept: None,
            runs: Vec::new(),
            places: Vec::new(),
            ids: Vec::new(),
            first: Position::START,
        }
    }

    /// Also tells `segment` where each event stands.
    pub(crate) fn placing_in(mut self, segment: &'a Segment) -> IndexBuilder<'a> {
        self.offsets = Some(segment);
        self
    }

    /// Also keeps the offset/8 of each event, in the order of positions.
    pub(crate) fn keeping(mut self, offsets: &'a mut Vec<u32>) -> IndexBuilder<'a> {
        self.kept = Some(offsets);
        self
    }
}

impl Sink for IndexBuilder<'_> {
    fn event(&mut self, offset: u64, event: &Event<'_>) {
        let number = self.places.len();
        if number == 0 {
            self.first = event.position;
        }
        self.places.push((offset / FRAME_ALIGN) as u32);
        self.ids.push((event.recorded_at, event.id));
        let stream = self.index.number(event.stream, || StreamId::stored(event.stream));
        if let Some(run) = self.runs.last_mut()
            && run.stream == stream
            && run.first.plus(run.offsets.len() as u64) == event.version
        {
            run.offsets.end += 1;
            return;
        }
        self.runs.push(Run { stream, first: event.version, offsets: number..number + 1 });
    }

    fn commit(&mut self, offset: u64, commit: &Commit<'_>) {
        if let Some(segment) = self.offsets {
            for (number, place) in (0..).zip(&self.places) {
                segment.place_event(self.first.plus(number), u64::from(*place) * FRAME_ALIGN);
            }
        }
        if let Some(kept) = &mut self.kept {
            kept.extend_from_slice(&self.places);
        }
        let mut index = self.index.add();
        index.runs(&self.runs, &self.places);
        for (number, (recorded_at, id)) in (0..).zip(&self.ids) {
            index.id(commit.first.plus(number), *recorded_at, *id);
        }
        if let Some(tracking) = commit.tracking
            && let Ok(source) = SourceName::new(tracking.source)
        {
            index.tracking(source, tracking.upstream);
        }
        if let Some(key) = commit.key.and_then(|key| IdempotencyKey::new(key).ok()) {
            index.key(key, offset);
        }
        drop(index);
        self.discard();
    }

    fn discard(&mut self) {
        self.runs.clear();
        self.places.clear();
        self.ids.clear();
    }
}

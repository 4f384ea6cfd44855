//! Rebuilding what is derived from the log: indexes and offsets.
//!
//! A segment is scanned from its first frame; what the scan accepts, and only that, is taken in. Not event by
//! event: whole batches are gathered, and taken in a few thousand events at a time, so that the processor waits for
//! many names at once; and while a long segment is scanned, a second thread takes in what the first has found.
//!
//! What is always true: what was found is taken in in the order of the log, and after [`IndexBuilder::finish`] all
//! of it is.

use std::panic;
use std::sync::Arc;

use annals_codec::scan::Sink;
use annals_codec::{
    Commit, Event, EventId, FRAME_ALIGN, IdempotencyKey, Position, SourceName, StreamId, StreamVersion,
};

use super::memory::{MemoryIndex, Run};
use crate::log::segment::Segment;
use crate::sync::mpsc::{SyncSender, sync_channel};
use crate::sync::thread::{self, JoinHandle};

/// So many events are taken in at once.
const AT_ONCE: usize = 4096;

/// So many times as many may wait until they are: a few hundred KiB each.
const MOST_WAITING: usize = 4;

/// Takes a scan's events into a segment's index, and its offsets where they are kept in memory.
#[derive(Debug)]
pub(crate) struct IndexBuilder<'a> {
    index: Arc<MemoryIndex>,
    /// Of a segment without a dense index of its own.
    offsets: Option<&'a Segment>,
    /// Of a segment that is not there yet.
    kept: Option<&'a mut Vec<u32>>,
    found: Found,
    beside: Option<Beside>,
}

impl<'a> IndexBuilder<'a> {
    pub(crate) fn new(index: &Arc<MemoryIndex>) -> IndexBuilder<'a> {
        IndexBuilder { index: Arc::clone(index), offsets: None, kept: None, found: Found::default(), beside: None }
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

    /// Takes in what is left, and waits until everything is.
    ///
    /// # Panics
    ///
    /// When the second thread has.
    pub(crate) fn finish(mut self) {
        if let Some(beside) = self.beside.take() {
            beside.finish();
        }
        self.found.take_in(&self.index);
    }

    /// Has what was found taken in by the second thread. Where there can be none, by this one.
    fn hand_over(&mut self) {
        let mut found = std::mem::take(&mut self.found);
        if self.beside.is_none() {
            self.beside = Beside::start(&self.index);
        }
        if let Some(beside) = &self.beside {
            match beside.found.send(found) {
                Ok(()) => return,
                // It has panicked, which is told in the end.
                Err(refused) => found = refused.0,
            }
        }
        found.take_in(&self.index);
    }
}

impl Sink for IndexBuilder<'_> {
    fn event(&mut self, offset: u64, event: &Event<'_>) {
        self.found.event(offset, event);
    }

    fn commit(&mut self, offset: u64, commit: &Commit<'_>) {
        let places = self.found.commit(offset, commit);
        if let Some(segment) = self.offsets {
            for (number, place) in (0..).zip(places) {
                segment.place_event(commit.first.plus(number), u64::from(*place) * FRAME_ALIGN);
            }
        }
        if let Some(kept) = &mut self.kept {
            kept.extend_from_slice(places);
        }
        if self.found.places.len() >= AT_ONCE {
            self.hand_over();
        }
    }

    fn discard(&mut self) {
        self.found.discard();
    }
}

/// Events that are not taken in yet, in the order of the log, and the batches that they make up. Behind the last
/// of these, those of the batch at hand.
#[derive(Debug, Default)]
struct Found {
    /// The names of their streams, one behind the other.
    names: String,
    /// The offset/8 of each.
    places: Vec<u32>,
    events: Vec<FoundEvent>,
    batches: Vec<FoundBatch>,
}

#[derive(Debug)]
struct FoundEvent {
    /// Where the name of its stream ends among the names.
    name_end: usize,
    version: StreamVersion,
    recorded_at: i64,
    id: EventId,
}

#[derive(Debug)]
struct FoundBatch {
    first: Position,
    /// Where its events end.
    end: usize,
    tracking: Option<(SourceName, u64)>,
    /// With the offset of the marker.
    key: Option<(IdempotencyKey, u64)>,
}

impl Found {
    fn event(&mut self, offset: u64, event: &Event<'_>) {
        self.names.push_str(event.stream);
        self.places.push((offset / FRAME_ALIGN) as u32);
        let Event { version, recorded_at, id, .. } = *event;
        self.events.push(FoundEvent { name_end: self.names.len(), version, recorded_at, id });
    }

    /// Ends the batch at hand, and tells where its events stand.
    fn commit(&mut self, offset: u64, commit: &Commit<'_>) -> &[u32] {
        let start = self.end();
        let tracking = commit.tracking.and_then(|tracking| {
            let source = SourceName::new(tracking.source).ok()?;
            Some((source, tracking.upstream))
        });
        let key = commit.key.and_then(|key| IdempotencyKey::new(key).ok()).map(|key| (key, offset));
        self.batches.push(FoundBatch { first: commit.first, end: self.events.len(), tracking, key });
        &self.places[start..]
    }

    /// Where the events of whole batches end.
    fn end(&self) -> usize {
        self.batches.last().map_or(0, |batch| batch.end)
    }

    /// The events of the batch at hand do not exist.
    fn discard(&mut self) {
        let end = self.end();
        self.events.truncate(end);
        self.places.truncate(end);
        self.names.truncate(self.events.last().map_or(0, |event| event.name_end));
    }

    fn take_in(self, index: &MemoryIndex) {
        let Found { names, places, events, batches } = self;
        let mut index = index.add();
        let mut start = 0;
        let mut streams = Vec::with_capacity(events.len());
        for event in &events {
            let name = &names[start..event.name_end];
            streams.push(index.number(name, || StreamId::stored(name)));
            start = event.name_end;
        }
        let (mut start, mut runs) = (0, Vec::new());
        for FoundBatch { first, end, tracking, key } in batches {
            runs.clear();
            for (number, (event, stream)) in (start..).zip(events[start..end].iter().zip(&streams[start..end])) {
                add_to_runs(&mut runs, *stream, event.version, number - start);
                index.id(first.plus((number - start) as u64), event.recorded_at, event.id);
            }
            index.runs(&runs, &places[start..end]);
            if let Some((source, upstream)) = tracking {
                index.tracking(source, upstream);
            }
            if let Some((key, marker)) = key {
                index.key(key, marker);
            }
            start = end;
        }
    }
}

/// Events of one stream that follow each other are one run.
fn add_to_runs(runs: &mut Vec<Run>, stream: u32, version: StreamVersion, number: usize) {
    if let Some(run) = runs.last_mut()
        && run.stream == stream
        && run.first.plus(run.offsets.len() as u64) == version
    {
        run.offsets.end += 1;
        return;
    }
    runs.push(Run { stream, first: version, offsets: number..number + 1 });
}

/// The second thread.
#[derive(Debug)]
struct Beside {
    found: SyncSender<Found>,
    thread: JoinHandle<()>,
}

impl Beside {
    fn start(index: &Arc<MemoryIndex>) -> Option<Beside> {
        let (found, to_take_in) = sync_channel::<Found>(MOST_WAITING);
        let index = Arc::clone(index);
        let run = move || {
            while let Ok(found) = to_take_in.recv() {
                found.take_in(&index);
            }
        };
        let thread = thread::Builder::new().name("annals-open".to_owned()).spawn(run).ok()?;
        Some(Beside { found, thread })
    }

    fn finish(self) {
        drop(self.found);
        if let Err(cause) = self.thread.join() {
            panic::resume_unwind(cause);
        }
    }
}

//! Rebuilding what is derived from the log: indexes, heads, and offsets.
//!
//! A segment is scanned from its first frame; what the scan accepts, and only
//! that, is taken in, batch by batch.

use annals_codec::scan::Sink;
use annals_codec::{Commit, Event, FRAME_ALIGN, Position, SourceName, StreamId};
use hashbrown::HashSet;

use super::heads::{Head, Heads};
use super::memory::{Entry, MemoryIndex};
use crate::log::segment::Segment;

/// Takes a scan's events into a segment's index, and its offsets where they are kept in memory.
#[derive(Debug)]
pub(crate) struct IndexBuilder<'a> {
    index: &'a MemoryIndex,
    /// Of a segment without a dense index of its own.
    offsets: Option<&'a Segment>,
    heads: Option<&'a mut Heads>,
    /// Streams met before, so that each name is kept once.
    names: &'a mut HashSet<StreamId>,
    pending: Vec<(Entry, Position)>,
}

impl<'a> IndexBuilder<'a> {
    pub(crate) fn new(index: &'a MemoryIndex, names: &'a mut HashSet<StreamId>) -> IndexBuilder<'a> {
        IndexBuilder { index, offsets: None, heads: None, names, pending: Vec::new() }
    }

    /// Also tells `segment` where each event stands.
    pub(crate) fn placing_in(mut self, segment: &'a Segment) -> IndexBuilder<'a> {
        self.offsets = Some(segment);
        self
    }

    /// Also moves the heads of the streams.
    pub(crate) fn moving(mut self, heads: &'a mut Heads) -> IndexBuilder<'a> {
        self.heads = Some(heads);
        self
    }

    fn name(&mut self, event: &Event<'_>) -> StreamId {
        match self.names.get(event.stream) {
            Some(name) => name.clone(),
            None => {
                let name = StreamId::of_event(event);
                self.names.insert(name.clone());
                name
            }
        }
    }
}

impl Sink for IndexBuilder<'_> {
    fn event(&mut self, offset: u64, event: &Event<'_>) {
        let stream = self.name(event);
        let entry = Entry { stream, version: event.version, offset: (offset / FRAME_ALIGN) as u32 };
        self.pending.push((entry, event.position));
    }

    fn commit(&mut self, _offset: u64, commit: &Commit<'_>) {
        if let Some(segment) = self.offsets {
            for (entry, position) in &self.pending {
                segment.place_event(*position, u64::from(entry.offset) * FRAME_ALIGN);
            }
        }
        let tracking =
            commit.tracking.and_then(|tracking| Some((SourceName::new(tracking.source).ok()?, tracking.upstream)));
        if let Some(heads) = &mut self.heads {
            for (entry, position) in &self.pending {
                heads.restore(&entry.stream, Head { version: entry.version, last: *position });
            }
            if let Some((source, upstream)) = &tracking {
                heads.restore_tracking(source, *upstream);
            }
        }
        self.index.add(self.pending.drain(..).map(|(entry, _)| entry), tracking.into_iter());
    }

    fn discard(&mut self) {
        self.pending.clear();
    }
}

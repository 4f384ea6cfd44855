//! What the order of events must satisfy over the whole log: versions count up, and time does not go back.
//!
//! Each segment is asked by itself, for what follows in it; what is left, how it goes on from those before, is asked of
//! its streams and its first event, segment by segment in order.

use annals_codec::scan::Sink;
use annals_codec::{Commit, Event, Interner, Position, StreamId, StreamVersion};
use hashbrown::HashMap;

use crate::index::floor::FloorIndex;

/// What the order of events must satisfy over the whole log.
#[derive(Debug, Default)]
pub(super) struct Order {
    versions: HashMap<StreamId, StreamVersion>,
    recorded_at: i64,
    /// How far the check has come, to know gaps: behind one, versions may jump.
    position: Position,
    behind_gap: bool,
    /// Where streams ended of which events were removed.
    floor: Option<FloorIndex>,
}

/// The first fault of a segment, and how many more there are behind it.
#[derive(Debug)]
pub(super) struct OrderFault {
    pub(super) offset: u64,
    pub(super) position: Position,
    pub(super) message: String,
    pub(super) more: u64,
}

impl Order {
    /// The log goes on behind this position. Without a floor, versions may begin anywhere.
    pub(super) fn begin_at(&mut self, position: Position, floor: Option<FloorIndex>) {
        self.position = position;
        self.behind_gap = floor.is_none();
        self.recorded_at = floor.as_ref().and_then(FloorIndex::anchor).map_or(0, |floor| floor.recorded_at);
        self.floor = floor;
    }

    /// Goes on with the next segment.
    pub(super) fn take(&mut self, segment: SegmentOrder) -> Option<OrderFault> {
        let SegmentOrder { streams, spans, first, last, recorded_at, behind_gap, mut faults, .. } = segment;
        let first = first?;
        self.behind_gap |= first.position != self.position.plus(1);
        if first.recorded_at < self.recorded_at {
            faults.add(first.offset, first.position, earlier);
        }
        for (number, span) in (0..).zip(spans) {
            let stream = streams.name(number);
            // Only a discarded batch has named it.
            let Some(span) = span else { continue };
            let before = match self.versions.get_mut(stream) {
                Some(version) => std::mem::replace(version, span.last),
                None => {
                    let stream = StreamId::stored(stream);
                    let removed = self.floor.as_ref().and_then(|floor| floor.stream(&stream).ok().flatten());
                    // A floor that is ahead of the log knows later ends, too.
                    let before = removed.filter(|removed| removed.last < span.position);
                    self.versions.insert(stream, span.last);
                    before.map_or(StreamVersion::EMPTY, |removed| removed.version)
                }
            };
            if !follows(before, span.first, self.behind_gap || span.behind_gap) {
                faults.add(span.offset, span.position, || jumped(stream, before, span.first));
            }
        }
        self.behind_gap |= behind_gap;
        self.position = last;
        self.recorded_at = self.recorded_at.max(recorded_at);
        faults.first
    }
}

fn follows(before: StreamVersion, version: StreamVersion, behind_gap: bool) -> bool {
    version == before.plus(1) || (behind_gap && version > before)
}

fn earlier() -> String {
    "it was recorded before the event before it".to_owned()
}

fn jumped(stream: &str, before: StreamVersion, version: StreamVersion) -> String {
    format!("version {version} of stream {stream} follows version {before}")
}

#[derive(Debug, Default)]
struct Faults {
    first: Option<OrderFault>,
}

impl Faults {
    fn add(&mut self, offset: u64, position: Position, message: impl FnOnce() -> String) {
        let more = self.first.as_ref().map_or(0, |first| first.more + 1);
        match &mut self.first {
            Some(first) if first.offset <= offset => first.more = more,
            _ => self.first = Some(OrderFault { offset, position, message: message(), more }),
        }
    }
}

/// What a segment holds of one stream.
#[derive(Debug)]
struct Span {
    first: StreamVersion,
    last: StreamVersion,
    /// Where the first event of them is, and whether something is missing in front of it, in the segment.
    offset: u64,
    position: Position,
    behind_gap: bool,
}

/// The first event of a segment.
#[derive(Clone, Copy, Debug)]
struct First {
    offset: u64,
    position: Position,
    recorded_at: i64,
}

/// The order of the events of one segment, and what is to be asked of those before it.
#[derive(Debug)]
pub(super) struct SegmentOrder {
    streams: Interner,
    /// By the number of the stream; nothing of those that only a discarded batch named.
    spans: Vec<Option<Span>>,
    first: Option<First>,
    last: Position,
    recorded_at: i64,
    behind_gap: bool,
    faults: Faults,
    /// The events of the batch at hand.
    pending: Vec<Pending>,
}

/// One event that is not known to exist yet.
#[derive(Debug)]
struct Pending {
    offset: u64,
    position: Position,
    version: StreamVersion,
    recorded_at: i64,
    stream: u32,
}

impl SegmentOrder {
    pub(super) fn new() -> SegmentOrder {
        SegmentOrder {
            streams: Interner::new(),
            spans: Vec::new(),
            first: None,
            last: Position::START,
            recorded_at: 0,
            behind_gap: false,
            faults: Faults::default(),
            pending: Vec::new(),
        }
    }
}

impl Sink for SegmentOrder {
    fn event(&mut self, offset: u64, event: &Event<'_>) {
        let (position, version, recorded_at) = (event.position, event.version, event.recorded_at);
        let stream = self.streams.intern(event.stream);
        self.pending.push(Pending { offset, position, version, recorded_at, stream });
    }

    fn commit(&mut self, _offset: u64, _commit: &Commit<'_>) {
        self.spans.resize_with(self.streams.len(), || None);
        for event in self.pending.drain(..) {
            let Pending { offset, position, version, recorded_at, stream } = event;
            match self.first {
                None => {
                    self.first = Some(First { offset, position, recorded_at });
                    self.recorded_at = recorded_at;
                }
                Some(_) => self.behind_gap |= position != self.last.plus(1),
            }
            self.last = position;
            let mut is_right = recorded_at >= self.recorded_at;
            let mut before = None;
            self.recorded_at = self.recorded_at.max(recorded_at);
            match &mut self.spans[stream as usize] {
                Some(span) => {
                    let last = std::mem::replace(&mut span.last, version);
                    if !follows(last, version, self.behind_gap) {
                        (is_right, before) = (false, Some(last));
                    }
                }
                span @ None => {
                    let behind_gap = self.behind_gap;
                    *span = Some(Span { first: version, last: version, offset, position, behind_gap });
                }
            }
            if !is_right {
                let jumped = |last| jumped(self.streams.name(stream), last, version);
                self.faults.add(offset, position, || before.map_or_else(earlier, jumped));
            }
        }
    }

    fn discard(&mut self) {
        self.pending.clear();
    }
}

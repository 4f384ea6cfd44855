//! What the order of events must satisfy over the whole log: versions count up, and time does not go back.

use std::ops::Range;

use annals_codec::scan::Sink;
use annals_codec::{Commit, Event, Position, StreamId, StreamVersion};
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
    /// The events of the batch at hand, and the names of their streams.
    pending: Vec<Pending>,
    names: String,
}

impl Order {
    /// The log goes on behind this position. Without a floor, versions may begin anywhere.
    pub(super) fn begin_at(&mut self, position: Position, floor: Option<FloorIndex>) {
        self.position = position;
        self.behind_gap = floor.is_none();
        self.recorded_at = floor.as_ref().and_then(FloorIndex::anchor).map_or(0, |floor| floor.recorded_at);
        self.floor = floor;
    }
}

/// One event that is not known to exist yet.
#[derive(Debug)]
struct Pending {
    offset: u64,
    position: Position,
    version: StreamVersion,
    recorded_at: i64,
    stream: Range<usize>,
}

pub(super) struct OrderSink<'a> {
    pub(super) order: &'a mut Order,
    pub(super) first_fault: Option<(u64, Position, String)>,
    pub(super) faults: u64,
}

impl Sink for OrderSink<'_> {
    fn event(&mut self, offset: u64, event: &Event<'_>) {
        let Order { pending, names, .. } = &mut *self.order;
        let start = names.len();
        names.push_str(event.stream);
        let (position, version, recorded_at) = (event.position, event.version, event.recorded_at);
        pending.push(Pending { offset, position, version, recorded_at, stream: start..names.len() });
    }

    fn commit(&mut self, _offset: u64, _commit: &Commit<'_>) {
        let order = &mut *self.order;
        for event in order.pending.drain(..) {
            order.behind_gap |= event.position != order.position.plus(1);
            order.position = event.position;
            let stream = &order.names[event.stream];
            let before = match order.versions.get_mut(stream) {
                Some(version) => std::mem::replace(version, event.version),
                None => {
                    order.versions.insert(StreamId::stored(stream), event.version);
                    let removed = order.floor.as_ref().and_then(|floor| floor.stream(stream).ok().flatten());
                    // A floor that is ahead of the log knows later ends, too.
                    let before = removed.filter(|removed| removed.last < event.position);
                    before.map_or(StreamVersion::EMPTY, |removed| removed.version)
                }
            };
            let follows = event.version == before.plus(1) || (order.behind_gap && event.version > before);
            let in_time = event.recorded_at >= order.recorded_at;
            order.recorded_at = order.recorded_at.max(event.recorded_at);
            if follows && in_time {
                continue;
            }
            self.faults += 1;
            self.first_fault.get_or_insert_with(|| {
                let message = if follows {
                    "it was recorded before the event before it".to_owned()
                } else {
                    format!("version {} of stream {stream} follows version {before}", event.version)
                };
                (event.offset, event.position, message)
            });
        }
        order.names.clear();
    }

    fn discard(&mut self) {
        self.order.pending.clear();
        self.order.names.clear();
    }
}

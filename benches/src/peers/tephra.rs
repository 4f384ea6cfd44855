//! tephra: an event store of tags and queries. A stream is a tag.
//!
//! Who appends names the position of the last event of the stream that it has seen; for
//! the callers here it is remembered beside the engine.

use std::collections::HashMap;
use std::path::Path;
use std::sync::Mutex;

use annals::StreamId;
use tephra::{
    AppendCondition, Event, EventType, Position, Query, QueryItem, SegmentConfig, SegmentSet, Tag, Tags,
    WriteCoordinator, WriteHandle, WriterConfig, read::Reads,
};

use super::record::{decode, encode};
use super::{alone, sum_of};
use crate::engine::{Append, Engine, Fields, Kind, Mode, Sum};

pub(crate) const KIND: Kind = Kind {
    name: "tephra",
    package: "tephra",
    open: |dir, _: Mode| Box::new(Tephra::open(dir)),
    durable: Some("each append"),
    buffered: None,
    conflicts: "a condition on the stream's tag",
    callers: "a shared sync",
    cannot: &[],
    checksums: "each, at every read",
};

struct Tephra {
    coordinator: Option<WriteCoordinator>,
    handle: WriteHandle,
    /// The position of each stream's last event.
    seen: Mutex<HashMap<StreamId, Position>>,
}

impl Tephra {
    fn open(dir: &Path) -> Tephra {
        let set = SegmentSet::open(dir, SegmentConfig::new(256 << 20)).expect("segments");
        let (coordinator, handle) = WriteCoordinator::start(set, WriterConfig::default()).expect("a writer");
        Tephra { coordinator: Some(coordinator), handle, seen: Mutex::default() }
    }
}

fn tags(stream: &str) -> Tags {
    Tags::new([Tag::new(stream).expect("a short tag")]).expect("one tag")
}

fn of_stream(stream: &str) -> Query {
    Query::item(QueryItem::with_tags(tags(stream)))
}

/// Our events in theirs: type and stream are theirs, the rest is in the payload.
fn events<'a>(append: &'a Append<'_>) -> impl Iterator<Item = Event> + 'a {
    append.fields(0).map(|event| {
        let event_type = EventType::new(event.event_type).expect("a short type");
        let payload = encode(&Fields { stream: "", event_type: "", ..event });
        Event::new(&event_type, &tags(event.stream), &payload).expect("an event")
    })
}

fn each(mut reads: Reads, mut see: impl FnMut(&Fields<'_>)) {
    while let Some(found) = reads.next() {
        let found = found.expect("a whole log");
        let stream = found.event.tags().next().expect("a stream's tag");
        let record = decode(found.event.data());
        see(&Fields { position: found.position.get(), stream, event_type: found.event.event_type(), ..record });
    }
}

impl Engine for Tephra {
    fn append(&self, append: Append<'_>) {
        let after = alone(&self.seen).get(append.stream).copied().unwrap_or(Position::ZERO);
        let condition = AppendCondition::new(of_stream(append.stream)).after(after);
        let range = self.handle.append(events(&append).collect(), Some(condition)).expect("an append");
        alone(&self.seen).insert(append.stream.clone(), range.last);
    }

    fn fill(&self, appends: Vec<Append<'_>>) {
        self.handle.append(appends.iter().flat_map(events).collect(), None).expect("an append");
    }

    fn version(&self, stream: &StreamId) -> Option<u64> {
        let mut version = 0;
        each(self.handle.read_back(&of_stream(stream), Position::MAX, Some(1)), |newest| {
            version = newest.version;
            alone(&self.seen).insert(stream.clone(), Position::new(newest.position));
        });
        Some(version)
    }

    fn read_all(&self) -> Sum {
        let mut sum = Sum::default();
        each(self.handle.read(&Query::all(), Position::ZERO, None), |event| sum.add(event));
        sum
    }

    fn read_streams(&self, streams: &[StreamId]) -> u64 {
        sum_of(streams, |stream| {
            let mut sum = 0u64;
            let reads = self.handle.read(&of_stream(stream), Position::ZERO, None);
            each(reads, |event| sum = sum.wrapping_add(event.sum()));
            sum
        })
    }

    fn get_positions(&self, positions: &[annals::Position]) -> u64 {
        sum_of(positions, |position| {
            let mut sum = 0;
            let reads = self.handle.read(&Query::all(), Position::new(position.get() - 1), Some(1));
            each(reads, |event| sum = event.sum());
            sum
        })
    }
}

impl Drop for Tephra {
    fn drop(&mut self) {
        if let Some(coordinator) = self.coordinator.take() {
            coordinator.shutdown();
        }
    }
}

//! salamander-db: an event store of streams and revisions, by the facade that any thread may call.

use std::collections::BTreeMap;
use std::path::Path;

use annals::{Position, StreamId};
use salamander::{
    DurabilityDto, EngineAppendBatch, EngineOptions, EventData, ExpectedRevisionDto, PayloadCodec, RecordDto,
    ReplayRequest,
};

use super::sum_of;
use crate::engine::{Append, Engine, Fields, Kind, Mode, Sum};

pub(crate) const KIND: Kind = Kind {
    name: "salamander",
    package: "salamander-db",
    open: |dir, mode| Box::new(Salamander::open(dir, mode)),
    durable: Some("`Durability::Sync`"),
    buffered: Some("`Durability::Buffered`"),
    conflicts: "no: who does not know the revision has to read the stream",
    callers: "its one thread",
    cannot: &[],
    checksums: "each, at every read",
};

/// Under this name it keeps the stream of an event, and we keep what else belongs to one.
const STREAM: &str = "salamander.stream_name";
const METADATA: &str = "metadata";

struct Salamander {
    engine: salamander::Engine,
    durability: DurabilityDto,
}

impl Salamander {
    fn open(dir: &Path, mode: Mode) -> Salamander {
        let engine = salamander::Engine::open(EngineOptions::new(dir)).expect("an engine");
        let durability = match mode {
            Mode::Durable => DurabilityDto::Sync,
            Mode::Buffered => DurabilityDto::Buffered,
        };
        Salamander { engine, durability }
    }

    fn read(&self, request: ReplayRequest, mut see: impl FnMut(&Fields<'_>)) {
        let reader = self.engine.open_reader(request).expect("a reader");
        loop {
            let page = self.engine.next_page(reader).expect("a page");
            page.records.iter().for_each(|record| see(&fields(record)));
            if page.done {
                break;
            }
        }
        self.engine.close_reader(reader).expect("a reader");
    }
}

fn fields(record: &RecordDto) -> Fields<'_> {
    Fields {
        position: record.position + 1,
        version: record.stream_revision + 1,
        id: &record.event_id,
        stream: std::str::from_utf8(&record.metadata[STREAM]).expect("a name is UTF-8"),
        event_type: &record.event_type,
        data: &record.payload,
        metadata: &record.metadata[METADATA],
    }
}

fn of_stream(stream: &StreamId) -> ReplayRequest {
    ReplayRequest { stream: Some(stream.to_string()), ..ReplayRequest::default() }
}

impl Engine for Salamander {
    fn append(&self, append: Append<'_>) {
        let events = append.events.into_iter().map(|event| EventData {
            event_id: Some(*event.id.as_bytes()),
            event_type: event.event_type.to_owned(),
            schema_version: 1,
            metadata: BTreeMap::from([(METADATA.to_owned(), event.metadata)]),
            codec: PayloadCodec::Bytes,
            payload: event.data,
        });
        let batch = EngineAppendBatch {
            branch_id: [0; 16],
            stream: append.stream.to_string(),
            expected: ExpectedRevisionDto::Any,
            idempotency_key: None,
            events: events.collect(),
            durability: self.durability,
        };
        self.engine.append(batch).expect("an append");
    }

    fn version(&self, _: &StreamId) -> Option<u64> {
        None
    }

    fn read_all(&self) -> Sum {
        let mut sum = Sum::default();
        self.read(ReplayRequest::default(), |event| sum.add(event));
        sum
    }

    fn read_streams(&self, streams: &[StreamId]) -> u64 {
        sum_of(streams, |stream| {
            let mut sum = 0u64;
            self.read(of_stream(stream), |event| sum = sum.wrapping_add(event.sum()));
            sum
        })
    }

    fn get_positions(&self, positions: &[Position]) -> u64 {
        sum_of(positions, |position| {
            let from = position.get() - 1;
            let mut sum = 0;
            self.read(ReplayRequest { from, until: Some(from + 1), ..ReplayRequest::default() }, |event| {
                sum = event.sum();
            });
            sum
        })
    }
}

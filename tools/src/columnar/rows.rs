//! Events that become a record batch.

use std::io;
use std::sync::Arc;

use annals::Event;
use annals_codec::EventId;
use arrow_array::builder::{
    BinaryBuilder, BooleanBuilder, Int32Builder, Int64Builder, ListBuilder, StringBuilder, StringDictionaryBuilder,
    TimestampNanosecondBuilder,
};
use arrow_array::types::Int32Type;
use arrow_array::{ArrayRef, RecordBatch};

use super::said;
use super::schema::{self, PLAIN};
use crate::payload::Cell;

/// How many events are in a batch at most.
const MOST_ROWS: usize = 8192;

/// How many bytes of payload, names and tags are in a batch at most, but for the last event in it.
const MOST_BYTES: usize = 16 << 20;

/// The events of a batch that is not whole yet.
pub(crate) struct Rows {
    position: Int64Builder,
    stream: StringBuilder,
    version: Int64Builder,
    event_type: StringDictionaryBuilder<Int32Type>,
    id: StringBuilder,
    recorded_at: TimestampNanosecondBuilder,
    ts: TimestampNanosecondBuilder,
    occurred_at: TimestampNanosecondBuilder,
    tags: ListBuilder<StringBuilder>,
    metadata: Payloads,
    data: Payloads,
    correlation_id: StringBuilder,
    causation_id: StringBuilder,
    schema_version: Int32Builder,
    content_type: Int32Builder,
    redacted: BooleanBuilder,
    events: usize,
    bytes: usize,
}

/// Data or metadata: in each row a text, or bytes, or neither.
#[derive(Default)]
struct Payloads {
    texts: StringBuilder,
    blobs: BinaryBuilder,
}

impl Payloads {
    fn push(&mut self, cell: Cell<'_>) {
        let (text, blob) = match cell {
            Cell::Nothing => (None, None),
            Cell::Text(text) => (Some(text), None),
            Cell::Blob(bytes) => (None, Some(bytes)),
        };
        self.texts.append_option(text);
        self.blobs.append_option(blob);
    }
}

impl Rows {
    pub(crate) fn new() -> Rows {
        let times = || TimestampNanosecondBuilder::new().with_timezone("UTC");
        Rows {
            position: Int64Builder::new(),
            stream: StringBuilder::new(),
            version: Int64Builder::new(),
            event_type: StringDictionaryBuilder::new(),
            id: StringBuilder::new(),
            recorded_at: times(),
            ts: times(),
            occurred_at: times(),
            tags: ListBuilder::new(StringBuilder::new()).with_field(schema::tag()),
            metadata: Payloads::default(),
            data: Payloads::default(),
            correlation_id: StringBuilder::new(),
            causation_id: StringBuilder::new(),
            schema_version: Int32Builder::new(),
            content_type: Int32Builder::new(),
            redacted: BooleanBuilder::new(),
            events: 0,
            bytes: 0,
        }
    }

    pub(crate) fn push(&mut self, event: &Event<'_>) {
        self.position.append_value(event.position.get().cast_signed());
        self.stream.append_value(event.stream);
        self.version.append_value(event.version.get().cast_signed());
        self.event_type.append_value(event.event_type);
        self.id.append_value(event.id.to_string());
        self.recorded_at.append_value(event.recorded_at);
        self.ts.append_value(event.occurred_at.unwrap_or(event.recorded_at));
        self.occurred_at.append_option(event.occurred_at);
        for tag in event.tags.iter() {
            self.tags.values().append_value(tag);
        }
        self.tags.append(true);
        let metadata = event.metadata.unwrap_or_default();
        self.metadata.push(Cell::of(metadata, event.content_type));
        self.data.push(Cell::of(event.data, event.content_type));
        let shown = |id: Option<EventId>| id.map(|id| id.to_string());
        self.correlation_id.append_option(shown(event.correlation_id));
        self.causation_id.append_option(shown(event.causation_id));
        self.schema_version.append_value(i32::from(event.schema_version));
        self.content_type.append_value(i32::from(event.content_type.number()));
        self.redacted.append_value(event.redacted);
        self.events += 1;
        self.bytes += event.data.len() + metadata.len() + event.stream.len() + event.tags.encoded().len();
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.events == 0
    }

    /// Whether it is time to make a batch of them.
    pub(crate) fn is_full(&self) -> bool {
        self.events >= MOST_ROWS || self.bytes >= MOST_BYTES
    }

    /// The batch. Afterwards there are none.
    pub(crate) fn finish(&mut self) -> io::Result<RecordBatch> {
        let columns: Vec<ArrayRef> = vec![
            Arc::new(self.position.finish()),
            Arc::new(self.stream.finish()),
            Arc::new(self.version.finish()),
            Arc::new(self.event_type.finish()),
            Arc::new(self.id.finish()),
            Arc::new(self.recorded_at.finish()),
            Arc::new(self.ts.finish()),
            Arc::new(self.occurred_at.finish()),
            Arc::new(self.tags.finish()),
            Arc::new(self.metadata.texts.finish()),
            Arc::new(self.data.texts.finish()),
            Arc::new(self.correlation_id.finish()),
            Arc::new(self.causation_id.finish()),
            Arc::new(self.schema_version.finish()),
            Arc::new(self.content_type.finish()),
            Arc::new(self.redacted.finish()),
            Arc::new(self.metadata.blobs.finish()),
            Arc::new(self.data.blobs.finish()),
        ];
        (self.events, self.bytes) = (0, 0);
        RecordBatch::try_new(Arc::clone(&PLAIN), columns).map_err(said)
    }
}

//! The event-store side: the same events for every measurement.

use std::path::Path;

use annals::{Durability, EventStore, EventType, ExpectedVersion, NewEvent, Options, Position, StreamId};

/// Streams, as a store of orders has them: a few busy ones and many quiet ones.
const STREAMS: u64 = 10_000;

/// Deterministic events: payloads of 256 bytes in skewed streams.
#[derive(Debug)]
pub struct Workload {
    streams: Vec<StreamId>,
    event_type: EventType,
    payload: Vec<u8>,
    state: u64,
}

impl Default for Workload {
    fn default() -> Workload {
        Workload::new()
    }
}

impl Workload {
    /// The same sequence of events each time.
    pub fn new() -> Workload {
        let stream = |number| StreamId::new(&format!("order-{number:013}")).expect("a short name");
        Workload {
            streams: (0..STREAMS).map(stream).collect(),
            event_type: EventType::new("order-line-added").expect("a short name"),
            payload: vec![b'x'; 256],
            state: 0x2545_F491_4F6C_DD1D,
        }
    }

    /// The next event's stream: squaring a random number favours the low ones.
    pub fn next_stream(&mut self) -> &StreamId {
        self.state ^= self.state << 13;
        self.state ^= self.state >> 7;
        self.state ^= self.state << 17;
        let uniform = self.state % STREAMS;
        &self.streams[(uniform * uniform / STREAMS) as usize]
    }

    /// The type of every event.
    pub fn event_type(&self) -> &EventType {
        &self.event_type
    }

    /// The payload of every event.
    pub fn payload(&self) -> &[u8] {
        &self.payload
    }

    /// One event to append. The payload is copied, as it would be in a program that made it just now.
    pub fn event(&self) -> NewEvent {
        NewEvent::new(&self.event_type, self.payload.clone())
    }
}

/// Opens a store for a measurement.
///
/// # Panics
///
/// When it cannot be opened.
pub fn open_store(dir: &Path, durability: Durability) -> EventStore {
    let options = Options::new().durability(durability).flush_interval(None);
    EventStore::open(dir, &options).expect("a fresh directory")
}

/// Appends `batches` batches of `size` events, each to one stream.
///
/// # Panics
///
/// When an append fails.
pub fn append(store: &EventStore, work: &mut Workload, batches: usize, size: usize) {
    for _ in 0..batches {
        let stream = work.next_stream().clone();
        if size == 1 {
            store.append(stream, ExpectedVersion::Any, work.event()).expect("an append");
        } else {
            let events: Vec<NewEvent> = (0..size).map(|_| work.event()).collect();
            store.append_batch(stream, ExpectedVersion::Any, events).expect("an append");
        }
    }
}

/// A store with `events` events, for reading.
///
/// # Panics
///
/// When an append fails.
pub fn fill(dir: &Path, events: usize) -> EventStore {
    let store = open_store(dir, Durability::Buffered);
    let mut work = Workload::new();
    append(&store, &mut work, events / 100, 100);
    store.flush().expect("a sync");
    store
}

/// Reads everything; returns how many bytes of payload were seen.
///
/// # Panics
///
/// When an event cannot be read.
pub fn read_all(store: &EventStore) -> u64 {
    let mut reader = store.read_all(Position::START);
    let mut bytes = 0;
    while let Some(event) = reader.next_event().expect("a whole log") {
        bytes += event.data.len() as u64 + event.position.get() % 2;
    }
    bytes
}

//! The store itself, as an engine among the others.

use std::path::Path;

use annals::{Durability, EventId, EventStore, ExpectedVersion, NewEvent, Options, Position, StreamId, StreamVersion};

use crate::engine::{Append, Engine, Fields, FindsIds, Kind, Mode, New, Sum};

pub(crate) const KIND: Kind = Kind {
    name: "annals",
    package: "annals",
    open: |dir, mode| Box::new(Annals::open(dir, mode)),
    durable: Some("`Durability::Sync`"),
    buffered: Some("`Durability::Buffered`, no timer"),
    conflicts: "`ExpectedVersion::Exact`",
    callers: "a shared sync",
    cannot: &[],
    checksums: "each, at the first read after an open",
};

pub(crate) struct Annals {
    pub(crate) store: EventStore,
}

impl Annals {
    fn open(dir: &Path, mode: Mode) -> Annals {
        let durability = match mode {
            Mode::Durable => Durability::Sync,
            Mode::Buffered => Durability::Buffered,
        };
        let options = Options::new().durability(durability).flush_interval(None);
        Annals { store: EventStore::open(dir, &options).expect("a directory with a store, or nothing") }
    }
}

/// The id is left to the store, as programs do that have none.
fn event(new: New<'_>) -> NewEvent {
    NewEvent::new(new.event_type, new.data).metadata(new.metadata)
}

impl Engine for Annals {
    fn append(&self, append: Append<'_>) {
        let expected = ExpectedVersion::Exact(StreamVersion::new(append.expected));
        let events = append.events.into_iter().map(event);
        self.store.append_batch(append.stream, expected, events).expect("an append");
    }

    fn fill(&self, appends: Vec<Append<'_>>) {
        let mut batch = self.store.batch();
        for append in appends {
            batch = batch.events(append.stream, append.events.into_iter().map(event));
        }
        batch.commit().expect("an append");
    }

    fn version(&self, stream: &StreamId) -> Option<u64> {
        Some(self.store.stream_version(stream).expect("a whole log").get())
    }

    fn read_all(&self) -> Sum {
        let mut sum = Sum::default();
        let mut reader = self.store.read_all(Position::START);
        while let Some(event) = reader.next_event().expect("a whole log") {
            sum.add(&Fields::of(&event));
        }
        sum
    }

    fn read_streams(&self, streams: &[StreamId]) -> u64 {
        let mut sum = 0u64;
        for stream in streams {
            let mut reader = self.store.read_stream(stream, StreamVersion::EMPTY).expect("a stream's name");
            while let Some(event) = reader.next_event().expect("a whole log") {
                sum = sum.wrapping_add(Fields::of(&event).sum());
            }
        }
        sum
    }

    fn get_positions(&self, positions: &[Position]) -> u64 {
        let get = |&position| {
            let event = self.store.get(position).expect("a whole log").expect("a position of the log");
            Fields::of(&event.as_event()).sum()
        };
        positions.iter().map(get).fold(0, u64::wrapping_add)
    }
}

impl FindsIds for Annals {
    fn get_ids(&self, ids: &[EventId]) -> u64 {
        let get = |&id| {
            let event = self.store.get_event(id).expect("a whole log").expect("an id of the log");
            Fields::of(&event.as_event()).sum()
        };
        ids.iter().map(get).fold(0, u64::wrapping_add)
    }
}

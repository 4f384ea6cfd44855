//! fjall: one keyspace of events by position, one of streams.

use std::path::Path;
use std::sync::Mutex;

use annals::{Position, StreamId};
use fjall::{Database, Keyspace, KeyspaceCreateOptions, PersistMode};

use super::record::{decode, encode, number, stream_key, stream_prefix};
use super::{alone, sum_of};
use crate::engine::{Append, Engine, Kind, Mode, Sum};

pub(crate) const KIND: Kind = Kind {
    name: "fjall",
    package: "fjall",
    open: |dir, mode| Box::new(Fjall::open(dir, mode)),
    durable: Some("`PersistMode::SyncData`"),
    buffered: Some("`PersistMode::Buffer`"),
    conflicts: "looked up, with the writer's mutex held",
    callers: "a mutex, for the look and the position",
    cannot: &[],
    checksums: "each block that is read from a file",
};

struct Fjall {
    database: Database,
    events: Keyspace,
    streams: Keyspace,
    /// The position of the last event.
    last: Mutex<u64>,
    mode: Mode,
}

impl Fjall {
    fn open(dir: &Path, mode: Mode) -> Fjall {
        let database = Database::builder(dir).open().expect("a database");
        let keyspace = |name| database.keyspace(name, KeyspaceCreateOptions::default).expect("a keyspace");
        let (events, streams) = (keyspace("events"), keyspace("streams"));
        let last = events.last_key_value().map_or(0, |last| number(&last.key().expect("a key")));
        Fjall { database, events, streams, last: Mutex::new(last), mode }
    }

    fn event(&self, position: &[u8]) -> u64 {
        decode(&self.events.get(position).expect("a read").expect("an event")).sum()
    }
}

impl Engine for Fjall {
    fn append(&self, append: Append<'_>) {
        self.fill(vec![append]);
    }

    fn fill(&self, appends: Vec<Append<'_>>) {
        let mut last = alone(&self.last);
        let persist = match self.mode {
            Mode::Durable => PersistMode::SyncData,
            Mode::Buffered => PersistMode::Buffer,
        };
        let mut batch = self.database.batch().durability(Some(persist));
        for append in &appends {
            let taken = self.streams.contains_key(stream_key(append.stream, append.expected + 1)).expect("a read");
            assert!(!taken, "somebody else was first");
            for event in append.fields(*last + 1) {
                let position = event.position.to_be_bytes();
                batch.insert(&self.events, position, encode(&event));
                batch.insert(&self.streams, stream_key(event.stream, event.version), position);
            }
            *last += append.events.len() as u64;
        }
        batch.commit().expect("a commit");
    }

    fn version(&self, stream: &StreamId) -> Option<u64> {
        let newest = self.streams.prefix(stream_prefix(stream)).next_back();
        Some(newest.map_or(0, |newest| number(&newest.key().expect("a key"))))
    }

    fn read_all(&self) -> Sum {
        let mut sum = Sum::default();
        for entry in self.events.iter() {
            sum.add(&decode(&entry.value().expect("a value")));
        }
        sum
    }

    fn read_streams(&self, streams: &[StreamId]) -> u64 {
        sum_of(streams, |stream| {
            let of_stream = self.streams.prefix(stream_prefix(stream));
            of_stream.map(|entry| self.event(&entry.value().expect("a value"))).fold(0, u64::wrapping_add)
        })
    }

    fn get_positions(&self, positions: &[Position]) -> u64 {
        sum_of(positions, |position| self.event(&position.get().to_be_bytes()))
    }
}

//! raft-engine: many logs in one. A stream is a group of its own, and a version an index in it.
//!
//! There is no order of all events and no place in it, but for the number that each event
//! is given here, so that the same is read as from the others.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};

use annals::{Position, StreamId};
use protobuf::well_known_types::BytesValue;
use raft_engine::{Config, LogBatch, MessageExt};

use super::record::{decode, encode};
use super::sum_of;
use crate::engine::{Append, Engine, Kind, Mode, Sum};

pub(crate) const KIND: Kind = Kind {
    name: "raft-engine",
    package: "raft-engine",
    open: |dir, mode| Box::new(RaftEngine::open(dir, mode)),
    durable: Some("`write(…, sync = true)`; batches from 8 KB compressed"),
    buffered: Some("`write(…, sync = false)`"),
    conflicts: "no",
    callers: "a shared sync",
    cannot: &["read-first", "read-again", "position"],
    checksums: "each block, at every read",
};

struct RaftEngine {
    engine: raft_engine::Engine,
    mode: Mode,
    /// How many events this process has written.
    written: AtomicU64,
}

/// A record whose version is its index.
struct Record;

impl MessageExt for Record {
    type Entry = BytesValue;

    fn index(entry: &BytesValue) -> u64 {
        decode(&entry.value).version
    }
}

impl RaftEngine {
    fn open(dir: &Path, mode: Mode) -> RaftEngine {
        let dir = dir.to_str().expect("a path of text").to_owned();
        let engine = raft_engine::Engine::open(Config { dir, ..Config::default() }).expect("an engine");
        RaftEngine { engine, mode, written: AtomicU64::new(0) }
    }
}

/// The group of a stream.
fn group(stream: &str) -> u64 {
    let mut hasher = DefaultHasher::new();
    stream.hash(&mut hasher);
    hasher.finish()
}

impl Engine for RaftEngine {
    fn append(&self, append: Append<'_>) {
        self.fill(vec![append]);
    }

    fn fill(&self, appends: Vec<Append<'_>>) {
        let mut batch = LogBatch::default();
        for append in &appends {
            let record = |event| {
                let mut entry = BytesValue::new();
                entry.value = encode(&event);
                entry
            };
            let written = self.written.fetch_add(append.events.len() as u64, Ordering::Relaxed);
            let entries: Vec<_> = append.fields(1 + written).map(record).collect();
            batch.add_entries::<Record>(group(append.stream), &entries).expect("entries");
        }
        self.engine.write(&mut batch, self.mode == Mode::Durable).expect("a write");
    }

    fn version(&self, stream: &StreamId) -> Option<u64> {
        Some(self.engine.last_index(group(stream)).unwrap_or(0))
    }

    fn read_all(&self) -> Sum {
        unreachable!("nobody asks")
    }

    fn read_streams(&self, streams: &[StreamId]) -> u64 {
        sum_of(streams, |stream| {
            let group = group(stream);
            let Some(last) = self.engine.last_index(group) else { return 0 };
            let mut entries = Vec::new();
            self.engine.fetch_entries_to::<Record>(group, 1, last + 1, None, &mut entries).expect("a read");
            entries.iter().map(|entry| decode(&entry.value).sum()).fold(0, u64::wrapping_add)
        })
    }

    fn get_positions(&self, _: &[Position]) -> u64 {
        unreachable!("nobody asks")
    }
}

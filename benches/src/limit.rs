//! The limit, as an engine: it encodes, checksums, writes and syncs, and finds nothing.

use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use annals::{Durability, Position, StreamId};
use annals_benches::{RawEvent, RawLog, raw_file_scan};

use crate::engine::{Append, Engine, Fields, Kind, Mode, Sum};

pub(crate) const KIND: Kind = Kind {
    name: "limit",
    package: "annals-benches",
    open: |dir, mode| Box::new(Limit::open(dir, mode)),
    durable: Some("one write into zeroed space, one `fdatasync`"),
    buffered: Some("one write"),
    conflicts: "no",
    callers: "a mutex",
    cannot: &["durable-64-callers", "stream", "position", "open-after-close", "open-after-kill"],
    checksums: "each, at every read",
};

struct Limit {
    dir: PathBuf,
    log: Mutex<RawLog>,
    /// The file, from the first time that it is read.
    bytes: Mutex<Vec<u8>>,
}

impl Limit {
    fn open(dir: &Path, mode: Mode) -> Limit {
        let durability = match mode {
            Mode::Durable => Durability::Sync,
            Mode::Buffered => Durability::Buffered,
        };
        let log = Mutex::new(RawLog::open(dir, durability));
        Limit { dir: dir.to_owned(), log, bytes: Mutex::default() }
    }
}

impl Engine for Limit {
    fn append(&self, append: Append<'_>) {
        self.fill(vec![append]);
    }

    fn fill(&self, appends: Vec<Append<'_>>) {
        let mut log = self.log.lock().unwrap_or_else(PoisonError::into_inner);
        log.commit(appends.iter().flat_map(|append| {
            append.events.iter().zip(append.expected + 1..).map(|(event, version)| RawEvent {
                stream: append.stream,
                version,
                event_type: event.event_type,
                data: &event.data,
                metadata: Some(&event.metadata),
            })
        }));
    }

    fn version(&self, _: &StreamId) -> Option<u64> {
        None
    }

    fn read_all(&self) -> Sum {
        let mut bytes = self.bytes.lock().unwrap_or_else(PoisonError::into_inner);
        if bytes.is_empty() {
            *bytes = RawLog::load(&self.dir);
        }
        let mut sum = Sum::default();
        raw_file_scan(&bytes, |event| sum.add(&Fields::of(event)));
        sum
    }

    fn read_streams(&self, _: &[StreamId]) -> u64 {
        unreachable!("nobody asks")
    }

    fn get_positions(&self, _: &[Position]) -> u64 {
        unreachable!("nobody asks")
    }
}

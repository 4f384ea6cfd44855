//! walrus: a queue of records with a cursor, read once from where the last reader stopped.
//!
//! The cursor is never written down here, so everything is read again after an open, and
//! only then. Where its files are is told by the environment of the process.

use std::path::Path;
use std::sync::Mutex;

use annals::{Position, StreamId};
use walrus_rust::{FsyncSchedule, ReadConsistency, Walrus};

use super::alone;
use super::record::{decode, encode};
use crate::engine::{Append, Engine, Kind, Mode, Sum};

pub(crate) const KIND: Kind = Kind {
    name: "walrus",
    package: "walrus-rust",
    open: |dir, mode| Box::new(Queue::open(dir, mode)),
    durable: Some("`FsyncSchedule::SyncEach`"),
    buffered: Some("`FsyncSchedule::NoFsync`"),
    conflicts: "no",
    callers: "a mutex, for the order",
    cannot: &["read-again", "stream", "position"],
    checksums: "each, at every read",
};

const TOPIC: &str = "events";
/// As much as one read gives.
const STEP: usize = 1 << 20;

struct Queue {
    queue: Walrus,
    /// The position of the last event that this process wrote.
    last: Mutex<u64>,
}

impl Queue {
    fn open(_: &Path, mode: Mode) -> Queue {
        let schedule = match mode {
            Mode::Durable => FsyncSchedule::SyncEach,
            Mode::Buffered => FsyncSchedule::NoFsync,
        };
        let reads = ReadConsistency::AtLeastOnce { persist_every: u32::MAX };
        let queue = Walrus::with_consistency_and_schedule(reads, schedule).expect("a queue");
        Queue { queue, last: Mutex::new(0) }
    }
}

impl Engine for Queue {
    fn append(&self, append: Append<'_>) {
        self.fill(vec![append]);
    }

    fn fill(&self, appends: Vec<Append<'_>>) {
        let mut last = alone(&self.last);
        let mut records = Vec::new();
        for append in &appends {
            records.extend(append.fields(*last + 1).map(|event| encode(&event)));
            *last += append.events.len() as u64;
        }
        if let [record] = &*records {
            self.queue.append_for_topic(TOPIC, record).expect("an append");
        } else {
            let records: Vec<&[u8]> = records.iter().map(|record| &**record).collect();
            self.queue.batch_append_for_topic(TOPIC, &records).expect("an append");
        }
    }

    fn version(&self, _: &StreamId) -> Option<u64> {
        None
    }

    fn read_all(&self) -> Sum {
        let mut sum = Sum::default();
        loop {
            let entries = self.queue.batch_read_for_topic(TOPIC, STEP, true).expect("a read");
            if entries.is_empty() {
                return sum;
            }
            for entry in entries {
                sum.add(&decode(&entry.data));
            }
        }
    }

    fn read_streams(&self, _: &[StreamId]) -> u64 {
        unreachable!("nobody asks")
    }

    fn get_positions(&self, _: &[Position]) -> u64 {
        unreachable!("nobody asks")
    }
}

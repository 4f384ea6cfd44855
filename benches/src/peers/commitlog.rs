//! commitlog: a log of messages with offsets, and an index of these in a mapped file.

use std::path::Path;
use std::sync::Mutex;

use annals::{Position, StreamId};
use commitlog::message::{MessageBuf, MessageSet};
use commitlog::{CommitLog, LogOptions, ReadLimit};

use super::record::{decode, encode};
use super::{alone, sum_of};
use crate::engine::{Append, Engine, Kind, Mode, Sum};

pub(crate) const KIND: Kind = Kind {
    name: "commitlog",
    package: "commitlog",
    open: |dir, mode| Box::new(Messages::open(dir, mode)),
    durable: Some("`flush()`, which does not sync the log"),
    buffered: Some("without `flush()`"),
    conflicts: "no",
    callers: "a mutex",
    cannot: &["stream"],
    checksums: "each, at every read",
};

/// As much as one read gives, of everything and for one event.
const STEP: usize = 1 << 20;
const EVENT: usize = 1 << 10;

struct Messages {
    log: Mutex<CommitLog>,
    mode: Mode,
}

impl Messages {
    fn open(dir: &Path, mode: Mode) -> Messages {
        let mut options = LogOptions::new(dir);
        // One segment: a log whose index is full panics at the first append after an open (0.2.0).
        options.segment_max_bytes(4 << 30).index_max_items(8_000_000);
        Messages { log: Mutex::new(CommitLog::new(options).expect("a log")), mode }
    }
}

impl Engine for Messages {
    fn append(&self, append: Append<'_>) {
        self.fill(vec![append]);
    }

    fn fill(&self, appends: Vec<Append<'_>>) {
        let mut log = alone(&self.log);
        let mut messages = MessageBuf::default();
        let mut next = log.next_offset() + 1;
        for append in &appends {
            for event in append.fields(next) {
                messages.push(encode(&event)).expect("a message");
                next += 1;
            }
        }
        log.append(&mut messages).expect("an append");
        if self.mode == Mode::Durable {
            log.flush().expect("a flush");
        }
    }

    fn version(&self, _: &StreamId) -> Option<u64> {
        None
    }

    fn read_all(&self) -> Sum {
        let log = alone(&self.log);
        let (mut sum, mut offset) = (Sum::default(), 0);
        while offset < log.next_offset() {
            let messages = log.read(offset, ReadLimit::max_bytes(STEP)).expect("messages");
            for message in messages.iter() {
                assert!(message.verify_hash(), "a whole message");
                sum.add(&decode(message.payload()));
                offset += 1;
            }
        }
        sum
    }

    fn read_streams(&self, _: &[StreamId]) -> u64 {
        unreachable!("nobody asks")
    }

    fn get_positions(&self, positions: &[Position]) -> u64 {
        let log = alone(&self.log);
        sum_of(positions, |position| {
            let messages = log.read(position.get() - 1, ReadLimit::max_bytes(EVENT)).expect("messages");
            let message = messages.iter().next().expect("a message");
            assert!(message.verify_hash(), "a whole message");
            decode(message.payload()).sum()
        })
    }
}

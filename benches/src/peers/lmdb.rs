//! LMDB: one tree of events by position, one of streams, and one of ids where it is asked for.
//!
//! ```text
//! events   position            record
//! streams  stream 0 version    position
//! ids      id                  position
//! ```

use std::path::Path;
use std::sync::Mutex;

use annals::{EventId, Position, StreamId};
use lmdb::{
    Cursor, Database, DatabaseFlags, Environment, EnvironmentFlags, Iter, RoTransaction, Transaction, WriteFlags,
};

use super::record::{decode, encode, number, stream_key, stream_prefix};
use super::{alone, sum_of};
use crate::engine::{Append, Engine, FindsIds, Kind, Mode, Sum};

pub(crate) const KIND: Kind = Kind {
    name: "lmdb",
    package: "lmdb-rkv",
    open: |dir, mode| Box::new(Lmdb::open(dir, mode)),
    durable: Some("defaults"),
    buffered: Some("`MDB_NOSYNC`"),
    conflicts: "`MDB_NOOVERWRITE` on the stream's key",
    callers: "its writer's lock",
    cannot: &[],
    checksums: "none",
};

/// Room for everything; the file grows as it is written.
const MAP_BYTES: usize = 16 << 30;

pub(crate) struct Lmdb {
    environment: Environment,
    events: Database,
    streams: Database,
    ids: Option<Database>,
    /// The position of the last event.
    last: Mutex<u64>,
    mode: Mode,
}

impl Lmdb {
    pub(crate) fn open(dir: &Path, mode: Mode) -> Lmdb {
        let mut builder = Environment::new();
        builder.set_max_dbs(3).set_map_size(MAP_BYTES);
        if mode == Mode::Buffered {
            builder.set_flags(EnvironmentFlags::NO_SYNC);
        }
        let environment = builder.open(dir).expect("an environment");
        let database = |name| environment.create_db(Some(name), DatabaseFlags::empty()).expect("a database");
        let (events, streams) = (database("events"), database("streams"));
        let last = {
            let transaction = environment.begin_ro_txn().expect("a transaction");
            let cursor = transaction.open_ro_cursor(events).expect("a cursor");
            cursor.get(None, None, LAST).ok().and_then(|(key, _)| key).map_or(0, number)
        };
        Lmdb { environment, events, streams, ids: None, last: Mutex::new(last), mode }
    }

    pub(crate) fn with_ids(mut self) -> Lmdb {
        self.ids = Some(self.environment.create_db(Some("ids"), DatabaseFlags::empty()).expect("a database"));
        self
    }

    fn event(&self, transaction: &impl Transaction, position: &[u8]) -> u64 {
        decode(transaction.get(self.events, &position).expect("an event")).sum()
    }

    /// Looks with a snapshot of its own for each, as the others do; the memory of the transaction
    /// is used again.
    fn sum<T>(&self, wanted: &[T], look: impl Fn(&RoTransaction<'_>, &T) -> u64) -> u64 {
        let mut idle = Some(self.environment.begin_ro_txn().expect("a transaction").reset());
        sum_of(wanted, |one| {
            let transaction = idle.take().expect("it is put back").renew().expect("a transaction");
            let seen = look(&transaction, one);
            idle = Some(transaction.reset());
            seen
        })
    }
}

/// `MDB_LAST`, which the crate does not name.
const LAST: u32 = 6;
/// `MDB_SET_RANGE`.
const SET_RANGE: u32 = 17;
/// `MDB_PREV`.
const PREVIOUS: u32 = 12;

impl Engine for Lmdb {
    fn append(&self, append: Append<'_>) {
        self.fill(vec![append]);
    }

    fn fill(&self, appends: Vec<Append<'_>>) {
        let mut transaction = self.environment.begin_rw_txn().expect("a transaction");
        let mut last = alone(&self.last);
        let mut put = |database, key: &[u8], value: &[u8], flags| {
            transaction.put(database, &key, &value, flags).expect("a put");
        };
        for append in &appends {
            for event in append.fields(*last + 1) {
                let position = event.position.to_be_bytes();
                put(self.events, &position, &encode(&event), WriteFlags::APPEND);
                put(self.streams, &stream_key(event.stream, event.version), &position, WriteFlags::NO_OVERWRITE);
                if let Some(ids) = self.ids {
                    put(ids, event.id, &position, WriteFlags::NO_OVERWRITE);
                }
            }
            *last += append.events.len() as u64;
        }
        transaction.commit().expect("a commit");
    }

    fn version(&self, stream: &StreamId) -> Option<u64> {
        let transaction = self.environment.begin_ro_txn().expect("a transaction");
        let cursor = transaction.open_ro_cursor(self.streams).expect("a cursor");
        // The last key before those that would follow.
        let newest = match cursor.get(Some(&stream_key(stream, u64::MAX)), None, SET_RANGE) {
            Ok(_) => cursor.get(None, None, PREVIOUS),
            Err(_) => cursor.get(None, None, LAST),
        };
        let key = newest.ok().and_then(|(key, _)| key).filter(|key| key.starts_with(&stream_prefix(stream)));
        Some(key.map_or(0, number))
    }

    fn read_all(&self) -> Sum {
        let transaction = self.environment.begin_ro_txn().expect("a transaction");
        let mut cursor = transaction.open_ro_cursor(self.events).expect("a cursor");
        let mut sum = Sum::default();
        for entry in cursor.iter_start() {
            sum.add(&decode(entry.expect("an entry").1));
        }
        sum
    }

    fn read_streams(&self, streams: &[StreamId]) -> u64 {
        self.sum(streams, |transaction, stream| {
            let prefix = stream_prefix(stream);
            let mut cursor = transaction.open_ro_cursor(self.streams).expect("a cursor");
            let entries: Iter<'_> = cursor.iter_from(&prefix);
            let of_stream =
                entries.map(|entry| entry.expect("an entry")).take_while(|(key, _)| key.starts_with(&prefix));
            of_stream.map(|(_, position)| self.event(transaction, position)).fold(0, u64::wrapping_add)
        })
    }

    fn get_positions(&self, positions: &[Position]) -> u64 {
        self.sum(positions, |transaction, position| self.event(transaction, &position.get().to_be_bytes()))
    }
}

impl FindsIds for Lmdb {
    fn get_ids(&self, ids: &[EventId]) -> u64 {
        let by_id = self.ids.expect("it was opened with ids");
        self.sum(ids, |transaction, id| {
            let position = transaction.get(by_id, id.as_bytes()).expect("an id");
            self.event(transaction, position)
        })
    }
}

impl Drop for Lmdb {
    fn drop(&mut self) {
        if self.mode == Mode::Buffered {
            self.environment.sync(true).expect("a sync");
        }
    }
}

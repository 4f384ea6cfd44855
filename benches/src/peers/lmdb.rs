//! LMDB: one tree of events by position, one of streams, one of ids.
//!
//! ```text
//! events   position                      version id len(stream) len(type) len(metadata) stream type metadata data
//! streams  stream 0 version              position
//! ids      id                            position
//! ```
//!
//! Numbers are big-endian, so that they sort; lengths are u16.

use std::path::Path;

use annals::{EventId, EventStore, Position, StreamId};
use lmdb::{Cursor, Database, DatabaseFlags, Environment, EnvironmentFlags, RwTransaction, Transaction, WriteFlags};

use super::copy;
use crate::contestant::{Contestant, Fields};

/// Room for everything; the file grows as it is written.
const MAP_BYTES: usize = 16 << 30;

pub(crate) struct Lmdb {
    dir: tempfile::TempDir,
    environment: Environment,
    events: Database,
    streams: Database,
    ids: Database,
}

impl Lmdb {
    pub(crate) fn copy(of: &EventStore) -> Lmdb {
        let dir = tempfile::tempdir().expect("a directory");
        let mut builder = Environment::new();
        // Nobody measures how it is filled; what is read was synced at the end.
        builder.set_max_dbs(3).set_map_size(MAP_BYTES).set_flags(EnvironmentFlags::NO_SYNC);
        let environment = builder.open(dir.path()).expect("a fresh environment");
        let database = |name| environment.create_db(Some(name), DatabaseFlags::empty()).expect("a database");
        let (events, streams, ids) = (database("events"), database("streams"), database("ids"));
        let lmdb = Lmdb { dir, environment, events, streams, ids };
        let mut open = Some(lmdb.begin());
        copy(of, |event, ends| {
            let transaction = open.get_or_insert_with(|| lmdb.begin());
            lmdb.put(transaction, event);
            if ends && let Some(whole) = open.take() {
                whole.commit().expect("a commit");
            }
        });
        drop(open);
        lmdb.environment.sync(true).expect("a sync");
        lmdb
    }

    fn begin(&self) -> RwTransaction<'_> {
        self.environment.begin_rw_txn().expect("a transaction")
    }

    fn put(&self, transaction: &mut RwTransaction<'_>, event: &Fields<'_>) {
        let position = event.position.to_be_bytes();
        let mut put = |database, key: &[u8], value: &[u8], flags| {
            transaction.put(database, &key, &value, flags).expect("a put");
        };
        put(self.events, &position, &encode(event), WriteFlags::APPEND);
        put(self.streams, &key(event.stream, event.version), &position, WriteFlags::NO_OVERWRITE);
        put(self.ids, event.id, &position, WriteFlags::NO_OVERWRITE);
    }

    fn event(&self, transaction: &impl Transaction, position: &[u8]) -> u64 {
        let value = transaction.get(self.events, &position).expect("an event");
        decode(position, value).sum()
    }

    /// Looks with a snapshot of its own for each, as the others do; the memory of the transaction
    /// is used again.
    fn sum<T>(&self, wanted: &[T], look: impl Fn(&lmdb::RoTransaction<'_>, &T) -> u64) -> u64 {
        let mut idle = self.environment.begin_ro_txn().expect("a transaction").reset();
        let mut sum = 0u64;
        for one in wanted {
            let transaction = idle.renew().expect("a transaction");
            sum = sum.wrapping_add(look(&transaction, one));
            idle = transaction.reset();
        }
        sum
    }
}

impl Contestant for Lmdb {
    fn name(&self) -> &'static str {
        "LMDB"
    }

    fn dir(&self) -> &Path {
        self.dir.path()
    }

    fn read_streams(&self, streams: &[StreamId]) -> u64 {
        self.sum(streams, |transaction, stream| {
            let first = key(stream, 0);
            let prefix = &first[..=stream.len()];
            let mut cursor = transaction.open_ro_cursor(self.streams).expect("a cursor");
            let entries = cursor.iter_from(&first).map(|entry| entry.expect("an entry"));
            let of_stream = entries.take_while(|(key, _)| key.starts_with(prefix));
            of_stream.map(|(_, position)| self.event(transaction, position)).fold(0, u64::wrapping_add)
        })
    }

    fn get_positions(&self, positions: &[Position]) -> u64 {
        self.sum(positions, |transaction, position| self.event(transaction, &position.get().to_be_bytes()))
    }

    fn get_ids(&self, ids: &[EventId]) -> u64 {
        self.sum(ids, |transaction, id| {
            let position = transaction.get(self.ids, id.as_bytes()).expect("an id");
            self.event(transaction, position)
        })
    }
}

fn key(stream: &str, version: u64) -> Vec<u8> {
    [stream.as_bytes(), &[0], &version.to_be_bytes()].concat()
}

fn encode(event: &Fields<'_>) -> Vec<u8> {
    let len = |bytes: &[u8]| (bytes.len() as u16).to_be_bytes();
    let (stream, event_type) = (event.stream.as_bytes(), event.event_type.as_bytes());
    let head = [&event.version.to_be_bytes()[..], event.id, &len(stream), &len(event_type), &len(event.metadata)];
    [&head.concat(), stream, event_type, event.metadata, event.data].concat()
}

fn decode<'a>(position: &[u8], value: &'a [u8]) -> Fields<'a> {
    let u64_of = |bytes: &[u8]| u64::from_be_bytes(bytes.try_into().expect("eight bytes"));
    let len_at = |at: usize| u16::from_be_bytes([value[at], value[at + 1]]) as usize;
    let text = |bytes: &'a [u8]| std::str::from_utf8(bytes).expect("a name is UTF-8");
    let (stream, rest) = value[30..].split_at(len_at(24));
    let (event_type, rest) = rest.split_at(len_at(26));
    let (metadata, data) = rest.split_at(len_at(28));
    Fields {
        position: u64_of(position),
        version: u64_of(&value[..8]),
        id: &value[8..24],
        stream: text(stream),
        event_type: text(event_type),
        data,
        metadata,
    }
}

//! SQLite: one table, a unique index, WAL, a mapped file, prepared statements.

use std::path::Path;
use std::sync::{Mutex, MutexGuard};

use annals::{EventId, Position, StreamId};
use rusqlite::{CachedStatement, Connection, OptionalExtension, Row, params};

use super::{alone, sum_of};
use crate::engine::{Append, Engine, Fields, FindsIds, Kind, Mode, Sum};

pub(crate) const KIND: Kind = Kind {
    name: "sqlite",
    package: "rusqlite",
    open: |dir, mode| Box::new(Sqlite::open(dir, mode)),
    durable: Some("WAL, `synchronous = FULL`"),
    buffered: Some("WAL, `synchronous = NORMAL`"),
    conflicts: "unique index",
    callers: "a mutex around one connection",
    cannot: &[],
    checksums: "none",
};

const SCHEMA: &str = "
    PRAGMA journal_mode = WAL;
    PRAGMA mmap_size = 2000000000;
    PRAGMA cache_size = -65536;
    CREATE TABLE IF NOT EXISTS events (
        position INTEGER PRIMARY KEY,
        stream   TEXT NOT NULL,
        version  INTEGER NOT NULL,
        type     TEXT NOT NULL,
        id       BLOB NOT NULL,
        data     BLOB NOT NULL,
        metadata BLOB
    );
    CREATE UNIQUE INDEX IF NOT EXISTS events_by_stream ON events (stream, version);
";

const INSERT: &str = "INSERT INTO events VALUES (NULL, ?1, ?2, ?3, ?4, ?5, ?6)";

pub(crate) struct Sqlite {
    database: Mutex<Connection>,
}

impl Sqlite {
    pub(crate) fn open(dir: &Path, mode: Mode) -> Sqlite {
        let database = Connection::open(dir.join("events.db")).expect("a database");
        database.execute_batch(SCHEMA).expect("tables");
        let synchronous = match mode {
            Mode::Durable => "FULL",
            Mode::Buffered => "NORMAL",
        };
        database.pragma_update(None, "synchronous", synchronous).expect("a pragma");
        Sqlite { database: Mutex::new(database) }
    }

    pub(crate) fn index_ids(&self) {
        let database = self.connection();
        database.execute_batch("CREATE UNIQUE INDEX events_by_id ON events (id)").expect("an index");
        // What is read comes from the mapped file, and not from the WAL.
        database.execute_batch("PRAGMA wal_checkpoint(TRUNCATE); PRAGMA optimize").expect("a checkpoint");
    }

    fn connection(&self) -> MutexGuard<'_, Connection> {
        alone(&self.database)
    }
}

fn select<'a>(database: &'a Connection, condition: &str) -> CachedStatement<'a> {
    let select = "SELECT position, version, id, stream, type, data, metadata FROM events";
    database.prepare_cached(&format!("{select} {condition}")).expect("a statement")
}

impl Engine for Sqlite {
    fn append(&self, append: Append<'_>) {
        self.fill(vec![append]);
    }

    fn fill(&self, appends: Vec<Append<'_>>) {
        let mut database = self.connection();
        let transaction = database.transaction().expect("a transaction");
        {
            let mut insert = transaction.prepare_cached(INSERT).expect("a statement");
            for event in appends.iter().flat_map(|append| append.fields(0)) {
                let Fields { version, id, stream, event_type, data, metadata, .. } = event;
                let row = params![stream, version.cast_signed(), event_type, id, data, metadata];
                insert.execute(row).expect("an insert");
            }
        }
        transaction.commit().expect("a commit");
    }

    fn version(&self, stream: &StreamId) -> Option<u64> {
        let database = self.connection();
        let newest = "SELECT version FROM events WHERE stream = ?1 ORDER BY version DESC LIMIT 1";
        let mut select = database.prepare_cached(newest).expect("a statement");
        let version: Option<i64> = select.query_row((&**stream,), |row| row.get(0)).optional().expect("a query");
        Some(version.unwrap_or(0).cast_unsigned())
    }

    fn read_all(&self) -> Sum {
        let database = self.connection();
        let mut select = select(&database, "ORDER BY position");
        let mut rows = select.query(()).expect("a query");
        let mut sum = Sum::default();
        while let Some(row) = rows.next().expect("a row") {
            sum.add(&fields(row).expect("the columns of the table"));
        }
        sum
    }

    fn read_streams(&self, streams: &[StreamId]) -> u64 {
        let database = self.connection();
        let mut select = select(&database, "WHERE stream = ?1 AND version > ?2 ORDER BY version");
        let mut sum = 0u64;
        for stream in streams {
            let mut rows = select.query((&**stream, 0)).expect("a query");
            while let Some(row) = rows.next().expect("a row") {
                sum = sum.wrapping_add(fields(row).expect("the columns of the table").sum());
            }
        }
        sum
    }

    fn get_positions(&self, positions: &[Position]) -> u64 {
        let database = self.connection();
        let mut select = select(&database, "WHERE position = ?1");
        let look = |row: &Row<'_>| fields(row).map(|event| event.sum());
        sum_of(positions, |position| select.query_row((position.get().cast_signed(),), look).expect("a row"))
    }
}

impl FindsIds for Sqlite {
    fn get_ids(&self, ids: &[EventId]) -> u64 {
        let database = self.connection();
        let mut select = select(&database, "WHERE id = ?1");
        let look = |row: &Row<'_>| fields(row).map(|event| event.sum());
        sum_of(ids, |id| select.query_row((&id.as_bytes()[..],), look).expect("a row"))
    }
}

/// The columns, borrowed from the page.
fn fields<'a>(row: &'a Row<'_>) -> rusqlite::Result<Fields<'a>> {
    Ok(Fields {
        position: row.get_ref(0)?.as_i64()?.cast_unsigned(),
        version: row.get_ref(1)?.as_i64()?.cast_unsigned(),
        id: row.get_ref(2)?.as_blob()?,
        stream: row.get_ref(3)?.as_str()?,
        event_type: row.get_ref(4)?.as_str()?,
        data: row.get_ref(5)?.as_blob()?,
        metadata: row.get_ref(6)?.as_blob()?,
    })
}

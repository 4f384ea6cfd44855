//! SQLite: one table, two unique indexes, WAL, a mapped file, prepared statements.

use std::path::Path;

use annals::{EventId, EventStore, Position, StreamId};
use rusqlite::{Connection, Row, Statement, params};

use super::copy;
use crate::contestant::{Contestant, Fields};

const SCHEMA: &str = "
    PRAGMA journal_mode = WAL;
    PRAGMA synchronous = NORMAL;
    PRAGMA mmap_size = 2000000000;
    PRAGMA cache_size = -65536;
    CREATE TABLE events (
        position INTEGER PRIMARY KEY,
        stream   TEXT NOT NULL,
        version  INTEGER NOT NULL,
        type     TEXT NOT NULL,
        id       BLOB NOT NULL,
        data     BLOB NOT NULL,
        metadata BLOB
    );
    CREATE UNIQUE INDEX events_by_stream ON events (stream, version);
    CREATE UNIQUE INDEX events_by_id ON events (id);
";

const INSERT: &str = "INSERT INTO events VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)";

pub(crate) struct Sqlite {
    dir: tempfile::TempDir,
    database: Connection,
}

impl Sqlite {
    pub(crate) fn copy(of: &EventStore) -> Sqlite {
        let dir = tempfile::tempdir().expect("a directory");
        let database = Connection::open(dir.path().join("events.db")).expect("a fresh database");
        database.execute_batch(SCHEMA).expect("tables");
        {
            let mut insert = database.prepare(INSERT).expect("a statement");
            database.execute_batch("BEGIN").expect("a transaction");
            copy(of, |event, ends| {
                let Fields { position, version, id, stream, event_type, data, metadata } = *event;
                let (position, version) = (position.cast_signed(), version.cast_signed());
                let row = params![position, stream, version, event_type, id, data, metadata];
                insert.execute(row).expect("an insert");
                if ends {
                    database.execute_batch("COMMIT; BEGIN").expect("a commit");
                }
            });
            database.execute_batch("COMMIT").expect("a commit");
        }
        // What is read comes from the mapped file, and not from the WAL.
        database.execute_batch("PRAGMA wal_checkpoint(TRUNCATE); PRAGMA optimize").expect("a checkpoint");
        Sqlite { dir, database }
    }

    fn select(&self, condition: &str) -> Statement<'_> {
        let select = "SELECT position, version, id, stream, type, data, metadata FROM events WHERE";
        self.database.prepare(&format!("{select} {condition}")).expect("a statement")
    }
}

impl Contestant for Sqlite {
    fn name(&self) -> &'static str {
        "SQLite"
    }

    fn dir(&self) -> &Path {
        self.dir.path()
    }

    fn read_streams(&self, streams: &[StreamId]) -> u64 {
        let mut select = self.select("stream = ?1 AND version > ?2 ORDER BY version");
        let mut sum = 0u64;
        for stream in streams {
            let mut rows = select.query((&**stream, 0)).expect("a query");
            while let Some(row) = rows.next().expect("a row") {
                sum = sum.wrapping_add(sum_of(row).expect("the columns of the table"));
            }
        }
        sum
    }

    fn get_positions(&self, positions: &[Position]) -> u64 {
        let mut select = self.select("position = ?1");
        let get = |position: &Position| select.query_row((position.get().cast_signed(),), sum_of).expect("a row");
        positions.iter().map(get).fold(0, u64::wrapping_add)
    }

    fn get_ids(&self, ids: &[EventId]) -> u64 {
        let mut select = self.select("id = ?1");
        let get = |id: &EventId| select.query_row((&id.as_bytes()[..],), sum_of).expect("a row");
        ids.iter().map(get).fold(0, u64::wrapping_add)
    }
}

/// The columns, borrowed from the page.
fn sum_of(row: &Row<'_>) -> rusqlite::Result<u64> {
    let fields = Fields {
        position: row.get_ref(0)?.as_i64()?.cast_unsigned(),
        version: row.get_ref(1)?.as_i64()?.cast_unsigned(),
        id: row.get_ref(2)?.as_blob()?,
        stream: row.get_ref(3)?.as_str()?,
        event_type: row.get_ref(4)?.as_str()?,
        data: row.get_ref(5)?.as_blob()?,
        metadata: row.get_ref(6)?.as_blob()?,
    };
    Ok(fields.sum())
}

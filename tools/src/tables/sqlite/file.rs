//! The file: whether it is one of ours, what it says of itself, and whether it still has its name.
//!
//! What is always true: what is there is judged before anything is written to it, and the judgement asks SQLite alone: the
//! locks of this process would be lost if somebody opened and closed the file beside it.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use annals::{Mark, Position};
use rusqlite::{Connection, ErrorCode, OpenFlags, OptionalExtension as _, params};

use crate::sql::Column;
use crate::tables::TableError;
use crate::tables::place::{Identity, identity};

/// Says in the header of the file who has made it: ANNL.
const APPLICATION: i64 = 0x414E_4E4C;

/// The version of the tables in it, in the header, too.
const VERSION: i64 = 2;

/// An open file.
pub(super) struct SqliteFile {
    pub(super) connection: Connection,
    pub(super) path: PathBuf,
    identity: Option<Identity>,
}

/// What is where a table is to be.
#[derive(Debug, Eq, PartialEq)]
pub(super) enum Found {
    /// A file that has nothing in it, or none at all until now.
    Nothing,
    /// A table of this version.
    Table,
}

impl SqliteFile {
    /// Opens it; makes an empty file where there is none. Waits so long for whoever keeps it locked.
    pub(super) fn open(path: &Path, patience: Duration) -> Result<SqliteFile, TableError> {
        if path.exists() && !path.is_file() {
            let what = if path.is_dir() { "a directory" } else { "no ordinary file" };
            return Err(TableError::Foreign { file: path.to_owned(), what: what.to_owned() });
        }
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_CREATE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        // A name is a name: SQLite would take `:memory:` and `file:…` for something else, and does not behind a folder.
        let opened = Connection::open_with_flags(Path::new(".").join(path), flags);
        let connection = opened.map_err(|error| failed("open", path, error))?;
        let file = SqliteFile { connection, path: path.to_owned(), identity: identity(path) };
        let prepare = || -> rusqlite::Result<()> {
            file.connection.busy_timeout(patience)?;
            // What is redacted is to be gone from the file. Pages are larger than usual: rows are added at the end only.
            file.connection.execute_batch(
                "PRAGMA page_size = 8192; PRAGMA secure_delete = ON; PRAGMA synchronous = FULL; PRAGMA cache_size = -65536;
                 PRAGMA cache_spill = OFF; PRAGMA trusted_schema = OFF",
            )
        };
        prepare().map_err(|error| file.failed("open", error))?;
        Ok(file)
    }

    /// What it is. Changes nothing.
    pub(super) fn found(&self) -> Result<Found, TableError> {
        let ask = |sql: &str| self.connection.query_row(sql, [], |row| row.get::<_, i64>(0));
        let foreign = |what: &str| TableError::Foreign { file: self.path.clone(), what: what.to_owned() };
        let application = ask("PRAGMA application_id").map_err(|error| self.failed("read", error))?;
        let version = ask("PRAGMA user_version").map_err(|error| self.failed("read", error))?;
        let things = ask("SELECT count(*) FROM sqlite_schema").map_err(|error| self.failed("read", error))?;
        match (application, version) {
            (APPLICATION, VERSION) => Ok(Found::Table),
            (APPLICATION, found) => Err(TableError::Version { file: self.path.clone(), found, ours: VERSION }),
            (0, 0) if things == 0 => Ok(Found::Nothing),
            _ => Err(foreign("a database of somebody else")),
        }
    }

    /// Makes the tables, if there is nothing; they begin at the mark that `beginning` gives.
    pub(super) fn or_made(
        self,
        beginning: impl FnOnce() -> Result<Mark, TableError>,
    ) -> Result<SqliteFile, TableError> {
        let mode = |connection: &Connection| -> rusqlite::Result<String> {
            connection.query_row("PRAGMA journal_mode = DELETE", [], |row| row.get(0))
        };
        if self.found()? == Found::Nothing {
            let mark = beginning()?;
            self.run("BEGIN EXCLUSIVE")?;
            // Another run may have been first.
            if self.found()? == Found::Nothing {
                self.make(&mark).map_err(|error| self.failed("write", error))?;
            }
            self.run("COMMIT")?;
        }
        match mode(&self.connection) {
            Ok(mode) if mode == "delete" => Ok(self),
            Ok(_) => Err(TableError::Busy { file: self.path.clone() }),
            Err(error) => Err(self.failed("open", error)),
        }
    }

    fn make(&self, mark: &Mark) -> rusqlite::Result<()> {
        let columns = Column::ALL.map(|column| format!("{} {}", column.name(), declared(column)));
        self.connection.execute_batch(&format!(
            "PRAGMA application_id = {APPLICATION}; PRAGMA user_version = {VERSION};
             CREATE TABLE events({});
             CREATE TABLE quarantine(position INTEGER PRIMARY KEY, reason TEXT NOT NULL);
             CREATE TABLE annals_index(log_id TEXT NOT NULL, position INTEGER NOT NULL, since INTEGER NOT NULL, mark BLOB NOT NULL);
             {}",
            columns.join(", "),
            super::views::DECLARATION
        ))?;
        let position = mark.position.get().cast_signed();
        self.connection.execute(
            "INSERT INTO annals_index VALUES (?1, ?2, ?2, ?3)",
            params![mark.log_id.to_string(), position, mark.encode()],
        )?;
        Ok(())
    }

    /// Up to where the table has come. `None` when its row is not as it was written.
    pub(super) fn mark(&self) -> Result<Option<Mark>, TableError> {
        let row = |row: &rusqlite::Row<'_>| Ok((row.get(0)?, row.get(1)?, row.get(2)?));
        let sql = "SELECT log_id, position, mark FROM annals_index";
        let found: Option<(String, i64, Vec<u8>)> =
            self.connection.query_row(sql, [], row).optional().map_err(|error| self.failed("read", error))?;
        Ok(found.and_then(|(log_id, position, bytes)| {
            let mark = Mark::decode(&bytes).filter(|_| bytes.len() == Mark::LEN)?;
            (mark.log_id.to_string() == log_id && mark.position.get().cast_signed() == position).then_some(mark)
        }))
    }

    /// The same, and the rows end where it says.
    pub(super) fn checked_mark(&self) -> Result<Mark, TableError> {
        // Both as they are at one moment, whoever else writes.
        self.run("BEGIN")?;
        let mark = self.mark_and_rows();
        self.run("ROLLBACK")?;
        mark
    }

    fn mark_and_rows(&self) -> Result<Mark, TableError> {
        let damaged = |problem: String| TableError::Damaged { file: self.path.clone(), problem };
        let mark = self.mark()?.ok_or_else(|| damaged("what it says of its position cannot be read".to_owned()))?;
        let ask = |sql: &str| {
            let found = self.connection.query_row(sql, [], |row| row.get::<_, Option<i64>>(0));
            found.map(|found| found.map(i64::cast_unsigned)).map_err(|error| self.failed("read", error))
        };
        let newest = ask("SELECT max(position) FROM events")?.or(ask("SELECT since FROM annals_index")?);
        match newest.map(Position::new) {
            Some(newest) if newest == mark.position => Ok(mark),
            Some(newest) => Err(damaged(format!(
                "it says that it has come to position {}, and its rows end at {newest}",
                mark.position
            ))),
            None => Err(damaged("it does not say where it begins".to_owned())),
        }
    }

    /// Whether the name still leads to this file.
    pub(super) fn is_in_place(&self) -> bool {
        identity(&self.path) == self.identity
    }

    pub(super) fn run(&self, sql: &str) -> Result<(), TableError> {
        self.connection.execute_batch(sql).map_err(|error| self.failed("write", error))
    }

    pub(super) fn failed(&self, action: &'static str, error: rusqlite::Error) -> TableError {
        failed(action, &self.path, error)
    }
}

/// What kind of column it is. Times have no order of their own here: it would be known to no other program.
fn declared(column: Column) -> &'static str {
    match column {
        Column::Position => "INTEGER PRIMARY KEY",
        Column::Version | Column::SchemaVersion | Column::ContentType | Column::Redacted => "INTEGER NOT NULL",
        Column::Stream | Column::Type | Column::Id | Column::RecordedAt | Column::Ts | Column::Tags => "TEXT NOT NULL",
        Column::OccurredAt | Column::CorrelationId | Column::CausationId => "TEXT",
        Column::Metadata | Column::Data => "",
    }
}

/// Sorts what SQLite says by what is to be done about it.
fn failed(action: &'static str, path: &Path, error: rusqlite::Error) -> TableError {
    let file = path.to_owned();
    match error.sqlite_error_code() {
        Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => TableError::Busy { file },
        Some(ErrorCode::NotADatabase) => {
            TableError::Foreign { file, what: "no SQLite database, or damaged at its beginning".to_owned() }
        }
        Some(ErrorCode::DatabaseCorrupt) => TableError::Damaged { file, problem: error.to_string() },
        // A row is there already, or a table is not.
        Some(ErrorCode::ConstraintViolation | ErrorCode::Unknown) => {
            TableError::Damaged { file, problem: format!("it is not as it was left: {error}") }
        }
        _ => TableError::Io { action, file, source: io::Error::other(error) },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use annals::LogId;

    fn mark(position: u64) -> Mark {
        Mark { log_id: LogId::from_bytes([7; 16]), position: Position::new(position), chain: 5, hash: None }
    }

    #[test]
    fn the_columns_are_those_of_the_virtual_table_in_their_order() {
        let dir = tempfile::tempdir().unwrap();
        let file = SqliteFile::open(&dir.path().join("t.db"), Duration::ZERO).unwrap().or_made(|| Ok(mark(0))).unwrap();
        let mut columns = file.connection.prepare("SELECT name FROM pragma_table_info('events')").unwrap();
        let columns: Vec<String> = columns.query_map([], |row| row.get(0)).unwrap().map(Result::unwrap).collect();
        assert_eq!(columns, Column::ALL.map(Column::name));
    }

    #[test]
    fn a_table_that_is_new_says_where_it_begins_and_one_that_is_there_is_left_alone() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("t.db");
        let open = |first| SqliteFile::open(&path, Duration::ZERO).unwrap().or_made(|| Ok(mark(first)));
        assert_eq!(open(4).unwrap().checked_mark().unwrap(), mark(4));
        assert_eq!(open(9).unwrap().checked_mark().unwrap(), mark(4));
    }

    #[test]
    fn a_mark_that_does_not_fit_to_the_rows_or_to_itself_is_damage() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("t.db");
        let file = SqliteFile::open(&path, Duration::ZERO).unwrap().or_made(|| Ok(mark(4))).unwrap();
        for (sql, problem) in [
            ("UPDATE annals_index SET position = 5", "what it says of its position cannot be read"),
            ("UPDATE annals_index SET position = 4, log_id = 'x'", "what it says of its position cannot be read"),
            ("DELETE FROM annals_index", "what it says of its position cannot be read"),
            ("DROP TABLE annals_index", "no such table"),
        ] {
            file.connection.execute_batch(sql).unwrap();
            let Err(TableError::Damaged { problem: told, .. }) = file.checked_mark() else { panic!("{sql}") };
            assert!(told.contains(problem), "{sql}: {told}");
        }
    }
}

//! Writing rows: a transaction from the first change after a commit to the next.

use annals::{Mark, Position};
use annals_schema::Registration;
use rusqlite::types::ToSqlOutput;
use rusqlite::{Statement, params};

use super::encoded::EncodedRows;
use super::file::SqliteFile;
use super::views::Views;
use crate::sql::Column;
use crate::tables::TableError;
use crate::tables::types::Types;

/// The tables of a file, to be written. Everything between two [`commit`](Rows::commit)s happens as a whole or not at all.
pub(super) struct Rows<'file> {
    file: &'file SqliteFile,
    insert: Statement<'file>,
    views: Views,
    /// What the views have learned since the transaction began, and where it stands.
    learned: Vec<(Position, Registration)>,
    mark: Mark,
    is_open: bool,
}

impl<'file> Rows<'file> {
    /// Those of a file that has been made.
    pub(super) fn new(file: &'file SqliteFile) -> Result<Rows<'file>, TableError> {
        let mark = file.checked_mark()?;
        let values = vec!["?"; Column::ALL.len()].join(", ");
        let insert = file.connection.prepare(&format!("INSERT INTO events VALUES ({values})"));
        let insert = insert.map_err(|error| file.failed("write", error))?;
        Ok(Rows { insert, views: Views::load(file)?, learned: Vec::new(), file, mark, is_open: false })
    }

    /// Sees to it that a transaction has begun, and that nobody has changed anything since the last one.
    fn begin(&mut self) -> Result<(), TableError> {
        if self.is_open {
            return Ok(());
        }
        self.file.run("BEGIN IMMEDIATE")?;
        // Whoever puts another file in its place locks this one first, so it is not replaced from here on.
        if !self.file.is_in_place() || self.file.mark()? != Some(self.mark) {
            self.file.run("ROLLBACK")?;
            return Err(TableError::Changed { file: self.file.path.clone() });
        }
        self.is_open = true;
        Ok(())
    }

    fn execute(&mut self, sql: &str, params: impl rusqlite::Params) -> Result<u64, TableError> {
        self.begin()?;
        let done = self.file.connection.execute(sql, params);
        done.map(|rows| rows as u64).map_err(|error| self.file.failed("write", error))
    }
}

fn number(position: Position) -> i64 {
    position.get().cast_signed()
}

impl Rows<'_> {
    pub(super) fn mark(&self) -> Mark {
        self.mark
    }

    /// What is known of types by now.
    pub(super) fn types(&self) -> &Types {
        &self.views.types
    }

    pub(super) fn put(&mut self, rows: &EncodedRows) -> Result<(), TableError> {
        if rows.is_empty() {
            return Ok(());
        }
        self.begin()?;
        let mut put = || -> rusqlite::Result<()> {
            let columns = (1..=Column::ALL.len()).cycle();
            for (column, value) in columns.zip(rows.values()) {
                self.insert.raw_bind_parameter(column, ToSqlOutput::Borrowed(value))?;
                if column == Column::ALL.len() {
                    self.insert.raw_execute()?;
                }
            }
            Ok(())
        };
        put().map_err(|error| self.file.failed("write", error))
    }

    /// Takes in a schema that is registered at a position.
    pub(super) fn learn(&mut self, position: Position, registration: Registration) {
        self.views.types.learn(&registration);
        self.learned.push((position, registration));
    }

    /// The events that have a row, and are bad by what was learned since they got it.
    pub(super) fn reconsider(&mut self) -> Result<Vec<(Position, String)>, TableError> {
        self.begin()?;
        self.views.reconsider(self.file)
    }

    pub(super) fn redact(&mut self, positions: &[Position]) -> Result<(), TableError> {
        for &position in positions {
            let sql = "UPDATE events SET data = NULL, metadata = NULL, redacted = 1 WHERE position = ?1";
            if self.execute(sql, [number(position)])? > 0 {
                // There is nothing left of it that could be wrong.
                self.execute("DELETE FROM quarantine WHERE position = ?1", [number(position)])?;
            }
        }
        Ok(())
    }

    pub(super) fn quarantine(&mut self, position: Position, reason: &str) -> Result<(), TableError> {
        self.execute("INSERT OR REPLACE INTO quarantine VALUES (?1, ?2)", params![number(position), reason]).map(drop)
    }

    pub(super) fn unread(&self) -> Result<Vec<Position>, TableError> {
        let read = || -> rusqlite::Result<Vec<Position>> {
            let sql = "SELECT position FROM quarantine WHERE position NOT IN (SELECT position FROM events) ORDER BY 1";
            let mut found = self.file.connection.prepare(sql)?;
            let positions = found.query_map([], |row| row.get::<_, i64>(0))?;
            positions.map(|position| position.map(|position| Position::new(position.cast_unsigned()))).collect()
        };
        read().map_err(|error| self.file.failed("read", error))
    }

    /// Adds the row of a position that could not be read before.
    pub(super) fn mend(&mut self, position: Position, row: &EncodedRows) -> Result<(), TableError> {
        self.put(row)?;
        self.execute("DELETE FROM quarantine WHERE position = ?1", [number(position)]).map(drop)
    }

    pub(super) fn forget_beyond(&mut self) -> Result<bool, TableError> {
        let reached = number(self.mark.position);
        let sql = "SELECT EXISTS (SELECT 1 FROM quarantine WHERE position > ?1)";
        let is_there = self.file.connection.query_row(sql, [reached], |row| row.get(0));
        let is_there: bool = is_there.map_err(|error| self.file.failed("read", error))?;
        if is_there {
            self.execute("DELETE FROM quarantine WHERE position > ?1", [reached])?;
        }
        Ok(is_there)
    }

    pub(super) fn cut(&mut self, after: Position) -> Result<u64, TableError> {
        self.execute("DELETE FROM quarantine WHERE position > ?1", [number(after)])?;
        let cut = self.execute("DELETE FROM events WHERE position > ?1", [number(after)])?;
        self.learned.retain(|(position, _)| *position <= after);
        self.views = Views::load(self.file)?;
        self.learned.iter().for_each(|(_, registration)| self.views.types.learn(registration));
        Ok(cut)
    }

    pub(super) fn commit(&mut self, mark: Mark) -> Result<(), TableError> {
        let sql = "UPDATE annals_index SET log_id = ?1, position = ?2, mark = ?3";
        self.execute(sql, params![mark.log_id.to_string(), number(mark.position), mark.encode()])?;
        self.views.carry_out(self.file)?;
        self.file.run("COMMIT")?;
        (self.mark, self.is_open) = (mark, false);
        self.learned.clear();
        Ok(())
    }
}

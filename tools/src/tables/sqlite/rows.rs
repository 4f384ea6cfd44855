//! Writing rows: a transaction from the first change after a commit to the next.

use annals::{Event, Mark, OwnStream, Position};
use annals_schema::Registration;
use rusqlite::{Statement, params};

use super::file::SqliteFile;
use super::views::Views;
use crate::sql::Column;
use crate::tables::TableError;
use crate::tables::pass::Table;

/// The tables of a file, to be written.
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

impl Table for Rows<'_> {
    fn mark(&self) -> Mark {
        self.mark
    }

    fn put(&mut self, event: &Event<'_>) -> Result<(), TableError> {
        self.begin()?;
        let mut put = || -> rusqlite::Result<()> {
            for (number, column) in Column::ALL.into_iter().enumerate() {
                self.insert.raw_bind_parameter(number + 1, column.of(event))?;
            }
            self.insert.raw_execute().map(drop)
        };
        put().map_err(|error| self.file.failed("write", error))?;
        if event.stream == OwnStream::Schemas.name()
            && let Ok(registration) = Registration::of_event(event)
        {
            self.views.learn(&registration);
            self.learned.push((event.position, registration));
        }
        Ok(())
    }

    fn misfit(&self, event: &Event<'_>) -> Option<String> {
        if event.stream == OwnStream::Schemas.name() && !event.data.is_empty() {
            let said = Registration::of_event(event);
            return said.err().map(|error| format!("it registers no schema that this program knows: {error}"));
        }
        self.views.misfit(event.event_type, event.data)
    }

    fn reconsider(&mut self) -> Result<Vec<(Position, String)>, TableError> {
        self.begin()?;
        self.views.reconsider(self.file)
    }

    fn redact(&mut self, positions: &[Position]) -> Result<(), TableError> {
        for &position in positions {
            let sql = "UPDATE events SET data = NULL, metadata = NULL, redacted = 1 WHERE position = ?1";
            if self.execute(sql, [number(position)])? > 0 {
                // There is nothing left of it that could be wrong.
                self.execute("DELETE FROM quarantine WHERE position = ?1", [number(position)])?;
            }
        }
        Ok(())
    }

    fn quarantine(&mut self, position: Position, reason: &str) -> Result<(), TableError> {
        self.execute("INSERT OR REPLACE INTO quarantine VALUES (?1, ?2)", params![number(position), reason]).map(drop)
    }

    fn unread(&self) -> Result<Vec<Position>, TableError> {
        let read = || -> rusqlite::Result<Vec<Position>> {
            let sql = "SELECT position FROM quarantine WHERE position NOT IN (SELECT position FROM events) ORDER BY 1";
            let mut found = self.file.connection.prepare(sql)?;
            let positions = found.query_map([], |row| row.get::<_, i64>(0))?;
            positions.map(|position| position.map(|position| Position::new(position.cast_unsigned()))).collect()
        };
        read().map_err(|error| self.file.failed("read", error))
    }

    fn mend(&mut self, event: &Event<'_>) -> Result<(), TableError> {
        self.put(event)?;
        self.execute("DELETE FROM quarantine WHERE position = ?1", [number(event.position)]).map(drop)
    }

    fn forget_beyond(&mut self) -> Result<bool, TableError> {
        let reached = number(self.mark.position);
        let sql = "SELECT EXISTS (SELECT 1 FROM quarantine WHERE position > ?1)";
        let is_there = self.file.connection.query_row(sql, [reached], |row| row.get(0));
        let is_there: bool = is_there.map_err(|error| self.file.failed("read", error))?;
        if is_there {
            self.execute("DELETE FROM quarantine WHERE position > ?1", [reached])?;
        }
        Ok(is_there)
    }

    fn cut(&mut self, after: Position) -> Result<u64, TableError> {
        self.execute("DELETE FROM quarantine WHERE position > ?1", [number(after)])?;
        let cut = self.execute("DELETE FROM events WHERE position > ?1", [number(after)])?;
        self.learned.retain(|(position, _)| *position <= after);
        self.views = Views::load(self.file)?;
        self.learned.iter().for_each(|(_, registration)| self.views.learn(registration));
        Ok(cut)
    }

    fn commit(&mut self, mark: Mark) -> Result<(), TableError> {
        let sql = "UPDATE annals_index SET log_id = ?1, position = ?2, mark = ?3";
        self.execute(sql, params![mark.log_id.to_string(), number(mark.position), mark.encode()])?;
        self.views.carry_out(self.file)?;
        self.file.run("COMMIT")?;
        (self.mark, self.is_open) = (mark, false);
        self.learned.clear();
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use annals::{EventStore, ExpectedVersion, NewEvent, Options};
    use std::time::Duration;

    #[test]
    fn a_schema_whose_row_is_cut_off_before_the_commit_leaves_no_view() {
        let dir = tempfile::tempdir().unwrap();
        let store = EventStore::in_memory(&Options::new()).unwrap();
        store.append("order-7", ExpectedVersion::Any, NewEvent::new("Paid", "{}")).unwrap();
        let said = r#"{"event_type": "Paid", "version": 1, "compatibility": "none", "schema": {}}"#;
        let event = NewEvent::new("$schema", said).schema_version(1);
        store.append_own(OwnStream::Schemas, ExpectedVersion::Any, event).unwrap();
        let (first, second) = (Position::new(1), Position::new(2));

        let file = SqliteFile::open(&dir.path().join("t.db"), Duration::ZERO).unwrap();
        let file = file.or_made(|| Ok(store.mark(Position::START).unwrap())).unwrap();
        let mut rows = Rows::new(&file).unwrap();
        let put = |rows: &mut Rows<'_>, position| {
            let event = store.get(position).unwrap().unwrap();
            rows.put(&event.as_event()).unwrap();
        };
        let views = || -> i64 {
            let sql = "SELECT count(*) FROM sqlite_schema WHERE type = 'view'";
            file.connection.query_row(sql, [], |row| row.get(0)).unwrap()
        };
        put(&mut rows, first);
        put(&mut rows, second);
        rows.cut(first).unwrap();
        rows.commit(store.mark(first).unwrap()).unwrap();
        assert_eq!(views(), 0);
        put(&mut rows, second);
        rows.cut(second).unwrap();
        rows.commit(store.mark(second).unwrap()).unwrap();
        assert_eq!(views(), 1);
    }
}

//! Two threads for one table: the one that reads the log makes rows of events, and another one writes them, because each has
//! enough to do for a processor of its own.
//!
//! ```text
//!  the log ─► pass ─► Writer: events become EncodedRows ── rows, and what else is to be done, in order ──► Rows ─► SQLite
//!                              ▲                                                                           │
//!                              └──────────── empty EncodedRows, answers ◄──────────────────────────────────┘
//! ```
//!
//! What is always true:
//!
//! - What is asked for is done in its order, behind all rows that were put before. So a commit has all of them.
//! - Rows are put without waiting for an answer. What went wrong with them is the answer to whatever is asked next, a commit at
//!   the latest, and nothing is done after it.

use std::io;
use std::panic::resume_unwind;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, SyncSender, channel, sync_channel};
use std::thread;

use annals::{Event, Mark, Position};
use parking_lot::Mutex;

use super::encoded::EncodedRows;
use super::file::SqliteFile;
use super::rows::Rows;
use crate::tables::TableError;
use crate::tables::pass::Table;
use crate::tables::types::{Types, registered_by};

/// How many [`EncodedRows`] there are: one that is filled, one that is written, and one that waits in between.
const IN_FLIGHT: usize = 3;

/// What the thread that writes is to do.
enum Call {
    Put(EncodedRows),
    /// Anything else; it is told whether all went well before.
    Do(Box<Act>),
}

type Act = dyn FnOnce(&mut Rows<'_>, Result<(), TableError>) + Send;

/// Where an answer is laid before it is said to be there. A channel for each kind of answer would do as well, and is
/// fifty times as much to compile.
type Answer<T> = Arc<Mutex<Option<Result<T, TableError>>>>;

/// The table of a file, which another thread writes.
pub(super) struct Writer {
    path: PathBuf,
    calls: SyncSender<Call>,
    /// What was called for was done, and its answer is there.
    answered: Receiver<()>,
    /// Empty ones.
    spare: Receiver<EncodedRows>,
    rows: EncodedRows,
    /// As the other thread has them.
    mark: Mark,
    types: Types,
}

/// Runs something with the table of a file. Gives the file back.
pub(super) fn with_writer<T>(
    file: SqliteFile,
    run: impl FnOnce(&mut Writer) -> Result<T, TableError>,
) -> Result<(SqliteFile, T), TableError> {
    let path = file.path.clone();
    let (calls, called) = sync_channel(IN_FLIGHT);
    let (back, spare) = channel();
    let (answers, answered) = channel();
    for _ in 1..IN_FLIGHT {
        _ = back.send(EncodedRows::default());
    }
    thread::scope(|scope| {
        let beginning = Answer::default();
        let begun = Arc::clone(&beginning);
        let writing = scope.spawn(move || {
            let (mut rows, began) = match Rows::new(&file) {
                Ok(rows) => {
                    let began = Ok((rows.mark(), rows.types().clone()));
                    (Some(rows), began)
                }
                Err(error) => (None, Err(error)),
            };
            *begun.lock() = Some(began);
            _ = answers.send(());
            if let Some(rows) = &mut rows {
                serve(rows, &file.path, &called, &answers, &back);
            }
            drop(rows);
            file
        });
        let done = wait_for(&answered, &beginning, &path).and_then(|(mark, types)| {
            run(&mut Writer { path, calls, answered, spare, rows: EncodedRows::default(), mark, types })
        });
        // Nobody can call it any more, so it ends.
        let file = writing.join().unwrap_or_else(|panic| resume_unwind(panic));
        done.map(|done| (file, done))
    })
}

/// Does what it is called for, until nobody can call it any more.
fn serve(rows: &mut Rows<'_>, path: &Path, called: &Receiver<Call>, answers: &Sender<()>, back: &Sender<EncodedRows>) {
    let (mut failed, mut is_over) = (None, false);
    for call in called {
        match call {
            Call::Put(mut encoded) => {
                if failed.is_none() && !is_over {
                    failed = rows.put(&encoded).err();
                }
                encoded.clear();
                // Who is gone needs none.
                _ = back.send(encoded);
            }
            Call::Do(act) => {
                let so_far = if is_over { Err(over(path)) } else { failed.take().map_or(Ok(()), Err) };
                is_over |= so_far.is_err();
                act(rows, so_far);
                // Whoever asks waits for it.
                _ = answers.send(());
            }
        }
    }
}

/// Waits until an answer is there.
fn wait_for<T>(answered: &Receiver<()>, answer: &Answer<T>, path: &Path) -> Result<T, TableError> {
    // No answer, when the other thread has panicked.
    let is_there = answered.recv().is_ok();
    let answer = if is_there { answer.lock().take() } else { None };
    answer.unwrap_or_else(|| Err(over(path)))
}

/// What is said to who goes on after an error.
fn over(path: &Path) -> TableError {
    TableError::Io { action: "write", file: path.to_owned(), source: io::Error::other("what came before it failed") }
}

impl Writer {
    /// Has the rows written that are there.
    fn hand_over(&mut self) -> Result<(), TableError> {
        if self.rows.is_empty() {
            return Ok(());
        }
        let empty = self.spare.recv().map_err(|_| over(&self.path))?;
        let full = std::mem::replace(&mut self.rows, empty);
        self.calls.send(Call::Put(full)).map_err(|_| over(&self.path))
    }

    /// Has something done behind all that was put, and waits for the answer.
    fn call<T: Send + 'static>(
        &mut self,
        act: impl FnOnce(&mut Rows<'_>) -> Result<T, TableError> + Send + 'static,
    ) -> Result<T, TableError> {
        self.hand_over()?;
        let answer = Answer::default();
        let given = Arc::clone(&answer);
        let act = move |rows: &mut Rows<'_>, so_far: Result<(), TableError>| {
            let done = so_far.and_then(|()| act(rows));
            *given.lock() = Some(done);
        };
        self.calls.send(Call::Do(Box::new(act))).map_err(|_| over(&self.path))?;
        wait_for(&self.answered, &answer, &self.path)
    }

    /// Takes in the schema that an event registers, if it does.
    fn learn(&mut self, event: &Event<'_>) -> Result<(), TableError> {
        let Some(registration) = registered_by(event) else { return Ok(()) };
        let position = event.position;
        self.types.learn(&registration);
        self.call(move |rows| {
            rows.learn(position, registration);
            Ok(())
        })
    }
}

#[expect(
    clippy::redundant_closure_for_method_calls,
    reason = "a method is one of `Rows` of one lifetime, and not of any"
)]
impl Table for Writer {
    fn mark(&self) -> Mark {
        self.mark
    }

    fn misfit(&self, event: &Event<'_>) -> Option<String> {
        self.types.misfit(event)
    }

    fn put(&mut self, event: &Event<'_>) -> Result<(), TableError> {
        self.rows.push(event);
        if self.rows.is_full() {
            self.hand_over()?;
        }
        self.learn(event)
    }

    fn redact(&mut self, positions: &[Position]) -> Result<(), TableError> {
        let positions = positions.to_vec();
        self.call(move |rows| rows.redact(&positions))
    }

    fn quarantine(&mut self, position: Position, reason: &str) -> Result<(), TableError> {
        let reason = reason.to_owned();
        self.call(move |rows| rows.quarantine(position, &reason))
    }

    fn unread(&mut self) -> Result<Vec<Position>, TableError> {
        self.call(|rows| rows.unread())
    }

    fn mend(&mut self, event: &Event<'_>) -> Result<(), TableError> {
        let (position, mut row) = (event.position, EncodedRows::default());
        row.push(event);
        self.call(move |rows| rows.mend(position, &row))?;
        self.learn(event)
    }

    fn forget_beyond(&mut self) -> Result<bool, TableError> {
        self.call(|rows| rows.forget_beyond())
    }

    fn cut(&mut self, after: Position) -> Result<u64, TableError> {
        let (cut, types) = self.call(move |rows| Ok((rows.cut(after)?, rows.types().clone())))?;
        self.types = types;
        Ok(cut)
    }

    fn reconsider(&mut self) -> Result<Vec<(Position, String)>, TableError> {
        self.call(|rows| rows.reconsider())
    }

    fn commit(&mut self, mark: Mark) -> Result<(), TableError> {
        self.call(move |rows| rows.commit(mark))?;
        self.mark = mark;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use annals::{EventStore, ExpectedVersion, NewEvent, Options, OwnStream};
    use std::time::Duration;
    use tempfile::TempDir;

    /// A store of two events, of which the second registers a schema of the first; and a file for its table.
    fn store_and_file() -> (TempDir, EventStore, SqliteFile) {
        let dir = tempfile::tempdir().unwrap();
        let store = EventStore::in_memory(&Options::new()).unwrap();
        store.append("order-7", ExpectedVersion::Any, NewEvent::new("Paid", "{}")).unwrap();
        let said = r#"{"event_type": "Paid", "version": 1, "compatibility": "none",
            "schema": {"properties": {"x": {"type": "integer"}}}}"#;
        let event = NewEvent::new("$schema", said).schema_version(1);
        store.append_own(OwnStream::Schemas, ExpectedVersion::Any, event).unwrap();
        let file = SqliteFile::open(&dir.path().join("t.db"), Duration::ZERO).unwrap();
        let file = file.or_made(|| Ok(store.mark(Position::START).unwrap())).unwrap();
        (dir, store, file)
    }

    fn put(writer: &mut Writer, store: &EventStore, position: u64) {
        let event = store.get(Position::new(position)).unwrap().unwrap();
        writer.put(&event.as_event()).unwrap();
    }

    fn ask(file: &SqliteFile, sql: &str) -> i64 {
        file.connection.query_row(sql, [], |row| row.get(0)).unwrap()
    }

    #[test]
    fn a_schema_whose_row_is_cut_off_before_the_commit_leaves_no_view() {
        const VIEWS: &str = "SELECT count(*) FROM sqlite_schema WHERE type = 'view'";
        let (_dir, store, file) = store_and_file();
        let (first, second) = (Position::new(1), Position::new(2));
        let (file, ()) = with_writer(file, |writer| {
            put(writer, &store, 1);
            put(writer, &store, 2);
            writer.cut(first)?;
            writer.commit(store.mark(first).unwrap())
        })
        .unwrap();
        assert_eq!(ask(&file, VIEWS), 0);
        let (file, ()) = with_writer(file, |writer| {
            put(writer, &store, 2);
            writer.cut(second)?;
            writer.commit(store.mark(second).unwrap())
        })
        .unwrap();
        assert_eq!(ask(&file, VIEWS), 1);
    }

    #[test]
    fn a_row_that_could_not_be_written_is_told_before_anything_lasts() {
        let (_dir, store, file) = store_and_file();
        let mark = store.mark(Position::new(1)).unwrap();
        let (file, ()) = with_writer(file, |writer| {
            put(writer, &store, 1);
            // It is there already.
            put(writer, &store, 1);
            let error = writer.commit(mark).unwrap_err();
            assert!(matches!(error, TableError::Damaged { .. }), "{error}");
            assert_eq!(writer.mark().position, Position::START);
            // Whoever does not listen has no second chance.
            let error = writer.commit(mark).unwrap_err();
            assert!(matches!(error, TableError::Io { .. }), "{error}");
            Ok(())
        })
        .unwrap();
        drop(file.run("ROLLBACK"));
        assert_eq!(ask(&file, "SELECT count(*) FROM events"), 0);
        assert_eq!(ask(&file, "SELECT position FROM annals_index"), 0);
    }

    #[test]
    fn an_error_is_told_also_when_rows_behind_it_could_be_written_and_none_is_written_behind_it() {
        let (_dir, store, file) = store_and_file();
        store.append("order-7", ExpectedVersion::Any, NewEvent::new("Paid", "{}")).unwrap();
        let mark = store.mark(Position::new(3)).unwrap();
        let (file, ()) = with_writer(file, |writer| {
            for position in [1, 1, 3] {
                put(writer, &store, position);
                writer.hand_over()?;
            }
            let error = writer.commit(mark).unwrap_err();
            assert!(matches!(error, TableError::Damaged { .. }), "{error}");
            put(writer, &store, 3);
            writer.hand_over()?;
            writer.unread().unwrap_err();
            Ok(())
        })
        .unwrap();
        assert_eq!(ask(&file, "SELECT count(*) FROM events"), 1, "of what was never committed");
    }

    #[test]
    fn who_asks_knows_what_is_committed_and_forgets_a_schema_that_is_cut_off() {
        let (_dir, store, file) = store_and_file();
        let (first, second) = (Position::new(1), Position::new(2));
        let odd = Event::new("order-7", "Paid", br#"{"x": "seven"}"#);
        with_writer(file, |writer| {
            put(writer, &store, 1);
            writer.commit(store.mark(first).unwrap())?;
            assert_eq!(writer.mark(), store.mark(first).unwrap());
            assert_eq!(writer.misfit(&odd), None);
            put(writer, &store, 2);
            assert!(writer.misfit(&odd).is_some());
            writer.cut(first)?;
            assert_eq!(writer.misfit(&odd), None);
            put(writer, &store, 2);
            writer.commit(store.mark(second).unwrap())?;
            assert!(writer.misfit(&odd).is_some());
            Ok(())
        })
        .unwrap();
    }
}

//! `annals import`: events from lines of JSON, each exactly once.
//!
//! ```text
//!  lines ─► rows ─► a batch of up to 1000 ─┬─ its events
//!                                          └─ (source, number of its last line)   in one commit
//! ```
//!
//! What is always true:
//!
//! - The line that a source has come to moves in the same commit as the events
//!   of the lines up to it. So an import that is killed goes on where it was,
//!   and a second one of the same source adds nothing.
//! - An event that a line gives an id is in the store once, whatever files it comes in. One that
//!   the store has under that id with another content is a bad line.
//! - A bad line changes nothing; those before it are in the store.
//! - A store is made for the first good line, not for garbage.

use std::collections::HashSet;
use std::hash::{BuildHasher as _, RandomState};
use std::path::Path;
use std::time::{Duration, Instant};

use annals::{AppendError, EventStore, NewEvent, Options, Outcome, SourceName};
use serde::Serialize;

use super::own;
use crate::exit::{Ended, Exit, Failure};
use crate::human::{count, counted, per_second, printable};
use crate::input::{self, Input};
use crate::lines::{LineError, Lines, MAX_LINE};
use crate::ndjson::{Row, is_of_the_store};
use crate::open;
use crate::out::Out;

/// A batch is committed when its payloads reach this many bytes, however few lines they are.
const BATCH_BYTES: usize = 8 * 1024 * 1024;

pub(crate) fn run(
    path: &Path,
    options: &Options,
    input: &Path,
    source: Option<String>,
    (batch, redacted): (u32, bool),
    out: &mut Out,
) -> Ended {
    let began = Instant::now();
    let named = source.is_some();
    if let Some(name) = &source {
        SourceName::new(name).map_err(|error| Failure::usage(format!("--source {name:?}")).because(&error))?;
    }
    let Input { shown, source, content, progress } = Input::open(input, source, out.is_json())?;
    let source = SourceName::new(&source).map_err(|error| Failure::usage("--source").because(&error))?;
    let mut reader =
        Reading { shown: &shown, lines: Lines::new(content), blank: 0, takes_redacted: redacted, left_out: 0 };

    let first = reader.next_row(0).map_err(|failure| failure.next("nothing was imported"))?;
    let Some(first) = first else {
        drop(progress);
        return nothing(&shown, &reader, out);
    };
    let store = open::for_writing(path, options)?;
    let done = store.tracking(&source).map_err(|error| Failure::usage("--source").because(&error))?.unwrap_or(0);
    let mut intake = Intake {
        store,
        source,
        batch_lines: batch as usize,
        rows: Vec::new(),
        bytes: 0,
        done,
        events: 0,
        duplicates: 0,
        streams: HashSet::new(),
        hasher: RandomState::new(),
    };
    let taken = intake.take_all(first, &mut reader);
    // Whatever stopped it, the lines before that are good, and stay.
    let (taken, committed) = match taken {
        Err(Stopped::Refused(failure)) => (Ok(()), Err(failure)),
        Err(Stopped::Line(failure)) => (Err(failure), intake.commit()),
        Ok(()) => (Ok(()), intake.commit()),
    };
    drop(progress);
    let lines = reader.lines.number();
    let head = intake.store.head().get();
    let Intake { store, source, done: to, events, duplicates, streams, .. } = intake;
    let closed = store.close().map_err(|error| Failure::io("cannot close the store").because(&error));

    let summary = Summary {
        events,
        streams: streams.len() as u64,
        already: done.min(lines),
        duplicates,
        blank: reader.blank,
        left_out: reader.left_out,
        source: &source,
        line: to,
        head,
        seconds: began.elapsed().as_secs_f64(),
        events_per_second: per_second(events, began.elapsed()),
    };
    summary.print(began.elapsed(), &shown, out)?;
    let mend = |failure: Failure| {
        let again = if named { String::new() } else { format!(" with --source {source}") };
        failure.next(format!("the lines before are in the store; mend the input and import it again{again}"))
    };
    committed.map_err(|failure| {
        if failure.has_line() {
            return mend(failure);
        }
        failure.next("import again to go on behind the last line that is in the store")
    })?;
    closed?;
    taken.map_err(mend)?;
    if lines < done {
        let what = format!("source {source} was recorded up to line {done}, and {shown} has only {lines} lines");
        return Err(Failure::findings(what).next("is it another source? Give it another --source NAME"));
    }
    Ok(Exit::Fine)
}

fn nothing(shown: &str, reader: &Reading<'_>, out: &mut Out) -> Ended {
    #[derive(Serialize)]
    struct Nothing {
        events: u64,
        blank: u64,
    }
    if out.is_json() {
        out.object(&Nothing { events: 0, blank: reader.blank })?;
    } else {
        out.say(format_args!("Nothing to import: {} is empty.", printable(shown)))?;
    }
    Ok(Exit::Fine)
}

/// The lines, and what is known about them as a whole.
struct Reading<'a> {
    shown: &'a str,
    lines: Lines<Box<dyn std::io::BufRead>>,
    blank: u64,
    /// Whether what is left of redacted events is taken in.
    takes_redacted: bool,
    /// Lines that speak of redactions in the log that they come from.
    left_out: u64,
}

impl Reading<'_> {
    /// The next event with its line's number. Lines up to `done` are read over, blank ones always.
    fn next_row(&mut self, done: u64) -> Result<Option<(u64, Row)>, Failure> {
        let bad = |number: u64, why: &dyn std::fmt::Display| {
            Failure::findings(format!("line {number} of {}: {why}", self.shown)).at_line(number)
        };
        loop {
            match self.lines.next() {
                Ok(None) => return Ok(None),
                Ok(Some((_, line))) if line.trim_ascii().is_empty() => self.blank += 1,
                Ok(Some((number, _))) if number <= done => {}
                Ok(Some((_, line))) if self.takes_redacted && is_of_the_store(line) => self.left_out += 1,
                Ok(Some((number, line))) if self.takes_redacted => {
                    let row = Row::parse_left(line).or_else(|why| Row::parse_own(line).unwrap_or(Err(why)));
                    return row.map(|row| Some((number, row))).map_err(|why| bad(number, &why));
                }
                Ok(Some((number, line))) => {
                    let row = Row::parse(line).or_else(|why| Row::parse_own(line).unwrap_or(Err(why)));
                    return row.map(|row| Some((number, row))).map_err(|why| bad(number, &why));
                }
                Err(LineError::TooLong) => {
                    return Err(bad(self.lines.number(), &format_args!("it is longer than {} bytes", count(MAX_LINE))));
                }
                Err(LineError::Io(error)) => return Err(input::unreadable(self.shown, &error)),
            }
        }
    }
}

enum Stopped {
    /// A line is bad, or the input cannot be read on.
    Line(Failure),
    /// The store did not take a batch.
    Refused(Failure),
}

/// The store's side of an import.
struct Intake {
    store: EventStore,
    source: SourceName,
    batch_lines: usize,
    /// The rows of the batch at hand, with their lines' numbers.
    rows: Vec<(u64, Row)>,
    bytes: usize,
    /// The line that the source has come to, as the store knows it.
    done: u64,
    events: u64,
    /// Lines whose events were in the store already, by their ids.
    duplicates: u64,
    /// Hashes of the names of the streams that got events: names of any length in bounded space each.
    streams: HashSet<u64>,
    hasher: RandomState,
}

impl Intake {
    fn take_all(&mut self, first: (u64, Row), reader: &mut Reading<'_>) -> Result<(), Stopped> {
        let done = self.done;
        let mut next = Some(first).filter(|(number, _)| *number > done);
        loop {
            let row = match next.take() {
                Some(row) => row,
                None => match reader.next_row(done).map_err(Stopped::Line)? {
                    Some(row) => row,
                    None => return Ok(()),
                },
            };
            if own::is_own(&row.1) {
                self.commit().map_err(Stopped::Refused)?;
                reader.left_out += self.take_own(row.0, &row.1).map_err(Stopped::Line)?;
                continue;
            }
            self.bytes += row.1.data.len() + row.1.metadata.as_ref().map_or(0, Vec::len);
            self.rows.push(row);
            if self.rows.len() >= self.batch_lines || self.bytes >= BATCH_BYTES {
                self.commit().map_err(Stopped::Refused)?;
            }
        }
    }

    /// Takes in what the log that was exported says of its events, and says how many of the lines it leaves out. It is no part
    /// of a batch, and does not need to be: what the store says already is found.
    fn take_own(&mut self, number: u64, row: &Row) -> Result<u64, Failure> {
        let what = own::take(&self.store, row).map_err(|failure| failure.at_line(number))?;
        match what {
            own::Taken::Appended => self.events += 1,
            own::Taken::WasThere => self.duplicates += 1,
            own::Taken::WasLost => return Ok(1),
        }
        Ok(0)
    }

    /// Commits the batch at hand and starts the next one.
    fn commit(&mut self) -> Result<(), Failure> {
        let rows = std::mem::take(&mut self.rows);
        self.bytes = 0;
        if rows.is_empty() {
            return Ok(());
        }
        self.append(&rows)
    }

    /// Appends these rows, those that can be in one batch together.
    fn append(&mut self, rows: &[(u64, Row)]) -> Result<(), Failure> {
        match (self.append_batch(rows), rows) {
            (Ok(()), _) => Ok(()),
            (Err(error), [(line, _)]) => Err(refused(*line, &error)),
            // Some are there already, or one of them cannot be: the others get in, and that one is named.
            (Err(error), _) if is_about_an_event(&error) => {
                let (first, rest) = rows.split_at(rows.len() / 2);
                self.append(first)?;
                self.append(rest)
            }
            (Err(error), _) => Err(Failure::io("cannot append").because(&error)),
        }
    }

    fn append_batch(&mut self, rows: &[(u64, Row)]) -> Result<(), AppendError> {
        let Some((last, _)) = rows.last() else { return Ok(()) };
        let mut batch = self.store.batch().tracking(&self.source, *last);
        for (_, row) in rows {
            batch = batch.event(&row.stream, new_event(row));
        }
        // Where all of them are there already, the line that the source has come to is not recorded
        // either: the next import of the source finds them again.
        match batch.commit()?.outcome {
            // Lines without an id that stand between such lines are known by their source alone, and this is another one.
            Outcome::Duplicate if has_both(rows) => {
                for rows in rows.chunk_by(|(_, one), (_, other)| one.id.is_none() == other.id.is_none()) {
                    match rows[0].1.id {
                        Some(_) => self.duplicates += rows.len() as u64,
                        None => self.append_batch(rows)?,
                    }
                }
            }
            Outcome::Duplicate => self.duplicates += rows.len() as u64,
            _ => {
                self.events += rows.len() as u64;
                self.streams.extend(rows.iter().map(|(_, row)| self.hasher.hash_one(&*row.stream)));
            }
        }
        self.done = *last;
        Ok(())
    }
}

/// Whether some of the lines have an id, and some have none.
fn has_both(rows: &[(u64, Row)]) -> bool {
    rows.iter().any(|(_, row)| row.id.is_none()) && rows.iter().any(|(_, row)| row.id.is_some())
}

/// Whether the fault lies with one event or some, and others may get in without them.
fn is_about_an_event(error: &AppendError) -> bool {
    use AppendError::{
        BatchTooLarge, DuplicateIdInBatch, EventIdConflict, EventTooLarge, InvalidName, PartialDuplicate,
    };
    matches!(
        error,
        EventTooLarge { .. }
            | BatchTooLarge { .. }
            | InvalidName(_)
            | EventIdConflict { .. }
            | PartialDuplicate { .. }
            | DuplicateIdInBatch { .. }
    )
}

fn refused(line: u64, error: &AppendError) -> Failure {
    if let AppendError::EventTooLarge { bytes, limit } = error {
        // Its own words name an option that the command does not have.
        let what = format!("line {line}: the event takes {bytes} bytes, and `import` takes none of more than {limit}");
        Failure::findings(what).at_line(line)
    } else if is_about_an_event(error) {
        Failure::findings(format!("line {line}")).because(error).at_line(line)
    } else {
        Failure::io("cannot append").because(error)
    }
}

pub(super) fn new_event(row: &Row) -> NewEvent {
    let mut event = NewEvent::new(&row.event_type, row.data.clone())
        .schema_version(row.schema_version)
        .content_type(row.content_type);
    if let Some(metadata) = &row.metadata {
        event = event.metadata(metadata.clone());
    }
    if let Some(id) = row.id {
        event = event.id(id);
    }
    if let Some(at) = row.occurred_at {
        event = event.occurred_at(at);
    }
    if let Some(id) = row.correlation_id {
        event = event.correlation_id(id);
    }
    if let Some(id) = row.causation_id {
        event = event.causation_id(id);
    }
    row.tags.iter().fold(event, NewEvent::tag)
}

/// What an import did.
#[derive(Serialize)]
struct Summary<'a> {
    /// Added by this run.
    events: u64,
    streams: u64,
    /// Lines that an earlier import of the source had taken in.
    already: u64,
    /// Lines whose events were in the store already, by their ids, wherever they came from.
    duplicates: u64,
    blank: u64,
    /// Lines that say what was redacted in the log that they come from, or stand for what was lost of it: they are not taken in.
    left_out: u64,
    source: &'a str,
    /// The line that the source has come to.
    line: u64,
    head: u64,
    seconds: f64,
    events_per_second: u64,
}

impl Summary<'_> {
    fn print(&self, took: Duration, shown: &str, out: &mut Out) -> Result<(), Failure> {
        if out.is_json() {
            return out.object(self);
        }
        let events = counted(self.events, "event");
        if self.events == 0 {
            out.say(format_args!("Nothing new in {}.", printable(shown)))?;
        } else {
            let streams = counted(self.streams, "stream");
            let rate = count(self.events_per_second);
            out.say(format_args!(
                "Imported {events} into {streams} in {:.1} s ({rate} events/s).",
                took.as_secs_f64()
            ))?;
        }
        if self.already > 0 {
            out.say(format_args!("Already there: {}.", counted(self.already, "line")))?;
        }
        if self.duplicates > 0 {
            out.say(format_args!("Already there, by their ids: {}.", counted(self.duplicates, "event")))?;
        }
        if self.left_out > 0 {
            let lines = counted(self.left_out, "line");
            out.say(format_args!("Left out, because they speak of the log that they come from: {lines}."))?;
        }
        out.say(format_args!("The log ends at position {}.", count(self.head)))
    }
}

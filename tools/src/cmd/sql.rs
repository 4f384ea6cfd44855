//! `annals sql`: questions in SQL, from the arguments, from standard input or from a person.

use std::cell::{Cell, RefCell};
use std::fmt::{self, Write as _};
use std::io::{self, IsTerminal as _, Read as _, Write as _};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use annals::ReadError;
use rusqlite::Statement;

use super::keys;
use crate::args::sql::SqlArgs;
use crate::exit::{Ended, Exit, Failure, note};
use crate::human::{count, counted, printable};
use crate::open::{self, Reading};
use crate::out::{BOLD, Out};
use crate::sql::prompt::{Entered, Prompt};
use crate::sql::show::{self, Format};
use crate::sql::{Database, Read, SqlError};

pub(crate) fn run(args: &SqlArgs, out: &mut Out) -> Ended {
    let reading = Reading::of(&args.store, &args.through)?;
    let store = reading.open()?;
    let made = match &args.keys {
        None => Database::new(&store),
        Some(ring) => Database::decrypting(&store, keys::for_reading(ring)?),
    };
    let database = made.map_err(|error| Failure::io("cannot make a database").because(&error))?;
    let json = out.is_json();
    let format = if json { Format::Json } else { args.format };
    let mut session = Session { database, format, json, exit: Cell::new(Exit::Fine) };
    match &args.sql {
        Some(sql) => session.run(sql, out)?,
        None if io::stdin().is_terminal() => session.converse(out)?,
        None => {
            let mut sql = String::new();
            let read = io::stdin().read_to_string(&mut sql);
            read.map_err(|error| Failure::io("cannot read the statements from standard input").because(&error))?;
            session.run(&sql, out)?;
        }
    }
    Ok(session.exit.get())
}

struct Session {
    database: Database,
    format: Format,
    /// Whether a program reads the errors.
    json: bool,
    /// How it ends when nothing stops it.
    exit: Cell<Exit>,
}

impl Session {
    /// Runs statements, until one is wrong.
    fn run(&self, sql: &str, out: &mut Out) -> Result<(), Failure> {
        let ran = self.show_each(sql, out);
        // What was answered stands before what went wrong.
        out.flush()?;
        ran.map_err(|wrong| match wrong {
            Wrong::Sql(error) => self.explain(error),
            Wrong::Failure(failure) => failure,
        })
    }

    fn show_each(&self, sql: &str, out: &mut Out) -> Result<(), Wrong> {
        let began = Cell::new(Instant::now());
        let out = RefCell::new(out);
        let run = |statement: &mut Statement<'_>| show::rows(statement, self.format, &mut out.borrow_mut());
        self.database.each(sql, run, |rows, read| {
            out.borrow_mut().flush()?;
            note(self.json, &footer(rows, read, began.replace(Instant::now()).elapsed().as_secs_f64()));
            if let Some(what) = self.database.no_time() {
                note(
                    self.json,
                    &format!("{what}, which is no time, but a text that is compared letter by letter; {A_TIME}"),
                );
            }
            if let Some((position, why)) = self.database.undecrypted() {
                let what = format!("cannot decrypt the event at position {position}: {why}");
                let next = "it, and others like it, are shown as they are in the log";
                self.exit.set(Failure::findings(what).next(next).tell(self.json));
            }
            Ok(())
        })
    }

    /// Asks a person, until they have enough.
    fn converse(&mut self, out: &mut Out) -> Result<(), Failure> {
        let mut prompt = Prompt::new()?;
        let is_interrupted = self.end_statements_when_interrupted()?;
        if !self.json {
            out.say(format_args!(
                "{BOLD}SQL over the table events.{BOLD:#} A statement ends with a semicolon; .help says more."
            ))?;
        }
        loop {
            out.flush()?;
            match prompt.next()? {
                None => return Ok(()),
                Some(Entered::Sql(sql)) => {
                    is_interrupted.store(false, Ordering::Relaxed);
                    if let Err(failure) = self.run(&sql, out) {
                        failure.tell(self.json);
                    }
                }
                Some(Entered::Command(word, rest)) => match &*word {
                    "quit" | "exit" | "q" => return Ok(()),
                    "columns" | "schema" => self.run("PRAGMA table_xinfo(events)", out)?,
                    "format" => match <Format as clap::ValueEnum>::from_str(&rest, true) {
                        Ok(format) => self.format = format,
                        Err(_) => note(self.json, "a format is one of table, csv, json"),
                    },
                    _ => out.say(format_args!("{PROMPT_HELP}"))?,
                },
            }
        }
    }

    /// From now on Ctrl-C ends the statement that runs, and not the program. Gives the flag that it sets.
    fn end_statements_when_interrupted(&mut self) -> Result<Arc<AtomicBool>, Failure> {
        let flag = Arc::new(AtomicBool::new(false));
        #[cfg(unix)]
        {
            let watched = signal_hook::flag::register(signal_hook::consts::SIGINT, Arc::clone(&flag));
            watched.map_err(|error| Failure::io("cannot listen for Ctrl-C").because(&error))?;
            self.database.interrupted_by(Arc::clone(&flag)).map_err(|error| self.explain(error))?;
        }
        Ok(flag)
    }

    /// Tells where a statement is wrong, and makes the failure.
    fn explain(&self, error: SqlError) -> Failure {
        match error {
            SqlError::Statement { problem, next, place } => {
                let place = place.map(|(sql, at)| Place::new(&sql, at));
                if let Some(place) = place.as_ref().filter(|_| !self.json) {
                    _ = writeln!(io::stderr(), "{place}");
                }
                let at = place
                    .map_or(String::new(), |place| format!(" (line {}, character {})", place.line, place.character));
                let failure = Failure::usage(format!("{problem}{at}"));
                match next {
                    Some(next) => failure.next(next),
                    None => failure,
                }
            }
            SqlError::Read(error) => unread(&error),
            SqlError::Interrupted => Failure::findings("interrupted").next("what is above is not all"),
        }
    }
}

/// Why a statement could not be answered to its end.
fn unread(error: &ReadError) -> Failure {
    match error {
        ReadError::Corrupt(damage) => {
            let behind =
                damage.to.map_or(String::new(), |to| format!("; WHERE position > {to} reads what comes behind it"));
            let next = format!("what is above is not all; `annals verify` lists what is damaged{behind}");
            Failure::findings("cannot read on").because(error).next(next)
        }
        ReadError::Truncated { .. } => {
            Failure::findings("cannot read on").because(error).next("it was removed meanwhile: ask again")
        }
        _ => open::unread(error),
    }
}

/// Why statements were not all answered.
pub(crate) enum Wrong {
    Sql(SqlError),
    Failure(Failure),
}

impl From<SqlError> for Wrong {
    fn from(error: SqlError) -> Wrong {
        Wrong::Sql(error)
    }
}

impl From<Failure> for Wrong {
    fn from(failure: Failure) -> Wrong {
        Wrong::Failure(failure)
    }
}

fn footer(rows: u64, read: Read, seconds: f64) -> String {
    let mut text = format!(
        "{} in {seconds:.3} s; read {} in {} (the log has {} in {})",
        counted(rows, "row"),
        counted(read.events, "event"),
        counted(read.segments, "segment"),
        count(read.events_in_log),
        count(read.segments_in_log),
    );
    if read.oldest > 1 {
        _ = write!(text, "; the log begins at position {}: what comes before it was removed", read.oldest);
    }
    text
}

/// A place in a statement.
struct Place {
    /// Both count from 1.
    line: usize,
    character: usize,
    /// The line, as it is shown, and how much of that is before the place.
    text: String,
    before: usize,
}

/// So much of a line is shown on each side of a place.
const AROUND: usize = 60;

impl Place {
    fn new(sql: &str, at: usize) -> Place {
        let at = (0..=at.min(sql.len())).rev().find(|at| sql.is_char_boundary(*at)).unwrap_or(0);
        let start = sql[..at].rfind('\n').map_or(0, |end| end + 1);
        let end = sql[at..].find('\n').map_or(sql.len(), |end| at + end);
        let (before, behind) = (&sql[start..at], &sql[at..end]);
        let character = before.chars().count() + 1;
        let shown: String = before.chars().skip(character.saturating_sub(AROUND + 1)).collect();
        let shown = printable(&shown).into_owned();
        let rest: String = behind.chars().take(AROUND).collect();
        let line = sql[..start].matches('\n').count() + 1;
        Place { line, character, before: shown.chars().count(), text: format!("{shown}{}", printable(&rest)) }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "  {}\n  {:>width$}", self.text, "^", width = self.before + 1)
    }
}

/// What is one.
const A_TIME: &str =
    "a time is '2026-11-01', '2026-11-01T12:30:00Z', datetime('now', '-1 hour') or datetime(1790000000, 'unixepoch')";

const PROMPT_HELP: &str = "\
SELECT type, count(*) FROM events GROUP BY 1;     a statement, over as many lines as you like
EXPLAIN QUERY PLAN SELECT …;                      what it would read
.columns                                          what there is in events
.format table|csv|json                            how rows are shown
.quit, or Ctrl-D                                  ends it; Ctrl-C gives up what is typed, and ends
                                                  a statement that runs";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_shown_below_its_line() {
        let place = Place::new("SELECT *\nFORM events\n", 9);
        assert_eq!((place.line, place.character), (2, 1));
        assert_eq!(place.to_string(), "  FORM events\n  ^");
        let place = Place::new("SELECT é\t, FORM", 12);
        assert_eq!((place.line, place.character), (1, 12));
        assert_eq!(place.to_string(), "  SELECT é\\t, FORM\n              ^");
        let long = format!("SELECT {} FORM {}", "1,".repeat(100), "2,".repeat(100));
        let place = Place::new(&long, 208);
        assert_eq!((place.character, place.text.chars().count(), place.before), (209, 120, 60));
        // A place within a character, or behind the end, is no panic.
        assert_eq!(Place::new("é", 1).character, 1);
        assert_eq!(Place::new("é", 99).character, 2);
    }

    #[test]
    fn the_footer_says_what_was_read_and_what_was_removed() {
        let mut read = Read::default();
        (read.events, read.segments, read.events_in_log, read.segments_in_log, read.oldest) = (1, 1, 2_000, 3, 1);
        assert_eq!(footer(0, read, 0.0123), "0 rows in 0.012 s; read 1 event in 1 segment (the log has 2,000 in 3)");
        read.oldest = 9;
        let removed = "; the log begins at position 9: what comes before it was removed";
        assert!(footer(1, read, 0.0).ends_with(removed));
    }
}

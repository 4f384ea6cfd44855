//! `annals index`: a table of the events in a file of its own, made once and then brought up to date.

use std::path::Path;

use annals::{EventStore, ReadError};
use serde::Serialize;

use crate::args::index::{IndexArgs, Target};
use crate::exit::{Ended, Exit, Failure, note};
use crate::human::{count, counted};
use crate::open::{self, Reading};
use crate::out::{GOOD, Out};
use crate::progress::Progress;
use crate::tables::{self, IndexOptions, Indexed, News, TableError};

/// What makes a table, or brings it up to date.
type Work = fn(&EventStore, &Path, &IndexOptions, &mut dyn FnMut(News<'_>) -> bool) -> Result<Indexed, TableError>;

/// How many bad events a person is told of, one by one.
const MOST_TOLD: u64 = 10;

#[derive(Serialize)]
struct Shown<'a> {
    table: &'a str,
    /// How many rows were added.
    events: u64,
    position: u64,
    /// How many positions are bad, of those that were looked at.
    quarantined: u64,
}

pub(crate) fn run(args: &IndexArgs, out: &mut Out) -> Ended {
    let reading = Reading::of(&args.store, &args.through)?;
    let store = reading.open()?;
    let file = args.to.path();
    must_be_beside(args)?;
    let (index, rebuild): (Work, Work) = match &args.to {
        Target::Sqlite(_) => (tables::index_sqlite, tables::rebuild_sqlite),
        #[cfg(feature = "arrow")]
        Target::Parquet(_) => (tables::index_parquet, tables::rebuild_parquet),
    };
    let options = IndexOptions::new().follow(args.follow).on_bad(args.on_bad).batch(args.batch);
    let mut telling = Telling {
        file,
        json: out.is_json(),
        follows: args.follow,
        told: 0,
        progress: Some(Progress::count(out.is_json(), "indexing", store.head().get())),
        head: store.head().get(),
        out,
        failed: None,
    };
    let mut quarantined = 0;
    if args.rebuild_beside {
        let rebuilt = rebuild(&store, file, &options, &mut |news| telling.hear(&news));
        quarantined = telling.ended(rebuilt, args)?.quarantined;
    }
    if !args.rebuild_beside || args.follow {
        let indexed = index(&store, file, &options, &mut |news| telling.hear(&news));
        quarantined += telling.ended(indexed, args)?.quarantined;
    }
    Ok(if quarantined > 0 { Exit::Findings } else { Exit::Fine })
}

/// A table is none of the store's files, and its folder has to be there.
fn must_be_beside(args: &IndexArgs) -> Result<(), Failure> {
    let table = args.to.path();
    let folder = table.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    if matches!(args.to, Target::Sqlite(_)) && !folder.exists() {
        let what = format!("there is no folder {}", folder.display());
        return Err(Failure::io(what).next("make it, or name a file in another one"));
    }
    open::must_be_outside(&args.store, table)
}

/// What is told while it goes on.
struct Telling<'a> {
    file: &'a Path,
    json: bool,
    follows: bool,
    /// How many bad events were told.
    told: u64,
    /// Until the end of the log is reached for the first time.
    progress: Option<Progress>,
    head: u64,
    out: &'a mut Out,
    /// Why nothing more can be told.
    failed: Option<Failure>,
}

impl Telling<'_> {
    /// Whether to go on.
    fn hear(&mut self, news: &News<'_>) -> bool {
        let said = match news {
            News::Reached(done) => {
                if let Some(progress) = &self.progress {
                    progress.set(done.position.get().min(self.head), self.head);
                }
                // Programs hear of each step.
                if self.follows && self.json { self.say(*done) } else { Ok(()) }
            }
            News::CaughtUp(done) if self.follows && !self.json && self.progress.is_some() => {
                self.progress = None;
                note(false, "at the end of the log; going on with what comes, until interrupted");
                self.say(*done)
            }
            News::Quarantined { position, reason } => {
                self.told += 1;
                if self.told <= MOST_TOLD {
                    note(self.json, &format!("position {position} goes into quarantine: {reason}"));
                }
                Ok(())
            }
            News::CaughtUp(_) => Ok(()),
        };
        self.failed = said.err();
        self.failed.is_none()
    }

    fn say(&mut self, done: Indexed) -> Result<(), Failure> {
        let (file, position) = (self.file.display().to_string(), done.position.get());
        if self.json {
            let shown = Shown { table: &file, events: done.events, position, quarantined: done.quarantined };
            self.out.object(&shown)?;
        } else {
            let bad = match done.quarantined {
                0 => String::new(),
                bad => format!("; {} put into quarantine", counted(bad, "event")),
            };
            let events = counted(done.events, "event");
            let upto = count(position);
            self.out.say(format_args!("{GOOD}indexed{GOOD:#}: {events} into {file}, up to position {upto}{bad}."))?;
        }
        self.out.flush()
    }

    /// What is told at the end.
    fn ended(&mut self, ended: Result<Indexed, TableError>, args: &IndexArgs) -> Result<Indexed, Failure> {
        self.progress = None;
        if let Some(failure) = self.failed.take() {
            return Err(failure);
        }
        let done = ended.map_err(|error| explain(&error, args))?;
        if !self.follows {
            self.say(done)?;
        }
        Ok(done)
    }
}

fn explain(error: &TableError, args: &IndexArgs) -> Failure {
    const ANEW: &str = "--rebuild-beside makes it anew of what the log has";
    let what = format!("cannot bring {} up to date", args.to.path().display());
    let finding = || Failure::findings(&*what).because(error);
    match error {
        TableError::Read(error @ ReadError::Corrupt(_)) => {
            open::unread(error).next("`annals verify` lists what is damaged; --on-bad quarantine goes on behind it")
        }
        TableError::Read(error) => open::unread(error),
        TableError::Bad { .. } => Failure::findings(error.to_string()).next("--on-bad quarantine goes on behind it"),
        TableError::History(error) => open::unkept(&what, error).next(ANEW),
        TableError::Gap { .. } | TableError::Damaged { .. } | TableError::Version { .. } => finding().next(ANEW),
        TableError::Foreign { .. } => finding().next("it is not touched: name another one, or move it away"),
        TableError::Busy { .. } | TableError::Changed { .. } => {
            Failure::io(what).because(error).next("try again later")
        }
        TableError::Io { .. } => {
            Failure::io(what).because(error).next("when that is mended, run it again: it goes on where the table is")
        }
    }
}

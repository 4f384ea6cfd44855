//! `annals export`: all events as lines that `import` takes, or as columns for programs that read tables.
//!
//! Another log is made of what it prints, so it stops at damage unless told
//! otherwise: an export that leaves something out must not look like a whole one.

#[cfg(feature = "arrow")]
mod columns;

use std::io::{self, Write};
use std::path::Path;

use annals::{EventStore, Position, ReadError};
use serde::Serialize;

use super::events::Printing;
use crate::args::export::{ExportArgs, Format};
use crate::exit::{Ended, Exit, Failure};
use crate::human::counted;
use crate::new_file::NewFile;
use crate::open::{self, Reading};
use crate::out::{GOOD, Out};
use crate::progress::Progress;

/// What to do where an export ends at damage.
const REST: &str = "--skip-damaged exports the rest";

#[derive(Serialize)]
struct Shown<'a> {
    file: &'a str,
    /// How many events are in it.
    events: u64,
}

pub(crate) fn run(args: &ExportArgs, out: &mut Out) -> Ended {
    let reading = Reading::of(&args.store, &args.through)?;
    let store = reading.open()?;
    let mut exporting = Exporting::new(&store, args, out);
    exporting.is_there()?;
    let exit = if args.output == Path::new("-") {
        let exit = match args.format {
            Format::Ndjson => exporting.lines(out)?,
            #[cfg(feature = "arrow")]
            Format::Arrow | Format::Parquet if io::IsTerminal::is_terminal(&io::stdout()) => {
                return Err(Failure::usage("a terminal shows no columns").next("name a file with -o, or use a pipe"));
            }
            #[cfg(feature = "arrow")]
            Format::Arrow => exporting.arrow(Box::new(io::stdout()))?,
            #[cfg(feature = "arrow")]
            Format::Parquet => exporting.parquet(Box::new(io::stdout()))?,
        };
        // With the progress that it shows.
        drop(exporting);
        exit
    } else {
        to_a_file(exporting, args, out)?
    };
    if args.after.is_none() && store.oldest() > Position::START.plus(1) {
        out.flush()?;
        open::note_removed(&store, out.is_json());
    }
    Ok(exit)
}

/// Exports to a file that has its name when it is whole.
fn to_a_file(mut exporting: Exporting<'_>, args: &ExportArgs, out: &mut Out) -> Ended {
    let file = args.output.display().to_string();
    let failed = |error: &io::Error| Failure::io(format!("cannot write {file}")).because(error);
    if args.output.exists() && !args.output.is_file() {
        return Err(Failure::usage(format!("{file} is there, and is no file")).next("name a new one, or use a pipe"));
    }
    open::must_be_outside(&args.store, &args.output)?;
    let new = NewFile::at(&args.output).map_err(|error| failed(&error))?;
    let to = || -> Result<Box<dyn Write + Send>, Failure> {
        Ok(Box::new(new.file().try_clone().map_err(|error| failed(&error))?))
    };
    let exit = match args.format {
        Format::Ndjson => {
            let mut lines = out.over(to()?);
            exporting.lines(&mut lines).and_then(|exit| lines.flush().map(|()| exit))?
        }
        #[cfg(feature = "arrow")]
        Format::Arrow => exporting.arrow(to()?)?,
        #[cfg(feature = "arrow")]
        Format::Parquet => exporting.parquet(to()?)?,
    };
    new.put().map_err(|error| failed(&error))?;
    let events = exporting.events;
    drop(exporting);
    if out.is_json() {
        out.object(&Shown { file: &file, events })?;
    } else {
        out.say(format_args!("{GOOD}exported{GOOD:#}: {} to {file}.", counted(events, "event")))?;
    }
    Ok(exit)
}

/// The events that are exported.
struct Exporting<'a> {
    store: &'a EventStore,
    after: Position,
    until: Position,
    skip_damaged: bool,
    #[cfg_attr(not(feature = "arrow"), allow(dead_code, reason = "lines ask who reads them"))]
    json: bool,
    progress: Progress,
    /// How many there were until now.
    events: u64,
}

impl<'a> Exporting<'a> {
    fn new(store: &'a EventStore, args: &ExportArgs, out: &Out) -> Exporting<'a> {
        let until = Position::new(args.until.unwrap_or(u64::MAX)).min(store.head());
        let begins = |until| open::beginning(store, Position::new(until));
        let after = args.after.map(Position::new).or(args.until.map(begins)).unwrap_or(store.oldest().before());
        let total = until.get().saturating_sub(after.get());
        // Where events scroll over the terminal there is none.
        let scrolls = args.format == Format::Ndjson && args.output == Path::new("-");
        let progress = if scrolls {
            Progress::events("exporting", total)
        } else {
            Progress::count(out.is_json(), "exporting", total)
        };
        Exporting { store, after, until, skip_damaged: args.skip_damaged, json: out.is_json(), progress, events: 0 }
    }

    /// Whether nothing of what was asked for was removed; told before anything is written.
    fn is_there(&self) -> Result<(), Failure> {
        match self.store.read_all(self.after).until(self.until).next_event() {
            Err(error @ ReadError::Truncated { oldest }) => {
                Err(open::unread(&error).next(format!("--after {} exports what is left", oldest.before())))
            }
            // What else is wrong is told when the export gets there.
            _ => Ok(()),
        }
    }

    /// An event is exported.
    fn count(&mut self, position: Position) {
        self.events += 1;
        if position.get().is_multiple_of(4096) {
            let (after, until) = (self.after.get(), self.until.get());
            self.progress.set(position.get() - after, until.saturating_sub(after));
        }
    }

    fn lines(&mut self, out: &mut Out) -> Ended {
        let (store, until) = (self.store, self.until);
        let mut printing = Printing::new(store, out, self.skip_damaged);
        printing.as_lines = true;
        let exported = printing.all(store.read_all(self.after), |event| {
            let is_wanted = event.position <= until;
            if is_wanted {
                self.count(event.position);
            }
            is_wanted
        });
        // Where it is the output that fails, nothing is left out that could be passed over.
        exported.map_err(|failure: Failure| if failure.is_finding() { failure.next(REST) } else { failure })?;
        Ok::<Exit, Failure>(printing.exit())
    }
}

//! `annals redact`: data and metadata of chosen events are taken out of the store's files; their digest stays.
//!
//! What goes cannot be brought back, so without `--yes` it is only said what would go.

use std::path::Path;

use annals::{EventStore, Options, Position, Query, QueryItem, ReadError, RedactError};
use annals_codec::Redaction;
use serde::Serialize;

use super::read::{named, note_unknown};
use crate::args::{RedactArgs, Which};
use crate::exit::{Ended, Exit, Failure};
use crate::human::{count, counted};
use crate::open;
use crate::out::{BOLD, Out};

#[derive(Serialize)]
struct Shown {
    /// Whether that was all: nothing was redacted.
    dry_run: bool,
    /// Events that lost their data and metadata, or would.
    redacted: u64,
    /// Events that had lost it before.
    already: u64,
    /// Segments that were written anew, or would be.
    segments: u64,
    /// The positions of the events that say so.
    announced: Vec<u64>,
}

pub(crate) fn run(args: &RedactArgs, out: &mut Out) -> Ended {
    let path = &args.store;
    let query = args.which.query();
    query.check().map_err(|error| Failure::usage("there can be no such event").because(&error))?;
    if args.reason.as_ref().is_some_and(|reason| !Redaction::is_reason(reason)) {
        return Err(failed(path, &RedactError::Reason));
    }
    let is_dry = args.dry_run || !args.yes;
    let store = if is_dry {
        open::for_reading(path)?
    } else {
        open::for_writing(path, &Options::new().create(false).background(false))?
    };
    note_unknown(&store, &args.which.stream, out.is_json());
    let hindered = is_dry && open::tell_what_hinders(path, &store, out.is_json());
    let exit = if hindered { Exit::Findings } else { Exit::Fine };
    let positions = args.which.positions(&store, query)?;
    let report = if is_dry {
        store.plan_redaction(positions)
    } else {
        store.redact(positions, args.reason.as_deref().unwrap_or_default())
    };
    let report = report.map_err(|error| failed(path, &error))?;
    if !is_dry {
        store.close().map_err(|error| Failure::io("cannot close the store").because(&error))?;
    }
    if out.is_json() {
        out.object(&Shown {
            dry_run: is_dry,
            redacted: report.redacted,
            already: report.already,
            segments: report.segments,
            announced: report.announced.iter().map(|position| position.get()).collect(),
        })?;
        return Ok(exit);
    }
    if report.redacted == 0 {
        out.say(format_args!("Nothing to redact."))?;
    } else {
        out.say(format_args!(
            "{BOLD}{}{BOLD:#} {} in {}.",
            if is_dry { "would redact" } else { "redacted" },
            counted(report.redacted, "event"),
            counted(report.segments, "segment"),
        ))?;
    }
    if report.already > 0 {
        out.say(format_args!("Redacted before: {}.", counted(report.already, "event")))?;
    }
    if let [first, more @ ..] = &*report.announced {
        let say = match more.len() as u64 {
            0 => " says".to_owned(),
            more => format!(", and {} more, say", count(more)),
        };
        out.say(format_args!("The event at position {}{say} so, with the digests.", count(first.get())))?;
        out.say(format_args!("Backups, exports and file-system snapshots taken before still hold what was redacted."))?;
    } else if is_dry && report.redacted > 0 {
        out.say(format_args!("It cannot be undone: --yes does it."))?;
    }
    Ok(exit)
}

impl Which {
    fn query(&self) -> Query {
        let mut item = QueryItem::new().types(&self.event_type);
        for tag in &self.tag {
            item = item.tag(tag);
        }
        for stream in &self.stream {
            item = named(item, stream);
        }
        if item == QueryItem::new() { Query::All } else { item.into() }
    }

    /// The positions that are named, or those of what matches.
    fn positions(&self, store: &EventStore, query: Query) -> Result<Vec<Position>, Failure> {
        if !self.position.is_empty() {
            return Ok(self.position.iter().map(|position| Position::new(*position)).collect());
        }
        let mut found = Vec::new();
        let mut reader = store.read(query, store.oldest().before()).map_err(|error| open::unread(&error.into()))?;
        while let Some(event) = reader.next_event().map_err(|error| open::unread(&error))? {
            found.push(event.position);
        }
        Ok(found)
    }
}

fn failed(path: &Path, error: &RedactError) -> Failure {
    let what = format!("cannot redact in {}", path.display());
    match error {
        RedactError::Reason => Failure::usage("--reason").because(error),
        RedactError::NoEvent { .. } | RedactError::OfTheStore { .. } => Failure::findings(what).because(error),
        RedactError::Read(ReadError::Truncated { .. }) => {
            Failure::findings(what).because(error).next("backups and exports from before may hold it")
        }
        RedactError::Damaged(_) | RedactError::Read(_) => {
            Failure::findings(what).because(error).next("`annals verify` lists what is wrong")
        }
        _ => Failure::io(what).because(error).next("`annals redact` again finishes what was begun"),
    }
}

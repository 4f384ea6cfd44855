//! `annals truncate`: the oldest events go, by whole segments.
//!
//! It is the only command but `import` that changes somebody's store, so it says first what it would do, if it is
//! asked to, and who still needs what would go.

use std::path::Path;
use std::time::Duration;

use annals::{EventStore, Guard, Holder, HolderKind, Options, Position, Retention, TruncateError, Truncation};
use serde::Serialize;

use crate::args::TruncateArgs;
use crate::exit::{Ended, Exit, Failure};
use crate::human::{bytes, count, counted, printable};
use crate::open;
use crate::out::{BAD, BOLD, Out};

#[derive(Serialize)]
struct Shown {
    /// Whether that was all: nothing was removed.
    dry_run: bool,
    segments: u64,
    events: u64,
    bytes: u64,
    /// The position that the log begins with now, or would.
    oldest: u64,
    /// Who has not finished what goes.
    behind: Vec<Behind>,
}

#[derive(Serialize)]
struct Behind {
    kind: &'static str,
    name: String,
    /// `null` when its file cannot be read.
    position: Option<u64>,
}

impl Behind {
    fn of(holder: &Holder) -> Behind {
        let kind = if holder.kind == HolderKind::Consumer { "consumer" } else { "projection" };
        Behind { kind, name: holder.name.clone(), position: holder.position.map(Position::get) }
    }
}

pub(crate) fn run(args: &TruncateArgs, out: &mut Out) -> Ended {
    let path = &args.store;
    let store = if args.dry_run {
        open::for_reading(path)?
    } else {
        open::for_writing(path, &Options::new().create(false).background(false))?
    };
    let before = match &args.what.retention() {
        None => Position::new(args.what.before.unwrap_or_default()),
        Some(retention) => store.kept_from(retention),
    };
    let head = store.head();
    if before > head.plus(1) {
        return Err(Failure::usage(format!("--before {before}: there is no such position: the log ends at {head}")));
    }
    let hindered = args.dry_run && open::tell_what_hinders(path, &store, out.is_json());
    let truncation = if args.dry_run {
        store.plan_truncation(before)
    } else {
        store.truncate_before(before, if args.force { Guard::Force } else { Guard::Consumers })
    };
    let truncation = truncation.map_err(|error| failed(path, &error))?;
    let oldest = store.oldest();
    close(store)?;
    let shown = Shown {
        dry_run: args.dry_run,
        segments: truncation.segments,
        events: truncation.events,
        bytes: truncation.bytes,
        oldest: truncation.oldest.get(),
        behind: truncation.behind.iter().map(Behind::of).collect(),
    };
    if out.is_json() {
        out.object(&shown)?;
    } else {
        print(&truncation, oldest, args, out)?;
    }
    let is_refused = hindered || args.dry_run && !args.force && !truncation.behind.is_empty();
    Ok(if is_refused { Exit::Findings } else { Exit::Fine })
}

fn print(truncation: &Truncation, oldest: Position, args: &TruncateArgs, out: &mut Out) -> Result<(), Failure> {
    if truncation.segments == 0 {
        return out.say(format_args!(
            "Nothing to remove: the log begins at position {}, and only whole segments go, never the newest.",
            count(oldest.get())
        ));
    }
    let would = if args.dry_run { "would remove" } else { "removed" };
    out.say(format_args!(
        "{BOLD}{would}{BOLD:#} {} with {} ({}); the log {} at position {}.",
        counted(truncation.segments, "segment"),
        counted(truncation.events, "event"),
        bytes(truncation.bytes),
        if args.dry_run { "would begin" } else { "begins" },
        count(truncation.oldest.get())
    ))?;
    for holder in &truncation.behind {
        out.say(format_args!("{BAD}behind:{BAD:#} {}", printable(&holder.to_string())))?;
    }
    if args.dry_run && !args.force && !truncation.behind.is_empty() {
        out.say(format_args!("Nothing goes before they have come further, or are removed; or with --force."))?;
    }
    Ok(())
}

fn failed(path: &Path, error: &TruncateError) -> Failure {
    let what = format!("cannot truncate {}", path.display());
    match error {
        TruncateError::Behind { .. } => Failure::findings(what).because(error).next("--dry-run shows what would go"),
        TruncateError::Read(_) => Failure::findings(what).because(error).next("`annals verify` lists what is wrong"),
        _ => Failure::io(what).because(error),
    }
}

fn close(store: EventStore) -> Result<(), Failure> {
    store.close().map_err(|error| Failure::io("cannot close the store").because(&error))
}

impl crate::args::What {
    /// What is to be kept, if that was said.
    fn retention(&self) -> Option<Retention> {
        let days = |days: u32| Duration::from_secs(u64::from(days) * 86_400);
        let by_events = self.keep_events.map(|events| Retention::new().events(events));
        let by_bytes = self.keep_bytes.map(|bytes| Retention::new().bytes(bytes));
        by_events.or(by_bytes).or(self.keep_days.map(|kept| Retention::new().age(days(kept))))
    }
}

//! `annals archive`: sealed segments into an object store, and what is there.

use std::path::Path;
use std::time::Duration;

use annals::{EventStore, Guard, LogId, Options, Position, Retention};
use annals_archive::{Archive, Dropped, Sent};
use serde::Serialize;

use crate::archived::failed;
use crate::args::archive::{ArchiveCommand, SendArgs};
use crate::exit::{Ended, Exit, Failure, note};
use crate::human::{bytes, count, counted};
use crate::open;
use crate::out::{BAD, GOOD, Out};
use crate::progress::Progress;
use crate::time;

pub(crate) fn run(command: ArchiveCommand, out: &mut Out) -> Ended {
    match command {
        ArchiveCommand::Send(args) => send(&args, out),
        ArchiveCommand::List { place, log } => list(&place, log.log, out),
        ArchiveCommand::Verify { place, store, log } => verify(&place, log.log, store.as_deref(), out),
        ArchiveCommand::Restore { place, dir, rest, log } => restore(&place, log.log, rest.as_deref(), &dir, out),
    }
}

fn at(place: &str) -> Result<Archive, Failure> {
    Archive::open(place).map_err(|error| failed("cannot use the archive", &error))
}

/// The log that was asked for, or the only one that there is.
fn which(archive: &Archive, log: Option<LogId>, what: &str) -> Result<LogId, Failure> {
    match log {
        Some(log) => Ok(log),
        None => archive.only_log().map_err(|error| failed(what, &error).next("--log says which")),
    }
}

#[derive(Serialize)]
struct Archived {
    log_id: String,
    /// What was archived now.
    segments: u64,
    bytes: u64,
    /// What had been before.
    before: u64,
    /// The events in the archive: those behind this position, up to that.
    base: u64,
    last: u64,
    /// Segments that were redacted here after they were archived.
    redacted: Vec<u64>,
    dropped: Option<Gone>,
}

#[derive(Serialize)]
struct Gone {
    /// Objects that were read back and compared.
    checked: u64,
    checked_bytes: u64,
    /// What is no longer in the store.
    segments: u64,
    events: u64,
    bytes: u64,
    /// The position that the store begins with now.
    oldest: u64,
}

fn send(args: &SendArgs, out: &mut Out) -> Ended {
    let store = args.drop_local.then(|| {
        // Before anything is sent: whoever has it open keeps it.
        open::for_writing(&args.store, &Options::new().create(false).background(false))
    });
    let store = store.transpose()?;
    open::must_be_a_directory(&args.store)?;
    if !args.place.contains("://") {
        open::must_be_outside(&args.store, Path::new(&args.place))?;
    }
    let archive = at(&args.place)?;
    let progress = Progress::bytes(out.is_json(), "archiving", Some(0));
    let sent = archive.send(&args.store, |done, all| progress.set(done, all));
    drop(progress);
    let sent = sent.map_err(|error| failed(&format!("cannot archive {}", args.store.display()), &error))?;
    let dropped = match store {
        Some(store) => Some(drop_local(&archive, store, args, out).inspect_err(|_| {
            note(out.is_json(), &format!("{} archived before that", counted(sent.segments, "segment")));
        })?),
        None => None,
    };
    tell(&sent, dropped.as_ref(), out)
}

fn drop_local(archive: &Archive, store: EventStore, args: &SendArgs, out: &mut Out) -> Result<Dropped, Failure> {
    let before = args.retention().map_or(Position::END, |retention| store.kept_from(&retention));
    let guard = if args.force { Guard::Force } else { Guard::Consumers };
    let progress = Progress::bytes(out.is_json(), "comparing", Some(0));
    let dropped = archive.drop_local(&store, &args.store, before, guard, |done, all| progress.set(done, all));
    drop(progress);
    let what = || format!("cannot remove anything from {}", args.store.display());
    let dropped = dropped.map_err(|error| failed(&what(), &error))?;
    store.close().map_err(|error| Failure::io("cannot close the store").because(&error))?;
    Ok(dropped)
}

fn tell(sent: &Sent, dropped: Option<&Dropped>, out: &mut Out) -> Ended {
    let gone = dropped.map(|dropped| Gone {
        checked: dropped.checked,
        checked_bytes: dropped.checked_bytes,
        segments: dropped.truncation.segments,
        events: dropped.truncation.events,
        bytes: dropped.truncation.bytes,
        oldest: dropped.truncation.oldest.get(),
    });
    let shown = Archived {
        log_id: sent.log.to_string(),
        segments: sent.segments,
        bytes: sent.bytes,
        before: sent.before,
        base: sent.base.get(),
        last: sent.last.get(),
        redacted: sent.redacted.iter().map(|segment| segment.get()).collect(),
        dropped: gone,
    };
    if out.is_json() {
        out.object(&shown)?;
        return Ok(Exit::Fine);
    }
    if sent.segments + sent.before == 0 {
        out.say(format_args!("Nothing to archive: no segment is sealed and has a successor."))?;
        return Ok(Exit::Fine);
    }
    out.say(format_args!(
        "{GOOD}archived{GOOD:#}: {} ({}), {} there already; events {} to {} of log {}.",
        counted(sent.segments, "segment"),
        bytes(sent.bytes),
        count(sent.before),
        count(sent.base.plus(1).get()),
        count(sent.last.get()),
        shown.log_id,
    ))?;
    for segment in &shown.redacted {
        out.say(format_args!(
            "{BAD}not redacted there:{BAD:#} segment {segment}. Remove its object and its manifest, and archive it once more."
        ))?;
    }
    if let Some(gone) = shown.dropped {
        out.say(format_args!(
            "{} read back and compared; {} with {} ({}) removed here: the store begins at position {}.",
            counted(gone.checked, "object"),
            counted(gone.segments, "segment"),
            counted(gone.events, "event"),
            bytes(gone.bytes),
            count(gone.oldest),
        ))?;
    }
    Ok(Exit::Fine)
}

impl SendArgs {
    /// What is to be kept, if that was said.
    fn retention(&self) -> Option<Retention> {
        let days = |days: u32| Duration::from_secs(u64::from(days) * 86_400);
        let by_events = self.keep_events.map(|events| Retention::new().events(events));
        let by_bytes = self.keep_bytes.map(|bytes| Retention::new().bytes(bytes));
        by_events.or(by_bytes).or(self.keep_days.map(|kept| Retention::new().age(days(kept))))
    }
}

#[derive(Serialize)]
struct Listed {
    log_id: String,
    segment: u64,
    /// The events in it: those behind this position, up to that.
    base: u64,
    last: u64,
    bytes: u64,
    /// When the first and the last of them were recorded; `null` without events.
    from: Option<String>,
    to: Option<String>,
    sha256: String,
}

fn list(place: &str, log: Option<LogId>, out: &mut Out) -> Ended {
    let archive = at(place)?;
    let refused = |error| failed(&format!("cannot list {place}"), &error);
    let logs = match log {
        Some(log) => vec![log],
        None => archive.logs().map_err(refused)?,
    };
    for log in &logs {
        let segments = archive.segments(*log).map_err(refused)?;
        let recorded = |at: i64, events: u64| (events > 0).then(|| time::show(at));
        let listed: Vec<Listed> = segments
            .iter()
            .map(|segment| Listed {
                log_id: log.to_string(),
                segment: segment.header.number.get(),
                base: segment.header.base.get(),
                last: segment.seal.last.get(),
                bytes: segment.file_len(),
                from: recorded(segment.seal.min_recorded_at, segment.seal.events),
                to: recorded(segment.seal.max_recorded_at, segment.seal.events),
                sha256: segment.digest.to_string(),
            })
            .collect();
        if out.is_json() {
            listed.iter().try_for_each(|row| out.object(row))?;
            continue;
        }
        let row = |listed: &Listed| {
            let time = |time: &Option<String>| time.clone().unwrap_or_default();
            let from = count(listed.base + 1);
            vec![
                count(listed.segment),
                from,
                count(listed.last),
                bytes(listed.bytes),
                time(&listed.from),
                time(&listed.to),
            ]
        };
        let rows: Vec<Vec<String>> = listed.iter().map(row).collect();
        out.say(format_args!("log {log}"))?;
        out.table(&["#segment", "#from", "#to", "#size", "recorded from", "to"], &rows)?;
    }
    if logs.is_empty() {
        note(out.is_json(), &format!("nothing is archived at {place}"));
    }
    Ok(Exit::Fine)
}

#[derive(Serialize)]
struct Checked {
    clean: bool,
    log_id: String,
    segments: u64,
    events: u64,
    bytes: u64,
    base: u64,
    last: u64,
    /// Whether it was compared with a store, and agrees.
    anchored: bool,
    /// Objects without a manifest.
    unfinished: Vec<String>,
    findings: Vec<Wrong>,
}

#[derive(Serialize)]
struct Wrong {
    segment: u64,
    position: u64,
    message: String,
}

fn verify(place: &str, log: Option<LogId>, store: Option<&Path>, out: &mut Out) -> Ended {
    let archive = at(place)?;
    let what = format!("cannot verify {place}");
    let log = which(&archive, log, &what)?;
    let progress = Progress::bytes(out.is_json(), "verifying", Some(0));
    let report = archive.verify(log, store, |done, all| progress.set(done, all));
    drop(progress);
    let report = report.map_err(|error| failed(&what, &error))?;
    let wrong = report.findings.iter().map(|finding| Wrong {
        segment: finding.segment.get(),
        position: finding.position.get(),
        message: finding.message.clone(),
    });
    let shown = Checked {
        clean: report.is_clean(),
        log_id: report.log.to_string(),
        segments: report.segments,
        events: report.events,
        bytes: report.bytes,
        base: report.base.get(),
        last: report.last.get(),
        anchored: report.anchored,
        unfinished: report.unfinished.clone(),
        findings: wrong.collect(),
    };
    if out.is_json() {
        out.object(&shown)?;
    } else {
        shown.print(out)?;
    }
    Ok(if shown.clean { Exit::Fine } else { Exit::Findings })
}

impl Checked {
    fn print(&self, out: &mut Out) -> Result<(), Failure> {
        let whole = format!(
            "{} in {} ({}), positions {} to {} of log {}",
            counted(self.events, "event"),
            counted(self.segments, "segment"),
            bytes(self.bytes),
            count(self.base + 1),
            count(self.last),
            self.log_id
        );
        if self.clean {
            out.say(format_args!("{GOOD}clean{GOOD:#}: {whole}, each object as it was archived."))?;
        } else {
            let row = |wrong: &Wrong| vec![count(wrong.segment), count(wrong.position), wrong.message.clone()];
            let rows: Vec<Vec<String>> = self.findings.iter().map(row).collect();
            out.table(&["#segment", "#position", "what is wrong"], &rows)?;
            let findings = counted(self.findings.len() as u64, "finding");
            out.say(format_args!("{BAD}{findings}{BAD:#}; whole: {whole}."))?;
            out.say(format_args!(
                "What the store still has can be archived once more when the objects are moved away."
            ))?;
        }
        if self.anchored {
            out.say(format_args!("The store goes on from it, and agrees wherever both have something."))?;
        }
        if let [first, more @ ..] = &*self.unfinished {
            let more = if more.is_empty() { String::new() } else { format!(" and {} more", count(more.len() as u64)) };
            out.say(format_args!("Without a manifest, of an archiver who is not done: {first}{more}."))?;
        }
        Ok(())
    }
}

#[derive(Serialize)]
struct Made {
    log_id: String,
    position: u64,
    base: u64,
    segments: u64,
    bytes: u64,
}

fn restore(place: &str, log: Option<LogId>, rest: Option<&Path>, dir: &Path, out: &mut Out) -> Ended {
    let archive = at(place)?;
    let what = format!("cannot restore {}", dir.display());
    let log = match rest {
        // It says itself which it is.
        Some(_) => log,
        None => Some(which(&archive, log, &what)?),
    };
    let restored = archive.restore(log, rest, dir).map_err(|error| failed(&what, &error))?;
    let made = Made {
        log_id: restored.mark.log_id.to_string(),
        position: restored.mark.position.get(),
        base: restored.base.get(),
        segments: restored.segments,
        bytes: restored.bytes,
    };
    if out.is_json() {
        out.object(&made)?;
        return Ok(Exit::Fine);
    }
    out.say(format_args!(
        "{GOOD}restored{GOOD:#}: events {} to {} of log {} in {}, {}.",
        count(made.base + 1),
        count(made.position),
        made.log_id,
        counted(made.segments, "segment"),
        bytes(made.bytes),
    ))?;
    Ok(Exit::Fine)
}

//! `annals verify`: everything is read again, and whatever is wrong is listed.
//!
//! It judges as recovery would, and changes nothing. It does not stop at the
//! first finding; with `--json` it lists every one.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::time::Instant;

use annals::inspect::{self, ChainStretch, FindingKind, Verify, VerifyReport};
use annals::{ChainTip, LossRecord, Position, SegmentNumber};
use serde::Serialize;

use super::repair;
use crate::args::Level;
use crate::exit::{Ended, Exit, Failure};
use crate::human::{bytes, count, counted, hex, printable};
use crate::open::{self, Reading};
use crate::out::{BAD, GOOD, Out};
use crate::progress::Progress;
use crate::signing;
use crate::time;
use crate::witness::Witness;

/// How many findings a person is shown; a program gets them all.
const MOST_ROWS: usize = 100;

/// From how many bytes on a person is told how fast they were read.
const MEASURED: u64 = 32 << 20;

#[derive(Serialize)]
struct Shown {
    clean: bool,
    /// How much was looked at.
    level: &'static str,
    /// Only the segments that hold events of these positions.
    range: Option<Range>,
    log_id: Option<String>,
    head: u64,
    events: u64,
    /// Events whose data and metadata were taken out; their digests are in the log.
    redacted: u64,
    batches: u64,
    segments: u64,
    bytes: u64,
    bytes_per_second: u64,
    /// Behind the last batch: a crash in the middle of a write leaves this, and it was never acknowledged.
    unfinished_bytes: u64,
    /// Events that are about to be redacted: their segment's new file is there, and not yet in its place.
    unfinished_redactions: u64,
    /// Index files and filters that were compared with what their segments give.
    index_files: u64,
    /// Files of consumers and snapshots that were judged.
    kept_files: u64,
    /// Files in `idx/` that are of no segment of the log: they harm nobody.
    unused_files: Vec<String>,
    /// Of a backup, the position it ends at.
    backup: Option<u64>,
    /// The stretches of the log that a hash chain covers.
    chain: Vec<Stretch>,
    /// How many witnesses the log was compared with.
    witnesses: usize,
    /// What the log goes on from, where its oldest events were removed.
    anchor: Option<Anchored>,
    /// How many positions repairs had to give up; `null`, if the store never was repaired.
    lost: Option<u64>,
    /// How many of the findings are that a witness is of another log.
    #[serde(skip)]
    foreign: usize,
    findings: Vec<Found>,
}

#[derive(Clone, Copy, Serialize)]
struct Range {
    from: Option<u64>,
    to: Option<u64>,
}

#[derive(Serialize)]
struct Stretch {
    /// The anchor: the position behind which it begins, and the chain there.
    from: u64,
    anchor: String,
    /// Whether it was begun there, and does not go on from what is not in the log any more.
    begins: bool,
    to: u64,
    hash: String,
}

#[derive(Serialize)]
struct Anchored {
    /// Everything up to here was removed.
    position: u64,
    chain: u32,
    hash: Option<String>,
    recorded_at: String,
    removed_at: String,
    streams: u64,
}

#[derive(Serialize)]
struct Found {
    kind: &'static str,
    segment: Option<u64>,
    offset: Option<u64>,
    position: Option<u64>,
    file: Option<String>,
    message: String,
}

/// What the witness in a file says; signed with this key, if there is one.
fn witnessed(path: &Path, public_key: Option<&str>) -> Result<ChainTip, Failure> {
    let witness = Witness::read(path)?;
    if let Some(public_key) = public_key {
        signing::check(&witness, path, public_key)?;
    }
    witness.tip(path)
}

/// Verifies the segments that hold these positions.
pub(crate) fn run(
    store: &Reading,
    level: Level,
    (from, to): (Option<u64>, Option<u64>),
    witnesses: &[PathBuf],
    public_key: Option<&str>,
    out: &mut Out,
) -> Ended {
    if !matches!(level, Level::Chain | Level::All) && !witnesses.is_empty() {
        return Err(Failure::usage("--witness goes with --level chain, or all"));
    }
    let witnesses = witnesses.iter().map(|path| witnessed(path, public_key)).collect::<Result<Vec<_>, _>>()?;
    let bounds = [from.map_or(Position::START, Position::new), to.map_or(Position::END, Position::new)];
    if bounds[0] > bounds[1] {
        return Err(Failure::usage(format!("--from {} lies behind --to {}", bounds[0], bounds[1])));
    }
    let (name, level) = match level {
        Level::Frames => ("frames", inspect::Level::Frames),
        Level::Chain => ("chain", inspect::Level::Chain),
        Level::Index => ("index", inspect::Level::Index),
        Level::Snapshots => ("snapshots", inspect::Level::Snapshots),
        Level::All => ("all", inspect::Level::All),
    };
    let range = Some(Range { from, to }).filter(|range| range.from.is_some() || range.to.is_some());
    let began = Instant::now();
    let progress = Progress::bytes(out.is_json(), "verifying", Some(0));
    let verify = Verify::new().level(level).positions(bounds[0]..=bounds[1]).witnesses(&witnesses);
    let report = verify.run_on(store.storage(), |done, total| progress.set(done, total));
    drop(progress);
    let report = report.map_err(|error| open::failed(store.path(), &error))?;
    let micros = began.elapsed().as_micros().max(1);
    let bytes_per_second = u64::try_from(u128::from(report.bytes) * 1_000_000 / micros).unwrap_or(u64::MAX);
    // For snapshots only those segments are read that one speaks of.
    if level != inspect::Level::Snapshots {
        lies_in_the_log(bounds, &report)?;
    }
    tell(store.path(), (name, range), bytes_per_second, report, &witnesses, out)
}

/// Whether there is anything in these bounds. Where something is wrong, that is told instead: who knows where the log ends?
fn lies_in_the_log([from, to]: [Position; 2], report: &VerifyReport) -> Result<(), Failure> {
    let removed = report.anchor.as_ref().map_or(Position::START, |anchor| anchor.position);
    if !report.is_clean() {
        return Ok(());
    }
    if to <= removed && removed > Position::START {
        let oldest = removed.plus(1);
        let what = format!("--to {to}: the log begins at position {oldest}: what comes before it was removed");
        return Err(Failure::findings(what).next(format!("--from {oldest} verifies what is left")));
    }
    if from > report.head.max(Position::START.plus(1)) {
        let what = format!("--from {from}: there is no such position: the log ends at {}", report.head);
        return Err(Failure::usage(what));
    }
    Ok(())
}

fn tell(
    path: &Path,
    (level, range): (&'static str, Option<Range>),
    bytes_per_second: u64,
    report: VerifyReport,
    witnesses: &[ChainTip],
    out: &mut Out,
) -> Ended {
    let (lost, damaged_record) = repair::lost(path);
    let findings = report.findings.into_iter().map(|finding| Found {
        kind: finding.kind.as_str(),
        segment: finding.segment.map(SegmentNumber::get),
        offset: finding.offset,
        position: finding.position.map(Position::get),
        file: finding.file,
        message: finding.message,
    });
    let findings: Vec<Found> = findings.chain(damaged_record.map(Found::of_record)).collect();
    let shown = Shown {
        clean: findings.is_empty(),
        level,
        range,
        log_id: report.log_id.map(|id| id.to_string()),
        head: report.head.get(),
        events: report.events,
        redacted: report.redacted,
        batches: report.batches,
        segments: report.segments,
        bytes: report.bytes,
        bytes_per_second,
        unfinished_bytes: report.unfinished_bytes,
        unfinished_redactions: report.unfinished_redactions,
        index_files: report.index_files,
        kept_files: report.kept_files,
        unused_files: report.unused_files,
        backup: report.backup.map(|mark| mark.position.get()),
        chain: report.chain.iter().map(Stretch::of).collect(),
        witnesses: witnesses.len(),
        anchor: report.anchor.map(|anchor| Anchored {
            position: anchor.position.get(),
            chain: anchor.chain,
            hash: anchor.hash.map(|hash| hex(&hash)),
            recorded_at: time::show(anchor.recorded_at),
            removed_at: time::show(anchor.removed_at),
            streams: anchor.streams,
        }),
        lost: lost.as_ref().map(LossRecord::positions),
        foreign: witnesses.iter().filter(|witness| report.log_id.is_some_and(|id| id != witness.log_id)).count(),
        findings,
    };
    if out.is_json() {
        out.object(&shown)?;
    } else {
        shown.print(out)?;
        lost.map_or(Ok(()), |record| repair::mention(&record, out))?;
    }
    Ok(if shown.clean { Exit::Fine } else { Exit::Findings })
}

impl Found {
    fn of_record(message: String) -> Found {
        let file = Some("LOST".to_owned());
        Found { kind: FindingKind::Files.as_str(), segment: None, offset: None, position: None, file, message }
    }
}

impl Stretch {
    fn of(stretch: &ChainStretch) -> Stretch {
        Stretch {
            from: stretch.from.position.get(),
            anchor: stretch.from.hash.to_string(),
            begins: stretch.is_start,
            to: stretch.to.position.get(),
            hash: stretch.to.hash.to_string(),
        }
    }
}

impl Shown {
    /// What the hash chain was checked from, and what that proves.
    fn print_chain(&self, out: &mut Out) -> Result<(), Failure> {
        for stretch in &self.chain {
            let from = match self.range {
                _ if stretch.begins => "begun there",
                Some(_) => "going on from what lies before",
                None => "going on from what is no longer in the log",
            };
            out.say(format_args!(
                "Hash chain from position {} ({from}, anchor {}…) to {}.",
                count(stretch.from),
                &stretch.anchor[..16],
                count(stretch.to)
            ))?;
        }
        match self.witnesses {
            _ if !self.clean => Ok(()),
            0 if self.chain.is_empty() => Ok(()),
            0 => out.say(format_args!(
                "Without a witness (`annals tip`), a tail that was cut off or a chain computed anew cannot be told."
            )),
            more => out.say(format_args!(
                "The log is an unbroken continuation of what {} saw.",
                counted(more as u64, "witness")
            )),
        }
    }

    fn print(&self, out: &mut Out) -> Result<(), Failure> {
        if !self.clean {
            let number = |number: Option<u64>| number.map_or_else(String::new, |number| number.to_string());
            let row = |found: &Found| {
                let numbers = [found.segment, found.offset, found.position].map(number);
                let [segment, offset, position] = numbers;
                vec![segment, offset, position, found.kind.to_owned(), found.message.clone()]
            };
            // A file that is missing explains much of what follows: such findings come first.
            let (files, others): (Vec<&Found>, Vec<&Found>) =
                self.findings.iter().partition(|found| found.offset.is_none());
            let rows: Vec<Vec<String>> = files.into_iter().chain(others).take(MOST_ROWS).map(row).collect();
            out.table(&["#segment", "#offset", "#position", "kind", "what is wrong"], &rows)?;
            if self.findings.len() > MOST_ROWS {
                let more = (self.findings.len() - MOST_ROWS) as u64;
                out.say(format_args!("… and {} more; --json lists them all", count(more)))?;
            }
            out.say(format_args!(""))?;
        }
        let mut read = format!(
            "{} in {}, {}, {}",
            counted(self.events, "event"),
            counted(self.batches, "batch"),
            counted(self.segments, "segment"),
            bytes(self.bytes)
        );
        // Of a few files the time says nothing.
        if self.bytes > MEASURED {
            _ = write!(read, " at {}/s", bytes(self.bytes_per_second));
        }
        if self.index_files > 0 {
            _ = write!(read, ", {}", counted(self.index_files, "index file"));
        }
        if self.kept_files > 0 {
            _ = write!(read, ", {}", counted(self.kept_files, "file of consumers and snapshots"));
        }
        if self.clean {
            let only = match self.level {
                "all" => String::new(),
                level => format!(" ({level} only)"),
            };
            let end = if self.range.is_some() { "what was asked for" } else { "the log" };
            let head = count(self.head);
            out.say(format_args!("{GOOD}clean{GOOD:#}{only}: {read}; {end} ends at position {head}."))?;
            if let Some(position) = self.backup {
                let position = count(position);
                out.say(format_args!(
                    "A backup up to position {position}: every file has the digest in its manifest."
                ))?;
            }
        } else {
            let findings = counted(self.findings.len() as u64, "finding");
            out.say(format_args!("{BAD}{findings}{BAD:#}; whole: {read}."))?;
            let of = |kind: FindingKind| self.findings.iter().filter(|found| found.kind == kind.as_str()).count();
            let of_indexes = of(FindingKind::Index);
            let of_kept = of(FindingKind::Consumer) + of(FindingKind::State);
            if of_indexes + of_kept + self.foreign < self.findings.len() {
                out.say(format_args!(
                    "`annals dump` shows the bytes; restore what is damaged from a backup, or see `annals repair --dry-run`."
                ))?;
            }
            if self.foreign > 0 {
                out.say(format_args!(
                    "A witness of another log says nothing of this one: is it the right file, and the right store?"
                ))?;
            }
            if of_kept > 0 {
                out.say(format_args!(
                    "Who follows the log begins anew when you delete what is wrong in consumers/ or snap/."
                ))?;
            }
            if of_indexes > 0 {
                let what = if of_indexes == self.findings.len() && self.level == "all" {
                    "All events are whole: delete"
                } else {
                    "Delete"
                };
                out.say(format_args!("{what} what is wrong in idx/, and the next writer makes it anew."))?;
            }
        }
        if self.redacted > 0 {
            out.say(format_args!(
                "{} redacted: the log says when and why, and keeps the digest of what is gone.",
                counted(self.redacted, "event")
            ))?;
        }
        if self.unfinished_redactions > 0 {
            out.say(format_args!(
                "{} about to be redacted: the log says so, and the next writer does it if nobody is at it now.",
                counted(self.unfinished_redactions, "event")
            ))?;
        }
        self.print_chain(out)?;
        if let Some(anchor) = &self.anchor {
            let hash = anchor.hash.as_ref().map_or_else(String::new, |hash| format!(" and hash {hash}"));
            out.say(format_args!(
                "The log begins behind position {}, anchored at chain {:08x}{hash}: what came before was removed on {}.",
                count(anchor.position),
                anchor.chain,
                anchor.removed_at
            ))?;
        }
        if let [first, more @ ..] = &*self.unused_files {
            let more = if more.is_empty() { String::new() } else { format!(" and {} more", count(more.len() as u64)) };
            let first = printable(first);
            out.say(format_args!("Of no segment of this log, and used by nobody: {first}{more}; delete it or not."))?;
        }
        if self.unfinished_bytes > 0 {
            let size = bytes(self.unfinished_bytes);
            out.say(format_args!(
                "{size} of a batch that was never acknowledged follow; the next writer cuts them off."
            ))?;
        }
        Ok(())
    }
}

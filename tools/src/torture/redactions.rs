//! Redactions that are interrupted: at each of their operations, by a kill and by power losses, and one failing operation
//! each; and the openings that finish them, again.
//!
//! What must be true of the store, whatever happened: it opens. What is redacted the log says so of, with the digest of what
//! was there, and what the log says of is redacted; everything else is as it was. Where the call came to its end, all of
//! it is done. What is redacted is in no file any more, `verify` finds nothing, and asked for again it comes to its end.

use std::sync::Arc;

use annals::inspect::{Finding, FindingKind};
use annals::storage::sim::{Fault, PowerLoss, SimDisk};
use annals::{
    EventStore, ExpectedVersion, NewEvent, Options, Position, RecordedEvent, RedactError, RedactionReport, inspect,
};
use annals_codec::payload_digest;

use super::oracle::read_everything;
use super::tell::options;
use super::violation::{Rule, Violation, ensure};

/// How much was looked at.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Redactions {
    /// Operations of the redactions.
    pub operations: u64,
    /// Disks that were judged.
    pub judged: u64,
    /// How many of them held none of what was asked for, some of it, and all.
    pub none: u64,
    /// See [`none`](Redactions::none).
    pub some: u64,
    /// See [`none`](Redactions::none).
    pub all: u64,
    /// How many openings had something to finish or to undo.
    pub finished: u64,
    /// How many disks had one between its two steps.
    pub unfinished: u64,
}

fn broken(what: impl std::fmt::Display) -> Violation {
    Violation::new(Rule::CrashIsNotDamage, what.to_string())
}

fn with_chain(seed: u64) -> Options {
    options().hash_chain(seed.is_multiple_of(2))
}

/// What stands in the events that are to be redacted, and nowhere else.
pub(super) const SECRET: &str = "nobody's business but that of customer";

/// Interrupts everywhere a redaction over two sealed segments and the newest one, and then one that goes on from it.
///
/// # Errors
///
/// The first promise that is broken.
pub fn explore(seed: u64) -> Result<Redactions, Violation> {
    let mut done = Redactions::default();
    let mut disk = SimDisk::new(seed);
    let store = open(&disk, seed)?;
    let mut secrets = Vec::new();
    for number in 0..17 {
        let is_secret = number % 2 == 0;
        let text = if is_secret { format!("{SECRET} {number} {}", "y".repeat(9_000)) } else { "z".repeat(9_000) };
        let event = NewEvent::new("Told", text).metadata(format!("beside {number}"));
        let appended = store.append(format!("s{}", number % 3), ExpectedVersion::Any, event).map_err(broken)?;
        if is_secret {
            secrets.push(appended.last);
        }
    }
    let events = read_everything(&store)?;
    drop(store);
    for chosen in [&secrets[..2], &secrets[..]] {
        disk = disk.after_kill();
        let round = Round { events: &events, chosen, seed };
        round.explore(&disk, &mut done)?;
        let store = open(&disk, seed)?;
        redact(&store, chosen).map_err(broken)?;
    }
    Ok(done)
}

fn open(disk: &SimDisk, seed: u64) -> Result<EventStore, Violation> {
    EventStore::open_on(Arc::new(disk.clone()), &with_chain(seed)).map_err(broken)
}

/// What is derived is not synced, and a part of the tree stays as a power loss has left it until a proof asks for it.
fn is_of_a_tree(finding: &Finding) -> bool {
    finding.kind == FindingKind::Index && finding.message.contains(".tree: ")
}

fn redact(store: &EventStore, chosen: &[Position]) -> Result<RedactionReport, RedactError> {
    store.redact(chosen.iter().copied(), "asked for")
}

/// The positions of the events whose secrets stand in these bytes.
pub(super) fn secrets_in(bytes: &[u8]) -> Vec<Position> {
    let (first, len) = (SECRET.as_bytes()[0], SECRET.len());
    let starts = bytes.iter().enumerate().filter(|(_, byte)| **byte == first).map(|(at, _)| &bytes[at..]);
    let found = starts.filter_map(|rest| rest.strip_prefix(SECRET.as_bytes()).map(|rest| &rest[1..]));
    let numbers =
        found.filter_map(|rest| str::from_utf8(&rest[..rest.len().min(len)]).ok()?.split(' ').next()?.parse().ok());
    numbers.map(|number: u64| Position::new(number + 1)).collect()
}

/// One redaction of a log that holds these events, and then perhaps what says that some of them are redacted.
struct Round<'a> {
    events: &'a [RecordedEvent],
    chosen: &'a [Position],
    seed: u64,
}

impl Round<'_> {
    fn explore(&self, before: &SimDisk, done: &mut Redactions) -> Result<(), Violation> {
        let whole = before.fork();
        let store = open(&whole, self.seed)?;
        let first = whole.operations();
        redact(&store, self.chosen).map_err(broken)?;
        let operations = whole.operations();
        done.operations += operations - first;
        for operation in first..=operations {
            let disk = before.fork();
            let store = open(&disk, self.seed)?;
            disk.stop_at(operation);
            let is_done = redact(&store, self.chosen).is_ok();
            let at = |error: Violation| error.at(format_args!("stop {operation}"));
            self.judge_all(&disk, is_done, done).map_err(at)?;
            for loss in [PowerLoss::KeepLeast, PowerLoss::KeepMost] {
                self.judge_openings(&disk.after_power_loss(loss, operation), is_done, done).map_err(at)?;
            }
            for fault in [Fault::Eio, Fault::StorageFull] {
                let disk = before.fork();
                let store = open(&disk, self.seed)?;
                disk.fail_at(operation, fault);
                let is_done = redact(&store, self.chosen).is_ok();
                let at = |error: Violation| error.at(format_args!("{fault:?} at {operation}"));
                if fault == Fault::StorageFull {
                    // Once there is space again the same store goes on, unless it was a sync that failed.
                    let again = redact(&store, self.chosen).err();
                    let is_poisoned = matches!(again, Some(RedactError::Poisoned { .. }));
                    ensure!(again.is_none() || is_poisoned, FailuresAreTold, "with space at {operation}: {again:?}");
                    self.judge_all(&disk, again.is_none(), done).map_err(at)?;
                } else {
                    self.judge_all(&disk, is_done, done).map_err(at)?;
                }
            }
        }
        Ok(())
    }

    /// Looks at every disk that can be left.
    fn judge_all(&self, disk: &SimDisk, is_done: bool, done: &mut Redactions) -> Result<(), Violation> {
        let losses = [PowerLoss::KeepLeast, PowerLoss::KeepMost, PowerLoss::Random];
        let lost = losses.into_iter().zip(1..).map(|(loss, seed)| disk.after_power_loss(loss, seed));
        let last = disk.operations().saturating_sub(1);
        let torn = (last.saturating_sub(3)..=last).map(|last| disk.after_power_loss(PowerLoss::DropOnly(last), 9));
        for left in lost.chain(torn).chain([disk.after_kill()]) {
            self.judge(&left, is_done, done)?;
        }
        Ok(())
    }

    /// Interrupts the opening at each of its operations, if there is something to finish.
    fn judge_openings(&self, left: &SimDisk, is_done: bool, done: &mut Redactions) -> Result<(), Violation> {
        if !left.paths().iter().any(|path| path.ends_with(".redacted")) {
            return Ok(());
        }
        done.finished += 1;
        let whole = left.fork();
        drop(open(&whole, self.seed)?);
        for operation in 0..whole.operations() {
            let disk = left.fork();
            disk.stop_at(operation);
            drop(open(&disk, self.seed));
            for loss in [PowerLoss::KeepLeast, PowerLoss::KeepMost] {
                let again = disk.after_power_loss(loss, operation);
                self.judge(&again, is_done, done)
                    .map_err(|error| error.at(format_args!("opening, stop {operation}")))?;
            }
        }
        Ok(())
    }

    fn judge(&self, left: &SimDisk, is_done: bool, done: &mut Redactions) -> Result<(), Violation> {
        done.judged += 1;
        // Nobody has finished it yet, and that is no damage.
        let report = inspect::verify_on(left, |_, _| ()).map_err(broken)?;
        let of_indexes = |finding: &Finding| finding.kind == FindingKind::Index;
        ensure!(report.findings.iter().all(of_indexes), CrashIsNotDamage, "unopened: {:?}", report.findings);
        done.unfinished += u64::from(report.unfinished_redactions > 0);
        let store = open(left, self.seed)?;
        let found = self.redacted_in(&store)?;
        let of_chosen = self.chosen.iter().filter(|position| found.contains(position)).count();
        ensure!(
            !is_done || of_chosen == self.chosen.len(),
            AcknowledgedStays,
            "{of_chosen} of {} stay redacted",
            self.chosen.len()
        );
        *(match of_chosen {
            0 => &mut done.none,
            some if some < self.chosen.len() => &mut done.some,
            _ => &mut done.all,
        }) += 1;
        must_be_gone(left, &found)?;
        let report = inspect::verify_on(left, |_, _| ()).map_err(broken)?;
        ensure!(report.findings.iter().all(is_of_a_tree), CrashIsNotDamage, "{:?}", report.findings);
        ensure!(report.unfinished_redactions == 0, CrashIsNotDamage, "opening has not finished it");

        redact(&store, self.chosen).map_err(|error| broken(format!("asked for again: {error}")))?;
        let found = self.redacted_in(&store)?;
        ensure!(
            self.chosen.iter().all(|position| found.contains(position)),
            FailuresAreTold,
            "asked for again: {found:?}"
        );
        must_be_gone(left, &found)?;
        let report = inspect::verify_on(left, |_, _| ()).map_err(broken)?;
        ensure!(report.findings.iter().all(is_of_a_tree), CrashIsNotDamage, "asked for again: {:?}", report.findings);
        ensure!(report.redacted == found.len() as u64, ReadsAgree, "{} redacted", report.redacted);
        Ok(())
    }

    /// The positions of the events that are redacted; all others are as they were.
    fn redacted_in(&self, store: &EventStore) -> Result<Vec<Position>, Violation> {
        let events = read_everything(store)?;
        ensure!(events.len() >= self.events.len(), AcknowledgedStays, "{} events", events.len());
        let mut found = Vec::new();
        for (was, is) in self.events.iter().zip(&events) {
            let position = was.position();
            let told = store.redaction(position).map_err(broken)?;
            if is.is_redacted() {
                found.push(position);
                ensure!(self.chosen.contains(&position), WholeOrAbsent, "{position} was not to be redacted");
                let digest = payload_digest(&was.data(), was.metadata().as_deref());
                let known = told.map(|told| told.digest);
                ensure!(
                    known == Some(digest) || was.is_redacted(),
                    ReadsAgree,
                    "the digest of {position} is {known:?}"
                );
                ensure!(is.data().is_empty() && is.metadata().is_none(), ReadsAgree, "something is left at {position}");
            } else {
                ensure!(told.is_none(), WholeOrAbsent, "the log says that {position} is redacted, and it is not");
                ensure!(is == was, AcknowledgedStays, "{position} is {is:?}");
            }
        }
        Ok(found)
    }
}

/// What is redacted stands in no file, and nothing that was begun is left.
fn must_be_gone(disk: &SimDisk, redacted: &[Position]) -> Result<(), Violation> {
    for path in disk.paths() {
        ensure!(!path.ends_with(".redacted"), DroppedStaysGone, "{path} is left");
        let bytes = disk.read_file(&path).unwrap_or_default();
        for position in secrets_in(&bytes) {
            ensure!(!redacted.contains(&position), DroppedStaysGone, "what was at {position} is in {path}");
        }
    }
    Ok(())
}

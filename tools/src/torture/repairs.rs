//! Repairs that are interrupted: at each of their operations, by a kill and by power losses, and one failing operation each.
//!
//! What must be true, whatever happened: the damaged store is as it was; the directory of the repaired one is no store, or
//! it is one, whole: it opens with nothing to do, `verify` finds nothing, what was not damaged is there, and no position
//! is given out again. What is redacted is in no segment that was ever made of it, also where the power had gone out in the
//! middle of the redaction.

use annals::inspect::FindingKind;
use annals::storage::sim::{Fault, PowerLoss, SimDisk};
use annals::{EventStore, ExpectedVersion, NewEvent, Position, RecordedEvent, inspect, repair_on};

use super::model::Batch;
use super::oracle::read_everything;
use super::redactions::{SECRET, secrets_in};
use super::tell::{open, options};
use super::violation::{Rule, Violation, ensure};

/// How much was looked at.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Repairs {
    /// Operations of the repairs.
    pub operations: u64,
    /// Directories that were judged.
    pub judged: u64,
    /// How many of them held the repaired store, and how many none.
    pub whole: u64,
    /// See [`whole`](Repairs::whole).
    pub none: u64,
    /// Repaired stores with redacted events.
    pub redacted: u64,
}

fn broken(what: impl std::fmt::Display) -> Violation {
    Violation::new(Rule::CrashIsNotDamage, what.to_string())
}

/// What is damaged, and how.
type Way<'a> = (&'static str, &'a dyn Fn(&SimDisk));

/// Damages a store in several ways, and interrupts the repair of each everywhere.
///
/// # Errors
///
/// The first promise that is broken.
pub fn explore(seed: u64) -> Result<Repairs, Violation> {
    let disk = SimDisk::new(seed);
    let store = open(&disk).map_err(broken)?;
    for number in 1..=13 {
        Batch::new(number, &[("a", 9_000), ("b", 700)]).commit(&store).map_err(broken)?;
    }
    store.consumer("reader").and_then(|reader| reader.checkpoint(Position::new(3))).map_err(broken)?;
    let events = read_everything(&store)?;
    store.close().map_err(broken)?;
    let disk = disk.after_kill();
    let mut done = Repairs::default();
    ways(&disk, &events, &mut done)?;
    for hash_chain in [false, true] {
        redacted(seed, hash_chain, &mut done).map_err(|error| error.at(format_args!("hash chain: {hash_chain}")))?;
    }
    Ok(done)
}

/// Damages a store in every way, and interrupts each repair.
fn ways(disk: &SimDisk, events: &[RecordedEvent], done: &mut Repairs) -> Result<(), Violation> {
    let segments: Vec<String> = disk.paths().into_iter().filter(|path| path.starts_with("seg/")).collect();
    let [first, .., last] = &*segments else { return Err(broken("too few segments")) };
    let cut = |disk: &SimDisk| {
        let bytes = disk.read_file(last).unwrap_or_default();
        disk.write_file(last, &bytes[..5_000]);
    };
    let ways: [Way<'_>; 5] = [
        ("a byte of the first segment", &|disk| disk.flip(first, 8 * 20_000)),
        ("the last segment is gone", &|disk| disk.remove_file(last)),
        ("the last segment is cut off", &cut),
        ("store.meta is gone", &|disk| disk.remove_file("store.meta")),
        ("a header", &|disk| disk.flip(last, 8 * 70)),
    ];
    for (what, damage) in ways {
        let damaged = disk.fork();
        damage(&damaged);
        let round = Round { damaged: &damaged, events, redacted: &[] };
        round.explore(done).map_err(|error| error.at(format_args!("{what}")))?;
    }
    Ok(())
}

/// The same with a store of which events are redacted: some long ago, and some just now, when the power went out.
fn redacted(seed: u64, hash_chain: bool, done: &mut Repairs) -> Result<(), Violation> {
    let open = |disk: &SimDisk| {
        let options = options().hash_chain(hash_chain);
        EventStore::open_on(std::sync::Arc::new(disk.clone()), &options).map_err(broken)
    };
    let redact = |store: &EventStore, some: &[u64]| {
        store.redact(some.iter().copied().map(Position::new), "asked for").map(drop).map_err(broken)
    };
    let disk = SimDisk::new(seed);
    let store = open(&disk)?;
    for number in 0..13 {
        let text = if number % 3 == 0 { format!("{SECRET} {number} {}", "y".repeat(6_000)) } else { "z".repeat(9_000) };
        let event = NewEvent::new("Told", text);
        store.append(format!("s{}", number % 2), ExpectedVersion::Any, event).map_err(broken)?;
    }
    redact(&store, &[1])?;
    store.close().map_err(broken)?;
    let before = disk.after_kill();
    let whole = before.fork();
    let store = open(&whole)?;
    redact(&store, &[4, 7])?;
    let events = read_everything(&store)?;
    // The last moment at which the log says so, and the new file has not taken its place.
    let is_beside = |disk: &SimDisk| disk.paths().iter().any(|path| path.ends_with(".redacted"));
    let interrupted = (0..whole.operations()).rev().find_map(|operation| {
        let disk = before.fork();
        disk.stop_at(operation);
        open(&disk).and_then(|store| redact(&store, &[4, 7])).err()?;
        Some(disk.after_kill()).filter(is_beside)
    });
    let interrupted = interrupted.ok_or_else(|| broken("it could not be interrupted"))?;
    let first = interrupted.paths().into_iter().find(|path| path.rsplit('.').next() == Some("seg"));
    let first = first.ok_or_else(|| broken("there is no segment"))?;
    for (what, at) in [("the first event, redacted before", 4_200), ("one that is to be redacted", 30_000)] {
        let damaged = interrupted.fork();
        damaged.flip(&first, 8 * at);
        let redacted = [1, 4, 7].map(Position::new);
        let round = Round { damaged: &damaged, events: &events, redacted: &redacted };
        round.explore(done).map_err(|error| error.at(format_args!("{what}")))?;
    }
    Ok(())
}

/// The repair of one damaged store.
struct Round<'a> {
    damaged: &'a SimDisk,
    events: &'a [RecordedEvent],
    redacted: &'a [Position],
}

impl Round<'_> {
    fn explore(&self, done: &mut Repairs) -> Result<(), Violation> {
        ensure!(open(&self.damaged.fork()).is_err() || self.is_damaged()?, DamageIsTold, "nothing is damaged");
        let whole = SimDisk::new(9);
        repair_on(self.damaged, &whole).map_err(broken)?;
        let operations = whole.operations();
        done.operations += operations;
        for operation in 0..=operations {
            let disk = SimDisk::new(9);
            disk.stop_at(operation);
            let is_done = repair_on(self.damaged, &disk).is_ok();
            self.judge_all(&disk, is_done, done).map_err(|error| error.at(format_args!("stop {operation}")))?;
            for fault in [Fault::Eio, Fault::StorageFull, Fault::ShortThenFull] {
                let disk = SimDisk::new(9);
                disk.fail_at(operation, fault);
                let is_done = repair_on(self.damaged, &disk).is_ok();
                let at = |error: Violation| error.at(format_args!("{fault:?} at {operation}"));
                self.judge_all(&disk, is_done, done).map_err(at)?;
            }
        }
        Ok(())
    }

    fn is_damaged(&self) -> Result<bool, Violation> {
        Ok(!inspect::verify_on(self.damaged, |_, _| ()).map_err(broken)?.is_clean())
    }

    /// Looks at every disk that can be left.
    fn judge_all(&self, disk: &SimDisk, is_done: bool, done: &mut Repairs) -> Result<(), Violation> {
        let losses = [PowerLoss::KeepLeast, PowerLoss::KeepMost, PowerLoss::Random, PowerLoss::Random];
        let lost = losses.into_iter().zip(1..).map(|(loss, seed)| disk.after_power_loss(loss, seed));
        let last = disk.operations().saturating_sub(1);
        let torn = (last.saturating_sub(4)..=last).map(|last| disk.after_power_loss(PowerLoss::DropOnly(last), 9));
        for left in lost.chain(torn).chain([disk.after_kill()]) {
            self.judge(&left, is_done, done)?;
        }
        Ok(())
    }

    fn judge(&self, left: &SimDisk, is_done: bool, done: &mut Repairs) -> Result<(), Violation> {
        done.judged += 1;
        // What was damaged is kept as it was.
        for path in left.paths().into_iter().filter(|path| !path.starts_with("quarantine/")) {
            let there = secrets_in(&left.read_file(&path).unwrap_or_default());
            let back = there.into_iter().find(|position| self.redacted.contains(position));
            ensure!(back.is_none(), DroppedStaysGone, "what was redacted at {back:?} is in {path}");
        }
        if EventStore::open_read_only_on(std::sync::Arc::new(left.fork())).is_err()
            && left.read_file("store.meta").is_none()
        {
            done.none += 1;
            ensure!(!is_done, AcknowledgedStays, "the store was repaired, and is not there");
            // Where nothing is there yet, a new store is made by whoever asks for one.
            let has_segments = left.paths().iter().any(|path| path.rsplit('.').next() == Some("seg"));
            ensure!(!has_segments || open(&left.fork()).is_err(), CrashIsNotDamage, "half a store opens");
            return Ok(());
        }
        done.whole += 1;
        let found = inspect::verify_on(left, |_, _| ()).map_err(broken)?;
        done.redacted += u64::from(found.redacted > 0);
        // A consumer that has seen what was lost is told so.
        let findings: Vec<_> = found.findings.iter().filter(|found| found.kind != FindingKind::Consumer).collect();
        ensure!(findings.is_empty() && found.unfinished_bytes == 0, CrashIsNotDamage, "{findings:?}");
        let store = open(left).map_err(broken)?;
        let mut report = store.recovery_report().clone();
        report.removed_temporaries.clear();
        ensure!(report.is_clean(), CrashIsNotDamage, "opening it had something to do: {report:?}");
        let after = read_everything(&store)?;
        ensure!(after.len() >= self.events.len(), AcknowledgedStays, "position {} is given out again", after.len() + 1);
        for (event, before) in after.iter().zip(self.events) {
            ensure!(event == before || event.event_type() == "$lost", ReadsAgree, "{event:?} instead of {before:?}");
        }
        let is_shown = |at: &Position| after.iter().any(|event| event.position() == *at && !event.is_redacted());
        let is_lost = |at: &Position| after[at.get() as usize - 1].event_type() == "$lost";
        let shown = self.redacted.iter().find(|at| is_shown(at) && !is_lost(at));
        ensure!(shown.is_none(), DroppedStaysGone, "{shown:?} is redacted no more");
        let lost = after.iter().filter(|event| event.event_type() == "$lost").count();
        ensure!(lost < self.events.len(), AcknowledgedStays, "everything is lost");
        Ok(())
    }
}

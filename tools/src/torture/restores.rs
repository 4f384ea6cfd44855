//! Restoring that is interrupted: at each of its operations, by a kill and by power losses, and one failing operation each.
//!
//! What must be true, whatever happened: the backup is as it was, and what lies where the store was to be is no store, or
//! all of it.

use annals::storage::sim::{Fault, PowerLoss, SimDisk};
use annals::{BackupOptions, RecordedEvent, inspect, restore_on};

use super::model::Batch;
use super::oracle::read_everything;
use super::tell::open;
use super::violation::{Rule, Violation, ensure};

/// How much was looked at.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Restores {
    /// Operations of the restoring.
    pub operations: u64,
    /// Directories that were judged.
    pub judged: u64,
    /// How many of them held the restored store, and how many none.
    pub whole: u64,
    /// See [`whole`](Restores::whole).
    pub none: u64,
}

fn broken(what: impl std::fmt::Display) -> Violation {
    Violation::new(Rule::CrashIsNotDamage, what.to_string())
}

/// Interrupts the restoring of backups, of an empty store and of one with three segments, everywhere.
///
/// # Errors
///
/// The first promise that is broken.
pub fn explore(seed: u64) -> Result<Restores, Violation> {
    let mut done = Restores::default();
    for batches in [0, 13] {
        let store = open(&SimDisk::new(seed)).map_err(broken)?;
        for number in 1..=batches {
            Batch::new(number, &[("a", 9_000), ("b", 700)]).commit(&store).map_err(broken)?;
        }
        store.consumer("reader").and_then(|reader| reader.checkpoint(store.head())).map_err(broken)?;
        let backup = SimDisk::new(seed + 1);
        store.backup_on(&backup, &BackupOptions::new().threads(1)).map_err(broken)?;
        let events = read_everything(&store)?;
        explore_one(&backup, &events, &mut done).map_err(|error| error.at(format_args!("of {batches} batches")))?;
    }
    Ok(done)
}

fn explore_one(backup: &SimDisk, events: &[RecordedEvent], done: &mut Restores) -> Result<(), Violation> {
    let whole = SimDisk::new(9);
    restore_on(backup, &whole).map_err(broken)?;
    let operations = whole.operations();
    done.operations += operations;
    for operation in 0..=operations {
        let faults = [None, Some(Fault::Eio), Some(Fault::StorageFull), Some(Fault::ShortThenFull)];
        for fault in faults {
            let disk = SimDisk::new(9);
            match fault {
                None => disk.stop_at(operation),
                Some(fault) => disk.fail_at(operation, fault),
            }
            let is_done = restore_on(backup, &disk).is_ok();
            let at = |error: Violation| error.at(format_args!("{fault:?} at {operation}"));
            judge_all(&disk, is_done, events, done).map_err(at)?;
        }
    }
    let found = inspect::verify_on(backup, |_, _| ()).map_err(broken)?;
    ensure!(found.is_clean() && found.backup.is_some(), CrashIsNotDamage, "the backup: {:?}", found.findings);
    Ok(())
}

/// Looks at every disk that can be left.
fn judge_all(disk: &SimDisk, is_done: bool, events: &[RecordedEvent], done: &mut Restores) -> Result<(), Violation> {
    let losses = [PowerLoss::KeepLeast, PowerLoss::KeepMost, PowerLoss::Random, PowerLoss::Random];
    let lost = losses.into_iter().zip(1..).map(|(loss, seed)| disk.after_power_loss(loss, seed));
    let last = disk.operations().saturating_sub(1);
    let torn = (last.saturating_sub(4)..=last).map(|last| disk.after_power_loss(PowerLoss::DropOnly(last), 9));
    for left in lost.chain(torn).chain([disk.after_kill()]) {
        judge(&left, is_done, events, done)?;
    }
    Ok(())
}

fn judge(left: &SimDisk, is_done: bool, events: &[RecordedEvent], done: &mut Restores) -> Result<(), Violation> {
    done.judged += 1;
    if left.read_file("store.meta").is_none() {
        done.none += 1;
        ensure!(!is_done, AcknowledgedStays, "the store was restored, and is not there");
        // An empty log is as good as one that was restored empty.
        let has_segments = left.paths().iter().any(|path| path.rsplit('.').next() == Some("seg")) && !events.is_empty();
        ensure!(!has_segments || open(&left.fork()).is_err(), CrashIsNotDamage, "half a store opens");
        return Ok(());
    }
    done.whole += 1;
    let found = inspect::verify_on(left, |_, _| ()).map_err(broken)?;
    ensure!(found.is_clean() && found.unfinished_bytes == 0, CrashIsNotDamage, "{:?}", found.findings);
    let store = open(left).map_err(broken)?;
    let mut report = store.recovery_report().clone();
    report.removed_temporaries.clear();
    ensure!(report.is_clean(), CrashIsNotDamage, "opening it had something to do: {report:?}");
    let consumer = store.consumer("reader").map_err(broken)?;
    ensure!(consumer.position() == store.head(), AcknowledgedStays, "the consumer is at {}", consumer.position());
    ensure!(read_everything(&store)? == events, ReadsAgree, "it holds other events");
    Ok(())
}

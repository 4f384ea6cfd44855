//! Backups that are interrupted: at each of their operations, by a kill and by power losses, and one failing operation
//! each.
//!
//! What must be true of the directory, whatever happened: where there is a manifest, the backup is the older one or the
//! newer one, whole: it is restored to a store that opens with nothing to do, holds exactly the events up to the
//! manifest's position, and `verify` finds nothing. Where there is none, it is not restored, and `verify` says why. And
//! in both cases the next backup into it comes to its end.

use annals::storage::sim::{Fault, PowerLoss, SimDisk};
use annals::{BackupOptions, EventStore, Position, RecordedEvent, inspect, restore_on};

use super::model::Batch;
use super::oracle::read_everything;
use super::tell::open;
use super::violation::{Rule, Violation, ensure};

/// How much was looked at.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Copies {
    /// Operations of the backups.
    pub operations: u64,
    /// Directories that were judged.
    pub judged: u64,
    /// How many of them held the older backup, the newer one, and none.
    pub older: u64,
    /// See [`older`](Copies::older).
    pub newer: u64,
    /// See [`older`](Copies::older).
    pub none: u64,
}

fn broken(what: impl std::fmt::Display) -> Violation {
    Violation::new(Rule::CrashIsNotDamage, what.to_string())
}

fn options() -> BackupOptions {
    // On one thread, so that the operations have an order.
    BackupOptions::new().threads(1)
}

/// Interrupts a first backup everywhere, and then one that goes on from it while the log has rolled.
///
/// # Errors
///
/// The first promise that is broken.
pub fn explore(seed: u64) -> Result<Copies, Violation> {
    let source = SimDisk::new(seed);
    let store = open(&source).map_err(broken)?;
    let mut done = Copies::default();
    let mut target = SimDisk::new(seed + 1);
    let mut older = None;
    let mut number = 0;
    for batches in [3, 9, 2] {
        for _ in 0..batches {
            number += 1;
            let batch = Batch::new(number, &[("a", 9_000), ("b", 700)]);
            batch.commit(&store).map_err(broken)?;
        }
        let consumer = store.consumer("reader").map_err(broken)?;
        consumer.checkpoint(store.head()).map_err(broken)?;
        let events = read_everything(&store)?;
        let round = Round { store: &store, events: &events, older };
        round.explore(&target, &mut done)?;
        store.backup_on(&target, &options()).map_err(broken)?;
        target = target.after_kill();
        older = Some(store.head());
    }
    Ok(done)
}

/// One backup, into a directory that holds an older one or nothing.
struct Round<'a> {
    store: &'a EventStore,
    events: &'a [RecordedEvent],
    older: Option<Position>,
}

impl Round<'_> {
    fn explore(&self, before: &SimDisk, done: &mut Copies) -> Result<(), Violation> {
        let whole = before.fork();
        let report = self.store.backup_on(&whole, &options()).map_err(broken)?;
        ensure!(report.mark.position == self.store.head(), ReadsAgree, "a backup up to {}", report.mark.position);
        let operations = whole.operations();
        done.operations += operations;
        for operation in 0..=operations {
            let disk = before.fork();
            disk.stop_at(operation);
            let taken = self.store.backup_on(&disk, &options());
            self.judge_all(&disk, taken.is_ok(), done).map_err(|error| error.at(format_args!("stop {operation}")))?;
            for fault in [Fault::Eio, Fault::StorageFull] {
                let disk = before.fork();
                disk.fail_at(operation, fault);
                let taken = self.store.backup_on(&disk, &options());
                let at = |error: Violation| error.at(format_args!("{fault:?} at {operation}"));
                self.judge_all(&disk, taken.is_ok(), done).map_err(at)?;
            }
        }
        Ok(())
    }

    /// Looks at every disk that can be left.
    fn judge_all(&self, disk: &SimDisk, is_taken: bool, done: &mut Copies) -> Result<(), Violation> {
        let losses = [PowerLoss::KeepLeast, PowerLoss::KeepMost, PowerLoss::Random, PowerLoss::Random];
        let lost = losses.into_iter().zip(1..).map(|(loss, seed)| disk.after_power_loss(loss, seed));
        let last = disk.operations().saturating_sub(1);
        let torn = (last.saturating_sub(4)..=last).map(|last| disk.after_power_loss(PowerLoss::DropOnly(last), 9));
        for left in lost.chain(torn).chain([disk.after_kill()]) {
            self.judge(&left, is_taken, done)?;
        }
        Ok(())
    }

    fn judge(&self, left: &SimDisk, is_taken: bool, done: &mut Copies) -> Result<(), Violation> {
        done.judged += 1;
        let newer = self.store.head();
        let restored = SimDisk::new(7);
        match restore_on(left, &restored) {
            Ok(report) => {
                let position = report.mark.position;
                let is_older = self.older == Some(position);
                ensure!(is_older || position == newer, ReadsAgree, "a backup up to {position}");
                ensure!(!is_taken || position == newer, AcknowledgedStays, "the backup was taken, and is not there");
                *(if is_older { &mut done.older } else { &mut done.newer }) += 1;
                let found = inspect::verify_on(left, |_, _| ()).map_err(broken)?;
                ensure!(found.is_clean() && found.unfinished_bytes == 0, CrashIsNotDamage, "{:?}", found.findings);
                for disk in [restored, left.fork()] {
                    self.must_hold(&disk, position)?;
                }
            }
            Err(error) => {
                done.none += 1;
                let has_manifest = left.read_file("BACKUP").is_some();
                ensure!(!has_manifest, CrashIsNotDamage, "there is a manifest, and no backup: {error}");
                ensure!(!is_taken, AcknowledgedStays, "the backup was taken, and is not there: {error}");
                if let Ok(found) = inspect::verify_on(left, |_, _| ()) {
                    ensure!(!found.is_clean(), FailuresAreTold, "nothing says that the backup is not whole: {error}");
                }
            }
        }
        self.store.backup_on(left, &options()).map_err(|error| broken(format!("taken again: {error}")))?;
        let found = inspect::verify_on(left, |_, _| ()).map_err(broken)?;
        ensure!(found.is_clean(), CrashIsNotDamage, "taken again: {:?}", found.findings);
        let position = found.backup.map(|mark| mark.position);
        ensure!(position == Some(newer), CrashIsNotDamage, "taken again, it ends at {position:?}");
        Ok(())
    }

    /// The store on this disk opens as one that was closed properly, and holds the events up to a position.
    fn must_hold(&self, disk: &SimDisk, position: Position) -> Result<(), Violation> {
        let store = open(disk).map_err(broken)?;
        // What an interrupted backup has left beside an older one is removed, if somebody opens it where it lies.
        let mut report = store.recovery_report().clone();
        report.removed_temporaries.clear();
        ensure!(report.is_clean(), CrashIsNotDamage, "opening it had something to do: {report:?}");
        let events = read_everything(&store)?;
        ensure!(events[..] == self.events[..position.get() as usize], ReadsAgree, "{} events", events.len());
        Ok(())
    }
}

//! What a run of stories has done, counted: a harness that injects nothing finds nothing.

use std::collections::BTreeMap;

use annals::RecoveryReport;
use annals::storage::sim::{Fault, ReadFault, SimDisk};
use serde::Serialize;

use super::model::{End, Model};
use super::story::{Trouble, name_of};

/// How often something was tried, and what came of it.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, Serialize)]
pub struct Count {
    /// How often it was to happen.
    pub planned: u64,
    /// How often it met something: an operation of the disk, a change that was not synced.
    pub met: u64,
    /// How often that made a difference: an error was told, something was cut off or gone.
    pub mattered: u64,
}

impl Count {
    fn add(&mut self, other: Count) {
        self.planned += other.planned;
        self.met += other.met;
        self.mattered += other.mattered;
    }
}

/// What those did who follow the log.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, Serialize)]
pub struct FollowerCounts {
    /// Events that consumers were given.
    pub given: u64,
    /// Checkpoints that were kept.
    pub checkpoints: u64,
    /// Snapshots that were kept.
    pub snapshots: u64,
    /// Handlers that failed, and whose projection went on.
    pub stumbled: u64,
    /// Checkpoints and snapshots from which somebody could go on after the end of a life.
    pub resumed: u64,
    /// Subscriptions that waited for an append, and were woken by it.
    pub woken: u64,
}

/// What was done, and how often.
#[derive(Clone, Debug, Default, Eq, PartialEq, Serialize)]
pub struct Tally {
    /// Every operation of the disks, if somebody wants to know: a line each, as in the journal of the disk.
    #[serde(skip)]
    pub journal: Option<Vec<String>>,
    /// Stories that were told to their end.
    pub stories: u64,
    /// Of these, stories that were given up: the store's own directory could not be synced while it was
    /// made, and what the simulated disk does then is harder than what file systems do.
    pub beyond_the_model: u64,
    /// Steps that were taken.
    pub steps: u64,
    /// Operations that changed or synced a disk.
    pub operations: u64,
    /// Times that a store was opened after the end of a life, and judged.
    pub opens: u64,
    /// Stores that were closed as they should be.
    pub closes: u64,
    /// Processes that died; met: in the middle of an operation; mattered: a batch went with it, or a torn tail was cut.
    pub kills: Count,
    /// Times that the power went; met: something was not synced; mattered: as for kills.
    pub power_losses: Count,
    /// Flipped bits; met: the store opened all the same; mattered: somebody was told, for each event or at the opening.
    pub rot: Count,
    /// Faults of single operations, by the words that stories have for them; mattered: the store told somebody.
    pub faults: BTreeMap<&'static str, Count>,
    /// Batches that nobody was told about, and that were there.
    pub doubtful_kept: u64,
    /// Batches that nobody was told about, and that were not there.
    pub doubtful_dropped: u64,
    /// Batches that were acknowledged, not durable, and went with the power.
    pub written_dropped: u64,
    /// Torn tails that a recovery cut off.
    pub torn_tails: u64,
    /// Rolls to the next segment that a recovery finished.
    pub finished_rolls: u64,
    /// Stores whose making a recovery finished.
    pub finished_creations: u64,
    /// Who followed the log.
    pub followers: FollowerCounts,
}

impl Tally {
    /// A trouble was planned.
    pub(super) fn planned(&mut self, trouble: Trouble) {
        match trouble {
            Trouble::Stop(_) => {}
            Trouble::Fail(_, fault) => self.faults.entry(name_of(fault)).or_default().planned += 1,
            Trouble::FailRead(_, fault) => self.faults.entry(name_of_read(fault)).or_default().planned += 1,
        }
    }

    /// A life is over; `failed` are the lines of what struck in it, `told` whether anybody was told.
    pub(super) fn lived(&mut self, disk: &SimDisk, failed: &[String], told: bool) {
        self.operations += disk.operations();
        for line in failed {
            let word = match line.rsplit("-> ").next() {
                Some("StorageFull") => name_of(Fault::StorageFull),
                Some("ShortWrite") => name_of(Fault::ShortWrite),
                Some("ShortThenFull") => name_of(Fault::ShortThenFull),
                Some("Stale") => name_of_read(ReadFault::Stale),
                _ if line.starts_with("read ") => name_of_read(ReadFault::Eio),
                _ => name_of(Fault::Eio),
            };
            let count = self.faults.entry(word).or_default();
            count.met += 1;
            count.mattered += u64::from(told);
        }
    }

    /// A recovery has shown so many batches of the model.
    pub(super) fn recovered(&mut self, model: &Model, shown: usize, end: End, report: &RecoveryReport) {
        let doubtful = model.in_doubt() as u64;
        let dropped = (model.len() - shown) as u64;
        let count = if end == End::Kill { &mut self.kills } else { &mut self.power_losses };
        count.mattered += u64::from(dropped > 0 || report.torn.is_some());
        self.doubtful_dropped += doubtful.min(dropped);
        self.doubtful_kept += doubtful.saturating_sub(dropped);
        self.written_dropped += dropped.saturating_sub(doubtful);
        self.torn_tails += u64::from(report.torn.is_some());
        self.finished_rolls += u64::from(report.finished_roll);
        self.finished_creations += u64::from(report.finished_creation);
    }

    /// Adds what another run has done.
    pub fn add(&mut self, other: &Tally) {
        let Tally { stories, steps, operations, opens, closes, kills, power_losses, faults, .. } = other;
        self.stories += stories;
        self.steps += steps;
        self.operations += operations;
        self.opens += opens;
        self.closes += closes;
        self.kills.add(*kills);
        self.power_losses.add(*power_losses);
        self.rot.add(other.rot);
        for (word, count) in faults {
            self.faults.entry(word).or_default().add(*count);
        }
        self.beyond_the_model += other.beyond_the_model;
        self.doubtful_kept += other.doubtful_kept;
        self.doubtful_dropped += other.doubtful_dropped;
        self.written_dropped += other.written_dropped;
        self.torn_tails += other.torn_tails;
        self.finished_rolls += other.finished_rolls;
        self.finished_creations += other.finished_creations;
        let FollowerCounts { given, checkpoints, snapshots, stumbled, resumed, woken } = other.followers;
        self.followers.given += given;
        self.followers.checkpoints += checkpoints;
        self.followers.snapshots += snapshots;
        self.followers.stumbled += stumbled;
        self.followers.resumed += resumed;
        self.followers.woken += woken;
    }
}

fn name_of_read(fault: ReadFault) -> &'static str {
    match fault {
        ReadFault::Stale => "read-stale",
        _ => "read-eio",
    }
}

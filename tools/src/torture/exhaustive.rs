//! Every way in which one short story can go wrong, one after the other.
//!
//! The story is stopped at each of its operations, and looked at after a kill and
//! after power losses that keep the least, the most, a random part, all but one
//! operation, only one, and of one write every beginning. It is told again with each
//! operation failing in each way. And the recovery from what is left is itself
//! stopped and failed at each of its operations, of all cases or of a sample.
//!
//! Every case is a [`Story`], so that a finding can be told again.

use annals::storage::sim::{Fault, PowerLoss, SimDisk};

use super::aftermath::aftermath;
use super::caught::caught;
use super::generate::{Choices, Seeded};
use super::model::{Batch, End, Model};
use super::story::{Ending, Life, Step, Story, Trouble};
use super::tally::Tally;
use super::tell::{Told, live, open};
use super::violation::{Rule, Violation, ensure};

const FAULTS: [Fault; 4] = [Fault::Eio, Fault::StorageFull, Fault::ShortWrite, Fault::ShortThenFull];

/// Of the operations before a stop, this many are dropped and kept alone: what is older was
/// synced, or the stop before has looked at it.
const WINDOW: u64 = 8;

/// How thorough to be.
#[derive(Clone, Copy, Debug)]
pub struct Care {
    /// Of the recoveries, one in so many is itself interrupted everywhere.
    pub interrupt_one_in: u64,
    /// Decides which, and what random losses lose.
    pub seed: u64,
}

/// How much was looked at.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, serde::Serialize)]
pub struct Cases {
    /// Operations of the stories themselves.
    pub operations: u64,
    /// Stops in them.
    pub stops: u64,
    /// Operations made to fail.
    pub faults: u64,
    /// Recoveries from what was left.
    pub recoveries: u64,
    /// Recoveries that were interrupted, each at one operation in one way, and then done again.
    pub interruptions: u64,
}

impl Cases {
    /// Adds what another exploration has looked at.
    pub fn add(&mut self, other: &Cases) {
        self.operations += other.operations;
        self.stops += other.stops;
        self.faults += other.faults;
        self.recoveries += other.recoveries;
        self.interruptions += other.interruptions;
    }
}

/// Goes through every way in which these steps can go wrong.
///
/// # Errors
///
/// The first way that breaks a promise, as a story, and the promise.
pub fn explore(steps: &[Step], care: Care, tally: &mut Tally) -> Result<Cases, Box<(Story, Violation)>> {
    let choices = Seeded::new(care.seed);
    let mut explorer =
        Explorer { steps, care, choices, cases: Cases::default(), tally, story: Story::quiet(Vec::new()) };
    let done = caught(|| explorer.explore());
    let (cases, story) = (explorer.cases, explorer.story);
    done.map(|()| cases).map_err(|violation| Box::new((story, violation)))
}

struct Explorer<'a> {
    steps: &'a [Step],
    care: Care,
    choices: Seeded,
    cases: Cases,
    tally: &'a mut Tally,
    /// The case at hand.
    story: Story,
}

impl Explorer<'_> {
    fn explore(&mut self) -> Result<(), Violation> {
        let whole = SimDisk::new(1);
        whole.record_journal();
        let told = self.first_life(&whole, None)?;
        let may_be_full = self.steps.iter().any(|step| matches!(step, Step::Space(Some(_))));
        let is_full = told.was_full && !may_be_full;
        let quiet = !told.poisoned && !is_full && told.model.in_doubt() == 0 && told.store.is_some();
        ensure!(quiet, FailuresAreTold, "nothing was to go wrong yet");
        drop(told);
        let operations = whole.operations();
        self.cases.operations = operations;
        let is_sync = |line: &String| line.split(' ').nth(1) == Some("sync");
        let syncs: Vec<bool> = whole.journal().iter().filter(|line| !line.starts_with("read")).map(is_sync).collect();

        for stop in 0..=operations {
            let disk = SimDisk::new(1);
            let told = self.first_life(&disk, Some(Trouble::Stop(stop)))?;
            self.cases.stops += 1;
            for ending in all_endings(&disk, &mut self.choices) {
                self.end(&told, ending)?;
            }
        }
        for operation in 0..operations {
            for fault in FAULTS {
                self.fail(operation, fault, 1)?;
            }
            // What a failed sync has lost is for the seed to say.
            for seed in (2..10).filter(|_| syncs[operation as usize]) {
                self.fail(operation, Fault::Eio, seed)?;
            }
        }
        Ok(())
    }

    fn fail(&mut self, operation: u64, fault: Fault, seed: u64) -> Result<(), Violation> {
        let disk = SimDisk::new(seed);
        let told = self.first_life(&disk, Some(Trouble::Fail(operation, fault)))?;
        self.cases.faults += 1;
        if told.is_beyond_the_model() {
            return Ok(());
        }
        for ending in few_endings(&mut self.choices) {
            self.end(&told, ending)?;
        }
        Ok(())
    }

    fn first_life(&mut self, disk: &SimDisk, trouble: Option<Trouble>) -> Result<Told, Violation> {
        let life = Life { steps: self.steps.to_vec(), troubles: trouble.into_iter().collect(), ending: Ending::Kill };
        self.story = Story { disk: disk.seed(), lives: vec![life.clone()] };
        live(disk, &life, Model::default(), End::Kill, self.tally)
    }

    /// Looks at what is left when the first life has ended so.
    fn end(&mut self, told: &Told, ending: Ending) -> Result<(), Violation> {
        self.story.lives.truncate(1);
        self.story.lives[0].ending = ending;
        let (disk, end) = told.after(ending, self.tally);
        self.cases.recoveries += 1;
        aftermath(&disk.fork(), &told.model, end, self.tally)?;
        if self.choices.below(self.care.interrupt_one_in.max(1)) == 0 {
            self.interrupt(&disk, &told.model, end)?;
        }
        Ok(())
    }

    /// Interrupts the recovery at each of its operations; the next one comes to the same.
    fn interrupt(&mut self, left: &SimDisk, model: &Model, end: End) -> Result<(), Violation> {
        let whole = left.fork();
        let store = open(&whole).map_err(|error| Violation::new(Rule::CrashIsNotDamage, error.to_string()))?;
        // Makes the indexes that are missing, which is a part of it.
        store.stream_count().map_err(|error| Violation::new(Rule::CrashIsNotDamage, error.to_string()))?;
        let (operations, shown) = (whole.operations(), super::oracle::check(&store, model, model.least(end))?);
        drop(store);
        for operation in 0..operations {
            let stop = std::iter::once(Trouble::Stop(operation));
            for trouble in stop.chain(FAULTS.map(|fault| Trouble::Fail(operation, fault))) {
                let disk = left.fork();
                // With an append, for what is put off until the first one.
                let life = Life { steps: vec![again()], troubles: vec![trouble], ending: Ending::Kill };
                self.story.lives.truncate(1);
                self.story.lives.push(life.clone());
                let told = live(&disk, &life, model.clone(), end, self.tally)?;
                if told.is_beyond_the_model() {
                    continue;
                }
                for ending in few_endings(&mut self.choices) {
                    self.cases.interruptions += 1;
                    self.story.lives[1].ending = ending;
                    let (disk, after) = told.after(ending, self.tally);
                    let found = aftermath(&disk, &told.model, after, self.tally)?;
                    // What was shown stays in the model. After a kill, a power loss in the recovery may still take
                    // what nobody was shown; and a sync that fails may have lost it.
                    let found = told.shown().unwrap_or(found);
                    let same = found == shown || end == End::Kill || !matches!(trouble, Trouble::Stop(_));
                    ensure!(same, OpeningRepeats, "{found} batches, and {shown} without the interruption");
                }
            }
        }
        self.story.lives.truncate(1);
        Ok(())
    }
}

/// An append of which no story tells.
fn again() -> Step {
    Step::Commit(Batch::new(900_000, &[("y", 5)]))
}

fn lose(loss: PowerLoss) -> Ending {
    Ending::PowerLoss(loss, 0)
}

fn few_endings(choices: &mut Seeded) -> [Ending; 4] {
    let random = Ending::PowerLoss(PowerLoss::Random, choices.below(1 << 32));
    [Ending::Kill, lose(PowerLoss::KeepLeast), lose(PowerLoss::KeepMost), random]
}

/// Every kind of end there is for a disk.
fn all_endings(disk: &SimDisk, choices: &mut Seeded) -> Vec<Ending> {
    let mut all = few_endings(choices).to_vec();
    all.extend((0..3).map(|_| Ending::PowerLoss(PowerLoss::Random, choices.below(1 << 32))));
    if disk.unsynced() > 0 {
        let operations = disk.operations();
        for operation in operations.saturating_sub(WINDOW)..operations {
            all.push(lose(PowerLoss::DropOnly(operation)));
            all.push(lose(PowerLoss::KeepOnly(operation)));
            let sectors = disk.unsynced_sectors(operation);
            // Of a long write, tearing it in the middle of nowhere is all the same.
            let torn = (1..sectors).filter(|sector| *sector < 6 || sectors - sector < 6 || choices.below(sectors) < 4);
            all.extend(torn.map(|sector| lose(PowerLoss::TornAt { operation, sector })));
        }
    }
    all
}

//! Many losses of power: record a store at work, cut, recover, judge; and again in the middle of that.

use std::io;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use super::STORE;
use super::cut::{Cut, Keep};
use super::evidence::Finding;
use super::life::{Child, Lives};
use super::neighbour;
use super::rig::Rig;
use super::tally::Tally;
use crate::torture::Violation;
use crate::torture::generate::{Choices as _, Seeded};
use crate::torture::process::{End, Ledger, judge};

/// The numbers under which the disk keeps recordings: of a store that is made and filled, and of one that is
/// opened after a loss of power, and filled further.
const FIRST: usize = 1;
const SECOND: usize = 2;
/// How many cuts each recording gets, before another is made.
const CUTS_OF_FIRST: u64 = 24;
const CUTS_OF_SECOND: u64 = 8;
/// One in so many cuts of a first recording is also gone on from.
const GOES_ON: u64 = 8;
/// Each thread of a child appends up to two to the power of less than this many times.
const MOST_BATCHES: u64 = 8;
/// How many records behind the word that the store is open still count as opening it.
const AFTER_OPEN: u64 = 3;
/// A child that is to be killed has said less than this.
const MOST_LINES: u64 = 120;
/// After so many findings there is no need for more.
const ENOUGH: usize = 5;

/// What to do.
#[derive(Clone, Debug)]
pub struct Plan {
    /// The binary that is the disk, and the writer: `annals`.
    pub exe: PathBuf,
    /// The seed of everything that is chosen. The threads of the writer still run as they like.
    pub seed: u64,
    /// How many losses of power to judge.
    pub cuts: u64,
    /// Where to leave what led to a finding.
    pub evidence: PathBuf,
    /// The disk lies about flushes, so acknowledged events must get lost, and that must be found.
    pub lying: bool,
}

/// Cuts the power as often as the plan says, and judges each time what is left.
///
/// # Errors
///
/// When something fails that is not the store: see [`super::missing`].
pub fn run(plan: &Plan, progress: &mut dyn FnMut(u64)) -> io::Result<(Tally, Vec<Finding>)> {
    let rig = Rig::start(&plan.exe)?;
    let dice = Seeded::new(plan.seed);
    let mut campaign = Campaign { plan, rig, dice, tally: Tally::default(), findings: Vec::new() };
    while campaign.tally.cuts() < plan.cuts && campaign.findings.len() < ENOUGH {
        campaign.round(progress)?;
    }
    Ok((campaign.tally, campaign.findings))
}

struct Campaign<'a> {
    plan: &'a Plan,
    rig: Rig,
    dice: Seeded,
    tally: Tally,
    findings: Vec<Finding>,
}

/// What children did to the disk.
struct Recorded {
    slot: usize,
    seed: u64,
    /// The number of the next child.
    next: u32,
    lives: Lives,
    ledger: Ledger,
    records: usize,
    flushes: Vec<usize>,
}

impl Campaign<'_> {
    fn is_done(&self) -> bool {
        self.tally.cuts() >= self.plan.cuts || self.findings.len() >= ENOUGH
    }

    /// A new store on an empty disk, and cuts of all that happened to it.
    fn round(&mut self, progress: &mut dyn FnMut(u64)) -> io::Result<()> {
        self.rig.empty()?;
        let seed = self.dice.below(u64::MAX);
        let Some(first) = self.record(FIRST, None, 0, Ledger::new(seed))? else { return Ok(()) };
        let mut cuts: Vec<Cut> = (0..CUTS_OF_FIRST).map(|_| self.choose(&first, 20)).collect();
        // In their order: the disk then makes each image from the one before.
        cuts.sort_unstable_by_key(|cut| cut.at);
        for (number, cut) in (0..).zip(cuts) {
            if self.is_done() {
                break;
            }
            self.judge(&first, cut)?;
            progress(self.tally.cuts());
            if number % GOES_ON == 0 {
                self.go_on(&first, cut, progress)?;
            }
        }
        Ok(())
    }

    /// Once more after a cut, now with a child that opens what is left and goes on: and cuts of that.
    fn go_on(&mut self, first: &Recorded, cut: Cut, progress: &mut dyn FnMut(u64)) -> io::Result<()> {
        self.rig.cut(first.slot, cut)?;
        let mut ledger = first.ledger.clone();
        ledger.power_lost(first.lives.heard_before(cut.at));
        let Some(second) = self.record(SECOND, Some(cut), first.next, ledger)? else { return Ok(()) };
        for _ in 0..CUTS_OF_SECOND {
            if self.is_done() {
                break;
            }
            let cut = self.choose(&second, 50);
            self.judge(&second, cut)?;
            progress(self.tally.cuts());
        }
        Ok(())
    }

    /// Children append on what the disk holds, one after the other, all but the last of them killed. Nothing
    /// comes of it when one is told something that must not be.
    fn record(
        &mut self,
        slot: usize,
        cut: Option<Cut>,
        first: u32,
        mut ledger: Ledger,
    ) -> io::Result<Option<Recorded>> {
        let (mounted, _) = self.rig.mount()?;
        let seed = ledger.seed();
        let mut lives = Lives::new(&ledger);
        let next = first + 1 + self.dice.below(3) as u32;
        let children: Vec<Child<'_>> = (first..next)
            .map(|number| Child {
                exe: &self.plan.exe,
                seed,
                number,
                batches: 1 << self.dice.below(MOST_BATCHES),
                killed_behind: (number + 1 < next).then(|| 1 + self.dice.below(MOST_LINES)),
            })
            .collect();
        // Every fourth store is alone on its disk.
        let (is_over, disturber) = (AtomicBool::new(seed.is_multiple_of(4)), self.dice.below(u64::MAX));
        let lived = thread::scope(|scope| {
            let neighbour = scope.spawn(|| neighbour::disturb(&mounted.path(), disturber, &is_over));
            let lived = children.iter().try_fold(Ok(()), |lived, child| match lived {
                Ok(()) => lives.live(*child, &mounted, &mut self.rig.disk, &mut ledger),
                broken => Ok(broken),
            });
            is_over.store(true, Ordering::Relaxed);
            let disturbed = neighbour.join().unwrap_or_else(|_| Err(io::Error::other("the neighbour panicked")));
            disturbed.and(lived)
        })?;
        drop(mounted);
        let counts = self.rig.keep(slot)?;
        self.tally.recorded(counts, children.len() as u64);
        if let Err(violation) = lived {
            self.found(violation, seed, cut, &lives)?;
            return Ok(None);
        }
        let flushes = self.rig.disk.flushes(slot)?;
        let records = (counts.writes + counts.flushes) as usize;
        Ok(Some(Recorded { slot, seed, next, lives, ledger, records, flushes }))
    }

    /// Chooses a cut; so many times in a hundred while a child opens the store, or has just said that it did.
    fn choose(&mut self, recorded: &Recorded, opening: u64) -> Cut {
        let dice = &mut self.dice;
        let opened = &recorded.lives.opened;
        let child = opened.get(dice.below(opened.len().max(1) as u64) as usize);
        let anywhere = dice.below(recorded.records as u64 + 1) as usize;
        let next_flush = recorded.flushes.partition_point(|flush| *flush < anywhere);
        let at = match (child, recorded.flushes.get(next_flush)) {
            // Once the store is open, what it shows is durable: the next flush may come too late for that.
            (Some((_, open)), _) if dice.chance(opening / 2) => *open,
            (Some((begun, open)), _) if dice.chance(opening) => {
                begun + dice.below((open - begun) as u64 + AFTER_OPEN) as usize
            }
            // Just before a flush most is unflushed, just behind it something was promised a moment ago.
            (_, Some(flush)) if dice.chance(60) => flush + usize::from(dice.chance(20)),
            _ => anywhere,
        };
        // Most windows are of one or two writes, which can be kept in part in more ways than in any other.
        let keep = if dice.chance(25) { Keep::Torn } else { Keep::ALL[dice.below(Keep::ALL.len() as u64) as usize] };
        let seed = dice.below(u64::MAX);
        if self.plan.lying {
            return Cut { at, keep: Keep::Nothing, seed, disobeyed: 1 << dice.below(7) };
        }
        Cut { at, keep, seed, disobeyed: 0 }
    }

    /// Cuts, mounts, and judges what is there.
    fn judge(&mut self, recorded: &Recorded, cut: Cut) -> io::Result<()> {
        let lost = self.rig.cut(recorded.slot, cut)?;
        let opening = |(begun, open): &(usize, usize)| (*begun..open + AFTER_OPEN as usize).contains(&cut.at);
        self.tally.cut(cut.keep, lost, recorded.lives.opened.iter().any(opening));
        let (mounted, was_mended) = self.rig.mount()?;
        self.tally.mended += u64::from(was_mended);
        let heard = recorded.lives.heard_before(cut.at);
        let judged = judge(&mounted.path().join(STORE), &recorded.ledger, End::PowerLoss { heard });
        drop(mounted);
        match judged {
            Ok(verdict) => self.tally.judged(&verdict),
            Err(violation) => {
                self.rig.cut(recorded.slot, cut)?;
                self.found(violation, recorded.seed, Some(cut), &recorded.lives)?;
            }
        }
        Ok(())
    }

    /// Writes a finding down, with the disk as it is now.
    fn found(&mut self, violation: Violation, seed: u64, cut: Option<Cut>, lives: &Lives) -> io::Result<()> {
        let evidence = self.plan.evidence.join(format!("finding-{}", self.findings.len() + 1));
        let finding = Finding { seed, cut, violation, evidence };
        finding.keep(&mut self.rig.disk, lives)?;
        self.findings.push(finding);
        Ok(())
    }
}

//! Many lives: stores are made, tortured through a series of children, judged, and made anew.
//!
//! Every second store or so there is no judge between two children, so that the
//! recovery after a kill is a child's, and may be killed itself.

use std::collections::BTreeMap;
use std::io;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use annals::inspect;
use serde::Serialize;

use super::dice::Dice;
use super::judge::{Verdict, judge};
use super::ledger::{End, Ledger};
use super::life::{self, Lived};
use super::place::Place;
use super::way::{Tracer, Way, Ways};
use super::writer;
use crate::torture::{Count, Rule, Violation};

/// What is to be done.
#[derive(Clone, Debug)]
pub struct Plan {
    /// The program that is the child: this one.
    pub exe: PathBuf,
    /// Everything that is chosen is chosen by it. The moment of a kill is the scheduler's all the same.
    pub seed: u64,
    /// How many children at most.
    pub lives: u64,
    /// For how long at most.
    pub time: Duration,
    /// How children are ended.
    pub ways: Ways,
    /// How many batches each thread of a child appends, if it lives that long.
    pub batches: u32,
}

/// What was done, and how often.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Counts {
    /// Children that were started.
    pub lives: u64,
    /// Of these, those that never had the store open.
    pub never_open: u64,
    /// Of these, those that were to recover from the kill of the one before.
    pub interrupted: u64,
    /// Those that were killed.
    pub killed: u64,
    /// System calls that were made to fail.
    pub failed_calls: u64,
    /// Stores that were made.
    pub stores: u64,
    /// Judgements.
    pub judged: u64,
    /// What was done to the children. A kill has met one that was still alive, and mattered when the next
    /// recovery had something to do; an error has met a call, and mattered when somebody was told of it.
    pub ways: BTreeMap<String, Count>,
    /// Batches that were acknowledged, and are there.
    pub acknowledged: u64,
    /// Batches that were not answered for, and are there.
    pub kept: u64,
    /// Batches that were not answered for, and are not there.
    pub dropped: u64,
    /// Judgements whose recovery cut something off the end.
    pub torn: u64,
    /// Look-ups and queries that were compared with reading everything.
    pub looked_up: u64,
    /// Events that the projection had not to fold again, because a snapshot was there.
    pub resumed: u64,
    /// Retries that were recognised.
    pub recognised: u64,
    /// Retries of what was gone, which were appended.
    pub appended_again: u64,
}

/// A violation, and how to look at it.
#[derive(Clone, Debug)]
pub struct Finding {
    /// The promise that was broken.
    pub violation: Violation,
    /// Where the store is, and what was said.
    pub evidence: PathBuf,
    /// The ends of the store's lives, the last one last.
    pub lives: Vec<String>,
}

/// Tortures stores in `place`, and says after each child how far it is. Ends at the first finding.
///
/// # Errors
///
/// When the directory cannot be used, or no child can be started.
pub fn run(
    plan: &Plan,
    place: &Place,
    tracer: Option<Tracer>,
    mut progress: impl FnMut(&Counts),
) -> io::Result<(Counts, Option<Finding>)> {
    let began = Instant::now();
    let mut counts = Counts::default();
    let mut dice = Dice::new(plan.seed);
    let is_over = |counts: &Counts| counts.lives >= plan.lives || began.elapsed() >= plan.time;
    let ways = match tracer {
        Some(_) => plan.ways,
        None => Ways { call: false, error: false, ..plan.ways },
    };
    while !is_over(&counts) {
        place.clear()?;
        counts.stores += 1;
        let mut era = Era::new(plan, place, tracer, dice.next());
        for _ in 0..=dice.magnitude(24) {
            let broken = era.next_life(ways, &mut dice, &mut counts)?;
            progress(&counts);
            if let Some(violation) = broken {
                let evidence = place.evidence(&violation, &era.said.join("\n"))?;
                return Ok((counts, Some(Finding { violation, evidence, lives: era.ends })));
            }
            if is_over(&counts) {
                break;
            }
        }
        if let Some(violation) = era.close(&mut counts)? {
            let evidence = place.evidence(&violation, &era.said.join("\n"))?;
            return Ok((counts, Some(Finding { violation, evidence, lives: era.ends })));
        }
    }
    place.leave()?;
    Ok((counts, None))
}

/// One store, from its making on.
struct Era<'a> {
    plan: &'a Plan,
    place: &'a Place,
    tracer: Option<Tracer>,
    seed: u64,
    ledger: Ledger,
    life: u32,
    /// Whether a child was at work since the last judgement.
    is_judged: bool,
    /// What killed the last child, if it was killed.
    killed_by: Option<String>,
    said: Vec<String>,
    ends: Vec<String>,
}

impl<'a> Era<'a> {
    fn new(plan: &'a Plan, place: &'a Place, tracer: Option<Tracer>, seed: u64) -> Era<'a> {
        let (said, ends) = (vec![format!("seed {seed}")], Vec::new());
        Era {
            plan,
            place,
            tracer,
            seed,
            ledger: Ledger::new(seed),
            life: 0,
            is_judged: true,
            killed_by: None,
            said,
            ends,
        }
    }

    /// Runs a child, and perhaps judges what it leaves.
    fn next_life(&mut self, ways: Ways, dice: &mut Dice, counts: &mut Counts) -> io::Result<Option<Violation>> {
        let early = !self.is_judged && dice.chance(60);
        let way = ways.choose(dice, early);
        self.life += 1;
        counts.lives += 1;
        self.is_judged = false;
        let command = writer(&self.plan.exe, &self.place.store(), self.seed, self.life, self.plan.batches);
        let trace = self.place.trace();
        let traced = self.tracer.and_then(|tracer| tracer.wrap(way, &command, &trace));
        self.ledger.begin_life(self.life, matches!(way, Way::Fails { .. }));
        let lived = life::live(traced.unwrap_or(command), way, &mut self.ledger)?;
        self.said.push(format!("life {}: {way}", self.life));
        self.ends.push(format!("life {}: {way}", self.life));
        self.count(way, &lived, counts);
        self.said.extend(lived.lines);
        if lived.broken.is_some() {
            return Ok(lived.broken);
        }
        // Where nobody judges, the next child recovers.
        if dice.chance(30) { Ok(None) } else { self.judge(counts) }
    }

    fn count(&mut self, way: Way, lived: &Lived, counts: &mut Counts) {
        counts.never_open += u64::from(!self.ledger.is_open());
        counts.interrupted += u64::from(!self.ledger.is_open() && self.killed_by.is_some());
        counts.killed += u64::from(lived.was_killed);
        if lived.repaired {
            self.repaired(counts);
        }
        let of_way = counts.ways.entry(way.kind()).or_default();
        of_way.planned += 1;
        if let Way::Fails { .. } = way {
            let injected = life::injected(&self.place.trace());
            counts.failed_calls += injected;
            of_way.met += u64::from(injected > 0);
            of_way.mattered += u64::from(injected > 0 && self.ledger.is_in_trouble());
        } else {
            of_way.met += u64::from(lived.was_killed);
        }
        self.killed_by = lived.was_killed.then(|| way.kind());
    }

    /// A recovery had something to do: whatever ended the life before did matter.
    fn repaired(&mut self, counts: &mut Counts) {
        if let Some(kind) = self.killed_by.take() {
            counts.ways.entry(kind).or_default().mattered += 1;
        }
    }

    fn judge(&mut self, counts: &mut Counts) -> io::Result<Option<Violation>> {
        self.is_judged = true;
        self.place.keep()?;
        counts.judged += 1;
        match judge(&self.place.store(), &self.ledger, End::Kill) {
            Ok(verdict) => {
                self.ledger.settle(&verdict);
                self.said.push(format!("judged: the log ends at {}", verdict.head));
                if verdict.repaired {
                    self.repaired(counts);
                }
                self.killed_by = None;
                add(counts, &verdict);
                Ok(None)
            }
            Err(violation) => Ok(Some(violation)),
        }
    }

    /// The last look at a store: everything is read and checked, and its indexes made again.
    fn close(&mut self, counts: &mut Counts) -> io::Result<Option<Violation>> {
        if !self.is_judged
            && let Some(violation) = self.judge(counts)?
        {
            return Ok(Some(violation));
        }
        let wrong = |what: String| Some(Violation::new(Rule::ReadsAgree, format!("`annals verify` {what}")));
        Ok(match inspect::verify(self.place.store(), |_, _| ()) {
            Ok(report) if report.is_clean() => None,
            Ok(report) => wrong(format!("finds {:?}", report.findings)),
            Err(error) => wrong(format!("says {error}")),
        })
    }
}

fn add(counts: &mut Counts, verdict: &Verdict) {
    counts.acknowledged += verdict.acknowledged;
    counts.kept += verdict.kept;
    counts.dropped += verdict.dropped;
    counts.torn += u64::from(verdict.torn > 0);
    counts.looked_up += verdict.looked_up;
    counts.resumed += verdict.resumed.get();
    counts.recognised += verdict.retries.0;
    counts.appended_again += verdict.retries.1;
}

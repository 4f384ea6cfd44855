//! What was promised: every batch that a child meant to append, and what it was told.
//!
//! The parent writes down what it hears, line by line, over all lives of one
//! store. Each line has a number, its [`Arrival`], so that one can say later
//! what had been promised at some moment.
//!
//! A *life* is one child, from its start to its end. Several lives may follow
//! each other before anybody judges; a judgement then settles what became of
//! everything, and from there on what was there stays, and what was not is
//! gone for good.
//!
//! Some promises are broken by a line itself (an acknowledgement after
//! poison, the same batch appended twice). [`Ledger::take`] says so.

use std::collections::BTreeMap;

use annals::{Durability, Outcome, Position};

use super::entry::{Answer, Attempt, Entry, Span};
use super::judge::Verdict;
use super::said::{Refusal, Said};
use super::work::{Asks, Batch, Name, batch};
use crate::torture::violation::ensure;
use crate::torture::{Rule, Violation};

/// The number of a line, counted over all lives.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Arrival(pub u64);

/// How the last life before a judgement ended.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum End {
    /// The process was killed, or ended by itself: everything that was written is there.
    Kill,
    /// The machine lost power: what was durable is there.
    PowerLoss {
        /// The last line that had been heard when it did. What arrived later promises nothing.
        heard: Arrival,
    },
}

/// All that is known of one store.
#[derive(Clone, Debug)]
pub struct Ledger {
    pub(super) seed: u64,
    /// Since the last judgement.
    lives: Vec<Life>,
    pub(super) batches: BTreeMap<Name, Entry>,
    arrived: Arrival,
    /// Up to where the log has been written for certain.
    written: Position,
    /// Where the log ended when it was judged last.
    pub(super) shown: Position,
    /// How far the sources were processed then.
    pub(super) tracked: BTreeMap<String, u64>,
    /// Whether any child, or judge, had the store open before these lives.
    was_open: bool,
    /// How many batches the judge has appended of its own.
    pub(super) judged: u32,
    /// The checkpoints that the consumer was told are kept.
    kept: Vec<(Arrival, Position)>,
}

/// One child.
#[derive(Clone, Debug)]
struct Life {
    number: u32,
    /// Whether errors are injected into it.
    with_errors: bool,
    /// Whether it met any error.
    in_trouble: bool,
    opened: Option<(Arrival, Position)>,
    poisoned: Option<Arrival>,
    /// What a flush, or closing, has made durable.
    flushed: Vec<(Arrival, Position)>,
    /// By thread: when its flush began, and what it has to cover.
    flushing: BTreeMap<u16, (Arrival, Position)>,
}

impl Ledger {
    /// Nothing was promised yet. The children make their batches of this seed.
    pub fn new(seed: u64) -> Ledger {
        Ledger {
            seed,
            lives: Vec::new(),
            batches: BTreeMap::new(),
            arrived: Arrival(0),
            written: Position::START,
            shown: Position::START,
            tracked: BTreeMap::new(),
            was_open: false,
            judged: 0,
            kept: Vec::new(),
        }
    }

    /// What the children make their batches of.
    pub fn seed(&self) -> u64 {
        self.seed
    }

    /// The number of the last line that was taken.
    pub fn arrived(&self) -> Arrival {
        self.arrived
    }

    /// A new child was started. With errors injected it may be told of some.
    pub fn begin_life(&mut self, number: u32, with_errors: bool) {
        self.lives.push(Life {
            number,
            with_errors,
            in_trouble: false,
            opened: None,
            poisoned: None,
            flushed: Vec::new(),
            flushing: BTreeMap::new(),
        });
    }

    /// Whether the present life had the store open.
    pub fn is_open(&self) -> bool {
        self.lives.last().is_some_and(|life| life.opened.is_some())
    }

    /// Whether the present life has met an error.
    pub fn is_in_trouble(&self) -> bool {
        self.lives.last().is_some_and(|life| life.in_trouble)
    }

    /// Whether errors were injected into any life since the last judgement.
    pub(super) fn is_with_errors(&self) -> bool {
        self.lives.iter().any(|life| life.with_errors)
    }

    /// Takes in a line of the present life.
    ///
    /// # Errors
    ///
    /// When the line itself breaks a promise.
    ///
    /// # Panics
    ///
    /// When no life was begun.
    pub fn take(&mut self, said: &Said) -> Result<Arrival, Violation> {
        self.arrived.0 += 1;
        let at = self.arrived;
        let written = self.written;
        let life = self.lives.last_mut().expect("a life was begun");
        match said {
            Said::Opened { head, .. } => {
                ensure!(
                    *head >= written,
                    AcknowledgedStays,
                    "life {} opens at position {head}; {written} was acknowledged or shown before",
                    life.number
                );
                life.opened = Some((at, *head));
                self.written = *head;
            }
            Said::NotOpened { damaged, why } => {
                ensure!(!damaged, CrashIsNotDamage, "life {} is told: {why}", life.number);
                life.trouble(why)?;
            }
            Said::Intend { name, .. } => {
                let attempt = Attempt { life: life.number, intended: at, answer: Answer::None };
                self.batches.entry(*name).or_default().attempts.push(attempt);
            }
            Said::Done { name, outcome, first, last, durability } => {
                let answer = Answer::Done { arrived: at, place: (*first, *last), durability: *durability };
                self.done(*name, *outcome, (*first, *last))?;
                self.answer(*name, answer)?;
                self.written = written.max(*last);
            }
            Said::Refused { name, why } => {
                match why {
                    Refusal::Poisoned => life.poison(at)?,
                    Refusal::Full | Refusal::Unreadable => life.trouble("an append was refused")?,
                    _ => self.may_be_refused(*name, *why)?,
                }
                self.answer(*name, Answer::Refused)?;
            }
            Said::Unknown { name } => {
                life.poison(at)?;
                self.answer(*name, Answer::Unknown)?;
            }
            Said::Flushing { thread } => {
                life.flushing.insert(*thread, (at, written));
            }
            Said::Flushed { thread, position } => {
                let (began, least) = life.flushing.remove(thread).unwrap_or_default();
                life.must_be_well(began, "a flush")?;
                ensure!(*position >= least, AcknowledgedStays, "a flush says {position}, and {least} was acknowledged");
                life.flushed.push((at, *position));
                self.written = written.max(*position);
            }
            Said::NotFlushed { .. } => life.poison(at)?,
            Said::Follows { position } => {
                let (number, least) = (life.number, self.kept(End::Kill));
                ensure!(*position >= least, FollowersMissNothing, "life {number} follows from {position}, not {least}");
            }
            Said::Kept { position } => self.kept.push((at, *position)),
            Said::Closed { head } => {
                life.must_be_well(at, "closing")?;
                ensure!(*head >= written, AcknowledgedStays, "closed at {head}, and {written} was acknowledged");
                life.flushed.push((at, *head));
                self.written = *head;
            }
            Said::NotClosed => life.trouble("closing failed")?,
            Said::Panicked { what } => ensure!(false, NoPanic, "life {}: {what}", life.number),
        }
        Ok(at)
    }

    /// An acknowledgement has come: may it?
    fn done(&self, name: Name, outcome: Outcome, (first, last): Span) -> Result<(), Violation> {
        let entry = self.batches.get(&name);
        let batch = batch(self.seed, name);
        let attempt = entry.and_then(|entry| entry.attempts.last());
        let Some((entry, attempt)) = entry.zip(attempt) else {
            return Err(Violation::new(
                Rule::WholeOrAbsent,
                format!("{name} was acknowledged, and nobody appended it"),
            ));
        };
        if let Some(life) = self.lives.last() {
            life.must_be_well(attempt.intended, "an append")?;
        }
        let is_first = entry.attempts.len() == 1 && entry.shown.is_none() && !entry.is_gone;
        match (outcome, entry.place()) {
            (Outcome::Duplicate, Some(place)) => {
                ensure!(
                    place == (first, last),
                    AcknowledgedStays,
                    "{name} was at {place:?}, and now at {first} to {last}"
                );
            }
            (Outcome::Duplicate, None) => {
                ensure!(!is_first, WholeOrAbsent, "{name} is said to be there, and was never appended");
                let before = &entry.attempts[..entry.attempts.len() - 1];
                let in_doubt = before.iter().any(|attempt| attempt.answer != Answer::Refused);
                ensure!(in_doubt, DroppedStaysGone, "{name} is said to be there, and was dropped");
            }
            (_, Some(place)) => {
                ensure!(false, WholeOrAbsent, "{name} was at {place:?}, and was appended again at {first} to {last}");
            }
            (_, None) => {
                let may = batch.asks != Asks::Impossible || entry.attempts.len() > 1 || name.life != attempt.life;
                ensure!(may, ReadsAgree, "{name} was appended, and its stream cannot be where it was to be");
                let opened = self.lives.last().and_then(|life| life.opened).map(|(_, head)| head);
                ensure!(
                    opened < Some(first),
                    ReadsAgree,
                    "{name} was appended at {first}; the log was opened at {opened:?}"
                );
            }
        }
        let len = last.get() + 1 - first.get();
        ensure!(len == batch.events.len() as u64, WholeOrAbsent, "{name} was put at {first} to {last}");
        Ok(())
    }

    fn may_be_refused(&self, name: Name, why: Refusal) -> Result<(), Violation> {
        let batch = batch(self.seed, name);
        let entry = self.batches.get(&name).cloned().unwrap_or_default();
        let may = match why {
            Refusal::Conflict => matches!(batch.asks, Asks::WhatWasSeen | Asks::Impossible),
            Refusal::Condition => batch.asks == Asks::NothingNew,
            // Only an earlier batch than the last of its thread.
            Refusal::Tracking => batch.tracking.is_some() && !(batch.can_be_retried() && entry.place().is_some()),
            _ => false,
        };
        ensure!(may, ReadsAgree, "{name} was refused ({why:?}), and there is no reason to");
        Ok(())
    }

    /// Writes down what the newest attempt was told.
    fn answer(&mut self, name: Name, answer: Answer) -> Result<(), Violation> {
        let attempts = self.batches.get_mut(&name).map(|entry| &mut entry.attempts);
        // A ticket that nobody waited for has no answer, so the newest one is asked about.
        match attempts.and_then(|attempts| attempts.last_mut()) {
            Some(attempt) if attempt.answer == Answer::None => attempt.answer = answer,
            _ => ensure!(false, WholeOrAbsent, "{name} was answered, and nobody asked"),
        }
        Ok(())
    }

    /// The power went when this line had been heard: what arrived later promises nothing any more.
    ///
    /// For whoever does not judge what is left, but lets another child go on with it.
    pub fn power_lost(&mut self, heard: Arrival) {
        let durable = self.durable(heard);
        self.was_open = self.has_been_open(End::PowerLoss { heard });
        self.written = durable;
        self.kept.retain(|(arrived, _)| *arrived <= heard);
        for life in &mut self.lives {
            life.opened = life.opened.filter(|(arrived, _)| *arrived <= heard);
            life.flushed.retain(|(arrived, _)| *arrived <= heard);
        }
        for attempt in self.batches.values_mut().flat_map(|entry| &mut entry.attempts) {
            if let Answer::Done { arrived, place: (_, last), .. } = attempt.answer
                && (arrived > heard || last > durable)
            {
                attempt.answer = Answer::None;
            }
        }
    }

    /// Whether the store was there for certain before such an end.
    pub(super) fn has_been_open(&self, end: End) -> bool {
        let heard = if let End::PowerLoss { heard } = end { heard } else { self.arrived };
        self.was_open || self.lives.iter().filter_map(|life| life.opened).any(|(arrived, _)| arrived <= heard)
    }

    /// Up to where the log was durable for certain when this line had arrived.
    pub fn durable(&self, heard: Arrival) -> Position {
        let synced = |attempt: &Attempt| match attempt.answer {
            Answer::Done { arrived, place: (_, last), durability: Durability::Sync } => Some((arrived, last)),
            _ => None,
        };
        let done = self.batches.values().flat_map(|entry| entry.attempts.iter().filter_map(synced));
        // What an open shows is durable.
        let told = self.lives.iter().flat_map(|life| life.opened.iter().chain(&life.flushed).copied());
        let heard = told.chain(done).filter(|(arrived, _)| *arrived <= heard).map(|(_, last)| last);
        heard.max().unwrap_or_default().max(self.shown)
    }

    /// Where the consumer must be at least after such an end.
    pub(super) fn kept(&self, end: End) -> Position {
        let is_heard = |arrived: Arrival| match end {
            End::Kill => true,
            End::PowerLoss { heard } => arrived <= heard,
        };
        self.kept.iter().filter(|(arrived, _)| is_heard(*arrived)).map(|(_, at)| *at).max().unwrap_or_default()
    }

    /// Up to where the log must be there after such an end.
    pub(super) fn least(&self, end: End) -> Position {
        match end {
            End::Kill => self.written,
            End::PowerLoss { heard } => self.durable(heard),
        }
    }

    /// Whether an unanswered attempt at a batch can have put it there: behind what its life opened
    /// with, and before what the next life did.
    pub(super) fn can_be_at(&self, entry: &Entry, (first, last): Span) -> bool {
        let fits = |attempt: &Attempt| {
            let mut lives = self.lives.iter().skip_while(|life| life.number != attempt.life);
            let opened = lives.next().and_then(|life| life.opened).map(|(_, head)| head);
            let next = lives.find_map(|life| life.opened).map(|(_, head)| head);
            attempt.answer != Answer::Refused && opened < Some(first) && next.is_none_or(|next| last <= next)
        };
        entry.attempts.iter().any(fits)
    }

    /// A judge has looked: this is what there is, and what there will be.
    pub fn settle(&mut self, verdict: &Verdict) {
        self.lives.clear();
        self.written = verdict.head;
        self.shown = verdict.head;
        self.tracked.clone_from(&verdict.tracked);
        self.was_open |= verdict.was_opened;
        self.judged += verdict.judged;
        // What was found and was not acknowledged may be in the cache alone.
        self.kept = vec![(Arrival(0), self.kept(End::Kill).min(verdict.followed))];
        for name in verdict.places.keys() {
            self.batches.entry(*name).or_default();
        }
        let seed = self.seed;
        // A batch without events leaves its tracking position, and nothing that could be found.
        self.batches.retain(|name, _| !batch(seed, *name).events.is_empty());
        for (name, entry) in &mut self.batches {
            entry.attempts.clear();
            entry.shown = verdict.places.get(name).copied();
            entry.is_gone = entry.shown.is_none();
        }
    }
}

impl Life {
    /// An error was told: was there one?
    fn trouble(&mut self, what: &str) -> Result<(), Violation> {
        self.in_trouble = true;
        ensure!(
            self.with_errors,
            FailuresAreTold,
            "life {}: {what}, and no error was injected (a disk that is full or fails looks the same)",
            self.number
        );
        Ok(())
    }

    fn poison(&mut self, at: Arrival) -> Result<(), Violation> {
        self.poisoned.get_or_insert(at);
        self.trouble("the store is poisoned")
    }

    /// Nothing that began after the store was known to be poisoned may succeed.
    fn must_be_well(&self, began: Arrival, what: &str) -> Result<(), Violation> {
        let is_well = self.poisoned.is_none_or(|poisoned| began < poisoned);
        ensure!(is_well, FailuresAreTold, "life {}: {what} succeeded after the store was poisoned", self.number);
        Ok(())
    }
}

/// The batch of an entry, made again.
pub(super) fn content(ledger: &Ledger, name: Name) -> Batch {
    batch(ledger.seed, name)
}

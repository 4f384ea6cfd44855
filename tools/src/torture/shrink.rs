//! Makes a story that breaks a promise shorter, as long as it still breaks the same one.
//!
//! Greedy: whatever can be left out is left out, until nothing can be. Leaving
//! out a step moves the operations behind it, so the trouble is looked for a little earlier, too.

use std::time::{Duration, Instant};

use super::caught::tell_caught;
use super::story::{Ending, Step, Story, Trouble};
use super::tally::Tally;
use super::violation::{Rule, Violation};

/// How many times a story is told at most.
const MOST: u32 = 20_000;
/// For how long at most: one that waits for what never comes takes seconds.
const LONGEST: Duration = Duration::from_secs(30);

/// The shortest story found that breaks the rule, and how it does.
pub(super) fn shrink(story: &Story, violation: &Violation) -> (Story, Violation) {
    let mut best = (story.clone(), violation.clone());
    let (mut left, began) = (MOST, Instant::now());
    let mut smaller = candidates(&best.0);
    while let Some(candidate) = smaller.next() {
        if left == 0 || began.elapsed() > LONGEST {
            break;
        }
        left -= 1;
        if let Some(found) = breaks(&candidate, violation.rule) {
            best = (candidate, found);
            smaller = candidates(&best.0);
        }
    }
    best
}

fn breaks(story: &Story, rule: Rule) -> Option<Violation> {
    tell_caught(story, &mut Tally::default()).err().filter(|violation| violation.rule == rule)
}

/// Stories that are a little simpler, the simplest first.
fn candidates(story: &Story) -> std::vec::IntoIter<Story> {
    let mut all: Vec<Story> = Vec::new();
    let mut add = |change: &dyn Fn(&mut Story)| {
        let mut smaller = story.clone();
        change(&mut smaller);
        smaller.renumber();
        if smaller != *story && !smaller.lives.is_empty() && !all.contains(&smaller) {
            all.push(smaller);
        }
    };
    for life in 0..story.lives.len() {
        add(&|story| drop(story.lives.remove(life)));
    }
    for life in 0..story.lives.len() {
        for step in 0..story.lives[life].steps.len() {
            for earlier in 0..=6 {
                add(&|story| {
                    let life = &mut story.lives[life];
                    life.steps.remove(step);
                    life.troubles.iter_mut().for_each(|trouble| trouble.happen_earlier(earlier));
                });
            }
        }
        for trouble in 0..story.lives[life].troubles.len() {
            add(&|story| {
                story.lives[life].troubles.remove(trouble);
            });
        }
        for ending in simpler_endings() {
            let simpler = |ending: Ending| simpler_endings().iter().position(|known| *known == ending);
            if simpler(story.lives[life].ending).is_none_or(|now| simpler(ending) < Some(now)) {
                add(&|story| story.lives[life].ending = ending);
            }
        }
        for step in 0..story.lives[life].steps.len() {
            shorten_step(&story.lives[life].steps[step], &mut |smaller| {
                add(&|story| story.lives[life].steps[step] = smaller.clone());
            });
        }
    }
    add(&|story| story.disk = 1);
    all.into_iter()
}

fn simpler_endings() -> [Ending; 3] {
    use annals::storage::sim::PowerLoss::{KeepLeast, KeepMost};
    [Ending::Kill, Ending::PowerLoss(KeepLeast, 0), Ending::PowerLoss(KeepMost, 0)]
}

fn shorten_step(step: &Step, add: &mut dyn FnMut(Step)) {
    match step {
        Step::Group(batches) if batches.len() == 1 => add(Step::Commit(batches[0].clone())),
        Step::Group(batches) => {
            for out in 0..batches.len() {
                let mut fewer = batches.clone();
                fewer.remove(out);
                add(Step::Group(fewer));
            }
        }
        Step::ConflictBehind(batch) | Step::RefusedBehind(batch) | Step::Await(batch) => {
            add(Step::Commit(batch.clone()));
        }
        Step::Consume(name, count) if *count > 1 => add(Step::Consume(name, count - 1)),
        Step::Fold(name, true) => add(Step::Fold(name, false)),
        _ => {}
    }
    for index in 0..step.batches().len() {
        let mut change = |change: &dyn Fn(&mut super::model::Batch)| {
            let mut smaller = step.clone();
            change(&mut smaller.batches_mut()[index]);
            if smaller != *step {
                add(smaller);
            }
        };
        change(&|batch| batch.has_key = false);
        change(&|batch| batch.has_ids = false);
        change(&|batch| batch.is_exact = false);
        change(&|batch| batch.tracking = None);
        for event in 0..step.batches()[index].events.len() {
            change(&|batch| {
                if batch.events.len() > 1 {
                    batch.events.remove(event);
                }
            });
            for len in [0, 10, 1_000] {
                change(&|batch| batch.events[event].1 = batch.events[event].1.min(len));
            }
        }
    }
}

impl Trouble {
    fn happen_earlier(&mut self, by: u64) {
        let (Trouble::Stop(at) | Trouble::Fail(at, _) | Trouble::FailRead(at, _)) = self;
        *at = at.saturating_sub(by);
    }
}

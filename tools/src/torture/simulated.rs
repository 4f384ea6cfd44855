//! Random stories by the million, on as many threads as there are cores.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use super::caught::tell_caught;
use super::generate::{self, Seeded};
use super::shrink::shrink;
use super::story::Story;
use super::tally::Tally;
use super::violation::{Rule, Violation};

/// How long one story may take; a hundred thousand times what it should.
const HANGS: Duration = Duration::from_secs(30);

/// What to do.
#[derive(Clone, Debug)]
pub struct Plan {
    /// The seed of the first story; the next has the next.
    pub seed: u64,
    /// How many stories.
    pub stories: u64,
    /// On how many threads.
    pub threads: usize,
}

/// A story that breaks a promise.
#[derive(Clone, Debug)]
pub struct Finding {
    /// The seed it came from.
    pub seed: u64,
    /// As it was told.
    pub story: Story,
    /// What it broke.
    pub violation: Violation,
    /// The same, as short as it could be made, and what that broke.
    pub shrunk: (Story, Violation),
}

/// What each thread is at: the seed of its story, and when it began, in milliseconds of the run.
struct Desk {
    seed: AtomicU64,
    since: AtomicU64,
}

/// Tells the stories of a plan until one breaks a promise; `progress` hears now and then how many were told.
///
/// When several do, the one with the least seed among those that were found is returned.
///
/// # Errors
///
/// The story that broke a promise. One that hangs is returned as it is: its thread stays behind.
pub fn run(plan: &Plan, mut progress: impl FnMut(u64)) -> (Tally, Option<Finding>) {
    let state = State {
        next: AtomicU64::new(0),
        told: AtomicU64::new(0),
        stop: AtomicBool::new(false),
        all: Mutex::new((Tally::default(), None)),
    };
    let begun = Instant::now();
    let desks: Vec<Desk> =
        (0..plan.threads.max(1)).map(|_| Desk { seed: AtomicU64::new(0), since: AtomicU64::new(u64::MAX) }).collect();
    let shared = std::sync::Arc::new((state, desks));
    let threads: Vec<_> = (0..shared.1.len())
        .map(|index| {
            let (shared, plan) = (std::sync::Arc::clone(&shared), plan.clone());
            std::thread::spawn(move || shared.0.work(&plan, &shared.1[index], begun))
        })
        .collect();
    let (state, desks) = &*shared;
    while !threads.iter().all(std::thread::JoinHandle::is_finished) {
        std::thread::sleep(Duration::from_millis(20));
        progress(state.told.load(Ordering::Relaxed));
        let now = begun.elapsed().as_millis() as u64;
        let slow =
            desks.iter().find(|desk| now.saturating_sub(desk.since.load(Ordering::Relaxed)) > HANGS.as_millis() as u64);
        if let Some(desk) = slow {
            let seed = desk.seed.load(Ordering::Relaxed);
            let story = generate::story(&mut Seeded::new(seed));
            let violation = Violation::new(Rule::NoPanic, format!("it hangs for more than {HANGS:?}"));
            let tally = state.all.lock().unwrap_or_else(std::sync::PoisonError::into_inner).0.clone();
            let shrunk = (story.clone(), violation.clone());
            return (tally, Some(Finding { seed, story, violation, shrunk }));
        }
    }
    let (tally, found) = std::mem::take(&mut *state.all.lock().unwrap_or_else(std::sync::PoisonError::into_inner));
    let finding = found.map(|(seed, violation)| {
        let story = generate::story(&mut Seeded::new(seed));
        Finding { seed, shrunk: shrink(&story, &violation), story, violation }
    });
    (tally, finding)
}

struct State {
    next: AtomicU64,
    told: AtomicU64,
    stop: AtomicBool,
    /// What was done, and the finding with the least seed.
    all: Mutex<(Tally, Option<(u64, Violation)>)>,
}

impl State {
    fn work(&self, plan: &Plan, desk: &Desk, begun: Instant) {
        let mut tally = Tally::default();
        let mut found = None;
        while !self.stop.load(Ordering::Relaxed) {
            let index = self.next.fetch_add(1, Ordering::Relaxed);
            if index >= plan.stories {
                break;
            }
            let seed = plan.seed.wrapping_add(index);
            desk.seed.store(seed, Ordering::Relaxed);
            desk.since.store(begun.elapsed().as_millis() as u64, Ordering::Relaxed);
            let done = tell_caught(&generate::story(&mut Seeded::new(seed)), &mut tally);
            self.told.fetch_add(1, Ordering::Relaxed);
            if let Err(violation) = done {
                self.stop.store(true, Ordering::Relaxed);
                found = Some((seed, violation));
            }
        }
        desk.since.store(u64::MAX, Ordering::Relaxed);
        let mut all = self.all.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        all.0.add(&tally);
        if let Some((seed, violation)) = found
            && all.1.as_ref().is_none_or(|(known, _)| seed < *known)
        {
            all.1 = Some((seed, violation));
        }
    }
}

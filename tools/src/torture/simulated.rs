//! Stories by the million, on as many threads as there are cores: random ones, or every end of short ones.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use super::caught::tell_caught;
use super::exhaustive::{Care, Cases, explore};
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
/// When several do, the one with the least seed among those that were found is returned. One that
/// hangs is returned as it is, and its thread stays behind.
pub fn run(plan: &Plan, progress: impl FnMut(u64)) -> (Tally, Option<Finding>) {
    let work = |seed: u64, tally: &mut Tally, (): &mut ()| {
        let story = generate::story(&mut Seeded::new(seed));
        tell_caught(&story, tally).map_err(|violation| Box::new((story, violation)))
    };
    let (tally, (), finding) = share_out(plan, HANGS, work, |(), ()| {}, progress);
    (tally, finding)
}

/// Goes through every way in which the short stories of a plan can go wrong, until one breaks a
/// promise; otherwise as [`run`].
pub fn run_every_end(plan: &Plan, care: Care, progress: impl FnMut(u64)) -> (Cases, Tally, Option<Finding>) {
    let work = move |seed: u64, tally: &mut Tally, cases: &mut Cases| {
        let steps = generate::steps(&mut Seeded::new(seed));
        cases.add(&explore(&steps, Care { seed, ..care }, tally)?);
        Ok(())
    };
    // Each is tens of thousands of stories, or millions.
    let (tally, cases, finding) = share_out(plan, 1000 * HANGS, work, Cases::add, progress);
    (cases, tally, finding)
}

/// Does the work of each seed on the threads of a plan; adds up what they return.
fn share_out<T: Default + Send + 'static>(
    plan: &Plan,
    hangs: Duration,
    work: impl Fn(u64, &mut Tally, &mut T) -> Result<(), Box<(Story, Violation)>> + Clone + Send + 'static,
    add: impl Fn(&mut T, &T) + Clone + Send + 'static,
    mut progress: impl FnMut(u64),
) -> (Tally, T, Option<Finding>) {
    let shared = Arc::new(Shared {
        next: AtomicU64::new(0),
        told: AtomicU64::new(0),
        stop: AtomicBool::new(false),
        all: Mutex::new((Tally::default(), T::default(), None)),
        desks: (0..plan.threads.max(1)).map(|_| Desk { seed: AtomicU64::new(0), since: IDLE.into() }).collect(),
        begun: Instant::now(),
    });
    let threads: Vec<_> = (0..shared.desks.len())
        .map(|desk| {
            let (shared, plan, work, add) = (Arc::clone(&shared), plan.clone(), work.clone(), add.clone());
            std::thread::spawn(move || shared.work(&plan, desk, work, add))
        })
        .collect();
    while !threads.iter().all(JoinHandle::is_finished) {
        std::thread::sleep(Duration::from_millis(5));
        progress(shared.told.load(Ordering::Relaxed));
        if let Some(seed) = shared.hanging(hangs) {
            let story = generate::story(&mut Seeded::new(seed));
            let violation = Violation::new(Rule::NoPanic, format!("it hangs for more than {hangs:?}"));
            let (tally, more, _) = std::mem::take(&mut *shared.all.lock());
            let shrunk = (story.clone(), violation.clone());
            return (tally, more, Some(Finding { seed, story, violation, shrunk }));
        }
    }
    let (tally, more, found) = std::mem::take(&mut *shared.all.lock());
    let finding = found.map(|(seed, found)| {
        let (story, violation) = *found;
        Finding { seed, shrunk: shrink(&story, &violation), story, violation }
    });
    (tally, more, finding)
}

/// A moment that never comes.
const IDLE: u64 = u64::MAX;

/// A seed, and the story that broke a promise.
type Found = (u64, Box<(Story, Violation)>);

struct Shared<T> {
    next: AtomicU64,
    told: AtomicU64,
    stop: AtomicBool,
    /// What was done, and the finding with the least seed.
    all: Mutex<(Tally, T, Option<Found>)>,
    desks: Vec<Desk>,
    begun: Instant,
}

impl<T: Default> Shared<T> {
    fn work(
        &self,
        plan: &Plan,
        desk: usize,
        work: impl Fn(u64, &mut Tally, &mut T) -> Result<(), Box<(Story, Violation)>>,
        add: impl Fn(&mut T, &T),
    ) {
        let desk = &self.desks[desk];
        let (mut tally, mut more) = (Tally::default(), T::default());
        let mut found = None;
        while !self.stop.load(Ordering::Relaxed) {
            let index = self.next.fetch_add(1, Ordering::Relaxed);
            if index >= plan.stories {
                break;
            }
            let seed = plan.seed.wrapping_add(index);
            desk.seed.store(seed, Ordering::Relaxed);
            desk.since.store(self.now(), Ordering::Relaxed);
            let done = work(seed, &mut tally, &mut more);
            self.told.fetch_add(1, Ordering::Relaxed);
            if let Err(violation) = done {
                self.stop.store(true, Ordering::Relaxed);
                found = Some((seed, violation));
            }
        }
        desk.since.store(IDLE, Ordering::Relaxed);
        let mut all = self.all.lock();
        all.0.add(&tally);
        add(&mut all.1, &more);
        if let Some(found) = found
            && all.2.as_ref().is_none_or(|(known, _)| found.0 < *known)
        {
            all.2 = Some(found);
        }
    }

    fn now(&self) -> u64 {
        self.begun.elapsed().as_millis() as u64
    }

    /// The seed of a story that takes longer than any.
    fn hanging(&self, hangs: Duration) -> Option<u64> {
        let (now, longest) = (self.now(), hangs.as_millis() as u64);
        let hangs = |desk: &&Desk| now.saturating_sub(desk.since.load(Ordering::Relaxed)) > longest;
        self.desks.iter().find(hangs).map(|desk| desk.seed.load(Ordering::Relaxed))
    }
}

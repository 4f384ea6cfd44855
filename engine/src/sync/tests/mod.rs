//! The whole engine on the simulated disk, in many interleavings; the command is in [the module above](super).
//!
//! Each test is a short scene of a few threads, played again and again under two schedulers: one that
//! lets any thread go on at every turn, and one (PCT) that lets one thread run until it is interrupted at a few
//! places, which finds what needs a long run of one thread beside another. A thread that waits for ever is a failure.
//!
//! The seed is fixed, so that a test says the same each time. `ANNALS_SCHEDULES=50` plays 50 times as many, from
//! a seed of its own. A failure prints the schedule; `SHUTTLE_RANDOM_SEED`, or [`shuttle::replay`], plays it again.
//!
//! - [`scene`]: what the threads do, what they are told, and what has to be true of it.
//! - [`appends`]: appends, tickets, flushes, and closing.
//! - [`failures`]: failing disks and panicking leaders, while others wait.
//! - [`readers`]: readers and followers beside writers, rolls, indexes and the work in the background.
//! - [`races`]: requests of which one can win.
//! - [`queue`]: the commit queue by itself, of two callers in every interleaving there is.

mod appends;
mod failures;
mod queue;
mod races;
mod readers;
mod scene;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use shuttle::scheduler::{PctScheduler, RandomScheduler, Scheduler};
use shuttle::{Config, Runner};

/// Plays a scene in so many interleavings.
fn play(scene: impl Fn() + Send + Sync + Copy + 'static, schedules: usize) {
    let factor = std::env::var("ANNALS_SCHEDULES").ok().map(|factor| factor.parse::<usize>().expect("a number"));
    let seed = if factor.is_some() { std::hash::BuildHasher::hash_one(&std::hash::RandomState::new(), 0) } else { 7 };
    let each = schedules * factor.unwrap_or(1) / 2;
    run(RandomScheduler::new_from_seed(seed, each), scene);
    run(PctScheduler::new_from_seed(seed, 3, each), scene);
}

/// Says how many interleavings there were, also when the last of them has failed.
fn run(scheduler: impl Scheduler + 'static, scene: impl Fn() + Send + Sync + 'static) {
    struct Played(Arc<AtomicUsize>, &'static str, Instant);
    impl Drop for Played {
        fn drop(&mut self) {
            let how = if std::thread::panicking() { "failed in interleaving" } else { "interleavings:" };
            println!("{} {how} {}, {:?}", self.1, self.0.load(Ordering::Relaxed), self.2.elapsed());
        }
    }
    let name = std::any::type_name_of_val(&scheduler).rsplit("::").next().unwrap_or_default();
    let played = Arc::new(AtomicUsize::new(0));
    let _says = Played(Arc::clone(&played), name, Instant::now());
    let counted = move || {
        played.fetch_add(1, Ordering::Relaxed);
        scene();
    };
    Runner::new(scheduler, config()).run(counted);
}

fn config() -> Config {
    let mut config = Config::new();
    // The engine calls deeper than the 60 KiB that are usual here.
    config.stack_size = 1 << 20;
    config.silence_warnings = true;
    config
}

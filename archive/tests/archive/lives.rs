//! Random lives of a store with an archive: whatever is done in whatever order, what is read through is what was appended.

use annals::{EventStore, Guard, Position, inspect};
use annals_archive::Cache;

use crate::support::{Home, must_hold_all, options};

struct Rng(u64);

impl Rng {
    fn below(&mut self, n: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % n
    }
}

fn live(seed: u64) {
    let mut rng = Rng(seed);
    let options = options().hash_chain(seed.is_multiple_of(2));
    let mut home = Home::with(&options);
    let cache = Cache::new(home.path("cache"), 100 << 10 << rng.below(4)).unwrap();
    let mut done = Vec::new();
    for _ in 0..12 {
        let step = rng.below(7);
        done.push(step);
        let context = format!("seed {seed}, steps {done:?}");
        match step {
            0 | 1 => home.append(1 + rng.below(80)),
            2 => {
                home.archive().send(home.dir(), |_, _| ()).expect(&context);
            }
            3 => {
                let before = Position::new(rng.below(home.head() + 10));
                home.archive()
                    .drop_local(home.store(), home.dir(), before, Guard::Consumers, |_, _| ())
                    .expect(&context);
            }
            4 => {
                home.store = None;
                home.store = Some(EventStore::open(home.dir(), &options).expect(&context));
            }
            5 => home.store().maintain().map(drop).expect(&context),
            _ if home.archive().segments(home.store().log_id()).expect(&context).is_empty() => {}
            _ => {
                let all = home.archive().open_read_only(home.dir(), &cache).expect(&context);
                must_hold_all(&all, home.head());
            }
        }
    }
    let context = format!("seed {seed}, steps {done:?}");
    let log = home.store().log_id();
    home.append(40);
    home.archive().send(home.dir(), |_, _| ()).expect(&context);
    let through = home.archive().read_through(Some(&home.dir()), None, &cache).expect(&context);
    let report = inspect::verify_on(&*through, |_, _| ()).expect(&context);
    assert!(report.is_clean() && report.events == home.head(), "{context}: {report:?}");
    must_hold_all(&EventStore::open_read_only_on(through).expect(&context), home.head());
    let report = home.archive().verify(log, Some(&home.dir()), |_, _| ()).expect(&context);
    assert!(report.is_clean() && report.anchored, "{context}: {report:?}");
    home.archive().restore(None, Some(&home.dir()), home.path("again")).expect(&context);
    must_hold_all(&EventStore::open(home.path("again"), &options).expect(&context), home.head());
}

#[test]
fn what_is_read_through_is_what_was_appended_whatever_was_done_in_between() {
    let seeds = std::env::var("ANNALS_ARCHIVE_LIVES").map_or(20, |lives| lives.parse().unwrap());
    for seed in 0..seeds {
        live(seed);
    }
}

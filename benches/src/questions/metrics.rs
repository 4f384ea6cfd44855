//! What measuring costs an append: the same store with `Options::metrics`, and without.
//!
//! Aimed at: 2 % at most, so a ratio of 0.98 or more.

use annals::{Durability, EventStore, Options};
use annals_benches::{Workload, append};

use crate::bench::{Bench, heading, row};
use crate::turns::{in_turn, timed};

pub(crate) fn measure(bench: &Bench) {
    heading("append to a store that measures", "without");
    for (name, durability, batches, size) in [
        ("durable, 1 event", Durability::Sync, 200, 1),
        ("durable, batches of 100", Durability::Sync, 60, 100),
        ("buffered, 1 event", Durability::Buffered, 20_000, 1),
        ("buffered, batches of 100", Durability::Buffered, 400, 100),
    ] {
        let dirs = [(); 2].map(|()| tempfile::tempdir().expect("a directory"));
        let open = |dir: &tempfile::TempDir, measures| {
            let options = Options::new().durability(durability).flush_interval(None).metrics(measures);
            EventStore::open(dir.path(), &options).expect("a fresh directory")
        };
        let (with, without) = (open(&dirs[0], true), open(&dirs[1], false));
        let (mut work_a, mut work_b) = (Workload::new(), Workload::new());
        let seconds = in_turn(
            bench.rounds(),
            vec![
                Box::new(|| timed(|| append(&with, &mut work_a, batches, size))),
                Box::new(|| timed(|| append(&without, &mut work_b, batches, size))),
            ],
        );
        row(name, batches * size, &seconds[0], &seconds[1]);
    }
}

//! Appending, beside the raw system calls.

use annals::Durability;
use annals_benches::{RawLog, Workload, append, open_store};

use crate::bench::{Bench, heading, row};
use crate::turns::{in_turn, timed};

pub(crate) fn durable(bench: &Bench) {
    heading("durable append", "raw");
    appends(bench, Durability::Sync, &[(200, 1), (150, 10), (60, 100), (10, 1000)]);
}

pub(crate) fn buffered(bench: &Bench) {
    heading("buffered append", "raw");
    appends(bench, Durability::Buffered, &[(20_000, 1), (400, 100)]);
}

fn appends(bench: &Bench, durability: Durability, runs: &[(usize, usize)]) {
    for &(batches, size) in runs {
        let ours = tempfile::tempdir().expect("a directory");
        let theirs = tempfile::tempdir().expect("a directory");
        let store = open_store(ours.path(), durability);
        let mut raw = RawLog::create(theirs.path(), durability);
        let (mut work_a, mut work_b) = (Workload::new(), Workload::new());
        let seconds = in_turn(
            bench.rounds(),
            vec![
                Box::new(|| timed(|| append(&store, &mut work_a, batches, size))),
                Box::new(|| timed(|| raw.append(&mut work_b, batches, size))),
            ],
        );
        let name = if size == 1 { "1 event".to_owned() } else { format!("batches of {size}") };
        row(&name, batches * size, &seconds[0], &seconds[1]);
    }
}

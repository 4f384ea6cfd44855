//! Anonymous memory while a million streams of one event each are appended.
//!
//! In a process of its own, this program started again with a hidden argument, so
//! that nothing else counts. Files that are mapped do not count: the kernel takes
//! their pages back when it needs them.
//!
//! Aimed at: below 60 MiB, and as much at the end as after the first hundred thousand.

use std::process::Command;

use annals_benches::shop::{self, Shop};

use crate::bench::{Bench, CHILD, fact};
use crate::footprint::anonymous_kib;

pub(crate) fn measure(bench: &Bench) {
    let this = std::env::current_exe().expect("the path of this program");
    let quick = bench.quick.then_some("--quick");
    let status = Command::new(this).arg(CHILD).args(quick).status().expect("a child process");
    assert!(status.success(), "the child process has failed: {status}");
}

/// What the child process does.
pub(crate) fn child(bench: &Bench) {
    let dir = tempfile::tempdir().expect("a directory");
    let step = bench.many(100_000);
    fact("streams, of one event each", "anonymous memory");
    let say = |streams: u64| fact(&streams.to_string(), format_args!("{:.1} MiB", anonymous_kib() as f64 / 1024.0));
    say(0);
    let store = shop::open(dir.path(), 64 << 20);
    let mut shop = Shop::new();
    let mut streams = 0;
    for _ in 0..10 {
        shop::fill(&store, step, 100, || {
            streams += 1;
            (shop::stream(streams), shop.event())
        });
        say(streams);
    }
}

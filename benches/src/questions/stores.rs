//! What fifty logs in one process take: threads, memory, descriptors; with threads of their own, and with shared ones.
//!
//! Each in a process of its own, this program started again with a hidden argument, so that nothing else counts. All logs are
//! opened, each takes in some durable events, and so much that space is zeroed ahead; then it is counted, while nothing goes on.

use std::process::{Command, ExitCode};
use std::time::{Duration, Instant};

use annals::{EventStore, ExpectedVersion, NewEvent, Options, Stores};

use crate::bench::{Bench, fact};
use crate::footprint::{anonymous_kib, descriptors, threads};

/// The hidden argument.
pub(crate) const CHILD: &str = "--stores-of-this-process";

const LOGS: usize = 50;

pub(crate) fn measure(_: &Bench) {
    let this = std::env::current_exe().expect("the path of this program");
    fact(&format!("{LOGS} logs"), "threads   anonymous memory   descriptors   opened and written to in");
    for kind in ["own", "shared"] {
        let status = Command::new(&this).args([CHILD, kind]).status().expect("a child process");
        assert!(status.success(), "the child process has failed: {status}");
    }
}

/// What a child process does.
pub(crate) fn run_child(args: &[String]) -> ExitCode {
    let is_shared = args.first().is_some_and(|kind| kind == "shared");
    let dir = tempfile::tempdir().expect("a directory");
    let began = Instant::now();
    let (stores, options) = (Stores::open(dir.path(), &Options::new()), Options::new());
    let open = |number: usize| {
        let name = format!("tenant-{number}");
        if is_shared {
            stores.store(name).expect("a store")
        } else {
            EventStore::open(dir.path().join(name), &options).expect("a store")
        }
    };
    let (before, opened): (u64, Vec<EventStore>) = (anonymous_kib(), (0..LOGS).map(open).collect());
    for store in &opened {
        for _ in 0..20 {
            let event = NewEvent::new("Told", vec![7; 20_000]);
            store.append("a", ExpectedVersion::Any, event).expect("an append");
        }
    }
    let took = began.elapsed();
    // Until all that is done beside the writers is done.
    std::thread::sleep(Duration::from_secs(2));
    let (memory, threads) = (anonymous_kib() - before, threads());
    let name = if is_shared { "threads that all of them share" } else { "two threads of each log's own" };
    fact(name, format_args!("{threads:>7}   {memory:>12} KiB   {:>11}   {took:.2?}", descriptors()));
    ExitCode::SUCCESS
}

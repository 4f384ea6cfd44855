//! Ratios to the raw baseline, in one run: `cargo run --release -p annals-benches`.
//!
//! Each row runs the store and the baseline in turn, A B A B …, many short
//! times, and prints the median of the paired ratios with its 95 % interval
//! (order statistics of the sign test). Single commits scatter by ±40 % on a
//! shared machine; the ratio of neighbours does not.

#![allow(clippy::cast_precision_loss, clippy::cast_sign_loss, reason = "rates and ranks, not money")]

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Instant;

use annals::Durability;
use annals_benches::{RawLog, Workload, append, fill, open_store, raw_read_and_scan, raw_scan, read_all};
use annals_codec::{Seed, SegmentHeader};

const PAIRS: usize = 31;

fn main() {
    let only = std::env::args().nth(1).unwrap_or_default();
    println!("{:<34} {:>12} {:>12}   ratio to raw (median, 95 % interval)", "work", "annals", "raw");
    for (name, durability, batches, size) in [
        ("durable append, 1 event", Durability::Sync, 200, 1),
        ("durable append, batches of 10", Durability::Sync, 150, 10),
        ("durable append, batches of 100", Durability::Sync, 60, 100),
        ("durable append, batches of 1000", Durability::Sync, 10, 1000),
        ("buffered append, 1 event", Durability::Buffered, 20_000, 1),
        ("buffered append, batches of 100", Durability::Buffered, 400, 100),
    ] {
        if name.contains(&only) {
            let runs = appends(durability, batches, size);
            report(name, batches * size, &runs);
        }
    }
    let name = "read all, checksums verified";
    if name.contains(&only) {
        reads(name);
    }
}

/// Seconds of the store and of the baseline, pair by pair.
fn appends(durability: Durability, batches: usize, size: usize) -> Vec<(f64, f64)> {
    let ours = tempfile::tempdir().expect("a directory");
    let theirs = tempfile::tempdir().expect("a directory");
    let store = open_store(ours.path(), durability);
    let mut raw = RawLog::create(theirs.path(), durability);
    let (mut work_a, mut work_b) = (Workload::new(), Workload::new());
    // The first run of each warms up: the epoch, the first allocations, the zeros ahead.
    append(&store, &mut work_a, batches, size);
    raw.append(&mut work_b, batches, size);
    (0..PAIRS)
        .map(|_| {
            let ours = timed(|| append(&store, &mut work_a, batches, size));
            let theirs = timed(|| raw.append(&mut work_b, batches, size));
            (ours, theirs)
        })
        .collect()
}

fn reads(name: &str) {
    const EVENTS: usize = 1_000_000;
    let dir = tempfile::tempdir().expect("a directory");
    drop(fill(dir.path(), EVENTS));
    let paths = segment_paths(dir.path());
    let mut buffer = Vec::new();
    raw_read_and_scan(&paths, &mut buffer);
    let runs: Vec<(f64, f64)> = (0..PAIRS)
        .map(|_| {
            // Opened anew for each run, so that every checksum is verified in it, and
            // every page is mapped in it.
            let store = open_store(dir.path(), Durability::Sync);
            let mut seen = (0, 0);
            let ours = timed(|| seen.0 = read_all(&store));
            let theirs = timed(|| seen.1 = raw_read_and_scan(&paths, &mut buffer));
            assert_eq!(seen.0, seen.1, "both have seen every event");
            (ours, theirs)
        })
        .collect();
    report(name, EVENTS, &runs);
    drop(buffer);

    let segments = load(&paths);
    let store = open_store(dir.path(), Durability::Sync);
    read_all(&store);
    let again: Vec<(f64, f64)> = (0..PAIRS)
        .map(|_| (timed(|| assert_ne!(read_all(&store), 0)), timed(|| assert_ne!(raw_scan(&segments), 0))))
        .collect();
    report("read all, the second time", EVENTS, &again);
}

fn segment_paths(store: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(store.join("seg")).expect("segments");
    let mut paths: Vec<_> = entries.map(|entry| entry.expect("an entry").path()).collect();
    paths.sort();
    paths
}

/// The segments' bytes, in memory.
fn load(paths: &[PathBuf]) -> Vec<(Vec<u8>, Seed)> {
    let read = |path: &PathBuf| {
        let bytes = fs::read(path).expect("a segment");
        let (_, seed) = SegmentHeader::decode(&bytes).expect("a header");
        (bytes, seed)
    };
    paths.iter().map(read).collect()
}

fn timed(work: impl FnOnce()) -> f64 {
    let start = Instant::now();
    work();
    start.elapsed().as_secs_f64()
}

fn report(name: &str, events: usize, runs: &[(f64, f64)]) {
    let rate = |seconds: f64| events as f64 / seconds;
    let sorted = |value: &dyn Fn(&(f64, f64)) -> f64| {
        let mut all: Vec<f64> = runs.iter().map(value).collect();
        all.sort_by(f64::total_cmp);
        all
    };
    let (ours, theirs) = (sorted(&|run| rate(run.0)), sorted(&|run| rate(run.1)));
    let ratios = sorted(&|run| run.1 / run.0);
    let n = ratios.len();
    // Ranks of the 95 % interval of a median, by the normal approximation of the binomial.
    let reach = (0.98 * (n as f64).sqrt()).round() as usize;
    let (low, high) = (ratios[(n / 2).saturating_sub(reach)], ratios[(n / 2 + reach).min(n - 1)]);
    println!(
        "{name:<34} {:>10.0}/s {:>10.0}/s   {:.2} ({low:.2} – {high:.2})",
        ours[n / 2],
        theirs[n / 2],
        ratios[n / 2]
    );
}

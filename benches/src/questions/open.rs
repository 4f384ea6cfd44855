//! Opening for writing, after a clean close: 1 M events, 10 M, and very many segments.
//!
//! A store of 100 GB has 1,600 segments of 64 MiB. Two things stand for it: a store
//! with as many small ones, and what a full one adds, which is the difference between
//! the first two stores shared out among their segments, and 1,600 times that. In each
//! store the last segment is half full, because what is in it may have to be looked at
//! again.
//!
//! Aimed at: below 30 ms, the same for all, and no byte of a sealed segment read:
//! neither through `read` nor through a mapping.

use std::fs;

use annals::EventStore;
use annals_benches::shop::{self, Shop, Shuffled};

use crate::bench::{Bench, fact};
use crate::footprint::{bytes_read, mapped_kib, settle};
use crate::turns::{Run, Spread, differences, in_turn, ratios, timed};

const NORMAL: u64 = 64 << 20;
const SMALL: u64 = 240 << 10;

struct Closed {
    name: String,
    segments: usize,
    dir: tempfile::TempDir,
    segment_bytes: u64,
}

pub(crate) fn measure(bench: &Bench) {
    let stores = [
        build(bench.many(1_000_000), NORMAL),
        build(bench.many(10_000_000), NORMAL),
        build(bench.many(1_000_000), SMALL),
    ];
    let runs = stores.iter().map(|closed| {
        let run: Run<'_> = Box::new(|| {
            let mut store = None;
            let seconds = timed(|| store = Some(closed.open()));
            store.take().expect("it was opened").close().expect("a clean close");
            seconds
        });
        run
    });
    let seconds = in_turn(bench.rounds(), runs.collect());
    println!("{:<44} milliseconds, and how many times those of the first (median, 95 % interval)", "open");
    for (closed, took) in stores.iter().zip(&seconds) {
        let times = ratios(&seconds[0], took);
        fact(&closed.name, format_args!("{:.1}   {times}", Spread::of(took).times(1e3)));
    }
    let reads: Vec<Reads> = stores.iter().map(Closed::what_opening_reads).collect();
    println!("{:<44} KiB read while it was opened", "");
    for (closed, reads) in stores.iter().zip(&reads) {
        let Reads { read, sealed, last, others } = reads;
        let mapped = format_args!("mapped: {sealed} of sealed segments, {last} of the last, {others} else");
        fact(&closed.name, format_args!("{read} by read, {mapped}"));
    }

    let more = 1600.0 / (stores[1].segments - stores[0].segments) as f64;
    let kib = reads[1].all() as f64 - reads[0].all() as f64;
    let millis = differences(&seconds[1], &seconds[0]).times(1e3 * more);
    fact("1600 more segments would add", format_args!("{millis:.1} ms, {:.0} KiB read", kib * more));
}

/// What was read while a store was opened, in KiB: by `read` and its kin, or through mappings.
struct Reads {
    read: u64,
    sealed: u64,
    last: u64,
    others: u64,
}

impl Reads {
    fn all(&self) -> u64 {
        self.read + self.sealed + self.last + self.others
    }
}

fn build(events: u64, segment_bytes: u64) -> Closed {
    let dir = tempfile::tempdir().expect("a directory");
    let (mut order, mut shop) = (Shuffled::new(10_000), Shop::new());
    let mut next = || (shop::stream(order.next_number()), shop.event());
    let store = shop::open(dir.path(), segment_bytes);
    shop::fill(&store, events, 100, &mut next);
    let stats = store.stats();
    let last = stats.segments.last().map_or(0, |segment| segment.bytes);
    let missing = (segment_bytes + segment_bytes / 2 - last) % segment_bytes;
    shop::fill(&store, missing * events / stats.bytes, 100, &mut next);
    let segments = store.stats().segments.len();
    let name = format!("{} events in {segments} segments", store.head());
    settle(dir.path());
    store.close().expect("a clean close");
    Closed { name, segments, dir, segment_bytes }
}

impl Closed {
    fn open(&self) -> EventStore {
        shop::open(self.dir.path(), self.segment_bytes)
    }

    fn what_opening_reads(&self) -> Reads {
        // As the kernel names it, where a link leads to the directory for temporary files.
        let dir = self.dir.path().canonicalize().expect("a directory");
        let segments = dir.join("seg");
        let paths = fs::read_dir(&segments).expect("segments").map(|entry| entry.expect("an entry").path());
        let newest = paths.max();
        let before = bytes_read();
        let store = self.open();
        let read = (bytes_read() - before) >> 10;
        let last = mapped_kib(|path| Some(path) == newest.as_deref());
        let sealed = mapped_kib(|path| path.starts_with(&segments)) - last;
        let others = mapped_kib(|path| path.starts_with(&dir)) - sealed - last;
        drop(store);
        Reads { read, sealed, last, others }
    }
}

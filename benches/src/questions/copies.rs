//! What a backup takes, and how fast a store is verified beside a read of the same files: frames alone; with the index files and how events
//! follow each other; and with the hash chain too, in a store that keeps one.
//!
//! The store has a GB in segments of 64 MiB, in the page cache. A first backup reads all of it, for digests and for damage;
//! the second finds everything there. Reading is what a program does that maps each file and adds up all its
//! words, on as many threads: the limit of anything that looks at every byte. (Here each file is read into one
//! buffer that stays in the cache, since only the engine may map files; a mapping pays for its page faults instead.)
//!
//! Aimed at: a backup of 1 GB below a second; verifying at least 0.7 of reading.

use std::fs::File;
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};

use annals::inspect::{self, Verify};
use annals::{BackupOptions, EventStore, Options, Position};
use annals_benches::segment_paths;
use annals_benches::shop::{self, Shop};

use crate::bench::{Bench, fact};
use crate::turns::{Run, Spread, in_turn, ratios, timed};

pub(crate) fn measure(bench: &Bench) {
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("store");
    let store = shop::open(&path, 64 << 20);
    fill(bench, &store);
    let paths = segment_paths(&path);
    let bytes: u64 = paths.iter().map(|path| path.metadata().expect("a segment").len()).sum();
    fact("the store", format_args!("{:.2} GB in {} segments", bytes as f64 / 1e9, paths.len()));

    let (mut first, mut second) = (Vec::new(), Vec::new());
    for round in 0..bench.rounds().min(7) {
        let to = dir.path().join(format!("backup{round}"));
        let take = || drop(store.backup_to(&to, &BackupOptions::new()).expect("a backup"));
        first.push(timed(take));
        second.push(timed(take));
    }
    fact("the first backup, by links", format_args!("{:.0} ms", Spread::of(&first).times(1e3)));
    fact("the second", format_args!("{:.0} ms", Spread::of(&second).times(1e3)));
    store.close().expect("a clean close");
    let chained = dir.path().join("chained");
    // It stays as it was begun.
    drop(EventStore::open(&chained, &Options::new().segment_bytes(64 << 20).hash_chain(true)).expect("a store"));
    let store = shop::open(&chained, 64 << 20);
    fill(bench, &store);
    store.close().expect("a clean close");

    let threads = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let everything = || Position::START..=Position::END;
    let runs: Vec<Run<'_>> = vec![
        Box::new(|| timed(|| drop(inspect::verify_frames(&path, everything(), None, |_, _| ()).expect("a store")))),
        Box::new(|| timed(|| drop(inspect::verify(&path, |_, _| ()).expect("a store")))),
        Box::new(|| timed(|| drop(inspect::verify(&chained, |_, _| ()).expect("a store")))),
        Box::new(|| timed(|| drop(Verify::new().threads(1).run(&path, |_, _| ()).expect("a store")))),
        Box::new(|| timed(|| read_everything(&paths, threads))),
    ];
    let took = in_turn(bench.rounds(), runs);
    let names = ["frames", "everything", "everything, and a hash chain", "everything, on one core", "reading"];
    println!("{:<44} GB/s, and how many times reading (median, 95 % interval)", "verify, on all cores");
    for (name, seconds) in names.iter().zip(&took) {
        let rate = bytes as f64 / 1e9 / Spread::of(seconds).median;
        fact(name, format_args!("{rate:.2} GB/s   {:.2}", ratios(seconds, &took[4])));
    }
}

fn fill(bench: &Bench, store: &EventStore) {
    let mut shop = Shop::new();
    let mut number = 0;
    shop::fill(store, bench.many(2_400_000), 100, || {
        number += 1;
        (shop::stream(number % 10_000), shop.event())
    });
    store.flush().expect("a sync");
}

/// Adds up all words of all files.
fn read_everything(paths: &[PathBuf], threads: usize) {
    let next = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                while let Some(path) = paths.get(next.fetch_add(1, Ordering::Relaxed)) {
                    std::hint::black_box(sum_of(path));
                }
            });
        }
    });
}

fn sum_of(path: &Path) -> u64 {
    let mut file = File::open(path).expect("a segment");
    let mut buffer = vec![0; 256 << 10];
    let mut sum = 0_u64;
    loop {
        let read = file.read(&mut buffer).expect("it can be read");
        if read == 0 {
            return sum;
        }
        for word in buffer[..read].chunks_exact(8) {
            sum = sum.wrapping_add(annals_codec::u64_at(word, 0));
        }
    }
}

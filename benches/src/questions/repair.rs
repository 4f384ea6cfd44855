//! What a repair takes: a segment in the middle of the store has a damaged byte.
//!
//! One batch is lost, and everything behind it is written anew, for its positions, chain and checksums follow from what is
//! before them: about half of the store. The segments before it are copied as they are. Beside it, what anybody would have
//! to do: the same files read, written elsewhere and synced, one after the other.
//!
//! Aimed at: nothing. It is done by hand, and seldom; it has to be clear how long the store will be away.

use std::fs::{self, File, OpenOptions};
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};

use annals_benches::segment_paths;
use annals_benches::shop::{self, Shop};

use crate::bench::{Bench, fact};
use crate::turns::{Run, Spread, in_turn, ratios, timed};

/// Each of them writes the whole store: so often is enough.
const MOST_ROUNDS: usize = 5;

pub(crate) fn measure(bench: &Bench) {
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("store");
    fill(bench, &path);
    let paths = segment_paths(&path);
    let bytes: u64 = paths.iter().map(|path| path.metadata().expect("a segment").len()).sum();
    damage(&paths[paths.len() / 2]);
    let planned = annals::plan_repair(&path, |_, _| ()).expect("a plan");
    fact("the store", format_args!("{:.2} GB in {} segments", bytes as f64 / 1e9, paths.len()));
    fact("lost", format_args!("{} events", planned.lost_positions()));
    fact("segments", format_args!("{} stay, {} are written anew", planned.kept_segments, planned.written_segments));
    assert!(planned.lost_positions() > 0, "the damage was found");

    let (repaired, copied) = (dir.path().join("repaired"), dir.path().join("copied"));
    let runs: Vec<Run<'_>> = vec![
        Box::new(|| timed(|| drop(annals::plan_repair(&path, |_, _| ()).expect("a plan")))),
        Box::new(|| anew(&repaired, || drop(annals::repair(&path, &repaired, |_, _| ()).expect("a repair")))),
        Box::new(|| anew(&copied, || copy(&paths, &copied))),
    ];
    let took = in_turn(bench.rounds().min(MOST_ROUNDS), runs);
    for (name, seconds) in ["to say what is lost", "to repair", "to copy and sync the same files"].iter().zip(&took) {
        fact(name, format_args!("{:.0} ms", Spread::of(seconds).times(1e3)));
    }
    fact("repaired, in times a copy", format_args!("{:.2}", ratios(&took[2], &took[1])));
}

fn fill(bench: &Bench, path: &Path) {
    let store = shop::open(path, 64 << 20);
    let mut shop = Shop::new();
    let mut number = 0;
    shop::fill(&store, bench.many(1_200_000), 100, || {
        number += 1;
        (shop::stream(number % 10_000), shop.event())
    });
    store.close().expect("a clean close");
}

/// Turns one bit over, in the middle of a segment.
fn damage(segment: &Path) {
    let file = OpenOptions::new().read(true).write(true).open(segment).expect("a segment");
    let at = file.metadata().expect("its length").len() / 2;
    let mut byte = [0];
    file.read_exact_at(&mut byte, at).expect("a byte");
    file.write_all_at(&[byte[0] ^ 1], at).expect("a write");
}

/// The time of `work`, which makes a directory; that it is removed before is not counted.
fn anew(made: &Path, work: impl FnOnce()) -> f64 {
    if made.exists() {
        fs::remove_dir_all(made).expect("it can be removed");
    }
    timed(work)
}

fn copy(paths: &[PathBuf], to: &Path) {
    fs::create_dir(to).expect("a directory");
    for path in paths {
        let to = to.join(path.file_name().expect("a file"));
        fs::copy(path, &to).expect("a copy");
        File::open(&to).and_then(|file| file.sync_all()).expect("a sync");
    }
}

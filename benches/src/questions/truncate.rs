//! What retention costs: 100 of 160 segments are removed, and then streams are appended to that were gone for long.
//!
//! The store has a stream for each few events, so that many names have to be kept: the more there are, the more is
//! written by each truncation. The cost of an append to a stream that only the floor knows is set against one to a
//! stream that the newest segments know; in a store of which nothing was removed both would ask indexes.
//!
//! Aimed at: a truncation of a million streams within seconds, an append to one of them within 2 µs of any other.

use std::time::Instant;

use annals::{EventStore, ExpectedVersion, Guard, NewEvent, Options, Position};
use annals_benches::shop::{Dice, Shuffled};

use crate::bench::{Bench, price};
use crate::turns::{Run, in_turn, timed};

/// Segments in all, and how many of them are removed.
const SEGMENTS: usize = 160;
const REMOVED: usize = 100;

pub(crate) fn measure(bench: &Bench) {
    for streams in [10_000, bench.many(1_000_000)] {
        truncate(bench, streams);
    }
}

fn fill(store: &EventStore, streams: u64) -> Vec<Position> {
    let mut order = Shuffled::new(streams);
    loop {
        let mut batch = store.batch();
        for _ in 0..100 {
            batch = batch.event(stream(order.next_number()), NewEvent::new("Noted", vec![7; 256]));
        }
        batch.commit().expect("an append");
        let segments = store.stats().segments;
        if segments.len() > SEGMENTS {
            return segments.iter().map(|segment| segment.base).collect();
        }
    }
}

fn stream(number: u64) -> String {
    format!("stream-{number:013}")
}

fn truncate(bench: &Bench, streams: u64) {
    const APPENDS: usize = 1_000;

    let dir = tempfile::tempdir().expect("a directory");
    // So many events in all that each stream has two or so.
    let segment_bytes = (streams * 2 * 400 / SEGMENTS as u64).max(64 << 10);
    let options = Options::new().segment_bytes(segment_bytes).durability(annals::Durability::Buffered);
    let store = EventStore::open(dir.path(), &options).expect("a store");
    let bases = fill(&store, streams);
    crate::footprint::settle(dir.path());
    let began = Instant::now();
    let done = store.truncate_before(bases[REMOVED].plus(1), Guard::Consumers).expect("a truncation");
    let took = began.elapsed();
    let floor = store.stats().floor.expect("events were removed");
    println!(
        "  {REMOVED} of {SEGMENTS} segments ({} events, {} MiB) removed in {:.1} ms; {} streams known in {} KiB",
        done.events,
        done.bytes >> 20,
        took.as_secs_f64() * 1e3,
        floor.streams,
        floor.bytes >> 10,
    );
    let infos = store.streams("").expect("names");
    let oldest = store.oldest();
    let (gone, there): (Vec<_>, Vec<_>) = infos.into_iter().partition(|info| info.last_position < oldest);
    println!("  {} streams of which nothing is left, {} others", gone.len(), there.len());
    drop(store);
    // Nothing is remembered, and nobody pays for a new segment while it is measured.
    let store = EventStore::open(dir.path(), &options.segment_bytes(1 << 30)).expect("a store");
    let (mut dice, rounds) = (Dice::new(5), bench.rounds());
    let mut pick = |from: &[annals::StreamInfo]| -> Vec<_> {
        (0..APPENDS * (rounds + 2)).map(|_| from[dice.below(from.len() as u64) as usize].stream.clone()).collect()
    };
    let names = [pick(&gone), pick(&there)];
    let runs = names.each_ref().map(|names| -> Run<'_> {
        let (store, mut at) = (&store, 0);
        Box::new(move || {
            at = (at + APPENDS) % (names.len() - APPENDS);
            let names = &names[at..at + APPENDS];
            timed(|| {
                for name in names {
                    store.append(name, ExpectedVersion::StreamExists, NewEvent::new("Noted", "")).expect("an append");
                }
            })
        })
    });
    let seconds = in_turn(rounds, runs.into());
    price("a stream that only the floor knows", APPENDS, &seconds[0], &seconds[1]);
}

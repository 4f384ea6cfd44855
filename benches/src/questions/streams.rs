//! One stream of 94 events, read whole: random ones, of more than ten thousand.
//!
//! The store in two shapes, all in one segment and every stream over fifty, beside
//! SQLite and LMDB (feature `peers`). Everybody has read everything once before: what
//! is measured is a program that has been running for a while, with every page mapped
//! and, for us, every checksum verified.
//!
//! Aimed at: more than 10 × both peers in one segment, more than 3 × over fifty.

use annals::StreamId;
use annals_benches::shop::Dice;

use crate::bench::{Bench, heading, row};
use crate::turns::{Run, in_turn, timed};

/// Streams that each contestant reads in a round: the same ones.
const STREAMS: usize = 200;

pub(crate) fn measure(bench: &Bench) {
    let library = bench.library();
    let mut dice = Dice::new(7);
    // One more, for the round that warms up.
    let draws: Vec<Vec<StreamId>> = (0..=bench.rounds()).map(|_| library.some_streams(&mut dice, STREAMS)).collect();
    let contestants = library.contestants();
    let mut sums = vec![Vec::new(); contestants.len()];
    let runs = contestants.iter().zip(&mut sums).map(|(contestant, sums)| {
        let mut draws = draws.iter();
        let run: Run<'_> = Box::new(move || {
            let streams = draws.next().expect("a draw for each round");
            timed(|| sums.push(contestant.engine.read_streams(streams)))
        });
        run
    });
    let seconds = in_turn(bench.rounds(), runs.collect());
    assert!(sums.iter().all(|sum| *sum == sums[0]), "everybody read the same");

    for (peer, theirs) in contestants.iter().zip(&seconds).skip(2) {
        heading("one stream of 94 events", peer.name);
        row(library.whole.name, STREAMS, &seconds[0], theirs);
        row(library.spread.name, STREAMS, &seconds[1], theirs);
    }
    heading("one stream of 94 events", "in one");
    row(library.spread.name, STREAMS, &seconds[1], &seconds[0]);
}

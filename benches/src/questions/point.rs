//! One event by position, and one by id: random ones, of a million.
//!
//! As in `streams`, the store in two shapes beside SQLite and LMDB, and everybody has
//! read everything once before. Each look is a snapshot of its own. Ours gives an
//! owned event, which shares the mapping.
//!
//! Aimed at: more than 3 × LMDB by position, and by id at least half as fast as by
//! position.

use annals::{EventId, Position};
use annals_benches::shop::Dice;

use crate::bench::{Bench, heading, row};
use crate::contestant::Annals;
use crate::turns::{Run, in_turn, timed};

/// Events that each contestant looks up in a round: the same ones.
const LOOKS: usize = 10_000;

pub(crate) fn measure(bench: &Bench) {
    let library = bench.library();
    let contestants = library.contestants();
    let mut dice = Dice::new(11);
    // One more, for the round that warms up. By id others are looked for, or they would be in the caches.
    let mut draw = || (0..=bench.rounds()).map(|_| library.some_positions(&mut dice, LOOKS)).collect::<Vec<_>>();
    let (positions, of_ids) = (draw(), draw());
    let ids = [ids(&library.whole, &of_ids), ids(&library.spread, &of_ids)];

    let mut sums = vec![(Vec::new(), Vec::new()); contestants.len()];
    let mut runs: Vec<Run<'_>> = Vec::new();
    for (number, (contestant, (by_position, by_id))) in contestants.iter().zip(&mut sums).enumerate() {
        let mut draws = positions.iter();
        runs.push(Box::new(move || {
            let draw = draws.next().expect("a draw for each round");
            timed(|| by_position.push(contestant.get_positions(draw)))
        }));
        // The peers have the ids of our first store.
        let mut draws = ids[usize::from(number == 1)].iter();
        if cfg!(feature = "pending") {
            runs.push(Box::new(move || {
                let draw = draws.next().expect("a draw for each round");
                timed(|| by_id.push(contestant.get_ids(draw)))
            }));
        }
    }
    let seconds = in_turn(bench.rounds(), runs);
    assert!(sums.iter().all(|sum| *sum == sums[0]), "everybody found the same");

    let kinds = if cfg!(feature = "pending") { 2 } else { 1 };
    let (by_position, by_id) = (|of: usize| &seconds[of * kinds], |of: usize| &seconds[of * kinds + kinds - 1]);
    for (number, peer) in contestants.iter().enumerate().skip(2) {
        heading("one event", peer.name());
        for (ours, contestant) in contestants[..2].iter().enumerate() {
            row(&format!("by position, {}", contestant.name()), LOOKS, by_position(ours), by_position(number));
            if kinds == 2 {
                row(&format!("by id, {}", contestant.name()), LOOKS, by_id(ours), by_id(number));
            }
        }
    }
    heading("one event by id", "by position");
    for (ours, contestant) in contestants[..2].iter().enumerate() {
        row(contestant.name(), LOOKS, by_id(ours), by_position(ours));
    }
    if kinds == 1 {
        println!("(the engine cannot look up ids yet: what is printed as theirs are positions)");
    }
}

/// The ids of what was drawn.
fn ids(of: &Annals, draws: &[Vec<Position>]) -> Vec<Vec<EventId>> {
    let mut all = Vec::new();
    let mut reader = of.store.read_all(Position::START);
    while let Some(event) = reader.next_event().expect("a whole log") {
        all.push(event.id);
    }
    let id = |position: &Position| all[position.before().get() as usize];
    draws.iter().map(|draw| draw.iter().map(id).collect()).collect()
}

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
use crate::library::Contestant;
use crate::ours::Annals;
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

    // All by position, then all by id: each follows somebody else, and finds the caches as the others do.
    let mut sums = vec![Vec::new(); 2 * contestants.len()];
    let (by_position, by_id) = sums.split_at_mut(contestants.len());
    let mut runs: Vec<Run<'_>> = Vec::new();
    for (contestant, sums) in contestants.iter().zip(by_position) {
        let mut draws = positions.iter();
        runs.push(Box::new(move || {
            let draw = draws.next().expect("a draw for each round");
            timed(|| sums.push(contestant.engine.get_positions(draw)))
        }));
    }
    for (number, (contestant, sums)) in contestants.iter().zip(by_id).enumerate() {
        // The peers have the ids of our first store.
        let mut draws = ids[usize::from(number == 1)].iter();
        runs.push(Box::new(move || {
            let draw = draws.next().expect("a draw for each round");
            timed(|| sums.push(contestant.engine.get_ids(draw)))
        }));
    }
    let seconds = in_turn(bench.rounds(), runs);
    let same = |sums: &[Vec<u64>]| sums.iter().all(|sum| *sum == sums[0]);
    let (by_position, by_id) = sums.split_at(contestants.len());
    assert!(same(by_position) && same(by_id), "everybody found the same");

    let (by_position, by_id) = seconds.split_at(contestants.len());
    for (number, peer) in contestants.iter().enumerate().skip(2) {
        heading("one event", peer.name);
        for (ours, contestant) in contestants[..2].iter().enumerate() {
            row(&format!("by position, {}", contestant.name), LOOKS, &by_position[ours], &by_position[number]);
            row(&format!("by id, {}", contestant.name), LOOKS, &by_id[ours], &by_id[number]);
        }
    }
    heading("one event by id", "by position");
    for (ours, contestant) in contestants[..2].iter().enumerate() {
        row(contestant.name, LOOKS, &by_id[ours], &by_position[ours]);
    }
}

/// The ids of what was drawn.
fn ids(of: &Contestant<Annals>, draws: &[Vec<Position>]) -> Vec<Vec<EventId>> {
    let mut all = Vec::new();
    let mut reader = of.engine.store.read_all(Position::START);
    while let Some(event) = reader.next_event().expect("a whole log") {
        all.push(event.id);
    }
    let id = |position: &Position| all[position.before().get() as usize];
    draws.iter().map(|draw| draw.iter().map(id).collect()).collect()
}

//! What an id of the caller's costs: a buffered append of one event with one, less
//! the same without.
//!
//! The store has 400 sealed segments, full of events whose ids were set by callers
//! and are random, so that no segment can be passed over by the look of an id. Both
//! kinds of append go to the same store, in turn.
//!
//! Aimed at: at most 15 µs.

use std::cell::RefCell;

use annals_benches::shop::{self, Dice, Shop, Shuffled};

use crate::bench::{Bench, price};
use crate::footprint::settle;
use crate::turns::{Run, in_turn, timed};

const APPENDS: usize = 200;

pub(crate) fn measure(bench: &Bench) {
    let dir = tempfile::tempdir().expect("a directory");
    let (mut order, mut shop, mut dice) = (Shuffled::new(10_000), Shop::new(), Dice::new(3));
    // A million events, or fewer in smaller segments: some 400 segments.
    let segment_bytes = bench.many(1_100_000).max(64 << 10);
    let store = shop::open(dir.path(), segment_bytes);
    shop::fill(&store, bench.many(1_000_000), 100, || (shop::stream(order.next_number()), shop.event().id(dice.id())));
    settle(dir.path());
    store.close().expect("a clean close");
    // So large that nobody pays for a new segment while it is measured.
    let store = shop::open(dir.path(), 1 << 30);

    let sources = RefCell::new((order, shop, dice));
    let append = |sets_id: bool| {
        let (order, shop, dice) = &mut *sources.borrow_mut();
        // Both throw the dice.
        let (event, id) = (shop.event(), dice.id());
        let event = if sets_id { event.id(id) } else { event };
        store.batch().event(shop::stream(order.next_number()), event).commit().expect("an append");
    };
    let runs = [true, false].map(|sets_id| -> Run<'_> {
        let append = &append;
        Box::new(move || timed(|| (0..APPENDS).for_each(|_| append(sets_id))))
    });
    let seconds = in_turn(bench.rounds(), runs.into());
    let segments = store.stats().segments.len();
    price(&format!("an id that no event in {segments} segments has"), APPENDS, &seconds[0], &seconds[1]);
}

//! What a condition costs: a buffered append of one event with one, less the same without.
//!
//! The store has a million events, each with the tag of one of a hundred thousand
//! customers. What is appended welcomes a new customer, on condition that nobody has
//! had that tag, in the whole log: which is the usual condition, and one that no
//! position narrows. Both kinds of append go to the same store, in turn.
//!
//! Aimed at: at most 20 µs.

use annals::{AppendCondition, QueryItem, Tag};
use annals_benches::shop::{self, Dice, Shop, Shuffled};

use crate::bench::{Bench, price};
use crate::turns::{Run, in_turn, timed};

pub(crate) fn measure(bench: &Bench) {
    const APPENDS: usize = 200;
    const CUSTOMERS: u64 = 100_000;

    let dir = tempfile::tempdir().expect("a directory");
    let tag = |customer: u64| Tag::new(&format!("customer:{customer}")).expect("a short name");
    let (mut order, mut shop, mut dice) = (Shuffled::new(10_000), Shop::new(), Dice::new(5));
    let store = shop::open(dir.path(), 64 << 20);
    shop::fill(&store, bench.many(1_000_000), 1000, || {
        (shop::stream(order.next_number()), shop.event().tag(tag(dice.below(CUSTOMERS))))
    });
    crate::footprint::settle(dir.path());
    store.close().expect("a clean close");
    // So large that nobody pays for a new segment while it is measured.
    let store = shop::open(dir.path(), 1 << 30);

    let newcomers = std::cell::Cell::new(CUSTOMERS);
    let shop = std::cell::RefCell::new(shop);
    let append = |on_condition: bool| {
        let customer = tag(newcomers.replace(newcomers.get() + 1));
        let event = shop.borrow_mut().event().tag(&customer);
        let mut batch = store.batch().event(shop::stream(newcomers.get() % 10_000), event);
        if on_condition {
            batch = batch.condition(AppendCondition::fail_if_match(QueryItem::new().tag(customer)));
        }
        batch.commit().expect("an append");
    };
    let runs = [true, false].map(|on_condition| -> Run<'_> {
        let append = &append;
        Box::new(move || timed(|| (0..APPENDS).for_each(|_| append(on_condition))))
    });
    let seconds = in_turn(bench.rounds(), runs.into());
    price("nobody has had this tag", APPENDS, &seconds[0], &seconds[1]);
}

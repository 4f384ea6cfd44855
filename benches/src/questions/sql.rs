//! SQL over the log, beside counting with `read_all` and finding with `get`.
//!
//! - *everything*: a count, a `GROUP BY type` and a sum of a payload field over all events of the store, beside `read_all` over the same
//!   events, of the same store, all checksums verified before. Aimed at: `GROUP BY type` ≥ 2 M events/s.
//! - *part*: the same `GROUP BY type` over the hundredth part of the positions, and the count of one type of five: what is read is
//!   printed beside the time.
//! - *point*: `SELECT type, data … WHERE position = ?`, each a statement of its own that is parsed and planned. Aimed at: < 200 µs.

use annals::{Durability, EventType, Position};
use annals_benches::shop::{self, Dice, Shop, Shuffled};
use annals_benches::{open_store, read_all};
use annals_cli::sql::{Answer, Database};

use crate::bench::{Bench, fact, heading, row};
use crate::turns::{Run, Spread, in_turn, timed};

/// So many events are looked up, one by one.
const POINTS: usize = 1000;

const TYPES: [&str; 5] = ["Placed", "Paid", "Packed", "Shipped", "Returned"];

pub(crate) fn measure(bench: &Bench) {
    let events = bench.many(1_000_000);
    let dir = tempfile::tempdir().expect("a directory");
    let types = TYPES.map(|name| EventType::new(name).expect("a short name"));
    let (mut order, mut shop, mut number) = (Shuffled::new(10_000), Shop::new(), 0);
    let filled = shop::open(dir.path(), 64 << 20);
    shop::fill(&filled, events, 100, || {
        number += 1;
        (shop::stream(order.next_number()), shop.event_of_type(&types[number % TYPES.len()]))
    });
    filled.close().expect("a clean close");
    let store = open_store(dir.path(), Durability::Buffered);
    read_all(&store);
    let database = Database::new(&store).expect("a database");
    let ask = |sql: &str| -> Answer { database.query(sql).unwrap_or_else(|error| panic!("{error}: {sql}")) };

    let rounds = if bench.quick { 3 } else { 11 };
    heading("everything", "read all");
    for (name, sql) in [
        ("count(*)", "SELECT count(*) FROM events"),
        ("count(*) GROUP BY type", "SELECT type, count(*) FROM events GROUP BY 1"),
        ("sum of what they carry", "SELECT sum(length(data)) FROM events"),
        ("a condition on ts", "SELECT count(*) FROM events WHERE ts > '2020-01-01'"),
    ] {
        let asked: Run<'_> = Box::new(|| timed(|| assert_eq!(ask(sql).read.events, events)));
        let read: Run<'_> = Box::new(|| timed(|| assert!(read_all(&store) > events)));
        let seconds = in_turn(rounds, vec![asked, read]);
        row(name, events as usize, &seconds[0], &seconds[1]);
    }

    let (from, until) = (events / 2, events / 2 + events / 100);
    for (name, sql) in [
        (
            "GROUP BY type over a hundredth",
            format!("SELECT type, count(*) FROM events WHERE position > {from} AND position <= {until} GROUP BY 1"),
        ),
        ("count(*) of one type of five", "SELECT count(*) FROM events WHERE type = 'Paid'".to_owned()),
        ("events of one stream", format!("SELECT count(*) FROM events WHERE stream = '{}'", shop::stream(77))),
    ] {
        let read = ask(&sql).read;
        let seconds = in_turn(rounds, vec![Box::new(|| timed(|| drop(ask(&sql))))]);
        let took = Spread::of(&seconds[0]).times(1e3);
        fact(
            name,
            format!("{took} ms; read {} events in {} of {} segments", read.events, read.segments, read.segments_in_log),
        );
    }

    let mut dice = Dice::new(7);
    let positions: Vec<u64> = (0..POINTS).map(|_| 1 + dice.below(events)).collect();
    let asked: Run<'_> = Box::new(|| {
        timed(|| {
            for position in &positions {
                let answer = ask(&format!("SELECT type, data FROM events WHERE position = {position}"));
                assert_eq!((answer.rows.len(), answer.read.events), (1, 1));
            }
        })
    });
    let got: Run<'_> = Box::new(|| {
        timed(|| {
            for position in &positions {
                let event = store.get(Position::new(*position)).expect("a whole log").expect("it is there");
                assert!(!event.data().is_empty());
            }
        })
    });
    let seconds = in_turn(rounds, vec![asked, got]);
    heading("one event by its position", "get");
    row("a statement for each", POINTS, &seconds[0], &seconds[1]);
}

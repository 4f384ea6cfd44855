//! A table of the events in a file of SQLite, beside inserting the same rows there.
//!
//! - *build*: `index_sqlite` from nothing, one step for 50,000 events, each synced; beside an INSERT of the same values, which stand
//!   ready in memory, into the same table with the same settings and syncs. So the ratio is what reading the log and forming
//!   the values costs. Aimed at: ≥ 500,000 events/s.
//! - *catch up*: 1,000 events more, behind 1 M: the file is opened, checked, written, synced and closed. Aimed at: < 10 ms.

use std::path::Path;

use annals::EventStore;
use annals_benches::shop::{self, Shop, Shuffled};
use annals_cli::tables::{IndexOptions, Indexed, index_sqlite};
use rusqlite::types::Value;
use rusqlite::{Connection, params_from_iter};

use crate::bench::{Bench, fact, heading, row};
use crate::turns::{Run, Spread, in_turn, timed};

/// What is appended between two runs.
const NEW: u64 = 1_000;

/// How many rows become one transaction, as with the default of `annals index`.
const STEP: usize = 50_000;

fn index(store: &EventStore, file: &Path) -> Indexed {
    index_sqlite(store, file, &IndexOptions::new(), &mut |_| true).expect("a table")
}

pub(crate) fn measure(bench: &Bench) {
    let events = bench.many(1_000_000);
    let dir = tempfile::tempdir().expect("a directory");
    let (mut order, mut shop) = (Shuffled::new(10_000), Shop::new());
    let store = shop::open(&dir.path().join("store"), 64 << 20);
    let mut fill = |store: &EventStore, events: u64| {
        shop::fill(store, events, 100, || (shop::stream(order.next_number()), shop.event()));
    };
    fill(&store, events);

    let file = dir.path().join("table.db");
    index(&store, &file);
    let values = rows_of(&file);
    let (ours, theirs) = (dir.path().join("ours.db"), dir.path().join("theirs.db"));
    let rounds = if bench.quick { 3 } else { 11 };
    let made: Run<'_> = Box::new(|| {
        _ = std::fs::remove_file(&ours);
        timed(|| assert_eq!(index(&store, &ours).events, events))
    });
    let inserted: Run<'_> = Box::new(|| {
        _ = std::fs::remove_file(&theirs);
        timed(|| insert(&theirs, &values))
    });
    let seconds = in_turn(rounds, vec![made, inserted]);
    heading("build", "rusqlite");
    row("a table of all events", events as usize, &seconds[0], &seconds[1]);
    drop(values);

    let caught_up: Run<'_> = Box::new(|| {
        fill(&store, NEW);
        timed(|| assert_eq!(index(&store, &file).events, NEW))
    });
    let seconds = in_turn(bench.rounds(), vec![caught_up]);
    let took = Spread::of(&seconds[0]).times(1e3);
    fact(&format!("{NEW} events behind {events}"), format!("{took} ms"));
}

/// The statement that has made the table.
fn declaration(file: &Path) -> String {
    let table = Connection::open(file).expect("a table");
    let sql = "SELECT sql FROM sqlite_schema WHERE name = 'events'";
    table.query_row(sql, [], |row| row.get(0)).expect("it has one table of that name")
}

fn rows_of(file: &Path) -> (String, Vec<Vec<Value>>) {
    let table = Connection::open(file).expect("a table");
    let mut statement = table.prepare("SELECT * FROM events").expect("a statement");
    let columns = statement.column_count();
    let row = |row: &rusqlite::Row<'_>| (0..columns).map(|column| row.get(column)).collect();
    let rows = statement.query_map([], row).expect("rows").collect::<Result<_, _>>().expect("whole rows");
    (declaration(file), rows)
}

fn insert(file: &Path, (declaration, rows): &(String, Vec<Vec<Value>>)) {
    let table = Connection::open(file).expect("a file");
    table
        .execute_batch(
            "PRAGMA page_size = 8192; PRAGMA synchronous = FULL; PRAGMA cache_size = -65536; PRAGMA cache_spill = OFF",
        )
        .expect("settings");
    table.execute_batch(declaration).expect("a table");
    let values = vec!["?"; rows[0].len()].join(", ");
    let mut statement = table.prepare(&format!("INSERT INTO events VALUES ({values})")).expect("a statement");
    for step in rows.chunks(STEP) {
        table.execute_batch("BEGIN").expect("a transaction");
        for row in step {
            statement.execute(params_from_iter(row)).expect("a row");
        }
        table.execute_batch("COMMIT").expect("a commit");
    }
}

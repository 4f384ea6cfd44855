//! What users of the systems before rely on: the tables of both `PARITY.md`, and the rows that have no other test.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use annals::storage::sim::SimDisk;
use annals::{Position, Query};

use crate::support::*;

#[test]
fn everything_but_the_log_can_be_thrown_away_and_is_made_again() {
    let disk = SimDisk::new(1);
    let store = open(&disk);
    add(&store, 1..=30);
    let mut projection = seen("seen").snapshot_every(10).attach(&store).unwrap();
    projection.catch_up().unwrap();
    store.consumer("mailer").unwrap().checkpoint(pos(20)).unwrap();
    let state = projection.state().clone();
    drop((projection, store));
    let disk = disk.after_kill();
    let derived: Vec<String> = disk
        .paths()
        .into_iter()
        .filter(|path| ["snap/", "consumers/", "idx/"].iter().any(|folder| path.starts_with(folder)))
        .collect();
    assert!(derived.len() >= 3, "{derived:?}");
    for path in &derived {
        disk.remove_file(path);
    }

    let store = open(&disk);
    let mut projection = seen("seen").snapshot_every(10).attach(&store).unwrap();
    assert_eq!(projection.position(), Position::START);
    projection.catch_up().unwrap();
    assert_eq!(*projection.state(), state);
    let mailer = store.consumer("mailer").unwrap();
    assert_eq!(mailer.position(), Position::START, "it begins anew: at least once");
    assert_eq!(mailer.subscribe(Query::All).unwrap().take(30).flatten().count(), 30);
}

/// The names between backquotes in the last column of the tables.
fn named(table: &str) -> BTreeSet<&str> {
    let rows = table.lines().filter(|line| line.starts_with('|'));
    let cells = rows.filter_map(|line| line.trim_end_matches([' ', '|']).rsplit('|').next());
    cells.flat_map(|cell| cell.split('`').skip(1).step_by(2)).collect()
}

/// All tests in the files below a folder.
fn tests_in(folder: &Path, found: &mut BTreeSet<String>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path: PathBuf = entry.unwrap().path();
        if path.is_dir() {
            tests_in(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let text = std::fs::read_to_string(&path).unwrap();
            let behind = text.split("#[test]").skip(1).filter_map(|rest| rest.split("fn ").nth(1));
            found.extend(behind.filter_map(|rest| rest.split('(').next()).map(str::to_owned));
        }
    }
}

#[test]
fn every_test_that_the_tables_name_is_there() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let mut found = BTreeSet::new();
    for folder in ["projection/tests", "engine/tests", "schema/tests", "tools/tests", "engine/src", "codec/src"] {
        tests_in(&root.join(folder), &mut found);
    }
    let of_engine = [63, 64, 66, 98, 99, 101, 102, 103, 108, 109, 110, 120];
    let tables: [(&str, Vec<u64>, usize); 3] = [
        ("projection/PARITY.md", (34..=58).chain(94..=96).collect(), 50),
        ("engine/PARITY.md", (74..=93).chain(of_engine).chain(114..=118).collect(), 50),
        ("schema/PARITY.md", vec![100, 104, 105, 106, 110, 111, 112, 113, 119], 20),
    ];
    for (path, rows, least) in tables {
        let table = std::fs::read_to_string(root.join(path)).unwrap();
        let named = named(&table);
        let missing: Vec<&&str> = named.iter().filter(|name| !found.contains(**name)).collect();
        assert!(
            named.len() > least && missing.is_empty(),
            "{path}: of {} names these are no tests: {missing:#?}",
            named.len()
        );
        for row in rows {
            let line = table.lines().find(|line| line.starts_with(&format!("| {row} | ")));
            assert!(line.is_some_and(|line| line.contains("| `")), "{path}: row {row} names no test");
        }
    }
}

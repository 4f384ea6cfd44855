//! `annals index --to sqlite:FILE`: what stands in the table, that a run does only what is new, and that no kill loses or
//! doubles anything.

mod bad;
#[path = "../common/mod.rs"]
mod common;
mod kills;
#[cfg(target_os = "linux")]
mod power;
mod rebuild;
mod views;

use std::ffi::OsStr;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

use annals::{ContentType, Durability, EventStore, ExpectedVersion, NewEvent, Options, Position};
use annals_cli::sql::Database;
use annals_cli::tables::{IndexOptions, rebuild_sqlite};
use common::{Ran, Rng, annals, annals_with, file, lines, snapshot, wait_for};
use rusqlite::types::Value;
use rusqlite::{Connection, OpenFlags};
use serde_json::json;
use tempfile::TempDir;

/// All columns, also those that `SELECT *` of `annals sql` leaves out.
const COLUMNS: &str = "position, stream, version, type, id, recorded_at, ts, occurred_at, tags, metadata, data, \
    correlation_id, causation_id, schema_version, content_type, redacted";

/// A store with so many events of many shapes, and where its table is to be.
fn filled(events: u64) -> (TempDir, PathBuf, PathBuf) {
    let dir = TempDir::new().unwrap();
    let store = dir.path().join("store");
    let input = file(dir.path(), "in", lines(events));
    annals(&[&"import", &"--segment-bytes", &"65536", &"--batch", &"10", &store, &input]).exits(0);
    let table = dir.path().join("table.db");
    (dir, store, table)
}

fn to(table: &Path) -> String {
    format!("sqlite:{}", table.display())
}

/// Runs `annals index` with more arguments.
fn index(store: &Path, table: &Path, more: &[&str]) -> Ran {
    let to = to(table);
    let mut args: Vec<&dyn AsRef<OsStr>> = vec![&"index", &"--json", &store, &"--to", &to];
    args.extend(more.iter().map(|arg| arg as &dyn AsRef<OsStr>));
    annals(&args)
}

/// Opens the file as another program would.
fn open(table: &Path) -> Connection {
    let connection = Connection::open_with_flags(table, OpenFlags::SQLITE_OPEN_READ_WRITE).unwrap();
    connection.busy_timeout(std::time::Duration::from_secs(60)).unwrap();
    connection
}

fn rows(connection: &Connection, sql: &str) -> Vec<Vec<Value>> {
    let mut statement = connection.prepare(sql).unwrap();
    let columns = statement.column_count();
    let row = |row: &rusqlite::Row<'_>| (0..columns).map(|column| row.get(column)).collect();
    statement.query_map([], row).unwrap().map(Result::unwrap).collect()
}

fn number(connection: &Connection, sql: &str) -> u64 {
    connection.query_row(sql, [], |row| row.get::<_, i64>(0)).unwrap().cast_unsigned()
}

/// The rows of the table are those that `annals sql` gives, all columns of all of them; how many.
#[track_caller]
fn check_rows(store: &Path, table: &Path) -> usize {
    let ask = format!("SELECT {COLUMNS} FROM events ORDER BY position");
    let database = Database::new(&EventStore::open_read_only(store).unwrap()).unwrap();
    let expected = database.query(&ask).unwrap().rows;
    let found = rows(&open(table), &ask);
    for (found, expected) in found.iter().zip(&expected) {
        assert_eq!(found, expected);
    }
    assert_eq!(found.len(), expected.len());
    assert_eq!(rows(&open(table), "PRAGMA integrity_check"), [[Value::Text("ok".to_owned())]]);
    found.len()
}

#[test]
fn the_table_has_what_sql_says_of_each_event() {
    let (_dir, path, table) = filled(500);
    // What lines do not say: correlation, times before 1970, encrypted data, all sorts of bytes, and a redaction.
    let store = EventStore::open(&path, &Options::new()).unwrap();
    let id = annals::EventId::from_bytes([9; 16]);
    for event in [
        NewEvent::new("Odd", vec![0, 159, 146, 150]).correlation_id(id).causation_id(id).occurred_at(-1),
        NewEvent::new("Odd", "a\0b").metadata("").occurred_at(i64::MIN),
        NewEvent::new("Odd", "secret").content_type(ContentType::ENCRYPTED).occurred_at(i64::MAX),
        NewEvent::new("Odd", "{}").content_type(ContentType::JSON).schema_version(7).tag("é").tag("b \"c\""),
    ] {
        store.append("odd", ExpectedVersion::Any, event).unwrap();
    }
    store.redact([Position::new(3), Position::new(502)], "a slip").unwrap();
    store.close().unwrap();

    let done = index(&path, &table, &[]).exits(0).row();
    let events = check_rows(&path, &table);
    assert!(events > 504, "also the log's own events");
    let shown = json!({"table": table, "events": events, "position": events, "quarantined": 0});
    assert_eq!(done, shown);
    let state = rows(&open(&table), "SELECT position, since, log_id, length(mark) FROM annals_index").remove(0);
    let log = annals(&[&"stats", &"--json", &path]).exits(0).row()["log_id"].as_str().unwrap().to_owned();
    assert_eq!(state, [(events as u32).into(), 0.into(), log.into(), 64.into()]);
}

#[test]
fn a_person_is_told_what_was_done() {
    let (_dir, store, table) = filled(5);
    let ran = annals(&[&"index", &store, &"--to", &to(&table)]).exits(0);
    assert_eq!(ran.stdout, format!("indexed: 5 events into {}, up to position 5.\n", table.display()));
    annals(&[&"index", &store, &"--to", &"table.db"]).exits(2);
    annals(&[&"index", &store.join("none"), &"--to", &to(&table)]).exits(3).says("cannot open");
    annals(&[&"index", &store, &"--to", &to(&table.join("none"))]).exits(3);
}

#[test]
fn a_second_run_adds_what_is_new_and_nothing_else() {
    let (dir, store, table) = filled(300);
    assert_eq!(index(&store, &table, &[]).exits(0).row()["events"], 300);
    let before = snapshot(dir.path());
    assert_eq!(index(&store, &table, &[]).exits(0).row()["events"], 0);
    assert_eq!(snapshot(dir.path()), before, "nothing to do, nothing written");
    for round in 1..4 {
        let more = file(dir.path(), "more", lines(7 * round));
        annals(&[&"import", &"--source", &format!("{round}"), &store, &more]).exits(0);
        assert_eq!(index(&store, &table, &["--batch", "3"]).exits(0).row()["events"], 7 * round);
        check_rows(&store, &table);
    }
}

#[test]
fn an_empty_log_yields_empty_tables_and_they_are_filled_later() {
    let dir = TempDir::new().unwrap();
    let (path, table) = (dir.path().join("store"), dir.path().join("table.db"));
    EventStore::open(&path, &Options::new()).unwrap().close().unwrap();
    assert_eq!(index(&path, &table, &[]).exits(0).row()["events"], 0);
    for name in ["events", "quarantine"] {
        assert_eq!(number(&open(&table), &format!("SELECT count(*) FROM {name}")), 0);
    }
    assert_eq!(index(&path, &table, &[]).exits(0).row()["position"], 0);
    let input = file(dir.path(), "in", lines(3));
    annals(&[&"import", &path, &input]).exits(0);
    assert_eq!(index(&path, &table, &[]).exits(0).row()["events"], 3);
    check_rows(&path, &table);
}

#[test]
fn what_is_redacted_after_it_was_in_the_table_is_gone_from_the_file() {
    const SECRET: &[u8] = b"5 Elm Street, behind the mill";
    let dir = TempDir::new().unwrap();
    let (path, table) = (dir.path().join("store"), dir.path().join("table.db"));
    let store = EventStore::open(&path, &Options::new()).unwrap();
    for number in 0..20 {
        let data = format!(r#"{{"n":{number},"to":"{}"}}"#, String::from_utf8_lossy(SECRET));
        store.append("customer-7", ExpectedVersion::Any, NewEvent::new("Moved", data.clone()).metadata(data)).unwrap();
    }
    index(&path, &table, &[]).exits(0);
    let has_secret = || fs::read(&table).unwrap().windows(SECRET.len()).any(|bytes| bytes == SECRET);
    assert!(has_secret());
    store.redact((1..=20).map(Position::new), "request 4711").unwrap();
    store.close().unwrap();
    index(&path, &table, &[]).exits(0);
    assert!(!has_secret());
    check_rows(&path, &table);
    let left = "SELECT count(*) FROM events WHERE redacted AND data IS NULL AND metadata IS NULL";
    assert_eq!(number(&open(&table), left), 20);
}

#[test]
fn what_is_removed_from_the_log_stays_in_the_table_and_what_was_never_in_it_is_named() {
    let (dir, store, table) = filled(2000);
    let early = dir.path().join("early.db");
    index(&store, &table, &[]).exits(0);
    let input = file(dir.path(), "in2", lines(2000));
    let half = dir.path().join("half");
    annals(&[&"import", &"--segment-bytes", &"65536", &half, &file(dir.path(), "in3", lines(500))]).exits(0);
    index(&half, &early, &[]).exits(0);
    for store in [&store, &half] {
        annals(&[&"import", &"--segment-bytes", &"65536", &"--batch", &"10", &"--source", &"2", store, &input])
            .exits(0);
    }

    // Up to where the table has come: nothing is missing.
    annals(&[&"truncate", &store, &"--before", &"2001"]).exits(0);
    assert_eq!(index(&store, &table, &[]).exits(0).row()["events"], 2000);
    let rows = "SELECT count(*), min(position), max(position) FROM events";
    assert_eq!(self::rows(&open(&table), rows), [[4000.into(), 1.into(), Value::Integer(4000)]]);

    // Beyond it: positions are named, and the table is as it was.
    annals(&[&"truncate", &half, &"--before", &"1500"]).exits(0);
    let oldest = annals(&[&"stats", &"--json", &half]).exits(0).row()["oldest"].as_u64().unwrap();
    assert!(oldest > 501, "{oldest}");
    let before = fs::read(&early).unwrap();
    let ran = annals(&[&"index", &half, &"--to", &to(&early)]).exits(1);
    let said = format!("has come to position 500, and the log begins at position {oldest}");
    ran.says(&said);
    assert_eq!(fs::read(&early).unwrap(), before);
    index(&half, &early, &["--rebuild-beside"]).exits(0);
    assert_eq!(check_rows(&half, &early) as u64, 2500 - (oldest - 1));
    // A table that begins late goes on like any other.
    assert_eq!(index(&half, &early, &[]).exits(0).row()["events"], 0);
}

#[test]
fn two_runs_at_once_do_everything_once() {
    let (_dir, store, table) = filled(4000);
    std::thread::scope(|scope| {
        let run = || index(&store, &table, &["--batch", "20"]).exits(0);
        let runs: Vec<_> = (0..3).map(|_| scope.spawn(run)).collect();
        let done: u64 = runs.into_iter().map(|run| run.join().unwrap().row()["events"].as_u64().unwrap()).sum();
        assert_eq!(done, 4000);
    });
    check_rows(&store, &table);
}

#[test]
fn a_follower_has_each_event_that_a_writer_in_another_process_appends() {
    let dir = TempDir::new().unwrap();
    let (path, table) = (dir.path().join("store"), dir.path().join("table.db"));
    let store = EventStore::open(&path, &Options::new().segment_bytes(64 * 1024)).unwrap();
    let append = |number: u64| {
        let data = format!(r#"{{"n":{number},"filler":"{}"}}"#, "x".repeat(400));
        store.append("live", ExpectedVersion::Any, NewEvent::new("Appended", data)).unwrap();
    };
    (1..=50).for_each(append);
    let follower = kills::Follower::start(&path, &table);
    let reached = |position: u64| {
        wait_for("the table", || {
            (table.exists()
                && number(&open(&table), "SELECT count(*) FROM sqlite_schema") > 0
                && number(&open(&table), "SELECT position FROM annals_index") == position)
                .then_some(())
        });
    };
    reached(50);
    for number in 51..=60 {
        append(number);
        // Each is there before the next is appended: by what the log publishes, and by no clock.
        reached(number);
    }
    (61..=1000).for_each(append);
    reached(1000);
    let steps = follower.kill();
    assert!(steps.len() > 10 && steps.len() < 900, "{} steps", steps.len());
    assert_eq!(steps.last().unwrap()["position"], 1000);
    store.redact([Position::new(7)], "a slip").unwrap();
    store.close().unwrap();
    index(&path, &table, &[]).exits(0);
    check_rows(&path, &table);
}

#[test]
fn a_reader_sees_rows_and_position_of_one_moment_whatever_is_written() {
    let (_dir, store, table) = filled(6000);
    let mut child = common::command(&[&"index", &store, &"--to", &to(&table), &"--batch", &"40"])
        .stdout(std::process::Stdio::null())
        .spawn()
        .unwrap();
    let mut seen = std::collections::BTreeSet::new();
    while child.try_wait().unwrap().is_none() {
        if !table.exists() || number(&open(&table), "SELECT count(*) FROM sqlite_schema") == 0 {
            continue;
        }
        let asked = "SELECT (SELECT position FROM annals_index), count(*), coalesce(max(position), 0) FROM events";
        let row = rows(&open(&table), asked).remove(0);
        assert!(row[0] == row[1] && row[0] == row[2], "{row:?}");
        let Value::Integer(position) = row[0] else { panic!("{row:?}") };
        seen.insert(position);
    }
    assert!(child.wait().unwrap().success());
    println!("{} positions seen", seen.len());
    check_rows(&store, &table);
}

/// Appends, redacts, removes, runs, rebuilds, in any order: the table is what the log said, and never less.
#[test]
fn after_any_story_the_table_is_what_sql_says_of_what_the_log_still_has() {
    for seed in 0..12 {
        let mut rng = Rng::new(seed);
        let dir = TempDir::new().unwrap();
        let (path, table) = (dir.path().join("store"), dir.path().join("table.db"));
        let options = Options::new().segment_bytes(64 * 1024).durability(Durability::Buffered);
        let store = EventStore::open(&path, &options).unwrap();
        let (mut indexed, mut told) = (0, String::new());
        for _ in 0..30 {
            match rng.below(8) {
                0..=3 => {
                    for _ in 0..=rng.below(120) {
                        let len = rng.below(300);
                        let data = rng.bytes(len);
                        store.append("s", ExpectedVersion::Any, NewEvent::new("T", data)).unwrap();
                    }
                }
                4 if store.head() >= store.oldest() => {
                    let (oldest, head) = (store.oldest().get(), store.head().get());
                    let chosen = Position::new(oldest + rng.below((head - oldest + 1) as usize) as u64);
                    // The store's own events cannot be.
                    _ = store.redact([chosen], "a slip");
                    _ = write!(told, " redact {chosen}");
                }
                5 => {
                    // Only what is in the table already.
                    store.truncate_before(Position::new(indexed + 1), annals::Guard::Force).unwrap();
                    _ = write!(told, " truncate {indexed}");
                }
                6 if table.exists() => {
                    store.flush().unwrap();
                    indexed = index(&path, &table, &["--rebuild-beside"]).exits(0).row()["position"].as_u64().unwrap();
                    _ = write!(told, " rebuild to {indexed}");
                }
                _ => {
                    store.flush().unwrap();
                    let batch = (1 + rng.below(200)).to_string();
                    let done = index(&path, &table, &["--batch", &batch]).exits(0).row();
                    indexed = done["position"].as_u64().unwrap();
                    assert_eq!(indexed, store.head().get(), "seed {seed}:{told}");
                    _ = write!(told, " index to {indexed}");
                }
            }
        }
        store.flush().unwrap();
        index(&path, &table, &[]).exits(0);
        let ask = format!("SELECT {COLUMNS} FROM events WHERE position >= {} ORDER BY 1", store.oldest());
        let expected = Database::new(&EventStore::open_read_only(&path).unwrap()).unwrap().query(&ask).unwrap().rows;
        assert_eq!(rows(&open(&table), &ask), expected, "seed {seed}:{told}");
        // What is older is as it was, and without a gap.
        let dense = "SELECT max(position) - min(position) + 1 - count(*) FROM events";
        assert_eq!(number(&open(&table), dense), 0, "seed {seed}:{told}");
    }
}

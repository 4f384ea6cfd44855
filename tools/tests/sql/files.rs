//! The files `*.slt` beside this one, in the form of sqllogictest: statements, and what they have to answer.
//!
//! ```text
//! statement ok                 query IT rowsort         # I: integer, T: text or NULL, R: real
//! CREATE TEMP TABLE …          SELECT …
//!                              ----
//! statement error no such      1 a
//! SELECT …                     2 b
//! ```
//!
//! Records are set apart by empty lines; values of a row by a space. NULL is `NULL`, an empty text `(empty)`. All
//! files are asked of the same small log, which [`shop`] makes: once of the log, and once of the table that `annals index` makes
//! of it, opened as any program opens it. A record below `onlyif log` is asked of the log alone.

use std::fs;
use std::path::Path;
use std::sync::atomic::Ordering;

use annals::{ContentType, EventStore, ExpectedVersion, NewEvent};
use annals_cli::sql::Database;
use annals_cli::tables::{IndexOptions, index_sqlite};
use rusqlite::config::DbConfig;
use rusqlite::types::Value;
use rusqlite::{Batch, Connection, OpenFlags};
use tempfile::TempDir;

use crate::{BEGAN, DAY, by_days};

/// Twelve events over six days: three orders, an invoice, and what is said of a redaction.
fn shop(path: &Path) -> EventStore {
    let (store, clock) = by_days(path);
    let append = |half_days: i64, stream: &str, event: NewEvent| {
        clock.0.store(BEGAN + half_days * DAY / 2, Ordering::Relaxed);
        store.append(stream, ExpectedVersion::Any, event).unwrap();
    };
    let json =
        |event_type: &str, data: &str| NewEvent::new(event_type, data.to_owned()).content_type(ContentType::JSON);
    append(
        0,
        "order-1",
        json("Placed", r#"{"amount": 120, "by": "Ann"}"#).tag("vip").tag("web").metadata(r#"{"ip": "::1"}"#),
    );
    append(1, "order-2", json("Placed", r#"{"amount": 80, "by": "Bob"}"#).tag("web"));
    append(2, "order-1", json("Paid", r#"{"amount": 120}"#).occurred_at(BEGAN - DAY));
    append(
        3,
        "order-3",
        json("Placed", r#"{"amount": 45.5, "by": "Ann", "lines": [{"sku": "a", "n": 2}, {"sku": "b", "n": 1}]}"#)
            .tag("vip"),
    );
    append(4, "order-1", json("Shipped", "{}"));
    append(5, "order-2", json("Cancelled", r#"{"why": "it's late"}"#));
    append(6, "invoice-1", NewEvent::new("Printed", vec![0x25, 0x50, 0x44, 0x46, 0xff]));
    append(7, "order-3", json("Paid", r#"{"amount": 45.5}"#).occurred_at(BEGAN + 6 * DAY));
    append(8, "order-3", NewEvent::new("Noted", ""));
    append(9, "invoice-1", NewEvent::new("Noted", "no json").metadata(""));
    append(10, "order-1", json("Reviewed", r#"{"text": "a secret"}"#));
    clock.0.store(BEGAN + 11 * DAY / 2, Ordering::Relaxed);
    store.redact([annals::Position::new(11)], "a slip").unwrap();
    store
}

fn shown(value: &Value) -> String {
    match value {
        Value::Null => "NULL".to_owned(),
        Value::Integer(number) => number.to_string(),
        Value::Real(number) => format!("{number:?}"),
        Value::Text(text) if text.is_empty() => "(empty)".to_owned(),
        Value::Text(text) => text.clone(),
        Value::Blob(bytes) => bytes.iter().fold(String::new(), |text, byte| format!("{text}{byte:02x}")),
    }
}

fn is_of(kind: char, value: &Value) -> bool {
    match kind {
        'I' => matches!(value, Value::Integer(_) | Value::Null),
        'R' => matches!(value, Value::Real(_) | Value::Null),
        'T' => matches!(value, Value::Text(_) | Value::Blob(_) | Value::Null),
        other => panic!("no column is {other:?}"),
    }
}

/// Who answers.
enum Engine {
    Log(Database),
    Table(Connection),
}

impl Engine {
    /// The rows that a statement gives.
    fn ask(&self, sql: &str) -> Result<Vec<Vec<Value>>, String> {
        match self {
            Engine::Log(database) => database.query(sql).map(|answer| answer.rows).map_err(|error| error.to_string()),
            Engine::Table(connection) => ask(connection, sql).map_err(|error| error.to_string()),
        }
    }
}

/// The rows of the last of some statements.
fn ask(connection: &Connection, sql: &str) -> rusqlite::Result<Vec<Vec<Value>>> {
    let (mut statements, mut found) = (Batch::new(connection, sql), Vec::new());
    while let Some(mut statement) = rusqlite::fallible_iterator::FallibleIterator::next(&mut statements)? {
        let columns = statement.column_count();
        let row = |row: &rusqlite::Row<'_>| (0..columns).map(|column| row.get(column)).collect();
        found = statement.query_map([], row)?.collect::<Result<_, _>>()?;
    }
    Ok(found)
}

/// The table of a log in a file, to be read.
fn table(store: &EventStore, file: &Path) -> Connection {
    index_sqlite(store, file, &IndexOptions::new(), &mut |_| true).unwrap();
    let connection = Connection::open_with_flags(file, OpenFlags::SQLITE_OPEN_READ_ONLY).unwrap();
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_DQS_DML, false).unwrap();
    connection
}

/// Runs one record; what is wrong with it is told.
fn run(engine: &Engine, record: &str) -> Result<(), String> {
    let record = match (record.strip_prefix("onlyif log\n"), engine) {
        (Some(_), Engine::Table(_)) => return Ok(()),
        (Some(record), Engine::Log(_)) => record,
        (None, _) => record,
    };
    let (head, rest) = record.split_once('\n').ok_or("a record has two lines at least")?;
    let (sql, expected) = rest.split_once("\n----").unwrap_or((rest, ""));
    let answer = engine.ask(sql);
    match head.split_once(' ').unwrap_or((head, "")) {
        ("statement", "ok") => answer.map(|_| ()),
        ("statement", error) => match (error.strip_prefix("error"), answer) {
            (Some(why), Err(error)) if error.contains(why.trim()) => Ok(()),
            (Some(_), answer) => Err(format!("{answer:?}")),
            (None, _) => Err(format!("no record begins with {head:?}")),
        },
        ("query", rest) => {
            let (kinds, sort) = rest.split_once(' ').unwrap_or((rest, ""));
            let answer = answer?;
            if answer.iter().any(|row| row.len() != kinds.len()) {
                return Err(format!("{} columns", answer[0].len()));
            }
            let wrong = answer.iter().flatten().zip(kinds.chars().cycle()).find(|(value, kind)| !is_of(*kind, value));
            if let Some((value, kind)) = wrong {
                return Err(format!("{value:?} in a column of {kind}"));
            }
            let row = |row: &Vec<Value>| row.iter().map(shown).collect::<Vec<_>>().join(" ");
            let mut rows: Vec<String> = answer.iter().map(row).collect();
            let mut expected: Vec<&str> = expected.lines().skip(1).map(str::trim_end).collect();
            match sort {
                "rowsort" => {
                    rows.sort();
                    expected.sort_unstable();
                }
                "" | "nosort" => {}
                other => return Err(format!("rows are not sorted by {other:?}")),
            }
            if rows == expected { Ok(()) } else { Err(format!("answered:\n{}", rows.join("\n"))) }
        }
        _ => Err(format!("no record begins with {head:?}")),
    }
}

/// The records of a file, each with the number of its first line.
fn records(text: &str) -> Vec<(usize, String)> {
    let mut records: Vec<(usize, String)> = Vec::new();
    let mut is_open = false;
    for (number, line) in text.lines().enumerate() {
        match line {
            "" => is_open = false,
            comment if comment.starts_with('#') && !is_open => {}
            line if is_open => {
                let record = &mut records.last_mut().expect("one is open").1;
                record.push('\n');
                record.push_str(line);
            }
            line => {
                records.push((number + 1, line.to_owned()));
                is_open = true;
            }
        }
    }
    records
}

#[test]
fn every_statement_of_the_files_is_answered_as_written() {
    let dir = TempDir::new().unwrap();
    let store = shop(&dir.path().join("store"));
    check_files(80, || Engine::Log(Database::new(&store).unwrap()));
}

#[test]
fn the_derived_table_answers_the_files_as_the_log_does() {
    let dir = TempDir::new().unwrap();
    let store = shop(&dir.path().join("store"));
    check_files(80, || Engine::Table(table(&store, &dir.path().join("table.db"))));
}

fn check_files(least: usize, engine: impl Fn() -> Engine) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/sql");
    let mut files: Vec<_> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.retain(|file| file.extension().is_some_and(|end| end == "slt"));
    files.sort();
    let (mut run_count, mut wrong) = (0, Vec::new());
    for file in &files {
        let engine = engine();
        for (line, record) in records(&fs::read_to_string(file).unwrap()) {
            run_count += usize::from(matches!(engine, Engine::Log(_)) || !record.starts_with("onlyif log\n"));
            if let Err(why) = run(&engine, &record) {
                wrong.push(format!("{}:{line}: {why}\n{record}\n", file.display()));
            }
        }
    }
    println!("{run_count} records in {} files", files.len());
    assert!(run_count > least && files.len() >= 4, "{run_count} records in {} files", files.len());
    assert!(wrong.is_empty(), "{} of {run_count}:\n\n{}", wrong.len(), wrong.join("\n"));
}

#[test]
fn a_record_that_is_answered_otherwise_is_wrong() {
    let store = EventStore::in_memory(&annals::Options::new()).unwrap();
    let database = Engine::Log(Database::new(&store).unwrap());
    for right in [
        "query I\nSELECT 1\n----\n1",
        "query IT rowsort\nSELECT 2, 'b' UNION SELECT 1, ''\n----\n2 b\n1 (empty)",
        "statement error no such\nSELECT x",
        "statement ok\nSELECT 1",
        "onlyif log\nquery I\nSELECT 1\n----\n1",
    ] {
        assert_eq!(run(&database, right), Ok(()), "{right}");
    }
    for wrong in [
        "query I\nSELECT 1\n----\n2",
        "query T\nSELECT 1\n----\n1",
        "query II\nSELECT 1\n----\n1",
        "query I\nSELECT 1\n----",
        "query I\nSELECT 1\n----\n1\n1",
        "query II nosort\nSELECT 2, 3 UNION SELECT 1, 2\n----\n2 3\n1 2",
        "statement error\nSELECT 1",
        "statement error such a\nSELECT x",
        "statement ok\nSELECT x",
        "statement\nSELECT 1",
        "halt\nnow",
        "onlyif log\nquery I\nSELECT 1\n----\n2",
    ] {
        assert!(run(&database, wrong).is_err(), "{wrong}");
    }
}

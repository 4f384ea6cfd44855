//! `annals sql`: answers, what is read for them, how they are shown, and what is told when there are none.

#[path = "../common/mod.rs"]
mod common;
mod files;
mod random;

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};

use annals::{Clock, ContentType, EventStore, ExpectedVersion, NewEvent, Options, Position, Roll};
use annals_cli::sql::{Database, SqlError};
use annals_codec::{FrameHeader, FrameKind};
use common::{annals, annals_with, file, lines, snapshot};
use rusqlite::types::Value;
use serde_json::json;
use tempfile::TempDir;

const DAY: i64 = 24 * 3_600_000_000_000;
/// 2026-11-01 in UTC.
const BEGAN: i64 = 1_793_491_200_000_000_000;

/// A clock that tells what it was told.
struct Told(AtomicI64);

impl Clock for Told {
    fn now(&self) -> i64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// A store whose segments are days, and its clock.
fn by_days(path: &Path) -> (EventStore, Arc<Told>) {
    let clock = Arc::new(Told(AtomicI64::new(BEGAN)));
    let clocked = Arc::clone(&clock);
    let options = Options::new().roll(Roll::Daily).clock(clocked).durability(annals::Durability::Buffered);
    (EventStore::open(path, &options).unwrap(), clock)
}

/// Ten days of orders, ten events a day, one every hour.
fn orders() -> (TempDir, PathBuf) {
    let dir = TempDir::new().unwrap();
    let path = dir.path().join("store");
    let (store, clock) = by_days(&path);
    for day in 0..10 {
        for hour in 0..10 {
            clock.0.store(BEGAN + day * DAY + hour * DAY / 24, Ordering::Relaxed);
            let (stream, event_type) = (format!("order-{}", hour % 5), if hour < 5 { "Placed" } else { "Paid" });
            let event = NewEvent::new(event_type, format!(r#"{{"amount": {}}}"#, day * 10 + hour));
            store.append(&*stream, ExpectedVersion::Any, event.content_type(ContentType::JSON)).unwrap();
        }
    }
    store.close().unwrap();
    (dir, path)
}

fn database(path: &Path) -> Database {
    Database::new(&EventStore::open_read_only(path).unwrap()).unwrap()
}

/// The statement must read so many events, in so many of the ten segments, and answer so many rows.
#[track_caller]
fn check_read(database: &Database, sql: &str, events: u64, segments: u64, rows: usize) {
    let answer = database.query(sql).unwrap_or_else(|error| panic!("{error}: {sql}"));
    assert_eq!((answer.read.events, answer.read.segments, answer.rows.len()), (events, segments, rows), "{sql}");
    assert_eq!((answer.read.events_in_log, answer.read.segments_in_log), (100, 10), "{sql}");
}

#[test]
fn only_what_the_conditions_leave_is_read() {
    let (_dir, path) = orders();
    let database = database(&path);
    let check = |sql: &str, events, segments, rows| check_read(&database, sql, events, segments, rows);
    check("SELECT * FROM events", 100, 10, 100);
    check("SELECT * FROM events WHERE position = 37", 1, 1, 1);
    check("SELECT * FROM events WHERE position = 101", 0, 0, 0);
    check("SELECT * FROM events WHERE rowid = 37", 1, 1, 1);
    check("SELECT * FROM events WHERE position > 35 AND position <= 45", 10, 2, 10);
    check("SELECT * FROM events WHERE position BETWEEN 35.5 AND 36.5", 1, 1, 1);
    check("SELECT * FROM events WHERE position IN (3, 33, 99, NULL)", 3, 3, 3);
    check("SELECT * FROM events WHERE position < NULL", 0, 0, 0);
    check("SELECT * FROM events WHERE stream = 'order-3'", 20, 10, 20);
    check("SELECT * FROM events WHERE stream IN ('order-3', 'order-4', 'none')", 40, 10, 40);
    check("SELECT * FROM events WHERE stream = 'order-3' AND type = 'Paid'", 10, 10, 10);
    check("SELECT * FROM events WHERE type = 'Refunded'", 0, 0, 0);
    check("SELECT * FROM events WHERE type GLOB 'Pl*'", 50, 10, 50);
    check("SELECT * FROM events WHERE type = 'Paid' OR type = 'Refunded'", 50, 10, 50);
    check("SELECT * FROM events WHERE recorded_at >= '2026-11-03' AND recorded_at < '2026-11-05'", 20, 2, 20);
    check("SELECT * FROM events WHERE recorded_at = '2026-11-03T05:00:00Z'", 1, 1, 1);
    check("SELECT * FROM events WHERE recorded_at < '2026-11-02 02:00:00' AND type = 'Placed'", 7, 2, 7);
    // The order of the log, and no more than is shown.
    check("SELECT * FROM events ORDER BY position LIMIT 3", 3, 1, 3);
    check("SELECT * FROM events ORDER BY position DESC LIMIT 3 OFFSET 9", 12, 2, 3);
    check("SELECT * FROM events WHERE type = 'Paid' ORDER BY recorded_at DESC, position DESC LIMIT 6", 6, 2, 6);
    check("SELECT max(position) FROM events WHERE stream = 'order-3'", 1, 1, 1);
    check("SELECT EXISTS (SELECT 1 FROM events WHERE type = 'Paid')", 1, 1, 1);
    // What is tested on every event.
    check("SELECT * FROM events WHERE ts >= '2026-11-10'", 100, 10, 10);
    check("SELECT * FROM events WHERE type = 'paid' COLLATE NOCASE", 100, 10, 50);
    check("SELECT * FROM events WHERE data->>'$.amount' = 42", 100, 10, 1);
    // An id, as it is printed.
    let id = database.query("SELECT id FROM events WHERE position = 55").unwrap().rows.remove(0).remove(0);
    let Value::Text(id) = id else { panic!("{id:?}") };
    check(&format!("SELECT * FROM events WHERE id = '{id}'"), 1, 1, 1);
    // For each event of one part those of another, looked up.
    check(
        "SELECT * FROM events a JOIN events b ON b.position = a.position + 1 WHERE a.position BETWEEN 11 AND 15",
        10,
        1,
        5,
    );
}

#[test]
fn a_person_sees_a_table_and_how_much_was_read_for_it() {
    let (_dir, path) = orders();
    let sql = "SELECT type, count(*) AS events, sum(data->>'$.amount') AS total, NULL AS none FROM events GROUP BY 1";
    let ran = annals(&[&"sql", &path, &sql]).exits(0);
    assert_eq!(
        ran.stdout,
        " type    events  total  none\n Paid        50   2600  NULL\n Placed      50   2350  NULL\n"
    );
    assert!(ran.stderr.starts_with("annals: 2 rows in 0."), "{}", ran.stderr);
    let read = "; read 100 events in 10 segments (the log has 100 in 10)\n";
    assert!(ran.stderr.ends_with(read), "{}", ran.stderr);
    let plan =
        "EXPLAIN QUERY PLAN SELECT * FROM events WHERE position > 5 AND type IN ('a','b') ORDER BY position DESC";
    let ran = annals(&[&"sql", &path, &plan]).exits(0);
    assert!(ran.stdout.contains("position>? AND type IN (?), newest first"), "{}", ran.stdout);
    assert_eq!(ran.stdout.lines().count(), 1, "nothing is sorted: {}", ran.stdout);
    // What could steer a terminal is shown escaped.
    let ran = annals(&[&"sql", &path, &"SELECT char(27) || '[2J' AS x, x'00ff' AS y"]).exits(0);
    assert!(ran.stdout.contains("\\u{1b}[2J") && ran.stdout.contains("<2 B of binary>"), "{}", ran.stdout);
    // More rows than are held at once.
    let many = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n LIMIT 2500) SELECT i FROM n";
    let ran = annals(&[&"sql", &path, &many]).exits(0);
    assert_eq!(ran.stdout.lines().filter(|line| line.trim().parse::<u32>().is_ok()).count(), 2500);
    assert!(ran.stderr.starts_with("annals: 2,500 rows"), "{}", ran.stderr);
    // As many as are held at once, and no empty table behind them.
    let ran = annals(&[&"sql", &path, &many.replace("2500", "1000")]).exits(0);
    assert_eq!((ran.stdout.lines().count(), ran.stdout.lines().last().unwrap().trim()), (1001, "1000"));
    let ran = annals(&[&"sql", &path, &"SELECT 1 AS x WHERE 0"]).exits(0);
    assert_eq!(ran.stdout.trim(), "x", "the columns of no rows");
}

#[test]
fn a_time_that_is_compared_with_what_is_none_is_told() {
    let (_dir, path) = orders();
    let database = database(&path);
    for (condition, told) in [
        ("ts > 'yesterday'", Some("ts is compared with 'yesterday'")),
        ("ts > 1316000000", Some("ts is compared with 1316000000")),
        ("occurred_at < 1.5e9", Some("occurred_at is compared with 1500000000")),
        ("recorded_at >= '01.11.2026'", Some("recorded_at is compared with '01.11.2026'")),
        ("ts BETWEEN '2026-11-01' AND 'tomorrow'", Some("ts is compared with 'tomorrow'")),
        ("type = 'Paid' AND position > 5 AND ts = 7 AND recorded_at > 8", Some("recorded_at is compared with 8")),
        ("ts > '2026-11-01' AND recorded_at < datetime('now')", None),
        ("ts > '' AND occurred_at = NULL", None),
        // Nothing is compared as times.
        ("ts > 'yesterday' COLLATE BINARY", None),
        ("substr(ts, 1, 4) > 'yesterday'", None),
        ("version > 1 AND stream > 'a' AND data > 7", None),
    ] {
        let answer = database.query(&format!("SELECT count(*) FROM events WHERE {condition}")).unwrap();
        assert_eq!(database.no_time().as_deref(), told, "{condition}");
        // Where nothing is looked up the answer is the same.
        let tested = database.query(&format!("SELECT count(*) FROM events WHERE ({condition}) IS TRUE")).unwrap();
        assert_eq!(answer.rows, tested.rows, "{condition}");
    }
    // Of the list no value is asked for by itself: all events are read once.
    check_read(&database, "SELECT * FROM events WHERE ts IN ('2026-11-01T00:00:00Z', '7')", 100, 10, 1);
    let plan = "EXPLAIN QUERY PLAN SELECT * FROM events WHERE ts > '2026' AND type = 'Paid' ORDER BY position DESC";
    let ran = annals(&[&"sql", &path, &plan]).exits(0);
    assert!(ran.stdout.contains("0:type=?, each tested for ts>?, newest first"), "{}", ran.stdout);
    let sql = "SELECT count(*) FROM events WHERE ts > 'yesterday'";
    let ran = annals(&[&"sql", &path, &sql]).exits(0);
    assert!(ran.stderr.ends_with(
        "annals: ts is compared with 'yesterday', which is no time, but a text that is compared letter by letter; a time is '2026-11-01', \
         '2026-11-01T12:30:00Z', datetime('now', '-1 hour') or datetime(1790000000, 'unixepoch')\n"
    ), "{}", ran.stderr);
    assert_eq!(annals(&[&"sql", &"--json", &path, &sql]).exits(0).stderr, "", "nothing for a person");
}

#[test]
fn a_statement_that_is_interrupted_ends_and_the_next_one_runs() {
    let (_dir, path) = orders();
    let mut database = database(&path);
    let flag = Arc::new(AtomicBool::new(false));
    database.interrupted_by(Arc::clone(&flag)).unwrap();
    let set = Arc::clone(&flag);
    let person = std::thread::spawn(move || {
        std::thread::sleep(std::time::Duration::from_millis(50));
        set.store(true, Ordering::Relaxed);
    });
    for endless in [
        "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT count(*) FROM n",
        "SELECT count(*) FROM events a, events b, events c, events d, events e, events f",
    ] {
        let ended = database.query(endless).unwrap_err();
        assert!(matches!(ended, SqlError::Interrupted), "{ended}");
    }
    person.join().unwrap();
    flag.store(false, Ordering::Relaxed);
    assert_eq!(database.query("SELECT count(*) FROM events").unwrap().rows, [[Value::Integer(100)]]);
}

#[test]
fn programs_get_csv_or_json_complete_and_statements_come_from_standard_input_too() {
    let (_dir, path) = orders();
    let sql = "SELECT position, data FROM events WHERE position IN (1, 2)";
    let ran = annals(&[&"sql", &path, &sql, &"--format", &"csv"]).exits(0);
    assert_eq!(ran.stdout, "position,data\r\n1,\"{\"\"amount\"\": 0}\"\r\n2,\"{\"\"amount\"\": 1}\"\r\n");
    let rows = [json!({"position": 1, "data": "{\"amount\": 0}"}), json!({"position": 2, "data": "{\"amount\": 1}"})];
    assert_eq!(annals(&[&"sql", &path, &sql, &"--format", &"json"]).exits(0).rows(), rows);
    let ran = annals(&[&"--json", &"sql", &path, &sql]).exits(0);
    assert_eq!((ran.rows(), &*ran.stderr), (rows.to_vec(), ""), "nothing for a person");
    let esc = annals(&[&"sql", &path, &"SELECT char(27) || '[2J' AS x", &"--format", &"csv"]).exits(0);
    assert_eq!(esc.stdout, "x\r\n\u{1b}[2J\r\n", "other people's data is not touched");

    let script =
        b"CREATE TEMP TABLE paid AS SELECT stream, count(*) AS n FROM events WHERE type = 'Paid' GROUP BY 1;\n\
        SELECT sum(n) AS n FROM paid; -- all of them\n;SELECT max(n) AS m FROM paid";
    let ran = annals_with(script, &[&"sql", &"--json", &path]).exits(0);
    assert_eq!(ran.rows(), [json!({"n": 50}), json!({"m": 10})]);
    // The first statement that is wrong ends it, and what was answered before is there.
    let ran = annals_with(b"SELECT 1 AS x;\nSELECT\n  y;\nSELECT 3 AS z", &[&"sql", &path]).exits(2);
    assert_eq!(ran.stdout.split_whitespace().collect::<Vec<_>>(), ["x", "1"]);
    assert!(ran.stderr.contains("no such column: y (line 3, character 3)"), "{}", ran.stderr);
    assert_eq!(annals_with(b" \n-- nothing\n", &[&"sql", &path]).exits(0).stdout, "");
}

#[test]
fn a_statement_that_is_wrong_is_shown_where_and_what_to_do() {
    let (_dir, path) = orders();
    let check = |sql: &str, line: &str| {
        let ran = annals(&[&"sql", &path, &sql]).exits(2);
        assert_eq!(ran.stdout, "", "{sql}");
        let told = ran.stderr.lines().last().unwrap_or_default();
        assert!(told.starts_with("annals: ") && told.contains(line), "{sql}: {}", ran.stderr);
        let ran = annals(&[&"--json", &"sql", &path, &sql]).exits(2);
        let told = common::rows(&ran.stderr).remove(0);
        assert_eq!((told["exit"].as_u64(), ran.stdout.len()), (Some(2), 0), "{told}");
    };
    check("SELECT * FORM events", "near \"FORM\": syntax error (line 1, character 10)");
    check("SELECT (", "incomplete input; it ends too early");
    check("SELECT 1 LIMIT 99999999999999999999", "datatype mismatch; LIMIT, OFFSET and a column that is a key");
    check("SELECT 'it", "unrecognized token: \"'it\" (line 1, character 8)");
    check(
        "SELECT amount FROM events",
        "no such column: amount (line 1, character 8); the columns are position, stream,",
    );
    check("SELECT * FROM events WHERE type = \"Paid\"", "a text stands in single quotes; the columns are");
    check("SELECT * FROM orders", "no such table: orders; the table is called events");
    check("SELECT * FROM events WHERE type = ?", "the statement has parameters");
    check("SELECT data->>'$.amount' FROM (SELECT 'x' AS data FROM events)", "json_valid(data)");
    check("SELECT nope(1)", "no such function: nope");
    let shown = annals(&[&"sql", &path, &"SELECT *\nFROM events\nWHERE tipe = 1"]).exits(2).stderr;
    assert!(
        shown.starts_with("  WHERE tipe = 1\n        ^\nannals: no such column: tipe (line 3, character 7)"),
        "{shown}"
    );
    annals(&[&"sql", &path.join("none"), &"SELECT 1"]).exits(3).says("cannot open");
    annals(&[&"sql", &path, &"SELECT 1", &"--format", &"xml"]).exits(2);
}

#[test]
fn a_nul_in_a_statement_is_refused_and_is_not_the_end_of_what_is_asked() {
    let (_dir, path) = orders();
    for sql in [&b"SELECT 1 AS x;\0SELECT 2 AS x"[..], b"SELECT count(*) FROM events \0WHERE type = 'Paid'"] {
        let ran = annals_with(sql, &[&"sql", &path]).exits(2);
        assert_eq!(ran.stdout, "");
        assert!(ran.stderr.contains("there is a NUL in the statement (line 1, character "), "{}", ran.stderr);
    }
    let made = "SELECT hex('a' || char(0)) AS x";
    assert_eq!(annals(&[&"--json", &"sql", &path, &made]).exits(0).row(), json!({"x": "6100"}));
}

#[test]
fn what_is_not_json_is_named_by_its_position_and_can_be_passed_over() {
    let dir = TempDir::new().unwrap();
    let path = dir.path().join("store");
    let store = EventStore::open(&path, &Options::new()).unwrap();
    for data in [&b"{\"n\":1}"[..], b"", b"no json", b"{\"n\":2}"] {
        store.append("s", ExpectedVersion::Any, NewEvent::new("T", data.to_vec())).unwrap();
    }
    store.close().unwrap();
    let ran = annals(&[&"sql", &path, &"SELECT data->>'$.n' FROM events"]).exits(2);
    assert!(ran.stderr.contains("malformed JSON; the event at position 3 may be the one;"), "{}", ran.stderr);
    let passed = "SELECT sum(CASE WHEN json_valid(data) THEN data->>'$.n' END) AS n FROM events";
    assert_eq!(annals(&[&"--json", &"sql", &path, &passed]).exits(0).row(), json!({"n": 3}));
}

#[test]
fn nothing_is_written_whatever_is_asked() {
    let (dir, path) = orders();
    let before = snapshot(dir.path());
    let other = dir.path().join("other.db");
    let other = other.display();
    for (sql, what) in [
        ("DELETE FROM events", "changing events"),
        ("UPDATE events SET type = 'x'", "changing events"),
        ("INSERT INTO events(stream) VALUES ('x')", "changing events"),
        ("DROP TABLE events", "changing the schema"),
        ("CREATE TABLE t(x)", "changing the schema"),
        ("CREATE TEMP TABLE t(x); CREATE TRIGGER temp.r AFTER INSERT ON t BEGIN SELECT 1; END", "this statement"),
        ("CREATE VIRTUAL TABLE temp.t USING fts5(x)", "not allowed"),
        ("CREATE VIRTUAL TABLE temp.t USING events", "not allowed"),
        (&format!("ATTACH '{other}' AS other"), "ATTACH"),
        (&format!("VACUUM INTO '{other}'"), "not allowed"),
        ("PRAGMA writable_schema = ON", "PRAGMA writable_schema = …"),
        ("PRAGMA temp_store_directory = '/'", "PRAGMA temp_store_directory"),
        ("SELECT load_extension('x')", "load_extension"),
        ("BEGIN", "a transaction"),
    ] {
        let ran = annals(&[&"sql", &path, &sql]).exits(2);
        assert!(
            ran.stderr.contains(what) && ran.stderr.contains("is not allowed: the store is only read"),
            "{sql}: {}",
            ran.stderr
        );
    }
    for sql in [
        "CREATE TEMP TABLE t(x INTEGER PRIMARY KEY, y); INSERT INTO t SELECT position, type FROM events; CREATE INDEX temp.i ON t(y); \
         UPDATE t SET y = 'z' WHERE x = 1; DELETE FROM t WHERE x = 2; DROP TABLE t",
        "CREATE TEMP VIEW v AS SELECT * FROM events WHERE type = 'Paid'; SELECT count(*) FROM v; DROP VIEW v",
        "PRAGMA table_xinfo(events)",
        "EXPLAIN SELECT 1",
    ] {
        annals(&[&"sql", &path, &sql]).exits(0);
    }
    assert_eq!(snapshot(dir.path()), before, "no file was changed or made");
}

#[test]
fn damage_ends_a_statement_with_its_position_and_never_with_fewer_rows() {
    let dir = TempDir::new().unwrap();
    let store = dir.path().join("store");
    annals(&[&"import", &"--batch", &"5", &store, &file(dir.path(), "in", lines(60))]).exits(0);
    let segment = common::only_segment(&store);
    let mut bytes = fs::read(&segment).unwrap();
    let (mut events, mut at) = (Vec::new(), 4096);
    while let Some(header) = FrameHeader::read(&bytes[at..]).filter(|header| header.len > 0) {
        if header.kind() == Some(FrameKind::Event) {
            events.push(at);
        }
        at += header.padded_len() as usize;
    }
    bytes[events[22] + 60] ^= 8;
    fs::write(&segment, bytes).unwrap();

    let ran = annals(&[&"sql", &store, &"SELECT count(*) FROM events"]).exits(1);
    assert_eq!(ran.stdout, "", "no count of fewer");
    assert!(ran.stderr.contains("positions 21 to 25"), "{}", ran.stderr);
    assert!(ran.stderr.contains("`annals verify` lists what is damaged; WHERE position > 25 reads"), "{}", ran.stderr);
    let ran = annals(&[&"--json", &"sql", &store, &"SELECT position FROM events ORDER BY position DESC"]).exits(1);
    let positions: Vec<u64> = ran.rows().iter().map(|row| row["position"].as_u64().unwrap()).collect();
    assert_eq!(positions, (26..=60).rev().collect::<Vec<_>>());
    assert_eq!(common::rows(&ran.stderr)[0]["exit"], json!(1));
    // Who asks only for what is whole is not bothered.
    let behind = "SELECT count(*) AS n FROM events WHERE position > 25";
    assert_eq!(annals(&[&"--json", &"sql", &store, &behind]).exits(0).row(), json!({"n": 35}));
}

#[test]
fn what_was_removed_is_told_in_the_footer() {
    let (_dir, path) = orders();
    annals(&[&"truncate", &path, &"--before", &"51"]).exits(0);
    let ran = annals(&[&"sql", &path, &"SELECT min(position) AS n, count(*) AS m FROM events"]).exits(0);
    assert!(ran.stdout.contains("51") && ran.stdout.contains("50"), "{}", ran.stdout);
    let removed = "(the log has 50 in 5); the log begins at position 51: what comes before it was removed\n";
    assert!(ran.stderr.ends_with(removed), "{}", ran.stderr);
    assert_eq!(
        annals(&[&"--json", &"sql", &path, &"SELECT count(*) AS n FROM events WHERE position < 51"]).exits(0).row(),
        json!({"n": 0})
    );
}

#[test]
fn what_is_appended_is_seen_by_the_next_statement_and_redacted_events_have_no_data() {
    let dir = TempDir::new().unwrap();
    let (store, clock) = by_days(&dir.path().join("store"));
    let database = Database::new(&store).unwrap();
    let count = || database.query("SELECT count(*), count(data), sum(redacted) FROM events").unwrap().rows.remove(0);
    assert_eq!(count(), [Value::Integer(0), Value::Integer(0), Value::Null]);
    for _ in 0..3 {
        clock.0.fetch_add(DAY, Ordering::Relaxed);
        store.append("s", ExpectedVersion::Any, NewEvent::new("T", "{}")).unwrap();
    }
    assert_eq!(count(), [Value::Integer(3), Value::Integer(3), Value::Integer(0)]);
    store.redact([Position::new(1)], "a slip").unwrap();
    assert_eq!(count(), [Value::Integer(4), Value::Integer(3), Value::Integer(1)]);
    // The log's own streams are rows like any other.
    let own = database.query("SELECT position FROM events WHERE stream = '$redactions'").unwrap();
    assert_eq!((own.rows.len(), own.read.events), (1, 1));
}

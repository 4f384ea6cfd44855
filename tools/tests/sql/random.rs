//! Random statements, each asked of the log and of an ordinary table with all of its events: both must answer the same.
//!
//! The ordinary table knows nothing of plans. Its rows are made here, and its order of times is looked up in a list
//! of what the texts that are asked for mean, written by hand.

use std::cmp::Ordering;
use std::collections::HashMap;

use annals::{EventStore, ExpectedVersion, NewEvent, Options, Position};
use annals_cli::sql::Database;
use rusqlite::types::Value;
use rusqlite::{Connection, params};
use tempfile::TempDir;

use crate::common::Rng;
use crate::{BEGAN, by_days};

const STREAMS: [&str; 6] = ["order-1", "order-2", "Order-1", "5", "invoice-1", "order"];
const TYPES: [&str; 5] = ["Placed", "placed", "Paid", "7", "P"];

/// Texts that stand for times, and how they compare: as these do, byte by byte.
const TIMES: [(&str, &str); 13] = [
    ("2026", "2026"),
    ("2026-11", "2026-11"),
    ("2026-11-02", "2026-11-02"),
    ("2026-11-02 06", "2026-11-02T06"),
    ("2026-11-03 00:00:00", "2026-11-03T00:00:00"),
    ("2026-11-03T00:00:00Z", "2026-11-03T00:00:00.000000000Z"),
    ("2026-11-03T02:00:00+02:00", "2026-11-03T00:00:00.000000000Z"),
    ("2026-11-03T00:00:00.000000001Z", "2026-11-03T00:00:00.000000001Z"),
    ("2026-11-04t05:00:00.5z", "2026-11-04T05:00:00.500000000Z"),
    ("2026-11-1", "2026-11-1"),
    ("later", "later"),
    ("", ""),
    ("9999-12-31T23:59:59Z", "9999-12-31T23:59:59Z"),
];

fn pick<'a>(rng: &mut Rng, of: &[&'a str]) -> &'a str {
    of[rng.below(of.len())]
}

/// A log of so many events over some days, and a table with them.
fn filled(rng: &mut Rng, path: &std::path::Path, events: usize) -> (EventStore, Connection) {
    let (store, clock) = by_days(path);
    for number in 0..events {
        // Often at the same moment, and sometimes the next day.
        let step = [0, 0, 0, 1, 3_600_000_000_000, 7 * 3_600_000_000_000][rng.below(6)];
        clock.0.fetch_add(step, std::sync::atomic::Ordering::Relaxed);
        let data = match rng.below(4) {
            0 => Vec::new(),
            1 => vec![0, 255],
            _ => format!(r#"{{"n":{}}}"#, rng.below(5)).into_bytes(),
        };
        let mut event = NewEvent::new(pick(rng, &TYPES), data);
        if rng.below(2) == 0 {
            event = event.occurred_at(BEGAN + rng.below(9).cast_signed() as i64 * 8 * 3_600_000_000_000);
        }
        if rng.below(3) == 0 {
            event = event.tag("vip").metadata(format!("[{number}]"));
        }
        store.append(pick(rng, &STREAMS), ExpectedVersion::Any, event).unwrap();
    }
    let table = Connection::open_in_memory().unwrap();
    let meaning: HashMap<&str, &str> = TIMES.into_iter().collect();
    let compare = move |one: &str, other: &str| -> Ordering {
        let meant = |text| meaning.get(text).copied().unwrap_or(text).to_owned();
        meant(one).cmp(&meant(other))
    };
    table.create_collation("TIME", compare).unwrap();
    table
        .execute_batch(
            "CREATE TABLE events(position INTEGER, stream TEXT, version INTEGER, type TEXT, id TEXT,
                recorded_at TEXT COLLATE TIME, ts TEXT COLLATE TIME, occurred_at TEXT COLLATE TIME,
                tags TEXT, metadata, data)",
        )
        .unwrap();
    let shown = |nanoseconds: i64| {
        let time = jiff::Timestamp::from_nanosecond(i128::from(nanoseconds)).unwrap();
        format!("{time:.9}")
    };
    let mut reader = store.read_all(Position::START);
    while let Some(event) = reader.next_event().unwrap() {
        let (recorded, occurred) = (shown(event.recorded_at), event.occurred_at.map(shown));
        let text_or_blob = |bytes: &[u8]| match std::str::from_utf8(bytes) {
            Ok("") => Value::Null,
            Ok(text) if !text.contains('\0') => Value::Text(text.to_owned()),
            _ => Value::Blob(bytes.to_vec()),
        };
        let tags = if event.tags.is_empty() { "[]" } else { r#"["vip"]"# };
        table
            .execute(
                "INSERT INTO events VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
                params![
                    event.position.get().cast_signed(),
                    event.stream,
                    event.version.get().cast_signed(),
                    event.event_type,
                    event.id.to_string(),
                    recorded,
                    occurred.as_ref().unwrap_or(&recorded),
                    occurred,
                    tags,
                    event.metadata.map_or(Value::Null, text_or_blob),
                    text_or_blob(event.data),
                ],
            )
            .unwrap();
    }
    (store, table)
}

/// Makes statements.
struct Asker<'a> {
    rng: &'a mut Rng,
    events: usize,
    ids: Vec<String>,
}

impl Asker<'_> {
    fn pick<'b>(&mut self, of: &[&'b str]) -> &'b str {
        pick(self.rng, of)
    }

    fn compare(&mut self) -> &'static str {
        self.pick(&["=", "<", "<=", ">", ">=", "<>", "IS", "IS NOT"])
    }

    fn number(&mut self) -> String {
        let number = self.rng.below(self.events + 4).cast_signed() - 1;
        match self.rng.below(12) {
            0 => format!("'{number}'"),
            1 => format!("{number}.5"),
            2 => format!("{number}.0"),
            3 => "NULL".to_owned(),
            4 => self
                .pick(&["1e18", "-1e18", "9223372036854775807", "-9223372036854775808", "9e999", "x'35'", "'x'", "''"])
                .to_owned(),
            5 => format!("(SELECT {number})"),
            _ => number.to_string(),
        }
    }

    fn name(&mut self, names: &[&str]) -> String {
        match self.rng.below(10) {
            0 => "NULL".to_owned(),
            1 => self.pick(&["5", "7", "7.0", "x'37'", "''", "'none'", "'$x'", "upper('p')"]).to_owned(),
            _ => format!("'{}'", self.pick(names)),
        }
    }

    fn of_names(&mut self, column: &str, names: &[&str]) -> String {
        match self.rng.below(7) {
            0 => {
                let some: Vec<String> = (0..self.rng.below(4)).map(|_| self.name(names)).collect();
                format!("{column} IN ({})", some.join(", "))
            }
            1 => format!(
                "{column} GLOB {}",
                self.pick(&["'o*'", "'order-?'", "'P*'", "'P'", "'*'", "'[pP]laced'", "NULL", "5", "''"])
            ),
            2 => format!("{column} LIKE {}", self.pick(&["'o%'", "'P%'", "'p_'", "'7'"])),
            3 => format!("{column} {} {} COLLATE NOCASE", self.compare(), self.name(names)),
            4 => format!("{column} IN (SELECT {column} FROM events WHERE position % 7 = {})", self.rng.below(7)),
            _ => format!("{column} {} {}", self.compare(), self.name(names)),
        }
    }

    fn time(&mut self) -> String {
        match self.rng.below(8) {
            0 => "NULL".to_owned(),
            1 => "(SELECT max(recorded_at) FROM events)".to_owned(),
            2 => format!("(SELECT recorded_at FROM events WHERE position = {})", self.number()),
            _ => format!("'{}'", TIMES[self.rng.below(TIMES.len())].0),
        }
    }

    fn term(&mut self) -> String {
        match self.rng.below(12) {
            0 | 1 => {
                format!("{} {} {}", self.pick(&["position", "position", "version"]), self.compare(), self.number())
            }
            2 => format!("{} {} position", self.number(), self.compare()),
            3 => format!("position BETWEEN {} AND {}", self.number(), self.number()),
            4 => format!("position IN ({}, {}, {})", self.number(), self.number(), self.number()),
            5 => self.of_names("stream", &STREAMS),
            6 => self.of_names("type", &TYPES),
            7 | 8 => format!(
                "{} {} {}",
                self.pick(&["recorded_at", "recorded_at", "ts", "occurred_at"]),
                self.compare(),
                self.time()
            ),
            9 => format!("recorded_at BETWEEN {} AND {}", self.time(), self.time()),
            10 => {
                let id = self.ids[self.rng.below(self.ids.len())].clone();
                let id = if self.rng.below(3) == 0 { id.to_uppercase() } else { id };
                format!("id {} '{id}'", self.pick(&["=", "=", "<", "IS"]))
            }
            _ => {
                let n = self.rng.below(5);
                self.pick(&["data IS NULL", "metadata IS NOT NULL", "tags = '[\"vip\"]'", "typeof(data) = 'blob'"])
                    .to_owned()
                    + &format!(" OR CASE WHEN json_valid(data) THEN data->>'$.n' END = {n}")
            }
        }
    }

    fn condition(&mut self, depth: u32) -> String {
        match self.rng.below(if depth == 0 { 1 } else { 6 }) {
            1..=3 => format!("({}) AND ({})", self.condition(depth - 1), self.condition(depth - 1)),
            4 => format!("({}) OR ({})", self.condition(depth - 1), self.condition(depth - 1)),
            5 => format!("NOT ({})", self.condition(depth - 1)),
            _ => self.term(),
        }
    }

    /// A statement, and whether the order of its rows is all determined.
    fn statement(&mut self) -> (String, bool) {
        let condition = self.condition(3);
        let direction = self.pick(&["", "DESC"]);
        match self.rng.below(10) {
            0 => (
                format!("SELECT count(*), min(position), max(recorded_at), min(ts) FROM events WHERE {condition}"),
                true,
            ),
            1 => (format!("SELECT type, count(*), max(position) FROM events WHERE {condition} GROUP BY 1"), false),
            2 => (format!("SELECT DISTINCT stream, recorded_at FROM events WHERE {condition}"), false),
            3 => {
                let max =
                    self.pick(&["max(position)", "min(position)", "max(recorded_at)", "min(recorded_at)", "max(ts)"]);
                (format!("SELECT {max} FROM events WHERE {condition}"), true)
            }
            4 => (
                format!(
                    "SELECT a.position, b.position FROM events b JOIN (SELECT * FROM events WHERE {condition}) a \
                     ON b.stream = a.stream AND b.version = a.version + 1"
                ),
                false,
            ),
            5 => (
                format!(
                    "SELECT position FROM events WHERE {condition} UNION SELECT version FROM events WHERE {}",
                    self.condition(1)
                ),
                false,
            ),
            6 => (format!("SELECT * FROM events WHERE {condition}"), false),
            7 => {
                let limit = format!("LIMIT {} OFFSET {}", self.rng.below(9), self.rng.below(9));
                let first = self.pick(&["", "recorded_at DESC, ", "recorded_at, ", "type, ", "stream DESC, "]);
                (format!("SELECT * FROM events WHERE {condition} ORDER BY {first}position {direction} {limit}"), true)
            }
            8 => (format!("SELECT * FROM events WHERE {condition} ORDER BY position {direction}"), true),
            _ => (
                format!(
                    "SELECT position, (SELECT count(*) FROM events b WHERE b.position < a.position AND b.type = a.type) \
                         FROM events a WHERE {condition} ORDER BY recorded_at {direction}, position {direction}"
                ),
                true,
            ),
        }
    }
}

fn answer(table: &Connection, sql: &str) -> Vec<Vec<Value>> {
    let mut statement = table.prepare(sql).unwrap_or_else(|error| panic!("{error}: {sql}"));
    let columns = statement.column_count();
    let rows = statement.query_map([], |row| (0..columns).map(|column| row.get(column)).collect()).unwrap();
    rows.map(|row| row.unwrap_or_else(|error| panic!("{error}: {sql}"))).collect()
}

fn sorted(mut rows: Vec<Vec<Value>>) -> Vec<Vec<Value>> {
    rows.sort_by_cached_key(|row| format!("{row:?}"));
    rows
}

fn check(seed: u64, statements: u64) -> u64 {
    let mut rng = Rng::new(seed);
    let dir = TempDir::new().unwrap();
    let events = 20 + rng.below(100);
    let (store, table) = filled(&mut rng, &dir.path().join("store"), events);
    let database = Database::new(&store).unwrap();
    let ids = answer(&table, "SELECT id FROM events").into_iter().map(|mut row| match row.remove(0) {
        Value::Text(id) => id,
        other => panic!("{other:?}"),
    });
    let ids = ids.collect();
    let mut asker = Asker { rng: &mut rng, events, ids };
    let mut less = 0;
    for number in 0..statements {
        let (sql, is_ordered) = asker.statement();
        let expected = answer(&table, &sql);
        let told = database.query(&sql).unwrap_or_else(|error| panic!("seed {seed}, {number}: {error}: {sql}"));
        less += u64::from(told.read.events < events as u64);
        if is_ordered {
            assert_eq!(told.rows, expected, "seed {seed}, statement {number}: {sql}");
        } else {
            assert_eq!(sorted(told.rows), sorted(expected), "seed {seed}, statement {number}: {sql}");
        }
    }
    less
}

#[test]
fn random_statements_get_the_answers_of_an_ordinary_table() {
    let stories = std::env::var("ANNALS_SQL_STORIES").ok().and_then(|count| count.parse().ok()).unwrap_or(12);
    let first: u64 = std::env::var("ANNALS_SQL_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or(1);
    let mut less = 0;
    for seed in first..first + stories {
        less += check(seed, 250);
    }
    println!(
        "seeds {first} to {}: {} statements, of which {less} did not read everything",
        first + stories - 1,
        stories * 250
    );
    assert!(less > stories * 50, "plans narrow what is read, or nothing is tried here");
}

#[test]
fn the_texts_of_the_list_compare_as_it_says() {
    let store = EventStore::in_memory(&Options::new()).unwrap();
    let database = Database::new(&store).unwrap();
    for (one, one_meant) in TIMES {
        for (other, other_meant) in TIMES {
            let sql = format!("SELECT '{one}' < '{other}' COLLATE TIME, '{one}' = '{other}' COLLATE TIME");
            let expected = [one_meant < other_meant, one_meant == other_meant].map(|is| Value::Integer(i64::from(is)));
            assert_eq!(database.query(&sql).unwrap().rows, [expected.to_vec()], "{sql}");
        }
    }
}

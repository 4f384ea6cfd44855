//! Real processes, killed at many moments.

use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Child, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value as Json;

use super::*;

/// A process that follows a log into a table.
pub(super) struct Follower {
    child: Child,
    steps: thread::JoinHandle<Vec<Json>>,
}

impl Follower {
    pub(super) fn start(store: &Path, table: &Path) -> Follower {
        let mut child = common::command(&[&"index", &"--json", &"--follow", &store, &"--to", &to(table)])
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let stdout = child.stdout.take().unwrap();
        let steps = thread::spawn(move || {
            // A process that is killed may leave half a line.
            let lines = BufReader::new(stdout).lines().map_while(Result::ok);
            lines.map_while(|line| serde_json::from_str(&line).ok()).collect()
        });
        Follower { child, steps }
    }

    /// Kills it; what it had told.
    pub(super) fn kill(mut self) -> Vec<Json> {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
        self.steps.join().unwrap()
    }
}

/// What is in the table is the beginning of the log, row for row, and ends where it says.
fn check_beginning(table: &Path, expected: &[Vec<Value>], told: &str) -> usize {
    // The file may not be there yet, or be empty still.
    if !table.exists() {
        return 0;
    }
    let connection = open(table);
    if number(&connection, "SELECT count(*) FROM sqlite_schema") == 0 {
        return 0;
    }
    assert_eq!(rows(&connection, "PRAGMA integrity_check"), [[Value::Text("ok".to_owned())]], "{told}");
    let found = rows(&connection, &format!("SELECT {COLUMNS} FROM events ORDER BY position"));
    assert_eq!(number(&connection, "SELECT position FROM annals_index"), found.len() as u64, "{told}");
    assert!(found.len() <= expected.len(), "{told}");
    for (found, expected) in found.iter().zip(expected) {
        assert_eq!(found, expected, "{told}");
    }
    found.len()
}

fn expected(store: &Path) -> Vec<Vec<Value>> {
    let database = Database::new(&EventStore::open_read_only(store).unwrap()).unwrap();
    database.query(&format!("SELECT {COLUMNS} FROM events ORDER BY position")).unwrap().rows
}

#[test]
fn a_run_that_is_killed_at_any_moment_loses_and_doubles_nothing() {
    const EVENTS: u64 = 3000;
    let (_dir, store, table) = filled(EVENTS);
    let expected = expected(&store);
    // How long a whole run takes here, so that the kills fall into it.
    let began = Instant::now();
    index(&store, &table, &["--batch", "25"]).exits(0);
    let whole = began.elapsed();
    let seed = 20_261_122;
    let mut rng = Rng::new(seed);
    let (mut kills, mut between) = (0, 0);
    for round in 0..6 {
        fs::remove_file(&table).unwrap();
        loop {
            let mut child = common::command(&[&"index", &store, &"--to", &to(&table), &"--batch", &"25"])
                .stdout(Stdio::null())
                .stderr(Stdio::null())
                .spawn()
                .unwrap();
            thread::sleep(whole * rng.below(1000) as u32 / 2500 + Duration::from_micros(rng.below(3000) as u64));
            let ended = child.try_wait().unwrap();
            child.kill().unwrap();
            let is_done = ended.is_some_and(|status| status.success());
            assert!(ended.is_none() || is_done, "seed {seed}, round {round}: {ended:?}");
            child.wait().unwrap();
            kills += u32::from(ended.is_none());
            let found = check_beginning(&table, &expected, &format!("seed {seed}, round {round}, kill {kills}"));
            between += u32::from(0 < found && found < EVENTS as usize);
            if is_done {
                assert_eq!(found, EVENTS as usize);
                break;
            }
        }
    }
    println!("{kills} kills, {between} of them left a part");
    assert!(kills >= 10 && between >= 5, "{kills} kills, {between} of them left a part");
}

#[test]
fn a_follower_that_is_killed_and_started_again_beside_a_writer_has_everything_once() {
    let dir = TempDir::new().unwrap();
    let (path, table) = (dir.path().join("store"), dir.path().join("table.db"));
    let options = Options::new().segment_bytes(64 * 1024).durability(Durability::Buffered);
    let store = EventStore::open(&path, &options).unwrap();
    let seed = 7;
    let mut rng = Rng::new(seed);
    let mut appended = 0_u64;
    for _ in 0..25 {
        let follower = Follower::start(&path, &table);
        let pause = Duration::from_millis(rng.below(40) as u64);
        let until = Instant::now() + pause;
        while Instant::now() < until {
            appended += 1;
            let data = format!(r#"{{"n":{appended}}}"#);
            store.append(format!("s-{}", appended % 5), ExpectedVersion::Any, NewEvent::new("T", data)).unwrap();
            if appended.is_multiple_of(50) {
                store.flush().unwrap();
            }
        }
        follower.kill();
        check_beginning(&table, &expected(&path), &format!("seed {seed}, {appended} appended"));
    }
    store.close().unwrap();
    index(&path, &table, &[]).exits(0);
    assert_eq!(check_rows(&path, &table) as u64, appended);
}

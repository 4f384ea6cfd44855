//! `annals index --to parquet:DIR`: what stands in the files, and that whoever reads the folder sees the beginning of the log.

use std::ffi::OsStr;
use std::fmt::Write as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use annals::{Clock, Durability};
use annals_cli::tables::{IndexOptions, index_parquet};
use common::power::{Files, put};
use common::schemas::register;
use common::{Ran, Rng, snapshot};
use serde_json::{Value as Json, json};

use super::*;

pub(super) fn to(table: &Path) -> String {
    format!("parquet:{}", table.display())
}

/// Runs `annals index` with more arguments.
pub(super) fn index(store: &Path, table: &Path, more: &[&str]) -> Ran {
    let to = to(table);
    let mut args: Vec<&dyn AsRef<OsStr>> = vec![&"index", &"--json", &store, &"--to", &to];
    args.extend(more.iter().map(|arg| arg as &dyn AsRef<OsStr>));
    annals(&args)
}

/// The files that a program finds that knows nothing of `annals`, in their order: none whose name begins with `_`.
pub(super) fn files(table: &Path) -> Vec<PathBuf> {
    let mut found: Vec<PathBuf> = snapshot(table).into_keys().collect();
    found.retain(|path| !path.file_name().unwrap().to_string_lossy().starts_with('_'));
    // By day and position.
    found.sort();
    found
}

/// The rows that such a program reads.
pub(super) fn rows(table: &Path) -> Vec<Vec<Value>> {
    files(table).iter().flat_map(|path| read_parquet(path).1).flat_map(|batch| rows_of(&batch)).collect()
}

pub(super) fn manifest(table: &Path) -> Json {
    serde_json::from_slice(&fs::read(table.join("_annals_index.json")).unwrap()).unwrap()
}

/// What is in the folder is what `annals sql` says, from a position on, and nothing is left over; how many rows.
#[track_caller]
pub(super) fn check_rows(store: &Path, table: &Path) -> usize {
    let (found, expected) = (rows(table), said_by_sql(store, 1));
    for (found, expected) in found.iter().zip(&expected) {
        assert_eq!(found, expected);
    }
    assert_eq!(found.len(), expected.len());
    check_folder(table);
    found.len()
}

/// The manifest and the files say the same, and no file is left over.
#[track_caller]
pub(super) fn check_folder(table: &Path) {
    let manifest = manifest(table);
    let listed = |file: &Json| {
        let name = format!("day={}/{:020}.parquet", file["day"].as_str().unwrap(), file["first"].as_u64().unwrap());
        table.join(name)
    };
    let listed: Vec<PathBuf> = manifest["files"].as_array().unwrap().iter().map(listed).collect();
    assert_eq!(files(table), listed);
    for (path, file) in listed.iter().zip(manifest["files"].as_array().unwrap()) {
        let (schema, batches) = read_parquet(path);
        let metadata = schema.metadata();
        assert_eq!(metadata["annals.log_id"], manifest["log_id"].as_str().unwrap());
        assert_eq!(metadata["annals.last_position"], file["last"].to_string(), "{}", path.display());
        assert_eq!(json!(batches.iter().map(RecordBatch::num_rows).sum::<usize>()), file["rows"], "{}", path.display());
    }
    let unfinished = snapshot(table).into_keys().filter(|path| path.to_string_lossy().ends_with(".tmp"));
    assert_eq!(unfinished.count(), 0);
    assert_eq!(manifest.get("building"), None, "it is whole");
}

/// A clock that is set.
#[derive(Debug, Default)]
pub(super) struct Set(AtomicI64);

impl Clock for Set {
    fn now(&self) -> i64 {
        self.0.load(Ordering::Relaxed)
    }
}

impl Set {
    pub(super) fn to_hour(&self, hour: i64) {
        self.0.store(hour * 3_600_000_000_000 + 1, Ordering::Relaxed);
    }
}

/// A store whose clock is set.
pub(super) fn clocked(path: &Path) -> (EventStore, Arc<Set>) {
    let clock = Arc::new(Set::default());
    let options = Options::new().segment_bytes(64 * 1024).durability(Durability::Buffered);
    (EventStore::open(path, &options.clock(Arc::clone(&clock) as Arc<dyn Clock>)).unwrap(), clock)
}

#[test]
fn the_files_have_what_sql_says_of_each_event() {
    let (dir, store) = filled_with_all_sorts(500);
    let table = dir.path().join("table");
    let done = index(&store, &table, &[]).exits(0).row();
    let events = check_rows(&store, &table);
    assert_eq!(done, json!({"table": table, "events": events, "position": events, "quarantined": 0}));
    let ran = annals(&[&"index", &store, &"--to", &to(&table)]).exits(0);
    assert_eq!(ran.stdout, format!("indexed: 0 events into {}, up to position {events}.\n", table.display()));
    annals(&[&"index", &store, &"--to", &to(&table.join("none/none"))]).exits(3).says("cannot open");
}

#[test]
fn each_day_of_recording_has_a_folder_and_the_last_file_of_a_day_grows_while_it_is_small() {
    let dir = TempDir::new().unwrap();
    let (path, table) = (dir.path().join("store"), dir.path().join("table"));
    let (store, clock) = clocked(&path);
    for hour in 0..60 {
        clock.to_hour(hour);
        for number in 0..5 {
            store.append("s", ExpectedVersion::Any, NewEvent::new("T", format!("{number}"))).unwrap();
        }
        if hour % 7 == 0 {
            store.flush().unwrap();
            index(&path, &table, &[]).exits(0);
        }
    }
    store.close().unwrap();
    index(&path, &table, &[]).exits(0);
    assert_eq!(check_rows(&path, &table), 300);
    let names: Vec<String> =
        files(&table).iter().map(|path| path.strip_prefix(&table).unwrap().display().to_string()).collect();
    assert_eq!(
        names,
        [
            "day=1970-01-01/00000000000000000001.parquet",
            "day=1970-01-02/00000000000000000121.parquet",
            "day=1970-01-03/00000000000000000241.parquet",
        ]
    );
}

#[test]
fn a_file_that_is_large_enough_does_not_grow() {
    let (dir, store) = filled(1);
    let table = dir.path().join("table");
    annals(&[&"import", &"--source", &"2", &store, &file(dir.path(), "more", lines(80_000))]).exits(0);
    index(&store, &table, &["--batch", "10000"]).exits(0);
    let files =
        manifest(&table)["files"].as_array().unwrap().iter().map(|file| file["rows"].clone()).collect::<Vec<_>>();
    assert_eq!(files, [json!(40_000), json!(40_000), json!(1)]);
    check_rows(&store, &table);
}

#[test]
fn a_second_run_adds_what_is_new_and_nothing_else() {
    let (dir, store) = filled(300);
    let table = dir.path().join("table");
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
    assert_eq!(files(&table).len(), 1);
}

#[test]
fn an_empty_log_yields_no_file_and_is_filled_later() {
    let dir = TempDir::new().unwrap();
    let (path, table) = (dir.path().join("store"), dir.path().join("table"));
    EventStore::open(&path, &Options::new()).unwrap().close().unwrap();
    assert_eq!(index(&path, &table, &[]).exits(0).row()["events"], 0);
    assert_eq!((files(&table).len(), manifest(&table)["position"].clone()), (0, json!(0)));
    annals(&[&"import", &path, &file(dir.path(), "in", lines(3))]).exits(0);
    assert_eq!(index(&path, &table, &[]).exits(0).row()["events"], 3);
    check_rows(&path, &table);
}

#[test]
fn what_is_redacted_after_it_was_in_a_file_is_gone_from_it() {
    let dir = TempDir::new().unwrap();
    let (path, table) = (dir.path().join("store"), dir.path().join("table"));
    let (store, clock) = clocked(&path);
    for number in 0..40 {
        clock.to_hour(number * 2);
        let data = format!(r#"{{"n":{number},"to":"5 Elm Street"}}"#);
        store.append("customer-7", ExpectedVersion::Any, NewEvent::new("Moved", data.clone()).metadata(data)).unwrap();
    }
    store.flush().unwrap();
    index(&path, &table, &[]).exits(0);
    let secrets = || rows(&table).iter().filter(|row| format!("{:?}", row[10]).contains("Elm Street")).count();
    assert_eq!(secrets(), 40);
    let untouched = fs::read(&files(&table)[1]).unwrap();
    store.redact([1, 2, 30].map(Position::new), "request 4711").unwrap();
    store.close().unwrap();
    index(&path, &table, &[]).exits(0);
    assert_eq!(secrets(), 37);
    check_rows(&path, &table);
    assert_eq!(fs::read(&files(&table)[1]).unwrap(), untouched, "only the files that have it are written");
}

#[test]
fn what_is_removed_from_the_log_stays_in_the_table_and_what_was_never_in_it_is_named() {
    let (dir, store) = filled(500);
    let table = dir.path().join("table");
    index(&store, &table, &[]).exits(0);
    let input = file(dir.path(), "in2", lines(2000));
    annals(&[&"import", &"--segment-bytes", &"65536", &"--batch", &"10", &"--source", &"2", &store, &input]).exits(0);
    annals(&[&"truncate", &store, &"--before", &"1500"]).exits(0);
    let oldest = annals(&[&"stats", &"--json", &store]).exits(0).row()["oldest"].as_u64().unwrap();
    assert!(oldest > 501, "{oldest}");
    let before = snapshot(&table);
    let ran = annals(&[&"index", &store, &"--to", &to(&table)]).exits(1);
    ran.says(&format!("has come to position 500, and the log begins at position {oldest}"));
    assert_eq!(snapshot(&table), before);
    index(&store, &table, &["--rebuild-beside"]).exits(0);
    assert_eq!(check_rows(&store, &table) as u64, 2500 - (oldest - 1));
    let input = file(dir.path(), "in3", lines(20));
    annals(&[&"import", &"--source", &"3", &store, &input]).exits(0);
    assert_eq!(index(&store, &table, &[]).exits(0).row()["events"], 20);
    let newest = annals(&[&"stats", &"--json", &store]).exits(0).row()["head"].as_u64().unwrap();
    annals(&[&"truncate", &store, &"--before", &newest.to_string()]).exits(0);
    index(&store, &table, &[]).exits(0);
    assert_eq!(rows(&table).len() as u64, newest - (oldest - 1), "what was in it stays");
}

#[test]
fn two_runs_at_once_do_everything_once() {
    let (dir, store) = filled(3000);
    let table = dir.path().join("table");
    std::thread::scope(|scope| {
        let run = || index(&store, &table, &["--batch", "100"]).exits(0);
        let runs: Vec<_> = (0..3).map(|_| scope.spawn(run)).collect();
        let done: u64 = runs.into_iter().map(|run| run.join().unwrap().row()["events"].as_u64().unwrap()).sum();
        assert_eq!(done, 3000);
    });
    check_rows(&store, &table);
}

/// The states of a table after each step, made with a callback that ends the run there.
pub(super) fn states(store: &EventStore, table: &Path, batch: u64) -> Vec<Files> {
    let mut states = Vec::new();
    loop {
        let mut steps = 0;
        let done = index_parquet(store, table, &IndexOptions::new().batch(batch), &mut |_| {
            steps += 1;
            false
        });
        done.unwrap();
        states.push(snapshot(table));
        if steps == 0 || states.len() > 1 && states[states.len() - 1] == states[states.len() - 2] {
            return states;
        }
    }
}

#[test]
fn a_step_that_is_killed_behind_any_of_its_files_shows_the_beginning_of_the_log_and_is_made_anew() {
    let dir = TempDir::new().unwrap();
    let (path, table) = (dir.path().join("store"), dir.path().join("table"));
    let (store, clock) = clocked(&path);
    let mut rng = Rng::new(5);
    for number in 0..120 {
        clock.to_hour(number);
        let event = NewEvent::new("T", format!(r#"{{"n":{number}}}"#));
        store.append("s", ExpectedVersion::Any, event).unwrap();
        if number > 10 && rng.below(12) == 0 {
            _ = store.redact([Position::new(1 + rng.below(10) as u64)], "a slip");
        }
    }
    store.flush().unwrap();
    let expected = said_by_sql(&path, 1);
    // Steps of more than a day, so that they have several files.
    let states = states(&store, &table, 37);
    assert!(states.len() > 3, "{}", states.len());
    let (mut moments, mut several) = (0, 0);
    for pair in states.windows(2) {
        let (before, after) = (&pair[0], &pair[1]);
        let is_rows = |path: &&PathBuf| path.extension().is_some_and(|end| end == "parquet");
        let changed: Vec<&PathBuf> =
            after.keys().filter(is_rows).filter(|path| before.get(*path) != after.get(*path)).collect();
        several += u32::from(changed.len() > 1);
        for renamed in 0..=changed.len() {
            let mut now = before.clone();
            for (number, path) in changed.iter().enumerate() {
                if number < renamed {
                    now.insert((*path).clone(), after[*path].clone());
                } else {
                    let name = path.file_name().unwrap().to_string_lossy();
                    now.insert(path.with_file_name(format!("_{name}.x1y2z3.tmp")), after[*path].clone());
                }
            }
            now.insert(table.join("_lock"), b"\0".to_vec());
            put(&table, &now);
            // A program that knows nothing of the manifest sees a beginning of the log, each row once.
            let seen: Vec<Value> = rows(&table).iter().map(|row| row[0].clone()).collect();
            assert_eq!(
                seen,
                (1..).take(seen.len()).map(Value::Integer).collect::<Vec<_>>(),
                "{renamed} of {changed:?}"
            );
            index_parquet(&store, &table, &IndexOptions::new().batch(50), &mut |_| true).unwrap();
            let found = rows(&table);
            assert!(found == expected, "{renamed} of {changed:?}");
            check_folder(&table);
            moments += 1;
        }
    }
    println!("{moments} moments, {several} steps of several files");
    assert!(several >= 2, "{several} steps of several files, {moments} moments");
}

#[test]
fn a_step_that_was_not_finished_is_taken_back_also_where_the_log_ends_before_it() {
    let (dir, store) = filled(50);
    let (table, backup, restored) = (dir.path().join("table"), dir.path().join("backup"), dir.path().join("restored"));
    index(&store, &table, &[]).exits(0);
    let before = fs::read(table.join("_annals_index.json")).unwrap();
    annals(&[&"backup", &store, &backup]).exits(0);
    annals(&[&"import", &"--source", &"2", &store, &file(dir.path(), "more", lines(10))]).exits(0);
    index(&store, &table, &[]).exits(0);
    fs::write(table.join("_annals_index.json"), before).unwrap();
    assert_eq!(rows(&table).len(), 60, "the file has grown, and that was not said");
    // The machine is gone, and the log is that of the backup.
    annals(&[&"restore", &backup, &restored]).exits(0);
    assert_eq!(index(&restored, &table, &[]).exits(0).row()["events"], 0);
    assert_eq!(check_rows(&restored, &table), 50);
}

#[test]
fn a_run_that_is_killed_at_any_moment_loses_and_doubles_nothing() {
    // A step has the files of several days.
    const EVENTS: usize = 2000;
    let dir = TempDir::new().unwrap();
    let (store, table) = (dir.path().join("store"), dir.path().join("table"));
    let (writer, clock) = clocked(&store);
    for number in 0..EVENTS {
        clock.to_hour(i64::try_from(number).unwrap());
        writer.append("s", ExpectedVersion::Any, NewEvent::new("T", format!(r#"{{"n":{number}}}"#))).unwrap();
        // The types of what is there change in the middle of it.
        match number {
            500 | 1100 => register(&writer, "T", 1, &json!({"n": {"type": "string"}})),
            1500 => register(&writer, "T", 2, &json!({"n": {"type": "integer"}})),
            _ => {}
        }
    }
    writer.close().unwrap();
    let expected = said_by_sql(&store, 1);
    let began = std::time::Instant::now();
    index(&store, &table, &["--batch", "100"]).exits(1);
    let whole = began.elapsed();
    let views = super::views::said(&table);
    let mut rng = Rng::new(20_261_122);
    let (mut kills, mut between) = (0, 0);
    for round in 0..3 {
        fs::remove_dir_all(&table).unwrap();
        loop {
            let mut child = common::command(&[&"index", &store, &"--to", &to(&table), &"--batch", &"100"])
                .stdout(Stdio::null())
                .stderr(Stdio::null())
                .spawn()
                .unwrap();
            std::thread::sleep(whole * rng.below(1000) as u32 / 2500 + Duration::from_micros(rng.below(3000) as u64));
            let ended = child.try_wait().unwrap();
            child.kill().unwrap();
            child.wait().unwrap();
            // It ends with 1 where it has put something into quarantine.
            assert!(ended.is_none_or(|status| status.code().is_some_and(|code| code < 2)), "round {round}: {ended:?}");
            kills += u32::from(ended.is_none());
            let found = if table.exists() { rows(&table) } else { Vec::new() };
            assert!(found == expected[..found.len()], "round {round}, kill {kills}: {} rows", found.len());
            between += u32::from(!found.is_empty() && found.len() < expected.len());
            if ended.is_some() {
                assert_eq!(found.len(), expected.len());
                check_folder(&table);
                assert_eq!(super::views::said(&table), views);
                break;
            }
        }
    }
    println!("{kills} kills, {between} of them left a part");
    assert!(kills >= 5 && between >= 3, "{kills} kills, {between} of them left a part");
}

/// Appends, redacts, removes, runs, rebuilds, in any order: the table is what the log said, and never less.
#[test]
fn after_any_story_the_table_is_what_sql_says_of_what_the_log_still_has() {
    for seed in 0..6 {
        let mut rng = Rng::new(seed);
        let dir = TempDir::new().unwrap();
        let (path, table) = (dir.path().join("store"), dir.path().join("table"));
        let (store, clock) = clocked(&path);
        let (mut indexed, mut told, mut hour) = (0, String::new(), 0_i64);
        for _ in 0..25 {
            match rng.below(8) {
                0..=3 => {
                    hour += i64::try_from(rng.below(20)).unwrap();
                    clock.to_hour(hour);
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
        let oldest = store.oldest().get();
        let mut found = rows(&table);
        let first = found.first().map(|row| row[0].clone());
        found.retain(|row| matches!(row[0], Value::Integer(at) if at >= oldest.cast_signed()));
        assert!(found == said_by_sql(&path, oldest), "seed {seed}:{told}");
        // What is older is as it was, and without a gap.
        if let Some(Value::Integer(first)) = first {
            let positions: Vec<Value> = rows(&table).iter().map(|row| row[0].clone()).collect();
            let dense: Vec<Value> = (first..).take(positions.len()).map(Value::Integer).collect();
            assert!(positions == dense, "seed {seed}:{told}");
        }
        check_folder(&table);
    }
}

//! Bad input: other logs, other files, damage on either side. Nothing is changed, and it is said what to do.

use annals_codec::{FrameHeader, FrameKind};

use super::*;

/// The run must end with exit code 1, say this in one line, and leave the file as it was.
#[track_caller]
fn check_refused(store: &Path, table: &Path, said: &str) {
    let before = fs::read(table).unwrap();
    annals(&[&"index", &store, &"--to", &to(table)]).exits(1).says(said);
    assert_eq!(fs::read(table).unwrap(), before, "{said}");
    let error = common::rows(&index(store, table, &[]).exits(1).stderr).remove(0);
    assert!(error["next"].as_str().is_some(), "it says what to do: {error}");
}

#[test]
fn a_table_of_another_log_is_refused() {
    let (_dir, store, table) = filled(20);
    index(&store, &table, &[]).exits(0);
    let (_other, strange, _) = filled(20);
    check_refused(&strange, &table, "the table was made in another history of the log: its log is ");
    index(&strange, &table, &["--rebuild-beside"]).exits(0);
    check_rows(&strange, &table);
    check_refused(&store, &table, "another history");
}

#[test]
fn a_table_of_another_history_of_the_log_is_refused_and_of_one_that_is_longer() {
    let (dir, store, table) = filled(100);
    let backup = dir.path().join("backup");
    annals(&[&"backup", &store, &backup]).exits(0);
    annals(&[&"import", &"--source", &"2", &store, &file(dir.path(), "more", lines(50))]).exits(0);
    index(&store, &table, &[]).exits(0);
    // An older backup: shorter than the table.
    let restored = dir.path().join("restored");
    annals(&[&"restore", &backup, &restored]).exits(0);
    check_refused(
        &restored,
        &table,
        "position 150 lies beyond the head of the log, 100: was an older backup restored?",
    );
    // It goes on otherwise.
    annals(&[&"import", &"--source", &"3", &restored, &file(dir.path(), "other", lines(70))]).exits(0);
    check_refused(&restored, &table, "another batch was written at position 150");
    // A table of the common beginning fits to both.
    let early = dir.path().join("early.db");
    index(&backup, &early, &[]).exits(0);
    index(&restored, &early, &[]).exits(0);
    check_rows(&restored, &early);
}

#[test]
fn what_is_no_table_of_this_version_is_refused_and_not_replaced() {
    let (dir, store, table) = filled(50);
    let other = dir.path().join("other.db");
    Connection::open(&other).unwrap().execute_batch("CREATE TABLE mine(x); INSERT INTO mine VALUES (1)").unwrap();
    check_refused(&store, &other, "is a database of somebody else");
    let text = file(dir.path(), "notes.txt", "a text that somebody has written, and wants to keep".repeat(50));
    check_refused(&store, &text, "is no SQLite database, or damaged at its beginning");
    for path in [&other, &text] {
        let before = fs::read(path).unwrap();
        index(&store, path, &["--rebuild-beside"]).exits(1);
        assert_eq!(fs::read(path).unwrap(), before);
    }
    annals(&[&"index", &store, &"--to", &to(dir.path())]).exits(1).says("is a directory");

    index(&store, &table, &[]).exits(0);
    for (version, what) in [(1, "of version 1, and this program makes version 2"), (3, "of version 3")] {
        open(&table).execute_batch(&format!("PRAGMA user_version = {version}")).unwrap();
        check_refused(&store, &table, what);
    }
    index(&store, &table, &["--rebuild-beside"]).exits(0);
    check_rows(&store, &table);
}

#[test]
fn a_damaged_table_is_refused_and_made_anew() {
    let (_dir, store, table) = filled(2000);
    index(&store, &table, &[]).exits(0);
    let whole = fs::read(&table).unwrap();
    let spoil = |from: usize, to: usize| {
        let mut bytes = whole.clone();
        bytes[from..to].fill(0x5a);
        fs::write(&table, bytes).unwrap();
    };
    // The pages behind the first, on which the tables begin.
    spoil(8192, 5 * 8192);
    check_refused(&store, &table, "is damaged: ");
    index(&store, &table, &["--rebuild-beside"]).exits(0);
    check_rows(&store, &table);
    // Cut off.
    fs::write(&table, &whole[..whole.len() / 2]).unwrap();
    check_refused(&store, &table, "is damaged: ");
    index(&store, &table, &["--rebuild-beside"]).exits(0);
    check_rows(&store, &table);
    // Somebody has written to it.
    for (sql, said) in [
        ("DELETE FROM events WHERE position > 1990", "it has come to position 2000, and its rows end at 1990"),
        ("UPDATE annals_index SET position = 1990", "what it says of its position cannot be read"),
        ("DROP TABLE annals_index", "no such table"),
    ] {
        open(&table).execute_batch(sql).unwrap();
        check_refused(&store, &table, said);
        index(&store, &table, &["--rebuild-beside"]).exits(0);
        check_rows(&store, &table);
    }
}

/// Damages the event of this number, from 0, in a segment; gives the bytes that were there before.
fn damage(segment: &Path, number: usize) -> Vec<u8> {
    let whole = fs::read(segment).unwrap();
    let (mut events, mut at) = (Vec::new(), 4096);
    while let Some(header) = FrameHeader::read(&whole[at..]).filter(|header| header.len > 0) {
        if header.kind() == Some(FrameKind::Event) {
            events.push(at);
        }
        at += header.padded_len() as usize;
    }
    let mut bytes = whole.clone();
    bytes[events[number] + 60] ^= 8;
    fs::write(segment, bytes).unwrap();
    whole
}

/// A store of 60 events in batches of 5, in one segment that is damaged in the batch of positions 21 to 25; and its bytes when
/// it was whole.
fn damaged() -> (TempDir, PathBuf, PathBuf, PathBuf, Vec<u8>) {
    let dir = TempDir::new().unwrap();
    let store = dir.path().join("store");
    annals(&[&"import", &"--batch", &"5", &store, &file(dir.path(), "in", lines(60))]).exits(0);
    let segment = common::only_segment(&store);
    let whole = damage(&segment, 22);
    let table = dir.path().join("table.db");
    (dir, store, table, segment, whole)
}

fn quarantined(table: &Path) -> Vec<u64> {
    let rows = rows(&open(table), "SELECT position, reason FROM quarantine ORDER BY 1");
    let position = |row: &Vec<Value>| match &row[..] {
        [Value::Integer(position), Value::Text(reason)] if reason.contains("damaged at offset") => {
            position.cast_unsigned()
        }
        other => panic!("{other:?}"),
    };
    rows.iter().map(position).collect()
}

#[test]
fn damage_in_the_log_goes_into_quarantine_and_is_mended_when_the_file_is_brought_back() {
    let (_dir, store, table, segment, whole) = damaged();
    let row = index(&store, &table, &[]).exits(1).row();
    assert_eq!((&row["events"], &row["position"], &row["quarantined"]), (&json!(55), &json!(60), &json!(5)));
    assert_eq!(quarantined(&table), [21, 22, 23, 24, 25]);
    let ran = annals(&[&"index", &store, &"--to", &to(&table)]).exits(0);
    assert!(ran.stdout.starts_with("indexed: 0 events"), "what is known is no news: {}", ran.stdout);
    assert_eq!(quarantined(&table), [21, 22, 23, 24, 25]);

    fs::write(&segment, whole).unwrap();
    assert_eq!(index(&store, &table, &[]).exits(0).row()["events"], 5);
    assert_eq!(quarantined(&table), [0; 0]);
    assert_eq!(check_rows(&store, &table), 60);
}

#[test]
fn an_event_that_can_be_read_again_and_is_bad_in_itself_stays_in_quarantine_for_that() {
    let dir = TempDir::new().unwrap();
    let (path, table) = (dir.path().join("store"), dir.path().join("table.db"));
    let store = EventStore::open(&path, &Options::new()).unwrap();
    for data in ["{}", "{", "{}"] {
        store.append("s", ExpectedVersion::Any, NewEvent::new("T", data).content_type(ContentType::JSON)).unwrap();
    }
    store.close().unwrap();
    let segment = common::only_segment(&path);
    let whole = damage(&segment, 1);
    index(&path, &table, &[]).exits(1);
    assert_eq!(quarantined(&table), [2]);
    fs::write(&segment, whole).unwrap();
    let row = index(&path, &table, &[]).exits(1).row();
    assert_eq!((&row["events"], &row["quarantined"]), (&json!(1), &json!(1)));
    let found = rows(&open(&table), "SELECT position, reason FROM quarantine");
    let [Value::Integer(2), Value::Text(reason)] = &found[0][..] else { panic!("{found:?}") };
    assert!(found.len() == 1 && reason.starts_with("its data is said to be JSON, and is not"), "{found:?}");
    assert_eq!(check_rows(&path, &table), 3);
}

#[test]
fn a_damaged_end_of_the_log_is_in_quarantine_as_long_as_it_is_there() {
    let (_dir, path, table) = filled(3);
    index(&path, &table, &[]).exits(0);
    let (segment, watermark) = (common::only_segment(&path), path.join("WATERMARK"));
    let before = [&segment, &watermark].map(|file| fs::read(file).unwrap());
    let store = EventStore::open(&path, &Options::new()).unwrap();
    store.append("s", ExpectedVersion::Any, NewEvent::new("T", "{}")).unwrap();
    store.close().unwrap();
    damage(&segment, 3);
    // There is nothing new but that it cannot be read.
    for known in [false, true] {
        let row = index(&path, &table, &[]).exits(1).row();
        assert_eq!(
            (&row["events"], &row["position"], &row["quarantined"]),
            (&json!(0), &json!(3), &json!(1)),
            "{known}"
        );
        assert_eq!(number(&open(&table), "SELECT position FROM quarantine"), 4);
    }
    // As it was before the fourth event: then nothing is new either.
    for (file, bytes) in [&segment, &watermark].into_iter().zip(before) {
        fs::write(file, bytes).unwrap();
    }
    assert_eq!(index(&path, &table, &[]).exits(0).row()["quarantined"], 0);
    assert_eq!(number(&open(&table), "SELECT count(*) FROM quarantine"), 0);
    check_rows(&path, &table);
}

#[test]
fn damage_in_the_log_ends_the_run_if_it_is_told_to_stop_and_what_comes_before_is_there() {
    let (_dir, store, table, segment, whole) = damaged();
    for _ in 0..2 {
        let ran = annals(&[&"index", &store, &"--to", &to(&table), &"--on-bad", &"stop"]).exits(1);
        ran.says("positions 21 to 25").says("--on-bad quarantine goes on behind it");
        assert_eq!(number(&open(&table), "SELECT position FROM annals_index"), 20);
        assert_eq!(number(&open(&table), "SELECT count(*) FROM events"), 20);
        assert_eq!(quarantined(&table), [0; 0]);
    }
    fs::write(&segment, whole).unwrap();
    assert_eq!(index(&store, &table, &["--on-bad", "stop"]).exits(0).row()["events"], 40);
    check_rows(&store, &table);
}

#[test]
fn damage_inside_a_sealed_segment_is_told_apart_from_the_events_around_it() {
    let (_dir, store, table) = filled(3000);
    let mut segments: Vec<PathBuf> =
        fs::read_dir(store.join("seg")).unwrap().map(|entry| entry.unwrap().path()).collect();
    segments.sort();
    assert!(segments.len() > 3);
    let whole = fs::read(&segments[1]).unwrap();
    let mut bytes = whole.clone();
    bytes[20_000] ^= 1;
    fs::write(&segments[1], bytes).unwrap();
    let row = index(&store, &table, &["--batch", "7"]).exits(1).row();
    let bad = quarantined(&table);
    assert!(!bad.is_empty() && bad.len() < 100, "{bad:?}");
    assert_eq!((row["events"].as_u64().unwrap(), &row["position"]), (3000 - bad.len() as u64, &json!(3000)));
    assert_eq!(number(&open(&table), "SELECT count(*) FROM events"), 3000 - bad.len() as u64);
    // One that stops has all before it, and the position is one whose history can be told.
    let other = table.with_extension("other");
    let ran = index(&store, &other, &["--on-bad", "stop", "--batch", "7"]).exits(1);
    assert!(
        ran.stderr.contains(&format!("position {}", bad[0])) || ran.stderr.contains(&format!("positions {}", bad[0]))
    );
    let reached = number(&open(&other), "SELECT position FROM annals_index");
    assert!(reached < bad[0] && bad[0] - reached <= 20, "{reached} {bad:?}");
    fs::write(&segments[1], whole).unwrap();
    for table in [&table, &other] {
        index(&store, table, &[]).exits(0);
        check_rows(&store, table);
    }
}

#[test]
fn an_event_that_says_it_is_json_and_is_not_is_named_and_the_others_are_there() {
    let dir = TempDir::new().unwrap();
    let (path, table) = (dir.path().join("store"), dir.path().join("table.db"));
    let store = EventStore::open(&path, &Options::new()).unwrap();
    for (data, content_type) in [
        ("{\"n\":1}", ContentType::JSON),
        ("{\"n\":", ContentType::JSON),
        ("no json", ContentType::TEXT),
        ("", ContentType::JSON),
        ("{\"n\":5}", ContentType::JSON),
    ] {
        store.append("s", ExpectedVersion::Any, NewEvent::new("T", data).content_type(content_type)).unwrap();
    }
    let ran = annals(&[&"index", &path, &"--to", &to(&table), &"--on-bad", &"stop"]).exits(1);
    ran.says("the event at position 2: its data is said to be JSON, and is not: EOF");
    assert_eq!(number(&open(&table), "SELECT count(*) FROM events"), 1);
    let ran = annals(&[&"index", &path, &"--to", &to(&table)]).exits(1);
    assert!(ran.stderr.contains("position 2 goes into quarantine: its data is said to be JSON"), "{}", ran.stderr);
    assert!(ran.stdout.ends_with("up to position 5; 1 event put into quarantine.\n"), "{}", ran.stdout);
    check_rows(&path, &table);
    // With it, what is asked can be asked.
    let ask = "SELECT sum(data->>'$.n') FROM events WHERE content_type = 1 AND position NOT IN (SELECT position FROM quarantine)";
    assert_eq!(number(&open(&table), ask), 6);
    // It is an event like any other, and can be redacted: then nothing is wrong with it.
    store.redact([Position::new(2)], "a slip").unwrap();
    store.close().unwrap();
    index(&path, &table, &[]).exits(0);
    assert_eq!(number(&open(&table), "SELECT count(*) FROM quarantine"), 0);
    check_rows(&path, &table);
}

#[test]
fn what_sqlite_cannot_take_for_json_is_named_and_all_else_can_be_asked() {
    let dir = TempDir::new().unwrap();
    let (path, table) = (dir.path().join("store"), dir.path().join("table.db"));
    let store = EventStore::open(&path, &Options::new()).unwrap();
    let nested = |depth: usize| format!("{{\"n\":{}1{}}}", "[".repeat(depth - 1), "]".repeat(depth - 1)).into_bytes();
    // Brackets within a text, and in a row, are no depth.
    let wide = format!("{{\"n\":[\"\\\"{}\"{}]}}", "[{".repeat(2000), ",[]".repeat(2000)).into_bytes();
    for data in [b"{\"n\":\"\xff\"}".to_vec(), nested(1000), nested(1001), wide] {
        store.append("s", ExpectedVersion::Any, NewEvent::new("T", data).content_type(ContentType::JSON)).unwrap();
    }
    store.close().unwrap();
    let ran = annals(&[&"index", &path, &"--to", &to(&table)]).exits(1);
    assert!(ran.stderr.contains("position 1 goes into quarantine: its data is said to be JSON"), "{}", ran.stderr);
    assert!(ran.stderr.contains("it is nested deeper than 1000 levels"), "{}", ran.stderr);
    assert_eq!(rows(&open(&table), "SELECT position FROM quarantine ORDER BY 1"), [[1.into()], [3.into()]]);
    let ask = "SELECT count(data->>'$.n') FROM events WHERE position NOT IN (SELECT position FROM quarantine)";
    assert_eq!(number(&open(&table), ask), 2);
    check_rows(&path, &table);
}

#[test]
fn a_name_is_a_name_also_where_sqlite_would_take_it_for_something_else() {
    let (dir, store, _) = filled(10);
    for name in [":memory:", "file:table.db?mode=memory", "file::memory:"] {
        let to = format!("sqlite:{name}");
        let run = common::command(&[&"index", &store, &"--to", &to]).current_dir(dir.path()).output().unwrap();
        common::ran(run).exits(0);
        check_rows(&store, &dir.path().join(".").join(name));
    }
}

#[test]
fn a_table_within_the_store_or_where_no_folder_is_is_refused_and_nothing_is_made() {
    let (dir, store, _) = filled(10);
    let before = snapshot(dir.path());
    for within in [store.join("table.db"), store.join("seg/table.db"), dir.path().join("store/../store/table.db")] {
        annals(&[&"index", &store, &"--to", &to(&within)])
            .exits(2)
            .says("lies within the store, whose files are its own;");
    }
    let nowhere = dir.path().join("none/table.db");
    annals(&[&"index", &store, &"--to", &to(&nowhere)]).exits(3).says("there is no folder");
    assert_eq!(snapshot(dir.path()), before);
    #[cfg(target_os = "linux")]
    annals(&[&"index", &store, &"--to", &"sqlite:/dev/null"]).exits(1).says("is no ordinary file; it is not touched");
}

#[test]
fn a_file_that_somebody_keeps_locked_is_waited_for() {
    let (_dir, store, table) = filled(100);
    index(&store, &table, &["--batch", "10"]).exits(0);
    annals(&[&"import", &"--source", &"2", &store, &file(table.parent().unwrap(), "more", lines(10))]).exits(0);
    let reader = open(&table);
    reader.execute_batch("BEGIN EXCLUSIVE").unwrap();
    std::thread::scope(|scope| {
        let run = scope.spawn(|| index(&store, &table, &[]).exits(0));
        std::thread::sleep(std::time::Duration::from_millis(300));
        assert!(!run.is_finished());
        reader.execute_batch("COMMIT").unwrap();
        assert_eq!(run.join().unwrap().row()["events"], 10);
    });
    check_rows(&store, &table);
}

//! Bad input, a rebuild, and what a follower does meanwhile.

use std::io::{BufRead as _, BufReader};

use annals_codec::{FrameHeader, FrameKind};
use common::{snapshot, wait_for};
use serde_json::json;

use super::table::{check_folder, check_rows, clocked, files, index, manifest, rows, to};
use super::*;

/// The run must end with exit code 1, say this in one line, and leave the folder as it was.
#[track_caller]
fn check_refused(store: &Path, table: &Path, said: &str) {
    let all = |table: &Path| {
        if table.is_dir() { snapshot(table) } else { [(table.to_owned(), fs::read(table).unwrap())].into() }
    };
    let before = all(table);
    annals(&[&"index", &store, &"--to", &to(table)]).exits(1).says(said);
    assert_eq!(all(table), before, "{said}");
    let error = common::rows(&index(store, table, &[]).exits(1).stderr).remove(0);
    assert!(error["next"].as_str().is_some(), "it says what to do: {error}");
}

#[test]
fn a_table_of_another_log_or_another_history_is_refused() {
    let (dir, store) = filled(100);
    let (other_dir, strange) = filled(20);
    let table = dir.path().join("table");
    index(&strange, &table, &[]).exits(0);
    check_refused(&store, &table, "the table was made in another history of the log: its log is ");
    index(&store, &table, &["--rebuild-beside"]).exits(0);
    check_rows(&store, &table);
    drop(other_dir);

    let backup = dir.path().join("backup");
    annals(&[&"backup", &store, &backup]).exits(0);
    annals(&[&"import", &"--source", &"2", &store, &file(dir.path(), "more", lines(50))]).exits(0);
    index(&store, &table, &[]).exits(0);
    let restored = dir.path().join("restored");
    annals(&[&"restore", &backup, &restored]).exits(0);
    check_refused(&restored, &table, "position 150 lies beyond the head of the log, 100");
    annals(&[&"import", &"--source", &"3", &restored, &file(dir.path(), "other", lines(70))]).exits(0);
    check_refused(&restored, &table, "another batch was written at position 150");
}

#[test]
fn what_is_no_table_of_this_version_is_refused_and_not_replaced() {
    let (dir, store) = filled(50);
    let mine = dir.path().join("mine");
    fs::create_dir_all(mine.join("day=2026-01-02")).unwrap();
    fs::write(mine.join("day=2026-01-02/00000000000000000001.parquet"), "mine").unwrap();
    check_refused(&store, &mine, "is a folder of somebody else");
    let text = file(dir.path(), "notes.txt", "notes");
    check_refused(&store, &text, "is a file, and a table of Parquet files is a folder");
    for path in [&mine, &text] {
        index(&store, path, &["--rebuild-beside"]).exits(1);
    }
    assert_eq!(fs::read(&text).unwrap(), b"notes");
    assert_eq!(fs::read(mine.join("day=2026-01-02/00000000000000000001.parquet")).unwrap(), b"mine");

    let table = dir.path().join("table");
    index(&store, &table, &[]).exits(0);
    let path = table.join("_annals_index.json");
    let whole = fs::read_to_string(&path).unwrap();
    for (version, what) in [(1, "of version 1, and this program makes version 2"), (3, "of version 3")] {
        fs::write(&path, whole.replace("\"version\":2", &format!("\"version\":{version}"))).unwrap();
        check_refused(&store, &table, what);
    }
    index(&store, &table, &["--rebuild-beside"]).exits(0);
    check_rows(&store, &table);
}

#[test]
fn a_damaged_table_is_refused_and_made_anew() {
    let (dir, store) = filled(500);
    let table = dir.path().join("table");
    index(&store, &table, &[]).exits(0);
    let rows = files(&table).remove(0);
    let index_file = table.join("_annals_index.json");
    let whole = fs::read(&rows).unwrap();
    for (path, content, said) in [
        (&rows, None, "parquet is missing"),
        (&rows, Some(whole[..whole.len() / 2].to_vec()), "is damaged: day="),
        (&rows, Some(b"no file of columns".to_vec()), "is damaged: day="),
        (&index_file, Some(b"{".to_vec()), "is damaged: _annals_index.json"),
    ] {
        match content {
            Some(content) => fs::write(path, content).unwrap(),
            None => fs::remove_file(path).unwrap(),
        }
        check_refused(&store, &table, said);
        index(&store, &table, &["--rebuild-beside"]).exits(0);
        check_rows(&store, &table);
    }
    let with_slash = dir.path().join("table/");
    index(&store, &with_slash, &["--rebuild-beside"]).exits(0);
    check_rows(&store, &table);
    assert!(!dir.path().join("table.new").exists());
}

#[test]
fn what_somebody_has_put_into_the_folder_is_left_alone() {
    let (dir, store) = filled(50);
    let table = dir.path().join("table");
    index(&store, &table, &[]).exits(0);
    let day = files(&table)[0].parent().unwrap().to_owned();
    let theirs = [table.join("README.md"), day.join("_notes"), table.join("_SUCCESS")];
    for path in &theirs {
        fs::write(path, "mine").unwrap();
    }
    let left = day.join("00000000000000009999.parquet");
    fs::write(&left, "of a step that was not finished").unwrap();
    annals(&[&"import", &"--source", &"2", &store, &file(dir.path(), "more", lines(5))]).exits(0);
    index(&store, &table, &[]).exits(0);
    assert!(theirs.iter().all(|path| path.exists()) && !left.exists());
}

/// A store of 60 events in batches of 5 on three days, of which two batches are damaged; its segment, and its bytes when it was whole.
fn damaged(batches: &[usize], data: &'static str) -> (TempDir, PathBuf, PathBuf, Vec<u8>) {
    let dir = TempDir::new().unwrap();
    let path = dir.path().join("store");
    let (store, clock) = clocked(&path);
    for batch in 0..12 {
        clock.to_hour(batch * 6);
        let event = || NewEvent::new("T", data).content_type(ContentType::JSON);
        let events = (0..5).map(|_| event());
        store.append_batch("s", ExpectedVersion::Any, events).unwrap();
    }
    store.close().unwrap();
    let segment = common::only_segment(&path);
    let whole = fs::read(&segment).unwrap();
    let (mut events, mut at) = (Vec::new(), 4096);
    while let Some(header) = FrameHeader::read(&whole[at..]).filter(|header| header.len > 0) {
        if header.kind() == Some(FrameKind::Event) {
            events.push(at);
        }
        at += header.padded_len() as usize;
    }
    let mut bytes = whole.clone();
    for batch in batches {
        bytes[events[batch * 5 + 2] + 60] ^= 8;
    }
    fs::write(&segment, bytes).unwrap();
    (dir, path, segment, whole)
}

#[test]
fn damage_in_the_log_goes_into_quarantine_and_is_mended_in_its_place() {
    // In the middle of a day; the end of one and the beginning of the next; a whole day; the first.
    for batches in [&[1][..], &[3, 4], &[4, 5, 6, 7], &[0], &[0, 1, 2, 3, 5, 8, 10]] {
        let (dir, store, segment, whole) = damaged(batches, "{}");
        let table = dir.path().join("table");
        let bad = batches.len() * 5;
        let row = index(&store, &table, &[]).exits(1).row();
        assert_eq!((&row["events"], &row["quarantined"]), (&json!(60 - bad), &json!(bad)), "{batches:?}");
        assert_eq!(rows(&table).len(), 60 - bad);
        let said = manifest(&table)["quarantine"].clone();
        assert_eq!(said[0]["from"], json!(batches[0] * 5 + 1), "{said}");
        assert!(said[0]["reason"].as_str().unwrap().contains("damaged at offset"), "{said}");
        let before = snapshot(&table);
        let again = index(&store, &table, &[]).exits(0).row();
        assert_eq!(again["events"], 0, "what is known is no news");
        assert_eq!(snapshot(&table), before);

        fs::write(&segment, whole).unwrap();
        assert_eq!(index(&store, &table, &[]).exits(0).row()["events"], json!(bad), "{batches:?}");
        assert_eq!(manifest(&table)["quarantine"], json!([]));
        assert_eq!(check_rows(&store, &table), 60, "{batches:?}");
        // Killed before that was said: the rows are there already, and are not doubled.
        fs::write(table.join("_annals_index.json"), &before[&table.join("_annals_index.json")]).unwrap();
        index(&store, &table, &[]).exits(0);
        assert_eq!(check_rows(&store, &table), 60, "{batches:?}");
    }
}

#[test]
fn who_wants_to_stop_at_damage_has_what_comes_before_up_to_where_its_history_can_be_told() {
    let (dir, store) = filled(3000);
    let table = dir.path().join("table");
    let mut segments: Vec<PathBuf> =
        fs::read_dir(store.join("seg")).unwrap().map(|entry| entry.unwrap().path()).collect();
    segments.sort();
    let whole = fs::read(&segments[1]).unwrap();
    let mut bytes = whole.clone();
    bytes[20_000] ^= 1;
    fs::write(&segments[1], bytes).unwrap();
    for _ in 0..2 {
        let ran = index(&store, &table, &["--on-bad", "stop", "--batch", "7"]).exits(1);
        assert!(ran.stderr.contains("damaged at offset"), "{}", ran.stderr);
        let reached = manifest(&table)["position"].as_u64().unwrap();
        assert!(reached > 100 && reached < 2000, "{reached}");
        assert_eq!(rows(&table).len() as u64, reached);
        check_folder(&table);
    }
    // Who does not stop has all others, and the beginning of a batch of which not all can be read.
    let other = dir.path().join("other");
    let row = index(&store, &other, &["--batch", "7"]).exits(1).row();
    let bad = row["quarantined"].as_u64().unwrap();
    assert!(0 < bad && bad < 100, "{bad}");
    assert_eq!(rows(&other).len() as u64, 3000 - bad);
    check_folder(&other);
    fs::write(&segments[1], whole).unwrap();
    for table in [&table, &other] {
        index(&store, table, &[]).exits(0);
        assert_eq!(check_rows(&store, table), 3000);
    }
}

#[test]
fn what_a_killed_step_has_left_is_removed_unless_the_table_cannot_go_on() {
    let (dir, store) = filled(60);
    let (_strange_dir, strange) = filled(10);
    let table = dir.path().join("table");
    index(&store, &table, &[]).exits(0);
    let before = snapshot(&table);
    let day = files(&table)[0].parent().unwrap().to_owned();
    let left = [
        table.join("__annals_index.json.x1y2z3.tmp"),
        table.join("__annals_views.sql.x1y2z3.tmp"),
        day.join("_00000000000000000061.parquet.x1y2z3.tmp"),
        day.join("00000000000000000061.parquet"),
    ];
    for path in &left {
        fs::write(path, "half of it").unwrap();
    }
    let with_them = snapshot(&table);
    index(&strange, &table, &[]).exits(1);
    assert_eq!(snapshot(&table), with_them, "a table of another log is not touched");
    index(&store, &table, &[]).exits(0);
    assert_eq!(snapshot(&table), before);
}

#[test]
fn a_rebuild_goes_on_in_what_an_earlier_one_has_left_only_if_that_is_of_this_log_and_whole() {
    let (dir, store) = filled(300);
    let (_strange_dir, strange) = filled(40);
    let (table, beside) = (dir.path().join("table"), dir.path().join("table.new"));
    let copy = dir.path().join("copy");
    index(&store, &table, &[]).exits(0);
    // Until it is whole, it says that it is not.
    let opened = EventStore::open_read_only(&store).unwrap();
    let mut steps = 0;
    annals_cli::tables::rebuild_parquet(
        &opened,
        &table,
        &annals_cli::tables::IndexOptions::new().batch(100),
        &mut |_| {
            assert_eq!(manifest(&beside)["building"], true);
            steps += 1;
            true
        },
    )
    .unwrap();
    assert!(steps >= 3, "{steps}");
    check_folder(&table);
    let say = |from: &str, to: &str| {
        let path = beside.join("_annals_index.json");
        let said = fs::read_to_string(&path).unwrap();
        assert!(said.contains(from), "{said}");
        fs::write(path, said.replacen(from, to, 1)).unwrap();
    };
    for spoilt in ["said to be whole", "of another log", "of another version", "damaged", "without a file"] {
        _ = fs::remove_dir_all(&copy);
        index(if spoilt == "of another log" { &strange } else { &store }, &copy, &[]).exits(0);
        fs::rename(&copy, &beside).unwrap();
        // The old table, say, which was not removed yet.
        let is_whole = spoilt == "said to be whole";
        say("\"views\"", &format!("{}\"views\"", if is_whole { "" } else { "\"building\":true," }));
        match spoilt {
            "of another version" => say("\"version\":2", "\"version\":3"),
            "damaged" => say("\"log_id\"", "\"log\""),
            "without a file" => fs::remove_file(&files(&beside)[0]).unwrap(),
            _ => {}
        }
        let done = index(&store, &table, &["--rebuild-beside"]).exits(0).row();
        assert_eq!(done["events"], 300, "{spoilt}");
        check_rows(&store, &table);
        assert!(!beside.exists(), "{spoilt}");
    }
}

#[test]
fn a_rebuild_that_is_told_to_stop_leaves_the_old_table_and_goes_on_the_next_time() {
    let (dir, path) = filled(300);
    let table = dir.path().join("table");
    index(&path, &table, &[]).exits(0);
    let before = snapshot(&table);
    let store = EventStore::open_read_only(&path).unwrap();
    let options = annals_cli::tables::IndexOptions::new().batch(100);
    let done = annals_cli::tables::rebuild_parquet(&store, &table, &options, &mut |_| false).unwrap();
    assert_eq!(done.position.get(), 100);
    assert_eq!(snapshot(&table), before);
    assert_eq!(manifest(&dir.path().join("table.new"))["building"], true);
    assert_eq!(index(&path, &table, &["--rebuild-beside"]).exits(0).row()["events"], 200);
    check_rows(&path, &table);
}

#[test]
fn what_is_mended_and_is_no_json_stays_in_quarantine_with_its_row() {
    let (dir, store, segment, whole) = damaged(&[1], "{");
    let table = dir.path().join("table");
    let row = index(&store, &table, &[]).exits(1).row();
    assert_eq!((&row["events"], &row["quarantined"]), (&json!(55), &json!(60)));
    fs::write(&segment, whole).unwrap();
    assert_eq!(index(&store, &table, &[]).exits(1).row()["events"], 5);
    let said = manifest(&table)["quarantine"].clone();
    assert_eq!(
        (&said[0]["from"], &said[0]["to"], &said[0]["has_row"]),
        (&json!(1), &json!(60), &json!(true)),
        "{said}"
    );
    check_rows(&store, &table);
    let before = snapshot(&table);
    assert_eq!(index(&store, &table, &[]).exits(0).row()["events"], 0);
    assert_eq!(snapshot(&table), before);
}

#[test]
fn an_event_that_says_it_is_json_and_is_not_is_named_until_it_is_redacted() {
    let dir = TempDir::new().unwrap();
    let (path, table) = (dir.path().join("store"), dir.path().join("table"));
    let (store, _) = clocked(&path);
    for data in ["{\"n\":1}", "{\"n\":", "{\"n\":5}"] {
        let event = NewEvent::new("T", data).content_type(ContentType::JSON);
        store.append("s", ExpectedVersion::Any, event).unwrap();
    }
    store.flush().unwrap();
    let ran = annals(&[&"index", &path, &"--to", &to(&table), &"--on-bad", &"stop"]).exits(1);
    ran.says("the event at position 2: its data is said to be JSON, and is not: EOF");
    assert_eq!(manifest(&table)["position"], 1);
    index(&path, &table, &[]).exits(1);
    let said = manifest(&table)["quarantine"][0].clone();
    assert_eq!((&said["from"], &said["has_row"]), (&json!(2), &json!(true)));
    check_rows(&path, &table);
    store.redact([Position::new(2)], "a slip").unwrap();
    store.close().unwrap();
    index(&path, &table, &[]).exits(0);
    assert_eq!(manifest(&table)["quarantine"], json!([]));
    check_rows(&path, &table);
}

#[test]
fn a_rebuild_that_is_killed_leaves_the_old_table_or_the_new_one_and_is_finished_by_the_next() {
    let (dir, store) = filled(2000);
    let (table, beside) = (dir.path().join("table"), dir.path().join("table.new"));
    index(&store, &table, &[]).exits(0);
    let began = std::time::Instant::now();
    index(&store, &table, &["--rebuild-beside", "--batch", "100"]).exits(0);
    let whole = began.elapsed();
    let (mut rng, mut kills) = (common::Rng::new(3), 0);
    for round in 0..3 {
        loop {
            let mut child =
                common::command(&[&"index", &store, &"--to", &to(&table), &"--batch", &"100", &"--rebuild-beside"])
                    .stdout(Stdio::null())
                    .stderr(Stdio::null())
                    .spawn()
                    .unwrap();
            std::thread::sleep(whole * rng.below(1000) as u32 / 900);
            let ended = child.try_wait().unwrap();
            child.kill().unwrap();
            child.wait().unwrap();
            assert!(ended.is_none_or(|status| status.success()), "round {round}: {ended:?}");
            kills += u32::from(ended.is_none());
            check_rows(&store, &table);
            if ended.is_some() {
                assert!(!beside.exists());
                break;
            }
        }
    }
    println!("{kills} kills");
    index(&store, &table, &["--rebuild-beside"]).exits(0);
    assert!(!beside.exists());
    // What an earlier rebuild has left is gone on with if it fits.
    annals(&[&"import", &"--source", &"2", &store, &file(dir.path(), "more", lines(10))]).exits(0);
    for (building, events) in [("true", 10), ("false", 2010)] {
        index(&store, &table, &[]).exits(0);
        let (strange_dir, _) = filled(1);
        let copy = strange_dir.path().join("copy");
        fs::rename(&table, &copy).unwrap();
        index(&store, &table, &[]).exits(0);
        fs::rename(&copy, &beside).unwrap();
        let said = fs::read_to_string(beside.join("_annals_index.json")).unwrap();
        let said = said.replacen("\"quarantine\"", &format!("\"building\":{building},\"quarantine\""), 1);
        fs::write(beside.join("_annals_index.json"), said).unwrap();
        let done = index(&store, &table, &["--rebuild-beside"]).exits(0).row();
        assert_eq!(done["events"].as_u64().unwrap() == 0, building == "true", "{events}: {done}");
        check_rows(&store, &table);
        assert!(!beside.exists());
    }
}

#[test]
fn a_follower_has_each_event_and_goes_on_in_the_table_that_has_taken_the_place_of_its_own() {
    let dir = TempDir::new().unwrap();
    let (path, table) = (dir.path().join("store"), dir.path().join("table"));
    let store = EventStore::open(&path, &Options::new()).unwrap();
    let append = || store.append("s", ExpectedVersion::Any, NewEvent::new("T", "{}")).unwrap();
    append();
    index(&path, &table, &[]).exits(0);
    let mut child = common::command(&[&"index", &"--json", &"--follow", &path, &"--to", &to(&table)])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let stdout = child.stdout.take().unwrap();
    let steps = std::thread::spawn(move || BufReader::new(stdout).lines().map_while(Result::ok).count());
    let reached = |position: u64| {
        wait_for("the table", || (manifest(&table)["position"] == json!(position)).then_some(()));
    };
    for round in 2..5 {
        append();
        reached(round * 2 - 2);
        index(&path, &table, &["--rebuild-beside"]).exits(0);
        append();
        reached(round * 2 - 1);
    }
    child.kill().unwrap();
    child.wait().unwrap();
    assert!(steps.join().unwrap() >= 3);
    store.close().unwrap();
    index(&path, &table, &[]).exits(0);
    check_rows(&path, &table);
    check_folder(&table);
    assert_eq!(files(&table).len(), 1);
}

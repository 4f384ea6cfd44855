//! `--rebuild-beside`: until the new table is whole, the old one is there.

use std::process::Stdio;
use std::thread;
use std::time::Instant;

use super::*;

#[test]
fn a_rebuild_makes_the_table_anew_with_the_indexes_and_views_that_somebody_has_made() {
    let (dir, store, table) = filled(200);
    index(&store, &table, &[]).exits(0);
    open(&table)
        .execute_batch(
            "UPDATE events SET type = 'wrong' WHERE position < 50; DELETE FROM events WHERE position = 60;
             CREATE INDEX by_stream ON events(stream, version);
             CREATE VIEW paid AS SELECT * FROM events WHERE type = 'Type 3'",
        )
        .unwrap();
    let row = index(&store, &table, &["--rebuild-beside"]).exits(0).row();
    assert_eq!((&row["events"], &row["position"]), (&json!(200), &json!(200)));
    check_rows(&store, &table);
    assert_eq!(number(&open(&table), "SELECT count(*) FROM paid"), 40);
    let plan = rows(&open(&table), "EXPLAIN QUERY PLAN SELECT * FROM events WHERE stream = 'account-1'");
    assert!(format!("{plan:?}").contains("by_stream"), "{plan:?}");
    assert!(!dir.path().join("table.db.new").exists() && !dir.path().join("table.db.new-journal").exists());
    // Also where there is nothing yet.
    let other = dir.path().join("other.db");
    index(&store, &other, &["--rebuild-beside"]).exits(0);
    check_rows(&store, &other);
}

#[cfg(unix)]
#[test]
fn a_rebuild_through_a_link_replaces_what_it_leads_to_and_not_the_link() {
    let (dir, store, table) = filled(50);
    index(&store, &table, &[]).exits(0);
    fs::create_dir(dir.path().join("links")).unwrap();
    let link = dir.path().join("links/table.db");
    std::os::unix::fs::symlink(&table, &link).unwrap();
    open(&table).execute_batch("DELETE FROM events WHERE position < 10").unwrap();
    index(&store, &link, &["--rebuild-beside"]).exits(0);
    assert!(link.is_symlink());
    check_rows(&store, &table);
    check_rows(&store, &link);
}

#[test]
fn a_rebuild_that_is_told_to_stop_leaves_the_old_table_and_goes_on_the_next_time() {
    let (dir, path, table) = filled(200);
    index(&path, &table, &[]).exits(0);
    open(&table).execute_batch("UPDATE events SET type = 'old'").unwrap();
    let store = EventStore::open_read_only(&path).unwrap();
    let done = rebuild_sqlite(&store, &table, &IndexOptions::new().batch(50), &mut |_| false).unwrap();
    assert_eq!(done.position.get(), 50);
    assert_eq!(number(&open(&table), "SELECT count(*) FROM events WHERE type = 'old'"), 200);
    assert_eq!(number(&open(&dir.path().join("table.db.new")), "SELECT count(*) FROM events"), 50);
    assert_eq!(index(&path, &table, &["--rebuild-beside"]).exits(0).row()["events"], 150);
    check_rows(&path, &table);
}

#[test]
fn a_rebuild_that_is_killed_leaves_the_old_table_or_the_new_one() {
    let (dir, store, table) = filled(2000);
    index(&store, &table, &[]).exits(0);
    let began = Instant::now();
    index(&store, &table, &["--rebuild-beside", "--batch", "25"]).exits(0);
    let whole = began.elapsed();
    let is_old = || number(&open(&table), "SELECT count(*) FROM events WHERE type = 'old'") == 2000;
    let (mut rng, mut kills) = (Rng::new(3), 0);
    for round in 0..8 {
        open(&table).execute_batch("UPDATE events SET type = 'old'").unwrap();
        loop {
            let mut child =
                common::command(&[&"index", &store, &"--to", &to(&table), &"--batch", &"25", &"--rebuild-beside"])
                    .stdout(Stdio::null())
                    .stderr(Stdio::null())
                    .spawn()
                    .unwrap();
            thread::sleep(whole * rng.below(1000) as u32 / 1500);
            let ended = child.try_wait().unwrap();
            child.kill().unwrap();
            child.wait().unwrap();
            assert!(ended.is_none_or(|status| status.success()), "round {round}: {ended:?}");
            kills += u32::from(ended.is_none());
            let is_old = is_old();
            assert!(ended.is_none() || !is_old, "round {round}");
            assert_eq!(number(&open(&table), "SELECT count(*) FROM events"), 2000, "round {round}");
            if !is_old {
                check_rows(&store, &table);
                break;
            }
        }
    }
    assert!(kills >= 8, "{kills} kills");
    index(&store, &table, &["--rebuild-beside"]).exits(0);
    assert!(!dir.path().join("table.db.new").exists());
}

#[test]
fn a_follower_goes_on_in_the_table_that_has_taken_the_place_of_its_own() {
    let dir = TempDir::new().unwrap();
    let (path, table) = (dir.path().join("store"), dir.path().join("table.db"));
    let store = EventStore::open(&path, &Options::new()).unwrap();
    let append = || store.append("s", ExpectedVersion::Any, NewEvent::new("T", "{}")).unwrap();
    append();
    index(&path, &table, &[]).exits(0);
    let follower = kills::Follower::start(&path, &table);
    let reached = |position: u64| {
        let ask = "SELECT position FROM annals_index";
        wait_for("the table", || (number(&open(&table), ask) == position).then_some(()));
    };
    for round in 2..6 {
        append();
        reached(round * 2 - 2);
        index(&path, &table, &["--rebuild-beside"]).exits(0);
        append();
        reached(round * 2 - 1);
    }
    follower.kill();
    store.close().unwrap();
    check_rows(&path, &table);
    assert!(!dir.path().join("table.db-journal").exists());
}

#[test]
fn what_an_earlier_rebuild_has_left_is_gone_on_with_if_it_fits_and_replaced_if_not() {
    let (dir, store, table) = filled(100);
    let beside = dir.path().join("table.db.new");
    // Of this log: it goes on from there.
    index(&store, &beside, &[]).exits(0);
    annals(&[&"import", &"--source", &"2", &store, &file(dir.path(), "more", lines(10))]).exits(0);
    assert_eq!(index(&store, &table, &["--rebuild-beside"]).exits(0).row()["events"], 10);
    check_rows(&store, &table);
    // Of another log, of another version, damaged.
    let (_other, strange, _) = filled(50);
    for spoil in ["", "PRAGMA user_version = 9", "DELETE FROM events WHERE position = 50"] {
        index(&strange, &beside, &[]).exits(0);
        open(&beside).execute_batch(spoil).unwrap();
        assert_eq!(index(&store, &table, &["--rebuild-beside"]).exits(0).row()["events"], 110, "{spoil}");
        check_rows(&store, &table);
    }
    // Of somebody else.
    fs::write(&beside, "notes").unwrap();
    index(&store, &table, &["--rebuild-beside"]).exits(1);
    assert_eq!(fs::read_to_string(&beside).unwrap(), "notes");
}

//! A loss of power while the file is written, or another one put in its place.

use std::process::Command;

use annals_cli::tables::index_sqlite;
use common::power::{Call, Disk, lose_power, put, traced};

use super::*;

/// The command, in small steps.
fn index_by_25(store: &Path, table: &Path, more: &[&str]) -> Command {
    let to = to(table);
    let mut command = common::command(&[&"index", &store, &"--to", &to, &"--batch", &"25"]);
    command.args(more);
    command
}

/// The rows of a table that has to be whole; none where there is no file, or nothing in it.
fn whole(table: &Path, told: &str) -> Vec<Vec<Value>> {
    if !table.exists() {
        return Vec::new();
    }
    let table = open(table);
    assert_eq!(rows(&table, "PRAGMA integrity_check"), [[Value::Text("ok".to_owned())]], "{told}");
    if number(&table, "SELECT count(*) FROM sqlite_schema WHERE name = 'events'") == 0 {
        return Vec::new();
    }
    let found = rows(&table, "SELECT * FROM events ORDER BY position");
    assert_eq!(number(&table, "SELECT position FROM annals_index"), found.len() as u64, "{told}");
    found
}

/// A store, and a folder in which its table is to be.
fn on_a_disk(events: u64) -> (TempDir, PathBuf, PathBuf, PathBuf) {
    let (dir, store, _) = filled(events);
    let disk = dir.path().canonicalize().unwrap().join("disk");
    fs::create_dir(&disk).unwrap();
    let table = disk.join("table.db");
    (dir, store, disk, table)
}

#[test]
fn a_loss_of_power_behind_any_system_call_leaves_a_table_that_goes_on() {
    let (_dir, path, disk_path, table) = on_a_disk(60);
    let Some(calls) = traced(&index_by_25(&path, &table, &[]), &disk_path, &[0]) else { return };
    let (all, store) = (whole(&table, "all"), EventStore::open_read_only(&path).unwrap());
    assert_eq!(all.len(), 60);
    let states = lose_power(&mut Disk::new(&disk_path), &calls, |told| {
        assert!(all.starts_with(&whole(&table, told)), "{told}");
        index_sqlite(&store, &table, &IndexOptions::new(), &mut |_| true)
            .unwrap_or_else(|error| panic!("{told}: {error}"));
        assert!(whole(&table, told) == all, "{told}");
    });
    assert!(states > 50, "{states} states");
}

#[test]
fn a_loss_of_power_during_a_rebuild_leaves_the_old_table_or_the_new_one_and_the_next_is_not_in_its_way() {
    // An earlier one was killed early, or when it had only to give the new table the name of the old one.
    for is_built in [false, true] {
        let (_dir, path, disk_path, table) = on_a_disk(60);
        index(&path, &table, &[]).exits(0);
        let (old, old_file) = (whole(&table, "old"), fs::read(&table).unwrap());
        // What the rebuild finds is more than what the old table has.
        annals_with(lines(90).as_bytes(), &[&"import", &path, &"-"]).exits(0);
        let beside = disk_path.join("table.db.new");
        if is_built {
            index(&path, &beside, &[]).exits(0);
        }
        // And somebody was killed while they changed the old one.
        let changing = open(&table);
        let change = "PRAGMA cache_size = 2; BEGIN; UPDATE events SET type = 'half', data = hex(zeroblob(9000))";
        changing.execute_batch(change).unwrap();
        let half_done = snapshot(&disk_path);
        assert!(half_done[&disk_path.join("table.db-journal")].len() > 8192 && half_done[&table] != old_file);
        drop(changing);
        put(&disk_path, &half_done);

        let mut disk = Disk::of(&disk_path);
        let command = index_by_25(&path, &table, &["--rebuild-beside"]);
        let Some(calls) = traced(&command, &disk_path, &[0]) else { return };
        assert!(calls.iter().any(|call| matches!(call, Call::Rename(from, _) if *from == beside)));
        let (new, store) = (whole(&table, "new"), EventStore::open_read_only(&path).unwrap());
        assert!(new.len() > old.len());
        let states = lose_power(&mut disk, &calls, |told| {
            let there = whole(&table, told);
            assert!(there == old || there == new, "{told}: {} rows", there.len());
            let done = rebuild_sqlite(&store, &table, &IndexOptions::new(), &mut |_| true);
            done.unwrap_or_else(|error| panic!("{told}: {error}"));
            assert!(whole(&table, told) == new, "{told}");
            assert!(!beside.exists(), "{told}");
        });
        assert!(states > if is_built { 5 } else { 100 }, "{states} states");
    }
}

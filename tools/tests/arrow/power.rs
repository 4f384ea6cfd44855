//! A loss of power while the folder is written, or another one put in its place.

use annals_cli::tables::{IndexOptions, index_parquet, rebuild_parquet};
use common::power::{Call, Disk, lose_power, traced};
use common::schemas::append;

use super::table::{check_folder, manifest, rows};
use super::views::{changing, said};
use super::*;

/// The command, in small steps. It ends with 1, because something is in quarantine.
fn index_by_25(store: &Path, table: &Path, more: &[&str]) -> Command {
    let to = super::table::to(table);
    let mut command = common::command(&[&"index", &store, &"--to", &to, &"--batch", &"25"]);
    command.args(more);
    command
}

/// The files that the manifest lists have all rows up to where it says that it has come.
fn check_listed(table: &Path, told: &str) {
    if !table.join("_annals_index.json").exists() {
        return;
    }
    let manifest = manifest(table);
    let listed = manifest["files"].as_array().unwrap().iter();
    let last = manifest["position"].as_i64().unwrap();
    let found = listed.flat_map(|file| {
        let (day, first) = (file["day"].as_str().unwrap(), file["first"].as_u64().unwrap());
        let path = table.join(format!("day={day}/{first:020}.parquet"));
        assert!(path.exists(), "{told}: {} is not there", path.display());
        read_parquet(&path).1.iter().flat_map(rows_of).collect::<Vec<_>>()
    });
    let positions: Vec<i64> = found
        .map(|row| match row[0] {
            Value::Integer(position) => position,
            ref other => panic!("{other:?}"),
        })
        .filter(|position| *position <= last)
        .collect();
    assert!(positions == (1..=last).collect::<Vec<_>>(), "{told}: {} rows", positions.len());
}

#[test]
fn a_loss_of_power_behind_any_system_call_leaves_a_table_that_goes_on() {
    let dir = TempDir::new().unwrap();
    let root = dir.path().canonicalize().unwrap();
    let (path, disk_path) = (root.join("store"), root.join("disk"));
    let table = disk_path.join("table");
    let store = changing(&path);
    store.redact([3, 40, 41].map(Position::new), "a slip").unwrap();
    store.flush().unwrap();
    fs::create_dir(&disk_path).unwrap();
    let Some(calls) = traced(&index_by_25(&path, &table, &[]), &disk_path, &[1]) else { return };
    let (expected, all) = (said(&table), rows(&table));
    assert!(all == said_by_sql(&path, 1));

    let mut disk = Disk::new(&disk_path);
    let states = lose_power(&mut disk, &calls, |told| {
        check_listed(&table, told);
        let done = index_parquet(&store, &table, &IndexOptions::new().batch(60), &mut |_| true);
        if let Err(error) = done {
            panic!("{told}: {error}");
        }
        assert!(rows(&table) == all, "{told}");
        assert_eq!(said(&table), expected, "{told}");
        check_folder(&table);
    });
    let whole = disk.after_loss(&mut || false, &mut |file| file.synced.clone());
    let rows_of_it = whole.keys().filter(|path| path.extension().is_some_and(|end| end == "parquet")).count();
    assert_eq!(rows_of_it, super::table::files(&table).len(), "all calls were understood");
    assert!(states > 100, "{states} states");
}

#[test]
fn a_loss_of_power_during_a_rebuild_leaves_the_old_table_or_the_new_one_and_the_next_is_not_in_its_way() {
    let dir = TempDir::new().unwrap();
    let root = dir.path().canonicalize().unwrap();
    let (path, disk_path) = (root.join("store"), root.join("disk"));
    let table = disk_path.join("table");
    let store = changing(&path);
    fs::create_dir(&disk_path).unwrap();
    let Some(before) = traced(&index_by_25(&path, &table, &[]), &disk_path, &[1]) else { return };
    let old = rows(&table);
    // What the rebuild finds is more than what the old table has.
    for number in 0..30 {
        append(&store, "A", &format!(r#"{{"n": {number}}}"#));
    }
    store.flush().unwrap();
    let Some(calls) = traced(&index_by_25(&path, &table, &["--rebuild-beside"]), &disk_path, &[1]) else { return };
    assert!(calls.iter().any(|call| matches!(call, Call::Exchange(..))), "two names are exchanged in one call");
    let new = rows(&table);
    assert!(new == said_by_sql(&path, 1) && new.len() > old.len());

    let mut disk = Disk::new(&disk_path);
    for call in &before {
        disk.carry_out(call);
    }
    let states = lose_power(&mut disk, &calls, |told| {
        check_listed(&table, told);
        let there = rows(&table);
        assert!(there == old || there == new, "{told}: {} rows", there.len());
        assert_eq!(manifest(&table).get("building"), None, "{told}");
        if let Err(error) = rebuild_parquet(&store, &table, &IndexOptions::new().batch(60), &mut |_| true) {
            panic!("{told}: {error}");
        }
        assert!(rows(&table) == new, "{told}");
        check_folder(&table);
        assert!(!disk_path.join("table.new").exists(), "{told}");
    });
    assert!(states > 100, "{states} states");
}

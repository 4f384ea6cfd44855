//! `annals backup`, `annals restore`, and `annals verify` of a backup.

mod common;

use std::fs;

use annals::{EventStore, ExpectedVersion, NewEvent, Options};
use common::annals;
use tempfile::TempDir;

fn append(dir: &std::path::Path, events: u64) {
    let store = EventStore::open(dir, &Options::new().segment_bytes(64 << 10).background(false)).unwrap();
    for number in 0..events {
        let event = NewEvent::new("Told", format!("{number} {}", "x".repeat(900)));
        store.append("a", ExpectedVersion::Any, event).unwrap();
    }
}

#[test]
fn a_store_is_backed_up_verified_and_restored_by_the_command() {
    let dir = TempDir::new().unwrap();
    let [store, backup, again] = ["store", "backup", "again"].map(|name| dir.path().join(name));
    append(&store, 150);
    let row = annals(&[&"backup", &store, &backup, &"--json"]).exits(0).row();
    assert_eq!((row["position"].as_u64(), row["reused"].as_u64()), (Some(150), Some(0)), "{row}");
    append(&store, 150);
    let row = annals(&[&"backup", &store, &backup, &"--json"]).exits(0).row();
    assert_eq!(row["position"], 300);
    assert!(row["reused"].as_u64() > Some(0), "{row}");

    let ran = annals(&[&"verify", &backup]).exits(0);
    assert!(ran.stdout.contains("A backup up to position 300"), "{}", ran.stdout);
    let ran = annals(&[&"restore", &backup, &again]).exits(0);
    assert!(ran.stdout.contains("up to position 300"), "{}", ran.stdout);
    let [one, other] = [&store, &again].map(|dir| annals(&[&"export", dir]).exits(0).stdout);
    assert!(one == other, "the same events, byte for byte");
    annals(&[&"restore", &backup, &again]).exits(3).says("is not empty");

    let manifest = fs::read_to_string(backup.join("BACKUP")).unwrap();
    fs::write(backup.join("BACKUP"), manifest.replace("position 300", "position 301")).unwrap();
    annals(&[&"restore", &backup, &dir.path().join("third")]).exits(1).says("the manifest is damaged");
    let ran = annals(&[&"verify", &backup]).exits(1);
    assert!(ran.stdout.contains("the manifest is damaged"), "{}", ran.stdout);
}

#[test]
fn digests_of_a_manifest_are_those_that_sha256sum_prints() {
    let dir = TempDir::new().unwrap();
    let (store, backup) = (dir.path().join("store"), dir.path().join("backup"));
    append(&store, 100);
    annals(&[&"backup", &store, &backup]).exits(0);
    let manifest = fs::read_to_string(backup.join("BACKUP")).unwrap();
    let mut checked = 0;
    for line in manifest.lines().filter(|line| line.starts_with("file ") || line.starts_with("sealed ")) {
        let words: Vec<&str> = line.split(' ').collect();
        let Ok(sum) = std::process::Command::new("sha256sum").arg(backup.join(words[words.len() - 1])).output() else {
            eprintln!("skipped: there is no sha256sum");
            return;
        };
        assert!(String::from_utf8_lossy(&sum.stdout).starts_with(words[1]), "{line}");
        checked += 1;
    }
    assert!(checked >= 4, "{manifest}");
}

#[test]
fn verify_can_be_asked_for_some_segments_only_at_any_level() {
    let dir = TempDir::new().unwrap();
    append(dir.path(), 300);
    let all = annals(&[&"verify", &dir.path(), &"--level", &"frames", &"--json"]).exits(0).row();
    assert_eq!((all["events"].as_u64(), all["clean"].as_bool()), (Some(300), Some(true)), "{all}");
    let few = [&"verify" as &dyn AsRef<std::ffi::OsStr>, &dir.path(), &"--level", &"frames", &"--json"];
    let some = annals(&[&few[..], &[&"--from", &"100", &"--to", &"110"]].concat()).exits(0).row();
    assert!(some["segments"].as_u64() < all["segments"].as_u64(), "{some}");
    annals(&[&few[..], &[&"--from", &"9", &"--to", &"8"]].concat()).exits(2);
    let some = annals(&[&"verify", &dir.path(), &"--from", &"100", &"--to", &"110", &"--json"]).exits(0).row();
    assert_eq!((some["level"].as_str(), some["range"]["from"].as_u64()), (Some("all"), Some(100)), "{some}");
    assert!(some["segments"].as_u64() < all["segments"].as_u64(), "{some}");
    let said = annals(&[&"verify", &dir.path(), &"--to", &"9"]).exits(0);
    assert!(said.stdout.contains("what was asked for ends at position"), "{}", said.stdout);
}

#[test]
fn what_was_removed_from_the_store_is_removed_from_its_backup_and_that_is_told() {
    let dir = TempDir::new().unwrap();
    let (store, backup) = (dir.path().join("store"), dir.path().join("backup"));
    append(&store, 300);
    let ran = annals(&[&"backup", &store, &backup]).exits(0);
    assert_eq!(ran.stderr, "");
    annals(&[&"truncate", &store, &"--keep-events", &"10"]).exits(0);
    let oldest = EventStore::open_read_only(&store).unwrap().oldest().get();
    let last = oldest - 1;
    let again = dir.path().join("again");
    assert_eq!(annals(&[&"backup", &store, &again, &"--json"]).exits(0).row().get("dropped"), None);
    let ran = annals(&[&"backup", &store, &backup]).exits(0);
    assert!(
        ran.stderr.contains(&format!("has no more what comes up to position {last}, and neither")),
        "{}",
        ran.stderr
    );
    assert_eq!(annals(&[&"backup", &store, &backup, &"--json"]).exits(0).row().get("dropped"), None);
}

#[test]
fn a_backup_is_not_written_to_as_if_it_were_a_store() {
    let dir = TempDir::new().unwrap();
    let [store, backup, lines] = ["store", "backup", "lines"].map(|name| dir.path().join(name));
    append(&store, 100);
    annals(&[&"backup", &store, &backup]).exits(0);
    let before = common::snapshot(&backup);
    fs::write(&lines, r#"{"stream":"a","type":"T"}"#).unwrap();
    annals(&[&"import", &backup, &lines]).exits(2).says("is a backup").says("annals restore");
    annals(&[&"truncate", &backup, &"--keep-events", &"1"]).exits(2).says("is a backup");
    assert!(common::snapshot(&backup) == before);
}

#[test]
fn nothing_is_written_into_the_directory_of_a_store() {
    let dir = TempDir::new().unwrap();
    let store = dir.path().join("store");
    append(&store, 100);
    let before = common::snapshot(&store);
    let segment = before.keys().find(|path| path.extension().is_some_and(|end| end == "seg")).unwrap();
    let within = store.join("not/there/yet");
    annals(&[&"export", &store, &"-o", segment]).exits(2).says("lies within the store");
    annals(&[&"export", &store, &"-o", &store.join("store.meta")]).exits(2).says("lies within the store");
    annals(&[&"repair", &store, &"--accept-loss", &"--to", &within]).exits(2).says("lies within the store");
    annals(&[&"backup", &store, &within]).exits(2).says("lies within the store");
    assert!(common::snapshot(&store) == before);
}

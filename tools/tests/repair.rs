//! `annals repair`, with real files: what it says, what it makes, and that it touches nothing.

mod common;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use annals::{EventStore, ExpectedVersion, NewEvent, Options};
use common::annals;
use serde_json::Value;
use tempfile::TempDir;

/// A store of 300 events in five segments.
fn store(dir: &Path) {
    let options = Options::new().segment_bytes(64 << 10).background(false).hash_chain(true);
    let store = EventStore::open(dir, &options).unwrap();
    for number in 0..300 {
        let event = NewEvent::new("Told", format!("{number} {}", "x".repeat(900)));
        store.append(format!("s{}", number % 7), ExpectedVersion::Any, event).unwrap();
    }
    store.close().unwrap();
}

fn segments(dir: &Path) -> Vec<PathBuf> {
    let mut found: Vec<_> = fs::read_dir(dir.join("seg")).unwrap().map(|entry| entry.unwrap().path()).collect();
    found.sort();
    found
}

fn flip(path: &Path, at: usize) {
    let mut bytes = fs::read(path).unwrap();
    bytes[at] ^= 0x10;
    fs::write(path, bytes).unwrap();
}

/// Every file of a store but its lock, with its bytes.
fn content(dir: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut found = BTreeMap::new();
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(content(&path));
        } else if !path.ends_with("LOCK") {
            found.insert(path.clone(), fs::read(path).unwrap());
        }
    }
    found
}

#[test]
fn a_damaged_store_is_planned_repaired_beside_itself_and_the_loss_is_told_everywhere() {
    let dir = TempDir::new().unwrap();
    let old = dir.path().join("store");
    store(&old);
    let tip = annals(&[&"tip", &old, &"--json"]).exits(0).stdout;
    let witness = dir.path().join("tip.json");
    fs::write(&witness, tip).unwrap();
    flip(&segments(&old)[1], 20_000);
    let before = content(&old);
    annals(&[&"verify", &old]).exits(1);

    let plan = annals(&[&"repair", &old, &"--dry-run", &"--json"]).exits(1).row();
    assert_eq!((&plan["dry_run"], &plan["needed"], &plan["repaired"]), (&true.into(), &true.into(), &Value::Null));
    assert_eq!((&plan["lost_positions"], &plan["head"]), (&1.into(), &300.into()), "{plan}");
    let lost = plan["lost"][0]["first"].as_u64().unwrap();
    let ran = annals(&[&"repair", &old, &"--dry-run"]).exits(1);
    for told in ["1 event would be lost", "--accept-loss", "seg/", "the checksum is", "Nothing was changed"] {
        assert!(ran.stdout.contains(told), "no {told:?} in {}", ran.stdout);
    }
    assert!(!dir.path().join("store.repaired").exists());
    assert_eq!(content(&old), before, "it only said what it would do");

    let ran = annals(&[&"repair", &old, &"--accept-loss"]).exits(1);
    assert!(ran.stdout.contains("store.repaired") && ran.stdout.contains("1 event is lost"), "{}", ran.stdout);
    assert_eq!(content(&old), before, "the old one is as it was");
    let new = dir.path().join("store.repaired");
    let ran = annals(&[&"verify", &new]).exits(0);
    assert!(ran.stdout.contains(&format!("Lost: 1 event from position {lost} on")), "{}", ran.stdout);
    let ran = annals(&[&"stats", &new]).exits(0);
    assert!(ran.stdout.contains("lost       1 event"), "{}", ran.stdout);
    let event = annals(&[&"get", &new, &lost.to_string(), &"--json"]).exits(0).row();
    assert_eq!((&event["type"], &event["data"]["first"]), (&"$lost".into(), &lost.into()), "{event}");
    assert!(event["stream"].as_str().unwrap().starts_with('s'), "the index knew the stream: {event}");
    assert!(new.join(event["data"]["kept"].as_str().unwrap()).exists(), "the bytes are kept: {event}");
    assert!(fs::read_to_string(new.join("LOST")).unwrap().starts_with("annals losses 1\nrepair "));
    let found = annals(&[&"verify", &new, &"--witness", &witness, &"--json"]).exits(1).row();
    assert!(found["findings"][0]["message"].as_str().unwrap().contains("computed anew"), "{found}");

    annals(&[&"repair", &old, &"--accept-loss"]).exits(3).says("is not empty");
    let ran = annals(&[&"repair", &new, &"--dry-run"]).exits(0);
    assert!(ran.stdout.contains("nothing to repair"), "{}", ran.stdout);
    annals(&[&"repair", &new, &"--accept-loss", &"--to", &dir.path().join("again")]).exits(0);
    assert!(!dir.path().join("again").exists(), "there was nothing to do");

    // What is in it comes out of it, and into another store, with the record of a backup.
    let lines = dir.path().join("lines");
    fs::write(&lines, annals(&[&"export", &new]).exits(0).stdout).unwrap();
    annals(&[&"import", &dir.path().join("copy"), &lines]).exits(0);
    let backup = dir.path().join("backup");
    annals(&[&"backup", &new, &backup]).exits(0);
    assert!(backup.join("LOST").exists());
}

#[test]
fn a_store_that_does_not_open_says_which_command_to_type() {
    let dir = TempDir::new().unwrap();
    let old = dir.path().join("store");
    store(&old);
    fs::remove_file(old.join("store.meta")).unwrap();
    annals(&[&"stats", &old]).exits(1).says(&format!("annals repair {} --dry-run", old.display()));
    let to = dir.path().join("mended");
    let ran = annals(&[&"repair", &old, &"--accept-loss", &"--to", &to]).exits(0);
    assert!(ran.stdout.contains("nothing is lost") && ran.stdout.contains("store.meta is made anew"), "{}", ran.stdout);
    let kept = |dir: &Path| -> Vec<Vec<u8>> { segments(dir).iter().map(|path| fs::read(path).unwrap()).collect() };
    let (mut one, mut other) = (kept(&old), kept(&to));
    // What was reserved behind the last batch is not taken along.
    let last = other.pop().unwrap();
    assert!(one.pop().unwrap().starts_with(&last) && one == other, "every segment is as it was");
    annals(&[&"verify", &to]).exits(0);
}

#[test]
fn what_repair_cannot_do_it_says_and_what_it_was_not_asked_to_do_it_does_not() {
    let dir = TempDir::new().unwrap();
    let old = dir.path().join("store");
    annals(&[&"repair", &old, &"--dry-run"]).exits(3).says("there is no store");
    assert!(!old.exists());
    store(&old);
    let ran = annals(&[&"repair", &old]).exits(2);
    assert!(ran.stderr.contains("--dry-run|--accept-loss"), "both are offered: {}", ran.stderr);
    annals(&[&"repair", &old, &"--dry-run", &"--accept-loss"]).exits(2);
    annals(&[&"repair", &old.join("store.meta"), &"--dry-run"]).exits(3).says("is a file");
    let held = EventStore::open(&old, &Options::new()).unwrap();
    annals(&[&"repair", &old, &"--dry-run"]).exits(3).says("in use by process");
    drop(held);
    for path in segments(&old) {
        fs::remove_file(path).unwrap();
    }
    annals(&[&"repair", &old, &"--accept-loss"]).exits(1).says("there is no segment of the log");
    assert!(!dir.path().join("store.repaired").exists());
}

//! The guided tour: it shows what it promises, and quickly.

mod common;

use std::time::{Duration, Instant};

use common::{annals, file};
use serde_json::json;
use tempfile::TempDir;

#[test]
fn the_demo_kills_a_writer_recovers_and_keeps_everything_acknowledged_in_ten_seconds() {
    let dir = TempDir::new().unwrap();
    let store = dir.path().join("demo");
    let began = Instant::now();
    let shown = annals(&[&"demo", &store]).exits(0).stdout;
    assert!(began.elapsed() < Duration::from_secs(10), "it took {:?}", began.elapsed());
    for part in ["SIGKILL", "Recovery found", "all are there", "no findings", "events/s", "annals stats"] {
        assert!(shown.contains(part), "{part}: {shown}");
    }
    annals(&[&"verify", &store]).exits(0);
    let stats = annals(&[&"stats", &"--json", &store]).exits(0).row();
    assert!(stats["events"].as_u64().unwrap() > 7000, "{stats}");
}

#[test]
fn the_demo_for_programs_is_one_object_and_leaves_nothing_behind() {
    let dir = TempDir::new().unwrap();
    let output = common::command(&[&"demo", &"--json"]).env("TMPDIR", dir.path()).output().unwrap();
    let told = common::ran(output).exits(0).row();
    assert_eq!((&told["clean"], &told["store"]), (&json!(true), &json!(null)), "{told}");
    assert!(!told["kills"].as_array().unwrap().is_empty(), "{told}");
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0, "its temporary store is gone");
}

#[test]
fn the_demo_does_not_touch_a_directory_that_has_something_in_it() {
    let dir = TempDir::new().unwrap();
    file(dir.path(), "mine", "text");
    annals(&[&"demo", &dir.path()]).exits(3).says("is not empty");
    annals(&[&"demo", &dir.path().join("mine")]).exits(3);
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1);
}

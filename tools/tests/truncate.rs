//! `annals truncate`, and what the other commands say of a log that was truncated.

mod common;

use std::path::{Path, PathBuf};

use annals::{EventStore, ExpectedVersion, NewEvent, Options, Position};
use common::{annals, snapshot};
use serde_json::json;
use tempfile::TempDir;

/// Where each of five segments begins.
fn store() -> (TempDir, PathBuf, Vec<u64>) {
    let dir = TempDir::new().unwrap();
    let path = dir.path().join("store");
    let store = EventStore::open(&path, &Options::new().segment_bytes(64 << 10)).unwrap();
    store.append("early-1", ExpectedVersion::Any, NewEvent::new("Early", "{}")).unwrap();
    store.batch().tracking("shop", 7).commit().unwrap();
    while store.stats().segments.len() < 5 {
        store.append("noise", ExpectedVersion::Any, NewEvent::new("Noise", vec![0; 9_000])).unwrap();
    }
    let starts = store.stats().segments.iter().map(|segment| segment.base.get() + 1).collect();
    store.close().unwrap();
    (dir, path, starts)
}

fn oldest(path: &Path) -> Position {
    EventStore::open_read_only(path).unwrap().oldest()
}

#[test]
fn what_would_go_is_told_and_then_it_goes() {
    let (_dir, store, starts) = store();
    let before = snapshot(&store);
    let at = starts[2].to_string();
    let plan = annals(&[&"truncate", &store, &"--before", &at, &"--dry-run"]).exits(0);
    assert!(plan.stdout.starts_with("would remove 2 segments with "), "{}", plan.stdout);
    assert_eq!(snapshot(&store), before, "a dry run changes nothing");
    let done = annals(&[&"--json", &"truncate", &store, &"--before", &at]).exits(0).row();
    assert_eq!((&done["segments"], &done["oldest"], &done["dry_run"]), (&json!(2), &json!(starts[2]), &json!(false)));
    assert_eq!(done["events"], json!(starts[2] - 1));
    assert_eq!(oldest(&store), Position::new(starts[2]));
    let again = annals(&[&"truncate", &store, &"--before", &at]).exits(0);
    assert!(again.stdout.starts_with("Nothing to remove: the log begins at position "), "{}", again.stdout);
}

#[test]
fn behind_the_end_of_the_log_there_is_no_position_to_cut_it_at() {
    let (_dir, path, starts) = store();
    let head = EventStore::open_read_only(&path).unwrap().head();
    for dry in [&["--dry-run"][..], &[]] {
        let truncate = |before: Position| {
            let before = before.to_string();
            let mut args: Vec<&dyn AsRef<std::ffi::OsStr>> = vec![&"truncate", &path, &"--before", &before];
            args.extend(dry.iter().map(|arg| arg as &dyn AsRef<std::ffi::OsStr>));
            annals(&args)
        };
        truncate(head.plus(2)).exits(2).says(&format!("the log ends at {head}"));
        assert_eq!(oldest(&path), Position::new(1));
        truncate(head.plus(1)).exits(0);
    }
    assert_eq!(oldest(&path), Position::new(starts[4]));
}

#[test]
fn so_many_events_bytes_or_days_are_kept_and_one_of_them_has_to_be_said() {
    let (_dir, store, starts) = store();
    annals(&[&"truncate", &store]).exits(2);
    annals(&[&"truncate", &store, &"--keep-days", &"1", &"--keep-events", &"1"]).exits(2);
    annals(&[&"truncate", &store, &"--before", &"-1"]).exits(2);
    let plan = |what: &str, much: &str| {
        annals(&[&"--json", &"truncate", &store, &"--dry-run", &what, &much]).exits(0).row()["oldest"].as_u64().unwrap()
    };
    assert_eq!(plan("--keep-days", "1"), 1);
    assert_eq!(plan("--keep-events", "0"), starts[4]);
    assert_eq!(plan("--keep-events", "2"), starts[3]);
    assert_eq!(plan("--keep-bytes", "100000"), starts[2]);
    annals(&[&"truncate", &store, &"--keep-events", &"0"]).exits(0);
    assert_eq!(oldest(&store), Position::new(starts[4]));
}

#[test]
fn who_is_behind_is_named_and_nothing_goes_unless_it_is_forced() {
    let (_dir, path, starts) = store();
    let store = EventStore::open(&path, &Options::new()).unwrap();
    store.consumer("mailer").unwrap().checkpoint(Position::new(1)).unwrap();
    store.close().unwrap();
    let at = starts[1].to_string();
    let plan = annals(&[&"truncate", &path, &"--before", &at, &"--dry-run"]).exits(1);
    assert!(
        plan.stdout.contains("behind: consumer mailer (at 1)") && plan.stdout.contains("--force"),
        "{}",
        plan.stdout
    );
    let refused = annals(&[&"truncate", &path, &"--before", &at]).exits(1);
    let refused = refused.says("consumer mailer (at 1) is behind position").says("--dry-run shows what would go");
    assert_eq!(refused.stdout, "");
    assert_eq!(oldest(&path), Position::new(1));
    let forced = annals(&[&"--json", &"truncate", &path, &"--before", &at, &"--force"]).exits(0).row();
    assert_eq!(forced["behind"], json!([{ "kind": "consumer", "name": "mailer", "position": 1 }]));
    assert_eq!(oldest(&path), Position::new(starts[1]));
}

#[test]
fn a_store_that_is_open_or_not_there_is_told_and_left_alone() {
    let (dir, path, _) = store();
    let nowhere = dir.path().join("nowhere");
    annals(&[&"truncate", &nowhere, &"--keep-events", &"1"]).exits(3);
    assert!(!nowhere.exists());
    let open = EventStore::open(&path, &Options::new()).unwrap();
    annals(&[&"truncate", &path, &"--keep-events", &"1"]).exits(3).says("already open");
    annals(&[&"truncate", &path, &"--keep-events", &"1", &"--dry-run"]).exits(0);
    drop(open);
}

/// A store without its first segment, with a stream that begins later; and the position that it begins with.
fn trimmed() -> (TempDir, PathBuf, u64) {
    let (dir, path, starts) = store();
    annals(&[&"truncate", &path, &"--before", &starts[1].to_string()]).exits(0);
    let store = EventStore::open(&path, &Options::new()).unwrap();
    store.append("late", ExpectedVersion::Any, NewEvent::new("Late", "{}")).unwrap();
    store.close().unwrap();
    (dir, path, starts[1])
}

#[test]
fn who_names_what_was_removed_is_told_so_and_what_it_says_to_do_works() {
    let (dir, store, oldest) = trimmed();
    // The first event is of another stream.
    let behind = format!("--after {} reads what is left of this stream", oldest - 2);
    let of_noise = |args: &[&str]| {
        let mut all: Vec<&dyn AsRef<std::ffi::OsStr>> = vec![&"read", &store, &"--stream", &"noise"];
        all.extend(args.iter().map(|arg| arg as &dyn AsRef<std::ffi::OsStr>));
        annals(&all)
    };
    let at = format!("@{oldest}");
    for args in [["--up-to", &*at], ["--up-to", "head"], ["--up-to", "30"], ["--up-to", "0s"], ["--after", "1"]] {
        assert_eq!(of_noise(&args).exits(1).says(&behind).stdout, "", "{args:?}");
    }
    of_noise(&["--up-to", "@1"]).exits(1).says(&behind);
    of_noise(&["--until", "2"]).exits(1).says(&behind);
    let after = (oldest - 2).to_string();
    for args in [&["--after", &*after][..], &["--up-to", &at, "--after", &after]] {
        assert!(of_noise(args).exits(0).stdout.starts_with(&format!("{oldest:>9}  ")), "{args:?}");
    }
    annals(&[&"read", &store, &"--stream", &"early-1", &"--up-to", &"head"]).exits(1).says("nothing is left");
    let late = annals(&[&"read", &store, &"--stream", &"late", &"--up-to", &"head"]).exits(0);
    assert_eq!((late.stdout.lines().count(), &*late.stderr), (1, ""));

    let removed = (oldest - 1).to_string();
    let left = format!("`annals read STORE --after {removed}` reads what is left");
    annals(&[&"get", &store, &"1"]).exits(1).says(&left);
    annals(&[&"read", &store, &"--after", &"0"]).exits(1).says(&left);
    annals(&[&"read", &store, &"--until", &removed]).exits(1).says(&left);
    annals(&[&"read", &store, &"--until", &removed, &"--backward"]).exits(1).says(&left);
    let left = format!("--after {removed} exports what is left");
    let to = dir.path().join("exported");
    for args in [["--after", "0"], ["--until", &removed]] {
        let ran = annals(&[&"export", &store, &args[0], &args[1], &"--skip-damaged", &"-o", &to]).exits(1);
        assert_eq!(ran.says(&left).stdout, "");
        assert!(!to.exists(), "nothing was exported");
    }
    annals(&[&"export", &store, &"--after", &removed]).exits(0);
    annals(&[&"redact", &store, &"--position", &"1"]).exits(1).says("backups and exports from before may hold it");
}

#[test]
fn who_reads_from_the_beginning_is_told_that_it_was_removed_and_a_program_is_not() {
    let (dir, store, oldest) = trimmed();
    let to = dir.path().join("exported");
    let head = (oldest + 1).to_string();
    let partial: [&[&dyn AsRef<std::ffi::OsStr>]; 8] = [
        &[&"read", &store],
        &[&"read", &store, &"--until", &head],
        &[&"read", &store, &"--stream", &"noise"],
        &[&"read", &store, &"--stream", &"early-1"],
        &[&"read", &store, &"--last", &"999999"],
        &[&"read", &store, &"--before", &"2000-01-01"],
        &[&"export", &store],
        &[&"export", &store, &"--until", &head, &"-o", &to],
    ];
    for args in partial {
        annals(args).exits(0).says(&format!("note: the log begins at position {oldest}: what comes before it was"));
        assert_eq!(annals(&[args, &[&"--json"]].concat()).exits(0).stderr, "");
    }
    let removed = (oldest - 1).to_string();
    let whole: [&[&dyn AsRef<std::ffi::OsStr>]; 7] = [
        &[&"read", &store, &"--after", &removed],
        &[&"read", &store, &"--last", &"2"],
        &[&"read", &store, &"--limit", &"2", &"--backward"],
        &[&"read", &store, &"--stream", &"late"],
        &[&"read", &store, &"--since", &"2199-01-01"],
        &[&"export", &store, &"--after", &removed],
        &[&"tail", &store],
    ];
    for args in whole {
        assert_eq!(annals(args).exits(0).stderr, "");
    }
}

#[test]
fn the_other_commands_say_where_the_log_begins_and_go_on_from_there() {
    let (_dir, store, starts) = store();
    annals(&[&"truncate", &store, &"--before", &starts[1].to_string()]).exits(0);
    let (removed, head) = (starts[1] - 1, oldest(&store).get());
    assert_eq!(head, starts[1]);

    let stats = annals(&[&"stats", &store]).exits(0).stdout;
    assert!(stats.contains(&format!("removed    positions 1 to {removed}, 2 streams known")), "{stats}");
    let stats = annals(&[&"--json", &"stats", &store]).exits(0).row();
    assert_eq!((&stats["floor"]["position"], &stats["floor"]["streams"]), (&json!(removed), &json!(2)));
    assert_eq!(stats["oldest"], json!(starts[1]));
    assert_eq!(stats["total_events"].as_u64().unwrap() - stats["events"].as_u64().unwrap(), removed);

    let verified = annals(&[&"verify", &store]).exits(0).stdout;
    assert!(verified.contains(&format!("begins behind position {removed}")), "{verified}");
    assert!(verified.contains("anchored at chain"), "{verified}");
    let to = removed.to_string();
    annals(&[&"verify", &store, &"--from", &"1", &"--to", &to]).exits(1).says(&format!("--from {head} verifies what"));
    annals(&[&"verify", &store, &"--from", &"1", &"--to", &head.to_string()]).exits(0);
    let verified = annals(&[&"--json", &"verify", &store]).exits(0).row();
    assert_eq!(verified["anchor"]["position"], json!(removed));

    let floor = store.join("floor");
    let dumped = annals(&[&"dump", &floor]).exits(0).stdout;
    assert!(dumped.contains("stream early-1 1, at 1") && dumped.contains("source shop 7"), "{dumped}");
    assert!(dumped.trim_end().ends_with("clean"), "{dumped}");
    let rows = annals(&[&"--json", &"dump", &floor]).exits(0).rows();
    assert!(rows.contains(&json!({ "kind": "stream", "name": "early-1", "value": 1, "position": 1 })), "{rows:?}");

    annals(&[&"get", &store, &"1"]).exits(1).says("the log begins at position");
    annals(&[&"read", &store, &"--after", &"0"]).exits(1).says("the log begins at position");
    annals(&[&"read", &store]).exits(0);
    let streams = annals(&[&"--json", &"streams", &store]).exits(0).rows();
    assert_eq!(streams.len(), 2, "a stream whose events are gone is still known");

    // A bit of it flips.
    let mut bytes = std::fs::read(&floor).unwrap();
    bytes[520] ^= 1;
    std::fs::write(&floor, &bytes).unwrap();
    annals(&[&"dump", &floor]).exits(1);
    let found = annals(&[&"--json", &"verify", &store]).exits(1).row();
    assert_eq!(found["findings"][0]["kind"], json!("floor"));
}

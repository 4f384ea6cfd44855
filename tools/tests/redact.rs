//! `annals redact`, and what the other commands say of events that are redacted.

mod common;

use std::fs;
use std::path::PathBuf;

use annals::{EventStore, ExpectedVersion, NewEvent, Options};
use common::{annals, snapshot};
use serde_json::json;
use tempfile::TempDir;

const SECRET: &str = "5 Elm Street";

/// Nine events, of which every third is of customer-7.
fn store() -> (TempDir, PathBuf) {
    let dir = TempDir::new().unwrap();
    let path = dir.path().join("store");
    let store = EventStore::open(&path, &Options::new().hash_chain(true)).unwrap();
    for number in 0..9 {
        let (stream, data) = match number % 3 {
            0 => ("customer-7", format!(r#"{{"to":"{SECRET}","n":{number}}}"#)),
            _ => ("customer-8", format!(r#"{{"n":{number}}}"#)),
        };
        let event = NewEvent::new("Moved", data).metadata(r#"{"by":"Mallory"}"#).tag(format!("n:{number}"));
        store.append(stream, ExpectedVersion::Any, event).unwrap();
    }
    store.close().unwrap();
    (dir, path)
}

#[test]
fn it_is_told_what_would_be_redacted_and_only_with_yes_and_a_reason_it_is() {
    let (_dir, store) = store();
    let before = snapshot(&store);
    for extra in [&["--dry-run"][..], &[], &["--reason", "request 4711"]] {
        let mut args: Vec<&dyn AsRef<std::ffi::OsStr>> = vec![&"redact", &store, &"--stream", &"customer-7"];
        args.extend(extra.iter().map(|arg| arg as &dyn AsRef<std::ffi::OsStr>));
        let plan = annals(&args).exits(0);
        assert!(plan.stdout.starts_with("would redact 3 events in 1 segment."), "{}", plan.stdout);
    }
    // What would not be redacted with --yes would not be without it.
    for reason in ["", "a\nb"] {
        annals(&[&"redact", &store, &"--position", &"1", &"--reason", &reason]).exits(2).says("is one line");
    }
    annals(&[&"redact", &store, &"--stream", &"customer"]).exits(0).says("there is no stream \"customer\"");
    annals(&[&"redact", &store, &"--stream", &"customer-7", &"--yes"]).exits(2);
    annals(&[&"redact", &store, &"--reason", &"r", &"--yes"]).exits(2);
    annals(&[&"redact", &store, &"--position", &"1", &"--tag", &"n:1"]).exits(2);
    annals(&[&"redact", &store, &"--position", &"99"]).exits(1).says("there is no event at position 99");
    assert_eq!(snapshot(&store), before);

    let done =
        annals(&[&"--json", &"redact", &store, &"--stream", &"customer-7", &"--reason", &"request 4711", &"--yes"]);
    let expected = json!({"dry_run": false, "redacted": 3, "already": 0, "segments": 1, "announced": [10]});
    assert_eq!(done.exits(0).row(), expected);
    let again = annals(&[&"redact", &store, &"--position", &"4", &"--reason", &"r", &"--yes"]).exits(0);
    assert!(again.stdout.starts_with("Nothing to redact.\nRedacted before: 1 event."), "{}", again.stdout);
    assert!(snapshot(&store).iter().all(|(_, bytes)| !bytes.windows(12).any(|there| there == SECRET.as_bytes())));
    let found = annals(&[&"verify", &store]).exits(0);
    assert!(found.stdout.contains("3 events redacted"), "{}", found.stdout);
}

#[test]
fn every_command_that_shows_events_shows_that_one_is_redacted_and_why() {
    let (_dir, store) = store();
    annals(&[&"redact", &store, &"--position", &"4", &"--reason", &"request 4711", &"--yes"]).exits(0);
    for args in [&["read"][..], &["export"], &["get"], &["tail"]] {
        let mut all: Vec<&dyn AsRef<std::ffi::OsStr>> = vec![&args[0], &store];
        if args[0] == "get" {
            all.push(&"4");
        }
        let said = annals(&all).exits(0).stdout;
        let line = said.lines().find(|line| line.contains("4711")).unwrap_or_else(|| panic!("{args:?}: {said}"));
        assert!(line.contains("customer-7") && line.contains("redacted"), "{line}");
    }
    let row = annals(&[&"--json", &"get", &store, &"4"]).exits(0).row();
    assert_eq!((&row["redacted"]["reason"], &row["redacted"]["announced"]), (&json!("request 4711"), &json!(10)));
    assert_eq!(row["redacted"]["digest"].as_str().map(str::len), Some(64));
    assert!(row.get("data").is_none() && row.get("metadata").is_none(), "{row}");
    let list = annals(&[&"read", &store, &"--stream", &"$redactions"]).exits(0).stdout;
    assert!(list.contains("$redactions @1  $redacted"), "{list}");
    let dump = annals(&[&"dump", &store]).exits(0).stdout;
    assert!(dump.contains("customer-7 @2 Moved, redacted"), "{dump}");
}

#[test]
fn an_import_refuses_redacted_events_or_takes_in_what_is_left_of_them() {
    let (dir, store) = store();
    annals(&[&"redact", &store, &"--position", &"4", &"--reason", &"request 4711", &"--yes"]).exits(0);
    let lines = dir.path().join("lines");
    fs::write(&lines, annals(&[&"export", &store]).exits(0).stdout).unwrap();
    let other = dir.path().join("other");
    annals(&[&"import", &other, &lines]).exits(1).says("import --redacted");
    let done = annals(&[&"--json", &"import", &other, &lines, &"--redacted"]).exits(0).row();
    assert_eq!((&done["head"], &done["left_out"]), (&json!(9), &json!(1)), "{done}");
    let row = annals(&[&"--json", &"get", &other, &"4"]).exits(0).row();
    assert_eq!(row["metadata"]["redacted"]["reason"], json!("request 4711"), "{row}");
    assert_eq!((&row["data_base64"], &row["tags"]), (&json!(""), &json!(["n:3"])));
    assert!(row.get("redacted").is_none(), "in this log nothing was redacted");
    annals(&[&"verify", &other]).exits(0);
}

//! `annals schema`: registering, looking, and checking a log.

mod common;

use std::fs;
use std::path::{Path, PathBuf};

use annals::{EventStore, ExpectedVersion, NewEvent, Options};
use common::{annals, snapshot};
use serde_json::json;
use tempfile::TempDir;

const PAID: &str = r#"{
  "type": "object",
  "properties": {"amount": {"type": "integer", "minimum": 1}, "currency": {"enum": ["EUR", "USD"]}},
  "required": ["amount"],
  "additionalProperties": false
}"#;

/// A store of so many events, of which every tenth is wrong.
fn store(events: u64) -> (TempDir, PathBuf) {
    let dir = TempDir::new().unwrap();
    let path = dir.path().join("store");
    let store = EventStore::open(&path, &Options::new()).unwrap();
    for number in 0..events {
        let data = if number % 10 == 3 {
            format!(r#"{{"amount":"{number}","to":1}}"#)
        } else {
            format!(r#"{{"amount":{}}}"#, number + 1)
        };
        store.append("order-7", ExpectedVersion::Any, NewEvent::new("Paid", data)).unwrap();
    }
    store.append("order-7", ExpectedVersion::Any, NewEvent::new("Noted", "{}")).unwrap();
    store.close().unwrap();
    (dir, path)
}

fn file(dir: &TempDir, name: &str, text: &str) -> PathBuf {
    let path = dir.path().join(name);
    fs::write(&path, text).unwrap();
    path
}

fn add(store: &Path, file: &Path, more: &[&str]) -> common::Ran {
    let mut args: Vec<&dyn AsRef<std::ffi::OsStr>> = vec![&"schema", &"add", &store, &"Paid", &file];
    args.extend(more.iter().map(|arg| arg as &dyn AsRef<std::ffi::OsStr>));
    annals(&args)
}

#[test]
fn a_schema_is_registered_once_listed_and_shown() {
    let (dir, store) = store(3);
    let paid = file(&dir, "paid.json", PAID);
    let before = snapshot(&store);
    let planned = add(&store, &paid, &["--dry-run"]).exits(0);
    assert_eq!(planned.stdout, "would be registered: version 1 of Paid.\n");
    assert_eq!(snapshot(&store), before);
    assert!(annals(&[&"schema", &"list", &store]).exits(0).stdout.starts_with("No schema is registered"));

    assert_eq!(add(&store, &paid, &[]).exits(0).stdout, "registered: version 1 of Paid at position 5.\n");
    assert_eq!(add(&store, &paid, &[]).exits(0).stdout, "there already: version 1 of Paid at position 5.\n");
    let wider = file(&dir, "wider.json", &PAID.replace("\"integer\"", "\"number\""));
    let row = add(&store, &wider, &["--json", "--compatibility", "full", "--force"]).exits(0).row();
    let expected = json!({"event_type": "Paid", "version": 2, "position": 6, "compatibility": "full", "forced": true, "was_there": false});
    assert_eq!(row, expected);

    let listed = annals(&[&"schema", &"list", &store]).exits(0).stdout;
    let lines: Vec<&str> = listed.lines().collect();
    assert_eq!(lines.len(), 3, "{listed}");
    assert!(lines[1].contains("Paid") && lines[1].contains("backward") && lines[2].ends_with("by force"), "{listed}");
    let shown = annals(&[&"schema", &"show", &store, &"Paid", &"--version", &"1"]).exits(0).stdout;
    assert!(shown.starts_with("{\n  \"type\": \"object\",\n  \"properties\": {\n"), "{shown}");
    let row = annals(&[&"--json", &"schema", &"show", &store, &"Paid"]).exits(0).row();
    assert_eq!((&row["version"], &row["schema"]["properties"]["amount"]["type"]), (&json!(2), &json!("number")));
    annals(&[&"schema", &"show", &store, &"Paid", &"--version", &"3"]).exits(1).says("no schema of version 3");
    annals(&[&"schema", &"show", &store, &"Payed"]).exits(1).says("no schema of \"Payed\"");
    annals(&[&"verify", &store]).exits(0);
    let read = annals(&[&"read", &store, &"--stream", &"$schema"]).exits(0).stdout;
    assert_eq!(read.lines().count(), 2, "{read}");
}

#[test]
fn what_is_no_schema_or_does_not_fit_is_refused_with_the_places_and_nothing_is_written() {
    let (dir, store) = store(3);
    let paid = file(&dir, "paid.json", PAID);
    add(&store, &paid, &[]).exits(0);
    let before = snapshot(&store);
    let bad = file(&dir, "bad.json", r#"{"properties": {"a": {"minimum": "x"}}, "required": 1}"#);
    let said = add(&store, &bad, &[]).exits(1).says("is no JSON Schema");
    assert!(said.stdout.contains("/properties/a/minimum: \"x\" is not of type \"number\""), "{}", said.stdout);
    assert!(said.stdout.contains("/required: "), "{}", said.stdout);
    let old = file(&dir, "old.json", r#"{"$schema": "http://json-schema.org/draft-03/schema#"}"#);
    let said = add(&store, &old, &[]).exits(1).stdout;
    assert!(
        said.starts_with("  /$schema: nobody knows the dialect http://json-schema.org/draft-03/schema#; known are "),
        "{said}"
    );
    let around = file(&dir, "around.json", r#"{"properties": {"a": {"pattern": "(?<=a)b"}}}"#);
    let said = add(&store, &around, &[]).exits(1).stdout;
    assert!(said.contains("/properties/a/pattern: ") && said.contains("looks around or back"), "{said}");
    let strict = file(&dir, "strict.json", &PAID.replace(r#"["amount"]"#, r#"["amount", "currency"]"#));
    let said = add(&store, &strict, &[]).exits(1).says("version 2 of Paid does not fit version 1");
    assert_eq!(said.stdout, "  breaks backward: /required: it asks for \"currency\", and the old one does not\n");
    let row = add(&store, &strict, &["--json"]).exits(1).row();
    assert_eq!((&row["verdict"], &row["path"]), (&json!("breaks"), &json!("/required")));
    add(&store, &strict, &["--version", "1"]).exits(1).says("what is registered never changes");
    add(&store, &strict, &["--version", "0"]).exits(1).says("versions begin at 1");
    add(&store, &strict, &["--compatibility", "sideways"]).exits(2);
    add(&store, &dir.path().join("nowhere.json"), &[]).exits(3);
    annals(&[&"schema", &"add", &store, &"", &paid]).exits(2);
    annals(&[&"schema", &"add", &dir.path().join("nowhere"), &"Paid", &paid]).exits(3);
    assert!(!dir.path().join("nowhere").exists());
    assert_eq!(snapshot(&store), before);
}

#[test]
fn a_check_of_the_log_names_every_violation_with_position_path_rule_and_what_was_there() {
    let (dir, store) = store(50);
    add(&store, &file(&dir, "paid.json", PAID), &[]).exits(0);
    let said = annals(&[&"schema", &"check", &store]).exits(1);
    let lines: Vec<&str> = said.stdout.lines().collect();
    assert_eq!(lines.len(), 5 * 2 + 2, "{}", said.stdout);
    let first = "        4  order-7  Paid v1  /amount: it is not of type \"integer\" (type); got \"3\"";
    assert!(lines.contains(&first), "{}", said.stdout);
    assert_eq!(lines[10], "5 events are not as their schemas ask; 50 events checked.");
    assert_eq!(lines[11], "Without a schema: Noted (1 event).");

    let rows = annals(&[&"--json", &"schema", &"check", &store, &"--strict"]).exits(1).rows();
    assert_eq!(rows.len(), 5 * 2 + 1 + 1);
    let amount = rows.iter().find(|row| row["path"] == "/amount").unwrap();
    assert_eq!((&amount["position"], &amount["rule"], &amount["got"]), (&json!(4), &json!("type"), &json!("\"3\"")));
    assert_eq!(rows[10]["kind"], "unknown-type");
    let last = &rows[11];
    assert_eq!((&last["clean"], &last["checked"], &last["faulty"]), (&json!(false), &json!(50), &json!(6)));
}

#[test]
fn a_log_that_is_as_its_schemas_ask_is_clean_and_many_violations_are_cut_off_for_a_person() {
    let (dir, store) = store(3);
    add(&store, &file(&dir, "paid.json", PAID), &[]).exits(0);
    let said = annals(&[&"schema", &"check", &store]).exits(0);
    assert!(said.stdout.starts_with("clean: 3 events checked, each as its schema asks.\n"), "{}", said.stdout);
    annals(&[&"schema", &"check", &store, &"--strict"]).exits(1);

    let (dir, store) = self::store(1_500);
    add(&store, &file(&dir, "paid.json", PAID), &[]).exits(0);
    let said = annals(&[&"schema", &"check", &store]).exits(1);
    assert!(said.stdout.contains("… and 200 more; --json lists them all"), "{}", said.stdout);
    assert_eq!(annals(&[&"--json", &"schema", &"check", &store]).exits(1).rows().len(), 301);
}

#[test]
fn an_event_that_stands_for_a_lost_one_is_counted_and_is_of_no_unknown_type() {
    let (dir, store) = store(50);
    add(&store, &file(&dir, "paid.json", PAID), &[]).exits(0);
    let segment = common::only_segment(&store);
    let mut bytes = fs::read(&segment).unwrap();
    // One in the middle of its stream, and its last one, of which nobody knows whose it was.
    for (event_type, number) in [(&b"Paid"[..], 20), (b"Noted", 0)] {
        let mut found = (0..bytes.len()).filter(|at| bytes[*at..].starts_with(event_type));
        let at = found.nth(number).unwrap();
        bytes[at] ^= 1;
    }
    fs::write(&segment, bytes).unwrap();
    annals(&[&"repair", &store, &"--accept-loss"]).exits(1);
    let repaired = store.with_extension("repaired");
    let rows = annals(&[&"--json", &"schema", &"check", &repaired, &"--strict"]).exits(1).rows();
    let last = rows.last().unwrap();
    assert_eq!((&last["lost"], &last["checked"]), (&json!(2), &json!(49)), "{last}");
    assert!(rows.iter().all(|row| row["type"] != "$lost"), "{rows:?}");
    let said = annals(&[&"schema", &"check", &repaired]).stdout;
    assert!(said.contains("Not looked at, because lost: ") && !said.contains("$lost"), "{said}");
}

#[test]
fn an_export_takes_schemas_along_and_an_import_takes_each_once_and_none_that_says_otherwise() {
    let (dir, store) = store(3);
    add(&store, &file(&dir, "paid.json", PAID), &[]).exits(0);
    let lines = file(&dir, "lines", &annals(&[&"export", &store]).exits(0).stdout);
    let other = dir.path().join("other");
    annals(&[&"import", &other, &lines]).exits(0);
    let shown = |store: &Path| annals(&[&"schema", &"show", &store, &"Paid"]).exits(0).stdout;
    assert_eq!(shown(&other), shown(&store));
    let list = annals(&[&"--json", &"schema", &"list", &other]).exits(0).rows();
    assert_eq!(list.len(), 1);
    // Under another name the lines are others; what they say of schemas is known.
    let again = annals(&[&"--json", &"import", &other, &lines, &"--source", &"again"]).exits(0).row();
    assert_eq!((&again["events"], &again["duplicates"]), (&json!(0), &json!(5)), "{again}");
    assert_eq!(annals(&[&"--json", &"schema", &"list", &other]).exits(0).rows(), list);

    let changed = fs::read_to_string(&lines).unwrap().replace("\"minimum\":1", "\"minimum\":2");
    let changed = file(&dir, "changed", &changed);
    annals(&[&"import", &other, &changed]).exits(1).says("version 1 of Paid has another schema in the store");
}

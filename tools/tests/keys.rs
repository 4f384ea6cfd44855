//! `annals keys`, and `--keys` of the commands that print events, or ask of them.

mod common;

use std::path::Path;

use annals::shred::KeyRing;
use annals::{ContentType, EventStore, ExpectedVersion, NewEvent, Options};
use common::annals;
use serde_json::{Value, json};

/// A store with an event about each of two customers, encrypted, and one about nobody.
fn store_and_ring() -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    let store = EventStore::open(dir.path().join("store"), &Options::new()).unwrap();
    let keys = KeyRing::open(dir.path().join("ring")).unwrap();
    for customer in ["customer-1", "customer-2"] {
        let event = NewEvent::new("Moved", format!("{{\"by\":\"{customer}\"}}")).content_type(ContentType::JSON);
        store.append("moves", ExpectedVersion::Any, keys.encrypt(customer, event).unwrap()).unwrap();
    }
    store.append("moves", ExpectedVersion::Any, NewEvent::new("Counted", "2")).unwrap();
    store.close().unwrap();
    dir
}

#[test]
fn what_is_encrypted_is_shown_with_the_ring_and_not_without() {
    let dir = store_and_ring();
    let (store, ring) = (dir.path().join("store"), dir.path().join("ring"));
    let without = annals(&[&"read", &store]).exits(0);
    assert!(!without.stdout.contains("customer-1"), "{}", without.stdout);
    let with = annals(&[&"read", &store, &"--keys", &ring]).exits(0);
    assert!(with.stdout.contains(r#"{"by":"customer-1"}"#) && with.stdout.contains("Counted"), "{}", with.stdout);
    let one = annals(&[&"--json", &"get", &store, &"2", &"--keys", &ring]).exits(0).row();
    assert_eq!(one["data"]["by"], "customer-2");
    assert_eq!(one["content_type"], Value::Null, "JSON goes without saying");
}

#[test]
fn a_destroyed_key_is_told_of_and_its_events_are_noise_for_ever() {
    let dir = store_and_ring();
    let (store, ring) = (dir.path().join("store"), dir.path().join("ring"));
    annals(&[&"keys", &ring, &"--destroy", &"customer-1"]).exits(2).says("say --yes");
    let done = annals(&[&"keys", &ring, &"--destroy", &"customer-1", &"--yes"]).exits(0);
    assert!(done.stdout.contains("cannot be read any more"), "{}", done.stdout);
    let read = annals(&[&"read", &store, &"--keys", &ring]).exits(0);
    assert!(!read.stdout.contains(r#""customer-1""#) && read.stdout.contains(r#""customer-2""#), "{}", read.stdout);
    assert!(read.stdout.contains("its key was destroyed"), "{}", read.stdout);
    let statuses: Vec<_> = annals(&[&"--json", &"keys", &ring]).exits(0).rows();
    let statuses: Vec<_> = statuses.iter().map(|row| (row["status"].clone(), row["subject"].clone())).collect();
    assert_eq!(statuses, [("destroyed".into(), Value::Null), ("live".into(), "customer-2".into())]);
    annals(&[&"keys", &ring, &"--destroy", &"nobody", &"--yes"]).exits(1).says("no key for");
}

/// What the statement answers of the store, asked with a ring.
fn ask(dir: &Path, ring: &str, sql: &str) -> common::Ran {
    annals(&[&"--json", &"sql", &dir.join("store"), &sql, &"--keys", &dir.join(ring)])
}

#[test]
fn what_is_encrypted_is_asked_in_sql_with_the_ring_and_is_a_blob_without() {
    let dir = store_and_ring();
    let sql = "SELECT position, data->>'$.by' AS who, content_type AS type FROM events WHERE content_type = 1";
    let rows = [
        json!({"position": 1, "who": "customer-1", "type": 1}),
        json!({"position": 2, "who": "customer-2", "type": 1}),
    ];
    assert_eq!(ask(dir.path(), "ring", sql).exits(0).rows(), rows);
    let without = "SELECT count(*) AS n FROM events WHERE typeof(data) = 'blob' AND content_type = 3";
    assert_eq!(annals(&[&"--json", &"sql", &dir.path().join("store"), &without]).exits(0).row(), json!({"n": 2}));

    // Of a destroyed key there is nothing to ask, as of a redacted event.
    annals(&[&"keys", &dir.path().join("ring"), &"--destroy", &"customer-1", &"--yes"]).exits(0);
    let sql = "SELECT data->>'$.by' AS who, metadata, content_type AS type FROM events LIMIT 2";
    let rows =
        [json!({"who": null, "metadata": null, "type": 3}), json!({"who": "customer-2", "metadata": null, "type": 1})];
    assert_eq!(ask(dir.path(), "ring", sql).exits(0).rows(), rows);
}

#[test]
fn what_another_ring_has_encrypted_is_told_of_and_stays_as_it_is_in_sql_too() {
    let dir = store_and_ring();
    drop(KeyRing::open(dir.path().join("other")).unwrap());
    let ran = ask(dir.path(), "other", "SELECT position, typeof(data) AS form FROM events WHERE position > 1").exits(1);
    assert_eq!(ran.rows(), [json!({"position": 2, "form": "blob"}), json!({"position": 3, "form": "text"})]);
    let told = common::rows(&ran.stderr).remove(0);
    assert!(told["error"].as_str().unwrap().starts_with("cannot decrypt the event at position 2: "), "{told}");
    // Who does not ask for what is encrypted is not bothered.
    ask(dir.path(), "other", "SELECT count(*), max(type) FROM events").exits(0);
    ask(dir.path(), "store", "SELECT 1").exits(3);
}

#[test]
fn a_directory_without_a_ring_is_refused_and_left_as_it_was() {
    let dir = tempfile::tempdir().unwrap();
    annals(&[&"keys", &dir.path()]).exits(3).says("no ring of keys");
    annals(&[&"keys", &dir.path(), &"--destroy", &"a", &"--yes"]).exits(3).says("no ring of keys");
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
}

#[test]
fn an_event_of_another_ring_is_told_of_and_the_others_are_shown() {
    let dir = store_and_ring();
    let other = dir.path().join("other");
    drop(KeyRing::open(&other).unwrap());
    let ran = annals(&[&"read", &dir.path().join("store"), &"--keys", &other]).exits(1);
    assert!(ran.stderr.contains("cannot decrypt the event at position 1"), "{}", ran.stderr);
    assert!(ran.stdout.contains("Counted"), "{}", ran.stdout);
}

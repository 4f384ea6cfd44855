//! `annals archive`, and `--archive` of the commands that read.

mod common;

use std::fs;
use std::path::{Path, PathBuf};

use annals::{Durability, EventStore, ExpectedVersion, NewEvent, Options, Position};
use common::annals;
use tempfile::TempDir;

fn options() -> Options {
    Options::new().segment_bytes(64 << 10).background(false).durability(Durability::Buffered)
}

fn append(dir: &Path, events: u64) {
    let store = EventStore::open(dir, &options()).unwrap();
    for number in 0..events {
        let event = NewEvent::new("Told", format!("{number} {}", "x".repeat(900)));
        store.append("a", ExpectedVersion::Any, event).unwrap();
    }
    store.flush().unwrap();
}

struct Home {
    dir: TempDir,
    store: PathBuf,
    place: PathBuf,
}

/// A store with so many events, and a place for its archive.
fn home(events: u64) -> Home {
    let dir = TempDir::new().unwrap();
    let [store, place] = ["store", "archive"].map(|name| dir.path().join(name));
    append(&store, events);
    Home { dir, store, place }
}

/// The objects of an archive whose names contain this, in order.
fn objects(place: &Path, part: &str) -> Vec<PathBuf> {
    let log = fs::read_dir(place).unwrap().next().unwrap().unwrap().path();
    let mut found: Vec<PathBuf> = fs::read_dir(log.join(part)).unwrap().map(|entry| entry.unwrap().path()).collect();
    found.sort();
    found
}

#[test]
fn a_store_is_archived_emptied_read_through_verified_and_restored_by_the_command() {
    let Home { dir, store, place } = home(300);
    let before = annals(&[&"export", &store]).exits(0).stdout;
    let row = annals(&[&"archive", &"send", &store, &place, &"--json"]).exits(0).row();
    assert!(row["segments"].as_u64() > Some(2) && row["before"] == 0 && row["dropped"].is_null(), "{row}");
    append(&store, 100);
    let all = annals(&[&"export", &store]).exits(0).stdout;
    assert!(all.starts_with(&before));

    let again = [&"archive" as &dyn AsRef<std::ffi::OsStr>, &"send", &store, &place, &"--drop-local", &"--json"];
    let row = annals(&again).exits(0).row();
    assert!(row["segments"].as_u64() > Some(0) && row["before"].as_u64() > Some(2), "{row}");
    assert_eq!(row["dropped"]["checked"], row["dropped"]["segments"]);
    let oldest = row["dropped"]["oldest"].as_u64().unwrap();
    assert!(oldest > 300, "{row}");
    let row = annals(&again).exits(0).row();
    assert_eq!((row["segments"].as_u64(), row["dropped"]["segments"].as_u64()), (Some(0), Some(0)), "{row}");

    // What is read through is what was there, byte for byte; without the archive it is said to be gone.
    assert!(annals(&[&"export", &store, &"--archive", &place]).exits(0).stdout == all);
    let row = annals(&[&"read", &store, &"--json", &"--limit", &"1"]).exits(0).row();
    assert_eq!(row["position"].as_u64(), Some(oldest));
    let read = annals(&[&"read", &store, &"--archive", &place, &"--json", &"--limit", &"3"]).exits(0).rows();
    assert_eq!(read.iter().map(|row| row["position"].as_u64().unwrap()).collect::<Vec<_>>(), [1, 2, 3]);
    annals(&[&"get", &store, &"5"]).exits(1);
    let row = annals(&[&"get", &store, &"5", &"--archive", &place, &"--json"]).exits(0).row();
    assert_eq!(row["position"], 5);
    let row = annals(&[&"verify", &store, &"--archive", &place, &"--json"]).exits(0).row();
    assert_eq!((row["events"].as_u64(), row["clean"].as_bool()), (Some(400), Some(true)), "{row}");
    let frames =
        [&"verify" as &dyn AsRef<std::ffi::OsStr>, &store, &"--archive", &place, &"--level", &"frames", &"--json"];
    assert_eq!(annals(&frames).exits(0).row()["events"], 400);

    let url = format!("file://{}", place.display());
    let row = annals(&[&"archive", &"verify", &url, &"--store", &store, &"--json"]).exits(0).row();
    assert_eq!((row["clean"].as_bool(), row["anchored"].as_bool()), (Some(true), Some(true)), "{row}");
    assert_eq!(row["last"].as_u64(), Some(oldest - 1));
    let rows = annals(&[&"archive", &"list", &url, &"--json"]).exits(0).rows();
    assert_eq!(rows.last().unwrap()["last"].as_u64(), Some(oldest - 1));
    assert!(rows.windows(2).all(|pair| pair[0]["last"] == pair[1]["base"]));

    let restored = dir.path().join("restored");
    annals(&[&"archive", &"restore", &place, &restored, &"--rest", &store]).exits(0);
    assert!(annals(&[&"export", &restored]).exits(0).stdout == all);
    annals(&[&"verify", &restored]).exits(0);
    annals(&[&"archive", &"restore", &place, &restored]).exits(3).says("is not empty");
    let alone = dir.path().join("alone");
    let row = annals(&[&"archive", &"restore", &place, &alone, &"--json"]).exits(0).row();
    assert_eq!(row["position"].as_u64(), Some(oldest - 1));
    assert_eq!(EventStore::open(&alone, &options()).unwrap().head(), Position::new(oldest - 1));
}

#[test]
fn a_person_is_told_what_was_done() {
    let Home { dir: _dir, store, place } = home(200);
    let said = annals(&[&"archive", &"send", &store, &place]).exits(0).stdout;
    assert!(said.starts_with("archived: ") && said.contains("0 there already; events 1 to "), "{said}");
    let said =
        annals(&[&"archive", &"send", &store, &place, &"--drop-local", &"--keep-events", &"100"]).exits(0).stdout;
    assert!(said.contains("read back and compared; ") && said.contains("the store begins at position "), "{said}");
    let oldest = EventStore::open_read_only(&store).unwrap().oldest();
    assert!((Position::new(30)..=Position::new(101)).contains(&oldest), "{oldest}");
    let said = annals(&[&"archive", &"list", &place]).exits(0).stdout;
    assert!(said.starts_with("log ") && said.lines().count() > 3, "{said}");
    let said = annals(&[&"archive", &"verify", &place, &"--store", &store]).exits(0).stdout;
    assert!(said.starts_with("clean: ") && said.contains("The store goes on from it"), "{said}");
}

#[test]
fn a_consumer_that_is_behind_is_named_and_what_was_archived_stays_archived() {
    let Home { dir: _dir, store, place } = home(200);
    EventStore::open(&store, &options()).unwrap().consumer("mailer").unwrap().checkpoint(Position::new(3)).unwrap();
    let send = [&"archive" as &dyn AsRef<std::ffi::OsStr>, &"send", &store, &place, &"--drop-local"];
    let ran = annals(&send).exits(1);
    assert!(ran.stderr.contains("consumer mailer (at 3) is behind"), "{}", ran.stderr);
    assert!(objects(&place, "manifest").len() > 1);
    assert_eq!(EventStore::open_read_only(&store).unwrap().oldest(), Position::new(1));
    annals(&[&send[..], &[&"--force"]].concat()).exits(0);
    assert!(EventStore::open_read_only(&store).unwrap().oldest() > Position::new(1));
}

#[test]
fn beside_a_writer_it_archives_and_removes_nothing() {
    let Home { dir: _dir, store, place } = home(200);
    let held = EventStore::open(&store, &options()).unwrap();
    annals(&[&"archive", &"send", &store, &place]).exits(0);
    annals(&[&"archive", &"send", &store, &place, &"--drop-local"]).exits(3).says("open");
    assert_eq!(held.oldest(), Position::new(1));
}

#[test]
fn what_is_wrong_with_an_archive_is_a_finding_with_the_object() {
    let Home { dir: _dir, store, place } = home(300);
    annals(&[&"archive", &"send", &store, &place, &"--drop-local"]).exits(0);
    let object = &objects(&place, "seg")[1];
    let whole = fs::read(object).unwrap();
    let name = object.file_name().unwrap().to_str().unwrap();

    let mut changed = whole.clone();
    changed[5000] ^= 1;
    fs::write(object, &changed).unwrap();
    annals(&[&"read", &store, &"--archive", &place]).exits(1).says("is not what was archived");
    let ran = annals(&[&"archive", &"verify", &place]).exits(1);
    assert!(ran.stdout.contains(name) && ran.stdout.contains("1 finding"), "{}", ran.stdout);

    fs::remove_file(object).unwrap();
    annals(&[&"export", &store, &"--archive", &place]).exits(1).says("is missing from the archive");
    let row = annals(&[&"archive", &"verify", &place, &"--json"]).exits(1).row();
    assert_eq!(row["findings"][0]["segment"], 1);

    fs::write(object, &whole[..whole.len() / 2]).unwrap();
    annals(&[&"read", &store, &"--archive", &place]).exits(1).says("bytes long");
    fs::write(object, &whole).unwrap();
    annals(&[&"read", &store, &"--archive", &place]).exits(0);

    let manifest = &objects(&place, "manifest")[1];
    let text = fs::read_to_string(manifest).unwrap();
    fs::write(manifest, text.replace("chain ", "chain  ")).unwrap();
    annals(&[&"archive", &"list", &place]).exits(1).says("manifest is damaged");
    fs::remove_file(manifest).unwrap();
    annals(&[&"read", &store, &"--archive", &place]).exits(1).says("is broken behind segment 0");
}

#[test]
fn a_foreign_log_a_wrong_place_and_an_empty_one_are_told_apart() {
    let Home { dir, store, place } = home(200);
    annals(&[&"archive", &"send", &store, &place]).exits(0);
    let other = home(200);
    annals(&[&"read", &other.store, &"--archive", &place]).exits(3).says("nothing of log");
    annals(&[&"archive", &"verify", &place, &"--store", &other.store]).exits(3).says("nothing of log");
    let empty = dir.path().join("empty");
    annals(&[&"read", &store, &"--archive", &empty]).exits(3).says("nothing of log");
    annals(&[&"archive", &"verify", &empty]).exits(3).says("nothing is archived at");
    let ran = annals(&[&"archive", &"list", &empty]).exits(0);
    assert!(ran.stdout.is_empty() && !empty.exists(), "looking makes nothing");
    annals(&[&"archive", &"send", &dir.path().join("nowhere"), &place]).exits(3).says("there is no store");

    annals(&[&"archive", &"send", &other.store, &place]).exits(0);
    annals(&[&"archive", &"verify", &place]).exits(2).says("2 logs are archived there");
    let log = EventStore::open_read_only(&other.store).unwrap().log_id().to_string();
    annals(&[&"archive", &"verify", &place, &"--log", &log]).exits(0);

    annals(&[&"archive", &"list", &"ftp://x/y"]).exits(2);
    annals(&[&"archive", &"list", &"memory:///"]).exits(2).says("none of a directory, s3://");
    for place in ["s3://bucket/x", "gs://bucket/x", "az://container/x"] {
        let ran = annals(&[&"archive", &"list", &place]);
        // With the feature, it is the credentials that are missing, or the network.
        assert!(ran.exit == Some(2) || ran.exit == Some(3), "{ran:?}");
    }
}

#[test]
fn what_was_fetched_is_kept_where_it_was_asked_to_be_and_is_not_left_elsewhere() {
    let Home { dir, store, place } = home(300);
    annals(&[&"archive", &"send", &store, &place, &"--drop-local"]).exits(0);
    let cache = dir.path().join("cache");
    let first = annals(&[&"export", &store, &"--archive", &place, &"--cache", &cache]).exits(0).stdout;
    assert!(fs::read_dir(&cache).unwrap().count() > 2);
    // Without the objects, what is in the cache is enough.
    for object in objects(&place, "seg") {
        fs::remove_file(object).unwrap();
    }
    assert!(annals(&[&"export", &store, &"--archive", &place, &"--cache", &cache]).exits(0).stdout == first);
    annals(&[&"export", &store, &"--archive", &place]).exits(1).says("is missing from the archive");
    annals(&[&"export", &store, &"--cache", &cache]).exits(2);
}

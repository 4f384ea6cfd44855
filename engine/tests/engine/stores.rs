//! Several logs in one process: none of them knows of the others, and all of them are worked for.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::sync::{Arc, Barrier};
use std::time::{Duration, Instant};

use annals::{
    AppendError, Durability, EventId, EventStore, ExpectedVersion, NewEvent, OpenError, Options, Outcome, Position,
    StoreName, Stores, StoresError, StreamVersion, Workers,
};

use crate::processes::{Running, command, say};

fn small() -> Options {
    Options::new().segment_bytes(64 << 10).zero_ahead(64 << 10)
}

fn event(bytes: usize) -> NewEvent {
    NewEvent::new("Told", vec![7; bytes])
}

fn append(store: &EventStore, bytes: usize) -> Position {
    store.append("a", ExpectedVersion::Any, event(bytes)).unwrap().last
}

fn told(names: &[StoreName]) -> Vec<&str> {
    names.iter().map(StoreName::as_str).collect()
}

/// Waits until something is so.
#[track_caller]
fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    let began = Instant::now();
    while !is_so() {
        assert!(began.elapsed() < Duration::from_secs(30), "{what}");
        std::thread::sleep(Duration::from_millis(2));
    }
}

#[test]
fn positions_versions_conflicts_ids_and_retries_are_those_of_one_log() {
    let dir = tempfile::tempdir().unwrap();
    let stores = Stores::open(dir.path(), &small());
    let (a, b) = (stores.store("a").unwrap(), stores.store("b").unwrap());
    assert_ne!(a.log_id(), b.log_id());
    let id = EventId::from_bytes([7; 16]);
    for store in [&a, &b] {
        let done = store.append("s", ExpectedVersion::NoStream, event(1).id(id)).unwrap();
        assert_eq!((done.outcome, done.last), (Outcome::Appended, Position::new(1)));
        let keyed = store.batch().event("s", event(2)).idempotency_key("k").commit().unwrap();
        assert_eq!(keyed.outcome, Outcome::Appended);
    }
    a.append("s", ExpectedVersion::Exact(StreamVersion::new(2)), event(3)).unwrap();
    let conflict = a.append("s", ExpectedVersion::Exact(StreamVersion::new(2)), event(3));
    assert!(matches!(conflict, Err(AppendError::ConcurrencyConflict { .. })), "{conflict:?}");
    // Nobody has appended to this one.
    b.append("s", ExpectedVersion::Exact(StreamVersion::new(2)), event(3)).unwrap();
    let again = b.append("s", ExpectedVersion::Any, event(1).id(id)).unwrap();
    assert_eq!((again.outcome, again.last), (Outcome::Duplicate, Position::new(1)));
    assert_eq!((a.head(), b.head()), (Position::new(3), Position::new(3)));
}

#[test]
fn a_damaged_log_is_named_and_holds_up_no_other() {
    let dir = tempfile::tempdir().unwrap();
    let stores = Stores::open(dir.path(), &small());
    for name in ["good", "hurt", "also-good"] {
        append(&stores.store(name).unwrap(), 100);
        assert!(stores.close(name).unwrap());
    }
    fs::remove_file(dir.path().join("hurt/store.meta")).unwrap();
    assert_eq!(told(&stores.names().unwrap()), ["also-good", "good", "hurt"], "it is there, whatever is wrong with it");

    let all = stores.open_all().unwrap();
    let good: Vec<&str> = all.iter().filter(|(_, opened)| opened.is_ok()).map(|(name, _)| name.as_str()).collect();
    assert_eq!(good, ["also-good", "good"]);
    assert_eq!(told(&stores.opened()), ["also-good", "good"]);
    let Err(StoresError::Open { name, source }) = &all["hurt"] else { panic!("{all:?}") };
    assert!(name.as_str() == "hurt" && matches!(source, OpenError::Inconsistent { .. }), "{source:?}");
    for name in ["good", "also-good"] {
        assert_eq!(append(&stores.store(name).unwrap(), 100), Position::new(2));
    }
    // Mended, it opens with the next call.
    fs::remove_dir_all(dir.path().join("hurt")).unwrap();
    assert_eq!(append(&stores.store("hurt").unwrap(), 100), Position::new(1));
}

#[test]
fn what_is_no_name_of_a_log_is_refused_and_nothing_is_touched() {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path().join("root");
    let stores = Stores::open(&root, &small());
    let long = "x".repeat(65);
    for name in
        ["", ".", "..", "../b", "a/b", "a/../b", "/tmp", "a\0", "A", "-a", ".a", "a.", "con", "nul.txt", "ä", &long]
    {
        let found = stores.store(name);
        assert!(matches!(found, Err(StoresError::InvalidName(_))), "{name:?}: {found:?}");
        assert!(!stores.close(name).unwrap());
    }
    assert!(!root.exists());
    let error = stores.store("A").unwrap_err().to_string();
    assert!(error.starts_with("name of a store can only have the characters a-z 0-9 _"), "{error}");
}

#[test]
fn what_is_no_log_is_not_among_the_names() {
    let dir = tempfile::tempdir().unwrap();
    let stores = Stores::open(dir.path().join("root"), &small());
    assert!(stores.names().unwrap().is_empty(), "there is no root yet");
    let reader = Stores::open_read_only(dir.path().join("root"));
    assert!(matches!(reader.names(), Err(StoresError::List { .. })), "who only reads has named the wrong place");
    drop(stores.store("b").unwrap());
    drop(stores.store("a").unwrap());
    let root = dir.path().join("root");
    fs::create_dir(root.join("empty")).unwrap();
    fs::create_dir_all(root.join("Capitals/seg")).unwrap();
    fs::write(root.join("file"), "").unwrap();
    assert_eq!(told(&stores.names().unwrap()), ["a", "b"]);
    assert_eq!(told(&reader.names().unwrap()), ["a", "b"]);
}

#[test]
fn however_many_ask_for_a_log_at_once_it_is_opened_once() {
    let dir = tempfile::tempdir().unwrap();
    let stores = Stores::open(dir.path(), &small());
    let barrier = Arc::new(Barrier::new(8));
    let threads: Vec<_> = (0..8)
        .map(|number| {
            let (stores, barrier) = (stores.clone(), Arc::clone(&barrier));
            std::thread::spawn(move || {
                barrier.wait();
                let store = stores.store(["a", "b"][number % 2]).unwrap();
                append(&store, 10);
                store.log_id()
            })
        })
        .collect();
    let logs: BTreeSet<String> = threads.into_iter().map(|thread| thread.join().unwrap().to_string()).collect();
    assert_eq!(logs.len(), 2);
    assert_eq!(
        (stores.store("a").unwrap().head(), stores.store("b").unwrap().head()),
        (Position::new(4), Position::new(4))
    );
}

#[test]
fn a_log_that_is_closed_is_anybodys_and_opened_anew_when_it_is_asked_for() {
    let dir = tempfile::tempdir().unwrap();
    let stores = Stores::open(dir.path(), &small().durability(Durability::Buffered).flush_interval(None));
    let path = dir.path().join("a");
    append(&stores.store("a").unwrap(), 10);
    append(&stores.store("b").unwrap(), 10);
    let elsewhere = EventStore::open(&path, &small());
    assert!(matches!(elsewhere, Err(OpenError::AlreadyOpen { .. })), "{elsewhere:?}");
    assert!(stores.close("a").unwrap() && !stores.close("a").unwrap() && !stores.close("c").unwrap());
    assert_eq!(told(&stores.opened()), ["b"]);
    let elsewhere = EventStore::open(&path, &small()).unwrap();
    let refused = stores.store("a").unwrap_err();
    assert!(matches!(&refused, StoresError::Open { source: OpenError::AlreadyOpen { .. }, .. }), "{refused:?}");
    append(&elsewhere, 10);
    drop(elsewhere);
    assert_eq!(stores.store("a").unwrap().head(), Position::new(2));

    // Somebody still has it: it is given up, and what was buffered is durable.
    let kept = stores.store("b").unwrap();
    append(&kept, 10);
    assert!(stores.close("b").unwrap());
    assert_eq!(kept.durable_head(), kept.head());
    append(&kept, 10);
    drop(kept);
    stores.close_all().unwrap();
    assert!(stores.opened().is_empty());
    for name in ["a", "b"] {
        drop(EventStore::open(dir.path().join(name), &small()).unwrap());
    }
}

#[test]
fn logs_that_are_only_read_follow_their_writers_and_none_is_made() {
    let dir = tempfile::tempdir().unwrap();
    let writers = Stores::open(dir.path(), &small());
    append(&writers.store("a").unwrap(), 10);
    let readers = Stores::open_read_only(dir.path());
    let reader = readers.store("a").unwrap();
    assert_eq!(reader.head(), Position::new(1));
    append(&writers.store("a").unwrap(), 10);
    assert_eq!(reader.head(), Position::new(2));
    let refused = reader.append("a", ExpectedVersion::Any, event(1));
    assert!(matches!(refused, Err(AppendError::ReadOnly)), "{refused:?}");
    let missing = readers.store("b");
    assert!(matches!(missing, Err(StoresError::Open { source: OpenError::NotFound { .. }, .. })), "{missing:?}");
    let refused = Stores::open(dir.path(), &small().create(false)).store("b");
    assert!(matches!(refused, Err(StoresError::Open { source: OpenError::NotFound { .. }, .. })), "{refused:?}");
    assert!(!dir.path().join("b").exists());
    readers.close_all().unwrap();
}

#[test]
fn each_log_is_opened_as_its_name_says() {
    let dir = tempfile::tempdir().unwrap();
    let stores = Stores::open_each(dir.path(), |name| {
        let durability = if name.starts_with("fast-") { Durability::Buffered } else { Durability::Sync };
        small().durability(durability).flush_interval(None)
    });
    let (fast, safe) = (stores.store("fast-1").unwrap(), stores.store("safe").unwrap());
    append(&fast, 10);
    append(&safe, 10);
    assert_eq!((fast.durable_head(), safe.durable_head()), (Position::START, Position::new(1)));
}

fn segments_with_an_index(path: &Path) -> usize {
    fs::read_dir(path.join("idx")).map_or(0, |entries| {
        let paths = entries.map(|entry| entry.unwrap().path());
        paths.filter(|path| path.extension().is_some_and(|extension| extension == "idx")).count()
    })
}

#[test]
fn what_is_buffered_becomes_durable_tickets_are_committed_and_indexes_made_in_all_of_many_logs() {
    let dir = tempfile::tempdir().unwrap();
    let options = small().durability(Durability::Buffered).flush_interval(Some(Duration::from_millis(20)));
    let stores = Stores::open(dir.path(), &options);
    let names: Vec<String> = (0..20).map(|number| format!("tenant-{number:02}")).collect();
    for name in &names {
        let store = stores.store(name).unwrap();
        for _ in 0..20 {
            append(&store, 9_000);
        }
        drop(store.batch().event("ticket", event(1)).submit().unwrap());
    }
    for name in &names {
        let store = stores.store(name).unwrap();
        until("the ticket is committed", || store.head() == Position::new(21));
        until("everything is durable", || store.durable_head() == store.head());
        let sealed = store.stats().segments.iter().filter(|segment| segment.sealed).count();
        assert!(sealed > 1);
        until("there is an index of each sealed segment", || segments_with_an_index(&dir.path().join(name)) == sealed);
    }
    stores.close_all().unwrap();
}

#[test]
fn closing_one_log_stops_no_work_for_the_others_and_closing_all_ends_in_time() {
    let dir = tempfile::tempdir().unwrap();
    let workers = Workers::start(1).unwrap();
    let options = small().durability(Durability::Buffered).flush_interval(Some(Duration::from_millis(5)));
    let options = options.workers(workers.clone());
    let opened: Vec<EventStore> =
        (0..6).map(|number| EventStore::open(dir.path().join(number.to_string()), &options).unwrap()).collect();
    let mut left = opened.into_iter();
    while let Some(gone) = left.next() {
        append(&gone, 30_000);
        gone.close().unwrap();
        for store in left.as_slice() {
            append(store, 30_000);
            until("it is durable, without being asked to be", || store.durable_head() == store.head());
        }
    }
    drop(workers);
}

/// What a child process does: many logs, and how many threads it has.
pub(crate) fn many(dir: &Path) {
    let stores = Stores::open(dir, &small());
    for number in 0..30 {
        append(&stores.store(format!("tenant-{number}")).unwrap(), 100);
    }
    let threads = || {
        let tasks = fs::read_dir("/proc/self/task").unwrap();
        let names = tasks.map(|task| fs::read_to_string(task.unwrap().path().join("comm")).unwrap());
        names.filter(|name| name.starts_with("annals")).count()
    };
    // Each gives itself its name, once it runs.
    std::thread::sleep(Duration::from_millis(200));
    say(&threads().to_string());
    stores.close_all().unwrap();
    drop(stores);
    // Who was waited for is gone a moment later.
    until("they have ended", || threads() == 0);
    say("none");
}

#[test]
#[cfg(target_os = "linux")]
fn thirty_logs_have_three_threads_between_them_and_none_when_they_are_closed() {
    let dir = tempfile::tempdir().unwrap();
    let child = Running::start(command("many", dir.path(), 0, &[]));
    assert_eq!(child.hears("it counts its threads"), "3");
    assert_eq!(child.hears("they have ended"), "none");
}

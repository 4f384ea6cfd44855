//! Who keeps events from being removed is believed by what the disk has, and not by what the page cache shows.

use std::sync::Arc;

use annals::storage::sim::SimDisk;
use annals::{EventStore, ExpectedVersion, Guard, NewEvent, Options, Position, TruncateError};
use annals_codec::Snapshot;

fn open(disk: &SimDisk) -> EventStore {
    let options = Options::new().background(false).flush_interval(None).zero_ahead(0).segment_bytes(64 << 10);
    EventStore::open_on(Arc::new(disk.clone()), &options).unwrap()
}

/// Events in three segments.
fn fill(store: &EventStore) {
    while store.stats().segments.len() < 3 {
        store.append("noise", ExpectedVersion::Any, NewEvent::new("Noise", vec![7; 9_000])).unwrap();
    }
}

fn snapshot(store: &EventStore, position: Position) -> Vec<u8> {
    let mark = store.mark(position).unwrap();
    Snapshot { name: "seen", mark, schema_version: 1, codec: 1, written_at: 5, notes: b"{}", payload: &[9; 3_000] }
        .encode()
}

fn keep(store: &EventStore, position: Position) {
    let file = snapshot(store, position);
    // Where it is interrupted it fails.
    let _ = store.folder("snap", "seen").and_then(|folder| folder.write(format!("{:020}.snap", position.get()), &file));
}

/// What a holder keeps for itself at the head is interrupted everywhere by a kill; then the oldest events are removed as
/// far as it seems to be done with them; then the power goes. It must find all that it needs.
fn check(begin: fn(&EventStore), go_on: fn(&EventStore), position: fn(&SimDisk, &EventStore) -> u64) {
    let told = |stop: Option<u64>| {
        let disk = SimDisk::new(7);
        let store = open(&disk);
        fill(&store);
        begin(&store);
        let before = disk.operations();
        if let Some(stop) = stop {
            disk.stop_at(stop);
        }
        go_on(&store);
        let after = disk.operations();
        drop(store);
        (disk.after_kill(), before..after + 1)
    };
    let (mut removed, mut refused) = (0, 0);
    let (_, operations) = told(None);
    for stop in operations {
        let (disk, _) = told(Some(stop));
        let store = open(&disk);
        let done = store.truncate_before(store.head(), Guard::Consumers);
        match &done {
            Ok(_) => removed += 1,
            Err(TruncateError::Behind { .. }) => refused += 1,
            Err(error) => panic!("stop {stop}: {error}"),
        }
        drop(store);
        for (how, left) in disk.endings() {
            let store = open(&left);
            let at = position(&left, &store);
            assert!(
                at + 1 >= store.oldest().get(),
                "stop {stop}, {how}: at {at}, and the log begins at {}",
                store.oldest()
            );
        }
    }
    assert!(removed > 0 && refused > 0, "both were met: {removed} and {refused}");
}

#[test]
fn a_checkpoint_that_is_only_in_the_page_cache_lets_no_event_go_that_its_consumer_may_need() {
    check(
        |store| store.consumer("reader").unwrap().checkpoint(Position::new(1)).unwrap(),
        |store| {
            if let Ok(consumer) = store.consumer("reader") {
                let _ = consumer.checkpoint(store.head());
            }
        },
        |_, store| store.consumer("reader").unwrap().position().get(),
    );
}

#[test]
fn a_snapshot_that_is_only_in_the_page_cache_lets_no_event_go_that_its_projection_may_need() {
    check(
        |store| keep(store, Position::new(1)),
        |store| keep(store, store.head()),
        |disk, _| {
            let states = disk
                .paths()
                .into_iter()
                .filter(|path| path.starts_with("snap/seen/") && path.rsplit('.').next() == Some("snap"));
            let whole = states.filter_map(|path| {
                let bytes = disk.read_file(&path)?;
                Snapshot::decode(&bytes).ok().map(|snapshot| snapshot.position().get())
            });
            whole.max().unwrap_or(0)
        },
    );
}

#[test]
fn a_snapshot_of_which_any_byte_is_wrong_lets_no_event_go() {
    let disk = SimDisk::new(7);
    let store = open(&disk);
    fill(&store);
    keep(&store, store.head());
    let path = disk.paths().into_iter().find(|path| path.rsplit('.').next() == Some("snap")).unwrap();
    drop(store);
    for at in (0..disk.file_len(&path).unwrap()).step_by(17) {
        let disk = disk.fork();
        disk.flip(&path, 8 * at + at % 8);
        let store = open(&disk);
        let plan = store.plan_truncation(store.head()).unwrap();
        assert_eq!(plan.behind.len(), 1, "byte {at}");
        let refused = store.truncate_before(store.head(), Guard::Consumers);
        assert!(matches!(refused, Err(TruncateError::Behind { .. })), "byte {at}: {refused:?}");
    }
    let store = open(&disk);
    assert!(store.truncate_before(store.head(), Guard::Consumers).unwrap().segments > 0);
}

//! Simulated crashes: wherever the process dies and whatever fails, what resumes equals what is built anew.

use std::sync::Arc;

use annals::storage::sim::{Fault, PowerLoss, SimDisk};
use annals::{Durability, EventStore, NewEvent, Position};
use annals_projection::{Handlers, Projection, ProjectionError};

use crate::support::*;

fn projection() -> Projection<Handlers<Seen>> {
    seen("seen").snapshot_every(4)
}

fn try_open(disk: &SimDisk) -> Option<EventStore> {
    EventStore::open_on(Arc::new(disk.clone()), &quiet()).ok()
}

/// Appends, folds and takes snapshots until the disk dies.
fn story(disk: &SimDisk) {
    let Some(store) = try_open(disk) else { return };
    let Ok(mut projection) = projection().attach(&store) else { return };
    let mut next = store.head().get() + 1;
    for durability in [Durability::Sync, Durability::Buffered, Durability::Buffered, Durability::Sync] {
        let events = (next..next + 3).map(|number| NewEvent::new("Added", number.to_string()));
        if store.batch().durability(durability).events("numbers", events).commit().is_ok() {
            next += 3;
        }
        let _ = projection.catch_up();
    }
    let _ = projection.take_snapshot();
}

/// What resumes is not ahead of the log, and comes to what is built anew.
fn check(disk: &SimDisk, context: &str) {
    let store = try_open(disk).unwrap_or_else(|| panic!("{context}: it cannot be opened"));
    let (head, durable) = (store.head(), store.durable_head());
    let mut resumed = projection().attach(&store).unwrap_or_else(|error| panic!("{context}: {error}"));
    let begins = resumed.position();
    assert!(begins <= durable, "{context}: the snapshot at {begins} is ahead of {durable}");
    assert!(
        *resumed.state() == seen_of(1..=begins.get()),
        "{context}: at {begins} it is {:?}",
        resumed.state().clone()
    );
    let ignored = resumed.ignored_snapshots();
    assert!(ignored.is_empty(), "{context}: a clean crash leaves none that is bad: {ignored:?}");
    assert_eq!(resumed.catch_up().unwrap(), head, "{context}");
    let mut anew = seen("anew").attach(&store).unwrap();
    anew.catch_up().unwrap();
    assert!(
        *resumed.state() == *anew.state(),
        "{context}: {:?} and {:?}",
        resumed.state().clone(),
        anew.state().clone()
    );
    assert!(*anew.state() == seen_of(1..=head.get()), "{context}: each event once");
}

fn losses(disk: &SimDisk) -> Vec<(String, SimDisk)> {
    let mut left = vec![("kill".to_owned(), disk.after_kill())];
    for seed in 0..4 {
        left.push((format!("random {seed}"), disk.after_power_loss(PowerLoss::Random, seed)));
    }
    for loss in [PowerLoss::KeepLeast, PowerLoss::KeepMost] {
        left.push((format!("{loss:?}"), disk.after_power_loss(loss, 1)));
    }
    for operation in 0..disk.operations() {
        left.push((format!("all but {operation}"), disk.after_power_loss(PowerLoss::DropOnly(operation), 1)));
        left.push((format!("only {operation}"), disk.after_power_loss(PowerLoss::KeepOnly(operation), 1)));
    }
    left
}

#[test]
fn wherever_a_process_dies_what_resumes_equals_what_is_built_anew() {
    let whole = SimDisk::new(1);
    story(&whole);
    let snapshots = whole.paths().iter().filter(|path| path.starts_with("snap/")).count();
    assert_eq!(snapshots, 2, "the story takes snapshots, and removes some");
    for stop in 0..=whole.operations() {
        let disk = SimDisk::new(1);
        disk.stop_at(stop);
        story(&disk);
        for (loss, left) in losses(&disk) {
            check(&left, &format!("stop {stop}, {loss}"));
        }
    }
}

#[test]
fn a_second_life_that_dies_too_leaves_the_same() {
    let first = SimDisk::new(1);
    story(&first);
    let whole = first.after_kill();
    let mut operations = whole.operations();
    story(&whole);
    operations = whole.operations() - operations;
    for stop in 0..=operations {
        for seed in 0..3 {
            let disk = if seed == 0 { first.after_kill() } else { first.after_power_loss(PowerLoss::Random, seed) };
            disk.stop_at(stop);
            story(&disk);
            check(&disk.after_kill(), &format!("stop {stop} of the second life, seed {seed}, kill"));
            for loss in [PowerLoss::KeepLeast, PowerLoss::Random] {
                let left = disk.after_power_loss(loss, seed);
                check(&left, &format!("stop {stop} of the second life, seed {seed}, {loss:?}"));
            }
        }
    }
}

#[test]
fn whatever_fails_what_resumes_equals_what_is_built_anew() {
    let whole = SimDisk::new(1);
    story(&whole);
    for fail in 0..whole.operations() {
        for fault in [Fault::Eio, Fault::StorageFull, Fault::ShortWrite, Fault::ShortThenFull] {
            let disk = SimDisk::new(1);
            disk.fail_at(fail, fault);
            story(&disk);
            for (loss, left) in losses(&disk) {
                // A store that could not even be made is another matter.
                if try_open(&left.fork()).is_some() {
                    check(&left, &format!("{fault:?} at {fail}, {loss}"));
                }
            }
        }
    }
}

#[test]
fn history_that_was_removed_under_a_projection_is_an_error_and_no_wrong_state() {
    use annals::storage::{Access, Storage};
    use annals_codec::StoreMeta;
    // Retention is not there yet. This is what it will leave: a floor, and no segment below it.
    let disk = SimDisk::new(1);
    let store = open(&disk);
    while store.stats().segments.len() < 2 {
        let event = NewEvent::new("Noted", vec![7; 9000]);
        store.append("noise", annals::ExpectedVersion::Any, event).unwrap();
    }
    add(&store, [1]);
    let first = store.stats().segments[0].clone();
    let mut kept = projection().attach(&store).unwrap();
    kept.catch_up().unwrap();
    kept.take_snapshot().unwrap();
    drop((kept, store));
    let disk = disk.after_kill();
    let mut meta = StoreMeta::decode(&disk.read_file("store.meta").unwrap()).unwrap();
    (meta.floor, meta.floor_base) = (first.number.next(), first.last);
    meta.sequence += 1;
    let storage: &dyn Storage = &disk;
    let file = storage.open("store.meta", Access::ReadWrite).unwrap();
    file.write_at(meta.slot_offset(), &meta.encode()).unwrap();
    storage.remove(&first.path).unwrap();

    let store = open(&disk);
    let error = seen("late").attach(&store).unwrap_err();
    let ProjectionError::HistoryTruncated { oldest, position } = error else { panic!("{error:?}") };
    assert_eq!((oldest, position), (first.last.plus(1), Position::START));
    // One that has passed it goes on, and cannot be built anew.
    let mut kept = projection().attach(&store).unwrap();
    kept.catch_up().unwrap();
    assert_eq!(kept.state().sum, 1);
    assert!(matches!(kept.rebuild(), Err(ProjectionError::HistoryTruncated { .. })));
    assert!(matches!(kept.rebuild_beside(), Err(ProjectionError::HistoryTruncated { .. })));
    assert_eq!(kept.state().sum, 1, "what is there is not thrown away for what cannot be had");
}

//! Simulated crashes: wherever the process dies and whatever fails, what resumes equals what is built anew.

use std::sync::Arc;

use annals::storage::sim::{Fault, PowerLoss, SimDisk};
use annals::{Durability, EventStore, ExpectedVersion, Guard, HolderKind, NewEvent, Position, TruncateError};
use annals_projection::{Handlers, Projection, ProjectionError, UpTo, reconstruct_state};

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
        for (loss, left) in disk.endings() {
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
            for (loss, left) in disk.endings() {
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
    let disk = SimDisk::new(1);
    let store = open(&disk);
    while store.stats().segments.len() < 2 {
        let event = NewEvent::new("Noted", vec![7; 9000]);
        store.append("noise", annals::ExpectedVersion::Any, event).unwrap();
    }
    let first = store.stats().segments[0].clone();
    let mut kept = projection().attach(&store).unwrap();
    kept.catch_up().unwrap();
    kept.take_snapshot().unwrap();
    add(&store, [1]);
    kept.catch_up().unwrap();
    while store.stats().segments.len() < 3 {
        store.append("noise", ExpectedVersion::Any, NewEvent::new("Noted", vec![7; 9000])).unwrap();
    }
    let refused = store.truncate_before(Position::END, Guard::Consumers);
    let Err(TruncateError::Behind { holders, .. }) = refused else { panic!("{refused:?}") };
    assert_eq!((holders[0].kind, &*holders[0].name), (HolderKind::Projected, "seen"));
    // Nor do its snapshots say that it has seen what comes before the second segment: they are read.
    kept.catch_up().unwrap();
    kept.take_snapshot().unwrap();
    let refused = store.truncate_before(Position::END, Guard::Consumers);
    assert!(refused.is_ok(), "whose snapshot has passed it needs nothing: {refused:?}");
    drop((kept, store));
    let oldest_left = refused.unwrap().oldest;

    let store = open(&disk);
    let error = seen("late").attach(&store).unwrap_err();
    let ProjectionError::HistoryTruncated { oldest, position } = error else { panic!("{error:?}") };
    assert_eq!((oldest, position), (oldest_left, Position::START));
    assert!(first.last < oldest_left);
    // One that has passed it goes on, and cannot be built anew.
    let mut kept = projection().attach(&store).unwrap();
    kept.catch_up().unwrap();
    assert_eq!(kept.state().sum, 1);
    assert!(matches!(kept.rebuild(), Err(ProjectionError::HistoryTruncated { .. })));
    assert!(matches!(kept.rebuild_beside(), Err(ProjectionError::HistoryTruncated { .. })));
    assert_eq!(kept.state().sum, 1, "what is there is not thrown away for what cannot be had");
    // One stream, folded by itself.
    let sums = Handlers::new(0).when("Added", |sum: &mut u64, event| *sum += number(event));
    let folded = reconstruct_state(&store, "numbers", &sums, UpTo::Head);
    assert!(matches!(folded, Err(ProjectionError::HistoryTruncated { .. })), "{folded:?}");
}

#[test]
fn a_projection_that_history_is_removed_from_while_it_stands_still_says_so_and_keeps_its_state() {
    let store = open(&SimDisk::new(1));
    add(&store, [1, 2]);
    let mut slow = seen("slow").attach(&store).unwrap();
    slow.catch_up().unwrap();
    while store.stats().segments.len() < 3 {
        store.append("noise", ExpectedVersion::Any, NewEvent::new("Noted", vec![7; 9000])).unwrap();
    }
    add(&store, [3]);
    store.truncate_before(Position::END, Guard::Force).unwrap();
    let refused = slow.catch_up();
    assert!(matches!(refused, Err(ProjectionError::HistoryTruncated { .. })), "{refused:?}");
    assert_eq!(slow.state().sum, 3);
    assert_eq!(slow.position().get(), 2);
}

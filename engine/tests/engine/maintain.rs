//! What the background thread does, done by a program without threads when it is idle.
//!
//! The thread runs the same code, but nobody can tell when. Here each step has its time, so these
//! tests say what it asks of the disk, and the stories of `crash` stop it everywhere.

use std::sync::Arc;
use std::time::Duration;

use annals::Durability::Buffered;
use annals::storage::sim::{Fault, SimDisk};
use annals::{AppendError, EventStore, ExpectedVersion, NewEvent, Options, Position};

use crate::support::{asked, open, open_read_only, options};

fn open_with(disk: &SimDisk, options: &Options) -> EventStore {
    EventStore::open_on(Arc::new(disk.clone()), options).unwrap()
}

fn append(store: &EventStore, bytes: usize) -> Result<Position, AppendError> {
    let event = NewEvent::new("Told", vec![7; bytes]);
    store.append("a", ExpectedVersion::Any, event).map(|done| done.last)
}

/// A store that has taken in one event of so many bytes, on a disk where its segment has its name.
fn holding(bytes: usize) -> (SimDisk, EventStore) {
    let disk = SimDisk::new(4);
    drop(open(&disk).unwrap());
    let store = open(&disk).unwrap();
    append(&store, bytes).unwrap();
    (disk, store)
}

const PREPARED: &str = "seg/00000000000000000001.seg.ahead.tmp";

#[test]
fn space_is_zeroed_as_far_ahead_as_the_log_is_long_and_no_further_than_is_asked_for() {
    for bytes in [100, 9_000, 20_000] {
        let (disk, store) = holding(bytes);
        let written = store.stats().bytes;
        assert_eq!(asked(&disk, || store.maintain().unwrap()), ["write_at seg"]);
        let place = format!(" {written}+{}", written.min(16 << 10));
        assert!(disk.journal()[0].ends_with(&place), "{:?}, and not{place}", disk.journal());
        assert_eq!(asked(&disk, || store.maintain().unwrap()), [""; 0]);
    }
}

#[test]
fn appends_into_zeroed_space_reserve_none() {
    let (disk, store) = holding(20_000);
    store.maintain().unwrap();
    for _ in 0..8 {
        assert_eq!(asked(&disk, || append(&store, 1_000).unwrap()), ["write_at seg", "sync seg", "write_at WATERMARK"]);
    }
}

#[test]
fn zeroed_space_that_a_rewind_has_cut_off_is_reserved_again() {
    let (disk, store) = holding(20_000);
    store.maintain().unwrap();
    disk.fail_at(disk.operations(), Fault::StorageFull);
    assert!(matches!(append(&store, 1_000), Err(AppendError::StorageFull)));
    let operations = asked(&disk, || append(&store, 1_000).unwrap());
    assert_eq!(operations[..2], ["allocate seg", "write_at seg"]);
}

#[test]
fn nothing_is_zeroed_for_buffered_appends_nor_where_it_is_off() {
    for options in [options().zero_ahead(0), options().durability(Buffered)] {
        let disk = SimDisk::new(4);
        let store = open_with(&disk, &options);
        append(&store, 20_000).unwrap();
        assert_eq!(asked(&disk, || store.maintain().unwrap()), [""; 0]);
    }
}

#[test]
fn the_next_segment_is_prepared_once_when_this_one_is_half_full_and_the_roll_takes_it() {
    let (disk, store) = holding(20_000);
    store.maintain().unwrap();
    assert_eq!(disk.file_len(PREPARED), None, "it is not half full yet");
    append(&store, 10_000).unwrap();
    assert_eq!(asked(&disk, || store.maintain().unwrap())[..3], ["create seg.tmp", "write_at seg.tmp", "sync seg.tmp"]);
    assert_eq!(disk.file_len(PREPARED), Some(16 << 10));
    assert_eq!(asked(&disk, || store.maintain().unwrap()), [""; 0]);

    let roll = asked(&disk, || append(&store, 32_000).unwrap());
    assert!(roll.contains(&"rename seg.tmp".to_owned()) && !roll.contains(&"create seg.tmp".to_owned()), "{roll:?}");
    assert_eq!((disk.file_len(PREPARED), store.stats().segments.len()), (None, 2));
    assert_eq!(store.read_all(Position::START).map(Result::unwrap).count(), 3);
}

#[test]
fn a_prepared_segment_that_was_not_needed_is_removed_at_close_and_after_a_kill() {
    let (disk, store) = holding(30_000);
    store.maintain().unwrap();
    let killed = disk.after_kill();
    drop(store);
    assert_eq!(disk.file_len(PREPARED), None);
    assert!(killed.file_len(PREPARED).is_some());
    let store = open(&killed).unwrap();
    assert_eq!((killed.file_len(PREPARED), store.head()), (None, Position::new(1)));
    assert_eq!(append(&store, 30_000).unwrap(), Position::new(2));
}

#[test]
fn buffered_appends_are_synced_when_their_time_is_up_and_not_before() {
    for (interval, durable) in [(Some(Duration::ZERO), 1), (Some(Duration::from_secs(3600)), 0), (None, 0)] {
        let disk = SimDisk::new(4);
        let store = open_with(&disk, &options().durability(Buffered).flush_interval(interval));
        append(&store, 10).unwrap();
        store.maintain().unwrap();
        assert_eq!(store.durable_head(), Position::new(durable), "{interval:?}");
    }
}

#[test]
fn a_ticket_that_nobody_waits_for_is_committed() {
    let (_, store) = holding(10);
    drop(store.batch().event("a", NewEvent::new("Told", "")).submit().unwrap());
    assert_eq!(store.head(), Position::new(1));
    store.maintain().unwrap();
    assert_eq!(store.head(), Position::new(2));
}

#[test]
fn an_index_file_that_is_missing_is_made_the_first_time() {
    let (disk, store) = holding(40_000);
    append(&store, 40_000).unwrap();
    drop(store);
    let index = "idx/00000000000000000000.idx";
    let before = disk.read_file(index).unwrap();
    disk.remove_file(index);
    let store = open(&disk).unwrap();
    assert_eq!(disk.read_file(index), None, "opening makes none");
    store.maintain().unwrap();
    assert!(disk.read_file(index).unwrap() == before);
    disk.remove_file(index);
    assert_eq!(asked(&disk, || store.maintain().unwrap()), [""; 0], "a second time costs nothing");
}

/// What is said and what can be done after the first operation of maintaining has failed.
fn check_failure(bytes: usize, fault: Fault, poisons: bool) {
    let (disk, store) = holding(bytes);
    disk.fail_at(disk.operations(), fault);
    let done = store.maintain();
    let again = append(&store, 10);
    if poisons {
        assert!(matches!(done, Err(AppendError::Poisoned { .. })), "{done:?}");
        assert!(matches!(again, Err(AppendError::Poisoned { .. })), "{again:?}");
        let operations = disk.operations();
        assert!(matches!(store.maintain(), Err(AppendError::Poisoned { .. })));
        assert_eq!(disk.operations(), operations, "nothing is done for a store that takes no more appends");
    } else {
        done.unwrap();
        assert_eq!(again.unwrap(), Position::new(2));
    }
}

#[test]
fn an_error_of_the_active_segments_file_poisons_and_one_of_the_next_segments_file_does_not() {
    check_failure(100, Fault::Eio, true);
    check_failure(30_000, Fault::Eio, false);
}

#[test]
fn a_full_disk_is_nobodys_error_and_is_tried_again() {
    for fault in [Fault::StorageFull, Fault::ShortThenFull, Fault::ShortWrite] {
        check_failure(100, fault, false);
        check_failure(30_000, fault, false);
    }
    let (disk, store) = holding(30_000);
    disk.set_capacity(Some(disk.used()));
    store.maintain().unwrap();
    assert_eq!(disk.file_len(PREPARED), None);
    disk.set_capacity(None);
    store.maintain().unwrap();
    assert_eq!(disk.file_len(PREPARED), Some(16 << 10));
}

#[test]
fn a_store_that_is_only_read_is_not_maintained() {
    let (disk, _store) = holding(10);
    assert!(matches!(open_read_only(&disk).unwrap().maintain(), Err(AppendError::ReadOnly)));
}

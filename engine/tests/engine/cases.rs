//! The rows of the table of cases, one test each: what the public API means.
//!
//! Each runs on the memory-mapped disk, the disk without mapping, and the
//! simulated disk, because a caller must not be able to tell them apart.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use annals::storage::sim::{Fault, SimDisk};
use annals::{
    AppendError, ContentType, Durability, EventId, EventStore, ExpectedVersion, NewEvent, OpenError, Options, Outcome,
    Position, StreamVersion,
};

use crate::places::*;

use ExpectedVersion::{Any, Exact, NoStream, StreamExists};

/// What an expectation says about a stream with this many events.
fn check_expectation(events: u64, expected: ExpectedVersion, is_met: bool) {
    on_every_store(&quiet(), |store| {
        for _ in 0..events {
            store.append("order-1", Any, event("Placed")).unwrap();
        }
        store.append("other-1", Any, event("Noise")).unwrap();
        let head = store.head();
        let done = store.append("order-1", expected, event("Checked"));
        if is_met {
            let done = done.unwrap();
            assert_eq!((done.outcome, done.version), (Outcome::Appended, ver(events + 1)));
            assert_eq!((done.first, done.last), (head.plus(1), head.plus(1)));
            return;
        }
        match done {
            Err(AppendError::ConcurrencyConflict { stream, expected: told, actual, last_position }) => {
                assert_eq!((&*stream, told, actual), ("order-1", expected, ver(events)));
                assert_eq!(last_position, pos(events), "where the caller finds what it has missed");
            }
            other => panic!("{other:?}"),
        }
        assert_eq!(store.head(), head, "nothing was written");
        assert_eq!(store.stream_version("order-1").unwrap(), ver(events));
    });
}

#[test]
fn any_checks_nothing() {
    check_expectation(0, Any, true);
    check_expectation(3, Any, true);
}

#[test]
fn no_stream_is_met_only_by_a_stream_without_events() {
    check_expectation(0, NoStream, true);
    check_expectation(1, NoStream, false);
}

#[test]
fn stream_exists_is_met_only_by_a_stream_with_events() {
    check_expectation(0, StreamExists, false);
    check_expectation(1, StreamExists, true);
}

#[test]
fn exact_is_met_only_by_that_version() {
    check_expectation(2, Exact(ver(2)), true);
    check_expectation(2, Exact(ver(1)), false);
    check_expectation(2, Exact(ver(3)), false);
}

#[test]
fn exact_zero_means_no_stream() {
    check_expectation(0, Exact(StreamVersion::EMPTY), true);
    check_expectation(1, Exact(StreamVersion::EMPTY), false);
}

#[test]
fn a_conflict_message_says_what_is_what_and_what_to_do() {
    let store = EventStore::in_memory(&quiet()).unwrap();
    store.append("order-1", Any, event("Placed")).unwrap();
    let error = store.append("order-1", NoStream, event("Placed")).unwrap_err().to_string();
    assert_eq!(
        error,
        "stream order-1 is at version 1, not a stream without events: read what is new, decide again, and retry"
    );
}

#[test]
fn a_refused_append_changes_no_byte_on_disk() {
    let dir = tempfile::tempdir().unwrap();
    let store = EventStore::open(dir.path(), &quiet()).unwrap();
    store.append("order-1", Any, event("Placed")).unwrap();
    let before = files_of(dir.path());
    store.append("order-1", NoStream, event("Placed")).unwrap_err();
    store.append_batch("order-1", Any, []).unwrap_err();
    store.append("", Any, event("Placed")).unwrap_err();
    assert!(files_of(dir.path()) == before);
}

#[test]
fn limits_are_checked_before_versions() {
    // Or a caller who retries after a conflict would read, decide again, and only then hear that it never fits.
    on_every_store(&quiet().max_event_bytes(1000), |store| {
        store.append("order-1", Any, event("Placed")).unwrap();
        let large = NewEvent::new("Large", vec![0; 2000]);
        let error = store.append("order-1", NoStream, large).unwrap_err();
        assert!(matches!(error, AppendError::EventTooLarge { limit: 1000, .. }), "{error:?}");
        let error = store.append_batch("order-1", NoStream, []).unwrap_err();
        assert!(matches!(error, AppendError::EmptyBatch), "{error:?}");
    });
}

#[test]
fn all_streams_of_a_batch_are_checked_against_the_state_before_it() {
    on_every_store(&quiet(), |store| {
        // Were the batch's own first event counted, `NoStream` would not hold for its second.
        let batch = store.batch().expect("a-1", NoStream).expect("b-1", Exact(ver(0)));
        let done = batch.event("a-1", event("A")).event("b-1", event("B")).event("a-1", event("A")).commit().unwrap();
        assert_eq!((done.first, done.last, done.version), (pos(1), pos(3), ver(2)));

        let refused = store.batch().expect("a-1", Exact(ver(2))).expect("b-1", Exact(ver(7)));
        let refused = refused.event("a-1", event("A")).event("b-1", event("B")).commit().unwrap_err();
        assert!(
            matches!(&refused, AppendError::ConcurrencyConflict { stream, actual, .. } if **stream == *"b-1" && *actual == ver(1)),
            "{refused:?}"
        );
        assert_eq!(whole(store), ["a-1/1/A", "b-1/1/B", "a-1/2/A"], "all or nothing");
    });
}

#[test]
fn versions_of_an_interleaved_batch_grow_in_the_order_of_the_list() {
    on_every_store(&quiet(), |store| {
        let batch = store.batch().event("a", event("1")).event("b", event("2")).event("a", event("3"));
        batch.events("b", [event("4"), event("5")]).event("a", event("6")).commit().unwrap();
        assert_eq!(whole(store), ["a/1/1", "b/1/2", "a/2/3", "b/2/4", "b/3/5", "a/3/6"]);
    });
}

#[test]
fn a_batch_may_expect_something_of_a_stream_that_it_does_not_write() {
    on_every_store(&quiet(), |store| {
        store.append("account-1", Any, event("Opened")).unwrap();
        let write = |expected| store.batch().expect("account-1", expected).event("order-1", event("Placed")).commit();
        assert!(matches!(write(NoStream), Err(AppendError::ConcurrencyConflict { .. })));
        assert_eq!(store.head(), pos(1));
        write(Exact(ver(1))).unwrap();
        assert_eq!(store.stream_version("account-1").unwrap(), ver(1));
        assert_eq!(store.stream_version("order-1").unwrap(), ver(1));
    });
}

#[test]
fn of_several_expectations_of_a_stream_the_last_one_counts() {
    let store = EventStore::in_memory(&quiet()).unwrap();
    let batch = store.batch().expect("a", StreamExists).event("a", event("A")).expect("a", NoStream);
    batch.commit().unwrap();
}

#[test]
fn a_later_request_of_a_group_sees_the_earlier_ones() {
    on_every_store(&quiet(), |store| {
        let ticket = |expected| store.batch().expect("a", expected).event("a", event("A")).submit().unwrap();
        let (first, second, third) = (ticket(NoStream), ticket(NoStream), ticket(Exact(ver(1))));
        assert_eq!(third.wait().unwrap().version, ver(2));
        assert_eq!(first.wait().unwrap().version, ver(1));
        let error = second.wait().unwrap_err();
        assert!(matches!(error, AppendError::ConcurrencyConflict { actual, .. } if actual == ver(1)), "{error:?}");
    });
}

#[test]
fn an_answer_that_depends_on_the_group_shares_its_fate_and_another_does_not() {
    let disk = SimDisk::new(1);
    let store = EventStore::open_on(Arc::new(disk.clone()), &quiet()).unwrap();
    store.append("old", Any, event("A")).unwrap();
    let ticket = |stream, expected| store.batch().expect(stream, expected).event(stream, event("A")).submit().unwrap();
    let written = ticket("new", NoStream);
    // "new exists already" would be a lie if the sync failed and the event were not there after all.
    let depends = ticket("new", NoStream);
    let independent = ticket("old", NoStream);
    // The group is one write, and then its sync.
    disk.fail_at(disk.operations() + 1, Fault::Eio);
    let error = written.wait().unwrap_err();
    assert!(matches!(error, AppendError::CommitUnknown { .. }), "{error:?}");
    let error = depends.wait().unwrap_err();
    assert!(matches!(error, AppendError::CommitUnknown { .. }), "{error:?}");
    let error = independent.wait().unwrap_err();
    assert!(matches!(error, AppendError::ConcurrencyConflict { actual, .. } if actual == ver(1)), "{error:?}");
}

#[test]
fn an_empty_batch_is_an_error_also_when_it_expects_something() {
    on_every_store(&quiet(), |store| {
        for refused in [
            store.append_batch("a", Any, []),
            store.batch().commit(),
            store.batch().expect("a", NoStream).commit(),
            store.batch().submit().map(|_| unreachable!()),
        ] {
            assert!(matches!(refused, Err(AppendError::EmptyBatch)), "{refused:?}");
        }
        assert_eq!(store.head(), Position::START);
    });
}

#[test]
fn a_batch_of_nothing_but_a_tracking_record_is_allowed() {
    on_every_kind(|place| {
        let store = place.open(&quiet());
        store.append("a", Any, event("A")).unwrap();
        let done = store.batch().tracking("kafka", 17).commit().unwrap();
        assert_eq!((done.first, done.last), (pos(2), pos(1)), "it takes no position");
        assert_eq!(store.head(), pos(1));
        drop(store);
        let store = place.open(&quiet());
        assert!(store.recovery_report().is_clean(), "{:?}", store.recovery_report());
        assert_eq!(store.tracking("kafka").unwrap(), Some(17));
        assert_eq!(place.try_read().unwrap().tracking("kafka").unwrap(), Some(17));
    });
}

#[test]
fn a_tracking_record_that_repeats_or_goes_back_takes_nothing_in() {
    on_every_kind(|place| {
        let store = place.open(&quiet());
        assert_eq!(store.tracking("kafka").unwrap(), None);
        let intake = |store: &EventStore, at| store.batch().event("a", event("A")).tracking("kafka", at).commit();
        intake(&store, 5).unwrap();
        drop(store);
        let store = place.open(&quiet());
        for given in [5, 4, 0] {
            match intake(&store, given) {
                Err(AppendError::TrackingConflict { source_name, given: told, recorded }) => {
                    assert_eq!((&*source_name, told, recorded), ("kafka", given, 5));
                }
                other => panic!("{given}: {other:?}"),
            }
            assert_eq!(store.head(), pos(1), "exactly once");
        }
        intake(&store, 6).unwrap();
        assert_eq!(store.tracking("kafka").unwrap(), Some(6));
        assert_eq!(store.tracking("rabbit").unwrap(), None, "each source has its own position");
    });
}

#[test]
fn the_first_tracking_record_may_be_at_zero() {
    let store = EventStore::in_memory(&quiet()).unwrap();
    store.batch().tracking("kafka", 0).commit().unwrap();
    assert_eq!(store.tracking("kafka").unwrap(), Some(0));
}

#[test]
fn a_version_conflict_leaves_the_tracking_record_as_it_was() {
    on_every_store(&quiet(), |store| {
        store.batch().event("a", event("A")).tracking("kafka", 1).commit().unwrap();
        store.batch().expect("a", NoStream).event("a", event("A")).tracking("kafka", 2).commit().unwrap_err();
        assert_eq!(store.tracking("kafka").unwrap(), Some(1));
        // And the writer's own memory of it too: 2 is still free.
        store.batch().event("a", event("A")).tracking("kafka", 2).commit().unwrap();
    });
}

#[test]
fn tracking_of_an_early_segment_is_found_after_many_rolls() {
    on_every_kind(|place| {
        let store = place.open(&quiet());
        store.batch().tracking("kafka", 3).commit().unwrap();
        for _ in 0..10 {
            store.append("a", Any, NewEvent::new("Large", vec![1; 30_000])).unwrap();
        }
        assert!(store.stats().segments.len() > 3);
        assert_eq!(store.tracking("kafka").unwrap(), Some(3));
        drop(store);
        let store = place.open(&quiet());
        assert_eq!(store.tracking("kafka").unwrap(), Some(3));
        let error = store.batch().tracking("kafka", 3).commit().unwrap_err();
        assert!(matches!(error, AppendError::TrackingConflict { recorded: 3, .. }), "{error:?}");
    });
}

#[test]
fn an_empty_payload_is_kept_as_one() {
    on_every_kind(|place| {
        let store = place.open(&quiet());
        store.append("a", Any, NewEvent::new("Empty", "")).unwrap();
        drop(store);
        let event = place.open(&quiet()).get(pos(1)).unwrap().unwrap();
        assert_eq!(event.data().len(), 0);
        assert_eq!(event.metadata(), None);
    });
}

#[test]
fn everything_that_is_said_about_an_event_comes_back() {
    let id = EventId::from_bytes([1; 16]);
    let (correlation, causation) = (EventId::from_bytes([2; 16]), EventId::from_bytes([3; 16]));
    on_every_kind(|place| {
        let store = place.open(&quiet());
        let new = NewEvent::new("OrderPlaced", "payload").id(id).tag("customer:42").tag("urgent").metadata("beside");
        let new = new.correlation_id(correlation).causation_id(causation).occurred_at(-5).schema_version(9);
        store.append("order-1", Any, new.content_type(ContentType::new(200))).unwrap();
        store.append("order-1", Any, NewEvent::new("Bare", "").metadata("")).unwrap();
        drop(store);
        let store = place.open(&quiet());
        let mut reader = store.read_all(Position::START);
        let event = reader.next_event().unwrap().unwrap();
        assert_eq!((event.stream, event.event_type, event.data), ("order-1", "OrderPlaced", &b"payload"[..]));
        assert_eq!((event.id, event.metadata), (id, Some(&b"beside"[..])));
        assert_eq!(event.tags.iter().collect::<Vec<_>>(), ["customer:42", "urgent"]);
        assert_eq!((event.correlation_id, event.causation_id), (Some(correlation), Some(causation)));
        assert_eq!((event.occurred_at, event.schema_version), (Some(-5), 9));
        assert_eq!(event.content_type, ContentType::new(200));
        assert_eq!((event.position, event.version), (pos(1), ver(1)));
        let event = reader.next_event().unwrap().unwrap();
        assert_eq!(event.metadata, Some(&b""[..]), "empty is not none");
        assert_eq!((event.correlation_id, event.causation_id, event.occurred_at), (None, None, None));
        assert_eq!((event.tags.is_empty(), event.schema_version, event.content_type), (true, 0, ContentType::BINARY));
        assert_eq!(reader.next_event().unwrap(), None);
        // Owned and lent are the same event.
        let owned = store.get(pos(1)).unwrap().unwrap();
        let mut again = store.read_all(Position::START);
        assert_eq!(owned.as_event(), again.next_event().unwrap().unwrap());
    });
}

#[test]
fn ids_that_the_store_makes_are_uuids_of_version_7_and_all_different() {
    on_every_kind(|place| {
        let mut seen = std::collections::HashSet::new();
        for round in 0..3 {
            let store = place.open(&quiet());
            store.append_batch("a", Any, (0..50).map(|_| event("A"))).unwrap();
            store.append("b", Any, event("B")).unwrap();
            for event in store.read_all(pos(round * 51)) {
                let id = event.unwrap().as_event().id;
                assert_eq!((id.as_bytes()[6] >> 4, id.as_bytes()[8] >> 6), (7, 0b10), "{id:?}");
                assert!(seen.insert(id), "{id:?} twice");
            }
        }
        assert_eq!(seen.len(), 153);
    });
}

#[test]
fn a_sync_append_is_readable_only_once_it_is_durable() {
    let (disk, hold) = HeldDisk::new();
    let store = disk.open(&quiet());
    store.append("a", Any, event("First")).unwrap();
    let door = hold.close();
    std::thread::scope(|threads| {
        let appending = threads.spawn(|| store.append("a", Any, event("Second")));
        hold.wait_for_visitor();
        // Written, and not durable: no reader may see it, or act on it.
        assert_eq!(store.head(), pos(1));
        assert_eq!(types(store.read_all(Position::START)), ["First"]);
        assert_eq!(types(store.read_stream("a", StreamVersion::EMPTY).unwrap()), ["First"]);
        assert_eq!(store.stream_version("a").unwrap(), ver(1));
        assert_eq!(store.get(pos(2)).unwrap(), None);
        assert_eq!(types(store.read_stream("a", StreamVersion::END).unwrap().backward()), ["First"]);
        drop(door);
        assert_eq!(appending.join().unwrap().unwrap().last, pos(2));
    });
    assert_eq!(types(store.read_all(Position::START)), ["First", "Second"]);
}

#[test]
fn a_buffered_append_is_readable_once_written_and_durable_later() {
    let (disk, hold) = HeldDisk::new();
    let store = disk.open(&quiet().durability(Durability::Buffered));
    store.append("a", Any, event("A")).unwrap();
    let before = hold.syncs();
    store.append("a", Any, event("B")).unwrap();
    assert_eq!(hold.syncs(), before, "nobody waits for the disk");
    assert_eq!((store.head(), store.durable_head()), (pos(2), pos(0)));
    assert_eq!(types(store.read_all(Position::START)), ["A", "B"]);
    assert_eq!(store.flush().unwrap(), pos(2));
    assert_eq!((hold.syncs(), store.durable_head()), (before + 1, pos(2)));
    assert_eq!(store.flush().unwrap(), pos(2));
    assert_eq!(hold.syncs(), before + 1, "there was nothing left to sync");
}

#[test]
fn one_sync_append_makes_the_buffered_ones_before_it_durable() {
    on_every_store(&quiet().durability(Durability::Buffered), |store| {
        store.append("a", Any, event("A")).unwrap();
        store.batch().event("a", event("B")).durability(Durability::Sync).commit().unwrap();
        assert_eq!((store.head(), store.durable_head()), (pos(2), pos(2)));
    });
}

#[test]
fn a_batch_can_be_buffered_in_a_store_that_syncs() {
    on_every_store(&quiet(), |store| {
        store.batch().event("a", event("A")).durability(Durability::Buffered).commit().unwrap();
        assert_eq!((store.head(), store.durable_head()), (pos(1), pos(0)));
    });
}

#[test]
fn other_processes_see_buffered_events_at_the_next_sync() {
    on_every_kind(|place| {
        let store = place.open(&quiet().durability(Durability::Buffered));
        store.append("a", Any, event("A")).unwrap();
        let reader = place.try_read().unwrap();
        assert_eq!(reader.head(), pos(0));
        assert_eq!(reader.read_all(Position::START).count(), 0);
        store.flush().unwrap();
        assert_eq!(reader.refresh().unwrap(), pos(1));
        assert_eq!(types(reader.read_stream("a", StreamVersion::EMPTY).unwrap()), ["A"]);
        assert_eq!(reader.durable_head(), pos(1));
    });
}

#[test]
fn a_failed_sync_is_commit_unknown_then_poison_and_reads_go_on() {
    let disk = SimDisk::new(1);
    let store = EventStore::open_on(Arc::new(disk.clone()), &quiet()).unwrap();
    store.append("a", Any, event("A")).unwrap();
    disk.fail_at(disk.operations() + 1, Fault::Eio);
    let error = store.append("a", Any, event("B")).unwrap_err();
    let AppendError::CommitUnknown { cause: first } = error else { panic!("{error:?}") };
    let operations = disk.operations();
    for error in [
        store.append("a", Any, event("C")).unwrap_err(),
        store.append("a", NoStream, event("C")).unwrap_err(),
        store.batch().tracking("kafka", 1).commit().unwrap_err(),
        store.flush().unwrap_err(),
    ] {
        let AppendError::Poisoned { cause } = error else { panic!("{error:?}") };
        assert_eq!(cause.to_string(), first.to_string(), "the first cause");
    }
    assert_eq!(disk.operations(), operations, "a poisoned store touches the disk no more");
    assert_eq!((store.head(), store.durable_head()), (pos(1), pos(1)));
    assert_eq!(types(store.read_all(Position::START)), ["A"]);
    assert_eq!(store.stream_version("a").unwrap(), ver(1));
    assert!(matches!(store.close(), Err(AppendError::Poisoned { .. })));

    let store = EventStore::open_on(Arc::new(disk), &quiet()).unwrap();
    let head = store.head();
    assert!(head == pos(1) || head == pos(2), "{head}");
    assert_eq!(store.append("a", Any, event("D")).unwrap().last, head.plus(1));
}

#[test]
fn an_append_to_a_full_disk_is_refused_and_works_again_once_there_is_space() {
    let disk = SimDisk::new(1);
    let store = EventStore::open_on(Arc::new(disk.clone()), &quiet()).unwrap();
    store.append("a", Any, event("A")).unwrap();
    disk.set_capacity(Some(disk.used()));
    let large = || NewEvent::new("Large", vec![7; 50_000]);
    let mut full = 0;
    for _ in 0..4 {
        let head = store.head();
        match store.append("a", Any, large()) {
            Ok(done) => assert_eq!(done.last, head.plus(1)),
            Err(AppendError::StorageFull) => {
                full += 1;
                assert_eq!(store.head(), head, "nothing is visible");
            }
            Err(other) => panic!("{other:?}"),
        }
    }
    assert!(full >= 3, "the disk was not full at all");
    let head = store.head();
    assert_eq!(store.read_all(Position::START).count() as u64, head.get(), "reads are fine");
    assert_eq!(store.stream_version("a").unwrap(), ver(head.get()));

    disk.set_capacity(None);
    assert_eq!(store.append("a", Exact(ver(head.get())), large()).unwrap().last, head.plus(1));
    drop(store);
    let store = EventStore::open_on(Arc::new(disk), &quiet()).unwrap();
    assert!(store.recovery_report().is_clean(), "{:?}", store.recovery_report());
    assert_eq!(store.head(), head.plus(1));
}

#[test]
fn a_full_disk_never_keeps_a_store_from_opening() {
    // Wherever the space runs out, also half-way through a roll.
    for spare in 0..40 {
        let disk = SimDisk::new(spare);
        let store = EventStore::open_on(Arc::new(disk.clone()), &quiet()).unwrap();
        disk.set_capacity(Some(disk.used() + spare * 4096));
        let mut acknowledged = 0;
        while let Ok(done) = store.append("a", Any, NewEvent::new("Large", vec![7; 9_000])) {
            acknowledged = done.last.get();
        }
        drop(store);
        for _ in 0..2 {
            let store = EventStore::open_on(Arc::new(disk.after_kill()), &quiet())
                .unwrap_or_else(|error| panic!("{spare} pages: {error:?}"));
            assert_eq!(store.head(), pos(acknowledged), "{spare} pages");
        }
        disk.set_capacity(None);
        let store = EventStore::open_on(Arc::new(disk), &quiet()).unwrap();
        assert_eq!(store.append("a", Any, event("A")).unwrap().last, pos(acknowledged + 1), "{spare} pages");
    }
}

#[test]
fn a_second_writer_is_refused_until_the_first_has_closed() {
    on_every_kind(|place| {
        let store = place.open(&quiet());
        let clone = store.clone();
        store.append("a", Any, event("A")).unwrap();
        for _ in 0..2 {
            let error = place.try_open(&quiet()).unwrap_err();
            let OpenError::AlreadyOpen { pid } = error else { panic!("{error:?}") };
            if !matches!(place, Place::Simulated(_)) {
                assert_eq!(pid, Some(std::process::id()));
            }
        }
        store.close().unwrap();
        assert!(matches!(place.try_open(&quiet()), Err(OpenError::AlreadyOpen { .. })), "there is another handle");
        clone.close().unwrap();
        assert_eq!(place.open(&quiet()).head(), pos(1));
    });
}

#[test]
fn the_message_for_a_second_writer_names_the_process_and_the_way_out() {
    let dir = tempfile::tempdir().unwrap();
    let _store = EventStore::open(dir.path(), &quiet()).unwrap();
    let error = EventStore::open(dir.path(), &quiet()).unwrap_err().to_string();
    let pid = std::process::id();
    assert_eq!(
        error,
        format!("the store is already open for writing by process {pid}; close it there, or open it read-only")
    );
}

#[test]
fn a_read_beyond_the_head_is_empty_and_no_error() {
    on_every_store(&quiet(), |store| {
        assert_eq!(store.read_all(Position::START).count(), 0);
        assert_eq!(store.read_all(Position::END).backward().count(), 0);
        store.append_batch("a", Any, [event("A"), event("B")]).unwrap();
        for after in [pos(2), pos(3), pos(1 << 40), Position::END] {
            assert_eq!(positions(store.read_all(after)), [0; 0], "after {after}");
        }
        for after in [ver(2), ver(3), StreamVersion::END] {
            assert_eq!(versions(store.read_stream("a", after).unwrap()), [0; 0], "after {after}");
        }
        for position in [Position::START, pos(3), Position::END] {
            assert_eq!(store.get(position).unwrap(), None, "at {position}");
        }
        assert_eq!(positions(store.read_all(pos(1)).backward()), [0; 0]);
        assert_eq!(positions(store.read_all(Position::START).backward()), [0; 0]);
        assert_eq!(versions(store.read_stream("a", ver(1)).unwrap().backward()), [0; 0]);
        assert_eq!(versions(store.read_stream("a", ver(0)).unwrap().backward()), [0; 0]);
    });
}

#[test]
fn reads_begin_after_what_they_are_given_and_before_it_backward() {
    on_every_store(&quiet(), |store| {
        for number in 0..300 {
            store.append_batch("even", Any, [numbered(number)]).unwrap();
            store.append_batch("odd", Any, [numbered(number), numbered(number)]).unwrap();
        }
        assert_eq!(store.head(), pos(900));
        let segments = store.stats().segments;
        assert!(segments.len() > 1, "the borders between segments are where readers go wrong");
        let mut borders: Vec<u64> = segments.iter().map(|segment| segment.base.get()).collect();
        borders.extend([0, 1, 2, 899, 900, 901]);
        for border in borders.into_iter().flat_map(|border| border.saturating_sub(1)..=border + 1) {
            let after: Vec<u64> = (border + 1..=900).collect();
            assert_eq!(positions(store.read_all(pos(border))), after);
            let before: Vec<u64> = (1..border.min(901)).rev().collect();
            assert_eq!(positions(store.read_all(pos(border)).backward()), before);
        }
        for version in [0, 1, 63, 64, 65, 255, 256, 257, 511, 512, 598, 599, 600, 601] {
            let after: Vec<u64> = (version + 1..=600).collect();
            assert_eq!(versions(store.read_stream("odd", ver(version)).unwrap()), after);
            let before: Vec<u64> = (1..version.min(601)).rev().collect();
            assert_eq!(versions(store.read_stream("odd", ver(version)).unwrap().backward()), before);
        }
        assert_eq!(positions(store.read_all(pos(10)).limit(3)), [11, 12, 13]);
        assert_eq!(positions(store.read_all(pos(10)).limit(3).backward()), [9, 8, 7]);
        assert_eq!(positions(store.read_all(pos(10)).limit(0)), [0; 0]);
        assert_eq!(versions(store.read_stream("even", ver(7)).unwrap().limit(2)), [8, 9]);
        for position in [1, 450, 900] {
            assert_eq!(store.get(pos(position)).unwrap().unwrap().position(), pos(position));
        }
    });
}

#[test]
fn a_reader_that_came_to_its_end_stays_there() {
    on_every_store(&quiet(), |store| {
        store.append("a", Any, event("A")).unwrap();
        let mut reader = store.read_all(Position::START);
        assert!(reader.next_event().unwrap().is_some());
        assert!(reader.next_event().unwrap().is_none());
        store.append("a", Any, event("B")).unwrap();
        assert!(reader.next_event().unwrap().is_none());
        assert!(reader.next().is_none());
    });
}

#[test]
fn an_unknown_stream_is_empty_and_no_error() {
    on_every_store(&quiet(), |store| {
        store.append("known", Any, event("A")).unwrap();
        assert_eq!(store.read_stream("unknown", StreamVersion::EMPTY).unwrap().count(), 0);
        assert_eq!(store.read_stream("unknown", StreamVersion::END).unwrap().backward().count(), 0);
        assert_eq!(store.stream_version("unknown").unwrap(), StreamVersion::EMPTY);
        assert_eq!(store.stream_info("unknown").unwrap(), None);
        assert_eq!(store.streams("unknown").unwrap(), []);
    });
}

#[test]
fn a_name_that_cannot_be_is_an_error_and_not_an_unknown_stream() {
    on_every_store(&quiet(), |store| {
        for name in ["", "$reserved", "with\0nul", &"x".repeat(513)] {
            assert!(store.read_stream(name, StreamVersion::EMPTY).is_err(), "{name:?}");
            assert!(store.stream_version(name).is_err(), "{name:?}");
            assert!(store.stream_info(name).is_err(), "{name:?}");
        }
        assert!(store.tracking("").is_err());
        assert!(store.tracking("x".repeat(256)).is_err());
    });
}

#[test]
fn recorded_at_never_decreases_although_the_clock_does() {
    on_every_kind(|place| {
        let clock = Arc::new(HandClock::default());
        let options = quiet().clock(Arc::clone(&clock) as Arc<dyn annals::Clock>);
        let append = |store: &EventStore, now: i64| {
            clock.0.store(now, Ordering::Relaxed);
            store.append("a", Any, event("A")).unwrap().recorded_at
        };
        let store = place.open(&options);
        assert_eq!(append(&store, 100), 100);
        assert_eq!(append(&store, 40), 100);
        assert_eq!(append(&store, 120), 120);
        drop(store);
        // Nor across a restart, nor across the roll to a new segment.
        let store = place.open(&options);
        assert_eq!(append(&store, 50), 120);
        for _ in 0..3 {
            clock.0.store(60, Ordering::Relaxed);
            store.append("b", Any, NewEvent::new("Large", vec![0; 40_000])).unwrap();
        }
        drop(store);
        let store = place.open(&options);
        assert_eq!(append(&store, 50), 120);
        let times: Vec<i64> =
            store.read_all(Position::START).map(|event| event.unwrap().as_event().recorded_at).collect();
        assert_eq!(times, [100, 100, 120, 120, 120, 120, 120, 120]);
    });
}

#[test]
fn events_of_a_batch_are_recorded_at_the_same_time() {
    on_every_store(&quiet(), |store| {
        let done = store.append_batch("a", Any, (0..100).map(numbered)).unwrap();
        for event in store.read_all(Position::START) {
            assert_eq!(event.unwrap().as_event().recorded_at, done.recorded_at);
        }
    });
}

#[test]
fn occurred_at_orders_nothing() {
    on_every_store(&quiet(), |store| {
        for (name, time) in [("Late", i64::MAX), ("Early", i64::MIN), ("Middle", 0)] {
            store.append("a", Any, event(name).occurred_at(time)).unwrap();
        }
        assert_eq!(types(store.read_all(Position::START)), ["Late", "Early", "Middle"]);
    });
}

#[test]
fn a_reader_sees_the_log_as_of_its_creation() {
    on_every_store(&quiet(), |store| {
        let large = || NewEvent::new("Large", vec![1; 20_000]);
        store.append_batch("a", Any, [large(), large()]).unwrap();
        let all = store.read_all(Position::START);
        let backward = store.read_all(Position::END).backward();
        let stream = store.read_stream("a", StreamVersion::EMPTY).unwrap();
        let stream_backward = store.read_stream("a", StreamVersion::END).unwrap().backward();
        assert_eq!(all.head(), pos(2));
        // Far enough that the segment they stand in is sealed and others follow.
        for _ in 0..6 {
            store.append("a", Any, large()).unwrap();
        }
        assert!(store.stats().segments.len() > 2);
        assert_eq!(positions(all), [1, 2]);
        assert_eq!(positions(backward), [2, 1]);
        assert_eq!(versions(stream), [1, 2]);
        assert_eq!(versions(stream_backward), [2, 1]);
        assert_eq!(store.read_all(Position::START).count(), 8);
    });
}

#[test]
fn readers_and_their_events_outlive_the_store() {
    on_every_kind(|place| {
        let store = place.open(&quiet());
        store.append("a", Any, NewEvent::new("A", "payload")).unwrap();
        let reader = store.read_all(Position::START);
        let event = store.get(pos(1)).unwrap().unwrap();
        drop(store);
        if let Place::Mapped(dir) | Place::Pread(dir) = place {
            std::fs::remove_dir_all(dir.path()).unwrap();
        }
        assert_eq!(event.data(), "payload");
        assert_eq!(types(reader), ["A"]);
    });
}

#[test]
fn a_damaged_event_is_one_error_and_the_rest_is_read_only_when_asked_for() {
    let disk = SimDisk::new(1);
    let store = EventStore::open_on(Arc::new(disk.clone()), &quiet()).unwrap();
    store.append_batch("a", Any, (1..=9).map(numbered)).unwrap();
    let path = store.stats().segments[0].path.clone();
    let bytes = disk.read_file(&path).unwrap();
    let at = bytes.windows(8).position(|window| window == 4_u64.to_le_bytes() && window != [0; 8]);
    // The payload of the fourth event: its number, behind those of positions and versions before it.
    let at =
        bytes.windows(16).enumerate().skip(at.unwrap()).find(|(_, w)| w[..8] == 4_u64.to_le_bytes() && w[8] == b'a');
    disk.flip(&path, at.unwrap().0 as u64 * 8);

    let mut reader = store.read_all(Position::START);
    for _ in 0..3 {
        reader.next().unwrap().unwrap();
    }
    let error = reader.next().unwrap().unwrap_err();
    assert!(
        matches!(&error, annals::ReadError::Corrupt(damage) if damage.from == pos(4) && damage.to == Some(pos(4))),
        "{error:?}"
    );
    assert!(reader.next().is_none(), "it ends with its error");

    let read: Vec<_> = store.read_all(Position::START).skip_damaged().collect();
    assert_eq!((read.len(), read.iter().filter(|event| event.is_err()).count()), (9, 1));
    let read: Vec<_> = store.read_stream("a", ver(0)).unwrap().skip_damaged().collect();
    assert_eq!((read.len(), read.iter().filter(|event| event.is_err()).count()), (9, 1));
    let read: Vec<_> = store.read_all(Position::END).backward().skip_damaged().collect();
    assert_eq!((read.len(), read.iter().filter(|event| event.is_err()).count()), (9, 1));
    assert!(store.get(pos(4)).is_err());
    assert_eq!(store.get(pos(5)).unwrap().unwrap().version(), ver(5));
}

#[test]
fn a_sector_that_cannot_be_read_is_an_error_and_no_end_and_no_endless_loop() {
    let disk = SimDisk::new(1);
    let store = EventStore::open_on(Arc::new(disk.clone()), &quiet()).unwrap();
    store.append_batch("a", Any, (1..=9).map(|_| NewEvent::new("Large", vec![1; 4096]))).unwrap();
    disk.spoil(&store.stats().segments[0].path, 20_000);

    let mut reader = store.read_all(Position::START);
    let read = reader.by_ref().take(100).collect::<Vec<_>>();
    assert!(matches!(read.last(), Some(Err(annals::ReadError::Io { .. }))), "{read:?}");
    assert!(reader.next().is_none());

    // Each event that cannot be read is told once, and the others are there.
    for (what, reader) in [
        ("all", store.read_all(Position::START)),
        ("backward", store.read_all(Position::END).backward()),
        ("stream", store.read_stream("a", ver(0)).unwrap()),
    ] {
        let read: Vec<_> = reader.skip_damaged().take(100).collect();
        assert_eq!(read.len(), 9, "{what}");
        let failed = read.iter().filter(|event| event.is_err()).count();
        assert!((1..=2).contains(&failed), "{what}: {failed} errors");
    }
}

#[test]
fn tickets_share_a_group_and_are_waited_for_in_any_order() {
    let (disk, hold) = HeldDisk::new();
    let store = disk.open(&quiet());
    store.append("a", Any, event("A")).unwrap();
    let before = hold.syncs();
    let mut tickets: Vec<_> =
        (0..100).map(|number| store.batch().event("a", numbered(number)).submit().unwrap()).collect();
    assert_eq!(store.head(), pos(1), "nobody has waited yet");
    // The last one first.
    while let Some(ticket) = tickets.pop() {
        let done = ticket.wait().unwrap();
        assert_eq!(done.last, pos(2 + tickets.len() as u64));
    }
    assert_eq!(hold.syncs(), before + 1, "one sync for all");
}

#[test]
fn dropping_a_ticket_does_not_cancel_its_batch() {
    on_every_kind(|place| {
        let store = place.open(&quiet());
        drop(store.batch().event("a", event("Dropped")).submit().unwrap());
        store.append("a", Any, event("Next")).unwrap();
        assert_eq!(types(store.read_all(Position::START)), ["Dropped", "Next"], "the next append takes it along");

        drop(store.batch().event("a", event("Flushed")).submit().unwrap());
        assert_eq!(store.flush().unwrap(), pos(3));

        drop(store.batch().event("a", event("Closed")).submit().unwrap());
        drop(store);
        assert_eq!(types(place.open(&quiet()).read_all(pos(2))), ["Flushed", "Closed"]);
    });
}

#[test]
fn what_can_be_told_at_once_is_told_by_submit() {
    let store = EventStore::in_memory(&quiet().max_event_bytes(1000)).unwrap();
    assert!(matches!(store.batch().event("", event("A")).submit(), Err(AppendError::InvalidName(_))));
    let large = NewEvent::new("Large", vec![0; 2000]);
    assert!(matches!(store.batch().event("a", large).submit(), Err(AppendError::EventTooLarge { .. })));
}

#[test]
fn flush_of_an_empty_store_does_nothing() {
    on_every_store(&quiet(), |store| assert_eq!(store.flush().unwrap(), Position::START));
}

#[test]
fn stream_info_and_streams_tell_versions_and_last_positions() {
    on_every_kind(|place| {
        let store = place.open(&quiet());
        assert_eq!(store.streams("").unwrap(), []);
        for name in ["order-2", "order-10", "order-1", "other-1", "order-2"] {
            store.append(name, Any, NewEvent::new("Large", vec![0; 30_000])).unwrap();
        }
        let check = |store: &EventStore| {
            let found = |prefix| -> Vec<(String, u64, u64)> {
                let infos = store.streams(prefix).unwrap();
                let facts = infos.iter().map(|i| (i.stream.to_string(), i.version.get(), i.last_position.get()));
                facts.collect()
            };
            let s = str::to_owned;
            let orders = [(s("order-1"), 1, 3), (s("order-10"), 1, 2), (s("order-2"), 2, 5)];
            assert_eq!(found("order-"), orders, "in the order of their names");
            assert_eq!(found("").len(), 4);
            assert_eq!(found("order-1").len(), 2, "a prefix is one of text");
            assert_eq!(found("x"), []);
            let info = store.stream_info("order-2").unwrap().unwrap();
            assert_eq!((&*info.stream, info.version, info.last_position), ("order-2", ver(2), pos(5)));
            assert_eq!(store.stream_count().unwrap(), 4);
        };
        check(&store);
        drop(store);
        check(&place.open(&quiet()));
        check(&place.try_read().unwrap());
    });
}

#[test]
fn stats_of_an_empty_store_have_every_field() {
    on_every_kind(|place| {
        let store = place.open(&quiet());
        let stats = store.stats();
        assert_eq!((stats.head, stats.durable_head, stats.oldest), (pos(0), pos(0), pos(1)));
        assert_eq!((stats.total_events, stats.retained_events, store.stream_count().unwrap()), (0, 0, 0));
        assert_eq!(stats.log_id, store.log_id());
        assert_eq!(stats.segments.len(), 1);
        assert_eq!(stats.watermark_errors, 0);
        assert_eq!(store.oldest(), pos(1));
    });
}

#[test]
fn stats_add_up() {
    on_every_kind(|place| {
        let store = place.open(&quiet());
        for _ in 0..10 {
            store.append("a", Any, NewEvent::new("Large", vec![0; 20_000])).unwrap();
        }
        let check = |store: &EventStore| {
            let stats = store.stats();
            assert_eq!((stats.head, stats.total_events, stats.retained_events), (pos(10), 10, 10));
            assert_eq!(stats.bytes, stats.segments.iter().map(|segment| segment.bytes).sum::<u64>());
            assert!(stats.bytes > 200_000);
            assert_eq!(stats.segments.iter().filter(|segment| !segment.sealed).count(), 1);
            let mut last = pos(0);
            for (number, segment) in stats.segments.iter().enumerate() {
                assert_eq!((segment.number.get(), segment.base), (number as u64, last));
                last = segment.last;
            }
            assert_eq!(last, pos(10));
            assert_eq!(store.oldest(), pos(1));
        };
        check(&store);
        drop(store);
        check(&place.open(&quiet()));
        check(&place.try_read().unwrap());
    });
}

#[test]
fn a_store_opened_read_only_refuses_to_write_and_says_so() {
    on_every_kind(|place| {
        place.open(&quiet()).append("a", Any, event("A")).unwrap();
        let store = place.try_read().unwrap();
        assert!(matches!(store.append("a", Any, event("B")), Err(AppendError::ReadOnly)));
        assert!(matches!(store.append_batch("a", Any, [event("B")]), Err(AppendError::ReadOnly)));
        assert!(matches!(store.batch().event("a", event("B")).commit(), Err(AppendError::ReadOnly)));
        assert!(matches!(store.batch().event("a", event("B")).submit(), Err(AppendError::ReadOnly)));
        assert!(matches!(store.flush(), Err(AppendError::ReadOnly)));
        store.close().unwrap();
    });
}

#[test]
fn a_read_only_open_changes_no_byte_and_takes_no_lock() {
    let dir = tempfile::tempdir().unwrap();
    let store = EventStore::open(dir.path(), &quiet()).unwrap();
    for _ in 0..5 {
        store.append("a", Any, NewEvent::new("Large", vec![0; 30_000])).unwrap();
    }
    drop(store);
    let before = files_of(dir.path());
    let readers: Vec<_> = (0..3).map(|_| EventStore::open_read_only(dir.path()).unwrap()).collect();
    for reader in &readers {
        assert_eq!(reader.read_all(Position::START).count(), 5);
        assert_eq!(reader.read_stream("a", StreamVersion::EMPTY).unwrap().count(), 5);
        let _ = (reader.stats(), reader.streams("").unwrap(), reader.refresh().unwrap());
    }
    assert!(files_of(dir.path()) == before);
    EventStore::open(dir.path(), &quiet()).unwrap();
}

#[test]
fn opening_and_closing_a_whole_store_changes_no_byte() {
    let dir = tempfile::tempdir().unwrap();
    let store = EventStore::open(dir.path(), &quiet()).unwrap();
    for _ in 0..5 {
        store.append("a", Any, NewEvent::new("Large", vec![0; 30_000])).unwrap();
    }
    store.close().unwrap();
    let before = files_of(dir.path());
    for _ in 0..2 {
        let store = EventStore::open(dir.path(), &quiet()).unwrap();
        assert!(store.recovery_report().is_clean(), "{:?}", store.recovery_report());
        assert!(!store.recovery_report().created);
        assert_eq!(store.recovery_report().head, pos(5));
        store.close().unwrap();
        assert!(files_of(dir.path()) == before);
    }
}

#[test]
fn readers_see_what_a_later_open_has_made_durable() {
    // Buffered events of a killed process: the next writer shows them and has synced them, so other processes
    // must see them too, without a further append.
    let disk = SimDisk::new(1);
    let store = EventStore::open_on(Arc::new(disk.clone()), &quiet().durability(Durability::Buffered)).unwrap();
    store.append_batch("a", Any, (0..10).map(numbered)).unwrap();
    let disk = disk.after_kill();
    let store = EventStore::open_on(Arc::new(disk.clone()), &quiet()).unwrap();
    assert_eq!((store.head(), store.durable_head()), (pos(10), pos(10)));
    let reader = EventStore::open_read_only_on(Arc::new(disk.clone())).unwrap();
    assert_eq!(reader.head(), pos(10));
    drop(store);
    assert_eq!(EventStore::open_read_only_on(Arc::new(disk)).unwrap().head(), pos(10));
}

#[test]
fn the_log_id_is_the_same_for_ever_and_of_every_log_another() {
    on_every_kind(|place| {
        let id = place.open(&quiet()).log_id();
        assert_eq!(place.open(&quiet()).log_id(), id);
        assert_eq!(place.try_read().unwrap().log_id(), id);
    });
    let dirs = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
    let ids = dirs.each_ref().map(|dir| EventStore::open(dir.path(), &quiet()).unwrap().log_id());
    assert_ne!(ids[0], ids[1]);
}

#[test]
fn a_store_in_memory_is_gone_when_it_is_dropped() {
    let store = EventStore::in_memory(&Options::new()).unwrap();
    store.append("a", Any, event("A")).unwrap();
    drop(store);
    assert_eq!(EventStore::in_memory(&Options::new()).unwrap().head(), Position::START);
}

#[test]
fn options_of_the_earlier_open_do_not_bind_the_later_one() {
    on_every_kind(|place| {
        let mut head = 0;
        for segment_bytes in [1 << 20, 64 << 10, 256 << 10] {
            let store = place.open(&quiet().segment_bytes(segment_bytes));
            for _ in 0..6 {
                head += 1;
                let done = store.append("a", Exact(ver(head - 1)), NewEvent::new("Large", vec![0; 50_000])).unwrap();
                assert_eq!(done.last, pos(head));
            }
            assert_eq!(store.read_all(Position::START).count() as u64, head);
        }
        let store = place.open(&quiet());
        assert!(store.recovery_report().is_clean(), "{:?}", store.recovery_report());
        assert_eq!(versions(store.read_stream("a", StreamVersion::EMPTY).unwrap()), (1..=18).collect::<Vec<_>>());
    });
}

#[test]
fn a_store_in_a_log_line_is_short_and_tells_no_payload() {
    on_every_store(&quiet(), |store| {
        store.append("secret-stream", Any, NewEvent::new("Secret", "secret payload")).unwrap();
        let text = format!("{store:?} {:?}", store.read_all(Position::START));
        assert!(text.len() < 500 && text.contains(&store.log_id().to_string()), "{text}");
        assert!(!text.to_lowercase().contains("secret"), "{text}");
    });
}

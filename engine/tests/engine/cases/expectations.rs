//! Expected versions, and when they are checked.

use super::*;

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

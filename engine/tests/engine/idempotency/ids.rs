//! Requests that are known by the ids of their events.

use super::*;

#[test]
fn an_event_with_the_same_id_and_content_is_a_duplicate_with_the_original_position() {
    check_second(|batch| batch.event("a", named(1, "A")), |batch| batch.event("a", named(1, "A")), Told::Duplicate);
    check_second(|batch| batch.event("a", named(1, "A")), |batch| batch.event("a", named(2, "A")), Told::Appended);
}

#[test]
fn a_batch_whose_events_have_ids_is_a_duplicate_as_a_whole() {
    let batch: Fill = |batch| batch.event("a", named(1, "A")).event("b", named(2, "B")).event("a", named(3, "C"));
    check_second(batch, batch, Told::Duplicate);
}

#[test]
fn events_without_an_id_between_those_with_one_are_known_by_what_they_say() {
    let batch: Fill = |batch| batch.events("a", [event("A"), named(2, "B"), event("C")]);
    check_second(batch, batch, Told::Duplicate);
    let other: Fill = |batch| batch.events("a", [event("A"), named(2, "B"), event("D")]);
    check_second(batch, other, Told::Partial(2, 3));
    let other: Fill = |batch| batch.events("a", [event("D"), named(2, "B"), event("C")]);
    check_second(batch, other, Told::Partial(2, 3));
}

#[test]
fn a_part_of_a_batch_that_stands_side_by_side_in_it_is_a_duplicate_there() {
    let first: Fill = |batch| batch.events("a", [named(1, "A"), named(2, "B"), named(3, "C")]);
    check_second(first, |batch| batch.events("a", [named(1, "A"), named(2, "B")]), Told::DuplicateAt(2, 3));
    check_second(first, |batch| batch.events("a", [named(2, "B"), named(3, "C")]), Told::DuplicateAt(3, 4));
    check_second(first, |batch| batch.events("a", [named(2, "B"), event("C")]), Told::DuplicateAt(3, 4));
    check_second(first, |batch| batch.event("a", named(2, "B")), Told::DuplicateAt(3, 3));
    let apart: Fill = |batch| batch.events("a", [named(1, "A"), named(3, "C")]);
    check_second(first, apart, Told::Partial(1, 2));
    let turned: Fill = |batch| batch.events("a", [named(2, "B"), named(1, "A")]);
    check_second(first, turned, Told::Partial(2, 3));
}

#[test]
fn the_version_of_a_duplicate_is_that_of_its_last_event() {
    on_every_store(&quiet(), |store| {
        let batch = store.batch().event("a", named(1, "A")).event("b", named(2, "B")).event("a", named(3, "C"));
        batch.commit().unwrap();
        let version = |batch: BatchBuilder<'_>| batch.commit().unwrap().version.get();
        assert_eq!(version(store.batch().event("a", named(1, "A"))), 1);
        assert_eq!(version(store.batch().event("a", named(1, "A")).event("b", named(2, "B"))), 1);
        assert_eq!(version(store.batch().event("b", named(2, "B")).event("a", named(3, "C"))), 2);
    });
}

#[test]
fn an_event_that_says_something_else_under_an_old_id_is_a_conflict() {
    let first: Fill = |batch| batch.events("a", [named(1, "A"), named(2, "B")]);
    check_second(first, |batch| batch.event("a", named(1, "Other")), Told::IdConflict(1, 2));
    check_second(first, |batch| batch.event("b", named(1, "A")), Told::IdConflict(1, 2));
    // Also when another one of the batch is as it was, or is new.
    check_second(first, |batch| batch.events("a", [named(1, "A"), named(2, "C")]), Told::IdConflict(2, 3));
    check_second(first, |batch| batch.events("a", [named(3, "C"), named(2, "C")]), Told::IdConflict(2, 3));
}

#[test]
fn a_batch_that_is_partly_there_is_told_so() {
    let first: Fill = |batch| batch.events("a", [named(1, "A"), named(2, "B")]);
    check_second(first, |batch| batch.events("a", [named(2, "B"), named(3, "C")]), Told::Partial(2, 3));
    check_second(first, |batch| batch.events("a", [named(3, "C"), named(1, "A")]), Told::Partial(1, 2));
    check_second(first, |batch| batch.events("a", [named(2, "B"), event("C")]), Told::Partial(2, 3));
    check_second(first, |batch| batch.events("a", [event("Z"), named(1, "A")]), Told::Partial(1, 2));
}

#[test]
fn what_says_the_same_under_another_id_is_another_event() {
    let first: Fill = |batch| batch.events("a", [named(1, "A"), named(2, "B")]);
    check_second(first, |batch| batch.events("a", [named(1, "A"), named(3, "B")]), Told::Partial(1, 2));
    let first: Fill = |batch| batch.events("a", [named(1, "A"), event("B")]);
    check_second(first, |batch| batch.events("a", [named(1, "A"), named(3, "B")]), Told::Partial(1, 2));
}

#[test]
fn a_batch_that_would_have_begun_before_the_log_is_partly_there() {
    on_every_store(&quiet(), |store| {
        store.append_batch("a", Any, [named(1, "A"), event("A")]).unwrap();
        let before = store.append_batch("a", Any, [event("A"), named(1, "A")]);
        assert!(
            matches!(before, Err(AppendError::PartialDuplicate { existing, .. }) if existing == pos(1)),
            "{before:?}"
        );
    });
}

#[test]
fn ids_are_looked_at_also_when_the_key_is_new() {
    check_second(
        |batch| batch.event("a", named(1, "A")),
        |batch| batch.idempotency_key("key").event("a", named(1, "A")),
        Told::Duplicate,
    );
    check_second(
        |batch| batch.idempotency_key("other").event("a", named(1, "A")),
        |batch| batch.idempotency_key("key").event("a", named(1, "B")),
        Told::IdConflict(1, 2),
    );
}

#[test]
fn a_batch_without_events_does_not_hide_those_beside_it() {
    let store = EventStore::in_memory(&quiet()).unwrap();
    let progress = |at: u64| store.batch().idempotency_key(format!("at {at}")).tracking("kafka", at).submit().unwrap();
    let both = || store.batch().events("a", [named(1, "A"), named(2, "B")]).submit().unwrap();
    let tickets = [progress(1), progress(2), both(), progress(3), progress(4), both(), progress(3)];
    let outcomes = tickets.map(|ticket| ticket.wait().unwrap().outcome);
    let [.., again, third] = outcomes;
    assert_eq!((again, third), (Outcome::Duplicate, Outcome::Duplicate));
    assert!(outcomes[..5].iter().all(|outcome| *outcome == Outcome::Appended));
}

#[test]
fn ids_that_are_spread_over_two_batches_are_partly_there() {
    on_every_kind(|place| {
        let store = place.open(&quiet());
        store.append("a", Any, named(1, "A")).unwrap();
        store.append("a", Any, named(2, "B")).unwrap();
        let both = |store: &EventStore| store.append_batch("a", Any, [named(1, "A"), named(2, "B")]);
        let check = |answer| match answer {
            Err(AppendError::PartialDuplicate { id: told, existing }) => assert_eq!((told, existing), (id(1), pos(1))),
            other => panic!("{other:?}"),
        };
        check(both(&store));
        drop(store);
        let store = place.open(&quiet());
        check(both(&store));
        // One of the log and one of the group, side by side.
        let third = store.batch().event("a", named(3, "C")).submit().unwrap();
        let spread = store.batch().events("a", [named(2, "B"), named(3, "C")]).submit().unwrap();
        assert!(matches!(spread.wait(), Err(AppendError::PartialDuplicate { existing, .. }) if existing == pos(2)));
        // Two batches of one group.
        let fourth = store.batch().event("a", named(4, "D")).submit().unwrap();
        let fifth = store.batch().event("a", named(5, "E")).submit().unwrap();
        let spread = store.batch().events("a", [named(4, "D"), named(5, "E")]).submit().unwrap();
        assert!(matches!(spread.wait(), Err(AppendError::PartialDuplicate { existing, .. }) if existing == pos(4)));
        for ticket in [third, fourth, fifth] {
            assert_eq!(ticket.wait().unwrap().outcome, Outcome::Appended);
        }
    });
}

#[test]
fn ids_of_the_end_of_one_segment_and_the_beginning_of_the_next_are_spread() {
    on_every_kind(|place| {
        let store = place.open(&quiet());
        let large = |number| NewEvent::new("Large", vec![1; 40_000]).id(id(number));
        store.append("a", Any, large(1)).unwrap();
        store.append("a", Any, large(2)).unwrap();
        assert_eq!(store.stats().segments.len(), 2);
        let spread = store.append_batch("a", Any, [large(1), large(2)]);
        assert!(matches!(spread, Err(AppendError::PartialDuplicate { .. })), "{spread:?}");
        assert_eq!(store.append("a", Any, large(2)).unwrap().first, pos(2));
    });
}

#[test]
fn an_id_twice_in_one_batch_is_told_at_once() {
    let store = EventStore::in_memory(&quiet()).unwrap();
    let batch = || store.batch().event("a", named(1, "A")).event("b", event("B"));
    for third in [named(1, "A"), named(1, "C")] {
        let refused = batch().event("c", third).submit();
        assert!(matches!(refused, Err(AppendError::DuplicateIdInBatch { id: told }) if told == id(1)), "{refused:?}");
    }
    batch().event("c", named(2, "C")).commit().unwrap();
    let zero = EventId::from_bytes([0; 16]);
    store.append("a", Any, event("Z").id(zero)).unwrap();
    assert_eq!(
        store.append("a", Any, event("Z").id(zero)).unwrap().outcome,
        Outcome::Duplicate,
        "an id like any other"
    );
}

//! Requests that come again: known by their key, or by the ids of their events.
//!
//! What was appended first is looked for wherever it may be by then: in the segment
//! at hand, in an older one, in a store that was opened again, and in the group that is being committed.

use std::sync::{Arc, Barrier};

use annals::storage::sim::{Fault, PowerLoss, SimDisk};
use annals::{
    AppendError, Appended, BatchBuilder, ContentType, Durability, EventId, EventStore, ExpectedVersion, NewEvent,
    Outcome, Position, ReadError,
};

use crate::places::*;

use ExpectedVersion::{Any, Exact, NoStream};

/// An id that a caller might give: nothing about it looks as if a store had made it.
fn id(number: u8) -> EventId {
    EventId::from_bytes([number; 16])
}

fn named(number: u8, event_type: &str) -> NewEvent {
    event(event_type).id(id(number))
}

/// Fills the segment at hand, and a few more.
fn roll(store: &EventStore) {
    for _ in 0..5 {
        store.append("filler", Any, NewEvent::new("Large", vec![1; 30_000])).unwrap();
    }
}

/// What has become of the first request when the second comes.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Age {
    JustNow,
    InGroup,
    OlderSegment,
    OpenedAgain,
    OpenedAgainInOlderSegment,
}

const AGES: [Age; 5] =
    [Age::JustNow, Age::InGroup, Age::OlderSegment, Age::OpenedAgain, Age::OpenedAgainInOlderSegment];

/// What the second request is told.
#[derive(Clone, Copy, Debug)]
enum Told {
    /// It is appended, as something else.
    Appended,
    /// It is there: the batch as a whole.
    Duplicate,
    /// It is there: these positions of the log.
    DuplicateAt(u64, u64),
    KeyReused,
    IdConflict(u8, u64),
    Partial(u8, u64),
}

type Fill = fn(BatchBuilder<'_>) -> BatchBuilder<'_>;

#[track_caller]
fn check_told(told: Told, original: &Appended, answer: Result<Appended, AppendError>) {
    let mut same = *original;
    same.outcome = Outcome::Duplicate;
    match (told, answer) {
        (Told::Appended, Ok(done)) if done.outcome == Outcome::Appended && done.first > original.last => {}
        (Told::Duplicate, Ok(done)) if done == same => {}
        (Told::DuplicateAt(first, last), Ok(done))
            if (done.outcome, done.first, done.last, done.recorded_at)
                == (Outcome::Duplicate, pos(first), pos(last), original.recorded_at) => {}
        (Told::KeyReused, Err(AppendError::IdempotencyKeyReused { key, original: first }))
            if (&*key, first) == ("key", *original) => {}
        (Told::IdConflict(number, at), Err(AppendError::EventIdConflict { id: told, existing }))
            if (told, existing) == (id(number), pos(at)) => {}
        (Told::Partial(number, at), Err(AppendError::PartialDuplicate { id: told, existing }))
            if (told, existing) == (id(number), pos(at)) => {}
        (told, answer) => panic!("expected {told:?} of {original:?}, got {answer:?}"),
    }
}

/// Commits one batch and later another, and checks what the second is told. The first
/// event of the first is at position 2.
#[track_caller]
fn check_second(first: Fill, second: Fill, told: Told) {
    // There are many of these, and durability is another matter.
    let options = quiet().durability(Durability::Buffered);
    for age in AGES {
        println!("{age:?}");
        on_every_kind(|place| {
            let mut store = place.open(&options);
            store.append("noise", Any, event("Noise")).unwrap();
            let (original, answer, before);
            if age == Age::InGroup {
                let tickets = [first(store.batch()).submit().unwrap(), second(store.batch()).submit().unwrap()];
                let [one, two] = tickets.map(annals::Ticket::wait);
                (original, answer) = (one.unwrap(), two);
                before = original.last;
            } else {
                original = first(store.batch()).commit().unwrap();
                if matches!(age, Age::OlderSegment | Age::OpenedAgainInOlderSegment) {
                    roll(&store);
                    assert!(store.stats().segments.len() > 2);
                }
                if matches!(age, Age::OpenedAgain | Age::OpenedAgainInOlderSegment) {
                    drop(store);
                    store = place.open(&options);
                }
                before = store.head();
                answer = second(store.batch()).commit();
            }
            assert_eq!(original.outcome, Outcome::Appended);
            check_told(told, &original, answer);
            if !matches!(told, Told::Appended) {
                assert_eq!(store.head(), before, "nothing was written");
                // And so it is told by the next one, who meets neither a group nor a trace of the one before.
                check_told(told, &original, second(store.batch()).commit());
                drop(store);
                assert_eq!(place.open(&options).head(), before);
            }
        });
    }
}

// Keys.

#[test]
fn a_request_with_the_same_key_and_content_is_a_duplicate_with_the_original_result() {
    let batch: Fill = |batch| batch.idempotency_key("key").event("a", event("A")).event("b", event("B"));
    check_second(batch, batch, Told::Duplicate);
    let batch: Fill = |batch| batch.idempotency_key("key").event("a", event("A"));
    check_second(batch, batch, Told::Duplicate);
}

#[test]
fn a_key_covers_the_tracking_record_and_a_batch_of_nothing_else() {
    let batch: Fill = |batch| batch.idempotency_key("key").event("a", event("A")).tracking("kafka", 7);
    check_second(batch, batch, Told::Duplicate);
    check_second(batch, |batch| batch.idempotency_key("key").event("a", event("A")), Told::KeyReused);
    let other: Fill = |batch| batch.idempotency_key("key").event("a", event("A")).tracking("kafka", 8);
    check_second(batch, other, Told::KeyReused);
    let other: Fill = |batch| batch.idempotency_key("key").event("a", event("A")).tracking("rabbit", 7);
    check_second(batch, other, Told::KeyReused);

    let batch: Fill = |batch| batch.idempotency_key("key").tracking("kafka", 7);
    check_second(batch, batch, Told::Duplicate);
    check_second(batch, |batch| batch.idempotency_key("key").tracking("kafka", 8), Told::KeyReused);
    let other: Fill = |batch| batch.idempotency_key("key").tracking("kafka", 7).event("a", event("A"));
    check_second(batch, other, Told::KeyReused);
}

#[test]
fn a_key_is_not_used_for_other_events_nor_more_nor_fewer_nor_in_another_order() {
    let first: Fill = |batch| batch.idempotency_key("key").event("a", event("A")).event("a", event("B"));
    check_second(first, |batch| batch.idempotency_key("key").event("a", event("A")), Told::KeyReused);
    let more: Fill = |batch| batch.idempotency_key("key").events("a", [event("A"), event("B"), event("C")]);
    check_second(first, more, Told::KeyReused);
    let turned: Fill = |batch| batch.idempotency_key("key").events("a", [event("B"), event("A")]);
    check_second(first, turned, Told::KeyReused);
    let elsewhere: Fill = |batch| batch.idempotency_key("key").event("a", event("A")).event("b", event("B"));
    check_second(first, elsewhere, Told::KeyReused);
}

#[test]
fn without_a_key_or_with_another_one_the_same_events_are_appended_again() {
    let first: Fill = |batch| batch.idempotency_key("key").event("a", event("A"));
    check_second(first, |batch| batch.event("a", event("A")), Told::Appended);
    check_second(first, |batch| batch.idempotency_key("kez").event("a", event("A")), Told::Appended);
    check_second(first, |batch| batch.idempotency_key("ke").event("a", event("A")), Told::Appended);
}

#[test]
fn the_key_alone_tells_a_retry_that_makes_new_ids() {
    // Who makes a new UUID for each try has the same request all the same.
    let first: Fill = |batch| batch.idempotency_key("key").event("a", named(1, "A"));
    check_second(first, |batch| batch.idempotency_key("key").event("a", named(2, "A")), Told::Duplicate);
    check_second(first, |batch| batch.idempotency_key("key").event("a", event("A")), Told::Duplicate);
}

// Ids.

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

// What counts as content.

/// The same event with one thing said differently.
fn variations() -> [(&'static str, NewEvent); 11] {
    [
        ("type", NewEvent::new("Other", "data").tag("t").tag("u").metadata("m").schema_version(1).occurred_at(5)),
        ("data", NewEvent::new("A", "dada").tag("t").tag("u").metadata("m").schema_version(1).occurred_at(5)),
        ("longer data", NewEvent::new("A", "data ").tag("t").tag("u").metadata("m").schema_version(1).occurred_at(5)),
        ("a tag less", NewEvent::new("A", "data").tag("t").metadata("m").schema_version(1).occurred_at(5)),
        ("a tag more", whole_event().tag("v")),
        ("other metadata", whole_event().metadata("n")),
        ("empty metadata", whole_event().metadata("")),
        ("no metadata", NewEvent::new("A", "data").tag("t").tag("u").schema_version(1).occurred_at(5)),
        ("schema version", whole_event().schema_version(2)),
        ("occurred_at", whole_event().occurred_at(6)),
        ("no occurred_at", NewEvent::new("A", "data").tag("t").tag("u").metadata("m").schema_version(1)),
    ]
}

fn whole_event() -> NewEvent {
    NewEvent::new("A", "data").tag("t").tag("u").metadata("m").schema_version(1).occurred_at(5)
}

#[test]
fn everything_that_an_event_says_counts() {
    on_every_store(&quiet(), |store| {
        store.batch().idempotency_key("key").event("a", whole_event().id(id(1))).commit().unwrap();
        let by_key = |stream, event| store.batch().idempotency_key("key").event(stream, event).commit();
        let by_id = |stream, event: NewEvent| store.append(stream, Any, event.id(id(1)));
        for (what, event) in variations() {
            let refused = by_key("a", event.clone());
            assert!(matches!(refused, Err(AppendError::IdempotencyKeyReused { .. })), "{what}: {refused:?}");
            let refused = by_id("a", event);
            assert!(matches!(refused, Err(AppendError::EventIdConflict { .. })), "{what}: {refused:?}");
        }
        assert!(matches!(by_key("b", whole_event()), Err(AppendError::IdempotencyKeyReused { .. })));
        assert!(matches!(by_id("b", whole_event()), Err(AppendError::EventIdConflict { .. })));
        assert_eq!(by_key("a", whole_event()).unwrap().outcome, Outcome::Duplicate);
        assert_eq!(by_id("a", whole_event()).unwrap().outcome, Outcome::Duplicate);
    });
}

#[test]
fn how_a_try_was_made_does_not_count() {
    on_every_store(&quiet(), |store| {
        store.batch().idempotency_key("key").event("a", whole_event().id(id(1))).commit().unwrap();
        let other = |number| {
            let event = whole_event().correlation_id(id(number)).causation_id(id(number));
            event.content_type(ContentType::new(number))
        };
        let again = store.append("a", Any, other(7).id(id(1))).unwrap();
        assert_eq!((again.outcome, again.first), (Outcome::Duplicate, pos(1)));
        let again = store.batch().idempotency_key("key").expect("a", Exact(ver(9))).expect("z", Any);
        let again = again.event("a", other(8)).durability(Durability::Buffered).commit().unwrap();
        assert_eq!((again.outcome, again.first), (Outcome::Duplicate, pos(1)));
    });
}

// The order of checks.

#[test]
fn a_retry_expects_what_was_true_before_and_is_a_duplicate_all_the_same() {
    // Duplicates win over version conflicts, or a retry after a lost acknowledgement would fail.
    check_second(
        |batch| batch.expect("a", NoStream).event("a", named(1, "A")),
        |batch| batch.expect("a", NoStream).event("a", named(1, "A")),
        Told::Duplicate,
    );
    check_second(
        |batch| batch.idempotency_key("key").expect("a", NoStream).event("a", event("A")),
        |batch| batch.idempotency_key("key").expect("a", NoStream).event("a", event("A")),
        Told::Duplicate,
    );
    check_second(
        |batch| batch.event("a", named(1, "A")).tracking("kafka", 7),
        |batch| batch.event("a", named(1, "A")).tracking("kafka", 7),
        Told::Duplicate,
    );
}

#[test]
fn checks_are_made_in_their_order() {
    on_every_store(&quiet().max_event_bytes(1000), |store| {
        let noise = event("A").tag("t");
        store.batch().idempotency_key("key").event("a", noise.id(id(1))).tracking("kafka", 7).commit().unwrap();
        // A request that is wrong in all ways, and then in one way less each time.
        let fails = || annals::AppendCondition::fail_if_match(annals::QueryItem::new().tag("t"));
        let old =
            |batch: BatchBuilder<'_>| batch.expect("a", NoStream).tracking("kafka", 7).condition(fails()).commit();
        let large = NewEvent::new("Large", vec![0; 2000]);
        let error = old(store.batch().idempotency_key("key").event("a", named(1, "B")).event("a", large)).unwrap_err();
        assert!(matches!(error, AppendError::EventTooLarge { .. }), "1: {error:?}");
        let error = old(store.batch().idempotency_key("key").event("a", named(1, "B"))).unwrap_err();
        assert!(matches!(error, AppendError::IdempotencyKeyReused { .. }), "2: {error:?}");
        let error = old(store.batch().event("a", named(1, "B"))).unwrap_err();
        assert!(matches!(error, AppendError::EventIdConflict { .. }), "3: {error:?}");
        let error = old(store.batch().event("a", event("B"))).unwrap_err();
        assert!(matches!(error, AppendError::TrackingConflict { .. }), "4: {error:?}");
        let error = store.batch().expect("a", NoStream).event("a", event("B")).condition(fails()).commit().unwrap_err();
        assert!(matches!(error, AppendError::ConcurrencyConflict { .. }), "4: {error:?}");
        let error = store.batch().event("a", event("B")).condition(fails()).commit().unwrap_err();
        assert!(matches!(error, AppendError::ConditionFailed { .. }), "5: {error:?}");
        store.batch().event("a", event("B")).commit().unwrap();
    });
}

#[test]
fn a_tracking_record_that_comes_with_an_old_event_is_not_recorded() {
    // A source that delivers an event a second time, further on.
    on_every_store(&quiet(), |store| {
        let take_in = |at| store.batch().event("a", named(1, "A")).tracking("kafka", at).commit().unwrap().outcome;
        assert_eq!([take_in(7), take_in(7), take_in(8)], [Outcome::Appended, Outcome::Duplicate, Outcome::Duplicate]);
        assert_eq!(store.tracking("kafka").unwrap(), Some(7));
    });
}

// Ids that the store made.

#[test]
fn an_event_that_was_read_and_is_appended_again_with_its_id_is_a_duplicate() {
    on_every_kind(|place| {
        let store = place.open(&quiet());
        for number in 0..20 {
            store.append_batch("a", Any, [event("A"), named(number, "B"), event("C")]).unwrap();
            store.append("filler", Any, NewEvent::new("Large", vec![1; 20_000])).unwrap();
        }
        let again = |store: &EventStore| {
            for event in store.read_all(Position::START) {
                let event = event.unwrap();
                let lent = event.as_event();
                let copy = NewEvent::new(lent.event_type, lent.data.to_vec()).id(lent.id);
                let done = store.append(lent.stream, Any, copy.clone()).unwrap();
                assert_eq!((done.outcome, done.first, done.last), (Outcome::Duplicate, lent.position, lent.position));
                assert_eq!((done.version, done.recorded_at), (lent.version, lent.recorded_at));
                let other = store.append("another", Any, copy);
                assert!(
                    matches!(other, Err(AppendError::EventIdConflict { existing, .. }) if existing == lent.position)
                );
            }
        };
        again(&store);
        drop(store);
        let store = place.open(&quiet());
        again(&store);
        // The next store makes ids of its own.
        store.append_batch("a", Any, [event("A"), event("B")]).unwrap();
        again(&store);
    });
}

#[test]
fn an_event_is_found_by_its_id_whoever_has_made_it() {
    on_every_kind(|place| {
        let mut ids = Vec::new();
        for round in 0..3_u8 {
            let store = place.open(&quiet());
            for number in 0..12 {
                let number = round * 12 + number;
                let large = NewEvent::new("Large", vec![1; 9_000]);
                let batch = if number % 3 == 0 { vec![named(number, "A"), large] } else { vec![event("A"), large] };
                store.append_batch("a", Any, batch).unwrap();
            }
            ids = store.read_all(Position::START).map(|event| event.unwrap().as_event().id).collect();
            for store in [store, place.try_read().unwrap()] {
                for (id, position) in ids.iter().zip(1..) {
                    let found = store.get_event(*id).unwrap().expect("it is there");
                    assert_eq!((found.position(), found.as_event().id), (pos(position), *id));
                }
                assert_eq!(store.get_event(id(200)).unwrap(), None);
            }
        }
        assert_eq!(ids.len(), 72);
        // An id that another store has made, at the same positions and times.
        let other = EventStore::in_memory(&quiet()).unwrap();
        other.append_batch("a", Any, (0..80).map(|_| event("A"))).unwrap();
        let store = place.open(&quiet());
        for event in other.read_all(Position::START) {
            assert_eq!(store.get_event(event.unwrap().as_event().id).unwrap(), None);
        }
    });
}

#[test]
fn an_id_that_looks_as_if_the_store_had_made_it_is_an_id_like_any_other() {
    on_every_kind(|place| {
        let store = place.open(&quiet());
        store.append_batch("a", Any, [event("A"), event("B")]).unwrap();
        // What the store will make for position 4, a moment later, is given to the event at position 3.
        let made = store.get(pos(2)).unwrap().unwrap().as_event().id;
        let maker = annals_codec::IdMaker::of(made, pos(2)).expect("the store made it");
        let given = maker.make(pos(4), 0);
        store.append("a", Any, event("C").id(given)).unwrap();
        store.append("a", Any, event("D")).unwrap();
        let check = |store: &EventStore| {
            assert_eq!(store.get_event(given).unwrap().map(|event| event.position()), Some(pos(3)));
            assert_eq!(store.append("a", Any, event("C").id(given)).unwrap().outcome, Outcome::Duplicate);
            let fourth = store.get(pos(4)).unwrap().unwrap();
            assert_eq!(store.get_event(fourth.as_event().id).unwrap(), Some(fourth.clone()));
        };
        check(&store);
        drop(store);
        check(&place.open(&quiet()));
    });
}

#[test]
fn ids_that_another_store_has_made_are_found_in_a_copy_of_its_log() {
    // Their positions are the same and their times of recording are not, as after an import.
    let original = EventStore::in_memory(&quiet()).unwrap();
    let large = |event: &annals::RecordedEvent| NewEvent::new("Large", vec![1; 9_000]).id(event.as_event().id);
    original.append_batch("a", Any, (0..40).map(|_| event("A"))).unwrap();
    let events: Vec<_> = original.read_all(Position::START).map(|event| event.unwrap()).collect();
    let clock = Arc::new(HandClock::default());
    clock.0.store(1_000_000_000_000_000_000, std::sync::atomic::Ordering::Relaxed);
    on_every_kind(|place| {
        let options = quiet().clock(clock.clone());
        let store = place.open(&options);
        for event in &events {
            store.append("a", Any, large(event)).unwrap();
        }
        assert!(store.stats().segments.len() > 3);
        drop(store);
        for store in [place.try_read().unwrap(), place.open(&options)] {
            for event in &events {
                let found = store.get_event(event.as_event().id).unwrap();
                assert_eq!(found.map(|found| found.position()), Some(event.position()));
            }
        }
        let store = place.open(&options);
        for event in &events {
            assert_eq!(store.append("a", Any, large(event)).unwrap().outcome, Outcome::Duplicate);
        }
    });
}

// Finding a request by its key.

#[test]
fn find_append_gives_the_first_answer_wherever_the_batch_is() {
    on_every_kind(|place| {
        let store = place.open(&quiet());
        assert_eq!(store.find_append("none").unwrap(), None);
        let mut answers = Vec::new();
        for number in 0..30 {
            let mut batch = store.batch().idempotency_key(format!("key-{number}"));
            if number % 3 > 0 {
                batch = batch.event("a", NewEvent::new("Large", vec![1; 8_000])).event("b", event("B"));
            }
            if number % 3 < 2 {
                batch = batch.tracking("kafka", number);
            }
            answers.push(batch.commit().unwrap());
        }
        assert!(store.stats().segments.len() > 2);
        let check = |store: &EventStore| {
            for (number, answer) in answers.iter().enumerate() {
                assert_eq!(store.find_append(format!("key-{number}")).unwrap().as_ref(), Some(answer), "{number}");
            }
            assert_eq!(store.find_append("key-30").unwrap(), None);
            assert!(matches!(store.find_append(""), Err(ReadError::InvalidName(_))));
        };
        check(&store);
        check(&place.try_read().unwrap());
        drop(store);
        check(&place.open(&quiet()));
    });
}

#[test]
fn a_reader_in_another_process_finds_ids_and_keys_as_the_writer_goes_on() {
    on_every_kind(|place| {
        let store = place.open(&quiet());
        let reader = place.try_read().unwrap();
        for number in 0..10 {
            let key = format!("key-{number}");
            assert_eq!(reader.find_append(&*key).unwrap(), None);
            assert_eq!(reader.get_event(id(number)).unwrap(), None);
            let large = NewEvent::new("Large", vec![1; 20_000]).id(id(number));
            let done = store.batch().idempotency_key(&*key).event("a", large).commit().unwrap();
            assert_eq!(reader.find_append(&*key).unwrap(), Some(done));
            assert_eq!(reader.get_event(id(number)).unwrap().map(|event| event.position()), Some(done.last));
        }
    });
}

#[test]
fn a_key_has_1_to_128_bytes() {
    let store = EventStore::in_memory(&quiet()).unwrap();
    let with = |key: String| store.batch().idempotency_key(key).event("a", event("A")).commit();
    with("k".repeat(128)).unwrap();
    assert_eq!(with("k".repeat(128)).unwrap().outcome, Outcome::Duplicate);
    for bad in [String::new(), "k".repeat(129), "a\0b".to_owned()] {
        assert!(matches!(with(bad), Err(AppendError::InvalidName(_))));
    }
    let empty = store.batch().idempotency_key("key").commit();
    assert!(matches!(empty, Err(AppendError::EmptyBatch)), "{empty:?}");
}

#[test]
fn the_errors_say_what_is_where_and_what_to_do() {
    let store = EventStore::in_memory(&quiet()).unwrap();
    let keyed = |events: Vec<NewEvent>| store.batch().idempotency_key("key").events("a", events).commit();
    keyed(vec![named(1, "A"), named(2, "B")]).unwrap();
    store.batch().idempotency_key("progress").tracking("kafka", 7).commit().unwrap();
    let one = "01010101-0101-0101-0101-010101010101";
    for (answer, message) in [
        (
            keyed(vec![event("C")]),
            "the idempotency key key was used for another request, at positions 1 to 2: give each request a key of its own".to_owned(),
        ),
        (
            store.batch().idempotency_key("progress").tracking("kafka", 8).commit(),
            "the idempotency key progress was used for another request: give each request a key of its own".to_owned(),
        ),
        (
            store.append("a", Any, named(1, "C")),
            format!("event {one} is at position 1 already, and is another event: give this one an id of its own"),
        ),
        (
            store.append_batch("a", Any, [named(1, "A"), named(3, "C")]),
            format!("event {one} is at position 1 already, but not the whole batch: append the rest on its own"),
        ),
        (
            store.append_batch("a", Any, [named(1, "A"), named(1, "C")]),
            format!("two events of the batch have the id {one}: give each an id of its own"),
        ),
    ] {
        assert_eq!(answer.unwrap_err().to_string(), message);
    }
}

// What a retry asks of the disk.

fn on_sim() -> (SimDisk, EventStore) {
    let disk = SimDisk::new(4);
    let store = EventStore::open_on(Arc::new(disk.clone()), &quiet()).unwrap();
    (disk, store)
}

fn buffered<'a>(store: &'a EventStore, key: &str) -> BatchBuilder<'a> {
    store.batch().idempotency_key(key).event("a", event("A")).durability(Durability::Buffered)
}

fn synced<'a>(store: &'a EventStore, key: &str) -> BatchBuilder<'a> {
    buffered(store, key).durability(Durability::Sync)
}

#[test]
fn a_durable_retry_of_a_buffered_append_is_answered_when_it_is_durable() {
    let (disk, store) = on_sim();
    buffered(&store, "key").commit().unwrap();
    assert_eq!(store.durable_head(), Position::START);
    let asked = disk.operations();
    assert_eq!(buffered(&store, "key").commit().unwrap().outcome, Outcome::Duplicate);
    assert_eq!(disk.operations(), asked, "nobody asked for more");
    assert_eq!(synced(&store, "key").commit().unwrap().outcome, Outcome::Duplicate);
    assert_eq!(disk.operations(), asked + 2, "a sync, and the watermark");
    assert_eq!(store.durable_head(), pos(1));
    assert_eq!(synced(&store, "key").commit().unwrap().outcome, Outcome::Duplicate);
    assert_eq!(disk.operations(), asked + 2, "it is durable");
    // What came behind it is not, and does not matter.
    buffered(&store, "other").commit().unwrap();
    assert_eq!(synced(&store, "key").commit().unwrap().outcome, Outcome::Duplicate);
    assert_eq!(disk.operations(), asked + 3, "the write of the other one");
    let after = disk.after_power_loss(PowerLoss::KeepLeast, 0);
    let after = EventStore::open_on(Arc::new(after), &quiet()).unwrap();
    assert_eq!((after.find_append("key").unwrap().is_some(), after.head()), (true, pos(1)));
}

#[test]
fn a_durable_retry_by_id_and_one_of_a_tracking_record_alone_wait_for_durability_too() {
    let (disk, store) = on_sim();
    let progress = || store.batch().idempotency_key("progress").tracking("kafka", 7);
    progress().durability(Durability::Buffered).commit().unwrap();
    assert_eq!(progress().durability(Durability::Sync).commit().unwrap().outcome, Outcome::Duplicate);
    let after = disk.after_power_loss(PowerLoss::KeepLeast, 0);
    assert_eq!(EventStore::open_on(Arc::new(after), &quiet()).unwrap().tracking("kafka").unwrap(), Some(7));

    store.batch().event("a", named(1, "A")).durability(Durability::Buffered).commit().unwrap();
    assert_eq!(store.append("a", Any, named(1, "A")).unwrap().outcome, Outcome::Duplicate);
    assert_eq!(store.durable_head(), pos(1));
}

#[test]
fn a_durable_retry_whose_sync_fails_is_in_doubt_and_poisons() {
    let (disk, store) = on_sim();
    buffered(&store, "key").commit().unwrap();
    disk.fail_at(disk.operations(), Fault::Eio);
    let error = synced(&store, "key").commit().unwrap_err();
    assert!(matches!(error, AppendError::CommitUnknown { .. }), "{error:?}");
    let error = buffered(&store, "key").commit().unwrap_err();
    assert!(matches!(error, AppendError::Poisoned { .. }), "{error:?}");
    assert_eq!(store.head(), pos(1), "readers go on");
}

#[test]
fn of_a_group_whose_only_sync_is_for_a_retry_the_others_are_answered_as_they_asked() {
    let (disk, store) = on_sim();
    buffered(&store, "key").commit().unwrap();
    let tickets = [synced(&store, "key"), buffered(&store, "key"), buffered(&store, "key").expect("b", Exact(ver(1)))];
    let tickets = tickets.map(|batch| batch.submit().unwrap());
    let conflict = store.batch().expect("a", NoStream).event("a", event("A")).submit().unwrap();
    disk.fail_at(disk.operations(), Fault::Eio);
    let [durable, written, also] = tickets.map(annals::Ticket::wait);
    assert!(matches!(durable, Err(AppendError::CommitUnknown { .. })), "{durable:?}");
    assert_eq!(written.unwrap().outcome, Outcome::Duplicate);
    assert_eq!(also.unwrap().outcome, Outcome::Duplicate);
    assert!(matches!(conflict.wait(), Err(AppendError::ConcurrencyConflict { .. })));
}

#[test]
fn a_durable_retry_makes_its_group_durable_with_one_sync() {
    let (disk, store) = on_sim();
    buffered(&store, "key").commit().unwrap();
    for retried in ["key", "new"] {
        let asked = disk.operations();
        let new = buffered(&store, "new").event("b", named(retried.as_bytes()[0], "B"));
        let new = if retried == "new" { buffered(&store, "newer") } else { new }.submit().unwrap();
        let again = synced(&store, if retried == "new" { "newer" } else { "key" }).submit().unwrap();
        assert_eq!(new.wait().unwrap().outcome, Outcome::Appended);
        assert_eq!(again.wait().unwrap().outcome, Outcome::Duplicate);
        assert_eq!(disk.operations(), asked + 3, "{retried}: a write, a sync, and the watermark");
        assert_eq!(store.durable_head(), store.head());
    }
}

#[test]
fn a_retry_changes_nothing_on_disk_not_even_the_first_of_a_writer_or_one_for_which_there_is_no_room() {
    let (disk, store) = on_sim();
    let large = |store: &EventStore| {
        let event = NewEvent::new("Large", vec![1; 50_000]);
        store.batch().idempotency_key("large").event("a", event).commit().unwrap().outcome
    };
    assert_eq!(large(&store), Outcome::Appended);
    let asked = disk.operations();
    assert_eq!(large(&store), Outcome::Duplicate);
    assert_eq!(disk.operations(), asked, "no roll");
    drop(store);
    let store = EventStore::open_on(Arc::new(disk.clone()), &quiet()).unwrap();
    let asked = disk.operations();
    assert_eq!(large(&store), Outcome::Duplicate);
    let refused = store.batch().idempotency_key("large").event("a", event("A")).commit();
    assert!(matches!(refused, Err(AppendError::IdempotencyKeyReused { .. })), "{refused:?}");
    assert_eq!(disk.operations(), asked, "no epoch was begun");
}

// Answers share fate.

#[test]
fn a_duplicate_of_the_group_shares_its_fate_and_one_of_the_log_does_not() {
    let (disk, store) = on_sim();
    let old = || store.batch().idempotency_key("old").event("a", named(1, "A"));
    old().commit().unwrap();
    let new = || store.batch().idempotency_key("new").event("b", named(2, "B"));
    let written = new().submit().unwrap();
    let of_group = [
        new().submit().unwrap(),
        store.batch().event("b", named(2, "B")).submit().unwrap(),
        store.batch().event("b", named(2, "C")).submit().unwrap(),
        store.batch().idempotency_key("new").event("b", event("C")).submit().unwrap(),
        store.batch().events("b", [named(2, "B"), named(3, "C")]).submit().unwrap(),
        store.batch().events("a", [named(1, "A"), named(2, "B")]).submit().unwrap(),
    ];
    let of_log = [
        old().submit().unwrap(),
        store.batch().event("a", named(1, "A")).submit().unwrap(),
        store.batch().event("a", named(1, "C")).submit().unwrap(),
        store.batch().idempotency_key("old").event("a", event("C")).submit().unwrap(),
        store.batch().events("a", [named(1, "A"), named(4, "C")]).submit().unwrap(),
    ];
    disk.fail_at(disk.operations() + 1, Fault::Eio);
    assert!(matches!(written.wait(), Err(AppendError::CommitUnknown { .. })));
    for (number, ticket) in of_group.into_iter().enumerate() {
        let answer = ticket.wait();
        assert!(matches!(answer, Err(AppendError::CommitUnknown { .. })), "{number}: {answer:?}");
    }
    let [key, named, id_conflict, reused, partial] = of_log.map(annals::Ticket::wait);
    assert_eq!((key.unwrap().outcome, named.unwrap().outcome), (Outcome::Duplicate, Outcome::Duplicate));
    assert!(matches!(id_conflict, Err(AppendError::EventIdConflict { .. })), "{id_conflict:?}");
    assert!(matches!(reused, Err(AppendError::IdempotencyKeyReused { .. })), "{reused:?}");
    assert!(matches!(partial, Err(AppendError::PartialDuplicate { .. })), "{partial:?}");
    assert_eq!(store.find_append("new").unwrap(), None);
    assert_eq!(store.get_event(id(2)).unwrap(), None);
}

#[test]
fn a_group_that_was_not_written_leaves_no_key_and_no_id_behind() {
    let (disk, store) = on_sim();
    store.append("a", Any, event("A")).unwrap();
    disk.fail_at(disk.operations(), Fault::StorageFull);
    let first = store.batch().idempotency_key("key").event("a", named(1, "A")).submit().unwrap();
    let again = store.batch().idempotency_key("key").event("a", named(1, "A")).submit().unwrap();
    for ticket in [first, again] {
        assert!(matches!(ticket.wait(), Err(AppendError::StorageFull)));
    }
    assert_eq!((store.find_append("key").unwrap(), store.get_event(id(1)).unwrap()), (None, None));
    // Both are free, for something else.
    let other = store.batch().idempotency_key("key").event("b", named(1, "B")).commit().unwrap();
    assert_eq!(other.outcome, Outcome::Appended);
}

#[test]
fn a_durable_retry_in_a_group_for_which_there_is_no_space_is_answered_when_it_is_durable() {
    let (disk, store) = on_sim();
    buffered(&store, "key").commit().unwrap();
    let new = synced(&store, "new").submit().unwrap();
    let again = synced(&store, "key").submit().unwrap();
    disk.fail_at(disk.operations(), Fault::StorageFull);
    assert!(matches!(new.wait(), Err(AppendError::StorageFull)));
    assert_eq!(again.wait().unwrap().outcome, Outcome::Duplicate);
    let after = disk.after_power_loss(PowerLoss::KeepLeast, 0);
    assert!(EventStore::open_on(Arc::new(after), &quiet()).unwrap().find_append("key").unwrap().is_some());
    assert_eq!(store.durable_head(), pos(1));
}

#[test]
fn a_retry_after_a_failed_sync_and_a_reopen_appends_exactly_once() {
    // Whether the disk has taken it or not.
    let mut outcomes = std::collections::BTreeSet::new();
    for seed in 0..20 {
        let disk = SimDisk::new(seed);
        let store = EventStore::open_on(Arc::new(disk.clone()), &quiet()).unwrap();
        let batch =
            |store: &EventStore| store.batch().idempotency_key("key").events("a", [named(1, "A"), event("B")]).commit();
        disk.fail_at(disk.operations() + 4, Fault::Eio);
        let lost = batch(&store).unwrap_err();
        assert!(matches!(lost, AppendError::CommitUnknown { .. } | AppendError::Poisoned { .. }), "{lost:?}");
        drop(store);
        let store = EventStore::open_on(Arc::new(disk.clone()), &quiet()).unwrap();
        outcomes.insert(format!("{:?}", batch(&store).unwrap().outcome));
        assert_eq!(whole(&store), ["a/1/A", "a/2/B"], "seed {seed}");
    }
    assert_eq!(outcomes.len(), 2, "both happen: {outcomes:?}");
}

// What cannot be read.

#[test]
fn what_must_be_read_to_decide_and_cannot_be_is_an_error_and_writes_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let store = EventStore::open(dir.path(), &quiet().pread(true)).unwrap();
    store.batch().idempotency_key("key").event("a", named(1, "A")).commit().unwrap();
    store.append("a", Any, event("B")).unwrap();
    let path = dir.path().join(&store.stats().segments[0].path);
    let mut bytes = std::fs::read(&path).unwrap();
    bytes[4096 + 30] ^= 1;
    std::fs::write(&path, &bytes).unwrap();
    for refused in [
        store.batch().idempotency_key("key").event("a", named(1, "A")).commit(),
        store.append("a", Any, named(1, "A")),
        store.append("a", Any, named(1, "C")),
    ] {
        match refused {
            Err(AppendError::Unreadable { cause: ReadError::Corrupt(damage) }) => {
                assert_eq!((damage.from, damage.to), (pos(1), Some(pos(1))));
            }
            other => panic!("{other:?}"),
        }
    }
    assert!(matches!(store.get_event(id(1)), Err(ReadError::Corrupt(_))));
    assert!(matches!(store.find_append("key"), Err(ReadError::Corrupt(_))));
    assert_eq!(store.append("a", Any, named(2, "A")).unwrap().last, pos(3), "whoever does not need it goes on");
}

#[test]
fn a_damaged_commit_marker_is_an_error_for_whoever_asks_for_its_key() {
    let dir = tempfile::tempdir().unwrap();
    let store = EventStore::open(dir.path(), &quiet().pread(true)).unwrap();
    store.append("a", Any, event("A")).unwrap();
    store.batch().idempotency_key("key").events("a", [named(1, "A"), named(2, "B")]).commit().unwrap();
    let path = dir.path().join(&store.stats().segments[0].path);
    let mut bytes = std::fs::read(&path).unwrap();
    let at = bytes.windows(3).rposition(|window| window == b"key").unwrap();
    bytes[at] = b'K';
    std::fs::write(&path, &bytes).unwrap();
    match store.find_append("key") {
        Err(ReadError::Corrupt(damage)) => assert_eq!(damage.from, pos(3), "the last of its events"),
        other => panic!("{other:?}"),
    }
    let refused = store.batch().idempotency_key("key").event("a", named(1, "A")).commit();
    assert!(matches!(refused, Err(AppendError::Unreadable { .. })), "{refused:?}");
    // Whether they are of one batch nobody can tell.
    let refused = store.append_batch("a", Any, [named(1, "A"), named(2, "B")]);
    assert!(matches!(refused, Err(AppendError::Unreadable { .. })), "{refused:?}");
    assert_eq!(store.append("a", Any, named(1, "A")).unwrap().outcome, Outcome::Duplicate);
}

#[test]
fn what_a_reader_does_not_find_may_lie_in_the_damaged_region() {
    let dir = tempfile::tempdir().unwrap();
    let store = EventStore::open(dir.path(), &quiet()).unwrap();
    for number in 1..=3 {
        store.batch().idempotency_key(format!("key-{number}")).event("a", named(number, "A")).commit().unwrap();
    }
    let path = dir.path().join(&store.stats().segments[0].path);
    drop(store);
    let mut bytes = std::fs::read(&path).unwrap();
    let at = bytes.windows(5).position(|window| window == b"key-2").unwrap();
    bytes[at] ^= 1;
    std::fs::write(&path, &bytes).unwrap();
    let store = EventStore::open_read_only(dir.path()).unwrap();
    for number in [1, 3] {
        assert_eq!(store.get_event(id(number)).unwrap().map(|event| event.position()), Some(pos(number.into())));
        assert_eq!(store.find_append(format!("key-{number}")).unwrap().map(|done| done.last), Some(pos(number.into())));
    }
    for number in [2, 4] {
        assert!(matches!(store.get_event(id(number)), Err(ReadError::Corrupt(_))));
        assert!(matches!(store.find_append(format!("key-{number}")), Err(ReadError::Corrupt(_))));
    }
}

// Many at once.

#[test]
fn whoever_retries_at_the_same_time_it_is_there_once() {
    const THREADS: usize = 6;
    on_every_kind(|place| {
        let store = place.open(&annals::Options::new().segment_bytes(64 << 10));
        let barrier = Barrier::new(THREADS);
        let appended: usize = std::thread::scope(|threads| {
            let retry = || {
                let mut appended = 0;
                for round in 0..40_u8 {
                    barrier.wait();
                    let large = NewEvent::new("Large", vec![round; 2_000]);
                    let keyed = store.batch().idempotency_key(format!("key-{round}")).event("keyed", large.clone());
                    let keyed = keyed.submit().unwrap();
                    let named = store.append_batch("named", Any, [large.id(id(round)), event("B")]).unwrap();
                    let keyed = keyed.wait().unwrap();
                    for (done, events) in [(keyed, 1), (named, 2)] {
                        assert_eq!(done.last.get() + 1 - done.first.get(), events);
                        appended += usize::from(done.outcome == Outcome::Appended);
                    }
                }
                appended
            };
            let all: Vec<_> = (0..THREADS).map(|_| threads.spawn(retry)).collect();
            all.into_iter().map(|thread| thread.join().unwrap()).sum()
        });
        assert_eq!(appended, 80, "one of the threads, each time");
        assert_eq!(store.head(), pos(120));
        assert_eq!(store.stream_version("keyed").unwrap(), ver(40));
    });
}

#[test]
fn who_looks_while_it_is_appended_finds_it_or_does_not_and_never_meets_an_error() {
    // It is in the index a moment before it can be read.
    on_every_kind(|place| {
        let store = place.open(&annals::Options::new().segment_bytes(64 << 10).durability(Durability::Buffered));
        let next = std::sync::atomic::AtomicU32::new(0);
        let id = |number: u32| {
            let mut bytes = [9; 16];
            bytes[..4].copy_from_slice(&number.to_le_bytes());
            EventId::from_bytes(bytes)
        };
        std::thread::scope(|threads| {
            let reader = threads.spawn(|| {
                let mut found = 0;
                while found < 2_000 {
                    let number = next.load(std::sync::atomic::Ordering::Relaxed);
                    let key = store.find_append(number.to_string()).unwrap();
                    let event = store.get_event(id(number)).unwrap();
                    // The key was looked for first, and what is there stays.
                    assert!(key.is_none() || event.is_some());
                    found = if event.is_some() { number + 1 } else { found };
                }
            });
            for number in 0..2_000 {
                next.store(number, std::sync::atomic::Ordering::Relaxed);
                let event = NewEvent::new("A", vec![1; 100]).id(id(number));
                store.batch().idempotency_key(number.to_string()).event("a", event).commit().unwrap();
            }
            reader.join().unwrap();
        });
    });
}

#[test]
fn a_group_of_thousands_of_retries_takes_no_longer_than_one_of_as_many_appends() {
    // Looking for each among all the others would be 100 million comparisons.
    let store = EventStore::in_memory(&annals::Options::new().background(false)).unwrap();
    let batch = |number: u32| {
        let mut bytes = [7; 16];
        bytes[..4].copy_from_slice(&number.to_le_bytes());
        let event = NewEvent::new("A", number.to_le_bytes().to_vec()).id(EventId::from_bytes(bytes));
        store.batch().idempotency_key(number.to_string()).event("a", event).submit().unwrap()
    };
    let start = std::time::Instant::now();
    let tickets: Vec<_> = (0..10_000).chain(0..10_000).map(batch).collect();
    let mut duplicates = 0;
    for (number, ticket) in tickets.into_iter().enumerate() {
        let done = ticket.wait().unwrap();
        assert_eq!(done.last.get(), number as u64 % 10_000 + 1);
        duplicates += usize::from(done.outcome == Outcome::Duplicate);
    }
    assert_eq!(duplicates, 10_000);
    assert!(start.elapsed().as_secs() < 20, "{:?}", start.elapsed());
}

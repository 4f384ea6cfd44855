//! What counts as content, and the order of checks.

use super::*;

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

//! Batches of nothing but a tracking record, and what tracking takes in.

use super::*;

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

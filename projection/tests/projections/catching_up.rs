//! Catching up: what is folded, and how far the position moves.

use std::sync::{Arc, OnceLock};
use std::thread;

use annals::{Event, NameError, Options, Position, Query, QueryItem};
use annals_projection::{Fold, HandlerError, OnError, Projection, ProjectionError, Stopper};

use crate::support::*;

#[test]
fn catching_up_folds_each_event_once_and_the_next_time_only_what_came_since() {
    let store = in_memory();
    add(&store, 1..=5);
    let mut projection = seen("seen").attach(&store).unwrap();
    assert_eq!((projection.position(), projection.state().clone()), (Position::START, Seen::default()));
    assert_eq!(projection.catch_up().unwrap(), pos(5));
    assert_eq!(*projection.state(), seen_of(1..=5));
    assert_eq!(projection.catch_up().unwrap(), pos(5));
    assert_eq!(*projection.state(), seen_of(1..=5), "nothing counts twice");
    add(&store, 6..=700);
    assert_eq!(projection.catch_up().unwrap(), pos(700));
    assert_eq!(*projection.state(), seen_of(1..=700));
    let status = projection.status();
    assert_eq!((status.handled, status.skipped, status.lag, status.is_live), (700, 0, 0, true));
}

#[test]
fn an_event_type_without_a_handler_is_passed_and_the_position_moves_over_it() {
    let store = in_memory();
    for (event_type, value) in [("Added", 1), ("Noted", 2), ("Added", 3), ("Noted", 4)] {
        append(&store, event_type, value);
    }
    let mut projection = seen("seen").attach(&store).unwrap();
    assert_eq!(projection.catch_up().unwrap(), pos(4));
    assert_eq!(*projection.state(), seen_of([1, 3]));
    let mut nothing = Projection::new("nothing").when("Never", |(): &mut (), _| {}).attach(&store).unwrap();
    assert_eq!(nothing.catch_up().unwrap(), pos(4));
}

#[test]
fn of_many_types_each_finds_the_handler_that_was_given_for_it_last() {
    // A short list is gone through, and a long one is not.
    for types in [1, 7, 8, 9, 30] {
        let store = in_memory();
        let mut projection = Projection::new("many");
        for round in 0..2 {
            for number in 0..types {
                projection = projection.when(format!("Type {number}"), move |seen: &mut Vec<(u64, u64)>, _| {
                    seen.push((number, round));
                });
            }
        }
        for number in (0..=types).rev() {
            append(&store, &format!("Type {number}"), number);
        }
        let mut projection = projection.attach(&store).unwrap();
        projection.catch_up().unwrap();
        let expected: Vec<(u64, u64)> = (0..types).rev().map(|number| (number, 1)).collect();
        assert_eq!(*projection.state(), expected, "{types} types");
    }
}

#[test]
fn where_types_are_strict_one_that_nobody_knows_stops_it() {
    let store = in_memory();
    add(&store, [1]);
    append(&store, "Noted", 2);
    let mut projection = seen("seen").strict_types().attach(&store).unwrap();
    let error = projection.catch_up().unwrap_err();
    assert_eq!(
        error.to_string(),
        "the handler of Noted failed at position 2 of stream numbers: no handler knows the type Noted"
    );
    assert_eq!((projection.position(), projection.state().clone()), (pos(1), seen_of([1])));
}

#[test]
fn a_query_narrows_what_is_read_and_the_position_moves_over_all() {
    let store = in_memory();
    add(&store, 1..=3);
    store.append("others", annals::ExpectedVersion::Any, annals::NewEvent::new("Added", "4")).unwrap();
    store.append("others", annals::ExpectedVersion::Any, annals::NewEvent::new("Noted", "5")).unwrap();
    add(&store, 6..=7);
    let query = Query::from(QueryItem::new().stream("others"));
    let mut others = seen("others").query(query).attach(&store).unwrap();
    assert_eq!(others.catch_up().unwrap(), pos(7));
    assert_eq!(*others.state(), seen_of([4]));
    assert_eq!(others.status().handled, 2, "the others were not even read");
}

#[test]
fn a_fold_may_be_a_type_of_its_own() {
    struct Highest;
    impl Fold for Highest {
        type State = u64;
        fn initial(&self) -> u64 {
            7
        }
        fn apply(&self, state: &mut u64, event: &Event<'_>) -> Result<(), HandlerError> {
            *state = (*state).max(std::str::from_utf8(event.data)?.parse()?);
            Ok(())
        }
    }
    let store = in_memory();
    let mut highest = Projection::of("highest", Highest).strict_types().attach(&store).unwrap();
    highest.catch_up().unwrap();
    assert_eq!(*highest.state(), 7);
    add(&store, [3, 12, 5]);
    highest.catch_up().unwrap();
    assert_eq!(*highest.state(), 12);
    highest.rebuild().unwrap();
    assert_eq!((*highest.state(), highest.position()), (12, pos(3)));
}

#[test]
fn rebuilding_starts_over_and_comes_to_the_same() {
    let store = in_memory();
    add(&store, 1..=300);
    let mut projection = seen("seen").attach(&store).unwrap();
    projection.catch_up().unwrap();
    for round in 0..2 {
        let reached = if round == 0 { projection.rebuild() } else { projection.rebuild_beside() };
        assert_eq!(reached.unwrap(), pos(300));
        assert_eq!(*projection.state(), seen_of(1..=300));
        assert_eq!(projection.status().handled, 300);
    }
    add(&store, [301]);
    projection.catch_up().unwrap();
    assert_eq!(*projection.state(), seen_of(1..=301));
}

#[test]
fn catching_up_is_stopped_from_another_thread_between_two_batches() {
    let store = annals::EventStore::in_memory(&Options::new()).unwrap();
    let events = (1..=20_000).map(|number| annals::NewEvent::new("Added", "1".repeat(number % 3 + 1)));
    store.append_batch("numbers", annals::ExpectedVersion::Any, events).unwrap();
    let stopper = Arc::new(OnceLock::new());
    let own: Arc<OnceLock<Stopper>> = Arc::clone(&stopper);
    let projection = Projection::new("stopped").when("Added", move |count: &mut u64, _| {
        *count += 1;
        if *count == 300 {
            let stopper = own.get().unwrap().clone();
            thread::spawn(move || stopper.stop()).join().unwrap();
        }
    });
    let mut projection = projection.attach(&store).unwrap();
    stopper.set(projection.stopper()).unwrap();
    assert!(matches!(projection.catch_up(), Err(ProjectionError::Stopped)));
    let position = projection.position().get();
    assert!((300..1000).contains(&position), "it has gone on to {position}");
    assert_eq!(*projection.state(), position, "state and position are of one moment");
    assert!(matches!(projection.catch_up(), Err(ProjectionError::Stopped)), "for good");
}

#[test]
fn a_name_or_a_query_that_cannot_be_is_refused_when_it_is_attached() {
    let store = in_memory();
    let refused = seen("../seen").attach(&store).unwrap_err();
    assert!(matches!(refused, ProjectionError::InvalidName(NameError { .. })), "{refused:?}");
    let refused = seen("seen").query(Query::Items(Vec::new())).attach(&store).unwrap_err();
    assert!(matches!(refused, ProjectionError::InvalidQuery(_)), "{refused:?}");
}

#[test]
fn in_a_store_that_another_process_writes_a_projection_is_brought_up_to_date_too() {
    let dir = tempfile::tempdir().unwrap();
    let writer = annals::EventStore::open(dir.path(), &Options::new()).unwrap();
    add(&writer, 1..=3);
    let reader = annals::EventStore::open_read_only(dir.path()).unwrap();
    let mut projection = seen("seen").snapshot_every(1).on_error(OnError::Skip).attach(&reader).unwrap();
    assert_eq!(projection.catch_up().unwrap(), pos(3));
    add(&writer, 4..=6);
    assert_eq!(projection.catch_up().unwrap(), pos(6));
    assert_eq!(*projection.state(), seen_of(1..=6));
    assert_eq!(projection.status().snapshot_fault, None, "none was tried");
    assert!(!dir.path().join("snap").exists(), "a reader changes nothing");
}

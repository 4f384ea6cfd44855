//! Handlers that fail or panic: state and position stay as they were, and the policy says what follows.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use annals::{Event, Position};
use annals_projection::{Attached, HandlerError, Handlers, OnError, Projection, ProjectionError};

use crate::support::*;

/// How a handler goes wrong, after it has changed the state.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Wrong {
    Error,
    Panic,
}

/// As [`seen`], but for the events at `bad`, as long as `bad_for` lasts.
fn failing(wrong: Wrong, bad: &'static [u64], bad_for: &Arc<AtomicU64>) -> Projection<Handlers<Seen>> {
    let bad_for = Arc::clone(bad_for);
    let add = move |seen: &mut Seen, event: &Event<'_>| {
        // First the state, then the mistake: the flaw of the systems before, where a retry counted twice.
        seen.positions.push(event.position.get());
        seen.sum += number(event);
        if bad.contains(&event.position.get()) && bad_for.load(Ordering::SeqCst) > 0 {
            bad_for.fetch_sub(1, Ordering::SeqCst);
            assert!(wrong != Wrong::Panic, "as the test wants it");
            return Err(HandlerError::from("as the test wants it"));
        }
        Ok(())
    };
    Projection::new("failing").when("Added", add)
}

fn always() -> Arc<AtomicU64> {
    Arc::new(AtomicU64::new(u64::MAX))
}

#[track_caller]
fn check(projection: &Attached<Seen>, position: u64, expected: &Seen) {
    assert_eq!((projection.position(), projection.state().clone()), (pos(position), expected.clone()));
}

#[test]
fn a_handler_that_fails_or_panics_leaves_state_and_position_as_they_were() {
    for wrong in [Wrong::Error, Wrong::Panic] {
        // In the first batch, at its edges, far behind, and at the very beginning.
        for bad in [&[1][..], &[2], &[255], &[256], &[257], &[900]] {
            let store = in_memory();
            add(&store, 1..=1000);
            let mut projection = failing(wrong, bad, &always()).attach(&store).unwrap();
            for attempt in 0..3 {
                let error = projection.catch_up().unwrap_err();
                let ProjectionError::Faulted(fault) = &error else { panic!("{error:?}") };
                assert_eq!((fault.position, fault.is_panic), (pos(bad[0]), wrong == Wrong::Panic), "{attempt}");
                assert_eq!((fault.stream.as_str(), fault.event_type.as_str()), ("numbers", "Added"));
                assert_eq!(fault.reason, "as the test wants it");
                check(&projection, bad[0] - 1, &seen_of(1..bad[0]));
                assert_eq!(projection.status().handled, bad[0] - 1);
                assert!(matches!(projection.status().fault, Some(ProjectionError::Faulted(_))));
                if attempt == 1 {
                    projection.resume();
                }
            }
        }
    }
}

#[test]
fn after_its_cause_is_gone_a_projection_resumes_and_nothing_counts_twice() {
    for wrong in [Wrong::Error, Wrong::Panic] {
        let bad_for = Arc::new(AtomicU64::new(2));
        let store = in_memory();
        add(&store, 1..=600);
        let mut projection = failing(wrong, &[300], &bad_for).attach(&store).unwrap();
        assert!(projection.catch_up().is_err());
        projection.resume();
        assert!(projection.catch_up().is_err());
        projection.resume();
        assert_eq!(projection.catch_up().unwrap(), pos(600));
        check(&projection, 600, &seen_of(1..=600));
    }
}

#[test]
fn one_event_is_left_out_when_somebody_says_so_and_that_is_recorded() {
    let store = in_memory();
    add(&store, 1..=10);
    let mut projection = failing(Wrong::Error, &[4, 7], &always()).attach(&store).unwrap();
    assert!(matches!(projection.skip_one(), Err(ProjectionError::NoFault)));
    for bad in [4, 7] {
        assert!(projection.catch_up().is_err());
        assert_eq!(projection.skip_one().unwrap(), pos(bad));
        assert_eq!(projection.position(), pos(bad));
    }
    assert_eq!(projection.catch_up().unwrap(), pos(10));
    check(&projection, 10, &seen_of([1, 2, 3, 5, 6, 8, 9, 10]));
    let skipped: Vec<Position> = projection.skipped().iter().map(|skipped| skipped.position).collect();
    assert_eq!(skipped, [pos(4), pos(7)]);
    assert_eq!(projection.skipped()[0].reason, "as the test wants it");
    assert_eq!(projection.status().skipped, 2);
}

#[test]
fn with_the_policy_to_skip_bad_events_are_left_out_and_recorded() {
    for wrong in [Wrong::Error, Wrong::Panic] {
        let bad: &[u64] = &[1, 2, 255, 256, 257, 700, 1000];
        let store = in_memory();
        add(&store, 1..=1000);
        let mut projection = failing(wrong, bad, &always()).on_error(OnError::Skip).attach(&store).unwrap();
        let good = || (1..=1000).filter(|position| !bad.contains(position));
        for round in 0..3 {
            match round {
                0 => projection.catch_up().unwrap(),
                1 => projection.rebuild_beside().unwrap(),
                _ => projection.rebuild().unwrap(),
            };
            check(&projection, 1000, &seen_of(good()));
            assert_eq!((projection.status().handled, projection.status().skipped), (993, 7), "round {round}");
        }
    }
}

#[test]
fn with_the_policy_to_retry_an_event_is_tried_so_often_and_then_it_stops() {
    let retry =
        OnError::Retry { attempts: 3, pause: Duration::from_millis(2), longest_pause: Duration::from_millis(3) };
    for (failures, is_fine) in [(1, true), (2, true), (3, false)] {
        let store = in_memory();
        add(&store, 1..=5);
        let bad_for = Arc::new(AtomicU64::new(failures));
        let mut projection = failing(Wrong::Error, &[3], &bad_for).on_error(retry).attach(&store).unwrap();
        match projection.catch_up() {
            Ok(position) => assert_eq!((position, is_fine), (pos(5), true)),
            Err(ProjectionError::Faulted(fault)) => assert_eq!((fault.attempts, is_fine), (3, false)),
            Err(error) => panic!("{error:?}"),
        }
        assert_eq!(bad_for.load(Ordering::SeqCst), 0, "{failures}");
        if !is_fine {
            check(&projection, 2, &seen_of([1, 2]));
            projection.resume();
            projection.catch_up().unwrap();
        }
        check(&projection, 5, &seen_of(1..=5));
    }
}

#[test]
fn a_rebuild_beside_that_fails_leaves_the_old_state() {
    let bad_for = Arc::new(AtomicU64::new(0));
    let store = in_memory();
    add(&store, 1..=10);
    let mut projection = failing(Wrong::Panic, &[5], &bad_for).attach(&store).unwrap();
    projection.catch_up().unwrap();
    bad_for.store(u64::MAX, Ordering::SeqCst);
    assert!(matches!(projection.rebuild_beside(), Err(ProjectionError::Faulted(fault)) if fault.position == pos(5)));
    check(&projection, 10, &seen_of(1..=10));
    assert!(projection.status().fault.is_none(), "it was the new one that failed");
}

#[test]
fn damage_in_the_log_stops_it_before_the_damage() {
    use annals::storage::sim::SimDisk;
    let disk = SimDisk::new(1);
    let store = open(&disk);
    add(&store, 1000..1010);
    let path = store.stats().segments[0].path.clone();
    let bytes = disk.read_file(&path).unwrap();
    let at = bytes.windows(4).position(|found| found == b"1005").unwrap();
    disk.flip(&path, at as u64 * 8);
    let mut projection = seen("seen").on_error(OnError::Skip).attach(&store).unwrap();
    assert!(matches!(projection.catch_up(), Err(ProjectionError::Read(_))));
    assert_eq!(projection.position(), pos(5), "damage is nothing that a policy leaves out");
    assert!(matches!(projection.catch_up(), Err(ProjectionError::Read(_))));
    // Somebody repairs it.
    disk.flip(&path, at as u64 * 8);
    projection.resume();
    assert_eq!(projection.catch_up().unwrap(), pos(10));
}

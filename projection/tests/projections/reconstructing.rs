//! The state of one stream, now or as it was.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use annals::{Clock, EventStore, ExpectedVersion, NewEvent, Position, ReadError, StreamVersion};
use annals_projection::{Handlers, ProjectionError, UpTo, reconstruct_state};

use crate::support::*;

/// A second passes at each look.
#[derive(Debug, Default)]
struct Ticking(AtomicI64);

impl Clock for Ticking {
    fn now(&self) -> i64 {
        self.0.fetch_add(1_000_000_000, Ordering::SeqCst)
    }
}

/// Three streams that take turns, and the event at each position with its version in `b`.
fn store() -> (EventStore, Vec<(u64, u64, i64)>) {
    let store = EventStore::in_memory(&quiet().clock(Arc::new(Ticking::default()))).unwrap();
    let mut of_b = Vec::new();
    for number in 1..=12_usize {
        let stream = ["a", "b", "c"][number % 3];
        let done = store.append(stream, ExpectedVersion::Any, NewEvent::new("Added", number.to_string())).unwrap();
        if stream == "b" {
            of_b.push((done.last.get(), done.version.get(), done.recorded_at));
        }
    }
    (store, of_b)
}

fn sums() -> Handlers<Vec<u64>> {
    Handlers::new(Vec::new()).when("Added", |numbers: &mut Vec<u64>, event| numbers.push(number(event)))
}

#[test]
fn a_stream_is_folded_up_to_its_head_a_version_a_position_or_a_time_inclusive() {
    let (store, of_b) = store();
    let fold = |up_to| reconstruct_state(&store, "b", &sums(), up_to).unwrap();
    let all: Vec<u64> = of_b.iter().map(|(position, ..)| *position).collect();
    assert_eq!(all, [1, 4, 7, 10]);
    let head = fold(UpTo::Head);
    assert_eq!((head.state, head.version, head.position), (all.clone(), StreamVersion::new(4), pos(10)));
    for up_to in 0..=14 {
        let expected: Vec<u64> = all.iter().copied().filter(|position| *position <= up_to).collect();
        let (position, version) = (expected.last().copied().unwrap_or(0), expected.len() as u64);
        let found = fold(UpTo::Position(pos(up_to)));
        assert_eq!((found.position, found.version), (pos(position), StreamVersion::new(version)), "{up_to}");
        assert_eq!(found.state, expected, "up to position {up_to}");
    }
    for version in 0..=5_usize {
        let found = fold(UpTo::Version(StreamVersion::new(version as u64)));
        assert_eq!(found.state, all[..version.min(4)], "up to version {version}");
    }
    for (index, (_, _, time)) in of_b.iter().enumerate() {
        assert_eq!(fold(UpTo::Time(time - 1)).state, all[..index], "just before {time}");
        assert_eq!(fold(UpTo::Time(*time)).state, all[..=index], "at {time}");
    }
    assert_eq!(fold(UpTo::Time(i64::MIN)).state, [0; 0]);
    assert_eq!(fold(UpTo::Time(i64::MAX)).state, all);
}

#[test]
fn an_unknown_stream_gives_the_initial_state_at_version_0() {
    let (store, _) = store();
    for up_to in [UpTo::Head, UpTo::Position(pos(5)), UpTo::Time(0), UpTo::Version(StreamVersion::new(3))] {
        let found = reconstruct_state(&store, "unknown", &Handlers::new(7), up_to).unwrap();
        assert_eq!((found.state, found.version, found.position), (7, StreamVersion::EMPTY, Position::START));
    }
    let refused = reconstruct_state(&store, "", &Handlers::new(7), UpTo::Head).unwrap_err();
    assert!(matches!(refused, ProjectionError::Read(ReadError::InvalidName(_)) | ProjectionError::InvalidName(_)));
}

#[test]
fn a_stream_gives_what_a_projection_of_it_gives() {
    let (store, _) = store();
    let query = annals::QueryItem::new().stream("b");
    let mut projection = annals_projection::Projection::of("b", sums()).query(query).attach(&store).unwrap();
    projection.catch_up().unwrap();
    let found = reconstruct_state(&store, "b", &sums(), UpTo::Head).unwrap();
    assert_eq!(*projection.state(), found.state);
}

#[test]
fn a_handler_that_fails_or_panics_is_an_error_that_names_the_event() {
    let (store, _) = store();
    for panics in [false, true] {
        let picky = Handlers::new(0).when("Added", move |_: &mut u64, event| {
            if event.position == pos(7) {
                assert!(!panics, "as the test wants it");
                return Err("as the test wants it");
            }
            Ok(())
        });
        let error = reconstruct_state(&store, "b", &picky, UpTo::Head).unwrap_err();
        let ProjectionError::Faulted(fault) = error else { panic!("{error:?}") };
        assert_eq!((fault.position, fault.is_panic, fault.reason.as_str()), (pos(7), panics, "as the test wants it"));
        reconstruct_state(&store, "b", &picky, UpTo::Position(pos(6))).unwrap();
    }
}

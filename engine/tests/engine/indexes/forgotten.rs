//! More streams than the writer remembers.

use super::*;

/// More than are remembered: 65,536.
const TOO_MANY: u64 = 70_000;

fn many_streams(store: &EventStore, streams: u64, in_one: u64) {
    for first in (0..streams).step_by(in_one as usize) {
        let batch = (first..streams.min(first + in_one)).fold(store.batch(), |batch, number| {
            let stream = format!("s-{number}");
            batch.expect(stream.clone(), ExpectedVersion::NoStream).event(stream, event("A"))
        });
        batch.durability(Durability::Buffered).commit().unwrap();
    }
}

/// What is expected of a stream of one event, the position of which is its number plus one.
#[track_caller]
fn check_expectations(store: &EventStore, numbers: impl Iterator<Item = u64>) {
    for number in numbers {
        let stream = format!("s-{number}");
        for expected in [ExpectedVersion::NoStream, Exact(ver(2))] {
            let refused = store.append(&stream, expected, event("Never")).unwrap_err();
            let AppendError::ConcurrencyConflict { actual, last_position, .. } = refused else { panic!("{refused:?}") };
            assert_eq!((actual, last_position), (ver(1), pos(number + 1)), "{stream}");
        }
    }
}

#[test]
fn of_streams_that_the_writer_has_forgotten_every_expectation_is_still_right() {
    let disk = SimDisk::new(5);
    let options = options().segment_bytes(1 << 20);
    let store = EventStore::open_on(std::sync::Arc::new(disk.clone()), &options).unwrap();
    many_streams(&store, TOO_MANY, 1000);
    assert!(store.stats().segments.len() > 5);
    let sample = || (0..TOO_MANY).step_by(997);
    check_expectations(&store, sample());

    // A group that is not written leaves the forgotten ones as they were, and the others too.
    let group = || {
        sample().fold(store.batch(), |batch, number| {
            batch.event(format!("s-{number}"), NewEvent::new("Large", vec![0; 20_000])).event("s-1", event("More"))
        })
    };
    store.flush().unwrap();
    disk.set_capacity(Some(disk.used()));
    let refused = group().commit().unwrap_err();
    assert!(matches!(refused, AppendError::StorageFull), "{refused:?}");
    disk.set_capacity(None);
    check_expectations(&store, sample().chain([1]));
    group().commit().unwrap();
    for number in sample() {
        let stream = format!("s-{number}");
        store.append(&stream, Exact(ver(2)), event("Third")).unwrap();
    }
    drop(store);
    let store = EventStore::open_on(std::sync::Arc::new(disk), &options).unwrap();
    check_expectations(&store, (2..TOO_MANY).step_by(997));
    assert!(store.append("s-997", Exact(ver(3)), event("Fourth")).is_ok());
}

#[test]
fn one_batch_over_more_streams_than_are_remembered_moves_each_of_them_once() {
    let disk = SimDisk::new(5);
    let options = options().segment_bytes(16 << 20);
    let store = EventStore::open_on(std::sync::Arc::new(disk), &options).unwrap();
    many_streams(&store, 66_000, 66_000);
    check_expectations(&store, (0..66_000).step_by(997));
    let again = (0..66_000).fold(store.batch(), |batch, number| {
        let stream = format!("s-{number}");
        batch.expect(stream.clone(), Exact(ver(1))).event(stream, event("B"))
    });
    assert_eq!(again.commit().unwrap().last, pos(132_000));
    for number in (0..66_000).step_by(991) {
        assert_eq!(store.append(format!("s-{number}"), Exact(ver(2)), event("C")).unwrap().version, ver(3));
    }
}

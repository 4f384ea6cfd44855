//! Compares an open store with the model. Panics with the reason.

use std::collections::BTreeMap;

use annals::{EventStore, Position, RecordedEvent, StreamVersion};

use super::model::Model;

/// Checks that the store holds the first batches of the model, whole, in order,
/// once, at least `least` of them, and nothing else, and that every way of
/// reading agrees. Returns how many batches it holds.
#[track_caller]
pub(crate) fn check(store: &EventStore, model: &Model, least: usize) -> usize {
    let events = read_everything(store);
    let shown = (least..=model.len())
        .rev()
        .find(|&shown| {
            let tracked = |source| store.tracking(source).unwrap() == model.tracking(shown, source);
            model.events(shown) == events.len() && model.sources().into_iter().all(tracked)
        })
        .unwrap_or_else(|| {
            let numbers: Vec<_> = model.batches().map(|batch| batch.number).collect();
            let found: Vec<_> = events
                .iter()
                .map(|event| String::from_utf8_lossy(&event.data()[..event.data().len().min(16)]).into_owned())
                .collect();
            panic!("at least {least} of the batches {numbers:?} must be there as a whole, found {found:?}")
        });
    let expected = model
        .batches()
        .take(shown)
        .flat_map(|batch| batch.events.iter().enumerate().map(|(index, (stream, _))| (*stream, batch.payload(index))));
    for (event, (stream, payload)) in events.iter().zip(expected) {
        assert_eq!(event.stream(), stream, "the stream of position {}", event.position());
        assert!(event.data() == payload, "the payload of position {}", event.position());
        assert_eq!(event.event_type(), "Told");
    }
    check_names(store, model, shown);
    shown
}

/// What callers have named is found if it is there, and only then.
#[track_caller]
fn check_names(store: &EventStore, model: &Model, shown: usize) {
    let mut last = 0;
    for (number, batch) in model.batches().enumerate() {
        let (is_there, first) = (number < shown, last + 1);
        if is_there {
            last += batch.events.len() as u64;
        }
        if let Some(key) = batch.key() {
            let found = store.find_append(key).expect("every event is whole");
            let found = found.map(|done| (done.first.get(), done.last.get()));
            assert_eq!(found, is_there.then_some((first, last)), "batch {} by its key", batch.number);
        }
        for index in 0..batch.events.len() {
            let Some(id) = batch.id(index) else { continue };
            let found = store.get_event(id).expect("every event is whole").map(|event| event.position().get());
            assert_eq!(found, is_there.then_some(first + index as u64), "batch {} by its ids", batch.number);
        }
    }
}

/// Reads the log in every way there is, and checks that they agree.
#[track_caller]
pub(crate) fn read_everything(store: &EventStore) -> Vec<RecordedEvent> {
    let events: Vec<RecordedEvent> =
        store.read_all(Position::START).map(|event| event.expect("every event is whole")).collect();
    let head = events.len() as u64;
    assert_eq!(store.head().get(), head, "the head, and the events that can be read");
    assert!(store.durable_head() <= store.head());

    let mut streams: BTreeMap<&str, Vec<u64>> = BTreeMap::new();
    let mut recorded_at = i64::MIN;
    for (event, position) in events.iter().zip(1..) {
        assert_eq!(event.position().get(), position, "positions are dense");
        let positions = streams.entry(event.stream()).or_default();
        positions.push(position);
        assert_eq!(event.version().get(), positions.len() as u64, "versions of {} count its events", event.stream());
        let named = store.get_event(event.as_event().id).expect("every event is whole");
        assert_eq!(named.as_ref(), Some(event), "the event at {position} by its id");
        assert!(event.as_event().recorded_at >= recorded_at, "time goes on at {position}");
        recorded_at = event.as_event().recorded_at;
    }

    let position = |event: Result<RecordedEvent, _>| event.expect("every event is whole").position().get();
    let backward: Vec<u64> = store.read_all(Position::END).backward().map(position).collect();
    assert!(backward.iter().copied().eq((1..=head).rev()), "backward: {backward:?}");
    for (stream, positions) in &streams {
        let forward: Vec<u64> = store.read_stream(*stream, StreamVersion::EMPTY).unwrap().map(position).collect();
        assert_eq!(&forward, positions, "{stream}, forward");
        let backward: Vec<u64> =
            store.read_stream(*stream, StreamVersion::END).unwrap().backward().map(position).collect();
        assert!(backward.iter().rev().eq(positions), "{stream}, backward: {backward:?}");
        assert_eq!(store.stream_version(*stream).unwrap().get(), positions.len() as u64, "{stream}");
        let middle = positions.len() as u64 / 2;
        let rest: Vec<u64> = store.read_stream(*stream, StreamVersion::new(middle)).unwrap().map(position).collect();
        assert_eq!(rest, positions[middle as usize..], "{stream}, from the middle");
    }
    for at in [1, head / 2, head].map(Position::new) {
        let found = store.get(at).expect("every event is whole");
        assert_eq!(found.as_ref(), at.get().checked_sub(1).and_then(|index| events.get(index as usize)), "get {at}");
    }
    assert_eq!(store.stream_count().unwrap(), streams.len() as u64);
    events
}

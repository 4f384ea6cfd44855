//! Every way of asking, against the list of all events.

use std::collections::BTreeMap;

use annals::{EventStore, Position, Query, QueryItem, ReadError, RecordedEvent, StreamVersion};

use super::super::entry::Span;
use super::super::ledger::{Ledger, content};
use super::super::work::{Name, TAGS, TYPES};
use super::unread;
use crate::torture::Violation;
use crate::torture::violation::ensure;

/// Checks that look-ups and queries say what the list of all events says. Returns how many there were.
pub(super) fn compare(
    store: &EventStore,
    ledger: &Ledger,
    events: &[RecordedEvent],
    places: &BTreeMap<Name, Span>,
) -> Result<u64, Violation> {
    let mut streams: BTreeMap<&str, Vec<Position>> = BTreeMap::new();
    for event in events {
        let (at, positions) = (event.position(), streams.entry(event.stream()).or_default());
        positions.push(at);
        let version = event.version().get();
        ensure!(version == positions.len() as u64, ReadsAgree, "version {version} of {} is at {at}", event.stream());
        let found = store.get_event(event.as_event().id).map_err(|error| unread(&error))?;
        ensure!(found.as_ref() == Some(event), ReadsAgree, "by its id, the event at {at} is {found:?}");
    }
    let mut asked = events.len() as u64;
    asked += check_streams(store, &streams)?;
    asked += check_queries(store, events)?;
    asked += check_names(store, ledger, places)?;
    let middle = events.len() / 2;
    for index in [0, middle, events.len().saturating_sub(1)] {
        let found = store.get(Position::new(index as u64 + 1)).map_err(|error| unread(&error))?;
        ensure!(found.as_ref() == events.get(index), ReadsAgree, "position {}: {found:?}", index + 1);
        asked += 1;
    }
    let backward = positions(store.read_all(Position::END).backward())?;
    let expected: Vec<Position> = events.iter().rev().map(RecordedEvent::position).collect();
    ensure!(backward == expected, ReadsAgree, "backward, {} events are there", backward.len());
    Ok(asked + 1)
}

fn positions(reader: impl Iterator<Item = Result<RecordedEvent, ReadError>>) -> Result<Vec<Position>, Violation> {
    reader.map(|event| event.map(|event| event.position()).map_err(|error| unread(&error))).collect()
}

fn check_streams(store: &EventStore, streams: &BTreeMap<&str, Vec<Position>>) -> Result<u64, Violation> {
    let told = store.streams("").map_err(|error| unread(&error))?;
    let told: Vec<_> = told.iter().map(|info| (&*info.stream, info.version.get(), info.last_position)).collect();
    let expected: Vec<_> = streams
        .iter()
        .map(|(stream, all)| (*stream, all.len() as u64, all.last().copied().unwrap_or_default()))
        .collect();
    ensure!(told == expected, ReadsAgree, "the streams are {told:?}; reading everything gives {expected:?}");
    for (stream, all) in streams {
        let reader = |after| store.read_stream(*stream, after).map_err(|error| unread(&error.into()));
        let forward = positions(reader(StreamVersion::EMPTY)?)?;
        ensure!(forward == *all, ReadsAgree, "{stream} is at {forward:?}; reading everything gives {all:?}");
        let half = all.len() / 2;
        let rest = positions(reader(StreamVersion::new(half as u64))?)?;
        ensure!(rest == all[half..], ReadsAgree, "{stream} after version {half} is at {rest:?}, of {all:?}");
        let mut backward = positions(reader(StreamVersion::END)?.backward())?;
        backward.reverse();
        ensure!(backward == *all, ReadsAgree, "{stream}, backward, is at {backward:?} reversed, of {all:?}");
    }
    Ok(1 + 3 * streams.len() as u64)
}

fn check_queries(store: &EventStore, events: &[RecordedEvent]) -> Result<u64, Violation> {
    let by_type = TYPES.map(|event_type| QueryItem::new().event_type(event_type));
    let by_tag = TAGS.map(|tag| QueryItem::new().tag(tag));
    let narrow = QueryItem::new().event_type(TYPES[1]).tag(TAGS[0]).stream_prefix("s-");
    let mut asked = 0;
    for item in by_type.into_iter().chain(by_tag).chain([narrow]) {
        let query = Query::from(item);
        let reader = store.read(query.clone(), Position::START).map_err(|error| unread(&error.into()))?;
        let found = positions(reader)?;
        let expected: Vec<Position> =
            events.iter().filter(|event| query.matches(&event.as_event())).map(RecordedEvent::position).collect();
        ensure!(found == expected, ReadsAgree, "{query:?} finds {found:?}; reading everything gives {expected:?}");
        asked += 1;
    }
    Ok(asked)
}

/// What callers have named is found if it is there, and only then.
fn check_names(store: &EventStore, ledger: &Ledger, places: &BTreeMap<Name, Span>) -> Result<u64, Violation> {
    let mut asked = 0;
    for name in ledger.batches.keys() {
        let batch = content(ledger, *name);
        let place = places.get(name).copied();
        if let Some(key) = &batch.key {
            let found = store.find_append(&**key).map_err(|error| unread(&error))?.map(|done| (done.first, done.last));
            ensure!(found == place, ReadsAgree, "by its key, {name} is at {found:?}, and it is at {place:?}");
            asked += 1;
        }
        if let (Some(id), None) = (batch.events.first().and_then(|event| event.id), place) {
            let found = store.get_event(id).map_err(|error| unread(&error))?;
            ensure!(found.is_none(), ReadsAgree, "by its first id, {name} is there: {found:?}");
            asked += 1;
        }
    }
    Ok(asked)
}

#[cfg(test)]
mod tests {
    use annals::Options;

    use super::super::all_events;
    use super::*;
    use crate::torture::process::work::batch;
    use crate::torture::{Rule, process::child::builder};

    const SEED: u64 = 3;

    /// A store with these batches, and where they are.
    fn store(numbers: std::ops::Range<u32>) -> (EventStore, BTreeMap<Name, Span>) {
        let store = EventStore::in_memory(&Options::new().background(false)).unwrap();
        let mut places = BTreeMap::new();
        for name in numbers.map(|number| Name { life: 1, thread: 0, number }) {
            let batch = batch(SEED, name);
            let done = builder(&store, &batch).commit().unwrap();
            if !batch.events.is_empty() {
                places.insert(name, (done.first, done.last));
            }
        }
        (store, places)
    }

    fn check(store: &EventStore, events: &[RecordedEvent], places: &BTreeMap<Name, Span>) -> Result<u64, Violation> {
        let mut ledger = Ledger::new(SEED);
        ledger.settle(&super::super::Verdict { places: places.clone(), ..Default::default() });
        compare(store, &ledger, events, places)
    }

    #[test]
    fn what_a_store_answers_is_compared_with_what_reading_it_gives() {
        let (one, places) = store(0..60);
        let events = all_events(&one).unwrap();
        let streams: std::collections::BTreeSet<&str> = events.iter().map(RecordedEvent::stream).collect();
        let keys = places.keys().filter(|name| batch(SEED, **name).key.is_some()).count();
        assert!(keys > 3, "{keys}");
        // Each event by its id; the list of streams, each from its start, its middle and its end; types, tags
        // and both with a stream; keys; three positions; everything backward.
        let all = events.len() + 1 + 3 * streams.len() + 4 + 2 + 1 + keys + 3 + 1;
        assert_eq!(check(&one, &events, &places), Ok(all as u64));

        // A store that answers with more, or with less, than was read from it.
        let (more, _) = store(0..61);
        let (less, _) = store(0..59);
        for other in [more, less] {
            let violation = check(&other, &events, &places).unwrap_err();
            assert_eq!(violation.rule, Rule::ReadsAgree, "{violation}");
        }
        for skip in [0, events.len() / 2, events.len() - 1] {
            let mut events = events.clone();
            events.remove(skip);
            let violation = check(&one, &events, &places).unwrap_err();
            assert_eq!(violation.rule, Rule::ReadsAgree, "{violation}");
        }
    }

    #[test]
    fn a_name_that_is_found_where_nothing_is_or_not_where_something_is_breaks_o5() {
        let (store, places) = store(0..60);
        let events = all_events(&store).unwrap();
        let named = |has: &dyn Fn(&crate::torture::process::work::Batch) -> bool| {
            *places.keys().find(|name| has(&batch(SEED, **name))).unwrap()
        };
        let keyed = named(&|batch| batch.key.is_some());
        let with_ids = named(&|batch| batch.key.is_none() && batch.can_be_retried());
        for (name, seen) in [(keyed, "by its key"), (with_ids, "by its first id")] {
            let mut ledger = Ledger::new(SEED);
            ledger.settle(&super::super::Verdict { places: places.clone(), ..Default::default() });
            let mut gone = places.clone();
            gone.remove(&name);
            let violation = compare(&store, &ledger, &events, &gone).unwrap_err();
            assert!(violation.seen.contains(seen), "{violation}");
        }
    }
}

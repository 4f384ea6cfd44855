//! Compares an open store with the model.

use std::collections::{BTreeMap, HashMap};

use annals::{EventStore, Position, Query, QueryItem, ReadError, Reader, RecordedEvent, StreamId, StreamVersion};

use super::model::Model;
use super::violation::{Rule, Violation, ensure};

/// Checks that the store holds the first batches of the model, whole, in order,
/// once, at least `least` of them, and nothing else, and that every way of
/// reading agrees. Returns how many batches it holds.
///
/// # Errors
///
/// The promise that is broken.
pub fn check(store: &EventStore, model: &Model, least: usize) -> Result<usize, Violation> {
    let events = read_everything(store)?;
    let removed = removed_from(store);
    let (least_removed, most_removed) = model.removed();
    ensure!(
        removed >= least_removed,
        DroppedStaysGone,
        "{removed} events were removed, and {least_removed} were before"
    );
    ensure!(
        removed <= most_removed,
        AcknowledgedStays,
        "{removed} events were removed, at most {most_removed} were to be"
    );
    let mut candidates = model.batches_of(removed + events.len());
    candidates.start = candidates.start.max(least);
    let sources = model.sources();
    let mut shown = None;
    for count in candidates.rev() {
        if sources.iter().all(|source| store.tracking(*source).ok() == Some(model.tracking(count, source))) {
            shown = Some(count);
            break;
        }
    }
    let Some(shown) = shown else { return Err(misfit(&events, model, least, removed)) };
    let expected =
        model.batches().take(shown).flat_map(|batch| (0..batch.events.len()).map(move |index| (batch, index)));
    for (event, (batch, index)) in events.iter().zip(expected.skip(removed)) {
        let same = event.stream() == batch.events[index].0
            && event.event_type() == batch.event_type(index)
            && batch.is_payload(index, &event.data());
        if !same {
            return Err(misfit(&events, model, least, removed).at(format_args!("at position {}", event.position())));
        }
    }
    check_names(store, model, shown, removed as u64)?;
    check_streams(store, model, shown)?;
    check_queries(store, &events)?;
    Ok(shown)
}

/// What is wrong with a log that is no beginning of the model.
fn misfit(events: &[RecordedEvent], model: &Model, least: usize, removed: usize) -> Violation {
    let found: Vec<u64> = events.iter().map(number_in).collect();
    let rule = model.rule_broken_by(&found, least, removed);
    let known: Vec<_> = model.batches().map(|batch| batch.number).collect();
    let seen = format!(
        "of the batches {known:?} at least {least} must be there, {removed} events removed, found events of {found:?}"
    );
    Violation::new(rule, seen)
}

/// The batch that an event says it belongs to; 0 when it says nothing.
fn number_in(event: &RecordedEvent) -> u64 {
    let data = event.data();
    let text = String::from_utf8_lossy(&data[..data.len().min(32)]);
    text.split(' ').nth(1).and_then(|number| number.parse().ok()).unwrap_or(0)
}

/// How many events come before the oldest.
fn removed_from(store: &EventStore) -> usize {
    store.oldest().before().get() as usize
}

/// Streams end where they did, whatever was removed of them.
fn check_streams(store: &EventStore, model: &Model, shown: usize) -> Result<(), Violation> {
    let streams = model.streams(shown);
    for (stream, expected) in &streams {
        let version = store.stream_version(*stream).map_err(|error| unreadable(&error))?.get();
        ensure!(version == *expected, ReadsAgree, "{stream} is at version {version}, not {expected}");
        let info = store.stream_info(*stream).map_err(|error| unreadable(&error))?;
        ensure!(info.is_some_and(|info| info.version.get() == version), ReadsAgree, "what is known of {stream}");
    }
    let listed = store.streams("").map_err(|error| unreadable(&error))?;
    let listed: Vec<&str> = listed.iter().map(|info| info.stream.as_str()).collect();
    ensure!(listed.iter().eq(streams.keys()), ReadsAgree, "the streams are {listed:?}, not {:?}", streams.keys());
    Ok(())
}

/// What callers have named is found if it is there, and only then.
fn check_names(store: &EventStore, model: &Model, shown: usize, removed: u64) -> Result<(), Violation> {
    let mut last = 0;
    for (place, batch) in model.batches().enumerate() {
        let (is_there, first) = (place < shown, last + 1);
        if is_there {
            last += batch.events.len() as u64;
        }
        // Of one without events nobody knows in which segment its marker is.
        let is_at_the_edge = batch.events.is_empty() && last == removed;
        let is_there = is_there && (removed == 0 || last > removed);
        if let Some(key) = batch.key().filter(|_| !is_at_the_edge || removed == 0) {
            let found = store
                .find_append(key)
                .map_err(|error| unreadable(&error))?
                .map(|done| (done.first.get(), done.last.get()));
            let expected = is_there.then_some((first, last));
            ensure!(found == expected, ReadsAgree, "batch {} by its key: {found:?}, not {expected:?}", batch.number);
        }
        for index in 0..batch.events.len() {
            let Some(id) = batch.id(index) else { continue };
            let found = store.get_event(id).map_err(|error| unreadable(&error))?.map(|event| event.position().get());
            let expected = Some(first + index as u64).filter(|position| is_there && *position > removed);
            ensure!(found == expected, ReadsAgree, "batch {} by its ids: {found:?}, not {expected:?}", batch.number);
        }
    }
    Ok(())
}

/// What is looked up by type and by tag is what going through the log finds.
fn check_queries(store: &EventStore, events: &[RecordedEvent]) -> Result<(), Violation> {
    let positions = |keep: &dyn Fn(&RecordedEvent) -> bool| -> Vec<u64> {
        events.iter().filter(|event| keep(event)).map(|event| event.position().get()).collect()
    };
    for wanted in ["Told", "Sung"] {
        let expected = positions(&|event| event.event_type() == wanted);
        same(&collect(query(store, QueryItem::new().event_type(wanted), Position::START)?)?, &expected, wanted)?;
    }
    let item = || QueryItem::new().tag("story").type_prefix("D");
    let mut expected = positions(&|event| event.event_type() == "Drawn");
    expected.reverse();
    same(&collect(query(store, item(), Position::END)?.backward())?, &expected, "a tag and a prefix, backward")
}

fn query(store: &EventStore, item: QueryItem, after: Position) -> Result<Reader, Violation> {
    let query = Query::from(item);
    let reader = store.read(query, after).map(Reader::allow_truncated);
    reader.map_err(|error| Violation::new(Rule::ReadsAgree, format!("a query: {error}")))
}

fn collect(reader: Reader) -> Result<Vec<u64>, Violation> {
    reader.map(|event| event.map(|event| event.position().get()).map_err(|error| unreadable(&error))).collect()
}

fn same(found: &[u64], expected: &[u64], what: &str) -> Result<(), Violation> {
    ensure!(found == expected, ReadsAgree, "{what}: positions {found:?}, and a scan gives {expected:?}");
    Ok(())
}

fn unreadable(error: &ReadError) -> Violation {
    Violation::new(Rule::CrashIsNotDamage, format!("something cannot be read: {error}"))
}

/// Reads the log in every way that needs no model, and checks that they agree:
/// positions, versions, ids, times, streams, both directions, single events.
///
/// # Errors
///
/// The first disagreement, or what cannot be read.
pub fn read_everything(store: &EventStore) -> Result<Vec<RecordedEvent>, Violation> {
    let removed = removed_from(store) as u64;
    if removed > 0 {
        let first = store.read_all(Position::START).next();
        let is_told = matches!(&first, Some(Err(ReadError::Truncated { oldest })) if *oldest == store.oldest());
        ensure!(is_told, ReadsAgree, "{removed} events were removed, and who reads from the beginning gets {first:?}");
    }
    let events: Vec<RecordedEvent> = store
        .read_all(Position::START)
        .allow_truncated()
        .collect::<Result<_, _>>()
        .map_err(|error| unreadable(&error))?;
    let head = removed + events.len() as u64;
    ensure!(store.head().get() == head, ReadsAgree, "the head is {}, and {head} events are there", store.head());
    ensure!(store.durable_head() <= store.head(), ReadsAgree, "the durable head is beyond the head");

    let mut streams: BTreeMap<&str, Vec<u64>> = BTreeMap::new();
    let mut firsts: BTreeMap<&str, u64> = BTreeMap::new();
    let mut ids = HashMap::new();
    let mut recorded_at = i64::MIN;
    for (event, position) in events.iter().zip(removed + 1..) {
        ensure!(event.position().get() == position, ReadsAgree, "position {} in place {position}", event.position());
        let positions = streams.entry(event.stream()).or_default();
        positions.push(position);
        let version = event.version().get();
        let before = *firsts.entry(event.stream()).or_insert(version - 1);
        ensure!(before == 0 || removed > 0, ReadsAgree, "{} begins at version {version}", event.stream());
        let expected = before + positions.len() as u64;
        ensure!(version == expected, ReadsAgree, "version {version} of {}, not {expected}", event.stream());
        let id = event.as_event().id;
        let twin = ids.insert(id, position);
        ensure!(twin.is_none(), ReadsAgree, "positions {twin:?} and {position} have one id");
        let named = store.get_event(id).map_err(|error| unreadable(&error))?;
        ensure!(named.as_ref() == Some(event), ReadsAgree, "by its id the event at {position} is {named:?}");
        ensure!(event.as_event().recorded_at >= recorded_at, ReadsAgree, "time goes back at {position}");
        recorded_at = event.as_event().recorded_at;
    }

    let backward = collect(store.read_all(Position::END).allow_truncated().backward())?;
    ensure!(backward.iter().copied().eq((removed + 1..=head).rev()), ReadsAgree, "backward: {backward:?}");
    for (stream, positions) in &streams {
        let read = |after| {
            // It may be one of the store's own.
            let reader = store.read_stream(StreamId::stored(stream), after).map(Reader::allow_truncated);
            reader.map_err(|error| Violation::new(Rule::ReadsAgree, error.to_string()))
        };
        same(&collect(read(StreamVersion::EMPTY)?)?, positions, stream)?;
        let mut backward = collect(read(StreamVersion::END)?.backward())?;
        backward.reverse();
        same(&backward, positions, stream)?;
        let middle = positions.len() / 2;
        let before = firsts[stream];
        same(&collect(read(StreamVersion::new(before + middle as u64))?)?, &positions[middle..], stream)?;
        let version = store.stream_version(StreamId::stored(stream)).map_err(|error| unreadable(&error))?.get();
        ensure!(
            version == before + positions.len() as u64,
            ReadsAgree,
            "{stream} is at version {version}, not {}",
            before + positions.len() as u64
        );
    }
    for at in [1, head / 2, head] {
        let found = match store.get(Position::new(at)) {
            Err(ReadError::Truncated { .. }) if (1..=removed).contains(&at) => continue,
            found => found.map_err(|error| unreadable(&error))?,
        };
        let expected = at.checked_sub(removed + 1).and_then(|index| events.get(index as usize));
        ensure!(found.as_ref() == expected, ReadsAgree, "position {at}: {found:?}");
    }
    let count = store.stream_count().map_err(|error| unreadable(&error))?;
    ensure!(count == streams.len() as u64 || removed > 0, ReadsAgree, "{count} streams, not {}", streams.len());
    Ok(events)
}

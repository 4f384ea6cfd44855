//! Queries, bounds and times, compared with going through a `Vec` of events by hand.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use annals::storage::sim::SimDisk;
use annals::{
    Damage, Durability, EventStore, ExpectedVersion, NewEvent, Options, Position, Query, QueryError, QueryItem,
    ReadError, Reader, StreamVersion,
};

use crate::places::*;

const STREAMS: [&str; 6] = ["order-1", "order-10", "order-2", "invoice-1", "ledger", "rare"];
const TYPES: [&str; 4] = ["OrderPlaced", "OrderPaid", "Order", "Sent"];
const TAGS: [&str; 3] = ["a", "b", "ab"];

/// An event as the test appended it; its position is its place in the `Vec`, plus one.
#[derive(Clone, Debug)]
struct Kept {
    stream: &'static str,
    event_type: &'static str,
    tags: Vec<&'static str>,
    recorded_at: i64,
}

/// A text, and whether it is a prefix.
type Text = (String, bool);

#[derive(Clone, Debug, Default)]
struct Item {
    types: Vec<Text>,
    tags: Vec<&'static str>,
    streams: Vec<Text>,
}

impl Item {
    fn wants(&self, event: &Kept) -> bool {
        let one_of = |texts: &[Text], name: &str| {
            let is_it = |(text, is_prefix): &Text| if *is_prefix { name.starts_with(text) } else { name == text };
            texts.is_empty() || texts.iter().any(is_it)
        };
        let all = self.tags.iter().all(|tag| event.tags.contains(tag));
        all && one_of(&self.types, event.event_type) && one_of(&self.streams, event.stream)
    }

    fn build(&self) -> QueryItem {
        let mut item = QueryItem::new();
        for (text, is_prefix) in &self.types {
            item = if *is_prefix { item.type_prefix(text) } else { item.event_type(text) };
        }
        for (text, is_prefix) in &self.streams {
            item = if *is_prefix { item.stream_prefix(text) } else { item.stream(text) };
        }
        self.tags.iter().fold(item, |item, tag| item.tag(*tag))
    }
}

/// One read: what is asked for, and in which way.
#[derive(Clone, Debug)]
struct Ask {
    /// `None` for everything.
    items: Option<Vec<Item>>,
    start: u64,
    until: Option<u64>,
    between: Option<(i64, i64)>,
    limit: u64,
    backward: bool,
}

/// What a reader gives: the event of a position, or word of the gap with this number.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Given {
    Event(u64),
    Gap(usize),
}

fn pick<T: Copy>(rng: &mut Rng, from: &[T]) -> T {
    from[rng.below(from.len() as u64) as usize]
}

fn some_texts(rng: &mut Rng, names: &[&'static str], most: u64) -> Vec<Text> {
    let mut text = || {
        let name = pick(rng, names);
        let cut = if rng.below(2) == 0 { name.len() as u64 } else { rng.below(name.len() as u64 + 1) };
        (name[..cut as usize].to_owned(), cut < name.len() as u64 || rng.below(4) == 0)
    };
    (0..most).map(|_| text()).collect()
}

fn some_ask(rng: &mut Rng, log: &[Kept]) -> Ask {
    let item = |rng: &mut Rng| {
        let (types, streams) = (rng.below(3), rng.below(4));
        let tags = (0..rng.below(3)).map(|_| pick(rng, &TAGS)).collect();
        Item { types: some_texts(rng, &TYPES, types), tags, streams: some_texts(rng, &STREAMS, streams) }
    };
    let items = (rng.below(8) > 0).then(|| (0..=rng.below(3)).map(|_| item(rng)).collect());
    let head = log.len() as u64;
    let backward = rng.below(2) == 0;
    let start = match rng.below(3) {
        0 => rng.below(head + 3),
        _ if backward => u64::MAX,
        _ => 0,
    };
    let until = (rng.below(3) == 0).then(|| rng.below(head + 3));
    let last = log.last().map_or(0, |event| event.recorded_at);
    let mut time = || rng.below(last.cast_unsigned() + 20).cast_signed() - 10;
    let between = (time(), time());
    let between = if rng.below(4) == 0 { between } else { (between.0.min(between.1), between.0.max(between.1)) };
    let between = (rng.below(2) == 0).then_some(between);
    let limit = if rng.below(2) == 0 { u64::MAX } else { rng.below(20) };
    Ask { items, start, until, between, limit, backward }
}

fn gap_of(gaps: &[Damage], position: u64) -> Option<usize> {
    gaps.iter().position(|gap| gap.from.get() <= position && gap.to.is_some_and(|to| to.get() >= position))
}

/// The last readable position of which `is_before` is true, and the first of which it is not.
fn around(log: &[Kept], gaps: &[Damage], is_before: impl Fn(i64) -> bool) -> (u64, u64) {
    let readable = |position: &u64| gap_of(gaps, *position).is_none();
    let known = |position: &u64| is_before(log[*position as usize - 1].recorded_at);
    let head = log.len() as u64;
    let low = (1..=head).rev().filter(readable).find(known).unwrap_or(0);
    let high = (1..=head).filter(readable).find(|position| !known(position)).unwrap_or(head + 1);
    (low, high)
}

/// The answer, by hand.
fn expected(log: &[Kept], gaps: &[Damage], ask: &Ask) -> Vec<Given> {
    let (low, high) = match ask.between {
        None => (0, u64::MAX),
        Some((from, to)) if from >= to => (0, 0),
        Some((from, to)) => (around(log, gaps, |at| at < from).0, around(log, gaps, |at| at < to).1),
    };
    let is_inside = |position: &u64| {
        let in_range = if ask.backward {
            *position < ask.start && ask.until.is_none_or(|until| *position >= until)
        } else {
            *position > ask.start && ask.until.is_none_or(|until| *position <= until)
        };
        in_range && low < *position && *position < high
    };
    let mut positions: Vec<u64> = (1..=log.len() as u64).filter(is_inside).collect();
    if ask.backward {
        positions.reverse();
    }
    let (mut given, mut events) = (Vec::new(), 0);
    for position in positions {
        if events == ask.limit {
            break;
        }
        if let Some(gap) = gap_of(gaps, position) {
            if given.last() != Some(&Given::Gap(gap)) {
                given.push(Given::Gap(gap));
            }
            continue;
        }
        let event = &log[position as usize - 1];
        if ask.items.as_ref().is_none_or(|items| items.iter().any(|item| item.wants(event))) {
            given.push(Given::Event(position));
            events += 1;
        }
    }
    given
}

fn bounded(mut reader: Reader, ask: &Ask) -> Reader {
    if let Some(until) = ask.until {
        reader = reader.until(pos(until));
    }
    if let Some((from, to)) = ask.between {
        reader = reader.recorded_between(from, to);
    }
    if ask.backward {
        reader = reader.backward();
    }
    reader.limit(ask.limit).skip_damaged()
}

fn given(reader: Reader, gaps: &[Damage]) -> Vec<Given> {
    let give = |event: Result<annals::RecordedEvent, ReadError>| match event {
        Ok(event) => Given::Event(event.position().get()),
        Err(ReadError::Corrupt(damage)) => Given::Gap(gap_of(gaps, damage.from.get()).expect("a gap that is known")),
        Err(error) => panic!("{error:?}"),
    };
    reader.map(give).collect()
}

/// A reader of one stream obeys the same bounds.
fn check_stream(store: &EventStore, log: &[Kept], gaps: &[Damage], ask: &Ask) {
    for stream in STREAMS {
        let one = Item { streams: vec![(stream.to_owned(), false)], ..Item::default() };
        let start = if ask.backward { u64::MAX } else { 0 };
        let ask = Ask { items: Some(vec![one]), start, ..ask.clone() };
        let from = if ask.backward { StreamVersion::END } else { StreamVersion::EMPTY };
        let reader = bounded(store.read_stream(stream, from).unwrap(), &ask);
        assert_eq!(given(reader, gaps), expected(log, gaps, &ask), "read_stream {stream}: {ask:?}");
    }
}

/// Asks random questions, and for the position of every time.
fn check_answers(store: &EventStore, log: &[Kept], seed: u64, asks: u64) {
    let gaps = &store.recovery_report().gaps;
    let mut rng = Rng::new(seed);
    for number in 0..asks {
        let ask = some_ask(&mut rng, log);
        let query = match &ask.items {
            None => Query::All,
            Some(items) => Query::Items(items.iter().map(Item::build).collect()),
        };
        let reader = bounded(store.read(query, pos(ask.start)).unwrap(), &ask);
        assert_eq!(given(reader, gaps), expected(log, gaps, &ask), "seed {seed}, ask {number}: {ask:?}");
        if number % 8 == 0 {
            check_stream(store, log, gaps, &ask);
        }
    }
    for time in -1..=log.last().map_or(0, |event| event.recorded_at) + 1 {
        let (low, high) = around(log, gaps, |at| at <= time);
        match store.position_at(time) {
            Ok(position) => assert_eq!((position.get(), position.get() + 1), (low, high), "seed {seed}, time {time}"),
            Err(error) => {
                assert!(high > low + 1 && matches!(error, ReadError::Corrupt(_)), "seed {seed}, {time}: {error:?}");
            }
        }
    }
}

/// Appends events in batches, several of them at the same time.
fn fill(store: &EventStore, clock: &HandClock, seed: u64, events: usize) -> Vec<Kept> {
    let mut rng = Rng::new(seed);
    let mut log: Vec<Kept> = Vec::new();
    while log.len() < events {
        clock.0.fetch_add(rng.below(4).cast_signed(), Ordering::Relaxed);
        let mut batch = store.batch().durability(Durability::Buffered);
        for _ in 0..=rng.below(4) {
            let stream = if rng.below(40) == 0 { "rare" } else { pick(&mut rng, &STREAMS[..5]) };
            let tags = TAGS.into_iter().filter(|_| rng.below(2) == 0).collect();
            let event_type = pick(&mut rng, &TYPES);
            let recorded_at = clock.0.load(Ordering::Relaxed);
            log.push(Kept { stream, event_type, tags, recorded_at });
            let mut event = NewEvent::new(event_type, payload(log.len(), rng.below(500) as usize));
            for tag in &log[log.len() - 1].tags {
                event = event.tag(*tag);
            }
            batch = batch.event(stream, event);
        }
        batch.commit().unwrap();
    }
    log
}

/// A payload that is found again in the files.
fn payload(position: usize, more: usize) -> String {
    format!("[event {position}]{}", ".".repeat(more))
}

fn timed() -> (Options, Arc<HandClock>) {
    let clock = Arc::new(HandClock(AtomicI64::new(0)));
    (quiet().clock(Arc::clone(&clock) as Arc<dyn annals::Clock>), clock)
}

/// Flips a bit of the payload of the event at a position.
fn damage(disk: &SimDisk, position: usize) {
    let text = format!("[event {position}]");
    for path in disk.paths().into_iter().filter(|path| path.starts_with("seg/")) {
        let file = disk.read_file(&path).unwrap();
        if let Some(at) = file.windows(text.len()).position(|window| window == text.as_bytes()) {
            return disk.flip(&path, at as u64 * 8);
        }
    }
    panic!("event {position} is nowhere");
}

#[test]
fn a_query_gives_what_going_through_all_events_by_hand_gives() {
    on_every_kind(|place| {
        let (options, clock) = timed();
        let store = place.open(&options);
        let log = fill(&store, &clock, 11, 700);
        assert!(store.stats().segments.len() > 2, "several segments");
        check_answers(&store, &log, 1, 400);
        store.flush().unwrap();
        check_answers(&place.try_read().unwrap(), &log, 2, 200);
        drop(store);
        check_answers(&place.open(&options), &log, 3, 200);
    });
}

#[test]
fn a_query_of_a_short_log_gives_what_going_through_it_by_hand_gives() {
    for events in 0..4 {
        let (options, clock) = timed();
        let store = EventStore::in_memory(&options).unwrap();
        let log = fill(&store, &clock, events, events as usize);
        check_answers(&store, &log, events, 300);
    }
}

#[test]
fn what_is_damaged_might_have_matched_and_is_reported_in_its_turn() {
    for seed in 1..=4 {
        let disk = SimDisk::new(seed);
        let (options, clock) = timed();
        let store = EventStore::open_on(Arc::new(disk.clone()), &options).unwrap();
        let log = fill(&store, &clock, seed, 400);
        store.close().unwrap();
        let active = store_base(&disk);
        for position in [1, 9, 10, 30, 399 - active].into_iter().skip(seed as usize % 2) {
            damage(&disk, (active + position) as usize);
        }
        let reader = EventStore::open_read_only_on(Arc::new(disk)).unwrap();
        assert!(reader.recovery_report().gaps.len() >= 3, "seed {seed}");
        check_answers(&reader, &log, seed, 400);
    }
}

/// The position of the last event before the active segment.
fn store_base(disk: &SimDisk) -> u64 {
    let reader = EventStore::open_read_only_on(Arc::new(disk.clone())).unwrap();
    reader.stats().segments.last().unwrap().base.get()
}

#[test]
fn what_is_damaged_in_a_sealed_segment_is_reported_where_it_would_have_matched() {
    for seed in 1..=4 {
        let disk = SimDisk::new(seed);
        let (options, clock) = timed();
        let store = EventStore::open_on(Arc::new(disk.clone()), &options).unwrap();
        let log = fill(&store, &clock, seed, 400);
        store.close().unwrap();
        let active = store_base(&disk);
        let damaged: Vec<u64> = [1, 20, 21, 57, 100, active].into_iter().filter(|at| *at <= active).collect();
        for position in &damaged {
            damage(&disk, *position as usize);
        }
        let reader = EventStore::open_read_only_on(Arc::new(disk)).unwrap();
        assert!(reader.recovery_report().gaps.is_empty(), "opening looks at no sealed event");
        let mut rng = Rng::new(seed);
        for number in 0..200 {
            let ask = Ask { limit: u64::MAX, between: None, ..some_ask(&mut rng, &log) };
            let query = match &ask.items {
                None => Query::All,
                Some(items) => Query::Items(items.iter().map(Item::build).collect()),
            };
            let (mut events, mut reported) = (Vec::new(), Vec::new());
            for found in bounded(reader.read(query, pos(ask.start)).unwrap(), &ask) {
                match found {
                    Ok(event) => events.push(event.position().get()),
                    Err(ReadError::Corrupt(damage)) => {
                        reported.extend(damage.from.get()..=damage.to.unwrap().get());
                    }
                    Err(error) => panic!("{error:?}"),
                }
            }
            let wanted: Vec<u64> = expected(&log, &[], &ask)
                .into_iter()
                .map(|given| match given {
                    Given::Event(position) => position,
                    Given::Gap(_) => unreachable!("no gaps are known"),
                })
                .collect();
            let (lost, whole): (Vec<u64>, Vec<u64>) = wanted.iter().partition(|at| damaged.contains(at));
            assert_eq!(events, whole, "seed {seed}, ask {number}: {ask:?}");
            assert!(lost.iter().all(|at| reported.contains(at)), "seed {seed}, ask {number}: {lost:?}, {reported:?}");
            assert!(reported.iter().all(|at| damaged.contains(at)), "seed {seed}, ask {number}: {reported:?}");
        }
    }
}

#[test]
fn damage_that_comes_later_is_reported_where_it_is_read_and_only_there() {
    let disk = SimDisk::new(3);
    let store = EventStore::open_on(Arc::new(disk.clone()), &quiet()).unwrap();
    for (number, stream) in (1..).zip(["a", "b", "a", "b", "a"]) {
        store.append(stream, ExpectedVersion::Any, NewEvent::new("T", payload(number, 0))).unwrap();
    }
    store.close().unwrap();
    let found = |query: QueryItem| {
        // Opened anew: what was verified once is not doubted again.
        let reader = EventStore::open_read_only_on(Arc::new(disk.clone())).unwrap();
        damage(&disk, 2);
        let events: Vec<Option<u64>> = reader
            .read(query, Position::START)
            .unwrap()
            .skip_damaged()
            .map(|event| event.ok().map(|event| event.position().get()))
            .collect();
        damage_undone(&disk);
        events
    };
    // The index knows that the damaged event is of `b`.
    assert_eq!(found(QueryItem::new().stream("a")), [Some(1), Some(3), Some(5)]);
    assert_eq!(found(QueryItem::new().stream("b")), [None, Some(4)]);
    // Nobody knows whether it is of this type.
    assert_eq!(found(QueryItem::new().event_type("U")), [None]);
}

/// Flips the bit of event 2 back.
fn damage_undone(disk: &SimDisk) {
    let path = disk.paths().into_iter().find(|path| path.starts_with("seg/")).unwrap();
    let file = disk.read_file(&path).unwrap();
    let text = b"event 2]";
    let at = file.windows(text.len()).position(|window| window == text).unwrap() - 1;
    disk.flip(&path, at as u64 * 8);
}

#[test]
fn without_skip_damaged_a_query_ends_with_the_error_and_not_as_if_that_were_all() {
    let disk = SimDisk::new(3);
    let (options, clock) = timed();
    let store = EventStore::open_on(Arc::new(disk.clone()), &options).unwrap();
    fill(&store, &clock, 5, 50);
    store.close().unwrap();
    damage(&disk, 50);
    let reader = EventStore::open_read_only_on(Arc::new(disk)).unwrap();
    for query in [Query::All, QueryItem::new().event_type("None").into(), QueryItem::new().stream("none").into()] {
        let found: Vec<_> = reader.read(query.clone(), Position::START).unwrap().collect();
        assert!(matches!(found.last(), Some(Err(ReadError::Corrupt(_)))), "{query:?}: {found:?}");
    }
}

#[test]
fn a_prefix_of_more_streams_than_are_few_gives_them_all_in_order() {
    let store = EventStore::in_memory(&quiet()).unwrap();
    let mut batch = store.batch();
    for number in 0..3000 {
        batch = batch.event(format!("loan-{}", number % 1500), event("T")).event("other", event("T"));
    }
    batch.commit().unwrap();
    for (prefix, count) in [("loan-", 3000), ("loan-1", 1222), ("loan-14", 222), ("", 6000), ("o", 3000), ("x", 0)] {
        let query = || QueryItem::new().stream_prefix(prefix);
        let up = positions(store.read(query(), Position::START).unwrap());
        assert_eq!(up.len(), count, "{prefix}");
        assert!(up.is_sorted_by(|one, next| one < next), "{prefix}");
        let down = positions(store.read(query(), Position::END).unwrap().backward());
        assert!(down.iter().rev().eq(&up), "{prefix}");
    }
}

#[test]
fn a_query_that_cannot_be_used_is_refused_with_the_reason() {
    let store = EventStore::in_memory(&quiet()).unwrap();
    let refused = |query: Query| store.read(query, Position::START).map(|_| ()).unwrap_err();
    let error = refused(Query::Items(Vec::new()));
    assert_eq!(error, QueryError::NoItems);
    assert!(error.to_string().contains("Query::All"), "{error}");
    let error = refused(QueryItem::new().stream("$all").into());
    assert!(matches!(error, QueryError::InvalidName(_)), "{error:?}");
    let as_read_error = ReadError::from(error.clone());
    assert!(matches!(&as_read_error, ReadError::InvalidQuery(cause) if *cause == error));
    assert_eq!(as_read_error.to_string(), error.to_string());
}

#[test]
fn a_reader_of_a_query_sees_the_log_as_of_its_creation() {
    let store = EventStore::in_memory(&quiet()).unwrap();
    let append = |stream: &str| store.append(stream, ExpectedVersion::Any, event("T")).unwrap();
    append("a");
    let readers = || {
        let by_type = store.read(QueryItem::new().event_type("T"), Position::START).unwrap();
        [by_type, store.read(QueryItem::new().stream_prefix("a"), Position::START).unwrap()]
    };
    let before = readers();
    append("a");
    append("ab");
    for (before, now) in before.into_iter().zip(readers()) {
        assert_eq!((positions(before), positions(now)), (vec![1], vec![1, 2, 3]));
    }
}

#[test]
fn bounds_given_while_reading_hold_from_there_on() {
    let store = EventStore::in_memory(&quiet()).unwrap();
    for _ in 0..9 {
        store.append("a", ExpectedVersion::Any, event("T")).unwrap();
    }
    for mut reader in [
        store.read_all(Position::START),
        store.read_stream("a", StreamVersion::EMPTY).unwrap(),
        store.read(QueryItem::new().stream("a"), Position::START).unwrap(),
    ] {
        assert_eq!(reader.next_event().unwrap().unwrap().position, pos(1));
        let mut reader = reader.until(pos(4));
        assert_eq!(reader.next_event().unwrap().unwrap().position, pos(2));
        assert_eq!(positions(reader.until(pos(3))), [3]);
    }
}

#[test]
fn around_a_gap_every_pair_of_bounds_gives_what_lies_within_and_no_more() {
    let disk = SimDisk::new(9);
    let (options, clock) = timed();
    let store = EventStore::open_on(Arc::new(disk.clone()), &options).unwrap();
    let log = fill(&store, &clock, 2, 20);
    store.close().unwrap();
    damage(&disk, 10);
    let store = EventStore::open_read_only_on(Arc::new(disk)).unwrap();
    let gaps = &store.recovery_report().gaps;
    let (before, behind) = (gaps[0].from.get() as usize - 2, gaps[0].to.unwrap().get() as usize);
    assert!(log[before].recorded_at < log[behind].recorded_at, "time passes over the gap");
    let (any, order) = (Item::default(), Item { streams: vec![("order-".to_owned(), true)], ..Item::default() });
    for (start, until, backward) in (0..23 * 23 * 2).map(|n| (n % 23, n / 23 % 23, n / 23 / 23 == 1)) {
        for item in [&any, &order] {
            let items = Some(vec![item.clone()]);
            let ask = Ask { items, start, until: Some(until), between: None, limit: u64::MAX, backward };
            let reader = || bounded(store.read(item.build(), pos(start)).unwrap(), &ask);
            assert_eq!(given(reader(), gaps), expected(&log, gaps, &ask), "{ask:?}");
            // Going through the log, the error names what was asked for and no more.
            for error in reader().filter_map(Result::err).filter(|_| item.streams.is_empty()) {
                let ReadError::Corrupt(damage) = error else { panic!("{error:?}") };
                let (low, high) = if backward { (until, start - 1) } else { (start + 1, until) };
                let named = damage.from.get()..=damage.to.unwrap().get();
                assert!(low <= *named.start() && *named.end() <= high, "{ask:?}: {named:?}");
            }
        }
    }
    for time in -1..100 {
        let nothing = store.read_all(Position::START).recorded_between(time, time);
        assert_eq!(nothing.count(), 0, "no time passes at {time}");
    }
}

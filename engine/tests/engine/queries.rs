//! Queries, bounds and times, compared with going through a `Vec` of events by hand.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};

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

fn check_ask(store: &EventStore, log: &[Kept], ask: &Ask, case: &str) {
    let gaps = &store.recovery_report().gaps;
    let query = match &ask.items {
        None => Query::All,
        Some(items) => Query::Items(items.iter().map(Item::build).collect()),
    };
    let reader = bounded(store.read(query, pos(ask.start)).unwrap(), ask);
    assert_eq!(given(reader, gaps), expected(log, gaps, ask), "{case}: {ask:?}");
}

/// Asks with every combination of kinds in an item, with names at random: no, one and two types, exact and
/// by prefix, and so on; alone and beside another item.
fn check_kinds(store: &EventStore, log: &[Kept], seed: u64) {
    let mut rng = Rng::new(seed);
    let some = |rng: &mut Rng, kind: u64, names: &[&'static str]| -> Vec<Text> {
        let mut exact = || (pick(rng, names).to_owned(), false);
        let one = exact();
        let (prefix, two) = ((one.0[..=one.0.len() / 2].to_owned(), true), exact());
        match kind {
            0 => vec![],
            1 => vec![one],
            2 => vec![one, two],
            3 => vec![prefix],
            _ => vec![two, prefix],
        }
    };
    let head = log.len() as u64;
    for number in 0..5 * 5 * 4 * 2 * 2 {
        let (types, streams, tags) = (number % 5, number / 5 % 5, number / 25 % 4);
        let item = Item {
            types: some(&mut rng, types, &TYPES),
            tags: (0..tags).map(|_| pick(&mut rng, &TAGS)).collect(),
            streams: some(&mut rng, streams, &STREAMS),
        };
        let beside =
            Item { tags: vec![pick(&mut rng, &TAGS)], streams: some(&mut rng, 1, &STREAMS), ..Item::default() };
        let items = if number / 100 % 2 == 0 { vec![item] } else { vec![item, beside] };
        let backward = number / 200 % 2 == 1;
        let (start, end) = if backward { (u64::MAX, 0) } else { (0, head) };
        let (near, far) = (rng.below(head + 1), rng.below(head + 1));
        for (start, until, limit) in
            [(start, None, u64::MAX), (start, None, 1), (near, Some(far), u64::MAX), (near, Some(end), 3)]
        {
            let ask = Ask { items: Some(items.clone()), start, until, between: None, limit, backward };
            check_ask(store, log, &ask, &format!("seed {seed}, combination {number}"));
        }
    }
}

/// Asks random questions, and for the position of every time.
fn check_answers(store: &EventStore, log: &[Kept], seed: u64, asks: u64) {
    let gaps = &store.recovery_report().gaps;
    let mut rng = Rng::new(seed);
    for number in 0..asks {
        let ask = some_ask(&mut rng, log);
        check_ask(store, log, &ask, &format!("seed {seed}, ask {number}"));
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
        check_kinds(&store, &log, 4);
        store.flush().unwrap();
        let reader = place.try_read().unwrap();
        check_answers(&reader, &log, 2, 200);
        check_kinds(&reader, &log, 5);
        drop(store);
        let again = place.open(&options);
        check_answers(&again, &log, 3, 200);
        check_kinds(&again, &log, 6);
    });
}

#[test]
fn a_query_of_a_log_that_grows_gives_what_going_through_it_by_hand_gives() {
    on_every_kind(|place| {
        let (options, clock) = timed();
        let store = place.open(&options);
        let follower = place.try_read().unwrap();
        let mut log = Vec::new();
        for seed in 0..40 {
            // Each time there is something new to take in, now and then over a roll.
            log.extend(fill(&store, &clock, seed, 25));
            store.flush().unwrap();
            check_answers(&store, &log, seed, 8);
            check_answers(&follower, &log, seed + 100, 8);
        }
        assert!(store.stats().segments.len() > 4, "several segments");
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
        let (disk, log) = closed_log(seed);
        let active = store_base(&disk);
        for position in [1, 9, 10, 30, 399 - active].into_iter().skip(seed as usize % 2) {
            damage(&disk, (active + position) as usize);
        }
        let reader = EventStore::open_read_only_on(Arc::new(disk)).unwrap();
        assert!(reader.recovery_report().gaps.len() >= 3, "seed {seed}");
        check_answers(&reader, &log, seed, 400);
    }
}

/// A log of 400 events in several segments, closed.
fn closed_log(seed: u64) -> (SimDisk, Vec<Kept>) {
    let disk = SimDisk::new(seed);
    let (options, clock) = timed();
    let store = EventStore::open_on(Arc::new(disk.clone()), &options).unwrap();
    let log = fill(&store, &clock, seed, 400);
    store.close().unwrap();
    (disk, log)
}

/// The position of the last event before the active segment.
fn store_base(disk: &SimDisk) -> u64 {
    let reader = EventStore::open_read_only_on(Arc::new(disk.clone())).unwrap();
    reader.stats().segments.last().unwrap().base.get()
}

#[test]
fn what_is_damaged_in_a_sealed_segment_is_reported_where_it_would_have_matched() {
    for seed in 1..=4 {
        let (disk, log) = closed_log(seed);
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

#[test]
fn of_a_damaged_event_what_was_known_before_is_still_known() {
    let disk = SimDisk::new(3);
    let store = EventStore::open_on(Arc::new(disk.clone()), &quiet()).unwrap();
    for number in 1..=40 {
        let event = NewEvent::new(if number % 2 == 0 { "Even" } else { "Odd" }, payload(number, 0));
        store.append("a", ExpectedVersion::Any, event.tag(format!("n:{number}"))).unwrap();
    }
    store.close().unwrap();
    let found = |reader: &EventStore, query: QueryItem| -> Vec<Option<u64>> {
        let reader = reader.read(query, Position::START).unwrap().skip_damaged();
        reader.map(|event| event.ok().map(|event| event.position().get())).collect()
    };
    let (even, odd) = (QueryItem::new().event_type("Even"), QueryItem::new().event_type("Odd"));
    let evens: Vec<_> = (1..=20).map(|half| Some(2 * half)).collect();
    let odds: Vec<_> = (1..=20).map(|half| Some(2 * half - 1)).collect();
    let (mut evens_but_2, mut odds_and_damage) = (evens.clone(), odds.clone());
    evens_but_2[0] = None;
    odds_and_damage.insert(1, None);

    // Asked before the damage, and again after it.
    let asked = EventStore::open_read_only_on(Arc::new(disk.clone())).unwrap();
    assert_eq!(found(&asked, odd.clone()), odds);
    damage(&disk, 2);
    assert_eq!(found(&asked, odd.clone()), odds, "it is known to be of another type");
    assert_eq!(found(&asked, even.clone()), evens_but_2);
    assert_eq!(found(&asked, QueryItem::new().tag("n:2")), [None]);
    damage_undone(&disk);

    // Asked for the first time when it cannot be read.
    let late = EventStore::open_read_only_on(Arc::new(disk.clone())).unwrap();
    damage(&disk, 2);
    assert_eq!(found(&late, odd.clone()), odds_and_damage, "nobody knows of which type it is");
    assert_eq!(found(&late, even.clone()), evens_but_2);
    damage_undone(&disk);
    assert_eq!((found(&late, odd), found(&late, even)), (odds, evens), "and it is not lost for good");
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
    // Also where so many are not looked up for it.
    let of_type = QueryItem::new().event_type("T");
    assert_eq!(store.read(of_type.clone().stream_prefix("loan-"), Position::START).unwrap().count(), 3000);
    assert_eq!(store.read(of_type.tag("none").stream_prefix("loan-"), Position::START).unwrap().count(), 0);
    for (prefix, count) in [("loan-", 3000), ("loan-1", 1222), ("loan-14", 222), ("", 6000), ("o", 3000), ("x", 0)] {
        let query = || QueryItem::new().stream_prefix(prefix);
        let up = positions(store.read(query(), Position::START).unwrap());
        assert_eq!(up.len(), count, "{prefix}");
        assert!(up.is_sorted_by(|one, next| one < next), "{prefix}");
        let down = positions(store.read(query(), Position::END).unwrap().backward());
        assert!(down.iter().rev().eq(&up), "{prefix}");
    }
}

/// What an event is, from its position alone: one writer appends them in order.
fn at(position: u64) -> Kept {
    let tags = TAGS.into_iter().filter(|tag| position.is_multiple_of(2 + tag.len() as u64)).collect();
    let (stream, event_type) = (STREAMS[(position % 5) as usize], TYPES[(position / 3 % 4) as usize]);
    Kept { stream, event_type, tags, recorded_at: 0 }
}

fn append_next(store: &EventStore) {
    let position = store.head().get() + 1;
    let kept = at(position);
    let event = kept.tags.iter().fold(NewEvent::new(kept.event_type, vec![7; 200]), |event, tag| event.tag(*tag));
    assert_eq!(store.append(kept.stream, ExpectedVersion::Any, event).unwrap().last, pos(position));
}

#[test]
fn a_query_beside_a_writer_gives_exactly_what_was_there_when_its_reader_was_made() {
    on_every_kind(|place| {
        let store = place.open(&quiet().durability(Durability::Buffered));
        let is_done = AtomicBool::new(false);
        let read = |seed: u64| {
            let mut rng = Rng::new(seed);
            let mut heads = 0;
            while !is_done.load(Ordering::Relaxed) || heads == 0 {
                let (types, streams) = (rng.below(3), rng.below(3));
                let tags = (0..rng.below(2)).map(|_| pick(&mut rng, &TAGS)).collect();
                let item = Item {
                    types: some_texts(&mut rng, &TYPES, types),
                    tags,
                    streams: some_texts(&mut rng, &STREAMS, streams),
                };
                let backward = rng.below(2) == 0;
                let reader = store.read(item.build(), if backward { Position::END } else { Position::START }).unwrap();
                let (head, reader) = (reader.head().get(), if backward { reader.backward() } else { reader });
                let mut expected: Vec<u64> = (1..=head).filter(|position| item.wants(&at(*position))).collect();
                if backward {
                    expected.reverse();
                }
                assert_eq!(positions(reader), expected, "seed {seed}, head {head}, {item:?}, backward: {backward}");
                heads += head;
            }
        };
        std::thread::scope(|threads| {
            threads.spawn(|| read(1));
            threads.spawn(|| read(2));
            for _ in 0..1500 {
                append_next(&store);
            }
            is_done.store(true, Ordering::Relaxed);
        });
        assert!(store.stats().segments.len() > 4, "over several rolls");
    });
}

/// Every other event of a sealed segment is found when one of them is damaged, and that one is reported, after
/// `also` has damaged something else.
fn check_beside_damage(also: impl Fn(&SimDisk, &str)) {
    let whole = SimDisk::new(3);
    let store = EventStore::open_on(Arc::new(whole.clone()), &quiet()).unwrap();
    let mut position = 0;
    while store.stats().segments.len() < 2 {
        position += 1;
        let event = NewEvent::new(if position % 3 == 0 { "Third" } else { "T" }, payload(position, position % 7 * 500));
        store.append(if position % 2 == 0 { "even" } else { "odd" }, ExpectedVersion::Any, event).unwrap();
    }
    let head = store.head();
    store.close().unwrap();
    let sealed = whole.paths().into_iter().find(|path| path.starts_with("seg/")).unwrap();
    for damaged in 1..position {
        let disk = whole.fork();
        damage(&disk, damaged);
        also(&disk, &sealed);
        let reader = EventStore::open_read_only_on(Arc::new(disk)).unwrap();
        for (query, is_wanted) in [
            (QueryItem::new().event_type("Third"), (|at| at % 3 == 0) as fn(u64) -> bool),
            (QueryItem::new().stream_prefix("o"), |at| at % 2 == 1),
            (QueryItem::new().stream_prefix("e").event_type("Third"), |at| at % 6 == 0),
        ] {
            let found: Vec<_> = reader.read(query.clone(), Position::START).unwrap().skip_damaged().collect();
            let events = found.iter().flatten().map(|event| event.position().get());
            let damaged = damaged as u64;
            let expected = (1..=head.get()).filter(|at| is_wanted(*at) && *at != damaged);
            assert!(events.eq(expected), "{query:?}, {damaged} is damaged");
            let is_reported = found.iter().any(
                |found| matches!(found, Err(ReadError::Corrupt(damage)) if (damage.from.get()..=damage.to.unwrap().get()).contains(&damaged)),
            );
            assert!(is_reported || !is_wanted(damaged), "{query:?}, {damaged} is damaged: {found:?}");
        }
    }
}

#[test]
fn in_a_damaged_segment_without_an_index_everything_else_is_found() {
    check_beside_damage(|disk, _| {
        for path in disk.paths().into_iter().filter(|path| path.starts_with("idx/")) {
            annals::storage::Storage::remove(disk, &path).unwrap();
        }
    });
}

#[test]
fn in_a_damaged_segment_with_damaged_offsets_everything_else_is_found() {
    check_beside_damage(|disk, sealed| {
        // Of the trailer's 40 bytes; the offsets stand before it.
        let len = disk.file_len(sealed).unwrap();
        disk.flip(sealed, (len - 48) * 8);
    });
}

#[test]
fn what_is_known_of_types_does_not_vouch_for_an_event_that_could_not_be_read() {
    let dir = tempfile::tempdir().unwrap();
    let store = EventStore::open(dir.path(), &quiet()).unwrap();
    store.append_batch("a", ExpectedVersion::Any, (1..=128).map(|at| NewEvent::new("T", payload(at, 0)))).unwrap();
    store.close().unwrap();
    // Mapped, so that what was verified once is not verified again.
    let reader = EventStore::open_read_only(dir.path()).unwrap();
    let (path, bytes) =
        files_of(dir.path()).into_iter().find(|(path, _)| path.extension().is_some_and(|it| it == "seg")).unwrap();
    let text = b"[event 30]";
    let at = bytes.windows(text.len()).position(|window| window == text).unwrap() as u64;
    let file = std::fs::OpenOptions::new().write(true).open(path).unwrap();
    std::os::unix::fs::FileExt::write_all_at(&file, b"{", at).unwrap();
    let none = QueryItem::new().event_type("None");
    for _ in 0..2 {
        let found: Vec<_> = reader.read(none.clone(), Position::START).unwrap().skip_damaged().collect();
        assert!(matches!(&found[..], [Err(ReadError::Corrupt(damage))] if damage.from == pos(30)), "{found:?}");
    }
    assert!(reader.get(pos(30)).is_err());
    assert_eq!(reader.read_all(Position::START).skip_damaged().flatten().count(), 127);
}

#[test]
fn what_streams_there_are_is_told_without_reading_an_event() {
    let (disk, hold) = HeldDisk::new();
    let store = disk.open(&quiet().durability(Durability::Buffered));
    let mut expected = BTreeMap::new();
    let mut rng = Rng::new(8);
    for position in 1..2000 {
        // Some end in the first segment, some begin in the last.
        let stream = format!("s-{}", position / 20 + rng.below(30));
        let version =
            store.append(stream.as_str(), ExpectedVersion::Any, NewEvent::new("T", vec![7; 100])).unwrap().version;
        expected.insert(stream, (version, pos(position)));
    }
    assert!(store.stats().segments.len() > 4, "several segments");
    let check = |store: &EventStore| {
        let told = store.streams("").unwrap();
        let told = told.into_iter().map(|info| (info.stream.to_string(), (info.version, info.last_position)));
        assert!(told.eq(expected.clone()));
        for (stream, last) in &expected {
            let info = store.stream_info(stream).unwrap().unwrap();
            assert_eq!((info.version, info.last_position), *last, "{stream}");
        }
        let with_prefix = expected.keys().filter(|stream| stream.starts_with("s-1")).count();
        assert_eq!(store.streams("s-1").unwrap().len(), with_prefix);
        assert_eq!((store.streams("x").unwrap().len(), store.stream_info("x").unwrap()), (0, None));
    };
    check(&store);
    assert_eq!(hold.reads_of(|| check(&store)).1, 0, "reads, the second time");
    store.close().unwrap();
    let again = disk.open(&quiet());
    check(&again);
    assert_eq!(hold.reads_of(|| check(&again)).1, 0, "reads of sealed segments, the second time");
}

#[test]
fn what_is_left_out_may_be_of_every_stream_and_who_asks_for_one_is_told() {
    let disk = SimDisk::new(9);
    let store = EventStore::open_on(Arc::new(disk.clone()), &quiet()).unwrap();
    for position in 1..=10 {
        let stream = if position < 5 { "early" } else { "late" };
        store.append(stream, ExpectedVersion::Any, NewEvent::new("T", payload(position, 0))).unwrap();
    }
    store.close().unwrap();
    damage(&disk, 7);
    let reader = EventStore::open_read_only_on(Arc::new(disk)).unwrap();
    assert_eq!(reader.recovery_report().gaps.len(), 1);
    assert_eq!(reader.stream_info("late").unwrap().unwrap().last_position, pos(10));
    for unknown in [reader.stream_info("early"), reader.stream_info("none"), reader.streams("").map(|_| None)] {
        assert!(matches!(unknown, Err(ReadError::Corrupt(_))), "{unknown:?}");
    }
}

#[test]
fn a_stream_is_read_from_every_version_both_ways_over_many_segments() {
    on_every_kind(|place| {
        let store = place.open(&quiet().durability(Durability::Buffered));
        let mut rng = Rng::new(4);
        let mut expected = vec![Vec::new(); 3];
        for position in 1..800 {
            // The second begins late, the third pauses for several segments.
            let stream = if position < 400 { 0 } else { rng.below(3) as usize };
            let stream = if position < 20 { 2 } else { stream };
            expected[stream].push(position);
            store.append(format!("s-{stream}"), ExpectedVersion::Any, NewEvent::new("T", vec![7; 300])).unwrap();
        }
        assert!(store.stats().segments.len() > 4, "several segments");
        store.flush().unwrap();
        let follower = place.try_read().unwrap();
        let check = |store: &EventStore| {
            for (number, expected) in expected.iter().enumerate() {
                let stream = format!("s-{number}");
                for version in 0..=expected.len() + 1 {
                    let after = &expected[version.min(expected.len())..];
                    let read = || store.read_stream(&stream, ver(version as u64)).unwrap();
                    assert_eq!(positions(read()), after, "{stream} after {version}");
                    let before = &expected[..version.saturating_sub(1).min(expected.len())];
                    assert!(positions(read().backward()).iter().rev().eq(before), "{stream} before {version}");
                    assert_eq!(positions(read().backward().limit(1)), before.last().copied().as_slice());
                }
            }
        };
        check(&store);
        check(&follower);
        drop(store);
        check(&place.open(&quiet()));
    });
}

/// How many reads of segments a query takes, once everything that was appended is indexed, and what it gives.
fn reads(store: &EventStore, hold: &Hold, query: &QueryItem, limit: u64, backward: bool) -> (usize, u64) {
    hold.reads_of(|| {
        let reader = store.read(query.clone(), if backward { Position::END } else { Position::START }).unwrap();
        positions(if backward { reader.backward() } else { reader }.limit(limit)).len()
    })
}

#[test]
fn a_query_reads_the_events_that_match_and_no_others() {
    let (disk, hold) = HeldDisk::new();
    let store = disk.open(&quiet().durability(Durability::Buffered));
    // Every event is common in each way, and few are so in two.
    for number in 0..2000 {
        let even = number % 2 == 0;
        let (event_type, tag) = (if even { "Even" } else { "Odd" }, if number % 500 == 7 { "even" } else { "none" });
        let stream = if number % 500 == 8 || !even { "odd" } else { "even" };
        let event =
            NewEvent::new(event_type, vec![7; 100]).tag(if even { "even" } else { tag }).tag(format!("n:{number}"));
        store.append(stream, ExpectedVersion::Any, event).unwrap();
    }
    assert!(store.stats().segments.len() > 4, "several segments");
    reads(&store, &hold, &QueryItem::new().event_type("Even"), u64::MAX, false);
    let item = QueryItem::new;
    for (query, matches) in [
        (item().event_type("Even"), 1000),
        (item().type_prefix("E"), 1000),
        (item().event_type("None"), 0),
        (item().type_prefix("None"), 0),
        (item().tag("n:1234"), 1),
        (item().tag("n:1234").tag("n:1235"), 0),
        (item().tag("none").tag("even"), 0),
        (item().event_type("Odd").tag("even"), 4),
        (item().type_prefix("O").tag("even"), 4),
        (item().event_type("Even").event_type("Odd").tag("n:3"), 1),
        (item().event_type("Even").stream("odd"), 4),
        (item().event_type("Odd").stream("even"), 0),
        (item().event_type("Even").stream_prefix("o"), 4),
        (item().type_prefix("E").stream("odd").stream_prefix("none"), 4),
        (item().stream("even").tag("none"), 0),
        (item().stream("none").event_type("Even"), 0),
        (item().stream_prefix("none"), 0),
        (item().event_type("Odd").tag("even").stream("odd"), 4),
    ] {
        for backward in [false, true] {
            let found = reads(&store, &hold, &query, u64::MAX, backward);
            assert_eq!(found, (matches, matches as u64), "{query:?}, backward: {backward}");
            // Not even what a limit leaves out is read.
            let some = matches.min(3);
            let found = reads(&store, &hold, &query, 3, backward);
            assert_eq!(found, (some, some as u64), "{query:?}, limit 3, backward: {backward}");
        }
    }
}

#[test]
fn for_a_few_events_of_a_stream_nothing_is_taken_in() {
    let (disk, hold) = HeldDisk::new();
    let store = disk.open(&quiet());
    let of = |number: u64| if number.is_multiple_of(50) { "few" } else { "many" };
    let mut batch = store.batch();
    for number in 0..150 {
        batch = batch.event(of(number), event("T"));
    }
    batch.commit().unwrap();
    assert_eq!(reads(&store, &hold, &QueryItem::new().stream("few").event_type("T"), u64::MAX, false), (3, 3));
}

#[test]
fn an_index_is_asked_for_a_segment_only_when_the_reader_gets_there() {
    let (disk, hold) = HeldDisk::new();
    let store = disk.open(&quiet().durability(Durability::Buffered));
    let in_newest = || {
        let newest = store.stats().segments.pop().unwrap();
        newest.last.get() - newest.base.get()
    };
    for number in 0.. {
        let event_type = if number % 100 == 0 { "Rare" } else { "Common" };
        store.append("a", ExpectedVersion::Any, NewEvent::new(event_type, vec![7; 100])).unwrap();
        if store.stats().segments.len() > 4 && in_newest() > 150 {
            break;
        }
    }
    // Nobody has asked before: the events of the newest segment are taken in, and only those.
    let rare = QueryItem::new().event_type("Rare");
    assert_eq!(reads(&store, &hold, &rare, 1, true), (1, in_newest() + 1));
    assert_eq!(reads(&store, &hold, &rare, 1, true), (1, 1));
    // A few new ones are read themselves, and an index is not asked which.
    store.append_batch("a", ExpectedVersion::Any, ["Common", "Rare", "Common"].map(event)).unwrap();
    let head = store.head().get();
    let found = hold.reads_of(|| positions(store.read(rare.clone(), pos(head - 3)).unwrap()));
    assert_eq!(found, (vec![head - 1], 3));
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
fn bounds_given_within_a_group_that_was_verified_hold_from_there_on() {
    let store = EventStore::in_memory(&quiet()).unwrap();
    for _ in 0..200 {
        store.append("a", ExpectedVersion::Any, event("T")).unwrap();
    }
    // Twice: the first reader verifies the group, and the second finds it verified.
    for _ in 0..2 {
        let begun = || {
            let mut reader = store.read_all(Position::START);
            for at in 1..=70 {
                assert_eq!(reader.next_event().unwrap().unwrap().position, pos(at));
            }
            reader
        };
        assert_eq!(positions(begun().until(pos(73))), [71, 72, 73]);
        assert!(positions(begun().until(pos(69))).is_empty());
        assert_eq!(positions(begun().limit(2).backward()), [69, 68]);
        let all = positions(store.read_all(Position::START).until(pos(100)));
        assert_eq!(all, (1..=100).collect::<Vec<_>>());
        assert_eq!(positions(begun()), (71..=200).collect::<Vec<_>>());
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

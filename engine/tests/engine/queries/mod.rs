//! Queries, bounds and times, compared with going through a `Vec` of events by hand.

mod beside;
mod bounds;
mod by_hand;
mod streams;

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

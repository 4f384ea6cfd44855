//! Streams, and how much is read for a query.

use super::*;

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

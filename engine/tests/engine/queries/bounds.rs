//! Queries that are refused, and bounds.

use super::*;

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

#[test]
fn a_reader_that_is_turned_round_goes_back_over_what_it_gave() {
    let store = EventStore::in_memory(&quiet().durability(Durability::Buffered)).unwrap();
    for number in 0..2000 {
        store
            .append(if number % 3 == 0 { "b" } else { "a" }, ExpectedVersion::Any, NewEvent::new("T", vec![7; 100]))
            .unwrap();
    }
    assert!(store.stats().segments.len() > 2, "several segments");
    let query = || Query::from(QueryItem::new().stream("a"));
    for given in [0, 1, 3, 700, 1300] {
        let readers = [
            (store.read_stream("a", StreamVersion::new(10)).unwrap(), true),
            (store.read(query(), Position::new(10)).unwrap(), true),
            (store.read_all(Position::new(10)), false),
        ];
        for (mut reader, is_stream) in readers {
            let mut last = None;
            for _ in 0..given {
                last = Some(reader.next_event().unwrap().unwrap().position);
            }
            let Some(last) = last else { continue };
            let turned: Vec<Position> = reader.backward().map(|event| event.unwrap().position()).collect();
            let before = store.read_all(last).backward().map(Result::unwrap);
            let expected: Vec<Position> =
                before.filter(|event| !is_stream || event.stream() == "a").map(|event| event.position()).collect();
            assert_eq!(turned, expected, "{given} {is_stream}");
        }
        // And one that is given another end goes on.
        let mut reader = store.read_stream("a", StreamVersion::EMPTY).unwrap();
        let begun: Vec<_> = (0..given).map(|_| reader.next_event().unwrap().unwrap().position).collect();
        let rest: Vec<_> = reader.until(Position::new(1990)).map(|event| event.unwrap().position()).collect();
        let whole = store.read_stream("a", StreamVersion::EMPTY).unwrap().until(Position::new(1990));
        let whole: Vec<_> = whole.map(|event| event.unwrap().position()).collect();
        assert_eq!([begun, rest].concat(), whole, "{given}");
    }
}

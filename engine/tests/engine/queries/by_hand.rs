//! Random queries of logs, whole and damaged, as going through by hand gives them.

use super::*;

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

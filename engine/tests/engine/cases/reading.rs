//! Where reads begin and end, and what they say of damage.

use super::*;

#[test]
fn a_read_beyond_the_head_is_empty_and_no_error() {
    on_every_store(&quiet(), |store| {
        assert_eq!(store.read_all(Position::START).count(), 0);
        assert_eq!(store.read_all(Position::END).backward().count(), 0);
        store.append_batch("a", Any, [event("A"), event("B")]).unwrap();
        for after in [pos(2), pos(3), pos(1 << 40), Position::END] {
            assert_eq!(positions(store.read_all(after)), [0; 0], "after {after}");
        }
        for after in [ver(2), ver(3), StreamVersion::END] {
            assert_eq!(versions(store.read_stream("a", after).unwrap()), [0; 0], "after {after}");
        }
        for position in [Position::START, pos(3), Position::END] {
            assert_eq!(store.get(position).unwrap(), None, "at {position}");
        }
        assert_eq!(positions(store.read_all(pos(1)).backward()), [0; 0]);
        assert_eq!(positions(store.read_all(Position::START).backward()), [0; 0]);
        assert_eq!(versions(store.read_stream("a", ver(1)).unwrap().backward()), [0; 0]);
        assert_eq!(versions(store.read_stream("a", ver(0)).unwrap().backward()), [0; 0]);
    });
}

#[test]
fn reads_begin_after_what_they_are_given_and_before_it_backward() {
    on_every_store(&quiet(), |store| {
        for number in 0..300 {
            store.append_batch("even", Any, [numbered(number)]).unwrap();
            store.append_batch("odd", Any, [numbered(number), numbered(number)]).unwrap();
        }
        assert_eq!(store.head(), pos(900));
        let segments = store.stats().segments;
        assert!(segments.len() > 1, "the borders between segments are where readers go wrong");
        let mut borders: Vec<u64> = segments.iter().map(|segment| segment.base.get()).collect();
        borders.extend([0, 1, 2, 899, 900, 901]);
        for border in borders.into_iter().flat_map(|border| border.saturating_sub(1)..=border + 1) {
            let after: Vec<u64> = (border + 1..=900).collect();
            assert_eq!(positions(store.read_all(pos(border))), after);
            let before: Vec<u64> = (1..border.min(901)).rev().collect();
            assert_eq!(positions(store.read_all(pos(border)).backward()), before);
        }
        for version in [0, 1, 63, 64, 65, 255, 256, 257, 511, 512, 598, 599, 600, 601] {
            let after: Vec<u64> = (version + 1..=600).collect();
            assert_eq!(versions(store.read_stream("odd", ver(version)).unwrap()), after);
            let before: Vec<u64> = (1..version.min(601)).rev().collect();
            assert_eq!(versions(store.read_stream("odd", ver(version)).unwrap().backward()), before);
        }
        assert_eq!(positions(store.read_all(pos(10)).limit(3)), [11, 12, 13]);
        assert_eq!(positions(store.read_all(pos(10)).limit(3).backward()), [9, 8, 7]);
        assert_eq!(positions(store.read_all(pos(10)).limit(0)), [0; 0]);
        assert_eq!(versions(store.read_stream("even", ver(7)).unwrap().limit(2)), [8, 9]);
        for position in [1, 450, 900] {
            assert_eq!(store.get(pos(position)).unwrap().unwrap().position(), pos(position));
        }
    });
}

#[test]
fn a_reader_that_came_to_its_end_stays_there() {
    on_every_store(&quiet(), |store| {
        store.append("a", Any, event("A")).unwrap();
        let mut reader = store.read_all(Position::START);
        assert!(reader.next_event().unwrap().is_some());
        assert!(reader.next_event().unwrap().is_none());
        store.append("a", Any, event("B")).unwrap();
        assert!(reader.next_event().unwrap().is_none());
        assert!(reader.next().is_none());
    });
}

#[test]
fn an_unknown_stream_is_empty_and_no_error() {
    on_every_store(&quiet(), |store| {
        store.append("known", Any, event("A")).unwrap();
        assert_eq!(store.read_stream("unknown", StreamVersion::EMPTY).unwrap().count(), 0);
        assert_eq!(store.read_stream("unknown", StreamVersion::END).unwrap().backward().count(), 0);
        assert_eq!(store.stream_version("unknown").unwrap(), StreamVersion::EMPTY);
        assert_eq!(store.stream_info("unknown").unwrap(), None);
        assert_eq!(store.streams("unknown").unwrap(), []);
    });
}

#[test]
fn a_name_that_cannot_be_is_an_error_and_not_an_unknown_stream() {
    on_every_store(&quiet(), |store| {
        for name in ["", "$reserved", "with\0nul", &"x".repeat(513)] {
            assert!(store.read_stream(name, StreamVersion::EMPTY).is_err(), "{name:?}");
            assert!(store.stream_version(name).is_err(), "{name:?}");
            assert!(store.stream_info(name).is_err(), "{name:?}");
        }
        assert!(store.tracking("").is_err());
        assert!(store.tracking("x".repeat(256)).is_err());
    });
}

#[test]
fn recorded_at_never_decreases_although_the_clock_does() {
    on_every_kind(|place| {
        let clock = Arc::new(HandClock::default());
        let options = quiet().clock(Arc::clone(&clock) as Arc<dyn annals::Clock>);
        let append = |store: &EventStore, now: i64| {
            clock.0.store(now, Ordering::Relaxed);
            store.append("a", Any, event("A")).unwrap().recorded_at
        };
        let store = place.open(&options);
        assert_eq!(append(&store, 100), 100);
        assert_eq!(append(&store, 40), 100);
        assert_eq!(append(&store, 120), 120);
        drop(store);
        // Nor across a restart, nor across the roll to a new segment.
        let store = place.open(&options);
        assert_eq!(append(&store, 50), 120);
        for _ in 0..3 {
            clock.0.store(60, Ordering::Relaxed);
            store.append("b", Any, NewEvent::new("Large", vec![0; 40_000])).unwrap();
        }
        drop(store);
        let store = place.open(&options);
        assert_eq!(append(&store, 50), 120);
        let times: Vec<i64> =
            store.read_all(Position::START).map(|event| event.unwrap().as_event().recorded_at).collect();
        assert_eq!(times, [100, 100, 120, 120, 120, 120, 120, 120]);
    });
}

#[test]
fn events_of_a_batch_are_recorded_at_the_same_time() {
    on_every_store(&quiet(), |store| {
        let done = store.append_batch("a", Any, (0..100).map(numbered)).unwrap();
        for event in store.read_all(Position::START) {
            assert_eq!(event.unwrap().as_event().recorded_at, done.recorded_at);
        }
    });
}

#[test]
fn occurred_at_orders_nothing() {
    on_every_store(&quiet(), |store| {
        for (name, time) in [("Late", i64::MAX), ("Early", i64::MIN), ("Middle", 0)] {
            store.append("a", Any, event(name).occurred_at(time)).unwrap();
        }
        assert_eq!(types(store.read_all(Position::START)), ["Late", "Early", "Middle"]);
    });
}

#[test]
fn a_reader_sees_the_log_as_of_its_creation() {
    on_every_store(&quiet(), |store| {
        let large = || NewEvent::new("Large", vec![1; 20_000]);
        store.append_batch("a", Any, [large(), large()]).unwrap();
        let all = store.read_all(Position::START);
        let backward = store.read_all(Position::END).backward();
        let stream = store.read_stream("a", StreamVersion::EMPTY).unwrap();
        let stream_backward = store.read_stream("a", StreamVersion::END).unwrap().backward();
        assert_eq!(all.head(), pos(2));
        // Far enough that the segment they stand in is sealed and others follow.
        for _ in 0..6 {
            store.append("a", Any, large()).unwrap();
        }
        assert!(store.stats().segments.len() > 2);
        assert_eq!(positions(all), [1, 2]);
        assert_eq!(positions(backward), [2, 1]);
        assert_eq!(versions(stream), [1, 2]);
        assert_eq!(versions(stream_backward), [2, 1]);
        assert_eq!(store.read_all(Position::START).count(), 8);
    });
}

#[test]
fn readers_and_their_events_outlive_the_store() {
    on_every_kind(|place| {
        let store = place.open(&quiet());
        store.append("a", Any, NewEvent::new("A", "payload")).unwrap();
        let reader = store.read_all(Position::START);
        let event = store.get(pos(1)).unwrap().unwrap();
        drop(store);
        if let Place::Mapped(dir) | Place::Pread(dir) = place {
            std::fs::remove_dir_all(dir.path()).unwrap();
        }
        assert_eq!(event.data(), "payload");
        assert_eq!(types(reader), ["A"]);
    });
}

#[test]
fn a_damaged_event_is_one_error_and_the_rest_is_read_only_when_asked_for() {
    let disk = SimDisk::new(1);
    let store = EventStore::open_on(Arc::new(disk.clone()), &quiet()).unwrap();
    store.append_batch("a", Any, (1..=9).map(numbered)).unwrap();
    let path = store.stats().segments[0].path.clone();
    let bytes = disk.read_file(&path).unwrap();
    let at = bytes.windows(8).position(|window| window == 4_u64.to_le_bytes() && window != [0; 8]);
    // The payload of the fourth event: its number, behind those of positions and versions before it.
    let at =
        bytes.windows(16).enumerate().skip(at.unwrap()).find(|(_, w)| w[..8] == 4_u64.to_le_bytes() && w[8] == b'a');
    disk.flip(&path, at.unwrap().0 as u64 * 8);

    let mut reader = store.read_all(Position::START);
    for _ in 0..3 {
        reader.next().unwrap().unwrap();
    }
    let error = reader.next().unwrap().unwrap_err();
    assert!(
        matches!(&error, annals::ReadError::Corrupt(damage) if damage.from == pos(4) && damage.to == Some(pos(4))),
        "{error:?}"
    );
    assert!(reader.next().is_none(), "it ends with its error");

    let read: Vec<_> = store.read_all(Position::START).skip_damaged().collect();
    assert_eq!((read.len(), read.iter().filter(|event| event.is_err()).count()), (9, 1));
    let read: Vec<_> = store.read_stream("a", ver(0)).unwrap().skip_damaged().collect();
    assert_eq!((read.len(), read.iter().filter(|event| event.is_err()).count()), (9, 1));
    let read: Vec<_> = store.read_all(Position::END).backward().skip_damaged().collect();
    assert_eq!((read.len(), read.iter().filter(|event| event.is_err()).count()), (9, 1));
    assert!(store.get(pos(4)).is_err());
    assert_eq!(store.get(pos(5)).unwrap().unwrap().version(), ver(5));
}

#[test]
fn a_sector_that_cannot_be_read_is_an_error_and_no_end_and_no_endless_loop() {
    let disk = SimDisk::new(1);
    let store = EventStore::open_on(Arc::new(disk.clone()), &quiet()).unwrap();
    store.append_batch("a", Any, (1..=9).map(|_| NewEvent::new("Large", vec![1; 4096]))).unwrap();
    disk.spoil(&store.stats().segments[0].path, 20_000);

    let mut reader = store.read_all(Position::START);
    let read = reader.by_ref().take(100).collect::<Vec<_>>();
    assert!(matches!(read.last(), Some(Err(annals::ReadError::Io { .. }))), "{read:?}");
    assert!(reader.next().is_none());

    // Each event that cannot be read is told once, and the others are there.
    for (what, reader) in [
        ("all", store.read_all(Position::START)),
        ("backward", store.read_all(Position::END).backward()),
        ("stream", store.read_stream("a", ver(0)).unwrap()),
    ] {
        let read: Vec<_> = reader.skip_damaged().take(100).collect();
        assert_eq!(read.len(), 9, "{what}");
        let failed = read.iter().filter(|event| event.is_err()).count();
        assert!((1..=2).contains(&failed), "{what}: {failed} errors");
    }
}

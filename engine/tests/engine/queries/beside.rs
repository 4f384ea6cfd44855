//! Queries beside a writer, and beside damage.

use super::*;

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

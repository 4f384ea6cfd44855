//! Tickets, facts, and stores that are only read, closed or opened again.

use super::*;

#[test]
fn tickets_share_a_group_and_are_waited_for_in_any_order() {
    let (disk, hold) = HeldDisk::new();
    let store = disk.open(&quiet());
    store.append("a", Any, event("A")).unwrap();
    let before = hold.syncs();
    let mut tickets: Vec<_> =
        (0..100).map(|number| store.batch().event("a", numbered(number)).submit().unwrap()).collect();
    assert_eq!(store.head(), pos(1), "nobody has waited yet");
    // The last one first.
    while let Some(ticket) = tickets.pop() {
        let done = ticket.wait().unwrap();
        assert_eq!(done.last, pos(2 + tickets.len() as u64));
    }
    assert_eq!(hold.syncs(), before + 1, "one sync for all");
}

#[test]
fn dropping_a_ticket_does_not_cancel_its_batch() {
    on_every_kind(|place| {
        let store = place.open(&quiet());
        drop(store.batch().event("a", event("Dropped")).submit().unwrap());
        store.append("a", Any, event("Next")).unwrap();
        assert_eq!(types(store.read_all(Position::START)), ["Dropped", "Next"], "the next append takes it along");

        drop(store.batch().event("a", event("Flushed")).submit().unwrap());
        assert_eq!(store.flush().unwrap(), pos(3));

        drop(store.batch().event("a", event("Closed")).submit().unwrap());
        drop(store);
        assert_eq!(types(place.open(&quiet()).read_all(pos(2))), ["Flushed", "Closed"]);
    });
}

#[test]
fn what_can_be_told_at_once_is_told_by_submit() {
    let store = EventStore::in_memory(&quiet().max_event_bytes(1000)).unwrap();
    assert!(matches!(store.batch().event("", event("A")).submit(), Err(AppendError::InvalidName(_))));
    let large = NewEvent::new("Large", vec![0; 2000]);
    assert!(matches!(store.batch().event("a", large).submit(), Err(AppendError::EventTooLarge { .. })));
}

#[test]
fn flush_of_an_empty_store_does_nothing() {
    on_every_store(&quiet(), |store| assert_eq!(store.flush().unwrap(), Position::START));
}

#[test]
fn stream_info_and_streams_tell_versions_and_last_positions() {
    on_every_kind(|place| {
        let store = place.open(&quiet());
        assert_eq!(store.streams("").unwrap(), []);
        for name in ["order-2", "order-10", "order-1", "other-1", "order-2"] {
            store.append(name, Any, NewEvent::new("Large", vec![0; 30_000])).unwrap();
        }
        let check = |store: &EventStore| {
            let found = |prefix| -> Vec<(String, u64, u64)> {
                let infos = store.streams(prefix).unwrap();
                let facts = infos.iter().map(|i| (i.stream.to_string(), i.version.get(), i.last_position.get()));
                facts.collect()
            };
            let s = str::to_owned;
            let orders = [(s("order-1"), 1, 3), (s("order-10"), 1, 2), (s("order-2"), 2, 5)];
            assert_eq!(found("order-"), orders, "in the order of their names");
            assert_eq!(found("").len(), 4);
            assert_eq!(found("order-1").len(), 2, "a prefix is one of text");
            assert_eq!(found("x"), []);
            let info = store.stream_info("order-2").unwrap().unwrap();
            assert_eq!((&*info.stream, info.version, info.last_position), ("order-2", ver(2), pos(5)));
            assert_eq!(store.stream_count().unwrap(), 4);
        };
        check(&store);
        drop(store);
        check(&place.open(&quiet()));
        check(&place.try_read().unwrap());
    });
}

#[test]
fn stats_of_an_empty_store_have_every_field() {
    on_every_kind(|place| {
        let store = place.open(&quiet());
        let stats = store.stats();
        assert_eq!((stats.head, stats.durable_head, stats.oldest), (pos(0), pos(0), pos(1)));
        assert_eq!((stats.total_events, stats.retained_events, store.stream_count().unwrap()), (0, 0, 0));
        assert_eq!(stats.log_id, store.log_id());
        assert_eq!(stats.segments.len(), 1);
        assert_eq!(stats.watermark_errors, 0);
        assert_eq!(store.oldest(), pos(1));
    });
}

#[test]
fn stats_add_up() {
    on_every_kind(|place| {
        let store = place.open(&quiet());
        for _ in 0..10 {
            store.append("a", Any, NewEvent::new("Large", vec![0; 20_000])).unwrap();
        }
        let check = |store: &EventStore| {
            let stats = store.stats();
            assert_eq!((stats.head, stats.total_events, stats.retained_events), (pos(10), 10, 10));
            assert_eq!(stats.bytes, stats.segments.iter().map(|segment| segment.bytes).sum::<u64>());
            assert!(stats.bytes > 200_000);
            assert_eq!(stats.segments.iter().filter(|segment| !segment.sealed).count(), 1);
            let mut last = pos(0);
            for (number, segment) in stats.segments.iter().enumerate() {
                assert_eq!((segment.number.get(), segment.base), (number as u64, last));
                last = segment.last;
            }
            assert_eq!(last, pos(10));
            assert_eq!(store.oldest(), pos(1));
        };
        check(&store);
        drop(store);
        check(&place.open(&quiet()));
        check(&place.try_read().unwrap());
    });
}

#[test]
fn a_store_opened_read_only_refuses_to_write_and_says_so() {
    on_every_kind(|place| {
        place.open(&quiet()).append("a", Any, event("A")).unwrap();
        let store = place.try_read().unwrap();
        assert!(matches!(store.append("a", Any, event("B")), Err(AppendError::ReadOnly)));
        assert!(matches!(store.append_batch("a", Any, [event("B")]), Err(AppendError::ReadOnly)));
        assert!(matches!(store.batch().event("a", event("B")).commit(), Err(AppendError::ReadOnly)));
        assert!(matches!(store.batch().event("a", event("B")).submit(), Err(AppendError::ReadOnly)));
        assert!(matches!(store.flush(), Err(AppendError::ReadOnly)));
        store.close().unwrap();
    });
}

#[test]
fn a_read_only_open_changes_no_byte_and_takes_no_lock() {
    let dir = tempfile::tempdir().unwrap();
    let store = EventStore::open(dir.path(), &quiet()).unwrap();
    for _ in 0..5 {
        store.append("a", Any, NewEvent::new("Large", vec![0; 30_000])).unwrap();
    }
    drop(store);
    let before = files_of(dir.path());
    let readers: Vec<_> = (0..3).map(|_| EventStore::open_read_only(dir.path()).unwrap()).collect();
    for reader in &readers {
        assert_eq!(reader.read_all(Position::START).count(), 5);
        assert_eq!(reader.read_stream("a", StreamVersion::EMPTY).unwrap().count(), 5);
        let _ = (reader.stats(), reader.streams("").unwrap(), reader.refresh().unwrap());
    }
    assert!(files_of(dir.path()) == before);
    EventStore::open(dir.path(), &quiet()).unwrap();
}

#[test]
fn opening_and_closing_a_whole_store_changes_no_byte() {
    let dir = tempfile::tempdir().unwrap();
    let store = EventStore::open(dir.path(), &quiet()).unwrap();
    for _ in 0..5 {
        store.append("a", Any, NewEvent::new("Large", vec![0; 30_000])).unwrap();
    }
    store.close().unwrap();
    let before = files_of(dir.path());
    for _ in 0..2 {
        let store = EventStore::open(dir.path(), &quiet()).unwrap();
        assert!(store.recovery_report().is_clean(), "{:?}", store.recovery_report());
        assert!(!store.recovery_report().created);
        assert_eq!(store.recovery_report().head, pos(5));
        store.close().unwrap();
        assert!(files_of(dir.path()) == before);
    }
}

#[test]
fn readers_see_what_a_later_open_has_made_durable() {
    // Buffered events of a killed process: the next writer shows them and has synced them, so other processes
    // must see them too, without a further append.
    let disk = SimDisk::new(1);
    let store = EventStore::open_on(Arc::new(disk.clone()), &quiet().durability(Durability::Buffered)).unwrap();
    store.append_batch("a", Any, (0..10).map(numbered)).unwrap();
    let disk = disk.after_kill();
    let store = EventStore::open_on(Arc::new(disk.clone()), &quiet()).unwrap();
    assert_eq!((store.head(), store.durable_head()), (pos(10), pos(10)));
    let reader = EventStore::open_read_only_on(Arc::new(disk.clone())).unwrap();
    assert_eq!(reader.head(), pos(10));
    drop(store);
    assert_eq!(EventStore::open_read_only_on(Arc::new(disk)).unwrap().head(), pos(10));
}

#[test]
fn the_log_id_is_the_same_for_ever_and_of_every_log_another() {
    on_every_kind(|place| {
        let id = place.open(&quiet()).log_id();
        assert_eq!(place.open(&quiet()).log_id(), id);
        assert_eq!(place.try_read().unwrap().log_id(), id);
    });
    let dirs = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
    let ids = dirs.each_ref().map(|dir| EventStore::open(dir.path(), &quiet()).unwrap().log_id());
    assert_ne!(ids[0], ids[1]);
}

#[test]
fn a_store_in_memory_is_gone_when_it_is_dropped() {
    let store = EventStore::in_memory(&Options::new()).unwrap();
    store.append("a", Any, event("A")).unwrap();
    drop(store);
    assert_eq!(EventStore::in_memory(&Options::new()).unwrap().head(), Position::START);
}

#[test]
fn options_of_the_earlier_open_do_not_bind_the_later_one() {
    on_every_kind(|place| {
        let mut head = 0;
        for segment_bytes in [1 << 20, 64 << 10, 256 << 10] {
            let store = place.open(&quiet().segment_bytes(segment_bytes));
            for _ in 0..6 {
                head += 1;
                let done = store.append("a", Exact(ver(head - 1)), NewEvent::new("Large", vec![0; 50_000])).unwrap();
                assert_eq!(done.last, pos(head));
            }
            assert_eq!(store.read_all(Position::START).count() as u64, head);
        }
        let store = place.open(&quiet());
        assert!(store.recovery_report().is_clean(), "{:?}", store.recovery_report());
        assert_eq!(versions(store.read_stream("a", StreamVersion::EMPTY).unwrap()), (1..=18).collect::<Vec<_>>());
    });
}

#[test]
fn a_store_in_a_log_line_is_short_and_tells_no_payload() {
    on_every_store(&quiet(), |store| {
        store.append("secret-stream", Any, NewEvent::new("Secret", "secret payload")).unwrap();
        let text = format!("{store:?} {:?}", store.read_all(Position::START));
        assert!(text.len() < 500 && text.contains(&store.log_id().to_string()), "{text}");
        assert!(!text.to_lowercase().contains("secret"), "{text}");
    });
}

//! What users of the systems that Annals replaces rely on, and what went wrong there.
//!
//! Each test is named for the behaviour. The comment tells the old flaw that it
//! would catch; where the case table covers a behaviour in depth (`cases/`),
//! only the flaw itself is acted out here.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use annals::storage::sim::{Fault, PowerLoss, SimDisk};
use annals::{
    AppendError, ContentType, Durability, EventId, EventStore, ExpectedVersion, NewEvent, OpenError, Options, Outcome,
    Position, QueryItem, StreamId, StreamVersion, inspect,
};

use crate::places::*;

use ExpectedVersion::{Any, Exact, NoStream};

fn on_sim(disk: &SimDisk) -> EventStore {
    EventStore::open_on(Arc::new(disk.clone()), &quiet()).unwrap()
}

#[test]
fn positions_count_from_one_without_gaps() {
    // Ids were the length of a list plus one, and dense only while the process lived.
    on_every_kind(|place| {
        for round in 0..3 {
            let store = place.open(&quiet());
            assert_eq!(store.append("a", Any, event("A")).unwrap().first, pos(round * 3 + 1));
            let batch = store.append_batch("b", Any, [event("B"), event("B")]).unwrap();
            assert_eq!((batch.first, batch.last), (pos(round * 3 + 2), pos(round * 3 + 3)));
        }
        let store = place.open(&quiet());
        assert_eq!(positions(store.read_all(Position::START)), (1..=9).collect::<Vec<_>>());
    });
}

#[test]
fn a_write_that_fails_leaves_no_trace_in_memory_and_no_position_is_used_twice() {
    // Memory held two events and the file one; the next got id 3, and after a restart 3 was given out again,
    // so that a projection standing at 3 never saw it.
    for fault in [Fault::StorageFull, Fault::ShortThenFull] {
        let disk = SimDisk::new(2);
        let store = on_sim(&disk);
        store.append("a", Any, event("First")).unwrap();
        disk.fail_at(disk.operations(), fault);
        let error = store.append("a", Any, event("Lost")).unwrap_err();
        assert!(matches!(error, AppendError::StorageFull), "{error:?}");
        assert_eq!((store.head(), store.stream_version("a").unwrap()), (pos(1), ver(1)));
        // Half of it may have been written. It is gone before anything is written in its place: what is only
        // overwritten comes back when the next write is shorter.
        let (path, end) = (store.stats().segments[0].path.clone(), store.stats().bytes as usize);
        for bytes in [disk.read_file(&path), disk.read_file_on_disk(&path)] {
            assert!(bytes.unwrap()[end..].iter().all(|&byte| byte == 0), "{fault:?}");
        }
        assert_eq!(store.append("a", Exact(ver(1)), event("Second")).unwrap().last, pos(2));
        drop(store);
        let store = on_sim(&disk.after_power_loss(PowerLoss::KeepLeast, 0));
        assert_eq!(types(store.read_all(Position::START)), ["First", "Second"], "{fault:?}");
        assert_eq!(store.append("a", Any, event("Third")).unwrap().last, pos(3), "{fault:?}");
    }
}

#[test]
fn a_stream_groups_events_under_any_name_and_its_category_is_what_comes_before_the_first_hyphen() {
    on_every_store(&quiet(), |store| {
        for name in ["order-123", "Bestellung-ß", "日本", "with space/and:more", "-", "a--b"] {
            store.append(name, NoStream, event("A")).unwrap();
            assert_eq!(store.read_stream(name, StreamVersion::EMPTY).unwrap().count(), 1, "{name}");
        }
        assert_eq!(StreamId::new("order-123-4").unwrap().category(), "order");
        assert_eq!(store.streams("order-").unwrap().len(), 1);
    });
}

#[test]
fn payload_and_metadata_are_bytes_that_nobody_interprets() {
    // A value that the JSON encoder refused blew up half-way through an append. Encoding is over before an
    // append begins, and any bytes are fine.
    let payloads: [&[u8]; 4] = [b"{\"broken json", b"\xFF\xFE\x00", b"", &[0; 5000]];
    on_every_kind(|place| {
        let store = place.open(&quiet());
        for payload in payloads {
            let new = NewEvent::new("A", payload.to_vec()).metadata(payload.to_vec());
            store.append("a", Any, new.content_type(ContentType::JSON)).unwrap();
        }
        drop(store);
        let store = place.open(&quiet());
        for (event, payload) in store.read_all(Position::START).zip(payloads) {
            let event = event.unwrap();
            assert_eq!((&*event.data(), event.metadata().as_deref()), (payload, Some(payload)));
        }
    });
}

#[test]
fn the_time_of_recording_is_the_stores_and_the_time_of_happening_the_callers() {
    // One field held the caller's time or a clock's that began anew with each process, and nobody knew which.
    let clock = Arc::new(HandClock::default());
    clock.0.store(1_700_000_000_000_000_000, Ordering::Relaxed);
    on_every_store(&quiet().clock(clock), |store| {
        store.append("a", Any, event("Silent")).unwrap();
        store.append("a", Any, event("Said").occurred_at(-1)).unwrap();
        let times: Vec<_> = store
            .read_all(Position::START)
            .map(|event| {
                let event = event.unwrap();
                (event.as_event().recorded_at, event.as_event().occurred_at)
            })
            .collect();
        let now = 1_700_000_000_000_000_000;
        assert_eq!(times, [(now, None), (now, Some(-1))], "never defaulted from another clock");
    });
}

#[test]
fn nobody_can_change_an_event_that_was_read() {
    // Payloads were shared by reference: a handler that changed its argument rewrote history.
    on_every_kind(|place| {
        let store = place.open(&quiet());
        let mut payload = b"original".to_vec();
        store.append("a", Any, NewEvent::new("A", payload.clone())).unwrap();
        payload.fill(b'x');
        let mut copy = store.get(pos(1)).unwrap().unwrap().data().to_vec();
        copy.fill(b'y');
        let held = store.get(pos(1)).unwrap().unwrap();
        for _ in 0..5 {
            store.append("a", Any, NewEvent::new("A", vec![b'z'; 30_000])).unwrap();
        }
        assert_eq!(held.data(), "original");
        assert_eq!(store.get(pos(1)).unwrap().unwrap(), held);
    });
}

#[test]
fn a_template_that_is_used_twice_gives_two_events_with_ids_of_their_own() {
    // The append wrote the new id into the caller's value, and the second use of it had the same id.
    on_every_store(&quiet(), |store| {
        let template = event("A");
        store.append("a", Any, template.clone()).unwrap();
        store.append_batch("a", Any, [template.clone(), template]).unwrap();
        let ids: Vec<_> = store.read_all(Position::START).map(|event| event.unwrap().as_event().id).collect();
        assert!(ids.len() == 3 && ids[0] != ids[1] && ids[1] != ids[2] && ids[0] != ids[2], "{ids:?}");
    });
}

#[test]
fn two_callers_with_the_same_belief_cannot_both_be_right() {
    // The version was checked first and the event appended later, with nothing to keep others out between.
    on_every_kind(|place| {
        let store = place.open(&quiet());
        for round in 0..30 {
            let won = std::thread::scope(|threads| {
                let append = || store.append("a", Exact(ver(round)), event("A")).is_ok();
                let all: Vec<_> = (0..4).map(|_| threads.spawn(append)).collect();
                all.into_iter().map(|thread| thread.join().unwrap()).filter(|won| *won).count()
            });
            assert_eq!(won, 1, "round {round}");
        }
        assert_eq!(store.stream_version("a").unwrap(), ver(30));
    });
}

#[test]
fn a_conflict_tells_enough_to_read_only_what_was_missed() {
    // The error said nothing, so every retry read the whole stream again.
    on_every_store(&quiet(), |store| {
        store.append_batch("a", Any, (0..5).map(numbered)).unwrap();
        let believed = ver(2);
        let error = store.append("a", Exact(believed), event("A")).unwrap_err();
        let AppendError::ConcurrencyConflict { actual, last_position, .. } = error else { panic!("{error:?}") };
        assert_eq!(versions(store.read_stream("a", believed).unwrap()), [3, 4, 5]);
        assert_eq!(store.get(last_position).unwrap().unwrap().version(), actual);
        store.append("a", Exact(actual), event("A")).unwrap();
    });
}

#[test]
fn a_batch_interrupted_at_any_operation_is_there_as_a_whole_or_not_at_all() {
    // Events were written one by one with nothing that said where a batch ends.
    let story = |disk: &SimDisk| {
        let store = EventStore::open_on(Arc::new(disk.clone()), &quiet()).ok()?;
        store.append_batch("a", Any, (0..3).map(|_| NewEvent::new("A", vec![7; 2000]))).ok()
    };
    let whole = SimDisk::new(1);
    assert!(story(&whole).is_some());
    for stop in 0..whole.operations() {
        for seed in 0..6 {
            let disk = SimDisk::new(seed);
            disk.stop_at(stop);
            let acknowledged = story(&disk).is_some();
            for disk in [disk.after_kill(), disk.after_power_loss(PowerLoss::Random, seed)] {
                let head = on_sim(&disk).head();
                assert!(head == pos(3) || (head == pos(0) && !acknowledged), "stop {stop}, seed {seed}: {head}");
            }
        }
    }
}

#[test]
fn a_batch_costs_one_write_and_one_sync_however_many_events_it_has() {
    // Every event opened, wrote and closed the file again.
    let disk = SimDisk::new(1);
    let store = EventStore::open_on(Arc::new(disk.clone()), &quiet().segment_bytes(1 << 20)).unwrap();
    store.append("a", Any, NewEvent::new("Reserves", vec![0; 50_000])).unwrap();
    for events in [1, 10, 100] {
        disk.record_journal();
        let before = disk.journal().len();
        store.append_batch("a", Any, (0..events).map(numbered)).unwrap();
        let journal = disk.journal().split_off(before);
        let count = |what: &str| journal.iter().filter(|line| line.contains(what)).count();
        assert_eq!((count("write_at seg/"), count("sync seg/")), (1, 1), "{journal:#?}");
        assert_eq!(count("open") + count("create"), 0, "{journal:#?}");
        // Those two, and the slot that tells others how far the log is durable.
        assert_eq!(journal.len(), 3, "{journal:#?}");
    }
}

#[test]
fn versions_are_counted_in_a_stream_and_never_in_the_whole_log() {
    // `from_version` compared with the global id: a reader at version 2 of its stream was sent two events again.
    on_every_store(&quiet(), |store| {
        for stream in ["b", "b", "b", "b", "b", "a", "a"] {
            store.append(stream, Any, event("A")).unwrap();
        }
        assert_eq!(store.stream_version("a").unwrap(), ver(2));
        assert_eq!(versions(store.read_stream("a", ver(2)).unwrap()), [0; 0], "nothing is newer than version 2");
        assert_eq!(versions(store.read_stream("a", ver(1)).unwrap()), [2]);
        let event = store.read_stream("a", ver(1)).unwrap().next().unwrap().unwrap();
        assert_eq!((event.position(), event.version()), (pos(7), ver(2)));
    });
}

#[test]
fn stream_version_is_the_number_of_its_events() {
    on_every_kind(|place| {
        let store = place.open(&quiet());
        assert_eq!(store.stream_version("a").unwrap(), ver(0), "never written");
        for count in 1..=200 {
            let done = store.append("a", Exact(ver(count - 1)), numbered(count)).unwrap();
            assert_eq!((done.version, store.stream_version("a").unwrap()), (ver(count), ver(count)));
            store.append("other", Any, NewEvent::new("Noise", vec![0; 900])).unwrap();
        }
        assert!(store.stats().segments.len() > 2);
        drop(store);
        assert_eq!(place.open(&quiet()).stream_version("a").unwrap(), ver(200));
    });
}

#[test]
fn a_torn_last_write_keeps_nobody_from_opening_and_is_kept_aside() {
    // Half a line at the end of the file, and the store could not be opened any more.
    let disk = SimDisk::new(1);
    let store = on_sim(&disk);
    store.append_batch("a", Any, [event("A"), event("B")]).unwrap();
    let path = store.stats().segments[0].path.clone();
    let end = store.stats().bytes as usize;
    drop(store);
    let whole = disk.read_file(&path).unwrap();
    for torn in 1..150 {
        let disk = disk.fork();
        // A copy of its own beginning: bytes that look like frames and stand in the wrong place.
        let mut bytes = whole[..end].to_vec();
        bytes.extend_from_slice(&whole[4096..4096 + torn]);
        disk.write_file(&path, &bytes);
        let store = on_sim(&disk);
        assert_eq!(types(store.read_all(Position::START)), ["A", "B"], "{torn} bytes");
        // Up to the last byte that is not zero. Nothing but zeros, with which one checksum in 256 begins, are no tail.
        let Some(last) = whole[4096..4096 + torn].iter().rposition(|&byte| byte != 0) else {
            assert!(store.recovery_report().torn.is_none());
            continue;
        };
        let kept = last + 1;
        let tail = store.recovery_report().torn.clone().expect("it is reported");
        assert_eq!((tail.offset, tail.bytes), (end as u64, kept as u64));
        let aside = disk.paths().into_iter().find(|path| path.starts_with("quarantine/")).expect("it is kept");
        assert_eq!(disk.read_file(&aside).unwrap(), whole[4096..4096 + kept]);
        assert_eq!(store.append("a", Exact(ver(2)), event("C")).unwrap().last, pos(3));
        drop(store);
        let store = on_sim(&disk);
        assert!(store.recovery_report().torn.is_none(), "it does not come back");
        assert_eq!(types(store.read_all(Position::START)), ["A", "B", "C"], "{torn} bytes");
    }
}

#[test]
fn durability_is_the_return_value() {
    // Persisting returned nothing, and nobody looked: an event that was never written was acknowledged.
    for (fault, at) in [(Fault::Eio, 0), (Fault::Eio, 1), (Fault::StorageFull, 0), (Fault::StorageFull, 1)] {
        let disk = SimDisk::new(1);
        let store = on_sim(&disk);
        store.append("a", Any, event("A")).unwrap();
        disk.fail_at(disk.operations() + at, fault);
        assert!(store.append("a", Any, event("B")).is_err(), "{fault:?} at {at}");
        assert_eq!(store.head(), pos(1), "{fault:?} at {at}");
    }
}

#[test]
fn an_unknown_feature_of_the_format_is_refused_and_not_guessed_at() {
    // Fields were read by name, and whatever else a file said was ignored.
    let dir = tempfile::tempdir().unwrap();
    EventStore::open(dir.path(), &quiet()).unwrap().append("a", Any, event("A")).unwrap();
    let path = dir.path().join("seg/00000000000000000000-00000000000000000000.seg");
    let mut bytes = std::fs::read(&path).unwrap();
    bytes[19] |= 0x80; // the highest of the features that a reader must know
    let crc = crc32fast::hash(&bytes[..4092]);
    bytes[4092..4096].copy_from_slice(&crc.to_le_bytes());
    std::fs::write(&path, &bytes).unwrap();
    for refused in [EventStore::open(dir.path(), &quiet()), EventStore::open_read_only(dir.path())] {
        let error = refused.unwrap_err();
        assert!(matches!(error, OpenError::Newer { .. }), "{error:?}");
    }
    assert_eq!(std::fs::read(&path).unwrap(), bytes);
}

#[test]
fn memory_never_shows_what_the_disk_may_not_have() {
    // The event was in memory before it was on disk; when the disk failed, readers went on with it.
    let disk = SimDisk::new(4);
    let store = on_sim(&disk);
    store.append("a", Any, event("A")).unwrap();
    disk.fail_at(disk.operations() + 1, Fault::Eio);
    assert!(matches!(store.append("a", Any, event("B")), Err(AppendError::CommitUnknown { .. })));
    assert_eq!(types(store.read_all(Position::START)), ["A"]);
    assert_eq!(types(store.read_stream("a", ver(0)).unwrap()), ["A"]);
    assert_eq!(store.stream_info("a").unwrap().unwrap().version, ver(1));
    // And no retry pretends that a second sync could tell: the first failure is final until the store is reopened.
    assert!(matches!(store.append("a", Any, event("B")), Err(AppendError::Poisoned { .. })));
}

#[test]
fn two_stores_on_one_directory_cannot_both_write() {
    // Two instances on one file both wrote an event 1.
    on_every_kind(|place| {
        let first = place.open(&quiet());
        assert!(matches!(place.try_open(&quiet()), Err(OpenError::AlreadyOpen { .. })));
        let reader = place.try_read().unwrap();
        first.append("a", Any, event("A")).unwrap();
        assert_eq!(reader.head(), pos(1));
        drop(first);
        assert_eq!(place.open(&quiet()).append("a", Any, event("B")).unwrap().last, pos(2));
    });
}

#[test]
fn segments_of_one_log_are_no_part_of_another() {
    // Nothing in a file said which log it belonged to, so any file could be put in the place of any other.
    let dirs = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
    for dir in &dirs {
        let store = EventStore::open(dir.path(), &quiet()).unwrap();
        for _ in 0..5 {
            store.append("a", Any, NewEvent::new("A", vec![1; 30_000])).unwrap();
        }
    }
    let name = "seg/00000000000000000001-00000000000000000002.seg";
    std::fs::copy(dirs[0].path().join(name), dirs[1].path().join(name)).unwrap();
    let error = EventStore::open(dirs[1].path(), &quiet()).unwrap_err();
    assert!(matches!(&error, OpenError::Inconsistent { problem } if problem.contains(name)), "{error:?}");
    assert!(!inspect::verify(dirs[1].path(), |_, _| ()).unwrap().is_clean());
}

#[test]
fn a_store_is_shared_by_threads_and_not_only_by_tasks() {
    // The lock was one of an event loop, and kept no thread out.
    fn shared<T: Send + Sync + Clone + 'static>() {}
    shared::<EventStore>();
    on_every_kind(|place| {
        let store = place.open(&quiet());
        let all: Vec<_> = (0..4)
            .map(|thread| {
                let store = store.clone();
                std::thread::spawn(move || {
                    for number in 0..50 {
                        store.append(format!("s-{thread}"), Exact(ver(number)), numbered(number)).unwrap();
                    }
                })
            })
            .collect();
        for thread in all {
            thread.join().unwrap();
        }
        assert_eq!(positions(store.read_all(Position::START)), (1..=200).collect::<Vec<_>>());
    });
}

#[test]
fn what_is_missing_does_not_compile_and_what_is_wrong_is_named() {
    // "ValueError", and nothing about which field. Stream, type and payload cannot be left out here.
    let store = EventStore::in_memory(&quiet()).unwrap();
    for (result, names) in [
        (store.append("", Any, event("A")), "stream id is empty"),
        (store.append("a", Any, event("")), "event type is empty"),
        (store.append("a", Any, event("A").tag("")), "tag is empty"),
        (store.batch().event("a", event("A")).tracking("", 1).commit(), "source name is empty"),
    ] {
        assert_eq!(result.unwrap_err().to_string(), names);
    }
}

#[test]
fn head_of_an_empty_log_is_the_start_and_counts_agree() {
    // The count of entries and the latest number disagreed once anything had been removed, and nobody said why.
    on_every_store(&quiet(), |store| {
        assert_eq!(store.head(), Position::START);
        store.append_batch("a", Any, (0..7).map(numbered)).unwrap();
        let stats = store.stats();
        assert_eq!((stats.total_events, stats.retained_events, stats.head), (7, 7, pos(7)));
        assert_eq!(stats.retained_events, store.read_all(Position::START).count() as u64);
        assert_eq!(stats.total_events, store.head().get());
    });
}

#[test]
fn every_append_is_durable_and_not_only_the_first_of_a_file() {
    // Temporary file, sync and rename made the first event of a file durable. All later ones were copied in
    // behind it with no sync at all.
    let disk = SimDisk::new(9);
    let store = on_sim(&disk);
    for number in 1..=30 {
        store.append("a", Any, NewEvent::new("A", vec![1; 5000])).unwrap();
        let after = on_sim(&disk.after_power_loss(PowerLoss::KeepLeast, number));
        assert_eq!(after.head(), pos(number), "the power went out after append {number}");
    }
    assert!(store.stats().segments.len() > 2, "over rolls, too");
}

#[test]
fn files_are_rotated_by_size_and_a_late_event_stays_where_it_was_appended() {
    on_every_kind(|place| {
        let store = place.open(&quiet());
        let mut sizes = Vec::new();
        for number in 0..40 {
            // Times that go back by years: a day's partition would have sorted them elsewhere.
            let new = NewEvent::new("A", vec![1; 5000]).occurred_at(-number * 365 * 86_400 * 1_000_000_000);
            store.append("a", Any, new).unwrap();
        }
        for segment in store.stats().segments {
            assert!(segment.bytes <= 64 << 10, "{segment:?}");
            sizes.push(segment.bytes);
        }
        assert!(sizes.len() >= 4);
        assert!(sizes[..sizes.len() - 1].iter().all(|&size| size > 50 << 10), "each is nearly full: {sizes:?}");
        assert_eq!(versions(store.read_stream("a", ver(0)).unwrap()), (1..=40).collect::<Vec<_>>());
    });
}

#[test]
fn the_order_is_one_for_everybody_and_no_time_decides_it() {
    // "By time, within a file": two processes, or two events of a millisecond, and there was no order.
    let clock = Arc::new(HandClock::default()); // it stands still
    on_every_store(&quiet().clock(clock), |store| {
        std::thread::scope(|threads| {
            for thread in 0..4 {
                threads.spawn(move || {
                    for _ in 0..25 {
                        store.append(format!("s-{thread}"), Any, event("A")).unwrap();
                    }
                });
            }
        });
        let forward = whole(store);
        assert_eq!(forward.len(), 100);
        assert_eq!(whole(store), forward);
        let mut backward: Vec<_> = store.read_all(Position::END).backward().map(|event| event.unwrap()).collect();
        backward.reverse();
        let forward: Vec<_> = store.read_all(Position::START).map(|event| event.unwrap()).collect();
        assert_eq!(forward, backward);
        // The order of each stream is that of the log.
        for thread in 0..4 {
            let stream = store.read_stream(format!("s-{thread}"), ver(0)).unwrap();
            assert!(stream.map(|event| event.unwrap().position()).is_sorted());
        }
    });
}

#[test]
fn an_append_from_within_a_read_is_an_ordinary_append() {
    // A subscriber that appended while it was called made the next one see the two events the wrong way round.
    on_every_store(&quiet(), |store| {
        store.append_batch("a", Any, [event("A"), event("B")]).unwrap();
        let mut reader = store.read_all(Position::START);
        while let Some(event) = reader.next_event().unwrap() {
            store.append("echo", Any, NewEvent::new("Echo", event.event_type.to_owned())).unwrap();
        }
        assert_eq!(whole(store), ["a/1/A", "a/2/B", "echo/1/Echo", "echo/2/Echo"]);
    });
}

#[test]
fn a_reader_that_fails_takes_nothing_from_an_append() {
    // An exception in a subscriber came out of the append: stored, reported as failed, and the retry a conflict.
    on_every_store(&quiet(), |store| {
        store.append("a", Any, event("A")).unwrap();
        let reading = AtomicBool::new(false);
        std::thread::scope(|threads| {
            let failing = threads.spawn(|| {
                let mut reader = store.read_all(Position::START);
                let event = reader.next_event().unwrap();
                reading.store(true, Ordering::Relaxed);
                assert_eq!(event, None, "a consumer with a bug (this panic is part of the test)");
            });
            assert!(failing.join().is_err());
        });
        assert!(reading.load(Ordering::Relaxed));
        assert_eq!(store.append("a", Exact(ver(1)), event("B")).unwrap().version, ver(2));
        assert_eq!(types(store.read_all(Position::START)), ["A", "B"]);
    });
}

#[test]
fn memory_and_file_are_behind_one_api() {
    let story = |store: &EventStore| {
        store.append("a", NoStream, event("A")).unwrap();
        store.append("a", NoStream, event("A")).unwrap_err();
        store.batch().event("b", event("B")).event("a", event("C")).tracking("kafka", 3).commit().unwrap();
        store.batch().event("b", event("D")).durability(Durability::Buffered).commit().unwrap();
        let facts = (store.head(), store.durable_head(), store.tracking("kafka").unwrap(), store.stats().bytes);
        (whole(store), facts)
    };
    let dir = tempfile::tempdir().unwrap();
    let on_disk = story(&EventStore::open(dir.path(), &quiet()).unwrap());
    let in_memory = story(&EventStore::in_memory(&Options::new().background(false)).unwrap());
    assert_eq!(on_disk, in_memory);
}

// Requests that come again.

#[test]
fn a_request_that_is_sent_three_times_is_there_once() {
    // The id of a request was stored and never looked at: three entries, and three different ids.
    on_every_kind(|place| {
        let send = |store: &EventStore, data: &'static str| {
            store.batch().idempotency_key("req-1").event("a", NewEvent::new("Paid", data)).commit()
        };
        let store = place.open(&quiet());
        let first = send(&store, "100").unwrap();
        let second = send(&store, "100").unwrap();
        drop(store);
        let store = place.open(&quiet());
        let third = send(&store, "100").unwrap();
        assert_eq!(first.outcome, Outcome::Appended);
        for again in [second, third] {
            assert_eq!(again.outcome, Outcome::Duplicate);
            assert_eq!((again.first, again.last, again.version), (first.first, first.last, first.version));
            assert_eq!(again.recorded_at, first.recorded_at);
        }
        // And with another content it is no retry.
        let error = send(&store, "200").unwrap_err();
        assert!(matches!(error, AppendError::IdempotencyKeyReused { .. }), "{error:?}");
        assert_eq!(types(store.read_all(Position::START)), ["Paid"]);
    });
}

#[test]
fn an_id_that_a_caller_gives_is_given_to_one_event() {
    // Whether an id was taken nobody looked: the same uuid twice made two entries.
    on_every_kind(|place| {
        let store = place.open(&quiet());
        let id = EventId::from_bytes([7; 16]);
        store.append("a", Any, event("A").id(id)).unwrap();
        assert_eq!(store.append("a", Any, event("A").id(id)).unwrap().outcome, Outcome::Duplicate);
        let error = store.append("a", Any, event("B").id(id)).unwrap_err();
        assert!(matches!(error, AppendError::EventIdConflict { existing, .. } if existing == pos(1)), "{error:?}");
        assert_eq!(store.head(), pos(1));
    });
}

#[test]
fn ids_that_the_store_makes_are_unique_in_one_millisecond_and_are_found() {
    // A millisecond and 32 random bits, and no check.
    on_every_store(&quiet().clock(Arc::new(HandClock::default())), |store| {
        store.append_batch("a", Any, (0..3_000).map(|_| event("A"))).unwrap();
        let mut seen = std::collections::HashSet::new();
        for event in store.read_all(Position::START) {
            assert!(seen.insert(event.unwrap().as_event().id));
        }
        for id in seen.iter().take(100) {
            assert_eq!(store.get_event(*id).unwrap().expect("it is there").as_event().id, *id);
        }
    });
}

#[test]
fn an_event_is_found_by_its_id_and_a_request_by_its_key_without_reading_the_others() {
    // Both went through all entries, and gave the first of several with the same id.
    let disk = SimDisk::new(1);
    let id = EventId::from_bytes([7; 16]);
    let store = on_sim(&disk);
    let done = store.batch().idempotency_key("req-1").event("a", event("A").id(id)).commit().unwrap();
    for number in 0..2_000 {
        store.batch().event("b", numbered(number)).durability(Durability::Buffered).commit().unwrap();
    }
    drop(store);
    let store = on_sim(&disk);
    assert!(store.stats().segments.len() > 2);
    // The first question opens the indexes.
    assert_eq!(store.get_event(id).unwrap().unwrap().position(), done.first);
    let before = disk.reads();
    assert_eq!(store.get_event(id).unwrap().unwrap().position(), done.first);
    assert_eq!(store.find_append("req-1").unwrap(), Some(done));
    assert_eq!(store.find_append("req-2").unwrap(), None);
    assert!(disk.reads() - before < 50, "{} reads", disk.reads() - before);
}

#[test]
fn a_value_that_was_appended_is_as_the_caller_left_it() {
    // The append wrote an id into the caller's dict, and whoever used it as a template reused the id.
    on_every_store(&quiet(), |store| {
        let template = event("A").tag("t").metadata("m");
        let first = store.append("a", Any, template.clone()).unwrap();
        let second = store.append("a", Any, template.clone()).unwrap();
        assert_eq!((first.outcome, second.outcome), (Outcome::Appended, Outcome::Appended), "no retry of the first");
        let id = |position| store.get(position).unwrap().unwrap().as_event().id;
        assert_ne!(id(first.last), id(second.last));
    });
}

#[test]
fn entries_since_a_position_of_a_source_and_in_a_time_range_are_looked_up_in_any_of_many_segments() {
    // Each of these went through the whole list from its start. The range had both ends in it, so
    // that two ranges that met counted an entry twice.
    on_every_kind(|place| {
        let store = place.open(&quiet().segment_bytes(64 << 10));
        let mut times = Vec::new();
        for number in 1..=40_u64 {
            let source = if number % 10 == 0 { "source:rare" } else { "source:common" };
            let event = NewEvent::new("Logged", vec![0; 10_000]).tag(source);
            times.push(store.append("log", Any, event).unwrap().recorded_at);
        }
        assert!(store.stats().segments.len() > 4, "several segments");
        let positions =
            |reader: annals::Reader| -> Vec<u64> { reader.map(|event| event.unwrap().position().get()).collect() };
        assert_eq!(positions(store.read_all(Position::new(38))), [39, 40], "after, so without it");
        assert_eq!(positions(store.read_all(Position::new(40))), [0; 0]);
        let rare = QueryItem::new().tag("source:rare");
        assert_eq!(positions(store.read(rare.clone(), Position::START).unwrap()), [10, 20, 30, 40]);
        assert_eq!(positions(store.read(rare, Position::new(20)).unwrap()), [30, 40]);

        let between = |from, to| positions(store.read_all(Position::START).recorded_between(from, to)).len();
        let (first, middle, last) = (times[0], times[20], times[39]);
        assert_eq!(between(first, middle) + between(middle, last + 1), 40, "no entry is in two ranges that meet");
        assert_eq!(between(first, middle), times.iter().filter(|time| **time < middle).count());
        assert_eq!(store.position_at(last).unwrap(), Position::new(40));
    });
}

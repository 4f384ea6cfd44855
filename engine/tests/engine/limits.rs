//! Limits at their exact edge, and bad input of every kind: a clear error, and nothing changed.

use std::path::Path;
use std::sync::Arc;

use annals::storage::sim::SimDisk;
use annals::{
    AppendError, EventStore, ExpectedVersion, NameProblem, NewEvent, OpenError, Options, Position, StreamVersion,
    inspect,
};

use crate::places::*;

use ExpectedVersion::Any;

/// A text is accepted at `max` bytes and refused, by name, with one more.
fn check_name(what: &str, max: usize, append: impl Fn(&EventStore, &str) -> Result<annals::Appended, AppendError>) {
    on_every_store(&quiet(), |store| {
        append(store, &"x".repeat(max)).unwrap();
        append(store, "x").unwrap();
        // Bytes are counted, and not characters.
        append(store, &"ä".repeat(max / 2)).unwrap();
        let head = store.head();
        let longer = "x".repeat(max + 1);
        for (text, problem) in [
            (longer.as_str(), NameProblem::TooLong { len: max + 1, max }),
            ("", NameProblem::Empty),
            ("nul\0", NameProblem::Nul),
        ] {
            match append(store, text) {
                Err(AppendError::InvalidName(error)) => {
                    assert_eq!((error.what, &error.problem), (what, &problem));
                    assert!(error.to_string().starts_with(what), "{error}");
                }
                other => panic!("{text:?}: {other:?}"),
            }
        }
        assert_eq!(store.head(), head);
    });
}

#[test]
fn a_stream_id_takes_512_bytes_and_no_more() {
    check_name("stream id", 512, |store, name| store.append(name, Any, event("A")));
}

#[test]
fn an_event_type_takes_255_bytes_and_no_more() {
    check_name("event type", 255, |store, name| store.append("a", Any, event(name)));
}

#[test]
fn a_tag_takes_255_bytes_and_no_more() {
    check_name("tag", 255, |store, name| store.append("a", Any, event("A").tag(name)));
}

#[test]
fn a_source_name_takes_255_bytes_and_no_more() {
    check_name("source name", 255, |store, name| store.batch().event("a", event("A")).tracking(name, 1).commit());
}

#[test]
fn a_stream_id_with_a_leading_dollar_belongs_to_the_store() {
    let store = EventStore::in_memory(&quiet()).unwrap();
    let error = store.append("$schema", Any, event("A")).unwrap_err();
    assert_eq!(error.to_string(), "stream id begins with '$', which is reserved for the store");
    store.append("a$", Any, event("A")).unwrap();
}

#[test]
fn the_first_bad_name_of_a_batch_refuses_all_of_it() {
    let store = EventStore::in_memory(&quiet()).unwrap();
    let batch = store.batch().event("good", event("A")).event("", event("A")).event("good", event(""));
    let AppendError::InvalidName(error) = batch.commit().unwrap_err() else { panic!() };
    assert_eq!(error.what, "stream id");
    assert_eq!(store.head(), Position::START);
}

#[test]
fn all_tags_together_take_what_their_length_field_can_say() {
    let tagged = |tags| (0..tags).fold(event("A"), |event, _| event.tag("x".repeat(254)));
    on_every_store(&quiet(), |store| {
        // 257 of them take 257 × 255 = 65,535 bytes.
        store.append("a", Any, tagged(257)).unwrap();
        let read = store.get(pos(1)).unwrap().unwrap();
        assert_eq!(read.as_event().tags.iter().count(), 257);
        let error = store.append("a", Any, tagged(258)).unwrap_err();
        assert!(matches!(error, AppendError::InvalidName(ref error) if error.what == "list of tags"), "{error:?}");
    });
}

/// The frame of an event of stream "a" and type "T": header and body, padded to a multiple of 8.
fn event_bytes(data: u64) -> u64 {
    (20 + 52 + data + 1 + 1).next_multiple_of(8)
}

const MARKER: u64 = 64;

fn sized(data: u64) -> NewEvent {
    NewEvent::new("T", vec![7; data as usize])
}

#[test]
fn an_event_may_take_exactly_its_limit_with_all_overhead() {
    on_every_store(&quiet().max_event_bytes(1000), |store| {
        let before = store.stats().bytes;
        store.append("a", Any, sized(926)).unwrap();
        assert_eq!(store.stats().bytes - before, 1000 + MARKER, "the limit is about what it takes on disk");
        let error = store.append("a", Any, sized(927)).unwrap_err();
        assert!(matches!(error, AppendError::EventTooLarge { bytes: 1008, limit: 1000 }), "{error:?}");
        // Metadata and tags count, too.
        store.append("a", Any, sized(900).metadata(vec![0; 26])).unwrap();
        assert!(store.append("a", Any, sized(900).metadata(vec![0; 27])).is_err());
        assert!(store.append("a", Any, sized(926).tag("x")).is_err());
        assert!(store.append("a", Any, sized(926).occurred_at(1)).is_err());
        assert_eq!(store.head(), pos(2));
    });
}

#[test]
fn a_batch_may_take_exactly_its_limit_with_all_overhead() {
    let limit = 3 * event_bytes(926) + MARKER;
    assert_eq!(limit, 3064);
    on_every_store(&quiet().max_event_bytes(1000).max_batch_bytes(limit), |store| {
        let three = || (0..3).map(|_| sized(926));
        store.append_batch("a", Any, three()).unwrap();
        for (batch, bytes) in [
            (store.batch().events("a", three()).event("a", sized(0)), limit + 80),
            (store.batch().events("a", three()).tracking("kafka", 1), limit + 16),
        ] {
            match batch.commit() {
                Err(AppendError::BatchTooLarge { bytes: told, limit: most }) => {
                    assert_eq!((told, most), (bytes, limit));
                }
                other => panic!("{other:?}"),
            }
        }
        assert_eq!((store.head(), store.tracking("kafka").unwrap()), (pos(3), None));
    });
}

#[test]
fn an_oversized_payload_is_refused_before_it_is_encoded() {
    let store = EventStore::in_memory(&Options::new()).unwrap();
    let large = bytes::Bytes::from(vec![0; 17 << 20]);
    // Were each copy encoded first, this would take 17 GiB of memory and a minute.
    for _ in 0..1000 {
        let error = store.append("a", Any, NewEvent::new("Large", large.clone())).unwrap_err();
        assert!(matches!(error, AppendError::EventTooLarge { limit, .. } if limit == 16 << 20), "{error:?}");
    }
}

#[test]
fn a_batch_never_spans_segments_and_a_huge_one_has_its_own() {
    on_every_kind(|place| {
        let store = place.open(&quiet());
        let sizes: [&[u64]; 7] =
            [&[100], &[60_000, 60_000, 60_000], &[100, 100], &[30_000, 20_000], &[40_000], &[300_000], &[5]];
        let mut ends = Vec::new();
        for sizes in sizes {
            ends.push(store.append_batch("a", Any, sizes.iter().map(|&size| sized(size))).unwrap());
        }
        let check = |store: &EventStore| {
            let segments = store.stats().segments;
            for done in &ends {
                let holds = |segment: &&annals::SegmentStats| segment.base < done.first && done.last <= segment.last;
                assert_eq!(segments.iter().filter(holds).count(), 1, "{done:?} in {segments:?}");
            }
            let alone = segments.iter().find(|segment| segment.base == pos(1)).unwrap();
            assert_eq!(alone.last, pos(4), "a huge batch shares its segment with nobody");
            let events = store.read_all(Position::START).map(|event| event.unwrap().data().len() as u64);
            assert_eq!(events.collect::<Vec<_>>(), sizes.concat());
        };
        check(&store);
        drop(store);
        let store = place.open(&quiet());
        assert!(store.recovery_report().is_clean(), "{:?}", store.recovery_report());
        check(&store);
        check(&place.try_read().unwrap());
    });
}

#[test]
fn a_batch_that_fills_a_segment_to_the_last_byte_leaves_room_for_its_seal() {
    // Around the largest event that still fits: header, marker and seal are counted exactly, or a
    // segment grows beyond what was reserved and mapped for it.
    let fits = (64 << 10) - 4096 - MARKER - (64 + 8 + 40) - 72 - 2;
    for size in (fits - 40..fits + 40).step_by(4) {
        let disk = SimDisk::new(size);
        let dir = tempfile::tempdir().unwrap();
        for place in [Place::Simulated(disk), Place::Mapped(dir)] {
            let store = place.open(&quiet());
            for _ in 0..3 {
                store.append("a", Any, sized(size)).unwrap();
            }
            let stats = store.stats();
            let sealed = stats.segments.iter().filter(|segment| segment.sealed);
            assert_eq!(sealed.count(), 2, "{size}: {stats:?}");
            for segment in stats.segments.iter().filter(|segment| segment.sealed && size <= fits) {
                assert!(segment.bytes <= 64 << 10, "{size}: {segment:?}");
            }
            drop(store);
            let store = place.open(&quiet());
            assert!(store.recovery_report().is_clean(), "{size}: {:?}", store.recovery_report());
            assert_eq!(store.read_all(Position::START).count(), 3, "{size}");
        }
    }
}

#[test]
fn a_batch_of_very_many_tiny_events_is_one_batch() {
    on_every_kind(|place| {
        let store = place.open(&quiet());
        let done = store.append_batch("a", Any, (0..20_000).map(|_| sized(0))).unwrap();
        assert_eq!((done.first, done.last, done.version), (pos(1), pos(20_000), ver(20_000)));
        store.append("a", Any, sized(0)).unwrap();
        drop(store);
        let store = place.open(&quiet());
        assert_eq!(store.stream_version("a").unwrap(), ver(20_001));
        assert_eq!(versions(store.read_stream("a", ver(19_998)).unwrap()), [19_999, 20_000, 20_001]);
    });
}

#[test]
fn a_batch_over_very_many_streams_is_built_in_reasonable_time() {
    let store = EventStore::in_memory(&quiet()).unwrap();
    let began = std::time::Instant::now();
    let mut batch = store.batch();
    for stream in 0..100_000 {
        batch = batch.event(format!("stream-{stream:05}"), sized(0));
    }
    batch.commit().unwrap();
    // Comparing each name with each other one took fifteen seconds.
    assert!(began.elapsed().as_secs() < 5, "{:?}", began.elapsed());
    assert_eq!(store.stream_count().unwrap(), 100_000);
    let twice = (0..50).chain(0..50).fold(store.batch(), |batch, stream| batch.event(format!("s-{stream}"), sized(0)));
    twice.commit().unwrap();
    for stream in 0..50 {
        assert_eq!(store.stream_version(format!("s-{stream}")).unwrap(), ver(2), "each is one stream, not two");
    }
}

#[test]
fn an_option_that_cannot_be_is_refused_by_name_and_nothing_is_made() {
    let new = Options::new;
    for (options, wrong) in [
        (new().segment_bytes(0), "segment_bytes"),
        (new().segment_bytes((64 << 10) - 1), "segment_bytes"),
        (new().segment_bytes((16 << 30) + 1), "segment_bytes"),
        (new().segment_bytes(u64::MAX), "segment_bytes"),
        (new().max_batch_bytes(0), "max_batch_bytes"),
        (new().max_batch_bytes((1 << 30) + 1), "max_batch_bytes"),
        (new().max_event_bytes(0), "max_event_bytes"),
        (new().max_event_bytes((64 << 20) + 1), "max_event_bytes"),
        (new().max_batch_bytes(1 << 20), "max_event_bytes"),
        (new().zero_ahead(u64::MAX), "zero_ahead"),
    ] {
        let dir = tempfile::tempdir().unwrap();
        let place = dir.path().join("store");
        for refused in [EventStore::open(&place, &options), EventStore::in_memory(&options)] {
            match refused {
                Err(OpenError::InvalidOptions { what, value, least, most }) => {
                    assert_eq!(what, wrong);
                    assert!(value < least || value > most);
                }
                other => panic!("{options:?}: {other:?}"),
            }
        }
        assert_eq!(files_of(dir.path()), []);
    }
    let least = new().segment_bytes(64 << 10).max_event_bytes(1).max_batch_bytes(1).zero_ahead(0);
    EventStore::in_memory(&least).unwrap();
}

#[test]
fn a_file_in_the_place_of_the_directory_is_named_and_left_alone() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("notes.txt");
    std::fs::write(&file, "mine").unwrap();
    for refused in [
        EventStore::open(&file, &quiet()),
        EventStore::open(&file, &quiet().create(false)),
        EventStore::open_read_only(&file),
        EventStore::open(file.join("below"), &quiet()),
    ] {
        let error = refused.unwrap_err();
        let OpenError::Io { path, source, .. } = &error else { panic!("{error:?}") };
        assert!(path.contains("notes.txt"), "{path}");
        assert_eq!(source.kind(), std::io::ErrorKind::NotADirectory, "{error}: {source}");
    }
    assert!(inspect::verify(&file, |_, _| ()).is_err());
    assert_eq!(std::fs::read(&file).unwrap(), b"mine");
    assert_eq!(files_of(dir.path()).len(), 1);
}

#[test]
fn a_store_that_is_not_there_is_not_found_and_not_made() {
    let dir = tempfile::tempdir().unwrap();
    let empty = dir.path().join("empty");
    std::fs::create_dir(&empty).unwrap();
    let foreign = dir.path().join("foreign");
    std::fs::create_dir_all(foreign.join("src")).unwrap();
    std::fs::write(foreign.join("README"), "hello").unwrap();
    let before = files_of(dir.path());
    for place in [dir.path().join("missing"), dir.path().join("also/missing"), empty, foreign] {
        for refused in [EventStore::open_read_only(&place), EventStore::open(&place, &quiet().create(false))] {
            let error = refused.unwrap_err();
            assert!(matches!(&error, OpenError::NotFound { path } if path.starts_with(&place)), "{error:?}");
            assert!(error.to_string().contains(&*place.to_string_lossy()), "{error}");
        }
        let error = inspect::verify(&place, |_, _| ()).unwrap_err();
        assert!(matches!(error, OpenError::NotFound { .. }), "{error:?}");
    }
    assert!(files_of(dir.path()) == before);
    let disk = SimDisk::new(1);
    assert!(matches!(EventStore::open_read_only_on(Arc::new(disk.clone())), Err(OpenError::NotFound { .. })));
    assert_eq!(disk.operations(), 0);
}

#[test]
fn a_store_that_is_there_opens_without_being_allowed_to_make_one() {
    on_every_kind(|place| {
        place.open(&quiet()).append("a", Any, event("A")).unwrap();
        assert_eq!(place.open(&quiet().create(false)).head(), pos(1));
    });
}

#[test]
fn directories_above_the_store_are_made() {
    let dir = tempfile::tempdir().unwrap();
    let deep = dir.path().join("a/b/c");
    EventStore::open(&deep, &quiet()).unwrap().append("a", Any, event("A")).unwrap();
    assert_eq!(EventStore::open_read_only(&deep).unwrap().head(), pos(1));
}

/// A store with a few segments, closed.
fn some_store(dir: &Path) {
    let store = EventStore::open(dir, &quiet()).unwrap();
    for number in 0..6_u64 {
        store.append("a", Any, NewEvent::new("Large", vec![number as u8; 30_000])).unwrap();
    }
    assert!(store.stats().segments.len() > 2);
    store.close().unwrap();
}

#[test]
fn foreign_files_are_left_alone_and_temporary_ones_removed_and_told() {
    let dir = tempfile::tempdir().unwrap();
    some_store(dir.path());
    let foreign = ["notes.txt", "seg/notes.txt", "seg/7-12.seg", "seg/backup.seg.old", "quarantine", "seg/ü.seg"];
    for name in foreign {
        std::fs::write(dir.path().join(name), "mine").unwrap();
    }
    std::fs::create_dir(dir.path().join("seg/directory")).unwrap();
    {
        use std::os::unix::ffi::OsStrExt;
        let name = std::ffi::OsStr::from_bytes(b"seg/\xFF\xFE.seg");
        std::fs::write(dir.path().join(name), "mine").unwrap();
    }
    std::fs::remove_file(dir.path().join("quarantine")).unwrap();
    let before = files_of(dir.path());
    std::fs::write(dir.path().join("seg/00000000000000000009.seg.tmp"), "half").unwrap();
    std::fs::write(dir.path().join("store.meta.tmp"), "half").unwrap();

    let reader = EventStore::open_read_only(dir.path()).unwrap();
    assert_eq!(reader.read_all(Position::START).count(), 6);
    assert!(dir.path().join("store.meta.tmp").exists(), "a reader removes nothing");
    let store = EventStore::open(dir.path(), &quiet()).unwrap();
    let mut removed = store.recovery_report().removed_temporaries.clone();
    removed.sort();
    assert_eq!(removed, ["seg/00000000000000000009.seg.tmp", "store.meta.tmp"]);
    assert_eq!(store.read_all(Position::START).count(), 6);
    store.close().unwrap();
    assert!(files_of(dir.path()) == before);
}

/// Opens a store in every way, and returns the error of opening it for writing.
fn check_refused(dir: &Path, what: &str) -> OpenError {
    let files = || files_of(dir).into_iter().filter(|(path, _)| !path.ends_with("LOCK")).collect::<Vec<_>>();
    let before = files();
    let error = EventStore::open(dir, &quiet()).expect_err(what);
    // To read is allowed to work, but not to panic, nor to answer less without saying so.
    if let Ok(reader) = EventStore::open_read_only(dir) {
        let read = reader.read_all(Position::START).skip_damaged().collect::<Vec<_>>();
        let told = !reader.recovery_report().gaps.is_empty() || read.iter().any(Result::is_err);
        assert!(told || read.len() == 6, "{what}: {} events as if that were all", read.len());
        let _ = reader.read_stream("a", StreamVersion::EMPTY).unwrap().skip_damaged().count();
    }
    let _ = inspect::verify(dir, |_, _| ());
    assert!(files() == before, "{what}: something was changed");
    error
}

#[test]
fn garbage_in_store_meta_is_refused_and_nothing_is_changed() {
    let mut rng = Rng::new(5);
    let random: Vec<u8> = (0..8192).map(|_| rng.next() as u8).collect();
    for (what, garbage) in [
        ("empty", Vec::new()),
        ("zeros", vec![0; 8192]),
        ("random", random),
        ("text", b"not a store\n".repeat(1000)),
        ("one byte", vec![0x89]),
    ] {
        let dir = tempfile::tempdir().unwrap();
        some_store(dir.path());
        std::fs::write(dir.path().join("store.meta"), garbage).unwrap();
        let error = check_refused(dir.path(), what);
        assert!(matches!(&error, OpenError::Inconsistent { problem } if problem.contains("store.meta")), "{error:?}");
    }
}

#[test]
fn store_meta_of_a_later_version_says_that_a_later_version_is_needed() {
    let dir = tempfile::tempdir().unwrap();
    some_store(dir.path());
    let path = dir.path().join("store.meta");
    let mut bytes = std::fs::read(&path).unwrap();
    for slot in [0, 4096] {
        if bytes[slot] == 0 {
            continue; // Not written yet.
        }
        bytes[slot + 8] = 2; // major
        let crc = crc32fast::hash(&bytes[slot..slot + 508]);
        bytes[slot + 508..slot + 512].copy_from_slice(&crc.to_le_bytes());
    }
    std::fs::write(&path, bytes).unwrap();
    let error = check_refused(dir.path(), "later");
    assert!(matches!(error, OpenError::Newer { .. }), "{error:?}");
    assert!(error.to_string().contains('2'), "which version it is: {error}");
}

#[test]
fn a_directory_in_the_place_of_a_file_is_an_error_that_names_it() {
    for name in ["store.meta", "WATERMARK", "LOCK", "seg/00000000000000000000-00000000000000000000.seg"] {
        let dir = tempfile::tempdir().unwrap();
        some_store(dir.path());
        std::fs::remove_file(dir.path().join(name)).unwrap();
        std::fs::create_dir(dir.path().join(name)).unwrap();
        let error = EventStore::open(dir.path(), &quiet()).unwrap_err();
        let OpenError::Io { path, .. } = &error else { panic!("{name}: {error:?}") };
        assert!(path.contains(name) || name == "LOCK", "{name}: {path}");
        let _ = EventStore::open_read_only(dir.path());
        let _ = inspect::verify(dir.path(), |_, _| ());
    }
}

#[test]
fn random_bytes_in_any_file_are_an_error_or_told_and_never_a_panic() {
    for seed in 0..60 {
        let mut rng = Rng::new(seed);
        let dir = tempfile::tempdir().unwrap();
        some_store(dir.path());
        let files: Vec<_> =
            files_of(dir.path()).into_iter().filter(|(path, bytes)| path.is_file() && bytes.len() > 100).collect();
        let (path, mut bytes) = files[rng.below(files.len() as u64) as usize].clone();
        let from = rng.below(bytes.len() as u64) as usize;
        match rng.below(3) {
            0 => bytes[from..].iter_mut().for_each(|byte| *byte = rng.next() as u8),
            1 => bytes.truncate(from),
            _ => bytes.iter_mut().skip(from).take(300).for_each(|byte| *byte = 0xFF),
        }
        std::fs::write(&path, bytes).unwrap();
        match EventStore::open(dir.path(), &quiet()) {
            // A watermark or a slot of store.meta is not needed, and padding may be overwritten by itself.
            // So may an index. An event of a sealed segment is damaged when it is read.
            Ok(store) => {
                let name = path.file_name().unwrap().to_string_lossy().into_owned();
                let read: Vec<_> = store.read_all(Position::START).skip_damaged().collect();
                assert!(
                    matches!(&*name, "WATERMARK" | "store.meta")
                        || path.extension().is_some_and(|extension| extension == "idx")
                        || read.iter().any(Result::is_err),
                    "seed {seed}: {name} was damaged, and nobody says so"
                );
                assert!(read.iter().any(Result::is_err) || read.len() == 6, "seed {seed}");
                assert_eq!(store.stream_version("a").unwrap().get(), 6, "seed {seed}");
            }
            Err(_) => drop(check_refused(dir.path(), &format!("seed {seed}"))),
        }
    }
}

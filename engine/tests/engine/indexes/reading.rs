//! What is read of a sealed segment, and when.

use super::*;

/// Which bytes were asked of which file.
fn reads_of(asked: &[Asked], start: &str) -> u64 {
    let len = |asked: &Asked| match asked {
        Asked::Read(path, range) if path.starts_with(start) => range.end - range.start,
        _ => 0,
    };
    asked.iter().map(len).sum()
}

/// A store of three sealed segments with so many events, and what was asked while it was
/// opened, while an unknown and a known stream were appended to, and while one was read.
fn asked_of(events: u64) -> [Vec<Asked>; 4] {
    let disk = SimDisk::new(5);
    let store = open(&disk).unwrap();
    for segment in 0..=3_u64 {
        let new = (0..events).map(|number| (format!("s-{}", number % 5), event("Small")));
        let batch = new.fold(store.batch(), |batch, (stream, new)| batch.event(stream, new));
        batch.event(format!("in-{segment}"), event("Alone")).commit().unwrap();
        if segment < 3 {
            seal_early(&disk, &store);
        }
    }
    drop(store);
    let watched = Watched::new(disk);
    let store = watched.open(&options());
    let opened = watched.asked();
    store.append("s-new", ExpectedVersion::NoStream, event("New")).unwrap();
    let unknown = watched.asked();
    store.append("in-1", Exact(ver(1)), event("New")).unwrap();
    let known = watched.asked();
    assert_eq!(store.stream_version("in-never").unwrap(), StreamVersion::EMPTY);
    assert_eq!(positions(store.read_stream("in-2", StreamVersion::EMPTY).unwrap()), [(events + 1) * 3]);
    let read = watched.asked();
    [opened, unknown, known, read]
}

#[test]
fn opening_and_looking_up_read_no_event_of_a_sealed_segment() {
    let (few, many) = (asked_of(10), asked_of(500));
    for [opened, unknown, known, read] in [&few, &many] {
        for (what, asked) in [("opening", opened), ("a new stream", unknown), ("a known stream", known)] {
            for asked in asked {
                let Asked::Read(path, range) = asked else { continue };
                let is_sealed = (0..3).any(|number| path.starts_with(&format!("seg/{number:020}")));
                assert!(!is_sealed || what == "opening", "{what} reads {range:?} of {path}");
                let is_short = range.end - range.start <= 104;
                assert!(!is_sealed || *range == (0..HEADER) || is_short, "{what} reads {range:?} of {path}");
            }
        }
        assert_eq!(reads_of(opened, "idx"), 0);
        assert!(reads_of(read, "seg") <= 4096, "one event: {read:?}");
    }
    let sealed = |asked: &[Asked]| (0..3).map(|number| reads_of(asked, &format!("seg/{number:020}"))).sum::<u64>();
    assert_eq!(sealed(&few[0]), sealed(&many[0]), "opening reads as much of many events as of few");
}

#[test]
fn what_a_sealed_segment_holds_is_looked_at_when_it_is_wanted_and_not_before() {
    on_every_kind(|place| {
        let store = place.open(&quiet());
        for number in 0..10 {
            store.append(format!("s-{number}"), Any, NewEvent::new("Large", vec![7; 20_000])).unwrap();
        }
        let segments = store.stats().segments;
        assert!(segments.len() >= 4);
        drop(store);
        // Every frame before the seal, and the dense index behind it.
        let spoil = |bytes: &mut Vec<u8>| {
            let len = bytes.len();
            bytes[HEADER as usize..len - 200].fill(0xEE);
        };
        for segment in segments.iter().filter(|segment| segment.sealed) {
            match place {
                Place::Simulated(disk) => {
                    let mut bytes = disk.read_file(&segment.path).unwrap();
                    spoil(&mut bytes);
                    disk.write_file(&segment.path, &bytes);
                }
                Place::Mapped(dir) | Place::Pread(dir) => {
                    let path = dir.path().join(&segment.path);
                    let mut bytes = std::fs::read(&path).unwrap();
                    spoil(&mut bytes);
                    std::fs::write(path, bytes).unwrap();
                }
            }
        }
        let store = place.open(&quiet());
        assert_eq!(store.stream_count().unwrap(), 10);
        assert_eq!(store.append("s-0", Exact(ver(1)), event("More")).unwrap().version, ver(2));
        assert_eq!(store.append("s-new", ExpectedVersion::NoStream, event("New")).unwrap().version, ver(1));
        let read = |stream: &str| store.read_stream(stream, StreamVersion::EMPTY).unwrap().collect::<Vec<_>>();
        assert!(matches!(&read("s-1")[..], [Err(ReadError::Corrupt(_))]));
        assert_eq!(read("s-new").len(), 1);
    });
}

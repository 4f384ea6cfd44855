//! Where events are, when the dense index cannot be trusted.

use super::*;

/// Where the dense index of a sealed segment begins, and how many bytes its entries take.
fn dense_of(file: &[u8]) -> (u64, u64) {
    let trailer = &file[file.len() - 40..];
    let at = u64::from_le_bytes(trailer[16..24].try_into().unwrap());
    let events = u32::from_le_bytes(trailer[24..28].try_into().unwrap());
    (at, u64::from(events) * 4)
}

#[test]
fn with_a_damaged_dense_index_every_event_is_found_by_reading_and_verify_says_so() {
    let disk = log(3);
    let expected = answers(&open(&disk.fork()).unwrap());
    let path = segment_path(&disk, 1);
    let (at, len) = dense_of(&disk.read_file(&path).unwrap());
    for bit in (at * 8..(at + len) * 8).step_by(3) {
        let disk = disk.fork();
        disk.flip(&path, bit);
        check_disk(&disk, &expected, &format!("bit {bit}"));
        let store = open(&disk).unwrap();
        assert!(positions(store.read_all(Position::END).backward()).into_iter().rev().eq(1..=24));
        let found = |position| store.get(pos(position)).unwrap().unwrap().position();
        assert!((1..=24).rev().all(|position| found(position) == pos(position)), "bit {bit}");
        if bit % 2 == 0 {
            let report = inspect::verify_on(&disk, |_, _| ()).unwrap();
            assert!(!report.is_clean(), "bit {bit}: verify has found nothing");
        }
    }
}

#[test]
fn mapped_or_not_positions_are_found_without_the_dense_index() {
    on_every_kind(|place| {
        let store = place.open(&quiet());
        roll(&store, 4);
        let expected = answers(&store);
        let path = store.stats().segments[1].path.clone();
        drop(store);
        let flip = |bytes: &mut Vec<u8>| {
            let (at, _) = dense_of(bytes);
            bytes[at as usize + 1] ^= 0x10;
        };
        match place {
            Place::Simulated(disk) => {
                let mut bytes = disk.read_file(&path).unwrap();
                flip(&mut bytes);
                disk.write_file(&path, &bytes);
            }
            Place::Mapped(dir) | Place::Pread(dir) => {
                let mut bytes = std::fs::read(dir.path().join(&path)).unwrap();
                flip(&mut bytes);
                std::fs::write(dir.path().join(&path), bytes).unwrap();
            }
        }
        check_same(&answers(&place.open(&quiet())), &expected, "without the dense index");
        check_same(&answers(&place.open(&quiet())), &expected, "again");
        assert_eq!(positions(place.open(&quiet()).read_all(Position::END).backward()), [4, 3, 2, 1]);
    });
}

#[test]
fn a_conflict_says_no_position_that_nothing_vouches_for() {
    // The event's own frame is damaged, and the dense index too.
    let disk = log(2);
    let store = open(&disk.fork()).unwrap();
    let position = store.stream_info("in-1").unwrap().unwrap().last_position;
    drop(store);
    let path = segment_path(&disk, 1);
    let file = disk.read_file(&path).unwrap();
    let at = file.windows(6).rposition(|bytes| bytes == b"told 1").unwrap();
    for (both, flips) in [(false, vec![at as u64]), (true, vec![at as u64, dense_of(&file).0])] {
        let disk = disk.fork();
        for byte in flips {
            disk.flip(&path, byte * 8);
        }
        let refused = open(&disk).unwrap().append("in-1", ExpectedVersion::NoStream, event("Never")).unwrap_err();
        match refused {
            AppendError::ConcurrencyConflict { last_position, .. } => {
                assert_eq!((last_position, both), (position, false));
            }
            AppendError::Unreadable { .. } => assert!(both),
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn events_behind_a_damaged_one_are_found_without_the_dense_index_too() {
    let disk = log(2);
    let path = segment_path(&disk, 1);
    let file = disk.read_file(&path).unwrap();
    let at = file.windows(7).position(|bytes| bytes == b"told 11").unwrap() as u64;
    disk.flip(&path, at * 8);
    disk.flip(&path, dense_of(&file).0 * 8);
    let store = open(&disk).unwrap();
    let expected: Vec<_> = (1..=18).filter(|position| *position != 8).collect();
    let given = |reader: annals::Reader| {
        reader.skip_damaged().flatten().map(|event| event.position().get()).collect::<Vec<_>>()
    };
    assert_eq!(given(store.read_all(Position::START)), expected);
    assert!(given(store.read_all(Position::END).backward()).iter().rev().eq(&expected));
    assert_eq!(store.get(pos(9)).unwrap().unwrap().position(), pos(9));
    assert!(store.get(pos(8)).is_err());
}

//! Filters over many segments.

use super::*;

const MANY: u64 = 272;

/// 272 sealed segments: 17 filters over 16 of them, and one over 256.
fn large_log() -> SimDisk {
    let disk = SimDisk::new(5);
    let store = open(&disk).unwrap();
    for segment in 0..=MANY {
        let batch = store.batch().event(format!("in-{segment}"), event("Alone"));
        let batch = if segment == 3 { batch.tracking("bank", 3) } else { batch };
        batch.event("everywhere", event("Again")).durability(Durability::Buffered).commit().unwrap();
        if segment < MANY {
            seal_early(&disk, &store);
        }
    }
    drop(store);
    let filters: Vec<_> = indexes_of(&disk).into_iter().filter(|path| is_filter(path)).collect();
    let wanted: Vec<_> = (0..17).map(|group| filter(1, group)).chain([filter(2, 0)]).collect();
    assert_eq!(filters, wanted);
    disk
}

const LOOKED_UP: [u64; 11] = [0, 1, 15, 16, 17, 128, 255, 256, 270, 271, 272];

#[track_caller]
fn check_large(disk: &SimDisk, case: &str) {
    let store = open(disk).unwrap();
    for segment in LOOKED_UP {
        let version = store.stream_version(format!("in-{segment}")).unwrap();
        assert_eq!(version, ver(1), "{case}: in-{segment}");
    }
    for number in 0..20 {
        assert_eq!(store.stream_version(format!("absent-{number}")).unwrap(), ver(0), "{case}: absent-{number}");
    }
    let conflict = store.append("in-16", ExpectedVersion::NoStream, event("Never")).unwrap_err();
    let AppendError::ConcurrencyConflict { actual, last_position, .. } = conflict else { panic!("{conflict:?}") };
    assert_eq!((actual, last_position), (ver(1), pos(2 * 16 + 1)), "{case}");
    assert_eq!(store.tracking("bank").unwrap(), Some(3), "{case}");
    assert_eq!(store.tracking("shop").unwrap(), None, "{case}");
    assert_eq!(store.stream_version("everywhere").unwrap(), ver(MANY + 1), "{case}");
    let info = store.stream_info("in-255").unwrap().unwrap();
    assert_eq!((info.version, info.last_position), (ver(1), pos(2 * 255 + 1)), "{case}");
}

#[test]
fn filters_over_many_segments_hide_nothing_whatever_becomes_of_them() {
    let disk = large_log();
    check_large(&disk.fork(), "whole");
    let filters: Vec<_> = indexes_of(&disk).into_iter().filter(|path| is_filter(path)).collect();
    let with = |case: &str, change: &dyn Fn(&SimDisk, &str)| {
        let disk = disk.fork();
        for path in &filters {
            change(&disk, path);
        }
        check_large(&disk, case);
    };
    with("all removed", &|disk, path| disk.remove_file(path));
    with("some removed", &|disk, path| {
        if path.contains("6.flt") || path.contains("2-") {
            disk.remove_file(path);
        }
    });
    let of_level_1 = |path: &str| path.contains("/1-");
    with("of other segments", &|disk, path| {
        let other = if path.ends_with("00.flt") { filter(1, 10) } else { filter(1, 0) };
        disk.write_file(path, &disk.read_file(&other).unwrap());
    });
    with("of the other level", &|disk, path| {
        let other = if of_level_1(path) { filter(2, 0) } else { filter(1, 0) };
        disk.write_file(path, &disk.read_file(&other).unwrap());
    });
    with("all zeros behind the header", &|disk, path| {
        let mut bytes = disk.read_file(path).unwrap();
        bytes[72..].fill(0);
        disk.write_file(path, &bytes);
    });
    with("cut", &|disk, path| {
        let bytes = disk.read_file(path).unwrap();
        disk.write_file(path, &bytes[..bytes.len() - 32]);
    });
    for round in 0..12 {
        // Each time somewhere else, and always a bit that says that something is there.
        with("a bit flipped", &|disk, path| {
            let mut bytes = disk.read_file(path).unwrap();
            let start = if round % 3 == 0 { 0 } else { 72 };
            let set: Vec<_> = (start * 8..bytes.len() * 8).filter(|bit| bytes[bit / 8] >> (bit % 8) & 1 == 1).collect();
            let bit = set[set.len() * round / 12];
            bytes[bit / 8] ^= 1 << (bit % 8);
            disk.write_file(path, &bytes);
        });
    }
}

#[test]
fn a_stream_that_is_nowhere_is_looked_up_in_few_of_many_segments() {
    let watched = Watched::new(large_log());
    let store = watched.open(&options());
    let looked_into = |stream: &str| {
        watched.asked();
        store.stream_version(stream).unwrap();
        let opened = |asked: &Asked| matches!(asked, Asked::Open(path) if is_index(path));
        watched.asked().into_iter().filter(opened).count()
    };
    // What is opened stays open: so the first ones pay for the others.
    assert!(looked_into("absent-1") <= 2);
    assert!((0..20).map(|number| looked_into(&format!("absent-{number}"))).sum::<usize>() <= 16);
    let first = looked_into("in-0");
    assert!((1..=40).contains(&first), "its filter and those of its fifteen neighbours: {first}");
}

#[test]
fn a_filter_that_is_spoilt_is_made_anew_beside_the_next_writer() {
    let disk = log(17);
    let path = filter(1, 0);
    let good = disk.read_file(&path).unwrap();
    for (what, bytes) in spoilt(&good, &[]).iter().step_by(3) {
        let disk = disk.fork();
        disk.write_file(&path, bytes);
        let store = EventStore::open_on(std::sync::Arc::new(disk.clone()), &options().background(true)).unwrap();
        wait_until(what, || disk.read_file(&path).unwrap() == good);
        drop(store);
    }
}

#[test]
fn stopped_or_failed_anywhere_while_a_filter_is_made_a_store_loses_nothing_and_makes_the_same_files() {
    let disk = SimDisk::new(5);
    let store = open(&disk).unwrap();
    let mut model = Model::default();
    for number in 1..=16 {
        let batch = Batch { tracking: Some(("bank", number)), ..Batch::new(number, &[("a", 30), ("b", 10)]) };
        commit(&store, &batch).unwrap();
        model.acknowledged(&batch).unwrap();
        if number < 16 {
            seal_early(&disk, &store);
        }
    }
    drop(store);
    let last = Batch::new(17, &[("c", 61_000)]);
    let whole = disk.fork();
    commit(&open(&whole).unwrap(), &last).unwrap();
    let mut after = model.clone();
    after.acknowledged(&last).unwrap();
    assert!(whole.file_len(&filter(1, 0)).is_some());
    let good: Vec<_> = snapshot(&whole).into_iter().filter(|(path, _)| is_index(path)).collect();
    let check = |disk: &SimDisk, least: usize, case: &str| {
        let store = open(disk).unwrap_or_else(|error| panic!("{case}: {error:?}"));
        let shown = oracle::check(&store, &after, least);
        drop(store);
        // A power loss may take a part of a file that was never synced, and nobody asks for that part here.
        let is_random = case.contains("Random");
        let paths = good.iter().filter(|(path, _)| !is_random && (shown == 17 || *path != index(15)));
        for (path, bytes) in paths {
            assert!(disk.read_file(path).as_ref() == Some(bytes), "{case}: {path}");
        }
        let before = snapshot(disk);
        let store = open(disk).unwrap();
        assert_eq!(oracle::check(&store, &after, shown), shown, "{case}, again");
        drop(store);
        assert!(snapshot(disk) == before, "{case}: opening twice changes nothing");
        assert!(!before.iter().any(|(path, _)| is_temporary(path)), "{case}");
    };
    let (from, to) = (disk.operations(), whole.operations());
    assert!(to - from > 12, "{from}..{to}");
    for stop in from..to {
        let disk = disk.fork();
        disk.stop_at(stop);
        let acknowledged = open(&disk).is_ok_and(|store| commit(&store, &last).is_ok());
        let least = 16 + usize::from(acknowledged);
        check(&disk.after_kill(), least, &format!("stopped at {stop}, kill"));
        for loss in [PowerLoss::KeepLeast, PowerLoss::KeepMost, PowerLoss::Random] {
            check(&disk.after_power_loss(loss, stop), least, &format!("stopped at {stop}, {loss:?}"));
        }
    }
}

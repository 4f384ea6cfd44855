//! R16, R19 and R20: recovery again, reads that verify, and the report.

use super::*;

#[test]
fn r16_a_recovery_killed_at_any_operation_comes_to_the_same_when_it_is_run_again() {
    let (sealed, model) = sealed_without_successor();
    let (torn, torn_model) = four_batches();
    let end = open(&torn).unwrap().stats().bytes;
    overwrite(&torn, &segment_path(&torn, 0), end, &[5; 9_000]);
    for (disk, model) in [(sealed, model), (torn, torn_model)] {
        let whole = disk.fork();
        let store = open(&whole).unwrap();
        // Makes the indexes that are missing, which is a part of it.
        store.stream_count().unwrap();
        let operations = whole.operations();
        drop(store);
        let store = check_holds(&whole, &model);
        let files = |disk: &SimDisk| -> Vec<(String, usize)> {
            snapshot(disk).into_iter().map(|(path, bytes)| (path, bytes.len())).collect()
        };
        let expected = files(&whole);
        drop(store);
        for stop in 0..operations {
            for seed in 0..8 {
                let disk = disk.fork();
                disk.stop_at(stop);
                // An error of the watermark is no error of the store.
                let opened = open(&disk).map(|store| store.stream_count());
                assert!(opened.is_err() || disk.is_stopped());
                let left = match seed {
                    0 => disk.after_kill(),
                    1 => disk.after_power_loss(PowerLoss::KeepLeast, 0),
                    _ => disk.after_power_loss(PowerLoss::Random, seed),
                };
                let store = check_holds(&left, &model);
                assert_eq!(files(&left), expected, "stopped at {stop}, seed {seed}");
                commit(&store, &batch(77, &[("a", 1)])).unwrap();
            }
        }
    }
}

// R19: reads verify and never skip.

#[test]
fn r19_an_event_that_goes_bad_after_open_is_an_error_and_is_not_skipped() {
    let (disk, _) = four_batches();
    let store = open(&disk).unwrap();
    disk.flip(&segment_path(&disk, 0), offset_of(&disk, 0, 2, 1) * 8);
    assert_eq!(read_over_damage(&store), (vec![1, 2, 4, 5], vec![(3, 3)]));
    assert!(matches!(store.get(Position::new(3)), Err(ReadError::Corrupt(_))));
    assert!(store.get(Position::new(2)).unwrap().is_some());
    let a: Vec<_> = store.read_stream("a", StreamVersion::EMPTY).unwrap().skip_damaged().collect();
    let shape: Vec<_> = a.iter().map(|event| event.as_ref().map_or(0, |event| event.version().get())).collect();
    assert_eq!(shape, [1, 0, 3]);
}

#[test]
fn r19_a_mapped_event_is_verified_at_its_first_touch() {
    let dir = tempfile::tempdir().unwrap();
    let store = EventStore::open(dir.path(), &options()).unwrap();
    for number in 1..=4 {
        commit(&store, &batch(number, &[("a", 100)])).unwrap();
    }
    let path = dir.path().join("seg/00000000000000000000-00000000000000000000.seg");
    let mut bytes = std::fs::read(&path).unwrap();
    let at = bytes.windows(8).position(|window| window == b"batch 3 ").unwrap();
    bytes[at] ^= 1;
    std::fs::write(&path, &bytes).unwrap();
    assert_eq!(read_over_damage(&store), (vec![1, 2, 4], vec![(3, 3)]));
}

// R20: the report.

#[test]
fn r20_the_report_says_what_was_found_and_done() {
    let disk = SimDisk::new(1);
    let store = open(&disk).unwrap();
    assert!(store.recovery_report().created);
    commit(&store, &batch(1, &[("a", 10), ("a", 10)])).unwrap();
    drop(store);
    let store = open(&disk).unwrap();
    let report = store.recovery_report();
    assert!(report.is_clean() && !report.created);
    assert_eq!((report.head, report.epoch.get()), (Position::new(2), 1));
    let end = store.stats().bytes;
    drop(store);
    overwrite(&disk, &segment_path(&disk, 0), end, &[8; 40]);
    let verdict = inspect::verify_on(&disk, |_, _| ()).unwrap();
    assert!(verdict.is_clean());
    let store = open(&disk).unwrap();
    let torn = store.recovery_report().torn.clone().unwrap();
    assert!(!store.recovery_report().is_clean());
    assert_eq!((torn.segment.get(), torn.offset, torn.bytes), (0, end, verdict.unfinished_bytes));
    assert!(!torn.fault.is_empty());
}

#[test]
fn r20_a_missing_watermark_is_noted_and_made_again() {
    let (disk, model) = four_batches();
    disk.remove_file("WATERMARK");
    let store = check_holds(&disk, &model);
    assert!(store.recovery_report().notes[0].contains("WATERMARK was missing"));
    drop(store);
    assert!(check_holds(&disk, &model).recovery_report().is_clean());
}

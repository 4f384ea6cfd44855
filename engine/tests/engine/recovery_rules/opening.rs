//! R1 and R2: who may open, and the row of files.

use super::*;

#[test]
fn r01_a_second_writer_is_refused_and_changes_nothing() {
    let (disk, model) = store_with(&[batch(1, &[("a", 10)])]);
    let first = open(&disk).unwrap();
    let before = disk.operations();
    assert!(matches!(open(&disk), Err(OpenError::AlreadyOpen { pid: Some(_) })));
    assert_eq!(disk.operations(), before);
    oracle::check(&first, &model, 1);
}

#[test]
fn r01_a_reader_takes_no_lock_and_changes_nothing_whatever_a_crash_has_left() {
    let (disk, _) = store_with(&[batch(1, &[("a", 10)])]);
    disk.write_file("seg/00000000000000000009.seg.tmp", b"garbage");
    let store = open(&disk.fork()).unwrap();
    drop(store);
    overwrite(&disk, &segment_path(&disk, 0), HEADER + 8_000, b"torn");
    let before = snapshot(&disk);
    let reader = open_read_only(&disk).unwrap();
    assert_eq!(reader.read_all(Position::START).count(), 1);
    assert!(matches!(reader.append("a", ExpectedVersion::Any, NewEvent::new("X", "")), Err(AppendError::ReadOnly)));
    assert!(matches!(reader.flush(), Err(AppendError::ReadOnly)));
    assert_eq!(disk.operations(), 0);
    assert!(snapshot(&disk) == before);
    drop(open(&disk).expect("no lock was taken"));
}

#[test]
fn r01_a_reader_is_shown_what_is_durable_and_nothing_else() {
    let disk = SimDisk::new(1);
    let store = open(&disk).unwrap();
    commit(&store, &batch(1, &[("a", 10)])).unwrap();
    commit(&store, &buffered(2, &[("a", 10)])).unwrap();
    let reader = open_read_only(&disk).unwrap();
    assert_eq!(reader.head(), Position::new(1));
    assert_eq!(reader.read_all(Position::START).count(), 1);
    store.flush().unwrap();
    assert_eq!(reader.read_all(Position::START).count(), 2, "followed");
    assert_eq!(open_read_only(&disk).unwrap().head(), Position::new(2));
}

#[test]
fn r01_a_commit_marker_shows_a_reader_what_is_durable_when_the_watermark_is_lost() {
    let (disk, _) = store_with(&[batch(1, &[("a", 10)]), batch(2, &[("a", 10)]), batch(3, &[("a", 10)])]);
    disk.write_file("WATERMARK", &[0; 1024]);
    // The third batch says that the first two were durable; nobody says so of the third.
    assert_eq!(open_read_only(&disk).unwrap().head(), Position::new(2));
}

// R2: the row of files.

#[test]
fn r02_temporaries_are_removed_and_told() {
    let (disk, model) = store_with(&[batch(1, &[("a", 10)])]);
    for path in ["store.meta.tmp", "seg/00000000000000000001.seg.tmp", "quarantine/x.bin.tmp"] {
        disk.write_file(path, b"garbage");
    }
    let store = check_holds(&disk, &model);
    assert_eq!(store.recovery_report().removed_temporaries.len(), 3);
    assert!(!disk.paths().iter().any(|path| path.contains(".tmp")));
}

#[test]
fn r02_a_missing_segment_is_refused_and_named_wherever_it_was() {
    for number in 0..3 {
        let (disk, _) = three_segments();
        disk.remove_file(&segment_path(&disk, number));
        let message = refused(&disk);
        assert!(message.contains(&format!("segment {number} is missing")), "{message}");
    }
}

#[test]
fn r02_a_segment_that_is_there_twice_is_refused() {
    let (disk, _) = three_segments();
    let bytes = disk.read_file(&segment_path(&disk, 1)).unwrap();
    disk.write_file(&format!("seg/{:020}-{:020}.seg", 1, 7), &bytes);
    assert!(refused(&disk).contains("twice"));
}

#[test]
fn r02_a_segment_under_another_name_is_refused() {
    let (disk, _) = store_with(&[batch(1, &[("a", 10)])]);
    let path = segment_path(&disk, 0);
    let bytes = disk.read_file(&path).unwrap();
    disk.remove_file(&path);
    disk.write_file(&format!("seg/{:020}-{:020}.seg", 0, 5), &bytes);
    assert!(refused(&disk).contains("says of itself"));
}

#[test]
fn r02_a_segment_of_another_log_is_refused() {
    let (disk, _) = three_segments();
    let other = SimDisk::new(99);
    let store = open(&other).unwrap();
    for (number, stream) in [(1, "a"), (2, "b"), (3, "a")] {
        commit(&store, &batch(number, &[(stream, 40_000)])).unwrap();
    }
    drop(store);
    for number in 0..3 {
        let disk = disk.fork();
        let path = segment_path(&disk, number);
        disk.write_file(&path, &other.read_file(&path).unwrap());
        let message = refused(&disk);
        assert!(message.contains("belongs to log"), "{message}");
    }
}

#[test]
fn r02_a_segment_that_does_not_continue_the_one_before_is_refused() {
    // The same store with another history behind the first batch: headers alone look right.
    let (disk, _) = store_with(&[batch(1, &[("a", 10)])]);
    let histories = [2, 3].map(|number| {
        let disk = disk.fork();
        let store = open(&disk).unwrap();
        commit(&store, &batch(number, &[("b", 50_000)])).unwrap();
        commit(&store, &batch(4, &[("a", 50_000)])).unwrap();
        drop(store);
        disk
    });
    let path = segment_path(&histories[0], 1);
    histories[0].write_file(&path, &histories[1].read_file(&path).unwrap());
    let message = refused(&histories[0]);
    assert!(message.contains("does not continue"), "{message}");
}

#[test]
fn r02_a_sealed_segment_that_was_not_trimmed_is_trimmed_again() {
    let (disk, model) = three_segments();
    let path = segment_path(&disk, 0);
    let whole = disk.read_file(&path).unwrap();
    overwrite(&disk, &path, whole.len() as u64, &[0; 10_000]);
    drop(check_holds(&disk, &model));
    assert!(disk.read_file_on_disk(&path).unwrap() == whole, "durably");

    overwrite(&disk, &path, whole.len() as u64, b"not zeros");
    refused(&disk);
}

#[test]
fn r02_segments_without_store_meta_are_refused() {
    let (disk, _) = store_with(&[batch(1, &[("a", 10)])]);
    disk.remove_file("store.meta");
    assert!(refused(&disk).contains("store.meta is missing"));
}

#[test]
fn r02_store_meta_without_segments_is_refused() {
    let (disk, _) = store_with(&[batch(1, &[("a", 10)])]);
    disk.remove_file(&segment_path(&disk, 0));
    assert!(refused(&disk).contains("segment 0 is missing"));
}

#[test]
fn r02_a_watermark_without_a_log_is_refused() {
    let (disk, _) = store_with(&[batch(1, &[("a", 10)])]);
    disk.remove_file(&segment_path(&disk, 0));
    disk.remove_file("store.meta");
    assert!(refused(&disk).contains("WATERMARK says that position 1 was durable"));
}

#[test]
fn r02_one_empty_segment_alone_is_a_store_in_the_making() {
    let disk = SimDisk::new(1);
    drop(open(&disk).unwrap());
    disk.remove_file("store.meta");
    let store = open(&disk).unwrap();
    assert!(store.recovery_report().finished_creation);
    commit(&store, &batch(1, &[("a", 1)])).unwrap();
}

//! R6 to R8: nothing is believed too early, an I/O error says nothing, and damage has its evidence.

use super::*;

#[test]
fn r06_events_without_their_commit_marker_do_not_exist() {
    let (disk, mut model) = store_with(&[batch(1, &[("a", 10)])]);
    let end = open(&disk).unwrap().stats().bytes;
    let store = open(&disk).unwrap();
    commit(&store, &batch(2, &[("a", 10), ("b", 100), ("a", 3)])).unwrap();
    let written = store.stats().bytes;
    drop(store);
    // Nobody vouches for the second batch any more.
    disk.write_file("WATERMARK", &[0; 1024]);
    let path = segment_path(&disk, 0);
    for len in (end..written).rev().step_by(7) {
        let disk = disk.fork();
        cut(&disk, &path, len);
        let store = check_holds(&disk, &model);
        assert_eq!(store.recovery_report().torn.is_some(), len != end, "{len}");
    }
    model.acknowledged(&batch(2, &[("a", 10), ("b", 100), ("a", 3)])).unwrap();
    check_holds(&disk, &model);
}

#[test]
fn r06_a_length_that_lies_is_a_torn_tail_and_nothing_is_allocated_for_it() {
    let (disk, model) = store_with(&[batch(1, &[("a", 10)])]);
    let end = open(&disk).unwrap().stats().bytes;
    for len in [1_u32, 19, 20, 1 << 20, u32::MAX - 8, u32::MAX] {
        let disk = disk.fork();
        let mut frame = vec![7; 64];
        frame[4..8].copy_from_slice(&len.to_le_bytes());
        frame[8] = 1;
        overwrite(&disk, &segment_path(&disk, 0), end, &frame);
        let store = check_holds(&disk, &model);
        assert_eq!(store.recovery_report().torn.as_ref().map(|torn| torn.bytes), Some(64), "{len}");
    }
}

// R7: an I/O error says nothing about the data.

#[test]
fn r07_an_io_error_of_any_read_refuses_and_cuts_nothing() {
    let (disk, model) = three_segments();
    overwrite(&disk, &segment_path(&disk, 2), disk.file_len(&segment_path(&disk, 2)).unwrap(), b"torn");
    let start = disk.reads();
    let rehearsal = disk.fork();
    drop(open(&rehearsal).unwrap());
    for read in start..rehearsal.reads() {
        let disk = disk.fork();
        disk.fail_read_at(read, ReadFault::Eio);
        let before = snapshot(&disk);
        match open(&disk) {
            Err(OpenError::Io { .. }) => assert_eq!(snapshot(&disk)[0], before[0]),
            // A copy of the tail that is kept already need not be readable.
            Ok(store) => drop(store),
            Err(error) => panic!("read {read}: {error:?}"),
        }
        disk.clear_faults();
        check_holds(&disk, &model);
    }
}

#[test]
fn r07_a_sector_that_cannot_be_read_is_not_the_end_of_the_log() {
    let (disk, _) = store_with(&[batch(1, &[("a", 3_000)]), batch(2, &[("a", 3_000)])]);
    let path = segment_path(&disk, 0);
    disk.spoil(&path, HEADER + 512);
    let before = snapshot(&disk);
    let error = open(&disk).unwrap_err();
    assert!(matches!(error, OpenError::Io { .. }), "{error:?}");
    assert!(snapshot(&disk) == before);
}

// R8: damage, with its evidence.

#[test]
fn r08_a_later_commit_marker_is_evidence_that_a_bad_frame_was_durable() {
    let (disk, _) = four_batches();
    disk.write_file("WATERMARK", &[0; 1024]);
    disk.flip(&segment_path(&disk, 0), offset_of(&disk, 0, 2, 1) * 8);
    let message = refused(&disk);
    assert!(message.contains("position") && message.contains('3'), "{message}");
    assert!(message.contains("a later commit marker says"), "{message}");
}

#[test]
fn r08_the_watermark_is_evidence_that_the_last_batch_was_durable() {
    let (disk, _) = four_batches();
    disk.flip(&segment_path(&disk, 0), offset_of(&disk, 0, 4, 0) * 8);
    let message = refused(&disk);
    assert!(message.contains("from position 5 on"), "{message}");
    assert!(message.contains("WATERMARK says"), "{message}");
}

#[test]
fn r08_a_reader_resumes_behind_the_gap_and_is_told_of_it_once() {
    for (number, index, gap, rest) in
        [(1, 0, (1, 1), vec![2, 3, 4, 5]), (2, 1, (2, 3), vec![1, 4, 5]), (4, 0, (5, 5), vec![1, 2, 3, 4])]
    {
        let (disk, _) = four_batches();
        disk.flip(&segment_path(&disk, 0), offset_of(&disk, 0, number, index) * 8);
        let reader = open_read_only(&disk).unwrap();
        assert_eq!(reader.recovery_report().gaps.len(), 1, "batch {number}");
        for _ in 0..2 {
            assert_eq!(read_over_damage(&reader), (rest.clone(), vec![gap]), "batch {number}");
        }
        assert_eq!(reader.head(), Position::new(5), "batch {number}: what is lost is counted");
        assert_eq!(reader.refresh().unwrap(), Position::new(5));

        // Who does not ask to go on gets everything before the gap, the error, and the end.
        let until: Vec<_> =
            reader.read_all(Position::START).map(|event| event.map(|event| event.position().get())).collect();
        let before = gap.0 as usize - 1;
        assert!(until[..before].iter().all(Result::is_ok) && until.len() == before + 1, "batch {number}: {until:?}");
        assert!(matches!(until[before], Err(ReadError::Corrupt(_))));

        let mut backward: Vec<u64> = Vec::new();
        let mut errors = 0;
        for event in reader.read_all(Position::END).backward().skip_damaged() {
            match event {
                Ok(event) => backward.push(event.position().get()),
                Err(_) => errors += 1,
            }
        }
        backward.reverse();
        assert_eq!((backward, errors), (rest.clone(), 1), "batch {number}, backward");
        let stream: Vec<_> = reader.read_stream("a", StreamVersion::EMPTY).unwrap().skip_damaged().collect();
        assert_eq!(
            stream.iter().filter(|event| event.is_err()).count(),
            1,
            "batch {number}: it may have held any stream"
        );
    }
}

#[test]
fn r08_a_reader_follows_the_log_on_behind_a_gap() {
    let disk = SimDisk::new(8);
    let store = open(&disk).unwrap();
    for number in 1..=3 {
        commit(&store, &batch(number, &[("a", 100)])).unwrap();
    }
    for number in [1, 2, 3] {
        let at = offset_of(&disk, 0, number, 0) * 8;
        disk.flip(&segment_path(&disk, 0), at);
        let reader = open_read_only(&disk).unwrap();
        commit(&store, &batch(10 + number, &[("b", 100)])).unwrap();
        let head = reader.refresh().unwrap();
        assert_eq!(head.get(), 3 + number);
        let (events, errors) = read_over_damage(&reader);
        assert_eq!(errors, [(number, number)]);
        assert_eq!(events.len() as u64, head.get() - 1);
        disk.flip(&segment_path(&disk, 0), at);
    }
}

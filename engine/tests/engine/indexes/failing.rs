//! Index files that cannot be read, written or made.

use super::*;

/// The numbers of the operations, or of the reads, that are about index files.
fn of_indexes(journal: &[String], are_reads: bool) -> Vec<u64> {
    let lines = journal.iter().filter(|line| line.starts_with("read") == are_reads && line.contains("idx"));
    let number = |line: &String| {
        let digits: String =
            line.chars().skip_while(|c| !c.is_ascii_digit()).take_while(char::is_ascii_digit).collect();
        digits.parse().unwrap()
    };
    lines.map(number).collect()
}

/// Seals segment 15: the one in hand, and the last under a filter.
fn seal_the_sixteenth(disk: &SimDisk) -> EventStore {
    let store = open(disk).unwrap();
    store.append("a", Any, NewEvent::new("Large", vec![1; 61_000])).unwrap();
    store
}

#[test]
fn whatever_fails_while_index_files_are_written_no_append_fails_and_no_answer_changes() {
    let disk = log(15);
    let whole = disk.fork();
    whole.record_journal();
    let store = seal_the_sixteenth(&whole);
    assert!(whole.file_len(&index(15)).is_some() && whole.file_len(&filter(1, 0)).is_some());
    let expected = answers(&store);
    drop(store);
    let operations = of_indexes(&whole.journal(), false);
    assert!(operations.len() >= 7, "two files, each created, written and renamed: {operations:?}");
    for operation in operations {
        for fault in [Fault::Eio, Fault::StorageFull, Fault::ShortWrite, Fault::ShortThenFull] {
            let disk = disk.fork();
            disk.fail_at(operation, fault);
            let case = format!("{fault:?} at {operation}");
            let store = seal_the_sixteenth(&disk);
            check_same(&answers(&store), &expected, &case);
            store.append("a", Exact(ver(1)), event("More")).unwrap_or_else(|error| panic!("{case}: {error:?}"));
            drop(store);
            let store = open(&disk).unwrap();
            assert_eq!(store.stream_version("in-15").unwrap(), ver(1), "{case}");
            store.stream_count().unwrap();
            assert!(disk.read_file(&index(15)) == whole.read_file(&index(15)), "{case}: it is there now");
            assert!(!disk.paths().iter().any(|path| is_temporary(path)), "{case}: {:?}", disk.paths());
        }
    }
}

/// Flips a bit in the first event of a segment.
fn hurt(disk: &SimDisk, segment: u64) {
    disk.flip(&segment_path(disk, segment), (4096 + 30) * 8);
}

#[test]
fn an_index_that_was_made_and_could_not_be_written_serves_and_the_segment_is_not_read_for_it_again() {
    let disk = log(15);
    let rehearsal = disk.fork();
    rehearsal.record_journal();
    drop(seal_the_sixteenth(&rehearsal));
    for operation in of_indexes(&rehearsal.journal(), false).into_iter().take(4) {
        let disk = disk.fork();
        disk.fail_at(operation, Fault::Eio);
        let store = seal_the_sixteenth(&disk);
        assert!(disk.file_len(&index(15)).is_none(), "operation {operation} kept it from being written");
        hurt(&disk, 15);
        assert_eq!(store.stream_version("in-15").unwrap(), ver(1), "operation {operation}");
        store.append("in-15", Exact(ver(1)), event("More")).unwrap();
    }
}

#[test]
fn while_an_index_cannot_be_made_because_its_segment_is_damaged_the_one_in_memory_serves() {
    let disk = log(15);
    let store = open(&disk).unwrap();
    // Behind the back of the store, before the segment is sealed.
    hurt(&disk, 15);
    store.append("a", Any, NewEvent::new("Large", vec![1; 61_000])).unwrap();
    assert!(disk.file_len(&index(15)).is_none());
    assert_eq!(store.stream_version("in-15").unwrap(), ver(1));
    store.append("in-15", Exact(ver(1)), event("More")).unwrap();
    drop(store);
    // Who comes next has neither.
    let store = open(&disk).unwrap();
    assert!(matches!(store.append("new", Any, event("A")), Err(AppendError::Unreadable { .. })));
}

#[test]
fn a_disk_without_space_for_an_index_has_none_and_every_answer() {
    let disk = log(3);
    let expected = answers(&open(&disk.fork()).unwrap());
    remove_indexes(&disk);
    disk.set_capacity(Some(disk.used()));
    let store = open(&disk).unwrap();
    check_same(&answers(&store), &expected, "full");
    drop(store);
    assert_eq!(indexes_of(&disk), [""; 0]);
    disk.set_capacity(None);
    check_disk(&disk, &expected, "with space again");
    assert_eq!(indexes_of(&disk), [0, 1, 2].map(index));
}

#[test]
fn an_index_that_fails_to_be_read_is_made_from_the_segment() {
    let disk = log(17);
    let expected = answers(&open(&disk.fork()).unwrap());
    let whole = disk.fork();
    whole.record_journal();
    answers(&open(&whole).unwrap());
    let reads = of_indexes(&whole.journal(), true);
    assert!(reads.len() > 2 * 17, "{reads:?}");
    for read in reads {
        let disk = disk.fork();
        disk.fail_read_at(read, ReadFault::Eio);
        check_same(&answers(&open(&disk).unwrap()), &expected, &format!("read {read}"));
    }
}

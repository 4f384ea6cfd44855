//! Indexes that are made beside a writer, and beside readers.

use super::*;

fn beside() -> Options {
    Options::new().segment_bytes(64 << 10).zero_ahead(64 << 10)
}

fn names_in(dir: &Path) -> Vec<String> {
    let Ok(entries) = std::fs::read_dir(dir.join("idx")) else { return Vec::new() };
    let mut names: Vec<_> = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

/// Waits until the index of each sealed segment, and each filter, is there.
fn wait_for_indexes(dir: &Path, sealed: u64) {
    let mut wanted: Vec<_> = (0..sealed).map(index).chain((0..sealed / 16).map(|group| filter(1, group))).collect();
    wanted.sort();
    let wanted: Vec<_> = wanted.iter().map(|path| path.strip_prefix("idx/").unwrap()).collect();
    wait_until("the files of the index are made", || names_in(dir) == wanted);
}

#[test]
fn beside_the_writer_indexes_appear_unasked_and_no_answer_changes_meanwhile() {
    let dir = tempfile::tempdir().unwrap();
    let store = EventStore::open(dir.path(), &beside()).unwrap();
    roll(&store, 18);
    let before = answers(&store);
    assert_eq!(store.stats().segments.len(), 18);
    wait_for_indexes(dir.path(), 17);
    check_same(&answers(&store), &before, "with files");
    store.close().unwrap();

    // Whatever is removed or spoilt is there again, also unasked; and a filter that nobody can use.
    let good = files_of(&dir.path().join("idx"));
    for (path, bytes) in &good {
        match path.extension().unwrap().to_str() {
            Some("flt") => std::fs::write(path, &bytes[..bytes.len() - 1]).unwrap(),
            _ => std::fs::remove_file(path).unwrap(),
        }
    }
    let store = EventStore::open(dir.path(), &beside()).unwrap();
    let is_there = |(path, bytes): &(std::path::PathBuf, Vec<u8>)| std::fs::read(path).is_ok_and(|read| read == *bytes);
    wait_until("they are there again", || good.iter().all(is_there));
    check_same(&answers(&store), &before, "after they were gone");
}

#[test]
fn closing_right_after_a_roll_leaves_nothing_half_made_and_the_next_open_makes_the_rest() {
    for round in 0..12 {
        let dir = tempfile::tempdir().unwrap();
        let store = EventStore::open(dir.path(), &beside()).unwrap();
        roll(&store, 2 + round % 4);
        drop(store);
        let names = names_in(dir.path());
        assert!(names.iter().all(|name| is_index(name)), "{names:?}");
        let store = EventStore::open(dir.path(), &beside()).unwrap();
        wait_for_indexes(dir.path(), 1 + round % 4);
        assert!(store.recovery_report().is_clean(), "{:?}", store.recovery_report());
    }
}

#[test]
fn two_threads_that_make_the_same_index_at_once_each_put_a_whole_one_into_its_place() {
    let disk = log(1);
    let expected = answers(&open(&disk.fork()).unwrap());
    let good = disk.read_file(&index(0)).unwrap();
    disk.remove_file(&index(0));
    let watched = Watched::new(disk);
    watched.have_two_writers_meet();
    // The thread beside the writer makes what is missing, and so does who asks for it.
    let store = watched.open(&options().background(true));
    check_same(&answers(&store), &expected, "while it is made twice");
    drop(store);
    let renamed = watched.renamed();
    assert_eq!(renamed.len(), 2, "both have made it");
    for (path, bytes) in renamed {
        assert!(path == index(0) && bytes == good, "{path} with {} of {} bytes", bytes.len(), good.len());
    }
    assert_eq!(indexes_of(&watched.disk), [index(0)]);
}

#[test]
fn a_reader_changes_nothing_and_answers_all_the_same_without_indexes() {
    let dir = tempfile::tempdir().unwrap();
    let store = EventStore::open(dir.path(), &quiet()).unwrap();
    roll(&store, 18);
    let expected: Vec<_> = answers(&store).into_iter().filter(|line| !line.contains("conflict")).collect();
    drop(store);
    for what in ["whole", "garbage", "gone"] {
        for (path, _) in files_of(dir.path()).iter().filter(|(path, _)| path.to_str().unwrap().contains("/idx/")) {
            match what {
                "garbage" => std::fs::write(path, [1; 777]).unwrap(),
                "gone" => std::fs::remove_file(path).unwrap(),
                _ => {}
            }
        }
        let before = files_of(dir.path());
        let reader = EventStore::open_read_only(dir.path()).unwrap();
        check_same(&answers(&reader), &expected, what);
        drop(reader);
        assert!(files_of(dir.path()) == before, "{what}: something was changed");
    }
}

#[test]
fn a_reader_that_follows_over_rolls_turns_to_the_files_once_they_are_there_and_writes_nothing() {
    let disk = SimDisk::new(5);
    let store = open(&disk).unwrap();
    fill(&store, 0, "told");
    let watched = Watched::new(disk.clone());
    let reader = watched.open_read_only();
    let read_as = |case: &str| {
        let expected: Vec<_> = answers(&store).into_iter().filter(|line| !line.contains("conflict")).collect();
        check_same(&answers(&reader), &expected, case);
    };
    for segment in 1..=17 {
        seal_early(&disk, &store);
        fill(&store, segment, "told");
        read_as(&format!("in segment {segment}"));
    }
    let asked = watched.asked();
    // The index of the last one was made after the reader had turned to the next segment.
    for segment in 0..16 {
        assert!(asked.contains(&Asked::Open(index(segment))), "the index of {segment} is still in memory");
    }
    assert!(!asked.iter().any(|asked| matches!(asked, Asked::Change(_))), "a reader has changed something");
}

#[test]
fn a_file_of_somebody_else_does_not_pass_for_an_index() {
    let disk = SimDisk::new(5);
    let store = open(&disk).unwrap();
    disk.set_capacity(None);
    fill(&store, 0, "told");
    let watched = Watched::new(disk.clone());
    let reader = watched.open_read_only();
    reader.refresh().unwrap();
    for segment in 1..=3 {
        seal_early(&disk, &store);
        fill(&store, segment, "told");
        // What a name may end with.
        for name in ["idx", ".idx", "0.idx"] {
            disk.write_file(&format!("idx/{name}"), b"");
        }
        (0..segment).for_each(|segment| disk.remove_file(&index(segment)));
        reader.refresh().unwrap();
    }
    watched.asked();
    assert_eq!(reader.stream_version("in-0").unwrap(), ver(1));
    let asked = watched.asked();
    assert!(!asked.contains(&Asked::Open(index(0))), "what was in memory was let go for nothing: {asked:?}");
}

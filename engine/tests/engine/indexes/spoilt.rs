//! An index that is gone, spoilt or of another log: refused, and made anew.

use super::*;

#[test]
fn whatever_stands_in_the_place_of_an_index_no_answer_changes_and_it_is_made_anew() {
    let disk = log(4);
    let expected = answers(&open(&disk.fork()).unwrap());
    let another = SimDisk::new(6);
    log_on(&another, 4, "told");
    for segment in [0, 3] {
        let path = index(segment);
        let good = disk.read_file(&path).unwrap();
        let [neighbour, foreign] = [disk.read_file(&index(2)).unwrap(), another.read_file(&path).unwrap()];
        assert_eq!(good.len(), foreign.len(), "as alike as can be");
        let others: [(&str, &[u8]); 2] = [("of another segment", &neighbour), ("of another log", &foreign)];
        for (what, bytes) in spoilt(&good, &others) {
            let disk = disk.fork();
            disk.write_file(&path, &bytes);
            let case = format!("{path}: {what}");
            check_disk(&disk, &expected, &case);
            // A bit of a section that nobody has asked for stays as it is.
            let is_asked_for = !what.contains("flipped");
            assert!(!is_asked_for || disk.read_file(&path).unwrap() == good, "{case}: it was not made anew");
        }
    }
}

#[test]
fn without_any_of_the_files_every_answer_is_the_same_and_the_same_files_are_made() {
    let disk = log(17);
    let expected = answers(&open(&disk.fork()).unwrap());
    let whole = snapshot(&disk);
    let without = |case: &str, is_gone: &dyn Fn(&str) -> bool| {
        let disk = disk.fork();
        indexes_of(&disk).iter().filter(|path| is_gone(path)).for_each(|path| disk.remove_file(path));
        check_disk(&disk, &expected, case);
        for (path, bytes) in whole.iter().filter(|(path, _)| is_index(path)) {
            assert!(disk.read_file(path).as_ref() == Some(bytes), "without {case}: {path}");
        }
    };
    without("all", &|_| true);
    without("every index", &|path| is_index(path));
    without("every filter", &|path| is_filter(path));
    without("a few", &|path| path.contains('1'));
}

#[test]
fn on_a_real_disk_too_the_files_can_go_and_come_back() {
    type Harm = fn(&Path);
    let harms: [(&str, Harm); 6] = [
        ("removed", |path| std::fs::remove_file(path).unwrap()),
        ("empty", |path| std::fs::write(path, []).unwrap()),
        ("garbage", |path| std::fs::write(path, [0xA7; 5000]).unwrap()),
        ("cut", |path| std::fs::write(path, &std::fs::read(path).unwrap()[..200]).unwrap()),
        ("flipped at its end", |path| {
            let mut bytes = std::fs::read(path).unwrap();
            *bytes.last_mut().unwrap() ^= 4;
            std::fs::write(path, bytes).unwrap();
        }),
        ("a directory", |path| {
            std::fs::remove_file(path).unwrap();
            std::fs::create_dir(path).unwrap();
        }),
    ];
    for place in [Place::Mapped(tempfile::tempdir().unwrap()), Place::Pread(tempfile::tempdir().unwrap())] {
        let (Place::Mapped(dir) | Place::Pread(dir)) = &place else { unreachable!() };
        let store = place.open(&quiet());
        for number in 0..12 {
            let large = told("Placed", &"large ".repeat(3_000), number);
            store.append(STREAMS[number as usize % 4], Any, large).unwrap();
            store.batch().tracking("bank", number).commit().unwrap();
        }
        assert!(store.stats().segments.len() > 3);
        let expected = answers(&store);
        drop(store);
        let files = || std::fs::read_dir(dir.path().join("idx")).unwrap().map(|file| file.unwrap().path());
        for (what, harm) in harms {
            files().for_each(|path| harm(&path));
            check_same(&answers(&place.open(&quiet())), &expected, &format!("{place:?}: {what}"));
            files().filter(|path| path.is_dir()).for_each(|path| std::fs::remove_dir(path).unwrap());
        }
        std::fs::create_dir(dir.path().join("idx/not-removed-as-a-file.tmp")).unwrap();
        check_same(&answers(&place.open(&quiet())), &expected, &format!("{place:?}: a directory among them"));
        std::fs::remove_dir_all(dir.path().join("idx")).unwrap();
        check_same(&answers(&place.open(&quiet())), &expected, &format!("{place:?}: no directory"));
        std::fs::remove_dir_all(dir.path().join("idx")).unwrap();
        std::fs::write(dir.path().join("idx"), "a file").unwrap();
        check_same(&answers(&place.open(&quiet())), &expected, &format!("{place:?}: a file in its place"));
    }
}

#[test]
fn the_index_of_the_same_segment_in_a_copy_that_went_on_in_another_way_is_refused() {
    // Log id, segment, seed, base, length and number of events are the same: somebody has
    // restored `seg` from a backup, and left `idx` as it was.
    let before = SimDisk::new(5);
    log_on(&before, 15, "told");
    let story = |streams: [&str; 2], upstream| {
        let disk = before.fork();
        let store = open(&disk).unwrap();
        for segment in 15..18 {
            for stream in streams {
                store.append(stream, Any, told("Placed", "late", segment)).unwrap();
            }
            store.batch().tracking("bank", upstream + segment).commit().unwrap();
            seal_early(&disk, &store);
        }
        store.append("ledger", Any, event("Last")).unwrap();
        drop(store);
        disk
    };
    let (one, other) = (story(["cart-7", "order-8"], 9_000), story(["cart-2", "order-3"], 9_500));
    let expected = answers(&open(&one.fork()).unwrap());
    let identity = |disk: &SimDisk| disk.read_file(&index(15)).unwrap()[32..64].to_vec();
    assert_eq!(identity(&one), identity(&other), "as alike as can be");
    for path in [index(15), index(17), filter(1, 0)] {
        let disk = one.fork();
        disk.write_file(&path, &other.read_file(&path).unwrap());
        check_disk(&disk, &expected, &path);
    }
    let disk = one.fork();
    for path in indexes_of(&disk) {
        disk.write_file(&path, &other.read_file(&path).unwrap());
    }
    check_disk(&disk, &expected, "all of them");
}

#[test]
fn index_files_that_can_be_neither_listed_nor_read_nor_written_change_no_answer() {
    let disk = log(17);
    let expected = answers(&open(&disk.fork()).unwrap());
    for error in [io::ErrorKind::PermissionDenied, io::ErrorKind::Other, io::ErrorKind::NotADirectory] {
        let disk = disk.fork();
        disk.write_file("idx/some.tmp", b"of a crash, and cannot be removed");
        let watched = Watched::new(disk);
        watched.refuse_indexes(error);
        let store = watched.open(&options());
        check_same(&answers(&store), &expected, &format!("{error:?}"));
        // Nor of the segment that is sealed now.
        seal_early(&watched.disk, &store);
        assert_eq!(store.append("ledger", Any, event("More")).unwrap().last, store.head(), "{error:?}");
        assert_eq!(store.append("in-17", Exact(ver(1)), event("More")).unwrap().version, ver(2), "{error:?}");
        drop(watched.open_read_only());
    }
}

//! One test for each sentence of the fault model.

use std::collections::BTreeSet;
use std::io;

use rustix::io::Errno;

use super::*;
use crate::storage::{Access, File, Storage};

const SEEDS: u64 = 300;

/// A disk with one durable file, `file`, and a handle on it.
fn with_file(seed: u64, bytes: &[u8]) -> (SimDisk, Arc<dyn File>) {
    let disk = SimDisk::new(seed);
    disk.write_file("file", bytes);
    let file = disk.open("file", Access::ReadWrite).unwrap();
    (disk, file)
}

fn lost(disk: &SimDisk, loss: PowerLoss, seed: u64) -> Option<Vec<u8>> {
    disk.after_power_loss(loss, seed).read_file("file")
}

/// Everything that a random power loss may leave of `file`.
fn outcomes(disk: &SimDisk) -> BTreeSet<Option<Vec<u8>>> {
    (0..SEEDS).map(|seed| lost(disk, PowerLoss::Random, seed)).collect()
}

/// The bytes of each sector, all alike or the test is wrong.
fn sectors(bytes: &[u8]) -> Vec<u8> {
    bytes
        .chunks(SECTOR)
        .map(|sector| {
            assert!(sector.iter().all(|byte| *byte == sector[0]), "a torn sector");
            sector[0]
        })
        .collect()
}

const SECTOR: usize = 512;

#[track_caller]
fn kind<T: fmt::Debug>(done: io::Result<T>) -> io::ErrorKind {
    done.expect_err("should have failed").kind()
}

fn is_eio<T>(done: io::Result<T>) -> bool {
    done.is_err_and(|error| error.raw_os_error() == Some(Errno::IO.raw_os_error()))
}

// Power loss: bytes.

#[test]
fn an_unsynced_write_is_kept_dropped_or_torn_between_sectors() {
    let (disk, file) = with_file(1, &[1; 4 * SECTOR]);
    file.write_at(0, &[2; 4 * SECTOR]).unwrap();
    let found: BTreeSet<Vec<u8>> = outcomes(&disk).into_iter().map(|bytes| sectors(&bytes.unwrap())).collect();
    assert_eq!(found.len(), 16, "each sector old or new: {found:?}");
}

#[test]
fn a_sector_is_never_torn_even_by_a_write_across_its_middle() {
    let (disk, file) = with_file(1, &[1; 4 * SECTOR]);
    file.write_at(256, &[2; 2 * SECTOR]).unwrap();
    let old = vec![1; 4 * SECTOR];
    let mut new = old.clone();
    new[256..1280].fill(2);
    let found = outcomes(&disk);
    for bytes in &found {
        for (n, sector) in bytes.as_ref().unwrap().chunks(SECTOR).enumerate() {
            let part = n * SECTOR..(n + 1) * SECTOR;
            assert!(sector == &old[part.clone()] || sector == &new[part], "sector {n}");
        }
    }
    assert_eq!(found.len(), 8, "three sectors, each old or new");
}

#[test]
fn a_sector_written_twice_shows_each_of_its_states_and_no_mixture() {
    let (disk, file) = with_file(1, &[0; SECTOR]);
    file.write_at(0, &[1; 100]).unwrap();
    file.write_at(100, &[2; 100]).unwrap();
    let states: BTreeSet<_> =
        outcomes(&disk).into_iter().map(|bytes| bytes.map(|bytes| (bytes[50], bytes[150]))).collect();
    // Never (0, 2): the second write's sector held the first one already.
    let expected = [(0, 0), (1, 0), (1, 2)].map(Some);
    assert_eq!(states, BTreeSet::from(expected));
}

#[test]
fn synced_bytes_are_never_lost_and_later_ones_may_be() {
    for seed in 0..SEEDS {
        let (disk, file) = with_file(seed, b"");
        file.write_at(0, &[1; 1000]).unwrap();
        file.sync().unwrap();
        file.write_at(1000, &[2; 1000]).unwrap();
        for loss in [PowerLoss::KeepLeast, PowerLoss::KeepMost, PowerLoss::Random] {
            let bytes = lost(&disk, loss, seed).unwrap();
            assert_eq!(bytes[..1000], [1; 1000], "seed {seed}, {loss:?}");
        }
        assert_eq!(lost(&disk, PowerLoss::KeepLeast, seed).unwrap().len(), 1000);
        assert_eq!(lost(&disk, PowerLoss::KeepMost, seed).unwrap().len(), 2000);
    }
}

#[test]
fn what_is_left_by_a_power_loss_is_durable() {
    for seed in 0..SEEDS {
        let (disk, file) = with_file(seed, &[1; 3000]);
        file.write_at(1000, &[2; 5000]).unwrap();
        disk.create("other").unwrap();
        let first = disk.after_power_loss(PowerLoss::Random, seed);
        assert_eq!(first.unsynced(), 0);
        let second = first.after_power_loss(PowerLoss::KeepLeast, 0);
        assert_eq!(first.paths(), second.paths());
        assert_eq!(first.read_file("file"), second.read_file("file"));
        assert_eq!(first.read_file("file"), first.read_file_on_disk("file"));
    }
}

// Power loss: sizes.

#[test]
fn a_size_is_one_of_those_the_file_has_had_or_lies_on_the_way() {
    let (disk, file) = with_file(1, &[1; 10_000]);
    file.set_len(3_000).unwrap();
    file.set_len(20_000).unwrap();
    file.write_at(20_000, &[1; 2_000]).unwrap();
    let sizes: BTreeSet<usize> = outcomes(&disk).into_iter().map(|bytes| bytes.unwrap().len()).collect();
    for size in [10_000, 3_000, 20_000, 20_480, 20_992, 21_504, 22_000] {
        assert!(sizes.contains(&size), "never {size}: {sizes:?}");
    }
    assert_eq!(sizes.len(), 7, "{sizes:?}");
}

#[test]
fn a_cut_that_was_kept_erases_and_one_that_was_not_does_not() {
    let (disk, file) = with_file(1, &[1; 2048]);
    file.set_len(512).unwrap();
    file.set_len(2048).unwrap();
    for bytes in outcomes(&disk) {
        let sectors = sectors(&bytes.unwrap());
        match sectors.len() {
            1 => assert_eq!(sectors, [1]),
            _ => assert!(sectors == [1, 1, 1, 1] || sectors == [1, 0, 0, 0], "{sectors:?}"),
        }
    }
}

#[test]
fn a_cut_is_durable_once_synced() {
    let (disk, file) = with_file(1, &[1; 2048]);
    file.set_len(512).unwrap();
    file.sync().unwrap();
    file.allocate(512, 1536).unwrap();
    for bytes in outcomes(&disk) {
        let bytes = bytes.unwrap();
        assert!(bytes[512..].iter().all(|byte| *byte == 0));
    }
    assert_eq!(lost(&disk, PowerLoss::KeepLeast, 0).unwrap().len(), 512);
}

#[test]
fn any_outcome_of_any_story_is_made_of_states_that_existed() {
    // The model in the crudest form: after each operation, every sector as it is.
    const LEN: usize = 6 * SECTOR;
    type States = Vec<BTreeSet<Vec<u8>>>;
    fn note(states: &mut States, sizes: &mut BTreeSet<u64>, disk: &SimDisk) {
        let mut bytes = disk.read_file("file").unwrap();
        sizes.insert(bytes.len() as u64);
        bytes.resize(LEN, 0);
        for (states, sector) in states.iter_mut().zip(bytes.chunks(SECTOR)) {
            states.insert(sector.to_vec());
        }
    }
    for seed in 0..2 * SEEDS {
        let mut dice = Dice::new(seed, 0);
        let (disk, file) = with_file(seed, &vec![255; dice.below(LEN as u64) as usize]);
        let mut states = vec![BTreeSet::new(); LEN / SECTOR];
        let mut sizes = BTreeSet::new();
        note(&mut states, &mut sizes, &disk);
        for step in 0..12_u8 {
            let start = dice.below(LEN as u64);
            let len = dice.below(LEN as u64 - start);
            match dice.below(12) {
                0 => {
                    file.sync().unwrap();
                    states.fill(BTreeSet::new());
                    sizes.clear();
                }
                1 => {
                    file.set_len(start).unwrap();
                    // A cut that is kept zeroes whatever state its sector is in.
                    let (sector, within) = (start as usize / SECTOR, start as usize % SECTOR);
                    let cut = |mut state: Vec<u8>| {
                        state[within..].fill(0);
                        state
                    };
                    let cuts: Vec<_> = states[sector].iter().cloned().map(cut).collect();
                    states[sector].extend(cuts);
                }
                2 => drop(file.allocate(start, len)),
                3 => drop(file.write_at(start, &vec![0; len as usize]).unwrap()),
                4 => drop(file.read_from_disk(start, &mut vec![0; len as usize])),
                _ => drop(file.write_at(start, &vec![step + 1; len as usize]).unwrap()),
            }
            note(&mut states, &mut sizes, &disk);
        }
        let cached = disk.read_file("file");
        assert_eq!(lost(&disk, PowerLoss::KeepMost, 0), cached, "seed {seed}");
        let (least, most) = (*sizes.first().unwrap(), *sizes.last().unwrap());
        let mut losses = vec![PowerLoss::KeepLeast; 1];
        losses.extend([PowerLoss::Random; 20]);
        losses.extend((0..disk.operations()).map(PowerLoss::DropOnly));
        losses.extend((0..disk.operations()).map(PowerLoss::KeepOnly));
        for (again, loss) in losses.into_iter().enumerate() {
            let after = disk.after_power_loss(loss, again as u64);
            let bytes = after.read_file("file").unwrap();
            let size = bytes.len() as u64;
            let file = after.open("file", Access::ReadWrite).unwrap();
            file.set_len(LEN as u64).unwrap();
            let beyond = &after.read_file("file").unwrap()[bytes.len()..];
            assert!(beyond.iter().all(|byte| *byte == 0), "seed {seed}, {loss:?}");
            assert!(
                sizes.contains(&size) || size.is_multiple_of(512) && least < size && size < most,
                "seed {seed}, {loss:?}, {again}: {size} is not among {sizes:?}"
            );
            for (n, sector) in bytes.chunks(SECTOR).enumerate() {
                assert!(
                    states[n].iter().any(|state| state.starts_with(sector)),
                    "seed {seed}, {loss:?}, {again}: sector {n} never was {sector:?}"
                );
            }
        }
    }
}

// Power loss: names.

#[test]
fn a_file_whose_bytes_were_synced_may_vanish_with_its_name() {
    let disk = SimDisk::new(1);
    let file = disk.create("file").unwrap();
    file.write_at(0, b"bytes").unwrap();
    file.sync().unwrap();
    let bytes = || Some(b"bytes".to_vec());
    assert_eq!(outcomes(&disk), BTreeSet::from([None, bytes()]));
    disk.sync_dir("").unwrap();
    assert_eq!(outcomes(&disk), BTreeSet::from([bytes()]));
}

#[test]
fn a_rename_happens_wholly_or_not_at_all() {
    let (disk, _) = with_file(1, b"old");
    disk.write_file("file.tmp", b"new");
    disk.rename("file.tmp", "file").unwrap();
    let seen: BTreeSet<_> = (0..SEEDS)
        .map(|seed| disk.after_power_loss(PowerLoss::Random, seed))
        .map(|disk| (disk.paths(), disk.read_file("file").unwrap()))
        .collect();
    let before = (vec!["file".to_owned(), "file.tmp".to_owned()], b"old".to_vec());
    let after = (vec!["file".to_owned()], b"new".to_vec());
    assert_eq!(seen, BTreeSet::from([before, after]));
    disk.sync_dir("").unwrap();
    assert_eq!(lost(&disk, PowerLoss::KeepLeast, 0).unwrap(), b"new");
}

#[test]
fn a_removed_file_may_come_back_with_its_bytes() {
    let (disk, _) = with_file(1, b"bytes");
    disk.remove("file").unwrap();
    let both = BTreeSet::from([None, Some(b"bytes".to_vec())]);
    assert_eq!(outcomes(&disk), both);
    disk.sync_dir("").unwrap();
    assert_eq!(outcomes(&disk), BTreeSet::from([None]));
}

#[test]
fn independent_names_are_lost_independently_and_dependent_ones_together() {
    let disk = SimDisk::new(1);
    disk.create("a").unwrap();
    disk.create("b.tmp").unwrap();
    disk.rename("b.tmp", "b").unwrap();
    let seen: BTreeSet<String> =
        (0..SEEDS).map(|seed| disk.after_power_loss(PowerLoss::Random, seed).paths().join(" ")).collect();
    // "b" without "a" takes a file system that keeps names in no order.
    let expected = ["", "a", "a b", "a b.tmp", "b", "b.tmp"];
    assert_eq!(seen, expected.map(str::to_owned).into());
}

#[test]
fn a_directory_whose_name_is_lost_takes_its_files_along() {
    let disk = SimDisk::new(1);
    disk.create_dir("seg").unwrap();
    disk.create_dir("seg/deep").unwrap();
    disk.create("seg/deep/file").unwrap();
    disk.sync_dir("seg/deep").unwrap();
    disk.sync_dir("seg").unwrap();
    let after = disk.after_power_loss(PowerLoss::KeepLeast, 0);
    assert_eq!(after.paths(), Vec::<String>::new());
    assert!(after.create("seg/file").is_err(), "there is no seg");
    disk.sync_dir("").unwrap();
    let after = disk.after_power_loss(PowerLoss::KeepLeast, 0);
    assert_eq!(after.paths(), ["seg/deep/file"]);
}

#[test]
fn a_rename_between_directories_needs_both_synced() {
    let disk = SimDisk::new(1);
    disk.write_file("from/x", b"x");
    disk.write_file("to/y", b"y");
    disk.rename("from/x", "to/x").unwrap();
    disk.sync_dir("to").unwrap();
    let after = disk.after_power_loss(PowerLoss::KeepLeast, 0);
    assert_eq!(after.paths(), ["from/x", "to/y"]);
    disk.sync_dir("from").unwrap();
    let after = disk.after_power_loss(PowerLoss::KeepLeast, 0);
    assert_eq!(after.paths(), ["to/x", "to/y"]);
}

#[test]
fn a_durable_name_brings_along_what_it_was_built_on() {
    let disk = SimDisk::new(1);
    disk.write_file("from/x", b"x");
    disk.write_file("to/y", b"y");
    disk.rename("from/x", "to/x").unwrap();
    disk.rename("to/x", "to/z").unwrap();
    disk.sync_dir("to").unwrap();
    let after = disk.after_power_loss(PowerLoss::KeepLeast, 0);
    assert_eq!(after.paths(), ["to/y", "to/z"], "not under two names");
}

// Power loss: one operation.

#[test]
fn dropping_one_operation_keeps_all_others() {
    let story = || {
        let (disk, file) = with_file(1, &[0; 1024]);
        file.write_at(0, &[1; 512]).unwrap(); // 0
        file.write_at(512, &[2; 512]).unwrap(); // 1
        disk.create("a").unwrap(); // 2
        disk.create("b").unwrap(); // 3
        file.write_at(1024, &[3; 512]).unwrap(); // 4
        disk.rename("a", "c").unwrap(); // 5
        disk
    };
    let check = |n, expected: &[u8], paths: &[&str]| {
        let after = story().after_power_loss(PowerLoss::DropOnly(n), 0);
        assert_eq!(sectors(&after.read_file("file").unwrap()), expected, "without {n}");
        assert_eq!(after.paths(), paths, "without {n}");
    };
    check(0, &[0, 2, 3], &["b", "c", "file"]);
    check(1, &[1, 0, 3], &["b", "c", "file"]);
    check(2, &[1, 2, 3], &["b", "file"]);
    check(3, &[1, 2, 3], &["c", "file"]);
    check(4, &[1, 2], &["b", "c", "file"]);
    check(5, &[1, 2, 3], &["a", "b", "file"]);
    check(6, &[1, 2, 3], &["b", "c", "file"]);

    let check = |n, expected: &[u8], paths: &[&str]| {
        let after = story().after_power_loss(PowerLoss::KeepOnly(n), 0);
        assert_eq!(sectors(&after.read_file("file").unwrap()), expected, "only {n}");
        assert_eq!(after.paths(), paths, "only {n}");
    };
    check(1, &[0, 2], &["file"]);
    check(4, &[0, 0, 3], &["file"]);
    check(5, &[0, 0], &["c", "file"]);
}

#[test]
fn one_sector_is_kept_up_to_the_operation_or_without_it() {
    let (disk, file) = with_file(1, &[0; 512]);
    for (offset, byte) in [(0, 1), (10, 2), (20, 3)] {
        file.write_at(offset, &[byte; 10]).unwrap();
    }
    let shows = |loss| {
        let bytes = lost(&disk, loss, 0).unwrap();
        [bytes[0], bytes[10], bytes[20]]
    };
    assert_eq!(shows(PowerLoss::DropOnly(1)), [1, 0, 0]);
    assert_eq!(shows(PowerLoss::KeepOnly(1)), [1, 2, 0]);
}

#[test]
fn dropping_a_cut_keeps_the_bytes_it_cut() {
    let (disk, file) = with_file(1, &[1; 2048]);
    file.set_len(512).unwrap();
    let without = lost(&disk, PowerLoss::DropOnly(0), 0).unwrap();
    assert_eq!(sectors(&without), [1, 1, 1, 1]);
    let only = lost(&disk, PowerLoss::KeepOnly(0), 0).unwrap();
    assert_eq!(sectors(&only), [1]);
}

// Kill.

#[test]
fn a_kill_loses_nothing_and_makes_nothing_durable() {
    let disk = SimDisk::new(1);
    let _guard = disk.lock().unwrap();
    let file = disk.create("file").unwrap();
    file.write_at(0, b"bytes").unwrap();
    disk.stop_at(2);
    assert!(file.sync().is_err());
    let after = disk.after_kill();
    assert_eq!(after.read_file("file").unwrap(), b"bytes");
    assert_eq!(after.operations(), 0);
    assert_eq!(outcomes(&after).len(), outcomes(&disk).len());
    assert!(outcomes(&after).contains(&None));
    // The next process makes it durable, as it must.
    let _guard = after.lock().unwrap();
    after.open("file", Access::Read).unwrap().sync().unwrap();
    after.sync_dir("").unwrap();
    assert_eq!(after.unsynced(), 0);
    assert_eq!(outcomes(&after), BTreeSet::from([Some(b"bytes".to_vec())]));
}

#[test]
fn from_the_stop_on_nothing_happens_and_a_write_may_be_cut_by_it() {
    let mut lengths = BTreeSet::new();
    for seed in 0..SEEDS {
        let (disk, file) = with_file(seed, b"");
        disk.stop_at(1);
        file.write_at(0, b"a").unwrap();
        assert!(!disk.is_stopped());
        assert!(file.write_at(1, b"bcd").is_err());
        assert!(disk.is_stopped());
        let left = disk.read_file("file").unwrap();
        assert!(b"abcd".starts_with(&left), "{left:?}");
        lengths.insert(left.len());

        assert!(file.write_at(0, b"x").is_err());
        assert!(file.set_len(0).is_err());
        assert!(file.sync().is_err());
        assert!(file.read_at(0, &mut [0]).is_err());
        assert!(disk.create("other").is_err());
        assert!(disk.lock().is_err());
        assert_eq!(disk.operations(), 2);
        assert_eq!(disk.read_file("file").unwrap(), left);
        assert_eq!(disk.paths(), ["file"]);
    }
    assert_eq!(lengths, BTreeSet::from([1, 2, 3, 4]));
}

#[test]
fn operations_of_a_previous_life_have_no_number() {
    let (disk, file) = with_file(1, &[0; 1024]);
    file.write_at(0, &[1; 512]).unwrap();
    disk.create("a").unwrap();
    let next = disk.after_kill();
    next.create("b").unwrap();
    let file = next.open("file", Access::ReadWrite).unwrap();
    file.write_at(512, &[2; 512]).unwrap();
    for (loss, expected, paths) in [
        (PowerLoss::DropOnly(0), [1, 2], &["a", "file"][..]),
        (PowerLoss::DropOnly(1), [1, 0], &["a", "b", "file"]),
        (PowerLoss::KeepOnly(1), [0, 2], &["file"]),
    ] {
        let after = next.after_power_loss(loss, 0);
        assert_eq!(sectors(&after.read_file("file").unwrap()), expected, "{loss:?}");
        assert_eq!(after.paths(), paths, "{loss:?}");
    }
}

// Failed syncs.

#[test]
fn after_a_failed_sync_the_cache_shows_what_the_disk_lacks_and_no_sync_helps() {
    let mut lost_some = 0;
    for seed in 0..SEEDS {
        let (disk, file) = with_file(seed, &[1; 8 * SECTOR]);
        file.write_at(0, &[2; 8 * SECTOR]).unwrap();
        disk.fail_at(1, Fault::Eio);
        assert!(is_eio(file.sync()));
        file.sync().unwrap();
        assert_eq!(disk.unsynced(), 0, "all of it counts as written");
        assert_eq!(disk.read_file("file").unwrap(), [2; 8 * SECTOR]);
        let on_disk = disk.read_file_on_disk("file").unwrap();
        // Not even the kindest power loss brings it back.
        assert_eq!(lost(&disk, PowerLoss::KeepMost, 0).unwrap(), on_disk);
        // The next process believes the cache, unless it reads from the disk.
        let next = disk.after_kill();
        let file = next.open("file", Access::Read).unwrap();
        let mut bytes = [0; 8 * SECTOR];
        file.read_at(0, &mut bytes).unwrap();
        assert_eq!(bytes, [2; 8 * SECTOR]);
        file.read_from_disk(0, &mut bytes).unwrap();
        assert_eq!(bytes[..], on_disk);
        file.read_at(0, &mut bytes).unwrap();
        assert_eq!(bytes[..], on_disk, "the cache was dropped");
        lost_some += u64::from(sectors(&on_disk).contains(&1));
    }
    assert!(lost_some > SEEDS / 2, "{lost_some} of {SEEDS} lost something");
}

#[test]
fn writing_the_page_again_brings_back_what_a_failed_sync_lost() {
    for seed in 0..SEEDS {
        let (disk, file) = with_file(seed, &[1; 8192]);
        file.write_at(0, &[2; 8192]).unwrap();
        disk.fail_at(1, Fault::Eio);
        file.sync().unwrap_err();
        file.write_at(5000, &[3]).unwrap();
        file.sync().unwrap();
        let on_disk = disk.read_file_on_disk("file").unwrap();
        let mut page = [2; 4096];
        page[5000 - 4096] = 3;
        assert_eq!(on_disk[4096..], page, "seed {seed}");
    }
}

#[test]
fn after_a_failed_directory_sync_no_later_one_covers_the_name() {
    let disk = SimDisk::new(1);
    disk.create("file").unwrap();
    disk.fail_at(1, Fault::Eio);
    assert!(is_eio(disk.sync_dir("")));
    disk.sync_dir("").unwrap();
    let both = BTreeSet::from([None, Some(Vec::new())]);
    assert_eq!(outcomes(&disk), both);
}

#[test]
fn bytes_that_a_lost_cut_left_on_the_disk_do_not_return_through_the_cache() {
    for seed in 0..SEEDS {
        let (disk, file) = with_file(seed, &[1; 3000]);
        file.set_len(100).unwrap();
        disk.fail_at(1, Fault::Eio);
        file.sync().unwrap_err();
        file.read_from_disk(0, &mut [0; 100]).unwrap();
        file.set_len(3000).unwrap();
        let bytes = disk.read_file("file").unwrap();
        assert!(bytes[100..].iter().all(|byte| *byte == 0), "seed {seed}");
    }
}

// Reading from the disk.

#[test]
fn reading_from_the_disk_writes_dirty_pages_out_but_leaves_the_size_droppable() {
    let (disk, file) = with_file(1, &[1; 5000]);
    file.set_len(4096).unwrap();
    file.sync().unwrap();
    file.write_at(0, &[2; 12_288]).unwrap();
    let mut byte = [0];
    file.read_from_disk(5000, &mut byte).unwrap();
    assert_eq!(byte, [2]);
    let mut sizes = BTreeSet::new();
    for bytes in outcomes(&disk) {
        let bytes = bytes.unwrap();
        sizes.insert(bytes.len());
        let page = &bytes[4096.min(bytes.len())..8192.min(bytes.len())];
        assert!(page.iter().all(|byte| *byte == 2), "that page was written");
    }
    assert!(sizes.contains(&4096) && sizes.contains(&12_288), "{sizes:?}");
    assert_eq!(lost(&disk, PowerLoss::KeepMost, 0).unwrap(), [2; 12_288]);
    assert_eq!(lost(&disk, PowerLoss::KeepLeast, 0).unwrap(), [1; 4096]);
}

#[test]
fn reading_from_the_disk_never_changes_what_is_read() {
    for seed in 0..SEEDS {
        let mut dice = Dice::new(seed, 99);
        let (_, file) = with_file(seed, &[1; 9000]);
        for step in 0..20_u8 {
            let (offset, len) = (dice.below(12_000), dice.below(9_000) as usize);
            match dice.below(4) {
                0 => file.set_len(offset).unwrap(),
                1 => file.sync().unwrap(),
                _ => drop(file.write_at(offset, &vec![step; len]).unwrap()),
            }
            let (offset, len) = (dice.below(12_000), dice.below(9_000) as usize);
            let (mut cached, mut direct) = (vec![0; len], vec![0; len]);
            let n = file.read_at(offset, &mut cached).unwrap();
            let (m, _) = file.read_from_disk(offset, &mut direct).unwrap();
            assert_eq!(n, m);
            assert!(cached == direct, "seed {seed}, step {step}");
            file.read_at(offset, &mut direct).unwrap();
            assert!(cached == direct, "seed {seed}, step {step}, again");
        }
    }
}

// A full disk.

#[test]
fn a_write_that_does_not_fit_is_short_and_the_next_one_fails() {
    let mut lengths = BTreeSet::new();
    for seed in 0..SEEDS {
        let (disk, file) = with_file(seed, b"");
        disk.set_capacity(Some(2 * 4096 + 100));
        let n = file.write_at(0, &[1; 10_000]).unwrap();
        assert!((1..=8192).contains(&n), "{n}");
        let rest = &[1; 10_000][n..];
        assert_eq!(kind(file.write_at(n as u64, rest)), io::ErrorKind::StorageFull);
        assert_eq!(file.len().unwrap(), n as u64);
        lengths.insert(n);
        // What fits is written, and after making space all is.
        assert_eq!(file.write_at(0, &[2; 100]).unwrap(), 100);
        disk.set_capacity(None);
        assert_eq!(file.write_at(n as u64, rest).unwrap(), rest.len());
    }
    assert!(lengths.len() > 100, "at any byte: {} lengths", lengths.len());
}

#[test]
fn writing_to_reserved_space_always_fits_and_a_bare_size_reserves_nothing() {
    let (disk, file) = with_file(1, b"");
    disk.set_capacity(Some(4 * 4096));
    file.allocate(0, 3 * 4096).unwrap();
    assert_eq!(disk.used(), 3 * 4096);
    let other = disk.create("other").unwrap();
    other.set_len(1 << 40).unwrap();
    assert_eq!(other.write_at(0, &[1; 4096]).unwrap(), 4096);
    assert_eq!(kind(other.write_at(4096, b"x")), io::ErrorKind::StorageFull);
    assert_eq!(file.write_at(0, &[1; 3 * 4096]).unwrap(), 3 * 4096);
    assert_eq!(disk.used(), 4 * 4096);
}

#[test]
fn a_reservation_that_does_not_fit_fails_and_may_be_made_in_part() {
    let mut lengths = BTreeSet::new();
    for seed in 0..SEEDS {
        let (disk, file) = with_file(seed, b"");
        disk.set_capacity(Some(2 * 4096));
        assert_eq!(kind(file.allocate(0, 3 * 4096)), io::ErrorKind::StorageFull);
        lengths.insert(file.len().unwrap());
        assert_eq!(disk.used(), file.len().unwrap());
    }
    assert!(lengths.contains(&0) && lengths.contains(&4096), "{lengths:?}");
}

#[test]
fn cutting_and_removing_give_space_back() {
    let (disk, file) = with_file(1, b"");
    disk.set_capacity(Some(4 * 4096));
    file.allocate(0, 4 * 4096).unwrap();
    file.set_len(4097).unwrap();
    assert_eq!(disk.used(), 2 * 4096);
    let other = disk.create("other").unwrap();
    assert_eq!(other.write_at(0, &[1; 8192]).unwrap(), 8192);
    disk.remove("file").unwrap();
    assert_eq!(disk.used(), 2 * 4096);
    disk.remove("other").unwrap();
    assert_eq!(disk.used(), 0);
}

#[test]
fn a_replaced_file_gives_its_space_back_and_a_power_loss_may_take_it_again() {
    let (disk, file) = with_file(1, &[1; 5000]);
    disk.write_file("new", b"new");
    assert_eq!(disk.used(), 3 * 4096);
    disk.rename("new", "file").unwrap();
    assert_eq!(disk.used(), 4096);
    file.write_at(8192, b"nobody finds this").unwrap();
    assert_eq!(disk.used(), 4096);
    let after = disk.after_power_loss(PowerLoss::KeepLeast, 0);
    assert_eq!(after.used(), 3 * 4096);
    let after = disk.after_power_loss(PowerLoss::KeepMost, 0);
    assert_eq!(after.used(), 4096);
}

// Planned faults.

#[test]
fn each_planned_fault_strikes_its_operation_and_no_other() {
    let (disk, file) = with_file(1, b"");
    disk.fail_at(1, Fault::StorageFull);
    disk.fail_at(3, Fault::ShortWrite);
    disk.fail_at(5, Fault::ShortThenFull);
    disk.fail_at(8, Fault::Eio);
    assert_eq!(file.write_at(0, b"0123456789").unwrap(), 10);
    assert_eq!(kind(file.write_at(10, b"xx")), io::ErrorKind::StorageFull);
    assert_eq!(file.len().unwrap(), 10);
    assert_eq!(file.write_at(10, b"xx").unwrap(), 2);
    assert!((1..10).contains(&file.write_at(20, &[1; 10]).unwrap()));
    assert_eq!(file.write_at(20, &[1; 10]).unwrap(), 10);
    assert!((1..10).contains(&file.write_at(30, &[1; 10]).unwrap()));
    assert_eq!(kind(file.write_at(30, b"x")), io::ErrorKind::StorageFull);
    assert_eq!(file.write_at(30, b"x").unwrap(), 1);
    assert!(is_eio(disk.create("other")));
    assert_eq!(disk.paths(), ["file"]);
    disk.create("other").unwrap();
    assert_eq!(disk.operations(), 10);
}

#[test]
fn planned_read_faults_strike_reads_only() {
    let (disk, file) = with_file(1, b"old");
    assert_eq!(disk.reads(), 1, "opening was a read");
    disk.fail_read_at(1, ReadFault::Eio);
    disk.fail_read_at(2, ReadFault::Stale);
    file.write_at(0, b"newer").unwrap();
    let mut buf = [0xEE; 8];
    assert!(is_eio(file.read_at(0, &mut buf)));
    assert_eq!(file.read_at(0, &mut buf).unwrap(), 5);
    assert_eq!(&buf[..5], b"old\0\0", "what the disk holds");
    assert_eq!(file.read_at(0, &mut buf).unwrap(), 5);
    assert_eq!(&buf[..5], b"newer");
    assert_eq!(disk.operations(), 1);
}

#[test]
fn a_failed_write_may_have_written_a_part() {
    let mut lengths = BTreeSet::new();
    for seed in 0..SEEDS {
        let (disk, file) = with_file(seed, b"");
        disk.fail_at(0, Fault::Eio);
        assert!(is_eio(file.write_at(0, b"abc")));
        let left = disk.read_file("file").unwrap();
        assert!(b"ab".starts_with(&left), "{left:?}");
        lengths.insert(left.len());
    }
    assert_eq!(lengths, BTreeSet::from([0, 1, 2]));
}

#[test]
fn a_flipped_bit_is_flipped_in_cache_and_disk_and_in_what_is_on_the_way() {
    let (disk, file) = with_file(1, b"\x00\x00");
    file.write_at(1, b"\x00\x00").unwrap();
    for bit in [0, 9, 18] {
        disk.flip("file", bit);
    }
    assert_eq!(disk.read_file("file").unwrap(), [1, 2, 4]);
    assert_eq!(lost(&disk, PowerLoss::KeepMost, 0).unwrap(), [1, 2, 4]);
    assert_eq!(lost(&disk, PowerLoss::KeepLeast, 0).unwrap(), [1, 2]);
}

#[test]
fn an_unreadable_sector_stays_so_until_it_is_written_whole() {
    let (disk, _) = with_file(1, &[1; 2048]);
    disk.spoil("file", 700);
    let disk = disk.after_kill().after_power_loss(PowerLoss::Random, 1);
    let file = disk.open("file", Access::ReadWrite).unwrap();
    let mut sector = [0; 512];
    for (offset, bad) in [(0, false), (1, true), (512, true), (1023, true), (1024, false)] {
        assert_eq!(is_eio(file.read_at(offset, &mut sector)), bad, "{offset}");
        assert_eq!(is_eio(file.read_from_disk(offset, &mut sector)), bad);
    }
    file.write_at(600, &[2; 100]).unwrap();
    assert!(is_eio(file.read_at(512, &mut sector)));
    file.write_at(512, &[3; 512]).unwrap();
    assert_eq!(file.read_at(512, &mut sector).unwrap(), 512);
    assert_eq!(sector, [3; 512]);
}

// The disk as a tool.

#[test]
fn the_same_seed_and_operations_give_the_same_disk_whatever_is_read_between() {
    let story = |seed, reads| {
        let disk = SimDisk::new(seed);
        disk.set_capacity(Some(6 * 4096));
        disk.record_journal();
        let file = disk.create("file").unwrap();
        for n in 0..10_u64 {
            disk.fail_at(3 * n, Fault::ShortWrite);
            let _ = file.write_at(n * 3000, &[n as u8; 3000]);
            if n == 4 {
                disk.fail_at(disk.operations(), Fault::Eio);
                let _ = file.sync();
            }
            for _ in 0..reads {
                let _ = disk.list("").unwrap();
            }
        }
        let after = disk.after_power_loss(PowerLoss::Random, seed);
        (after.paths(), after.read_file("file"))
    };
    for seed in 0..SEEDS {
        assert_eq!(story(seed, 0), story(seed, 0), "seed {seed}");
        assert_eq!(story(seed, 0), story(seed, 3), "seed {seed}");
    }
}

#[test]
fn a_fork_and_its_original_go_separate_ways() {
    let (disk, file) = with_file(1, b"both");
    file.write_at(4, b" dirty").unwrap();
    let fork = disk.fork();
    file.write_at(0, b"mine").unwrap();
    let other = fork.open("file", Access::ReadWrite).unwrap();
    other.write_at(0, b"fork").unwrap();
    assert_eq!(disk.read_file("file").unwrap(), b"mine dirty");
    assert_eq!(fork.read_file("file").unwrap(), b"fork dirty");
    assert_eq!(disk.operations(), 2);
    assert_eq!(fork.operations(), 2);
    assert_eq!(lost(&fork, PowerLoss::DropOnly(0), 0).unwrap(), b"both");
}

#[test]
fn names_are_listed_in_no_order_to_rely_on() {
    let disk = SimDisk::new(1);
    for n in 0..5 {
        disk.write_file(&format!("seg/{n}"), b"");
    }
    let orders: BTreeSet<Vec<String>> = (0..50).map(|_| disk.list("seg").unwrap()).collect();
    assert!(orders.len() > 10, "{orders:?}");
}

#[test]
fn the_journal_names_each_operation_with_its_number_and_fate() {
    let disk = SimDisk::new(1);
    disk.create("before").unwrap();
    disk.record_journal();
    let file = disk.create("file").unwrap();
    disk.fail_at(2, Fault::Eio);
    disk.stop_at(3);
    file.sync().unwrap_err();
    file.read_at(0, &mut [0; 4]).unwrap();
    disk.rename("file", "x").unwrap_err();
    assert_eq!(
        disk.journal(),
        ["1 create file", "2 sync file -> Eio", "read 0 read_at file 0+4", "3 rename file x -> stopped",]
    );
}

#[test]
fn a_planted_file_is_durable_and_a_removed_one_stays_away() {
    let disk = SimDisk::new(1);
    disk.create_dir("seg").unwrap();
    disk.create("seg/1").unwrap().write_at(0, b"dirty").unwrap();
    disk.write_file("seg/1", b"planted");
    disk.write_file("idx/1", b"index");
    disk.remove_file("idx/1");
    disk.remove_file("none");
    assert_eq!(disk.unsynced(), 0);
    let after = disk.after_power_loss(PowerLoss::KeepLeast, 0);
    assert_eq!(after.paths(), ["seg/1"]);
    assert_eq!(after.read_file("seg/1").unwrap(), b"planted");
}

#[test]
fn a_file_of_zeros_takes_no_memory() {
    // Held in memory, this would be 32 GiB, and a second or more to fill.
    let (disk, file) = with_file(1, b"");
    let zeros = vec![0; 1 << 16];
    for step in 0..500_u64 {
        file.allocate(step << 26, 1 << 26).unwrap();
        file.write_at(step << 26, &zeros).unwrap();
        file.sync().unwrap();
    }
    file.set_len(1 << 50).unwrap();
    let after = disk.after_power_loss(PowerLoss::KeepLeast, 0);
    assert_eq!(after.file_len("file"), Some(500 << 26));
    let after = disk.after_power_loss(PowerLoss::KeepMost, 0);
    assert_eq!(after.file_len("file"), Some(1 << 50));
}

// Randomness.

#[test]
fn randomness_is_the_same_for_the_same_seed_and_never_the_same_twice_on_one_disk() {
    let draw = |disk: &SimDisk| {
        let mut bytes = [0; 20];
        disk.fill_random(&mut bytes).unwrap();
        bytes
    };
    let (disk, twin) = (SimDisk::new(7), SimDisk::new(7));
    let mut seen = BTreeSet::new();
    for _ in 0..3 {
        let drawn = draw(&disk);
        assert_eq!(drawn, draw(&twin));
        assert!(seen.insert(drawn));
    }
    assert!(seen.insert(draw(&disk.after_kill())), "after a kill");
    assert!(seen.insert(draw(&disk.after_power_loss(PowerLoss::KeepMost, 7))), "after a power loss, by the same seed");
}

#[test]
fn two_disks_differ_where_they_read_differently_and_nowhere_else() {
    let disk = SimDisk::new(1);
    disk.write_file("a", &[1; 9_000]);
    disk.write_file("b", &[0; 5_000]);
    let other = disk.fork();
    assert_eq!(disk.difference(&other), None);
    disk.write_file("LOCK", b"");
    disk.write_file("b", &[0; 5_000]);
    assert_eq!(disk.difference(&other), None, "the same bytes on other pages, and the lock");
    disk.flip("b", 8 * 4_999);
    assert_eq!(disk.difference(&other).as_deref(), Some("b"));
    disk.write_file("b", &[0; 5_001]);
    assert_eq!(other.difference(&disk).as_deref(), Some("b"), "by its length");
    disk.remove_file("a");
    assert_eq!(other.difference(&disk).as_deref(), Some("a"), "by its absence");
}

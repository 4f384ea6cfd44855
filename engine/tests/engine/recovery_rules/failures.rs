//! R14 and R15: failed syncs and full disks.

use super::*;

/// Every sync, cut and directory sync of an append over a roll, failing with `fault`, ends writing.
fn check_failed_syncs_poison(fault: Fault) {
    let act = |store: &EventStore| {
        let first = builder(store, &batch(2, &[("a", 30_000)])).submit().unwrap();
        let second = builder(store, &buffered(3, &[("b", 30_000)])).submit().unwrap();
        (first.wait(), second.wait())
    };
    let (disk, _) = store_with(&[batch(1, &[("a", 20_000)])]);
    let rehearsal = disk.fork();
    let store = open(&rehearsal).unwrap();
    let opened = rehearsal.operations();
    rehearsal.record_journal();
    let (first, second) = act(&store);
    first.unwrap();
    second.unwrap();
    let done = rehearsal.operations();
    let mut tried = Vec::new();
    for line in rehearsal.journal() {
        let (number, what) = line.split_once(' ').unwrap();
        // A new file that has no name yet is thrown away with its error, if that was for want of space.
        let is_thrown_away = what.contains(".tmp") && fault != Fault::Eio;
        if !(what.starts_with("sync") || what.starts_with("set_len")) || is_thrown_away {
            continue;
        }
        tried.push(what.split('/').next().unwrap().to_owned());
        let number: u64 = number.parse().unwrap();
        assert!((opened..done).contains(&number));
        let disk = disk.fork();
        let store = open(&disk).unwrap();
        disk.fail_at(number, fault);
        let head = store.head();
        let answers = act(&store);
        let in_doubt = matches!(answers.0, Err(AppendError::CommitUnknown { .. } | AppendError::Poisoned { .. }));
        let rolled = answers.0.is_ok()
            && matches!(answers.1, Err(AppendError::Poisoned { .. } | AppendError::CommitUnknown { .. }));
        assert!(in_doubt || rolled, "{what}: {answers:?}");
        if rolled {
            assert!(what.contains("seg") || what.contains("store.meta"), "{what}");
        } else {
            assert_eq!(store.head(), head, "{what}: nothing in doubt is shown");
        }
        // No retry, by anybody.
        let after = disk.operations();
        disk.clear_faults();
        assert!(matches!(commit(&store, &batch(4, &[("a", 1)])), Err(AppendError::Poisoned { .. })), "{what}");
        assert!(matches!(store.flush(), Err(AppendError::Poisoned { .. })), "{what}");
        oracle::read_everything(&store);
        drop(store);
        assert_eq!(disk.operations(), after, "{what}: nothing touches the disk after poison");
        open(&disk.after_kill()).expect("reopening recovers");
    }
    for what in ["sync store.meta", "sync seg", "set_len seg", "sync_dir seg"] {
        assert!(tried.iter().any(|tried| tried.starts_with(what)), "{what} is not among {tried:?}");
    }
}

#[test]
fn r14_an_io_error_of_any_sync_or_cut_poisons_until_reopened() {
    check_failed_syncs_poison(Fault::Eio);
}

#[test]
fn r14_a_full_disk_met_by_a_sync_or_a_cut_poisons_too() {
    check_failed_syncs_poison(Fault::StorageFull);
}

#[test]
fn r14_everybody_who_waited_for_a_failed_sync_is_told_that_it_is_unknown() {
    let disk = SimDisk::new(1);
    let store = open(&disk).unwrap();
    commit(&store, &batch(1, &[("a", 10)])).unwrap();
    let waiters: Vec<_> =
        (2..6).map(|number| builder(&store, &buffered(number, &[("a", 10)])).submit().unwrap()).collect();
    let last = builder(&store, &batch(6, &[("a", 10)])).submit().unwrap();
    disk.fail_at(disk.operations() + 1, Fault::Eio);
    for waiter in waiters.into_iter().chain([last]) {
        let answer = waiter.wait();
        assert!(matches!(answer, Err(AppendError::CommitUnknown { .. })), "{answer:?}");
    }
    assert_eq!(store.head(), Position::new(1));
    assert_eq!(store.stream_version("a").unwrap(), StreamVersion::new(1));
}

// R15: full disks.

#[test]
fn r15_a_write_that_fills_the_disk_is_rewound_and_leaves_nothing() {
    for fault in [Fault::StorageFull, Fault::ShortThenFull] {
        let disk = SimDisk::new(1);
        let store = open(&disk).unwrap();
        let mut model = Model::default();
        commit(&store, &buffered(1, &[("a", 10)])).unwrap();
        model.acknowledged(&buffered(1, &[("a", 10)])).unwrap();
        disk.fail_at(disk.operations(), fault);
        assert!(matches!(commit(&store, &batch(2, &[("a", 5_000)])), Err(AppendError::StorageFull)));
        assert_eq!(oracle::check(&store, &model, 1), 1);
        let end = store.stats().bytes;
        let path = segment_path(&disk, 0);
        assert_eq!(disk.read_file_on_disk(&path).unwrap().len() as u64, end, "the cut is durable");
        assert_eq!(store.flush().unwrap(), Position::new(1));
        assert_eq!(store.durable_head(), Position::new(1));
        assert_eq!(open_read_only(&disk).unwrap().head(), Position::new(1), "and told to readers");
        commit(&store, &batch(3, &[("a", 600)])).unwrap();
        model.acknowledged(&batch(3, &[("a", 600)])).unwrap();
        check_holds(&disk.after_power_loss(PowerLoss::KeepLeast, 0), &model);
    }
}

#[test]
fn r15_a_full_disk_never_keeps_a_store_from_opening() {
    // After each page that an append over a roll may still get.
    for pages in 0..40 {
        let (disk, model) = store_with(&[batch(1, &[("a", 40_000)])]);
        disk.set_capacity(Some(disk.used() + pages * 4096));
        let store = open(&disk).unwrap();
        let next = batch(2, &[("a", 40_000)]);
        let done = commit(&store, &next);
        assert!(matches!(done, Ok(_) | Err(AppendError::StorageFull)), "{pages} pages: {done:?}");
        let mut model = model;
        if done.is_ok() {
            model.acknowledged(&next).unwrap();
        }
        assert_eq!(oracle::check(&store, &model, model.len()), model.len());
        drop(store);
        // No page is left for anything.
        let disk = disk.after_power_loss(PowerLoss::KeepLeast, 0);
        disk.set_capacity(Some(0));
        let store = check_holds(&disk, &model);
        disk.set_capacity(None);
        commit(&store, &batch(3, &[("b", 50_000)])).expect("there is space again");
        model.acknowledged(&batch(3, &[("b", 50_000)])).unwrap();
        drop(store);
        check_holds(&disk, &model);
    }
}

#[test]
fn r15_a_sealed_log_opens_on_a_full_disk_and_goes_on_when_there_is_space() {
    let (disk, model) = sealed_without_successor();
    disk.set_capacity(Some(0));
    let store = check_holds(&disk, &model);
    assert!(!store.recovery_report().finished_roll);
    assert!(matches!(commit(&store, &batch(2, &[("a", 1)])), Err(AppendError::StorageFull)));
    oracle::check(&store, &model, 1);
    disk.set_capacity(None);
    commit(&store, &batch(3, &[("a", 1)])).unwrap();
    assert_eq!(store.stats().segments.len(), 2);
    drop(store);
    assert_eq!(open(&disk).unwrap().head(), Position::new(3));
}

#[test]
fn r15_a_torn_tail_on_a_full_disk_is_cut_all_the_same() {
    let (disk, model) = four_batches();
    let end = open(&disk).unwrap().stats().bytes;
    overwrite(&disk, &segment_path(&disk, 0), end, &[5; 9_000]);
    disk.set_capacity(Some(0));
    drop(check_holds(&disk, &model));
}

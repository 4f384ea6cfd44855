//! R9 to R13: torn tails, what is kept of them, and what is shown after them.

use super::*;

#[test]
fn r09_what_nobody_vouches_for_is_a_torn_tail_and_the_log_ends_before_it() {
    let (disk, model) = four_batches();
    let end = open(&disk).unwrap().stats().bytes;
    for garbage in [&[1_u8; 1][..], &[0xFF; 700], b"\0\0\0\0\0\0\0\0x"] {
        let disk = disk.fork();
        overwrite(&disk, &segment_path(&disk, 0), end, garbage);
        let store = check_holds(&disk, &model);
        let torn = store.recovery_report().torn.clone().expect("it was cut");
        assert_eq!((torn.offset, torn.bytes), (end, garbage.len() as u64));
        drop(store);
        assert!(check_holds(&disk, &model).recovery_report().is_clean());
    }
}

#[test]
fn r09_zeros_behind_the_last_batch_are_no_tail() {
    let (disk, model) = four_batches();
    let path = segment_path(&disk, 0);
    overwrite(&disk, &path, disk.file_len(&path).unwrap(), &[0; 10_000]);
    assert!(check_holds(&disk, &model).recovery_report().is_clean());
}

// R10: what is cut is kept.

#[test]
fn r10_what_is_cut_is_kept_up_to_its_last_byte_that_is_not_zero() {
    let (disk, model) = four_batches();
    let end = open(&disk).unwrap().stats().bytes;
    let mut garbage: Vec<u8> = (0..1_500_u32).map(|byte| byte as u8 | 1).collect();
    overwrite(&disk, &segment_path(&disk, 0), end, &[&garbage[..], &[0; 3_000]].concat());
    let store = check_holds(&disk, &model);
    let torn = store.recovery_report().torn.clone().unwrap();
    let kept = disk.paths().into_iter().find(|path| path.starts_with("quarantine/")).expect("a copy");
    assert_eq!(disk.read_file_on_disk(&kept), Some(std::mem::take(&mut garbage)), "durably");
    assert!(torn.quarantine.unwrap().ends_with(&kept));
    let disk = disk.after_power_loss(PowerLoss::KeepLeast, 0);
    assert!(disk.read_file(&kept).is_some(), "its name too");
}

#[test]
fn r10_without_space_the_length_and_the_checksum_are_reported_instead() {
    let (disk, model) = four_batches();
    let end = open(&disk).unwrap().stats().bytes;
    overwrite(&disk, &segment_path(&disk, 0), end, b"123456789");
    disk.set_capacity(Some(disk.used()));
    let store = check_holds(&disk, &model);
    let torn = store.recovery_report().torn.clone().unwrap();
    assert_eq!((torn.bytes, torn.checksum, torn.quarantine), (9, 0xCBF4_3926, None));
    drop(store);
    let garbage = disk.paths().iter().any(|path| path.contains("quarantine/"));
    assert!(!garbage, "no half of a copy stays: {:?}", disk.paths());
}

// R11: cut and sync, then a new epoch, then append.

#[test]
fn r11_a_tail_is_cut_durably_before_the_store_is_open() {
    let (disk, _) = four_batches();
    let path = segment_path(&disk, 0);
    let end = open(&disk).unwrap().stats().bytes;
    overwrite(&disk, &path, end, &[9; 5_000]);
    let store = open(&disk).unwrap();
    assert_eq!(disk.read_file_on_disk(&path).unwrap().len() as u64, end);
    disk.record_journal();
    let epoch = store.stats().epoch;
    commit(&store, &batch(5, &[("a", 10)])).unwrap();
    assert_eq!(store.stats().epoch.get(), epoch.get() + 1);
    let writes: Vec<String> = disk
        .journal()
        .iter()
        .filter_map(|line| line.split_once(' '))
        .filter(|(_, line)| line.starts_with("write_at") || line.starts_with("sync"))
        .map(|(_, line)| line.split(['/', '+']).next().unwrap().to_owned())
        .collect();
    // The slot that was read is written again before the other one changes.
    for slot in writes[..4].chunks(2) {
        assert!(slot[0].starts_with("write_at store.meta") && slot[1] == "sync store.meta", "{writes:?}");
    }
    assert_ne!(writes[0], writes[2], "each slot once");
    assert_eq!(writes[4], "write_at seg");
}

// R12: a log shorter than the watermark.

#[test]
fn r12_a_log_that_ends_before_its_watermark_is_damage_wherever_it_was_cut() {
    let (disk, _) = four_batches();
    let path = segment_path(&disk, 0);
    let end = open(&disk).unwrap().stats().bytes;
    for len in (HEADER..end).step_by(8) {
        let disk = disk.fork();
        cut(&disk, &path, len);
        let message = refused(&disk);
        assert!(message.contains("WATERMARK says"), "{len}: {message}");
    }
    cut(&disk, &path, HEADER);
    let message = refused(&disk);
    assert!(message.contains("copied while") && message.contains("annals backup"), "{message}");
    assert!(!inspect::verify_on(&disk, |_, _| ()).unwrap().is_clean());
}

// R13: what is shown is durable.

#[test]
fn r13_what_a_killed_process_wrote_and_an_open_has_shown_survives_a_power_loss_right_after() {
    for number in 1..4 {
        let disk = SimDisk::new(number);
        let store = open(&disk).unwrap();
        let mut model = Model::default();
        for number in 1..=number {
            commit(&store, &buffered(number, &[("a", 30_000)])).unwrap();
            model.acknowledged(&buffered(number, &[("a", 30_000)])).unwrap();
        }
        let disk = disk.after_kill();
        let store = check_holds(&disk, &model);
        assert_eq!(store.durable_head(), store.head());
        check_holds(&disk.after_power_loss(PowerLoss::KeepLeast, 0), &model);
    }
}

#[test]
fn r13_a_name_whose_sync_failed_is_given_anew_before_anything_is_written_under_it() {
    let (disk, model) = store_with(&[batch(1, &[("a", 40_000)])]);
    let roll = |store: &EventStore| commit(store, &batch(2, &[("a", 40_000)])).map(drop);
    // Opening syncs the directory once, the roll once more.
    let syncs = operations_of(&disk, "sync_dir seg", |disk| roll(&open(disk).unwrap()).unwrap());
    disk.fail_at(syncs[1], Fault::Eio);
    let store = open(&disk).unwrap();
    assert!(matches!(roll(&store), Err(AppendError::Poisoned { .. })));
    drop(store);
    let disk = disk.after_kill();
    let store = check_holds(&disk, &model);
    roll(&store).unwrap();
    let disk = disk.after_power_loss(PowerLoss::KeepLeast, 0);
    let mut model = model;
    model.acknowledged(&batch(2, &[("a", 40_000)])).unwrap();
    check_holds(&disk, &model);
}

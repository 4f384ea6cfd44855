//! The rules of the write path: what is asked of the disk, in which order, and no more.
//!
//! The simulated disk writes down every operation; these tests read its journal.

use annals::Durability::{Buffered, Sync};
use annals::storage::sim::{Fault, PowerLoss, SimDisk};
use annals::{AppendError, EventStore, ExpectedVersion, NewEvent, OpenError, Position, StreamVersion};
use annals_cli::torture::{Story, tell_on};
use annals_codec::scan::{self, scan};
use annals_codec::{SegmentHeader, StoreMeta, Watermark};

use crate::support::model::{Batch, Model};
use crate::support::{asked, builder, commit, open, options, oracle, segment_path, snapshot};

fn batch(number: u64, events: &[(&'static str, usize)]) -> Batch {
    Batch::new(number, events)
}

fn buffered(number: u64, events: &[(&'static str, usize)]) -> Batch {
    Batch { durability: Buffered, ..Batch::new(number, events) }
}

/// A store that has taken in one batch: its epoch is begun, and space is reserved.
fn warm() -> (SimDisk, EventStore) {
    let disk = SimDisk::new(4);
    // Opened twice, because the journal calls a file as it was opened.
    drop(open(&disk).unwrap());
    let store = open(&disk).unwrap();
    commit(&store, &batch(1, &[("a", 10)])).unwrap();
    (disk, store)
}

const COMMIT: [&str; 3] = ["write_at seg", "sync seg", "write_at WATERMARK"];

// One group: one write, one sync.

#[test]
fn a_durable_append_is_one_write_one_sync_and_then_the_watermark() {
    let (disk, store) = warm();
    for number in 2..20 {
        assert_eq!(asked(&disk, || commit(&store, &batch(number, &[("a", 100)])).unwrap()), COMMIT);
    }
}

#[test]
fn a_group_of_many_batches_is_one_write_and_one_sync_too() {
    let (disk, store) = warm();
    let tickets: Vec<_> =
        (2..40).map(|number| builder(&store, &batch(number, &[("a", 100), ("b", 1)])).submit().unwrap()).collect();
    let operations = asked(&disk, || {
        for ticket in tickets {
            ticket.wait().unwrap();
        }
    });
    assert_eq!(operations, COMMIT);
}

#[test]
fn a_buffered_append_is_one_write_and_nothing_else() {
    let (disk, store) = warm();
    assert_eq!(asked(&disk, || commit(&store, &buffered(2, &[("a", 100)])).unwrap()), ["write_at seg"]);
    assert_eq!(asked(&disk, || store.flush().unwrap()), COMMIT[1..]);
    assert!(asked(&disk, || store.flush().unwrap()).is_empty(), "nothing is left to flush");
}

#[test]
fn a_group_with_one_sync_member_is_synced_and_one_without_is_not() {
    let (disk, store) = warm();
    for (durabilities, expected) in [([Buffered, Sync], &COMMIT[..]), ([Buffered, Buffered], &COMMIT[..1])] {
        let tickets = durabilities
            .map(|durability| builder(&store, &Batch { durability, ..batch(2, &[("a", 1)]) }).submit().unwrap());
        let operations = asked(&disk, || {
            for ticket in tickets {
                ticket.wait().unwrap();
            }
        });
        assert_eq!(operations, expected, "{durabilities:?}");
    }
}

#[test]
fn space_is_reserved_ahead_and_not_for_each_append() {
    let disk = SimDisk::new(4);
    let store = open(&disk).unwrap();
    let operations = asked(&disk, || {
        for number in 1..100 {
            commit(&store, &buffered(number, &[("a", 300)])).unwrap();
        }
    });
    assert_eq!(operations.iter().filter(|line| line.starts_with("allocate")).count(), 1, "{operations:?}");
}

// The epoch begins with the first append, and nothing else changes a store.

#[test]
fn opening_and_appends_that_are_refused_change_nothing() {
    let (disk, store) = warm();
    drop(store);
    let before = snapshot(&disk);
    let store = open(&disk).unwrap();
    let opened = disk.operations();
    let wrong = ExpectedVersion::Exact(StreamVersion::new(7));
    let refused = [
        store.append("a", wrong, NewEvent::new("X", "")).unwrap_err(),
        store.append("", ExpectedVersion::Any, NewEvent::new("X", "")).unwrap_err(),
        store.append("a", ExpectedVersion::Any, NewEvent::new("", "")).unwrap_err(),
        store.append("a", ExpectedVersion::Any, NewEvent::new("X", vec![0; 17 << 20])).unwrap_err(),
        store.batch().commit().unwrap_err(),
        store.batch().expect("b", ExpectedVersion::StreamExists).tracking("s", 1).commit().unwrap_err(),
        store.append("a", wrong, NewEvent::new("Huge", vec![0; 100_000])).unwrap_err(),
    ];
    assert_eq!(disk.operations(), opened, "{refused:?}");
    drop(store);
    assert!(snapshot(&disk) == before);
}

#[test]
fn the_epoch_begins_durably_before_the_first_frame_and_once() {
    let (disk, store) = warm();
    drop(store);
    let store = open(&disk).unwrap();
    let epoch = |disk: &SimDisk| StoreMeta::decode(&disk.read_file_on_disk("store.meta").unwrap()).unwrap().epoch.get();
    assert_eq!(epoch(&disk), 1);
    let first = asked(&disk, || commit(&store, &batch(2, &[("a", 1)])).unwrap());
    assert_eq!(first[..2], ["write_at store.meta", "sync store.meta"]);
    assert_eq!(first[first.len() - 3..], COMMIT);
    assert_eq!((epoch(&disk), store.stats().epoch.get()), (2, 2));
    assert_eq!(asked(&disk, || commit(&store, &batch(3, &[("a", 1)])).unwrap()), COMMIT);
}

// Answers share fate.

#[test]
fn a_conflict_with_the_group_is_told_after_its_sync_and_any_other_whatever_becomes_of_it() {
    let (disk, store) = warm();
    let first = builder(&store, &batch(2, &[("a", 1)])).submit().unwrap();
    let expecting = |stream, version| {
        let expected = ExpectedVersion::Exact(StreamVersion::new(version));
        store.batch().expect(stream, expected).event("z", NewEvent::new("X", "")).submit().unwrap()
    };
    let (with_group, without) = (expecting("a", 1), expecting("b", 9));
    disk.fail_at(disk.operations() + 1, Fault::Eio);
    assert!(matches!(first.wait(), Err(AppendError::CommitUnknown { .. })));
    assert!(matches!(with_group.wait(), Err(AppendError::CommitUnknown { .. })));
    assert!(matches!(without.wait(), Err(AppendError::ConcurrencyConflict { .. })));
}

#[test]
fn tracking_conflicts_share_the_fate_of_the_group_they_depend_on() {
    let (disk, store) = warm();
    let track = |upstream| store.batch().tracking("bank", upstream).submit().unwrap();
    let (first, second) = (track(5), track(5));
    disk.fail_at(disk.operations() + 1, Fault::Eio);
    assert!(matches!(first.wait(), Err(AppendError::CommitUnknown { .. })));
    assert!(matches!(second.wait(), Err(AppendError::CommitUnknown { .. })));
    assert_eq!(store.tracking("bank").unwrap(), None);
}

#[test]
fn nothing_of_a_failed_group_is_seen_by_later_checks() {
    let (disk, store) = warm();
    disk.fail_at(disk.operations(), Fault::StorageFull);
    let refused = store.batch().tracking("bank", 5).event("n", NewEvent::new("X", "")).commit();
    assert!(matches!(refused, Err(AppendError::StorageFull)));
    assert_eq!(store.stream_version("n").unwrap(), StreamVersion::EMPTY);
    store
        .batch()
        .expect("n", ExpectedVersion::NoStream)
        .tracking("bank", 5)
        .event("n", NewEvent::new("X", ""))
        .commit()
        .expect("neither the stream nor the source has moved");
}

// Full disks.

#[test]
fn a_reservation_that_is_refused_writes_nothing() {
    let (disk, store) = warm();
    disk.set_capacity(Some(disk.used()));
    // The space reserved for one segment is used up, and the next one finds none.
    let mut taken = 1;
    while commit(&store, &buffered(taken + 1, &[("a", 5_000)])).is_ok() {
        taken += 1;
    }
    assert!(taken > 5, "what was reserved can be used on a full disk");
    assert_eq!(store.head(), Position::new(taken));
    oracle::read_everything(&store);
    let operations = asked(&disk, || commit(&store, &batch(99, &[("a", 5_000)])).unwrap_err());
    assert!(!operations.iter().any(|line| line == "write_at seg"), "{operations:?}");
    disk.set_capacity(None);
    commit(&store, &batch(100, &[("a", 5_000)])).expect("there is space again");
}

#[test]
fn a_full_disk_can_always_be_sealed() {
    for events in [1, 10, 100, 400] {
        let disk = SimDisk::new(4);
        let store = open(&disk).unwrap();
        let many: Vec<_> = (0..events).map(|_| ("a", 1)).collect();
        commit(&store, &batch(1, &many)).unwrap();
        disk.set_capacity(Some(0));
        let refused = commit(&store, &batch(2, &[("a", 100_000)]));
        assert!(matches!(refused, Err(AppendError::StorageFull)), "{refused:?}");
        assert_eq!(store.stats().segments.iter().map(|segment| segment.sealed).collect::<Vec<_>>(), [true]);
        oracle::read_everything(&store);
        disk.set_capacity(None);
        commit(&store, &batch(2, &[("a", 100_000)])).unwrap();
        oracle::read_everything(&store);
    }
}

#[test]
fn an_append_that_gets_the_last_page_leaves_room_for_the_seal_in_it() {
    let mut sealed = 0;
    for len in (0..4_096).step_by(64) {
        let disk = SimDisk::new(4);
        let store = open(&disk).unwrap();
        // Too little to reserve generously.
        disk.set_capacity(Some(disk.used() + 2 * 4096));
        if commit(&store, &batch(1, &[("a", len), ("a", 2_000), ("a", 1)])).is_err() {
            continue;
        }
        disk.set_capacity(Some(0));
        let refused = commit(&store, &batch(2, &[("a", 100_000)]));
        assert!(matches!(refused, Err(AppendError::StorageFull)), "{len}: {refused:?}");
        assert!(store.stats().segments[0].sealed, "{len}");
        sealed += 1;
    }
    assert!(sealed > 30, "{sealed}");
}

#[test]
fn a_roll_that_finds_no_space_at_any_step_is_finished_by_a_later_append() {
    let next = batch(2, &[("a", 50_000)]);
    let (disk, store) = {
        let disk = SimDisk::new(4);
        let store = open(&disk).unwrap();
        commit(&store, &batch(1, &[("a", 30_000)])).unwrap();
        (disk, store)
    };
    drop(store);
    let rehearsal = disk.fork();
    let store = open(&rehearsal).unwrap();
    let opened = rehearsal.operations();
    commit(&store, &next).unwrap();
    let done = rehearsal.operations();
    let mut full = 0;
    for fault in [Fault::StorageFull, Fault::ShortThenFull] {
        for operation in opened..done {
            let disk = disk.fork();
            let store = open(&disk).unwrap();
            disk.fail_at(operation, fault);
            let mut model = Model::default();
            model.acknowledged(&batch(1, &[("a", 30_000)])).unwrap();
            match commit(&store, &next) {
                Err(AppendError::StorageFull) => {
                    full += 1;
                    assert_eq!(oracle::check(&store, &model, 1), 1);
                    commit(&store, &next).unwrap_or_else(|error| panic!("{fault:?} at {operation}: {error:?}"));
                }
                // The watermark and store.meta at a roll may find no space, and nobody is hurt.
                Ok(_) => {}
                // A sync or a cut for which there is no space ends writing.
                Err(AppendError::Poisoned { .. } | AppendError::CommitUnknown { .. }) => continue,
                Err(error) => panic!("{fault:?} at {operation}: {error:?}"),
            }
            model.acknowledged(&next).unwrap();
            oracle::check(&store, &model, 2);
            assert_eq!(store.stats().segments.len(), 2);
            drop(store);
            let store = open(&disk.after_power_loss(PowerLoss::KeepLeast, 0)).unwrap();
            oracle::check(&store, &model, 2);
        }
    }
    assert!(full >= 8, "{full}");
}

// Rolls.

#[test]
fn a_roll_seals_trims_and_syncs_before_the_successor_gets_its_name() {
    let (disk, store) = warm();
    commit(&store, &batch(2, &[("a", 40_000)])).unwrap();
    let operations = asked(&disk, || commit(&store, &batch(3, &[("a", 40_000)])).unwrap());
    let expected = [
        "write_at seg", // SEAL, index, trailer
        "set_len seg",
        "sync seg",
        "remove seg.tmp",
        "create seg.tmp",
        "write_at seg.tmp", // the header
        "sync seg.tmp",
        "rename seg.tmp",
        "sync_dir seg",
        "write_at store.meta",
        "sync store.meta",
        "write_at WATERMARK", // the log goes on in the new segment
        "create_dir idx",
        "create idx.tmp", // the index, which nothing waits for, and so without a sync
        "write_at idx.tmp",
        "rename idx.tmp",
        "allocate seg.tmp", // named by now: the journal calls a file as it was opened
        "write_at seg.tmp",
        "sync seg.tmp",
        "write_at WATERMARK",
    ];
    assert_eq!(operations, expected);
    let meta = StoreMeta::decode(&disk.read_file_on_disk("store.meta").unwrap()).unwrap();
    assert_eq!(meta.active.get(), 1);
}

#[test]
fn a_segment_of_many_writers_is_sealed_with_totals_that_a_later_open_believes() {
    let disk = SimDisk::new(6);
    for number in 1..30 {
        let store = open(&disk).unwrap();
        let batch = Batch { tracking: Some(("s", number)), ..batch(number, &[("a", 3_000), ("b", 100)]) };
        commit(&store, &batch).unwrap();
    }
    let store = open(&disk).unwrap();
    assert!(store.recovery_report().is_clean());
    assert!(store.stats().segments.len() > 1);
    assert_eq!(oracle::read_everything(&store).len(), 58);
}

#[test]
fn a_large_segment_goes_on_under_smaller_options_by_rolling() {
    let disk = SimDisk::new(6);
    let large = options().segment_bytes(1 << 20);
    let store = EventStore::open_on(std::sync::Arc::new(disk.clone()), &large).unwrap();
    let mut model = Model::default();
    for number in 1..6 {
        commit(&store, &batch(number, &[("a", 40_000)])).unwrap();
        model.acknowledged(&batch(number, &[("a", 40_000)])).unwrap();
    }
    drop(store);
    let store = open(&disk).unwrap();
    assert_eq!(oracle::check(&store, &model, 5), 5);
    commit(&store, &batch(6, &[("a", 10)])).unwrap();
    model.acknowledged(&batch(6, &[("a", 10)])).unwrap();
    assert_eq!(store.stats().segments.len(), 2);
    drop(store);
    oracle::check(&open(&disk).unwrap(), &model, 6);
}

// A small file is made whole before it gets its name.

#[test]
fn a_new_store_names_nothing_before_it_is_synced_and_store_meta_last() {
    let disk = SimDisk::new(1);
    let operations = asked(&disk, || open(&disk).unwrap());
    let at = |what: &str| {
        operations.iter().position(|line| line == what).unwrap_or_else(|| panic!("{what}: {operations:?}"))
    };
    for file in ["WATERMARK.tmp", "store.meta.tmp"] {
        let steps = ["create", "write_at", "sync", "rename"].map(|step| at(&format!("{step} {file}")));
        assert!(steps.is_sorted(), "{file}: {operations:?}");
    }
    assert!(at("sync_dir seg") < at("create store.meta.tmp"));
    let syncs: Vec<_> =
        operations.iter().enumerate().filter(|(_, line)| *line == "sync_dir").map(|(at, _)| at).collect();
    assert!(at("rename WATERMARK.tmp") < syncs[0] && syncs[0] < at("create store.meta.tmp"), "{operations:?}");
    assert!(at("rename store.meta.tmp") < *syncs.last().unwrap());
}

// Nothing claims to be durable that is not.

/// Tells the story up to each of its operations, and compares what is claimed with what is on the disk.
fn check_claims(story: &str) {
    let story: Story = story.parse().unwrap();
    let steps = &story.lives[0].steps;
    let whole = SimDisk::new(1);
    tell_on(&whole, steps).unwrap();
    let mut claims = 0;
    for stop in 0..=whole.operations() {
        let disk = SimDisk::new(1);
        disk.stop_at(stop);
        tell_on(&disk, steps).unwrap();
        let segments: Vec<String> =
            disk.paths().into_iter().filter(|path| path.contains('-') && path.starts_with("seg/")).collect();
        for path in &segments {
            let cached = disk.read_file(path).unwrap();
            let Ok((header, seed)) = SegmentHeader::decode(&cached) else { continue };
            let mut bytes = &cached[..];
            let Ok(found) = scan(&mut bytes, seed, scan::first_tail(&header), &mut ());
            let mut claimed = found.tail.durable_offset;
            if let Some(watermark) = disk.read_file("WATERMARK").as_deref().and_then(Watermark::decode)
                && watermark.segment == header.number
            {
                claimed = claimed.max(watermark.offset);
            }
            let on_disk = disk.read_file_on_disk(path).unwrap();
            let claimed = claimed as usize;
            assert!(on_disk.len() >= claimed, "stopped at {stop}: {path} up to {claimed}");
            assert!(on_disk[..claimed] == cached[..claimed], "stopped at {stop}: {path} up to {claimed}");
            claims += usize::from(claimed > 4096);
        }
    }
    assert!(claims > 10, "{claims}");
}

#[test]
fn neither_a_commit_marker_nor_the_watermark_is_ever_ahead_of_the_disk() {
    check_claims(
        "sync a700, buffered a2000, buffered b900, sync a3, buffered a900, flush, buffered a10, reopen, \
         sync a50000, buffered b30000, sync b3",
    );
}

#[test]
fn commit_markers_do_claim_what_is_durable() {
    // Otherwise the test above would be content with markers that say nothing.
    let (disk, store) = warm();
    let synced = store.stats().bytes;
    commit(&store, &buffered(2, &[("a", 10)])).unwrap();
    let bytes = disk.read_file(&segment_path(&disk, 0)).unwrap();
    let (header, seed) = SegmentHeader::decode(&bytes).unwrap();
    let Ok(found) = scan(&mut &bytes[..], seed, scan::first_tail(&header), &mut ());
    assert_eq!(found.tail.durable_offset, synced);
    let watermark = Watermark::decode(&disk.read_file("WATERMARK").unwrap()).unwrap();
    assert_eq!((watermark.offset, watermark.position), (synced, Position::new(1)));
}

#[test]
fn an_error_of_the_watermark_is_counted_and_hurts_nobody() {
    let (disk, store) = warm();
    for (errors, fault) in [(1, Fault::Eio), (2, Fault::StorageFull)] {
        disk.fail_at(disk.operations() + 2, fault);
        commit(&store, &batch(errors + 1, &[("a", 1)])).unwrap();
        assert_eq!(store.stats().watermark_errors, errors);
    }
    commit(&store, &batch(9, &[("a", 1)])).unwrap();
    drop(store);
    assert_eq!(open(&disk.after_power_loss(PowerLoss::KeepMost, 0)).unwrap().head(), Position::new(4));
}

#[test]
fn a_watermark_that_could_not_be_written_is_written_when_the_store_is_flushed_or_closed() {
    for closes in [false, true] {
        let (disk, store) = warm();
        disk.fail_at(disk.operations() + 2, Fault::StorageFull);
        commit(&store, &batch(2, &[("a", 1)])).unwrap();
        let told = || Watermark::decode(&disk.read_file("WATERMARK").unwrap()).unwrap().position;
        assert_eq!((store.stats().watermark_errors, told()), (1, Position::new(1)));
        if closes {
            store.close().unwrap();
        } else {
            store.flush().unwrap();
        }
        assert_eq!(told(), Position::new(2));
    }
}

#[test]
fn the_watermark_goes_on_from_where_an_earlier_writer_left_it() {
    let (disk, store) = warm();
    drop(store);
    let mut last = 0;
    for number in 2..8 {
        let store = open(&disk).unwrap();
        commit(&store, &batch(number, &[("a", 1)])).unwrap();
        let watermark = Watermark::decode(&disk.read_file("WATERMARK").unwrap()).unwrap();
        assert!(watermark.sequence > last, "{} after {last}", watermark.sequence);
        assert_eq!(watermark.position, Position::new(number));
        last = watermark.sequence;
    }
}

// Closing.

#[test]
fn closing_syncs_what_is_not_durable_then_the_watermark_and_lets_go_of_the_lock() {
    let (disk, store) = warm();
    commit(&store, &buffered(2, &[("a", 10)])).unwrap();
    assert!(matches!(open(&disk), Err(OpenError::AlreadyOpen { .. })));
    let operations = asked(&disk, || store.close().unwrap());
    assert_eq!(operations, ["sync seg", "write_at WATERMARK", "sync WATERMARK"]);
    assert_eq!(disk.unsynced(), 0, "nothing is left to lose");
    drop(open(&disk).unwrap());
}

#[test]
fn closing_commits_tickets_that_nobody_waited_for() {
    let (disk, store) = warm();
    let ticket = builder(&store, &batch(2, &[("a", 10)])).submit().unwrap();
    drop(ticket);
    drop(store);
    assert_eq!(open(&disk.after_power_loss(PowerLoss::KeepLeast, 0)).unwrap().head(), Position::new(2));
}

#[test]
fn closing_tells_when_what_was_acknowledged_could_not_be_made_durable() {
    let (disk, store) = warm();
    commit(&store, &buffered(2, &[("a", 10)])).unwrap();
    disk.fail_at(disk.operations(), Fault::Eio);
    assert!(matches!(store.close(), Err(AppendError::CommitUnknown { .. })));
}

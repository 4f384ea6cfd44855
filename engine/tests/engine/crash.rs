//! Short stories, stopped at every disk operation, in every way, and once more in the recovery.
//!
//! Each test tells one story. It is stopped at each of its operations, and
//! what is left is looked at after a kill and after power losses that keep the
//! least, the most, a random part, all but one operation, and only one. It is
//! told again with each operation failing in each way. What a recovery finds
//! is compared with the model, and the recovery itself is stopped and failed
//! at each of its operations, for a sample of the cases.

use annals::Durability::{Buffered, Sync};
use annals::storage::sim::{Fault, PowerLoss, SimDisk};
use annals::{EventStore, OpenError, Outcome};

use crate::support::model::{Batch, End, Model};
use crate::support::oracle;
use crate::support::story::{Story, Told, commit, story, tell};
use crate::support::{Rng, open, snapshot};

/// Of the recoveries, one in so many is itself interrupted everywhere.
const RECOVERIES: u64 = 25;

/// Of a story of more operations than this has one, one in three times as many: it has more
/// recoveries, each with more operations of its own, and most of them repeat each other.
const LONG: u64 = 40;

/// A batch that no story holds, to see that appends work.
fn one_more() -> Batch {
    Batch::new(1_000_000, &[("later", 10), ("a", 20)])
}

/// What is left of a disk, and how it came to that.
struct Left {
    disk: SimDisk,
    end: End,
    how: String,
}

fn left(disk: SimDisk, end: End, how: String) -> Left {
    Left { disk, end, how }
}

/// The disk after every kind of end there is.
fn all_ends(disk: &SimDisk, seeds: u64) -> Vec<Left> {
    let mut all = vec![left(disk.after_kill(), End::Kill, "kill".to_owned())];
    let mut lose =
        |loss, seed| all.push(left(disk.after_power_loss(loss, seed), End::PowerLoss, format!("{loss:?} {seed}")));
    lose(PowerLoss::KeepLeast, 0);
    lose(PowerLoss::KeepMost, 0);
    for seed in 0..seeds {
        lose(PowerLoss::Random, seed);
    }
    if disk.unsynced() > 0 {
        // What is older than this was synced, or the stop before has looked at it.
        let operations = disk.operations();
        for operation in operations.saturating_sub(8)..operations {
            lose(PowerLoss::DropOnly(operation), 0);
            lose(PowerLoss::KeepOnly(operation), 0);
        }
    }
    all
}

fn few_ends(disk: &SimDisk, seed: u64) -> Vec<Left> {
    let mut all = vec![left(disk.after_kill(), End::Kill, "kill".to_owned())];
    for loss in [PowerLoss::KeepLeast, PowerLoss::KeepMost, PowerLoss::Random] {
        all.push(left(disk.after_power_loss(loss, seed), End::PowerLoss, format!("{loss:?} {seed}")));
    }
    all
}

#[derive(Default)]
struct Cases {
    /// The operations of the story itself.
    operations: u64,
    stops: u64,
    faults: u64,
    recoveries: u64,
    in_recovery: u64,
}

#[track_caller]
fn check_story(story: &Story) {
    let mut cases = Cases::default();
    let mut rng = Rng(story.name.bytes().fold(7, |seed: u64, byte| seed.wrapping_mul(31) + u64::from(byte)));
    let whole = SimDisk::new(1);
    whole.record_journal();
    let told = tell(story, &whole);
    assert!(!told.poisoned && !told.was_full && told.model.in_doubt() == 0, "the story itself goes well");
    let store = told.store.expect("the story itself goes well");
    assert_eq!(oracle::check(&store, &told.model, told.model.len()), told.model.len());
    drop(store);
    let operations = whole.operations();
    cases.operations = operations;
    let is_sync = |line: &String| line.split(' ').nth(1) == Some("sync");
    let syncs: Vec<bool> = whole.journal().iter().filter(|line| !line.starts_with("read")).map(is_sync).collect();

    for stop in 0..=operations {
        let disk = SimDisk::new(1);
        disk.stop_at(stop);
        let told = tell(story, &disk);
        cases.stops += 1;
        for left in all_ends(&disk, 4) {
            let case = format!("{}, stopped at {stop}, {}", story.name, left.how);
            check_recovery(&left, &told.model, &case, &mut rng, &mut cases);
        }
    }
    for operation in 0..operations {
        for fault in [Fault::Eio, Fault::StorageFull, Fault::ShortWrite, Fault::ShortThenFull] {
            check_fault(story, operation, fault, 1, &mut rng, &mut cases);
        }
        // What a failed sync has lost is for the seed to say.
        for seed in (2..10).filter(|_| syncs[operation as usize]) {
            check_fault(story, operation, Fault::Eio, seed, &mut rng, &mut cases);
        }
    }
    println!(
        "{}: {operations} operations, {} stops, {} faults, {} recoveries, {} interruptions of recoveries",
        story.name, cases.stops, cases.faults, cases.recoveries, cases.in_recovery
    );
}

/// The store's own directory is synced only while the store is made, and the name of `seg`
/// cannot be given once more: whoever gets an error there, goes on, and then loses the
/// power, may lose the store. The disk model is harder here than file systems are.
fn is_sync_of_root(line: &str) -> bool {
    line.contains(" sync_dir  -> ")
}

fn check_fault(story: &Story, operation: u64, fault: Fault, seed: u64, rng: &mut Rng, cases: &mut Cases) {
    let disk = SimDisk::new(seed);
    disk.record_journal();
    disk.fail_at(operation, fault);
    let case = format!("{}, {fault:?} at {operation}, disk {seed}", story.name);
    let Told { mut model, store, poisoned, was_full } = in_case(&case, || tell(story, &disk));
    cases.faults += 1;
    let journal = disk.journal();
    let line = journal.iter().find(|line| line.contains(&format!(" -> {fault:?}")));
    let Some(failed) = line.and_then(|line| line.split(' ').nth(1)) else { return };
    if fault == Fault::ShortWrite {
        assert!(!poisoned && !was_full, "{case}: a short write is no error");
    }
    // What the sync should have made durable may be gone, although it can still be read.
    model.sync_failed = failed == "sync";
    drop(store);
    if is_sync_of_root(line.unwrap()) {
        return;
    }
    for left in few_ends(&disk, rng.next()) {
        let case = format!("{case} ({failed}), {}", left.how);
        check_recovery(&left, &model, &case, rng, cases);
    }
}

/// Says which case it was when something panics in it.
fn in_case<T>(case: &str, check: impl FnOnce() -> T) -> T {
    struct Told<'a>(&'a str);
    impl Drop for Told<'_> {
        fn drop(&mut self) {
            if std::thread::panicking() {
                eprintln!("in the case: {}", self.0);
            }
        }
    }
    let told = Told(case);
    let done = check();
    drop(told);
    done
}

fn must_open(disk: &SimDisk, case: &str) -> EventStore {
    open(disk).unwrap_or_else(|error| panic!("{case}: {error:?}"))
}

/// Opens what is left, and checks all that is promised.
fn check_recovery(left: &Left, model: &Model, case: &str, rng: &mut Rng, cases: &mut Cases) {
    cases.recoveries += 1;
    let least = model.least(left.end);
    let disk = left.disk.fork();
    let mut model = model.clone();
    let before = model.clone();
    in_case(case, || {
        let store = must_open(&disk, case);
        let shown = oracle::check(&store, &model, least);
        model.recovered(shown);

        let again = if rng.below(2) == 0 {
            // What was shown is durable, without a close.
            disk.after_power_loss(PowerLoss::KeepLeast, 0)
        } else {
            drop(store);
            let closed = snapshot(&disk);
            let store = must_open(&disk, case);
            assert!(store.recovery_report().is_clean(), "{:?}", store.recovery_report());
            drop(store);
            assert!(snapshot(&disk) == closed, "opening twice changes nothing");
            disk.clone()
        };
        let store = must_open(&again, case);
        assert_eq!(oracle::check(&store, &model, shown), shown);
        // Whoever lost an answer asks again, and everything is there once.
        for batch in before.batches().filter(|batch| batch.can_be_retried()) {
            let done = commit(&store, batch).expect("appends work after a recovery");
            assert_eq!(done.outcome == Outcome::Duplicate, model.holds(batch), "batch {}", batch.number);
            if done.outcome == Outcome::Appended {
                model.acknowledged(batch);
            }
        }
        commit(&store, &one_more()).expect("appends work after a recovery");
        model.acknowledged(&one_more());
        let store = must_open(&again.after_power_loss(PowerLoss::KeepLeast, 0), case);
        oracle::check(&store, &model, model.len());
    });
    if rng.below(if cases.operations > LONG { 3 * RECOVERIES } else { RECOVERIES }) == 0 {
        let seed = rng.next();
        in_case(&format!("{case}, recovery interrupted, seed {seed}"), || {
            check_interrupted_recovery(left, &before, seed, cases);
        });
    }
}

/// Interrupts the recovery at each of its operations; the next one comes to the same.
fn check_interrupted_recovery(left: &Left, model: &Model, seed: u64, cases: &mut Cases) {
    let whole = left.disk.fork();
    let store = must_open(&whole, "uninterrupted");
    // Makes the indexes that are missing, which is a part of it.
    store.stream_count().unwrap();
    let operations = whole.operations();
    let shown = oracle::check(&store, model, model.least(left.end));
    drop(store);
    for stop in 0..operations {
        let disk = left.disk.fork();
        disk.stop_at(stop);
        let opened = open(&disk).map(|store| store.stream_count());
        assert!(opened.is_err() || disk.is_stopped());
        drop(opened);
        for end in few_ends(&disk, seed) {
            cases.in_recovery += 1;
            let case = format!("recovery stopped at {stop}, {}", end.how);
            in_case(&case, || {
                // A power loss after a kill may still take what nobody was shown.
                let least = if end.end == End::Kill { shown } else { model.least(left.end).min(model.least(end.end)) };
                let store = must_open(&end.disk, &case);
                let found = oracle::check(&store, model, least);
                assert!(
                    left.end == End::Kill || found == shown,
                    "{found} batches, and {shown} without the interruption"
                );
            });
        }
        for fault in [Fault::Eio, Fault::StorageFull, Fault::ShortWrite, Fault::ShortThenFull] {
            let disk = left.disk.fork();
            disk.record_journal();
            disk.fail_at(stop, fault);
            cases.in_recovery += 1;
            let case = format!("recovery met {fault:?} at {stop}");
            in_case(&case, || {
                let opened = open(&disk);
                let line = disk.journal().into_iter().find(|line| line.contains(" -> ")).unwrap_or_default();
                let failed = line.split(' ').nth(1).unwrap_or_default().to_owned();
                match opened {
                    Ok(store) => {
                        oracle::check(&store, model, shown);
                        // A file that is made for later, or to keep a copy, may find no space.
                        let may_fail = line.contains(".tmp") && fault != Fault::Eio;
                        assert!(
                            failed != "sync" || may_fail || fault == Fault::ShortWrite,
                            "an error of a sync was ignored"
                        );
                    }
                    Err(OpenError::Io { .. }) => assert!(fault != Fault::ShortWrite, "a short write is no error"),
                    Err(error) => panic!("{error:?}"),
                }
                let least = if failed == "sync" { model.least(End::PowerLoss) } else { shown };
                let store = must_open(&disk, &case);
                let mut model = model.clone();
                let shown = oracle::check(&store, &model, least);
                model.recovered(shown);
                if !is_sync_of_root(&line) {
                    let store = must_open(&disk.after_power_loss(PowerLoss::KeepLeast, 0), &case);
                    oracle::check(&store, &model, shown);
                }
            });
        }
    }
}

// One segment.

#[test]
fn making_a_store_leaves_one_or_none() {
    check_story(&story("nothing but open").end());
}

#[test]
fn one_durable_event_is_there_or_not() {
    check_story(&story("one event").sync(&[("a", 10)]).end());
}

#[test]
fn durable_batches_of_one_stream_stay_in_order() {
    check_story(&story("three batches").sync(&[("a", 10)]).sync(&[("a", 600), ("a", 0)]).sync(&[("a", 1_200)]).end());
}

#[test]
fn a_batch_over_several_streams_is_whole_or_absent() {
    let events = [("a", 900), ("b", 10), ("a", 700), ("c", 0)];
    check_story(&story("several streams").sync(&events).sync(&events).end());
}

#[test]
fn a_batch_larger_than_many_sectors_is_whole_or_absent() {
    check_story(&story("long batch").sync(&[("a", 9_000), ("b", 7_000), ("a", 1)]).sync(&[("a", 5_000)]).end());
}

#[test]
fn tracking_records_share_the_fate_of_their_batch() {
    check_story(
        &story("tracking")
            .tracked(&[("a", 300)], "bank", 7)
            .tracked(&[], "bank", 9)
            .tracked(&[("b", 5)], "shop", 1)
            .end(),
    );
}

#[test]
fn buffered_events_survive_a_kill_and_flushed_ones_a_power_loss() {
    check_story(&story("buffered, flush").buffered(&[("a", 700)]).buffered(&[("b", 40), ("a", 900)]).flush().end());
}

#[test]
fn a_flush_covers_what_came_before_it_and_nothing_else() {
    check_story(&story("flush, buffered").buffered(&[("a", 700)]).flush().buffered(&[("a", 800)]).flush().end());
}

#[test]
fn a_sync_append_makes_buffered_ones_before_it_durable() {
    check_story(
        &story("mixed")
            .buffered(&[("a", 1_500)])
            .sync(&[("b", 10)])
            .buffered(&[("a", 10)])
            .buffered(&[("c", 1_000), ("a", 1)])
            .sync(&[("a", 300)])
            .end(),
    );
}

#[test]
fn tickets_of_one_group_share_a_write_and_are_each_whole_or_absent() {
    check_story(
        &story("tickets")
            .tickets(&[(&[("a", 400)], Sync), (&[("a", 800), ("b", 1)], Sync), (&[("c", 100)], Sync)])
            .sync(&[("a", 1)])
            .end(),
    );
}

#[test]
fn tickets_of_mixed_durability_are_durable_together() {
    check_story(
        &story("mixed tickets")
            .tickets(&[(&[("a", 400)], Buffered), (&[("b", 800)], Sync), (&[("a", 100)], Buffered)])
            .tickets(&[(&[("a", 600)], Buffered), (&[("b", 10)], Buffered)])
            .end(),
    );
}

#[test]
fn a_conflict_leaves_no_trace() {
    check_story(&story("conflicts").conflict("a").sync(&[("a", 10)]).conflict("a").sync(&[("a", 10)]).end());
}

#[test]
fn a_conflict_with_the_same_group_shares_its_fate() {
    check_story(&story("conflict in group").sync(&[("a", 10)]).conflict_in_group(&[("a", 500), ("b", 3)]).end());
}

// Reopening.

#[test]
fn a_store_that_is_reopened_goes_on_where_it_was() {
    check_story(&story("reopen").sync(&[("a", 10)]).reopen().sync(&[("a", 700)]).reopen().sync(&[("b", 1)]).end());
}

#[test]
fn closing_makes_buffered_events_durable() {
    check_story(&story("buffered, reopen").buffered(&[("a", 900)]).reopen().buffered(&[("a", 900), ("b", 2)]).end());
}

#[test]
fn reopening_an_empty_store_changes_nothing() {
    check_story(&story("reopen empty").reopen().reopen().sync(&[("a", 1)]).end());
}

// What is asked for again, and what must not be.

#[test]
fn a_batch_with_a_key_is_there_once_however_often_it_is_appended() {
    check_story(
        &story("keys")
            .keyed(&[("a", 300)], Sync)
            .again(1)
            .keyed(&[("a", 900), ("b", 5)], Buffered)
            .reopen()
            .again(2)
            .again(1)
            .end(),
    );
}

#[test]
fn a_batch_with_ids_is_there_once_however_often_it_is_appended() {
    check_story(
        &story("ids")
            .named(&[("a", 300), ("b", 1)], Buffered)
            .again(1)
            .reopen()
            .again(1)
            .named(&[("a", 10)], Sync)
            .again(2)
            .end(),
    );
}

#[test]
fn a_durable_retry_of_a_buffered_batch_makes_it_durable() {
    check_story(
        &story("durable retry")
            .keyed(&[("a", 700)], Buffered)
            .buffered(&[("b", 10)])
            .again(1)
            .named(&[("a", 10)], Buffered)
            .again(3)
            .buffered(&[("b", 10)])
            .again(1)
            .end(),
    );
}

#[test]
fn what_a_batch_of_the_group_refuses_is_told_only_when_that_batch_is_there() {
    check_story(
        &story("refused in a group")
            .sync(&[("z", 1)])
            .refused_in_group(&[("a", 400), ("b", 1)])
            .failed_condition("z")
            .reopen()
            .failed_condition("z")
            .refused_in_group(&[("a", 10)])
            .end(),
    );
}

// Several segments.

const HALF: usize = 30_000;
const MOST: usize = 55_000;

#[test]
fn a_roll_keeps_both_segments() {
    check_story(&story("roll").sync(&[("a", MOST)]).sync(&[("a", HALF)]).end());
}

#[test]
fn many_rolls_keep_every_segment() {
    check_story(
        &story("three rolls")
            .sync(&[("a", HALF), ("b", 3)])
            .sync(&[("b", MOST)])
            .sync(&[("a", HALF), ("c", HALF / 2)])
            .sync(&[("a", MOST)])
            .sync(&[("c", 3)])
            .end(),
    );
}

#[test]
fn buffered_events_before_a_roll_are_durable_after_it() {
    check_story(
        &story("buffered roll").buffered(&[("a", HALF)]).buffered(&[("a", HALF)]).buffered(&[("b", HALF)]).end(),
    );
}

#[test]
fn tickets_that_do_not_fit_into_one_segment_are_split_between_batches() {
    check_story(
        &story("tickets over a roll")
            .tickets(&[(&[("a", HALF)], Buffered), (&[("b", HALF)], Sync), (&[("a", 10), ("c", HALF)], Buffered)])
            .end(),
    );
}

#[test]
fn a_batch_larger_than_a_segment_gets_one_of_its_own() {
    check_story(&story("oversized").sync(&[("a", 10)]).sync(&[("a", 50_000), ("b", 50_000)]).sync(&[("a", 10)]).end());
}

#[test]
fn the_first_batch_may_be_larger_than_a_segment() {
    check_story(
        &story("oversized first").sync(&[("a", 90_000)]).buffered(&[("b", 10)]).reopen().sync(&[("b", 10)]).end(),
    );
}

#[test]
fn reopening_right_after_a_roll_goes_on_in_the_new_segment() {
    check_story(&story("roll, reopen").sync(&[("a", MOST)]).sync(&[("b", HALF)]).reopen().sync(&[("a", HALF)]).end());
}

#[test]
fn a_segment_continued_by_a_second_writer_is_sealed_with_the_totals_of_both() {
    check_story(
        &story("roll after reopen")
            .sync(&[("a", 100), ("b", HALF)])
            .reopen()
            .sync(&[("a", HALF)])
            .sync(&[("b", HALF)])
            .reopen()
            .end(),
    );
}

#[test]
fn tracking_survives_rolls() {
    check_story(
        &story("tracking over rolls")
            .tracked(&[("a", MOST)], "bank", 1)
            .tracked(&[("a", HALF)], "shop", 4)
            .reopen()
            .tracked(&[], "bank", 2)
            .end(),
    );
}

#[test]
fn retries_find_their_batch_in_an_older_segment() {
    check_story(
        &story("retries over rolls")
            .keyed(&[("a", MOST)], Sync)
            .named(&[("a", HALF), ("b", HALF / 2)], Buffered)
            .again(1)
            .keyed(&[("b", HALF)], Buffered)
            .reopen()
            .again(2)
            .again(1)
            .end(),
    );
}

// What is zeroed and prepared ahead.

#[test]
fn appends_into_zeroed_space_are_whole_or_absent() {
    check_story(
        &story("zeroed ahead")
            .sync(&[("a", 3_000)])
            .maintain()
            .sync(&[("b", 700)])
            .sync(&[("a", 2_000), ("b", 1)])
            .maintain()
            .sync(&[("a", 9_000)])
            .end(),
    );
}

#[test]
fn buffered_events_in_zeroed_space_survive_what_they_should() {
    check_story(
        &story("buffered in zeros")
            .sync(&[("a", 900)])
            .maintain()
            .buffered(&[("b", 700)])
            .maintain()
            .buffered(&[("a", 10)])
            .flush()
            .buffered(&[("a", 5_000)])
            .end(),
    );
}

#[test]
fn zeros_behind_the_end_are_no_part_of_the_log_that_is_reopened() {
    check_story(
        &story("zeros, reopen").sync(&[("a", 3_000)]).maintain().reopen().sync(&[("a", 700)]).maintain().reopen().end(),
    );
}

#[test]
fn a_prepared_successor_is_found_by_the_roll() {
    check_story(
        &story("prepared")
            .sync(&[("a", HALF)])
            .maintain()
            .sync(&[("a", HALF), ("b", 10)])
            .sync(&[("b", 700)])
            .maintain()
            .sync(&[("a", 700)])
            .end(),
    );
}

#[test]
fn a_prepared_successor_that_is_not_needed_is_removed() {
    check_story(
        &story("prepared, reopen").sync(&[("a", HALF)]).maintain().reopen().maintain().sync(&[("a", HALF)]).end(),
    );
}

#[test]
fn a_batch_larger_than_a_segment_goes_into_the_prepared_successor() {
    check_story(&story("prepared, oversized").sync(&[("a", HALF)]).maintain().sync(&[("a", 90_000)]).maintain().end());
}

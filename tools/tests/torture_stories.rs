//! Short stories on the simulated disk, stopped and failed at every operation, in every way, and
//! once more in the recovery. The text form of a story is explained in `annals_cli::torture::story`.

use annals_cli::torture::exhaustive::{Care, explore};
use annals_cli::torture::simulated::{Plan, run};
use annals_cli::torture::{Story, Tally};

/// Explores a story of one life. Of a long one fewer recoveries are interrupted: it has more, each
/// with more operations of its own, and most of them repeat each other.
#[track_caller]
fn check_story(text: &str) {
    let story: Story = text.parse().expect("the text is a story");
    let [life] = &story.lives[..] else { panic!("one life, and every end of it") };
    let is_long = life.steps.len() > 4 || text.contains("0000");
    let seed = text.bytes().fold(7, |seed: u64, byte| seed.wrapping_mul(31) + u64::from(byte));
    let care = Care { interrupt_one_in: if is_long { 75 } else { 25 }, seed };
    match explore(&life.steps, care, &mut Tally::default()) {
        Ok(cases) => println!("{text}: {cases:?}"),
        Err(found) => panic!("{}\n{}", found.0, found.1),
    }
}

// One segment.

#[test]
fn making_a_store_leaves_one_or_none() {
    check_story("");
}

#[test]
fn one_durable_event_is_there_or_not() {
    check_story("sync a10");
}

#[test]
fn durable_batches_of_one_stream_stay_in_order() {
    check_story("sync a10, sync a600 a0, sync a1200");
}

#[test]
fn a_batch_over_several_streams_is_whole_or_absent() {
    check_story("sync a900 b10 a700 c0, sync a900 b10 a700 c0");
}

#[test]
fn a_batch_larger_than_many_sectors_is_whole_or_absent() {
    check_story("sync a9000 b7000 a1, sync a5000");
}

#[test]
fn tracking_records_share_the_fate_of_their_batch() {
    check_story("sync a300 bank=7, sync bank=9, sync b5 shop=1");
}

#[test]
fn buffered_events_survive_a_kill_and_flushed_ones_a_power_loss() {
    check_story("buffered a700, buffered b40 a900, flush");
}

#[test]
fn a_flush_covers_what_came_before_it_and_nothing_else() {
    check_story("buffered a700, flush, buffered a800, flush");
}

#[test]
fn a_sync_append_makes_buffered_ones_before_it_durable() {
    check_story("buffered a1500, sync b10, buffered a10, buffered c1000 a1, sync a300");
}

#[test]
fn tickets_of_one_group_share_a_write_and_are_each_whole_or_absent() {
    check_story("group sync a400 + sync a800 b1 + sync c100, sync a1");
}

#[test]
fn tickets_of_mixed_durability_are_durable_together() {
    check_story("group buffered a400 + sync b800 + buffered a100, group buffered a600 + buffered b10");
}

#[test]
fn a_conflict_leaves_no_trace() {
    check_story("conflict a, sync a10, conflict a, sync a10 exact");
}

#[test]
fn a_conflict_with_the_same_group_shares_its_fate() {
    check_story("sync a10, conflict-behind sync a500 b3");
}

#[test]
fn a_reader_beside_the_writer_sees_what_is_durable() {
    check_story("sync a600, reader, buffered b700, reader, flush, reader, buffered a10, reader");
}

// Reopening.

#[test]
fn a_store_that_is_reopened_goes_on_where_it_was() {
    check_story("sync a10, reopen, sync a700, reopen, sync b1");
}

#[test]
fn closing_makes_buffered_events_durable() {
    check_story("buffered a900, reopen, buffered a900 b2");
}

#[test]
fn reopening_an_empty_store_changes_nothing() {
    check_story("reopen, reopen, sync a1");
}

// What is asked for again, and what must not be.

#[test]
fn a_batch_with_a_key_is_there_once_however_often_it_is_appended() {
    check_story("sync a300 key, again 1, buffered a900 b5 key, reopen, again 2, again 1");
}

#[test]
fn a_batch_with_ids_is_there_once_however_often_it_is_appended() {
    check_story("buffered a300 b1 ids, again 1, reopen, again 1, sync a10 ids, again 2");
}

#[test]
fn a_durable_retry_of_a_buffered_batch_makes_it_durable() {
    check_story("buffered a700 key, buffered b10, again 1, buffered a10 ids, again 3, buffered b10, again 1");
}

#[test]
fn what_a_batch_of_the_group_refuses_is_told_only_when_that_batch_is_there() {
    check_story(
        "sync z1, refused-behind sync a400 b1 key ids, fail-if z, reopen, fail-if z, refused-behind sync a10 key ids",
    );
}

// Several segments of 64 KiB.

#[test]
fn a_roll_keeps_both_segments() {
    check_story("sync a55000, sync a30000");
}

#[test]
fn many_rolls_keep_every_segment() {
    check_story("sync a30000 b3, sync b55000, sync a30000 c15000, sync a55000, sync c3");
}

#[test]
fn buffered_events_before_a_roll_are_durable_after_it() {
    check_story("buffered a30000, buffered a30000, buffered b30000");
}

#[test]
fn tickets_that_do_not_fit_into_one_segment_are_split_between_batches() {
    check_story("group buffered a30000 + sync b30000 + buffered a10 c30000");
}

#[test]
fn a_batch_larger_than_a_segment_gets_one_of_its_own() {
    check_story("sync a10, sync a50000 b50000, sync a10");
}

#[test]
fn the_first_batch_may_be_larger_than_a_segment() {
    check_story("sync a90000, buffered b10, reopen, sync b10");
}

#[test]
fn reopening_right_after_a_roll_goes_on_in_the_new_segment() {
    check_story("sync a55000, sync b30000, reopen, sync a30000");
}

#[test]
fn a_segment_continued_by_a_second_writer_is_sealed_with_the_totals_of_both() {
    check_story("sync a100 b30000, reopen, sync a30000, sync b30000, reopen");
}

#[test]
fn tracking_survives_rolls() {
    check_story("sync a55000 bank=1, sync a30000 shop=4, reopen, sync bank=2");
}

#[test]
fn retries_find_their_batch_in_an_older_segment() {
    check_story("sync a55000 key, buffered a30000 b15000 ids, again 1, buffered b30000 key, reopen, again 2, again 1");
}

// Retention.

#[test]
fn a_truncation_happens_as_a_whole_or_not_at_all_and_versions_survive_it() {
    check_story("sync a30000 b3 bank=7, sync b55000, sync a55000, keep 1, sync a10 b1 exact bank=8");
}

#[test]
fn a_second_truncation_keeps_what_the_first_one_knew() {
    check_story(
        "sync a55000, sync b55000 shop=2, keep 0, reopen, sync b55000, sync c20000, keep 1, reopen, sync a1 exact",
    );
}

#[test]
fn what_a_truncation_has_removed_never_returns_and_what_it_left_stays() {
    check_story(
        "buffered a30000 key, buffered a30000 ids, keep 2, buffered b30000 key, keep 0, again 3, reader, flush",
    );
}

#[test]
fn a_truncation_on_a_full_disk_removes_nothing_or_all_that_was_asked() {
    check_story("sync a55000, sync a30000, space 0, keep 0, space all, keep 0, sync a10 exact");
}

#[test]
fn truncating_a_log_of_one_segment_removes_nothing() {
    check_story("sync a10, keep 0, sync a10 exact");
}

// What is zeroed and prepared ahead.

#[test]
fn appends_into_zeroed_space_are_whole_or_absent() {
    check_story("sync a3000, maintain, sync b700, sync a2000 b1, maintain, sync a9000");
}

#[test]
fn buffered_events_in_zeroed_space_survive_what_they_should() {
    check_story("sync a900, maintain, buffered b700, maintain, buffered a10, flush, buffered a5000");
}

#[test]
fn zeros_behind_the_end_are_no_part_of_the_log_that_is_reopened() {
    check_story("sync a3000, maintain, reopen, sync a700, maintain, reopen");
}

#[test]
fn a_prepared_successor_is_found_by_the_roll() {
    check_story("sync a30000, maintain, sync a30000 b10, sync b700, maintain, sync a700");
}

#[test]
fn a_prepared_successor_that_is_not_needed_is_removed() {
    check_story("sync a30000, maintain, reopen, maintain, sync a30000");
}

#[test]
fn a_batch_larger_than_a_segment_goes_into_the_prepared_successor() {
    check_story("sync a30000, maintain, sync a90000, maintain");
}

// Those who follow the log.

#[test]
fn a_consumer_is_given_each_event_once_from_its_checkpoint_on() {
    check_story("buffered a10 b600, consume x 2, checkpoint x, buffered c10 a1, consume x 1, reopen, consume x 9");
}

#[test]
fn consumers_of_one_type_keep_their_own_pace() {
    check_story("sync a10 b10 c10, consume x 9, checkpoint x, consume y 1, checkpoint y, buffered a700, checkpoint y");
}

#[test]
fn a_checkpoint_over_a_roll_is_of_one_history() {
    check_story("buffered a30000, consume x 1, buffered a30000 b3, consume x 9, checkpoint x");
}

#[test]
fn a_projection_resumes_with_the_state_of_its_position() {
    check_story("buffered a1 b1 c600, fold p, buffered a5, snapshot p, reopen, sync b1 b2, fold p");
}

#[test]
fn a_projection_of_one_type_passes_what_is_not_for_it() {
    check_story("sync a1 b1 c1, fold q, buffered a5 b5 c5, fold q, reopen, fold q");
}

#[test]
fn a_handler_that_fails_leaves_state_and_position_where_they_were() {
    check_story("sync a1 b1 c1, stumble p, buffered a5 b5 c5, stumble p, reopen, stumble p");
}

#[test]
fn what_starts_over_finds_no_older_snapshot() {
    check_story("sync a1 b1 c1, fold p, rebuild p, buffered a1, snapshot p, rebuild p");
}

#[test]
fn who_waits_is_woken_by_what_was_appended() {
    check_story("await sync a10, await buffered b700, await sync a1 bank=3, await sync bank=4");
}

// At random.

#[test]
fn stories_at_random_break_no_promise_and_everything_goes_wrong_in_them() {
    let plan = Plan { seed: 1, stories: 5_000, threads: 2 };
    let (tally, found) = run(&plan, |_| {});
    if let Some(found) = found {
        panic!("seed {}: {}\n{}", found.seed, found.shrunk.0, found.shrunk.1);
    }
    let mut counts = vec![("kill", tally.kills), ("power loss", tally.power_losses), ("rot", tally.rot)];
    counts.extend(tally.faults.iter().map(|(fault, count)| (*fault, *count)));
    assert_eq!(counts.len(), 8, "{counts:?}");
    for (what, count) in counts {
        assert!(count.met > 50 && count.mattered > 20, "{what}: {count:?}");
    }
    let followers = tally.followers;
    assert!(followers.given > 500 && followers.checkpoints > 300 && followers.snapshots > 200, "{followers:?}");
    assert!(followers.stumbled > 100 && followers.resumed > 300 && followers.woken > 100, "{followers:?}");
    assert!(tally.torn_tails > 100 && tally.finished_rolls > 20 && tally.finished_creations > 100, "{tally:?}");
}

//! A harness that finds nothing proves nothing: each mistake that can be planted into the engine is found.
//!
//! `cargo test -p annals-cli --features planted-bugs --test planted_bugs`
//!
//! Each test breaks the engine in one way, tells random stories from a seed on, and wants one of them to
//! break a promise: one of those that this mistake can break, within so many stories. In how many stories it is
//! found from seed 1 on is in `engine/RELIABILITY.md`.

use std::process::Command;

use serde_json::Value;

/// What `annals torture` says of an engine with this bug in it.
fn torture(bug: &str, seed: u64, stories: u64) -> (Option<i32>, Value) {
    let args = ["torture", "--json", "--plant", bug];
    let (seed, stories) = (seed.to_string(), stories.to_string());
    let run = Command::new(env!("CARGO_BIN_EXE_annals"))
        .args(args)
        .args(["--threads", "1", "--seed", &seed, "--stories", &stories])
        .output()
        .expect("the command runs");
    let line = run.stdout.split(|byte| *byte == b'\n').next().unwrap_or_default();
    let told = serde_json::from_slice(line).unwrap_or_else(|error| {
        panic!("{error}: {}{}", String::from_utf8_lossy(&run.stdout), String::from_utf8_lossy(&run.stderr))
    });
    (run.status.code(), told)
}

#[track_caller]
fn check_found(bug: &str, from: u64, within: u64, rules: &[&str]) {
    let (exit, told) = torture(bug, from, within);
    let finding = &told["finding"];
    assert!(!finding.is_null(), "{bug} was not found in {within} stories from seed {from} on");
    let rule = finding["rule"].as_str().unwrap();
    println!("{bug}: seed {}, {rule}: {}", finding["seed"], finding["shrunk"]);
    assert!(rules.contains(&rule), "{bug} breaks {rule}: {}", finding["violation"]);
    assert_eq!(exit, Some(1));
}

#[test]
fn no_story_breaks_a_promise_of_the_engine_as_it_is() {
    let run = Command::new(env!("CARGO_BIN_EXE_annals")).args(["torture", "--stories", "2000"]).output().unwrap();
    assert_eq!(run.status.code(), Some(0), "{}", String::from_utf8_lossy(&run.stdout));
}

#[test]
fn a_log_that_is_never_synced_is_found() {
    check_found("NoFdatasync", 1, 100, &["O1", "O10"]);
}

#[test]
fn an_acknowledgement_before_its_sync_is_found() {
    check_found("AcknowledgedBeforeSync", 1, 100, &["O1", "O10"]);
}

#[test]
fn a_segment_whose_name_is_not_durable_is_found() {
    check_found("NoDirectorySync", 1, 200, &["O1", "O10"]);
}

#[test]
fn a_short_write_that_is_ignored_is_found() {
    check_found("ShortWriteIgnored", 1, 300, &["O1", "O9", "O10"]);
}

#[test]
fn a_failed_sync_that_is_tried_again_and_believed_is_found() {
    check_found("FailedSyncRetried", 1, 500, &["O1", "O10"]);
}

#[test]
fn a_poisoned_store_that_takes_appends_is_found() {
    check_found("PoisonForgotten", 1, 1_000, &["O9"]);
}

#[test]
fn what_a_failed_group_leaves_in_memory_is_found() {
    check_found("FailedGroupKept", 1, 2_000, &["O5"]);
}

#[test]
fn a_group_that_can_be_read_before_its_sync_is_found() {
    check_found("PublishedBeforeSync", 1, 1_000, &["O9"]);
}

#[test]
fn a_flush_that_does_not_sync_is_found() {
    check_found("FlushWithoutSync", 1, 1_000, &["O1", "O12"]);
}

#[test]
fn an_unfinished_tail_that_is_not_cut_is_found() {
    check_found("TailNotCut", 1, 300, &["O3", "O8"]);
}

#[test]
fn a_cut_that_is_not_synced_is_found() {
    check_found("CutNotSynced", 1, 2_000, &["O3", "O4"]);
}

#[test]
fn what_is_shown_without_being_durable_is_found() {
    check_found("NoSyncAtOpen", 1, 1_000, &["O4"]);
}

#[test]
fn a_recovery_that_stops_at_the_first_bad_frame_is_found() {
    check_found("FirstBadFrameIsTheEnd", 1, 3_000, &["O6"]);
}

#[test]
fn a_name_that_is_not_renewed_is_found() {
    check_found("NameNotRenewed", 1, 1_000, &["O1", "O4", "O10"]);
}

#[test]
fn a_slot_of_store_meta_that_is_overwritten_too_early_is_found() {
    // From seed 1 on it takes 124,668 stories.
    check_found("SlotNotSettled", 124_600, 200, &["O10"]);
}

#[test]
fn a_segment_with_a_successor_before_its_seal_is_durable_is_found() {
    check_found("SealNotSynced", 1, 300, &["O1", "O10"]);
}

#[test]
fn zeros_over_frames_are_found() {
    check_found("ZeroesOverFrames", 1, 500, &["O1", "O5", "O10"]);
}

#[test]
fn a_watermark_ahead_of_the_disk_is_found() {
    check_found("WatermarkBeforeSync", 1, 1_000, &["O10"]);
}

#[test]
fn a_commit_marker_ahead_of_the_disk_is_found() {
    check_found("MarkerAheadOfDisk", 1, 1_000, &["O10"]);
}

#[test]
fn a_rewind_that_is_not_durable_is_found() {
    // From seed 1 on it takes 6,788 stories.
    check_found("RewindNotDurable", 6_700, 200, &["O1", "O10"]);
}

#[test]
fn keys_that_are_not_indexed_are_found() {
    check_found("KeysNotIndexed", 1, 1_000, &["O5", "O9"]);
}

#[test]
fn a_chain_whose_anchor_is_lost_at_a_roll_is_found() {
    check_found("ChainAnchorLost", 1, 2_000, &["O5"]);
}

#[test]
fn an_index_that_is_believed_unchecked_is_found() {
    check_found("IndexUnchecked", 1, 1_000, &["O5", "O7", "O10"]);
}

// Those who follow the log.

#[test]
fn a_checkpoint_ahead_of_the_durable_head_is_found() {
    check_found("CheckpointAheadOfDisk", 1, 2_000, &["O11"]);
}

#[test]
fn a_lost_wake_up_is_found() {
    check_found("WakeUpLost", 1, 1_000, &["O11"]);
}

#[test]
fn a_snapshot_that_is_ahead_of_the_disk_is_found() {
    check_found("SnapshotAheadOfDisk", 1, 2_000, &["O12"]);
}

#[test]
fn a_snapshot_newer_than_the_log_that_is_used_is_found() {
    check_found("SnapshotNewerThanLog", 1, 2_000, &["O12"]);
}

#[test]
fn a_state_that_changes_without_its_position_is_found() {
    check_found("StateWithoutPosition", 1, 1_000, &["O12"]);
}

/// What the named test says in a process of its own, in which this bug was planted.
fn run_planted(bug: &str, test: &str) -> String {
    let exe = std::env::current_exe().expect("this test has a program");
    let run = Command::new(exe)
        .args(["--ignored", "--exact", test, "--nocapture"])
        .env("PLANT", bug)
        .output()
        .expect("it runs");
    assert!(!run.status.success(), "{bug} was not found");
    String::from_utf8_lossy(&run.stderr).into_owned()
}

/// Plants the bug that the environment names, and explores.
fn explore_planted<T>(explore: fn(u64) -> Result<T, annals_cli::torture::Violation>) {
    let name = std::env::var("PLANT").expect("a bug to plant");
    let bug = annals::planted::Bug::ALL.into_iter().find(|bug| format!("{bug:?}") == name).expect("a bug");
    annals::planted::plant(bug);
    if let Err(violation) = explore(1) {
        panic!("found: {violation}");
    }
}

#[test]
#[ignore = "run by the tests below, each with a bug planted"]
fn backups_that_are_interrupted_everywhere() {
    explore_planted(annals_cli::torture::copies::explore);
}

#[test]
#[ignore = "run by the tests below, each with a bug planted"]
fn redactions_that_are_interrupted_everywhere() {
    explore_planted(annals_cli::torture::redactions::explore);
}

#[test]
fn a_segment_that_is_replaced_by_one_that_is_not_on_the_disk_is_found() {
    let told = run_planted("RedactedNotSynced", "redactions_that_are_interrupted_everywhere");
    assert!(told.contains("found: O10") || told.contains("found: O1 "), "{told}");
}

#[test]
fn a_segment_that_is_replaced_before_the_log_says_so_is_found() {
    let told = run_planted("RedactedBeforeTold", "redactions_that_are_interrupted_everywhere");
    assert!(told.contains("found: O5") || told.contains("found: O10"), "{told}");
}

#[test]
fn a_manifest_before_its_files_is_found() {
    let told = run_planted("ManifestBeforeFiles", "backups_that_are_interrupted_everywhere");
    assert!(told.contains("found: O1") || told.contains("found: O10"), "{told}");
}

#[test]
#[ignore = "run by the tests below, each with a bug planted"]
fn repairs_that_are_interrupted_everywhere() {
    explore_planted(annals_cli::torture::repairs::explore);
}

#[test]
fn a_repaired_store_that_is_one_before_it_is_durable_is_found() {
    let told = run_planted("RepairedBeforeSynced", "repairs_that_are_interrupted_everywhere");
    assert!(told.contains("found: O1") || told.contains("found: O10"), "{told}");
}

#[test]
fn a_lost_position_that_is_given_out_again_is_found() {
    let told = run_planted("LostPositionReused", "repairs_that_are_interrupted_everywhere");
    assert!(told.contains("found: O1 ") || told.contains("found: O1:"), "{told}");
}

#[test]
fn a_repair_that_brings_back_what_was_redacted_is_found() {
    let told = run_planted("RedactedRepairedBack", "repairs_that_are_interrupted_everywhere");
    assert!(told.contains("found: O3"), "{told}");
}

#[test]
fn a_floor_that_is_written_after_what_it_tells_of_was_removed_is_found() {
    check_found("FloorAfterUnlink", 1, 2_000, &["O1", "O5", "O9", "O10"]);
}

#[test]
fn a_floor_that_store_meta_does_not_wait_for_is_found() {
    check_found("MetaBeforeFloor", 1, 20_000, &["O1", "O5", "O9", "O10"]);
}

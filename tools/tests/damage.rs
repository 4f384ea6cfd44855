//! Damage in acknowledged events of the active segment: told with its place and its evidence, by every command.

mod common;

use std::ffi::OsStr;
use std::fs;
use std::path::PathBuf;

use annals::EventStore;
use annals_codec::{FrameHeader, FrameKind};
use common::{annals, file, lines, only_segment, snapshot};
use serde_json::{Value, json};
use tempfile::TempDir;

/// A store of 60 events in batches of 5, each synced; and where each event begins.
struct Story {
    dir: TempDir,
    store: PathBuf,
    segment: PathBuf,
    whole: Vec<u8>,
    events: Vec<u64>,
    end: u64,
}

fn story() -> Story {
    let dir = TempDir::new().unwrap();
    let store = dir.path().join("store");
    annals(&[&"import", &"--batch", &"5", &store, &file(dir.path(), "in", lines(60))]).exits(0);
    let segment = only_segment(&store);
    let whole = fs::read(&segment).unwrap();
    let (mut events, mut at) = (Vec::new(), 4096);
    while let Some(header) = FrameHeader::read(&whole[at..]).filter(|header| header.len > 0) {
        if header.kind() == Some(FrameKind::Event) {
            events.push(at as u64);
        }
        at += header.padded_len() as usize;
    }
    assert_eq!(events.len(), 60, "the story is what the tests think it is");
    Story { dir, store, segment, whole, events, end: at as u64 }
}

impl Story {
    fn flip(&self, offset: u64, bit: u32) {
        let mut bytes = self.whole.clone();
        bytes[offset as usize] ^= 1 << bit;
        fs::write(&self.segment, bytes).unwrap();
    }

    fn positions(rows: &[Value]) -> Vec<u64> {
        rows.iter().map(|row| row["position"].as_u64().unwrap()).collect()
    }
}

#[test]
fn a_flipped_bit_is_refused_by_the_writer_with_position_and_evidence() {
    let story = story();
    // The 23rd event lies in the batch of positions 21 to 25.
    story.flip(story.events[22] + 60, 3);
    let before = snapshot(&story.store);
    let more = file(story.dir.path(), "more", lines(3));
    let said = annals(&[&"import", &story.store, &more]).exits(1).stderr;
    assert!(said.contains("segment 0 is damaged at offset"), "{said}");
    assert!(said.contains("position"), "{said}");
    assert!(said.contains("checksum") && said.contains("durable"), "the fault and its evidence: {said}");
    assert!(said.contains("annals verify"), "what to do next: {said}");
    let mut after = snapshot(&story.store);
    after.insert(story.store.join("LOCK"), before[&story.store.join("LOCK")].clone());
    assert_eq!(before, after, "nothing was cut off");
}

#[test]
fn the_rest_is_served_to_readers_who_are_told_of_the_gap() {
    let story = story();
    story.flip(story.events[22] + 60, 3);
    let all_but_the_batch: Vec<u64> = (1..=20).chain(26..=60).collect();
    let ran = annals(&[&"read", &"--json", &story.store]).exits(1);
    assert_eq!(Story::positions(&ran.rows()), all_but_the_batch);
    let told = common::rows(&ran.stderr);
    assert_eq!(told.len(), 1, "once: {}", ran.stderr);
    let error = told[0]["error"].as_str().unwrap();
    assert!(error.contains("positions 21 to 25"), "{error}");

    let backward = annals(&[&"read", &"--json", &"--backward", &story.store]).exits(1);
    assert_eq!(Story::positions(&backward.rows()), all_but_the_batch.into_iter().rev().collect::<Vec<_>>());
    annals(&[&"tail", &"-n", &"60", &story.store]).exits(1);
    // Who asks only for what is whole is not bothered.
    assert_eq!(annals(&[&"tail", &story.store]).exits(0).stdout.lines().count(), 10);
}

#[test]
fn who_reads_what_matches_is_told_that_the_gap_might_have_matched() {
    let story = story();
    story.flip(story.events[22] + 60, 3);
    let read = |args: &[&str], exit: i32| {
        let mut all: Vec<&dyn AsRef<OsStr>> = vec![&"read", &"--json", &story.store];
        all.extend(args.iter().map(|arg| arg as &dyn AsRef<OsStr>));
        Story::positions(&annals(&all).exits(exit).rows())
    };
    // The events of account-1 stand at 1, 8, 15, and so on; that at 22, its version 4, is lost.
    assert_eq!(read(&["--type", "None"], 1), [0; 0]);
    assert_eq!(read(&["--stream", "account-1", "--until", "5"], 1), [1, 8, 15, 29]);
    assert_eq!(read(&["--stream", "account-1", "--until", "4"], 1), [1, 8, 15]);
    assert_eq!(read(&["--stream", "account-1", "--until", "3"], 0), [1, 8, 15]);
    assert_eq!(read(&["--stream", "account-1", "--after", "3", "--until", "5"], 1), [29]);
    assert_eq!(read(&["--stream", "account-1", "--after", "4", "--until", "5"], 1), [29]);
    assert_eq!(read(&["--stream", "account-1", "--after", "5"], 0), [36, 43, 50, 57]);
    // Who asks only for what is whole is not bothered.
    assert_eq!(read(&["--type-prefix", "Type", "--until", "20", "--last", "2"], 0), [19, 20]);
    assert_eq!(read(&["--stream-prefix", "account-1", "--last", "2"], 0), [50, 57]);
}

#[test]
fn commands_that_speak_of_the_whole_store_say_that_a_part_is_missing() {
    let story = story();
    story.flip(story.events[22] + 60, 3);
    let stats = annals(&[&"stats", &"--json", &story.store]).exits(1).row();
    let gaps = stats["gaps"].as_array().unwrap();
    assert_eq!((gaps.len(), &gaps[0]["from"], &gaps[0]["to"]), (1, &json!(21), &json!(25)), "{stats}");
    assert_eq!(gaps[0]["offset"], story.events[22], "{stats}");
    let text = annals(&[&"stats", &story.store]).exits(1).stdout;
    assert!(text.contains("positions 21 to 25"), "{text}");
    let ran = annals(&[&"streams", &story.store]).exits(1);
    assert_eq!(ran.stdout.lines().count(), 8, "{}", ran.stdout);
    ran.says("some streams may be missing");
}

#[test]
fn a_dry_run_says_that_nobody_could_do_it_to_a_store_that_no_writer_opens() {
    let story = story();
    let mut bytes = story.whole.clone();
    bytes[story.events[30] as usize + 40] ^= 1;
    fs::write(&story.segment, &bytes).unwrap();
    let commands: [&[&dyn AsRef<OsStr>]; 3] = [
        &[&"truncate", &story.store, &"--keep-events", &"1", &"--dry-run"],
        &[&"redact", &story.store, &"--position", &"1"],
        &[&"redact", &story.store, &"--position", &"1", &"--reason", &"r", &"--yes"],
    ];
    for args in commands {
        annals(args).exits(1).says(&format!("annals repair {} --dry-run", story.store.display()));
    }
}

#[test]
fn an_export_stops_at_damage_unless_told_to_skip_it() {
    let story = story();
    story.flip(story.events[22] + 60, 3);
    let ran = annals(&[&"export", &story.store]).exits(1);
    assert_eq!(ran.rows().len(), 20);
    ran.says("--skip-damaged");
    let ran = annals(&[&"export", &"--skip-damaged", &story.store]).exits(1);
    assert_eq!(ran.rows().len(), 55);
}

#[test]
fn verify_lists_the_finding_with_segment_offset_position_and_kind() {
    let story = story();
    let ran = annals(&[&"verify", &"--json", &story.store]).exits(0);
    assert_eq!((&ran.row()["clean"], &ran.row()["events"]), (&json!(true), &json!(60)));
    story.flip(story.events[22] + 60, 3);
    let report = annals(&[&"verify", &"--json", &story.store]).exits(1).row();
    let findings = report["findings"].as_array().unwrap();
    assert_eq!(findings.len(), 1, "{report}");
    let finding = &findings[0];
    assert_eq!((&finding["segment"], &finding["kind"]), (&json!(0), &json!("frame")), "{finding}");
    assert_eq!(finding["offset"], story.events[22], "{finding}");
    let position = finding["position"].as_u64().unwrap();
    assert!((21..=23).contains(&position), "{finding}");
    let text = annals(&[&"verify", &story.store]).exits(1).stdout;
    assert!(text.contains(&story.events[22].to_string()) && text.contains("1 finding"), "{text}");
}

#[test]
fn verify_lists_every_finding_and_not_only_the_first() {
    let story = story();
    let mut bytes = story.whole.clone();
    for event in [2, 22, 41] {
        bytes[story.events[event] as usize + 60] ^= 1;
    }
    fs::write(&story.segment, bytes).unwrap();
    let report = annals(&[&"verify", &"--json", &story.store]).exits(1).row();
    let offsets: Vec<&Value> =
        report["findings"].as_array().unwrap().iter().map(|finding| &finding["offset"]).collect();
    assert_eq!(offsets, [&json!(story.events[2]), &json!(story.events[22]), &json!(story.events[41])]);
}

#[test]
fn dump_shows_the_damaged_frame_and_those_behind_it() {
    let story = story();
    story.flip(story.events[22] + 60, 3);
    let rows = annals(&[&"dump", &"--json", &story.segment]).exits(1).rows();
    let bad = rows.iter().find(|row| row["offset"] == story.events[22]).unwrap();
    assert_eq!((&bad["frame"], &bad["checksum"], &bad["position"]), (&json!("bad"), &json!("BAD"), &json!(23)));
    let events = rows.iter().filter(|row| row["frame"] == "event").count();
    assert_eq!(events, 59);
    assert_eq!(rows.last().unwrap()["verdict"], "damaged");
}

/// The promise itself: wherever the bit, no writer opens a shorter log in silence.
#[test]
fn a_flipped_bit_anywhere_in_acknowledged_bytes_never_gives_a_shorter_log() {
    let story = story();
    let more = file(story.dir.path(), "more", lines(3));
    for offset in (0..story.end).step_by(61) {
        story.flip(offset, (offset % 8) as u32);
        let ran = annals(&[&"import", &story.store, &more]);
        assert_eq!(ran.exit, Some(1), "offset {offset}: {ran:?}");
        let ran = annals(&[&"verify", &story.store]);
        assert_eq!(ran.exit, Some(1), "offset {offset}: {ran:?}");
        let ran = annals(&[&"dump", &story.store]);
        assert_eq!(ran.exit, Some(1), "offset {offset}: {ran:?}");
    }
    fs::write(&story.segment, &story.whole).unwrap();
    assert_eq!(EventStore::open_read_only(&story.store).unwrap().head().get(), 60, "and none of it changed the store");
}

#[test]
fn a_segment_that_was_cut_is_damage() {
    let story = story();
    let more = file(story.dir.path(), "more", lines(3));
    for cut in [story.end - 1, story.end - 100, story.events[30], 4096, 100, 0] {
        fs::write(&story.segment, &story.whole[..cut as usize]).unwrap();
        let ran = annals(&[&"import", &story.store, &more]);
        assert_eq!(ran.exit, Some(1), "cut at {cut}: {ran:?}");
        let ran = annals(&[&"verify", &story.store]);
        assert_eq!(ran.exit, Some(1), "cut at {cut}: {ran:?}");
    }
}

#[test]
fn verify_puts_a_missing_file_before_all_that_follows_from_it_and_does_not_flood_the_terminal() {
    let story = story();
    // The same segment a second time, under the number after the next.
    fs::write(story.segment.with_file_name(format!("{:020}-{:020}.seg", 2, 60)), &story.whole).unwrap();
    let text = annals(&[&"verify", &story.store]).exits(1).stdout;
    let first = text.lines().nth(1).unwrap();
    assert!(first.contains("segment 1 is missing"), "{text}");
    assert!(text.lines().count() < 120, "{} lines", text.lines().count());
    let report = annals(&[&"verify", &"--json", &story.store]).exits(1).row();
    assert!(report["findings"].as_array().unwrap().iter().any(|finding| finding["kind"] == "files"), "{report}");
}

#[test]
fn a_damaged_record_of_losses_is_a_finding_of_its_own_and_a_range_that_ends_before_it_begins_is_none() {
    let story = story();
    annals(&[&"verify", &story.store]).exits(0);
    fs::write(story.store.join("LOST"), "what somebody has written").unwrap();
    let row = annals(&[&"verify", &"--json", &story.store]).exits(1).row();
    assert_eq!((&row["clean"], &row["findings"][0]["file"]), (&json!(false), &json!("LOST")));
    fs::remove_file(story.store.join("LOST")).unwrap();
    annals(&[&"verify", &"--from", &"5", &"--to", &"3", &story.store]).exits(2).says("--from 5 lies behind --to 3");
    annals(&[&"verify", &"--from", &"5", &"--to", &"5", &story.store]).exits(0);
}

//! `annals dump` over segments that are whole, hurt, foreign and random.

mod common;

use std::fs;

use annals_codec::{Position, SegmentHeader, StoreMeta};
use common::segment::{EPOCH, Segment};
use common::{Ran, Rng, annals, crc32, file, lines, only_segment};
use serde_json::{Value, json};
use tempfile::TempDir;

fn dump(bytes: &[u8]) -> Ran {
    let dir = TempDir::new().unwrap();
    let path = file(dir.path(), "some.seg", bytes);
    annals(&[&"dump", &"--json", &path])
}

/// The frames in order, each with its offset and position, then the verdict.
fn told(ran: &Ran) -> (Vec<(String, u64, Option<u64>)>, String) {
    let rows = ran.rows();
    let (verdict, rows) = rows.split_last().expect("a verdict");
    let frames = rows[1..].iter().map(|row| {
        (row["frame"].as_str().unwrap().to_owned(), row["offset"].as_u64().unwrap(), row["position"].as_u64())
    });
    (frames.collect(), verdict["verdict"].as_str().unwrap().to_owned())
}

#[track_caller]
fn find(rows: &[Value], offset: u64) -> &Value {
    rows.iter().find(|row| row["offset"] == offset && row.get("frame").is_some()).expect("a row at that offset")
}

#[test]
fn every_frame_of_a_whole_segment_is_named_with_what_it_holds() {
    let mut segment = Segment::of_three_batches();
    let (events, commits) = (segment.events.clone(), segment.commits.clone());
    let seal_at = segment.bytes.len() as u64;
    segment.seal();
    let ran = dump(&segment.bytes).exits(0);
    let (frames, verdict) = told(&ran);
    let frame = |name: &str, offset, position| (name.to_owned(), offset, position);
    assert_eq!(
        frames,
        [
            frame("header", 0, Some(0)),
            frame("event", events[0], Some(1)),
            frame("event", events[1], Some(2)),
            frame("commit", commits[0], Some(2)),
            frame("event", events[2], Some(3)),
            frame("commit", commits[1], Some(3)),
            frame("event", events[3], Some(4)),
            frame("event", events[4], Some(5)),
            frame("event", events[5], Some(6)),
            frame("commit", commits[2], Some(6)),
            frame("seal", seal_at, Some(6)),
            frame("index", seal_at + 64, None),
            frame("trailer", seal_at + 64 + 24, None),
        ]
    );
    assert_eq!(verdict, "clean");
    let rows = ran.rows();
    assert!(rows[1..rows.len() - 1].iter().all(|row| row["checksum"] == "ok"), "{}", ran.stdout);
    let event = find(&rows, events[0]);
    assert_eq!(
        (&event["stream"], &event["version"], &event["type"], &event["epoch"], &event["data_len"]),
        (&json!("account-1"), &json!(1), &json!("Deposited"), &json!(3), &json!(11))
    );
    let commit = find(&rows, commits[2]);
    assert_eq!(
        (&commit["exists"], &commit["count"], &commit["first"], &commit["last"], &commit["upstream"]),
        (&json!(true), &json!(3), &json!(4), &json!(6), &json!(6))
    );
}

#[test]
fn payloads_are_shown_only_when_asked_for() {
    let dir = TempDir::new().unwrap();
    let path = file(dir.path(), "some.seg", &Segment::of_three_batches().bytes);
    let without = annals(&[&"dump", &path]).exits(0);
    assert!(!without.stdout.contains("cents"), "{}", without.stdout);
    let with = annals(&[&"dump", &"--payload", &path]).exits(0);
    assert!(with.stdout.contains("data {\"cents\":5}"), "{}", with.stdout);
    assert!(with.stdout.contains("metadata {\"by\":\"teller\"}"), "{}", with.stdout);
    let rows = annals(&[&"dump", &"--payload", &"--json", &path]).exits(0).rows();
    let data: Vec<&Value> = rows.iter().filter_map(|row| row.get("data").or(row.get("data_base64"))).collect();
    assert_eq!(
        data,
        [&json!({"cents": 5}), &json!("c2Vjb25k"), &json!(""), &json!(4), &json!(5), &json!("/wBiaW5hcnk=")]
    );
}

#[test]
fn zeros_behind_the_log_are_one_line_and_no_fault() {
    let mut segment = Segment::of_three_batches();
    let end = segment.bytes.len() as u64;
    segment.bytes.resize(segment.bytes.len() + (3 << 20), 0);
    let ran = dump(&segment.bytes).exits(0);
    let zeros = find(&ran.rows(), end).clone();
    assert_eq!((&zeros["frame"], &zeros["len"]), (&json!("zeros"), &json!(3 << 20)));
    assert_eq!(told(&ran).1, "clean");
}

#[test]
fn a_cut_at_any_byte_is_unfinished_and_never_damage() {
    let segment = Segment::of_three_batches();
    let full = segment.bytes.len();
    for cut in segment.events[0] as usize..full {
        let (frames, verdict) = told(&dump(&segment.bytes[..cut]).exits(0));
        let commits = segment.commits.iter().filter(|&&at| {
            // A marker is 20 + 44 bytes and its tracking record 8 + 8.
            at + 80 <= cut as u64
        });
        assert_eq!(frames.iter().filter(|frame| frame.0 == "commit").count(), commits.count(), "cut at {cut}");
        let begins_a_batch = [0, 2, 3].map(|event| segment.events[event] as usize).contains(&cut);
        assert_eq!(verdict, if begins_a_batch { "clean" } else { "unfinished" }, "cut at {cut}");
    }
}

#[test]
fn behind_a_flipped_bit_the_walk_goes_on_and_the_verdict_is_damaged() {
    let segment = Segment::of_three_batches();
    for event in [0, 1, 2] {
        let mut bytes = segment.bytes.clone();
        let at = segment.events[event];
        bytes[at as usize + 40] ^= 4;
        let ran = dump(&bytes).exits(1);
        let rows = ran.rows();
        let bad = find(&rows, at);
        assert_eq!((&bad["frame"], &bad["checksum"]), (&json!("bad"), &json!("BAD")), "{bad}");
        assert_eq!(bad["position"], json!(event + 1), "the hurt frame still says which it was");
        assert!(bad["fault"].as_str().unwrap().starts_with("the checksum is "), "{bad}");
        let last = find(&rows, segment.commits[2]);
        assert_eq!(last["exists"], true, "the batches behind it are whole: {}", ran.stdout);
        let hurt = find(&rows, segment.commits[usize::from(event == 2)]);
        assert_eq!(hurt["exists"], false);
        assert!(hurt["fault"].as_str().unwrap().starts_with("the marker counts "), "{hurt}");
        let verdict = rows.last().unwrap();
        assert_eq!(verdict["verdict"], "damaged");
        assert!(verdict["evidence"].as_str().unwrap().contains("was durable"), "{verdict}");
    }
}

#[test]
fn a_missing_batch_is_told_by_the_condition_that_fails() {
    let segment = Segment::of_three_batches();
    let mut bytes = segment.bytes[..segment.events[2] as usize].to_vec();
    bytes.extend_from_slice(&segment.bytes[segment.events[3] as usize..]);
    let rows = dump(&bytes).rows();
    let event = find(&rows, segment.events[2]);
    assert_eq!(event["fault"], "position 4 stands where 3 should");
}

#[test]
fn a_flipped_bit_anywhere_in_a_sealed_segment_is_noticed() {
    let mut segment = Segment::of_three_batches();
    segment.seal();
    let dir = TempDir::new().unwrap();
    for at in (0..segment.bytes.len()).step_by(97).chain(4092..4096) {
        let mut bytes = segment.bytes.clone();
        bytes[at] ^= 1 << (at % 8);
        let path = file(dir.path(), "some.seg", &bytes);
        let rows = annals(&[&"dump", &"--json", &path]).rows();
        let faults = rows.iter().filter(|row| row.get("fault").is_some()).count();
        assert!(faults > 0, "the bit at byte {at} went unnoticed");
    }
}

#[test]
fn a_hurt_header_does_not_hide_the_frames_when_store_meta_knows_the_seed() {
    let store = TempDir::new().unwrap();
    let segment = Segment::of_three_batches();
    let SegmentHeader { log_id, number, base, .. } = segment.header;
    let meta = StoreMeta {
        sequence: 1,
        log_id,
        created_at: 0,
        epoch: EPOCH,
        active: number,
        active_base: base,
        active_seed: segment.seed,
        floor: number,
        floor_base: Position::START,
    };
    let mut meta_file = vec![0; 8192];
    let slot = meta.slot_offset() as usize;
    meta_file[slot..slot + 512].copy_from_slice(&meta.encode());
    file(store.path(), "store.meta", meta_file);
    fs::create_dir(store.path().join("seg")).unwrap();
    let mut bytes = segment.bytes.clone();
    bytes[..4096].fill(0xAA);
    let name = format!("seg/{:020}-{:020}.seg", number.get(), base.get());
    let path = file(store.path(), &name, &bytes);

    // Both by its own name and as the store that it belongs to.
    for named in [path.as_path(), store.path()] {
        let ran = annals(&[&"dump", &"--json", &named]).exits(1);
        let rows = ran.rows();
        assert_eq!(find(&rows, 0)["fault"], "this is not an Annals segment");
        assert_eq!(find(&rows, segment.events[5])["position"], 6);
        assert_eq!(find(&rows, segment.commits[2])["exists"], true, "{}", ran.stdout);
        let evidence = rows.last().unwrap()["evidence"].as_str().unwrap().to_owned();
        assert!(evidence.ends_with("the seed from store.meta"), "{evidence}");
    }
}

#[test]
fn a_header_that_is_hurt_only_in_its_fields_still_holds_its_seed() {
    let mut segment = Segment::of_three_batches();
    segment.bytes[30] ^= 1;
    let ran = dump(&segment.bytes).exits(1);
    let rows = ran.rows();
    assert_eq!(find(&rows, 0)["fault"], "the checksum of the segment header does not match");
    assert_eq!(find(&rows, segment.commits[2])["exists"], true, "{}", ran.stdout);
}

#[test]
fn a_newer_format_is_named_and_its_frames_are_left_alone() {
    let mut segment = Segment::of_three_batches();
    segment.bytes[8] = 2;
    let crc = crc32(&segment.bytes[..4092]);
    segment.bytes[4092..4096].copy_from_slice(&crc);
    let ran = dump(&segment.bytes).exits(1);
    assert!(ran.stdout.contains("format version 2; this program reads version 1: use a newer one"), "{}", ran.stdout);
    assert_eq!(told(&ran).0.len(), 1, "only the header: {}", ran.stdout);
}

#[test]
fn garbage_gets_a_clear_line_and_exit_code_1() {
    let mut rng = Rng::new(1);
    let text = "hello\n".repeat(2_000).into_bytes();
    let inputs = [Vec::new(), vec![0; 10], vec![0; 8192], text, rng.bytes(100), rng.bytes(5_000), rng.bytes(3 << 20)];
    for bytes in inputs {
        let ran = dump(&bytes).exits(1);
        let verdict = ran.rows().pop().unwrap();
        assert_eq!(verdict["verdict"], "damaged", "{} bytes: {}", bytes.len(), ran.stdout);
        assert!(verdict["evidence"].as_str().unwrap().contains("not a segment"), "{verdict}");
    }
}

#[test]
fn a_file_of_a_store_that_it_does_not_show_is_no_damage_and_it_says_what_shows_it() {
    let dir = TempDir::new().unwrap();
    let store = dir.path().join("store");
    annals(&[&"import", &store, &file(dir.path(), "in", lines(3))]).exits(0);
    let tree = file(dir.path(), "00000000000000000000.tree", b"\x89ANNTRE\n");
    let others = [
        (store.join("store.meta"), "annals verify"),
        (store.join("WATERMARK"), "annals stats"),
        (store.join("LOCK"), "the number of that process"),
        (tree.clone(), "annals verify"),
    ];
    for (path, next) in others {
        let ran = annals(&[&"dump", &path]).exits(2).says("is no segment and no index");
        assert!(ran.stdout.is_empty() && ran.stderr.contains(next), "{}{}", ran.stdout, ran.stderr);
    }
    // Those beside it are shown, and a segment whatever its name is.
    let segment = only_segment(&store);
    let both = annals(&[&"dump", &tree, &segment]).exits(2);
    let alone = annals(&[&"dump", &segment]).exits(0).stdout;
    assert_eq!(both.stdout, alone);
    std::fs::copy(&segment, &tree).unwrap();
    annals(&[&"dump", &tree]).exits(0);
}

#[test]
fn garbage_behind_a_good_header_is_walked_over() {
    for seed in 0..20 {
        let mut rng = Rng::new(seed);
        let mut segment = Segment::of_three_batches();
        let len = 1 + rng.below(50_000);
        let garbage = rng.bytes(len);
        segment.bytes.extend_from_slice(&garbage);
        let rows = dump(&segment.bytes).exits(0).rows();
        assert_eq!(rows.last().unwrap()["verdict"], "unfinished", "seed {seed}");
        assert_eq!(rows.last().unwrap()["events"], 6, "seed {seed}");
    }
}

/// Every 8 bytes could begin a long frame: the search must give up on them in time.
#[test]
fn bytes_made_to_look_like_frames_do_not_make_it_slow() {
    let mut segment = Segment::of_three_batches();
    let at = segment.events[0] as usize;
    segment.bytes[at + 30] ^= 1;
    let (header, len) = (segment.bytes[at..at + 24].to_vec(), 24 << 20);
    while segment.bytes.len() < len {
        let left = (len - segment.bytes.len()) as u32;
        let mut frame = header.clone();
        frame[4..8].copy_from_slice(&[left, left >> 8, left >> 16, left >> 24].map(|byte| byte as u8));
        segment.bytes.extend_from_slice(&frame);
    }
    let began = std::time::Instant::now();
    dump(&segment.bytes).exits(1);
    assert!(began.elapsed().as_secs() < 20, "took {:?}", began.elapsed());
}

#[test]
fn what_cannot_be_read_is_exit_code_3() {
    let dir = TempDir::new().unwrap();
    annals(&[&"dump", &dir.path().join("missing.seg")]).exits(3).says("cannot read");
    annals(&[&"dump", &dir.path()]).exits(3).says("there is no segment (*.seg) in");
    annals(&[&"dump"]).exits(2);
}

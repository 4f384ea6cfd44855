//! Repair: what is whole stays, what is damaged is told, and nothing is made up.
//!
//! The log is that of a small store with two sealed segments and an active one. It is damaged in every way there is, and
//! repaired; then the new store has to open with nothing to do, `verify` finds nothing, positions and streams are dense,
//! every batch that was not touched is what it was, and every other event is told to be lost. That a repair which is
//! interrupted anywhere leaves no store is in `tools/tests/torture_repairs.rs`; what becomes of redacted events in
//! [`repair_redacted`](super::repair_redacted).

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;

use annals::inspect::{Finding, FindingKind};
use annals::storage::sim::SimDisk;
use annals::{
    Durability, EventStore, ExpectedVersion, KeepError, NewEvent, OpenError, Options, Position, RecordedEvent,
    RepairError, RepairPlan, StreamVersion, inspect, losses_on, plan_repair_on, repair_on,
};
use annals_codec::scan::{self, Sink};
use annals_codec::{Commit, Event, SegmentHeader, WATERMARK_FILE_LEN};

use crate::support::model::Batch;
use crate::support::{commit, options, seal_early, segment_path};

/// A store before it is damaged.
struct Whole {
    disk: SimDisk,
    events: Vec<RecordedEvent>,
    /// Of each batch: the segment's file, the bytes, the positions.
    batches: Vec<(String, Range<u64>, Range<u64>)>,
}

fn batches() -> Vec<Batch> {
    let tracked = |batch: Batch, upstream| Batch { tracking: Some(("bank", upstream)), ..batch };
    vec![
        Batch::new(1, &[("a", 20), ("b", 0)]),
        tracked(Batch::new(2, &[("a", 33)]), 4),
        Batch::new(3, &[("c", 60)]),
        Batch { has_key: true, ..Batch::new(4, &[("a", 7), ("c", 8), ("a", 9)]) },
        tracked(Batch::new(5, &[("e", 3)]), 5),
        Batch { has_ids: true, ..Batch::new(6, &[("b", 41)]) },
        Batch::new(7, &[("a", 5), ("d", 50)]),
        Batch::new(8, &[("d", 24)]),
        Batch::new(9, &[("a", 24), ("c", 1)]),
    ]
}

fn whole(hash_chain: bool) -> Whole {
    let disk = SimDisk::new(11);
    let store = EventStore::open_on(Arc::new(disk.clone()), &options().hash_chain(hash_chain)).unwrap();
    for batch in batches() {
        if [3, 6].contains(&batch.number) {
            seal_early(&disk, &store);
        }
        commit(&store, &batch).unwrap();
    }
    assert_eq!(store.stats().segments.len(), 3);
    let events = read(&store);
    store.close().unwrap();
    let disk = disk.after_kill();
    let batches = batches_in(&disk, 3);
    Whole { disk, events, batches }
}

/// Of each batch of so many segments: the file, the bytes, the positions.
pub(crate) fn batches_in(disk: &SimDisk, segments: u64) -> Vec<(String, Range<u64>, Range<u64>)> {
    let mut batches = Vec::new();
    for number in 0..segments {
        let path = segment_path(disk, number);
        let bytes = disk.read_file(&path).unwrap();
        let (header, seed) = SegmentHeader::decode(&bytes).unwrap();
        let mut sink = Spans { path: &path, batches: &mut batches };
        scan::scan(&mut &bytes[..], seed, scan::first_tail(&header), &mut sink).unwrap();
    }
    batches
}

struct Spans<'a> {
    path: &'a str,
    batches: &'a mut Vec<(String, Range<u64>, Range<u64>)>,
}

impl Sink for Spans<'_> {
    fn event(&mut self, _: u64, _: &Event<'_>) {}
    fn commit(&mut self, offset: u64, commit: &Commit<'_>) {
        let bytes = offset - u64::from(commit.batch_bytes)..offset + commit.frame_len();
        self.batches.push((self.path.to_owned(), bytes, commit.first.get()..commit.last.get() + 1));
    }
    fn discard(&mut self) {}
}

pub(crate) fn read(store: &EventStore) -> Vec<RecordedEvent> {
    store.read_all(Position::START).collect::<Result<_, _>>().unwrap()
}

/// What is found in the log and in all that is derived from it. Who has seen more than is left is found, too, and has
/// to be told.
fn findings(disk: &SimDisk) -> Vec<Finding> {
    let found = inspect::verify_on(disk, |_, _| ()).unwrap().findings;
    found.into_iter().filter(|found| found.kind != FindingKind::Consumer).collect()
}

/// Repairs, if there is anything to repair, and looks at what that gives.
#[track_caller]
pub(crate) fn repaired(
    damaged: &SimDisk,
    before: &[RecordedEvent],
    what: &str,
) -> Option<(RepairPlan, SimDisk, Vec<RecordedEvent>)> {
    let bytes = |disk: &SimDisk| {
        let paths = disk.paths().into_iter().filter(|path| path != "LOCK");
        paths.map(|path| (path.clone(), disk.read_file(&path))).collect::<BTreeMap<_, _>>()
    };
    let (was, opens) = (bytes(damaged), EventStore::open_on(Arc::new(damaged.fork()), &options()).is_ok());
    let to = SimDisk::new(5);
    let planned = plan_repair_on(damaged, |_, _| ()).unwrap_or_else(|error| panic!("{what}: {error}"));
    let plan = match repair_on(damaged, &to) {
        Ok(plan) => plan,
        Err(RepairError::NotNeeded) => {
            assert!(opens && !planned.is_needed && planned.lost.is_empty(), "{what}: {planned:?}");
            assert!(to.paths().is_empty() || to.read_file("store.meta").is_none(), "{what}");
            return None;
        }
        Err(error) => panic!("{what}: {error}"),
    };
    assert_eq!(plan, planned, "{what}: what is done is what was said");
    assert_eq!(bytes(damaged), was, "{what}: the old store is as it was");
    let store = EventStore::open_on(Arc::new(to.clone()), &options()).unwrap_or_else(|error| panic!("{what}: {error}"));
    let mut report = store.recovery_report().clone();
    report.finished_roll = false;
    assert!(report.is_clean(), "{what}: {report:?}");
    let after = read(&store);
    assert_eq!(store.head(), plan.head, "{what}");
    let lost = |position: u64| plan.lost.iter().any(|lost| (lost.first.get()..=lost.last.get()).contains(&position));
    for (event, position) in after.iter().zip(1..) {
        assert_eq!(event.position().get(), position, "{what}");
        if lost(position) {
            assert_eq!(event.event_type(), "$lost", "{what}: position {position}");
            assert!(String::from_utf8_lossy(&event.data()).contains("\"why\":"), "{what}");
        } else {
            assert_eq!(Some(event), before.get(position as usize - 1), "{what}: nothing is made up");
        }
    }
    let mut versions: BTreeMap<&str, u64> = BTreeMap::new();
    for event in &after {
        let version = versions.entry(event.stream()).or_default();
        *version += 1;
        assert_eq!(event.version(), StreamVersion::new(*version), "{what}: {} is dense", event.stream());
    }
    versions.remove("$redactions"); // nobody asks by its name
    for (stream, version) in versions {
        assert_eq!(store.stream_version(stream).unwrap().get(), version, "{what}: {stream}");
    }
    drop(store);
    assert_eq!(findings(&to), [], "{what}");
    let record = losses_on(&to).unwrap().expect("a record");
    assert_eq!(record.repairs.last().unwrap().lost, plan.lost, "{what}");
    for lost in &plan.lost {
        let kept = lost.kept.as_ref().map(|kept| to.read_file(kept).expect("it is kept"));
        let original = damaged.read_file(&lost.file);
        if let (Some(kept), Some(original)) = (kept, original) {
            let range = lost.offset as usize..(lost.offset + lost.bytes) as usize;
            assert_eq!(kept, original[range], "{what}: every byte is kept");
        }
    }
    assert!(matches!(repair_on(&to, &SimDisk::new(6)), Err(RepairError::NotNeeded)), "{what}: twice");
    Some((plan, to, after))
}

/// One byte of one file changes.
#[track_caller]
fn check_byte(whole: &Whole, path: &str, at: u64, bit: u64) {
    let what = format!("byte {at} of {path}, bit {bit}");
    let disk = whole.disk.fork();
    disk.flip(path, 8 * at + bit);
    let hurt = whole.batches.iter().find(|(file, bytes, _)| file == path && bytes.contains(&at));
    let positions = hurt.map_or(0..0, |(_, _, positions)| positions.clone());
    let Some((plan, _, after)) = repaired(&disk, &whole.events, &what) else {
        assert!(hurt.is_none() || positions.is_empty(), "{what}: it is damaged");
        return;
    };
    let lost: Vec<u64> = plan.lost.iter().flat_map(|lost| lost.first.get()..=lost.last.get()).collect();
    assert_eq!(lost, positions.collect::<Vec<_>>(), "{what}: what was damaged is lost, and nothing else: {plan:?}");
    assert_eq!(after.len(), whole.events.len(), "{what}");
    for lost in lost {
        let (before, after) = (&whole.events[lost as usize - 1], &after[lost as usize - 1]);
        let is_known = path != segment_path(&whole.disk, 2);
        let same = (before.stream(), before.version()) == (after.stream(), after.version());
        assert!(same || !is_known, "{what}: the index knows what stood at {lost}: {after:?}");
    }
}

/// One byte in so many: all of them take a minute and a half.
fn every_byte(hash_chain: bool, one_in: u64) {
    let whole = whole(hash_chain);
    let mut tried = 0;
    for path in whole.disk.paths().into_iter().filter(|path| path.starts_with("seg/")) {
        let is_dull = |at: u64| (140..4088).contains(&at) && !at.is_multiple_of(331);
        let len = whole.disk.file_len(&path).unwrap();
        for at in (0..len).filter(|at| !is_dull(*at) && at % one_in == 0) {
            check_byte(&whole, &path, at, (at / one_in * 5 + 3) % 8);
            tried += 1;
        }
    }
    for path in ["store.meta", "WATERMARK"] {
        for at in (0..whole.disk.file_len(path).unwrap()).step_by(13 * one_in as usize) {
            check_byte(&whole, path, at, at / one_in % 8);
            tried += 1;
        }
    }
    println!("{tried} bytes were changed, one at a time");
}

#[test]
fn one_changed_byte_anywhere_costs_the_batch_that_it_is_in_and_nothing_else() {
    every_byte(false, 7);
}

#[test]
fn with_a_hash_chain_too_one_changed_byte_costs_the_batch_that_it_is_in() {
    every_byte(true, 11);
}

#[test]
#[ignore = "over two minutes, for every byte, with a hash chain and without: .ci/run asks for it"]
fn every_changed_byte_costs_the_batch_that_it_is_in_and_nothing_else() {
    every_byte(false, 1);
    every_byte(true, 1);
}

#[test]
fn a_store_that_is_whole_is_not_repaired() {
    let whole = whole(true);
    assert!(repaired(&whole.disk, &whole.events, "whole").is_none());
    let plan = plan_repair_on(&whole.disk, |_, _| ()).unwrap();
    assert!(!plan.is_needed && plan.lost.is_empty() && plan.mended.is_empty());
    assert_eq!(plan.head.get(), whole.events.len() as u64);
}

#[test]
fn an_unfinished_batch_at_the_end_is_no_damage() {
    let whole = whole(false);
    let path = segment_path(&whole.disk, 2);
    let mut bytes = whole.disk.read_file(&path).unwrap();
    let (_, last, _) = whole.batches.last().unwrap();
    bytes.truncate(last.end as usize);
    bytes.extend_from_slice(&[7; 40]);
    whole.disk.write_file(&path, &bytes);
    assert!(repaired(&whole.disk, &whole.events, "torn").is_none());
    // Beside damage it is left out, and kept.
    whole.disk.flip("seg/00000000000000000000-00000000000000000000.seg", 8 * 4200);
    let (plan, to, _) = repaired(&whole.disk, &whole.events, "torn, and damaged").unwrap();
    assert_eq!(plan.unfinished_bytes, 40);
    let kept = to.paths().into_iter().find(|path| path.ends_with("-unfinished.bin")).expect("it is kept");
    assert_eq!(to.read_file(&kept).unwrap(), [7; 40]);
}

/// Takes files away.
#[track_caller]
fn check_missing(whole: &Whole, paths: &[&str], lost: Range<u64>, keeps_owners: bool) {
    let disk = whole.disk.fork();
    for path in paths {
        disk.remove_file(path);
    }
    let what = format!("without {paths:?}");
    let (plan, _, after) = repaired(&disk, &whole.events, &what).expect("it does not open");
    let found: Vec<u64> = plan.lost.iter().flat_map(|lost| lost.first.get()..=lost.last.get()).collect();
    assert_eq!(found, lost.clone().collect::<Vec<_>>(), "{what}: {plan:?}");
    for position in lost {
        let (before, after) = (&whole.events[position as usize - 1], &after[position as usize - 1]);
        let same = (before.stream(), before.version()) == (after.stream(), after.version());
        assert!(same || !keeps_owners, "{what}: {after:?} instead of {before:?}");
    }
}

#[test]
fn a_segment_that_is_missing_is_filled_and_its_index_tells_which_streams_stood_there() {
    for hash_chain in [false, true] {
        let whole = whole(hash_chain);
        let path = |number| segment_path(&whole.disk, number);
        let (one, two, three) = (path(0), path(1), path(2));
        check_missing(&whole, &[&one], 1..4, true);
        check_missing(&whole, &[&two], 4..9, true);
        check_missing(&whole, &[&one, &two], 1..9, true);
        check_missing(&whole, &[&three], 9..15, false);
        check_missing(&whole, &[&two, &three], 4..15, false);
        check_missing(&whole, &["store.meta"], 0..0, true);
        check_missing(&whole, &["store.meta", &two], 4..9, true);
        check_missing(&whole, &["store.meta", &three], 9..15, false);
        let index = "idx/00000000000000000001.idx";
        assert!(whole.disk.file_len(index).is_some());
        check_missing(&whole, &[&two, index], 4..9, false);
    }
}

#[test]
fn without_any_index_what_is_left_of_a_stream_tells_what_is_lost_of_it() {
    let whole = whole(false);
    let disk = whole.disk.fork();
    for path in disk.paths().into_iter().filter(|path| path.starts_with("idx/")) {
        disk.remove_file(&path);
    }
    disk.remove_file(&segment_path(&disk, 1));
    let (plan, ..) = repaired(&disk, &whole.events, "by what is left").unwrap();
    let streams: Vec<_> = plan.streams.iter().map(|lost| (lost.stream.to_string(), lost.first, lost.last)).collect();
    // Of `e` nothing is left, and `c` has its third event behind; how many of its own stood there it says.
    let expected = [("$lost-8", 1, 1), ("a", 3, 4), ("c", 1, 2)];
    assert_eq!(streams, expected.map(|(stream, first, last)| (stream.to_owned(), first, last)));
}

#[test]
fn a_log_shorter_than_its_watermark_ends_where_the_watermark_says() {
    let whole = whole(false);
    let (_, last, positions) = whole.batches.last().unwrap().clone();
    let path = segment_path(&whole.disk, 2);
    for len in [last.start, last.start + 8, last.end - 8] {
        let disk = whole.disk.fork();
        let mut bytes = disk.read_file(&path).unwrap();
        bytes.truncate(len as usize);
        disk.write_file(&path, &bytes);
        let what = format!("cut at {len}");
        let (plan, ..) = repaired(&disk, &whole.events, &what).unwrap();
        assert_eq!(plan.head.get(), positions.end - 1, "{what}: no position is given out again");
        assert_eq!(plan.lost_positions(), positions.end - positions.start, "{what}");
    }
}

#[test]
fn what_a_consumer_has_seen_was_there_though_nothing_else_says_so() {
    let disk = SimDisk::new(3);
    let store = EventStore::open_on(Arc::new(disk.clone()), &options()).unwrap();
    for batch in batches() {
        commit(&store, &batch).unwrap();
    }
    store.consumer("reader").unwrap().checkpoint(store.head()).unwrap();
    let events = read(&store);
    drop(store);
    let disk = disk.after_kill();
    disk.write_file("WATERMARK", &[0; WATERMARK_FILE_LEN]);
    let path = segment_path(&disk, 0);
    let bytes = disk.read_file(&path).unwrap();
    // A byte of the first batch: behind it markers say that it was durable; and the last batch is cut off.
    disk.write_file(&path, &bytes[..bytes.iter().rposition(|byte| *byte != 0).unwrap() - 100]);
    disk.flip(&path, 8 * 4200);
    let to = SimDisk::new(5);
    let plan = repair_on(&disk, &to).unwrap();
    assert!(plan.head.get() < events.len() as u64, "the end may be a batch that was never finished: {plan:?}");
    let store = EventStore::open_on(Arc::new(to), &options()).unwrap();
    let told = store.consumer("reader").map(|consumer| consumer.position());
    assert!(matches!(told, Err(KeepError::PositionBeyondHead { .. })), "{told:?}");
}

#[test]
fn any_damage_leaves_every_batch_that_it_did_not_touch() {
    let whole = whole(false);
    for seed in 0..400_u64 {
        let mut random = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
        let mut below = |n: u64| {
            random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (random >> 33) % n
        };
        let disk = whole.disk.fork();
        let mut hurt: Vec<(String, Range<u64>)> = Vec::new();
        for _ in 0..=below(4) {
            let path = segment_path(&disk, below(3));
            let mut bytes = disk.read_file(&path).unwrap();
            let len = bytes.len() as u64;
            let from = if below(4) == 0 { below(len) } else { 4096 + below(len - 4096) };
            let to = (from + 1 + below(200)).min(len);
            for byte in &mut bytes[from as usize..to as usize] {
                *byte = if seed % 2 == 0 { below(256) as u8 } else { 0 };
            }
            disk.write_file(&path, &bytes);
            hurt.push((path, from..to));
        }
        let what = format!("seed {seed}: {hurt:?}");
        let Some((plan, _, after)) = repaired(&disk, &whole.events, &what) else { continue };
        assert!(plan.head.get() >= whole.events.len() as u64, "{what}: {plan:?}");
        for (path, bytes, positions) in &whole.batches {
            let is_hurt = |(other, range): &(String, Range<u64>)| {
                other == path && (range.start < bytes.end && bytes.start < range.end || range.start < 4096)
            };
            if !hurt.iter().any(is_hurt) {
                for position in positions.clone() {
                    let at = position as usize - 1;
                    assert_eq!(after[at], whole.events[at], "{what}: position {position}");
                }
            }
        }
    }
}

#[test]
fn a_repaired_store_goes_on_and_what_was_before_the_loss_is_known_to_all_who_followed_it() {
    for hash_chain in [false, true] {
        let whole = whole(hash_chain);
        let disk = whole.disk.fork();
        let store = EventStore::open_on(Arc::new(disk.clone()), &options().hash_chain(hash_chain)).unwrap();
        store.consumer("early").unwrap().checkpoint(Position::new(4)).unwrap();
        store.consumer("late").unwrap().checkpoint(store.head()).unwrap();
        store.close().unwrap();
        let disk = disk.after_kill();
        // In the second batch of the second segment.
        let (path, bytes, _) = &whole.batches[3];
        disk.flip(path, 8 * (bytes.start + 30));
        let (plan, to, _) = repaired(&disk, &whole.events, "for followers").unwrap();
        assert_eq!((plan.kept_segments, plan.written_segments), (1, 2));
        let store = EventStore::open_on(Arc::new(to.clone()), &options()).unwrap();
        assert_eq!(store.consumer("early").unwrap().position(), Position::new(4));
        let told = store.consumer("late").map(|consumer| consumer.position());
        assert!(matches!(told, Err(KeepError::DivergedLog { .. })), "{told:?}");
        for batch in [Batch { has_key: true, ..Batch::new(4, &[("a", 7)]) }, Batch::new(20, &[("a", 1), ("z", 2)])] {
            commit(&store, &batch).unwrap();
        }
        let lost = store.get_event(whole.events[4].as_event().id).unwrap();
        assert_eq!(lost, None, "an event that is lost is not known by its id");
        drop(store);
        assert_eq!(findings(&to.after_kill()), []);
        let found = inspect::verify_on(&to, |_, _| ()).unwrap().findings;
        let told: Vec<_> = found.iter().map(|found| (found.kind, found.file.as_deref())).collect();
        assert_eq!(
            told,
            [(FindingKind::Consumer, Some("simulated disk: consumers/late"))],
            "who has seen what was lost is named"
        );
    }
}

#[test]
fn a_store_that_is_damaged_again_is_repaired_again_and_remembers_both() {
    let whole = whole(false);
    let disk = whole.disk.fork();
    let (path, bytes, _) = &whole.batches[4];
    disk.flip(path, 8 * (bytes.start + 30));
    let (_, to, after) = repaired(&disk, &whole.events, "once").unwrap();
    let path = segment_path(&to, 0);
    to.flip(&path, 8 * 4200);
    let (plan, to, _) = repaired(&to.after_kill(), &after, "twice").unwrap();
    assert_eq!(plan.lost.len(), 1);
    let record = losses_on(&to).unwrap().unwrap();
    assert_eq!((record.repairs.len(), record.positions()), (2, 3));
    assert_eq!(record.first(), Some(Position::new(1)));
}

#[test]
fn a_store_in_use_no_store_and_a_directory_that_holds_something_are_told() {
    let whole = whole(false);
    let disk = whole.disk.fork();
    let store = EventStore::open_on(Arc::new(disk.clone()), &options()).unwrap();
    assert!(matches!(repair_on(&disk, &SimDisk::new(1)), Err(RepairError::InUse { .. })));
    drop(store);
    assert!(matches!(repair_on(&SimDisk::new(1), &SimDisk::new(2)), Err(RepairError::NotFound { .. })));
    let disk = whole.disk.fork();
    disk.remove_file("store.meta");
    let to = SimDisk::new(2);
    to.write_file("notes.txt", b"mine");
    assert!(matches!(repair_on(&disk, &to), Err(RepairError::NotEmpty { .. })));
    assert_eq!(to.read_file("notes.txt").unwrap(), b"mine");
}

#[test]
fn what_cannot_fit_together_is_refused_and_not_guessed() {
    let whole = whole(false);
    for number in 0..3 {
        whole.disk.remove_file(&segment_path(&whole.disk, number));
    }
    let error = repair_on(&whole.disk, &SimDisk::new(1)).unwrap_err();
    assert!(matches!(&error, RepairError::Hopeless { problem } if problem.contains("no segment")), "{error}");
}

#[test]
fn in_a_log_without_its_oldest_events_streams_go_on_from_the_floor() {
    let disk = SimDisk::new(4);
    let store = EventStore::open_on(Arc::new(disk.clone()), &options()).unwrap();
    for number in 0..40_u32 {
        let event = NewEvent::new("Told", format!("{number} {}", "x".repeat(9_000)));
        let stream = ["a", "b", "c"][number as usize % 3];
        store.append(stream, ExpectedVersion::Any, event).unwrap();
    }
    store.truncate_before(Position::new(15), annals::Guard::Force).unwrap();
    let oldest = store.oldest();
    let events: Vec<RecordedEvent> =
        store.read_all(Position::START).allow_truncated().collect::<Result<_, _>>().unwrap();
    store.close().unwrap();
    let disk = disk.after_kill();
    let path = disk.paths().into_iter().find(|path| path.starts_with("seg/")).unwrap();
    disk.flip(&path, 8 * 5000);
    let to = SimDisk::new(5);
    let plan = repair_on(&disk, &to).unwrap();
    assert_eq!((plan.lost[0].first, plan.lost_positions()), (oldest, 1));
    let store = EventStore::open_on(Arc::new(to.clone()), &options()).unwrap();
    let after: Vec<RecordedEvent> =
        store.read_all(Position::START).allow_truncated().collect::<Result<_, _>>().unwrap();
    assert_eq!(after[1..], events[1..]);
    assert_eq!((after[0].stream(), after[0].version()), (events[0].stream(), events[0].version()));
    assert_eq!(store.oldest(), oldest);
    drop(store);
    let found = inspect::verify_on(&to, |_, _| ()).unwrap();
    assert!(found.is_clean(), "{:?}", found.findings);
}

#[test]
fn an_event_of_a_lost_one_s_stream_is_appended_behind_it() {
    let whole = whole(false);
    let disk = whole.disk.fork();
    disk.flip(&segment_path(&disk, 0), 8 * 4200);
    let (_, to, _) = repaired(&disk, &whole.events, "to append").unwrap();
    let store = EventStore::open_on(Arc::new(to), &Options::new().background(false)).unwrap();
    let before = store.stream_version("a").unwrap();
    let event = NewEvent::new("Told", "more");
    let done = store.append("a", ExpectedVersion::Exact(before), event).unwrap();
    assert_eq!(done.version, before.plus(1));
    let buffered = store.batch().durability(Durability::Buffered).event("a", NewEvent::new("Told", "x"));
    assert_eq!(buffered.commit().unwrap().version, before.plus(2));
}

#[test]
fn the_error_of_opening_names_repair() {
    let whole = whole(false);
    let disk = whole.disk.fork();
    disk.flip(&segment_path(&disk, 2), 8 * 4200);
    let corrupt = EventStore::open_on(Arc::new(disk), &options()).unwrap_err();
    assert!(matches!(&corrupt, OpenError::Corrupt(_)) && corrupt.to_string().contains("annals repair"), "{corrupt}");
    whole.disk.remove_file(&segment_path(&whole.disk, 1));
    let missing = EventStore::open_on(Arc::new(whole.disk), &options()).unwrap_err();
    assert!(missing.to_string().contains("annals repair"), "{missing}");
}

//! Every combination of facts that matters, against a table that says what is to be done.

use std::sync::Arc;

use annals_codec::scan::{Bad, Fault, Scan};
use annals_codec::{FloorWriter, Seal, Seed, SegmentHeader, Tail, Trailer};

use super::*;
use crate::storage::sim::SimDisk;
use crate::storage::{File, Storage};

const HEADER: u64 = 4096;
/// Where the batches of the last segment end, and what is at the most behind them.
const END: u64 = 9_000;
const DATA_END: u64 = 9_500;
const LAST: Position = Position::new(20);

fn log_id() -> LogId {
    LogId::from_bytes([7; 16])
}

fn other_log() -> LogId {
    LogId::from_bytes([8; 16])
}

fn some_file() -> Arc<dyn File> {
    SimDisk::new(0).create("file").unwrap()
}

fn header(number: u64, base: u64) -> SegmentHeader {
    SegmentHeader {
        log_id: log_id(),
        number: SegmentNumber::new(number),
        base: Position::new(base),
        epoch: Epoch::new(3),
        salt: [0; 16],
        created_at: 0,
        predecessor_len: if number == 0 { 0 } else { 5_000 },
        chain: if number == 0 { 0 } else { 77 },
        chain_hash: None,
        redacted: None,
    }
}

fn sealed_end(file_len: u64, last: Position) -> SealedEnd {
    SealedEnd {
        seal: Seal {
            epoch: Epoch::new(3),
            last,
            chain: 77,
            events: 1,
            batches: 1,
            min_recorded_at: 0,
            max_recorded_at: 0,
        },
        seal_offset: file_len - 112,
        trailer: Trailer { file_len, index_offset: file_len - 48, events: 1, index_crc: 0 },
    }
}

fn segment(number: u64, base: u64, content: Content) -> SegmentFacts {
    SegmentFacts {
        number: SegmentNumber::new(number),
        base: Position::new(base),
        path: format!("seg/{number}"),
        display: format!("seg/{number}"),
        file: Some(some_file()),
        len: 5_000,
        header: Ok((header(number, base), Seed::new(1))),
        content,
    }
}

/// How the scan of the last segment ended.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Ends {
    Blank,
    Sealed,
    Torn { later: Option<u64> },
}

fn last_content(ends: Ends, is_empty: bool, vouched: u64, unproven: bool) -> Content {
    let offset = if is_empty { HEADER } else { END };
    let tail = Tail {
        offset,
        position: if is_empty { Position::new(10) } else { LAST },
        chain: Some(77),
        hash: None,
        epoch: Epoch::new(4),
        durable_offset: 0,
    };
    let stop = match ends {
        Ends::Blank => Stop::End,
        Ends::Sealed => Stop::Sealed(sealed_end(offset + 112, tail.position)),
        Ends::Torn { later } => Stop::Bad(Bad {
            at: offset,
            fault: Fault::NoCommit,
            data_end: DATA_END,
            later_durable: later,
            later_commits: u64::from(later.is_some()),
            later_last: None,
            resume: None,
        }),
    };
    let totals = Totals { events: 10, batches: u64::from(!is_empty), recorded_at: None };
    let scan = Scan { tail, totals, stop };
    Content::Last(Some(Box::new(LastFacts { seed: Seed::new(1), start: tail, scan, unproven, vouched })))
}

fn meta(active: u64) -> StoreMeta {
    StoreMeta {
        sequence: 1,
        log_id: log_id(),
        created_at: 0,
        epoch: Epoch::new(5),
        active: SegmentNumber::new(active),
        active_base: Position::new(10),
        active_seed: Seed::new(1),
        floor: SegmentNumber::FIRST,
        floor_base: Position::START,
    }
}

fn watermark(segment: u64, offset: u64) -> WatermarkFact {
    WatermarkFact::Valid(Watermark {
        log_id: log_id(),
        sequence: 9,
        epoch: Epoch::new(5),
        segment: SegmentNumber::new(segment),
        offset,
        position: LAST,
        floor: SegmentNumber::FIRST,
    })
}

/// A store of two segments, whole, the second one active.
fn whole() -> Facts {
    Facts {
        meta: Some(Ok(meta(1))),
        watermark: watermark(1, END),
        temporaries: Vec::new(),
        floor: FloorFact::Missing,
        floor_display: "floor".to_owned(),
        first: SegmentNumber::FIRST,
        removed: Vec::new(),
        removed_indexes: Vec::new(),
        has_unfinished_redaction: false,
        segments: vec![
            segment(0, 0, Content::Older(Some(sealed_end(5_000, Position::new(10))))),
            segment(1, 10, last_content(Ends::Blank, false, END, false)),
        ],
    }
}

#[track_caller]
fn used(facts: &Facts, mode: Mode) -> Usable {
    match decide(facts, mode) {
        Ok(Plan::Use(plan)) => *plan,
        other => panic!("{other:?}"),
    }
}

#[track_caller]
fn check_inconsistent(facts: &Facts, problem: &str) {
    for mode in [Mode::Strict, Mode::Lenient] {
        match decide(facts, mode) {
            Err(OpenError::Inconsistent { problem: found }) => assert!(found.contains(problem), "{found}"),
            other => panic!("{mode:?}: {other:?}"),
        }
    }
}

/// Refused for writing; for reading, told as damage.
#[track_caller]
fn check_damage(facts: &Facts, number: u64, fault: &str) {
    let is_it = |damage: &Damage| damage.segment.get() == number && damage.fault.contains(fault);
    match decide(facts, Mode::Strict) {
        Err(OpenError::Corrupt(damage)) => assert!(is_it(&damage), "{damage:?}"),
        other => panic!("{other:?}"),
    }
    let told = used(facts, Mode::Lenient).damage;
    assert!(told.iter().any(is_it), "{told:?}");
}

// The end of the last segment, in every combination.

#[test]
fn the_end_of_the_log_is_judged_alike_in_every_combination_of_facts() {
    let offsets = [0, HEADER, END - 8, END, END + 8, END + 112, END + 113];
    let mut combinations = 0;
    for ends in [
        Ends::Blank,
        Ends::Sealed,
        Ends::Torn { later: None },
        Ends::Torn { later: Some(END - 8) },
        Ends::Torn { later: Some(END) },
        Ends::Torn { later: Some(END + 8) },
    ] {
        for mark in offsets.map(Some).into_iter().chain([None]) {
            for unproven in [false, true] {
                for mode in [Mode::Strict, Mode::Lenient] {
                    combinations += 1;
                    check_end(ends, mark, unproven, mode);
                }
            }
        }
    }
    assert_eq!(combinations, 6 * 8 * 2 * 2);
}

/// `mark` is where the watermark stands in the last segment; `None` when it has nothing to say.
fn check_end(ends: Ends, mark: Option<u64>, unproven: bool, mode: Mode) {
    let case = format!("{ends:?}, watermark {mark:?}, unproven {unproven}, {mode:?}");
    let vouched = mark.unwrap_or(0);
    let facts = Facts {
        watermark: mark.map_or(WatermarkFact::Blank, |mark| watermark(1, mark)),
        segments: vec![
            segment(0, 0, Content::Older(Some(sealed_end(5_000, Position::new(10))))),
            segment(1, 10, last_content(ends, false, vouched, unproven)),
        ],
        ..whole()
    };
    let whole_end = if ends == Ends::Sealed { END + 112 } else { END };
    let later = if let Ends::Torn { later: Some(later) } = ends { later } else { 0 };
    let was_durable = vouched > whole_end || later > whole_end;

    let plan = match (decide(&facts, mode), mode) {
        (Err(OpenError::Corrupt(damage)), Mode::Strict) => {
            assert!(was_durable, "{case}: {damage:?}");
            assert_eq!((damage.segment.get(), damage.from), (1, LAST.plus(1)), "{case}");
            let witness =
                if matches!(ends, Ends::Torn { .. }) && later > END { "a later commit marker" } else { "WATERMARK" };
            assert!(damage.fault.contains(witness), "{case}: {damage:?}");
            return;
        }
        (Ok(Plan::Use(plan)), _) => plan,
        (other, _) => panic!("{case}: {other:?}"),
    };
    assert_eq!(!plan.damage.is_empty(), was_durable, "{case}: {:?}", plan.damage);
    assert!(mode == Mode::Lenient || !was_durable, "{case}: damage was not refused");
    let cut = (matches!(ends, Ends::Torn { .. }) && !was_durable).then_some((END, DATA_END));
    assert_eq!(plan.cut.as_ref().map(|cut| (cut.offset, cut.data_end)), cut, "{case}");
    assert_eq!(plan.finish_roll.is_some(), ends == Ends::Sealed, "{case}");
    assert_eq!((plan.end.offset, plan.end.position, plan.end.chain), (END, LAST, 77), "{case}");
    assert_eq!(plan.end.epoch, Epoch::new(5), "{case}: the highest that any file speaks of");
    let again =
        if unproven { Some(vouched) } else { (vouched < whole_end).then(|| vouched.max(whole_end - WRITTEN_AGAIN)) };
    assert_eq!(plan.write_back_from, again, "{case}");
    assert!(plan.trims.is_empty() && plan.notes.is_empty(), "{case}");
}

// What makes up a store.

#[test]
fn a_store_is_made_only_where_there_is_nothing_at_all() {
    for (has_meta, segments, watermark, expected) in [
        (false, 0, WatermarkFact::Missing, ""),
        (false, 0, WatermarkFact::Blank, ""),
        (false, 0, watermark(0, HEADER), "WATERMARK says"),
        (true, 0, WatermarkFact::Blank, "segment 1 is missing"),
        (false, 2, WatermarkFact::Blank, "store.meta is missing"),
        (true, 1, WatermarkFact::Blank, "segment 1 is missing"),
    ] {
        let mut facts = whole();
        facts.watermark = watermark;
        facts.segments.truncate(segments);
        if !has_meta {
            facts.meta = None;
        }
        if segments == 1 {
            facts.segments[0].content = last_content(Ends::Sealed, false, 0, false);
        }
        if expected.is_empty() {
            assert_eq!(decide(&facts, Mode::Strict).unwrap(), Plan::Create);
        } else {
            check_inconsistent(&facts, expected);
        }
    }
}

#[test]
fn only_one_empty_first_segment_without_store_meta_is_a_store_in_the_making() {
    let alone = |number, base, ends, is_empty| {
        let mut content = last_content(ends, is_empty, 0, false);
        if let Content::Last(Some(last)) = &mut content {
            last.scan.tail.position = Position::new(base);
        }
        Facts { meta: None, watermark: WatermarkFact::Blank, segments: vec![segment(number, base, content)], ..whole() }
    };
    let plan = used(&alone(0, 0, Ends::Blank, true), Mode::Strict);
    assert_eq!((plan.meta, plan.log_id), (None, log_id()));
    for facts in [
        alone(0, 0, Ends::Blank, false),
        alone(0, 0, Ends::Sealed, true),
        alone(0, 0, Ends::Torn { later: None }, true),
        alone(0, 10, Ends::Blank, true),
        alone(1, 0, Ends::Blank, true),
    ] {
        check_inconsistent(&facts, "store.meta is missing");
    }
}

#[test]
fn a_bad_store_meta_refuses_and_a_newer_one_says_so() {
    let facts = Facts { meta: Some(Err(MetaFault::NoSlot)), ..whole() };
    check_inconsistent(&facts, "neither slot");
    let facts = Facts { meta: Some(Err(MetaFault::Newer { major: 2 })), ..whole() };
    assert!(matches!(decide(&facts, Mode::Lenient), Err(OpenError::Newer { .. })));
}

#[test]
fn a_newer_segment_is_no_damage_wherever_it_stands() {
    for index in 0..2 {
        for fault in [HeaderFault::Newer { major: 2 }, HeaderFault::Features { bits: 1 }] {
            let mut facts = whole();
            facts.segments[index].header = Err(fault);
            if index == 1 {
                facts.segments[1].content = Content::Last(None);
            }
            assert!(matches!(decide(&facts, Mode::Strict), Err(OpenError::Newer { .. })));
        }
    }
}

#[test]
fn segments_run_on_from_the_floor_to_the_active_one() {
    type Change = fn(&mut Facts);
    let changes: [(Change, &str); 7] = [
        (|facts| facts.segments[0].number = SegmentNumber::new(1), "segment 0 is missing"),
        (|facts| facts.segments[1].number = SegmentNumber::new(2), "segment 1 is missing"),
        (|facts| facts.segments[1].number = SegmentNumber::new(0), "twice"),
        (|facts| facts.meta = Some(Ok(meta(2))), "segment 2 is missing"),
        (|facts| facts.meta = Some(Ok(StoreMeta { log_id: other_log(), ..meta(1) })), "belongs to log"),
        (|facts| facts.segments[1].base = Position::new(11), "says of itself"),
        (|facts| facts.watermark = watermark(2, HEADER), "segment 2 is missing"),
    ];
    for (change, problem) in changes {
        let mut facts = whole();
        change(&mut facts);
        check_inconsistent(&facts, problem);
    }
}

/// A store of which segment 0 was removed.
fn truncated(floor: FloorFact) -> Facts {
    let mut facts = whole();
    facts.segments.remove(0);
    let meta = StoreMeta { floor: SegmentNumber::new(1), floor_base: Position::new(10), ..meta(1) };
    (facts.meta, facts.first, facts.floor) = (Some(Ok(meta)), SegmentNumber::new(1), floor);
    facts
}

fn floor(change: impl FnOnce(&mut Floor)) -> FloorFact {
    let mut floor = Floor {
        log_id: log_id(),
        segment: SegmentNumber::new(1),
        position: Position::new(10),
        recorded_at: 0,
        written_at: 0,
        chain: 77,
        hash: None,
    };
    change(&mut floor);
    FloorFact::Good(Box::new(FloorWriter::new().finish(floor, &[], &mut Vec::new())))
}

#[test]
fn a_log_that_was_truncated_goes_on_from_its_floor() {
    let facts = truncated(floor(|_| ()));
    let plan = used(&facts, Mode::Strict);
    assert_eq!(plan.floor, (SegmentNumber::new(1), Position::new(10)));
    // One that is ahead belongs to a retention that did not come to store.meta.
    used(&truncated(floor(|floor| floor.segment = SegmentNumber::new(3))), Mode::Strict);
    let changes: [fn(&mut Floor); 2] = [|floor| floor.position = Position::new(9), |floor| floor.chain ^= 1];
    for change in changes {
        check_inconsistent(&truncated(floor(change)), "does not continue floor");
    }
    check_inconsistent(&truncated(floor(|floor| floor.log_id = other_log())), "floor belongs to log");
    let mut facts = truncated(floor(|_| ()));
    facts.meta = Some(Ok(StoreMeta { floor: SegmentNumber::new(1), floor_base: Position::new(9), ..meta(1) }));
    check_inconsistent(&facts, "store.meta says");
}

#[test]
fn a_floor_that_does_not_know_what_was_removed_is_damage() {
    check_damage(&truncated(FloorFact::Missing), 1, "it is missing");
    check_damage(&truncated(FloorFact::Bad(FloorFault::Header)), 1, "header is damaged");
    check_damage(&truncated(floor(|floor| floor.segment = SegmentNumber::FIRST)), 1, "not all that was");
    let newer = decide(&truncated(FloorFact::Bad(FloorFault::Newer)), Mode::Lenient);
    assert!(matches!(newer, Err(OpenError::Newer { .. })), "{newer:?}");
    // Nobody needs one as long as everything is there.
    let mut facts = whole();
    facts.floor = FloorFact::Bad(FloorFault::Header);
    used(&facts, Mode::Strict);
}

#[test]
fn a_segment_continues_the_one_before_in_length_chain_and_position() {
    let changes: [fn(&mut SegmentHeader); 2] = [|header| header.predecessor_len += 8, |header| header.chain ^= 1];
    for change in changes {
        let mut facts = whole();
        let mut header = header(1, 10);
        change(&mut header);
        facts.segments[1].header = Ok((header, Seed::new(1)));
        check_inconsistent(&facts, "does not continue");
    }
    let mut facts = whole();
    facts.segments[0].content = Content::Older(Some(sealed_end(5_000, Position::new(9))));
    check_inconsistent(&facts, "does not continue");
}

#[test]
fn a_sealed_segment_that_is_too_long_is_trimmed() {
    let mut facts = whole();
    facts.segments[0].len = 5_600;
    assert_eq!(used(&facts, Mode::Strict).trims, [(0, 5_000)]);
    assert!(used(&whole(), Mode::Strict).trims.is_empty());
}

#[test]
fn a_bad_header_or_end_is_damage_of_that_segment() {
    for index in 0..2 {
        let mut facts = whole();
        facts.segments[index].header = Err(HeaderFault::Checksum);
        if index == 0 {
            facts.segments[0].content = Content::Older(None);
        }
        check_damage(&facts, index as u64, "after its header was synced");
    }
    let mut facts = whole();
    facts.segments[0].content = Content::Older(None);
    check_damage(&facts, 0, "synced before segment 1 began");
}

// The watermark.

#[test]
fn a_watermark_of_another_log_says_nothing_and_is_noted() {
    let mut facts = whole();
    let WatermarkFact::Valid(mut foreign) = watermark(7, 1 << 40) else { unreachable!() };
    foreign.log_id = other_log();
    facts.watermark = WatermarkFact::Valid(foreign);
    let plan = used(&facts, Mode::Strict);
    assert_eq!(plan.watermark, None);
    assert!(plan.notes[0].contains("was ignored") && plan.watermark_exists);
}

#[test]
fn a_missing_watermark_is_noted_and_a_blank_one_is_usual() {
    for (fact, notes) in [(WatermarkFact::Missing, 1), (WatermarkFact::Blank, 0)] {
        let plan = used(&Facts { watermark: fact, ..whole() }, Mode::Strict);
        assert_eq!((plan.watermark, plan.notes.len()), (None, notes));
        assert_eq!(plan.watermark_exists, fact == WatermarkFact::Blank);
    }
}

#[test]
fn a_watermark_in_an_earlier_segment_vouches_for_nothing_in_the_last() {
    let mut facts = whole();
    facts.watermark = watermark(0, 1 << 30);
    facts.segments[1].content = last_content(Ends::Torn { later: None }, false, 0, false);
    assert!(used(&facts, Mode::Strict).cut.is_some());
}

#[test]
fn the_epoch_is_the_highest_that_any_file_speaks_of() {
    let with = |in_meta, in_watermark, in_header| {
        let mut facts = whole();
        facts.meta = Some(Ok(StoreMeta { epoch: Epoch::new(in_meta), ..meta(1) }));
        let WatermarkFact::Valid(mut mark) = watermark(1, END) else { unreachable!() };
        mark.epoch = Epoch::new(in_watermark);
        facts.watermark = WatermarkFact::Valid(mark);
        facts.segments[1].header = Ok((SegmentHeader { epoch: Epoch::new(in_header), ..header(1, 10) }, Seed::new(1)));
        used(&facts, Mode::Strict).end.epoch.get()
    };
    assert_eq!(with(1, 1, 1), 4, "that of the last batch");
    assert_eq!(with(9, 1, 1), 9);
    assert_eq!(with(1, 9, 1), 9);
    assert_eq!(with(1, 1, 9), 9);
}

//! Every bit of a small log flipped, and a cut at every byte: damage is reported, never cut off.
//!
//! The log has two sealed segments and an active one, all short, one sealed one
//! not trimmed, and zeros behind the last batch. Whatever is flipped, a store is refused to
//! writers, or shows exactly what was acknowledged, or tells where it is read what it
//! cannot show; a reader gets everything but the damaged region, and one error for that.

use annals::storage::sim::SimDisk;
use annals::{AppendError, EventStore, ExpectedVersion, NewEvent, OpenError, Position, ReadError, inspect};

use crate::support::model::{Batch, Model};
use crate::support::oracle;
use crate::support::{commit, open, open_read_only, seal_early, segment_path};

const HEADER: u64 = 4096;

/// Readers and `verify` look at one flipped bit in so many: they wait a little before they
/// believe in damage, because beside a writer it may be an old byte read before a new one.
const READERS: u64 = 61;

struct Small {
    disk: SimDisk,
    model: Model,
    /// Where the batches of the active segment end.
    end: u64,
}

/// What every event of the log looks like.
fn batches() -> Vec<Batch> {
    let tracked = |batch: Batch, upstream| Batch { tracking: Some(("bank", upstream)), ..batch };
    vec![
        Batch::new(1, &[("a", 20), ("b", 0)]),
        tracked(Batch::new(2, &[("a", 33)]), 4),
        Batch::new(3, &[("c", 60)]),
        Batch::new(4, &[("a", 7), ("c", 8), ("a", 9)]),
        tracked(Batch::new(5, &[]), 5),
        Batch::new(6, &[("b", 41)]),
        Batch::new(7, &[("a", 5), ("d", 50)]),
        Batch::new(8, &[("d", 24)]),
    ]
}

fn small_log() -> Small {
    let disk = SimDisk::new(11);
    let mut model = Model::default();
    let store = open(&disk).unwrap();
    for batch in batches() {
        if [3, 5].contains(&batch.number) {
            seal_early(&disk, &store);
        }
        commit(&store, &batch).unwrap();
        model.acknowledged(&batch).unwrap();
    }
    let segments = store.stats().segments;
    assert_eq!(segments.iter().map(|segment| segment.sealed).collect::<Vec<_>>(), [true, true, false]);
    let end = segments[2].bytes;
    drop(store);
    resize(&disk, &segment_path(&disk, 2), end + 200);
    let path = segment_path(&disk, 0);
    resize(&disk, &path, disk.file_len(&path).unwrap() + 50);
    Small { disk, model, end }
}

/// Cuts a file, or adds zeros to it.
fn resize(disk: &SimDisk, path: &str, len: u64) {
    let mut bytes = disk.read_file(path).unwrap();
    bytes.resize(len as usize, 0);
    disk.write_file(path, &bytes);
}

/// What somebody who opens the store for writing meets.
#[derive(Debug, Eq, PartialEq)]
enum Seen {
    /// Everything that was acknowledged.
    Whole,
    /// It opens, and this is the error of who reads the damaged region, or looks for something in it.
    Told(String),
    Refused(String),
}

/// Opens for writing: refuses, or shows exactly what was acknowledged, or tells what it cannot show.
#[track_caller]
fn check_writer(disk: &SimDisk, model: &Model, case: &str) -> Seen {
    let store = match open(disk) {
        Ok(store) => store,
        Err(error @ (OpenError::Corrupt(_) | OpenError::Inconsistent { .. } | OpenError::Newer { .. })) => {
            return Seen::Refused(error.to_string());
        }
        Err(error) => panic!("{case}: {error:?}"),
    };
    let mut told = None;
    let mut tell = |error: ReadError| told = Some(error.to_string());
    check_events(&store, model, case);
    store.read_all(Position::START).skip_damaged().filter_map(Result::err).for_each(&mut tell);
    // No look-up gives a wrong answer, and none of those a new event stands on.
    match store.tracking("bank") {
        Ok(found) => assert_eq!(found, Some(5), "{case}"),
        Err(error) => tell(error),
    }
    for (stream, version) in [("a", 5), ("b", 2), ("c", 2), ("d", 2), ("never", 0)] {
        match store.stream_version(stream) {
            Ok(found) => assert_eq!(found.get(), version, "{case}: {stream}"),
            Err(error) => tell(error),
        }
        match store.append(stream, ExpectedVersion::Any, NewEvent::new("More", "")) {
            Ok(done) => assert_eq!(done.version.get(), version + 1, "{case}: {stream}"),
            Err(AppendError::Unreadable { cause }) => tell(cause),
            Err(error) => panic!("{case}: {stream}: {error:?}"),
        }
    }
    told.map_or(Seen::Whole, Seen::Told)
}

/// Opens for reading: every event is shown as it was or lies in the only gap. Returns how many are lost.
#[track_caller]
fn check_reader(disk: &SimDisk, model: &Model, case: &str) -> u64 {
    let reader = open_read_only(disk).unwrap_or_else(|error| panic!("{case}: {error:?}"));
    check_events(&reader, model, case)
}

/// Every event is shown as it was or lies in the only gap. Returns how many are lost.
#[track_caller]
fn check_events(reader: &EventStore, model: &Model, case: &str) -> u64 {
    let mut expected =
        (1_u64..).zip(model.batches().flat_map(|batch| {
            batch.events.iter().enumerate().map(|(index, (stream, _))| (*stream, batch.payload(index)))
        }));
    let (mut errors, mut lost) = (0, 0);
    for found in reader.read_all(Position::START).skip_damaged() {
        match found {
            Ok(event) => {
                let (position, (stream, payload)) = expected.next().expect(case);
                assert_eq!((event.position().get(), event.stream()), (position, stream), "{case}");
                assert!(event.data() == payload, "{case}: position {position}");
            }
            Err(ReadError::Corrupt(damage)) => {
                errors += 1;
                let to = damage.to.expect(case).get();
                for position in damage.from.get()..=to {
                    assert_eq!(expected.next().expect(case).0, position, "{case}: the gap {damage:?}");
                    lost += 1;
                }
            }
            Err(error) => panic!("{case}: {error:?}"),
        }
    }
    assert!(expected.next().is_none(), "{case}: the reader stopped early");
    assert!(errors <= 1, "{case}: {errors} errors");
    let backward = reader.read_all(Position::END).backward().skip_damaged().flatten().count() as u64;
    assert_eq!(backward, model.events(model.len()) as u64 - lost, "{case}, backward");
    lost
}

#[track_caller]
fn check_verify(disk: &SimDisk, is_refused: bool, case: &str) {
    match inspect::verify_on(disk, |_, _| ()) {
        Ok(report) => assert_eq!(!report.is_clean(), is_refused, "{case}: {:?}", report.findings),
        Err(OpenError::Newer { .. }) => assert!(is_refused, "{case}"),
        Err(error) => panic!("{case}: {error:?}"),
    }
}

/// How often a store was met in which state.
#[derive(Debug, Default)]
struct Count {
    cases: u64,
    refused: u64,
    told: u64,
}

/// Flips each bit of `bits` in turn, checks, and counts.
fn check_flips(small: &Small, path: &str, bits: impl Iterator<Item = u64>) -> Count {
    let mut count = Count::default();
    for bit in bits {
        let disk = small.disk.fork();
        disk.flip(path, bit);
        let case = format!("{path}, bit {bit} (byte {})", bit / 8);
        let seen = check_writer(&disk.fork(), &small.model, &case);
        if bit % READERS == 0 {
            let lost = check_reader(&disk, &small.model, &case);
            // Of a sealed segment and of its index every byte counts, also where no event is hurt.
            let is_sealed =
                path.starts_with("idx/") || path.starts_with("seg/") && path != segment_path(&small.disk, 2);
            check_verify(&disk, is_sealed || seen != Seen::Whole, &case);
            assert!(lost == 0 || seen != Seen::Whole, "{case}: events are lost, and nobody says so");
        }
        count.cases += 1;
        count.refused += u64::from(matches!(seen, Seen::Refused(_)));
        count.told += u64::from(matches!(seen, Seen::Told(_)));
    }
    println!("{path}: {count:?}");
    count
}

fn bits(bytes: std::ops::Range<u64>) -> impl Iterator<Item = u64> {
    bytes.start * 8..bytes.end * 8
}

/// Every bit of what a header says and of its checksum, and some of the zeros between.
fn bits_of_header() -> impl Iterator<Item = u64> {
    bits(0..160).chain(bits(160..HEADER - 8).step_by(7)).chain(bits(HEADER - 8..HEADER))
}

#[test]
fn the_small_log_is_whole() {
    let small = small_log();
    let store = open(&small.disk.fork()).unwrap();
    assert_eq!(oracle::check(&store, &small.model, small.model.len()), small.model.len());
    assert_eq!(check_reader(&small.disk, &small.model, "whole"), 0);
    check_verify(&small.disk, false, "whole");
}

#[test]
fn any_flipped_bit_of_an_acknowledged_event_of_the_active_segment_refuses_with_position_and_evidence() {
    let small = small_log();
    let path = segment_path(&small.disk, 2);
    for bit in bits(HEADER..small.end) {
        let disk = small.disk.fork();
        disk.flip(&path, bit);
        let case = format!("bit {bit} (byte {})", bit / 8);
        let Seen::Refused(problem) = check_writer(&disk, &small.model, &case) else { panic!("{case} opens") };
        assert!(problem.contains("position"), "{case}: {problem}");
        assert!(
            problem.contains("WATERMARK says") || problem.contains("a later commit marker says"),
            "{case}: {problem}"
        );
    }
}

#[test]
fn without_a_watermark_later_markers_still_vouch_for_all_but_the_last_batch() {
    let small = small_log();
    small.disk.write_file("WATERMARK", &[0; 1024]);
    let path = segment_path(&small.disk, 2);
    let file = small.disk.read_file(&path).unwrap();
    let last = file.windows(8).position(|window| window == b"batch 8 ").unwrap() as u64;
    // The frame of the last event begins less than 200 bytes before its payload.
    for bit in bits(HEADER..last - 200).step_by(3) {
        let disk = small.disk.fork();
        disk.flip(&path, bit);
        let case = format!("bit {bit} (byte {})", bit / 8);
        let Seen::Refused(problem) = check_writer(&disk, &small.model, &case) else { panic!("{case} opens") };
        assert!(problem.contains("a later commit marker says"), "{case}: {problem}");
    }
}

#[test]
fn a_flip_in_the_frames_or_behind_them_of_the_active_segment_is_reported_or_harmless() {
    let small = small_log();
    let path = segment_path(&small.disk, 2);
    let count = check_flips(&small, &path, bits(HEADER..small.disk.file_len(&path).unwrap()));
    assert_eq!(count.cases - count.refused, 200 * 8, "only the zeros behind the log can be cut off");
}

#[test]
fn a_flip_in_the_header_of_the_active_segment_refuses_and_loses_nothing_to_readers() {
    let small = small_log();
    let count = check_flips(&small, &segment_path(&small.disk, 2), bits_of_header());
    assert_eq!(count.cases, count.refused);
}

#[test]
fn a_flip_in_a_sealed_segment_refuses_at_its_end_is_told_in_an_event_and_harms_nobody_elsewhere() {
    let small = small_log();
    for (number, events) in [(0, 3), (1, 4)] {
        let path = segment_path(&small.disk, number);
        let count = check_flips(&small, &path, bits(HEADER..small.disk.file_len(&path).unwrap()));
        // SEAL 64 and trailer 40, but for their padding and what a trim left behind them.
        assert!(count.refused > 96 * 8, "{count:?}");
        assert!(count.told > events * 80 * 8, "{count:?}");
    }
}

#[test]
fn a_flip_in_a_sealed_segment_that_has_lost_its_index_too_gives_no_wrong_answer() {
    let mut small = small_log();
    let with_index = small.disk.clone();
    small.disk = with_index.fork();
    for number in [0, 1] {
        small.disk.remove_file(&format!("idx/{number:020}.idx"));
    }
    assert_eq!(check_writer(&small.disk.fork(), &small.model, "whole"), Seen::Whole);
    for number in [0, 1] {
        let path = segment_path(&small.disk, number);
        let bits = || bits(HEADER..small.disk.file_len(&path).unwrap()).step_by(3);
        let count = check_flips(&small, &path, bits());
        let with_index =
            check_flips(&Small { disk: with_index.fork(), model: small.model.clone(), ..small }, &path, bits());
        assert!(count.told > with_index.told, "markers are needed for an index: {count:?}, {with_index:?}");
    }
}

#[test]
fn a_flip_in_an_index_is_told_by_verify_and_to_nobody_else_and_changes_no_answer() {
    let small = small_log();
    for number in [0, 1] {
        let path = format!("idx/{number:020}.idx");
        let count = check_flips(&small, &path, bits(0..small.disk.file_len(&path).unwrap()));
        assert_eq!((count.refused, count.told), (0, 0));
    }
}

#[test]
fn an_index_that_is_cut_empty_or_another_segments_changes_no_answer() {
    let small = small_log();
    let (first, second) = (format!("idx/{:020}.idx", 0), format!("idx/{:020}.idx", 1));
    let good = small.disk.read_file(&first).unwrap();
    let check = |bytes: &[u8], case: &str| {
        let disk = small.disk.fork();
        disk.write_file(&first, bytes);
        assert_eq!(check_writer(&disk, &small.model, case), Seen::Whole);
        assert!(disk.read_file(&first).unwrap() == good, "{case}: it was made anew");
    };
    for len in (0..good.len()).step_by(7) {
        check(&good[..len], &format!("cut at {len}"));
    }
    check(&[&good[..], &[0; 8]].concat(), "longer");
    check(&small.disk.read_file(&second).unwrap(), "of another segment");
    check(&[0; 4096], "zeros");
}

#[test]
fn a_flip_in_the_header_of_a_sealed_segment_refuses() {
    let small = small_log();
    for number in [0, 1] {
        let count = check_flips(&small, &segment_path(&small.disk, number), bits_of_header());
        assert_eq!(count.cases, count.refused);
    }
}

#[test]
fn a_flip_in_store_meta_leaves_the_other_slot() {
    let small = small_log();
    let count = check_flips(&small, "store.meta", bits(0..small.disk.file_len("store.meta").unwrap()).step_by(3));
    assert_eq!((count.refused, count.told), (0, 0));
}

#[test]
fn a_flip_in_the_watermark_leaves_the_other_slot() {
    let small = small_log();
    let mut newer = 0;
    for bit in bits(0..small.disk.file_len("WATERMARK").unwrap()) {
        let disk = small.disk.fork();
        disk.flip("WATERMARK", bit);
        let case = format!("bit {bit} (byte {})", bit / 8);
        // A reader is shown what somebody says is durable: without the newer slot, all but the last batch.
        let head = open_read_only(&disk).unwrap().head().get();
        let all = small.model.events(small.model.len()) as u64;
        assert!(head == all || head == all - 1, "{case}: {head}");
        newer += u64::from(head == all - 1);
        assert_eq!(check_writer(&disk, &small.model, &case), Seen::Whole, "{case}");
    }
    assert_eq!(newer, 512 * 8);
}

#[test]
fn a_cut_at_any_byte_of_the_active_segment_refuses_below_its_end_and_is_harmless_above() {
    let small = small_log();
    let path = segment_path(&small.disk, 2);
    for len in 0..=small.disk.file_len(&path).unwrap() {
        let disk = small.disk.fork();
        resize(&disk, &path, len);
        let case = format!("cut at {len}");
        let seen = check_writer(&disk.fork(), &small.model, &case);
        assert_eq!(matches!(seen, Seen::Refused(_)), len < small.end, "{case}: {seen:?}");
        if len % READERS == 0 || len.abs_diff(small.end) < 3 {
            check_verify(&disk, seen != Seen::Whole, &case);
            check_reader(&disk, &small.model, &case);
        }
    }
}

#[test]
fn a_cut_at_any_byte_of_a_sealed_segment_refuses() {
    let small = small_log();
    let path = segment_path(&small.disk, 1);
    for len in (0..small.disk.file_len(&path).unwrap()).step_by(3) {
        let disk = small.disk.fork();
        resize(&disk, &path, len);
        let case = format!("cut at {len}");
        assert!(matches!(check_writer(&disk, &small.model, &case), Seen::Refused(_)), "{case}");
        if len % READERS == 0 {
            check_verify(&disk, true, &case);
            check_reader(&disk, &small.model, &case);
        }
    }
}

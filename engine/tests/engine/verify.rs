//! Verification: each level finds what is its own, and it says the same on any number of threads.

use std::sync::Arc;

use annals::inspect::{FindingKind, Level, Verify, VerifyReport};
use annals::storage::Storage;
use annals::storage::sim::SimDisk;
use annals::{EventStore, Guard, Mark, NewEvent, Options, Position};
use annals_codec::merkle::{Part, PartBuilder, Peaks};
use annals_codec::{Hasher, Snapshot};

use crate::support::segment_path;

pub(crate) const LEVELS: [Level; 5] = [Level::Frames, Level::Chain, Level::Index, Level::Snapshots, Level::All];

pub(crate) fn options() -> Options {
    Options::new().background(false).flush_interval(None).segment_bytes(64 << 10).zero_ahead(0).hash_chain(true)
}

pub(crate) fn open(disk: &SimDisk) -> EventStore {
    EventStore::open_on(Arc::new(disk.clone()), &options()).unwrap()
}

pub(crate) fn append(store: &EventStore, batches: u64) {
    for n in 0..batches {
        let event = || NewEvent::new("Happened", vec![b'x'; (n * 37 % 900) as usize]);
        store.batch().events(format!("s-{}", n % 9), (0..=n % 3).map(|_| event())).commit().unwrap();
    }
}

pub(crate) fn write(disk: &SimDisk, path: &str, bytes: &[u8]) {
    let storage: &dyn Storage = disk;
    if disk.paths().iter().any(|there| there == path) {
        storage.remove(path).unwrap();
    }
    assert_eq!(storage.create(path).unwrap().write_at(0, bytes).unwrap(), bytes.len());
}

/// The position behind which each segment begins.
pub(crate) fn bases(store: &EventStore) -> Vec<u64> {
    store.stats().segments.iter().map(|segment| segment.base.get()).collect()
}

type Change<'a> = &'a dyn Fn(&mut Mark);

fn snapshot(mark: Mark) -> (String, Vec<u8>) {
    let snapshot =
        Snapshot { name: "totals", mark, schema_version: 1, codec: 2, written_at: 5, notes: b"", payload: b"{}" };
    (format!("snap/totals/{:020}.snap", mark.position.get()), snapshot.encode())
}

/// Six segments, two consumers and two snapshots.
pub(crate) fn log() -> SimDisk {
    let disk = SimDisk::new(1);
    let store = open(&disk);
    let storage: &dyn Storage = &disk;
    storage.create_dir("snap").and_then(|()| storage.create_dir("snap/totals")).unwrap();
    for name in ["mailer", "biller"] {
        append(&store, 120);
        store.consumer(name).unwrap().checkpoint(store.head()).unwrap();
        let (path, bytes) = snapshot(store.mark(Position::new(store.head().get() - 3)).unwrap());
        write(&disk, &path, &bytes);
    }
    append(&store, 60);
    assert_eq!(store.stats().segments.len(), 6);
    disk
}

/// What every level says, on one thread and on three: the same.
fn reports(disk: &SimDisk, what: &str) -> Vec<VerifyReport> {
    let report = |level: Level| {
        let on = |threads| Verify::new().level(level).threads(threads).run_on(disk, |_, _| ()).unwrap();
        let alone = on(1);
        assert_eq!(on(3), alone, "{what}, {level:?}");
        for finding in &alone.findings {
            assert!(finding.file.is_some() && finding.offset.is_some(), "{what}: {finding:?}");
        }
        alone
    };
    LEVELS.map(report).into()
}

/// The kinds of findings at each level are these, each once or more.
#[track_caller]
pub(crate) fn check(disk: &SimDisk, what: &str, expected: [&[FindingKind]; 5]) -> Vec<VerifyReport> {
    let reports = reports(disk, what);
    for ((level, report), expected) in LEVELS.iter().zip(&reports).zip(expected) {
        let kinds: Vec<FindingKind> = report.findings.iter().map(|finding| finding.kind).collect();
        assert!(kinds.iter().all(|kind| expected.contains(kind)), "{what}, {level:?}: {:?}", report.findings);
        assert!(expected.iter().all(|kind| kinds.contains(kind)), "{what}, {level:?}: {:?}", report.findings);
    }
    reports
}

pub(crate) const NONE: &[FindingKind] = &[];

/// Six segments, of which some events of the second and the third are redacted; and their positions.
pub(crate) fn redacted_log() -> (SimDisk, Vec<Position>) {
    let disk = log();
    let store = open(&disk);
    let bases = bases(&store);
    let behind = |base: u64| (1..4).map(move |step| Position::new(base + 7 * step));
    let positions: Vec<Position> = behind(bases[1]).chain(behind(bases[2])).collect();
    let report = store.redact(positions.iter().copied(), "asked for").unwrap();
    assert_eq!((report.redacted, report.segments), (6, 2));
    drop(store);
    (disk, positions)
}

#[test]
fn a_whole_log_is_clean_at_every_level_and_each_says_what_it_has_looked_at() {
    let disk = log();
    let reports = check(&disk, "whole", [NONE; 5]);
    let [frames, chain, index, snapshots, all] = &*reports else { unreachable!() };
    for report in [frames, chain, index, all] {
        assert_eq!((report.segments, report.head, report.events), (6, all.head, all.head.get()));
    }
    assert_eq!((frames.chain.len(), index.chain.len()), (0, 0));
    assert_eq!((chain.chain.len(), &chain.chain), (1, &all.chain));
    // An index and a part of the tree for each sealed segment.
    assert_eq!([frames, chain, index, snapshots, all].map(|report| report.index_files), [0, 0, 10, 0, 10]);
    assert_eq!([frames, chain, index, snapshots, all].map(|report| report.kept_files), [0, 0, 0, 4, 4]);
    assert!(snapshots.segments < 6 && snapshots.head == all.head, "{snapshots:?}");
}

#[test]
fn a_damaged_frame_is_found_at_every_level_that_reads_it_and_its_position_named() {
    let disk = log();
    let path = segment_path(&disk, 1);
    disk.flip(&path, 8 * 9_000);
    let frame = &[FindingKind::Frame][..];
    let reports = check(&disk, "a frame", [frame, frame, frame, NONE, frame]);
    let at = |report: &VerifyReport| report.findings.iter().map(|it| (it.offset, it.position)).collect::<Vec<_>>();
    assert_eq!(at(&reports[0]), at(&reports[4]));
    let finding = &reports[4].findings[0];
    assert!(finding.offset.unwrap() <= 9_000 && finding.position.unwrap() > Position::START, "{finding:?}");
}

#[test]
fn files_in_idx_are_the_business_of_the_level_index() {
    let index = &[FindingKind::Index][..];
    for (path, bit) in [("idx/00000000000000000002.idx", 8 * 300), ("idx/00000000000000000002.tree", 8 * 200)] {
        let disk = log();
        disk.flip(path, bit);
        let reports = check(&disk, path, [NONE, NONE, index, NONE, index]);
        let finding = &reports[2].findings[0];
        assert!(finding.message.contains(path) && finding.position.is_some(), "{finding:?}");
    }
}

/// Good checksums, and nodes that do not follow from the segments, or from the part before.
#[test]
fn a_part_of_the_tree_that_lies_is_found() {
    let index = &[FindingKind::Index][..];
    let path = "idx/00000000000000000002.tree";
    let disk = log();
    let bytes = disk.read_file(path).unwrap();
    let (part, header) = (Part::read(&bytes).unwrap(), Part::read(&bytes).unwrap().header);
    let mut other = Peaks::default();
    (0..header.first).for_each(|number| other.push(&Hasher::digest(&number.to_le_bytes()), |_| ()));
    for (before, digest) in [(part.before(), Hasher::digest(b"a lie")), (other, Hasher::digest(b"another"))] {
        let mut lies = PartBuilder::new(header.from, before, header.base);
        (0..header.leaves).for_each(|number| lies.push(&digest, header.base.plus(number + 1)));
        write(&disk, path, &lies.finish(header.log_id, header.segment, header.seed, header.chain));
        check(&disk, "lies", [NONE, NONE, index, NONE, index]);
    }
    // Right in itself, behind something else.
    let store = open(&disk);
    (&disk as &dyn Storage).remove(path).unwrap();
    let tree = store.tree().unwrap().unwrap();
    let batches: Vec<_> = (1..=header.leaves)
        .scan(header.base, |last, _| {
            let proof = tree.inclusion(last.plus(1), &tree.head()).unwrap().unwrap();
            let digest = proof.batch.digest(header.log_id).unwrap();
            *last = Position::new(proof.batch.first.get() + proof.batch.events.len() as u64 - 1);
            Some((digest, *last))
        })
        .collect();
    drop((tree, store));
    let mut wrong = Peaks::default();
    (0..header.first).for_each(|number| wrong.push(&Hasher::digest(&number.to_le_bytes()), |_| ()));
    let mut moved = PartBuilder::new(header.from, wrong, header.base);
    for (digest, last) in &batches {
        moved.push(digest, *last);
    }
    write(&disk, path, &moved.finish(header.log_id, header.segment, header.seed, header.chain));
    let reports = check(&disk, "moved", [NONE, NONE, index, NONE, index]);
    assert!(
        reports[2].findings[0].message.contains("does not go on from the part before it"),
        "{:?}",
        reports[2].findings
    );
}

#[test]
fn files_of_consumers_and_snapshots_are_judged_by_their_bytes_and_by_the_history_of_the_log() {
    let (consumer, states) = (&[FindingKind::Consumer][..], &[FindingKind::State][..]);
    let disk = log();
    // Each of its slots that is there.
    let len = disk.file_len("consumers/mailer").unwrap();
    for slot in (0..len).step_by(4096) {
        disk.flip("consumers/mailer", 8 * slot + 40);
    }
    check(&disk, "a consumer's bytes", [NONE, NONE, NONE, consumer, consumer]);

    let disk = log();
    let path = disk.paths().into_iter().find(|path| path.starts_with("snap/totals/")).unwrap();
    disk.flip(&path, 8 * 130);
    check(&disk, "a snapshot's bytes", [NONE, NONE, NONE, states, states]);

    let marks = |change: Change<'_>| {
        let disk = log();
        let store = open(&disk);
        let mut mark = store.mark(Position::new(50)).unwrap();
        drop(store);
        change(&mut mark);
        let (path, bytes) = snapshot(mark);
        write(&disk, &path, &bytes);
        (disk, mark.position)
    };
    let (disk, _) = marks(&|_| ());
    check(&disk, "a good one", [NONE; 5]);
    let changes: [(&str, &str, Change<'_>); 4] = [
        ("another chain", "another batch was written at position 50", &|mark| mark.chain ^= 1),
        ("another hash", "of another history", &|mark| mark.hash = Some(Hasher::digest(b"other"))),
        ("another log", "it is of log 0909", &|mark| mark.log_id = annals::LogId::from_bytes([9; 16])),
        ("beyond the head", "it is of position 1048576, and", &|mark| mark.position = Position::new(1 << 20)),
    ];
    for (what, said, change) in changes {
        let (disk, position) = marks(change);
        let reports = check(&disk, what, [NONE, NONE, NONE, states, states]);
        assert_eq!(reports[3].findings[0].position, Some(position), "{what}");
        assert!(reports[3].findings[0].message.contains(said), "{what}: {}", reports[3].findings[0].message);
    }
    // Under another name than its own.
    let disk = log();
    let bytes = disk.read_file(&path).unwrap();
    write(&disk, &path.replace("totals/0", "totals/1"), &bytes);
    check(&disk, "a snapshot of another position", [NONE, NONE, NONE, states, states]);
}

#[test]
fn what_was_removed_is_the_anchor_at_every_level_and_marks_of_it_are_no_findings() {
    let disk = log();
    let store = open(&disk);
    let done = store.truncate_before(Position::new(store.head().get() * 3 / 4), Guard::Force).unwrap();
    let at_base = store.mark(done.oldest.before()).unwrap();
    drop(store);
    let (path, bytes) = snapshot(at_base);
    write(&disk, &path, &bytes);
    let reports = check(&disk, "truncated", [NONE; 5]);
    for report in &reports {
        assert_eq!(report.anchor.unwrap().position, done.oldest.before());
    }
    let (path, bytes) = snapshot(Mark { chain: at_base.chain ^ 1, ..at_base });
    write(&disk, &path, &bytes);
    let states = &[FindingKind::State][..];
    check(&disk, "another history at the floor", [NONE, NONE, NONE, states, states]);
}

/// Versions and times are asked over segments, by whichever thread has read them; and so are redactions.
#[test]
fn random_damage_gives_the_same_report_on_any_number_of_threads() {
    for disk in [log(), redacted_log().0] {
        hurt_and_compare(&disk);
    }
}

fn hurt_and_compare(disk: &SimDisk) {
    let mut random = 5_u64;
    let mut below = |bound: u64| {
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        (random >> 33) % bound
    };
    for round in 0..40 {
        let hurt = disk.fork();
        for _ in 0..=below(3) {
            let paths = hurt.paths();
            let path = &paths[below(paths.len() as u64) as usize];
            let bits = 8 * hurt.file_len(path).unwrap();
            if bits > 0 {
                hurt.flip(path, below(bits));
            }
        }
        for level in LEVELS {
            let on = |threads| Verify::new().level(level).threads(threads).run_on(&hurt, |_, _| ());
            let (alone, together) = (on(1), on(4));
            assert_eq!(alone.is_ok(), together.is_ok(), "round {round}, {level:?}: {alone:?} {together:?}");
            assert_eq!(alone.ok(), together.ok(), "round {round}, {level:?}");
        }
    }
}

#[test]
fn progress_never_goes_back_and_ends_with_everything() {
    let disk = log();
    let mut told = Vec::new();
    Verify::new().threads(3).run_on(&disk, |done, all| told.push((done, all))).unwrap();
    assert!(told.windows(2).all(|pair| pair[0].0 <= pair[1].0), "{told:?}");
    let (done, all) = told.last().unwrap();
    assert_eq!(done, all);
}

#[test]
fn a_range_is_the_segments_that_hold_it_and_every_level_judges_them_and_no_others() {
    let disk = log();
    let store = open(&disk);
    let (bases, tip) = (bases(&store), store.chain_tip().unwrap().unwrap());
    drop(store);
    // From the second segment into the third.
    let range = Position::new(bases[1] + 5)..=Position::new(bases[2] + 5);
    let on = |disk: &SimDisk, level: Level| {
        let verify = Verify::new().level(level).positions(range.clone());
        let alone = verify.clone().threads(1).run_on(disk, |_, _| ()).unwrap();
        assert_eq!(verify.threads(3).run_on(disk, |_, _| ()).unwrap(), alone);
        alone
    };
    for level in LEVELS.into_iter().filter(|level| *level != Level::Snapshots) {
        let report = on(&disk, level);
        assert!(report.is_clean(), "{level:?}: {:?}", report.findings);
        assert_eq!(
            (report.segments, report.head.get(), report.events),
            (2, bases[3], bases[3] - bases[1]),
            "{level:?}"
        );
        assert_eq!(report.unused_files, Vec::<String>::new());
    }
    // What the chain was checked from is where the range begins.
    let stretch = on(&disk, Level::All).chain[0];
    assert_eq!((stretch.from.position.get(), stretch.is_start, stretch.to.position.get()), (bases[1], false, bases[3]));
    // A witness of another position is not asked; one within has to agree.
    let witnessed = |tip| Verify::new().positions(range.clone()).witnesses(&[tip]).run_on(&disk, |_, _| ()).unwrap();
    assert!(witnessed(tip).is_clean());
    assert!(witnessed(annals::ChainTip { position: Position::new(bases[2]), ..tip }).findings.len() == 1);

    for (segment, is_found) in [(0, false), (1, true), (2, true), (3, false)] {
        let disk = log();
        disk.flip(&segment_path(&disk, segment), 8 * 9_000);
        disk.flip(&format!("idx/{segment:020}.idx"), 8 * 300);
        for level in [Level::Frames, Level::Chain, Level::Index, Level::All] {
            let kinds: Vec<_> = on(&disk, level).findings.iter().map(|finding| finding.kind).collect();
            assert_eq!(kinds.contains(&FindingKind::Frame), is_found, "segment {segment}, {level:?}: {kinds:?}");
            let of_indexes = level == Level::Index || level == Level::All;
            let has_index = kinds.contains(&FindingKind::Index);
            assert_eq!(has_index, is_found && of_indexes, "segment {segment}, {level:?}: {kinds:?}");
        }
    }
}

#[test]
fn a_range_takes_a_segment_for_its_last_event_and_none_for_the_event_before_its_first() {
    let disk = log();
    let bases = bases(&open(&disk));
    let (end, next) = (bases[2], bases[2] + 1);
    for (from, to, segments) in
        [(end, end, 1), (next, next, 1), (end, next, 2), (next, bases[3], 1), (bases[1] + 1, end, 1)]
    {
        let verify = Verify::new().level(Level::Frames).positions(Position::new(from)..=Position::new(to));
        let report = verify.run_on(&disk, |_, _| ()).unwrap();
        assert!(report.is_clean(), "{:?}", report.findings);
        let last = if to <= end { end } else { bases[3] };
        assert_eq!((report.segments, report.head.get()), (segments, last), "{from} to {to}");
    }
}

#[test]
fn a_damaged_header_is_named_with_the_first_position_of_its_segment() {
    let disk = log();
    let bases = bases(&open(&disk));
    disk.flip(&segment_path(&disk, 2), 8 * 20);
    let report = Verify::new().run_on(&disk, |_, _| ()).unwrap();
    let header = report.findings.iter().find(|finding| finding.kind == FindingKind::Header);
    assert_eq!(header.and_then(|finding| finding.position), Some(Position::new(bases[2] + 1)), "{:?}", report.findings);
}

#[test]
fn what_follows_the_last_batch_is_told_and_is_no_finding() {
    let disk = log();
    let path = disk.paths().into_iter().filter(|path| path.starts_with("seg/")).max().unwrap();
    let mut bytes = disk.read_file(&path).unwrap();
    let end = bytes.iter().rposition(|byte| *byte != 0).unwrap() as u64;
    bytes.truncate((end as usize + 8) / 8 * 8);
    bytes.extend([9; 24]);
    disk.write_file(&path, &bytes);
    let report = Verify::new().run_on(&disk, |_, _| ()).unwrap();
    assert!(report.is_clean(), "{:?}", report.findings);
    assert_eq!(report.unfinished_bytes, 24);
}

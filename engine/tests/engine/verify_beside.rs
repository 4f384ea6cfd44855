//! Verification beside a writer: what goes on meanwhile is no finding, whatever it is.

use std::sync::atomic::{AtomicBool, Ordering};

use annals::inspect::{FindingKind, Level, Verify, VerifyReport};
use annals::storage::sim::SimDisk;
use annals::{EventStore, Guard, Position};

use crate::support::segment_path;
use crate::verify::{LEVELS, NONE, append, bases, check, log, open, redacted_log, write};

#[test]
fn redacted_events_are_counted_at_every_level_that_reads_them_and_no_finding_at_any() {
    let (disk, positions) = redacted_log();
    for (level, report) in LEVELS.iter().zip(check(&disk, "redacted", [NONE; 5])) {
        let expected = if *level == Level::Snapshots { report.redacted } else { positions.len() as u64 };
        assert_eq!((report.redacted, report.unfinished_redactions), (expected, 0), "{level:?}");
    }
    // A part of the tree with redacted events is compared by the digests that the log keeps.
    let path = "idx/00000000000000000001.tree";
    assert!(disk.paths().iter().any(|there| there == path));
    disk.flip(path, 8 * 200);
    let index = &[FindingKind::Index][..];
    check(&disk, "its tree", [NONE, NONE, index, NONE, index]);
}

/// The log, an event of which is redacted, and between the two steps of that: the new file lies beside the old one.
fn between_the_steps() -> (SimDisk, Position) {
    let disk = log();
    let store = open(&disk);
    let position = Position::new(bases(&store)[2] + 9);
    let path = segment_path(&disk, 2);
    let old = disk.read_file(&path).unwrap();
    store.redact([position], "asked for").unwrap();
    drop(store);
    let new = disk.read_file(&path).unwrap();
    assert!(new != old && new.len() == old.len());
    write(&disk, &path, &old);
    write(&disk, &path.replace(".seg", ".redacted"), &new);
    (disk, position)
}

#[test]
fn a_redaction_between_its_two_steps_is_told_and_no_finding_and_opening_finishes_it() {
    let (disk, _) = between_the_steps();
    for (level, report) in LEVELS.iter().zip(check(&disk, "between", [NONE; 5])) {
        let asks = matches!(level, Level::Chain | Level::All);
        assert_eq!((report.redacted, report.unfinished_redactions), (0, u64::from(asks)), "{level:?}");
    }
    drop(open(&disk));
    let reports = check(&disk, "finished", [NONE; 5]);
    assert_eq!((reports[4].redacted, reports[4].unfinished_redactions), (1, 0));
}

/// Somebody has put the old file back, or a backup of it: nobody is going to redact that by himself.
#[test]
fn an_event_that_the_log_says_is_redacted_and_is_there_is_a_finding_with_its_position() {
    let (disk, position) = between_the_steps();
    disk.remove_file(&segment_path(&disk, 2).replace(".seg", ".redacted"));
    let redaction = &[FindingKind::Redaction][..];
    let verify = |level: Level| Verify::new().level(level).run_on(&disk, |_, _| ()).unwrap();
    for level in LEVELS {
        let report = verify(level);
        let found: Vec<_> =
            report.findings.iter().map(|it| (it.kind, it.segment.unwrap().get(), it.position)).collect();
        let expected = match level {
            Level::Chain | Level::All => vec![(redaction[0], 2, Some(position))],
            _ => vec![],
        };
        assert_eq!(found, expected, "{level:?}");
    }
    // As the finding says.
    assert!(verify(Level::All).findings[0].message.contains("redact it again"));
    open(&disk).redact([position], "asked for again").unwrap();
    assert!(verify(Level::All).is_clean());
}

/// Where a segment is damaged, events are missed for that, and not for having been redacted.
#[test]
fn a_damaged_frame_of_a_segment_with_redacted_events_is_one_finding() {
    let (disk, _) = redacted_log();
    disk.flip(&segment_path(&disk, 1), 8 * 5_000);
    let frame = &[FindingKind::Frame][..];
    check(&disk, "a frame before them", [frame, frame, frame, NONE, frame]);
}

/// Verifies with one thread, and does something after so many segments were read.
fn verify_and_meanwhile(disk: &SimDisk, level: Level, after: usize, what: impl FnOnce() + Send) -> VerifyReport {
    let (mut what, mut told) = (Some(what), 0);
    let progress = |_, _| {
        told += 1;
        if told == after {
            what.take().unwrap()();
        }
    };
    let report = Verify::new().level(level).threads(1).run_on(disk, progress).unwrap();
    assert!(told >= after, "it was done while that ran");
    report
}

#[test]
fn whatever_is_redacted_after_the_survey_is_no_finding_in_any_segment() {
    for level in LEVELS.into_iter().filter(|level| *level != Level::Snapshots) {
        for segment in 0..6 {
            for (disk, why) in [(log(), "the first"), (redacted_log().0, "more")] {
                let store = open(&disk);
                let position = Position::new(bases(&store)[segment] + 2);
                let report = verify_and_meanwhile(&disk, level, 3, || drop(store.redact([position], "r").unwrap()));
                assert!(report.is_clean(), "{level:?}, segment {segment}, {why}: {:?}", report.findings);
            }
        }
    }
}

#[test]
fn what_retention_removes_after_the_survey_is_no_finding_also_if_it_was_redacted() {
    for level in LEVELS {
        let (disk, positions) = redacted_log();
        let store = open(&disk);
        let before = Position::new(bases(&store)[4] + 1);
        assert!(positions.iter().all(|position| *position < before));
        let report =
            verify_and_meanwhile(&disk, level, 1, || drop(store.truncate_before(before, Guard::Force).unwrap()));
        assert!(report.is_clean(), "{level:?}: {:?}", report.findings);
    }
}

/// On a real disk, with a writer that appends, rolls and redacts without rest.
#[test]
fn beside_a_writer_that_appends_and_redacts_every_level_is_clean_on_any_number_of_threads() {
    let dir = tempfile::tempdir().unwrap();
    let options = annals::Options::new().segment_bytes(64 << 10).hash_chain(true);
    let store = EventStore::open(dir.path(), &options).unwrap();
    append(&store, 300);
    let is_over = AtomicBool::new(false);
    std::thread::scope(|threads| {
        threads.spawn(|| {
            let is_own = |position| {
                let event = store.get(Position::new(position)).unwrap().unwrap();
                event.as_event().stream.starts_with('$')
            };
            let mut next = 1;
            while !is_over.load(Ordering::Relaxed) || next < 100 {
                append(&store, 20);
                // What a redaction says of itself cannot be redacted.
                while is_own(next) {
                    next += 1;
                }
                store.redact([Position::new(next)], "asked for").unwrap();
                // More slowly than the log grows, however long this takes.
                next += 19;
            }
        });
        let verified = std::panic::catch_unwind(|| {
            for round in 0..6 {
                for level in LEVELS {
                    for threads in [1, 3] {
                        let report = Verify::new().level(level).threads(threads).run(dir.path(), |_, _| ()).unwrap();
                        assert!(report.is_clean(), "round {round}, {level:?}: {:?}", report.findings);
                    }
                }
            }
        });
        is_over.store(true, Ordering::Relaxed);
        verified.unwrap();
    });
    let report = Verify::new().run(dir.path(), |_, _| ()).unwrap();
    assert!(report.is_clean() && report.redacted >= 5 && report.unfinished_redactions == 0, "{report:?}");
}

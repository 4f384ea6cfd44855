//! Repair of a log with redacted events: what is gone stays gone, the log goes on saying so, and what was begun is finished.
//!
//! The log has three sealed segments and an active one. Events of the first two are redacted; what says so stands in the
//! third, in a batch for each, between others.

use std::ops::Range;
use std::sync::Arc;

use annals::storage::sim::SimDisk;
use annals::{
    EventStore, ExpectedVersion, NewEvent, Position, RecordedEvent, RepairError, RepairPlan, inspect, plan_repair_on,
    repair_on,
};
use annals_codec::payload_digest;

use crate::repair::{batches_in, read, repaired};
use crate::support::{options, seal_early, segment_path};

const SECRET: &str = "5 Elm Street, second floor";
/// The events that are redacted: in the first and in the second segment.
const REDACTED: [u64; 3] = [2, 4, 6];
/// Where the log says so.
const TOLD: [u64; 2] = [9, 11];

/// A store before and after its redaction.
struct Whole {
    before: SimDisk,
    disk: SimDisk,
    originals: Vec<RecordedEvent>,
    events: Vec<RecordedEvent>,
    batches: Vec<(String, Range<u64>, Range<u64>)>,
}

impl Whole {
    fn new(hash_chain: bool) -> Whole {
        let disk = SimDisk::new(11);
        let options = options().hash_chain(hash_chain);
        let open = |disk: &SimDisk| EventStore::open_on(Arc::new(disk.clone()), &options).unwrap();
        let store = open(&disk);
        let append = |store: &EventStore, stream: &str, number: u64| {
            let is_secret = REDACTED.contains(&number);
            let text = if is_secret { format!("{number} {SECRET}") } else { format!("{number} in the open") };
            let event = NewEvent::new("Told", text).metadata(format!("beside {number}"));
            store.append(stream, ExpectedVersion::Any, event).unwrap();
        };
        for number in 1..=8 {
            if [5, 8].contains(&number) {
                seal_early(&disk, &store);
            }
            append(&store, ["a", "b"][number as usize % 2], number);
        }
        let originals = read(&store);
        store.close().unwrap();
        let before = disk.after_kill();
        let disk = before.fork();
        let store = open(&disk);
        store.redact([2, 4].map(Position::new), "asked for").unwrap();
        append(&store, "c", 10);
        store.redact([Position::new(6)], "asked for").unwrap();
        append(&store, "a", 12);
        seal_early(&disk, &store);
        append(&store, "b", 13);
        let events = read(&store);
        assert_eq!((store.stats().segments.len(), events.len()), (4, 13));
        for told in TOLD {
            assert_eq!(events[told as usize - 1].event_type(), "$redacted");
        }
        store.close().unwrap();
        let disk = disk.after_kill();
        let batches = batches_in(&disk, 4);
        Whole { before, disk, originals, events, batches }
    }

    /// A byte of the batch with the event at this position changes.
    fn hurt(&self, disk: &SimDisk, position: u64) {
        let (path, bytes, _) = self.batches.iter().find(|(.., at)| at.contains(&position)).unwrap();
        disk.flip(path, 8 * (bytes.start + 25));
    }

    /// A segment has the file again that it had before it was redacted; the new one lies beside it.
    fn undo(&self, disk: &SimDisk, number: u64) -> String {
        let path = segment_path(disk, number);
        let beside = path.replace(".seg", ".redacted");
        disk.write_file(&beside, &disk.read_file(&path).unwrap());
        disk.write_file(&path, &self.before.read_file(&path).unwrap());
        beside
    }

    /// Repairs, and looks at what became of what was redacted.
    #[track_caller]
    fn check(&self, disk: &SimDisk, what: &str) -> Option<(RepairPlan, SimDisk, Vec<RecordedEvent>)> {
        let (plan, to, after) = repaired(disk, &self.events, what)?;
        let is_lost = |at: u64| plan.lost.iter().any(|lost| (lost.first.get()..=lost.last.get()).contains(&at));
        let store = EventStore::open_on(Arc::new(to.clone()), &options()).unwrap();
        for (position, told) in REDACTED.into_iter().zip([TOLD[0], TOLD[0], TOLD[1]]) {
            let (was, is) = (&self.originals[position as usize - 1], &after[position as usize - 1]);
            assert_eq!(is.is_redacted(), !is_lost(position), "{what}: {position}");
            let known = store.redaction(Position::new(position)).unwrap();
            let digest = payload_digest(&was.data(), was.metadata().as_deref());
            let expected = (!is_lost(told)).then_some(digest);
            assert_eq!(known.map(|known| known.digest), expected, "{what}: the digest of {position}");
            let is_noted = plan.notes.iter().any(|note| note.contains("the digest of its payload"));
            assert!(expected.is_some() || is_lost(position) || is_noted, "{what}: {:?}", plan.notes);
        }
        must_not_hold(&to, what);
        Some((plan, to, after))
    }
}

/// No file of a store has what was redacted.
#[track_caller]
fn must_not_hold(disk: &SimDisk, what: &str) {
    for path in disk.paths() {
        let bytes = disk.read_file(&path).unwrap();
        let holds = bytes.windows(SECRET.len()).any(|there| there == SECRET.as_bytes());
        assert!(!holds, "{what}: it is in {path}");
    }
}

/// One byte in so many of every segment changes, and each of those of which redaction makes use in a header.
fn every_byte(hash_chain: bool, one_in: u64) {
    let whole = Whole::new(hash_chain);
    let mut tried = 0;
    for number in 0..4 {
        let path = segment_path(&whole.disk, number);
        let len = whole.disk.file_len(&path).unwrap();
        let header = (16..20).chain(136..148).chain(4092..4096);
        for at in header.chain((4096..len).filter(|at| at % one_in == number)) {
            let disk = whole.disk.fork();
            disk.flip(&path, 8 * at + at % 8);
            whole.check(&disk, &format!("byte {at} of {path}"));
            tried += 1;
        }
    }
    println!("{tried} bytes were changed, one at a time");
}

#[test]
fn whichever_byte_is_damaged_what_was_redacted_stays_so_and_the_log_says_so() {
    every_byte(false, 23);
}

#[test]
fn with_a_hash_chain_what_is_written_anew_is_hashed_with_the_digests_that_were_kept() {
    every_byte(true, 29);
}

#[test]
fn what_follows_a_loss_is_written_anew_and_has_the_same_events_redacted() {
    for hash_chain in [false, true] {
        let whole = Whole::new(hash_chain);
        let disk = whole.disk.fork();
        whole.hurt(&disk, 1);
        let (plan, to, _) = whole.check(&disk, "the first event").unwrap();
        assert_eq!((plan.kept_segments, plan.written_segments, plan.lost_positions()), (0, 4, 1));
        let redacted = inspect::verify_on(&to, |_, _| ()).unwrap().redacted;
        assert_eq!(redacted, 3);
        if hash_chain {
            let store = EventStore::open_on(Arc::new(to), &options()).unwrap();
            assert_eq!(store.chain_tip().unwrap().unwrap().position, plan.head);
            let tree = store.tree().unwrap().unwrap();
            for position in REDACTED {
                let proof = tree.inclusion(Position::new(position), &tree.head()).unwrap().unwrap();
                proof.check(&tree.head()).unwrap();
            }
        }
    }
}

#[test]
fn where_what_said_so_is_lost_the_event_is_kept_and_a_person_is_told_that_its_digest_is_lost() {
    for hash_chain in [false, true] {
        let whole = Whole::new(hash_chain);
        // The second time the segments with the redacted events are written anew, and have to be hashed.
        for also in [None, Some(1)] {
            let disk = whole.disk.fork();
            whole.hurt(&disk, TOLD[0]);
            if let Some(position) = also {
                whole.hurt(&disk, position);
            }
            let (plan, to, after) = whole.check(&disk, "what says so").unwrap();
            assert_eq!(plan.lost_positions(), 1 + also.iter().count() as u64);
            let lost = &after[TOLD[0] as usize - 1];
            assert_eq!((lost.stream(), lost.event_type()), ("$redactions", "$lost"));
            let note = "what said that the event at position 2 is redacted is lost, and with it the digest of its payload; \
                        that is so for 2 in all";
            assert!(plan.notes.iter().any(|said| said == note), "{:?}", plan.notes);
            let store = EventStore::open_on(Arc::new(to), &options()).unwrap();
            assert!(store.redaction(Position::new(6)).unwrap().is_some(), "of this one it still says so");
        }
    }
}

#[test]
fn an_event_that_is_lost_and_was_redacted_is_not_redacted_again_whoever_asks() {
    for hash_chain in [false, true] {
        let whole = Whole::new(hash_chain);
        let disk = whole.disk.fork();
        whole.hurt(&disk, 2);
        let (_, to, after) = whole.check(&disk, "a redacted event").unwrap();
        let store = EventStore::open_on(Arc::new(to.clone()), &options()).unwrap();
        let report = store.redact([2, 3].map(Position::new), "asked for again").unwrap();
        assert_eq!((report.redacted, report.already), (1, 1), "it is gone already");
        store.close().unwrap();
        // What was recorded is finished at the next opening, and what stands for the lost event stays.
        let to = to.after_kill();
        let path = segment_path(&to, 0);
        to.write_file(&path.replace(".seg", ".redacted"), b"not whole");
        let bytes = to.read_file(&path).unwrap();
        let store = EventStore::open_on(Arc::new(to.clone()), &options()).unwrap();
        assert_eq!(to.read_file(&path).unwrap(), bytes);
        assert_eq!(store.get(Position::new(2)).unwrap().as_ref(), Some(&after[1]));
        drop(store);
        let found = inspect::verify_on(&to, |_, _| ()).unwrap();
        assert!(found.is_clean() && found.redacted == 3, "{found:?}");
    }
}

#[test]
fn a_redaction_that_was_recorded_and_interrupted_is_finished_by_the_repair() {
    for hash_chain in [false, true] {
        let whole = Whole::new(hash_chain);
        for is_beside in [true, false] {
            let disk = whole.disk.fork();
            for number in [0, 1] {
                let beside = whole.undo(&disk, number);
                if !is_beside {
                    disk.remove_file(&beside);
                }
            }
            assert!(!plan_repair_on(&disk, |_, _| ()).unwrap().is_needed, "opening it finishes that");
            whole.hurt(&disk, 12);
            let (plan, to, after) = whole.check(&disk, "recorded and interrupted").unwrap();
            assert_eq!((plan.lost_positions(), plan.kept_segments), (1, 0));
            assert!(plan.notes.iter().any(|note| note.starts_with("a redaction of 2 events in seg/")), "{plan:?}");
            assert!(after[1].is_redacted() && !to.paths().iter().any(|path| path.ends_with(".redacted")));
            let same = |number| {
                let path = segment_path(&to, number);
                to.read_file(&path) == whole.disk.read_file(&path)
            };
            assert!(same(0) && same(1), "they are what the redaction would have made of them");
            // And where all of it is written with other checksums.
            whole.hurt(&disk, 1);
            whole.check(&disk, "recorded, interrupted, and damaged before").unwrap();
        }
    }
}

#[test]
fn whether_a_redaction_was_recorded_is_asked_where_the_record_may_be_lost() {
    let whole = Whole::new(true);
    let disk = whole.disk.fork();
    let beside = whole.undo(&disk, 1);
    whole.hurt(&disk, TOLD[1]);
    for refused in [plan_repair_on(&disk, |_, _| ()), repair_on(&disk, &SimDisk::new(5))] {
        let error = refused.unwrap_err();
        assert!(matches!(&error, RepairError::UnclearRedaction { path } if path.ends_with(&beside)), "{error}");
    }
    // Somebody decides that it is to be done.
    let carried = disk.fork();
    carried.write_file(&segment_path(&whole.disk, 1), &disk.read_file(&beside).unwrap());
    carried.remove_file(&beside);
    whole.check(&carried, "carried out").unwrap();
    // Or that it is not.
    disk.remove_file(&beside);
    let to = SimDisk::new(5);
    repair_on(&disk, &to).unwrap();
    let store = EventStore::open_on(Arc::new(to.clone()), &options()).unwrap();
    assert_eq!(store.get(Position::new(6)).unwrap().as_ref(), Some(&whole.originals[5]));
    drop(store);
    let found = inspect::verify_on(&to, |_, _| ()).unwrap();
    assert!(found.is_clean() && found.redacted == 2, "{found:?}");
}

#[test]
fn a_redaction_that_was_never_recorded_is_undone_where_no_record_of_it_can_be_lost() {
    let whole = Whole::new(false);
    let disk = whole.before.fork();
    let path = segment_path(&disk, 0);
    disk.write_file(&path.replace(".seg", ".redacted"), &whole.disk.read_file(&path).unwrap());
    // An event of the second segment, whose index knows of which stream it was.
    whole.hurt(&disk, 6);
    let (plan, to, after) = repaired(&disk, &whole.originals, "never recorded").unwrap();
    assert_eq!((plan.lost_positions(), &after[1]), (1, &whole.originals[1]));
    assert!(!to.paths().iter().any(|path| path.ends_with(".redacted")));
}

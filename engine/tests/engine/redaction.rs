//! Redaction: the payload is gone, and nothing else is; and everybody who meets the event is told.
//!
//! That a redaction which is interrupted anywhere is done or undone is in `tools/tests/torture_redactions.rs`.

use std::fs;
use std::path::{Path, PathBuf};

use annals::inspect::{self, FindingKind, VerifyReport};
use annals::{
    AppendError, BackupOptions, Digest, EventId, EventStore, ExpectedVersion, Guard, NewEvent, OpenError, Options,
    Outcome, Position, Query, QueryItem, ReadError, RecordedEvent, RedactError, RedactionReport, StreamId,
    StreamVersion, restore,
};

use crate::support::oracle::read_everything;

/// What must not be found anywhere afterwards.
const SECRET: &str = "5 Elm Street, second floor";
const BESIDE: &str = "told by Mallory";

fn options() -> Options {
    Options::new().segment_bytes(64 << 10).background(false)
}

struct Place(tempfile::TempDir);

impl Place {
    fn new() -> Place {
        Place(tempfile::tempdir().unwrap())
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn open(&self, options: &Options) -> EventStore {
        EventStore::open(self.path("store"), options).unwrap()
    }

    fn verify(&self) -> VerifyReport {
        inspect::verify(self.path("store"), |_, _| ()).unwrap()
    }
}

/// An event whose payload is to go.
fn secret(number: u64) -> NewEvent {
    NewEvent::new("Moved", format!("{number} {SECRET}")).metadata(format!("{number} {BESIDE}")).tag("customer:7")
}

/// Appends so many events, of which every tenth from the first on has a secret; their positions.
fn fill(store: &EventStore, count: u64) -> Vec<Position> {
    let mut found = Vec::new();
    for number in 0..count {
        if number % 10 == 0 {
            found.push(store.append("customer-7", ExpectedVersion::Any, secret(number)).unwrap().last);
        } else {
            let event = NewEvent::new("Told", format!("{number} {}", "x".repeat(900)));
            store.append(format!("s{}", number % 7), ExpectedVersion::Any, event).unwrap();
        }
    }
    found
}

fn redact(store: &EventStore, positions: &[Position]) -> RedactionReport {
    store.redact(positions.iter().copied(), "erasure request 4711").unwrap()
}

fn files_below(dir: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path());
    entries.flat_map(|path| if path.is_dir() { files_below(&path) } else { vec![path] }).collect()
}

/// The files below `dir` in which the text occurs.
fn holding(dir: &Path, text: &str) -> Vec<PathBuf> {
    let holds = |path: &PathBuf| fs::read(path).unwrap().windows(text.len()).any(|there| there == text.as_bytes());
    files_below(dir).into_iter().filter(holds).collect()
}

#[track_caller]
fn check_gone(dir: &Path) {
    for text in [SECRET, BESIDE] {
        assert_eq!(holding(dir, text), Vec::<PathBuf>::new(), "{text}");
    }
}

/// Everything that an event says but its payload.
fn without_payload(event: &RecordedEvent) -> String {
    let mut event = event.as_event();
    (event.data, event.metadata, event.redacted) = (b"", None, false);
    format!("{event:?}")
}

#[test]
fn what_is_redacted_is_in_no_file_of_the_store_any_more_and_everything_else_is_as_it_was() {
    for hashes in [false, true] {
        let place = Place::new();
        let store = place.open(&options().hash_chain(hashes));
        let positions = fill(&store, 300);
        let before = read_everything(&store);
        assert!(!holding(&place.path("store"), SECRET).is_empty(), "there was something to find");
        let report = redact(&store, &positions);
        assert_eq!((report.redacted, report.already), (30, 0));
        assert!(report.segments > 2 && report.announced.len() as u64 == report.segments, "{report:?}");
        check_gone(&place.path("store"));

        let after = read_everything(&store);
        assert_eq!(after.len(), before.len() + report.announced.len());
        for (was, is) in before.iter().zip(&after) {
            if positions.contains(&was.position()) {
                assert!(is.is_redacted() && is.data().is_empty() && is.metadata().is_none());
                assert_eq!(without_payload(is), without_payload(was));
            } else {
                assert_eq!(is, was);
            }
        }
        let found = place.verify();
        assert!(found.is_clean(), "{:?}", found.findings);
        assert_eq!(found.redacted, 30);
        drop(store);
        let store = place.open(&options());
        assert!(store.recovery_report().is_clean());
        assert_eq!(read_everything(&store), after);
    }
}

#[test]
fn redacted_events_are_found_by_everything_but_their_payload() {
    let place = Place::new();
    let mut store = place.open(&options());
    let positions = fill(&store, 100);
    let ids: Vec<EventId> = positions.iter().map(|at| store.get(*at).unwrap().unwrap().as_event().id).collect();
    redact(&store, &positions);
    store.maintain().unwrap();
    for _ in 0..2 {
        let found = store.read(QueryItem::new().tag("customer:7").event_type("Moved"), Position::START).unwrap();
        assert_eq!(found.map(|event| event.unwrap().position()).collect::<Vec<_>>(), positions);
        let stream = store.read_stream("customer-7", StreamVersion::EMPTY).unwrap();
        assert!(stream.map(Result::unwrap).map(|event| event.position()).eq(positions.iter().copied()));
        for (id, position) in ids.iter().zip(&positions) {
            assert_eq!(store.get_event(*id).unwrap().unwrap().position(), *position);
        }
        // The same when the indexes are made anew, of what is left.
        drop(store);
        fs::remove_dir_all(place.path("store/idx")).unwrap();
        store = place.open(&options());
    }
}

#[test]
fn the_log_says_what_was_redacted_and_why_and_keeps_the_digest() {
    let place = Place::new();
    let store = place.open(&options());
    let positions = fill(&store, 100);
    let event = store.get(positions[3]).unwrap().unwrap();
    let (data, metadata) = (event.data(), event.metadata().unwrap());
    let report = redact(&store, &positions[3..4]);
    let known = store.redaction(positions[3]).unwrap().unwrap();
    assert_eq!((&*known.reason, known.announced), ("erasure request 4711", report.announced[0]));
    // Written out by hand: it is the letter of the format that is tested.
    let bytes =
        [&[2], &(data.len() as u32).to_le_bytes()[..], &(metadata.len() as u32).to_le_bytes(), &data, &metadata];
    assert_eq!(known.digest, sha256(&bytes.concat()));
    assert_eq!(store.redaction(positions[4]).unwrap(), None);
    assert_eq!(store.redaction(Position::new(1_000_000)).unwrap(), None);

    let told = store.get(report.announced[0]).unwrap().unwrap();
    assert_eq!((told.stream(), told.event_type()), ("$redactions", "$redacted"));
    let text = String::from_utf8(told.data().to_vec()).unwrap();
    assert_eq!(
        text,
        format!("annals redaction 1\nreason erasure request 4711\nevent {} {}\n", positions[3], known.digest)
    );
    let mut many = annals::Redactions::default();
    for position in positions.iter().rev() {
        let known = store.redaction_in(&mut many, *position).unwrap().map(|known| known.position);
        assert_eq!(known, Some(*position).filter(|position| *position == positions[3]));
    }
}

fn sha256(bytes: &[u8]) -> Digest {
    annals_codec::Hasher::digest(bytes)
}

#[test]
fn to_redact_again_changes_nothing_and_more_can_be_redacted_in_the_same_segment() {
    let place = Place::new();
    let store = place.open(&options());
    let positions = fill(&store, 60);
    redact(&store, &positions[..2]);
    let head = store.head();
    let again = redact(&store, &positions[..2]);
    assert_eq!((again.redacted, again.already, again.segments, store.head()), (0, 2, 0, head));
    let plan = store.plan_redaction(positions.iter().copied()).unwrap();
    assert_eq!((plan.redacted, plan.already), (4, 2));
    let more = redact(&store, &positions);
    assert_eq!((more.redacted, more.already), (4, 2));
    for position in &positions {
        assert_eq!(store.redaction(*position).unwrap().unwrap().position, *position);
    }
    check_gone(&place.path("store"));
    let found = place.verify();
    assert!(found.is_clean() && found.redacted == 6, "{found:?}");
}

#[test]
fn an_event_of_the_newest_segment_is_redacted_too() {
    let place = Place::new();
    let store = place.open(&options());
    let done = store.append("customer-7", ExpectedVersion::Any, secret(1)).unwrap();
    let report = redact(&store, &[done.last]);
    assert_eq!((report.redacted, report.segments), (1, 1));
    check_gone(&place.path("store"));
    // A store that was just opened has appended nothing yet.
    let done = store.append("customer-7", ExpectedVersion::Any, secret(2)).unwrap();
    drop(store);
    let store = place.open(&options());
    redact(&store, &[done.last]);
    check_gone(&place.path("store"));
    assert!(place.verify().is_clean());
    drop(store);
    assert!(place.open(&options()).recovery_report().is_clean());
}

#[test]
fn what_is_no_event_or_the_stores_own_or_has_no_reason_is_refused_and_nothing_changes() {
    let place = Place::new();
    let store = place.open(&options());
    let positions = fill(&store, 30);
    let told = redact(&store, &positions[..1]).announced[0];
    let before: Vec<_> = files_below(&place.path("store/seg")).iter().map(|path| fs::read(path).unwrap()).collect();
    let refused = |position: u64| store.redact([positions[1], Position::new(position)], "r").unwrap_err();
    assert!(matches!(refused(0), RedactError::NoEvent { .. }), "{}", refused(0));
    assert!(matches!(refused(1_000), RedactError::NoEvent { .. }));
    assert!(matches!(refused(told.get()), RedactError::OfTheStore { position } if position == told));
    for reason in ["", "two\nlines", &"x".repeat(1_001)] {
        assert!(matches!(store.redact([positions[1]], reason), Err(RedactError::Reason)), "{reason}");
    }
    let reader = EventStore::open_read_only(place.path("store")).unwrap();
    assert!(matches!(reader.redact([positions[1]], "r"), Err(RedactError::ReadOnly)));
    assert_eq!(reader.plan_redaction([positions[1]]).unwrap().redacted, 1);
    let after: Vec<_> = files_below(&place.path("store/seg")).iter().map(|path| fs::read(path).unwrap()).collect();
    assert!(before == after);
}

#[test]
fn limits_for_what_is_appended_keep_no_event_from_being_redacted() {
    let place = Place::new();
    let store = place.open(&options());
    let positions = fill(&store, 10);
    store.close().unwrap();
    let store = place.open(&options().max_event_bytes(128).max_batch_bytes(128));
    redact(&store, &positions);
    assert!(store.get(positions[0]).unwrap().unwrap().is_redacted());
}

#[test]
fn nobody_but_the_store_appends_to_its_own_streams() {
    let store = EventStore::in_memory(&options()).unwrap();
    let own = StreamId::stored("$redactions");
    let event = || NewEvent::new("$redacted", "annals redaction 1\n");
    let refused = |result: Result<annals::Appended, AppendError>| {
        assert!(matches!(result, Err(AppendError::InvalidName(_))), "{result:?}");
    };
    refused(store.append(&own, ExpectedVersion::Any, event()));
    refused(store.append_batch(&own, ExpectedVersion::Any, [event()]));
    refused(store.batch().event("a", event()).event(&own, event()).commit());
    assert_eq!(store.head(), Position::START);
}

#[test]
fn a_reader_that_was_there_before_goes_on_and_one_that_comes_later_sees_nothing_of_it() {
    let place = Place::new();
    let store = place.open(&options());
    let positions = fill(&store, 100);
    let mut before = store.read(Query::from(QueryItem::new().event_type("Moved")), Position::START).unwrap();
    let held = store.get(positions[5]).unwrap().unwrap();
    let elsewhere = EventStore::open_read_only(place.path("store")).unwrap();
    redact(&store, &positions);
    while let Some(event) = before.next_event().unwrap() {
        assert!(!event.redacted && event.data.ends_with(SECRET.as_bytes()));
    }
    assert!(held.data().ends_with(SECRET.as_bytes()));
    let is_redacted = |store: &EventStore| store.get(positions[5]).unwrap().unwrap().is_redacted();
    assert!(is_redacted(&store));
    // A process that only reads keeps its files, goes on following, and sees it when it is opened anew.
    assert_eq!(elsewhere.head(), store.head());
    assert!(!is_redacted(&elsewhere));
    assert_eq!(elsewhere.redaction(positions[5]).unwrap(), store.redaction(positions[5]).unwrap());
    assert!(is_redacted(&EventStore::open_read_only(place.path("store")).unwrap()));
}

#[test]
fn an_index_that_is_made_beside_a_redaction_does_not_bring_the_old_file_back() {
    // With threads, whose indexer replaces segments in the list, too.
    for _ in 0..10 {
        let store = EventStore::in_memory(&Options::new().segment_bytes(64 << 10)).unwrap();
        let positions = fill(&store, 120);
        redact(&store, &positions);
        store.maintain().unwrap();
        for position in &positions {
            assert!(store.get(*position).unwrap().unwrap().is_redacted(), "{position}");
        }
    }
}

#[test]
fn the_hash_chain_and_its_witnesses_hold_over_what_is_redacted() {
    let place = Place::new();
    let store = place.open(&options().hash_chain(true));
    let positions = fill(&store, 150);
    let middle = store.chain_tip().unwrap().unwrap();
    fill(&store, 150);
    let witnesses = [middle, store.chain_tip().unwrap().unwrap()];
    redact(&store, &positions);
    let against = || inspect::verify_against(place.path("store"), &witnesses, |_, _| ()).unwrap();
    let found = against();
    assert!(found.is_clean(), "{:?}", found.findings);
    assert_eq!(found.chain.len(), 1);
    // What was not redacted is under it as before: an event that is changed, checksums and all, is named.
    let segment = files_below(&place.path("store/seg")).into_iter().min().unwrap();
    let mut bytes = fs::read(&segment).unwrap();
    let at = bytes.windows(4).position(|there| there == b"Told").unwrap();
    bytes[at..at + 4].copy_from_slice(b"Lied");
    fs::write(&segment, bytes).unwrap();
    assert!(!against().is_clean());
}

#[test]
fn proofs_of_redacted_events_hold_under_what_was_published_before_also_when_the_tree_is_made_anew() {
    let place = Place::new();
    let mut store = place.open(&options().hash_chain(true));
    let positions = fill(&store, 150);
    let published = store.tree().unwrap().unwrap().head();
    redact(&store, &positions);
    for _ in 0..2 {
        let tree = store.tree().unwrap().unwrap();
        tree.consistency(&published, &tree.head()).unwrap().check(&published, &tree.head()).unwrap();
        for position in [positions[0], positions[9], positions[4].plus(1)] {
            let proof = tree.inclusion(position, &published).unwrap().unwrap();
            proof.check(&published).unwrap();
        }
        // The parts of the tree are derived, here from segments in which the payloads are gone.
        drop(store);
        fs::remove_dir_all(place.path("store/idx")).unwrap();
        store = place.open(&options());
    }
}

/// A frame of the first segment whose event has this position, changed by `change`, with its checksum as it was.
fn forge(place: &Place, position: Position, change: impl FnOnce(&mut [u8], annals_codec::Seed)) {
    let path = files_below(&place.path("store/seg")).into_iter().min().unwrap();
    let mut bytes = fs::read(&path).unwrap();
    let (header, seed) = annals_codec::SegmentHeader::decode(&bytes).unwrap();
    assert!(position > header.base);
    let mut at = annals_codec::SEGMENT_HEADER_LEN;
    loop {
        let frame = annals_codec::Frame::read(&bytes[at..], seed).unwrap();
        let len = frame.header.padded_len() as usize;
        if frame.kind == annals_codec::FrameKind::Event && frame.header.position == position {
            change(&mut bytes[at..at + len], seed);
            break;
        }
        at += len;
    }
    fs::write(&path, bytes).unwrap();
}

#[test]
fn verify_finds_what_is_redacted_without_a_record_of_it_and_a_header_that_does_not_say_so() {
    for hashes in [false, true] {
        let place = Place::new();
        let store = place.open(&options().hash_chain(hashes));
        let positions = fill(&store, 100);
        redact(&store, &positions[..1]);
        drop(store);
        forge(&place, positions[1], |frame, seed| {
            annals_codec::redact_frame(frame, seed).unwrap();
        });
        let found = place.verify();
        let of = |kind| found.findings.iter().filter(|finding| finding.kind == kind).collect::<Vec<_>>();
        let missing = of(FindingKind::Redaction);
        assert_eq!(missing.len(), 1, "{:?}", found.findings);
        assert_eq!(missing[0].position, Some(positions[1]));
        assert!(missing[0].offset.is_some() && missing[0].message.contains("does not say so"));
        assert_eq!(of(FindingKind::Header).len(), 1, "{:?}", found.findings);
        assert_eq!(of(FindingKind::Chain).len(), 0, "nothing can be said of that batch: {:?}", found.findings);
    }
}

#[test]
fn a_digest_that_is_not_that_of_what_was_redacted_breaks_the_hash_chain() {
    let place = Place::new();
    let store = place.open(&options().hash_chain(true));
    let positions = fill(&store, 100);
    // Somebody puts another payload in its place before it is redacted.
    drop(store);
    forge(&place, positions[1], |frame, seed| {
        let at = frame.windows(SECRET.len()).position(|there| there == SECRET.as_bytes()).unwrap();
        frame[at] ^= 1;
        let len = annals_codec::u32_at(frame, 4) as usize;
        let crc = seed.checksum(&frame[4..len]);
        frame[..4].copy_from_slice(&crc.to_le_bytes());
    });
    assert!(!place.verify().is_clean());
    let store = place.open(&options());
    // Its checksum does not fit the chain of checksums any more, and no damaged segment is redacted.
    let refused = store.redact([positions[1]], "r").unwrap_err();
    assert!(matches!(refused, RedactError::Damaged(_)), "{refused}");
    assert!(files_below(&place.path("store/seg")).iter().all(|path| path.extension().unwrap() == "seg"));
}

#[test]
fn every_flipped_byte_of_a_segment_with_redacted_events_is_found() {
    let place = Place::new();
    let store = place.open(&options().hash_chain(true));
    for number in 0..3 {
        store.append("customer-7", ExpectedVersion::Any, secret(number)).unwrap();
    }
    redact(&store, &[Position::new(1), Position::new(3)]);
    drop(store);
    assert!(place.verify().is_clean());
    let path = files_below(&place.path("store/seg")).into_iter().min().unwrap();
    let whole = fs::read(&path).unwrap();
    let header = (0..160).chain(4_080..4_096);
    for at in header.chain(4_096..whole.len()) {
        let mut bytes = whole.clone();
        bytes[at] ^= 1 << (at % 8);
        fs::write(&path, bytes).unwrap();
        match inspect::verify(place.path("store"), |_, _| ()) {
            Ok(found) => assert!(!found.is_clean(), "byte {at}"),
            Err(error) => assert!(matches!(error, OpenError::Newer { .. }), "byte {at}: {error}"),
        }
    }
}

#[test]
fn a_retry_of_what_was_redacted_is_known_by_the_digest() {
    let place = Place::new();
    let store = place.open(&options());
    let id = |n: u8| EventId::from_bytes([n; 16]);
    let batch = |data: &str, metadata: &str| {
        let first = NewEvent::new("Moved", data.to_owned()).metadata(metadata.to_owned());
        store.batch().event("a", first).event("a", NewEvent::new("Told", "more")).idempotency_key("req-1").commit()
    };
    let single =
        |data: &str| store.append("b", ExpectedVersion::NoStream, NewEvent::new("Moved", data.to_owned()).id(id(1)));
    let (done, other) = (batch(SECRET, BESIDE).unwrap(), single(SECRET).unwrap());
    redact(&store, &[done.first, other.last]);
    check_gone(&place.path("store"));
    let again = batch(SECRET, BESIDE).unwrap();
    assert_eq!((again.outcome, again.first, again.last), (Outcome::Duplicate, done.first, done.last));
    assert_eq!(single(SECRET).unwrap().outcome, Outcome::Duplicate);
    for refused in [batch("something else", BESIDE), batch(SECRET, "told by Alice"), batch("", "")] {
        assert!(matches!(refused, Err(AppendError::IdempotencyKeyReused { .. })), "{refused:?}");
    }
    assert!(matches!(single("something else"), Err(AppendError::EventIdConflict { .. })));
    check_gone(&place.path("store"));
}

#[test]
fn the_next_backup_has_the_new_file_also_where_it_shared_the_old_one() {
    for copy in [false, true] {
        let place = Place::new();
        let store = place.open(&options().hash_chain(true));
        let positions = fill(&store, 200);
        let backup = || store.backup_to(place.path("backup"), &BackupOptions::new().copy(copy)).unwrap();
        backup();
        redact(&store, &positions[..5]);
        check_holds(&place.path("backup"), "the backup was taken before");
        let second = backup();
        assert!(second.reused > 0 && second.reused < second.segments - 1, "{second:?}");
        redact(&store, &positions);
        let third = backup();
        assert_eq!(third.mark.position, store.head());
        check_gone(&place.path("backup"));
        let found = inspect::verify(place.path("backup"), |_, _| ()).unwrap();
        assert!(found.is_clean() && found.redacted == 20, "{:?}", found.findings);
        assert_eq!(backup().reused, third.segments - 1, "what is there is not copied again");

        restore(place.path("backup"), place.path("again")).unwrap();
        let again = EventStore::open(place.path("again"), &options()).unwrap();
        assert_eq!(read_everything(&again), read_everything(&store));
        assert_eq!(again.redaction(positions[7]).unwrap(), store.redaction(positions[7]).unwrap());
    }
}

#[track_caller]
fn check_holds(dir: &Path, why: &str) {
    assert!(!holding(dir, SECRET).is_empty(), "{why}");
}

#[test]
fn a_store_that_is_open_read_only_and_still_reads_the_old_file_backs_up_the_new_one() {
    let place = Place::new();
    let store = place.open(&options());
    let positions = fill(&store, 100);
    let reader = EventStore::open_read_only(place.path("store")).unwrap();
    redact(&store, &positions);
    reader.backup_to(place.path("backup"), &BackupOptions::new()).unwrap();
    check_gone(&place.path("backup"));
    let found = inspect::verify(place.path("backup"), |_, _| ()).unwrap();
    assert!(found.is_clean(), "{:?}", found.findings);
}

#[test]
fn retention_takes_redacted_events_and_later_what_was_said_of_them() {
    let place = Place::new();
    let store = place.open(&options().hash_chain(true));
    let positions = fill(&store, 100);
    redact(&store, &positions);
    fill(&store, 200);
    store.truncate_before(Position::new(95), Guard::Consumers).unwrap();
    assert!(store.oldest() > positions[0]);
    assert_eq!(store.redaction(positions[0]).unwrap(), None);
    assert!(matches!(store.redact([positions[0]], "r"), Err(RedactError::Read(ReadError::Truncated { .. }))));
    let kept = *positions.iter().find(|position| **position >= store.oldest()).unwrap();
    assert!(store.redaction(kept).unwrap().is_some());
    assert!(place.verify().is_clean(), "{:?}", place.verify().findings);
    store.truncate_before(store.head(), Guard::Consumers).unwrap();
    assert!(place.verify().is_clean(), "{:?}", place.verify().findings);
}

#[test]
fn a_redaction_beside_appends_readers_and_backups_disturbs_none_of_them() {
    let place = Place::new();
    let store = place.open(&Options::new().segment_bytes(64 << 10).hash_chain(true));
    let positions = fill(&store, 300);
    std::thread::scope(|threads| {
        let store = &store;
        threads.spawn(move || positions.chunks(3).for_each(|some| drop(redact(store, some))));
        threads.spawn(move || fill(store, 300));
        threads.spawn(move || {
            for _ in 0..5 {
                store.read_all(Position::START).for_each(|event| drop(event.unwrap()));
            }
        });
        for round in 0..4 {
            let dir = place.path(&format!("backup{round}"));
            store.backup_to(&dir, &BackupOptions::new()).unwrap();
            let found = inspect::verify(&dir, |_, _| ()).unwrap();
            assert!(found.is_clean(), "{:?}", found.findings);
        }
    });
    let found = place.verify();
    assert!(found.is_clean() && found.redacted == 30, "{:?}", found.findings);
}

//! Who is asked before events are taken in, when that counts, and the streams of the store's own that nobody is asked about.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use annals::storage::sim::{PowerLoss, SimDisk};
use annals::{
    Admission, AppendCondition, AppendError, ContentType, EventId, EventStore, ExpectedVersion, Guard, NewEvent,
    Options, Outcome, OwnStream, Position, Proposed, Query, QueryItem, Refusal, Seal, StreamVersion,
};

use crate::support::open_read_only;

/// Refuses what has "bad" in it, unless it is sealed; and counts what it was asked.
#[derive(Default)]
struct NoBad {
    seal: Seal,
    asked: AtomicU64,
    events: AtomicU64,
}

impl Admission for NoBad {
    fn admit(&self, _: &EventStore, events: &mut dyn Iterator<Item = Proposed<'_>>) -> Result<(), Refusal> {
        self.asked.fetch_add(1, Ordering::Relaxed);
        let mut bad = Vec::new();
        for proposed in events {
            self.events.fetch_add(1, Ordering::Relaxed);
            let event = proposed.event();
            if event.data.windows(3).any(|part| part == b"bad") && !proposed.is_sealed_with(&self.seal) {
                bad.push(format!("{} of {}", event.event_type, event.stream));
            }
        }
        if bad.is_empty() {
            return Ok(());
        }
        let why: Box<dyn std::error::Error + Send + Sync> = bad.join(", ").into();
        Err(why.into())
    }
}

fn options() -> Options {
    Options::new().background(false).flush_interval(None).zero_ahead(0).segment_bytes(64 << 10)
}

fn store_with(admission: &Arc<NoBad>) -> EventStore {
    EventStore::in_memory(&options().admission(Arc::clone(admission) as Arc<dyn Admission>)).unwrap()
}

fn bad() -> NewEvent {
    NewEvent::new("A", "this is bad")
}

#[track_caller]
fn must_be_refused<T: std::fmt::Debug>(result: Result<T, AppendError>, why: &str) {
    let cause = match result {
        Err(AppendError::Refused { cause }) => cause,
        other => panic!("{other:?}"),
    };
    assert_eq!(cause.to_string(), why);
}

#[test]
fn a_batch_with_an_event_that_is_not_admitted_is_refused_as_a_whole_however_it_is_appended() {
    let admission = Arc::new(NoBad::default());
    let store = store_with(&admission);
    must_be_refused(store.append("a", ExpectedVersion::Any, bad()), "A of a");
    let events = [NewEvent::new("B", "good"), bad(), NewEvent::new("C", "bad, too")];
    must_be_refused(store.append_batch("a", ExpectedVersion::Any, events), "A of a, C of a");
    must_be_refused(store.batch().event("a", bad()).event("b", bad()).submit().unwrap().wait(), "A of a, A of b");
    let decided = store.append_if::<AppendError>(Query::All, |_, batch| Ok(Some(batch.event("a", bad()))));
    must_be_refused(decided, "A of a");
    assert_eq!((store.head(), admission.asked.load(Ordering::Relaxed)), (Position::START, 4));

    store.append("a", ExpectedVersion::NoStream, NewEvent::new("A", "good")).unwrap();
    store.batch().tracking("source", 1).commit().unwrap();
    assert_eq!((store.head().get(), admission.events.load(Ordering::Relaxed)), (1, 8));
}

#[test]
fn a_refusal_counts_only_behind_everything_else_that_can_be_said_of_a_request() {
    let disk = SimDisk::new(1);
    let store = EventStore::open_on(Arc::new(disk.clone()), &options()).unwrap();
    let id = EventId::from_bytes([7; 16]);
    let first = store.append("a", ExpectedVersion::Any, bad().id(id)).unwrap();
    let keyed = || store.batch().event("a", bad()).idempotency_key("k");
    let second = keyed().commit().unwrap();
    drop(store);

    // The rules have become stricter since.
    let admission = Arc::new(NoBad::default());
    let options = options().admission(Arc::clone(&admission) as Arc<dyn Admission>);
    let store = EventStore::open_on(Arc::new(disk), &options).unwrap();
    let again = store.append("a", ExpectedVersion::Any, bad().id(id)).unwrap();
    assert_eq!((again.outcome, again.last), (Outcome::Duplicate, first.last));
    let again = store.batch().event("a", bad()).idempotency_key("k").commit().unwrap();
    assert_eq!((again.outcome, again.last), (Outcome::Duplicate, second.last));
    let other = NewEvent::new("A", "also bad").id(id);
    let found = store.append("a", ExpectedVersion::Any, other);
    assert!(matches!(found, Err(AppendError::EventIdConflict { .. })), "{found:?}");
    let found = store.append("a", ExpectedVersion::NoStream, bad());
    assert!(matches!(found, Err(AppendError::ConcurrencyConflict { .. })), "{found:?}");
    let condition = AppendCondition::fail_if_match(QueryItem::new().stream("a"));
    let found = store.batch().event("a", bad()).condition(condition).commit();
    assert!(matches!(found, Err(AppendError::ConditionFailed { .. })), "{found:?}");
    must_be_refused(store.append("a", ExpectedVersion::Any, bad()), "A of a");

    // What is no request at all is not asked about.
    let asked = admission.asked.load(Ordering::Relaxed);
    let found = store.append("$a", ExpectedVersion::Any, bad());
    assert!(matches!(found, Err(AppendError::InvalidName(_))), "{found:?}");
    let found = store.append("a", ExpectedVersion::Any, NewEvent::new("A", vec![0; 20 << 20]));
    assert!(matches!(found, Err(AppendError::EventTooLarge { .. })), "{found:?}");
    assert_eq!(admission.asked.load(Ordering::Relaxed), asked);
}

#[test]
fn only_the_seal_that_was_put_on_an_event_is_known_there_and_it_goes_with_another_schema_version() {
    let admission = Arc::new(NoBad::default());
    let store = store_with(&admission);
    store.append("a", ExpectedVersion::Any, bad().schema_version(2).sealed(&admission.seal)).unwrap();
    must_be_refused(store.append("a", ExpectedVersion::Any, bad().sealed(&Seal::new())), "A of a");
    let changed = bad().sealed(&admission.seal).schema_version(3);
    must_be_refused(store.append("a", ExpectedVersion::Any, changed), "A of a");
}

#[test]
fn a_panic_of_who_is_asked_is_that_of_the_append_and_of_nobody_else() {
    struct Panics;
    impl Admission for Panics {
        fn admit(&self, store: &EventStore, _: &mut dyn Iterator<Item = Proposed<'_>>) -> Result<(), Refusal> {
            assert!(store.head() > Position::START, "as the test wants it");
            Ok(())
        }
    }
    let store = EventStore::in_memory(&options().admission(Arc::new(Panics))).unwrap();
    let append = || store.append("a", ExpectedVersion::Any, NewEvent::new("A", ""));
    assert!(std::panic::catch_unwind(std::panic::AssertUnwindSafe(append)).is_err());
    store.append_own(OwnStream::Schemas, ExpectedVersion::Any, NewEvent::new("$schema", "")).unwrap();
    append().unwrap();
}

#[test]
fn the_stores_own_streams_are_written_in_one_way_only_read_by_everybody_and_counted() {
    let admission = Arc::new(NoBad::default());
    let disk = SimDisk::new(1);
    let options = options().admission(Arc::clone(&admission) as Arc<dyn Admission>);
    let store = EventStore::open_on(Arc::new(disk.clone()), &options).unwrap();
    assert_eq!((store.own_version(OwnStream::Schemas).unwrap(), store.own_appends()), (StreamVersion::EMPTY, 0));
    let own = |expected| store.append_own(OwnStream::Schemas, expected, bad());
    own(ExpectedVersion::NoStream).unwrap();
    let conflict = own(ExpectedVersion::NoStream);
    assert!(matches!(conflict, Err(AppendError::ConcurrencyConflict { .. })), "{conflict:?}");
    own(ExpectedVersion::Exact(StreamVersion::new(1))).unwrap();
    assert_eq!((store.clone().own_appends(), admission.asked.load(Ordering::Relaxed)), (3, 0));
    // The name that was read from an event opens no door.
    let stream = annals::StreamId::stored(store.get(Position::new(1)).unwrap().unwrap().stream());
    let found = store.append(stream, ExpectedVersion::Any, NewEvent::new("A", ""));
    assert!(matches!(found, Err(AppendError::InvalidName(_))), "{found:?}");

    let reader = open_read_only(&disk).unwrap();
    assert_eq!(reader.own_version(OwnStream::Schemas).unwrap(), StreamVersion::new(2));
    assert_eq!(reader.read_own(OwnStream::Schemas, StreamVersion::new(1)).count(), 1);
    assert!(reader.is_read_only() && !store.is_read_only());
    let found = reader.append_own(OwnStream::Schemas, ExpectedVersion::Any, bad());
    assert!(matches!(found, Err(AppendError::ReadOnly)), "{found:?}");
}

/// What the log says of itself, each once.
fn said(store: &EventStore) -> Vec<String> {
    let events = store.read_own(OwnStream::Schemas, StreamVersion::EMPTY).allow_truncated().map(Result::unwrap);
    events.map(|event| String::from_utf8(event.data().to_vec()).unwrap()).collect()
}

#[test]
fn what_the_log_says_of_all_its_events_is_not_removed_with_the_oldest_of_them() {
    let disk = SimDisk::new(1);
    let store = EventStore::open_on(Arc::new(disk.clone()), &options()).unwrap();
    let own = |text: &str| {
        let event = NewEvent::new("$schema", text.to_owned()).schema_version(1);
        store.append_own(OwnStream::Schemas, ExpectedVersion::Any, event).unwrap();
    };
    let fill = |events: u32| {
        for _ in 0..events {
            store.append("noise", ExpectedVersion::Any, NewEvent::new("N", vec![7; 9_000])).unwrap();
        }
    };
    own("one");
    own("two");
    fill(20);
    own("three");
    fill(20);
    let last = store.head();
    let done = store.truncate_before(last, Guard::Consumers).unwrap();
    assert!(done.segments > 2, "{done:?}");
    assert_eq!(said(&store), ["one", "two", "three"]);
    // Once, however often something goes; and not again while it stays.
    let head = store.head();
    store.truncate_before(last, Guard::Consumers).unwrap();
    assert_eq!(store.head(), head);
    fill(20);
    store.truncate_before(store.head(), Guard::Consumers).unwrap();
    assert_eq!(said(&store), ["one", "two", "three"]);
    assert_eq!(store.own_version(OwnStream::Schemas).unwrap(), StreamVersion::new(9));
    drop(store);
    let store = EventStore::open_on(Arc::new(disk.after_power_loss(PowerLoss::Random, 1)), &options()).unwrap();
    assert_eq!(said(&store), ["one", "two", "three"]);
}

#[test]
fn what_is_carried_on_says_when_it_was_said_first_and_goes_on_once_and_without_what_was_lost() {
    let store = EventStore::in_memory(&options()).unwrap();
    let own = |event| store.append_own(OwnStream::Schemas, ExpectedVersion::Any, event).unwrap();
    let first = own(NewEvent::new("$schema", "one"));
    // Twice, as a crash leaves it.
    own(NewEvent::new("$schema", "one"));
    // What a repair has put in the place of an event, and what somebody has given the same type.
    own(NewEvent::new("$lost", r#"{"why":"a byte was wrong"}"#).content_type(ContentType::JSON));
    own(NewEvent::new("$lost", "two"));
    for _ in 0..20 {
        store.append("noise", ExpectedVersion::Any, NewEvent::new("N", vec![7; 9_000])).unwrap();
    }
    let seen = store.own_appends();
    store.truncate_before(store.head(), Guard::Consumers).unwrap();
    assert_eq!(said(&store), ["one", "two"]);
    assert!(store.own_appends() > seen, "who knows the stream has to look again");
    let mut reader = store.read_own(OwnStream::Schemas, StreamVersion::EMPTY).allow_truncated();
    let event = reader.next_event().unwrap().unwrap();
    assert_eq!((event.occurred_at, event.content_type), (Some(first.recorded_at), ContentType::BINARY));
    assert!(event.position > first.last);
}

#[test]
fn a_crash_anywhere_while_segments_are_removed_loses_nothing_that_the_log_says_of_itself() {
    let prepare = || {
        let disk = SimDisk::new(1);
        let store = EventStore::open_on(Arc::new(disk.clone()), &options()).unwrap();
        store.append_own(OwnStream::Schemas, ExpectedVersion::Any, NewEvent::new("$schema", "one")).unwrap();
        for _ in 0..20 {
            store.append("noise", ExpectedVersion::Any, NewEvent::new("N", vec![7; 9_000])).unwrap();
        }
        (disk, store)
    };
    let (disk, store) = prepare();
    let before = disk.operations();
    store.truncate_before(store.head(), Guard::Consumers).unwrap();
    drop(store);
    let whole = disk.operations() - before;
    assert!(whole > 10, "{whole} operations");
    for stop in 0..whole {
        let (disk, store) = prepare();
        disk.stop_at(disk.operations() + stop);
        // Interrupted somewhere, or done.
        let _ = store.truncate_before(store.head(), Guard::Consumers);
        for seed in 0..3 {
            let left = disk.after_power_loss(PowerLoss::Random, seed);
            let store = EventStore::open_on(Arc::new(left), &options()).unwrap();
            let said = said(&store);
            assert!(!said.is_empty() && said.iter().all(|text| text == "one"), "stop {stop}, seed {seed}: {said:?}");
        }
    }
}

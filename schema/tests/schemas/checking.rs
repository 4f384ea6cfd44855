//! A whole log against its schemas.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use annals::shred::KeyRing;
use annals::storage::sim::SimDisk;
use annals::{EventStore, ExpectedVersion, NewEvent, Options, ReadError};
use annals_schema::{Fault, Finding, LogCheck, NewSchema, SchemaMode, Schemas, check_log};

use crate::options;

fn check(store: &EventStore, strict: bool) -> (LogCheck, Vec<Finding>) {
    let mut findings = Vec::new();
    let done = check_log(
        store,
        strict,
        |_, _| {},
        |finding| {
            findings.push(finding);
            true
        },
    );
    (done.unwrap(), findings)
}

fn positions(findings: &[Finding]) -> Vec<u64> {
    let position = |finding: &Finding| match finding {
        Finding::Event { position, .. } => position.get(),
        other => panic!("{other:?}"),
    };
    findings.iter().map(position).collect()
}

/// So many events, of which every hundredth is wrong; the schema is registered behind them.
fn fill(store: &EventStore, count: u64) -> Vec<u64> {
    let mut wrong = Vec::new();
    let numbers: Vec<u64> = (0..count).collect();
    for some in numbers.chunks(500) {
        let events = some.iter().map(|number| {
            let data =
                if number % 100 == 17 { format!(r#"{{"n":"{number}"}}"#) } else { format!(r#"{{"n":{number}}}"#) };
            NewEvent::new("Counted", data)
        });
        store.append_batch("a", ExpectedVersion::Any, events).unwrap();
    }
    wrong.extend(numbers.iter().filter(|number| *number % 100 == 17).map(|number| number + 1));
    let schema = NewSchema::new("Counted", r#"{"properties": {"n": {"type": "integer"}}}"#);
    Schemas::new(SchemaMode::Off).register(store, schema).unwrap();
    wrong
}

#[test]
fn every_event_is_checked_and_what_is_wrong_comes_in_the_order_of_the_log() {
    let store = EventStore::in_memory(&Options::new()).unwrap();
    let wrong = fill(&store, 30_000);
    let (most, last) = (AtomicU64::new(0), AtomicU64::new(0));
    let mut findings = Vec::new();
    let progress = |done: u64, total: u64| {
        assert!(last.swap(done, Ordering::Relaxed) <= done && done <= total);
        most.fetch_max(total, Ordering::Relaxed);
    };
    let done = check_log(&store, true, progress, |finding| {
        findings.push(finding);
        true
    })
    .unwrap();
    assert_eq!(positions(&findings), wrong);
    assert_eq!((done.checked, done.faulty, done.head), (30_000, 300, store.head()));
    assert_eq!((last.load(Ordering::Relaxed), most.load(Ordering::Relaxed)), (30_001, 30_001));
    let Finding::Event { stream, event_type, fault: Fault::Violates { version: 1, violations }, .. } = &findings[0]
    else {
        panic!("{:?}", findings[0])
    };
    assert_eq!((&**stream, &**event_type, &*violations[0].path, &*violations[0].got), ("a", "Counted", "/n", "\"17\""));
}

#[test]
fn who_has_seen_enough_ends_it() {
    let store = EventStore::in_memory(&Options::new()).unwrap();
    fill(&store, 30_000);
    let mut seen = 0;
    let done = check_log(
        &store,
        false,
        |_, _| {},
        |_| {
            seen += 1;
            seen < 5
        },
    );
    assert_eq!((done.unwrap().is_clean(), seen), (false, 5));
}

#[test]
fn types_without_a_schema_are_counted_and_findings_only_where_that_is_asked_for() {
    let store = EventStore::in_memory(&options()).unwrap();
    let schemas = Schemas::new(SchemaMode::Off);
    schemas.register(&store, NewSchema::new("A", "true").version(2)).unwrap();
    for (event_type, version) in [("A", 2), ("B", 0), ("A", 0), ("B", 0), ("C", 0)] {
        store.append("a", ExpectedVersion::Any, NewEvent::new(event_type, "{}").schema_version(version)).unwrap();
    }
    let (lenient, findings) = check(&store, false);
    assert_eq!(positions(&findings), [4], "a version that is not there is never in order");
    assert_eq!(
        (lenient.checked, lenient.without_schema.into_iter().collect::<Vec<_>>()),
        (2, vec![("B".into(), 2), ("C".into(), 1)])
    );
    let (strict, findings) = check(&store, true);
    assert_eq!((strict.faulty, positions(&findings)), (4, vec![3, 4, 5, 6]));
}

#[test]
fn what_is_redacted_or_encrypted_is_counted_and_what_is_damaged_is_a_finding() {
    let dir = tempfile::tempdir().unwrap();
    let store = EventStore::open(dir.path().join("log"), &options()).unwrap();
    let keys = KeyRing::open(dir.path().join("keys")).unwrap();
    Schemas::new(SchemaMode::Off).register(&store, NewSchema::new("A", r#"{"type": "object"}"#)).unwrap();
    let gone = store.append("a", ExpectedVersion::Any, NewEvent::new("A", "7")).unwrap();
    let hidden = keys.encrypt("ada", NewEvent::new("A", "7")).unwrap();
    store.append("a", ExpectedVersion::Any, hidden).unwrap();
    store.redact([gone.last], "as the test wants it").unwrap();
    let (done, findings) = check(&store, true);
    assert!(done.is_clean() && findings.is_empty(), "{findings:?}");
    assert_eq!((done.checked, done.redacted, done.encrypted), (0, 1, 1));

    let disk = SimDisk::new(1);
    let open = || EventStore::open_on(Arc::new(disk.clone()), &options()).unwrap();
    let store = open();
    fill(&store, 5_000);
    drop(store);
    let path = disk.paths().into_iter().find(|path| path.starts_with("seg/")).unwrap();
    disk.flip(&path, 8 * 20_000);
    let (done, findings) = check(&open(), false);
    let damaged =
        findings.iter().filter(|finding| matches!(finding, Finding::Unreadable(ReadError::Corrupt(_)))).count();
    assert!(damaged > 0 && done.unreadable == damaged as u64 && !done.is_clean(), "{done:?}");
    assert!(done.checked > 4_000, "the rest is checked: {done:?}");
}

#[test]
fn an_empty_log_and_one_that_lost_its_beginning_are_checked_as_far_as_they_go() {
    let store = EventStore::in_memory(&options()).unwrap();
    assert_eq!(check(&store, true).0, LogCheck::default());
    fill(&store, 5_000);
    store.truncate_before(annals::Position::new(3_000), annals::Guard::Consumers).unwrap();
    let (done, findings) = check(&store, true);
    let left = positions(&findings);
    assert!(left.first().is_some_and(|first| *first >= store.oldest().get()) && left.len() >= 20, "{left:?}");
    assert_eq!(done.checked, 5_000 + 1 - store.oldest().get());
}

//! What becomes part of the log, and what does not.

use std::sync::{Arc, Barrier};

use annals::storage::sim::SimDisk;
use annals::{EventStore, ExpectedVersion, Guard, NewEvent, OwnStream, StreamVersion};
use annals_schema::{Compatibility, EVENT_TYPE, NewSchema, RegisterError, Registration, SchemaMode, Schemas, Verdict};

use crate::{PAID, append, open_with, options, store_with};

const OPEN: &str = r#"{"properties": {"a": {"type": "integer"}}}"#;

fn store() -> (EventStore, Schemas) {
    (EventStore::in_memory(&options()).unwrap(), Schemas::new(SchemaMode::Off))
}

#[test]
fn a_text_that_is_no_schema_is_refused_with_each_place_and_what_is_wrong_there() {
    let (store, schemas) = store();
    let deep = format!("{}{}", r#"{"not":"#.repeat(50_000), "}".repeat(50_000));
    let cases: [(&str, &[(&str, &str)]); 16] = [
        ("", &[("", "empty")]),
        (r#"{"type": "object""#, &[("", "line 1, column 17")]),
        ("17", &[("", "17")]),
        (r#"{"type": "objekt"}"#, &[("/type", "no type of JSON")]),
        (
            r#"{"properties": {"a": {"minimum": "x"}, "b": {"maxLength": -1}}}"#,
            &[("/properties/a/minimum", "number"), ("/properties/b/maxLength", "0")],
        ),
        (r#"{"required": "a"}"#, &[("/required", "array")]),
        (r#"{"pattern": "("}"#, &[("/pattern", "(")]),
        (r#"{"pattern": "(?<=a)b"}"#, &[("/pattern", "(?<=a)b")]),
        (r#"{"format": "datum"}"#, &[("/format", "nobody knows the format 'datum'")]),
        (r#"{"properties": {"a": {"$ref": "https://example.com/a.json"}}}"#, &[("/properties/a/$ref", "stands alone")]),
        (r#"{"items": {"$ref": "file:///etc/passwd"}}"#, &[("/items/$ref", "stands alone")]),
        (r#"{"allOf": [true, {"$ref": "other.json#/a"}]}"#, &[("/allOf/1/$ref", "stands alone")]),
        (r##"{"$ref": "#/$defs/nowhere"}"##, &[("/$ref", "nowhere")]),
        (r#"{"$schema": "https://example.com/mine", "type": "object"}"#, &[("/$schema", "example.com/mine")]),
        (r#"{"type": "object", "type": "array"}"#, &[("", "twice")]),
        (&deep, &[("", "recursion limit")]),
    ];
    for (text, expected) in cases {
        let shown: String = text.chars().take(100).collect();
        let error = schemas.register(&store, NewSchema::new("A", text)).expect_err(&shown);
        let RegisterError::Invalid(invalid) = error else { panic!("{shown}: {error}") };
        assert_eq!(invalid.faults.len(), expected.len(), "{shown}: {invalid}");
        for (fault, (path, part)) in invalid.faults.iter().zip(expected) {
            assert!(fault.path == *path && fault.problem.contains(part), "{shown}: {fault:?}");
        }
    }
    let found = schemas.register(&store, NewSchema::new("", "true"));
    assert!(matches!(found, Err(RegisterError::InvalidName(_))), "{found:?}");
    assert_eq!(store.head().get(), 0, "nothing was written");
}

#[test]
fn every_dialect_from_draft_4_on_is_one_in_which_a_schema_can_be_written() {
    let (store, schemas) = store();
    for (number, uri) in [
        "http://json-schema.org/draft-04/schema#",
        "http://json-schema.org/draft-06/schema#",
        "http://json-schema.org/draft-07/schema#",
        "https://json-schema.org/draft/2019-09/schema",
        "https://json-schema.org/draft/2020-12/schema",
    ]
    .into_iter()
    .enumerate()
    {
        let text = format!(r#"{{"$schema": "{uri}", "type": "object", "required": ["a"]}}"#);
        schemas.register(&store, NewSchema::new(format!("T{number}"), text)).unwrap();
    }
    assert_eq!(schemas.list(&store).unwrap().len(), 5);
}

#[test]
fn what_is_registered_stands_in_the_log_as_it_was_written_and_describes_itself() {
    assert!(PAID.find("type") < PAID.find("properties"), "names are not in the order of the alphabet");
    let (store, schemas) = store();
    let done = schemas.register(&store, NewSchema::new("Paid", format!("\n{PAID}\n"))).unwrap();
    let event = store.get(done.position.unwrap()).unwrap().unwrap();
    assert_eq!((event.stream(), event.event_type()), ("$schema", "$schema"));
    let said = Registration::of_event(&event.as_event()).unwrap();
    assert_eq!(said, done.registration);
    assert_eq!((&*said.schema, said.version, said.forced), (&*PAID.split_whitespace().collect::<String>(), 1, false));
    let json: serde_json::Value = serde_json::from_slice(&event.data()).unwrap();
    assert_eq!((&json["event_type"], &json["compatibility"]), (&"Paid".into(), &"backward".into()));
    assert_eq!(json["schema"]["required"][1], "currency");
}

#[test]
fn the_same_schema_again_is_found_and_another_one_never_takes_a_version_that_is_there() {
    let (store, schemas) = store();
    assert!(!schemas.register(&store, NewSchema::new("A", OPEN)).unwrap().was_there);
    let spaced = OPEN.replace(' ', "\n  ");
    for again in [NewSchema::new("A", OPEN), NewSchema::new("A", spaced).version(1)] {
        let found = schemas.register(&store, again).unwrap();
        assert!(found.was_there && found.registration.version == 1, "{found:?}");
    }
    assert_eq!(store.head().get(), 1);
    let found = schemas.register(&store, NewSchema::new("A", "true").version(1));
    assert!(matches!(found, Err(RegisterError::Taken { version: 1, next: 2, .. })), "{found:?}");

    assert_eq!(schemas.register(&store, NewSchema::new("A", "true").version(7)).unwrap().registration.version, 7);
    for version in [0, 3, 6] {
        let found = schemas.register(&store, NewSchema::new("A", "true").version(version));
        assert!(matches!(found, Err(RegisterError::NoVersion { newest: 7, .. })), "{found:?}");
    }
    let last = NewSchema::new("A", r#"{"title": "last"}"#).version(u16::MAX);
    schemas.register(&store, last).unwrap();
    let found = schemas.register(&store, NewSchema::new("A", r#"{"title": "one more"}"#));
    assert!(matches!(found, Err(RegisterError::NoVersion { version: 65536, .. })), "{found:?}");
    assert_eq!(store.head().get(), 3);
}

#[test]
fn a_version_that_does_not_fit_is_refused_unless_it_is_forced_and_then_the_log_says_so() {
    let (store, schemas) = store();
    schemas.register(&store, NewSchema::new("A", OPEN)).unwrap();
    let narrower = || NewSchema::new("A", r#"{"properties": {"a": {"type": "integer"}}, "required": ["a"]}"#);
    let error = schemas.register(&store, narrower()).unwrap_err();
    let RegisterError::Incompatible { comparison, version: 2, newest: 1, .. } = &error else { panic!("{error}") };
    assert_eq!((comparison.differences[0].verdict, &*comparison.differences[0].path), (Verdict::Breaks, "/required"));
    let unclear = || NewSchema::new("A", r#"{"properties": {"a": {"type": "integer"}}, "not": {"required": ["b"]}}"#);
    let error = schemas.register(&store, unclear()).unwrap_err();
    let RegisterError::Incompatible { comparison, .. } = &error else { panic!("{error}") };
    assert_eq!((comparison.differences[0].verdict, &*comparison.differences[0].path), (Verdict::Undecided, "/not"));
    assert_eq!(store.head().get(), 1);

    let planned = schemas.plan(&store, &narrower().force(true)).unwrap();
    assert!(planned.registration.forced && planned.position.is_none() && store.head().get() == 1, "{planned:?}");
    assert!(schemas.register(&store, narrower().force(true)).unwrap().registration.forced);
    assert!(!schemas.register(&store, NewSchema::new("A", OPEN).force(true)).unwrap().registration.forced, "it fits");
    assert_eq!(schemas.list(&store).unwrap().iter().filter(|it| it.registration.forced).count(), 1);
}

#[test]
fn what_a_version_has_to_be_to_the_one_before_it_stays_until_somebody_says_otherwise() {
    let (store, schemas) = store();
    let wider = r#"{"properties": {"a": {"type": "number"}}}"#;
    schemas.register(&store, NewSchema::new("A", OPEN).compatibility(Compatibility::Forward)).unwrap();
    let error = schemas.register(&store, NewSchema::new("A", wider)).unwrap_err();
    assert!(matches!(&error, RegisterError::Incompatible { required: Compatibility::Forward, .. }), "{error}");
    schemas.register(&store, NewSchema::new("A", wider).compatibility(Compatibility::Backward)).unwrap();
    let error = schemas.register(&store, NewSchema::new("A", OPEN)).unwrap_err();
    assert!(matches!(&error, RegisterError::Incompatible { required: Compatibility::Backward, .. }), "{error}");
    schemas.register(&store, NewSchema::new("A", OPEN).compatibility(Compatibility::None)).unwrap();
    schemas.register(&store, NewSchema::new("A", r#"{"type": "null"}"#)).unwrap();
    assert_eq!(schemas.list(&store).unwrap().len(), 4);
}

#[test]
fn of_many_that_register_at_once_each_gets_in_and_no_version_is_given_twice() {
    let store = EventStore::in_memory(&options()).unwrap();
    std::thread::scope(|threads| {
        for thread in 0..4 {
            let store = &store;
            threads.spawn(move || {
                let schemas = Schemas::new(SchemaMode::Off);
                for number in 0..10 {
                    // One type that all of them extend, and one of each.
                    let text = format!(r#"{{"title": "{thread}-{number}"}}"#);
                    schemas.register(store, NewSchema::new("Shared", &*text)).unwrap();
                    schemas.register(store, NewSchema::new(format!("T{thread}"), text)).unwrap();
                }
            });
        }
    });
    let listed = Schemas::new(SchemaMode::Off).list(&store).unwrap();
    let of = |name: &str| -> Vec<u16> {
        let found = listed.iter().filter(|it| *it.registration.event_type == *name);
        found.map(|it| it.registration.version).collect()
    };
    assert_eq!(of("Shared"), (1..=40).collect::<Vec<_>>());
    assert_eq!(of("T3"), (1..=10).collect::<Vec<_>>());
    assert_eq!(store.own_version(OwnStream::Schemas).unwrap(), StreamVersion::new(80), "none is there twice");
}

#[test]
fn a_schema_outlives_the_oldest_events_of_its_log() {
    let schemas = Arc::new(Schemas::new(SchemaMode::Enforce));
    let disk = SimDisk::new(1);
    let store = open_with(&disk, &schemas);
    schemas.register(&store, NewSchema::new("Paid", PAID)).unwrap();
    schemas.register(&store, NewSchema::new("Noise", "true")).unwrap();
    let noise = NewEvent::new("Noise", format!("\"{}\"", "x".repeat(9_000)));
    for _ in 0..30 {
        store.append("a", ExpectedVersion::Any, noise.clone()).unwrap();
    }
    let before = schemas.list(&store).unwrap();
    store.truncate_before(store.head(), Guard::Consumers).unwrap();
    assert!(store.oldest().get() > 2);
    // Who has the store open knows where they stand now, and since when.
    let after = schemas.list(&store).unwrap();
    assert_eq!(after.len(), before.len());
    for (before, after) in before.iter().zip(&after) {
        assert_eq!((&after.registration, after.recorded_at), (&before.registration, before.recorded_at));
        assert_eq!(store.get(after.position).unwrap().unwrap().event_type(), EVENT_TYPE);
    }
    drop(store);
    let schemas = Arc::new(Schemas::new(SchemaMode::Enforce));
    let store = open_with(&disk.after_kill(), &schemas);
    append(&store, "Paid", "{}").unwrap_err();
    append(&store, "Paid", r#"{"amount":1,"currency":"EUR"}"#).unwrap();
    assert_eq!(schemas.list(&store).unwrap(), after);
    assert_eq!(schemas.register(&store, NewSchema::new("Paid", PAID)).unwrap().registration.version, 1);
}

#[test]
fn a_store_that_is_open_read_only_takes_no_schema() {
    let disk = SimDisk::new(1);
    drop(EventStore::open_on(Arc::new(disk.clone()), &options()).unwrap());
    let reader = EventStore::open_read_only_on(Arc::new(disk)).unwrap();
    let found = Schemas::new(SchemaMode::Off).register(&reader, NewSchema::new("A", "true"));
    assert!(matches!(found, Err(RegisterError::Append(annals::AppendError::ReadOnly))), "{found:?}");
    let (store, _) = store_with(SchemaMode::Enforce);
    assert_eq!(store.head().get(), 1);
}

#[test]
fn of_two_schemas_that_say_to_be_the_same_version_the_first_counts() {
    let schemas = Arc::new(Schemas::new(SchemaMode::Enforce));
    let store = open_with(&SimDisk::new(1), &schemas);
    // As two programs would that do not look at what is there.
    for schema in [r#"{"required": ["a"]}"#, "{}"] {
        let said = format!(r#"{{"event_type": "Paid", "version": 1, "compatibility": "none", "schema": {schema}}}"#);
        let event = NewEvent::new("$schema", said).schema_version(1);
        store.append_own(OwnStream::Schemas, ExpectedVersion::Any, event).unwrap();
    }
    append(&store, "Paid", "{}").unwrap_err();
    append(&store, "Paid", r#"{"a": 1}"#).unwrap();
    assert_eq!(schemas.list(&store).unwrap().len(), 1);
}

#[test]
fn who_registers_at_the_same_moment_as_others_gets_a_version_of_their_own() {
    const THREADS: usize = 4;
    const EACH: usize = 6;
    // On a disk, whose syncs take long enough for all to meet.
    let dir = tempfile::tempdir().unwrap();
    let store = EventStore::open(dir.path(), &options()).unwrap();
    let begin = Barrier::new(THREADS);
    let register = |thread: usize| {
        let schemas = Schemas::new(SchemaMode::Off);
        begin.wait();
        for number in 0..EACH {
            let text = format!(r#"{{"title": "{thread} {number}"}}"#);
            let new = NewSchema::new("Paid", text).compatibility(Compatibility::None);
            schemas.register(&store, new).unwrap();
        }
    };
    std::thread::scope(|threads| {
        for thread in 0..THREADS {
            let register = &register;
            threads.spawn(move || register(thread));
        }
    });
    let listed = Schemas::new(SchemaMode::Off).list(&store).unwrap();
    let versions: Vec<u16> = listed.iter().map(|schema| schema.registration.version).collect();
    assert_eq!(versions, (1..=(THREADS * EACH) as u16).collect::<Vec<_>>());
}

#[test]
fn of_another_store_other_schemas_are_known() {
    let schemas = Schemas::new(SchemaMode::Off);
    let stores = [1, 2].map(|seed| open_with(&SimDisk::new(seed), &Arc::new(Schemas::new(SchemaMode::Off))));
    for (store, event_type) in stores.iter().zip(["Paid", "Placed"]) {
        schemas.register(store, NewSchema::new(event_type, "{}")).unwrap();
        let listed = schemas.list(store).unwrap();
        let types: Vec<&str> = listed.iter().map(|schema| &*schema.registration.event_type).collect();
        assert_eq!(types, [event_type]);
    }
}

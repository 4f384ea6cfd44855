//! What is refused before it is appended, what is let through, and what is said of it.

use std::sync::{Arc, Mutex};

use annals::shred::KeyRing;
use annals::storage::sim::SimDisk;
use annals::{
    AppendError, EventId, EventStore, ExpectedVersion, NewEvent, Options, Outcome, OwnStream, Position, ReadError,
};
use annals_projection::{TypedEvents, event_schemas};
use annals_schema::{Fault, FaultyEvent, NewSchema, Refused, SchemaMode, Schemas, Violation};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{PAID, append, open_with, options, store_with};

#[track_caller]
fn refused<T: std::fmt::Debug>(result: Result<T, AppendError>) -> Vec<FaultyEvent> {
    let error = result.expect_err("it is refused");
    match Refused::of(&error) {
        Some(Refused::Events(events)) => events.clone(),
        _ => panic!("{error:?}"),
    }
}

#[track_caller]
fn fault<T: std::fmt::Debug>(result: Result<T, AppendError>) -> Fault {
    let events = refused(result);
    assert_eq!(events.len(), 1, "{events:?}");
    events[0].fault.clone()
}

fn told(violation: &Violation) -> (&str, &str, &str, &str) {
    (&violation.path, &violation.rule, &violation.schema_path, &violation.got)
}

#[test]
fn an_event_that_violates_its_schema_is_refused_with_every_path_rule_and_what_was_there() {
    let (store, _) = store_with(SchemaMode::Enforce);
    let head = store.head();
    let data = r#"{"amount":0,"curency":"EUR","to":{"name":"Ada Lovelace"}}"#;
    let Fault::Violates { version, violations } = fault(append(&store, "Paid", data)) else { panic!("it violates") };
    assert_eq!(version, 1);
    let mut all: Vec<_> = violations.iter().map(told).collect();
    all.sort_unstable();
    assert_eq!(
        all,
        [
            ("", "additionalProperties", "/additionalProperties", "{amount, curency, to}"),
            ("", "required", "/required", "{amount, curency, to}"),
            ("/amount", "minimum", "/properties/amount/minimum", "0"),
            ("/to/name", "maxLength", "/properties/to/properties/name/maxLength", r#""Ada Lovelace""#),
        ]
    );
    assert_eq!(store.head(), head, "nothing was written");
    append(&store, "Paid", r#"{"amount":1,"currency":"EUR","to":{"name":"Ada"}}"#).unwrap();
}

#[test]
fn of_a_batch_every_event_that_is_wrong_is_named_and_none_is_appended() {
    let (store, schemas) = store_with(SchemaMode::Enforce);
    let (head, good) = (store.head(), r#"{"amount":1,"currency":"EUR"}"#);
    let batch = store.batch().event("a", NewEvent::new("Paid", good)).event("b", NewEvent::new("Paid", "{}"));
    let events =
        refused(batch.event("c", NewEvent::new("Payed", good)).event("d", NewEvent::new("Paid", "7")).commit());
    let named: Vec<_> = events.iter().map(|event| (event.index, &*event.stream, event.fault.kind())).collect();
    assert_eq!(named, [(1, "b", "violates"), (2, "c", "unknown-type"), (3, "d", "violates")]);
    assert_eq!(store.head(), head);
    let counts = schemas.counts();
    assert_eq!((counts.checked, counts.refused, counts.warned), (4, 3, 0));
}

#[test]
fn an_unknown_type_is_refused_by_name_and_the_one_that_may_be_meant_is_named() {
    let (store, _) = store_with(SchemaMode::Enforce);
    let error = append(&store, "paid", "{}").unwrap_err();
    let cause = std::error::Error::source(&error).unwrap().to_string();
    let expected = r#"event 0 of the batch (paid of stream order-7): type "paid" has no schema: register one; or is "Paid" meant?"#;
    assert_eq!(cause, expected);
    let Fault::UnknownType { event_type, similar } = fault(append(&store, "Refunded", "{}")) else {
        panic!("it is unknown")
    };
    assert_eq!((&*event_type, similar), ("Refunded", None));
}

#[test]
fn an_event_is_checked_with_the_version_that_it_says_and_with_the_first_when_it_says_nothing() {
    let (store, schemas) = store_with(SchemaMode::Enforce);
    let second = r#"{"required": ["total"]}"#;
    schemas.register(&store, NewSchema::new("Paid", second).version(3).force(true)).unwrap();
    let of_version = |version, data: &'static str| {
        store.append("order-7", ExpectedVersion::Any, NewEvent::new("Paid", data).schema_version(version))
    };
    let (first, third) = (r#"{"amount":1,"currency":"EUR"}"#, r#"{"total":1}"#);
    for (version, data) in [(0, first), (1, first), (3, third)] {
        of_version(version, data).unwrap();
    }
    for (version, data) in [(0, third), (1, third), (3, first)] {
        assert_eq!(fault(of_version(version, data)).kind(), "violates", "{version}");
    }
    for version in [2, 4, u16::MAX] {
        let expected = Fault::UnknownVersion { version, known: vec![1, 3] };
        let found = fault(of_version(version, third));
        assert_eq!(found.to_string(), format!("its type has no schema of version {version}, only of 1, 3"));
        assert!(matches!(found, Fault::UnknownVersion { .. }), "{found:?} and not {expected:?}");
    }
}

#[test]
fn typed_events_say_the_version_that_they_are_checked_with_and_one_without_content_counts_as_null() {
    #[derive(Deserialize, Serialize)]
    enum Order {
        Paid { amount: u32, currency: String },
        Closed,
    }
    impl TypedEvents for Order {
        const SCHEMA_VERSION: u16 = 2;
    }
    let (store, schemas) = store_with(SchemaMode::Enforce);
    let paid = || Order::Paid { amount: 1, currency: "EUR".to_owned() }.to_event().unwrap();
    assert_eq!(fault(store.append("a", ExpectedVersion::Any, paid())).kind(), "unknown-version");
    schemas.register(&store, NewSchema::new("Paid", PAID).version(2)).unwrap();
    store.append("a", ExpectedVersion::Any, paid()).unwrap();
    schemas.register(&store, NewSchema::new("Closed", r#"{"type": "null"}"#).version(2)).unwrap();
    store.append("a", ExpectedVersion::Any, Order::Closed.to_event().unwrap()).unwrap();
    let found = fault(store.append("a", ExpectedVersion::Any, NewEvent::new("Closed", "{}").schema_version(2)));
    assert_eq!(found.violations()[0].rule, "type");
}

#[test]
fn typed_events_fulfil_the_schemas_that_they_print_and_nothing_else_does() {
    #[derive(Deserialize, JsonSchema, Serialize)]
    struct Money {
        cents: u64,
        currency: String,
    }
    #[derive(Deserialize, JsonSchema, Serialize)]
    enum Order {
        Paid {
            amount: Money,
            to: Option<String>,
            rate: Option<f32>,
        },
        #[serde(rename = "Was renamed")]
        Renamed(String),
        Moved(u8, u8),
        /// It says something of itself.
        Closed,
        Opened,
    }
    impl TypedEvents for Order {}
    #[derive(Deserialize, JsonSchema, Serialize)]
    struct NoEnum {
        a: u8,
    }
    impl TypedEvents for NoEnum {}

    let (store, schemas) = (EventStore::in_memory(&options()).unwrap(), Schemas::new(SchemaMode::Off));
    let printed = event_schemas::<Order>().unwrap();
    let names: Vec<&str> = printed.keys().map(String::as_str).collect();
    assert_eq!(names, ["Closed", "Moved", "Opened", "Paid", "Was renamed"]);
    for (event_type, schema) in &printed {
        schemas.register(&store, NewSchema::new(&**event_type, schema.to_string())).unwrap();
    }
    let amount = || Money { cents: 100, currency: "EUR".to_owned() };
    for event in [
        Order::Paid { amount: amount(), to: None, rate: None },
        Order::Paid { amount: amount(), to: Some("Ada".to_owned()), rate: Some(0.5) },
        Order::Renamed("x".to_owned()),
        Order::Moved(1, 2),
        Order::Closed,
        Order::Opened,
    ] {
        schemas.validate(&store, event.to_event().unwrap()).unwrap();
    }
    for (event_type, data) in [
        ("Paid", r#"{"amount":{"cents":-1,"currency":"EUR"}}"#),
        ("Paid", "{}"),
        ("Moved", "[1]"),
        ("Was renamed", "1"),
        ("Closed", "1"),
    ] {
        assert!(schemas.validate(&store, NewEvent::new(event_type, data)).is_err(), "{event_type} {data}");
    }
    assert!(event_schemas::<NoEnum>().is_err());
}

#[test]
fn what_is_not_json_is_refused_with_line_and_column() {
    let (store, _) = store_with(SchemaMode::Enforce);
    let cases = [
        ("{\n  \"amount\": 1,\n  oops}", "line 3, column 3: key must be a string"),
        (r#"{"amount":1,"currency":"EUR"} "#, ""),
        (r#"{"amount":1,"currency":"EUR"}x"#, "line 1, column 30: trailing characters"),
        (r#"{"amount":1,"currency":"EUR","amount":2}"#, r#"line 1, column 37: the key "amount" is there twice"#),
        ("\u{feff}{}", "line 1, column 1: expected value"),
    ];
    for (data, expected) in cases {
        match (append(&store, "Paid", data), expected) {
            (Ok(_), "") => {}
            (result, expected) => {
                let Fault::NotJson { problem, .. } = fault(result) else { panic!("{data}") };
                assert_eq!(problem.to_string(), expected, "{data}");
            }
        }
    }
    let bytes = NewEvent::new("Paid", vec![0xff, 0xfe]);
    assert_eq!(fault(store.append("a", ExpectedVersion::Any, bytes)).kind(), "not-json");
    let deep = format!("{}{}", "[".repeat(10_000), "]".repeat(10_000));
    assert_eq!(fault(append(&store, "Paid", &deep)).kind(), "not-json");
    assert_eq!(fault(append(&store, "Paid", "")).violations()[0].got, "null");
}

#[test]
fn with_warn_everything_is_appended_told_and_counted() {
    let told: Arc<Mutex<Vec<String>>> = Arc::default();
    let tells = Arc::clone(&told);
    let schemas = Schemas::new(SchemaMode::Warn).on_fault(move |event| tells.lock().unwrap().push(event.to_string()));
    let schemas = Arc::new(schemas);
    let store = open_with(&SimDisk::new(1), &schemas);
    schemas.register(&store, NewSchema::new("Paid", r#"{"required": ["amount"]}"#)).unwrap();
    append(&store, "Paid", r#"{"amount":1}"#).unwrap();
    append(&store, "Paid", "{}").unwrap();
    append(&store, "Payed", "{}").unwrap();
    assert_eq!(store.head().get(), 4);
    assert_eq!(
        *told.lock().unwrap(),
        [
            r#"event 0 of the batch (Paid of stream order-7): it violates version 1 of its schema: the payload: "amount" is missing (required); got {}"#,
            r#"event 0 of the batch (Payed of stream order-7): type "Payed" has no schema: register one"#,
        ]
    );
    let counts = schemas.counts();
    assert_eq!((counts.checked, counts.refused, counts.warned), (3, 0, 2));
}

#[test]
fn checking_an_event_changes_nothing_of_it_so_a_template_is_used_as_often_as_one_likes() {
    let (store, _) = store_with(SchemaMode::Enforce);
    let template = NewEvent::new("Paid", r#"{"amount":1,"currency":"EUR"}"#).tag("t").metadata("m");
    let done: Vec<_> =
        (0..3).map(|_| store.append("a", ExpectedVersion::Any, template.clone()).unwrap().last).collect();
    let events: Vec<_> = done.iter().map(|at| store.get(*at).unwrap().unwrap()).collect();
    let ids: std::collections::BTreeSet<_> = events.iter().map(|event| event.as_event().id).collect();
    assert_eq!(ids.len(), 3);
    assert!(events.iter().all(|event| event.data() == events[0].data() && event.metadata().as_deref() == Some(b"m")));
}

#[test]
fn with_off_nobody_looks() {
    let (store, schemas) = store_with(SchemaMode::Off);
    append(&store, "Paid", "not json").unwrap();
    append(&store, "Unknown", "{}").unwrap();
    assert_eq!(schemas.counts().checked, 0);
}

#[test]
fn a_retry_of_what_was_appended_before_its_schema_is_recognised_and_not_refused() {
    let disk = SimDisk::new(1);
    let store = EventStore::open_on(Arc::new(disk.clone()), &options()).unwrap();
    let event = || NewEvent::new("Paid", r#"{"amount":"1"}"#).id(EventId::from_bytes([7; 16]));
    let done = store.append("a", ExpectedVersion::Any, event()).unwrap();
    drop(store);
    let schemas = Arc::new(Schemas::new(SchemaMode::Enforce));
    let store = open_with(&disk, &schemas);
    schemas.register(&store, NewSchema::new("Paid", PAID)).unwrap();
    let again = store.append("a", ExpectedVersion::Any, event()).unwrap();
    assert_eq!((again.outcome, again.last), (Outcome::Duplicate, done.last));
    let other = NewEvent::new("Paid", r#"{"amount":"1"}"#);
    assert_eq!(fault(store.append("a", ExpectedVersion::Any, other)).kind(), "violates");
}

#[test]
fn a_schema_that_anybody_registers_by_any_handle_holds_for_the_next_append() {
    let (store, _) = store_with(SchemaMode::Enforce);
    for number in 0..20 {
        let name = format!("Type{number}");
        assert_eq!(fault(append(&store, &name, "{}")).kind(), "unknown-type");
        let handle = store.clone();
        let other = Schemas::new(SchemaMode::Off);
        let registering = name.clone();
        std::thread::spawn(move || {
            other.register(&handle, NewSchema::new(&*registering, r#"{"required": ["a"]}"#)).unwrap();
        })
        .join()
        .unwrap();
        assert_eq!(fault(append(&store, &name, "{}")).kind(), "violates");
        append(&store, &name, r#"{"a":1}"#).unwrap();
    }
}

#[test]
fn schemas_are_found_again_after_a_restart_and_by_who_only_reads() {
    let disk = SimDisk::new(1);
    let schemas = Arc::new(Schemas::new(SchemaMode::Enforce));
    let store = open_with(&disk, &schemas);
    let reader = EventStore::open_read_only_on(Arc::new(disk.clone())).unwrap();
    let of_reader = Schemas::new(SchemaMode::Off);
    assert!(of_reader.list(&reader).unwrap().is_empty());
    schemas.register(&store, NewSchema::new("Paid", PAID)).unwrap();
    assert_eq!(of_reader.list(&reader).unwrap(), schemas.list(&store).unwrap());
    assert!(of_reader.validate(&reader, NewEvent::new("Paid", "{}")).is_err());
    drop(store);
    let store = open_with(&disk.after_kill(), &Arc::new(Schemas::new(SchemaMode::Enforce)));
    assert_eq!(fault(append(&store, "Paid", "{}")).kind(), "violates");
    append(&store, "Paid", r#"{"amount":1,"currency":"EUR"}"#).unwrap();
}

#[test]
fn what_was_validated_is_not_checked_again_also_encrypted_and_nothing_else_goes_by_its_seal() {
    let dir = tempfile::tempdir().unwrap();
    let schemas = Arc::new(Schemas::new(SchemaMode::Enforce));
    let options = Options::new().admission(Arc::clone(&schemas) as _);
    let store = EventStore::open(dir.path().join("log"), &options).unwrap();
    let keys = KeyRing::open(dir.path().join("keys")).unwrap();
    schemas.register(&store, NewSchema::new("Paid", PAID)).unwrap();
    let good = || NewEvent::new("Paid", r#"{"amount":1,"currency":"EUR"}"#);

    let sealed = keys.encrypt("ada", schemas.validate(&store, good()).unwrap().into()).unwrap();
    store.append("a", ExpectedVersion::Any, sealed).unwrap();
    let unseen = keys.encrypt("ada", good()).unwrap();
    let found = fault(store.append("a", ExpectedVersion::Any, unseen));
    assert_eq!(found.to_string(), "its payload is encrypted: validate it before it is encrypted");

    let Err(Refused::Events(events)) = schemas.validate(&store, NewEvent::new("Paid", "{}")) else {
        panic!("it is wrong")
    };
    assert_eq!(events[0].fault.violations().len(), 2);
    let Err(Refused::Events(events)) = schemas.validate(&store, NewEvent::new("", "{}")) else {
        panic!("it has no type")
    };
    assert_eq!(events[0].fault.kind(), "invalid-name");

    let relabelled = NewEvent::from(schemas.validate(&store, good()).unwrap()).schema_version(9);
    assert_eq!(fault(store.append("a", ExpectedVersion::Any, relabelled)).kind(), "unknown-version");
    // Somebody else's judgement is not this store's.
    let lax = Schemas::new(SchemaMode::Off);
    let other = EventStore::in_memory(&crate::options()).unwrap();
    lax.register(&other, NewSchema::new("Paid", "true")).unwrap();
    let foreign = lax.validate(&other, NewEvent::new("Paid", "{}")).unwrap();
    assert_eq!(fault(store.append("a", ExpectedVersion::Any, foreign.into())).kind(), "violates");
}

#[test]
fn a_schema_in_the_log_that_this_program_cannot_use_refuses_its_own_events_alone() {
    let (store, schemas) = store_with(SchemaMode::Enforce);
    let written_by_another = |data: &'static str, version| {
        let event = NewEvent::new("$schema", data).schema_version(version);
        store.append_own(OwnStream::Schemas, ExpectedVersion::Any, event).unwrap();
    };
    let of_sent = r#"{"event_type":"Sent","version":1,"compatibility":"none","later":true,"schema":{"type":"tensor"}}"#;
    written_by_another(of_sent, 1);
    written_by_another("no registration at all", 1);
    written_by_another(r#"{"event_type":"Paid","version":2,"compatibility":"none","schema":true}"#, 99);
    let found = fault(append(&store, "Sent", "{}"));
    let Fault::Unusable { version: 1, problem } = found else { panic!("{found:?}") };
    assert!(problem.contains("tensor"), "{problem}");
    append(&store, "Paid", r#"{"amount":1,"currency":"EUR"}"#).unwrap();
    let listed = schemas.list(&store).unwrap();
    let faults: Vec<_> = listed.iter().map(|it| (&*it.registration.event_type, it.fault.is_some())).collect();
    assert_eq!(faults, [("Paid", false), ("Sent", true)]);
    assert_eq!(listed[1].position, Position::new(2));
}

#[test]
fn patterns_and_references_take_no_more_time_or_stack_than_the_payload_is_long() {
    let (store, schemas) = store_with(SchemaMode::Enforce);
    let evil = r#"{"type": "string", "pattern": "^(a+)+$"}"#;
    schemas.register(&store, NewSchema::new("Named", evil)).unwrap();
    let data = format!("\"{}!\"", "a".repeat(50_000));
    assert_eq!(fault(append(&store, "Named", &data)).violations()[0].rule, "pattern");
    let tree = r##"{"type": "array", "items": {"$ref": "#"}}"##;
    schemas.register(&store, NewSchema::new("Tree", tree)).unwrap();
    append(&store, "Tree", &format!("{}{}", "[".repeat(100), "]".repeat(100))).unwrap();
    assert_eq!(fault(append(&store, "Tree", "[[[7]]]")).violations()[0].path, "/0/0/0");
}

#[test]
fn while_the_schemas_cannot_be_read_what_they_should_be_asked_about_is_refused_and_with_warn_appended() {
    let disk = SimDisk::new(1);
    let store = open_with(&disk, &Arc::new(Schemas::new(SchemaMode::Off)));
    Schemas::new(SchemaMode::Off).register(&store, NewSchema::new("Paid", PAID)).unwrap();
    for _ in 0..20 {
        append(&store, "Noise", &"x".repeat(9_000)).unwrap();
    }
    drop(store);
    let first = disk.paths().into_iter().filter(|path| path.starts_with("seg/")).min().unwrap();
    // In the data of the only event of `$schema`.
    disk.flip(&first, 8 * (4096 + 200));

    let store = open_with(&disk, &Arc::new(Schemas::new(SchemaMode::Enforce)));
    let error = append(&store, "Paid", r#"{"amount":1,"currency":"EUR"}"#).unwrap_err();
    assert!(matches!(Refused::of(&error), Some(Refused::Unreadable(ReadError::Corrupt(_)))), "{error:?}");
    drop(store);
    let store = open_with(&disk, &Arc::new(Schemas::new(SchemaMode::Warn)));
    append(&store, "Paid", "{}").unwrap();
}

//! Fields of payloads that are copied beside them, because somebody has said so.

use annals::{EventStore, ExpectedVersion, NewEvent, Options, Outcome, Position, QueryItem};
use annals_projection::{CopiedFields, CopyError, TypedEvents};
use serde::{Deserialize, Serialize};

fn tags(event: &NewEvent) -> Vec<String> {
    event.in_stream("s").tags.iter().map(ToString::to_string).collect()
}

fn metadata(event: &NewEvent) -> Option<String> {
    event.in_stream("s").metadata.map(|bytes| String::from_utf8(bytes.to_vec()).unwrap())
}

fn event(data: &str) -> NewEvent {
    NewEvent::new("T", data.to_owned())
}

#[test]
fn what_is_named_and_nothing_else_is_copied_and_the_payload_stays_as_it_is() {
    let data = r#"{ "a" : {"b/c":"x"}, "n":-1.50, "yes":true, "list":[7,{"k":"v"}], "secret":"s" }"#;
    let copied = CopiedFields::new()
        .tag("ab", "/a/b~1c")
        .tag("n", "/n")
        .tag("yes", "/yes")
        .tag("first", "/list/0")
        .tag_if_there("gone", "/gone")
        .metadata("k", "/list/1/k")
        .metadata("list", "/list")
        .metadata_if_there("gone", "/a/gone");
    let made = copied.apply(event(data).tag("own").metadata(r#"{"own":1}"#)).unwrap();
    assert_eq!(tags(&made), ["own", "ab:x", "n:-1.5", "yes:true", "first:7"]);
    assert_eq!(metadata(&made).as_deref(), Some(r#"{"k":"v","list":[7,{"k":"v"}],"own":1}"#));
    assert_eq!(made.in_stream("s").data, data.as_bytes());
    // What is not named is not made up.
    let untouched = CopiedFields::new().apply(event(data)).unwrap();
    assert_eq!((tags(&untouched), metadata(&untouched)), (Vec::new(), None));
    let whole = CopiedFields::new().tag("is", "").apply(event("\"x\"")).unwrap();
    assert_eq!(tags(&whole), ["is:x"]);
}

#[test]
fn what_cannot_be_copied_is_told_with_its_place() {
    let refused = |copied: CopiedFields, event: NewEvent| copied.apply(event).map(|made| tags(&made)).unwrap_err();
    let tag = |pointer: &str| CopiedFields::new().tag("t", pointer);
    let place = || "/a".to_owned();
    assert_eq!(refused(tag("/a"), event("{}")), CopyError::Missing { pointer: place() });
    assert_eq!(refused(tag("/a"), event(r#"{"a":null}"#)), CopyError::Missing { pointer: place() });
    assert_eq!(refused(tag("/a"), event(r#"{"a":{}}"#)), CopyError::NotScalar { pointer: place(), got: "an object" });
    assert_eq!(refused(tag("/a"), event(r#"{"a":[1]}"#)), CopyError::NotScalar { pointer: place(), got: "a list" });
    assert_eq!(refused(tag("a"), event(r#"{"a":1}"#)), CopyError::NoPointer { pointer: "a".to_owned() });
    let long = format!(r#"{{"a":"{}"}}"#, "x".repeat(254));
    assert!(matches!(refused(tag("/a"), event(&long)), CopyError::NoTag { pointer, .. } if pointer == "/a"));
    assert!(matches!(refused(tag("/a"), event("no json")), CopyError::NotJson { .. }));
    assert!(matches!(refused(tag(""), event("")), CopyError::NotJson { .. }));
    let many = (0..300).fold(event(r#"{"a":1}"#), |event, number| event.tag(format!("{number}{}", "y".repeat(250))));
    assert!(matches!(refused(tag("/a"), many), CopyError::Invalid(_)));

    let copied = || CopiedFields::new().metadata("m", "/a");
    assert_eq!(refused(copied(), event("{}")), CopyError::Missing { pointer: place() });
    for bytes in ["[1]", "no json", ""] {
        assert_eq!(refused(copied(), event(r#"{"a":1}"#).metadata(bytes)), CopyError::MetadataNoObject, "{bytes:?}");
    }
    let taken = CopyError::MetadataTaken { name: "m".to_owned() };
    assert_eq!(refused(copied(), event(r#"{"a":1}"#).metadata(r#"{"m":2}"#)), taken);
    assert_eq!(refused(copied().metadata("m", "/b"), event(r#"{"a":1,"b":2}"#)), taken);
}

#[test]
fn events_are_found_by_what_was_copied_and_a_retry_is_recognised() {
    #[derive(Deserialize, Serialize)]
    enum Order {
        Placed { customer: u32 },
    }
    impl TypedEvents for Order {}

    let copied = CopiedFields::new().tag("customer", "/customer").metadata("customer", "/customer");
    let store = EventStore::in_memory(&Options::new()).unwrap();
    for customer in [41, 42, 43, 42] {
        let event = copied.apply(Order::Placed { customer }.to_event().unwrap()).unwrap();
        store.append("orders", ExpectedVersion::Any, event).unwrap();
    }
    let found = store.read(QueryItem::new().tag("customer:42"), Position::START).unwrap();
    let found: Vec<u64> = found.map(|event| event.unwrap().position().get()).collect();
    assert_eq!(found, [2, 4]);

    let keyed = || {
        let event = copied.apply(Order::Placed { customer: 7 }.to_event().unwrap()).unwrap();
        store.batch().event("orders", event).idempotency_key("k").commit().unwrap()
    };
    assert_eq!((keyed().outcome, keyed().outcome), (Outcome::Appended, Outcome::Duplicate));
}

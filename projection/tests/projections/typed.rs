//! Events as values of an enum, and of older schemas.

use annals::{ContentType, Event, EventStore, ExpectedVersion, NewEvent, Query, QueryItem};
use annals_projection::{
    Handlers, Projection, ProjectionError, Typed, TypedEvents, Unknown, UpTo, UpcastError, Upcasters, WhenRedacted,
    reconstruct_state,
};
use serde::{Deserialize, Serialize};

use crate::support::*;

#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
enum Account {
    Opened {
        owner: String,
        limit: Option<u64>,
    },
    Deposited(u64),
    Moved(String, i64),
    #[serde(rename = "AccountClosed")]
    Closed,
}

impl TypedEvents for Account {
    const SCHEMA_VERSION: u16 = 3;
}

/// The same, and it is to know all there is.
#[derive(Debug, Deserialize, Serialize)]
enum Strict {
    Deposited(u64),
}

impl TypedEvents for Strict {
    const UNKNOWN: Unknown = Unknown::Refuse;
}

/// None of an enum's.
#[derive(Deserialize, Serialize)]
struct Plain(u64);

impl TypedEvents for Plain {}

/// Its type is inside the payload, and not where an event has it.
#[derive(Deserialize, Serialize)]
#[serde(tag = "kind")]
enum Inside {
    One { a: u64 },
}

impl TypedEvents for Inside {}

fn event<'a>(event_type: &'a str, data: &'a [u8]) -> Event<'a> {
    Event::new("account-1", event_type, data)
}

#[test]
fn every_form_of_a_variant_comes_back_from_the_store() {
    let store = in_memory();
    let all = [
        (Account::Opened { owner: "é \"x\"".to_owned(), limit: None }, "Opened"),
        (Account::Deposited(u64::MAX), "Deposited"),
        (Account::Moved("elsewhere".to_owned(), -5), "Moved"),
        (Account::Closed, "AccountClosed"),
    ];
    for (value, event_type) in all {
        store.append("account-1", ExpectedVersion::Any, value.to_event().unwrap()).unwrap();
        let event = store.get(store.head()).unwrap().unwrap();
        let event = event.as_event();
        assert_eq!((event.event_type, event.schema_version), (event_type, 3));
        assert_eq!(event.content_type, ContentType::JSON);
        assert_eq!(Account::from_event(&event).unwrap(), Some(value));
    }
}

#[test]
fn an_unknown_type_is_passed_or_refused_as_the_enum_says() {
    assert_eq!(Account::from_event(&event("Noted", b"whatever")).unwrap(), None);
    let refused = Strict::from_event(&event("Noted", b"5")).unwrap_err();
    assert_eq!(refused.to_string(), "Noted is none of the types that are known");
    assert!(Strict::from_event(&event("Deposited", b"5")).unwrap().is_some());
}

#[test]
fn a_payload_that_is_not_that_of_its_type_is_an_error() {
    for (event_type, data) in [
        ("Deposited", &b""[..]),
        ("Deposited", b"\"five\""),
        ("Deposited", b"5 5"),
        ("Opened", b"{}"),
        ("Moved", b"[\"a\"]"),
        ("Moved", b"{\"a\":1}"),
    ] {
        let error = Account::from_event(&event(event_type, data)).unwrap_err();
        assert!(error.to_string().contains("not that of its type"), "{event_type}: {error}");
    }
    assert!(Plain(5).to_event().is_err() && Plain::from_event(&event("Plain", b"5")).is_err());
    assert!(Inside::from_event(&event("One", b"{\"a\":1}")).is_err());
}

#[test]
fn a_projection_of_typed_events_stops_at_what_it_cannot_read_and_knows_its_types() {
    let store = in_memory();
    for value in [Account::Deposited(5), Account::Deposited(7)] {
        store.append("account-1", ExpectedVersion::Any, value.to_event().unwrap()).unwrap();
    }
    store.append("account-1", ExpectedVersion::Any, NewEvent::new("Noted", "{}")).unwrap();
    store.append("account-1", ExpectedVersion::Any, NewEvent::new("Deposited", "\"x\"")).unwrap();
    let total = || {
        Typed::new(0, |total: &mut u64, account: Account, event: &Event<'_>| {
            assert!(event.position > annals::Position::START);
            if let Account::Deposited(amount) = account {
                *total += amount;
            }
        })
    };
    let mut lenient = Projection::of("total", total()).attach(&store).unwrap();
    assert!(matches!(lenient.catch_up(), Err(ProjectionError::Faulted(fault)) if fault.position == pos(4)));
    assert_eq!(*lenient.state(), 12);
    let mut strict = Projection::of("strict", total()).strict_types().attach(&store).unwrap();
    assert!(matches!(strict.catch_up(), Err(ProjectionError::Faulted(fault)) if fault.position == pos(3)));
}

/// Deposits in three versions: a number as text; an object; an object with a currency.
fn deposits() -> EventStore {
    let store = in_memory();
    for (version, data) in [(0, "5"), (1, "7"), (2, r#"{"amount":11}"#), (3, r#"{"amount":13,"currency":"SEK"}"#)] {
        let event = NewEvent::new("Deposited", data).schema_version(version);
        store.append("account-1", ExpectedVersion::Any, event).unwrap();
    }
    store
}

fn upcasters() -> Upcasters {
    Upcasters::new()
        .step("Deposited", 1, |data| Ok(format!(r#"{{"amount":{}}}"#, std::str::from_utf8(data)?).into_bytes()))
        .json("Deposited", 2, |mut value| {
            value["currency"] = "EUR".into();
            Ok(value)
        })
        .current("Deposited", 3)
}

fn shown() -> Handlers<Vec<String>> {
    Handlers::new(Vec::new()).when("Deposited", |shown: &mut Vec<String>, event| {
        shown.push(format!("{} {}", event.schema_version, std::str::from_utf8(event.data).unwrap()));
    })
}

#[test]
fn handlers_see_every_event_in_its_current_schema_and_the_store_keeps_it_as_it_was() {
    let store = deposits();
    let expected = [
        r#"3 {"amount":5,"currency":"EUR"}"#,
        r#"3 {"amount":7,"currency":"EUR"}"#,
        r#"3 {"amount":11,"currency":"EUR"}"#,
        r#"3 {"amount":13,"currency":"SEK"}"#,
    ];
    let mut projection = Projection::of("shown", upcasters().check().unwrap().before(shown())).attach(&store).unwrap();
    projection.catch_up().unwrap();
    assert_eq!(*projection.state(), expected);
    let found = reconstruct_state(&store, "account-1", &upcasters().check().unwrap().before(shown()), UpTo::Head);
    assert_eq!(found.unwrap().state, expected);
    assert_eq!(store.get(pos(1)).unwrap().unwrap().data(), "5", "the raw bytes stay reachable");
}

#[test]
fn a_chain_with_a_hole_or_a_step_too_many_is_found_at_the_start() {
    let step = |upcasters: Upcasters, from| upcasters.step("A", from, |data| Ok(data.to_vec()));
    let hole = |from| Err(UpcastError::Hole { event_type: "A".to_owned(), from });
    let check = |steps: &[u16], current: u16| {
        let upcasters = steps.iter().fold(Upcasters::new(), |upcasters, from| step(upcasters, *from));
        upcasters.current("A", current).check().map(drop)
    };
    assert_eq!(check(&[], 1), Ok(()));
    assert_eq!(check(&[1, 2], 3), Ok(()));
    assert_eq!(check(&[], 2), hole(1));
    assert_eq!(check(&[2, 3], 4), hole(1));
    assert_eq!(check(&[1, 3], 4), hole(2));
    assert_eq!(check(&[1, 2], 4), hole(3));
    assert_eq!(check(&[1, 2], 2), Err(UpcastError::Beyond { event_type: "A".to_owned(), current: 2, from: 2 }));
    assert!(step(Upcasters::new(), 1).check().is_err(), "nobody has said which version is current");
    assert_eq!(hole(2).unwrap_err().to_string(), "nothing leads A from version 2 to 3");
}

#[test]
fn an_event_of_a_later_schema_and_one_that_no_step_takes_stop_a_projection() {
    let store = deposits();
    store.append("account-1", ExpectedVersion::Any, NewEvent::new("Deposited", "{}").schema_version(4)).unwrap();
    let mut projection = Projection::of("shown", upcasters().check().unwrap().before(shown())).attach(&store).unwrap();
    let error = projection.catch_up().unwrap_err();
    assert!(error.to_string().contains("it has schema version 4, and this program knows 3"), "{error}");
    assert_eq!((projection.position(), projection.state().len()), (pos(4), 4));

    let store = in_memory();
    store.append("account-1", ExpectedVersion::Any, NewEvent::new("Deposited", "no JSON").schema_version(2)).unwrap();
    let mut projection = Projection::of("shown", upcasters().check().unwrap().before(shown())).attach(&store).unwrap();
    assert!(matches!(projection.catch_up(), Err(ProjectionError::Faulted(fault)) if fault.position == pos(1)));
}

#[derive(Debug, Deserialize, PartialEq, Serialize)]
enum Lenient {
    Deposited(u64),
}

impl TypedEvents for Lenient {
    const UNKNOWN: Unknown = Unknown::Refuse;
    const REDACTED: WhenRedacted = WhenRedacted::Pass;
}

#[test]
fn a_redacted_event_is_refused_by_its_name_or_passed_as_the_enum_says_and_one_without_content_is_read() {
    let store = in_memory();
    for value in [Account::Deposited(5), Account::Deposited(7), Account::Closed] {
        store.append("account-1", ExpectedVersion::Any, value.to_event().unwrap()).unwrap();
    }
    let positions = [1, 3].map(annals::Position::new);
    store.redact(positions, "asked for").unwrap();
    let event = store.get(positions[0]).unwrap().unwrap();
    let refused = Account::from_event(&event.as_event()).unwrap_err();
    assert!(refused.to_string().contains("is redacted"), "{refused}");
    assert_eq!(Lenient::from_event(&event.as_event()).unwrap(), None);
    let closed = store.get(positions[1]).unwrap().unwrap();
    assert_eq!(Account::from_event(&closed.as_event()).unwrap(), Some(Account::Closed));

    // What says so is the store's own: nobody who insists on knowing all types has to know it.
    let fold = || Typed::new(0, |total: &mut u64, Lenient::Deposited(amount): Lenient, _: &Event<'_>| *total += amount);
    let only = Query::from(QueryItem::new().event_type("Deposited").event_type("$redacted"));
    let mut projection = Projection::of("total", fold()).strict_types().query(only).attach(&store).unwrap();
    projection.catch_up().unwrap();
    assert_eq!(*projection.state(), 7);
    let mut stopped =
        Projection::of("stopped", Typed::new(0, |_: &mut u64, _: Account, _: &Event<'_>| ())).attach(&store).unwrap();
    let error = stopped.catch_up().unwrap_err();
    assert!(format!("{error:?}{error}").contains("redacted"), "{error}");
}

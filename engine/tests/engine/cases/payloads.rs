//! What comes back of an event.

use super::*;

#[test]
fn an_empty_payload_is_kept_as_one() {
    on_every_kind(|place| {
        let store = place.open(&quiet());
        store.append("a", Any, NewEvent::new("Empty", "")).unwrap();
        drop(store);
        let event = place.open(&quiet()).get(pos(1)).unwrap().unwrap();
        assert_eq!(event.data().len(), 0);
        assert_eq!(event.metadata(), None);
    });
}

#[test]
fn everything_that_is_said_about_an_event_comes_back() {
    let id = EventId::from_bytes([1; 16]);
    let (correlation, causation) = (EventId::from_bytes([2; 16]), EventId::from_bytes([3; 16]));
    on_every_kind(|place| {
        let store = place.open(&quiet());
        let new = NewEvent::new("OrderPlaced", "payload").id(id).tag("customer:42").tag("urgent").metadata("beside");
        let new = new.correlation_id(correlation).causation_id(causation).occurred_at(-5).schema_version(9);
        store.append("order-1", Any, new.content_type(ContentType::new(200))).unwrap();
        store.append("order-1", Any, NewEvent::new("Bare", "").metadata("")).unwrap();
        drop(store);
        let store = place.open(&quiet());
        let mut reader = store.read_all(Position::START);
        let event = reader.next_event().unwrap().unwrap();
        assert_eq!((event.stream, event.event_type, event.data), ("order-1", "OrderPlaced", &b"payload"[..]));
        assert_eq!((event.id, event.metadata), (id, Some(&b"beside"[..])));
        assert_eq!(event.tags.iter().collect::<Vec<_>>(), ["customer:42", "urgent"]);
        assert_eq!((event.correlation_id, event.causation_id), (Some(correlation), Some(causation)));
        assert_eq!((event.occurred_at, event.schema_version), (Some(-5), 9));
        assert_eq!(event.content_type, ContentType::new(200));
        assert_eq!((event.position, event.version), (pos(1), ver(1)));
        let event = reader.next_event().unwrap().unwrap();
        assert_eq!(event.metadata, Some(&b""[..]), "empty is not none");
        assert_eq!((event.correlation_id, event.causation_id, event.occurred_at), (None, None, None));
        assert_eq!((event.tags.is_empty(), event.schema_version, event.content_type), (true, 0, ContentType::BINARY));
        assert_eq!(reader.next_event().unwrap(), None);
        // Owned and lent are the same event.
        let owned = store.get(pos(1)).unwrap().unwrap();
        let mut again = store.read_all(Position::START);
        assert_eq!(owned.as_event(), again.next_event().unwrap().unwrap());
    });
}

#[test]
fn ids_that_the_store_makes_are_uuids_of_version_7_and_all_different() {
    on_every_kind(|place| {
        let mut seen = std::collections::HashSet::new();
        for round in 0..3 {
            let store = place.open(&quiet());
            store.append_batch("a", Any, (0..50).map(|_| event("A"))).unwrap();
            store.append("b", Any, event("B")).unwrap();
            for event in store.read_all(pos(round * 51)) {
                let id = event.unwrap().as_event().id;
                assert_eq!((id.as_bytes()[6] >> 4, id.as_bytes()[8] >> 6), (7, 0b10), "{id:?}");
                assert!(seen.insert(id), "{id:?} twice");
            }
        }
        assert_eq!(seen.len(), 153);
    });
}

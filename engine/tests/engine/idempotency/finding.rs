//! Ids that the store made, and finding a request by its key.

use super::*;

#[test]
fn an_event_that_was_read_and_is_appended_again_with_its_id_is_a_duplicate() {
    on_every_kind(|place| {
        let store = place.open(&quiet());
        for number in 0..20 {
            store.append_batch("a", Any, [event("A"), named(number, "B"), event("C")]).unwrap();
            store.append("filler", Any, NewEvent::new("Large", vec![1; 20_000])).unwrap();
        }
        let again = |store: &EventStore| {
            for event in store.read_all(Position::START) {
                let event = event.unwrap();
                let lent = event.as_event();
                let copy = NewEvent::new(lent.event_type, lent.data.to_vec()).id(lent.id);
                let done = store.append(lent.stream, Any, copy.clone()).unwrap();
                assert_eq!((done.outcome, done.first, done.last), (Outcome::Duplicate, lent.position, lent.position));
                assert_eq!((done.version, done.recorded_at), (lent.version, lent.recorded_at));
                let other = store.append("another", Any, copy);
                assert!(
                    matches!(other, Err(AppendError::EventIdConflict { existing, .. }) if existing == lent.position)
                );
            }
        };
        again(&store);
        drop(store);
        let store = place.open(&quiet());
        again(&store);
        // The next store makes ids of its own.
        store.append_batch("a", Any, [event("A"), event("B")]).unwrap();
        again(&store);
    });
}

#[test]
fn an_event_is_found_by_its_id_whoever_has_made_it() {
    on_every_kind(|place| {
        let mut ids = Vec::new();
        for round in 0..3_u8 {
            let store = place.open(&quiet());
            for number in 0..12 {
                let number = round * 12 + number;
                let large = NewEvent::new("Large", vec![1; 9_000]);
                let batch = if number % 3 == 0 { vec![named(number, "A"), large] } else { vec![event("A"), large] };
                store.append_batch("a", Any, batch).unwrap();
            }
            ids = store.read_all(Position::START).map(|event| event.unwrap().as_event().id).collect();
            for store in [store, place.try_read().unwrap()] {
                for (id, position) in ids.iter().zip(1..) {
                    let found = store.get_event(*id).unwrap().expect("it is there");
                    assert_eq!((found.position(), found.as_event().id), (pos(position), *id));
                }
                assert_eq!(store.get_event(id(200)).unwrap(), None);
            }
        }
        assert_eq!(ids.len(), 72);
        // An id that another store has made, at the same positions and times.
        let other = EventStore::in_memory(&quiet()).unwrap();
        other.append_batch("a", Any, (0..80).map(|_| event("A"))).unwrap();
        let store = place.open(&quiet());
        for event in other.read_all(Position::START) {
            assert_eq!(store.get_event(event.unwrap().as_event().id).unwrap(), None);
        }
    });
}

#[test]
fn an_id_that_looks_as_if_the_store_had_made_it_is_an_id_like_any_other() {
    on_every_kind(|place| {
        let store = place.open(&quiet());
        store.append_batch("a", Any, [event("A"), event("B")]).unwrap();
        // What the store will make for position 4, a moment later, is given to the event at position 3.
        let made = store.get(pos(2)).unwrap().unwrap().as_event().id;
        let maker = annals_codec::IdMaker::of(made, pos(2)).expect("the store made it");
        let given = maker.make(pos(4), 0);
        store.append("a", Any, event("C").id(given)).unwrap();
        store.append("a", Any, event("D")).unwrap();
        let check = |store: &EventStore| {
            assert_eq!(store.get_event(given).unwrap().map(|event| event.position()), Some(pos(3)));
            assert_eq!(store.append("a", Any, event("C").id(given)).unwrap().outcome, Outcome::Duplicate);
            let fourth = store.get(pos(4)).unwrap().unwrap();
            assert_eq!(store.get_event(fourth.as_event().id).unwrap(), Some(fourth.clone()));
        };
        check(&store);
        drop(store);
        check(&place.open(&quiet()));
    });
}

#[test]
fn ids_that_another_store_has_made_are_found_in_a_copy_of_its_log() {
    // Their positions are the same and their times of recording are not, as after an import.
    let original = EventStore::in_memory(&quiet()).unwrap();
    let large = |event: &annals::RecordedEvent| NewEvent::new("Large", vec![1; 9_000]).id(event.as_event().id);
    original.append_batch("a", Any, (0..40).map(|_| event("A"))).unwrap();
    let events: Vec<_> = original.read_all(Position::START).map(|event| event.unwrap()).collect();
    let clock = Arc::new(HandClock::default());
    clock.0.store(1_000_000_000_000_000_000, std::sync::atomic::Ordering::Relaxed);
    on_every_kind(|place| {
        let options = quiet().clock(clock.clone());
        let store = place.open(&options);
        for event in &events {
            store.append("a", Any, large(event)).unwrap();
        }
        assert!(store.stats().segments.len() > 3);
        drop(store);
        for store in [place.try_read().unwrap(), place.open(&options)] {
            for event in &events {
                let found = store.get_event(event.as_event().id).unwrap();
                assert_eq!(found.map(|found| found.position()), Some(event.position()));
            }
        }
        let store = place.open(&options);
        for event in &events {
            assert_eq!(store.append("a", Any, large(event)).unwrap().outcome, Outcome::Duplicate);
        }
    });
}

// Finding a request by its key.

#[test]
fn find_append_gives_the_first_answer_wherever_the_batch_is() {
    on_every_kind(|place| {
        let store = place.open(&quiet());
        assert_eq!(store.find_append("none").unwrap(), None);
        let mut answers = Vec::new();
        for number in 0..30 {
            let mut batch = store.batch().idempotency_key(format!("key-{number}"));
            if number % 3 > 0 {
                batch = batch.event("a", NewEvent::new("Large", vec![1; 8_000])).event("b", event("B"));
            }
            if number % 3 < 2 {
                batch = batch.tracking("kafka", number);
            }
            answers.push(batch.commit().unwrap());
        }
        assert!(store.stats().segments.len() > 2);
        let check = |store: &EventStore| {
            for (number, answer) in answers.iter().enumerate() {
                assert_eq!(store.find_append(format!("key-{number}")).unwrap().as_ref(), Some(answer), "{number}");
            }
            assert_eq!(store.find_append("key-30").unwrap(), None);
            assert!(matches!(store.find_append(""), Err(ReadError::InvalidName(_))));
        };
        check(&store);
        check(&place.try_read().unwrap());
        drop(store);
        check(&place.open(&quiet()));
    });
}

#[test]
fn a_reader_in_another_process_finds_ids_and_keys_as_the_writer_goes_on() {
    on_every_kind(|place| {
        let store = place.open(&quiet());
        let reader = place.try_read().unwrap();
        for number in 0..10 {
            let key = format!("key-{number}");
            assert_eq!(reader.find_append(&*key).unwrap(), None);
            assert_eq!(reader.get_event(id(number)).unwrap(), None);
            let large = NewEvent::new("Large", vec![1; 20_000]).id(id(number));
            let done = store.batch().idempotency_key(&*key).event("a", large).commit().unwrap();
            assert_eq!(reader.find_append(&*key).unwrap(), Some(done));
            assert_eq!(reader.get_event(id(number)).unwrap().map(|event| event.position()), Some(done.last));
        }
    });
}

#[test]
fn a_key_has_1_to_128_bytes() {
    let store = EventStore::in_memory(&quiet()).unwrap();
    let with = |key: String| store.batch().idempotency_key(key).event("a", event("A")).commit();
    with("k".repeat(128)).unwrap();
    assert_eq!(with("k".repeat(128)).unwrap().outcome, Outcome::Duplicate);
    for bad in [String::new(), "k".repeat(129), "a\0b".to_owned()] {
        assert!(matches!(with(bad), Err(AppendError::InvalidName(_))));
    }
    let empty = store.batch().idempotency_key("key").commit();
    assert!(matches!(empty, Err(AppendError::EmptyBatch)), "{empty:?}");
}

#[test]
fn the_errors_say_what_is_where_and_what_to_do() {
    let store = EventStore::in_memory(&quiet()).unwrap();
    let keyed = |events: Vec<NewEvent>| store.batch().idempotency_key("key").events("a", events).commit();
    keyed(vec![named(1, "A"), named(2, "B")]).unwrap();
    store.batch().idempotency_key("progress").tracking("kafka", 7).commit().unwrap();
    let one = "01010101-0101-0101-0101-010101010101";
    for (answer, message) in [
        (
            keyed(vec![event("C")]),
            "the idempotency key key was used for another request, at positions 1 to 2: give each request a key of its own".to_owned(),
        ),
        (
            store.batch().idempotency_key("progress").tracking("kafka", 8).commit(),
            "the idempotency key progress was used for another request: give each request a key of its own".to_owned(),
        ),
        (
            store.append("a", Any, named(1, "C")),
            format!("event {one} is at position 1 already, and is another event: give this one an id of its own"),
        ),
        (
            store.append_batch("a", Any, [named(1, "A"), named(3, "C")]),
            format!("event {one} is at position 1 already, but not the whole batch: append the rest on its own"),
        ),
        (
            store.append_batch("a", Any, [named(1, "A"), named(1, "C")]),
            format!("two events of the batch have the id {one}: give each an id of its own"),
        ),
    ] {
        assert_eq!(answer.unwrap_err().to_string(), message);
    }
}

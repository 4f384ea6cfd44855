//! What has to be read to decide, and cannot be.

use super::*;

#[test]
fn what_must_be_read_to_decide_and_cannot_be_is_an_error_and_writes_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let store = EventStore::open(dir.path(), &quiet().pread(true)).unwrap();
    store.batch().idempotency_key("key").event("a", named(1, "A")).commit().unwrap();
    store.append("a", Any, event("B")).unwrap();
    let path = dir.path().join(&store.stats().segments[0].path);
    let mut bytes = std::fs::read(&path).unwrap();
    bytes[4096 + 30] ^= 1;
    std::fs::write(&path, &bytes).unwrap();
    for refused in [
        store.batch().idempotency_key("key").event("a", named(1, "A")).commit(),
        store.append("a", Any, named(1, "A")),
        store.append("a", Any, named(1, "C")),
    ] {
        match refused {
            Err(AppendError::Unreadable { cause: ReadError::Corrupt(damage) }) => {
                assert_eq!((damage.from, damage.to), (pos(1), Some(pos(1))));
            }
            other => panic!("{other:?}"),
        }
    }
    assert!(matches!(store.get_event(id(1)), Err(ReadError::Corrupt(_))));
    assert!(matches!(store.find_append("key"), Err(ReadError::Corrupt(_))));
    assert_eq!(store.append("a", Any, named(2, "A")).unwrap().last, pos(3), "whoever does not need it goes on");
}

#[test]
fn a_damaged_commit_marker_is_an_error_for_whoever_asks_for_its_key() {
    let dir = tempfile::tempdir().unwrap();
    let store = EventStore::open(dir.path(), &quiet().pread(true)).unwrap();
    store.append("a", Any, event("A")).unwrap();
    store.batch().idempotency_key("key").events("a", [named(1, "A"), named(2, "B")]).commit().unwrap();
    let path = dir.path().join(&store.stats().segments[0].path);
    let mut bytes = std::fs::read(&path).unwrap();
    let at = bytes.windows(3).rposition(|window| window == b"key").unwrap();
    bytes[at] = b'K';
    std::fs::write(&path, &bytes).unwrap();
    match store.find_append("key") {
        Err(ReadError::Corrupt(damage)) => assert_eq!(damage.from, pos(3), "the last of its events"),
        other => panic!("{other:?}"),
    }
    let refused = store.batch().idempotency_key("key").event("a", named(1, "A")).commit();
    assert!(matches!(refused, Err(AppendError::Unreadable { .. })), "{refused:?}");
    // Whether they are of one batch nobody can tell.
    let refused = store.append_batch("a", Any, [named(1, "A"), named(2, "B")]);
    assert!(matches!(refused, Err(AppendError::Unreadable { .. })), "{refused:?}");
    assert_eq!(store.append("a", Any, named(1, "A")).unwrap().outcome, Outcome::Duplicate);
}

#[test]
fn what_a_reader_does_not_find_may_lie_in_the_damaged_region() {
    let dir = tempfile::tempdir().unwrap();
    let store = EventStore::open(dir.path(), &quiet()).unwrap();
    for number in 1..=3 {
        store.batch().idempotency_key(format!("key-{number}")).event("a", named(number, "A")).commit().unwrap();
    }
    let path = dir.path().join(&store.stats().segments[0].path);
    drop(store);
    let mut bytes = std::fs::read(&path).unwrap();
    let at = bytes.windows(5).position(|window| window == b"key-2").unwrap();
    bytes[at] ^= 1;
    std::fs::write(&path, &bytes).unwrap();
    let store = EventStore::open_read_only(dir.path()).unwrap();
    for number in [1, 3] {
        assert_eq!(store.get_event(id(number)).unwrap().map(|event| event.position()), Some(pos(number.into())));
        assert_eq!(store.find_append(format!("key-{number}")).unwrap().map(|done| done.last), Some(pos(number.into())));
    }
    for number in [2, 4] {
        assert!(matches!(store.get_event(id(number)), Err(ReadError::Corrupt(_))));
        assert!(matches!(store.find_append(format!("key-{number}")), Err(ReadError::Corrupt(_))));
    }
}

//! Keys of subjects: what they encrypt can be read while they are there, and never again.

use std::path::Path;
use std::sync::Arc;

use annals::shred::{Content, KeyError, KeyRing, KeyStatus, SubjectFault};
use annals::storage::Storage;
use annals::storage::sim::{Fault, PowerLoss, SimDisk};
use annals::{ContentType, EventId, EventStore, ExpectedVersion, NewEvent, Options, Outcome, Position, RecordedEvent};

const SECRET: &str = r#"{"to": "12 Quiet Street"}"#;

fn moved() -> NewEvent {
    NewEvent::new("CustomerMoved", SECRET).content_type(ContentType::JSON).metadata("told by phone")
}

fn append(store: &EventStore, keys: &KeyRing, subject: &str) -> RecordedEvent {
    let event = keys.encrypt(subject, moved()).unwrap();
    let appended = store.append("customers", ExpectedVersion::Any, event).unwrap();
    store.get(appended.last).unwrap().unwrap()
}

#[track_caller]
fn is_readable(keys: &KeyRing, event: &RecordedEvent) -> bool {
    match keys.decrypt(&event.as_event()).unwrap() {
        Content::Readable(content) => {
            assert_eq!(&*content.data, SECRET.as_bytes());
            assert_eq!(content.metadata.as_deref(), Some(&b"told by phone"[..]));
            assert_eq!(content.content_type, ContentType::JSON);
            true
        }
        Content::Shredded { destroyed_at } => {
            assert!(destroyed_at > 0);
            false
        }
    }
}

fn ring_on(disk: &SimDisk) -> Result<KeyRing, KeyError> {
    KeyRing::open_on(Arc::new(disk.clone()) as Arc<dyn Storage>)
}

/// All bytes of all files below a directory.
fn bytes_of(dir: &Path) -> Vec<u8> {
    let mut all = Vec::new();
    for entry in std::fs::read_dir(dir).unwrap() {
        let entry = entry.unwrap();
        let path = entry.path();
        all.extend(if path.is_dir() { bytes_of(&path) } else { std::fs::read(path).unwrap() });
    }
    all
}

fn contains(bytes: &[u8], text: &str) -> bool {
    bytes.windows(text.len()).any(|window| window == text.as_bytes())
}

#[test]
fn the_files_of_a_ring_can_be_read_by_their_owner_alone() {
    use std::os::unix::fs::PermissionsExt as _;
    let dir = tempfile::tempdir().unwrap();
    let keys = KeyRing::open(dir.path().join("ring")).unwrap();
    keys.encrypt("anna", moved()).unwrap();
    let mut secrets = 0;
    for below in ["ring", "ring/subjects"] {
        for entry in std::fs::read_dir(dir.path().join(below)).unwrap().map(Result::unwrap) {
            let about = entry.metadata().unwrap();
            if about.is_file() && entry.file_name() != "LOCK" {
                assert_eq!(about.permissions().mode() & 0o777, 0o600, "{:?}", entry.path());
                secrets += 1;
            }
        }
    }
    assert_eq!(secrets, 2, "the secret of the ring, and the key");
}

#[test]
fn a_key_that_finds_no_space_refuses_its_subject_and_no_other_one() {
    let disk = SimDisk::new(1);
    let keys = ring_on(&disk).unwrap();
    disk.fail_at(disk.operations() + 1, Fault::StorageFull);
    let mut refused = 0;
    for number in 0..6 {
        refused += usize::from(keys.encrypt(format!("s-{number}").as_str(), moved()).is_err());
    }
    assert_eq!((refused, disk.faults_met().len()), (1, 1));
}

#[test]
fn what_is_encrypted_is_in_no_file_of_the_log_and_reads_as_it_was() {
    let dir = tempfile::tempdir().unwrap();
    let store = EventStore::open(dir.path().join("log"), &Options::new()).unwrap();
    let keys = KeyRing::open(dir.path().join("keys")).unwrap();
    let event = append(&store, &keys, "customer-42");
    assert!(is_readable(&keys, &event));
    assert_eq!(event.as_event().content_type, ContentType::ENCRYPTED);
    assert_eq!(event.event_type(), "CustomerMoved", "the store has to find it");
    store.close().unwrap();
    let log = bytes_of(&dir.path().join("log"));
    assert!(contains(&log, "CustomerMoved"));
    for text in ["Quiet", "phone", "customer-42"] {
        assert!(!contains(&log, text), "{text}");
    }
    drop(keys);
    assert!(is_readable(&KeyRing::open(dir.path().join("keys")).unwrap(), &event), "after a restart");
}

#[test]
fn a_destroyed_key_makes_its_events_unreadable_everywhere_and_no_others() {
    let dir = tempfile::tempdir().unwrap();
    let store = EventStore::open(dir.path().join("log"), &Options::new()).unwrap();
    let keys = KeyRing::open(dir.path().join("keys")).unwrap();
    let (hers, his) = (append(&store, &keys, "customer-1"), append(&store, &keys, "customer-2"));
    let reader = KeyRing::open_read_only(dir.path().join("keys")).unwrap();
    assert!(is_readable(&reader, &hers));
    assert!(keys.destroy("customer-1").unwrap());
    for ring in [&keys, &reader] {
        assert!(!is_readable(ring, &hers), "also where it was read a moment ago");
        assert!(is_readable(ring, &his));
    }
    assert!(!contains(&bytes_of(&dir.path().join("keys")), "customer-1"));
    assert!(matches!(keys.encrypt("customer-1", moved()), Err(KeyError::Destroyed { .. })), "no new key is made");
    assert!(keys.destroy("customer-1").unwrap(), "again is fine");
    assert!(!keys.destroy("nobody").unwrap());
    drop((keys, reader));
    let keys = KeyRing::open(dir.path().join("keys")).unwrap();
    assert!(!is_readable(&keys, &hers) && is_readable(&keys, &his), "after a restart");
    let mut live = keys.keys().unwrap().into_iter().map(|key| match key.status {
        KeyStatus::Live { subject, .. } => Some(subject.to_string()),
        _ => None,
    });
    assert_eq!(live.len(), 2);
    assert!(live.any(|subject| subject.as_deref() == Some("customer-2")));
}

#[test]
fn a_retry_of_an_encrypted_event_is_recognised() {
    let store = EventStore::in_memory(&Options::new()).unwrap();
    let keys = ring_on(&SimDisk::new(1)).unwrap();
    let append = || {
        let event = keys.encrypt("customer-42", moved().id(EventId::from_bytes([7; 16]))).unwrap();
        store.append("customers", ExpectedVersion::Any, event).unwrap()
    };
    let (first, second) = (append(), append());
    assert_eq!((first.outcome, second.outcome), (Outcome::Appended, Outcome::Duplicate));
    let by_key = || {
        let event = keys.encrypt("customer-42", moved()).unwrap();
        store.batch().event("customers", event).idempotency_key("move-1").commit().unwrap()
    };
    assert_eq!((by_key().outcome, by_key().outcome), (Outcome::Appended, Outcome::Duplicate));
}

#[test]
fn an_event_that_nobody_encrypted_reads_as_it_is() {
    let store = EventStore::in_memory(&Options::new()).unwrap();
    let keys = ring_on(&SimDisk::new(1)).unwrap();
    store.append("customers", ExpectedVersion::Any, moved()).unwrap();
    assert!(is_readable(&keys, &store.get(Position::new(1)).unwrap().unwrap()));
    let twice = keys.encrypt("a", keys.encrypt("a", moved()).unwrap());
    assert!(matches!(twice, Err(KeyError::AlreadyEncrypted)));
    assert!(matches!(keys.encrypt("", moved()), Err(KeyError::InvalidName(_))));
}

#[test]
fn a_payload_put_into_an_event_of_another_type_is_refused() {
    let store = EventStore::in_memory(&Options::new()).unwrap();
    let keys = ring_on(&SimDisk::new(1)).unwrap();
    let event = append(&store, &keys, "customer-42");
    let forged = NewEvent::new("CustomerDied", event.data()).content_type(ContentType::ENCRYPTED);
    store.append("customers", ExpectedVersion::Any, forged).unwrap();
    let forged = store.get(Position::new(2)).unwrap().unwrap();
    assert!(matches!(keys.decrypt(&forged.as_event()), Err(KeyError::Altered)));
    let nonsense = NewEvent::new("CustomerMoved", "{}").content_type(ContentType::ENCRYPTED);
    store.append("customers", ExpectedVersion::Any, nonsense).unwrap();
    let nonsense = store.get(Position::new(3)).unwrap().unwrap();
    assert!(matches!(keys.decrypt(&nonsense.as_event()), Err(KeyError::Altered)));
}

#[test]
fn another_ring_says_that_it_has_no_such_key() {
    let store = EventStore::in_memory(&Options::new()).unwrap();
    let event = append(&store, &ring_on(&SimDisk::new(1)).unwrap(), "customer-42");
    let other = ring_on(&SimDisk::new(2)).unwrap();
    assert!(matches!(other.decrypt(&event.as_event()), Err(KeyError::Unknown { .. })));
}

#[test]
fn a_ring_has_one_writer_and_a_reader_makes_nothing() {
    let dir = tempfile::tempdir().unwrap();
    assert!(matches!(KeyRing::open_read_only(dir.path()), Err(KeyError::NotFound { .. })));
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0, "nothing was made");
    let keys = KeyRing::open(dir.path()).unwrap();
    assert!(matches!(KeyRing::open(dir.path()), Err(KeyError::AlreadyOpen { .. })));
    let reader = KeyRing::open_read_only(dir.path()).unwrap();
    assert!(matches!(reader.encrypt("a", moved()), Err(KeyError::ReadOnly)));
    assert!(matches!(reader.destroy("a"), Err(KeyError::ReadOnly)));
    drop(keys);
    KeyRing::open(dir.path()).unwrap();
}

#[test]
fn keys_without_the_secret_of_their_ring_are_not_taken_for_an_empty_ring() {
    let disk = SimDisk::new(1);
    ring_on(&disk).unwrap().encrypt("a", moved()).unwrap();
    disk.remove_file("ring");
    assert!(matches!(ring_on(&disk), Err(KeyError::SecretMissing { .. })));
}

#[test]
fn a_damaged_key_is_told_and_can_still_be_destroyed() {
    let disk = SimDisk::new(1);
    let store = EventStore::in_memory(&Options::new()).unwrap();
    let keys = ring_on(&disk).unwrap();
    let event = append(&store, &keys, "a");
    drop(keys);
    let path = disk.paths().into_iter().find(|path| path.starts_with("subjects/")).unwrap();
    disk.flip(&path, 8 * 50);
    let keys = ring_on(&disk).unwrap();
    assert!(matches!(keys.decrypt(&event.as_event()), Err(KeyError::Damaged { .. })));
    assert!(matches!(keys.encrypt("a", moved()), Err(KeyError::Damaged { .. })), "and not by another key");
    assert!(matches!(keys.keys().unwrap()[0].status, KeyStatus::Damaged(_)));
    keys.destroy("a").unwrap();
    assert!(!is_readable(&keys, &event));
}

/// Stops the disk at each of its operations, then cuts the power in several ways, and gives what is left to `check`.
fn at_every_operation(story: impl Fn(&SimDisk) -> Done, check: impl Fn(&KeyRing, &Done, &str)) {
    let whole = SimDisk::new(9);
    story(&whole);
    let operations = whole.operations();
    assert!(operations > 5, "there is something to interrupt");
    for operation in 0..operations {
        let disk = SimDisk::new(9);
        disk.stop_at(operation);
        let done = story(&disk);
        let mut ends = vec![("killed".to_owned(), disk.after_kill())];
        for (name, loss) in [("all lost", PowerLoss::KeepLeast), ("random", PowerLoss::Random)] {
            ends.extend((0..4).map(|seed| (format!("{name}, seed {seed}"), disk.after_power_loss(loss, seed))));
        }
        for (name, end) in ends {
            let at = format!("stopped at operation {operation}, {name}");
            match ring_on(&end) {
                Ok(keys) => {
                    check(&keys, &done, &at);
                    drop(keys);
                    // What the process after a kill uses is there after the power was lost, too.
                    let later = end.after_power_loss(PowerLoss::KeepLeast, 0);
                    check(&ring_on(&later).unwrap(), &done, &format!("{at}, and the power lost later"));
                }
                Err(error) => panic!("{at}: {error}"),
            }
        }
    }
}

/// What a story got to.
#[derive(Default)]
struct Done {
    encrypted: Option<NewEvent>,
    destroyed: bool,
}

fn read_back(keys: &KeyRing, event: &NewEvent) -> Result<bool, KeyError> {
    let store = EventStore::in_memory(&Options::new()).unwrap();
    store.append("customers", ExpectedVersion::Any, event.clone()).unwrap();
    let event = store.get(Position::new(1)).unwrap().unwrap();
    Ok(matches!(keys.decrypt(&event.as_event())?, Content::Readable(_)))
}

#[test]
fn a_key_that_has_encrypted_something_survives_every_crash() {
    let story = |disk: &SimDisk| {
        let encrypted = ring_on(disk).and_then(|keys| keys.encrypt("a", moved())).ok();
        Done { encrypted, destroyed: false }
    };
    at_every_operation(story, |keys, done, at| {
        if let Some(event) = &done.encrypted {
            assert!(read_back(keys, event).unwrap(), "{at}");
        }
        let again = keys.encrypt("a", moved()).unwrap();
        assert!(read_back(keys, &again).unwrap(), "{at}");
    });
}

#[test]
fn a_key_is_whole_or_gone_after_every_crash_and_what_is_destroyed_does_not_come_back() {
    let story = |disk: &SimDisk| {
        let Ok(keys) = ring_on(disk) else { return Done::default() };
        let encrypted = keys.encrypt("a", moved()).ok();
        let destroyed = encrypted.is_some() && keys.destroy("a").is_ok();
        Done { encrypted, destroyed }
    };
    at_every_operation(story, |keys, done, at| {
        if let Some(event) = &done.encrypted {
            match read_back(keys, event) {
                Ok(is_readable) => assert!(!(done.destroyed && is_readable), "{at}"),
                Err(KeyError::Damaged { fault: SubjectFault::Interrupted, .. }) => {
                    assert!(!done.destroyed, "{at}");
                    keys.destroy("a").unwrap();
                    assert!(!read_back(keys, event).unwrap(), "{at}");
                }
                Err(error) => panic!("{at}: {error}"),
            }
        }
    });
}

#[test]
fn a_ring_that_could_not_make_a_key_durable_does_not_find_and_use_it() {
    let whole = SimDisk::new(9);
    let keys = ring_on(&whole).unwrap();
    let before = whole.operations();
    keys.encrypt("a", moved()).unwrap();
    let after = whole.operations();
    drop(keys);
    for operation in before..after {
        let disk = SimDisk::new(9);
        let keys = ring_on(&disk).unwrap();
        disk.fail_at(operation, Fault::Eio);
        assert!(matches!(keys.encrypt("a", moved()), Err(KeyError::Io { .. })), "operation {operation}");
        disk.clear_faults();
        assert!(matches!(keys.encrypt("a", moved()), Err(KeyError::Io { .. })), "until it is opened again");
    }
}

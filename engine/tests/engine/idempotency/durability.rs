//! What a retry asks of the disk, and whose fate its answer shares.

use super::*;

fn on_sim() -> (SimDisk, EventStore) {
    let disk = SimDisk::new(4);
    let store = EventStore::open_on(Arc::new(disk.clone()), &quiet()).unwrap();
    (disk, store)
}

fn buffered<'a>(store: &'a EventStore, key: &str) -> BatchBuilder<'a> {
    store.batch().idempotency_key(key).event("a", event("A")).durability(Durability::Buffered)
}

fn synced<'a>(store: &'a EventStore, key: &str) -> BatchBuilder<'a> {
    buffered(store, key).durability(Durability::Sync)
}

#[test]
fn a_durable_retry_of_a_buffered_append_is_answered_when_it_is_durable() {
    let (disk, store) = on_sim();
    buffered(&store, "key").commit().unwrap();
    assert_eq!(store.durable_head(), Position::START);
    let asked = disk.operations();
    assert_eq!(buffered(&store, "key").commit().unwrap().outcome, Outcome::Duplicate);
    assert_eq!(disk.operations(), asked, "nobody asked for more");
    assert_eq!(synced(&store, "key").commit().unwrap().outcome, Outcome::Duplicate);
    assert_eq!(disk.operations(), asked + 2, "a sync, and the watermark");
    assert_eq!(store.durable_head(), pos(1));
    assert_eq!(synced(&store, "key").commit().unwrap().outcome, Outcome::Duplicate);
    assert_eq!(disk.operations(), asked + 2, "it is durable");
    // What came behind it is not, and does not matter.
    buffered(&store, "other").commit().unwrap();
    assert_eq!(synced(&store, "key").commit().unwrap().outcome, Outcome::Duplicate);
    assert_eq!(disk.operations(), asked + 3, "the write of the other one");
    let after = disk.after_power_loss(PowerLoss::KeepLeast, 0);
    let after = EventStore::open_on(Arc::new(after), &quiet()).unwrap();
    assert_eq!((after.find_append("key").unwrap().is_some(), after.head()), (true, pos(1)));
}

#[test]
fn a_durable_retry_by_id_and_one_of_a_tracking_record_alone_wait_for_durability_too() {
    let (disk, store) = on_sim();
    let progress = || store.batch().idempotency_key("progress").tracking("kafka", 7);
    progress().durability(Durability::Buffered).commit().unwrap();
    assert_eq!(progress().durability(Durability::Sync).commit().unwrap().outcome, Outcome::Duplicate);
    let after = disk.after_power_loss(PowerLoss::KeepLeast, 0);
    assert_eq!(EventStore::open_on(Arc::new(after), &quiet()).unwrap().tracking("kafka").unwrap(), Some(7));

    store.batch().event("a", named(1, "A")).durability(Durability::Buffered).commit().unwrap();
    assert_eq!(store.append("a", Any, named(1, "A")).unwrap().outcome, Outcome::Duplicate);
    assert_eq!(store.durable_head(), pos(1));
}

#[test]
fn a_durable_retry_whose_sync_fails_is_in_doubt_and_poisons() {
    let (disk, store) = on_sim();
    buffered(&store, "key").commit().unwrap();
    disk.fail_at(disk.operations(), Fault::Eio);
    let error = synced(&store, "key").commit().unwrap_err();
    assert!(matches!(error, AppendError::CommitUnknown { .. }), "{error:?}");
    let error = buffered(&store, "key").commit().unwrap_err();
    assert!(matches!(error, AppendError::Poisoned { .. }), "{error:?}");
    assert_eq!(store.head(), pos(1), "readers go on");
}

#[test]
fn of_a_group_whose_only_sync_is_for_a_retry_the_others_are_answered_as_they_asked() {
    let (disk, store) = on_sim();
    buffered(&store, "key").commit().unwrap();
    let tickets = [synced(&store, "key"), buffered(&store, "key"), buffered(&store, "key").expect("b", Exact(ver(1)))];
    let tickets = tickets.map(|batch| batch.submit().unwrap());
    let conflict = store.batch().expect("a", NoStream).event("a", event("A")).submit().unwrap();
    disk.fail_at(disk.operations(), Fault::Eio);
    let [durable, written, also] = tickets.map(annals::Ticket::wait);
    assert!(matches!(durable, Err(AppendError::CommitUnknown { .. })), "{durable:?}");
    assert_eq!(written.unwrap().outcome, Outcome::Duplicate);
    assert_eq!(also.unwrap().outcome, Outcome::Duplicate);
    assert!(matches!(conflict.wait(), Err(AppendError::ConcurrencyConflict { .. })));
}

#[test]
fn a_durable_retry_makes_its_group_durable_with_one_sync() {
    let (disk, store) = on_sim();
    buffered(&store, "key").commit().unwrap();
    for retried in ["key", "new"] {
        let asked = disk.operations();
        let new = buffered(&store, "new").event("b", named(retried.as_bytes()[0], "B"));
        let new = if retried == "new" { buffered(&store, "newer") } else { new }.submit().unwrap();
        let again = synced(&store, if retried == "new" { "newer" } else { "key" }).submit().unwrap();
        assert_eq!(new.wait().unwrap().outcome, Outcome::Appended);
        assert_eq!(again.wait().unwrap().outcome, Outcome::Duplicate);
        assert_eq!(disk.operations(), asked + 3, "{retried}: a write, a sync, and the watermark");
        assert_eq!(store.durable_head(), store.head());
    }
}

#[test]
fn a_retry_changes_nothing_on_disk_not_even_the_first_of_a_writer_or_one_for_which_there_is_no_room() {
    let (disk, store) = on_sim();
    let large = |store: &EventStore| {
        let event = NewEvent::new("Large", vec![1; 50_000]);
        store.batch().idempotency_key("large").event("a", event).commit().unwrap().outcome
    };
    assert_eq!(large(&store), Outcome::Appended);
    let asked = disk.operations();
    assert_eq!(large(&store), Outcome::Duplicate);
    assert_eq!(disk.operations(), asked, "no roll");
    drop(store);
    let store = EventStore::open_on(Arc::new(disk.clone()), &quiet()).unwrap();
    let asked = disk.operations();
    assert_eq!(large(&store), Outcome::Duplicate);
    let refused = store.batch().idempotency_key("large").event("a", event("A")).commit();
    assert!(matches!(refused, Err(AppendError::IdempotencyKeyReused { .. })), "{refused:?}");
    assert_eq!(disk.operations(), asked, "no epoch was begun");
}

// Answers share fate.

#[test]
fn a_duplicate_of_the_group_shares_its_fate_and_one_of_the_log_does_not() {
    let (disk, store) = on_sim();
    let old = || store.batch().idempotency_key("old").event("a", named(1, "A"));
    old().commit().unwrap();
    let new = || store.batch().idempotency_key("new").event("b", named(2, "B"));
    let written = new().submit().unwrap();
    let of_group = [
        new().submit().unwrap(),
        store.batch().event("b", named(2, "B")).submit().unwrap(),
        store.batch().event("b", named(2, "C")).submit().unwrap(),
        store.batch().idempotency_key("new").event("b", event("C")).submit().unwrap(),
        store.batch().events("b", [named(2, "B"), named(3, "C")]).submit().unwrap(),
        store.batch().events("a", [named(1, "A"), named(2, "B")]).submit().unwrap(),
    ];
    let of_log = [
        old().submit().unwrap(),
        store.batch().event("a", named(1, "A")).submit().unwrap(),
        store.batch().event("a", named(1, "C")).submit().unwrap(),
        store.batch().idempotency_key("old").event("a", event("C")).submit().unwrap(),
        store.batch().events("a", [named(1, "A"), named(4, "C")]).submit().unwrap(),
    ];
    disk.fail_at(disk.operations() + 1, Fault::Eio);
    assert!(matches!(written.wait(), Err(AppendError::CommitUnknown { .. })));
    for (number, ticket) in of_group.into_iter().enumerate() {
        let answer = ticket.wait();
        assert!(matches!(answer, Err(AppendError::CommitUnknown { .. })), "{number}: {answer:?}");
    }
    let [key, named, id_conflict, reused, partial] = of_log.map(annals::Ticket::wait);
    assert_eq!((key.unwrap().outcome, named.unwrap().outcome), (Outcome::Duplicate, Outcome::Duplicate));
    assert!(matches!(id_conflict, Err(AppendError::EventIdConflict { .. })), "{id_conflict:?}");
    assert!(matches!(reused, Err(AppendError::IdempotencyKeyReused { .. })), "{reused:?}");
    assert!(matches!(partial, Err(AppendError::PartialDuplicate { .. })), "{partial:?}");
    assert_eq!(store.find_append("new").unwrap(), None);
    assert_eq!(store.get_event(id(2)).unwrap(), None);
}

#[test]
fn a_group_that_was_not_written_leaves_no_key_and_no_id_behind() {
    let (disk, store) = on_sim();
    store.append("a", Any, event("A")).unwrap();
    disk.fail_at(disk.operations(), Fault::StorageFull);
    let first = store.batch().idempotency_key("key").event("a", named(1, "A")).submit().unwrap();
    let again = store.batch().idempotency_key("key").event("a", named(1, "A")).submit().unwrap();
    for ticket in [first, again] {
        assert!(matches!(ticket.wait(), Err(AppendError::StorageFull)));
    }
    assert_eq!((store.find_append("key").unwrap(), store.get_event(id(1)).unwrap()), (None, None));
    // Both are free, for something else.
    let other = store.batch().idempotency_key("key").event("b", named(1, "B")).commit().unwrap();
    assert_eq!(other.outcome, Outcome::Appended);
}

#[test]
fn a_durable_retry_in_a_group_for_which_there_is_no_space_is_answered_when_it_is_durable() {
    let (disk, store) = on_sim();
    buffered(&store, "key").commit().unwrap();
    let new = synced(&store, "new").submit().unwrap();
    let again = synced(&store, "key").submit().unwrap();
    disk.fail_at(disk.operations(), Fault::StorageFull);
    assert!(matches!(new.wait(), Err(AppendError::StorageFull)));
    assert_eq!(again.wait().unwrap().outcome, Outcome::Duplicate);
    let after = disk.after_power_loss(PowerLoss::KeepLeast, 0);
    assert!(EventStore::open_on(Arc::new(after), &quiet()).unwrap().find_append("key").unwrap().is_some());
    assert_eq!(store.durable_head(), pos(1));
}

#[test]
fn a_retry_after_a_failed_sync_and_a_reopen_appends_exactly_once() {
    // Whether the disk has taken it or not.
    let mut outcomes = std::collections::BTreeSet::new();
    for seed in 0..20 {
        let disk = SimDisk::new(seed);
        let store = EventStore::open_on(Arc::new(disk.clone()), &quiet()).unwrap();
        let batch =
            |store: &EventStore| store.batch().idempotency_key("key").events("a", [named(1, "A"), event("B")]).commit();
        disk.fail_at(disk.operations() + 4, Fault::Eio);
        let lost = batch(&store).unwrap_err();
        assert!(matches!(lost, AppendError::CommitUnknown { .. } | AppendError::Poisoned { .. }), "{lost:?}");
        drop(store);
        let store = EventStore::open_on(Arc::new(disk.clone()), &quiet()).unwrap();
        outcomes.insert(format!("{:?}", batch(&store).unwrap().outcome));
        assert_eq!(whole(&store), ["a/1/A", "a/2/B"], "seed {seed}");
    }
    assert_eq!(outcomes.len(), 2, "both happen: {outcomes:?}");
}

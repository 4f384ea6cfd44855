//! Append conditions: what must not have happened for a batch to be appended.
//!
//! What a condition speaks of is looked for wherever it may be: in the log, in older segments, in a
//! store that was opened again, and among the earlier requests of the group.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use annals::storage::sim::{Fault, SimDisk};
use annals::{
    AppendCondition, AppendError, Appended, BatchBuilder, ConditionClause, Durability, EventStore, ExpectedVersion,
    NewEvent, Options, Outcome, Position, Query, QueryError, QueryItem, ReadError,
};

use crate::places::*;

use ConditionClause::{FailIfExists, FailIfMatch};
use ExpectedVersion::{Any, NoStream};

fn tagged(tag: &str) -> NewEvent {
    event("A").tag(tag)
}

fn tag(tag: &str) -> QueryItem {
    QueryItem::new().tag(tag)
}

fn unless(query: impl Into<Query>) -> AppendCondition {
    AppendCondition::fail_if_match(query)
}

fn unless_exists(query: impl Into<Query>) -> AppendCondition {
    AppendCondition::default().fail_if_exists(query)
}

fn with<'a>(store: &'a EventStore, condition: &AppendCondition) -> BatchBuilder<'a> {
    store.batch().event("new", event("New")).condition(condition.clone())
}

/// What a condition comes to.
#[derive(Clone, Copy, Debug)]
enum Told {
    Appended,
    Failed(ConditionClause, u64),
    Beyond(u64),
}

#[track_caller]
fn check_told(told: Told, head: u64, answer: Result<Appended, AppendError>) {
    match (told, answer) {
        (Told::Appended, Ok(done)) if (done.outcome, done.first) == (Outcome::Appended, pos(head + 1)) => {}
        (Told::Failed(clause, at), Err(AppendError::ConditionFailed { clause: told, at: found }))
            if (told, found) == (clause, pos(at)) => {}
        (Told::Beyond(after), Err(AppendError::AfterBeyondHead { after: told, head: found }))
            if (told, found) == (pos(after), pos(head)) => {}
        (told, answer) => panic!("expected {told:?}, got {answer:?}"),
    }
}

/// Checks a condition against a log of six events: in streams `a` and `b` by turns, of types `T1` to `T6`,
/// with the tags `all`, `odd` or `even`, and `1` to `6`.
#[track_caller]
fn check(condition: &AppendCondition, told: Told) {
    let stream = |number: u64| if number % 2 == 1 { "a" } else { "b" };
    let new = |number: u64, len| {
        let parity = if number % 2 == 1 { "odd" } else { "even" };
        NewEvent::new(format!("T{number}"), vec![0; len]).tag("all").tag(parity).tag(number.to_string())
    };
    for in_group in 0..=6 {
        // So many of them are in the group of the condition.
        let store = EventStore::in_memory(&quiet()).unwrap();
        for number in 1..=6 - in_group {
            store.append(stream(number), Any, new(number, 5)).unwrap();
        }
        let submit = |number| store.batch().event(stream(number), new(number, 5)).submit().unwrap();
        let tickets: Vec<_> = (7 - in_group..=6).map(submit).collect();
        let answer = with(&store, condition).submit().unwrap();
        for ticket in tickets {
            ticket.wait().unwrap();
        }
        check_told(told, 6, answer.wait());
        assert_eq!(store.head(), pos(if matches!(told, Told::Appended) { 7 } else { 6 }));
    }
    // Over several segments; buffered, because there are many of these.
    let options = quiet().durability(Durability::Buffered);
    let fill = |store: &EventStore| {
        for number in 1..=6 {
            store.append(stream(number), Any, new(number, 30_000)).unwrap();
        }
        assert!(store.stats().segments.len() > 2);
    };
    on_every_kind(|place| {
        fill(&place.open(&options));
        check_told(told, 6, with(&place.open(&options), condition).commit());
    });
    let store = EventStore::in_memory(&options).unwrap();
    fill(&store);
    check_told(told, 6, with(&store, condition).commit());
}

// Each clause.

#[test]
fn a_condition_fails_when_an_event_after_its_position_matches_and_tells_the_newest() {
    check(&unless(tag("all")), Told::Failed(FailIfMatch, 6));
    check(&unless(tag("all")).after(pos(5)), Told::Failed(FailIfMatch, 6));
    check(&unless(tag("odd")), Told::Failed(FailIfMatch, 5));
    check(&unless(tag("odd")).after(pos(4)), Told::Failed(FailIfMatch, 5));
    check(&unless(tag("1")).after(pos(0)), Told::Failed(FailIfMatch, 1));
}

#[test]
fn what_matches_at_its_position_or_before_does_not_matter() {
    check(&unless(tag("all")).after(pos(6)), Told::Appended);
    check(&unless(tag("odd")).after(pos(5)), Told::Appended);
    check(&unless(tag("3")).after(pos(3)), Told::Appended);
    check(&unless(tag("none")), Told::Appended);
}

#[test]
fn without_a_position_the_whole_log_counts() {
    check(&unless(tag("1")), Told::Failed(FailIfMatch, 1));
    check(&unless(QueryItem::new().event_type("T2")), Told::Failed(FailIfMatch, 2));
    check(&unless(QueryItem::new().stream("a")), Told::Failed(FailIfMatch, 5));
}

#[test]
fn what_must_not_exist_at_all_is_looked_for_before_the_position_too() {
    let nothing_new = unless(tag("all")).after(pos(6));
    check(&nothing_new.clone().fail_if_exists(tag("2")), Told::Failed(FailIfExists, 2));
    check(&nothing_new.clone().fail_if_exists(tag("even")), Told::Failed(FailIfExists, 6));
    check(&nothing_new.fail_if_exists(tag("7")), Told::Appended);
    check(&unless_exists(tag("1")), Told::Failed(FailIfExists, 1));
    check(&unless_exists(tag("7")), Told::Appended);
    // The first clause is told first.
    check(&unless(tag("1")).fail_if_exists(tag("2")), Told::Failed(FailIfMatch, 1));
}

#[test]
fn every_kind_of_query_is_understood() {
    check(&unless(Query::All).after(pos(5)), Told::Failed(FailIfMatch, 6));
    check(&unless(Query::All).after(pos(6)), Told::Appended);
    check(&unless(QueryItem::new()), Told::Failed(FailIfMatch, 6));
    check(&unless(QueryItem::new().type_prefix("T")), Told::Failed(FailIfMatch, 6));
    check(&unless(QueryItem::new().stream_prefix("a").type_prefix("T")), Told::Failed(FailIfMatch, 5));
    check(&unless(tag("all").tag("even").stream("a")), Told::Appended);
    check(&unless(tag("all").tag("odd").event_type("T3")).after(pos(2)), Told::Failed(FailIfMatch, 3));
    check(&unless(vec![tag("1"), tag("4"), tag("2")]), Told::Failed(FailIfMatch, 4));
    check(&unless(QueryItem::new().types(["T1", "T3"])).after(pos(1)), Told::Failed(FailIfMatch, 3));
}

#[test]
fn a_position_beyond_the_head_is_an_error_and_no_condition_that_is_met() {
    check(&unless(tag("none")).after(pos(7)), Told::Beyond(7));
    check(&unless(tag("all")).after(Position::END), Told::Beyond(u64::MAX));
    check(&unless_exists(tag("1")).after(pos(7)), Told::Beyond(7));
}

#[test]
fn an_empty_log_meets_every_condition_of_its_beginning() {
    on_every_store(&quiet(), |store| {
        let beyond = with(store, &unless(Query::All).after(pos(1))).commit();
        assert!(matches!(beyond, Err(AppendError::AfterBeyondHead { head: Position::START, .. })), "{beyond:?}");
        with(store, &unless(Query::All).after(Position::START).fail_if_exists(Query::All)).commit().unwrap();
        let second = with(store, &unless(Query::All)).commit();
        assert!(matches!(second, Err(AppendError::ConditionFailed { .. })), "{second:?}");
    });
}

#[test]
fn a_query_that_cannot_be_used_is_told_at_once() {
    let store = EventStore::in_memory(&quiet()).unwrap();
    let none = Query::Items(Vec::new());
    let bad = Query::from(tag(""));
    for condition in [unless(none.clone()), unless_exists(none.clone()), unless(tag("a")).fail_if_exists(none.clone())]
    {
        let refused = with(&store, &condition).submit();
        assert!(matches!(refused, Err(AppendError::InvalidQuery(QueryError::NoItems))), "{refused:?}");
    }
    let refused = with(&store, &unless(bad)).submit();
    assert!(matches!(refused, Err(AppendError::InvalidQuery(QueryError::InvalidName(_)))), "{refused:?}");
    let refused = store.append_if(none, |_, batch| Ok::<_, AppendError>(Some(batch.event("a", event("A")))));
    assert!(matches!(refused, Err(AppendError::InvalidQuery(QueryError::NoItems))), "{refused:?}");
    assert_eq!(store.head(), Position::START);
}

#[test]
fn a_condition_without_a_clause_is_met() {
    check(&AppendCondition::default(), Told::Appended);
}

// Batches.

#[test]
fn a_batch_of_several_streams_has_its_condition_and_is_appended_as_a_whole_or_not() {
    on_every_store(&quiet(), |store| {
        let batch = || {
            let batch = store.batch().event("a", tagged("x")).event("b", tagged("y")).tracking("kafka", 1);
            batch.condition(unless(tag("y")))
        };
        assert_eq!(batch().commit().unwrap().last, pos(2), "its own events do not count");
        let error = batch().tracking("kafka", 2).commit().unwrap_err();
        assert!(matches!(error, AppendError::ConditionFailed { at, .. } if at == pos(2)), "{error:?}");
        assert_eq!((store.head(), store.tracking("kafka").unwrap()), (pos(2), Some(1)));
        // A tracking record may stand under a condition, too.
        let error = store.batch().tracking("kafka", 2).condition(unless(tag("x"))).commit().unwrap_err();
        assert!(matches!(error, AppendError::ConditionFailed { .. }), "{error:?}");
        store.batch().tracking("kafka", 2).condition(unless(tag("x")).after(pos(2))).commit().unwrap();
        // And a condition alone is no batch.
        assert!(matches!(store.batch().condition(unless(tag("z"))).commit(), Err(AppendError::EmptyBatch)));
    });
}

#[test]
fn each_of_several_conditions_must_hold() {
    on_every_store(&quiet(), |store| {
        store.append("a", Any, tagged("x")).unwrap();
        let both = |one: &str, other: &str| with(store, &unless(tag(one))).condition(unless(tag(other))).commit();
        for (one, other) in [("x", "y"), ("y", "x")] {
            assert!(matches!(both(one, other), Err(AppendError::ConditionFailed { .. })), "{one} {other}");
        }
        both("y", "z").unwrap();
    });
}

#[test]
fn a_retry_is_a_duplicate_although_its_own_event_matches() {
    on_every_store(&quiet(), |store| {
        let keyed = || store.batch().idempotency_key("key").event("a", tagged("x")).condition(unless(tag("x")));
        assert_eq!(keyed().commit().unwrap().outcome, Outcome::Appended);
        assert_eq!(keyed().commit().unwrap().outcome, Outcome::Duplicate);
        let id = annals::EventId::from_bytes([1; 16]);
        let named = || store.batch().event("a", tagged("y").id(id)).condition(unless(tag("y"))).submit().unwrap();
        let (first, second) = (named(), named());
        assert_eq!(first.wait().unwrap().outcome, Outcome::Appended);
        assert_eq!(second.wait().unwrap().outcome, Outcome::Duplicate);
    });
}

#[test]
fn the_errors_say_what_failed_and_what_to_do() {
    let store = EventStore::in_memory(&quiet()).unwrap();
    store.append("a", Any, tagged("x")).unwrap();
    for (condition, message) in [
        (
            unless(tag("x")),
            "the condition that nothing new matches failed: the event at position 1 matches; read what is new, decide again, and retry",
        ),
        (
            unless_exists(tag("x")),
            "the condition that nothing at all matches failed: the event at position 1 matches; read what is new, decide again, and retry",
        ),
        (
            unless(tag("x")).after(pos(9)),
            "the condition speaks of what is after position 9, and the log ends at 1: read it again",
        ),
        (unless(Query::Items(Vec::new())), "the query has no items; use Query::All to read everything"),
    ] {
        assert_eq!(with(&store, &condition).commit().unwrap_err().to_string(), message);
    }
}

// Groups.

#[test]
fn of_a_group_that_decides_on_the_same_things_the_first_one_wins() {
    on_every_store(&quiet(), |store| {
        let seats: Vec<_> = (0..300)
            .map(|number| {
                let seat = format!("seat:{}", number % 100);
                let condition = unless(tag(&seat)).after(Position::START);
                store.batch().event("sales", tagged(&seat)).condition(condition).submit().unwrap()
            })
            .collect();
        for (number, ticket) in seats.into_iter().enumerate() {
            match ticket.wait() {
                Ok(done) => assert_eq!(done.last.get(), number as u64 + 1),
                Err(AppendError::ConditionFailed { at, .. }) => {
                    assert_eq!(at.get(), number as u64 % 100 + 1, "who was first");
                    assert!(number >= 100);
                }
                Err(error) => panic!("{error:?}"),
            }
        }
        assert_eq!(store.head(), pos(100));
    });
}

#[test]
fn each_group_has_labels_of_its_own() {
    on_every_store(&quiet(), |store| {
        for group in 0..3 {
            let sell = |seat: u32| {
                let seat = format!("seat:{group}:{seat}");
                store.batch().event("sales", tagged(&seat)).condition(unless(tag(&seat))).submit().unwrap()
            };
            let tickets: Vec<_> = (0..100 - group).map(sell).collect();
            for ticket in tickets {
                ticket.wait().unwrap();
            }
        }
        assert_eq!(store.head(), pos(297));
    });
}

#[test]
fn a_position_that_the_group_has_reached_is_not_beyond_the_head() {
    on_every_store(&quiet(), |store| {
        let first = store.batch().event("a", tagged("x")).submit().unwrap();
        let second = with(store, &unless(tag("x")).after(pos(1))).submit().unwrap();
        let third = with(store, &unless(tag("x")).after(pos(3))).submit().unwrap();
        first.wait().unwrap();
        assert_eq!(second.wait().unwrap().first, pos(2));
        assert!(matches!(third.wait(), Err(AppendError::AfterBeyondHead { head, .. }) if head == pos(2)));
    });
}

#[test]
fn a_condition_that_the_group_makes_fail_shares_its_fate_and_one_of_the_log_does_not() {
    let disk = SimDisk::new(4);
    let store = EventStore::open_on(Arc::new(disk.clone()), &quiet()).unwrap();
    store.append("a", Any, tagged("old")).unwrap();
    let written = store.batch().event("a", tagged("new")).submit().unwrap();
    let of_group = [
        with(&store, &unless(tag("new"))).submit().unwrap(),
        with(&store, &unless(Query::All)).submit().unwrap(),
        with(&store, &unless_exists(tag("new"))).submit().unwrap(),
        with(&store, &unless(tag("new")).after(pos(9))).submit().unwrap(),
    ];
    let of_log = with(&store, &unless(tag("old"))).submit().unwrap();
    disk.fail_at(disk.operations() + 1, Fault::Eio);
    assert!(matches!(written.wait(), Err(AppendError::CommitUnknown { .. })));
    for (number, ticket) in of_group.into_iter().enumerate() {
        let answer = ticket.wait();
        assert!(matches!(answer, Err(AppendError::CommitUnknown { .. })), "{number}: {answer:?}");
    }
    let answer = of_log.wait();
    assert!(matches!(answer, Err(AppendError::ConditionFailed { at, .. }) if at == pos(1)), "{answer:?}");
}

#[test]
fn nothing_of_a_group_that_was_not_written_makes_a_condition_fail() {
    let disk = SimDisk::new(4);
    let store = EventStore::open_on(Arc::new(disk.clone()), &quiet()).unwrap();
    store.append("a", Any, tagged("old")).unwrap();
    disk.fail_at(disk.operations(), Fault::StorageFull);
    assert!(matches!(store.append("a", Any, tagged("x")), Err(AppendError::StorageFull)));
    with(&store, &unless(tag("x")).fail_if_exists(tag("x"))).commit().unwrap();
}

#[test]
fn thousands_of_conditions_in_one_group_are_checked_in_no_time() {
    // Each against all events of the others would be a hundred million comparisons, by tag and by prefix.
    let store = EventStore::in_memory(&Options::new().background(false)).unwrap();
    let start = std::time::Instant::now();
    let tickets: Vec<_> = (0..20_000)
        .map(|number| {
            let (order, stream) = (format!("order:{number}"), format!("order-{number}-"));
            let condition = unless(vec![tag(&order).event_type("A"), QueryItem::new().stream_prefix(&*stream)]);
            store.batch().event(stream, tagged(&order)).condition(condition).submit().unwrap()
        })
        .collect();
    for ticket in tickets {
        ticket.wait().unwrap();
    }
    assert!(start.elapsed().as_secs() < 20, "{:?}", start.elapsed());
}

#[test]
fn what_must_be_read_for_a_condition_and_cannot_be_is_an_error() {
    let disk = SimDisk::new(1);
    let store = EventStore::open_on(Arc::new(disk.clone()), &quiet()).unwrap();
    store.append("a", Any, NewEvent::new("Large", vec![0; 9_000]).tag("x")).unwrap();
    store.append("a", Any, tagged("y")).unwrap();
    disk.spoil(&store.stats().segments[0].path, 8_192);
    let refused = with(&store, &unless(tag("x"))).commit();
    assert!(matches!(refused, Err(AppendError::Unreadable { cause: ReadError::Io { .. } })), "{refused:?}");
    with(&store, &unless(tag("x")).after(pos(1))).commit().expect("nothing of it is asked for");
}

// Deciding again.

/// Adds one to the number that the newest event with this tag holds.
fn increment(store: &EventStore, name: &str) -> Result<Option<Appended>, ReadOrAppend> {
    store.append_if(tag(name), |found, batch| {
        let newest = found.last().transpose()?;
        let number = newest.map_or(0, |event| number_of(&event));
        Ok(Some(batch.event("numbers", numbered(number + 1).tag(name))))
    })
}

#[derive(Debug)]
enum ReadOrAppend {
    Append(AppendError),
    Read,
    Mine,
}

impl From<AppendError> for ReadOrAppend {
    fn from(error: AppendError) -> ReadOrAppend {
        ReadOrAppend::Append(error)
    }
}

impl From<ReadError> for ReadOrAppend {
    fn from(_: ReadError) -> ReadOrAppend {
        ReadOrAppend::Read
    }
}

#[test]
fn no_decision_of_threads_that_race_rests_on_something_old() {
    on_every_kind(|place| {
        let store = place.open(&Options::new().segment_bytes(64 << 10));
        std::thread::scope(|threads| {
            for thread in 0..4 {
                let store = &store;
                threads.spawn(move || {
                    for round in 0..25 {
                        let name = if (thread + round) % 3 == 0 { "x" } else { "y" };
                        increment(store, name).unwrap().unwrap();
                        store.append("noise", Any, tagged("noise")).unwrap();
                    }
                });
            }
        });
        let mut sum = 0;
        for name in ["x", "y"] {
            let found = store.read(tag(name), Position::START).unwrap();
            let numbers: Vec<_> = found.map(|event| number_of(&event.unwrap())).collect();
            assert_eq!(numbers, (1..=numbers.len() as u64).collect::<Vec<_>>(), "each saw the one before");
            sum += numbers.len();
        }
        assert_eq!(sum, 100);
    });
}

#[test]
fn a_decision_is_made_again_when_something_that_matches_has_come_between() {
    on_every_store(&quiet(), |store| {
        let tries = AtomicU32::new(0);
        let done = store.append_if(tag("x"), |found, batch| {
            let tried = tries.fetch_add(1, Ordering::Relaxed);
            assert_eq!(found.count(), tried.min(3) as usize, "it sees what has come");
            if tried < 3 {
                store.append("a", Any, tagged("x")).unwrap();
            } else {
                store.append("a", Any, tagged("y")).unwrap(); // not what the decision rests on
            }
            Ok::<_, AppendError>(Some(batch.event("a", tagged("x"))))
        });
        assert_eq!((done.unwrap().unwrap().last, tries.into_inner()), (pos(5), 4));
    });
}

#[test]
fn a_decision_that_is_always_too_late_ends_after_a_hundred_tries() {
    on_every_store(&quiet(), |store| {
        let mut tries = 0;
        let done = store.append_if(tag("x"), |_, batch| {
            tries += 1;
            store.append("a", Any, tagged("x"))?;
            Ok::<_, AppendError>(Some(batch.event("a", tagged("z"))))
        });
        assert!(matches!(done, Err(AppendError::ConditionFailed { at, .. }) if at == pos(100)), "{done:?}");
        assert_eq!((tries, store.head()), (100, pos(100)));
    });
}

#[test]
fn a_decision_for_nothing_and_one_against_it_append_nothing() {
    on_every_store(&quiet(), |store| {
        let nothing = store.append_if(tag("x"), |_, _| Ok::<_, AppendError>(None));
        assert_eq!(nothing.unwrap(), None);
        let mine = store.append_if(tag("x"), |_, _| Err(ReadOrAppend::Mine));
        assert!(matches!(mine, Err(ReadOrAppend::Mine)), "{mine:?}");
        let empty = store.append_if(tag("x"), |_, batch| Ok::<_, ReadOrAppend>(Some(batch)));
        assert!(matches!(empty, Err(ReadOrAppend::Append(AppendError::EmptyBatch))), "{empty:?}");
        assert_eq!(store.head(), Position::START);
    });
}

#[test]
fn what_the_batch_itself_expects_is_told_at_once() {
    on_every_store(&quiet(), |store| {
        store.append("a", Any, tagged("y")).unwrap();
        let mut tries = 0;
        let mut decide = |change: fn(BatchBuilder<'_>) -> BatchBuilder<'_>| {
            store.append_if(tag("x"), |_, batch| {
                tries += 1;
                Ok::<_, AppendError>(Some(change(batch.event("a", event("B")))))
            })
        };
        let error = decide(|batch| batch.expect("a", NoStream)).unwrap_err();
        assert!(matches!(error, AppendError::ConcurrencyConflict { .. }), "{error:?}");
        let error = decide(|batch| batch.condition(unless_exists(tag("y")))).unwrap_err();
        assert!(matches!(error, AppendError::ConditionFailed { clause: FailIfExists, .. }), "{error:?}");
        assert!(matches!(decide(|batch| batch.event("", event("B"))), Err(AppendError::InvalidName(_))));
        assert_eq!(tries, 3);
    });
}

#[test]
fn a_decision_with_a_key_is_a_duplicate_the_second_time() {
    on_every_store(&quiet(), |store| {
        let decide = || {
            let done = store.append_if(tag("x"), |_, batch| {
                Ok::<_, AppendError>(Some(batch.idempotency_key("key").event("a", tagged("x"))))
            });
            done.unwrap().unwrap()
        };
        assert_eq!([decide().outcome, decide().outcome], [Outcome::Appended, Outcome::Duplicate]);
    });
}

#[test]
fn a_store_opened_read_only_decides_nothing() {
    let dir = tempfile::tempdir().unwrap();
    drop(EventStore::open(dir.path(), &quiet()).unwrap());
    let store = EventStore::open_read_only(dir.path()).unwrap();
    let refused = store.append_if(Query::All, |_, _| -> Result<_, AppendError> { panic!("it is asked for nothing") });
    assert!(matches!(refused, Err(AppendError::ReadOnly)), "{refused:?}");
}

//! Retention: what goes, what stays known of it, and who is told.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use annals::storage::sim::SimDisk;
use annals::{
    AppendCondition, AppendError, Clock, Delivery, Durability, EventId, EventStore, ExpectedVersion, Guard, HolderKind,
    KeepError, NewEvent, OpenError, Options, Outcome, Position, Query, QueryItem, ReadError, Retention, StreamVersion,
    SubscribeError, TruncateError, Truncation, inspect,
};

use crate::support::open_read_only;

fn pos(position: u64) -> Position {
    Position::new(position)
}

/// A clock that somebody sets.
#[derive(Debug, Default)]
struct Set(AtomicI64);

impl Clock for Set {
    fn now(&self) -> i64 {
        self.0.load(Ordering::Relaxed)
    }
}

fn options() -> Options {
    Options::new().background(false).flush_interval(None).zero_ahead(0).segment_bytes(64 << 10)
}

fn open_with(disk: &SimDisk, options: &Options) -> EventStore {
    EventStore::open_on(Arc::new(disk.clone()), options).unwrap()
}

fn open(disk: &SimDisk) -> EventStore {
    open_with(disk, &options())
}

fn append(store: &EventStore, stream: &str, event: NewEvent) -> Position {
    store.append(stream, ExpectedVersion::Any, event).unwrap().last
}

fn noise() -> NewEvent {
    NewEvent::new("Noise", vec![7; 9_000])
}

/// Fills segments until there are so many.
fn fill_to(store: &EventStore, segments: usize) {
    while store.stats().segments.len() < segments {
        append(store, "noise", noise());
    }
}

/// Streams `gone` (3 events) and `both` (2, and 1 later), a source, a key and an id in the first segment, of four.
fn four_segments(store: &EventStore) {
    for _ in 0..3 {
        append(store, "gone", NewEvent::new("A", "g"));
    }
    let given = NewEvent::new("A", "b").id(EventId::from_bytes([5; 16]));
    store.batch().event("both", given).tracking("shop", 7).idempotency_key("request-1").commit().unwrap();
    append(store, "both", NewEvent::new("B", "b").tag("early"));
    fill_to(store, 2);
    append(store, "both", NewEvent::new("A", "b"));
    fill_to(store, 4);
}

fn truncate(store: &EventStore, before: u64) -> Truncation {
    store.truncate_before(pos(before), Guard::Consumers).unwrap()
}

/// The first position of each segment.
fn begins(store: &EventStore) -> Vec<u64> {
    store.stats().segments.iter().map(|segment| segment.base.get() + 1).collect()
}

/// A store of four segments of which the first is gone, and where the second begins.
fn truncated() -> (SimDisk, EventStore, u64) {
    let disk = SimDisk::new(1);
    let store = open(&disk);
    four_segments(&store);
    let second = begins(&store)[1];
    truncate(&store, second);
    (disk, store, second)
}

#[track_caller]
fn check_truncated<T: std::fmt::Debug>(answer: Result<T, ReadError>, oldest: u64) {
    match answer {
        Err(ReadError::Truncated { oldest: told }) => assert_eq!(told, pos(oldest)),
        other => panic!("{other:?}"),
    }
}

fn positions(reader: annals::Reader) -> Vec<Result<u64, u64>> {
    let told = |error| match error {
        ReadError::Truncated { oldest } => oldest.get(),
        error => panic!("{error}"),
    };
    reader.map(|event| event.map(|event| event.position().get()).map_err(told)).collect()
}

// What goes.

#[test]
fn whole_segments_go_up_to_the_one_that_holds_the_position() {
    let disk = SimDisk::new(1);
    let store = open(&disk);
    four_segments(&store);
    let (starts, head) = (begins(&store), store.head().get());
    let bytes: u64 = store.stats().segments[..2].iter().map(|segment| segment.bytes).sum();
    for before in [0, 1, 2, starts[1] - 1] {
        assert_eq!(truncate(&store, before).segments, 0, "{before}");
    }
    let planned = store.plan_truncation(pos(starts[2] + 1)).unwrap();
    assert_eq!(begins(&store), starts, "a plan removes nothing");
    let done = truncate(&store, starts[2] + 1);
    assert_eq!(done, planned);
    assert_eq!((done.segments, done.events, done.bytes), (2, starts[2] - 1, bytes));
    assert_eq!((done.oldest, store.oldest()), (pos(starts[2]), pos(starts[2])));
    assert_eq!(begins(&store), starts[2..]);
    let stats = store.stats();
    assert_eq!((stats.total_events, stats.retained_events), (head, head + 1 - starts[2]));
    // The newest one stays, whatever is asked.
    assert_eq!(truncate(&store, u64::MAX).segments, 1);
    assert_eq!(truncate(&store, u64::MAX).segments, 0);
    assert_eq!(begins(&store), starts[3..]);
    assert_eq!(append(&store, "gone", NewEvent::new("A", "")), pos(head + 1));
}

#[test]
fn the_files_of_what_was_removed_are_gone_with_what_was_derived_from_them() {
    let (disk, store, _) = truncated();
    let paths = || disk.paths().into_iter().filter(|path| path.contains("00000000000000000000")).collect::<Vec<_>>();
    assert!(!paths().iter().any(|path| path.starts_with("seg/00000000000000000000-")), "{:?}", paths());
    assert!(!paths().iter().any(|path| path.starts_with("idx/00000000000000000000")), "{:?}", paths());
    assert!(disk.paths().iter().any(|path| path == "floor"));
    drop(store);
    assert!(open(&disk).recovery_report().is_clean());
}

#[test]
fn truncation_asks_the_disk_for_things_in_an_order_that_survives_a_crash_between_any_two() {
    let disk = SimDisk::new(1);
    four_segments(&open(&disk));
    let store = open(&disk);
    let before = pos(begins(&store)[2]);
    let asked = crate::support::asked(&disk, || store.truncate_before(before, Guard::Consumers).unwrap());
    let expected = [
        "create floor.tmp",
        "write_at floor.tmp",
        "write_at floor.tmp",
        "sync floor.tmp",
        "rename floor.tmp",
        "sync_dir",
        // The slot that was read, and then the other one.
        "write_at store.meta",
        "sync store.meta",
        "write_at store.meta",
        "sync store.meta",
        "write_at WATERMARK",
        "remove seg",
        "remove seg",
        "sync_dir seg",
        "remove idx",
        "remove idx",
    ];
    assert_eq!(asked, expected);
}

// What stays known.

#[test]
fn versions_infos_and_expectations_of_streams_survive_their_events() {
    let check = |store: &EventStore, second: u64| {
        let version = |stream: &str| store.stream_version(stream).unwrap().get();
        assert_eq!((version("gone"), version("both"), version("never")), (3, 3, 0));
        let info = store.stream_info("gone").unwrap().unwrap();
        assert_eq!((info.version.get(), info.last_position), (3, pos(3)));
        assert_eq!(store.stream_info("never").unwrap(), None);
        let names: Vec<_> = store.streams("").unwrap().into_iter().map(|info| info.stream.to_string()).collect();
        assert_eq!(names, ["both", "gone", "noise"]);
        assert_eq!(store.streams("go").unwrap(), [info]);
        assert_eq!(store.stream_count().unwrap(), 3);
        let refused = store.append("gone", ExpectedVersion::NoStream, NewEvent::new("A", ""));
        match refused {
            Err(AppendError::ConcurrencyConflict { actual, last_position, .. }) => {
                assert_eq!((actual.get(), last_position), (3, pos(3)));
            }
            Err(AppendError::ReadOnly) => {}
            other => panic!("{other:?}"),
        }
        assert_eq!(store.oldest(), pos(second));
    };
    let (disk, store, second) = truncated();
    check(&store, second);
    drop(store);
    let store = open(&disk);
    check(&store, second);
    check(&open_read_only(&disk).unwrap(), second);
    let third = StreamVersion::new(3);
    let done = store.append("gone", ExpectedVersion::Exact(third), NewEvent::new("A", "")).unwrap();
    assert_eq!(done.version.get(), 4);
    assert_eq!(store.read_stream("gone", third).unwrap().count(), 1);
}

#[test]
fn a_second_truncation_keeps_what_the_first_one_knew() {
    let (disk, store, _) = truncated();
    append(&store, "late", NewEvent::new("A", ""));
    fill_to(&store, 5);
    append(&store, "gone", NewEvent::new("A", ""));
    truncate(&store, u64::MAX);
    drop(store);
    let store = open(&disk);
    let version = |stream: &str| store.stream_version(stream).unwrap().get();
    assert_eq!((version("gone"), version("both"), version("late")), (4, 3, 1));
    assert_eq!(store.stream_info("both").unwrap().unwrap().version.get(), 3);
    assert_eq!(store.tracking("shop").unwrap(), Some(7));
}

#[test]
fn tracking_survives_and_still_refuses_what_was_processed() {
    let (disk, store, _) = truncated();
    drop(store);
    let store = open(&disk);
    assert_eq!(store.tracking("shop").unwrap(), Some(7));
    let again = store.batch().event("a", NewEvent::new("A", "")).tracking("shop", 7).commit();
    assert!(matches!(again, Err(AppendError::TrackingConflict { recorded: 7, .. })), "{again:?}");
    store.batch().tracking("shop", 8).commit().unwrap();
    assert_eq!(store.tracking("shop").unwrap(), Some(8));
}

#[test]
fn ids_and_keys_are_forgotten_with_their_events() {
    let (_, store, _) = truncated();
    let id = EventId::from_bytes([5; 16]);
    assert_eq!(store.get_event(id).unwrap(), None);
    assert_eq!(store.find_append("request-1").unwrap(), None);
    let again = store.batch().event("both", NewEvent::new("A", "b").id(id)).idempotency_key("request-1").commit();
    assert_eq!(again.unwrap().outcome, Outcome::Appended);
}

#[test]
fn positions_and_times_go_on_where_the_removed_events_ended() {
    let disk = SimDisk::new(1);
    let clock = Arc::new(Set::default());
    let options = options().clock(Arc::clone(&clock) as Arc<dyn Clock>);
    let store = open_with(&disk, &options);
    clock.0.store(5_000, Ordering::Relaxed);
    fill_to(&store, 2);
    let head = store.head();
    store.truncate_before(Position::END, Guard::Consumers).unwrap();
    assert_eq!(store.stats().retained_events, 1, "that of the roll itself");
    drop(store);
    // The clock goes back while the store is closed.
    clock.0.store(1_000, Ordering::Relaxed);
    let store = open_with(&disk, &options);
    let done = store.append("a", ExpectedVersion::Any, NewEvent::new("A", "")).unwrap();
    assert_eq!((done.first, done.recorded_at), (head.plus(1), 5_000));
}

// Who is told.

#[test]
fn reading_from_before_the_oldest_event_tells_so_first_and_is_never_a_short_answer() {
    let (disk, store, second) = truncated();
    let reader = open_read_only(&disk).unwrap();
    let head = store.head().get();
    for store in [&store, &reader] {
        for after in [0, 1, second - 2] {
            assert_eq!(positions(store.read_all(pos(after))), [Err(second)], "after {after}");
            let left = positions(store.read_all(pos(after)).allow_truncated());
            assert!(left.into_iter().eq((second..=head).map(Ok)), "after {after}");
            check_truncated(store.get(pos(after + 1)), second);
        }
        assert!(positions(store.read_all(pos(second - 1))).into_iter().eq((second..=head).map(Ok)));
        assert_eq!(store.get(pos(second)).unwrap().unwrap().position(), pos(second));
        assert_eq!(store.get(Position::START).unwrap(), None);
        // What ends before it was asked for what is gone, and nothing else.
        assert_eq!(positions(store.read_all(Position::START).until(pos(3))), [Err(second)]);
        assert_eq!(positions(store.read_all(Position::START).limit(2)), [Err(second)]);
        assert_eq!(positions(store.read_all(pos(3)).until(pos(3))), []);
    }
}

#[test]
fn reading_backward_gives_what_is_there_and_then_tells_that_there_was_more() {
    let (_, store, second) = truncated();
    let head = store.head().get();
    let mut expected: Vec<_> = (second..=head).rev().map(Ok).collect();
    let backward = || store.read_all(Position::END).backward();
    assert_eq!(positions(backward().until(pos(second))), expected);
    assert_eq!(positions(backward().allow_truncated()), expected);
    assert_eq!(positions(backward().limit(2)), expected[..2]);
    assert_eq!(positions(backward().limit(head + 1 - second)), expected);
    expected.push(Err(second));
    assert_eq!(positions(backward()), expected);
    assert_eq!(positions(store.read_all(pos(second)).backward()), [Err(second)]);
    assert_eq!(positions(store.read_all(pos(1)).backward()), [], "before the first event there never was one");
}

#[test]
fn a_stream_tells_what_of_it_is_gone_and_one_that_is_whole_says_nothing() {
    let (_, store, second) = truncated();
    let read = |stream: &str, after: u64| store.read_stream(stream, StreamVersion::new(after)).unwrap();
    let of_both = positions(read("both", 2));
    assert_eq!(of_both.len(), 1, "the third is there");
    for after in [0, 1] {
        assert_eq!(positions(read("both", after)), [Err(second)]);
        assert_eq!(positions(read("both", after).allow_truncated()), of_both);
    }
    for after in 0..3 {
        assert_eq!(positions(read("gone", after)), [Err(second)]);
        assert_eq!(positions(read("gone", after).allow_truncated()), []);
    }
    assert_eq!(positions(read("gone", 3)), []);
    assert_eq!(positions(read("never", 0)), []);
    append(&store, "new", NewEvent::new("A", ""));
    assert_eq!(positions(read("new", 0)), [Ok(store.head().get())], "a stream that began later is whole");

    let backward = |stream: &str| store.read_stream(stream, StreamVersion::END).unwrap().backward();
    assert_eq!(positions(backward("both")), [of_both[0], Err(second)]);
    assert_eq!(positions(backward("both").limit(1)), of_both);
    assert_eq!(positions(backward("gone")), [Err(second)]);
    assert_eq!(positions(backward("new")), [Ok(store.head().get())]);
    assert_eq!(positions(read("gone", 1).backward()), [], "before its first event there never was one");
}

#[test]
fn a_query_tells_that_something_was_removed_unless_its_times_rule_that_out() {
    let disk = SimDisk::new(1);
    let clock = Arc::new(Set::default());
    let store = open_with(&disk, &options().clock(Arc::clone(&clock) as Arc<dyn Clock>));
    let at = |time| clock.0.store(time, Ordering::Relaxed);
    at(100);
    fill_to(&store, 2);
    at(200);
    append(&store, "a", NewEvent::new("A", ""));
    fill_to(&store, 3);
    let second = begins(&store)[1];
    truncate(&store, second);
    let read = |after| store.read(QueryItem::new().event_type("A"), after).unwrap();
    let of_a = positions(read(pos(second)));
    assert_eq!(of_a.len(), 1);
    assert_eq!(positions(read(Position::START)), [Err(second)]);
    assert_eq!(positions(read(Position::START).allow_truncated()), of_a);
    assert_eq!(positions(read(Position::END).backward().limit(1)), of_a);
    assert_eq!(positions(read(Position::END).backward()), [of_a[0], Err(second)]);
    // The last event that was removed was recorded at 100.
    assert_eq!(positions(read(Position::START).recorded_between(101, 300)), of_a);
    assert_eq!(positions(read(Position::END).backward().recorded_between(101, 300)), of_a);
    assert_eq!(positions(read(Position::START).recorded_between(100, 300)), [Err(second)]);
    let all = store.read_all(Position::START).recorded_between(200, 201);
    assert!(positions(all).into_iter().all(|position| position.is_ok()));
    assert_eq!(store.position_at(150).unwrap(), store.position_at(100).unwrap());
    assert_eq!(store.position_at(99).unwrap(), pos(second - 1));
}

#[test]
fn subscriptions_from_before_the_floor_are_refused_and_running_ones_end_with_the_reason() {
    let disk = SimDisk::new(1);
    let store = open(&disk);
    four_segments(&store);
    let second = begins(&store)[1];
    let mut slow = store.subscribe(Position::START, QueryItem::new().stream("gone")).unwrap();
    let mut damaged = store.subscribe(Position::START, Query::All).unwrap().skip_damaged();
    let mut pinned = store.subscribe(Position::START, Query::All).unwrap();
    assert!(matches!(pinned.try_next().unwrap(), Some(Delivery::Event(_))));
    truncate(&store, second);
    for (after, is_refused) in [(0, true), (second - 2, true), (second - 1, false)] {
        match store.subscribe(pos(after), Query::All) {
            Err(SubscribeError::Truncated { oldest }) => assert!(is_refused && oldest == pos(second), "{after}"),
            subscribed => assert!(!is_refused && subscribed.is_ok(), "{after}: {subscribed:?}"),
        }
    }
    // One that had begun to read goes on with what it has pinned.
    let mut seen = 1;
    while let Some(Delivery::Event(event)) = pinned.try_next().unwrap() {
        seen += 1;
        assert_eq!(event.position, pos(seen));
    }
    assert_eq!(pos(seen), store.head());
    for subscription in [&mut slow, &mut damaged] {
        check_truncated(subscription.try_next(), second);
        assert!(subscription.is_ended());
        assert_eq!(annals::Subscription::position(subscription), Position::START);
        assert!(subscription.try_next().unwrap().is_none());
    }
}

#[test]
fn readers_that_were_made_before_go_on_undisturbed() {
    for pread in [false, true] {
        let disk = SimDisk::new(1);
        let store = open_with(&disk, &options().pread(pread));
        four_segments(&store);
        let head = store.head().get();
        let mut all = store.read_all(Position::START);
        let first = all.next().unwrap().unwrap();
        let [stream, query] = [
            store.read_stream("gone", StreamVersion::EMPTY).unwrap(),
            store.read(QueryItem::new().event_type("A"), Position::START).unwrap(),
        ];
        truncate(&store, u64::MAX);
        assert_eq!(
            all.map(Result::unwrap).map(|event| event.position().get()).collect::<Vec<_>>(),
            (2..=head).collect::<Vec<_>>()
        );
        assert_eq!(positions(stream), [Ok(1), Ok(2), Ok(3)]);
        assert_eq!(positions(query)[..4], [Ok(1), Ok(2), Ok(3), Ok(4)]);
        assert_eq!((first.stream(), &first.data()[..]), ("gone", &b"g"[..]));
    }
}

#[test]
fn a_condition_on_what_was_removed_cannot_be_told_and_says_so() {
    let (_, store, second) = truncated();
    let early = || QueryItem::new().tag("early");
    let commit = |condition: AppendCondition| {
        store.batch().event("c", NewEvent::new("A", "").tag("late")).condition(condition).commit()
    };
    let check = |answer: Result<_, AppendError>| match answer {
        Err(AppendError::Truncated { oldest }) => assert_eq!(oldest, pos(second)),
        other => panic!("{other:?}"),
    };
    check(commit(AppendCondition::fail_if_match(early())));
    check(commit(AppendCondition::fail_if_match(early()).after(pos(second - 2))));
    check(commit(AppendCondition::default().fail_if_exists(early())));
    commit(AppendCondition::fail_if_match(early()).after(pos(second - 1))).unwrap();
    // What is there contradicts it, whatever was removed; but for who names a position, he has to read again.
    let late = || QueryItem::new().tag("late");
    let refused = commit(AppendCondition::default().fail_if_exists(late()));
    assert!(matches!(refused, Err(AppendError::ConditionFailed { .. })), "{refused:?}");
    check(commit(AppendCondition::fail_if_match(late()).after(Position::START)));
    commit(AppendCondition::default().fail_if_exists(early()).allow_truncated()).unwrap();

    let decided = store.append_if(early(), |mut found, batch| {
        check_truncated(found.next_event().map(drop), second);
        Ok::<_, AppendError>(Some(batch.event("c", NewEvent::new("A", ""))))
    });
    assert!(decided.unwrap().is_some(), "who decides on what is left may");
}

#[test]
fn whoever_is_behind_is_named_and_nothing_goes_unless_it_is_forced() {
    let disk = SimDisk::new(1);
    let store = open(&disk);
    four_segments(&store);
    let starts = begins(&store);
    let [slow, quick] = ["slow", "quick"].map(|name| store.consumer(name).unwrap());
    slow.checkpoint(pos(starts[1] - 2)).unwrap();
    quick.checkpoint(pos(starts[1] - 1)).unwrap();
    let refused = store.truncate_before(pos(starts[1]), Guard::default());
    let Err(error @ TruncateError::Behind { .. }) = refused else { panic!("{refused:?}") };
    assert_eq!(
        error.to_string(),
        format!(
            "consumer slow (at {}) is behind position {}: wait, or remove what is not needed, or force it",
            starts[1] - 2,
            starts[1]
        )
    );
    assert_eq!(begins(&store), starts);
    let plan = store.plan_truncation(pos(starts[2])).unwrap();
    let behind: Vec<_> = plan.behind.iter().map(|holder| (&*holder.name, holder.kind)).collect();
    assert_eq!(behind, [("quick", HolderKind::Consumer), ("slow", HolderKind::Consumer)]);

    slow.checkpoint(pos(starts[1] - 1)).unwrap();
    truncate(&store, starts[1]);
    let done = store.truncate_before(pos(starts[2]), Guard::Force).unwrap();
    assert_eq!((done.segments, done.behind.len()), (1, 2));
    let refused = slow.subscribe(Query::All);
    assert!(matches!(refused, Err(SubscribeError::Truncated { oldest }) if oldest == pos(starts[2])), "{refused:?}");
    drop((slow, quick, store));
    let again = open(&disk).consumer("slow");
    assert!(matches!(again, Err(KeepError::Truncated { oldest }) if oldest == pos(starts[2])), "{again:?}");
}

#[test]
fn a_consumer_whose_file_cannot_be_read_keeps_everything() {
    let disk = SimDisk::new(1);
    let store = open(&disk);
    four_segments(&store);
    store.consumer("hurt").unwrap().checkpoint(store.head()).unwrap();
    for bit in [0, 4096 * 8] {
        disk.flip("consumers/hurt", bit);
    }
    let refused = store.truncate_before(Position::END, Guard::Consumers);
    let Err(TruncateError::Behind { holders, .. }) = refused else { panic!("{refused:?}") };
    assert_eq!((&*holders[0].name, holders[0].position), ("hurt", None));
}

#[test]
fn a_store_that_is_only_read_removes_nothing() {
    let (disk, _store, _) = truncated();
    let reader = open_read_only(&disk).unwrap();
    let refused = reader.truncate_before(Position::END, Guard::Force);
    assert!(matches!(refused, Err(TruncateError::ReadOnly)), "{refused:?}");
    assert_eq!(reader.plan_truncation(Position::END).unwrap().segments, 2);
}

// Other processes.

#[test]
fn a_reader_in_another_process_learns_of_it_as_truncated() {
    let disk = SimDisk::new(1);
    let store = open(&disk);
    four_segments(&store);
    let reader = open_read_only(&disk).unwrap();
    let mut all = reader.read_all(Position::START);
    assert!(all.next().unwrap().is_ok());
    let mut following = reader.subscribe(Position::START, Query::All).unwrap();
    let (second, head) = (begins(&store)[1], store.head().get());
    truncate(&store, second);
    assert_eq!(positions(reader.read_all(Position::START)), [Err(second)]);
    assert_eq!(reader.oldest(), pos(second));
    assert_eq!(begins(&reader), begins(&store));
    assert_eq!(reader.stream_version("gone").unwrap().get(), 3);
    check_truncated(following.try_next(), second);
    assert!(all.map(|event| event.unwrap().position().get()).eq(2..=head), "what it was reading it goes on reading");
}

#[test]
fn a_reader_in_another_process_that_was_left_far_behind_finds_the_log_again() {
    let disk = SimDisk::new(1);
    let store = open(&disk);
    four_segments(&store);
    let reader = open_read_only(&disk).unwrap();
    let seen = reader.head();
    let mut following = reader.subscribe(seen, Query::All).unwrap();
    fill_to(&store, 7);
    truncate(&store, u64::MAX);
    append(&store, "gone", NewEvent::new("A", ""));
    // The segment that it would take in next is not there any more.
    let oldest = store.oldest().get();
    check_truncated(following.try_next(), oldest);
    assert_eq!((reader.head(), reader.oldest()), (store.head(), store.oldest()));
    assert_eq!(reader.stream_version("gone").unwrap().get(), 4);
    assert!(positions(reader.read_all(pos(oldest - 1))).into_iter().eq((oldest..=store.head().get()).map(Ok)));
    append(&store, "gone", NewEvent::new("A", ""));
    assert_eq!(reader.head(), store.head(), "and goes on following");
}

#[test]
fn buffered_events_do_not_keep_a_truncation_from_others_for_ever() {
    let disk = SimDisk::new(1);
    let store = open_with(&disk, &options().durability(Durability::Buffered));
    four_segments(&store);
    store.flush().unwrap();
    let reader = open_read_only(&disk).unwrap();
    append(&store, "a", NewEvent::new("A", ""));
    let second = begins(&store)[1];
    truncate(&store, second);
    store.flush().unwrap();
    assert_eq!(reader.head(), store.head());
    assert_eq!(reader.oldest(), pos(second));
}

// Crashes and damage.

#[test]
fn segments_that_an_interrupted_truncation_has_left_are_removed_at_the_next_open() {
    let (disk, store, second) = truncated();
    let left = SimDisk::new(1);
    {
        let store = open(&left);
        four_segments(&store);
    }
    drop(store);
    let kept = disk.paths();
    // The same log once more, cut between the floor and the unlinking.
    let store = open(&left);
    let operations = left.operations();
    let before = pos(begins(&store)[1]);
    assert_eq!(before, pos(second));
    // Seven operations come before the first file goes: six of the floor, of which two are writes, and two of store.meta.
    left.stop_at(operations + 10);
    let _ = store.truncate_before(before, Guard::Consumers);
    drop(store);
    let left = left.after_kill();
    assert!(left.paths().iter().any(|path| path.starts_with("seg/00000000000000000000-")), "{:?}", left.paths());
    let reader = open_read_only(&left).unwrap();
    assert_eq!(reader.oldest(), pos(second), "a reader leaves out what is to go");
    let report = inspect::verify_on(&left, |_, _| ()).unwrap();
    assert!(report.is_clean(), "{:?}", report.findings);
    assert!(report.unused_files.iter().any(|path| path.contains("seg")), "{:?}", report.unused_files);
    let store = open(&left);
    assert_eq!(store.recovery_report().finished_retention.len(), 1);
    assert_eq!(store.oldest(), pos(second));
    assert_eq!(left.paths().len(), kept.len());
    drop(store);
    assert!(open(&left).recovery_report().is_clean());
}

#[test]
fn a_slot_of_store_meta_that_rots_does_not_make_a_hole_of_a_truncation() {
    let (disk, store, second) = truncated();
    drop(store);
    let meta = disk.read_file("store.meta").unwrap();
    let newest = annals_codec::StoreMeta::decode(&meta).unwrap();
    disk.flip("store.meta", (newest.slot_offset() + 100) * 8);
    assert_eq!(open_read_only(&disk).unwrap().oldest(), pos(second));
    let store = open(&disk);
    assert_eq!(store.oldest(), pos(second));
    assert_eq!(store.stream_version("gone").unwrap().get(), 3);
    drop(store);
    let meta = annals_codec::StoreMeta::decode(&disk.read_file("store.meta").unwrap()).unwrap();
    assert_eq!((meta.floor, meta.floor_base), (newest.floor, newest.floor_base));
}

#[test]
fn without_its_floor_a_truncated_store_is_not_written_and_its_events_can_still_be_read() {
    let (disk, store, second) = truncated();
    let head = store.head().get();
    drop(store);
    let storage: &dyn annals::storage::Storage = &disk;
    storage.remove("floor").unwrap();
    let refused = EventStore::open_on(Arc::new(disk.clone()), &options());
    assert!(matches!(&refused, Err(OpenError::Corrupt(damage)) if damage.fault.contains("missing")), "{refused:?}");
    let reader = open_read_only(&disk).unwrap();
    assert!(positions(reader.read_all(pos(second - 1))).into_iter().eq((second..=head).map(Ok)));
    assert_eq!(reader.stream_version("noise").unwrap().get(), head - 6, "what segments know they tell");
    let lost = reader.stream_version("gone");
    assert!(matches!(lost, Err(ReadError::Corrupt(_))), "{lost:?}");
    let report = inspect::verify_on(&disk, |_, _| ()).unwrap();
    assert!(report.findings.iter().any(|finding| finding.kind == inspect::FindingKind::Floor), "{:?}", report.findings);
}

#[test]
fn a_flipped_bit_of_the_floor_is_told_and_gives_no_other_version() {
    let (disk, store, _) = truncated();
    drop(store);
    let bits = 8 * disk.file_len("floor").unwrap();
    for bit in (0..bits).step_by(7) {
        let hurt = disk.fork();
        hurt.flip("floor", bit);
        let report = inspect::verify_on(&hurt, |_, _| ()).unwrap();
        assert!(!report.is_clean(), "bit {bit}");
        match EventStore::open_on(Arc::new(hurt.clone()), &options()) {
            Err(OpenError::Corrupt(_) | OpenError::Newer { .. }) => {}
            Err(error) => panic!("bit {bit}: {error}"),
            Ok(store) => {
                for (stream, version) in [("gone", 3), ("both", 3), ("noise", 1)] {
                    match store.stream_version(stream) {
                        Ok(found) => assert!(found.get() == version || stream == "noise", "bit {bit}: {stream}"),
                        Err(ReadError::Corrupt(damage)) => {
                            assert!(damage.file.contains("floor"), "bit {bit}: {damage}");
                        }
                        Err(error) => panic!("bit {bit}: {error}"),
                    }
                }
            }
        }
    }
}

#[test]
fn verify_begins_at_the_floor_and_says_what_it_goes_on_from() {
    let (disk, store, second) = truncated();
    append(&store, "gone", NewEvent::new("A", ""));
    let (head, removed) = (store.head().get(), second - 1);
    drop(store);
    let report = inspect::verify_on(&disk, |_, _| ()).unwrap();
    assert!(report.is_clean(), "{:?}", report.findings);
    assert_eq!((report.events, report.head), (head - removed, pos(head)));
    let anchor = report.anchor.unwrap();
    assert_eq!((anchor.position, anchor.streams), (pos(removed), 3));
    assert!(anchor.recorded_at > 0 && anchor.removed_at >= anchor.recorded_at);
    let whole = SimDisk::new(2);
    four_segments(&open(&whole));
    assert_eq!(inspect::verify_on(&whole, |_, _| ()).unwrap().anchor, None);
}

#[test]
fn a_full_disk_keeps_everything_and_the_store_goes_on() {
    let disk = SimDisk::new(1);
    let store = open(&disk);
    four_segments(&store);
    let starts = begins(&store);
    disk.set_capacity(Some(disk.used()));
    let refused = store.truncate_before(Position::END, Guard::Consumers);
    assert!(matches!(refused, Err(TruncateError::StorageFull)), "{refused:?}");
    assert_eq!(begins(&store), starts);
    disk.set_capacity(None);
    append(&store, "a", NewEvent::new("A", ""));
    assert_eq!(truncate(&store, u64::MAX).segments, 3);
}

// Policies.

#[test]
fn a_policy_keeps_at_least_what_it_says_and_what_any_of_its_limits_keeps() {
    let day = 86_400_000_000_000_i64;
    let clock = Arc::new(Set::default());
    let disk = SimDisk::new(1);
    let store = open_with(&disk, &options().clock(Arc::clone(&clock) as Arc<dyn Clock>));
    for segment in 1..=5 {
        clock.0.store(i64::try_from(segment).unwrap() * day, Ordering::Relaxed);
        fill_to(&store, segment);
        append(&store, "noise", noise());
    }
    let (starts, head) = (begins(&store), store.head().get());
    let bytes: Vec<u64> = store.stats().segments.iter().map(|segment| segment.bytes).collect();
    let from = |retention: Retention| store.plan_truncation(store.kept_from(&retention)).unwrap().oldest.get();
    assert_eq!(from(Retention::new()), 1);
    assert_eq!(from(Retention::new().events(head)), 1);
    assert_eq!(from(Retention::new().events(head + 1 - starts[2])), starts[2]);
    assert_eq!(from(Retention::new().events(head + 1 - starts[2] + 1)), starts[1]);
    assert_eq!(from(Retention::new().events(0)), starts[4]);
    assert_eq!(from(Retention::new().bytes(bytes[4])), starts[4]);
    assert_eq!(from(Retention::new().bytes(bytes[4] + 1)), starts[3]);
    assert_eq!(from(Retention::new().bytes(0)), starts[4]);
    assert_eq!(from(Retention::new().bytes(u64::MAX)), 1);
    // It is day 5, and on each day the segment of the day before was filled up.
    let days = |days: u64| Retention::new().age(Duration::from_secs(days * 86_400));
    assert_eq!(from(days(5)), 1);
    assert_eq!(from(days(0)), starts[3]);
    assert_eq!(from(days(1)), starts[2]);
    assert_eq!(from(days(0).events(head)), 1, "what one limit keeps stays");
    assert_eq!(from(days(0).bytes(bytes[4] + bytes[3] + 1)), starts[2]);
}

#[test]
fn a_store_that_is_to_keep_so_many_events_removes_the_others_as_it_rolls() {
    let disk = SimDisk::new(1);
    let options = options().retention(Retention::new().events(20));
    let store = open_with(&disk, &options);
    for _ in 0..100 {
        append(&store, "noise", noise());
        store.maintain().unwrap();
    }
    let retained = store.stats().retained_events;
    assert!((20..30).contains(&retained), "{retained}");
    let consumer = store.consumer("slow").unwrap();
    consumer.rewind(store.oldest()).unwrap();
    for _ in 0..50 {
        append(&store, "noise", noise());
        store.maintain().unwrap();
    }
    assert_eq!(store.stats().retained_events, retained + 50, "nobody takes away what somebody needs");
    consumer.checkpoint(store.head()).unwrap();
    store.maintain().unwrap();
    assert!((20..30).contains(&store.stats().retained_events));
}

#[test]
fn retention_beside_the_writer_happens_in_the_background() {
    let retention = Retention::new().events(50);
    let store = EventStore::in_memory(&Options::new().segment_bytes(64 << 10).retention(retention)).unwrap();
    for _ in 0..500 {
        append(&store, "noise", noise());
    }
    for _ in 0..1_000 {
        if store.stats().retained_events < 70 {
            return;
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    panic!("{} events are still there", store.stats().retained_events);
}

// What systems before got wrong.

#[test]
fn a_log_that_was_emptied_as_far_as_can_be_goes_on_counting_and_verifies_before_and_after_the_next_append() {
    let disk = SimDisk::new(1);
    let store = open(&disk);
    four_segments(&store);
    // The newest segment has one event, of the roll.
    let (head, before) = (store.head(), store.stats());
    let done = store.truncate_to(&Retention::new().events(0), Guard::Consumers).unwrap();
    assert_eq!(done.events, before.retained_events - store.stats().retained_events, "what it says is what went");
    let after = store.stats();
    assert_eq!((after.head, after.total_events), (before.head, before.total_events));
    assert_eq!(after.retained_events, after.head.get() + 1 - after.oldest.get());
    assert!(after.oldest > before.oldest && after.oldest <= after.head.plus(1));
    let verified = || {
        let report = inspect::verify_on(&disk, |_, _| ()).unwrap();
        assert!(report.is_clean(), "{:?}", report.findings);
        report
    };
    let anchor = verified().anchor.unwrap();
    assert_eq!(append(&store, "noise", noise()), head.plus(1));
    assert_eq!(verified().anchor, Some(anchor), "the chain goes on from the same place");
    // Once more there is nothing to remove, and nothing is said to have been.
    let nothing = store.truncate_to(&Retention::new().events(0), Guard::Consumers).unwrap();
    assert_eq!((nothing.segments, nothing.events), (0, 0));
}

#[test]
fn losing_the_tail_of_a_truncated_log_is_still_noticed() {
    let (disk, store, _) = truncated();
    drop(store);
    let newest = disk.paths().into_iter().rfind(|path| path.starts_with("seg/")).unwrap();
    let storage: &dyn annals::storage::Storage = &disk;
    storage.open(&newest, annals::storage::Access::ReadWrite).unwrap().set_len(4096).unwrap();
    let report = inspect::verify_on(&disk, |_, _| ()).unwrap();
    assert!(!report.is_clean(), "the watermark tells");
    let refused = EventStore::open_on(Arc::new(disk.clone()), &options());
    assert!(matches!(refused, Err(OpenError::Corrupt(_))), "{refused:?}");
}

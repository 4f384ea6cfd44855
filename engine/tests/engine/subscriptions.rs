//! Subscriptions: that nothing is missed and nothing comes twice, in one loop for history and live.

use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::sync::{Arc, Mutex, mpsc};
use std::task::{Context, Poll, Wake, Waker};
use std::thread::{self, Thread};
use std::time::Duration;

use annals::storage::sim::SimDisk;
use annals::{
    Delivery, Durability, Event, EventStore, ExpectedVersion, NewEvent, Options, Position, Query, QueryItem, ReadError,
    SpawnedStatus, SubscribeError, Subscription,
};
use futures_core::Stream;

use crate::places::*;

/// Longer than anything takes that does not hang.
const LONG: Duration = Duration::from_secs(30);

fn in_memory() -> EventStore {
    EventStore::in_memory(&Options::new()).unwrap()
}

fn append(store: &EventStore, stream: &str, event_type: &str) -> Position {
    store.append(stream, ExpectedVersion::Any, event(event_type)).unwrap().last
}

fn append_many(store: &EventStore, count: u64) {
    let events = (0..count).map(|_| NewEvent::new("A", ""));
    store.append_batch("many", ExpectedVersion::Any, events).unwrap();
}

/// An item in words; an event is its position.
fn shown(item: &Delivery<Event<'_>>) -> String {
    match item {
        Delivery::Event(event) => event.position.to_string(),
        Delivery::CaughtUp(at) => format!("caught up {at}"),
        Delivery::Checkpoint(at) => format!("checkpoint {at}"),
        Delivery::FellBehind { position, head } => format!("fell behind {position} of {head}"),
    }
}

/// All that is there now.
fn now(subscription: &mut Subscription) -> Vec<String> {
    let mut items = Vec::new();
    while let Some(item) = subscription.try_next().unwrap() {
        items.push(shown(&item));
    }
    items
}

/// Follows until the event at `last` was seen; the positions of all events.
fn follow_to(mut subscription: Subscription, last: u64) -> Vec<u64> {
    let mut seen = Vec::new();
    while seen.last() != Some(&last) {
        match subscription.next_within(LONG).unwrap() {
            Some(Delivery::Event(event)) => seen.push(event.position.get()),
            Some(_) => {}
            None => panic!("hangs after {:?}", seen.last()),
        }
    }
    seen
}

#[test]
fn history_comes_first_then_that_it_has_caught_up_then_each_event_as_it_is_appended() {
    on_every_store(&Options::new(), |store| {
        for _ in 0..3 {
            append(store, "a", "A");
        }
        let mut subscription = store.subscribe(pos(1), Query::All).unwrap();
        assert!(!subscription.is_live());
        assert_eq!(now(&mut subscription), ["2", "3", "caught up 3"]);
        assert!(subscription.is_live());
        assert_eq!(now(&mut subscription), [""; 0]);
        append(store, "a", "A");
        append(store, "b", "A");
        assert_eq!(now(&mut subscription), ["4", "5"]);
        assert_eq!(subscription.position(), pos(5));
    });
}

#[test]
fn every_event_comes_exactly_once_and_in_order_while_others_append_and_segments_roll() {
    let options = Options::new().durability(Durability::Buffered).segment_bytes(64 << 10);
    on_every_store(&options, |store| {
        let (writers, each) = (3, 700);
        let last = writers * each;
        thread::scope(|threads| {
            let followers: Vec<_> = (0..3)
                .map(|_| {
                    let subscription = store.subscribe(Position::START, Query::All).unwrap();
                    threads.spawn(move || follow_to(subscription, last))
                })
                .collect();
            for writer in 0..writers {
                threads.spawn(move || {
                    for _ in 0..each {
                        append(store, &format!("writer-{writer}"), "A");
                    }
                });
            }
            for follower in followers {
                assert!(follower.join().unwrap().into_iter().eq(1..=last));
            }
        });
        assert!(store.stats().segments.len() > 1, "the story has rolls in it");
    });
}

#[test]
fn a_store_in_another_process_is_followed_as_it_grows_and_rolls() {
    on_every_kind(|place| {
        let writer = place.open(&Options::new().segment_bytes(64 << 10));
        append(&writer, "a", "A");
        let reader = place.try_read().unwrap();
        let subscription = reader.subscribe(Position::START, Query::All).unwrap();
        let follower = thread::spawn(move || follow_to(subscription, 1200));
        for _ in 1..60 {
            let events = (0..20).map(|_| NewEvent::new("A", vec![7; 100]));
            writer.append_batch("a", ExpectedVersion::Any, events).unwrap();
            thread::sleep(Duration::from_micros(300));
        }
        append_many(&writer, 19);
        assert!(follower.join().unwrap().into_iter().eq(1..=1200));
        assert!(writer.stats().segments.len() > 1, "the story has rolls in it");
    });
}

#[test]
fn what_a_query_hides_is_passed_and_the_checkpoint_moves_over_it() {
    let store = in_memory();
    for event_type in ["A", "B", "A", "B", "B"] {
        append(&store, "a", event_type);
    }
    let mut subscription = store.subscribe(Position::START, QueryItem::new().event_type("A")).unwrap();
    assert_eq!(now(&mut subscription), ["1", "3", "caught up 5"]);
    append(&store, "a", "B");
    append(&store, "a", "B");
    assert_eq!(now(&mut subscription), ["checkpoint 7"]);
    append(&store, "a", "A");
    append(&store, "a", "B");
    assert_eq!(now(&mut subscription), ["8", "checkpoint 9"]);
    append(&store, "a", "A");
    assert_eq!(now(&mut subscription), ["10"], "a checkpoint would say nothing new");
}

#[test]
fn a_long_history_is_read_in_parts_and_what_is_hidden_is_told_on_the_way() {
    let store = EventStore::in_memory(&Options::new().durability(Durability::Buffered)).unwrap();
    let rare = [2, 100_000, 200_000, 300_000];
    for last in rare {
        append_many(&store, last - store.head().get() - 1);
        append(&store, "rare", "B");
    }
    let mut subscription = store.subscribe(Position::START, QueryItem::new().stream("rare")).unwrap();
    let items = now(&mut subscription);
    let (checkpoints, events): (Vec<&String>, Vec<&String>) = items.iter().partition(|item| item.contains(' '));
    assert_eq!(events, ["2", "100000", "200000", "300000"]);
    assert_eq!(checkpoints, ["checkpoint 131072", "checkpoint 262144", "caught up 300000"]);
    assert!(follow_to(store.subscribe(pos(5), Query::All).unwrap(), 300_000).into_iter().eq(6..=300_000));
}

#[test]
fn a_slow_one_is_told_that_it_fell_behind_and_misses_nothing() {
    let store = in_memory();
    let mut subscription = store.subscribe(Position::START, Query::All).unwrap().fell_behind_after(10);
    assert_eq!(now(&mut subscription), ["caught up 0"]);
    append_many(&store, 10);
    assert!(now(&mut subscription).into_iter().eq((1..=10).map(|at| at.to_string())), "ten are not too many");
    append_many(&store, 11);
    assert!(subscription.is_live());
    let mut expected = vec!["fell behind 10 of 21".to_owned()];
    expected.extend((11..=21).map(|at| at.to_string()));
    expected.push("caught up 21".to_owned());
    assert_eq!(now(&mut subscription), expected);
}

#[test]
fn a_position_beyond_the_head_is_refused_and_the_head_itself_is_not() {
    let store = in_memory();
    append(&store, "a", "A");
    let refused = store.subscribe(pos(2), Query::All).unwrap_err();
    let SubscribeError::PositionBeyondHead { position, head } = refused else { panic!("{refused:?}") };
    assert_eq!((position, head), (pos(2), pos(1)));
    assert_eq!(now(&mut store.subscribe(pos(1), Query::All).unwrap()), ["caught up 1"]);
    let refused = store.subscribe(Position::START, Query::Items(Vec::new())).unwrap_err();
    assert!(matches!(refused, SubscribeError::InvalidQuery(_)), "{refused:?}");
}

#[test]
fn waiting_ends_in_time_with_an_event_or_by_being_cancelled() {
    on_every_kind(|place| {
        let writer = place.open(&Options::new());
        for store in [writer.clone(), place.try_read().unwrap()] {
            let mut subscription = store.subscribe(store.head(), Query::All).unwrap();
            assert!(subscription.next_within(LONG).unwrap().is_some(), "it has caught up");
            assert_eq!(subscription.next_within(Duration::from_millis(20)).unwrap(), None);
            assert_eq!(subscription.next_within(Duration::ZERO).unwrap(), None);
            assert!(!subscription.is_ended(), "a timeout is no end");
            thread::scope(|threads| {
                let wanted = store.head().plus(1);
                let waiting = threads.spawn(|| shown(&subscription.next_within(LONG).unwrap().unwrap()));
                thread::sleep(Duration::from_millis(5));
                append(&writer, "a", "A");
                assert_eq!(waiting.join().unwrap(), wanted.to_string());
            });
            let canceller = subscription.canceller();
            thread::scope(|threads| {
                let waiting = threads.spawn(|| subscription.next_item().unwrap().is_none());
                thread::sleep(Duration::from_millis(5));
                canceller.clone().cancel();
                assert!(waiting.join().unwrap());
            });
            append(&writer, "a", "A");
            assert!(subscription.is_ended() && subscription.next_item().unwrap().is_none(), "cancelled for good");
        }
    });
}

#[test]
fn a_store_that_is_closed_ends_its_subscriptions_when_they_have_given_the_rest() {
    on_every_kind(|place| {
        let writer = place.open(&Options::new());
        append(&writer, "a", "A");
        let mut idle = writer.subscribe(Position::START, Query::All).unwrap();
        let reader = place.try_read().unwrap();
        let subscriptions = [&writer, &reader].map(|store| store.subscribe(Position::START, Query::All).unwrap());
        let waiting = subscriptions.map(|mut subscription| {
            thread::spawn(move || {
                let mut items = Vec::new();
                while let Some(item) = subscription.next_item().unwrap() {
                    items.push(shown(&item));
                }
                items
            })
        });
        thread::sleep(Duration::from_millis(5));
        drop(writer.batch().event("a", event("A")).submit().unwrap());
        drop(writer);
        // Of the writer's store the subscription is all that is left, and the log can be written by another.
        place.open(&Options::new());
        assert_eq!(now(&mut idle), ["1", "2", "caught up 2"]);
        assert!(idle.is_ended());
        let [of_writer, of_reader] = waiting;
        let items = of_writer.join().unwrap();
        assert!(items == ["1", "caught up 1", "2"] || items == ["1", "2", "caught up 2"], "{items:?}");
        drop(reader);
        assert!(of_reader.join().unwrap().contains(&"1".to_owned()));
    });
}

/// A store on a simulated disk, of which the event at `damaged` has a flipped bit.
fn damaged(damaged: u64) -> EventStore {
    let disk = SimDisk::new(3);
    let store = EventStore::open_on(Arc::new(disk.clone()), &quiet()).unwrap();
    for number in 1..=6 {
        store.append("a", ExpectedVersion::Any, NewEvent::new("A", format!("number {number}"))).unwrap();
    }
    let path = store.stats().segments[0].path.clone();
    let bytes = disk.read_file(&path).unwrap();
    let wanted = format!("number {damaged}");
    let at = bytes.windows(wanted.len()).position(|found| found == wanted.as_bytes()).unwrap();
    disk.flip(&path, at as u64 * 8);
    store
}

#[test]
fn damage_ends_a_subscription_unless_it_is_asked_to_go_on() {
    let store = damaged(3);
    let mut subscription = store.subscribe(Position::START, Query::All).unwrap();
    assert_eq!(shown(&subscription.next_item().unwrap().unwrap()), "1");
    assert_eq!(shown(&subscription.next_item().unwrap().unwrap()), "2");
    let error = subscription.next_item().unwrap_err();
    assert!(matches!(&error, ReadError::Corrupt(damage) if damage.from == pos(3)), "{error:?}");
    assert!(subscription.next_item().unwrap().is_none() && subscription.is_ended());
    assert_eq!(subscription.position(), pos(2), "where another one can try again");

    let mut subscription = store.subscribe(Position::START, Query::All).unwrap().skip_damaged();
    let mut seen = Vec::new();
    loop {
        match subscription.try_next() {
            Ok(Some(item)) => seen.push(shown(&item)),
            Ok(None) => break,
            Err(error) => seen.push(error.to_string().split(' ').next().unwrap().to_owned()),
        }
    }
    assert_eq!(seen, ["1", "2", "segment", "4", "5", "6", "caught up 6"]);
}

/// What a spawned subscription tells, one item at a time.
fn told(told: &mpsc::Receiver<String>) -> String {
    told.recv_timeout(LONG).expect("it goes on")
}

#[test]
fn a_callback_that_panics_ends_its_own_subscription_and_nobody_else_notices() {
    let store = in_memory();
    let (tell, seen) = mpsc::channel();
    let spawn = |panics_at: u64| {
        let tell = tell.clone();
        let callback = move |item: Delivery<Event<'_>>| {
            if let Delivery::Event(event) = &item {
                assert!(event.position.get() != panics_at, "as the test wants it");
            }
            let _ = tell.send(shown(&item));
        };
        store.spawn_subscription(Position::START, Query::All, callback).unwrap()
    };
    let good = spawn(u64::MAX);
    assert_eq!(told(&seen), "caught up 0");
    let bad = spawn(2);
    assert_eq!(told(&seen), "caught up 0");
    append(&store, "a", "A");
    assert_eq!((told(&seen), told(&seen)), ("1".to_owned(), "1".to_owned()));
    append(&store, "a", "A");
    append(&store, "a", "A");
    assert_eq!((told(&seen), told(&seen)), ("2".to_owned(), "3".to_owned()), "of the good one");
    while matches!(bad.status(), SpawnedStatus::Following) {
        thread::yield_now();
    }
    let SpawnedStatus::Faulted { at, reason } = bad.status() else { panic!("{:?}", bad.status()) };
    assert_eq!((at, reason.as_str(), bad.position()), (pos(2), "as the test wants it", pos(1)));
    assert!(matches!(good.status(), SpawnedStatus::Following));
    drop((good, bad));
    assert!(seen.try_recv().is_err());
}

#[test]
fn events_that_a_callback_appends_come_to_everybody_in_the_order_of_the_log() {
    // The systems before called its subscribers inside the append: the next one saw [2, 1].
    let store = in_memory();
    let (tell, seen) = mpsc::channel();
    let (appender, first) = (store.clone(), tell.clone());
    let echo = move |item: Delivery<Event<'_>>| {
        if let Delivery::Event(event) = item {
            if event.event_type == "Asked" {
                append(&appender, "a", "Answered");
            }
            first.send(("first", event.position.get())).unwrap();
        }
    };
    let echo = store.spawn_subscription(Position::START, Query::All, echo).unwrap();
    let second = move |item: Delivery<Event<'_>>| {
        if let Delivery::Event(event) = item {
            tell.send(("second", event.position.get())).unwrap();
        }
    };
    let second = store.spawn_subscription(Position::START, Query::All, second).unwrap();
    append(&store, "a", "Asked");
    append(&store, "a", "Asked");
    let mut orders = [("first", Vec::new()), ("second", Vec::new())];
    for _ in 0..8 {
        let (who, position) = seen.recv_timeout(LONG).unwrap();
        orders.iter_mut().find(|(name, _)| *name == who).unwrap().1.push(position);
    }
    assert_eq!(orders, [("first", vec![1, 2, 3, 4]), ("second", vec![1, 2, 3, 4])]);
    drop((echo, second));
}

#[test]
fn an_append_does_not_wait_for_who_follows() {
    let store = in_memory();
    let held = Arc::new(Mutex::new(()));
    let hold = held.lock().unwrap();
    let in_callback = Arc::clone(&held);
    let stuck = move |_: Delivery<Event<'_>>| drop(in_callback.lock());
    let stuck = store.spawn_subscription(Position::START, Query::All, stuck).unwrap();
    for _ in 0..100 {
        append(&store, "a", "A");
    }
    assert_eq!(store.head(), pos(100));
    drop(hold);
    while stuck.position() < pos(100) {
        thread::yield_now();
    }
}

struct Unpark(Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Unpark>) {
        self.0.unpark();
    }
}

/// The smallest runtime there is: nothing but wakers moves it.
fn block_on<T>(future: impl Future<Output = T>) -> T {
    let mut future = pin!(future);
    let waker = Waker::from(Arc::new(Unpark(thread::current())));
    loop {
        if let Poll::Ready(value) = future.as_mut().poll(&mut Context::from_waker(&waker)) {
            return value;
        }
        thread::park_timeout(LONG);
    }
}

#[test]
fn as_a_stream_it_gives_the_same_and_only_wakers_move_it() {
    on_every_kind(|place| {
        let writer = place.open(&Options::new());
        append(&writer, "a", "A");
        for store in [writer.clone(), place.try_read().unwrap()] {
            let last = store.head().get() + 200;
            let mut stream = store.subscribe(Position::START, Query::All).unwrap().into_stream();
            let task = thread::spawn(move || {
                block_on(async {
                    let mut seen = Vec::new();
                    while seen.last() != Some(&last) {
                        let item = poll_fn(|context| Pin::new(&mut stream).poll_next(context)).await;
                        if let Delivery::Event(event) = item.expect("nobody has ended it").unwrap() {
                            seen.push(event.position().get());
                        }
                    }
                    seen
                })
            });
            for _ in 0..200 {
                append(&writer, "a", "A");
            }
            assert!(task.join().unwrap().into_iter().eq(1..=last));
        }
    });
}

#[test]
fn a_stream_ends_when_the_store_is_closed_or_it_is_cancelled() {
    for is_cancelled in [false, true] {
        let store = in_memory();
        let mut stream = store.subscribe(Position::START, Query::All).unwrap().into_stream();
        let canceller = stream.subscription().canceller();
        let task = thread::spawn(move || {
            block_on(async { while poll_fn(|context| Pin::new(&mut stream).poll_next(context)).await.is_some() {} });
        });
        thread::sleep(Duration::from_millis(5));
        assert!(!task.is_finished());
        if is_cancelled {
            canceller.cancel();
            task.join().unwrap();
        } else {
            drop(store);
            task.join().unwrap();
        }
    }
}

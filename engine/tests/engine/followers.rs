//! Subscriptions in really separate processes, while the writer beside them is killed and started again.

use std::collections::hash_map::DefaultHasher;
use std::hash::{Hash as _, Hasher as _};
use std::path::Path;
use std::time::Duration;

use annals::{Delivery, Durability, Event, EventStore, ExpectedVersion, Position, Query, QueryItem};

use crate::places::*;
use crate::processes::{Running, command, say, small};

fn digest(event: &Event<'_>) -> u64 {
    let mut hasher = DefaultHasher::new();
    (event.stream, event.event_type, event.version.get(), event.data).hash(&mut hasher);
    hasher.finish()
}

/// The `main` of a follower: says each event that it is given behind a position, and each position that it has passed.
pub(crate) fn follow(dir: &Path, after: u64, query: &Query) {
    let store = EventStore::open_read_only(dir).unwrap();
    let mut subscription = store.subscribe(Position::new(after), query.clone()).unwrap();
    while let Some(item) = subscription.next_item().unwrap() {
        match item {
            Delivery::Event(event) => say(&format!("event {} {}", event.position, digest(&event))),
            Delivery::CaughtUp(at) | Delivery::Checkpoint(at) => say(&format!("passed {at}")),
            Delivery::FellBehind { .. } => {}
        }
    }
}

pub(crate) fn one_stream() -> Query {
    QueryItem::new().stream("s-1").into()
}

/// What a follower has said: the events that it was given, and how far it is.
#[derive(Default)]
struct Heard {
    events: Vec<(u64, u64)>,
    passed: u64,
}

impl Heard {
    fn take(&mut self, line: &str) {
        let words: Vec<&str> = line.split(' ').collect();
        match words[..] {
            ["event", position, digest] => {
                let position = position.parse().unwrap();
                assert!(position > self.passed, "{position} comes after {} was passed", self.passed);
                self.events.push((position, digest.parse().unwrap()));
                self.passed = position;
            }
            ["passed", at] => self.passed = at.parse().unwrap(),
            _ => panic!("it says {line}"),
        }
    }
}

#[test]
fn a_subscription_in_another_process_is_given_each_event_once_while_writers_are_killed_and_restarted() {
    const ROUNDS: u64 = 16;
    let seed = 20_261_122;
    println!("seed {seed}");
    let mut rng = Rng::new(seed);
    let dir = tempfile::tempdir().unwrap();
    EventStore::open(dir.path(), &small()).unwrap().close().unwrap();
    let mut everything = Running::start(command("subscribe", dir.path(), 0, &[]));
    let one = Running::start(command("subscribe to one stream", dir.path(), 0, &[]));
    let (mut all, mut some) = (Heard::default(), Heard::default());
    let mut killed_at_work = 0;
    for round in 0..ROUNDS {
        let mut writer = Running::start(command("write", dir.path(), round, &[]));
        writer.hears("it opens");
        std::thread::sleep(Duration::from_micros(rng.below(25_000)));
        killed_at_work += usize::from(!writer.kill().is_empty());
        if round % 5 == 4 {
            // The follower dies too. Whoever starts it again says what it had got.
            for line in everything.kill().iter().filter(|line| line.matches(' ').count() > 0) {
                // The last line may have been cut by the kill.
                let is_whole = |line: &str| line.starts_with("passed ") || line.split(' ').count() == 3;
                if is_whole(line) {
                    all.take(line);
                }
            }
            everything = Running::start(command("subscribe", dir.path(), all.passed, &[]));
        }
    }
    let store = EventStore::open(dir.path(), &small()).unwrap();
    let last = store.append("s-1", ExpectedVersion::Any, event("Last")).unwrap().last.get();
    for (child, heard) in [(&everything, &mut all), (&one, &mut some)] {
        while heard.passed < last {
            heard.take(&child.hears("it follows"));
        }
    }
    let log: Vec<(u64, u64)> = store
        .read_all(Position::START)
        .map(|event| event.unwrap())
        .map(|event| (event.position().get(), digest(&event.as_event())))
        .collect();
    assert!(killed_at_work > 5 && log.len() > 200, "{killed_at_work} writers, {} events", log.len());
    assert!(all.events == log, "{} events were given, and {} are there", all.events.len(), log.len());
    let of_stream: Vec<(u64, u64)> = store
        .read_stream("s-1", annals::StreamVersion::EMPTY)
        .unwrap()
        .map(|event| event.unwrap())
        .map(|event| (event.position().get(), digest(&event.as_event())))
        .collect();
    assert!(some.events == of_stream, "{} of one stream, and {} are there", some.events.len(), of_stream.len());
}

#[test]
fn a_subscription_in_another_process_is_given_what_is_durable_and_nothing_else() {
    let dir = tempfile::tempdir().unwrap();
    let store = EventStore::open(dir.path(), &small().background(false).durability(Durability::Buffered)).unwrap();
    let child = Running::start(command("subscribe", dir.path(), 0, &[]));
    assert_eq!(child.hears("it follows"), "passed 0");
    store.append_batch("s-1", ExpectedVersion::Any, [event("A"), event("B")]).unwrap();
    let early = child.lines.recv_timeout(Duration::from_millis(100));
    assert!(early.is_err(), "it was given what a power loss can take: {early:?}");
    store.flush().unwrap();
    for position in ["1", "2"] {
        assert!(child.hears("it follows").starts_with(&format!("event {position} ")));
    }
    drop(store);
}

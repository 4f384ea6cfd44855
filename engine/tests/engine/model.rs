//! Random operations on a store and on the simplest thing that could be one: a `Vec` of events.
//!
//! The same operations run on every kind of storage, so these agree with each other as well.

use std::collections::BTreeMap;

use annals::{
    AppendError, Appended, Durability, EventStore, ExpectedVersion, NewEvent, Options, Position, RecordedEvent,
    StreamVersion, Ticket, inspect,
};

use crate::places::*;

/// An event as the model keeps it; its position is its place in the `Vec`, plus one.
#[derive(Clone, Debug, Eq, PartialEq)]
struct Kept {
    stream: String,
    version: u64,
    event_type: String,
    data: Vec<u8>,
    metadata: Option<Vec<u8>>,
    tags: Vec<String>,
    occurred_at: Option<i64>,
}

#[derive(Clone, Debug)]
struct Wanted {
    events: Vec<Kept>,
    expected: Vec<(String, ExpectedVersion)>,
    tracking: Option<(String, u64)>,
    durability: Durability,
}

/// What an append answers, in short.
#[derive(Clone, Debug, Eq, PartialEq)]
enum Answer {
    Done { first: u64, last: u64, version: u64 },
    Conflict { stream: String, actual: u64, last: u64 },
    Tracking { recorded: u64 },
    Empty,
}

fn answer(result: Result<Appended, AppendError>) -> Answer {
    match result {
        Ok(done) => Answer::Done { first: done.first.get(), last: done.last.get(), version: done.version.get() },
        Err(AppendError::ConcurrencyConflict { stream, actual, last_position, .. }) => {
            Answer::Conflict { stream: stream.to_string(), actual: actual.get(), last: last_position.get() }
        }
        Err(AppendError::TrackingConflict { recorded, .. }) => Answer::Tracking { recorded },
        Err(AppendError::EmptyBatch) => Answer::Empty,
        Err(other) => panic!("{other:?}"),
    }
}

#[derive(Default)]
struct Model {
    log: Vec<Kept>,
    tracking: BTreeMap<String, u64>,
    /// Submitted, and not yet committed by anything.
    queued: Vec<Wanted>,
    answers: Vec<Answer>,
}

impl Model {
    fn of_stream(&self, stream: &str) -> Vec<&Kept> {
        self.log.iter().filter(|event| event.stream == stream).collect()
    }

    fn commit(&mut self, wanted: Wanted) -> Answer {
        if let Some((source, given)) = &wanted.tracking
            && let Some(&recorded) = self.tracking.get(source)
            && *given <= recorded
        {
            return Answer::Tracking { recorded };
        }
        for (stream, expected) in &wanted.expected {
            let actual = self.of_stream(stream).len() as u64;
            let is_met = match expected {
                ExpectedVersion::Any => true,
                ExpectedVersion::NoStream => actual == 0,
                ExpectedVersion::StreamExists => actual > 0,
                ExpectedVersion::Exact(version) => actual == version.get(),
            };
            if !is_met {
                let last = self.log.iter().rposition(|event| event.stream == *stream).map_or(0, |at| at as u64 + 1);
                return Answer::Conflict { stream: stream.clone(), actual, last };
            }
        }
        let first = self.log.len() as u64 + 1;
        let mut version = 0;
        for mut event in wanted.events {
            version = self.of_stream(&event.stream).len() as u64 + 1;
            event.version = version;
            self.log.push(event);
        }
        self.tracking.extend(wanted.tracking);
        Answer::Done { first, last: self.log.len() as u64, version }
    }

    /// Commits what is queued, in order.
    fn settle(&mut self) {
        for wanted in std::mem::take(&mut self.queued) {
            let answer = self.commit(wanted);
            self.answers.push(answer);
        }
    }
}

fn pick<'a>(rng: &mut Rng, from: &[&'a str]) -> &'a str {
    from[rng.below(from.len() as u64) as usize]
}

const STREAMS: [&str; 6] = ["a", "b-1", "b-2", "ü", "long-name-of-a-stream", "rare"];

fn some_event(rng: &mut Rng, stream: &str) -> Kept {
    let len = if rng.below(8) == 0 { rng.below(40_000) } else { rng.below(300) };
    let byte = rng.next() as u8;
    Kept {
        stream: stream.to_owned(),
        version: 0,
        event_type: pick(rng, &["Placed", "Paid", "P"]).to_owned(),
        data: vec![byte; len as usize],
        metadata: (rng.below(3) == 0).then(|| vec![byte; rng.below(50) as usize]),
        tags: (0..rng.below(3)).map(|tag| format!("tag:{tag}")).collect(),
        occurred_at: (rng.below(2) == 0).then(|| rng.next().cast_signed()),
    }
}

fn some_batch(rng: &mut Rng, model: &Model) -> Wanted {
    let one_stream = pick(rng, &STREAMS);
    let is_mixed = rng.below(3) == 0;
    let events = (0..rng.below(5)).map(|_| {
        let stream = if is_mixed { pick(rng, &STREAMS) } else { one_stream };
        some_event(rng, stream)
    });
    let events = events.collect();
    let mut expected: Vec<(String, ExpectedVersion)> = Vec::new();
    for _ in 0..rng.below(3) {
        let stream = pick(rng, &STREAMS);
        let version = model.of_stream(stream).len() as u64;
        let expectation = match rng.below(6) {
            0 => ExpectedVersion::NoStream,
            1 => ExpectedVersion::StreamExists,
            2 => ExpectedVersion::Exact(ver(version + 1)),
            3 => ExpectedVersion::Any,
            _ => ExpectedVersion::Exact(ver(version)),
        };
        if expected.iter().all(|(known, _)| known != stream) {
            expected.push((stream.to_owned(), expectation));
        }
    }
    let tracking = (rng.below(4) == 0).then(|| (pick(rng, &["kafka", "rabbit"]).to_owned(), rng.below(100)));
    let durability = if rng.below(3) == 0 { Durability::Sync } else { Durability::Buffered };
    Wanted { events, expected, tracking, durability }
}

fn build<'a>(store: &'a EventStore, wanted: &Wanted) -> annals::BatchBuilder<'a> {
    let mut batch = store.batch().durability(wanted.durability);
    for (stream, expected) in &wanted.expected {
        batch = batch.expect(stream, *expected);
    }
    for kept in &wanted.events {
        let mut new = NewEvent::new(&*kept.event_type, kept.data.clone());
        if let Some(metadata) = &kept.metadata {
            new = new.metadata(metadata.clone());
        }
        for tag in &kept.tags {
            new = new.tag(tag);
        }
        if let Some(at) = kept.occurred_at {
            new = new.occurred_at(at);
        }
        batch = batch.event(&kept.stream, new);
    }
    if let Some((source, at)) = &wanted.tracking {
        batch = batch.tracking(source, *at);
    }
    batch
}

fn kept(event: &RecordedEvent) -> (u64, Kept) {
    let lent = event.as_event();
    let kept = Kept {
        stream: lent.stream.to_owned(),
        version: lent.version.get(),
        event_type: lent.event_type.to_owned(),
        data: lent.data.to_vec(),
        metadata: lent.metadata.map(<[u8]>::to_vec),
        tags: lent.tags.iter().map(str::to_owned).collect(),
        occurred_at: lent.occurred_at,
    };
    (lent.position.get(), kept)
}

/// One read of a random kind, compared with the model.
fn check_read(rng: &mut Rng, store: &EventStore, model: &Model) {
    let all = model.log.iter().enumerate().map(|(at, event)| (at as u64 + 1, event.clone()));
    let is_backward = rng.below(2) == 0;
    let limit = if rng.below(2) == 0 { u64::MAX } else { rng.below(20) };
    let (reader, mut expected): (_, Vec<(u64, Kept)>) = if rng.below(2) == 0 {
        let bound = rng.below(model.log.len() as u64 + 3);
        let reader = store.read_all(Position::new(bound));
        (reader, all.filter(|(at, _)| if is_backward { *at < bound } else { *at > bound }).collect())
    } else {
        let stream = pick(rng, &STREAMS);
        let bound = rng.below(model.of_stream(stream).len() as u64 + 3);
        let reader = store.read_stream(stream, StreamVersion::new(bound)).unwrap();
        let of_stream = all.filter(|(_, event)| event.stream == stream);
        (reader, of_stream.filter(|(_, e)| if is_backward { e.version < bound } else { e.version > bound }).collect())
    };
    if is_backward {
        expected.reverse();
    }
    expected.truncate(usize::try_from(limit).unwrap_or(usize::MAX));
    let reader = reader.limit(limit);
    let reader = if is_backward { reader.backward() } else { reader };
    let found: Vec<(u64, Kept)> = reader.map(|event| kept(&event.unwrap())).collect();
    assert!(found == expected, "backward {is_backward}, limit {limit}: {} and {}", found.len(), expected.len());
}

fn check_facts(rng: &mut Rng, store: &EventStore, model: &Model) {
    let head = model.log.len() as u64;
    assert_eq!(store.head(), pos(head));
    assert!(store.durable_head() <= store.head());
    let position = rng.below(head + 2);
    let event = store.get(pos(position)).unwrap();
    let expected = position.checked_sub(1).and_then(|at| model.log.get(at as usize));
    assert_eq!(event.map(|event| kept(&event).1).as_ref(), expected);
    for stream in STREAMS {
        assert_eq!(store.stream_version(stream).unwrap().get(), model.of_stream(stream).len() as u64);
    }
    for source in ["kafka", "rabbit"] {
        assert_eq!(store.tracking(source).unwrap(), model.tracking.get(source).copied());
    }
    let streams: Vec<String> = store.streams("b-").unwrap().iter().map(|info| info.stream.to_string()).collect();
    let mut expected: Vec<String> =
        model.log.iter().filter(|event| event.stream.starts_with("b-")).map(|event| event.stream.clone()).collect();
    expected.sort();
    expected.dedup();
    assert_eq!(streams, expected);
}

fn check_story(place: &Place, seed: u64, options: &Options) {
    let mut rng = Rng::new(seed);
    let mut model = Model::default();
    let mut store = place.open(options);
    // Each with the number of its answer.
    let mut tickets: Vec<(usize, Ticket)> = Vec::new();
    let mut submitted = 0;
    for step in 0..120 {
        match rng.below(20) {
            0..8 => {
                let wanted = some_batch(&mut rng, &model);
                if wanted.events.is_empty() && wanted.tracking.is_none() {
                    assert_eq!(answer(build(&store, &wanted).commit()), Answer::Empty);
                } else {
                    model.settle();
                    let expected = model.commit(wanted.clone());
                    assert_eq!(answer(build(&store, &wanted).commit()), expected, "step {step}");
                }
            }
            8..11 => {
                let wanted = some_batch(&mut rng, &model);
                if !wanted.events.is_empty() {
                    let ticket = build(&store, &wanted).submit().unwrap();
                    model.queued.push(wanted);
                    if rng.below(3) > 0 {
                        tickets.push((submitted, ticket));
                    }
                    submitted += 1;
                }
            }
            11..13 if !tickets.is_empty() => {
                let (number, ticket) = tickets.swap_remove(rng.below(tickets.len() as u64) as usize);
                if number >= model.answers.len() {
                    model.settle();
                }
                assert_eq!(answer(ticket.wait()), model.answers[number], "step {step}");
            }
            13 => {
                model.settle();
                assert_eq!(store.flush().unwrap().get(), model.log.len() as u64, "step {step}");
                assert_eq!(store.durable_head(), store.head());
            }
            14 => {
                model.settle();
                drop(store);
                store = place.open(options);
                assert!(store.recovery_report().is_clean(), "step {step}: {:?}", store.recovery_report());
                assert_eq!(store.durable_head(), store.head());
            }
            15..18 => check_read(&mut rng, &store, &model),
            _ => check_facts(&mut rng, &store, &model),
        }
    }
    model.settle();
    store.close().unwrap();
    for (number, ticket) in tickets {
        assert_eq!(answer(ticket.wait()), model.answers[number], "after the end");
    }
    for store in [place.try_read().unwrap(), place.open(options)] {
        let found: Vec<Kept> = store.read_all(Position::START).map(|event| kept(&event.unwrap()).1).collect();
        assert!(found == model.log);
        for _ in 0..10 {
            check_read(&mut rng, &store, &model);
            check_facts(&mut rng, &store, &model);
        }
    }
    if let Place::Mapped(dir) | Place::Pread(dir) = place {
        let report = inspect::verify(dir.path(), |_, _| ()).unwrap();
        assert!(report.is_clean(), "{:?}", report.findings);
        assert_eq!(report.events, model.log.len() as u64);
    }
}

#[test]
fn a_store_does_what_a_vec_of_events_does() {
    for seed in 1..=24 {
        println!("seed {seed}"); // shown when it fails
        on_every_kind(|place| check_story(place, seed, &quiet()));
    }
}

//! Random operations on a store and on the simplest thing that could be one: a `Vec` of events.
//!
//! The same operations run on every kind of storage, so these agree with each other as well.

use std::collections::BTreeMap;

use annals::{
    AppendCondition, AppendError, Appended, ConditionClause, Durability, Event, EventId, EventStore, ExpectedVersion,
    NewEvent, Options, Outcome, Position, Query, QueryItem, RecordedEvent, StreamVersion, Ticket, inspect,
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
    /// One of a few, when the caller gives one.
    id: Option<u8>,
}

impl Kept {
    /// Whether both say the same, wherever they are.
    fn says_what(&self, other: &Kept) -> bool {
        let unplaced = |event: &Kept| Kept { version: 0, id: None, ..event.clone() };
        unplaced(self) == unplaced(other)
    }

    fn is_matched_by(&self, item: &Item) -> bool {
        item.event_type.is_none_or(|wanted| self.event_type == wanted)
            && item.type_prefix.is_none_or(|prefix| self.event_type.starts_with(prefix))
            && item.stream_prefix.is_none_or(|prefix| self.stream.starts_with(prefix))
            && item.tag.is_none_or(|wanted| self.tags.iter().any(|tag| tag == wanted))
    }
}

/// What a condition asks for. Without anything, it asks for everything.
#[derive(Clone, Copy, Debug, Default)]
struct Item {
    event_type: Option<&'static str>,
    /// Never with a type.
    type_prefix: Option<&'static str>,
    stream_prefix: Option<&'static str>,
    tag: Option<&'static str>,
}

#[derive(Clone, Debug, Default)]
struct Condition {
    no_match: Option<Item>,
    after: Option<u64>,
    none_exists: Option<Item>,
}

#[derive(Clone, Debug)]
struct Wanted {
    events: Vec<Kept>,
    expected: Vec<(String, ExpectedVersion)>,
    tracking: Option<(String, u64)>,
    key: Option<&'static str>,
    condition: Option<Condition>,
    durability: Durability,
}

/// What an append answers, in short.
#[derive(Clone, Debug, Eq, PartialEq)]
enum Answer {
    Done { outcome: Outcome, first: u64, last: u64, version: u64 },
    KeyReused { first: u64, last: u64 },
    IdConflict { existing: u64 },
    Partial { existing: u64 },
    Failed { clause: ConditionClause, at: u64 },
    Beyond { head: u64 },
    Conflict { stream: String, actual: u64, last: u64 },
    Tracking { recorded: u64 },
    Empty,
}

fn answer(result: Result<Appended, AppendError>) -> Answer {
    match result {
        Ok(done) => {
            let (first, last, version) = (done.first.get(), done.last.get(), done.version.get());
            Answer::Done { outcome: done.outcome, first, last, version }
        }
        Err(AppendError::IdempotencyKeyReused { original, .. }) => {
            Answer::KeyReused { first: original.first.get(), last: original.last.get() }
        }
        Err(AppendError::EventIdConflict { existing, .. }) => Answer::IdConflict { existing: existing.get() },
        Err(AppendError::PartialDuplicate { existing, .. }) => Answer::Partial { existing: existing.get() },
        Err(AppendError::ConditionFailed { clause, at }) => Answer::Failed { clause, at: at.get() },
        Err(AppendError::AfterBeyondHead { head, .. }) => Answer::Beyond { head: head.get() },
        Err(AppendError::ConcurrencyConflict { stream, actual, last_position, .. }) => {
            Answer::Conflict { stream: stream.to_string(), actual: actual.get(), last: last_position.get() }
        }
        Err(AppendError::TrackingConflict { recorded, .. }) => Answer::Tracking { recorded },
        Err(AppendError::EmptyBatch) => Answer::Empty,
        Err(other) => panic!("{other:?}"),
    }
}

/// A batch of the log: where in it its events are, and what else it said.
#[derive(Clone)]
struct Done {
    events: std::ops::Range<usize>,
    key: Option<&'static str>,
    tracking: Option<(String, u64)>,
}

#[derive(Default)]
struct Model {
    log: Vec<Kept>,
    batches: Vec<Done>,
    /// All that was ever wanted, to be wanted again.
    history: Vec<Wanted>,
    tracking: BTreeMap<String, u64>,
    /// Submitted, and not yet committed by anything.
    queued: Vec<Wanted>,
    answers: Vec<Answer>,
    /// How often each kind of answer was given.
    kinds: BTreeMap<String, u32>,
}

impl Model {
    fn of_stream(&self, stream: &str) -> Vec<&Kept> {
        self.log.iter().filter(|event| event.stream == stream).collect()
    }

    /// The answer to a batch whose events are these of the log.
    fn told(&self, outcome: Outcome, events: &std::ops::Range<usize>) -> Answer {
        let version = if events.is_empty() { 0 } else { self.log[events.end - 1].version };
        Answer::Done { outcome, first: events.start as u64 + 1, last: events.end as u64, version }
    }

    /// The answer to what was appended before, or is in part.
    fn again(&self, wanted: &Wanted) -> Option<Answer> {
        let same = |(kept, new): (&Kept, &Kept)| kept.says_what(new);
        if let Some(done) = self.batches.iter().find(|done| done.key.is_some() && done.key == wanted.key) {
            let events = &self.log[done.events.clone()];
            let is_same = events.len() == wanted.events.len() && done.tracking == wanted.tracking;
            return Some(if is_same && events.iter().zip(&wanted.events).all(same) {
                self.told(Outcome::Duplicate, &done.events)
            } else {
                Answer::KeyReused { first: done.events.start as u64 + 1, last: done.events.end as u64 }
            });
        }
        let at = |id| self.log.iter().position(|kept| kept.id == Some(id));
        let found: Vec<_> = wanted.events.iter().filter_map(|new| Some((at(new.id?)?, new))).collect();
        let (first, _) = found.first()?;
        for done in &self.batches {
            for start in done.events.clone() {
                let events = start..start + wanted.events.len();
                let here = |(kept, new): (&Kept, &Kept)| new.id.is_none_or(|id| kept.id == Some(id));
                if events.end <= done.events.end
                    && self.log[events.clone()].iter().zip(&wanted.events).all(|pair| same(pair) && here(pair))
                {
                    return Some(self.told(Outcome::Duplicate, &events));
                }
            }
        }
        let other = found.iter().find(|(at, new)| !self.log[*at].says_what(new));
        Some(match other {
            Some((at, _)) => Answer::IdConflict { existing: *at as u64 + 1 },
            None => Answer::Partial { existing: *first as u64 + 1 },
        })
    }

    /// The position of the newest event after a position for which something asks.
    fn newest(&self, item: &Item, after: u64) -> Option<u64> {
        let at = self.log.iter().rposition(|kept| kept.is_matched_by(item))? as u64 + 1;
        Some(at).filter(|at| *at > after)
    }

    fn is_not_met(&self, condition: &Condition) -> Option<Answer> {
        let (head, after) = (self.log.len() as u64, condition.after.unwrap_or(0));
        if after > head {
            return Some(Answer::Beyond { head });
        }
        let failed = |clause, item: &Option<Item>, after| {
            let at = self.newest(item.as_ref()?, after)?;
            Some(Answer::Failed { clause, at })
        };
        failed(ConditionClause::FailIfMatch, &condition.no_match, after)
            .or_else(|| failed(ConditionClause::FailIfExists, &condition.none_exists, 0))
    }

    fn commit(&mut self, wanted: Wanted) -> Answer {
        let answer = self.decide(wanted);
        let said = format!("{answer:?}");
        let kind = if said.contains("Duplicate") { "Duplicate" } else { said.split(' ').next().unwrap_or_default() };
        *self.kinds.entry(kind.to_owned()).or_default() += 1;
        answer
    }

    fn decide(&mut self, wanted: Wanted) -> Answer {
        self.history.push(wanted.clone());
        if let Some(answer) = self.again(&wanted) {
            return answer;
        }
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
        if let Some(answer) = wanted.condition.as_ref().and_then(|condition| self.is_not_met(condition)) {
            return answer;
        }
        let first = self.log.len();
        for mut event in wanted.events {
            event.version = self.of_stream(&event.stream).len() as u64 + 1;
            self.log.push(event);
        }
        let events = first..self.log.len();
        self.batches.push(Done { events: events.clone(), key: wanted.key, tracking: wanted.tracking.clone() });
        self.tracking.extend(wanted.tracking);
        self.told(Outcome::Appended, &events)
    }

    /// Commits what is queued, in order.
    fn settle(&mut self) {
        for wanted in std::mem::take(&mut self.queued) {
            let answer = self.commit(wanted);
            self.answers.push(answer);
        }
    }
}

fn pick<T: Copy>(rng: &mut Rng, from: &[T]) -> T {
    from[rng.below(from.len() as u64) as usize]
}

const STREAMS: [&str; 6] = ["a", "b-1", "b-2", "ü", "long-name-of-a-stream", "rare"];
const KEYS: [&str; 8] = ["k", "k1", "k2", "k3", "k4", "k5", "k6", "ü"];
const IDS: u64 = 40;

/// Of every kind: of no version, of version 4, and of version 7, which the store makes too.
fn given_id(number: u8) -> EventId {
    let mut bytes = [number.wrapping_mul(37); 16];
    bytes[0] = number;
    if let Some(version) = [None, Some(4), Some(7)][number as usize % 3] {
        bytes[6] = bytes[6] & 0x0F | version << 4;
        bytes[8] = bytes[8] & 0x3F | 0x80;
    }
    EventId::from_bytes(bytes)
}

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
        id: (rng.below(6) == 0).then(|| rng.below(IDS) as u8),
    }
}

fn some_item(rng: &mut Rng) -> Item {
    let is_exact = rng.below(2) == 0;
    Item {
        event_type: (is_exact && rng.below(2) == 0).then(|| pick(rng, &["Placed", "Paid", "P", "None"])),
        type_prefix: (!is_exact && rng.below(2) == 0).then(|| pick(rng, &["P", "Pl", "N", ""])),
        stream_prefix: (rng.below(3) == 0).then(|| pick(rng, &["b-", "b-1", "ü", "z"])),
        tag: (rng.below(2) == 0).then(|| pick(rng, &["tag:0", "tag:1", "tag:2"])),
    }
}

fn some_condition(rng: &mut Rng, model: &Model) -> Condition {
    let head = model.log.len() as u64;
    let after = match rng.below(8) {
        0 => None,
        1 => Some(head + 1 + rng.below(3)),
        2 => Some(0),
        _ => Some(head - rng.below(6).min(head)),
    };
    let none_exists = rng.below(4) == 0;
    Condition {
        no_match: (!none_exists || rng.below(2) == 0).then(|| some_item(rng)),
        after,
        none_exists: none_exists.then(|| some_item(rng)),
    }
}

/// Something that was wanted before, as it was or nearly so.
fn wanted_again(rng: &mut Rng, model: &Model) -> Option<Wanted> {
    let mut wanted = model.history.get(rng.below(model.history.len() as u64 + 1) as usize)?.clone();
    let some_event_of = |rng: &mut Rng, wanted: &Wanted| rng.below(wanted.events.len().max(1) as u64) as usize;
    match rng.below(12) {
        0 => wanted.key = None,
        1 => wanted.tracking = None,
        2 => wanted.events.truncate(1),
        3 => wanted.events.reverse(),
        4 => {
            let at = some_event_of(rng, &wanted);
            wanted.events.drain(..at.min(wanted.events.len()));
        }
        5 => {
            let at = some_event_of(rng, &wanted);
            wanted.events.get_mut(at)?.id = None;
        }
        6 => {
            let at = some_event_of(rng, &wanted);
            wanted.events.get_mut(at)?.tags.push("changed".to_owned());
        }
        7 => wanted.events.push(some_event(rng, "a")),
        // Two that followed each other, as one.
        8 => {
            let other = model.history.get(rng.below(model.history.len() as u64) as usize)?;
            wanted.events.extend(other.events.iter().cloned());
        }
        _ => {}
    }
    wanted.durability = if rng.below(3) == 0 { Durability::Sync } else { Durability::Buffered };
    Some(without_twins(wanted))
}

/// An id twice in a batch is told before anything is looked at.
fn without_twins(mut wanted: Wanted) -> Wanted {
    let mut seen = std::collections::HashSet::new();
    wanted.events.retain(|event| event.id.is_none_or(|id| seen.insert(id)));
    wanted
}

fn some_batch(rng: &mut Rng, model: &Model) -> Wanted {
    if rng.below(4) == 0
        && let Some(wanted) = wanted_again(rng, model)
    {
        return wanted;
    }
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
    let key = (rng.below(6) == 0).then(|| pick(rng, &KEYS));
    let condition = (rng.below(5) == 0).then(|| some_condition(rng, model));
    without_twins(Wanted { events, expected, tracking, key, condition, durability })
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
        if let Some(id) = kept.id {
            new = new.id(given_id(id));
        }
        batch = batch.event(&kept.stream, new);
    }
    if let Some((source, at)) = &wanted.tracking {
        batch = batch.tracking(source, *at);
    }
    if let Some(key) = wanted.key {
        batch = batch.idempotency_key(key);
    }
    if let Some(condition) = &wanted.condition {
        let built = condition
            .no_match
            .as_ref()
            .map_or_else(AppendCondition::default, |item| AppendCondition::fail_if_match(query(item)));
        let built = condition.after.map_or(built.clone(), |after| built.after(pos(after)));
        batch = batch.condition(match &condition.none_exists {
            Some(item) => built.fail_if_exists(query(item)),
            None => built,
        });
    }
    batch
}

fn query(item: &Item) -> Query {
    let mut built = QueryItem::new();
    built = item.event_type.iter().fold(built, |built, name| built.event_type(*name));
    built = item.type_prefix.iter().fold(built, |built, prefix| built.type_prefix(*prefix));
    built = item.stream_prefix.iter().fold(built, |built, prefix| built.stream_prefix(*prefix));
    built = item.tag.iter().fold(built, |built, tag| built.tag(*tag));
    Query::from(built)
}

fn number_of_id(event: &Event<'_>) -> Option<u8> {
    let number = event.id.as_bytes()[0];
    (event.id == given_id(number)).then_some(number)
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
        id: number_of_id(&lent),
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
    for _ in 0..5 {
        let id = rng.below(IDS) as u8;
        let expected = model.log.iter().find(|kept| kept.id == Some(id));
        let found = store.get_event(given_id(id)).unwrap();
        assert_eq!(found.map(|event| kept(&event).1).as_ref(), expected, "id {id}");
    }
    let key = pick(rng, &KEYS);
    let expected = model.batches.iter().find(|done| done.key == Some(key));
    let found = store.find_append(key).unwrap().map(|done| answer(Ok(done)));
    assert_eq!(found, expected.map(|done| model.told(Outcome::Appended, &done.events)), "key {key}");
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

fn check_story(place: &Place, seed: u64, options: &Options) -> BTreeMap<String, u32> {
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
    model.kinds
}

#[test]
fn a_store_does_what_a_vec_of_events_does() {
    let kinds = std::cell::RefCell::new(BTreeMap::<String, u32>::new());
    for seed in 1..=24 {
        println!("seed {seed}"); // shown when it fails
        on_every_kind(|place| {
            for (kind, count) in check_story(place, seed, &quiet()) {
                *kinds.borrow_mut().entry(kind).or_default() += count;
            }
        });
    }
    let kinds = kinds.into_inner();
    println!("{kinds:?}");
    assert!(kinds.len() == 9 && kinds.values().all(|count| *count >= 20), "each answer is given often");
}

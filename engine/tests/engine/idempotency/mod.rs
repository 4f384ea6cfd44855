//! Requests that come again: known by their key, or by the ids of their events.
//!
//! What was appended first is looked for wherever it may be by then: in the segment
//! at hand, in an older one, in a store that was opened again, and in the group that is being committed.

mod content;
mod damage;
mod durability;
mod finding;
mod ids;
mod keys;
mod together;

use std::sync::{Arc, Barrier};

use annals::storage::sim::{Fault, PowerLoss, SimDisk};
use annals::{
    AppendError, Appended, BatchBuilder, ContentType, Durability, EventId, EventStore, ExpectedVersion, NewEvent,
    Outcome, Position, ReadError,
};

use crate::places::*;

use ExpectedVersion::{Any, Exact, NoStream};

/// An id that a caller might give: nothing about it looks as if a store had made it.
fn id(number: u8) -> EventId {
    EventId::from_bytes([number; 16])
}

fn named(number: u8, event_type: &str) -> NewEvent {
    event(event_type).id(id(number))
}

/// Fills the segment at hand, and a few more.
fn roll(store: &EventStore) {
    for _ in 0..5 {
        store.append("filler", Any, NewEvent::new("Large", vec![1; 30_000])).unwrap();
    }
}

/// What has become of the first request when the second comes.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Age {
    JustNow,
    InGroup,
    OlderSegment,
    OpenedAgain,
    OpenedAgainInOlderSegment,
}

const AGES: [Age; 5] =
    [Age::JustNow, Age::InGroup, Age::OlderSegment, Age::OpenedAgain, Age::OpenedAgainInOlderSegment];

/// What the second request is told.
#[derive(Clone, Copy, Debug)]
enum Told {
    /// It is appended, as something else.
    Appended,
    /// It is there: the batch as a whole.
    Duplicate,
    /// It is there: these positions of the log.
    DuplicateAt(u64, u64),
    KeyReused,
    IdConflict(u8, u64),
    Partial(u8, u64),
}

type Fill = fn(BatchBuilder<'_>) -> BatchBuilder<'_>;

#[track_caller]
fn check_told(told: Told, original: &Appended, answer: Result<Appended, AppendError>) {
    let mut same = *original;
    same.outcome = Outcome::Duplicate;
    match (told, answer) {
        (Told::Appended, Ok(done)) if done.outcome == Outcome::Appended && done.first > original.last => {}
        (Told::Duplicate, Ok(done)) if done == same => {}
        (Told::DuplicateAt(first, last), Ok(done))
            if (done.outcome, done.first, done.last, done.recorded_at)
                == (Outcome::Duplicate, pos(first), pos(last), original.recorded_at) => {}
        (Told::KeyReused, Err(AppendError::IdempotencyKeyReused { key, original: first }))
            if (&*key, first) == ("key", *original) => {}
        (Told::IdConflict(number, at), Err(AppendError::EventIdConflict { id: told, existing }))
            if (told, existing) == (id(number), pos(at)) => {}
        (Told::Partial(number, at), Err(AppendError::PartialDuplicate { id: told, existing }))
            if (told, existing) == (id(number), pos(at)) => {}
        (told, answer) => panic!("expected {told:?} of {original:?}, got {answer:?}"),
    }
}

/// Commits one batch and later another, and checks what the second is told. The first
/// event of the first is at position 2.
#[track_caller]
fn check_second(first: Fill, second: Fill, told: Told) {
    // There are many of these, and durability is another matter.
    let options = quiet().durability(Durability::Buffered);
    for age in AGES {
        println!("{age:?}");
        on_every_kind(|place| {
            let mut store = place.open(&options);
            store.append("noise", Any, event("Noise")).unwrap();
            let (original, answer, before);
            if age == Age::InGroup {
                let tickets = [first(store.batch()).submit().unwrap(), second(store.batch()).submit().unwrap()];
                let [one, two] = tickets.map(annals::Ticket::wait);
                (original, answer) = (one.unwrap(), two);
                before = original.last;
            } else {
                original = first(store.batch()).commit().unwrap();
                if matches!(age, Age::OlderSegment | Age::OpenedAgainInOlderSegment) {
                    roll(&store);
                    assert!(store.stats().segments.len() > 2);
                }
                if matches!(age, Age::OpenedAgain | Age::OpenedAgainInOlderSegment) {
                    drop(store);
                    store = place.open(&options);
                }
                before = store.head();
                answer = second(store.batch()).commit();
            }
            assert_eq!(original.outcome, Outcome::Appended);
            check_told(told, &original, answer);
            if !matches!(told, Told::Appended) {
                assert_eq!(store.head(), before, "nothing was written");
                // And so it is told by the next one, who meets neither a group nor a trace of the one before.
                check_told(told, &original, second(store.batch()).commit());
                drop(store);
                assert_eq!(place.open(&options).head(), before);
            }
        });
    }
}

//! Commands: what they append is decided on what the stream is at that moment.

use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;

use annals::{EventStore, ExpectedVersion, NewEvent, StreamVersion};
use annals_projection::{DecideError, Decided, Decider, ProjectionError, TypedEvents, execute};
use serde::{Deserialize, Serialize};

use crate::support::*;

#[derive(Debug, Deserialize, Serialize)]
enum Seat {
    Taken { by: u64 },
    Freed,
}

impl TypedEvents for Seat {}

/// A seat has one holder at a time. Before it decides, somebody else may be faster so many times.
struct Seats<'a> {
    store: &'a EventStore,
    disturbances: AtomicU32,
}

enum Ask {
    Take(u64),
    Free,
    FreeAndTake(u64),
}

type Outcome = Result<Decided<Option<u64>>, DecideError<String>>;

fn ask(store: &EventStore, disturbances: u32, ask: &Ask) -> Outcome {
    execute(store, "seat-1", &Seats { store, disturbances: AtomicU32::new(disturbances) }, ask)
}

impl Decider for Seats<'_> {
    type Command = Ask;
    type Event = Seat;
    type State = Option<u64>;
    type Error = String;

    fn initial(&self) -> Option<u64> {
        None
    }

    fn evolve(&self, holder: &mut Option<u64>, event: Seat) {
        *holder = match event {
            Seat::Taken { by } => Some(by),
            Seat::Freed => None,
        };
    }

    fn decide(&self, holder: &Option<u64>, ask: &Ask) -> Result<Vec<Seat>, String> {
        if self.disturbances.load(Ordering::SeqCst) > 0 {
            self.disturbances.fetch_sub(1, Ordering::SeqCst);
            self.store.append("seat-1", ExpectedVersion::Any, Seat::Freed.to_event().unwrap()).unwrap();
        }
        match (ask, holder) {
            (Ask::Take(who), Some(holder)) if who != holder => Err(format!("{holder} has it")),
            (Ask::Take(who), None) => Ok(vec![Seat::Taken { by: *who }]),
            (Ask::Take(_), Some(_)) | (Ask::Free, None) => Ok(Vec::new()),
            (Ask::Free, Some(_)) => Ok(vec![Seat::Freed]),
            (Ask::FreeAndTake(who), _) => Ok(vec![Seat::Freed, Seat::Taken { by: *who }]),
        }
    }
}

#[test]
fn a_command_appends_what_was_decided_and_gives_the_state_after_it() {
    let store = in_memory();
    let done = ask(&store, 0, &Ask::Take(7)).unwrap();
    assert_eq!((done.state, done.version), (Some(7), StreamVersion::new(1)));
    assert_eq!(done.appended.unwrap().last, pos(1));
    let done = ask(&store, 0, &Ask::FreeAndTake(8)).unwrap();
    assert_eq!((done.state, done.version), (Some(8), StreamVersion::new(3)));
    assert_eq!(store.head(), pos(3), "both events in one batch");
}

#[test]
fn a_command_that_is_refused_or_has_nothing_to_do_appends_nothing() {
    let store = in_memory();
    ask(&store, 0, &Ask::Take(7)).unwrap();
    assert!(matches!(ask(&store, 0, &Ask::Take(8)), Err(DecideError::Refused(why)) if why == "7 has it"));
    let done = ask(&store, 0, &Ask::Take(7)).unwrap();
    assert_eq!((done.appended, done.version, done.state), (None, StreamVersion::new(1), Some(7)));
    assert_eq!(ask(&store, 1, &Ask::Free).unwrap().appended, None, "somebody else has freed it meanwhile");
    assert_eq!(store.head(), pos(2));
}

#[test]
fn where_somebody_else_is_faster_it_is_decided_again_on_what_he_did() {
    let store = in_memory();
    for disturbances in [1, 5, 15] {
        ask(&store, 0, &Ask::FreeAndTake(7)).unwrap();
        let before = store.head().get();
        let done = ask(&store, disturbances, &Ask::FreeAndTake(8)).unwrap();
        assert_eq!(done.appended.unwrap().first.get(), before + u64::from(disturbances) + 1);
    }
    let before = store.head().get();
    let given_up = ask(&store, u32::MAX, &Ask::FreeAndTake(9));
    assert!(matches!(given_up, Err(DecideError::TooMuchContention { attempts: 16 })), "{given_up:?}");
    assert_eq!(store.head().get(), before + 16, "of the others");
}

#[test]
fn of_many_who_ask_at_once_one_is_given_the_seat() {
    let store = in_memory();
    let taken = AtomicU32::new(0);
    thread::scope(|threads| {
        for who in 0..8 {
            let (store, taken) = (&store, &taken);
            threads.spawn(move || {
                if ask(store, 0, &Ask::Take(who)).is_ok() {
                    taken.fetch_add(1, Ordering::SeqCst);
                }
            });
        }
    });
    assert_eq!((taken.load(Ordering::SeqCst), store.head()), (1, pos(1)));
}

#[test]
fn a_stream_that_cannot_be_understood_is_an_error_and_nothing_is_decided() {
    let store = in_memory();
    store.append("seat-1", ExpectedVersion::Any, NewEvent::new("Taken", "{}")).unwrap();
    let refused = ask(&store, 0, &Ask::Take(7));
    assert!(matches!(refused, Err(DecideError::Load(ProjectionError::Faulted(fault))) if fault.position == pos(1)));
    let refused = execute(&store, "", &Seats { store: &store, disturbances: AtomicU32::new(0) }, &Ask::Free);
    assert!(matches!(refused, Err(DecideError::Load(_))));
}

#[derive(Debug, Deserialize, Serialize)]
enum Money {
    Deposited(u64),
    Withdrawn(u64),
}

impl TypedEvents for Money {}

/// Somebody deposits 10 before the first decision is appended.
struct Teller<'a> {
    store: &'a EventStore,
    disturbances: AtomicU32,
}

impl Decider for Teller<'_> {
    type Command = u64;
    type Event = Money;
    type State = u64;
    type Error = u64;

    fn initial(&self) -> u64 {
        0
    }

    fn evolve(&self, balance: &mut u64, event: Money) {
        match event {
            Money::Deposited(amount) => *balance += amount,
            Money::Withdrawn(amount) => *balance -= amount,
        }
    }

    fn decide(&self, balance: &u64, wanted: &u64) -> Result<Vec<Money>, u64> {
        if self.disturbances.fetch_add(1, Ordering::SeqCst) == 0 {
            let deposited = Money::Deposited(10).to_event().unwrap();
            self.store.append("account-1", ExpectedVersion::Any, deposited).unwrap();
        }
        if wanted > balance { Err(*balance) } else { Ok(vec![Money::Withdrawn(*wanted)]) }
    }
}

#[test]
fn what_is_new_is_added_to_what_was_loaded_before() {
    let store = in_memory();
    let deposited = Money::Deposited(100).to_event().unwrap();
    store.append("account-1", ExpectedVersion::NoStream, deposited).unwrap();
    let teller = Teller { store: &store, disturbances: AtomicU32::new(0) };
    let done = execute(&store, "account-1", &teller, &105).unwrap_err();
    assert!(matches!(done, DecideError::Refused(100)), "refused on what was there when it was decided");
    let teller = Teller { store: &store, disturbances: AtomicU32::new(0) };
    let done = execute(&store, "account-1", &teller, &105).unwrap();
    assert_eq!((done.state, done.version), (15, StreamVersion::new(4)), "110, and 10, and 105 less");
    assert_eq!(teller.disturbances.load(Ordering::SeqCst), 2, "it was decided twice");
}

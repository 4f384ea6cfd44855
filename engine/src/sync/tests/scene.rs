//! A store that several threads use, what each was told, and whether all of it was true.
//!
//! What is kept here of a scene stands in the locks of the standard library: nobody takes a turn while one is
//! held, so watching changes nothing.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::sync::{Arc, Mutex};

use annals_codec::Position;

use crate::storage::sim::{PowerLoss, SimDisk};
use crate::sync::thread::{self, JoinHandle};
use crate::{
    AppendError, Appended, BatchBuilder, Clock, Durability, EventStore, NewEvent, Options, Outcome, RecordedEvent,
};

pub(super) use Durability::{Buffered, Sync};

/// A clock that a scene can be played again with.
#[derive(Debug, Default)]
struct Ticking(AtomicI64);

impl Clock for Ticking {
    fn now(&self) -> i64 {
        self.0.fetch_add(1_000, Ordering::Relaxed)
    }
}

/// No thread but those of the scene, and small segments.
pub(super) fn options() -> Options {
    let options = Options::new().background(false).flush_interval(None).clock(Arc::new(Ticking::default()));
    options.segment_bytes(64 << 10).zero_ahead(16 << 10)
}

pub(super) fn open(disk: &SimDisk, options: &Options) -> EventStore {
    EventStore::open_on(Arc::new(disk.clone()), options).expect("nothing is damaged")
}

/// A batch; its name is in every payload, with the number of its events.
#[derive(Clone, Debug)]
pub(super) struct Batch {
    pub(super) name: String,
    streams: Vec<&'static str>,
    durability: Durability,
    /// How long each payload is at least.
    bytes: usize,
}

pub(super) fn batch(name: impl Into<String>, streams: &[&'static str], durability: Durability) -> Batch {
    Batch { name: name.into(), streams: streams.to_vec(), durability, bytes: 0 }
}

impl Batch {
    pub(super) fn long(self, bytes: usize) -> Batch {
        Batch { bytes, ..self }
    }

    fn payload(&self, index: usize) -> String {
        let line = format!("{} {index} {}", self.name, self.streams.len());
        format!("{line:<width$}", width = self.bytes)
    }

    fn payloads(&self) -> Vec<String> {
        (0..self.streams.len()).map(|index| self.payload(index)).collect()
    }

    pub(super) fn builder<'a>(&self, store: &'a EventStore) -> BatchBuilder<'a> {
        let events = self.streams.iter().enumerate();
        events.fold(store.batch().durability(self.durability), |batch, (index, stream)| {
            batch.event(*stream, NewEvent::new("Played", self.payload(index)).tag("scene"))
        })
    }
}

/// An answer, and what a crash at that moment would have left.
struct Told {
    batch: Batch,
    answer: Result<Appended, AppendError>,
    left: SimDisk,
}

#[derive(Default)]
struct Seen {
    told: Vec<Told>,
    /// What readers saw, from the beginning of the log on.
    prefixes: Vec<Vec<String>>,
    /// How far the log was said to be durable, and what a power loss at that moment would have left.
    durable: Vec<(Position, SimDisk)>,
}

#[derive(Clone)]
pub(super) struct Scene {
    pub(super) disk: SimDisk,
    pub(super) store: EventStore,
    seen: Arc<Mutex<Seen>>,
    /// Somebody was told that nothing can be appended any more.
    is_over: Arc<AtomicBool>,
}

impl Scene {
    pub(super) fn new(options: &Options) -> Scene {
        let disk = SimDisk::new(1);
        let store = open(&disk, options);
        Scene { disk, store, seen: Arc::default(), is_over: Arc::default() }
    }

    pub(super) fn spawn<T: Send + 'static>(&self, act: impl FnOnce(&Scene) -> T + Send + 'static) -> JoinHandle<T> {
        let scene = self.clone();
        thread::spawn(move || act(&scene))
    }

    /// Appends and waits.
    pub(super) fn append(&self, batch: Batch) {
        let was_over = self.is_over.load(Ordering::Relaxed);
        let answer = batch.builder(&self.store).commit();
        assert!(!was_over || answer.is_err(), "{} was acknowledged after the end", batch.name);
        self.learn(batch, answer);
    }

    /// Appends without waiting for one before waiting for all.
    pub(super) fn submit(&self, batches: Vec<Batch>) {
        let was_over = self.is_over.load(Ordering::Relaxed);
        let tickets: Vec<_> = batches.iter().map(|batch| batch.builder(&self.store).submit().unwrap()).collect();
        for (batch, ticket) in batches.into_iter().zip(tickets) {
            let answer = ticket.wait();
            assert!(!was_over || answer.is_err(), "{} was acknowledged after the end", batch.name);
            self.learn(batch, answer);
        }
    }

    /// Takes in an answer.
    pub(super) fn learn(&self, batch: Batch, answer: Result<Appended, AppendError>) {
        if let Err(AppendError::CommitUnknown { .. } | AppendError::Poisoned { .. }) = &answer {
            self.over();
        }
        let left = match batch.durability {
            Sync => self.disk.after_power_loss(PowerLoss::KeepLeast, 0),
            Buffered => self.disk.after_kill(),
        };
        self.seen.lock().unwrap().told.push(Told { batch, answer, left });
    }

    /// From here on nothing may be acknowledged.
    pub(super) fn over(&self) {
        self.is_over.store(true, Ordering::Relaxed);
    }

    /// Looks at the log, in several ways. What was seen has to be the beginning of what there is at last.
    pub(super) fn look(&self) {
        self.look_with(&self.store);
    }

    pub(super) fn look_with(&self, store: &EventStore) {
        let durable = store.durable_head();
        let left = self.disk.after_power_loss(PowerLoss::KeepLeast, 0);
        let least = store.head();
        assert!(durable <= least, "durable, and not to be read");
        let reader = store.read_all(Position::START);
        let most = reader.head();
        let events: Vec<_> = reader.map(|event| event.expect("every event is whole")).collect();
        assert!(least <= most, "the head went back from {least} to {most}");
        assert_eq!(events.len() as u64, most.get(), "all up to the head, and nothing behind it");
        let mut seen = self.seen.lock().unwrap();
        seen.prefixes.push(whole(&events));
        seen.durable.push((durable, left));
    }

    /// What everybody was told is true, now and after a crash at the moment when it was told.
    pub(super) fn check(&self) {
        let events: Vec<_> = self.store.read_all(Position::START).map(|event| event.expect("it is whole")).collect();
        let all = whole(&events);
        let seen = self.seen.lock().unwrap();
        for prefix in &seen.prefixes {
            assert!(all.starts_with(prefix), "somebody saw {prefix:?} of {all:?}");
        }
        for (durable, left) in &seen.durable {
            let kept = recover(left);
            assert!(kept.len() as u64 >= durable.get(), "{durable} was said to be durable, and {kept:?} is there");
        }
        let mut expected = 0;
        for Told { batch, answer, left } in &seen.told {
            let there = all.iter().filter(|payload| payload.starts_with(&format!("{} ", batch.name))).count();
            match answer {
                Ok(done) => {
                    let first = done.first.get() as usize - 1;
                    let found = &all[first..done.last.get() as usize];
                    assert_eq!((done.outcome, found), (Outcome::Appended, &batch.payloads()[..]), "{}", batch.name);
                    let found = recover(left);
                    assert!(found.len() as u64 >= done.last.get(), "{} was not durable: {found:?}", batch.name);
                    assert_eq!(&found[first..done.last.get() as usize], &batch.payloads(), "{}", batch.name);
                    expected += there;
                }
                Err(AppendError::CommitUnknown { .. } | AppendError::StorageFull | AppendError::Poisoned { .. }) => {
                    assert_eq!(there, 0, "{} can be read, and was not acknowledged: {answer:?}", batch.name);
                }
                Err(error) => panic!("{}: {error}", batch.name),
            }
        }
        assert_eq!(expected, all.len(), "everything that is there was acknowledged: {all:?}");
    }

    /// What is left by a crash now holds every batch whole, those that must be there, and none that must not be.
    pub(super) fn check_crash(&self, seed: u64) {
        let seen = self.seen.lock().unwrap();
        for left in [self.disk.after_kill(), self.disk.after_power_loss(PowerLoss::Random, seed)] {
            let all = recover(&left);
            for Told { batch, answer, .. } in &seen.told {
                let is_there = all.contains(&batch.payload(0));
                match answer {
                    Ok(_) => assert!(is_there || batch.durability == Buffered, "{} is lost", batch.name),
                    Err(AppendError::CommitUnknown { .. }) => {}
                    Err(error) => assert!(!is_there, "{} is there, and was answered: {error}", batch.name),
                }
            }
        }
    }

    /// How many were acknowledged.
    pub(super) fn acknowledged(&self) -> usize {
        self.seen.lock().unwrap().told.iter().filter(|told| told.answer.is_ok()).count()
    }
}

pub(super) fn join<T>(threads: impl IntoIterator<Item = JoinHandle<T>>) -> Vec<T> {
    threads.into_iter().map(|thread| thread.join().expect("it did not panic")).collect()
}

/// Nothing was prepared and forgotten in a store that is closed.
pub(super) fn check_cleaned_up(disk: &SimDisk) {
    let left: Vec<_> = disk.paths().into_iter().filter(|path| path.contains(".tmp")).collect();
    assert!(left.is_empty(), "closing cleans up: {left:?}");
}

/// The payloads that are there after a recovery, which are whole batches.
pub(super) fn recover(disk: &SimDisk) -> Vec<String> {
    let store = open(disk, &options());
    let events: Vec<_> = store.read_all(Position::START).map(|event| event.expect("every event is whole")).collect();
    whole(&events)
}

/// The payloads, of whole batches at dense positions, with versions that count.
fn whole(events: &[RecordedEvent]) -> Vec<String> {
    let mut versions = BTreeMap::new();
    let mut open: Option<(String, u64, u64)> = None;
    let mut payloads = Vec::new();
    for (event, position) in events.iter().zip(1..) {
        assert_eq!(event.position().get(), position, "positions are dense");
        let version = versions.entry(event.stream().to_owned()).or_insert(0);
        *version += 1;
        assert_eq!(event.version().get(), *version, "versions of {} count", event.stream());
        let payload = String::from_utf8(event.data().to_vec()).expect("as it was written");
        let mut words = payload.split_ascii_whitespace();
        let name = words.next().expect("a name").to_owned();
        let mut number = || words.next().expect("a number").parse::<u64>().expect("a number");
        let (index, len) = (number(), number());
        let expected = open.take().unwrap_or_else(|| (name.clone(), 0, len));
        assert_eq!((&name, index, len), (&expected.0, expected.1, expected.2), "a batch is whole");
        open = Some((name, index + 1, len)).filter(|(_, next, len)| next < len);
        payloads.push(payload);
    }
    assert!(open.is_none(), "a part of a batch was seen: {payloads:?}");
    payloads
}

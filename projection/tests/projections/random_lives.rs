//! Random stories of crashes and restarts: a consumer sees every event exactly once, and what resumes equals what is
//! built anew.

use std::sync::Arc;

use annals::storage::sim::{Fault, PowerLoss, SimDisk};
use annals::{Consumer, Delivery, Durability, EventStore, NewEvent, Query};
use annals_projection::Attached;

use crate::support::*;

/// A small generator, so that a seed tells a story again.
struct Dice(u64);

impl Dice {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % bound
    }
}

/// What happens outside of the store, and does not die with the process.
struct World {
    dice: Dice,
    /// Makes every event another one, also where a position is given again after a power loss.
    next: u64,
    /// What the consumer has written down, and how much of it is meant for good: up to its checkpoint.
    ledger: Vec<u64>,
    least: u64,
}

impl World {
    /// Does what a process does, until the disk dies or it is enough.
    fn live(&mut self, disk: &SimDisk, store: &EventStore, context: &str) {
        let Ok(mut projection) = seen("seen").snapshot_every(5).attach(store) else { return };
        let Ok(mailer) = store.consumer("mailer") else { return };
        let at = mailer.position().get();
        assert!(at >= self.least, "{context}: the checkpoint at {at} is older than {}", self.least);
        assert!(at <= self.ledger.len() as u64, "{context}: the checkpoint at {at} is of what was never seen");
        assert!(at <= store.durable_head().get(), "{context}: the checkpoint at {at} is ahead of the log");
        self.ledger.truncate(at as usize);
        for _ in 0..self.dice.below(12) {
            match self.dice.below(5) {
                0 | 1 => self.append(store),
                2 => drop(projection.catch_up()),
                3 => drop(projection.take_snapshot()),
                _ => self.consume(&mailer, context),
            }
            if disk.is_stopped() {
                return;
            }
        }
        check_against_rebuild(store, &mut projection, context);
    }

    fn append(&mut self, store: &EventStore) {
        let durability = if self.dice.below(2) == 0 { Durability::Sync } else { Durability::Buffered };
        let count = self.dice.below(4) + 1;
        let events: Vec<NewEvent> =
            (0..count).map(|index| NewEvent::new("Added", (self.next + index).to_string())).collect();
        self.next += count;
        let _ = store.batch().durability(durability).events("numbers", events).commit();
    }

    fn consume(&mut self, mailer: &Consumer, context: &str) {
        let Ok(mut subscription) = mailer.store().subscribe(pos(self.ledger.len() as u64), Query::All) else { return };
        let mut most = self.dice.below(6);
        while most > 0
            && let Ok(Some(item)) = subscription.try_next()
        {
            if let Delivery::Event(event) = item {
                self.ledger.push(number(&event));
                assert_eq!(event.position.get(), self.ledger.len() as u64, "{context}: exactly once");
                most -= 1;
            }
        }
        let reached = self.ledger.len() as u64;
        if self.dice.below(2) == 0 && mailer.checkpoint(pos(reached)).is_ok() {
            self.least = reached;
        }
    }
}

fn check_against_rebuild(store: &EventStore, resumed: &mut Attached<Seen>, context: &str) {
    if resumed.catch_up().is_err() {
        return; // The disk has failed under it.
    }
    let mut anew = seen("anew").attach(store).unwrap();
    if anew.catch_up().is_ok() {
        assert!(*resumed.state() == *anew.state(), "{context}: {:?}, anew {:?}", *resumed.state(), *anew.state());
    }
}

fn tell(seed: u64) -> u64 {
    let mut world = World { dice: Dice(seed), next: 1, ledger: Vec::new(), least: 0 };
    let mut disk = SimDisk::new(seed);
    let lives = world.dice.below(4) + 2;
    for life in 0..lives {
        let context = format!("seed {seed}, life {life}");
        match world.dice.below(3) {
            0 => disk.stop_at(world.dice.below(60)),
            1 => disk.fail_at(world.dice.below(60), [Fault::Eio, Fault::ShortThenFull][world.dice.below(2) as usize]),
            _ => {}
        }
        if let Ok(store) = EventStore::open_on(Arc::new(disk.clone()), &quiet()) {
            world.live(&disk, &store, &context);
        }
        if disk.faults_met().iter().any(|fault| fault.contains("sync_dir  ->")) {
            // The store's own directory: for the names of directories in it there is no second try on this disk,
            // which is harder there than file systems are.
            return 0;
        }
        let loss = [PowerLoss::Random, PowerLoss::KeepLeast, PowerLoss::KeepMost];
        disk = match world.dice.below(4) {
            3 => disk.after_kill(),
            kind => disk.after_power_loss(loss[kind as usize], seed),
        };
    }
    // In the end nothing fails any more.
    let Ok(store) = EventStore::open_on(Arc::new(disk.clone()), &quiet()) else { return 0 };
    let context = format!("seed {seed}, the end");
    let mailer = store.consumer("mailer").unwrap_or_else(|error| panic!("{context}: {error}"));
    world.ledger.truncate(mailer.position().get() as usize);
    world.live(&disk, &store, &context);
    let rest = store.read_all(pos(world.ledger.len() as u64));
    world.ledger.extend(rest.map(|event| number(&event.unwrap().as_event())));
    let log: Vec<u64> = store.read_all(pos(0)).map(|event| number(&event.unwrap().as_event())).collect();
    assert_eq!(world.ledger, log, "{context}: each event of the log, once");
    let mut resumed = seen("seen").snapshot_every(5).attach(&store).unwrap();
    check_against_rebuild(&store, &mut resumed, &context);
    assert_eq!(resumed.position(), store.head(), "{context}");
    log.len() as u64
}

#[test]
fn whatever_happens_a_consumer_sees_each_event_once_and_what_resumes_equals_what_is_built_anew() {
    let seeds = 1500;
    let events: u64 = (0..seeds).map(tell).sum();
    assert!(events > seeds * 3, "the stories have events in them: {events}");
}

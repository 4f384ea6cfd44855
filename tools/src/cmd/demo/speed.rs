//! How fast the store is on this machine: a few numbers, measured while you watch.
//!
//! These are for a first impression. What is compared with the raw system calls, in
//! paired runs, is in the workspace's `benches`.

use std::error::Error;
use std::thread;
use std::time::{Duration, Instant};

use annals::{Durability, EventStore, Position};
use serde::Serialize;

use super::fill;
use crate::human::per_second;

type Any = Box<dyn Error + Send + Sync>;

const SIZE: usize = 256;
const TIME: Duration = Duration::from_millis(500);

/// Events a second.
#[derive(Serialize)]
pub(super) struct Told {
    durable_alone: u64,
    durable_16_threads: u64,
    durable_batches_of_100: u64,
    buffered_alone: u64,
    buffered_batches_of_100: u64,
    read_all: u64,
}

impl Told {
    pub(super) fn lines(&self) -> [(&'static str, u64); 6] {
        [
            ("durable, one thread, one at a time", self.durable_alone),
            ("durable, 16 threads, one at a time: they share the syncs", self.durable_16_threads),
            ("durable, one thread, batches of 100", self.durable_batches_of_100),
            ("buffered, one thread, one at a time", self.buffered_alone),
            ("buffered, one thread, batches of 100", self.buffered_batches_of_100),
            ("read back, checksums verified", self.read_all),
        ]
    }
}

pub(super) fn measure(store: &EventStore) -> Result<Told, Any> {
    let told = Told {
        durable_alone: append(store, 1, 1, Durability::Sync)?,
        durable_16_threads: append(store, 16, 1, Durability::Sync)?,
        durable_batches_of_100: append(store, 1, 100, Durability::Sync)?,
        buffered_alone: append(store, 1, 1, Durability::Buffered)?,
        buffered_batches_of_100: append(store, 1, 100, Durability::Buffered)?,
        read_all: read(store)?,
    };
    Ok(told)
}

fn append(store: &EventStore, threads: usize, batch: usize, durability: Durability) -> Result<u64, Any> {
    let began = Instant::now();
    let appended = thread::scope(|scope| {
        let worker = |thread: usize| {
            let stream = format!("speed-{thread}");
            let mut appended = 0;
            while began.elapsed() < TIME {
                fill(store, &stream, batch, SIZE, durability)?;
                appended += batch as u64;
            }
            Ok::<u64, Any>(appended)
        };
        let workers: Vec<_> = (0..threads).map(|thread| scope.spawn(move || worker(thread))).collect();
        workers.into_iter().try_fold(0, |sum, worker| {
            let appended = worker.join().map_err(|_| "a thread of the demo panicked")??;
            Ok::<u64, Any>(sum + appended)
        })
    })?;
    let rate = per_second(appended, began.elapsed());
    store.flush()?;
    Ok(rate)
}

fn read(store: &EventStore) -> Result<u64, Any> {
    let began = Instant::now();
    let mut reader = store.read_all(Position::START);
    let mut events = 0;
    while reader.next_event()?.is_some() {
        events += 1;
    }
    Ok(per_second(events, began.elapsed()))
}

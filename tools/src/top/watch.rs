//! A thread that waits for events and notes how long each took to be seen.
//!
//! It is a subscription from the head on, in a process that only reads. So what it measures is the way of an event
//! from the moment that the writer gave it (`recorded_at`) over its write and sync to this reader, who looks for it
//! every 1 to 16 milliseconds. Both moments are by the clock of the machine.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use annals::{Delivery, EventStore, Query, ReadError, SubscribeError, Subscription};
use parking_lot::Mutex;

use super::latency::{Latencies, Summary};

/// How long it waits before it notices that nobody wants it any more.
const PATIENCE: Duration = Duration::from_millis(50);
/// How long after an error it tries again.
const PAUSE: Duration = Duration::from_secs(1);
/// So many damaged places are remembered. What is behind them is for `annals verify`.
const MOST_DAMAGE: usize = 100;

/// The thread, which ends with this.
#[derive(Debug)]
pub(super) struct Watch {
    seen: Arc<Mutex<Seen>>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
    began: Instant,
}

/// What it has seen.
#[derive(Debug, Default)]
struct Seen {
    latencies: Latencies,
    is_behind: bool,
    damage: Vec<String>,
    /// Why it sees nothing at the moment.
    trouble: Option<String>,
}

/// The same, for a screen.
#[derive(Debug)]
pub(super) struct Noted {
    pub(super) latencies: Summary,
    pub(super) is_behind: bool,
    pub(super) troubles: Vec<String>,
}

impl Watch {
    /// Watches what comes after the head.
    pub(super) fn start(store: &EventStore) -> Watch {
        let (seen, stop, began) = (Arc::new(Mutex::default()), Arc::new(AtomicBool::new(false)), Instant::now());
        // Subscribed before this returns: nothing that is appended from now on is missed.
        let subscription = subscribe(store);
        let (store, shared, stopped) = (store.clone(), Arc::clone(&seen), Arc::clone(&stop));
        let thread = thread::spawn(move || watch(&store, subscription, &shared, &stopped, began));
        Watch { seen, stop, thread: Some(thread), began }
    }

    pub(super) fn noted(&self) -> Noted {
        let mut seen = self.seen.lock();
        let latencies = seen.latencies.summary(self.began.elapsed());
        let mut troubles = seen.damage.clone();
        troubles.extend(seen.trouble.as_ref().map(|trouble| format!("new events cannot be watched: {trouble}")));
        // It lives as long as this does, unless it has panicked.
        if self.thread.as_ref().is_none_or(JoinHandle::is_finished) {
            troubles.push("new events are not watched any more; start `annals top` again".to_owned());
        }
        Noted { latencies, is_behind: seen.is_behind, troubles }
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            thread.thread().unpark();
            // What it panicked of, it has said.
            _ = thread.join();
        }
    }
}

fn subscribe(store: &EventStore) -> Result<Subscription, SubscribeError> {
    store.subscribe(store.head(), Query::All).map(Subscription::skip_damaged)
}

fn watch(
    store: &EventStore,
    mut subscription: Result<Subscription, SubscribeError>,
    seen: &Mutex<Seen>,
    stop: &AtomicBool,
    began: Instant,
) {
    while !stop.load(Ordering::Relaxed) {
        let trouble = match &mut subscription {
            Ok(live) => follow(store, live, seen, stop, began).err().map(|error| super::look::told(&error)),
            Err(error) => Some(super::look::told(error)),
        };
        seen.lock().trouble = trouble;
        thread::park_timeout(PAUSE);
        subscription = subscribe(store);
    }
}

/// Follows until it is stopped, or an error ends it.
fn follow(
    store: &EventStore,
    live: &mut Subscription,
    seen: &Mutex<Seen>,
    stop: &AtomicBool,
    began: Instant,
) -> Result<(), ReadError> {
    seen.lock().trouble = None;
    while !stop.load(Ordering::Relaxed) && !live.is_ended() {
        match live.next_within(PATIENCE) {
            Ok(Some(Delivery::Event(event))) => {
                let took = store.now().saturating_sub(event.recorded_at);
                seen.lock().latencies.add(began.elapsed(), took);
            }
            Ok(Some(Delivery::FellBehind { .. })) => seen.lock().is_behind = true,
            Ok(Some(Delivery::CaughtUp(_))) => seen.lock().is_behind = false,
            Ok(Some(Delivery::Checkpoint(_)) | None) => {}
            Err(ReadError::Corrupt(damage)) => {
                let (damage, mut seen) = (damage.to_string(), seen.lock());
                if seen.damage.len() < MOST_DAMAGE && !seen.damage.contains(&damage) {
                    seen.damage.push(damage);
                }
            }
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

//! A subscription whose items a thread hands to a closure.
//!
//! What is always true: what goes wrong in the closure ends this subscription, and is kept to be asked for.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use annals_codec::{Event, Position};

use super::{Canceller, Delivery, Subscription};
use crate::error::{ReadError, SubscribeError};
use crate::sync::Mutex;
use crate::sync::atomic::{AtomicU64, Ordering};
use crate::sync::thread::{self, JoinHandle};

/// A subscription that a thread follows; dropping this ends it and waits for the callback to return.
///
/// Made by [`EventStore::spawn_subscription`](crate::EventStore::spawn_subscription).
#[derive(Debug)]
pub struct Spawned {
    canceller: Canceller,
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Debug)]
struct Shared {
    position: AtomicU64,
    status: Mutex<SpawnedStatus>,
}

/// What became of a subscription that a thread follows.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub enum SpawnedStatus {
    /// It goes on.
    #[default]
    Following,
    /// It was cancelled, or the store was closed.
    Ended,
    /// Its callback has panicked. Nobody else has noticed.
    Faulted {
        /// The position of the event or the checkpoint that it was called with.
        at: Position,
        /// What the panic said.
        reason: String,
    },
    /// Events could not be read.
    Failed(ReadError),
}

impl Spawned {
    pub(crate) fn start(
        subscription: Subscription,
        callback: impl FnMut(Delivery<Event<'_>>) + Send + 'static,
    ) -> Result<Spawned, SubscribeError> {
        let canceller = subscription.canceller();
        let position = AtomicU64::new(subscription.position().get());
        let shared = Arc::new(Shared { position, status: Mutex::default() });
        let in_thread = Arc::clone(&shared);
        let thread = thread::Builder::new()
            .name("annals-follow".to_owned())
            .spawn(move || in_thread.run(subscription, callback))
            .map_err(|error| SubscribeError::NoThread(Arc::new(error)))?;
        Ok(Spawned { canceller, shared, thread: Some(thread) })
    }

    /// How it goes.
    pub fn status(&self) -> SpawnedStatus {
        self.shared.status.lock().clone()
    }

    /// Up to where the callback has returned.
    pub fn position(&self) -> Position {
        Position::new(self.shared.position.load(Ordering::Acquire))
    }

    /// Ends it without waiting for the callback to return.
    pub fn cancel(&self) {
        self.canceller.cancel();
    }
}

impl Drop for Spawned {
    fn drop(&mut self) {
        self.canceller.cancel();
        // A callback may own this, and cannot wait for itself.
        if let Some(thread) = self.thread.take()
            && thread.thread().id() != thread::current().id()
        {
            // What went wrong in it was kept, and is nobody's business any more.
            let _ = thread.join();
        }
    }
}

impl Shared {
    fn run(&self, mut subscription: Subscription, mut callback: impl FnMut(Delivery<Event<'_>>)) {
        let ended = loop {
            let item = match subscription.next_item() {
                Ok(Some(item)) => item,
                Ok(None) => break SpawnedStatus::Ended,
                Err(error) => break SpawnedStatus::Failed(error),
            };
            let at = match &item {
                Delivery::Event(event) => event.position,
                Delivery::CaughtUp(at) | Delivery::Checkpoint(at) | Delivery::FellBehind { position: at, .. } => *at,
            };
            if let Err(panic) = catch_unwind(AssertUnwindSafe(|| callback(item))) {
                break SpawnedStatus::Faulted { at, reason: what_it_said(&*panic) };
            }
            self.position.store(at.get(), Ordering::Release);
        };
        *self.status.lock() = ended;
    }
}

/// The message of a panic, where it is one.
fn what_it_said(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().copied().or_else(|| panic.downcast_ref::<String>().map(String::as_str));
    text.unwrap_or("it panicked with something that is no text").to_owned()
}

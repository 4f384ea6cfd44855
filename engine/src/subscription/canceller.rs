//! What ends a subscription from another thread: [`Canceller`].

use std::sync::Arc;

use crate::sync::atomic::{AtomicBool, Ordering};
use crate::view::Published;

/// Ends a [`Subscription`](crate::Subscription), also while it waits, from any thread.
///
/// ```
/// use annals::{EventStore, Options, Position, Query};
///
/// let store = EventStore::in_memory(&Options::new())?;
/// let mut subscription = store.subscribe(Position::START, Query::All)?;
/// let canceller = subscription.canceller();
/// let follower = std::thread::spawn(move || subscription.by_ref().count());
/// canceller.cancel();
/// assert!(follower.join().unwrap() <= 1, "at most that it has caught up");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
pub struct Canceller {
    pub(super) cancelled: Arc<AtomicBool>,
    pub(super) published: Arc<Published>,
}

impl Canceller {
    /// Ends the subscription. It gives nothing more, and says nothing about it.
    pub fn cancel(&self) {
        self.cancelled.store(true, Ordering::SeqCst);
        self.published.news.wake();
    }
}

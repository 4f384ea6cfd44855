//! A subscription that a task polls: [`Stream`], for any runtime.
//!
//! What is always true: who is told to wait has left his waker before the last look, so nothing is missed.
//!
//! A future has no clock of its own that every runtime would know. Where nobody in the process moves the
//! head, in a store that is only read, one thread for all its tasks wakes them every few milliseconds, and
//! ends when no task has waited for a while.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use futures_core::Stream;

use super::{Delivery, Found, Subscription};
use crate::error::ReadError;
use crate::event::RecordedEvent;
use crate::sync::thread;
use crate::view::Published;

/// How often tasks that follow a writer in another process look for his progress.
const TICK: Duration = Duration::from_millis(4);

/// So many ticks without a task, and the thread ends.
const IDLE_TICKS: u32 = 250;

/// A [`Subscription`] as a [`Stream`] of owned events, for any runtime.
///
/// Polling reads from the mapping, which may wait for the disk as any memory may; it never waits for an
/// append. The stream ends where the subscription does. Nothing runs between polls: the writer wakes the task.
///
/// Made by [`Subscription::into_stream`].
#[derive(Debug)]
pub struct SubscriptionStream {
    subscription: Subscription,
    number: u64,
}

impl Subscription {
    /// The subscription as a stream that any async runtime can poll. Feature `async`.
    ///
    /// ```
    /// use annals::{Delivery, EventStore, Options, Position, Query};
    /// use futures_core::Stream;
    ///
    /// let store = EventStore::in_memory(&Options::new())?;
    /// let stream = store.subscribe(Position::START, Query::All)?.into_stream();
    /// fn takes(_: impl Stream<Item = Result<Delivery<annals::RecordedEvent>, annals::ReadError>> + Unpin + Send) {}
    /// takes(stream);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn into_stream(self) -> SubscriptionStream {
        let number = self.source.published.news.number();
        SubscriptionStream { subscription: self, number }
    }
}

impl SubscriptionStream {
    /// The subscription: its position, and what cancels it.
    pub fn subscription(&self) -> &Subscription {
        &self.subscription
    }
}

impl Stream for SubscriptionStream {
    type Item = Result<Delivery<RecordedEvent>, ReadError>;

    fn poll_next(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let SubscriptionStream { subscription, number } = self.get_mut();
        for has_left in [false, true] {
            match subscription.find() {
                Ok(Found::Nothing) if subscription.is_ended() => return Poll::Ready(None),
                Ok(Found::Nothing) => {}
                found => return Poll::Ready(found.and_then(|found| subscription.deliver_owned(found)).transpose()),
            }
            if !has_left {
                subscription.source.published.news.leave(*number, context.waker());
            }
        }
        if subscription.source.follower.is_some() && !tick(&subscription.source.published) {
            // There is no thread to be had: come back at once rather than never.
            context.waker().wake_by_ref();
        }
        Poll::Pending
    }
}

impl Drop for SubscriptionStream {
    fn drop(&mut self) {
        self.subscription.source.published.news.take_back(self.number);
    }
}

/// Sees to it that the tasks of a store that is only read are woken now and then; whether somebody does.
fn tick(published: &Arc<Published>) -> bool {
    if published.news.begin_ticking() {
        return true;
    }
    let ticking = Arc::clone(published);
    let run = move || {
        let mut idle = 0;
        while idle < IDLE_TICKS || !ticking.news.stop_ticking() {
            thread::sleep(TICK);
            idle = if ticking.news.has_tasks() { 0 } else { idle + 1 };
            ticking.news.wake();
        }
    };
    let spawned = thread::Builder::new().name("annals-tick".to_owned()).spawn(run).is_ok();
    if !spawned {
        published.news.cannot_tick();
    }
    spawned
}

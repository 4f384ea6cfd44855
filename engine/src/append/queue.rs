//! Who waits for whom: group commit led by one of the callers.
//!
//! No thread is handed the work. The caller that finds nobody committing leads:
//! it takes everything queued, commits it as one group, hands the lead to the
//! first that waits, and then wakes its group. A lone caller pays for two short
//! locks and nothing else; many callers share one write and one sync.
//!
//! What is always true:
//!
//! - At most one thread leads, and the flag that says so changes only under the
//!   queue's lock.
//! - Whoever waits is either served by the present leader or made leader itself:
//!   the lead is handed on, under that lock, to the first in the queue whose
//!   caller waits; if none does, the flag is cleared, and whoever comes to wait
//!   next leads.
//! - Whoever drains the queue leads too, before those who wait: when it has led
//!   once, whatever was queued before it came was served.
//! - A leader that panics poisons the store and hands the lead on; nobody hangs.

use std::collections::VecDeque;
use std::sync::Arc;

use smallvec::SmallVec;

use super::Appended;
use super::request::Request;
use crate::error::AppendError;
use crate::sync::atomic::{AtomicBool, Ordering};
use crate::sync::{Condvar, Mutex};

/// The most that one group takes, in bytes of the log: what a leader's buffer
/// grows to, and how long the last of a group can wait for the first.
const MOST_GROUP_BYTES: u64 = 8 << 20;

pub(crate) type Reply = Result<Appended, AppendError>;

/// Usually one: then it needs no allocation.
pub(crate) type Few<T> = SmallVec<[T; 1]>;

/// Commits groups. Called by one thread at a time.
pub(crate) trait Committer: Send + Sync {
    /// Commits `requests` in order, and adds a reply to each to `replies`, in the same order.
    fn commit(&self, requests: &[Request], replies: &mut Few<Reply>);

    /// Ends writing after a panic inside `commit`; the reply to everybody of that group.
    fn abort(&self) -> AppendError;
}

#[derive(Debug, Default)]
pub(crate) struct Queue {
    inner: Mutex<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    pending: Vec<Pending>,
    leading: bool,
    /// How many requests were ever put into `pending`, and how many of them were served.
    queued: u64,
    served: u64,
    /// Where those wait who drain the queue.
    draining: VecDeque<Arc<Seat>>,
}

impl Inner {
    fn push(&mut self, request: Request, seat: &Arc<Seat>) {
        self.queued += 1;
        self.pending.push(Pending { request, seat: Arc::clone(seat) });
    }
}

#[derive(Debug)]
struct Pending {
    request: Request,
    seat: Arc<Seat>,
}

/// Where the caller of one queued request waits.
#[derive(Debug, Default)]
struct Seat {
    /// Whether somebody sits here. Set under the queue's lock; cleared by who sits here, to lead.
    taken: AtomicBool,
    news: Mutex<Option<News>>,
    bell: Condvar,
}

#[derive(Debug)]
enum News {
    /// The request was served.
    Reply(Reply),
    /// The request was not served yet, and its caller leads now.
    Lead,
}

impl Seat {
    fn tell(&self, news: News) {
        *self.news.lock() = Some(news);
        self.bell.notify_one();
    }

    fn wait(&self) -> News {
        let mut news = self.news.lock();
        loop {
            if let Some(news) = news.take() {
                return news;
            }
            self.bell.wait(&mut news);
        }
    }
}

/// A batch that was queued, and its reply when it comes.
///
/// Dropping it does not cancel the batch: the next append, a
/// [`flush`](crate::EventStore::flush), the background thread or the closing of
/// the store commits it.
///
/// ```
/// use annals::{EventStore, NewEvent, Options};
///
/// let store = EventStore::in_memory(&Options::new())?;
/// let queue = |name| store.batch().event("order-7", NewEvent::new(name, "{}")).submit();
/// let (first, second) = (queue("Placed")?, queue("Paid")?);
/// // One write and one sync for both.
/// assert!(first.wait()?.last < second.wait()?.last);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Ticket {
    seat: Arc<Seat>,
    queue: Arc<Queue>,
    committer: Arc<dyn Committer>,
}

impl std::fmt::Debug for Ticket {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.debug_struct("Ticket").finish_non_exhaustive()
    }
}

impl Ticket {
    pub(crate) fn new(queued: Queued, queue: Arc<Queue>, committer: Arc<dyn Committer>) -> Ticket {
        Ticket { seat: queued.0, queue, committer }
    }

    /// Waits until the batch is committed and as durable as it asked for.
    ///
    /// Works also when the store's last handle was dropped meanwhile: closing
    /// commits what is queued.
    ///
    /// # Errors
    ///
    /// As [`EventStore::append`](crate::EventStore::append).
    pub fn wait(self) -> Result<Appended, AppendError> {
        self.queue.wait(&self.seat, &*self.committer)
    }
}

/// A request that was queued and not waited for.
#[derive(Debug)]
pub(crate) struct Queued(Arc<Seat>);

impl Queue {
    /// Commits a request: alone at once, or together with others.
    pub(crate) fn commit(&self, request: Request, committer: &dyn Committer) -> Reply {
        let mut inner = self.inner.lock();
        if !inner.leading && inner.pending.is_empty() {
            inner.leading = true;
            drop(inner);
            let mut replies = Few::new();
            Lead::new(self, committer).commit(std::slice::from_ref(&request), Vec::new(), &mut replies);
            return replies.pop().expect("one reply to one request");
        }
        let seat = Arc::new(Seat::default());
        inner.push(request, &seat);
        drop(inner);
        self.wait(&seat, committer)
    }

    /// Queues a request without waiting. Somebody has to [`drain`](Queue::drain) the
    /// queue in the end, in case nobody ever waits.
    pub(crate) fn submit(&self, request: Request) -> Queued {
        let seat = Arc::new(Seat::default());
        self.inner.lock().push(request, &seat);
        Queued(seat)
    }

    /// How many requests wait for a leader to take them.
    pub(crate) fn depth(&self) -> u64 {
        self.inner.lock().pending.len() as u64
    }

    /// Waits for the reply at `seat`, leading if nobody else does.
    fn wait(&self, seat: &Arc<Seat>, committer: &dyn Committer) -> Reply {
        loop {
            let mut inner = self.inner.lock();
            seat.taken.store(true, Ordering::Relaxed);
            // A request that is not queued any more was taken by a leader, who may have
            // handed the lead on already and is about to reply: it only has to wait.
            let is_queued = inner.pending.iter().any(|pending| Arc::ptr_eq(&pending.seat, seat));
            if !inner.leading && is_queued {
                inner.leading = true;
                seat.tell(News::Lead);
            }
            drop(inner);
            match seat.wait() {
                News::Reply(reply) => return reply,
                News::Lead => {
                    // Whoever leads does not wait: a panic takes it away, and the lead must
                    // not be handed to an empty seat.
                    seat.taken.store(false, Ordering::Relaxed);
                    // Commits the front of the queue, in which this seat may not be yet.
                    Lead::new(self, committer).take_and_commit();
                    if let Some(News::Reply(reply)) = seat.news.lock().take() {
                        return reply;
                    }
                }
            }
        }
    }

    /// Returns when everything that was queued before is served, waited for or not.
    pub(crate) fn drain(&self, committer: &dyn Committer) {
        let wanted = self.inner.lock().queued;
        loop {
            let mut inner = self.inner.lock();
            if inner.served >= wanted {
                return;
            }
            if inner.leading {
                let seat = Arc::new(Seat::default());
                inner.draining.push_back(Arc::clone(&seat));
                drop(inner);
                // There is only one kind of news for it: that it leads.
                let _ = seat.wait();
            } else {
                inner.leading = true;
                drop(inner);
            }
            Lead::new(self, committer).take_and_commit();
        }
    }

    /// Hands the lead to the first that drains or waits, or to nobody. `served`
    /// requests were taken out of the queue by the leader until now.
    fn hand_on(&self, served: usize) {
        let mut inner = self.inner.lock();
        inner.served += served as u64;
        if let Some(seat) = inner.draining.pop_front() {
            return seat.tell(News::Lead);
        }
        match inner.pending.iter().find(|pending| pending.seat.taken.load(Ordering::Relaxed)) {
            Some(next) => next.seat.tell(News::Lead),
            None => inner.leading = false,
        }
    }
}

/// The lead, in the hands of this thread until it is handed on: when its group is served, or in a panic.
struct Lead<'a> {
    queue: &'a Queue,
    committer: &'a dyn Committer,
    /// Those who wait for the group.
    seats: Vec<Arc<Seat>>,
    handed_on: bool,
}

impl<'a> Lead<'a> {
    fn new(queue: &'a Queue, committer: &'a dyn Committer) -> Lead<'a> {
        Lead { queue, committer, seats: Vec::new(), handed_on: false }
    }

    fn take_and_commit(self) {
        let mut bytes = 0;
        let mut inner = self.queue.inner.lock();
        let fitting = inner.pending.iter().take_while(|pending| {
            let is_first = bytes == 0;
            bytes += pending.request.bytes;
            is_first || bytes <= MOST_GROUP_BYTES
        });
        let count = fitting.count();
        let group = inner.pending.drain(..count).map(|pending| (pending.request, pending.seat));
        let (requests, seats): (Vec<_>, Vec<_>) = group.unzip();
        drop(inner);
        self.commit(&requests, seats, &mut Few::new());
    }

    /// Commits a group, hands the lead on, then wakes those who wait for it. The replies to those
    /// that do not stay in `replies`.
    fn commit(mut self, requests: &[Request], seats: Vec<Arc<Seat>>, replies: &mut Few<Reply>) {
        self.seats = seats;
        self.committer.commit(requests, replies);
        self.handed_on = true;
        let seats = std::mem::take(&mut self.seats);
        self.queue.hand_on(seats.len());
        let seated = seats.len();
        for (seat, reply) in seats.into_iter().zip(replies.drain(..seated)) {
            seat.tell(News::Reply(reply));
        }
    }
}

impl Drop for Lead<'_> {
    fn drop(&mut self) {
        if !self.handed_on {
            let error = self.committer.abort();
            self.queue.hand_on(self.seats.len());
            for seat in self.seats.drain(..) {
                seat.tell(News::Reply(Err(error.clone())));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::channel;
    use std::time::Duration;

    use annals_codec::StreamId;

    use super::*;
    use crate::append::ExpectedVersion;
    use crate::event::NewEvent;
    use crate::options::Durability;

    /// Panics at the first group, and refuses every later one.
    #[derive(Debug, Default)]
    struct Panicking(AtomicBool);

    impl Committer for Panicking {
        fn commit(&self, requests: &[Request], replies: &mut Few<Reply>) {
            assert!(self.0.swap(true, Ordering::Relaxed), "as the test wants it");
            replies.extend(requests.iter().map(|_| Err(self.abort())));
        }

        fn abort(&self) -> AppendError {
            AppendError::StorageFull
        }
    }

    fn request(bytes: u64) -> Request {
        let stream = StreamId::new("a").unwrap();
        let mut request = Request::single(stream, ExpectedVersion::Any, NewEvent::new("A", ""), Durability::Sync);
        request.bytes = bytes;
        request
    }

    #[test]
    fn a_leader_whose_own_request_is_still_queued_when_it_panics_leaves_nobody_waiting() {
        let queue = Arc::new(Queue::default());
        let committer = Arc::new(Panicking::default());
        // The first fills a group; the second is queued behind it, and its waiter leads.
        let first = queue.submit(request(MOST_GROUP_BYTES));
        let second = queue.submit(request(1));
        let leader = std::thread::spawn({
            let (queue, committer) = (Arc::clone(&queue), Arc::clone(&committer));
            move || queue.wait(&second.0, &*committer)
        });
        assert!(leader.join().is_err(), "the panic comes through");
        let (send, served) = channel();
        std::thread::spawn(move || {
            let _ = send.send((queue.wait(&first.0, &*committer), queue.commit(request(1), &*committer)));
        });
        let (first, third) = served.recv_timeout(Duration::from_secs(10)).expect("nobody hangs");
        assert!(matches!(first, Err(AppendError::StorageFull)), "{first:?}");
        assert!(matches!(third, Err(AppendError::StorageFull)), "{third:?}");
    }
}

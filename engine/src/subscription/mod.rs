//! Following a log: history first, then each event as it comes, in one loop.
//!
//! There is no hand-over from history to live that could leave a gap or repeat an event: a [`Subscription`]
//! always reads what comes after its position, window by window, and waits when there is nothing. What it
//! read before it waited and what it reads afterwards are found by the same reader.
//!
//! What is always true:
//!
//! - Every event that the query describes is given once, in the order of the log.
//! - The writer knows nothing of subscriptions but that somebody waits ([`News`](crate::news::News)); he
//!   waits for none of them, and nothing that goes wrong in one reaches him or another.
//! - A subscription keeps no store open. When the store is closed it gives what is left, and ends.
//!
//! Beside the loop: [`delivery`] is what it gives, [`canceller`] ends it, [`spawned`] has a thread call a closure,
//! `stream` (with the feature `async`) has a task polled.

mod canceller;
mod delivery;
pub(crate) mod spawned;
#[cfg(feature = "async")]
pub(crate) mod stream;

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use annals_codec::{Event, Position};

use crate::error::{ReadError, SubscribeError};
use crate::event::RecordedEvent;
use crate::follow::Follower;
use crate::metrics::meter::Meter;
use crate::query::Query;
use crate::read::Reader;
use crate::read::frames::Place;
use crate::sync::Mutex;
use crate::sync::atomic::{AtomicBool, Ordering};
use crate::view::Published;

pub use self::canceller::Canceller;
pub use self::delivery::Delivery;
use self::delivery::Notice;

/// So many positions are read with one look at the log. What a query hides is told after as many, a
/// cancelled subscription notices it, and segments that retention has removed can go.
const WINDOW: u64 = 1 << 17;

/// How far the log may run ahead of a subscription that was at its end before that is worth telling.
const FALLEN_BEHIND: u64 = 1024;

/// How often a reader in another process looks for the writer's progress while it waits: at first, and
/// when nothing has come for a while. Each look is one small read of WATERMARK.
const PAUSES: [Duration; 2] = [Duration::from_millis(1), Duration::from_millis(16)];

/// Where a subscription gets its events from.
#[derive(Clone, Debug)]
pub(crate) struct Source {
    pub(crate) published: Arc<Published>,
    /// In a store that is only read: who looks for the writer's progress.
    pub(crate) follower: Option<Arc<Mutex<Follower>>>,
    pub(crate) meter: Meter,
}

impl Source {
    pub(crate) fn follow(&self) -> Result<(), ReadError> {
        self.follower.as_ref().map_or(Ok(()), |follower| follower.lock().follow(&self.published))
    }
}

/// Follows a log from a position on: history, then live, no gap and no duplicate.
///
/// [`next_item`](Subscription::next_item) lends each event straight from the mapping, and waits when there is
/// none; [`next_within`](Subscription::next_within) waits only so long, [`try_next`](Subscription::try_next) not
/// at all. As an [`Iterator`] it waits too, and gives owned events. Another thread ends it by
/// [`canceller`](Subscription::canceller).
///
/// It ends by itself when the store is closed (it does not keep it open), having given what was left, and
/// with the first error, unless it was asked to [`skip_damaged`](Subscription::skip_damaged). Where it stopped,
/// [`position`](Subscription::position), is where another one can go on.
///
/// A store opened read-only is followed too, from any process: its subscriptions look for the writer's
/// progress, a thousand times a second at first and ever more rarely while nothing comes.
///
/// ```
/// use annals::{Delivery, EventStore, ExpectedVersion, NewEvent, Options, Position, Query};
///
/// let store = EventStore::in_memory(&Options::new())?;
/// store.append("order-7", ExpectedVersion::Any, NewEvent::new("Placed", "{}"))?;
///
/// let subscription = store.subscribe(Position::START, Query::All)?;
/// let follower = std::thread::spawn(move || {
///     let mut seen = Vec::new();
///     for item in subscription {
///         match item? {
///             Delivery::Event(event) => seen.push(event.event_type().to_owned()),
///             Delivery::CaughtUp(position) => println!("live from {position} on"),
///             _ => {}
///         }
///     }
///     Ok::<_, annals::ReadError>(seen)
/// });
/// store.append("order-7", ExpectedVersion::Any, NewEvent::new("Paid", "{}"))?;
///
/// // A store that is closed has no more to give.
/// drop(store);
/// assert_eq!(follower.join().unwrap()?, ["Placed", "Paid"]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Subscription {
    source: Source,
    query: Query,
    position: Position,
    /// What is being read, up to where, and the head of the log when that began.
    window: Option<(Reader, Position, Position)>,
    is_live: bool,
    fallen_behind: u64,
    skip_damaged: bool,
    ended: bool,
    cancelled: Arc<AtomicBool>,
}

impl fmt::Debug for Subscription {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Subscription { position, query, is_live, ended, .. } = self;
        let mut out = out.debug_struct("Subscription");
        out.field("position", position).field("query", query).field("is_live", is_live).field("ended", ended);
        out.finish_non_exhaustive()
    }
}

/// What was found without waiting. An event is still to be lent.
enum Found {
    Event(Place),
    Notice(Notice),
    Nothing,
}

impl Subscription {
    pub(crate) fn new(source: Source, after: Position, query: Query) -> Result<Subscription, SubscribeError> {
        query.check()?;
        source.follow()?;
        let (head, view) = source.published.pin();
        if after > head {
            return Err(SubscribeError::PositionBeyondHead { position: after, head });
        }
        let oldest = view.oldest();
        if after.plus(1) < oldest {
            return Err(SubscribeError::Truncated { oldest });
        }
        Ok(Subscription {
            source,
            query,
            position: after,
            window: None,
            is_live: false,
            fallen_behind: FALLEN_BEHIND,
            skip_damaged: false,
            ended: false,
            cancelled: Arc::default(),
        })
    }

    /// Goes on behind what cannot be read: each damaged region is still reported, by an error for each part of it
    /// that is met, and then left out. Without this the subscription ends with the first error.
    #[must_use]
    pub fn skip_damaged(mut self) -> Subscription {
        self.skip_damaged = true;
        self
    }

    /// How many events the log may run ahead of this subscription, once it has caught up, before it says
    /// [`FellBehind`](Delivery::FellBehind). Default: 1024.
    #[must_use]
    pub fn fell_behind_after(mut self, events: u64) -> Subscription {
        self.fallen_behind = events;
        self
    }

    /// Up to where everything was given or passed: where another subscription can go on.
    pub fn position(&self) -> Position {
        self.position
    }

    /// Whether it has reached the end of the log, and has not fallen behind since.
    pub fn is_live(&self) -> bool {
        self.is_live
    }

    /// Whether it will give nothing more: it was cancelled, an error has ended it, or the store is closed.
    pub fn is_ended(&self) -> bool {
        self.ended || self.cancelled.load(Ordering::SeqCst)
    }

    /// What ends this subscription from another thread, also while it waits.
    pub fn canceller(&self) -> Canceller {
        Canceller { cancelled: Arc::clone(&self.cancelled), published: Arc::clone(&self.source.published) }
    }

    /// The next item; waits until there is one. `None` at the end: it was cancelled, or the store was closed.
    ///
    /// # Errors
    ///
    /// As [`Reader::next_event`](crate::Reader::next_event); the subscription ends with it, see
    /// [`skip_damaged`](Subscription::skip_damaged).
    #[inline]
    pub fn next_item(&mut self) -> Result<Option<Delivery<Event<'_>>>, ReadError> {
        let found = match self.find()? {
            Found::Nothing => self.wait_for_it(None)?,
            found => found,
        };
        self.deliver(found)
    }

    /// The next item, if there is one in time; otherwise, and at the [end](Subscription::is_ended), `None`.
    ///
    /// # Errors
    ///
    /// As [`next_item`](Subscription::next_item).
    ///
    /// # Example
    ///
    /// ```
    /// use std::time::Duration;
    ///
    /// use annals::{Delivery, EventStore, Options, Position, Query};
    ///
    /// let store = EventStore::in_memory(&Options::new())?;
    /// let mut subscription = store.subscribe(Position::START, Query::All)?;
    /// assert!(matches!(subscription.next_item()?, Some(Delivery::CaughtUp(Position::START))));
    /// assert!(subscription.next_within(Duration::from_millis(5))?.is_none());
    /// assert!(!subscription.is_ended());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn next_within(&mut self, timeout: Duration) -> Result<Option<Delivery<Event<'_>>>, ReadError> {
        let found = match self.find()? {
            // An end beyond all time is none.
            Found::Nothing => self.wait_for_it(Instant::now().checked_add(timeout))?,
            found => found,
        };
        self.deliver(found)
    }

    /// The next item, if there is one now; otherwise, and at the [end](Subscription::is_ended), `None`.
    ///
    /// # Errors
    ///
    /// As [`next_item`](Subscription::next_item).
    #[inline]
    pub fn try_next(&mut self) -> Result<Option<Delivery<Event<'_>>>, ReadError> {
        let found = self.find()?;
        self.deliver(found)
    }

    #[expect(
        clippy::inline_always,
        reason = "in a loop over millions: 15 ns an event, where the caller is another crate"
    )]
    #[inline(always)]
    fn deliver(&mut self, found: Found) -> Result<Option<Delivery<Event<'_>>>, ReadError> {
        let Subscription { window, position, .. } = self;
        match (found, window) {
            (Found::Event(place), Some((reader, ..))) => {
                let event = reader.lend(place)?;
                *position = event.position;
                Ok(Some(Delivery::Event(event)))
            }
            (Found::Notice(notice), _) => Ok(Some(notice.of())),
            (Found::Nothing | Found::Event(_), _) => Ok(None),
        }
    }

    /// As [`deliver`](Subscription::deliver), and the event keeps what it was read from alive.
    fn deliver_owned(&mut self, found: Found) -> Result<Option<Delivery<RecordedEvent>>, ReadError> {
        let Subscription { window, position, .. } = self;
        match (found, window) {
            (Found::Event(place), Some((reader, ..))) => {
                let event = reader.own(place)?;
                *position = event.position();
                Ok(Some(Delivery::Event(event)))
            }
            (Found::Notice(notice), _) => Ok(Some(notice.of())),
            (Found::Nothing | Found::Event(_), _) => Ok(None),
        }
    }

    /// Looks for the next item, and does not wait.
    #[expect(
        clippy::inline_always,
        reason = "in a loop over millions: 15 ns an event, where the caller is another crate"
    )]
    #[inline(always)]
    fn find(&mut self) -> Result<Found, ReadError> {
        if self.is_ended() {
            return Ok(Found::Nothing);
        }
        let found = self.look();
        if let Err(error) = &found {
            self.source.meter.met(error);
            // What was removed is gone for good, and nothing stands in its place.
            self.ended |= !self.skip_damaged || matches!(error, ReadError::Truncated { .. });
        }
        found
    }

    #[expect(
        clippy::inline_always,
        reason = "in a loop over millions: 15 ns an event, where the caller is another crate"
    )]
    #[inline(always)]
    fn look(&mut self) -> Result<Found, ReadError> {
        loop {
            if let Some((reader, end, head)) = &mut self.window {
                if let Some(place) = reader.advance()? {
                    return Ok(Found::Event(place));
                }
                let (end, is_all) = (*end, end == head);
                let has_passed = self.position < end;
                self.window = None;
                self.position = end;
                if is_all && !self.is_live {
                    return Ok(self.caught_up());
                }
                if has_passed {
                    return Ok(Found::Notice(Delivery::Checkpoint(end)));
                }
            }
            if let Some(found) = self.open_window()? {
                return Ok(found);
            }
        }
    }

    /// Opens the next window; what was found instead, if there is nothing to read, or something to say first.
    fn open_window(&mut self) -> Result<Option<Found>, ReadError> {
        // Before the look: what is published before the store is closed is there when that is seen.
        let closed = self.source.published.news.is_closed();
        self.source.follow()?;
        let (head, view) = self.source.published.pin();
        let position = self.position;
        if head <= position {
            if !self.is_live {
                return Ok(Some(self.caught_up()));
            }
            self.ended = closed;
            return Ok(Some(Found::Nothing));
        }
        if self.is_live && head.get() - position.get() > self.fallen_behind {
            self.is_live = false;
            return Ok(Some(Found::Notice(Delivery::FellBehind { position, head })));
        }
        let end = position.plus(WINDOW).min(head);
        let mut reader = Reader::query(view, head, self.query.clone(), position).until(end);
        if self.skip_damaged {
            reader = reader.skip_damaged();
        }
        self.window = Some((reader, end, head));
        Ok(None)
    }

    fn caught_up(&mut self) -> Found {
        self.is_live = true;
        Found::Notice(Delivery::CaughtUp(self.position))
    }

    /// Waits until there is something; nothing, when it is `until` before that, or at the end.
    fn wait_for_it(&mut self, until: Option<Instant>) -> Result<Found, ReadError> {
        let [mut pause, longest] = PAUSES;
        loop {
            let found = self.find()?;
            if !matches!(found, Found::Nothing) || self.is_ended() || until.is_some_and(|until| Instant::now() >= until)
            {
                return Ok(found);
            }
            let mut wake = until;
            if self.source.follower.is_some() {
                // Nobody in this process is told what a writer in another one does.
                let look = Instant::now() + pause;
                wake = Some(wake.map_or(look, |until| until.min(look)));
                pause = (pause * 2).min(longest);
            }
            let Subscription { source, position, cancelled, .. } = self;
            let is_there = || source.published.has_passed(*position) || cancelled.load(Ordering::SeqCst);
            source.published.news.wait(wake, is_there);
        }
    }
}

impl Iterator for Subscription {
    type Item = Result<Delivery<RecordedEvent>, ReadError>;

    fn next(&mut self) -> Option<Self::Item> {
        let found = self.wait_for_it(None);
        found.and_then(|found| self.deliver_owned(found)).transpose()
    }
}

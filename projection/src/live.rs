//! Projections that a thread keeps up to date: [`LiveProjection`], and [`SharedPass`] for several of them.

use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use annals::{EventStore, Position};
use parking_lot::Mutex;

use crate::attached::Attached;
use crate::definition::Projection;
use crate::error::{ProjectionError, Skipped};
use crate::fold::Fold;
use crate::member::TakesPart;
use crate::pass::{Control, Pass, Until};
use crate::shared::{ProjectionStatus, Shared};

/// A projection that a thread of its own keeps up to date.
///
/// The thread catches up, and then waits for the next event; both are one loop. Appends wait for nothing of it, and
/// nothing that goes wrong in it is noticed by the writer or by other projections.
///
/// A clone is another handle. The thread ends when the last handle is dropped, or by [`stop`](LiveProjection::stop).
/// Until then it keeps the store open.
///
/// ```
/// use std::time::Duration;
///
/// use annals::{EventStore, ExpectedVersion, NewEvent, Options};
/// use annals_projection::{LiveProjection, Projection};
///
/// let store = EventStore::in_memory(&Options::new())?;
/// let placed = Projection::new("placed").when("Placed", |count: &mut u64, _| *count += 1);
/// let placed = LiveProjection::start(&store, placed)?;
///
/// // To read what one has written: wait for its position.
/// let done = store.append("order-7", ExpectedVersion::Any, NewEvent::new("Placed", "{}"))?;
/// placed.wait_for(done.last, Duration::from_secs(5))?;
/// assert_eq!(placed.read(|count, position| (*count, position)), (1, done.last));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct LiveProjection<S> {
    shared: Arc<Shared<S>>,
    running: Arc<Running>,
}

impl<S> Clone for LiveProjection<S> {
    fn clone(&self) -> LiveProjection<S> {
        LiveProjection { shared: Arc::clone(&self.shared), running: Arc::clone(&self.running) }
    }
}

impl<S> fmt::Debug for LiveProjection<S> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_tuple("LiveProjection").field(&self.shared).finish()
    }
}

/// The thread; dropping it stops and joins it.
#[derive(Debug)]
struct Running {
    control: Arc<Control>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

impl Running {
    fn start(&self, pass: Pass) -> Result<(), ProjectionError> {
        let run = move || {
            // What a handler does is caught where it is called. Should anything else go wrong, everybody is told.
            let _ = catch_unwind(AssertUnwindSafe(|| pass.run(Until::Stopped)));
            pass.end();
        };
        let spawned = thread::Builder::new().name("annals-fold".to_owned()).spawn(run);
        *self.thread.lock() = Some(spawned.map_err(|error| ProjectionError::NoThread(error.to_string()))?);
        Ok(())
    }

    fn stop(&self) {
        self.control.stop();
        // A handler may own a handle, and cannot wait for itself.
        let thread = self.thread.lock().take();
        if let Some(thread) = thread.filter(|thread| thread.thread().id() != thread::current().id()) {
            let _ = thread.join();
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.stop();
    }
}

impl<S: Clone + Send + Sync + 'static> LiveProjection<S> {
    /// Attaches a projection to a store and starts its thread.
    ///
    /// # Errors
    ///
    /// As [`Projection::attach`]; [`ProjectionError::NoThread`].
    pub fn start<F: Fold<State = S>>(
        store: &EventStore,
        projection: Projection<F>,
    ) -> Result<LiveProjection<S>, ProjectionError> {
        projection.attach(store)?.live()
    }

    pub(crate) fn of(shared: &Arc<Shared<S>>, pass: Pass) -> Result<LiveProjection<S>, ProjectionError> {
        let running = Arc::new(Running { control: Arc::clone(&pass.control), thread: Mutex::new(None) });
        running.start(pass)?;
        Ok(LiveProjection { shared: Arc::clone(shared), running })
    }

    /// Looks at the state, and at the position that it belongs to. Folding waits meanwhile: be short, or clone.
    pub fn read<R>(&self, look: impl FnOnce(&S, Position) -> R) -> R {
        let progress = self.shared.progress.read();
        look(&progress.state, progress.position)
    }

    /// A copy of the state.
    pub fn state(&self) -> S {
        self.read(|state, _| state.clone())
    }

    /// Up to where events were folded or passed.
    pub fn position(&self) -> Position {
        self.shared.signals.lock().position
    }

    /// How it is doing.
    pub fn status(&self) -> ProjectionStatus {
        self.shared.status()
    }

    /// The events that were left out.
    pub fn skipped(&self) -> Vec<Skipped> {
        self.shared.skipped()
    }

    /// Waits until the state is that after at least this position; returns how far it is. Whoever has appended and
    /// waits for that position reads what he has written.
    ///
    /// # Errors
    ///
    /// - [`ProjectionError::TimedOut`].
    /// - What the projection has failed with, such as [`ProjectionError::Faulted`], when it will not come so far by
    ///   itself; [`ProjectionError::Stopped`].
    pub fn wait_for(&self, position: Position, timeout: Duration) -> Result<Position, ProjectionError> {
        // An end beyond all time is none.
        let until = Instant::now().checked_add(timeout);
        let mut signals = self.shared.signals.lock();
        loop {
            if signals.position >= position {
                return Ok(signals.position);
            }
            if let Some(error) = signals.failed.as_ref().filter(|_| signals.retry_at.is_none()) {
                return Err(error.clone());
            }
            if signals.stopped {
                return Err(ProjectionError::Stopped);
            }
            signals.await_position(position);
            match until {
                None => self.shared.changed.wait(&mut signals),
                Some(until) => {
                    let timed_out = self.shared.changed.wait_until(&mut signals, until).timed_out();
                    if timed_out && signals.position < position {
                        return Err(ProjectionError::TimedOut { position: signals.position, wanted: position });
                    }
                }
            }
        }
    }

    /// Tries again what has failed.
    pub fn resume(&self) {
        self.shared.resume();
        self.running.control.begin_again();
    }

    /// Leaves out the event that has failed, and goes on; returns its position.
    ///
    /// # Errors
    ///
    /// [`ProjectionError::NoFault`].
    pub fn skip_one(&self) -> Result<Position, ProjectionError> {
        let skipped = self.shared.skip_one()?;
        self.running.control.begin_again();
        Ok(skipped)
    }

    /// Forgets state and snapshots, and has the thread fold everything again from the beginning. Returns
    /// at once; [`wait_for`](LiveProjection::wait_for) the head to know when it is done.
    ///
    /// # Errors
    ///
    /// [`ProjectionError::HistoryTruncated`]; [`ProjectionError::Keep`] when snapshots could not be removed. Then
    /// nothing was forgotten.
    pub fn rebuild(&self) -> Result<(), ProjectionError> {
        self.shared.start_over()?;
        self.running.control.begin_again();
        Ok(())
    }

    /// Folds everything again from the beginning, in the caller's thread, while this one serves and goes on; when
    /// the new state has come as far, it takes the place of the old one. Returns its position.
    ///
    /// # Errors
    ///
    /// As [`Attached::rebuild_beside`]; then the old state stays. An event that a handler fails on is not tried
    /// again here.
    pub fn rebuild_beside(&self) -> Result<Position, ProjectionError> {
        let position = self.shared.rebuild_beside()?;
        self.running.control.begin_again();
        Ok(position)
    }

    /// Takes a snapshot now; returns its position.
    ///
    /// # Errors
    ///
    /// As [`Attached::take_snapshot`].
    pub fn take_snapshot(&self) -> Result<Position, ProjectionError> {
        self.shared.take_snapshot()
    }

    /// Stops the thread, that of a [`SharedPass`] for all its projections, and waits for the batch of events at hand.
    /// State and position stay readable.
    pub fn stop(&self) {
        self.running.stop();
    }
}

/// Several projections that one thread keeps up to date, reading the log once for all of them.
///
/// The thread ends when the last handle of the last of them is dropped.
///
/// ```
/// use std::time::Duration;
///
/// use annals::{EventStore, ExpectedVersion, NewEvent, Options};
/// use annals_projection::{Projection, SharedPass};
///
/// let store = EventStore::in_memory(&Options::new())?;
/// let mut pass = SharedPass::new(&store);
/// let placed = pass.add(Projection::new("placed").when("Placed", |count: &mut u64, _| *count += 1))?;
/// let paid = pass.add(Projection::new("paid").when("Paid", |count: &mut u64, _| *count += 1))?;
/// pass.start()?;
///
/// store.append("order-7", ExpectedVersion::Any, NewEvent::new("Placed", "{}"))?;
/// for projection in [&placed, &paid] {
///     projection.wait_for(store.head(), Duration::from_secs(5))?;
/// }
/// assert_eq!((placed.state(), paid.state()), (1, 0));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct SharedPass {
    pass: Pass,
    running: Arc<Running>,
    store: EventStore,
}

impl fmt::Debug for SharedPass {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("SharedPass").field("store", &self.store).finish_non_exhaustive()
    }
}

impl SharedPass {
    /// A pass over a store, for nobody yet.
    pub fn new(store: &EventStore) -> SharedPass {
        let pass = Pass::new(store);
        let running = Arc::new(Running { control: Arc::clone(&pass.control), thread: Mutex::new(None) });
        SharedPass { pass, running, store: store.clone() }
    }

    /// Attaches a projection. It stands where it stands until the pass is [started](SharedPass::start).
    ///
    /// # Errors
    ///
    /// As [`Projection::attach`].
    pub fn add<F: Fold>(&mut self, projection: Projection<F>) -> Result<LiveProjection<F::State>, ProjectionError> {
        let attached: Attached<F::State> = projection.attach(&self.store)?;
        let shared = Arc::clone(attached.shared());
        self.pass.add(Arc::clone(&shared) as Arc<dyn TakesPart>);
        Ok(LiveProjection { shared, running: Arc::clone(&self.running) })
    }

    /// Starts the thread.
    ///
    /// # Errors
    ///
    /// [`ProjectionError::NoThread`].
    pub fn start(self) -> Result<(), ProjectionError> {
        self.running.start(self.pass)
    }
}

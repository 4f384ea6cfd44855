//! A projection that is brought up to date when its owner says so: [`Attached`].

use std::fmt;
use std::ops::Deref;
use std::sync::Arc;

use annals::{EventStore, Position};
use parking_lot::RwLockReadGuard;

use crate::definition::Definition;
use crate::error::{ProjectionError, Skipped};
use crate::live::LiveProjection;
use crate::member::TakesPart;
use crate::pass::{Control, Pass, Until};
use crate::shared::{ProjectionStatus, Shared};
use crate::snapshot::IgnoredSnapshot;

/// A projection attached to a store: its state, its position, and what brings both further.
///
/// Made by [`Projection::attach`](crate::Projection::attach). It is a handle of the store, which it keeps open.
pub struct Attached<S> {
    shared: Arc<Shared<S>>,
    pass: Pass,
}

impl<S> fmt::Debug for Attached<S> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_tuple("Attached").field(&self.shared).finish()
    }
}

/// Stops a [`catch_up`](Attached::catch_up) from another thread.
#[derive(Clone, Debug)]
pub struct Stopper {
    control: Arc<Control>,
}

impl Stopper {
    /// Stops it after the batch of events at hand, for good. State and position are those after the batch.
    pub fn stop(&self) {
        self.control.stop();
    }
}

impl<S: Clone + Send + Sync + 'static> Attached<S> {
    pub(crate) fn new(store: &EventStore, definition: Definition<S>) -> Result<Attached<S>, ProjectionError> {
        let shared = Shared::attach(store, definition)?;
        let mut pass = Pass::new(store);
        pass.add(Arc::clone(&shared) as Arc<dyn TakesPart>);
        Ok(Attached { shared, pass })
    }

    /// Folds everything up to the head of the log as it is now; returns the position reached.
    ///
    /// Called again it folds what came since. Snapshots are taken on the way, as they fall due.
    ///
    /// # Errors
    ///
    /// - [`ProjectionError::Faulted`] when a handler has failed; state and position are those before that event,
    ///   and stay there until [`resume`](Attached::resume) or [`skip_one`](Attached::skip_one).
    /// - [`ProjectionError::HistoryTruncated`], [`ProjectionError::Read`].
    /// - [`ProjectionError::Stopped`].
    pub fn catch_up(&mut self) -> Result<Position, ProjectionError> {
        self.pass.run(Until::CaughtUp);
        let signals = self.shared.signals.lock();
        if let Some(error) = &signals.failed {
            return Err(error.clone());
        }
        let position = signals.position;
        drop(signals);
        if self.pass.control.is_stopped() {
            return Err(ProjectionError::Stopped);
        }
        Ok(position)
    }

    /// The state.
    pub fn state(&self) -> impl Deref<Target = S> + '_ {
        RwLockReadGuard::map(self.shared.progress.read(), |progress| &progress.state)
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

    /// The snapshots that were found when it was attached and not used, and why.
    pub fn ignored_snapshots(&self) -> &[IgnoredSnapshot] {
        &self.shared.ignored
    }

    /// What stops [`catch_up`](Attached::catch_up) from another thread.
    pub fn stopper(&self) -> Stopper {
        Stopper { control: Arc::clone(&self.pass.control) }
    }

    /// Lets the next [`catch_up`](Attached::catch_up) try again what has failed.
    pub fn resume(&mut self) {
        self.shared.resume();
    }

    /// Leaves out the event that has failed; returns its position. The next [`catch_up`](Attached::catch_up) goes on behind it.
    ///
    /// # Errors
    ///
    /// [`ProjectionError::NoFault`].
    pub fn skip_one(&mut self) -> Result<Position, ProjectionError> {
        self.shared.skip_one()
    }

    /// Forgets state and snapshots, and folds everything again from the beginning.
    ///
    /// # Errors
    ///
    /// As [`catch_up`](Attached::catch_up), and [`ProjectionError::Keep`] when snapshots could not be removed: then
    /// nothing was forgotten.
    pub fn rebuild(&mut self) -> Result<Position, ProjectionError> {
        self.shared.start_over()?;
        self.catch_up()
    }

    /// Folds everything again from the beginning, beside the state that is there, and puts the new one in its place
    /// when it is complete; returns its position.
    ///
    /// # Errors
    ///
    /// As [`catch_up`](Attached::catch_up); then the old state stays.
    pub fn rebuild_beside(&mut self) -> Result<Position, ProjectionError> {
        self.shared.rebuild_beside()
    }

    /// Takes a snapshot now; returns its position.
    ///
    /// # Errors
    ///
    /// [`ProjectionError::State`] when the state cannot be encoded, or none are kept ([`Projection::keep_snapshots`](crate::Projection::keep_snapshots));
    /// [`ProjectionError::Keep`] when it cannot be written.
    pub fn take_snapshot(&mut self) -> Result<Position, ProjectionError> {
        self.shared.take_snapshot()
    }

    /// Has a thread keep it up to date from now on.
    ///
    /// # Errors
    ///
    /// [`ProjectionError::NoThread`].
    pub fn live(self) -> Result<LiveProjection<S>, ProjectionError> {
        LiveProjection::of(&self.shared, self.pass)
    }

    pub(crate) fn shared(&self) -> &Arc<Shared<S>> {
        &self.shared
    }
}

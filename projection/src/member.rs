//! A projection that takes part in a pass over the log.
//!
//! [`Shared`] is what its thread and its handles have in common. What is always true:
//!
//! - The state and its position are behind one lock, which the pass holds for a batch of events: a handle sees
//!   both of the same moment, between two batches.
//! - What a handle changes (after a fault, to start over) raises the generation. A pass that began before takes no
//!   part in that projection any more, and is begun anew.

use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::{Duration, Instant};

use annals::{Event, EventStore, Position, Query};
use parking_lot::{Condvar, Mutex, RwLock, RwLockWriteGuard};

use crate::definition::Definition;
use crate::error::{Fault, OnError, ProjectionError, Skipped, what_it_said};
use crate::progress::{Progress, Refused};
use crate::snapshot::{IgnoredSnapshot, Snapshots};

/// A projection that is attached to a store.
pub(crate) struct Shared<S> {
    pub(crate) store: EventStore,
    pub(crate) definition: Definition<S>,
    pub(crate) progress: RwLock<Progress<S>>,
    pub(crate) signals: Mutex<Signals>,
    /// Something of the signals has changed.
    pub(crate) changed: Condvar,
    snapshots: Option<Snapshots>,
    /// Held while one is taken, and while the state is put in the place of another: what is written is of this one.
    taking_snapshot: Mutex<()>,
    pub(crate) ignored: Vec<IgnoredSnapshot>,
}

/// What is known of it without its state.
#[derive(Debug, Default)]
pub(crate) struct Signals {
    pub(crate) position: Position,
    pub(crate) handled: u64,
    pub(crate) skipped: u64,
    pub(crate) caught_up: bool,
    /// Why it does not go on; unless it is to be tried again.
    pub(crate) failed: Option<ProjectionError>,
    pub(crate) retry_at: Option<Instant>,
    pub(crate) stopped: bool,
    pub(crate) generation: u64,
    pub(crate) snapshot: Option<Position>,
    pub(crate) snapshot_failed: Option<String>,
}

/// How a projection is doing.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct ProjectionStatus {
    /// Its name.
    pub name: String,
    /// Up to where events were folded or passed.
    pub position: Position,
    /// The head of the log.
    pub head: Position,
    /// How many positions it is behind the head.
    pub lag: u64,
    /// Whether it has reached the head since it was attached, and goes on from there.
    pub is_live: bool,
    /// How many events were handed to the fold.
    pub handled: u64,
    /// How many were left out.
    pub skipped: u64,
    /// Why it does not go on, or what it tries again.
    pub fault: Option<ProjectionError>,
    /// Whether that is tried again by itself.
    pub is_retrying: bool,
    /// Whether it was stopped, or the store was closed.
    pub is_stopped: bool,
    /// The newest snapshot that was used or written.
    pub snapshot: Option<Position>,
    /// Why the last snapshot was not written.
    pub snapshot_fault: Option<String>,
}

impl<S> fmt::Debug for Shared<S> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut out = out.debug_struct("Shared");
        out.field("name", &self.definition.name).field("signals", &self.signals).finish_non_exhaustive()
    }
}

impl<S: Clone + Send + Sync + 'static> Shared<S> {
    pub(crate) fn attach(store: &EventStore, definition: Definition<S>) -> Result<Arc<Shared<S>>, ProjectionError> {
        let plan = &definition.about.snapshots;
        let open = |_: &_| Snapshots::open(store, &definition.name, definition.about.schema_version);
        let snapshots = plan.as_ref().map(open).transpose()?;
        let (loaded, ignored) = match (&snapshots, plan) {
            (Some(snapshots), Some(plan)) => snapshots.load(plan)?,
            _ => (None, Vec::new()),
        };
        let snapshot = loaded.as_ref().map(|progress| progress.position);
        let progress = loaded.unwrap_or_else(|| Progress::new(definition.fold.initial()));
        check_history(store, progress.position)?;
        let signals = Signals {
            position: progress.position,
            handled: progress.handled,
            skipped: progress.skipped.len() as u64,
            snapshot,
            ..Signals::default()
        };
        let progress = RwLock::new(progress);
        Ok(Arc::new(Shared {
            store: store.clone(),
            definition,
            progress,
            signals: Mutex::new(signals),
            changed: Condvar::new(),
            snapshots,
            taking_snapshot: Mutex::new(()),
            ignored,
        }))
    }

    pub(crate) fn status(&self) -> ProjectionStatus {
        let head = self.store.head();
        let signals = self.signals.lock();
        ProjectionStatus {
            name: self.definition.name.to_string(),
            position: signals.position,
            head,
            lag: head.get().saturating_sub(signals.position.get()),
            is_live: signals.caught_up && !signals.stopped && signals.failed.is_none(),
            handled: signals.handled,
            skipped: signals.skipped,
            fault: signals.failed.clone(),
            is_retrying: signals.retry_at.is_some(),
            is_stopped: signals.stopped,
            snapshot: signals.snapshot,
            snapshot_fault: signals.snapshot_failed.clone(),
        }
    }

    pub(crate) fn skipped(&self) -> Vec<Skipped> {
        self.progress.read().skipped.clone()
    }

    /// Tries again what has failed.
    pub(crate) fn resume(&self) {
        let mut signals = self.signals.lock();
        (signals.failed, signals.retry_at) = (None, None);
        signals.generation += 1;
    }

    /// Leaves out the event that has failed.
    pub(crate) fn skip_one(&self) -> Result<Position, ProjectionError> {
        let mut progress = self.progress.write();
        let mut signals = self.signals.lock();
        let Some(ProjectionError::Faulted(fault)) = &signals.failed else { return Err(ProjectionError::NoFault) };
        let position = fault.position;
        progress.skip(skipped(fault));
        (signals.failed, signals.retry_at) = (None, None);
        signals.generation += 1;
        self.tell(&progress, &mut signals);
        Ok(position)
    }

    /// Starts over.
    pub(crate) fn start_over(&self) -> Result<(), ProjectionError> {
        check_history(&self.store, Position::START)?;
        let _no_snapshot = self.taking_snapshot.lock();
        let mut progress = self.progress.write();
        // Before the state goes: were they found again after a crash, nothing would have started over.
        self.discard_snapshots()?;
        *progress = Progress::new(self.definition.fold.initial());
        let mut signals = self.signals.lock();
        (signals.failed, signals.retry_at, signals.snapshot, signals.caught_up) = (None, None, None, false);
        signals.generation += 1;
        self.tell(&progress, &mut signals);
        Ok(())
    }

    /// Puts a state that has come at least as far in the place of this one; gives it back when it has not.
    pub(crate) fn swap(&self, with: Progress<S>) -> Result<Option<Progress<S>>, ProjectionError> {
        let _no_snapshot = self.taking_snapshot.lock();
        let mut progress = self.progress.write();
        if with.position < progress.position {
            return Ok(Some(with));
        }
        self.discard_snapshots()?;
        *progress = with;
        let mut signals = self.signals.lock();
        (signals.failed, signals.retry_at, signals.snapshot) = (None, None, None);
        signals.generation += 1;
        self.tell(&progress, &mut signals);
        Ok(None)
    }

    /// Removes what was kept of another state, before that is gone: were it found again after a crash, nothing
    /// would have been made anew.
    fn discard_snapshots(&self) -> Result<(), ProjectionError> {
        match &self.snapshots {
            Some(snapshots) if !snapshots.is_read_only() => snapshots.discard(),
            _ => Ok(()),
        }
    }

    pub(crate) fn check_history(&self, position: Position) -> Result<(), ProjectionError> {
        check_history(&self.store, position)
    }

    pub(crate) fn keeps_snapshots(&self) -> bool {
        self.snapshot_every().is_some()
    }

    /// After how many positions a snapshot is due, where any is.
    fn snapshot_every(&self) -> Option<u64> {
        let is_writable = self.snapshots.as_ref().is_some_and(|snapshots| !snapshots.is_read_only());
        self.definition.about.snapshots.as_ref().filter(|_| is_writable).map(|plan| plan.every)
    }

    fn tell(&self, progress: &Progress<S>, signals: &mut Signals) {
        signals.position = progress.position;
        signals.handled = progress.handled;
        signals.skipped = progress.skipped.len() as u64;
        self.changed.notify_all();
    }

    /// Writes the state to a file; where to, in the log.
    pub(crate) fn take_snapshot(&self) -> Result<Position, ProjectionError> {
        let (Some(snapshots), Some(plan)) = (&self.snapshots, &self.definition.about.snapshots) else {
            return Err(ProjectionError::State("the projection keeps no snapshots".to_owned()));
        };
        let _no_other = self.taking_snapshot.lock();
        let encode = || Snapshots::encode(plan, &self.progress.read());
        let taken = catch_unwind(AssertUnwindSafe(encode));
        let written =
            taken.unwrap_or_else(|panic| Err(ProjectionError::State(what_it_said(&*panic)))).and_then(|taken| {
                snapshots.write(&taken, plan.keep)?;
                Ok(taken.position)
            });
        let mut signals = self.signals.lock();
        match &written {
            Ok(position) => (signals.snapshot, signals.snapshot_failed) = (Some(*position), None),
            Err(error) => {
                tracing::warn!(projection = %self.definition.name, %error, "a snapshot was not written");
                signals.snapshot_failed = Some(error.to_string());
            }
        }
        written
    }
}

/// Whether everything behind a position can be read.
fn check_history(store: &EventStore, position: Position) -> Result<(), ProjectionError> {
    let oldest = store.oldest();
    if position.plus(1) < oldest {
        return Err(ProjectionError::HistoryTruncated { oldest, position });
    }
    Ok(())
}

pub(crate) fn skipped(fault: &Fault) -> Skipped {
    Skipped { position: fault.position, event_type: fault.event_type.clone(), reason: fault.reason.clone() }
}

/// A projection that a pass can be made with, whatever its state is.
pub(crate) trait TakesPart: Send + Sync {
    /// Its part in a pass.
    fn member(&self) -> Box<dyn Member + '_>;

    /// Nothing comes any more.
    fn stop(&self);
}

impl<S: Clone + Send + Sync + 'static> TakesPart for Shared<S> {
    fn member(&self) -> Box<dyn Member + '_> {
        Box::new(Part::new(self))
    }

    fn stop(&self) {
        self.signals.lock().stopped = true;
        self.changed.notify_all();
    }
}

/// A projection as a pass sees it.
pub(crate) trait Member {
    fn query(&self) -> &Query;

    /// A pass begins: where it has to begin for this one; `None` when it takes no part.
    fn begin_pass(&mut self) -> Option<Position>;

    /// When it wants to be tried again.
    fn retry_at(&self) -> Option<Instant>;

    /// Takes the lock for some events.
    fn begin(&mut self);

    /// Whether it takes part in the pass.
    fn is_active(&self) -> bool;

    /// Whether the pass has events that are not for it.
    fn filter(&mut self, does_filter: bool);

    /// Hands over an event, of a position that it may have passed already. Whether this is the moment to
    /// [`end`](Member::end): a snapshot is due, or it stops.
    fn event(&mut self, event: &Event<'_>) -> bool;

    /// Everything up to this position was handed over or is not for it.
    fn pass(&mut self, position: Position);

    /// Lets go of the lock and shows what was done.
    fn end(&mut self, caught_up: bool);

    /// Why it does not go on.
    fn failed(&self) -> Option<ProjectionError>;

    /// The events cannot be read.
    fn fail(&mut self, error: &ProjectionError);
}

/// A projection in a pass.
struct Part<'a, S> {
    shared: &'a Shared<S>,
    guard: Option<RwLockWriteGuard<'a, Progress<S>>>,
    /// Whether it takes part, and since which generation.
    is_active: bool,
    generation: u64,
    /// The position that has failed, and how many times.
    attempts: (Position, u32),
    snapshot_at: Option<u64>,
    is_due: bool,
    does_filter: bool,
}

impl<'a, S: Clone + Send + Sync + 'static> Part<'a, S> {
    fn new(shared: &'a Shared<S>) -> Part<'a, S> {
        Part {
            shared,
            guard: None,
            is_active: false,
            generation: 0,
            attempts: (Position::START, 0),
            snapshot_at: None,
            is_due: false,
            does_filter: false,
        }
    }

    /// What is done about an event that was refused.
    fn refused(&mut self, event: &Event<'_>, refused: Refused) {
        let Part { shared, guard: Some(progress), attempts, .. } = self else { return };
        let is_as_it_was = progress.restore(&shared.definition, &shared.store);
        let count = if attempts.0 == event.position { attempts.1 + 1 } else { 1 };
        *attempts = (event.position, count);
        let fault = Fault::new(event, refused, count);
        let mut retry_at = None;
        match shared.definition.about.on_error {
            // A fold that does not take again what it took before has not come as far as this event: it stops.
            _ if !is_as_it_was => {}
            OnError::Skip => {
                progress.skip(skipped(&fault));
                return;
            }
            OnError::Retry { attempts, pause, longest_pause } if count < attempts => {
                let doublings = 1_u32.checked_shl(count - 1).unwrap_or(u32::MAX);
                let pause = pause.saturating_mul(doublings).min(longest_pause);
                retry_at = Instant::now().checked_add(pause.min(Duration::from_secs(86_400)));
            }
            _ => {}
        }
        self.is_active = false;
        let mut signals = self.shared.signals.lock();
        (signals.failed, signals.retry_at) = (Some(ProjectionError::Faulted(fault)), retry_at);
    }
}

impl<S: Clone + Send + Sync + 'static> Member for Part<'_, S> {
    fn query(&self) -> &Query {
        &self.shared.definition.about.query
    }

    fn begin_pass(&mut self) -> Option<Position> {
        let position = self.shared.progress.read().position;
        let history = check_history(&self.shared.store, position);
        let mut signals = self.shared.signals.lock();
        if signals.retry_at.is_some_and(|at| at <= Instant::now()) {
            (signals.failed, signals.retry_at) = (None, None);
        }
        if let Err(error) = history {
            signals.failed.get_or_insert(error);
        }
        self.generation = signals.generation;
        self.is_active = signals.failed.is_none() && !signals.stopped;
        let snapshot = signals.snapshot.unwrap_or_default();
        self.snapshot_at = self.shared.snapshot_every().map(|every| snapshot.get().saturating_add(every));
        self.is_active.then_some(position)
    }

    fn retry_at(&self) -> Option<Instant> {
        self.shared.signals.lock().retry_at
    }

    fn begin(&mut self) {
        if !self.is_active {
            return;
        }
        let guard = self.shared.progress.write();
        if self.shared.signals.lock().generation == self.generation {
            self.guard = Some(guard);
        } else {
            self.is_active = false;
        }
    }

    fn is_active(&self) -> bool {
        self.is_active
    }

    fn filter(&mut self, does_filter: bool) {
        self.does_filter = does_filter;
    }

    #[inline]
    fn event(&mut self, event: &Event<'_>) -> bool {
        let Some(progress) = &mut self.guard else { return false };
        if !self.is_active || event.position <= progress.position {
            return false;
        }
        if self.does_filter && !self.shared.definition.about.query.matches(event) {
            progress.pass(event.position);
        } else if let Err(refused) = progress.apply(&self.shared.definition, event) {
            self.refused(event, refused);
        }
        self.is_due |= self.snapshot_at.is_some_and(|at| event.position.get() >= at);
        self.is_due || !self.is_active
    }

    fn pass(&mut self, position: Position) {
        let Some(progress) = self.guard.as_mut().filter(|_| self.is_active) else { return };
        progress.pass(position);
        self.is_due |= self.snapshot_at.is_some_and(|at| position.get() >= at);
    }

    fn end(&mut self, caught_up: bool) {
        let Some(mut progress) = self.guard.take() else { return };
        progress.renew_base();
        let mut signals = self.shared.signals.lock();
        signals.caught_up |= caught_up && self.is_active;
        // Shown before the lock is let go, so that who is told a position finds it.
        self.shared.tell(&progress, &mut signals);
        drop(signals);
        drop(progress);
        if std::mem::take(&mut self.is_due) && self.is_active {
            let taken = self.shared.take_snapshot();
            let from = taken.unwrap_or_else(|_| self.shared.signals.lock().position);
            self.snapshot_at = self.shared.snapshot_every().map(|every| from.get().saturating_add(every));
        }
    }

    fn failed(&self) -> Option<ProjectionError> {
        let signals = self.shared.signals.lock();
        signals.failed.clone().filter(|_| signals.retry_at.is_none())
    }

    fn fail(&mut self, error: &ProjectionError) {
        if std::mem::take(&mut self.is_active) {
            self.shared.signals.lock().failed.get_or_insert_with(|| error.clone());
            self.shared.changed.notify_all();
        }
    }
}

#[cfg(test)]
mod tests {
    use annals::{EventStore, ExpectedVersion, NewEvent, Options};

    use super::*;
    use crate::Projection;

    /// Hands the events after a position to a part that has begun a pass.
    fn hand_out(store: &EventStore, part: &mut Part<'_, u64>, after: u64) {
        part.begin();
        let mut reader = store.read_all(Position::new(after));
        while let Some(event) = reader.next_event().unwrap() {
            part.event(&event);
        }
        part.end(false);
    }

    #[test]
    fn a_pass_that_began_before_somebody_started_over_changes_nothing_any_more() {
        let store = EventStore::in_memory(&Options::new().background(false)).unwrap();
        for _ in 0..5 {
            store.append("a", ExpectedVersion::Any, NewEvent::new("A", "")).unwrap();
        }
        let counting = Projection::new("counting").when("A", |count: &mut u64, _| *count += 1);
        let shared = Shared::attach(&store, counting.define().unwrap()).unwrap();
        let mut part = Part::new(&shared);
        assert_eq!(part.begin_pass(), Some(Position::START));
        hand_out(&store, &mut part, 0);
        assert_eq!(shared.progress.read().position, Position::new(5));
        store.append("a", ExpectedVersion::Any, NewEvent::new("A", "")).unwrap();
        shared.start_over().unwrap();
        // The pass stands at 5 and goes on from there; the state is that of the beginning.
        hand_out(&store, &mut part, 5);
        part.begin();
        part.pass(Position::new(6));
        part.end(true);
        assert_eq!((shared.progress.read().position, shared.progress.read().state), (Position::START, 0));
        assert_eq!(part.begin_pass(), Some(Position::START));
        hand_out(&store, &mut part, 0);
        assert_eq!((shared.progress.read().position, shared.progress.read().state), (Position::new(6), 6));
    }
}

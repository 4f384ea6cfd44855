//! What the thread of a projection and its handles have in common: its progress, and what is known of it.
//!
//! What is always true:
//!
//! - The state and its position are behind one lock, which a pass holds for a batch of events: a handle sees
//!   both of the same moment, between two batches.
//! - What a handle changes (after a fault, to start over) raises the generation. A pass that began before takes no
//!   part in that projection any more, and is begun anew.
//! - Locks are taken in this order: that of snapshots, of the progress, of the signals.

use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Weak};
use std::thread::{self, JoinHandle};
use std::time::Instant;

use annals::{EventStore, Position};
use parking_lot::{Condvar, Mutex, RwLock};

use crate::definition::Definition;
use crate::error::{Fault, ProjectionError, Skipped, what_it_said};
use crate::progress::Progress;
use crate::snapshot::{IgnoredSnapshot, Kept, Plan, Snapshots, Taken};

/// A projection that is attached to a store.
pub(crate) struct Shared<S> {
    pub(crate) store: EventStore,
    pub(crate) definition: Definition<S>,
    pub(crate) progress: RwLock<Progress<S>>,
    pub(crate) signals: Mutex<Signals>,
    /// Something of the signals has changed.
    pub(crate) changed: Condvar,
    snapshots: Option<Snapshots>,
    /// The thread that writes one beside the pass.
    aside: Mutex<Option<JoinHandle<()>>>,
    /// Itself, for that thread.
    this: Weak<Shared<S>>,
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
    /// The least position that somebody waits for. Nobody is woken on the way there.
    awaited: Option<Position>,
}

impl Signals {
    /// Whoever waits from here on is woken when the state is that after `position`, or when it will not be.
    pub(crate) fn await_position(&mut self, position: Position) {
        self.awaited = Some(self.awaited.map_or(position, |awaited| awaited.min(position)));
    }
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
        Ok(Arc::new_cyclic(|this| Shared {
            store: store.clone(),
            definition,
            progress,
            signals: Mutex::new(signals),
            changed: Condvar::new(),
            snapshots,
            aside: Mutex::new(None),
            this: Weak::clone(this),
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
    pub(crate) fn snapshot_every(&self) -> Option<u64> {
        let is_writable = self.snapshots.as_ref().is_some_and(|snapshots| !snapshots.is_read_only());
        self.definition.about.snapshots.as_ref().filter(|_| is_writable).map(|plan| plan.every)
    }

    pub(crate) fn tell(&self, progress: &Progress<S>, signals: &mut Signals) {
        signals.position = progress.position;
        signals.handled = progress.handled;
        signals.skipped = progress.skipped.len() as u64;
        let is_reached = signals.awaited.is_some_and(|awaited| awaited <= signals.position);
        if is_reached || signals.failed.is_some() {
            // All are woken; who goes on waiting says so again.
            signals.awaited = None;
            self.changed.notify_all();
        }
    }

    /// Writes the state to a file; where to, in the log.
    pub(crate) fn take_snapshot(&self) -> Result<Position, ProjectionError> {
        let (snapshots, plan) = self.snapshots_and_plan()?;
        let _no_other = self.taking_snapshot.lock();
        let encode = || {
            let progress = self.progress.read();
            let kept = Kept { state: &progress.state, position: progress.position, notes: progress.notes() };
            Snapshots::encode(plan, &kept)
        };
        self.write(snapshots, plan, encode)
    }

    /// Has a thread write a copy of the state, so that nobody waits for the disk; whether it does. It does not while it
    /// writes another one.
    pub(crate) fn take_snapshot_aside(&self, progress: &Progress<S>) -> bool {
        let mut aside = self.aside.lock();
        if aside.as_ref().is_some_and(|thread| !thread.is_finished()) {
            return false;
        }
        let Some(shared) = self.this.upgrade() else { return false };
        let Ok(state) = catch_unwind(AssertUnwindSafe(|| progress.state.clone())) else { return false };
        let (position, notes, generation) = (progress.position, progress.notes(), self.signals.lock().generation);
        let write = move || {
            let Ok((snapshots, plan)) = shared.snapshots_and_plan() else { return };
            let _no_other = shared.taking_snapshot.lock();
            // Somebody has started over, or put another state in the place of this one.
            if shared.signals.lock().generation != generation {
                return;
            }
            let kept = Kept { state: &state, position, notes };
            // It is told in the status when this fails.
            let _ = shared.write(snapshots, plan, || Snapshots::encode(plan, &kept));
        };
        let spawned = thread::Builder::new().name("annals-snapshot".to_owned()).spawn(write);
        let is_begun = spawned.is_ok();
        // Who is replaced has finished.
        *aside = spawned.ok();
        is_begun
    }

    /// Waits for the snapshot that is being written, if there is one.
    pub(crate) fn finish_snapshot(&self) {
        let thread = self.aside.lock().take();
        if let Some(thread) = thread.filter(|thread| thread.thread().id() != thread::current().id()) {
            let _ = thread.join();
        }
    }

    fn snapshots_and_plan(&self) -> Result<(&Snapshots, &Plan<S>), ProjectionError> {
        let both = self.snapshots.as_ref().zip(self.definition.about.snapshots.as_ref());
        both.ok_or_else(|| ProjectionError::State("the projection keeps no snapshots".to_owned()))
    }

    /// Encodes and writes, and says in the status what came of it.
    fn write(
        &self,
        snapshots: &Snapshots,
        plan: &Plan<S>,
        encode: impl FnOnce() -> Result<Taken, ProjectionError>,
    ) -> Result<Position, ProjectionError> {
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
pub(crate) fn check_history(store: &EventStore, position: Position) -> Result<(), ProjectionError> {
    let oldest = store.oldest();
    if position.plus(1) < oldest {
        return Err(ProjectionError::HistoryTruncated { oldest, position });
    }
    Ok(())
}

pub(crate) fn skipped(fault: &Fault) -> Skipped {
    Skipped { position: fault.position, event_type: fault.event_type.clone(), reason: fault.reason.clone() }
}

#[cfg(test)]
mod tests {
    use annals::Options;

    use super::*;
    use crate::Projection;

    #[test]
    fn on_the_way_to_the_position_that_is_awaited_nobody_is_woken() {
        let store = EventStore::in_memory(&Options::new().background(false)).unwrap();
        let counting = Projection::new("counting").when("A", |count: &mut u64, _| *count += 1);
        let shared = Shared::attach(&store, counting.define().unwrap()).unwrap();
        let awaited_at = |position: u64| {
            let mut progress = shared.progress.write();
            progress.pass(Position::new(position));
            let mut signals = shared.signals.lock();
            shared.tell(&progress, &mut signals);
            signals.awaited
        };
        shared.signals.lock().await_position(Position::new(9));
        shared.signals.lock().await_position(Position::new(5));
        assert_eq!(awaited_at(4), Some(Position::new(5)));
        assert_eq!(awaited_at(5), None, "all were woken, and who waits for 9 says so again");
        shared.signals.lock().await_position(Position::new(9));
        assert_eq!(awaited_at(8), Some(Position::new(9)));
        shared.signals.lock().failed = Some(ProjectionError::Stopped);
        assert_eq!(awaited_at(8), None, "it will not come so far");
    }
}

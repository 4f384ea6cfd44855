//! The part of one projection in a pass over the log.
//!
//! What is always true: a part that has begun in an earlier generation of its projection changes nothing in it.

use std::time::{Duration, Instant};

use annals::{Event, Position, Query};
use parking_lot::RwLockWriteGuard;

use crate::error::{Fault, OnError, ProjectionError};
use crate::planted::{self, Bug};
use crate::progress::{Progress, Refused};
use crate::shared::{Shared, check_history, skipped};

/// A projection that a pass can be made with, whatever its state is.
pub(crate) trait TakesPart: Send + Sync {
    /// Its part in a pass; in a live one snapshots are written beside it.
    fn member(&self, is_live: bool) -> Box<dyn Member + '_>;

    /// Nothing comes any more. What is being written is there when this returns.
    fn stop(&self);
}

impl<S: Clone + Send + Sync + 'static> TakesPart for Shared<S> {
    fn member(&self, is_live: bool) -> Box<dyn Member + '_> {
        Box::new(Part::new(self, is_live))
    }

    fn stop(&self) {
        self.signals.lock().stopped = true;
        self.changed.notify_all();
        self.finish_snapshot();
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
#[expect(clippy::struct_excessive_bools, reason = "each is so or not, whatever the others are")]
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
    /// Whether one is due that could not be taken, because another was being written.
    is_overdue: bool,
    is_live: bool,
    does_filter: bool,
}

impl<'a, S: Clone + Send + Sync + 'static> Part<'a, S> {
    fn new(shared: &'a Shared<S>, is_live: bool) -> Part<'a, S> {
        Part {
            shared,
            guard: None,
            is_active: false,
            generation: 0,
            attempts: (Position::START, 0),
            snapshot_at: None,
            is_due: false,
            is_overdue: false,
            is_live,
            does_filter: false,
        }
    }

    /// What is done about an event that was refused.
    fn refused(&mut self, event: &Event<'_>, refused: Refused) {
        let Part { shared, guard: Some(progress), attempts, .. } = self else { return };
        let is_as_it_was =
            planted::has(Bug::StateWithoutPosition) || progress.restore(&shared.definition, &shared.store);
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
        let is_due = (std::mem::take(&mut self.is_due) | self.is_overdue) && self.is_active;
        if is_due && self.is_live {
            self.is_overdue = !self.shared.take_snapshot_aside(&progress);
            let from = progress.position.get();
            // Who waits for the one before looks again after each batch.
            let next = |every: u64| if self.is_overdue { u64::MAX } else { from.saturating_add(every) };
            self.snapshot_at = self.shared.snapshot_every().map(next);
            return;
        }
        drop(progress);
        if is_due {
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
        let mut part = Part::new(&shared, false);
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

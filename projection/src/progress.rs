//! How far a projection has come: its state and its position, which change together.
//!
//! An event is applied to the state in place. When that fails, the state is made again: from a copy of it, the
//! *base*, and the events since. So a fold that goes well costs no copy for each event, however large
//! the state is; copies are taken so rarely that they take a small part of the time, and so often that making
//! the state again takes no longer than the folding did.
//!
//! What is always true, whenever nobody holds the lock: the state is that after exactly the events up to the
//! position that were handed to it, without those that were skipped.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::{Duration, Instant};

use annals::{Event, EventStore, Position};

use crate::definition::Definition;
use crate::error::{Skipped, what_it_said};
use crate::snapshot::SnapshotNotes;

/// A copy may take one part in so many of the time of folding.
const COPY_SHARE: u32 = 16;

/// A state and its position.
pub(crate) struct Progress<S> {
    pub(crate) state: S,
    pub(crate) position: Position,
    /// How many events were handed to the fold.
    pub(crate) handled: u64,
    pub(crate) skipped: Vec<Skipped>,
    base: Base<S>,
}

/// A copy from which the state can be made again.
struct Base<S> {
    state: S,
    position: Position,
    handled: u64,
    taken_at: Instant,
    cost: Duration,
}

/// Why an event was not taken.
#[derive(Clone, Debug)]
pub(crate) struct Refused {
    pub(crate) reason: String,
    pub(crate) is_panic: bool,
}

impl<S: Clone + Send + Sync + 'static> Progress<S> {
    pub(crate) fn resumed(state: S, position: Position, handled: u64, skipped: Vec<Skipped>) -> Progress<S> {
        let begun = Instant::now();
        let copy = state.clone();
        let base = Base { state: copy, position, handled, taken_at: Instant::now(), cost: begun.elapsed() };
        Progress { state, position, handled, skipped, base }
    }

    pub(crate) fn new(state: S) -> Progress<S> {
        Progress::resumed(state, Position::START, 0, Vec::new())
    }

    /// What is said beside the state in a snapshot.
    pub(crate) fn notes(&self) -> SnapshotNotes {
        SnapshotNotes { handled: self.handled, skipped: self.skipped.clone() }
    }

    /// Takes a new copy, when it is time. Asked between batches.
    pub(crate) fn renew_base(&mut self) {
        if self.base.position != self.position && self.base.taken_at.elapsed() >= self.base.cost * COPY_SHARE {
            self.take_base();
        }
    }

    fn take_base(&mut self) {
        let begun = Instant::now();
        // A copy that panics leaves the old one, which is as good.
        if let Ok(copy) = catch_unwind(AssertUnwindSafe(|| self.state.clone())) {
            let Progress { position, handled, .. } = *self;
            self.base = Base { state: copy, position, handled, taken_at: Instant::now(), cost: begun.elapsed() };
        }
    }

    /// Hands an event to the fold. On an error the state is not to be used before it was
    /// [restored](Progress::restore).
    #[inline]
    pub(crate) fn apply(&mut self, definition: &Definition<S>, event: &Event<'_>) -> Result<(), Refused> {
        if definition.about.strict && !definition.fold.knows(event.event_type) && !event.stream.starts_with('$') {
            let reason = format!("no handler knows the type {}", event.event_type);
            return Err(Refused { reason, is_panic: false });
        }
        let state = &mut self.state;
        match catch_unwind(AssertUnwindSafe(|| definition.fold.apply(state, event))) {
            Ok(Ok(())) => {
                self.position = event.position;
                self.handled += 1;
                Ok(())
            }
            Ok(Err(error)) => Err(Refused { reason: error.to_string(), is_panic: false }),
            Err(panic) => Err(Refused { reason: what_it_said(&*panic), is_panic: true }),
        }
    }

    /// Makes the state again as it was at the position, which a refused event has left alone.
    ///
    /// A fold that does not take again what it took before is none. Then the projection stands where it
    /// refused, and so it does where events cannot be read again.
    /// Returns whether it is as it was.
    pub(crate) fn restore(&mut self, definition: &Definition<S>, store: &EventStore) -> bool {
        let wanted = self.position;
        let is_as_it_was = self.back_to_base(definition).is_ok() && self.replay(definition, store, wanted);
        if is_as_it_was {
            self.position = wanted;
        }
        // From here a second failure is made good at once.
        self.take_base();
        is_as_it_was
    }

    fn back_to_base(&mut self, definition: &Definition<S>) -> Result<(), ()> {
        match catch_unwind(AssertUnwindSafe(|| self.base.state.clone())) {
            Ok(copy) => {
                (self.state, self.position, self.handled) = (copy, self.base.position, self.base.handled);
                Ok(())
            }
            Err(_) => {
                let skipped = std::mem::take(&mut self.skipped);
                *self = Progress { skipped, ..Progress::new(definition.fold.initial()) };
                Err(())
            }
        }
    }

    /// Hands out again the events up to a position; whether all of them were taken.
    fn replay(&mut self, definition: &Definition<S>, store: &EventStore, until: Position) -> bool {
        let Ok(reader) = store.read(definition.about.query.clone(), self.position) else { return false };
        let mut reader = reader.until(until);
        loop {
            let event = match reader.next_event() {
                Ok(Some(event)) => event,
                Ok(None) => return true,
                Err(_) => return false,
            };
            if self.is_skipped(event.position) {
                continue;
            }
            if self.apply(definition, &event).is_err() {
                // Fewer each time, so it comes to an end.
                let good = self.position;
                if self.back_to_base(definition).is_ok() {
                    self.replay(definition, store, good);
                }
                return false;
            }
        }
    }

    fn is_skipped(&self, position: Position) -> bool {
        self.skipped.binary_search_by_key(&position, |skipped| skipped.position).is_ok()
    }

    /// Leaves an event out, for good.
    pub(crate) fn skip(&mut self, skipped: Skipped) {
        self.position = skipped.position;
        self.skipped.push(skipped);
    }

    /// Moves over events that are not handed out.
    pub(crate) fn pass(&mut self, position: Position) {
        self.position = self.position.max(position);
    }
}

//! By what requests that were made before are recognised: the ids of a segment's events, and the
//! idempotency keys of its batches.
//!
//! Ids that the store made take no room: their positions can be told from them. Those that
//! callers gave are kept, and so are keys; who uses neither pays for neither.

use annals_codec::{EventId, IdempotencyKey, MadeIds, Position};
use hashbrown::HashMap;

#[derive(Debug, Default)]
pub(super) struct Ids {
    made: MadeIds,
    given: HashMap<EventId, Position>,
    /// The offset of the commit marker of each key.
    keys: HashMap<IdempotencyKey, u64>,
}

impl Ids {
    /// Takes in the id that the event at `position` has.
    #[inline]
    pub(super) fn add(&mut self, position: Position, recorded_at: i64, id: EventId) {
        if !self.made.push(position, recorded_at, id) {
            self.given.insert(id, position);
        }
    }

    /// Takes in an id that a caller gave.
    pub(super) fn add_given(&mut self, position: Position, id: EventId) {
        self.given.insert(id, position);
    }

    /// Takes in the key of a batch.
    pub(super) fn add_key(&mut self, key: IdempotencyKey, marker: u64) {
        self.keys.insert(key, marker);
    }

    /// Gives back what growing has reserved and sealing leaves unused.
    pub(super) fn shrink(&mut self) {
        self.given.shrink_to_fit();
        self.keys.shrink_to_fit();
    }

    /// Appends to `out` the positions at which the event with this id may be.
    pub(super) fn positions(&self, id: EventId, out: &mut Vec<Position>) {
        out.extend(self.given.get(&id));
        out.extend(self.made.candidates(id));
    }

    /// The offset of the commit marker that has this key.
    pub(super) fn marker(&self, key: &str) -> Option<u64> {
        self.keys.get(key).copied()
    }
}

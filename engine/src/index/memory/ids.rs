//! By what requests that were made before are recognised: the ids of a segment's events, and the
//! idempotency keys of its batches.
//!
//! Ids that the store made take no room: their positions can be told from them. Those that
//! callers gave are kept, and so are keys; who uses neither pays for neither.

use annals_codec::{EventId, IdempotencyKey, MadeIds, Position};
use hashbrown::HashMap;

use crate::sync::RwLock;

#[derive(Debug, Default)]
pub(crate) struct Ids {
    inner: RwLock<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    made: MadeIds,
    given: HashMap<EventId, Position>,
    /// The offset of the commit marker of each key.
    keys: HashMap<IdempotencyKey, u64>,
}

impl Ids {
    /// Takes in a group: the first and the last of the ids that the store has made, and those
    /// and the keys that callers gave.
    pub(crate) fn add<'a>(
        &self,
        made: impl IntoIterator<Item = (Position, i64, EventId)>,
        given: &HashMap<EventId, Position>,
        keys: impl Iterator<Item = (&'a IdempotencyKey, u64)>,
    ) {
        let mut inner = self.inner.write();
        for (position, recorded_at, id) in made {
            if !inner.made.push(position, recorded_at, id) {
                inner.given.insert(id, position);
            }
        }
        inner.given.extend(given);
        inner.keys.extend(keys.map(|(key, marker)| (key.clone(), marker)));
    }

    /// Takes in a batch of which nobody knows any more who made its ids, each with the time of recording:
    /// the first of its events is at `first`, and its marker at `marker`.
    pub(crate) fn add_read(&self, first: Position, ids: &[(i64, EventId)], key: Option<&str>, marker: u64) {
        let mut inner = self.inner.write();
        for (position, (recorded_at, id)) in (first.get()..).zip(ids) {
            let position = Position::new(position);
            if !inner.made.push(position, *recorded_at, *id) {
                inner.given.insert(*id, position);
            }
        }
        if let Some(key) = key.and_then(|key| IdempotencyKey::new(key).ok()) {
            inner.keys.insert(key, marker);
        }
    }

    /// Gives back what growing has reserved and sealing leaves unused.
    pub(crate) fn shrink(&self) {
        let mut inner = self.inner.write();
        inner.given.shrink_to_fit();
        inner.keys.shrink_to_fit();
    }

    /// Appends to `out` the positions at which the event with this id may be.
    pub(crate) fn positions(&self, id: EventId, out: &mut Vec<Position>) {
        let inner = self.inner.read();
        out.extend(inner.given.get(&id));
        out.extend(inner.made.candidates(id));
    }

    /// Appends to `out` the offset of the commit marker that has this key.
    pub(crate) fn markers(&self, key: &str, out: &mut Vec<u64>) {
        out.extend(self.inner.read().keys.get(key));
    }
}

//! The group at hand, encoded: what goes to disk in one write.
//!
//! Later requests of the group are checked against it, as if it were in the log already.

use annals_codec::{
    BatchHasher, Chain, Commit, Digest, Event, EventId, FRAME_ALIGN, Frame, IdempotencyKey, Position, SourceName,
    chain_after, encoded_event_digest,
};
use hashbrown::HashMap;

use super::request::Request;
use crate::index::find::Batch;
use crate::index::memory::{Adding, Run};
use crate::log::active::ActiveLog;

/// What stays allocated for the next group, in bytes.
const KEPT_BUFFER: usize = 1 << 20;

/// The same, in events.
const KEPT_EVENTS: usize = 4096;

#[derive(Debug, Default)]
pub(super) struct Encoded {
    pub(super) bytes: Vec<u8>,
    pub(super) runs: Vec<Run>,
    /// Offset/8 of each event, in the order of positions.
    pub(super) offsets: Vec<u32>,
    pub(super) tracking: Vec<(SourceName, u64)>,
    pub(super) batches: u64,
    /// The last position before the group, and of the group so far.
    pub(super) base: Position,
    pub(super) last: Position,
    pub(super) chain: u32,
    /// The hash chain after the group so far, where the segment keeps one.
    pub(super) hash: Option<Digest>,
    pub(super) recorded_at: Option<(i64, i64)>,
    pub(super) checksums: Chain,
    /// Where in the segment its bytes begin.
    start: u64,
    pub(super) marks: Marks,
}

/// By what the requests of a group would be recognised if they came again.
#[derive(Debug, Default)]
pub(super) struct Marks {
    /// The first and the last id that the store has made, if they are two, and for what: position and
    /// time of recording.
    first_made: Option<(Position, i64, EventId)>,
    last_made: Option<(Position, i64, EventId)>,
    /// Ids of the callers'.
    pub(super) given: HashMap<EventId, Position>,
    /// Keys, each with the number of its batch in `batches`.
    keys: HashMap<IdempotencyKey, usize>,
    /// Batches with a key or with given ids.
    batches: Vec<Batch>,
}

impl Marks {
    fn clear(&mut self) {
        (self.first_made, self.last_made) = (None, None);
        // Most groups have none of these, and emptying a table of nothing costs something, too.
        if !self.batches.is_empty() {
            self.given.clear();
            self.given.shrink_to(KEPT_EVENTS);
            self.keys.clear();
            self.keys.shrink_to(KEPT_EVENTS);
            self.batches.clear();
            self.batches.shrink_to(KEPT_EVENTS);
        }
    }

    /// Takes in an id that the store has made.
    #[inline]
    pub(super) fn made(&mut self, position: Position, recorded_at: i64, id: EventId) {
        if self.first_made.is_none() {
            self.first_made = self.last_made;
        }
        self.last_made = Some((position, recorded_at, id));
    }

    /// Tells the index of the segment what was marked.
    #[inline]
    pub(super) fn add_to(&self, index: &mut Adding<'_>) {
        for (position, recorded_at, id) in self.first_made.iter().chain(&self.last_made) {
            index.id(*position, *recorded_at, *id);
        }
        for (id, position) in &self.given {
            index.given_id(*position, *id);
        }
        for (key, number) in &self.keys {
            index.key(key.clone(), self.batches[*number].marker);
        }
    }
}

impl Encoded {
    /// Starts over, behind the end of the log.
    pub(super) fn start(&mut self, log: &ActiveLog) {
        self.bytes.clear();
        self.bytes.shrink_to(KEPT_BUFFER);
        self.runs.clear();
        self.runs.shrink_to(KEPT_EVENTS);
        self.offsets.clear();
        self.offsets.shrink_to(KEPT_EVENTS);
        self.tracking.clear();
        self.batches = 0;
        self.base = log.position();
        self.last = log.position();
        self.chain = log.chain();
        self.hash = log.hash();
        self.recorded_at = None;
        self.checksums.clear();
        self.start = log.written();
        self.marks.clear();
    }

    /// Where in the segment the next frame begins.
    pub(super) fn end(&self) -> u64 {
        self.start + self.bytes.len() as u64
    }

    /// The event with this number in the group.
    ///
    /// # Panics
    ///
    /// When the group has fewer.
    pub(super) fn event(&self, number: usize) -> Event<'_> {
        Event::decode_again(&self.frame(number)).expect("it was just encoded")
    }

    fn frame(&self, number: usize) -> Frame<'_> {
        let at = u64::from(self.offsets[number]) * FRAME_ALIGN - self.start;
        Frame::read_unverified(&self.bytes[at as usize..]).expect("it was just encoded")
    }

    /// Takes the batch whose marker comes next into the hash chain, given the digest of what each of its events carries.
    /// Apart from encoding, which is not to pay for this where there is no chain.
    #[cold]
    pub(super) fn hash_batch(&mut self, marker: &mut Commit<'_>, payloads: &[Digest], hasher: &mut BatchHasher) {
        let first = self.offsets.len() - payloads.len();
        for (number, payload) in (first..).zip(payloads) {
            hasher.push(&encoded_event_digest(&self.frame(number), payload).expect("it was just encoded"));
        }
        self.hash = self.hash.map(|hash| chain_after(&hash, &hasher.close(marker)));
        marker.hash = self.hash;
    }

    /// The number in the group of the event at this position; of the first, for one before the group.
    pub(super) fn number_of(&self, position: Position) -> usize {
        position.get().saturating_sub(self.base.get() + 1) as usize
    }

    /// Remembers by what a request would be recognised whose events are encoded now, and whose marker comes next.
    pub(super) fn mark(&mut self, request: &Request) {
        let first = self.last.get() + 1 - request.events.len() as u64;
        let given = (first..).zip(&request.events).filter_map(|(position, (_, event))| Some((event.id?, position)));
        self.marks.given.extend(given.map(|(id, position)| (id, Position::new(position))));
        if let Some(key) = &request.key {
            self.marks.keys.insert(key.clone(), self.marks.batches.len());
        }
        let tracking = request.tracking.as_ref().map(|(source, upstream)| (Box::from(&**source), *upstream));
        let batch = Batch { first: Position::new(first), last: self.last, tracking, marker: self.end() };
        self.marks.batches.push(batch);
    }

    /// The batch of the group that has this key.
    pub(super) fn batch_with(&self, key: &IdempotencyKey) -> Option<&Batch> {
        self.marks.keys.get(key).map(|number| &self.marks.batches[*number])
    }

    /// The batch of the group, among those that have given ids, in which the event at `position` is.
    pub(super) fn batch_of(&self, position: Position) -> Option<&Batch> {
        let behind = self.marks.batches.partition_point(|batch| batch.first <= position);
        // One without events begins where the next one does, and stands before it.
        self.marks.batches[..behind].last().filter(|batch| position <= batch.last)
    }
}

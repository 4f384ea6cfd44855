//! Proofs that are checked without the store: that an event is in a log, or that a log has only grown.
//!
//! ```text
//!  event ─ its digest ─► batch: first position, digests of all its events, key, tracking
//!                          │ digest
//!                          ▼
//!                        leaf number n ─ path ─► root of the tree of so many batches: a tree head
//! ```
//!
//! A [`TreeHead`] is what its owner trusts: it was published or signed while nobody could know what would be asked. What
//! is proven holds for it and for nothing else. What is always true:
//!
//! - Every field of a proof is in something that is hashed, or is compared with the head: none can be changed unseen.
//! - Nothing panics, whatever it is given.

use crate::commit::{Commit, Tracking};
use crate::digest::Digest;
use crate::event::{ContentType, Event, Tags};
use crate::hash_chain::{BatchHasher, event_digest};
use crate::ids::{Epoch, EventId, LogId, Position, StreamVersion};
use crate::merkle::{check_consistency, check_inclusion};

/// The tree over the batches of a log at some moment: what proofs are checked against.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub struct TreeHead {
    /// The log.
    pub log_id: LogId,
    /// The position behind which its hash chain begins, and the tree with it.
    pub from: Position,
    /// How many batches the tree has.
    pub size: u64,
    /// Its root.
    pub root: Digest,
}

/// An event, all of it but its data and metadata, for which their digest stands
/// ([`payload_digest`](crate::payload_digest)). So a proof can be shown to somebody who is not to read them.
#[derive(Clone, Debug, Eq, PartialEq)]
#[allow(missing_docs, reason = "the fields are those of an event")]
pub struct ProvenEvent {
    pub position: Position,
    pub version: StreamVersion,
    pub id: EventId,
    pub recorded_at: i64,
    pub occurred_at: Option<i64>,
    pub correlation_id: Option<EventId>,
    pub causation_id: Option<EventId>,
    pub schema_version: u16,
    pub content_type: ContentType,
    pub stream: String,
    pub event_type: String,
    /// As they are encoded in the event's frame.
    pub tags: Vec<u8>,
    /// The digest of data and metadata.
    pub payload: Digest,
}

impl ProvenEvent {
    /// An event whose data and metadata have this digest.
    pub fn of(event: &Event<'_>, payload: Digest) -> ProvenEvent {
        ProvenEvent {
            position: event.position,
            version: event.version,
            id: event.id,
            recorded_at: event.recorded_at,
            occurred_at: event.occurred_at,
            correlation_id: event.correlation_id,
            causation_id: event.causation_id,
            schema_version: event.schema_version,
            content_type: event.content_type,
            stream: event.stream.to_owned(),
            event_type: event.event_type.to_owned(),
            tags: event.tags.encoded().to_vec(),
            payload,
        }
    }

    /// Its digest; `None` when its names are longer than any can be.
    pub fn digest(&self) -> Option<Digest> {
        let is_short = |len: usize, bits: u32| len >> bits == 0;
        let fits =
            is_short(self.stream.len(), 16) && is_short(self.event_type.len(), 8) && is_short(self.tags.len(), 16);
        let mut event = Event::new(&self.stream, &self.event_type, &[]);
        event.position = self.position;
        event.version = self.version;
        event.id = self.id;
        event.recorded_at = self.recorded_at;
        event.occurred_at = self.occurred_at;
        event.correlation_id = self.correlation_id;
        event.causation_id = self.causation_id;
        event.schema_version = self.schema_version;
        event.content_type = self.content_type;
        event.tags = Tags::from_encoded(&self.tags);
        fits.then(|| event_digest(&event, &self.payload))
    }
}

/// A batch, with digests for its events.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct ProvenBatch {
    /// The position of its first event.
    pub first: Position,
    /// The digest of each of its events.
    pub events: Vec<Digest>,
    /// Its idempotency key.
    pub key: Option<String>,
    /// The foreign source that it tracks, and up to where.
    pub tracking: Option<(String, u64)>,
}

impl ProvenBatch {
    /// Its digest in this log; `None` when it is no batch that can be.
    pub fn digest(&self, log_id: LogId) -> Option<Digest> {
        let count = u32::try_from(self.events.len()).ok()?;
        let last = Position::new(self.first.get().checked_add(u64::from(count))?.checked_sub(1)?);
        let is_short = |text: &str| text.len() >> 15 == 0;
        let sources = self.tracking.as_ref().map(|(source, _)| source);
        if !self.key.iter().chain(sources).all(|text| is_short(text)) {
            return None;
        }
        let mut marker = Commit::new(Epoch::default(), last, count);
        marker.key = self.key.as_deref();
        marker.tracking = self.tracking.as_ref().map(|(source, upstream)| Tracking { source, upstream: *upstream });
        let mut hasher = BatchHasher::new(log_id);
        self.events.iter().for_each(|event| hasher.push(event));
        Some(hasher.close(&marker))
    }
}

/// That an event is in a log.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct InclusionProof {
    /// The tree that it is proven for.
    pub head: TreeHead,
    /// The event.
    pub event: ProvenEvent,
    /// The batch that it was appended with.
    pub batch: ProvenBatch,
    /// The number of that batch in the tree, counted from 0.
    pub number: u64,
    /// What the leaf is hashed with on its way to the root.
    pub path: Vec<Digest>,
}

/// That one tree is the beginning of another: nothing that was there was changed, and nothing was taken away.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct ConsistencyProof {
    /// The tree as it was.
    pub old: TreeHead,
    /// The tree as it is.
    pub head: TreeHead,
    /// The nodes that lead to both roots.
    pub path: Vec<Digest>,
}

/// Why a proof shows nothing.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum ProofFault {
    /// It is for another tree than the one that is trusted.
    #[error("it is a proof for another tree")]
    OtherTree,
    /// The event is not in the batch, at its position.
    #[error("the batch has another event at that position")]
    Event,
    /// Its hashes lead to another root.
    #[error("its hashes do not lead to the root")]
    Root,
}

impl InclusionProof {
    /// Checks that it shows the event to be in the log whose tree was `trusted`.
    ///
    /// # Errors
    ///
    /// [`ProofFault`] says why it does not.
    pub fn check(&self, trusted: &TreeHead) -> Result<(), ProofFault> {
        if self.head != *trusted {
            return Err(ProofFault::OtherTree);
        }
        let number = self.event.position.get().checked_sub(self.batch.first.get());
        let stated = number.and_then(|number| self.batch.events.get(usize::try_from(number).ok()?));
        if stated.is_none() || stated != self.event.digest().as_ref() {
            return Err(ProofFault::Event);
        }
        let leads = |batch: Digest| check_inclusion(&batch, self.number, trusted.size, &trusted.root, &self.path);
        if self.batch.digest(trusted.log_id).is_some_and(leads) { Ok(()) } else { Err(ProofFault::Root) }
    }
}

impl ConsistencyProof {
    /// Checks that it shows the log that was `old` to have become `new`. Both have to be trusted: hashes lead to the
    /// root of the new tree, and do not tell how many batches it has.
    ///
    /// # Errors
    ///
    /// [`ProofFault`] says why it does not.
    pub fn check(&self, old: &TreeHead, new: &TreeHead) -> Result<(), ProofFault> {
        let of_one_log = (old.log_id, old.from) == (new.log_id, new.from);
        if self.old != *old || self.head != *new || !of_one_log {
            return Err(ProofFault::OtherTree);
        }
        // Every tree goes on from none, with any root: that shows nothing of the new one.
        let leads = check_consistency((old.size, &old.root), (new.size, &new.root), &self.path);
        if leads && old.size > 0 { Ok(()) } else { Err(ProofFault::Root) }
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use super::*;
    use crate::digest::Hasher;
    use crate::hash_chain::payload_digest;
    use crate::merkle::{Nodes, Peaks, consistency, inclusion, stored_at};
    use crate::testing::{Parts, Rng};

    const LOG: LogId = LogId::from_bytes([7; 16]);

    struct Stored(Vec<Digest>);

    impl Nodes for Stored {
        type Error = Infallible;

        fn complete(&mut self, level: u32, index: u64) -> Result<Digest, Infallible> {
            Ok(self.0[stored_at(level, index) as usize])
        }
    }

    /// Eleven batches; the proof that an event of number 6 is in the tree, and that the first seven begin it.
    fn proofs() -> (InclusionProof, ConsistencyProof) {
        let (mut peaks, mut nodes, mut heads, mut proven) = (Peaks::default(), Stored(Vec::new()), Vec::new(), None);
        let (mut rng, mut first) = (Rng::new(3), Position::new(1));
        for number in 0..11_u64 {
            let events: Vec<ProvenEvent> = (0..=number % 3 + 1)
                .map(|at| {
                    let parts = Parts::random(&mut rng);
                    let event = parts.event(first.plus(at));
                    ProvenEvent::of(&event, payload_digest(event.data, event.metadata))
                })
                .collect();
            let batch = ProvenBatch {
                first,
                events: events.iter().map(|event| event.digest().unwrap()).collect(),
                key: (number % 2 == 0).then(|| format!("key-{number}")),
                tracking: (number % 3 == 0).then(|| ("shop".to_owned(), number)),
            };
            peaks.push(&batch.digest(LOG).unwrap(), |node| nodes.0.push(node));
            heads.push(TreeHead { log_id: LOG, from: Position::START, size: peaks.size(), root: peaks.root() });
            first = first.plus(events.len() as u64);
            if number == 6 {
                proven = Some((events[1].clone(), batch));
            }
        }
        let (event, batch) = proven.unwrap();
        let (old, head) = (heads[6], heads[10]);
        let Ok(path) = inclusion(&mut nodes, 6, 11);
        let Ok(between) = consistency(&mut nodes, 7, 11);
        (InclusionProof { head, event, batch, number: 6, path }, ConsistencyProof { old, head, path: between })
    }

    #[test]
    fn a_proof_holds_for_the_tree_that_it_was_made_for() {
        let (inclusion, consistency) = proofs();
        assert_eq!(inclusion.check(&inclusion.head), Ok(()));
        assert_eq!(inclusion.check(&consistency.old), Err(ProofFault::OtherTree));
        let ConsistencyProof { old, head, .. } = &consistency;
        assert_eq!(consistency.check(old, head), Ok(()));
        assert_eq!(consistency.check(head, head), Err(ProofFault::OtherTree));
        assert_eq!(consistency.check(old, old), Err(ProofFault::OtherTree));
    }

    #[test]
    fn every_field_of_an_inclusion_proof_is_in_what_is_proven() {
        let (proof, _) = proofs();
        let changes: [fn(&mut InclusionProof); 30] = [
            |proof| proof.head.log_id = LogId::from_bytes([8; 16]),
            |proof| proof.head.from = Position::new(1),
            |proof| proof.head.size += 1,
            |proof| proof.head.root = Hasher::digest(b"other"),
            |proof| proof.number += 1,
            |proof| proof.number -= 1,
            |proof| proof.path[0] = Hasher::digest(b"other"),
            |proof| proof.path.truncate(proof.path.len() - 1),
            |proof| proof.path.push(Hasher::digest(b"other")),
            |proof| proof.batch.first = proof.batch.first.plus(1),
            |proof| proof.batch.events[0] = Hasher::digest(b"other"),
            |proof| proof.batch.events.truncate(proof.batch.events.len() - 1),
            |proof| proof.batch.key = None,
            |proof| proof.batch.key = Some("key-7".to_owned()),
            |proof| proof.batch.tracking = None,
            |proof| proof.batch.tracking = Some(("shop".to_owned(), 7)),
            |proof| proof.event.position = proof.event.position.plus(1),
            |proof| proof.event.version = proof.event.version.plus(1),
            |proof| proof.event.id = EventId::from_bytes([9; 16]),
            |proof| proof.event.recorded_at += 1,
            |proof| proof.event.occurred_at = Some(proof.event.occurred_at.map_or(0, |at| at ^ 1)),
            |proof| proof.event.correlation_id = Some(EventId::from_bytes([9; 16])),
            |proof| proof.event.causation_id = Some(EventId::from_bytes([9; 16])),
            |proof| proof.event.schema_version ^= 1,
            |proof| proof.event.content_type = ContentType::new(proof.event.content_type.number() ^ 1),
            |proof| proof.event.stream.push('x'),
            |proof| proof.event.event_type.push('x'),
            |proof| proof.event.tags.push(b'x'),
            |proof| proof.event.payload = Hasher::digest(b"other"),
            |proof| proof.event.stream = "x".repeat(1 << 20),
        ];
        for (number, change) in changes.iter().enumerate() {
            let mut other = proof.clone();
            change(&mut other);
            assert_ne!(other, proof, "change {number} changes something");
            assert!(other.check(&proof.head).is_err(), "change {number}");
        }
    }

    #[test]
    fn every_field_of_a_consistency_proof_is_in_what_is_proven() {
        let (_, proof) = proofs();
        let changes: [fn(&mut ConsistencyProof); 11] = [
            |proof| proof.old.log_id = LogId::from_bytes([8; 16]),
            |proof| proof.old.from = Position::new(1),
            |proof| proof.old.size -= 1,
            |proof| proof.old.root = Hasher::digest(b"other"),
            |proof| proof.head.log_id = LogId::from_bytes([8; 16]),
            |proof| proof.head.from = Position::new(1),
            |proof| proof.head.size += 1,
            |proof| proof.head.root = Hasher::digest(b"other"),
            |proof| proof.path[0] = Hasher::digest(b"other"),
            |proof| proof.path.truncate(proof.path.len() - 1),
            |proof| proof.path.push(Hasher::digest(b"other")),
        ];
        for (number, change) in changes.iter().enumerate() {
            let mut other = proof.clone();
            change(&mut other);
            assert!(other.check(&proof.old, &proof.head).is_err(), "change {number}");
        }
    }

    #[test]
    fn that_a_tree_goes_on_from_none_shows_nothing() {
        let (_, proof) = proofs();
        let none = TreeHead { size: 0, root: Hasher::digest(&[]), ..proof.old };
        let proof =
            ConsistencyProof { old: none, head: TreeHead { root: Hasher::digest(b"any"), ..proof.head }, path: vec![] };
        assert_eq!(proof.check(&none, &proof.head), Err(ProofFault::Root));
    }

    #[test]
    fn a_batch_that_cannot_be_is_refused_and_does_not_panic() {
        let (proof, _) = proofs();
        for change in [
            (|batch| batch.first = Position::new(u64::MAX)) as fn(&mut ProvenBatch),
            |batch| (batch.first, batch.events) = (Position::START, Vec::new()),
            |batch| batch.key = Some("k".repeat(1 << 16)),
            |batch| batch.tracking = Some(("s".repeat(1 << 16), 1)),
        ] {
            let mut other = proof.clone();
            change(&mut other.batch);
            assert_eq!(other.batch.digest(LOG), None);
            assert!(other.check(&proof.head).is_err());
        }
    }
}

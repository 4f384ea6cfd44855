//! The hash chain: what makes a change to the past show.
//!
//! ```text
//!  payload = H(02 ‖ length of data 4 ‖ length of metadata 4 ‖ data ‖ metadata)
//!  event   = H(03 ‖ the other fields, fixed ones first ‖ payload ‖ stream ‖ type ‖ tags)
//!  batch   = H(04 ‖ log id 16 ‖ first position 8 ‖ count 4 ‖ length of key 2 ‖ length of tracking 2
//!              ‖ event of each ‖ key ‖ tracking record)
//!  chain   = H(05 ‖ chain before ‖ batch)
//!  first   = H(06 ‖ log id 16 ‖ position 8)            before the first batch that is hashed
//! ```
//!
//! What is always true:
//!
//! - Lengths stand before what they measure, so no two histories are hashed over the same bytes; and each kind of
//!   thing begins with a byte of its own, so none of them is ever taken for another.
//! - Every field of an event and of its batch is in it. What is not: checksums, offsets and the writer's epoch,
//!   which say where and when the bytes were written, and not what happened.
//! - The data and metadata of an event are in it through their own digest. Whoever has that digest can go on
//!   without them.

use crate::commit::Commit;
use crate::digest::{Digest, Hasher};
use crate::event::{Event, EventFault};
use crate::frame::Frame;
use crate::ids::{LogId, Position};
use crate::wire;

// 0 and 1 begin the nodes of the tree over batches.
const PAYLOAD: u8 = 2;
const EVENT: u8 = 3;
const BATCH: u8 = 4;
const CHAIN: u8 = 5;
const FIRST: u8 = 6;

/// As in the event's frame: none is not the same as empty.
const NO_METADATA: u32 = u32::MAX;

/// The digest of an event's data and metadata.
pub fn payload_digest(data: &[u8], metadata: Option<&[u8]>) -> Digest {
    let len = |len: usize| u32::try_from(len).expect("limits keep parts below 4 GiB");
    let mut head = [0; 9];
    head[0] = PAYLOAD;
    wire::set_u32(&mut head, 1, len(data.len()));
    wire::set_u32(&mut head, 5, metadata.map_or(NO_METADATA, |metadata| len(metadata.len())));
    let mut hasher = Hasher::new();
    hasher.update(&head);
    hasher.update(data);
    hasher.update(metadata.unwrap_or_default());
    hasher.finish()
}

/// The digest of an event whose data and metadata have the digest `payload`; they themselves are not looked at.
pub fn event_digest(event: &Event<'_>, payload: &Digest) -> Digest {
    let texts = [event.stream.as_bytes(), event.event_type.as_bytes(), event.tags.encoded()];
    digest_of(event, texts.map(<[u8]>::len), &texts, payload)
}

/// The same of the event in a frame that was just encoded: its texts are not looked at either.
///
/// # Errors
///
/// [`EventFault`] when the frame is not what [`Event::encode`] gives.
pub fn encoded_event_digest(frame: &Frame<'_>, payload: &Digest) -> Result<Digest, EventFault> {
    let (event, texts) = Event::decode_without_texts(frame)?;
    Ok(digest_of(&event, texts.lens(), &[texts.bytes()], payload))
}

/// The digest of an event with these texts, which stand one behind the other, in whatever pieces.
#[inline]
fn digest_of(event: &Event<'_>, [stream, event_type, tags]: [usize; 3], texts: &[&[u8]], payload: &Digest) -> Digest {
    /// The byte, eleven numbers, the three optional ones, and the payload.
    const MOST: usize = 1 + 8 + 8 + 16 + 8 + 2 + 1 + 1 + 2 + 1 + 2 + (8 + 16 + 16) + Digest::LEN;
    let mut fixed = [0; MOST];
    fixed[0] = EVENT;
    wire::set_u64(&mut fixed, 1, event.position.get());
    wire::set_u64(&mut fixed, 9, event.version.get());
    fixed[17..33].copy_from_slice(event.id.as_bytes());
    wire::set_i64(&mut fixed, 33, event.recorded_at);
    wire::set_u16(&mut fixed, 41, event.schema_version);
    fixed[43] = event.content_type.number();
    let short = |len: usize| u16::try_from(len).expect("names are short");
    wire::set_u16(&mut fixed, 45, short(stream));
    fixed[47] = event_type as u8;
    wire::set_u16(&mut fixed, 48, short(tags));
    let mut end = 50;
    let mut put = |flag: u8, bytes: &[u8]| {
        fixed[44] |= flag;
        fixed[end..end + bytes.len()].copy_from_slice(bytes);
        end += bytes.len();
    };
    if let Some(at) = event.occurred_at {
        let mut time = [0; 8];
        wire::set_i64(&mut time, 0, at);
        put(1, &time);
    }
    if let Some(id) = event.correlation_id {
        put(2, id.as_bytes());
    }
    if let Some(id) = event.causation_id {
        put(4, id.as_bytes());
    }
    put(0, payload.as_bytes());
    let mut hasher = Hasher::new();
    hasher.update(&fixed[..end]);
    for text in texts {
        hasher.update(text);
    }
    hasher.finish()
}

/// The digest of one batch while its events are written or checked.
#[derive(Clone, Debug)]
pub struct BatchHasher {
    log_id: LogId,
    events: Vec<u8>,
}

impl BatchHasher {
    /// For batches of this log.
    pub fn new(log_id: LogId) -> BatchHasher {
        BatchHasher { log_id, events: Vec::new() }
    }

    /// Takes in the digest of the next event.
    #[inline]
    pub fn push(&mut self, event: &Digest) {
        self.events.extend_from_slice(event.as_bytes());
    }

    /// Takes in the next event.
    pub fn event(&mut self, event: &Event<'_>) {
        self.push(&event_digest(event, &payload_digest(event.data, event.metadata)));
    }

    /// The digest of the batch that ends with `marker`; then starts over for the next one.
    pub fn close(&mut self, marker: &Commit<'_>) -> Digest {
        let mut head = [0; 33];
        head[0] = BATCH;
        head[1..17].copy_from_slice(self.log_id.as_bytes());
        wire::set_u64(&mut head, 17, marker.first.get());
        wire::set_u32(&mut head, 25, marker.count);
        let short = |len: usize| u16::try_from(len).expect("names are short");
        wire::set_u16(&mut head, 29, short(marker.key.map_or(0, str::len)));
        wire::set_u16(&mut head, 31, short(marker.tracking.map_or(0, |tracking| 8 + tracking.source.len())));
        let mut hasher = Hasher::new();
        hasher.update(&head);
        hasher.update(&self.events);
        hasher.update(marker.key.unwrap_or_default().as_bytes());
        if let Some(tracking) = marker.tracking {
            let mut upstream = [0; 8];
            wire::set_u64(&mut upstream, 0, tracking.upstream);
            hasher.update(&upstream);
            hasher.update(tracking.source.as_bytes());
        }
        self.events.clear();
        hasher.finish()
    }

    /// Forgets the events taken in.
    pub fn clear(&mut self) {
        self.events.clear();
    }

    /// Gives back memory beyond that for so many events.
    pub fn shrink_to(&mut self, events: usize) {
        self.events.shrink_to(events * Digest::LEN);
    }
}

/// The chain after a batch with this digest, behind one after which it was `before`.
pub fn chain_after(before: &Digest, batch: &Digest) -> Digest {
    let mut bytes = [0; 1 + 2 * Digest::LEN];
    bytes[0] = CHAIN;
    bytes[1..33].copy_from_slice(before.as_bytes());
    bytes[33..].copy_from_slice(batch.as_bytes());
    Hasher::digest(&bytes)
}

/// What a chain begins with that starts behind this position of a log.
pub fn chain_start(log_id: LogId, position: Position) -> Digest {
    let mut bytes = [0; 25];
    bytes[0] = FIRST;
    bytes[1..17].copy_from_slice(log_id.as_bytes());
    wire::set_u64(&mut bytes, 17, position.get());
    Hasher::digest(&bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::commit::Tracking;
    use crate::frame::Seed;
    use crate::ids::{Epoch, EventId, StreamVersion};
    use crate::testing::{Parts, Rng, rounds};

    const LOG: LogId = LogId::from_bytes([7; 16]);

    fn digest_with_payload(event: &Event<'_>) -> Digest {
        event_digest(event, &payload_digest(event.data, event.metadata))
    }

    fn full() -> Parts {
        let mut parts = Parts::plain(3, b"data");
        parts.occurred_at = Some(5);
        parts.correlation_id = Some([1; 16]);
        parts.causation_id = Some([2; 16]);
        parts.metadata = Some(b"meta".to_vec());
        parts.tags = b"\x03tag".to_vec();
        parts
    }

    /// Written out by hand, so that it is the letter of the format that is tested.
    #[test]
    fn an_event_is_hashed_over_the_bytes_that_the_format_says() {
        let parts = full();
        let event = parts.event(Position::new(0x0102));
        let mut payload = vec![2, 4, 0, 0, 0, 4, 0, 0, 0];
        payload.extend_from_slice(b"datameta");
        let payload = Hasher::digest(&payload);
        assert_eq!(payload_digest(event.data, event.metadata), payload);

        let mut bytes = vec![3, 2, 1, 0, 0, 0, 0, 0, 0, 3, 0, 0, 0, 0, 0, 0, 0];
        bytes.extend_from_slice(&[3; 16]);
        bytes.extend_from_slice(&[0xEB, 3, 0, 0, 0, 0, 0, 0]); // 1003
        bytes.extend_from_slice(&[0, 0, 0, 7, 3, 0, 8, 4, 0]); // schema, content, flags, stream, type, tags
        bytes.extend_from_slice(&[5, 0, 0, 0, 0, 0, 0, 0]);
        bytes.extend_from_slice(&[1; 16]);
        bytes.extend_from_slice(&[2; 16]);
        bytes.extend_from_slice(payload.as_bytes());
        bytes.extend_from_slice(b"s-3Happened\x03tag");
        assert_eq!(digest_with_payload(&event), Hasher::digest(&bytes));
    }

    #[test]
    fn a_frame_is_hashed_as_the_event_in_it() {
        let mut rng = Rng::new(31);
        for _ in 0..rounds(1_000) {
            let parts = Parts::random(&mut rng);
            let event = parts.event(Position::new(7));
            let mut bytes = Vec::new();
            event.encode(&mut bytes, Seed::new(5), Epoch::new(1));
            let frame = Frame::read(&bytes, Seed::new(5)).unwrap();
            let payload = payload_digest(event.data, event.metadata);
            assert_eq!(encoded_event_digest(&frame, &payload), Ok(event_digest(&event, &payload)), "{event:?}");
        }
    }

    #[test]
    fn a_batch_and_the_chain_are_hashed_over_the_bytes_that_the_format_says() {
        let event = Hasher::digest(b"an event");
        let mut marker = Commit::new(Epoch::new(1), Position::new(10), 1);
        marker.key = Some("key");
        marker.tracking = Some(Tracking { source: "shop", upstream: 77 });
        let mut hasher = BatchHasher::new(LOG);
        hasher.push(&event);
        let mut bytes = vec![4];
        bytes.extend_from_slice(&[7; 16]);
        bytes.extend_from_slice(&[10, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 3, 0, 12, 0]);
        bytes.extend_from_slice(event.as_bytes());
        bytes.extend_from_slice(b"key");
        bytes.extend_from_slice(&[77, 0, 0, 0, 0, 0, 0, 0]);
        bytes.extend_from_slice(b"shop");
        let batch = hasher.close(&marker);
        assert_eq!(batch, Hasher::digest(&bytes));
        assert_ne!(hasher.close(&marker), batch, "it has started over");

        let mut bytes = vec![6];
        bytes.extend_from_slice(&[7; 16]);
        bytes.extend_from_slice(&[9, 0, 0, 0, 0, 0, 0, 0]);
        let start = chain_start(LOG, Position::new(9));
        assert_eq!(start, Hasher::digest(&bytes));
        let bytes = [&[5], start.as_bytes().as_slice(), batch.as_bytes()].concat();
        assert_eq!(chain_after(&start, &batch), Hasher::digest(&bytes));
    }

    #[test]
    fn every_field_of_an_event_is_in_its_digest() {
        let parts = full();
        let event = parts.event(Position::new(9));
        let whole = digest_with_payload(&event);
        let changes: [fn(&mut Event<'_>); 21] = [
            |event| event.position = Position::new(10),
            |event| event.version = StreamVersion::new(4),
            |event| event.id = EventId::from_bytes([4; 16]),
            |event| event.recorded_at += 1,
            |event| event.occurred_at = Some(6),
            |event| event.occurred_at = None,
            |event| event.correlation_id = Some(EventId::from_bytes([2; 16])),
            |event| event.correlation_id = None,
            |event| event.causation_id = Some(EventId::from_bytes([1; 16])),
            |event| event.causation_id = None,
            |event| event.schema_version = 1,
            |event| event.content_type = crate::event::ContentType::JSON,
            |event| event.stream = "s-4",
            |event| event.event_type = "Happenec",
            // The same bytes, cut in another place.
            |event| (event.stream, event.event_type) = ("s-3H", "appened"),
            |event| event.tags = crate::event::Tags::from_encoded(b"\x03tah"),
            |event| event.data = b"dato",
            |event| event.metadata = Some(b"mete"),
            |event| event.metadata = Some(b""),
            |event| event.metadata = None,
            |event| (event.data, event.metadata) = (b"datam", Some(&b"eta"[..])),
        ];
        let mut seen = vec![whole];
        for (number, change) in changes.iter().enumerate() {
            let mut other = event;
            change(&mut other);
            let digest = digest_with_payload(&other);
            assert!(!seen.contains(&digest), "change {number}");
            seen.push(digest);
        }
    }

    #[test]
    fn every_fact_of_a_batch_is_in_its_digest() {
        let of = |log: u8, change: fn(&mut Commit<'_>), events: &[&[u8]]| {
            let mut marker = Commit::new(Epoch::new(1), Position::new(10), 2);
            marker.key = Some("ab");
            marker.tracking = Some(Tracking { source: "shop", upstream: 7 });
            change(&mut marker);
            let mut hasher = BatchHasher::new(LogId::from_bytes([log; 16]));
            for event in events {
                hasher.push(&Hasher::digest(event));
            }
            hasher.close(&marker)
        };
        let (one, two): (&[u8], &[u8]) = (b"one", b"two");
        let mut seen = vec![of(7, |_| (), &[one, two])];
        for other in [
            of(8, |_| (), &[one, two]),
            of(7, |_| (), &[two, one]),
            of(7, |_| (), &[one]),
            of(7, |marker| marker.first = Position::new(8), &[one, two]),
            of(7, |marker| marker.count = 3, &[one, two]),
            of(7, |marker| marker.key = None, &[one, two]),
            of(7, |marker| marker.key = Some("abc"), &[one, two]),
            of(7, |marker| marker.tracking = None, &[one, two]),
            of(7, |marker| marker.tracking = Some(Tracking { source: "shop", upstream: 8 }), &[one, two]),
            of(7, |marker| marker.tracking = Some(Tracking { source: "shoq", upstream: 7 }), &[one, two]),
        ] {
            assert!(!seen.contains(&other), "number {}", seen.len());
            seen.push(other);
        }
        // Where and when it was written is no part of it.
        assert_eq!(
            of(7, |marker| (marker.durable_offset, marker.batch_bytes, marker.chain) = (1, 2, 3), &[one, two]),
            seen[0]
        );
        assert_eq!(of(7, |marker| marker.epoch = Epoch::new(9), &[one, two]), seen[0]);
    }

    #[test]
    fn no_two_random_events_have_one_digest() {
        let mut rng = Rng::new(11);
        let mut seen = std::collections::HashSet::new();
        for round in 0..rounds(500) {
            let parts = Parts::random(&mut rng);
            assert!(seen.insert(digest_with_payload(&parts.event(Position::new(9)))), "round {round}");
        }
    }
}

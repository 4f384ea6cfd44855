//! Redaction: data and metadata of an event replaced by their digest, in a segment that is sealed.
//!
//! ```text
//!  frame   flag 8 · data and metadata zero, as long as they were · four bytes at 68 so that its checksum is as it was
//!  header  feature 1 · how many · which · four bytes at 136 so that its CRC, the seed, is as it was
//!  event   stream $redactions, one tag segment:<number>, and this text:
//!
//!          annals redaction 1
//!          reason erasure request 4711
//!          event 17 9f86d081884c7d65…
//! ```
//!
//! What is always true: no checksum changes, so nothing that rests on checksums does. What the event says decides; a frame
//! that is redacted without one is a finding.

use std::fmt::Write as _;

use crate::balance::balance;
use crate::digest::Digest;
use crate::event::{self, Event, EventFault};
use crate::frame::{CRC_LEN, FLAGS_AT, Frame, FrameFault, Seed};
use crate::hash_chain::payload_digest;
use crate::ids::{Position, SegmentNumber};
use crate::segment::{self, SEGMENT_HEADER_LEN};
use crate::wire;

const FIRST: &str = "annals redaction 1";
const KIND: &str = "annals redaction ";

/// Which events of a segment are redacted, as its header says it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct RedactionMark {
    /// How many, at least one.
    pub events: u32,
    /// The CRC-32 of their positions.
    pub positions: u32,
}

impl RedactionMark {
    /// The mark of these positions, which ascend; `None` of none.
    pub fn of(positions: impl IntoIterator<Item = Position>) -> Option<RedactionMark> {
        let (mut events, mut hasher) = (0, crc32fast::Hasher::new());
        for position in positions {
            let mut bytes = [0; 8];
            wire::set_u64(&mut bytes, 0, position.get());
            hasher.update(&bytes);
            events += 1;
        }
        (events > 0).then(|| RedactionMark { events, positions: hasher.finalize() })
    }
}

/// Why an event was not redacted.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum RedactFault {
    /// The bytes are not a frame.
    #[error(transparent)]
    Frame(#[from] FrameFault),
    /// The frame is not an event.
    #[error(transparent)]
    Event(#[from] EventFault),
    /// It is redacted already.
    #[error("the event is redacted already")]
    Already,
}

/// Takes data and metadata out of the EVENT frame at the start of `bytes`; returns their digest.
///
/// # Errors
///
/// [`RedactFault`]; then nothing was changed.
pub fn redact_frame(bytes: &mut [u8], seed: Seed) -> Result<Digest, RedactFault> {
    let frame = Frame::read(bytes, seed)?;
    let event = Event::decode(&frame)?;
    if event.redacted {
        return Err(RedactFault::Already);
    }
    let digest = payload_digest(event.data, event.metadata);
    let start = event::data_at(&event);
    let end = start + event.data.len() + event.metadata.map_or(0, <[u8]>::len);
    let (checksum, len) = (frame.header.crc, frame.header.len as usize);
    bytes[FLAGS_AT] |= event::REDACTED;
    bytes[start..end].fill(0);
    balance(&mut bytes[CRC_LEN..len], event::BALANCE_AT - CRC_LEN, checksum, |bytes| seed.checksum(bytes));
    Ok(digest)
}

/// Writes into the header of a segment which of its events are redacted. The seed stays.
///
/// # Panics
///
/// When `bytes` are not as long as a header.
pub fn mark_redacted(bytes: &mut [u8], mark: RedactionMark) {
    segment::mark_redacted(&mut bytes[..SEGMENT_HEADER_LEN], mark);
}

/// What the event of a redaction says.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Redaction {
    /// Why, in the words of who asked for it.
    pub reason: String,
    /// The events of one segment, ascending, each with the digest of its data and metadata
    /// ([`payload_digest`](crate::payload_digest)).
    pub events: Vec<(Position, Digest)>,
}

impl Redaction {
    /// The stream of these events.
    pub const STREAM: &str = "$redactions";
    /// Their type.
    pub const EVENT_TYPE: &str = "$redacted";
    /// The greatest length of a reason, in bytes.
    pub const MAX_REASON_LEN: usize = 1_000;
    /// The most bytes that one event more takes.
    pub const MAX_LINE_LEN: usize = "event \n ".len() + 20 + 2 * Digest::LEN;

    /// The tag of the redactions of a segment.
    pub fn tag(segment: SegmentNumber) -> String {
        format!("segment:{segment}")
    }

    /// Whether this can be the reason: not empty, in one line, and not too long.
    pub fn is_reason(text: &str) -> bool {
        (1..=Redaction::MAX_REASON_LEN).contains(&text.len()) && !text.chars().any(char::is_control)
    }

    /// Writes it.
    pub fn encode(&self) -> String {
        let mut text = format!("{FIRST}\nreason {}\n", self.reason);
        for (position, digest) in &self.events {
            _ = writeln!(text, "event {position} {digest}");
        }
        text
    }

    /// Reads it; `None` when the bytes say no such thing, or say it as a later version does.
    pub fn decode(bytes: &[u8]) -> Option<Redaction> {
        let text = std::str::from_utf8(bytes).ok()?.strip_suffix('\n')?;
        let mut lines = text.split('\n');
        (lines.next()? == FIRST).then_some(())?;
        let reason = lines.next()?.strip_prefix("reason ").filter(|reason| Redaction::is_reason(reason))?;
        let mut events: Vec<(Position, Digest)> = Vec::new();
        for line in lines {
            let (position, digest) = line.strip_prefix("event ")?.split_once(' ')?;
            let is_plain = !position.starts_with('0') && position.bytes().all(|byte| byte.is_ascii_digit());
            let position = position.parse().ok().filter(|number| is_plain && *number <= u64::MAX >> 1)?;
            let event = (Position::new(position), digest.parse().ok()?);
            events.last().is_none_or(|before| before.0 < event.0).then_some(())?;
            events.push(event);
        }
        Some(Redaction { reason: reason.to_owned(), events })
    }

    /// Whether these bytes say such a thing in a version that this program does not know.
    pub fn is_newer(bytes: &[u8]) -> bool {
        bytes.strip_prefix(KIND.as_bytes()).is_some_and(|rest| !rest.starts_with(b"1\n"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::batch::Tail;
    use crate::scan::{self, Stop, Verdict};
    use crate::segment::SegmentHeader;
    use crate::testing::{Parts, Rng, Writer, for_each_flip, header, rounds};

    const SEED: Seed = Seed::new(99);

    fn frame_of(parts: &Parts) -> Vec<u8> {
        let mut bytes = Vec::new();
        parts.event(Position::new(7)).encode(&mut bytes, SEED, crate::Epoch::new(3));
        bytes
    }

    #[test]
    fn a_redacted_frame_keeps_its_checksum_and_length_and_all_fields_but_data_and_metadata() {
        let mut rng = Rng::new(5);
        for round in 0..rounds(300) {
            let parts = Parts::random(&mut rng);
            let whole = frame_of(&parts);
            let mut bytes = whole.clone();
            let digest = redact_frame(&mut bytes, SEED).unwrap();
            let event = parts.event(Position::new(7));
            assert_eq!(digest, payload_digest(event.data, event.metadata), "round {round}");
            assert_eq!((bytes.len(), &bytes[..8]), (whole.len(), &whole[..8]), "round {round}");
            let frame = Frame::read(&bytes, SEED).unwrap();
            let mut left = event;
            (left.redacted, left.data, left.metadata) = (true, b"", None);
            assert_eq!(Event::decode(&frame), Ok(left), "round {round}");
            assert_eq!(Event::decode_again(&frame), Ok(left), "round {round}");
            assert_eq!(redact_frame(&mut bytes, SEED), Err(RedactFault::Already));
        }
    }

    #[test]
    fn nothing_of_the_payload_is_left_in_the_frame() {
        let mut parts = Parts::plain(3, b"the secret of a customer");
        parts.metadata = Some(b"and who told it".to_vec());
        let mut bytes = frame_of(&parts);
        redact_frame(&mut bytes, SEED).unwrap();
        for part in [parts.data, parts.metadata.unwrap()] {
            assert!(!part.windows(4).any(|part| bytes.windows(4).any(|there| there == part)));
        }
    }

    #[test]
    fn any_flipped_bit_of_a_redacted_frame_is_noticed() {
        let mut bytes = frame_of(&Parts::plain(3, b"data"));
        redact_frame(&mut bytes, SEED).unwrap();
        for_each_flip(&bytes, 0..bytes.len(), |bit, bytes| {
            let read = Frame::read(bytes, SEED).map(|frame| Event::decode(&frame));
            assert!(!matches!(read, Ok(Ok(_))), "bit {bit}");
        });
    }

    #[test]
    fn a_frame_that_says_it_is_redacted_and_still_has_its_payload_is_no_event() {
        let mut bytes = frame_of(&Parts::plain(3, b"data"));
        bytes[FLAGS_AT] |= event::REDACTED;
        let len = wire::u32_at(&bytes, 4) as usize;
        let crc = SEED.checksum(&bytes[4..len]);
        wire::set_u32(&mut bytes, 0, crc);
        assert_eq!(Event::decode(&Frame::read(&bytes, SEED).unwrap()), Err(EventFault::NotErased));
    }

    #[test]
    fn a_segment_with_redacted_events_is_as_whole_as_it_was() {
        let mut writer = Writer::new(header());
        for n in 1..6 {
            writer.batch(&[Parts::plain(2 * n, b"some data"), Parts::plain(2 * n + 1, b"")]);
        }
        writer.seal();
        let redacted: Vec<u64> = vec![1, 2, 6, 9];
        let mut bytes = writer.bytes.clone();
        for position in &redacted {
            let at = writer.offsets[*position as usize - 1] as usize * 8;
            redact_frame(&mut bytes[at..], writer.seed).unwrap();
        }
        let mark = RedactionMark::of(redacted.iter().copied().map(Position::new)).unwrap();
        mark_redacted(&mut bytes, mark);

        let (header, seed) = SegmentHeader::decode(&bytes).unwrap();
        assert_eq!((header, seed), (SegmentHeader { redacted: Some(mark), ..writer.header }, writer.seed));
        assert_eq!(header.encode().0, bytes[..SEGMENT_HEADER_LEN], "there is one way to write it");
        let (before, _) = writer.scan(&writer.bytes);
        let (after, found) = writer.scan(&bytes);
        assert_eq!(after, before);
        assert!(matches!(after.stop, Stop::Sealed(_)) && after.verdict(0) == Verdict::Clean);
        let gone = found.batches.iter().flatten().filter(|said| said.contains("redacted: true")).count();
        assert_eq!(gone, redacted.len());
        // More of them, in the same file.
        let at = writer.offsets[2] as usize * 8;
        redact_frame(&mut bytes[at..], writer.seed).unwrap();
        mark_redacted(&mut bytes, RedactionMark { events: 5, positions: 0 });
        assert_eq!(SegmentHeader::decode(&bytes).unwrap().1, writer.seed);
        let Tail { chain, .. } = writer.scan(&bytes).0.tail;
        assert_eq!(chain, before.tail.chain);
        let mut source = bytes.as_slice();
        let Ok(scan) = scan::scan(&mut source, seed, scan::first_tail(&header), &mut ());
        assert_eq!(scan, before);
    }

    #[test]
    fn marks_differ_for_other_positions() {
        let mark = |positions: &[u64]| RedactionMark::of(positions.iter().copied().map(Position::new));
        assert_eq!(mark(&[]), None);
        assert_eq!(mark(&[1, 2]).unwrap().events, 2);
        assert_ne!(mark(&[1, 2]), mark(&[1, 3]));
    }

    #[test]
    fn the_event_reads_back_and_nothing_else_passes_for_one() {
        let digest = |n: u64| crate::Hasher::digest(&[n as u8]);
        let redaction = Redaction {
            reason: "erasure request 4711".to_owned(),
            events: [1, 17, u64::MAX >> 1].map(|n| (Position::new(n), digest(n))).to_vec(),
        };
        let text = redaction.encode();
        assert!(text.starts_with("annals redaction 1\nreason erasure request 4711\nevent 1 4bf5122f"));
        assert_eq!(Redaction::decode(text.as_bytes()), Some(redaction));
        assert!(text.lines().all(|line| line.len() < Redaction::MAX_LINE_LEN));
        let line = |line: &str| format!("annals redaction 1\nreason r\n{line}\n");
        let good = format!("event 5 {}", digest(1));
        assert!(Redaction::decode(line(&good).as_bytes()).is_some());
        for bad in [
            good.replace(" 5 ", " 05 "),
            good.replace(" 5 ", " +5 "),
            good.replace(" 5 ", " 0 "),
            good.replace(" 5 ", " 9223372036854775808 "),
            good[1..].to_owned(),
            good[..good.len() - 1].to_owned(),
            format!("{good}\n{good}"),
            format!("{good}\n"),
        ] {
            assert_eq!(Redaction::decode(line(&bad).as_bytes()), None, "{bad}");
        }
        for bad in [
            text.trim_end(),
            "",
            &text.replace("reason erasure", "reason e\u{1b}rasure"),
            &text.replace(" 1\n", " 2\n"),
        ] {
            assert_eq!(Redaction::decode(bad.as_bytes()), None, "{bad}");
        }
        assert!(Redaction::is_newer(b"annals redaction 2\n") && !Redaction::is_newer(text.as_bytes()));
    }
}

//! The body of an EVENT frame: one event, as it is stored and as it is read.
//!
//! ```text
//!  frame offset   20          36        44           52       56       60      62    63
//!                 +-----------+---------+------------+--------+--------+-------+-----+--------+
//!                 | id 16     |version 8|recorded_at8|data   4|meta   4|strm 2 |typ 1|content1|
//!                 +-----------+---------+------------+--------+--------+-------+-----+--------+
//!                 64      66        68          72
//!                 +-------+---------+-----------+-- if flagged ------------------------------+
//!                 |tags 2 |schema 2 |balance 4  | occurred_at 8, correlation 16, causation 16|
//!                 +-------+---------+-----------+---------------------------------------------+
//!                 data, metadata, stream, type, tags (each: length byte, text)
//! ```
//!
//! What is always true:
//!
//! - The lengths add up to the frame's length exactly.
//! - The fixed part and the optional fields are multiples of 8 long, so `data`
//!   begins 8-aligned in the file and in a mapping of it.
//! - Metadata of length `u32::MAX` is "none", which is not the same as empty.
//! - The balance is zero but in an event that is redacted ([`redaction`](crate::redaction)): there it keeps the frame's
//!   checksum what it was, and data and metadata are zeros.

use crate::frame::{self, FLAGS_AT, FRAME_HEADER_LEN, Frame, FrameKind, Seed};
use crate::ids::{Epoch, EventId, Position, StreamVersion};
use crate::name::{EventType, NameError, StreamId, Tag};
use crate::wire;

const FIXED_LEN: usize = 52;
const NO_METADATA: u32 = u32::MAX;

const HAS_OCCURRED_AT: u8 = 1;
const HAS_CORRELATION_ID: u8 = 1 << 1;
const HAS_CAUSATION_ID: u8 = 1 << 2;
/// Those that every reader of frames meets all the time.
const USUAL_FLAGS: u8 = HAS_OCCURRED_AT | HAS_CORRELATION_ID | HAS_CAUSATION_ID;
pub(crate) const REDACTED: u8 = 1 << 3;
const KNOWN_FLAGS: u8 = USUAL_FLAGS | REDACTED;

/// Where the balance stands in the frame.
pub(crate) const BALANCE_AT: usize = FRAME_HEADER_LEN + 48;

/// The least length of an event's frame, in bytes: no stream and no type is empty.
pub(crate) const LEAST_FRAME_LEN: u64 = frame::padded((FRAME_HEADER_LEN + FIXED_LEN + 2) as u64);

const _: () = assert!((FRAME_HEADER_LEN + FIXED_LEN).is_multiple_of(8), "data begins 8-aligned");

/// How an event's data is encoded, as the one who wrote it says.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, PartialEq)]
pub struct ContentType(u8);

impl ContentType {
    /// Nothing is said about the bytes. The default.
    pub const BINARY: ContentType = ContentType(0);
    /// JSON, in UTF-8.
    pub const JSON: ContentType = ContentType(1);
    /// Plain text, in UTF-8.
    pub const TEXT: ContentType = ContentType(2);
    /// Encrypted with the key of a subject; see [`subject`](crate::subject).
    pub const ENCRYPTED: ContentType = ContentType(3);

    /// The content type with this number; 128 and above are free for applications.
    pub const fn new(number: u8) -> ContentType {
        ContentType(number)
    }

    /// The number stored in the log.
    pub const fn number(self) -> u8 {
        self.0
    }
}

/// The tags of one event, in the encoded form: for each a length byte, then its text.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Tags<'a>(&'a [u8]);

impl<'a> Tags<'a> {
    /// The tags that [`push_tag`] has encoded into `bytes`.
    ///
    /// Bytes from elsewhere are not checked here but when they are decoded from
    /// a frame; [`Tags::iter`] ends at the first length that does not fit.
    pub const fn from_encoded(bytes: &'a [u8]) -> Tags<'a> {
        Tags(bytes)
    }

    /// The encoded bytes.
    pub const fn encoded(self) -> &'a [u8] {
        self.0
    }

    /// Whether there are none.
    pub const fn is_empty(self) -> bool {
        self.0.is_empty()
    }

    /// The tags in the order in which they were given.
    pub fn iter(self) -> impl Iterator<Item = &'a str> {
        let mut rest = self.0;
        std::iter::from_fn(move || {
            let (&len, tail) = rest.split_first()?;
            let (tag, tail) = tail.split_at_checked(len as usize)?;
            rest = tail;
            std::str::from_utf8(tag).ok()
        })
    }

    fn check(self) -> Result<(), EventFault> {
        let mut rest = self.0;
        while let Some((&len, tail)) = rest.split_first() {
            let (tag, tail) = tail.split_at_checked(len as usize).ok_or(EventFault::Lengths)?;
            Tag::check_bytes(tag)?;
            rest = tail;
        }
        Ok(())
    }
}

/// Appends `tag` to encoded tags.
pub fn push_tag(encoded: &mut Vec<u8>, tag: &Tag) {
    encoded.push(tag.len() as u8);
    encoded.extend_from_slice(tag.as_bytes());
}

/// One event, borrowed from the bytes it is stored in.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct Event<'a> {
    /// Its place in the log.
    pub position: Position,
    /// Its place in its stream.
    pub version: StreamVersion,
    /// Its identity.
    pub id: EventId,
    /// When the store took it in: nanoseconds since 1970 UTC, never decreasing with the position.
    pub recorded_at: i64,
    /// When it happened, if its author said so: nanoseconds since 1970 UTC. Orders nothing.
    pub occurred_at: Option<i64>,
    /// The conversation it belongs to, if its author said so.
    pub correlation_id: Option<EventId>,
    /// The event or command that caused it, if its author said so.
    pub causation_id: Option<EventId>,
    /// The version of the schema of `data`, as its author numbers them; 0 when nothing was said.
    pub schema_version: u16,
    /// How `data` is encoded.
    pub content_type: ContentType,
    /// Whether data and metadata were taken out of it: then they are empty and none, whatever they were.
    pub redacted: bool,
    /// The stream it belongs to.
    pub stream: &'a str,
    /// What kind of event it is.
    pub event_type: &'a str,
    /// Labels to find it by.
    pub tags: Tags<'a>,
    /// The payload.
    pub data: &'a [u8],
    /// What was said beside the payload; `None` is not the same as empty.
    pub metadata: Option<&'a [u8]>,
}

/// Why the body of a frame with a good checksum is not an event.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum EventFault {
    /// The lengths of the parts do not add up to the length of the frame.
    #[error("the lengths of the parts do not add up to the length of the frame")]
    Lengths,
    /// An optional field is flagged that this version does not know.
    #[error("the flags {0:#04x} name a field that this version does not know")]
    Flags(u8),
    /// A reserved field is not zero.
    #[error("a reserved field is not zero")]
    Reserved,
    /// It says that it is redacted, and something stands where its data or metadata was.
    #[error("the event is redacted, and something stands where its payload was")]
    NotErased,
    /// Position 0 and version 0 come before every event.
    #[error("an event cannot be at position or version 0")]
    Zero,
    /// A name in it is not one.
    #[error(transparent)]
    Name(#[from] NameError),
}

impl<'a> Event<'a> {
    /// An event with these parts and nothing optional; set the other fields on the result.
    pub fn new(stream: &'a str, event_type: &'a str, data: &'a [u8]) -> Event<'a> {
        Event {
            position: Position::START,
            version: StreamVersion::EMPTY,
            id: EventId::from_bytes([0; 16]),
            recorded_at: 0,
            occurred_at: None,
            correlation_id: None,
            causation_id: None,
            schema_version: 0,
            content_type: ContentType::BINARY,
            redacted: false,
            stream,
            event_type,
            tags: Tags::default(),
            data,
            metadata: None,
        }
    }

    /// Decodes the event in `frame`, checking every length and name.
    ///
    /// # Errors
    ///
    /// [`EventFault`] when the body is not an event of this version.
    ///
    /// # Panics
    ///
    /// When the frame is of another kind.
    pub fn decode(frame: &Frame<'a>) -> Result<Event<'a>, EventFault> {
        // One look at the flags for all of them: events that are not redacted pay nothing for those that are.
        if frame.header.flags & !USUAL_FLAGS != 0 {
            return Event::decode_unusual(frame, true);
        }
        let event = Event::decode_parts::<false>(frame, Texts::checked)?;
        if event.position == Position::START || event.version == StreamVersion::EMPTY {
            return Err(EventFault::Zero);
        }
        Ok(event)
    }

    /// Decodes the event in a frame that [`Event::decode`] accepted before.
    ///
    /// # Errors
    ///
    /// [`EventFault`] when the bytes have changed since.
    #[inline]
    pub fn decode_again(frame: &Frame<'a>) -> Result<Event<'a>, EventFault> {
        if frame.header.flags & !USUAL_FLAGS != 0 {
            return Event::decode_unusual(frame, false);
        }
        Event::decode_parts::<false>(frame, Texts::names)
    }

    /// The same but for the texts, which are beside it and were not looked at; in it they are empty.
    #[inline]
    pub(crate) fn decode_without_texts(frame: &Frame<'a>) -> Result<(Event<'a>, Texts<'a>), EventFault> {
        if frame.header.flags & !USUAL_FLAGS != 0 {
            return Err(EventFault::Flags(frame.header.flags));
        }
        let mut seen = None;
        let event = Event::decode_parts::<false>(frame, |texts| {
            seen = Some(*texts);
            Ok(("", ""))
        })?;
        Ok((event, seen.expect("every event has texts")))
    }

    /// An event that is redacted; or none, because of a flag that is not known.
    #[cold]
    #[inline(never)]
    fn decode_unusual(frame: &Frame<'a>, is_checked: bool) -> Result<Event<'a>, EventFault> {
        if frame.header.flags & !KNOWN_FLAGS != 0 {
            return Err(EventFault::Flags(frame.header.flags));
        }
        if is_checked {
            // By who checks all others, as if it had been appended with zeros for a payload.
            let mut plain = frame.bytes().to_vec();
            plain[FLAGS_AT] &= !REDACTED;
            wire::set_u32(plain.get_mut(BALANCE_AT..).filter(|rest| rest.len() >= 4).ok_or(EventFault::Lengths)?, 0, 0);
            let plain = Frame::read_unverified(&plain).expect("it is as long, and of the same kind");
            Event::decode(&plain)?;
        }
        Event::decode_parts::<true>(frame, Texts::names)
    }

    // Two copies, one of which nobody meets in the hot paths: the other is to be as if it were alone.
    #[inline(always)]
    #[expect(clippy::inline_always, reason = "measured: otherwise checked decoding takes 6 % more instructions")]
    fn decode_parts<const IS_REDACTED: bool>(
        frame: &Frame<'a>,
        names: impl FnOnce(&Texts<'a>) -> Result<(&'a str, &'a str), EventFault>,
    ) -> Result<Event<'a>, EventFault> {
        assert!(frame.kind == FrameKind::Event, "the caller has looked at the kind");
        let flags = frame.header.flags;
        let body = frame.body();
        if body.len() < FIXED_LEN {
            return Err(EventFault::Lengths);
        }
        let (fixed, mut rest) = body.split_at(FIXED_LEN);
        if !IS_REDACTED && wire::u32_at(fixed, BALANCE_AT - FRAME_HEADER_LEN) != 0 {
            return Err(EventFault::Reserved);
        }
        let mut take = |len: usize| {
            let (part, tail) = rest.split_at_checked(len).ok_or(EventFault::Lengths)?;
            rest = tail;
            Ok::<&'a [u8], EventFault>(part)
        };
        let mut optional = |flag: u8, len: usize| if flags & flag == 0 { Ok(None) } else { take(len).map(Some) };
        let occurred_at = optional(HAS_OCCURRED_AT, 8)?.map(|bytes| wire::i64_at(bytes, 0));
        let correlation_id = optional(HAS_CORRELATION_ID, 16)?.map(id_in);
        let causation_id = optional(HAS_CAUSATION_ID, 16)?.map(id_in);
        let mut data = take(wire::u32_at(fixed, 32) as usize)?;
        let mut metadata = match wire::u32_at(fixed, 36) {
            NO_METADATA => None,
            len => Some(take(len as usize)?),
        };
        if IS_REDACTED {
            if data.iter().chain(metadata.unwrap_or_default()).any(|&byte| byte != 0) {
                return Err(EventFault::NotErased);
            }
            (data, metadata) = (&data[..0], None);
        }
        let stream_len = wire::u16_at(fixed, 40) as usize;
        let (both, tags) = rest.split_at_checked(stream_len + fixed[42] as usize).ok_or(EventFault::Lengths)?;
        if tags.len() != wire::u16_at(fixed, 44) as usize {
            return Err(EventFault::Lengths);
        }
        let texts = Texts { bytes: rest, names: both, tags: Tags(tags), stream_len };
        let (stream, event_type) = names(&texts)?;
        Ok(Event {
            position: frame.header.position,
            version: StreamVersion::new(wire::u64_at(fixed, 16)),
            id: id_in(fixed),
            recorded_at: wire::i64_at(fixed, 24),
            occurred_at,
            correlation_id,
            causation_id,
            schema_version: wire::u16_at(fixed, 46),
            content_type: ContentType(fixed[43]),
            redacted: IS_REDACTED,
            stream,
            event_type,
            tags: texts.tags,
            data,
            metadata,
        })
    }

    /// The length of the frame that holds this event, padding included, in bytes. Of a redacted one: if it were
    /// written anew, without what it has lost.
    pub fn frame_len(&self) -> u64 {
        let parts = self.data.len()
            + self.metadata.map_or(0, <[u8]>::len)
            + self.stream.len()
            + self.event_type.len()
            + self.tags.0.len();
        frame::padded((data_at(self) + parts) as u64)
    }

    /// Appends the frame of this event to `out`; returns its checksum, for the chain.
    ///
    /// Nothing is redacted when it is written: that it once was is not in the frame.
    ///
    /// # Panics
    ///
    /// When a part is longer than its length field can say; names that were
    /// checked and data below the store's limits never are.
    #[inline(always)]
    #[expect(clippy::inline_always, reason = "measured: with a second caller an append takes 6 % more instructions")]
    pub fn encode(&self, out: &mut Vec<u8>, seed: Seed, epoch: Epoch) -> u32 {
        let flag = |there: bool, flag: u8| if there { flag } else { 0 };
        let flags = flag(self.occurred_at.is_some(), HAS_OCCURRED_AT)
            | flag(self.correlation_id.is_some(), HAS_CORRELATION_ID)
            | flag(self.causation_id.is_some(), HAS_CAUSATION_ID);
        let start = frame::begin(out, FrameKind::Event, flags, epoch, self.position);
        let mut fixed = [0; FIXED_LEN];
        fixed[0..16].copy_from_slice(self.id.as_bytes());
        wire::set_u64(&mut fixed, 16, self.version.get());
        wire::set_i64(&mut fixed, 24, self.recorded_at);
        let len = |len: usize| u32::try_from(len).expect("limits keep parts below 4 GiB");
        wire::set_u32(&mut fixed, 32, len(self.data.len()));
        wire::set_u32(&mut fixed, 36, self.metadata.map_or(NO_METADATA, |metadata| len(metadata.len())));
        wire::set_u16(&mut fixed, 40, short(self.stream.len()));
        fixed[42] = u8::try_from(self.event_type.len()).expect("event types are at most 255 bytes");
        fixed[43] = self.content_type.0;
        wire::set_u16(&mut fixed, 44, short(self.tags.0.len()));
        wire::set_u16(&mut fixed, 46, self.schema_version);
        out.extend_from_slice(&fixed);
        if let Some(at) = self.occurred_at {
            wire::put_i64(out, at);
        }
        for id in [self.correlation_id, self.causation_id].into_iter().flatten() {
            out.extend_from_slice(id.as_bytes());
        }
        out.extend_from_slice(self.data);
        out.extend_from_slice(self.metadata.unwrap_or_default());
        out.extend_from_slice(self.stream.as_bytes());
        out.extend_from_slice(self.event_type.as_bytes());
        out.extend_from_slice(self.tags.0);
        frame::finish(out, start, seed)
    }
}

/// Where in its frame the data of an event begins.
#[inline]
pub(crate) fn data_at(event: &Event<'_>) -> usize {
    let optional =
        [(event.occurred_at.is_some(), 8), (event.correlation_id.is_some(), 16), (event.causation_id.is_some(), 16)];
    let optional: usize = optional.iter().filter(|(there, _)| *there).map(|(_, len)| len).sum();
    FRAME_HEADER_LEN + FIXED_LEN + optional
}

/// What an event ends with: stream, type and tags, one behind the other.
///
/// They are short, and short texts take longer to begin with than to look at: so all are looked at in one go.
#[derive(Clone, Copy)]
pub(crate) struct Texts<'a> {
    /// All of them.
    bytes: &'a [u8],
    /// Stream and type.
    names: &'a [u8],
    tags: Tags<'a>,
    stream_len: usize,
}

impl<'a> Texts<'a> {
    #[inline]
    pub(crate) fn bytes(&self) -> &'a [u8] {
        self.bytes
    }

    /// Of the stream, the type and the tags.
    #[inline]
    pub(crate) fn lens(&self) -> [usize; 3] {
        [self.stream_len, self.names.len() - self.stream_len, self.tags.0.len()]
    }

    /// The stream and the type, of which only memory safety is asked.
    #[inline]
    fn names(&self) -> Result<(&'a str, &'a str), EventFault> {
        let text = std::str::from_utf8(self.names).map_err(|_| EventFault::Lengths)?;
        text.split_at_checked(self.stream_len).ok_or(EventFault::Lengths)
    }

    /// The same, when they and the tags are what they should be.
    #[inline]
    fn checked(&self) -> Result<(&'a str, &'a str), EventFault> {
        match self.plain() {
            Some(names) => Ok(names),
            None => self.checked_each(),
        }
    }

    /// The same, as far as it can be seen of all in one go, which it can of most.
    #[inline]
    fn plain(&self) -> Option<(&'a str, &'a str)> {
        let (names, tags) = std::str::from_utf8(self.bytes).ok()?.split_at_checked(self.names.len())?;
        let (stream, event_type) = names.split_at_checked(self.stream_len)?;
        let is_plain = (1..=StreamId::MAX_LEN).contains(&stream.len())
            && (1..=EventType::MAX_LEN).contains(&event_type.len())
            && are_plain(tags)
            // A tag without a letter has a length of zero.
            && !has_zero(self.bytes);
        is_plain.then_some((stream, event_type))
    }

    /// The same, one by one: what is wrong has a name.
    #[cold]
    fn checked_each(&self) -> Result<(&'a str, &'a str), EventFault> {
        let (stream, event_type) = self.names.split_at(self.stream_len);
        // A stored stream may be one of the store's own, which begin with `$`.
        let names = (StreamId::check_bytes(stream)?, EventType::check_bytes(event_type)?);
        self.tags.check()?;
        Ok(names)
    }
}

/// Whether tags begin and end where letters do. Their lengths are letters of their own as long as they are ASCII, and
/// the first letters of others if not.
#[inline]
fn are_plain(tags: &str) -> bool {
    let mut at = 0;
    while let Some(&len) = tags.as_bytes().get(at) {
        at += 1 + len as usize;
        if !len.is_ascii() || !tags.is_char_boundary(at) {
            return false;
        }
    }
    true
}

/// Whether one of these bytes is zero. Of few bytes the library's search takes longer to begin with.
#[inline]
fn has_zero(bytes: &[u8]) -> bool {
    const LOW: u64 = 0x0101_0101_0101_0101;
    // A byte from which one cannot be taken takes it from its high bit, which it did not have.
    let in_word = |at: usize| {
        let word = wire::u64_at(bytes, at);
        word.wrapping_sub(LOW) & !word & (LOW << 7) != 0
    };
    match bytes.len().checked_sub(size_of::<u64>()) {
        None => bytes.contains(&0),
        // The last word may have bytes in common with the one before.
        Some(last) => {
            let mut at = 0;
            while at < last {
                if in_word(at) {
                    return true;
                }
                at += size_of::<u64>();
            }
            in_word(last)
        }
    }
}

fn id_in(bytes: &[u8]) -> EventId {
    EventId::from_bytes(wire::array_at(bytes, 0))
}

fn short(len: usize) -> u16 {
    u16::try_from(len).expect("names and tags of one event are below 64 KiB")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{Parts, Rng, for_each_flip, rounds};

    const SEED: Seed = Seed::new(77);
    const EPOCH: Epoch = Epoch::new(3);

    fn encoded(event: &Event<'_>) -> Vec<u8> {
        let mut out = Vec::new();
        event.encode(&mut out, SEED, EPOCH);
        out
    }

    fn check_round_trip(parts: &Parts) {
        let event = parts.event(Position::new(9));
        let bytes = encoded(&event);
        assert_eq!(bytes.len() as u64, event.frame_len(), "{parts:?}");
        assert!(event.frame_len() >= LEAST_FRAME_LEN);

        let frame = Frame::read(&bytes, SEED).unwrap();
        assert_eq!(Event::decode(&frame), Ok(event));
        assert_eq!(Event::decode_again(&frame), Ok(event));
        let tags = event.tags.iter().map(str::to_owned).collect::<Vec<_>>();
        let mut again = Vec::new();
        for tag in &tags {
            push_tag(&mut again, &Tag::new(tag).unwrap());
        }
        assert_eq!(again, parts.tags);
    }

    /// The frame of an event with some bytes replaced and the checksum made good again.
    fn forged(parts: &Parts, at: usize, bytes: &[u8]) -> Vec<u8> {
        let mut frame = encoded(&parts.event(Position::new(9)));
        frame[at..at + bytes.len()].copy_from_slice(bytes);
        let len = wire::u32_at(&frame, 4) as usize;
        let crc = SEED.checksum(&frame[4..len]);
        wire::set_u32(&mut frame, 0, crc);
        frame
    }

    fn check_refused(at: usize, bytes: &[u8], fault: &EventFault) {
        let frame = forged(&Parts::plain(1, b"data"), at, bytes);
        let frame = Frame::read(&frame, SEED).unwrap();
        assert_eq!(Event::decode(&frame).as_ref(), Err(fault), "{bytes:?} at {at}");
    }

    #[test]
    fn a_zero_is_found_wherever_it_is_and_nothing_else_is_taken_for_one() {
        let mut rng = Rng::new(8);
        for len in 0..40 {
            for _ in 0..rounds(50) {
                let bytes: Vec<u8> = (0..len).map(|_| [1, 0x7F, 0x80, 0x81, 0xFF, 2][rng.below(6)]).collect();
                assert!(!has_zero(&bytes), "{bytes:?}");
                for at in 0..len {
                    let mut bytes = bytes.clone();
                    bytes[at] = 0;
                    assert!(has_zero(&bytes), "{bytes:?}");
                }
            }
        }
    }

    /// What is looked at in one go is what is looked at one by one.
    #[test]
    fn names_and_tags_in_one_go_are_judged_as_one_by_one() {
        let letters: [&[u8]; 9] = [b"a", b"z", b"\0", "é".as_bytes(), "語".as_bytes(), b"\xC3", b"\x80", b"$", b"\x7F"];
        let mut rng = Rng::new(9);
        let (mut good, mut plain, mut bad) = (0, 0, 0);
        for _ in 0..rounds(20_000) {
            // Mostly plain ones: then both ways are met.
            let is_plain = rng.below(3) > 0;
            let mut some = |most: usize| -> Vec<u8> {
                let len = rng.below(most);
                let kinds = if is_plain { 2 } else { letters.len() };
                (0..len).flat_map(|_| letters[rng.below(kinds)]).copied().collect()
            };
            let (stream, event_type) = (some(20), some(9));
            let tags: Vec<u8> = (0..3).map(|_| some(6)).flat_map(|tag| [vec![tag.len() as u8], tag].concat()).collect();
            let tags = &tags[..tags.len() - usize::from(tags.len().is_multiple_of(5))];
            let bytes = [&stream[..], &event_type[..], tags].concat();
            let (names, tags) = bytes.split_at(stream.len() + event_type.len());
            let texts = Texts { bytes: &bytes, names, tags: Tags(tags), stream_len: stream.len() };
            let one_by_one = texts.checked_each();
            assert_eq!(texts.checked(), one_by_one, "{names:?} with {} of the stream, {tags:?}", stream.len());
            if one_by_one.is_ok() {
                good += 1;
                plain += u64::from(texts.plain().is_some());
            } else {
                bad += 1;
            }
        }
        assert!(cfg!(miri) || good > 1_000 && bad > 1_000 && plain == good, "{good} good, {plain} plain, {bad} bad");
    }

    #[test]
    fn a_length_that_makes_a_letter_of_what_follows_it_makes_no_tag() {
        // 195 bytes, of which the first is the second half of a letter that begins with the length.
        let tags = [&[0xC3, 0xA9][..], &[b'a'; 194]].concat();
        assert!(std::str::from_utf8(&tags).is_ok());
        let bytes = [b"st", &tags[..]].concat();
        let texts = Texts { bytes: &bytes, names: b"st", tags: Tags(&tags), stream_len: 1 };
        assert_eq!(texts.checked(), texts.checked_each());
        assert!(texts.checked().is_err());
    }

    #[test]
    fn an_event_decodes_to_what_was_encoded_with_every_choice_of_optional_fields() {
        let mut rng = Rng::new(1);
        for choice in 0..64 {
            let mut parts = Parts::random(&mut rng);
            let is_chosen = |bit: u32| choice & (1 << bit) != 0;
            parts.occurred_at = is_chosen(0).then_some(i64::MIN);
            parts.correlation_id = is_chosen(1).then_some([0xAA; 16]);
            parts.causation_id = is_chosen(2).then_some([0xBB; 16]);
            parts.metadata = is_chosen(3).then(|| if is_chosen(4) { b"meta".to_vec() } else { Vec::new() });
            if is_chosen(5) {
                parts.tags.clear();
            }
            check_round_trip(&parts);
        }
    }

    #[test]
    fn random_events_decode_to_what_was_encoded() {
        let mut rng = Rng::new(2);
        for _ in 0..rounds(2_000) {
            check_round_trip(&Parts::random(&mut rng));
        }
    }

    #[test]
    #[cfg_attr(miri, ignore = "needs more than Miri does in a minute")]
    fn the_longest_names_fit() {
        let mut parts = Parts::plain(1, b"");
        parts.stream = "s".repeat(StreamId::MAX_LEN);
        parts.event_type = "t".repeat(EventType::MAX_LEN);
        for _ in 0..200 {
            push_tag(&mut parts.tags, &Tag::new(&"g".repeat(Tag::MAX_LEN)).unwrap());
        }
        check_round_trip(&parts);
    }

    #[test]
    fn no_metadata_is_not_empty_metadata() {
        let (mut none, mut empty) = (Parts::plain(1, b""), Parts::plain(1, b""));
        none.metadata = None;
        empty.metadata = Some(Vec::new());
        assert_ne!(encoded(&none.event(Position::new(1))), encoded(&empty.event(Position::new(1))));
    }

    #[test]
    fn data_begins_8_aligned_with_every_choice_of_optional_fields() {
        for choice in 0..8 {
            let mut parts = Parts::plain(1, b"needle in the data");
            parts.occurred_at = (choice & 1 != 0).then_some(0);
            parts.correlation_id = (choice & 2 != 0).then_some([0; 16]);
            parts.causation_id = (choice & 4 != 0).then_some([0; 16]);
            let bytes = encoded(&parts.event(Position::new(1)));
            let at = bytes.windows(6).position(|window| window == b"needle").unwrap();
            assert!(at.is_multiple_of(8), "choice {choice}: {at}");
        }
    }

    #[test]
    fn any_flipped_bit_of_an_event_is_noticed() {
        let bytes = encoded(&Parts::random(&mut Rng::new(3)).event(Position::new(1)));
        for_each_flip(&bytes, 0..bytes.len(), |bit, bytes| assert!(Frame::read(bytes, SEED).is_err(), "bit {bit}"));
    }

    #[test]
    fn bodies_that_no_writer_makes_are_refused_though_their_checksum_is_good() {
        let name = |what, problem| EventFault::Name(NameError { what, problem });
        check_refused(9, &[16], &EventFault::Flags(16));
        check_refused(9, &[REDACTED], &EventFault::NotErased);
        check_refused(9, &[HAS_CAUSATION_ID], &EventFault::Lengths);
        check_refused(12, &[0; 8], &EventFault::Zero);
        check_refused(36, &[0; 8], &EventFault::Zero);
        check_refused(52, &[5], &EventFault::Lengths);
        check_refused(52, &[0xFF; 4], &EventFault::Lengths);
        check_refused(56, &[0xFE, 0xFF, 0xFF, 0xFF], &EventFault::Lengths);
        check_refused(60, &[0, 0], &EventFault::Lengths);
        check_refused(64, &[1, 0], &EventFault::Lengths);
        check_refused(68, &[0, 0, 1, 0], &EventFault::Reserved);
        check_refused(76, &[0], &name("stream id", crate::NameProblem::Nul));
        check_refused(76, &[0xFF], &name("stream id", crate::NameProblem::NotUtf8));
        check_refused(79, &[0], &name("event type", crate::NameProblem::Nul));
    }

    #[test]
    fn tags_that_do_not_fit_their_own_lengths_are_refused() {
        let mut parts = Parts::plain(1, b"");
        for (tags, fault) in [
            (b"\x02a".to_vec(), "the lengths of the parts do not add up to the length of the frame"),
            (b"\x01a\x00".to_vec(), "tag is empty"),
            (b"\x01\x00".to_vec(), "tag contains a NUL character"),
        ] {
            parts.tags = tags;
            let bytes = encoded(&parts.event(Position::new(1)));
            let frame = Frame::read(&bytes, SEED).unwrap();
            assert_eq!(Event::decode(&frame).unwrap_err().to_string(), fault);
            assert!(Event::decode_again(&frame).unwrap().tags.iter().count() <= 2, "and reading them does not panic");
        }
    }

    #[test]
    fn a_stored_stream_may_be_one_of_the_stores_own() {
        let mut parts = Parts::plain(1, b"");
        parts.stream = "$internal".to_owned();
        check_round_trip(&parts);
    }

    #[test]
    fn no_bytes_behind_a_good_checksum_make_decoding_panic() {
        let mut rng = Rng::new(4);
        let plain = Parts::plain(1, b"some data");
        for _ in 0..rounds(20_000) {
            let at = 8 + rng.below(80);
            let len = 1 + rng.below(6);
            let bytes = if rng.chance() { rng.bytes(len) } else { vec![0xFF; len] };
            let frame = forged(&plain, at, &bytes[..len.min(88 - at)]);
            let Ok(frame) = Frame::read(&frame, SEED) else { continue };
            if frame.kind == FrameKind::Event {
                let _ = Event::decode(&frame);
                let _ = Event::decode_again(&frame).map(|event| event.tags.iter().count());
            }
        }
    }
}

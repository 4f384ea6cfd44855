//! Numbers and identifiers, each with a type of its own.
//!
//! Offsets, positions, versions and sizes are all integers underneath and must
//! never be mixed: passing one where another belongs does not compile.
//!
//! Positions and versions *count*, they do not index: *n* means "*n* events
//! have happened". A reader that stores the position it has finished resumes
//! with "everything after it", and nobody adds or subtracts one.

use std::fmt;
use std::str::FromStr;

use crate::wire;

/// A place in the whole log, counted in events.
///
/// The first event is at position 1; [`Position::START`] comes before every
/// event. Positions are dense, and one that was durable is never given to
/// another event.
///
/// ```
/// use annals_codec::Position;
///
/// let third = Position::new(3);
/// assert!(third > Position::START);
/// assert_eq!(third.to_string(), "3");
/// ```
#[derive(Clone, Copy, Debug, Default, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Position(u64);

impl Position {
    /// Before every event: where a reader that has seen nothing stands.
    pub const START: Position = Position(0);
    /// After every event that can ever be: where a backward reader starts.
    pub const END: Position = Position(u64::MAX);

    /// The position at which `events` events have happened.
    pub const fn new(events: u64) -> Position {
        Position(events)
    }

    /// The number of events up to and including this position.
    pub const fn get(self) -> u64 {
        self.0
    }

    /// The position `events` further on; stays at [`Position::END`] when there is none.
    #[must_use]
    pub const fn plus(self, events: u64) -> Position {
        Position(self.0.saturating_add(events))
    }

    /// The position just before this one; [`Position::START`] stays where it is.
    #[must_use]
    pub const fn before(self) -> Position {
        Position(self.0.saturating_sub(1))
    }
}

/// How many events one stream holds; also the place of an event in its stream.
///
/// A stream that was never written is at [`StreamVersion::EMPTY`]; its first
/// event has version 1.
///
/// ```
/// use annals_codec::StreamVersion;
///
/// assert_eq!(StreamVersion::EMPTY, StreamVersion::new(0));
/// ```
#[derive(Clone, Copy, Debug, Default, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct StreamVersion(u64);

impl StreamVersion {
    /// The version of a stream that was never written.
    pub const EMPTY: StreamVersion = StreamVersion(0);
    /// After every event that can ever be: where a backward reader starts.
    pub const END: StreamVersion = StreamVersion(u64::MAX);

    /// The version at which the stream holds `events` events.
    pub const fn new(events: u64) -> StreamVersion {
        StreamVersion(events)
    }

    /// The number of events in the stream up to and including this version.
    pub const fn get(self) -> u64 {
        self.0
    }

    /// The version `events` further on; stays at [`StreamVersion::END`] when there is none.
    #[must_use]
    pub const fn plus(self, events: u64) -> StreamVersion {
        StreamVersion(self.0.saturating_add(events))
    }

    /// The version just before this one; [`StreamVersion::EMPTY`] stays where it is.
    #[must_use]
    pub const fn before(self) -> StreamVersion {
        StreamVersion(self.0.saturating_sub(1))
    }
}

/// The number of a segment: 0 for the first, and one more for each that follows.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct SegmentNumber(u64);

impl SegmentNumber {
    /// The first segment of every log.
    pub const FIRST: SegmentNumber = SegmentNumber(0);

    /// Segment number `number`.
    pub const fn new(number: u64) -> SegmentNumber {
        SegmentNumber(number)
    }

    /// The number.
    pub const fn get(self) -> u64 {
        self.0
    }

    /// The segment that follows. (No stored number is so high that there is none.)
    #[must_use]
    pub const fn next(self) -> SegmentNumber {
        SegmentNumber(self.0.saturating_add(1))
    }
}

/// Counts the openings of a store that wrote something.
///
/// Every frame carries the low 16 bits, every commit marker the whole number,
/// so a batch left over from a writer that died cannot join the work of its successor.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Epoch(u32);

impl Epoch {
    /// Epoch `number`; a new store that was never written is in epoch 0.
    pub const fn new(number: u32) -> Epoch {
        Epoch(number)
    }

    /// The number.
    pub const fn get(self) -> u32 {
        self.0
    }

    /// The low 16 bits, which every frame carries.
    pub const fn low_bits(self) -> u16 {
        self.0 as u16
    }

    /// The epoch of the next writer, or `None` after four thousand million of them.
    pub const fn next(self) -> Option<Epoch> {
        match self.0.checked_add(1) {
            Some(number) => Some(Epoch(number)),
            None => None,
        }
    }
}

/// Identifies one event for ever: a UUID, version 7 when the store makes it.
#[derive(Clone, Copy, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct EventId([u8; 16]);

impl EventId {
    /// The id with these 16 bytes, in the order of their printed form.
    pub const fn from_bytes(bytes: [u8; 16]) -> EventId {
        EventId(bytes)
    }

    /// The 16 bytes, in the order of their printed form.
    pub const fn as_bytes(&self) -> &[u8; 16] {
        &self.0
    }

    /// A UUID of version 7 ([RFC 9562, section 5.7]): 48 bits of Unix time in
    /// milliseconds, then 74 bits of the caller's choice: the low 12 of
    /// `rand_a` and the low 62 of `rand_b`.
    ///
    /// [RFC 9562, section 5.7]: https://www.rfc-editor.org/rfc/rfc9562#section-5.7
    pub fn version_7(unix_millis: u64, rand_a: u16, rand_b: u64) -> EventId {
        let high = (unix_millis << 16) | 0x7000 | u64::from(rand_a & 0x0FFF);
        let low = (0b10 << 62) | (rand_b & (u64::MAX >> 2));
        let mut bytes = [0; 16];
        bytes[..8].copy_from_slice(&high.to_be_bytes());
        bytes[8..].copy_from_slice(&low.to_be_bytes());
        EventId(bytes)
    }

    /// The time in a UUID of version 7, in milliseconds since 1970 UTC; `None` of any other.
    ///
    /// ```
    /// use annals_codec::EventId;
    ///
    /// assert_eq!(EventId::version_7(1_767_323_045_000, 7, 8).unix_millis(), Some(1_767_323_045_000));
    /// assert_eq!(EventId::from_bytes([0; 16]).unix_millis(), None);
    /// ```
    pub fn unix_millis(self) -> Option<u64> {
        let high = wire::big_endian_u64(wire::array_at(&self.0, 0));
        (high >> 12 & 0xF == 7).then_some(high >> 16)
    }
}

/// Identifies one log for ever: 16 random bytes, in every segment header.
#[derive(Clone, Copy, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct LogId([u8; 16]);

impl LogId {
    /// The id with these 16 bytes, in the order of their printed form.
    pub const fn from_bytes(bytes: [u8; 16]) -> LogId {
        LogId(bytes)
    }

    /// The 16 bytes, in the order of their printed form.
    pub const fn as_bytes(&self) -> &[u8; 16] {
        &self.0
    }
}

/// A text that is not a UUID.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("not a UUID: expected 32 hexadecimal digits, with or without hyphens")]
pub struct ParseIdError;

fn parse_uuid(text: &str) -> Result<[u8; 16], ParseIdError> {
    let mut bytes = [0; 16];
    let mut digits = 0;
    for (at, character) in text.char_indices() {
        if character == '-' && matches!(at, 8 | 13 | 18 | 23) {
            continue;
        }
        let digit = character.to_digit(16).ok_or(ParseIdError)? as u8;
        let byte = bytes.get_mut(digits / 2).ok_or(ParseIdError)?;
        *byte = (*byte << 4) | digit;
        digits += 1;
    }
    if digits == 32 { Ok(bytes) } else { Err(ParseIdError) }
}

fn write_uuid(bytes: &[u8; 16], out: &mut fmt::Formatter<'_>) -> fmt::Result {
    // In one piece: who writes out a log writes millions of them.
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let (mut text, mut at) = ([b'-'; 36], 0);
    for (number, byte) in bytes.iter().enumerate() {
        if matches!(number, 4 | 6 | 8 | 10) {
            at += 1;
        }
        text[at] = DIGITS[usize::from(byte >> 4)];
        text[at + 1] = DIGITS[usize::from(byte & 15)];
        at += 2;
    }
    out.write_str(std::str::from_utf8(&text).map_err(|_| fmt::Error)?)
}

macro_rules! shown_as_number {
    ($($name:ident),*) => {$(
        impl fmt::Display for $name {
            fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(&self.0, out)
            }
        }
    )*};
}
shown_as_number!(Position, StreamVersion, SegmentNumber, Epoch);

macro_rules! shown_as_uuid {
    ($($name:ident),*) => {$(
        impl fmt::Display for $name {
            fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
                write_uuid(&self.0, out)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
                write_uuid(&self.0, out)
            }
        }

        impl FromStr for $name {
            type Err = ParseIdError;

            fn from_str(text: &str) -> Result<$name, ParseIdError> {
                parse_uuid(text).map($name)
            }
        }
    )*};
}
shown_as_uuid!(EventId, LogId);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_printed_id_reads_back_as_itself() {
        let id = EventId::from_bytes(*b"\x01\x23\x45\x67\x89\xab\xcd\xef\x00\x11\x22\x33\x44\x55\x66\x77");
        assert_eq!(id.to_string(), "01234567-89ab-cdef-0011-223344556677");
        assert_eq!(id.to_string().parse(), Ok(id));
        assert_eq!("0123456789ABCDEF0011223344556677".parse(), Ok(id));
    }

    #[test]
    fn text_that_is_not_a_uuid_is_refused() {
        for text in ["", "0", "01234567-89ab-cdef-0011-22334455667", "g1234567-89ab-cdef-0011-223344556677"] {
            assert_eq!(text.parse::<EventId>(), Err(ParseIdError), "{text}");
        }
        let too_long = "01234567-89ab-cdef-0011-2233445566778";
        assert_eq!(too_long.parse::<EventId>(), Err(ParseIdError));
    }

    #[test]
    fn a_generated_id_says_version_7_variant_2_and_its_time() {
        let id = EventId::version_7(0x0123_4567_89ab, 0xFFFF, u64::MAX);
        assert_eq!(id.to_string(), "01234567-89ab-7fff-bfff-ffffffffffff");
        let id = EventId::version_7(0x0123_4567_89ab, 0xF123, 0xC000_0000_0000_0ABC);
        assert_eq!(id.to_string(), "01234567-89ab-7123-8000-000000000abc", "the low bits are the ones that count");
        let id = EventId::version_7(0x0123_4567_89ab, 0, 0);
        assert_eq!(id.to_string(), "01234567-89ab-7000-8000-000000000000");
    }
}

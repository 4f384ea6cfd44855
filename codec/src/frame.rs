//! One frame: the smallest unit the log writes, checks and recovers.
//!
//! ```text
//!  0        4        8    9    10     12                20            len   padded
//!  +--------+--------+----+----+------+-----------------+-------------+-----+
//!  | crc    | len    |kind|flag|epoch | position        | body        | 0.. |
//!  +--------+--------+----+----+------+-----------------+-------------+-----+
//! ```
//!
//! - `len` counts header and body, not the padding to the next multiple of 8.
//! - `crc` is CRC-32/IEEE over bytes `4..len`, begun with the segment's [`Seed`]:
//!   a damaged length is caught before it is trusted, and a frame of another
//!   segment cannot validate here.
//!
//! What is always true:
//!
//! - No frame is all zeros (`len` is at least 20): space that was zeroed ahead
//!   can never be read as a frame.
//! - The padding is zero and checked, so any flipped bit of a frame is noticed.
//! - A checksum never covers bytes that hold that same checksum: the CRC of
//!   `x ‖ CRC(x)` is a constant and would prove nothing.

use crate::ids::{Epoch, Position};
use crate::wire;

/// Length of a frame's header, in bytes.
pub const FRAME_HEADER_LEN: usize = 20;

/// Every frame begins at a multiple of this many bytes.
pub const FRAME_ALIGN: u64 = 8;

const CRC_AT: usize = 0;
const LEN_AT: usize = 4;
/// The length of the checksum, which does not cover itself.
pub(crate) const CRC_LEN: usize = LEN_AT - CRC_AT;
const KIND_AT: usize = 8;
pub(crate) const FLAGS_AT: usize = 9;
const EPOCH_AT: usize = 10;
const POSITION_AT: usize = 12;
const _: () = assert!(POSITION_AT + size_of::<u64>() == FRAME_HEADER_LEN);

/// What every checksum of one segment begins with: the CRC of its header.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Seed(pub(crate) u32);

impl Seed {
    /// The seed with this value, as `store.meta` keeps it.
    pub const fn new(value: u32) -> Seed {
        Seed(value)
    }

    /// The value.
    pub const fn get(self) -> u32 {
        self.0
    }

    /// CRC-32/IEEE of `bytes`, begun with this seed.
    #[inline]
    pub fn checksum(self, bytes: &[u8]) -> u32 {
        let mut hasher = crc32fast::Hasher::new_with_initial(self.0);
        hasher.update(bytes);
        hasher.finalize()
    }
}

/// The kind of a frame, with the number that stands for it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum FrameKind {
    /// One event.
    Event,
    /// The end of a batch: what makes its events exist.
    Commit,
    /// The end of a segment.
    Seal,
    /// A kind of a later minor version that says of itself that it may be skipped.
    Skippable(u8),
}

impl FrameKind {
    const EVENT: u8 = 1;
    const COMMIT: u8 = 2;
    const SEAL: u8 = 3;
    const MAY_BE_SKIPPED: u8 = 0x80;

    #[inline]
    const fn from_number(number: u8) -> Option<FrameKind> {
        match number {
            FrameKind::EVENT => Some(FrameKind::Event),
            FrameKind::COMMIT => Some(FrameKind::Commit),
            FrameKind::SEAL => Some(FrameKind::Seal),
            other if other & FrameKind::MAY_BE_SKIPPED != 0 => Some(FrameKind::Skippable(other)),
            _ => None,
        }
    }

    const fn number(self) -> u8 {
        match self {
            FrameKind::Event => FrameKind::EVENT,
            FrameKind::Commit => FrameKind::COMMIT,
            FrameKind::Seal => FrameKind::SEAL,
            FrameKind::Skippable(number) => number,
        }
    }
}

/// A frame's length with its padding: where the next frame begins.
pub const fn padded(len: u64) -> u64 {
    len.next_multiple_of(FRAME_ALIGN)
}

/// The 20 bytes before a frame's body, as they stand there, believed or not.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct FrameHeader {
    /// The stored checksum.
    pub crc: u32,
    /// Header and body, without padding, in bytes.
    pub len: u32,
    /// The stored number of the kind; see [`FrameHeader::kind`].
    pub kind_number: u8,
    /// Which optional fields follow; the meaning depends on the kind.
    pub flags: u8,
    /// The low 16 bits of the writer's epoch.
    pub epoch: u16,
    /// The event's position; of a commit marker or seal, the last one before it.
    pub position: Position,
}

impl FrameHeader {
    /// Reads the header at the start of `bytes`; `None` when they are fewer than 20.
    #[inline]
    pub fn read(bytes: &[u8]) -> Option<FrameHeader> {
        let bytes = bytes.get(..FRAME_HEADER_LEN)?;
        Some(FrameHeader {
            crc: wire::u32_at(bytes, CRC_AT),
            len: wire::u32_at(bytes, LEN_AT),
            kind_number: bytes[KIND_AT],
            flags: bytes[FLAGS_AT],
            epoch: wire::u16_at(bytes, EPOCH_AT),
            position: Position::new(wire::u64_at(bytes, POSITION_AT)),
        })
    }

    /// The kind, when this version knows it or may skip it.
    #[inline]
    pub const fn kind(&self) -> Option<FrameKind> {
        FrameKind::from_number(self.kind_number)
    }

    /// Where the next frame begins, counted from the start of this one.
    #[inline]
    pub const fn padded_len(&self) -> u64 {
        padded(self.len as u64)
    }
}

/// Why bytes are not a frame.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum FrameFault {
    /// Fewer bytes are left than a header takes.
    #[error("only {have} bytes are left, fewer than a frame header")]
    NoHeader {
        /// How many are left.
        have: u64,
    },
    /// The length is less than a header or more than what is left.
    #[error("the length {len} is impossible with {have} bytes left")]
    Length {
        /// The stored length.
        len: u32,
        /// How many bytes are left, header included.
        have: u64,
    },
    /// The checksum does not match.
    #[error("the checksum is {stored:08x} but the bytes give {computed:08x}")]
    Checksum {
        /// As stored in the frame.
        stored: u32,
        /// As computed from its bytes.
        computed: u32,
    },
    /// The padding after the frame is not zero.
    #[error("the padding is not zero")]
    Padding,
    /// The checksum holds, and the kind is not known and may not be skipped.
    #[error("the frame kind {0} is not known to this version")]
    UnknownKind(u8),
}

/// A frame whose checksum, length and padding were found good.
#[derive(Clone, Copy, Debug)]
pub struct Frame<'a> {
    /// Its header.
    pub header: FrameHeader,
    /// Its kind.
    pub kind: FrameKind,
    /// Header and body, without padding.
    bytes: &'a [u8],
}

impl<'a> Frame<'a> {
    /// Reads and checks the frame at the start of `bytes`, which may go on behind it.
    ///
    /// # Errors
    ///
    /// [`FrameFault`] says which check failed.
    #[inline]
    pub fn read(bytes: &'a [u8], seed: Seed) -> Result<Frame<'a>, FrameFault> {
        let (header, frame) = cut_out(bytes)?;
        let computed = seed.checksum(&frame[LEN_AT..]);
        if header.crc != computed {
            return Err(FrameFault::Checksum { stored: header.crc, computed });
        }
        let Some(whole) = bytes.get(..header.padded_len() as usize) else {
            return Err(FrameFault::Length { len: header.len, have: bytes.len() as u64 });
        };
        // The padding is the high bytes of the last word, without a branch on how many they are.
        let last = wire::u64_at(whole, whole.len() - FRAME_ALIGN as usize);
        let padding = (whole.len() - frame.len()) as u32;
        if last.unbounded_shr(u64::BITS - 8 * padding) != 0 {
            return Err(FrameFault::Padding);
        }
        Frame::of_known_kind(header, frame)
    }

    /// Reads the frame at the start of `bytes`, which were verified before:
    /// only what memory safety and decoding need is checked again.
    ///
    /// # Errors
    ///
    /// [`FrameFault`] when the length is impossible or the kind unknown.
    #[inline]
    pub fn read_unverified(bytes: &'a [u8]) -> Result<Frame<'a>, FrameFault> {
        let (header, frame) = cut_out(bytes)?;
        Frame::of_known_kind(header, frame)
    }

    #[inline]
    fn of_known_kind(header: FrameHeader, bytes: &'a [u8]) -> Result<Frame<'a>, FrameFault> {
        let kind = header.kind().ok_or(FrameFault::UnknownKind(header.kind_number))?;
        Ok(Frame { header, kind, bytes })
    }

    /// Header and body, without padding.
    pub(crate) fn bytes(&self) -> &'a [u8] {
        self.bytes
    }

    /// What follows the header.
    #[inline]
    pub fn body(&self) -> &'a [u8] {
        &self.bytes[FRAME_HEADER_LEN..]
    }
}

/// Makes a good frame one of another segment: only its checksum changes. Returns that, for the chain.
///
/// # Panics
///
/// When `frame` is not at least as long as its length field says.
pub fn reseed(frame: &mut [u8], seed: Seed) -> u32 {
    let len = wire::u32_at(frame, LEN_AT) as usize;
    let crc = seed.checksum(&frame[LEN_AT..len]);
    wire::set_u32(frame, CRC_AT, crc);
    crc
}

/// The frame at the start of `bytes` by what its length says: header and body, without padding.
#[inline]
fn cut_out(bytes: &[u8]) -> Result<(FrameHeader, &[u8]), FrameFault> {
    let have = bytes.len() as u64;
    let header = FrameHeader::read(bytes).ok_or(FrameFault::NoHeader { have })?;
    match bytes.get(..header.len as usize) {
        Some(frame) if frame.len() >= FRAME_HEADER_LEN => Ok((header, frame)),
        _ => Err(FrameFault::Length { len: header.len, have }),
    }
}

/// Begins a frame at the end of `out`; the body is appended next, then [`finish`].
#[inline]
pub(crate) fn begin(out: &mut Vec<u8>, kind: FrameKind, flags: u8, epoch: Epoch, position: Position) -> usize {
    let start = out.len();
    let mut header = [0; FRAME_HEADER_LEN];
    header[KIND_AT] = kind.number();
    header[FLAGS_AT] = flags;
    wire::set_u16(&mut header, EPOCH_AT, epoch.low_bits());
    wire::set_u64(&mut header, POSITION_AT, position.get());
    out.extend_from_slice(&header);
    start
}

/// Completes the frame begun at `start`: length, checksum, padding. Returns the checksum.
#[inline(always)]
#[expect(clippy::inline_always, reason = "measured: otherwise appends of batches take 2 % more instructions")]
pub(crate) fn finish(out: &mut Vec<u8>, start: usize, seed: Seed) -> u32 {
    let len = out.len() - start;
    wire::set_u32(out, start + LEN_AT, u32::try_from(len).expect("frames are limited far below 4 GiB"));
    let crc = seed.checksum(&out[start + LEN_AT..]);
    wire::set_u32(out, start + CRC_AT, crc);
    out.resize(start + padded(len as u64) as usize, 0);
    crc
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{Rng, for_each_flip, rounds};

    const SEED: Seed = Seed::new(0x1234_5678);

    fn frame_with(kind: FrameKind, body: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        let start = begin(&mut out, kind, 5, Epoch::new(0x0007_ABCD), Position::new(42));
        out.extend_from_slice(body);
        finish(&mut out, start, SEED);
        out
    }

    #[test]
    fn a_frame_reads_back_as_it_was_written_whatever_follows_it() {
        for len in 0..rounds(40) {
            let body = Rng::new(len).bytes(len as usize);
            let mut bytes = frame_with(FrameKind::Event, &body);
            assert!(bytes.len().is_multiple_of(8));
            bytes.extend_from_slice(b"something else");

            let frame = Frame::read(&bytes, SEED).unwrap();
            assert_eq!(frame.body(), body);
            assert_eq!((frame.kind, frame.header.flags), (FrameKind::Event, 5));
            assert_eq!((frame.header.epoch, frame.header.position), (0xABCD, Position::new(42)));
            assert_eq!(frame.header.padded_len(), padded(20 + len));
        }
    }

    #[test]
    fn any_flipped_bit_of_a_frame_or_its_padding_is_noticed() {
        for len in 0..rounds(20) {
            let bytes = frame_with(FrameKind::Commit, &vec![0xFF; len]);
            for_each_flip(&bytes, 0..bytes.len(), |bit, bytes| {
                let read = Frame::read(bytes, SEED);
                assert!(read.is_err(), "body of {len}, bit {bit}");
                // Damage is never taken for a newer program's work.
                assert!(!matches!(read, Err(FrameFault::UnknownKind(_))), "body of {len}, bit {bit}");
            });
        }
    }

    #[test]
    fn a_frame_that_is_cut_anywhere_is_refused() {
        let bytes = frame_with(FrameKind::Event, b"thirteen byte");
        for cut in 0..bytes.len() {
            assert!(Frame::read(&bytes[..cut], SEED).is_err(), "cut at {cut}");
        }
    }

    #[test]
    fn zeros_are_not_a_frame_under_any_seed() {
        for seed in 0..rounds(10_000_u32) {
            let seed = Seed::new(seed.wrapping_mul(0x9E37_79B9));
            assert!(Frame::read(&[0; 64], seed).is_err(), "{seed:?}");
        }
    }

    #[test]
    fn a_length_below_a_header_is_refused_though_its_checksum_is_good() {
        for len in 0..FRAME_HEADER_LEN {
            let mut bytes = frame_with(FrameKind::Event, b"body");
            wire::set_u32(&mut bytes, LEN_AT, len as u32);
            let crc = SEED.checksum(&bytes[LEN_AT..len.max(LEN_AT)]);
            wire::set_u32(&mut bytes, CRC_AT, crc);
            assert!(matches!(Frame::read(&bytes, SEED), Err(FrameFault::Length { .. })), "{len}");
            assert!(matches!(Frame::read_unverified(&bytes), Err(FrameFault::Length { .. })), "{len}");
        }
    }

    #[test]
    fn a_frame_of_another_segment_never_validates() {
        // A CRC keeps every difference of what it begins with, so this holds
        // for all seeds and not only for nearly all.
        let bytes = frame_with(FrameKind::Event, b"body");
        for bit in 0..32 {
            let other = Seed::new(SEED.get() ^ (1 << bit));
            assert!(matches!(Frame::read(&bytes, other), Err(FrameFault::Checksum { .. })), "bit {bit}");
        }
    }

    #[test]
    fn an_unknown_kind_is_skippable_only_with_bit_7() {
        let bytes = frame_with(FrameKind::Skippable(0x84), b"");
        assert_eq!(Frame::read(&bytes, SEED).unwrap().kind, FrameKind::Skippable(0x84));
        let bytes = frame_with(FrameKind::Skippable(0x04), b"");
        assert_eq!(Frame::read(&bytes, SEED).unwrap_err(), FrameFault::UnknownKind(0x04));
    }

    #[test]
    fn the_checksum_is_crc_32_ieee_begun_with_the_seed() {
        assert_eq!(Seed::new(0).checksum(b"123456789"), 0xCBF4_3926);
        // Begun with the checksum of a first part, it is the checksum of both.
        assert_eq!(Seed::new(crc32fast::hash(b"1234")).checksum(b"56789"), 0xCBF4_3926);
    }
}

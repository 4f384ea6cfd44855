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
const KIND_AT: usize = 8;
const FLAGS_AT: usize = 9;
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
    pub const fn kind(&self) -> Option<FrameKind> {
        FrameKind::from_number(self.kind_number)
    }

    /// Where the next frame begins, counted from the start of this one.
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
    pub fn read(bytes: &'a [u8], seed: Seed) -> Result<Frame<'a>, FrameFault> {
        let frame = Frame::read_unverified(bytes)?;
        let computed = seed.checksum(&frame.bytes[LEN_AT..]);
        if frame.header.crc != computed {
            return Err(FrameFault::Checksum { stored: frame.header.crc, computed });
        }
        let end = frame.bytes.len();
        let padded_end = padded(end as u64) as usize;
        match bytes.get(end..padded_end) {
            Some(padding) if padding.iter().all(|&byte| byte == 0) => {}
            Some(_) => return Err(FrameFault::Padding),
            None => return Err(FrameFault::Length { len: frame.header.len, have: bytes.len() as u64 }),
        }
        Ok(frame)
    }

    /// Reads the frame at the start of `bytes`, which were verified before:
    /// only what memory safety and decoding need is checked again.
    ///
    /// # Errors
    ///
    /// [`FrameFault`] when the length is impossible or the kind unknown.
    #[inline]
    pub fn read_unverified(bytes: &'a [u8]) -> Result<Frame<'a>, FrameFault> {
        let have = bytes.len() as u64;
        let header = FrameHeader::read(bytes).ok_or(FrameFault::NoHeader { have })?;
        if (header.len as usize) < FRAME_HEADER_LEN || u64::from(header.len) > have {
            return Err(FrameFault::Length { len: header.len, have });
        }
        let kind = header.kind().ok_or(FrameFault::UnknownKind(header.kind_number))?;
        Ok(Frame { header, kind, bytes: &bytes[..header.len as usize] })
    }

    /// What follows the header.
    #[inline]
    pub fn body(&self) -> &'a [u8] {
        &self.bytes[FRAME_HEADER_LEN..]
    }
}

/// Begins a frame at the end of `out`; the body is appended next, then [`finish`].
#[inline]
pub(crate) fn begin(out: &mut Vec<u8>, kind: FrameKind, flags: u8, epoch: Epoch, position: Position) -> usize {
    let start = out.len();
    let mut header = [0; FRAME_HEADER_LEN];
    header[KIND_AT] = kind.number();
    header[FLAGS_AT] = flags;
    header[EPOCH_AT..EPOCH_AT + 2].copy_from_slice(&epoch.low_bits().to_le_bytes());
    header[POSITION_AT..].copy_from_slice(&position.get().to_le_bytes());
    out.extend_from_slice(&header);
    start
}

/// Completes the frame begun at `start`: length, checksum, padding. Returns the checksum.
#[inline]
pub(crate) fn finish(out: &mut Vec<u8>, start: usize, seed: Seed) -> u32 {
    let len = out.len() - start;
    wire::set_u32(out, start + LEN_AT, u32::try_from(len).expect("frames are limited far below 4 GiB"));
    let crc = seed.checksum(&out[start + LEN_AT..]);
    wire::set_u32(out, start + CRC_AT, crc);
    out.resize(start + padded(len as u64) as usize, 0);
    crc
}

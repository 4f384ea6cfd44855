//! The search for the next good frame behind a bad place.
//!
//! Nothing there says any more where frames begin, so every multiple of 8 is
//! tried: cheap tests of length, kind and position first, the checksum last.
//! Bytes that were made to look plausible everywhere could make that take for
//! ever; after [`EFFORT`] times the file's length in checksums, only the short
//! frames that end a batch or a segment are looked for.

use annals_codec::scan::Source;
use annals_codec::{FRAME_ALIGN, FRAME_HEADER_LEN, Frame, FrameHeader, FrameKind, Position, SEAL_LEN, Seed};

use crate::segment_file::MAX_FRAME;

/// How many times the length of the file may be spent on checksums.
const EFFORT: u64 = 16;

/// The least length of an event's frame, in bytes.
const LEAST_EVENT: u64 = 72;
/// The lengths that a commit marker can have, in bytes.
const COMMIT_LENS: std::ops::RangeInclusive<u32> = 64..=64 + 32 + 128 + 8 + 255;
/// Where the base position is not known: no log is so long, and few random numbers are so small.
const LARGEST_LOG: u64 = 1 << 48;

/// How many bytes of headers are tried in one go.
const WINDOW: usize = 64 * 1024;

pub(super) struct Search {
    seed: Seed,
    file_len: u64,
    /// How many more bytes of long frames may be checksummed.
    effort: u64,
}

impl Search {
    pub(super) fn new(file_len: u64, seed: Seed) -> Search {
        Search { seed, file_len, effort: file_len.saturating_mul(EFFORT) }
    }

    /// Where the next good frame at or behind `from` begins. It comes later in the log than `last`, if that is known.
    pub(super) fn next<S: Source>(
        &mut self,
        source: &mut S,
        from: u64,
        last: Option<Position>,
    ) -> Result<Option<u64>, S::Error> {
        let mut at = from.next_multiple_of(FRAME_ALIGN);
        while at < self.file_len {
            let window = source.bytes(at, WINDOW)?;
            let whole = window.len() / FRAME_ALIGN as usize;
            if whole == 0 {
                break;
            }
            let candidate = (0..whole).map(|step| step * FRAME_ALIGN as usize).find_map(|skip| {
                let header = FrameHeader::read(&window[skip..])?;
                self.is_plausible(&header, self.file_len - at - skip as u64, last).then_some((skip as u64, header))
            });
            match candidate {
                Some((skip, header)) => {
                    at += skip;
                    let len = header.padded_len();
                    if !is_short(&header) {
                        self.effort -= len;
                    }
                    if Frame::read(source.bytes(at, len as usize)?, self.seed).is_ok() {
                        return Ok(Some(at));
                    }
                    at += FRAME_ALIGN;
                }
                // Shorter than asked for: the file ends.
                None if window.len() < WINDOW => break,
                // The last headers of the window reach beyond it: they are tried again with the next one.
                None => at += (window.len() - 2 * FRAME_HEADER_LEN).next_multiple_of(FRAME_ALIGN as usize) as u64,
            }
        }
        Ok(None)
    }

    fn is_plausible(&self, header: &FrameHeader, left: u64, last: Option<Position>) -> bool {
        let len = header.padded_len();
        let len_is_possible = match header.kind() {
            Some(FrameKind::Event) => {
                u64::from(header.len) >= LEAST_EVENT && len <= self.effort && len <= MAX_FRAME as u64
            }
            Some(FrameKind::Commit) => COMMIT_LENS.contains(&header.len),
            Some(FrameKind::Seal) => u64::from(header.len) == SEAL_LEN,
            Some(FrameKind::Skippable(_)) | None => false,
        };
        let position = header.position.get();
        let position_is_possible = match last {
            Some(last) => position.wrapping_sub(last.get()) <= self.file_len / LEAST_EVENT,
            None => position <= LARGEST_LOG,
        };
        len_is_possible && position_is_possible && len <= left
    }
}

fn is_short(header: &FrameHeader) -> bool {
    header.kind() != Some(FrameKind::Event)
}

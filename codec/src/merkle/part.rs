//! The nodes of the tree that the batches of one segment complete, as a file.
//!
//! ```text
//!  | header 128 | peaks before, 32 each | nodes, 32 each | last position − base of each batch, 4 each |
//! ```
//!
//! It follows from the segments up to this one, and can be made anew at any time. With it a proof needs no look at
//! the segment; and with the peaks, none at what came before.

use super::{Peaks, stored_at, stored_before};
use crate::digest::Digest;
use crate::frame::Seed;
use crate::ids::{LogId, Position, SegmentNumber};
use crate::wire;

/// Length of the header, in bytes.
pub const PART_HEADER_LEN: usize = 128;

const MAGIC: [u8; 8] = *b"\x89ANNTRE\n";
const VERSION: u16 = 1;
const CONTENT_CRC_AT: usize = 120;
const CRC_AT: usize = 124;

/// Of which segment a part is, and where it stands in the tree.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct PartHeader {
    /// The log.
    pub log_id: LogId,
    /// The segment.
    pub segment: SegmentNumber,
    /// Its base position.
    pub base: Position,
    /// Its seed, and the chain of checksums at its end: no other segment has both.
    pub seed: Seed,
    /// See `seed`.
    pub chain: u32,
    /// The position behind which the hash chain begins, and the tree with it.
    pub from: Position,
    /// How many leaves come before the segment.
    pub first: u64,
    /// How many batches it holds.
    pub leaves: u64,
}

impl PartHeader {
    fn encode(&self, content: &[u8]) -> [u8; PART_HEADER_LEN] {
        let mut bytes = [0; PART_HEADER_LEN];
        bytes[..8].copy_from_slice(&MAGIC);
        wire::set_u16(&mut bytes, 8, VERSION);
        bytes[16..32].copy_from_slice(self.log_id.as_bytes());
        wire::set_u64(&mut bytes, 32, self.segment.get());
        wire::set_u64(&mut bytes, 40, self.base.get());
        wire::set_u32(&mut bytes, 48, self.seed.get());
        wire::set_u32(&mut bytes, 52, self.chain);
        wire::set_u64(&mut bytes, 56, self.from.get());
        wire::set_u64(&mut bytes, 64, self.first);
        wire::set_u64(&mut bytes, 72, self.leaves);
        wire::set_u32(&mut bytes, CONTENT_CRC_AT, crc32fast::hash(content));
        let crc = crc32fast::hash(&bytes[..CRC_AT]);
        wire::set_u32(&mut bytes, CRC_AT, crc);
        bytes
    }

    /// The length of what follows the header, in bytes.
    fn content_len(&self) -> u64 {
        let nodes = stored_before(self.first + self.leaves) - stored_before(self.first);
        (u64::from(self.first.count_ones()) + nodes) * Digest::LEN as u64 + 4 * self.leaves
    }
}

/// A part, checked.
#[derive(Clone, Copy, Debug)]
pub struct Part<'a> {
    /// What it is of.
    pub header: PartHeader,
    content: &'a [u8],
}

impl<'a> Part<'a> {
    /// Reads a file; `None` when it is not a whole one of this version, checksums included.
    pub fn read(file: &'a [u8]) -> Option<Part<'a>> {
        let part = Part::read_again(file)?;
        part.is_good(file).then_some(part)
    }

    /// Reads a file that was [read](Part::read) before, without going through all of it.
    pub fn read_again(file: &'a [u8]) -> Option<Part<'a>> {
        let (bytes, content) = file.split_at_checked(PART_HEADER_LEN)?;
        let is_ours = bytes[..8] == MAGIC && wire::u16_at(bytes, 8) == VERSION;
        let is_zero = |part: &[u8]| part.iter().all(|&byte| byte == 0);
        if !is_ours
            || wire::u32_at(bytes, CRC_AT) != crc32fast::hash(&bytes[..CRC_AT])
            || !is_zero(&bytes[10..16])
            || !is_zero(&bytes[80..CONTENT_CRC_AT])
        {
            return None;
        }
        // No segment has more batches than its length in bytes, in 35 bits; no log more than a position can count.
        let count = |at: usize, bits: u32| Some(wire::u64_at(bytes, at)).filter(|&count| count >> bits == 0);
        let header = PartHeader {
            log_id: LogId::from_bytes(wire::array_at(bytes, 16)),
            segment: SegmentNumber::new(wire::count_at(bytes, 32)?),
            base: Position::new(wire::count_at(bytes, 40)?),
            seed: Seed::new(wire::u32_at(bytes, 48)),
            chain: wire::u32_at(bytes, 52),
            from: Position::new(wire::count_at(bytes, 56)?),
            first: count(64, 56)?,
            leaves: count(72, 36)?,
        };
        (content.len() as u64 == header.content_len()).then_some(Part { header, content })
    }

    fn digest(&self, number: u64) -> Digest {
        Digest::from_bytes(wire::array_at(self.content, number as usize * Digest::LEN))
    }

    /// The complete node at this level and index, if a batch of this segment completes it, or it is a peak before it.
    pub fn complete(&self, level: u32, index: u64) -> Option<Digest> {
        let PartHeader { first, leaves, .. } = self.header;
        let end = index.checked_add(1)?.checked_shl(level)?;
        if end > first {
            let nodes = u64::from(first.count_ones());
            let at = stored_at(level, index).checked_sub(stored_before(first))?;
            return (end <= first + leaves).then(|| self.digest(nodes + at));
        }
        // A peak is for a bit of the size; those of the higher bits stand before it.
        let is_peak = first >> level & 1 == 1 && end == first >> level << level;
        is_peak.then(|| self.digest(u64::from((first >> level >> 1).count_ones())))
    }

    /// Whether what follows the header is what it was written as.
    pub fn is_good(&self, file: &[u8]) -> bool {
        wire::u32_at(file, CONTENT_CRC_AT) == crc32fast::hash(self.content)
    }

    /// The peaks of the tree before this segment.
    pub fn before(&self) -> Peaks {
        let first = self.header.first;
        let peaks = (0..u64::from(first.count_ones())).map(|number| self.digest(number)).collect();
        Peaks::from_parts(first, peaks).expect("one for each bit")
    }

    /// The peaks of the tree behind this segment.
    pub fn peaks(&self) -> Option<Peaks> {
        let size = self.header.first + self.header.leaves;
        let levels = (0..u64::BITS).rev().filter(|level| size >> level & 1 == 1);
        let hashes = levels.map(|level| self.complete(level, (size >> level) - 1)).collect::<Option<_>>()?;
        Peaks::from_parts(size, hashes)
    }

    /// The last position of the batch with this number in the segment; of the base, before the first.
    fn last(&self, number: u64) -> Position {
        let lasts = self.content.len() - 4 * self.header.leaves as usize;
        self.header.base.plus(u64::from(wire::u32_at(self.content, lasts + 4 * number as usize)))
    }

    /// The number in the tree of the batch that holds the event at `position`; `None` when the segment does not.
    pub fn leaf_of(&self, position: Position) -> Option<u64> {
        let (mut from, mut to) = (0, self.header.leaves);
        while from < to {
            let middle = from.midpoint(to);
            if self.last(middle) < position {
                from = middle + 1;
            } else {
                to = middle;
            }
        }
        (position > self.header.base && from < self.header.leaves).then_some(self.header.first + from)
    }
}

/// Makes a part, batch by batch.
#[derive(Debug)]
pub struct PartBuilder {
    from: Position,
    before: Peaks,
    peaks: Peaks,
    nodes: Vec<u8>,
    lasts: Vec<u8>,
    base: Position,
}

impl PartBuilder {
    /// For the segment behind `base`, where the tree that begins behind `from` has these peaks.
    pub fn new(from: Position, before: Peaks, base: Position) -> PartBuilder {
        PartBuilder { from, peaks: before.clone(), before, nodes: Vec::new(), lasts: Vec::new(), base }
    }

    /// Takes in the next batch: its digest, and its last position.
    pub fn push(&mut self, batch: &Digest, last: Position) {
        self.peaks.push(batch, |node| self.nodes.extend_from_slice(node.as_bytes()));
        wire::put_u32(&mut self.lasts, (last.get() - self.base.get()) as u32);
    }

    /// The file, for the segment with this number, seed and chain at its end.
    pub fn finish(self, log_id: LogId, segment: SegmentNumber, seed: Seed, chain: u32) -> Vec<u8> {
        let header = PartHeader {
            log_id,
            segment,
            base: self.base,
            seed,
            chain,
            from: self.from,
            first: self.before.size(),
            leaves: self.peaks.size() - self.before.size(),
        };
        let mut file = vec![0; PART_HEADER_LEN];
        self.before.hashes().iter().for_each(|peak| file.extend_from_slice(peak.as_bytes()));
        file.extend_from_slice(&self.nodes);
        file.extend_from_slice(&self.lasts);
        let bytes = header.encode(&file[PART_HEADER_LEN..]);
        file[..PART_HEADER_LEN].copy_from_slice(&bytes);
        file
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::digest::Hasher;
    use crate::testing::for_each_flip;

    fn batch(number: u64) -> Digest {
        Hasher::digest(&number.to_le_bytes())
    }

    /// Segments of so many batches of two events each, and an empty batch behind each segment's first.
    fn parts(sizes: &[u64]) -> Vec<Vec<u8>> {
        let (mut peaks, mut base, mut number, mut files) = (Peaks::default(), Position::new(5), 0, Vec::new());
        for (segment, &size) in sizes.iter().enumerate() {
            let mut builder = PartBuilder::new(Position::new(5), peaks, base);
            for leaf in 0..size {
                base = if leaf == 1 { base } else { base.plus(2) };
                builder.push(&batch(number), base);
                number += 1;
            }
            let segment = SegmentNumber::new(segment as u64);
            files.push(builder.finish(LogId::from_bytes([7; 16]), segment, Seed::new(3), 4));
            peaks = Part::read(files.last().unwrap()).unwrap().peaks().unwrap();
        }
        files
    }

    #[test]
    fn peaks_and_nodes_are_those_of_the_tree_wherever_it_is_cut_into_segments() {
        for sizes in [&[1, 1, 1, 1, 1][..], &[0, 3, 0, 4], &[7, 9, 1], &[8, 8], &[16], &[5, 11, 3, 2, 9]] {
            let (mut whole, mut all) = (Peaks::default(), Vec::new());
            let mut size = 0;
            for (file, more) in parts(sizes).iter().zip(sizes) {
                let part = Part::read(file).unwrap();
                assert_eq!((part.header.first, part.header.leaves), (size, *more));
                for level in 0..6 {
                    for index in 0..40_u64 {
                        let end = (index + 1) << level;
                        if end <= size && part.complete(level, index).is_some() {
                            let stored: Digest = all[stored_at(level, index) as usize];
                            assert_eq!(part.complete(level, index), Some(stored), "a peak before, {level} {index}");
                        }
                    }
                }
                assert_eq!(part.before(), whole);
                for number in size..size + more {
                    whole.push(&batch(number), |node| all.push(node));
                }
                size += more;
                assert_eq!(part.peaks().unwrap(), whole, "{sizes:?} up to {size}");
                for level in 0..6 {
                    for index in 0..size >> level {
                        let is_here = (index + 1) << level > part.header.first;
                        let found = part.complete(level, index);
                        assert!(!is_here || found == Some(all[stored_at(level, index) as usize]), "{level} {index}");
                    }
                    assert_eq!(part.complete(level, size >> level), None, "it is not complete yet");
                }
            }
        }
    }

    #[test]
    fn the_leaf_of_a_position_is_that_of_its_batch() {
        let files = parts(&[4, 3]);
        let (one, two) = (Part::read(&files[0]).unwrap(), Part::read(&files[1]).unwrap());
        // Batches of the positions 6-7, none, 8-9, 10-11; then 12-13, none, 14-15.
        let of = |part: &Part<'_>| (4..18).map(|position| part.leaf_of(Position::new(position))).collect::<Vec<_>>();
        let (no, some) = (None, Some);
        assert_eq!(of(&one), [no, no, some(0), some(0), some(2), some(2), some(3), some(3), no, no, no, no, no, no]);
        assert_eq!(of(&two), [no, no, no, no, no, no, no, no, some(4), some(4), some(6), some(6), no, no]);
    }

    #[test]
    fn a_file_with_any_bit_flipped_or_cut_anywhere_is_none() {
        let file = parts(&[3, 4]).remove(1);
        assert!(Part::read(&file).is_some());
        for_each_flip(&file, 0..file.len(), |bit, file| assert!(Part::read(file).is_none(), "bit {bit}"));
        for cut in 0..file.len() {
            assert!(Part::read(&file[..cut]).is_none(), "cut at {cut}");
        }
    }
}

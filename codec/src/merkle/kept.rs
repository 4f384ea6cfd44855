//! What is kept of a tree whose oldest leaves were removed: its peaks there. With them it goes on growing, and can be
//! proven to be what it was before.
//!
//! ```text
//!  position 8 │ from 8 │ size 8 │ peaks, 32 for each bit of the size          one or two, the newer first
//! ```

use super::Peaks;
use crate::digest::Digest;
use crate::ids::Position;
use crate::wire;

const FIXED_LEN: usize = 24;

/// No log has more batches than positions can count.
const SIZE_BITS: u32 = 56;

/// A tree as it was behind a position.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct KeptTree {
    /// Everything up to this position was removed.
    pub position: Position,
    /// The position behind which the hash chain begins, and the tree with it.
    pub from: Position,
    /// The tree over the batches between the two.
    pub peaks: Peaks,
}

impl KeptTree {
    /// Encodes trees, one after the other.
    pub fn encode(trees: &[KeptTree]) -> Vec<u8> {
        let mut out = Vec::new();
        for KeptTree { position, from, peaks } in trees {
            wire::put_u64(&mut out, position.get());
            wire::put_u64(&mut out, from.get());
            wire::put_u64(&mut out, peaks.size());
            peaks.hashes().iter().for_each(|peak| out.extend_from_slice(peak.as_bytes()));
        }
        out
    }

    /// Decodes what [`encode`](KeptTree::encode) made; `None` when these bytes are nothing of the kind.
    pub fn decode(mut bytes: &[u8]) -> Option<Vec<KeptTree>> {
        let mut trees = Vec::new();
        while !bytes.is_empty() {
            let (fixed, rest) = bytes.split_at_checked(FIXED_LEN)?;
            let size = wire::u64_at(fixed, 16);
            let (peaks, rest) = rest.split_at_checked(size.count_ones() as usize * Digest::LEN)?;
            let peaks = peaks.chunks_exact(Digest::LEN).map(|peak| Digest::from_bytes(wire::array_at(peak, 0)));
            let (position, from) = (wire::count_at(fixed, 0)?, wire::count_at(fixed, 8)?);
            if size >> SIZE_BITS != 0 || from > position {
                return None;
            }
            let peaks = Peaks::from_parts(size, peaks.collect())?;
            trees.push(KeptTree { position: Position::new(position), from: Position::new(from), peaks });
            bytes = rest;
        }
        Some(trees)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::digest::Hasher;

    fn kept(position: u64, from: u64, size: u64) -> KeptTree {
        let mut peaks = Peaks::default();
        for number in 0..size {
            peaks.push(&Hasher::digest(&number.to_le_bytes()), |_| ());
        }
        KeptTree { position: Position::new(position), from: Position::new(from), peaks }
    }

    #[test]
    fn trees_are_decoded_as_they_were_encoded_and_no_part_of_them_passes_for_some() {
        for trees in [vec![], vec![kept(9, 0, 0)], vec![kept(90, 5, 7)], vec![kept(90, 5, 8), kept(70, 5, 6)]] {
            let bytes = KeptTree::encode(&trees);
            assert_eq!(KeptTree::decode(&bytes).as_ref(), Some(&trees));
            let whole = (0..=trees.len()).map(|count| KeptTree::encode(&trees[..count]).len()).collect::<Vec<_>>();
            for cut in (0..bytes.len()).filter(|cut| !whole.contains(cut)) {
                assert_eq!(KeptTree::decode(&bytes[..cut]), None, "cut at {cut}");
            }
        }
    }

    #[test]
    fn numbers_that_cannot_be_are_refused() {
        let bytes = KeptTree::encode(&[kept(9, 5, 0)]);
        for (at, byte) in [(7, 0x80), (15, 0x80), (8, 10)] {
            let mut bytes = bytes.clone();
            bytes[at] = byte;
            assert_eq!(KeptTree::decode(&bytes), None, "byte {at}: {byte}");
        }
        // As many peaks as it has bits, and more leaves than any log.
        let mut bytes = [bytes.as_slice(), &[0; 32]].concat();
        bytes[23] = 1;
        assert_eq!(KeptTree::decode(&bytes), None);
    }
}

//! A mark: what tells one history of a log from another, up to a position.
//!
//! Whoever keeps something that was made of a log (a checkpoint, a state) keeps the mark of its position
//! beside it. When the log is another one, or was restored from a backup and went on differently, the mark of
//! that position is another, and the thing is not used.
//!
//! ```text
//!  0           16          24       28       32                              64
//!  +-----------+-----------+--------+--------+-------------------------------+
//!  | log id 16 | position 8| chain 4| flags 4| hash chain 32, zero if not set|
//!  +-----------+-----------+--------+--------+-------------------------------+
//! ```
//!
//! - `chain` is that of the marker of the batch that contains the position; 0 before the first event.
//! - Flag 1: a hash chain follows. Where both of two marks have one, it has to agree too.

use crate::digest::Digest;
use crate::ids::{LogId, Position};
use crate::wire;

const HAS_HASH: u32 = 1;

/// What identifies the history of a log up to a position.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Mark {
    /// The log.
    pub log_id: LogId,
    /// The position.
    pub position: Position,
    /// The chain at the end of the batch that contains it.
    pub chain: u32,
    /// The hash chain there, when the store keeps one.
    pub hash: Option<Digest>,
}

impl Mark {
    /// Length when encoded, in bytes.
    pub const LEN: usize = 64;

    /// Whether two marks of one position can be of one history.
    ///
    /// ```
    /// use annals_codec::{LogId, Mark, Position};
    ///
    /// let mark = Mark { log_id: LogId::from_bytes([1; 16]), position: Position::new(7), chain: 0xC78D_DCC1, hash: None };
    /// assert!(mark.agrees_with(&mark));
    /// assert!(!mark.agrees_with(&Mark { chain: 1, ..mark }));
    /// ```
    pub fn agrees_with(&self, other: &Mark) -> bool {
        let hashes_agree = match (self.hash, other.hash) {
            (Some(one), Some(other)) => one == other,
            _ => true,
        };
        (self.log_id, self.position, self.chain) == (other.log_id, other.position, other.chain) && hashes_agree
    }

    /// Encodes it.
    pub fn encode(&self) -> [u8; Mark::LEN] {
        let mut bytes = [0; Mark::LEN];
        bytes[..16].copy_from_slice(self.log_id.as_bytes());
        wire::set_u64(&mut bytes, 16, self.position.get());
        wire::set_u32(&mut bytes, 24, self.chain);
        if let Some(hash) = self.hash {
            wire::set_u32(&mut bytes, 28, HAS_HASH);
            bytes[32..].copy_from_slice(hash.as_bytes());
        }
        bytes
    }

    /// Decodes what [`encode`](Mark::encode) gives; `None` for anything else.
    pub fn decode(bytes: &[u8]) -> Option<Mark> {
        let bytes = bytes.get(..Mark::LEN)?;
        let hash: [u8; 32] = wire::array_at(bytes, 32);
        let hash = match wire::u32_at(bytes, 28) {
            0 if hash == [0; 32] => None,
            HAS_HASH => Some(Digest::from_bytes(hash)),
            _ => return None,
        };
        Some(Mark {
            log_id: LogId::from_bytes(wire::array_at(bytes, 0)),
            position: Position::new(wire::count_at(bytes, 16)?),
            chain: wire::u32_at(bytes, 24),
            hash,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{Rng, rounds};

    pub(crate) fn mark(seed: u64) -> Mark {
        let mut rng = Rng::new(seed);
        Mark {
            log_id: LogId::from_bytes(std::array::from_fn(|_| rng.next() as u8)),
            position: Position::new(rng.next() >> 1),
            chain: rng.next() as u32,
            hash: rng.chance().then(|| Digest::from_bytes(std::array::from_fn(|_| rng.next() as u8))),
        }
    }

    #[test]
    fn a_mark_reads_back_and_no_flag_that_is_unknown_does() {
        for seed in 0..rounds(50) {
            let mark = mark(seed);
            let bytes = mark.encode();
            assert_eq!(Mark::decode(&bytes), Some(mark), "seed {seed}");
            assert_eq!(Mark::decode(&bytes[..63]), None);
            for (at, value) in [(28, 2), (29, 1), (23, 0x80)] {
                let mut bytes = bytes;
                bytes[at] |= value;
                assert_eq!(Mark::decode(&bytes), None, "seed {seed}, byte {at}");
            }
        }
        let mut bytes = Mark { hash: None, ..mark(1) }.encode();
        bytes[40] = 1;
        assert_eq!(Mark::decode(&bytes), None, "a hash that is not said to be there");
    }

    #[test]
    fn marks_agree_when_all_agrees_that_both_have() {
        let plain = Mark { hash: None, ..mark(2) };
        let hashed = Mark { hash: Some(Digest::from_bytes([1; 32])), ..plain };
        assert!(plain.agrees_with(&hashed) && hashed.agrees_with(&plain) && hashed.agrees_with(&hashed));
        for other in [
            Mark { hash: Some(Digest::from_bytes([2; 32])), ..plain },
            Mark { chain: !plain.chain, ..hashed },
            Mark { position: plain.position.plus(1), ..hashed },
            Mark { log_id: LogId::from_bytes([0; 16]), ..hashed },
        ] {
            assert!(!hashed.agrees_with(&other), "{other:?}");
        }
    }
}

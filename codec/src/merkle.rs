//! The tree over the batches of a log: that one of them is in it, or that it has only grown, in a few hashes.
//!
//! It is the Merkle tree of RFC 9162, section 2.1, over the digests of the batches that one hash chain covers, from its
//! start on. A chain shows that nothing was changed to who goes through all of it; a tree shows it to who has
//! nothing but two roots and a proof of some twenty hashes.
//!
//! ```text
//!  leaf = H(00 ‖ batch)     node = H(01 ‖ left ‖ right)     root of no leaves = H()
//!  a tree of n > 1 leaves: left of its root stands the tree of the first k, where k is the largest power of two below n
//! ```
//!
//! What is always true:
//!
//! - A *complete* node at level *l* and index *i* covers the 2ˡ leaves from *i*·2ˡ on. It never changes when the tree
//!   grows, so it can be stored: whoever has the complete nodes makes any proof of any size without the leaves.
//! - [`check_inclusion`] and [`check_consistency`] need no store, and never panic, whatever they are given.

pub use self::kept::KeptTree;
pub use self::part::{PART_HEADER_LEN, Part, PartBuilder, PartHeader};
use crate::digest::{Digest, Hasher};

mod kept;
mod part;

const LEAF: u8 = 0;
const NODE: u8 = 1;

/// The node over one batch with this digest.
pub fn leaf(batch: &Digest) -> Digest {
    let mut bytes = [LEAF; 1 + Digest::LEN];
    bytes[1..].copy_from_slice(batch.as_bytes());
    Hasher::digest(&bytes)
}

/// The node over two others.
pub fn node(left: &Digest, right: &Digest) -> Digest {
    let mut bytes = [NODE; 1 + 2 * Digest::LEN];
    bytes[1..33].copy_from_slice(left.as_bytes());
    bytes[33..].copy_from_slice(right.as_bytes());
    Hasher::digest(&bytes)
}

/// A tree while it grows: its size, and its peaks, the largest complete nodes that it is made of.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Peaks {
    size: u64,
    /// From left to right; one for each bit of the size.
    hashes: Vec<Digest>,
}

impl Peaks {
    /// Those of a tree of this size; `None` when it has not so many.
    pub fn from_parts(size: u64, hashes: Vec<Digest>) -> Option<Peaks> {
        (hashes.len() == size.count_ones() as usize).then_some(Peaks { size, hashes })
    }

    /// How many leaves the tree has.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// The peaks, from left to right.
    pub fn hashes(&self) -> &[Digest] {
        &self.hashes
    }

    /// Takes in the digest of the next batch; `complete` is called with each node that it completes, from its leaf on.
    pub fn push(&mut self, batch: &Digest, mut complete: impl FnMut(Digest)) {
        let mut hash = leaf(batch);
        complete(hash);
        for _ in 0..self.size.trailing_ones() {
            let left = self.hashes.pop().expect("one for each bit");
            hash = node(&left, &hash);
            complete(hash);
        }
        self.hashes.push(hash);
        self.size += 1;
    }

    /// The root of the tree.
    pub fn root(&self) -> Digest {
        let mut hashes = self.hashes.iter().rev();
        let Some(last) = hashes.next() else { return Hasher::digest(&[]) };
        hashes.fold(*last, |right, left| node(left, &right))
    }
}

/// Who has the complete nodes of a tree.
pub trait Nodes {
    /// Why one could not be had.
    type Error;

    /// The complete node at this level and index.
    ///
    /// # Errors
    ///
    /// When it cannot be read.
    fn complete(&mut self, level: u32, index: u64) -> Result<Digest, Self::Error>;
}

/// How many nodes the first `leaves` leaves complete: the place of the leaf of that number, where complete nodes are
/// stored in the order in which they are completed.
pub fn stored_before(leaves: u64) -> u64 {
    2 * leaves - u64::from(leaves.count_ones())
}

/// The place of a complete node in that order.
pub fn stored_at(level: u32, index: u64) -> u64 {
    stored_before(((index + 1) << level) - 1) + u64::from(level)
}

/// The largest power of two below `count`, which is more than 1.
fn split(count: u64) -> u64 {
    1 << (count - 1).ilog2()
}

/// The root over the leaves `from..to`, which stand under one node of some tree.
fn root_over<N: Nodes>(nodes: &mut N, from: u64, to: u64) -> Result<Digest, N::Error> {
    let count = to - from;
    if count.is_power_of_two() {
        return nodes.complete(count.trailing_zeros(), from >> count.trailing_zeros());
    }
    let middle = from + split(count);
    Ok(node(&root_over(nodes, from, middle)?, &root_over(nodes, middle, to)?))
}

/// The root of the tree of the first `size` leaves.
///
/// # Errors
///
/// Passes on what `nodes` could not read.
pub fn root<N: Nodes>(nodes: &mut N, size: u64) -> Result<Digest, N::Error> {
    if size == 0 { Ok(Hasher::digest(&[])) } else { root_over(nodes, 0, size) }
}

/// The proof that the leaf with this number, counted from 0, is in the tree of `size` leaves.
///
/// # Errors
///
/// Passes on what `nodes` could not read.
///
/// # Panics
///
/// When the tree has no such leaf.
pub fn inclusion<N: Nodes>(nodes: &mut N, number: u64, size: u64) -> Result<Vec<Digest>, N::Error> {
    assert!(number < size, "leaf {number} of {size}");
    let (mut from, mut to, mut proof) = (0, size, Vec::new());
    while to - from > 1 {
        let middle = from + split(to - from);
        if number < middle {
            proof.push(root_over(nodes, middle, to)?);
            to = middle;
        } else {
            proof.push(root_over(nodes, from, middle)?);
            from = middle;
        }
    }
    proof.reverse();
    Ok(proof)
}

/// The proof that the tree of `old` leaves is the beginning of the tree of `new` leaves.
///
/// # Errors
///
/// Passes on what `nodes` could not read.
///
/// # Panics
///
/// When `old` is more than `new`.
pub fn consistency<N: Nodes>(nodes: &mut N, old: u64, new: u64) -> Result<Vec<Digest>, N::Error> {
    assert!(old <= new, "a tree of {old} leaves begins one of {new}");
    let (mut from, mut to, mut proof) = (0, new, Vec::new());
    if old == 0 || old == new {
        return Ok(proof);
    }
    while old < to {
        let middle = from + split(to - from);
        if old <= middle {
            proof.push(root_over(nodes, middle, to)?);
            to = middle;
        } else {
            proof.push(root_over(nodes, from, middle)?);
            from = middle;
        }
    }
    // Whoever knows the old root knows this one, if it is all of the old tree.
    if from > 0 {
        proof.push(root_over(nodes, from, to)?);
    }
    proof.reverse();
    Ok(proof)
}

/// Whether `proof` shows that a batch with this digest is number `number`, counted from 0, in the tree of `size`
/// leaves with this root.
pub fn check_inclusion(batch: &Digest, number: u64, size: u64, root: &Digest, proof: &[Digest]) -> bool {
    if number >= size {
        return false;
    }
    let (mut at, mut last, mut hash) = (number, size - 1, leaf(batch));
    for other in proof {
        if last == 0 {
            return false;
        }
        if at & 1 == 1 || at == last {
            hash = node(other, &hash);
            let zeros = if at == 0 { 0 } else { at.trailing_zeros() };
            (at, last) = (at >> zeros, last >> zeros);
        } else {
            hash = node(&hash, other);
        }
        (at, last) = (at >> 1, last >> 1);
    }
    last == 0 && hash == *root
}

/// Whether `proof` shows that the tree of `old` leaves with one root is the beginning of the tree of `new` leaves with the
/// other.
pub fn check_consistency(old: (u64, &Digest), new: (u64, &Digest), proof: &[Digest]) -> bool {
    let ((old, old_root), (new, new_root)) = (old, new);
    if old == new {
        return proof.is_empty() && old_root == new_root;
    }
    if old == 0 {
        return proof.is_empty() && *old_root == Hasher::digest(&[]);
    }
    if old > new {
        return false;
    }
    let (first, rest) = match proof.split_first() {
        _ if old.is_power_of_two() => (old_root, proof),
        Some((first, rest)) => (first, rest),
        None => return false,
    };
    let ones = (old - 1).trailing_ones();
    let (mut at, mut last) = ((old - 1) >> ones, (new - 1) >> ones);
    let (mut before, mut after) = (*first, *first);
    for other in rest {
        if last == 0 {
            return false;
        }
        if at & 1 == 1 || at == last {
            (before, after) = (node(other, &before), node(other, &after));
            let zeros = if at == 0 { 0 } else { at.trailing_zeros() };
            (at, last) = (at >> zeros, last >> zeros);
        } else {
            after = node(&after, other);
        }
        (at, last) = (at >> 1, last >> 1);
    }
    last == 0 && before == *old_root && after == *new_root
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use super::*;
    use crate::testing::{Rng, rounds};

    /// Sizes that are tried with every leaf and every older size.
    const MOST: u64 = if cfg!(miri) { 9 } else { 70 };

    fn batch(number: u64) -> Digest {
        Hasher::digest(&number.to_le_bytes())
    }

    /// RFC 9162, 2.1.1, word for word.
    fn by_the_book(leaves: &[Digest]) -> Digest {
        match leaves {
            [] => Hasher::digest(b""),
            [one] => Hasher::digest(&[&[0], one.as_bytes().as_slice()].concat()),
            more => {
                let mut k = 1;
                while k * 2 < more.len() {
                    k *= 2;
                }
                let (left, right) = (by_the_book(&more[..k]), by_the_book(&more[k..]));
                Hasher::digest(&[&[1], left.as_bytes().as_slice(), right.as_bytes()].concat())
            }
        }
    }

    /// Complete nodes in the order in which they are completed, as a file has them.
    #[derive(Default)]
    struct Stored(Vec<Digest>);

    impl Nodes for Stored {
        type Error = Infallible;

        fn complete(&mut self, level: u32, index: u64) -> Result<Digest, Infallible> {
            Ok(self.0[stored_at(level, index) as usize])
        }
    }

    fn tree(size: u64) -> (Peaks, Stored) {
        let (mut peaks, mut stored) = (Peaks::default(), Stored::default());
        for number in 0..size {
            assert_eq!(stored.0.len() as u64, stored_before(number));
            peaks.push(&batch(number), |node| stored.0.push(node));
        }
        (peaks, stored)
    }

    #[test]
    fn the_root_of_every_size_is_that_of_the_rfc_from_its_peaks_and_from_stored_nodes() {
        let leaves: Vec<Digest> = (0..MOST).map(batch).collect();
        let (_, mut all) = tree(MOST);
        for size in 0..=MOST {
            let (peaks, _) = tree(size);
            let expected = by_the_book(&leaves[..size as usize]);
            assert_eq!((peaks.size(), peaks.root()), (size, expected), "{size} leaves");
            assert_eq!(root(&mut all, size), Ok(expected), "{size} leaves, of the nodes of more");
            assert_eq!(Peaks::from_parts(size, peaks.hashes().to_vec()), Some(peaks));
        }
        assert_eq!(Peaks::from_parts(3, vec![batch(1)]), None);
    }

    #[test]
    fn every_leaf_of_every_size_can_be_proven_and_nothing_else() {
        let (_, mut all) = tree(MOST);
        for size in 1..=MOST {
            let Ok(whole) = root(&mut all, size);
            for number in 0..size {
                let Ok(proof) = inclusion(&mut all, number, size);
                assert!(check_inclusion(&batch(number), number, size, &whole, &proof), "{number} of {size}");
                assert!(!check_inclusion(&batch(number + 1), number, size, &whole, &proof), "another batch");
                assert!(!check_inclusion(&batch(number), number, size, &batch(0), &proof), "another root");
                assert!(!check_inclusion(&batch(number), size, size, &whole, &proof), "beyond the tree");
                for other in (0..size).filter(|&other| other != number) {
                    assert!(!check_inclusion(&batch(number), other, size, &whole, &proof), "{number} as {other}");
                }
                for change in 0..proof.len() {
                    let mut proof = proof.clone();
                    proof[change] = batch(999);
                    assert!(!check_inclusion(&batch(number), number, size, &whole, &proof), "hash {change}");
                    proof.remove(change);
                    assert!(!check_inclusion(&batch(number), number, size, &whole, &proof), "without hash {change}");
                }
                let longer = [proof.as_slice(), &[batch(1)]].concat();
                assert!(!check_inclusion(&batch(number), number, size, &whole, &longer), "a hash more");
            }
        }
    }

    #[test]
    fn every_size_can_be_proven_to_begin_every_later_one_and_nothing_else() {
        let (_, mut all) = tree(MOST);
        for new in 0..=MOST {
            let Ok(new_root) = root(&mut all, new);
            for old in 0..=new {
                let Ok(old_root) = root(&mut all, old);
                let Ok(proof) = consistency(&mut all, old, new);
                let check = |old_root: &Digest, new_root: &Digest, proof: &[Digest]| {
                    check_consistency((old, old_root), (new, new_root), proof)
                };
                assert!(check(&old_root, &new_root, &proof), "{old} of {new}");
                assert!(!check(&batch(0), &new_root, &proof), "{old} of {new}: another old root");
                // Of a tree without leaves, every tree is a continuation.
                assert!(old == 0 || !check(&old_root, &batch(0), &proof), "{old} of {new}: another new root");
                assert!(old == new || !check_consistency((new, &new_root), (old, &old_root), &proof), "backwards");
                for change in 0..proof.len() {
                    let mut proof = proof.clone();
                    proof[change] = batch(999);
                    assert!(!check(&old_root, &new_root, &proof), "{old} of {new}: hash {change}");
                    proof.remove(change);
                    assert!(!check(&old_root, &new_root, &proof), "{old} of {new}: without hash {change}");
                }
                let longer = [proof.as_slice(), &[batch(1)]].concat();
                assert!(!check(&old_root, &new_root, &longer), "{old} of {new}: a hash more");
            }
        }
    }

    #[test]
    fn proofs_are_as_short_as_the_tree_is_high() {
        let (_, mut all) = tree(MOST);
        for size in 1..=MOST {
            let high = size.next_power_of_two().trailing_zeros() as usize;
            for number in 0..size {
                let (Ok(proof), Ok(older)) = (inclusion(&mut all, number, size), consistency(&mut all, number, size));
                assert!(proof.len() <= high && older.len() <= high + 1, "{number} of {size}");
            }
        }
    }

    #[test]
    fn no_claim_however_large_makes_a_check_panic() {
        let mut rng = Rng::new(5);
        for _ in 0..rounds(2_000) {
            let number = |rng: &mut Rng| [0, 1, 2, u64::MAX, u64::MAX - 1, rng.next(), rng.next() % 9][rng.below(7)];
            let (one, other) = (number(&mut rng), number(&mut rng));
            let proof: Vec<Digest> = (0..rng.below(70) as u64).map(batch).collect();
            assert!(!check_inclusion(&batch(1), one, other, &batch(2), &proof));
            assert!(!check_consistency((one, &batch(1)), (other, &batch(2)), &proof));
        }
    }
}

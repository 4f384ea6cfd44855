//! Four bytes that give other bytes the checksum that is wanted.
//!
//! CRC is linear: what flipping one bit does to the checksum does not depend on the other bits. So the effects of the 32 bits
//! of a field are 32 vectors of 32 bits, which are independent, and some of them add up to any difference there is.

use crate::wire;

/// The length of a balance, in bytes.
pub(crate) const BALANCE_LEN: usize = 4;

/// Sets the four bytes at `at` so that `checksum` of all of them is `wanted`.
///
/// `checksum` is a CRC-32, begun with anything.
pub(crate) fn balance(bytes: &mut [u8], at: usize, wanted: u32, checksum: impl Fn(&[u8]) -> u32) {
    wire::set_u32(bytes, at, 0);
    let unset = checksum(bytes);
    // By their highest bit: what the checksum changes by, and the bits of the field that do it.
    let mut basis = [(0_u32, 0_u32); 32];
    for bit in 0..32 {
        wire::set_u32(bytes, at, 1 << bit);
        let (effect, bits) = reduce(&basis, checksum(bytes) ^ unset, 1 << bit);
        let highest = effect.checked_ilog2().expect("no 32 bits in a row have a checksum of nothing");
        basis[highest as usize] = (effect, bits);
    }
    let (rest, bits) = reduce(&basis, wanted ^ unset, 0);
    assert!(rest == 0, "32 independent vectors span all of them");
    wire::set_u32(bytes, at, bits);
}

/// Takes out of `effect` what the vectors at hand can make, and adds their bits to `bits`.
fn reduce(basis: &[(u32, u32); 32], mut effect: u32, mut bits: u32) -> (u32, u32) {
    for highest in (0..32).rev() {
        if effect >> highest & 1 == 1 && basis[highest].0 != 0 {
            effect ^= basis[highest].0;
            bits ^= basis[highest].1;
        }
    }
    (effect, bits)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::frame::Seed;
    use crate::testing::{Rng, rounds};

    #[test]
    fn any_bytes_get_any_checksum_from_four_of_them_wherever_these_stand() {
        let mut rng = Rng::new(11);
        for round in 0..rounds(200) {
            let len = 4 + rng.below(300);
            let mut bytes = rng.bytes(len);
            let (at, seed, wanted) = (rng.below(len - 3), Seed::new(rng.next() as u32), rng.next() as u32);
            let before = bytes.clone();
            balance(&mut bytes, at, wanted, |bytes| seed.checksum(bytes));
            assert_eq!(seed.checksum(&bytes), wanted, "round {round}, {at} of {len}");
            assert_eq!((&bytes[..at], &bytes[at + 4..]), (&before[..at], &before[at + 4..]), "round {round}");
        }
    }
}

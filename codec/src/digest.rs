//! A digest: 32 bytes that stand for any number of them, and the function that makes it.
//!
//! The function is SHA-256 (FIPS 180-4). It is named in one file, this one; the hash chain, the witnesses made of
//! it and the manifests of copies all use it through [`Hasher`]. What `sha256sum` prints of a file is the digest
//! of its bytes.
//!
//! A CRC finds what happens to bytes by accident. A digest finds what somebody did to them on purpose: nobody
//! can make other bytes that have it.

use std::fmt;
use std::str::FromStr;

use sha2::Digest as _;
use sha2::Sha256;

/// What a digest is of: 32 bytes, shown as 64 hexadecimal digits.
///
/// ```
/// use annals_codec::{Digest, Hasher};
///
/// let mut hasher = Hasher::new();
/// hasher.update(b"ab");
/// hasher.update(b"c");
/// let digest = hasher.finish();
/// assert_eq!(digest, Hasher::digest(b"abc"));
/// assert!(digest.to_string().starts_with("ba7816bf8f01cfea"));
/// assert_eq!(digest.to_string().parse(), Ok(digest));
/// ```
#[derive(Clone, Copy, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Digest([u8; Digest::LEN]);

impl Digest {
    /// Its length, in bytes.
    pub const LEN: usize = 32;

    /// The digest with these bytes.
    pub const fn from_bytes(bytes: [u8; Digest::LEN]) -> Digest {
        Digest(bytes)
    }

    /// Its bytes.
    pub const fn as_bytes(&self) -> &[u8; Digest::LEN] {
        &self.0
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(out, "{byte:02x}"))
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, out)
    }
}

/// The text is not a digest.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("a digest has 64 hexadecimal digits")]
pub struct ParseDigestError;

impl FromStr for Digest {
    type Err = ParseDigestError;

    fn from_str(text: &str) -> Result<Digest, ParseDigestError> {
        // Not `from_str_radix` alone: it would take a sign.
        let digits = text.as_bytes();
        if digits.len() != 2 * Digest::LEN || !digits.iter().all(u8::is_ascii_hexdigit) {
            return Err(ParseDigestError);
        }
        let mut bytes = [0; Digest::LEN];
        for (byte, at) in bytes.iter_mut().zip((0..text.len()).step_by(2)) {
            *byte = u8::from_str_radix(&text[at..at + 2], 16).map_err(|_| ParseDigestError)?;
        }
        Ok(Digest(bytes))
    }
}

/// Takes in bytes, piece by piece, and gives their digest. Where the pieces end makes no difference.
#[derive(Clone, Debug, Default)]
pub struct Hasher(Sha256);

impl Hasher {
    /// One that has taken in nothing.
    #[inline]
    pub fn new() -> Hasher {
        Hasher::default()
    }

    /// Takes in more.
    #[inline]
    pub fn update(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    /// The digest of all that was taken in.
    #[inline]
    pub fn finish(self) -> Digest {
        Digest(self.0.finalize().into())
    }

    /// The digest of these bytes.
    #[inline]
    pub fn digest(bytes: &[u8]) -> Digest {
        Digest(Sha256::digest(bytes).into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// From FIPS 180-4 and the NIST's test vectors.
    #[test]
    fn the_function_is_sha_256() {
        let check = |bytes: &[u8], digest: &str| assert_eq!(Hasher::digest(bytes).to_string(), digest);
        check(b"", "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
        check(b"abc", "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
        check(&vec![b'a'; 1_000_000], "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0");
    }

    #[test]
    fn where_pieces_end_makes_no_difference() {
        let bytes: Vec<u8> = (0..200).collect();
        for cut in 0..=bytes.len() {
            let mut hasher = Hasher::new();
            hasher.update(&bytes[..cut]);
            hasher.update(&bytes[cut..]);
            assert_eq!(hasher.finish(), Hasher::digest(&bytes), "cut at {cut}");
        }
    }

    #[test]
    fn a_digest_reads_back_from_its_text_in_either_case_and_nothing_else_does() {
        let digest = Hasher::digest(b"abc");
        let text = digest.to_string();
        assert_eq!(text.parse(), Ok(digest));
        assert_eq!(text.to_uppercase().parse(), Ok(digest));
        for wrong in [&text[1..], &format!("{text}0"), "", &text.replacen("ba", "+a", 1), &text.replacen("ba", "é", 1)]
        {
            assert_eq!(wrong.parse::<Digest>(), Err(ParseDigestError), "{wrong}");
        }
    }
}

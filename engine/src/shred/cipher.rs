//! Encrypting with one key: AES-256-GCM-SIV (RFC 8452), through the crate of that name.
//!
//! The nonce says only which part of an event is encrypted. Repeating it is what this cipher is made for: it gives
//! away that two texts are the same, and nothing else, and a retried append has the same bytes as the first one.

use std::fmt;

use aes_gcm_siv::aead::{AeadInOut, KeyInit};
use aes_gcm_siv::{Aes256GcmSiv, Nonce, Tag};
use zeroize::Zeroizing;

/// Behind each ciphertext.
const TAG_LEN: usize = 16;

/// What of an event is encrypted; each has its own nonce.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Part {
    Data = 1,
    Metadata = 2,
}

/// A key, wiped from memory when it is dropped.
#[derive(Clone)]
pub(super) struct Key(Zeroizing<[u8; Key::LEN]>);

impl fmt::Debug for Key {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("Key")
    }
}

impl Key {
    pub(super) const LEN: usize = 32;

    pub(super) fn new(bytes: [u8; Key::LEN]) -> Key {
        Key(Zeroizing::new(bytes))
    }

    fn cipher(&self) -> Aes256GcmSiv {
        Aes256GcmSiv::new((&*self.0).into())
    }

    /// `head`, and behind it `plaintext` encrypted, so that it is refused with other bytes in `bound`.
    ///
    /// # Panics
    ///
    /// For a plaintext of 64 GiB.
    pub(super) fn encrypt(&self, part: Part, bound: &[u8], head: &[u8], plaintext: &[u8]) -> Vec<u8> {
        let mut out = Vec::with_capacity(head.len() + plaintext.len() + TAG_LEN);
        out.extend_from_slice(head);
        out.extend_from_slice(plaintext);
        let tag = self.cipher().encrypt_inout_detached(&nonce(part), bound, (&mut out[head.len()..]).into());
        out.extend_from_slice(&tag.expect("no event is that long"));
        out
    }

    /// What was encrypted; `None` when these are other bytes.
    pub(super) fn decrypt(&self, part: Part, bound: &[u8], ciphertext: &[u8]) -> Option<Vec<u8>> {
        let (text, tag) = ciphertext.split_at_checked(ciphertext.len().checked_sub(TAG_LEN)?)?;
        let mut text = text.to_vec();
        let tag = Tag::try_from(tag).ok()?;
        self.cipher().decrypt_inout_detached(&nonce(part), bound, (&mut text[..]).into(), &tag).ok()?;
        Some(text)
    }

    /// A number for a name that tells nothing about it to who has not the key: the tag of nothing, bound to the name.
    pub(super) fn name(&self, name: &[u8]) -> [u8; TAG_LEN] {
        let tag = self.cipher().encrypt_inout_detached(&Nonce::default(), name, (&mut [][..]).into());
        tag.expect("no name is that long").into()
    }
}

fn nonce(part: Part) -> Nonce {
    let mut nonce = Nonce::default();
    nonce[0] = part as u8;
    nonce
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_encrypted_is_read_again_and_only_as_it_was() {
        let key = Key::new([7; 32]);
        let sealed = key.encrypt(Part::Data, b"type", b"head", b"secret");
        assert_eq!(&sealed[..4], b"head");
        let ciphertext = &sealed[4..];
        assert_eq!(key.decrypt(Part::Data, b"type", ciphertext).as_deref(), Some(&b"secret"[..]));
        assert_eq!(key.decrypt(Part::Metadata, b"type", ciphertext), None);
        assert_eq!(key.decrypt(Part::Data, b"other", ciphertext), None);
        assert_eq!(Key::new([8; 32]).decrypt(Part::Data, b"type", ciphertext), None);
        for bit in 0..8 * ciphertext.len() {
            let mut altered = ciphertext.to_vec();
            altered[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(key.decrypt(Part::Data, b"type", &altered), None, "bit {bit}");
        }
        for len in 0..ciphertext.len() {
            assert_eq!(key.decrypt(Part::Data, b"type", &ciphertext[..len]), None, "cut to {len}");
        }
    }

    #[test]
    fn the_same_text_is_encrypted_to_the_same_bytes_and_another_to_others() {
        let key = Key::new([7; 32]);
        let encrypted = |text: &[u8]| key.encrypt(Part::Data, b"type", b"", text);
        assert_eq!(encrypted(b"one"), encrypted(b"one"));
        assert_ne!(encrypted(b"one"), encrypted(b"two"));
        assert_ne!(key.name(b"one"), key.name(b"two"));
        assert_ne!(key.name(b"one"), Key::new([8; 32]).name(b"one"));
    }

    /// RFC 8452, appendix C.2, the first vectors of `AEAD_AES_256_GCM_SIV`.
    #[test]
    fn it_is_the_cipher_of_the_rfc() {
        let mut key = [0; 32];
        key[0] = 1;
        let mut nonce = Nonce::default();
        nonce[0] = 3;
        let mut text = [1, 0, 0, 0, 0, 0, 0, 0];
        let tag = Key::new(key).cipher().encrypt_inout_detached(&nonce, &[], (&mut text[..]).into()).unwrap();
        assert_eq!(text, [0xc2, 0xef, 0x32, 0x8e, 0x5c, 0x71, 0xc8, 0x3b]);
        assert_eq!(tag[..4], [0x84, 0x31, 0x22, 0x13]);
    }
}

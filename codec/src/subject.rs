//! What belongs to one subject (a person, a customer) and can be made unreadable for ever: the envelope of an
//! encrypted payload, the file of a subject's key, and the file of a ring of keys.
//!
//! ```text
//! envelope     0 magic 4 | 4 version 1 | 5 content type 1 | 6 reserved 2 | 8 handle 16 | 24 ciphertext, and its tag 16
//! ring       512 bytes: 0 magic 8 | 8 version 2 | 10 reserved 6 | 16 secret 32 | zero | 508 CRC 4
//! key file  1024 bytes, two sectors, each with its own checksum at its end:
//!              0 magic 8 | 8 version 2 | 10 state 2 | 12 reserved 4 | 16 handle 16 | 32 time 8 | 40 key 32 | zero | 508 CRC 4
//!            512 length 2 | 514 the subject's name | zero | 1020 CRC 4
//! ```
//!
//! What is always true:
//!
//! - The key and the state are in one sector, so that one write destroys a key. One that was interrupted has the
//!   state already, which comes first, and can be told from damage.
//! - The file of a destroyed key holds zeros where the key and the name were. What stays is that there was one.
//! - An envelope names its key by a handle, which tells nothing about the subject to who has not the ring's secret.

use std::fmt;
use std::str::FromStr;

use crate::event::ContentType;
use crate::name::Subject;
use crate::wire;

/// One sector: what a disk writes as a whole.
const SECTOR: usize = 512;
const CRC_AT: usize = SECTOR - 4;
const VERSION: u16 = 1;
const RING_MAGIC: [u8; 8] = *b"\x89ANNRNG\n";
const KEY_MAGIC: [u8; 8] = *b"\x89ANNKEY\n";
const ENVELOPE_MAGIC: [u8; 4] = *b"\x89ANE";
const ENVELOPE_VERSION: u8 = 1;

const LIVE: u16 = 1;
const DESTROYED: u16 = 2;

const SECRET_AT: usize = 16;
const HANDLE_AT: usize = 16;
const TIME_AT: usize = 32;
const KEY_AT: usize = 40;
const KEY_LEN: usize = 32;
const NAME_AT: usize = SECTOR + 2;

/// Why bytes are not what they should be.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum SubjectFault {
    /// They are damaged, or something else.
    #[error("it is damaged, or something else")]
    Damaged,
    /// A key that was being destroyed when the program was stopped.
    #[error("its destruction was interrupted: destroy it again")]
    Interrupted,
    /// A later version of the format wrote them.
    #[error("it has version {version}, and this program reads version {VERSION}: use a newer one")]
    Newer {
        /// The version found.
        version: u16,
    },
}

/// By what the key of a subject is found: made from its name and the secret of the ring.
#[derive(Clone, Copy, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct SubjectHandle([u8; SubjectHandle::LEN]);

impl SubjectHandle {
    /// Its length, in bytes.
    pub const LEN: usize = 16;

    /// The handle with these bytes.
    pub const fn from_bytes(bytes: [u8; SubjectHandle::LEN]) -> SubjectHandle {
        SubjectHandle(bytes)
    }
}

impl FromStr for SubjectHandle {
    type Err = SubjectFault;

    /// Reads what `Display` shows.
    fn from_str(text: &str) -> Result<SubjectHandle, SubjectFault> {
        let mut bytes = [0; SubjectHandle::LEN];
        if text.len() != 2 * bytes.len() || text.bytes().any(|byte| !matches!(byte, b'0'..=b'9' | b'a'..=b'f')) {
            return Err(SubjectFault::Damaged);
        }
        for (byte, at) in bytes.iter_mut().zip((0..).step_by(2)) {
            *byte = u8::from_str_radix(&text[at..at + 2], 16).map_err(|_| SubjectFault::Damaged)?;
        }
        Ok(SubjectHandle(bytes))
    }
}

impl fmt::Display for SubjectHandle {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(out, "{byte:02x}"))
    }
}

impl fmt::Debug for SubjectHandle {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, out)
    }
}

/// What stands before the ciphertext of a payload.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Envelope {
    /// Of what is in it.
    pub content_type: ContentType,
    /// Names the key.
    pub handle: SubjectHandle,
}

impl Envelope {
    /// Its length, in bytes.
    pub const LEN: usize = 24;

    /// Encodes it.
    pub fn encode(&self) -> [u8; Envelope::LEN] {
        let mut bytes = [0; Envelope::LEN];
        bytes[..4].copy_from_slice(&ENVELOPE_MAGIC);
        bytes[4] = ENVELOPE_VERSION;
        bytes[5] = self.content_type.number();
        bytes[8..].copy_from_slice(&self.handle.0);
        bytes
    }

    /// Takes a payload apart: the envelope, and the ciphertext behind it.
    ///
    /// # Errors
    ///
    /// [`SubjectFault`] when it does not begin with an envelope.
    pub fn open(data: &[u8]) -> Result<(Envelope, &[u8]), SubjectFault> {
        let Some((head, ciphertext)) = data.split_at_checked(Envelope::LEN) else { return Err(SubjectFault::Damaged) };
        if head[..4] != ENVELOPE_MAGIC || head[6..8] != [0; 2] {
            return Err(SubjectFault::Damaged);
        }
        if head[4] != ENVELOPE_VERSION {
            return Err(SubjectFault::Newer { version: u16::from(head[4]) });
        }
        let handle = SubjectHandle(wire::array_at(head, 8));
        Ok((Envelope { content_type: ContentType::new(head[5]), handle }, ciphertext))
    }
}

/// The file of a ring of keys: the secret from which the handles of subjects are made.
#[derive(Clone, Eq, PartialEq)]
pub struct RingFile {
    /// The secret.
    pub secret: [u8; KEY_LEN],
}

impl RingFile {
    /// Its length, in bytes.
    pub const LEN: usize = SECTOR;

    /// Encodes the file.
    pub fn encode(&self) -> Vec<u8> {
        let mut file = sector(RING_MAGIC);
        file[SECRET_AT..SECRET_AT + KEY_LEN].copy_from_slice(&self.secret);
        close(&mut file);
        file
    }

    /// Decodes the file.
    ///
    /// # Errors
    ///
    /// [`SubjectFault`] says what it is instead.
    pub fn decode(file: &[u8]) -> Result<RingFile, SubjectFault> {
        let file = whole(file, RingFile::LEN)?;
        check_sector(file, RING_MAGIC)?;
        if is_not_zero(&file[10..SECRET_AT]) || is_not_zero(&file[SECRET_AT + KEY_LEN..CRC_AT]) {
            return Err(SubjectFault::Damaged);
        }
        Ok(RingFile { secret: wire::array_at(file, SECRET_AT) })
    }
}

impl fmt::Debug for RingFile {
    /// Without the secret.
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("RingFile").finish_non_exhaustive()
    }
}

/// The file of a subject's key.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct KeyFile {
    /// Names the key, in envelopes.
    pub handle: SubjectHandle,
    /// What is left of it.
    pub state: KeyState,
}

/// What there is of a key.
#[derive(Clone, Eq, PartialEq)]
pub enum KeyState {
    /// All of it.
    Live {
        /// Whose it is.
        subject: Subject,
        /// When it was made: nanoseconds since 1970 UTC.
        created_at: i64,
        /// The key.
        key: [u8; KEY_LEN],
    },
    /// Nothing any more.
    Destroyed {
        /// When it was destroyed: nanoseconds since 1970 UTC.
        destroyed_at: i64,
    },
}

impl fmt::Debug for KeyState {
    /// Without the key.
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            KeyState::Live { subject, created_at, .. } => out
                .debug_struct("Live")
                .field("subject", subject)
                .field("created_at", created_at)
                .finish_non_exhaustive(),
            KeyState::Destroyed { destroyed_at } => {
                out.debug_struct("Destroyed").field("destroyed_at", destroyed_at).finish()
            }
        }
    }
}

impl KeyFile {
    /// Its length, in bytes.
    pub const LEN: usize = 2 * SECTOR;

    /// Encodes the file.
    pub fn encode(&self) -> Vec<u8> {
        let mut file = sector(KEY_MAGIC);
        file[HANDLE_AT..HANDLE_AT + SubjectHandle::LEN].copy_from_slice(&self.handle.0);
        let (state, time, subject) = match &self.state {
            KeyState::Live { subject, created_at, key } => {
                file[KEY_AT..KEY_AT + KEY_LEN].copy_from_slice(key);
                (LIVE, *created_at, subject.as_str())
            }
            KeyState::Destroyed { destroyed_at } => (DESTROYED, *destroyed_at, ""),
        };
        wire::set_u16(&mut file, 10, state);
        wire::set_i64(&mut file, TIME_AT, time);
        close(&mut file);
        file.resize(KeyFile::LEN, 0);
        wire::set_u16(&mut file, SECTOR, subject.len() as u16);
        file[NAME_AT..NAME_AT + subject.len()].copy_from_slice(subject.as_bytes());
        close(&mut file[SECTOR..]);
        file
    }

    /// Decodes the file. Of a destroyed key the first sector is enough: the second may still be as it was, when a
    /// crash came between them.
    ///
    /// # Errors
    ///
    /// [`SubjectFault`] says what it is instead.
    pub fn decode(file: &[u8]) -> Result<KeyFile, SubjectFault> {
        let file = whole(file, KeyFile::LEN)?;
        if file[..8] == KEY_MAGIC && wire::u16_at(file, 10) == DESTROYED && !is_closed(&file[..SECTOR]) {
            return Err(SubjectFault::Interrupted);
        }
        check_sector(file, KEY_MAGIC)?;
        if is_not_zero(&file[12..HANDLE_AT]) || is_not_zero(&file[KEY_AT + KEY_LEN..CRC_AT]) {
            return Err(SubjectFault::Damaged);
        }
        let handle = SubjectHandle(wire::array_at(file, HANDLE_AT));
        let (time, key) = (wire::i64_at(file, TIME_AT), wire::array_at(file, KEY_AT));
        let state = match wire::u16_at(file, 10) {
            LIVE => KeyState::Live { subject: subject(&file[SECTOR..])?, created_at: time, key },
            DESTROYED if key == [0; KEY_LEN] => KeyState::Destroyed { destroyed_at: time },
            _ => return Err(SubjectFault::Damaged),
        };
        Ok(KeyFile { handle, state })
    }
}

fn subject(sector: &[u8]) -> Result<Subject, SubjectFault> {
    let len = usize::from(wire::u16_at(sector, 0));
    let name = sector[2..CRC_AT].get(..len).filter(|_| is_closed(sector) && !is_not_zero(&sector[2 + len..CRC_AT]));
    let name = name.and_then(|name| Subject::check_bytes(name).ok()).ok_or(SubjectFault::Damaged)?;
    Subject::new(name).map_err(|_| SubjectFault::Damaged)
}

fn sector(magic: [u8; 8]) -> Vec<u8> {
    let mut sector = vec![0; SECTOR];
    sector[..8].copy_from_slice(&magic);
    wire::set_u16(&mut sector, 8, VERSION);
    sector
}

fn close(sector: &mut [u8]) {
    let crc = crc32fast::hash(&sector[..CRC_AT]);
    wire::set_u32(sector, CRC_AT, crc);
}

fn is_closed(sector: &[u8]) -> bool {
    wire::u32_at(sector, CRC_AT) == crc32fast::hash(&sector[..CRC_AT])
}

fn whole(file: &[u8], len: usize) -> Result<&[u8], SubjectFault> {
    if file.len() == len { Ok(file) } else { Err(SubjectFault::Damaged) }
}

fn check_sector(sector: &[u8], magic: [u8; 8]) -> Result<(), SubjectFault> {
    if sector[..8] != magic || !is_closed(sector) {
        return Err(SubjectFault::Damaged);
    }
    match wire::u16_at(sector, 8) {
        VERSION => Ok(()),
        version => Err(SubjectFault::Newer { version }),
    }
}

fn is_not_zero(bytes: &[u8]) -> bool {
    bytes.iter().any(|&byte| byte != 0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::for_each_flip;

    const HANDLE: SubjectHandle = SubjectHandle::from_bytes([0xAB; 16]);

    fn live(name: &str) -> KeyFile {
        let state = KeyState::Live { subject: Subject::new(name).unwrap(), created_at: 77, key: [9; 32] };
        KeyFile { handle: HANDLE, state }
    }

    fn destroyed() -> KeyFile {
        KeyFile { handle: HANDLE, state: KeyState::Destroyed { destroyed_at: 78 } }
    }

    #[test]
    fn a_key_file_decodes_to_what_was_encoded_also_with_the_longest_name() {
        for file in [live("u"), live(&"x".repeat(Subject::MAX_LEN)), destroyed()] {
            assert_eq!(KeyFile::decode(&file.encode()), Ok(file));
        }
    }

    #[test]
    fn no_flipped_bit_and_no_cut_leaves_a_key_file_or_a_ring() {
        let key = live("customer-7").encode();
        for_each_flip(&key, 0..key.len(), |bit, flipped| assert!(KeyFile::decode(flipped).is_err(), "bit {bit}"));
        let ring = RingFile { secret: [3; 32] }.encode();
        assert_eq!(RingFile::decode(&ring).unwrap().secret, [3; 32]);
        for_each_flip(&ring, 0..ring.len(), |bit, flipped| assert!(RingFile::decode(flipped).is_err(), "bit {bit}"));
        for len in [0, 8, SECTOR - 1, SECTOR, SECTOR + 1] {
            assert!(KeyFile::decode(&key[..len]).is_err());
        }
        assert!(RingFile::decode(&ring[..SECTOR - 1]).is_err());
    }

    #[test]
    fn between_the_two_writes_that_destroy_it_a_key_is_gone_already() {
        let (before, after) = (live("customer-7").encode(), destroyed().encode());
        let torn = |at: usize| KeyFile::decode(&[&after[..at], &before[at..]].concat());
        assert_eq!(torn(SECTOR), Ok(destroyed()));
        assert_eq!(torn(10), Ok(live("customer-7")));
        (11..CRC_AT).for_each(|at| assert_eq!(torn(at), Err(SubjectFault::Interrupted), "at {at}"));
        assert!(after.windows(32).all(|bytes| bytes != [9; 32]), "nothing of the key stays");
        assert!(after.windows(8).all(|bytes| bytes != b"customer"), "nothing of the name stays");
    }

    #[test]
    fn an_envelope_opens_to_what_was_put_in_and_nothing_else_opens() {
        let envelope = Envelope { content_type: ContentType::JSON, handle: HANDLE };
        let data = [&envelope.encode()[..], b"secret"].concat();
        assert_eq!(Envelope::open(&data), Ok((envelope, &b"secret"[..])));
        assert_eq!(Envelope::open(&data[..Envelope::LEN - 1]), Err(SubjectFault::Damaged));
        assert_eq!(Envelope::open(b"{\"amount\": 12, \"currency\": \"EUR\"}"), Err(SubjectFault::Damaged));
        let mut newer = data.clone();
        newer[4] = 9;
        assert_eq!(Envelope::open(&newer), Err(SubjectFault::Newer { version: 9 }));
        let mut reserved = data;
        reserved[7] = 1;
        assert_eq!(Envelope::open(&reserved), Err(SubjectFault::Damaged));
    }

    #[test]
    fn a_later_version_is_told_from_damage() {
        let mut file = live("u").encode();
        wire::set_u16(&mut file, 8, 2);
        close(&mut file);
        assert_eq!(KeyFile::decode(&file), Err(SubjectFault::Newer { version: 2 }));
    }

    #[test]
    fn what_is_secret_is_not_in_what_a_log_line_would_show() {
        let shown = format!("{:?} {:?}", live("u"), RingFile { secret: [9; 32] });
        assert!(!shown.contains("9, 9"), "{shown}");
    }
}

//! A snapshot file: a state that was folded from the events up to a position.
//!
//! ```text
//!    0 magic 8    8 version 2   10 codec 2   12 schema version 4   16 mark 64   80 written at 8
//!   88 payload length 8         96 name length 2   98 reserved 2  100 notes length 4  104 CRC of all behind the header 4
//!  108 reserved 16             124 CRC of bytes 0..124 4
//!  128 name, notes, payload
//! ```
//!
//! - The mark says of which history the state was made, and up to where.
//! - The codec says how the payload is encoded: 1 bincode, 2 JSON. The schema version is that of the state, and the
//!   business of whoever owns it.
//! - Notes are what the owner says beside the state, in an encoding of his own.
//! - The file's length is exact: nothing follows the payload.
//!
//! A snapshot is a hint. Whatever is wrong with it, it is ignored.

use crate::ids::Position;
use crate::mark::Mark;
use crate::name::{FileName, NameError};
use crate::wire;

const MAGIC: [u8; 8] = *b"\x89ANNSNP\n";
const VERSION: u16 = 1;
const HEADER_LEN: usize = 128;
const MARK_AT: usize = 16;
const CRC_AT: usize = HEADER_LEN - 4;

/// A snapshot.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Snapshot<'a> {
    /// What was folded, by name.
    pub name: &'a str,
    /// The history that it was folded from, and up to where.
    pub mark: Mark,
    /// The version of the state's own schema.
    pub schema_version: u32,
    /// How the payload is encoded.
    pub codec: u16,
    /// When it was written: nanoseconds since 1970 UTC.
    pub written_at: i64,
    /// What is said beside the state.
    pub notes: &'a [u8],
    /// The state.
    pub payload: &'a [u8],
}

/// Why a file is no snapshot that can be used.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum SnapshotFault {
    /// It does not begin as one, or its header is damaged.
    #[error("its header is damaged")]
    Header,
    /// A later version of the format wrote it.
    #[error("it has version {version}, and this program reads version {VERSION}")]
    Newer {
        /// The version found.
        version: u16,
    },
    /// It is not as long as its header says.
    #[error("it is {len} bytes long, and its header says {expected}")]
    Length {
        /// Its length, in bytes.
        len: u64,
        /// The length that the header claims, in bytes.
        expected: u64,
    },
    /// What follows the header has another checksum.
    #[error("its content is damaged")]
    Content,
    /// Its name is none.
    #[error(transparent)]
    Name(#[from] NameError),
}

/// Length of what stands before the name in the file, in bytes: as much as [`snapshot_mark`] needs.
pub const SNAPSHOT_HEADER_LEN: usize = HEADER_LEN;

/// The mark of the position that a state was folded up to, of a file that begins so; `None` when its header is
/// damaged or of another version. What follows the header is not looked at.
pub fn snapshot_mark(head: &[u8]) -> Option<Mark> {
    let header = head.get(..HEADER_LEN)?;
    let is_good = header[..8] == MAGIC
        && wire::u32_at(header, CRC_AT) == crc32fast::hash(&header[..CRC_AT])
        && wire::u16_at(header, 8) == VERSION;
    is_good.then(|| Mark::decode(&header[MARK_AT..]))?
}

/// What a whole file says that it is of: the name, and the mark of the position that the state was folded up to.
///
/// # Errors
///
/// As [`Snapshot::decode`].
pub fn snapshot_origin(file: &[u8]) -> Result<(&str, Mark), SnapshotFault> {
    Snapshot::decode(file).map(|snapshot| (snapshot.name, snapshot.mark))
}

impl<'a> Snapshot<'a> {
    /// The position that the state was folded up to.
    pub fn position(&self) -> Position {
        self.mark.position
    }

    /// Encodes the whole file. Names and notes are as long as their fields allow.
    ///
    /// # Panics
    ///
    /// When the notes are 4 GiB long, or the name is no [`FileName`].
    pub fn encode(&self) -> Vec<u8> {
        assert!(self.name.len() <= FileName::MAX_LEN, "a name is short");
        let notes_len = u32::try_from(self.notes.len()).expect("notes are notes");
        let mut file = vec![0; HEADER_LEN];
        file.reserve_exact(self.name.len() + self.notes.len() + self.payload.len());
        file[..8].copy_from_slice(&MAGIC);
        wire::set_u16(&mut file, 8, VERSION);
        wire::set_u16(&mut file, 10, self.codec);
        wire::set_u32(&mut file, 12, self.schema_version);
        file[MARK_AT..MARK_AT + Mark::LEN].copy_from_slice(&self.mark.encode());
        wire::set_i64(&mut file, 80, self.written_at);
        wire::set_u64(&mut file, 88, self.payload.len() as u64);
        wire::set_u16(&mut file, 96, self.name.len() as u16);
        wire::set_u32(&mut file, 100, notes_len);
        for part in [self.name.as_bytes(), self.notes, self.payload] {
            file.extend_from_slice(part);
        }
        let content = crc32fast::hash(&file[HEADER_LEN..]);
        wire::set_u32(&mut file, 104, content);
        let header = crc32fast::hash(&file[..CRC_AT]);
        wire::set_u32(&mut file, CRC_AT, header);
        file
    }

    /// Decodes a whole file.
    ///
    /// # Errors
    ///
    /// [`SnapshotFault`] says what is wrong with it.
    pub fn decode(file: &'a [u8]) -> Result<Snapshot<'a>, SnapshotFault> {
        let header = file.get(..HEADER_LEN).ok_or(SnapshotFault::Header)?;
        if header[..8] != MAGIC || wire::u32_at(header, CRC_AT) != crc32fast::hash(&header[..CRC_AT]) {
            return Err(SnapshotFault::Header);
        }
        let version = wire::u16_at(header, 8);
        if version != VERSION {
            return Err(SnapshotFault::Newer { version });
        }
        if header[98..100].iter().chain(&header[108..CRC_AT]).any(|&byte| byte != 0) {
            return Err(SnapshotFault::Header);
        }
        let mark = Mark::decode(&header[MARK_AT..]).ok_or(SnapshotFault::Header)?;
        let (name_len, notes_len) = (u64::from(wire::u16_at(header, 96)), u64::from(wire::u32_at(header, 100)));
        let expected = wire::u64_at(header, 88).saturating_add(HEADER_LEN as u64 + name_len + notes_len);
        if expected != file.len() as u64 {
            return Err(SnapshotFault::Length { len: file.len() as u64, expected });
        }
        let content = &file[HEADER_LEN..];
        if wire::u32_at(header, 104) != crc32fast::hash(content) {
            return Err(SnapshotFault::Content);
        }
        let (name, rest) = content.split_at(name_len as usize);
        let (notes, payload) = rest.split_at(notes_len as usize);
        Ok(Snapshot {
            name: FileName::check_bytes(name)?,
            mark,
            schema_version: wire::u32_at(header, 12),
            codec: wire::u16_at(header, 10),
            written_at: wire::i64_at(header, 80),
            notes,
            payload,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::LogId;
    use crate::testing::{each, for_each_flip};

    fn snapshot() -> Snapshot<'static> {
        let mark =
            Mark { log_id: LogId::from_bytes([7; 16]), position: Position::new(12), chain: 0xC78D_DCC1, hash: None };
        Snapshot {
            name: "balances",
            mark,
            schema_version: 3,
            codec: 2,
            written_at: -5,
            notes: b"{}",
            payload: br#"{"a":1}"#,
        }
    }

    #[test]
    fn a_snapshot_reads_back_also_an_empty_one() {
        for snapshot in [snapshot(), Snapshot { notes: b"", payload: b"", ..snapshot() }] {
            let file = snapshot.encode();
            assert_eq!(Snapshot::decode(&file), Ok(snapshot));
            assert_eq!(file.len(), 128 + 8 + snapshot.notes.len() + snapshot.payload.len());
        }
    }

    #[test]
    fn no_cut_no_growth_and_no_flipped_bit_leaves_a_snapshot() {
        let file = snapshot().encode();
        for len in each(0..file.len()) {
            assert!(Snapshot::decode(&file[..len]).is_err(), "{len}");
        }
        let mut longer = file.clone();
        longer.push(0);
        assert!(matches!(Snapshot::decode(&longer), Err(SnapshotFault::Length { .. })));
        for_each_flip(&file, 0..file.len(), |bit, file| {
            assert!(Snapshot::decode(file).is_err(), "bit {bit}");
        });
    }

    #[test]
    fn what_a_later_version_wrote_and_what_is_forged_is_told_apart() {
        let forged = |at: usize, bytes: &[u8]| {
            let mut file = snapshot().encode();
            file[at..at + bytes.len()].copy_from_slice(bytes);
            let crc = crc32fast::hash(&file[..CRC_AT]);
            wire::set_u32(&mut file, CRC_AT, crc);
            Snapshot::decode(&file).map(|_| ()).unwrap_err()
        };
        assert_eq!(forged(8, &[2]), SnapshotFault::Newer { version: 2 });
        assert_eq!(forged(98, &[1]), SnapshotFault::Header);
        assert_eq!(forged(108, &[1]), SnapshotFault::Header);
        assert_eq!(forged(44, &[9]), SnapshotFault::Header, "an unknown flag of the mark");
        assert!(matches!(forged(88, &[0xFF; 8]), SnapshotFault::Length { .. }));
        assert!(matches!(forged(96, &[0xFF; 2]), SnapshotFault::Length { .. }));
        assert_eq!(forged(104, &[0; 4]), SnapshotFault::Content);
    }

    #[test]
    fn a_name_that_is_none_is_refused() {
        let file = Snapshot { name: "", ..snapshot() }.encode();
        assert!(matches!(Snapshot::decode(&file), Err(SnapshotFault::Name(_))));
    }
}

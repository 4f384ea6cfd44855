//! The index of a sealed segment, `idx/<segment>.idx`: searched where it lies, nothing is loaded.
//!
//! ```text
//!  +-----------+---------+---------+-----+----------+
//!  | directory | streams | heap    | ... | filter   |   14 sections, without a gap, to the end of the file
//!  +-----------+---------+---------+-----+----------+
//!
//!  directory   0 magic 8    8 major 2, minor 2   12 sections 4   16 log id 16   32 segment 8   40 base 8
//!             48 segment's length 8    56 seed 4    60 events 4
//!             64 length 8, CRC 4, reserved 4: for each section       288 chain 4               292 CRC 4
//! ```
//!
//! Everything in it follows from the segment. Whoever doubts it builds it anew:
//! an [`IndexBuilder`] is the [`Sink`](crate::scan::Sink) of a scan.
//!
//! What is always true:
//!
//! - The directory names the one segment that it was made of, and its checksum
//!   covers all of it. Section follows section, each a multiple of 8 long with its
//!   padding; so every byte of the file is under a checksum.
//! - The checksum of a section begins with the segment's seed: one of another segment's index is refused.
//! - No content makes a search panic or believe a length, not even under a good checksum. A number that is
//!   impossible is a fault; one that is possible and wrong leads to a frame that says so.

use std::ops::Range;

use crate::frame::Seed;
use crate::ids::{LogId, Position, SegmentNumber};
use crate::wire;

mod build;
mod filter;
mod hash;
mod hashes;
mod level;
mod names;
mod search;
pub(crate) mod table;
#[cfg(test)]
mod tests;

pub use build::IndexBuilder;
pub use filter::{FILTER_BLOCK_LEN, Filter, FilterBuilder};
pub use hash::KeyHash;
pub use hashes::{Hashes, Merge, hashes};
pub use level::{
    LEVEL_FAN, LEVEL_HEADER_LEN, LevelHeader, LevelIdentity, LevelWriter, MOST_LEVELS, level_span, segments_digest,
};
pub use search::{
    Label, StreamEntry, candidates_of_id, find_stream, for_each_label, for_each_made_run, for_each_source,
    for_each_stream, labelled, markers_of_key, may_hold, offsets, stream_at, tracking,
};

const MAGIC: [u8; 8] = *b"\x89ANNIDX\n";
/// The version of this layout, which is not that of the log: an index can be thrown away.
const MAJOR: u16 = 1;
const MINOR: u16 = 0;

const SECTIONS_AT: usize = 64;
const SECTION_LEN: usize = 16;
const CHAIN_AT: usize = DIRECTORY_LEN - 8;
const CRC_AT: usize = DIRECTORY_LEN - 4;

/// Length of the directory, in bytes; the first section follows it.
pub const DIRECTORY_LEN: usize = SECTIONS_AT + Section::ALL.len() * SECTION_LEN + 8;
const _: () = assert!(DIRECTORY_LEN.is_multiple_of(8), "sections begin 8-aligned");

/// Which segment an index was made of.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct IndexIdentity {
    /// The log that the segment belongs to.
    pub log_id: LogId,
    /// Which segment of the log it is.
    pub segment: SegmentNumber,
    /// The position of the last event before it.
    pub base: Position,
    /// The seed of its checksums, which no other segment has.
    pub seed: Seed,
    /// The length of its file, in bytes.
    pub segment_len: u64,
    /// How many events it holds.
    pub events: u32,
    /// The chain after its last batch, as its seal says. A copy of a store that went on in another way has the
    /// same log id and seeds; the chain it has not.
    pub chain: u32,
}

/// A part of an index, which is read and checked by itself.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[repr(u8)]
pub enum Section {
    /// For each stream, by name: versions and where its offsets are listed.
    Streams,
    /// The names of the streams.
    StreamNames,
    /// Hash of a stream → its entry.
    StreamTable,
    /// The offset/8 of each event, stream by stream, in the order of positions.
    Postings,
    /// For each type and each tag, by name: which events have it.
    Labels,
    /// The names of the labels, each behind a byte that says of which kind it is.
    LabelNames,
    /// Hash of a label → its entry.
    LabelTable,
    /// Sets of event numbers.
    Bitmaps,
    /// Hash of an event's id → event number, where no run covers it.
    IdTable,
    /// Runs of ids that a store made.
    MadeIds,
    /// Hash of an idempotency key → offset/8 of the marker.
    KeyTable,
    /// For each source that is tracked, by name: its latest position.
    Sources,
    /// The names of the sources.
    SourceNames,
    /// Which hashes there are at all.
    Filter,
}

impl Section {
    /// Every section, in the order of the file.
    pub const ALL: [Section; 14] = [
        Section::Streams,
        Section::StreamNames,
        Section::StreamTable,
        Section::Postings,
        Section::Labels,
        Section::LabelNames,
        Section::LabelTable,
        Section::Bitmaps,
        Section::IdTable,
        Section::MadeIds,
        Section::KeyTable,
        Section::Sources,
        Section::SourceNames,
        Section::Filter,
    ];

    /// Its place in [`Section::ALL`].
    pub const fn index(self) -> usize {
        self as usize
    }

    /// The length of one entry; that of the section is a multiple of it.
    const fn entry_len(self) -> usize {
        match self {
            Section::Streams => search::STREAM_LEN,
            Section::Labels => search::LABEL_LEN,
            Section::MadeIds => search::MADE_RUN_LEN,
            Section::Sources => search::SOURCE_LEN,
            Section::StreamTable | Section::LabelTable | Section::IdTable | Section::KeyTable => table::ENTRY_LEN,
            Section::Filter => FILTER_BLOCK_LEN,
            // Padded.
            Section::StreamNames
            | Section::Postings
            | Section::LabelNames
            | Section::Bitmaps
            | Section::SourceNames => 8,
        }
    }
}

/// Why bytes are not an index, or not one that can be used. Nothing is lost: it can be built anew.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum IndexFault {
    /// It does not begin with the magic: something else, cut short, or badly damaged.
    #[error("this is not an Annals index")]
    Magic,
    /// Another version of Annals wrote it.
    #[error("the index has version {major}.{minor}; this program reads version {MAJOR}.{MINOR}")]
    Version {
        /// The major version found.
        major: u16,
        /// The minor version found.
        minor: u16,
    },
    /// The checksum of its directory does not match.
    #[error("the checksum of the index's directory does not match")]
    Directory,
    /// The checksum of a section does not match.
    #[error("the checksum of the index's section {section:?} does not match")]
    Section {
        /// The section.
        section: Section,
    },
    /// The lengths of its parts do not add up to the length of the file, or are no multiples of what they hold.
    #[error("the lengths of the index's parts do not add up")]
    Lengths,
    /// The checksum matches, and a field of the directory has a value that cannot be.
    #[error("a field of the index's directory has an impossible value")]
    Field,
    /// The checksum matches, and the content cannot be.
    #[error("the index's section {section:?} holds what cannot be")]
    Content {
        /// The section.
        section: Section,
    },
}

/// Where the sections of an index come from, each of them checked before it is handed out.
pub trait Sections {
    /// Why a section could not be had, or what it holds cannot be.
    type Error: From<IndexFault>;

    /// Which segment it is the index of.
    fn identity(&self) -> &IndexIdentity;

    /// The bytes of a section.
    ///
    /// # Errors
    ///
    /// When they cannot be read, or their checksum does not match.
    fn section(&self, section: Section) -> Result<&[u8], Self::Error>;
}

/// How an index file begins: what it is the index of, and where its sections are.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Directory {
    identity: IndexIdentity,
    sections: [Place; Section::ALL.len()],
}

/// The first `len` bytes of a derived file, which begin with a magic and the version and end with their checksum.
fn checked_head(bytes: &[u8], magic: [u8; 8], len: usize) -> Result<&[u8], IndexFault> {
    let Some(bytes) = bytes.get(..len).filter(|bytes| bytes[..8] == magic) else {
        return Err(IndexFault::Magic);
    };
    let crc_at = len - 4;
    if wire::u32_at(bytes, crc_at) != crc32fast::hash(&bytes[..crc_at]) {
        return Err(IndexFault::Directory);
    }
    let (major, minor) = (wire::u16_at(bytes, 8), wire::u16_at(bytes, 10));
    if (major, minor) == (MAJOR, MINOR) { Ok(bytes) } else { Err(IndexFault::Version { major, minor }) }
}

/// Where a section is.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
struct Place {
    offset: u64,
    len: u64,
    crc: u32,
}

impl Directory {
    /// Decodes the directory at the start of `bytes`, which begin a file of `file_len` bytes.
    ///
    /// # Errors
    ///
    /// [`IndexFault`] when there is none that this version reads, or sections
    /// and directory are not exactly the file.
    pub fn decode(bytes: &[u8], file_len: u64) -> Result<Directory, IndexFault> {
        let bytes = checked_head(bytes, MAGIC, DIRECTORY_LEN)?;
        let identity = IndexIdentity {
            log_id: LogId::from_bytes(wire::array_at(bytes, 16)),
            segment: SegmentNumber::new(wire::count_at(bytes, 32).ok_or(IndexFault::Field)?),
            base: Position::new(wire::count_at(bytes, 40).ok_or(IndexFault::Field)?),
            segment_len: wire::u64_at(bytes, 48),
            seed: Seed::new(wire::u32_at(bytes, 56)),
            events: wire::u32_at(bytes, 60),
            chain: wire::u32_at(bytes, CHAIN_AT),
        };
        let mut sections = [Place::default(); Section::ALL.len()];
        let mut offset = DIRECTORY_LEN as u64;
        for (section, place) in Section::ALL.into_iter().zip(&mut sections) {
            let at = SECTIONS_AT + section.index() * SECTION_LEN;
            let (len, crc) = (wire::u64_at(bytes, at), wire::u32_at(bytes, at + 8));
            if wire::u32_at(bytes, at + 12) != 0 {
                return Err(IndexFault::Field);
            }
            *place = Place { offset, len, crc };
            offset = offset.checked_add(len).ok_or(IndexFault::Lengths)?;
            let is_whole = len.is_multiple_of(8) && len.is_multiple_of(section.entry_len() as u64);
            if !is_whole || (section == Section::Filter && len == 0) {
                return Err(IndexFault::Lengths);
            }
        }
        if wire::u32_at(bytes, 12) != Section::ALL.len() as u32 {
            return Err(IndexFault::Field);
        }
        if offset != file_len {
            return Err(IndexFault::Lengths);
        }
        Ok(Directory { identity, sections })
    }

    /// Which segment it is the index of.
    pub fn identity(&self) -> &IndexIdentity {
        &self.identity
    }

    /// Where in the file a section is.
    pub fn place(&self, section: Section) -> Range<u64> {
        let place = &self.sections[section.index()];
        place.offset..place.offset + place.len
    }

    /// How many entries a section has, where it has entries of one length and no padding.
    pub fn entries(&self, section: Section) -> Option<u64> {
        let len = section.entry_len() as u64;
        match section {
            Section::StreamNames
            | Section::Postings
            | Section::LabelNames
            | Section::Bitmaps
            | Section::SourceNames => None,
            _ => Some(self.sections[section.index()].len / len),
        }
    }

    /// Whether these bytes are the section: length and checksum.
    pub fn is_good(&self, section: Section, bytes: &[u8]) -> bool {
        let place = &self.sections[section.index()];
        bytes.len() as u64 == place.len && self.identity.seed.checksum(bytes) == place.crc
    }

    /// Encodes the directory of a file whose sections end where `ends` says.
    fn encode(identity: &IndexIdentity, file: &mut [u8], ends: &[usize]) {
        let mut start = DIRECTORY_LEN;
        file[..8].copy_from_slice(&MAGIC);
        wire::set_u16(file, 8, MAJOR);
        wire::set_u16(file, 10, MINOR);
        wire::set_u32(file, 12, Section::ALL.len() as u32);
        file[16..32].copy_from_slice(identity.log_id.as_bytes());
        wire::set_u64(file, 32, identity.segment.get());
        wire::set_u64(file, 40, identity.base.get());
        wire::set_u64(file, 48, identity.segment_len);
        wire::set_u32(file, 56, identity.seed.get());
        wire::set_u32(file, 60, identity.events);
        wire::set_u32(file, CHAIN_AT, identity.chain);
        for (number, &end) in ends.iter().enumerate() {
            let crc = identity.seed.checksum(&file[start..end]);
            let at = SECTIONS_AT + number * SECTION_LEN;
            wire::set_u64(file, at, (end - start) as u64);
            wire::set_u32(file, at + 8, crc);
            start = end;
        }
        let crc = crc32fast::hash(&file[..CRC_AT]);
        wire::set_u32(file, CRC_AT, crc);
    }
}

/// A whole index in memory, every section of it checked.
#[derive(Clone, Debug)]
pub struct WholeIndex<'a> {
    directory: Directory,
    bytes: &'a [u8],
}

impl<'a> WholeIndex<'a> {
    /// Reads and checks the index that is exactly these bytes.
    ///
    /// # Errors
    ///
    /// [`IndexFault`] when it is none, or a checksum does not match.
    pub fn read(bytes: &'a [u8]) -> Result<WholeIndex<'a>, IndexFault> {
        let index = WholeIndex { directory: Directory::decode(bytes, bytes.len() as u64)?, bytes };
        for section in Section::ALL {
            if !index.directory.is_good(section, index.bytes_of(section)) {
                return Err(IndexFault::Section { section });
            }
        }
        Ok(index)
    }

    /// Its directory.
    pub fn directory(&self) -> &Directory {
        &self.directory
    }

    fn bytes_of(&self, section: Section) -> &'a [u8] {
        let Range { start, end } = self.directory.place(section);
        &self.bytes[start as usize..end as usize]
    }
}

impl Sections for WholeIndex<'_> {
    type Error = IndexFault;

    fn identity(&self) -> &IndexIdentity {
        &self.directory.identity
    }

    fn section(&self, section: Section) -> Result<&[u8], IndexFault> {
        Ok(self.bytes_of(section))
    }
}

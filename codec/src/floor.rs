//! `floor`: what is still known of the events that retention has removed.
//!
//! ```text
//!  | header 512 | records | table | other sections |                     end of the file
//!
//!  header   0 magic 8   8 major 2, minor 2   12 sections 4   16 log id 16   32 segment 8   40 position 8
//!          48 recorded at 8   56 written at 8   64 streams 8   72 sources 8
//!          80 chain 4   84 kind of the hash 4   88 hash chain 32   120 length of the file 8
//!         128 for each section: kind 4, reserved 4, offset 8, length 8, CRC 4, reserved 4     508 CRC 4
//!
//!  record   0 CRC 4   4 length of the name 2   6 kind 1   7 reserved 1   8 value 8   16 position 8   24 name, zeros
//!  table    hash 4, place of the record in its section / 8  4                      ascending
//! ```
//!
//! A record of kind 1 is a stream: its value is its version, its position that of its last event that was
//! removed. One of kind 2 is a foreign source, and its value how far it was processed.
//!
//! What is always true:
//!
//! - Streams stand before sources, both in the order of their names, none twice. So files merge from one end to the
//!   other, and a file is written without knowing before how long it gets.
//! - It is searched where it lies. The header vouches for the table as a whole, each record for itself: a look-up
//!   reads a few cache lines, however many streams there are.
//! - No content makes a search panic or believe a length, not even under a good checksum.
//! - A reader passes over sections of a kind that he does not know when its highest bit is set, and refuses others.

use std::ops::Range;

use crate::ids::{LogId, Position, SegmentNumber};
use crate::index::KeyHash;
use crate::index::table::{Table, TableBuilder};
use crate::name::{SourceName, StreamId};
use crate::wire;

/// Length of the header, in bytes; the records follow it.
pub const FLOOR_HEADER_LEN: usize = 512;

const MAGIC: [u8; 8] = *b"\x89ANNFLO\n";
const MAJOR: u16 = 1;
const MINOR: u16 = 0;
const HASH_AT: usize = 88;
const SECTIONS_AT: usize = 128;
const SECTION_LEN: usize = 32;
const MOST_SECTIONS: usize = 11;
const CRC_AT: usize = FLOOR_HEADER_LEN - 4;
const _: () = assert!(SECTIONS_AT + MOST_SECTIONS * SECTION_LEN <= CRC_AT, "there is room for all sections");

const RECORDS: u32 = 1;
const TABLE: u32 = 2;
const MERKLE: u32 = 3;
/// Of a kind with this bit somebody who does not know it needs nothing.
const MAY_BE_PASSED_OVER: u32 = 1 << 31;

const RECORD_LEN: usize = 24;
const ALIGN: usize = 8;

/// Where the log begins, and what was known there.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Floor {
    /// The log.
    pub log_id: LogId,
    /// The oldest segment that still belongs to it.
    pub segment: SegmentNumber,
    /// The position of the last event before that: everything up to here was removed.
    pub position: Position,
    /// The greatest time of recording that was removed; 0 when no event was.
    pub recorded_at: i64,
    /// When the file was written: nanoseconds since 1970 UTC.
    pub written_at: i64,
    /// The chain at the position.
    pub chain: u32,
    /// The hash chain at the position, and by which hash function, when the store keeps one.
    pub hash: Option<(u32, [u8; 32])>,
}

/// A part of the file.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum FloorSection {
    /// The records.
    Records,
    /// Hash of a name → its record.
    Table,
    /// What is kept of the Merkle tree over what was removed: [`KeptTree`](crate::merkle::KeptTree).
    Merkle,
}

/// Where a part of the file lies, and its checksum.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
struct Part {
    kind: u32,
    start: u64,
    len: u64,
    crc: u32,
}

impl Part {
    fn of(kind: u32, start: u64, bytes: &[u8]) -> Part {
        Part { kind, start, len: bytes.len() as u64, crc: crc32fast::hash(bytes) }
    }
}

/// The first bytes of the file: what it is about, and where its parts are.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct FloorHeader {
    /// Where the log begins.
    pub floor: Floor,
    /// How many streams it knows.
    pub streams: u64,
    /// How many foreign sources it knows.
    pub sources: u64,
    parts: Vec<Part>,
}

/// Why a file, or a part of it, is no floor that can be used.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum FloorFault {
    /// It does not begin as one, or its header is damaged.
    #[error("its header is damaged")]
    Header,
    /// A later version of the format wrote it.
    #[error("it was written by a later version: use a newer program")]
    Newer,
    /// It is not as long as its header says.
    #[error("it is {len} bytes long, and its header says {expected}")]
    Length {
        /// Its length, in bytes.
        len: u64,
        /// The length that the header claims, in bytes.
        expected: u64,
    },
    /// A part of it has another checksum.
    #[error("its section {section:?} is damaged")]
    Section {
        /// The part.
        section: FloorSection,
    },
    /// A record is not one.
    #[error("the record at offset {at} of its records is damaged")]
    Record {
        /// Where in the section.
        at: u64,
    },
    /// Records stand in another order, or are others, than header and table say.
    #[error("its records contradict its table")]
    Content,
}

impl FloorHeader {
    /// Encodes the header.
    pub fn encode(&self) -> Vec<u8> {
        let Floor { log_id, segment, position, recorded_at, written_at, chain, hash } = &self.floor;
        let mut out = Vec::with_capacity(FLOOR_HEADER_LEN);
        out.extend_from_slice(&MAGIC);
        wire::put_u16(&mut out, MAJOR);
        wire::put_u16(&mut out, MINOR);
        wire::put_u32(&mut out, self.parts.len() as u32);
        out.extend_from_slice(log_id.as_bytes());
        wire::put_u64(&mut out, segment.get());
        wire::put_u64(&mut out, position.get());
        wire::put_i64(&mut out, *recorded_at);
        wire::put_i64(&mut out, *written_at);
        wire::put_u64(&mut out, self.streams);
        wire::put_u64(&mut out, self.sources);
        wire::put_u32(&mut out, *chain);
        let (kind, hash) = hash.unwrap_or((0, [0; 32]));
        wire::put_u32(&mut out, kind);
        out.extend_from_slice(&hash);
        wire::put_u64(&mut out, self.file_len());
        for part in &self.parts {
            wire::put_u32(&mut out, part.kind);
            wire::put_u32(&mut out, 0);
            wire::put_u64(&mut out, part.start);
            wire::put_u64(&mut out, part.len);
            wire::put_u32(&mut out, part.crc);
            wire::put_u32(&mut out, 0);
        }
        out.resize(CRC_AT, 0);
        let crc = crc32fast::hash(&out);
        wire::put_u32(&mut out, crc);
        out
    }

    /// Decodes the first bytes of a file of this length.
    ///
    /// # Errors
    ///
    /// [`FloorFault`] says whether it is damaged, of another length, or newer.
    pub fn decode(head: &[u8], file_len: u64) -> Result<FloorHeader, FloorFault> {
        let head = head.get(..FLOOR_HEADER_LEN).ok_or(FloorFault::Header)?;
        if head[..8] != MAGIC || wire::u32_at(head, CRC_AT) != crc32fast::hash(&head[..CRC_AT]) {
            return Err(FloorFault::Header);
        }
        if wire::u16_at(head, 8) != MAJOR {
            return Err(FloorFault::Newer);
        }
        let is_later = wire::u16_at(head, 10) > MINOR;
        FloorHeader::decode_fields(head, is_later)?.checked(file_len)
    }

    fn decode_fields(head: &[u8], is_later: bool) -> Result<FloorHeader, FloorFault> {
        let count = |at| wire::count_at(head, at).ok_or(FloorFault::Header);
        let sections = wire::u32_at(head, 12) as usize;
        if !(2..=MOST_SECTIONS).contains(&sections) {
            return Err(FloorFault::Header);
        }
        let end = SECTIONS_AT + sections * SECTION_LEN;
        let mut parts = Vec::with_capacity(sections);
        for at in (SECTIONS_AT..end).step_by(SECTION_LEN) {
            let reserved_is_zero = wire::u32_at(head, at + 4) == 0 && wire::u32_at(head, at + 28) == 0;
            if !is_later && !reserved_is_zero {
                return Err(FloorFault::Header);
            }
            let (kind, crc) = (wire::u32_at(head, at), wire::u32_at(head, at + 24));
            parts.push(Part { kind, start: count(at + 8)?, len: count(at + 16)?, crc });
        }
        if !is_later && head[end..CRC_AT].iter().any(|&byte| byte != 0) {
            return Err(FloorFault::Header);
        }
        let hash: [u8; 32] = wire::array_at(head, HASH_AT);
        let hash = match wire::u32_at(head, 84) {
            0 if hash == [0; 32] => None,
            0 => return Err(FloorFault::Header),
            kind => Some((kind, hash)),
        };
        let decoded = FloorHeader {
            floor: Floor {
                log_id: LogId::from_bytes(wire::array_at(head, 16)),
                segment: SegmentNumber::new(count(32)?),
                position: Position::new(count(40)?),
                recorded_at: wire::i64_at(head, 48),
                written_at: wire::i64_at(head, 56),
                chain: wire::u32_at(head, 80),
                hash,
            },
            streams: count(64)?,
            sources: count(72)?,
            parts,
        };
        if count(120)? == decoded.file_len() { Ok(decoded) } else { Err(FloorFault::Header) }
    }

    /// The same, if its parts are those of a file of this length.
    fn checked(self, file_len: u64) -> Result<FloorHeader, FloorFault> {
        let mut end = FLOOR_HEADER_LEN as u64;
        for (number, part) in self.parts.iter().enumerate() {
            let is_in_place = match number {
                0 => part.kind == RECORDS,
                1 => part.kind == TABLE,
                _ => part.kind != RECORDS && part.kind != TABLE,
            };
            if !is_in_place || part.start != end || !part.len.is_multiple_of(ALIGN as u64) {
                return Err(FloorFault::Header);
            }
            if number > 1 && part.kind != MERKLE && part.kind & MAY_BE_PASSED_OVER == 0 {
                return Err(FloorFault::Newer);
            }
            end = end.checked_add(part.len).ok_or(FloorFault::Header)?;
        }
        if self.parts.iter().filter(|part| part.kind == MERKLE).count() > 1 {
            return Err(FloorFault::Header);
        }
        let entries = self.streams.checked_add(self.sources).ok_or(FloorFault::Header)?;
        if self.parts[1].len != entries.saturating_mul(ALIGN as u64) {
            return Err(FloorFault::Header);
        }
        if end == file_len { Ok(self) } else { Err(FloorFault::Length { len: file_len, expected: end }) }
    }

    /// The length of the whole file, in bytes.
    pub fn file_len(&self) -> u64 {
        let end = self.parts.last().map(|part| part.start.saturating_add(part.len));
        end.unwrap_or(FLOOR_HEADER_LEN as u64)
    }

    fn part(&self, section: FloorSection) -> Option<&Part> {
        let kind = match section {
            FloorSection::Records => RECORDS,
            FloorSection::Table => TABLE,
            FloorSection::Merkle => MERKLE,
        };
        self.parts.iter().find(|part| part.kind == kind)
    }

    /// Where a part of the file lies; empty when it has none of that kind.
    pub fn place(&self, section: FloorSection) -> Range<u64> {
        self.part(section).map_or(0..0, |part| part.start..part.start + part.len)
    }

    /// Whether these bytes are that part of the file.
    pub fn is_good(&self, section: FloorSection, bytes: &[u8]) -> bool {
        self.part(section).is_some_and(|part| part.crc == crc32fast::hash(bytes))
    }

    /// Checks all of a file: every checksum, every record, their order, and that the table leads to each.
    ///
    /// # Errors
    ///
    /// The first thing that is wrong.
    pub fn check(&self, file: &[u8]) -> Result<(), FloorFault> {
        for part in &self.parts {
            let bytes = file.get(part.start as usize..(part.start + part.len) as usize);
            if bytes.is_none_or(|bytes| crc32fast::hash(bytes) != part.crc) {
                let section = match part.kind {
                    RECORDS => FloorSection::Records,
                    TABLE => FloorSection::Table,
                    _ => FloorSection::Merkle,
                };
                return Err(FloorFault::Section { section });
            }
        }
        let bytes = |section| {
            let Range { start, end } = self.place(section);
            &file[start as usize..end as usize]
        };
        let (mut table, mut streams, mut sources) = (TableBuilder::default(), 0, 0);
        let mut before: Option<(FloorKind, &str)> = None;
        let mut at = 0;
        for record in floor_records(bytes(FloorSection::Records)) {
            let record = record?;
            if before.is_some_and(|before| before >= (record.kind, record.name)) {
                return Err(FloorFault::Content);
            }
            before = Some((record.kind, record.name));
            match record.kind {
                FloorKind::Stream => streams += 1,
                FloorKind::Source => sources += 1,
            }
            table.push(record.kind.hash(record.name), (at / ALIGN as u64) as u32);
            at += record.len() as u64;
        }
        let mut expected = Vec::new();
        table.finish(&mut expected);
        let is_right = (streams, sources) == (self.streams, self.sources) && expected == bytes(FloorSection::Table);
        if is_right { Ok(()) } else { Err(FloorFault::Content) }
    }
}

/// What a record is about.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
#[repr(u8)]
pub enum FloorKind {
    /// A stream.
    Stream = 1,
    /// A foreign source that is tracked.
    Source = 2,
}

impl FloorKind {
    fn hash(self, name: &str) -> KeyHash {
        match self {
            FloorKind::Stream => KeyHash::stream(name),
            FloorKind::Source => KeyHash::source(name),
        }
    }
}

/// What is known of one stream or source.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct FloorRecord<'a> {
    /// What it is about.
    pub kind: FloorKind,
    /// The name of the stream or the source.
    pub name: &'a str,
    /// The version of the stream; how far the source was processed.
    pub value: u64,
    /// The position of the stream's last event; of a source, `START`.
    pub position: Position,
}

impl<'a> FloorRecord<'a> {
    /// Its length in the file, in bytes.
    fn len(&self) -> usize {
        (RECORD_LEN + self.name.len()).next_multiple_of(ALIGN)
    }

    fn encode(&self, out: &mut Vec<u8>) {
        let start = out.len();
        wire::put_u32(out, 0);
        wire::put_u16(out, self.name.len() as u16);
        out.extend_from_slice(&[self.kind as u8, 0]);
        wire::put_u64(out, self.value);
        wire::put_u64(out, self.position.get());
        out.extend_from_slice(self.name.as_bytes());
        out.resize(start + self.len(), 0);
        let crc = crc32fast::hash(&out[start + 4..]);
        wire::set_u32(&mut out[start..], 0, crc);
    }

    /// The record that begins at `at`.
    fn read(records: &'a [u8], at: usize) -> Result<FloorRecord<'a>, FloorFault> {
        let fault = FloorFault::Record { at: at as u64 };
        let bytes = records.get(at..).filter(|bytes| bytes.len() >= RECORD_LEN).ok_or(fault)?;
        let name_len = wire::u16_at(bytes, 4) as usize;
        let bytes = bytes.get(..(RECORD_LEN + name_len).next_multiple_of(ALIGN)).ok_or(fault)?;
        if wire::u32_at(bytes, 0) != crc32fast::hash(&bytes[4..]) {
            return Err(fault);
        }
        let (name, padding) = bytes[RECORD_LEN..].split_at(name_len);
        let named = match bytes[6] {
            1 => StreamId::check_bytes(name).map(|name| (FloorKind::Stream, name)),
            2 => SourceName::check_bytes(name).map(|name| (FloorKind::Source, name)),
            _ => return Err(fault),
        };
        let (kind, name) = named.map_err(|_| fault)?;
        if bytes[7] != 0 || padding.iter().any(|&byte| byte != 0) {
            return Err(fault);
        }
        let position = Position::new(wire::count_at(bytes, 16).ok_or(fault)?);
        let value = match kind {
            FloorKind::Stream => wire::count_at(bytes, 8).ok_or(fault)?,
            FloorKind::Source => wire::u64_at(bytes, 8),
        };
        Ok(FloorRecord { kind, name, value, position })
    }
}

/// The record of this name, looked up in the sections of a file; the table was checked before.
///
/// # Errors
///
/// [`FloorFault::Record`] when a record that may be it is damaged.
pub fn find_in_floor<'a>(
    records: &'a [u8],
    table: &[u8],
    kind: FloorKind,
    name: &str,
) -> Result<Option<FloorRecord<'a>>, FloorFault> {
    for place in Table::new(table).find(kind.hash(name)) {
        let record = FloorRecord::read(records, place as usize * ALIGN)?;
        if (record.kind, record.name) == (kind, name) {
            return Ok(Some(record));
        }
    }
    Ok(None)
}

/// All records of the section, in order; ends behind the first that is damaged.
pub fn floor_records(records: &[u8]) -> impl Iterator<Item = Result<FloorRecord<'_>, FloorFault>> {
    let mut at = 0;
    std::iter::from_fn(move || {
        if at >= records.len() {
            return None;
        }
        let record = FloorRecord::read(records, at);
        at = record.as_ref().map_or(records.len(), |record| at + record.len());
        Some(record)
    })
}

/// Writes a floor from one end to the other. Of what was pushed it remembers 8 bytes a record.
#[derive(Debug, Default)]
pub struct FloorWriter {
    table: TableBuilder,
    hasher: crc32fast::Hasher,
    len: u64,
    streams: u64,
    sources: u64,
}

impl FloorWriter {
    /// The most that the records of a file may take, in bytes.
    pub const MOST_RECORDS: u64 = (ALIGN as u64) << 32;

    /// A floor without records so far. They begin at [`FLOOR_HEADER_LEN`].
    pub fn new() -> FloorWriter {
        FloorWriter::default()
    }

    /// Appends a record to `out`; `false` when no more of them fit into a file. They come in their order:
    /// streams, then sources, both by name.
    pub fn push(&mut self, record: &FloorRecord<'_>, out: &mut Vec<u8>) -> bool {
        if self.len + record.len() as u64 > FloorWriter::MOST_RECORDS {
            return false;
        }
        let start = out.len();
        record.encode(out);
        self.hasher.update(&out[start..]);
        self.table.push(record.kind.hash(record.name), (self.len / ALIGN as u64) as u32);
        self.len += record.len() as u64;
        match record.kind {
            FloorKind::Stream => self.streams += 1,
            FloorKind::Source => self.sources += 1,
        }
        true
    }

    /// Appends what follows the records to `out`; returns what stands before them. `merkle` may be empty.
    ///
    /// # Panics
    ///
    /// When `merkle` is no multiple of 8 bytes long.
    pub fn finish(self, floor: Floor, merkle: &[u8], out: &mut Vec<u8>) -> FloorHeader {
        assert!(merkle.len().is_multiple_of(ALIGN), "numbers and hashes");
        let start = FLOOR_HEADER_LEN as u64;
        let records = Part { kind: RECORDS, start, len: self.len, crc: self.hasher.finalize() };
        let from = out.len();
        self.table.finish(out);
        let table = Part::of(TABLE, start + self.len, &out[from..]);
        let mut parts = vec![records, table];
        if !merkle.is_empty() {
            parts.push(Part::of(MERKLE, table.start + table.len, merkle));
            out.extend_from_slice(merkle);
        }
        FloorHeader { floor, streams: self.streams, sources: self.sources, parts }
    }
}

#[cfg(test)]
mod tests;

//! Writing a floor: what was known of removed events before, and what the segments that go now know.
//!
//! All of them are sorted by name, so they are merged from one end to the other. In memory are one name for each of
//! them and eight bytes for each stream.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};
use std::io;

use annals_codec::{FLOOR_HEADER_LEN, Floor, FloorKind, FloorRecord, FloorWriter, Position, StreamVersion};

use super::floor::{FloorIndex, Removed};
use super::{IndexedSegment, SegmentIndex, Span};
use crate::error::ReadError;
use crate::log::small_files::write_all;
use crate::storage::File;
use crate::view::View;

/// What is written in one go, in bytes.
const CHUNK: usize = 1 << 20;

/// Why a floor was not written.
#[derive(Debug)]
pub(crate) enum MergeError {
    /// What it would be made of cannot be read.
    Read(ReadError),
    /// It cannot be written.
    Io(io::Error),
}

impl From<ReadError> for MergeError {
    fn from(error: ReadError) -> MergeError {
        MergeError::Read(error)
    }
}

/// The next stream of one source; the least name first, and of the same name what is newest.
#[derive(Debug, Eq, Ord, PartialEq, PartialOrd)]
struct Next {
    name: Reverse<String>,
    /// 0 is the floor as it was, and then come the segments.
    age: usize,
}

/// Writes what is known of the events in the first `segments` segments of a view, and of those that were
/// removed before. `floor` is what the file says of the log.
pub(crate) fn write_floor(
    view: &View,
    segments: usize,
    floor: Floor,
    merkle: &[u8],
    file: &dyn File,
) -> Result<(), MergeError> {
    let mut out = Output { file, at: FLOOR_HEADER_LEN as u64, buffer: Vec::new(), writer: FloorWriter::new() };
    merge_streams(view, &view.segments[..segments], &mut |name, removed| {
        let (value, position) = (removed.version.get(), removed.last);
        out.push(&FloorRecord { kind: FloorKind::Stream, name, value, position })
    })?;
    for (name, value) in sources(view.floor.as_deref(), &view.segments[..segments])? {
        out.push(&FloorRecord { kind: FloorKind::Source, name: &name, value, position: Position::START })?;
    }
    let Output { file, at, mut buffer, writer } = out;
    let header = writer.finish(floor, merkle, &mut buffer);
    write_all(file, at, &buffer).and_then(|()| write_all(file, 0, &header.encode())).map_err(MergeError::Io)
}

struct Output<'a> {
    file: &'a dyn File,
    at: u64,
    buffer: Vec<u8>,
    writer: FloorWriter,
}

impl Output<'_> {
    fn push(&mut self, record: &FloorRecord<'_>) -> Result<(), MergeError> {
        if !self.writer.push(record, &mut self.buffer) {
            let error = io::Error::other("more streams were removed than a floor can hold");
            return Err(MergeError::Io(error));
        }
        if self.buffer.len() >= CHUNK {
            write_all(self.file, self.at, &self.buffer).map_err(MergeError::Io)?;
            self.at += self.buffer.len() as u64;
            self.buffer.clear();
        }
        Ok(())
    }
}

/// Hands out every stream of the floor and of these segments, in the order of names, with its end in the newest of them.
fn merge_streams(
    view: &View,
    segments: &[IndexedSegment],
    each: &mut dyn FnMut(&str, Removed) -> Result<(), MergeError>,
) -> Result<(), MergeError> {
    let mut before = match &view.floor {
        Some(floor) => Some(floor.records()?),
        None => None,
    };
    // What stands at the front of the floor, and of each segment with the number of the one behind it.
    let mut known: Option<Removed> = None;
    let mut fronts: Vec<Option<(usize, Span)>> = vec![None; segments.len()];
    let mut heap = BinaryHeap::with_capacity(segments.len() + 1);
    let mut advance = |age: usize,
                       mut name: String,
                       known: &mut Option<Removed>,
                       fronts: &mut [Option<(usize, Span)>],
                       heap: &mut BinaryHeap<Next>|
     -> Result<(), MergeError> {
        let is_there = if age == 0 {
            let record = before.as_mut().and_then(Iterator::next).transpose()?;
            let record = record.filter(|record| record.kind == FloorKind::Stream);
            *known = record.map(|record| Removed { version: StreamVersion::new(record.value), last: record.position });
            if let Some(record) = record {
                name.clear();
                name.push_str(record.name);
            }
            record.is_some()
        } else {
            let number = fronts[age - 1].map_or(0, |(number, _)| number + 1);
            let span = segments[age - 1].stream_at(number, &mut name)?;
            fronts[age - 1] = span.map(|span| (number, span));
            span.is_some()
        };
        if is_there {
            heap.push(Next { name: Reverse(name), age });
        }
        Ok(())
    };
    for age in 0..=segments.len() {
        advance(age, String::new(), &mut known, &mut fronts, &mut heap)?;
    }
    let mut last = String::new();
    let mut is_first = true;
    while let Some(Next { name: Reverse(name), age }) = heap.pop() {
        if is_first || name != last {
            (is_first, last) = (false, name.clone());
            let removed = match (age.checked_sub(1), known) {
                (None, known) => known,
                (Some(index), _) => fronts[index].map(|(_, span)| end_of(view, index, &span, &name)).transpose()?,
            };
            if let Some(removed) = removed {
                each(&name, removed)?;
            }
        }
        advance(age, name, &mut known, &mut fronts, &mut heap)?;
    }
    Ok(())
}

fn end_of(view: &View, index: usize, span: &Span, stream: &str) -> Result<Removed, ReadError> {
    let last = view.last_in(index, span)?.ok_or_else(|| {
        let log = &view.segments[index].log;
        let fault = format!("the dense index does not say where the last event of {stream} is");
        ReadError::Corrupt(log.damage(0, log.base.plus(1), log.last(), fault))
    })?;
    Ok(Removed { version: span.last, last })
}

/// How far foreign sources were processed, by name.
fn sources(floor: Option<&FloorIndex>, segments: &[IndexedSegment]) -> Result<BTreeMap<String, u64>, ReadError> {
    let mut sources = BTreeMap::new();
    if let Some(floor) = floor {
        for record in floor.records()? {
            let record = record?;
            if record.kind == FloorKind::Source {
                sources.insert(record.name.to_owned(), record.value);
            }
        }
    }
    for segment in segments {
        if let SegmentIndex::Sealed(index) = &segment.index {
            index.sources(&segment.log, &mut |name, upstream| {
                sources.insert(name.to_owned(), upstream);
            })?;
        }
    }
    Ok(sources)
}

impl IndexedSegment {
    /// The stream with this number, in the order of names, whose name goes into `name`; `None` behind the last.
    /// Only a segment whose index is settled can be asked.
    fn stream_at(&self, number: usize, name: &mut String) -> Result<Option<Span>, ReadError> {
        match &self.index {
            SegmentIndex::Sealed(index) => index.stream_at(&self.log, number, name),
            SegmentIndex::Memory(_) => {
                let (from, to) = (self.log.base.plus(1), self.log.last());
                Err(ReadError::Corrupt(self.log.damage(0, from, to, "its index cannot be made".to_owned())))
            }
        }
    }
}

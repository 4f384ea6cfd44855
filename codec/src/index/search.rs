//! Looking things up in an index.
//!
//! ```text
//!  stream   name 8 | first version 8 | last version 8 | events 4 | its first posting 4     32 B
//!  label    name 8 | bitmap at 8     | its length 4   | events 4                           24 B
//!  made     salt 8 | first event 4   | last event 4                                        16 B
//!  source   name 8 | upstream 8                                                            16 B
//! ```
//!
//! Events are numbered in their segment from 0 on: number *n* is at position
//! *base + 1 + n*. The name of a label is `\x01` and a type, or `\x02` and a tag.
//! A label of one event has no bitmap: where its place would be, the event's number is.
//!
//! What is always true:
//!
//! - Names are compared. Ids and keys are not here to be compared: what comes
//!   out is a candidate, and its frame decides.
//! - Every event number is below the number of events of the segment.

use std::ops::Range;

use roaring::RoaringBitmap;

use super::filter::Filter;
use super::names::Names;
use super::table::Table;
use super::{IndexFault, KeyHash, Section, Sections};
use crate::ids::{EventId, Position, StreamVersion};
use crate::made::IdMaker;
use crate::wire;

pub(super) const STREAM_LEN: usize = 32;
pub(super) const LABEL_LEN: usize = 24;
pub(super) const MADE_RUN_LEN: usize = 16;
pub(super) const SOURCE_LEN: usize = 16;

/// What stands before the name of a label.
pub(super) const TYPE_KIND: &str = "\x01";
pub(super) const TAG_KIND: &str = "\x02";

/// Whether anything with this hash may be there; `false` is certain.
///
/// Ids that a store made are in no filter: see [`candidates_of_id`].
///
/// # Errors
///
/// When a section cannot be had, or holds what cannot be. So with everything here.
pub fn may_hold<S: Sections>(index: &S, hash: KeyHash) -> Result<bool, S::Error> {
    Ok(Filter::read(index.section(Section::Filter)?)?.may_hold(hash))
}

// Streams.

/// What one segment knows of a stream.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct StreamEntry {
    /// The version of its first event in the segment.
    pub first: StreamVersion,
    /// The version of its last event in the segment. A store leaves no version
    /// out, so it is `events − 1` more than the first; that is not checked here.
    pub last: StreamVersion,
    /// How many events it has in the segment; at least one.
    pub events: u64,
    /// The number of its first posting, for [`offsets`].
    pub posting: u32,
}

impl StreamEntry {
    fn read(bytes: &[u8; STREAM_LEN]) -> Result<StreamEntry, IndexFault> {
        let entry = StreamEntry {
            first: StreamVersion::new(wire::u64_at(bytes, 8)),
            last: StreamVersion::new(wire::u64_at(bytes, 16)),
            events: u64::from(wire::u32_at(bytes, 24)),
            posting: wire::u32_at(bytes, 28),
        };
        if entry.events == 0 { Err(IndexFault::Content { section: Section::Streams }) } else { Ok(entry) }
    }
}

fn streams<S: Sections>(index: &S) -> Result<Names<'_, STREAM_LEN>, S::Error> {
    Names::of(index, Section::Streams, Section::StreamNames)
}

/// What the segment knows of this stream; `None` when it has no event of it.
///
/// # Errors
///
/// See [`may_hold`].
pub fn find_stream<S: Sections>(index: &S, name: &str) -> Result<Option<StreamEntry>, S::Error> {
    for number in Table::of(index, Section::StreamTable)?.find(KeyHash::stream(name)) {
        let streams = streams(index)?;
        let entry = streams.entry(number as usize)?;
        if streams.name(entry)? == name {
            return Ok(Some(StreamEntry::read(entry)?));
        }
    }
    Ok(None)
}

/// The stream with this number, in the order of names, and what the segment knows of it; `None` behind the last.
///
/// # Errors
///
/// See [`may_hold`].
pub fn stream_at<S: Sections>(index: &S, number: usize) -> Result<Option<(&str, StreamEntry)>, S::Error> {
    let streams = streams(index)?;
    if number >= streams.len() {
        return Ok(None);
    }
    let entry = streams.entry(number)?;
    Ok(Some((streams.name(entry)?, StreamEntry::read(entry)?)))
}

/// Appends the offset/8 of the stream's events in the segment to `out`: of those
/// with these numbers among them, as far as they exist.
///
/// # Errors
///
/// See [`may_hold`].
pub fn offsets<S: Sections>(
    index: &S,
    entry: &StreamEntry,
    range: Range<u64>,
    out: &mut Vec<u32>,
) -> Result<(), S::Error> {
    let (postings, _) = index.section(Section::Postings)?.as_chunks::<4>();
    // What is behind the last event's is padding.
    let postings = postings.get(..index.identity().events as usize).unwrap_or_default();
    let all = postings.get(entry.posting as usize..).and_then(|postings| postings.get(..entry.events as usize));
    let all = all.ok_or(IndexFault::Content { section: Section::Postings })?;
    let end = range.end.min(entry.events) as usize;
    if let Some(part) = all.get(range.start.min(entry.events) as usize..end) {
        out.extend(part.iter().map(|offset| wire::u32_at(offset, 0)));
    }
    Ok(())
}

/// Hands out every stream whose name begins with `prefix`, in the order of names.
/// Only those are looked at.
///
/// # Errors
///
/// See [`may_hold`].
pub fn for_each_stream<S: Sections>(
    index: &S,
    prefix: &str,
    each: &mut dyn FnMut(&str, StreamEntry),
) -> Result<(), S::Error> {
    for stream in streams(index)?.with_prefix(prefix)? {
        let (name, entry) = stream?;
        each(name, StreamEntry::read(entry)?);
    }
    Ok(())
}

// Types and tags.

/// What events are found by.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub enum Label<'a> {
    /// Events of this type.
    Type(&'a str),
    /// Events of every type that begins so.
    TypePrefix(&'a str),
    /// Events with this tag.
    Tag(&'a str),
}

struct LabelEntry {
    bitmap: u64,
    bitmap_len: u32,
    events: u32,
}

impl LabelEntry {
    fn read(bytes: &[u8; LABEL_LEN]) -> LabelEntry {
        LabelEntry {
            bitmap: wire::u64_at(bytes, 8),
            bitmap_len: wire::u32_at(bytes, 16),
            events: wire::u32_at(bytes, 20),
        }
    }

    fn numbers<S: Sections>(&self, index: &S) -> Result<RoaringBitmap, S::Error> {
        let fault = IndexFault::Content { section: Section::Bitmaps };
        let events = index.identity().events;
        let numbers = if self.events == 1 {
            RoaringBitmap::from_iter(u32::try_from(self.bitmap))
        } else {
            let bytes = index.section(Section::Bitmaps)?.get(self.bitmap as usize..);
            let bytes = bytes.and_then(|bytes| bytes.get(..self.bitmap_len as usize)).ok_or(fault)?;
            // Checks what it reads, and allocates half a MiB before the bytes have shown that they are as many.
            RoaringBitmap::deserialize_from(bytes).map_err(|_| fault)?
        };
        let is_possible = numbers.len() == u64::from(self.events) && numbers.max().is_some_and(|last| last < events);
        if is_possible { Ok(numbers) } else { Err(fault.into()) }
    }
}

fn labels<S: Sections>(index: &S) -> Result<Names<'_, LABEL_LEN>, S::Error> {
    Names::of(index, Section::Labels, Section::LabelNames)
}

/// The numbers of the events with this label; none when it is unknown.
///
/// # Errors
///
/// See [`may_hold`].
pub fn labelled<S: Sections>(index: &S, label: Label<'_>) -> Result<RoaringBitmap, S::Error> {
    let (hash, kind, name) = match label {
        Label::Type(name) => (KeyHash::event_type(name), TYPE_KIND, name),
        Label::Tag(name) => (KeyHash::tag(name), TAG_KIND, name),
        Label::TypePrefix(prefix) => {
            let mut all = RoaringBitmap::new();
            for label in labels(index)?.with_prefix(&[TYPE_KIND, prefix].concat())? {
                let (_, entry) = label?;
                all |= LabelEntry::read(entry).numbers(index)?;
            }
            return Ok(all);
        }
    };
    for number in Table::of(index, Section::LabelTable)?.find(hash) {
        let labels = labels(index)?;
        let entry = labels.entry(number as usize)?;
        if labels.name(entry)?.strip_prefix(kind) == Some(name) {
            return LabelEntry::read(entry).numbers(index);
        }
    }
    Ok(RoaringBitmap::new())
}

/// Hands out every type and every tag with the number of events that have it, types first, in the order of names.
///
/// # Errors
///
/// See [`may_hold`].
pub fn for_each_label<S: Sections>(index: &S, each: &mut dyn FnMut(Label<'_>, u64)) -> Result<(), S::Error> {
    let labels = labels(index)?;
    for label in labels.with_prefix("")? {
        let (name, entry) = label?;
        let of_type = name.strip_prefix(TYPE_KIND).map(Label::Type);
        let label = of_type.or_else(|| name.strip_prefix(TAG_KIND).map(Label::Tag)).ok_or(labels.fault())?;
        each(label, u64::from(LabelEntry::read(entry).events));
    }
    Ok(())
}

// Ids, keys, sources.

/// Hands out the maker of each run of made ids, and its first and last position.
/// Their ids are in no table and no filter.
///
/// # Errors
///
/// See [`may_hold`].
pub fn for_each_made_run<S: Sections>(
    index: &S,
    each: &mut dyn FnMut(IdMaker, Position, Position),
) -> Result<(), S::Error> {
    let identity = index.identity();
    let (runs, _) = index.section(Section::MadeIds)?.as_chunks::<MADE_RUN_LEN>();
    for run in runs {
        let (first, last) = (wire::u32_at(run, 8), wire::u32_at(run, 12));
        if first > last || last >= identity.events {
            return Err(IndexFault::Content { section: Section::MadeIds }.into());
        }
        let position = |number: u32| identity.base.plus(1 + u64::from(number));
        each(IdMaker::new(wire::u64_at(run, 0)), position(first), position(last));
    }
    Ok(())
}

/// Hands out the numbers of events that may have this id, made or given.
///
/// # Errors
///
/// See [`may_hold`].
pub fn candidates_of_id<S: Sections>(index: &S, id: EventId, each: &mut dyn FnMut(u32)) -> Result<(), S::Error> {
    let identity = index.identity();
    for_each_made_run(index, &mut |maker, first, last| {
        if let Some(position) = maker.position_of(id).filter(|position| (first..=last).contains(position)) {
            each((position.get() - identity.base.get() - 1) as u32);
        }
    })?;
    for number in Table::of(index, Section::IdTable)?.find(KeyHash::id(id)) {
        if number >= identity.events {
            return Err(IndexFault::Content { section: Section::IdTable }.into());
        }
        each(number);
    }
    Ok(())
}

/// Hands out the offsets of the commit markers that may have this key.
///
/// # Errors
///
/// See [`may_hold`].
pub fn markers_of_key<S: Sections>(index: &S, key: &str, each: &mut dyn FnMut(u64)) -> Result<(), S::Error> {
    let table = Table::of(index, Section::KeyTable)?;
    table.find(KeyHash::key(key)).for_each(|offset| each(u64::from(offset) * crate::frame::FRAME_ALIGN));
    Ok(())
}

fn sources<S: Sections>(index: &S) -> Result<Names<'_, SOURCE_LEN>, S::Error> {
    Names::of(index, Section::Sources, Section::SourceNames)
}

/// The position of this source in the last batch of the segment that says one.
///
/// # Errors
///
/// See [`may_hold`].
pub fn tracking<S: Sections>(index: &S, source: &str) -> Result<Option<u64>, S::Error> {
    let sources = sources(index)?;
    let Some(number) = sources.find(source)? else { return Ok(None) };
    Ok(Some(wire::u64_at(sources.entry(number)?, 8)))
}

/// Hands out every source that is tracked with its position in the last batch
/// of the segment that says one, in the order of names.
///
/// # Errors
///
/// See [`may_hold`].
pub fn for_each_source<S: Sections>(index: &S, each: &mut dyn FnMut(&str, u64)) -> Result<(), S::Error> {
    for source in sources(index)?.with_prefix("")? {
        let (name, entry) = source?;
        each(name, wire::u64_at(entry, 8));
    }
    Ok(())
}

/// The hashes of all sources, ascending.
pub(super) fn source_hashes<S: Sections>(index: &S) -> Result<Vec<KeyHash>, S::Error> {
    let mut hashes = Vec::new();
    for_each_source(index, &mut |source, _| hashes.push(KeyHash::source(source)))?;
    hashes.sort_unstable();
    Ok(hashes)
}

//! Making the index of a segment while a scan walks over it.
//!
//! ```text
//!  scan ──event──> pending ──commit──> names with numbers, (name, event) pairs ──finish──> sorted, written
//!                     └─────discard──> nothing
//! ```
//!
//! What is always true:
//!
//! - Only what a commit marker made exist gets in.
//! - The same segment gives the same bytes, whoever makes its index.

use std::collections::BTreeMap;

use roaring::RoaringBitmap;

use super::filter::FilterBuilder;
use super::hashes::hashes;
use super::names::put_name;
use super::search::{TAG_KIND, TYPE_KIND};
use super::table::TableBuilder;
use super::{DIRECTORY_LEN, Directory, IndexFault, IndexIdentity, KeyHash, Section, Sections};
use crate::commit::Commit;
use crate::event::Event;
use crate::frame::FRAME_ALIGN;
use crate::ids::{EventId, Position, StreamVersion};
use crate::interner::Interner;
use crate::made::MadeIds;
use crate::scan::Sink;
use crate::wire;

/// Makes the index of the segment that is scanned into it.
#[derive(Debug)]
pub struct IndexBuilder {
    base: Position,
    streams: Interner,
    types: Interner,
    tags: Interner,
    /// The first and the last version of each stream; nothing of those that only a discarded batch named.
    versions: Vec<Option<(StreamVersion, StreamVersion)>>,
    /// For each event: its stream, and its offset/8.
    postings: Vec<(u32, u32)>,
    /// For each event: its type.
    types_of: Vec<u32>,
    /// For each tag of each event: the tag, and the event's number.
    tagged: Vec<(u32, u32)>,
    /// The last event that has each tag: a tag that is there twice counts once.
    last_tagged: Vec<Option<u32>>,
    ids: TableBuilder,
    made: MadeIds,
    keys: TableBuilder,
    tracking: BTreeMap<String, u64>,
    events: u32,
    pending: Vec<Pending>,
    pending_tags: Vec<(u32, u32)>,
}

/// An event that no marker has made exist yet.
#[derive(Debug)]
struct Pending {
    stream: u32,
    event_type: u32,
    offset: u32,
    position: Position,
    version: StreamVersion,
    recorded_at: i64,
    id: EventId,
}

impl IndexBuilder {
    /// Begins the index of the segment with this base position, all of which must be scanned into it.
    pub fn new(base: Position) -> IndexBuilder {
        IndexBuilder {
            base,
            streams: Interner::new(),
            types: Interner::new(),
            tags: Interner::new(),
            versions: Vec::new(),
            postings: Vec::new(),
            types_of: Vec::new(),
            tagged: Vec::new(),
            last_tagged: Vec::new(),
            ids: TableBuilder::default(),
            made: MadeIds::default(),
            keys: TableBuilder::default(),
            tracking: BTreeMap::new(),
            events: 0,
            pending: Vec::new(),
            pending_tags: Vec::new(),
        }
    }

    /// The bytes of the index file.
    ///
    /// # Panics
    ///
    /// When `identity` is that of a segment with another base or another number
    /// of events than the one that was scanned.
    pub fn finish(mut self, identity: IndexIdentity) -> Vec<u8> {
        assert_eq!((identity.base, identity.events), (self.base, self.events), "the segment that was scanned");
        for (position, id) in self.made.take_single() {
            self.ids.push(KeyHash::id(id), number_at(self.base, position));
        }
        let mut file = Building { bytes: vec![0; DIRECTORY_LEN], ends: Vec::new(), identity };
        self.put_streams(&mut file);
        self.put_labels(&mut file);
        file.put(Section::IdTable, |out| self.ids.finish(out));
        file.put(Section::MadeIds, |out| {
            for (maker, first, last) in self.made.runs() {
                wire::put_u64(out, maker.salt());
                wire::put_u32(out, number_at(self.base, first));
                wire::put_u32(out, number_at(self.base, last));
            }
        });
        file.put(Section::KeyTable, |out| self.keys.finish(out));
        let mut heap = Vec::new();
        file.put(Section::Sources, |out| {
            for (source, upstream) in &self.tracking {
                wire::put_u64(out, put_name(&mut heap, &[source]));
                wire::put_u64(out, *upstream);
            }
        });
        file.put(Section::SourceNames, |out| out.append(&mut heap));
        let filter = filter_over(&file).expect("what was just made is as it should be");
        file.put(Section::Filter, |out| out.extend_from_slice(&filter));
        Directory::encode(&file.identity, &mut file.bytes, &file.ends);
        file.bytes
    }

    fn put_streams(&mut self, file: &mut Building) {
        let postings = grouped(self.postings.iter().copied(), self.streams.len());
        let mut sorted = self.streams.sorted();
        sorted.retain(|&stream| !postings.of(stream).is_empty());
        let (mut heap, mut table, mut first_posting) = (Vec::new(), TableBuilder::default(), 0);
        file.put(Section::Streams, |out| {
            for (number, &stream) in sorted.iter().enumerate() {
                let name = self.streams.name(stream);
                let (first, last) = self.versions[stream as usize].expect("a stream with postings has versions");
                let events = postings.of(stream).len() as u32;
                wire::put_u64(out, put_name(&mut heap, &[name]));
                wire::put_u64(out, first.get());
                wire::put_u64(out, last.get());
                wire::put_u32(out, events);
                wire::put_u32(out, first_posting);
                first_posting += events;
                table.push(KeyHash::stream(name), number as u32);
            }
        });
        file.put(Section::StreamNames, |out| out.append(&mut heap));
        file.put(Section::StreamTable, |out| table.finish(out));
        file.put(Section::Postings, |out| {
            for &offset in sorted.iter().flat_map(|&stream| postings.of(stream)) {
                wire::put_u32(out, offset);
            }
        });
    }

    fn put_labels(&mut self, file: &mut Building) {
        let typed = grouped((0..).zip(&self.types_of).map(|(number, &name)| (name, number)), self.types.len());
        let tagged = grouped(self.tagged.iter().copied(), self.tags.len());
        let mut labels = Labels::default();
        file.put(Section::Labels, |out| {
            labels.put(out, TYPE_KIND, &self.types, &typed, KeyHash::event_type);
            labels.put(out, TAG_KIND, &self.tags, &tagged, KeyHash::tag);
        });
        file.put(Section::LabelNames, |out| out.append(&mut labels.heap));
        file.put(Section::LabelTable, |out| labels.table.finish(out));
        file.put(Section::Bitmaps, |out| out.append(&mut labels.bitmaps));
    }
}

impl Sink for IndexBuilder {
    fn event(&mut self, offset: u64, event: &Event<'_>) {
        let number = self.events + self.pending.len() as u32;
        for tag in event.tags.iter() {
            let tag = self.tags.intern(tag);
            if tag as usize == self.last_tagged.len() {
                self.last_tagged.push(None);
            }
            if self.last_tagged[tag as usize].replace(number) != Some(number) {
                self.pending_tags.push((tag, number));
            }
        }
        self.pending.push(Pending {
            stream: self.streams.intern(event.stream),
            event_type: self.types.intern(event.event_type),
            offset: (offset / FRAME_ALIGN) as u32,
            position: event.position,
            version: event.version,
            recorded_at: event.recorded_at,
            id: event.id,
        });
    }

    fn commit(&mut self, offset: u64, commit: &Commit<'_>) {
        self.versions.resize(self.streams.len(), None);
        for event in self.pending.drain(..) {
            self.postings.push((event.stream, event.offset));
            self.types_of.push(event.event_type);
            let (_, last) = self.versions[event.stream as usize].get_or_insert((event.version, event.version));
            *last = event.version;
            if !self.made.push(event.position, event.recorded_at, event.id) {
                self.ids.push(KeyHash::id(event.id), self.events);
            }
            self.events += 1;
        }
        self.tagged.append(&mut self.pending_tags);
        if let Some(key) = commit.key {
            self.keys.push(KeyHash::key(key), (offset / FRAME_ALIGN) as u32);
        }
        if let Some(tracking) = commit.tracking {
            match self.tracking.get_mut(tracking.source) {
                Some(upstream) => *upstream = tracking.upstream,
                None => _ = self.tracking.insert(tracking.source.to_owned(), tracking.upstream),
            }
        }
    }

    fn discard(&mut self) {
        self.pending.clear();
        // The next events get the same numbers again.
        for (tag, _) in self.pending_tags.drain(..) {
            self.last_tagged[tag as usize] = None;
        }
    }
}

/// The number of the event at `position` in the segment with this base.
fn number_at(base: Position, position: Position) -> u32 {
    (position.get() - base.get() - 1) as u32
}

/// A file whose sections are written one after the other.
struct Building {
    bytes: Vec<u8>,
    ends: Vec<usize>,
    identity: IndexIdentity,
}

impl Building {
    fn put(&mut self, section: Section, write: impl FnOnce(&mut Vec<u8>)) {
        assert_eq!(section.index(), self.ends.len(), "sections are written in their order");
        write(&mut self.bytes);
        self.bytes.resize(self.bytes.len().next_multiple_of(8), 0);
        self.ends.push(self.bytes.len());
    }
}

/// The sections that are written already.
impl Sections for Building {
    type Error = IndexFault;

    fn identity(&self) -> &IndexIdentity {
        &self.identity
    }

    fn section(&self, section: Section) -> Result<&[u8], IndexFault> {
        let start = section.index().checked_sub(1).map_or(DIRECTORY_LEN, |before| self.ends[before]);
        Ok(&self.bytes[start..self.ends[section.index()]])
    }
}

fn filter_over(file: &Building) -> Result<Vec<u8>, IndexFault> {
    let hashes = hashes(file)?;
    let mut filter = FilterBuilder::new(hashes.count_all());
    let mut out = Vec::with_capacity(filter.filter_len() as usize);
    for hash in hashes {
        filter.push(hash?, &mut out);
    }
    filter.finish(&mut out);
    Ok(out)
}

/// Labels while they are written.
#[derive(Default)]
struct Labels {
    count: u32,
    heap: Vec<u8>,
    table: TableBuilder,
    bitmaps: Vec<u8>,
}

impl Labels {
    fn put(&mut self, out: &mut Vec<u8>, kind: &str, names: &Interner, events: &Grouped, hash: fn(&str) -> KeyHash) {
        for label in names.sorted() {
            let numbers = events.of(label);
            let (place, len) = match numbers {
                [] => continue,
                [number] => (u64::from(*number), 0),
                _ => self.put_bitmap(numbers),
            };
            let name = names.name(label);
            wire::put_u64(out, put_name(&mut self.heap, &[kind, name]));
            wire::put_u64(out, place);
            wire::put_u32(out, len);
            wire::put_u32(out, numbers.len() as u32);
            self.table.push(hash(name), self.count);
            self.count += 1;
        }
    }

    /// Where the bitmap of these numbers, which ascend, begins, and how long it is.
    fn put_bitmap(&mut self, numbers: &[u32]) -> (u64, u32) {
        let mut bitmap = RoaringBitmap::from_sorted_iter(numbers.iter().copied()).expect("numbers ascend");
        bitmap.optimize();
        let place = self.bitmaps.len();
        bitmap.serialize_into(&mut self.bitmaps).expect("memory takes every byte");
        (place as u64, (self.bitmaps.len() - place) as u32)
    }
}

/// What belongs to each of so many names, in the order in which it comes.
fn grouped(pairs: impl Iterator<Item = (u32, u32)> + Clone, names: usize) -> Grouped {
    let mut ends = vec![0; names];
    for (name, _) in pairs.clone() {
        ends[name as usize] += 1;
    }
    let mut end = 0;
    for slot in &mut ends {
        // The start of the name for now; it moves to the end with each value.
        let count = std::mem::replace(slot, end);
        end += count;
    }
    let mut values = vec![0; end];
    for (name, value) in pairs {
        let slot = &mut ends[name as usize];
        values[*slot] = value;
        *slot += 1;
    }
    Grouped { ends, values }
}

struct Grouped {
    /// Where the values of each name end.
    ends: Vec<usize>,
    values: Vec<u32>,
}

impl Grouped {
    fn of(&self, name: u32) -> &[u32] {
        let name = name as usize;
        let start = name.checked_sub(1).map_or(0, |before| self.ends[before]);
        &self.values[start..self.ends[name]]
    }
}

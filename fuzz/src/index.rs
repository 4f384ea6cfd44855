//! The index of a segment: answers against a naive reader, and any bytes against panics.
//!
//! The input is a script. It writes a segment, whose index must say of every
//! stream, label, id, key and source exactly what a reader finds who remembers
//! everything. Then it changes bytes of the index and makes every checksum good
//! again. Whatever comes of that:
//!
//! - nothing panics, and nothing takes long;
//! - what is answered is possible: event numbers are those of events, names
//!   begin as they were asked to, hashes ascend;
//! - a filter says what its bits say, read once more without the code under test.
//!
//! The input is read as an index and as a merged filter, too, as it is.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::sync::LazyLock;

use annals_codec::index::{
    self, DIRECTORY_LEN, Directory, Filter, IndexBuilder, IndexIdentity, KeyHash, Label, LevelHeader, LevelIdentity,
    LevelWriter, Section, Sections, WholeIndex,
};
use annals_codec::scan;
use annals_codec::{
    EventId, IdMaker, Position, RoaringBitmap, Seed, SegmentHeader, SegmentNumber, Tag, Tracking, push_tag,
};

use crate::letter;
use crate::script::Script;
use crate::testing::{Parts, Writer, header};

/// Runs the script, and asks the index that comes of it.
pub fn check(input: &[u8]) {
    if let Ok(index) = WholeIndex::read(input) {
        ask(&index);
    }
    let _ = LevelHeader::decode(input, input.len() as u64).map(|header| header.is_good(input));
    check_filter(input);

    let mut script = Script::new(input);
    let (writer, facts) = script.segment();
    let mut file = index_of(&writer);
    let index = WholeIndex::read(&file).expect("what was just made is an index");
    compare(&index, &facts);
    ask(&index);
    for at in 0..2 {
        script.distort(&mut file);
        let Some(directory) = with_good_checksums(&mut file) else { return };
        let index = WholeIndex::read(&file).unwrap_or_else(|fault| panic!("{fault}, {at}: {directory:?}"));
        ask(&index);
    }
}

/// Few names, some the beginning of others. The texts of a marker in a test live for ever.
static NAMES: LazyLock<Vec<String>> = LazyLock::new(|| {
    let name = |byte: usize| {
        let stem = ["a", "ab", "order-", "\u{e9}", "z\u{10FFFF}"][byte % 5];
        stem.repeat(byte / 5 % 4 + 1) + &"7".repeat(byte / 20 % 7)
    };
    (0..256).map(name).collect()
});

impl Script<'_> {
    fn name(&mut self) -> &'static str {
        &NAMES[usize::from(self.byte())]
    }

    fn segment(&mut self) -> (Writer, Facts) {
        let base = Position::new(u64::from(self.byte()) << (self.byte() % 50));
        let mut writer = Writer::new(SegmentHeader { base, number: SegmentNumber::new(3), ..header() });
        let (mut facts, mut versions) = (Facts::default(), BTreeMap::new());
        for _ in 0..64 {
            let what = self.byte();
            if what == 0 {
                break;
            }
            let mut parts = Vec::new();
            for _ in 0..what % 4 {
                let position = writer.position.plus(1 + parts.len() as u64);
                parts.push(self.event(position, &mut versions, &mut facts));
            }
            let key = (what & 16 != 0).then(|| self.name());
            let source = (what & 32 != 0).then(|| (self.name(), u64::from(self.byte())));
            writer.batch_with(&parts, |commit| {
                commit.key = key;
                commit.tracking = source.map(|(source, upstream)| Tracking { source, upstream });
            });
            let marker = *writer.markers.last().expect("a batch has a marker");
            facts.keys.extend(key.map(|key| (key, marker)));
            facts.sources.extend(source);
        }
        for (number, &stream) in facts.streams.iter().enumerate() {
            facts.offsets.entry(stream).or_default().push(writer.offsets[number]);
        }
        (writer, facts)
    }

    fn event(&mut self, position: Position, versions: &mut BTreeMap<&'static str, u64>, facts: &mut Facts) -> Parts {
        let (stream, event_type, what) = (self.name(), self.name(), self.byte());
        let number = facts.streams.len() as u32;
        let version = versions.entry(stream).or_insert(u64::from(what));
        *version += 1;
        let id = match what % 4 {
            0 => EventId::from_bytes([self.byte(); 16]),
            1 => EventId::version_7(1, u16::from(self.byte()), u64::from(self.byte())),
            salt => IdMaker::new(u64::from(salt) << 60 | 0x5555).make(position, 7),
        };
        let mut parts = Parts { id: *id.as_bytes(), ..Parts::plain(*version, b"") };
        (parts.stream, parts.event_type) = (stream.to_owned(), event_type.to_owned());
        for _ in 0..what / 4 % 4 {
            let tag = self.name();
            push_tag(&mut parts.tags, &Tag::new(tag).expect("names of this script are short"));
            facts.tags.entry(tag).or_default().insert(number);
        }
        facts.types.entry(event_type).or_default().insert(number);
        facts.streams.push(stream);
        facts.ids.push(id);
        parts
    }

    /// Changes bytes of the file, most of them in a section that is chosen first: the small ones matter as much.
    fn distort(&mut self, file: &mut [u8]) {
        for _ in 0..=self.byte() % 8 {
            let section = usize::from(self.byte()) % (Section::ALL.len() + 1);
            let range = section_in(file, section).unwrap_or(0..file.len());
            let at = range.start + ((usize::from(self.byte()) << 8) | usize::from(self.byte())) % range.len();
            let byte = self.byte();
            match self.byte() % 3 {
                0 => file[at] = byte,
                1 => file[at] ^= 1 << (byte % 8),
                _ => file[at..].iter_mut().take(8).for_each(|slot| *slot = byte),
            }
        }
    }
}

/// Where a section lies, by the lengths in the directory; `None` when it is empty, or none.
fn section_in(file: &[u8], section: usize) -> Option<Range<usize>> {
    let len = |number: usize| usize::try_from(letter::number(file, 64 + number * 16, 8)).ok();
    let (mut start, mut number) = (DIRECTORY_LEN, 0);
    while number < section {
        start = start.checked_add(len(number)?)?;
        number += 1;
    }
    let end = start.checked_add(len(section).filter(|_| section < Section::ALL.len())?)?;
    (start < end && end <= file.len()).then_some(start..end)
}

/// What a reader knows who remembers everything.
#[derive(Default)]
struct Facts {
    /// The stream of each event.
    streams: Vec<&'static str>,
    offsets: BTreeMap<&'static str, Vec<u32>>,
    types: BTreeMap<&'static str, RoaringBitmap>,
    tags: BTreeMap<&'static str, RoaringBitmap>,
    ids: Vec<EventId>,
    keys: Vec<(&'static str, u64)>,
    sources: BTreeMap<&'static str, u64>,
}

fn index_of(writer: &Writer) -> Vec<u8> {
    let mut builder = IndexBuilder::new(writer.header.base);
    let mut source = &writer.bytes[..];
    let Ok(_) = scan::scan(&mut source, writer.seed, scan::first_tail(&writer.header), &mut builder);
    builder.finish(IndexIdentity {
        log_id: writer.header.log_id,
        segment: writer.header.number,
        base: writer.header.base,
        seed: writer.seed,
        segment_len: writer.end(),
        events: writer.offsets.len() as u32,
        chain: writer.chain,
    })
}

fn compare(whole: &WholeIndex<'_>, facts: &Facts) {
    let mut streams = BTreeMap::new();
    index::for_each_stream(whole, "", &mut |name, entry| {
        let mut offsets = Vec::new();
        index::offsets(whole, &entry, 0..entry.events, &mut offsets).unwrap();
        assert_eq!(index::find_stream(whole, name), Ok(Some(entry)));
        streams.insert(name.to_owned(), offsets);
    })
    .unwrap();
    assert!(
        streams
            .iter()
            .map(|(name, offsets)| (&**name, offsets))
            .eq(facts.offsets.iter().map(|(&name, offsets)| (name, offsets)))
    );

    let mut labels = BTreeSet::new();
    for (name, numbers) in &facts.types {
        assert_eq!(index::labelled(whole, Label::Type(name)).as_ref(), Ok(numbers));
        labels.insert(format!("{:?} {}", Label::Type(name), numbers.len()));
        let begin_so = facts.types.iter().filter(|(other, _)| other.starts_with(name));
        let all = begin_so.fold(RoaringBitmap::new(), |all, (_, numbers)| all | numbers);
        assert_eq!(index::labelled(whole, Label::TypePrefix(name)), Ok(all));
    }
    for (name, numbers) in &facts.tags {
        assert_eq!(index::labelled(whole, Label::Tag(name)).as_ref(), Ok(numbers));
        labels.insert(format!("{:?} {}", Label::Tag(name), numbers.len()));
    }
    let mut found = BTreeSet::new();
    index::for_each_label(whole, &mut |label, events| _ = found.insert(format!("{label:?} {events}"))).unwrap();
    assert_eq!(found, labels);

    for (number, &id) in (0..).zip(&facts.ids) {
        let mut is_found = false;
        index::candidates_of_id(whole, id, &mut |candidate| is_found |= candidate == number).unwrap();
        assert!(is_found, "event {number}");
    }
    for (key, marker) in &facts.keys {
        let mut is_found = false;
        index::markers_of_key(whole, key, &mut |candidate| is_found |= candidate == *marker).unwrap();
        assert!(is_found, "{key}");
        assert_eq!(index::may_hold(whole, KeyHash::key(key)), Ok(true));
    }
    let mut sources = BTreeMap::new();
    index::for_each_source(whole, &mut |name, upstream| {
        assert_eq!(index::tracking(whole, name), Ok(Some(upstream)));
        sources.insert(name.to_owned(), upstream);
    })
    .unwrap();
    assert!(sources.iter().map(|(name, at)| (&**name, at)).eq(facts.sources.iter().map(|(&name, at)| (name, at))));
    assert!(index::hashes(whole).unwrap().all(|hash| index::may_hold(whole, hash.unwrap()).unwrap()));
}

/// Asks for everything that the index says it has, and for what it has not.
fn ask(whole: &WholeIndex<'_>) {
    let events = whole.identity().events;
    for prefix in ["", "a", "ab", "order-", "z\u{10FFFF}"] {
        let mut streams = Vec::new();
        let is_whole =
            index::for_each_stream(whole, prefix, &mut |name, entry| streams.push((name.to_owned(), entry))).is_ok();
        assert!(streams.iter().all(|(name, _)| name.starts_with(prefix)));
        let strangers = NAMES[..20].iter().filter(|name| name.starts_with(prefix));
        for name in streams.iter().map(|(name, _)| name).take(50).chain(strangers) {
            let Ok(Some(entry)) = index::find_stream(whole, name) else { continue };
            let is_listed = streams.iter().any(|(other, listed)| (other, *listed) == (name, entry));
            // Names out of their order hide from a search for a prefix, and one that is no name ends it.
            assert!(is_listed || !is_whole || !prefix.is_empty(), "{name}: {entry:?} is another stream's");
            let mut offsets = Vec::new();
            if index::offsets(whole, &entry, 0..u64::MAX, &mut offsets).is_ok() {
                assert!(offsets.len() as u64 == entry.events && entry.events <= u64::from(events));
            }
        }
        if let Ok(numbers) = index::labelled(whole, Label::TypePrefix(prefix)) {
            assert!(numbers.max() < Some(events));
        }
    }
    let mut labels = Vec::new();
    let is_whole = index::for_each_label(whole, &mut |label, events| {
        labels.push(match label {
            Label::Tag(name) => (true, name.to_owned(), events),
            Label::Type(name) | Label::TypePrefix(name) => (false, name.to_owned(), events),
        });
    })
    .is_ok();
    let strangers = NAMES[..20].iter().flat_map(|name| [(true, name), (false, name)]);
    for (is_tag, name) in labels.iter().map(|(is_tag, name, _)| (*is_tag, name)).take(50).chain(strangers) {
        let label = if is_tag { Label::Tag(name) } else { Label::Type(name) };
        if let Ok(numbers) = index::labelled(whole, label) {
            assert!(numbers.max() < Some(events));
            let is_listed =
                labels.iter().any(|(tag, other, events)| (*tag, other, *events) == (is_tag, name, numbers.len()));
            assert!(is_listed || !is_whole || numbers.is_empty(), "{name}: {numbers:?} are another label's");
        }
    }
    let mut runs = Vec::new();
    let _ = index::for_each_made_run(whole, &mut |maker, first, last| runs.push((maker, first, last)));
    for (maker, first, last) in runs.into_iter().take(50) {
        assert!(first <= last && last.get() - whole.identity().base.get() <= u64::from(events));
        let _ = index::candidates_of_id(whole, maker.make(last, 0), &mut |number| assert!(number < events));
    }
    let _ = index::candidates_of_id(whole, EventId::from_bytes([0; 16]), &mut |number| assert!(number < events));
    let _ = index::markers_of_key(whole, "a", &mut |_| {});
    let _ = index::tracking(whole, "a");
    let _ = index::for_each_source(whole, &mut |_, _| {});
    if let Ok(hashes) = index::hashes(whole) {
        let identity =
            LevelIdentity { log_id: whole.identity().log_id, level: 1, first: SegmentNumber::FIRST, segments: 1 };
        let (mut writer, mut filter, mut last) = (LevelWriter::new(identity, hashes.count_all()), Vec::new(), None);
        for hash in hashes.map_while(Result::ok) {
            assert!(last <= Some(hash));
            last = Some(hash);
            writer.push(hash, &mut filter);
        }
        let header = writer.finish(&mut filter);
        assert!(header.is_good(&filter));
        assert!(last.is_none_or(|hash| Filter::read(&filter).unwrap().may_hold(hash)));
    }
    if let Ok(filter) = whole.section(Section::Filter) {
        check_filter(filter);
    }
}

/// The input as a filter, read by the letter of FORMAT.md.
fn check_filter(bytes: &[u8]) {
    const SALTS: [u32; 8] =
        [0x47b6137b, 0x44974d91, 0x8824ad5b, 0xa2b7289d, 0x705495c7, 0x2df1424b, 0x9efc4947, 0x5c6bfb31];
    let Ok(filter) = Filter::read(bytes) else {
        return assert!(bytes.is_empty() || !bytes.len().is_multiple_of(32));
    };
    for name in ["", "a", "ab", "order-777"] {
        let hash = KeyHash::stream(name);
        let block = ((u64::from(hash.get()) * (bytes.len() as u64 / 32)) >> 32) as usize;
        let mut mixed = hash.get();
        for (shift, factor) in [(16, 0x85eb_ca6b_u32), (13, 0xc2b2_ae35), (16, 1)] {
            mixed = (mixed ^ (mixed >> shift)).wrapping_mul(factor);
        }
        let is_set = |(word, salt): (usize, u32)| {
            let bit = mixed.wrapping_mul(salt) >> 27;
            bytes[block * 32 + word * 4 + bit as usize / 8] & 1 << (bit % 8) != 0
        };
        assert_eq!(filter.may_hold(hash), SALTS.into_iter().enumerate().all(is_set), "{name}");
    }
}

/// Makes the checksums of an index good, as far as its directory tells where they
/// are; `None` when it is none whatever the checksums.
fn with_good_checksums(file: &mut [u8]) -> Option<Directory> {
    let seed = Seed::new(u32::from_le_bytes(file[56..60].try_into().ok()?));
    let mut start = DIRECTORY_LEN as u64;
    for number in 0..Section::ALL.len() {
        let at = 64 + number * 16;
        let len = u64::from_le_bytes(file[at..at + 8].try_into().ok()?);
        let end = start.checked_add(len)?;
        let crc = seed.checksum(file.get(usize::try_from(start).ok()?..usize::try_from(end).ok()?)?);
        file[at + 8..at + 12].copy_from_slice(&crc.to_le_bytes());
        start = end;
    }
    let crc = Seed::new(0).checksum(&file[..DIRECTORY_LEN - 4]);
    file[DIRECTORY_LEN - 4..DIRECTORY_LEN].copy_from_slice(&crc.to_le_bytes());
    Directory::decode(file, file.len() as u64).ok()
}

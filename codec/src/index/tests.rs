use std::collections::{BTreeMap, BTreeSet};

use super::*;
use crate::event::push_tag;
use crate::ids::{EventId, StreamVersion};
use crate::made::IdMaker;
use crate::name::Tag;
use crate::scan::{self, Sink as _};
use crate::segment::SegmentHeader;
use crate::testing::{Parts, Rng, Writer, each, for_each_flip, header, rounds};
use crate::{Commit, RoaringBitmap, Tracking};

/// What a naive reader knows of a segment.
#[derive(Debug, Default)]
struct Facts {
    events: Vec<Fact>,
    /// Key and offset of the marker.
    keys: Vec<(String, u64)>,
    tracking: BTreeMap<String, u64>,
}

#[derive(Clone, Debug)]
struct Fact {
    offset: u32,
    stream: String,
    version: u64,
    event_type: String,
    tags: BTreeSet<String>,
    id: EventId,
}

/// A random segment, and what is in it.
fn segment(seed: u64, batches: usize) -> (Writer, Facts) {
    let mut rng = Rng::new(seed);
    let base = if rng.chance() { Position::START } else { Position::new(rng.next() >> 8) };
    let mut writer = Writer::new(SegmentHeader { base, number: SegmentNumber::new(seed), ..header() });
    let maker = IdMaker::new(rng.next());
    let mut versions = BTreeMap::new();
    let mut facts = Facts::default();
    for _ in 0..batches {
        let mut parts = Vec::new();
        for n in 0..=rng.below(4) as u64 {
            let event = random_event(&mut rng, maker, writer.position.plus(1 + n), &mut versions);
            facts.events.push(Fact { id: EventId::from_bytes(event.1.id), ..event.0 });
            parts.push(event.1);
        }
        let key = (rng.below(3) == 0).then(|| &*format!("request-{}", rng.below(batches)).leak());
        let source = (rng.below(3) == 0).then(|| ["shop", "shop-2", "bank"][rng.below(3)]);
        let upstream = rng.next();
        if rng.below(5) == 0 {
            parts.clear();
            facts.events.truncate(writer.offsets.len());
            versions = facts.events.iter().map(|fact| (fact.stream.clone(), fact.version)).collect();
        }
        writer.batch_with(&parts, |commit| {
            commit.key = key;
            commit.tracking = source.map(|source| Tracking { source, upstream });
        });
        let marker = *writer.markers.last().unwrap();
        facts.keys.extend(key.map(|key| (key.to_owned(), marker)));
        facts.tracking.extend(source.map(|source| (source.to_owned(), upstream)));
    }
    for (fact, &offset) in facts.events.iter_mut().zip(&writer.offsets) {
        fact.offset = offset;
    }
    writer.seal();
    (writer, facts)
}

fn random_event(
    rng: &mut Rng,
    maker: IdMaker,
    position: Position,
    versions: &mut BTreeMap<String, u64>,
) -> (Fact, Parts) {
    let stream = match rng.below(4) {
        0 => format!("order-{}", rng.below(1_000)),
        1 => format!("order-{}", rng.below(3)),
        2 => ["o", "order", "orders", "ordér-1", "z\u{10FFFF}", "\u{1}"][rng.below(6)].to_owned(),
        _ => "s".repeat(1 + rng.below(512)),
    };
    let event_type = ["Placed", "PlacedTwice", "Paid", "P", "Zoo", "\u{10FFFF}"][rng.below(6)].to_owned();
    let given = [0, 1, rng.below(50), 200][rng.below(4)];
    let (mut tags, mut tag_set) = (Vec::new(), BTreeSet::new());
    for _ in 0..rng.below(5) {
        // Some are there twice, some are the names of types.
        let tag = ["Placed".to_owned(), format!("customer:{}", rng.below(40)), format!("unique:{position}")]
            [rng.below(3)]
        .clone();
        push_tag(&mut tags, &Tag::new(&tag).unwrap());
        tag_set.insert(tag);
    }
    let id = match rng.below(6) {
        0 => EventId::from_bytes([given as u8; 16]),
        1 => EventId::version_7(rng.next(), rng.next() as u16, rng.next()),
        // As in a copy of another log: recorded here at another time.
        2 => maker.make(position, rng.next() >> 16),
        _ => maker.make(position, 0),
    };
    let before = versions.get(&stream).copied();
    let version = before.map_or(1 + rng.next() % 1_000, |before| before + 1);
    versions.insert(stream.clone(), version);
    let fact = Fact { offset: 0, stream: stream.clone(), version, event_type: event_type.clone(), tags: tag_set, id };
    let parts = Parts { id: *id.as_bytes(), version, stream, event_type, tags, ..Parts::plain(1, b"data") };
    (fact, parts)
}

fn identity_of(writer: &Writer) -> IndexIdentity {
    IndexIdentity {
        log_id: writer.header.log_id,
        segment: writer.header.number,
        base: writer.header.base,
        seed: writer.seed,
        segment_len: writer.end(),
        events: writer.offsets.len() as u32,
        chain: writer.chain,
    }
}

fn index_of(writer: &Writer) -> Vec<u8> {
    let mut builder = IndexBuilder::new(writer.header.base);
    let mut source = &writer.bytes[..];
    let Ok(_) = scan::scan(&mut source, writer.seed, scan::first_tail(&writer.header), &mut builder);
    builder.finish(identity_of(writer))
}

fn check_streams(index: &WholeIndex<'_>, facts: &Facts) {
    let mut naive: BTreeMap<&str, Vec<&Fact>> = BTreeMap::new();
    for fact in &facts.events {
        naive.entry(&fact.stream).or_default().push(fact);
    }
    for (&name, events) in &naive {
        let entry = find_stream(index, name).unwrap().unwrap();
        let versions = (StreamVersion::new(events[0].version), StreamVersion::new(events[events.len() - 1].version));
        assert_eq!((entry.first, entry.last, entry.events), (versions.0, versions.1, events.len() as u64), "{name}");
        let all = events.iter().map(|fact| fact.offset).collect::<Vec<_>>();
        let len = all.len() as u64;
        for range in
            [0..len, 0..1, 1..len, len..u64::MAX, 0..u64::MAX, u64::MAX - 1..u64::MAX, len / 2..len / 2, len..0]
        {
            let mut found = vec![7];
            offsets(index, &entry, range.clone(), &mut found).unwrap();
            let clip = |end: u64| end.min(len) as usize;
            let expected = all.get(clip(range.start)..clip(range.end)).unwrap_or_default();
            assert_eq!((found[0], &found[1..]), (7, expected), "{name} {range:?}");
        }
    }
    for unknown in ["", "order-", "order-1000", "orders!", "nothing"] {
        assert_eq!(find_stream(index, unknown), Ok(None), "{unknown}");
    }
    for prefix in [
        "",
        "o",
        "order",
        "order-",
        "order-1",
        "order-2",
        "ord\u{e9}",
        "s",
        "sss",
        "z",
        "z\u{10FFFF}",
        "\u{10FFFF}",
        "nothing",
    ] {
        let mut found = Vec::new();
        for_each_stream(index, prefix, &mut |name, entry| found.push((name.to_owned(), entry))).unwrap();
        let expected = naive.keys().filter(|name| name.starts_with(prefix)).collect::<Vec<_>>();
        assert!(found.iter().map(|(name, _)| name).eq(expected), "prefix {prefix:?}");
        for (name, entry) in found {
            assert_eq!(find_stream(index, &name), Ok(Some(entry)));
        }
    }
}

fn numbers_where(facts: &Facts, is_wanted: impl Fn(&Fact) -> bool) -> RoaringBitmap {
    (0..).zip(&facts.events).filter(|(_, fact)| is_wanted(fact)).map(|(number, _)| number).collect()
}

fn check_labels(index: &WholeIndex<'_>, facts: &Facts) {
    for name in ["", "P", "Pl", "Placed", "PlacedTwice", "Paid", "Zoo", "\u{10FFFF}", "nothing", "customer:1"] {
        let exact = numbers_where(facts, |fact| fact.event_type == name);
        assert_eq!(labelled(index, Label::Type(name)), Ok(exact), "type {name}");
        let prefixed = numbers_where(facts, |fact| fact.event_type.starts_with(name));
        assert_eq!(labelled(index, Label::TypePrefix(name)), Ok(prefixed), "types {name}");
    }
    let types = facts.events.iter().map(|fact| Label::Type(&fact.event_type));
    let tags = facts.events.iter().flat_map(|fact| &fact.tags).map(|tag| Label::Tag(tag));
    let all = types.chain(tags).collect::<BTreeSet<_>>();
    let mut found = Vec::new();
    for_each_label(index, &mut |label, events| {
        assert_eq!(labelled(index, label).unwrap().len(), events, "{label:?}");
        found.push(format!("{label:?}"));
    })
    .unwrap();
    assert!(found.iter().eq(all.iter().map(|label| format!("{label:?}")).collect::<Vec<_>>().iter()));
    for &label in &all {
        let Label::Tag(tag) = label else { continue };
        assert_eq!(labelled(index, label), Ok(numbers_where(facts, |fact| fact.tags.contains(tag))), "{tag}");
    }
    for unknown in ["", "customer", "Paid", "unique:0"] {
        assert_eq!(labelled(index, Label::Tag(unknown)), Ok(RoaringBitmap::new()), "{unknown}");
    }
}

fn check_ids_keys_and_sources(index: &WholeIndex<'_>, facts: &Facts) {
    for (number, fact) in (0..).zip(&facts.events) {
        let mut found = Vec::new();
        candidates_of_id(index, fact.id, &mut |candidate| found.push(candidate)).unwrap();
        assert!(found.contains(&number), "{number}: {found:?}");
    }
    let mut strangers = 0;
    let mut rng = Rng::new(1 << 40);
    for _ in 0..rounds(2_000) {
        let id = EventId::version_7(rng.next(), rng.next() as u16, rng.next());
        candidates_of_id(index, id, &mut |_| strangers += 1).unwrap();
    }
    assert!(strangers < 2, "{strangers} candidates for ids that are not there");
    for (key, marker) in &facts.keys {
        let mut found = Vec::new();
        markers_of_key(index, key, &mut |marker| found.push(marker)).unwrap();
        assert!(found.contains(marker), "{key}");
        let same = facts.keys.iter().filter(|(other, _)| other == key).count();
        assert_eq!(found.len(), same, "{key}");
    }
    markers_of_key(index, "unknown", &mut |marker| panic!("{marker}")).unwrap();
    for source in ["shop", "shop-2", "bank", "", "sho", "shop-3", "zoo"] {
        assert_eq!(tracking(index, source), Ok(facts.tracking.get(source).copied()), "{source}");
    }
}

fn check_hashes(index: &WholeIndex<'_>, facts: &Facts) {
    let all = hashes(index).unwrap();
    let count = all.count_all();
    let all = all.collect::<Result<Vec<_>, _>>().unwrap();
    assert_eq!(all.len() as u64, count);
    assert!(all.is_sorted());
    let mut known = BTreeSet::new();
    for fact in &facts.events {
        known.extend([KeyHash::stream(&fact.stream), KeyHash::event_type(&fact.event_type)]);
        known.extend(fact.tags.iter().map(|tag| KeyHash::tag(tag)));
    }
    known.extend(facts.keys.iter().map(|(key, _)| KeyHash::key(key)));
    known.extend(facts.tracking.keys().map(|source| KeyHash::source(source)));
    let (mut made, mut given) = (Vec::new(), BTreeSet::new());
    for_each_made_run(index, &mut |maker, first, last| made.push((maker, first, last))).unwrap();
    assert!(made.iter().all(|(_, first, last)| first < last), "a run of one takes more room than its id");
    for fact in &facts.events {
        let is_made = made.iter().any(|(maker, first, last)| {
            maker.position_of(fact.id).is_some_and(|position| (first..=last).contains(&&position))
        });
        // All of them were recorded in the first millisecond of 1970.
        if !is_made || fact.id.unix_millis() != Some(0) {
            given.insert(KeyHash::id(fact.id));
        }
    }
    known.extend(&given);
    assert_eq!(all.iter().copied().collect::<BTreeSet<_>>(), known, "what is hashed, and nothing else");
    assert!(all.iter().all(|&hash| may_hold(index, hash).unwrap()));
}

fn check_segment(seed: u64, batches: usize) {
    let (writer, facts) = segment(seed, batches);
    let bytes = index_of(&writer);
    let index = WholeIndex::read(&bytes).unwrap();
    println!("seed {seed}, {batches} batches, {} events", facts.events.len());
    assert_eq!(*index.identity(), identity_of(&writer));
    check_streams(&index, &facts);
    check_labels(&index, &facts);
    check_ids_keys_and_sources(&index, &facts);
    check_hashes(&index, &facts);
    let mut sources = BTreeMap::new();
    for_each_source(&index, &mut |source, upstream| _ = sources.insert(source.to_owned(), upstream)).unwrap();
    assert_eq!(sources, facts.tracking);
}

#[test]
fn every_answer_is_that_of_a_naive_scan() {
    for seed in 0..rounds(60) {
        check_segment(seed, seed as usize);
    }
    check_segment(1_000, rounds(3_000));
}

#[test]
fn the_index_of_a_segment_without_events_answers_nothing() {
    check_segment(7, 0);
}

#[test]
fn two_builders_make_the_same_bytes_of_one_segment() {
    let (writer, _) = segment(3, 100);
    assert!(index_of(&writer) == index_of(&writer));
}

#[test]
fn any_flipped_bit_and_any_cut_is_noticed() {
    let (writer, _) = segment(5, 4);
    let bytes = index_of(&writer);
    assert!(bytes.len() < 4_000, "{}: small enough to try every bit", bytes.len());
    for_each_flip(&bytes, 0..bytes.len(), |bit, bytes| assert!(WholeIndex::read(bytes).is_err(), "bit {bit}"));
    for len in each(0..bytes.len()) {
        assert!(WholeIndex::read(&bytes[..len]).is_err(), "cut to {len}");
    }
    let longer = [&bytes[..], &[0; 8]].concat();
    assert_eq!(WholeIndex::read(&longer).map(drop), Err(IndexFault::Lengths));
}

#[test]
fn events_without_a_marker_are_in_no_index() {
    for seed in 0..rounds(40) {
        let (writer, _) = segment(seed, 1 + seed as usize / 3);
        let (end, marker) = (writer.ends[writer.ends.len() - 2], *writer.markers.last().unwrap());
        let whole = writer.offsets.iter().filter(|&&offset| u64::from(offset) * 8 < end).count() as u32;
        // The next event gets the number again that the first of those without a marker had, and has all their tags.
        let mut parts = Parts::plain(1, b"instead");
        let tags = (0..40).map(|n| format!("customer:{n}")).chain(["Placed".to_owned()]);
        tags.for_each(|tag| push_tag(&mut parts.tags, &Tag::new(&tag).unwrap()));
        let event = parts.event(writer.header.base.plus(u64::from(whole) + 1));

        let [cut_inside, cut_before] = [marker, end].map(|cut| {
            let mut builder = IndexBuilder::new(writer.header.base);
            let mut source = &writer.bytes[..cut as usize];
            let Ok(_) = scan::scan(&mut source, writer.seed, scan::first_tail(&writer.header), &mut builder);
            builder.event(end, &event);
            builder.commit(end + 1_000, &Commit::new(writer.epoch, event.position, 1));
            builder.finish(IndexIdentity { events: whole + 1, ..identity_of(&writer) })
        });
        assert!(cut_inside == cut_before, "seed {seed}");
    }
}

#[test]
#[should_panic(expected = "the segment that was scanned")]
fn an_index_is_not_made_in_the_name_of_another_segment() {
    let (writer, _) = segment(1, 3);
    let identity = identity_of(&writer);
    IndexBuilder::new(writer.header.base).finish(identity);
}

/// An index whose sections are whatever bytes.
struct Forged {
    identity: IndexIdentity,
    sections: Vec<Vec<u8>>,
}

impl Sections for Forged {
    type Error = IndexFault;

    fn identity(&self) -> &IndexIdentity {
        &self.identity
    }

    fn section(&self, section: Section) -> Result<&[u8], IndexFault> {
        Ok(&self.sections[section.index()])
    }
}

impl Forged {
    fn of(bytes: &[u8]) -> Forged {
        let index = WholeIndex::read(bytes).unwrap();
        let sections = Section::ALL.map(|section| index.section(section).unwrap().to_vec());
        Forged { identity: *index.identity(), sections: sections.to_vec() }
    }

    /// Whether no other entry has the same name, as it can be in forged ones.
    fn has_one_name(&self, wanted: Label<'_>) -> bool {
        let mut count = 0;
        let _ = for_each_label(self, &mut |label, _| count += u32::from(label == wanted));
        count == 1
    }

    fn distort(&mut self, rng: &mut Rng) {
        if rng.below(8) == 0 {
            self.identity.events = [0, 1, rng.next() as u32][rng.below(3)];
        }
        for _ in 0..=rng.below(5) {
            let section = &mut self.sections[rng.below(Section::ALL.len())];
            if section.is_empty() {
                continue;
            }
            let at = rng.below(section.len());
            match rng.below(6) {
                0 => section.truncate(at),
                1 => section[at] ^= 1 << rng.below(8),
                2 => section[at] = [0, 0xFF][rng.below(2)],
                3 => section[at..].iter_mut().take(8).for_each(|byte| *byte = 0xFF),
                4 => section[at..].iter_mut().take(8).for_each(|byte| *byte = rng.next() as u8),
                _ => section.rotate_left(at),
            }
        }
    }

    /// Asks everything; what is answered must at least be possible.
    fn ask(&self, facts: &Facts) {
        let events = self.identity.events;
        for fact in &facts.events {
            if let Ok(Some(entry)) = find_stream(self, &fact.stream) {
                let mut found = Vec::new();
                let answer = offsets(self, &entry, 0..u64::MAX, &mut found);
                assert!(answer.is_err() || found.len() as u64 == entry.events);
                assert!(answer.is_err() || entry.events <= u64::from(events), "padding is no posting");
            }
            for label in [Label::Type(&fact.event_type), Label::Tag(fact.tags.first().map_or("", |tag| tag))] {
                assert!(
                    labelled(self, label).is_ok_and(|numbers| numbers.max() < Some(events))
                        || labelled(self, label).is_err()
                );
            }
            let _ = candidates_of_id(self, fact.id, &mut |number| assert!(number < events));
            let _ = may_hold(self, KeyHash::stream(&fact.stream));
        }
        let _ = labelled(self, Label::TypePrefix("P")).map(|numbers| assert!(numbers.max() < Some(events)));
        let _ = for_each_stream(self, "o", &mut |name, entry| assert!(name.starts_with('o') && entry.events > 0));
        let _ = for_each_label(self, &mut |label, count| {
            if let Ok(numbers) = labelled(self, label) {
                // A table that is distorted finds nothing.
                let is_possible = numbers.is_empty() || numbers.len() == count || !self.has_one_name(label);
                assert!(is_possible, "{label:?}");
            }
        });
        let _ = for_each_made_run(self, &mut |_, first, last| assert!(first <= last));
        let _ = for_each_source(self, &mut |_, _| {});
        let _ = tracking(self, "shop");
        for (key, _) in &facts.keys {
            let _ = markers_of_key(self, key, &mut |_| {});
        }
        if let Ok(hashes) = hashes(self) {
            let count = hashes.count_all();
            let mut writer = LevelWriter::new(
                LevelIdentity { log_id: self.identity.log_id, level: 1, first: SegmentNumber::FIRST, segments: 0 },
                count,
            );
            hashes.map_while(Result::ok).for_each(|hash| writer.push(hash, &mut Vec::new()));
        }
    }
}

#[test]
fn no_content_makes_a_search_panic_or_say_what_cannot_be() {
    for seed in 0..rounds(40) {
        let (writer, facts) = segment(seed, 1 + seed as usize % 13);
        let bytes = index_of(&writer);
        let mut rng = Rng::new(seed);
        for _ in 0..rounds(60) {
            let mut forged = Forged::of(&bytes);
            forged.distort(&mut rng);
            forged.ask(&facts);
        }
    }
}

#[test]
#[cfg_attr(miri, ignore = "needs more than Miri does in a minute")]
fn what_every_event_has_takes_next_to_nothing() {
    let mut writer = Writer::new(header());
    let maker = IdMaker::new(9);
    let parts = (1..=10_000).map(|n| {
        let mut parts = Parts { stream: "s".to_owned(), ..Parts::plain(n, b"") };
        parts.id = *maker.make(Position::new(n), IdMaker::millis_of(parts.recorded_at)).as_bytes();
        push_tag(&mut parts.tags, &Tag::new("everywhere").unwrap());
        parts
    });
    writer.batch(&parts.collect::<Vec<_>>());
    writer.seal();
    let bytes = index_of(&writer);
    assert!(bytes.len() < 40_000 + 1_000, "{} bytes, of which four for each event", bytes.len());
    let index = WholeIndex::read(&bytes).unwrap();
    assert_eq!(labelled(&index, Label::Tag("everywhere")), Ok((0..10_000).collect()));
    let id = maker.make(Position::new(5_000), 0);
    candidates_of_id(&index, id, &mut |number| assert_eq!(number, 4_999)).unwrap();
}

/// Two names that one hash stands for.
fn with_one_hash(hash: impl Fn(&str) -> KeyHash) -> (String, String) {
    let mut seen = std::collections::HashMap::new();
    for n in 0.. {
        let name = format!("name-{n}");
        if let Some(other) = seen.insert(hash(&name), name.clone()) {
            return (other, name);
        }
    }
    unreachable!("there are only so many hashes")
}

#[test]
#[cfg_attr(miri, ignore = "needs more than Miri does in a minute")]
fn names_with_the_same_hash_are_told_apart() {
    let streams = with_one_hash(KeyHash::stream);
    let types = with_one_hash(KeyHash::event_type);
    let tags = with_one_hash(KeyHash::tag);
    for both in [false, true] {
        let mut writer = Writer::new(header());
        for (n, (stream, event_type, tag)) in [(&streams.0, &types.0, &tags.0), (&streams.1, &types.1, &tags.1)]
            .into_iter()
            .take(if both { 2 } else { 1 })
            .enumerate()
        {
            let (stream, event_type) = (stream.clone(), event_type.clone());
            let mut parts = Parts { stream, event_type, ..Parts::plain(n as u64 + 1, b"") };
            push_tag(&mut parts.tags, &Tag::new(tag).unwrap());
            writer.batch(&[parts]);
        }
        let bytes = index_of(&writer);
        let index = WholeIndex::read(&bytes).unwrap();
        let second = RoaringBitmap::from_iter(both.then_some(1));
        for (name, version) in [(&streams.0, Some(1)), (&streams.1, both.then_some(2))] {
            let first = find_stream(&index, name).unwrap().map(|entry| entry.first.get());
            assert_eq!(first, version, "{name}, both: {both}");
        }
        assert_eq!(labelled(&index, Label::Type(&types.0)), Ok([0].into_iter().collect()));
        assert_eq!(labelled(&index, Label::Type(&types.1)), Ok(second.clone()));
        assert_eq!(labelled(&index, Label::Tag(&tags.0)), Ok([0].into_iter().collect()));
        assert_eq!(labelled(&index, Label::Tag(&tags.1)), Ok(second));
    }
}

#[test]
fn a_run_of_made_ids_ends_with_the_last_event() {
    let (writer, _) = segment(9, 5);
    let mut forged = Forged::of(&index_of(&writer));
    let events = forged.identity.events;
    for (first, last, is_good) in
        [(0, events - 1, true), (events - 1, events - 1, true), (0, events, false), (1, 0, false)]
    {
        let mut run = vec![0; 16];
        wire::set_u32(&mut run, 8, first);
        wire::set_u32(&mut run, 12, last);
        forged.sections[Section::MadeIds.index()] = run;
        let fault = IndexFault::Content { section: Section::MadeIds };
        let expected = if is_good { Ok(()) } else { Err(fault) };
        assert_eq!(for_each_made_run(&forged, &mut |_, _, _| {}), expected, "{first} to {last}");
        assert_eq!(candidates_of_id(&forged, EventId::from_bytes([0; 16]), &mut |_| {}), expected, "{first} to {last}");
    }
}

/// The directory of a small index with some bytes replaced and a good checksum.
fn forged_directory(at: usize, bytes: &[u8]) -> Result<Directory, IndexFault> {
    let (writer, _) = segment(5, 4);
    let mut file = index_of(&writer);
    file[at..at + bytes.len()].copy_from_slice(bytes);
    let crc = crc32fast::hash(&file[..CRC_AT]);
    wire::set_u32(&mut file, CRC_AT, crc);
    Directory::decode(&file, file.len() as u64)
}

/// The directory of that index with the border behind a section moved by so many bytes.
fn with_moved_border(section: Section, by: i64) -> Result<Directory, IndexFault> {
    let at = SECTIONS_AT + section.index() * SECTION_LEN;
    let (writer, _) = segment(5, 4);
    let file = index_of(&writer);
    let mut places = file[at..at + SECTION_LEN + 8].to_vec();
    for (at, by) in [(0, by), (SECTION_LEN, -by)] {
        let len = wire::u64_at(&places, at).checked_add_signed(by).expect("both are long enough");
        wire::set_u64(&mut places, at, len);
    }
    forged_directory(at, &places)
}

#[test]
fn directories_that_no_builder_makes_are_refused_though_their_checksum_is_good() {
    assert!(forged_directory(0, &[]).is_ok());
    assert_eq!(forged_directory(0, b"\x89ANNSEG\n"), Err(IndexFault::Magic));
    assert_eq!(forged_directory(8, &[2]), Err(IndexFault::Version { major: 2, minor: 0 }));
    assert_eq!(forged_directory(10, &[1]), Err(IndexFault::Version { major: 1, minor: 1 }));
    assert_eq!(forged_directory(12, &[13]), Err(IndexFault::Field), "the number of sections");
    assert_eq!(forged_directory(32, &[0xFF; 8]), Err(IndexFault::Field), "the segment's number");
    assert_eq!(forged_directory(40, &[0xFF; 8]), Err(IndexFault::Field), "the base position");
    for section in Section::ALL {
        let at = SECTIONS_AT + section.index() * SECTION_LEN;
        for len in [&[0xFF; 8][..], &[1], &[4], &[0xF8, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0x7F], &[0, 0xFF]] {
            assert_eq!(forged_directory(at, len), Err(IndexFault::Lengths), "{section:?}, {len:?}");
        }
        assert_eq!(forged_directory(at + 12, &[1]), Err(IndexFault::Field), "{section:?}");
    }
    let filter = forged_directory(0, &[]).unwrap().place(Section::Filter);
    let len = (filter.end - filter.start).cast_signed();
    assert_eq!(with_moved_border(Section::SourceNames, len), Err(IndexFault::Lengths), "there is always a filter");
    for section in [Section::Streams, Section::Labels, Section::MadeIds, Section::Sources] {
        assert_eq!(with_moved_border(section, -8), Err(IndexFault::Lengths), "{section:?} ends with a whole entry");
    }
    assert!(with_moved_border(Section::StreamNames, -8).is_ok(), "checksums tell, lengths do not");
}

#[test]
fn the_same_content_has_another_checksum_in_the_index_of_another_segment() {
    let (writer, _) = segment(5, 4);
    let file = index_of(&writer);
    let mut builder = IndexBuilder::new(writer.header.base);
    let mut source = &writer.bytes[..];
    let Ok(_) = scan::scan(&mut source, writer.seed, scan::first_tail(&writer.header), &mut builder);
    let other = builder.finish(IndexIdentity { seed: Seed::new(writer.seed.get() ^ 1), ..identity_of(&writer) });
    let [one, two] = [&file, &other].map(|file| Directory::decode(file, file.len() as u64).unwrap());
    let mut differ = 0;
    for (one, two) in one.sections.iter().zip(&two.sections) {
        // Nothing is nothing, whatever its checksum begins with.
        assert!(one.len == two.len && (one.crc != two.crc || one.len == 0));
        differ += u32::from(one.crc != two.crc);
    }
    assert!(differ > 10);
}

use std::collections::{BTreeMap, BTreeSet};

use super::*;
use crate::event::push_tag;
use crate::ids::{EventId, StreamVersion};
use crate::made::IdMaker;
use crate::name::Tag;
use crate::scan;
use crate::segment::SegmentHeader;
use crate::testing::{Parts, Rng, Writer, for_each_flip, header};
use crate::{RoaringBitmap, Tracking};

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
    let id = match rng.below(4) {
        0 => EventId::from_bytes([given as u8; 16]),
        1 => EventId::version_7(rng.next(), rng.next() as u16, rng.next()),
        _ => maker.make(position, rng.next() >> 16),
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
    for _ in 0..2_000 {
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
    for fact in &facts.events {
        let is_made = made.iter().any(|(maker, first, last)| {
            maker.position_of(fact.id).is_some_and(|position| (first..=last).contains(&&position))
        });
        if !is_made {
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
}

#[test]
fn every_answer_is_that_of_a_naive_scan() {
    for seed in 0..60 {
        check_segment(seed, seed as usize);
    }
    check_segment(1_000, 3_000);
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
    for len in 0..bytes.len() {
        assert!(WholeIndex::read(&bytes[..len]).is_err(), "cut to {len}");
    }
    let longer = [&bytes[..], &[0; 8]].concat();
    assert_eq!(WholeIndex::read(&longer).map(drop), Err(IndexFault::Lengths));
}

//! Files of format version 1, kept for ever.
//!
//! `tests/golden` holds the bytes of a small store (`.hex`) and beside each file
//! what a reader makes of it (`.txt`). Two things are checked: that fixed inputs
//! still encode to exactly these bytes, and that these bytes still decode to
//! exactly these facts. `FORMAT.md` shows some of the same bytes; they are checked too.
//!
//! An index and a merged filter can be thrown away; they are kept here because
//! whoever changes them must give them another version.
//!
//! A `.hex` file has one row for each 16 bytes that are not all zero, and ends
//! with the length of the file: `xxd -r` style, readable in a diff.
//!
//! When a change is *meant* to alter them, which after the first release only a
//! new format version may do, write them anew and review the diff:
//!
//! ```text
//! ANNALS_BLESS=1 cargo test -p annals-codec --test golden
//! ```

#[path = "../src/testing.rs"]
#[allow(dead_code)]
mod testing;

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

use annals_codec::index::{
    self, IndexBuilder, IndexIdentity, KeyHash, LEVEL_HEADER_LEN, Label, LevelHeader, LevelIdentity, LevelWriter,
    Merge, Section, Sections, WholeIndex,
};
use annals_codec::merkle::{KeptTree, Peaks};
use annals_codec::scan::{self, Scan, Sink, Stop};
use annals_codec::{
    ArchivedSegment, ChainCheck, ChainPoint, Commit, ContentType, Digest, Epoch, Event, FLOOR_HEADER_LEN, Floor,
    FloorHeader, FloorKind, FloorRecord, FloorSection, FloorWriter, Hasher, IdMaker, LogId, META_FILE_LEN,
    META_SLOT_LEN, Position, RedactionMark, SEAL_LEN, SEGMENT_HEADER_LEN, Seed, SegmentHeader, SegmentNumber,
    StoreMeta, TRAILER_LEN, Tag, Tracking, WATERMARK_FILE_LEN, WATERMARK_SLOT_LEN, Watermark, chain_start,
    mark_redacted, push_tag, redact_frame,
};
use testing::{Parts, Writer};

const LOG: LogId = LogId::from_bytes(*b"\x01\x23\x45\x67\x89\xab\x7d\xef\x81\x23\x45\x67\x89\xab\xcd\xef");
/// 2026-01-02 03:04:05 UTC.
const START: i64 = 1_767_323_045_000_000_000;
const SECOND: i64 = 1_000_000_000;

fn event(n: u32, stream: &str, version: u64, event_type: &str, data: &[u8]) -> Parts {
    Parts {
        id: (0x0191_0000_0000_7000_8000_0000_0000_0000_u128 + u128::from(n)).to_be_bytes(),
        version,
        recorded_at: START + i64::from(n) * SECOND,
        stream: stream.to_owned(),
        event_type: event_type.to_owned(),
        data: data.to_vec(),
        ..Parts::default()
    }
}

/// An event with every optional part.
fn full(n: u32) -> Parts {
    let mut full = event(n, "order-7", 1, "OrderPlaced", br#"{"total":"9.90"}"#);
    full.occurred_at = Some(START - SECOND);
    full.correlation_id = Some([0xC0; 16]);
    full.causation_id = Some([0xCA; 16]);
    full.schema_version = 3;
    full.content_type = ContentType::JSON.number();
    full.metadata = Some(b"by tests".to_vec());
    for tag in ["customer:42", "express"] {
        push_tag(&mut full.tags, &Tag::new(tag).unwrap());
    }
    full
}

/// Segment 0: every optional part of events and markers, sealed.
fn sealed() -> Writer {
    let mut writer = Writer::new(SegmentHeader {
        log_id: LOG,
        number: SegmentNumber::FIRST,
        base: Position::START,
        epoch: Epoch::new(1),
        salt: *b"salt of number 0",
        created_at: START,
        predecessor_len: 0,
        chain: 0,
        chain_hash: None,
        redacted: None,
    });
    let mut empty = event(2, "order-7", 2, "OrderPaid", b"");
    empty.metadata = Some(Vec::new());
    writer.batch_with(&[full(1), empty], |commit| {
        commit.key = Some("request-1");
        commit.hash = Some(Digest::from_bytes([0x5A; 32]));
    });
    writer.sync();
    writer.batch_with(&[], |commit| commit.tracking = Some(Tracking { source: "shop", upstream: 77 }));
    writer.batch(&[event(3, "$audit", 1, "Checked", b"\x00\xFF")]);
    writer.seal();
    writer
}

/// Segment 1: what `FORMAT.md` shows, one more batch, and zeroed space.
fn active() -> Writer {
    let before = sealed();
    let mut writer = Writer::new(SegmentHeader {
        log_id: LOG,
        number: SegmentNumber::new(1),
        base: before.position,
        epoch: Epoch::new(2),
        salt: *b"salt of number 1",
        created_at: START + 100 * SECOND,
        predecessor_len: before.end(),
        chain: before.chain,
        chain_hash: None,
        redacted: None,
    });
    writer.batch(&[event(101, "note-1", 1, "Noted", b"hello")]);
    writer.sync();
    writer.batch(&[event(102, "note-1", 2, "Noted", b"again"), event(103, "note-2", 1, "Noted", b"and again")]);
    writer
}

/// A segment of format 1.1, whose markers carry the hash chain: the events of segment 0, and a batch without any.
fn hashed() -> Writer {
    let before = active();
    let mut writer = Writer::new(SegmentHeader {
        log_id: LOG,
        number: SegmentNumber::new(2),
        base: before.position,
        epoch: Epoch::new(3),
        salt: *b"salt of number 2",
        created_at: START + 300 * SECOND,
        predecessor_len: before.end(),
        chain: before.chain,
        chain_hash: Some(chain_start(LOG, before.position)),
        redacted: None,
    });
    writer.batch_with(&[full(1), event(2, "order-7", 2, "OrderPaid", b"")], |commit| commit.key = Some("request-1"));
    writer.sync();
    writer.batch_with(&[], |commit| commit.tracking = Some(Tracking { source: "shop", upstream: 77 }));
    writer.batch(&[event(3, "$audit", 1, "Checked", b"\x00\xFF")]);
    writer.seal();
    writer
}

/// That segment, and the payload digest of its first event, which is redacted in it.
fn redacted() -> (Vec<u8>, Digest) {
    let Writer { mut bytes, header, seed, .. } = hashed();
    let digest = redact_frame(&mut bytes[SEGMENT_HEADER_LEN..], seed).unwrap();
    mark_redacted(&mut bytes, RedactionMark::of([header.base.plus(1)]).unwrap());
    (bytes, digest)
}

/// Segment 2: what an index is made of. Ids that a store made and one that was given,
/// labels of one event and of several, a tag twice, keys, sources.
fn indexed() -> Writer {
    let before = active();
    let mut writer = Writer::new(SegmentHeader {
        log_id: LOG,
        number: SegmentNumber::new(2),
        base: before.position,
        epoch: Epoch::new(2),
        salt: *b"salt of number 2",
        created_at: START + 200 * SECOND,
        predecessor_len: before.end(),
        chain: before.chain,
        chain_hash: None,
        redacted: None,
    });
    let maker = IdMaker::new(0x0123_4567_89AB_CDEF);
    let tagged = |n: u32, stream, version, event_type, tags: &[&str]| {
        let mut parts = event(n, stream, version, event_type, b"");
        let position = Position::new(u64::from(n));
        parts.id = *maker.make(position, IdMaker::millis_of(parts.recorded_at)).as_bytes();
        for tag in tags {
            push_tag(&mut parts.tags, &Tag::new(tag).unwrap());
        }
        parts
    };
    let first = tagged(7, "order-7", 3, "OrderShipped", &["customer:42", "express"]);
    let mut given = tagged(8, "cart-1", 1, "CartOpened", &[]);
    given.id = *b"given by someone";
    writer.batch_with(&[first, given], |commit| commit.key = Some("request-2"));
    writer.batch_with(&[], |commit| commit.tracking = Some(Tracking { source: "shop", upstream: 78 }));
    let third = tagged(9, "order-7", 4, "OrderReturned", &["customer:42"]);
    let fourth = tagged(10, "order-8", 1, "OrderPlaced", &["customer:42", "customer:42"]);
    writer.batch_with(&[third, fourth], |commit| commit.tracking = Some(Tracking { source: "shop", upstream: 79 }));
    writer.batch_with(&[tagged(11, "cart-1", 2, "OrderPlaced", &[])], |commit| {
        commit.key = Some("request-3");
        commit.tracking = Some(Tracking { source: "bank", upstream: 5 });
    });
    writer.seal();
    writer
}

fn index_of(writer: &Writer) -> Vec<u8> {
    let mut builder = IndexBuilder::new(writer.header.base);
    let mut source = &writer.bytes[..];
    let Ok(_) = scan::scan(&mut source, writer.seed, scan::first_tail(&writer.header), &mut builder);
    builder.finish(IndexIdentity {
        log_id: LOG,
        segment: writer.header.number,
        base: writer.header.base,
        seed: writer.seed,
        segment_len: writer.end(),
        events: writer.offsets.len() as u32,
        chain: writer.chain,
    })
}

/// A filter over segments 0 to 2, as if they were sixteen.
fn level_file() -> Vec<u8> {
    let segments = [sealed(), active(), indexed()];
    let indexes = segments.each_ref().map(index_of);
    let indexes = indexes.each_ref().map(|bytes| WholeIndex::read(bytes).unwrap());
    let hashes = indexes.each_ref().map(|one| index::hashes(one).unwrap());
    let keys = hashes.iter().map(index::Hashes::count_all).sum();
    let digest = index::segments_digest(segments.iter().map(|segment| (segment.seed, segment.chain)));
    let identity = LevelIdentity { log_id: LOG, level: 1, first: SegmentNumber::FIRST, segments: digest };
    let mut writer = LevelWriter::new(identity, keys);
    let mut file = vec![0; LEVEL_HEADER_LEN];
    for hash in Merge::new(hashes) {
        writer.push(hash.unwrap(), &mut file);
    }
    let header = writer.finish(&mut file);
    file[..LEVEL_HEADER_LEN].copy_from_slice(&header.encode());
    file
}

fn active_file() -> Vec<u8> {
    let mut bytes = active().bytes;
    bytes.resize(bytes.len().next_multiple_of(512) + 512, 0);
    bytes
}

/// The last batch was being written when the power went: its second half never reached the disk.
fn torn_file() -> Vec<u8> {
    let mut bytes = active_file();
    let lost = active().ends[1] as usize + 120;
    bytes[lost..].fill(0);
    bytes
}

/// One bit of the first batch flipped, long after the second one said that it was on disk.
fn damaged_file() -> Vec<u8> {
    let mut bytes = active_file();
    let hello = active().ends[0] as usize + 72;
    assert_eq!(&bytes[hello..hello + 5], b"hello");
    bytes[hello] ^= 1;
    bytes
}

fn store_meta_file() -> Vec<u8> {
    let active = active();
    let meta = |sequence, epoch, active, active_base, active_seed| StoreMeta {
        sequence,
        log_id: LOG,
        created_at: START,
        epoch: Epoch::new(epoch),
        active: SegmentNumber::new(active),
        active_base,
        active_seed,
        floor: SegmentNumber::FIRST,
        floor_base: Position::START,
    };
    let mut file = vec![0; META_FILE_LEN];
    for meta in [meta(2, 1, 0, Position::START, sealed().seed), meta(3, 2, 1, active.header.base, active.seed)] {
        let at = meta.slot_offset() as usize;
        file[at..at + META_SLOT_LEN].copy_from_slice(&meta.encode());
    }
    file
}

fn watermark_file() -> Vec<u8> {
    let active = active();
    let watermark = |sequence, batches: usize, position| Watermark {
        log_id: LOG,
        sequence,
        epoch: Epoch::new(2),
        segment: SegmentNumber::new(1),
        offset: active.ends[batches],
        position: Position::new(position),
        floor: SegmentNumber::FIRST,
    };
    let mut file = vec![0; WATERMARK_FILE_LEN];
    for watermark in [watermark(8, 0, 3), watermark(9, 1, 4)] {
        let at = watermark.slot_offset() as usize;
        file[at..at + WATERMARK_SLOT_LEN].copy_from_slice(&watermark.encode());
    }
    file
}

/// Segments 0 and 1 were removed; somebody keeps a Merkle tree of three leaves.
fn floor_file() -> Vec<u8> {
    let (mut writer, mut file) = (FloorWriter::new(), vec![0; FLOOR_HEADER_LEN]);
    let streams = [("$audit", 1, 3), ("note-1", 2, 5), ("note-2", 1, 6), ("order-7", 2, 2)];
    for (name, value, position) in streams {
        let position = Position::new(position);
        assert!(writer.push(&FloorRecord { kind: FloorKind::Stream, name, value, position }, &mut file));
    }
    let shop = FloorRecord { kind: FloorKind::Source, name: "shop", value: 77, position: Position::START };
    assert!(writer.push(&shop, &mut file));
    let floor = Floor {
        log_id: LOG,
        segment: SegmentNumber::new(2),
        position: active().position,
        recorded_at: START + 103 * SECOND,
        written_at: START + 300 * SECOND,
        chain: active().chain,
        hash: Some((1, [0x5A; 32])),
    };
    let peaks = Peaks::from_parts(3, vec![Digest::from_bytes([0xA1; 32]), Digest::from_bytes([0xA2; 32])]).unwrap();
    let merkle = KeptTree::encode(&[KeptTree { position: floor.position, from: Position::START, peaks }]);
    let header = writer.finish(floor, &merkle, &mut file);
    file[..FLOOR_HEADER_LEN].copy_from_slice(&header.encode());
    file
}

// What a reader makes of the bytes.

struct Dump(String);

impl Sink for Dump {
    fn event(&mut self, offset: u64, event: &Event<'_>) {
        let Event { position, version, id, stream, event_type, recorded_at, .. } = event;
        let out = &mut self.0;
        writeln!(out, "{offset:5} EVENT {position}: {stream} {version} {event_type} {id} at {recorded_at}").unwrap();
        let mut also = |what: &str, value: String| writeln!(out, "      {what} {value}").unwrap();
        also("data", format!("\"{}\", content type {}", event.data.escape_ascii(), event.content_type.number()));
        if let Some(metadata) = event.metadata {
            also("metadata", format!("\"{}\"", metadata.escape_ascii()));
        }
        if event.schema_version != 0 {
            also("schema version", event.schema_version.to_string());
        }
        if let Some(occurred_at) = event.occurred_at {
            also("occurred at", occurred_at.to_string());
        }
        if let Some(id) = event.correlation_id {
            also("correlation id", id.to_string());
        }
        if let Some(id) = event.causation_id {
            also("causation id", id.to_string());
        }
        for tag in event.tags.iter() {
            also("tag", tag.to_owned());
        }
    }

    fn commit(&mut self, offset: u64, commit: &Commit<'_>) {
        let Commit { epoch, count, first, last, durable_offset, batch_bytes, chain, .. } = commit;
        let out = &mut self.0;
        writeln!(
            out,
            "{offset:5} COMMIT {count} from {first} to {last}, {batch_bytes} bytes, epoch {epoch}, \
             durable below {durable_offset}, chain {chain:08x}"
        )
        .unwrap();
        if let Some(hash) = commit.hash {
            writeln!(out, "      hash {hash}").unwrap();
        }
        if let Some(key) = commit.key {
            writeln!(out, "      key {key}").unwrap();
        }
        if let Some(Tracking { source, upstream }) = commit.tracking {
            writeln!(out, "      tracking {source} at {upstream}").unwrap();
        }
    }

    fn discard(&mut self) {
        writeln!(self.0, "      the events since the last marker do not exist").unwrap();
    }
}

fn dump_segment(bytes: &[u8]) -> String {
    let (header, seed) = SegmentHeader::decode(bytes).unwrap();
    let mut dump = Dump(format!("{header:?}\nseed {:08x}, {} bytes\n", seed.get(), bytes.len()));
    let mut source = bytes;
    let Ok(Scan { tail, totals, stop }) = scan::scan(&mut source, seed, scan::first_tail(&header), &mut dump);
    let watermark = Watermark::decode(&watermark_file()).filter(|watermark| watermark.segment == header.number);
    let offset = watermark.map_or(0, |watermark| watermark.offset);
    let scan = Scan { tail, totals, stop };
    let verdicts = (scan.verdict(0), scan.verdict(offset));
    let Scan { tail, totals, stop } = &scan;
    writeln!(dump.0, "{tail:?}\n{totals:?}").unwrap();
    match stop {
        Stop::End => writeln!(dump.0, "ends here"),
        Stop::Sealed(end) => writeln!(dump.0, "{end:?}"),
        Stop::Bad(bad) => writeln!(dump.0, "{bad:?}\n{}", bad.fault),
    }
    .unwrap();
    writeln!(dump.0, "by itself {:?}, with the watermark {:?}", verdicts.0, verdicts.1).unwrap();
    dump.0
}

fn dump_index(bytes: &[u8]) -> String {
    let whole = WholeIndex::read(bytes).unwrap();
    let mut out = format!("{:?}\n", whole.identity());
    for section in Section::ALL {
        let place = whole.directory().place(section);
        writeln!(out, "{:5}..{:<5} {section:?}", place.start, place.end).unwrap();
    }
    index::for_each_stream(&whole, "", &mut |name, entry| {
        let mut offsets = Vec::new();
        index::offsets(&whole, &entry, 0..u64::MAX, &mut offsets).unwrap();
        let hash = KeyHash::stream(name).get();
        writeln!(out, "stream {name} {hash:08x}: {} to {}, offsets/8 {offsets:?}", entry.first, entry.last).unwrap();
    })
    .unwrap();
    index::for_each_label(&whole, &mut |label, events| {
        let hash = match label {
            Label::Type(name) | Label::TypePrefix(name) => KeyHash::event_type(name),
            Label::Tag(name) => KeyHash::tag(name),
        };
        let numbers = index::labelled(&whole, label).unwrap().iter().collect::<Vec<_>>();
        writeln!(out, "{label:?} {:08x}: {events} events, {numbers:?}", hash.get()).unwrap();
    })
    .unwrap();
    index::for_each_made_run(&whole, &mut |maker, first, last| {
        writeln!(out, "ids made with salt {:016x} from {first} to {last}", maker.salt()).unwrap();
    })
    .unwrap();
    for parts in ["request-1", "request-2", "request-3"] {
        index::markers_of_key(&whole, parts, &mut |marker| writeln!(out, "key {parts} perhaps at {marker}").unwrap())
            .unwrap();
    }
    index::for_each_source(&whole, &mut |source, upstream| writeln!(out, "source {source} at {upstream}").unwrap())
        .unwrap();
    for hash in index::hashes(&whole).unwrap() {
        let hash = hash.unwrap();
        assert!(index::may_hold(&whole, hash).unwrap());
        writeln!(out, "hash {:08x}", hash.get()).unwrap();
    }
    out
}

fn dump_level(bytes: &[u8]) -> String {
    let header = LevelHeader::decode(bytes, bytes.len() as u64).unwrap();
    let filter = &bytes[LEVEL_HEADER_LEN..];
    assert!(header.is_good(filter));
    let filter = index::Filter::read(filter).unwrap();
    let mut out = format!("{header:?}\n");
    for stream in ["order-7", "order-8", "cart-1", "note-1", "note-2", "$audit", "nobody", "note-3"] {
        writeln!(out, "{stream}: {}", filter.may_hold(KeyHash::stream(stream))).unwrap();
    }
    out
}

fn dump_floor(bytes: &[u8]) -> String {
    let header = FloorHeader::decode(bytes, bytes.len() as u64).unwrap();
    header.check(bytes).unwrap();
    let mut out = format!("{:?}\n{} streams, {} sources\n", header.floor, header.streams, header.sources);
    let part = |section| {
        let place = header.place(section);
        &bytes[place.start as usize..place.end as usize]
    };
    for record in annals_codec::floor_records(part(FloorSection::Records)) {
        let FloorRecord { kind, name, value, position } = record.unwrap();
        let found =
            annals_codec::find_in_floor(part(FloorSection::Records), part(FloorSection::Table), kind, name).unwrap();
        assert_eq!(found.map(|found| found.value), Some(value));
        writeln!(out, "{kind:?} {name}: {value}, at {position}").unwrap();
    }
    writeln!(out, "merkle \"{}\"", part(FloorSection::Merkle).escape_ascii()).unwrap();
    out
}

// Files as text.

fn to_hex(bytes: &[u8]) -> String {
    let mut text = String::new();
    for (row, bytes) in bytes.chunks(16).enumerate().filter(|(_, row)| row.iter().any(|&byte| byte != 0)) {
        write!(text, "{:08x}:", row * 16).unwrap();
        for byte in bytes {
            write!(text, " {byte:02x}").unwrap();
        }
        text.push('\n');
    }
    writeln!(text, "{:08x}.", bytes.len()).unwrap();
    text
}

/// Reads rows of `offset: byte byte …`, with anything after two blanks a remark; other lines are passed over.
fn rows(text: &str) -> impl Iterator<Item = (usize, Vec<u8>)> {
    text.lines().filter_map(|line| {
        let (offset, bytes) = line.split_once(": ")?;
        let offset = usize::from_str_radix(offset, 16).ok()?;
        let bytes = bytes.split("  ").next()?.split_ascii_whitespace();
        Some((offset, bytes.map(|byte| u8::from_str_radix(byte, 16).unwrap()).collect()))
    })
}

fn from_hex(text: &str) -> Vec<u8> {
    let len = text.lines().last().and_then(|line| line.strip_suffix('.')).expect("the last line is the length");
    let mut bytes = vec![0; usize::from_str_radix(len, 16).unwrap()];
    for (offset, row) in rows(text) {
        bytes[offset..offset + row.len()].copy_from_slice(&row);
    }
    bytes
}

fn path(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(name)
}

fn check_text(name: &str, now: &str) -> String {
    if std::env::var_os("ANNALS_BLESS").is_some() {
        fs::write(path(name), now).unwrap();
    }
    let kept = fs::read_to_string(path(name)).unwrap();
    for (line, (kept, now)) in kept.lines().zip(now.lines()).enumerate() {
        assert_eq!(
            kept,
            now,
            "line {} of {name} (left) is not what it is now (right); see the head of this test",
            line + 1
        );
    }
    assert_eq!(kept.lines().count(), now.lines().count(), "the number of lines of {name}");
    kept
}

fn check_file(name: &str, bytes: &[u8], describe: impl Fn(&[u8]) -> String) {
    let kept = from_hex(&check_text(&format!("{name}.hex"), &to_hex(bytes)));
    assert!(kept == bytes, "{name}: the hex file says what it was written from");
    check_text(&format!("{name}.txt"), &describe(&kept));
}

#[test]
fn a_sealed_segment_of_version_1_stays_what_it_is() {
    check_file("sealed", &sealed().bytes, dump_segment);
}

#[test]
fn a_manifest_of_an_archived_segment_of_version_1_stays_what_it_is() {
    let bytes = sealed().bytes;
    let (header, seed) = SegmentHeader::decode(&bytes).unwrap();
    let Ok(found) = scan::scan(&mut &*bytes, seed, scan::first_tail(&header), &mut ());
    let Stop::Sealed(end) = found.stop else { panic!("{:?}", found.stop) };
    let seal = &bytes[end.seal_offset as usize..][..SEAL_LEN as usize];
    let trailer = &bytes[bytes.len() - TRAILER_LEN..];
    let archived = ArchivedSegment::new(&bytes, seal, trailer, Hasher::digest(&bytes), found.tail.hash).unwrap();
    let kept = check_text("archived.txt", &archived.encode());
    assert_eq!(ArchivedSegment::decode(kept.as_bytes()), Ok(archived));
}

#[test]
fn an_active_segment_of_version_1_stays_what_it_is() {
    check_file("active", &active_file(), dump_segment);
}

#[test]
fn a_torn_segment_of_version_1_is_judged_unfinished_for_ever() {
    check_file("torn", &torn_file(), dump_segment);
}

#[test]
fn a_damaged_segment_of_version_1_is_judged_damaged_for_ever() {
    check_file("damaged", &damaged_file(), dump_segment);
}

#[test]
fn a_segment_with_a_hash_chain_of_version_1_1_stays_what_it_is() {
    check_file("hashed", &hashed().bytes, |bytes| {
        let (header, seed) = SegmentHeader::decode(bytes).unwrap();
        let start = ChainPoint { position: header.base, hash: header.chain_hash.unwrap() };
        let (mut chain, mut source) = (ChainCheck::new(header.log_id, start), bytes);
        let Ok(_) = scan::scan(&mut source, seed, scan::first_tail(&header), &mut chain);
        format!("{}{:?}\n{:?}\n", dump_segment(bytes), chain.breaks(), chain.end())
    });
}

#[test]
fn a_segment_with_a_redacted_event_stays_what_it_is_and_its_chain_holds_with_the_digest_alone() {
    let (bytes, digest) = redacted();
    check_file("redacted", &bytes, |bytes| {
        let (header, seed) = SegmentHeader::decode(bytes).unwrap();
        let start = ChainPoint { position: header.base, hash: header.chain_hash.unwrap() };
        let check = |payloads| {
            let (mut chain, mut source) = (ChainCheck::new(header.log_id, start).knowing(payloads), bytes);
            let Ok(_) = scan::scan(&mut source, seed, scan::first_tail(&header), &mut chain);
            chain
        };
        let known = |digest| check([(header.base.plus(1), digest)].into());
        assert_eq!((known(digest).breaks().len(), known(digest).unknown()), (0, 0));
        assert_eq!(known(Digest::from_bytes([1; 32])).breaks().len(), 1, "another digest does not do");
        let unknown = check([].into());
        assert_eq!((unknown.breaks().len(), unknown.unknown()), (0, 1), "nothing can be said of that batch");
        format!("{}{digest}\n{:?}\n", dump_segment(bytes), known(digest).end())
    });
    assert_eq!((seed_of(&bytes), bytes.len()), (hashed().seed, hashed().bytes.len()));
}

fn seed_of(bytes: &[u8]) -> Seed {
    SegmentHeader::decode(bytes).unwrap().1
}

#[test]
fn store_meta_of_version_1_stays_what_it_is() {
    check_file("store.meta", &store_meta_file(), |bytes| format!("{:?}\n", StoreMeta::decode(bytes).unwrap()));
}

#[test]
fn a_watermark_of_version_1_stays_what_it_is() {
    check_file("WATERMARK", &watermark_file(), |bytes| format!("{:?}\n", Watermark::decode(bytes).unwrap()));
}

#[test]
fn a_floor_of_version_1_stays_what_it_is() {
    check_file("floor", &floor_file(), dump_floor);
}

#[test]
fn an_index_of_version_1_stays_what_it_is() {
    check_file("segment.idx", &index_of(&indexed()), dump_index);
}

#[test]
fn a_merged_filter_of_version_1_stays_what_it_is() {
    check_file("level.flt", &level_file(), dump_level);
}

#[test]
fn the_bytes_of_a_look_up_that_format_md_shows_are_those_of_the_index() {
    let text = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("FORMAT.md")).unwrap();
    let index = index_of(&indexed());
    let shown = text.lines().filter_map(|line| line.strip_prefix("idx ")).collect::<Vec<_>>().join("\n");
    for (offset, row) in rows(&shown) {
        assert_eq!(row, index[offset..offset + row.len()], "the row at {offset:x}");
    }
    assert_eq!(rows(&shown).count(), 6);
}

#[test]
fn the_bytes_that_format_md_shows_of_a_redacted_event_are_those_of_the_file() {
    let text = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("FORMAT.md")).unwrap();
    let (bytes, _) = redacted();
    let shown = text.lines().filter_map(|line| line.strip_prefix("redacted ")).collect::<Vec<_>>().join("\n");
    for (offset, row) in rows(&shown) {
        assert_eq!(row, bytes[offset..offset + row.len()], "the row at {offset:x}");
    }
    assert_eq!(rows(&shown).count(), 10);
}

#[test]
fn the_bytes_that_format_md_shows_are_those_of_the_active_segment() {
    let text = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("FORMAT.md")).unwrap();
    let writer = active();
    let mut shown = vec![false; writer.ends[1] as usize];
    for (offset, row) in rows(&text) {
        assert_eq!(row, writer.bytes[offset..offset + row.len()], "the row at {offset:x}");
        shown[offset..offset + row.len()].fill(true);
    }
    for (offset, byte) in writer.bytes[..shown.len()].iter().enumerate() {
        assert!(shown[offset] || *byte == 0, "FORMAT.md leaves out the byte at {offset:x}, which is not zero");
    }
    assert!(shown[writer.ends[0] as usize..].iter().all(|shown| *shown), "the first batch is shown whole");
}

//! The format read by the letter of `codec/FORMAT.md`, once more and as plainly as can be.
//!
//! What the targets compare the codec with, so nothing here calls it but to
//! name the result: numbers are read byte by byte, checksums are made with a
//! table of their own, and every rule stands where the page has it.

use annals_codec::index::KeyHash;
use annals_codec::{
    Checkpoint, Commit, ContentType, Digest, Epoch, Event, EventId, Floor, LogId, Mark, Position, RedactionMark, Seal,
    Seed, SegmentHeader, SegmentNumber, Snapshot, SourceName, StoreMeta, StreamVersion, Tags, Tracking, Trailer,
    Watermark,
};

const CRC_TABLE: [u32; 256] = {
    let mut table = [0; 256];
    let mut byte = 0;
    while byte < 256 {
        let (mut crc, mut bit) = (byte as u32, 0);
        while bit < 8 {
            crc = if crc & 1 == 1 { crc >> 1 ^ 0xEDB8_8320 } else { crc >> 1 };
            bit += 1;
        }
        table[byte] = crc;
        byte += 1;
    }
    table
};

/// CRC-32/IEEE of `bytes`, behind bytes whose checksum is `seed`.
pub(crate) fn crc(seed: u32, bytes: &[u8]) -> u32 {
    !bytes.iter().fold(!seed, |crc, byte| CRC_TABLE[usize::from(crc as u8 ^ byte)] ^ crc >> 8)
}

/// The little-endian number in `len` bytes at `at`.
pub(crate) fn number(bytes: &[u8], at: usize, len: usize) -> u64 {
    bytes[at..at + len].iter().rev().fold(0, |number, byte| number << 8 | u64::from(*byte))
}

fn array<const N: usize>(bytes: &[u8], at: usize) -> [u8; N] {
    std::array::from_fn(|n| bytes[at + n])
}

/// A counter: its highest bit is never set.
fn counter(bytes: &[u8], at: usize) -> Option<u64> {
    Some(number(bytes, at, 8)).filter(|number| number >> 63 == 0)
}

fn all_zero(bytes: &[u8]) -> bool {
    bytes.iter().all(|byte| *byte == 0)
}

fn name(bytes: &[u8], most: usize) -> Option<&str> {
    let text = str::from_utf8(bytes).ok()?;
    (1..=most).contains(&text.len()).then_some(text).filter(|text| !text.contains('\0'))
}

/// One part after the other.
struct Parts<'a>(&'a [u8]);

impl<'a> Parts<'a> {
    fn take(&mut self, len: u64) -> Option<&'a [u8]> {
        let len = usize::try_from(len).ok().filter(|len| *len <= self.0.len())?;
        let (part, rest) = self.0.split_at(len);
        self.0 = rest;
        Some(part)
    }

    fn take_if(&mut self, there: bool, len: u64) -> Option<Option<&'a [u8]>> {
        if there { self.take(len).map(Some) } else { Some(None) }
    }
}

/// §4: the length of a frame with a good checksum, length, padding and kind at the start of `bytes`.
pub(crate) fn frame_len(bytes: &[u8], seed: u32) -> Option<usize> {
    let len = usize::try_from(number(bytes.get(..20)?, 4, 4)).ok()?;
    let padding = bytes.get(len..len.next_multiple_of(8))?;
    let is_good = len >= 20
        && number(bytes, 0, 4) == u64::from(crc(seed, &bytes[4..len]))
        && all_zero(padding)
        && (matches!(bytes[8], 1..=3) || bytes[8] >= 0x80);
    is_good.then_some(len)
}

/// §4: the event in a frame, given without its padding.
pub(crate) fn event(frame: &[u8]) -> Option<Event<'_>> {
    let flags = frame[9];
    let is_redacted = flags & 8 != 0;
    if frame.len() < 72 || flags > 15 || (!is_redacted && number(frame, 68, 4) != 0) {
        return None;
    }
    let mut parts = Parts(&frame[72..]);
    let occurred_at = parts.take_if(flags & 1 != 0, 8)?;
    let correlation_id = parts.take_if(flags & 2 != 0, 16)?;
    let causation_id = parts.take_if(flags & 4 != 0, 16)?;
    let data = parts.take(number(frame, 52, 4))?;
    let has_metadata = number(frame, 56, 4) != 0xFFFF_FFFF;
    let metadata = parts.take_if(has_metadata, number(frame, 56, 4))?;
    if is_redacted && !(all_zero(data) && all_zero(metadata.unwrap_or_default())) {
        return None;
    }
    let stream = name(parts.take(number(frame, 60, 2))?, 512)?;
    let event_type = name(parts.take(number(frame, 62, 1))?, 255)?;
    let tags = parts.take(number(frame, 64, 2))?;
    let mut each = Parts(tags);
    while let Some(len) = each.take(1) {
        name(each.take(u64::from(len[0]))?, 255)?;
    }
    if !parts.0.is_empty() || number(frame, 12, 8) == 0 || number(frame, 36, 8) == 0 {
        return None;
    }
    let mut event = Event::new(stream, event_type, data);
    event.position = Position::new(number(frame, 12, 8));
    event.version = StreamVersion::new(number(frame, 36, 8));
    event.id = EventId::from_bytes(array(frame, 20));
    event.recorded_at = number(frame, 44, 8).cast_signed();
    event.occurred_at = occurred_at.map(|bytes| number(bytes, 0, 8).cast_signed());
    event.correlation_id = correlation_id.map(|bytes| EventId::from_bytes(array(bytes, 0)));
    event.causation_id = causation_id.map(|bytes| EventId::from_bytes(array(bytes, 0)));
    event.schema_version = number(frame, 66, 2) as u16;
    event.content_type = ContentType::new(frame[63]);
    event.tags = Tags::from_encoded(tags);
    event.metadata = metadata;
    if is_redacted {
        (event.redacted, event.data, event.metadata) = (true, b"", None);
    }
    Some(event)
}

/// §4: the marker in a frame, given without its padding.
pub(crate) fn commit(frame: &[u8]) -> Option<Commit<'_>> {
    if frame.len() < 64 || frame[9] != 0 || !all_zero(&frame[58..64]) || number(frame, 52, 2) > 1 {
        return None;
    }
    let mut parts = Parts(&frame[64..]);
    let hash = parts.take_if(number(frame, 52, 2) == 1, 32)?;
    let key = parts.take_if(number(frame, 54, 2) != 0, number(frame, 54, 2))?;
    let tracking = parts.take_if(number(frame, 56, 2) != 0, number(frame, 56, 2))?;
    let epoch = number(frame, 20, 4) as u32;
    let positions = (u128::from(number(frame, 28, 8)), u128::from(number(frame, 24, 4)), number(frame, 12, 8));
    let run_on =
        positions.0 + positions.1 == u128::from(positions.2) + 1 && u64::try_from(positions.0 + positions.1).is_ok();
    if !parts.0.is_empty() || !run_on || u64::from(epoch as u16) != number(frame, 10, 2) {
        return None;
    }
    let mut commit = Commit::new(Epoch::new(epoch), Position::new(positions.2), number(frame, 24, 4) as u32);
    commit.first = Position::new(number(frame, 28, 8));
    commit.durable_offset = number(frame, 36, 8);
    commit.batch_bytes = number(frame, 44, 4) as u32;
    commit.chain = number(frame, 48, 4) as u32;
    commit.hash = hash.map(|bytes| Digest::from_bytes(array(bytes, 0)));
    commit.key = match key {
        Some(key) => Some(name(key, 128)?),
        None => None,
    };
    commit.tracking = match tracking {
        Some(record) => {
            let source = name(record.get(8..)?, 255)?;
            Some(Tracking { source, upstream: number(record, 0, 8) })
        }
        None => None,
    };
    Some(commit)
}

/// §6: the seal in a frame, given without its padding.
pub(crate) fn seal(frame: &[u8]) -> Option<Seal> {
    if frame.len() != 64 || frame[9] != 0 || number(frame, 60, 4) != 0 || number(frame, 20, 2) != number(frame, 10, 2) {
        return None;
    }
    Some(Seal {
        epoch: Epoch::new(number(frame, 20, 4) as u32),
        last: Position::new(number(frame, 12, 8)),
        chain: number(frame, 24, 4) as u32,
        events: number(frame, 28, 8),
        batches: number(frame, 36, 8),
        min_recorded_at: number(frame, 44, 8).cast_signed(),
        max_recorded_at: number(frame, 52, 8).cast_signed(),
    })
}

/// §6: the trailer.
pub(crate) fn trailer(bytes: &[u8; 40], seed: u32) -> Option<Trailer> {
    let entries = number(bytes, 24, 4);
    let end = u128::from(number(bytes, 16, 8)) + u128::from(entries * 4).next_multiple_of(8) + 40;
    let is_good = bytes[..8] == *b"\x89ANNEND\n"
        && number(bytes, 36, 4) == u64::from(crc(seed, &bytes[..36]))
        && number(bytes, 32, 4) == 0
        && end == u128::from(number(bytes, 8, 8));
    is_good.then(|| Trailer {
        file_len: number(bytes, 8, 8),
        index_offset: number(bytes, 16, 8),
        events: entries as u32,
        index_crc: number(bytes, 28, 4) as u32,
    })
}

/// §3: the header of a segment, with the seed.
pub(crate) fn header(bytes: &[u8]) -> Option<(SegmentHeader, Seed)> {
    let bytes = bytes.get(..4096)?;
    let checksum = crc(0, &bytes[..4092]);
    let has_redacted = number(bytes, 16, 4) == 1;
    let no_surprise = all_zero(&bytes[60..64])
        && all_zero(&bytes[101..104])
        && (has_redacted || all_zero(&bytes[136..148]))
        && all_zero(&bytes[148..4092]);
    // §25.
    let mark = RedactionMark { events: number(bytes, 140, 4) as u32, positions: number(bytes, 144, 4) as u32 };
    // Minor version 1 gave a meaning to byte 100, and no reader knows what a later one does with it.
    let (minor, hash) = (number(bytes, 10, 2), &bytes[104..136]);
    let chain_hash = match bytes[100] {
        0 if all_zero(hash) || minor > 1 => None,
        1 if minor >= 1 => Some(Digest::from_bytes(array(hash, 0))),
        2.. if minor > 1 => None,
        _ => return None,
    };
    let is_good = bytes[..8] == *b"\x89ANNSEG\n"
        && number(bytes, 4092, 4) == u64::from(checksum)
        && number(bytes, 8, 2) == 1
        && (no_surprise || minor > 1)
        && number(bytes, 12, 4) == 4096
        && (number(bytes, 16, 4) == 0 || has_redacted && mark.events > 0);
    let header = SegmentHeader {
        log_id: LogId::from_bytes(array(bytes, 24)),
        number: SegmentNumber::new(counter(bytes, 40)?),
        base: Position::new(counter(bytes, 48)?),
        epoch: Epoch::new(number(bytes, 56, 4) as u32),
        salt: array(bytes, 64),
        created_at: number(bytes, 80, 8).cast_signed(),
        predecessor_len: number(bytes, 88, 8),
        chain: number(bytes, 96, 4) as u32,
        chain_hash,
        redacted: has_redacted.then_some(mark),
    };
    is_good.then_some((header, Seed::new(checksum)))
}

/// §7: a slot of `store.meta`. `Err` when it is one of another major version.
pub(crate) fn meta(slot: &[u8]) -> Result<Option<StoreMeta>, ()> {
    let Some(slot) = slot.get(..512) else { return Ok(None) };
    if slot[..8] != *b"\x89ANNMET\n" || number(slot, 508, 4) != u64::from(crc(0, &slot[..508])) {
        return Ok(None);
    }
    if number(slot, 8, 2) != 1 {
        return Err(());
    }
    if number(slot, 10, 2) == 0 && !(all_zero(&slot[12..16]) && all_zero(&slot[88..508])) {
        return Ok(None);
    }
    let counters: Option<Vec<u64>> = [16, 56, 64, 72, 80].into_iter().map(|at| counter(slot, at)).collect();
    Ok(counters.map(|counters| StoreMeta {
        sequence: counters[0],
        log_id: LogId::from_bytes(array(slot, 24)),
        created_at: number(slot, 40, 8).cast_signed(),
        epoch: Epoch::new(number(slot, 48, 4) as u32),
        active: SegmentNumber::new(counters[1]),
        active_base: Position::new(counters[2]),
        active_seed: Seed::new(number(slot, 52, 4) as u32),
        floor: SegmentNumber::new(counters[3]),
        floor_base: Position::new(counters[4]),
    }))
}

/// §8: a slot of `WATERMARK`.
pub(crate) fn watermark(slot: &[u8]) -> Option<Watermark> {
    let slot = slot.get(..512)?;
    let is_good = slot[..8] == *b"\x89ANNWTM\n"
        && number(slot, 508, 4) == u64::from(crc(0, &slot[..508]))
        && all_zero(&slot[36..40])
        && all_zero(&slot[72..508]);
    let watermark = Watermark {
        log_id: LogId::from_bytes(array(slot, 8)),
        sequence: counter(slot, 24)?,
        epoch: Epoch::new(number(slot, 32, 4) as u32),
        segment: SegmentNumber::new(counter(slot, 40)?),
        offset: counter(slot, 48)?,
        position: Position::new(counter(slot, 56)?),
        floor: SegmentNumber::new(counter(slot, 64)?),
    };
    is_good.then_some(watermark)
}

/// §19: what a floor says, and its parts.
#[derive(Debug)]
pub(crate) struct FloorFile<'a> {
    pub(crate) floor: Floor,
    pub(crate) streams: u64,
    pub(crate) sources: u64,
    pub(crate) records: &'a [u8],
    pub(crate) table: &'a [u8],
    pub(crate) merkle: &'a [u8],
    /// Whether every checksum is good, and records and table agree.
    pub(crate) is_whole: bool,
}

/// §19: the floor.
pub(crate) fn floor(file: &[u8]) -> Option<FloorFile<'_>> {
    let header = file.get(..512)?;
    let sections = number(header, 12, 4) as usize;
    let is_good = header[..8] == *b"\x89ANNFLO\n"
        && number(header, 8, 2) == 1
        && number(header, 508, 4) == u64::from(crc(0, &header[..508]))
        && (2..=11).contains(&sections)
        && counter(header, 120) == Some(file.len() as u64);
    if !is_good || number(header, 10, 2) == 0 && !all_zero(&header[128 + 32 * sections..508]) {
        return None;
    }
    let mut rest = Parts(&file[512..]);
    let (mut parts, mut merkle, mut is_whole) = (Vec::new(), None, true);
    for at in (0..sections).map(|section| 128 + 32 * section) {
        let (kind, start, len) = (number(header, at, 4), counter(header, at + 8)?, counter(header, at + 16)?);
        let is_reserved_zero = all_zero(&header[at + 4..at + 8]) && all_zero(&header[at + 28..at + 32]);
        if !is_reserved_zero && number(header, 10, 2) == 0
            || start != (file.len() - rest.0.len()) as u64
            || len % 8 != 0
        {
            return None;
        }
        let bytes = rest.take(len)?;
        is_whole &= number(header, at + 24, 4) == u64::from(crc(0, bytes));
        match (parts.len(), kind) {
            (0, 1) | (1, 2) => parts.push(bytes),
            (2, 3) if merkle.is_none() => merkle = Some(bytes),
            (2, kind) if kind >> 31 == 1 => {}
            _ => return None,
        }
    }
    let hash = match number(header, 84, 4) {
        0 if all_zero(&header[88..120]) => None,
        0 => return None,
        kind => Some((kind as u32, array(header, 88))),
    };
    let floor = Floor {
        log_id: LogId::from_bytes(array(header, 16)),
        segment: SegmentNumber::new(counter(header, 32)?),
        position: Position::new(counter(header, 40)?),
        recorded_at: number(header, 48, 8).cast_signed(),
        written_at: number(header, 56, 8).cast_signed(),
        chain: number(header, 80, 4) as u32,
        hash,
    };
    let (streams, sources) = (counter(header, 64)?, counter(header, 72)?);
    let (records, table) = (parts[0], parts[1]);
    if !rest.0.is_empty() || table.len() as u64 != (streams + sources).saturating_mul(8) {
        return None;
    }
    let places = floor_places(records);
    is_whole &= places.is_some_and(|(entries, counts)| {
        let entries: Vec<u8> =
            entries.iter().flat_map(|(hash, place)| [hash.to_le_bytes(), place.to_le_bytes()].concat()).collect();
        entries == table && counts == [streams, sources]
    });
    Some(FloorFile { floor, streams, sources, records, table, merkle: merkle.unwrap_or_default(), is_whole })
}

/// §19: how long the record is that `bytes` begin with, if they are as long as it says.
pub(crate) fn floor_record_len(bytes: &[u8]) -> Option<usize> {
    let len = (24 + number(bytes.get(..24)?, 4, 2) as usize).next_multiple_of(8);
    let is_one = bytes.len() >= len && matches!(bytes[6], 1 | 2) && bytes[7] == 0;
    is_one.then_some(len)
}

/// §19: the table that records give, and how many streams and sources they are; `None` when one is bad.
fn floor_places(records: &[u8]) -> Option<(Vec<(u32, u32)>, [u64; 2])> {
    let (mut entries, mut counts, mut at, mut before) = (Vec::new(), [0, 0], 0, None);
    while at < records.len() {
        let len = floor_record_len(&records[at..])?;
        let record = &records[at..at + len];
        let (kind, name_len) = (record[6], number(record, 4, 2) as usize);
        let most = if kind == 1 { 512 } else { SourceName::MAX_LEN };
        let name = name(&record[24..24 + name_len], most)?;
        let is_good = number(record, 0, 4) == u64::from(crc(0, &record[4..]))
            && all_zero(&record[24 + name_len..])
            && counter(record, 16).is_some()
            && (kind == 2 || counter(record, 8).is_some())
            && before.is_none_or(|before| before < (kind, name));
        if !is_good {
            return None;
        }
        before = Some((kind, name));
        counts[usize::from(kind == 2)] += 1;
        let hash = if kind == 1 { KeyHash::stream(name) } else { KeyHash::source(name) };
        entries.push((hash.get(), (at / 8) as u32));
        at += len;
    }
    entries.sort_unstable();
    Some((entries, counts))
}

/// §18: a mark.
fn mark(bytes: &[u8]) -> Option<Mark> {
    let hash = match number(bytes, 28, 4) {
        0 => all_zero(&bytes[32..64]).then_some(None)?,
        1 => Some(Digest::from_bytes(array(bytes, 32))),
        _ => return None,
    };
    let (log_id, chain) = (LogId::from_bytes(array(bytes, 0)), number(bytes, 24, 4) as u32);
    Some(Mark { log_id, position: Position::new(counter(bytes, 16)?), chain, hash })
}

/// §18: one slot of a consumer's file; an error for one of another version.
pub(crate) fn checkpoint(slot: &[u8]) -> Result<Option<Checkpoint>, ()> {
    let Some(slot) = slot.get(..512) else { return Ok(None) };
    if slot[..8] != *b"\x89ANNCON\n" || number(slot, 508, 4) != u64::from(crc(0, &slot[..508])) {
        return Ok(None);
    }
    if number(slot, 8, 2) != 1 {
        return Err(());
    }
    let is_good = all_zero(&slot[10..16]) && all_zero(&slot[96..508]);
    let (Some(sequence), Some(mark)) = (counter(slot, 16), mark(&slot[32..96])) else { return Ok(None) };
    let written_at = number(slot, 24, 8).cast_signed();
    Ok(Some(Checkpoint { sequence, written_at, mark }).filter(|_| is_good))
}

/// §18: a snapshot.
pub(crate) fn snapshot(file: &[u8]) -> Option<Snapshot<'_>> {
    let header = file.get(..128)?;
    let is_good = header[..8] == *b"\x89ANNSNP\n"
        && number(header, 8, 2) == 1
        && all_zero(&header[98..100])
        && all_zero(&header[108..124])
        && number(header, 104, 4) == u64::from(crc(0, &file[128..]))
        && number(header, 124, 4) == u64::from(crc(0, &header[..124]));
    let mut parts = Parts(&file[128..]);
    let name = name(parts.take(number(header, 96, 2))?, 64)?;
    let notes = parts.take(number(header, 100, 4))?;
    let payload = parts.take(number(header, 88, 8))?;
    let snapshot = Snapshot {
        name,
        mark: mark(&header[16..80])?,
        schema_version: number(header, 12, 4) as u32,
        codec: number(header, 10, 2) as u16,
        written_at: number(header, 80, 8).cast_signed(),
        notes,
        payload,
    };
    (is_good && parts.0.is_empty()).then_some(snapshot)
}

/// The input as it is, as one slot after the other with good checksums, and, short as it
/// may be, as two halves of which each begins a slot: what a fuzzer would take long to find out.
pub(crate) fn slots(input: &[u8], stride: usize) -> [Vec<u8>; 3] {
    let mut good = input.to_vec();
    for slot in good.chunks_mut(stride).filter_map(|slot| slot.get_mut(..512)) {
        make_good(slot);
    }
    let mut halves = vec![0; 2 * stride];
    let parts = input.split_at(input.len() / 2);
    for (part, slot) in [parts.0, parts.1].into_iter().zip(halves.chunks_mut(stride)) {
        let len = part.len().min(508);
        slot[..len].copy_from_slice(&part[..len]);
        make_good(&mut slot[..512]);
    }
    [input.to_vec(), good, halves]
}

/// Ends `bytes` with their checksum.
pub(crate) fn make_good(bytes: &mut [u8]) {
    let (body, checksum) = bytes.split_at_mut(bytes.len() - 4);
    checksum.copy_from_slice(&crc(0, body).to_le_bytes());
}

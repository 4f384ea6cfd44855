//! `floor` of any bytes: what decodes is what stands there by the letter of the format, no less and no more;
//! what is looked up is what a reader from end to end finds.

use annals_codec::{FLOOR_HEADER_LEN, FloorHeader, FloorKind, FloorRecord, FloorSection, find_in_floor, floor_records};

use crate::letter;

const SECTIONS_AT: usize = 128;

/// Checks the input as a file: as it is, with good checksums, and with lengths that fit as well.
pub fn check(input: &[u8]) {
    look_at(input);
    if input.len() < FLOOR_HEADER_LEN {
        return;
    }
    let mut file = input.to_vec();
    mend(&mut file);
    look_at(&file);
    fit(&mut file);
    mend(&mut file);
    look_at(&file);
}

/// Makes the parts fill the file: the records as far as they are some, the table behind them.
fn fit(file: &mut [u8]) {
    let (header, rest) = file.split_at_mut(FLOOR_HEADER_LEN);
    let (mut records, mut counts) = (0, [0_u64; 2]);
    while let Some(len) = letter::floor_record_len(&rest[records..]) {
        mend_record(&mut rest[records..records + len]);
        counts[usize::from(rest[records + 6] == 2)] += 1;
        records += len;
    }
    let number = |header: &mut [u8], at: usize, value: u64| header[at..at + 8].copy_from_slice(&value.to_le_bytes());
    let table = (rest.len() - records) as u64;
    number(header, 64, counts[0]);
    number(header, 72, counts[1]);
    number(header, 120, (FLOOR_HEADER_LEN + rest.len()) as u64);
    header[12..16].copy_from_slice(&2_u32.to_le_bytes());
    let parts = [(1_u32, FLOOR_HEADER_LEN as u64, records as u64), (2, (FLOOR_HEADER_LEN + records) as u64, table)];
    for (at, (kind, start, len)) in (SECTIONS_AT..).step_by(32).zip(parts) {
        header[at..at + 4].copy_from_slice(&kind.to_le_bytes());
        number(header, at + 8, start);
        number(header, at + 16, len);
    }
}

fn mend_record(record: &mut [u8]) {
    let crc = letter::crc(0, &record[4..]);
    record[..4].copy_from_slice(&crc.to_le_bytes());
}

fn mend(file: &mut [u8]) {
    let (header, rest) = file.split_at_mut(FLOOR_HEADER_LEN);
    for at in (SECTIONS_AT..480).step_by(32) {
        let start = letter::number(header, at + 8, 8).wrapping_sub(FLOOR_HEADER_LEN as u64);
        let end = start.saturating_add(letter::number(header, at + 16, 8));
        let part = usize::try_from(start).ok().zip(usize::try_from(end).ok());
        if let Some(part) = part.and_then(|(start, end)| rest.get(start..end)) {
            header[at + 24..at + 28].copy_from_slice(&letter::crc(0, part).to_le_bytes());
        }
    }
    letter::make_good(header);
}

fn look_at(file: &[u8]) {
    let decoded = FloorHeader::decode(file, file.len() as u64);
    let expected = letter::floor(file);
    let Ok(header) = decoded else { return assert!(expected.is_none(), "{decoded:?}, and {expected:?}") };
    let Some(expected) = expected else { panic!("{header:?} is none by the letter") };
    assert_eq!((header.floor, header.streams, header.sources), (expected.floor, expected.streams, expected.sources));
    let part = |section| {
        let place = header.place(section);
        &file[place.start as usize..place.end as usize]
    };
    let (records, table) = (part(FloorSection::Records), part(FloorSection::Table));
    assert_eq!((records, table, part(FloorSection::Merkle)), (expected.records, expected.table, expected.merkle));
    // What a later minor version says in fields that are reserved now is read over.
    if file[10..12] == [0; 2] {
        assert_eq!(header.encode(), file[..FLOOR_HEADER_LEN], "{header:?} encodes to something else");
    }
    let is_whole = header.check(file).is_ok();
    assert_eq!(is_whole, expected.is_whole, "{header:?}: {:?}", header.check(file));
    let listed: Vec<Result<FloorRecord<'_>, _>> = floor_records(records).collect();
    assert!(!is_whole || listed.iter().all(Result::is_ok));
    for record in listed.into_iter().flatten().take(64) {
        let found = find_in_floor(records, table, record.kind, record.name);
        if is_whole {
            assert_eq!(found, Ok(Some(record)), "{header:?}");
        }
        assert_eq!(
            find_in_floor(records, table, FloorKind::Stream, &format!("{}\u{1}", record.name)).ok().flatten(),
            None
        );
    }
}

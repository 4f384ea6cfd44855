use std::collections::BTreeMap;

use super::*;
use crate::testing::{Rng, each, for_each_flip, rounds};

type Known = BTreeMap<(FloorKind, String), (u64, u64)>;

fn floor() -> Floor {
    Floor {
        log_id: LogId::from_bytes([7; 16]),
        segment: SegmentNumber::new(3),
        position: Position::new(900),
        recorded_at: 1_000,
        written_at: 2_000,
        chain: 0xC78D_DCC1,
        hash: None,
    }
}

fn known(rng: &mut Rng, len: usize) -> Known {
    let mut known = Known::new();
    for number in 0..len {
        let kind = if rng.below(5) == 0 { FloorKind::Source } else { FloorKind::Stream };
        let name = format!("{}-{number}", "n".repeat(1 + rng.below(30)));
        let position = if kind == FloorKind::Stream { 1 + rng.next() % 900 } else { 0 };
        known.insert((kind, name), (rng.next() >> 1, position));
    }
    known
}

fn file_of(known: &Known, merkle: &[u8]) -> Vec<u8> {
    let (mut writer, mut file) = (FloorWriter::new(), vec![0; FLOOR_HEADER_LEN]);
    for ((kind, name), (value, position)) in known {
        let record = FloorRecord { kind: *kind, name, value: *value, position: Position::new(*position) };
        assert!(writer.push(&record, &mut file));
    }
    let header = writer.finish(floor(), merkle, &mut file);
    file[..FLOOR_HEADER_LEN].copy_from_slice(&header.encode());
    file
}

fn decode(file: &[u8]) -> Result<FloorHeader, FloorFault> {
    FloorHeader::decode(file, file.len() as u64)
}

fn section<'a>(header: &FloorHeader, file: &'a [u8], section: FloorSection) -> &'a [u8] {
    let place = header.place(section);
    &file[place.start as usize..place.end as usize]
}

fn find<'a>(file: &'a [u8], kind: FloorKind, name: &str) -> Result<Option<FloorRecord<'a>>, FloorFault> {
    let header = decode(file)?;
    let [records, table] = [FloorSection::Records, FloorSection::Table].map(|part| section(&header, file, part));
    find_in_floor(records, table, kind, name)
}

#[test]
fn every_stream_and_source_is_found_with_what_was_known_and_no_other_name_is() {
    for seed in 0..rounds(30) {
        let mut rng = Rng::new(seed);
        let len = rng.below(200);
        let known = known(&mut rng, len);
        let file = file_of(&known, &[]);
        assert_eq!(decode(&file).unwrap().check(&file), Ok(()), "seed {seed}");
        for ((kind, name), (value, position)) in &known {
            let found = find(&file, *kind, name).unwrap().unwrap();
            assert_eq!((found.value, found.position.get()), (*value, *position), "seed {seed}: {name}");
            let other = if *kind == FloorKind::Stream { FloorKind::Source } else { FloorKind::Stream };
            let twin = known.contains_key(&(other, name.clone()));
            assert_eq!(find(&file, other, name).unwrap().is_some(), twin, "seed {seed}: {name}");
            assert_eq!(find(&file, *kind, &format!("{name}x")), Ok(None));
        }
        let header = decode(&file).unwrap();
        let listed = floor_records(section(&header, &file, FloorSection::Records)).map(Result::unwrap);
        let listed: Vec<_> = listed.map(|record| (record.kind, record.name.to_owned())).collect();
        assert!(listed.iter().eq(known.keys()), "seed {seed}");
    }
}

#[test]
fn a_flipped_bit_is_noticed_wherever_it_is_and_never_gives_another_answer() {
    let known = known(&mut Rng::new(4), 12);
    let whole = file_of(&known, &[9; 40]);
    let header_len = FLOOR_HEADER_LEN;
    for_each_flip(&whole, 0..header_len, |bit, file| {
        assert!(matches!(decode(file), Err(FloorFault::Header)), "bit {bit}");
    });
    let header = decode(&whole).unwrap();
    for_each_flip(&whole, header_len..whole.len(), |bit, file| {
        assert!(header.check(file).is_err(), "bit {bit}");
        let table = section(&header, file, FloorSection::Table);
        if !header.is_good(FloorSection::Table, table) {
            return; // Who looks something up has checked it.
        }
        for ((kind, name), (value, _)) in &known {
            match find(file, *kind, name) {
                Ok(found) => assert_eq!(found.map(|found| found.value), Some(*value), "bit {bit}: {name}"),
                Err(fault) => assert!(matches!(fault, FloorFault::Record { .. }), "bit {bit}: {fault}"),
            }
        }
    });
}

#[test]
fn a_file_that_is_cut_or_goes_on_is_refused() {
    let file = file_of(&known(&mut Rng::new(5), 9), &[]);
    for len in each(0..file.len()) {
        assert!(decode(&file[..len]).is_err(), "{len}");
    }
    assert!(matches!(decode(&[&file[..], &[0]].concat()), Err(FloorFault::Length { .. })));
}

fn forged(file: &[u8], at: usize, bytes: &[u8]) -> Vec<u8> {
    let mut file = file.to_vec();
    file[at..at + bytes.len()].copy_from_slice(bytes);
    let crc = crc32fast::hash(&file[..CRC_AT]);
    wire::set_u32(&mut file, CRC_AT, crc);
    file
}

#[test]
fn impossible_fields_are_refused_though_the_checksum_is_good() {
    let file = file_of(&known(&mut Rng::new(6), 9), &[1; 8]);
    assert!(decode(&forged(&file, 0, &[])).is_ok(), "the forging itself is sound");
    assert_eq!(decode(&forged(&file, 8, &[2])), Err(FloorFault::Newer));
    for at in [32, 40, 64, 72, 120, 136, 144] {
        assert_eq!(decode(&forged(&file, at, &[0xFF; 8])), Err(FloorFault::Header), "byte {at}");
    }
    let last = SECTIONS_AT + 2 * SECTION_LEN;
    for (at, byte) in [(12, 1), (12, 12), (12, 2), (88, 1), (SECTIONS_AT, 2), (SECTIONS_AT + 4, 1), (last, 1)] {
        assert_eq!(decode(&forged(&file, at, &[byte])), Err(FloorFault::Header), "byte {at}: {byte}");
    }
    assert_eq!(decode(&forged(&file, CRC_AT - 1, &[1])), Err(FloorFault::Header));
}

#[test]
fn a_section_of_an_unknown_kind_is_passed_over_when_it_says_so_and_refused_otherwise() {
    let file = file_of(&known(&mut Rng::new(7), 9), &[1; 8]);
    let kind_at = SECTIONS_AT + 2 * SECTION_LEN;
    assert_eq!(decode(&forged(&file, kind_at, &4_u32.to_le_bytes())), Err(FloorFault::Newer));
    let passed = forged(&file, kind_at, &(4 | MAY_BE_PASSED_OVER).to_le_bytes());
    let header = decode(&passed).unwrap();
    assert_eq!(header.place(FloorSection::Merkle), 0..0);
    assert_eq!(header.check(&passed), Ok(()));
    // A later minor version may have given reserved bytes a meaning.
    assert!(decode(&forged(&forged(&file, 10, &[1]), CRC_AT - 1, &[1])).is_ok());
}

#[test]
fn a_hash_is_there_with_its_kind_or_not_at_all() {
    for hash in [None, Some((1, [0x5A; 32])), Some((2, [0; 32]))] {
        let mut file = vec![0; FLOOR_HEADER_LEN];
        let header = FloorWriter::new().finish(Floor { hash, ..floor() }, &[], &mut file);
        file[..FLOOR_HEADER_LEN].copy_from_slice(&header.encode());
        assert_eq!(decode(&file), Ok(header.clone()));
        assert_eq!(header.floor.hash, hash);
    }
}

#[test]
fn records_out_of_order_or_twice_or_missing_from_the_table_do_not_pass_the_check() {
    let write = |names: &[(FloorKind, &str)]| {
        let (mut writer, mut file) = (FloorWriter::new(), vec![0; FLOOR_HEADER_LEN]);
        for (kind, name) in names {
            writer.push(&FloorRecord { kind: *kind, name, value: 1, position: Position::START }, &mut file);
        }
        let header = writer.finish(floor(), &[], &mut file);
        header.check(&file)
    };
    let [stream, source] = [FloorKind::Stream, FloorKind::Source];
    assert_eq!(write(&[(stream, "a"), (stream, "b"), (source, "a")]), Ok(()));
    for names in [[(stream, "b"), (stream, "a")], [(stream, "a"), (stream, "a")], [(source, "a"), (stream, "b")]] {
        assert_eq!(write(&names), Err(FloorFault::Content), "{names:?}");
    }
    let file = file_of(&known(&mut Rng::new(8), 2), &[]);
    let mut header = decode(&file).unwrap();
    header.streams += 1;
    assert_eq!(header.check(&file), Err(FloorFault::Content));
}

#[test]
fn any_bytes_end_every_search() {
    let mut rng = Rng::new(1);
    for _ in 0..rounds(2_000) {
        let len = rng.below(400);
        let bytes = rng.bytes(len);
        let (records, table) = bytes.split_at(rng.below(len + 1));
        let _ = find_in_floor(records, table, FloorKind::Stream, "order-7");
        assert!(floor_records(&bytes).count() <= len);
    }
}

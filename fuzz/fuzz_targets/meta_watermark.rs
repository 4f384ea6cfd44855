//! `store.meta`, `WATERMARK` and segment headers of any bytes: decoding never
//! panics, and what it accepts encodes to the bytes it was decoded from.
//!
//! The input is read as it is, and again with the checksums made good.

#![no_main]

use annals_codec::{META_SLOT_LEN, SEGMENT_HEADER_LEN, SegmentHeader, StoreMeta, WATERMARK_SLOT_LEN, Watermark};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| {
    look_at(input);
    look_at(&with_good_checksums(input, META_SLOT_LEN, 4096));
    look_at(&with_good_checksums(input, WATERMARK_SLOT_LEN, WATERMARK_SLOT_LEN));

    // The fuzzer need not find out that a header has 4096 bytes.
    let mut header = input.to_vec();
    header.resize(SEGMENT_HEADER_LEN, 0);
    look_at(&with_good_checksums(&header, SEGMENT_HEADER_LEN, SEGMENT_HEADER_LEN));
});

fn with_good_checksums(input: &[u8], len: usize, stride: usize) -> Vec<u8> {
    let mut bytes = input.to_vec();
    for slot in bytes.chunks_mut(stride).filter_map(|slot| slot.get_mut(..len)) {
        // CRC-32 begun with 0, as the seed of no segment in particular.
        let crc = annals_codec::Seed::new(0).checksum(&slot[..len - 4]);
        slot[len - 4..].copy_from_slice(&crc.to_le_bytes());
    }
    bytes
}

fn look_at(bytes: &[u8]) {
    let is_first_minor = |slot: &[u8]| slot[10..12] == [0, 0];
    if let Ok(meta) = StoreMeta::decode(bytes) {
        let again = meta.encode();
        let slot = bytes.chunks(4096).find(|slot| slot.get(16..88) == Some(&again[16..88])).unwrap();
        assert!(!is_first_minor(slot) || slot[..META_SLOT_LEN] == again);
        assert!(meta.sequence.checked_add(1).is_some() && meta.active.next() > meta.active);
    }
    if let Some(watermark) = Watermark::decode(bytes) {
        let again = watermark.encode();
        assert!(bytes.chunks(WATERMARK_SLOT_LEN).take(2).any(|slot| slot == again));
        assert!(watermark.sequence.checked_add(1).is_some());
    }
    if let Ok((header, seed)) = SegmentHeader::decode(bytes) {
        let (again, same_seed) = header.encode();
        let (stored, no_compatible_features) = (&bytes[..SEGMENT_HEADER_LEN], bytes[20..24] == [0; 4]);
        assert!(!(is_first_minor(stored) && no_compatible_features) || (stored, seed) == (&again[..], same_seed));
        assert!(header.number.next() > header.number);
    }
}

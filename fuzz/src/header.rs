//! The header of a segment of any bytes: what decodes is what stands there by the
//! letter of the format, no less and no more, and encodes to the bytes it was decoded from.

use annals_codec::{HeaderFault, SEGMENT_HEADER_LEN, SegmentHeader};

use crate::letter;

/// Where the fields end, and zeros begin that reach to the checksum.
const FIELDS: usize = 148;

/// Checks the input as it is, and as the beginning of a header with a good checksum:
/// the fuzzer need not find out that a header has 4096 bytes. What is more than the
/// fields stands behind them, and again before the checksum.
pub fn check(input: &[u8]) {
    look_at(input);
    let mut whole = input.to_vec();
    whole.resize(SEGMENT_HEADER_LEN, 0);
    letter::make_good(&mut whole);
    look_at(&whole);
    if let Some((fields, rest)) = input.split_at_checked(FIELDS).filter(|(_, rest)| rest.len() <= 256) {
        whole[FIELDS..].fill(0);
        whole[..FIELDS].copy_from_slice(fields);
        whole[SEGMENT_HEADER_LEN - 4 - rest.len()..SEGMENT_HEADER_LEN - 4].copy_from_slice(rest);
        letter::make_good(&mut whole);
        look_at(&whole);
    }
}

fn look_at(bytes: &[u8]) {
    let (decoded, expected) = (SegmentHeader::decode(bytes), letter::header(bytes));
    assert_eq!(decoded.ok(), expected);
    match decoded {
        Ok((header, seed)) => {
            assert!(header.number.next() > header.number && header.base.plus(1) > header.base, "{header:?}");
            let (again, same_seed) = header.encode();
            // §25: its checksum is that of the header without what is redacted, which an input does not know.
            if header.redacted.is_some() {
                assert_eq!(SegmentHeader::decode(&again), Ok((header, same_seed)));
                return;
            }
            let is_of_this_version = bytes[10..12] == [0, 0] && bytes[20..24] == [0; 4];
            let is_same = (&bytes[..SEGMENT_HEADER_LEN], seed) == (&again[..], same_seed);
            assert!(!is_of_this_version || is_same, "{header:?} encodes to something else");
        }
        // What the caller tells the user: to take a newer program, or that the file is hurt.
        Err(HeaderFault::Newer { major }) => assert_eq!(u64::from(major), letter::number(bytes, 8, 2)),
        Err(HeaderFault::Features { bits }) => {
            assert_eq!(u64::from(bits), letter::number(bytes, 16, 4) & !1, "all but the one that is known");
        }
        Err(_) => {}
    }
}

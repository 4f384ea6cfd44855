//! A snapshot of any bytes: what decodes is what stands there by the letter of the format,
//! no less and no more, and encodes to the bytes it was decoded from.

use annals_codec::{FileName, Snapshot};

use crate::letter;

const HEADER_LEN: usize = 128;

/// Checks the input as a file: as it is, with good checksums, and with a length that fits as well.
pub fn check(input: &[u8]) {
    look_at(input);
    if input.len() < HEADER_LEN {
        return;
    }
    let mut file = input.to_vec();
    mend(&mut file);
    look_at(&file);
    let beside = letter::number(&file, 96, 2) + letter::number(&file, 100, 4);
    if let Some(payload) = ((file.len() - HEADER_LEN) as u64).checked_sub(beside) {
        file[88..96].copy_from_slice(&payload.to_le_bytes());
        mend(&mut file);
        look_at(&file);
    }
}

fn mend(file: &mut [u8]) {
    let (header, content) = file.split_at_mut(HEADER_LEN);
    header[104..108].copy_from_slice(&letter::crc(0, content).to_le_bytes());
    letter::make_good(header);
}

fn look_at(file: &[u8]) {
    let (decoded, expected) = (Snapshot::decode(file), letter::snapshot(file));
    let Ok(snapshot) = decoded else { return assert_eq!(expected, None, "{decoded:?}") };
    assert_eq!(Some(snapshot), expected);
    assert!(snapshot.name.len() <= FileName::MAX_LEN, "{snapshot:?}");
    assert_eq!(snapshot.encode(), file, "{snapshot:?} encodes to something else");
}

//! `WATERMARK` of any bytes: what decodes is what stands there by the letter of
//! the format, no less and no more, and encodes to the bytes it was decoded from.

use annals_codec::{WATERMARK_SLOT_LEN, Watermark};

use crate::letter;

/// Checks the input as a file, in three ways (`letter::slots`).
pub fn check(input: &[u8]) {
    letter::slots(input, WATERMARK_SLOT_LEN).iter().for_each(|file| look_at(file));
}

fn look_at(file: &[u8]) {
    let slots: Vec<_> = file.chunks(WATERMARK_SLOT_LEN).take(2).filter_map(letter::watermark).collect();
    let Some(watermark) = Watermark::decode(file) else { return assert!(slots.is_empty(), "none of {slots:?}") };
    let newest = slots.iter().map(|slot| slot.sequence).max();
    assert!(slots.contains(&watermark) && Some(watermark.sequence) == newest, "{watermark:?} of {slots:?}");
    assert!(watermark.sequence.checked_add(1).is_some(), "{watermark:?}");

    let again = watermark.encode();
    let is_stored = file.chunks(WATERMARK_SLOT_LEN).take(2).any(|slot| slot == again);
    assert!(is_stored, "{watermark:?} encodes to something else");
}

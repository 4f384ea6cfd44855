//! `store.meta` of any bytes: what decodes is what stands there by the letter of
//! the format, no less and no more, and encodes to the bytes it was decoded from.

use annals_codec::{META_SLOT_LEN, MetaFault, StoreMeta};

use crate::letter;

const STRIDE: usize = 4096;

/// Checks the input as a file, in three ways (`letter::slots`).
pub fn check(input: &[u8]) {
    letter::slots(input, STRIDE).iter().for_each(|file| look_at(file));
}

fn look_at(file: &[u8]) {
    let decoded = StoreMeta::decode(file);
    let slots: Vec<_> = file.chunks(STRIDE).take(2).map(letter::meta).collect();
    if slots.iter().any(Result::is_err) {
        return assert!(matches!(decoded, Err(MetaFault::Newer { major }) if major != 1), "{decoded:?} of {slots:?}");
    }
    let slots: Vec<_> = slots.into_iter().flatten().flatten().collect();
    let Ok(meta) = decoded else { return assert!(slots.is_empty(), "{decoded:?} of {slots:?}") };
    let newest = slots.iter().map(|slot| slot.sequence).max();
    assert!(slots.contains(&meta) && Some(meta.sequence) == newest, "{meta:?} of {slots:?}");
    assert!(meta.sequence.checked_add(1).is_some() && meta.active.next() > meta.active, "{meta:?}");

    let again = meta.encode();
    let stored =
        |slot: &[u8]| slot.get(10..META_SLOT_LEN).is_some_and(|slot| slot[..2] != [0, 0] || *slot == again[10..]);
    assert!(file.chunks(STRIDE).take(2).any(stored), "{meta:?} encodes to something else");
    assert_eq!(StoreMeta::decode(&again), Ok(meta));
}

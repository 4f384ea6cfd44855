//! The file of a consumer, of any bytes: what decodes is what stands there by the letter of
//! the format, no less and no more, and encodes to the bytes it was decoded from.

use annals_codec::{Checkpoint, CheckpointFault};

use crate::letter;

const STRIDE: usize = 4096;

/// Checks the input as a file, in three ways (`letter::slots`).
pub fn check(input: &[u8]) {
    letter::slots(input, STRIDE).iter().for_each(|file| look_at(file));
}

fn look_at(file: &[u8]) {
    let decoded = Checkpoint::decode(file);
    let slots: Vec<_> = file.chunks(STRIDE).take(2).map(letter::checkpoint).collect();
    if slots.iter().any(Result::is_err) {
        let is_newer = matches!(decoded, Err(CheckpointFault::Newer { version }) if version != 1);
        return assert!(is_newer, "{decoded:?} of {slots:?}");
    }
    let slots: Vec<_> = slots.into_iter().flatten().flatten().collect();
    let Ok(checkpoint) = decoded else { return assert!(slots.is_empty(), "{decoded:?} of {slots:?}") };
    let newest = slots.iter().map(|slot| slot.sequence).max();
    assert!(slots.contains(&checkpoint) && Some(checkpoint.sequence) == newest, "{checkpoint:?} of {slots:?}");
    assert!(checkpoint.sequence.checked_add(1).is_some(), "{checkpoint:?}");
    assert!(checkpoint.mark.agrees_with(&checkpoint.mark), "{checkpoint:?}");

    let again = checkpoint.encode();
    let is_stored = file.chunks(STRIDE).take(2).any(|slot| slot.get(..512) == Some(&again[..]));
    assert!(is_stored, "{checkpoint:?} encodes to something else");
}

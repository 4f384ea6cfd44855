//! One frame of any bytes: reading never panics, and what decodes encodes to
//! exactly the bytes it was decoded from, so that each fact has one encoding.
//!
//! The input is the frame. It is read as it is, which seldom gets behind the
//! checksum, and then again with its length and checksum made good.

#![no_main]

use annals_codec::{Chain, Commit, Epoch, Event, FRAME_HEADER_LEN, Frame, FrameKind, Seal, Seed, Trailer, padded};
use libfuzzer_sys::fuzz_target;

const SEED: Seed = Seed::new(0xF7FC_BBC1);

fuzz_target!(|input: &[u8]| {
    look_at(input);
    if input.len() < FRAME_HEADER_LEN {
        return;
    }
    let mut forged = input.to_vec();
    forged[4..8].copy_from_slice(&(input.len() as u32).to_le_bytes());
    let crc = SEED.checksum(&forged[4..]);
    forged[..4].copy_from_slice(&crc.to_le_bytes());
    forged.resize(padded(input.len() as u64) as usize, 0);
    look_at(&forged);

    if let Some(trailer) = input.first_chunk() {
        let _ = Trailer::decode(trailer, SEED);
    }
});

fn look_at(bytes: &[u8]) {
    let _ = Frame::read_unverified(bytes).map(|frame| decode(&frame, None));
    if let Ok(frame) = Frame::read(bytes, SEED) {
        decode(&frame, Some(&bytes[..frame.header.padded_len() as usize]));
    }
}

fn decode(frame: &Frame<'_>, stored: Option<&[u8]>) {
    let epoch = Epoch::new(u32::from(frame.header.epoch));
    let mut again = Vec::new();
    match frame.kind {
        FrameKind::Event => {
            let hasty = Event::decode_again(frame);
            if let Ok(event) = &hasty {
                event.tags.iter().for_each(drop);
            }
            let Ok(event) = Event::decode(frame) else { return };
            assert_eq!(hasty, Ok(event));
            event.encode(&mut again, SEED, epoch);
            assert_eq!(again.len() as u64, event.frame_len());
            assert!(stored.is_none_or(|stored| stored == again));
        }
        FrameKind::Commit => {
            let Ok(commit) = Commit::decode(frame) else { return };
            commit.encode(&mut again, SEED, 0, &mut Chain::default());
            assert_eq!(again.len() as u64, commit.frame_len());
            // The chain depends on the batch before, and the checksum on the chain.
            let Some(stored) = stored else { return };
            again[..4].copy_from_slice(&stored[..4]);
            again[48..52].copy_from_slice(&stored[48..52]);
            assert_eq!(stored, again);
        }
        FrameKind::Seal => {
            let Some(seal) = Seal::decode(frame) else { return };
            if seal.events <= 1_000 {
                seal.encode(&mut again, SEED, 4096, 0..seal.events as u32);
                assert!(stored.is_none_or(|stored| again.starts_with(stored)));
            }
        }
        FrameKind::Skippable(_) => {}
    }
}

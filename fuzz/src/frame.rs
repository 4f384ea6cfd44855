//! One frame of any bytes: what decodes is what stands there by the letter of the
//! format, no less and no more, and encodes to exactly the bytes it was decoded
//! from, so that each fact has one encoding.
//!
//! The input is the frame. It is read as it is, which seldom gets behind the
//! checksum, and then again with its length and checksum made good.

use annals_codec::{
    Chain, Commit, Epoch, Event, Frame, FrameKind, Seal, Seed, TRAILER_LEN, Trailer, payload_digest, redact_frame,
};

use crate::letter;

const SEED: Seed = Seed::new(0xF7FC_BBC1);

/// Checks the input as a frame, and as a trailer.
pub fn check(input: &[u8]) {
    look_at(input);
    if input.len() >= 20 {
        let mut forged = input.to_vec();
        forged[4..8].copy_from_slice(&(input.len() as u32).to_le_bytes());
        let crc = letter::crc(SEED.get(), &forged[4..]);
        forged[..4].copy_from_slice(&crc.to_le_bytes());
        forged.resize(input.len().next_multiple_of(8), 0);
        look_at(&forged);
        if let Some(padding) = forged[input.len()..].last_mut() {
            *padding = 1;
            look_at(&forged);
        }
    }
    if let Some(trailer) = input.first_chunk::<TRAILER_LEN>() {
        let mut forged = *trailer;
        let crc = letter::crc(SEED.get(), &forged[..TRAILER_LEN - 4]);
        forged[TRAILER_LEN - 4..].copy_from_slice(&crc.to_le_bytes());
        for trailer in [*trailer, forged] {
            assert_eq!(Trailer::decode(&trailer, SEED), letter::trailer(&trailer, SEED.get()));
        }
    }
}

fn look_at(bytes: &[u8]) {
    let _ = Frame::read_unverified(bytes).map(|frame| decode(&frame));
    let len = letter::frame_len(bytes, SEED.get());
    let Ok(frame) = Frame::read(bytes, SEED) else { return assert_eq!(len, None, "refused a good frame") };
    let len = len.unwrap_or_else(|| panic!("accepted {:?}", frame.header));
    assert_eq!(frame.header.len as usize, len);
    let (alone, stored) = (&bytes[..len], &bytes[..frame.header.padded_len() as usize]);
    let epoch = Epoch::new(u32::from(frame.header.epoch));
    let mut again = Vec::new();
    match frame.kind {
        FrameKind::Event => {
            let event = Event::decode(&frame).ok();
            assert_eq!(event, letter::event(alone));
            // One that is redacted was written before it was, and is never written again.
            let Some(event) = event.filter(|event| !event.redacted) else { return };
            event.encode(&mut again, SEED, epoch);
            assert_eq!((again.len() as u64, &again[..]), (event.frame_len(), stored));
            // Redacted, it is the same event without payload, under the same checksum.
            let digest = redact_frame(&mut again, SEED);
            assert_eq!(digest, Ok(payload_digest(event.data, event.metadata)));
            assert_eq!((again.len(), &again[..8]), (stored.len(), &stored[..8]));
            let mut left = event;
            (left.redacted, left.data, left.metadata) = (true, b"", None);
            assert_eq!(Frame::read(&again, SEED).map(|frame| Event::decode(&frame)).ok(), Some(Ok(left)));
            look_at(&again);
        }
        FrameKind::Commit => {
            let commit = Commit::decode(&frame).ok();
            assert_eq!(commit, letter::commit(alone));
            let Some(commit) = commit else { return };
            let previous = letter::number(&frame.body()[..4], 0, 4) as u32;
            let chain = commit.encode(&mut again, SEED, previous, &mut Chain::default());
            // Here there is no batch before, and no event: any will do.
            let expected = letter::crc(0, &[&previous.to_le_bytes(), &stored[20..48]].concat());
            assert_eq!((again.len() as u64, chain), (commit.frame_len(), expected));
            // The chain is another one than the stored one's, and the checksum with it.
            again[..4].copy_from_slice(&stored[..4]);
            again[48..52].copy_from_slice(&stored[48..52]);
            assert_eq!(stored, again);
        }
        FrameKind::Seal => {
            let seal = Seal::decode(&frame);
            assert_eq!(seal, letter::seal(alone));
            if let Some(seal) = seal.filter(|seal| seal.events <= 1_000) {
                let trailer = seal.encode(&mut again, SEED, 4096, 0..seal.events as u32);
                assert!(again.starts_with(stored), "{seal:?} encodes to something else");
                let end = again.last_chunk().and_then(|bytes| letter::trailer(bytes, SEED.get()));
                assert_eq!((end, trailer.file_len), (Some(trailer), 4096 + again.len() as u64));
            }
        }
        FrameKind::Skippable(number) => assert_eq!(number, bytes[8]),
    }
}

/// Bytes that nobody verified may decode to anything, but not end the program; and
/// what was checked once decodes to the same when it is not checked.
fn decode(frame: &Frame<'_>) {
    match frame.kind {
        FrameKind::Event => {
            let hasty = Event::decode_again(frame);
            if let Ok(event) = &hasty {
                event.tags.iter().for_each(drop);
            }
            if let Ok(event) = Event::decode(frame) {
                assert_eq!(hasty, Ok(event));
            }
        }
        FrameKind::Commit => drop(Commit::decode(frame)),
        FrameKind::Seal => drop(Seal::decode(frame)),
        FrameKind::Skippable(_) => {}
    }
}

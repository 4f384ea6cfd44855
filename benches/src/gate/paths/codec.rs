//! Bytes alone: an event of the shop, its batch's marker, and their checksums.

use std::hint::black_box;
use std::path::Path;

use annals::Position;
use annals_benches::sample::{self, SEED};
use annals_codec::{Event, Frame};

pub(super) fn encode(_: &Path, times: u64) {
    let (event, mut bytes) = (sample::event(), Vec::with_capacity(1 << 10));
    for _ in 0..times {
        bytes.clear();
        black_box(sample::encode(black_box(&event), &mut bytes));
    }
}

pub(super) fn encode_commit(_: &Path, times: u64) {
    let mut bytes = Vec::with_capacity(1 << 10);
    for number in 0..times {
        bytes.clear();
        black_box(sample::encode_commit(Position::new(1 + number), &mut bytes));
    }
}

pub(super) fn decode(_: &Path, times: u64) {
    let bytes = sample::frame();
    for _ in 0..times {
        let frame = Frame::read(black_box(&bytes), SEED).expect("a whole frame");
        black_box(Event::decode(&frame).expect("a whole event"));
    }
}

pub(super) fn decode_again(_: &Path, times: u64) {
    let bytes = sample::frame();
    for _ in 0..times {
        let frame = Frame::read_unverified(black_box(&bytes)).expect("a whole frame");
        black_box(Event::decode_again(&frame).expect("a whole event"));
    }
}

pub(super) fn checksum(_: &Path, times: u64) {
    let bytes = [7; 300];
    for _ in 0..times {
        black_box(SEED.checksum(black_box(&bytes)));
    }
}

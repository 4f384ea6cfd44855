//! Bytes alone: encoding, decoding and checksums of one event, beside a copy of as many bytes.
#![allow(missing_docs, reason = "criterion's macros make public items")]

use std::hint::black_box;
use std::time::Duration;

use annals_benches::sample::{self, SEED};
use annals_codec::{Event, Frame, Position};
use criterion::{Criterion, Throughput, criterion_group, criterion_main};

fn codec(c: &mut Criterion) {
    let mut group = c.benchmark_group("codec");
    group.sample_size(50).warm_up_time(Duration::from_millis(200)).measurement_time(Duration::from_millis(500));
    let (event, frame, mut bytes) = (sample::event(), sample::frame(), Vec::with_capacity(1 << 10));
    group.throughput(Throughput::Bytes(frame.len() as u64));
    group.bench_function("encode", |b| {
        b.iter(|| {
            bytes.clear();
            sample::encode(black_box(&event), &mut bytes)
        });
    });
    group.bench_function("decode, checksum verified", |b| {
        b.iter(|| {
            let frame = Frame::read(black_box(&frame), SEED).unwrap();
            Event::decode(&frame).unwrap().position
        });
    });
    group.bench_function("decode again", |b| {
        b.iter(|| {
            let frame = Frame::read_unverified(black_box(&frame)).unwrap();
            Event::decode_again(&frame).unwrap().position
        });
    });
    group.bench_function("checksum", |b| b.iter(|| SEED.checksum(black_box(&frame))));
    group.bench_function("raw copy", |b| {
        b.iter(|| {
            bytes.clear();
            bytes.extend_from_slice(black_box(&frame));
            black_box(&bytes).len()
        });
    });

    group.throughput(Throughput::Elements(1));
    group.bench_function("encode commit marker", |b| {
        b.iter(|| {
            bytes.clear();
            sample::encode_commit(black_box(Position::new(7)), &mut bytes)
        });
    });
    group.finish();
}

criterion_group!(benches, codec);
criterion_main!(benches);

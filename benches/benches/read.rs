//! Reading everything, beside a bare walk over the same bytes.
#![allow(missing_docs, reason = "criterion's macros make public items")]

use std::fs;
use std::time::Duration;

use annals::{Durability, Position};
use annals_benches::{fill, open_store, raw_scan, read_all};
use annals_codec::SegmentHeader;
use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};

const EVENTS: usize = 100_000;

fn reads(c: &mut Criterion) {
    let dir = tempfile::tempdir().unwrap();
    drop(fill(dir.path(), EVENTS));
    let segment = fs::read_dir(dir.path().join("seg")).unwrap().next().unwrap().unwrap().path();
    let bytes = fs::read(segment).unwrap();
    let (_, seed) = SegmentHeader::decode(&bytes).unwrap();
    let segments = [(bytes, seed)];

    let mut group = c.benchmark_group("read");
    group.sample_size(20).warm_up_time(Duration::from_millis(500)).measurement_time(Duration::from_secs(3));
    group.throughput(Throughput::Elements(EVENTS as u64));
    group.bench_function("all/annals, first time since open", |b| {
        b.iter_batched(|| open_store(dir.path(), Durability::Sync), |store| read_all(&store), BatchSize::PerIteration);
    });
    let store = open_store(dir.path(), Durability::Sync);
    group.bench_function("all/annals, again", |b| b.iter(|| read_all(&store)));
    group.bench_function("all/raw scan with checksums", |b| b.iter(|| raw_scan(&segments)));
    group.throughput(Throughput::Elements(1));
    let mut position = 1;
    group.bench_function("one event by position", |b| {
        b.iter(|| {
            position = position * 31 % EVENTS as u64 + 1;
            store.get(Position::new(position)).unwrap().unwrap()
        });
    });
    group.finish();
}

criterion_group!(benches, reads);
criterion_main!(benches);

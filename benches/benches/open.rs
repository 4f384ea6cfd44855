//! Opening a store that was closed cleanly, beside reading its last segment and walking over it.
#![allow(missing_docs, reason = "criterion's macros make public items")]

use std::time::Duration;

use annals::{Durability, EventStore};
use annals_benches::shop::{self, Shop, Shuffled};
use annals_benches::{open_store, raw_read_and_scan, segment_paths};
use criterion::{BenchmarkId, Criterion, criterion_group, criterion_main};

fn opens(c: &mut Criterion) {
    let mut group = c.benchmark_group("open");
    group.sample_size(10).warm_up_time(Duration::from_millis(300)).measurement_time(Duration::from_secs(1));
    for events in [1_000, 10_000, 100_000] {
        let dir = tempfile::tempdir().unwrap();
        let (mut order, mut shop) = (Shuffled::new(1000), Shop::new());
        // Of the largest, ten segments are sealed, and opening does not read them.
        shop::fill(&shop::open(dir.path(), 4 << 20), events, 100, || (shop::stream(order.next_number()), shop.event()));
        group.bench_function(BenchmarkId::new("annals", events), |b| {
            b.iter(|| open_store(dir.path(), Durability::Sync));
        });
        group.bench_function(BenchmarkId::new("annals, read-only", events), |b| {
            b.iter(|| EventStore::open_read_only(dir.path()).unwrap());
        });
        let last = segment_paths(dir.path()).pop().unwrap();
        let mut buffer = Vec::new();
        group.bench_function(BenchmarkId::new("raw, its last segment", events), |b| {
            b.iter(|| raw_read_and_scan(std::slice::from_ref(&last), &mut buffer));
        });
    }
    group.finish();
}

criterion_group!(benches, opens);
criterion_main!(benches);

//! Appending, beside the raw system calls in the same run.
#![allow(missing_docs, reason = "criterion's macros make public items")]

use std::time::Duration;

use annals::Durability;
use annals_benches::{RawLog, Workload, append, open_store};
use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};

fn appends(c: &mut Criterion) {
    for (name, durability) in [("durable", Durability::Sync), ("buffered", Durability::Buffered)] {
        let mut group = c.benchmark_group(format!("append/{name}"));
        group.sample_size(20).warm_up_time(Duration::from_millis(500)).measurement_time(Duration::from_secs(3));
        for size in [1, 100] {
            group.throughput(Throughput::Elements(size as u64));
            let dir = tempfile::tempdir().unwrap();
            let store = open_store(dir.path(), durability);
            let mut work = Workload::new();
            group.bench_function(BenchmarkId::new("annals", size), |b| b.iter(|| append(&store, &mut work, 1, size)));

            let dir = tempfile::tempdir().unwrap();
            let mut raw = RawLog::create(dir.path(), durability);
            let mut work = Workload::new();
            group.bench_function(BenchmarkId::new("raw", size), |b| b.iter(|| raw.append(&mut work, 1, size)));
        }
        group.finish();
    }
}

criterion_group!(benches, appends);
criterion_main!(benches);

//! Appending by durability, batch size and number of threads, beside the raw system calls in the same run.
#![allow(missing_docs, reason = "criterion's macros make public items")]

use std::time::{Duration, Instant};

use annals::Durability;
use annals_benches::{RawLog, Workload, append, open_store};
use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};

const DURABILITIES: [(&str, Durability); 2] = [("durable", Durability::Sync), ("buffered", Durability::Buffered)];

fn by_size(c: &mut Criterion) {
    for (name, durability) in DURABILITIES {
        let mut group = c.benchmark_group(format!("append/{name}"));
        group.sample_size(20).warm_up_time(Duration::from_millis(300)).measurement_time(Duration::from_secs(1));
        for size in [1, 10, 100, 1000] {
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

/// So many callers at once, each with an event of its own. Their baseline is one write, and one sync, for an event of
/// each: what perfect sharing would be.
fn by_threads(c: &mut Criterion) {
    for (name, durability) in DURABILITIES {
        let mut group = c.benchmark_group(format!("append/{name}, threads"));
        group.sample_size(10).warm_up_time(Duration::from_millis(300)).measurement_time(Duration::from_secs(1));
        for threads in [4, 16, 64] {
            group.throughput(Throughput::Elements(threads as u64));
            let dir = tempfile::tempdir().unwrap();
            let store = open_store(dir.path(), durability);
            let mut works: Vec<Workload> = (0..threads).map(|_| Workload::new()).collect();
            group.bench_function(BenchmarkId::new("annals", threads), |b| {
                b.iter_custom(|times| {
                    let start = Instant::now();
                    std::thread::scope(|scope| {
                        for work in &mut works {
                            let store = &store;
                            scope.spawn(move || append(store, work, times as usize, 1));
                        }
                    });
                    start.elapsed()
                });
            });

            let dir = tempfile::tempdir().unwrap();
            let mut raw = RawLog::create(dir.path(), durability);
            let mut work = Workload::new();
            group.bench_function(BenchmarkId::new("raw", threads), |b| b.iter(|| raw.append(&mut work, 1, threads)));
        }
        group.finish();
    }
}

criterion_group!(benches, by_size, by_threads);
criterion_main!(benches);

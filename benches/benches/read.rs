//! Reading everything, one stream, one event and by query, each beside a bare walk over the same bytes, in memory.
#![allow(missing_docs, reason = "criterion's macros make public items")]

use std::hint::black_box;
use std::time::Duration;

use annals::{Durability, EventType, Position, QueryItem, StreamVersion};
use annals_benches::shop::{self, Dice, Shop, Shuffled};
use annals_benches::{Placed, load, open_store, raw_scan, read_all, segment_paths};
use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};

const STREAMS: u64 = 1000;
const STREAM_EVENTS: u64 = 94;
const EVENTS: u64 = STREAMS * STREAM_EVENTS;
/// One event in so many is of another type.
const RARE: u64 = 100;

fn reads(c: &mut Criterion) {
    let dir = tempfile::tempdir().unwrap();
    let (mut order, mut shop, mut number) = (Shuffled::new(STREAMS), Shop::new(), 0);
    let rare = EventType::new("Returned").unwrap();
    shop::fill(&shop::open(dir.path(), 64 << 20), EVENTS, 100, || {
        number += 1;
        let event = if number % RARE == 0 { shop.event_of_type(&rare) } else { shop.event() };
        (shop::stream(order.next_number()), event)
    });
    let store = open_store(dir.path(), Durability::Sync);
    read_all(&store);
    let segments = load(&segment_paths(dir.path()));
    let placed = Placed::load(dir.path());

    let mut group = c.benchmark_group("read");
    group.sample_size(20).warm_up_time(Duration::from_millis(300)).measurement_time(Duration::from_secs(1));

    group.throughput(Throughput::Elements(EVENTS));
    group.bench_function("all/annals, again", |b| b.iter(|| read_all(&store)));
    group.bench_function("all/raw scan with checksums", |b| b.iter(|| raw_scan(&segments)));

    let mut dice = Dice::new(7);
    let chosen: Vec<_> = (0..20).map(|_| shop::stream(dice.below(STREAMS))).collect();
    let numbers: Vec<_> = chosen.iter().map(|stream| placed.numbers_of(stream)).collect();
    group.throughput(Throughput::Elements(STREAM_EVENTS));
    let mut next = (0..chosen.len()).cycle();
    group.bench_function("stream of 94/annals", |b| {
        b.iter(|| {
            let mut reader = store.read_stream(&chosen[next.next().unwrap()], StreamVersion::EMPTY).unwrap();
            while let Some(event) = reader.next_event().unwrap() {
                black_box(event.data[0]);
            }
        });
    });
    group.bench_function("stream of 94/raw", |b| {
        b.iter(|| {
            for &number in &numbers[next.next().unwrap()] {
                black_box(placed.event(number).data[0]);
            }
        });
    });

    group.throughput(Throughput::Elements(1));
    group.bench_function("position/annals", |b| {
        b.iter(|| store.get(Position::new(1 + dice.below(EVENTS))).unwrap().unwrap());
    });
    let mut dice = Dice::new(7);
    group.bench_function("position/raw", |b| {
        b.iter(|| black_box(placed.event(dice.below(EVENTS) as usize).position));
    });

    group.throughput(Throughput::Elements(EVENTS / RARE));
    group.bench_function("type of 1 in 100/annals", |b| {
        b.iter(|| {
            let mut reader = store.read(QueryItem::new().event_type("Returned"), Position::START).unwrap();
            let mut found = 0;
            while let Some(event) = reader.next_event().unwrap() {
                found += u64::from(!event.data.is_empty());
            }
            assert_eq!(found, EVENTS / RARE);
        });
    });
    group.bench_function("type of 1 in 100/raw", |b| {
        b.iter(|| {
            let found = (0..placed.len()).filter(|&number| placed.event(number).event_type == "Returned").count();
            assert_eq!(found as u64, EVENTS / RARE);
        });
    });

    // The last, because it opens the store again.
    drop(store);
    group.throughput(Throughput::Elements(EVENTS));
    group.bench_function("all/annals, first time since open", |b| {
        b.iter_batched(|| open_store(dir.path(), Durability::Sync), |store| read_all(&store), BatchSize::PerIteration);
    });
    group.finish();
}

criterion_group!(benches, reads);
criterion_main!(benches);

//! Folding: a projection beside reading everything, ten in one pass beside one, a restart beside what came after its
//! snapshot, and how long an appended event takes until it can be seen in a state.
//!
//! - *fold*: `catch_up` of a projection that counts events of five types, with a handler for each, over all events of
//!   the store; beside `read_all` over the same events, of the same store, all checksums verified before. The ratio is
//!   that of the rates. Aimed at: ≥ 0.5.
//! - *ten*: ten such projections that one thread brings up to date in one pass, beside one alone, likewise. The ratio is
//!   that of the times. Aimed at: < 3.
//! - *restart*: opening is left out; attaching a projection with its newest snapshot, and catching up. Aimed at: as many
//!   microseconds for each event after the snapshot, however long the log is before it.
//! - *lag*: a live projection; somebody appends buffered events. *Waited for*: he waits for each until the state has it
//!   (`LiveProjection::wait_for`), which wakes two threads, one after the other. *At a pace*: he appends so many a second,
//!   and the handler says how old each event is. *Never rests*: likewise, as fast as he can; on a machine of two cores
//!   his thread, the projection's and that which flushes are then one too many, and who is to run waits for a slice of
//!   the scheduler's. Nobody spins. Aimed at: p99 < 200 µs.

use std::path::Path;
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use annals::{Durability, EventStore, EventType, ExpectedVersion};
use annals_benches::shop::{self, Shop, Shuffled};
use annals_benches::{open_store, read_all};
use annals_projection::{Handlers, LiveProjection, Projection, SharedPass};

use crate::bench::{Bench, fact, heading, row};
use crate::tail::{HEADING, Times};
use crate::turns::{Spread, in_turn, ratios, timed};

const TYPES: [&str; 5] = ["Placed", "Paid", "Packed", "Shipped", "Returned"];
/// Longer than anything takes.
const PATIENCE: Duration = Duration::from_secs(120);

/// How many events of each type there were, and how many bytes they had.
type Counts = [(u64, u64); TYPES.len()];

fn counting(name: &str) -> Projection<Handlers<Counts>> {
    let mut counting = Projection::new(name);
    for (place, event_type) in TYPES.into_iter().enumerate() {
        counting = counting.when(event_type, move |counts: &mut Counts, event| {
            counts[place].0 += 1;
            counts[place].1 += event.data.len() as u64;
        });
    }
    counting
}

fn sum(counts: &Counts) -> u64 {
    counts.iter().map(|(events, _)| events).sum()
}

/// Appends events of the five types in turn.
fn fill(store: &EventStore, events: u64) {
    let types = TYPES.map(|name| EventType::new(name).expect("a short name"));
    let (mut order, mut shop, mut number) = (Shuffled::new(10_000), Shop::new(), 0);
    shop::fill(store, events, 100, || {
        number += 1;
        (shop::stream(order.next_number()), shop.event_of_type(&types[number % TYPES.len()]))
    });
}

fn fold(store: &EventStore, events: u64) {
    let mut one = counting("one").attach(store).expect("a name and a store");
    one.catch_up().expect("a whole log");
    assert_eq!(sum(&one.state()), events);
}

fn fold_ten(store: &EventStore, events: u64) {
    let mut pass = SharedPass::new(store);
    let names = (0..10).map(|number| format!("number-{number}"));
    let all: Vec<LiveProjection<Counts>> =
        names.map(|name| pass.add(counting(&name)).expect("a name and a store")).collect();
    pass.start().expect("a thread");
    for projection in &all {
        projection.wait_for(store.head(), PATIENCE).expect("a whole log");
        assert_eq!(projection.read(|counts, _| sum(counts)), events);
    }
}

pub(crate) fn measure(bench: &Bench) {
    let events = bench.many(1_000_000);
    let dir = tempfile::tempdir().expect("a directory");
    let store = open_store(dir.path(), Durability::Buffered);
    fill(&store, events);
    // Every checksum is verified once.
    read_all(&store);
    let rounds = if bench.quick { 3 } else { 11 };
    let seconds = in_turn(
        rounds,
        vec![
            Box::new(|| timed(|| fold(&store, events))),
            Box::new(|| timed(|| assert!(read_all(&store) > events))),
            Box::new(|| timed(|| fold_ten(&store, events))),
        ],
    );
    heading("folding everything, five handlers", "read all");
    row("one projection", events as usize, &seconds[0], &seconds[1]);
    fact("ten in one pass, as a multiple of one's time", format!("{:.2}", ratios(&seconds[2], &seconds[0]).inverse()));
    drop(store);
    restart(dir.path(), events, rounds);
    lag(bench);
}

fn restart(dir: &Path, events: u64, rounds: usize) {
    println!("{:<44} {:>12} {:>18}", "restart: events after the snapshot", "ms", "µs for each event");
    let mut before = events;
    for after in [events / 1000, events / 100, events / 10] {
        let store = open_store(dir, Durability::Buffered);
        let name = format!("restart-{after}");
        let mut one = counting(&name).keep_snapshots(1).attach(&store).expect("a name and a store");
        one.catch_up().expect("a whole log");
        one.take_snapshot().expect("a disk with space");
        drop(one);
        fill(&store, after);
        before += after;
        let restart = || {
            let mut one = counting(&name).keep_snapshots(1).attach(&store).expect("a name and a store");
            assert_eq!(one.position().get(), before - after, "it has its snapshot");
            one.catch_up().expect("a whole log");
            assert_eq!(sum(&one.state()), before);
        };
        let seconds = in_turn(rounds, vec![Box::new(|| timed(restart))]);
        let took = Spread::of(&seconds[0]);
        println!("{after:<44} {:>12.2} {:>18.3}", took.times(1e3).median, took.times(1e6 / after as f64).median);
    }
}

fn lag(bench: &Bench) {
    println!("{:<28} µs:{HEADING}", "append to applied state");
    println!("{:<28}    {}", "one at a time, waited for", waited_for(bench.many(20_000)));
    for each_second in [1_000, 10_000, 50_000] {
        let pace = Duration::from_secs(1) / each_second;
        let name = format!("a writer of {each_second}/s");
        println!("{name:<28}    {}", followed(bench.many(u64::from(each_second) * 4), pace));
    }
    println!("{:<28}    {}", "a writer that never rests", followed(bench.many(200_000), Duration::ZERO));
}

/// From the beginning of each append until who made it has been told that the state has it.
fn waited_for(events: u64) -> Times {
    let dir = tempfile::tempdir().expect("a directory");
    let store = open_store(dir.path(), Durability::Buffered);
    let live = LiveProjection::start(&store, counting("live")).expect("a thread");
    let (mut times, mut shop) = (Times::default(), Shop::new());
    for _ in 0..events {
        let event = shop.event();
        times.time(|| {
            let done = store.append(shop::stream(2), ExpectedVersion::Any, event).expect("an append");
            live.wait_for(done.last, PATIENCE).expect("a projection that goes on");
        });
        // Everybody is asleep again before the next one.
        thread::sleep(Duration::from_micros(100));
    }
    times
}

/// From the beginning of each append until the handler has applied it; what the state shows may be a batch of 256 behind.
fn followed(events: u64, pace: Duration) -> Times {
    let dir = tempfile::tempdir().expect("a directory");
    let store = open_store(dir.path(), Durability::Buffered);
    let (began, times) = (Instant::now(), Arc::new(Mutex::new(Times::default())));
    let told = Arc::clone(&times);
    let lag = Projection::new("lag").when("Shipped", move |count: &mut u64, event| {
        *count += 1;
        let appended = event.occurred_at.unwrap_or_default();
        told.lock().expect("nobody panics").push(nanos_since(began).saturating_sub(appended.cast_unsigned()));
    });
    let live = LiveProjection::start(&store, lag).expect("a thread");
    let (mut shop, mut next) = (Shop::new(), Instant::now());
    for _ in 0..events {
        // Asleep until it is time; who wakes up late appends what he owes at once, as a burst.
        if let Some(left) = next.checked_duration_since(Instant::now()) {
            thread::sleep(left);
        }
        next += pace;
        let event = shop.event().occurred_at(nanos_since(began).cast_signed());
        store.append(shop::stream(2), ExpectedVersion::Any, event).expect("an append");
    }
    live.wait_for(store.head(), PATIENCE).expect("a projection that goes on");
    drop(live);
    let times = times.lock().expect("nobody panics");
    times.clone()
}

fn nanos_since(began: Instant) -> u64 {
    began.elapsed().as_nanos() as u64
}

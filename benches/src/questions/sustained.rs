//! Ten minutes of everything at once: is there a drift, or a tail that grows?
//!
//! In this process: a thread that appends single durable events, one with durable batches of ten, one with
//! buffered batches of ten at a pace of its own, one that reads the ends of streams, one that reads single
//! events, and one that reads from where it was to the end, again and again. In processes of their own: a reader
//! that follows with a read-only open, and `verify` of the whole store, again and again. Segments of 16 MiB, so
//! that many roll.
//!
//! Each minute prints a line; the end compares the last third with the first, and verifies once more. `--minutes`
//! says how long; `--quick` takes 12 seconds.
//!
//! Aimed at: the last third as the first, but for `verify`, which has more to read each time; memory and
//! descriptors that do not grow; no finding.

use std::path::Path;
use std::process::{Child, Command, ExitCode};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use annals::{Durability, EventStore, Options, Position, StreamVersion, inspect};
use annals_benches::shop::{self, Dice, Shop, Shuffled};

use crate::bench::{Bench, fact};
use crate::footprint::{anonymous_kib, descriptors};
use crate::tail::Tally;

/// The words that start the other processes.
pub(crate) const CHILD: &str = "sustained-child";

const STREAMS: u64 = 10_000;
const SEGMENT: u64 = 16 << 20;
/// The buffered writer leaves the others some of the disk: so long a pause after each batch.
const BUFFERED_PAUSE: Duration = Duration::from_millis(2);
/// So many events are read at the end of a stream.
const STREAM_END: u64 = 10;
/// So many lines are printed.
const LINES: u32 = 10;

/// Tells all to stop, also when somebody panics.
struct Stopping<'a>(&'a AtomicBool);

impl Drop for Stopping<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// A process that is not to outlive this one.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// What is done and timed.
#[derive(Clone, Copy)]
enum Kind {
    DurableOne,
    DurableTen,
    BufferedTen,
    Stream,
    Get,
    CatchUp,
}

const KINDS: [(&str, Kind); 6] = [
    ("durable", Kind::DurableOne),
    ("durable, 10", Kind::DurableTen),
    ("buffered, 10", Kind::BufferedTen),
    ("end of stream", Kind::Stream),
    ("get", Kind::Get),
    ("catch up", Kind::CatchUp),
];

/// What one kind has done since it was last looked at.
type Counts = [Mutex<Tally>; KINDS.len()];

pub(crate) fn measure(bench: &Bench) {
    let whole = if bench.quick { Duration::from_secs(12) } else { Duration::from_secs_f64(bench.minutes * 60.0) };
    let dir = tempfile::tempdir().expect("a directory");
    let store = EventStore::open(dir.path(), &Options::new().segment_bytes(SEGMENT)).expect("a fresh directory");
    // Something to read from the start.
    let (mut order, mut shop) = (Shuffled::new(STREAMS), Shop::new());
    shop::fill(&store, 2 * STREAMS, 100, || (shop::stream(order.next_number()), shop.event()));

    let (counts, stop, verified): (Counts, _, _) = (Counts::default(), AtomicBool::new(false), AtomicU64::new(0));
    let line = whole / LINES;
    let mut lines = Vec::new();
    thread::scope(|scope| {
        for (number, (_, kind)) in KINDS.iter().enumerate() {
            let (store, times, stop) = (store.clone(), &counts[number], &stop);
            scope.spawn(move || work(*kind, &store, times, stop));
        }
        let _stopping = Stopping(&stop);
        let mut follower = Running(child("follow", dir.path()));
        scope.spawn(|| {
            while !stop.load(Ordering::Relaxed) {
                let status = child("verify", dir.path()).wait().expect("a child process");
                assert!(status.success(), "verify beside a writer has found something: {status}");
                verified.fetch_add(1, Ordering::Relaxed);
            }
        });
        println!(
            "{:>8} {:>9} {:>4} {:>8} {:>6}  for each kind: per second, p99 and p99.9 in µs",
            "s", "anon MiB", "fds", "events", "verify"
        );
        println!("{:>40}  {}", "", KINDS.map(|(name, _)| format!("{name:<24}")).join(""));
        let start = Instant::now();
        for number in 1..=LINES {
            thread::sleep((start + line * number).saturating_duration_since(Instant::now()));
            let times: Vec<Tally> =
                counts.iter().map(|times| std::mem::take(&mut *times.lock().expect("no panic"))).collect();
            let looked =
                Line { times, anonymous: anonymous_kib(), descriptors: descriptors(), seconds: line.as_secs_f64() };
            println!(
                "{:>8.0} {:>9.1} {:>4} {:>7.1}M {:>6}  {}",
                start.elapsed().as_secs_f64(),
                looked.anonymous as f64 / 1024.0,
                looked.descriptors,
                store.head().get() as f64 / 1e6,
                verified.load(Ordering::Relaxed),
                looked.times.iter().map(|times| looked.cell(times)).collect::<String>(),
            );
            lines.push(looked);
            assert!(follower.0.try_wait().expect("a child process").is_none(), "the follower has ended");
        }
    });
    trend(&lines);
    let events = store.head();
    store.close().expect("a clean close");
    let report = inspect::verify(dir.path(), |_, _| {}).expect("a store");
    assert!(report.is_clean() && report.head == events, "{:?}", report.findings);
    fact("verified at the end", format_args!("{} events in {} segments, no finding", report.events, report.segments));
}

/// What was seen in one stretch of time.
struct Line {
    times: Vec<Tally>,
    anonymous: u64,
    descriptors: usize,
    seconds: f64,
}

impl Line {
    fn cell(&self, times: &Tally) -> String {
        let rate = times.len() as f64 / self.seconds;
        format!("{rate:>8.0} {:>6.0} {:>7.0}  ", times.permille(990.0), times.permille(999.0))
    }
}

/// The last third beside the first.
fn trend(lines: &[Line]) {
    let third = lines.len() / 3;
    let (first, last) = (&lines[..third], &lines[lines.len() - third..]);
    println!("the last third beside the first");
    for (number, (name, _)) in KINDS.iter().enumerate() {
        let all = |lines: &[Line]| {
            let mut all = Tally::default();
            for line in lines {
                all.add(&line.times[number]);
            }
            all
        };
        let (before, after) = (all(first), all(last));
        let ratio = |of: &dyn Fn(&Tally) -> f64| of(&after) / of(&before);
        let rate = ratio(&|times| times.len() as f64);
        let tails = [990.0, 999.0].map(|share| ratio(&|times| times.permille(share)));
        fact(&format!("  {name}"), format_args!("rate × {rate:.2}, p99 × {:.2}, p99.9 × {:.2}", tails[0], tails[1]));
    }
    let mean = |lines: &[Line], of: fn(&Line) -> f64| lines.iter().map(of).sum::<f64>() / lines.len() as f64;
    let memory = |line: &Line| line.anonymous as f64 / 1024.0;
    let open = |line: &Line| line.descriptors as f64;
    fact("  anonymous memory, MiB", format_args!("{:.1} → {:.1}", mean(first, memory), mean(last, memory)));
    fact("  descriptors", format_args!("{:.0} → {:.0}", mean(first, open), mean(last, open)));
}

/// Does one kind of work until it is told to stop.
fn work(kind: Kind, store: &EventStore, counts: &Mutex<Tally>, stop: &AtomicBool) {
    let mut dice = Dice::new(kind as u64 + 1);
    let mut shop = Shop::new();
    let mut reached = Position::START;
    while !stop.load(Ordering::Relaxed) {
        let mut times = Tally::default();
        match kind {
            Kind::DurableOne => append(store, &mut times, &mut dice, &mut shop, Durability::Sync, 1),
            Kind::DurableTen => append(store, &mut times, &mut dice, &mut shop, Durability::Sync, 10),
            Kind::BufferedTen => {
                append(store, &mut times, &mut dice, &mut shop, Durability::Buffered, 10);
                thread::sleep(BUFFERED_PAUSE);
            }
            Kind::Stream => {
                let stream = shop::stream(dice.below(STREAMS));
                let end = store.stream_version(&stream).expect("a whole log");
                // As many events each time, although the stream grows.
                let before = StreamVersion::new(end.get().saturating_sub(STREAM_END));
                times.time(|| {
                    let mut reader = store.read_stream(&stream, before).expect("a stream's name");
                    while reader.next_event().expect("a whole log").is_some() {}
                });
                thread::sleep(Duration::from_millis(1));
            }
            Kind::Get => {
                let position = Position::new(1 + dice.below(store.head().get()));
                times.time(|| store.get(position).expect("a whole log").expect("a position of the log"));
                thread::sleep(Duration::from_millis(1));
            }
            Kind::CatchUp => {
                times.time(|| {
                    let mut reader = store.read_all(reached);
                    while let Some(event) = reader.next_event().expect("a whole log") {
                        reached = event.position;
                    }
                });
                thread::sleep(Duration::from_millis(5));
            }
        }
        counts.lock().expect("no panic").add(&times);
    }
}

fn append(store: &EventStore, times: &mut Tally, dice: &mut Dice, shop: &mut Shop, durability: Durability, size: u64) {
    let mut batch = store.batch().durability(durability);
    for _ in 0..size {
        batch = batch.event(shop::stream(dice.below(STREAMS)), shop.event());
    }
    times.time(|| batch.commit().expect("an append"));
}

fn child(what: &str, dir: &Path) -> Child {
    let this = std::env::current_exe().expect("the path of this program");
    Command::new(this).args([CHILD, what]).arg(dir).spawn().expect("a child process")
}

/// What another process does.
pub(crate) fn run_child(args: &[String]) -> ExitCode {
    match args {
        [what, dir] if what == "follow" => follow(Path::new(dir)),
        [what, dir] if what == "verify" => {
            let report = inspect::verify(dir, |_, _| {}).expect("a store");
            for finding in &report.findings {
                eprintln!("verify: {finding:?}");
            }
            if report.is_clean() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
        }
        _ => ExitCode::FAILURE,
    }
}

/// Reads every event as soon as it is durable, until it is killed, and sees that none is missing.
fn follow(dir: &Path) -> ExitCode {
    let store = EventStore::open_read_only(dir).expect("a store");
    let mut reached = Position::START;
    loop {
        let mut reader = store.read_all(reached);
        while let Some(event) = reader.next_event().expect("a whole log") {
            assert_eq!(event.position, reached.plus(1), "none is missing");
            reached = event.position;
        }
        thread::sleep(Duration::from_millis(5));
    }
}

//! Whether a long log is as quick as a short one: the same measures at a tenth of a size, and at all of it.
//!
//! `--bytes 10G` says how long the log becomes (1 GB unless told). An event has 256 bytes of payload and 40 of
//! metadata; batches of 100 are appended buffered. 10,000 streams take in 94 events each, and then 10,000 others
//! begin: so streams grow in number with the log, and each lies in 400 MB of it. One event in ten has a tag, and
//! ten events share one.
//!
//! - *append*: in the first and in the last tenth, 20 stretches of ours and of the raw system calls in turn, each
//!   without a sync, and everything synced between them;
//! - *look-ups*: a stream of 94 events, an event by position, by id, and the ten events of a tag: random ones of
//!   the whole log, 1,000 of each, all of them looked up once before;
//! - *open*: after a clean close, and after a process that had the store was killed;
//! - *memory*: anonymous memory of this process, with the store open.
//!
//! `--hollow` simulates a larger log than the disk has room for: events without payload and metadata, in segments
//! that are smaller in the same proportion. So the numbers of events, streams, segments, and of levels of filters
//! are those of a log of `--bytes`; only the bytes that nobody has to look through are not there. It is no
//! measure of how fast a disk is.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, ExitCode, Stdio};

use annals::{Durability, EventId, EventStore, NewEvent, Options, Position, QueryItem, StreamId, StreamVersion, Tag};
use annals_benches::shop::{self, Dice, Shop, Shuffled};
use annals_benches::{RawLog, Workload};

use crate::bench::{Bench, fact, heading, row};
use crate::footprint::{anonymous_kib, disk_bytes, settle};
use crate::turns::{Spread, in_turn, ratios, timed};

/// The word that starts the process that is killed.
pub(crate) const CHILD: &str = "growth-child";

const WINDOW: u64 = 10_000;
const STREAM_EVENTS: u64 = 94;
const SEGMENT: u64 = 64 << 20;
/// Bytes of an event in the log, with its share in the marker of a batch of 100.
const FULL: u64 = 393;
/// The same without payload and metadata.
const HOLLOW: u64 = 97;
/// One event in so many has a tag.
const TAGGED: u64 = 10;
/// So many events share a tag.
const TAG_EVENTS: u64 = 10;
const STRETCHES: u64 = 20;
const LOOKS: usize = 1000;

/// What is appended, one event after the other.
struct Source {
    order: Shuffled,
    shop: Shop,
    made: u64,
    is_hollow: bool,
}

impl Source {
    fn next(&mut self) -> (StreamId, NewEvent) {
        let window = self.made / (WINDOW * STREAM_EVENTS);
        let stream = shop::stream(window * WINDOW + self.order.next_number());
        let event = if self.is_hollow { NewEvent::new("Shipped", &b""[..]) } else { self.shop.event() };
        let event =
            if self.made.is_multiple_of(TAGGED) { event.tag(tag(self.made / TAGGED / TAG_EVENTS)) } else { event };
        self.made += 1;
        (stream, event)
    }
}

fn tag(number: u64) -> Tag {
    Tag::new(&format!("invoice:{number}")).expect("a short name")
}

/// What was measured at one size: seconds of each run.
struct Measured {
    name: String,
    append: [Vec<f64>; 2],
    looks: [Vec<f64>; 4],
    /// How many events were read in all streams of a run.
    of_streams: u64,
    open: [Vec<f64>; 2],
    anonymous_kib: u64,
    disk: u64,
}

pub(crate) fn measure(bench: &Bench) {
    let bytes = if bench.quick { bench.bytes / 10 } else { bench.bytes };
    let (per_event, segment) = if bench.hollow { (HOLLOW, SEGMENT * HOLLOW / FULL) } else { (FULL, SEGMENT) };
    let events = bytes / FULL;
    let dir = tempfile::tempdir().expect("a directory");
    let aside = tempfile::tempdir().expect("a directory");
    let mut raw = (RawLog::create(aside.path(), Durability::Buffered), Workload::new());
    let mut source = Source { order: Shuffled::new(WINDOW), shop: Shop::new(), made: 0, is_hollow: bench.hollow };
    println!("({events} events of {per_event} bytes; segments of {:.1} MiB)", segment as f64 / f64::from(1 << 20));

    let at_a_tenth = grow(bench, dir.path(), segment, &mut source, events / 10, &mut raw);
    let store = shop::open(dir.path(), segment);
    shop::fill(&store, events * 8 / 10, 100, || source.next());
    store.close().expect("a clean close");
    let at_the_end = grow(bench, dir.path(), segment, &mut source, events / 10, &mut raw);
    report(&at_a_tenth, &at_the_end, (events / 10 / STRETCHES) as usize);
}

/// Appends the events of a tenth, and measures at its end.
fn grow(
    bench: &Bench,
    dir: &Path,
    segment: u64,
    source: &mut Source,
    events: u64,
    raw: &mut (RawLog, Workload),
) -> Measured {
    let store = shop::open(dir, segment);
    let stretch = events / STRETCHES;
    let mut append = [Vec::new(), Vec::new()];
    for _ in 0..STRETCHES {
        append[0].push(timed(|| batches(&store, source, stretch)));
        store.flush().expect("a sync");
        append[1].push(timed(|| raw.0.append(&mut raw.1, stretch as usize / 100, 100)));
        raw.0.sync();
    }
    settle(dir);
    let (looks, of_streams) = look_up(bench, &store, source.made);
    let anonymous_kib = anonymous_kib();
    let segments = store.stats().segments.len();
    let name = format!("{} events, {segments} segments", store.head());
    store.close().expect("a clean close");
    let disk = disk_bytes(dir);
    let open = open(bench, dir, segment);
    Measured { name, append, looks, of_streams, open, anonymous_kib, disk }
}

fn batches(store: &EventStore, source: &mut Source, events: u64) {
    for _ in 0..events / 100 {
        let mut batch = store.batch();
        for _ in 0..100 {
            let (stream, event) = source.next();
            batch = batch.event(stream, event);
        }
        batch.commit().expect("an append");
    }
}

/// Look-ups of each kind, the same in each round.
///
/// `made` events are of the source; there are others, of those that were killed.
fn look_up(bench: &Bench, store: &EventStore, made: u64) -> ([Vec<f64>; 4], u64) {
    let mut dice = Dice::new(17);
    // Streams that have all their events; in a short log none has.
    let whole = (made / (WINDOW * STREAM_EVENTS) * WINDOW).max(WINDOW);
    let streams: Vec<StreamId> = (0..LOOKS).map(|_| shop::stream(dice.below(whole))).collect();
    let mut position = || Position::new(1 + dice.below(store.head().get()));
    let positions: Vec<Position> = (0..LOOKS).map(|_| position()).collect();
    let id = |position| store.get(position).expect("a whole log").expect("a position of the log").as_event().id;
    let ids: Vec<EventId> = (0..LOOKS).map(|_| id(position())).collect();
    // The last tag may not have all its events yet.
    let tags: Vec<Tag> = (0..LOOKS).map(|_| tag(dice.below((made / TAGGED / TAG_EVENTS).max(2) - 1))).collect();

    let of_streams = streams.iter().map(|stream| read_stream(store, stream)).sum();
    let runs = in_turn(
        bench.rounds().min(11),
        vec![
            Box::new(|| {
                timed(|| assert_eq!(streams.iter().map(|stream| read_stream(store, stream)).sum::<u64>(), of_streams))
            }),
            Box::new(|| {
                timed(|| positions.iter().for_each(|&at| assert!(store.get(at).expect("a whole log").is_some())))
            }),
            Box::new(|| {
                timed(|| ids.iter().for_each(|&id| assert!(store.get_event(id).expect("a whole log").is_some())))
            }),
            Box::new(|| timed(|| tags.iter().for_each(|tag| read_tag(store, tag)))),
        ],
    );
    (runs.try_into().expect("four of them"), of_streams)
}

fn read_stream(store: &EventStore, stream: &StreamId) -> u64 {
    let mut reader = store.read_stream(stream, StreamVersion::EMPTY).expect("a stream's name");
    let mut seen = 0;
    while let Some(event) = reader.next_event().expect("a whole log") {
        seen += u64::from(event.version.get() > 0);
    }
    assert!(seen <= STREAM_EVENTS, "{seen} events");
    seen
}

fn read_tag(store: &EventStore, tag: &Tag) {
    let mut reader = store.read(QueryItem::new().tag(tag), Position::START).expect("a query");
    let mut seen = 0;
    while reader.next_event().expect("a whole log").is_some() {
        seen += 1;
    }
    assert_eq!(seen, TAG_EVENTS);
}

/// Opens it after a clean close, and after a kill, in turn.
fn open(bench: &Bench, dir: &Path, segment: u64) -> [Vec<f64>; 2] {
    // As the defaults have it.
    let options = Options::new().segment_bytes(segment);
    let open = || {
        let mut store = None;
        let seconds = timed(|| store = Some(EventStore::open(dir, &options).expect("a store")));
        store.take().expect("it was opened").close().expect("a clean close");
        seconds
    };
    let runs = in_turn(
        bench.rounds().min(11),
        vec![
            Box::new(open),
            Box::new(|| {
                kill_a_writer(dir, segment);
                open()
            }),
        ],
    );
    runs.try_into().expect("two of them")
}

/// A process opens the store, appends, and is killed.
fn kill_a_writer(dir: &Path, segment: u64) {
    let this = std::env::current_exe().expect("the path of this program");
    let mut child = Command::new(this)
        .arg(CHILD)
        .arg(dir)
        .arg(segment.to_string())
        .stdout(Stdio::piped())
        .spawn()
        .expect("a child process");
    let mut said = String::new();
    BufReader::new(child.stdout.take().expect("a pipe")).read_line(&mut said).expect("a line");
    assert_eq!(said, "appended\n");
    child.kill().expect("it waits");
    child.wait().expect("a child process");
}

/// What that process does.
pub(crate) fn run_child(args: &[String]) -> ExitCode {
    let [dir, segment] = args else { return ExitCode::FAILURE };
    let options = Options::new().segment_bytes(segment.parse().expect("a number"));
    let store = EventStore::open(dir, &options).expect("a store");
    let mut shop = Shop::new();
    for number in 0..100 {
        // To streams of its own.
        store.batch().event(format!("killed-{number}"), shop.event()).commit().expect("an append");
    }
    println!("appended");
    loop {
        std::thread::park();
    }
}

fn report(tenth: &Measured, whole: &Measured, stretch: usize) {
    heading("buffered append, batches of 100", "raw");
    row(&tenth.name, stretch, &tenth.append[0], &tenth.append[1]);
    row(&whole.name, stretch, &whole.append[0], &whole.append[1]);
    let own = ratios(&tenth.append[0], &whole.append[0]);
    fact("  the last tenth took, in times of the first", format_args!("{own:.2}"));
    println!(
        "{:<44} {:>20} {:>20}   times as long (median, 95 % interval)",
        "µs each, medians", "at a tenth", "at the end"
    );
    let names = ["an event of a stream", "an event by position", "an event by id", "ten events by their tag"];
    // In a short log streams have not all their events yet: so each event counts for itself.
    let each = |measured: &Measured, number: usize| -> Vec<f64> {
        let looks = if number == 0 { measured.of_streams as f64 } else { LOOKS as f64 };
        measured.looks[number].iter().map(|seconds| seconds * 1e6 / looks).collect()
    };
    let micros = |seconds: &[f64]| Spread::of(seconds).median;
    for (number, name) in names.iter().enumerate() {
        let (before, after) = (each(tenth, number), each(whole, number));
        println!("{name:<44} {:>20.2} {:>20.2}   {:.2}", micros(&before), micros(&after), ratios(&before, &after));
    }
    for (number, name) in ["open after a clean close", "open after a kill"].iter().enumerate() {
        let (before, after) = (&tenth.open[number], &whole.open[number]);
        println!(
            "{name:<44} {:>20.0} {:>20.0}   {:.2}",
            micros(before) * 1e6,
            micros(after) * 1e6,
            ratios(before, after)
        );
    }
    let mib = |kib: u64| kib as f64 / 1024.0;
    fact("anonymous memory, MiB", format_args!("{:.1} → {:.1}", mib(tenth.anonymous_kib), mib(whole.anonymous_kib)));
    fact("on the disk, GB", format_args!("{:.2} → {:.2}", tenth.disk as f64 / 1e9, whole.disk as f64 / 1e9));
}

//! How long single durable appends take at the worst, while other things go on.
//!
//! In turn, 500 appends at a time, to stores of their own:
//!
//! - *quiet*: everything ahead was zeroed before, nothing rolls, no thread runs beside;
//! - *zeroing*: the defaults, and events so large that the thread is zeroing half of the time;
//! - *rolling*: segments of 1 MiB, so that the next one is prepared, zeroed and begun every 2,300 appends,
//!   and the index made of the one before, all beside the appends: 64 times as often as with the defaults;
//! - *rolling, beside a reader*: the same while a thread reads the store without a pause;
//! - *raw*: one `pwrite` of as many bytes and one `fdatasync`, into space that was zeroed before: the disk's
//!   own tail, which all of them have.
//!
//! The ratio is that of p99.9 to the quiet one's, of ten parts of the run, paired: median and 95 % interval.
//!
//! Aimed at: p99.9 of rolling within 3 × of the quiet one's.

use std::fs::{File, OpenOptions};
use std::os::unix::fs::FileExt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use annals::{EventStore, ExpectedVersion, NewEvent, Options, Position};
use annals_benches::shop::{self, Shop, Shuffled};
use tempfile::TempDir;

use crate::bench::Bench;
use crate::tail::{HEADING, Times};
use crate::turns::ratios;

/// Appends in one turn.
const TURN: usize = 500;
/// The run is looked at in so many parts.
const PARTS: usize = 10;
/// What an event of the shop takes in the log, with the marker of its batch.
const EVENT: u64 = 456;

/// Somebody who appends.
struct Appender {
    name: &'static str,
    /// Before `dir`, which is removed when it is dropped.
    store: EventStore,
    _dir: TempDir,
    order: Shuffled,
    shop: Shop,
    payload: Option<Vec<u8>>,
    is_quiet: bool,
    is_read: bool,
    times: Times,
}

impl Appender {
    fn new(name: &'static str, options: &Options) -> Appender {
        let dir = tempfile::tempdir().expect("a directory");
        let store = EventStore::open(dir.path(), options).expect("a fresh directory");
        let (order, shop, times) = (Shuffled::new(10_000), Shop::new(), Times::default());
        Appender { name, store, _dir: dir, order, shop, payload: None, is_quiet: false, is_read: false, times }
    }

    fn turn(&mut self) {
        let stop = AtomicBool::new(false);
        thread::scope(|scope| {
            if self.is_read {
                let (store, stop) = (&self.store, &stop);
                scope.spawn(move || read_until(store, stop));
            }
            if self.is_quiet {
                self.store.maintain().expect("a store that is whole");
                self.store.flush().expect("a sync");
            }
            for _ in 0..TURN {
                let stream = shop::stream(self.order.next_number());
                let event = match &self.payload {
                    Some(payload) => NewEvent::new("Scanned", payload.clone()),
                    None => self.shop.event(),
                };
                let store = &self.store;
                self.times.time(|| store.append(stream, ExpectedVersion::Any, event).expect("an append"));
            }
            stop.store(true, Ordering::Relaxed);
        });
        // What this one has begun in the background is not to meet the next one.
        thread::sleep(Duration::from_millis(20));
    }
}

fn read_until(store: &EventStore, stop: &AtomicBool) {
    loop {
        let mut reader = store.read_all(Position::START);
        while let Some(event) = reader.next_event().expect("a whole log") {
            std::hint::black_box(event.data);
            if stop.load(Ordering::Relaxed) {
                return;
            }
        }
    }
}

/// The disk itself.
struct Raw {
    file: File,
    offset: u64,
    _dir: TempDir,
    times: Times,
}

impl Raw {
    fn new(appends: usize) -> Raw {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("raw");
        let file = OpenOptions::new().write(true).create_new(true).open(path).expect("a fresh file");
        let zeros = vec![0; 1 << 20];
        for at in (0..appends as u64 * EVENT).step_by(zeros.len()) {
            file.write_all_at(&zeros, at).expect("space for zeros");
        }
        file.sync_all().expect("a sync");
        Raw { file, offset: 0, _dir: dir, times: Times::default() }
    }

    fn turn(&mut self) {
        for _ in 0..TURN {
            let Raw { file, offset, times, .. } = self;
            times.time(|| {
                file.write_all_at(&[7; EVENT as usize], *offset).expect("a write");
                file.sync_data().expect("a sync");
            });
            *offset += EVENT;
        }
    }
}

pub(crate) fn measure(bench: &Bench) {
    let turns = if bench.quick { PARTS } else { 60 };
    let rolling = Options::new().segment_bytes(1 << 20);
    let quiet = Options::new().background(false).flush_interval(None).segment_bytes(1 << 30);
    let mut appenders = [
        Appender { is_quiet: true, ..Appender::new("quiet", &quiet) },
        Appender { payload: Some(vec![b'x'; 4 << 10]), ..Appender::new("zeroing, events of 4 KiB", &Options::new()) },
        Appender::new("rolling", &rolling),
        Appender { is_read: true, ..Appender::new("rolling, beside a reader", &rolling) },
    ];
    let mut raw = Raw::new((turns + 1) * TURN);
    for turn in 0..=turns {
        appenders.iter_mut().for_each(Appender::turn);
        raw.turn();
        if turn == 0 {
            // The first one warms up.
            for appender in &mut appenders {
                appender.times = Times::default();
            }
            raw.times = Times::default();
        }
    }

    let tails = |times: &Times| times.parts(PARTS).map(|part| part.permille(999.0)).collect::<Vec<f64>>();
    let of_quiet = tails(&appenders[0].times);
    println!("{:<28} µs:{HEADING}   p99.9 as a multiple of quiet", "one durable append");
    let say = |name: &str, times: &Times| {
        println!("{name:<28}    {times}   {:.1}", ratios(&of_quiet, &tails(times)));
    };
    for appender in &appenders {
        say(appender.name, &appender.times);
    }
    say("raw", &raw.times);
    println!("({} appends each; a roll every {} of those that roll)", raw.times.len(), (1 << 20) / EVENT);
}

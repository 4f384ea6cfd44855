//! What the process of one engine does: a line in, some work, a line out.
//!
//! ```text
//! open durable | open buffered   ok SECONDS
//! close                          ok SECONDS
//! fill EVENTS                    ok SECONDS              not measured: in large commits
//! append EVENTS TIMES            ok SECONDS MICROS …     one append after the other, each of so many events
//! callers THREADS TIMES          ok SECONDS              appends of one event by threads at once
//! read-all                       ok SECONDS EVENTS SUM
//! streams NUMBER SEED            ok SECONDS SUM          streams of 94 events
//! positions NUMBER SEED          ok SECONDS SUM
//! memory                         ok PEAK ANONYMOUS       in KiB
//! mark                           ok                      a system call that stands out in a trace
//! append-until-killed            nothing
//! ```
//!
//! An engine that panics, in whatever thread, ends the process with a line `failed WHY`.

use std::hint::black_box;
use std::io::{self, BufRead, Write};
use std::path::Path;
use std::sync::Barrier;
use std::time::Instant;
use std::{fs, panic, process, thread};

use annals_benches::shop::Dice;

use super::work::{Caller, Shop, positions};
use crate::engine::{Engine, Kind, Mode, kinds};
use crate::footprint;
use crate::turns::timed;

/// The hidden argument of such a process. Then follow the engine, its directory, how many events a
/// full store has, and the number of this life of the engine, which makes its events others than
/// those before.
pub(crate) const CHILD: &str = "--engine-of-a-comparison";
/// No file has this name; looking for it marks a place in a trace.
pub(crate) const MARK: &str = "/no-such-file-but-a-mark";

pub(crate) fn main(args: &[String]) {
    panic::set_hook(Box::new(|info| {
        let why = info.to_string().replace('\n', " ");
        println!("failed {why}");
        let _ = io::stdout().flush();
        process::exit(1);
    }));
    let [engine, dir, events, life] = args else { panic!("an engine, a directory, a number of events, a life") };
    let kind = kinds().find(|kind| kind.name == engine).expect("an engine of this name");
    let [events, life] = [events, life].map(|number| number.parse::<u64>().expect("a number"));
    let shop = Shop::new(events);
    let caller = Caller::new(&shop, 0, 1, life);
    let dir = Path::new(dir);
    let mut work = Work { kind, dir, events, shop: &shop, caller, engine: None, mode: Mode::Durable };
    for line in io::stdin().lock().lines() {
        let line = line.expect("a line");
        let mut words = line.split_whitespace();
        let answer = work.obey(words.next().unwrap_or_default(), &words.collect::<Vec<_>>());
        println!("ok {answer}");
        io::stdout().flush().expect("somebody listens");
    }
}

struct Work<'a> {
    kind: &'static Kind,
    dir: &'a Path,
    events: u64,
    shop: &'a Shop,
    caller: Caller<'a>,
    engine: Option<Box<dyn Engine>>,
    mode: Mode,
}

impl Work<'_> {
    fn obey(&mut self, command: &str, args: &[&str]) -> String {
        let number = |at: usize| args[at].parse::<u64>().expect("a number");
        match command {
            "open" => self.open(if args == ["durable"] { Mode::Durable } else { Mode::Buffered }).to_string(),
            "close" => timed(|| drop(self.engine.take())).to_string(),
            "look-up" => timed(|| self.shop.look_up(self.engine())).to_string(),
            "fill" => {
                let engine = self.engine.as_deref().expect("it is open");
                timed(|| self.caller.fill(engine, number(0))).to_string()
            }
            "append" => self.append(number(0) as usize, number(1)),
            "callers" => self.callers(number(0), number(1)).to_string(),
            "read-all" => {
                let start = Instant::now();
                let seen = self.engine().read_all();
                format!("{} {} {}", start.elapsed().as_secs_f64(), seen.events, seen.sum)
            }
            "streams" => {
                let streams = self.shop.streams_of_94(&mut Dice::new(number(1)), number(0) as usize);
                let start = Instant::now();
                let sum = self.engine().read_streams(&streams);
                format!("{} {sum}", start.elapsed().as_secs_f64())
            }
            "positions" => {
                let positions = positions(&mut Dice::new(number(1)), number(0) as usize, self.events);
                let start = Instant::now();
                let sum = self.engine().get_positions(&positions);
                format!("{} {sum}", start.elapsed().as_secs_f64())
            }
            "memory" => format!("{} {}", footprint::peak_kib(), footprint::anonymous_kib()),
            "mark" => {
                black_box(fs::File::open(MARK).is_ok());
                String::new()
            }
            "append-until-killed" => loop {
                let engine = self.engine.as_deref().expect("it is open");
                engine.append(self.caller.append(10));
            },
            unknown => panic!("no command: {unknown}"),
        }
    }

    fn engine(&self) -> &dyn Engine {
        self.engine.as_deref().expect("it is open")
    }

    fn open(&mut self, mode: Mode) -> f64 {
        self.mode = mode;
        timed(|| self.engine = Some((self.kind.open)(self.dir, mode)))
    }

    fn append(&mut self, events: usize, times: u64) -> String {
        let engine = self.engine.as_deref().expect("it is open");
        // Where an append waits for the disk it can be seen how long each took.
        let mut micros = Vec::new();
        let seconds = timed(|| {
            for _ in 0..times {
                let append = self.caller.append(events);
                if self.mode == Mode::Durable {
                    micros.push(timed(|| engine.append(append)) * 1e6);
                } else {
                    engine.append(append);
                }
            }
        });
        micros.iter().fold(seconds.to_string(), |line, micros| line + format!(" {micros:.1}").as_str())
    }

    fn callers(&mut self, threads: u64, times: u64) -> f64 {
        let engine = self.engine.as_deref().expect("it is open");
        let begin = Barrier::new(threads as usize + 1);
        let life = self.caller.roll();
        thread::scope(|scope| {
            let shop = self.shop;
            let handles: Vec<_> = (0..threads)
                .map(|number| {
                    let mut caller = Caller::new(shop, number, threads, life + number);
                    let begin = &begin;
                    scope.spawn(move || {
                        begin.wait();
                        (0..times).for_each(|_| engine.append(caller.append(1)));
                    })
                })
                .collect();
            begin.wait();
            timed(|| handles.into_iter().for_each(|handle| handle.join().expect("a panic ends the process")))
        })
    }
}

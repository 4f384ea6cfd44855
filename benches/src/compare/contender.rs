//! One engine in the comparison: its directory, its process, and what was measured of it.

use std::collections::BTreeMap;
use std::thread;
use std::time::{Duration, Instant};

use super::process::{Answer, Process};
use super::rows::{How, Row};
use super::syncs::Syncs;
use crate::engine::{Kind, Mode};
use crate::footprint::disk_bytes;

/// What was measured of one engine in one row. Nothing is there where it cannot do that.
#[derive(Clone, Debug)]
pub(crate) enum Cell {
    /// Seconds for each thing done, run by run.
    Runs(Vec<f64>),
    /// A number that was looked up once.
    Fact(f64),
    Failed(String),
}

/// One run: what it took for each thing done, and in all.
pub(crate) struct Run {
    pub(crate) cost: f64,
    pub(crate) wall: f64,
    /// What was read, to be compared.
    pub(crate) seen: Vec<String>,
    pub(crate) micros: Vec<f64>,
}

pub(crate) struct Contender {
    pub(crate) kind: &'static Kind,
    pub(crate) cells: BTreeMap<&'static str, Cell>,
    /// How long single durable appends took.
    pub(crate) micros: Vec<f64>,
    pub(crate) syncs: Option<Syncs>,
    dir: tempfile::TempDir,
    events: u64,
    lives: u64,
    process: Option<Process>,
    /// Why it takes no part any more.
    out: Option<String>,
    /// How long it was busy, in seconds.
    spent: f64,
}

impl Contender {
    pub(crate) fn new(kind: &'static Kind, events: u64) -> Contender {
        let dir = tempfile::tempdir().expect("a directory");
        let cells = BTreeMap::new();
        Contender {
            kind,
            cells,
            micros: Vec::new(),
            syncs: None,
            dir,
            events,
            lives: 0,
            process: None,
            out: None,
            spent: 0.0,
        }
    }

    fn start(&mut self) -> &mut Process {
        self.process = None;
        self.lives += 1;
        self.process.insert(Process::start(self.kind.name, self.dir.path(), self.events, self.lives))
    }

    /// Fills the store, and looks what it takes.
    pub(crate) fn fill(&mut self) {
        /// So many in one answer.
        const STEP: u64 = 10_000;
        const LONGEST: Duration = Duration::from_secs(300);
        let (events, start) = (self.events, Instant::now());
        let mode = if self.kind.buffered.is_some() { "open buffered" } else { "open durable" };
        let process = self.start();
        let mut filled = || {
            process.ask(mode)?;
            for from in (0..events).step_by(STEP as usize) {
                process.ask(&format!("fill {}", STEP.min(events - from)))?;
                if start.elapsed() > LONGEST {
                    return Err(format!("{} of {events} events took {} s", from + STEP, LONGEST.as_secs()));
                }
            }
            let memory = process.ask("memory")?;
            process.ask("close")?;
            Ok(memory)
        };
        match filled() {
            Ok(memory) => {
                self.process = None;
                let disk = disk_bytes(self.dir.path()) as f64 / events as f64;
                self.cells.insert("disk", Cell::Fact(disk));
                self.cells.insert("memory", Cell::Fact(memory.number(0)));
                self.cells.insert("anonymous", Cell::Fact(memory.number(1)));
            }
            Err(why) => self.out = Some(why),
        }
        self.process = None;
        self.spent += start.elapsed().as_secs_f64();
    }

    /// Whether it is to be asked for a row at all; where it takes no part any more, the row says why.
    pub(crate) fn takes_part(&mut self, row: &Row) -> bool {
        if !row.is_for(self.kind) {
            return false;
        }
        if let Some(why) = &self.out {
            self.cells.insert(row.name, Cell::Failed(why.clone()));
        }
        self.out.is_none()
    }

    /// Has an open store for a row. One that was opened for the row before stays open.
    pub(crate) fn make_ready(&mut self, row: &Row, allowed: f64) -> Result<(), String> {
        if self.process.is_some() || matches!(row.how, How::AfterClose | How::AfterKill) {
            return Ok(());
        }
        self.has_time(allowed)?;
        let start = Instant::now();
        let open = open(row.mode(self.kind));
        let process = self.start();
        process.ask(open)?;
        process.ask("look-up")?;
        self.spent += start.elapsed().as_secs_f64();
        Ok(())
    }

    fn has_time(&self, allowed: f64) -> Result<(), String> {
        if self.spent > allowed { Err(format!("no time left after {:.0} s", self.spent)) } else { Ok(()) }
    }

    /// Whether the kernel saw nothing that makes its durable appends durable.
    pub(crate) fn is_weaker(&self) -> bool {
        self.syncs.as_ref().is_some_and(Syncs::none_was_seen)
    }

    pub(crate) fn stop(&mut self) {
        self.process = None;
    }

    /// One run of so many calls.
    pub(crate) fn run(&mut self, row: &Row, amount: u64, seed: u64, allowed: f64) -> Result<Run, String> {
        self.has_time(allowed)?;
        let start = Instant::now();
        let open = open(row.mode(self.kind));
        let (answer, things) = match row.how {
            How::Appends(events) => (self.ask(&format!("append {events} {amount}"))?, events * amount),
            How::Callers(threads) => (self.ask(&format!("callers {threads} {amount}"))?, threads * amount),
            How::ReadFirst => {
                self.ask("close")?;
                self.ask(open)?;
                (self.ask("read-all")?, self.events)
            }
            How::ReadAgain => (self.ask("read-all")?, self.events),
            How::Streams => (self.ask(&format!("streams {amount} {seed}"))?, amount),
            How::Positions => (self.ask(&format!("positions {amount} {seed}"))?, amount),
            How::AfterClose => {
                let answer = self.start().ask(open)?;
                self.ask("close")?;
                (answer, 1)
            }
            How::AfterKill => {
                let process = self.start();
                process.ask(open)?;
                process.ask("look-up")?;
                process.tell("append-until-killed")?;
                thread::sleep(Duration::from_millis(30 + seed % 40));
                process.kill();
                let answer = self.start().ask(open)?;
                self.ask("close")?;
                (answer, 1)
            }
            How::Disk | How::Peak | How::Anonymous => unreachable!("looked up when it was filled"),
        };
        let wall = start.elapsed().as_secs_f64();
        self.spent += wall;
        let reads = matches!(row.how, How::ReadFirst | How::ReadAgain | How::Streams | How::Positions);
        Ok(Run {
            cost: answer.seconds() / things as f64,
            wall,
            seen: if reads { answer.seen().to_vec() } else { Vec::new() },
            micros: if reads { Vec::new() } else { answer.others().collect() },
        })
    }

    fn ask(&mut self, command: &str) -> Result<Answer, String> {
        self.process.as_mut().ok_or("it has no process")?.ask(command)
    }
}

fn open(mode: Mode) -> &'static str {
    match mode {
        Mode::Durable => "open durable",
        Mode::Buffered => "open buffered",
    }
}

//! What a simulated disk is at a moment: its names and files, what is planned to fail, and what has been counted.
//!
//! What is always true: every operation asks [`State::begin`] or [`State::begin_whole`] before it does anything, every read
//! [`State::begin_read`], so that nothing happens behind the plan's back; and `used` is what the files that have a name take.

use std::io;

use rustix::io::Errno;

use super::fault::{Dice, Fault, Keep, PowerLoss, ReadFault, Stamp, Verdict};
use super::inode::Inode;
use super::names::{Names, Node};

#[derive(Clone, Default)]
pub(super) struct State {
    pub(super) seed: u64,
    pub(super) names: Names,
    pub(super) inodes: Vec<Inode>,

    pub(super) operations: u64,
    pub(super) reads: u64,
    /// How often randomness was asked for, in all the lives of this disk.
    pub(super) draws: u64,
    pub(super) stop: Option<u64>,
    pub(super) stopped: bool,
    pub(super) faults: Vec<(u64, Fault)>,
    pub(super) read_faults: Vec<(u64, ReadFault)>,

    /// In pages.
    pub(super) capacity: Option<u64>,
    /// In pages, of the files that have a name.
    pub(super) used: u64,
    /// A write was short for want of space, or is to believe so.
    pub(super) full: Full,

    pub(super) journal: Option<Vec<String>>,
    /// The lines of the journal that tell of a fault, whether it is written or not.
    pub(super) met: Vec<String>,
}
#[derive(Clone, Copy, Default, Eq, PartialEq)]
pub(super) enum Full {
    #[default]
    No,
    /// The next write that does not fit fails.
    Told,
    /// The next write fails, whether it fits or not.
    Pretended,
}
impl State {
    /// Forgets the plan and the counts.
    pub(super) fn begin_anew(&mut self) {
        self.operations = 0;
        self.reads = 0;
        self.stop = None;
        self.stopped = false;
        self.faults.clear();
        self.read_faults.clear();
        self.full = Full::No;
        self.met.clear();
        if let Some(journal) = &mut self.journal {
            journal.clear();
        }
    }

    /// What `loss` means for the names, and for the files (`None`: for each something else).
    pub(super) fn keep(&self, loss: PowerLoss, dice: &mut Dice) -> (Keep, Option<Keep>) {
        let same = match loss {
            PowerLoss::KeepLeast => Keep::Nothing,
            PowerLoss::KeepMost => Keep::All,
            PowerLoss::DropOnly(n) => Keep::Except(n.saturating_add(1)),
            PowerLoss::KeepOnly(n) => Keep::Only(n.saturating_add(1)),
            PowerLoss::TornAt { operation, sector } => Keep::Torn(operation.saturating_add(1), sector),
            PowerLoss::Random => match dice.below(8) {
                // A disk that writes in order, and was torn somewhere.
                0..3 => Keep::Before(dice.below(self.operations + 1)),
                // A file system that keeps its names in order but not its data.
                3 => return (Keep::Before(dice.below(self.operations + 1)), None),
                // One that keeps nothing in order.
                _ => return (Keep::Chance([32, 128, 224][dice.below(3) as usize]), None),
            },
        };
        (same, Some(same))
    }

    /// Counts an operation, and asks the plan.
    pub(super) fn begin(&mut self, what: impl FnOnce() -> String) -> io::Result<(Stamp, Verdict)> {
        if self.stopped {
            return Err(gone());
        }
        let number = self.operations;
        self.operations += 1;
        let verdict = if self.stop.is_some_and(|stop| stop <= number) {
            self.stopped = true;
            Verdict::Stop
        } else if let Some(&(_, fault)) = self.faults.iter().find(|(at, _)| *at == number) {
            Verdict::Fail(fault)
        } else {
            Verdict::Go
        };
        let is_fault = matches!(verdict, Verdict::Fail(_));
        if self.journal.is_some() || is_fault {
            let fate = match verdict {
                Verdict::Go => String::new(),
                Verdict::Fail(fault) => format!(" -> {fault:?}"),
                Verdict::Stop => " -> stopped".to_owned(),
            };
            self.write_down(format!("{number} {}{fate}", what()), is_fault);
        }
        Ok((number + 1, verdict))
    }

    /// [`State::begin`] for what cannot be done in part.
    pub(super) fn begin_whole(&mut self, what: impl FnOnce() -> String) -> io::Result<Stamp> {
        match self.begin(what)? {
            (_, Verdict::Stop) => Err(gone()),
            (stamp, Verdict::Fail(fault)) => match fault.of_whole() {
                Some(fault) => Err(fault.error()),
                None => Ok(stamp),
            },
            (stamp, Verdict::Go) => Ok(stamp),
        }
    }

    /// Counts a read, and asks the plan; whether it is to be stale.
    pub(super) fn begin_read(&mut self, what: impl FnOnce() -> String) -> io::Result<bool> {
        if self.stopped {
            return Err(gone());
        }
        let number = self.reads;
        self.reads += 1;
        let fault = self.read_faults.iter().find(|(at, _)| *at == number).map(|(_, fault)| *fault);
        if self.journal.is_some() || fault.is_some() {
            let fate = fault.map_or(String::new(), |fault| format!(" -> {fault:?}"));
            self.write_down(format!("read {number} {}{fate}", what()), fault.is_some());
        }
        match fault {
            Some(ReadFault::Eio) => Err(Errno::IO.into()),
            Some(ReadFault::Stale) => Ok(true),
            None => Ok(false),
        }
    }

    fn write_down(&mut self, line: String, is_fault: bool) {
        if is_fault {
            self.met.push(line.clone());
        }
        if let Some(journal) = &mut self.journal {
            journal.push(line);
        }
    }

    pub(super) fn dice(&self, stamp: Stamp) -> Dice {
        Dice::new(self.seed, stamp)
    }

    pub(super) fn find(&mut self, path: &str) -> Option<&mut Inode> {
        match self.names.seen.get(path) {
            Some(&Node::File(number)) => Some(&mut self.inodes[number]),
            _ => None,
        }
    }

    pub(super) fn add(&mut self, inode: Inode) -> Node {
        self.used += inode.space.pages();
        self.inodes.push(inode);
        Node::File(self.inodes.len() - 1)
    }

    pub(super) fn plant(&mut self, path: &str, bytes: &[u8]) {
        for (slash, _) in path.match_indices('/') {
            self.names.plant(&path[..slash], Some(Node::Dir));
        }
        let node = self.add(Inode::planted(bytes));
        self.names.plant(path, Some(node));
    }

    pub(super) fn unlink(&mut self, number: usize) {
        let inode = &mut self.inodes[number];
        inode.linked = false;
        self.used -= inode.space.pages();
        self.full = Full::No;
    }

    /// The pages that are left; plenty where there is no limit.
    fn free(&self) -> u64 {
        let limit = self.capacity.unwrap_or(u64::MAX);
        limit.saturating_sub(self.used)
    }

    /// Reserves the pages of a range of a file.
    pub(super) fn reserve(&mut self, number: usize, offset: u64, len: u64) {
        let inode = &mut self.inodes[number];
        let new = inode.space.add(offset..offset + len);
        if inode.linked {
            self.used += new;
        }
    }

    /// How many bytes at `offset` there is space for.
    pub(super) fn fitting(&self, number: usize, offset: u64, len: u64) -> u64 {
        let inode = &self.inodes[number];
        if self.capacity.is_none() || !inode.linked {
            return len;
        }
        inode.space.fitting(offset, len, self.free())
    }

    pub(super) fn write(&mut self, stamp: Stamp, number: usize, offset: u64, bytes: &[u8]) {
        self.reserve(number, offset, bytes.len() as u64);
        self.inodes[number].write(stamp, offset, bytes);
    }
}
/// What a process that is gone is told.
pub(super) fn gone() -> io::Error {
    io::Error::other("the simulated process was stopped here")
}

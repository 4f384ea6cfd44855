//! A disk in memory that loses power, fills up, fails and lies, by a seed.
//!
//! [`SimDisk`] is a [`Storage`]. Tell a story on it, interrupt the story with
//! [`SimDisk::stop_at`] or [`SimDisk::fail_at`], and look at what is left with
//! [`SimDisk::after_power_loss`] or [`SimDisk::after_kill`]. The same seed and the
//! same sequence of operations give the same disk, bit for bit.
//!
//! # What the disk does to you
//!
//! *Power loss.* What was not synced is kept or dropped, each 512-byte sector for
//! itself, so a write may be torn between sectors but never within one. A sector
//! written several times is in one of the states it has been in. The size of a
//! file is one of the sizes it has had since its last sync; where a write or a
//! reservation extended it, it may also have stopped at a sector in between.
//! What was never written reads as zero: this disk does not show stale bytes of
//! other files. Data and size are independent of each other and of other files:
//! nothing is ordered but by a sync. A sync of a file covers all its bytes and its size.
//!
//! *Names.* Creating, renaming and removing are each atomic, and droppable until
//! the directory is synced; a rename from one directory to another needs both.
//! Syncing a file does not make its name durable: the file may vanish with all
//! its synced bytes. Syncing a directory does not make its own name durable.
//! What is left is always possible: whatever was built on a dropped operation
//! (a rename of a file whose creation is dropped) is dropped with it. The root
//! is always there.
//!
//! *Kill.* The process is gone, what it wrote is not: the cache survives, and is
//! still not durable. The write during which it died may have written a part.
//!
//! *A failed sync* reports its error once. The cache keeps showing the new bytes
//! and calls them clean, so later syncs succeed, but some of them are not on
//! the disk, and go with the power. Only writing to the same page again brings
//! them to the disk after all. A failed sync of a directory, likewise: no later sync
//! covers those names, although they may survive.
//!
//! *Reading from the disk* writes out the dirty pages of the range first and
//! drops the clean ones, so it shows what a failed sync has lost, and later
//! reads show it too. It is no barrier: sizes and names stay droppable.
//!
//! *A full disk.* [`SimDisk::set_capacity`] limits the pages of 4 KiB that
//! were written or reserved. A write that does not fit is short, at any byte;
//! the next one that does not fit fails. A reservation that does not fit fails, and
//! may have been made in part. Writing to what is reserved always fits. `set_len`
//! takes no space. Removing a file gives its space back at once, open or not.
//!
//! *Errors.* Any operation and any read can be made to fail, by its number.
//! A failed write may have written a part, except when the disk is full.
//!
//! *Rot.* Bits flip ([`SimDisk::flip`]) and sectors become unreadable
//! ([`SimDisk::spoil`]), whether synced or not.
//!
//! # Not simulated
//!
//! Mapping ([`File::map`] is `None`), permissions, writing through one of two links, directories that are
//! removed or renamed, bytes of one file turning up in another, a disk that
//! lies about a sync, and time.

mod content;
mod endings;
mod fault;
mod inode;
mod names;
#[cfg(test)]
mod tests;

use std::fmt;
use std::io;
use std::ops::Bound;
use std::sync::Arc;

use rustix::io::Errno;

use super::{Access, File, LockError, LockGuard, Mapping, Provenance, Storage, Take};
use crate::sync::atomic::{AtomicBool, Ordering};
use crate::sync::{Mutex, MutexGuard};
use content::PAGE;
use fault::{Dice, Keep, Stamp, Verdict};
pub use fault::{Fault, PowerLoss, ReadFault};
use inode::Inode;
use names::{Names, Node, parent};

/// Beyond this a write fails (EFBIG), so that a wild offset is an error and not
/// a huge page table.
const MAX_WRITTEN: u64 = 1 << 36;

const LOCK: &str = "LOCK";

/// A simulated disk, holding the directory of one store.
///
/// A clone is the same disk; [`SimDisk::fork`] is a copy. The fault model is in
/// the [module's text](self).
///
/// Operations that change or sync the disk are numbered from 0: `write_at`,
/// `set_len`, `allocate`, `sync`, `create`, `create_dir`, `rename`, `remove`, `take_from` and
/// `sync_dir`, also those that fail. Reads (`open`, `list`, `read_at`,
/// `read_from_disk`) have a count of their own.
#[derive(Clone)]
pub struct SimDisk {
    shared: Arc<Shared>,
}

struct Shared {
    state: Mutex<State>,
    locked: AtomicBool,
}

#[derive(Clone, Default)]
struct State {
    seed: u64,
    names: Names,
    inodes: Vec<Inode>,

    operations: u64,
    reads: u64,
    /// How often randomness was asked for, in all the lives of this disk.
    draws: u64,
    stop: Option<u64>,
    stopped: bool,
    faults: Vec<(u64, Fault)>,
    read_faults: Vec<(u64, ReadFault)>,

    /// In pages.
    capacity: Option<u64>,
    /// In pages, of the files that have a name.
    used: u64,
    /// A write was short for want of space, or is to believe so.
    full: Full,

    journal: Option<Vec<String>>,
    /// The lines of the journal that tell of a fault, whether it is written or not.
    met: Vec<String>,
}

#[derive(Clone, Copy, Default, Eq, PartialEq)]
enum Full {
    #[default]
    No,
    /// The next write that does not fit fails.
    Told,
    /// The next write fails, whether it fits or not.
    Pretended,
}

// How a story is interrupted.
impl SimDisk {
    /// An empty disk without limits or faults.
    pub fn new(seed: u64) -> SimDisk {
        SimDisk::with(State { seed, ..State::default() })
    }

    fn with(state: State) -> SimDisk {
        SimDisk { shared: Arc::new(Shared { state: Mutex::new(state), locked: AtomicBool::new(false) }) }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.shared.state.lock()
    }

    /// The process dies at operation `n`: it and all that follow, reads
    /// included, fail and do nothing. Of a write, a part may have been done.
    pub fn stop_at(&self, n: u64) {
        self.state().stop = Some(n);
    }

    /// Whether [`SimDisk::stop_at`] has struck.
    pub fn is_stopped(&self) -> bool {
        self.state().stopped
    }

    /// Operation `n` suffers `fault`.
    pub fn fail_at(&self, n: u64, fault: Fault) {
        self.state().faults.push((n, fault));
    }

    /// Read `n` suffers `fault`.
    pub fn fail_read_at(&self, n: u64, fault: ReadFault) {
        self.state().read_faults.push((n, fault));
    }

    /// Forgets every planned fault, and the stop, but not what they have done.
    pub fn clear_faults(&self) {
        let mut state = self.state();
        state.stop = None;
        state.stopped = false;
        state.faults.clear();
        state.read_faults.clear();
        if state.full == Full::Pretended {
            state.full = Full::No;
        }
    }

    /// Limits the disk to `bytes`, rounded down to whole pages of 4 KiB; `None`
    /// lifts the limit. What is on the disk already stays, whatever the limit.
    pub fn set_capacity(&self, bytes: Option<u64>) {
        let mut state = self.state();
        state.capacity = bytes.map(|bytes| bytes / PAGE);
        state.full = Full::No;
    }

    /// The limit, in bytes; `None` when there is none.
    pub fn capacity(&self) -> Option<u64> {
        self.state().capacity.map(|pages| pages * PAGE)
    }

    /// How many bytes of capacity are taken.
    pub fn used(&self) -> u64 {
        self.state().used * PAGE
    }

    /// The seed of everything that is left to chance.
    pub fn seed(&self) -> u64 {
        self.state().seed
    }

    /// How many operations have changed or synced the disk, or tried to: the
    /// number of the next one.
    pub fn operations(&self) -> u64 {
        self.state().operations
    }

    /// How many reads there were: the number of the next one.
    pub fn reads(&self) -> u64 {
        self.state().reads
    }

    /// How many changes to files and names no sync covers yet. 0 means that
    /// power loss changes nothing.
    pub fn unsynced(&self) -> usize {
        let state = self.state();
        let files = state.names.seen.values().map(|node| match node {
            Node::File(inode) => state.inodes[*inode].unsynced(),
            Node::Dir => 0,
        });
        files.sum::<usize>() + state.names.unsynced()
    }

    /// How many sectors an operation wrote that no sync covers yet.
    pub fn unsynced_sectors(&self, operation: u64) -> u64 {
        let stamp = operation.saturating_add(1);
        self.state().inodes.iter().map(|inode| inode.unsynced_sectors(stamp)).max().unwrap_or(0)
    }

    /// The planned faults that have struck so far, each a line as in the [journal](SimDisk::journal).
    pub fn faults_met(&self) -> Vec<String> {
        self.state().met.clone()
    }

    /// Begins to write down every operation and read, from the next one on.
    pub fn record_journal(&self) {
        self.state().journal.get_or_insert_default();
    }

    /// What was written down since [`SimDisk::record_journal`], a line for each,
    /// beginning with its number.
    pub fn journal(&self) -> Vec<String> {
        self.state().journal.clone().unwrap_or_default()
    }
}

// What is left afterwards.
impl SimDisk {
    /// An independent copy, at the price of a few pointers: same content,
    /// counts, plan and future. Not locked.
    #[must_use]
    pub fn fork(&self) -> SimDisk {
        SimDisk::with(self.state().clone())
    }

    /// The disk as the next process finds it: everything that was written is
    /// there, and what was not durable still is not. Counts begin at 0, nothing
    /// is planned to fail, the lock is free.
    ///
    /// In a later power loss, everything unsynced from before counts as one
    /// operation without a number, older than all others.
    #[must_use]
    pub fn after_kill(&self) -> SimDisk {
        let mut state = self.state().clone();
        state.begin_anew();
        state.seed = Dice::new(state.seed, u64::MAX).next();
        state.names.inherit();
        for inode in &mut state.inodes {
            inode.inherit();
        }
        SimDisk::with(state)
    }

    /// The disk as the machine finds it when the power is back. All that is left is
    /// durable. Counts begin at 0, nothing is planned to fail, the lock is free.
    ///
    /// `seed` decides what `loss` leaves open, and is the seed of the new disk.
    #[must_use]
    pub fn after_power_loss(&self, loss: PowerLoss, seed: u64) -> SimDisk {
        let old = self.state();
        let mut dice = Dice::new(old.seed ^ seed.rotate_left(32), old.operations);
        let (names, files) = old.keep(loss, &mut dice);
        let mut state = State {
            seed,
            names: old.names.lose_power(names, &mut dice),
            capacity: old.capacity,
            draws: old.draws,
            journal: old.journal.clone(),
            ..State::default()
        };
        state.begin_anew();
        let State { names, inodes, used, .. } = &mut state;
        // A file that cannot be found under any name is gone. One that was
        // removed, and has its name back, has its bytes back too.
        names.renumber(|number| {
            let keep = match files {
                // Each file for itself, in its own way: all its changes, none, or a part.
                None => Keep::Chance([0, 16, 128, 240, 256][dice.below(5) as usize]),
                Some(keep) => keep,
            };
            inodes.push(old.inodes[number].lose_power(keep, &mut dice));
            *used += inodes[inodes.len() - 1].space.pages();
            inodes.len() - 1
        });
        SimDisk::with(state)
    }
}

// Looking at it, and tampering with it, without being an operation.
impl SimDisk {
    /// The paths of all files, sorted.
    pub fn paths(&self) -> Vec<String> {
        let state = self.state();
        let files = state.names.seen.iter();
        files.filter(|(_, node)| matches!(node, Node::File(_))).map(|(path, _)| path.to_string()).collect()
    }

    /// The length of a file, as the cache has it.
    pub fn file_len(&self, path: &str) -> Option<u64> {
        self.state().find(path).map(|inode| inode.len())
    }

    /// The bytes of a file, as the cache has them: what a reader sees.
    pub fn read_file(&self, path: &str) -> Option<Vec<u8>> {
        self.state().find(path).map(|inode| {
            let mut bytes = vec![0; inode.len() as usize];
            inode.read(0, &mut bytes);
            bytes
        })
    }

    /// The first path under which the two disks show something else; the lock does not count.
    pub fn difference(&self, other: &SimDisk) -> Option<String> {
        let (one, other) = (self.state().clone(), other.state());
        let mut paths: Vec<&Arc<str>> = one.names.seen.keys().chain(other.names.seen.keys()).collect();
        paths.sort_unstable();
        let differ = |path: &Arc<str>| match (one.names.seen.get(path), other.names.seen.get(path)) {
            (Some(&Node::File(a)), Some(&Node::File(b))) => !one.inodes[a].is_same(&other.inodes[b]),
            (Some(Node::Dir), Some(Node::Dir)) => false,
            _ => true,
        };
        paths.into_iter().filter(|path| &***path != LOCK).find(|path| differ(path)).map(ToString::to_string)
    }

    /// The bytes of a file, as the disk has them: those that no power loss can
    /// take, if the file keeps its name.
    pub fn read_file_on_disk(&self, path: &str) -> Option<Vec<u8>> {
        self.state().find(path).map(|inode| inode.on_disk())
    }

    /// Puts a file there, durable in every respect, with its directories;
    /// replaces one that is there.
    pub fn write_file(&self, path: &str, bytes: &[u8]) {
        self.remove_file(path);
        self.state().plant(path, bytes);
    }

    /// Takes a file away, durably; fine if there is none.
    pub fn remove_file(&self, path: &str) {
        let mut state = self.state();
        if let Some(&Node::File(number)) = state.names.seen.get(path) {
            state.names.plant(path, None);
            state.unlink(number);
        }
    }

    /// Flips one bit of a file, wherever it is kept; bit 0 is the lowest of the first byte.
    ///
    /// # Panics
    ///
    /// When there is no such bit: a test that damages nothing would prove nothing.
    pub fn flip(&self, path: &str, bit: u64) {
        let mut state = self.state();
        let inode = state.find(path).filter(|inode| bit / 8 < inode.len());
        inode.expect("no such bit").flip(bit);
    }

    /// Makes the sector at `offset` of a file unreadable, until all of it is
    /// written again. Survives kill and power loss.
    ///
    /// # Panics
    ///
    /// When there is no such byte.
    pub fn spoil(&self, path: &str, offset: u64) {
        let mut state = self.state();
        let inode = state.find(path).filter(|inode| offset < inode.len());
        inode.expect("no such byte").spoil(offset);
    }
}

impl State {
    /// Forgets the plan and the counts.
    fn begin_anew(&mut self) {
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
    fn keep(&self, loss: PowerLoss, dice: &mut Dice) -> (Keep, Option<Keep>) {
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
    fn begin(&mut self, what: impl FnOnce() -> String) -> io::Result<(Stamp, Verdict)> {
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
    fn begin_whole(&mut self, what: impl FnOnce() -> String) -> io::Result<Stamp> {
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
    fn begin_read(&mut self, what: impl FnOnce() -> String) -> io::Result<bool> {
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

    fn dice(&self, stamp: Stamp) -> Dice {
        Dice::new(self.seed, stamp)
    }

    fn find(&mut self, path: &str) -> Option<&mut Inode> {
        match self.names.seen.get(path) {
            Some(&Node::File(number)) => Some(&mut self.inodes[number]),
            _ => None,
        }
    }

    fn add(&mut self, inode: Inode) -> Node {
        self.used += inode.space.pages();
        self.inodes.push(inode);
        Node::File(self.inodes.len() - 1)
    }

    fn plant(&mut self, path: &str, bytes: &[u8]) {
        for (slash, _) in path.match_indices('/') {
            self.names.plant(&path[..slash], Some(Node::Dir));
        }
        let node = self.add(Inode::planted(bytes));
        self.names.plant(path, Some(node));
    }

    fn unlink(&mut self, number: usize) {
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
    fn reserve(&mut self, number: usize, offset: u64, len: u64) {
        let inode = &mut self.inodes[number];
        let new = inode.space.add(offset..offset + len);
        if inode.linked {
            self.used += new;
        }
    }

    /// How many bytes at `offset` there is space for.
    fn fitting(&self, number: usize, offset: u64, len: u64) -> u64 {
        let inode = &self.inodes[number];
        if self.capacity.is_none() || !inode.linked {
            return len;
        }
        inode.space.fitting(offset, len, self.free())
    }

    fn write(&mut self, stamp: Stamp, number: usize, offset: u64, bytes: &[u8]) {
        self.reserve(number, offset, bytes.len() as u64);
        self.inodes[number].write(stamp, offset, bytes);
    }
}

/// What a process that is gone is told.
fn gone() -> io::Error {
    io::Error::other("the simulated process was stopped here")
}

impl Storage for SimDisk {
    fn lock(&self) -> Result<Box<dyn LockGuard>, LockError> {
        let mut state = self.state();
        if state.stopped {
            return Err(gone().into());
        }
        if self.shared.locked.swap(true, Ordering::AcqRel) {
            let pid = Some(std::process::id());
            return Err(LockError::Held { pid });
        }
        // Not an operation: nobody relies on this file, but everybody sees it.
        if state.find(LOCK).is_none() {
            state.plant(LOCK, b"");
        }
        Ok(Box::new(SimLock(Arc::clone(&self.shared))))
    }

    fn create_dir(&self, dir: &str) -> io::Result<()> {
        let mut state = self.state();
        let stamp = state.begin_whole(|| format!("create_dir {dir}"))?;
        if state.names.is_dir(dir) {
            return Ok(());
        }
        if state.find(dir).is_some() {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        if !state.names.is_dir(parent(dir)) {
            return Err(state.names.missing(dir));
        }
        state.names.edit(stamp, [(dir.into(), Some(Node::Dir))]);
        Ok(())
    }

    fn list(&self, dir: &str) -> io::Result<Vec<String>> {
        let mut state = self.state();
        state.begin_read(|| format!("list {dir}"))?;
        if !state.names.is_dir(dir) {
            return Err(match state.find(dir) {
                Some(_) => io::ErrorKind::NotADirectory.into(),
                None => state.names.missing(dir),
            });
        }
        let after = if dir.is_empty() { String::new() } else { format!("{dir}/") };
        let below = state.names.seen.range::<str, _>((Bound::Included(after.as_str()), Bound::Unbounded));
        let mut names: Vec<String> = below
            .map_while(|(path, _)| path.strip_prefix(after.as_str()))
            .filter(|name| !name.contains('/'))
            .map(str::to_owned)
            .collect();
        // In no order, so that nobody comes to rely on one.
        let mut dice = state.dice(!state.reads);
        for i in (1..names.len()).rev() {
            names.swap(i, dice.below(i as u64 + 1) as usize);
        }
        Ok(names)
    }

    fn create(&self, path: &str) -> io::Result<Arc<dyn File>> {
        let mut state = self.state();
        let stamp = state.begin_whole(|| format!("create {path}"))?;
        if state.names.is_dir(path) || state.find(path).is_some() {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        if !state.names.is_dir(parent(path)) {
            return Err(state.names.missing(path));
        }
        let number = state.inodes.len();
        let node = state.add(Inode::planted(b""));
        let path: Arc<str> = path.into();
        state.names.edit(stamp, [(Arc::clone(&path), Some(node))]);
        Ok(self.file(path, number, Access::ReadWrite))
    }

    fn open(&self, path: &str, access: Access) -> io::Result<Arc<dyn File>> {
        let mut state = self.state();
        state.begin_read(|| format!("open {path}"))?;
        match state.names.seen.get_key_value(path) {
            Some((path, &Node::File(number))) => Ok(self.file(Arc::clone(path), number, access)),
            Some((_, Node::Dir)) => Err(io::ErrorKind::IsADirectory.into()),
            None => Err(state.names.missing(path)),
        }
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        let mut state = self.state();
        let stamp = state.begin_whole(|| format!("rename {from} {to}"))?;
        // In the order in which a kernel looks: both directories, then the names.
        for path in [from, to] {
            if !state.names.is_dir(parent(path)) {
                return Err(state.names.missing(path));
            }
        }
        let node = match state.names.seen.get(from) {
            Some(&node @ Node::File(_)) => node,
            Some(Node::Dir) => return Err(io::ErrorKind::IsADirectory.into()),
            None => return Err(state.names.missing(from)),
        };
        if state.names.is_dir(to) {
            return Err(io::ErrorKind::IsADirectory.into());
        }
        if from == to {
            return Ok(());
        }
        if let Some(&Node::File(replaced)) = state.names.seen.get(to) {
            state.unlink(replaced);
        }
        let edits = [(to.into(), Some(node)), (from.into(), None)];
        state.names.edit(stamp, edits);
        Ok(())
    }

    fn remove(&self, path: &str) -> io::Result<()> {
        let mut state = self.state();
        let stamp = state.begin_whole(|| format!("remove {path}"))?;
        match state.names.seen.get(path) {
            Some(&Node::File(number)) => {
                state.names.edit(stamp, [(path.into(), None)]);
                state.unlink(number);
                Ok(())
            }
            Some(Node::Dir) => Err(io::ErrorKind::IsADirectory.into()),
            None => Err(state.names.missing(path)),
        }
    }

    fn sync_dir(&self, dir: &str) -> io::Result<()> {
        let mut state = self.state();
        match state.begin(|| format!("sync_dir {dir}"))?.1 {
            Verdict::Stop => return Err(gone()),
            Verdict::Fail(fault) => {
                if let Some(fault) = fault.of_whole() {
                    state.names.fail_sync(dir);
                    return Err(fault.error());
                }
            }
            Verdict::Go => {}
        }
        if !state.names.is_dir(dir) {
            return Err(state.names.missing(dir));
        }
        state.names.sync(dir);
        Ok(())
    }

    /// The bytes are those of a file whose bytes are final and durable, or it would not be linked. What is on another
    /// disk is on this one then; nobody writes through either name, so nobody can tell.
    fn take_from(&self, from: &dyn Storage, path: &str, to: &str, how: Take) -> io::Result<bool> {
        if how == Take::Copy {
            return Ok(false);
        }
        let file = from.open(path, Access::Read)?;
        let mut bytes = vec![0; file.len()? as usize];
        let read = file.read_at(0, &mut bytes)?;
        bytes.truncate(read);
        let mut state = self.state();
        let stamp = state.begin_whole(|| format!("link {to}"))?;
        if state.names.is_dir(to) || state.find(to).is_some() {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        if !state.names.is_dir(parent(to)) {
            return Err(state.names.missing(to));
        }
        let node = state.add(Inode::planted(&bytes));
        state.names.edit(stamp, [(to.into(), Some(node))]);
        Ok(true)
    }

    fn describe(&self, path: &str) -> String {
        format!("simulated disk: {path}")
    }

    /// From the seed, like everything else here, and never the same twice in the life of a disk.
    fn fill_random(&self, bytes: &mut [u8]) -> io::Result<()> {
        const APART: u64 = 0x5851_F42D_4C95_7F2D;
        let mut state = self.state();
        state.draws += 1;
        let mut dice = Dice::new(state.seed ^ APART, state.draws);
        for byte in bytes {
            *byte = dice.next() as u8;
        }
        Ok(())
    }
}

impl SimDisk {
    fn file(&self, path: Arc<str>, number: usize, access: Access) -> Arc<dyn File> {
        Arc::new(SimFile { disk: self.clone(), path, number, writable: access == Access::ReadWrite })
    }
}

struct SimLock(Arc<Shared>);

impl LockGuard for SimLock {}

impl Drop for SimLock {
    fn drop(&mut self) {
        self.0.locked.store(false, Ordering::Release);
    }
}

/// An open file: its bytes, whatever its name is by now.
struct SimFile {
    disk: SimDisk,
    /// As it was opened, for the journal.
    path: Arc<str>,
    number: usize,
    writable: bool,
}

impl SimFile {
    /// What the kernel says without asking the disk, so it is not an operation.
    fn check(&self, offset: u64, len: u64) -> io::Result<()> {
        if !self.writable {
            return Err(Errno::BADF.into());
        }
        match offset.checked_add(len) {
            Some(end) if end <= MAX_WRITTEN => Ok(()),
            _ => Err(Errno::FBIG.into()),
        }
    }
}

impl File for SimFile {
    fn len(&self) -> io::Result<u64> {
        let state = self.disk.state();
        if state.stopped {
            return Err(gone());
        }
        Ok(state.inodes[self.number].len())
    }

    fn read_at(&self, offset: u64, buf: &mut [u8]) -> io::Result<usize> {
        let mut state = self.disk.state();
        let stale = state.begin_read(|| format!("read_at {} {offset}+{}", self.path, buf.len()))?;
        let inode = &state.inodes[self.number];
        if inode.is_spoiled(offset, buf.len()) {
            Err(Errno::IO.into())
        } else if stale {
            Ok(inode.read_stale(offset, buf))
        } else {
            Ok(inode.read(offset, buf))
        }
    }

    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<usize> {
        let len = bytes.len() as u64;
        self.check(offset, len)?;
        let mut state = self.disk.state();
        let (stamp, verdict) = state.begin(|| format!("write_at {} {offset}+{len}", self.path))?;
        let fits = state.fitting(self.number, offset, len);
        let full = std::mem::take(&mut state.full);
        let mut dice = state.dice(stamp);
        let (part, error) = match verdict {
            Verdict::Stop => (dice.below(len + 1).min(fits), Some(gone())),
            Verdict::Fail(Fault::Eio) => {
                let part = if dice.chance(128) { 0 } else { dice.below(len) };
                (part.min(fits), Some(Fault::Eio.error()))
            }
            Verdict::Fail(Fault::StorageFull) => (0, Some(Fault::StorageFull.error())),
            Verdict::Fail(fault @ (Fault::ShortWrite | Fault::ShortThenFull)) if len > 1 => {
                if fault == Fault::ShortThenFull {
                    state.full = Full::Pretended;
                }
                ((1 + dice.below(len - 1)).min(fits), None)
            }
            Verdict::Fail(fault @ Fault::ShortThenFull) => (0, Some(fault.error())),
            _ if full == Full::Pretended => (0, Some(Fault::StorageFull.error())),
            _ if fits == len => (len, None),
            _ if full == Full::Told || fits == 0 => {
                state.full = Full::Told;
                (0, Some(Fault::StorageFull.error()))
            }
            _ => {
                state.full = Full::Told;
                (1 + dice.below(fits), None)
            }
        };
        state.write(stamp, self.number, offset, &bytes[..part as usize]);
        error.map_or(Ok(part as usize), Err)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.check(0, 0)?;
        let mut state = self.disk.state();
        let stamp = state.begin_whole(|| format!("set_len {} {len}", self.path))?;
        if i64::try_from(len).is_err() {
            return Err(Errno::INVAL.into());
        }
        let inode = &mut state.inodes[self.number];
        inode.set_len(stamp, len);
        let freed = inode.space.cut(len);
        if inode.linked && freed > 0 {
            state.used -= freed;
            state.full = Full::No;
        }
        Ok(())
    }

    fn allocate(&self, offset: u64, len: u64) -> io::Result<()> {
        self.check(offset, len)?;
        let mut state = self.disk.state();
        let stamp = state.begin_whole(|| format!("allocate {} {offset}+{len}", self.path))?;
        let fits = state.fitting(self.number, offset, len);
        // File systems reserve in pieces, and keep those that they could get.
        let part = if fits == len { len } else { state.dice(stamp).below(fits + 1) / PAGE * PAGE };
        if part > 0 {
            state.reserve(self.number, offset, part);
            state.inodes[self.number].grow(stamp, offset + part);
        }
        if part < len {
            return Err(Fault::StorageFull.error());
        }
        Ok(())
    }

    fn sync(&self) -> io::Result<()> {
        let mut state = self.disk.state();
        let (stamp, verdict) = state.begin(|| format!("sync {}", self.path))?;
        match verdict {
            Verdict::Stop => return Err(gone()),
            Verdict::Fail(fault) => {
                if let Some(fault) = fault.of_whole() {
                    let mut dice = state.dice(stamp);
                    state.inodes[self.number].fail_sync(&mut dice);
                    return Err(fault.error());
                }
            }
            Verdict::Go => {}
        }
        state.inodes[self.number].sync();
        Ok(())
    }

    fn start_writeback(&self, _offset: u64, _len: u64) {
        // Unsynced bytes may be kept anyway, asked for or not.
    }

    fn read_from_disk(&self, offset: u64, buf: &mut [u8]) -> io::Result<(usize, Provenance)> {
        let mut state = self.disk.state();
        let stale = state.begin_read(|| format!("read_from_disk {} {offset}+{}", self.path, buf.len()))?;
        let inode = &mut state.inodes[self.number];
        if inode.is_spoiled(offset, buf.len()) {
            return Err(Errno::IO.into());
        }
        let read = if stale { inode.read_stale(offset, buf) } else { inode.read_through(offset, buf) };
        Ok((read, Provenance::Disk))
    }

    fn map(&self, _len: u64) -> io::Result<Option<Mapping>> {
        Ok(None)
    }
}

impl fmt::Debug for SimDisk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = self.state();
        f.debug_struct("SimDisk")
            .field("seed", &state.seed)
            .field("operations", &state.operations)
            .field("reads", &state.reads)
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for SimLock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SimLock")
    }
}

impl fmt::Debug for SimFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SimFile").field("path", &self.path).finish_non_exhaustive()
    }
}

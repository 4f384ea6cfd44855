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
mod file;
mod inode;
mod names;
mod outside;
mod state;
mod storage;
#[cfg(test)]
mod tests;

use std::fmt;
use std::sync::Arc;

use crate::sync::atomic::AtomicBool;
use crate::sync::{Mutex, MutexGuard};
use content::PAGE;
use fault::{Dice, Keep};
pub use fault::{Fault, PowerLoss, ReadFault};
use names::Node;
use state::{Full, State};

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

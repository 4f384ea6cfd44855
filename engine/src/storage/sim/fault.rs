//! What can go wrong, and the dice that decide what is left open.
//!
//! Every decision is drawn from the disk's seed and the number of the operation
//! it belongs to, never from a stream that all operations share: a reader that
//! comes or goes does not change what happens to the writer.

use std::io;

use rustix::io::Errno;

/// What happens to one operation that changes or syncs the disk.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum Fault {
    /// The device failed (EIO). A write may have written some of its bytes. Of
    /// what a sync should have made durable, some is lost (see the module's
    /// text). Anything else did nothing.
    Eio,
    /// No space (ENOSPC): like [`Fault::Eio`], but a write wrote nothing.
    StorageFull,
    /// A write stops short, at a byte between its first and its last. What is
    /// not a write of at least two bytes is unharmed.
    ShortWrite,
    /// A write stops short, and the next write finds no space, as on a disk that
    /// is just filling up. What is not a write of at least two bytes gets
    /// [`Fault::StorageFull`].
    ShortThenFull,
}

/// What happens to one operation that reads.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum ReadFault {
    /// The device failed (EIO).
    Eio,
    /// What the disk holds is read, although the cache knows newer bytes.
    /// Listing and opening are unharmed.
    Stale,
}

/// How the power goes, that is, what becomes of everything that was not synced.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum PowerLoss {
    /// Nothing unsynced is kept.
    KeepLeast,
    /// Everything is kept, but for what a failed sync has lost already.
    KeepMost,
    /// The seed decides for each file, sector, size and name.
    Random,
    /// Everything is kept but for the operation of this number, and what cannot
    /// be without it: finds the one barrier that is missing.
    DropOnly(u64),
    /// Nothing unsynced is kept but for the operation of this number, and what
    /// it cannot be without.
    KeepOnly(u64),
    /// Everything is kept, but of one write only its beginning, and nothing
    /// that was written over the rest of it later.
    TornAt {
        /// The number of the operation.
        operation: u64,
        /// How many of the sectors it wrote are kept.
        sector: u64,
    },
}

/// What [`PowerLoss`] means for one file or for the names; numbers are [`Stamp`]s.
#[derive(Clone, Copy)]
pub(super) enum Keep {
    All,
    Nothing,
    Except(Stamp),
    Only(Stamp),
    /// Of the operation only the first sectors.
    Torn(Stamp, u64),
    /// What came before, and parts of the operation itself.
    Before(Stamp),
    /// Each thing with this chance, in 256ths.
    Chance(u64),
}

/// An operation's number plus one. What was inherited from a disk's previous
/// life has [`INHERITED`].
pub(super) type Stamp = u64;

pub(super) const INHERITED: Stamp = 0;

/// Where the plan sends one operation.
pub(super) enum Verdict {
    Go,
    Fail(Fault),
    /// The process dies in the middle of it.
    Stop,
}

impl Fault {
    pub(super) fn error(self) -> io::Error {
        match self {
            Fault::Eio => Errno::IO.into(),
            Fault::StorageFull | Fault::ShortWrite | Fault::ShortThenFull => Errno::NOSPC.into(),
        }
    }

    /// The fault of an operation that cannot be cut short.
    pub(super) fn of_whole(self) -> Option<Fault> {
        match self {
            Fault::ShortWrite => None,
            Fault::ShortThenFull => Some(Fault::StorageFull),
            Fault::Eio | Fault::StorageFull => Some(self),
        }
    }
}

/// Splitmix64: good enough to decide, quick to begin anew for each decision.
pub(super) struct Dice(u64);

impl Dice {
    pub(super) fn new(seed: u64, stamp: u64) -> Dice {
        let mut dice = Dice(seed ^ stamp.wrapping_mul(0xD6E8_FEB8_6659_FD93));
        dice.next();
        dice
    }

    pub(super) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut x = self.0;
        x = (x ^ (x >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        x = (x ^ (x >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        x ^ (x >> 31)
    }

    /// A number below `n`; 0 when there is none.
    pub(super) fn below(&mut self, n: u64) -> u64 {
        ((u128::from(self.next()) * u128::from(n)) >> 64) as u64
    }

    /// Whether something with a chance of `of_256` happens.
    pub(super) fn chance(&mut self, of_256: u64) -> bool {
        self.next() >> 56 < of_256
    }
}

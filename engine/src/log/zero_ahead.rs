//! The frontier of the space that was zeroed before it is needed.
//!
//! ```text
//!  0           written end            frontier
//!  +---------------+----------------------+- - - - - - - - -
//!  | frames        | zeros, ready         | zeroed next
//!  +---------------+----------------------+- - - - - - - - -
//! ```
//!
//! A sync into extents that were written before changes no metadata, and is
//! about twice as fast. The zeroing runs beside the writer, and the two must
//! never meet: a zero that lands on a frame destroys it.
//!
//! What is always true:
//!
//! - Zeros are written only at or behind the frontier, with its lock held.
//! - The writer writes below the frontier without the lock; before it writes
//!   beyond, it takes the lock and moves the frontier behind its own end.
//! - When the segment ends, the frontier moves to the end of the world, and
//!   nothing is zeroed in it any more.

use std::io;
use std::sync::Arc;

use crate::log::small_files::write_all;
use crate::planted::{self, Bug};
use crate::storage::File;
use crate::sync::Mutex;
use crate::sync::atomic::{AtomicU64, Ordering};

/// How much is zeroed in one go: small, because the next sync of the log waits for it.
const STEP: u64 = 256 << 10;

static ZEROS: [u8; STEP as usize] = [0; STEP as usize];

#[derive(Debug)]
pub(crate) struct Frontier {
    file: Arc<dyn File>,
    /// Where the segment ends at the latest.
    capacity: u64,
    at: AtomicU64,
    /// Held while zeros are written, and while the frontier is moved.
    moving: Mutex<()>,
    /// How far the writer would like it to be.
    wanted: AtomicU64,
}

impl Frontier {
    pub(crate) fn new(file: Arc<dyn File>, at: u64, capacity: u64) -> Frontier {
        let (at, wanted) = (AtomicU64::new(at), AtomicU64::new(0));
        Frontier { file, capacity, at, moving: Mutex::new(()), wanted }
    }

    /// Where zeroed space ends.
    pub(crate) fn at(&self) -> u64 {
        self.at.load(Ordering::Acquire)
    }

    /// Makes sure that no zero will be written below `end`. Called before writing up to there.
    pub(crate) fn pass(&self, end: u64) {
        if end > self.at() && !planted::has(Bug::ZeroesOverFrames) {
            let _moving = self.moving.lock();
            self.at.fetch_max(end, Ordering::AcqRel);
        }
    }

    /// Forgets zeroed space at and behind `end`, which was cut off the file.
    pub(crate) fn retreat(&self, end: u64, cut: impl FnOnce() -> io::Result<()>) -> io::Result<()> {
        let _moving = self.moving.lock();
        cut()?;
        self.at.store(end, Ordering::Release);
        Ok(())
    }

    /// Nothing is zeroed in this segment any more.
    pub(crate) fn close(&self) {
        let _moving = self.moving.lock();
        self.at.store(u64::MAX, Ordering::Release);
    }

    /// Asks for zeros up to `end`. Returns whether the zeroing has to be woken for it.
    pub(crate) fn want(&self, end: u64, half: u64) -> bool {
        let end = end.min(self.capacity);
        // Only when half of what was ahead is used up: a wake-up is a system call.
        if end.saturating_sub(self.at()) <= half {
            return false;
        }
        self.wanted.fetch_max(end, Ordering::AcqRel) < end
    }

    /// Zeroes one step of what is wanted. Returns whether there is more to do.
    pub(crate) fn step(&self) -> io::Result<bool> {
        let _moving = self.moving.lock();
        let (at, wanted) = (self.at(), self.wanted.load(Ordering::Acquire));
        if at >= wanted {
            return Ok(false);
        }
        let len = STEP.min(wanted - at);
        write_all(&*self.file, at, &ZEROS[..len as usize])?;
        self.file.start_writeback(at, len);
        self.at.store(at + len, Ordering::Release);
        Ok(at + len < wanted)
    }
}

/// Fills a new file with zeros up to `len`, in steps, as long as `go_on` agrees.
pub(crate) fn zero_file(file: &dyn File, len: u64, mut go_on: impl FnMut() -> bool) -> io::Result<u64> {
    let mut at = 0;
    while at < len && go_on() {
        let step = STEP.min(len - at);
        write_all(file, at, &ZEROS[..step as usize])?;
        // Or the sync below would find all of it to write, and one of the log's would wait behind that.
        file.start_writeback(at, step);
        at += step;
    }
    file.sync()?;
    Ok(at)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::storage::Storage;
    use crate::storage::disk::DiskStorage;

    #[test]
    fn zeroing_never_touches_what_the_writer_has_passed() {
        let dir = tempfile::tempdir().unwrap();
        let storage = DiskStorage::new(dir.path());
        let file = storage.create("segment").unwrap();
        let capacity = 64 * STEP;
        let frontier = Frontier::new(Arc::clone(&file), 0, capacity);
        frontier.want(capacity, 0);
        let frame = vec![7; 10_000];
        std::thread::scope(|threads| {
            threads.spawn(|| while frontier.step().unwrap() {});
            // A writer that is faster than the zeroing, and so meets it again and again.
            let mut at = 0;
            while at + frame.len() as u64 <= capacity {
                frontier.pass(at + frame.len() as u64);
                write_all(&*file, at, &frame).unwrap();
                at += frame.len() as u64;
            }
        });
        let mut all = vec![0; capacity as usize / 10_000 * 10_000];
        file.read_at(0, &mut all).unwrap();
        assert_eq!(all.iter().position(|&byte| byte != 7), None);
    }
}

//! An open file of a simulated disk: the operations on bytes and sizes.
//!
//! What is always true: what a fault leaves done in part is drawn from the seed and the operation's number, and is a
//! beginning of what was asked for.

use std::fmt;
use std::io;
use std::sync::Arc;

use rustix::io::Errno;

use super::SimDisk;
use super::content::PAGE;
use super::fault::{Fault, Verdict};
use super::state::{Full, gone};
use crate::storage::{File, Mapping, Provenance};

/// Beyond this a write fails (EFBIG), so that a wild offset is an error and not
/// a huge page table.
const MAX_WRITTEN: u64 = 1 << 36;

/// An open file: its bytes, whatever its name is by now.
pub(super) struct SimFile {
    pub(super) disk: SimDisk,
    /// As it was opened, for the journal.
    pub(super) path: Arc<str>,
    pub(super) number: usize,
    pub(super) writable: bool,
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
impl fmt::Debug for SimFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SimFile").field("path", &self.path).finish_non_exhaustive()
    }
}

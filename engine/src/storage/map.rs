//! The one file of the engine with `unsafe`: a read-only mapping that lends out only what is
//! final, and an instruction and a system call that no safe wrapper offers.
//!
//! ```text
//!  0              committed              file's end            len
//!  +-----------------+-----------------------+------------------+
//!  | final: lent out | being written, zeroed | not there at all |
//!  +-----------------+-----------------------+------------------+
//!     slice, bytes      never looked at          (SIGBUS)
//! ```
//!
//! What is always true:
//!
//! - A reference is only ever made to bytes below `committed`, which only grows.
//!   Not even an unused `&[u8]` covers more: a reference to bytes that somebody
//!   is writing is undefined behaviour, read or not.
//! - Nothing here writes to the mapping; the kernel would refuse it.
//! - The mapping lives as long as the last slice or [`Bytes`] made from it.
//!
//! All of it stands on one promise, made by whoever calls
//! [`Mapping::commit_to`]: bytes below are in the file, and no path writes or
//! cuts them again. The engine makes it in one place, where it publishes.
#![allow(unsafe_code)]

use std::fmt;
use std::fs::File;
use std::io;
use std::sync::Arc;

use bytes::Bytes;
use memmap2::{MmapOptions, MmapRaw};

use super::LockGuard;
use crate::sync::OnceLock;
use crate::sync::atomic::{AtomicU64, Ordering};

/// A range of memory that shows the beginning of a file, and how much of it is final.
pub struct Mapping {
    backing: Backing,
    committed: AtomicU64,
    /// Let go after unmapping: fields are dropped in this order.
    lock: OnceLock<Box<dyn LockGuard>>,
}

/// What lies behind the pointer.
///
/// The buffer exists for tests: Miri knows no `mmap`, and the same arithmetic
/// and the same `unsafe` run on both.
enum Backing {
    File(MmapRaw),
    Buffer(Box<[u8]>),
}

impl Mapping {
    /// Maps the first `len` bytes of `file`, shared and read-only; nothing of it is committed yet.
    ///
    /// `len` may lie beyond the end of the file: those pages show the file's
    /// bytes once it has grown over them.
    pub(crate) fn new(file: &File, len: u64) -> io::Result<Mapping> {
        let len = usize::try_from(len).map_err(|_| io::Error::new(io::ErrorKind::InvalidInput, "too long to map"))?;
        // This call needs no `unsafe`, because a `MmapRaw` hands out no
        // reference. `slice` does, and answers for it there.
        let map = MmapOptions::new().len(len).map_raw_read_only(file)?;
        Ok(Mapping::over(Backing::File(map)))
    }

    /// A mapping of plain memory, with nothing committed yet.
    #[cfg_attr(not(test), allow(dead_code))]
    pub(crate) fn from_vec(bytes: Vec<u8>) -> Mapping {
        Mapping::over(Backing::Buffer(bytes.into_boxed_slice()))
    }

    fn over(backing: Backing) -> Mapping {
        Mapping { backing, committed: AtomicU64::new(0), lock: OnceLock::new() }
    }

    /// Keeps the store locked for as long as anything that was lent out lives.
    ///
    /// For a store that fails with bytes lent out that are not durable: the next recovery may
    /// find that the disk does not have them, and cut them off.
    pub(crate) fn keep_locked(&self, lock: Box<dyn LockGuard>) {
        // There is one lock, so this is the first.
        let _ = self.lock.set(lock);
    }

    /// How many bytes are mapped, committed or not.
    pub(crate) fn len(&self) -> u64 {
        match &self.backing {
            Backing::File(map) => map.len() as u64,
            Backing::Buffer(bytes) => bytes.len() as u64,
        }
    }

    /// Promises that the bytes below `end` are in the file and are never
    /// written, cut or extended over again, by any path, while this mapping lives.
    ///
    /// From here on they are lent out. The promise is only ever widened: a
    /// smaller `end` than before changes nothing.
    ///
    /// Safe to call by type but not by nature: it is visible in this crate only,
    /// and a caller who breaks the promise breaks `slice`. It cannot be an
    /// `unsafe fn`, since the caller's file may not say `unsafe`.
    pub(crate) fn commit_to(&self, end: u64) {
        debug_assert!(end <= self.len(), "committed beyond the mapping");
        // `slice` trusts this number with the pointer, so it never exceeds the mapping.
        //
        // Release, to pair with the load in `committed`: who sees `end` also
        // sees every write to the file that came before this call.
        self.committed.fetch_max(end.min(self.len()), Ordering::Release);
    }

    /// The end of what is lent out.
    #[inline]
    pub(crate) fn committed(&self) -> u64 {
        self.committed.load(Ordering::Acquire)
    }

    /// Maps the pages of a range now, in one system call, as far as they are committed.
    ///
    /// A hint: what fails here is met again, page by page, by whoever reads.
    pub(crate) fn populate(&self, offset: u64, len: u64) {
        #[cfg(target_os = "linux")]
        if let Backing::File(map) = &self.backing {
            let end = offset.saturating_add(len).min(self.committed());
            if let Some(len) = end.checked_sub(offset).filter(|&len| len > 0) {
                // Below the committed end there is file, so no page of it is beyond the end.
                let _ = map.advise_range(memmap2::Advice::PopulateRead, offset as usize, len as usize);
            }
        }
        #[cfg(not(target_os = "linux"))]
        let _ = (offset, len);
    }

    /// Maps the pages of a range now, and says whether they could all be read. Where the system does not tell, that is
    /// an error, too.
    pub(crate) fn populate_or_fail(&self, range: std::ops::Range<u64>) -> io::Result<()> {
        match &self.backing {
            Backing::Buffer(_) => Ok(()),
            #[cfg(target_os = "linux")]
            Backing::File(map) => {
                let (start, len) = (range.start as usize, range.end.saturating_sub(range.start) as usize);
                map.advise_range(memmap2::Advice::PopulateRead, start, len)
            }
            #[cfg(not(target_os = "linux"))]
            Backing::File(_) => Err(io::ErrorKind::Unsupported.into()),
        }
    }

    /// Asks the processor to bring a range into its cache, as far as it is committed, without waiting.
    ///
    /// A hint: a page that is not mapped yet is left alone. Nothing where the compiler has no such instruction.
    #[inline]
    pub(crate) fn prefetch(&self, offset: u64, len: u64) {
        #[cfg(all(target_arch = "x86_64", not(miri)))]
        if let Some(bytes) = self.slice_from(offset) {
            /// Bytes that come into the cache together.
            const LINE: usize = 64;
            let len = bytes.len().min(len as usize);
            for line in bytes[..len].chunks(LINE) {
                // SAFETY: the instruction belongs to SSE, which every x86_64 has. It reads no memory as far as
                // the language is concerned, and no address makes it fail; this one is of a borrowed slice all the same.
                unsafe {
                    std::arch::x86_64::_mm_prefetch::<{ std::arch::x86_64::_MM_HINT_T0 }>(line.as_ptr().cast());
                }
            }
        }
        #[cfg(not(all(target_arch = "x86_64", not(miri))))]
        let _ = (offset, len);
    }

    /// All that is committed from `offset` on; `None` when that is nothing.
    #[inline]
    pub(crate) fn slice_from(&self, offset: u64) -> Option<&[u8]> {
        let len = self.committed().checked_sub(offset).filter(|&len| len > 0)?;
        self.slice(offset, usize::try_from(len).ok()?)
    }

    /// `len` bytes at `offset`, or `None` when not all of them are committed.
    #[inline]
    pub(crate) fn slice(&self, offset: u64, len: usize) -> Option<&[u8]> {
        let end = offset.checked_add(len as u64)?;
        if end > self.committed() {
            return None;
        }
        let base = match &self.backing {
            Backing::File(map) => map.as_ptr(),
            Backing::Buffer(bytes) => bytes.as_ptr(),
        };
        // SAFETY: `memmap2` makes the mapping a raw pointer, and leaves to us
        // what `pointer::add` and `slice::from_raw_parts` demand:
        //
        // - *In bounds of one allocation, no longer than `isize::MAX`.*
        //   `offset + len <= committed` was just checked without overflow, and
        //   `commit_to` keeps `committed` within the mapping, whose length is an
        //   allocation's (`Box`) or was accepted by `mmap`. So `offset` also fits `usize`.
        // - *Non-null and aligned.* `mmap` and `Box` give no null pointer (of an
        //   empty `Box` we make an empty slice at its dangling pointer); `u8`
        //   has no alignment to meet.
        // - *Readable, and initialised.* The pages are in the file, by the
        //   promise of `commit_to`; what was never written reads as zero. The
        //   pointer stays valid while `self` is borrowed: only `Drop` unmaps.
        // - *Not written while the slice lives, by anyone.*
        //   - By us: the engine changes segments with `pwrite` and `ftruncate`
        //     only at or beyond the committed end, and never maps them for
        //     writing. Retention unlinks, which leaves the pages of an open
        //     mapping alone, and never truncates.
        //   - By `pwrite` to the same page, above `committed`: other bytes, to
        //     which no reference exists.
        //   - By other processes: the lock keeps other stores out. A program
        //     that edits or cuts the file anyway is outside our contract; the
        //     cut gives SIGBUS. The README says so under "What we assume about
        //     your disk".
        // - *A bad sector* is a signal too (SIGBUS, not undefined behaviour);
        //   who wants an error instead opens the store without mapping.
        Some(unsafe { std::slice::from_raw_parts(base.add(offset as usize), len) })
    }

    /// Everything committed at this moment, as a value that keeps the mapping alive.
    ///
    /// Cut it with [`Bytes::slice`]; that copies nothing. It stays readable
    /// after the file was removed and after the store was closed.
    pub(crate) fn bytes(self: &Arc<Self>) -> Bytes {
        // Captured once: `as_ref` has to return the same slice each time, and `committed` moves on.
        Bytes::from_owner(Pinned { mapping: Arc::clone(self), offset: 0, len: self.committed() as usize })
    }

    /// A range as such a value; `None` when not all of it is committed. Cheaper than all for who wants no more.
    pub(crate) fn range(self: &Arc<Self>, offset: u64, len: usize) -> Option<Bytes> {
        self.slice(offset, len)?;
        Some(Bytes::from_owner(Pinned { mapping: Arc::clone(self), offset, len }))
    }
}

/// The owner behind [`Mapping::bytes`] and [`Mapping::range`]: a range that was committed when it was made.
struct Pinned {
    mapping: Arc<Mapping>,
    offset: u64,
    len: usize,
}

impl AsRef<[u8]> for Pinned {
    fn as_ref(&self) -> &[u8] {
        self.mapping.slice(self.offset, self.len).expect("the committed end never moves back")
    }
}

impl fmt::Debug for Mapping {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Mapping")
            .field("len", &self.len())
            .field("committed", &self.committed())
            .finish_non_exhaustive()
    }
}

/// Asks Linux to begin writing a range of `file`, without waiting for it.
///
/// Lives here because neither std nor rustix wraps `sync_file_range`. The
/// obvious safe substitute, `fadvise(DONTNEED)`, also drops the pages from the
/// cache and drains every processor's page lists, on the hot path.
#[cfg(target_os = "linux")]
pub(crate) fn start_writeback(file: &File, offset: u64, len: u64) -> io::Result<()> {
    use std::os::fd::AsRawFd;

    let invalid = |_| io::Error::from(io::ErrorKind::InvalidInput);
    let offset = i64::try_from(offset).map_err(invalid)?;
    let len = i64::try_from(len).map_err(invalid)?;
    // SAFETY: the call takes numbers and no pointer, so it demands nothing of
    // memory. The descriptor is open for as long as `file` is borrowed.
    let done = unsafe { libc::sync_file_range(file.as_raw_fd(), offset, len, libc::SYNC_FILE_RANGE_WRITE) };
    if done == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn committed(bytes: &[u8], end: u64) -> Arc<Mapping> {
        let mapping = Mapping::from_vec(bytes.to_vec());
        mapping.commit_to(end);
        Arc::new(mapping)
    }

    #[test]
    fn a_slice_exists_exactly_when_all_its_bytes_are_committed() {
        let bytes: Vec<u8> = (0..24).collect();
        for end in 0..=24 {
            let mapping = committed(&bytes, end);
            for offset in 0..=26_u64 {
                for len in 0..=26_usize {
                    let within = offset + len as u64 <= end;
                    let expected = within.then(|| &bytes[offset as usize..offset as usize + len]);
                    assert_eq!(mapping.slice(offset, len), expected, "{len} bytes at {offset} with {end} committed");
                }
            }
        }
    }

    #[test]
    fn a_slice_from_an_offset_ends_with_what_is_committed() {
        let mapping = committed(b"abcdefgh", 6);
        assert_eq!(mapping.slice_from(2), Some(&b"cdef"[..]));
        assert_eq!(mapping.slice_from(6), None);
        assert_eq!(mapping.slice_from(u64::MAX), None);
    }

    #[test]
    fn an_offset_that_overflows_is_beyond_the_end() {
        // `offset + len` wraps round to 3 here, which would pass the comparison.
        let mapping = committed(b"abcdefgh", 8);
        assert_eq!(mapping.slice(u64::MAX, 4), None);
        assert_eq!(mapping.slice(4, usize::MAX), None);
    }

    #[test]
    fn the_committed_end_never_moves_back() {
        let mapping = committed(b"abcdefgh", 6);
        mapping.commit_to(2);
        assert_eq!(mapping.committed(), 6);
        assert_eq!(mapping.slice(0, 6), Some(&b"abcdef"[..]));
    }

    #[test]
    fn any_range_may_be_asked_for_ahead() {
        let mapping = committed(&[7; 1000], 600);
        for offset in [0, 1, 599, 600, 601, 1000, 2000, u64::MAX] {
            for len in [0, 1, 64, 65, 600, u64::MAX] {
                mapping.prefetch(offset, len);
            }
        }
    }

    #[test]
    fn an_empty_mapping_lends_an_empty_slice() {
        let mapping = committed(b"", 0);
        assert_eq!(mapping.slice(0, 0), Some(&b""[..]));
        assert_eq!(mapping.slice(0, 1), None);
        assert!(mapping.bytes().is_empty());
    }

    #[test]
    fn bytes_keep_the_end_of_their_moment_and_outlive_the_mapping() {
        let mapping = committed(b"abcdefgh", 3);
        let early = mapping.bytes();
        mapping.commit_to(8);
        let late = mapping.bytes().slice(2..6);
        let (part, beyond) = (mapping.range(1, 3), mapping.range(6, 3));
        drop(mapping);
        assert_eq!(&early[..], b"abc");
        assert_eq!(&late[..], b"cdef");
        assert_eq!(part.as_deref(), Some(&b"bcd"[..]));
        assert_eq!(beyond, None);
    }

    #[test]
    fn who_sees_the_committed_end_sees_the_bytes_below_it() {
        // For Miri and the thread sanitizer: readers race with the one who commits.
        let mapping = committed(b"abcdefgh", 0);
        std::thread::scope(|threads| {
            threads.spawn(|| (1..=8).for_each(|end| mapping.commit_to(end)));
            for _ in 0..2 {
                threads.spawn(|| {
                    let mut seen = 0;
                    while seen < 8 {
                        let end = mapping.committed();
                        assert!(end >= seen, "went from {seen} back to {end}");
                        seen = end;
                        let whole = &b"abcdefgh"[..end as usize];
                        assert_eq!(mapping.slice(0, end as usize), Some(whole));
                        std::thread::yield_now();
                    }
                });
            }
        });
    }

    #[cfg(not(miri))]
    mod of_a_file {
        use std::io::Write;
        use std::os::unix::fs::FileExt;

        use super::*;

        #[test]
        fn a_mapping_longer_than_its_file_shows_what_is_written_later() {
            let mut file = tempfile::tempfile().unwrap();
            file.write_all(b"first").unwrap();
            let mapping = Mapping::new(&file, 1 << 20).unwrap();
            mapping.commit_to(5);
            assert_eq!(mapping.slice(0, 5), Some(&b"first"[..]));

            file.write_all_at(b"second", 70_000).unwrap();
            mapping.commit_to(70_006);
            assert_eq!(mapping.slice(70_000, 6), Some(&b"second"[..]));
            assert_eq!(mapping.slice(70_000, 7), None);
        }
    }
}

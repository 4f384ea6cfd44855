//! The seam to the disk: everything the engine asks of an operating system.
//!
//! Two implementations: `disk`, the real one, and `sim` (public with the feature
//! of that name), a seeded disk in memory that loses power. The trait is narrow on purpose, so that the
//! simulation can be exact: what a method leaves open here (a short write, a
//! name that is not yet durable) is what the simulation does to its caller.
//!
//! What is always true:
//!
//! - Paths are relative to the store's directory, with `/` between parts:
//!   `seg/00000000000000000000-00000000000000000000.seg`.
//! - Nothing is durable until asked for: bytes and sizes by [`File::sync`],
//!   names (create, rename, remove, `create_dir`) by [`Storage::sync_dir`].
//! - No method hides an error, and none retries (but for a read, a write or
//!   a reservation that a signal interrupted before it moved a byte).

#[cfg(test)]
mod contract;
pub(crate) mod disk;
pub(crate) mod map;
#[cfg(feature = "sim")]
pub mod sim;
#[cfg(not(feature = "sim"))]
#[allow(dead_code, unreachable_pub, reason = "without the feature only `in_memory` uses it, and never loses power")]
pub(crate) mod sim;

use std::fmt::Debug;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;

pub use map::Mapping;

/// One store's directory.
///
/// # Errors
///
/// Every method passes on what the operating system says, and on an error has
/// done nothing, unless it says otherwise.
#[allow(clippy::missing_errors_doc)] // said once, above
pub trait Storage: Send + Sync + Debug {
    /// Takes the exclusive lock on the store (`LOCK`), held until the guard is
    /// dropped. Creates the store's directory when it is missing.
    ///
    /// # Errors
    ///
    /// [`LockError::Held`] when another store, in this process or another, has it.
    fn lock(&self) -> Result<Box<dyn LockGuard>, LockError>;

    /// Creates a directory below the store's; fine if it is there already.
    fn create_dir(&self, dir: &str) -> io::Result<()>;

    /// The names of the files and directories in `dir`, in no order; `""` is the store's own
    /// directory. A directory that does not exist is an error (`NotFound`).
    fn list(&self, dir: &str) -> io::Result<Vec<String>>;

    /// Creates a file that must not exist yet, for reading and writing.
    fn create(&self, path: &str) -> io::Result<Arc<dyn File>>;

    /// Opens an existing file.
    fn open(&self, path: &str, access: Access) -> io::Result<Arc<dyn File>>;

    /// Renames a file, replacing the target. Durable after `sync_dir` of its directory.
    fn rename(&self, from: &str, to: &str) -> io::Result<()>;

    /// Unlinks a file. What is open or mapped stays readable.
    fn remove(&self, path: &str) -> io::Result<()>;

    /// Makes the names in `dir` durable.
    fn sync_dir(&self, dir: &str) -> io::Result<()>;

    /// Gives a file of another storage, or of this one, a place here as well, if that can be had at less than the price
    /// of reading and writing it; `Ok(false)` where it cannot, and nothing was done. Nothing may be at `to`. What is taken
    /// by [`Take::Copy`] is not durable before its [`File::sync`].
    fn take_from(&self, from: &dyn Storage, path: &str, to: &str, how: Take) -> io::Result<bool> {
        let _ = (from, path, to, how);
        Ok(false)
    }

    /// Where a file is for the operating system, if it is one of its files.
    fn local_path(&self, path: &str) -> Option<PathBuf> {
        let _ = path;
        None
    }

    /// The place as a person would name it, for messages.
    fn describe(&self, path: &str) -> String;

    /// Fills `bytes` with randomness for log ids and segment salts.
    fn fill_random(&self, bytes: &mut [u8]) -> io::Result<()> {
        getrandom::fill(bytes).map_err(io::Error::from)
    }
}

/// The directory `dir` of the real disk, which need not exist yet. Nothing is touched before it is used.
///
/// ```
/// use annals::{EventStore, Options};
///
/// # let dir = tempfile::tempdir()?;
/// let disk = annals::storage::on_disk(dir.path());
/// assert!(EventStore::open_on(disk, &Options::new())?.recovery_report().created);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn on_disk(dir: impl Into<PathBuf>) -> Arc<dyn Storage> {
    Arc::new(disk::DiskStorage::new(dir))
}

/// How a file is taken from one storage to another.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Take {
    /// As a second name of the same bytes.
    Link,
    /// As bytes of its own, if perhaps shared by the file system until one of them is written.
    Copy,
}

/// What a file is opened for.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Access {
    /// Reading only: works on a read-only file system and without write permission.
    Read,
    /// Reading and writing.
    ReadWrite,
}

/// One open file.
///
/// Offsets and lengths are in bytes.
///
/// # Errors
///
/// Every method passes on what the operating system says.
#[allow(clippy::missing_errors_doc)] // said once, above
#[allow(clippy::len_without_is_empty)] // nobody asks whether a log file is empty
pub trait File: Send + Sync + Debug {
    /// The file's length.
    fn len(&self) -> io::Result<u64>;

    /// Reads at `offset` until `buf` is full or the file ends; returns how many bytes were read.
    fn read_at(&self, offset: u64, buf: &mut [u8]) -> io::Result<usize>;

    /// Writes once at `offset`. May write fewer bytes than given (a full disk
    /// shows up as a short write first, then as an error): the caller loops.
    /// After an error other than a full disk, any part may have been written.
    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<usize>;

    /// Cuts or extends the file; what is added reads as zero.
    fn set_len(&self, len: u64) -> io::Result<()>;

    /// Reserves disk space for a range, extending the file if need be; what is
    /// added reads as zero. Where the file system cannot reserve, zeros are written
    /// beyond the end, so nobody else may write there meanwhile. No byte that is
    /// there changes. After an error the file may have grown by a part of it.
    fn allocate(&self, offset: u64, len: u64) -> io::Result<()>;

    /// Waits until the file's bytes, and the size needed to reach them, are on
    /// the disk. After an error nothing is known about any unsynced byte, and a
    /// later success proves nothing: never retry.
    fn sync(&self) -> io::Result<()>;

    /// Asks the kernel to begin writing a range, without waiting. A hint.
    fn start_writeback(&self, offset: u64, len: u64);

    /// Reads a range as it is on the disk, not as the page cache believes it to
    /// be, and says whether that could be had. Dirty pages of the range are
    /// written out first; clean cached pages of the range are dropped.
    fn read_from_disk(&self, offset: u64, buf: &mut [u8]) -> io::Result<(usize, Provenance)>;

    /// Maps the first `len` bytes for reading; `len` may lie beyond the end of
    /// the file. `None` where mapping is not to be had: read with `read_at`.
    fn map(&self, len: u64) -> io::Result<Option<Mapping>>;
}

/// Where the bytes of [`File::read_from_disk`] came from.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Provenance {
    /// From the device: what a restart would see.
    Disk,
    /// From the page cache, which could not be bypassed or emptied.
    Cache,
}

/// Holds the store's exclusive lock; dropping it lets go.
pub trait LockGuard: Send + Sync + Debug {}

/// Why the exclusive lock was not had.
#[derive(Debug, thiserror::Error)]
pub enum LockError {
    /// Another store has it.
    #[error("held by {}", pid.map_or_else(|| "another store".to_owned(), |pid| format!("process {pid}")))]
    Held {
        /// The process that holds it, when it said so.
        pid: Option<u32>,
    },
    /// The lock file could not be used.
    #[error("the lock file cannot be used")]
    Io(#[from] io::Error),
}

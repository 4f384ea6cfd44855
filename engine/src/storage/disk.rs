//! The real disk: one directory, through the operating system.
//!
//! What is always true:
//!
//! - No error is hidden and no failed call is tried again, with one exception:
//!   a read, a write or a reservation that a signal interrupted before it moved a byte.
//! - Every descriptor is closed on exec, and nothing of a file is cached here:
//!   each answer is the kernel's of that moment.
//! - Only `write_at`, `set_len` and `allocate` change a file.
//!
//! On anything but Linux the same contract is kept with less: space is reserved
//! by writing zeros, and the page cache cannot be seen past, which
//! [`Provenance`] admits.

use std::fs::{self, OpenOptions, TryLockError};
use std::io;
use std::os::unix::fs::{FileExt, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::{Access, File, LockError, LockGuard, Mapping, Provenance, Storage, Take};

/// The file whose lock is the store's.
const LOCK: &str = "LOCK";

/// A store's directory on a real disk.
#[derive(Clone, Debug)]
pub(crate) struct DiskStorage {
    /// Absolute, so that it is the same place also when the process changes its working directory.
    root: PathBuf,
    /// As it was given, for messages.
    shown: PathBuf,
    map: bool,
    /// Whether what is made can be read by its owner alone.
    is_private: bool,
}

impl DiskStorage {
    /// The store in the directory `root`, which need not exist yet. Touches nothing.
    pub(crate) fn new(root: impl Into<PathBuf>) -> DiskStorage {
        let shown = root.into();
        // What cannot be made absolute cannot be opened either, and that is told then.
        let root = std::path::absolute(&shown).unwrap_or_else(|_| shown.clone());
        DiskStorage { root, shown, map: true, is_private: false }
    }

    /// Never maps a file: reads are system calls, and a bad sector is an error
    /// where it would be a signal under a mapping.
    ///
    /// Where addresses have 32 bits this is always so.
    #[must_use]
    pub(crate) fn without_mapping(mut self) -> DiskStorage {
        self.map = false;
        self
    }

    /// What is made in it can be read by its owner alone.
    #[cfg(feature = "shred")]
    #[must_use]
    pub(crate) fn private(mut self) -> DiskStorage {
        self.is_private = true;
        self
    }

    fn path(&self, path: &str) -> PathBuf {
        debug_assert!(!path.starts_with('/'), "{path} is not below the store");
        self.root.join(path)
    }

    fn file(&self, file: fs::File) -> Arc<dyn File> {
        Arc::new(DiskFile { file, map: self.map && cfg!(target_pointer_width = "64") })
    }
}

impl Storage for DiskStorage {
    fn lock(&self) -> Result<Box<dyn LockGuard>, LockError> {
        make_root(&self.root)?;
        // Not truncated by opening it: until the lock is ours, the pid in it is another's.
        let file = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(self.path(LOCK))?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(LockError::Held { pid: pid_in(&file) }),
            Err(TryLockError::Error(error)) => return Err(error.into()),
        }
        // The directory as well: somebody may have deleted LOCK, taking it for stale, while a store
        // held it. Where directories cannot be locked, the file has to do.
        let dir = fs::File::open(&self.root)?;
        if let Err(TryLockError::WouldBlock) = dir.try_lock() {
            return Err(LockError::Held { pid: None });
        }
        // The pid is for a message and nothing else, so a full disk, which must
        // not keep a store from opening, may leave it out.
        let process = std::process::id();
        let _ = file.set_len(0).and_then(|()| file.write_all_at(format!("{process}\n").as_bytes(), 0));
        Ok(Box::new(DiskLock { file, dir, process }))
    }

    fn create_dir(&self, dir: &str) -> io::Result<()> {
        let path = self.path(dir);
        match fs::create_dir(&path) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists && path.is_dir() => Ok(()),
            done => done,
        }
    }

    fn list(&self, dir: &str) -> io::Result<Vec<String>> {
        fs::read_dir(self.path(dir))?
            // A name that is not UTF-8 is not ours. Its lossy form has a
            // character that no name of ours has, so it stays foreign, and
            // can be shown.
            .map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned()))
            .collect()
    }

    fn create(&self, path: &str) -> io::Result<Arc<dyn File>> {
        let mode = if self.is_private { 0o600 } else { 0o666 };
        let mut options = OpenOptions::new();
        options.read(true).write(true).create_new(true).mode(mode);
        options.open(self.path(path)).map(|file| self.file(file))
    }

    fn open(&self, path: &str, access: Access) -> io::Result<Arc<dyn File>> {
        OpenOptions::new()
            .read(true)
            .write(access == Access::ReadWrite)
            .open(self.path(path))
            .map(|file| self.file(file))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        fs::rename(self.path(from), self.path(to))
    }

    fn remove(&self, path: &str) -> io::Result<()> {
        fs::remove_file(self.path(path))
    }

    fn sync_dir(&self, dir: &str) -> io::Result<()> {
        sync_dir(&self.path(dir))
    }

    fn take_from(&self, from: &dyn Storage, path: &str, to: &str, how: Take) -> io::Result<bool> {
        let (Some(from), to) = (from.local_path(path), self.path(to)) else { return Ok(false) };
        let taken = match how {
            Take::Link => fs::hard_link(from, to),
            // The kernel's own way, which on some file systems copies nothing before a byte is written.
            Take::Copy => fs::copy(from, to).map(drop),
        };
        match taken {
            // Another file system, one without links, or somebody else's file.
            Err(error) if how == Take::Link && is_not_to_be_had(&error) => Ok(false),
            done => done.map(|()| true),
        }
    }

    fn local_path(&self, path: &str) -> Option<PathBuf> {
        Some(self.path(path))
    }

    fn describe(&self, path: &str) -> String {
        self.shown.join(path).display().to_string()
    }
}

/// Whether there is nothing at a place, or an empty directory.
pub(crate) fn is_vacant(dir: &Path) -> io::Result<bool> {
    match fs::read_dir(dir) {
        Ok(mut entries) => Ok(entries.next().is_none()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::NotADirectory => Ok(false),
        Err(error) => Err(error),
    }
}

/// A directory beside another one, hidden, for what is to become it.
pub(crate) fn beside(dir: &Path, what: &str) -> io::Result<PathBuf> {
    let dir = std::path::absolute(dir)?;
    let name = dir.file_name().ok_or(io::ErrorKind::InvalidInput)?;
    Ok(dir.with_file_name(format!(".{}.{what}", name.to_string_lossy())))
}

/// Removes a directory with all that is in it; fine if there is none.
pub(crate) fn remove_tree(dir: &Path) -> io::Result<()> {
    match fs::remove_dir_all(dir) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        done => done,
    }
}

/// Removes all that is in a directory but for one file.
pub(crate) fn clear(dir: &Path, but: &str) -> io::Result<()> {
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        match entry.file_type()?.is_dir() {
            true => fs::remove_dir_all(entry.path())?,
            false if entry.file_name() == but => {}
            false => fs::remove_file(entry.path())?,
        }
    }
    Ok(())
}

/// Gives a directory its name, in the place of an empty one if there is one, durably.
pub(crate) fn rename_dir(from: &Path, to: &Path) -> io::Result<()> {
    fs::rename(from, to)?;
    sync_dir(&to.join(".."))
}

/// Whether a link was refused for what it is, and not for what is wrong with the disk.
fn is_not_to_be_had(error: &io::Error) -> bool {
    let kinds = [io::ErrorKind::CrossesDevices, io::ErrorKind::PermissionDenied, io::ErrorKind::TooManyLinks];
    kinds.contains(&error.kind()) || error.kind() == io::ErrorKind::Unsupported
}

/// Creates the store's directory with everything above it that is missing, all durable.
fn make_root(root: &Path) -> io::Result<()> {
    match fs::create_dir(root) {
        Ok(()) => sync_dir(&root.join("..")),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists && root.is_dir() => {
            // Whoever made it may have been stopped before they could sync its name.
            match sync_dir(&root.join("..")) {
                // Not ours to open, so it was made by someone with other
                // rights, long before us.
                Err(error) if error.kind() == io::ErrorKind::PermissionDenied => Ok(()),
                done => done,
            }
        }
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Err(io::ErrorKind::NotADirectory.into()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            match root.parent() {
                Some(parent) if !parent.as_os_str().is_empty() => make_root(parent)?,
                _ => return Err(error),
            }
            match fs::create_dir(root) {
                // Two stores may be opened at once; one of them gets the lock.
                Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(error),
                _ => sync_dir(&root.join("..")),
            }
        }
        Err(error) => Err(error),
    }
}

fn sync_dir(dir: &Path) -> io::Result<()> {
    fs::File::open(dir)?.sync_all()
}

/// The process id in a lock file, if it is there as a whole.
fn pid_in(file: &fs::File) -> Option<u32> {
    let mut text = [0; 16];
    let len = file.read_at(&mut text, 0).ok()?;
    let text = std::str::from_utf8(&text[..len]).ok()?;
    text.strip_suffix('\n')?.parse().ok()
}

/// Lets go when it is dropped; the kernel lets go when the process dies.
#[derive(Debug)]
struct DiskLock {
    file: fs::File,
    dir: fs::File,
    /// The process that took it.
    process: u32,
}

impl LockGuard for DiskLock {}

impl Drop for DiskLock {
    fn drop(&mut self) {
        if self.process != std::process::id() {
            // The copy of a child that was forked: the lock is its parent's, until that one lets go.
            return;
        }
        // Unlocked by name, not only by closing: a child process that was
        // forked and has not called exec yet still holds a copy of the descriptor.
        let _ = self.file.set_len(0);
        let _ = self.file.unlock();
        let _ = self.dir.unlock();
    }
}

/// One open file.
#[derive(Debug)]
struct DiskFile {
    file: fs::File,
    map: bool,
}

impl File for DiskFile {
    fn len(&self) -> io::Result<u64> {
        Ok(self.file.metadata()?.len())
    }

    fn read_at(&self, offset: u64, buf: &mut [u8]) -> io::Result<usize> {
        let mut done = 0;
        while done < buf.len() {
            match self.file.read_at(&mut buf[done..], offset + done as u64) {
                Ok(0) => break,
                Ok(n) => done += n,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(done)
    }

    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<usize> {
        loop {
            match self.file.write_at(bytes, offset) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                done => return done,
            }
        }
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.file.set_len(len)
    }

    fn allocate(&self, offset: u64, len: u64) -> io::Result<()> {
        if len == 0 {
            return Ok(());
        }
        #[cfg(target_os = "linux")]
        {
            use rustix::fs::FallocateFlags;
            use rustix::io::Errno;

            // No flag: what is there stays as it is, and the file grows.
            loop {
                match rustix::fs::fallocate(&self.file, FallocateFlags::empty(), offset, len) {
                    // Some file systems (tmpfs, FUSE) let any signal in. Reserving twice is reserving once.
                    Err(Errno::INTR) => {}
                    Err(Errno::OPNOTSUPP | Errno::NOSYS) => break,
                    done => return Ok(done?),
                }
            }
        }
        self.append_zeros(offset, len)
    }

    fn sync(&self) -> io::Result<()> {
        self.file.sync_data()
    }

    fn start_writeback(&self, offset: u64, len: u64) {
        // Ignoring the result hides nothing. With SYNC_FILE_RANGE_WRITE alone
        // the call submits pages and does not wait, and only the waiting flags
        // fetch (and so use up) the error of a write that failed: it stays with
        // the file until `sync` asks. What the call itself returns says that
        // writing was not begun (the pages stay dirty, for `sync` to write), or
        // is an error that the kernel has also recorded for `sync`.
        #[cfg(target_os = "linux")]
        let _ = super::map::start_writeback(&self.file, offset, len);
        #[cfg(not(target_os = "linux"))]
        let _ = (offset, len);
    }

    fn read_from_disk(&self, offset: u64, buf: &mut [u8]) -> io::Result<(usize, Provenance)> {
        #[cfg(target_os = "linux")]
        {
            if buf.is_empty() {
                return Ok((0, Provenance::Disk));
            }
            if let Some(read) = direct::read(&self.file, offset, buf)? {
                return Ok((read, Provenance::Disk));
            }
            // Only written pages can be dropped. The trait asks for this, and an
            // error says that the disk does not have what the cache shows.
            self.file.sync_data()?;
            let provenance =
                if direct::drop_cached(&self.file, offset, buf.len())? { Provenance::Disk } else { Provenance::Cache };
            Ok((self.read_at(offset, buf)?, provenance))
        }
        #[cfg(not(target_os = "linux"))]
        Ok((self.read_at(offset, buf)?, Provenance::Cache))
    }

    fn map(&self, len: u64) -> io::Result<Option<Mapping>> {
        if !self.map {
            return Ok(None);
        }
        Mapping::new(&self.file, len).map(Some)
    }
}

impl DiskFile {
    /// Grows the file over a range by writing zeros, but never over a byte that
    /// is there: a hole below the present end stays a hole.
    ///
    /// As with the system call, nobody may write beyond the end meanwhile.
    fn append_zeros(&self, offset: u64, len: u64) -> io::Result<()> {
        static ZEROS: [u8; 64 << 10] = [0; 64 << 10];

        let end = offset.checked_add(len).ok_or(io::ErrorKind::InvalidInput)?;
        let mut at = self.len()?.max(offset);
        while at < end {
            let chunk = (end - at).min(ZEROS.len() as u64) as usize;
            match self.write_at(at, &ZEROS[..chunk])? {
                0 => return Err(io::ErrorKind::WriteZero.into()),
                n => at += n as u64,
            }
        }
        Ok(())
    }
}

/// Seeing past the page cache, as far as Linux lets us.
#[cfg(target_os = "linux")]
mod direct {
    use std::os::fd::AsRawFd;
    use std::os::unix::fs::OpenOptionsExt;

    use rustix::fs::{Advice, OFlags, fadvise};
    use rustix::io::{Errno, ReadWriteFlags, preadv2};

    use super::{FileExt, OpenOptions, fs, io};

    /// What `O_DIRECT` wants offsets, lengths and addresses to be a multiple of.
    /// Disks ask for 512 or 4096; one that asks for more answers EINVAL, and is
    /// read in another way.
    const BLOCK: usize = 4096;

    /// Longest single read, so that the size of a request never sizes a buffer.
    const CHUNK: usize = 1 << 20;

    /// Advice is rounded out to this. The kernel drops only what lies in the
    /// range as a whole, and the largest piece it caches in one is a huge page.
    const LARGEST_FOLIO: u64 = 2 << 20;

    /// Reads past the page cache with `O_DIRECT`, and leaves the range uncached,
    /// so that later reads see the disk as well. `None` where the file system
    /// cannot do that.
    ///
    /// Dirty pages are no obstacle: before a direct read the kernel writes them
    /// out and waits, and fails the read if that fails. It does not use up the
    /// error of an earlier failed write that the next `sync` has to report.
    ///
    /// A file system that accepts `O_DIRECT` and quietly reads through the cache
    /// (ext4 with data journaling, btrfs for a compressed file) is the reason to
    /// drop the cached pages before as well. What is left is a page that such a
    /// file system holds *and* another process has mapped.
    pub(super) fn read(file: &fs::File, offset: u64, buf: &mut [u8]) -> io::Result<Option<usize>> {
        // Opened anew, because O_DIRECT belongs to the open file, which
        // concurrent readers and the writer share. By descriptor, since the name may
        // have changed or be gone.
        let Ok(direct) = OpenOptions::new()
            .read(true)
            .custom_flags(OFlags::DIRECT.bits().cast_signed())
            .open(format!("/proc/self/fd/{}", file.as_raw_fd()))
        else {
            return Ok(None);
        };
        advise_dropping(file, offset, buf.len())?;
        let read = read_blocks(&direct, offset, buf);
        advise_dropping(file, offset, buf.len())?;
        read
    }

    fn read_blocks(direct: &fs::File, offset: u64, buf: &mut [u8]) -> io::Result<Option<usize>> {
        let end = offset.checked_add(buf.len() as u64).ok_or(io::ErrorKind::InvalidInput)?;
        let mut space = vec![0; buf.len().next_multiple_of(BLOCK).min(CHUNK) + 2 * BLOCK];
        let start = space.as_ptr().align_offset(BLOCK);
        let Some(blocks) = space.get_mut(start..) else {
            return Ok(None); // An alignment that cannot be had: only Miri says so.
        };
        let whole = blocks.len() / BLOCK * BLOCK;
        let blocks = &mut blocks[..whole];

        // `at` is where the next block starts; `done` bytes are in `buf`.
        let mut at = offset - offset % BLOCK as u64;
        let mut done = 0;
        while at < end {
            let wanted = ((end - at).next_multiple_of(BLOCK as u64) as usize).min(blocks.len());
            let read = match direct.read_at(&mut blocks[..wanted], at) {
                Ok(read) => read,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) if error.raw_os_error() == Some(Errno::INVAL.raw_os_error()) => {
                    return Ok(None);
                }
                Err(error) => return Err(error),
            };
            let from = (offset + done as u64 - at) as usize;
            let fresh = blocks[..read].get(from..).unwrap_or_default();
            let fresh = &fresh[..fresh.len().min(buf.len() - done)];
            buf[done..done + fresh.len()].copy_from_slice(fresh);
            done += fresh.len();
            // A read that is short by less than a block met the end of the file.
            if read < wanted && (read == 0 || read % BLOCK != 0) {
                break;
            }
            at += read as u64;
        }
        Ok(Some(done))
    }

    /// Drops a range, whose pages are written, from the cache; whether it is gone for certain.
    ///
    /// Certain means that a read which may not wait finds nothing to return, at
    /// each page: then whatever a later read returns came from the disk. Pages
    /// stay when somebody has them mapped, and some file systems cannot tell.
    pub(super) fn drop_cached(file: &fs::File, offset: u64, len: usize) -> io::Result<bool> {
        // A probe begins to read the page it misses. Without this it would
        // begin to read those after it too, and find them there.
        fadvise(file, 0, None, Advice::Random)?;
        advise_dropping(file, offset, len)?;
        // Even so, on a fast disk, the page may have arrived before the probe
        // is answered, and look as if it had stayed. So each page has attempts
        // of its own: among many pages that happens to one again and again.
        let dropped_at_last = |at| (0..3).any(|_| advise_dropping(file, at, 1).is_ok() && is_missing(file, at));
        let gone = blocks(offset, len).all(|at| is_missing(file, at) || dropped_at_last(at));
        fadvise(file, 0, None, Advice::Normal)?;
        Ok(gone)
    }

    /// Where the blocks begin that hold a range.
    pub(super) fn blocks(offset: u64, len: usize) -> impl Iterator<Item = u64> {
        (offset - offset % BLOCK as u64..offset.saturating_add(len as u64)).step_by(BLOCK)
    }

    /// Whether a read that may not wait gets nothing of the block at `at`.
    pub(super) fn is_missing(file: &fs::File, at: u64) -> bool {
        loop {
            let mut byte = [0];
            let mut target = [io::IoSliceMut::new(&mut byte)];
            match preadv2(file, &mut target, at, ReadWriteFlags::NOWAIT) {
                Err(Errno::INTR) => {}
                // Nothing is read behind the end of the file.
                answer => return matches!(answer, Err(Errno::AGAIN) | Ok(0)),
            }
        }
    }

    fn advise_dropping(file: &fs::File, offset: u64, len: usize) -> io::Result<()> {
        let start = offset - offset % LARGEST_FOLIO;
        let end = offset
            .saturating_add(len as u64)
            .checked_next_multiple_of(LARGEST_FOLIO)
            .ok_or(io::ErrorKind::InvalidInput)?;
        let len = std::num::NonZeroU64::new(end - start);
        Ok(fadvise(file, start, len, Advice::DontNeed)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn storage() -> (tempfile::TempDir, DiskStorage) {
        let dir = tempfile::tempdir().unwrap();
        let storage = DiskStorage::new(dir.path());
        (dir, storage)
    }

    fn written(storage: &DiskStorage, path: &str, bytes: &[u8]) -> Arc<dyn File> {
        let file = storage.create(path).unwrap();
        let mut done = 0;
        while done < bytes.len() {
            done += file.write_at(done as u64, &bytes[done..]).unwrap();
        }
        file
    }

    /// Bytes in which no two pages are alike.
    fn pattern(len: usize) -> Vec<u8> {
        (0..len).map(|i| (i.wrapping_mul(31) ^ (i >> 12)) as u8 | 1).collect()
    }

    #[test]
    fn deleting_the_lock_file_does_not_let_a_second_store_in() {
        let dir = tempfile::tempdir().unwrap();
        let storage = DiskStorage::new(dir.path());
        let held = storage.lock().unwrap();
        fs::remove_file(dir.path().join(LOCK)).unwrap();
        assert!(matches!(storage.lock(), Err(LockError::Held { .. })));
        drop(held);
        assert!(storage.lock().is_ok(), "and it is let go with the store");
    }

    #[test]
    fn a_forked_child_that_drops_its_copy_does_not_let_a_second_store_in() {
        let (_dir, storage) = storage();
        let (file, dir) = (fs::File::create(storage.path(LOCK)).unwrap(), fs::File::open(&storage.root).unwrap());
        file.try_lock().and_then(|()| dir.try_lock()).unwrap();
        file.write_all_at(b"7\n", 0).unwrap();
        // What a child has: the same open files, in another process.
        let (its_file, its_dir) = (file.try_clone().unwrap(), dir.try_clone().unwrap());
        let held = DiskLock { file, dir, process: std::process::id() };
        drop(DiskLock { file: its_file, dir: its_dir, process: std::process::id() + 1 });
        assert!(matches!(storage.lock(), Err(LockError::Held { pid: Some(7) })), "and it still says who has it");
        drop(held);
        assert!(storage.lock().is_ok());
    }

    #[test]
    fn a_relative_directory_is_the_one_that_it_was_when_it_was_given() {
        let storage = DiskStorage::new("some/where");
        assert_eq!(storage.path("seg"), std::env::current_dir().unwrap().join("some/where/seg"));
        assert_eq!(storage.describe("seg"), "some/where/seg");
    }

    #[test]
    fn the_lock_excludes_a_second_store_and_names_the_process() {
        let (_dir, storage) = storage();
        let guard = storage.lock().unwrap();
        let error = DiskStorage::new(storage.root.clone()).lock().unwrap_err();
        assert!(matches!(error, LockError::Held { pid: Some(pid) } if pid == std::process::id()), "{error}");
        drop(guard);
        storage.lock().unwrap();
    }

    #[test]
    fn half_a_process_id_is_not_named() {
        // A full disk can cut the number short; 12 is not the process 1234.
        let (_dir, storage) = storage();
        let _guard = storage.lock().unwrap();
        for (text, pid) in [("", None), ("12", None), ("12\n", Some(12)), ("x\n", None)] {
            fs::write(storage.path(LOCK), text).unwrap();
            let error = storage.lock().unwrap_err();
            assert!(matches!(error, LockError::Held { pid: held } if held == pid), "{text:?} gave {error}");
        }
    }

    #[test]
    fn locking_creates_every_missing_directory_above_the_store() {
        let dir = tempfile::tempdir().unwrap();
        let storage = DiskStorage::new(dir.path().join("a/b/c"));
        let _guard = storage.lock().unwrap();
        assert_eq!(storage.list("").unwrap(), [LOCK]);
    }

    #[test]
    fn a_store_below_a_file_is_an_error_and_not_a_hang() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("file"), "").unwrap();
        for root in ["file", "file/store"] {
            let error = DiskStorage::new(dir.path().join(root)).lock().unwrap_err();
            assert!(matches!(error, LockError::Io(_)), "{root}: {error}");
        }
    }

    #[test]
    fn what_is_read_from_the_disk_is_what_was_written() {
        // Dirty, then synced; at every kind of alignment; across the reader's
        // own chunks; at and beyond the end.
        let (_dir, storage) = storage();
        let bytes = pattern((2 << 20) + 777);
        let file = written(&storage, "file", &bytes);
        for synced in [false, true] {
            for offset in [0, 1, 511, 512, 4095, 4096, 70_001, 2 << 20, bytes.len()] {
                for len in [0, 1, 512, 4096, 4097, 1 << 20, (1 << 20) + 3, 3 << 20] {
                    let mut buf = vec![0xEE; len];
                    let (read, _) = file.read_from_disk(offset as u64, &mut buf).unwrap();
                    let end = bytes.len().min(offset + len);
                    assert_eq!(read, end - offset, "{len} at {offset}, synced: {synced}");
                    assert!(buf[..read] == bytes[offset..end], "{len} at {offset}, synced: {synced}");
                }
            }
            file.sync().unwrap();
        }
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn pages_that_were_dropped_are_proven_gone_and_come_back_the_same() {
        const EXT4: rustix::fs::FsWord = 0xEF53;
        let (_dir, storage) = storage();
        let bytes = pattern(300_000);
        drop(written(&storage, "file", &bytes));
        let file = fs::File::open(storage.path("file")).unwrap();
        file.sync_data().unwrap();

        let gone = direct::drop_cached(&file, 0, bytes.len()).unwrap();
        let direct = direct::read(&file, 0, &mut [0; 100]).unwrap();
        // Other file systems may say that they cannot tell; that is the contract too.
        if rustix::fs::statfs(&storage.root).unwrap().f_type != EXT4 {
            return;
        }
        assert!(gone);
        assert_eq!(direct, Some(100));

        // Dirty pages are written out by a direct read, and must not stay
        // either. Many attempts, for the reason given in `drop_cached`.
        let writer = storage.open("file", Access::ReadWrite).unwrap();
        rustix::fs::fadvise(&file, 0, None, rustix::fs::Advice::Random).unwrap();
        let leaves_nothing = || {
            writer.write_at(0, &bytes).unwrap();
            direct::read(&file, 0, &mut vec![0; bytes.len()]).unwrap();
            direct::blocks(0, bytes.len()).all(|at| direct::is_missing(&file, at))
        };
        assert!((0..100).any(|_| leaves_nothing()));
        let mut buf = vec![0; bytes.len()];
        file.read_exact_at(&mut buf, 0).unwrap();
        assert!(buf == bytes);

        // Held by a mapping, they stay; that must be noticed.
        let mapping = Mapping::new(&file, 4096).unwrap();
        mapping.commit_to(4096);
        assert_eq!(mapping.slice(0, 16), Some(&bytes[..16]));
        assert!(!direct::drop_cached(&file, 0, 4096).unwrap());
    }

    #[test]
    fn reserving_space_changes_no_byte_and_adds_zeros() {
        // Once by the system call, once the way of file systems without it.
        type Reserve = fn(&DiskFile, u64, u64) -> io::Result<()>;
        let ways: [(&str, Reserve); 2] =
            [("allocate", |file, offset, len| file.allocate(offset, len)), ("zeros", DiskFile::append_zeros)];
        for (way, reserve) in ways {
            let file = DiskFile { file: tempfile::tempfile().unwrap(), map: true };
            let bytes = pattern(10_000);
            assert_eq!(file.write_at(0, &bytes).unwrap(), bytes.len());
            reserve(&file, 0, 5_000).unwrap();
            assert_eq!(file.len().unwrap(), 10_000, "{way} within the file");
            reserve(&file, 4_000, 200_000).unwrap();
            assert_eq!(file.len().unwrap(), 204_000, "{way} beyond the end");

            let mut buf = vec![0xEE; 204_000];
            assert_eq!(file.read_at(0, &mut buf).unwrap(), buf.len());
            assert!(buf[..10_000] == bytes, "{way}");
            assert!(buf[10_000..].iter().all(|&byte| byte == 0), "{way}");
        }
    }

    #[test]
    fn reserving_beyond_every_address_is_an_error() {
        let (_dir, storage) = storage();
        let file = storage.create("file").unwrap();
        assert!(file.allocate(u64::MAX - 5, 10).is_err());
        assert!(file.read_from_disk(u64::MAX - 5, &mut [0; 10]).is_err());
        file.start_writeback(u64::MAX - 5, 10);
        assert_eq!(file.len().unwrap(), 0);
    }

    #[cfg(target_pointer_width = "64")]
    #[test]
    fn a_mapping_lends_only_what_is_committed_and_outlives_the_file() {
        let (dir, storage) = storage();
        let file = written(&storage, "file", b"committed, not yet");
        let mapping = Arc::new(file.map(1 << 16).unwrap().unwrap());
        assert_eq!(mapping.slice(0, 1), None);
        mapping.commit_to(9);
        assert_eq!(mapping.slice(0, 9), Some(&b"committed"[..]));
        assert_eq!(mapping.slice(0, 10), None);

        let pinned = mapping.bytes();
        storage.remove("file").unwrap();
        drop((file, mapping, storage, dir));
        assert_eq!(&pinned[..], b"committed");
    }

    #[test]
    fn a_storage_without_mapping_maps_nothing() {
        let (_dir, storage) = storage();
        let storage = storage.without_mapping();
        let file = written(&storage, "file", b"bytes");
        assert!(file.map(5).unwrap().is_none());
    }

    #[test]
    fn a_file_opened_for_reading_cannot_be_changed() {
        let (_dir, storage) = storage();
        written(&storage, "file", b"bytes");
        let file = storage.open("file", Access::Read).unwrap();
        assert!(file.write_at(0, b"other").is_err());
        assert!(file.set_len(0).is_err());
        assert!(file.allocate(0, 100).is_err());
        assert_eq!(fs::read(storage.path("file")).unwrap(), b"bytes");
        let mut buf = [0; 5];
        assert_eq!(file.read_from_disk(0, &mut buf).unwrap().0, 5);
        assert_eq!(&buf, b"bytes");
    }

    #[test]
    fn a_place_is_described_by_its_whole_path() {
        let storage = DiskStorage::new("some/where");
        assert_eq!(storage.describe("seg/1.seg"), "some/where/seg/1.seg");
    }
}

//! Small files beside the segments: written as a whole and renamed into place, or, as `store.meta` and
//! `WATERMARK` are, two slots that are written in turn.
//!
//! What is always true: what is torn in a crash leaves what was there before, under its name or in the other slot.

use std::io;
use std::sync::Arc;

use annals_codec::{META_FILE_LEN, StoreMeta, WATERMARK_FILE_LEN, Watermark};

use crate::log::names;
use crate::planted::{self, Bug};
use crate::storage::{Access, File, Storage};
use crate::sync::atomic::{AtomicU64, Ordering};

/// Writes all of `bytes` at `offset`, in as many writes as it takes.
pub(crate) fn write_all(file: &dyn File, mut offset: u64, mut bytes: &[u8]) -> io::Result<()> {
    while !bytes.is_empty() {
        match file.write_at(offset, bytes)? {
            0 => return Err(io::ErrorKind::WriteZero.into()),
            written => {
                if planted::has(Bug::ShortWriteIgnored) {
                    return Ok(());
                }
                offset += written as u64;
                bytes = &bytes[written..];
            }
        }
    }
    Ok(())
}

/// Makes a file with this content under its final name, durable but for the
/// name itself: the caller syncs the directory.
pub(crate) fn create_whole(storage: &dyn Storage, path: &str, content: &[u8]) -> io::Result<Arc<dyn File>> {
    create_with(storage, path, |file| write_all(file, 0, content))
}

/// The same, with what `write` puts into it.
pub(crate) fn create_with(
    storage: &dyn Storage,
    path: &str,
    write: impl FnOnce(&dyn File) -> io::Result<()>,
) -> io::Result<Arc<dyn File>> {
    let temporary = format!("{path}{}", names::TEMPORARY);
    let file = create_anew(storage, &temporary)?;
    let made = write(&*file).and_then(|()| file.sync()).and_then(|()| storage.rename(&temporary, path));
    if let Err(error) = made {
        // Best effort: what stays is removed at the next open.
        let _ = storage.remove(&temporary);
        return Err(error);
    }
    Ok(file)
}

/// Creates a temporary file, in the place of one that an earlier process may have left.
pub(crate) fn create_anew(storage: &dyn Storage, temporary: &str) -> io::Result<Arc<dyn File>> {
    match storage.create(temporary) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            storage.remove(temporary)?;
            storage.create(temporary)
        }
        created => created,
    }
}

/// Makes a directory and those that it is in, durably.
pub(crate) fn create_dirs(storage: &dyn Storage, dir: &str) -> io::Result<()> {
    let ends = dir.match_indices('/').map(|(end, _)| end).chain([dir.len()]);
    let mut parent = "";
    for end in ends {
        storage.create_dir(&dir[..end])?;
        storage.sync_dir(parent)?;
        parent = &dir[..end];
    }
    Ok(())
}

/// Makes a file with this content under its final name, durable with its name.
pub(crate) fn write_whole(storage: &dyn Storage, dir: &str, name: &str, content: &[u8]) -> io::Result<Arc<dyn File>> {
    let file = create_whole(storage, &format!("{dir}/{name}"), content)?;
    storage.sync_dir(dir)?;
    Ok(file)
}

/// The names of the files in a directory, in order, without those that a crash has left; none, when there is
/// no such directory.
pub(crate) fn list_whole(storage: &dyn Storage, dir: &str) -> io::Result<Vec<String>> {
    let mut found = match storage.list(dir) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        found => found?,
    };
    found.retain(|name| !names::is_temporary(dir, name));
    found.sort_unstable();
    Ok(found)
}

/// Reads a whole file, as long as it is; `None` when it does not exist.
pub(crate) fn read_file(storage: &dyn Storage, path: &str) -> io::Result<Option<Vec<u8>>> {
    match storage.open(path, Access::Read) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        opened => read_whole(storage, path, opened?.len()? as usize),
    }
}

/// Reads a whole small file; `None` when it does not exist.
pub(crate) fn read_whole(storage: &dyn Storage, path: &str, most: usize) -> io::Result<Option<Vec<u8>>> {
    let file = match storage.open(path, Access::Read) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    let mut bytes = vec![0; most];
    let read = file.read_at(0, &mut bytes)?;
    bytes.truncate(read);
    Ok(Some(bytes))
}

/// `store.meta`, open for rewriting.
#[derive(Debug)]
pub(crate) struct MetaFile {
    file: Arc<dyn File>,
    meta: StoreMeta,
    /// Whether the slot that holds `meta` is known to be on the disk.
    durable: bool,
}

impl MetaFile {
    /// Makes the file, with `meta` in one of its slots.
    pub(crate) fn create(storage: &dyn Storage, meta: StoreMeta) -> io::Result<MetaFile> {
        let mut content = vec![0; META_FILE_LEN];
        let slot = meta.slot_offset() as usize;
        let bytes = meta.encode();
        content[slot..slot + bytes.len()].copy_from_slice(&bytes);
        let file = create_whole(storage, names::META, &content)?;
        Ok(MetaFile { file, meta, durable: true })
    }

    /// Opens the file that was read before and found to hold `meta`.
    pub(crate) fn open(storage: &dyn Storage, meta: StoreMeta) -> io::Result<MetaFile> {
        Ok(MetaFile { file: storage.open(names::META, Access::ReadWrite)?, meta, durable: false })
    }

    pub(crate) fn meta(&self) -> &StoreMeta {
        &self.meta
    }

    /// Makes sure that the facts are on the disk.
    pub(crate) fn settle(&mut self) -> Result<(), UpdateError> {
        if !self.durable && !planted::has(Bug::SlotNotSettled) {
            // They were read, which does not say that they are on the disk: whoever wrote them may have died before
            // the sync, or was told that the sync had failed.
            self.write(&self.meta)?;
            self.durable = true;
        }
        Ok(())
    }

    /// Changes the facts, durably. On an error the old facts still hold.
    pub(crate) fn update(&mut self, change: impl FnOnce(&mut StoreMeta)) -> Result<(), UpdateError> {
        // The slot that was read may be all there is; the other one goes now.
        self.settle()?;
        let mut meta = self.meta;
        change(&mut meta);
        meta.sequence += 1;
        self.write(&meta)?;
        self.meta = meta;
        Ok(())
    }

    fn write(&self, meta: &StoreMeta) -> Result<(), UpdateError> {
        write_all(&*self.file, meta.slot_offset(), &meta.encode()).map_err(UpdateError::Write)?;
        self.file.sync().map_err(UpdateError::Sync)
    }
}

/// Why `store.meta` was not changed.
#[derive(Debug)]
pub(crate) enum UpdateError {
    /// A slot may be torn; the next try writes the same one.
    Write(io::Error),
    /// Nobody knows what is on the disk.
    Sync(io::Error),
}

impl From<UpdateError> for io::Error {
    fn from(error: UpdateError) -> io::Error {
        let (UpdateError::Write(error) | UpdateError::Sync(error)) = error;
        error
    }
}

/// `WATERMARK`, open for rewriting.
#[derive(Debug)]
pub(crate) struct WatermarkFile {
    file: Arc<dyn File>,
    sequence: u64,
    errors: AtomicU64,
}

impl WatermarkFile {
    /// Makes the file, saying nothing yet.
    pub(crate) fn create(storage: &dyn Storage) -> io::Result<WatermarkFile> {
        let file = create_whole(storage, names::WATERMARK, &[0; WATERMARK_FILE_LEN])?;
        Ok(WatermarkFile { file, sequence: 0, errors: AtomicU64::new(0) })
    }

    /// Opens the file that was read before and found to hold `watermark`.
    pub(crate) fn open(storage: &dyn Storage, watermark: Option<Watermark>) -> io::Result<WatermarkFile> {
        let file = storage.open(names::WATERMARK, Access::ReadWrite)?;
        let sequence = watermark.map_or(0, |watermark| watermark.sequence);
        Ok(WatermarkFile { file, sequence, errors: AtomicU64::new(0) })
    }

    /// Says how far the log is durable now. Not synced: the log already is, and
    /// a watermark that is lost or torn only leaves an older one. So an error
    /// here endangers nothing that was acknowledged; it is counted. Whether it went well.
    pub(crate) fn advance(&mut self, mut watermark: Watermark) -> bool {
        self.sequence += 1;
        watermark.sequence = self.sequence;
        let written = write_all(&*self.file, watermark.slot_offset(), &watermark.encode());
        if let Err(error) = &written {
            // Said once: on a disk that stays full it would be said at every append.
            if self.errors.fetch_add(1, Ordering::Relaxed) == 0 {
                tracing::warn!(%error, "the watermark could not be written");
            }
        }
        written.is_ok()
    }

    /// How many times it could not be written since the store was opened.
    pub(crate) fn errors(&self) -> u64 {
        self.errors.load(Ordering::Relaxed)
    }

    pub(crate) fn sync(&self) -> io::Result<()> {
        self.file.sync()
    }
}

//! The store that segments are archived from: its files, and nothing that is kept in memory.
//!
//! What is always true: nothing is changed, and a writer may be at work meanwhile.

use std::io;
use std::path::Path;
use std::sync::Arc;

use annals::storage::{Access, File, Storage, on_disk};
use annals::{LogId, Position, SegmentNumber};
use annals_codec::{
    ArchivedSegment, HeaderFault, Likeness, META_FILE_LEN, SEAL_LEN, SEGMENT_HEADER_LEN, SegmentHeader, StoreMeta,
    TRAILER_LEN,
};

use crate::error::{ArchiveError, Doing as _};
use crate::names;

/// A store's directory.
#[derive(Clone, Debug)]
pub(crate) struct Local {
    pub(crate) storage: Arc<dyn Storage>,
    pub(crate) log_id: LogId,
}

/// A segment that has a successor: final, as long as it is there.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct SealedFile {
    pub(crate) number: SegmentNumber,
    pub(crate) base: Position,
    /// The position of its last event: the base of the one behind it.
    pub(crate) last: Position,
}

/// The segments of a log that are here.
#[derive(Clone, Debug)]
pub(crate) struct Segments {
    /// Those that have a successor, in their order.
    pub(crate) sealed: Vec<SealedFile>,
    /// The newest one.
    pub(crate) newest: Option<(SegmentNumber, Position)>,
}

impl Local {
    /// The store in a directory.
    pub(crate) fn new(dir: &Path) -> Result<Local, ArchiveError> {
        let storage = on_disk(dir);
        let meta = meta(&*storage)?.ok_or_else(|| ArchiveError::NoStore { path: dir.to_owned() })?;
        Ok(Local { storage, log_id: meta.log_id })
    }

    /// The segments that belong to the log.
    pub(crate) fn segments(&self) -> Result<Segments, ArchiveError> {
        let storage = &*self.storage;
        let listed = storage.list(names::SEGMENTS).doing("list", || storage.describe(names::SEGMENTS))?;
        let mut found: Vec<_> = listed.iter().filter_map(|name| names::parse_segment(name)).collect();
        found.sort_unstable();
        let floor = meta(storage)?.map_or(SegmentNumber::FIRST, |meta| meta.floor);
        found.retain(|(number, _)| *number >= floor);
        let pair =
            |pair: &[(SegmentNumber, Position)]| SealedFile { number: pair[0].0, base: pair[0].1, last: pair[1].1 };
        Ok(Segments { sealed: found.windows(2).map(pair).collect(), newest: found.last().copied() })
    }

    /// The header of a segment.
    pub(crate) fn header(&self, number: SegmentNumber, base: Position) -> Result<SegmentHeader, ArchiveError> {
        let path = names::segment_file(number, base);
        let shown = || self.storage.describe(&path);
        let mut head = vec![0; SEGMENT_HEADER_LEN];
        let file = self.storage.open(&path, Access::Read).doing("open", shown)?;
        let read = file.read_at(0, &mut head).doing("read", shown)?;
        let damaged = |fault: HeaderFault| ArchiveError::Damaged { file: shown(), problem: fault.to_string() };
        SegmentHeader::decode(&head[..read]).map(|(header, _)| header).map_err(damaged)
    }

    /// All bytes of a file.
    pub(crate) fn read(&self, path: &str) -> Result<Vec<u8>, ArchiveError> {
        read_file(&*self.storage, path).doing("read", || self.storage.describe(path))
    }

    /// What a segment is to the one that was archived, by how it begins and ends.
    pub(crate) fn compare(&self, file: &SealedFile, archived: &ArchivedSegment) -> Result<Likeness, ArchiveError> {
        let path = names::segment_file(file.number, file.base);
        let shown = || self.storage.describe(&path);
        let opened = self.storage.open(&path, Access::Read).doing("open", shown)?;
        compare(&*opened, archived).doing("read", shown)
    }
}

fn compare(file: &dyn File, archived: &ArchivedSegment) -> io::Result<Likeness> {
    let len = file.len()?;
    if len != archived.file_len() {
        return Ok(Likeness::Other);
    }
    let part = |offset: u64, len: usize| {
        let mut bytes = vec![0; len];
        let read = file.read_at(offset, &mut bytes)?;
        bytes.truncate(read);
        Ok::<_, io::Error>(bytes)
    };
    let head = part(0, SEGMENT_HEADER_LEN)?;
    let seal = part(archived.trailer.seal_offset().unwrap_or_default(), SEAL_LEN as usize)?;
    let trailer = part(len - TRAILER_LEN as u64, TRAILER_LEN)?;
    Ok(archived.compare(&head, &seal, &trailer))
}

/// What `store.meta` says; `None` where there is none that can be read.
fn meta(storage: &dyn Storage) -> Result<Option<StoreMeta>, ArchiveError> {
    match read_file(storage, names::META) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        read => {
            let mut bytes = read.doing("read", || storage.describe(names::META))?;
            bytes.resize(META_FILE_LEN, 0);
            let unusable = |fault: annals_codec::MetaFault| ArchiveError::Damaged {
                file: storage.describe(names::META),
                problem: fault.to_string(),
            };
            StoreMeta::decode(&bytes).map(Some).map_err(unusable)
        }
    }
}

/// A whole file.
pub(crate) fn read_file(storage: &dyn Storage, path: &str) -> io::Result<Vec<u8>> {
    let file = storage.open(path, Access::Read)?;
    let len = usize::try_from(file.len()?).map_err(|_| io::ErrorKind::FileTooLarge)?;
    let mut bytes = vec![0; len];
    let read = file.read_at(0, &mut bytes)?;
    bytes.truncate(read);
    Ok(bytes)
}

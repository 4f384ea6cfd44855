//! Files that are not on the disk: an archived segment, and what is made for the moment.

use std::fmt::Debug;
use std::io;
use std::sync::Arc;

use annals::storage::{File, Mapping, Provenance};
use annals_codec::ArchivedSegment;

use super::read_only;
use crate::cache::{Cache, Kind};
use crate::error::ArchiveError;
use crate::{Archive, judge, names};

/// What such a file consists of.
pub(super) trait Content: Send + Sync + Debug {
    fn len(&self) -> u64;
    fn read_at(&self, offset: u64, buf: &mut [u8]) -> io::Result<usize>;
}

/// A file of it, which is only read.
#[derive(Debug)]
pub(super) struct ReadOnly<C>(pub(super) C);

impl<C: Content> File for ReadOnly<C> {
    fn len(&self) -> io::Result<u64> {
        Ok(self.0.len())
    }

    fn read_at(&self, offset: u64, buf: &mut [u8]) -> io::Result<usize> {
        self.0.read_at(offset, buf)
    }

    fn write_at(&self, _offset: u64, _bytes: &[u8]) -> io::Result<usize> {
        read_only()
    }

    fn set_len(&self, _len: u64) -> io::Result<()> {
        read_only()
    }

    fn allocate(&self, _offset: u64, _len: u64) -> io::Result<()> {
        read_only()
    }

    fn sync(&self) -> io::Result<()> {
        read_only()
    }

    fn start_writeback(&self, _offset: u64, _len: u64) {}

    fn read_from_disk(&self, offset: u64, buf: &mut [u8]) -> io::Result<(usize, Provenance)> {
        Ok((self.0.read_at(offset, buf)?, Provenance::Cache))
    }

    /// Never: a mapping would keep in the cache what it has no room for.
    fn map(&self, _len: u64) -> io::Result<Option<Mapping>> {
        Ok(None)
    }
}

/// An archived segment. Where it begins and ends is known; all else is fetched.
#[derive(Debug)]
pub(super) struct Fetched {
    archive: Archive,
    cache: Cache,
    segment: Arc<ArchivedSegment>,
}

impl Fetched {
    pub(super) fn new(archive: Archive, cache: Cache, segment: Arc<ArchivedSegment>) -> Fetched {
        Fetched { archive, cache, segment }
    }

    /// The file in the cache. Not kept: the cache may need its room.
    fn fetched(&self) -> Result<Arc<dyn File>, ArchiveError> {
        let (header, remote) = (&self.segment.header, &self.archive.remote);
        let path = names::segment(header.log_id, header.number, header.base);
        let object = || remote.show(&path);
        let is_right = |content: &[u8]| match judge::difference(content, &self.segment) {
            None => Ok(()),
            Some(problem) => Err(ArchiveError::Changed { object: object(), problem }),
        };
        let fetch = || remote.get(&path)?.ok_or_else(|| ArchiveError::Missing { object: object() });
        self.cache.file(&self.segment.digest, Kind::Segment, is_right, fetch)
    }
}

impl Content for Fetched {
    fn len(&self) -> u64 {
        self.segment.file_len()
    }

    fn read_at(&self, offset: u64, buf: &mut [u8]) -> io::Result<usize> {
        let left = self.segment.file_len().saturating_sub(offset);
        let len = usize::try_from(left).unwrap_or(usize::MAX).min(buf.len());
        if self.segment.read_known(offset, &mut buf[..len]) {
            return Ok(len);
        }
        self.fetched()?.read_at(offset, buf)
    }
}

/// What was made for the moment.
impl Content for Vec<u8> {
    fn len(&self) -> u64 {
        self.as_slice().len() as u64
    }

    fn read_at(&self, offset: u64, buf: &mut [u8]) -> io::Result<usize> {
        let rest = usize::try_from(offset).ok().and_then(|offset| self.get(offset..)).unwrap_or_default();
        let len = rest.len().min(buf.len());
        buf[..len].copy_from_slice(&rest[..len]);
        Ok(len)
    }
}

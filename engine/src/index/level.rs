//! Filters over many segments: one look says that none of 16, or of 256, holds something.
//!
//! Each stands with the last of its segments, so who goes through a view from the newest
//! segment to the oldest meets it first, and leaves out all of them at once. Like an
//! index it is derived, opened when it is first asked, and no state of its file is an
//! error: without it the segments are asked themselves.

use std::io;
use std::sync::Arc;

use annals_codec::index::{
    Filter, Hashes, KeyHash, LEVEL_HEADER_LEN, LevelHeader, LevelIdentity, LevelWriter, Merge, hashes, level_span,
    segments_digest,
};
use annals_codec::{SegmentNumber, index};

use super::files::{Content, IndexFiles};
use super::{IndexedSegment, SegmentIndex};
use crate::error::ReadError;
use crate::log::names;
use crate::log::small_files::write_all;
use crate::sync::OnceLock;

/// The highest level that is made. From the next one on, 32 bits would be too few to tell names
/// apart: with 40 million of them every hundredth look at a filter is in vain.
const HIGHEST: u32 = 2;

/// What is written in one go while a filter is made, in bytes.
const CHUNK: usize = 1 << 20;

/// The filter over the `16^height` segments of which one is the last.
#[derive(Debug)]
pub(crate) struct Level {
    height: u32,
    files: Arc<IndexFiles>,
    opened: OnceLock<Option<Opened>>,
}

#[derive(Debug)]
struct Opened {
    content: Content,
    header: LevelHeader,
}

/// How many segments filters are over, the widest first.
pub(crate) fn spans() -> impl Iterator<Item = usize> {
    (1..=HIGHEST).rev().map(|height| level_span(height) as usize)
}

/// The filters that end with a segment, the widest first.
pub(super) fn ending_with(number: SegmentNumber, files: &Arc<IndexFiles>) -> Option<Arc<[Level]>> {
    let is_last = |height: &u32| (number.get() + 1).is_multiple_of(level_span(*height));
    let levels: Arc<[Level]> = (1..=HIGHEST)
        .rev()
        .filter(is_last)
        .map(|height| Level { height, files: Arc::clone(files), opened: OnceLock::new() })
        .collect();
    Some(levels).filter(|levels| !levels.is_empty())
}

impl Level {
    /// How many segments it is over.
    pub(crate) fn span(&self) -> usize {
        level_span(self.height) as usize
    }

    /// The path of its file, when these are its segments.
    pub(super) fn path(&self, segments: &[IndexedSegment]) -> String {
        names::level(self.height, segments[0].log.number.get() / level_span(self.height))
    }

    /// Whether any of these segments, which are the filter's, may hold something; `false` is certain.
    pub(crate) fn may_hold(&self, segments: &[IndexedSegment], hash: KeyHash) -> bool {
        let opened = self.opened.get_or_init(|| self.open(segments));
        let Some(Opened { content, header }) = opened else { return true };
        let filter = content.bytes(LEVEL_HEADER_LEN as u64..LEVEL_HEADER_LEN as u64 + header.filter_len);
        filter.and_then(|filter| Filter::read(filter).ok()).is_none_or(|filter| filter.may_hold(hash))
    }

    /// Whether there is a file that is fit for use.
    pub(super) fn is_good(&self, segments: &[IndexedSegment]) -> bool {
        self.opened.get_or_init(|| self.open(segments)).is_some()
    }

    fn identity(&self, segments: &[IndexedSegment]) -> LevelIdentity {
        LevelIdentity {
            log_id: self.files.log_id,
            level: self.height,
            first: segments[0].log.number,
            segments: segments_digest(segments.iter().map(|segment| (segment.log.seed, segment.log.chain))),
        }
    }

    fn open(&self, segments: &[IndexedSegment]) -> Option<Opened> {
        let path = self.path(segments);
        let file = self.files.open(&path)?;
        let read = || {
            let header = LevelHeader::decode(&file.head(LEVEL_HEADER_LEN)?, file.len()).map_err(io::Error::other)?;
            if header.identity != self.identity(segments) {
                return Err(io::Error::other("it is the filter of other segments"));
            }
            let content = file.content()?;
            let filter = content.bytes(LEVEL_HEADER_LEN as u64..file.len());
            if !filter.is_some_and(|filter| header.is_good(filter)) {
                return Err(io::Error::other("its checksum does not match"));
            }
            Ok(Opened { content, header })
        };
        match read() {
            Ok(opened) => Some(opened),
            Err(error) => {
                tracing::warn!(path, %error, "a filter cannot be used: segments are asked themselves");
                None
            }
        }
    }

    /// Makes the file; `false` when it cannot be, now.
    pub(super) fn make(&self, segments: &[IndexedSegment]) -> bool {
        let mut parts = Vec::with_capacity(segments.len());
        for segment in segments {
            let SegmentIndex::Sealed(index) = &segment.index else { return false };
            let Ok(hashes) = index.image(&segment.log).map(hashes) else { return false };
            let Ok(hashes) = hashes else { return false };
            parts.push(hashes);
        }
        self.files.write(&self.path(segments), |file| {
            let mut at = LEVEL_HEADER_LEN as u64;
            let header = merge(self.identity(segments), parts, &mut |bytes| {
                write_all(file, at, bytes)?;
                at += bytes.len() as u64;
                Ok(())
            })?;
            write_all(file, 0, &header.encode())
        })
    }
}

/// Makes the filter over the indexes with these hashes, and hands it out piece by piece; returns
/// what stands before it in the file.
pub(super) fn merge(
    identity: LevelIdentity,
    parts: Vec<Hashes<'_>>,
    put: &mut dyn FnMut(&[u8]) -> io::Result<()>,
) -> io::Result<LevelHeader> {
    let keys = parts.iter().map(Hashes::count_all).sum();
    let mut writer = LevelWriter::new(identity, keys);
    let mut out = Vec::with_capacity(CHUNK + 64);
    for hash in Merge::new(parts) {
        writer.push(hash.map_err(io::Error::other)?, &mut out);
        if out.len() >= CHUNK {
            put(&out)?;
            out.clear();
        }
    }
    let header = writer.finish(&mut out);
    put(&out)?;
    Ok(header)
}

impl IndexedSegment {
    /// Whether the segment may hold something with this hash; `false` is certain. Not to be
    /// asked for ids that a store has made.
    pub(crate) fn may_hold(&self, hash: KeyHash) -> bool {
        match &self.index {
            SegmentIndex::Memory(_) => true,
            // What cannot be asked may hold anything: whoever looks closer is told why.
            SegmentIndex::Sealed(index) => {
                let answer: Result<bool, ReadError> = index.ask(&self.log, |image| index::may_hold(image, hash));
                answer.unwrap_or(true)
            }
        }
    }
}

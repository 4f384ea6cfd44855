//! Reading a file once, for its digest and for what it holds.

use std::io;
use std::sync::Arc;

use annals_codec::scan::{self, SealedEnd, Source, Stop};
use annals_codec::{
    Digest, Hasher, Position, RedactionMark, SEGMENT_HEADER_LEN, Seed, SegmentHeader, SegmentNumber, Tail,
};

use super::{CopyError, Copying};
use crate::error::Damage;
use crate::log::source::FileSource;
use crate::storage::{Access, File, Storage};

/// What is read in one go, in bytes.
const WINDOW: u64 = 1 << 20;

/// What a segment was found to be, down to its last byte.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Judged {
    pub(crate) digest: Digest,
    pub(crate) seed: Seed,
    /// Which of its events are redacted.
    pub(crate) redacted: Option<RedactionMark>,
    /// Behind its last batch.
    pub(crate) tail: Tail,
    /// How it ends, if it is sealed.
    pub(crate) sealed: Option<SealedEnd>,
}

/// A file that is digested while it is read for something else.
struct Digested {
    source: FileSource,
    hasher: Hasher,
    /// How far it was taken in.
    taken: u64,
}

impl Source for Digested {
    type Error = io::Error;

    fn len(&self) -> u64 {
        self.source.len()
    }

    fn bytes(&mut self, offset: u64, least: usize) -> io::Result<&[u8]> {
        let bytes = self.source.bytes(offset, least)?;
        if let Some(skip) = self.taken.checked_sub(offset).filter(|skip| *skip < bytes.len() as u64) {
            self.hasher.update(&bytes[skip as usize..]);
            self.taken = offset + bytes.len() as u64;
        }
        Ok(bytes)
    }
}

impl Digested {
    fn new(file: Arc<dyn File>, len: u64) -> Digested {
        Digested { source: FileSource::cached(file, len), hasher: Hasher::new(), taken: 0 }
    }

    /// Takes in what nobody asked for.
    fn finish(mut self) -> io::Result<Digest> {
        while self.taken < self.len() {
            let (before, least) = (self.taken, WINDOW.min(self.len() - self.taken));
            self.bytes(before, least as usize)?;
            if self.taken == before {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
        Ok(self.hasher.finish())
    }
}

/// The digest of a file's first `len` bytes.
pub(crate) fn digest(file: Arc<dyn File>, len: u64) -> io::Result<Digest> {
    Digested::new(file, len).finish()
}

/// Reads the segment at `path`, of which all `len` bytes have to be whole.
pub(crate) fn segment(storage: &dyn Storage, path: &str, number: SegmentNumber, len: u64) -> Result<Judged, CopyError> {
    let shown = || storage.describe(path);
    let file = storage.open(path, Access::Read).copying("open", shown)?;
    let damaged = |offset, from: Position, fault: String| {
        CopyError::Damaged(Damage { segment: number, file: shown(), offset, from, to: None, fault })
    };
    if file.len().copying("read", shown)? != len {
        return Err(damaged(0, Position::START, format!("it is not {len} bytes long")));
    }
    let mut source = Digested::new(file, len);
    let head = source.bytes(0, SEGMENT_HEADER_LEN).copying("read", shown)?;
    let (header, seed) = SegmentHeader::decode(head).map_err(|fault| damaged(0, Position::START, fault.to_string()))?;
    let found = scan::scan(&mut source, seed, scan::first_tail(&header), &mut ()).copying("read", shown)?;
    let sealed = match found.stop {
        Stop::Sealed(end) if end.trailer.file_len == len => Some(end),
        Stop::End if found.tail.offset == len => None,
        Stop::Bad(bad) => return Err(damaged(bad.at, found.tail.position.plus(1), bad.fault.to_string())),
        Stop::End | Stop::Sealed(_) => {
            let fault = "something follows its last batch".to_owned();
            return Err(damaged(found.tail.offset, found.tail.position.plus(1), fault));
        }
    };
    let digest = source.finish().copying("read", shown)?;
    Ok(Judged { digest, seed, redacted: header.redacted, tail: found.tail, sealed })
}

/// Copies the first `len` bytes of one file to another, which is empty.
pub(crate) fn copy_bytes(from: &Arc<dyn File>, len: u64, to: &dyn File) -> io::Result<Digest> {
    let mut source = Digested::new(Arc::clone(from), len);
    let mut at = 0;
    while at < len {
        let part = source.bytes(at, WINDOW.min(len - at) as usize)?;
        if part.is_empty() {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        crate::log::small_files::write_all(to, at, part)?;
        at += part.len() as u64;
    }
    source.finish()
}

//! A segment file as bytes to look at, whatever they are.
//!
//! The file is read in windows, so that memory stays bounded however long it
//! is: a window grows to hold one frame, and no frame longer than
//! [`MAX_FRAME`] is looked at. A length that damage has made huge is then
//! judged as what it is, an impossible one, and nothing is allocated for it.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::path::Path;

use annals_codec::scan::Source;

/// The longest frame looked at, in bytes: far above every limit that a store accepts by default.
pub(crate) const MAX_FRAME: usize = 256 * 1024 * 1024;

/// How many bytes are read in one go where nobody asks for more.
const WINDOW: usize = 1024 * 1024;

/// An open file, its length as it was when it was opened, and the window that was read last.
pub(crate) struct SegmentFile {
    file: File,
    len: u64,
    window: Vec<u8>,
    /// Where in the file the window begins.
    start: u64,
}

impl SegmentFile {
    pub(crate) fn open(path: &Path) -> io::Result<SegmentFile> {
        let file = File::open(path)?;
        let metadata = file.metadata()?;
        if !metadata.is_file() {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "it is not a regular file"));
        }
        Ok(SegmentFile { file, len: metadata.len(), window: Vec::new(), start: 0 })
    }
}

impl Source for SegmentFile {
    type Error = io::Error;

    fn len(&self) -> u64 {
        self.len
    }

    /// As the trait says, but never more than [`MAX_FRAME`] bytes.
    fn bytes(&mut self, offset: u64, least: usize) -> io::Result<&[u8]> {
        let left = self.len.saturating_sub(offset);
        let want = (least.min(MAX_FRAME) as u64).min(left) as usize;
        let held = offset.checked_sub(self.start).filter(|&skip| skip + want as u64 <= self.window.len() as u64);
        if let Some(skip) = held {
            return Ok(&self.window[skip as usize..]);
        }
        self.start = offset;
        self.window.clear();
        self.file.seek(SeekFrom::Start(offset))?;
        let read = (want.max(WINDOW) as u64).min(left);
        // A file that a crash or a person cut since simply ends earlier.
        (&mut self.file).take(read).read_to_end(&mut self.window)?;
        self.window.shrink_to(4 * WINDOW);
        Ok(&self.window)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write as _;

    #[test]
    fn bytes_are_the_same_through_windows_as_in_the_file() {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        let content: Vec<u8> =
            (0..3 * WINDOW as u32 + 17).map(|at| (at.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
        file.write_all(&content).unwrap();
        let mut source = SegmentFile::open(file.path()).unwrap();
        for offset in [0, 5, WINDOW - 3, WINDOW, 2 * WINDOW + 1, content.len() - 1, content.len(), content.len() + 9, 0]
        {
            for least in [0, 1, 20, WINDOW + 1, usize::MAX] {
                let bytes = source.bytes(offset as u64, least).unwrap();
                let there = &content[offset.min(content.len())..];
                assert!(bytes.len() >= least.min(there.len()), "at {offset}, at least {least}");
                assert!(there.starts_with(bytes), "at {offset}, at least {least}");
            }
        }
    }
}

//! The content of a disk, held sparsely: a copy shares its blocks until they are written.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;
use std::sync::Arc;

/// The unit of sharing. File systems write whole blocks of this size, mostly.
const BLOCK: usize = 4096;
/// What a disk writes as a whole or not at all.
pub const SECTOR: usize = 512;

/// The content of a disk.
#[derive(Clone, Debug)]
pub struct Image {
    /// A block that was never written is `None`, and reads as zeros.
    blocks: Vec<Option<Arc<[u8; BLOCK]>>>,
}

impl Image {
    /// A disk of this many bytes, rounded up to whole blocks, all zeros.
    pub fn new(bytes: u64) -> Image {
        Image { blocks: vec![None; (bytes as usize).div_ceil(BLOCK)] }
    }

    /// How many bytes it holds.
    pub fn len(&self) -> u64 {
        (self.blocks.len() * BLOCK) as u64
    }

    /// Whether it is a disk of no bytes at all.
    pub fn is_empty(&self) -> bool {
        self.blocks.is_empty()
    }

    /// The bytes from `offset` on, at most `count`: fewer at the end of the disk.
    pub fn read(&self, offset: u64, count: usize) -> Vec<u8> {
        let mut found = vec![0; self.inside(offset, count)];
        for (block, at, part) in parts(offset, found.len()) {
            if let Some(content) = &self.blocks[block] {
                let len = part.len();
                found[part].copy_from_slice(&content[at..at + len]);
            }
        }
        found
    }

    /// Writes what of `data` lies on the disk, and says how much that was.
    pub fn write(&mut self, offset: u64, data: &[u8]) -> usize {
        let written = self.inside(offset, data.len());
        for (block, at, part) in parts(offset, written) {
            let content = self.blocks[block].get_or_insert_with(|| Arc::new([0; BLOCK]));
            let len = part.len();
            Arc::make_mut(content)[at..at + len].copy_from_slice(&data[part]);
        }
        written
    }

    /// Writes it into a file, leaving holes where nothing was ever written.
    ///
    /// # Errors
    ///
    /// When the file cannot be written.
    pub fn save(&self, file: &File) -> io::Result<()> {
        file.set_len(self.len())?;
        for (number, block) in self.blocks.iter().enumerate() {
            if let Some(content) = block {
                file.write_all_at(&content[..], (number * BLOCK) as u64)?;
            }
        }
        Ok(())
    }

    fn inside(&self, offset: u64, count: usize) -> usize {
        self.len().saturating_sub(offset).min(count as u64) as usize
    }
}

/// Which blocks a range touches: the block, where in it, and which part of the range.
fn parts(offset: u64, count: usize) -> impl Iterator<Item = (usize, usize, std::ops::Range<usize>)> {
    let mut done = 0;
    std::iter::from_fn(move || {
        let place = offset as usize + done;
        let (block, at) = (place / BLOCK, place % BLOCK);
        let len = (BLOCK - at).min(count - done);
        let part = done..done + len;
        done += len;
        (len > 0).then_some((block, at, part))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::torture::generate::{Choices as _, Seeded};

    #[test]
    fn it_reads_what_was_written_last_at_each_byte_whatever_blocks_that_touches() {
        let mut dice = Seeded::new(5);
        let (mut image, mut plain) = (Image::new(5 * BLOCK as u64), vec![0; 5 * BLOCK]);
        for round in 0..500_u32 {
            let at = dice.below(5 * BLOCK as u64) as usize;
            let data: Vec<u8> = vec![round as u8; 1 + dice.below(3 * BLOCK as u64) as usize];
            let written = image.write(at as u64, &data);
            assert_eq!(written, data.len().min(plain.len() - at), "nothing is written behind the end");
            plain[at..at + written].copy_from_slice(&data[..written]);
            let (from, count) = (dice.below(5 * BLOCK as u64) as usize, dice.below(3 * BLOCK as u64) as usize);
            let end = (from + count).min(plain.len());
            assert!(image.read(from as u64, count) == plain[from..end], "round {round}");
        }
        assert_eq!(image.read(6 * BLOCK as u64, 10), [0; 0], "there is nothing behind the end");
    }

    #[test]
    fn a_copy_does_not_see_what_is_written_afterwards() {
        let mut image = Image::new(2 * BLOCK as u64);
        image.write(0, b"before");
        let copy = image.clone();
        image.write(0, b"behind");
        assert_eq!((copy.read(0, 6), image.read(0, 6)), (b"before".to_vec(), b"behind".to_vec()));
    }

    #[test]
    fn a_saved_image_is_the_disk_byte_for_byte() {
        let mut image = Image::new(3 * BLOCK as u64);
        image.write(BLOCK as u64 + 7, b"in the middle");
        let file = tempfile::NamedTempFile::new().expect("a temporary file");
        image.save(file.as_file()).expect("it can be written");
        assert_eq!(std::fs::read(file.path()).expect("it can be read"), image.read(0, 3 * BLOCK));
    }
}

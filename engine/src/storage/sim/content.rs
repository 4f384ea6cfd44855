//! The bytes of a simulated file, and the space they take.
//!
//! What is always true:
//!
//! - A page that was never written does not exist and reads as zero, so a file
//!   of a MiB of zeros costs nothing.
//! - Pages are shared until one side writes, so copying a disk copies pointers.
//! - Nothing here knows how long the file is.

use std::ops::Range;
use std::sync::Arc;

/// What is written at once, wholly or not at all.
pub(super) const SECTOR: u64 = 512;

/// What the cache holds and the file system reserves as one piece.
pub(super) const PAGE: u64 = 4096;

type Page = [u8; PAGE as usize];

/// Bytes by page.
#[derive(Clone, Default)]
pub(super) struct Content {
    pages: Vec<Option<Arc<Page>>>,
}

impl Content {
    /// Fills `buf` with what is at `offset`.
    pub(super) fn read(&self, offset: u64, buf: &mut [u8]) {
        for (page, within, part) in pieces(offset, buf.len()) {
            match self.pages.get(page) {
                Some(Some(bytes)) => buf[part].copy_from_slice(&bytes[within]),
                _ => buf[part].fill(0),
            }
        }
    }

    pub(super) fn write(&mut self, offset: u64, bytes: &[u8]) {
        for (page, within, part) in pieces(offset, bytes.len()) {
            self.page(page)[within].copy_from_slice(&bytes[part]);
        }
    }

    /// Makes a range read as zero.
    pub(super) fn zero(&mut self, range: Range<u64>) {
        let written = self.pages.len() as u64 * PAGE;
        let end = range.end.min(written);
        if range.start >= end {
            return;
        }
        for (page, within, _) in pieces(range.start, (end - range.start) as usize) {
            if within.len() == PAGE as usize {
                self.pages[page] = None;
            } else if self.pages[page].is_some() {
                self.page(page)[within].fill(0);
            }
        }
    }

    /// Makes everything from `offset` on read as zero.
    pub(super) fn zero_from(&mut self, offset: u64) {
        self.zero(offset..u64::MAX);
    }

    /// Takes over the pages that overlap a range from `other`.
    pub(super) fn take_pages(&mut self, other: &Content, range: Range<u64>) {
        for page in (range.start / PAGE) as usize..range.end.div_ceil(PAGE) as usize {
            let theirs = other.pages.get(page).cloned().flatten();
            match self.pages.get_mut(page) {
                Some(ours) => *ours = theirs,
                None if theirs.is_some() => {
                    self.pages.resize(page, None);
                    self.pages.push(theirs);
                }
                None => {}
            }
        }
    }

    pub(super) fn flip(&mut self, bit: u64) {
        let byte = bit / 8;
        self.page((byte / PAGE) as usize)[(byte % PAGE) as usize] ^= 1 << (bit % 8);
    }

    /// Whether both read the same; pages that they share cost nothing.
    pub(super) fn is_same(&self, other: &Content) -> bool {
        const ZEROS: Page = [0; PAGE as usize];
        let page = |content: &Content, number: usize| content.pages.get(number).cloned().flatten();
        (0..self.pages.len().max(other.pages.len())).all(|number| match (page(self, number), page(other, number)) {
            (Some(one), Some(other)) => Arc::ptr_eq(&one, &other) || one == other,
            (Some(only), None) | (None, Some(only)) => *only == ZEROS,
            (None, None) => true,
        })
    }

    fn page(&mut self, page: usize) -> &mut Page {
        if self.pages.len() <= page {
            self.pages.resize(page + 1, None);
        }
        Arc::make_mut(self.pages[page].get_or_insert_with(|| Arc::new([0; PAGE as usize])))
    }
}

/// Cuts `len` bytes at `offset` at the page boundaries: the page, the range
/// within it, and the range of the caller's bytes.
fn pieces(offset: u64, len: usize) -> impl Iterator<Item = (usize, Range<usize>, Range<usize>)> {
    let mut done = 0;
    std::iter::from_fn(move || {
        let at = offset + done as u64;
        let start = (at % PAGE) as usize;
        let n = (len - done).min(PAGE as usize - start);
        if n == 0 {
            return None;
        }
        done += n;
        Some(((at / PAGE) as usize, start..start + n, done - n..done))
    })
}

/// Which pages of a file have space on the disk: ranges in order, apart from each other.
#[derive(Clone, Default)]
pub(super) struct Space {
    extents: Vec<Range<u64>>,
}

impl Space {
    /// The number of pages.
    pub(super) fn pages(&self) -> u64 {
        self.extents.iter().map(|extent| extent.end - extent.start).sum()
    }

    /// How many bytes at `offset`, of `len` at most, can be had with `free` more pages.
    pub(super) fn fitting(&self, offset: u64, len: u64, mut free: u64) -> u64 {
        let mut page = offset / PAGE;
        let end = (offset + len).div_ceil(PAGE);
        while page < end {
            if let Some(extent) = self.extents.iter().find(|extent| extent.contains(&page)) {
                page = extent.end;
            } else if free == 0 {
                return (page * PAGE).saturating_sub(offset);
            } else {
                free -= 1;
                page += 1;
            }
        }
        len
    }

    /// Reserves the pages of a byte range; how many of them are new.
    pub(super) fn add(&mut self, range: Range<u64>) -> u64 {
        let mut new = range.start / PAGE..range.end.div_ceil(PAGE);
        if range.is_empty() || self.extents.last().is_some_and(|last| last.start <= new.start && new.end <= last.end) {
            return 0;
        }
        let before = self.pages();
        // Melts together with every extent it overlaps or touches.
        self.extents.retain(|extent| {
            let apart = extent.end < new.start || new.end < extent.start;
            if !apart {
                new = new.start.min(extent.start)..new.end.max(extent.end);
            }
            apart
        });
        let at = self.extents.partition_point(|extent| extent.start < new.start);
        self.extents.insert(at, new);
        self.pages() - before
    }

    /// Gives back the pages that lie wholly at or beyond byte `len`; how many.
    pub(super) fn cut(&mut self, len: u64) -> u64 {
        let before = self.pages();
        let end = len.div_ceil(PAGE);
        self.extents.retain_mut(|extent| {
            extent.end = extent.end.min(end);
            extent.start < extent.end
        });
        before - self.pages()
    }
}

#[cfg(test)]
mod tests {
    use super::super::fault::Dice;
    use super::*;

    #[test]
    fn content_reads_like_a_flat_array_after_any_operations() {
        const LEN: usize = 5 * PAGE as usize;
        for seed in 0..200 {
            let mut dice = Dice::new(seed, 0);
            let mut content = Content::default();
            let mut flat = vec![0_u8; LEN];
            let mut copy = (content.clone(), flat.clone());
            for step in 0..30 {
                let start = dice.below(LEN as u64) as usize;
                let len = dice.below((LEN - start) as u64 + 1).min(6000) as usize;
                match dice.below(5) {
                    0 => {
                        content.zero(start as u64..(start + len) as u64);
                        flat[start..start + len].fill(0);
                    }
                    1 => {
                        content.zero_from(start as u64);
                        flat[start..].fill(0);
                    }
                    2 => {
                        content.flip(start as u64 * 8 + 3);
                        flat[start] ^= 1 << 3;
                    }
                    3 => copy = (content.clone(), flat.clone()),
                    _ => {
                        let byte = dice.below(256) as u8;
                        content.write(start as u64, &vec![byte; len]);
                        flat[start..start + len].fill(byte);
                    }
                }
                for (content, flat) in [(&content, &flat), (&copy.0, &copy.1)] {
                    let mut read = vec![0xEE; LEN];
                    content.read(0, &mut read);
                    assert!(read == *flat, "seed {seed}, step {step}");
                }
            }
        }
    }

    #[test]
    fn space_counts_every_page_once_after_any_operations() {
        const PAGES: u64 = 40;
        for seed in 0..500 {
            let mut dice = Dice::new(seed, 0);
            let mut space = Space::default();
            let mut flat = [false; PAGES as usize];
            for step in 0..20 {
                let start = dice.below(PAGES * PAGE);
                let len = dice.below(PAGES * PAGE - start).min(8 * PAGE);
                let touched =
                    if len == 0 { 0..0 } else { (start / PAGE) as usize..(start + len).div_ceil(PAGE) as usize };
                if dice.below(4) == 0 {
                    let kept = start.div_ceil(PAGE) as usize;
                    let gone = flat[kept..].iter().filter(|&&page| page).count() as u64;
                    assert_eq!(space.cut(start), gone, "seed {seed}, step {step}");
                    flat[kept..].fill(false);
                } else {
                    let free = dice.below(6);
                    let fits = space.fitting(start, len, free);
                    let missing = |flat: &[bool]| flat.iter().filter(|&&page| !page).count() as u64;
                    let whole = ((start + fits) / PAGE) as usize;
                    if fits < len {
                        assert_eq!(missing(&flat[touched.start..whole]), free);
                        assert!(!flat[whole], "seed {seed}, step {step}");
                    } else {
                        assert!(missing(&flat[touched.clone()]) <= free);
                    }
                    let new = missing(&flat[touched.clone()]);
                    assert_eq!(space.add(start..start + len), new, "seed {seed}, step {step}");
                    flat[touched].fill(true);
                }
                let total = flat.iter().filter(|&&page| page).count() as u64;
                assert_eq!(space.pages(), total, "seed {seed}, step {step}");
            }
        }
    }
}

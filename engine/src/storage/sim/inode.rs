//! One simulated file: what the cache shows, what the disk has, and the changes between.
//!
//! What is always true, until a sync fails: `disk` plus all of `pending`, in
//! order, gives `cache`. What a power loss leaves is `disk` plus some of it.

use std::ops::Range;

use hashbrown::HashSet;

use super::content::{Content, PAGE, SECTOR, Space};
use super::fault::{Dice, INHERITED, Keep, Stamp};

/// A file without its name.
#[derive(Clone, Default)]
pub(super) struct Inode {
    cache: Content,
    len: u64,
    /// May hold bytes beyond `disk_len`: data arrives apart from the size.
    disk: Content,
    disk_len: u64,
    pending: Vec<Change>,
    /// The bytes of the pending writes, one after the other.
    written: Vec<u8>,
    /// A sync failed: the cache may show what the disk lacks, and nothing is pending for it.
    parted: bool,
    /// There is a cut among the pending changes.
    cut: bool,
    /// Sectors that cannot be read, by number.
    spoiled: Vec<u64>,
    pub(super) space: Space,
    /// Has a name, so its space counts.
    pub(super) linked: bool,
}

/// One change that no sync covers yet.
#[derive(Clone)]
struct Change {
    stamp: Stamp,
    kind: Kind,
    range: Range<u64>,
    /// The file's new length; 0 when it was long enough already.
    reach: u64,
}

#[derive(Clone, Copy)]
enum Kind {
    /// The bytes of the range are in `written`, from here on.
    Write(usize),
    /// The range was written with zeros.
    Zeros,
    /// No byte changed, but the file may have grown.
    Grow,
    /// The file was extended.
    SetLen,
    /// The file was cut.
    Cut,
}

impl Change {
    fn is_data(&self) -> bool {
        matches!(self.kind, Kind::Write(_) | Kind::Zeros)
    }

    fn sectors(&self) -> Range<u64> {
        self.range.start / SECTOR..self.range.end.div_ceil(SECTOR)
    }

    fn is_cut(&self) -> bool {
        matches!(self.kind, Kind::Cut)
    }
}

impl Inode {
    pub(super) fn planted(bytes: &[u8]) -> Inode {
        let mut inode =
            Inode { linked: true, len: bytes.len() as u64, disk_len: bytes.len() as u64, ..Inode::default() };
        inode.cache.write(0, bytes);
        inode.disk = inode.cache.clone();
        inode.space.add(0..inode.len);
        inode
    }

    pub(super) fn len(&self) -> u64 {
        self.len
    }

    /// Whether both read the same through the cache.
    pub(super) fn is_same(&self, other: &Inode) -> bool {
        self.len == other.len && self.cache.is_same(&other.cache)
    }

    /// How many changes no sync covers.
    pub(super) fn unsynced(&self) -> usize {
        self.pending.len()
    }

    /// How many sectors an operation wrote that no sync covers.
    pub(super) fn unsynced_sectors(&self, stamp: Stamp) -> u64 {
        let changes = self.pending.iter().filter(|change| change.stamp == stamp && change.is_data());
        changes.map(|change| change.sectors().count() as u64).sum()
    }

    /// Reads through the cache; how many bytes the file had for it.
    pub(super) fn read(&self, offset: u64, buf: &mut [u8]) -> usize {
        let n = self.readable(offset, buf.len());
        self.cache.read(offset, &mut buf[..n]);
        n
    }

    /// Reads what the disk has, without writing anything out first.
    pub(super) fn read_stale(&self, offset: u64, buf: &mut [u8]) -> usize {
        let n = self.readable(offset, buf.len());
        self.disk.read(offset, &mut buf[..n]);
        n
    }

    /// The whole file as the disk has it.
    pub(super) fn on_disk(&self) -> Vec<u8> {
        let mut bytes = vec![0; self.disk_len as usize];
        self.disk.read(0, &mut bytes);
        bytes
    }

    fn readable(&self, offset: u64, len: usize) -> usize {
        self.len.saturating_sub(offset).min(len as u64) as usize
    }

    pub(super) fn write(&mut self, stamp: Stamp, offset: u64, bytes: &[u8]) {
        if bytes.is_empty() {
            return;
        }
        let mut range = offset..offset + bytes.len() as u64;
        // After a failed sync the disk may not know of a length that we take for granted.
        let grows = self.parted || range.end > self.len;
        let reach = if grows { range.end } else { 0 };
        self.len = self.len.max(range.end);
        self.spoiled.retain(|sector| sector * SECTOR < range.start || range.end < (sector + 1) * SECTOR);
        let zeros = bytes.iter().all(|&byte| byte == 0);
        if zeros {
            self.cache.zero(range.clone());
        } else {
            self.cache.write(offset, bytes);
        }
        let at = self.written.len();
        let kind = if self.parted || self.cut {
            // The kernel writes whole pages. It matters where the cache does
            // not follow from the disk and the pending writes: what an earlier
            // sync lost in the same page goes along now, and so do the zeros
            // that an earlier cut left in it.
            range = range.start / PAGE * PAGE..range.end.next_multiple_of(PAGE);
            self.written.resize(at + (range.end - range.start) as usize, 0);
            self.cache.read(range.start, &mut self.written[at..]);
            Kind::Write(at)
        } else if zeros {
            Kind::Zeros
        } else {
            self.written.extend_from_slice(bytes);
            Kind::Write(at)
        };
        self.pending.push(Change { stamp, kind, range, reach });
    }

    pub(super) fn set_len(&mut self, stamp: Stamp, len: u64) {
        if len < self.len {
            self.cache.zero_from(len);
            self.cut = true;
            self.resize(stamp, Kind::Cut, len);
        } else if len > self.len {
            self.resize(stamp, Kind::SetLen, len);
        }
    }

    pub(super) fn grow(&mut self, stamp: Stamp, to: u64) {
        if to > self.len {
            self.resize(stamp, Kind::Grow, to);
        }
    }

    fn resize(&mut self, stamp: Stamp, kind: Kind, len: u64) {
        self.pending.push(Change { stamp, kind, range: 0..0, reach: len });
        self.len = len;
    }

    /// Everything is on the disk now.
    pub(super) fn sync(&mut self) {
        self.settle(Keep::All, &mut Dice::new(0, 0));
    }

    /// Some of it is on the disk, the rest never will be; the cache shows all
    /// of it, and calls it written.
    pub(super) fn fail_sync(&mut self, dice: &mut Dice) {
        let chance = [0, 64, 128, 240][dice.below(4) as usize];
        self.parted |= !self.pending.is_empty();
        self.settle(Keep::Chance(chance), dice);
    }

    /// The power is gone: what was kept is all there is.
    pub(super) fn lose_power(&self, keep: Keep, dice: &mut Dice) -> Inode {
        let mut inode = Inode {
            disk: self.disk.clone(),
            disk_len: self.disk_len,
            spoiled: self.spoiled.clone(),
            space: self.space.clone(),
            linked: true,
            ..Inode::default()
        };
        inode.disk_len = self.replay(&mut inode.disk, keep, dice);
        inode.disk.zero_from(inode.disk_len);
        inode.cache = inode.disk.clone();
        inode.len = inode.disk_len;
        inode.space.cut(inode.len);
        inode
    }

    /// The process is gone, the cache is not: all stays, in a new count of operations.
    pub(super) fn inherit(&mut self) {
        for change in &mut self.pending {
            change.stamp = INHERITED;
        }
    }

    fn settle(&mut self, keep: Keep, dice: &mut Dice) {
        let mut disk = std::mem::take(&mut self.disk);
        self.disk_len = self.replay(&mut disk, keep, dice);
        self.disk = disk;
        self.pending.clear();
        self.written.clear();
        self.cut = false;
    }

    /// Brings onto `disk` what `keep` keeps of the pending changes; the file's new length.
    ///
    /// - The size is one field, so it is one of the sizes the file has had:
    ///   the changes of it are kept up to some point. An extension may also
    ///   have come part of the way.
    /// - So is each sector: who drops one write of a sector drops all later ones.
    /// - A cut that was kept erases what earlier writes left beyond it.
    fn replay(&self, disk: &mut Content, keep: Keep, dice: &mut Dice) -> u64 {
        let count = self.pending.len();
        let sizes = match keep {
            Keep::Chance(chance) if !dice.chance(chance) => dice.below(count as u64 + 1) as usize,
            Keep::Before(stop) => self.pending.partition_point(|change| change.stamp < stop),
            Keep::Nothing => 0,
            _ => count,
        };
        let mut len = self.disk_len;
        let mut dropped = HashSet::new();
        for (i, change) in self.pending.iter().enumerate() {
            let size_kept = match keep {
                Keep::Except(stamp) => change.stamp != stamp,
                Keep::Only(stamp) => change.stamp == stamp,
                _ => i < sizes,
            };
            if size_kept {
                len = match change.kind {
                    Kind::SetLen | Kind::Cut => change.reach,
                    _ => len.max(change.reach),
                };
                if change.is_cut() {
                    disk.zero_from(len);
                }
            } else if i == sizes && len < change.reach {
                let part_way = match keep {
                    Keep::Before(stop) => change.stamp == stop,
                    Keep::Chance(_) => true,
                    _ => false,
                };
                if part_way && !matches!(change.kind, Kind::SetLen) {
                    let sectors = (change.reach - 1) / SECTOR - len / SECTOR;
                    match dice.below(sectors + 1) {
                        0 => {}
                        n => len = (len / SECTOR + n) * SECTOR,
                    }
                }
            }
            if !change.is_data() {
                continue;
            }
            match keep {
                Keep::All => self.write_out(disk, change, change.range.clone()),
                Keep::Nothing => {}
                Keep::Before(stop) if change.stamp < stop => {
                    self.write_out(disk, change, change.range.clone());
                }
                Keep::Before(stop) if change.stamp > stop => {}
                Keep::Torn(stamp, _) if change.stamp < stamp => {
                    self.write_out(disk, change, change.range.clone());
                }
                _ => {
                    for sector in change.sectors() {
                        let kept = match keep {
                            Keep::Except(stamp) => change.stamp < stamp || !self.touched(stamp, sector),
                            Keep::Only(stamp) => change.stamp <= stamp && self.touched(stamp, sector),
                            Keep::Torn(stamp, kept) if change.stamp == stamp => sector - change.sectors().start < kept,
                            Keep::Torn(..) => !dropped.contains(&sector),
                            Keep::Chance(chance) => !dropped.contains(&sector) && dice.chance(chance),
                            // The operation that was torn.
                            _ => !dropped.contains(&sector) && dice.chance(128),
                        };
                        if kept {
                            let bytes = sector * SECTOR..(sector + 1) * SECTOR;
                            self.write_out(disk, change, bytes);
                        } else {
                            dropped.insert(sector);
                        }
                    }
                }
            }
        }
        len
    }

    /// Whether an operation wrote to a sector.
    fn touched(&self, stamp: Stamp, sector: u64) -> bool {
        self.pending
            .iter()
            .skip_while(|change| change.stamp < stamp)
            .take_while(|change| change.stamp == stamp)
            .any(|change| change.is_data() && change.sectors().contains(&sector))
    }

    /// Writes that part of a change that lies in `range`.
    fn write_out(&self, disk: &mut Content, change: &Change, range: Range<u64>) {
        let start = range.start.max(change.range.start);
        let end = range.end.min(change.range.end);
        match change.kind {
            Kind::Write(at) if start < end => {
                let from = at + (start - change.range.start) as usize;
                disk.write(start, &self.written[from..from + (end - start) as usize]);
            }
            Kind::Zeros => disk.zero(start..end),
            _ => {}
        }
    }

    /// Reads past the cache: writes out the dirty pages of the range, drops the
    /// clean ones, and returns how many bytes there were.
    ///
    /// What was written out this way stays, but sizes may still be lost.
    pub(super) fn read_through(&mut self, offset: u64, buf: &mut [u8]) -> usize {
        let n = self.readable(offset, buf.len());
        let end = (offset + n as u64).next_multiple_of(PAGE);
        self.write_out_pages(offset / PAGE * PAGE..end);
        self.cache.take_pages(&self.disk, offset..offset + n as u64);
        // Of what lies beyond the end, the disk may know more than the cache.
        self.cache.zero_from(self.len);
        self.cache.read(offset, &mut buf[..n]);
        n
    }

    fn write_out_pages(&mut self, pages: Range<u64>) {
        if self.cut {
            // Writing ahead of a pending cut would let the cut erase it. No
            // file system does that, and this is one of the ways not to.
            self.settle(Keep::All, &mut Dice::new(0, 0));
            return;
        }
        let mut disk = std::mem::take(&mut self.disk);
        let mut rest = Vec::with_capacity(self.pending.len());
        for change in &self.pending {
            let start = change.range.start.max(pages.start);
            let end = change.range.end.min(pages.end);
            if !change.is_data() || start >= end {
                rest.push(change.clone());
                continue;
            }
            self.write_out(&mut disk, change, start..end);
            let mut piece = |kind, range: Range<u64>| {
                rest.push(Change { stamp: change.stamp, kind, range, reach: change.reach });
            };
            // What is left of it: the size, and the bytes on either side.
            piece(Kind::Grow, 0..0);
            if change.range.start < start {
                piece(change.kind, change.range.start..start);
            }
            if end < change.range.end {
                let kind = match change.kind {
                    Kind::Write(at) => Kind::Write(at + (end - change.range.start) as usize),
                    other => other,
                };
                piece(kind, end..change.range.end);
            }
        }
        self.disk = disk;
        self.pending = rest;
    }

    /// Flips one bit wherever it is kept.
    pub(super) fn flip(&mut self, bit: u64) {
        let byte = bit / 8;
        self.cache.flip(bit);
        self.disk.flip(bit);
        for change in &mut self.pending {
            if !change.range.contains(&byte) {
                continue;
            }
            if let Kind::Zeros = change.kind {
                // Not all zeros any more, so they are written out.
                change.kind = Kind::Write(self.written.len());
                let len = (change.range.end - change.range.start) as usize;
                self.written.resize(self.written.len() + len, 0);
            }
            if let Kind::Write(at) = change.kind {
                self.written[at + (byte - change.range.start) as usize] ^= 1 << (bit % 8);
            }
        }
    }

    pub(super) fn spoil(&mut self, offset: u64) {
        self.spoiled.push(offset / SECTOR);
    }

    pub(super) fn is_spoiled(&self, offset: u64, len: usize) -> bool {
        let end = offset.saturating_add(self.readable(offset, len) as u64);
        self.spoiled.iter().any(|sector| sector * SECTOR < end && offset < (sector + 1) * SECTOR)
    }
}

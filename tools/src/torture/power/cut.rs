//! The power goes: what a disk holds afterwards.
//!
//! Everything before the last flush is there. Of the writes behind it, the
//! window, a disk may have kept any: in any order where they overlap, and
//! one of them in part, down to a [`SECTOR`].

use serde::{Deserialize, Serialize};

use super::image::{Image, SECTOR};
use super::recording::{Record, Recording};
use crate::torture::generate::{Choices as _, Seeded};

/// What is kept of the window.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Keep {
    /// None of it.
    Nothing,
    /// All of it.
    Everything,
    /// The first few writes.
    Beginning,
    /// Any of the writes.
    Some,
    /// All writes but one.
    AllButOne,
    /// One write.
    OnlyOne,
    /// Some sectors of one write; all before it, and any behind it.
    Torn,
    /// Any of the writes, in any order.
    Shuffled,
}

impl Keep {
    /// All of them.
    pub const ALL: [Keep; 8] = [
        Keep::Nothing,
        Keep::Everything,
        Keep::Beginning,
        Keep::Some,
        Keep::AllButOne,
        Keep::OnlyOne,
        Keep::Torn,
        Keep::Shuffled,
    ];
}

/// One loss of power.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Cut {
    /// How many records there were.
    pub at: usize,
    /// What is kept of the window.
    pub keep: Keep,
    /// Chooses among the ways to keep it.
    pub seed: u64,
    /// How many of the last flushes the disk did not obey: 0, unless it lies.
    pub disobeyed: usize,
}

/// What a loss of power took.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub struct Lost {
    /// Writes in the window.
    pub window: u64,
    /// Those of them that were lost as a whole.
    pub dropped: u64,
    /// Those that were kept in part.
    pub torn: u64,
    /// Those that landed before an earlier one that they overlap.
    pub overtaken: u64,
}

/// Makes the disks that a recording can leave behind.
#[derive(Debug)]
pub struct Cutter {
    recording: Recording,
    /// The disk after the first so many records: cuts mostly come in order.
    cursor: (usize, Image),
}

impl Cutter {
    /// Cuts this recording.
    pub fn new(recording: Recording) -> Cutter {
        let cursor = (0, recording.base.clone());
        Cutter { recording, cursor }
    }

    /// What is cut.
    pub fn recording(&self) -> &Recording {
        &self.recording
    }

    /// The disk after this loss of power, and what was lost. A cut behind the end is one at the end.
    pub fn cut(&mut self, cut: &Cut) -> (Image, Lost) {
        let records = &self.recording.records[..cut.at.min(self.recording.records.len())];
        let mut flushes = records.iter().enumerate().rev().filter(|(_, record)| **record == Record::Flush);
        let begin = flushes.nth(cut.disobeyed).map_or(0, |(at, _)| at + 1);
        if self.cursor.0 > begin {
            self.cursor = (0, self.recording.base.clone());
        }
        for (offset, data) in writes(&records[self.cursor.0..begin]) {
            self.cursor.1.write(offset, data);
        }
        self.cursor.0 = begin;

        let window: Vec<(u64, &[u8])> = writes(&records[begin..]).collect();
        let mut image = self.cursor.1.clone();
        let lost = keep(&window, cut, &mut image);
        (image, lost)
    }
}

fn writes(records: &[Record]) -> impl Iterator<Item = (u64, &[u8])> {
    records.iter().filter_map(|record| match record {
        Record::Write { offset, data } => Some((*offset, &data[..])),
        Record::Flush => None,
    })
}

/// Writes the part of the window that is kept.
fn keep(window: &[(u64, &[u8])], cut: &Cut, image: &mut Image) -> Lost {
    let mut lost = Lost { window: window.len() as u64, ..Lost::default() };
    let count = window.len();
    if count == 0 {
        return lost;
    }
    let mut dice = Seeded::new(cut.seed);
    let one = dice.below(count as u64) as usize;
    let mut kept: Vec<usize> = match cut.keep {
        Keep::Nothing => Vec::new(),
        Keep::Everything => (0..count).collect(),
        Keep::Beginning => (0..one).collect(),
        Keep::Some | Keep::Shuffled => (0..count).filter(|_| dice.chance(60)).collect(),
        Keep::AllButOne => (0..count).filter(|at| *at != one).collect(),
        Keep::OnlyOne => vec![one],
        Keep::Torn => (0..count).filter(|at| *at < one || *at > one && dice.chance(30)).collect(),
    };
    if cut.keep == Keep::Shuffled {
        for at in (1..kept.len()).rev() {
            kept.swap(at, dice.below(at as u64 + 1) as usize);
        }
        let overtaken = |(at, write): (usize, &usize)| {
            kept[at..].iter().any(|later| later < write && overlap(window[*later], window[*write]))
        };
        lost.overtaken = kept.iter().enumerate().filter(|found| overtaken(*found)).count() as u64;
    }
    for write in &kept {
        image.write(window[*write].0, window[*write].1);
    }
    lost.dropped = (count - kept.len()) as u64;
    if cut.keep == Keep::Torn && tear(window[one], &mut dice, image) {
        lost.dropped -= 1;
        lost.torn = 1;
    }
    lost
}

fn overlap(a: (u64, &[u8]), b: (u64, &[u8])) -> bool {
    a.0 < b.0 + b.1.len() as u64 && b.0 < a.0 + a.1.len() as u64
}

/// Writes some sectors of it, at least one and not all; says whether there are enough for that.
fn tear((offset, data): (u64, &[u8]), dice: &mut Seeded, image: &mut Image) -> bool {
    let sectors = data.len().div_ceil(SECTOR) as u64;
    if sectors < 2 {
        return false;
    }
    let (first, other) = (1 + dice.below(sectors - 1), dice.below(sectors));
    let in_order = dice.chance(50);
    for (at, sector) in (0..sectors).zip(data.chunks(SECTOR)) {
        let is_kept =
            if in_order { at < first } else { at == other || at != (other + first) % sectors && dice.chance(50) };
        if is_kept {
            image.write(offset + at * SECTOR as u64, sector);
        }
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::torture::power::recording::tests::recorded;

    /// Sectors 0 to 3 are durable as ones; then 0–1 become 2, 1–2 become 3, 8–15 become 4.
    fn story() -> Cutter {
        Cutter::new(recorded(&[(0, 1, 4), (0, 0, 0), (0, 2, 2), (1, 3, 2), (8, 4, 8)]))
    }

    /// The first byte of each of the first 16 sectors; every sector must be of one piece.
    fn sectors(image: &Image) -> [u8; 16] {
        std::array::from_fn(|at| {
            let sector = image.read(at as u64 * 512, 512);
            assert!(sector.iter().all(|byte| *byte == sector[0]), "sector {at} is torn within");
            sector[0]
        })
    }

    fn check(at: usize, keep: Keep, expected: [u8; 16], lost: Lost) {
        for seed in 0..20 {
            let (image, found) = story().cut(&Cut { at, keep, seed, disobeyed: 0 });
            assert_eq!((sectors(&image), found), (expected, lost), "cut {at}, seed {seed}");
        }
    }

    const DURABLE: [u8; 16] = [1, 1, 1, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];

    #[test]
    fn what_was_flushed_stays_and_nothing_or_everything_of_the_window_is_kept() {
        let lost = |window, dropped| Lost { window, dropped, ..Lost::default() };
        check(0, Keep::Everything, [0; 16], lost(0, 0));
        check(1, Keep::Nothing, [0; 16], lost(1, 1));
        check(1, Keep::Everything, DURABLE, lost(1, 0));
        check(2, Keep::Nothing, DURABLE, lost(0, 0));
        check(5, Keep::Nothing, DURABLE, lost(3, 3));
        check(5, Keep::Everything, [2, 3, 3, 1, 0, 0, 0, 0, 4, 4, 4, 4, 4, 4, 4, 4], lost(3, 0));
        check(99, Keep::Nothing, DURABLE, lost(3, 3));
    }

    #[test]
    fn a_disk_that_does_not_obey_a_flush_loses_what_was_before_it() {
        let cut = |at, disobeyed| sectors(&story().cut(&Cut { at, keep: Keep::Nothing, seed: 0, disobeyed }).0);
        assert_eq!(cut(5, 0), DURABLE);
        assert_eq!(cut(5, 1), [0; 16]);
        assert_eq!(cut(5, 9), [0; 16]);
    }

    #[test]
    fn every_way_to_keep_a_part_of_the_window_is_met_and_no_other() {
        // What each of the three writes does alone and together, in both orders: sectors 0, 1, 2 and 8.
        let seen = |keep: Keep| {
            let mut cutter = story();
            let mut seen: Vec<[u8; 4]> = (0..400)
                .map(|seed| {
                    let (image, lost) = cutter.cut(&Cut { at: 5, keep, seed, disobeyed: 0 });
                    let found = sectors(&image);
                    assert_eq!((found[3], lost.window), (1, 3), "what was durable is there");
                    [found[0], found[1], found[2], found[8]]
                })
                .collect();
            seen.sort_unstable();
            seen.dedup();
            seen
        };
        let (none, first, second, both) = ([1, 1, 1], [2, 2, 1], [1, 3, 3], [2, 3, 3]);
        let with = |found: [u8; 3], last| [found[0], found[1], found[2], last];
        assert_eq!(seen(Keep::Beginning), [with(none, 0), with(first, 0), with(both, 0)]);
        assert_eq!(seen(Keep::AllButOne), [with(second, 4), with(first, 4), with(both, 0)]);
        assert_eq!(seen(Keep::OnlyOne), [with(none, 4), with(second, 0), with(first, 0)]);
        let mut some: Vec<[u8; 4]> =
            [none, first, second, both].iter().flat_map(|found| [with(*found, 0), with(*found, 4)]).collect();
        some.sort_unstable();
        assert_eq!(seen(Keep::Some), some);
        // The other order shows the first write where both overlap.
        some.extend([with([2, 2, 3], 0), with([2, 2, 3], 4)]);
        some.sort_unstable();
        assert_eq!(seen(Keep::Shuffled), some);
    }

    #[test]
    fn an_order_counts_as_changed_only_where_writes_overlap() {
        let mut cutter = story();
        for seed in 0..200 {
            let (image, lost) = cutter.cut(&Cut { at: 5, keep: Keep::Shuffled, seed, disobeyed: 0 });
            let found = sectors(&image);
            assert_eq!(lost.overtaken, u64::from(found[..3] == [2, 2, 3]), "seed {seed}: {found:?}");
        }
    }

    #[test]
    fn a_torn_write_keeps_some_of_its_sectors_and_every_one_of_them_can_be_kept_or_lost() {
        let mut cutter = Cutter::new(recorded(&[(0, 1, 8), (0, 0, 0), (0, 2, 8)]));
        let mut patterns = std::collections::BTreeSet::new();
        for seed in 0..2000 {
            let (image, lost) = cutter.cut(&Cut { at: 3, keep: Keep::Torn, seed, disobeyed: 0 });
            let found = sectors(&image);
            assert!(found[..8].contains(&1) && found[..8].contains(&2), "seed {seed}: {found:?}");
            assert_eq!(lost, Lost { window: 1, dropped: 0, torn: 1, overtaken: 0 });
            patterns.insert(found);
        }
        for sector in 0..8 {
            for byte in [1, 2] {
                assert!(patterns.iter().any(|found| found[sector] == byte), "sector {sector} is never {byte}");
            }
        }
        assert!(patterns.len() > 100, "{} ways to tear it", patterns.len());
    }

    #[test]
    fn one_sector_cannot_be_torn() {
        let mut cutter = Cutter::new(recorded(&[(0, 2, 1)]));
        let (image, lost) = cutter.cut(&Cut { at: 1, keep: Keep::Torn, seed: 1, disobeyed: 0 });
        assert_eq!((sectors(&image)[0], lost), (0, Lost { window: 1, dropped: 1, ..Lost::default() }));
    }

    #[test]
    fn cuts_in_any_order_give_what_a_fresh_cutter_gives() {
        let records: Vec<_> = (0..60).map(|n| (n % 14, n as u8 + 1, usize::from(n % 5 != 4) * 2)).collect();
        let mut cutter = Cutter::new(recorded(&records));
        let mut dice = Seeded::new(3);
        for seed in 0..300 {
            let keep = Keep::ALL[dice.below(8) as usize];
            let cut = Cut { at: dice.below(61) as usize, keep, seed, disobeyed: dice.below(3) as usize };
            let (image, lost) = cutter.cut(&cut);
            let (fresh, also) = Cutter::new(recorded(&records)).cut(&cut);
            assert_eq!((sectors(&image), lost), (sectors(&fresh), also), "{cut:?}");
        }
    }
}

//! What was done and seen, counted: a driver that never lost anything has tested nothing.

use std::collections::BTreeMap;

use serde::Serialize;

use super::cut::{Keep, Lost};
use super::recording::Counts;
use crate::torture::process::Verdict;

/// What was done and seen.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Tally {
    /// Times that a store at work was recorded.
    pub recordings: u64,
    /// Children that were at work in these; those that another one followed were killed.
    pub children: u64,
    /// What the disk was asked in these.
    pub recorded: Counts,
    /// Losses of power, by what was kept of the writes that were not flushed.
    pub cuts: BTreeMap<Keep, u64>,
    /// Those of them in which something was lost.
    pub lossy: u64,
    /// Those that came while a store was being opened or made, or had been a moment ago.
    pub in_recovery: u64,
    /// Writes that were lost.
    pub dropped_writes: u64,
    /// Writes that were kept in part.
    pub torn_writes: u64,
    /// Writes that landed before an earlier one of the same place.
    pub overtaken_writes: u64,
    /// Disks on which ext4 had lost its own superblock, and that its checker mended.
    pub mended: u64,
    /// Stores that were opened and judged.
    pub judged: u64,
    /// Those in which recovery cut a torn tail off.
    pub torn_tails: u64,
    /// Acknowledged batches that were found.
    pub acknowledged: u64,
    /// Batches that were acknowledged before they were durable, and lost.
    pub given_up: u64,
    /// Batches that nobody was told about, and that were there.
    pub doubtful_kept: u64,
    /// Batches that nobody was told about, and that were not there.
    pub doubtful_dropped: u64,
}

impl Tally {
    /// How many losses of power there were.
    pub fn cuts(&self) -> u64 {
        self.cuts.values().sum()
    }

    pub(super) fn recorded(&mut self, counts: Counts, children: u64) {
        self.recordings += 1;
        self.children += children;
        self.recorded.writes += counts.writes;
        self.recorded.bytes += counts.bytes;
        self.recorded.flushes += counts.flushes;
    }

    pub(super) fn cut(&mut self, keep: Keep, lost: Lost, in_recovery: bool) {
        *self.cuts.entry(keep).or_default() += 1;
        self.in_recovery += u64::from(in_recovery);
        self.lossy += u64::from(lost.dropped + lost.torn > 0);
        self.dropped_writes += lost.dropped;
        self.torn_writes += lost.torn;
        self.overtaken_writes += lost.overtaken;
    }

    pub(super) fn judged(&mut self, verdict: &Verdict) {
        self.judged += 1;
        self.torn_tails += u64::from(verdict.torn > 0);
        self.acknowledged += verdict.acknowledged;
        self.given_up += verdict.given_up;
        self.doubtful_kept += verdict.kept;
        self.doubtful_dropped += verdict.dropped;
    }
}

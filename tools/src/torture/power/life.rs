//! Children that append on the rig, and the moment at which each of their lines was heard.

use std::io::{self, BufRead as _, BufReader};
use std::path::Path;

use super::STORE;
use super::device::Mounted;
use super::disk::Disk;
use crate::torture::Violation;
use crate::torture::process::said::Said;
use crate::torture::process::{Arrival, Ledger, writer};

/// What the parent heard of the children that worked on one recording.
#[derive(Debug)]
pub(super) struct Lives {
    /// The last line before these lives.
    before: Arrival,
    /// For each line: how many records there were when it had been heard.
    heard: Vec<(usize, Arrival)>,
    /// For each child: how many records there were when it was started, and when it had the store open.
    pub(super) opened: Vec<(usize, usize)>,
    /// The lines, for whoever wants to see what led to a finding.
    pub(super) lines: Vec<(usize, String)>,
}

/// Which child it is.
#[derive(Clone, Copy, Debug)]
pub(super) struct Child<'a> {
    /// The binary to run.
    pub(super) exe: &'a Path,
    pub(super) seed: u64,
    /// Which life of the store.
    pub(super) number: u32,
    /// How many times each of its threads appends.
    pub(super) batches: u32,
    /// Behind how many of its lines it is killed, if it gets so far.
    pub(super) killed_behind: Option<u64>,
}

impl Lives {
    /// Nothing has been heard yet beside what is in the ledger.
    pub(super) fn new(ledger: &Ledger) -> Lives {
        Lives { before: ledger.arrived(), heard: Vec::new(), opened: Vec::new(), lines: Vec::new() }
    }

    /// Runs a child to its end. What it is told is written into the ledger.
    pub(super) fn live(
        &mut self,
        child: Child<'_>,
        mounted: &Mounted,
        disk: &mut Disk,
        ledger: &mut Ledger,
    ) -> io::Result<Result<(), Violation>> {
        let store = mounted.path_for_children().join(STORE);
        let begun = disk.stamp()?.records;
        let mut process = writer(child.exe, &store, child.seed, child.number, child.batches).spawn()?;
        let output = process.stdout.take().ok_or_else(|| io::Error::other("the child has no output"))?;
        ledger.begin_life(child.number, false);
        let mut broken = None;
        for (count, line) in (1..).zip(BufReader::new(output).lines()) {
            let line = line?;
            // What the disk had been asked before this is at least what the child's word rests on.
            let records = disk.stamp()?.records;
            let Some(said) = Said::parse(&line) else { continue };
            if matches!(said, Said::Opened { .. }) {
                self.opened.push((begun, records));
            }
            match ledger.take(&said) {
                Ok(arrival) => self.heard.push((records, arrival)),
                Err(violation) => broken = broken.or(Some(violation)),
            }
            self.lines.push((records, line));
            if child.killed_behind == Some(count) {
                process.kill()?;
            }
        }
        process.wait()?;
        Ok(broken.map_or(Ok(()), Err))
    }

    /// The last line that had been heard when the disk had come this far.
    pub(super) fn heard_before(&self, records: usize) -> Arrival {
        let count = self.heard.partition_point(|(stamp, _)| *stamp <= records);
        count.checked_sub(1).map_or(self.before, |last| self.heard[last].1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_counts_as_heard_only_when_the_cut_is_not_before_its_stamp() {
        let heard = vec![(3, Arrival(8)), (3, Arrival(9)), (7, Arrival(10))];
        let lives = Lives { before: Arrival(7), heard, opened: Vec::new(), lines: Vec::new() };
        let at = [0, 2, 3, 6, 7, 99].map(|records| lives.heard_before(records).0);
        assert_eq!(at, [7, 7, 9, 9, 10, 10]);
    }
}

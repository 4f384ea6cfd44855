//! A child that appends on the rig, and the moment at which each of its lines was heard.

use std::io::{self, BufRead as _, BufReader};
use std::path::Path;

use super::STORE;
use super::device::Mounted;
use super::disk::Disk;
use crate::torture::Violation;
use crate::torture::process::said::Said;
use crate::torture::process::{Arrival, Ledger, writer};

/// What the parent heard of one child.
#[derive(Debug)]
pub(super) struct Life {
    /// The last line before this life.
    before: Arrival,
    /// For each line: how many records there were when it had been heard.
    heard: Vec<(usize, Arrival)>,
    /// How many there were when the store was open.
    pub(super) opened: usize,
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
}

impl Life {
    /// Runs a child to its end. What it is told is written into the ledger.
    pub(super) fn live(
        child: Child<'_>,
        mounted: &Mounted,
        disk: &mut Disk,
        ledger: &mut Ledger,
    ) -> io::Result<Result<Life, Violation>> {
        let store = mounted.path_for_children().join(STORE);
        let mut process = writer(child.exe, &store, child.seed, child.number, child.batches).spawn()?;
        let output = process.stdout.take().ok_or_else(|| io::Error::other("the child has no output"))?;
        let mut life = Life { before: ledger.arrived(), heard: Vec::new(), opened: 0, lines: Vec::new() };
        ledger.begin_life(child.number, false);
        let mut broken = None;
        for line in BufReader::new(output).lines() {
            let line = line?;
            // What the disk had been asked before this is at least what the child's word rests on.
            let records = disk.stamp()?.records;
            let Some(said) = Said::parse(&line) else { continue };
            if matches!(said, Said::Opened { .. }) {
                life.opened = records;
            }
            match ledger.take(&said) {
                Ok(arrival) => life.heard.push((records, arrival)),
                Err(violation) => broken = broken.or(Some(violation)),
            }
            life.lines.push((records, line));
        }
        process.wait()?;
        Ok(broken.map_or(Ok(life), Err))
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
        let life = Life { before: Arrival(7), heard, opened: 3, lines: Vec::new() };
        let at = [0, 2, 3, 6, 7, 99].map(|records| life.heard_before(records).0);
        assert_eq!(at, [7, 7, 9, 9, 10, 10]);
    }
}

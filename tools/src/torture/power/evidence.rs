//! What is left of a finding, for a person to look at: the disk, and everything the child had said.

use std::fmt::Write as _;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use serde::Serialize;

use super::cut::Cut;
use super::disk::Disk;
use super::life::Lives;
use crate::torture::Violation;

/// A promise that was broken.
#[derive(Clone, Debug, Serialize)]
pub struct Finding {
    /// The seed of the child.
    pub seed: u64,
    /// Where the power went. `None` when the child itself was told something that must not be.
    pub cut: Option<Cut>,
    /// What was broken.
    #[serde(serialize_with = "in_words")]
    pub violation: Violation,
    /// Where to look.
    pub evidence: Option<PathBuf>,
}

fn in_words<S: serde::Serializer>(violation: &Violation, out: S) -> Result<S::Ok, S::Error> {
    out.collect_str(violation)
}

impl Finding {
    pub(super) fn without_evidence(seed: u64, violation: Violation) -> Finding {
        Finding { seed, cut: None, violation, evidence: None }
    }
}

/// Writes into `dir` the disk as it is, which is as the loss of power left it, and what led to that.
pub(super) fn keep(
    dir: &Path,
    disk: &mut Disk,
    lives: &Lives,
    seed: u64,
    cut: Cut,
    violation: &Violation,
) -> io::Result<()> {
    fs::create_dir_all(dir)?;
    let mut text = format!(
        "{violation}\n\nseed {seed}\n{cut:?}\n\n\
         disk.img is the disk after the loss of power, before anybody has looked:\n  \
         mount -o loop disk.img /mnt && annals verify /mnt/store\n\n\
         What the writer said, and how many records there were when it had been heard:\n"
    );
    for (records, line) in &lives.lines {
        _ = writeln!(text, "{records:>8} {line}");
    }
    fs::write(dir.join("finding.txt"), text)?;
    // The disk is another process, which may be at home elsewhere.
    disk.save(&fs::canonicalize(dir)?.join("disk.img"))
}

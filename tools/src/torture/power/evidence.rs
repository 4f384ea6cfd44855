//! What is left of a finding, for a person to look at: the disk, and everything the child had said.

use std::fmt::Write as _;
use std::fs;
use std::io;
use std::path::PathBuf;

use serde::Serialize;

use super::cut::Cut;
use super::disk::Disk;
use super::life::Lives;
use crate::torture::Violation;

/// A promise that was broken.
#[derive(Clone, Debug, Serialize)]
pub struct Finding {
    /// The seed of the children.
    pub seed: u64,
    /// The last time that the power went before it was seen. `None` when it had not gone yet.
    pub cut: Option<Cut>,
    /// What was broken.
    #[serde(serialize_with = "in_words")]
    pub violation: Violation,
    /// Where to look.
    pub evidence: PathBuf,
}

fn in_words<S: serde::Serializer>(violation: &Violation, out: S) -> Result<S::Ok, S::Error> {
    out.collect_str(violation)
}

impl Finding {
    /// Writes into its directory the disk as it is, and what led to that.
    pub(super) fn keep(&self, disk: &mut Disk, lives: &Lives) -> io::Result<()> {
        fs::create_dir_all(&self.evidence)?;
        let cut = self.cut.map_or("the power had not gone yet".to_owned(), |cut| format!("{cut:?}"));
        let mut text = format!(
            "{}\n\nseed {}\n{cut}\n\n\
             disk.img is the disk after that, before the store was judged; when it was a writer that was told\n\
             something that must not be, it is the disk after the last line below:\n  \
             mount -o loop disk.img /mnt && annals verify /mnt/store\n\n\
             What the writers said, and how many records there were when it had been heard:\n",
            self.violation, self.seed
        );
        for (records, line) in &lives.lines {
            _ = writeln!(text, "{records:>8} {line}");
        }
        fs::write(self.evidence.join("finding.txt"), text)?;
        // The disk is another process, which may be at home elsewhere.
        disk.save(&fs::canonicalize(&self.evidence)?.join("disk.img"))
    }
}

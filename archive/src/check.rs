//! Whether an archive is whole: every object against its manifest, and every manifest against the one before.

use std::path::Path;

use annals::{LogId, Position};
use annals_codec::{FloorHeader, SegmentNumber};

use crate::error::ArchiveError;
use crate::local::Local;
use crate::remote::Listed;
use crate::{Archive, judge, names};

/// What was found of an archive.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct ArchiveReport {
    /// The log.
    pub log: LogId,
    /// How many segments are whole.
    pub segments: u64,
    /// How many bytes these have.
    pub bytes: u64,
    /// How many events these hold.
    pub events: u64,
    /// The position of the last event before the archive's oldest.
    pub base: Position,
    /// The position of its last event.
    pub last: Position,
    /// Whether it was compared with a store, and agrees with it.
    pub anchored: bool,
    /// Objects of segments without a manifest: an archiver is at work, or was interrupted, or the manifest is gone.
    pub unfinished: Vec<String>,
    /// What is wrong.
    pub findings: Vec<Finding>,
}

impl ArchiveReport {
    /// Whether nothing is wrong.
    pub fn is_clean(&self) -> bool {
        self.findings.is_empty()
    }
}

/// One thing that is wrong with an archive.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct Finding {
    /// The segment that it is about.
    pub segment: SegmentNumber,
    /// The first position that cannot be had, or not be trusted.
    pub position: Position,
    /// What is wrong.
    pub message: String,
}

impl Archive {
    /// Reads everything that is archived of a log again: each object has to have the digest in its manifest, be a whole
    /// segment with every checksum, batch and hash right, and go on from the one before. With `dir`, the store there has
    /// to agree with all that is archived, and nothing may lie between.
    ///
    /// `progress` is called with the bytes done and those to do.
    ///
    /// # Errors
    ///
    /// [`ArchiveError::OtherLog`], [`ArchiveError::NoStore`], [`ArchiveError::Store`], [`ArchiveError::Io`]. What is wrong
    /// with the archive is no error: it is what the report is for.
    pub fn verify(
        &self,
        log: LogId,
        dir: Option<&Path>,
        mut progress: impl FnMut(u64, u64),
    ) -> Result<ArchiveReport, ArchiveError> {
        let archived = self.manifests(log)?;
        let (Some(first), Some(last)) = (archived.first(), archived.last()) else {
            return Err(ArchiveError::OtherLog { log, place: self.remote.shown().to_owned() });
        };
        let mut report = ArchiveReport {
            log,
            segments: 0,
            bytes: 0,
            events: 0,
            base: first.header.base,
            last: last.seal.last,
            anchored: false,
            unfinished: Vec::new(),
            findings: Vec::new(),
        };
        for Listed { name, .. } in self.remote.list(&names::segments(log))? {
            let number = names::parse_segment(&name).map(|(number, _)| number);
            if number.is_none_or(|number| archived.binary_search_by_key(&number, |known| known.header.number).is_err())
            {
                report.unfinished.push(self.remote.show(&format!("{}/{name}", names::segments(log))));
            }
        }
        let mut find = |segment, position, message| report.findings.push(Finding { segment, position, message });
        let number = first.header.number;
        if number > SegmentNumber::FIRST {
            let path = names::floor(log, number, report.base);
            let fault = match self.remote.get(&path)? {
                None => Some("is missing".to_owned()),
                Some(content) => FloorHeader::decode(&content, content.len() as u64)
                    .and_then(|header| header.check(&content))
                    .err()
                    .map(|fault| format!("cannot be used: {fault}")),
            };
            if let Some(fault) = fault {
                find(number, report.base, format!("{} {fault}", self.remote.show(&path)));
            }
        }
        for pair in archived.windows(2) {
            if let Err(problem) = pair[1].comes_behind(&pair[0]) {
                find(
                    pair[1].header.number,
                    pair[0].seal.last.plus(1),
                    format!("behind the segment before it: {problem}"),
                );
            }
        }
        let (all, mut done) = (archived.iter().map(|segment| segment.file_len()).sum(), 0);
        for segment in &archived {
            let header = &segment.header;
            let path = names::segment(log, header.number, header.base);
            let object = self.remote.show(&path);
            let problem = match self.remote.get(&path)? {
                None => Some(ArchiveError::Missing { object }.to_string()),
                Some(content) => {
                    let changed = |problem| ArchiveError::Changed { object: object.clone(), problem }.to_string();
                    judge::difference(&content, segment).map(changed).or_else(|| match judge::segment(&content) {
                        Err(problem) => Some(format!("{object} was damaged when it was archived: {problem}")),
                        Ok(judged) if judged != **segment => {
                            Some(changed("its manifest says something else".to_owned()))
                        }
                        Ok(_) => None,
                    })
                }
            };
            match problem {
                Some(message) => find(header.number, header.base.plus(1), message),
                None => {
                    report.segments += 1;
                    report.bytes += segment.file_len();
                    report.events += segment.seal.events;
                }
            }
            done += segment.file_len();
            progress(done, all);
        }
        if let Some(dir) = dir {
            let local = Local::new(dir)?;
            if local.log_id != log {
                return Err(ArchiveError::OtherLog { log, place: local.storage.describe("") });
            }
            match self.both(&local, false) {
                Err(ArchiveError::Clash { segment, problem, .. }) => {
                    let clashing = archived.iter().find(|archived| archived.header.number == segment);
                    find(segment, clashing.map_or(last.seal.last, |archived| archived.header.base.plus(1)), problem);
                }
                Err(gap @ ArchiveError::Gap { from, .. }) => find(last.header.number, from, gap.to_string()),
                // It is among the findings already.
                Err(ArchiveError::Hole { .. }) => {}
                agreed => {
                    for number in agreed?.redacted {
                        let message =
                            "the archive holds what was redacted in the store: archive this segment once more";
                        let known = archived.iter().find(|known| known.header.number == number);
                        let base = known.map_or(last.seal.last, |known| known.header.base);
                        find(number, base.plus(1), message.to_owned());
                    }
                }
            }
            report.anchored = report.findings.is_empty();
        }
        Ok(report)
    }
}

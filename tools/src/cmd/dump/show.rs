//! What `dump` prints: one line for each thing that stands in a segment.
//!
//! ```text
//!       offset  frame          len  epoch    position  checksum
//!         4096  EVENT          368      1           1  ok        account-1 @1 Deposited, 24 B data
//! ```

use std::fmt::Write as _;
use std::path::Path;

use annals_codec::scan::{Scan, Stop, Verdict};
use annals_codec::{Commit, Event, FrameHeader, HeaderFault, Seal, SegmentHeader};
use serde::Serialize;

use super::origin::{Origin, SeedFrom};
use crate::exit::Failure;
use crate::human::{self, bytes, count, counted, printable};
use crate::out::{BAD, BOLD, DIM, GOOD, Out};
use crate::payload::Payload;
use crate::time;

/// The frame of a row, and what all of them have in common.
#[derive(Serialize)]
pub(super) struct Row<'a> {
    /// Where it begins, in bytes from the start of the file.
    pub(super) offset: u64,
    /// `event`, `commit`, `seal`, …
    pub(super) frame: &'static str,
    /// How long it is, in bytes, as it says or as it was found to be.
    pub(super) len: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) epoch: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) position: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) checksum: Option<&'static str>,
    /// What is wrong with it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) fault: Option<String>,
    #[serde(flatten)]
    pub(super) holds: Holds<'a>,
}

/// What only some rows have.
#[derive(Serialize)]
#[serde(untagged)]
pub(super) enum Holds<'a> {
    Header {
        log_id: String,
        segment: u64,
        base: u64,
        created_at: String,
        predecessor_len: u64,
        chain: u32,
        #[serde(skip_serializing_if = "Option::is_none")]
        hash: Option<String>,
    },
    Event {
        stream: &'a str,
        version: u64,
        r#type: &'a str,
        id: String,
        recorded_at: String,
        #[serde(skip_serializing_if = "Option::is_none")]
        time: Option<String>,
        data_len: usize,
        metadata_len: Option<usize>,
        #[serde(skip_serializing_if = "std::ops::Not::not")]
        redacted: bool,
        #[serde(flatten)]
        payload: Option<Payload<'a>>,
    },
    Commit {
        /// Whether the batch exists.
        exists: bool,
        count: u32,
        first: u64,
        last: u64,
        durable_offset: u64,
        batch_bytes: u32,
        chain: u32,
        #[serde(skip_serializing_if = "Option::is_none")]
        hash: Option<String>,
        #[serde(skip_serializing_if = "Option::is_none")]
        key: Option<&'a str>,
        #[serde(skip_serializing_if = "Option::is_none")]
        source: Option<&'a str>,
        #[serde(skip_serializing_if = "Option::is_none")]
        upstream: Option<u64>,
    },
    Seal {
        events: u64,
        batches: u64,
        chain: u32,
        min_recorded_at: String,
        max_recorded_at: String,
    },
    Index {
        entries: u64,
    },
    Nothing {},
}

impl<'a> Row<'a> {
    /// A row for something that is not a frame.
    pub(super) fn plain(offset: u64, frame: &'static str, len: u64) -> Row<'a> {
        Row { offset, frame, len, epoch: None, position: None, checksum: None, fault: None, holds: Holds::Nothing {} }
    }

    /// A row for a frame with a good checksum.
    pub(super) fn frame(offset: u64, frame: &'static str, header: &FrameHeader, holds: Holds<'a>) -> Row<'a> {
        Row {
            offset,
            frame,
            len: u64::from(header.len),
            epoch: Some(u32::from(header.epoch)),
            position: Some(header.position.get()),
            checksum: Some("ok"),
            fault: None,
            holds,
        }
    }

    /// The same, with something wrong with it.
    pub(super) fn with_fault(mut self, fault: Option<String>) -> Row<'a> {
        self.fault = fault;
        self
    }

    pub(super) fn print(&self, out: &mut Out) -> Result<(), Failure> {
        if out.is_json() {
            return out.object(self);
        }
        let number = |number: Option<u64>| number.map_or_else(String::new, |number| number.to_string());
        let detail = self.holds.detail();
        let said = match &self.fault {
            Some(fault) if detail.is_empty() => format!("{BAD}{}{BAD:#}", printable(fault)),
            Some(fault) => format!("{detail}: {BAD}{}{BAD:#}", printable(fault)),
            None => detail,
        };
        let line = format!(
            "{:>12}  {:<8} {:>9}  {:>5}  {:>12}  {:<8}  {said}",
            self.offset,
            self.frame.to_uppercase(),
            self.len,
            number(self.epoch.map(u64::from)),
            number(self.position),
            self.checksum.unwrap_or_default(),
        );
        out.say(format_args!("{}", line.trim_end()))?;
        if let Holds::Event { payload: Some(payload), .. } = &self.holds {
            for (name, shown) in payload.shown() {
                out.say(format_args!("{:>14}{DIM}{name}{DIM:#} {shown}", ""))?;
            }
        }
        Ok(())
    }
}

impl<'a> Holds<'a> {
    pub(super) fn header(header: &SegmentHeader) -> Holds<'a> {
        Holds::Header {
            log_id: header.log_id.to_string(),
            segment: header.number.get(),
            base: header.base.get(),
            created_at: time::show(header.created_at),
            predecessor_len: header.predecessor_len,
            chain: header.chain,
            hash: header.chain_hash.map(|hash| hash.to_string()),
        }
    }

    pub(super) fn event(event: &Event<'a>, payload: bool) -> Holds<'a> {
        Holds::Event {
            stream: event.stream,
            version: event.version.get(),
            r#type: event.event_type,
            id: event.id.to_string(),
            recorded_at: time::show(event.recorded_at),
            time: event.occurred_at.map(time::show),
            data_len: event.data.len(),
            metadata_len: event.metadata.map(<[u8]>::len),
            redacted: event.redacted,
            payload: (payload && !event.redacted).then(|| Payload::of(event)),
        }
    }

    pub(super) fn commit(commit: &Commit<'a>, exists: bool) -> Holds<'a> {
        Holds::Commit {
            exists,
            count: commit.count,
            first: commit.first.get(),
            last: commit.last.get(),
            durable_offset: commit.durable_offset,
            batch_bytes: commit.batch_bytes,
            chain: commit.chain,
            hash: commit.hash.map(|hash| hash.to_string()),
            key: commit.key,
            source: commit.tracking.map(|tracking| tracking.source),
            upstream: commit.tracking.map(|tracking| tracking.upstream),
        }
    }

    pub(super) fn seal(seal: &Seal) -> Holds<'a> {
        Holds::Seal {
            events: seal.events,
            batches: seal.batches,
            chain: seal.chain,
            min_recorded_at: time::show(seal.min_recorded_at),
            max_recorded_at: time::show(seal.max_recorded_at),
        }
    }

    fn detail(&self) -> String {
        match self {
            Holds::Header { log_id, segment, base, created_at, .. } => {
                format!("segment {segment} of log {log_id}, after position {base}, begun {created_at}")
            }
            Holds::Event { stream, version, r#type, redacted: true, .. } => {
                format!("{} @{version} {}, redacted", printable(stream), printable(r#type))
            }
            Holds::Event { stream, version, r#type, data_len, .. } => {
                format!("{} @{version} {}, {} of data", printable(stream), printable(r#type), bytes(*data_len as u64))
            }
            Holds::Commit { exists, count, first, last, durable_offset, key, source, upstream, .. } => {
                let mut said = match count {
                    0 => "a batch without events".to_owned(),
                    1 => format!("a batch of 1 event, at {first}"),
                    _ => format!("a batch of {count} events, {first} to {last}"),
                };
                if let (Some(source), Some(upstream)) = (source, upstream) {
                    _ = write!(said, ", from {} up to {upstream}", printable(source));
                }
                if let Some(key) = key {
                    _ = write!(said, ", key {}", printable(key));
                }
                let fate = if *exists { "exists" } else { "does not exist" };
                _ = write!(said, ", durable to {durable_offset}, {fate}");
                said
            }
            Holds::Seal { events, batches, min_recorded_at, max_recorded_at, .. } => format!(
                "{} in {}, recorded {min_recorded_at} to {max_recorded_at}",
                counted(*events, "event"),
                counted(*batches, "batch")
            ),
            Holds::Index { entries } => format!("{} entries", count(*entries)),
            Holds::Nothing {} => String::new(),
        }
    }
}

/// The line that names a file.
pub(super) fn file(out: &mut Out, path: &Path, len: u64) -> Result<(), Failure> {
    if out.is_json() {
        #[derive(Serialize)]
        struct Title {
            file: String,
            bytes: u64,
        }
        return out.object(&Title { file: path.display().to_string(), bytes: len });
    }
    out.say(format_args!("{BOLD}{}{BOLD:#}  {}", printable(&path.display().to_string()), bytes(len)))
}

/// The lines above the frames of a segment.
pub(super) fn title(out: &mut Out, path: &Path, len: u64) -> Result<(), Failure> {
    file(out, path, len)?;
    if out.is_json() {
        return Ok(());
    }
    out.say(format_args!(
        "{DIM}{:>12}  {:<8} {:>9}  {:>5}  {:>12}  checksum{DIM:#}",
        "offset", "frame", "len", "epoch", "position"
    ))
}

/// The row of a header, good or hurt.
pub(super) fn header_row(header: &Result<SegmentHeader, HeaderFault>, len: u64) -> Row<'static> {
    let mut row = Row::plain(0, "header", len);
    match header {
        Ok(header) => {
            row.epoch = Some(header.epoch.get());
            row.position = Some(header.base.get());
            row.checksum = Some("ok");
            row.holds = Holds::header(header);
        }
        Err(fault) => {
            row.checksum = Some("BAD");
            row.fault = Some(fault.to_string());
        }
    }
    row
}

/// The judgement over one file.
#[derive(Serialize)]
pub(super) struct Judgement {
    file: String,
    verdict: &'static str,
    events: u64,
    batches: u64,
    last: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    sealed: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    offset: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    evidence: Option<String>,
}

impl Judgement {
    pub(super) fn of(path: &Path, origin: &Origin, scan: &Scan) -> Judgement {
        let sealed = matches!(scan.stop, Stop::Sealed(_));
        let (verdict, evidence) = if let Err(fault) = &origin.header {
            let from = origin.seed.map_or("nowhere", |(_, from): (_, SeedFrom)| from.shown());
            ("damaged", Some(format!("{fault}; its frames were checked with the seed from {from}")))
        } else {
            match scan.verdict(origin.watermark) {
                Verdict::Damaged { durable_offset } => {
                    let witness = match &scan.stop {
                        Stop::Bad(bad) if bad.later_durable.is_some() => {
                            format!("{} behind it say", counted(bad.later_commits, "commit marker"))
                        }
                        _ => "the WATERMARK says".to_owned(),
                    };
                    let witness = witness.replace("1 commit marker behind it say", "a commit marker behind it says");
                    ("damaged", Some(format!("{witness} that everything up to offset {durable_offset} was durable")))
                }
                Verdict::Clean | Verdict::Unfinished if origin.has_successor && !sealed => (
                    "damaged",
                    Some("a later segment exists, so this one was sealed and durable as a whole".to_owned()),
                ),
                Verdict::Unfinished => {
                    ("unfinished", Some("nothing says that what follows was ever acknowledged as durable".to_owned()))
                }
                Verdict::Clean => ("clean", None),
            }
        };
        let offset = match &scan.stop {
            Stop::Bad(bad) => Some(bad.at),
            Stop::End if verdict == "damaged" => Some(scan.tail.offset),
            Stop::End | Stop::Sealed(_) => None,
        };
        Judgement {
            file: path.display().to_string(),
            verdict,
            events: scan.totals.events,
            batches: scan.totals.batches,
            last: scan.tail.position.get(),
            sealed: Some(sealed),
            offset,
            evidence,
        }
    }

    /// Nothing in the file agrees with any seed: there are no frames to judge.
    pub(super) fn unreadable(path: &Path) -> Judgement {
        Judgement {
            file: path.display().to_string(),
            verdict: "damaged",
            events: 0,
            batches: 0,
            last: 0,
            sealed: None,
            offset: Some(0),
            evidence: Some("no frame in it can be read: not a segment, or one whose header is lost".to_owned()),
        }
    }

    pub(super) fn is_damaged(&self) -> bool {
        self.verdict == "damaged"
    }

    pub(super) fn print(&self, out: &mut Out) -> Result<(), Failure> {
        if out.is_json() {
            return out.object(self);
        }
        let style = if self.is_damaged() { BAD } else { GOOD };
        let mut said = format!("{style}{}{style:#}", self.verdict);
        if let Some(offset) = self.offset {
            _ = write!(said, " at offset {offset}");
        }
        if let Some(evidence) = &self.evidence {
            _ = write!(said, ": {}", printable(evidence));
        }
        let before = if self.offset.is_some() { " before that" } else { "" };
        let sealed = if self.sealed == Some(true) { ", sealed" } else { "" };
        out.say(format_args!(
            "{said}. {} in {}{before}{sealed}.\n",
            counted(self.events, "event"),
            counted(self.batches, "batch")
        ))
    }
}

/// How a stretch of bytes that is no frame is shown.
pub(super) fn stretch(from: u64, to: u64) -> String {
    format!("nothing that can be read up to offset {to} ({})", human::bytes(to - from))
}

//! What the file `floor` holds: what the log goes on from, and the streams and sources that are known.

use std::fs;
use std::io;
use std::path::Path;

use annals_codec::{FloorHeader, FloorKind, FloorSection, floor_records};
use serde::Serialize;

use super::show;
use crate::exit::Failure;
use crate::human::{count, counted, hex, printable};
use crate::out::{BAD, BOLD, GOOD, Out};
use crate::time;

#[derive(Serialize)]
struct Record<'a> {
    kind: &'static str,
    name: &'a str,
    /// Of a stream its version, of a source how far it was processed.
    value: u64,
    /// Of the stream's last event that was removed.
    position: u64,
}

#[derive(Serialize)]
struct Judgement {
    file: String,
    verdict: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    fault: Option<String>,
    #[serde(flatten)]
    says: Option<Says>,
}

#[derive(Serialize)]
struct Says {
    log_id: String,
    /// The segment that the log begins with; everything up to the position was removed.
    segment: u64,
    position: u64,
    chain: u32,
    hash: Option<String>,
    recorded_at: String,
    removed_at: String,
    streams: u64,
    sources: u64,
}

impl Says {
    fn of(header: &FloorHeader) -> Says {
        let floor = &header.floor;
        Says {
            log_id: floor.log_id.to_string(),
            segment: floor.segment.get(),
            position: floor.position.get(),
            chain: floor.chain,
            hash: floor.hash.map(|(_, hash)| hex(&hash)),
            recorded_at: time::show(floor.recorded_at),
            removed_at: time::show(floor.written_at),
            streams: header.streams,
            sources: header.sources,
        }
    }
}

/// Prints what the file holds; whether it is whole.
pub(super) fn dump(path: &Path, out: &mut Out) -> Result<bool, Failure> {
    let cannot = |error: io::Error| Failure::io(format!("cannot read {}", path.display())).because(&error);
    let content = fs::read(path).map_err(cannot)?;
    show::file(out, path, content.len() as u64)?;
    let decoded = FloorHeader::decode(&content, content.len() as u64);
    if let Ok(header) = &decoded {
        let place = header.place(FloorSection::Records);
        for record in floor_records(&content[place.start as usize..place.end as usize]).map_while(Result::ok) {
            let kind = if record.kind == FloorKind::Stream { "stream" } else { "source" };
            let position = record.position.get();
            if out.is_json() {
                out.object(&Record { kind, name: record.name, value: record.value, position })?;
            } else {
                let at =
                    if record.kind == FloorKind::Stream { format!(", at {}", count(position)) } else { String::new() };
                out.say(format_args!("  {kind} {} {}{at}", printable(record.name), count(record.value)))?;
            }
        }
    }
    let (says, fault) = match decoded {
        Ok(header) => (Some(Says::of(&header)), header.check(&content).err()),
        Err(fault) => (None, Some(fault)),
    };
    let is_whole = fault.is_none();
    let judgement = Judgement {
        file: path.display().to_string(),
        verdict: if is_whole { "clean" } else { "damaged" },
        fault: fault.map(|fault| fault.to_string()),
        says,
    };
    if out.is_json() {
        out.object(&judgement)?;
    } else {
        judgement.print(out)?;
    }
    Ok(is_whole)
}

impl Judgement {
    fn print(&self, out: &mut Out) -> Result<(), Failure> {
        if let Some(says) = &self.says {
            out.say(format_args!(
                "{BOLD}floor{BOLD:#}: everything up to position {} was removed, recorded until {}; segment {} goes on from chain {:08x}",
                count(says.position),
                says.recorded_at,
                says.segment,
                says.chain
            ))?;
            let known = (counted(says.streams, "stream"), counted(says.sources, "source"));
            out.say(format_args!("known: {}, {}; written {}", known.0, known.1, says.removed_at))?;
        }
        match &self.fault {
            None => out.say(format_args!("{GOOD}clean{GOOD:#}")),
            Some(fault) => out.say(format_args!("{BAD}damaged{BAD:#}: {fault}")),
        }
    }
}

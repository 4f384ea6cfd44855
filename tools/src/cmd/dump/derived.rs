//! What an index file, or a filter over several, holds: its parts, their checksums, and how much of what.
//!
//! ```text
//!       offset        len   entries  checksum  part
//!            0        296            ok        directory
//!          296     16,768       524  ok        Streams
//! ```
//!
//! A part whose checksum does not match is not asked; what only it knows is then unknown. Whether a
//! file is what its segments give is not asked here: `annals verify` makes it anew and compares.

use std::cmp::Reverse;
use std::fs;
use std::io;
use std::ops::Range;
use std::path::Path;

use annals_codec::index::{
    self, DIRECTORY_LEN, Directory, IndexFault, IndexIdentity, LEVEL_HEADER_LEN, Label, LevelHeader, Section, Sections,
    level_span,
};
use serde::Serialize;

use super::show;
use crate::exit::Failure;
use crate::human::{bytes, count, counted, printable};
use crate::out::{BAD, BOLD, GOOD, Out};

/// How many of the types with the most events are shown.
const TOP: usize = 10;

/// A file that is derived from segments.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Kind {
    Index,
    Filter,
}

impl Kind {
    /// What kind of derived file this is, by its first bytes, or where these are hurt by its name; `None`
    /// when it is none.
    pub(super) fn of(path: &Path, head: &[u8], len: u64) -> Option<Kind> {
        let named = |end: &str| path.extension().is_some_and(|extension| extension == end);
        if named("idx") || !matches!(Directory::decode(head, len), Err(IndexFault::Magic)) {
            return Some(Kind::Index);
        }
        let is_filter = named("flt") || !matches!(LevelHeader::decode(head, len), Err(IndexFault::Magic));
        is_filter.then_some(Kind::Filter)
    }
}

#[derive(Serialize)]
struct Part {
    offset: u64,
    #[serde(rename = "part")]
    name: String,
    len: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    entries: Option<u64>,
    checksum: &'static str,
}

#[derive(Serialize)]
struct Judgement {
    file: String,
    verdict: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    fault: Option<String>,
    #[serde(flatten)]
    holds: Option<Holds>,
}

#[derive(Serialize)]
#[serde(untagged)]
enum Holds {
    /// Of an index. What stands in a damaged part is `null`.
    Index {
        log_id: String,
        segment: u64,
        base: u64,
        segment_len: u64,
        seed: String,
        chain: u32,
        events: u32,
        streams: Option<u64>,
        types: Option<u64>,
        tags: Option<u64>,
        /// Ids in the table; those that a store made stand in runs.
        ids: Option<u64>,
        made_id_runs: Option<u64>,
        keys: Option<u64>,
        sources: Option<u64>,
        /// The types with the most events, the most first.
        top_types: Option<Vec<OfType>>,
    },
    Filter {
        log_id: String,
        level: u32,
        first_segment: u64,
        last_segment: u64,
        hashes: u64,
    },
}

#[derive(Serialize)]
struct OfType {
    r#type: String,
    events: u64,
}

/// Prints what a file holds; whether all its checksums match.
pub(super) fn dump(path: &Path, kind: Kind, out: &mut Out) -> Result<bool, Failure> {
    let cannot = |error: io::Error| Failure::io(format!("cannot read {}", path.display())).because(&error);
    let content = fs::read(path).map_err(cannot)?;
    show::file(out, path, content.len() as u64)?;
    let (parts, holds, fault) = match kind {
        Kind::Index => match Directory::decode(&content, content.len() as u64) {
            Ok(directory) => of_index(&directory, &content),
            Err(fault) => (Vec::new(), None, Some(fault)),
        },
        Kind::Filter => match LevelHeader::decode(&content, content.len() as u64) {
            Ok(header) => of_filter(&header, &content),
            Err(fault) => (Vec::new(), None, Some(fault)),
        },
    };
    let is_bad = fault.is_some() || parts.iter().any(|part| part.checksum == BAD_CHECKSUM);
    print_parts(&parts, out)?;
    let judgement = Judgement {
        file: path.display().to_string(),
        verdict: if is_bad { "damaged" } else { "clean" },
        fault: fault.map(|fault| fault.to_string()),
        holds,
    };
    if out.is_json() {
        out.object(&judgement)?;
    } else {
        judgement.print(out)?;
    }
    Ok(!is_bad)
}

const BAD_CHECKSUM: &str = "BAD";

fn checksum(is_good: bool) -> &'static str {
    if is_good { "ok" } else { BAD_CHECKSUM }
}

type Found = (Vec<Part>, Option<Holds>, Option<IndexFault>);

fn of_index(directory: &Directory, content: &[u8]) -> Found {
    let image = Image { directory, content };
    let mut parts = vec![Part {
        offset: 0,
        name: "directory".to_owned(),
        len: DIRECTORY_LEN as u64,
        entries: None,
        checksum: "ok",
    }];
    parts.extend(Section::ALL.into_iter().map(|section| {
        let Range { start, end } = directory.place(section);
        Part {
            offset: start,
            name: format!("{section:?}"),
            len: end - start,
            entries: directory.entries(section),
            checksum: checksum(image.section(section).is_ok()),
        }
    }));
    let entries = |section| image.section(section).ok().and_then(|_| directory.entries(section));
    let (mut types, mut tags) = (Vec::new(), 0);
    let labels = index::for_each_label(&image, &mut |label, events| match label {
        Label::Tag(_) => tags += 1,
        Label::Type(name) | Label::TypePrefix(name) => types.push(OfType { r#type: name.to_owned(), events }),
    });
    // A good checksum over what cannot be is not damage of this file alone, and is told as well.
    let fault = labels.as_ref().err().copied().filter(|fault| matches!(fault, IndexFault::Content { .. }));
    let labels = labels.is_ok().then_some(());
    let all_types = types.len() as u64;
    types.sort_by_key(|of_type| Reverse(of_type.events));
    types.truncate(TOP);
    let identity = directory.identity();
    let holds = Holds::Index {
        log_id: identity.log_id.to_string(),
        segment: identity.segment.get(),
        base: identity.base.get(),
        segment_len: identity.segment_len,
        seed: format!("{:08x}", identity.seed.get()),
        chain: identity.chain,
        events: identity.events,
        streams: entries(Section::Streams),
        types: labels.map(|()| all_types),
        tags: labels.map(|()| tags),
        ids: entries(Section::IdTable),
        made_id_runs: entries(Section::MadeIds),
        keys: entries(Section::KeyTable),
        sources: entries(Section::Sources),
        top_types: labels.map(|()| types),
    };
    (parts, Some(holds), fault)
}

fn of_filter(header: &LevelHeader, content: &[u8]) -> Found {
    let (_, filter) = content.split_at(LEVEL_HEADER_LEN);
    let part = |offset: usize, name: &str, len: usize, is_good: bool| Part {
        offset: offset as u64,
        name: name.to_owned(),
        len: len as u64,
        entries: None,
        checksum: checksum(is_good),
    };
    let parts = vec![
        part(0, "header", LEVEL_HEADER_LEN, true),
        part(LEVEL_HEADER_LEN, "filter", filter.len(), header.is_good(filter)),
    ];
    let (level, first) = (header.identity.level, header.identity.first.get());
    let holds = Holds::Filter {
        log_id: header.identity.log_id.to_string(),
        level,
        first_segment: first,
        last_segment: first + (level_span(level) - 1),
        hashes: header.keys,
    };
    (parts, Some(holds), None)
}

/// An index of which some parts may be damaged.
struct Image<'a> {
    directory: &'a Directory,
    content: &'a [u8],
}

impl Sections for Image<'_> {
    type Error = IndexFault;

    fn identity(&self) -> &IndexIdentity {
        self.directory.identity()
    }

    fn section(&self, section: Section) -> Result<&[u8], IndexFault> {
        let Range { start, end } = self.directory.place(section);
        let bytes = self.content.get(start as usize..end as usize);
        bytes.filter(|bytes| self.directory.is_good(section, bytes)).ok_or(IndexFault::Section { section })
    }
}

fn print_parts(parts: &[Part], out: &mut Out) -> Result<(), Failure> {
    if out.is_json() {
        return parts.iter().try_for_each(|part| out.object(part));
    }
    if parts.is_empty() {
        return Ok(());
    }
    let row = |part: &Part| {
        let entries = part.entries.map_or_else(String::new, count);
        vec![part.offset.to_string(), count(part.len), entries, part.checksum.to_owned(), part.name.clone()]
    };
    let rows: Vec<Vec<String>> = parts.iter().map(row).collect();
    out.table(&["#offset", "#len", "#entries", "checksum", "part"], &rows)
}

impl Judgement {
    fn print(&self, out: &mut Out) -> Result<(), Failure> {
        let known = |number: &Option<u64>, what: &str| match number {
            Some(number) => counted(*number, what),
            None => format!("unknown {what}s"),
        };
        match &self.holds {
            Some(Holds::Index {
                log_id, segment, base, segment_len, events, streams, types, tags, ids, made_id_runs, keys, sources,
                top_types, ..
            }) => {
                out.say(format_args!(
                    "{BOLD}the index of segment {segment}{BOLD:#} of log {log_id}, {} behind position {base} in {}:",
                    counted(u64::from(*events), "event"),
                    bytes(*segment_len)
                ))?;
                let counts = [
                    known(streams, "stream"),
                    known(types, "type"),
                    known(tags, "tag"),
                    known(ids, "given id"),
                    known(made_id_runs, "run of made ids"),
                    known(keys, "key"),
                    known(sources, "source"),
                ];
                out.say(format_args!("{}", counts.join(", ")))?;
                for OfType { r#type, events } in top_types.iter().flatten() {
                    out.say(format_args!("{:>12}  {}", count(*events), printable(r#type)))?;
                }
            }
            Some(Holds::Filter { log_id, level, first_segment, last_segment, hashes }) => out.say(format_args!(
                "{BOLD}the filter over segments {first_segment} to {last_segment}{BOLD:#} of log {log_id}, level {level}: \
                 room for {} hashes",
                count(*hashes)
            ))?,
            None => {}
        }
        let style = if self.verdict == "clean" { GOOD } else { BAD };
        let fault = self.fault.as_ref().map_or_else(String::new, |fault| format!(": {fault}"));
        let next = if self.verdict == "clean" { "" } else { "; it can be deleted, and is made anew" };
        out.say(format_args!("{style}{}{style:#}{fault}{next}.\n", self.verdict))
    }
}

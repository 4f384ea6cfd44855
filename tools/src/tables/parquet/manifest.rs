//! `_annals_index.json`: what the table is, in one file that is replaced as a whole.
//!
//! ```text
//! {"made_by":"annals index","version":2,"log_id":"5ebc…","position":262200,"since":0,"mark":"XryDLm…",
//!  "views":[{"type":"Paid","view":"Paid","columns":{"amount":"integer"}}],
//!  "quarantine":[{"from":21,"to":25,"reason":"damaged at …","has_row":false}],
//!  "files":[{"day":"2026-11-22","first":1,"last":50000,"rows":50000}]}
//! ```
//!
//! - `mark` is what identifies the history of the log up to `position` (FORMAT.md "Mark"), in base64.
//! - Behind `position` there may be positions in quarantine, and no row.
//! - `views` are what the registered schemas up to `position` say, in the order of the types; `_annals_views.sql` is made of them.
//! - `files` are in the order of their positions, and the last one ends at `position`.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use annals::{Mark, Position};
use serde::{Deserialize, Serialize};

use super::views::View;
use crate::payload::{base64, from_base64};

/// The name of the file. Programs that read folders of tables pass over what begins with `_`.
pub(super) const NAME: &str = "_annals_index.json";

const MADE_BY: &str = "annals index";

/// The version of what is in the folder.
pub(super) const VERSION: i64 = 2;

/// How the name of a file of rows ends.
const ENDS: &str = ".parquet";

/// What a table is.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Manifest {
    pub(super) mark: Mark,
    /// Behind which position it begins.
    pub(super) since: Position,
    /// Whether it is one that is to take the place of another, and is not whole.
    pub(super) is_building: bool,
    pub(super) views: Vec<View>,
    pub(super) quarantine: BTreeMap<Position, Bad>,
    pub(super) files: Vec<RowFile>,
}

/// What is wrong with an event.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Bad {
    pub(super) reason: String,
    /// Whether it could be read.
    pub(super) has_row: bool,
}

/// A file of rows.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub(super) struct RowFile {
    /// The day on which they were recorded, in UTC.
    pub(super) day: String,
    first: u64,
    last: u64,
    pub(super) rows: u64,
}

impl RowFile {
    pub(super) fn new(day: String, first: Position, last: Position, rows: u64) -> RowFile {
        RowFile { day, first: first.get(), last: last.get(), rows }
    }

    pub(super) fn first(&self) -> Position {
        Position::new(self.first)
    }

    pub(super) fn last(&self) -> Position {
        Position::new(self.last)
    }

    /// Where it lies in the folder.
    pub(super) fn path(&self) -> PathBuf {
        path_of(&self.day, self.first())
    }
}

/// Where the rows of a day from a position on lie in the folder.
pub(super) fn path_of(day: &str, first: Position) -> PathBuf {
    Path::new(&format!("day={day}")).join(format!("{:020}{ENDS}", first.get()))
}

/// Whether a file can be one of rows, by its name.
pub(super) fn is_name_of_rows(name: &str) -> bool {
    let digits = name.strip_suffix(ENDS);
    digits.is_some_and(|digits| digits.len() == 20 && digits.bytes().all(|byte| byte.is_ascii_digit()))
}

/// Why something is no manifest of this version.
#[derive(Debug)]
pub(super) enum NotOurs {
    /// It is of another one.
    Version(i64),
    /// It is not as it was written.
    Damaged(String),
}

#[derive(Deserialize, Serialize)]
struct Written {
    made_by: String,
    version: i64,
    log_id: String,
    position: u64,
    since: u64,
    mark: String,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    building: bool,
    views: Vec<View>,
    quarantine: Vec<Range>,
    files: Vec<RowFile>,
}

/// Positions one after the other of which the same is wrong.
#[derive(Deserialize, Serialize)]
struct Range {
    from: u64,
    to: u64,
    reason: String,
    has_row: bool,
}

#[derive(Deserialize)]
struct Header {
    made_by: String,
    version: i64,
}

impl Manifest {
    /// That of a table that has nothing in it.
    pub(super) fn new(mark: Mark, is_building: bool) -> Manifest {
        let since = mark.position;
        Manifest { mark, since, is_building, views: Vec::new(), quarantine: BTreeMap::new(), files: Vec::new() }
    }

    pub(super) fn encode(&self) -> Result<Vec<u8>, serde_json::Error> {
        let mut quarantine: Vec<Range> = Vec::new();
        for (position, bad) in &self.quarantine {
            match quarantine.last_mut() {
                Some(range)
                    if range.to + 1 == position.get() && range.reason == bad.reason && range.has_row == bad.has_row =>
                {
                    range.to += 1;
                }
                _ => quarantine.push(Range {
                    from: position.get(),
                    to: position.get(),
                    reason: bad.reason.clone(),
                    has_row: bad.has_row,
                }),
            }
        }
        serde_json::to_vec(&Written {
            made_by: MADE_BY.to_owned(),
            version: VERSION,
            log_id: self.mark.log_id.to_string(),
            position: self.mark.position.get(),
            since: self.since.get(),
            mark: base64(&self.mark.encode()),
            building: self.is_building,
            views: self.views.clone(),
            quarantine,
            files: self.files.clone(),
        })
    }

    pub(super) fn decode(bytes: &[u8]) -> Result<Manifest, NotOurs> {
        let damaged = |problem: &str| NotOurs::Damaged(format!("{NAME}: {problem}"));
        let unreadable = |error: serde_json::Error| NotOurs::Damaged(format!("{NAME}: {error}"));
        let header: Header = serde_json::from_slice(bytes).map_err(unreadable)?;
        if header.made_by != MADE_BY {
            return Err(damaged("it does not say that this program has made it"));
        }
        if header.version != VERSION {
            return Err(NotOurs::Version(header.version));
        }
        let written: Written = serde_json::from_slice(bytes).map_err(unreadable)?;
        let mark = from_base64(&written.mark).ok().filter(|bytes| bytes.len() == Mark::LEN);
        let mark = mark.and_then(|bytes| Mark::decode(&bytes)).filter(|mark| {
            mark.log_id.to_string() == written.log_id && mark.position == Position::new(written.position)
        });
        let mark = mark.ok_or_else(|| damaged("what it says of its position cannot be read"))?;
        let mut end = written.since;
        for file in &written.files {
            if file.first <= end || file.last < file.first {
                return Err(damaged("its files do not come one after the other"));
            }
            end = file.last;
        }
        if end != written.position {
            let position = written.position;
            return Err(damaged(&format!(
                "it says that it has come to position {position}, and its rows end at {end}"
            )));
        }
        let mut quarantine = BTreeMap::new();
        for Range { from, to, reason, has_row } in &written.quarantine {
            let bad = || Bad { reason: reason.clone(), has_row: *has_row };
            quarantine.extend((*from..=*to).map(|at| (Position::new(at), bad())));
        }
        let since = Position::new(written.since);
        let Written { building: is_building, views, files, .. } = written;
        Ok(Manifest { mark, since, is_building, views, quarantine, files })
    }

    /// The file that has the row of a position, if there is one.
    pub(super) fn file_of(&self, position: Position) -> Option<&RowFile> {
        self.file_before(position).filter(|file| position <= file.last())
    }

    /// The last file that begins at a position or before it.
    pub(super) fn file_before(&self, position: Position) -> Option<&RowFile> {
        let behind = self.files.partition_point(|file| file.first() <= position);
        behind.checked_sub(1).map(|at| &self.files[at])
    }

    /// Puts a file in its place among them, or in that of the one with the same first position.
    pub(super) fn put(&mut self, file: RowFile) {
        match self.files.binary_search_by_key(&file.first, |there| there.first) {
            Ok(at) => self.files[at] = file,
            Err(at) => self.files.insert(at, file),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::views;
    use super::*;
    use crate::tables::types::Types;
    use annals::LogId;
    use annals_schema::Columns;

    fn manifest() -> Manifest {
        let mark = Mark { log_id: LogId::from_bytes([7; 16]), position: Position::new(60), chain: 5, hash: None };
        let file = |day: &str, first, last| {
            RowFile::new(day.to_owned(), Position::new(first), Position::new(last), last - first + 1)
        };
        let bad = |reason: &str, has_row| Bad { reason: reason.to_owned(), has_row };
        let mut types = Types::default();
        types.join("Paid", &Columns::of(r#"{"properties": {"amount": {"type": "integer"}}}"#).unwrap());
        let quarantine = [(21, bad("x", false)), (22, bad("x", false)), (23, bad("x", true)), (30, bad("y", false))];
        Manifest {
            mark,
            since: Position::new(4),
            is_building: true,
            views: views::next(&types, &[]),
            quarantine: quarantine.into_iter().map(|(at, bad)| (Position::new(at), bad)).collect(),
            files: vec![file("2026-01-02", 5, 20), file("2026-01-02", 26, 40), file("2026-01-03", 41, 60)],
        }
    }

    #[test]
    fn it_reads_back_as_it_was_and_what_is_alike_in_quarantine_is_said_once() {
        let written = manifest().encode().unwrap();
        assert_eq!(Manifest::decode(&written).unwrap(), manifest());
        let text = String::from_utf8(written).unwrap();
        assert!(text.contains(r#"{"from":21,"to":22,"reason":"x","has_row":false}"#), "{text}");
        // A view that is asked in `DuckDB` looks for these bytes.
        assert!(text.contains(r#"{"type":"Paid","view":"Paid","columns":{"amount":"integer"}}"#), "{text}");
    }

    #[test]
    fn what_is_not_as_it_was_written_is_damage_and_another_version_is_named() {
        let text = String::from_utf8(manifest().encode().unwrap()).unwrap();
        let told = |from: &str, to: &str| {
            assert!(text.contains(from), "{from}: {text}");
            match Manifest::decode(text.replacen(from, to, 1).as_bytes()) {
                Err(NotOurs::Damaged(problem)) => problem,
                other => panic!("{from}: {other:?}"),
            }
        };
        assert!(told("\"position\":60", "\"position\":61").contains("what it says of its position cannot be read"));
        assert!(told("\"log_id\":\"07", "\"log_id\":\"08").contains("what it says of its position cannot be read"));
        assert!(told("\"last\":60", "\"last\":59").contains("it has come to position 60, and its rows end at 59"));
        assert!(told("\"first\":26", "\"first\":20").contains("one after the other"));
        assert!(told("annals index", "somebody").contains("it does not say"));
        assert!(told("{", "").contains("_annals_index.json: "));
        let version = text.replace("\"version\":2", "\"version\":3");
        assert!(matches!(Manifest::decode(version.as_bytes()), Err(NotOurs::Version(3))));
    }

    #[test]
    fn a_position_is_in_the_file_that_begins_before_it_if_it_reaches_so_far() {
        let manifest = manifest();
        let first = |file: Option<&RowFile>| file.map(|file| file.first().get());
        let at = |position| {
            (first(manifest.file_of(Position::new(position))), first(manifest.file_before(Position::new(position))))
        };
        assert_eq!(at(4), (None, None));
        assert_eq!(at(5), (Some(5), Some(5)));
        assert_eq!(at(23), (None, Some(5)));
        assert_eq!(at(60), (Some(41), Some(41)));
        assert!(is_name_of_rows("00000000000000000041.parquet"));
        for name in [
            "41.parquet",
            "00000000000000000041.parquet.tmp",
            "_00000000000000000041.parquet",
            "0000000000000000004x.parquet",
        ] {
            assert!(!is_name_of_rows(name), "{name}");
        }
    }
}

//! `LOST`: what repairs of a store had to give up, in words that a person reads and a program can.
//!
//! ```text
//! annals losses 1
//! repair 1795311234041153738 120
//! lost 5 7 4336 304 seg/00000000000000000000-00000000000000000000.seg quarantine/….bin the checksum is …
//! lost 98 120 0 0 seg/00000000000000000004-00000000000000000097.seg - the file is missing
//! end 77aa…
//! ```
//!
//! A line `repair` has the time of one repair, nanoseconds since 1970 UTC, and where the log ended then; behind it stand
//! the ranges that were lost: first and last position, offset and length in bytes, the file, where these bytes are kept
//! (`-` where there are none), and what was found. The last line is the digest of all lines above it. Nobody needs the
//! file to read the log, which holds an event of type `$lost` for each of these positions.
//!
//! What is always true: no path of a record that was decoded leads out of the directory it is in.

use std::fmt::Write as _;

use crate::digest::{Digest, Hasher};
use crate::ids::Position;
use crate::text::{count, place};

const FIRST: &str = "annals losses 1";
const KIND: &str = "annals losses ";
const NOWHERE: &str = "-";

/// What repairs had to give up.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct LossRecord {
    /// Each repair, the oldest first.
    pub repairs: Vec<Repair>,
}

/// One repair.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Repair {
    /// When: nanoseconds since 1970 UTC.
    pub at: i64,
    /// Where the log ended then.
    pub head: Position,
    /// What was lost, in order.
    pub lost: Vec<LostRange>,
}

/// Positions that were lost, and why.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct LostRange {
    /// The first of them.
    pub first: Position,
    /// The last of them.
    pub last: Position,
    /// The file that held them, below the store's directory.
    pub file: String,
    /// Where in that file the bytes begin that cannot be used.
    pub offset: u64,
    /// How many they are.
    pub bytes: u64,
    /// Where they are kept, below the repaired store's directory.
    pub kept: Option<String>,
    /// What was found, on one line.
    pub why: String,
}

/// Why a file is no record of losses.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum RecordFault {
    /// It is of a later version.
    #[error("the record of losses is of a later version: {line}")]
    Newer {
        /// How it begins.
        line: String,
    },
    /// Its last line is not the digest of those above it.
    #[error("the record of losses is damaged: its last line is not the digest of the others")]
    Digest,
    /// A line does not say what it should.
    #[error("line {number} of the record of losses makes no sense")]
    Line {
        /// Which one, from 1.
        number: usize,
    },
}

impl LossRecord {
    /// How many positions were lost in all.
    pub fn positions(&self) -> u64 {
        let ranges = self.repairs.iter().flat_map(|repair| &repair.lost);
        ranges.map(|range| range.last.get().saturating_sub(range.first.get()).saturating_add(1)).sum()
    }

    /// The first position that any repair has lost.
    pub fn first(&self) -> Option<Position> {
        self.repairs.iter().flat_map(|repair| &repair.lost).map(|range| range.first).min()
    }

    /// Writes it.
    pub fn encode(&self) -> String {
        let mut text = format!("{FIRST}\n");
        for Repair { at, head, lost } in &self.repairs {
            _ = writeln!(text, "repair {at} {head}");
            for LostRange { first, last, file, offset, bytes, kept, why } in lost {
                let kept = kept.as_deref().unwrap_or(NOWHERE);
                let why = why.replace(char::is_control, " ");
                _ = writeln!(text, "lost {first} {last} {offset} {bytes} {file} {kept} {why}");
            }
        }
        let end = Hasher::digest(text.as_bytes());
        _ = writeln!(text, "end {end}");
        text
    }

    /// Reads it.
    ///
    /// # Errors
    ///
    /// What is wrong with it. One that has lost its end, or a byte of its middle, is not believed.
    pub fn decode(bytes: &[u8]) -> Result<LossRecord, RecordFault> {
        let text = std::str::from_utf8(bytes).map_err(|_| RecordFault::Digest)?;
        let first = text.lines().next().unwrap_or_default();
        if first != FIRST && first.strip_prefix(KIND).is_some_and(|version| version.parse::<u32>().is_ok()) {
            return Err(RecordFault::Newer { line: first.to_owned() });
        }
        let end = text.len().checked_sub("end \n".len() + 2 * Digest::LEN).ok_or(RecordFault::Digest)?;
        let (lines, last) = text.split_at_checked(end).ok_or(RecordFault::Digest)?;
        if last != format!("end {}\n", Hasher::digest(lines.as_bytes())) {
            return Err(RecordFault::Digest);
        }
        let mut record = LossRecord::default();
        for (line, number) in lines.lines().zip(1..) {
            let taken = match number {
                1 => (line == FIRST).then_some(()),
                _ => record.take(line),
            };
            taken.ok_or(RecordFault::Line { number })?;
        }
        Ok(record)
    }

    fn take(&mut self, line: &str) -> Option<()> {
        let (kind, rest) = line.split_once(' ')?;
        match kind {
            "repair" => {
                let (at, head) = rest.split_once(' ')?;
                self.repairs.push(Repair { at: at.parse().ok()?, head: place(head)?, lost: Vec::new() });
            }
            "lost" => {
                let parts: Vec<&str> = rest.splitn(7, ' ').collect();
                let [first, last, offset, bytes, file, kept, why] = *parts else { return None };
                let (first, last) = (place(first)?, place(last)?);
                let kept = (kept != NOWHERE).then(|| kept.to_owned());
                let is_sound = first <= last && is_inside(file) && kept.as_deref().is_none_or(is_inside);
                is_sound.then_some(())?;
                let (offset, bytes) = (count(offset)?, count(bytes)?);
                let (file, why) = (file.to_owned(), why.to_owned());
                self.repairs.last_mut()?.lost.push(LostRange { first, last, file, offset, bytes, kept, why });
            }
            _ => return None,
        }
        Some(())
    }
}

fn is_inside(path: &str) -> bool {
    let is_plain = path.chars().all(|c| !c.is_control() && c != '\\');
    is_plain && path.split('/').all(|part| !matches!(part, "" | "." | ".."))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record() -> LossRecord {
        let range = |first, last, kept: Option<&str>, why: &str| LostRange {
            first: Position::new(first),
            last: Position::new(last),
            file: "seg/1-2.seg".to_owned(),
            offset: 4336,
            bytes: 304,
            kept: kept.map(str::to_owned),
            why: why.to_owned(),
        };
        let repair = |at, lost| Repair { at, head: Position::new(120), lost };
        LossRecord {
            repairs: vec![
                repair(-5, vec![range(5, 7, Some("quarantine/a.bin"), "the checksum is 1 but"), range(9, 9, None, "")]),
                repair(7, vec![]),
            ],
        }
    }

    #[test]
    fn a_record_reads_back_and_says_how_much_was_lost() {
        let text = record().encode();
        assert_eq!(LossRecord::decode(text.as_bytes()), Ok(record()), "{text}");
        assert_eq!((record().positions(), record().first()), (4, Some(Position::new(5))));
        assert_eq!((LossRecord::default().positions(), LossRecord::default().first()), (0, None));
    }

    #[test]
    fn a_record_with_any_byte_changed_or_cut_off_is_not_believed() {
        let text = record().encode().into_bytes();
        for at in 0..text.len() {
            let mut hurt = text.clone();
            hurt[at] ^= 1;
            assert!(LossRecord::decode(&hurt).is_err(), "byte {at}");
            assert!(LossRecord::decode(&text[..at]).is_err(), "cut at {at}");
        }
    }

    #[test]
    fn what_was_found_stays_on_its_line() {
        let mut torn = record();
        torn.repairs[0].lost[0].why = "one\nlost 1 1 0 0 x - y".to_owned();
        let read = LossRecord::decode(torn.encode().as_bytes()).unwrap();
        assert_eq!(read.repairs[0].lost[0].why, "one lost 1 1 0 0 x - y");
        assert_eq!(read.positions(), record().positions());
    }

    #[test]
    fn lines_that_make_no_sense_are_named_though_the_digest_is_right() {
        let sealed = |lines: &str| format!("{lines}end {}\n", Hasher::digest(lines.as_bytes()));
        let check = |lines: &str| LossRecord::decode(sealed(lines).as_bytes());
        assert_eq!(check("annals losses 1\n"), Ok(LossRecord::default()));
        assert!(matches!(check("annals losses 2\n"), Err(RecordFault::Newer { .. })));
        for line in [
            "lost 1 2 0 0 a - b",
            "repair 1\n",
            "repair 1 2\nlost 2 1 0 0 a - b\n",
            "repair 1 2\nlost 1 2 0 0 ../a - b\n",
            "repair 1 2\nlost 1 2 0 0 a /b c\n",
            "repair 1 2\nlost 1 2 0 0 a -\n",
            "repair 1 2\nlost 1 99999999999999999999 0 0 a - b\n",
            "found 1 2\n",
        ] {
            assert!(matches!(check(&format!("annals losses 1\n{line}")), Err(RecordFault::Line { .. })), "{line}");
        }
    }
}

//! `BACKUP`: what a copy of a store consists of. Written last, so where it is the copy is whole.
//!
//! ```text
//! annals backup 1
//! log 01910000-0000-7000-8000-000000000001
//! taken 1767323145000000000
//! position 1200
//! chain 89abcdef
//! hash -
//! floor 0 0
//! sealed 3f1c… 67108000 1a2b3c4d 5e6f7a8b seg/00000000000000000000-00000000000000000000.seg
//! file 9d0e… 8192 store.meta
//! end 77aa…
//! ```
//!
//! It is text, so that a person can hold it against `sha256sum` with nothing else at hand. A line of a file has its
//! digest, its length and its path; of a sealed segment also the seed and the chain at its end, which tell it from every
//! other segment of that name. The last line is the digest of all lines above it.
//!
//! What is always true: no path of a manifest that was decoded leads out of the directory it is in.

use std::fmt::Write as _;

use crate::digest::{Digest, Hasher};
use crate::frame::Seed;
use crate::ids::{LogId, Position, SegmentNumber};
use crate::mark::Mark;
use crate::text::{count, place};

const FIRST: &str = "annals backup 1";
const KIND: &str = "annals backup ";

/// What a copy of a store consists of.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Manifest {
    /// The position that it ends at, in which history.
    pub mark: Mark,
    /// When it was made: nanoseconds since 1970 UTC.
    pub taken_at: i64,
    /// The oldest segment in it, and the position of the last event before that.
    pub floor: (SegmentNumber, Position),
    /// Its files, in the order of their paths.
    pub files: Vec<ListedFile>,
}

/// One file of a copy.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct ListedFile {
    /// Where it is below the copy's directory, with `/` between parts.
    pub path: String,
    /// Its length, in bytes.
    pub len: u64,
    /// What its bytes are.
    pub digest: Digest,
    /// Of a sealed segment: its seed, and the chain after its last batch.
    pub sealed: Option<(Seed, u32)>,
}

/// Why a file is no manifest.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum ManifestFault {
    /// It is of a later version.
    #[error("the manifest is of a later version: {line}")]
    Newer {
        /// How it begins.
        line: String,
    },
    /// Its last line is not the digest of those above it.
    #[error("the manifest is damaged: its last line is not the digest of the others")]
    Digest,
    /// A line does not say what it should.
    #[error("line {number} of the manifest makes no sense")]
    Line {
        /// Which one, from 1.
        number: usize,
    },
}

impl Manifest {
    /// Writes it.
    pub fn encode(&self) -> String {
        let mut text = String::new();
        let hash = self.mark.hash.map_or_else(|| "-".to_owned(), |hash: Digest| hash.to_string());
        let (segment, base) = self.floor;
        let Mark { log_id, position, chain, .. } = self.mark;
        let taken = self.taken_at;
        _ = writeln!(text, "{FIRST}\nlog {log_id}\ntaken {taken}\nposition {position}\nchain {chain:08x}\nhash {hash}");
        _ = writeln!(text, "floor {segment} {base}");
        for ListedFile { path, len, digest, sealed } in &self.files {
            _ = match sealed {
                Some((seed, chain)) => writeln!(text, "sealed {digest} {len} {:08x} {chain:08x} {path}", seed.get()),
                None => writeln!(text, "file {digest} {len} {path}"),
            };
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
    pub fn decode(bytes: &[u8]) -> Result<Manifest, ManifestFault> {
        let mut lines = signed_lines(bytes, FIRST, KIND)?;
        lines.expect(|line| (line == FIRST).then_some(()))?;
        let log_id: LogId = lines.value("log ")?;
        let taken_at = lines.value("taken ")?;
        let position = lines.expect(|line| place(line.strip_prefix("position ")?))?;
        let chain = lines.expect(|line| hex(line.strip_prefix("chain ")?))?;
        let hash = lines.expect(|line| match line.strip_prefix("hash ")? {
            "-" => Some(None),
            hash => hash.parse().ok().map(Some),
        })?;
        let floor = lines.expect(|line| {
            let (segment, base) = line.strip_prefix("floor ")?.split_once(' ')?;
            Some((SegmentNumber::new(count(segment)?), place(base)?))
        })?;
        let mut files: Vec<ListedFile> = Vec::new();
        while let Some(line) = lines.next() {
            let file = file_of(line).filter(|file| files.last().is_none_or(|before| before.path < file.path));
            files.push(file.ok_or(ManifestFault::Line { number: lines.number })?);
        }
        Ok(Manifest { mark: Mark { log_id, position, chain, hash }, taken_at, floor, files })
    }
}

/// The lines of a manifest that begins with the line `first`, without its last one, which is the digest of the others
/// and was checked. One that begins with `kind` and another number is of a later version.
pub(crate) fn signed_lines<'a>(bytes: &'a [u8], first: &str, kind: &str) -> Result<Lines<'a>, ManifestFault> {
    let text = std::str::from_utf8(bytes).map_err(|_| ManifestFault::Digest)?;
    let line = text.lines().next().unwrap_or_default();
    if line != first && line.strip_prefix(kind).is_some_and(|version| version.parse::<u32>().is_ok()) {
        return Err(ManifestFault::Newer { line: line.to_owned() });
    }
    let end = text.len().checked_sub("end \n".len() + 2 * Digest::LEN).ok_or(ManifestFault::Digest)?;
    let (lines, last) = text.split_at_checked(end).ok_or(ManifestFault::Digest)?;
    if last != format!("end {}\n", Hasher::digest(lines.as_bytes())) {
        return Err(ManifestFault::Digest);
    }
    Ok(Lines { lines: lines.lines(), number: 0 })
}

/// Lines that are read one by one.
pub(crate) struct Lines<'a> {
    lines: std::str::Lines<'a>,
    number: usize,
}

impl<'a> Lines<'a> {
    fn next(&mut self) -> Option<&'a str> {
        self.number += 1;
        self.lines.next()
    }

    /// The number of the line that was read last, from 1.
    pub(crate) fn number(&self) -> usize {
        self.number
    }

    pub(crate) fn expect<T>(&mut self, read: impl FnOnce(&'a str) -> Option<T>) -> Result<T, ManifestFault> {
        let line = self.next();
        line.and_then(read).ok_or(ManifestFault::Line { number: self.number })
    }

    fn value<T: std::str::FromStr>(&mut self, name: &str) -> Result<T, ManifestFault> {
        self.expect(|line| line.strip_prefix(name)?.parse().ok())
    }
}

fn file_of(line: &str) -> Option<ListedFile> {
    let (kind, rest) = line.split_once(' ')?;
    let (digest, rest) = rest.split_once(' ')?;
    let (len, rest) = rest.split_once(' ')?;
    let (sealed, path) = match kind {
        "file" => (None, rest),
        "sealed" => {
            let (seed, rest) = rest.split_once(' ')?;
            let (chain, path) = rest.split_once(' ')?;
            (Some((Seed::new(hex(seed)?), hex(chain)?)), path)
        }
        _ => return None,
    };
    let is_inside = path.split('/').all(|part| !matches!(part, "" | "." | ".."));
    let is_plain = path.chars().all(|c| !c.is_control() && c != '\\');
    (is_inside && is_plain).then_some(())?;
    Some(ListedFile { path: path.to_owned(), len: count(len)?, digest: digest.parse().ok()?, sealed })
}

fn hex(text: &str) -> Option<u32> {
    let is_plain = text.len() == 8 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
    u32::from_str_radix(text, 16).ok().filter(|_| is_plain)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn manifest() -> Manifest {
        let digest = Hasher::digest(b"abc");
        let file = |path: &str, sealed| ListedFile { path: path.to_owned(), len: 3, digest, sealed };
        let mark = Mark { log_id: LogId::from_bytes([7; 16]), position: Position::new(12), chain: 0xAB, hash: None };
        Manifest {
            mark,
            taken_at: -5,
            floor: (SegmentNumber::new(2), Position::new(4)),
            files: vec![file("seg/a b", Some((Seed::new(9), 0xFFFF_FFFF))), file("store.meta", None)],
        }
    }

    #[test]
    fn a_manifest_reads_back_as_it_was_written() {
        let mut manifest = manifest();
        assert_eq!(Manifest::decode(manifest.encode().as_bytes()), Ok(manifest.clone()));
        manifest.mark.hash = Some(Digest::from_bytes([3; 32]));
        manifest.files.clear();
        assert_eq!(Manifest::decode(manifest.encode().as_bytes()), Ok(manifest));
    }

    #[test]
    fn a_manifest_that_was_cut_or_changed_anywhere_is_not_believed() {
        let text = manifest().encode().into_bytes();
        for cut in 0..text.len() {
            assert!(Manifest::decode(&text[..cut]).is_err(), "cut at {cut}");
        }
        for at in 0..text.len() * 8 {
            let mut text = text.clone();
            text[at / 8] ^= 1 << (at % 8);
            assert!(Manifest::decode(&text).is_err(), "bit {at}");
        }
    }

    /// With a good digest: somebody who can write one may not reach out of the directory.
    fn resigned(change: impl FnOnce(String) -> String) -> Result<Manifest, ManifestFault> {
        let text = manifest().encode();
        let lines = change(text[..text.len() - 69].to_owned());
        Manifest::decode(format!("{lines}end {}\n", Hasher::digest(lines.as_bytes())).as_bytes())
    }

    #[test]
    fn no_path_leads_out_of_the_directory_and_no_number_is_taken_as_it_looks() {
        assert!(resigned(|text| text).is_ok());
        for path in ["../x", "/etc/x", "seg/../../x", "seg//x", "./x", "", "x\\y", "a\tb"] {
            assert!(resigned(|text| text.replace("seg/a b", path)).is_err(), "{path}");
        }
        for (from, to) in [
            ("position 12", "position 18446744073709551615"),
            ("position 12", "position +12"),
            ("chain 000000ab", "chain ab"),
            ("floor 2 4", "floor 2"),
            ("file ", "link "),
            ("store.meta", "seg/a"), // not in order
            ("taken -5\n", ""),
        ] {
            assert!(resigned(|text| text.replace(from, to)).is_err(), "{from} as {to}");
        }
    }

    #[test]
    fn a_later_version_is_named_and_not_taken_for_damage() {
        let fault = resigned(|text| text.replace("backup 1", "backup 2")).unwrap_err();
        assert_eq!(fault, ManifestFault::Newer { line: "annals backup 2".to_owned() });
    }
}

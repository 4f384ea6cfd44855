//! The names of objects in an archive, and of the files of a store that they come from.
//!
//! Numbers have 20 digits, so that names sort as numbers do.

use annals::{LogId, Position, SegmentNumber};

const DIGITS: usize = 20;

/// Where segments are in a store's directory, and in an archive below the log.
pub(crate) const SEGMENTS: &str = "seg";
/// Likewise their indexes.
pub(crate) const INDEXES: &str = "idx";
/// Files of a store.
pub(crate) const META: &str = "store.meta";
pub(crate) const WATERMARK: &str = "WATERMARK";
pub(crate) const FLOOR: &str = "floor";
pub(crate) const BACKUP: &str = "BACKUP";
pub(crate) const UNFINISHED: &str = "BACKUP.unfinished";

/// The path of a segment in a store.
pub(crate) fn segment_file(number: SegmentNumber, base: Position) -> String {
    format!("{SEGMENTS}/{}.seg", pair(number, base))
}

/// The paths of what a store derives from a segment: its index, and its part of the tree over batches.
pub(crate) fn derived_files(number: SegmentNumber) -> [String; 2] {
    ["idx", "tree"].map(|kind| format!("{INDEXES}/{:020}.{kind}", number.get()))
}

pub(crate) fn segment(log: LogId, number: SegmentNumber, base: Position) -> String {
    format!("{log}/{}", segment_file(number, base))
}

/// What is derived from a segment, by its path in a store.
pub(crate) fn derived(log: LogId, path: &str) -> String {
    format!("{log}/{path}")
}

pub(crate) fn segments(log: LogId) -> String {
    format!("{log}/{SEGMENTS}")
}

pub(crate) fn all_derived(log: LogId) -> String {
    format!("{log}/{INDEXES}")
}

pub(crate) fn manifests(log: LogId) -> String {
    format!("{log}/manifest")
}

pub(crate) fn manifest(log: LogId, number: SegmentNumber, base: Position) -> String {
    format!("{}/{}", manifests(log), pair(number, base))
}

pub(crate) fn floor(log: LogId, number: SegmentNumber, base: Position) -> String {
    format!("{log}/floor/{}", pair(number, base))
}

fn pair(number: SegmentNumber, base: Position) -> String {
    format!("{:020}-{:020}", number.get(), base.get())
}

/// The segment that a manifest with this name is of; `None` for any other name.
pub(crate) fn parse_manifest(name: &str) -> Option<(SegmentNumber, Position)> {
    let (number, base) = name.split_once('-')?;
    Some((SegmentNumber::new(parse_digits(number)?), Position::new(parse_digits(base)?)))
}

/// The segment whose file has this name; `None` for any other name.
pub(crate) fn parse_segment(name: &str) -> Option<(SegmentNumber, Position)> {
    parse_manifest(name.strip_suffix(".seg")?)
}

/// The segment that a file with this name is derived from; `None` for any other name.
pub(crate) fn parse_derived(name: &str) -> Option<SegmentNumber> {
    let number = name.strip_suffix(".idx").or_else(|| name.strip_suffix(".tree"))?;
    parse_digits(number).map(SegmentNumber::new)
}

/// A number that others are made from by adding.
fn parse_digits(text: &str) -> Option<u64> {
    let is_plain = text.len() == DIGITS && text.bytes().all(|byte| byte.is_ascii_digit());
    text.parse().ok().filter(|number| is_plain && *number <= u64::MAX >> 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_name_of_a_manifest_or_segment_reads_back_and_no_other_name_passes_for_one() {
        let log = LogId::from_bytes([7; 16]);
        let is = (SegmentNumber::new(3), Position::new(1200));
        let last = |path: String| path.rsplit('/').next().unwrap().to_owned();
        assert_eq!(parse_manifest(&last(manifest(log, is.0, is.1))), Some(is));
        assert_eq!(parse_segment(&last(segment(log, is.0, is.1))), Some(is));
        assert!(derived_files(is.0).into_iter().all(|path| parse_derived(&last(path)) == Some(is.0)));
        for other in ["3-1200", "00000000000000000003", "99999999999999999999-00000000000000001200", "", "notes.txt"] {
            assert_eq!(parse_manifest(other), None, "{other}");
            assert_eq!(parse_segment(&format!("{other}.seg")), None, "{other}");
            assert_eq!(parse_derived(&format!("{other}.flt")), None, "{other}");
        }
    }
}

//! Which file of a store is which.

use annals_codec::index::{MOST_LEVELS, level_span};
use annals_codec::{Position, SegmentNumber};

pub(crate) const META: &str = "store.meta";
pub(crate) const WATERMARK: &str = "WATERMARK";
pub(crate) const FLOOR: &str = "floor";
pub(crate) const SEGMENTS: &str = "seg";
pub(crate) const QUARANTINE: &str = "quarantine";
pub(crate) const INDEXES: &str = "idx";
pub(crate) const CONSUMERS: &str = "consumers";
/// Where states are kept that were folded from events, by whoever folds them.
pub(crate) const STATES: &str = "snap";
pub(crate) const LOCK: &str = "LOCK";
/// What repairs had to give up.
pub(crate) const LOST: &str = "LOST";
/// The manifest of a backup, and what stands in its place while that is taken.
pub(crate) const BACKUP: &str = "BACKUP";
pub(crate) const UNFINISHED: &str = "BACKUP.unfinished";
/// What ends in this is the garbage of a crash, and removed at the next open.
pub(crate) const TEMPORARY: &str = ".tmp";

/// How the name of a segment ends that was written anew and has not taken the place of the old one.
const REDACTED: &str = ".redacted";

/// Digits of a number in a file's name, so that names sort as numbers do.
const DIGITS: usize = 20;

/// The path of a segment.
pub(crate) fn segment(number: SegmentNumber, base: Position) -> String {
    format!("{SEGMENTS}/{:020}-{:020}.seg", number.get(), base.get())
}

/// The path of a sealed segment's index.
pub(crate) fn index(number: SegmentNumber) -> String {
    format!("{INDEXES}/{:020}.idx", number.get())
}

/// The path of the nodes of the tree over batches that a sealed segment completes.
pub(crate) fn tree(number: SegmentNumber) -> String {
    format!("{INDEXES}/{:020}.tree", number.get())
}

/// The path of the filter over a group of segments of this level.
pub(crate) fn level(level: u32, group: u64) -> String {
    format!("{INDEXES}/{level}-{group:020}.flt")
}

/// The name of a file in its directory.
pub(crate) fn file_name(path: &str) -> &str {
    path.rsplit('/').next().unwrap_or(path)
}

/// The segment whose index has this name; `None` for any other name.
pub(crate) fn parse_index(name: &str) -> Option<SegmentNumber> {
    parse_digits(name.strip_suffix(".idx")?).map(SegmentNumber::new)
}

/// The segment whose part of the tree has this name; `None` for any other name.
pub(crate) fn parse_tree(name: &str) -> Option<SegmentNumber> {
    parse_digits(name.strip_suffix(".tree")?).map(SegmentNumber::new)
}

/// The level and the group of the filter with this name; `None` for any other name.
pub(crate) fn parse_level(name: &str) -> Option<(u32, u64)> {
    let (level, group) = name.strip_suffix(".flt")?.split_once('-')?;
    let is_plain = level.bytes().all(|byte| byte.is_ascii_digit()) && !level.starts_with('0');
    let level = level.parse().ok().filter(|level| is_plain && (1..=MOST_LEVELS).contains(level))?;
    Some((level, parse_digits(group)?))
}

/// Whether this is the name of a file that keeps a state.
pub(crate) fn is_state(name: &str) -> bool {
    name.strip_suffix(".snap").and_then(parse_digits).is_some()
}

/// The oldest segment that the file of this name in `idx/` is derived from; `None` for any other name.
pub(crate) fn derived_from(name: &str) -> Option<SegmentNumber> {
    let first_of = |(level, group): (u32, u64)| group.checked_mul(level_span(level)).map(SegmentNumber::new);
    parse_index(name).or_else(|| parse_tree(name)).or_else(|| parse_level(name).and_then(first_of))
}

fn parse_digits(text: &str) -> Option<u64> {
    let is_plain = text.len() == DIGITS && text.bytes().all(|byte| byte.is_ascii_digit());
    text.parse().ok().filter(|_| is_plain)
}

/// The path of a segment while it is made.
pub(crate) fn unnamed_segment(number: SegmentNumber) -> String {
    format!("{SEGMENTS}/{:020}.seg{TEMPORARY}", number.get())
}

/// The path of a segment that the background work prepares for later.
pub(crate) fn prepared_segment(number: SegmentNumber) -> String {
    format!("{SEGMENTS}/{:020}.seg.ahead{TEMPORARY}", number.get())
}

/// The path of a segment that was written anew, until it takes the place of the old one.
pub(crate) fn redacted_segment(number: SegmentNumber, base: Position) -> String {
    format!("{SEGMENTS}/{:020}-{:020}{REDACTED}", number.get(), base.get())
}

/// The number and base position in the name of a segment that was written anew; `None` for any other name.
pub(crate) fn parse_redacted_segment(name: &str) -> Option<(SegmentNumber, Position)> {
    parse_numbers(name.strip_suffix(REDACTED)?)
}

/// The number and base position in the name of a segment; `None` for any other name.
pub(crate) fn parse_segment(name: &str) -> Option<(SegmentNumber, Position)> {
    parse_numbers(name.strip_suffix(".seg")?)
}

fn parse_numbers(name: &str) -> Option<(SegmentNumber, Position)> {
    let (number, base) = name.split_once('-')?;
    Some((SegmentNumber::new(parse_digits(number)?), Position::new(parse_digits(base)?)))
}

/// Whether a name in one of the store's directories is that of what a crash has left.
///
/// The store's own directory may hold files of others, and theirs are not ours to remove.
pub(crate) fn is_temporary(dir: &str, name: &str) -> bool {
    name.strip_suffix(TEMPORARY).is_some_and(|of| !dir.is_empty() || [META, WATERMARK, FLOOR].contains(&of))
}

/// Whether this is in a directory that a backup was only begun in.
pub(crate) fn is_of_a_new_backup(name: &str) -> bool {
    name == LOCK || name.strip_suffix(TEMPORARY) == Some(UNFINISHED)
}

/// The path where bytes cut from a segment are kept. The name tells them apart
/// by content, so that a recovery that is repeated writes the same file.
pub(crate) fn quarantined(segment: SegmentNumber, offset: u64, checksum: u32) -> String {
    format!("{QUARANTINE}/{:020}-{offset:020}-{checksum:08x}.bin", segment.get())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_temporary_file_of_somebody_else_beside_the_store_is_not_ours_to_remove() {
        assert!(["store.meta.tmp", "WATERMARK.tmp", "floor.tmp"].iter().all(|name| is_temporary("", name)));
        assert!(is_temporary(SEGMENTS, "00000000000000000001.seg.tmp"));
        assert!(!is_temporary("", "report.tmp") && !is_temporary("", ".tmp") && !is_temporary("", "store.meta"));
    }

    #[test]
    fn a_segment_name_reads_back_and_no_other_name_passes_for_one() {
        let name = segment(SegmentNumber::new(7), Position::new(12));
        let name = name.strip_prefix("seg/").unwrap();
        assert_eq!(name, "00000000000000000007-00000000000000000012.seg");
        assert_eq!(parse_segment(name), Some((SegmentNumber::new(7), Position::new(12))));
        let anew = redacted_segment(SegmentNumber::new(7), Position::new(12));
        assert_eq!(parse_redacted_segment(file_name(&anew)), Some((SegmentNumber::new(7), Position::new(12))));
        assert_eq!((parse_segment(file_name(&anew)), parse_redacted_segment(name)), (None, None));
        for other in [
            "7-12.seg",
            "00000000000000000007.seg.tmp",
            "00000000000000000007-00000000000000000012.seg.tmp",
            "00000000000000000007-+0000000000000000012.seg",
            "99999999999999999999-00000000000000000012.seg",
            "notes.txt",
        ] {
            assert_eq!(parse_segment(other), None, "{other}");
        }
    }
    #[test]
    fn the_name_of_an_index_or_a_filter_reads_back_and_no_other_name_passes_for_one() {
        assert_eq!(parse_index(file_name(&index(SegmentNumber::new(7)))), Some(SegmentNumber::new(7)));
        assert_eq!(parse_tree(file_name(&tree(SegmentNumber::new(7)))), Some(SegmentNumber::new(7)));
        assert_eq!(derived_from(file_name(&tree(SegmentNumber::new(7)))), Some(SegmentNumber::new(7)));
        for (height, group) in [(1, 0), (2, 7), (15, 3)] {
            assert_eq!(parse_level(file_name(&level(height, group))), Some((height, group)));
        }
        for other in ["7.idx", "00000000000000000007.idx.tmp", "+0000000000000000007.idx", "notes.txt"] {
            assert_eq!((parse_index(other), parse_level(other)), (None, None), "{other}");
        }
        for height in ["0", "01", "+1", "16", "", "99999999999"] {
            assert_eq!(parse_level(&format!("{height}-00000000000000000007.flt")), None, "{height}");
        }
    }
}

//! Whose segment it is and which seed its checksums begin with, however hurt its header.
//!
//! The seed is the checksum of the header. When the header is hurt there are
//! two other places to take it from: `store.meta` in the folder above, which
//! keeps it for the active segment, and the header's own stored checksum, which
//! may be whole while something else in the header is not. A seed is believed
//! when some frame of the file agrees with it.

use std::fs;
use std::io::{self, Read as _};
use std::path::Path;

use annals_codec::scan::{self, Source};
use annals_codec::{
    Epoch, HeaderFault, META_FILE_LEN, Position, SEGMENT_HEADER_LEN, Seed, SegmentHeader, SegmentNumber, StoreMeta,
    Tail, WATERMARK_FILE_LEN, Watermark, u32_at,
};

use super::search::Search;

/// What is known of a segment before its first frame.
pub(super) struct Origin {
    /// What its header says, or why it cannot be believed.
    pub(super) header: Result<SegmentHeader, HeaderFault>,
    /// The seed and where it was found; `None` when nothing in the file agrees with any.
    pub(super) seed: Option<(Seed, SeedFrom)>,
    /// Where its frames begin.
    pub(super) tail: Tail,
    /// The offset below which the store's watermark says that it was durable; 0 when that says nothing.
    pub(super) watermark: u64,
    /// Whether a later segment lies beside it: then all of it was durable, and sealed.
    pub(super) has_successor: bool,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum SeedFrom {
    Header,
    StoreMeta,
    StoredChecksum,
}

impl SeedFrom {
    pub(super) fn shown(self) -> &'static str {
        match self {
            SeedFrom::Header => "its header",
            SeedFrom::StoreMeta => "store.meta",
            SeedFrom::StoredChecksum => "the stored checksum of its hurt header",
        }
    }
}

impl Origin {
    /// Looks at the header, and beside the segment.
    pub(super) fn find(path: &Path, source: &mut impl Source<Error = io::Error>) -> io::Result<Origin> {
        let first = source.bytes(0, SEGMENT_HEADER_LEN)?;
        let stored = (first.len() >= SEGMENT_HEADER_LEN).then(|| Seed::new(u32_at(first, SEGMENT_HEADER_LEN - 4)));
        let decoded = SegmentHeader::decode(first);
        let named = path.file_name().and_then(|name| name.to_str()).and_then(parse_name);
        let beside = Beside::of(path);

        let number = decoded.as_ref().map(|(header, _)| header.number).ok().or(named.map(|(number, _)| number));
        let meta = beside.meta.filter(|meta| number == Some(meta.active));
        let log_id = decoded.as_ref().map(|(header, _)| header.log_id).ok().or(meta.map(|meta| meta.log_id));
        let watermark =
            beside.watermark.filter(|watermark| number == Some(watermark.segment) && log_id == Some(watermark.log_id));
        let (header, seed, tail) = match decoded {
            Ok((header, seed)) => (Ok(header), Some((seed, SeedFrom::Header)), scan::first_tail(&header)),
            Err(fault) => {
                let base = meta.map(|meta| meta.active_base).or(named.map(|(_, base)| base));
                let candidates = [
                    meta.map(|meta| (meta.active_seed, SeedFrom::StoreMeta)),
                    stored.map(|seed| (seed, SeedFrom::StoredChecksum)),
                ];
                let readable = !matches!(fault, HeaderFault::Newer { .. } | HeaderFault::Features { .. });
                let mut believed = None;
                for (seed, from) in candidates.into_iter().flatten().filter(|_| readable) {
                    let mut search = Search::new(source.len(), seed);
                    if search.next(source, SEGMENT_HEADER_LEN as u64, base)?.is_some() {
                        believed = Some((seed, from));
                        break;
                    }
                }
                (Err(fault), believed, tail_without_header(base.unwrap_or_default()))
            }
        };
        Ok(Origin {
            header,
            seed,
            tail,
            watermark: watermark.map_or(0, |watermark| watermark.offset),
            has_successor: number.is_some_and(|number| has_successor(path, number)),
        })
    }
}

fn tail_without_header(base: Position) -> Tail {
    Tail {
        offset: SEGMENT_HEADER_LEN as u64,
        position: base,
        chain: None,
        hash: None,
        epoch: Epoch::default(),
        durable_offset: 0,
    }
}

/// The small files of the store that a segment seems to lie in; absent or unreadable ones say nothing.
struct Beside {
    meta: Option<StoreMeta>,
    watermark: Option<Watermark>,
}

impl Beside {
    fn of(segment: &Path) -> Beside {
        let read = |name: &str, most: usize| {
            let store = segment.parent()?.join("..");
            let mut bytes = Vec::new();
            fs::File::open(store.join(name)).ok()?.take(most as u64).read_to_end(&mut bytes).ok()?;
            Some(bytes)
        };
        Beside {
            meta: read("store.meta", META_FILE_LEN).and_then(|bytes| StoreMeta::decode(&bytes).ok()),
            watermark: read("WATERMARK", WATERMARK_FILE_LEN).and_then(|bytes| Watermark::decode(&bytes)),
        }
    }
}

/// Number and base position in `<number>-<base>.seg`.
fn parse_name(name: &str) -> Option<(SegmentNumber, Position)> {
    let (number, base) = name.strip_suffix(".seg")?.split_once('-')?;
    Some((SegmentNumber::new(number.parse().ok()?), Position::new(base.parse().ok()?)))
}

fn has_successor(path: &Path, number: SegmentNumber) -> bool {
    let Some(dir) = path.parent() else { return false };
    let dir = if dir.as_os_str().is_empty() { Path::new(".") } else { dir };
    // A segment that is alone in a folder, or was renamed, is judged by itself.
    let is_in_a_log = path.file_name().and_then(|name| name.to_str()).and_then(parse_name).is_some();
    let successor = number.get().checked_add(1).map(SegmentNumber::new);
    let Ok(mut entries) = fs::read_dir(dir) else { return false };
    is_in_a_log
        && entries.any(|entry| {
            let other = entry.ok().and_then(|entry| entry.file_name().to_str().and_then(parse_name));
            other.is_some() && other.map(|(other, _)| other) == successor
        })
}

//! What the log goes on from, where its oldest events were removed.

use annals_codec::{Position, SegmentNumber};

use super::level::Level;
use super::pass::Pass;
use super::report::{Finding, FindingKind};
use crate::index::floor::FloorIndex;
use crate::log::recover::survey::Facts;
use crate::storage::Storage;

/// What a log goes on from whose oldest events were removed: the file `floor` says it, and the first segment confirms it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct Anchor {
    /// Everything up to this position was removed.
    pub position: Position,
    /// The chain there.
    pub chain: u32,
    /// The hash chain there, when the store keeps one.
    pub hash: Option<[u8; 32]>,
    /// The greatest time of recording that was removed: nanoseconds since 1970 UTC.
    pub recorded_at: i64,
    /// When the last of it was removed: nanoseconds since 1970 UTC.
    pub removed_at: i64,
    /// How many streams are known of which events were removed.
    pub streams: u64,
}

impl Pass {
    /// Says what the log goes on from. Of everything, also checks the floor, and has the order of events begin there.
    pub(super) fn floor(&mut self, storage: &dyn Storage, facts: &Facts, level: Level) {
        self.report.unused_files.extend(facts.removed.iter().map(|path| storage.describe(path)));
        let oldest = facts.segments.first().filter(|oldest| oldest.number > SegmentNumber::FIRST);
        let Some(oldest) = oldest else { return };
        let floor = FloorIndex::open(storage, oldest.number, oldest.base);
        if let Some((floor, streams)) = floor.anchor().zip(floor.facts().map(|header| header.streams)) {
            self.report.anchor = Some(Anchor {
                position: floor.position,
                chain: floor.chain,
                hash: floor.hash.map(|(_, hash)| hash),
                recorded_at: floor.recorded_at,
                removed_at: floor.written_at,
                streams,
            });
        }
        if level != Level::All {
            return;
        }
        match floor.check() {
            Ok(()) => self.order.begin_at(oldest.base, Some(floor)),
            Err(damage) => {
                self.order.begin_at(oldest.base, None);
                self.report.findings.push(Finding {
                    kind: FindingKind::Floor,
                    segment: None,
                    file: Some(damage.file),
                    offset: Some(damage.offset),
                    position: Some(damage.from),
                    message: damage.fault,
                });
            }
        }
    }
}

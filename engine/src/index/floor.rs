//! What is still known of the streams and sources whose events were removed: the file `floor`, searched where it lies.
//!
//! It is asked when no segment knows a name, so a look-up costs what is said at [`find_in_floor`], and only where
//! events were removed. It is opened with the view whose oldest segment goes on from it, and goes with that view.
//!
//! What is always true:
//!
//! - It is replaced as a whole and never changed: who has it open goes on with what he has.
//! - It cannot be made again. What is damaged in it is an error for whoever asks, and no empty answer.

use std::ops::Range;

use annals_codec::merkle::{KeptTree, Peaks};
use annals_codec::{
    FLOOR_HEADER_LEN, Floor, FloorFault, FloorHeader, FloorKind, FloorRecord, FloorSection, Position, SegmentNumber,
    StreamVersion, find_in_floor, floor_records,
};

use super::files::{Content, IndexFile};
use crate::error::{Damage, ReadError};
use crate::log::names;
use crate::stats::FloorInfo;
use crate::storage::Storage;
use crate::sync::OnceLock;

/// The end of a stream whose events were removed.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Removed {
    pub(crate) version: StreamVersion,
    /// The position of its last event.
    pub(crate) last: Position,
}

impl Removed {
    fn of(record: &FloorRecord<'_>) -> Removed {
        Removed { version: StreamVersion::new(record.value), last: record.position }
    }
}

/// What the log goes on from.
#[derive(Debug)]
pub(crate) struct FloorIndex {
    place: Place,
    file: Result<Opened, Damage>,
}

/// What the file has to be the floor of.
#[derive(Debug)]
struct Place {
    /// The oldest segment that is there.
    segment: SegmentNumber,
    /// Everything up to this position was removed.
    position: Position,
    shown: String,
}

impl Place {
    fn damage(&self, offset: u64, fault: &str) -> Damage {
        Damage {
            segment: self.segment,
            file: self.shown.clone(),
            offset,
            from: Position::START.plus(1),
            to: Some(self.position),
            fault: format!("{fault}; what was known of removed events cannot be looked up"),
        }
    }
}

#[derive(Debug)]
struct Opened {
    header: FloorHeader,
    file: IndexFile,
    /// All of it, and whether the table is whole.
    content: OnceLock<Result<Content, String>>,
}

impl FloorIndex {
    /// Opens the floor of a log that begins with this segment. Nothing but the header is read of it.
    pub(crate) fn open(storage: &dyn Storage, segment: SegmentNumber, position: Position) -> FloorIndex {
        let place = Place { segment, position, shown: storage.describe(names::FLOOR) };
        let opened = IndexFile::open(storage, names::FLOOR).and_then(|file| Ok((file.head(FLOOR_HEADER_LEN)?, file)));
        let file = match opened {
            Ok((head, file)) => match FloorHeader::decode(&head, file.len()) {
                Ok(header) => Ok(Opened { header, file, content: OnceLock::new() }),
                Err(fault) => Err(place.damage(0, &fault.to_string())),
            },
            Err(error) => Err(place.damage(0, &format!("it cannot be read: {error}"))),
        };
        FloorIndex { place, file }
    }

    fn damage(&self, offset: u64, fault: &str) -> Damage {
        self.place.damage(offset, fault)
    }

    fn told(&self, fault: FloorFault) -> ReadError {
        let offset = match fault {
            FloorFault::Record { at } => FLOOR_HEADER_LEN as u64 + at,
            _ => 0,
        };
        ReadError::Corrupt(self.damage(offset, &fault.to_string()))
    }

    fn opened(&self) -> Result<(&Opened, &Content), ReadError> {
        let opened = self.file.as_ref().map_err(|damage| ReadError::Corrupt(damage.clone()))?;
        let content = opened.content.get_or_init(|| {
            let content = opened.file.content().map_err(|error| error.to_string())?;
            let table = content.bytes(opened.header.place(FloorSection::Table)).unwrap_or_default();
            if opened.header.is_good(FloorSection::Table, table) {
                Ok(content)
            } else {
                Err(FloorFault::Section { section: FloorSection::Table }.to_string())
            }
        });
        match content {
            Ok(content) => Ok((opened, content)),
            Err(fault) => Err(ReadError::Corrupt(self.damage(0, fault))),
        }
    }

    fn part(&self, section: FloorSection) -> Result<&[u8], ReadError> {
        let (opened, content) = self.opened()?;
        let Range { start, end } = opened.header.place(section);
        content.bytes(start..end).ok_or_else(|| self.told(FloorFault::Header))
    }

    /// What the file says of the log; `None` when that cannot be read.
    pub(crate) fn facts(&self) -> Option<&FloorHeader> {
        self.file.as_ref().ok().map(|opened| &opened.header)
    }

    /// For statistics; `None` when it cannot be read.
    pub(crate) fn info(&self) -> Option<FloorInfo> {
        let header = self.facts()?;
        Some(FloorInfo {
            position: self.place.position,
            recorded_at: header.floor.recorded_at,
            removed_at: header.floor.written_at,
            streams: header.streams,
            bytes: header.file_len(),
        })
    }

    /// Whether no event was removed that was recorded at this time or later; not, when nobody knows.
    pub(crate) fn is_before(&self, recorded_at: i64) -> bool {
        self.facts().is_some_and(|header| header.floor.recorded_at < recorded_at)
    }

    fn find(&self, kind: FloorKind, name: &str) -> Result<Option<FloorRecord<'_>>, ReadError> {
        let (records, table) = (self.part(FloorSection::Records)?, self.part(FloorSection::Table)?);
        find_in_floor(records, table, kind, name).map_err(|fault| self.told(fault))
    }

    /// Where a stream ended when its last event was removed. It may have gone on in segments that are there.
    pub(crate) fn stream(&self, name: &str) -> Result<Option<Removed>, ReadError> {
        Ok(self.find(FloorKind::Stream, name)?.as_ref().map(Removed::of))
    }

    /// How far a foreign source was processed.
    pub(crate) fn tracking(&self, source: &str) -> Result<Option<u64>, ReadError> {
        Ok(self.find(FloorKind::Source, source)?.map(|record| record.value))
    }

    /// All that is known, in order: streams by name, then sources by name.
    pub(crate) fn records(&self) -> Result<impl Iterator<Item = Result<FloorRecord<'_>, ReadError>>, ReadError> {
        let records = floor_records(self.part(FloorSection::Records)?);
        Ok(records.map(|record| record.map_err(|fault| self.told(fault))))
    }

    /// Calls `each` with every stream whose name begins with `prefix`, in the order of names. All are looked at.
    pub(crate) fn streams(&self, prefix: &str, each: &mut dyn FnMut(&str, Removed)) -> Result<(), ReadError> {
        for record in self.records()? {
            let record = record?;
            if record.kind != FloorKind::Stream {
                break;
            }
            if record.name.starts_with(prefix) {
                each(record.name, Removed::of(&record));
            }
        }
        Ok(())
    }

    /// What the tree over batches was at a position that is kept there: behind which position it begins, and its peaks.
    pub(crate) fn tree_at(&self, position: Position) -> Option<(Position, Peaks)> {
        let kept = self.kept_trees()?.into_iter().find(|kept| kept.position == position)?;
        Some((kept.from, kept.peaks))
    }

    fn kept_trees(&self) -> Option<Vec<KeptTree>> {
        let (opened, bytes) = (self.file.as_ref().ok()?, self.part(FloorSection::Merkle).ok()?);
        let is_good = bytes.is_empty() || opened.header.is_good(FloorSection::Merkle, bytes);
        KeptTree::decode(bytes).filter(|_| is_good)
    }

    /// What is wrong with the file, if anything is. Reads all of it.
    pub(crate) fn check(&self) -> Result<(), Damage> {
        let opened = self.file.as_ref().map_err(Clone::clone)?;
        let content = opened.file.content().map_err(|error| self.damage(0, &error.to_string()))?;
        let all = content.bytes(0..opened.file.len()).unwrap_or_default();
        let is_known = || self.kept_trees().map(|_| ()).ok_or(FloorFault::Section { section: FloorSection::Merkle });
        opened.header.check(all).and_then(|()| is_known()).map_err(|fault| match self.told(fault) {
            ReadError::Corrupt(damage) => damage,
            error => self.damage(0, &error.to_string()),
        })
    }

    /// What the file says of the log at this floor; `None` when the file is another's, or cannot be read.
    pub(crate) fn anchor(&self) -> Option<&Floor> {
        self.facts().map(|header| &header.floor).filter(|floor| floor.position == self.place.position)
    }
}

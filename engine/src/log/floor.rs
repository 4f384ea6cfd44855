//! Where the log begins, as recovery finds it: by `store.meta`, by `floor`, and by the segments that are there.
//!
//! Retention writes `floor`, then `store.meta`, and then removes segments, the oldest first, each step
//! durable before the next begins. So
//!
//! - up to `store.meta` nothing has happened: a `floor` that is ahead of it knows more than is needed, and harms nobody;
//! - from there on the retention is finished by whoever opens the store;
//! - a slot of `store.meta` that is lost takes the newest floor with it. Then segments are missing that the other slot
//!   counts on, and `floor` says that they are to.

use std::io;

use annals_codec::{FLOOR_HEADER_LEN, FloorFault, FloorHeader, SegmentNumber, StoreMeta};

use crate::log::names;
use crate::storage::{Access, Storage};

/// What was found of the file.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) enum FloorFact {
    /// There is no such file.
    Missing,
    /// It is none that can be used.
    Bad(FloorFault),
    /// Its header is good; nothing else of it was looked at.
    Good(Box<FloorHeader>),
}

/// Reads the header of the file.
pub(crate) fn survey_floor(storage: &dyn Storage) -> io::Result<FloorFact> {
    let file = match storage.open(names::FLOOR, Access::Read) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(FloorFact::Missing),
        opened => opened?,
    };
    let mut head = vec![0; FLOOR_HEADER_LEN];
    let read = file.read_at(0, &mut head)?;
    let decoded = FloorHeader::decode(&head[..read], file.len()?);
    Ok(decoded.map_or_else(FloorFact::Bad, |header| FloorFact::Good(Box::new(header))))
}

/// The segment that the log begins with; `oldest` is the oldest that is there.
pub(crate) fn first_segment(
    meta: Option<&StoreMeta>,
    floor: &FloorFact,
    oldest: Option<SegmentNumber>,
) -> SegmentNumber {
    let by_meta = meta.map_or(SegmentNumber::FIRST, |meta| meta.floor);
    match floor {
        FloorFact::Good(header) if oldest.is_some_and(|oldest| oldest > by_meta) => header.floor.segment.max(by_meta),
        _ => by_meta,
    }
}

#[cfg(test)]
mod tests {
    use annals_codec::{Epoch, Floor, FloorWriter, LogId, Position, Seed};

    use super::*;

    #[test]
    fn the_log_begins_where_store_meta_says_unless_that_is_gone_and_the_floor_explains_it() {
        let number = SegmentNumber::new;
        let meta = |floor| StoreMeta {
            sequence: 1,
            log_id: LogId::from_bytes([7; 16]),
            created_at: 0,
            epoch: Epoch::default(),
            active: number(9),
            active_base: Position::START,
            active_seed: Seed::default(),
            floor: number(floor),
            floor_base: Position::START,
        };
        let good = |segment| {
            let floor = Floor {
                log_id: LogId::from_bytes([7; 16]),
                segment: number(segment),
                position: Position::START,
                recorded_at: 0,
                written_at: 0,
                chain: 0,
                hash: None,
            };
            FloorFact::Good(Box::new(FloorWriter::new().finish(floor, &[], &mut Vec::new())))
        };
        let first =
            |by_meta, floor: &FloorFact, oldest| first_segment(Some(&meta(by_meta)), floor, Some(number(oldest))).get();
        for oldest in 0..6 {
            assert_eq!(first(3, &FloorFact::Missing, oldest), 3);
            assert_eq!(first(3, &FloorFact::Bad(FloorFault::Header), oldest), 3);
            assert_eq!(first(3, &good(3), oldest), 3);
            assert_eq!(first(3, &good(2), oldest), 3, "an older one does not bring anything back");
            // Written ahead, and nothing is missing; or the slot that goes with it is lost.
            assert_eq!(first(3, &good(5), oldest), if oldest <= 3 { 3 } else { 5 });
        }
        assert_eq!(first_segment(None, &FloorFact::Missing, None), SegmentNumber::FIRST);
    }
}

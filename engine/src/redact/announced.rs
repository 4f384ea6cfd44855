//! What the log says of its redactions: the events of the stream `$redactions`.

use std::collections::BTreeMap;
use std::sync::Arc;

use annals_codec::{Digest, Position, SegmentNumber};

use crate::error::ReadError;
use crate::index::redactions::redactions_in;
use crate::log::segment::Segment;
use crate::view::View;

/// What is known of an event whose data and metadata were taken out.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct RedactedEvent {
    /// The position of the event.
    pub position: Position,
    /// The digest of its data and metadata, as the hash chain has it: SHA-256 of the byte 2, the length of data and of metadata
    /// (4 bytes each, little-endian, `FFFFFFFF` for no metadata), data, metadata.
    pub digest: Digest,
    /// Why, in the words of who asked for it.
    pub reason: Arc<str>,
    /// When it was recorded: nanoseconds since 1970 UTC.
    pub recorded_at: i64,
    /// The position of the event that says so.
    pub announced: Position,
}

/// What the log says is redacted in a segment.
pub(crate) fn announced(
    view: &Arc<View>,
    head: Position,
    log: &Segment,
) -> Result<BTreeMap<Position, RedactedEvent>, ReadError> {
    let mut found: BTreeMap<Position, RedactedEvent> = BTreeMap::new();
    redactions_in(view, head, log, &mut |event, told| {
        let reason: Arc<str> = told.reason.into();
        let here = told.events.into_iter().filter(|(position, _)| (log.base.plus(1)..=log.last()).contains(position));
        for (position, digest) in here {
            let (reason, recorded_at) = (Arc::clone(&reason), event.recorded_at);
            let known = RedactedEvent { position, digest, reason, recorded_at, announced: event.position };
            let first = found.entry(position).or_insert_with(|| known.clone());
            if known.announced < first.announced {
                *first = known;
            }
        }
    })?;
    Ok(found)
}

/// What the log says of one event.
pub(crate) fn announced_at(
    view: &Arc<View>,
    head: Position,
    position: Position,
) -> Result<Option<RedactedEvent>, ReadError> {
    let Some(segment) = view.segment_of(position).and_then(|index| view.segments.get(index)) else { return Ok(None) };
    Ok(announced(view, head, &segment.log)?.remove(&position))
}

/// Tells what is known of redacted events, one segment after the other: for who reads many.
#[derive(Debug, Default)]
pub struct Redactions {
    /// What was looked up last.
    known: Option<(SegmentNumber, BTreeMap<Position, RedactedEvent>)>,
}

impl Redactions {
    /// What is known of the event at a position; `None` when the log does not say that it is redacted.
    pub(crate) fn of(
        &mut self,
        view: &Arc<View>,
        head: Position,
        position: Position,
    ) -> Result<Option<&RedactedEvent>, ReadError> {
        let Some(segment) = view.segment_of(position).and_then(|index| view.segments.get(index)) else {
            return Ok(None);
        };
        let number = segment.log.number;
        if self.known.as_ref().is_none_or(|(known, told)| *known != number || !told.contains_key(&position)) {
            self.known = Some((number, announced(view, head, &segment.log)?));
        }
        Ok(self.known.as_ref().and_then(|(_, told)| told.get(&position)))
    }
}

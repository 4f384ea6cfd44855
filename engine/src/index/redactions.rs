//! What the log says of redactions in a segment: read from the events of the stream `$redactions` behind it.
//!
//! Whoever hashes events again needs it, because the payload of a redacted one is there as a digest alone.

use std::collections::BTreeMap;

use annals_codec::index::KeyHash;
use annals_codec::{Digest, Event, FRAME_ALIGN, FrameKind, Position, Redaction, payload_digest};

use super::find;
use crate::error::ReadError;
use crate::log::segment::Segment;
use crate::view::View;

/// Calls `each` with every redaction of events of a segment that is recorded up to `head`, and the event that says so, in no
/// order.
pub(crate) fn redactions_in(
    view: &View,
    head: Position,
    log: &Segment,
    each: &mut dyn FnMut(&Event<'_>, Redaction),
) -> Result<(), ReadError> {
    let tag = Redaction::tag(log.number);
    let mut buffer = Vec::new();
    for index in view.candidates(KeyHash::stream(Redaction::STREAM)) {
        let segment = &view.segments[index];
        if segment.log.number <= log.number {
            break;
        }
        let Some(span) = segment.span(Redaction::STREAM)? else { continue };
        let mut offsets = Vec::new();
        segment.offsets(&span, 0..span.events, &mut offsets)?;
        let committed = segment.log.committed();
        for offset in offsets.into_iter().map(|offset| u64::from(offset) * FRAME_ALIGN) {
            // Indexed, and not published yet.
            if offset >= committed {
                break;
            }
            let frame = find::frame_at(segment, offset, &mut buffer)?;
            let event = (frame.kind == FrameKind::Event).then(|| Event::decode_again(&frame).ok()).flatten();
            let Some(event) = event.filter(|event| event.position <= head && event.tags.iter().any(|it| it == tag))
            else {
                continue;
            };
            if let Some(redaction) = Redaction::decode(event.data).filter(|_| event.event_type == Redaction::EVENT_TYPE)
            {
                each(&event, redaction);
            }
        }
    }
    Ok(())
}

/// The digests of all payloads of a segment of which the log says that they are gone.
pub(crate) fn payloads_in(view: &View, log: &Segment) -> Result<BTreeMap<Position, Digest>, ReadError> {
    let mut found = BTreeMap::new();
    redactions_in(view, Position::END, log, &mut |_, redaction| found.extend(redaction.events))?;
    Ok(found)
}

/// The digest of an event's payload, which may be gone.
pub(crate) fn payload_of(view: &View, event: &Event<'_>) -> Result<Digest, ReadError> {
    if !event.redacted {
        return Ok(payload_digest(event.data, event.metadata));
    }
    let segment = view.segment_of(event.position).map(|index| &view.segments[index].log);
    let known = segment.map(|log| payloads_in(view, log)).transpose()?;
    known.and_then(|mut known| known.remove(&event.position)).ok_or_else(|| unknown(view, event.position))
}

/// The error for a redacted event of which nobody knows what it was.
pub(crate) fn unknown(view: &View, position: Position) -> ReadError {
    let index = view.segment_of(position).unwrap_or(0);
    let fault = "the event is redacted, and the log does not say which digest its payload had".to_owned();
    ReadError::Corrupt(view.segments[index].log.damage(0, position, position, fault))
}

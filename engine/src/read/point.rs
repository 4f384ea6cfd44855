//! One event by its position, without a reader.
//!
//! It is looked at once, and lent as it stands in the mapping: one look at the list
//! of segments, one at the dense index, one at the frame. Whatever is unusual is left to a
//! [`Reader`], which knows what to say about it.

use std::sync::Arc;

use annals_codec::{Event, Frame, FrameKind, Position};

use super::Reader;
use crate::error::ReadError;
use crate::event::RecordedEvent;
use crate::log::segment::GROUP;
use crate::view::View;

/// The event at `position`; `None` when there is none up to `head`.
pub(crate) fn event_at(
    view: &Arc<View>,
    head: Position,
    position: Position,
) -> Result<Option<RecordedEvent>, ReadError> {
    if position == Position::START || position > head {
        return Ok(None);
    }
    match lent(view, position) {
        Some(event) => Ok(Some(event)),
        None => Reader::all(Arc::clone(view), head, position.before()).limit(1).next().transpose(),
    }
}

/// The event, if its segment is mapped and nothing is wrong with it.
fn lent(view: &View, position: Position) -> Option<RecordedEvent> {
    let segment = &*view.segments[view.segment_of(position)?].log;
    let offset = segment.offset_of(position).ok()??;
    segment.prefetch(offset);
    let bytes = segment.mapped_frame(offset)?;
    let frame = if segment.is_verified(segment.index_of(position) / GROUP) {
        Frame::read_unverified(bytes)
    } else {
        Frame::read(bytes, segment.seed)
    };
    let frame = frame.ok().filter(|frame| frame.kind == FrameKind::Event && frame.header.position == position)?;
    // An owned event is decoded again whenever it is asked, so it must decode.
    Event::decode_again(&frame).ok()?;
    Some(RecordedEvent::new(segment.lend(offset, bytes.len())?))
}

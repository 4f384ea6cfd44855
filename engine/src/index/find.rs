//! Finding one event by its id, and one batch by its key.
//!
//! Segments are asked from the newest to the oldest, those whose filters do not rule them out. An index
//! names candidates, and the frame that stands there decides.
//!
//! Ids that the store made are in no filter. They tell when their events were recorded, and so in which segment.

use annals_codec::index::KeyHash;
use annals_codec::{Commit, Event, EventId, Frame, FrameKind, LogId, Mark, Position, SourceName};

use super::IndexedSegment;
use crate::error::ReadError;
use crate::log::segment::Segment;
use crate::view::View;

/// A batch, as its commit marker tells.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Batch {
    pub(crate) first: Position,
    /// The one before `first`, when it has no events.
    pub(crate) last: Position,
    pub(crate) tracking: Option<(Box<str>, u64)>,
    /// Where in its segment the marker stands.
    pub(crate) marker: u64,
}

impl Batch {
    fn of(commit: &Commit<'_>, marker: u64) -> Batch {
        let tracking = commit.tracking.map(|tracking| (Box::from(tracking.source), tracking.upstream));
        Batch { first: commit.first, last: commit.last, tracking, marker }
    }

    /// How many events it has.
    pub(crate) fn len(&self) -> u64 {
        self.last.get() + 1 - self.first.get()
    }

    /// Whether this is what it records of a foreign source.
    pub(crate) fn is_tracking(&self, tracking: Option<&(SourceName, u64)>) -> bool {
        let mine = self.tracking.as_ref().map(|(source, upstream)| (&**source, *upstream));
        mine == tracking.map(|(source, upstream)| (&**source, *upstream))
    }
}

/// The event with this id, up to `head`: in which segment, and at which position.
pub(crate) fn find_id(view: &View, head: Position, id: EventId) -> Result<Option<(usize, Position)>, ReadError> {
    let (mut candidates, mut buffer) = (Vec::new(), Vec::new());
    let made = id.unix_millis().into_iter().flat_map(|millis| view.recorded_in(millis));
    for index in made.chain(view.candidates(KeyHash::id(id))) {
        let segment = &view.segments[index];
        segment.ids(id, &mut candidates)?;
        for position in candidates.drain(..).filter(|position| *position <= head) {
            if id_at(segment, position, &mut buffer)? == id {
                return Ok(Some((index, position)));
            }
        }
    }
    nowhere(view)
}

/// The batch with this idempotency key, up to `head`, and its segment.
pub(crate) fn find_key(view: &View, head: Position, key: &str) -> Result<Option<(usize, Batch)>, ReadError> {
    let (mut candidates, mut buffer) = (Vec::new(), Vec::new());
    for index in view.candidates(KeyHash::key(key)) {
        let segment = &view.segments[index];
        segment.markers(key, &mut candidates)?;
        for offset in candidates.drain(..) {
            // Indexed, and not published yet.
            if offset >= segment.log.committed() {
                continue;
            }
            let frame = frame_at(segment, offset, &mut buffer)?;
            if frame.kind != FrameKind::Commit {
                return Err(damage(segment, offset, "another frame than a commit marker stands there".to_owned()));
            }
            let commit = Commit::decode(&frame).map_err(|fault| damage(segment, offset, fault.to_string()))?;
            if commit.key == Some(key) && commit.last <= head {
                return Ok(Some((index, Batch::of(&commit, offset))));
            }
        }
    }
    nowhere(view)
}

/// The batch in which the event at `position` is, if there is such an event.
pub(crate) fn batch_of(view: &View, position: Position) -> Result<Option<Batch>, ReadError> {
    marker_behind(view, position, Batch::of)
}

/// What identifies the history of a log up to the event at `position`, if there is such an event.
pub(crate) fn mark_of(view: &View, log_id: LogId, position: Position) -> Result<Option<Mark>, ReadError> {
    marker_behind(view, position, |commit, _| Mark { log_id, position, chain: commit.chain, hash: commit.hash })
}

/// Calls `each` with the events of the batch that a marker ends, whose first event is at `first`.
pub(crate) fn events_of(
    view: &View,
    first: Position,
    count: u32,
    each: &mut dyn FnMut(&Event<'_>),
) -> Result<(), ReadError> {
    let Some(segment) = view.segment_of(first).map(|index| &view.segments[index]) else { return Ok(()) };
    let mut buffer = Vec::new();
    for number in 0..u64::from(count) {
        let offset = offset_of(segment, first.plus(number))?;
        let frame = frame_at(segment, offset, &mut buffer)?;
        if frame.kind != FrameKind::Event || frame.header.position != first.plus(number) {
            let fault = format!("another frame than that of position {} stands there", first.plus(number));
            return Err(damage(segment, offset, fault));
        }
        each(&Event::decode_again(&frame).map_err(|fault| damage(segment, offset, fault.to_string()))?);
    }
    Ok(())
}

/// What `read` makes of the marker of the batch in which the event at `position` is, and of its offset.
pub(crate) fn marker_behind<T>(
    view: &View,
    position: Position,
    read: impl FnOnce(&Commit<'_>, u64) -> T,
) -> Result<Option<T>, ReadError> {
    let Some(index) = view.segment_of(position) else { return Ok(None) };
    let segment = &view.segments[index];
    let mut offset = offset_of(segment, position)?;
    let mut buffer = Vec::new();
    loop {
        let frame = frame_at(segment, offset, &mut buffer)?;
        match frame.kind {
            FrameKind::Event | FrameKind::Skippable(_) => offset += frame.header.padded_len(),
            FrameKind::Commit => {
                let commit = Commit::decode(&frame).map_err(|fault| damage(segment, offset, fault.to_string()))?;
                return Ok(Some(read(&commit, offset)));
            }
            FrameKind::Seal => return Err(damage(segment, offset, "the batch has no commit marker".to_owned())),
        }
    }
}

/// The answer when no segment has it: none, unless it may lie where nothing can be read.
fn nowhere<T>(view: &View) -> Result<Option<T>, ReadError> {
    view.gaps.first().map_or(Ok(None), |gap| Err(ReadError::Corrupt(gap.clone())))
}

fn id_at(segment: &IndexedSegment, position: Position, buffer: &mut Vec<u8>) -> Result<EventId, ReadError> {
    let offset = offset_of(segment, position)?;
    let frame = frame_at(segment, offset, buffer)?;
    if frame.kind != FrameKind::Event || frame.header.position != position {
        return Err(damage(segment, offset, format!("another frame than that of position {position} stands there")));
    }
    let event = Event::decode_again(&frame).map_err(|fault| damage(segment, offset, fault.to_string()))?;
    Ok(event.id)
}

fn offset_of(segment: &IndexedSegment, position: Position) -> Result<u64, ReadError> {
    let offset = segment.log.offset_of(position).map_err(|error| segment.unreadable(0, error))?;
    let lost = || segment.log.damage(0, position, position, "the event lies in a damaged region".to_owned());
    offset.ok_or_else(|| ReadError::Corrupt(lost()))
}

pub(super) fn frame_at<'a>(
    segment: &'a IndexedSegment,
    offset: u64,
    buffer: &'a mut Vec<u8>,
) -> Result<Frame<'a>, ReadError> {
    let log: &Segment = &segment.log;
    let bytes = log.frame(offset, buffer).map_err(|error| segment.unreadable(offset, error))?;
    let Some(bytes) = bytes else {
        return Err(damage(segment, offset, "the length of the frame is impossible".to_owned()));
    };
    Frame::read(bytes, log.seed).map_err(|fault| damage(segment, offset, fault.to_string()))
}

/// The frame at `offset` is damaged, and with it the event that is there or comes next.
fn damage(segment: &IndexedSegment, offset: u64, fault: String) -> ReadError {
    match segment.position_at(offset) {
        Ok(position) => ReadError::Corrupt(segment.log.damage(offset, position, position, fault)),
        Err(error) => error,
    }
}

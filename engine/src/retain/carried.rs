//! What retention carries along: the streams of the store's own that speak of all events, whenever they were appended.
//!
//! The schema of a type is registered once, at the beginning of a log more often than not, and is needed as long as there
//! are events of the type. So what the segments that go hold of such a stream is appended once more, durably, before
//! anything goes. After a crash in the middle it may stand in the log twice, which says no more than once.
//!
//! What is carried says when it was said first: its `occurred_at` is the time at which that was recorded. What stands for
//! an event that a repair had to give up is not carried: it speaks of its own position alone.

use std::io;
use std::sync::Arc;

use annals_codec::{Event, Position, StreamId, StreamVersion};
use bytes::Bytes;
use hashbrown::HashSet;

use super::TruncateError;
use crate::append::ExpectedVersion;
use crate::append::request::Request;
use crate::background::Beside;
use crate::error::AppendError;
use crate::event::NewEvent;
use crate::options::Durability;
use crate::own::OwnStream;
use crate::read::Reader;
use crate::repair::fillers::is_filler;
use crate::view::View;

impl Beside {
    /// Carries on what the first `count` segments hold.
    pub(super) fn carry_on(&self, view: &Arc<View>, head: Position, count: usize) -> Result<(), TruncateError> {
        let last = view.segments[count].log.base;
        for stream in OwnStream::ALL {
            for event in carried(view, head, stream, last)? {
                let mut request =
                    Request::single(StreamId::stored(stream.name()), ExpectedVersion::Any, event, Durability::Sync);
                let done = request.check_own(&self.options).and_then(|()| self.queue.commit(request, &*self.commit));
                self.commit.note_own_append();
                done.map_err(not_carried)?;
            }
        }
        Ok(())
    }
}

/// The events of a stream up to a position that do not stand behind it again.
fn carried(
    view: &Arc<View>,
    head: Position,
    stream: OwnStream,
    last: Position,
) -> Result<Vec<NewEvent>, TruncateError> {
    let mut reader = Reader::stream(Arc::clone(view), head, StreamId::stored(stream.name()), StreamVersion::EMPTY);
    reader = reader.allow_truncated();
    let (mut going, mut said) = (Vec::new(), HashSet::new());
    while let Some(event) = reader.next_event()? {
        if is_filler(&event) {
            continue;
        }
        if event.position <= last {
            going.push(again(&event));
        } else {
            said.insert((event.event_type.to_owned(), Bytes::copy_from_slice(event.data)));
        }
    }
    // A crash may have left two of one, of which one is enough.
    going.retain(|event| said.insert((event.event_type.as_deref().unwrap_or_default().to_owned(), event.data.clone())));
    Ok(going)
}

/// An event that says the same.
fn again(event: &Event<'_>) -> NewEvent {
    let mut new = NewEvent::new(event.event_type, event.data.to_vec())
        .content_type(event.content_type)
        .schema_version(event.schema_version)
        .occurred_at(event.occurred_at.unwrap_or(event.recorded_at));
    if let Some(metadata) = event.metadata {
        new = new.metadata(metadata.to_vec());
    }
    new
}

fn not_carried(error: AppendError) -> TruncateError {
    match error {
        AppendError::StorageFull => TruncateError::StorageFull,
        AppendError::Poisoned { cause } | AppendError::CommitUnknown { cause } => TruncateError::Poisoned { cause },
        AppendError::Unreadable { cause } => TruncateError::Read(cause),
        other => TruncateError::Io {
            action: "carry on",
            path: "what the store says of itself".to_owned(),
            source: Arc::new(io::Error::other(other)),
        },
    }
}

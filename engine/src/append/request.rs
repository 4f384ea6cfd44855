//! What a caller wants to append, checked for all that needs no state.
//!
//! The checks of arguments and limits happen here, in the caller's own thread,
//! before anything is queued: a bad request costs nobody else anything.

use annals_codec::{Commit, Epoch, Position, SourceName, StreamId, Tracking};
use smallvec::SmallVec;

use super::ExpectedVersion;
use crate::error::AppendError;
use crate::event::NewEvent;
use crate::options::{Durability, Options};

/// A batch that is complete and within the limits.
#[derive(Debug)]
pub(crate) struct Request {
    /// The streams it names, each once, and what is expected of them.
    pub(crate) streams: SmallVec<[(StreamId, ExpectedVersion); 1]>,
    /// Each event, with the index of its stream.
    pub(crate) events: SmallVec<[(u32, NewEvent); 1]>,
    pub(crate) tracking: Option<(SourceName, u64)>,
    pub(crate) durability: Durability,
    /// What it takes in the log, marker included, in bytes.
    pub(crate) bytes: u64,
}

impl Request {
    /// One stream, one event: the commonest request, without a detour.
    #[inline]
    pub(crate) fn single(
        stream: StreamId,
        expected: ExpectedVersion,
        event: NewEvent,
        options: &Options,
    ) -> Result<Request, AppendError> {
        Request {
            streams: SmallVec::from_buf([(stream, expected)]),
            events: SmallVec::from_buf([(0, event)]),
            tracking: None,
            durability: options.durability,
            bytes: 0,
        }
        .checked(options)
    }

    #[inline]
    pub(crate) fn checked(mut self, options: &Options) -> Result<Request, AppendError> {
        if self.events.is_empty() && self.tracking.is_none() {
            return Err(AppendError::EmptyBatch);
        }
        let mut bytes = 0;
        for (stream, event) in &self.events {
            if let Some(invalid) = &event.invalid {
                return Err(invalid.clone().into());
            }
            let part = [event.data.len(), event.metadata.as_ref().map_or(0, bytes::Bytes::len)];
            let unencoded: u64 = part.iter().map(|&len| len as u64).sum();
            let stream = &self.streams[*stream as usize].0;
            let len = if unencoded > options.max_event_bytes { unencoded } else { event.in_stream(stream).frame_len() };
            if len > options.max_event_bytes {
                return Err(AppendError::EventTooLarge { bytes: len, limit: options.max_event_bytes });
            }
            bytes += len;
        }
        bytes += self.marker(Position::new(self.events.len() as u64)).frame_len();
        if bytes > options.max_batch_bytes {
            return Err(AppendError::BatchTooLarge { bytes, limit: options.max_batch_bytes });
        }
        self.bytes = bytes;
        Ok(self)
    }

    /// Its commit marker, but for what only the log can tell.
    pub(crate) fn marker(&self, last: Position) -> Commit<'_> {
        let mut marker = Commit::new(Epoch::default(), last, self.events.len() as u32);
        marker.tracking = self.tracking.as_ref().map(|(source, upstream)| Tracking { source, upstream: *upstream });
        marker
    }
}

//! What a caller wants to append, checked for all that needs no state.
//!
//! The checks of arguments and limits happen here, in the caller's own thread,
//! before anything is queued: a bad request costs nobody else anything.

use std::time::Instant;

use annals_codec::{
    Commit, Digest, Epoch, IdempotencyKey, NameError, Position, SourceName, StreamId, Tracking, payload_digest,
};
use hashbrown::HashSet;
use smallvec::SmallVec;

use super::ExpectedVersion;
use super::condition::AppendCondition;
use crate::admit::Refusal;
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
    pub(crate) key: Option<IdempotencyKey>,
    /// Each of them must hold.
    pub(crate) conditions: Vec<AppendCondition>,
    pub(crate) durability: Durability,
    /// What it takes in the log, marker included, in bytes.
    pub(crate) bytes: u64,
    /// How many of the events have ids of the caller's.
    pub(crate) given_ids: usize,
    /// The digest of data and metadata of each event, where the store keeps a hash chain: computed by the caller,
    /// while others commit.
    pub(crate) payloads: Vec<Digest>,
    /// Why its events are not admitted, if they are not.
    pub(crate) refused: Option<Refusal>,
    /// When it was queued, if it is to be measured.
    pub(crate) queued_at: Option<Instant>,
}

impl Request {
    /// One stream, one event: the commonest request, without a detour. Not [`check`](Request::check)ed yet.
    #[inline]
    pub(crate) fn single(
        stream: StreamId,
        expected: ExpectedVersion,
        event: NewEvent,
        durability: Durability,
    ) -> Request {
        let mut request = Request::empty(durability);
        request.streams.push((stream, expected));
        request.events.push((0, event));
        request
    }

    /// A request to be filled and then [`check`](Request::check)ed.
    #[inline]
    pub(crate) fn empty(durability: Durability) -> Request {
        Request {
            streams: SmallVec::new(),
            events: SmallVec::new(),
            tracking: None,
            key: None,
            conditions: Vec::new(),
            durability,
            bytes: 0,
            given_ids: 0,
            payloads: Vec::new(),
            refused: None,
            queued_at: None,
        }
    }

    /// Checks it against the limits, and finds out what it takes in the log.
    #[inline]
    pub(crate) fn check(&mut self, options: &Options) -> Result<(), AppendError> {
        // The name of a stream that was read may be one of the store's own.
        for (stream, _) in &self.streams {
            if stream.starts_with('$') {
                // A repair names streams that anybody may append to.
                StreamId::new(stream)?;
            }
        }
        self.check_sizes(options, options.max_event_bytes, options.max_batch_bytes)
    }

    /// The same, of what the store itself appends: it is not for limits that others were given to keep it from saying, for one, what is
    /// redacted.
    pub(crate) fn check_own(&mut self, options: &Options) -> Result<(), AppendError> {
        let most = options.max_batch_bytes.max(Options::DEFAULT_MAX_BATCH_BYTES);
        self.check_sizes(options, most, most)
    }

    #[inline]
    fn check_sizes(&mut self, options: &Options, max_event: u64, max_batch: u64) -> Result<(), AppendError> {
        if self.events.is_empty() && self.tracking.is_none() {
            return Err(AppendError::EmptyBatch);
        }
        for condition in &self.conditions {
            condition.check()?;
        }
        let keeps_hashes = options.hash_chain == Some(true);
        let (mut bytes, mut given_ids) = (0, 0);
        for (stream, event) in &self.events {
            if let Some(invalid) = &event.invalid {
                return Err(NameError::clone(invalid).into());
            }
            let part = [event.data.len(), event.metadata.as_ref().map_or(0, bytes::Bytes::len)];
            let unencoded: u64 = part.iter().map(|&len| len as u64).sum();
            let stream = &self.streams[*stream as usize].0;
            let len = if unencoded > max_event { unencoded } else { event.in_stream(stream).frame_len() };
            if len > max_event {
                return Err(AppendError::EventTooLarge { bytes: len, limit: max_event });
            }
            bytes += len;
            given_ids += usize::from(event.id.is_some());
        }
        let mut marker = self.marker(Position::new(self.events.len() as u64));
        marker.hash = keeps_hashes.then_some(Digest::from_bytes([0; Digest::LEN]));
        bytes += marker.frame_len();
        if bytes > max_batch {
            return Err(AppendError::BatchTooLarge { bytes, limit: max_batch });
        }
        (self.bytes, self.given_ids) = (bytes, given_ids);
        if given_ids > 1 {
            self.check_ids()?;
        }
        if keeps_hashes {
            let payload = |event: &NewEvent| payload_digest(&event.data, event.metadata.as_deref());
            self.payloads = self.events.iter().map(|(_, event)| payload(event)).collect();
        }
        Ok(())
    }

    fn check_ids(&self) -> Result<(), AppendError> {
        let mut ids = HashSet::with_capacity(self.given_ids);
        let mut given = self.events.iter().filter_map(|(_, event)| event.id);
        match given.find(|id| !ids.insert(*id)) {
            Some(id) => Err(AppendError::DuplicateIdInBatch { id }),
            None => Ok(()),
        }
    }

    /// Whether it may be one that was made before: if it has no key and none of its events an id,
    /// nobody can tell, and nobody looks.
    pub(crate) fn may_be_retry(&self) -> bool {
        self.given_ids > 0 || self.key.is_some()
    }

    /// Its commit marker, but for what only the log can tell.
    pub(crate) fn marker(&self, last: Position) -> Commit<'_> {
        let mut marker = Commit::new(Epoch::default(), last, self.events.len() as u32);
        marker.key = self.key.as_deref();
        marker.tracking = self.tracking.as_ref().map(|(source, upstream)| Tracking { source, upstream: *upstream });
        marker
    }
}

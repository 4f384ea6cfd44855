//! Events on their way in and on their way out, as owned values.
//!
//! [`NewEvent`] is what a caller appends; [`RecordedEvent`] is the owned twin of
//! the borrowed [`Event`]: its payload shares the memory it was read into, or
//! the mapping of the segment, and is not copied.

use std::fmt;

use annals_codec::{
    ContentType, Digest, Event, EventId, EventType, Frame, IntoName, NameError, NameProblem, Position, StreamVersion,
    Tag, Tags, payload_digest, push_tag,
};
use bytes::Bytes;

use crate::admit::Seal;

/// An event to append.
///
/// ```
/// use annals::{ContentType, NewEvent};
///
/// let event = NewEvent::new("OrderPlaced", r#"{"total": 4200}"#)
///     .content_type(ContentType::JSON)
///     .tag("customer:42")
///     .metadata("placed in the shop");
/// ```
#[derive(Clone, Debug)]
pub struct NewEvent {
    pub(crate) event_type: Option<EventType>,
    pub(crate) data: Bytes,
    pub(crate) metadata: Option<Bytes>,
    /// In the encoded form, ready to be written.
    pub(crate) tags: Vec<u8>,
    pub(crate) id: Option<EventId>,
    pub(crate) occurred_at: Option<i64>,
    pub(crate) correlation_id: Option<EventId>,
    pub(crate) causation_id: Option<EventId>,
    pub(crate) schema_version: u16,
    pub(crate) content_type: ContentType,
    /// Who has looked at it before.
    pub(crate) seal: Option<Seal>,
    /// The first name that is not one: the append reports it.
    pub(crate) invalid: Option<Box<NameError>>,
}

impl NewEvent {
    /// The most bytes that the tags of one event may take: one for each, and their text.
    pub const MAX_TAGS_LEN: usize = u16::MAX as usize;

    /// An event of this type with this payload, and nothing else said about it.
    ///
    /// A type that is empty or too long is reported by the append. Make an
    /// [`EventType`] once and pass a reference to save the check and the copy.
    pub fn new(event_type: impl IntoName<EventType>, data: impl Into<Bytes>) -> NewEvent {
        let (event_type, invalid) = match event_type.into_name() {
            Ok(event_type) => (Some(event_type), None),
            Err(error) => (None, Some(Box::new(error))),
        };
        NewEvent {
            event_type,
            data: data.into(),
            metadata: None,
            tags: Vec::new(),
            id: None,
            occurred_at: None,
            correlation_id: None,
            causation_id: None,
            schema_version: 0,
            content_type: ContentType::BINARY,
            seal: None,
            invalid,
        }
    }

    /// Gives the event an id of the caller's. Without it the store makes one, a UUID of version 7.
    ///
    /// An id is given to one event of a log, and to that only once: appended again, the same event
    /// is found, and nothing is written. See [`BatchBuilder`](crate::BatchBuilder#retries).
    #[must_use]
    pub fn id(mut self, id: EventId) -> NewEvent {
        self.id = Some(id);
        self
    }

    /// Adds a label to find the event by. May be called again, for more.
    #[must_use]
    pub fn tag(mut self, tag: impl IntoName<Tag>) -> NewEvent {
        match tag.into_name() {
            Ok(tag) => push_tag(&mut self.tags, &tag),
            Err(error) => {
                self.invalid.get_or_insert_with(|| Box::new(error));
            }
        }
        if self.tags.len() > NewEvent::MAX_TAGS_LEN {
            let problem = NameProblem::TooLong { len: self.tags.len(), max: NewEvent::MAX_TAGS_LEN };
            self.invalid.get_or_insert_with(|| Box::new(NameError { what: "list of tags", problem }));
        }
        self
    }

    /// Says something beside the payload. Empty metadata is not the same as none.
    #[must_use]
    pub fn metadata(mut self, metadata: impl Into<Bytes>) -> NewEvent {
        self.metadata = Some(metadata.into());
        self
    }

    /// Names the conversation that the event belongs to.
    #[must_use]
    pub fn correlation_id(mut self, id: EventId) -> NewEvent {
        self.correlation_id = Some(id);
        self
    }

    /// Names the event or command that caused this one.
    #[must_use]
    pub fn causation_id(mut self, id: EventId) -> NewEvent {
        self.causation_id = Some(id);
        self
    }

    /// Says when it happened: nanoseconds since 1970 UTC. Orders nothing.
    #[must_use]
    pub fn occurred_at(mut self, nanos: i64) -> NewEvent {
        self.occurred_at = Some(nanos);
        self
    }

    /// Says which version of its schema the payload has. Default: 0, nothing said.
    #[must_use]
    pub fn schema_version(mut self, version: u16) -> NewEvent {
        // Whoever has looked at it has seen another version.
        self.seal = None;
        self.schema_version = version;
        self
    }

    /// Says how the payload is encoded. Default: [`ContentType::BINARY`].
    #[must_use]
    pub fn content_type(mut self, content_type: ContentType) -> NewEvent {
        self.content_type = content_type;
        self
    }

    /// Marks it as one that was looked at, for the [`Admission`](crate::Admission) that knows the seal. The mark
    /// stays when the event is encrypted, and goes when its [schema version](NewEvent::schema_version) is changed.
    #[must_use]
    pub fn sealed(mut self, seal: &Seal) -> NewEvent {
        self.seal = Some(seal.clone());
        self
    }

    /// The first of its names that is none, which is why it cannot be appended.
    pub fn invalid_name(&self) -> Option<&NameError> {
        self.invalid.as_deref()
    }

    /// Whether an event says what this one would say in `stream`: all that its author says of
    /// what has happened. When and where it was recorded, and what it was said in answer to, is no part of that.
    pub(crate) fn has_content_of(&self, stream: &str, event: &Event<'_>) -> bool {
        self.has_names_of(stream, event) && self.metadata.as_deref() == event.metadata && *self.data == *event.data
    }

    /// The same of an event that is redacted, by the digest of what it has lost.
    pub(crate) fn has_content_of_redacted(&self, stream: &str, event: &Event<'_>, payload: &Digest) -> bool {
        self.has_names_of(stream, event) && payload_digest(&self.data, self.metadata.as_deref()) == *payload
    }

    fn has_names_of(&self, stream: &str, event: &Event<'_>) -> bool {
        let new = self.in_stream(stream);
        new.stream == event.stream
            && new.event_type == event.event_type
            && new.tags == event.tags
            && new.schema_version == event.schema_version
            && new.occurred_at == event.occurred_at
    }

    /// The event as it would stand in `stream`, and will be encoded, with nothing yet that the store assigns.
    pub fn in_stream<'a>(&'a self, stream: &'a str) -> Event<'a> {
        let event_type = self.event_type.as_deref().unwrap_or_default();
        let mut event = Event::new(stream, event_type, &self.data);
        event.occurred_at = self.occurred_at;
        event.correlation_id = self.correlation_id;
        event.causation_id = self.causation_id;
        event.schema_version = self.schema_version;
        event.content_type = self.content_type;
        event.tags = Tags::from_encoded(&self.tags);
        event.metadata = self.metadata.as_deref();
        event
    }
}

/// An event read from the store, owned: cheap to clone, and it keeps what it was read from alive.
#[derive(Clone)]
pub struct RecordedEvent {
    /// The whole frame, which was decoded successfully before.
    frame: Bytes,
}

impl RecordedEvent {
    /// Wraps a frame that [`Event::decode`] has accepted.
    pub(crate) fn new(frame: Bytes) -> RecordedEvent {
        RecordedEvent { frame }
    }

    /// The event, borrowed.
    ///
    /// # Panics
    ///
    /// When the bytes were changed behind the store's back since they were checked.
    pub fn as_event(&self) -> Event<'_> {
        let frame = Frame::read_unverified(&self.frame).expect("the frame was checked when it was read");
        Event::decode_again(&frame).expect("the event was checked when it was read")
    }

    /// Its place in the log.
    pub fn position(&self) -> Position {
        self.as_event().position
    }

    /// Its place in its stream.
    pub fn version(&self) -> StreamVersion {
        self.as_event().version
    }

    /// The stream it belongs to.
    pub fn stream(&self) -> &str {
        self.as_event().stream
    }

    /// What kind of event it is.
    pub fn event_type(&self) -> &str {
        self.as_event().event_type
    }

    /// The payload, shared and not copied.
    pub fn data(&self) -> Bytes {
        self.frame.slice_ref(self.as_event().data)
    }

    /// Whether data and metadata were taken out of it ([`EventStore::redact`](crate::EventStore::redact)): then they are
    /// empty and none, whatever they were.
    pub fn is_redacted(&self) -> bool {
        self.as_event().redacted
    }

    /// What was said beside the payload, shared and not copied.
    pub fn metadata(&self) -> Option<Bytes> {
        self.as_event().metadata.map(|metadata| self.frame.slice_ref(metadata))
    }
}

impl PartialEq for RecordedEvent {
    fn eq(&self, other: &RecordedEvent) -> bool {
        self.as_event() == other.as_event()
    }
}

impl Eq for RecordedEvent {}

impl fmt::Debug for RecordedEvent {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.as_event().fmt(out)
    }
}

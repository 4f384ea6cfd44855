//! Who is asked before events are taken in: the place for rules of the program's about what its log may hold.
//!
//! The engine does not look into payloads. Who wants to, gives the store an [`Admission`]
//! ([`Options::admission`](crate::Options::admission)); the crate `annals-schema` has one that checks JSON Schemas. It is
//! asked in the appender's own thread, before anything is queued, so that nobody else waits for it; what it says counts
//! only behind everything else that could be said of the request, in the writer (`append/commit.rs`). A retry of what
//! was appended before is recognised whatever the rules have become.

use std::error::Error;
use std::fmt;
use std::sync::Arc;

use annals_codec::Event;

use crate::event::NewEvent;
use crate::store::EventStore;

/// Why events are not admitted, in the words of who refuses them.
pub type Refusal = Arc<dyn Error + Send + Sync>;

/// Says which events may be appended.
///
/// ```
/// use std::sync::Arc;
///
/// use annals::{
///     Admission, AppendError, EventStore, ExpectedVersion, NewEvent, Options, Proposed, Refusal,
/// };
///
/// /// Types begin with a capital letter.
/// struct Capitals;
///
/// impl Admission for Capitals {
///     fn admit(&self, _: &EventStore, events: &mut dyn Iterator<Item = Proposed<'_>>) -> Result<(), Refusal> {
///         for proposed in events {
///             let name = proposed.event().event_type;
///             if !name.starts_with(char::is_uppercase) {
///                 let why: Box<dyn std::error::Error + Send + Sync> = format!("{name} is no name of a type").into();
///                 return Err(why.into());
///             }
///         }
///         Ok(())
///     }
/// }
///
/// let store = EventStore::in_memory(&Options::new().admission(Arc::new(Capitals)))?;
/// store.append("order-7", ExpectedVersion::Any, NewEvent::new("Placed", "{}"))?;
/// let refused = store.append("order-7", ExpectedVersion::Any, NewEvent::new("paid", "{}"));
/// assert!(matches!(refused, Err(AppendError::Refused { .. })));
/// assert_eq!(store.head().get(), 1);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub trait Admission: Send + Sync {
    /// Whether the events of one batch may be appended to `store`, all of them or none.
    ///
    /// Called by many threads at once, each with its own batch, which is within the store's limits. A panic is that of the
    /// append, and leaves the store as it was.
    ///
    /// # Errors
    ///
    /// Why not. It becomes [`AppendError::Refused`](crate::AppendError::Refused), unless something else keeps the
    /// batch from being appended.
    fn admit(&self, store: &EventStore, events: &mut dyn Iterator<Item = Proposed<'_>>) -> Result<(), Refusal>;
}

/// An event that somebody wants to append.
#[derive(Clone, Copy, Debug)]
pub struct Proposed<'a> {
    event: Event<'a>,
    seal: Option<&'a Seal>,
}

impl<'a> Proposed<'a> {
    pub(crate) fn new(stream: &'a str, event: &'a NewEvent) -> Proposed<'a> {
        Proposed { event: event.in_stream(stream), seal: event.seal.as_ref() }
    }

    /// What it says. Its position, its version, its id and its time are not known yet.
    pub fn event(&self) -> &Event<'a> {
        &self.event
    }

    /// Whether it was [sealed](NewEvent::sealed) with this seal.
    pub fn is_sealed_with(&self, seal: &Seal) -> bool {
        self.seal.is_some_and(|own| own == seal)
    }
}

/// A mark on an event that was looked at before it is appended. Only who has the seal can put it on an event, or know it.
#[derive(Clone, Default)]
pub struct Seal(Arc<()>);

impl Seal {
    /// Another one than all others.
    pub fn new() -> Seal {
        Seal::default()
    }
}

impl PartialEq for Seal {
    fn eq(&self, other: &Seal) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl Eq for Seal {}

impl fmt::Debug for Seal {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("Seal")
    }
}

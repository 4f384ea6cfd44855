//! The schemas of a store, as a program holds them: asked about each event before it is appended.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use annals::{Admission, EventStore, NewEvent, Proposed, ReadError, Refusal, Seal};
use parking_lot::RwLock;

use crate::registration::RegisteredSchema;
use crate::validation::known::Known;
use crate::validation::refused::{Fault, FaultyEvent, Refused};

/// What becomes of an event that is not what its schema asks for.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, PartialEq)]
pub enum SchemaMode {
    /// Nobody looks.
    Off,
    /// It is appended, counted, and told ([`Schemas::on_fault`], and `tracing`): whatever the next mode would refuse.
    Warn,
    /// It is refused ([`Refused`]), and so is one whose type has no schema, or none of its version.
    #[default]
    Enforce,
}

impl FromStr for SchemaMode {
    type Err = String;

    fn from_str(text: &str) -> Result<SchemaMode, String> {
        match text {
            "off" => Ok(SchemaMode::Off),
            "warn" => Ok(SchemaMode::Warn),
            "enforce" => Ok(SchemaMode::Enforce),
            _ => Err("off, warn or enforce".to_owned()),
        }
    }
}

/// How many events were looked at since the program began.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
#[non_exhaustive]
pub struct SchemaCounts {
    /// Events that were checked, those among them that had been validated before.
    pub checked: u64,
    /// Events that were refused.
    pub refused: u64,
    /// Events that were let through with a fault.
    pub warned: u64,
}

type OnFault = dyn Fn(&FaultyEvent) + Send + Sync;

/// The schemas in the log of one store: who is asked before an event is appended.
///
/// Give it to the store when that is opened ([`Options::admission`](annals::Options::admission)); it reads the schemas from the
/// stream `$schema` at the first append, and again when somebody has registered one by any handle of the store. It
/// checks in the thread of who appends, before anything is queued.
///
/// ```
/// use std::sync::Arc;
///
/// use annals::{AppendError, EventStore, ExpectedVersion, NewEvent, Options};
/// use annals_schema::{NewSchema, SchemaMode, Schemas};
///
/// # let dir = tempfile::tempdir()?;
/// let schemas = Arc::new(Schemas::new(SchemaMode::Enforce));
/// let store = EventStore::open(dir.path(), &Options::new().admission(schemas.clone()))?;
/// schemas.register(&store, NewSchema::new("Paid", r#"{
///     "type": "object",
///     "properties": {"amount": {"type": "integer", "minimum": 1}},
///     "required": ["amount"],
///     "additionalProperties": false
/// }"#))?;
///
/// store.append("order-7", ExpectedVersion::Any, NewEvent::new("Paid", r#"{"amount": 42}"#))?;
/// let refused = store.append("order-7", ExpectedVersion::Any, NewEvent::new("Paid", r#"{"amount": "42"}"#));
/// assert!(matches!(refused, Err(AppendError::Refused { .. })));
/// // A type of which nobody has said what it is.
/// assert!(store.append("order-7", ExpectedVersion::Any, NewEvent::new("Payed", "{}")).is_err());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Which schema an event is checked with
///
/// That of its type and of the version that it says ([`NewEvent::schema_version`]); one that says nothing has version 1.
/// Typed events of `annals-projection` say theirs (`TypedEvents::SCHEMA_VERSION`). An empty payload counts as `null`, which is
/// what a variant without content has.
///
/// # What is not looked at
///
/// - Retries: an event that is in the log already is found by its id, whatever its schema has become.
/// - Events that were [validated](Schemas::validate) by this value before.
pub struct Schemas {
    mode: SchemaMode,
    seal: Seal,
    known: RwLock<Option<Arc<Known>>>,
    checked: AtomicU64,
    refused: AtomicU64,
    warned: AtomicU64,
    on_fault: Option<Box<OnFault>>,
}

impl fmt::Debug for Schemas {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("Schemas").field("mode", &self.mode).field("counts", &self.counts()).finish_non_exhaustive()
    }
}

impl Schemas {
    /// The schemas of a store that is not opened yet; each store has its own.
    pub fn new(mode: SchemaMode) -> Schemas {
        Schemas {
            mode,
            seal: Seal::new(),
            known: RwLock::new(None),
            checked: AtomicU64::new(0),
            refused: AtomicU64::new(0),
            warned: AtomicU64::new(0),
            on_fault: None,
        }
    }

    /// Has each faulty event told to a closure, in the thread of who appends it: with [`SchemaMode::Warn`] before it is
    /// appended, with [`SchemaMode::Enforce`] before it is refused.
    #[must_use]
    pub fn on_fault(mut self, tell: impl Fn(&FaultyEvent) + Send + Sync + 'static) -> Schemas {
        self.on_fault = Some(Box::new(tell));
        self
    }

    /// What becomes of events that are not what their schemas ask for.
    pub fn mode(&self) -> SchemaMode {
        self.mode
    }

    /// How many events were looked at.
    pub fn counts(&self) -> SchemaCounts {
        let count = |of: &AtomicU64| of.load(Ordering::Relaxed);
        SchemaCounts { checked: count(&self.checked), refused: count(&self.refused), warned: count(&self.warned) }
    }

    /// Everything that is registered in a store, by the name of the type and then by the version.
    ///
    /// # Errors
    ///
    /// As [`Reader::next_event`](annals::Reader::next_event).
    pub fn list(&self, store: &EventStore) -> Result<Vec<RegisteredSchema>, ReadError> {
        Ok(self.known(store)?.list())
    }

    /// Checks an event before it is appended, whatever the mode. What comes back was checked, and is not checked again.
    ///
    /// So an event can be validated where its author is still there to correct it, and before its payload is encrypted.
    ///
    /// ```
    /// use std::sync::Arc;
    ///
    /// use annals::shred::KeyRing;
    /// use annals::{EventStore, ExpectedVersion, NewEvent, Options};
    /// use annals_schema::{NewSchema, SchemaMode, Schemas};
    ///
    /// # let dir = tempfile::tempdir()?;
    /// let schemas = Arc::new(Schemas::new(SchemaMode::Enforce));
    /// let store = EventStore::open(dir.path().join("log"), &Options::new().admission(schemas.clone()))?;
    /// schemas.register(&store, NewSchema::new("Moved", r#"{"required": ["to"]}"#))?;
    /// let keys = KeyRing::open(dir.path().join("keys"))?;
    ///
    /// let moved = schemas.validate(&store, NewEvent::new("Moved", r#"{"to": "5 Elm Street"}"#))?;
    /// store.append("customer-42", ExpectedVersion::Any, keys.encrypt("customer-42", moved.into())?)?;
    /// // Nobody can look into one that was not.
    /// let unseen = keys.encrypt("customer-42", NewEvent::new("Moved", r#"{"to": "5 Elm Street"}"#))?;
    /// assert!(store.append("customer-42", ExpectedVersion::Any, unseen).is_err());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`Refused`] says all that is wrong with it.
    pub fn validate(&self, store: &EventStore, event: NewEvent) -> Result<ValidatedEvent, Refused> {
        let fault = match event.invalid_name() {
            Some(error) => Some(Fault::InvalidName(error.clone())),
            None => self.known(store).map_err(Refused::Unreadable)?.check(&event.in_stream("")).err(),
        };
        match fault {
            None => Ok(ValidatedEvent(event.sealed(&self.seal))),
            Some(fault) => {
                let event_type = event.in_stream("").event_type.to_owned();
                Err(Refused::Events(vec![FaultyEvent { index: 0, stream: String::new(), event_type, fault }]))
            }
        }
    }

    /// What is registered now.
    pub(crate) fn known(&self, store: &EventStore) -> Result<Arc<Known>, ReadError> {
        let known = self.known.read().clone();
        match known {
            Some(known) if known.is_of_now(store)? => Ok(known),
            known => self.read_on(store, known.as_deref()),
        }
    }

    /// Reads what was registered since. Two that do it at once find the same.
    #[cold]
    fn read_on(&self, store: &EventStore, known: Option<&Known>) -> Result<Arc<Known>, ReadError> {
        let now = match known.filter(|known| known.log_id == store.log_id()) {
            Some(known) => known.extended(store)?,
            None => Known::load(store)?,
        };
        let now = Arc::new(now);
        *self.known.write() = Some(Arc::clone(&now));
        Ok(now)
    }

    fn tell(&self, event: &FaultyEvent) {
        if self.mode == SchemaMode::Warn {
            // Nothing of what the payload holds: logs are read by others than the log is.
            let (kind, violations) = (event.fault.kind(), event.fault.violations().len());
            let FaultyEvent { stream, event_type, .. } = event;
            tracing::warn!(stream, event_type, kind, violations, "an event is not what its schema asks for");
        }
        if let Some(on_fault) = &self.on_fault {
            on_fault(event);
        }
    }
}

impl Admission for Schemas {
    fn admit(&self, store: &EventStore, events: &mut dyn Iterator<Item = Proposed<'_>>) -> Result<(), Refusal> {
        if self.mode == SchemaMode::Off {
            return Ok(());
        }
        let refused = |refused: Refused| -> Refusal { Arc::new(refused) };
        let known = match self.known(store) {
            Ok(known) => known,
            Err(error) if self.mode == SchemaMode::Warn => {
                tracing::warn!(%error, "the schemas cannot be read, so nothing is checked");
                return Ok(());
            }
            Err(error) => return Err(refused(Refused::Unreadable(error))),
        };
        let mut faulty = Vec::new();
        let mut checked = 0;
        for (index, proposed) in events.enumerate() {
            checked += 1;
            if proposed.is_sealed_with(&self.seal) {
                continue;
            }
            let event = proposed.event();
            if let Err(fault) = known.check(event) {
                let (stream, event_type) = (event.stream.to_owned(), event.event_type.to_owned());
                faulty.push(FaultyEvent { index, stream, event_type, fault });
            }
        }
        self.checked.fetch_add(checked, Ordering::Relaxed);
        if faulty.is_empty() {
            return Ok(());
        }
        let counter = if self.mode == SchemaMode::Warn { &self.warned } else { &self.refused };
        counter.fetch_add(faulty.len() as u64, Ordering::Relaxed);
        for event in &faulty {
            self.tell(event);
        }
        if self.mode == SchemaMode::Warn { Ok(()) } else { Err(refused(Refused::Events(faulty))) }
    }
}

/// An event that is what its schema asks for, as [`Schemas::validate`] has found.
///
/// What it holds cannot be changed any more, but for being encrypted.
#[derive(Clone, Debug)]
pub struct ValidatedEvent(NewEvent);

impl From<ValidatedEvent> for NewEvent {
    fn from(event: ValidatedEvent) -> NewEvent {
        event.0
    }
}

//! Registering a schema: is it one, does it fit the version before it, and into the log with it.
//!
//! ```text
//! what is known ─► the schema itself ─► its version ─► compared with the newest ─► $schema, if nobody was quicker
//!       ▲                                                                              │
//!       └──────────────────────── somebody was: once more ◄────────────────────────────┘
//! ```

use annals::{
    AppendError, Appended, EventStore, EventType, ExpectedVersion, IntoName, NameError, OwnStream, Position, ReadError,
};

use crate::layout;
use crate::registration::{Compatibility, Registration};
use crate::validation::compare::{Comparison, compare};
use crate::validation::known::Known;
use crate::validation::schema::{InvalidSchema, Schema};
use crate::validation::schemas::Schemas;

/// So many times it may be somebody else who registers first.
const MOST_TRIES: u32 = 100;

/// A schema to register.
///
/// ```
/// use annals_schema::{Compatibility, NewSchema};
///
/// let schema = NewSchema::new("Paid", r#"{"type": "object"}"#).version(2).compatibility(Compatibility::Full);
/// ```
#[derive(Clone, Debug)]
#[must_use]
pub struct NewSchema {
    event_type: Result<EventType, NameError>,
    text: String,
    version: Option<u16>,
    compatibility: Option<Compatibility>,
    force: bool,
}

impl NewSchema {
    /// The schema of the events of a type: JSON Schema, draft 2020-12 unless it says another one.
    pub fn new(event_type: impl IntoName<EventType>, text: impl Into<String>) -> NewSchema {
        let event_type = event_type.into_name();
        NewSchema { event_type, text: text.into(), version: None, compatibility: None, force: false }
    }

    /// Under which version. Default: the one after the newest, and 1 for the first; or the newest itself, if it is the same.
    pub fn version(mut self, version: u16) -> NewSchema {
        self.version = Some(version);
        self
    }

    /// What it has to be to the version before it; and the next one to this, unless that says otherwise. Default: as the version
    /// before it has it, and [`Compatibility::Backward`] for the first.
    pub fn compatibility(mut self, compatibility: Compatibility) -> NewSchema {
        self.compatibility = Some(compatibility);
        self
    }

    /// Registers it also when it is not compatible, or when nobody can tell; the log then says so.
    pub fn force(mut self, force: bool) -> NewSchema {
        self.force = force;
        self
    }
}

/// A schema that is in the log now, or would be.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Registered {
    /// Whether it was there before, and nothing was written.
    pub was_there: bool,
    /// What the log says.
    pub registration: Registration,
    /// The position of the event that says it; `None` where that was only planned.
    pub position: Option<Position>,
    /// What came of the comparison with the version before it, if there was one.
    pub comparison: Option<Comparison>,
}

/// Why a schema was not registered. Nothing was written.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RegisterError {
    /// The type is no name of one.
    #[error(transparent)]
    InvalidName(#[from] NameError),
    /// It is no schema: all that is wrong with it.
    #[error("it is no JSON Schema: {0}")]
    Invalid(#[from] InvalidSchema),
    /// The version has another schema. A version never changes: register the next one.
    #[error(
        "version {version} of {event_type} has another schema: what is registered never changes; the next version is {next}"
    )]
    Taken {
        /// The type.
        event_type: EventType,
        /// The version.
        version: u16,
        /// The version that is free.
        next: u32,
    },
    /// The version is before the newest, or no version.
    #[error(
        "{event_type} cannot have a new version {version}: versions begin at 1, grow, and end at 65535; the newest is {newest}"
    )]
    NoVersion {
        /// The type.
        event_type: EventType,
        /// The version.
        version: u32,
        /// The newest that is registered; 0 for none.
        newest: u16,
    },
    /// It is not compatible with the version before it, or nobody can tell: the comparison says where. Change it, ask for
    /// less, force it; or register it under another type.
    #[error("version {version} of {event_type} is not {required}-compatible with version {newest}: {comparison}")]
    Incompatible {
        /// The type.
        event_type: EventType,
        /// The version that it would have had.
        version: u16,
        /// The version before it.
        newest: u16,
        /// What it had to be.
        required: Compatibility,
        /// What speaks against it, and what cannot be told.
        comparison: Comparison,
    },
    /// It was always somebody else who registered a schema first.
    #[error("others register schemas all the time: try again")]
    Crowded,
    /// What is registered cannot be read.
    #[error("the schemas cannot be read")]
    Read(#[from] ReadError),
    /// It could not be appended.
    #[error("the schema could not be appended: {0}")]
    Append(AppendError),
}

/// What is to be done about a new schema, as things are.
enum Decided {
    Append { registration: Registration, comparison: Option<Comparison> },
    WasThere { registration: Registration, position: Position },
}

impl Schemas {
    /// Registers a schema, durably. Registered once more it is found, and nothing is written.
    ///
    /// # Errors
    ///
    /// [`RegisterError`]; nothing was written.
    ///
    /// # Example
    ///
    /// ```
    /// use annals::{EventStore, Options};
    /// use annals_schema::{NewSchema, RegisterError, SchemaMode, Schemas};
    ///
    /// let schemas = Schemas::new(SchemaMode::Off);
    /// let store = EventStore::in_memory(&Options::new())?;
    /// let first = r#"{"properties": {"amount": {"type": "integer"}}, "required": ["amount"]}"#;
    /// assert_eq!(schemas.register(&store, NewSchema::new("Paid", first))?.registration.version, 1);
    ///
    /// // Who knows this one could read everything that was written with the first.
    /// let wider = r#"{"properties": {"amount": {"type": "number"}}, "required": ["amount"]}"#;
    /// assert_eq!(schemas.register(&store, NewSchema::new("Paid", wider))?.registration.version, 2);
    ///
    /// let narrower = r#"{"properties": {"amount": {"type": "number"}}, "required": ["amount", "currency"]}"#;
    /// let refused = schemas.register(&store, NewSchema::new("Paid", narrower)).unwrap_err();
    /// let RegisterError::Incompatible { comparison, .. } = refused else { panic!("{refused}") };
    /// assert_eq!(comparison.differences[0].path, "/required");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[expect(clippy::needless_pass_by_value, reason = "it is made for this call")]
    pub fn register(&self, store: &EventStore, new: NewSchema) -> Result<Registered, RegisterError> {
        let event_type = new.event_type.clone()?;
        let schema = Schema::parse(&new.text)?;
        for _ in 0..MOST_TRIES {
            let known = self.known(store)?;
            match decide(&known, &event_type, &new, &schema)? {
                Decided::WasThere { registration, position } => {
                    return Ok(Registered {
                        was_there: true,
                        registration,
                        position: Some(position),
                        comparison: None,
                    });
                }
                Decided::Append { registration, comparison } => {
                    let Some(done) = append(store, &known, &registration)? else { continue };
                    return Ok(Registered { was_there: false, registration, position: Some(done.last), comparison });
                }
            }
        }
        Err(RegisterError::Crowded)
    }

    /// What [`register`](Schemas::register) would do. Changes nothing.
    ///
    /// # Errors
    ///
    /// As [`register`](Schemas::register).
    pub fn plan(&self, store: &EventStore, new: &NewSchema) -> Result<Registered, RegisterError> {
        let event_type = new.event_type.clone()?;
        let schema = Schema::parse(&new.text)?;
        Ok(match decide(&*self.known(store)?, &event_type, new, &schema)? {
            Decided::WasThere { registration, position } => {
                Registered { was_there: true, registration, position: Some(position), comparison: None }
            }
            Decided::Append { registration, comparison } => {
                Registered { was_there: false, registration, position: None, comparison }
            }
        })
    }
}

fn decide(known: &Known, event_type: &EventType, new: &NewSchema, schema: &Schema) -> Result<Decided, RegisterError> {
    let event_type = event_type.clone();
    let versions = known.types.get(&*event_type);
    let newest = versions.and_then(|versions| versions.values().next_back());
    let newest_number = newest.map_or(0, |newest| newest.registered.registration.version);
    let next = u32::from(newest_number) + 1;
    let is_same = |version: &crate::validation::known::Version| {
        version.schema.as_ref().is_some_and(|known| known.value() == schema.value())
    };
    let wanted = new.version.or_else(|| newest.filter(|newest| is_same(newest)).map(|_| newest_number));
    if let Some(there) = wanted.and_then(|wanted| versions?.get(&wanted)) {
        if is_same(there) {
            let registration = there.registered.registration.clone();
            return Ok(Decided::WasThere { registration, position: there.registered.position });
        }
        return Err(RegisterError::Taken { event_type, version: wanted.unwrap_or_default(), next });
    }
    let version = wanted.map_or(next, u32::from);
    let version = match u16::try_from(version) {
        Ok(version) if version > newest_number => version,
        _ => return Err(RegisterError::NoVersion { event_type, version, newest: newest_number }),
    };
    let before = newest.map(|newest| newest.registered.registration.compatibility);
    let required = new.compatibility.or(before).unwrap_or_default();
    let comparison = newest.map(|newest| match &newest.schema {
        Some(old) => compare(old, schema, required),
        None => Comparison::unusable(newest.registered.fault.as_deref().unwrap_or_default(), required),
    });
    let is_forced = comparison.as_ref().is_some_and(|comparison| !comparison.is_compatible());
    if let Some(comparison) = comparison.as_ref().filter(|_| is_forced && !new.force) {
        let (newest, comparison) = (newest_number, comparison.clone());
        return Err(RegisterError::Incompatible { event_type, version, newest, required, comparison });
    }
    let schema = layout::compact(&new.text).into();
    let registration = Registration { event_type, version, compatibility: required, forced: is_forced, schema };
    Ok(Decided::Append { registration, comparison })
}

/// Appends a registration behind all that is known; `None` when there is more by now.
fn append(store: &EventStore, known: &Known, registration: &Registration) -> Result<Option<Appended>, RegisterError> {
    let event = registration
        .to_event()
        .map_err(|error| RegisterError::Append(AppendError::Refused { cause: std::sync::Arc::new(error) }))?;
    match store.append_own(OwnStream::Schemas, ExpectedVersion::Exact(known.version), event) {
        Ok(done) => Ok(Some(done)),
        Err(AppendError::ConcurrencyConflict { .. }) => Ok(None),
        Err(error) => Err(RegisterError::Append(error)),
    }
}

//! Why events are not what the schemas ask for: said to who appends them, and to who checks a log.

use std::fmt;

use annals::{AppendError, EventType, NameError, ReadError};

use crate::validation::json::NotJson;
use crate::validation::schema::Unfit;
use crate::validation::violation::{Violation, told};

/// What is wrong with one event.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum Fault {
    /// Nobody has registered a schema for its type: register one, or correct the name.
    UnknownType {
        /// The type.
        event_type: String,
        /// A type that has one and a name like it, if there is one.
        similar: Option<EventType>,
    },
    /// Its type has schemas, and none of the version that it says: register that, or correct the number.
    UnknownVersion {
        /// The version, as it counts: an event that says nothing has version 1.
        version: u16,
        /// The versions that are registered, ascending.
        known: Vec<u16>,
    },
    /// Its schema stands in the log, and this program cannot use it: a later version of the program wrote it.
    Unusable {
        /// The version.
        version: u16,
        /// Why not.
        problem: String,
    },
    /// Its payload is not JSON.
    NotJson {
        /// The version of the schema that it was to be checked with.
        version: u16,
        /// Where and why.
        problem: NotJson,
    },
    /// Its payload violates its schema.
    Violates {
        /// The version of the schema.
        version: u16,
        /// All rules that it violates; of more than a thousand, the first.
        violations: Vec<Violation>,
    },
    /// Its payload is encrypted, so nobody can look into it. [Validate](crate::Schemas::validate) it before it is encrypted.
    Encrypted,
    /// Its type is no name.
    InvalidName(NameError),
}

impl Fault {
    pub(crate) fn of(version: u16, unfit: Unfit) -> Fault {
        match unfit {
            Unfit::NotJson(problem) => Fault::NotJson { version, problem },
            Unfit::Violates(violations) => Fault::Violates { version, violations },
        }
    }

    /// The rules that its payload violates, if it does.
    pub fn violations(&self) -> &[Violation] {
        match self {
            Fault::Violates { violations, .. } => violations,
            _ => &[],
        }
    }

    /// What kind of fault it is, in one word.
    pub fn kind(&self) -> &'static str {
        match self {
            Fault::UnknownType { .. } => "unknown-type",
            Fault::UnknownVersion { .. } => "unknown-version",
            Fault::Unusable { .. } => "unusable-schema",
            Fault::NotJson { .. } => "not-json",
            Fault::Violates { .. } => "violates",
            Fault::Encrypted => "encrypted",
            Fault::InvalidName(_) => "invalid-name",
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Fault::UnknownType { event_type, similar } => {
                write!(out, "type {event_type:?} has no schema: register one")?;
                similar.as_ref().map_or(Ok(()), |similar| write!(out, "; or is {similar:?} meant?"))
            }
            Fault::UnknownVersion { version, known } => {
                let known: Vec<String> = known.iter().map(ToString::to_string).collect();
                write!(out, "its type has no schema of version {version}, only of {}", known.join(", "))
            }
            Fault::Unusable { version, problem } => {
                write!(out, "version {version} of its schema cannot be used by this program: {problem}")
            }
            Fault::NotJson { problem, .. } => write!(out, "its payload is not JSON: {problem}"),
            Fault::Violates { version, violations } => {
                write!(out, "it violates version {version} of its schema: {}", told(violations))
            }
            Fault::Encrypted => out.write_str("its payload is encrypted: validate it before it is encrypted"),
            Fault::InvalidName(error) => write!(out, "{error}"),
        }
    }
}

impl std::error::Error for Fault {}

/// An event of a batch that is not what the schemas ask for.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct FaultyEvent {
    /// Its place in the batch, counted from 0.
    pub index: usize,
    /// Its stream.
    pub stream: String,
    /// Its type.
    pub event_type: String,
    /// What is wrong with it.
    pub fault: Fault,
}

impl fmt::Display for FaultyEvent {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let FaultyEvent { index, stream, event_type, fault } = self;
        write!(out, "event {index} of the batch ({event_type} of stream {stream}): {fault}")
    }
}

/// Why a batch was refused: the cause of [`AppendError::Refused`], where [`Schemas`](crate::Schemas) was asked.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Refused {
    /// These of its events are not what the schemas ask for; all of them are listed.
    #[error("{}", of_all(.0))]
    Events(Vec<FaultyEvent>),
    /// The schemas cannot be read.
    #[error("the schemas cannot be read")]
    Unreadable(#[source] ReadError),
}

fn of_all(events: &[FaultyEvent]) -> String {
    events.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")
}

impl Refused {
    /// Why an append was refused, if it was the schemas that refused it.
    ///
    /// ```
    /// use std::sync::Arc;
    ///
    /// use annals::{EventStore, ExpectedVersion, NewEvent, Options};
    /// use annals_schema::{NewSchema, Refused, SchemaMode, Schemas};
    ///
    /// let schemas = Arc::new(Schemas::new(SchemaMode::Enforce));
    /// let store = EventStore::in_memory(&Options::new().admission(schemas.clone()))?;
    /// schemas.register(&store, NewSchema::new("Paid", r#"{"required": ["amount"]}"#))?;
    ///
    /// let error = store.append("order-7", ExpectedVersion::Any, NewEvent::new("Paid", "{}")).unwrap_err();
    /// let Some(Refused::Events(events)) = Refused::of(&error) else { panic!("{error}") };
    /// let violation = &events[0].fault.violations()[0];
    /// assert_eq!((&*violation.path, &*violation.rule, &*violation.got), ("", "required", "{}"));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn of(error: &AppendError) -> Option<&Refused> {
        match error {
            AppendError::Refused { cause } => cause.downcast_ref::<Refused>(),
            _ => None,
        }
    }
}

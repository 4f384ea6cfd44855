//! JSON Schemas of events, in the log itself.
//!
//! What an event of a type looks like is said once, by a schema that is registered: an event of the stream `$schema`. So a
//! copy of the log describes itself, and everybody who has the log has the schemas.
//!
//! ```
//! use std::sync::Arc;
//!
//! use annals::{EventStore, ExpectedVersion, NewEvent, Options};
//! use annals_schema::{NewSchema, Refused, SchemaMode, Schemas};
//!
//! # let dir = tempfile::tempdir()?;
//! let schemas = Arc::new(Schemas::new(SchemaMode::Enforce));
//! let store = EventStore::open(dir.path(), &Options::new().admission(schemas.clone()))?;
//! schemas.register(&store, NewSchema::new("Paid", r#"{
//!     "type": "object",
//!     "properties": {"amount": {"type": "integer", "minimum": 1}, "currency": {"enum": ["EUR", "USD"]}},
//!     "required": ["amount", "currency"]
//! }"#))?;
//!
//! let refused = store.append("order-7", ExpectedVersion::Any, NewEvent::new("Paid", r#"{"amount": 0}"#)).unwrap_err();
//! let Some(Refused::Events(events)) = Refused::of(&refused) else { panic!("{refused}") };
//! let told: Vec<String> = events[0].fault.violations().iter().map(ToString::to_string).collect();
//! assert_eq!(told, [
//!     r#"the payload: "currency" is missing (required); got {amount}"#,
//!     "/amount: it is less than the minimum of 1 (minimum); got 0",
//! ]);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # What is always true
//!
//! - Whether events are checked is a matter of the store ([`SchemaMode`]), and of no single append. Who wants to have an event
//!   checked before he appends it has it [validated](Schemas::validate), and the type of what he gets says so.
//! - A version of a type is registered once and never changes ([`Schemas::register`]). The next one has to fit it, as
//!   [`Compatibility`] says, and where that cannot be told it is not taken for granted ([`compare`]).
//! - What is wrong is told in full: each event of a batch, each rule that it violates, where, and what was there.
//! - Nothing is fetched: a schema stands alone.
//! - Without the feature `validation`, which is on by default, nothing is registered or checked: registrations are read, and the
//!   columns that they give a table ([`Columns`]).
//! - Retention carries registered schemas along: they are not removed with the events around them.

mod columns;
mod layout;
mod references;
mod registration;
#[cfg(feature = "validation")]
mod validation;

pub use columns::{ColumnType, Columns};
pub use registration::{Compatibility, EVENT_TYPE, RegisteredSchema, Registration};
#[cfg(feature = "validation")]
pub use validation::{
    Comparison, Difference, Direction, Fault, FaultyEvent, Finding, InvalidSchema, LogCheck, NewSchema, NotJson,
    Refused, RegisterError, Registered, Schema, SchemaCounts, SchemaFault, SchemaMode, Schemas, Unfit, ValidatedEvent,
    Verdict, Violation, check_log, compare,
};

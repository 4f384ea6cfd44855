//! What a schema means: whether an event fits it, and whether one schema fits another.

mod check;
mod compare;
mod json;
mod known;
mod refused;
mod register;
mod schema;
mod schemas;
mod violation;

pub use check::{Finding, LogCheck, check_log};
pub use compare::{Comparison, Difference, Direction, Verdict, compare};
pub use json::NotJson;
pub use refused::{Fault, FaultyEvent, Refused};
pub use register::{NewSchema, RegisterError, Registered};
pub use schema::{InvalidSchema, Schema, SchemaFault, Unfit};
pub use schemas::{SchemaCounts, SchemaMode, Schemas, ValidatedEvent};
pub use violation::Violation;

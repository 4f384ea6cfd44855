//! Schemas from outside: one binary, so that it links once.
//!
//! - [`admission`]: what is refused before it is appended, what is let through, and what is said of it.
//! - [`registering`]: what becomes part of the log, and what does not.
//! - [`comparing`]: whether a version fits the one before it, held against values and against another implementation.
//! - [`checking`]: a whole log against its schemas.

#![allow(missing_docs, reason = "the names of tests are sentences")]

mod admission;
mod checking;
mod comparing;
mod registering;

use std::sync::Arc;

use annals::storage::sim::SimDisk;
use annals::{EventStore, ExpectedVersion, NewEvent, Options};
use annals_schema::{NewSchema, SchemaMode, Schemas};

const PAID: &str = r#"{
    "type": "object",
    "properties": {
        "amount": {"type": "integer", "minimum": 1},
        "currency": {"enum": ["EUR", "USD"]},
        "to": {"type": "object", "required": ["name"], "properties": {"name": {"type": "string", "maxLength": 5}}}
    },
    "required": ["amount", "currency"],
    "additionalProperties": false
}"#;

fn options() -> Options {
    Options::new().background(false).flush_interval(None).zero_ahead(0).segment_bytes(64 << 10)
}

fn open_with(disk: &SimDisk, schemas: &Arc<Schemas>) -> EventStore {
    EventStore::open_on(Arc::new(disk.clone()), &options().admission(Arc::clone(schemas) as _)).unwrap()
}

/// A store that has the schema of `Paid`.
fn store_with(mode: SchemaMode) -> (EventStore, Arc<Schemas>) {
    let schemas = Arc::new(Schemas::new(mode));
    let store = open_with(&SimDisk::new(1), &schemas);
    schemas.register(&store, NewSchema::new("Paid", PAID)).unwrap();
    (store, schemas)
}

fn append(store: &EventStore, event_type: &str, data: &str) -> Result<annals::Appended, annals::AppendError> {
    store.append("order-7", ExpectedVersion::Any, NewEvent::new(event_type, data.to_owned()))
}

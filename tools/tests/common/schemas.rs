//! Schemas that are said in a log, as `annals schema add` says them, and events of the types.

use annals::{ContentType, EventStore, ExpectedVersion, NewEvent, OwnStream};
use serde_json::{Value, json};

/// Says in the log what events of a type look like.
pub(crate) fn register(store: &EventStore, event_type: &str, version: u16, properties: &Value) {
    let said = json!({"event_type": event_type, "version": version, "compatibility": "none",
        "schema": {"type": "object", "properties": properties}});
    say(store, &said.to_string());
}

/// Says anything where schemas are registered.
pub(crate) fn say(store: &EventStore, said: &str) {
    let event = NewEvent::new("$schema", said.to_owned()).content_type(ContentType::JSON).schema_version(1);
    store.append_own(OwnStream::Schemas, ExpectedVersion::Any, event).unwrap();
}

/// Appends an event of a type.
pub(crate) fn append(store: &EventStore, event_type: &str, data: &str) {
    store.append("account-7", ExpectedVersion::Any, NewEvent::new(event_type, data.to_owned())).unwrap();
}

//! What the registered schemas say of types of events: their columns, and which events do not fit into them.

use std::collections::BTreeMap;

use annals::{ContentType, Event, OwnStream};
use annals_schema::{Columns, Registration};
use serde::de::IgnoredAny;

/// The types of which anything is known.
#[derive(Clone, Debug, Default)]
pub(super) struct Types(BTreeMap<String, Columns>);

/// The schema that an event registers, if it does.
pub(super) fn registered_by(event: &Event<'_>) -> Option<Registration> {
    let is_told = event.stream == OwnStream::Schemas.name();
    is_told.then(|| Registration::of_event(event).ok()).flatten()
}

impl Types {
    /// Takes in a schema that is registered.
    pub(super) fn learn(&mut self, registration: &Registration) {
        // What is no JSON is no registration.
        let Ok(columns) = Columns::of(&registration.schema) else { return };
        self.join(registration.event_type.as_str(), &columns);
    }

    /// Takes in columns of a type.
    pub(super) fn join(&mut self, event_type: &str, columns: &Columns) {
        self.0.entry(event_type.to_owned()).or_default().join(columns);
    }

    /// What is wrong with an event: by what is known of its type, or as one that is to register a schema.
    pub(super) fn misfit(&self, event: &Event<'_>) -> Option<String> {
        if event.stream == OwnStream::Schemas.name() && !event.data.is_empty() {
            let said = Registration::of_event(event);
            return said.err().map(|error| format!("it registers no schema that this program knows: {error}"));
        }
        misfit(self.0.get(event.event_type)?, event.content_type, event.data)
    }

    /// Each type with its columns, in the order of their names.
    pub(super) fn iter(&self) -> impl Iterator<Item = (&str, &Columns)> {
        self.0.iter().map(|(event_type, columns)| (&**event_type, columns))
    }
}

/// What is wrong with a payload of a type that has these columns. Of one that is encrypted nobody knows.
pub(super) fn misfit(columns: &Columns, content_type: ContentType, data: &[u8]) -> Option<String> {
    if columns.is_empty() || data.is_empty() || content_type == ContentType::ENCRYPTED {
        return None;
    }
    let is_json = serde_json::from_slice::<IgnoredAny>(data).is_ok();
    if is_json {
        columns.misfit(data)
    } else {
        Some("its data is not JSON, and its type has a registered schema".to_owned())
    }
}

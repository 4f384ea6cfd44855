//! What the registered schemas say of types of events: their columns.

use std::collections::BTreeMap;

use annals_schema::{Columns, Registration};

/// The types of which anything is known.
#[derive(Clone, Debug, Default)]
pub(super) struct Types(BTreeMap<String, Columns>);

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

    /// What is wrong with an event of a type.
    pub(super) fn misfit(&self, event_type: &str, data: &[u8]) -> Option<String> {
        self.0.get(event_type)?.misfit(data)
    }

    /// Each type with its columns, in the order of their names.
    pub(super) fn iter(&self) -> impl Iterator<Item = (&str, &Columns)> {
        self.0.iter().map(|(event_type, columns)| (&**event_type, columns))
    }
}

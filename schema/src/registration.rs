//! What an event of the stream `$schema` says: that a type has a schema, under a version.
//!
//! ```text
//! {"event_type":"Placed","version":2,"compatibility":"backward","schema":{…}}
//! ```
//!
//! What is always true:
//!
//! - A version of a type is registered once and never changes. Of two events that speak of the same, the first counts.
//! - The schema stands in it as its author wrote it, but for the spaces: names in their order, numbers in their form.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use annals::{ContentType, Event, EventType, NewEvent, OwnStream, Position};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::layout;

/// The type of these events.
pub const EVENT_TYPE: &str = "$schema";

/// The version of what they say.
const SAID_VERSION: u16 = 1;

/// What a new version of a schema has to be to the one before it.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, Hash, PartialEq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Compatibility {
    /// It accepts all that the old one accepts: who knows the new one can read what was written before.
    #[default]
    Backward,
    /// The old one accepts all that it accepts: who knows the old one can read what will be written.
    Forward,
    /// Both.
    Full,
    /// Anything: nothing is compared.
    None,
}

impl Compatibility {
    /// Its name.
    pub const fn as_str(self) -> &'static str {
        match self {
            Compatibility::Backward => "backward",
            Compatibility::Forward => "forward",
            Compatibility::Full => "full",
            Compatibility::None => "none",
        }
    }
}

impl fmt::Display for Compatibility {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(self.as_str())
    }
}

impl FromStr for Compatibility {
    type Err = String;

    fn from_str(text: &str) -> Result<Compatibility, String> {
        let all = [Compatibility::Backward, Compatibility::Forward, Compatibility::Full, Compatibility::None];
        all.into_iter().find(|known| known.as_str() == text).ok_or_else(|| "backward, forward, full or none".to_owned())
    }
}

/// That a type of events has a schema, under a version.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct Registration {
    /// The type of the events.
    pub event_type: EventType,
    /// The version that events say they have ([`NewEvent::schema_version`]); at least 1.
    pub version: u16,
    /// What the next version has to be to this one, unless it says otherwise.
    pub compatibility: Compatibility,
    /// Whether it was registered although it is not that to the one before it.
    pub forced: bool,
    /// The schema, as it was written, in one line.
    pub schema: Arc<str>,
}

#[derive(Deserialize, Serialize)]
struct Said<'a> {
    event_type: &'a str,
    version: u16,
    compatibility: Compatibility,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    forced: bool,
    #[serde(borrow)]
    schema: &'a RawValue,
}

/// The same, of what came from elsewhere: the name may have escapes in it, and later versions may say more.
#[derive(Deserialize)]
struct Read<'a> {
    event_type: String,
    version: u16,
    compatibility: Compatibility,
    #[serde(default)]
    forced: bool,
    #[serde(borrow)]
    schema: &'a RawValue,
}

impl Registration {
    /// The event that says it.
    ///
    /// # Errors
    ///
    /// The schema is not JSON.
    pub fn to_event(&self) -> Result<NewEvent, serde_json::Error> {
        let schema: &RawValue = serde_json::from_str(&self.schema)?;
        let Registration { event_type, version, compatibility, forced, .. } = self;
        let (version, compatibility, forced) = (*version, *compatibility, *forced);
        let said = Said { event_type, version, compatibility, forced, schema };
        let event = NewEvent::new(EVENT_TYPE, serde_json::to_vec(&said)?);
        Ok(event.content_type(ContentType::JSON).schema_version(SAID_VERSION))
    }

    /// What an event of `$schema` says.
    ///
    /// # Errors
    ///
    /// What is wrong with it, in words.
    pub fn of_event(event: &Event<'_>) -> Result<Registration, String> {
        if event.stream != OwnStream::Schemas.name() || event.event_type != EVENT_TYPE {
            return Err(format!("it is a {} of {}", event.event_type, event.stream));
        }
        if event.schema_version > SAID_VERSION {
            return Err("a later version of Annals wrote it: use that one".to_owned());
        }
        let read: Read<'_> = serde_json::from_slice(event.data).map_err(|error| error.to_string())?;
        if read.version == 0 {
            return Err("versions of schemas begin at 1".to_owned());
        }
        Ok(Registration {
            event_type: EventType::new(&read.event_type).map_err(|error| error.to_string())?,
            version: read.version,
            compatibility: read.compatibility,
            forced: read.forced,
            schema: read.schema.get().into(),
        })
    }
}

impl Registration {
    /// The schema over many lines, for a person.
    pub fn spread(&self) -> String {
        layout::spread(&self.schema)
    }
}

/// A registration as it stands in the log.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct RegisteredSchema {
    /// What it says.
    pub registration: Registration,
    /// The position of the event that says it.
    pub position: Position,
    /// When it was registered: nanoseconds since 1970 UTC.
    pub recorded_at: i64,
    /// Why this program cannot use it, if it cannot: it was written by one that knows more.
    pub fault: Option<String>,
}

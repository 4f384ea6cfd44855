//! Fields of a payload that are copied beside it when the event is made, because somebody has said so: into tags, by which events
//! are looked up, or into the metadata.
//!
//! What is always true:
//!
//! - Nothing is copied that was not named, and what was named is there, or it is an error.
//! - The payload stays as it is, byte for byte.
//! - The same event gives the same copies; so a retry is recognised.

use annals::{NameError, NewEvent, Tag};
use serde_json::{Map, Value};

/// Which fields of a payload are copied, and where to.
///
/// ```
/// use annals::{EventStore, ExpectedVersion, NewEvent, Options, Position, QueryItem};
/// use annals_projection::CopiedFields;
///
/// let copied = CopiedFields::new()
///     .tag("customer", "/customer/id")
///     .tag_if_there("coupon", "/coupon")
///     .metadata("priority", "/priority");
///
/// let store = EventStore::in_memory(&Options::new())?;
/// let placed = NewEvent::new("Placed", r#"{"customer": {"id": 42}, "priority": "high"}"#);
/// store.append("order-7", ExpectedVersion::Any, copied.apply(placed)?)?;
///
/// let event = store.read(QueryItem::new().tag("customer:42"), Position::START)?.next().unwrap()?;
/// assert_eq!(event.metadata().as_deref(), Some(&br#"{"priority":"high"}"#[..]));
///
/// let refused = copied.apply(NewEvent::new("Placed", r#"{"priority": "high"}"#)).unwrap_err();
/// assert_eq!(refused.to_string(), "the payload has nothing at /customer/id, which is to be copied");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # What it is not for
///
/// What is encrypted afterwards, or redacted later: tags are neither, so what is copied into them stays readable, and redaction
/// takes the metadata and leaves the tags. Copy what names a thing, and not what describes a person.
#[derive(Clone, Debug, Default)]
#[must_use]
pub struct CopiedFields {
    tags: Vec<Field>,
    metadata: Vec<Field>,
}

#[derive(Clone, Debug)]
struct Field {
    name: String,
    pointer: String,
    may_be_missing: bool,
}

impl Field {
    fn new(name: impl Into<String>, pointer: impl Into<String>, may_be_missing: bool) -> Field {
        Field { name: name.into(), pointer: pointer.into(), may_be_missing }
    }

    /// What the payload has there. Null says that there is nothing.
    fn of<'a>(&self, payload: &'a Value) -> Result<Option<&'a Value>, CopyError> {
        let pointer = || self.pointer.clone();
        if !(self.pointer.is_empty() || self.pointer.starts_with('/')) {
            return Err(CopyError::NoPointer { pointer: pointer() });
        }
        match payload.pointer(&self.pointer).filter(|value| !value.is_null()) {
            None if self.may_be_missing => Ok(None),
            None => Err(CopyError::Missing { pointer: pointer() }),
            found => Ok(found),
        }
    }

    fn tag(&self, value: &Value) -> Result<Tag, CopyError> {
        let not_scalar = |got| CopyError::NotScalar { pointer: self.pointer.clone(), got };
        let text = match value {
            Value::String(text) => text.clone(),
            Value::Object(_) => return Err(not_scalar("an object")),
            Value::Array(_) => return Err(not_scalar("a list")),
            // A number in the shortest form that is the same number.
            other => other.to_string(),
        };
        let tag = Tag::new(&format!("{}:{text}", self.name));
        tag.map_err(|source| CopyError::NoTag { pointer: self.pointer.clone(), source })
    }
}

/// Why a field could not be copied. The event was not changed.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum CopyError {
    /// The payload is not JSON: encrypted already, perhaps.
    #[error("the payload is not JSON, so no field of it can be copied: {problem}")]
    NotJson {
        /// Why not.
        problem: String,
    },
    /// A place is no JSON pointer: it is to be empty, or to begin with `/`.
    #[error("{pointer:?} is no JSON pointer: it has to begin with /")]
    NoPointer {
        /// What was named.
        pointer: String,
    },
    /// There is nothing at that place of the payload, or null.
    #[error("the payload has nothing at {pointer}, which is to be copied")]
    Missing {
        /// The place, a JSON pointer.
        pointer: String,
    },
    /// Only texts, numbers and booleans can be tags.
    #[error("the payload has {got} at {pointer}, which cannot be a tag")]
    NotScalar {
        /// The place, a JSON pointer.
        pointer: String,
        /// What is there.
        got: &'static str,
    },
    /// What is there makes no tag: it is too long, say.
    #[error("what the payload has at {pointer} makes no tag")]
    NoTag {
        /// The place, a JSON pointer.
        pointer: String,
        /// Why not.
        #[source]
        source: NameError,
    },
    /// Something about the event was wrong before, or it has too many tags now.
    #[error("the event cannot be appended")]
    Invalid(#[source] NameError),
    /// The event has metadata that is no JSON object, to which nothing can be added.
    #[error("the event's metadata is no JSON object, so nothing can be copied into it")]
    MetadataNoObject,
    /// The event's metadata has a field of that name already.
    #[error("the event's metadata has {name:?} already")]
    MetadataTaken {
        /// The name.
        name: String,
    },
}

impl CopiedFields {
    /// None so far.
    pub fn new() -> CopiedFields {
        CopiedFields::default()
    }

    /// A tag `name:value` of what is at a place of the payload, a JSON pointer: a text, a number or a boolean.
    pub fn tag(mut self, name: impl Into<String>, pointer: impl Into<String>) -> CopiedFields {
        self.tags.push(Field::new(name, pointer, false));
        self
    }

    /// The same, unless there is nothing, or null.
    pub fn tag_if_there(mut self, name: impl Into<String>, pointer: impl Into<String>) -> CopiedFields {
        self.tags.push(Field::new(name, pointer, true));
        self
    }

    /// A field `name` of the metadata, which is a JSON object then, with whatever is at a place of the payload.
    pub fn metadata(mut self, name: impl Into<String>, pointer: impl Into<String>) -> CopiedFields {
        self.metadata.push(Field::new(name, pointer, false));
        self
    }

    /// The same, unless there is nothing, or null.
    pub fn metadata_if_there(mut self, name: impl Into<String>, pointer: impl Into<String>) -> CopiedFields {
        self.metadata.push(Field::new(name, pointer, true));
        self
    }

    /// The event with the copies: tags behind those that it has, fields beside those of its metadata.
    ///
    /// # Errors
    ///
    /// [`CopyError`] says which field, and why.
    pub fn apply(&self, event: NewEvent) -> Result<NewEvent, CopyError> {
        let said = event.in_stream("");
        let not_json = |error: serde_json::Error| CopyError::NotJson { problem: error.to_string() };
        let payload: Value = serde_json::from_slice(said.data).map_err(not_json)?;
        let tags = self.tags_of(&payload)?;
        let metadata = self.metadata_of(&payload, said.metadata)?;
        let mut copied = tags.into_iter().fold(event, NewEvent::tag);
        if let Some(metadata) = metadata {
            copied = copied.metadata(Value::Object(metadata).to_string());
        }
        match copied.invalid_name() {
            Some(error) => Err(CopyError::Invalid(error.clone())),
            None => Ok(copied),
        }
    }

    fn tags_of(&self, payload: &Value) -> Result<Vec<Tag>, CopyError> {
        let mut tags = Vec::new();
        for field in &self.tags {
            if let Some(value) = field.of(payload)? {
                tags.push(field.tag(value)?);
            }
        }
        Ok(tags)
    }

    /// What the metadata is to be; `None`, if it stays.
    fn metadata_of(&self, payload: &Value, before: Option<&[u8]>) -> Result<Option<Map<String, Value>>, CopyError> {
        let mut added = Map::new();
        let mut known = match before.filter(|_| !self.metadata.is_empty()) {
            Some(bytes) => serde_json::from_slice(bytes).map_err(|_| CopyError::MetadataNoObject)?,
            None => Map::new(),
        };
        for field in &self.metadata {
            let Some(value) = field.of(payload)? else { continue };
            if known.contains_key(&field.name) || added.insert(field.name.clone(), value.clone()).is_some() {
                return Err(CopyError::MetadataTaken { name: field.name.clone() });
            }
        }
        if added.is_empty() {
            return Ok(None);
        }
        known.append(&mut added);
        Ok(Some(known))
    }
}

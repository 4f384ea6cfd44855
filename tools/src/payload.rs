//! Data and metadata in JSON: as they are where that keeps every byte, else in base64. And in tables: as a text, or as bytes.

use std::borrow::Cow;

use annals_codec::{ContentType, Event};
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use serde::Serialize;
use serde_json::value::RawValue;

use crate::human;

/// What one event carries, as fields of a JSON object.
#[derive(Serialize)]
pub(crate) struct Payload<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    data: Option<&'a RawValue>,
    #[serde(skip_serializing_if = "Option::is_none")]
    data_base64: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    metadata: Option<&'a RawValue>,
    #[serde(skip_serializing_if = "Option::is_none")]
    metadata_base64: Option<String>,
    #[serde(skip)]
    bytes: (&'a [u8], Option<&'a [u8]>),
}

impl<'a> Payload<'a> {
    pub(crate) fn of(event: &Event<'a>) -> Payload<'a> {
        let (data, data_base64) = either(event.data);
        let (metadata, metadata_base64) = event.metadata.map(either).unwrap_or_default();
        let bytes = (event.data, event.metadata);
        Payload { data, data_base64, metadata, metadata_base64, bytes }
    }

    /// The fields as a person reads them: name and text.
    pub(crate) fn shown(&self) -> impl Iterator<Item = (&'static str, Cow<'a, str>)> + use<'a> {
        let (data, metadata) = self.bytes;
        let fields = [("data", Some(data)), ("metadata", metadata)];
        fields.into_iter().filter_map(|(name, bytes)| bytes.map(|bytes| (name, readable(bytes))))
    }
}

/// What stands of data or metadata in a table.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Cell<'a> {
    /// There is none: no metadata, empty data, a redacted event.
    Nothing,
    /// It is UTF-8, as all JSON is.
    Text(&'a str),
    /// It is not, or is encrypted.
    Blob(&'a [u8]),
}

impl Cell<'_> {
    pub(crate) fn of(bytes: &[u8], content_type: ContentType) -> Cell<'_> {
        if bytes.is_empty() {
            return Cell::Nothing;
        }
        match std::str::from_utf8(bytes) {
            // SQLite's texts end at a NUL for many of its functions.
            Ok(text) if content_type != ContentType::ENCRYPTED && !bytes.contains(&0) => Cell::Text(text),
            _ => Cell::Blob(bytes),
        }
    }
}

/// Text as text, whatever else as base64.
fn readable(bytes: &[u8]) -> Cow<'_, str> {
    match std::str::from_utf8(bytes) {
        Ok("") => Cow::Borrowed("(empty)"),
        Ok(text) => human::printable(text),
        Err(_) => Cow::Owned(format!("(base64) {}", base64(bytes))),
    }
}

fn either(bytes: &[u8]) -> (Option<&RawValue>, Option<String>) {
    match one_line_of_json(bytes) {
        Some(json) => (Some(json), None),
        None => (None, Some(base64(bytes))),
    }
}

/// The bytes as JSON, if they come back as they are when they are put into a line as they are.
pub(crate) fn one_line_of_json(bytes: &[u8]) -> Option<&RawValue> {
    let breaks_the_line = |byte: &u8| matches!(byte, b'\n' | b'\r');
    if bytes.iter().any(breaks_the_line) {
        return None;
    }
    serde_json::from_slice::<&RawValue>(bytes).ok().filter(|value| value.get().len() == bytes.len())
}

pub(crate) fn base64(bytes: &[u8]) -> String {
    BASE64_STANDARD.encode(bytes)
}

pub(crate) fn from_base64(text: &str) -> Result<Vec<u8>, base64::DecodeError> {
    BASE64_STANDARD.decode(text)
}

//! What is wrong with a payload: where, by which rule, and what was there instead.

use std::fmt::{self, Write as _};

use jsonschema::ValidationError;
use jsonschema::error::ValidationErrorKind;
use serde_json::Value;

/// So many violations of one payload are told; nobody mends more at once.
pub(crate) const MOST_VIOLATIONS: usize = 1000;

/// So many characters of what was got are shown.
const MOST_SHOWN: usize = 80;

/// One rule that a payload violates.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct Violation {
    /// Where in the payload: a JSON pointer, empty for the whole.
    pub path: String,
    /// The keyword of the schema: `required`, `type`, `minimum`, …
    pub rule: String,
    /// Where in the schema the rule stands: a JSON pointer.
    pub schema_path: String,
    /// What the rule says of it, in words.
    pub message: String,
    /// What was there: JSON, cut off where it is long. Of an object only the names of its fields.
    pub got: String,
}

impl Violation {
    pub(crate) fn of(error: &ValidationError<'_>) -> Violation {
        Violation {
            path: error.instance_path().to_string(),
            rule: error.kind().keyword().to_owned(),
            schema_path: error.schema_path().to_string(),
            message: message(error),
            got: shown(error.instance()),
        }
    }
}

impl fmt::Display for Violation {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let place = if self.path.is_empty() { "the payload" } else { &self.path };
        write!(out, "{place}: {} ({}); got {}", self.message, self.rule, self.got)
    }
}

fn message(error: &ValidationError<'_>) -> String {
    match error.kind() {
        ValidationErrorKind::Required { property } => format!("{property} is missing"),
        ValidationErrorKind::AdditionalProperties { unexpected } => format!("{} not allowed", names(unexpected)),
        ValidationErrorKind::FalseSchema => "it must not be there".to_owned(),
        _ => error.masked_with("it").to_string(),
    }
}

fn names(names: &[String]) -> String {
    let quoted: Vec<String> = names.iter().map(|name| format!("{name:?}")).collect();
    format!("{} {}", quoted.join(", "), if names.len() == 1 { "is" } else { "are" })
}

/// A value, as short as a person wants it.
fn shown(value: &Value) -> String {
    let text = match value {
        Value::Object(fields) => {
            let names: Vec<&str> = fields.keys().map(String::as_str).collect();
            format!("{{{}}}", names.join(", "))
        }
        other => other.to_string(),
    };
    match text.char_indices().nth(MOST_SHOWN) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text,
    }
}

/// The violations in one line: the first few, and how many more.
pub(crate) fn told(violations: &[Violation]) -> String {
    const SHOWN: usize = 3;
    let mut text = violations.iter().take(SHOWN).map(ToString::to_string).collect::<Vec<_>>().join("; ");
    if violations.len() > SHOWN {
        _ = write!(text, "; and {} more", violations.len() - SHOWN);
    }
    text
}

//! One schema, ready to check payloads with.
//!
//! What is always true:
//!
//! - It stands alone: nothing is fetched from anywhere, and a `$ref` that leads out of the schema makes it invalid.
//! - It was checked against the schema of its own dialect; so checking a payload with it cannot fail, and takes time in
//!   proportion to the payload: patterns are matched without backtracking.
//! - `format` is checked in every dialect, and a format that nobody knows makes the schema invalid.

use std::fmt;
use std::sync::Arc;

use jsonschema::{PatternOptions, ValidationError, Validator};
use serde_json::Value;

use crate::validation::json;
use crate::validation::violation::{MOST_VIOLATIONS, Violation};

/// Something that keeps a text from being a schema.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct SchemaFault {
    /// Where in the schema: a JSON pointer, empty for the whole.
    pub path: String,
    /// By which rule of its dialect.
    pub rule: String,
    /// What is wrong.
    pub problem: String,
}

impl fmt::Display for SchemaFault {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let place = if self.path.is_empty() { "the schema" } else { &self.path };
        write!(out, "{place}: {}", self.problem)
    }
}

/// Why a text is no schema: everything that is wrong with it.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("{}", told(faults))]
#[non_exhaustive]
pub struct InvalidSchema {
    /// At least one.
    pub faults: Vec<SchemaFault>,
}

fn told(faults: &[SchemaFault]) -> String {
    faults.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")
}

impl InvalidSchema {
    fn new(path: &str, rule: &str, problem: impl Into<String>) -> InvalidSchema {
        let fault = SchemaFault { path: path.to_owned(), rule: rule.to_owned(), problem: problem.into() };
        InvalidSchema { faults: vec![fault] }
    }
}

/// A JSON Schema that payloads can be checked with.
///
/// ```
/// use annals_schema::Schema;
///
/// let schema = Schema::parse(r#"{"type": "object", "required": ["total"], "properties": {"total": {"minimum": 0}}}"#)?;
/// assert!(schema.check(br#"{"total": 42}"#).is_ok());
///
/// let invalid = Schema::parse(r#"{"properties": {"total": {"minimum": "zero"}}}"#).unwrap_err();
/// assert_eq!(invalid.to_string(), r#"/properties/total/minimum: "zero" is not of type "number""#);
/// # Ok::<(), annals_schema::InvalidSchema>(())
/// ```
#[derive(Clone, Debug)]
pub struct Schema {
    value: Arc<Value>,
    validator: Arc<Validator>,
}

impl Schema {
    /// Reads a schema. Without `$schema` it is one of draft 2020-12.
    ///
    /// # Errors
    ///
    /// [`InvalidSchema`] says all that is wrong with it.
    pub fn parse(text: &str) -> Result<Schema, InvalidSchema> {
        let value = json::parse(text.as_bytes()).map_err(|error| InvalidSchema::new("", "json", error.to_string()))?;
        if text.trim().is_empty() {
            return Err(InvalidSchema::new("", "json", "it is empty; `true` is the schema of everything"));
        }
        Schema::of(value)
    }

    /// The schema that a value is.
    pub(crate) fn of(value: Value) -> Result<Schema, InvalidSchema> {
        let faults = meta_faults(&value);
        if !faults.is_empty() {
            return Err(InvalidSchema { faults });
        }
        let options = jsonschema::options()
            .offline()
            .should_validate_formats(true)
            .should_ignore_unknown_formats(false)
            .with_pattern_options(PatternOptions::regex());
        let unbuilt = |error: ValidationError<'_>| {
            let mut fault = fault(&error);
            if fault.rule == "$ref" {
                fault.path = path_of_ref(&value, &fault.problem).unwrap_or(fault.path);
            }
            InvalidSchema { faults: vec![fault] }
        };
        let validator = options.build(&value).map_err(unbuilt)?;
        Ok(Schema { value: Arc::new(value), validator: Arc::new(validator) })
    }

    /// The schema itself.
    pub(crate) fn value(&self) -> &Value {
        &self.value
    }

    /// Checks a payload. One without a byte counts as `null`.
    ///
    /// # Errors
    ///
    /// [`Unfit`] says all that is wrong with it.
    pub fn check(&self, data: &[u8]) -> Result<(), Unfit> {
        let value = json::parse(data)?;
        if self.validator.is_valid(&value) {
            return Ok(());
        }
        let violations = self.validator.iter_errors(&value).take(MOST_VIOLATIONS).map(|error| Violation::of(&error));
        Err(Unfit::Violates(violations.collect()))
    }

    /// Whether a value is valid.
    pub(crate) fn admits(&self, value: &Value) -> bool {
        self.validator.is_valid(value)
    }
}

/// Why a payload is not what a schema asks for.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum Unfit {
    /// It is not JSON.
    #[error("it is not JSON: {0}")]
    NotJson(#[from] json::NotJson),
    /// It violates these rules: all of them, or the first thousand.
    #[error("{}", crate::validation::violation::told(.0))]
    Violates(Vec<Violation>),
}

/// What the schema of its dialect says about a schema.
fn meta_faults(value: &Value) -> Vec<SchemaFault> {
    let Ok(meta) = jsonschema::meta::validator_for(value) else { return Vec::new() };
    let mut faults: Vec<SchemaFault> = Vec::new();
    for fault in meta.iter_errors(value).take(MOST_VIOLATIONS).map(|error| fault(&error)) {
        // Each part of a dialect that says something about a place says it.
        if faults.iter().all(|known| *known != fault) {
            faults.push(fault);
        }
    }
    faults
}

fn fault(error: &ValidationError<'_>) -> SchemaFault {
    let rule = error.kind().keyword().to_owned();
    let path = error.instance_path().to_string();
    let text = error.to_string();
    if let Some(rest) = text.strip_prefix("Unknown format: ") {
        let name = rest.split(". ").next().unwrap_or(rest);
        return SchemaFault { path, rule: "format".to_owned(), problem: format!("nobody knows the format {name}") };
    }
    let problem = match &*rule {
        "$ref" if text.starts_with("Unknown meta-schema") => {
            let name = text.split('\'').nth(1).unwrap_or_default();
            format!("nobody knows the dialect {name}; known are draft-04, draft-06, draft-07, 2019-09 and 2020-12")
        }
        "$ref" => format!("{text}. A schema stands alone: put what it refers to into its own $defs"),
        "anyOf" if path.ends_with("/type") => format!("{text}: no type of JSON has this name"),
        _ if text.ends_with("is not a \"regex\"") => {
            format!(
                "{text}: it does not parse, is too large, or looks around or back, which takes too long on some texts"
            )
        }
        _ => text,
    };
    SchemaFault { path, rule, problem }
}

/// Where in a schema the reference stands of which an error speaks.
fn path_of_ref(schema: &Value, problem: &str) -> Option<String> {
    let named = |target: &str| {
        let (document, fragment) = target.split_once('#').unwrap_or((target, ""));
        [document, fragment].into_iter().any(|part| !part.is_empty() && problem.contains(part))
    };
    let below = |name: &str, value: &Value| {
        path_of_ref(value, problem).map(|rest| format!("/{}{rest}", name.replace('~', "~0").replace('/', "~1")))
    };
    match schema {
        Value::Object(fields) => {
            let of_this = ["$ref", "$dynamicRef", "$schema"]
                .into_iter()
                .find(|keyword| fields.get(*keyword).and_then(Value::as_str).is_some_and(named));
            let here = of_this.map(|keyword| format!("/{keyword}"));
            here.or_else(|| fields.iter().find_map(|(name, value)| below(name, value)))
        }
        Value::Array(items) => items.iter().enumerate().find_map(|(at, item)| below(&at.to_string(), item)),
        _ => None,
    }
}

//! Schemas that accept so few values that each can be tried.

use serde_json::{Value, json};

use super::dialect;
use crate::validation::schema::Schema;

/// Values of which a schema accepts some and besides which it accepts none, if it says so.
pub(super) fn values(schema: &Value) -> Option<Vec<Value>> {
    if let Some(value) = schema.get("const") {
        return Some(vec![value.clone()]);
    }
    if let Some(values) = schema.get("enum").and_then(Value::as_array) {
        return Some(values.clone());
    }
    let types = match schema.get("type")? {
        Value::String(name) => vec![&**name],
        Value::Array(names) => names.iter().filter_map(Value::as_str).collect(),
        _ => return None,
    };
    let mut values = Vec::new();
    for name in types {
        match name {
            "boolean" => values.extend([json!(false), json!(true)]),
            "null" => values.push(Value::Null),
            _ => return None,
        }
    }
    Some(values)
}

/// A part of a document as a schema of its own; `None` where it needs the rest.
pub(super) fn alone(root: &Value, part: &Value) -> Option<Schema> {
    if dialect::refers(part) {
        return None;
    }
    let mut part = part.clone();
    if let (Some(fields), Some(uri)) = (part.as_object_mut(), root.get("$schema")) {
        fields.insert("$schema".to_owned(), uri.clone());
    }
    Schema::of(part).ok()
}

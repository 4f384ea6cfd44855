//! What typed events look like, as JSON Schemas: one for each variant, which is one for each event type.
//!
//! They come from the types themselves (`#[derive(schemars::JsonSchema)]`), so they say what serde writes, renamed fields,
//! defaults and all. `annals-schema` registers them. Each stands alone: with all that it refers to, and without the formats
//! that say how wide a number of Rust is, which JSON Schema does not know.

use std::collections::{BTreeMap, BTreeSet};

use schemars::JsonSchema;
use schemars::generate::SchemaSettings;
use serde_json::{Map, Value, json};

use crate::fold::HandlerError;
use crate::typed::TypedEvents;

/// The schema of each event type of an enum, draft 2020-12: of the payloads that [`TypedEvents::to_event`] makes. A
/// variant without content has none, which counts as `null`.
///
/// ```
/// use annals_projection::{TypedEvents, event_schemas};
/// use schemars::JsonSchema;
/// use serde::{Deserialize, Serialize};
///
/// #[derive(Deserialize, JsonSchema, Serialize)]
/// enum Account {
///     Opened { owner: String },
///     Closed,
/// }
///
/// impl TypedEvents for Account {}
///
/// let schemas = event_schemas::<Account>()?;
/// assert_eq!(schemas["Opened"]["required"][0], "owner");
/// assert_eq!(schemas["Closed"]["type"], "null");
/// # Ok::<(), annals_projection::HandlerError>(())
/// ```
///
/// # Errors
///
/// When the type is no enum in serde's own form.
pub fn event_schemas<E: TypedEvents + JsonSchema>() -> Result<BTreeMap<String, Value>, HandlerError> {
    let root = SchemaSettings::draft2020_12().into_generator().into_root_schema_for::<E>().to_value();
    let whole = || [root.clone()].to_vec();
    let branches = root.get("oneOf").and_then(Value::as_array).cloned().unwrap_or_else(whole);
    let mut schemas = BTreeMap::new();
    for branch in &branches {
        let variants = of_branch(branch).ok_or("only an enum in serde's own form can be events")?;
        for (name, payload) in variants {
            schemas.insert(name, alone(&root, payload));
        }
    }
    Ok(schemas)
}

/// The variants that a part of an enum's schema describes, and what each holds.
fn of_branch(branch: &Value) -> Option<Vec<(String, Value)>> {
    let without_content = |name: &Value| Some((name.as_str()?.to_owned(), json!({"type": "null"})));
    if let Some(name) = branch.get("const") {
        return Some(vec![without_content(name)?]);
    }
    if let Some(names) = branch.get("enum").and_then(Value::as_array) {
        return names.iter().map(without_content).collect();
    }
    // A struct with one field looks the same but for this.
    let is_closed = branch.get("additionalProperties") == Some(&Value::Bool(false));
    let fields = branch.get("properties")?.as_object().filter(|fields| is_closed && fields.len() == 1)?;
    Some(fields.iter().map(|(name, payload)| (name.clone(), payload.clone())).collect())
}

/// A part of a document with all of it that the part refers to.
fn alone(root: &Value, part: Value) -> Value {
    let mut schema = match part {
        Value::Object(fields) => fields,
        Value::Bool(false) => Map::from_iter([("not".to_owned(), json!({}))]),
        _ => Map::new(),
    };
    let definitions = root.get("$defs").and_then(Value::as_object);
    let (mut needed, mut looked_at) = (BTreeSet::new(), BTreeSet::new());
    refers_to(&Value::Object(schema.clone()), &mut needed);
    while let Some(name) = needed.pop_first() {
        if let Some(definition) = definitions.and_then(|all| all.get(&name)).filter(|_| looked_at.insert(name.clone()))
        {
            let mut more = BTreeSet::new();
            refers_to(definition, &mut more);
            needed.extend(more.difference(&looked_at).cloned());
        }
    }
    let kept = definitions.into_iter().flatten().filter(|(name, _)| looked_at.contains(*name));
    let kept: Map<String, Value> = kept.map(|(name, schema)| (name.clone(), schema.clone())).collect();
    if !kept.is_empty() {
        schema.insert("$defs".to_owned(), Value::Object(kept));
    }
    if let Some(dialect) = root.get("$schema") {
        schema.insert("$schema".to_owned(), dialect.clone());
    }
    let mut schema = Value::Object(schema);
    forget_widths(&mut schema);
    schema
}

/// Takes out the formats of numbers.
fn forget_widths(schema: &mut Value) {
    match schema {
        Value::Object(fields) => {
            let is_number = |name: &Value| name == "integer" || name == "number";
            let is_of_numbers = match fields.get("type") {
                Some(Value::Array(names)) => names.iter().any(is_number),
                Some(name) => is_number(name),
                None => false,
            };
            if is_of_numbers && fields.get("format").is_some_and(Value::is_string) {
                fields.remove("format");
            }
            fields.values_mut().for_each(forget_widths);
        }
        Value::Array(items) => items.iter_mut().for_each(forget_widths),
        _ => {}
    }
}

/// The definitions that are named in it.
fn refers_to(schema: &Value, names: &mut BTreeSet<String>) {
    match schema {
        Value::Object(fields) => {
            let reference = fields.get("$ref").and_then(Value::as_str);
            let name = reference.and_then(|reference| reference.strip_prefix("#/$defs/"));
            names.extend(name.map(|name| name.replace("~1", "/").replace("~0", "~")));
            fields.values().for_each(|value| refers_to(value, names));
        }
        Value::Array(items) => items.iter().for_each(|item| refers_to(item, names)),
        _ => {}
    }
}

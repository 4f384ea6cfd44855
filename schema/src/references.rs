//! Where the references of a schema document lead.

use serde_json::Value;

/// The schema that `#/…` names in a document. Not where a part of it has a name of its own, to which that might refer.
pub(crate) fn resolve<'a>(root: &'a Value, reference: &str) -> Option<(&'a Value, String)> {
    let pointer = reference.strip_prefix('#')?;
    if has_own_names(root, true) || pointer.contains('%') {
        return None;
    }
    root.pointer(pointer).map(|found| (found, pointer.to_owned()))
}

fn has_own_names(schema: &Value, is_root: bool) -> bool {
    match schema {
        Value::Object(fields) => {
            let is_named = |name: &str| fields.get(name).is_some_and(Value::is_string);
            (!is_root && (is_named("$id") || is_named("id")))
                || fields.values().any(|value| has_own_names(value, false))
        }
        Value::Array(items) => items.iter().any(|value| has_own_names(value, false)),
        _ => false,
    }
}

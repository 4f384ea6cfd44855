//! What a schema document says of itself: which dialect it is in, and where its references lead.

use serde_json::{Map, Value};

/// The dialects in which keywords mean different things to a comparison.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Dialect {
    /// Draft 2020-12, and whatever says nothing.
    Latest,
    /// Draft 2019-09: `items` may be a list.
    Draft2019,
    /// Draft 6 and 7: beside a `$ref` nothing counts.
    Older,
    /// Whatever else: nothing is said about it.
    Unknown,
}

impl Dialect {
    pub(super) fn of(schema: &Value) -> Dialect {
        match uri(schema) {
            None => Dialect::Latest,
            Some(uri) if uri.contains("2020-12") => Dialect::Latest,
            Some(uri) if uri.contains("2019-09") => Dialect::Draft2019,
            Some(uri) if uri.contains("draft-07") || uri.contains("draft-06") => Dialect::Older,
            Some(_) => Dialect::Unknown,
        }
    }
}

/// The dialect that a schema names.
pub(super) fn uri(schema: &Value) -> Option<&str> {
    schema.get("$schema")?.as_str().map(|uri| uri.trim_end_matches('#'))
}

/// The schema that `#/…` names in a document. Not where a part of it has a name of its own, to which that might refer.
pub(super) fn resolve<'a>(root: &'a Value, reference: &str) -> Option<(&'a Value, String)> {
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

/// Whether anything in it is said elsewhere.
pub(super) fn refers(schema: &Value) -> bool {
    match schema {
        Value::Object(fields) => {
            ["$ref", "$dynamicRef", "$recursiveRef"].iter().any(|keyword| fields.contains_key(*keyword))
                || fields.values().any(refers)
        }
        Value::Array(items) => items.iter().any(refers),
        _ => false,
    }
}

/// Whether both say the same under a keyword, and nothing of it is said elsewhere.
pub(super) fn same(wide: &Map<String, Value>, narrow: &Map<String, Value>, keyword: &str) -> bool {
    wide.get(keyword) == narrow.get(keyword) && wide.get(keyword).is_none_or(|value| !refers(value))
}

//! What a schema document says of itself: which dialect it is in, and whether it refers to anything.

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

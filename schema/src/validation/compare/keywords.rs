//! What single keywords of the wide schema ask for, and whether the narrow one says as much.

use std::cmp::Ordering;

use serde_json::{Map, Value};

use super::Verdict;
use super::accepts::{Accepts, Doubts, Place};
use super::dialect::same;
use super::numbers::{self, Side};

/// Keywords that ask nothing of a value.
const ANNOTATIONS: [&str; 20] = [
    "$anchor",
    "$comment",
    "$defs",
    "$dynamicAnchor",
    "$id",
    "$recursiveAnchor",
    "$schema",
    "$vocabulary",
    "default",
    "definitions",
    "deprecated",
    "description",
    "else",
    "examples",
    "id",
    "maxContains",
    "minContains",
    "readOnly",
    "then",
    "title",
];

/// Whether a keyword asks nothing of a value.
pub(super) fn is_annotation(keyword: &str) -> bool {
    ANNOTATIONS.contains(&keyword) || keyword.starts_with("x-")
}

/// All types of JSON.
const TYPES: [&str; 6] = ["null", "boolean", "object", "array", "number", "string"];

/// Which types a schema accepts.
pub(super) fn types(said: &Map<String, Value>) -> Vec<&str> {
    match said.get("type") {
        Some(Value::String(name)) => vec![name],
        Some(Value::Array(names)) => names.iter().filter_map(Value::as_str).collect(),
        _ => match (said.get("const"), said.get("enum").and_then(Value::as_array)) {
            (Some(value), _) => vec![type_of(value)],
            (None, Some(values)) => values.iter().map(type_of).collect(),
            (None, None) => TYPES.to_vec(),
        },
    }
}

fn type_of(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "boolean",
        Value::Number(_) => "number",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    }
}

fn names(list: Option<&Value>) -> Vec<&str> {
    list.and_then(Value::as_array).map_or_else(Vec::new, |names| names.iter().filter_map(Value::as_str).collect())
}

impl<'a> Accepts<'a> {
    /// Each keyword of the wide schema, by what the narrow one says itself.
    pub(super) fn by_keywords(
        &mut self,
        fields: &'a Map<String, Value>,
        wide: &Place<'a>,
        narrow: &Place<'a>,
    ) -> Doubts {
        let nothing = Map::new();
        let said = narrow.schema.as_object().filter(|_| !self.is_only_reference(narrow)).unwrap_or(&nothing);
        let accepted = types(said);
        let accepts = |name: &str| accepted.contains(&name);
        let accepts_numbers = accepts("number") || accepts("integer");
        let mut doubts = Doubts::new();
        let (mut looked_at_fields, mut looked_at_items) = (false, false);
        for (keyword, value) in fields {
            doubts.extend(match keyword.as_str() {
                keyword if is_annotation(keyword) => continue,
                "type" => self.by_type(fields, said, wide),
                "enum" | "const" => self.by_values(keyword, said, wide),
                "minimum" | "exclusiveMinimum" if accepts_numbers => self.by_bound(Side::Least, fields, said, wide),
                "maximum" | "exclusiveMaximum" if accepts_numbers => self.by_bound(Side::Most, fields, said, wide),
                "multipleOf" if accepts_numbers => self.by_multiple(value, said, wide),
                "minLength" if accepts("string") => self.by_size(keyword, Side::Least, value, said, wide),
                "maxLength" if accepts("string") => self.by_size(keyword, Side::Most, value, said, wide),
                "minItems" if accepts("array") => self.by_size(keyword, Side::Least, value, said, wide),
                "maxItems" if accepts("array") => self.by_size(keyword, Side::Most, value, said, wide),
                "minProperties" if accepts("object") => self.by_size(keyword, Side::Least, value, said, wide),
                "maxProperties" if accepts("object") => self.by_size(keyword, Side::Most, value, said, wide),
                "required" if accepts("object") => self.by_required(value, said, wide),
                "dependentRequired" if accepts("object") => self.by_dependents(value, said, wide),
                "properties" | "additionalProperties" | "patternProperties" if accepts("object") => {
                    if std::mem::replace(&mut looked_at_fields, true) {
                        continue;
                    }
                    self.by_properties(fields, wide, narrow)
                }
                "items" | "prefixItems" | "additionalItems" if accepts("array") => {
                    if std::mem::replace(&mut looked_at_items, true) {
                        continue;
                    }
                    self.by_items(fields, wide, narrow)
                }
                "uniqueItems" if accepts("array") => self.by_unique(value, said, wide),
                "allOf" => {
                    let parts = value.as_array().map_or(&[][..], Vec::as_slice);
                    let each = parts.iter().enumerate();
                    each.flat_map(|(at, part)| self.accepts(&wide.part(part, &format!("/allOf/{at}")), narrow))
                        .collect()
                }
                "anyOf" => self.by_any(fields, wide, narrow),
                "$ref" => self.by_reference(fields, wide, narrow),
                "format" if accepts("string") => self.by_format(value, said, wide),
                "pattern" if accepts("string") => unless_same(&["pattern"], fields, said, wide),
                "contains" if accepts("array") => {
                    unless_same(&["contains", "minContains", "maxContains"], fields, said, wide)
                }
                "if" => unless_same(&["if", "then", "else"], fields, said, wide),
                "unevaluatedProperties" | "unevaluatedItems" if *value == Value::Bool(true) => continue,
                // What counts as evaluated is said by everything around it.
                "unevaluatedProperties" | "unevaluatedItems" => wide.undecided(keyword),
                // Of types that the narrow one does not accept.
                "minimum"
                | "exclusiveMinimum"
                | "maximum"
                | "exclusiveMaximum"
                | "multipleOf"
                | "minLength"
                | "maxLength"
                | "minItems"
                | "maxItems"
                | "minProperties"
                | "maxProperties"
                | "required"
                | "dependentRequired"
                | "properties"
                | "additionalProperties"
                | "patternProperties"
                | "items"
                | "prefixItems"
                | "additionalItems"
                | "uniqueItems"
                | "format"
                | "pattern"
                | "contains" => continue,
                // `not`, `oneOf`, `propertyNames`, `dependentSchemas`, `dependencies`, `content…`, and whatever is not known here.
                keyword => unless_same(&[keyword], fields, said, wide),
            });
        }
        doubts
    }

    fn by_type(&self, fields: &Map<String, Value>, said: &Map<String, Value>, wide: &Place<'_>) -> Doubts {
        let accepted = types(fields);
        let is_accepted = |name: &str| accepted.contains(&name) || (name == "integer" && accepted.contains(&"number"));
        let missing: Vec<&str> = types(said).into_iter().filter(|name| !is_accepted(name)).collect();
        if missing.is_empty() {
            return Doubts::new();
        }
        let (accepted, missing) = (accepted.join(", "), missing.join(", "));
        let what = format!("it accepts {accepted}, and {} also {missing}", self.other);
        vec![wide.doubt(Verdict::Breaks, "type", what)]
    }

    /// The narrow one has no list of values, or it would have been tried.
    fn by_values(&self, keyword: &str, said: &Map<String, Value>, wide: &Place<'_>) -> Doubts {
        let is_free = said.keys().all(|keyword| keyword == "type" || is_annotation(keyword));
        if !is_free {
            return wide.undecided(keyword);
        }
        vec![wide.doubt(Verdict::Breaks, keyword, format!("it accepts some values, and {} any", self.other))]
    }

    fn by_bound(&self, side: Side, fields: &Map<String, Value>, said: &Map<String, Value>, wide: &Place<'_>) -> Doubts {
        let [closed, open] = side.keywords();
        // Both keywords make one bound, which is told once.
        let keyword = if fields.contains_key(closed) { closed } else { open };
        let of_integers = !types(said).contains(&"number");
        let (Ok(Some(bound)), Ok(of_narrow)) = (numbers::bound(fields, side), numbers::bound(said, side)) else {
            return wide.undecided(keyword);
        };
        match of_narrow.map(|of_narrow| numbers::is_as_tight(of_narrow, bound, side, of_integers)) {
            Some(Some(true)) => Doubts::new(),
            Some(None) => wide.undecided(keyword),
            Some(Some(false)) => {
                vec![wide.doubt(Verdict::Breaks, keyword, format!("it is tighter than that of {}", self.other))]
            }
            None => vec![wide.doubt(Verdict::Breaks, keyword, format!("{} has no such bound", self.other))],
        }
    }

    fn by_multiple(&self, value: &Value, said: &Map<String, Value>, wide: &Place<'_>) -> Doubts {
        let Value::Number(step) = value else { return wide.undecided("multipleOf") };
        let is_met = match said.get("multipleOf") {
            Some(Value::Number(own)) => numbers::is_multiple(own, step),
            Some(_) => None,
            None if !types(said).contains(&"number") => numbers::is_multiple(&1.into(), step),
            None => Some(false),
        };
        match is_met {
            Some(true) => Doubts::new(),
            Some(false) => {
                let what = format!("{} accepts numbers that are no multiple of {step}", self.other);
                vec![wide.doubt(Verdict::Breaks, "multipleOf", what)]
            }
            None => wide.undecided("multipleOf"),
        }
    }

    fn by_size(&self, keyword: &str, side: Side, value: &Value, said: &Map<String, Value>, wide: &Place<'_>) -> Doubts {
        let Value::Number(limit) = value else { return wide.undecided(keyword) };
        if side == Side::Least && limit.as_f64() == Some(0.0) {
            return Doubts::new();
        }
        let order = match said.get(keyword) {
            Some(Value::Number(own)) => numbers::order(own, limit),
            Some(_) => None,
            None => {
                return vec![wide.doubt(Verdict::Breaks, keyword, format!("{} has no such bound", self.other))];
            }
        };
        match (order, side) {
            (None, _) => wide.undecided(keyword),
            (Some(Ordering::Less), Side::Least) | (Some(Ordering::Greater), Side::Most) => {
                vec![wide.doubt(Verdict::Breaks, keyword, format!("it is tighter than that of {}", self.other))]
            }
            _ => Doubts::new(),
        }
    }

    fn by_required(&self, value: &Value, said: &Map<String, Value>, wide: &Place<'_>) -> Doubts {
        let known = names(said.get("required"));
        let missing = names(Some(value)).into_iter().filter(|name| !known.contains(name));
        let what = |name| format!("it asks for {name:?}, and {} does not", self.other);
        missing.map(|name| wide.doubt(Verdict::Breaks, "required", what(name))).collect()
    }

    fn by_dependents(&self, value: &Value, said: &Map<String, Value>, wide: &Place<'_>) -> Doubts {
        let always = names(said.get("required"));
        let mut doubts = Doubts::new();
        for (name, wanted) in value.as_object().into_iter().flatten() {
            let then = names(said.get("dependentRequired").and_then(|known| known.get(name)));
            for wanted in names(Some(wanted)) {
                if !always.contains(&wanted) && !then.contains(&wanted) && wanted != name {
                    let what = format!("with {name:?} it asks for {wanted:?}, and {} does not", self.other);
                    doubts.push(wide.doubt(Verdict::Breaks, "dependentRequired", what));
                }
            }
        }
        doubts
    }

    fn by_unique(&self, value: &Value, said: &Map<String, Value>, wide: &Place<'_>) -> Doubts {
        let holds_one = said.get("maxItems").and_then(Value::as_f64).is_some_and(|most| most <= 1.0);
        if *value != Value::Bool(true) || said.get("uniqueItems") == Some(value) || holds_one {
            return Doubts::new();
        }
        vec![wide.doubt(Verdict::Breaks, "uniqueItems", format!("{} accepts equal items", self.other))]
    }

    fn by_format(&self, value: &Value, said: &Map<String, Value>, wide: &Place<'_>) -> Doubts {
        if said.get("format") == Some(value) {
            return Doubts::new();
        }
        if said.contains_key("format") || said.contains_key("pattern") || said.contains_key("maxLength") {
            return wide.undecided("format");
        }
        vec![wide.doubt(Verdict::Breaks, "format", format!("{} accepts any text", self.other))]
    }
}

/// Met when both say the same under all of these keywords, of which the first is the one that asks.
fn unless_same(keywords: &[&str], fields: &Map<String, Value>, said: &Map<String, Value>, wide: &Place<'_>) -> Doubts {
    if keywords.iter().all(|keyword| same(fields, said, keyword)) { Doubts::new() } else { wide.undecided(keywords[0]) }
}

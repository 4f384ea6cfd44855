//! The columns that the registered schemas of a type give a table: a name and a type for each field of its events.
//!
//! What is always true:
//!
//! - Columns come from schemas alone, and never from events: the same schemas give the same columns, in the order of their
//!   names, whatever was appended and in whatever order the schemas are taken in.
//! - A column has the type that all schemas of the type agree on, in all its versions. Where they do not, or where one says
//!   nothing that a column could be made of, it is JSON: what stands there, as it is.
//! - A field that may be null, or may be missing, is no less of its type: null is what every column may hold.

use std::borrow::Cow;
use std::collections::{BTreeMap, HashSet};
use std::fmt;

use serde::de::{self, Deserialize, DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize as Derive, Serialize};
use serde_json::{Map, Value};

use crate::references::resolve;

/// How many references and alternatives are followed in a row: they may go round in circles.
const MOST_STEPS: usize = 32;

/// What stands in a column.
#[derive(Clone, Copy, Debug, Derive, Eq, Hash, PartialEq, Serialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum ColumnType {
    /// A whole number of 64 bits, with a sign.
    Integer,
    /// A number with a point in it, of 64 bits.
    Number,
    /// A text.
    Text,
    /// True or false.
    Boolean,
    /// Anything, as JSON.
    Json,
}

impl ColumnType {
    /// Its name.
    pub const fn as_str(self) -> &'static str {
        match self {
            ColumnType::Integer => "integer",
            ColumnType::Number => "number",
            ColumnType::Text => "text",
            ColumnType::Boolean => "boolean",
            ColumnType::Json => "json",
        }
    }

    /// The type that has room for both.
    fn joined(self, other: ColumnType) -> ColumnType {
        match (self, other) {
            _ if self == other => self,
            (ColumnType::Integer, ColumnType::Number) | (ColumnType::Number, ColumnType::Integer) => ColumnType::Number,
            _ => ColumnType::Json,
        }
    }
}

impl fmt::Display for ColumnType {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(self.as_str())
    }
}

/// The columns of a type of events.
///
/// ```
/// use annals_schema::{ColumnType, Columns};
///
/// let first = r#"{"type": "object", "properties": {"amount": {"type": "integer"}, "note": {"type": ["string", "null"]}}}"#;
/// let mut columns = Columns::of(first)?;
/// columns.join(&Columns::of(r#"{"properties": {"amount": {"type": "number"}}}"#)?);
///
/// let found: Vec<_> = columns.iter().collect();
/// assert_eq!(found, [("amount", ColumnType::Number), ("note", ColumnType::Text)]);
/// assert_eq!(columns.misfit(br#"{"amount": 7, "note": null}"#), None);
/// let reason = columns.misfit(br#"{"amount": "seven"}"#).unwrap();
/// assert_eq!(reason, r#"its field "amount" is a text, and by the registered schemas a number"#);
/// # Ok::<(), serde_json::Error>(())
/// ```
#[derive(Clone, Debug, Default, Derive, Eq, PartialEq, Serialize)]
#[serde(transparent)]
pub struct Columns(BTreeMap<String, ColumnType>);

impl Columns {
    /// Those of a schema: its `properties`, also of what it refers to within itself and of the alternatives that it offers.
    ///
    /// # Errors
    ///
    /// The schema is not JSON.
    pub fn of(schema: &str) -> Result<Columns, serde_json::Error> {
        let root: Value = serde_json::from_str(schema)?;
        let mut columns = Columns::default();
        columns.gather(&root, &root, &mut HashSet::new(), MOST_STEPS);
        Ok(columns)
    }

    /// Takes in those of another schema of the same type of events.
    pub fn join(&mut self, other: &Columns) {
        for (name, column) in other.iter() {
            self.add(name, column);
        }
    }

    /// Each name with its type, in the order of the names.
    pub fn iter(&self) -> impl Iterator<Item = (&str, ColumnType)> {
        self.0.iter().map(|(name, column)| (&**name, *column))
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Which field of a payload does not fit into its column, in words. `None` where all do, and where the payload is no JSON
    /// object.
    pub fn misfit(&self, data: &[u8]) -> Option<String> {
        let mut found = None;
        let mut json = serde_json::Deserializer::from_slice(data);
        // What is no JSON is for others to say.
        _ = Fields { columns: self, found: &mut found }.deserialize(&mut json);
        found
    }

    fn add(&mut self, name: &str, column: ColumnType) {
        match self.0.get_mut(name) {
            Some(there) => *there = there.joined(column),
            None => _ = self.0.insert(name.to_owned(), column),
        }
    }

    /// Each part of the document is looked at once, however many ways lead to it.
    fn gather(&mut self, root: &Value, schema: &Value, seen: &mut HashSet<*const Value>, steps: usize) {
        let Some(steps) = steps.checked_sub(1).filter(|_| seen.insert(schema)) else { return };
        for (name, property) in schema.get("properties").and_then(Value::as_object).into_iter().flatten() {
            self.add(name, type_of(root, property, &mut { MOST_STEPS }).unwrap_or(ColumnType::Json));
        }
        for part in target(root, schema).into_iter().chain(parts(schema)) {
            self.gather(root, part, seen, steps);
        }
    }
}

/// What a schema refers to, if that stands in the same document.
fn target<'a>(root: &'a Value, schema: &Value) -> Option<&'a Value> {
    resolve(root, schema.get("$ref")?.as_str()?).map(|(target, _)| target)
}

/// What else has to hold for what a schema accepts, or may.
fn parts(schema: &Value) -> impl Iterator<Item = &Value> {
    let keywords = ["allOf", "anyOf", "oneOf"].into_iter();
    keywords.filter_map(|keyword| schema.get(keyword)?.as_array()).flatten()
}

/// The type of what a schema accepts, beside null; `None` where it accepts nothing but null. All that it takes to know that
/// uses up the same `steps`.
fn type_of(root: &Value, schema: &Value, steps: &mut usize) -> Option<ColumnType> {
    let (Some(fields), Some(left)) = (schema.as_object(), steps.checked_sub(1)) else {
        return Some(ColumnType::Json);
    };
    *steps = left;
    if let Some(named) = fields.get("type") {
        return named_type(named);
    }
    if let Some(values) = values(fields) {
        return joined(values.map(type_of_value));
    }
    if fields.contains_key("$ref") {
        return target(root, schema).map_or(Some(ColumnType::Json), |target| type_of(root, target, steps));
    }
    if parts(schema).next().is_none() {
        return Some(ColumnType::Json);
    }
    joined(parts(schema).map(|part| type_of(root, part, steps)))
}

/// What may stand there, where a schema counts it up.
fn values(schema: &Map<String, Value>) -> Option<impl Iterator<Item = &Value>> {
    let listed = schema.get("enum").and_then(Value::as_array);
    let values = listed.map(Vec::as_slice).or_else(|| schema.get("const").map(std::slice::from_ref));
    values.map(<[Value]>::iter)
}

fn joined(types: impl Iterator<Item = Option<ColumnType>>) -> Option<ColumnType> {
    types.flatten().reduce(ColumnType::joined)
}

fn named_type(named: &Value) -> Option<ColumnType> {
    let names = named.as_array().map_or(std::slice::from_ref(named), Vec::as_slice);
    joined(names.iter().map(|name| match name.as_str() {
        Some("null") => None,
        Some("integer") => Some(ColumnType::Integer),
        Some("number") => Some(ColumnType::Number),
        Some("string") => Some(ColumnType::Text),
        Some("boolean") => Some(ColumnType::Boolean),
        _ => Some(ColumnType::Json),
    }))
}

fn type_of_value(value: &Value) -> Option<ColumnType> {
    match value {
        Value::Null => None,
        Value::Bool(_) => Some(ColumnType::Boolean),
        Value::Number(number) if number.is_i64() => Some(ColumnType::Integer),
        Value::Number(_) => Some(ColumnType::Number),
        Value::String(_) => Some(ColumnType::Text),
        Value::Array(_) | Value::Object(_) => Some(ColumnType::Json),
    }
}

/// Looks through the fields of an object, and keeps the first that does not fit.
struct Fields<'a> {
    columns: &'a Columns,
    found: &'a mut Option<String>,
}

impl<'de> DeserializeSeed<'de> for Fields<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, json: D) -> Result<(), D::Error> {
        json.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Fields<'_> {
    type Value = ();

    fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut fields: A) -> Result<(), A::Error> {
        while let Some(Name(name)) = fields.next_key()? {
            match self.columns.0.get(&*name).filter(|_| self.found.is_none()) {
                None | Some(ColumnType::Json) => _ = fields.next_value::<IgnoredAny>()?,
                Some(&column) => {
                    let value: Kind = fields.next_value()?;
                    if !value.fits(column) {
                        let (a, of) = (value.told(), a_column(column));
                        *self.found = Some(format!("its field {name:?} is {a}, and by the registered schemas {of}"));
                    }
                }
            }
        }
        Ok(())
    }
}

fn a_column(column: ColumnType) -> &'static str {
    match column {
        ColumnType::Integer => "an integer of 64 bits",
        ColumnType::Number => "a number",
        ColumnType::Text => "a text",
        ColumnType::Boolean => "true or false",
        ColumnType::Json => "anything",
    }
}

/// The name of a field, borrowed where it stands in the payload as it is.
struct Name<'a>(Cow<'a, str>);

impl<'de> Deserialize<'de> for Name<'de> {
    fn deserialize<D: Deserializer<'de>>(json: D) -> Result<Name<'de>, D::Error> {
        struct Names;
        impl<'de> Visitor<'de> for Names {
            type Value = Name<'de>;
            fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
                out.write_str("a name")
            }
            fn visit_borrowed_str<E: de::Error>(self, name: &'de str) -> Result<Name<'de>, E> {
                Ok(Name(Cow::Borrowed(name)))
            }
            fn visit_str<E: de::Error>(self, name: &str) -> Result<Name<'de>, E> {
                Ok(Name(Cow::Owned(name.to_owned())))
            }
        }
        json.deserialize_str(Names)
    }
}

/// What kind of value a field has; nothing else of it is kept.
enum Kind {
    Null,
    Boolean,
    Integer,
    /// A whole number that 64 bits with a sign have no room for.
    Large(u64),
    Fraction(f64),
    Text,
    List,
    Object,
}

impl Kind {
    fn fits(&self, column: ColumnType) -> bool {
        match self {
            Kind::Null => true,
            Kind::Boolean => column == ColumnType::Boolean,
            Kind::Text => column == ColumnType::Text,
            Kind::Integer => matches!(column, ColumnType::Integer | ColumnType::Number),
            Kind::Large(_) => column == ColumnType::Number,
            Kind::Fraction(number) => {
                // To a JSON Schema, 1.0 is an integer.
                let is_whole = number.fract() == 0.0 && (-TWO_TO_THE_63..TWO_TO_THE_63).contains(number);
                column == ColumnType::Number || (column == ColumnType::Integer && is_whole)
            }
            Kind::List | Kind::Object => false,
        }
    }

    fn told(&self) -> Cow<'static, str> {
        Cow::Borrowed(match self {
            Kind::Null => "null",
            Kind::Boolean => "true or false",
            Kind::Integer => "an integer",
            Kind::Large(number) => return Cow::Owned(number.to_string()),
            Kind::Fraction(number) => return Cow::Owned(number.to_string()),
            Kind::Text => "a text",
            Kind::List => "a list",
            Kind::Object => "an object",
        })
    }
}

const TWO_TO_THE_63: f64 = 9_223_372_036_854_775_808.0;

impl<'de> Deserialize<'de> for Kind {
    fn deserialize<D: Deserializer<'de>>(json: D) -> Result<Kind, D::Error> {
        struct Kinds;
        impl<'de> Visitor<'de> for Kinds {
            type Value = Kind;
            fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
                out.write_str("a value")
            }
            fn visit_unit<E: de::Error>(self) -> Result<Kind, E> {
                Ok(Kind::Null)
            }
            fn visit_bool<E: de::Error>(self, _: bool) -> Result<Kind, E> {
                Ok(Kind::Boolean)
            }
            fn visit_i64<E: de::Error>(self, _: i64) -> Result<Kind, E> {
                Ok(Kind::Integer)
            }
            fn visit_u64<E: de::Error>(self, number: u64) -> Result<Kind, E> {
                Ok(if i64::try_from(number).is_ok() { Kind::Integer } else { Kind::Large(number) })
            }
            fn visit_f64<E: de::Error>(self, number: f64) -> Result<Kind, E> {
                Ok(Kind::Fraction(number))
            }
            fn visit_str<E: de::Error>(self, _: &str) -> Result<Kind, E> {
                Ok(Kind::Text)
            }
            fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Kind, A::Error> {
                while items.next_element::<IgnoredAny>()?.is_some() {}
                Ok(Kind::List)
            }
            fn visit_map<A: MapAccess<'de>>(self, mut fields: A) -> Result<Kind, A::Error> {
                while fields.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
                Ok(Kind::Object)
            }
        }
        json.deserialize_any(Kinds)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn columns(schema: &str) -> Vec<(String, ColumnType)> {
        Columns::of(schema).unwrap().iter().map(|(name, column)| (name.to_owned(), column)).collect()
    }

    /// The type of the only column of a schema whose only property looks like this.
    #[track_caller]
    fn type_of_property(property: &str) -> ColumnType {
        let schema = format!(
            r##"{{"properties": {{"x": {property}}}, "$defs": {{"name": {{"type": "string"}}, "round": {{"$ref": "#/$defs/round"}}}}}}"##
        );
        let found = columns(&schema);
        assert_eq!(found.len(), 1);
        found[0].1
    }

    #[test]
    fn the_type_of_a_column_is_what_its_schema_says_beside_null() {
        for (property, expected) in [
            (r#"{"type": "integer"}"#, ColumnType::Integer),
            (r#"{"type": ["null", "integer"]}"#, ColumnType::Integer),
            (r#"{"type": ["integer", "number"]}"#, ColumnType::Number),
            (r#"{"type": "number", "enum": [1]}"#, ColumnType::Number),
            (r#"{"type": "string", "format": "date-time"}"#, ColumnType::Text),
            (r#"{"type": "boolean"}"#, ColumnType::Boolean),
            (r#"{"type": "array"}"#, ColumnType::Json),
            (r#"{"type": ["string", "boolean"]}"#, ColumnType::Json),
            (r#"{"type": "null"}"#, ColumnType::Json),
            (r#"{"type": 7}"#, ColumnType::Json),
            (r#"{"enum": ["a", null]}"#, ColumnType::Text),
            (r#"{"enum": ["a", 1]}"#, ColumnType::Json),
            (r#"{"const": 3}"#, ColumnType::Integer),
            (r#"{"const": 18446744073709551615}"#, ColumnType::Number),
            (r##"{"$ref": "#/$defs/name"}"##, ColumnType::Text),
            (r##"{"$ref": "#/$defs/round"}"##, ColumnType::Json),
            (r#"{"$ref": "https://elsewhere"}"#, ColumnType::Json),
            (r#"{"anyOf": [{"type": "integer"}, {"type": "null"}]}"#, ColumnType::Integer),
            (r#"{"oneOf": [{"type": "integer"}, {}]}"#, ColumnType::Json),
            ("true", ColumnType::Json),
            ("{}", ColumnType::Json),
        ] {
            assert_eq!(type_of_property(property), expected, "{property}");
        }
    }

    #[test]
    fn columns_are_found_in_what_a_schema_refers_to_and_in_its_alternatives() {
        let found = columns(
            r##"{"$ref": "#/$defs/base", "oneOf": [
                {"properties": {"kind": {"const": "a"}, "b": {"type": "integer"}}},
                {"properties": {"kind": {"const": "c"}, "b": {"type": "string"}}}],
                "$defs": {"base": {"properties": {"z": {"type": "number"}}}}}"##,
        );
        let expected = [("b", ColumnType::Json), ("kind", ColumnType::Text), ("z", ColumnType::Number)];
        assert_eq!(found, expected.map(|(name, column)| (name.to_owned(), column)));
        let round = r##"{"allOf": [{"$ref": "#"}, {"$ref": "#"}], "properties": {"x": {"anyOf": [{"$ref": "#"}, {"$ref": "#"}]}}}"##;
        assert_eq!(columns(round), [("x".to_owned(), ColumnType::Json)]);
        assert!(columns("true").is_empty() && columns("{}").is_empty() && columns("[]").is_empty());
        assert!(Columns::of("{").is_err());
    }

    #[test]
    fn the_order_in_which_versions_are_taken_in_changes_nothing() {
        let schemas = [r#"{"type": "integer"}"#, r#"{"type": "number"}"#, r#"{"type": "string"}"#, "{}"];
        let all = schemas.map(|property| Columns::of(&format!(r#"{{"properties": {{"x": {property}}}}}"#)).unwrap());
        for first in &all {
            for second in &all {
                let (mut one, mut other) = (first.clone(), second.clone());
                one.join(second);
                other.join(first);
                assert_eq!(one, other);
            }
        }
    }

    #[test]
    fn a_field_fits_where_its_column_has_room_for_it() {
        let property = |column: ColumnType| (column.to_string(), column);
        let types = [ColumnType::Integer, ColumnType::Number, ColumnType::Text, ColumnType::Boolean, ColumnType::Json];
        let columns = Columns(types.into_iter().map(property).collect());
        let fits = |value: &str| {
            let fits = |column: ColumnType| columns.misfit(format!(r#"{{"{column}": {value}}}"#).as_bytes()).is_none();
            types.map(fits)
        };
        for (value, expected) in [
            ("null", [true, true, true, true, true]),
            ("-3", [true, true, false, false, true]),
            ("3.0", [true, true, false, false, true]),
            ("3.5", [false, true, false, false, true]),
            ("9223372036854775807", [true, true, false, false, true]),
            ("9223372036854775808", [false, true, false, false, true]),
            ("9223372036854775808.0", [false, true, false, false, true]),
            ("-9223372036854775808.0", [true, true, false, false, true]),
            ("1e300", [false, true, false, false, true]),
            (r#""3""#, [false, false, true, false, true]),
            (r#""\n""#, [false, false, true, false, true]),
            ("true", [false, false, false, true, true]),
            ("[1, {}]", [false, false, false, false, true]),
            (r#"{"integer": []}"#, [false, false, false, false, true]),
        ] {
            assert_eq!(fits(value), expected, "{value}");
        }
    }

    #[test]
    fn a_name_with_escapes_is_the_same_name_and_each_of_two_fields_of_one_name_counts() {
        let columns = Columns::of(r#"{"properties": {"größe": {"type": "integer"}}}"#).unwrap();
        assert!(columns.misfit(r#"{"gr\u00f6ße": "x"}"#.as_bytes()).is_some());
        assert!(columns.misfit(r#"{"größe": 1, "größe": "x"}"#.as_bytes()).is_some());
        for other in ["", "[]", "{", "7", r#"{"x": "größe"}"#] {
            assert_eq!(columns.misfit(other.as_bytes()), None, "{other}");
        }
    }
}

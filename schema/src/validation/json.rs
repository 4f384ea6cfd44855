//! From a payload to a JSON value, or to the place where it is none.
//!
//! An object that has a key twice is refused: which of the two counts depends on who reads it, and so what was checked
//! might not be what is read.

use std::fmt;

use serde::de::{self, Deserialize, DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Number, Value};

/// Why bytes are not one JSON value.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("line {line}, column {column}: {problem}")]
#[non_exhaustive]
pub struct NotJson {
    /// The line, counted from 1.
    pub line: usize,
    /// The column, counted from 1; 0 at the beginning of a line.
    pub column: usize,
    /// What is wrong there.
    pub problem: String,
}

/// The value that the bytes are; of no bytes at all it is `null`, which is what a typed event without content has.
pub(crate) fn parse(bytes: &[u8]) -> Result<Value, NotJson> {
    if bytes.is_empty() {
        return Ok(Value::Null);
    }
    serde_json::from_slice::<Strict>(bytes).map(|strict| strict.0).map_err(|error| {
        let (line, column) = (error.line(), error.column());
        let text = error.to_string();
        let place = format!(" at line {line} column {column}");
        NotJson { line, column, problem: text.strip_suffix(&place).unwrap_or(&text).to_owned() }
    })
}

struct Strict(Value);

impl<'de> Deserialize<'de> for Strict {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Strict, D::Error> {
        Any.deserialize(deserializer).map(Strict)
    }
}

struct Any;

impl<'de> DeserializeSeed<'de> for Any {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Any {
    type Value = Value;

    fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("a JSON value")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(Value::Number(value.into()))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(Value::Number(value.into()))
    }

    fn visit_f64<E: de::Error>(self, value: f64) -> Result<Value, E> {
        Number::from_f64(value).map(Value::Number).ok_or_else(|| E::custom("a number without end"))
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(Value::String(value.to_owned()))
    }

    fn visit_string<E>(self, value: String) -> Result<Value, E> {
        Ok(Value::String(value))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Value, A::Error> {
        let mut items = Vec::new();
        while let Some(item) = seq.next_element_seed(Any)? {
            items.push(item);
        }
        Ok(Value::Array(items))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Value, A::Error> {
        let mut object = Map::new();
        while let Some(key) = map.next_key::<String>()? {
            if object.contains_key(&key) {
                return Err(de::Error::custom(format_args!("the key {key:?} is there twice")));
            }
            object.insert(key, map.next_value_seed(Any)?);
        }
        Ok(Value::Object(object))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_read_is_what_the_usual_parser_reads_but_for_keys_that_are_there_twice() {
        let texts = [
            "null",
            "true",
            "-1",
            "18446744073709551615",
            "1.5e3",
            r#""a\u00e9\n""#,
            "[]",
            "{}",
            r#"{"b":[1,{"a":null}],"a":-0.0}"#,
            " [ 1 , 2 ] ",
            "1e400",
            "",
            "[1",
            "{\"a\":}",
            "tru",
            "[1] 2",
            "\u{feff}{}",
        ];
        for text in texts {
            let usual: Option<Value> = serde_json::from_str(text).ok();
            let strict = parse(text.as_bytes());
            if text.is_empty() {
                assert_eq!(strict, Ok(Value::Null), "no payload at all");
            } else {
                assert_eq!(strict.clone().ok(), usual, "{text}: {strict:?}");
            }
        }
        let twice = parse(br#"{"a":1,"b":{"c":1,"c":2}}"#).unwrap_err();
        assert_eq!((twice.line, &*twice.problem), (1, r#"the key "c" is there twice"#));
        assert_eq!(parse(b"{\n \"a\" 1}").unwrap_err().to_string(), "line 2, column 6: expected `:`");
        assert!(parse(&b"[".repeat(100_000)).is_err(), "as deep as that is an error and no overflow");
    }
}

//! Whether a version fits the one before it: rule by rule, and at random against values and against another implementation.

#![allow(clippy::needless_pass_by_value, reason = "`json!` makes them for the call")]

use annals_schema::{Compatibility, Schema, Verdict, compare};
use jsonschema::canonical::Containment;
use serde_json::{Value, json};

fn schema(value: &Value) -> Schema {
    Schema::parse(&value.to_string()).unwrap_or_else(|error| panic!("{value}: {error}"))
}

/// What speaks against `new` accepting all that `old` accepts.
fn backward(old: &Value, new: &Value) -> Vec<(Verdict, String)> {
    let found = compare(&schema(old), &schema(new), Compatibility::Backward);
    let forward = compare(&schema(new), &schema(old), Compatibility::Forward);
    let shown = |of: &annals_schema::Comparison| -> Vec<(Verdict, String)> {
        of.differences.iter().map(|it| (it.verdict, it.path.clone())).collect()
    };
    assert_eq!(shown(&found), shown(&forward), "it is the same question: {old} {new}");
    shown(&found)
}

#[track_caller]
fn fits(old: Value, new: Value) {
    let found = backward(&old, &new);
    assert!(found.is_empty(), "{old} to {new}: {found:?}");
}

#[track_caller]
fn breaks(old: Value, new: Value, path: &str) {
    let found = backward(&old, &new);
    assert!(found.contains(&(Verdict::Breaks, path.to_owned())), "{old} to {new}: {found:?}");
}

#[track_caller]
fn is_undecided(old: Value, new: Value, path: &str) {
    let found = backward(&old, &new);
    assert_eq!(found, [(Verdict::Undecided, path.to_owned())], "{old} to {new}");
}

#[test]
fn a_type_may_be_added_and_not_taken_away_and_an_integer_is_a_number() {
    fits(json!({"type": "integer"}), json!({"type": "number"}));
    fits(json!({"type": "string"}), json!({"type": ["string", "null"]}));
    fits(json!({"type": "string"}), json!({}));
    breaks(json!({"type": "number"}), json!({"type": "integer"}), "/type");
    breaks(json!({"type": ["string", "null"]}), json!({"type": "string"}), "/type");
    breaks(json!({}), json!({"type": ["string", "null", "boolean", "number", "array"]}), "/type");
    breaks(json!(true), json!(false), "");
    fits(json!(false), json!({"type": "string"}));
}

#[test]
fn a_value_may_be_added_to_a_list_and_not_taken_away() {
    fits(json!({"enum": ["EUR"]}), json!({"enum": ["EUR", "USD"]}));
    fits(json!({"const": 1}), json!({"enum": [1, 2]}));
    fits(json!({"enum": [1, 2]}), json!({"type": "integer", "minimum": 1, "maximum": 2}));
    fits(json!({"enum": [1, "x"], "type": "integer"}), json!({"const": 1}));
    fits(json!({"type": "boolean"}), json!({"enum": [true, false, 0]}));
    fits(json!({"enum": ["a@b.de"]}), json!({"format": "email", "pattern": "@"}));
    breaks(json!({"enum": ["EUR", "USD"]}), json!({"enum": ["EUR"]}), "");
    breaks(json!({"type": "string"}), json!({"enum": ["EUR"]}), "/enum");
    is_undecided(json!({"type": "integer", "minimum": 1, "maximum": 2}), json!({"enum": [1, 2]}), "/enum");
}

#[test]
fn bounds_may_be_widened_and_not_narrowed() {
    for (least, most) in [
        ("minimum", "maximum"),
        ("minLength", "maxLength"),
        ("minItems", "maxItems"),
        ("minProperties", "maxProperties"),
    ] {
        fits(json!({least: 2, most: 5}), json!({least: 1, most: 6}));
        fits(json!({least: 2, most: 5}), json!({}));
        breaks(json!({least: 2}), json!({least: 3}), &format!("/{least}"));
        breaks(json!({most: 5}), json!({most: 4}), &format!("/{most}"));
        breaks(json!({}), json!({most: 4}), &format!("/{most}"));
    }
    fits(json!({}), json!({"minLength": 0}));
    fits(json!({"type": "string"}), json!({"minimum": 3, "minItems": 3, "required": ["a"]}));
    fits(json!({"minimum": 1}), json!({"exclusiveMinimum": 0}));
    fits(json!({"type": "integer", "exclusiveMinimum": 0}), json!({"minimum": 1}));
    breaks(json!({"type": "number", "exclusiveMinimum": 0}), json!({"minimum": 1}), "/minimum");
    breaks(json!({"minimum": 1}), json!({"exclusiveMinimum": 1}), "/exclusiveMinimum");
    fits(json!({"multipleOf": 6}), json!({"multipleOf": 3}));
    fits(json!({"type": "integer"}), json!({"multipleOf": 1}));
    breaks(json!({"multipleOf": 3}), json!({"multipleOf": 6}), "/multipleOf");
    is_undecided(json!({"multipleOf": 0.5}), json!({"multipleOf": 0.1}), "/multipleOf");
    fits(json!({"uniqueItems": true}), json!({"uniqueItems": false}));
    breaks(json!({"uniqueItems": false}), json!({"uniqueItems": true}), "/uniqueItems");
}

#[test]
fn a_field_may_be_added_only_where_the_old_schema_was_closed_and_required_only_where_it_was() {
    let with = |fields: Value, required: Value, more: Value| json!({"type": "object", "properties": fields, "required": required, "additionalProperties": more});
    let old = with(json!({"a": {"type": "integer"}}), json!(["a"]), json!(false));
    fits(old.clone(), with(json!({"a": {"type": "number"}, "note": {"type": "string"}}), json!(["a"]), json!(false)));
    fits(old.clone(), with(json!({"a": {"type": "integer"}}), json!([]), json!(true)));
    breaks(
        old.clone(),
        with(json!({"a": {"type": "integer"}, "b": true}), json!(["a", "b"]), json!(false)),
        "/required",
    );
    breaks(old.clone(), with(json!({}), json!([]), json!(false)), "/additionalProperties");
    breaks(old.clone(), with(json!({"a": {"type": "string"}}), json!(["a"]), json!(false)), "/properties/a/type");

    let open = json!({"properties": {"a": {"type": "integer"}}});
    let found = compare(
        &schema(&open),
        &schema(&json!({"properties": {"a": {"type": "integer"}, "note": {"type": "string"}}})),
        Compatibility::Backward,
    );
    assert_eq!(
        found.to_string(),
        "breaks backward: /properties/note/type of the new schema: it accepts string, and the old one also null, boolean, \
         object, array, number (the old one says nothing of \"note\" and allows fields of which it says nothing; close it with \
         additionalProperties)"
    );
    breaks(open, json!({"additionalProperties": {"type": "integer"}}), "/additionalProperties/type");
    fits(json!({"dependentRequired": {"a": ["b"]}}), json!({"dependentRequired": {"a": []}}));
    fits(json!({"required": ["b"]}), json!({"dependentRequired": {"a": ["b"]}}));
    breaks(json!({}), json!({"dependentRequired": {"a": ["b"]}}), "/dependentRequired");
    fits(json!({"properties": {"a/b~c": {"const": 1}}}), json!({"properties": {"a/b~c": {"enum": [1, 2]}}}));
    breaks(
        json!({"properties": {"a/b~c": {"type": "null"}}}),
        json!({"properties": {"a/b~c": {"const": 1}}}),
        "/properties/a~1b~0c",
    );
}

#[test]
fn items_are_compared_place_by_place() {
    fits(json!({"items": {"type": "integer"}}), json!({"items": {"type": "number"}}));
    breaks(json!({"items": {"type": "number"}}), json!({"items": {"type": "integer"}}), "/items/type");
    let pair = |first: &str, rest: Value| json!({"prefixItems": [{"type": first}], "items": rest});
    fits(pair("integer", json!(false)), pair("number", json!(true)));
    breaks(pair("integer", json!(true)), pair("integer", json!(false)), "/items");
    breaks(json!({"items": {"type": "string"}}), pair("integer", json!(true)), "/prefixItems/0/type");
    let older = |items: Value| json!({"$schema": "http://json-schema.org/draft-07/schema#", "items": items});
    is_undecided(older(json!([{"type": "integer"}])), older(json!([{"type": "number"}])), "/items");
    fits(older(json!({"type": "integer"})), older(json!({"type": "number"})));
}

#[test]
fn references_and_combinations_are_followed_as_far_as_they_lead_inside_the_schema() {
    let of = |kind: &str| json!({"properties": {"a": {"$ref": "#/$defs/a"}}, "$defs": {"a": {"type": kind}}});
    fits(of("integer"), of("number"));
    breaks(of("number"), of("integer"), "/$defs/a/type");
    fits(json!({"properties": {"a": {"type": "integer"}}}), of("number"));
    fits(of("integer"), json!({"properties": {"a": {"type": "number"}}}));

    let tree = |leaf: &str| {
        json!({"$ref": "#/$defs/node", "$defs": {"node": {
            "type": ["object", leaf],
            "properties": {"left": {"$ref": "#/$defs/node"}, "right": {"$ref": "#/$defs/node"}}
        }}})
    };
    fits(tree("integer"), tree("number"));
    breaks(tree("number"), tree("integer"), "/$defs/node/type");

    fits(json!({"type": "integer"}), json!({"anyOf": [{"type": "string"}, {"type": "number"}]}));
    is_undecided(
        json!({"type": ["integer", "string"]}),
        json!({"anyOf": [{"type": "string"}, {"type": "number"}]}),
        "/anyOf",
    );
    fits(
        json!({"anyOf": [{"type": "integer"}, {"type": "string"}]}),
        json!({"anyOf": [{"type": "string"}, {"type": "number"}]}),
    );
    fits(json!({"oneOf": [{"type": "integer"}, {"type": "string"}]}), json!({"type": ["number", "string"]}));
    fits(json!({"allOf": [{"type": "integer"}, {"minimum": 0}]}), json!({"type": "number"}));
    breaks(json!({"type": "integer"}), json!({"allOf": [{"type": "number"}, {"minimum": 0}]}), "/allOf/1/minimum");
    is_undecided(json!({"allOf": [{"type": "string"}]}), json!({"type": "number"}), "/type");
    // Beside a reference nothing counts in draft 7, so what stands there is no promise.
    let older = json!({"$schema": "http://json-schema.org/draft-07/schema#", "definitions": {"any": true}});
    let mut narrow = older.clone();
    (narrow["$ref"], narrow["type"]) = (json!("#/definitions/any"), json!("string"));
    let mut wide = older;
    wide["type"] = json!("string");
    breaks(narrow, wide, "/type");
}

#[test]
fn what_cannot_be_told_is_named_and_no_silent_yes() {
    let same = |keyword: &str, value: Value| {
        fits(json!({keyword: value.clone(), "title": "old"}), json!({keyword: value, "title": "new"}));
    };
    for (keyword, one, other) in [
        ("pattern", json!("^a"), json!("^ab?")),
        ("not", json!({"type": "string"}), json!({"type": "null"})),
        ("oneOf", json!([{"type": "string"}]), json!([{"type": "null"}, {"type": "string"}])),
        ("contains", json!({"type": "string"}), json!({"type": "null"})),
        ("propertyNames", json!({"minLength": 1}), json!({"minLength": 2})),
        ("patternProperties", json!({"^a": {"type": "string"}}), json!({"^a": {"type": "null"}})),
        ("unevaluatedProperties", json!({"type": "string"}), json!({"type": "null"})),
        ("dependentSchemas", json!({"a": {"required": ["b"]}}), json!({"a": {"required": ["c"]}})),
        ("contentMediaType", json!("application/json"), json!("text/plain")),
    ] {
        if keyword != "unevaluatedProperties" {
            same(keyword, one.clone());
        }
        is_undecided(json!({keyword: one}), json!({keyword: other}), &format!("/{keyword}"));
    }
    is_undecided(json!({}), json!({"if": {"type": "string"}, "then": {"minLength": 1}}), "/if");
    is_undecided(json!({"format": "email"}), json!({"format": "uri"}), "/format");
    breaks(json!({"type": "string"}), json!({"type": "string", "format": "date-time"}), "/format");
    fits(json!({"type": "string", "format": "date-time"}), json!({"type": "string"}));
    is_undecided(json!({"type": "string"}), json!({"madeUp": 1}), "/madeUp");
    fits(json!({"type": "string"}), json!({"x-unit": "EUR", "description": "d", "default": 1, "examples": []}));
    let older = json!({"$schema": "http://json-schema.org/draft-07/schema#", "type": "string"});
    is_undecided(json!({"type": "string"}), older.clone(), "/$schema");
    let oldest = |kind: &str| json!({"$schema": "http://json-schema.org/draft-04/schema#", "type": kind});
    is_undecided(oldest("integer"), oldest("number"), "/$schema");
    fits(oldest("integer"), oldest("integer"));
    is_undecided(json!({"$ref": "#"}), json!({"$ref": "#", "title": "it leads nowhere"}), "");
    is_undecided(
        json!({"$defs": {"a": {"$anchor": "x", "type": "string"}}, "$ref": "#x"}),
        json!({"$defs": {"a": {"$anchor": "x", "type": ["string", "null"]}}, "$ref": "#x"}),
        "/$ref",
    );
}

#[test]
fn each_way_is_asked_as_it_was_asked_for() {
    let (old, new) = (schema(&json!({"type": "integer"})), schema(&json!({"type": "number"})));
    assert!(compare(&old, &new, Compatibility::Backward).is_compatible());
    assert!(compare(&new, &old, Compatibility::Forward).is_compatible());
    assert!(!compare(&old, &new, Compatibility::Full).is_compatible());
    assert!(compare(&new, &old, Compatibility::None).is_compatible());
    let forward = compare(&old, &new, Compatibility::Full);
    assert_eq!(
        forward.to_string(),
        "breaks forward: /type of the old schema: it accepts integer, and the new one also number"
    );
}

/// A generator of numbers, by a seed.
struct Rng(u64);

impl Rng {
    fn below(&mut self, count: u64) -> u64 {
        self.0 = self.0.wrapping_mul(0x5851_F42D_4C95_7F2D).wrapping_add(0x1405_7B7E_F767_814F);
        (self.0 >> 33) % count
    }

    fn one<'a, T>(&mut self, of: &'a [T]) -> &'a T {
        &of[self.below(of.len() as u64) as usize]
    }

    fn number(&mut self) -> Value {
        if self.below(4) == 0 {
            json!(f64::from(self.below(8) as u32) / 2.0 - 1.0)
        } else {
            json!(self.below(8).cast_signed() - 2)
        }
    }

    fn value(&mut self, depth: u32) -> Value {
        match self.below(if depth == 0 { 5 } else { 8 }) {
            0 => Value::Null,
            1 => json!(self.below(2) == 0),
            2 | 3 => self.number(),
            4 => json!(*self.one(&["", "a", "ab", "abc", "b@c.de"])),
            5 => (0..self.below(4)).map(|_| self.value(depth - 1)).collect(),
            _ => {
                let count = self.below(4);
                (0..count)
                    .map(|_| ((*self.one(&["a", "b", "c"])).to_owned(), self.value(depth - 1)))
                    .collect::<serde_json::Map<_, _>>()
                    .into()
            }
        }
    }

    fn schema(&mut self, depth: u32) -> Value {
        if self.below(12) == 0 {
            return json!(self.below(3) > 0);
        }
        let mut fields = serde_json::Map::new();
        for _ in 0..self.below(4) {
            let (keyword, value) = self.keyword(depth);
            fields.insert(keyword.to_owned(), value);
        }
        Value::Object(fields)
    }

    fn keyword(&mut self, depth: u32) -> (&'static str, Value) {
        const TYPES: [&str; 7] = ["null", "boolean", "integer", "number", "string", "array", "object"];
        let flat = 15;
        match self.below(if depth == 0 { flat } else { flat + 9 }) {
            0..=2 => ("type", json!(*self.one(&TYPES))),
            3 => {
                let (one, other) = (self.below(3), 3 + self.below(4));
                ("type", json!([TYPES[one as usize], TYPES[other as usize]]))
            }
            4 => (*self.one(&["minimum", "exclusiveMinimum"]), self.number()),
            5 => (*self.one(&["maximum", "exclusiveMaximum"]), self.number()),
            6 => ("multipleOf", json!(*self.one(&[1.0, 2.0, 3.0, 0.5]))),
            7 => (*self.one(&["minLength", "minItems", "minProperties"]), json!(self.below(3))),
            8 => (*self.one(&["maxLength", "maxItems", "maxProperties"]), json!(self.below(4))),
            9 => ("required", json!([*self.one(&["a", "b", "c"])])),
            10 => ("uniqueItems", json!(self.below(2) == 0)),
            11 => (*self.one(&["pattern"]), json!(*self.one(&["^a", "b", ""]))),
            12 => ("const", self.value(1)),
            13 => ("enum", json!([0, self.value(1), "x"])),
            14 => ("dependentRequired", json!({"a": [*self.one(&["b", "c"])]})),
            15 | 16 => {
                ("properties", json!({*self.one(&["a", "b"]): self.schema(depth - 1), "c": self.schema(depth - 1)}))
            }
            17 => ("additionalProperties", self.schema(depth - 1)),
            18 => ("items", self.schema(depth - 1)),
            19 => ("prefixItems", json!([self.schema(depth - 1)])),
            20 => ("allOf", json!([self.schema(depth - 1), self.schema(depth - 1)])),
            21 => (*self.one(&["anyOf", "oneOf"]), json!([self.schema(depth - 1), self.schema(depth - 1)])),
            22 => (*self.one(&["not", "contains", "propertyNames"]), self.schema(depth - 1)),
            _ => (*self.one(&["if", "then", "else"]), self.schema(depth - 1)),
        }
    }

    /// The schema with something about it changed.
    fn changed(&mut self, schema: &Value, depth: u32) -> Value {
        let Value::Object(fields) = schema else { return self.schema(depth) };
        let mut fields = fields.clone();
        let names: Vec<String> = fields.keys().cloned().collect();
        match self.below(4) {
            0 if !names.is_empty() => drop(fields.remove(self.one(&names))),
            1 if !names.is_empty() => {
                let name = self.one(&names).clone();
                let changed = match &fields[&name] {
                    Value::Object(_)
                        if !["properties", "dependentRequired", "const"].contains(&&*name) && depth > 0 =>
                    {
                        let before = fields[&name].clone();
                        self.changed(&before, depth - 1)
                    }
                    Value::Object(inner) if name == "properties" && depth > 0 => {
                        let mut inner = inner.clone();
                        for (_, value) in &mut inner {
                            *value = self.changed(&value.clone(), depth - 1);
                        }
                        Value::Object(inner)
                    }
                    _ => {
                        let (keyword, value) = self.keyword(depth);
                        fields.insert(keyword.to_owned(), value);
                        return Value::Object(fields);
                    }
                };
                fields.insert(name, changed);
            }
            _ => {
                let (keyword, value) = self.keyword(depth);
                fields.insert(keyword.to_owned(), value);
            }
        }
        Value::Object(fields)
    }
}

#[test]
fn what_is_called_compatible_accepts_every_value_that_was_accepted_before() {
    let rounds: u64 = std::env::var("ROUNDS").ok().and_then(|text| text.parse().ok()).unwrap_or(3_000);
    let first: u64 = std::env::var("SEED").ok().and_then(|text| text.parse().ok()).unwrap_or(1);
    let (mut fitting, mut tried, mut known_better) = (0, 0, 0);
    for seed in first..first + rounds {
        let mut rng = Rng(seed);
        let narrow = rng.schema(2);
        let wide = if rng.below(3) == 0 { rng.schema(2) } else { rng.changed(&narrow, 2) };
        let (Ok(of_narrow), Ok(of_wide)) = (Schema::parse(&narrow.to_string()), Schema::parse(&wide.to_string()))
        else {
            continue;
        };
        let found = compare(&of_narrow, &of_wide, Compatibility::Backward);
        let by_another = || {
            let [narrow, wide] = [&narrow, &wide].map(|schema| jsonschema::canonicalize(schema).ok());
            wide?.covers(&narrow?).ok()
        };
        if !found.is_compatible() {
            known_better += u64::from(by_another() == Some(Containment::Yes));
            continue;
        }
        fitting += 1;
        assert_ne!(by_another(), Some(Containment::No), "seed {seed}: {narrow} to {wide}");
        for _ in 0..60 {
            let value = rng.value(3).to_string();
            if of_narrow.check(value.as_bytes()).is_ok() {
                tried += 1;
                assert!(of_wide.check(value.as_bytes()).is_ok(), "seed {seed}: {value}; {narrow} to {wide}");
            }
        }
    }
    println!("{fitting} of {rounds} fit, {tried} values tried; {known_better} more fit and were not known to");
    assert!(fitting > rounds / 10 && tried > rounds, "{fitting} fit, {tried} values tried");
}

//! Objects and lists: what may stand under each name and at each place.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use serde_json::{Map, Value};

use super::Verdict;
use super::accepts::{Accepts, Doubts, Place};
use super::dialect::{Dialect, same};

/// What is said where nothing is said.
static ANYTHING: Value = Value::Bool(true);

fn pointer(name: &str) -> String {
    name.replace('~', "~0").replace('/', "~1")
}

fn object<'a>(schema: &'a Value, keyword: &str) -> Option<&'a Map<String, Value>> {
    schema.get(keyword)?.as_object()
}

/// What a schema says of a field, and where.
fn of_field<'a>(place: &Place<'a>, name: &str) -> Place<'a> {
    match object(place.schema, "properties").and_then(|fields| fields.get(name)) {
        Some(schema) => place.inner(schema, &format!("/properties/{}", pointer(name))),
        None => of_other_fields(place),
    }
}

fn of_other_fields<'a>(place: &Place<'a>) -> Place<'a> {
    place.inner(place.schema.get("additionalProperties").unwrap_or(&ANYTHING), "/additionalProperties")
}

/// What a schema says of the item at a place of a list.
fn of_item<'a>(place: &Place<'a>, at: usize) -> Place<'a> {
    match place.schema.get("prefixItems").and_then(|items| items.get(at)) {
        Some(schema) => place.inner(schema, &format!("/prefixItems/{at}")),
        None => place.inner(place.schema.get("items").unwrap_or(&ANYTHING), "/items"),
    }
}

impl<'a> Accepts<'a> {
    /// A place with what counts of what is said there.
    fn as_said(&self, place: &Place<'a>) -> Place<'a> {
        let schema = if self.is_only_reference(place) { &ANYTHING } else { place.schema };
        Place { schema, ..place.clone() }
    }

    /// `properties`, `additionalProperties` and `patternProperties` of the wide schema.
    pub(super) fn by_properties(
        &mut self,
        fields: &'a Map<String, Value>,
        wide: &Place<'a>,
        narrow: &Place<'a>,
    ) -> Doubts {
        let narrow = &self.as_said(narrow);
        let names = |place: &Place<'a>| -> BTreeSet<&'a str> {
            object(place.schema, "properties").into_iter().flat_map(Map::keys).map(String::as_str).collect()
        };
        let (of_wide, of_narrow) = (names(wide), names(narrow));
        let has_patterns =
            |place: &Place<'a>| object(place.schema, "patternProperties").is_some_and(|all| !all.is_empty());
        if has_patterns(wide) || has_patterns(narrow) {
            // A name may match a pattern of one and not of the other; with the same ones that is the same for both.
            let is_same = narrow.schema.as_object().is_some_and(|said| same(fields, said, "patternProperties"));
            if !is_same || of_wide != of_narrow {
                let keyword = ["patternProperties", "additionalProperties", "properties"];
                return wide.undecided(keyword.into_iter().find(|keyword| fields.contains_key(*keyword)).unwrap_or(""));
            }
        }
        let mut doubts = Doubts::new();
        for name in of_wide.union(&of_narrow) {
            let (wanted, said) = (of_field(wide, name), of_field(narrow, name));
            if *wanted.schema == Value::Bool(false) && *said.schema != Value::Bool(false) {
                let what = format!("it does not allow {name:?}, and {} does", self.other);
                let keyword = if of_wide.contains(name) { "properties" } else { "additionalProperties" };
                doubts.push(wide.doubt(Verdict::Breaks, keyword, what));
                continue;
            }
            let mut found = self.accepts(&wanted, &said);
            if !of_narrow.contains(name) {
                for doubt in &mut found {
                    _ = write!(
                        doubt.what,
                        " ({} says nothing of {name:?} and allows fields of which it says nothing; close it with additionalProperties)",
                        self.other
                    );
                }
            }
            doubts.extend(found);
        }
        doubts.extend(self.accepts(&of_other_fields(wide), &of_other_fields(narrow)));
        doubts
    }

    /// `items`, `prefixItems` and `additionalItems` of the wide schema.
    pub(super) fn by_items(&mut self, fields: &Map<String, Value>, wide: &Place<'a>, narrow: &Place<'a>) -> Doubts {
        let narrow = &self.as_said(narrow);
        let keywords = ["items", "prefixItems", "additionalItems"];
        let is_list = |place: &Place<'a>| place.schema.get("items").is_some_and(Value::is_array);
        let of_list = |place: &Place<'a>| place.schema.get("prefixItems").and_then(Value::as_array).map_or(0, Vec::len);
        let is_older = self.dialect != Dialect::Latest && of_list(wide) + of_list(narrow) > 0;
        if is_list(wide) || is_list(narrow) || is_older {
            let nothing = Map::new();
            let said = narrow.schema.as_object().unwrap_or(&nothing);
            if keywords.iter().all(|keyword| same(fields, said, keyword)) {
                return Doubts::new();
            }
            return wide.undecided(keywords.into_iter().find(|keyword| fields.contains_key(*keyword)).unwrap_or(""));
        }
        let places = of_list(wide).max(of_list(narrow));
        let mut doubts = Doubts::new();
        for at in 0..places {
            doubts.extend(self.accepts(&of_item(wide, at), &of_item(narrow, at)));
        }
        doubts.extend(self.accepts(&of_item(wide, usize::MAX), &of_item(narrow, usize::MAX)));
        doubts
    }
}

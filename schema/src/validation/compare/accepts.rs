//! Does one schema accept everything that another accepts? The walk over both; what single keywords ask for is beside.

use serde_json::{Map, Value};

use super::Verdict;
use super::dialect::{self, Dialect, refers, same};
use super::finite;
use super::keywords::is_annotation;
use crate::references::resolve;

/// So many pairs of schemas are looked at before it is said that nobody can tell.
const MOST_STEPS: u32 = 100_000;

/// So deep, likewise.
const MOST_DEPTH: usize = 64;

/// Why it may not.
#[derive(Clone, Debug)]
pub(super) struct Doubt {
    pub(super) verdict: Verdict,
    pub(super) path: String,
    pub(super) rule: String,
    pub(super) what: String,
}

pub(super) type Doubts = Vec<Doubt>;

/// A part of a document, where it is, and how deep in the payload that it speaks of.
#[derive(Clone, Debug)]
pub(super) struct Place<'a> {
    pub(super) schema: &'a Value,
    pub(super) path: String,
    pub(super) level: usize,
}

impl<'a> Place<'a> {
    /// A part of it that speaks of the same value.
    pub(super) fn part(&self, schema: &'a Value, path: &str) -> Place<'a> {
        Place { schema, path: format!("{}{path}", self.path), level: self.level }
    }

    /// A part of it that speaks of something inside the value.
    pub(super) fn inner(&self, schema: &'a Value, path: &str) -> Place<'a> {
        Place { level: self.level + 1, ..self.part(schema, path) }
    }

    pub(super) fn doubt(&self, verdict: Verdict, keyword: &str, what: impl Into<String>) -> Doubt {
        let path = if keyword.is_empty() { self.path.clone() } else { format!("{}/{keyword}", self.path) };
        Doubt { verdict, path, rule: keyword.to_owned(), what: what.into() }
    }

    pub(super) fn undecided(&self, keyword: &str) -> Doubts {
        vec![self.doubt(Verdict::Undecided, keyword, "whether this accepts the same cannot be told")]
    }
}

/// The comparison of two documents.
pub(super) struct Accepts<'a> {
    pub(super) wide: &'a Value,
    pub(super) narrow: &'a Value,
    pub(super) dialect: Dialect,
    /// What the narrow one is called.
    pub(super) other: &'static str,
    /// The pairs that are being compared, outermost first.
    open: Vec<(Place<'a>, Place<'a>)>,
    steps: u32,
}

impl<'a> Accepts<'a> {
    pub(super) fn new(wide: &'a Value, narrow: &'a Value, other: &'static str) -> Accepts<'a> {
        Accepts { wide, narrow, dialect: Dialect::of(wide), other, open: Vec::new(), steps: 0 }
    }

    /// All that speaks against it.
    pub(super) fn all(mut self) -> Doubts {
        let root = |schema| Place { schema, path: String::new(), level: 0 };
        let (wide, narrow) = (root(self.wide), root(self.narrow));
        let is_comparable = dialect::uri(self.wide) == dialect::uri(self.narrow) && self.dialect != Dialect::Unknown;
        if self.wide != self.narrow && !is_comparable {
            return wide.undecided("$schema");
        }
        self.accepts(&wide, &narrow)
    }

    pub(super) fn accepts(&mut self, wide: &Place<'a>, narrow: &Place<'a>) -> Doubts {
        self.steps += 1;
        if self.steps > MOST_STEPS || self.open.len() >= MOST_DEPTH {
            return wide.undecided("");
        }
        let is_same_pair = |(one, other): &&(Place<'a>, Place<'a>)| {
            std::ptr::eq(one.schema, wide.schema) && std::ptr::eq(other.schema, narrow.schema)
        };
        if let Some((before, _)) = self.open.iter().find(is_same_pair) {
            // Deeper in the payload, it is what is being found out: a payload ends somewhere. Otherwise it leads nowhere.
            return if before.level < wide.level { Vec::new() } else { wide.undecided("") };
        }
        self.open.push((wide.clone(), narrow.clone()));
        let doubts = self.by_kind(wide, narrow);
        self.open.pop();
        doubts
    }

    fn by_kind(&mut self, wide: &Place<'a>, narrow: &Place<'a>) -> Doubts {
        if let Some(target) = self.named_by(narrow) {
            return self.accepts(wide, &target);
        }
        let is_same = wide.schema == narrow.schema && !refers(wide.schema);
        match (wide.schema, narrow.schema) {
            (Value::Bool(true), _) | (_, Value::Bool(false)) => Vec::new(),
            _ if is_same => Vec::new(),
            (Value::Bool(false), _) => {
                vec![wide.doubt(Verdict::Breaks, "", format!("it accepts nothing here, and {} does", self.other))]
            }
            (Value::Object(fields), _) => {
                let doubts = if self.is_only_reference(narrow) { None } else { self.of_values(wide, narrow) };
                doubts.unwrap_or_else(|| self.with_parts(fields, wide, narrow))
            }
            _ => wide.undecided(""),
        }
    }

    /// What a narrow schema that only refers to another one stands for.
    fn named_by(&self, narrow: &Place<'a>) -> Option<Place<'a>> {
        let said = narrow.schema.as_object()?;
        let reference = said.get("$ref")?.as_str()?;
        let is_alone = said.keys().all(|keyword| keyword == "$ref" || is_annotation(keyword));
        let (schema, path) = resolve(self.narrow, reference).filter(|_| is_alone || self.is_only_reference(narrow))?;
        Some(Place { schema, path, level: narrow.level })
    }

    /// Whether what stands beside its `$ref` does not count.
    pub(super) fn is_only_reference(&self, narrow: &Place<'_>) -> bool {
        self.dialect == Dialect::Older && narrow.schema.get("$ref").is_some()
    }

    /// By trying each value, where they are few.
    fn of_values(&self, wide: &Place<'_>, narrow: &Place<'_>) -> Option<Doubts> {
        let values = finite::values(narrow.schema)?;
        let schema = finite::alone(self.wide, wide.schema)?;
        let of_narrow = finite::alone(self.narrow, narrow.schema);
        let verdict = if of_narrow.is_some() { Verdict::Breaks } else { Verdict::Undecided };
        let accepted = values.iter().filter(|value| of_narrow.as_ref().is_none_or(|narrow| narrow.admits(value)));
        let refused = accepted.filter(|value| !schema.admits(value));
        let what = |value: &Value| format!("it does not accept {value}, and {} does", self.other);
        Some(refused.map(|value| wide.doubt(verdict, "", what(value))).collect())
    }

    /// By the keywords of both; and where that does not do, by the parts that the narrow one is made of.
    fn with_parts(&mut self, fields: &'a Map<String, Value>, wide: &Place<'a>, narrow: &Place<'a>) -> Doubts {
        let mut doubts = self.by_keywords(fields, wide, narrow);
        let Value::Object(said) = narrow.schema else { return doubts };
        if doubts.is_empty() {
            return doubts;
        }
        let mut has_parts = false;
        // One of these is enough: whatever the narrow one accepts, each of them accepts.
        for part in self.conjuncts(said, narrow) {
            has_parts = true;
            if part.is_some_and(|part| self.accepts(wide, &part).is_empty()) {
                return Vec::new();
            }
        }
        // Of these it takes all.
        for keyword in ["anyOf", "oneOf"] {
            let Some(branches) = said.get(keyword).and_then(Value::as_array) else { continue };
            has_parts = true;
            if self.is_only_reference(narrow) {
                continue;
            }
            let mut branches = branches.iter().enumerate();
            if branches.all(|(at, branch)| {
                let branch = narrow.part(branch, &format!("/{keyword}/{at}"));
                self.accepts(wide, &branch).is_empty()
            }) {
                return Vec::new();
            }
        }
        if has_parts || said.contains_key("if") || said.contains_key("not") || said.contains_key("$dynamicRef") {
            // What the parts say together is not known, so that it breaks isn't either.
            for doubt in &mut doubts {
                doubt.verdict = Verdict::Undecided;
            }
        }
        doubts
    }

    /// The schemas that have to hold beside a schema's own keywords; `None` for one that is not known.
    fn conjuncts(&self, said: &'a Map<String, Value>, narrow: &Place<'a>) -> Vec<Option<Place<'a>>> {
        let mut parts = Vec::new();
        if let Some(reference) = said.get("$ref").and_then(Value::as_str) {
            let target = resolve(self.narrow, reference);
            parts.push(target.map(|(schema, path)| Place { schema, path, level: narrow.level }));
        }
        if let Some(all) = said.get("allOf").and_then(Value::as_array).filter(|_| !self.is_only_reference(narrow)) {
            let part = |(at, schema)| Some(narrow.part(schema, &format!("/allOf/{at}")));
            parts.extend(all.iter().enumerate().map(part));
        }
        parts
    }

    /// What `$ref` of the wide schema asks for.
    pub(super) fn by_reference(&mut self, fields: &Map<String, Value>, wide: &Place<'a>, narrow: &Place<'a>) -> Doubts {
        let reference = fields.get("$ref").and_then(Value::as_str).unwrap_or_default();
        let is_alone = self.dialect != Dialect::Older || fields.len() == 1;
        match resolve(self.wide, reference).filter(|_| is_alone) {
            Some((schema, path)) => self.accepts(&Place { schema, path, level: wide.level }, narrow),
            None => wide.undecided("$ref"),
        }
    }

    /// What `anyOf` of the wide schema asks for: one branch that accepts all is enough.
    pub(super) fn by_any(&mut self, fields: &'a Map<String, Value>, wide: &Place<'a>, narrow: &Place<'a>) -> Doubts {
        if narrow.schema.as_object().is_some_and(|said| same(fields, said, "anyOf")) {
            return Vec::new();
        }
        let branches = fields.get("anyOf").and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
        for (at, branch) in branches.iter().enumerate() {
            if self.accepts(&wide.part(branch, &format!("/anyOf/{at}")), narrow).is_empty() {
                return Vec::new();
            }
        }
        let what = format!("no branch of it is known to accept all that {} accepts", self.other);
        vec![wide.doubt(Verdict::Undecided, "anyOf", what)]
    }
}

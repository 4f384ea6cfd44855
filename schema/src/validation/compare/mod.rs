//! Whether a new version of a schema fits the one before it.
//!
//! The question is always the same: does one schema, the *wide* one, accept everything that another, the *narrow* one,
//! accepts? Backward it is the new one that has to be wide, forward the old one.
//!
//! What is decided, keyword by keyword of the wide schema (one that is not there asks for nothing, and one that says the
//! same in both is met):
//!
//! | keyword of the wide schema | met when, of the narrow one |
//! |---|---|
//! | `type` | each type is among them; `integer` is a `number` |
//! | `enum`, `const` | it has a list of its own (also `boolean` and `null`), and each value of that is accepted |
//! | `minimum`, `maximum`, `exclusive…`, `multipleOf` | its bound is as tight; its step is a multiple |
//! | `minLength`, `maxLength`, `minItems`, `maxItems`, `minProperties`, `maxProperties` | its bound is as tight |
//! | `required`, `dependentRequired` | it asks for these, too |
//! | `properties`, `additionalProperties` | what it accepts under each name, and under all others, is accepted there |
//! | `items`, `prefixItems` | likewise, by place |
//! | `uniqueItems` | it says so, too, or allows at most one |
//! | `allOf`, `$ref` into the schema | each of them accepts it |
//! | `anyOf` | one of them accepts it |
//! | `pattern`, `format`, `contains`, `not`, `if`, `oneOf`, `patternProperties`, and all else | *undecided*, unless it says the same |
//!
//! Of a narrow schema with `allOf`, `anyOf`, `oneOf` or `$ref`, it is enough when one part of the first, or each of the
//! others, is accepted.
//!
//! What is always true: what is called compatible is. What is undecided may be, and the place is named; nothing is passed over
//! in silence. What is called a break is one by that keyword alone: when the rest of the narrow schema rules the case out,
//! it is none, and forcing is right.

mod accepts;
mod dialect;
mod finite;
mod keywords;
mod numbers;
mod shapes;

use std::fmt;

use crate::registration::Compatibility;
use crate::validation::schema::Schema;

use self::accepts::Accepts;

/// How sure it is that one schema does not accept what another does.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Verdict {
    /// It does not.
    Breaks,
    /// Nobody can tell here; look at it.
    Undecided,
}

impl Verdict {
    /// Its name.
    pub const fn as_str(self) -> &'static str {
        match self {
            Verdict::Breaks => "breaks",
            Verdict::Undecided => "undecided",
        }
    }
}

/// Which of the two schemas does not accept what the other does.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Direction {
    /// The new one does not accept what the old one accepts.
    Backward,
    /// The old one does not accept what the new one accepts.
    Forward,
}

impl Direction {
    /// Its name.
    pub const fn as_str(self) -> &'static str {
        match self {
            Direction::Backward => "backward",
            Direction::Forward => "forward",
        }
    }
}

/// One reason why two versions do not fit, or may not.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct Difference {
    /// In which direction.
    pub direction: Direction,
    /// How sure that is.
    pub verdict: Verdict,
    /// Where in the schema that would have to accept the other: a JSON pointer to the keyword.
    pub path: String,
    /// The keyword; empty for the whole schema there.
    pub rule: String,
    /// What is different, in words.
    pub what: String,
}

impl fmt::Display for Difference {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let place = if self.path.is_empty() { "the schema" } else { &self.path };
        let (schema, verdict) = match self.direction {
            Direction::Backward => ("new", self.verdict.as_str()),
            Direction::Forward => ("old", self.verdict.as_str()),
        };
        write!(out, "{verdict} {}: {place} of the {schema} schema: {}", self.direction.as_str(), self.what)
    }
}

/// What came of comparing two versions.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct Comparison {
    /// What was asked.
    pub required: Compatibility,
    /// All that speaks against it; nothing, when they fit.
    pub differences: Vec<Difference>,
}

impl Comparison {
    /// Whether they fit, for sure.
    pub fn is_compatible(&self) -> bool {
        self.differences.is_empty()
    }

    pub(crate) fn unusable(problem: &str, required: Compatibility) -> Comparison {
        let whole = |direction| Difference {
            direction,
            verdict: Verdict::Undecided,
            path: String::new(),
            rule: String::new(),
            what: format!("this program cannot use the old one ({problem})"),
        };
        Comparison { required, differences: directions(required).map(whole).collect() }
    }
}

impl fmt::Display for Comparison {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (number, difference) in self.differences.iter().enumerate() {
            write!(out, "{}{difference}", if number == 0 { "" } else { "; " })?;
        }
        Ok(())
    }
}

fn directions(required: Compatibility) -> impl Iterator<Item = Direction> {
    let (backward, forward) = match required {
        Compatibility::Backward => (true, false),
        Compatibility::Forward => (false, true),
        Compatibility::Full => (true, true),
        Compatibility::None => (false, false),
    };
    let both = [(backward, Direction::Backward), (forward, Direction::Forward)];
    both.into_iter().filter(|(wanted, _)| *wanted).map(|(_, direction)| direction)
}

/// Compares two versions of a schema.
///
/// ```
/// use annals_schema::{Compatibility, Schema, Verdict, compare};
///
/// let old = Schema::parse(r#"{"type": "object", "required": ["amount"]}"#)?;
/// let new = Schema::parse(r#"{"type": "object", "required": ["amount", "currency"]}"#)?;
/// assert!(compare(&old, &new, Compatibility::Forward).is_compatible());
///
/// let backward = compare(&old, &new, Compatibility::Backward);
/// assert_eq!(backward.differences[0].verdict, Verdict::Breaks);
/// assert_eq!(
///     backward.to_string(),
///     r#"breaks backward: /required of the new schema: it asks for "currency", and the old one does not"#
/// );
/// # Ok::<(), annals_schema::InvalidSchema>(())
/// ```
pub fn compare(old: &Schema, new: &Schema, required: Compatibility) -> Comparison {
    let differences = directions(required).flat_map(|direction| {
        let (wide, narrow, other) = match direction {
            Direction::Backward => (new, old, "the old one"),
            Direction::Forward => (old, new, "the new one"),
        };
        let doubts = Accepts::new(wide.value(), narrow.value(), other).all();
        doubts.into_iter().map(move |doubt| Difference {
            direction,
            verdict: doubt.verdict,
            path: doubt.path,
            rule: doubt.rule,
            what: doubt.what,
        })
    });
    Comparison { required, differences: differences.collect() }
}

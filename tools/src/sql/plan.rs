//! From the conditions of a statement to what is read for it. Pure: nothing here asks SQLite or the store.
//!
//! ```text
//! before it runs   conditions that SQLite offers ─► Plan: those that are taken, and the order
//! when it runs     Plan + the values given       ─► Wanted: positions, times, names, an id
//! ```
//!
//! What is always true: **nothing that a condition allows is left out.** SQLite looks at each event once more, with
//! the whole statement, so what is read may be more than what is asked for and never less. Whatever SQLite compares in
//! another way than the store does (a number with a text, another collation) narrows nothing here.

use std::fmt;
use std::str::FromStr;

use super::columns::Column;
use super::times;

/// How a column is compared with a value.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Op {
    Eq,
    /// With each value of a list, at once.
    In,
    Gt,
    Ge,
    Lt,
    Le,
    Glob,
}

impl Op {
    pub(super) const ALL: [Op; 7] = [Op::Eq, Op::In, Op::Gt, Op::Ge, Op::Lt, Op::Le, Op::Glob];

    fn shown(self) -> &'static str {
        match self {
            Op::Eq => "=?",
            Op::In => " IN (?)",
            Op::Gt => ">?",
            Op::Ge => ">=?",
            Op::Lt => "<?",
            Op::Le => "<=?",
            Op::Glob => " GLOB ?",
        }
    }
}

/// A condition: this column, compared so with a value that is known when the statement runs.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Term {
    pub(super) column: Column,
    pub(super) op: Op,
}

impl Term {
    /// Whether what is read can be narrowed by it. `collation` is how SQLite compares texts for it.
    pub(super) fn narrows(self, collation: &str) -> bool {
        match (self.column, self.op) {
            (Column::Position, Op::In | Op::Glob) => false,
            (Column::Position, _) | (Column::Stream | Column::Type, Op::Glob) => true,
            (Column::Id, Op::Eq) | (Column::Stream | Column::Type, Op::Eq | Op::In) => collation == "BINARY",
            (Column::RecordedAt, Op::Eq | Op::Gt | Op::Ge | Op::Lt | Op::Le) => collation == times::COLLATION,
            _ => false,
        }
    }

    /// Whether its value is looked at, because a time is compared with it, although nothing is narrowed by it.
    pub(super) fn is_checked(self, collation: &str) -> bool {
        self.column.is_time() && !matches!(self.op, Op::In | Op::Glob) && collation == times::COLLATION
    }

    /// Which part of the events it leaves, as a guess.
    fn part(self) -> f64 {
        match (self.column, self.op) {
            (Column::Position | Column::Id, Op::Eq) => 0.0,
            (Column::Stream, Op::Eq) => 0.001,
            (Column::Stream, Op::In) | (Column::RecordedAt, Op::Eq) => 0.005,
            (Column::Stream, _) | (Column::Type, Op::Eq) => 0.1,
            (Column::Type, _) => 0.25,
            _ => 0.4,
        }
    }
}

/// What is read for a statement, but for the values.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub(super) struct Plan {
    pub(super) terms: Vec<Term>,
    /// Conditions that narrow nothing, and whose values are looked at: whether they are what their column is compared with.
    pub(super) checked: Vec<Term>,
    /// Whether from the newest event down.
    pub(super) backward: bool,
}

/// Whether the order that the log has is the one that is asked for: by position or time of recording, which never
/// decreases with it. Says whether from the newest down.
pub(super) fn order(asked: &[(Option<Column>, bool)]) -> Option<bool> {
    let (_, backward) = *asked.first()?;
    for (column, descending) in asked {
        match column {
            // No two events have the same, so what comes behind it does not matter.
            Some(Column::Position) if *descending == backward => return Some(backward),
            Some(Column::RecordedAt) if *descending == backward => {}
            _ => return None,
        }
    }
    Some(backward)
}

impl Plan {
    /// How many of so many events it reads, as a guess.
    #[expect(clippy::cast_precision_loss, reason = "it is a guess")]
    pub(super) fn rows(&self, events: u64) -> f64 {
        self.terms.iter().map(|term| term.part()).product::<f64>().mul_add(events as f64, 1.0)
    }

    /// Whether it reads one event at most.
    pub(super) fn is_one(&self) -> bool {
        let is_unique = |term: &Term| matches!(term.column, Column::Position | Column::Id) && term.op == Op::Eq;
        self.terms.iter().any(is_unique)
    }
}

/// As `EXPLAIN QUERY PLAN` shows it; it is how the plan gets to where the statement runs, too.
impl fmt::Display for Plan {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.terms.is_empty() {
            out.write_str(EVERYTHING)?;
        }
        show(&self.terms, out)?;
        if !self.checked.is_empty() {
            out.write_str(TESTING)?;
        }
        show(&self.checked, out)?;
        out.write_str(if self.backward { BACKWARD } else { "" })
    }
}

fn show(terms: &[Term], out: &mut fmt::Formatter<'_>) -> fmt::Result {
    for (place, term) in terms.iter().enumerate() {
        let and = if place == 0 { "" } else { AND };
        write!(out, "{and}{}{}", term.column.name(), term.op.shown())?;
    }
    Ok(())
}

const EVERYTHING: &str = "every event";
const AND: &str = " AND ";
const TESTING: &str = ", each tested for ";
const BACKWARD: &str = ", newest first";

impl FromStr for Plan {
    type Err = String;

    fn from_str(text: &str) -> Result<Plan, String> {
        let (text, backward) = match text.strip_suffix(BACKWARD) {
            Some(text) => (text, true),
            None => (text, false),
        };
        let (terms, checked) = match text.split_once(TESTING) {
            Some((terms, checked)) => (terms, understood(checked)?),
            None => (text, Vec::new()),
        };
        let terms = if terms == EVERYTHING { Vec::new() } else { understood(terms)? };
        Ok(Plan { terms, checked, backward })
    }
}

fn understood(terms: &str) -> Result<Vec<Term>, String> {
    let understood = terms.split(AND).map(|shown| {
        let mut all = Column::ALL.into_iter().flat_map(|column| Op::ALL.map(|op| Term { column, op }));
        let is_it = |term: &Term| shown.strip_prefix(term.column.name()) == Some(term.op.shown());
        all.find(is_it).ok_or_else(|| format!("{shown:?} is no term of a plan"))
    });
    understood.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn term(column: Column, op: Op) -> Term {
        Term { column, op }
    }

    #[test]
    fn a_plan_reads_back_as_itself() {
        let all: Vec<Term> = Column::ALL.into_iter().flat_map(|column| Op::ALL.map(|op| Term { column, op })).collect();
        for backward in [false, true] {
            for few in [&all[..0], &all[..1], &all[7..9], &all[..]] {
                for checked in [&all[..0], &all[8..9], &all[..]] {
                    let plan = Plan { terms: few.to_vec(), checked: checked.to_vec(), backward };
                    assert_eq!(plan.to_string().parse(), Ok(plan.clone()), "{plan}");
                }
            }
            for one in &all {
                let plan = Plan { terms: vec![*one], backward, ..Plan::default() };
                assert_eq!(plan.to_string().parse(), Ok(plan.clone()), "{plan}");
            }
        }
        assert!("position~?".parse::<Plan>().is_err());
        assert!("".parse::<Plan>().is_err());
    }

    #[test]
    fn a_plan_can_be_read_by_a_person() {
        let terms = vec![term(Column::Position, Op::Gt), term(Column::Type, Op::In), term(Column::Stream, Op::Glob)];
        let mut plan = Plan { terms, backward: true, ..Plan::default() };
        assert_eq!(plan.to_string(), "position>? AND type IN (?) AND stream GLOB ?, newest first");
        plan.checked = vec![term(Column::Ts, Op::Ge), term(Column::Ts, Op::Lt)];
        plan.terms.truncate(1);
        assert_eq!(plan.to_string(), "position>?, each tested for ts>=? AND ts<?, newest first");
        assert_eq!(Plan::default().to_string(), "every event");
    }

    #[test]
    fn only_what_the_store_compares_as_sqlite_does_narrows_what_is_read() {
        for op in Op::ALL {
            let compares = !matches!(op, Op::In | Op::Glob);
            assert_eq!(term(Column::Position, op).narrows("BINARY"), compares, "{op:?}");
            assert_eq!(term(Column::RecordedAt, op).narrows("TIME"), compares, "{op:?}");
            assert!(!term(Column::RecordedAt, op).narrows("BINARY"), "{op:?}");
            for column in [Column::Stream, Column::Type] {
                let is_name = matches!(op, Op::Eq | Op::In | Op::Glob);
                assert_eq!(term(column, op).narrows("BINARY"), is_name, "{op:?}");
                assert_eq!(term(column, op).narrows("NOCASE"), op == Op::Glob, "{op:?}");
            }
            assert_eq!(term(Column::Id, op).narrows("BINARY"), op == Op::Eq, "{op:?}");
            assert!(!term(Column::Id, op).narrows("NOCASE"), "{op:?}");
            for column in [Column::Ts, Column::OccurredAt, Column::Version, Column::Tags, Column::Data] {
                assert!(!term(column, op).narrows("BINARY") && !term(column, op).narrows("TIME"), "{column:?} {op:?}");
            }
        }
    }

    #[test]
    fn what_a_time_is_compared_with_is_looked_at() {
        for column in Column::ALL {
            let is_time = matches!(column, Column::RecordedAt | Column::Ts | Column::OccurredAt);
            for op in Op::ALL {
                let compares = !matches!(op, Op::In | Op::Glob);
                assert_eq!(term(column, op).is_checked("TIME"), is_time && compares, "{column:?} {op:?}");
                assert!(!term(column, op).is_checked("BINARY"), "{column:?} {op:?}");
            }
        }
    }

    #[test]
    fn the_order_of_the_log_is_by_position_and_by_time_of_recording() {
        let (position, recorded, other) = (Some(Column::Position), Some(Column::RecordedAt), Some(Column::Ts));
        for backward in [false, true] {
            for asked in [
                vec![(position, backward)],
                vec![(recorded, backward)],
                vec![(recorded, backward), (position, backward)],
                vec![(position, backward), (other, !backward)],
                vec![(recorded, backward), (position, backward), (None, backward)],
            ] {
                assert_eq!(order(&asked), Some(backward), "{asked:?}");
            }
            for asked in [
                vec![],
                vec![(other, backward)],
                vec![(None, backward)],
                vec![(other, backward), (position, backward)],
                vec![(recorded, backward), (position, !backward)],
                vec![(recorded, backward), (other, backward)],
            ] {
                assert_eq!(order(&asked), None, "{asked:?}");
            }
        }
    }

    #[test]
    fn what_narrows_more_is_guessed_to_read_less() {
        let rows = |terms: &[Term]| Plan { terms: terms.to_vec(), ..Plan::default() }.rows(1_000_000);
        let (position, stream) = (term(Column::Position, Op::Eq), term(Column::Stream, Op::Eq));
        let (event_type, after) = (term(Column::Type, Op::Eq), term(Column::Position, Op::Gt));
        let rising = [&[position][..], &[stream, event_type], &[stream], &[event_type], &[after], &[]];
        assert!(rising.is_sorted_by(|less, more| rows(less) < rows(more)));
        assert!(Plan { terms: vec![stream, position], ..Plan::default() }.is_one());
        assert!(!Plan { terms: vec![stream, after], ..Plan::default() }.is_one());
    }
}

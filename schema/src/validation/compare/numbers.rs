//! Numbers of schemas: which of two is greater, and which of two bounds is tighter.
//!
//! `None` stands for what cannot be told exactly, and never for a guess.

use std::cmp::Ordering;

use serde_json::{Map, Number, Value};

/// Up to here every whole number is one of floating point, too.
const EXACT: i128 = 1 << 53;
const EXACT_FLOAT: f64 = 9_007_199_254_740_992.0;

fn whole(number: &Number) -> Option<i128> {
    number.as_i64().map(i128::from).or_else(|| number.as_u64().map(i128::from)).or_else(|| {
        let float = number.as_f64()?;
        // A bound written as 1.0 is a whole number.
        let is_whole = float.fract() == 0.0 && float.abs() <= EXACT_FLOAT;
        is_whole.then_some(float as i128)
    })
}

/// How two numbers compare.
pub(super) fn order(one: &Number, other: &Number) -> Option<Ordering> {
    match (whole(one), whole(other)) {
        (Some(one), Some(other)) => Some(one.cmp(&other)),
        (Some(large), None) | (None, Some(large)) if large.abs() > EXACT => None,
        _ => one.as_f64()?.partial_cmp(&other.as_f64()?),
    }
}

/// A bound of the numbers that a schema accepts.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bound<'a> {
    limit: &'a Number,
    /// Whether the limit itself is out of bounds.
    is_open: bool,
}

/// On which side a bound is.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Side {
    Least,
    Most,
}

impl Side {
    pub(super) fn keywords(self) -> [&'static str; 2] {
        match self {
            Side::Least => ["minimum", "exclusiveMinimum"],
            Side::Most => ["maximum", "exclusiveMaximum"],
        }
    }

    /// How a tighter limit compares with a looser one.
    fn tighter(self) -> Ordering {
        match self {
            Side::Least => Ordering::Greater,
            Side::Most => Ordering::Less,
        }
    }
}

/// What is said of a bound is not a number, or no number that can be compared.
#[derive(Clone, Copy, Debug)]
pub(super) struct Unclear;

/// The bound of a schema on a side, if there is one.
pub(super) fn bound(schema: &Map<String, Value>, side: Side) -> Result<Option<Bound<'_>>, Unclear> {
    let [closed, open] = side.keywords();
    let number = |keyword| match schema.get(keyword) {
        None => Ok(None),
        Some(Value::Number(number)) => Ok(Some(number)),
        // What draft 4 says there is another matter.
        Some(_) => Err(Unclear),
    };
    Ok(match (number(closed)?, number(open)?) {
        (None, None) => None,
        (Some(limit), None) => Some(Bound { limit, is_open: false }),
        (None, Some(limit)) => Some(Bound { limit, is_open: true }),
        (Some(closed), Some(open)) => {
            let is_open = order(open, closed).ok_or(Unclear)? != side.tighter().reverse();
            Some(Bound { limit: if is_open { open } else { closed }, is_open })
        }
    })
}

/// Whether all that keeps `narrow` keeps `wide`, of whole numbers or of all.
pub(super) fn is_as_tight(narrow: Bound<'_>, wide: Bound<'_>, side: Side, of_integers: bool) -> Option<bool> {
    if of_integers && let (Some(narrow_at), Some(wide_at)) = (whole(narrow.limit), whole(wide.limit)) {
        let first = |at: i128, is_open: bool| match side {
            Side::Least => at + i128::from(is_open),
            Side::Most => at - i128::from(is_open),
        };
        let order = first(narrow_at, narrow.is_open).cmp(&first(wide_at, wide.is_open));
        return Some(order == side.tighter() || order == Ordering::Equal);
    }
    let order = order(narrow.limit, wide.limit)?;
    Some(order == side.tighter() || (order == Ordering::Equal && (narrow.is_open || !wide.is_open)))
}

/// Whether every multiple of `narrow` is one of `wide`.
pub(super) fn is_multiple(narrow: &Number, wide: &Number) -> Option<bool> {
    if narrow == wide {
        return Some(true);
    }
    match (whole(narrow)?, whole(wide)?) {
        (_, 0) => None,
        (narrow, wide) => Some(narrow % wide == 0),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn of(value: &Value) -> &Number {
        let Value::Number(number) = value else { panic!("{value} is no number") };
        number
    }

    #[test]
    fn what_floating_point_cannot_tell_is_not_told() {
        let order_of = |one: Value, other: Value| order(of(&one), of(&other));
        assert_eq!(order_of(json!(1), json!(1.5)), Some(Ordering::Less));
        assert_eq!(order_of(json!(2.0), json!(2)), Some(Ordering::Equal));
        assert_eq!(order_of(json!(u64::MAX), json!(u64::MAX - 1)), Some(Ordering::Greater));
        assert_eq!(order_of(json!(i64::MIN), json!(-1)), Some(Ordering::Less));
        assert_eq!(order_of(json!(9_007_199_254_740_993_u64), json!(0.5)), None);
    }

    #[test]
    fn of_two_bounds_the_one_that_leaves_less_is_the_tighter() {
        let check = |narrow: Value, wide: Value, side, of_integers| {
            let bound_of = |schema: &Value| {
                let found = bound(schema.as_object().unwrap(), side).unwrap().unwrap();
                (found.limit.clone(), found.is_open)
            };
            let ((narrow, narrow_open), (wide, wide_open)) = (bound_of(&narrow), bound_of(&wide));
            let narrow = Bound { limit: &narrow, is_open: narrow_open };
            is_as_tight(narrow, Bound { limit: &wide, is_open: wide_open }, side, of_integers)
        };
        let (least, most) = (Side::Least, Side::Most);
        assert_eq!(check(json!({"minimum": 1}), json!({"minimum": 1}), least, false), Some(true));
        assert_eq!(check(json!({"minimum": 1}), json!({"exclusiveMinimum": 1}), least, false), Some(false));
        assert_eq!(check(json!({"minimum": 1}), json!({"exclusiveMinimum": 0}), least, false), Some(true));
        assert_eq!(check(json!({"exclusiveMinimum": 0}), json!({"minimum": 1}), least, false), Some(false));
        assert_eq!(check(json!({"exclusiveMinimum": 0}), json!({"minimum": 1}), least, true), Some(true));
        assert_eq!(check(json!({"exclusiveMaximum": 10}), json!({"maximum": 9}), most, true), Some(true));
        assert_eq!(check(json!({"maximum": 10}), json!({"maximum": 9.5}), most, false), Some(false));
        assert_eq!(
            check(json!({"minimum": 3, "exclusiveMinimum": 3}), json!({"exclusiveMinimum": 3}), least, false),
            Some(true)
        );
        assert_eq!(
            check(json!({"minimum": 4, "exclusiveMinimum": 3}), json!({"minimum": 4}), least, false),
            Some(true)
        );
        assert!(bound(json!({"minimum": 1, "exclusiveMinimum": true}).as_object().unwrap(), least).is_err());
    }
}

//! What is said while it is measured, and how numbers are written.

use std::fmt;
use std::io::{self, IsTerminal};

use super::contender::{Cell, Contender};
use super::rows::{Row, Unit};
use crate::turns::{Spread, ratios};

/// What goes on, for who waits.
pub(crate) fn progress(what: fmt::Arguments<'_>) {
    if io::stderr().is_terminal() {
        eprint!("\r\x1b[2K… {what}");
    } else {
        eprintln!("… {what}");
    }
}

/// One row, as soon as it is known.
pub(crate) fn row(contenders: &[Contender], row: &Row) {
    println!("\n{}: {}", row.group.title(), row.title);
    for contender in contenders {
        let Some(cell) = contender.cells.get(row.name) else { continue };
        let ratio = ratio(contenders, contender, row).map_or(String::new(), |ratio| ratio.to_string());
        println!("  {:<14} {:>16}   {ratio}", contender.kind.name, value(cell, row.unit));
    }
}

/// What was measured.
pub(crate) fn value(cell: &Cell, unit: Unit) -> String {
    match (cell, unit) {
        (Cell::Failed(why), _) => format!("failed: {}", why.chars().take(160).collect::<String>().replace('|', "/")),
        (Cell::Runs(costs), Unit::PerSecond(what)) => {
            format!("{} {what}", thousands(1.0 / Spread::of(costs).median))
        }
        (Cell::Runs(costs), _) => format!("{:.1} ms", Spread::of(costs).median * 1e3),
        (Cell::Fact(number), Unit::Kib) => format!("{:.1} MiB", number / 1024.0),
        (Cell::Fact(number), _) => format!("{number:.0} B"),
    }
}

/// How many times as good as a contender the first one is, round by round; nothing for itself.
pub(crate) fn ratio(contenders: &[Contender], of: &Contender, row: &Row) -> Option<Spread> {
    let first = contenders.first().filter(|first| first.kind.name != of.kind.name)?;
    match (first.cells.get(row.name)?, of.cells.get(row.name)?) {
        (Cell::Runs(ours), Cell::Runs(theirs)) => Some(ratios(ours, theirs)),
        (Cell::Fact(ours), Cell::Fact(theirs)) => Some(Spread::of(&[theirs / ours])),
        _ => None,
    }
}

/// A whole number with its thousands apart.
pub(crate) fn thousands(number: f64) -> String {
    let digits = format!("{number:.0}");
    let mut text = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn thousands_are_set_apart() {
        let written = [0.4, 999.0, 1000.0, 21_500_000.0].map(thousands);
        assert_eq!(written, ["0", "999", "1,000", "21,500,000"]);
    }
}

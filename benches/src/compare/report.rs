//! RESULTS.md, and the pictures beside it.
//!
//! Everything above [`MARKER`] is made anew. What is below it was written by a person
//! and is kept.

use std::fmt::Write;
use std::path::Path;
use std::{fs, io};

use super::contender::{Cell, Contender};
use super::machine;
use super::plot::{self, Bar, Look};
use super::rows::{Group, Row, Unit};
use super::run::Plan;
use super::tell::{ratio, thousands, value};
use crate::turns::Spread;

pub(crate) const MARKER: &str = "<!-- Above: made by `compare --report`. Below: written by hand, and kept. -->";

/// Everything that was measured.
pub(crate) struct Results<'a> {
    pub(crate) plan: Plan,
    pub(crate) rows: &'a [&'static Row],
    pub(crate) contenders: &'a [Contender],
}

/// Writes the report and, beside it, `plots/`.
pub(crate) fn write(results: &Results<'_>, path: &Path) -> io::Result<()> {
    let below = match fs::read_to_string(path) {
        Ok(before) => before.split_once(MARKER).map_or(String::new(), |(_, below)| below.to_owned()),
        Err(_) => String::new(),
    };
    let plots = path.parent().unwrap_or(Path::new(".")).join("plots");
    fs::create_dir_all(&plots)?;
    for row in results.rows {
        let bars = results.bars(row);
        if !bars.is_empty() {
            fs::write(plots.join(format!("{}.svg", row.name)), plot::svg(&title(row), &bars))?;
        }
    }
    let below = if below.is_empty() { "\n" } else { &below };
    fs::write(path, format!("{}\n{MARKER}{below}", results.text()))
}

fn title(row: &Row) -> String {
    let unit = match row.unit {
        Unit::PerSecond(what) => what,
        Unit::Seconds => "ms, shorter is better",
        Unit::Bytes => "bytes, shorter is better",
        Unit::Kib => "MiB, shorter is better",
    };
    format!("{}: {} ({unit})", row.group.title(), row.title)
}

impl Results<'_> {
    fn text(&self) -> String {
        let mut out = String::from("# Annals beside its peers\n\n");
        out += &self.conditions();
        out += &self.engines();
        for group in Group::ALL {
            let rows: Vec<_> = self.rows.iter().filter(|row| row.group == group).copied().collect();
            if !rows.is_empty() {
                out += &self.table(group, &rows);
            }
        }
        out += &self.latencies();
        out += &self.behind();
        out
    }

    fn conditions(&self) -> String {
        let Plan { events, rounds, .. } = self.plan;
        let mut out = String::from(
            "Made by `cargo run --release -p annals-benches --features peers -- compare --report benches/RESULTS.md`.\n\n",
        );
        for (name, fact) in machine::facts() {
            let _ = writeln!(out, "- {name}: {fact}");
        }
        let _ = write!(
            out,
            "- {} events in {} streams, a few busy and many quiet; payloads of 100 to 400 bytes of JSON, 40 of metadata, \
             29 of names, an id\n- each engine in a process of its own; in every row all of them run in turn, A B C … A B C …, \
             {rounds} short times (fewer where a run takes long); files are in the page cache\n\n",
            thousands(events as f64),
            thousands((events / 100) as f64),
        );
        out + "**How to read it.** A cell has the median of an engine and, behind it, how many times as good Annals is: the median \
               of the ratios round by round, and its 95 % interval. Above 1 Annals is ahead; where the whole interval is below 1 \
               it is **behind**. Figures of one column compare, those of two runs of this program do not. \
               `limit` is no store: it encodes, checksums, writes and syncs, and what it can do is what there is to be had. \
               † is not as durable as the others in this row, and not counted as a peer.\n\n"
    }

    fn engines(&self) -> String {
        let mut out = String::from(
            "## Who takes part\n\n| engine | package | durable by | syncs per durable commit | buffered | other writers are noticed by | \
             callers at once | checksums on read |\n|---|---|---|---|---|---|---|---|\n",
        );
        for contender in self.contenders {
            let kind = contender.kind;
            let or_no = |text: Option<&'static str>| text.unwrap_or("—");
            let syncs = contender.syncs.as_ref().map_or("not looked at".to_owned(), ToString::to_string);
            let _ = writeln!(
                out,
                "| {} | {} {} | {} | {syncs} | {} | {} | {} | {} |",
                kind.name,
                kind.package,
                machine::version(kind.package),
                or_no(kind.durable),
                or_no(kind.buffered),
                kind.conflicts,
                kind.callers,
                kind.checksums,
            );
        }
        out.push('\n');
        out
    }

    fn table(&self, group: Group, rows: &[&'static Row]) -> String {
        let mut out = format!("## {}\n\n| engine |", group.title());
        for row in rows {
            let _ = write!(out, " {} |", row.title);
        }
        let _ = writeln!(out, "\n|---|{}", "---|".repeat(rows.len()));
        for contender in self.contenders {
            let mark = if group == Group::Durable && contender.is_weaker() { " †" } else { "" };
            let _ = write!(out, "| {}{mark} |", contender.kind.name);
            for row in rows {
                let _ = write!(out, " {} |", self.cell(contender, row));
            }
            out.push('\n');
        }
        out.push('\n');
        for row in rows {
            if !self.bars(row).is_empty() {
                let _ = writeln!(out, "![{}](plots/{}.svg)", title(row), row.name);
            }
        }
        out.push('\n');
        out
    }

    fn cell(&self, contender: &Contender, row: &Row) -> String {
        let Some(cell) = contender.cells.get(row.name) else { return "n/a".to_owned() };
        let value = value(cell, row.unit);
        match ratio(self.contenders, contender, row) {
            None => value,
            Some(ratio) if self.is_behind(contender, row) => format!("{value} · **behind: {}**", written(ratio)),
            Some(ratio) => format!("{value} · {}", written(ratio)),
        }
    }

    /// Whether a peer does this better than we, as surely as can be said.
    fn is_behind(&self, contender: &Contender, row: &Row) -> bool {
        let is_peer = contender.kind.name != "limit" && !(row.group == Group::Durable && contender.is_weaker());
        is_peer && ratio(self.contenders, contender, row).is_some_and(|ratio| ratio.high < 1.0)
    }

    fn latencies(&self) -> String {
        let mut out = String::from(
            "## How long one durable append takes\n\nOne caller, one event, in microseconds, of all rounds together.\n\n\
             | engine | p50 | p99 | p99.9 | appends |\n|---|---|---|---|---|\n",
        );
        let mut some = false;
        for contender in self.contenders {
            let mut micros = contender.micros.clone();
            micros.sort_by(f64::total_cmp);
            if micros.is_empty() {
                continue;
            }
            some = true;
            let at = |part: f64| thousands(micros[((micros.len() as f64 * part) as usize).min(micros.len() - 1)]);
            let mark = if contender.is_weaker() { " †" } else { "" };
            let (p50, p99, p999) = (at(0.5), at(0.99), at(0.999));
            let _ = writeln!(out, "| {}{mark} | {p50} | {p99} | {p999} | {} |", contender.kind.name, micros.len());
        }
        if some { out + "\n" } else { String::new() }
    }

    fn behind(&self) -> String {
        let mut out = String::from("## Where Annals is behind\n\n");
        let mut some = false;
        for row in self.rows {
            for contender in self.contenders.iter().filter(|contender| self.is_behind(contender, row)) {
                let Some(ratio) = ratio(self.contenders, contender, row) else { continue };
                some = true;
                let _ = writeln!(
                    out,
                    "- {}, {}: {} of {}",
                    row.group.title(),
                    row.title,
                    written(ratio),
                    contender.kind.name
                );
            }
        }
        if some { out } else { out + "Nowhere.\n" }
    }

    fn bars(&self, row: &Row) -> Vec<Bar> {
        let bar = |contender: &Contender| {
            let cell = contender.cells.get(row.name)?;
            let Spread { median, low, high } = match (cell, row.unit) {
                (Cell::Failed(_), _) => return None,
                (Cell::Fact(number), _) => Spread::of(&[*number]),
                (Cell::Runs(costs), Unit::PerSecond(_)) => {
                    Spread::of(&costs.iter().map(|cost| 1.0 / cost).collect::<Vec<_>>())
                }
                (Cell::Runs(costs), _) => Spread::of(costs),
            };
            let look = match contender.kind.name {
                "annals" => Look::Ours,
                "limit" => Look::Limit,
                _ if row.group == Group::Durable && contender.is_weaker() => Look::Weaker,
                _ => Look::Peer,
            };
            let label = value(cell, row.unit);
            Some(Bar { name: contender.kind.name.to_owned(), value: median, low, high, label, look })
        };
        let mut bars: Vec<Bar> = self.contenders.iter().filter_map(bar).collect();
        bars.sort_by(|a, b| b.value.total_cmp(&a.value));
        if !matches!(row.unit, Unit::PerSecond(_)) {
            bars.reverse();
        }
        bars
    }
}

fn written(ratio: Spread) -> String {
    let Spread { median, low, high } = ratio;
    let number = |value: f64| if value >= 100.0 { format!("{value:.0}") } else { format!("{value:.2}") };
    if high <= low { number(median) } else { format!("{} ({} – {})", number(median), number(low), number(high)) }
}

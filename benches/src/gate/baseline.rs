//! The baseline: a file for people, one line a path, and what it says of new counts.
//!
//! ```text
//! rustc: rustc 1.95.0 (59807616e 2026-04-14)
//! valgrind: valgrind-3.19.0
//! libc: glibc 2.36
//!
//! append-durable         2514.3   allocations 5, fdatasync 1, pwrite64 2
//! ```
//!
//! Behind the name stand the instructions, or `-` where they are not counted; then the system calls, and as
//! if it were one, how often memory was allocated.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;

use super::tools::{Counted, Tools};

/// Where it is, from the top of the workspace.
pub(super) const FILE: &str = "benches/baseline.txt";

/// How many more instructions are let pass, as a share.
const TOLERANCE: f64 = 0.03;
/// The same where another compiler, library or valgrind counts than did for the baseline.
const TOLERANCE_ELSEWHERE: f64 = 0.10;
/// A count of calls that is no whole number belongs to work that is done once for many times, and may
/// fall to either side of an edge: so much more of it is let pass, as a share.
const TOLERANCE_AMORTISED: f64 = 0.10;
/// And never more than this: a call more each time is one.
const MOST_AMORTISED: f64 = 0.5;

/// What walking a path once costs.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Cost {
    pub(super) instructions: Option<f64>,
    pub(super) calls: BTreeMap<String, f64>,
}

impl Cost {
    pub(super) fn of_instructions(counted: Counted) -> Cost {
        let calls = [("allocations".to_owned(), counted.allocations as f64)].into();
        Cost { instructions: Some(counted.instructions as f64), calls }
    }

    pub(super) fn of_calls(mut calls: BTreeMap<String, u64>) -> Cost {
        // Whether a thread that another one waits for (when a store is opened) is done already depends on the schedule.
        calls.remove("futex");
        Cost { instructions: None, calls: calls.into_iter().map(|(name, count)| (name, count as f64)).collect() }
    }

    pub(super) fn less(mut self, less: Cost) -> Cost {
        self.instructions = self.instructions.zip(less.instructions).map(|(more, less)| more - less);
        for (name, count) in less.calls {
            *self.calls.entry(name).or_default() -= count;
        }
        self
    }

    /// Of so many times: the calls of one, and the instructions of one of its events.
    pub(super) fn each(mut self, times: u64, events: u64) -> Cost {
        // As precise as it is written down, so that what is read again is the same.
        self.instructions = self.instructions.map(|count| (count / (times * events) as f64 * 10.0).round() / 10.0);
        for count in self.calls.values_mut() {
            *count = (*count / times as f64 * 100.0).round() / 100.0;
        }
        self.calls.retain(|_, count| *count != 0.0);
        self
    }

    fn calls_as_text(&self) -> String {
        let calls: Vec<String> = self.calls.iter().map(|(name, count)| format!("{name} {count}")).collect();
        if calls.is_empty() { "none".to_owned() } else { calls.join(", ") }
    }

    fn instructions_as_text(&self) -> String {
        self.instructions.map_or_else(|| "-".to_owned(), |count| format!("{count:.1}"))
    }
}

/// What is said of a path.
pub(super) struct Verdict {
    pub(super) line: String,
    pub(super) is_worse: bool,
}

/// Compares what a path costs now with what it did.
pub(super) fn compare(was: Option<&Cost>, now: &Cost, tolerance: f64) -> Verdict {
    let new = now.instructions_as_text();
    let Some(was) = was else {
        let line = format!("{:>13} {new:>13} {:>8}   {} (not in the baseline)", "", "new", now.calls_as_text());
        return Verdict { line, is_worse: true };
    };
    let change = was.instructions.zip(now.instructions).map(|(was, now)| now / was - 1.0);
    let mut is_worse =
        change.is_some_and(|change| change > tolerance) || was.instructions.is_some() != now.instructions.is_some();
    let mut calls = now.calls_as_text();
    for (name, &count) in &now.calls {
        let before = was.calls.get(name).copied().unwrap_or(0.0);
        let spare = if before.fract() == 0.0 { 0.0 } else { (before * TOLERANCE_AMORTISED).min(MOST_AMORTISED) };
        if count > before + spare {
            is_worse = true;
            let _ = write!(calls, "  ← {name} was {before}");
        }
    }
    if !is_worse && was.calls != now.calls {
        let _ = write!(calls, "  (was: {})", was.calls_as_text());
    }
    let change = change.map_or_else(|| "-".to_owned(), |change| format!("{:+.1} %", change * 100.0));
    let mark = if is_worse { "  DEARER" } else { "" };
    let line = format!("{:>13} {new:>13} {change:>8}   {calls}{mark}", was.instructions_as_text());
    Verdict { line, is_worse }
}

/// The file's content.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Baseline {
    tools: BTreeMap<String, String>,
    costs: BTreeMap<String, Cost>,
}

impl Baseline {
    /// The committed one; empty when there is none yet.
    pub(super) fn load() -> Result<Baseline, String> {
        match fs::read_to_string(place()) {
            Ok(text) => Baseline::parse(&text),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(Baseline::default()),
            Err(error) => Err(format!("{FILE}: {error}")),
        }
    }

    fn parse(text: &str) -> Result<Baseline, String> {
        let mut baseline = Baseline::default();
        for (number, line) in text.lines().enumerate() {
            let wrong = |what: &str| format!("{FILE}, line {}: {what}", number + 1);
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            if let Some((tool, version)) = line.split_once(": ") {
                baseline.tools.insert(tool.to_owned(), version.to_owned());
                continue;
            }
            let (name, rest) = line.split_once(' ').ok_or_else(|| wrong("a name alone"))?;
            let (instructions, calls) = rest.trim().split_once(' ').ok_or_else(|| wrong("no system calls"))?;
            let mut cost = Cost::default();
            if instructions != "-" {
                cost.instructions = Some(instructions.parse().map_err(|_| wrong("no number of instructions"))?);
            }
            for call in calls.trim().split(", ").filter(|&calls| calls != "none") {
                let (call, count) = call.split_once(' ').ok_or_else(|| wrong("a call without a number"))?;
                cost.calls.insert(call.to_owned(), count.parse().map_err(|_| wrong("a call without a number"))?);
            }
            baseline.costs.insert(name.to_owned(), cost);
        }
        Ok(baseline)
    }

    fn text(&self) -> String {
        let mut text = String::from(
            "# What the hot paths cost: instructions and allocations (callgrind), and system calls (strace).\n\
             # `cargo run --release -p annals-benches -- gate` compares; with --bless it writes this file.\n",
        );
        for (tool, version) in &self.tools {
            let _ = writeln!(text, "{tool}: {version}");
        }
        text.push('\n');
        for (name, cost) in &self.costs {
            let _ = writeln!(text, "{name:<28} {:>11}   {}", cost.instructions_as_text(), cost.calls_as_text());
        }
        text
    }

    pub(super) fn save(&self) -> Result<(), String> {
        fs::write(place(), self.text()).map_err(|error| format!("{FILE}: {error}"))
    }

    pub(super) fn cost(&self, name: &str) -> Option<&Cost> {
        self.costs.get(name)
    }

    pub(super) fn set(&mut self, name: &str, cost: Cost) {
        self.costs.insert(name.to_owned(), cost);
    }

    /// Forgets every path but these.
    pub(super) fn keep(&mut self, names: &[&str]) {
        self.costs.retain(|name, _| names.contains(&&**name));
    }

    pub(super) fn set_tools(&mut self, tools: &Tools) {
        self.tools = named(tools);
    }

    pub(super) fn is_made_with_others_than(&self, other: &Baseline) -> bool {
        self.tools != other.tools
    }

    /// How many more instructions are let pass here, as a share. Says so when it is not the usual share.
    pub(super) fn tolerance(&self, here: &Tools) -> f64 {
        let here = named(here);
        if self.tools == here || self.tools.is_empty() {
            return TOLERANCE;
        }
        for (tool, version) in &here {
            let was = self.tools.get(tool).map_or("nothing", String::as_str);
            if was != version {
                println!("The baseline was made with {was}, and this is {version}.");
            }
        }
        println!("So {:.0} % more instructions are let pass.\n", TOLERANCE_ELSEWHERE * 100.0);
        TOLERANCE_ELSEWHERE
    }
}

fn named(tools: &Tools) -> BTreeMap<String, String> {
    let all = [("rustc", &tools.rustc), ("valgrind", &tools.valgrind), ("libc", &tools.libc)];
    all.into_iter().map(|(tool, version)| (tool.to_owned(), version.clone())).collect()
}

fn place() -> &'static str {
    concat!(env!("CARGO_MANIFEST_DIR"), "/baseline.txt")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cost(instructions: f64, calls: &[(&str, f64)]) -> Cost {
        let calls = calls.iter().map(|&(name, count)| (name.to_owned(), count)).collect();
        Cost { instructions: Some(instructions), calls }
    }

    fn is_worse(was: &Cost, now: &Cost) -> bool {
        compare(Some(was), now, TOLERANCE).is_worse
    }

    #[test]
    fn what_was_written_down_is_read_again() {
        let mut baseline = Baseline::default();
        baseline.set_tools(&Tools { rustc: "rustc 1 (x)".into(), valgrind: "3".into(), libc: "glibc 2".into() });
        baseline.set("append", cost(1234.5, &[("fdatasync", 1.0), ("pwrite64", 2.25)]));
        baseline.set("beside", Cost::default());
        assert_eq!(Baseline::parse(&baseline.text()), Ok(baseline));
    }

    #[test]
    fn two_percent_more_instructions_pass_and_four_do_not() {
        assert!(!is_worse(&cost(1000.0, &[]), &cost(1020.0, &[])));
        assert!(is_worse(&cost(1000.0, &[]), &cost(1040.0, &[])));
        assert!(!is_worse(&cost(1000.0, &[]), &cost(500.0, &[])));
    }

    #[test]
    fn one_system_call_more_does_not_pass_and_one_less_does() {
        let two = cost(1000.0, &[("pwrite64", 2.0)]);
        assert!(is_worse(&two, &cost(1000.0, &[("pwrite64", 3.0)])));
        assert!(is_worse(&two, &cost(1000.0, &[("pwrite64", 2.01)])));
        assert!(is_worse(&two, &cost(1000.0, &[("pwrite64", 2.0), ("futex", 0.01)])));
        assert!(!is_worse(&two, &cost(1000.0, &[("pwrite64", 1.0)])));
    }

    #[test]
    fn work_that_is_done_once_for_many_may_move_a_little() {
        let seldom = cost(1000.0, &[("fallocate", 0.12)]);
        assert!(!is_worse(&seldom, &cost(1000.0, &[("fallocate", 0.13)])));
        assert!(is_worse(&seldom, &cost(1000.0, &[("fallocate", 0.14)])));
        // But one more each time is one more.
        assert!(is_worse(&cost(1000.0, &[("allocations", 103.05)]), &cost(1000.0, &[("allocations", 104.05)])));
    }

    #[test]
    fn a_path_that_nobody_has_blessed_does_not_pass() {
        assert!(compare(None, &cost(1.0, &[]), TOLERANCE).is_worse);
        // Nor does one whose instructions are not counted any more.
        assert!(is_worse(&cost(1.0, &[]), &Cost::default()));
    }

    #[test]
    fn another_compiler_is_granted_more() {
        let tools = Tools { rustc: "1".into(), valgrind: "3".into(), libc: "2".into() };
        let mut baseline = Baseline::default();
        baseline.set_tools(&tools);
        assert!(baseline.tolerance(&tools) < baseline.tolerance(&Tools { rustc: "2".into(), ..tools }));
    }
}

//! Measuring row by row: every engine in turn, A B C … A B C …, many short times.
//!
//! Two rounds before the first do not count. The first shows whether all have read the
//! same. The second warms up, for ten times as long as a run is to take, for a store that
//! was just opened has much to learn; and it shows how much an engine does in that time.
//! Who is so slow that its runs would take too long all together has fewer of them.

use std::process::Command;

use super::contender::{Cell, Contender};
use super::rows::{Group, How, Row};
use super::tell;

/// How much is measured.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Plan {
    /// In a full store.
    pub(crate) events: u64,
    pub(crate) rounds: usize,
    /// How long a run is to take, in seconds, where that can be chosen.
    pub(crate) run: f64,
    /// How long all runs of one engine in one row may take, in seconds.
    pub(crate) row: f64,
    /// And in all rows, with its openings and closings: so the whole ends in time, whoever takes part.
    pub(crate) engine: f64,
}

impl Plan {
    pub(crate) const FULL: Plan = Plan { events: 1_000_000, rounds: 31, run: 0.03, row: 8.0, engine: 160.0 };
    pub(crate) const QUICK: Plan = Plan { events: 100_000, rounds: 7, run: 0.01, row: 0.7, engine: 16.0 };
}

/// So many times as long as a run is the one that warms up.
const WARM_UP: u64 = 10;
/// So many runs everybody has.
const FEWEST: usize = 5;
/// More events are not appended in one run, or the stores would grow too much.
const MOST_EVENTS: u64 = 6000;

/// Measures everything. The first contender is the one the others are compared with.
pub(crate) fn measure(plan: &Plan, contenders: &mut [Contender], rows: &[&Row]) {
    for contender in &mut *contenders {
        tell::progress(format_args!("{}: filled with {} events", contender.kind.name, plan.events));
        contender.fill();
    }
    for group in [Group::Reads, Group::Open, Group::Durable, Group::Buffered] {
        let of_group = |row: &&&Row| row.group == group && !matches!(row.how, How::AfterKill);
        for row in rows.iter().filter(of_group) {
            measure_row(plan, contenders, row);
        }
        contenders.iter_mut().for_each(Contender::stop);
    }
    // At the end, because what a kill leaves is not the same for everybody.
    for row in rows.iter().filter(|row| matches!(row.how, How::AfterKill)) {
        measure_row(plan, contenders, row);
    }
    for row in rows.iter().filter(|row| row.group == Group::Footprint) {
        for contender in &mut *contenders {
            contender.takes_part(row);
        }
        tell::row(contenders, row);
    }
}

/// One engine in one row.
struct Turn<'a> {
    contender: &'a mut Contender,
    amount: u64,
    rounds: usize,
    costs: Vec<f64>,
    failed: Option<String>,
}

fn measure_row(plan: &Plan, contenders: &mut [Contender], row: &Row) {
    tell::progress(format_args!("{}: {}", row.group.title(), row.title));
    // Nobody pays for what others have left to be written.
    let _ = Command::new("sync").status();
    let allowed = plan.engine * share(row);
    let mut turns = Vec::new();
    for contender in contenders.iter_mut() {
        if contender.takes_part(row) {
            let failed = contender.make_ready(row, allowed).err();
            turns.push(Turn { contender, amount: first_amount(row), rounds: plan.rounds, costs: Vec::new(), failed });
        }
    }
    let mut expected = None;
    // Round 0 compares, round 1 warms up.
    for round in 0..plan.rounds + 2 {
        for turn in &mut turns {
            if turn.failed.is_some() || round >= turn.rounds + 2 {
                continue;
            }
            match turn.contender.run(row, turn.amount, 1 + round as u64 * 7919, allowed) {
                // What was measured before its time was over counts.
                Err(_) if turn.costs.len() >= FEWEST => turn.rounds = 0,
                Err(why) => turn.failed = Some(why),
                Ok(run) if round > 1 => {
                    turn.costs.push(run.cost);
                    if row.name == "durable-1" {
                        turn.contender.micros.extend(run.micros);
                    }
                }
                Ok(run) if round == 0 => {
                    if expected.get_or_insert_with(|| run.seen.clone()) != &run.seen {
                        turn.failed = Some(format!("it read something else than the first: {:?}", run.seen));
                    }
                    turn.amount = fitting_amount(plan.run, WARM_UP, row, run.cost).unwrap_or(turn.amount);
                }
                Ok(run) => {
                    let amount = fitting_amount(plan.run, 1, row, run.cost).unwrap_or(turn.amount);
                    let wall = run.wall * amount as f64 / turn.amount as f64;
                    turn.amount = amount;
                    turn.rounds = ((plan.row / wall) as usize).clamp(FEWEST.min(plan.rounds), plan.rounds);
                }
            }
        }
    }
    for turn in turns {
        let cell = turn.failed.map_or(Cell::Runs(turn.costs), Cell::Failed);
        if matches!(cell, Cell::Failed(_)) {
            // The next row begins anew.
            turn.contender.stop();
        }
        turn.contender.cells.insert(row.name, cell);
    }
    tell::row(contenders, row);
}

/// How much of its time an engine may have spent after a row, so that one that is slow to read is
/// still asked to append.
fn share(row: &Row) -> f64 {
    match (row.group, row.how) {
        (Group::Reads, _) => 0.4,
        (Group::Open, How::AfterClose) => 0.5,
        (Group::Durable, _) => 0.8,
        _ => 1.0,
    }
}

/// How many calls the first run has: the same for everybody.
fn first_amount(row: &Row) -> u64 {
    match row.how {
        How::Appends(events) => (100 / events).max(3),
        How::Streams => 3,
        How::Positions => 20,
        _ => 1,
    }
}

/// How many calls so many runs of so many seconds have, if a thing takes `cost` seconds; nothing
/// where that cannot be chosen.
fn fitting_amount(seconds: f64, runs: u64, row: &Row, cost: f64) -> Option<u64> {
    let (things, most) = match row.how {
        How::Appends(events) | How::Callers(events) => (events, MOST_EVENTS * runs / events),
        How::Streams | How::Positions => (1, u64::MAX),
        _ => return None,
    };
    let fits = (seconds * runs as f64 / (cost * things as f64)) as u64;
    Some(fits.clamp(1, most.max(1)))
}

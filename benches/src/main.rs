//! Ratios, measured side by side in one run.
//!
//! ```text
//! cargo run --release -p annals-benches -- [QUESTION] [--quick]
//! cargo run --release -p annals-benches --features peers -- [QUESTION] [--quick]
//! ```
//!
//! Without a question all are asked; a part of a name asks those that have it:
//! `durable`, `buffered`, `read`, `streams`, `point`, `open`, `memory`, `disk`,
//! `condition`, `unique-id`, `truncate`, `latency`, `folding`, `stores`, with the feature `sql` (the rest of the command) `sql` and `tables`,
//! and with the feature `schema` `validation`. `growth [--bytes 10G] [--hollow]` and `sustained [--minutes 10]` are asked
//! only by their names, because they take long. `--quick` takes a tenth of the events and few rounds: it
//! shows that a measurement runs, not how fast anything is. The feature `peers`
//! compiles other stores, and sets SQLite and LMDB beside ours in `streams`, `point` and
//! `disk`. Everything together writes 8 GB below the directory for temporary files.
//!
//! ```text
//! cargo run --release -p annals-benches --features peers -- compare [--quick] [--only a,b,c] [--report FILE]
//! ```
//!
//! sets all of them beside the store, in everything that an event store does: see
//! `compare`. `benches/RESULTS.md` is its report.
//!
//! # How to read it
//!
//! Every contestant runs once in each round, in turn: A B C A B C …, many short
//! times. What is printed is the median over the rounds of the *paired* ratio (or
//! difference, where a price is asked for) with its 95 % interval: order statistics
//! of the sign test. Single runs scatter by ±40 % on a shared machine; the ratio of
//! neighbours does not. Quote ratios. An interval that is wide says that the machine
//! was busy: run it again.
//!
//! What times cannot show, counts do: `-- gate` (see `gate`) holds the instructions and system
//! calls of the hot paths against `benches/baseline.txt`.
//!
//! Each question says in its own file what exactly is compared, and what is aimed at.

#![allow(clippy::cast_precision_loss, clippy::cast_sign_loss, reason = "rates and ranks, not money")]
#![allow(clippy::doc_markdown, reason = "SQLite is a name and no code")]

mod bench;
mod compare;
mod engine;
mod footprint;
mod gate;
mod library;
mod limit;
mod ours;
#[cfg(feature = "peers")]
mod peers;
mod questions;
mod tail;
mod turns;

use std::process::ExitCode;

use crate::bench::Bench;

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    if let [first, rest @ ..] = &*args {
        match &**first {
            "gate" => return gate::run(rest),
            questions::stores::CHILD => return questions::stores::run_child(rest),
            questions::growth::CHILD => return questions::growth::run_child(rest),
            questions::sustained::CHILD => return questions::sustained::run_child(rest),
            _ => {}
        }
    }
    if let Some(code) = compare::main(&args) {
        return code;
    }
    let bench = Bench::from_args();
    if bench.is_child {
        questions::memory::child(&bench);
        return ExitCode::SUCCESS;
    }
    for question in questions::ALL {
        if bench.wants(question) {
            println!("\n{}: {}", question.name, question.asks);
            (question.measure)(&bench);
        }
    }
    ExitCode::SUCCESS
}

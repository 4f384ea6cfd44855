//! What was asked for on the command line, and how answers are printed.

use std::cell::OnceCell;
use std::fmt;

use crate::library::Library;
use crate::questions::Question;
use crate::turns::{Spread, differences, ratios};

/// The hidden argument of a child process whose memory is measured.
pub(crate) const CHILD: &str = "--memory-of-this-process";

/// One run of this program.
pub(crate) struct Bench {
    question: String,
    pub(crate) quick: bool,
    pub(crate) is_child: bool,
    /// How long `sustained` takes.
    pub(crate) minutes: f64,
    /// How long the log of `growth` becomes, and whether only its counts do.
    pub(crate) bytes: u64,
    pub(crate) hollow: bool,
    library: OnceCell<Library>,
}

impl Bench {
    pub(crate) fn from_args() -> Bench {
        let mut bench = Bench {
            question: String::new(),
            quick: false,
            is_child: false,
            minutes: 10.0,
            bytes: 1 << 30,
            hollow: false,
            library: OnceCell::new(),
        };
        let mut args = std::env::args().skip(1);
        while let Some(arg) = args.next() {
            let mut value = || args.next().unwrap_or_default();
            match &*arg {
                "--quick" => bench.quick = true,
                "--hollow" => bench.hollow = true,
                "--minutes" => bench.minutes = value().parse().expect("--minutes takes a number"),
                "--bytes" => bench.bytes = gibibytes(&value()).expect("--bytes takes a number of GiB, as 10G"),
                CHILD => bench.is_child = true,
                question => question.clone_into(&mut bench.question),
            }
        }
        bench
    }

    pub(crate) fn wants(&self, question: &Question) -> bool {
        if question.is_long && self.question.is_empty() { false } else { question.name.contains(&self.question) }
    }

    /// How many times each contestant runs.
    pub(crate) fn rounds(&self) -> usize {
        if self.quick { 5 } else { 31 }
    }

    /// A number of events, or of anything else that takes long.
    pub(crate) fn many(&self, number: u64) -> u64 {
        if self.quick { number / 10 } else { number }
    }

    /// The stores that are only read: made once in a run, when the first question needs them.
    pub(crate) fn library(&self) -> &Library {
        self.library.get_or_init(|| Library::build(self.many(1_000_000)))
    }
}

/// A number of GiB, as `10G`, in bytes.
fn gibibytes(text: &str) -> Option<u64> {
    Some(text.strip_suffix('G')?.parse::<u64>().ok()? << 30)
}

/// The heading over rows of [`row`].
pub(crate) fn heading(what: &str, theirs: &str) {
    println!("{what:<44} {:>12} {theirs:>12}   ratio (median, 95 % interval)", "annals");
}

/// One comparison: what each of the two does in a second, and the paired ratio of these.
pub(crate) fn row(name: &str, each_run: usize, ours: &[f64], theirs: &[f64]) {
    let rate = |seconds: &[f64]| each_run as f64 / Spread::of(seconds).median;
    println!("{name:<44} {:>10.0}/s {:>10.0}/s   {:.2}", rate(ours), rate(theirs), ratios(ours, theirs));
}

/// One fact that is no ratio.
pub(crate) fn fact(name: &str, value: impl fmt::Display) {
    println!("{name:<44} {value}");
}

/// What something costs that an append may have or not have.
pub(crate) fn price(name: &str, each_run: usize, with: &[f64], without: &[f64]) {
    let micros = |seconds: Spread| seconds.times(1e6 / each_run as f64);
    println!("{name:<44} {:.2} µs more than {:.2}", micros(differences(with, without)), micros(Spread::of(without)));
}

//! Whole sequences of operations with faults and crashes: the store on a simulated
//! disk, against the model of the crash harness, by its oracle of ten rules.
//!
//! The input spells the choices of which the harness makes a story, so the fuzzer
//! looks for stories that reach code no other has reached.

use annals_cli::torture::generate::{Spelled, story};
use annals_cli::torture::{Tally, tell};

/// Tells the story that the input spells.
pub fn check(input: &[u8]) {
    if let Err(violation) = tell(&story(&mut Spelled(input)), &mut Tally::default()) {
        panic!("{violation}\n{}", show(input));
    }
}

/// The story, as the command line and a test take it.
pub fn show(input: &[u8]) -> String {
    format!("annals torture --story '{}'", story(&mut Spelled(input)))
}

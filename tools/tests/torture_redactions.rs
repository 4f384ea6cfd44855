//! Redactions on the simulated disk, interrupted at every operation.

use annals_cli::torture::redactions::{Redactions, explore};

#[test]
fn a_redaction_that_is_interrupted_anywhere_is_done_or_undone_and_never_half() {
    for seed in 1..=2 {
        let done = explore(seed).unwrap_or_else(|violation| panic!("seed {seed}: {violation}"));
        println!("seed {seed}: {done:?}");
        let Redactions { none, some, all, finished, unfinished, .. } = done;
        assert!(none > 0 && some > 0 && all > 0 && finished > 0 && unfinished > 0, "all of them were met: {done:?}");
    }
}

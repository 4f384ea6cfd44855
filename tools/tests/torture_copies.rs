//! Backups on the simulated disk, interrupted at every operation.

use annals_cli::torture::copies::{Copies, explore};
use annals_cli::torture::restores;

#[test]
fn a_backup_that_is_interrupted_anywhere_is_the_older_one_the_newer_one_or_clearly_none() {
    for seed in 1..=2 {
        let done = explore(seed).unwrap_or_else(|violation| panic!("seed {seed}: {violation}"));
        println!("seed {seed}: {done:?}");
        let Copies { older, newer, none, .. } = done;
        assert!(older > 0 && newer > 0 && none > 0, "all three of them were met: {done:?}");
    }
}

#[test]
fn restoring_that_is_interrupted_anywhere_leaves_all_of_the_store_or_clearly_none() {
    let done = restores::explore(1).unwrap_or_else(|violation| panic!("{violation}"));
    println!("{done:?}");
    assert!(done.whole > 0 && done.none > 0, "both of them were met: {done:?}");
}

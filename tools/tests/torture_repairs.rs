//! Repairs on the simulated disk, interrupted at every operation.

use annals_cli::torture::repairs::{Repairs, explore};

#[test]
fn a_repair_that_is_interrupted_anywhere_leaves_a_whole_store_or_clearly_none() {
    let done = explore(1).unwrap_or_else(|violation| panic!("{violation}"));
    println!("{done:?}");
    let Repairs { whole, none, redacted, .. } = done;
    assert!(redacted > 0 && whole > redacted && none > 0, "all of them were met: {done:?}");
}

//! Real processes, killed in every way there is; and a judge that can say no.

use std::path::{Path, PathBuf};
use std::time::Duration;

use annals_cli::torture::process::{Counts, Place, Plan, Tracer, Ways, run};
use tempfile::TempDir;

const EXE: &str = env!("CARGO_BIN_EXE_annals");

fn plan(seed: u64, lives: u64, ways: Ways) -> Plan {
    Plan { exe: PathBuf::from(EXE), seed, lives, time: Duration::from_secs(600), ways, batches: 40 }
}

/// Runs so many children, of which none may leave anything that is wrong.
#[track_caller]
fn check_clean(dir: &Path, seed: u64, lives: u64, ways: Ways) -> Counts {
    println!("seed {seed}");
    let place = Place::take(&dir.join("torture")).unwrap();
    let (counts, finding) = run(&plan(seed, lives, ways), &place, Tracer::find(), |_| ()).unwrap();
    println!("{counts:#?}");
    if let Some(finding) = finding {
        panic!("{}\n{:#?}", finding.violation, finding.lives);
    }
    counts
}

#[test]
fn whenever_a_child_is_killed_everything_acknowledged_is_there() {
    let dir = TempDir::new().unwrap();
    let counts = check_clean(dir.path(), 1, 40, Ways { time: true, call: false, error: false });
    assert!(counts.acknowledged > 100, "{counts:?}");
}

#[test]
fn at_whichever_system_call_a_child_is_killed_everything_acknowledged_is_there() {
    let dir = TempDir::new().unwrap();
    check_clean(dir.path(), 2, 60, Ways { time: false, call: true, error: false });
}

#[test]
fn whichever_system_call_fails_everything_acknowledged_is_there() {
    let dir = TempDir::new().unwrap();
    check_clean(dir.path(), 3, 60, Ways { time: false, call: false, error: true });
}

//! Real processes, killed in every way there is; and a judge that can say no.

mod common;

use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use annals_cli::torture::Rule;
use annals_cli::torture::process::{Counts, Place, Plan, Tracer, Ways, run};
use common::annals;
use serde_json::{Value, json};
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
    let counts = check_clean(dir.path(), 1, 30, Ways { time: true, call: false, error: false });
    assert!(counts.killed > 15 && counts.acknowledged > 100, "the story does something: {counts:?}");
}

/// Without strace there is nothing to see, which one line says.
fn has_tracer() -> bool {
    let found = Tracer::find().is_some();
    if !found {
        println!("skipped: strace is not there, or may not trace");
    }
    found
}

#[test]
fn at_whichever_system_call_a_child_is_killed_everything_acknowledged_is_there() {
    if !has_tracer() {
        return;
    }
    let dir = TempDir::new().unwrap();
    let counts = check_clean(dir.path(), 2, 40, Ways { time: false, call: true, error: false });
    assert!(counts.killed > 10 && counts.acknowledged > 100, "the story does something: {counts:?}");
}

#[test]
fn whichever_system_call_fails_everything_acknowledged_is_there() {
    if !has_tracer() {
        return;
    }
    let dir = TempDir::new().unwrap();
    let counts = check_clean(dir.path(), 3, 40, Ways { time: false, call: false, error: true });
    let mattered: u64 = counts.ways.values().map(|count| count.mattered).sum();
    assert!(counts.failed_calls > 20 && mattered > 5, "the story does something: {counts:?}");
}

#[test]
fn the_command_says_what_it_did_and_leaves_nothing_where_nothing_was_found() {
    let dir = TempDir::new().unwrap();
    let place = dir.path().join("here");
    let told = annals(&[&"torture", &"--process", &"--lives", &"8", &"--json", &"--dir", &place]).exits(0).row();
    assert_eq!((&told["lives"], &told["finding"]), (&json!(8), &Value::Null), "{told}");
    assert!(told["judged"].as_u64() > Some(0), "{told}");
    assert!(!place.exists());

    let empty = dir.path().join("empty");
    std::fs::create_dir(&empty).unwrap();
    let said = annals(&[&"torture", &"--process", &"--seconds", &"0", &"--dir", &empty]).exits(0).stdout;
    assert!(said.contains("Every promise was kept"), "{said}");
    assert_eq!(std::fs::read_dir(&empty).unwrap().count(), 0);
}

#[test]
fn a_directory_with_anything_else_in_it_is_left_alone() {
    let dir = TempDir::new().unwrap();
    common::file(dir.path(), "mine", "text");
    annals(&[&"torture", &"--process", &"--lives", &"1", &"--dir", &dir.path()]).exits(3).says("it is not empty");
    annals(&[&"torture", &"--process", &"--lives", &"1", &"--dir", &dir.path().join("mine")]).exits(3);
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1);
    annals(&[&"torture", &"--dir", &dir.path()]).exits(2);
}

#[test]
fn without_strace_it_says_so_in_one_line_and_goes_on() {
    let dir = TempDir::new().unwrap();
    let mut command = common::command(&[&"torture", &"--process", &"--lives", &"6", &"--dir", &dir.path()]);
    let ran = common::ran(command.env("PATH", "").output().unwrap()).exits(0);
    assert!(ran.stderr.starts_with("annals: strace is not here"), "{}", ran.stderr);
    assert_eq!(ran.stderr.lines().count(), 1, "{}", ran.stderr);
    assert!(ran.stdout.contains("0 system calls failed"), "{}", ran.stdout);
}

/// A program that says what a child says, and does nothing.
fn impostor(dir: &Path, says: &str) -> PathBuf {
    let path = common::file(dir, "impostor", format!("#!/bin/sh\nprintf '{says}'\n"));
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
    path
}

#[test]
fn what_shows_a_violation_is_kept() {
    let dir = TempDir::new().unwrap();
    let place = Place::take(&dir.path().join("torture")).unwrap();
    let ways = Ways { time: false, call: false, error: false };
    for (number, says, rule) in [
        (1, "opened 0 clean\\nintend 1/0/0\\n", Rule::AcknowledgedStays),
        (2, "what?\\n", Rule::NoPanic),
        (3, "panicked it hangs\\n", Rule::NoPanic),
    ] {
        let exe = impostor(dir.path(), says);
        let (counts, finding) = run(&Plan { exe, ..plan(1, 20, ways) }, &place, None, |_| ()).unwrap();
        let finding = finding.unwrap();
        assert_eq!(finding.violation.rule, rule, "{}", finding.violation);
        assert_eq!(counts.lives as usize, finding.lives.len(), "it ends with the first finding");
        assert_eq!(finding.evidence, dir.path().join(format!("torture/found-{number}")));
        let kept = |name: &str| std::fs::read_to_string(finding.evidence.join(name)).unwrap();
        assert!(kept("violation").contains(rule.name()), "{}", kept("violation"));
        assert!(kept("said").contains(says.split("\\n").next().unwrap()), "{}", kept("said"));
    }
    // Evidence stays when the place is used again.
    let place = Place::take(&dir.path().join("torture")).unwrap();
    run(&plan(1, 2, ways), &place, None, |_| ()).unwrap();
    assert!(dir.path().join("torture/found-1/said").exists());
}

#[test]
fn a_child_that_ends_by_a_signal_which_nobody_sent_breaks_o7() {
    let dir = TempDir::new().unwrap();
    let place = Place::take(&dir.path().join("torture")).unwrap();
    let exe = common::file(dir.path(), "impostor", "#!/bin/sh\nkill -ABRT $$\n");
    std::fs::set_permissions(&exe, std::fs::Permissions::from_mode(0o755)).unwrap();
    let ways = Ways { time: false, call: false, error: false };
    let (_, finding) = run(&Plan { exe, ..plan(1, 3, ways) }, &place, None, |_| ()).unwrap();
    let violation = finding.unwrap().violation;
    assert!(violation.rule == Rule::NoPanic && violation.seen.contains("signal: 6"), "{violation}");
}

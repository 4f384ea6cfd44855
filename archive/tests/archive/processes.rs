//! Archivers in processes of their own: killed at every request, and several at once.
//!
//! The test runs itself as the child.

use std::process::{Command, Output};
use std::sync::Arc;

use annals_archive::object_store::local::LocalFileSystem;

use crate::support::{Fault, Faulty, Home, archive_on, files_below};

const STORE: &str = "ANNALS_ARCHIVE_TEST_STORE";
const TO: &str = "ANNALS_ARCHIVE_TEST_TO";
const KILL_AT: &str = "ANNALS_ARCHIVE_TEST_KILL_AT";

/// Not a test by itself: what the others run in another process.
#[test]
fn child() {
    let (Ok(store), Ok(to)) = (std::env::var(STORE), std::env::var(TO)) else { return };
    let at = std::env::var(KILL_AT).map_or(u64::MAX, |at| at.parse().unwrap());
    let place = LocalFileSystem::new_with_prefix(to).unwrap().with_fsync(true);
    let faulty = Faulty::new(Arc::new(place), at, Fault::Kill);
    archive_on(faulty.clone()).send(store, |_, _| ()).unwrap();
}

fn child_of(home: &Home, to: &str) -> Command {
    std::fs::create_dir_all(home.path(to)).unwrap();
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", "processes::child"]).env(STORE, home.dir()).env(TO, home.path(to));
    command
}

/// What is in an archive, by names below its place. What a killed put leaves under a name of its own is no object.
fn content(home: &Home, to: &str) -> Vec<(String, Vec<u8>)> {
    let place = home.path(to);
    let below = |path: &std::path::Path| path.strip_prefix(&place).unwrap().display().to_string();
    let all = files_below(&place).into_iter().map(|(path, content)| (below(&path), content));
    all.filter(|(name, _)| !name.contains('#')).collect()
}

fn succeeded(output: &Output) -> bool {
    output.status.success()
}

#[test]
fn a_process_that_is_killed_at_any_request_loses_nothing_and_doubles_nothing() {
    let home = Home::of(60);
    assert!(succeeded(&child_of(&home, "whole").output().unwrap()));
    let whole = content(&home, "whole");
    assert!(whole.len() > 4);
    let log = home.store().log_id();
    let mut at = 0;
    loop {
        let to = format!("killed-{at}");
        let killed = child_of(&home, &to).env(KILL_AT, at.to_string()).output().unwrap();
        if succeeded(&killed) {
            break;
        }
        let archive = annals_archive::Archive::open(home.path(&to).to_str().unwrap()).unwrap();
        if !archive.segments(log).unwrap().is_empty() {
            assert!(archive.verify(log, Some(&home.dir()), |_, _| ()).unwrap().is_clean(), "killed at request {at}");
        }
        assert!(succeeded(&child_of(&home, &to).output().unwrap()), "the run behind the one killed at request {at}");
        assert!(content(&home, &to) == whole, "killed at request {at}");
        at += 1;
    }
    assert!(at > 5, "only {at} requests");
}

#[test]
fn archivers_in_several_processes_make_what_one_would_have_made() {
    let home = Home::of(150);
    assert!(succeeded(&child_of(&home, "whole").output().unwrap()));
    let children: Vec<_> = (0..4).map(|_| child_of(&home, "shared").spawn().unwrap()).collect();
    for child in children {
        assert!(succeeded(&child.wait_with_output().unwrap()));
    }
    assert!(content(&home, "shared") == content(&home, "whole"));
}

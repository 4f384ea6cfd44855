//! The history of a Git repository as events, a stream for each file, and a projection of the files that are alive.
//!
//! It has to come to what `git ls-files` says.
//!
//! ```sh
//! cargo run -p annals-projection --example git_files [REPOSITORY]
//! ```

use std::collections::{BTreeMap, BTreeSet};
use std::error::Error;
use std::process::Command;

use annals::{EventStore, NewEvent, Options};
use annals_projection::{HandlerError, Handlers, Projection, UpTo, reconstruct_state};

fn git(repository: &str, args: &[&str]) -> Result<String, Box<dyn Error>> {
    // Paths as they are, whatever is in them.
    let output = Command::new("git").args(["-C", repository, "-c", "core.quotepath=off"]).args(args).output()?;
    if !output.status.success() {
        return Err(String::from_utf8_lossy(&output.stderr).into_owned().into());
    }
    Ok(String::from_utf8(output.stdout)?)
}

/// Stream ids are short; a path that is not is known by its end.
fn stream_of(path: &str) -> String {
    let mut from = path.len().saturating_sub(400);
    while !path.is_char_boundary(from) {
        from += 1;
    }
    format!("file-{}", &path[from..])
}

/// Takes in every commit as one batch: it is in the store as a whole or not at all.
fn take_in(store: &EventStore, log: &str) -> Result<u64, Box<dyn Error>> {
    let mut commits = 0;
    for commit in log.split('\u{1}').filter(|commit| !commit.trim().is_empty()) {
        let (head, changes) = commit.split_once('\n').unwrap_or((commit, ""));
        let (hash, subject) = head.split_once(' ').unwrap_or((head, ""));
        // Taken in once, however often this is run.
        let mut batch = store.batch().idempotency_key(hash);
        let mut is_empty = true;
        for change in changes.lines().filter(|line| !line.is_empty()) {
            let (status, path) = change.split_once('\t').ok_or("a change has a status and a path")?;
            let event_type = match status {
                "A" => "Added",
                "D" => "Deleted",
                _ => "Changed",
            };
            batch =
                batch.event(stream_of(path), NewEvent::new(event_type, path.to_owned()).metadata(subject.to_owned()));
            is_empty = false;
        }
        if !is_empty {
            batch.commit()?;
            commits += 1;
        }
    }
    Ok(commits)
}

fn path(event: &annals::Event<'_>) -> Result<String, HandlerError> {
    Ok(std::str::from_utf8(event.data)?.to_owned())
}

fn alive() -> Handlers<BTreeSet<String>> {
    Handlers::new(BTreeSet::new())
        .when("Added", |alive: &mut BTreeSet<String>, event| -> Result<(), HandlerError> {
            if alive.insert(path(event)?) { Ok(()) } else { Err("added twice".into()) }
        })
        .when("Changed", |alive: &mut BTreeSet<String>, event| -> Result<(), HandlerError> {
            if alive.contains(&path(event)?) { Ok(()) } else { Err("changed, and was never added".into()) }
        })
        .when("Deleted", |alive: &mut BTreeSet<String>, event| -> Result<(), HandlerError> {
            if alive.remove(&path(event)?) { Ok(()) } else { Err("deleted, and was not there".into()) }
        })
}

fn main() -> Result<(), Box<dyn Error>> {
    let repository = std::env::args().nth(1).unwrap_or_else(|| env!("CARGO_MANIFEST_DIR").to_owned() + "/..");
    let Ok(log) = git(
        &repository,
        &["log", "--first-parent", "-m", "--reverse", "--no-renames", "--name-status", "--format=%x01%H %s", "HEAD"],
    ) else {
        println!("{repository} is no Git repository: nothing to follow");
        return Ok(());
    };
    let dir = tempfile::tempdir()?;
    let store = EventStore::open(dir.path(), &Options::new())?;
    let commits = take_in(&store, &log)?;
    println!("{commits} commits, {} changes of {} files", store.head(), store.stream_count()?);

    let mut files = Projection::of("files-alive", alive()).strict_types().snapshot_every(500).attach(&store)?;
    files.catch_up()?;
    let listed: BTreeSet<String> =
        git(&repository, &["ls-tree", "-r", "--name-only", "HEAD"])?.lines().map(str::to_owned).collect();
    assert_eq!(*files.state(), listed, "what the events say is what git says");
    println!("{} files are alive, as git says", listed.len());

    // The most restless file, and what became of it.
    let mut changes: BTreeMap<u64, String> = BTreeMap::new();
    for info in store.streams("file-")? {
        changes.insert(info.version.get(), info.stream.to_string());
    }
    if let Some((count, stream)) = changes.pop_last() {
        let now = reconstruct_state(&store, stream.as_str(), &alive(), UpTo::Head)?;
        let fate = if now.state.is_empty() { "gone" } else { "alive" };
        println!("{stream} changed most often, {count} times, and is {fate}");
    }
    Ok(())
}

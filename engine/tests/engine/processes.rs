//! Real processes: who is kept out, who follows, and what a kill leaves.
//!
//! A child is this very test binary, told by an environment variable to run one
//! test as its `main`. It tells what it does in lines that begin with `@`.

use std::io::{BufRead, BufReader, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use annals::{
    AppendError, Durability, EventStore, ExpectedVersion, NewEvent, OpenError, Options, Position, StreamVersion,
    inspect,
};

use crate::followers;
use crate::places::*;
use crate::stores;

use ExpectedVersion::Any;

const ROLE: &str = "ANNALS_TEST_CHILD";
const DIR: &str = "ANNALS_TEST_DIR";
const SEED: &str = "ANNALS_TEST_SEED";

/// Not a test: the `main` of the child processes. Without its variable it does nothing.
#[test]
fn child() {
    let Ok(role) = std::env::var(ROLE) else { return };
    let dir = PathBuf::from(std::env::var(DIR).unwrap());
    let seed = std::env::var(SEED).unwrap().parse().unwrap();
    match role.as_str() {
        "hold" => hold(&dir),
        "write" => write(&dir, seed),
        "follow" => follow(&dir),
        "fail" => fail(&dir),
        "many" => stores::many(&dir),
        "subscribe" => followers::follow(&dir, seed, &annals::Query::All),
        "subscribe to one stream" => followers::follow(&dir, seed, &followers::one_stream()),
        "no permission" => no_permission(&dir),
        "move" => move_elsewhere(&dir),
        other => panic!("no such role: {other}"),
    }
}

pub(crate) fn say(line: &str) {
    let mut out = std::io::stdout().lock();
    // Who is not heard any more has nothing to say.
    if writeln!(out, "@{line}").and_then(|()| out.flush()).is_err() {
        std::process::exit(1);
    }
}

fn wait_for_end_of_input() {
    let _ = std::io::stdin().lines().count();
}

pub(crate) fn command(role: &str, dir: &Path, seed: u64, wrapper: &[&str]) -> Command {
    let exe = std::env::current_exe().unwrap();
    let mut command = match wrapper.split_first() {
        Some((program, arguments)) => {
            let mut command = Command::new(program);
            command.args(arguments).arg(exe);
            command
        }
        None => Command::new(exe),
    };
    command.args(["processes::child", "--exact", "--nocapture", "--test-threads=1"]);
    command.env(ROLE, role).env(DIR, dir).env(SEED, seed.to_string());
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
    command
}

/// A running child, killed when the test is done with it.
pub(crate) struct Running {
    child: Child,
    pub(crate) lines: Receiver<String>,
}

impl Running {
    pub(crate) fn start(mut command: Command) -> Running {
        let mut child = command.spawn().unwrap();
        let (send, lines) = channel();
        let out = BufReader::new(child.stdout.take().unwrap());
        std::thread::spawn(move || {
            for line in out.lines().map_while(Result::ok) {
                // The harness prints its own text before the first line, without an end.
                if let Some((_, said)) = line.split_once('@') {
                    let _ = send.send(said.to_owned());
                }
            }
        });
        Running { child, lines }
    }

    pub(crate) fn hears(&self, what: &str) -> String {
        soon(what, &self.lines)
    }

    /// Kills it, and returns what it said until then.
    pub(crate) fn kill(&mut self) -> Vec<String> {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
        self.lines.iter().collect()
    }

    fn end_input(&mut self) {
        drop(self.child.stdin.take());
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

pub(crate) fn small() -> Options {
    Options::new().segment_bytes(64 << 10).zero_ahead(64 << 10)
}

fn hold(dir: &Path) {
    let store = EventStore::open(dir, &small()).unwrap();
    store.append("a", Any, event("Held")).unwrap();
    say("open");
    wait_for_end_of_input();
    store.close().unwrap();
    say("closed");
    wait_for_end_of_input();
    std::thread::sleep(Duration::from_secs(20));
}

#[test]
fn a_second_process_is_refused_and_told_the_pid_which_is_gone_after_close() {
    let dir = tempfile::tempdir().unwrap();
    let mut child = Running::start(command("hold", dir.path(), 0, &[]));
    assert_eq!(child.hears("it opens"), "open");
    let pid = child.child.id();
    let error = EventStore::open(dir.path(), &small()).unwrap_err();
    assert!(matches!(error, OpenError::AlreadyOpen { pid: Some(told) } if told == pid), "{error:?}, not {pid}");
    assert!(error.to_string().contains(&format!("process {pid}")), "{error}");
    assert_eq!(EventStore::open_read_only(dir.path()).unwrap().head(), pos(1), "reading is for everybody");

    child.end_input();
    assert_eq!(child.hears("it closes"), "closed");
    // The process lives on; its lock does not, nor does its name.
    assert_eq!(std::fs::read(dir.path().join("LOCK")).unwrap(), b"");
    let store = EventStore::open(dir.path(), &small()).unwrap();
    assert_eq!(store.append("a", Any, event("B")).unwrap().last, pos(2));
}

#[test]
fn a_killed_process_leaves_no_lock() {
    let dir = tempfile::tempdir().unwrap();
    let mut child = Running::start(command("hold", dir.path(), 0, &[]));
    child.hears("it opens");
    child.kill();
    let store = EventStore::open(dir.path(), &small()).unwrap();
    assert_eq!(types(store.read_all(Position::START)), ["Held"]);
    assert!(store.recovery_report().torn.is_none(), "{:?}", store.recovery_report());
}

fn payload(round: u64, batch: u64, len: u64, which: u64) -> Vec<u8> {
    let mut data = [round, batch, len, which].map(u64::to_le_bytes).concat();
    data.resize(32 + (batch * 37 % 700) as usize, batch as u8);
    data
}

/// Appends batches for ever, and says of each when it is acknowledged.
fn write(dir: &Path, round: u64) {
    let store = EventStore::open(dir, &small()).unwrap();
    say("open");
    let mut rng = Rng::new(round);
    for batch in 0.. {
        let len = 1 + rng.below(6);
        // A kill takes nothing that was written, synced or not.
        let durability = if rng.below(2) == 0 { Durability::Sync } else { Durability::Buffered };
        let events = (0..len).map(|which| NewEvent::new("Part", payload(round, batch, len, which)));
        let stream = format!("s-{}", rng.below(5));
        let done = store.batch().events(stream, events).durability(durability).commit().unwrap();
        say(&format!("{} {} {}", batch, done.first, done.last));
    }
}

/// Checks that the log is whole batches in order, each once; returns where each of them is.
fn check_batches(store: &EventStore) -> Vec<(u64, u64, u64, u64)> {
    let mut found: Vec<(u64, u64, u64, u64)> = Vec::new();
    let mut left = 0;
    for event in store.read_all(Position::START) {
        let event = event.unwrap();
        let data = event.data();
        let [round, batch, len, which] =
            [0, 8, 16, 24].map(|at| u64::from_le_bytes(data[at..at + 8].try_into().unwrap()));
        assert_eq!(data, payload(round, batch, len, which));
        if left == 0 {
            left = len;
            let position = event.position().get();
            if let Some(before) = found.last() {
                assert!((round, batch) > (before.0, before.1), "out of order, or twice: {round}/{batch}");
            }
            found.push((round, batch, position, position + len - 1));
        }
        assert_eq!(which, len - left, "a part of a batch at {}", event.position());
        left -= 1;
    }
    assert_eq!(left, 0, "a part of a batch at the end");
    found
}

#[test]
fn whenever_the_writer_is_killed_everything_acknowledged_is_there_in_order_once() {
    const ROUNDS: u64 = 40;
    let seed = 20_261_121;
    println!("seed {seed}");
    let mut rng = Rng::new(seed);
    let dir = tempfile::tempdir().unwrap();
    let mut acknowledged: Vec<(u64, u64, u64, u64)> = Vec::new();
    let mut torn = 0;
    for round in 0..ROUNDS {
        let mut child = Running::start(command("write", dir.path(), round, &[]));
        // In one round of four perhaps while it is still opening.
        if rng.below(4) > 0 {
            child.hears("it opens");
        }
        std::thread::sleep(Duration::from_micros(rng.below(25_000)));
        for line in child.kill() {
            // A line may have been cut by the kill, and then says nothing.
            let numbers: Vec<u64> = line.split(' ').map_while(|number| number.parse().ok()).collect();
            if let [batch, first, last] = numbers[..] {
                acknowledged.push((round, batch, first, last));
            }
        }
        // What was acknowledged durable, or is covered by a later sync, is there for a reader before any recovery.
        if let Ok(reader) = EventStore::open_read_only(dir.path()) {
            check_batches(&reader);
        }
        let Ok(store) = EventStore::open(dir.path(), &small().create(acknowledged.is_empty())) else {
            panic!("round {round}: {:?}", EventStore::open(dir.path(), &small()).unwrap_err());
        };
        torn += u64::from(store.recovery_report().torn.is_some());
        let found = check_batches(&store);
        let lost = acknowledged.iter().find(|batch| !found.contains(batch));
        assert_eq!(lost, None, "round {round}");
        let not_acknowledged = found.len() - acknowledged.len();
        assert!(not_acknowledged as u64 <= round + 1, "at most the batch in hand of each round");
        // From here on it is shown, so it stays.
        acknowledged = found;
    }
    println!("{} batches, {torn} torn tails", acknowledged.len());
    assert!(acknowledged.len() > 200, "only {} batches: the children never got to write", acknowledged.len());
    let report = inspect::verify(dir.path(), |_, _| ()).unwrap();
    assert!(report.is_clean(), "{:?}", report.findings);
    assert!(report.segments > 2, "no roll was ever interrupted");
}

/// Follows the writer, and says each new head once it has read everything up to it.
fn follow(dir: &Path) {
    let store = EventStore::open_read_only(dir).unwrap();
    say("open");
    let mut seen = Position::START;
    loop {
        let reader = store.read_all(seen);
        let head = reader.head();
        for event in reader {
            let event = event.unwrap();
            assert_eq!(event.position(), seen.plus(1));
            assert_eq!(number_of(&event), event.position().get());
            seen = event.position();
        }
        assert_eq!(seen, head);
        let streams = store.streams("").unwrap();
        let sum: u64 = streams.iter().map(|info| info.version.get()).sum();
        assert!(sum >= head.get());
        for info in streams {
            assert_eq!(
                store.read_stream(&info.stream, info.version.before()).unwrap().next().unwrap().unwrap().version(),
                info.version
            );
        }
        say(&head.to_string());
        while store.refresh().unwrap() == head {
            std::thread::sleep(Duration::from_micros(200));
        }
    }
}

#[test]
fn a_reader_process_follows_the_writer_live_over_rolls_and_restarts() {
    let dir = tempfile::tempdir().unwrap();
    let mut store = EventStore::open(dir.path(), &small()).unwrap();
    let child = Running::start(command("follow", dir.path(), 0, &[]));
    assert_eq!(child.hears("it opens"), "open");
    assert_eq!(child.hears("it reads"), "0");
    let mut head: u64 = 0;
    for round in 0..40_u64 {
        for _ in 0..=round % 4 {
            head += 1;
            let mut data = head.to_le_bytes().to_vec();
            data.resize(9000, 1);
            store.append(format!("s-{}", head % 3), Any, NewEvent::new("Numbered", data)).unwrap();
        }
        loop {
            let seen: u64 = child.hears("it follows").parse().unwrap();
            assert!(seen <= head, "it shows what is not there");
            if seen == head {
                break;
            }
        }
        if round % 15 == 14 {
            store.close().unwrap();
            store = EventStore::open(dir.path(), &small()).unwrap();
        }
    }
    assert!(store.stats().segments.len() > 5);
}

/// Appends ten times, and says what came of it.
fn fail(dir: &Path) {
    let store = EventStore::open(dir, &quiet()).unwrap();
    for number in 0..10 {
        match store.append("a", Any, numbered(number)) {
            Ok(_) => say("ok"),
            Err(AppendError::CommitUnknown { cause }) => say(&format!("unknown {:?}", cause.raw_os_error())),
            Err(AppendError::Poisoned { cause }) => say(&format!("poisoned {:?}", cause.raw_os_error())),
            Err(other) => say(&format!("{other:?}")),
        }
    }
    say(&format!("head {}", store.head()));
}

#[test]
fn a_sync_that_the_kernel_fails_is_told_once_as_unknown_and_then_as_poison() {
    let dir = tempfile::tempdir().unwrap();
    let traces = Command::new("strace").args(["-o", "/dev/null", "true"]).stderr(Stdio::null()).status();
    if !traces.is_ok_and(|status| status.success()) {
        println!("skipped: strace is not there, or may not trace");
        return;
    }
    drop(EventStore::open(dir.path(), &quiet()).unwrap());
    // The first sync is the open's, two are the epoch's, one for each slot, and one belongs to each append.
    let inject =
        ["strace", "-f", "-o", "/dev/null", "-e", "trace=fdatasync", "-e", "inject=fdatasync:error=EIO:when=6"];
    let mut child = Running::start(command("fail", dir.path(), 0, &inject));
    let told: Vec<String> = (0..11).map(|_| child.hears("an append")).collect();
    child.child.wait().unwrap();
    let eio = "Some(5)";
    let mut expected = vec!["ok".to_owned(); 2];
    expected.push(format!("unknown {eio}"));
    expected.resize(10, format!("poisoned {eio}"));
    expected.push("head 2".to_owned());
    assert_eq!(told, expected);

    let store = EventStore::open(dir.path(), &quiet()).unwrap();
    let head = store.head();
    assert!(head == pos(2) || head == pos(3), "whole or not at all, and nothing else: {head}");
    let numbers: Vec<u64> = store.read_all(Position::START).map(|event| number_of(&event.unwrap())).collect();
    assert_eq!(numbers, (0..head.get()).collect::<Vec<_>>());
    assert_eq!(store.append("a", Any, numbered(9)).unwrap().last, head.plus(1));
}

/// Opens what it may not write to, in every way.
fn no_permission(dir: &Path) {
    let tell = |result: Result<EventStore, OpenError>| match result {
        Ok(store) => say(&format!("head {}", store.head())),
        Err(OpenError::Io { path, source, .. }) => say(&format!("{:?} {path}", source.kind())),
        Err(other) => say(&format!("{other:?}")),
    };
    tell(EventStore::open(dir.join("new"), &quiet()));
    tell(EventStore::open(dir.join("empty"), &quiet()));
    tell(EventStore::open(dir.join("store"), &quiet()));
    tell(EventStore::open_read_only(dir.join("store")));
    say("done");
}

#[test]
fn without_permission_nothing_is_written_and_reading_still_works() {
    let dir = tempfile::tempdir().unwrap();
    let at = |name: &str| dir.path().join(name);
    std::fs::create_dir(at("empty")).unwrap();
    EventStore::open(at("store"), &quiet()).unwrap().append("a", Any, event("A")).unwrap();
    let close = |path: &Path, mode| std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
    for (path, _) in files_of(dir.path()) {
        close(&path, if path.is_dir() { 0o555 } else { 0o444 });
    }
    close(dir.path(), 0o555);
    let before = files_of(dir.path());
    let mut command = command("no permission", dir.path(), 0, &[]);
    // Permissions do not bind root, so the child is somebody else then.
    let is_root = std::fs::metadata("/proc/self").is_ok_and(|own| std::os::unix::fs::MetadataExt::uid(&own) == 0);
    if is_root {
        command.uid(65_534).gid(65_534).current_dir("/");
    }
    let child = Running::start(command);
    let mut told = Vec::new();
    loop {
        match child.hears("it tries").as_str() {
            "done" => break,
            line => told.push(line.to_owned()),
        }
    }
    let denied = |name: &str| format!("PermissionDenied {}", at(name).join("").display());
    assert_eq!(told, [denied("new"), denied("empty"), denied("store"), "head 1".to_owned()]);
    assert!(files_of(dir.path()) == before, "something was changed");
    close(dir.path(), 0o755);
    for (path, _) in before.iter().filter(|(path, _)| path.is_dir()) {
        close(path, 0o755);
    }
}

#[test]
fn a_reader_process_sees_nothing_of_a_batch_that_is_not_durable() {
    let dir = tempfile::tempdir().unwrap();
    let store = EventStore::open(dir.path(), &quiet().durability(Durability::Buffered)).unwrap();
    let child = Running::start(command("follow", dir.path(), 0, &[]));
    child.hears("it opens");
    assert_eq!(child.hears("it reads"), "0");
    store.append_batch("a", Any, (1..=3).map(numbered)).unwrap();
    assert!(child.lines.recv_timeout(Duration::from_millis(100)).is_err(), "it saw buffered events");
    store.flush().unwrap();
    assert_eq!(child.hears("it follows"), "3");
    assert_eq!(store.stream_version("a").unwrap(), StreamVersion::new(3));
}

/// Opens stores by relative names, and changes the working directory before it uses them.
fn move_elsewhere(dir: &Path) {
    std::env::set_current_dir(dir).unwrap();
    let store = EventStore::open("store", &quiet().segment_bytes(64 << 10)).unwrap();
    let stores = annals::Stores::open("stores", &quiet());
    std::env::set_current_dir(dir.join("elsewhere")).unwrap();
    for _ in 0..300 {
        store.append("a", Any, NewEvent::new("A", vec![7; 1000])).unwrap();
    }
    stores.store("b").unwrap().append("b", Any, event("B")).unwrap();
    store.close().unwrap();
    say("done");
}

#[test]
fn a_process_that_changes_its_working_directory_goes_on_in_the_store_that_it_opened() {
    let dir = tempfile::tempdir().unwrap();
    let elsewhere = dir.path().join("elsewhere/store");
    std::fs::create_dir(dir.path().join("elsewhere")).unwrap();
    EventStore::open(&elsewhere, &quiet()).unwrap().append("a", Any, event("A")).unwrap();
    let before = files_of(&elsewhere);
    let child = Running::start(command("move", dir.path(), 0, &[]));
    assert_eq!(child.hears("what it has done"), "done");
    let store = EventStore::open(dir.path().join("store"), &quiet()).unwrap();
    assert!(store.head() == Position::new(300) && store.stats().segments.len() > 3);
    assert!(inspect::verify(dir.path().join("store"), |_, _| ()).unwrap().is_clean());
    assert!(files_of(&elsewhere) == before);
    assert_eq!(EventStore::open(dir.path().join("stores/b"), &quiet()).unwrap().head(), Position::new(1));
    assert!(!dir.path().join("elsewhere/stores").exists());
}

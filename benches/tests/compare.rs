//! The comparison, with the two engines that need no feature: the program as it is run.

use std::fs;
use std::io::{BufRead, BufReader, Lines, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Output, Stdio};

const PROGRAM: &str = env!("CARGO_BIN_EXE_annals-benches");
const EVENTS: u64 = 10_000;

/// The process of one engine, asked by hand.
struct Engine {
    child: Child,
    commands: ChildStdin,
    answers: Lines<BufReader<ChildStdout>>,
}

impl Engine {
    fn start(name: &str, dir: &Path, life: u64) -> Engine {
        let mut child = Command::new(PROGRAM)
            .args(["--engine-of-a-comparison", name])
            .arg(dir)
            .args([EVENTS.to_string(), life.to_string()])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let (commands, answers) = (child.stdin.take().unwrap(), child.stdout.take().unwrap());
        Engine { child, commands, answers: BufReader::new(answers).lines() }
    }

    fn line(&mut self, command: &str) -> String {
        writeln!(self.commands, "{command}").unwrap();
        self.answers.next().expect("an answer").unwrap()
    }

    /// The numbers of an answer.
    fn ask(&mut self, command: &str) -> Vec<f64> {
        let line = self.line(command);
        let numbers = line.strip_prefix("ok").unwrap_or_else(|| panic!("{command}: {line}"));
        numbers.split_whitespace().map(|number| number.parse().unwrap()).collect()
    }

    /// All that is said of everything.
    fn read_all(&mut self) -> String {
        let line = self.line("read-all");
        // ok SECONDS EVENTS SUM
        line.split_whitespace().skip(2).collect::<Vec<_>>().join(" ")
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn engines_that_were_filled_alike_read_the_same() {
    let dirs = [(); 2].map(|()| tempfile::tempdir().unwrap());
    let [ours, limit] = ["annals", "limit"].map(|name| {
        let mut engine = Engine::start(name, dirs[usize::from(name == "limit")].path(), 1);
        engine.ask("open buffered");
        engine.ask("fill 5000");
        let half = engine.read_all();
        engine.ask("fill 5000");
        engine.ask("close");
        engine.ask("open durable");
        [half, engine.read_all()]
    });
    assert_eq!(ours, limit);
    assert!(ours[0].starts_with("5000 ") && ours[1].starts_with("10000 "), "{ours:?}");
}

#[test]
fn appends_go_on_where_the_last_process_was_killed() {
    let dir = tempfile::tempdir().unwrap();
    let mut first = Engine::start("annals", dir.path(), 1);
    first.ask("open durable");
    let answer = first.ask("append 10 20");
    assert_eq!(answer.len(), 21, "the seconds of all, and the microseconds of each");
    first.child.kill().unwrap();
    first.child.wait().unwrap();

    let mut second = Engine::start("annals", dir.path(), 2);
    second.ask("open durable");
    assert!(second.read_all().starts_with("200 "));
    // Appends say how many events their stream has, so they would conflict.
    second.ask("look-up");
    second.ask("append 1 300");
    second.ask("callers 8 25");
    assert!(second.read_all().starts_with("700 "));
}

#[test]
fn a_stream_and_positions_are_the_same_for_the_same_seed() {
    let dir = tempfile::tempdir().unwrap();
    let mut engine = Engine::start("annals", dir.path(), 1);
    engine.ask("open buffered");
    engine.ask("fill 10000");
    for what in ["streams 20", "positions 200"] {
        let sums = [7, 7, 8].map(|seed| engine.line(&format!("{what} {seed}")).split(' ').nth(2).unwrap().to_owned());
        assert!(sums[0] == sums[1] && sums[1] != sums[2], "{what}: {sums:?}");
    }
}

#[test]
fn an_engine_that_fails_says_why_and_ends() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("store.meta"), "no store").unwrap();
    let mut engine = Engine::start("annals", dir.path(), 1);
    let answer = engine.line("open durable");
    assert!(answer.starts_with("failed ") && answer.contains("store.meta"), "{answer}");
    assert!(!engine.child.wait().unwrap().success());
}

fn compare(args: &[&str]) -> Output {
    Command::new(PROGRAM).arg("compare").args(args).output().unwrap()
}

#[test]
fn a_report_has_every_row_that_was_asked_for_and_keeps_what_was_written_by_hand() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("RESULTS.md");
    let report = || {
        let only = "limit,durable-1,read-again,stream,disk,open-after-kill";
        let output = compare(&["--quick", "--events", "10000", "--only", only, "--report", path.to_str().unwrap()]);
        assert!(output.status.success(), "{output:?}");
        fs::read_to_string(&path).unwrap()
    };
    let first = report();
    for line in ["| engine | 1 event |", "| engine | everything, again | a stream of 94 events |", "| engine | p50 |"] {
        assert!(first.lines().any(|found| found.starts_with(line)), "{line}:\n{first}");
    }
    // The limit has no streams, and both have everything else.
    let reads: Vec<_> = first.lines().filter(|line| line.contains("streams/s") && line.starts_with('|')).collect();
    assert!(reads.len() == 1 && reads[0].starts_with("| annals |"), "{first}");
    assert!(first.lines().any(|line| line.starts_with("| limit |") && line.ends_with("| n/a |")), "{first}");
    assert!(!first.contains("failed"), "{first}");
    assert!(fs::read_to_string(dir.path().join("plots/durable-1.svg")).unwrap().contains(">limit<"));
    assert!(!dir.path().join("plots/durable-10.svg").exists());

    fs::write(&path, format!("{first}\nWhy it is so.\n")).unwrap();
    let second = report();
    assert!(second.ends_with("\nWhy it is so.\n") && second.matches("Above: made by").count() == 1, "{second}");
}

#[test]
fn what_nobody_is_called_is_refused_with_the_names_that_there_are() {
    let output = compare(&["--only", "annals,durable-2"]);
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert!(said.contains("no durable-2") && said.contains("durable-1,") && said.contains("annals, limit"), "{said}");
}

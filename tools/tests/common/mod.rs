//! What the tests of the command share: running the real binary, and segments made by hand.

#![allow(dead_code)] // each test file is a program of its own and uses a part of this

pub(crate) mod segment;

use std::ffi::OsStr;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use serde_json::Value;

/// What a run of the command left behind.
#[derive(Debug)]
pub(crate) struct Ran {
    pub(crate) exit: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Ran {
    /// The run must have ended so.
    #[track_caller]
    pub(crate) fn exits(self, exit: i32) -> Ran {
        assert_eq!(self.exit, Some(exit), "stdout: {}\nstderr: {}", self.stdout, self.stderr);
        assert!(!self.stderr.contains("panicked"), "{}", self.stderr);
        self
    }

    /// Standard error must say this, in one line that begins with the program's name.
    #[track_caller]
    pub(crate) fn says(self, text: &str) -> Ran {
        assert!(self.stderr.contains(text), "no {text:?} in: {}", self.stderr);
        assert!(self.stderr.starts_with("annals: "), "{}", self.stderr);
        assert_eq!(self.stderr.lines().count(), 1, "one line: {}", self.stderr);
        self
    }

    /// The objects on standard output, one a line.
    #[track_caller]
    pub(crate) fn rows(&self) -> Vec<Value> {
        rows(&self.stdout)
    }

    /// The only object on standard output.
    #[track_caller]
    pub(crate) fn row(&self) -> Value {
        let mut rows = self.rows();
        assert_eq!(rows.len(), 1, "{}", self.stdout);
        rows.remove(0)
    }
}

#[track_caller]
pub(crate) fn rows(text: &str) -> Vec<Value> {
    let parse = |line: &str| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"));
    text.lines().map(parse).collect()
}

pub(crate) fn command(args: &[&dyn AsRef<OsStr>]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_annals"));
    command.args(args.iter().map(AsRef::as_ref));
    command
}

pub(crate) fn ran(output: Output) -> Ran {
    Ran {
        exit: output.status.code(),
        stdout: String::from_utf8(output.stdout).expect("output is UTF-8"),
        stderr: String::from_utf8(output.stderr).expect("output is UTF-8"),
    }
}

/// Runs the command to its end, with nothing on standard input.
pub(crate) fn annals(args: &[&dyn AsRef<OsStr>]) -> Ran {
    ran(command(args).stdin(Stdio::null()).output().expect("the command runs"))
}

/// Runs the command to its end with this on standard input.
pub(crate) fn annals_with(input: &[u8], args: &[&dyn AsRef<OsStr>]) -> Ran {
    let mut child = command(args)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the command runs");
    let mut stdin = child.stdin.take().expect("it is piped");
    let input = input.to_vec();
    let feeder = std::thread::spawn(move || {
        // A command that refuses its input early does not read it all.
        _ = stdin.write_all(&input);
    });
    let output = child.wait_with_output().expect("the command ends");
    feeder.join().expect("feeding does not panic");
    ran(output)
}

/// Writes a file below `dir` and gives its path.
pub(crate) fn file(dir: &Path, name: &str, content: impl AsRef<[u8]>) -> PathBuf {
    let path = dir.join(name);
    std::fs::write(&path, content).expect("a temporary file can be written");
    path
}

/// A small random generator (xorshift64*): the same numbers for the same seed.
pub(crate) struct Rng(u64);

impl Rng {
    pub(crate) fn new(seed: u64) -> Rng {
        Rng(seed.wrapping_add(1).wrapping_mul(0x9E37_79B9_7F4A_7C15))
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_F491_4F6C_DD1D)
    }

    pub(crate) fn below(&mut self, bound: usize) -> usize {
        (self.next() >> 16) as usize % bound
    }

    pub(crate) fn bytes(&mut self, len: usize) -> Vec<u8> {
        (0..len).map(|_| self.next() as u8).collect()
    }
}

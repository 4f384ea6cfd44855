//! What the tests of the command share: running the real binary, and segments made by hand.

#![allow(dead_code)] // each test file is a program of its own and uses a part of this

pub(crate) mod attacker;
pub(crate) mod power;
pub(crate) mod schemas;
pub(crate) mod segment;

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fmt::Write as _;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

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

/// Waits until `what` is there, or fails after a while that is long enough for a busy machine.
#[track_caller]
pub(crate) fn wait_for<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let began = Instant::now();
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(began.elapsed() < Duration::from_secs(60), "waited in vain for {what}");
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// The only segment of a store.
#[track_caller]
pub(crate) fn only_segment(store: &Path) -> PathBuf {
    let entries = std::fs::read_dir(store.join("seg")).expect("a store has segments");
    let found: Vec<PathBuf> = entries.map(|entry| entry.expect("it can be listed").path()).collect();
    let segments: Vec<&PathBuf> =
        found.iter().filter(|path| path.extension().is_some_and(|end| end == "seg")).collect();
    assert_eq!(segments.len(), 1, "{found:?}");
    segments[0].clone()
}

/// Every file below `dir`, with its content: to see that nothing was changed.
pub(crate) fn snapshot(dir: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut found = BTreeMap::new();
    let mut folders = vec![dir.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).expect("it can be listed") {
            let path = entry.expect("it can be listed").path();
            if path.is_dir() {
                folders.push(path);
            } else {
                let content = std::fs::read(&path).expect("it can be read");
                found.insert(path, content);
            }
        }
    }
    found
}

/// Lines for `import`: `count` events over a few streams, with data, metadata and tags of many shapes.
pub(crate) fn lines(count: u64) -> String {
    let mut out = String::new();
    for n in 1..=count {
        let stream = format!("account-{}", n % 7);
        let time = format!("2026-01-02T03:04:05.{n:09}Z");
        let data = match n % 4 {
            0 => format!(r#""data":{{"n":{n},"amount":{n}.50}}"#),
            1 => format!(r#""data":[{n},  null]"#),
            2 => r#""data_base64":"AP/+""#.to_owned(),
            _ => r#""data":"text \u00e9 \" é""#.to_owned(),
        };
        let rest = match n % 3 {
            0 => r#","metadata":{"by":"a teller"},"tags":["a","b c"]"#,
            1 => r#","metadata_base64":"","schema_version":3"#,
            _ => "",
        };
        writeln!(out, r#"{{"stream":"{stream}","type":"Type {}","time":"{time}",{data}{rest}}}"#, n % 5)
            .expect("a text grows");
    }
    out
}

/// What must be equal in two logs that took in the same lines: everything but ids and times of recording.
#[track_caller]
pub(crate) fn exported(store: &Path) -> Vec<Value> {
    let mut rows = annals(&[&"export", &store]).exits(0).rows();
    for row in &mut rows {
        let row = row.as_object_mut().expect("a row is an object");
        row.remove("id");
        row.remove("recorded_at");
    }
    rows
}

/// Writes a file below `dir` and gives its path.
pub(crate) fn file(dir: &Path, name: &str, content: impl AsRef<[u8]>) -> PathBuf {
    let path = dir.join(name);
    std::fs::write(&path, content).expect("a temporary file can be written");
    path
}

/// CRC-32/IEEE as it stands in the file, by the book: the tests do not trust what they test.
pub(crate) fn crc32(bytes: &[u8]) -> [u8; 4] {
    let mut crc = !0_u32;
    for &byte in bytes {
        crc ^= u32::from(byte);
        for _ in 0..8 {
            crc = if crc & 1 == 0 { crc >> 1 } else { (crc >> 1) ^ 0xEDB8_8320 };
        }
    }
    [0, 8, 16, 24].map(|shift| (!crc >> shift) as u8)
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

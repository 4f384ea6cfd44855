//! `valgrind` and `strace`: starting this program under them, and reading what they have counted.

use std::collections::{BTreeMap, HashSet};
use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

/// What decides how many instructions a program needs, but for the program.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Tools {
    pub(super) rustc: String,
    pub(super) valgrind: String,
    /// It chooses, by the processor, how memory is copied.
    pub(super) libc: String,
}

impl Tools {
    /// The tools of this machine; an error says which of them is missing.
    pub(super) fn here() -> Result<Tools, String> {
        first_line("strace", &["--version"])?;
        Ok(Tools {
            rustc: first_line("rustc", &["--version"])?,
            valgrind: first_line("valgrind", &["--version"])?,
            libc: first_line("getconf", &["GNU_LIBC_VERSION"])?,
        })
    }
}

fn first_line(program: &str, args: &[&str]) -> Result<String, String> {
    let output = Command::new(program).args(args).output().map_err(|error| format!("{program}: {error}"))?;
    let text = String::from_utf8_lossy(&output.stdout);
    text.lines().next().map(|line| line.trim().to_owned()).ok_or_else(|| format!("{program} says nothing"))
}

/// What callgrind has counted.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Counted {
    pub(super) instructions: u64,
    pub(super) allocations: u64,
}

/// How many instructions this program executes when it is started with `args`, and how often it allocates.
pub(super) fn instructions(args: &[String]) -> Result<Counted, String> {
    let dir = tempfile::tempdir().map_err(|error| error.to_string())?;
    let out = dir.path().join("counts");
    let mut valgrind = undisturbed("valgrind");
    valgrind.args(["--tool=callgrind", "--quiet"]).arg(format!("--callgrind-out-file={}", out.display()));
    start(valgrind, args)?;
    read_counts(&read(&out)?).ok_or_else(|| "callgrind has counted nothing".to_owned())
}

/// Starts a program at the same addresses each time, where that may be chosen: hash maps take their seeds from them, and a path that
/// looks up a hundred streams needs up to a tenth more instructions with one seed than with another.
fn undisturbed(program: &str) -> Command {
    let may_choose = Command::new("setarch").args(["-R", "true"]).output().is_ok_and(|output| output.status.success());
    if !may_choose {
        return Command::new(program);
    }
    let mut chosen = Command::new("setarch");
    chosen.args(["-R", program]);
    chosen
}

/// Reads callgrind's file. A function is named once, `fn=(7) malloc`, and later called by its number;
/// what is called stands in a line `cfn=`, and how often in the next, `calls=`.
fn read_counts(file: &str) -> Option<Counted> {
    const ALLOCATORS: [&str; 5] = ["malloc", "calloc", "realloc", "posix_memalign", "aligned_alloc"];
    let (mut allocators, mut is_allocator, mut allocations) = (HashSet::new(), false, 0);
    for line in file.lines() {
        if let Some(function) = line.strip_prefix("cfn=").or_else(|| line.strip_prefix("fn=")) {
            let (number, name) = function.split_once(' ').unwrap_or((function, ""));
            if ALLOCATORS.contains(&name) {
                allocators.insert(number);
            }
            is_allocator = allocators.contains(number);
        } else if let Some(calls) = line.strip_prefix("calls=").filter(|_| is_allocator) {
            allocations += calls.split(' ').next()?.parse::<u64>().ok()?;
        }
    }
    let total = file.lines().find_map(|line| line.strip_prefix("totals: "))?;
    Some(Counted { instructions: total.trim().parse().ok()?, allocations })
}

/// How often this program's first thread makes each system call when it is started with `args`.
pub(super) fn system_calls(args: &[String]) -> Result<BTreeMap<String, u64>, String> {
    let dir = tempfile::tempdir().map_err(|error| error.to_string())?;
    let mut strace = Command::new("strace");
    // A file for each thread.
    strace.args(["-ff", "-o"]).arg(dir.path().join("calls"));
    start(strace, args)?;
    for entry in fs::read_dir(dir.path()).map_err(|error| error.to_string())? {
        let calls = read(&entry.map_err(|error| error.to_string())?.path())?;
        if calls.starts_with("execve(") {
            return Ok(count_calls(&calls));
        }
    }
    Err("strace has seen no program start".to_owned())
}

/// How often each name stands before a parenthesis. Lines of signals and exits begin otherwise.
///
/// `brk` is left out: when the allocator asks for more of the heap is nobody's doing.
fn count_calls(trace: &str) -> BTreeMap<String, u64> {
    let mut calls = BTreeMap::new();
    for line in trace.lines() {
        if let Some((name, _)) = line.split_once('(')
            && !["", "brk"].contains(&name)
            && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
        {
            *calls.entry(name.to_owned()).or_insert(0) += 1;
        }
    }
    calls
}

fn start(mut under: Command, args: &[String]) -> Result<(), String> {
    let this = std::env::current_exe().map_err(|error| format!("the path of this program: {error}"))?;
    let tool = under.get_program().to_string_lossy().into_owned();
    let status =
        under.arg(this).args(args).stdout(Stdio::null()).status().map_err(|error| format!("{tool}: {error}"))?;
    if status.success() { Ok(()) } else { Err(format!("{tool} {}: {status}", args.join(" "))) }
}

fn read(path: &Path) -> Result<String, String> {
    fs::read_to_string(path).map_err(|error| format!("{}: {error}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn callgrind_counts_instructions_and_calls_of_the_allocator() {
        let file = "fn=(1) main\n12 3\ncfn=(2) malloc\ncalls=5 0\n1 400\ncfn=(3) malloc_usable_size\ncalls=9 0\n\
                    fn=(2)\n3 4\ncfn=(4) mmap\ncalls=1 0\n\
                    fn=(5) other\ncfn=(2)\ncalls=2 0\n7 7\ntotals: 1234\n";
        assert_eq!(read_counts(file), Some(Counted { instructions: 1234, allocations: 7 }));
    }

    #[test]
    fn calls_are_counted_by_name_and_signals_and_exits_are_not() {
        let trace = "execve(\"/bin/true\", [], 0x7ffd) = 0\n\
                     brk(NULL) = 0x55d0\n\
                     pwrite64(3, \"a(b\", 3, 0) = 3\n\
                     pwrite64(3, \"c\", 1, 3) = 1\n\
                     --- SIGCHLD {si_signo=SIGCHLD (x)} ---\n\
                     exit_group(0) = ?\n\
                     +++ exited with 0 (x) +++\n";
        let expected = [("execve", 1), ("exit_group", 1), ("pwrite64", 2)];
        assert_eq!(count_calls(trace), BTreeMap::from(expected.map(|(name, count)| (name.to_owned(), count))));
    }
}

//! How a child is ended, and the tracer that ends it at a system call.

use std::fmt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use super::dice::Dice;

/// How a life ends.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Way {
    /// It appends what it has to append, and closes the store.
    Completes,
    /// SIGKILL, so long after the store was open.
    KilledAfter(Duration),
    /// SIGKILL, so long after it was started: perhaps while it opens the store.
    KilledInOpen(Duration),
    /// SIGKILL instead of a system call.
    KilledAt {
        /// Which call.
        call: Call,
        /// The how manieth such call of one thread.
        nth: u32,
    },
    /// A system call fails, and nothing of it is done.
    Fails {
        /// Which call.
        call: Call,
        /// With which error.
        error: Injected,
        /// The how manieth such call of one thread.
        nth: u32,
        /// And so many more after it.
        more: u32,
    },
}

/// The system calls at which a child is ended: all by which it changes the disk.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub enum Call {
    /// Writing at an offset.
    Pwrite,
    /// Syncing a file.
    Fdatasync,
    /// Syncing a directory.
    Fsync,
    /// Reserving space.
    Fallocate,
    /// Giving a file its name.
    Rename,
    /// Cutting a file, or extending it.
    Ftruncate,
    /// Making a file, or opening one.
    Open,
    /// Removing a file.
    Unlink,
    /// Starting to write out.
    SyncFileRange,
}

impl Call {
    /// All of them.
    pub const ALL: [Call; 9] = [
        Call::Pwrite,
        Call::Fdatasync,
        Call::Fsync,
        Call::Fallocate,
        Call::Rename,
        Call::Ftruncate,
        Call::Open,
        Call::Unlink,
        Call::SyncFileRange,
    ];
    /// Those that can fail without the process being unable to start.
    const FAILING: [Call; 8] = [
        Call::Pwrite,
        Call::Fdatasync,
        Call::Fsync,
        Call::Fallocate,
        Call::Rename,
        Call::Ftruncate,
        Call::Unlink,
        Call::SyncFileRange,
    ];

    /// What it is called.
    pub fn name(self) -> &'static str {
        match self {
            Call::Pwrite => "pwrite64",
            Call::Fdatasync => "fdatasync",
            Call::Fsync => "fsync",
            Call::Fallocate => "fallocate",
            Call::Rename => "rename",
            Call::Ftruncate => "ftruncate",
            Call::Open => "openat",
            Call::Unlink => "unlink",
            Call::SyncFileRange => "sync_file_range",
        }
    }

    /// As strace wants it: what is one call on one machine is another on the next.
    fn set(self) -> &'static str {
        match self {
            Call::Rename => "?rename,?renameat,?renameat2",
            Call::Unlink => "?unlink,?unlinkat",
            Call::SyncFileRange => "?sync_file_range,?sync_file_range2",
            other => other.name(),
        }
    }
}

/// The errors that are injected.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub enum Injected {
    /// The disk fails.
    Eio,
    /// The disk is full.
    Enospc,
}

impl Injected {
    /// What it is called.
    pub fn name(self) -> &'static str {
        match self {
            Injected::Eio => "EIO",
            Injected::Enospc => "ENOSPC",
        }
    }
}

impl Way {
    /// Its kind, for counting.
    pub(super) fn kind(self) -> String {
        match self {
            Way::Completes => "nothing".to_owned(),
            Way::KilledAfter(_) => "kill, at work".to_owned(),
            Way::KilledInOpen(_) => "kill, from the start".to_owned(),
            Way::KilledAt { call, .. } => format!("kill at {}", call.name()),
            Way::Fails { call, error, .. } => format!("{} from {}", error.name(), call.name()),
        }
    }
}

impl fmt::Display for Way {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Way::Completes => write!(out, "runs to its end"),
            Way::KilledAfter(delay) => write!(out, "killed {delay:?} after it was open"),
            Way::KilledInOpen(delay) => write!(out, "killed {delay:?} after it was started"),
            Way::KilledAt { call, nth } => write!(out, "killed instead of {} number {nth}", call.name()),
            Way::Fails { call, error, nth, more } => {
                write!(out, "{} from {} number {nth} and {more} after it", error.name(), call.name())
            }
        }
    }
}

/// Which ways are gone.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Ways {
    /// Kills at some time.
    pub time: bool,
    /// Kills at a system call.
    pub call: bool,
    /// Errors of system calls.
    pub error: bool,
}

impl Ways {
    /// All of them.
    pub const ALL: Ways = Ways { time: true, call: true, error: true };

    /// Whether any of them needs a tracer.
    pub fn need_tracer(self) -> bool {
        self.call || self.error
    }

    /// Chooses one; `early` is one that is likely to strike while the store is being opened.
    pub(super) fn choose(self, dice: &mut Dice, early: bool) -> Way {
        let mut some = Vec::new();
        some.extend(self.time.then_some(0));
        some.extend(self.call.then_some(1));
        some.extend(self.error.then_some(2));
        if some.is_empty() || dice.chance(4) {
            return Way::Completes;
        }
        let nth = |dice: &mut Dice, call| dice.magnitude(if early { most(call).min(8) } else { most(call) }) as u32;
        match dice.one_of(&some) {
            0 if early || dice.chance(10) => Way::KilledInOpen(Duration::from_micros(dice.below(8_000))),
            0 => Way::KilledAfter(Duration::from_micros(dice.magnitude(1 << 16))),
            1 => {
                let call = dice.one_of(&Call::ALL);
                Way::KilledAt { call, nth: nth(dice, call) }
            }
            _ => {
                let call = dice.one_of(&Call::FAILING);
                let error = dice.one_of(&[Injected::Eio, Injected::Enospc]);
                let more = if dice.chance(50) { 0 } else { dice.magnitude(16) as u32 };
                Way::Fails { call, error, nth: nth(dice, call), more }
            }
        }
    }
}

/// About how often one thread makes such a call in its life: what is more rarely reached kills nobody.
fn most(call: Call) -> u64 {
    match call {
        Call::Pwrite => 60,
        Call::Fdatasync | Call::Open => 30,
        _ => 6,
    }
}

/// strace, where it is there and may trace.
#[derive(Clone, Copy, Debug)]
pub struct Tracer {
    /// Whether the kernel can be told which calls to stop at, and all others are as fast as ever. Good for
    /// errors alone: where strace (6.1) stops in this way, it sends no signal.
    filters: bool,
}

impl Tracer {
    /// Looks for it.
    pub fn find() -> Option<Tracer> {
        let works = |extra: &[&str]| {
            let mut command = Command::new("strace");
            command.args(["-f", "-qq", "-o", "/dev/null"]).args(extra);
            command.args(["-e", "trace=fsync", "-e", "inject=fsync:error=EIO:when=1", "true"]);
            command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
            command.status().is_ok_and(|status| status.success())
        };
        works(&[]).then(|| Tracer { filters: works(&["--seccomp-bpf"]) })
    }

    /// The same command under the tracer, which writes what it did to `trace`. As it is, where the way needs none.
    pub(super) fn wrap(self, way: Way, command: &Command, trace: &Path) -> Option<Command> {
        let (call, what, when) = match way {
            Way::KilledAt { call, nth } => (call, "signal=KILL".to_owned(), nth.to_string()),
            Way::Fails { call, error, nth, more: 0 } => (call, format!("error={}", error.name()), nth.to_string()),
            Way::Fails { call, error, nth, more } => {
                (call, format!("error={}", error.name()), format!("{nth}..{}", nth + more))
            }
            Way::Completes | Way::KilledAfter(_) | Way::KilledInOpen(_) => return None,
        };
        let mut wrapped = Command::new("strace");
        wrapped.args(["-f", "-qq", "-y", "-s", "0", "-e", "signal=none", "-o"]).arg(trace);
        if self.filters && matches!(way, Way::Fails { .. }) {
            wrapped.arg("--seccomp-bpf");
        }
        let set = call.set();
        wrapped.args(["-e", &format!("trace={set}"), "-e", &format!("inject={set}:{what}:when={when}")]);
        wrapped.arg(command.get_program()).args(command.get_args());
        wrapped.stdin(Stdio::null()).stdout(Stdio::piped());
        Some(wrapped)
    }
}

//! The arguments of `annals torture`.

use std::path::PathBuf;

/// How to torture, and how long.
#[derive(Debug, clap::Args)]
#[expect(clippy::struct_excessive_bools, reason = "these are flags")]
pub(crate) struct TortureArgs {
    /// Everything follows from it: the same seed does the same again
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub(crate) seed: u64,
    /// How many stories to tell; each has a seed of its own, from --seed upwards [default: 100000, with
    /// --exhaustive 200]
    #[arg(long, value_name = "COUNT")]
    pub(crate) stories: Option<u64>,
    /// On how many threads [default: as many as there are cores]
    #[arg(long, value_name = "COUNT", value_parser = clap::value_parser!(u32).range(1..=1024))]
    pub(crate) threads: Option<u32>,
    /// Every way in which a short story can go wrong, for --stories COUNT such stories
    #[arg(long)]
    pub(crate) exhaustive: bool,
    /// With --exhaustive: of the recoveries, interrupt one in so many at each of its own operations. With 1, all
    /// of them, which takes minutes a story
    #[arg(long, value_name = "COUNT", requires = "exhaustive", default_value_t = 50, value_parser = clap::value_parser!(u64).range(1..))]
    pub(crate) interrupt_one_in: u64,
    /// Break the engine in this way first: the harness has to find it
    #[cfg(feature = "planted-bugs")]
    #[arg(long, value_name = "BUG", value_parser = parse_bug)]
    pub(crate) plant: Option<annals::planted::Bug>,
    /// Tell this one story, and show every operation of its disk
    #[arg(long, value_name = "TEXT", conflicts_with_all = ["exhaustive", "stories", "seed", "threads"])]
    pub(crate) story: Option<String>,
    /// Cut the power below a real file system: ext4 over a disk that records every write (Linux, root)
    #[arg(long, group = "real", conflicts_with_all = ["exhaustive", "stories", "story", "threads"])]
    pub(crate) power: bool,
    /// With --power: how many times to cut it
    #[arg(long, value_name = "COUNT", requires = "power", default_value_t = 200)]
    pub(crate) cuts: u64,
    /// With --power: the disk forgets flushes. Events must get lost, and that must be found
    #[arg(long, requires = "power")]
    pub(crate) lying_disk: bool,
    /// Kill real processes that append to a store on a real disk, and let their system calls fail
    #[arg(long, group = "real", conflicts_with_all = ["exhaustive", "stories", "story", "threads"])]
    pub(crate) process: bool,
    /// With --process: how many processes at most
    #[arg(long, value_name = "COUNT", requires = "process", default_value_t = 300)]
    pub(crate) lives: u64,
    /// With --process: for how long at most
    #[arg(long, value_name = "SECONDS", requires = "process")]
    pub(crate) seconds: Option<u64>,
    /// With --process: where to do it, so that it is your disk that is tried; with --power: where to leave the
    /// disks and logs of broken promises [default: a temporary directory]
    #[arg(long, value_name = "DIR", requires = "real")]
    pub(crate) dir: Option<PathBuf>,
}

#[cfg(feature = "planted-bugs")]
fn parse_bug(name: &str) -> Result<annals::planted::Bug, String> {
    let bugs = annals::planted::Bug::ALL;
    let names = || bugs.map(|bug| format!("{bug:?}")).join(", ");
    bugs.into_iter().find(|bug| format!("{bug:?}") == name).ok_or_else(|| format!("one of {}", names()))
}

pub(crate) const HELP: &str = "\
A story is a few appends, retries, conflicts, flushes and rolls on a simulated disk, which
dies, fails, fills up or loses its power at some operation, in up to four lives of one
store. What is left is opened and compared with what was acknowledged: nothing
acknowledged is lost, no batch is torn, nothing that was dropped returns, every way of
reading agrees, a retry is found if and only if it survived. In one story of four somebody
follows the log: consumers with checkpoints, projections with snapshots, subscriptions that
wait. Each is given every event once; no checkpoint and no snapshot is ahead of the disk, and
what resumes equals what is built anew.

A story that breaks a promise is printed with its seed, and made as short as it can be.
Show it again, operation by operation:
  annals torture --story 'disk 1: sync a10, stop 19, lose least'

With --power the disk is simulated, and everything above it is real: a store is filled on
ext4, on a loop device over a disk that records each write and flush. Then the power goes,
at moments chosen by the seed: of what was not flushed, anything may be kept, in any
order, and torn by sectors. What is left is mounted, opened and compared with what had
been acknowledged; sometimes a writer goes on from there, and the power goes again. No
device of yours is touched, and nothing is left mounted.

With --process nothing is simulated. Processes append from several threads, and say what
they are told; they are killed at some moment, or instead of their n-th write, sync,
rename and so on, or one of these calls fails with EIO or ENOSPC; and again while they
recover from that. The kills and errors at system calls need strace. What is found is
kept, with all that was said, in --dir; otherwise nothing is left there.

This tries the engine, not your data: it touches no file of yours.";

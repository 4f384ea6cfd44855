//! A disk that remembers everything it was asked to do, in a process of its own.
//!
//! ```text
//!  driver: file system on /dev/loopN ──► kernel ──► FUSE ──► disk process: image, recording, cuts
//!     └──────────── questions and answers, one line of JSON each, through its stdin and stdout ┘
//! ```
//!
//! It is a process of its own because a process that waits for a file system
//! cannot be killed before that answers: one that served itself could wait
//! for ever. When the driver is gone, the disk sees its input end, and goes.

mod fuse;
mod serve;

use std::io::{self, BufRead as _, BufReader, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::cut::{Cut, Lost};
use super::recording::Counts;

pub(crate) use serve::serve;

/// What a disk can be asked.
#[derive(Debug, Deserialize, Serialize)]
enum Ask {
    /// Be a file of this name. Where is the file system with it?
    Mount { name: String, bytes: u64 },
    /// Take the mount point away; whoever has opened the file keeps it.
    Detach,
    /// How much was asked of you since the last change of image?
    Stamp,
    /// What was recorded since the last change of image: keep it under this number. Go on recording anew.
    Keep { slot: usize },
    /// Of a kept recording: how much is it?
    Counts { slot: usize },
    /// Of a kept recording: where are its flushes?
    Flushes { slot: usize },
    /// Become what this loss of power left of a kept recording.
    Cut { slot: usize, cut: Cut },
    /// Whether these bytes were written since the last change of image, and flushed.
    IsFlushed { needle: String },
    /// From now on answer flushes, and do not obey them.
    Disobey,
    /// Write what you hold into a file.
    Save { path: PathBuf },
}

/// How far a disk has come.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub(super) struct Stamp {
    /// Records since the last change of image.
    pub(super) records: usize,
    /// How often its first block was read since.
    pub(super) begun: u64,
}

/// A disk, from the driver's side. It ends when this is dropped.
#[derive(Debug)]
pub(super) struct Disk {
    process: Child,
    asks: Option<ChildStdin>,
    answers: BufReader<ChildStdout>,
    /// The file that it is, while there is a mount point.
    file: Option<PathBuf>,
}

impl Disk {
    /// Starts a disk of this many bytes, all zeros: `command` is what runs [`serve`].
    pub(super) fn start(command: &mut Command, bytes: u64) -> io::Result<Disk> {
        let mut process = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
        let (asks, answers) = (process.stdin.take(), process.stdout.take());
        let answers = BufReader::new(answers.ok_or_else(|| io::Error::other("the disk has no output"))?);
        let mut disk = Disk { process, asks, answers, file: None };
        // Whoever lists loop devices sees whose it is.
        let name = format!("annals-torture-{}", std::process::id());
        let dir: PathBuf = disk.ask(&Ask::Mount { name: name.clone(), bytes })?;
        disk.file = Some(dir.join(name));
        Ok(disk)
    }

    fn ask<T: DeserializeOwned>(&mut self, ask: &Ask) -> io::Result<T> {
        let Some(asks) = &mut self.asks else { return Err(io::Error::other("the disk was stopped")) };
        let mut line = serde_json::to_string(ask)?;
        line.push('\n');
        asks.write_all(line.as_bytes())?;
        line.clear();
        if self.answers.read_line(&mut line)? == 0 {
            return Err(io::Error::other("the process that is the disk has ended"));
        }
        serde_json::from_str::<Result<T, String>>(&line)?.map_err(io::Error::other)
    }

    /// The file that is the disk, until [`Disk::detach`].
    pub(super) fn file(&self) -> Option<&Path> {
        self.file.as_deref()
    }

    /// Takes the mount point away: only who has opened the file still reaches it.
    pub(super) fn detach(&mut self) -> io::Result<()> {
        self.file = None;
        self.ask(&Ask::Detach)
    }

    /// How far it has come.
    pub(super) fn stamp(&mut self) -> io::Result<Stamp> {
        self.ask(&Ask::Stamp)
    }

    /// Keeps what was recorded under a number, and goes on recording anew, over what it holds now.
    pub(super) fn keep(&mut self, slot: usize) -> io::Result<Counts> {
        self.ask::<()>(&Ask::Keep { slot })?;
        self.ask(&Ask::Counts { slot })
    }

    /// Where the flushes are in a kept recording.
    pub(super) fn flushes(&mut self, slot: usize) -> io::Result<Vec<usize>> {
        self.ask(&Ask::Flushes { slot })
    }

    /// Becomes what a loss of power left of a kept recording, and records anew. Nothing may be mounted.
    pub(super) fn cut(&mut self, slot: usize, cut: Cut) -> io::Result<Lost> {
        self.ask(&Ask::Cut { slot, cut })
    }

    /// Whether this text was written since the last change of image, and a flush came behind it.
    pub(super) fn is_flushed(&mut self, needle: &str) -> io::Result<Option<bool>> {
        self.ask(&Ask::IsFlushed { needle: needle.to_owned() })
    }

    /// From now on it answers flushes without obeying them.
    pub(super) fn disobey(&mut self) -> io::Result<()> {
        self.ask(&Ask::Disobey)
    }

    /// Writes what it holds into a file, sparsely.
    pub(super) fn save(&mut self, path: &Path) -> io::Result<()> {
        self.ask(&Ask::Save { path: path.to_owned() })
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        // Its input ends, and with that the process. An error would mean that it is gone already.
        self.asks = None;
        _ = self.process.wait();
    }
}

//! The process that is the disk: answers questions until there are no more.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, BufRead as _, Write as _};
use std::sync::Arc;

use fuser::{BackgroundSession, Config, MountOption, Session};
use parking_lot::Mutex;
use rustix::mount::{UnmountFlags, unmount};
use serde::Serialize;
use tempfile::TempDir;

use super::fuse::{OneFile, State};
use super::{Ask, Stamp};
use crate::torture::power::cut::Cutter;
use crate::torture::power::image::Image;
use crate::torture::power::recording::Recording;

/// Is a disk: reads questions from standard input and answers them on standard output, until there are no more.
pub(crate) fn serve() -> io::Result<()> {
    let mut disk =
        Server { state: Arc::new(Mutex::new(State::new(Image::new(0)))), kept: BTreeMap::new(), mount: None };
    let mut answers = io::stdout().lock();
    for ask in io::stdin().lock().lines() {
        let answer = disk.answer(serde_json::from_str(&ask?)?)?;
        writeln!(answers, "{answer}")?;
    }
    Ok(())
}

struct Server {
    state: Arc<Mutex<State>>,
    kept: BTreeMap<usize, Cutter>,
    mount: Option<Mount>,
}

impl Server {
    /// The answer, as a line of JSON.
    fn answer(&mut self, ask: Ask) -> serde_json::Result<String> {
        match ask {
            Ask::Mount { name, bytes } => line(self.mount(name, bytes)),
            Ask::Detach => line(self.mount.as_mut().map_or(Ok(()), Mount::detach)),
            Ask::Stamp => {
                let state = self.state.lock();
                line(Ok(Stamp { records: state.recording.records.len(), begun: state.begun }))
            }
            Ask::Keep { slot } => {
                let recording = self.state.lock().begin_anew();
                self.kept.insert(slot, Cutter::new(recording));
                line(Ok(()))
            }
            Ask::Counts { slot } => line(self.kept(slot).map(|kept| kept.recording().counts())),
            Ask::Flushes { slot } => line(self.kept(slot).map(|kept| kept.recording().flushes())),
            Ask::Cut { slot, cut } => {
                let cut = self.kept(slot).map(|kept| kept.cut(&cut));
                line(cut.map(|(image, lost)| {
                    *self.state.lock() = State::new(image);
                    lost
                }))
            }
            Ask::IsFlushed { needle } => line(Ok(self.state.lock().recording.is_flushed(needle.as_bytes()))),
            Ask::Disobey => {
                self.state.lock().is_disobedient = true;
                line(Ok(()))
            }
            Ask::Save { path } => {
                let image = self.state.lock().image.clone();
                line(File::create(path).and_then(|file| image.save(&file)))
            }
        }
    }

    fn kept(&mut self, slot: usize) -> io::Result<&mut Cutter> {
        self.kept.get_mut(&slot).ok_or_else(|| io::Error::other(format!("there is no recording {slot}")))
    }

    fn mount(&mut self, name: String, bytes: u64) -> io::Result<std::path::PathBuf> {
        *self.state.lock() = State::new(Image::new(bytes));
        let dir = tempfile::Builder::new().prefix("annals-torture-disk-").tempdir()?;
        let mut config = Config::default();
        config.mount_options = vec![MountOption::FSName("annals-torture".to_owned())];
        let session = Session::new(OneFile::new(name, Arc::clone(&self.state)), dir.path(), &config)?.spawn()?;
        let path = dir.path().to_owned();
        self.mount = Some(Mount { _session: session, dir: Some(dir) });
        Ok(path)
    }
}

fn line<T: Serialize>(answer: io::Result<T>) -> serde_json::Result<String> {
    serde_json::to_string(&answer.map_err(|error| error.to_string()))
}

/// The file system with the one file.
struct Mount {
    _session: BackgroundSession,
    /// Where it is mounted. Only until the loop device has opened the file.
    dir: Option<TempDir>,
}

impl Mount {
    fn detach(&mut self) -> io::Result<()> {
        let Some(dir) = self.dir.take() else { return Ok(()) };
        unmount(dir.path(), UnmountFlags::DETACH)?;
        dir.close()
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        // At the end there is nobody to tell.
        _ = self.detach();
    }
}

impl State {
    /// What was recorded; from here on a new recording is made, over what the disk holds now.
    fn begin_anew(&mut self) -> Recording {
        let anew = Recording::new(self.image.clone());
        std::mem::replace(&mut self.recording, anew)
    }
}

//! The simulated disk, with everything that is asked of it written down, index files that
//! can be refused, and two writers of them that can be made to meet.

use std::io;
use std::ops::Range;
use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

use annals::storage::sim::SimDisk;
use annals::storage::{Access, File, LockError, LockGuard, Mapping, Provenance, Storage};
use annals::{EventStore, Options};

/// Something that was asked of the disk.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) enum Asked {
    Open(String),
    Read(String, Range<u64>),
    /// Anything that changes the disk.
    Change(String),
}

#[derive(Clone, Debug)]
pub(crate) struct Watched {
    pub(crate) disk: SimDisk,
    shared: Arc<Shared>,
}

#[derive(Debug, Default)]
struct Shared {
    asked: Mutex<Vec<Asked>>,
    /// Of which file, and which range of it, writing was to begin.
    writebacks: Mutex<Vec<(String, Range<u64>)>>,
    /// What happens elsewhere while a segment is read: after each read of one.
    meanwhile: Mutex<Option<Meanwhile>>,
    /// What everything that is asked about an index file ends with.
    refused: Mutex<Option<io::ErrorKind>>,
    meeting: Mutex<Meeting>,
    news: Condvar,
}

struct Meanwhile(Box<dyn FnMut() + Send>);

impl std::fmt::Debug for Meanwhile {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Meanwhile")
    }
}

/// Two threads that write an index file at the same time.
#[derive(Debug, Default)]
struct Meeting {
    is_wanted: bool,
    arrived: u32,
    /// The path and the bytes of each index file as it got its name.
    renamed: Vec<(String, Vec<u8>)>,
}

impl Watched {
    pub(crate) fn new(disk: SimDisk) -> Watched {
        Watched { disk, shared: Arc::default() }
    }

    pub(crate) fn open(&self, options: &Options) -> EventStore {
        EventStore::open_on(Arc::new(self.clone()), options).unwrap()
    }

    pub(crate) fn open_read_only(&self) -> EventStore {
        EventStore::open_read_only_on(Arc::new(self.clone())).unwrap()
    }

    /// What was asked since somebody wanted to know.
    pub(crate) fn asked(&self) -> Vec<Asked> {
        std::mem::take(&mut self.shared.asked.lock().unwrap())
    }

    /// Of which files, and which ranges of them, writing was to begin so far.
    pub(crate) fn writebacks(&self) -> Vec<(String, Range<u64>)> {
        self.shared.writebacks.lock().unwrap().clone()
    }

    pub(crate) fn refuse_indexes(&self, error: io::ErrorKind) {
        *self.shared.refused.lock().unwrap() = Some(error);
    }

    /// Has something happen elsewhere after each read of a segment's file.
    pub(crate) fn meanwhile(&self, happens: impl FnMut() + Send + 'static) {
        *self.shared.meanwhile.lock().unwrap() = Some(Meanwhile(Box::new(happens)));
    }

    /// The first who writes an index file waits for a second one, who waits until the first is done.
    pub(crate) fn have_two_writers_meet(&self) {
        self.shared.meeting.lock().unwrap().is_wanted = true;
    }

    pub(crate) fn renamed(&self) -> Vec<(String, Vec<u8>)> {
        self.shared.meeting.lock().unwrap().renamed.clone()
    }

    fn ask(&self, asked: Asked) -> io::Result<()> {
        let (Asked::Open(path) | Asked::Read(path, _) | Asked::Change(path)) = &asked;
        let refused = self.shared.refused.lock().unwrap().filter(|_| path.starts_with("idx"));
        self.shared.asked.lock().unwrap().push(asked);
        refused.map_or(Ok(()), |error| Err(error.into()))
    }

    fn watch(&self, path: &str, file: Arc<dyn File>) -> Arc<dyn File> {
        Arc::new(WatchedFile { path: path.to_owned(), file, by: self.clone() })
    }

    fn meet(&self, path: &str) {
        const PATIENCE: Duration = Duration::from_secs(10);
        let mut meeting = self.shared.meeting.lock().unwrap();
        if !meeting.is_wanted || !path.starts_with("idx/") {
            return;
        }
        meeting.arrived += 1;
        self.shared.news.notify_all();
        let news = &self.shared.news;
        match meeting.arrived {
            1 => drop(news.wait_timeout_while(meeting, PATIENCE, |meeting| meeting.arrived < 2).unwrap()),
            2 => drop(news.wait_timeout_while(meeting, PATIENCE, |meeting| meeting.renamed.is_empty()).unwrap()),
            _ => {}
        }
    }
}

impl Storage for Watched {
    fn lock(&self) -> Result<Box<dyn LockGuard>, LockError> {
        self.disk.lock()
    }
    fn create_dir(&self, dir: &str) -> io::Result<()> {
        self.ask(Asked::Change(dir.to_owned()))?;
        self.disk.create_dir(dir)
    }
    fn list(&self, dir: &str) -> io::Result<Vec<String>> {
        self.ask(Asked::Open(dir.to_owned()))?;
        self.disk.list(dir)
    }
    fn create(&self, path: &str) -> io::Result<Arc<dyn File>> {
        self.ask(Asked::Change(path.to_owned()))?;
        self.disk.create(path).map(|file| self.watch(path, file))
    }
    fn open(&self, path: &str, access: Access) -> io::Result<Arc<dyn File>> {
        self.ask(Asked::Open(path.to_owned()))?;
        self.disk.open(path, access).map(|file| self.watch(path, file))
    }
    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        self.ask(Asked::Change(to.to_owned()))?;
        let bytes = self.disk.read_file(from).unwrap_or_default();
        self.disk.rename(from, to)?;
        if to.starts_with("idx/") {
            self.shared.meeting.lock().unwrap().renamed.push((to.to_owned(), bytes));
            self.shared.news.notify_all();
        }
        Ok(())
    }
    fn remove(&self, path: &str) -> io::Result<()> {
        self.ask(Asked::Change(path.to_owned()))?;
        self.disk.remove(path)
    }
    fn sync_dir(&self, dir: &str) -> io::Result<()> {
        self.ask(Asked::Change(dir.to_owned()))?;
        self.disk.sync_dir(dir)
    }
    fn describe(&self, path: &str) -> String {
        self.disk.describe(path)
    }
}

#[derive(Debug)]
struct WatchedFile {
    path: String,
    file: Arc<dyn File>,
    by: Watched,
}

impl WatchedFile {
    fn read(&self, offset: u64, len: usize) -> io::Result<()> {
        self.by.ask(Asked::Read(self.path.clone(), offset..offset + len as u64))
    }
    fn change(&self) -> io::Result<()> {
        self.by.ask(Asked::Change(self.path.clone()))
    }
}

impl File for WatchedFile {
    fn len(&self) -> io::Result<u64> {
        self.file.len()
    }
    fn read_at(&self, offset: u64, buf: &mut [u8]) -> io::Result<usize> {
        self.read(offset, buf.len())?;
        let read = self.file.read_at(offset, buf)?;
        if self.path.starts_with("seg/")
            && let Some(meanwhile) = &mut *self.by.shared.meanwhile.lock().unwrap()
        {
            meanwhile.0();
        }
        Ok(read)
    }
    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<usize> {
        self.change()?;
        self.by.meet(&self.path);
        self.file.write_at(offset, bytes)
    }
    fn set_len(&self, len: u64) -> io::Result<()> {
        self.change()?;
        self.file.set_len(len)
    }
    fn allocate(&self, offset: u64, len: u64) -> io::Result<()> {
        self.change()?;
        self.file.allocate(offset, len)
    }
    fn sync(&self) -> io::Result<()> {
        self.change()?;
        self.file.sync()
    }
    fn start_writeback(&self, offset: u64, len: u64) {
        self.by.shared.writebacks.lock().unwrap().push((self.path.clone(), offset..offset + len));
        self.file.start_writeback(offset, len);
    }
    fn read_from_disk(&self, offset: u64, buf: &mut [u8]) -> io::Result<(usize, Provenance)> {
        self.read(offset, buf.len())?;
        self.file.read_from_disk(offset, buf)
    }
    fn map(&self, len: u64) -> io::Result<Option<Mapping>> {
        self.file.map(len)
    }
}

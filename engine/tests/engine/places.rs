//! Where the tests of behaviour keep their stores: every kind of storage that a
//! store can stand on, and a disk whose syncs can be held up and counted.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::Duration;

use annals::storage::sim::SimDisk;
use annals::storage::{Access, File, LockError, LockGuard, Mapping, Provenance, Storage};
use annals::{Clock, EventStore, NewEvent, OpenError, Options, Position, Reader, RecordedEvent, StreamVersion};

/// A place for one store, which can be opened there again and again.
#[derive(Debug)]
pub(crate) enum Place {
    Mapped(tempfile::TempDir),
    Pread(tempfile::TempDir),
    Simulated(SimDisk),
}

impl Place {
    pub(crate) fn all() -> [Place; 3] {
        let dir = || tempfile::tempdir().unwrap();
        [Place::Mapped(dir()), Place::Pread(dir()), Place::Simulated(SimDisk::new(7))]
    }

    pub(crate) fn try_open(&self, options: &Options) -> Result<EventStore, OpenError> {
        match self {
            Place::Mapped(dir) => EventStore::open(dir.path(), options),
            Place::Pread(dir) => EventStore::open(dir.path(), &options.clone().pread(true)),
            Place::Simulated(disk) => EventStore::open_on(Arc::new(disk.clone()), options),
        }
    }

    pub(crate) fn open(&self, options: &Options) -> EventStore {
        self.try_open(options).unwrap_or_else(|error| panic!("{self:?}: {error:?}"))
    }

    pub(crate) fn try_read(&self) -> Result<EventStore, OpenError> {
        match self {
            Place::Mapped(dir) => EventStore::open_read_only(dir.path()),
            Place::Pread(dir) => EventStore::open_read_only_with(dir.path(), &Options::new().pread(true)),
            Place::Simulated(disk) => EventStore::open_read_only_on(Arc::new(disk.clone())),
        }
    }
}

/// Runs `check` on every kind of storage.
pub(crate) fn on_every_kind(check: impl Fn(&Place)) {
    for place in Place::all() {
        println!("on {place:?}"); // shown when the check fails
        check(&place);
    }
}

/// Runs `check` on a new store of every kind, and on one made by `in_memory`.
pub(crate) fn on_every_store(options: &Options, check: impl Fn(&EventStore)) {
    on_every_kind(|place| check(&place.open(options)));
    println!("in memory");
    check(&EventStore::in_memory(options).unwrap());
}

/// Small segments and no thread: what happens is what the test does.
pub(crate) fn quiet() -> Options {
    Options::new().segment_bytes(64 << 10).background(false)
}

pub(crate) fn event(event_type: &str) -> NewEvent {
    NewEvent::new(event_type, "{}")
}

/// An event whose payload is this number.
pub(crate) fn numbered(number: u64) -> NewEvent {
    NewEvent::new("Numbered", number.to_le_bytes().to_vec())
}

pub(crate) fn number_of(event: &RecordedEvent) -> u64 {
    u64::from_le_bytes(event.data()[..8].try_into().unwrap())
}

pub(crate) fn pos(position: u64) -> Position {
    Position::new(position)
}

pub(crate) fn ver(version: u64) -> StreamVersion {
    StreamVersion::new(version)
}

pub(crate) fn positions(reader: Reader) -> Vec<u64> {
    reader.map(|event| event.unwrap().position().get()).collect()
}

pub(crate) fn versions(reader: Reader) -> Vec<u64> {
    reader.map(|event| event.unwrap().version().get()).collect()
}

pub(crate) fn types(reader: Reader) -> Vec<String> {
    reader.map(|event| event.unwrap().event_type().to_owned()).collect()
}

/// The whole log, as text that is easy to compare: `stream/version/type` of each event.
pub(crate) fn whole(store: &EventStore) -> Vec<String> {
    store
        .read_all(Position::START)
        .map(|event| {
            let event = event.unwrap();
            format!("{}/{}/{}", event.stream(), event.version(), event.event_type())
        })
        .collect()
}

/// Every file below a directory with its bytes, to see that nothing was changed.
pub(crate) fn files_of(dir: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.push((path.clone(), Vec::new()));
            found.extend(files_of(&path));
        } else {
            let bytes = std::fs::read(&path).unwrap();
            found.push((path, bytes));
        }
    }
    found.sort();
    found
}

/// Runs `work` on a thread of its own and waits for it: a hang fails the test instead of stopping it.
pub(crate) fn without_hanging<T: Send + 'static>(what: &str, work: impl FnOnce() -> T + Send + 'static) -> T {
    let (send, receive) = channel();
    let thread = std::thread::spawn(move || {
        let _ = send.send(work());
    });
    match receive.recv_timeout(Duration::from_secs(20)) {
        Ok(done) => done,
        Err(RecvTimeoutError::Timeout) => panic!("{what}: hangs"),
        Err(RecvTimeoutError::Disconnected) => std::panic::resume_unwind(thread.join().unwrap_err()),
    }
}

/// Waits until `is_so`, or fails.
pub(crate) fn wait_until(what: &str, mut is_so: impl FnMut() -> bool) {
    for _ in 0..2000 {
        if is_so() {
            return;
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    panic!("never happened: {what}");
}

/// A clock that is set by hand.
#[derive(Debug, Default)]
pub(crate) struct HandClock(pub(crate) AtomicI64);

impl Clock for HandClock {
    fn now(&self) -> i64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// Small and quick, the same course for the same seed.
#[derive(Debug)]
pub(crate) struct Rng(u64);

impl Rng {
    pub(crate) fn new(seed: u64) -> Rng {
        Rng(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1)
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0.wrapping_mul(0x2545_F491_4F6C_DD1D)
    }

    pub(crate) fn below(&mut self, n: u64) -> u64 {
        (self.next() >> 11) % n
    }
}

/// The simulated disk, with reads and syncs of segments that are counted, and syncs that can be held up.
#[derive(Clone, Debug)]
pub(crate) struct HeldDisk {
    disk: SimDisk,
    hold: Arc<Hold>,
}

#[derive(Debug, Default)]
pub(crate) struct Hold {
    syncs: AtomicU64,
    reads: AtomicU64,
    /// While it is locked, syncs of segments wait.
    door: std::sync::Mutex<()>,
    waiting: AtomicU64,
    /// Ranges of segments that read as zeros once, the last one first: what a reader sees
    /// that is overtaken by a writer.
    pub(crate) late: std::sync::Mutex<Vec<std::ops::Range<u64>>>,
}

impl Hold {
    /// How many syncs of segments there were.
    pub(crate) fn syncs(&self) -> u64 {
        self.syncs.load(Ordering::SeqCst)
    }

    /// How many reads of segments `work` takes. Short events are read one at a time.
    pub(crate) fn reads_of<T>(&self, work: impl FnOnce() -> T) -> (T, u64) {
        let before = self.reads.load(Ordering::SeqCst);
        let done = work();
        (done, self.reads.load(Ordering::SeqCst) - before)
    }

    /// Holds up every sync of a segment until the guard is dropped.
    pub(crate) fn close(&self) -> std::sync::MutexGuard<'_, ()> {
        self.door.lock().unwrap()
    }

    /// Waits until somebody is held up.
    pub(crate) fn wait_for_visitor(&self) {
        wait_until("somebody syncs", || self.waiting.load(Ordering::SeqCst) > 0);
    }
}

impl HeldDisk {
    pub(crate) fn new() -> (HeldDisk, Arc<Hold>) {
        let hold = Arc::new(Hold::default());
        (HeldDisk { disk: SimDisk::new(3), hold: Arc::clone(&hold) }, hold)
    }

    pub(crate) fn open(&self, options: &Options) -> EventStore {
        EventStore::open_on(Arc::new(self.clone()), options).unwrap()
    }

    fn hold(&self, path: &str, file: Arc<dyn File>) -> Arc<dyn File> {
        if path.starts_with("seg/") { Arc::new(HeldFile { file, hold: Arc::clone(&self.hold) }) } else { file }
    }
}

impl Storage for HeldDisk {
    fn lock(&self) -> Result<Box<dyn LockGuard>, LockError> {
        self.disk.lock()
    }
    fn create_dir(&self, dir: &str) -> io::Result<()> {
        self.disk.create_dir(dir)
    }
    fn list(&self, dir: &str) -> io::Result<Vec<String>> {
        self.disk.list(dir)
    }
    fn create(&self, path: &str) -> io::Result<Arc<dyn File>> {
        self.disk.create(path).map(|file| self.hold(path, file))
    }
    fn open(&self, path: &str, access: Access) -> io::Result<Arc<dyn File>> {
        self.disk.open(path, access).map(|file| self.hold(path, file))
    }
    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        self.disk.rename(from, to)
    }
    fn remove(&self, path: &str) -> io::Result<()> {
        self.disk.remove(path)
    }
    fn sync_dir(&self, dir: &str) -> io::Result<()> {
        self.disk.sync_dir(dir)
    }
    fn describe(&self, path: &str) -> String {
        self.disk.describe(path)
    }
}

#[derive(Debug)]
struct HeldFile {
    file: Arc<dyn File>,
    hold: Arc<Hold>,
}

impl File for HeldFile {
    fn len(&self) -> io::Result<u64> {
        self.file.len()
    }
    fn read_at(&self, offset: u64, buf: &mut [u8]) -> io::Result<usize> {
        self.hold.reads.fetch_add(1, Ordering::SeqCst);
        let read = self.file.read_at(offset, buf)?;
        let mut late = self.hold.late.lock().unwrap();
        let end = offset + read as u64;
        if let Some(range) = late.pop_if(|range| range.start >= offset && range.end <= end) {
            buf[(range.start - offset) as usize..(range.end - offset) as usize].fill(0);
        }
        Ok(read)
    }
    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<usize> {
        self.file.write_at(offset, bytes)
    }
    fn set_len(&self, len: u64) -> io::Result<()> {
        self.file.set_len(len)
    }
    fn allocate(&self, offset: u64, len: u64) -> io::Result<()> {
        self.file.allocate(offset, len)
    }
    fn sync(&self) -> io::Result<()> {
        self.hold.waiting.fetch_add(1, Ordering::SeqCst);
        let door = self.hold.door.lock().unwrap();
        self.hold.waiting.fetch_sub(1, Ordering::SeqCst);
        self.hold.syncs.fetch_add(1, Ordering::SeqCst);
        drop(door);
        self.file.sync()
    }
    fn start_writeback(&self, offset: u64, len: u64) {
        self.file.start_writeback(offset, len);
    }
    fn read_from_disk(&self, offset: u64, buf: &mut [u8]) -> io::Result<(usize, Provenance)> {
        self.file.read_from_disk(offset, buf)
    }
    fn map(&self, len: u64) -> io::Result<Option<Mapping>> {
        self.file.map(len)
    }
}

/// The receiving end of something that is to happen, with a limit.
pub(crate) fn soon<T>(what: &str, receiver: &Receiver<T>) -> T {
    receiver.recv_timeout(Duration::from_secs(20)).unwrap_or_else(|error| panic!("{what}: {error}"))
}

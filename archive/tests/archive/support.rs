//! Stores that roll after a few events, archives of them, and object stores that fail on purpose.

use std::fmt;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use annals::{Durability, EventStore, ExpectedVersion, Guard, NewEvent, Options, Position};
use annals_archive::object_store::memory::InMemory;
use annals_archive::object_store::path::Path as ObjectPath;
use annals_archive::object_store::{
    CopyOptions, Error, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta, ObjectStore,
    ObjectStoreExt as _, PutMultipartOptions, PutOptions, PutPayload, PutResult, Result,
};
use annals_archive::{Archive, Cache};
use async_trait::async_trait;
use futures_util::StreamExt as _;
use futures_util::stream::BoxStream;
use tempfile::TempDir;

/// The least that is allowed, so that few events fill a segment.
pub(crate) const SEGMENT_BYTES: u64 = 64 << 10;

/// Events that have different lengths, ids and streams; each tells its position.
pub(crate) fn event(position: u64) -> NewEvent {
    let len = 3000 + (position * 37 % 3000) as usize;
    let mut data = position.to_string().into_bytes();
    data.resize(len, b'.');
    NewEvent::new("Happened", data)
}

pub(crate) fn stream(position: u64) -> String {
    format!("stream-{}", position % 7)
}

pub(crate) fn options() -> Options {
    Options::new().segment_bytes(SEGMENT_BYTES).background(false).durability(Durability::Buffered)
}

/// A store, an archive and a cache in directories of one home.
pub(crate) struct Home {
    place: TempDir,
    pub(crate) store: Option<EventStore>,
    next: u64,
}

impl Home {
    pub(crate) fn new() -> Home {
        Home::with(&options())
    }

    pub(crate) fn with(options: &Options) -> Home {
        let home = tempfile::tempdir().unwrap();
        let store = EventStore::open(home.path().join("store"), options).unwrap();
        Home { place: home, store: Some(store), next: 1 }
    }

    /// One with so many events.
    pub(crate) fn of(events: u64) -> Home {
        let mut home = Home::new();
        home.append(events);
        home
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.place.path().join(name)
    }

    pub(crate) fn dir(&self) -> PathBuf {
        self.path("store")
    }

    pub(crate) fn store(&self) -> &EventStore {
        self.store.as_ref().expect("the store is open")
    }

    pub(crate) fn append(&mut self, events: u64) {
        append_to(self.store(), self.next, events);
        self.next += events;
    }

    pub(crate) fn head(&self) -> u64 {
        self.next - 1
    }

    pub(crate) fn archive(&self) -> Archive {
        Archive::open(self.path("archive").to_str().unwrap()).unwrap()
    }

    pub(crate) fn cache(&self) -> Cache {
        Cache::new(self.path("cache"), 64 << 20).unwrap()
    }

    /// The store and its archive, read as one.
    pub(crate) fn all(&self) -> EventStore {
        self.archive().open_read_only(self.dir(), &self.cache()).unwrap()
    }

    /// Archives, and removes here what comes before `before`, as far as it is archived.
    pub(crate) fn drop_before(&self, before: u64) -> u64 {
        let archive = self.archive();
        archive.send(self.dir(), |_, _| ()).unwrap();
        let done = archive.drop_local(self.store(), self.dir(), Position::new(before), Guard::Consumers, |_, _| ());
        done.unwrap().truncation.segments
    }

    /// How many segments are here.
    pub(crate) fn segments(&self) -> usize {
        names_in(&self.dir().join("seg")).len()
    }
}

pub(crate) fn append_to(store: &EventStore, from: u64, events: u64) {
    for position in from..from + events {
        store.append(stream(position), ExpectedVersion::Any, event(position)).unwrap();
    }
    // One sync for all: readers in other processes are shown what is durable.
    store.flush().unwrap();
}

/// The names in a directory, in order.
pub(crate) fn names_in(dir: &Path) -> Vec<String> {
    let Ok(entries) = std::fs::read_dir(dir) else { return Vec::new() };
    let mut names: Vec<String> =
        entries.map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned()).collect();
    names.sort();
    names
}

/// Every file below a directory with its content.
pub(crate) fn files_below(dir: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    let mut found = Vec::new();
    for name in names_in(dir) {
        let path = dir.join(name);
        if path.is_dir() {
            found.extend(files_below(&path));
        } else {
            found.push((path.clone(), std::fs::read(&path).unwrap()));
        }
    }
    found
}

/// Asserts that a store gives every event up to `head`, in whatever way it is asked.
#[track_caller]
pub(crate) fn must_hold_all(store: &EventStore, head: u64) {
    assert_eq!(store.head().get(), head);
    let mut expected = 1..=head;
    for found in store.read_all(Position::START) {
        let found = found.unwrap();
        let position = expected.next().expect("no more events than were appended");
        assert_eq!(found.position().get(), position);
        assert_eq!(found.stream(), stream(position));
        assert!(found.data().starts_with(format!("{position}.").as_bytes()), "event {position} holds something else");
    }
    assert_eq!(expected.next(), None, "events are missing from the end");
    let backward: Vec<u64> =
        store.read_all(Position::END).backward().map(|found| found.unwrap().position().get()).collect();
    assert!(backward.iter().copied().eq((1..=head).rev()), "backward: {backward:?}");
    let of_stream = store.read_stream("stream-3", annals::StreamVersion::EMPTY).unwrap();
    let of_stream: Vec<u64> = of_stream.map(|found| found.unwrap().position().get()).collect();
    assert!(of_stream.iter().copied().eq((1..=head).filter(|position| position % 7 == 3)), "stream-3: {of_stream:?}");
}

/// What is done to a request.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Fault {
    /// It is refused, and nothing is done.
    Refuse,
    /// It is done, and the answer is lost.
    LoseAnswer,
    /// An object is put, or given, without its second half.
    Cut,
    /// The process ends before it.
    Kill,
}

/// An object store whose `n`th request, from 0, fails in some way.
pub(crate) struct Faulty {
    inner: Arc<dyn ObjectStore>,
    at: u64,
    fault: Fault,
    asked: AtomicU64,
    /// What happens, once, right behind a list.
    behind_list: Arc<Mutex<Option<Meanwhile>>>,
}

type Meanwhile = Box<dyn FnOnce() + Send>;

impl Faulty {
    pub(crate) fn new(inner: Arc<dyn ObjectStore>, at: u64, fault: Fault) -> Arc<Faulty> {
        Arc::new(Faulty { inner, at, fault, asked: AtomicU64::new(0), behind_list: Arc::default() })
    }

    /// One that never fails.
    pub(crate) fn counting(inner: Arc<dyn ObjectStore>) -> Arc<Faulty> {
        Faulty::new(inner, u64::MAX, Fault::Refuse)
    }

    /// One that never fails, and behind whose first list something happens.
    pub(crate) fn with_list_hook(inner: Arc<dyn ObjectStore>, meanwhile: Meanwhile) -> Arc<Faulty> {
        let faulty = Faulty::counting(inner);
        *faulty.behind_list.lock().unwrap() = Some(meanwhile);
        faulty
    }

    /// How many requests there were.
    pub(crate) fn asked(&self) -> u64 {
        self.asked.load(Ordering::SeqCst)
    }

    fn fault(&self) -> Option<Fault> {
        let is_now = self.asked.fetch_add(1, Ordering::SeqCst) == self.at;
        if is_now && self.fault == Fault::Kill {
            std::process::abort();
        }
        is_now.then_some(self.fault)
    }
}

fn lost() -> Error {
    Error::Generic { store: "Faulty", source: "the connection was reset, on purpose".into() }
}

impl fmt::Display for Faulty {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "faulty {}", self.inner)
    }
}

impl fmt::Debug for Faulty {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, out)
    }
}

#[async_trait]
impl ObjectStore for Faulty {
    async fn put_opts(&self, at: &ObjectPath, content: PutPayload, options: PutOptions) -> Result<PutResult> {
        match self.fault() {
            Some(Fault::Refuse) => Err(lost()),
            Some(Fault::LoseAnswer) => self.inner.put_opts(at, content, options).await.and(Err(lost())),
            Some(Fault::Cut) => {
                let half: bytes::Bytes = content.into();
                let half = half.slice(..half.len() / 2);
                self.inner.put_opts(at, half.into(), options).await.and(Err(lost()))
            }
            _ => self.inner.put_opts(at, content, options).await,
        }
    }

    async fn put_multipart_opts(
        &self,
        at: &ObjectPath,
        options: PutMultipartOptions,
    ) -> Result<Box<dyn MultipartUpload>> {
        self.inner.put_multipart_opts(at, options).await
    }

    async fn get_opts(&self, at: &ObjectPath, options: GetOptions) -> Result<GetResult> {
        match self.fault() {
            Some(Fault::Refuse | Fault::LoseAnswer) => Err(lost()),
            Some(Fault::Cut) => {
                let whole = self.inner.get_opts(at, options).await?;
                let len = whole.meta.size;
                let half = GetOptions { range: Some((0..(len / 2).max(1)).into()), ..GetOptions::default() };
                self.inner.get_opts(at, half).await
            }
            _ => self.inner.get_opts(at, options).await,
        }
    }

    async fn get_ranges(&self, at: &ObjectPath, ranges: &[Range<u64>]) -> Result<Vec<bytes::Bytes>> {
        self.inner.get_ranges(at, ranges).await
    }

    fn delete_stream(&self, at: BoxStream<'static, Result<ObjectPath>>) -> BoxStream<'static, Result<ObjectPath>> {
        self.inner.delete_stream(at)
    }

    fn list(&self, prefix: Option<&ObjectPath>) -> BoxStream<'static, Result<ObjectMeta>> {
        match self.fault() {
            Some(_) => futures_util::stream::iter([Err(lost())]).boxed(),
            None => {
                let (listed, hook) = (self.inner.list(prefix), Arc::clone(&self.behind_list));
                let behind = futures_util::stream::once(async move {
                    let meanwhile = hook.lock().unwrap().take();
                    if let Some(meanwhile) = meanwhile {
                        meanwhile();
                    }
                });
                listed.chain(behind.filter_map(|()| async { None })).boxed()
            }
        }
    }

    async fn list_with_delimiter(&self, prefix: Option<&ObjectPath>) -> Result<ListResult> {
        match self.fault() {
            Some(_) => Err(lost()),
            None => self.inner.list_with_delimiter(prefix).await,
        }
    }

    async fn copy_opts(&self, from: &ObjectPath, to: &ObjectPath, options: CopyOptions) -> Result<()> {
        self.inner.copy_opts(from, to, options).await
    }
}

/// What is in an object store: names and contents.
pub(crate) fn objects(store: &Arc<dyn ObjectStore>) -> Vec<(String, bytes::Bytes)> {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(async {
        let listed: Vec<_> = store.list(None).collect().await;
        let mut found = Vec::new();
        for object in listed {
            let object = object.unwrap();
            let content = store.get(&object.location).await.unwrap().bytes().await.unwrap();
            found.push((object.location.to_string(), content));
        }
        found.sort();
        found
    })
}

/// Replaces what an object holds.
pub(crate) fn overwrite(store: &Arc<dyn ObjectStore>, name: &str, content: Vec<u8>) {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(async { store.put(&ObjectPath::from(name), content.into()).await.unwrap() });
}

/// Removes an object.
pub(crate) fn remove(store: &Arc<dyn ObjectStore>, name: &str) {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(async { store.delete(&ObjectPath::from(name)).await.unwrap() });
}

pub(crate) fn in_memory() -> Arc<dyn ObjectStore> {
    Arc::new(InMemory::new())
}

pub(crate) fn archive_on(store: Arc<dyn ObjectStore>) -> Archive {
    Archive::on(store, "", "memory").unwrap()
}

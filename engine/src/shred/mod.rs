//! Personal data that can be made unreadable for ever: a key for each subject, and its destruction.
//!
//! A log only grows, and so do its backups; what is in one of them cannot be taken out of all. So what may have to be
//! forgotten is encrypted with a key of the person or customer it is about, its *subject*, and the keys lie in a
//! directory of their own, a *ring*, which no backup of the log takes along. Once the key is destroyed, what it
//! encrypted is noise: in the log, in its copies, and in what was archived.
//!
//! ```
//! use annals::shred::{Content, KeyRing};
//! use annals::{EventStore, ExpectedVersion, NewEvent, Options, Position};
//!
//! # let dir = tempfile::tempdir()?;
//! let store = EventStore::open(dir.path().join("log"), &Options::new())?;
//! let keys = KeyRing::open(dir.path().join("keys"))?;
//!
//! let moved = NewEvent::new("CustomerMoved", r#"{"to": "12 Quiet Street"}"#);
//! store.append("customer-42", ExpectedVersion::Any, keys.encrypt("customer-42", moved)?)?;
//!
//! let event = store.get(Position::new(1))?.expect("one event");
//! let Content::Readable(payload) = keys.decrypt(&event.as_event())? else { panic!("it is destroyed") };
//! assert_eq!(&*payload.data, br#"{"to": "12 Quiet Street"}"#);
//!
//! keys.destroy("customer-42")?;
//! assert!(matches!(keys.decrypt(&event.as_event())?, Content::Shredded { .. }));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # Shredding or redaction
//!
//! [`EventStore::redact`](crate::EventStore::redact) takes a payload out of the files of one store, and needs nothing to be done
//! before it was written. It does not reach copies that are elsewhere, and it leaves a digest: who can guess the payload can
//! check his guess. Destroying a key reaches every copy at once and leaves nothing to guess by, but has to be prepared when the
//! event is written. Encrypt what you know to be personal; redact what should never have been written in the clear.
//!
//! # What is encrypted, and what is not
//!
//! The payload and the metadata are. **The stream, the type, the tags, the times and the ids are not**: the store
//! has to find events by them. Put nothing there that may have to be forgotten; a customer number is better than a name.
//!
//! # Promises
//!
//! - A key is on the disk before anything that it encrypted can be: no crash leaves events that nobody can read.
//! - When [`destroy`](KeyRing::destroy) returns, the key's bytes on the disk were overwritten and synced. A
//!   crash in the middle leaves the key whole, destroyed, or unusable and saying that it has to be destroyed again.
//! - The key of a destroyed subject is not made anew, or later events would look like forgotten ones that came back.
//! - Encrypting the same event again gives the same bytes, so retries are recognised (by id or key) as without
//!   encryption. It tells who reads the log that two payloads of one subject and type are equal, and how long they are.
//! - A payload that was altered, or put under another type, is refused.
//!
//! # What a disk may keep
//!
//! Overwriting a file's bytes in place is what a program can do. A file system that copies on write (btrfs, ZFS), a
//! snapshot of it, and an SSD's spare blocks may keep the old ones for a while. Keep the ring where none of them is
//! taken, or on a volume that is itself encrypted.

mod cipher;

pub use annals_codec::Subject;
pub use annals_codec::subject::{SubjectFault, SubjectHandle};

use std::borrow::Cow;
use std::fmt;
use std::io;
use std::path::Path;
use std::sync::Arc;

use annals_codec::subject::{Envelope, KeyFile, KeyState, RingFile};
use annals_codec::{ContentType, Event, IntoName, NameError};
use bytes::Bytes;
use hashbrown::HashMap;
use zeroize::Zeroizing;

use self::cipher::{Key, Part};
use crate::clock::{Clock, SystemClock};
use crate::event::NewEvent;
use crate::log::active::is_full;
use crate::log::small_files::{create_dirs, create_whole, list_whole, read_whole, write_all, write_whole};
use crate::storage::disk::DiskStorage;
use crate::storage::{Access, LockError, LockGuard, Storage};
use crate::sync::Mutex;

const RING: &str = "ring";
const SUBJECTS: &str = "subjects";

/// A disk's sector: the key is in the first one of its file.
const SECTOR: usize = KeyFile::LEN / 2;

/// So many keys stay in memory.
const MOST_CACHED: usize = 1 << 16;

/// Why something was not encrypted, decrypted or destroyed.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum KeyError {
    /// The subject's name is none.
    #[error(transparent)]
    InvalidName(#[from] NameError),
    /// The subject's key was destroyed; no new one is made.
    #[error("the key of subject {subject} was destroyed: nothing more can be encrypted for it")]
    Destroyed {
        /// The subject.
        subject: Subject,
        /// When: nanoseconds since 1970 UTC.
        destroyed_at: i64,
    },
    /// The event is encrypted already.
    #[error("the event is encrypted already")]
    AlreadyEncrypted,
    /// No key of that handle is in the ring: it is another ring, or an older copy of it, or the file was removed.
    #[error("{ring} has no key {handle}: is it another ring, or an older copy of this one?")]
    Unknown {
        /// The ring.
        ring: String,
        /// Names the key.
        handle: SubjectHandle,
    },
    /// The payload is not what was encrypted: it was altered, or put into another event.
    #[error("the payload was altered since it was encrypted")]
    Altered,
    /// A file of the ring is damaged, or of a later version.
    #[error("{path}: {fault}")]
    Damaged {
        /// The file.
        path: String,
        /// What is wrong with it.
        fault: SubjectFault,
    },
    /// There is no ring in the directory.
    #[error("{path}: there is no ring of keys here")]
    NotFound {
        /// The directory.
        path: String,
    },
    /// The file with the ring's secret is missing, and the keys are there: without it no subject can be found.
    #[error("{path} is missing, and keys are there: bring it back from a copy of the ring")]
    SecretMissing {
        /// The file.
        path: String,
    },
    /// The ring was opened read-only.
    #[error("the ring is open for reading only")]
    ReadOnly,
    /// Another program has the ring open.
    #[error("the ring is open in {}", pid.map_or_else(|| "another program".to_owned(), |pid| format!("process {pid}")))]
    AlreadyOpen {
        /// Its process, when it said so.
        pid: Option<u32>,
    },
    /// The disk refused. A ring whose new key could not be written makes no more keys until it is opened again.
    #[error("cannot {action} {path}")]
    Io {
        /// What was tried.
        action: &'static str,
        /// On which file.
        path: String,
        /// What the operating system says.
        source: Arc<io::Error>,
    },
}

/// A ring of keys, one for each subject.
///
/// One program has it open for encrypting and destroying, any number of others for reading.
pub struct KeyRing {
    storage: Arc<dyn Storage>,
    secret: Key,
    clock: Arc<dyn Clock>,
    /// `None`: for reading only.
    writer: Option<Mutex<Cache>>,
}

impl fmt::Debug for KeyRing {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("KeyRing").field("dir", &self.storage.describe("")).finish_non_exhaustive()
    }
}

/// The keys that were needed lately, while nobody else can destroy one.
#[derive(Debug)]
struct Cache {
    keys: HashMap<SubjectHandle, Key>,
    /// Why nobody knows any more which keys are on the disk.
    in_doubt: Option<KeyError>,
    _lock: Box<dyn LockGuard>,
}

/// What an event's payload is.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Content<'a> {
    /// It can be read: it was decrypted, or was never encrypted.
    Readable(Readable<'a>),
    /// The key was destroyed. Nobody can read it any more.
    Shredded {
        /// When: nanoseconds since 1970 UTC.
        destroyed_at: i64,
    },
}

/// A payload, as it was before it was encrypted.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Readable<'a> {
    /// The payload.
    pub data: Cow<'a, [u8]>,
    /// What was said beside it.
    pub metadata: Option<Cow<'a, [u8]>>,
    /// How it is encoded.
    pub content_type: ContentType,
}

/// One key of a ring.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct KeyInfo {
    /// Names it, in events.
    pub handle: SubjectHandle,
    /// What is left of it.
    pub status: KeyStatus,
}

/// What is left of a key.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum KeyStatus {
    /// It can be used.
    Live {
        /// Whose it is.
        subject: Subject,
        /// When it was made: nanoseconds since 1970 UTC.
        created_at: i64,
    },
    /// It was destroyed, and whose it was is not known any more.
    Destroyed {
        /// When: nanoseconds since 1970 UTC.
        destroyed_at: i64,
    },
    /// Its file cannot be read.
    Damaged(SubjectFault),
}

impl KeyRing {
    /// Opens the ring in `dir` for encrypting and destroying. Makes the directory and the ring, if there is none. Its files can be
    /// read by their owner alone.
    ///
    /// # Errors
    ///
    /// [`KeyError::AlreadyOpen`], [`KeyError::Damaged`], [`KeyError::SecretMissing`], [`KeyError::Io`].
    pub fn open(dir: impl AsRef<Path>) -> Result<KeyRing, KeyError> {
        KeyRing::open_on(Arc::new(DiskStorage::new(dir.as_ref()).private()))
    }

    /// As [`open`](KeyRing::open), on any storage.
    ///
    /// # Errors
    ///
    /// As [`open`](KeyRing::open).
    pub fn open_on(storage: Arc<dyn Storage>) -> Result<KeyRing, KeyError> {
        let lock = storage.lock().map_err(|error| match error {
            LockError::Held { pid } => KeyError::AlreadyOpen { pid },
            LockError::Io(error) => failed(&*storage, "lock", "")(error),
        })?;
        create_dirs(&*storage, SUBJECTS).map_err(failed(&*storage, "create", SUBJECTS))?;
        let secret = match read_ring(&*storage)? {
            Some(secret) => secret,
            None => make_ring(&*storage)?,
        };
        // The names of files that whoever died before this did not get to sync.
        for dir in [SUBJECTS, ""] {
            storage.sync_dir(dir).map_err(failed(&*storage, "sync", dir))?;
        }
        let writer = Some(Mutex::new(Cache { keys: HashMap::new(), in_doubt: None, _lock: lock }));
        Ok(KeyRing { storage, secret, clock: Arc::new(SystemClock), writer })
    }

    /// Opens the ring in `dir` for decrypting, while another program may encrypt and destroy. A key that is destroyed
    /// there is gone here at once.
    ///
    /// # Errors
    ///
    /// [`KeyError::NotFound`], [`KeyError::Damaged`], [`KeyError::SecretMissing`], [`KeyError::Io`].
    pub fn open_read_only(dir: impl AsRef<Path>) -> Result<KeyRing, KeyError> {
        KeyRing::open_read_only_on(Arc::new(DiskStorage::new(dir.as_ref())))
    }

    /// As [`open_read_only`](KeyRing::open_read_only), on any storage.
    ///
    /// # Errors
    ///
    /// As [`open_read_only`](KeyRing::open_read_only).
    pub fn open_read_only_on(storage: Arc<dyn Storage>) -> Result<KeyRing, KeyError> {
        let secret = read_ring(&*storage)?.ok_or_else(|| KeyError::NotFound { path: storage.describe("") })?;
        Ok(KeyRing { storage, secret, clock: Arc::new(SystemClock), writer: None })
    }

    /// Encrypts the payload and the metadata of an event with the key of `subject`, which is made if there is none
    /// yet, and is on the disk when this returns.
    ///
    /// Everything else of the event stays as it is, and readable by everybody.
    ///
    /// # Errors
    ///
    /// [`KeyError::Destroyed`], [`KeyError::AlreadyEncrypted`], [`KeyError::InvalidName`], [`KeyError::ReadOnly`],
    /// [`KeyError::Damaged`], [`KeyError::Io`].
    pub fn encrypt(&self, subject: impl IntoName<Subject>, mut event: NewEvent) -> Result<NewEvent, KeyError> {
        let subject = subject.into_name()?;
        if event.content_type == ContentType::ENCRYPTED {
            return Err(KeyError::AlreadyEncrypted);
        }
        let Some(event_type) = &event.event_type else { return Ok(event) };
        let writer = self.writer.as_ref().ok_or(KeyError::ReadOnly)?;
        let handle = self.handle(&subject);
        let key = self.key_to_encrypt(&mut writer.lock(), handle, &subject)?;
        let envelope = Envelope { content_type: event.content_type, handle }.encode();
        let bound = [&envelope[..], event_type.as_bytes()].concat();
        event.data = Bytes::from(key.encrypt(Part::Data, &bound, &envelope, &event.data));
        event.metadata =
            event.metadata.map(|metadata| Bytes::from(key.encrypt(Part::Metadata, &bound, &[], &metadata)));
        event.content_type = ContentType::ENCRYPTED;
        Ok(event)
    }

    /// What an event says: decrypted, if it was encrypted with a key of this ring.
    ///
    /// # Errors
    ///
    /// [`KeyError::Unknown`], [`KeyError::Altered`], [`KeyError::Damaged`], [`KeyError::Io`]. That the key was
    /// destroyed is no error: [`Content::Shredded`].
    pub fn decrypt<'a>(&self, event: &Event<'a>) -> Result<Content<'a>, KeyError> {
        // Of one that is redacted nothing is left that was encrypted.
        if event.content_type != ContentType::ENCRYPTED || event.redacted {
            return Ok(Content::Readable(Readable {
                data: Cow::Borrowed(event.data),
                metadata: event.metadata.map(Cow::Borrowed),
                content_type: event.content_type,
            }));
        }
        let (envelope, ciphertext) = Envelope::open(event.data).map_err(|_| KeyError::Altered)?;
        let key = match self.key_to_decrypt(envelope.handle)? {
            Ok(key) => key,
            Err(destroyed_at) => return Ok(Content::Shredded { destroyed_at }),
        };
        let bound = [&event.data[..Envelope::LEN], event.event_type.as_bytes()].concat();
        let read = |part, bytes| key.decrypt(part, &bound, bytes).map(Cow::Owned).ok_or(KeyError::Altered);
        let data = read(Part::Data, ciphertext)?;
        let metadata = event.metadata.map(|metadata| read(Part::Metadata, metadata)).transpose()?;
        Ok(Content::Readable(Readable { data, metadata, content_type: envelope.content_type }))
    }

    /// Destroys the key of `subject`: what it encrypted is unreadable from here on, wherever it is. Returns
    /// whether there was one; destroying it again is fine.
    ///
    /// # Errors
    ///
    /// [`KeyError::Io`]: the key may be there still, and should be destroyed again. [`KeyError::ReadOnly`],
    /// [`KeyError::InvalidName`].
    pub fn destroy(&self, subject: impl IntoName<Subject>) -> Result<bool, KeyError> {
        let handle = self.handle(&subject.into_name()?);
        let mut cache = self.writer.as_ref().ok_or(KeyError::ReadOnly)?.lock();
        let path = path(handle);
        let file = match self.storage.open(&path, Access::ReadWrite) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
            opened => opened.map_err(failed(&*self.storage, "open", &path))?,
        };
        cache.keys.remove(&handle);
        // Not believed when it says that this was done before: that may not have reached the disk.
        let destroyed_at = match self.read_key(handle) {
            Ok(Some(KeyFile { state: KeyState::Destroyed { destroyed_at }, .. })) => destroyed_at,
            _ => self.clock.now(),
        };
        let bytes = KeyFile { handle, state: KeyState::Destroyed { destroyed_at } }.encode();
        // In place, because a new file would leave the old one's bytes. The key and the state first, in one sector;
        // the name when they are on the disk, or a power failure could leave a key without a name.
        let written = write_all(&*file, 0, &bytes[..SECTOR])
            .and_then(|()| file.sync())
            .and_then(|()| write_all(&*file, SECTOR as u64, &bytes[SECTOR..]))
            .and_then(|()| file.sync());
        written.map_err(failed(&*self.storage, "overwrite", &path))?;
        tracing::info!(key = %handle, "destroyed a key");
        Ok(true)
    }

    /// All keys of the ring, in the order of their handles.
    ///
    /// # Errors
    ///
    /// [`KeyError::Io`].
    pub fn keys(&self) -> Result<Vec<KeyInfo>, KeyError> {
        let names = list_whole(&*self.storage, SUBJECTS).map_err(failed(&*self.storage, "list", SUBJECTS))?;
        let handles = names.iter().filter_map(|name| name.parse().ok());
        let infos = handles.filter_map(|handle: SubjectHandle| {
            let status = match self.read_key(handle) {
                Ok(Some(KeyFile { state: KeyState::Live { subject, created_at, .. }, .. })) => {
                    KeyStatus::Live { subject, created_at }
                }
                Ok(Some(KeyFile { state: KeyState::Destroyed { destroyed_at }, .. })) => {
                    KeyStatus::Destroyed { destroyed_at }
                }
                Ok(None) => return None,
                Err(KeyError::Damaged { fault, .. }) => KeyStatus::Damaged(fault),
                Err(error) => return Some(Err(error)),
            };
            Some(Ok(KeyInfo { handle, status }))
        });
        infos.collect()
    }

    fn handle(&self, subject: &Subject) -> SubjectHandle {
        SubjectHandle::from_bytes(self.secret.name(subject.as_bytes()))
    }

    fn read_key(&self, handle: SubjectHandle) -> Result<Option<KeyFile>, KeyError> {
        let path = path(handle);
        // One byte more than there should be: a file that is too long is noticed.
        let bytes =
            read_whole(&*self.storage, &path, KeyFile::LEN + 1).map_err(failed(&*self.storage, "read", &path))?;
        let Some(bytes) = bytes.map(Zeroizing::new) else { return Ok(None) };
        match KeyFile::decode(&bytes) {
            Ok(file) if file.handle == handle => Ok(Some(file)),
            decoded => {
                let fault = decoded.err().unwrap_or(SubjectFault::Damaged);
                Err(KeyError::Damaged { path: self.storage.describe(&path), fault })
            }
        }
    }

    fn key_to_encrypt(&self, cache: &mut Cache, handle: SubjectHandle, subject: &Subject) -> Result<Key, KeyError> {
        if let Some(key) = cache.keys.get(&handle) {
            return Ok(key.clone());
        }
        if let Some(error) = &cache.in_doubt {
            return Err(error.clone());
        }
        let key = match self.read_key(handle)?.map(|file| file.state) {
            Some(KeyState::Live { key, .. }) => Key::new(key),
            Some(KeyState::Destroyed { destroyed_at }) => {
                return Err(KeyError::Destroyed { subject: subject.clone(), destroyed_at });
            }
            None => self.make_key(handle, subject).inspect_err(|error| {
                // Its file may be there, and not on the disk: it is not to be found and used by the next event. Where there was
                // no space for it, and it is not there, the next one may have more luck.
                let is_harmless = matches!(error, KeyError::Io { source, .. } if is_full(source));
                if !is_harmless || !matches!(self.read_key(handle), Ok(None)) {
                    cache.in_doubt = Some(error.clone());
                }
            })?,
        };
        remember(cache, handle, &key);
        Ok(key)
    }

    /// Makes a key, and has it on the disk before anybody encrypts with it.
    fn make_key(&self, handle: SubjectHandle, subject: &Subject) -> Result<Key, KeyError> {
        let key = random(&*self.storage)?;
        let state = KeyState::Live { subject: subject.clone(), created_at: self.clock.now(), key: *key };
        let bytes = Zeroizing::new(KeyFile { handle, state }.encode());
        write_whole(&*self.storage, SUBJECTS, &handle.to_string(), &bytes).map_err(failed(
            &*self.storage,
            "write",
            &path(handle),
        ))?;
        Ok(Key::new(*key))
    }

    /// The key, or when it was destroyed.
    fn key_to_decrypt(&self, handle: SubjectHandle) -> Result<Result<Key, i64>, KeyError> {
        let mut cache = self.writer.as_ref().map(|cache| cache.lock());
        if let Some(key) = cache.as_ref().and_then(|cache| cache.keys.get(&handle)) {
            return Ok(Ok(key.clone()));
        }
        match self.read_key(handle)?.map(|file| file.state) {
            Some(KeyState::Live { key, .. }) => {
                let key = Key::new(key);
                if let Some(cache) = &mut cache {
                    remember(cache, handle, &key);
                }
                Ok(Ok(key))
            }
            Some(KeyState::Destroyed { destroyed_at }) => Ok(Err(destroyed_at)),
            None => Err(KeyError::Unknown { ring: self.storage.describe(""), handle }),
        }
    }
}

fn remember(cache: &mut Cache, handle: SubjectHandle, key: &Key) {
    if cache.keys.len() >= MOST_CACHED {
        cache.keys.clear();
    }
    cache.keys.insert(handle, key.clone());
}

fn path(handle: SubjectHandle) -> String {
    format!("{SUBJECTS}/{handle}")
}

fn failed(storage: &dyn Storage, action: &'static str, path: &str) -> impl FnOnce(io::Error) -> KeyError {
    let path = storage.describe(path);
    move |error| KeyError::Io { action, path, source: Arc::new(error) }
}

fn random(storage: &dyn Storage) -> Result<Zeroizing<[u8; Key::LEN]>, KeyError> {
    let mut bytes = Zeroizing::new([0; Key::LEN]);
    storage.fill_random(&mut *bytes).map_err(failed(storage, "make a key for", ""))?;
    Ok(bytes)
}

fn read_ring(storage: &dyn Storage) -> Result<Option<Key>, KeyError> {
    let bytes = read_whole(storage, RING, RingFile::LEN + 1).map_err(failed(storage, "read", RING))?;
    match bytes.map(Zeroizing::new) {
        Some(bytes) => match RingFile::decode(&bytes) {
            Ok(ring) => Ok(Some(Key::new(ring.secret))),
            Err(fault) => Err(KeyError::Damaged { path: storage.describe(RING), fault }),
        },
        None => {
            let keys = list_whole(storage, SUBJECTS).map_err(failed(storage, "list", SUBJECTS))?;
            if keys.is_empty() { Ok(None) } else { Err(KeyError::SecretMissing { path: storage.describe(RING) }) }
        }
    }
}

fn make_ring(storage: &dyn Storage) -> Result<Key, KeyError> {
    let secret = random(storage)?;
    let bytes = Zeroizing::new(RingFile { secret: *secret }.encode());
    create_whole(storage, RING, &bytes).map_err(failed(storage, "write", RING))?;
    Ok(Key::new(*secret))
}

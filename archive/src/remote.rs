//! An object store as the archive uses it: put where nothing is, get whole objects, list names.
//!
//! What is always true: nothing is replaced and nothing is removed.

use std::sync::Arc;

use annals_codec::ArchivedSegment;
use bytes::Bytes;
use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use object_store::path::{Path, PathPart};
use object_store::{Error as StoreError, ObjectStore, ObjectStoreExt as _, PutMode, PutOptions};

use crate::error::{ArchiveError, Doing as _};
use crate::runtime::Runtime;

/// How many small objects are asked for at once.
const AT_ONCE: usize = 16;

/// What a put has come to.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Put {
    /// The object is there, and this has put it.
    Made,
    /// Something of that name was there.
    There,
}

/// An object as a listing has it.
#[derive(Debug)]
pub(crate) struct Listed {
    pub(crate) name: String,
    pub(crate) made: Made,
}

/// By what an object is told from one that had its name before.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Made {
    tag: Option<String>,
    at: i64,
}

/// A place in an object store.
#[derive(Debug)]
pub(crate) struct Remote {
    store: Arc<dyn ObjectStore>,
    prefix: Path,
    /// What a person calls it.
    shown: String,
    runtime: Runtime,
}

impl Remote {
    pub(crate) fn new(store: Arc<dyn ObjectStore>, prefix: Path, shown: &str) -> Result<Remote, ArchiveError> {
        let shown = shown.trim_end_matches('/').to_owned();
        let runtime = Runtime::start().doing("start a thread for", || shown.clone())?;
        Ok(Remote { store, prefix, shown, runtime })
    }

    /// The place, as a person calls it.
    pub(crate) fn shown(&self) -> &str {
        &self.shown
    }

    /// An object, as a person would call it.
    pub(crate) fn show(&self, path: &str) -> String {
        format!("{}/{path}", self.shown)
    }

    fn path(&self, path: &str) -> Path {
        self.prefix.parts().chain(path.split('/').map(PathPart::from)).collect()
    }

    /// Runs requests, and says what they were for when they fail.
    fn ask<T: Send + 'static>(
        &self,
        action: &'static str,
        path: &str,
        request: impl Future<Output = Result<T, StoreError>> + Send + 'static,
    ) -> Result<T, ArchiveError> {
        let answer = self.runtime.run(request).unwrap_or_else(|| {
            Err(StoreError::Generic { store: "object store", source: "the request has panicked".into() })
        });
        answer.map_err(|error| ArchiveError::Store { action, object: self.show(path), source: Arc::new(error) })
    }

    /// Puts an object where nothing is.
    pub(crate) fn put(&self, path: &str, content: Bytes) -> Result<Put, ArchiveError> {
        let (store, at) = (Arc::clone(&self.store), self.path(path));
        self.ask("put", path, async move {
            let options = PutOptions { mode: PutMode::Create, ..PutOptions::default() };
            match store.put_opts(&at, content.into(), options).await {
                Ok(_) => Ok(Put::Made),
                Err(StoreError::AlreadyExists { .. } | StoreError::Precondition { .. }) => Ok(Put::There),
                Err(error) => Err(error),
            }
        })
    }

    /// A whole object; `None` when there is none of that name.
    pub(crate) fn get(&self, path: &str) -> Result<Option<Bytes>, ArchiveError> {
        let (store, at) = (Arc::clone(&self.store), self.path(path));
        self.ask("get", path, async move {
            match store.get(&at).await {
                Ok(found) => found.bytes().await.map(Some),
                Err(StoreError::NotFound { .. }) => Ok(None),
                Err(error) => Err(error),
            }
        })
    }

    /// Small objects that are all there, in the order of their paths.
    pub(crate) fn get_all(&self, paths: &[String]) -> Result<Vec<Bytes>, ArchiveError> {
        let Some(first) = paths.first() else { return Ok(Vec::new()) };
        let store = Arc::clone(&self.store);
        let all: Vec<Path> = paths.iter().map(|path| self.path(path)).collect();
        self.ask("get", first, async move {
            let get = |at: Path| {
                let store = Arc::clone(&store);
                async move { store.get(&at).await?.bytes().await }
            };
            stream::iter(all).map(get).buffered(AT_ONCE).try_collect().await
        })
    }

    /// The objects in a folder.
    pub(crate) fn list(&self, folder: &str) -> Result<Vec<Listed>, ArchiveError> {
        let (store, at) = (Arc::clone(&self.store), self.path(folder));
        let listed = self.ask("list", folder, async move { store.list(Some(&at)).try_collect::<Vec<_>>().await })?;
        let named = |object: object_store::ObjectMeta| {
            let name = object.location.filename()?.to_owned();
            Some(Listed { name, made: Made { tag: object.e_tag, at: object.last_modified.timestamp_micros() } })
        };
        Ok(listed.into_iter().filter_map(named).collect())
    }

    /// The names of the folders at the place itself.
    pub(crate) fn folders(&self) -> Result<Vec<String>, ArchiveError> {
        let (store, at) = (Arc::clone(&self.store), self.prefix.clone());
        let listed = self.ask("list", "", async move {
            match store.list_with_delimiter(Some(&at)).await {
                Err(StoreError::NotFound { .. }) => Ok(Vec::new()),
                listed => Ok(listed?.common_prefixes),
            }
        })?;
        Ok(listed.iter().filter_map(|folder| folder.filename().map(str::to_owned)).collect())
    }

    /// What a manifest says.
    pub(crate) fn decode(&self, path: &str, bytes: &[u8]) -> Result<ArchivedSegment, ArchiveError> {
        ArchivedSegment::decode(bytes)
            .map_err(|fault| ArchiveError::Manifest { object: self.show(path), problem: fault.to_string() })
    }
}

//! From what a person writes to an object store: a path, or a URL.

use std::path::{Component, Path, PathBuf};
use std::sync::Arc;

use object_store::local::LocalFileSystem;
use object_store::path::Path as ObjectPath;
use object_store::{ObjectStore, ObjectStoreScheme};
use url::Url;

use crate::error::ArchiveError;

/// The store, and where in it.
type Place = (Arc<dyn ObjectStore>, ObjectPath);

pub(crate) fn open(place: &str) -> Result<Place, ArchiveError> {
    let refused = |problem: String| ArchiveError::Place { place: place.to_owned(), problem };
    if !place.contains("://") {
        return directory(Path::new(place)).map_err(refused);
    }
    let url = Url::parse(place).map_err(|error| refused(error.to_string()))?;
    let (scheme, path) = ObjectStoreScheme::parse(&url).map_err(|error| refused(error.to_string()))?;
    match scheme {
        ObjectStoreScheme::Local => {
            let dir = url.to_file_path().map_err(|()| refused("it names no directory".to_owned()))?;
            directory(&dir).map_err(refused)
        }
        ObjectStoreScheme::AmazonS3 => s3(place, path).map_err(refused),
        ObjectStoreScheme::GoogleCloudStorage => gcs(place, path).map_err(refused),
        ObjectStoreScheme::MicrosoftAzure => azure(place, path).map_err(refused),
        _ => Err(refused("it is none of a directory, s3://, gs:// and az://".to_owned())),
    }
}

/// A directory, which need not be there: the first put makes it.
fn directory(dir: &Path) -> Result<Place, String> {
    let dir = plain(&std::path::absolute(dir).map_err(|error| error.to_string())?);
    let prefix = ObjectPath::from_absolute_path(&dir).map_err(|error| error.to_string())?;
    // Every put is synced: what is read back, before a local copy goes, could be the page cache's alone.
    Ok((Arc::new(LocalFileSystem::new().with_fsync(true)), prefix))
}

/// The same place without `..`, which is no name of an object. As far as it is there, links are followed first, as the system does.
fn plain(dir: &Path) -> PathBuf {
    let mut plain = PathBuf::new();
    for part in dir.components() {
        if part == Component::ParentDir {
            plain = plain.canonicalize().unwrap_or(plain);
            plain.pop();
        } else {
            plain.push(part);
        }
    }
    plain
}

#[cfg(any(not(feature = "s3"), not(feature = "gcs"), not(feature = "azure")))]
fn not_built(feature: &str) -> Result<Place, String> {
    Err(format!(
        "this program was built without it (feature `{feature}` of annals-archive, `archive-{feature}` of annals-cli)"
    ))
}

/// How long a request may take, where the environment does not say (`AWS_TIMEOUT` and so on): the 30 seconds of the crate
/// are not enough for a segment on a slow line. What stands still while it is read ends earlier.
#[cfg(any(feature = "s3", feature = "gcs", feature = "azure"))]
const TIMEOUT: &str = "15 minutes";

/// Whether the environment says how long a request may take.
#[cfg(any(feature = "s3", feature = "gcs", feature = "azure"))]
fn has_timeout(prefix: &str) -> bool {
    std::env::var_os(format!("{prefix}_TIMEOUT")).is_some()
}

#[cfg(feature = "s3")]
fn s3(url: &str, path: ObjectPath) -> Result<Place, String> {
    use object_store::ClientConfigKey;
    use object_store::aws::{AmazonS3Builder, AmazonS3ConfigKey, S3ConditionalPut};

    let mut builder = AmazonS3Builder::from_env().with_url(url).with_conditional_put(S3ConditionalPut::ETagMatch);
    if !has_timeout("AWS") {
        builder = builder.with_config(AmazonS3ConfigKey::Client(ClientConfigKey::Timeout), TIMEOUT);
    }
    Ok((Arc::new(builder.build().map_err(|error| error.to_string())?), path))
}

#[cfg(not(feature = "s3"))]
fn s3(_url: &str, _path: ObjectPath) -> Result<Place, String> {
    not_built("s3")
}

#[cfg(feature = "gcs")]
fn gcs(url: &str, path: ObjectPath) -> Result<Place, String> {
    use object_store::ClientConfigKey;
    use object_store::gcp::{GoogleCloudStorageBuilder, GoogleConfigKey};

    let mut builder = GoogleCloudStorageBuilder::from_env().with_url(url);
    if !has_timeout("GOOGLE") {
        builder = builder.with_config(GoogleConfigKey::Client(ClientConfigKey::Timeout), TIMEOUT);
    }
    Ok((Arc::new(builder.build().map_err(|error| error.to_string())?), path))
}

#[cfg(not(feature = "gcs"))]
fn gcs(_url: &str, _path: ObjectPath) -> Result<Place, String> {
    not_built("gcs")
}

#[cfg(feature = "azure")]
fn azure(url: &str, path: ObjectPath) -> Result<Place, String> {
    use object_store::ClientConfigKey;
    use object_store::azure::{AzureConfigKey, MicrosoftAzureBuilder};

    let mut builder = MicrosoftAzureBuilder::from_env().with_url(url);
    if !has_timeout("AZURE") {
        builder = builder.with_config(AzureConfigKey::Client(ClientConfigKey::Timeout), TIMEOUT);
    }
    Ok((Arc::new(builder.build().map_err(|error| error.to_string())?), path))
}

#[cfg(not(feature = "azure"))]
fn azure(_url: &str, _path: ObjectPath) -> Result<Place, String> {
    not_built("azure")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_and_its_url_are_the_same_place_and_what_is_no_place_is_refused() {
        let home = tempfile::tempdir().unwrap();
        let dir = home.path().join("a b");
        let url = Url::from_file_path(&dir).unwrap();
        let shown = |place: &str| open(place).unwrap().1;
        assert_eq!(shown(dir.to_str().unwrap()), shown(url.as_str()));
        // Also where it leads up again, which no name of an object does.
        std::fs::create_dir(home.path().join("c")).unwrap();
        for up in ["c/../a b", "./a b/../a b", "c/not/there/../../../a b/."] {
            assert_eq!(shown(home.path().join(up).to_str().unwrap()), shown(url.as_str()), "{up}");
        }
        for place in ["http://example.com/x", "memory:///", "nonsense://x", "s3://", "file://host/x"] {
            assert!(matches!(open(place), Err(ArchiveError::Place { .. })), "{place}");
        }
    }
}

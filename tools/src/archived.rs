//! What is archived, for the commands that read it as part of a store; and how they say that it cannot be had.

use std::io;
use std::path::Path;
use std::sync::Arc;

use annals::TruncateError;
use annals::storage::Storage;
use annals_archive::{Archive, ArchiveError, Cache};
use tempfile::TempDir;

use crate::args::ThroughArgs;
use crate::exit::Failure;

/// A store with what is archived of it, and the directory for what is fetched, if it is a temporary one; `None` where no
/// archive was given.
#[allow(clippy::type_complexity)] // said in the line above
pub(crate) fn through(path: &Path, args: &ThroughArgs) -> Result<Option<(Arc<dyn Storage>, Option<TempDir>)>, Failure> {
    let Some(place) = &args.archive else { return Ok(None) };
    let refused = |error: ArchiveError| failed(&format!("cannot read {} with {place}", path.display()), &error);
    let temporary = match &args.cache {
        Some(_) => None,
        None => Some(TempDir::new().map_err(|error| Failure::io("cannot make a directory").because(&error))?),
    };
    let dir = temporary.as_ref().map(TempDir::path).or(args.cache.as_deref()).unwrap_or(path);
    let cache = Cache::new(dir, args.cache_bytes).map_err(refused)?;
    let storage = Archive::open(place).and_then(|archive| archive.read_through(Some(path), None, &cache));
    Ok(Some((storage.map_err(refused)?, temporary)))
}

/// Why something of an archive cannot be had.
pub(crate) fn failed(what: &str, error: &ArchiveError) -> Failure {
    match error {
        ArchiveError::Place { .. } | ArchiveError::ManyLogs { .. } => Failure::usage(what).because(error),
        ArchiveError::Truncate(TruncateError::Behind { .. }) => {
            Failure::findings(what).because(error).next("`annals truncate --dry-run` shows what would go")
        }
        error if tells_of_damage(error) => Failure::findings(what).because(error),
        _ => Failure::io(what).because(error),
    }
}

/// Whether something is not as it should be in the archive or the store, and not only out of reach.
fn tells_of_damage(error: &ArchiveError) -> bool {
    matches!(
        error,
        ArchiveError::Clash { .. }
            | ArchiveError::Redacted { .. }
            | ArchiveError::Torn { .. }
            | ArchiveError::Gap { .. }
            | ArchiveError::Hole { .. }
            | ArchiveError::Manifest { .. }
            | ArchiveError::Missing { .. }
            | ArchiveError::Changed { .. }
            | ArchiveError::Damaged { .. }
    )
}

/// The same of what was met in the middle of reading.
pub(crate) fn is_finding(error: &io::Error) -> bool {
    let inner = error.get_ref().and_then(|inner| inner.downcast_ref::<ArchiveError>());
    inner.is_some_and(tells_of_damage)
}

//! Repair: making a store that opens of one that does not, with everything in it that is whole, in a directory of its own.
//!
//! ```text
//! old store ─► survey (reads every byte) ─► decide (pure) ─► RepairPlan, which is printed ─► build: a new directory
//!              nothing is changed                            what stays, what is lost        the old one stays
//! ```
//!
//! What is always true:
//!
//! - The old store is not touched, but for its lock: every byte of it is where it was.
//! - Every batch that is whole is in the new one, with its events at their positions, in their streams' versions, with
//!   their ids, times, tags, keys and tracking. A batch of which a byte is wrong is lost as a whole.
//! - Every position that was lost holds an event of type `$lost` that says why. So positions and versions stay dense, none
//!   is given out again, and whoever follows the log is told of the loss by reading on.
//! - What comes before the first loss is byte for byte what it was; its chain and its marks stay good. From there on the
//!   chain is another one, and whoever kept a mark of what came after is told so.
//! - What is redacted stays redacted, with the digests that the log keeps of it (`redactions`).
//! - The new directory is no store before all of it is durable.

mod build;
pub(crate) mod fillers;
mod found;
mod hints;
mod plan;
mod record;
mod redactions;
mod streams;
mod survey;
mod weave;

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use annals_codec::{LogId, LostRange, Position, StreamId};

pub use self::fillers::is_filler;
pub use self::record::{losses, losses_on};

use self::plan::Decided;
use crate::clock::{Clock as _, SystemClock};
use crate::error::{Doing as _, OpenError};
use crate::log::recover::decide::{Mode, Plan, decide};
use crate::log::recover::survey::{Facts, Purpose, survey as look};
use crate::storage::disk::{self, DiskStorage};
use crate::storage::{LockError, LockGuard, Storage};

/// How the names of streams begin whose events are lost, and nobody knows of which streams they were.
const UNKNOWN_STREAM: &str = "$lost-";

/// What a repair would do, or has done.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct RepairPlan {
    /// The log's identity, which it keeps.
    pub log_id: LogId,
    /// Whether anything is damaged. If not, there is nothing to do.
    pub is_needed: bool,
    /// Where the log ends then.
    pub head: Position,
    /// What is lost, in order: nothing, if everything can be made again.
    pub lost: Vec<LostRange>,
    /// Which versions of which streams are lost, by stream. Positions of which nobody knows the stream go to streams of
    /// their own, `$lost-<position>`.
    pub streams: Vec<LostVersions>,
    /// How many segments stay as they are.
    pub kept_segments: u64,
    /// How many are written anew: those with damage, and everything behind the first loss.
    pub written_segments: u64,
    /// What was wrong and can be made right without a loss, one sentence each.
    pub mended: Vec<String>,
    /// How many bytes of an unfinished batch at the end are left out: nobody was told that they were kept.
    pub unfinished_bytes: u64,
    /// What a person may want to know besides, one sentence each.
    pub notes: Vec<String>,
}

impl RepairPlan {
    /// How many positions are lost.
    pub fn lost_positions(&self) -> u64 {
        self.lost.iter().map(|range| range.last.get() - range.first.get() + 1).sum()
    }
}

/// Versions of one stream that are lost, without a hole.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct LostVersions {
    /// The stream.
    pub stream: StreamId,
    /// The first of them.
    pub first: u64,
    /// The last of them.
    pub last: u64,
}

/// Why a store was not repaired. Nothing was changed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RepairError {
    /// There is no store at this place.
    #[error("there is no store in {}", path.display())]
    NotFound {
        /// Where one was looked for.
        path: PathBuf,
    },
    /// Somebody has it open for writing.
    #[error("the store is in use by {}; close it there first",
            pid.map_or_else(|| "another store".to_owned(), |pid| format!("process {pid}")))]
    InUse {
        /// That process, when it could be told.
        pid: Option<u32>,
    },
    /// Nothing is damaged: the store opens, and every byte of it is whole.
    #[error("nothing is damaged, so there is nothing to repair")]
    NotNeeded,
    /// A later version of Annals wrote it. Use that one.
    #[error("{problem}")]
    Newer {
        /// Which version was found.
        problem: String,
    },
    /// What is left does not say how it fits together.
    #[error(
        "it cannot be repaired: {problem}; restore it from a backup, or save what can be read with `annals export`"
    )]
    Hopeless {
        /// What is wrong.
        problem: String,
    },
    /// A redaction was begun, and what would say whether it is to be done may be among what is lost: only somebody who knows
    /// can tell whether these payloads are to go.
    #[error(
        "{path} is of a redaction that was begun, and the event that would say whether it is to be done may be lost: to carry \
         it out, rename that file to `.seg`; to leave the events as they are, remove it; then repair again"
    )]
    UnclearRedaction {
        /// The new file of the segment.
        path: String,
    },
    /// The directory that the repaired store was to be in is not empty.
    #[error("{} is not empty: nothing is repaired over something else", path.display())]
    NotEmpty {
        /// The directory.
        path: PathBuf,
    },
    /// The operating system refused something.
    #[error("cannot {action} {path}")]
    Io {
        /// What was to be done.
        action: &'static str,
        /// To which file.
        path: String,
        /// What the operating system said.
        #[source]
        source: Arc<io::Error>,
    },
}

impl From<OpenError> for RepairError {
    fn from(error: OpenError) -> RepairError {
        match error {
            OpenError::Newer { problem } => RepairError::Newer { problem },
            OpenError::NotFound { path } => RepairError::NotFound { path },
            OpenError::Io { action, path, source } => RepairError::Io { action, path, source: Arc::new(source) },
            error => RepairError::Hopeless { problem: error.to_string() },
        }
    }
}

/// Says what was being done to which file when the system refused.
trait Repairing<T> {
    fn repairing(self, action: &'static str, path: impl FnOnce() -> String) -> Result<T, RepairError>;
}

impl<T> Repairing<T> for io::Result<T> {
    fn repairing(self, action: &'static str, path: impl FnOnce() -> String) -> Result<T, RepairError> {
        self.map_err(|error| RepairError::Io { action, path: path(), source: Arc::new(error) })
    }
}

/// Says what [`repair`] would make of the store in `dir`, and changes nothing.
///
/// `progress` is called now and then with the bytes read so far and in all.
///
/// # Errors
///
/// As [`repair`]; that nothing is damaged is said by [`RepairPlan::is_needed`].
pub fn plan_repair(dir: impl AsRef<Path>, progress: impl FnMut(u64, u64)) -> Result<RepairPlan, RepairError> {
    plan_repair_on(&DiskStorage::new(dir.as_ref()), progress)
}

/// Says what [`repair_on`] would make of a store.
///
/// # Errors
///
/// As [`repair`].
pub fn plan_repair_on(from: &dyn Storage, mut progress: impl FnMut(u64, u64)) -> Result<RepairPlan, RepairError> {
    let (_lock, facts) = begin(from)?;
    let decided = survey_and_decide(from, &facts, &mut progress)?;
    Ok(decided.plan)
}

/// Makes a store in `to` of what is whole of the one in `from`, which stays as it is.
///
/// Everything that is damaged is given up: whoever calls this accepts what [`plan_repair`] says. Lost positions hold
/// events of type `$lost`; the file `LOST` says what was lost and why ([`losses`]), and `quarantine/` keeps the bytes. The new
/// store is the same log: consumers and projections go on where they were, if that is before the first loss, and are told
/// otherwise ([`DivergedLog`](crate::KeepError::DivergedLog)).
///
/// The store appears under its name when all of it is durable; until then it is beside it, and what an
/// interrupted repair has left there is removed by the next.
///
/// # Errors
///
/// - [`RepairError::NotNeeded`]: the store opens, and nothing in it is damaged.
/// - [`RepairError::NotFound`], [`RepairError::InUse`], [`RepairError::Newer`], [`RepairError::Hopeless`].
/// - [`RepairError::NotEmpty`]: something is in `to`. [`RepairError::Io`].
///
/// # Example
///
/// ```
/// use annals::{EventStore, ExpectedVersion, NewEvent, Options, RepairError};
///
/// # let dir = tempfile::tempdir()?;
/// # let (dir, other) = (dir.path().join("a"), dir.path().join("b"));
/// let store = EventStore::open(&dir, &Options::new())?;
/// store.append("order-7", ExpectedVersion::Any, NewEvent::new("Placed", "{}"))?;
/// store.close()?;
/// assert!(matches!(annals::repair(&dir, &other, |_, _| ()), Err(RepairError::NotNeeded)));
///
/// std::fs::remove_file(dir.join("store.meta"))?;
/// assert!(EventStore::open(&dir, &Options::new()).is_err());
/// let plan = annals::repair(&dir, &other, |_, _| ())?;
/// assert!(plan.lost.is_empty(), "it could be made again");
/// assert_eq!(EventStore::open(other, &Options::new())?.head(), plan.head);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn repair(
    from: impl AsRef<Path>,
    to: impl AsRef<Path>,
    mut progress: impl FnMut(u64, u64),
) -> Result<RepairPlan, RepairError> {
    let (from, to) = (DiskStorage::new(from.as_ref()), to.as_ref());
    let (_lock, facts) = begin(&from)?;
    let shown = || to.display().to_string();
    if !disk::is_vacant(to).repairing("look into", shown)? {
        return Err(RepairError::NotEmpty { path: to.to_owned() });
    }
    let decided = survey_and_decide(&from, &facts, &mut progress)?;
    let beside = disk::beside(to, "repairing").repairing("repair to", shown)?;
    disk::remove_tree(&beside).repairing("remove", || beside.display().to_string())?;
    let built = build::build(&from, &facts, &decided, &DiskStorage::new(&beside), SystemClock.now());
    if built.is_err() {
        // On a disk that is full it would be in the way; what stays is removed by the next repair.
        let _ = disk::remove_tree(&beside);
    }
    built?;
    disk::rename_dir(&beside, to).repairing("rename", || beside.display().to_string())?;
    Ok(decided.plan)
}

/// Makes a store on any storage, which has to be empty, of what is whole of the one on any other. When this has not
/// returned `Ok`, what is there is no store.
///
/// # Errors
///
/// As [`repair`].
pub fn repair_on(from: &dyn Storage, to: &dyn Storage) -> Result<RepairPlan, RepairError> {
    let (_lock, facts) = begin(from)?;
    let decided = survey_and_decide(from, &facts, &mut |_, _| ())?;
    build::build(from, &facts, &decided, to, SystemClock.now())?;
    Ok(decided.plan)
}

/// Takes hold of the store, and looks at it as recovery would.
fn begin(from: &dyn Storage) -> Result<(Option<Box<dyn LockGuard>>, Facts), RepairError> {
    // Taking the lock makes the directory.
    match from.list("") {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            return Err(RepairError::NotFound { path: from.describe("").into() });
        }
        listed => drop(listed.doing("list", || from.describe(""))?),
    }
    let lock = match from.lock() {
        Ok(lock) => Some(lock),
        Err(LockError::Held { pid }) => return Err(RepairError::InUse { pid }),
        // Where nobody can write, nobody does.
        Err(LockError::Io(error)) if is_read_only(&error) => None,
        Err(LockError::Io(error)) => Err(error).repairing("lock", || from.describe(""))?,
    };
    let facts = look(from, Purpose::Read, &mut ())?;
    if facts.meta.is_none() && facts.segments.is_empty() {
        return Err(RepairError::NotFound { path: from.describe("").into() });
    }
    Ok((lock, facts))
}

fn is_read_only(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::ReadOnlyFilesystem | io::ErrorKind::PermissionDenied)
}

fn survey_and_decide(
    from: &dyn Storage,
    facts: &Facts,
    progress: &mut dyn FnMut(u64, u64),
) -> Result<Decided, RepairError> {
    let all = facts.segments.iter().map(|segment| segment.len).sum();
    let why_not = match decide(facts, Mode::Strict) {
        Ok(Plan::Use(_) | Plan::Create) => None,
        Err(OpenError::Newer { problem }) => return Err(RepairError::Newer { problem }),
        Err(error) => Some(error.to_string()),
    };
    let mut look = |use_hints| {
        let found = survey::survey(from, facts, use_hints, &mut |done| progress(done, all))?;
        plan::decide(found).map_err(|problem| RepairError::Hopeless { problem })
    };
    let decided = match look(true) {
        // What hints say may be what does not fit.
        Err(RepairError::Hopeless { .. }) => look(false),
        decided => decided,
    };
    let mut decided = decided?;
    if let Some(path) = decided.found.redactions.unclear(&decided.found.segments, &decided.owners) {
        return Err(RepairError::UnclearRedaction { path: from.describe(path) });
    }
    decided.plan.is_needed = why_not.is_some() || decided.plan.written_segments > 0 || !decided.plan.mended.is_empty();
    if let Some(problem) = why_not.filter(|_| decided.plan.written_segments == 0 && decided.plan.mended.is_empty()) {
        // It does not open, and nothing that a repair knows of is the reason.
        decided.plan.notes.push(format!("it does not open: {problem}"));
    }
    Ok(decided)
}

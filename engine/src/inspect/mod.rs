//! Looking at a store's files without opening it: `verify`.
//!
//! Verification reads everything again, changes nothing, needs no lock, and
//! never stops at the first finding. It works on a live store, on a copy, and
//! on whatever else it is pointed at. It uses the same survey, the same
//! decision and the same scan as recovery, so the two cannot disagree.
//!
//! Segments are read by themselves, on all cores; what only shows when they are seen together is asked in their
//! order (`pass`). What is derived from them, the files in `idx/`, is made once more in the same scan and
//! compared byte for byte. What is wrong there is a finding too, though no answer depends on it.

mod chain;
mod floor;
mod kept;
mod level;
mod order;
mod pass;
mod redactions;
mod report;
mod segment;
mod source;

use std::ops::RangeInclusive;
use std::path::Path;

use annals_codec::Position;

pub use self::chain::ChainStretch;
pub use self::floor::Anchor;
pub use self::level::{Level, Verify};
pub use self::report::{Finding, FindingKind, VerifyReport};
use crate::error::OpenError;
use crate::storage::Storage;
use crate::store::tip::ChainTip;

/// Verifies the store in `dir`: every file, frame, checksum, batch and chain, on all cores. [`Verify`] looks at less.
///
/// `progress` is called now and then, from any thread, with the bytes read so far and in all.
///
/// # Errors
///
/// [`OpenError::NotFound`] when there is no store, [`OpenError::Newer`] when it
/// is of a later format, [`OpenError::Io`] when it cannot be read. Damage is no
/// error here: it is what the report is for.
///
/// # Example
///
/// ```
/// use annals::{EventStore, ExpectedVersion, NewEvent, Options};
///
/// # let dir = tempfile::tempdir()?;
/// let store = EventStore::open(dir.path(), &Options::new())?;
/// store.append("order-7", ExpectedVersion::Any, NewEvent::new("Placed", "{}"))?;
///
/// let report = annals::inspect::verify(dir.path(), |_done, _all| ())?;
/// assert!(report.is_clean());
/// assert_eq!(report.events, 1);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn verify(dir: impl AsRef<Path>, progress: impl FnMut(u64, u64) + Send) -> Result<VerifyReport, OpenError> {
    Verify::new().run(dir, progress)
}

/// Verifies the store in `dir`, and whether it is an unbroken continuation of what these witnesses saw.
///
/// Each of them that the log does not agree with is a finding of kind [`FindingKind::Chain`]; it names the
/// first position that differs, as far as the chain and the other witnesses can tell.
///
/// # Errors
///
/// As [`verify`].
pub fn verify_against(
    dir: impl AsRef<Path>,
    witnesses: &[ChainTip],
    progress: impl FnMut(u64, u64) + Send,
) -> Result<VerifyReport, OpenError> {
    Verify::new().witnesses(witnesses).run(dir, progress)
}

/// Verifies the store on any storage, in this thread, so that the storage is asked the same things in the same order each time.
///
/// # Errors
///
/// As [`verify`].
pub fn verify_on(storage: &dyn Storage, progress: impl FnMut(u64, u64) + Send) -> Result<VerifyReport, OpenError> {
    verify_with(storage, &[], progress)
}

/// Verifies the store on any storage against witnesses, as [`verify_against`], in this thread.
///
/// # Errors
///
/// As [`verify`].
pub fn verify_with(
    storage: &dyn Storage,
    witnesses: &[ChainTip],
    progress: impl FnMut(u64, u64) + Send,
) -> Result<VerifyReport, OpenError> {
    Verify::new().witnesses(witnesses).threads(1).run_on(storage, progress)
}

/// Verifies frames, batches, seals and dense indexes of the segments that hold events of these positions, each as a
/// whole, on so many threads; `None`: as many as there are cores. The same as [`Verify`] at [`Level::Frames`].
///
/// # Errors
///
/// As [`Verify::run`].
pub fn verify_frames(
    dir: impl AsRef<Path>,
    positions: RangeInclusive<Position>,
    threads: Option<usize>,
    progress: impl FnMut(u64, u64) + Send,
) -> Result<VerifyReport, OpenError> {
    let verify = Verify { threads, ..Verify::new().level(Level::Frames).positions(positions) };
    verify.run(dir, progress)
}

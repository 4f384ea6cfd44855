//! Looking at a store's files without opening it: `verify`.
//!
//! Verification reads everything again, changes nothing, needs no lock, and
//! never stops at the first finding. It works on a live store, on a copy, and
//! on whatever else it is pointed at. It uses the same survey, the same
//! decision and the same scan as recovery, so the two cannot disagree.
//!
//! What is derived from segments, the files in `idx/`, is made once more in the same scan and
//! compared byte for byte. What is wrong there is a finding too, though no answer depends on it.

mod chain;
mod floor;
mod frames;
mod order;
mod redactions;
mod report;
mod segment;

use std::path::Path;
use std::sync::Arc;

pub use self::chain::ChainStretch;
pub use self::floor::Anchor;
pub use self::frames::{verify_frames, verify_frames_on};
use self::redactions::RedactionCheck;
pub use self::report::{Finding, FindingKind, VerifyReport};
use self::segment::Pass;
use crate::error::OpenError;
use crate::index::check::FileCheck;
use crate::log::recover::survey_beside_writer;
use crate::storage::Storage;
use crate::storage::disk::DiskStorage;
use crate::store::tip::ChainTip;

/// Verifies the store in `dir`: every file, frame, checksum, batch and chain.
///
/// `progress` is called now and then with the bytes read so far and in all.
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
pub fn verify(dir: impl AsRef<Path>, progress: impl FnMut(u64, u64)) -> Result<VerifyReport, OpenError> {
    let storage: Arc<dyn Storage> = Arc::new(DiskStorage::new(dir.as_ref()));
    verify_on(&*storage, progress)
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
    progress: impl FnMut(u64, u64),
) -> Result<VerifyReport, OpenError> {
    let storage: Arc<dyn Storage> = Arc::new(DiskStorage::new(dir.as_ref()));
    verify_with(&*storage, witnesses, progress)
}

/// Verifies the store on any storage.
///
/// # Errors
///
/// As [`verify`].
pub fn verify_on(storage: &dyn Storage, progress: impl FnMut(u64, u64)) -> Result<VerifyReport, OpenError> {
    verify_with(storage, &[], progress)
}

/// Verifies the store on any storage against witnesses, as [`verify_against`].
///
/// # Errors
///
/// As [`verify`].
pub fn verify_with(
    storage: &dyn Storage,
    witnesses: &[ChainTip],
    mut progress: impl FnMut(u64, u64),
) -> Result<VerifyReport, OpenError> {
    let mut files = FileCheck::new(storage);
    let (facts, decided) = survey_beside_writer(storage)?;
    if facts.meta.is_none() && facts.segments.is_empty() {
        return Err(OpenError::NotFound { path: storage.describe("").into() });
    }
    let all: u64 = facts.segments.iter().map(|segment| segment.len).sum();
    let mut pass = Pass::new(&facts, witnesses);
    pass.redactions = RedactionCheck::ahead(storage, &facts)?;
    pass.floor(storage, &facts);
    pass.manifest(storage);
    for (index, segment) in facts.segments.iter().enumerate() {
        let successor = facts.segments.get(index + 1);
        match pass.segment(storage, &facts, segment, successor, &mut files, &mut |done| progress(done, all)) {
            // Retention has removed it meanwhile.
            Err(error) if error.is_not_found() && successor.is_some() => files.pass_over(segment.number),
            done => done?,
        }
    }
    pass.filters(storage, &mut files);
    pass.relations(decided)?;
    let Pass { mut report, chain, redactions, .. } = pass;
    report.redacted = redactions.count();
    redactions.end(storage, &facts, &mut report.findings)?;
    report.chain = chain.end(report.log_id, report.head, &mut report.findings);
    Ok(report)
}

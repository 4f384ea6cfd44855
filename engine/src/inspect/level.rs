//! How much verification looks at, and what is asked of it.

use std::ops::RangeInclusive;
use std::path::Path;
use std::sync::Arc;

use annals_codec::Position;

use super::report::VerifyReport;
use crate::error::OpenError;
use crate::metrics::Recorder;
use crate::metrics::measure::{Counter, Measure};
use crate::metrics::meter::Meter;
use crate::storage::Storage;
use crate::storage::disk::DiskStorage;
use crate::store::tip::ChainTip;

/// How much verification looks at.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, PartialEq)]
#[non_exhaustive]
pub enum Level {
    /// Frames: every checksum, batch, seal and dense index.
    Frames,
    /// Frames, and the hash chain with its witnesses.
    Chain,
    /// Frames, and the files in `idx/`: whether they are what their segments give.
    Index,
    /// The files of consumers and snapshots: whether they are whole, and of the history of the log. Only
    /// those segments are read that they speak of.
    Snapshots,
    /// All of this; how versions and times of events follow each other; the floor; and a backup's manifest.
    #[default]
    All,
}

impl Level {
    pub(super) fn has_order(self) -> bool {
        self == Level::All
    }

    pub(super) fn has_chain(self) -> bool {
        matches!(self, Level::Chain | Level::All)
    }

    /// Whether what the log says of redactions is compared with what is redacted.
    pub(super) fn has_redactions(self) -> bool {
        self.has_chain()
    }

    /// Whether events are hashed.
    pub(super) fn has_digests(self) -> bool {
        self.has_chain() || self.has_index()
    }

    pub(super) fn has_index(self) -> bool {
        matches!(self, Level::Index | Level::All)
    }

    pub(super) fn has_kept(self) -> bool {
        matches!(self, Level::Snapshots | Level::All)
    }
}

/// A verification: what to look at, and with how many threads.
///
/// ```
/// use annals::inspect::{Level, Verify};
/// use annals::{EventStore, ExpectedVersion, NewEvent, Options};
///
/// # let dir = tempfile::tempdir()?;
/// let store = EventStore::open(dir.path(), &Options::new())?;
/// store.append("order-7", ExpectedVersion::Any, NewEvent::new("Placed", "{}"))?;
///
/// let report = Verify::new().level(Level::Frames).run(dir.path(), |_done, _all| ())?;
/// assert!(report.is_clean());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
pub struct Verify {
    pub(super) level: Level,
    pub(super) witnesses: Vec<ChainTip>,
    pub(super) positions: RangeInclusive<Position>,
    pub(super) threads: Option<usize>,
    pub(super) meter: Meter,
}

impl Default for Verify {
    fn default() -> Verify {
        Verify::new()
    }
}

impl Verify {
    pub(super) fn is_of_all(&self) -> bool {
        *self.positions.start() <= Position::new(1) && *self.positions.end() == Position::END
    }

    /// Everything, on all cores.
    pub fn new() -> Verify {
        let positions = Position::START..=Position::END;
        Verify { level: Level::All, witnesses: Vec::new(), positions, threads: None, meter: Meter::default() }
    }

    /// How much to look at. Default: [`Level::All`].
    #[must_use]
    pub fn level(self, level: Level) -> Verify {
        Verify { level, ..self }
    }

    /// Also whether the log is an unbroken continuation of what these witnesses saw; see
    /// [`verify_against`](super::verify_against). At levels without the hash chain they say nothing.
    #[must_use]
    pub fn witnesses(self, witnesses: &[ChainTip]) -> Verify {
        Verify { witnesses: witnesses.to_vec(), ..self }
    }

    /// Only the segments that hold events of these positions, each as a whole, and what is derived from them; how they
    /// continue each other, and not what lies before them; and of the witnesses only those of these positions. The manifest of a
    /// backup is of all its files, and left out. Default: all positions.
    #[must_use]
    pub fn positions(self, positions: RangeInclusive<Position>) -> Verify {
        Verify { positions, ..self }
    }

    /// On how many threads segments are read. Default: as many as there are cores.
    #[must_use]
    pub fn threads(self, threads: usize) -> Verify {
        Verify { threads: Some(threads), ..self }
    }

    /// Who hears how long it took ([`Measure::Verify`]) and of each finding ([`Counter::Corruptions`]). Default: nobody.
    ///
    /// ```
    /// use annals::inspect::Verify;
    /// use annals::{EventStore, Measure, Options};
    ///
    /// # let dir = tempfile::tempdir()?;
    /// let store = EventStore::open(dir.path(), &Options::new().metrics(true))?;
    /// let recorder = store.recorder().expect("it measures");
    /// Verify::new().recorder(recorder).run(dir.path(), |_done, _all| ())?;
    /// let metrics = store.metrics().expect("it measures");
    /// assert_eq!(metrics.distribution(Measure::Verify).count(), 1);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn recorder(self, recorder: Arc<dyn Recorder>) -> Verify {
        Verify { meter: Meter::new(false, Some(recorder)), ..self }
    }

    /// Verifies the store in `dir`. `progress` is called now and then, from any thread, with the bytes read so far and in all.
    ///
    /// # Errors
    ///
    /// As [`verify`](super::verify). At the level of frames a segment that cannot be read is a finding, and the others are
    /// read.
    pub fn run(&self, dir: impl AsRef<Path>, progress: impl FnMut(u64, u64) + Send) -> Result<VerifyReport, OpenError> {
        self.run_on(&DiskStorage::new(dir.as_ref()), progress)
    }

    /// Verifies the store on any storage.
    ///
    /// # Errors
    ///
    /// As [`run`](Verify::run).
    pub fn run_on(
        &self,
        storage: &dyn Storage,
        mut progress: impl FnMut(u64, u64) + Send,
    ) -> Result<VerifyReport, OpenError> {
        let began = self.meter.now();
        let report = super::pass::run(self, storage, &mut progress)?;
        self.meter.since(Measure::Verify, began);
        if !report.findings.is_empty() {
            self.meter.count(Counter::Corruptions, report.findings.len() as u64);
        }
        Ok(report)
    }
}

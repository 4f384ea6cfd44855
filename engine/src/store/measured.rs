//! What a store has measured, for who looks at it and for who scrapes it.

use std::sync::Arc;
use std::time::Instant;

use super::{EventStore, Role};
use crate::error::ReadError;
use crate::metrics::measure::Measure;
use crate::metrics::{Metrics, Recorder};
use crate::options::Durability;
use crate::prometheus::Text;

impl EventStore {
    /// What was measured and counted since the store was opened, and how it stands; `None` unless it was asked to
    /// measure, by [`Options::metrics`](crate::Options::metrics).
    ///
    /// Others go on meanwhile, so the numbers are of about one moment. [`stats`](EventStore::stats), which are part
    /// of it, read the file of each consumer.
    ///
    /// A store that is [opened read-only](EventStore::open_read_only_with) measures its own reads ([`Measure::Read`],
    /// [`Measure::Get`]), how it follows the writer ([`Measure::Follow`]) and its opening ([`Measure::Recovery`]), and
    /// counts the damage that it meets. What the writer does, the writer measures.
    ///
    /// ```
    /// use annals::{Counter, EventStore, ExpectedVersion, Measure, NewEvent, Options};
    ///
    /// # let dir = tempfile::tempdir()?;
    /// let store = EventStore::open(dir.path(), &Options::new().metrics(true))?;
    /// for _ in 0..2 {
    ///     let _ = store.append("order-7", ExpectedVersion::NoStream, NewEvent::new("Placed", "{}"));
    /// }
    /// let metrics = store.metrics().expect("it was asked to measure");
    /// assert_eq!(metrics.counter(Counter::Conflicts), 1);
    /// assert_eq!(metrics.distribution(Measure::Append).count(), 2);
    /// assert_eq!(metrics.stats.head.get(), 1);
    ///
    /// let syncs = metrics.distribution(Measure::Sync);
    /// println!("99 % of {} syncs took at most {:?}", syncs.count(), syncs.quantile(0.99));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn metrics(&self) -> Option<Metrics> {
        self.inner.meter.look(|| self.stats())
    }

    /// How the store stands, and what it has measured if it was [asked to](crate::Options::metrics), in the text
    /// format of Prometheus (version 0.0.4): what a scrape of this store is answered.
    ///
    /// Metrics have the names that `annals stats --prometheus` gives them, where it knows them; durations are histograms in
    /// seconds. One scrape is answered for several stores by [`Text::extend`]. What a store that is opened read-only
    /// cannot come to measure, as appends, is left out.
    ///
    /// ```
    /// use annals::{EventStore, ExpectedVersion, NewEvent, Options};
    ///
    /// let store = EventStore::in_memory(&Options::new().metrics(true))?;
    /// store.append("order-7", ExpectedVersion::Any, NewEvent::new("Placed", "{}"))?;
    /// let text = store.prometheus().to_string();
    /// assert!(text.contains(&format!("annals_append_seconds_count{{log=\"{}\"}} 1\n", store.log_id())));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn prometheus(&self) -> Text {
        let mut text = Text::new(self.log_id());
        let (stats, writes) = (self.stats(), matches!(self.inner.role, Role::Writer(_)));
        text.stats(&stats);
        text.of_process(&stats, writes);
        if let Some(metrics) = self.inner.meter.look(|| stats) {
            text.measured(&metrics, writes);
        }
        text
    }

    /// The recorder that hears what this store measures, its own numbers included; `None` unless it measures. For
    /// what is done about the store from outside, as a [verification](crate::inspect::Verify::recorder).
    pub fn recorder(&self) -> Option<Arc<dyn Recorder>> {
        self.inner.meter.recorder()
    }

    /// The beginning of an append, if it is to be measured.
    #[inline]
    pub(super) fn queued_at(&self, durability: Durability) -> Option<Instant> {
        self.inner.meter.queued(durability == Durability::Sync)
    }

    /// Looks one event up.
    #[inline]
    pub(super) fn measure_get<T>(&self, get: impl FnOnce() -> Result<T, ReadError>) -> Result<T, ReadError> {
        let meter = &self.inner.meter;
        let began = meter.now();
        let found = get().inspect_err(|error| meter.met(error));
        meter.since(Measure::Get, began);
        found
    }
}

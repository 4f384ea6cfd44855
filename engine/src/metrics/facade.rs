//! A recorder that tells the crate `metrics`, and so whatever exporter the program has installed behind it.
//!
//! What is always true: the names are looked up once, when the recorder is made. To record is to call a handle.

use std::fmt;
use std::time::Duration;

use ::metrics::{Histogram, Label, Unit};

use super::Recorder;
use super::measure::{Counter, Measure};

/// Tells the crate [`metrics`](::metrics) what a store measures: a histogram, in seconds, for each [`Measure`], and a
/// counter for each [`Counter`], under the names of [`Measure::metric`] and [`Counter::metric`]. Needs the feature `metrics`.
///
/// Install the program's exporter first: a recorder tells the one that is there when it is made.
///
/// ```
/// use std::sync::Arc;
///
/// use annals::{EventStore, FacadeRecorder, Options};
///
/// # let dir = tempfile::tempdir()?;
/// let recorder = FacadeRecorder::new([("store", "orders")]);
/// let store = EventStore::open(dir.path(), &Options::new().recorder(Arc::new(recorder)))?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct FacadeRecorder {
    histograms: Vec<Histogram>,
    counters: Vec<::metrics::Counter>,
}

impl FacadeRecorder {
    /// One whose metrics have these labels, by which the stores of one program are told apart.
    pub fn new<'a>(labels: impl IntoIterator<Item = (&'a str, &'a str)>) -> FacadeRecorder {
        let label = |(key, value): (&str, &str)| Label::new(key.to_owned(), value.to_owned());
        let labels: Vec<Label> = labels.into_iter().map(label).collect();
        let histograms = Measure::ALL.iter().map(|measure| {
            ::metrics::describe_histogram!(measure.metric(), Unit::Seconds, measure.help());
            ::metrics::histogram!(measure.metric(), labels.iter())
        });
        let counters = Counter::ALL.iter().map(|counter| {
            ::metrics::describe_counter!(counter.metric(), counter.help());
            ::metrics::counter!(counter.metric(), labels.iter())
        });
        FacadeRecorder { histograms: histograms.collect(), counters: counters.collect() }
    }
}

impl fmt::Debug for FacadeRecorder {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("FacadeRecorder").finish_non_exhaustive()
    }
}

impl Recorder for FacadeRecorder {
    fn record(&self, measure: Measure, took: Duration) {
        self.histograms[measure as usize].record(took);
    }

    fn count(&self, counter: Counter, more: u64) {
        self.counters[counter as usize].increment(more);
    }
}

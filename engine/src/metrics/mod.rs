//! How long things take and how often they go wrong: measured while the store is used.
//!
//! - [`measure`]: what is measured and counted.
//! - [`histogram`]: where durations go: buckets of a fixed number, and what can be asked of them.
//! - [`meter`]: what the rest of the engine measures with.
//! - [`facade`]: to whatever a program has installed behind the crate `metrics` (feature `metrics`).
//!
//! What is always true:
//!
//! - A store that was not asked to measure reads no clock for it: every measure begins with one branch.
//! - To record is to add to a few atomics: no lock, no allocation, whatever the number of events.
//! - Nothing that is measured decides anything. The engine does the same, in the same order, with and without.

#[cfg(feature = "metrics")]
pub(crate) mod facade;
pub(crate) mod histogram;
pub(crate) mod measure;
pub(crate) mod meter;

use std::fmt;
use std::time::Duration;

use self::histogram::{Distribution, Histogram};
use self::measure::{Counter, Measure};
use crate::stats::Stats;
use crate::sync::atomic::{AtomicU64, Ordering};

/// Hears of everything that a store measures, at the moment at which it was measured.
///
/// It is called by whoever does the work, often while the writer is locked: it must be quick, and must not use
/// the store. One that panics while a batch is committed poisons the store, as a [`Clock`](crate::Clock) would.
/// What a recorder does not care about it need not define.
///
/// ```
/// use std::sync::Arc;
/// use std::sync::atomic::{AtomicU64, Ordering};
/// use std::time::Duration;
///
/// use annals::{Counter, EventStore, ExpectedVersion, Measure, NewEvent, Options, Recorder};
///
/// #[derive(Debug, Default)]
/// struct SlowSyncs(AtomicU64);
///
/// impl Recorder for SlowSyncs {
///     fn record(&self, measure: Measure, took: Duration) {
///         if measure == Measure::Sync && took > Duration::from_millis(100) {
///             self.0.fetch_add(1, Ordering::Relaxed);
///         }
///     }
/// }
///
/// # let dir = tempfile::tempdir()?;
/// let slow = Arc::new(SlowSyncs::default());
/// let store = EventStore::open(dir.path(), &Options::new().recorder(slow.clone()))?;
/// store.append("order-7", ExpectedVersion::Any, NewEvent::new("Placed", "{}"))?;
/// println!("{} slow syncs", slow.0.load(Ordering::Relaxed));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub trait Recorder: fmt::Debug + Send + Sync {
    /// Something took so long.
    fn record(&self, measure: Measure, took: Duration) {
        let _ = (measure, took);
    }

    /// Something has happened so many times more.
    fn count(&self, counter: Counter, more: u64) {
        let _ = (counter, more);
    }
}

/// What a store has measured since it was opened, and how it stands: see [`EventStore::metrics`](crate::EventStore::metrics).
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Metrics {
    /// How it stands: head, durable head, segments, bytes, the lag of each consumer.
    pub stats: Stats,
    measured: Vec<Distribution>,
    counted: [u64; Counter::ALL.len()],
}

impl Metrics {
    /// How long something has taken.
    pub fn distribution(&self, measure: Measure) -> &Distribution {
        &self.measured[measure as usize]
    }

    /// How often something has happened.
    pub fn counter(&self, counter: Counter) -> u64 {
        self.counted[counter as usize]
    }
}

/// The store's own recorder: a histogram for each measure, and a number for each counter.
#[derive(Debug)]
struct Registry {
    histograms: Vec<Histogram>,
    counters: [AtomicU64; Counter::ALL.len()],
}

impl Registry {
    fn new() -> Registry {
        let histograms = Measure::ALL.iter().map(|_| Histogram::new()).collect();
        Registry { histograms, counters: std::array::from_fn(|_| AtomicU64::new(0)) }
    }

    fn look(&self, stats: Stats) -> Metrics {
        Metrics {
            stats,
            measured: self.histograms.iter().map(Histogram::look).collect(),
            // Relaxed: a number says nothing about other memory.
            counted: std::array::from_fn(|number| self.counters[number].load(Ordering::Relaxed)),
        }
    }
}

impl Recorder for Registry {
    fn record(&self, measure: Measure, took: Duration) {
        self.histograms[measure as usize].record(took);
    }

    fn count(&self, counter: Counter, more: u64) {
        self.counters[counter as usize].fetch_add(more, Ordering::Relaxed);
    }
}

//! What the engine measures with: a handle that is empty unless somebody asked for it.
//!
//! What is always true:
//!
//! - An empty handle reads no clock, and costs one branch.
//! - Neighbouring stages share the moment between them: the clock is read once for it.
//! - Where it would cost too much to measure each, who is measured is drawn by lot. What they do cannot follow the
//!   beat of what is measured, as every sixty-fourth could.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::measure::{Counter, Measure};
use super::{Metrics, Recorder, Registry};
use crate::error::{AppendError, ReadError};
use crate::stats::Stats;
use crate::sync::atomic::{AtomicU64, Ordering};

/// Measures for one store, or not at all.
#[derive(Clone, Debug, Default)]
pub(crate) struct Meter(Option<Arc<Meters>>);

/// Where it goes.
#[derive(Debug)]
struct Meters {
    registry: Option<Registry>,
    recorder: Option<Arc<dyn Recorder>>,
    lot: Lot,
}

impl Recorder for Meters {
    fn record(&self, measure: Measure, took: Duration) {
        if let Some(registry) = &self.registry {
            registry.record(measure, took);
        }
        if let Some(recorder) = &self.recorder {
            recorder.record(measure, took);
        }
    }

    fn count(&self, counter: Counter, more: u64) {
        if let Some(registry) = &self.registry {
            registry.count(counter, more);
        }
        if let Some(recorder) = &self.recorder {
            recorder.count(counter, more);
        }
    }
}

impl Meter {
    /// One that keeps what it measures, tells a recorder, or both; an empty one, if it does neither.
    pub(crate) fn new(keeps: bool, recorder: Option<Arc<dyn Recorder>>) -> Meter {
        let is_wanted = keeps || recorder.is_some();
        let meters = || Meters { registry: keeps.then(Registry::new), recorder, lot: Lot::default() };
        Meter(is_wanted.then(|| Arc::new(meters())))
    }

    /// What it has kept, beside how the store stands.
    pub(crate) fn look(&self, stats: impl FnOnce() -> Stats) -> Option<Metrics> {
        let registry = self.0.as_ref()?.registry.as_ref()?;
        Some(registry.look(stats()))
    }

    /// The same for who measures elsewhere.
    pub(crate) fn recorder(&self) -> Option<Arc<dyn Recorder>> {
        self.0.clone().map(|meters| meters as Arc<dyn Recorder>)
    }

    /// The beginning of something, for [`since`](Meter::since).
    #[inline]
    pub(crate) fn now(&self) -> Option<Instant> {
        self.0.as_ref().map(|_| Instant::now())
    }

    /// Records what has begun then and ends now.
    #[inline]
    pub(crate) fn since(&self, measure: Measure, began: Option<Instant>) {
        if let (Some(meters), Some(began)) = (&self.0, began) {
            meters.record(measure, began.elapsed());
        }
    }

    #[inline]
    pub(crate) fn count(&self, counter: Counter, more: u64) {
        if let Some(meters) = &self.0 {
            meters.count(counter, more);
        }
    }

    /// Somebody is told this error.
    pub(crate) fn met(&self, error: &ReadError) {
        if matches!(error, ReadError::Corrupt(_)) {
            self.count(Counter::Corruptions, 1);
        }
    }

    /// Counts answers to appends.
    #[inline]
    pub(crate) fn answered<'a>(&self, answers: impl Iterator<Item = Answer<'a>>) {
        if let Some(meters) = &self.0 {
            answers.filter_map(counted).for_each(|counter| meters.count(counter, 1));
        }
    }

    /// When a request is queued, if it is to be measured: one that waits for a sync always is.
    #[inline]
    pub(crate) fn queued(&self, is_synced: bool) -> Option<Instant> {
        let meters = self.0.as_ref()?;
        (is_synced || meters.lot.draw()).then(Instant::now)
    }

    /// Begins to commit a group, of which some were [`queued`](Meter::queued) to be measured.
    #[inline]
    pub(crate) fn group(&self, queued: impl Iterator<Item = Option<Instant>>) -> Laps<'_> {
        Laps(self.0.as_deref().and_then(|meters| Running::begin(meters, queued.flatten())))
    }
}

/// What an append was answered: whether it was a duplicate, or an error.
pub(crate) type Answer<'a> = Result<bool, &'a AppendError>;

fn counted(answer: Answer<'_>) -> Option<Counter> {
    match answer {
        Ok(is_duplicate) => is_duplicate.then_some(Counter::Duplicates),
        Err(
            AppendError::ConcurrencyConflict { .. }
            | AppendError::TrackingConflict { .. }
            | AppendError::ConditionFailed { .. },
        ) => Some(Counter::Conflicts),
        Err(AppendError::Unreadable { cause: ReadError::Corrupt(_) }) => Some(Counter::Corruptions),
        Err(_) => None,
    }
}

/// The stages of a group, as they pass; or nothing, if nobody of the group is measured.
#[derive(Debug, Default)]
pub(crate) struct Laps<'a>(Option<Running<'a>>);

#[derive(Debug)]
struct Running<'a> {
    meters: &'a Meters,
    /// Where one stage has ended, and the next has begun.
    last: Instant,
    /// Requests are checked and encoded in turn: the sums of these.
    checks: Duration,
    encode: Duration,
}

impl<'a> Running<'a> {
    fn begin(meters: &'a Meters, queued: impl Iterator<Item = Instant>) -> Option<Running<'a>> {
        let mut queued = queued.peekable();
        queued.peek()?;
        let last = Instant::now();
        queued.for_each(|queued| meters.record(Measure::Queue, last.saturating_duration_since(queued)));
        Some(Running { meters, last, checks: Duration::ZERO, encode: Duration::ZERO })
    }

    fn lap(&mut self) -> Duration {
        let now = Instant::now();
        now.saturating_duration_since(std::mem::replace(&mut self.last, now))
    }
}

impl Laps<'_> {
    /// The next stage begins here; what was before is none.
    #[inline]
    pub(crate) fn begin(&mut self) {
        if let Some(running) = &mut self.0 {
            running.last = Instant::now();
        }
    }

    /// One request was checked.
    #[inline]
    pub(crate) fn checked(&mut self) {
        if let Some(running) = &mut self.0 {
            let took = running.lap();
            running.checks += took;
        }
    }

    /// One request was encoded.
    #[inline]
    pub(crate) fn encoded(&mut self) {
        if let Some(running) = &mut self.0 {
            let took = running.lap();
            running.encode += took;
        }
    }

    /// All were, or `some` of them encoded and the others answered without.
    #[inline]
    pub(crate) fn decided(&mut self, some: bool) {
        if let Some(running) = &mut self.0 {
            running.meters.record(Measure::Checks, std::mem::take(&mut running.checks));
            if some {
                running.meters.record(Measure::Encode, std::mem::take(&mut running.encode));
            }
        }
    }

    /// A stage has ended, and the next begins.
    #[inline]
    pub(crate) fn lap(&mut self, measure: Measure) {
        if let Some(running) = &mut self.0 {
            let took = running.lap();
            running.meters.record(measure, took);
        }
    }

    /// The answers are there.
    #[inline]
    pub(crate) fn end(self, queued: impl Iterator<Item = Option<Instant>>) {
        if let Some(Running { meters, .. }) = self.0 {
            let now = Instant::now();
            for queued in queued.flatten() {
                meters.record(Measure::Append, now.saturating_duration_since(queued));
            }
        }
    }
}

/// Draws one in 64.
#[derive(Debug, Default)]
struct Lot(AtomicU64);

impl Lot {
    #[inline]
    fn draw(&self) -> bool {
        // Knuth's generator, of which the high bits are good. Not in one atomic step: two threads at once may draw
        // the same lot, which is as fair.
        let next = self
            .0
            .load(Ordering::Relaxed)
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        self.0.store(next, Ordering::Relaxed);
        next >> 58 == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_lot_in_64_wins_and_no_long_stretch_is_without() {
        let lot = Lot::default();
        let drawn: Vec<bool> = (0..64_000).map(|_| lot.draw()).collect();
        let won = drawn.iter().filter(|won| **won).count();
        assert!((900..=1100).contains(&won), "{won}");
        assert!(drawn.chunks(1_000).all(|stretch| stretch.contains(&true)));
        // Not every sixty-fourth either.
        let mut distances: Vec<usize> = drawn.split(|won| *won).map(<[bool]>::len).collect();
        distances.sort_unstable();
        distances.dedup();
        assert!(distances.len() > 100, "{distances:?}");
    }

    #[test]
    fn a_meter_that_nobody_wants_is_empty_and_reads_no_clock() {
        let meter = Meter::new(false, None);
        assert!(meter.0.is_none() && meter.now().is_none() && meter.queued(true).is_none());
        let some = Some(Instant::now());
        assert!(meter.group([some].into_iter()).0.is_none());
        assert!(meter.recorder().is_none());
    }

    #[test]
    fn a_group_of_which_nobody_is_measured_is_not_measured() {
        let meter = Meter::new(true, None);
        assert!(meter.group([None, None].into_iter()).0.is_none());
        assert!(meter.group([None, meter.queued(true)].into_iter()).0.is_some());
    }

    #[test]
    fn checks_and_encoding_of_a_group_are_summed_each_by_itself() {
        const LONG: Duration = Duration::from_millis(40);
        let meter = Meter::new(true, None);
        let mut laps = meter.group([meter.queued(true)].into_iter());
        for _ in 0..2 {
            std::thread::sleep(LONG);
            laps.checked();
            laps.encoded();
        }
        laps.decided(true);
        let registry = meter.0.as_ref().and_then(|meters| meters.registry.as_ref()).unwrap();
        let longest = |measure: Measure| registry.histograms[measure as usize].look().max();
        assert!(longest(Measure::Checks) >= 2 * LONG, "{:?}", longest(Measure::Checks));
        assert!(longest(Measure::Encode) < longest(Measure::Checks), "{:?}", longest(Measure::Encode));
    }
}

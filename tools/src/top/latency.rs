//! How long events took from being recorded to being seen here, over the last minute.
//!
//! Each second of it has a histogram: sixteen buckets for every doubling, so a percentile is at most one sixteenth
//! above what it stands for, and a minute of any load takes a quarter of a megabyte. The longest is kept as it was.

use std::collections::VecDeque;
use std::time::Duration;

use super::rates::MINUTE;

/// Below so many nanoseconds each has a bucket of its own; above, every doubling has as many.
const STEPS: u64 = 16;
/// As many as a `u64` of nanoseconds takes.
const BUCKETS: usize = (STEPS + (64 - STEPS.ilog2() as u64) * STEPS) as usize;

/// The latencies of the last minute.
///
/// ```
/// use std::time::Duration;
///
/// use annals_cli::top::Latencies;
///
/// let mut seen = Latencies::default();
/// for millis in 1..=100 {
///     seen.add(Duration::ZERO, millis * 1_000_000);
/// }
/// let summary = seen.summary(Duration::ZERO);
/// assert_eq!((summary.events, summary.max), (100, 100_000_000));
/// assert!((50_000_000..=53_200_000).contains(&summary.p50));
/// ```
#[derive(Clone, Debug, Default)]
pub struct Latencies {
    seconds: VecDeque<Second>,
}

/// Those of one second.
#[derive(Clone, Debug)]
struct Second {
    number: u64,
    counts: Vec<u64>,
    max: u64,
    ahead: u64,
}

/// What can be said of the latencies of a minute, in nanoseconds.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Summary {
    /// How many events were seen.
    pub events: u64,
    /// Half of them took at most so long.
    pub p50: u64,
    /// Of a hundred, ninety-nine took at most so long.
    pub p99: u64,
    /// None took longer.
    pub max: u64,
    /// How many were recorded after they were seen: the clock was set back, or it is that of another machine. They
    /// count as having taken no time.
    pub ahead: u64,
}

impl Latencies {
    /// Takes in an event that was seen at this moment, so many nanoseconds after it was recorded.
    pub fn add(&mut self, seen_at: Duration, nanos: i64) {
        let number = seen_at.as_secs();
        if self.seconds.back().is_none_or(|second| second.number < number) {
            self.forget_before(seen_at);
            self.seconds.push_back(Second { number, counts: vec![0; BUCKETS], max: 0, ahead: 0 });
        }
        let Some(second) = self.seconds.back_mut() else { return };
        second.ahead += u64::from(nanos < 0);
        let nanos = u64::try_from(nanos).unwrap_or(0);
        second.counts[bucket(nanos)] += 1;
        second.max = second.max.max(nanos);
    }

    /// What they were in the minute before this moment.
    pub fn summary(&mut self, now: Duration) -> Summary {
        self.forget_before(now);
        let mut counts = vec![0_u64; BUCKETS];
        let mut summary = Summary::default();
        for second in &self.seconds {
            counts.iter_mut().zip(&second.counts).for_each(|(all, one)| *all += one);
            summary.max = summary.max.max(second.max);
            summary.ahead += second.ahead;
        }
        summary.events = counts.iter().sum();
        let percentile = |percent: u64| percentile(&counts, summary.events, percent).min(summary.max);
        (summary.p50, summary.p99) = (percentile(50), percentile(99));
        summary
    }

    fn forget_before(&mut self, now: Duration) {
        let is_over = |second: &Second| second.number + MINUTE.as_secs() <= now.as_secs();
        while self.seconds.front().is_some_and(is_over) {
            self.seconds.pop_front();
        }
    }
}

fn bucket(nanos: u64) -> usize {
    if nanos < STEPS {
        return nanos as usize;
    }
    let shift = nanos.ilog2() - STEPS.ilog2();
    // The highest bit is that of the doubling; the next ones say which of its buckets.
    (STEPS * u64::from(shift) + (nanos >> shift)) as usize
}

/// The largest that falls into a bucket.
fn largest_in(bucket: usize) -> u64 {
    let bucket = bucket as u64;
    if bucket < STEPS {
        return bucket;
    }
    let (shift, step) = (bucket / STEPS - 1, STEPS + bucket % STEPS);
    // Of the last bucket of all, that is the largest number there is.
    ((u128::from(step) + 1) << shift).saturating_sub(1).try_into().unwrap_or(u64::MAX)
}

fn percentile(counts: &[u64], events: u64, percent: u64) -> u64 {
    let wanted = (u128::from(events) * u128::from(percent)).div_ceil(100);
    let mut passed = 0_u128;
    let found = counts.iter().position(|count| {
        passed += u128::from(*count);
        passed >= wanted && *count > 0
    });
    found.map_or(0, largest_in)
}

//! Durations in buckets that grow with them, so that short and long ones are told equally well.
//!
//! ```text
//!  1 ns   2   3  …  16 | 17  18  …  32 | 33-34  35-36  …  63-64 | 65-68  …  | … 2^42 ns (73 min) and more
//!  one bucket to each  | to each       | to two                | to four   |
//! ```
//!
//! What is always true:
//!
//! - Between two powers of two lie 16 buckets of one width, so the bounds of a bucket are at most a sixteenth apart.
//!   What is told of a duration is at most that much more than it was, and never less.
//! - Each power of two is the upper bound of a bucket, and belongs to it. So how many durations were at most so long can be
//!   told exactly.
//! - The number of buckets is fixed: 5 KB, whatever comes. To record adds to two atomics, and sees to a third.

use std::time::Duration;

use crate::sync::atomic::{AtomicU64, Ordering};

/// Buckets between two powers of two, and the power of two that this is.
const EACH: usize = 1 << EACH_BITS;
const EACH_BITS: u32 = 4;
/// Durations beyond this power of two, in nanoseconds, are told by the longest of them.
const MOST_BITS: u32 = 42;
const BUCKETS: usize = (MOST_BITS - EACH_BITS + 1) as usize * EACH;

/// The powers of four, in nanoseconds, up to which the durations are counted for who wants few numbers: from a
/// quarter of a microsecond to more than a minute.
const BOUNDS: std::ops::RangeInclusive<u32> = 4..=18;

/// The bucket of a duration, in nanoseconds.
fn bucket_of(nanos: u64) -> usize {
    // A bound belongs to the bucket below it.
    let before = nanos.saturating_sub(1);
    if before < EACH as u64 {
        return before as usize;
    }
    let exponent = before.ilog2();
    if exponent >= MOST_BITS {
        return BUCKETS - 1;
    }
    let within = (before >> (exponent - EACH_BITS)) as usize % EACH;
    (exponent - EACH_BITS + 1) as usize * EACH + within
}

/// The longest duration of a bucket, in nanoseconds.
fn bound_of(bucket: usize) -> u64 {
    let (octave, within) = (bucket / EACH, (bucket % EACH) as u64);
    match octave.checked_sub(1) {
        None => within + 1,
        Some(shift) => (EACH as u64 + within + 1) << shift,
    }
}

/// Where durations are recorded.
#[derive(Debug)]
pub(crate) struct Histogram {
    buckets: Box<[AtomicU64]>,
    sum: AtomicU64,
    max: AtomicU64,
}

impl Histogram {
    pub(crate) fn new() -> Histogram {
        let buckets = (0..BUCKETS).map(|_| AtomicU64::new(0)).collect();
        Histogram { buckets, sum: AtomicU64::new(0), max: AtomicU64::new(0) }
    }

    pub(crate) fn record(&self, took: Duration) {
        let nanos = u64::try_from(took.as_nanos()).unwrap_or(u64::MAX);
        self.sum.fetch_add(nanos, Ordering::Relaxed);
        // Most are not the longest, and only look.
        if nanos > self.max.load(Ordering::Relaxed) {
            self.max.fetch_max(nanos, Ordering::Relaxed);
        }
        // Release, to pair with the load in `look`: who counts it knows that it was the longest.
        self.buckets[bucket_of(nanos)].fetch_add(1, Ordering::Release);
    }

    /// What was recorded so far. Others may record meanwhile: of these, all that is counted is in the sum, and not
    /// the other way round.
    pub(crate) fn look(&self) -> Distribution {
        let buckets: Box<[u64]> = self.buckets.iter().map(|bucket| bucket.load(Ordering::Acquire)).collect();
        Distribution {
            count: buckets.iter().sum(),
            buckets,
            sum: self.sum.load(Ordering::Relaxed),
            max: self.max.load(Ordering::Relaxed),
        }
    }
}

/// How long something has taken: how often, in all, at the most, and how the durations are spread.
///
/// ```
/// use annals::{EventStore, ExpectedVersion, Measure, NewEvent, Options};
///
/// # let dir = tempfile::tempdir()?;
/// let store = EventStore::open(dir.path(), &Options::new().metrics(true))?;
/// for _ in 0..10 {
///     store.append("order-7", ExpectedVersion::Any, NewEvent::new("Placed", "{}"))?;
/// }
/// let metrics = store.metrics().expect("it measures");
/// let syncs = metrics.distribution(Measure::Sync);
/// assert_eq!(syncs.count(), 10);
/// println!("half of the syncs took at most {:?}, and none more than {:?}", syncs.quantile(0.5), syncs.max());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Distribution {
    buckets: Box<[u64]>,
    count: u64,
    sum: u64,
    max: u64,
}

impl Distribution {
    /// How many durations were recorded.
    pub fn count(&self) -> u64 {
        self.count
    }

    /// All of them together.
    pub fn sum(&self) -> Duration {
        Duration::from_nanos(self.sum)
    }

    /// The longest of them, exactly; zero when there is none.
    pub fn max(&self) -> Duration {
        Duration::from_nanos(self.max)
    }

    /// Their mean; `None` when there is none.
    pub fn mean(&self) -> Option<Duration> {
        self.sum.checked_div(self.count).map(Duration::from_nanos)
    }

    /// The least duration that this part of them, 0.99 say, did not exceed; `None` when there is none.
    ///
    /// Never less than it was, and at most a sixteenth more. A part below 0 is taken for 0, one above 1 for 1.
    /// Durations of more than 73 minutes are all told by the longest.
    pub fn quantile(&self, part: f64) -> Option<Duration> {
        #[allow(clippy::cast_precision_loss, clippy::cast_sign_loss, reason = "a part of a number, between 0 and it")]
        let rank = ((part.clamp(0.0, 1.0) * self.count as f64).ceil() as u64).clamp(1, self.count.max(1));
        let mut passed = 0;
        let found = self.buckets.iter().position(|bucket| {
            passed += bucket;
            passed >= rank
        });
        let nanos = match found? {
            last if last == BUCKETS - 1 => self.max,
            bucket => bound_of(bucket).min(self.max),
        };
        Some(Duration::from_nanos(nanos))
    }

    /// How many were at most so long, for powers of four from 256 nanoseconds to 69 seconds; exactly.
    pub fn cumulative(&self) -> impl Iterator<Item = (Duration, u64)> {
        BOUNDS.map(|power| {
            let bound = 1 << (2 * power);
            let within = self.buckets[..=bucket_of(bound)].iter().sum();
            (Duration::from_nanos(bound), within)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// All durations that are worth a look: the small ones, and those around every bound.
    fn durations() -> impl Iterator<Item = u64> {
        (0..5_000).chain((0..BUCKETS - 1).flat_map(|bucket| bound_of(bucket) - 1..=bound_of(bucket) + 1))
    }

    #[test]
    fn every_duration_lies_in_the_bucket_whose_bounds_hold_it() {
        for nanos in durations() {
            let bucket = bucket_of(nanos);
            assert!(bucket == BUCKETS - 1 || nanos <= bound_of(bucket), "{nanos} in {bucket}");
            assert!(bucket == 0 || nanos > bound_of(bucket - 1), "{nanos} in {bucket}");
        }
        assert_eq!(bound_of(BUCKETS - 1), 1 << MOST_BITS);
        assert_eq!(bucket_of(1 << MOST_BITS), BUCKETS - 1);
        assert_eq!(bucket_of(u64::MAX), BUCKETS - 1);
    }

    #[test]
    fn every_power_of_two_ends_a_bucket() {
        for power in 0..=MOST_BITS {
            assert_eq!(bound_of(bucket_of(1 << power)), 1 << power);
        }
    }

    fn of(durations: &[u64]) -> Distribution {
        let histogram = Histogram::new();
        for nanos in durations {
            histogram.record(Duration::from_nanos(*nanos));
        }
        histogram.look()
    }

    #[test]
    fn one_duration_is_told_as_it_was() {
        for nanos in durations().chain([u64::MAX]) {
            let one = of(&[nanos]);
            assert_eq!((one.count(), one.max()), (1, Duration::from_nanos(nanos)));
            assert_eq!((one.sum(), one.mean()), (one.max(), Some(one.max())));
            assert_eq!(one.quantile(0.5), Some(one.max()), "{nanos}");
        }
    }

    /// Numbers that look like chance, the same each time.
    fn random(seed: u64) -> impl FnMut() -> u64 {
        let mut state = seed;
        move || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            state >> 20
        }
    }

    #[test]
    fn a_quantile_is_never_too_low_and_at_most_a_sixteenth_too_high() {
        for seed in 0..200 {
            let mut next = random(seed);
            let count = 1 + next() % 300;
            // Of all orders of magnitude.
            let mut nanos: Vec<u64> = (0..count).map(|_| 1 + next() % (1 << (1 + next() % 41))).collect();
            let spread = of(&nanos);
            nanos.sort_unstable();
            assert_eq!(spread.sum().as_nanos(), nanos.iter().map(|nanos| u128::from(*nanos)).sum());
            assert_eq!(spread.max().as_nanos() as u64, nanos[nanos.len() - 1]);
            for (part, rank) in [(0.0, 1), (0.5, count.div_ceil(2)), (1.0, count)] {
                let exact = nanos[rank as usize - 1];
                let told = spread.quantile(part).unwrap().as_nanos() as u64;
                assert!(told >= exact && told - exact <= exact / 16, "seed {seed}: {part} is {exact}, not {told}");
            }
            for (bound, within) in spread.cumulative() {
                let exact = nanos.iter().filter(|nanos| u128::from(**nanos) <= bound.as_nanos()).count();
                assert_eq!(within, exact as u64, "seed {seed}: up to {bound:?}");
            }
        }
    }

    #[test]
    fn of_nothing_nothing_is_told_and_parts_beyond_all_are_the_ends() {
        let nothing = of(&[]);
        assert_eq!((nothing.count(), nothing.max()), (0, Duration::ZERO));
        assert_eq!((nothing.mean(), nothing.quantile(0.5)), (None, None));
        assert!(nothing.cumulative().all(|(_, within)| within == 0));
        let two = of(&[10, 1000]);
        assert_eq!(two.quantile(-1.0), Some(Duration::from_nanos(10)));
        assert_eq!(two.quantile(f64::NAN), Some(Duration::from_nanos(10)));
        assert_eq!(two.quantile(7.0), Some(Duration::from_micros(1)));
    }

    #[test]
    fn what_is_longer_than_the_last_bound_is_told_by_the_longest() {
        let hours = |hours: u64| hours * 3_600_000_000_000;
        assert_eq!(of(&[hours(2), hours(5)]).quantile(0.5), Some(Duration::from_nanos(hours(5))));
    }

    #[test]
    fn nothing_is_lost_when_many_record_at_once() {
        const EACH: u64 = if cfg!(miri) { 50 } else { 20_000 };
        let histogram = Histogram::new();
        std::thread::scope(|threads| {
            for thread in 0..4 {
                let histogram = &histogram;
                threads.spawn(move || {
                    for nanos in 1..=EACH {
                        histogram.record(Duration::from_nanos(nanos << thread));
                    }
                });
            }
            loop {
                let seen = histogram.look();
                // What is counted is in the sum, and is not longer than the longest.
                let counted: u64 =
                    seen.buckets.iter().enumerate().map(|(bucket, count)| count * bound_of(bucket)).sum();
                assert!(counted <= seen.sum + seen.sum / 8 + seen.count, "{} in all, not {counted}", seen.sum);
                let longest = seen.buckets.iter().rposition(|count| *count > 0);
                assert!(longest.is_none_or(|longest| bucket_of(seen.max) >= longest));
                if seen.count == 4 * EACH {
                    break;
                }
                std::thread::yield_now();
            }
        });
        let seen = histogram.look();
        assert_eq!(seen.sum, (1..=EACH).sum::<u64>() * 15);
        assert_eq!(seen.max, EACH << 3);
    }
}

//! Times of many single calls, and how long the slowest of them took.

use std::fmt;
use std::time::Instant;

/// Times in nanoseconds, in the order in which they were taken.
#[derive(Clone, Debug, Default)]
pub(crate) struct Times(Vec<u64>);

impl Times {
    /// Takes the time of one call.
    pub(crate) fn time<T>(&mut self, call: impl FnOnce() -> T) -> T {
        let start = Instant::now();
        let result = call();
        self.0.push(start.elapsed().as_nanos() as u64);
        result
    }

    /// Takes a time that somebody else has taken, in nanoseconds.
    pub(crate) fn push(&mut self, nanos: u64) {
        self.0.push(nanos);
    }

    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    /// The same calls in so many parts, one after the other; what is left over belongs to none.
    pub(crate) fn parts(&self, number: usize) -> impl Iterator<Item = Times> {
        self.0.chunks_exact(self.0.len() / number).take(number).map(|part| Times(part.to_vec()))
    }

    /// What so many of a thousand calls did not exceed, in microseconds.
    pub(crate) fn permille(&self, share: f64) -> f64 {
        let mut sorted = self.0.clone();
        sorted.sort_unstable();
        let rank = (sorted.len() as f64 * share / 1000.0).ceil() as usize;
        sorted.get(rank.max(1) - 1).map_or(f64::NAN, |&nanos| nanos as f64 / 1e3)
    }
}

impl fmt::Display for Times {
    /// The columns of [`HEADING`].
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        for share in [500.0, 990.0, 999.0, 1000.0] {
            write!(out, "{:>9.0}", self.permille(share))?;
        }
        Ok(())
    }
}

/// What stands over the columns of [`Times`].
pub(crate) const HEADING: &str = "      p50      p99    p99.9      max";

/// How many calls took how long, to a thirtieth: for so many that keeping each time would take memory.
#[derive(Clone, Debug)]
pub(crate) struct Tally(Vec<u64>);

impl Default for Tally {
    fn default() -> Tally {
        Tally(vec![0; Tally::bucket(u64::MAX) + 1])
    }
}

impl Tally {
    /// Numbers of one more binary digit share as many buckets.
    const STEPS: u64 = 32;

    fn bucket(nanos: u64) -> usize {
        let digits = u64::from((nanos / Tally::STEPS).checked_ilog2().map_or(0, |log| log + 1));
        // Below 32 each has its own; above, the five digits behind the first one tell.
        let within = nanos >> digits.saturating_sub(1);
        (digits * Tally::STEPS + within % Tally::STEPS) as usize
    }

    /// The least number of a bucket.
    fn least(bucket: usize) -> u64 {
        let (digits, within) = (bucket as u64 / Tally::STEPS, bucket as u64 % Tally::STEPS);
        if digits == 0 { within } else { (Tally::STEPS + within) << (digits - 1) }
    }

    /// Takes the time of one call.
    pub(crate) fn time<T>(&mut self, call: impl FnOnce() -> T) -> T {
        let start = Instant::now();
        let result = call();
        self.0[Tally::bucket(start.elapsed().as_nanos() as u64)] += 1;
        result
    }

    pub(crate) fn len(&self) -> u64 {
        self.0.iter().sum()
    }

    pub(crate) fn add(&mut self, others: &Tally) {
        for (count, other) in self.0.iter_mut().zip(&others.0) {
            *count += other;
        }
    }

    /// What so many of a thousand calls did not exceed, in microseconds.
    pub(crate) fn permille(&self, share: f64) -> f64 {
        let rank = (self.len() as f64 * share / 1000.0).ceil() as u64;
        let mut before = 0;
        let bucket = self.0.iter().position(|count| {
            before += count;
            before >= rank.max(1)
        });
        bucket.map_or(f64::NAN, |bucket| Tally::least(bucket) as f64 / 1e3)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tally_knows_each_time_to_a_thirtieth() {
        for nanos in (0..2000).chain((0..64).map(|bit| 1 << bit)).chain((5..64).map(|bit| (1 << bit) - 1)) {
            let bucket = Tally::bucket(nanos);
            let (least, next) = (Tally::least(bucket), Tally::least(bucket + 1).max(1));
            assert!(least <= nanos && (nanos < next || next < least), "{nanos}: {least} to {next}");
            assert!(nanos - least <= nanos / 32, "{nanos} is taken for {least}");
        }
        assert_eq!(Tally::bucket(u64::MAX) + 1, Tally::default().0.len());
        let mut tally = Tally::default();
        for micros in 1..=1000 {
            tally.0[Tally::bucket(micros * 1000)] += 1;
        }
        assert!((950.0..=990.0).contains(&tally.permille(990.0)), "{}", tally.permille(990.0));
        let before = tally.len();
        tally.add(&tally.clone());
        assert_eq!(tally.len(), 2 * before);
    }

    #[test]
    fn of_a_thousand_calls_one_took_longer_than_the_999th() {
        let times = Times((1..=1000).rev().map(|micros| micros * 1000).collect());
        assert_eq!(times.to_string(), "      500      990      999     1000");
        assert!((times.permille(0.0) - 1.0).abs() < 1e-9);
        let halves: Vec<f64> = times.parts(2).map(|half| half.permille(1000.0)).collect();
        assert_eq!(halves, [1000.0, 500.0]);
    }
}

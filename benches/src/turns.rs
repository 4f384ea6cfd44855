//! Running contestants in turn, and what may be said of their times.

use std::fmt;
use std::time::Instant;

/// One run of one contestant; it gives the seconds that are to count.
pub(crate) type Run<'a> = Box<dyn FnMut() -> f64 + 'a>;

/// Runs everybody once in each round, A B C A B C …, and gives the seconds of each, round by round.
///
/// A round before the first warms up: the epoch, the first allocations, the caches. It does not count.
pub(crate) fn in_turn(rounds: usize, mut contestants: Vec<Run<'_>>) -> Vec<Vec<f64>> {
    let mut seconds = vec![Vec::with_capacity(rounds); contestants.len()];
    for round in 0..=rounds {
        for (run, seconds) in contestants.iter_mut().zip(&mut seconds) {
            let took = run();
            if round > 0 {
                seconds.push(took);
            }
        }
    }
    seconds
}

pub(crate) fn timed(work: impl FnOnce()) -> f64 {
    let start = Instant::now();
    work();
    start.elapsed().as_secs_f64()
}

/// How many times as fast we were, round by round.
pub(crate) fn ratios(ours: &[f64], theirs: &[f64]) -> Spread {
    Spread::of(&pairs(ours, theirs, |ours, theirs| theirs / ours))
}

/// How much longer it took with something than without, round by round.
pub(crate) fn differences(with: &[f64], without: &[f64]) -> Spread {
    Spread::of(&pairs(with, without, |with, without| with - without))
}

fn pairs(a: &[f64], b: &[f64], both: impl Fn(f64, f64) -> f64) -> Vec<f64> {
    a.iter().zip(b).map(|(&a, &b)| both(a, b)).collect()
}

/// A median and its 95 % interval.
#[derive(Clone, Copy)]
pub(crate) struct Spread {
    pub(crate) median: f64,
    pub(crate) low: f64,
    pub(crate) high: f64,
}

impl Spread {
    pub(crate) fn of(values: &[f64]) -> Spread {
        let mut sorted = values.to_vec();
        sorted.sort_by(f64::total_cmp);
        let n = sorted.len();
        // Ranks of the 95 % interval of a median, by the normal approximation of the binomial, widened
        // to whole ranks: of 31 values those from the 10th to the 22nd, which is 97 %.
        let reach = (0.98 * (n as f64).sqrt()).ceil() as usize;
        let (low, high) = ((n / 2).saturating_sub(reach), (n / 2 + reach).min(n - 1));
        Spread { median: sorted[n / 2], low: sorted[low], high: sorted[high] }
    }

    /// Of a ratio, that of the other to the one.
    pub(crate) fn inverse(self) -> Spread {
        Spread { median: 1.0 / self.median, low: 1.0 / self.high, high: 1.0 / self.low }
    }

    /// The same in another unit.
    pub(crate) fn times(self, factor: f64) -> Spread {
        Spread { median: self.median * factor, low: self.low * factor, high: self.high * factor }
    }
}

impl fmt::Display for Spread {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let digits = out.precision().unwrap_or(2);
        write!(out, "{:.digits$} ({:.digits$} – {:.digits$})", self.median, self.low, self.high)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_interval_of_31_values_leaves_out_nine_at_each_end() {
        let values: Vec<f64> = (1..=31).rev().map(f64::from).collect();
        assert_eq!(Spread::of(&values).to_string(), "16.00 (10.00 – 22.00)");
    }

    #[test]
    fn everybody_runs_once_in_each_round_and_the_first_round_does_not_count() {
        let order = std::cell::RefCell::new(Vec::new());
        let contestant = |name: u32| -> Run<'_> {
            let order = &order;
            Box::new(move || {
                order.borrow_mut().push(name);
                order.borrow().len() as f64
            })
        };
        let seconds = in_turn(2, vec![contestant(1), contestant(2)]);
        assert_eq!(*order.borrow(), [1, 2, 1, 2, 1, 2]);
        assert_eq!(seconds, [[3.0, 5.0], [4.0, 6.0]]);
    }

    #[test]
    fn who_takes_half_the_time_is_twice_as_fast() {
        let (ours, theirs) = ([1.0, 1.0, 3.0], [2.0, 2.0, 6.0]);
        assert_eq!(ratios(&ours, &theirs).to_string(), "2.00 (2.00 – 2.00)");
        assert_eq!(differences(&theirs, &ours).times(1e3).to_string(), "1000.00 (1000.00 – 3000.00)");
    }
}

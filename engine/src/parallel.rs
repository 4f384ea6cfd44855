//! The same work on many things, on a few threads: for passes over whole files, which one core does not keep up with.

use std::collections::BTreeMap;

use crate::sync::atomic::{AtomicUsize, Ordering};
use crate::sync::{Condvar, Mutex, thread};

/// How many threads a pass over files takes when nobody says: as many as there are cores.
#[cfg(not(all(test, shuttle)))]
pub(crate) fn cores() -> usize {
    thread::available_parallelism().map_or(1, std::num::NonZero::get)
}

/// A scheduler knows none.
#[cfg(all(test, shuttle))]
pub(crate) fn cores() -> usize {
    1
}

/// Does the work for each number below `count`, on so many threads; what each gives, in order.
///
/// With one thread, or one thing to do, it is done here, in order.
pub(crate) fn each<T: Send>(threads: usize, count: usize, work: impl Fn(usize) -> T + Sync) -> Vec<T> {
    let threads = threads.min(count);
    if threads <= 1 {
        return (0..count).map(work).collect();
    }
    let next = AtomicUsize::new(0);
    let done = Mutex::new(Vec::with_capacity(count));
    thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                loop {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    if number >= count {
                        return;
                    }
                    let made = work(number);
                    done.lock().push((number, made));
                }
            });
        }
    });
    let mut done = std::mem::take(&mut *done.lock());
    done.sort_unstable_by_key(|(number, _)| *number);
    done.into_iter().map(|(_, made)| made).collect()
}

/// Does the work for each number below `count`, on so many threads, and hands what each gives to `take`, in order and in
/// this thread, until that says that it is enough. What was made and not taken is no more than some times the number of threads.
///
/// With one thread, or one thing to do, it is all done here, one after the other.
pub(crate) fn in_order<T: Send>(
    threads: usize,
    count: usize,
    work: impl Fn(usize) -> T + Sync,
    mut take: impl FnMut(T) -> bool,
) {
    let threads = threads.min(count);
    if threads <= 1 {
        let _ = (0..count).all(|number| take(work(number)));
        return;
    }
    let line = Line {
        state: Mutex::new(State { made: BTreeMap::new(), next: 0, taken: 0, is_over: false }),
        news: Condvar::default(),
    };
    let most_ahead = threads * 2;
    thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                let over = Over(&line);
                while let Some(number) = line.claim(count, most_ahead) {
                    let made = work(number);
                    line.state.lock().made.insert(number, made);
                    line.news.notify_all();
                }
                std::mem::forget(over);
            });
        }
        // Also when `take` panics, nobody waits for ever.
        let _over = Over(&line);
        for number in 0..count {
            if !line.wait_for(number).is_some_and(&mut take) {
                break;
            }
        }
    });
}

/// Who waits for what, while things are made out of order and taken in order.
struct Line<T> {
    state: Mutex<State<T>>,
    news: Condvar,
}

struct State<T> {
    made: BTreeMap<usize, T>,
    /// The number that is worked on next.
    next: usize,
    /// How many were taken.
    taken: usize,
    /// Nothing more is begun, or taken.
    is_over: bool,
}

impl<T> Line<T> {
    fn claim(&self, count: usize, most_ahead: usize) -> Option<usize> {
        let mut state = self.state.lock();
        while !state.is_over && state.next < count && state.next >= state.taken + most_ahead {
            self.news.wait(&mut state);
        }
        let number = state.next;
        if state.is_over || number >= count {
            return None;
        }
        state.next += 1;
        Some(number)
    }

    fn wait_for(&self, number: usize) -> Option<T> {
        let mut state = self.state.lock();
        loop {
            if let Some(made) = state.made.remove(&number) {
                state.taken = number + 1;
                self.news.notify_all();
                return Some(made);
            }
            if state.is_over {
                return None;
            }
            self.news.wait(&mut state);
        }
    }
}

/// Dropped by who panics, and by who has enough: then nobody waits for him.
struct Over<'a, T>(&'a Line<T>);

impl<T> Drop for Over<'_, T> {
    fn drop(&mut self) {
        self.0.state.lock().is_over = true;
        self.0.news.notify_all();
    }
}

#[cfg(all(test, not(shuttle)))]
mod tests {
    use super::*;

    #[test]
    fn what_each_gives_stands_in_its_place_whoever_was_faster() {
        for threads in [0, 1, 3, 100] {
            assert_eq!(each(threads, 20, |number| number * 2), (0..20).map(|number| number * 2).collect::<Vec<_>>());
        }
        assert_eq!(each(4, 0, |number| number), []);
    }

    #[test]
    fn all_are_taken_in_order_whoever_was_faster_and_none_is_made_far_ahead() {
        for threads in [0, 1, 3, 100] {
            let (made, mut taken) = (AtomicUsize::new(0), Vec::new());
            in_order(
                threads,
                200,
                |number| {
                    made.fetch_add(1, Ordering::Relaxed);
                    thread::sleep(std::time::Duration::from_micros(number as u64 * 7919 % 300));
                    number
                },
                |number| {
                    taken.push(number);
                    assert!(made.load(Ordering::Relaxed) <= taken.len() + 2 * threads.max(1), "{threads} threads");
                    true
                },
            );
            assert_eq!(taken, (0..200).collect::<Vec<_>>(), "{threads} threads");
        }
    }

    #[test]
    fn who_has_enough_gets_no_more() {
        for threads in [1, 4] {
            let mut taken = 0;
            in_order(
                threads,
                1000,
                |number| number,
                |number| {
                    taken += 1;
                    number < 5
                },
            );
            assert_eq!(taken, 6);
        }
    }

    #[test]
    fn a_panic_in_the_work_comes_through_and_nobody_waits_for_what_is_not_made() {
        let panicked = std::panic::catch_unwind(|| in_order(3, 50, |number| assert_ne!(number, 17), |()| true));
        assert!(panicked.is_err());
        let panicked = std::panic::catch_unwind(|| in_order(3, 50, |number| number, |number| number != 17 || panic!()));
        assert!(panicked.is_err());
    }
}

//! The same work on many things, on a few threads: for passes over whole files, which one core does not keep up with.

use crate::sync::atomic::{AtomicUsize, Ordering};
use crate::sync::{Mutex, thread};

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
}

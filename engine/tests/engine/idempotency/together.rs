//! Many retries at once.

use super::*;

#[test]
fn whoever_retries_at_the_same_time_it_is_there_once() {
    const THREADS: usize = 6;
    on_every_kind(|place| {
        let store = place.open(&annals::Options::new().segment_bytes(64 << 10));
        let barrier = Barrier::new(THREADS);
        let appended: usize = std::thread::scope(|threads| {
            let retry = || {
                let mut appended = 0;
                for round in 0..40_u8 {
                    barrier.wait();
                    let large = NewEvent::new("Large", vec![round; 2_000]);
                    let keyed = store.batch().idempotency_key(format!("key-{round}")).event("keyed", large.clone());
                    let keyed = keyed.submit().unwrap();
                    let named = store.append_batch("named", Any, [large.id(id(round)), event("B")]).unwrap();
                    let keyed = keyed.wait().unwrap();
                    for (done, events) in [(keyed, 1), (named, 2)] {
                        assert_eq!(done.last.get() + 1 - done.first.get(), events);
                        appended += usize::from(done.outcome == Outcome::Appended);
                    }
                }
                appended
            };
            let all: Vec<_> = (0..THREADS).map(|_| threads.spawn(retry)).collect();
            all.into_iter().map(|thread| thread.join().unwrap()).sum()
        });
        assert_eq!(appended, 80, "one of the threads, each time");
        assert_eq!(store.head(), pos(120));
        assert_eq!(store.stream_version("keyed").unwrap(), ver(40));
    });
}

#[test]
fn who_looks_while_it_is_appended_finds_it_or_does_not_and_never_meets_an_error() {
    // It is in the index a moment before it can be read.
    on_every_kind(|place| {
        let store = place.open(&annals::Options::new().segment_bytes(64 << 10).durability(Durability::Buffered));
        let next = std::sync::atomic::AtomicU32::new(0);
        let id = |number: u32| {
            let mut bytes = [9; 16];
            bytes[..4].copy_from_slice(&number.to_le_bytes());
            EventId::from_bytes(bytes)
        };
        std::thread::scope(|threads| {
            let reader = threads.spawn(|| {
                let mut found = 0;
                while found < 2_000 {
                    let number = next.load(std::sync::atomic::Ordering::Relaxed);
                    let key = store.find_append(number.to_string()).unwrap();
                    let event = store.get_event(id(number)).unwrap();
                    // The key was looked for first, and what is there stays.
                    assert!(key.is_none() || event.is_some());
                    found = if event.is_some() { number + 1 } else { found };
                }
            });
            for number in 0..2_000 {
                next.store(number, std::sync::atomic::Ordering::Relaxed);
                let event = NewEvent::new("A", vec![1; 100]).id(id(number));
                store.batch().idempotency_key(number.to_string()).event("a", event).commit().unwrap();
            }
            reader.join().unwrap();
        });
    });
}

#[test]
fn a_group_of_thousands_of_retries_takes_no_longer_than_one_of_as_many_appends() {
    // Looking for each among all the others would be 100 million comparisons.
    let store = EventStore::in_memory(&annals::Options::new().background(false)).unwrap();
    let batch = |number: u32| {
        let mut bytes = [7; 16];
        bytes[..4].copy_from_slice(&number.to_le_bytes());
        let event = NewEvent::new("A", number.to_le_bytes().to_vec()).id(EventId::from_bytes(bytes));
        store.batch().idempotency_key(number.to_string()).event("a", event).submit().unwrap()
    };
    let start = std::time::Instant::now();
    let tickets: Vec<_> = (0..10_000).chain(0..10_000).map(batch).collect();
    let mut duplicates = 0;
    for (number, ticket) in tickets.into_iter().enumerate() {
        let done = ticket.wait().unwrap();
        assert_eq!(done.last.get(), number as u64 % 10_000 + 1);
        duplicates += usize::from(done.outcome == Outcome::Duplicate);
    }
    assert_eq!(duplicates, 10_000);
    assert!(start.elapsed().as_secs() < 20, "{:?}", start.elapsed());
}

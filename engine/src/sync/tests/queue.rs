//! The commit queue by itself: of few callers every interleaving there is, of more a great many.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use annals_codec::StreamId;
use shuttle::scheduler::DfsScheduler;

use super::{play, run};
use crate::append::ExpectedVersion;
use crate::append::queue::{Committer, Few, Queue, Reply};
use crate::append::request::Request;
use crate::error::AppendError;
use crate::event::NewEvent;
use crate::options::Durability;
use crate::sync::thread;

/// Commits nothing, and sees that nobody else does at the same time.
#[derive(Default)]
struct Counting {
    busy: AtomicBool,
    committed: AtomicUsize,
}

impl Committer for Counting {
    fn commit(&self, requests: &[Request], replies: &mut Few<Reply>) {
        assert!(!self.busy.swap(true, Ordering::Relaxed), "two lead at once");
        thread::yield_now();
        self.busy.store(false, Ordering::Relaxed);
        self.committed.fetch_add(requests.len(), Ordering::Relaxed);
        replies.extend(requests.iter().map(|_| Err(AppendError::StorageFull)));
    }

    fn abort(&self) -> AppendError {
        unreachable!("nobody panics here")
    }
}

fn request() -> Request {
    let stream = StreamId::new("a").unwrap();
    Request::single(stream, ExpectedVersion::Any, NewEvent::new("A", ""), Durability::Sync)
}

/// Each act is answered, and each request committed once.
fn act(acts: &[fn(&Queue, &Counting)], requests: usize) {
    let (queue, committer) = (Arc::new(Queue::default()), Arc::new(Counting::default()));
    let act = |act: &fn(&Queue, &Counting)| {
        let (act, queue, committer) = (*act, Arc::clone(&queue), Arc::clone(&committer));
        thread::spawn(move || act(&queue, &committer))
    };
    let threads: Vec<_> = acts.iter().map(act).collect();
    for thread in threads {
        thread.join().expect("it did not panic");
    }
    queue.drain(&*committer);
    assert_eq!(committer.committed.load(Ordering::Relaxed), requests);
}

fn commit(queue: &Queue, committer: &Counting) {
    assert!(matches!(queue.commit(request(), committer), Err(AppendError::StorageFull)));
}

fn submit(queue: &Queue, _: &Counting) {
    drop(queue.submit(request()));
}

fn drain(queue: &Queue, committer: &Counting) {
    let ticket = queue.submit(request());
    queue.drain(committer);
    assert!(committer.committed.load(Ordering::Relaxed) > 0, "it is drained");
    drop(ticket);
}

#[test]
fn two_callers_are_each_served_once_in_every_interleaving() {
    run(DfsScheduler::new(None, false), || act(&[commit, commit], 2));
}

#[test]
fn a_caller_beside_a_ticket_that_nobody_waits_for_is_served_in_every_interleaving() {
    run(DfsScheduler::new(None, false), || act(&[commit, submit], 2));
}

#[test]
fn who_drains_beside_callers_returns() {
    play(|| act(&[commit, drain, commit, drain], 4), 20_000);
}

#[test]
fn four_callers_are_each_served_once() {
    play(|| act(&[commit, commit, submit, commit, commit], 5), 20_000);
}

//! Who is served, when, and by how many at a time.

use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::time::Duration;

use super::*;

/// Says its name each time, and does what it was made for.
struct Tells<F>(char, SyncSender<char>, F);

impl<F: Fn(&Turn<'_>) -> Option<Instant> + Send + Sync> Chores for Tells<F> {
    fn run(&self, turn: &Turn<'_>) -> Option<Instant> {
        self.1.send(self.0).unwrap();
        (self.2)(turn)
    }
}

fn join<F>(threads: &Threads, name: char, tell: &SyncSender<char>, work: F) -> Seat
where
    F: Fn(&Turn<'_>) -> Option<Instant> + Send + Sync + 'static,
{
    threads.crew().join(Arc::new(Tells(name, tell.clone(), work)))
}

fn told() -> (SyncSender<char>, Receiver<char>) {
    sync_channel(1000)
}

/// Work that takes as long as somebody wants it to.
fn gate() -> (SyncSender<()>, impl Fn(&Turn<'_>) -> Option<Instant> + Send + Sync + 'static) {
    let (open, gate) = sync_channel::<()>(0);
    let gate = Mutex::new(gate);
    let wait = move |_: &Turn<'_>| {
        gate.lock().recv().unwrap();
        None
    };
    (open, wait)
}

#[test]
fn each_is_served_once_at_first_and_then_when_it_is_called_or_due() {
    let threads = Threads::start(1, "test").unwrap();
    let (tell, told) = told();
    let quiet = join(&threads, 'a', &tell, |_| None);
    assert_eq!(told.recv(), Ok('a'));
    let timed = join(&threads, 'b', &tell, |_| Some(Instant::now() + Duration::from_millis(2)));
    assert_eq!(told.iter().take(5).collect::<String>(), "bbbbb", "nobody has called");
    quiet.caller().call();
    assert!(told.iter().take(50).any(|name| name == 'a'));
    drop((quiet, timed));
    while told.try_recv().is_ok() {}
    assert!(told.recv_timeout(Duration::from_millis(30)).is_err(), "nobody is there");
    assert_eq!(threads.crew().members(), 0);
}

#[test]
fn what_is_called_for_while_it_is_served_is_served_once_more_and_not_meanwhile() {
    let threads = Threads::start(4, "test").unwrap();
    let (tell, told) = told();
    let (open, wait) = gate();
    let seat = join(&threads, 'a', &tell, wait);
    assert_eq!(told.recv(), Ok('a'));
    for _ in 0..10 {
        seat.caller().call();
    }
    assert!(told.recv_timeout(Duration::from_millis(20)).is_err(), "it is being served");
    open.send(()).unwrap();
    assert_eq!(told.recv(), Ok('a'));
    open.send(()).unwrap();
    drop(seat);
    assert!(told.try_recv().is_err(), "ten calls are one");
}

#[test]
fn who_leaves_waits_until_what_is_done_for_it_is_done() {
    let threads = Threads::start(2, "test").unwrap();
    let (tell, told) = told();
    let (open, wait) = gate();
    let (seat, done) = (join(&threads, 'a', &tell, wait), tell.clone());
    assert_eq!(told.recv(), Ok('a'));
    let leaving = thread::spawn(move || {
        drop(seat);
        done.send('!').unwrap();
    });
    assert!(told.recv_timeout(Duration::from_millis(20)).is_err(), "it is being served");
    open.send(()).unwrap();
    leaving.join().unwrap();
    assert_eq!((told.try_recv(), threads.crew().members()), (Ok('!'), 0));
}

#[test]
fn long_work_sees_that_others_wait_and_that_its_own_store_is_being_closed() {
    let threads = Threads::start(1, "test").unwrap();
    let (tell, told) = told();
    let until_it_is_enough = |turn: &Turn<'_>| {
        while !turn.others_wait() && !turn.is_over() {
            thread::yield_now();
        }
        None
    };
    let long = join(&threads, 'a', &tell, until_it_is_enough);
    assert_eq!(told.recv(), Ok('a'));
    let other = join(&threads, 'b', &tell, |_| None);
    assert_eq!(told.recv(), Ok('b'));
    long.caller().call();
    assert_eq!(told.recv(), Ok('a'));
    drop(long);
    drop(other);
    assert_eq!(threads.crew().members(), 0);
}

#[test]
fn a_member_that_panics_is_served_no_more_and_all_others_are() {
    let threads = Threads::start(1, "test").unwrap();
    let (tell, told) = told();
    let bad = join(&threads, '!', &tell, |_| panic!("as the test wants it"));
    let good = join(&threads, 'a', &tell, |_| None);
    assert_eq!((told.recv(), told.recv()), (Ok('!'), Ok('a')));
    bad.caller().call();
    good.caller().call();
    assert_eq!(told.recv(), Ok('a'));
    assert!(told.recv_timeout(Duration::from_millis(20)).is_err());
    drop((bad, good));
    assert_eq!(threads.crew().members(), 0);
}

#[test]
fn while_one_is_served_long_another_thread_keeps_the_time() {
    let threads = Threads::start(2, "test").unwrap();
    let (tell, told) = told();
    let timed = join(&threads, 't', &tell, |_| Some(Instant::now() + Duration::from_millis(5)));
    assert_eq!(told.recv(), Ok('t'));
    let (open, wait) = gate();
    let long = join(&threads, 'l', &tell, wait);
    assert!(told.iter().any(|name| name == 'l'));
    assert_eq!(told.iter().take(5).collect::<String>(), "ttttt");
    open.send(()).unwrap();
    drop((long, timed));
}

//! Threads that do what one store or many have to do beside their writers.
//!
//! ```text
//! Bell ── call ──►  who waits  ── a thread takes the first ──► Chores::run ──► when it is due next, or called for
//! Sealed ─ call ─►  (in order)    of them that is not served
//! ```
//!
//! What is always true:
//!
//! - Of one member, one piece of work is done at a time; what it is called for meanwhile is done afterwards.
//! - Who was called for is served in the order of the calls; a long piece of work asks whether others wait.
//! - Once a [`Seat`] is dropped, nothing is done for it any more, and nothing of it is held.
//! - A panic of one member is printed and ends its service, and nobody else's.

use std::collections::{BTreeMap, VecDeque};
use std::fmt;
use std::io;
use std::panic::{self, AssertUnwindSafe};
use std::sync::Arc;
use std::time::Instant;

use crate::sync::thread::{self, JoinHandle};
use crate::sync::{Condvar, Mutex};

/// What has to be done for a store from time to time.
pub(crate) trait Chores: Send + Sync {
    /// Does what there is to do now, and says when there will be something, though nobody calls.
    fn run(&self, turn: &Turn<'_>) -> Option<Instant>;
}

/// What a piece of work sees of those around it.
pub(crate) struct Turn<'a> {
    crew: &'a Crew,
    number: u64,
}

impl Turn<'_> {
    /// Whether the store is being closed, so that nothing long is begun any more.
    pub(crate) fn is_over(&self) -> bool {
        self.crew.state.lock().members.get(&self.number).is_none_or(|member| member.is_leaving)
    }

    /// Whether others wait for their turn.
    pub(crate) fn others_wait(&self) -> bool {
        !self.crew.state.lock().waiting.is_empty()
    }
}

struct Member {
    /// `None` when it has panicked.
    chores: Option<Arc<dyn Chores>>,
    /// Called for, since it was served last.
    is_called: bool,
    is_served: bool,
    is_leaving: bool,
    due: Option<Instant>,
}

#[derive(Default)]
struct State {
    members: BTreeMap<u64, Member>,
    /// Who is to be served, in the order of the calls. Some may have left.
    waiting: VecDeque<u64>,
    joined: u64,
    is_over: bool,
}

impl State {
    fn call(&mut self, number: u64) {
        let Some(member) = self.members.get_mut(&number) else { return };
        let is_new = !std::mem::replace(&mut member.is_called, true);
        // Who is served is put behind the others when that is over.
        if is_new && !member.is_served {
            self.waiting.push_back(number);
        }
    }

    /// Who is served next.
    fn next(&mut self) -> Option<(u64, Arc<dyn Chores>)> {
        let now = Instant::now();
        let is_due = |member: &Member| !member.is_served && member.due.is_some_and(|due| due <= now);
        let due: Vec<u64> =
            self.members.iter().filter(|(_, member)| is_due(member)).map(|(number, _)| *number).collect();
        for number in due {
            self.call(number);
        }
        while let Some(number) = self.waiting.pop_front() {
            let Some(member) = self.members.get_mut(&number).filter(|member| !member.is_leaving) else { continue };
            (member.is_called, member.due) = (false, None);
            if let Some(chores) = &member.chores {
                member.is_served = true;
                return Some((number, Arc::clone(chores)));
            }
        }
        None
    }

    /// When somebody has to be served who was not called for.
    fn due(&self) -> Option<Instant> {
        self.members.values().filter(|member| !member.is_served).filter_map(|member| member.due).min()
    }

    /// Somebody was served, and has said when he is due.
    fn served(&mut self, number: u64, due: Result<Option<Instant>, Panicked>) {
        let Some(member) = self.members.get_mut(&number) else { return };
        member.is_served = false;
        match due {
            Ok(due) => member.due = due,
            Err(Panicked) => member.chores = None,
        }
        if member.is_called {
            self.waiting.push_back(number);
        }
    }
}

/// Who is served, and what the threads wait for.
#[derive(Default)]
pub(crate) struct Crew {
    state: Mutex<State>,
    called: Condvar,
    /// Somebody has been served.
    served: Condvar,
}

impl fmt::Debug for Crew {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("Crew").finish_non_exhaustive()
    }
}

impl Crew {
    /// Has `chores` served from here on, and once at first.
    pub(crate) fn join(self: &Arc<Crew>, chores: Arc<dyn Chores>) -> Seat {
        let mut state = self.state.lock();
        state.joined += 1;
        let number = state.joined;
        let member = Member { chores: Some(chores), is_called: false, is_served: false, is_leaving: false, due: None };
        state.members.insert(number, member);
        drop(state);
        let seat = Seat(Caller { crew: Arc::clone(self), number });
        seat.0.call();
        seat
    }

    /// How many are served.
    #[cfg(all(test, not(shuttle)))]
    pub(crate) fn members(&self) -> usize {
        self.state.lock().members.len()
    }

    /// What each of the threads does.
    fn serve(&self) {
        let mut state = self.state.lock();
        while !state.is_over {
            let Some((number, chores)) = state.next() else {
                match state.due() {
                    Some(due) => {
                        self.called.wait_until(&mut state, due);
                    }
                    None => self.called.wait(&mut state),
                }
                continue;
            };
            // Somebody else has to keep the time meanwhile, and to take who is next.
            self.called.notify_one();
            drop(state);
            let done = undisturbed(|| chores.run(&Turn { crew: self, number }));
            // It may leave as soon as it is served, and then nobody holds anything of it.
            drop(chores);
            state = self.state.lock();
            state.served(number, done);
            self.served.notify_all();
        }
    }
}

/// What somebody was served with has panicked, which has been printed.
#[derive(Clone, Copy)]
struct Panicked;

fn undisturbed<T>(work: impl FnOnce() -> T) -> Result<T, Panicked> {
    if cfg!(all(test, shuttle)) {
        // There a panic is what is looked for.
        return Ok(work());
    }
    panic::catch_unwind(AssertUnwindSafe(work)).map_err(|_| Panicked)
}

/// Calls for a thread.
#[derive(Clone, Debug)]
pub(crate) struct Caller {
    crew: Arc<Crew>,
    number: u64,
}

impl Caller {
    pub(crate) fn call(&self) {
        self.crew.state.lock().call(self.number);
        self.crew.called.notify_one();
    }
}

/// Being served. Dropping it waits until what is being done for it is done.
#[derive(Debug)]
pub(crate) struct Seat(Caller);

impl Seat {
    pub(crate) fn caller(&self) -> Caller {
        self.0.clone()
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let Caller { crew, number } = &self.0;
        let mut state = crew.state.lock();
        let leaving = |member: &mut Member| {
            member.is_leaving = true;
            member.is_served
        };
        while state.members.get_mut(number).is_some_and(leaving) {
            crew.served.wait(&mut state);
        }
        let left = state.members.remove(number);
        drop(state);
        // What it held may take long to be let go of.
        drop(left);
    }
}

/// Threads, which end when this is dropped.
#[derive(Debug)]
pub(crate) struct Threads {
    crew: Arc<Crew>,
    threads: Vec<JoinHandle<()>>,
}

impl Threads {
    /// Starts so many threads of this name.
    pub(crate) fn start(count: usize, name: &str) -> io::Result<Threads> {
        let mut started = Threads { crew: Arc::default(), threads: Vec::new() };
        for _ in 0..count {
            let crew = Arc::clone(&started.crew);
            started.threads.push(thread::Builder::new().name(name.to_owned()).spawn(move || crew.serve())?);
        }
        Ok(started)
    }

    pub(crate) fn crew(&self) -> &Arc<Crew> {
        &self.crew
    }
}

impl Drop for Threads {
    fn drop(&mut self) {
        self.crew.state.lock().is_over = true;
        self.crew.called.notify_all();
        for thread in self.threads.drain(..) {
            // A panic outside the work of a store has been printed, and there is nothing else to do about it.
            let _ = thread.join();
        }
    }
}

#[cfg(all(test, not(shuttle)))]
mod tests;

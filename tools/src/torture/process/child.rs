//! The process that is killed: it appends from several threads, and says so before and after each append.

use std::fs::File;
use std::io::{self, Write as _};
use std::os::fd::AsFd as _;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use annals::{
    AppendCondition, AppendError, Appended, BatchBuilder, Durability, EventStore, ExpectedVersion, OpenError, Options,
    QueryItem, StreamVersion,
};

use super::dice::Dice;
use super::follower;
use super::said::{Refusal, Said};
use super::work::{Asks, Batch, Name, batch};
use crate::exit::{Ended, Exit, Failure};

/// After so long it is taken to hang.
const LONGEST_LIFE: Duration = Duration::from_secs(60);
/// How often a thread goes on trying after it was told that the store is poisoned.
const AFTER_POISON: u32 = 3;

/// The child: opens the store, appends so many batches from each thread, and closes it.
pub(crate) fn run(dir: &Path, seed: u64, life: u32, batches: u32) -> Ended {
    let mouth = Mouth::open().map_err(|error| Failure::output(&error))?;
    mouth.tells_of_panics();
    mouth.tells_of_hanging();
    let mut dice = Dice::new(seed ^ u64::from(life).wrapping_mul(0xD1B5_4A32_D192_ED03));
    let store = match EventStore::open(dir, &options(&mut dice)) {
        Ok(store) => store,
        Err(error) => {
            let damaged = matches!(error, OpenError::Corrupt(_) | OpenError::Inconsistent { .. });
            mouth.say(&Said::NotOpened { damaged, why: causes(&error) });
            return Ok(Exit::Io);
        }
    };
    mouth.say(&Said::Opened { head: store.head(), repaired: !store.recovery_report().is_clean() });
    let threads = 1 + dice.below(4) as u16;
    let thread = |thread| Worker {
        store: &store,
        mouth: &mouth,
        seed,
        life,
        thread,
        dice: Dice::new(seed ^ u64::from(life) << 20 ^ u64::from(thread)),
        tries: batches,
        next: 0,
    };
    let are_done = AtomicBool::new(false);
    let folding = follower::fold(&store);
    thread::scope(|scope| {
        let follows = Dice::new(seed ^ u64::from(life) << 24);
        scope.spawn(|| follower::follow(&store, follows, &are_done, |said| mouth.say(said)));
        thread::scope(|scope| {
            for other in 1..threads {
                let worker = thread(other);
                scope.spawn(move || worker.work());
            }
            // The first worker is the thread that opened the store: who counts the system calls of each
            // thread can stop this one in the first append, and anywhere in the open.
            thread(0).work();
        });
        are_done.store(true, Ordering::SeqCst);
    });
    drop(folding);
    let head = store.head();
    mouth.say(&if store.close().is_ok() { Said::Closed { head } } else { Said::NotClosed });
    Ok(Exit::Fine)
}

/// Small segments, so that it rolls often; and every other option that changes what the disk sees.
fn options(dice: &mut Dice) -> Options {
    let flush_interval = dice.one_of(&[None, Some(2), Some(40)]);
    Options::new()
        .segment_bytes(64 << 10 << dice.below(3))
        .zero_ahead(dice.one_of(&[0, 64 << 10, 256 << 10]))
        .flush_interval(flush_interval.map(Duration::from_millis))
        .background(dice.chance(85))
        .pread(dice.chance(20))
}

fn causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    text
}

/// Where the child says things: one line, one `write`.
#[derive(Clone)]
struct Mouth(Arc<File>);

impl Mouth {
    /// Standard output, past the buffer that the process has for it.
    fn open() -> io::Result<Mouth> {
        let out = io::stdout().as_fd().try_clone_to_owned()?;
        Ok(Mouth(Arc::new(File::from(out))))
    }

    fn say(&self, said: &Said) {
        // Who is not heard any more has nothing to do.
        if (&*self.0).write_all(format!("{said}\n").as_bytes()).is_err() {
            std::process::exit(i32::from(Exit::Io as u8));
        }
    }

    fn tells_of_panics(&self) {
        let mouth = self.clone();
        std::panic::set_hook(Box::new(move |panic| mouth.say(&Said::Panicked { what: panic.to_string() })));
    }

    fn tells_of_hanging(&self) {
        let mouth = self.clone();
        thread::spawn(move || {
            thread::sleep(LONGEST_LIFE);
            mouth.say(&Said::Panicked { what: format!("it hangs: not done after {LONGEST_LIFE:?}") });
            std::process::abort();
        });
    }
}

/// One thread of the child.
struct Worker<'a> {
    store: &'a EventStore,
    mouth: &'a Mouth,
    seed: u64,
    life: u32,
    thread: u16,
    dice: Dice,
    /// How many times it goes on.
    tries: u32,
    /// The number of its next batch.
    next: u32,
}

impl Worker<'_> {
    fn work(mut self) {
        while self.tries > 0 {
            self.tries -= 1;
            match self.dice.below(20) {
                0 => self.flush(),
                1 => self.again(),
                2 | 3 => self.tickets(),
                _ => self.one(),
            }
        }
    }

    fn one(&mut self) {
        let (name, batch) = self.next_batch();
        let done = self.asking(&batch).and_then(BatchBuilder::commit);
        self.tell(name, batch.durability, &done);
    }

    /// Several batches in the hands of the store at once. Sometimes nobody waits for the last.
    fn tickets(&mut self) {
        let mut tickets = Vec::new();
        for _ in 0..2 + self.dice.below(4) {
            let (name, batch) = self.next_batch();
            tickets.push((name, batch.durability, self.asking(&batch).and_then(BatchBuilder::submit)));
        }
        if self.dice.chance(25) {
            tickets.pop();
        }
        for (name, durability, ticket) in tickets {
            self.tell(name, durability, &ticket.and_then(annals::Ticket::wait));
        }
    }

    /// A batch of this thread's that may be there already: from earlier in this life, or from the life before.
    fn again(&mut self) {
        let (life, numbers) = match self.life.checked_sub(1) {
            Some(before) if self.dice.chance(50) => (before, 40),
            _ => (self.life, u64::from(self.next)),
        };
        let name = Name { life, thread: self.thread, number: self.dice.below(numbers) as u32 };
        let batch = batch(self.seed, name);
        if !batch.can_be_retried() || life == self.life && name.number >= self.next {
            return;
        }
        self.mouth.say(&Said::Intend { name, again: true });
        self.tell(name, batch.durability, &builder(self.store, &batch).commit());
    }

    fn flush(&mut self) {
        let thread = self.thread;
        self.mouth.say(&Said::Flushing { thread });
        match self.store.flush() {
            Ok(position) => self.mouth.say(&Said::Flushed { thread, position }),
            Err(_) => {
                self.mouth.say(&Said::NotFlushed { thread });
                self.tries = self.tries.min(AFTER_POISON);
            }
        }
    }

    /// Announces the next batch.
    fn next_batch(&mut self) -> (Name, Batch) {
        let name = Name { life: self.life, thread: self.thread, number: self.next };
        self.next += 1;
        self.mouth.say(&Said::Intend { name, again: false });
        (name, batch(self.seed, name))
    }

    /// The batch with what it asks of the store.
    fn asking(&self, batch: &Batch) -> Result<BatchBuilder<'_>, AppendError> {
        let builder = builder(self.store, batch);
        let Some(first) = batch.events.first() else { return Ok(builder) };
        let stream = &*first.stream;
        Ok(match batch.asks {
            Asks::Nothing => builder,
            Asks::Impossible => builder.expect(stream, ExpectedVersion::Exact(StreamVersion::new(1 << 40))),
            Asks::WhatWasSeen => match self.store.stream_version(stream) {
                Ok(version) => builder.expect(stream, ExpectedVersion::Exact(version)),
                Err(cause) => return Err(AppendError::Unreadable { cause }),
            },
            Asks::NothingNew => {
                let same = QueryItem::new().event_type(first.event_type);
                builder.condition(AppendCondition::fail_if_match(same).after(self.store.head()))
            }
        })
    }

    /// Says what became of a batch.
    fn tell(&mut self, name: Name, durability: Durability, done: &Result<Appended, AppendError>) {
        let why = match done {
            &Ok(Appended { outcome, first, last, .. }) => {
                return self.mouth.say(&Said::Done { name, outcome, first, last, durability });
            }
            Err(AppendError::CommitUnknown { .. }) => {
                self.tries = self.tries.min(AFTER_POISON);
                return self.mouth.say(&Said::Unknown { name });
            }
            Err(AppendError::Poisoned { .. }) => {
                self.tries = self.tries.min(AFTER_POISON);
                Refusal::Poisoned
            }
            Err(AppendError::ConcurrencyConflict { .. }) => Refusal::Conflict,
            Err(AppendError::ConditionFailed { .. }) => Refusal::Condition,
            Err(AppendError::TrackingConflict { .. }) => Refusal::Tracking,
            Err(AppendError::StorageFull) => Refusal::Full,
            Err(AppendError::Unreadable { .. }) => Refusal::Unreadable,
            Err(_) => Refusal::Other,
        };
        self.mouth.say(&Said::Refused { name, why });
    }
}

/// The batch, asking for nothing but to be kept.
pub(super) fn builder<'a>(store: &'a EventStore, batch: &Batch) -> BatchBuilder<'a> {
    let mut builder = store.batch().durability(batch.durability);
    for event in &batch.events {
        builder = builder.event(&*event.stream, event.new_event());
    }
    if let Some(key) = &batch.key {
        builder = builder.idempotency_key(&**key);
    }
    match &batch.tracking {
        Some((source, upstream)) => builder.tracking(&**source, *upstream),
        None => builder,
    }
}

//! Bank accounts: threads that deposit and withdraw, and never overdraw.
//!
//! Each withdrawal is decided on a balance that was read, and appended only if
//! the account is still at the version of that reading. Who comes second reads
//! and decides again: that is what an expected version is for.

use std::error::Error;
use std::thread;
use std::time::Instant;

use annals::{AppendError, ContentType, EventStore, ExpectedVersion, NewEvent, StreamVersion};
use serde::{Deserialize, Serialize};

type Any = Box<dyn Error + Send + Sync>;

const THREADS: u64 = 4;
const ACCOUNTS: u64 = 3;
const EACH: u64 = 250;

#[derive(Serialize)]
pub(super) struct Told {
    pub(super) events: u64,
    pub(super) conflicts: u64,
    pub(super) seconds: f64,
}

#[derive(Deserialize, Serialize)]
struct Amount {
    cents: i64,
}

/// Four threads at work on three accounts, so that they meet.
pub(super) fn run(store: &EventStore) -> Result<Told, Any> {
    let began = Instant::now();
    let conflicts = thread::scope(|scope| {
        let workers: Vec<_> = (0..THREADS).map(|thread| scope.spawn(move || work(store, thread))).collect();
        workers.into_iter().try_fold(0, |sum, worker| {
            let conflicts = worker.join().map_err(|_| "a thread of the demo panicked")??;
            Ok::<u64, Any>(sum + conflicts)
        })
    })?;
    Ok(Told { events: THREADS * EACH, conflicts, seconds: began.elapsed().as_secs_f64() })
}

/// Appends this thread's share; says how often another one had been first.
fn work(store: &EventStore, thread: u64) -> Result<u64, Any> {
    let mut conflicts = 0;
    for turn in 0..EACH {
        let account = format!("account-{}", 1 + (thread + turn) % ACCOUNTS);
        let cents = 100 + ((thread * 7 + turn * 13) % 900).cast_signed();
        if turn % 3 != 2 {
            store.append(&account, ExpectedVersion::Any, event("Deposited", cents)?)?;
            continue;
        }
        loop {
            let (version, balance) = balance(store, &account)?;
            let decided = if balance < cents { event("Refused", cents)? } else { event("Withdrawn", cents)? };
            match store.append(&account, ExpectedVersion::Exact(version), decided) {
                Ok(_) => break,
                Err(AppendError::ConcurrencyConflict { .. }) => conflicts += 1,
                Err(error) => return Err(error.into()),
            }
        }
    }
    Ok(conflicts)
}

fn event(event_type: &str, cents: i64) -> Result<NewEvent, Any> {
    let data = serde_json::to_vec(&Amount { cents })?;
    Ok(NewEvent::new(event_type, data).content_type(ContentType::JSON))
}

/// What the events of an account add up to, and how many there were.
fn balance(store: &EventStore, account: &str) -> Result<(StreamVersion, i64), Any> {
    let mut reader = store.read_stream(account, StreamVersion::EMPTY)?;
    let (mut version, mut balance) = (StreamVersion::EMPTY, 0);
    while let Some(event) = reader.next_event()? {
        let Amount { cents } = serde_json::from_slice(event.data)?;
        version = event.version;
        balance += match event.event_type {
            "Deposited" => cents,
            "Withdrawn" => -cents,
            _ => 0,
        };
    }
    Ok((version, balance))
}

/// The first and last events of one account, and its balance.
pub(super) fn history(store: &EventStore) -> Result<Vec<String>, Any> {
    let (version, balance) = balance(store, "account-1")?;
    let mut reader = store.read_stream("account-1", StreamVersion::EMPTY)?;
    let mut lines = Vec::new();
    while let Some(event) = reader.next_event()? {
        let place = event.version.get();
        if place <= 3 || place == version.get() {
            let data = String::from_utf8_lossy(event.data);
            lines.push(format!("account-1 @{place:<4} position {:<5} {:<9} {data}", event.position, event.event_type));
        }
        if place == 4 && version.get() > 4 {
            lines.push("…".to_owned());
        }
    }
    lines.push(format!(
        "{version} events; the balance is {}.{:02}, and was never below zero.",
        balance / 100,
        balance % 100
    ));
    Ok(lines)
}

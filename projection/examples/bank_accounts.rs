//! Bank accounts: a balance that is always up to date, and a restart that does not read everything again.
//!
//! ```sh
//! cargo run -p annals-projection --example bank_accounts [DIR]
//! ```

use std::collections::BTreeMap;
use std::error::Error;
use std::path::{Path, PathBuf};
use std::time::Duration;

use annals::{Durability, Event, EventStore, ExpectedVersion, Options, QueryItem, Subscription};
use annals_projection::{DecideError, Decider, LiveProjection, Projection, Typed, TypedEvents, execute};
use serde::{Deserialize, Serialize};

/// What happens to an account. The variants are the event types.
#[derive(Debug, Deserialize, Serialize)]
enum Account {
    Opened { owner: String },
    Deposited { cents: i64 },
    Withdrawn { cents: i64 },
}

impl TypedEvents for Account {}

/// The balance of each account, in cents.
type Balances = BTreeMap<String, i64>;

/// The projection: how events make balances, and how often these are kept.
fn balances() -> Projection<impl annals_projection::Fold<State = Balances>> {
    let fold = Typed::new(Balances::new(), |balances: &mut Balances, event: Account, recorded: &Event<'_>| {
        let balance = balances.entry(recorded.stream.to_owned()).or_default();
        match event {
            Account::Opened { .. } => {}
            Account::Deposited { cents } => *balance += cents,
            Account::Withdrawn { cents } => *balance -= cents,
        }
    });
    Projection::of("balances", fold).snapshot_every(1000).json_snapshots()
}

/// A withdrawal is decided on by the events of its account alone.
struct Withdrawal {
    cents: i64,
}

struct Teller;

impl Decider for Teller {
    type Command = Withdrawal;
    type Event = Account;
    type State = i64;
    type Error = String;

    fn initial(&self) -> i64 {
        0
    }

    fn evolve(&self, balance: &mut i64, event: Account) {
        match event {
            Account::Opened { .. } => {}
            Account::Deposited { cents } => *balance += cents,
            Account::Withdrawn { cents } => *balance -= cents,
        }
    }

    fn decide(&self, balance: &i64, withdrawal: &Withdrawal) -> Result<Vec<Account>, String> {
        if withdrawal.cents > *balance {
            return Err(format!("{} are wanted, and {balance} are there", withdrawal.cents));
        }
        Ok(vec![Account::Withdrawn { cents: withdrawal.cents }])
    }
}

/// Longer than it takes.
const PATIENCE: Duration = Duration::from_secs(60);

fn a_day_at_the_bank(dir: &Path) -> Result<Balances, Box<dyn Error + Send + Sync>> {
    let store = EventStore::open(dir, &Options::new().durability(Durability::Buffered))?;
    let live = LiveProjection::start(&store, balances())?;
    for number in 0..20 {
        let owner = Account::Opened { owner: format!("customer {number}") };
        store.append(format!("account-{number}"), ExpectedVersion::NoStream, owner.to_event()?)?;
    }
    for number in 0..5000 {
        let account = format!("account-{}", number % 20);
        let done = if number % 3 == 2 {
            match execute(&store, account, &Teller, &Withdrawal { cents: number % 700 }) {
                Ok(decided) => decided.appended,
                Err(DecideError::Refused(_)) => None,
                Err(error) => return Err(error.into()),
            }
        } else {
            Some(store.append(account, ExpectedVersion::Any, Account::Deposited { cents: number % 100 }.to_event()?)?)
        };
        // A customer who asks now is told what he has just done.
        if let Some(done) = done.filter(|_| number % 500 == 0) {
            live.wait_for(done.last, PATIENCE)?;
            println!(
                "after event {}: {} cents in account-0",
                done.last,
                live.read(|balances, _| balances["account-0"])
            );
        }
    }
    live.wait_for(store.head(), PATIENCE)?;
    assert!(live.read(|balances, _| balances.values().all(|balance| *balance >= 0)), "nobody overdraws");
    println!("in the evening: {} cents in all, {}", live.state().values().sum::<i64>(), status(&live));
    Ok(live.state())
}

fn status(live: &LiveProjection<Balances>) -> String {
    let status = live.status();
    let snapshot = status.snapshot.map_or_else(|| "no snapshot".to_owned(), |at| format!("snapshot at {at}"));
    format!("{} events folded, {} behind, {snapshot}", status.handled, status.lag)
}

fn the_next_morning(dir: &Path, evening: &Balances) -> Result<(), Box<dyn Error + Send + Sync>> {
    let store = EventStore::open(dir, &Options::new())?;
    let mut balances = balances().attach(&store)?;
    println!("in the morning: begins at {} of {}", balances.position(), store.head());
    assert!(balances.position() > annals::Position::START, "there is a snapshot");
    balances.catch_up()?;
    assert_eq!(*balances.state(), *evening, "it is what it was");

    // Letters about withdrawals are not written twice: how far that is done is kept.
    let letters = store.consumer("letters")?;
    let mut withdrawn = letters.subscribe(QueryItem::new().event_type("Withdrawn"))?;
    for _ in 0..500 {
        withdrawn.try_next()?;
    }
    letters.checkpoint(Subscription::position(&withdrawn))?;

    // And the log is the truth: made from nothing it is the same.
    balances.rebuild()?;
    assert_eq!(*balances.state(), *evening);
    println!("made again from {} events it is the same", balances.status().handled);
    Ok(())
}

fn main() -> Result<(), Box<dyn Error + Send + Sync>> {
    // In the directory that is given, to look at it afterwards; otherwise nothing is left.
    let temporary = tempfile::tempdir()?;
    let dir = std::env::args_os().nth(1).map_or_else(|| temporary.path().join("bank"), PathBuf::from);
    let evening = a_day_at_the_bank(&dir)?;
    the_next_morning(&dir, &evening)
}

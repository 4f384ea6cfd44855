//! The derived files in `idx/`: whatever becomes of them, no answer is another one.
//!
//! The stores here have short segments, sealed early, so that one of them has many.

mod beside;
mod dense;
mod failing;
mod filters;
mod forgotten;
mod reading;
mod spoilt;
mod without;

use std::collections::BTreeSet;
use std::fmt::Debug;
use std::io;
use std::path::Path;

use annals::storage::sim::{Fault, PowerLoss, ReadFault, SimDisk};
use annals::{
    AppendError, Durability, EventId, EventStore, ExpectedVersion, NewEvent, Options, Position, QueryItem, ReadError,
    StreamVersion, inspect,
};

use crate::places::{Place, event, files_of, on_every_kind, pos, positions, quiet, ver, wait_until};
use crate::support::model::{Batch, Model};
use crate::support::watched::{Asked, Watched};
use crate::support::{commit, open, open_read_only, options, oracle, seal_early, segment_path, snapshot};

use ExpectedVersion::{Any, Exact};

const STREAMS: [&str; 5] = ["order-1", "order-2", "cart-1", "ledger", "order-1x"];
const HEADER: u64 = 4096;

fn index(segment: u64) -> String {
    format!("idx/{segment:020}.idx")
}

fn filter(level: u32, group: u64) -> String {
    format!("idx/{level}-{group:020}.flt")
}

fn told(kind: &'static str, note: &str, number: u64) -> NewEvent {
    let tag = if number.is_multiple_of(3) { "third" } else { "other" };
    NewEvent::new(kind, format!("{note} {number}")).tag(tag)
}

/// An id that no store makes.
fn id_of(number: u64) -> EventId {
    EventId::from_bytes(u128::from(number | 1 << 63).to_le_bytes())
}

/// Appends what belongs into one segment. The last batch of it has no events.
fn fill(store: &EventStore, segment: u64, note: &str) {
    for number in 0..4 {
        let stream = STREAMS[(segment * 3 + number * 2) as usize % STREAMS.len()];
        let kind = if number == 0 { "Placed" } else { "Paid" };
        store.append(stream, Any, told(kind, note, segment * 10 + number)).unwrap();
    }
    store.append(format!("in-{segment}"), Any, told("Alone", note, segment)).unwrap();
    let given = NewEvent::new("Given", note.to_owned()).id(id_of(segment));
    store.batch().event("ledger", given).idempotency_key(format!("request-{segment}")).commit().unwrap();
    let source = if segment.is_multiple_of(2) { "bank" } else { "shop" };
    store.batch().tracking(source, segment * 100 + 7).commit().unwrap();
}

/// A store with so many sealed segments, each with its index, and an active one.
fn log_on(disk: &SimDisk, sealed: u64, note: &str) {
    let store = open(disk).unwrap();
    for segment in 0..=sealed {
        fill(&store, segment, note);
        if segment < sealed {
            seal_early(disk, &store);
        }
    }
    drop(store);
    assert_eq!(indexes_of(disk).iter().filter(|path| is_index(path)).count() as u64, sealed);
}

fn log(sealed: u64) -> SimDisk {
    let disk = SimDisk::new(5);
    log_on(&disk, sealed, "told");
    disk
}

fn is_index(path: &str) -> bool {
    path.rsplit_once('.').is_some_and(|(_, kind)| kind == "idx")
}

fn is_filter(path: &str) -> bool {
    path.rsplit_once('.').is_some_and(|(_, kind)| kind == "flt")
}

fn is_temporary(path: &str) -> bool {
    path.rsplit_once('.').is_some_and(|(_, kind)| kind == "tmp")
}

fn remove_indexes(disk: &SimDisk) {
    for path in indexes_of(disk) {
        disk.remove_file(&path);
    }
}

fn indexes_of(disk: &SimDisk) -> Vec<String> {
    disk.paths().into_iter().filter(|path| path.starts_with("idx/")).collect()
}

/// Every answer that a store gives, a line for each.
fn answers(store: &EventStore) -> Vec<String> {
    let mut lines = Vec::new();
    let mut line = |what: &dyn Debug, answer: &dyn Debug| lines.push(format!("{what:?}: {answer:?}"));
    let mut streams: BTreeSet<String> = STREAMS.map(str::to_owned).into();
    streams.extend(["never".to_owned(), "order".to_owned(), "in-300".to_owned()]);
    for found in store.read_all(Position::START) {
        let found = found.unwrap();
        line(&found.position(), &(found.stream(), found.version(), found.event_type(), found.data()));
        streams.insert(found.stream().to_owned());
    }
    for stream in &streams {
        line(stream, &(store.stream_version(stream), store.stream_info(stream).map_err(|error| error.to_string())));
        let read = |after| store.read_stream(stream, ver(after)).unwrap();
        for after in 0..3 {
            line(&(stream, "after", after), &positions(read(after)));
            line(&(stream, "before", after), &positions(read(after).backward()));
        }
        line(&(stream, "backward"), &positions(read(StreamVersion::END.get()).backward()));
        // Refused, and told how it is.
        let refused = store.append(stream, Exact(ver(1_000_000)), event("Never"));
        if !matches!(refused, Err(AppendError::ReadOnly)) {
            line(&(stream, "conflict"), &refused);
        }
    }
    // Ids that the store has made, and such as were given, and keys.
    for found in store.read_all(Position::START).map(Result::unwrap) {
        let id = found.as_event().id;
        line(&id, &store.get_event(id).unwrap().map(|found| found.position()));
    }
    for number in [0, 1, 2, 3, 15, 16, 17, 300] {
        let key = format!("request-{number}");
        line(&(&key, id_of(number)), &store.find_append(&key).unwrap());
        line(&id_of(number), &store.get_event(id_of(number)).unwrap().map(|found| found.position()));
    }
    for prefix in ["", "order", "order-1", "in-1", "x"] {
        line(&("prefix", prefix), &store.streams(prefix).unwrap());
    }
    line(&"count", &store.stream_count().unwrap());
    for source in ["bank", "shop", "never"] {
        line(&("source", source), &store.tracking(source).unwrap());
    }
    let items = [
        QueryItem::new().event_type("Placed"),
        QueryItem::new().type_prefix("P").tag("third"),
        QueryItem::new().tag("other").stream_prefix("in-"),
        QueryItem::new().stream("cart-1").stream("ledger"),
        QueryItem::new().event_type("Never"),
    ];
    for (number, item) in items.into_iter().enumerate() {
        line(&("query", number), &positions(store.read(item.clone(), Position::START).unwrap()));
        line(&("query", number, "back"), &positions(store.read(item, Position::END).unwrap().backward()));
    }
    lines
}

#[track_caller]
fn check_same(answers: &[String], expected: &[String], case: &str) {
    for (answer, expected) in answers.iter().zip(expected) {
        assert_eq!(answer, expected, "{case}");
    }
    assert_eq!(answers.len(), expected.len(), "{case}");
}

/// Opens for writing and for reading, and asks for everything.
#[track_caller]
fn check_disk(disk: &SimDisk, expected: &[String], case: &str) {
    let reader = answers(&open_read_only(disk).unwrap_or_else(|error| panic!("{case}: {error:?}")));
    let expected_of_reader: Vec<_> = expected.iter().filter(|line| !line.contains("conflict")).cloned().collect();
    check_same(&reader, &expected_of_reader, &format!("{case}, to a reader"));
    let store = open(disk).unwrap_or_else(|error| panic!("{case}: {error:?}"));
    check_same(&answers(&store), expected, case);
}

/// Every way there is to spoil a file that holds `good`.
fn spoilt(good: &[u8], others: &[(&str, &[u8])]) -> Vec<(String, Vec<u8>)> {
    let mut all = vec![
        ("empty".to_owned(), Vec::new()),
        ("zeros".to_owned(), vec![0; good.len()]),
        ("garbage".to_owned(), good.iter().map(|byte| byte.wrapping_mul(31) ^ 0x5A).collect()),
        ("cut in half".to_owned(), good[..good.len() / 2].to_vec()),
        ("cut by a byte".to_owned(), good[..good.len() - 1].to_vec()),
        ("longer".to_owned(), [good, &[0; 8]].concat()),
        ("its second half zero".to_owned(), [&good[..good.len() / 2], &vec![0; good.len().div_ceil(2)]].concat()),
    ];
    all.extend(others.iter().map(|(name, bytes)| ((*name).to_owned(), bytes.to_vec())));
    for bit in (0..good.len() * 8).step_by(good.len() * 8 / 19 + 1) {
        let mut bytes = good.to_vec();
        bytes[bit / 8] ^= 1 << (bit % 8);
        all.push((format!("bit {bit} flipped"), bytes));
    }
    all
}

/// Appends enough for so many rolls.
fn roll(store: &EventStore, rolls: u64) {
    for number in 0..rolls {
        store.append(STREAMS[number as usize % 4], Any, NewEvent::new("Placed", vec![9; 40_000])).unwrap();
    }
}

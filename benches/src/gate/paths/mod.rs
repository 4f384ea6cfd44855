//! The hot paths, one function each.
//!
//! Each is walked in a child process, in a store that was made for it. What a path does once
//! (opening, warming up) it does in the same way whatever `times` is.

mod appends;
mod codec;
mod opens;
mod reads;

use std::path::Path;

use annals::{Durability, EventStore, EventType, Options, StreamId};
use annals_benches::shop::{self, Shop, Shuffled};

/// What is counted on a path.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Counts {
    Both,
    /// It makes no system calls, or another path shows them.
    Instructions,
    /// It runs beside other threads, which valgrind would count too, or is all the kernel's.
    Calls,
}

impl Counts {
    pub(super) fn instructions(self) -> bool {
        self != Counts::Calls
    }

    pub(super) fn calls(self) -> bool {
        self != Counts::Instructions
    }
}

/// Something a program does often.
#[derive(Clone, Copy)]
pub(super) struct HotPath {
    pub(super) name: &'static str,
    /// How often it is walked in the shorter of two runs.
    pub(super) times: u64,
    /// How many events are in it: the instructions are those for one of them, the calls for all.
    pub(super) events: u64,
    pub(super) counts: Counts,
    /// Makes the store, in the parent.
    pub(super) prepare: fn(&Path, u64),
    /// Walks the path so many times, in the child.
    pub(super) walk: fn(&Path, u64),
}

const fn path(name: &'static str, times: u64, prepare: fn(&Path, u64), walk: fn(&Path, u64)) -> HotPath {
    HotPath { name, times, events: 1, counts: Counts::Both, prepare, walk }
}

const fn per_event(events: u64, path: HotPath) -> HotPath {
    HotPath { events, ..path }
}

const fn counting(counts: Counts, path: HotPath) -> HotPath {
    HotPath { counts, ..path }
}

pub(super) const ALL: &[HotPath] = &[
    path("append-buffered", 1000, used, appends::buffered),
    per_event(
        100,
        counting(Counts::Instructions, path("append-buffered-100-in-1", 40, used, appends::buffered_hundred_in_one)),
    ),
    per_event(
        100,
        counting(
            Counts::Instructions,
            path("append-buffered-100-in-100", 40, used, appends::buffered_hundred_in_hundred),
        ),
    ),
    path("append-durable", 50, used, appends::durable),
    per_event(100, path("append-durable-100-in-1", 10, used, appends::durable_hundred)),
    counting(Counts::Calls, path("append-durable-beside-threads", 50, used, appends::durable_beside_threads)),
    // Its instructions are not those of a processor that has them for SHA-256: valgrind does not know these.
    path("append-hashed", 200, used_hashed, appends::buffered),
    // What is measured is drawn by lot, the same each time.
    path("append-measured", 1000, used, appends::measured),
    path("append-expecting-version", 500, used, appends::expecting),
    path("append-with-condition", 500, used, appends::on_condition),
    path("append-with-id", 500, used, appends::with_id),
    counting(Counts::Calls, path("append-mebibyte-buffered", 32, used, appends::mebibyte_buffered)),
    counting(Counts::Calls, path("append-mebibyte-zeroed", 16, used, appends::mebibyte_zeroed)),
    path("roll", 32, used, appends::roll),
    path("read-all-first", 4_700, several_segments, reads::all_first),
    path("read-all-again", 10_000, several_segments, reads::all_again),
    per_event(STREAM_EVENTS, path("read-stream", 100, several_segments, reads::stream)),
    per_event(STREAM_EVENTS, path("read-stream-in-memory", 100, one_segment, reads::stream)),
    path("read-position", 2_000, several_segments, reads::position),
    path("read-id", 1_000, several_segments, reads::id),
    path("read-type-1-in-10", 400, several_segments, reads::one_type),
    per_event(
        STREAMS * STREAM_EVENTS,
        counting(Counts::Instructions, path("follow-all", 2, several_segments, reads::follow)),
    ),
    per_event(
        STREAMS * STREAM_EVENTS,
        counting(Counts::Instructions, path("fold-by-type", 2, several_segments, reads::fold)),
    ),
    path("follow-no-news", 200, several_segments, reads::no_news),
    path("open", 10, opens::all_sealed, opens::open),
    path("open-read-only", 10, opens::all_sealed, opens::read_only),
    path("open-sealed-segment", 8, opens::so_many_segments, opens::open_once),
    // Twice as many are still taken in at once, so no second thread helps.
    path("open-event-to-check", 2_000, opens::so_many_events, opens::open_once),
    counting(Counts::Instructions, path("codec-encode", 2_000, nothing, codec::encode)),
    counting(Counts::Instructions, path("codec-encode-commit", 2_000, nothing, codec::encode_commit)),
    counting(Counts::Instructions, path("codec-decode", 2_000, nothing, codec::decode)),
    counting(Counts::Instructions, path("codec-decode-again", 2_000, nothing, codec::decode_again)),
    counting(Counts::Instructions, path("codec-checksum-300", 2_000, nothing, codec::checksum)),
];

/// So many events has each stream of the stores that are read.
const STREAM_EVENTS: u64 = 94;
/// So many streams have they.
const STREAMS: u64 = 100;
/// One event in so many is of another type.
const RARE: u64 = 10;
/// The type of these.
const RARE_TYPE: &str = "Returned";

/// A store without threads: what it does, it does when it is told to.
fn open(dir: &Path, durability: Durability, segment_bytes: u64) -> EventStore {
    let options = Options::new()
        .background(false)
        .flush_interval(None)
        .durability(durability)
        .segment_bytes(segment_bytes)
        .zero_ahead(0);
    EventStore::open(dir, &options).expect("a directory with a store, or nothing")
}

fn streams() -> Vec<StreamId> {
    (0..STREAMS).map(shop::stream).collect()
}

/// Appends events as every store has them here, in batches of a hundred.
fn fill(store: &EventStore, events: u64) {
    let (streams, mut order, mut shop, mut number) = (streams(), Shuffled::new(STREAMS), Shop::new(), 0);
    let rare = EventType::new(RARE_TYPE).expect("a short name");
    shop::fill(store, events, 100, || {
        number += 1;
        let event = if number % RARE == 0 { shop.event_of_type(&rare) } else { shop.event() };
        (streams[order.next_number() as usize].clone(), event)
    });
}

fn nothing(_: &Path, _: u64) {}

/// A store that has been used for a while, all in one segment.
fn used(dir: &Path, _: u64) {
    fill(&open(dir, Durability::Buffered, LARGE), 5_000);
}

/// The same, with a hash chain, which later openings go on with.
fn used_hashed(dir: &Path, _: u64) {
    let options = Options::new().background(false).durability(Durability::Buffered).segment_bytes(LARGE).zero_ahead(0);
    fill(&EventStore::open(dir, &options.hash_chain(true)).expect("a fresh directory"), 5_000);
}

/// Everything in one segment, which is not sealed.
fn one_segment(dir: &Path, _: u64) {
    fill(&open(dir, Durability::Buffered, LARGE), STREAMS * STREAM_EVENTS);
}

/// Four sealed segments with their indexes, and one more.
fn several_segments(dir: &Path, _: u64) {
    fill(&open(dir, Durability::Buffered, 1 << 20), STREAMS * STREAM_EVENTS);
}

/// Nothing that is appended here fills such a segment.
const LARGE: u64 = 1 << 30;

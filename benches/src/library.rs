//! The stores that are only read: the same events, several times.
//!
//! Every stream has 94 events. They arrive in 94 rounds, one event of each stream
//! in a round, in another order each time: so a stream lies scattered over the
//! whole log, and where the log has 50 segments there are events of it in all of
//! them, or nearly.
//!
//! The ids are made by the store, in the order of time, which every index of ids
//! likes best; the peers have those of the first store.

use annals::{Position, StreamId, StreamVersion};
use annals_benches::shop::{self, Dice, Shop, Shuffled};

use crate::engine::FindsIds;
use crate::footprint::settle;
use crate::ours::Annals;

/// So many events has each stream.
pub(crate) const STREAM_EVENTS: u64 = 94;
/// Over so many segments a stream is spread in the second store.
const SEGMENTS: u64 = 50;

/// An engine with events in it.
pub(crate) struct Contestant<E: ?Sized = dyn FindsIds> {
    pub(crate) name: &'static str,
    pub(crate) dir: tempfile::TempDir,
    pub(crate) engine: E,
}

pub(crate) struct Library {
    /// All in one segment.
    pub(crate) whole: Contestant<Annals>,
    /// Over fifty.
    pub(crate) spread: Contestant<Annals>,
    /// The others, if they were compiled.
    pub(crate) peers: Vec<Box<Contestant>>,
    streams: u64,
}

impl Library {
    pub(crate) fn build(events: u64) -> Library {
        let streams = events / STREAM_EVENTS;
        let whole = annals("in one segment", streams, 1 << 30);
        let bytes = whole.engine.store.stats().bytes;
        // A little more than the fiftieth part: a header, and half a batch that does not fit any more.
        let spread = annals("over 50 segments", streams, bytes / SEGMENTS + (24 << 10));
        let library = Library { peers: peers(&whole.engine.store), whole, spread, streams };
        library.warm_up();
        library
    }

    /// Everybody reads everything: the pages are mapped, and our checksums verified. It also
    /// shows that all of them hold the same.
    fn warm_up(&self) {
        let all: Vec<StreamId> = (0..=self.streams).map(shop::stream).collect();
        let sums: Vec<u64> = self.contestants().iter().map(|contestant| contestant.engine.read_streams(&all)).collect();
        assert!(sums.iter().all(|sum| *sum == sums[0]), "the same events: {sums:?}");
        println!(
            "({} events in {} streams of {STREAM_EVENTS}, each in {:.1} sealed segments and in {:.1})",
            self.whole.engine.store.head(),
            self.streams,
            self.segments_of_a_stream(&self.whole),
            self.segments_of_a_stream(&self.spread),
        );
    }

    /// In how many segments there are events of one stream: the mean of a hundred.
    fn segments_of_a_stream(&self, of: &Contestant<Annals>) -> f64 {
        let store = &of.engine.store;
        let segments = store.stats().segments;
        let streams = self.some_streams(&mut Dice::new(1), 100);
        let of_one = |stream: &StreamId| {
            let events = store.read_stream(stream, StreamVersion::EMPTY).expect("a stream's name");
            let positions = events.map(|event| event.expect("a whole log").position());
            let mut numbers: Vec<usize> =
                positions.map(|position| segments.partition_point(|segment| segment.last < position)).collect();
            assert!(numbers.iter().all(|&number| segments[number].sealed), "the last event of all is another stream's");
            numbers.dedup();
            numbers.len()
        };
        streams.iter().map(of_one).sum::<usize>() as f64 / streams.len() as f64
    }

    /// The store in both its shapes, then the peers.
    pub(crate) fn contestants(&self) -> Vec<&Contestant> {
        let ours: [&Contestant; 2] = [&self.whole, &self.spread];
        ours.into_iter().chain(self.peers.iter().map(|peer| &**peer)).collect()
    }

    /// Streams at random.
    pub(crate) fn some_streams(&self, dice: &mut Dice, number: usize) -> Vec<StreamId> {
        (0..number).map(|_| shop::stream(dice.below(self.streams))).collect()
    }

    /// Positions at random.
    pub(crate) fn some_positions(&self, dice: &mut Dice, number: usize) -> Vec<Position> {
        let events = self.streams * STREAM_EVENTS;
        (0..number).map(|_| Position::new(1 + dice.below(events))).collect()
    }
}

fn annals(name: &'static str, streams: u64, segment_bytes: u64) -> Contestant<Annals> {
    let dir = tempfile::tempdir().expect("a directory");
    let mut order = Shuffled::new(streams);
    let mut shop = Shop::new();
    let mut next = || (shop::stream(order.next_number()), shop.event());
    let store = shop::open(dir.path(), segment_bytes);
    // Small batches, for they are not split between segments.
    shop::fill(&store, streams * STREAM_EVENTS, 100, &mut next);
    store.close().expect("a clean close");
    // Every segment that counts is to be sealed and indexed: opened with small segments, the store
    // begins a new one for the next event, which opens the next order.
    let store = shop::open(dir.path(), 64 << 10);
    shop::fill(&store, 1, 1, || (shop::stream(streams), Shop::new().event()));
    settle(dir.path());
    store.close().expect("a clean close");
    let engine = Annals { store: shop::open(dir.path(), segment_bytes) };
    Contestant { name, dir, engine }
}

#[cfg(feature = "peers")]
use crate::peers::copies as peers;

#[cfg(not(feature = "peers"))]
fn peers(_: &annals::EventStore) -> Vec<Box<Contestant>> {
    Vec::new()
}

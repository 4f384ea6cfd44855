//! Bytes on the disk per event, of everything that the store keeps: log and indexes.
//!
//! An event has a payload of 256 bytes, metadata of 40, and names of 20 in all; a
//! batch has 100, each of a random one of 10,000 streams. Everything is indexed and
//! the store closed. The kernel counts the blocks, so what is reserved counts too.
//!
//! Aimed at: below 410 bytes, also where the caller sets the ids.

use annals_benches::shop::{self, Dice, Shop, Shuffled};

use crate::bench::{Bench, fact};
use crate::footprint::{disk_bytes, settle};

pub(crate) fn measure(bench: &Bench) {
    let events = bench.many(1_000_000);
    let per_event = |bytes: u64, events: u64| format!("{:.1} bytes", bytes as f64 / events as f64);
    for (name, sets_ids) in [("ids made by the store", false), ("ids set by the caller", true)] {
        let dir = tempfile::tempdir().expect("a directory");
        let (mut order, mut shop, mut dice) = (Shuffled::new(10_000), Shop::new(), Dice::new(3));
        let store = shop::open(dir.path(), 64 << 20);
        shop::fill(&store, events, 100, || {
            let event = shop.event();
            (shop::stream(order.next_number()), if sets_ids { event.id(dice.id()) } else { event })
        });
        settle(dir.path());
        let log = store.stats().bytes;
        store.close().expect("a clean close");
        settle(dir.path());
        let all = disk_bytes(dir.path());
        let indexes = dir.path().join("idx");
        let indexes = if indexes.is_dir() { disk_bytes(&indexes) } else { 0 };
        fact(name, per_event(all, events));
        fact("  of which the log", per_event(log, events));
        fact("  of which indexes", per_event(indexes, events));
        fact("  of which reserved, and ends of blocks", per_event(all - log - indexes, events));
    }
    if cfg!(feature = "peers") {
        let library = bench.library();
        let events = library.whole.engine.store.head().get();
        for peer in &library.peers {
            fact(peer.name, per_event(disk_bytes(peer.dir.path()), events));
        }
    }
}

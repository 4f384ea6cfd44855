//! Opening a store, and closing it again.

use std::path::Path;

use annals::{Durability, EventStore};

use super::{LARGE, fill, several_segments};

/// What is counted is what more of something in the store costs.
pub(super) fn open_once(dir: &Path, _: u64) {
    drop(super::open(dir, Durability::Sync, LARGE));
}

pub(super) fn open(dir: &Path, times: u64) {
    (0..times).for_each(|_| open_once(dir, 1));
}

pub(super) fn read_only(dir: &Path, times: u64) {
    for _ in 0..times {
        EventStore::open_read_only(dir).expect("the store that was prepared");
    }
}

/// Sealed segments, and one with a single batch: what there is to open beside the events of the last segment.
pub(super) fn all_sealed(dir: &Path, times: u64) {
    several_segments(dir, times);
    fill(&super::open(dir, Durability::Buffered, 64 << 10), 1);
}

/// `times` sealed segments, and one more.
pub(super) fn so_many_segments(dir: &Path, times: u64) {
    let store = super::open(dir, Durability::Buffered, 64 << 10);
    while store.stats().segments.len() as u64 <= times {
        fill(&store, 100);
    }
}

/// `times` events in the active segment.
pub(super) fn so_many_events(dir: &Path, times: u64) {
    fill(&super::open(dir, Durability::Buffered, LARGE), times);
}

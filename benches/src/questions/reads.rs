//! Reading everything, beside a walk over the same bytes: checksum, lengths, fields.

use annals::Durability;
use annals_benches::{fill, load, open_store, raw_read_and_scan, raw_scan, read_all, segment_paths};

use crate::bench::{Bench, heading, row};
use crate::turns::{in_turn, timed};

pub(crate) fn measure(bench: &Bench) {
    heading("read all, checksums verified", "raw");
    let events = bench.many(1_000_000) as usize;
    let dir = tempfile::tempdir().expect("a directory");
    drop(fill(dir.path(), events));
    let paths = segment_paths(dir.path());
    let mut buffer = Vec::new();
    let bytes = raw_read_and_scan(&paths, &mut buffer);
    let first = in_turn(
        bench.rounds(),
        vec![
            Box::new(|| {
                // Opened anew for each run, so that every checksum is verified in it, and
                // every page is mapped in it.
                let store = open_store(dir.path(), Durability::Sync);
                timed(|| assert_eq!(read_all(&store), bytes, "every event"))
            }),
            Box::new(|| timed(|| assert_eq!(raw_read_and_scan(&paths, &mut buffer), bytes, "every event"))),
        ],
    );
    row("the first time since the store was opened", events, &first[0], &first[1]);
    drop(buffer);

    let segments = load(&paths);
    let store = open_store(dir.path(), Durability::Sync);
    let again = in_turn(
        bench.rounds(),
        vec![
            Box::new(|| timed(|| assert_eq!(read_all(&store), bytes, "every event"))),
            Box::new(|| timed(|| assert_eq!(raw_scan(&segments), bytes, "every event"))),
        ],
    );
    row("again", events, &again[0], &again[1]);
}

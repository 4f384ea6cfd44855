//! The tree over batches: every proof against brute force, whatever stands in `idx/`, over rolls, openings and
//! truncations; and that sealed segments are not read for it.

use std::sync::Arc;

use annals::inspect;
use annals::storage::Storage;
use annals::storage::sim::{PowerLoss, SimDisk};
use annals::{
    Digest, EventStore, ExpectedVersion, Guard, KeepError, LogTree, NewEvent, Options, Position, ProvenBatch,
    ProvenEvent, ReadError, TreeHead,
};
use annals_codec::merkle::{Part, PartBuilder};
use annals_codec::{Hasher, payload_digest};

use crate::support::watched::{Asked, Watched};

fn options() -> Options {
    Options::new().background(false).flush_interval(None).segment_bytes(64 << 10).zero_ahead(0).hash_chain(true)
}

fn open(disk: &SimDisk) -> EventStore {
    EventStore::open_on(Arc::new(disk.clone()), &options()).unwrap()
}

fn pos(position: u64) -> Position {
    Position::new(position)
}

struct Rng(u64);

impl Rng {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % bound
    }
}

/// A log, and what is known of its batches without the tree.
struct Log {
    store: EventStore,
    /// Of each batch: the position behind it, and its digest.
    batches: Vec<(Position, Digest)>,
}

impl Log {
    fn new(store: EventStore) -> Log {
        Log { store, batches: Vec::new() }
    }

    /// Appends a batch of up to four events, with or without a key or a tracking record.
    fn append(&mut self, rng: &mut Rng) {
        let before = self.store.head();
        let (count, mut batch) = (rng.below(5), self.store.batch());
        for _ in 0..count {
            let mut event = NewEvent::new("Happened", vec![b'x'; rng.below(900) as usize]).tag("t");
            if rng.below(2) == 0 {
                event = event.metadata("said").occurred_at(rng.below(99).cast_signed()).schema_version(3);
            }
            batch = batch.event(format!("s-{}", rng.below(4)), event);
        }
        let key = (count > 0 && rng.below(2) == 0).then(|| format!("key-{before}"));
        if let Some(key) = &key {
            batch = batch.idempotency_key(key);
        }
        let upstream = before.get() * 1_000 + self.batches.len() as u64 + 1;
        let tracking = (count == 0 || rng.below(3) == 0).then(|| ("upstream".to_owned(), upstream));
        if let Some((source, upstream)) = &tracking {
            batch = batch.tracking(&**source, *upstream);
        }
        batch.commit().unwrap();
        let events: Vec<Digest> = (before.get() + 1..=before.get() + count)
            .map(|position| {
                let event = self.store.get(pos(position)).unwrap().unwrap();
                let event = event.as_event();
                ProvenEvent::of(&event, payload_digest(event.data, event.metadata)).digest().unwrap()
            })
            .collect();
        let digest = ProvenBatch { first: before.plus(1), events, key, tracking }.digest(self.store.log_id()).unwrap();
        self.batches.push((pos(before.get() + count), digest));
    }

    /// RFC 9162, 2.1.1, word for word.
    fn root(&self, size: u64) -> Digest {
        fn over(leaves: &[(Position, Digest)]) -> Digest {
            match leaves {
                [] => Hasher::digest(b""),
                [(_, one)] => Hasher::digest(&[&[0], one.as_bytes().as_slice()].concat()),
                more => {
                    let mut k = 1;
                    while k * 2 < more.len() {
                        k *= 2;
                    }
                    let (left, right) = (over(&more[..k]), over(&more[k..]));
                    Hasher::digest(&[&[1], left.as_bytes().as_slice(), right.as_bytes()].concat())
                }
            }
        }
        over(&self.batches[..size as usize])
    }

    fn head(&self, size: u64) -> TreeHead {
        TreeHead { log_id: self.store.log_id(), from: Position::START, size, root: self.root(size) }
    }

    fn size(&self) -> u64 {
        self.batches.len() as u64
    }

    /// Asks a tree for everything that can be asked of it.
    #[track_caller]
    fn check(&self, tree: &LogTree, rng: &mut Rng, what: &str) {
        let size = self.size();
        assert_eq!(tree.head(), self.head(size), "{what}");
        assert_eq!(tree.tip(), self.store.chain_tip().unwrap().unwrap(), "{what}");
        assert_eq!(tree.head_of(size + 1).unwrap(), None, "{what}");
        let oldest = self.store.oldest();
        let (mut first, mut proven) = (pos(1), 0);
        for (number, (last, _)) in (0_u64..).zip(&self.batches) {
            for position in first.get()..=last.get() {
                let head = self.head(1 + rng.below(size));
                if pos(position) < oldest {
                    let refused = tree.inclusion(pos(position), &head);
                    assert!(matches!(refused, Err(KeepError::Truncated { .. })), "{what}: {position}, {refused:?}");
                    continue;
                }
                let proof = tree.inclusion(pos(position), &head).unwrap_or_else(|error| panic!("{what}: {error:?}"));
                assert_eq!(proof.is_some(), number < head.size, "{what}: {position} in {}", head.size);
                let Some(proof) = proof else { continue };
                assert_eq!((proof.number, proof.event.position), (number, pos(position)), "{what}");
                assert_eq!(proof.check(&head), Ok(()), "{what}: {position} in {}", head.size);
                proven += 1;
            }
            first = last.plus(1);
        }
        assert!(proven > 0, "{what}: nothing was proven");
        for _ in 0..40 {
            let new = 1 + rng.below(size);
            let (old, new) = (self.head(1 + rng.below(new)), self.head(new));
            let proof = tree.consistency(&old, &new).unwrap_or_else(|error| panic!("{what}: {error:?}"));
            assert_eq!(proof.check(&old, &new), Ok(()), "{what}: {} of {}", old.size, new.size);
        }
        let other = TreeHead { root: Hasher::digest(b"other"), ..self.head(size) };
        let diverged = |refused: Result<(), KeepError>| matches!(refused, Err(KeepError::DivergedLog { .. }));
        assert!(diverged(tree.consistency(&other, &tree.head()).map(|_| ())), "{what}");
        assert!(diverged(tree.consistency(&tree.head(), &other).map(|_| ())), "{what}");
        assert!(diverged(tree.inclusion(self.store.head(), &other).map(|_| ())), "{what}");
        assert_eq!(tree.inclusion(self.store.head().plus(1), &tree.head()).unwrap(), None, "{what}");
        assert_eq!(tree.inclusion(Position::START, &tree.head()).unwrap(), None, "{what}");
    }
}

/// A log of several segments.
fn log(disk: &SimDisk, rng: &mut Rng, batches: u64) -> Log {
    let mut log = Log::new(open(disk));
    (0..batches).for_each(|_| log.append(rng));
    assert!(log.store.stats().segments.len() > 3, "{:?}", log.store.stats());
    log
}

fn trees(disk: &SimDisk) -> Vec<String> {
    disk.paths().into_iter().filter(|path| path.contains(".tree")).collect()
}

fn remove_trees(disk: &SimDisk) {
    for path in trees(disk) {
        (disk as &dyn Storage).remove(&path).unwrap();
    }
}

/// Puts these bytes there instead of what is.
fn replace(disk: &SimDisk, path: &str, bytes: &[u8]) {
    let storage: &dyn Storage = disk;
    storage.remove(path).unwrap();
    assert_eq!(storage.create(path).unwrap().write_at(0, bytes).unwrap(), bytes.len());
}

#[test]
fn every_proof_is_that_of_brute_force_while_the_log_grows_and_when_it_is_opened_again() {
    for seed in 0..8 {
        let (disk, mut rng) = (SimDisk::new(seed), Rng(seed));
        let mut log = log(&disk, &mut rng, 200);
        for round in 0..3 {
            let what = format!("seed {seed}, round {round}");
            log.check(&log.store.tree().unwrap().unwrap(), &mut rng, &what);
            let reader = EventStore::open_read_only_on(Arc::new(disk.clone())).unwrap();
            log.check(&reader.tree().unwrap().unwrap(), &mut rng, &format!("{what}, read only"));
            (0..rng.below(60)).for_each(|_| log.append(&mut rng));
            let batches = std::mem::take(&mut log.batches);
            drop(log);
            log = Log { store: open(&disk), batches };
        }
    }
}

#[test]
fn an_empty_store_has_a_tree_of_no_batches_and_one_without_a_chain_has_none() {
    let store = open(&SimDisk::new(1));
    let tree = store.tree().unwrap().unwrap();
    assert_eq!((tree.head().size, tree.head().root), (0, Hasher::digest(b"")));
    assert!(EventStore::in_memory(&Options::new()).unwrap().tree().unwrap().is_none());
}

#[test]
fn a_tree_stays_what_it_was_while_the_log_goes_on() {
    let (disk, mut rng) = (SimDisk::new(3), Rng(3));
    let mut log = log(&disk, &mut rng, 150);
    let tree = log.store.tree().unwrap().unwrap();
    let head = tree.head();
    let last = log.store.head();
    (0..150).for_each(|_| log.append(&mut rng));
    assert_eq!(tree.head_of(head.size).unwrap(), Some(head));
    assert_eq!(tree.inclusion(last, &head).unwrap().unwrap().check(&head), Ok(()));
    assert_eq!(tree.inclusion(log.store.head(), &head).unwrap(), None, "it came later");
    let now = log.store.tree().unwrap().unwrap();
    assert_eq!(now.consistency(&head, &now.head()).unwrap().check(&head, &now.head()), Ok(()));
    assert_eq!(now.inclusion(log.store.head(), &head).unwrap(), None, "it came after that head");
}

#[test]
fn each_chain_has_a_tree_of_its_own() {
    let (disk, mut rng) = (SimDisk::new(4), Rng(4));
    let old = log(&disk, &mut rng, 250);
    let before = old.store.tree().unwrap().unwrap().head();
    let between = old.store.head();
    drop(old);
    let store = EventStore::open_on(Arc::new(disk.clone()), &options().hash_chain(false)).unwrap();
    store.append("s", ExpectedVersion::Any, NewEvent::new("A", "unhashed")).unwrap();
    assert!(store.tree().unwrap().is_none());
    drop(store);
    let from = between.plus(1);
    let mut new = Log::new(open(&disk));
    (0..200).for_each(|_| new.append(&mut rng));
    let tree = new.store.tree().unwrap().unwrap();
    assert_eq!(tree.head(), TreeHead { from, ..new.head(new.size()) });
    for position in [between, from] {
        assert_eq!(tree.inclusion(position, &tree.head()).unwrap(), None, "it is not under this chain");
    }
    for position in [from.plus(1), new.store.head()] {
        let proof = tree.inclusion(position, &tree.head()).unwrap().unwrap();
        assert_eq!(proof.check(&tree.head()), Ok(()));
    }
    assert!(matches!(tree.consistency(&before, &tree.head()), Err(KeepError::DivergedLog { .. })));
}

#[test]
fn no_file_of_the_tree_is_needed_and_none_that_is_wrong_makes_a_difference() {
    let (disk, mut rng) = (SimDisk::new(5), Rng(5));
    let log = log(&disk, &mut rng, 250);
    let files = trees(&disk);
    assert_eq!(files.len(), log.store.stats().segments.len() - 1, "one for each sealed segment: {files:?}");
    let whole: Vec<Vec<u8>> = files.iter().map(|path| disk.read_file(path).unwrap()).collect();
    let batches = log.batches.clone();
    drop(log);
    let mut check = |disk: &SimDisk, what: &str| {
        let reader = EventStore::open_read_only_on(Arc::new(disk.clone())).unwrap();
        let log = Log { store: reader, batches: batches.clone() };
        log.check(&log.store.tree().unwrap().unwrap(), &mut rng, &format!("{what}, read only"));
        let log = Log { store: open(disk), batches: batches.clone() };
        log.check(&log.store.tree().unwrap().unwrap(), &mut rng, what);
    };
    for (number, path) in files.iter().enumerate().step_by(2) {
        let gone = disk.fork();
        (&gone as &dyn Storage).remove(path).unwrap();
        check(&gone, &format!("without {path}"));
        assert_eq!(gone.read_file(path).unwrap(), whole[number], "it was made anew");

        let len = whole[number].len() as u64;
        for bit in [80, 8 * 130, 8 * len - 3] {
            let hurt = disk.fork();
            hurt.flip(path, bit);
            check(&hurt, &format!("{path} with bit {bit} flipped"));
            assert_eq!(hurt.read_file(path).unwrap(), whole[number], "bit {bit}: it was made anew");
        }
        for cut in [0, len - 1] {
            let short = disk.fork();
            replace(&short, path, &whole[number][..cut as usize]);
            check(&short, &format!("{path} cut at {cut}"));
        }
        let foreign = disk.fork();
        replace(&foreign, path, &whole[(number + 1) % files.len()]);
        check(&foreign, &format!("{path} is that of another segment"));
    }
    let none = disk.fork();
    remove_trees(&none);
    check(&none, "without any");
    assert_eq!(trees(&none), files);
    remove_trees(&none);
    open(&none).maintain().unwrap();
    assert_eq!(trees(&none), files, "whoever maintains the store makes those that are missing");
}

/// Somebody wrote a file of other nodes, with good checksums: the proofs do not hold, and are made from the segments.
#[test]
fn a_file_that_lies_is_not_believed_by_who_proves_something() {
    let (disk, mut rng) = (SimDisk::new(6), Rng(6));
    let log = log(&disk, &mut rng, 250);
    let path = trees(&disk).remove(1);
    let bytes = disk.read_file(&path).unwrap();
    let honest = Part::read(&bytes).unwrap();
    let header = honest.header;
    let mut lies = PartBuilder::new(header.from, honest.before(), header.base);
    for (last, digest) in &log.batches[header.first as usize..(header.first + header.leaves) as usize] {
        let is_changed = *last == header.base.plus(20);
        lies.push(&if is_changed { Hasher::digest(b"a lie") } else { *digest }, *last);
    }
    let lies = lies.finish(header.log_id, header.segment, header.seed, header.chain);
    assert_ne!(lies, bytes);
    let head = log.head(log.size());
    let last = log.store.stats().segments[1].last;
    drop(log);
    replace(&disk, &path, &lies);
    let store = open(&disk);
    let tree = store.tree().unwrap().unwrap();
    assert_eq!(tree.inclusion(last, &head).unwrap().unwrap().check(&head), Ok(()));
    assert_eq!(disk.read_file(&path).unwrap(), bytes, "and the file is made anew");
    let report = inspect::verify_on(&disk, |_, _| ()).unwrap();
    assert!(report.is_clean(), "{:?}", report.findings);
}

#[test]
fn what_was_removed_stays_in_the_tree() {
    for seed in 0..4 {
        let (disk, mut rng) = (SimDisk::new(seed), Rng(seed));
        let mut log = log(&disk, &mut rng, 300);
        let witness = log.head(40);
        for part in 1..3 {
            let head = log.store.head().get();
            let before = log.store.truncate_before(pos(head * part / 4), Guard::Consumers).unwrap();
            assert!(before.segments > 0, "seed {seed}");
            (0..30).for_each(|_| log.append(&mut rng));
            let tree = log.store.tree().unwrap().unwrap();
            // Of what it was before, only that is known which is a node of what it was at the floor.
            match tree.consistency(&witness, &tree.head()) {
                Ok(proof) => assert_eq!(proof.check(&witness, &tree.head()), Ok(()), "seed {seed}"),
                Err(error) => assert!(matches!(error, KeepError::Truncated { .. }), "seed {seed}: {error:?}"),
            }
            let batches = std::mem::take(&mut log.batches);
            for without in [false, true] {
                drop(std::mem::replace(&mut log.store, EventStore::in_memory(&Options::new()).unwrap()));
                if without {
                    remove_trees(&disk);
                }
                log = Log { store: open(&disk), batches: batches.clone() };
                let tree = log.store.tree().unwrap().unwrap();
                check_rest(&log, &tree, &format!("seed {seed}, part {part}, without files: {without}"));
            }
        }
        let report = inspect::verify_on(&disk, |_, _| ()).unwrap();
        assert!(report.is_clean(), "seed {seed}: {:?}", report.findings);
    }
}

/// What is left of a truncated log proves what it can, and says of the rest that it was removed.
#[track_caller]
fn check_rest(log: &Log, tree: &LogTree, what: &str) {
    let head = log.head(log.size());
    assert_eq!(tree.head(), head, "{what}");
    let oldest = log.store.oldest();
    let first = log.batches.partition_point(|(last, _)| *last < oldest) as u64;
    for position in [oldest.get(), oldest.get() + 7, log.store.head().get()] {
        let proof = tree.inclusion(pos(position), &head).unwrap_or_else(|error| panic!("{what}: {error:?}"));
        assert_eq!(proof.unwrap().check(&head), Ok(()), "{what}: {position}");
    }
    let refused = tree.inclusion(oldest.before(), &head);
    assert!(matches!(refused, Err(KeepError::Truncated { .. })), "{what}: {refused:?}");
    // All that the log was since then.
    for size in first..=log.size() {
        let old = log.head(size);
        let proof = tree.consistency(&old, &head).unwrap_or_else(|error| panic!("{what}: {size}: {error:?}"));
        assert_eq!(proof.check(&old, &head), Ok(()), "{what}: {size}");
    }
}

#[test]
fn a_truncation_that_was_interrupted_anywhere_loses_nothing_of_the_tree() {
    let (disk, mut rng) = (SimDisk::new(7), Rng(7));
    let mut log = log(&disk, &mut rng, 300);
    let quarter = log.store.head().get() / 4;
    log.store.truncate_before(pos(quarter), Guard::Consumers).unwrap();
    (0..20).for_each(|_| log.append(&mut rng));
    let batches = log.batches.clone();
    drop(log);
    let mut stops = 0;
    for stop in 0.. {
        let left = disk.fork();
        let store = open(&left);
        left.stop_at(left.operations() + stop);
        let done = store.truncate_before(pos(quarter * 2), Guard::Consumers).is_ok();
        drop(store);
        let left = left.after_power_loss(PowerLoss::Random, stop);
        remove_trees(&left);
        let log = Log { store: open(&left), batches: batches.clone() };
        check_rest(&log, &log.store.tree().unwrap().unwrap(), &format!("stopped at operation {stop}"));
        stops += 1;
        if done {
            break;
        }
    }
    assert!(stops > 10, "{stops}");
}

#[test]
fn a_segment_that_cannot_be_read_is_told_when_its_part_is_missing_and_is_not_needed_when_it_is_there() {
    let (disk, mut rng) = (SimDisk::new(8), Rng(8));
    let log = log(&disk, &mut rng, 250);
    let head = log.head(log.size());
    let old = log.head(10);
    let hurt = log.store.stats().segments[1].path.clone();
    drop(log);
    disk.flip(&hurt, 8 * 9000);
    let store = open(&disk);
    let tree = store.tree().unwrap().unwrap();
    assert_eq!(tree.head(), head);
    assert_eq!(tree.consistency(&old, &head).unwrap().check(&old, &head), Ok(()));
    drop((tree, store));
    let path = trees(&disk).remove(1);
    (&disk as &dyn Storage).remove(&path).unwrap();
    let store = open(&disk);
    let refused = store.tree().and_then(|tree| tree.unwrap().consistency(&old, &head).map(|_| ()));
    assert!(matches!(refused, Err(KeepError::Read(ReadError::Corrupt(_)))), "{refused:?}");
}

#[test]
fn of_sealed_segments_nothing_is_read_but_headers_and_the_batch_that_is_proven() {
    let (disk, mut rng) = (SimDisk::new(9), Rng(9));
    let log = log(&disk, &mut rng, 300);
    let (old, head) = (log.head(33), log.head(log.size()));
    let sealed: Vec<(String, u64)> = {
        let stats = log.store.stats();
        stats.segments.iter().filter(|it| it.sealed).map(|it| (it.path.clone(), it.bytes)).collect()
    };
    let event = pos(log.store.stats().segments[1].base.get() + 5);
    drop(log);
    let watched = Watched::new(disk.clone());
    let store = watched.open(&options());
    watched.asked();
    let tree = store.tree().unwrap().unwrap();
    assert_eq!(tree.consistency(&old, &head).unwrap().check(&old, &head), Ok(()));
    let of_sealed = |asked: Vec<Asked>| -> Vec<(String, std::ops::Range<u64>)> {
        let reads = asked.into_iter().filter_map(|asked| match asked {
            Asked::Read(path, range) if sealed.iter().any(|(name, _)| path == *name) => Some((path, range)),
            _ => None,
        });
        reads.collect()
    };
    let read = of_sealed(watched.asked());
    assert!(read.iter().all(|(_, range)| *range == (0..4096)), "{read:?}");
    assert!(tree.inclusion(event, &head).unwrap().is_some());
    let read: u64 = of_sealed(watched.asked()).iter().map(|(_, range)| range.end - range.start).sum();
    assert!(read < sealed[1].1 / 2, "{read} bytes for one batch");
}

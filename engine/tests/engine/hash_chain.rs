//! The hash chain: in markers and headers, over rolls and recoveries, on and off; and what verification says of it.

use std::path::Path;
use std::sync::Arc;

use annals::inspect::{FindingKind, VerifyReport, verify_against, verify_on};
use annals::storage::sim::SimDisk;
use annals::{ChainTip, Clock, Durability, EventStore, ExpectedVersion, Guard, NewEvent, Options, Position};

#[derive(Debug)]
struct Stopped;

impl Clock for Stopped {
    fn now(&self) -> i64 {
        5
    }
}

fn chained() -> Options {
    small_options().hash_chain(true)
}

fn small_options() -> Options {
    Options::new().background(false).flush_interval(None).segment_bytes(64 << 10).zero_ahead(0)
}

/// Appends `count` batches of one to three events, some with keys and tracking records.
fn append(store: &EventStore, count: u64) {
    for n in 0..count {
        let head = store.head().get();
        let mut batch = store.batch();
        for event in 0..=n % 3 {
            let data = vec![b'x'; (head * 37 % 900 + event) as usize];
            let mut new = NewEvent::new("Happened", data);
            if event == 1 {
                new = new.metadata("said").occurred_at(7);
            }
            batch = batch.event(format!("s-{}", n % 4), new);
        }
        if n % 4 == 1 {
            batch = batch.idempotency_key(format!("key-{head}"));
        }
        if n % 5 == 2 {
            batch = batch.tracking("upstream", head + 1);
        }
        batch.commit().unwrap();
    }
}

#[track_caller]
fn clean(report: VerifyReport) -> VerifyReport {
    assert!(report.is_clean(), "{:?}", report.findings);
    report
}

#[track_caller]
fn verified(dir: &Path, witnesses: &[ChainTip]) -> VerifyReport {
    clean(verify_against(dir, witnesses, |_, _| ()).unwrap())
}

#[test]
fn a_store_without_the_option_has_no_tip_and_no_stretch() {
    let dir = tempfile::tempdir().unwrap();
    let store = EventStore::open(dir.path(), &small_options()).unwrap();
    append(&store, 5);
    assert_eq!(store.chain_tip().unwrap(), None);
    assert_eq!(verified(dir.path(), &[]).chain, []);
}

#[test]
fn the_chain_runs_on_over_rolls_and_openings_and_every_tip_on_the_way_is_a_witness() {
    let dir = tempfile::tempdir().unwrap();
    let mut witnesses = Vec::new();
    for _ in 0..4 {
        let store = EventStore::open(dir.path(), &chained()).unwrap();
        witnesses.push(store.chain_tip().unwrap().unwrap());
        append(&store, 120);
        let tip = store.chain_tip().unwrap().unwrap();
        assert_eq!((tip.log_id, tip.position), (store.log_id(), store.head()));
        witnesses.push(tip);
        let mark = store.mark(store.head()).unwrap();
        assert_eq!(mark.hash, Some(tip.hash));
    }
    let report = verified(dir.path(), &witnesses);
    assert!(report.segments > 4, "it has rolled: {} segments", report.segments);
    let [stretch] = &*report.chain else { panic!("one stretch: {:?}", report.chain) };
    let last = witnesses.last().unwrap();
    assert_eq!((stretch.from.position, stretch.is_start), (Position::START, true));
    assert_eq!((stretch.to.position, stretch.to.hash), (last.position, last.hash));
    assert_eq!(witnesses[1], witnesses[2], "opening changes nothing");
}

#[test]
fn a_reader_in_another_process_sees_the_tip_of_what_is_durable() {
    let dir = tempfile::tempdir().unwrap();
    let store = EventStore::open(dir.path(), &chained().durability(Durability::Buffered)).unwrap();
    let reader = EventStore::open_read_only(dir.path()).unwrap();
    append(&store, 100);
    let tip = store.chain_tip().unwrap();
    assert_eq!(store.durable_head(), store.head(), "a witness is of what is durable");
    assert_eq!(reader.chain_tip().unwrap(), tip);
    assert_eq!(EventStore::open_read_only(dir.path()).unwrap().chain_tip().unwrap(), tip);
}

#[test]
fn turned_on_and_off_the_first_append_begins_a_segment_and_verification_tells_the_stretches() {
    let dir = tempfile::tempdir().unwrap();
    let mut ends = vec![Position::START];
    for (asked, keep) in [(None, false), (Some(true), true), (None, true), (Some(false), false), (Some(true), true)] {
        let options = small_options();
        let options = asked.map_or(options.clone(), |keep| options.hash_chain(keep));
        let store = EventStore::open(dir.path(), &options).unwrap();
        append(&store, 10);
        assert_eq!(store.chain_tip().unwrap().is_some(), keep);
        ends.push(store.head());
    }
    let report = verified(dir.path(), &[]);
    let stretches: Vec<_> = report.chain.iter().map(|it| (it.from.position, it.to.position, it.is_start)).collect();
    assert_eq!(stretches, [(ends[1], ends[3], true), (ends[4], ends[5], true)]);
    assert_eq!(report.segments, 4);
}

#[test]
fn an_empty_store_that_is_opened_with_the_option_later_begins_its_chain_at_the_start() {
    let dir = tempfile::tempdir().unwrap();
    drop(EventStore::open(dir.path(), &small_options()).unwrap());
    let store = EventStore::open(dir.path(), &chained()).unwrap();
    append(&store, 3);
    let report = verified(dir.path(), &[store.chain_tip().unwrap().unwrap()]);
    assert_eq!(
        report.chain.iter().map(|it| (it.from.position, it.is_start)).collect::<Vec<_>>(),
        [(Position::START, true)]
    );
}

#[test]
fn one_batch_at_a_time_and_many_in_one_group_give_the_same_chain() {
    // Disks of one seed give their logs one id.
    let disk = |submitted: bool| {
        let disk = SimDisk::new(1);
        let clock = Arc::new(Stopped);
        let store = EventStore::open_on(Arc::new(disk.clone()), &chained().clock(clock)).unwrap();
        let event = |n: u8| NewEvent::new("A", vec![n; 5]).id(annals::EventId::from_bytes([n; 16]));
        if submitted {
            let tickets: Vec<_> = (1..9).map(|n| store.batch().event("s", event(n)).submit().unwrap()).collect();
            for ticket in tickets {
                ticket.wait().unwrap();
            }
        } else {
            for n in 1..9 {
                store.append("s", ExpectedVersion::Any, event(n)).unwrap();
            }
        }
        let tip = store.chain_tip().unwrap().unwrap();
        drop(store);
        clean(verify_on(&disk, |_, _| ()).unwrap());
        tip.hash
    };
    assert_eq!(disk(false), disk(true));
}

#[test]
fn a_witness_of_another_log_or_of_where_no_chain_is_kept_is_told_so() {
    let dir = tempfile::tempdir().unwrap();
    let store = EventStore::open(dir.path(), &small_options()).unwrap();
    append(&store, 5);
    let unchained = store.head();
    drop(store);
    let store = EventStore::open(dir.path(), &chained()).unwrap();
    append(&store, 6);
    let tip = store.chain_tip().unwrap().unwrap();
    let finding = |witness: ChainTip| {
        let report = verify_against(dir.path(), &[tip, witness], |_, _| ()).unwrap();
        let [finding] = &*report.findings else { panic!("one finding: {:?}", report.findings) };
        assert_eq!(finding.kind, FindingKind::Chain);
        (finding.position, finding.message.clone())
    };
    let other = EventStore::in_memory(&chained()).unwrap();
    let (position, message) = finding(ChainTip { log_id: other.log_id(), ..tip });
    assert_eq!(position, None);
    assert!(message.contains("another"), "{message}");
    let before = Position::new(unchained.get() - 1);
    let (_, message) = finding(ChainTip { position: before, ..tip });
    assert!(message.contains("no hash chain"), "{message}");
    // The last batch but one has two events: within it there is no point of the chain.
    let within = Position::new(tip.position.get() - 4);
    let (position, message) = finding(ChainTip { position: within, ..tip });
    assert!(message.contains(&format!("position {within}")), "{position:?} {message}");
}

#[test]
fn a_log_whose_oldest_segments_were_removed_goes_on_from_an_anchor_that_verification_names() {
    let dir = tempfile::tempdir().unwrap();
    let store = EventStore::open(dir.path(), &chained()).unwrap();
    append(&store, 40);
    let removed = store.chain_tip().unwrap().unwrap();
    append(&store, 400);
    let kept = store.chain_tip().unwrap().unwrap();
    let before = Position::new(kept.position.get() - 300);
    store.truncate_before(before, Guard::default()).unwrap();
    append(&store, 10);
    let base = Position::new(store.oldest().get() - 1);
    assert!(base > removed.position, "something was removed: {base}");
    let tip = store.chain_tip().unwrap().unwrap();

    let report = verified(dir.path(), &[kept, tip]);
    let [stretch] = &*report.chain else { panic!("one stretch: {:?}", report.chain) };
    assert_eq!((stretch.from.position, stretch.is_start, stretch.to.hash), (base, false, tip.hash));
    // What is known of the floor is the anchor, and a witness of that very place agrees.
    let mark = store.mark(base).unwrap();
    assert_eq!(mark.hash, Some(stretch.from.hash));
    verified(dir.path(), &[ChainTip { position: base, hash: stretch.from.hash, ..tip }]);

    let report = verify_against(dir.path(), &[removed], |_, _| ()).unwrap();
    let [finding] = &*report.findings else { panic!("one finding: {:?}", report.findings) };
    assert!(finding.message.contains(&format!("up to position {base} was removed")), "{}", finding.message);
}

//! The derived files in `idx/`: whatever becomes of them, no answer is another one.
//!
//! The stores here have short segments, sealed early, so that one of them has many.

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

#[test]
fn whatever_stands_in_the_place_of_an_index_no_answer_changes_and_it_is_made_anew() {
    let disk = log(4);
    let expected = answers(&open(&disk.fork()).unwrap());
    let another = SimDisk::new(6);
    log_on(&another, 4, "told");
    for segment in [0, 3] {
        let path = index(segment);
        let good = disk.read_file(&path).unwrap();
        let [neighbour, foreign] = [disk.read_file(&index(2)).unwrap(), another.read_file(&path).unwrap()];
        assert_eq!(good.len(), foreign.len(), "as alike as can be");
        let others: [(&str, &[u8]); 2] = [("of another segment", &neighbour), ("of another log", &foreign)];
        for (what, bytes) in spoilt(&good, &others) {
            let disk = disk.fork();
            disk.write_file(&path, &bytes);
            let case = format!("{path}: {what}");
            check_disk(&disk, &expected, &case);
            // A bit of a section that nobody has asked for stays as it is.
            let is_asked_for = !what.contains("flipped");
            assert!(!is_asked_for || disk.read_file(&path).unwrap() == good, "{case}: it was not made anew");
        }
    }
}

#[test]
fn without_any_of_the_files_every_answer_is_the_same_and_the_same_files_are_made() {
    let disk = log(17);
    let expected = answers(&open(&disk.fork()).unwrap());
    let whole = snapshot(&disk);
    let without = |case: &str, is_gone: &dyn Fn(&str) -> bool| {
        let disk = disk.fork();
        indexes_of(&disk).iter().filter(|path| is_gone(path)).for_each(|path| disk.remove_file(path));
        check_disk(&disk, &expected, case);
        for (path, bytes) in whole.iter().filter(|(path, _)| is_index(path)) {
            assert!(disk.read_file(path).as_ref() == Some(bytes), "without {case}: {path}");
        }
    };
    without("all", &|_| true);
    without("every index", &|path| is_index(path));
    without("every filter", &|path| is_filter(path));
    without("a few", &|path| path.contains('1'));
}

#[test]
fn on_a_real_disk_too_the_files_can_go_and_come_back() {
    type Harm = fn(&Path);
    let harms: [(&str, Harm); 6] = [
        ("removed", |path| std::fs::remove_file(path).unwrap()),
        ("empty", |path| std::fs::write(path, []).unwrap()),
        ("garbage", |path| std::fs::write(path, [0xA7; 5000]).unwrap()),
        ("cut", |path| std::fs::write(path, &std::fs::read(path).unwrap()[..200]).unwrap()),
        ("flipped at its end", |path| {
            let mut bytes = std::fs::read(path).unwrap();
            *bytes.last_mut().unwrap() ^= 4;
            std::fs::write(path, bytes).unwrap();
        }),
        ("a directory", |path| {
            std::fs::remove_file(path).unwrap();
            std::fs::create_dir(path).unwrap();
        }),
    ];
    for place in [Place::Mapped(tempfile::tempdir().unwrap()), Place::Pread(tempfile::tempdir().unwrap())] {
        let (Place::Mapped(dir) | Place::Pread(dir)) = &place else { unreachable!() };
        let store = place.open(&quiet());
        for number in 0..12 {
            let large = told("Placed", &"large ".repeat(3_000), number);
            store.append(STREAMS[number as usize % 4], Any, large).unwrap();
            store.batch().tracking("bank", number).commit().unwrap();
        }
        assert!(store.stats().segments.len() > 3);
        let expected = answers(&store);
        drop(store);
        let files = || std::fs::read_dir(dir.path().join("idx")).unwrap().map(|file| file.unwrap().path());
        for (what, harm) in harms {
            files().for_each(|path| harm(&path));
            check_same(&answers(&place.open(&quiet())), &expected, &format!("{place:?}: {what}"));
            files().filter(|path| path.is_dir()).for_each(|path| std::fs::remove_dir(path).unwrap());
        }
        std::fs::create_dir(dir.path().join("idx/not-removed-as-a-file.tmp")).unwrap();
        check_same(&answers(&place.open(&quiet())), &expected, &format!("{place:?}: a directory among them"));
        std::fs::remove_dir_all(dir.path().join("idx")).unwrap();
        check_same(&answers(&place.open(&quiet())), &expected, &format!("{place:?}: no directory"));
        std::fs::remove_dir_all(dir.path().join("idx")).unwrap();
        std::fs::write(dir.path().join("idx"), "a file").unwrap();
        check_same(&answers(&place.open(&quiet())), &expected, &format!("{place:?}: a file in its place"));
    }
}

#[test]
fn the_index_of_the_same_segment_in_a_copy_that_went_on_in_another_way_is_refused() {
    // Log id, segment, seed, base, length and number of events are the same: somebody has
    // restored `seg` from a backup, and left `idx` as it was.
    let before = SimDisk::new(5);
    log_on(&before, 15, "told");
    let story = |streams: [&str; 2], upstream| {
        let disk = before.fork();
        let store = open(&disk).unwrap();
        for segment in 15..18 {
            for stream in streams {
                store.append(stream, Any, told("Placed", "late", segment)).unwrap();
            }
            store.batch().tracking("bank", upstream + segment).commit().unwrap();
            seal_early(&disk, &store);
        }
        store.append("ledger", Any, event("Last")).unwrap();
        drop(store);
        disk
    };
    let (one, other) = (story(["cart-7", "order-8"], 9_000), story(["cart-2", "order-3"], 9_500));
    let expected = answers(&open(&one.fork()).unwrap());
    let identity = |disk: &SimDisk| disk.read_file(&index(15)).unwrap()[32..64].to_vec();
    assert_eq!(identity(&one), identity(&other), "as alike as can be");
    for path in [index(15), index(17), filter(1, 0)] {
        let disk = one.fork();
        disk.write_file(&path, &other.read_file(&path).unwrap());
        check_disk(&disk, &expected, &path);
    }
    let disk = one.fork();
    for path in indexes_of(&disk) {
        disk.write_file(&path, &other.read_file(&path).unwrap());
    }
    check_disk(&disk, &expected, "all of them");
}

#[test]
fn index_files_that_can_be_neither_listed_nor_read_nor_written_change_no_answer() {
    let disk = log(17);
    let expected = answers(&open(&disk.fork()).unwrap());
    for error in [io::ErrorKind::PermissionDenied, io::ErrorKind::Other, io::ErrorKind::NotADirectory] {
        let disk = disk.fork();
        disk.write_file("idx/some.tmp", b"of a crash, and cannot be removed");
        let watched = Watched::new(disk);
        watched.refuse_indexes(error);
        let store = watched.open(&options());
        check_same(&answers(&store), &expected, &format!("{error:?}"));
        // Nor of the segment that is sealed now.
        seal_early(&watched.disk, &store);
        assert_eq!(store.append("ledger", Any, event("More")).unwrap().last, store.head(), "{error:?}");
        assert_eq!(store.append("in-17", Exact(ver(1)), event("More")).unwrap().version, ver(2), "{error:?}");
        drop(watched.open_read_only());
    }
}

/// The numbers of the operations, or of the reads, that are about index files.
fn of_indexes(journal: &[String], are_reads: bool) -> Vec<u64> {
    let lines = journal.iter().filter(|line| line.starts_with("read") == are_reads && line.contains("idx"));
    let number = |line: &String| {
        let digits: String =
            line.chars().skip_while(|c| !c.is_ascii_digit()).take_while(char::is_ascii_digit).collect();
        digits.parse().unwrap()
    };
    lines.map(number).collect()
}

/// Seals segment 15: the one in hand, and the last under a filter.
fn seal_the_sixteenth(disk: &SimDisk) -> EventStore {
    let store = open(disk).unwrap();
    store.append("a", Any, NewEvent::new("Large", vec![1; 61_000])).unwrap();
    store
}

#[test]
fn whatever_fails_while_index_files_are_written_no_append_fails_and_no_answer_changes() {
    let disk = log(15);
    let whole = disk.fork();
    whole.record_journal();
    let store = seal_the_sixteenth(&whole);
    assert!(whole.file_len(&index(15)).is_some() && whole.file_len(&filter(1, 0)).is_some());
    let expected = answers(&store);
    drop(store);
    let operations = of_indexes(&whole.journal(), false);
    assert!(operations.len() >= 7, "two files, each created, written and renamed: {operations:?}");
    for operation in operations {
        for fault in [Fault::Eio, Fault::StorageFull, Fault::ShortWrite, Fault::ShortThenFull] {
            let disk = disk.fork();
            disk.fail_at(operation, fault);
            let case = format!("{fault:?} at {operation}");
            let store = seal_the_sixteenth(&disk);
            check_same(&answers(&store), &expected, &case);
            store.append("a", Exact(ver(1)), event("More")).unwrap_or_else(|error| panic!("{case}: {error:?}"));
            drop(store);
            let store = open(&disk).unwrap();
            assert_eq!(store.stream_version("in-15").unwrap(), ver(1), "{case}");
            store.stream_count().unwrap();
            assert!(disk.read_file(&index(15)) == whole.read_file(&index(15)), "{case}: it is there now");
            assert!(!disk.paths().iter().any(|path| is_temporary(path)), "{case}: {:?}", disk.paths());
        }
    }
}

/// Flips a bit in the first event of a segment.
fn hurt(disk: &SimDisk, segment: u64) {
    disk.flip(&segment_path(disk, segment), (4096 + 30) * 8);
}

#[test]
fn an_index_that_was_made_and_could_not_be_written_serves_and_the_segment_is_not_read_for_it_again() {
    let disk = log(15);
    let rehearsal = disk.fork();
    rehearsal.record_journal();
    drop(seal_the_sixteenth(&rehearsal));
    for operation in of_indexes(&rehearsal.journal(), false).into_iter().take(4) {
        let disk = disk.fork();
        disk.fail_at(operation, Fault::Eio);
        let store = seal_the_sixteenth(&disk);
        assert!(disk.file_len(&index(15)).is_none(), "operation {operation} kept it from being written");
        hurt(&disk, 15);
        assert_eq!(store.stream_version("in-15").unwrap(), ver(1), "operation {operation}");
        store.append("in-15", Exact(ver(1)), event("More")).unwrap();
    }
}

#[test]
fn while_an_index_cannot_be_made_because_its_segment_is_damaged_the_one_in_memory_serves() {
    let disk = log(15);
    let store = open(&disk).unwrap();
    // Behind the back of the store, before the segment is sealed.
    hurt(&disk, 15);
    store.append("a", Any, NewEvent::new("Large", vec![1; 61_000])).unwrap();
    assert!(disk.file_len(&index(15)).is_none());
    assert_eq!(store.stream_version("in-15").unwrap(), ver(1));
    store.append("in-15", Exact(ver(1)), event("More")).unwrap();
    drop(store);
    // Who comes next has neither.
    let store = open(&disk).unwrap();
    assert!(matches!(store.append("new", Any, event("A")), Err(AppendError::Unreadable { .. })));
}

#[test]
fn a_disk_without_space_for_an_index_has_none_and_every_answer() {
    let disk = log(3);
    let expected = answers(&open(&disk.fork()).unwrap());
    remove_indexes(&disk);
    disk.set_capacity(Some(disk.used()));
    let store = open(&disk).unwrap();
    check_same(&answers(&store), &expected, "full");
    drop(store);
    assert_eq!(indexes_of(&disk), [""; 0]);
    disk.set_capacity(None);
    check_disk(&disk, &expected, "with space again");
    assert_eq!(indexes_of(&disk), [0, 1, 2].map(index));
}

#[test]
fn an_index_that_fails_to_be_read_is_made_from_the_segment() {
    let disk = log(17);
    let expected = answers(&open(&disk.fork()).unwrap());
    let whole = disk.fork();
    whole.record_journal();
    answers(&open(&whole).unwrap());
    let reads = of_indexes(&whole.journal(), true);
    assert!(reads.len() > 2 * 17, "{reads:?}");
    for read in reads {
        let disk = disk.fork();
        disk.fail_read_at(read, ReadFault::Eio);
        check_same(&answers(&open(&disk).unwrap()), &expected, &format!("read {read}"));
    }
}

// What is read.

/// Which bytes were asked of which file.
fn reads_of(asked: &[Asked], start: &str) -> u64 {
    let len = |asked: &Asked| match asked {
        Asked::Read(path, range) if path.starts_with(start) => range.end - range.start,
        _ => 0,
    };
    asked.iter().map(len).sum()
}

/// A store of three sealed segments with so many events, and what was asked while it was
/// opened, while an unknown and a known stream were appended to, and while one was read.
fn asked_of(events: u64) -> [Vec<Asked>; 4] {
    let disk = SimDisk::new(5);
    let store = open(&disk).unwrap();
    for segment in 0..=3_u64 {
        let new = (0..events).map(|number| (format!("s-{}", number % 5), event("Small")));
        let batch = new.fold(store.batch(), |batch, (stream, new)| batch.event(stream, new));
        batch.event(format!("in-{segment}"), event("Alone")).commit().unwrap();
        if segment < 3 {
            seal_early(&disk, &store);
        }
    }
    drop(store);
    let watched = Watched::new(disk);
    let store = watched.open(&options());
    let opened = watched.asked();
    store.append("s-new", ExpectedVersion::NoStream, event("New")).unwrap();
    let unknown = watched.asked();
    store.append("in-1", Exact(ver(1)), event("New")).unwrap();
    let known = watched.asked();
    assert_eq!(store.stream_version("in-never").unwrap(), StreamVersion::EMPTY);
    assert_eq!(positions(store.read_stream("in-2", StreamVersion::EMPTY).unwrap()), [(events + 1) * 3]);
    let read = watched.asked();
    [opened, unknown, known, read]
}

#[test]
fn opening_and_looking_up_read_no_event_of_a_sealed_segment() {
    let (few, many) = (asked_of(10), asked_of(500));
    for [opened, unknown, known, read] in [&few, &many] {
        for (what, asked) in [("opening", opened), ("a new stream", unknown), ("a known stream", known)] {
            for asked in asked {
                let Asked::Read(path, range) = asked else { continue };
                let is_sealed = (0..3).any(|number| path.starts_with(&format!("seg/{number:020}")));
                assert!(!is_sealed || what == "opening", "{what} reads {range:?} of {path}");
                let is_short = range.end - range.start <= 104;
                assert!(!is_sealed || *range == (0..HEADER) || is_short, "{what} reads {range:?} of {path}");
            }
        }
        assert_eq!(reads_of(opened, "idx"), 0);
        assert!(reads_of(read, "seg") <= 4096, "one event: {read:?}");
    }
    let sealed = |asked: &[Asked]| (0..3).map(|number| reads_of(asked, &format!("seg/{number:020}"))).sum::<u64>();
    assert_eq!(sealed(&few[0]), sealed(&many[0]), "opening reads as much of many events as of few");
}

#[test]
fn what_a_sealed_segment_holds_is_looked_at_when_it_is_wanted_and_not_before() {
    on_every_kind(|place| {
        let store = place.open(&quiet());
        for number in 0..10 {
            store.append(format!("s-{number}"), Any, NewEvent::new("Large", vec![7; 20_000])).unwrap();
        }
        let segments = store.stats().segments;
        assert!(segments.len() >= 4);
        drop(store);
        // Every frame before the seal, and the dense index behind it.
        let spoil = |bytes: &mut Vec<u8>| {
            let len = bytes.len();
            bytes[HEADER as usize..len - 200].fill(0xEE);
        };
        for segment in segments.iter().filter(|segment| segment.sealed) {
            match place {
                Place::Simulated(disk) => {
                    let mut bytes = disk.read_file(&segment.path).unwrap();
                    spoil(&mut bytes);
                    disk.write_file(&segment.path, &bytes);
                }
                Place::Mapped(dir) | Place::Pread(dir) => {
                    let path = dir.path().join(&segment.path);
                    let mut bytes = std::fs::read(&path).unwrap();
                    spoil(&mut bytes);
                    std::fs::write(path, bytes).unwrap();
                }
            }
        }
        let store = place.open(&quiet());
        assert_eq!(store.stream_count().unwrap(), 10);
        assert_eq!(store.append("s-0", Exact(ver(1)), event("More")).unwrap().version, ver(2));
        assert_eq!(store.append("s-new", ExpectedVersion::NoStream, event("New")).unwrap().version, ver(1));
        let read = |stream: &str| store.read_stream(stream, StreamVersion::EMPTY).unwrap().collect::<Vec<_>>();
        assert!(matches!(&read("s-1")[..], [Err(ReadError::Corrupt(_))]));
        assert_eq!(read("s-new").len(), 1);
    });
}

// Made in the background.

fn beside() -> Options {
    Options::new().segment_bytes(64 << 10).zero_ahead(64 << 10)
}

/// Appends enough for so many rolls.
fn roll(store: &EventStore, rolls: u64) {
    for number in 0..rolls {
        store.append(STREAMS[number as usize % 4], Any, NewEvent::new("Placed", vec![9; 40_000])).unwrap();
    }
}

fn names_in(dir: &Path) -> Vec<String> {
    let Ok(entries) = std::fs::read_dir(dir.join("idx")) else { return Vec::new() };
    let mut names: Vec<_> = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

/// Waits until the index of each sealed segment, and each filter, is there.
fn wait_for_indexes(dir: &Path, sealed: u64) {
    let mut wanted: Vec<_> = (0..sealed).map(index).chain((0..sealed / 16).map(|group| filter(1, group))).collect();
    wanted.sort();
    let wanted: Vec<_> = wanted.iter().map(|path| path.strip_prefix("idx/").unwrap()).collect();
    wait_until("the files of the index are made", || names_in(dir) == wanted);
}

#[test]
fn beside_the_writer_indexes_appear_unasked_and_no_answer_changes_meanwhile() {
    let dir = tempfile::tempdir().unwrap();
    let store = EventStore::open(dir.path(), &beside()).unwrap();
    roll(&store, 18);
    let before = answers(&store);
    assert_eq!(store.stats().segments.len(), 18);
    wait_for_indexes(dir.path(), 17);
    check_same(&answers(&store), &before, "with files");
    store.close().unwrap();

    // Whatever is removed or spoilt is there again, also unasked; and a filter that nobody can use.
    let good = files_of(&dir.path().join("idx"));
    for (path, bytes) in &good {
        match path.extension().unwrap().to_str() {
            Some("flt") => std::fs::write(path, &bytes[..bytes.len() - 1]).unwrap(),
            _ => std::fs::remove_file(path).unwrap(),
        }
    }
    let store = EventStore::open(dir.path(), &beside()).unwrap();
    let is_there = |(path, bytes): &(std::path::PathBuf, Vec<u8>)| std::fs::read(path).is_ok_and(|read| read == *bytes);
    wait_until("they are there again", || good.iter().all(is_there));
    check_same(&answers(&store), &before, "after they were gone");
}

#[test]
fn closing_right_after_a_roll_leaves_nothing_half_made_and_the_next_open_makes_the_rest() {
    for round in 0..12 {
        let dir = tempfile::tempdir().unwrap();
        let store = EventStore::open(dir.path(), &beside()).unwrap();
        roll(&store, 2 + round % 4);
        drop(store);
        let names = names_in(dir.path());
        assert!(names.iter().all(|name| is_index(name)), "{names:?}");
        let store = EventStore::open(dir.path(), &beside()).unwrap();
        wait_for_indexes(dir.path(), 1 + round % 4);
        assert!(store.recovery_report().is_clean(), "{:?}", store.recovery_report());
    }
}

#[test]
fn two_threads_that_make_the_same_index_at_once_each_put_a_whole_one_into_its_place() {
    let disk = log(1);
    let expected = answers(&open(&disk.fork()).unwrap());
    let good = disk.read_file(&index(0)).unwrap();
    disk.remove_file(&index(0));
    let watched = Watched::new(disk);
    watched.have_two_writers_meet();
    // The thread beside the writer makes what is missing, and so does who asks for it.
    let store = watched.open(&options().background(true));
    check_same(&answers(&store), &expected, "while it is made twice");
    drop(store);
    let renamed = watched.renamed();
    assert_eq!(renamed.len(), 2, "both have made it");
    for (path, bytes) in renamed {
        assert!(path == index(0) && bytes == good, "{path} with {} of {} bytes", bytes.len(), good.len());
    }
    assert_eq!(indexes_of(&watched.disk), [index(0)]);
}

#[test]
fn a_reader_changes_nothing_and_answers_all_the_same_without_indexes() {
    let dir = tempfile::tempdir().unwrap();
    let store = EventStore::open(dir.path(), &quiet()).unwrap();
    roll(&store, 18);
    let expected: Vec<_> = answers(&store).into_iter().filter(|line| !line.contains("conflict")).collect();
    drop(store);
    for what in ["whole", "garbage", "gone"] {
        for (path, _) in files_of(dir.path()).iter().filter(|(path, _)| path.to_str().unwrap().contains("/idx/")) {
            match what {
                "garbage" => std::fs::write(path, [1; 777]).unwrap(),
                "gone" => std::fs::remove_file(path).unwrap(),
                _ => {}
            }
        }
        let before = files_of(dir.path());
        let reader = EventStore::open_read_only(dir.path()).unwrap();
        check_same(&answers(&reader), &expected, what);
        drop(reader);
        assert!(files_of(dir.path()) == before, "{what}: something was changed");
    }
}

#[test]
fn a_reader_that_follows_over_rolls_turns_to_the_files_once_they_are_there_and_writes_nothing() {
    let disk = SimDisk::new(5);
    let store = open(&disk).unwrap();
    fill(&store, 0, "told");
    let watched = Watched::new(disk.clone());
    let reader = watched.open_read_only();
    let read_as = |case: &str| {
        let expected: Vec<_> = answers(&store).into_iter().filter(|line| !line.contains("conflict")).collect();
        check_same(&answers(&reader), &expected, case);
    };
    for segment in 1..=17 {
        seal_early(&disk, &store);
        fill(&store, segment, "told");
        read_as(&format!("in segment {segment}"));
    }
    let asked = watched.asked();
    // The index of the last one was made after the reader had turned to the next segment.
    for segment in 0..16 {
        assert!(asked.contains(&Asked::Open(index(segment))), "the index of {segment} is still in memory");
    }
    assert!(!asked.iter().any(|asked| matches!(asked, Asked::Change(_))), "a reader has changed something");
}

#[test]
fn a_file_of_somebody_else_does_not_pass_for_an_index() {
    let disk = SimDisk::new(5);
    let store = open(&disk).unwrap();
    disk.set_capacity(None);
    fill(&store, 0, "told");
    let watched = Watched::new(disk.clone());
    let reader = watched.open_read_only();
    reader.refresh().unwrap();
    for segment in 1..=3 {
        seal_early(&disk, &store);
        fill(&store, segment, "told");
        // What a name may end with.
        for name in ["idx", ".idx", "0.idx"] {
            disk.write_file(&format!("idx/{name}"), b"");
        }
        (0..segment).for_each(|segment| disk.remove_file(&index(segment)));
        reader.refresh().unwrap();
    }
    watched.asked();
    assert_eq!(reader.stream_version("in-0").unwrap(), ver(1));
    let asked = watched.asked();
    assert!(!asked.contains(&Asked::Open(index(0))), "what was in memory was let go for nothing: {asked:?}");
}

// Filters over many.

const MANY: u64 = 272;

/// 272 sealed segments: 17 filters over 16 of them, and one over 256.
fn large_log() -> SimDisk {
    let disk = SimDisk::new(5);
    let store = open(&disk).unwrap();
    for segment in 0..=MANY {
        let batch = store.batch().event(format!("in-{segment}"), event("Alone"));
        let batch = if segment == 3 { batch.tracking("bank", 3) } else { batch };
        batch.event("everywhere", event("Again")).durability(Durability::Buffered).commit().unwrap();
        if segment < MANY {
            seal_early(&disk, &store);
        }
    }
    drop(store);
    let filters: Vec<_> = indexes_of(&disk).into_iter().filter(|path| is_filter(path)).collect();
    let wanted: Vec<_> = (0..17).map(|group| filter(1, group)).chain([filter(2, 0)]).collect();
    assert_eq!(filters, wanted);
    disk
}

const LOOKED_UP: [u64; 11] = [0, 1, 15, 16, 17, 128, 255, 256, 270, 271, 272];

#[track_caller]
fn check_large(disk: &SimDisk, case: &str) {
    let store = open(disk).unwrap();
    for segment in LOOKED_UP {
        let version = store.stream_version(format!("in-{segment}")).unwrap();
        assert_eq!(version, ver(1), "{case}: in-{segment}");
    }
    for number in 0..20 {
        assert_eq!(store.stream_version(format!("absent-{number}")).unwrap(), ver(0), "{case}: absent-{number}");
    }
    let conflict = store.append("in-16", ExpectedVersion::NoStream, event("Never")).unwrap_err();
    let AppendError::ConcurrencyConflict { actual, last_position, .. } = conflict else { panic!("{conflict:?}") };
    assert_eq!((actual, last_position), (ver(1), pos(2 * 16 + 1)), "{case}");
    assert_eq!(store.tracking("bank").unwrap(), Some(3), "{case}");
    assert_eq!(store.tracking("shop").unwrap(), None, "{case}");
    assert_eq!(store.stream_version("everywhere").unwrap(), ver(MANY + 1), "{case}");
    let info = store.stream_info("in-255").unwrap().unwrap();
    assert_eq!((info.version, info.last_position), (ver(1), pos(2 * 255 + 1)), "{case}");
}

#[test]
fn filters_over_many_segments_hide_nothing_whatever_becomes_of_them() {
    let disk = large_log();
    check_large(&disk.fork(), "whole");
    let filters: Vec<_> = indexes_of(&disk).into_iter().filter(|path| is_filter(path)).collect();
    let with = |case: &str, change: &dyn Fn(&SimDisk, &str)| {
        let disk = disk.fork();
        for path in &filters {
            change(&disk, path);
        }
        check_large(&disk, case);
    };
    with("all removed", &|disk, path| disk.remove_file(path));
    with("some removed", &|disk, path| {
        if path.contains("6.flt") || path.contains("2-") {
            disk.remove_file(path);
        }
    });
    let of_level_1 = |path: &str| path.contains("/1-");
    with("of other segments", &|disk, path| {
        let other = if path.ends_with("00.flt") { filter(1, 10) } else { filter(1, 0) };
        disk.write_file(path, &disk.read_file(&other).unwrap());
    });
    with("of the other level", &|disk, path| {
        let other = if of_level_1(path) { filter(2, 0) } else { filter(1, 0) };
        disk.write_file(path, &disk.read_file(&other).unwrap());
    });
    with("all zeros behind the header", &|disk, path| {
        let mut bytes = disk.read_file(path).unwrap();
        bytes[72..].fill(0);
        disk.write_file(path, &bytes);
    });
    with("cut", &|disk, path| {
        let bytes = disk.read_file(path).unwrap();
        disk.write_file(path, &bytes[..bytes.len() - 32]);
    });
    for round in 0..12 {
        // Each time somewhere else, and always a bit that says that something is there.
        with("a bit flipped", &|disk, path| {
            let mut bytes = disk.read_file(path).unwrap();
            let start = if round % 3 == 0 { 0 } else { 72 };
            let set: Vec<_> = (start * 8..bytes.len() * 8).filter(|bit| bytes[bit / 8] >> (bit % 8) & 1 == 1).collect();
            let bit = set[set.len() * round / 12];
            bytes[bit / 8] ^= 1 << (bit % 8);
            disk.write_file(path, &bytes);
        });
    }
}

#[test]
fn a_stream_that_is_nowhere_is_looked_up_in_few_of_many_segments() {
    let watched = Watched::new(large_log());
    let store = watched.open(&options());
    let looked_into = |stream: &str| {
        watched.asked();
        store.stream_version(stream).unwrap();
        let opened = |asked: &Asked| matches!(asked, Asked::Open(path) if is_index(path));
        watched.asked().into_iter().filter(opened).count()
    };
    // What is opened stays open: so the first ones pay for the others.
    assert!(looked_into("absent-1") <= 2);
    assert!((0..20).map(|number| looked_into(&format!("absent-{number}"))).sum::<usize>() <= 16);
    let first = looked_into("in-0");
    assert!((1..=40).contains(&first), "its filter and those of its fifteen neighbours: {first}");
}

#[test]
fn a_filter_that_is_spoilt_is_made_anew_beside_the_next_writer() {
    let disk = log(17);
    let path = filter(1, 0);
    let good = disk.read_file(&path).unwrap();
    for (what, bytes) in spoilt(&good, &[]).iter().step_by(3) {
        let disk = disk.fork();
        disk.write_file(&path, bytes);
        let store = EventStore::open_on(std::sync::Arc::new(disk.clone()), &options().background(true)).unwrap();
        wait_until(what, || disk.read_file(&path).unwrap() == good);
        drop(store);
    }
}

#[test]
fn stopped_or_failed_anywhere_while_a_filter_is_made_a_store_loses_nothing_and_makes_the_same_files() {
    let disk = SimDisk::new(5);
    let store = open(&disk).unwrap();
    let mut model = Model::default();
    for number in 1..=16 {
        let batch = Batch { tracking: Some(("bank", number)), ..Batch::new(number, &[("a", 30), ("b", 10)]) };
        commit(&store, &batch).unwrap();
        model.acknowledged(&batch).unwrap();
        if number < 16 {
            seal_early(&disk, &store);
        }
    }
    drop(store);
    let last = Batch::new(17, &[("c", 61_000)]);
    let whole = disk.fork();
    commit(&open(&whole).unwrap(), &last).unwrap();
    let mut after = model.clone();
    after.acknowledged(&last).unwrap();
    assert!(whole.file_len(&filter(1, 0)).is_some());
    let good: Vec<_> = snapshot(&whole).into_iter().filter(|(path, _)| is_index(path)).collect();
    let check = |disk: &SimDisk, least: usize, case: &str| {
        let store = open(disk).unwrap_or_else(|error| panic!("{case}: {error:?}"));
        let shown = oracle::check(&store, &after, least);
        drop(store);
        // A power loss may take a part of a file that was never synced, and nobody asks for that part here.
        let is_random = case.contains("Random");
        let paths = good.iter().filter(|(path, _)| !is_random && (shown == 17 || *path != index(15)));
        for (path, bytes) in paths {
            assert!(disk.read_file(path).as_ref() == Some(bytes), "{case}: {path}");
        }
        let before = snapshot(disk);
        let store = open(disk).unwrap();
        assert_eq!(oracle::check(&store, &after, shown), shown, "{case}, again");
        drop(store);
        assert!(snapshot(disk) == before, "{case}: opening twice changes nothing");
        assert!(!before.iter().any(|(path, _)| is_temporary(path)), "{case}");
    };
    let (from, to) = (disk.operations(), whole.operations());
    assert!(to - from > 12, "{from}..{to}");
    for stop in from..to {
        let disk = disk.fork();
        disk.stop_at(stop);
        let acknowledged = open(&disk).is_ok_and(|store| commit(&store, &last).is_ok());
        let least = 16 + usize::from(acknowledged);
        check(&disk.after_kill(), least, &format!("stopped at {stop}, kill"));
        for loss in [PowerLoss::KeepLeast, PowerLoss::KeepMost, PowerLoss::Random] {
            check(&disk.after_power_loss(loss, stop), least, &format!("stopped at {stop}, {loss:?}"));
        }
    }
}

// Heads.

/// More than are remembered: 65,536.
const TOO_MANY: u64 = 70_000;

fn many_streams(store: &EventStore, streams: u64, in_one: u64) {
    for first in (0..streams).step_by(in_one as usize) {
        let batch = (first..streams.min(first + in_one)).fold(store.batch(), |batch, number| {
            let stream = format!("s-{number}");
            batch.expect(stream.clone(), ExpectedVersion::NoStream).event(stream, event("A"))
        });
        batch.durability(Durability::Buffered).commit().unwrap();
    }
}

/// What is expected of a stream of one event, the position of which is its number plus one.
#[track_caller]
fn check_expectations(store: &EventStore, numbers: impl Iterator<Item = u64>) {
    for number in numbers {
        let stream = format!("s-{number}");
        for expected in [ExpectedVersion::NoStream, Exact(ver(2))] {
            let refused = store.append(&stream, expected, event("Never")).unwrap_err();
            let AppendError::ConcurrencyConflict { actual, last_position, .. } = refused else { panic!("{refused:?}") };
            assert_eq!((actual, last_position), (ver(1), pos(number + 1)), "{stream}");
        }
    }
}

#[test]
fn of_streams_that_the_writer_has_forgotten_every_expectation_is_still_right() {
    let disk = SimDisk::new(5);
    let options = options().segment_bytes(1 << 20);
    let store = EventStore::open_on(std::sync::Arc::new(disk.clone()), &options).unwrap();
    many_streams(&store, TOO_MANY, 1000);
    assert!(store.stats().segments.len() > 5);
    let sample = || (0..TOO_MANY).step_by(997);
    check_expectations(&store, sample());

    // A group that is not written leaves the forgotten ones as they were, and the others too.
    let group = || {
        sample().fold(store.batch(), |batch, number| {
            batch.event(format!("s-{number}"), NewEvent::new("Large", vec![0; 20_000])).event("s-1", event("More"))
        })
    };
    store.flush().unwrap();
    disk.set_capacity(Some(disk.used()));
    let refused = group().commit().unwrap_err();
    assert!(matches!(refused, AppendError::StorageFull), "{refused:?}");
    disk.set_capacity(None);
    check_expectations(&store, sample().chain([1]));
    group().commit().unwrap();
    for number in sample() {
        let stream = format!("s-{number}");
        store.append(&stream, Exact(ver(2)), event("Third")).unwrap();
    }
    drop(store);
    let store = EventStore::open_on(std::sync::Arc::new(disk), &options).unwrap();
    check_expectations(&store, (2..TOO_MANY).step_by(997));
    assert!(store.append("s-997", Exact(ver(3)), event("Fourth")).is_ok());
}

#[test]
fn one_batch_over_more_streams_than_are_remembered_moves_each_of_them_once() {
    let disk = SimDisk::new(5);
    let options = options().segment_bytes(16 << 20);
    let store = EventStore::open_on(std::sync::Arc::new(disk), &options).unwrap();
    many_streams(&store, 66_000, 66_000);
    check_expectations(&store, (0..66_000).step_by(997));
    let again = (0..66_000).fold(store.batch(), |batch, number| {
        let stream = format!("s-{number}");
        batch.expect(stream.clone(), Exact(ver(1))).event(stream, event("B"))
    });
    assert_eq!(again.commit().unwrap().last, pos(132_000));
    for number in (0..66_000).step_by(991) {
        assert_eq!(store.append(format!("s-{number}"), Exact(ver(2)), event("C")).unwrap().version, ver(3));
    }
}

// Damage.

/// Where the dense index of a sealed segment begins, and how many bytes its entries take.
fn dense_of(file: &[u8]) -> (u64, u64) {
    let trailer = &file[file.len() - 40..];
    let at = u64::from_le_bytes(trailer[16..24].try_into().unwrap());
    let events = u32::from_le_bytes(trailer[24..28].try_into().unwrap());
    (at, u64::from(events) * 4)
}

#[test]
fn with_a_damaged_dense_index_every_event_is_found_by_reading_and_verify_says_so() {
    let disk = log(3);
    let expected = answers(&open(&disk.fork()).unwrap());
    let path = segment_path(&disk, 1);
    let (at, len) = dense_of(&disk.read_file(&path).unwrap());
    for bit in (at * 8..(at + len) * 8).step_by(3) {
        let disk = disk.fork();
        disk.flip(&path, bit);
        check_disk(&disk, &expected, &format!("bit {bit}"));
        let store = open(&disk).unwrap();
        assert!(positions(store.read_all(Position::END).backward()).into_iter().rev().eq(1..=24));
        let found = |position| store.get(pos(position)).unwrap().unwrap().position();
        assert!((1..=24).rev().all(|position| found(position) == pos(position)), "bit {bit}");
        if bit % 2 == 0 {
            let report = inspect::verify_on(&disk, |_, _| ()).unwrap();
            assert!(!report.is_clean(), "bit {bit}: verify has found nothing");
        }
    }
}

#[test]
fn mapped_or_not_positions_are_found_without_the_dense_index() {
    on_every_kind(|place| {
        let store = place.open(&quiet());
        roll(&store, 4);
        let expected = answers(&store);
        let path = store.stats().segments[1].path.clone();
        drop(store);
        let flip = |bytes: &mut Vec<u8>| {
            let (at, _) = dense_of(bytes);
            bytes[at as usize + 1] ^= 0x10;
        };
        match place {
            Place::Simulated(disk) => {
                let mut bytes = disk.read_file(&path).unwrap();
                flip(&mut bytes);
                disk.write_file(&path, &bytes);
            }
            Place::Mapped(dir) | Place::Pread(dir) => {
                let mut bytes = std::fs::read(dir.path().join(&path)).unwrap();
                flip(&mut bytes);
                std::fs::write(dir.path().join(&path), bytes).unwrap();
            }
        }
        check_same(&answers(&place.open(&quiet())), &expected, "without the dense index");
        check_same(&answers(&place.open(&quiet())), &expected, "again");
        assert_eq!(positions(place.open(&quiet()).read_all(Position::END).backward()), [4, 3, 2, 1]);
    });
}

#[test]
fn a_conflict_says_no_position_that_nothing_vouches_for() {
    // The event's own frame is damaged, and the dense index too.
    let disk = log(2);
    let store = open(&disk.fork()).unwrap();
    let position = store.stream_info("in-1").unwrap().unwrap().last_position;
    drop(store);
    let path = segment_path(&disk, 1);
    let file = disk.read_file(&path).unwrap();
    let at = file.windows(6).rposition(|bytes| bytes == b"told 1").unwrap();
    for (both, flips) in [(false, vec![at as u64]), (true, vec![at as u64, dense_of(&file).0])] {
        let disk = disk.fork();
        for byte in flips {
            disk.flip(&path, byte * 8);
        }
        let refused = open(&disk).unwrap().append("in-1", ExpectedVersion::NoStream, event("Never")).unwrap_err();
        match refused {
            AppendError::ConcurrencyConflict { last_position, .. } => {
                assert_eq!((last_position, both), (position, false));
            }
            AppendError::Unreadable { .. } => assert!(both),
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn events_behind_a_damaged_one_are_found_without_the_dense_index_too() {
    let disk = log(2);
    let path = segment_path(&disk, 1);
    let file = disk.read_file(&path).unwrap();
    let at = file.windows(7).position(|bytes| bytes == b"told 11").unwrap() as u64;
    disk.flip(&path, at * 8);
    disk.flip(&path, dense_of(&file).0 * 8);
    let store = open(&disk).unwrap();
    let expected: Vec<_> = (1..=18).filter(|position| *position != 8).collect();
    let given = |reader: annals::Reader| {
        reader.skip_damaged().flatten().map(|event| event.position().get()).collect::<Vec<_>>()
    };
    assert_eq!(given(store.read_all(Position::START)), expected);
    assert!(given(store.read_all(Position::END).backward()).iter().rev().eq(&expected));
    assert_eq!(store.get(pos(9)).unwrap().unwrap().position(), pos(9));
    assert!(store.get(pos(8)).is_err());
}

/// A segment that is damaged and has no index: of a store of four sealed ones, number 1.
fn without_an_index() -> (SimDisk, SimDisk, Vec<u8>) {
    let whole = log(4);
    let disk = whole.fork();
    let path = segment_path(&disk, 1);
    let at = disk.read_file(&path).unwrap().windows(7).position(|bytes| bytes == b"told 11").unwrap() as u64;
    disk.flip(&path, at * 8);
    let gone = disk.read_file(&index(1)).unwrap();
    disk.remove_file(&index(1));
    (whole, disk, gone)
}

/// The reader ends, tells damage of one segment, and gives everything of the others: its events
/// are at 7 to 12, and those of the query or stream at `whole`.
#[track_caller]
fn check_reader_ends(reader: annals::Reader, whole: &[u64], case: &str) {
    let found: Vec<_> = reader.skip_damaged().take(100).collect();
    let errors = found.iter().filter(|found| found.is_err()).count();
    assert_eq!(errors, 1, "{case}: {found:?}");
    let elsewhere = |position: &u64| !(7..=12).contains(position);
    let given: Vec<_> = found.into_iter().flatten().map(|event| event.position().get()).filter(elsewhere).collect();
    assert_eq!(given, whole.iter().copied().filter(elsewhere).collect::<Vec<_>>(), "{case}");
}

#[test]
fn a_segment_without_an_index_that_cannot_be_made_is_an_error_of_look_ups_and_no_answer() {
    let (_, disk, _) = without_an_index();
    let store = open(&disk).unwrap();
    for stream in ["in-0", "in-1", "never"] {
        let version = store.stream_version(stream);
        assert!(matches!(version, Err(ReadError::Corrupt(_))), "{stream}: {version:?}");
        for expected in [Any, ExpectedVersion::NoStream, Exact(ver(1))] {
            let refused = store.append(stream, expected, event("Never"));
            assert!(matches!(refused, Err(AppendError::Unreadable { .. })), "{stream}: {refused:?}");
        }
    }
    assert!(matches!(store.tracking("never"), Err(ReadError::Corrupt(_))));
    assert!(matches!(store.streams(""), Err(ReadError::Corrupt(_))));
    assert!(matches!(store.stream_count(), Err(ReadError::Corrupt(_))));
    // What newer segments tell needs no older one.
    for stream in ["in-2", "in-3", "in-4", "order-1"] {
        let version = store.stream_version(stream).unwrap();
        assert_eq!(store.append(stream, Exact(version), event("More")).unwrap().version, version.plus(1), "{stream}");
    }
    assert_eq!(store.tracking("bank").unwrap(), Some(407));
    assert_eq!(store.tracking("shop").unwrap(), Some(307));
    let all: Vec<_> = store.read_all(Position::START).skip_damaged().collect();
    assert_eq!(all.iter().filter(|found| found.is_err()).count(), 1);
    assert_eq!(all.len(), 34, "one is damaged, all the others are read by position");
}

#[test]
fn a_reader_that_skips_damage_tells_once_that_an_index_cannot_be_had_and_goes_on_behind_it() {
    let (whole, disk, _) = without_an_index();
    let whole = open(&whole).unwrap();
    for store in [open(&disk.fork()).unwrap(), open_read_only(&disk).unwrap()] {
        for stream in ["in-1", "in-0", "never", "order-1", "cart-1"] {
            let read = |store: &EventStore, after| store.read_stream(stream, after).unwrap();
            let forward = positions(read(&whole, StreamVersion::EMPTY));
            check_reader_ends(read(&store, StreamVersion::EMPTY), &forward, &format!("{stream}, forward"));
            let backward = positions(read(&whole, StreamVersion::END).backward());
            check_reader_ends(read(&store, StreamVersion::END).backward(), &backward, &format!("{stream}, backward"));
        }
        for item in [
            QueryItem::new().stream("in-1").stream("ledger"),
            QueryItem::new().stream_prefix("in-"),
            QueryItem::new().event_type("Paid"),
            QueryItem::new().tag("other"),
        ] {
            let read = |store: &EventStore, after| store.read(item.clone(), after).unwrap();
            let forward = positions(read(&whole, Position::START));
            check_reader_ends(read(&store, Position::START), &forward, &format!("{item:?}, forward"));
            let backward = positions(read(&whole, Position::END).backward());
            check_reader_ends(read(&store, Position::END).backward(), &backward, &format!("{item:?}, backward"));
        }
        // What stands before the damage in the order of reading is given first.
        let newest = store.read_stream("ledger", StreamVersion::END).unwrap().backward().limit(1);
        assert_eq!(positions(newest).len(), 1);
        assert!(store.stream_info("ledger").unwrap().is_some());
    }
}

#[test]
fn the_index_or_the_segment_put_back_heals_the_store() {
    let (whole, disk, gone) = without_an_index();
    let expected = answers(&open(&whole.fork()).unwrap());
    let path = segment_path(&disk, 1);
    let restored = disk.fork();
    restored.write_file(&path, &whole.read_file(&path).unwrap());
    check_disk(&restored, &expected, "the segment put back");
    assert!(restored.read_file(&index(1)).unwrap() == gone);

    disk.write_file(&index(1), &gone);
    let store = open(&disk).unwrap();
    assert_eq!(store.stream_version("in-0").unwrap(), ver(1));
    assert_eq!(store.stream_version("in-1").unwrap(), ver(1));
    assert_eq!(store.append("never", ExpectedVersion::NoStream, event("Now")).unwrap().version, ver(1));
}

#[test]
fn a_batch_without_events_at_the_end_of_a_segment_that_is_damaged_is_missed_by_who_makes_its_index() {
    // Its tracking record is all that there is of it: no position says that it is gone.
    let disk = SimDisk::new(5);
    let store = open(&disk).unwrap();
    store.batch().event("a", event("A")).tracking("bank", 4).commit().unwrap();
    store.batch().tracking("bank", 8).commit().unwrap();
    let end = store.stats().bytes;
    seal_early(&disk, &store);
    store.append("a", Any, event("B")).unwrap();
    drop(store);
    let path = segment_path(&disk, 0);
    for byte in end - 24..end {
        let disk = disk.fork();
        disk.flip(&path, byte * 8 + 2);
        assert_eq!(open(&disk).unwrap().tracking("bank").unwrap(), Some(8), "byte {byte}, with its index");
        disk.remove_file(&index(0));
        let store = open(&disk).unwrap();
        let tracked = store.tracking("bank");
        assert!(matches!(tracked, Err(ReadError::Corrupt(_))), "byte {byte}: {tracked:?}");
        let refused = store.batch().event("a", event("C")).tracking("bank", 5).commit();
        assert!(matches!(refused, Err(AppendError::Unreadable { .. })), "byte {byte}: {refused:?}");
    }
}

// Readers and views that outlive what they were made of.

#[test]
fn a_reader_made_before_an_index_takes_the_place_of_memory_reads_on() {
    on_every_kind(|place| {
        let store = place.open(&quiet());
        let data = || NewEvent::new("Large", vec![1; 25_000]);
        store.append("a", Any, data()).unwrap();
        store.append("b", Any, data()).unwrap();
        let query = |store: &EventStore| store.read(QueryItem::new().stream("a"), Position::START).unwrap();
        let mut readers = vec![
            store.read_stream("a", StreamVersion::EMPTY).unwrap(),
            store.read_stream("a", StreamVersion::END).unwrap().backward(),
            query(&store),
            store.read_all(Position::START).limit(1),
        ];
        let mut begun = store.read_all(Position::START);
        assert_eq!(begun.next_event().unwrap().unwrap().stream, "a");
        for _ in 0..4 {
            store.append("a", Any, data()).unwrap();
        }
        let segments = store.stats().segments;
        assert!(segments.len() >= 3 && segments[0].sealed);
        readers.push(store.read_stream("a", StreamVersion::EMPTY).unwrap().until(pos(1)));
        for reader in readers {
            assert_eq!(positions(reader), [1], "{place:?}");
        }
        assert_eq!(positions(begun), [2], "{place:?}");
    });
}

#[test]
fn a_reader_that_outlives_the_store_finds_what_has_no_index_and_writes_nothing() {
    on_every_kind(|place| {
        let store = place.open(&quiet());
        roll(&store, 5);
        drop(store);
        match place {
            Place::Simulated(disk) => remove_indexes(disk),
            Place::Mapped(dir) | Place::Pread(dir) => std::fs::remove_dir_all(dir.path().join("idx")).unwrap(),
        }
        let store = place.open(&quiet());
        let of_stream = store.read_stream(STREAMS[1], StreamVersion::EMPTY).unwrap();
        let queried = store.read(QueryItem::new().stream(STREAMS[0]), Position::START).unwrap();
        drop(store);
        let state = || match place {
            Place::Simulated(disk) => {
                snapshot(disk).into_iter().map(|(path, bytes)| (path.into(), bytes)).collect::<Vec<_>>()
            }
            Place::Mapped(dir) | Place::Pread(dir) => files_of(dir.path()),
        };
        let before = state();
        assert_eq!(positions(of_stream), [2], "{place:?}");
        assert_eq!(positions(queried), [1, 5], "{place:?}");
        assert!(state() == before, "{place:?}: who has no lock has written");
    });
}

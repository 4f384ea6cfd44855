//! What `verify` says of the files in `idx/`: that they are what their segments give, and nothing else.

use std::io;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use annals::inspect::{self, Finding, FindingKind, VerifyReport};
use annals::storage::sim::SimDisk;
use annals::storage::{Access, File, LockError, LockGuard, Storage};
use annals::{EventId, ExpectedVersion, NewEvent, Position};

use crate::places::Rng;
use crate::support::{open, open_read_only, segment_path};

/// As many segments as the first filter over several is over, and some more.
const SEGMENTS: u64 = 19;
const FILTER: &str = "idx/1-00000000000000000000.flt";

fn index(number: u64) -> String {
    format!("idx/{number:020}.idx")
}

/// A log of many sealed segments, each with an index, of which 16 have a filter.
fn many_segments() -> SimDisk {
    many_segments_of(7)
}

/// Another seed gives other seeds of segments.
fn many_segments_of(seed: u64) -> SimDisk {
    let disk = SimDisk::new(seed);
    let store = open(&disk).unwrap();
    for n in 0.. {
        let event = NewEvent::new(format!("T{}", n % 3), vec![7; 6_000]).tag(format!("tag-{}", n % 5));
        let event = if n % 2 == 0 { event.id(EventId::from_bytes([n as u8; 16])) } else { event };
        store
            .batch()
            .event(format!("s-{}", n % 11), event)
            .tracking("upstream", n + 1)
            .idempotency_key(format!("key-{n}"))
            .commit()
            .unwrap();
        if store.stats().segments.len() as u64 > SEGMENTS {
            break;
        }
    }
    store.close().unwrap();
    assert!((0..SEGMENTS).all(|number| disk.file_len(&index(number)).is_some()), "{:?}", disk.paths());
    assert!(disk.file_len(FILTER).is_some(), "{:?}", disk.paths());
    disk
}

fn verify(disk: &SimDisk) -> VerifyReport {
    inspect::verify_on(disk, |_, _| ()).unwrap()
}

/// The only finding, which must be about this file, and not about the log.
#[track_caller]
fn only_finding(disk: &SimDisk, path: &str, case: &str) -> Finding {
    let report = verify(disk);
    assert_eq!(report.findings.len(), 1, "{case}: {:?}", report.findings);
    let finding = report.findings.into_iter().next().unwrap();
    assert_eq!(finding.kind, FindingKind::Index, "{case}: {finding:?}");
    assert_eq!(finding.file, Some(disk.describe(path)), "{case}");
    assert!(finding.message.starts_with(path) && finding.message.contains("delete it"), "{case}: {}", finding.message);
    finding
}

#[test]
fn every_file_of_a_whole_store_is_compared_and_none_is_a_finding() {
    let disk = many_segments();
    let report = verify(&disk);
    assert_eq!(report.findings, []);
    assert_eq!(report.unused_files, [""; 0]);
    // Of the sealed segments, and the filter.
    assert_eq!(report.index_files, SEGMENTS + 1);
}

#[test]
fn a_file_that_is_missing_is_no_finding() {
    let disk = many_segments();
    disk.remove_file(&index(3));
    let report = verify(&disk);
    assert_eq!((report.findings, report.index_files), (vec![], SEGMENTS));
    disk.remove_file(FILTER);
    assert_eq!(verify(&disk).index_files, SEGMENTS - 1);
    for number in (0..SEGMENTS).filter(|number| *number != 3) {
        disk.remove_file(&index(number));
    }
    let report = verify(&disk);
    assert_eq!((report.findings, report.index_files), (vec![], 0));
}

#[test]
fn a_flipped_bit_anywhere_in_a_derived_file_is_found() {
    let disk = many_segments();
    let mut rng = Rng::new(1);
    for path in [index(0), index(7), FILTER.to_owned()] {
        let bits = disk.file_len(&path).unwrap() * 8;
        // The header of each with every bit in turn would take long, and the checksums are tested elsewhere.
        for _ in 0..40 {
            let bit = rng.below(bits);
            disk.flip(&path, bit);
            let finding = only_finding(&disk, &path, &format!("bit {bit} of {path}"));
            let offset = finding.offset.unwrap();
            assert!(offset <= bit / 8, "bit {bit} of {path}: {finding:?}");
            disk.flip(&path, bit);
        }
    }
    assert_eq!(verify(&disk).findings, []);
}

#[test]
fn a_cut_at_any_length_and_bytes_behind_the_end_are_found() {
    let disk = many_segments();
    for path in [index(2), FILTER.to_owned()] {
        let whole = disk.read_file(&path).unwrap();
        for len in [0, 1, 7, 8, 71, 72, 100, 295, 296, 297, whole.len() - 8, whole.len() - 1] {
            disk.write_file(&path, &whole[..len]);
            only_finding(&disk, &path, &format!("{len} bytes of {path}"));
        }
        disk.write_file(&path, &[&whole[..], &[0; 8]].concat());
        only_finding(&disk, &path, &format!("8 bytes behind {path}"));
        disk.write_file(&path, &whole);
    }
}

/// No checksum says so: only making it anew does.
#[test]
fn a_file_with_good_checksums_that_its_segments_do_not_give_is_found() {
    let disk = many_segments();
    let other = many_segments_of(8);
    // The same events in the same places, but another log, with other seeds.
    disk.write_file(&index(5), &other.read_file(&index(5)).unwrap());
    let finding = only_finding(&disk, &index(5), "of another log");
    assert!(finding.message.contains("the index of another segment"), "{}", finding.message);
    disk.write_file(&index(5), &disk.read_file(&index(6)).unwrap());
    only_finding(&disk, &index(5), "of the segment behind it");

    let disk = many_segments();
    disk.write_file(FILTER, &other.read_file(FILTER).unwrap());
    let finding = only_finding(&disk, FILTER, "of another log");
    assert!(finding.message.contains("the filter of other segments"), "{}", finding.message);

    let disk = many_segments();
    let mut bytes = disk.read_file(FILTER).unwrap();
    bytes[48] ^= 1;
    let crc = crc32(0, &bytes[..68]);
    bytes[68..72].copy_from_slice(&crc.to_le_bytes());
    disk.write_file(FILTER, &bytes);
    only_finding(&disk, FILTER, "made for another number of hashes");

    let disk = many_segments();
    forge_filter(&disk);
    let finding = only_finding(&disk, FILTER, "an empty filter");
    assert!(finding.message.contains("not the filter that its segments give"), "{}", finding.message);
    // What its segments give is not known without their indexes.
    disk.remove_file(&index(9));
    assert_eq!(verify(&disk).findings, []);

    let disk = many_segments();
    forge_index(&disk);
    let finding = only_finding(&disk, &index(4), "another version in it");
    assert!(finding.message.contains("Streams is not what the segment gives"), "{}", finding.message);
}

/// Blanks a filter and makes its checksums good again: one that says that nothing is there.
fn forge_filter(disk: &SimDisk) {
    let mut bytes = disk.read_file(FILTER).unwrap();
    bytes[72..].fill(0);
    let seeds = u32::from_le_bytes(bytes[40..44].try_into().unwrap());
    let crc = crc32(seeds, &bytes[72..]);
    bytes[44..48].copy_from_slice(&crc.to_le_bytes());
    let crc = crc32(0, &bytes[..68]);
    bytes[68..72].copy_from_slice(&crc.to_le_bytes());
    disk.write_file(FILTER, &bytes);
}

/// Changes the version of a stream in an index and makes its checksums good again.
fn forge_index(disk: &SimDisk) {
    let mut bytes = disk.read_file(&index(4)).unwrap();
    bytes[296 + 8] ^= 1;
    let seed = u32::from_le_bytes(bytes[56..60].try_into().unwrap());
    let len = u64::from_le_bytes(bytes[64..72].try_into().unwrap()) as usize;
    let crc = crc32(seed, &bytes[296..296 + len]);
    bytes[72..76].copy_from_slice(&crc.to_le_bytes());
    let crc = crc32(0, &bytes[..292]);
    bytes[292..296].copy_from_slice(&crc.to_le_bytes());
    disk.write_file(&index(4), &bytes);
}

/// CRC-32/IEEE by the book, begun with `start`.
fn crc32(start: u32, bytes: &[u8]) -> u32 {
    let step = |crc: u32, &byte: &u8| {
        (0..8).fold(crc ^ u32::from(byte), |crc, _| if crc & 1 == 0 { crc >> 1 } else { (crc >> 1) ^ 0xEDB8_8320 })
    };
    !bytes.iter().fold(!start, step)
}

#[test]
fn files_of_segments_that_are_not_there_are_named_and_no_finding() {
    let disk = many_segments();
    let some = disk.read_file(&index(1)).unwrap();
    let filters = ["idx/1-00000000000000000001.flt", "idx/2-00000000000000000000.flt"].map(str::to_owned);
    let unused = [[index(SEGMENTS), index(700)], filters].concat();
    for path in &unused {
        disk.write_file(path, &some);
    }
    for path in ["idx/notes.txt", "idx/7.idx", "idx/16-00000000000000000000.flt"] {
        disk.write_file(path, b"not ours");
    }
    let report = verify(&disk);
    assert_eq!((report.findings, report.index_files), (vec![], SEGMENTS + 1));
    let expected: Vec<String> = unused.iter().map(|path| disk.describe(path)).collect();
    assert_eq!(report.unused_files, expected);
}

#[test]
fn damage_in_a_segment_is_one_finding_and_its_good_index_is_none() {
    let disk = many_segments();
    let path = segment_path(&disk, 3);
    let whole = disk.read_file(&path).unwrap();
    for at in [10, 5_000, whole.len() as u64 / 2, whole.len() as u64 - 10] {
        disk.flip(&path, at * 8);
        let report = verify(&disk);
        assert!(!report.findings.is_empty(), "at {at}");
        let of_index = report.findings.iter().filter(|finding| finding.kind == FindingKind::Index).count();
        assert_eq!((of_index, report.unused_files.len()), (0, 0), "at {at}: {:?}", report.findings);
        // Its own checksums still tell. Not where its header is damaged: then nothing vouches for its seed.
        disk.flip(&index(3), 3_000);
        let of_index = verify(&disk).findings.iter().filter(|finding| finding.kind == FindingKind::Index).count();
        assert_eq!(of_index, usize::from(at != 10), "at {at}");
        disk.flip(&index(3), 3_000);
        disk.flip(&path, at * 8);
    }
    assert_eq!(verify(&disk).findings, []);
}

#[test]
fn whatever_is_wrong_with_the_files_is_mended_by_deleting_them() {
    let disk = many_segments();
    for path in [index(0), index(8), FILTER.to_owned()] {
        disk.flip(&path, 900);
    }
    assert_eq!(verify(&disk).findings.len(), 3);
    for path in [index(0), index(8), FILTER.to_owned()] {
        disk.remove_file(&path);
    }
    // Whoever asks has them made, where it may write.
    let store = open(&disk).unwrap();
    assert_eq!(store.streams("").unwrap().len(), 11);
    store.append("s-1", ExpectedVersion::StreamExists, NewEvent::new("T", "{}")).unwrap();
    store.close().unwrap();
    let report = verify(&disk);
    assert_eq!((report.findings, report.unused_files.len()), (vec![], 0));
    assert!(report.index_files >= SEGMENTS, "{}", report.index_files);
    let reader = open_read_only(&disk).unwrap();
    assert_eq!(reader.read_all(Position::START).map(Result::unwrap).count() as u64, reader.head().get());
}

/// Files come, go and are replaced, and verify must neither fail nor find anything.
#[test]
fn beside_a_writer_whose_files_come_and_go_nothing_is_found() {
    let dir = tempfile::tempdir().unwrap();
    let options = annals::Options::new().segment_bytes(64 << 10).durability(annals::Durability::Buffered);
    let stop = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let mut n = 0_u64;
            while !stop.load(std::sync::atomic::Ordering::Relaxed) {
                // Each opening makes what is missing.
                let store = annals::EventStore::open(dir.path(), &options).unwrap();
                let segments = store.stats().segments.len();
                while store.stats().segments.len() < segments + 2 {
                    n += 1;
                    let event = NewEvent::new("T", vec![7; 3_000]);
                    store.append(format!("s-{}", n % 9), ExpectedVersion::Any, event).unwrap();
                }
                store.close().unwrap();
                for (number, entry) in std::fs::read_dir(dir.path().join("idx")).into_iter().flatten().enumerate() {
                    if number % 3 == 0 {
                        std::fs::remove_file(entry.unwrap().path()).unwrap();
                    }
                }
            }
        });
        let check = || {
            let mut compared = 0;
            while compared < 500 {
                if let Ok(report) = inspect::verify(dir.path(), |_, _| ()) {
                    assert_eq!((report.findings, report.unused_files), (vec![], vec![]));
                    compared += report.index_files;
                }
            }
        };
        let checked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(check));
        stop.store(true, std::sync::atomic::Ordering::Relaxed);
        assert!(checked.is_ok(), "see above");
    });
}

/// Somebody does something right before a certain look at the disk.
struct Meanwhile<'a> {
    disk: &'a SimDisk,
    /// Counts down the looks that begin so.
    look: (&'static str, AtomicUsize),
    act: Mutex<Option<Box<dyn FnOnce() + Send + 'a>>>,
}

impl std::fmt::Debug for Meanwhile<'_> {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.write_str("Meanwhile")
    }
}

impl<'a> Meanwhile<'a> {
    fn before(disk: &'a SimDisk, look: &'static str, number: usize, act: impl FnOnce() + Send + 'a) -> Meanwhile<'a> {
        Meanwhile { disk, look: (look, AtomicUsize::new(number)), act: Mutex::new(Some(Box::new(act))) }
    }

    fn looked(&self, what: &str) {
        if !what.starts_with(self.look.0) {
            return;
        }
        if self.look.1.fetch_sub(1, Ordering::Relaxed) == 0
            && let Some(act) = self.act.lock().unwrap().take()
        {
            act();
        }
    }

    /// Whether it has come to that.
    fn has_acted(&self) -> bool {
        self.act.lock().unwrap().is_none()
    }
}

impl Storage for Meanwhile<'_> {
    fn lock(&self) -> Result<Box<dyn LockGuard>, LockError> {
        self.disk.lock()
    }

    fn create_dir(&self, dir: &str) -> io::Result<()> {
        self.disk.create_dir(dir)
    }

    fn list(&self, dir: &str) -> io::Result<Vec<String>> {
        self.looked(&format!("list {dir}"));
        self.disk.list(dir)
    }

    fn create(&self, path: &str) -> io::Result<Arc<dyn File>> {
        self.disk.create(path)
    }

    fn open(&self, path: &str, access: Access) -> io::Result<Arc<dyn File>> {
        self.looked(&format!("open {path}"));
        self.disk.open(path, access)
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        self.disk.rename(from, to)
    }

    fn remove(&self, path: &str) -> io::Result<()> {
        self.disk.remove(path)
    }

    fn sync_dir(&self, dir: &str) -> io::Result<()> {
        self.disk.sync_dir(dir)
    }

    fn describe(&self, path: &str) -> String {
        self.disk.describe(path)
    }
}

#[test]
fn a_segment_that_is_sealed_meanwhile_makes_its_index_no_file_of_nothing() {
    let whole = many_segments();
    for number in 0.. {
        let disk = whole.fork();
        let append = || {
            let store = open(&disk).unwrap();
            for n in 0..30 {
                store.append(format!("s-{n}"), ExpectedVersion::Any, NewEvent::new("T", vec![7; 6_000])).unwrap();
            }
            store.close().unwrap();
        };
        let meanwhile = Meanwhile::before(&disk, "", number, append);
        let report = inspect::verify_on(&meanwhile, |_, _| ()).unwrap();
        assert_eq!((report.findings, report.unused_files), (vec![], vec![]), "before look {number}");
        if !meanwhile.has_acted() {
            assert!(number as u64 > SEGMENTS, "only {number} looks");
            return;
        }
    }
}

#[test]
fn a_file_that_is_replaced_or_deleted_while_it_is_judged_is_judged_again() {
    for (path, look) in [(index(6), "open idx/00000000000000000006.idx"), (FILTER.to_owned(), "open idx/1-")] {
        let disk = many_segments();
        let good = disk.read_file(&path).unwrap();
        disk.flip(&path, 900);
        let meanwhile = Meanwhile::before(&disk, look, 1, || disk.write_file(&path, &good));
        let report = inspect::verify_on(&meanwhile, |_, _| ()).unwrap();
        assert_eq!((report.findings, report.index_files), (vec![], SEGMENTS + 1), "{path}");
        assert!(meanwhile.has_acted());
        for number in 0..2 {
            disk.write_file(&path, &good);
            disk.flip(&path, 900);
            let meanwhile = Meanwhile::before(&disk, look, number, || disk.remove_file(&path));
            let report = inspect::verify_on(&meanwhile, |_, _| ()).unwrap();
            assert_eq!((report.findings, report.index_files), (vec![], SEGMENTS), "{path}, look {number}");
            assert!(meanwhile.has_acted());
        }
    }
}

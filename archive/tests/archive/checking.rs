//! `verify` of an archive: everything that can be wrong with one is found, with segment and position.

use std::sync::Arc;

use annals_archive::ArchiveError;
use annals_archive::object_store::ObjectStore;
use annals_codec::{ArchivedSegment, Hasher, SEAL_LEN, TRAILER_LEN};

use crate::support::{Home, archive_on, in_memory, objects, overwrite, remove};

fn archived() -> (Home, Arc<dyn ObjectStore>) {
    let home = Home::of(120);
    let store = in_memory();
    archive_on(Arc::clone(&store)).send(home.dir(), |_, _| ()).unwrap();
    (home, store)
}

fn object(store: &Arc<dyn ObjectStore>, part: &str) -> (String, Vec<u8>) {
    let found = objects(store).into_iter().find(|(name, _)| name.contains(part));
    let (name, content) = found.unwrap_or_else(|| panic!("no object with {part}"));
    (name, content.to_vec())
}

#[test]
fn a_whole_archive_is_clean_and_anchored_to_its_store() {
    let (home, store) = archived();
    let archive = archive_on(store);
    let log = archive.only_log().unwrap();
    let report = archive.verify(log, Some(&home.dir()), |_, _| ()).unwrap();
    let segments = archive.segments(log).unwrap();
    assert!(report.is_clean() && report.anchored && report.unfinished.is_empty(), "{report:?}");
    assert_eq!((report.segments, report.events), (segments.len() as u64, report.last.get()));
    assert_eq!(report.bytes, segments.iter().map(|segment| segment.file_len()).sum::<u64>());
    assert!(!archive.verify(log, None, |_, _| ()).unwrap().anchored);
}

#[test]
fn any_flipped_byte_cut_or_loss_of_any_object_is_found() {
    let (_home, store) = archived();
    let log = archive_on(Arc::clone(&store)).only_log().unwrap();
    let all = objects(&store);
    let last = all.iter().map(|(name, _)| name).filter(|name| name.contains("/manifest/")).max().unwrap().clone();
    let wrong = |store: &Arc<dyn ObjectStore>| match archive_on(Arc::clone(store)).verify(log, None, |_, _| ()) {
        Ok(report) => !report.is_clean(),
        Err(error) => matches!(error, ArchiveError::Manifest { .. }),
    };
    assert!(!wrong(&store));
    for (name, content) in all.iter().filter(|(name, _)| !name.contains("/idx/")) {
        for at in (0..content.len()).step_by(content.len() / 11) {
            let mut changed = content.to_vec();
            changed[at] ^= 1 << (at % 8);
            overwrite(&store, name, changed);
            assert!(wrong(&store), "{name}, byte {at}");
            overwrite(&store, name, content[..at].to_vec());
            assert!(wrong(&store), "{name}, cut at {at}");
        }
        remove(&store, name);
        if *name == last {
            // That something came behind it nobody knows but the store; what it spoke of is there without it.
            let report = archive_on(Arc::clone(&store)).verify(log, None, |_, _| ()).unwrap();
            assert_eq!(report.unfinished.len(), 1, "{report:?}");
        } else {
            assert!(wrong(&store), "{name} is gone");
        }
        overwrite(&store, name, content.to_vec());
    }
    assert!(!wrong(&store));
}

#[test]
fn a_finding_names_segment_and_position() {
    let (_home, store) = archived();
    let archive = archive_on(Arc::clone(&store));
    let log = archive.only_log().unwrap();
    let third = Arc::clone(&archive.segments(log).unwrap()[3]);
    let (name, mut content) = object(&store, "/seg/00000000000000000003-");
    content[10_000] ^= 1;
    overwrite(&store, &name, content);
    let report = archive.verify(log, None, |_, _| ()).unwrap();
    let [finding] = &*report.findings else { panic!("{report:?}") };
    assert_eq!((finding.segment, finding.position), (third.header.number, third.header.base.plus(1)));
    assert!(finding.message.contains(&name), "{finding:?}");
}

#[test]
fn a_manifest_that_is_gone_from_the_middle_is_a_hole() {
    let (_home, store) = archived();
    let (name, _) = object(&store, "/manifest/00000000000000000002-");
    remove(&store, &name);
    let archive = archive_on(store);
    let log = archive.only_log().unwrap();
    let error = archive.segments(log).unwrap_err();
    assert!(matches!(&error, ArchiveError::Hole { behind, .. } if behind.get() == 1), "{error}");
    let report = archive.verify(log, None, |_, _| ()).unwrap();
    assert_eq!(report.findings.len(), 1, "{report:?}");
}

#[test]
fn what_was_removed_from_the_middle_is_archived_once_more_while_the_store_has_it() {
    let (home, store) = archived();
    let whole = objects(&store);
    for part in ["/manifest/00000000000000000002-", "/seg/00000000000000000002-", "/manifest/00000000000000000003-"] {
        remove(&store, &object(&store, part).0);
    }
    let sent = archive_on(Arc::clone(&store)).send(home.dir(), |_, _| ()).unwrap();
    assert_eq!(sent.segments, 2);
    assert!(objects(&store) == whole);
}

#[test]
fn a_manifest_under_the_name_of_another_is_refused() {
    let (_home, store) = archived();
    let (one, _) = object(&store, "/manifest/00000000000000000001-");
    let (_, two) = object(&store, "/manifest/00000000000000000002-");
    overwrite(&store, &one, two);
    let archive = archive_on(store);
    let log = archive.only_log().unwrap();
    assert!(matches!(archive.segments(log), Err(ArchiveError::Manifest { object, .. }) if object.ends_with(&one)));
}

#[test]
fn several_logs_in_one_place_do_not_meet() {
    let (home, store) = archived();
    let other = Home::of(80);
    let archive = archive_on(Arc::clone(&store));
    archive.send(other.dir(), |_, _| ()).unwrap();
    let mut logs = vec![home.store().log_id(), other.store().log_id()];
    logs.sort_unstable();
    assert_eq!(archive.logs().unwrap(), logs);
    assert!(matches!(archive.only_log(), Err(ArchiveError::ManyLogs { logs: found }) if found == logs));
    for home in [&home, &other] {
        assert!(archive.verify(home.store().log_id(), Some(&home.dir()), |_, _| ()).unwrap().is_clean());
    }
    let wrong = archive.verify(home.store().log_id(), Some(&other.dir()), |_, _| ());
    assert!(matches!(wrong, Err(ArchiveError::OtherLog { .. })), "{wrong:?}");
}

#[test]
fn an_empty_place_holds_no_log() {
    let home = Home::of(10);
    let archive = home.archive();
    assert_eq!(archive.logs().unwrap(), []);
    assert!(matches!(archive.only_log(), Err(ArchiveError::NoLog { .. })));
    let log = home.store().log_id();
    assert!(matches!(archive.verify(log, None, |_, _| ()), Err(ArchiveError::OtherLog { .. })));
    assert!(matches!(archive.open_read_only(home.dir(), &home.cache()), Err(ArchiveError::OtherLog { .. })));
    assert!(!home.path("archive").exists(), "looking makes nothing");
}

#[test]
fn a_segment_that_was_damaged_before_it_was_archived_is_found_although_its_digest_is_right() {
    let (_home, store) = archived();
    let (name, mut content) = object(&store, "/seg/00000000000000000002-");
    let (manifest, text) = object(&store, "/manifest/00000000000000000002-");
    content[9_000] ^= 1;
    let segment = ArchivedSegment::decode(&text).unwrap();
    let seal = &content[segment.trailer.seal_offset().unwrap() as usize..][..SEAL_LEN as usize];
    let trailer = &content[content.len() - TRAILER_LEN..];
    let vouched = ArchivedSegment::new(&content, seal, trailer, Hasher::digest(&content), None).unwrap();
    overwrite(&store, &manifest, vouched.encode().into_bytes());
    overwrite(&store, &name, content);
    let archive = archive_on(store);
    let report = archive.verify(archive.only_log().unwrap(), None, |_, _| ()).unwrap();
    let [finding] = &*report.findings else { panic!("{report:?}") };
    assert!(finding.message.contains("damaged when it was archived"), "{finding:?}");
}

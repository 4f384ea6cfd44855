//! What is sent, once, and what is refused.

use std::sync::Arc;
use std::thread;

use annals::{EventStore, Guard, Position};
use annals_archive::{Archive, ArchiveError};

use crate::support::{Home, append_to, archive_on, files_below, in_memory, names_in, objects, options, overwrite};

#[test]
fn every_sealed_segment_is_an_object_with_its_bytes_and_the_newest_is_none() {
    let home = Home::of(100);
    let sent = home.archive().send(home.dir(), |_, _| ()).unwrap();
    let log = home.store().log_id();
    let here = names_in(&home.dir().join("seg"));
    let there = names_in(&home.path("archive").join(log.to_string()).join("seg"));
    assert!(there.len() > 3, "the test needs several segments, and has {there:?}");
    assert_eq!(there, here[..here.len() - 1]);
    for name in &there {
        let read = |dir: &str| std::fs::read(home.path(dir).join("seg").join(name)).unwrap();
        assert!(read(&format!("archive/{log}")) == read("store"), "{name}");
    }
    assert_eq!((sent.segments, sent.before, sent.base), (there.len() as u64, 0, Position::START));
    assert_eq!(
        sent.bytes,
        there.iter().map(|name| std::fs::metadata(home.dir().join("seg").join(name)).unwrap().len()).sum()
    );
    let archived = home.archive().segments(log).unwrap();
    assert_eq!(archived.last().unwrap().seal.last, sent.last);
    assert_eq!(home.archive().logs().unwrap(), [log]);
}

#[test]
fn a_second_run_sends_only_what_is_new_and_changes_nothing_that_was_there() {
    let mut home = Home::of(100);
    let first = home.archive().send(home.dir(), |_, _| ()).unwrap();
    let before = files_below(&home.path("archive"));
    let again = home.archive().send(home.dir(), |_, _| ()).unwrap();
    assert_eq!((again.segments, again.bytes, again.before), (0, 0, first.segments));
    assert!(files_below(&home.path("archive")) == before);

    home.append(60);
    let third = home.archive().send(home.dir(), |_, _| ()).unwrap();
    assert!(third.segments > 1 && third.before == first.segments, "{third:?}");
    let after = files_below(&home.path("archive"));
    assert!(before.iter().all(|file| after.contains(file)));
    assert!(home.archive().verify(third.log, Some(&home.dir()), |_, _| ()).unwrap().is_clean());
}

#[test]
fn progress_ends_at_all_that_was_to_be_done() {
    let home = Home::of(100);
    let mut told = Vec::new();
    let sent = home.archive().send(home.dir(), |done, all| told.push((done, all))).unwrap();
    assert_eq!(told.first(), Some(&(0, sent.bytes)));
    assert_eq!(told.last(), Some(&(sent.bytes, sent.bytes)));
    assert!(told.is_sorted());
}

#[test]
fn a_store_without_a_sealed_segment_has_nothing_to_archive() {
    let home = Home::of(3);
    let sent = home.archive().send(home.dir(), |_, _| ()).unwrap();
    assert_eq!((sent.segments, sent.last), (0, Position::START));
    assert!(files_below(&home.path("archive")).is_empty());
    let missing = home.archive().send(home.path("nothing"), |_, _| ());
    assert!(matches!(missing, Err(ArchiveError::NoStore { .. })), "{missing:?}");
    assert!(!home.path("nothing").exists());
}

#[test]
fn it_archives_beside_a_writer_that_never_rests() {
    let mut home = Home::of(20);
    let (dir, archive) = (home.dir(), home.archive());
    let sender = thread::spawn(move || (0..20).map(|_| archive.send(&dir, |_, _| ()).unwrap().segments).sum::<u64>());
    home.append(400);
    let during = sender.join().unwrap();
    let after = home.archive().send(home.dir(), |_, _| ()).unwrap();
    assert_eq!(after.before, during);
    let report = home.archive().verify(after.log, Some(&home.dir()), |_, _| ()).unwrap();
    assert!(report.is_clean() && report.anchored && report.last == after.last, "{report:?}");
}

#[test]
fn two_archivers_at_once_make_what_one_would_have_made() {
    let home = Home::of(150);
    let alone = in_memory();
    archive_on(Arc::clone(&alone)).send(home.dir(), |_, _| ()).unwrap();
    let shared = in_memory();
    thread::scope(|scope| {
        for _ in 0..4 {
            let archive = archive_on(Arc::clone(&shared));
            scope.spawn({
                let dir = home.dir();
                move || archive.send(dir, |_, _| ()).unwrap()
            });
        }
    });
    assert!(objects(&shared) == objects(&alone));
}

/// A copy of a store's directory.
fn copy(from: &std::path::Path, to: &std::path::Path) {
    for (path, content) in files_below(from) {
        let at = to.join(path.strip_prefix(from).unwrap());
        std::fs::create_dir_all(at.parent().unwrap()).unwrap();
        std::fs::write(at, content).unwrap();
    }
}

#[test]
fn two_copies_of_a_log_that_went_on_differently_clash_with_log_and_segment_and_nothing_is_replaced() {
    let mut home = Home::of(40);
    home.store = None;
    copy(&home.dir(), &home.path("twin"));
    let twin = EventStore::open(home.path("twin"), &options()).unwrap();
    home.store = Some(EventStore::open(home.dir(), &options()).unwrap());
    home.append(60);
    append_to(&twin, 41, 80);

    let archive = home.archive();
    let sent = archive.send(home.dir(), |_, _| ()).unwrap();
    let before = files_below(&home.path("archive"));
    let refused = archive.send(home.path("twin"), |_, _| ()).unwrap_err();
    let ArchiveError::Clash { log, segment, .. } = &refused else { panic!("{refused}") };
    assert_eq!(*log, sent.log);
    let common = names_in(&home.dir().join("seg")).len();
    assert!((segment.get() as usize) < common && segment.get() > 0, "{refused}");
    assert!(refused.to_string().contains(&log.to_string()), "{refused}");
    assert!(files_below(&home.path("archive")) == before);

    // Nor is it removed from, read as, or vouched for as the other's.
    let dropped = archive.drop_local(&twin, home.path("twin"), Position::END, Guard::Force, |_, _| ());
    assert!(matches!(dropped, Err(ArchiveError::Clash { .. })), "{dropped:?}");
    let read = archive.open_read_only(home.path("twin"), &home.cache());
    assert!(matches!(read, Err(ArchiveError::Clash { .. })), "{read:?}");
    let report = archive.verify(sent.log, Some(&home.path("twin")), |_, _| ()).unwrap();
    assert!(!report.is_clean() && !report.anchored, "{report:?}");
}

#[test]
fn a_copy_that_has_lost_what_tells_it_apart_is_known_by_what_its_next_segment_goes_on_from() {
    let mut home = Home::of(40);
    home.store = None;
    copy(&home.dir(), &home.path("twin"));
    home.store = Some(EventStore::open(home.dir(), &options()).unwrap());
    home.append(60);
    let archive = home.archive();
    let sent = archive.send(home.dir(), |_, _| ()).unwrap();
    let last = archive.segments(sent.log).unwrap().last().unwrap().header.number;

    let twin = EventStore::open(home.path("twin"), &options()).unwrap();
    let newest = || names_in(&home.path("twin").join("seg")).pop().unwrap();
    let mut next = 1041;
    let mut grow_to = |number: u64| {
        while !newest().starts_with(&format!("{number:020}-")) {
            // Not the same events, or both would be the same log.
            append_to(&twin, next, 1);
            next += 1;
        }
    };
    grow_to(last.get() + 1);
    twin.truncate_before(Position::END, Guard::Force).unwrap();
    assert_eq!(names_in(&home.path("twin").join("seg")).len(), 1);
    let is_told = || {
        let refused = archive.send(home.path("twin"), |_, _| ());
        assert!(matches!(&refused, Err(ArchiveError::Clash { segment, .. }) if *segment == last), "{refused:?}");
    };
    is_told();
    // Likewise when that segment is sealed, and would be the next one to archive.
    grow_to(last.get() + 2);
    is_told();
}

#[test]
fn an_older_copy_of_the_store_is_not_taken_for_the_one_that_was_archived() {
    let mut home = Home::of(60);
    home.store = None;
    copy(&home.dir(), &home.path("older"));
    home.store = Some(EventStore::open(home.dir(), &options()).unwrap());
    home.append(100);
    home.archive().send(home.dir(), |_, _| ()).unwrap();
    let refused = home.archive().send(home.path("older"), |_, _| ());
    assert!(matches!(refused, Err(ArchiveError::Clash { .. })), "{refused:?}");
}

#[test]
fn a_damaged_segment_is_not_archived_and_those_before_it_are() {
    let home = Home::of(100);
    let third = home.dir().join("seg").join(&names_in(&home.dir().join("seg"))[2]);
    let mut bytes = std::fs::read(&third).unwrap();
    bytes[9000] ^= 4;
    std::fs::write(&third, &bytes).unwrap();
    let refused = home.archive().send(home.dir(), |_, _| ()).unwrap_err();
    assert!(
        matches!(&refused, ArchiveError::Damaged { file, .. } if *file == third.display().to_string()),
        "{refused}"
    );
    assert_eq!(home.archive().segments(home.store().log_id()).unwrap().len(), 2);
    bytes[9000] ^= 4;
    std::fs::write(&third, &bytes).unwrap();
    assert!(home.archive().send(home.dir(), |_, _| ()).unwrap().segments > 1);
}

#[test]
fn what_was_torn_on_its_way_is_told_and_not_replaced() {
    let home = Home::of(60);
    let store = in_memory();
    let archive = archive_on(Arc::clone(&store));
    let name = format!("{}/seg/{:020}-{:020}.seg", home.store().log_id(), 0, 0);
    overwrite(&store, &name, b"half".to_vec());
    let refused = archive.send(home.dir(), |_, _| ());
    assert!(matches!(&refused, Err(ArchiveError::Torn { object, .. }) if object.ends_with(&name)), "{refused:?}");
    assert_eq!(objects(&store).len(), 1);
}

#[test]
fn history_that_was_removed_before_it_was_archived_is_a_gap_with_its_positions() {
    let mut home = Home::of(60);
    let archive: Archive = home.archive();
    let sent = archive.send(home.dir(), |_, _| ()).unwrap();
    home.append(150);
    home.store().truncate_before(Position::new(150), Guard::Force).unwrap();
    let (from, to) = (sent.last.plus(1), home.store().oldest().before());
    let is_gap = |error: &ArchiveError| matches!(error, ArchiveError::Gap { from: a, to: b } if (*a, *b) == (from, to));
    let refused = archive.send(home.dir(), |_, _| ()).unwrap_err();
    assert!(is_gap(&refused), "{refused}");
    let refused = archive.open_read_only(home.dir(), &home.cache()).unwrap_err();
    assert!(is_gap(&refused), "{refused}");
    let report = archive.verify(sent.log, Some(&home.dir()), |_, _| ()).unwrap();
    assert_eq!(report.findings.len(), 1, "{report:?}");
    assert_eq!(report.findings[0].position, from);
}

#[test]
fn a_log_that_had_lost_its_beginning_is_archived_from_there_on_with_its_floor() {
    let mut home = Home::of(120);
    home.store().truncate_before(Position::new(60), Guard::Force).unwrap();
    let oldest = home.store().oldest();
    let versions =
        |store: &EventStore| (0..7).map(|n| store.stream_version(format!("stream-{n}")).unwrap()).collect::<Vec<_>>();
    home.append(100);
    let sent = home.archive().send(home.dir(), |_, _| ()).unwrap();
    assert_eq!(sent.base, oldest.before());
    home.drop_before(200);
    assert!(home.store().oldest() > oldest);

    let all = home.all();
    assert_eq!(all.oldest(), oldest);
    assert_eq!(versions(&all), versions(home.store()));
    let read: Vec<u64> = all.read_all(oldest.before()).map(|found| found.unwrap().position().get()).collect();
    assert!(read.into_iter().eq(oldest.get()..=220));
    let first = all.read_all(Position::START).next();
    assert!(matches!(first, Some(Err(annals::ReadError::Truncated { oldest: at })) if at == oldest), "{first:?}");
}

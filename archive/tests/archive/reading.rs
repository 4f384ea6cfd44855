//! Archived and local history, read as one.

use std::sync::Arc;
use std::thread;

use annals::{EventStore, Guard, Position, Query, QueryItem, ReadError, inspect};
use annals_archive::Cache;

use crate::support::{
    Faulty, Home, archive_on, in_memory, must_hold_all, names_in, objects, options, overwrite, remove,
};

#[test]
fn a_read_that_begins_in_the_archive_runs_into_the_store_without_a_seam() {
    let mut home = Home::of(150);
    home.drop_before(120);
    home.append(50);
    assert!(home.store().oldest() > Position::new(100));
    must_hold_all(&home.all(), 200);
    // Whatever is asked for is found on its side of the seam.
    let all = home.all();
    for position in 1..=200 {
        let here = all.get(Position::new(position)).unwrap().unwrap();
        assert_eq!(all.get_event(here.as_event().id).unwrap().unwrap().position(), here.position());
    }
    let item = QueryItem::new().stream("stream-5");
    let found = all.read(Query::Items(vec![item]), Position::START).unwrap().count();
    assert_eq!(found, (1..=200).filter(|position| position % 7 == 5).count());
}

#[test]
fn opening_fetches_no_segment_and_reading_fetches_those_that_hold_what_is_read() {
    let home = Home::of(200);
    home.drop_before(150);
    let cache = home.cache();
    let all = home.archive().open_read_only(home.dir(), &cache).unwrap();
    assert_eq!((all.head(), all.oldest()), (Position::new(200), Position::new(1)));
    assert_eq!(cache.fetched(), (0, 0));
    all.get(Position::new(5)).unwrap().unwrap();
    all.get(Position::new(6)).unwrap().unwrap();
    assert_eq!(cache.fetched().0, 1);
    all.get(Position::new(199)).unwrap().unwrap();
    assert_eq!(cache.fetched().0, 1, "what is in the store is read there");
}

#[test]
fn with_archived_indexes_a_stream_is_found_without_the_segments_that_do_not_hold_it() {
    let mut home = Home::of(20);
    home.store().append("rare", annals::ExpectedVersion::Any, annals::NewEvent::new("Rare", "1")).unwrap();
    // Rare events have no place in what `append` counts.
    crate::support::append_to(home.store(), 22, 200);
    home.store().maintain().unwrap();
    home.drop_before(190);
    assert!(names_in(&home.path("archive").join(home.store().log_id().to_string()).join("idx")).len() > 3);
    let cache = home.cache();
    let all = home.archive().open_read_only(home.dir(), &cache).unwrap();
    let found: Vec<_> = all.read_stream("rare", annals::StreamVersion::EMPTY).unwrap().collect();
    assert_eq!(found.len(), 1);
    let (segments, indexes): (Vec<_>, Vec<_>) =
        names_in(&home.path("cache")).into_iter().partition(|name| name.contains(".seg"));
    assert!(segments.len() == 1 && indexes.len() > 3, "{segments:?} {indexes:?}");
    home.store = None;
}

#[test]
fn what_retention_drops_while_somebody_reads_is_read_from_the_archive() {
    let mut home = Home::of(200);
    home.archive().send(home.dir(), |_, _| ()).unwrap();
    let all = home.all();
    let mut reader = all.read_all(Position::START);
    for position in 1..=20 {
        assert_eq!(reader.next().unwrap().unwrap().position().get(), position);
    }
    home.drop_before(180);
    for position in 21..=200 {
        assert_eq!(reader.next().unwrap().unwrap().position().get(), position);
    }
    // Who opened it before goes on behind it, too.
    home.append(100);
    home.drop_before(280);
    must_hold_all(&all, 300);
}

#[test]
fn readers_beside_a_writer_an_archiver_and_retention_miss_nothing() {
    let mut home = Home::of(60);
    home.archive().send(home.dir(), |_, _| ()).unwrap();
    let (dir, archive, cache) = (home.dir(), home.archive(), home.cache());
    let reader = thread::spawn(move || {
        let mut rounds = 0;
        loop {
            let all = archive.open_read_only(&dir, &cache).unwrap();
            let head = all.head().get();
            let read: Vec<u64> = all
                .read_all(Position::START)
                .until(Position::new(head))
                .map(|event| event.unwrap().position().get())
                .collect();
            assert!(read.into_iter().eq(1..=head), "up to {head}");
            rounds += 1;
            if head >= 400 {
                return rounds;
            }
        }
    });
    while home.head() < 400 {
        home.append(20);
        home.drop_before(home.head() - 10);
    }
    assert!(reader.join().unwrap() > 0);
}

#[test]
fn the_cache_keeps_to_its_bound_and_what_is_in_it_is_not_fetched_again() {
    let home = Home::of(300);
    home.drop_before(290);
    let bound = 200 << 10;
    let cache = Cache::new(home.path("cache"), bound).unwrap();
    let all = home.archive().open_read_only(home.dir(), &cache).unwrap();
    for _ in 0..2 {
        assert_eq!(all.read_all(Position::START).count(), 300);
        let held: u64 = names_in(&home.path("cache"))
            .iter()
            .map(|name| home.path("cache").join(name).metadata().unwrap().len())
            .sum();
        assert!(held <= bound && held > bound / 2, "{held}");
    }
    let segments = home.archive().segments(home.store().log_id()).unwrap().len() as u64;
    assert!(cache.fetched().0 >= 2 * segments - 6, "the bound is smaller than the archive");

    let large = Cache::new(home.path("large"), 1 << 30).unwrap();
    let read =
        |cache: &Cache| home.archive().open_read_only(home.dir(), cache).unwrap().read_all(Position::START).count();
    assert_eq!((read(&large), read(&large)), (300, 300));
    let (fetched, bytes) = large.fetched();
    assert!(fetched >= segments - 3 && fetched <= segments && bytes > 0, "{fetched} of {segments}");
    let later = Cache::new(home.path("large"), 1 << 30).unwrap();
    assert_eq!((read(&later), later.fetched()), (300, (0, 0)));
}

#[test]
fn a_file_of_the_cache_that_was_changed_is_fetched_again_and_never_used() {
    let home = Home::of(150);
    home.drop_before(140);
    assert_eq!(home.all().read_all(Position::START).count(), 150);
    for name in names_in(&home.path("cache")) {
        let path = home.path("cache").join(name);
        let mut bytes = std::fs::read(&path).unwrap();
        let middle = bytes.len() / 2;
        bytes[middle] ^= 8;
        std::fs::write(&path, bytes).unwrap();
    }
    let cache = home.cache();
    let all = home.archive().open_read_only(home.dir(), &cache).unwrap();
    must_hold_all(&all, 150);
    assert!(cache.fetched().0 > 2);
}

#[test]
fn an_object_that_was_changed_cut_or_removed_is_an_error_where_it_is_read_and_never_other_events() {
    let home = Home::of(150);
    let store = in_memory();
    let archive = archive_on(Arc::clone(&store));
    archive.send(home.dir(), |_, _| ()).unwrap();
    archive.drop_local(home.store(), home.dir(), Position::END, Guard::Force, |_, _| ()).unwrap();
    let (name, content) =
        objects(&store).into_iter().find(|(name, _)| name.contains("/seg/00000000000000000002-")).unwrap();
    let changed = {
        let mut changed = content.to_vec();
        changed[7000] ^= 1;
        changed
    };
    for (case, spoiled, says) in [
        ("changed", Some(changed), "is not what was archived"),
        ("cut", Some(content[..9000].to_vec()), "is not what was archived"),
        ("removed", None, "is missing from the archive"),
    ] {
        match spoiled {
            Some(spoiled) => overwrite(&store, &name, spoiled),
            None => remove(&store, &name),
        }
        let cache = Cache::new(home.path(case), 1 << 30).unwrap();
        let all = archive.open_read_only(home.dir(), &cache).unwrap();
        let mut last = 0;
        let error = all.read_all(Position::START).find_map(|found| match found {
            Ok(event) => {
                last = event.position().get();
                None
            }
            Err(error) => Some(error),
        });
        let Some(ReadError::Io { source, .. }) = &error else { panic!("{case}: {error:?}") };
        assert!(source.to_string().contains(says), "{case}: {source}");
        assert!(source.to_string().contains(&name), "{case}: {source}");
        let third = &archive.segments(home.store().log_id()).unwrap()[2];
        assert_eq!(last, third.header.base.get(), "{case}: everything before it is read");
    }
}

#[test]
fn verify_looks_at_both_sides_and_across_the_seam() {
    let home = Home::of(150);
    home.drop_before(100);
    let through = home.archive().read_through(Some(&home.dir()), None, &home.cache()).unwrap();
    let report = inspect::verify_on(&*through, |_, _| ()).unwrap();
    assert!(report.is_clean(), "{:?}", report.findings);
    assert_eq!((report.events, report.head), (150, Position::new(150)));
    let frames = inspect::Verify::new().level(inspect::Level::Frames).run_on(&*through, |_, _| ()).unwrap();
    assert!(frames.is_clean() && frames.events == 150);
}

#[test]
fn with_a_hash_chain_the_chain_runs_through_and_a_witness_from_before_is_met() {
    let mut home = Home::with(&options().hash_chain(true));
    home.append(100);
    let witness = home.store().chain_tip().unwrap().unwrap();
    home.append(100);
    home.drop_before(180);
    let through = home.archive().read_through(Some(&home.dir()), None, &home.cache()).unwrap();
    let report = inspect::verify_with(&*through, &[witness], |_, _| ()).unwrap();
    assert!(report.is_clean(), "{:?}", report.findings);
    assert!(report.chain.len() == 1 && report.chain[0].is_start, "{:?}", report.chain);
}

#[test]
fn an_archive_is_read_without_its_store() {
    let home = Home::of(150);
    let sent = home.archive().send(home.dir(), |_, _| ()).unwrap();
    let through = home.archive().read_through(None, None, &home.cache()).unwrap();
    must_hold_all(&EventStore::open_read_only_on(Arc::clone(&through)).unwrap(), sent.last.get());
    let report = inspect::verify_on(&*through, |_, _| ()).unwrap();
    assert!(report.is_clean(), "{:?}", report.findings);
}

#[test]
fn nothing_can_be_written_through_it() {
    let home = Home::of(60);
    home.drop_before(40);
    let before = crate::support::files_below(&home.dir());
    let through = home.archive().read_through(Some(&home.dir()), None, &home.cache()).unwrap();
    assert!(EventStore::open_on(Arc::clone(&through), &options()).is_err());
    assert!(through.create("seg/x").is_err() && through.remove("store.meta").is_err());
    drop(home.all());
    assert!(crate::support::files_below(&home.dir()) == before);
}

#[test]
fn what_is_known_of_an_archive_is_asked_once() {
    let home = Home::of(150);
    let store = in_memory();
    archive_on(Arc::clone(&store)).send(home.dir(), |_, _| ()).unwrap();
    let counting = Faulty::counting(store);
    let archive = archive_on(counting.clone());
    let log = home.store().log_id();
    let segments = archive.segments(log).unwrap().len() as u64;
    assert_eq!(counting.asked(), 1 + segments);
    archive.segments(log).unwrap();
    assert_eq!(counting.asked(), 2 + segments);
}

#[test]
fn a_segment_that_was_listed_here_and_is_gone_by_the_time_it_is_opened_is_opened_there() {
    let mut home = Home::of(60);
    home.archive().send(home.dir(), |_, _| ()).unwrap();
    home.append(100);
    let through = home.archive().read_through(Some(&home.dir()), None, &home.cache()).unwrap();
    let listed = through.list("seg").unwrap();
    let before = home.segments();
    home.drop_before(150);
    assert!(home.segments() + 2 < before);
    for name in listed {
        let file = through.open(&format!("seg/{name}"), annals::storage::Access::Read).expect(&name);
        assert!(file.len().unwrap() > 4096, "{name}");
    }
}

#[test]
fn what_is_archived_and_removed_between_two_looks_is_no_gap() {
    let mut home = Home::of(60);
    let store = in_memory();
    archive_on(Arc::clone(&store)).send(home.dir(), |_, _| ()).unwrap();
    home.append(100);
    // Behind the first list of manifests, and before the store is looked at.
    let (other, local, dir) = (archive_on(Arc::clone(&store)), home.store().clone(), home.dir());
    let meanwhile = move || {
        other.send(&dir, |_, _| ()).unwrap();
        other.drop_local(&local, &dir, Position::END, Guard::Force, |_, _| ()).unwrap();
    };
    let hooked = Faulty::with_list_hook(store, Box::new(meanwhile));
    let all = archive_on(hooked).open_read_only(home.dir(), &home.cache()).unwrap();
    assert!(home.store().oldest() > Position::new(100));
    must_hold_all(&all, 160);
}

#[test]
fn a_backup_is_read_with_the_archive_too_and_is_compared_with_no_manifest_then() {
    let home = Home::of(150);
    home.drop_before(100);
    home.store().backup_to(home.path("backup"), &annals::BackupOptions::new()).unwrap();
    let through = home.archive().read_through(Some(&home.path("backup")), None, &home.cache()).unwrap();
    let report = inspect::verify_on(&*through, |_, _| ()).unwrap();
    assert!(report.is_clean() && report.backup.is_none(), "{report:?}");
    must_hold_all(&EventStore::open_read_only_on(through).unwrap(), 150);
}

//! What is removed here, and only when it is there.

use std::sync::Arc;

use annals::{Guard, Position, Retention, TruncateError};
use annals_archive::ArchiveError;

use crate::support::{Fault, Faulty, Home, archive_on, in_memory, must_hold_all, names_in, objects, overwrite, remove};

#[test]
fn what_is_archived_goes_and_what_is_not_yet_stays() {
    let mut home = Home::of(100);
    let archive = home.archive();
    let sent = archive.send(home.dir(), |_, _| ()).unwrap();
    home.append(100);
    let done = archive.drop_local(home.store(), home.dir(), Position::END, Guard::Consumers, |_, _| ()).unwrap();
    assert_eq!((done.checked, done.checked_bytes), (sent.segments, sent.bytes));
    assert_eq!(done.truncation.segments, sent.segments);
    assert_eq!(home.store().oldest(), sent.last.plus(1));
    must_hold_all(&home.all(), 200);
    let again = archive.drop_local(home.store(), home.dir(), Position::END, Guard::Consumers, |_, _| ()).unwrap();
    assert_eq!((again.checked, again.truncation.segments), (0, 0));
}

#[test]
fn what_is_to_be_kept_stays() {
    let home = Home::of(200);
    let archive = home.archive();
    archive.send(home.dir(), |_, _| ()).unwrap();
    let kept = home.store().kept_from(&Retention::new().events(80));
    archive.drop_local(home.store(), home.dir(), kept, Guard::Consumers, |_, _| ()).unwrap();
    assert!((80..110).contains(&home.store().stats().retained_events), "{}", home.store().stats().retained_events);
    must_hold_all(&home.all(), 200);
}

#[test]
fn who_is_behind_is_named_and_nothing_is_fetched_or_removed() {
    let home = Home::of(100);
    home.store().consumer("mailer").unwrap().checkpoint(Position::new(10)).unwrap();
    let store = in_memory();
    archive_on(Arc::clone(&store)).send(home.dir(), |_, _| ()).unwrap();
    let counting = Faulty::counting(store);
    let archive = archive_on(counting.clone());
    archive.segments(home.store().log_id()).unwrap();
    let before = (counting.asked(), home.segments());
    let refused = archive.drop_local(home.store(), home.dir(), Position::END, Guard::Consumers, |_, _| ()).unwrap_err();
    let ArchiveError::Truncate(TruncateError::Behind { holders, .. }) = &refused else { panic!("{refused}") };
    assert_eq!(holders[0].name, "mailer");
    assert!(refused.to_string().contains("mailer"), "{refused}");
    // Listed once more, and no more than that.
    assert_eq!((counting.asked(), home.segments()), (before.0 + 1, before.1));
    archive.drop_local(home.store(), home.dir(), Position::END, Guard::Force, |_, _| ()).unwrap();
    assert!(home.segments() < before.1);
}

/// An archive of `home` in memory, in which something is done to the object of segment 2.
fn spoiled(
    home: &Home,
    spoil: impl Fn(&Arc<dyn annals_archive::object_store::ObjectStore>, &str, Vec<u8>),
) -> ArchiveError {
    let store = in_memory();
    let archive = archive_on(Arc::clone(&store));
    archive.send(home.dir(), |_, _| ()).unwrap();
    let is_it = |name: &str| name.contains("/seg/00000000000000000002-");
    let (name, content) = objects(&store).into_iter().find(|(name, _)| is_it(name)).unwrap();
    spoil(&store, &name, content.to_vec());
    archive.drop_local(home.store(), home.dir(), Position::END, Guard::Consumers, |_, _| ()).unwrap_err()
}

#[test]
fn an_object_that_is_changed_cut_or_gone_keeps_every_local_copy() {
    let home = Home::of(100);
    let before = home.segments();
    let error = spoiled(&home, |store, name, mut content| {
        content[5000] ^= 1;
        overwrite(store, name, content);
    });
    assert!(matches!(&error, ArchiveError::Changed { problem, .. } if problem.contains("digest")), "{error}");
    let error = spoiled(&home, |store, name, content| overwrite(store, name, content[..5000].to_vec()));
    assert!(matches!(&error, ArchiveError::Changed { problem, .. } if problem.contains("5000 bytes")), "{error}");
    let error = spoiled(&home, |store, name, _| remove(store, name));
    assert!(matches!(&error, ArchiveError::Missing { object } if object.contains("/seg/")), "{error}");
    assert_eq!((home.segments(), home.store().oldest()), (before, Position::new(1)));
}

#[test]
fn when_any_request_fails_or_is_cut_nothing_is_removed_or_all_of_it_was_checked() {
    let home = Home::of(80);
    let store = in_memory();
    archive_on(Arc::clone(&store)).send(home.dir(), |_, _| ()).unwrap();
    let before = names_in(&home.dir().join("seg"));
    let mut at = 0;
    loop {
        let faulty = Faulty::new(Arc::clone(&store), at, if at % 2 == 0 { Fault::Cut } else { Fault::Refuse });
        let archive = archive_on(faulty.clone());
        let done = archive.drop_local(home.store(), home.dir(), Position::END, Guard::Consumers, |_, _| ());
        if faulty.asked() <= at {
            assert!(done.unwrap().truncation.segments > 2 && at > 3, "{at} requests");
            break;
        }
        assert!(done.is_err(), "request {at}");
        assert_eq!(names_in(&home.dir().join("seg")), before, "request {at}");
        at += 1;
    }
}

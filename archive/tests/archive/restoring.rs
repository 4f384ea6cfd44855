//! A store made of an archive.

use std::sync::Arc;

use annals::{CopyError, EventStore, KeepError, Position, inspect};
use annals_archive::ArchiveError;

use crate::support::{Fault, Faulty, Home, append_to, archive_on, in_memory, must_hold_all, names_in, options};

#[test]
fn archive_and_rest_make_the_whole_store_again_and_it_goes_on() {
    let mut home = Home::of(150);
    home.drop_before(100);
    home.append(50);
    home.store().consumer("mailer").unwrap().checkpoint(Position::new(170)).unwrap();
    let restored = home.archive().restore(None, Some(&home.dir()), home.path("again")).unwrap();
    assert_eq!((restored.mark.position, restored.base), (Position::new(200), Position::START));

    let report = inspect::verify(home.path("again"), |_, _| ()).unwrap();
    assert!(report.is_clean() && report.backup.is_none(), "{report:?}");
    let again = EventStore::open(home.path("again"), &options()).unwrap();
    assert!(again.recovery_report().is_clean());
    must_hold_all(&again, 200);
    assert_eq!(again.consumer("mailer").unwrap().position(), Position::new(170));
    append_to(&again, 201, 50);
    must_hold_all(&again, 250);
    assert_eq!(
        names_in(&home.path("")).iter().filter(|name| name.starts_with('.')).count(),
        0,
        "nothing is left beside it"
    );
    // Nothing is shared: what is done to one is not done to the other.
    must_hold_all(&home.all(), 200);
}

#[test]
fn an_archive_alone_makes_a_store_that_ends_with_it() {
    let mut home = Home::of(150);
    let sent = home.archive().send(home.dir(), |_, _| ()).unwrap();
    let mailer = home.store().consumer("mailer").unwrap();
    mailer.checkpoint(home.store().head()).unwrap();
    home.store = None;
    let restored = home.archive().restore(Some(sent.log), None, home.path("again")).unwrap();
    assert_eq!(restored.mark.position, sent.last);
    let again = EventStore::open(home.path("again"), &options()).unwrap();
    must_hold_all(&again, sent.last.get());
    append_to(&again, sent.last.get() + 1, 40);
    must_hold_all(&again, sent.last.get() + 40);
    drop(again);
    assert!(inspect::verify(home.path("again"), |_, _| ()).unwrap().is_clean());
}

#[test]
fn of_two_restores_to_one_place_at_once_one_is_whole_and_none_is_half() {
    let home = Home::of(150);
    let sent = home.archive().send(home.dir(), |_, _| ()).unwrap();
    for round in 0..20 {
        let to = home.path(&format!("to-{round}"));
        let whole = std::thread::scope(|scope| {
            let restoring: Vec<_> =
                (0..3).map(|_| scope.spawn(|| home.archive().restore(Some(sent.log), None, &to))).collect();
            restoring.into_iter().map(|restoring| usize::from(restoring.join().unwrap().is_ok())).sum::<usize>()
        });
        assert_eq!(whole, 1, "round {round}");
        must_hold_all(&EventStore::open_read_only(&to).unwrap(), sent.last.get());
    }
    assert_eq!(names_in(&home.path("")).iter().filter(|name| name.starts_with('.')).count(), 0);
}

#[test]
fn a_consumer_that_has_seen_more_than_the_archive_is_told() {
    let home = Home::of(150);
    let sent = home.archive().send(home.dir(), |_, _| ()).unwrap();
    home.store().consumer("mailer").unwrap().checkpoint(Position::new(150)).unwrap();
    home.archive().restore(None, None, home.path("again")).unwrap();
    std::fs::create_dir_all(home.path("again").join("consumers")).unwrap();
    std::fs::copy(home.dir().join("consumers/mailer"), home.path("again").join("consumers/mailer")).unwrap();
    let again = EventStore::open(home.path("again"), &options()).unwrap();
    let told = again.consumer("mailer");
    assert!(matches!(&told, Err(KeepError::PositionBeyondHead { head, .. }) if *head == sent.last), "{told:?}");
}

#[test]
fn nothing_is_restored_over_something_else() {
    let home = Home::of(100);
    home.archive().send(home.dir(), |_, _| ()).unwrap();
    let refused = home.archive().restore(None, None, home.dir()).unwrap_err();
    assert!(
        matches!(&refused, ArchiveError::Copy(error) if matches!(**error, CopyError::NotEmpty { .. })),
        "{refused}"
    );
}

#[test]
fn a_restore_whose_any_request_fails_leaves_no_store_and_the_next_one_works() {
    let home = Home::of(80);
    let store = in_memory();
    let sent = archive_on(Arc::clone(&store)).send(home.dir(), |_, _| ()).unwrap();
    let mut at = 0;
    loop {
        let faulty = Faulty::new(Arc::clone(&store), at, if at % 2 == 0 { Fault::Refuse } else { Fault::Cut });
        let done = archive_on(faulty.clone()).restore(None, None, home.path("again"));
        if faulty.asked() <= at {
            assert_eq!(done.unwrap().mark.position, sent.last);
            break;
        }
        assert!(done.is_err(), "request {at}");
        assert!(!home.path("again").exists(), "request {at}");
        at += 1;
    }
    assert!(at > 5);
    must_hold_all(&EventStore::open(home.path("again"), &options()).unwrap(), sent.last.get());
}

//! An archiver whose n-th request fails, for every n and every way of failing; and then the next archiver.

use std::sync::Arc;

use annals_archive::ArchiveError;
use annals_archive::object_store::ObjectStore;

use crate::support::{Fault, Faulty, Home, archive_on, in_memory, objects, remove};

fn check(fault: Fault) {
    let home = Home::of(80);
    let whole: Arc<dyn ObjectStore> = in_memory();
    let sent = archive_on(Arc::clone(&whole)).send(home.dir(), |_, _| ()).unwrap();
    assert!(sent.segments > 2);
    let mut at = 0;
    loop {
        let store: Arc<dyn ObjectStore> = in_memory();
        let faulty = Faulty::new(Arc::clone(&store), at, fault);
        let done = archive_on(faulty.clone()).send(home.dir(), |_, _| ());
        if faulty.asked() <= at {
            assert!(done.is_ok() && at > sent.segments * 2, "{at} requests");
            return;
        }
        let context = format!("{fault:?} at request {at}");
        let error = done.expect_err(&context);
        assert!(matches!(error, ArchiveError::Store { .. }), "{context}: {error}");
        // What is told to be archived is whole, whatever happened.
        let archive = archive_on(Arc::clone(&store));
        let is_cut = |(name, content): &(String, bytes::Bytes)| {
            objects(&whole).iter().any(|(other, whole)| other == name && whole != content)
        };
        let cut: Vec<String> =
            objects(&store).iter().filter(|object| is_cut(object)).map(|(name, _)| name.clone()).collect();
        match archive.logs().unwrap().first() {
            Some(log) if cut.is_empty() && !archive.segments(*log).unwrap().is_empty() => {
                let report = archive.verify(*log, Some(&home.dir()), |_, _| ()).unwrap();
                assert!(report.is_clean(), "{context}: {report:?}");
            }
            _ => {}
        }
        // The next one goes on. Where half an object lies, he says so first, and somebody removes it.
        if let [name] = &*cut
            && !name.contains("/idx/")
        {
            let error = archive.send(home.dir(), |_, _| ()).expect_err(&context);
            let is_told = matches!(&error, ArchiveError::Torn { .. } | ArchiveError::Manifest { .. });
            assert!(is_told && error.to_string().contains(name), "{context}: {error}");
            remove(&store, name);
        }
        archive.send(home.dir(), |_, _| ()).expect(&context);
        let is_same = |a: &[(String, bytes::Bytes)], b: &[(String, bytes::Bytes)]| {
            let of = |all: &[(String, bytes::Bytes)]| {
                all.iter().filter(|(name, _)| !name.contains("/idx/")).cloned().collect::<Vec<_>>()
            };
            of(a) == of(b)
        };
        assert!(is_same(&objects(&store), &objects(&whole)), "{context}: nothing lost, nothing doubled");
        at += 1;
    }
}

#[test]
fn after_a_refused_request_the_next_run_makes_what_one_run_would_have_made() {
    check(Fault::Refuse);
}

#[test]
fn after_a_lost_answer_the_next_run_finds_its_own_object_and_goes_on() {
    check(Fault::LoseAnswer);
}

#[test]
fn half_an_object_is_never_taken_for_a_whole_one() {
    check(Fault::Cut);
}

//! What is redacted in the store: an archive holds it no more, or says that it does.

use std::path::Path;

use annals::{EventStore, Guard, Position, inspect};
use annals_archive::ArchiveError;

use crate::support::{Home, files_below, options, stream};

/// The position of an event in an early segment, and one that stays as it is.
const GONE: u64 = 17;
const BESIDE: u64 = 18;

fn redact(home: &Home) {
    home.store().redact([Position::new(GONE)], "request 12").unwrap();
}

/// Whether any file below has the data of the event at a position.
fn holds(dir: &Path, position: u64) -> bool {
    let data = format!("{position}........");
    files_below(dir).iter().any(|(_, content)| content.windows(data.len()).any(|part| part == data.as_bytes()))
}

#[track_caller]
fn must_show_it_redacted(store: &EventStore) {
    let event = store.get(Position::new(GONE)).unwrap().unwrap();
    assert!(event.is_redacted() && event.data().is_empty() && event.stream() == stream(GONE), "{event:?}");
    let why = store.redaction(Position::new(GONE)).unwrap().expect("the log says why");
    assert_eq!(&*why.reason, "request 12");
    let beside = store.get(Position::new(BESIDE)).unwrap().unwrap();
    assert!(!beside.is_redacted() && beside.data().starts_with(b"18."));
}

#[test]
fn what_was_redacted_before_is_archived_read_and_restored_without_its_payload() {
    let mut home = Home::of(100);
    redact(&home);
    home.archive().send(home.dir(), |_, _| ()).unwrap();
    assert!(holds(&home.path("archive"), BESIDE) && !holds(&home.path("archive"), GONE));

    let archive = home.archive();
    let done = archive.drop_local(home.store(), home.dir(), Position::END, Guard::Consumers, |_, _| ()).unwrap();
    assert!(done.truncation.segments > 2 && home.store().oldest() > Position::new(BESIDE));
    must_show_it_redacted(&home.all());

    home.store = None;
    archive.restore(None, Some(&home.dir()), home.path("again")).unwrap();
    assert!(inspect::verify(home.path("again"), |_, _| ()).unwrap().is_clean());
    must_show_it_redacted(&EventStore::open(home.path("again"), &options()).unwrap());
}

#[test]
fn what_was_redacted_after_it_was_archived_is_named_and_no_local_copy_goes() {
    let home = Home::of(100);
    let archive = home.archive();
    let log = archive.send(home.dir(), |_, _| ()).unwrap().log;
    redact(&home);
    let before = home.segments();
    let sent = archive.send(home.dir(), |_, _| ()).unwrap();
    let [segment] = sent.redacted[..] else { panic!("{sent:?}") };

    let report = archive.verify(log, Some(&home.dir()), |_, _| ()).unwrap();
    let [finding] = &report.findings[..] else { panic!("{report:?}") };
    assert_eq!(finding.segment, segment);
    assert!(finding.position <= Position::new(GONE) && finding.message.contains("redacted"), "{finding:?}");

    let refused = archive.drop_local(home.store(), home.dir(), Position::END, Guard::Force, |_, _| ()).unwrap_err();
    let ArchiveError::Redacted { segment: named, object, .. } = &refused else { panic!("{refused}") };
    assert!(*named == segment && object.contains("/seg/"), "{refused}");
    assert_eq!(home.segments(), before);
}

#[test]
fn once_its_objects_are_removed_such_a_segment_is_archived_as_it_is_now() {
    let home = Home::of(100);
    let archive = home.archive();
    let log = archive.send(home.dir(), |_, _| ()).unwrap().log;
    redact(&home);
    let [segment] = archive.send(home.dir(), |_, _| ()).unwrap().redacted[..] else { panic!("one segment") };
    assert!(holds(&home.path("archive"), GONE));

    // As the error says: the segment and its manifest.
    let number = format!("{:020}", segment.get());
    let objects = files_below(&home.path("archive")).into_iter().map(|(path, _)| path);
    for path in objects.filter(|path| path.file_name().unwrap().to_string_lossy().starts_with(&number)) {
        std::fs::remove_file(path).unwrap();
    }
    let sent = archive.send(home.dir(), |_, _| ()).unwrap();
    assert_eq!((sent.segments, sent.redacted.len()), (1, 0));
    assert!(!holds(&home.path("archive"), GONE));
    assert!(archive.verify(log, Some(&home.dir()), |_, _| ()).unwrap().is_clean());
    let done = archive.drop_local(home.store(), home.dir(), Position::END, Guard::Consumers, |_, _| ()).unwrap();
    assert!(done.truncation.segments > 2);
    must_show_it_redacted(&home.all());
}

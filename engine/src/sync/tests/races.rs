//! Requests of which one can win: exactly one does, and the others are told the truth.

use super::play;
use super::scene::{Buffered, Scene, Sync, join, open, options};
use crate::{
    AppendCondition, AppendError, Appended, EventId, ExpectedVersion, NewEvent, Outcome, Position, QueryItem,
    StreamVersion,
};

/// Three threads ask for the same; what each was answered.
fn race(ask: fn(&Scene, usize) -> Result<Appended, AppendError>) -> (Scene, Vec<Result<Appended, AppendError>>) {
    let scene = Scene::new(&options());
    let answers = join([0, 1, 2].map(|thread| scene.spawn(move |scene| ask(scene, thread))));
    (scene, answers)
}

fn event() -> NewEvent {
    NewEvent::new("Played", "once")
}

/// One appended, and the others found it.
#[track_caller]
fn check_once(scene: &Scene, answers: Vec<Result<Appended, AppendError>>) {
    let answers: Vec<Appended> = answers.into_iter().map(Result::unwrap).collect();
    let appended = answers.iter().filter(|done| done.outcome == Outcome::Appended).count();
    let places: Vec<_> = answers.iter().map(|done| (done.first, done.last, done.version)).collect();
    assert_eq!(appended, 1, "{answers:?}");
    assert!(places.windows(2).all(|pair| pair[0] == pair[1]), "the first answer is everybody's: {answers:?}");
    assert_eq!(scene.store.head(), answers[0].last);
}

#[test]
fn one_idempotency_key_is_appended_once_and_found_by_the_others() {
    play(
        || {
            let (scene, answers) = race(|scene, thread| {
                let durability = if thread == 0 { Buffered } else { Sync };
                let batch = scene.store.batch().durability(durability).event("x", event()).event("y", event());
                let batch = batch.idempotency_key("key");
                let done = if thread == 2 { batch.submit().and_then(crate::Ticket::wait) } else { batch.commit() };
                if durability == Sync {
                    let left = scene.disk.after_power_loss(crate::storage::sim::PowerLoss::KeepLeast, 0);
                    assert_eq!(open(&left, &options()).head().get(), 2, "also a duplicate is durable when it is told");
                }
                done
            });
            check_once(&scene, answers);
        },
        3000,
    );
}

#[test]
fn one_event_id_is_appended_once_and_found_by_the_others() {
    play(
        || {
            let (scene, answers) = race(|scene, _| {
                let event = event().id(EventId::from_bytes([9; 16]));
                scene.store.append("x", ExpectedVersion::Any, event)
            });
            check_once(&scene, answers);
        },
        2000,
    );
}

#[test]
fn one_of_those_that_expect_the_same_version_wins() {
    play(
        || {
            let (scene, answers) =
                race(|scene, _| scene.store.append("x", ExpectedVersion::Exact(StreamVersion::EMPTY), event()));
            let won = answers.iter().filter(|answer| answer.is_ok()).count();
            let is_told = |answer: &Result<Appended, AppendError>| {
                matches!(answer, Err(AppendError::ConcurrencyConflict { actual, last_position, .. })
                    if actual.get() == 1 && *last_position == Position::new(1))
            };
            let told = answers.iter().filter(|answer| is_told(answer)).count();
            assert_eq!((won, told, scene.store.head().get()), (1, 2, 1), "{answers:?}");
        },
        2000,
    );
}

#[test]
fn one_of_those_under_the_same_condition_wins() {
    play(
        || {
            let (scene, answers) = race(|scene, thread| {
                let taken = AppendCondition::default().fail_if_exists(QueryItem::new().tag("name:ada"));
                let event = event().tag("name:ada");
                scene.store.batch().event(["x", "y", "z"][thread], event).condition(taken).commit()
            });
            let won = answers.iter().filter(|answer| answer.is_ok()).count();
            let failed = |answer: &&Result<Appended, AppendError>| matches!(answer, Err(AppendError::ConditionFailed { at, .. }) if at.get() == 1);
            let failed = answers.iter().filter(failed).count();
            assert_eq!((won, failed, scene.store.head().get()), (1, 2, 1), "{answers:?}");
        },
        2000,
    );
}

#[test]
fn no_decision_is_made_on_what_has_changed_meanwhile() {
    play(
        || {
            let (scene, answers) = race(|scene, _| {
                let counted = QueryItem::new().event_type("Counted");
                let done = scene.store.append_if(counted, |found, batch| {
                    let count = found.map(Result::unwrap).count() as u64;
                    Ok::<_, AppendError>(Some(batch.event("x", NewEvent::new("Counted", count.to_string()))))
                });
                done.map(|done| done.expect("there is always something to do"))
            });
            assert!(answers.iter().all(Result::is_ok), "{answers:?}");
            let counts: Vec<_> = scene.store.read_all(Position::START).map(|event| event.unwrap().data()).collect();
            assert_eq!(counts, ["0", "1", "2"]);
        },
        1500,
    );
}

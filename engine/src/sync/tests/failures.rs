//! What goes wrong while others wait: everybody gets an answer, and it is true.

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use shuttle::rand::{Rng, thread_rng};

use super::play;
use super::scene::{Buffered, Scene, Sync, batch, join, open, options};
use crate::storage::sim::{Fault, PowerLoss, SimDisk};
use crate::{AppendError, Clock, NewEvent, Position};

/// Several threads append while one operation of the disk fails.
fn fail_beside(fault: Fault) {
    let scene = Scene::new(&options());
    scene.disk.record_journal();
    scene.disk.fail_at(scene.disk.operations() + thread_rng().gen_range(0..20), fault);
    let threads = [
        scene.spawn(|scene| {
            scene.append(batch("a1", &["x"], Sync));
            scene.append(batch("a2", &["x", "y"], Buffered));
            scene.append(batch("a3", &["x"], Sync));
        }),
        scene.spawn(|scene| scene.submit(vec![batch("b1", &["y", "x"], Sync), batch("b2", &["z"], Buffered)])),
        scene.spawn(|scene| {
            scene.append(batch("c1", &["x"], Buffered));
            match scene.store.flush() {
                Ok(_) => {}
                Err(AppendError::CommitUnknown { .. } | AppendError::Poisoned { .. }) => scene.over(),
                Err(error) => panic!("{error}"),
            }
        }),
        scene.spawn(|scene| {
            scene.look();
            if let Err(error) = scene.store.maintain() {
                assert!(matches!(error, AppendError::Poisoned { .. }), "{error}");
                scene.over();
            }
            scene.look();
        }),
    ];
    join(threads);
    scene.disk.clear_faults();
    let is_poisoned = matches!(scene.store.flush(), Err(AppendError::Poisoned { .. }));
    let failed = |line: &String| line.contains(" sync") && line.contains(" -> ");
    let sync_failed = scene.disk.journal().iter().any(failed);
    assert!(!is_poisoned || fault == Fault::Eio || sync_failed, "a full disk is nobody's end");
    if !is_poisoned {
        scene.append(batch("last", &["x"], Sync));
        scene.check();
    }
    scene.check_crash(thread_rng().r#gen());
}

#[test]
fn an_io_error_answers_everybody_and_nothing_is_acknowledged_after_it() {
    play(|| fail_beside(Fault::Eio), 3600);
}

#[test]
fn a_full_disk_refuses_whole_groups_and_ends_nothing_but_where_a_sync_failed() {
    play(|| fail_beside(Fault::ShortThenFull), 1800);
}

#[test]
fn nobody_is_told_of_a_batch_that_a_failed_sync_has_taken() {
    play(
        || {
            let scene = Scene::new(&options());
            scene.disk.fail_at(scene.disk.operations() + thread_rng().gen_range(0..8), Fault::Eio);
            let threads = [Sync, Buffered, Sync].map(|durability| {
                scene.spawn(move |scene| {
                    let batch = scene.store.batch().durability(durability).idempotency_key("key");
                    let told = batch.event("x", NewEvent::new("Played", "once")).submit().unwrap().wait();
                    // Whatever the answer is, it rests on what a power loss now would leave, unless it is in doubt.
                    let left = scene.disk.after_power_loss(PowerLoss::KeepLeast, 0);
                    match told {
                        Ok(done) => assert!(durability == Buffered || holds(&left, done.last), "{done:?} is lost"),
                        Err(AppendError::CommitUnknown { .. } | AppendError::Poisoned { .. }) => {}
                        Err(error) => panic!("{error}"),
                    }
                })
            });
            join(threads);
        },
        2400,
    );
}

fn holds(left: &SimDisk, position: Position) -> bool {
    open(left, &options()).head() >= position
}

/// A clock that panics when it is asked for the n-th time.
struct Panicking {
    asked: AtomicI64,
    at: i64,
}

impl Clock for Panicking {
    fn now(&self) -> i64 {
        let asked = self.asked.fetch_add(1, Ordering::Relaxed);
        if asked == self.at {
            // Not `panic!`, which would have the scheduler report a failure.
            resume_unwind(Box::new("as the scene wants it"));
        }
        asked * 1_000
    }
}

#[test]
fn a_leader_that_panics_leaves_nobody_waiting() {
    play(
        || {
            // Opening asks for the time once.
            let at = 1 + thread_rng().gen_range(0..4);
            let scene = Scene::new(&options().clock(Arc::new(Panicking { asked: AtomicI64::new(0), at })));
            let threads = ["a", "b", "c"].map(|name| {
                scene.spawn(move |scene| {
                    let appends = || {
                        scene.append(batch(format!("{name}1"), &["x"], Sync));
                        scene.submit(vec![batch(format!("{name}2"), &["x"], Buffered)]);
                    };
                    let done = catch_unwind(AssertUnwindSafe(appends));
                    if done.is_err() {
                        scene.over();
                    }
                    done.is_err()
                })
            });
            let panicked = join(threads).into_iter().filter(|panicked| *panicked).count();
            assert_eq!(panicked, 1, "the panic comes through to one, and only to him");
            assert!(matches!(scene.store.flush(), Err(AppendError::Poisoned { .. })));
            scene.check_crash(thread_rng().r#gen());
        },
        3000,
    );
}

//! Appends of several threads: who waits for whom, what is shared, and that everybody gets an answer.

use super::play;
use super::scene::{Buffered, Scene, Sync, batch, check_cleaned_up, join, open, options, recover};
use crate::Durability;

/// Two threads of appends and one of tickets, of the given durabilities.
fn append_beside(scene: &Scene, durabilities: [Durability; 3]) {
    let [first, second, third] = durabilities;
    let writers = [
        scene.spawn(move |scene| {
            scene.append(batch("a1", &["x"], first));
            scene.append(batch("a2", &["x", "y"], first));
        }),
        scene.spawn(move |scene| {
            scene.append(batch("b1", &["y", "x", "y"], second));
            scene.append(batch("b2", &["z"], second));
        }),
        scene.spawn(move |scene| scene.submit(vec![batch("c1", &["x"], third), batch("c2", &["z", "z"], Sync)])),
    ];
    join(writers);
    scene.check();
    assert_eq!(scene.acknowledged(), 6);
}

#[test]
fn every_durable_append_is_durable_when_it_is_acknowledged_and_there_once() {
    play(|| append_beside(&Scene::new(&options()), [Sync, Sync, Sync]), 1800);
}

#[test]
fn appends_of_mixed_durability_are_each_as_durable_as_they_asked() {
    play(|| append_beside(&Scene::new(&options()), [Sync, Buffered, Buffered]), 1800);
}

#[test]
fn a_flush_covers_all_that_was_acknowledged_or_submitted_before_it() {
    play(
        || {
            let scene = Scene::new(&options());
            let others = [
                scene.spawn(|scene| {
                    scene.append(batch("a1", &["x"], Buffered));
                    scene.append(batch("a2", &["x"], Buffered));
                }),
                scene.spawn(|scene| scene.submit(vec![batch("b1", &["x", "y"], Buffered)])),
            ];
            let flush = scene.spawn(|scene| {
                scene.append(batch("c1", &["z"], Buffered));
                let mine = batch("c2", &["x"], Buffered);
                let ticket = mine.builder(&scene.store).submit().unwrap();
                let before = scene.store.head();
                let flushed = scene.store.flush().unwrap();
                assert!(flushed >= before && scene.store.durable_head() >= flushed);
                let left = scene.disk.after_power_loss(crate::storage::sim::PowerLoss::KeepLeast, 0);
                scene.learn(mine, ticket.wait());
                (flushed, left)
            });
            join(others);
            let (flushed, left) = flush.join().unwrap();
            let kept = recover(&left);
            assert!(kept.len() as u64 >= flushed.get(), "{flushed} was flushed, and {kept:?} is there");
            for name in ["c1 0 1", "c2 0 1"] {
                assert!(kept.iter().any(|payload| payload == name), "{name} was flushed, and {kept:?} is there");
            }
            scene.check();
            assert_eq!(scene.acknowledged(), 5);
        },
        2400,
    );
}

/// Everything is dropped while tickets are out, in one thread, and waited for in another.
fn close_with_tickets(background: bool) {
    let scene = Scene::new(&options().background(background));
    let Scene { disk, store, .. } = scene;
    let submit = |name: &str| batch(name, &["x", "y"], Sync).builder(&store).submit().unwrap();
    let (waited, dropped) = ((submit("a"), submit("b")), submit("c"));
    let other = crate::sync::thread::spawn({
        let store = store.clone();
        move || {
            let last = batch("d", &["x"], Buffered).builder(&store).submit().unwrap();
            drop((store, dropped));
            last.wait().unwrap();
        }
    });
    let waiter = crate::sync::thread::spawn(move || {
        waited.1.wait().unwrap();
        waited.0.wait().unwrap();
    });
    drop(store);
    join([other, waiter]);
    let again = open(&disk, &options());
    assert_eq!(again.head().get(), 7, "closing commits what was submitted");
    drop(again);
    let kept = recover(&disk.after_power_loss(crate::storage::sim::PowerLoss::KeepLeast, 0));
    assert_eq!(kept.len(), 7, "closing makes durable what was buffered");
}

#[test]
fn closing_commits_tickets_and_lets_go_of_the_lock_whoever_waits_for_them() {
    play(|| close_with_tickets(false), 2400);
}

#[test]
fn closing_stops_the_background_threads_wherever_they_are() {
    play(|| close_with_tickets(true), 1200);
}

#[test]
fn the_background_thread_commits_zeroes_and_prepares_beside_appends() {
    play(
        || {
            let scene = Scene::new(&options().background(true).flush_interval(Some(std::time::Duration::ZERO)));
            drop(batch("nobody", &["z"], Sync).builder(&scene.store).submit().unwrap());
            let writers = [
                scene.spawn(|scene| scene.append(batch("a", &["x"], Buffered).long(25_000))),
                scene.spawn(|scene| scene.append(batch("b", &["y", "x"], Sync).long(15_000))),
            ];
            join(writers);
            scene.append(batch("c", &["x"], Sync).long(30_000));
            scene.store.flush().unwrap();
            scene.look();
            assert_eq!(scene.store.head().get(), 5);
            let Scene { disk, store, .. } = scene.clone();
            drop((scene, store));
            check_cleaned_up(&disk);
        },
        900,
    );
}

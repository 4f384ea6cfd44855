//! Readers, followers, and the work beside the writer, while he appends and rolls.

use std::sync::Arc;

use super::play;
use super::scene::{Buffered, Scene, Sync, batch, check_cleaned_up, join, open, options, recover};
use crate::storage::sim::PowerLoss;
use crate::sync::thread;
use crate::{Delivery, EventStore, Position, Query, QueryItem, StreamVersion, Subscription};

#[test]
fn who_reads_beside_appends_sees_whole_batches_from_the_beginning_up_to_a_point() {
    play(
        || {
            let scene = Scene::new(&options());
            let threads = [
                scene.spawn(|scene| {
                    scene.append(batch("a1", &["x", "y"], Sync));
                    scene.append(batch("a2", &["x"], Buffered));
                }),
                scene.spawn(|scene| scene.append(batch("b1", &["y", "y", "x"], Buffered))),
                scene.spawn(|scene| {
                    scene.look();
                    scene.look();
                }),
                scene.spawn(|scene| look_up(&scene.store)),
            ];
            join(threads);
            scene.check();
        },
        2400,
    );
}

/// What the indexes say agrees with the events, for as much as there was when it was asked.
fn look_up(store: &EventStore) {
    let least = store.head();
    let labelled = store.read(QueryItem::new().event_type("Played").tag("scene"), Position::START).unwrap();
    let most = labelled.head();
    let positions: Vec<u64> = labelled.map(|event| event.unwrap().position().get()).collect();
    assert!(positions.iter().copied().eq(1..=most.get()) && most >= least, "{positions:?} of {least} to {most}");
    let before = store.read_all(Position::START).until(least).filter(|event| event.as_ref().unwrap().stream() == "x");
    let before = before.count();
    let newest = store.read_stream("x", StreamVersion::END).unwrap().backward();
    let versions: Vec<u64> = newest.map(|event| event.unwrap().version().get()).collect();
    assert!(versions.iter().rev().copied().eq(1..=versions.len() as u64), "backward: {versions:?}");
    assert!(versions.len() >= before, "a stream has {versions:?}, and had {before} events before");
    assert!(store.stream_version("x").unwrap().get() >= versions.len() as u64, "a stream does not get shorter");
    if let Some(event) = store.get(least).unwrap() {
        let id = event.as_event().id;
        assert_eq!(store.get_event(id).unwrap().as_ref(), Some(&event), "an event is found by its id");
    }
}

#[test]
fn a_reader_keeps_what_it_has_pinned_while_segments_are_sealed_under_it() {
    play(
        || {
            let scene = Scene::new(&options());
            scene.append(batch("before", &["x", "y"], Sync).long(15_000));
            let pinned = scene.store.read_all(Position::START);
            let of_stream = scene.store.read_stream("x", StreamVersion::EMPTY).unwrap();
            let threads = [
                scene.spawn(|scene| {
                    scene.append(batch("a1", &["x"], Sync).long(20_000));
                    scene.append(batch("a2", &["x", "y"], Buffered).long(20_000));
                }),
                scene.spawn(|scene| scene.append(batch("b1", &["y"], Buffered).long(40_000))),
                scene.spawn(|scene| scene.store.maintain().unwrap()),
                scene.spawn(move |scene| {
                    assert_eq!(pinned.map(|event| event.unwrap().position().get()).collect::<Vec<_>>(), [1, 2]);
                    assert_eq!(of_stream.map(|event| event.unwrap().version().get()).collect::<Vec<_>>(), [1]);
                    look_up(&scene.store);
                    scene.look();
                }),
            ];
            join(threads);
            assert!(scene.store.stats().segments.len() >= 2, "it rolled");
            scene.check();
            look_up(&scene.store);
        },
        500,
    );
}

#[test]
fn zeroing_and_preparing_ahead_never_touch_what_is_written_beside_them() {
    play(
        || {
            let scene = Scene::new(&options().zero_ahead(64 << 10));
            scene.append(batch("before", &["x"], Sync).long(20_000));
            let maintain = |scene: &Scene| scene.store.maintain().unwrap();
            let threads = [
                scene.spawn(|scene| {
                    scene.append(batch("a1", &["x"], Sync).long(8_000));
                    scene.append(batch("a2", &["x"], Sync).long(12_000));
                    scene.append(batch("a3", &["x"], Sync).long(30_000));
                }),
                scene.spawn(maintain),
                scene.spawn(maintain),
            ];
            join(threads);
            scene.check();
            let Scene { disk, store, .. } = scene.clone();
            drop((scene, store));
            check_cleaned_up(&disk);
            let again = open(&disk, &options());
            assert_eq!(again.read_all(Position::START).map(Result::unwrap).count(), 4);
        },
        1200,
    );
}

#[test]
fn a_segment_that_is_indexed_in_the_background_is_in_every_view() {
    play(
        || {
            let scene = Scene::new(&options().background(true));
            let threads = [
                scene.spawn(|scene| {
                    scene.append(batch("a1", &["x", "y"], Buffered).long(20_000));
                    scene.append(batch("a2", &["x"], Buffered).long(40_000));
                    scene.append(batch("a3", &["x"], Buffered).long(40_000));
                }),
                scene.spawn(|scene| {
                    look_up(&scene.store);
                    scene.look();
                    look_up(&scene.store);
                }),
            ];
            join(threads);
            assert_eq!(scene.store.stats().segments.len(), 3, "it rolled twice");
            scene.check();
            look_up(&scene.store);
        },
        500,
    );
}

#[test]
fn a_follower_in_another_process_sees_what_is_durable_and_whole_batches_of_it() {
    play(
        || {
            let scene = Scene::new(&options());
            scene.append(batch("before", &["x"], Sync));
            let threads = [
                scene.spawn(|scene| {
                    scene.append(batch("a1", &["x", "y"], Sync).long(10_000));
                    scene.append(batch("a2", &["x", "y"], Sync).long(20_000));
                    scene.append(batch("a3", &["x"], Sync));
                }),
                scene.spawn(|scene| scene.append(batch("b1", &["y", "y", "x"], Buffered))),
                scene.spawn(|scene| {
                    let follower = EventStore::open_read_only_on(Arc::new(scene.disk.clone())).unwrap();
                    for _ in 0..3 {
                        scene.look_with(&follower);
                        let shown = follower.head();
                        let left = scene.disk.after_power_loss(PowerLoss::KeepLeast, 0);
                        let kept = recover(&left);
                        assert!(kept.len() as u64 >= shown.get(), "{shown} is shown, and {kept:?} is durable");
                    }
                }),
            ];
            join(threads);
            scene.check();
        },
        600,
    );
}

/// Waits for `events` events of a scene.
fn wait_for(mut subscription: Subscription, events: u64) -> Subscription {
    while subscription.position().get() < events {
        let before = subscription.position();
        match subscription.next_item().unwrap() {
            Some(Delivery::Event(event)) => assert_eq!(event.position, before.plus(1), "none is missed"),
            Some(_) => {}
            None => panic!("nobody has ended it"),
        }
    }
    subscription
}

#[test]
fn who_waits_for_an_event_does_not_sleep_through_it_nor_through_the_end() {
    play(
        || {
            let scene = Scene::new(&options());
            let subscriptions = [(), ()].map(|()| scene.store.subscribe(Position::START, Query::All).unwrap());
            let waiting = subscriptions.map(|subscription| thread::spawn(move || wait_for(subscription, 3)));
            let threads = [
                scene.spawn(|scene| scene.append(batch("a1", &["x", "y"], Sync))),
                scene.spawn(|scene| scene.append(batch("b1", &["y"], Buffered))),
            ];
            let subscriptions = join(waiting);
            let canceller = subscriptions[0].canceller();
            let waiting: Vec<_> = subscriptions
                .into_iter()
                .map(|mut subscription| {
                    thread::spawn(move || {
                        while subscription.next_item().unwrap().is_some() {}
                        assert!(subscription.is_ended());
                    })
                })
                .collect();
            canceller.cancel();
            join(threads);
            scene.check();
            drop(scene);
            join(waiting);
        },
        2400,
    );
}

/// A task's waker, and the thread that waits for it.
#[cfg(feature = "async")]
#[derive(Default)]
struct Rung {
    is_rung: crate::sync::Mutex<bool>,
    told: crate::sync::Condvar,
}

#[cfg(feature = "async")]
impl std::task::Wake for Rung {
    fn wake(self: Arc<Rung>) {
        *self.is_rung.lock() = true;
        self.told.notify_all();
    }
}

#[cfg(feature = "async")]
#[test]
fn a_task_that_was_told_to_wait_is_woken_by_the_event_or_by_the_end() {
    use std::pin::Pin;
    use std::task::{Context, Poll, Waker};

    use futures_core::Stream as _;

    play(
        || {
            let scene = Scene::new(&options());
            let mut stream = scene.store.subscribe(Position::START, Query::All).unwrap().into_stream();
            let task = thread::spawn(move || {
                let rung = Arc::new(Rung::default());
                let waker = Waker::from(Arc::clone(&rung));
                let mut seen = 0;
                loop {
                    match Pin::new(&mut stream).poll_next(&mut Context::from_waker(&waker)) {
                        Poll::Ready(None) => return seen,
                        Poll::Ready(Some(item)) => seen += u64::from(matches!(item, Ok(Delivery::Event(_)))),
                        Poll::Pending => {
                            let mut is_rung = rung.is_rung.lock();
                            while !*is_rung {
                                rung.told.wait(&mut is_rung);
                            }
                            *is_rung = false;
                        }
                    }
                }
            });
            let threads = [
                scene.spawn(|scene| scene.append(batch("a1", &["x"], Sync))),
                scene.spawn(|scene| scene.append(batch("b1", &["y"], Buffered))),
            ];
            join(threads);
            scene.check();
            drop(scene);
            assert_eq!(join([task]), [2]);
        },
        2400,
    );
}

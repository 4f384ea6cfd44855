//! What there is to do, and when.

use super::*;

#[test]
fn what_is_not_due_yet_stays_and_says_when_it_will_be() {
    let (bell, hour) = (Bell::default(), Some(Duration::from_secs(3600)));
    assert_eq!(bell.due(hour), None);
    bell.dirty();
    bell.tickets();
    bell.look_ahead();
    let taken = bell.take(hour);
    assert!(taken.look_ahead && taken.dirty_since.is_none(), "{taken:?}");
    assert!(!bell.take(hour).look_ahead, "it is taken once");
    assert!(bell.take(None).dirty_since.is_none() && bell.due(None) <= Some(Instant::now() + TICKET_DELAY));
    std::thread::sleep(2 * TICKET_DELAY);
    assert!(bell.is_urgent() && bell.take(hour).tickets_since.is_some() && !bell.is_urgent());
    let due = bell.due(hour).expect("the hour is not over");
    assert!(due > Instant::now() + Duration::from_secs(3500));
    assert!(bell.take(Some(Duration::ZERO)).dirty_since.is_some() && bell.due(hour).is_none());
}

#[test]
fn who_has_time_takes_tickets_however_short_they_have_lain_there() {
    let bell = Bell::default();
    bell.tickets();
    bell.dirty();
    let taken = bell.take_with_tickets(None);
    assert!(taken.tickets_since.is_some() && taken.dirty_since.is_none(), "{taken:?}");
    assert!(bell.due(None).is_none());
}

//! Requests that are known by their key.

use super::*;

#[test]
fn a_request_with_the_same_key_and_content_is_a_duplicate_with_the_original_result() {
    let batch: Fill = |batch| batch.idempotency_key("key").event("a", event("A")).event("b", event("B"));
    check_second(batch, batch, Told::Duplicate);
    let batch: Fill = |batch| batch.idempotency_key("key").event("a", event("A"));
    check_second(batch, batch, Told::Duplicate);
}

#[test]
fn a_key_covers_the_tracking_record_and_a_batch_of_nothing_else() {
    let batch: Fill = |batch| batch.idempotency_key("key").event("a", event("A")).tracking("kafka", 7);
    check_second(batch, batch, Told::Duplicate);
    check_second(batch, |batch| batch.idempotency_key("key").event("a", event("A")), Told::KeyReused);
    let other: Fill = |batch| batch.idempotency_key("key").event("a", event("A")).tracking("kafka", 8);
    check_second(batch, other, Told::KeyReused);
    let other: Fill = |batch| batch.idempotency_key("key").event("a", event("A")).tracking("rabbit", 7);
    check_second(batch, other, Told::KeyReused);

    let batch: Fill = |batch| batch.idempotency_key("key").tracking("kafka", 7);
    check_second(batch, batch, Told::Duplicate);
    check_second(batch, |batch| batch.idempotency_key("key").tracking("kafka", 8), Told::KeyReused);
    let other: Fill = |batch| batch.idempotency_key("key").tracking("kafka", 7).event("a", event("A"));
    check_second(batch, other, Told::KeyReused);
}

#[test]
fn a_key_is_not_used_for_other_events_nor_more_nor_fewer_nor_in_another_order() {
    let first: Fill = |batch| batch.idempotency_key("key").event("a", event("A")).event("a", event("B"));
    check_second(first, |batch| batch.idempotency_key("key").event("a", event("A")), Told::KeyReused);
    let more: Fill = |batch| batch.idempotency_key("key").events("a", [event("A"), event("B"), event("C")]);
    check_second(first, more, Told::KeyReused);
    let turned: Fill = |batch| batch.idempotency_key("key").events("a", [event("B"), event("A")]);
    check_second(first, turned, Told::KeyReused);
    let elsewhere: Fill = |batch| batch.idempotency_key("key").event("a", event("A")).event("b", event("B"));
    check_second(first, elsewhere, Told::KeyReused);
}

#[test]
fn without_a_key_or_with_another_one_the_same_events_are_appended_again() {
    let first: Fill = |batch| batch.idempotency_key("key").event("a", event("A"));
    check_second(first, |batch| batch.event("a", event("A")), Told::Appended);
    check_second(first, |batch| batch.idempotency_key("kez").event("a", event("A")), Told::Appended);
    check_second(first, |batch| batch.idempotency_key("ke").event("a", event("A")), Told::Appended);
}

#[test]
fn the_key_alone_tells_a_retry_that_makes_new_ids() {
    // Who makes a new UUID for each try has the same request all the same.
    let first: Fill = |batch| batch.idempotency_key("key").event("a", named(1, "A"));
    check_second(first, |batch| batch.idempotency_key("key").event("a", named(2, "A")), Told::Duplicate);
    check_second(first, |batch| batch.idempotency_key("key").event("a", event("A")), Told::Duplicate);
}

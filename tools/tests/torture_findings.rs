//! What random stories have found in the engine: each a story that broke a promise once, as short as
//! it could be made.

use annals_cli::torture::{Story, Tally, tell};

#[track_caller]
fn check_story(text: &str) {
    let story: Story = text.parse().expect("the text is a story");
    if let Err(violation) = tell(&story, &mut Tally::default()) {
        panic!("{violation}");
    }
}

#[test]
fn nothing_is_written_under_a_name_whose_sync_failed_when_there_is_no_space_for_another() {
    check_story("disk 1: full 13, short-full 6, lose least");
}

#[test]
fn readers_see_what_a_recovery_has_shown_also_when_there_is_no_space_for_the_next_segment() {
    check_story("disk 1: space 1, sync b0, sync d64123, full 23, kill / reader, kill");
}

#[test]
fn a_slot_of_store_meta_that_is_not_on_the_disk_yet_does_not_cost_the_other_one() {
    check_story("disk 41913: buffered b0, stop 18, kill / buffered a0, stop 3, lose random 60971");
}

#[test]
fn a_checkpoint_that_was_only_read_is_made_durable_when_it_is_asked_for_again() {
    check_story("disk 1: buffered c0, consume x 1, checkpoint x, stop 38, kill / checkpoint x, kill");
    check_story("disk 1: buffered c0, consume x 1, checkpoint x, stop 38, kill / checkpoint x, lose least");
}

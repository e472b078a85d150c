//! Every transcript, by its promise.

use std::fs;
use std::path::{Path, PathBuf};

use crate::transcript::play;

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("transcripts")
}

fn check(name: &str) {
    let path = folder().join(format!("{name}.txt"));
    let script = fs::read_to_string(&path).expect("the transcript is there");
    let played = play(&script);
    if std::env::var_os("TRANSCRIPTS").is_some_and(|mode| mode == "write") {
        fs::write(&path, played).expect("the transcript can be written");
        return;
    }
    for (number, (written, really)) in script.lines().zip(played.lines()).enumerate() {
        assert_eq!(written, really, "{name}, line {}", number + 1);
    }
    assert_eq!(
        script.lines().count(),
        played.lines().count(),
        "{name} ends early; really follows:\n{played}"
    );
}

macro_rules! transcripts {
    ($($name:ident)*) => {
        const NAMES: &[&str] = &[$(stringify!($name)),*];
        $(#[test] fn $name() { check(stringify!($name)); })*
    };
}

transcripts! {
    a_changed_subscription_while_the_group_syncs_starts_over
    a_client_that_only_keeps_offsets_may_commit
    a_commit_in_a_transaction_asks_for_less
    a_commit_keeps_a_member_alive
    a_commit_of_a_generation_founds_no_group
    a_commit_while_the_group_syncs_says_rebalance
    a_cooperative_member_gives_up_partitions_and_joins_once_more
    a_follower_that_changed_its_subscription_starts_a_rebalance
    a_follower_that_joins_again_unchanged_goes_on
    a_follower_that_syncs_late_gets_its_assignment_at_once
    a_full_group_takes_no_more_members
    a_group_that_was_syncing_goes_on_after_a_restart
    a_group_whose_subscriptions_cannot_be_read_keeps_all_offsets
    a_group_without_members_can_be_deleted
    a_heartbeat_keeps_a_member_alive_and_silence_removes_it
    a_heartbeat_of_a_stranger_or_another_generation_is_refused
    a_join_over_the_limit_of_bytes_is_refused
    a_join_sent_twice_is_answered_twice
    a_join_whose_answer_was_lost_is_answered_again
    a_leader_that_does_not_come_back_is_replaced
    a_leader_that_joins_again_starts_a_rebalance
    a_leader_that_never_syncs_is_removed
    a_member_of_an_old_client_joins_at_once
    a_member_that_does_not_sync_after_a_restart_is_removed
    a_member_that_leaves_during_the_first_delay_founds_nothing
    a_member_that_leaves_starts_a_rebalance
    a_member_that_leaves_while_it_waits_is_answered
    a_member_that_left_is_gone_after_a_restart
    a_member_that_never_syncs_is_removed
    a_member_that_the_leader_left_out_gets_an_empty_assignment
    a_member_that_waits_needs_no_heartbeat
    a_member_whose_session_ends_during_a_rebalance_is_not_waited_for
    a_member_without_a_common_protocol_is_refused
    a_new_member_is_given_an_id_and_must_come_back_with_it
    a_new_member_of_a_running_group_is_forgotten_by_a_restart
    a_new_member_that_waits_too_long_is_dropped
    a_rebalance_goes_on_after_a_restart
    a_rebalance_that_is_overrun_sheds_the_last_to_come_back
    a_rebalance_that_no_static_member_joined_is_tried_again
    a_rebalance_that_nobody_comes_back_to_after_a_restart_ends
    a_session_timeout_out_of_bounds_is_refused
    a_silent_member_does_not_hold_up_the_generation
    a_stable_group_goes_on_after_a_restart
    a_static_leader_of_an_old_client_takes_the_assignment_there_is
    a_static_leader_that_comes_back_may_skip_the_assignment
    a_static_member_comes_back_without_a_rebalance
    a_static_member_is_removed_when_its_session_ends
    a_static_member_stays_in_a_generation_that_it_missed
    a_static_member_that_came_back_is_known_after_a_restart
    a_static_member_that_changes_the_choice_of_protocol_starts_a_rebalance
    a_static_member_that_comes_back_during_a_rebalance_takes_its_place
    a_static_member_that_comes_back_while_the_group_syncs_starts_over
    a_stranger_is_refused
    a_sync_during_a_rebalance_says_join_again
    a_sync_of_another_generation_or_protocol_is_refused
    a_sync_sent_twice_is_answered_twice
    a_sync_that_waits_when_a_member_joins_says_join_again
    a_tie_between_protocols_goes_by_name
    an_assignment_that_stays_is_not_written_again
    an_empty_group_keeps_its_generation_over_a_restart
    an_id_that_never_comes_back_holds_up_a_rebalance_only_for_its_session
    an_id_that_never_comes_back_is_forgotten
    an_id_that_was_handed_out_leaves_without_a_rebalance
    followers_get_their_assignment_when_the_leader_syncs
    heartbeats_are_heard_while_the_group_syncs
    ids_that_are_handed_out_count_against_the_limit_of_bytes
    members_agree_on_a_new_protocol_one_by_one
    members_that_were_told_no_generation_are_forgotten_by_a_restart
    offsets_expire_by_what_the_group_is_doing
    offsets_of_a_group_with_members_are_theirs_to_commit
    offsets_of_members_that_are_no_consumers_cannot_be_deleted
    offsets_of_topics_that_members_read_cannot_be_deleted
    several_members_leave_in_one_request
    silence_is_counted_from_the_restart
    the_first_rebalance_is_extended_up_to_the_rebalance_timeout
    the_first_rebalance_waits_for_more_members
    the_last_member_leaves_an_empty_group
    the_leader_is_told_of_everybody_and_the_others_of_nobody
    the_old_generation_may_commit_while_members_join
    the_old_process_of_a_static_member_is_fenced
    the_protocol_that_most_members_like_best_is_chosen
    the_rebalance_waits_for_an_id_that_was_handed_out
    tools_see_subscriptions_only_in_a_stable_group
}

#[test]
fn every_transcript_is_played() {
    let files = fs::read_dir(folder()).expect("the folder is there");
    let mut files: Vec<String> = files
        .map(|file| file.expect("readable").file_name().into_string().expect("a promise in ASCII"))
        .filter_map(|name| name.strip_suffix(".txt").map(str::to_owned))
        .collect();
    files.sort();
    let mut names: Vec<&str> = NAMES.to_vec();
    names.sort_unstable();
    assert_eq!(files, names);
    assert!(names.len() >= 40, "only {} transcripts", names.len());
}

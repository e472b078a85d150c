//! What every backend must do, as tests that run on any of them.
//!
//! What it is: one function per promise, grouped by file. A backend says how to make one of its stores ([`Backend`])
//! and gets a test for each promise by [`conformance_tests!`](crate::conformance_tests) and
//! [`conformance_unknown_outcome_tests!`](crate::conformance_unknown_outcome_tests); a durable one adds
//! [`conformance_durable_tests!`](crate::conformance_durable_tests), one whose order versions are its commit order (all
//! but TiKV) adds [`conformance_commit_order_tests!`](crate::conformance_commit_order_tests).
//!
//! What it refuses to do: it looks at no backend's inside, does not sleep and does not measure.

#![allow(clippy::missing_panics_doc)]

pub mod bank;
pub mod commit_order;
pub mod conflict;
pub mod delete_range;
pub mod expiry;
pub mod guard;
pub mod isolation;
pub mod own_writes;
pub mod reopening;
pub mod scan;
pub mod serial_model;
pub mod unknown_outcome;
pub mod values;
pub mod versions;

mod steps;

use std::future::Future;
use std::time::Duration;

use crate::write_set::KEY_MAX_BYTES;
use crate::{ManualClock, Store, TransactionLimits};

/// After this time a case counts as hanging. It has nothing to do with speed.
const CASE_MAX: Duration = Duration::from_secs(300);

/// One store of a backend, with what a case needs to know about it.
pub trait Backend: Sized + Send + Sync + 'static {
    /// What is being tested.
    type Store: Store;

    /// Makes an empty store whose clock shows some time after 1970.
    fn create() -> impl Future<Output = Self> + Send;

    /// The store.
    fn store(&self) -> &Self::Store;

    /// The clock that the store looks at.
    fn clock(&self) -> &ManualClock;

    /// The limits that it keeps.
    fn limits(&self) -> TransactionLimits;

    /// The longest key, in bytes: less where something stands in front of every key.
    fn key_max_bytes(&self) -> usize {
        KEY_MAX_BYTES
    }
}

/// A backend that outlives its process.
pub trait DurableBackend: Backend {
    /// Closes the store and opens it again, with the same clock.
    fn reopen(self) -> impl Future<Output = Self> + Send;
}

/// Runs a case to its end, or fails it if it hangs.
pub async fn run(case: impl Future<Output = ()>) {
    tokio::time::timeout(CASE_MAX, case).await.expect("the case ends");
}

/// Makes one `#[tokio::test]` per case that every backend must pass. To be called in a module of its own.
#[macro_export]
macro_rules! conformance_tests {
    ($backend:ty) => {
        $crate::conformance_cases! {
            $backend;
            isolation {
                what_is_not_committed_is_not_seen,
                what_was_committed_before_is_seen,
                reads_of_one_transaction_do_not_change,
                what_is_begun_to_read_sees_one_snapshot,
                scans_of_one_transaction_see_no_phantoms,
                a_dropped_transaction_leaves_nothing,
                a_commit_is_seen_whole_or_not_at_all,
                an_old_snapshot_lives_through_many_commits,
                clones_share_one_map,
                a_reader_commits_whatever_others_wrote,
            }
            conflict {
                the_second_of_two_writers_conflicts,
                blind_writes_conflict,
                writers_of_different_keys_do_not_conflict,
                nothing_of_a_conflicting_transaction_is_applied,
                a_transaction_that_began_after_a_commit_does_not_conflict_with_it,
                an_aborted_transaction_conflicts_with_nobody,
                what_is_only_read_does_not_conflict,
                a_value_that_was_changed_and_put_back_conflicts,
                of_many_writers_of_one_snapshot_one_commits,
                counters_incremented_at_once_lose_no_increment,
                whoever_lost_sees_the_winner_with_the_next_snapshot,
            }
            guard {
                without_a_guard_write_skew_happens,
                guards_prevent_write_skew,
                of_a_guard_and_a_write_at_most_one_commits,
                a_guarded_key_that_appears_or_goes_conflicts,
                a_guard_without_writes_is_checked,
                a_guard_changes_nothing,
                a_guard_on_a_key_that_is_written_too_is_a_write,
                guards_one_after_the_other_do_not_conflict,
                guards_keep_an_invariant_under_concurrency,
            }
            versions {
                a_versioned_key_holds_the_version_of_its_commit,
                one_transaction_has_one_version,
                a_later_transaction_has_a_higher_version,
                the_version_is_taken_at_commit,
                a_clock_that_stands_still_or_goes_back_does_not_stop_versions,
                versioned_writes_do_not_conflict,
                own_versioned_writes_are_not_seen,
                dependent_transactions_stay_in_order_under_concurrency,
            }
            scan {
                a_scan_has_the_keys_of_its_range_in_order,
                an_empty_range_gives_nothing,
                a_scan_stops_at_its_count,
                a_scan_stops_with_the_entry_that_reaches_the_bytes,
                pages_give_each_entry_once,
                keys_sort_as_bytes,
                keys_alone_are_those_of_the_entries,
                removed_keys_do_not_count,
            }
            own_writes {
                a_get_sees_own_writes,
                the_last_own_write_of_a_key_counts,
                get_many_sees_own_writes_in_the_order_asked,
                a_scan_sees_own_writes,
                own_deletes_do_not_count_towards_a_limit,
                pages_of_own_and_committed_entries_give_each_once,
                own_writes_alone_can_be_scanned,
            }
            values {
                values_of_every_size_come_back,
                a_key_changes_between_small_and_big_values,
                big_values_count_towards_a_scans_bytes,
                many_big_values_fit_in_one_transaction,
                ten_thousand_keys_fit_in_one_transaction,
                keys_of_every_length_come_back,
                a_value_over_the_limit_is_refused,
                a_transaction_over_the_limit_is_refused,
            }
            expiry {
                a_transaction_within_its_time_commits,
                a_writing_transaction_past_its_time_has_no_effect,
                reads_of_a_writing_transaction_past_its_time_fail,
                a_guarding_transaction_past_its_time_fails,
                a_reading_transaction_does_not_fail_at_commit,
                time_counts_from_the_begin,
                no_open_transaction_began_before_the_oldest_open_time,
                a_transaction_that_can_write_no_more_holds_up_no_time,
            }
            delete_range {
                every_key_of_the_range_goes_and_no_other,
                an_empty_range_removes_nothing,
                a_removed_range_can_be_written_again,
                a_clone_sees_the_range_gone,
            }
            serial_model {
                transactions_step_by_step_do_what_the_model_does,
            }
            bank {
                transfers_keep_the_sum_in_every_snapshot,
            }
        }
    };
}

/// Makes one `#[tokio::test]` per case about lost answers, for a backend inside a
/// [`FaultyStore`](crate::FaultyStore) (which cannot be wrapped in another). To be called in a module of its own.
#[macro_export]
macro_rules! conformance_unknown_outcome_tests {
    ($backend:ty) => {
        $crate::conformance_cases! {
            $backend;
            unknown_outcome {
                an_applied_commit_is_found_applied,
                a_commit_not_applied_is_found_not_applied,
                a_late_commit_that_was_asked_about_never_arrives,
                a_late_commit_that_arrives_before_it_is_asked_about_is_applied,
                a_late_commit_after_another_writer_is_not_applied,
                an_applied_commit_is_found_whatever_was_written_since,
                deletes_and_versioned_writes_and_guards_alone_are_settled,
                the_answer_does_not_change,
                all_who_ask_at_once_get_the_same_answer,
                while_the_store_is_away_nothing_is_settled,
            }
        }
    };
}

/// Makes one `#[tokio::test]` per case that a durable backend must pass besides. To be called in a module of its own.
#[macro_export]
macro_rules! conformance_durable_tests {
    ($backend:ty) => {
        $crate::conformance_cases! {
            $backend;
            reopening {
                everything_committed_is_there_again,
                what_was_not_committed_is_not,
                versions_go_on_rising,
                a_removed_range_stays_removed,
                conflicts_are_seen_after_reopening,
                a_store_reopened_many_times_keeps_everything,
                what_became_of_a_commit_is_known_after_reopening,
            }
        }
    };
}

/// Makes one `#[tokio::test]` per case that a backend must pass whose order versions are its commit order and of its own
/// clock. To be called in a module of its own.
#[macro_export]
macro_rules! conformance_commit_order_tests {
    ($backend:ty) => {
        $crate::conformance_cases! {
            $backend;
            commit_order {
                nothing_appears_behind_what_was_seen,
                versions_carry_the_time_of_the_commit,
                histories_of_concurrent_transactions_are_snapshot_isolated,
            }
        }
    };
}

/// The tests of a list of cases; what the other macros are made of.
#[doc(hidden)]
#[macro_export]
macro_rules! conformance_cases {
    ($backend:ty; $($group:ident { $($case:ident,)+ })+) => {
        $(mod $group {
            #[allow(unused_imports)]
            use super::*;
            $(
                #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
                async fn $case() {
                    let backend = <$backend as $crate::conformance::Backend>::create().await;
                    $crate::conformance::run($crate::conformance::$group::$case(backend)).await;
                }
            )+
        })+
    };
}

#[cfg(test)]
mod tests {
    /// A case that is written and not listed would never run.
    #[test]
    fn every_case_is_listed() {
        let list = include_str!("mod.rs");
        let groups = [
            include_str!("bank.rs"),
            include_str!("commit_order.rs"),
            include_str!("conflict.rs"),
            include_str!("delete_range.rs"),
            include_str!("expiry.rs"),
            include_str!("guard.rs"),
            include_str!("isolation.rs"),
            include_str!("own_writes.rs"),
            include_str!("reopening.rs"),
            include_str!("scan.rs"),
            include_str!("serial_model.rs"),
            include_str!("unknown_outcome.rs"),
            include_str!("values.rs"),
            include_str!("versions.rs"),
        ];
        let cases = groups.iter().flat_map(|group| group.split("\npub async fn ").skip(1));
        for case in cases.map(|text| text.split(['<', '(']).next().expect("a name")) {
            assert!(list.contains(&format!("                {case},\n")), "{case} is not listed");
        }
    }
}

//! Which runs the store knows, and what it says of their attempts.

use super::super::files::FileLayer;
use super::super::lossy_files::LossyFiles;
use super::super::runs::{Attempted, FILE_NAME, RUNS_KEPT, Runs};
use crate::{CommitToken, Outcome, Version};

fn begin(files: &LossyFiles, version: u64) -> Runs {
    Runs::begin(files, Version(version)).expect("a disk that works")
}

fn token(runs: &Runs, version: u64) -> CommitToken {
    runs.token("k".into(), Version(version))
}

#[test]
fn an_attempt_was_applied_if_the_next_run_began_with_its_version() {
    let files = LossyFiles::new();
    let first = begin(&files, 10);
    let (kept, lost) = (token(&first, 12), token(&first, 13));
    assert_eq!(first.find(&lost), Attempted::Now(Version(13)));
    // The clock went back: versions of the next run may be those of attempts that were lost.
    let second = begin(&files, 12);
    let later = begin(&files, 20);
    for runs in [second, later] {
        assert_eq!(runs.find(&kept), Attempted::Before(Outcome::Applied));
        assert_eq!(runs.find(&lost), Attempted::Before(Outcome::NotApplied));
    }
}

#[test]
fn the_oldest_runs_are_forgotten_and_their_tokens_have_no_answer() {
    let files = LossyFiles::new();
    let first = token(&begin(&files, 1), 1);
    let second = token(&begin(&files, 2), 2);
    for version in 3..RUNS_KEPT + 2 {
        begin(&files, version);
    }
    let runs = begin(&files, RUNS_KEPT + 2);
    assert_eq!(runs.find(&first), Attempted::NotKnown);
    assert_eq!(runs.find(&second), Attempted::Before(Outcome::Applied));
}

#[test]
fn a_lost_or_damaged_file_gives_no_answer_and_no_number_twice() {
    for is_lost in [false, true] {
        let files = LossyFiles::new();
        let before = begin(&files, 5);
        let (old, newest) = (token(&before, 5), token(&begin(&files, 6), 6));
        if is_lost {
            files.remove(FILE_NAME).expect("it is there");
        } else {
            let written = files.contents(FILE_NAME).iter().rposition(|byte| *byte != 0);
            files.damage(FILE_NAME, written.expect("two runs") as u64);
        }
        let runs = begin(&files, 7);
        assert_eq!(runs.find(&newest), Attempted::NotKnown, "lost: {is_lost}");
        // What is whole is still known, but not what the run was that came after it.
        assert_eq!(runs.find(&old), Attempted::NotKnown, "lost: {is_lost}");
    }
}

//! The machine crashes, at any write or sync of a disk that loses what was not synced.

use std::sync::Arc;

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use tidegate_store::embedded::lossy_files::LossyFiles;
use tidegate_store::{EmbeddedOptions, EmbeddedStore, ManualClock};

use super::application::{Told, run};
use super::expected::check;
use crate::fixture::NOW_MS;

/// How many directories crash; `TIDEGATE_RECOVERY_CASES` raises it.
const CASES: u64 = 100;
const CRASHES_PER_CASE: u64 = 3;
/// The last change of the disk at which it crashes: about as many as a round has.
const LAST_CHANGE: u64 = 500;
const TRANSACTIONS_PER_WORKER: usize = 12;
/// How many of a hundred rounds crash at least: in one that makes fewer changes than were drawn, nothing happens.
const CRASHED_PERCENT_MIN: u64 = 50;

fn options(clock: &ManualClock, rng: &mut StdRng) -> EmbeddedOptions {
    let mut options = EmbeddedOptions::new(Arc::new(clock.clone()));
    options.overlay_bytes = rng.random_range(4_000..60_000);
    options.journal_flush_bytes = rng.random_range(40_000..200_000);
    options.segment_bytes = rng.random_range(20_000..100_000);
    options.tree_cache_bytes = 1 << 20;
    options
}

/// Opens a disk that may crash while it is opened, until it does not. Whether it did is said, too.
fn open(files: &mut LossyFiles, clock: &ManualClock, rng: &mut StdRng) -> (EmbeddedStore, bool) {
    let mut has_crashed = false;
    loop {
        match EmbeddedStore::open_lossy(files, options(clock, rng)) {
            Ok(store) => return (store, has_crashed),
            Err(error) => {
                assert!(files.is_crashed(), "{error}");
                has_crashed = true;
                *files = files.after_crash(rng);
            }
        }
    }
}

/// Returns in how many rounds the disk crashed before the round was over.
fn crash_and_recover(seed: u64) -> u64 {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().expect("a runtime");
    let mut rng = StdRng::seed_from_u64(seed);
    let clock = ManualClock::at(NOW_MS);
    let mut files = LossyFiles::new();
    let mut told = Told::default();
    let mut crashes = 0;
    for _ in 0..CRASHES_PER_CASE {
        files.crash_at(files.changes() + rng.random_range(1..LAST_CHANGE));
        let (store, crashed_at_once) = open(&mut files, &clock, &mut rng);
        runtime.block_on(run(&store, &clock, seed, &mut told, TRANSACTIONS_PER_WORKER, |_, _| {}));
        drop(store);
        crashes += u64::from(crashed_at_once || files.is_crashed());
        files = files.after_crash(&mut rng);
        let (store, _) = open(&mut files, &clock, &mut rng);
        runtime.block_on(check(&store, seed, &told));
        drop(store);
    }
    // What is still scheduled comes when it is due.
    clock.advance(1_000);
    let (store, _) = open(&mut files, &clock, &mut rng);
    runtime.block_on(check(&store, seed, &told));
    crashes
}

#[test]
fn whatever_the_crash_all_that_is_stored_is_what_the_committed_transactions_left() {
    let asked =
        std::env::var("TIDEGATE_RECOVERY_CASES").ok().map(|cases| cases.parse().expect("a number of cases"));
    let cases = asked.unwrap_or(CASES);
    let mut crashes = 0;
    for seed in 0..cases {
        println!("seed {seed}");
        crashes += crash_and_recover(seed);
    }
    let rounds = cases * CRASHES_PER_CASE;
    println!("{crashes} of {rounds} rounds crashed");
    assert!(crashes * 100 >= rounds * CRASHED_PERCENT_MIN, "{crashes} of {rounds} rounds crashed");
}

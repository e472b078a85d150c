//! The machine crashes, at any write or sync of a disk that loses what was not synced.

use std::collections::BTreeSet;
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
/// So many of the crashes hit a write or a sync, each another one; the others a disk that is at rest.
const AMID_PERCENT: u64 = 50;
const TRANSACTIONS_PER_WORKER: usize = 12;

fn options(clock: &ManualClock, rng: &mut StdRng) -> EmbeddedOptions {
    let mut options = EmbeddedOptions::new(Arc::new(clock.clone()));
    options.overlay_bytes = rng.random_range(4_000..60_000);
    options.journal_flush_bytes = rng.random_range(40_000..200_000);
    options.segment_bytes = rng.random_range(20_000..100_000);
    options.tree_cache_bytes = 1 << 20;
    options
}

/// Opens a disk that may crash while it is opened, until it does not.
fn open(files: &mut LossyFiles, clock: &ManualClock, rng: &mut StdRng) -> EmbeddedStore {
    loop {
        match EmbeddedStore::open_lossy(files, options(clock, rng)) {
            Ok(store) => return store,
            Err(error) => {
                assert!(files.is_crashed(), "{error}");
                *files = files.after_crash(rng);
            }
        }
    }
}

/// Puts down the changes that the disk crashed at.
fn crash_and_recover(seed: u64, points: &mut BTreeSet<(u64, u64)>) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().expect("a runtime");
    let mut rng = StdRng::seed_from_u64(seed);
    let clock = ManualClock::at(NOW_MS);
    let mut files = LossyFiles::new();
    let mut told = Told::default();
    for _ in 0..CRASHES_PER_CASE {
        files.crash_at(files.changes() + rng.random_range(1..LAST_CHANGE));
        let store = open(&mut files, &clock, &mut rng);
        runtime.block_on(run(&store, &clock, seed, &mut told, TRANSACTIONS_PER_WORKER, |_, _| {}));
        drop(store);
        if files.is_crashed() {
            points.insert((seed, files.changes()));
        }
        files = files.after_crash(&mut rng);
        let store = open(&mut files, &clock, &mut rng);
        runtime.block_on(check(&store, seed, &told));
        drop(store);
    }
    // What is still scheduled comes when it is due.
    clock.advance(1_000);
    let store = open(&mut files, &clock, &mut rng);
    runtime.block_on(check(&store, seed, &told));
}

/// As `TIDEGATE_RECOVERY_CASES` says, and never fewer than are promised.
fn cases() -> u64 {
    let asked = std::env::var("TIDEGATE_RECOVERY_CASES").ok();
    let cases = asked.map_or(CASES, |cases| cases.parse().expect("a number of cases"));
    assert!(cases >= CASES, "TIDEGATE_RECOVERY_CASES={cases}: tests/README.md promises {CASES}");
    cases
}

#[test]
fn whatever_the_crash_all_that_is_stored_is_what_the_committed_transactions_left() {
    let cases = cases();
    let mut points = BTreeSet::new();
    for seed in 0..cases {
        println!("seed {seed}");
        crash_and_recover(seed, &mut points);
    }
    let (points, crashes) = (points.len() as u64, cases * CRASHES_PER_CASE);
    println!("{points} of {crashes} crashes were amid different changes");
    assert!(points * 100 >= crashes * AMID_PERCENT, "only {points} of {crashes} crashes were amid a change");
}

//! Recovery by the thousand: random workloads on files that lose what was not synced, crashed at every write and sync,
//! opened again and compared with what was acknowledged.

use std::collections::BTreeSet;
use std::sync::Arc;

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use super::super::lossy_files::LossyFiles;
use super::super::{EmbeddedOptions, EmbeddedStore, SyncPolicy};
use super::workload::Workload;
use crate::SystemClock;

/// How many crashes hit a write or a sync at least, each another one; `TIDEGATE_RECOVERY_CASES` raises it.
const CASES: u64 = 6_000;
/// How many times one directory crashes before the next one is begun.
const CRASHES_PER_DIRECTORY: u64 = 3;
const TRANSACTIONS: usize = 60;
/// How many workloads are spread over the crash points.
const THREADS: u64 = 2;

fn options(sync: SyncPolicy, rng: &mut StdRng) -> EmbeddedOptions {
    let mut options = EmbeddedOptions::new(Arc::new(SystemClock));
    options.sync = sync;
    options.overlay_bytes = rng.random_range(3_000..60_000);
    options.journal_flush_bytes = rng.random_range(20_000..100_000);
    options.segment_bytes = rng.random_range(10_000..50_000);
    options.tree_cache_bytes = 1 << 20;
    options.journal_ahead_bytes = if rng.random_bool(0.7) { rng.random_range(1..20_000) } else { 0 };
    options.open_segments_max = rng.random_range(1..4);
    options
}

/// The crashes of a run.
#[derive(Debug, Default)]
struct Crashes {
    /// All of them: with those of a disk on which nothing happened any more.
    all: u64,
    /// Those in the midst of a write or a sync: of which directory, and at which of its changes.
    amid: BTreeSet<(u64, u64)>,
}

impl Crashes {
    /// Counts the crash that a directory is about to have.
    fn count(&mut self, seed: u64, files: &LossyFiles) {
        self.all += 1;
        if files.is_crashed() {
            self.amid.insert((seed, files.changes()));
        }
    }
}

/// Opens a disk that may crash while it is opened, until it does not.
fn open_after_crashes(
    files: &mut LossyFiles,
    sync: SyncPolicy,
    seed: u64,
    rng: &mut StdRng,
    crashes: &mut Crashes,
) -> EmbeddedStore {
    loop {
        match EmbeddedStore::open_files(Arc::new(files.clone()), None, options(sync, rng)) {
            Ok(store) => return store,
            Err(error) => {
                // Whatever failed must be the crash.
                assert!(files.is_crashed(), "{error}");
                crashes.count(seed, files);
                *files = files.after_crash(rng);
            }
        }
    }
}

/// One directory that crashes a few times; the first time at the `crash_at`-th change if it gets that far. Gives how
/// many changes there were before the first crash.
fn crash_and_recover(seed: u64, crash_at: u64, sync: SyncPolicy, crashes: &mut Crashes) -> u64 {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().expect("a runtime");
    let mut rng = StdRng::seed_from_u64(seed);
    let mut workload = Workload::default();
    let mut files = LossyFiles::new();
    files.crash_at(crash_at);
    let mut changes = 0;
    for round in 0..CRASHES_PER_DIRECTORY {
        let store = open_after_crashes(&mut files, sync, seed, &mut rng, crashes);
        let concurrency = rng.random_range(1..6);
        runtime.block_on(async {
            if round > 0 {
                // A crash while it is read is as good as one before.
                files.crash_at(files.changes() + rng.random_range(1..200));
            }
            workload.run(&store, &mut rng, TRANSACTIONS, concurrency).await;
        });
        drop(store);
        if round == 0 {
            changes = files.changes();
        }
        crashes.count(seed, &files);
        files = files.after_crash(&mut rng);
        if sync != SyncPolicy::Always {
            workload.trust_no_acknowledgement();
        }
        let store = open_after_crashes(&mut files, sync, seed, &mut rng, crashes);
        runtime.block_on(workload.check(&store));
        if rng.random_bool(0.3) {
            // What recovery left behind is found the same once more, without a crash or with one.
            drop(store);
            files = if rng.random_bool(0.5) { files.after_crash(&mut rng) } else { files };
            let store = open_after_crashes(&mut files, sync, seed, &mut rng, crashes);
            runtime.block_on(workload.check(&store));
        }
        if rng.random_bool(0.5) {
            files.crash_at(files.changes() + rng.random_range(1..20));
        }
    }
    changes
}

/// Crashes that many times, at every change of one workload after the other.
fn crash_everywhere(cases: u64, sync: SyncPolicy) {
    let mut crashes = Crashes::default();
    let directories = cases / CRASHES_PER_DIRECTORY;
    let threads: Vec<_> = (0..THREADS)
        .map(|thread| {
            std::thread::spawn(move || {
                let (mut crash_at, mut crashes) = (0, Crashes::default());
                for seed in (thread..directories).step_by(usize::try_from(THREADS).expect("few")) {
                    crash_at += 1;
                    println!("seed {seed}, crash at {crash_at}");
                    let changes = crash_and_recover(seed, crash_at, sync, &mut crashes);
                    if changes < crash_at {
                        // The workload ended before: all its changes were tried, go on with those of another.
                        crash_at = 0;
                    }
                }
                crashes
            })
        })
        .collect();
    for thread in threads {
        let of_thread = thread.join().expect("no case fails");
        crashes.all += of_thread.all;
        crashes.amid.extend(of_thread.amid);
    }
    let amid = u64::try_from(crashes.amid.len()).expect("a count");
    println!("{} crashes, of which in the midst of different changes: {amid}", crashes.all);
    assert!(amid >= cases, "only {amid} of {cases} crashes hit a write or a sync, each another one");
}

/// As `TIDEGATE_RECOVERY_CASES` says, and never fewer than are promised.
fn cases() -> u64 {
    let asked = std::env::var("TIDEGATE_RECOVERY_CASES").ok();
    let cases = asked.map_or(CASES, |cases| cases.parse().expect("a number of cases"));
    assert!(cases >= CASES, "TIDEGATE_RECOVERY_CASES={cases}: tests/README.md promises {CASES}");
    cases
}

#[test]
fn whatever_the_crash_what_was_acknowledged_is_there_and_the_rest_is_a_prefix() {
    crash_everywhere(cases(), SyncPolicy::Always);
}

#[test]
fn with_syncs_at_intervals_a_crash_leaves_a_prefix() {
    // So long that only what cannot do without a sync has one.
    crash_everywhere(cases() / 4, SyncPolicy::Interval(60_000));
}

//! The machine crashes, at any write or sync of a disk that loses what was not synced; and the store loses answers and refuses
//! before that.

use std::collections::BTreeSet;
use std::sync::Arc;

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use tidegate_store::embedded::lossy_files::LossyFiles;
use tidegate_store::faulty::{CommitFault, On};
use tidegate_store::{CommitError, EmbeddedOptions, EmbeddedStore, FaultyStore, ManualClock};

use super::application::Disk;
use super::check::check;
use super::doubts::Book;
use super::expected::State;
use super::rounds::Rounds;
use super::site::{Stored, take_over};

/// How many directories crash; `TIDEGATE_RECOVERY_CASES` raises it.
const CASES: u64 = 40;
const CRASHES_PER_CASE: u64 = 3;
/// The last change of the disk at which it crashes: about as many as the rounds of one opening make.
const LAST_CHANGE: u64 = 900;
/// So many of the crashes hit a write or a sync, each another one; the others a disk that is at rest.
const AMID_PERCENT: u64 = 50;
const ROUNDS_PER_OPENING: usize = 60;
/// Commits that fail in an opening, and among how many.
const FAULTS: usize = 6;
const FAULTY_COMMITS: usize = 300;
/// More rounds than it takes until everything is dealt with.
const LAST_ROUNDS_MAX: usize = 3_000;
const NOW_MS: i64 = 1_772_000_000_000;

/// What has happened, over all cases.
#[derive(Clone, Copy, Debug, Default)]
struct Seen {
    /// Commits that nobody was told of.
    applied: usize,
    not_applied: usize,
    /// Records that were parked when the machine crashed.
    parked_over_crashes: usize,
    buried: usize,
    /// Records that had failed alone, and held their partition of batches up, when the machine crashed.
    noted_over_crashes: usize,
    buried_of_batches: usize,
    /// Dead letters that were sent back once more than they had to be.
    sent_back_twice: usize,
}

/// A directory, from its first opening on.
struct Case {
    seed: u64,
    rng: StdRng,
    clock: ManualClock,
    files: LossyFiles,
    book: Book,
    openings: u128,
}

impl Case {
    fn new(seed: u64) -> Self {
        Self {
            seed,
            rng: StdRng::seed_from_u64(seed),
            clock: ManualClock::at(NOW_MS),
            files: LossyFiles::new(),
            book: Book::new(seed),
            openings: 0,
        }
    }

    /// Opens a disk that may crash while it is opened, until it does not.
    fn open(&mut self) -> Disk {
        let store = loop {
            let mut options = EmbeddedOptions::new(Arc::new(self.clock.clone()));
            options.overlay_bytes = self.rng.random_range(4_000..60_000);
            options.journal_flush_bytes = self.rng.random_range(40_000..200_000);
            options.segment_bytes = self.rng.random_range(20_000..100_000);
            options.tree_cache_bytes = 1 << 20;
            match EmbeddedStore::open_lossy(&self.files, options) {
                Ok(store) => break store,
                Err(error) => {
                    assert!(self.files.is_crashed(), "{error}");
                    self.files = self.files.after_crash(&mut self.rng);
                }
            }
        };
        self.openings += 1;
        let mut nonce = self.openings << 64;
        FaultyStore::new(store, move || {
            nonce += 1;
            nonce
        })
    }

    /// Some commits of this opening fail.
    fn arm(&mut self, store: &Disk) {
        for _ in 0..FAULTS {
            let fault = match self.rng.random_range(0..4) {
                0 => CommitFault::LostApplied,
                1 => CommitFault::LostNotApplied,
                2 => CommitFault::Refused(CommitError::Conflict),
                _ => CommitFault::Refused(CommitError::Unavailable { reason: "a test".to_owned() }),
            };
            store.faults().fail_commit(On::nth(self.rng.random_range(0..FAULTY_COMMITS)), fault);
        }
    }

    /// Rounds until the disk crashes, or for a while.
    async fn work(&mut self, store: &Disk) {
        let mut rounds = Rounds::new(store, self.seed, &mut self.book);
        for _ in 0..ROUNDS_PER_OPENING {
            rounds.round(&mut self.rng, false).await;
            if self.files.is_crashed() {
                return;
            }
            let is_long = self.rng.random_bool(0.1);
            self.clock.advance(self.rng.random_range(0..if is_long { 1_000 } else { 30 }));
        }
    }

    /// Rounds until everything is dealt with.
    async fn finish(&mut self, store: &Disk) {
        let mut rounds = Rounds::new(store, self.seed, &mut self.book);
        for _ in 0..LAST_ROUNDS_MAX {
            if !rounds.round(&mut self.rng, true).await {
                let stored = Stored::read(store).await.expect("the store is there");
                if is_over(&stored) {
                    return;
                }
            }
            self.clock.advance(20);
        }
        panic!("it comes to an end");
    }

    /// Moves what is due, settles what is in doubt, and compares.
    async fn check(&mut self, store: &Disk) {
        for mut owner in take_over(store).await.expect("the store is there") {
            assert!(owner.drain(store).await, "the store is there");
        }
        let stored = Stored::read(store).await.expect("the store is there");
        stored.orders.values().for_each(|record| self.book.expected.read(record));
        self.book.settle(&stored);
        check(store, &self.book.expected, &stored).await;
    }
}

/// Whether nothing is left to do.
fn is_over(stored: &Stored) -> bool {
    let letters = i64::try_from(stored.letters.len()).expect("a few");
    stored.is_dealt_with() && stored.redriven == letters
}

/// Puts down the changes that the disk crashed at, too.
fn crash_and_recover(seed: u64, seen: &mut Seen, amid: &mut BTreeSet<(u64, u64)>) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().expect("a runtime");
    let mut case = Case::new(seed);
    for _ in 0..CRASHES_PER_CASE {
        case.files.crash_at(case.files.changes() + case.rng.random_range(1..LAST_CHANGE));
        let store = case.open();
        case.arm(&store);
        runtime.block_on(case.work(&store));
        drop(store);
        if case.files.is_crashed() {
            amid.insert((seed, case.files.changes()));
        }
        case.files = case.files.after_crash(&mut case.rng);
        let store = case.open();
        runtime.block_on(case.check(&store));
        drop(store);
        seen.parked_over_crashes += case.book.expected.parked();
        let filed = case.book.expected.filed.values();
        seen.noted_over_crashes += filed.filter(|filed| filed.front.noted.is_some()).count();
    }
    let store = case.open();
    runtime.block_on(async {
        case.finish(&store).await;
        case.check(&store).await;
    });
    let expected = &case.book.expected;
    assert_eq!(expected.parked(), 0, "nothing waits any more");
    assert!(
        expected.records.keys().all(|spot| !expected.is_fresh(*spot)),
        "everything was handled or buried"
    );
    let buried = expected.states.values().filter(|state| matches!(state, State::Buried { .. })).count();
    seen.buried += buried;
    seen.buried_of_batches += expected.filed.values().map(|filed| filed.buried.len()).sum::<usize>();
    seen.sent_back_twice += expected.sent_back.len() - buried;
    seen.applied += case.book.settled.applied;
    seen.not_applied += case.book.settled.not_applied;
}

/// As `TIDEGATE_RECOVERY_CASES` says, and never fewer than are promised.
fn cases() -> u64 {
    let asked = std::env::var("TIDEGATE_RECOVERY_CASES").ok();
    let cases = asked.map_or(CASES, |cases| cases.parse().expect("a number of cases"));
    assert!(cases >= CASES, "TIDEGATE_RECOVERY_CASES={cases}: tests/README.md promises {CASES}");
    cases
}

#[test]
fn whatever_the_crash_rows_indexes_logs_offsets_and_parked_keys_are_what_was_committed() {
    let cases = cases();
    let (mut seen, mut amid) = (Seen::default(), BTreeSet::new());
    for seed in 0..cases {
        println!("seed {seed}");
        crash_and_recover(seed, &mut seen, &mut amid);
    }
    println!("{seen:?}");
    let of_events = [seen.applied, seen.not_applied, seen.parked_over_crashes, seen.buried];
    let of_batches = [seen.noted_over_crashes, seen.buried_of_batches];
    assert!(!of_events.iter().chain(&of_batches).any(|count| *count == 0), "all of it happens: {seen:?}");
    let (amid, crashes) = (amid.len() as u64, cases * CRASHES_PER_CASE);
    assert!(amid * 100 >= crashes * AMID_PERCENT, "only {amid} of {crashes} crashes were amid a change");
}

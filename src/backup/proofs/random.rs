//! The histories, and what must hold of each copy.

use std::sync::Arc;

use proptest::collection::vec;
use proptest::prelude::*;
use tidegate_format::Kind;
use tidegate_store::{EmbeddedOptions, EmbeddedStore, ManualClock, MemoryStore, Store, Txn, Version};
use uuid::Uuid;

use super::world::{ACCOUNTS, BALANCE, Entries, NOW_MS, PARTITIONS, Step, World, entries_of};
use crate::{Compression, Decoder, Export, Part, Renewal, Restore, Summary};

fn step() -> impl Strategy<Value = Step> {
    let partition = || 0..usize::try_from(PARTITIONS).expect("a few");
    let due_in_ms = || 1..3_000_i64;
    prop_oneof![
        8 => (0..ACCOUNTS, 0..ACCOUNTS, 1..50_i64, proptest::option::of(due_in_ms())).prop_map(
            |(from, to, amount, due_in_ms)| Step::Transfer { from, to, amount, due_in_ms }
        ),
        2 => (0..4_u8, due_in_ms()).prop_map(|(name, due_in_ms)| Step::Remind { name, due_in_ms }),
        1 => (0..4_u8).prop_map(|name| Step::Cancel { name }),
        4 => (partition(), 1..5_usize).prop_map(|(partition, records)| Step::Produce { partition, records }),
        2 => (0..3_u8, partition()).prop_map(|(group, partition)| Step::CommitOffset { group, partition }),
        1 => (0..3_u8).prop_map(|group| Step::Rebalance { group }),
        5 => partition().prop_map(|partition| Step::Relay { partition }),
        1 => partition().prop_map(|partition| Step::TakeOver { partition }),
        2 => (any::<u8>(), 1..9_000_usize).prop_map(|(key, bytes)| Step::PutUser { key, bytes }),
        1 => any::<u8>().prop_map(|key| Step::DeleteUser { key }),
        4 => (1..1_000_i64).prop_map(|ms| Step::Advance { ms }),
    ]
}

/// A kind of store.
trait Backend {
    type Store: Store;

    /// An empty store whose versions come after a given one.
    fn create(clock: &ManualClock, versions_after: Version) -> (Self, Self::Store)
    where
        Self: Sized;

    /// How far the clock of a copy may be behind.
    const BEHIND_MS: i64;
}

struct InMemory;

impl Backend for InMemory {
    type Store = MemoryStore;
    const BEHIND_MS: i64 = -1;

    fn create(clock: &ManualClock, _: Version) -> (Self, MemoryStore) {
        (Self, MemoryStore::new(Arc::new(clock.clone())))
    }
}

/// With an overlay so small that the tree is written all the time.
struct Embedded(#[expect(dead_code, reason = "it goes with the test")] tempfile::TempDir);

impl Backend for Embedded {
    type Store = EmbeddedStore;
    const BEHIND_MS: i64 = 3_600_000;

    fn create(clock: &ManualClock, versions_after: Version) -> (Self, EmbeddedStore) {
        let directory = tempfile::tempdir().expect("a directory");
        let defaults = EmbeddedOptions::new(Arc::new(clock.clone()));
        let options =
            EmbeddedOptions { overlay_bytes: 16 << 10, segment_bytes: 1 << 20, versions_after, ..defaults };
        let store = EmbeddedStore::open(directory.path(), options).expect("nobody else has it");
        (Self(directory), store)
    }
}

/// What a copy must be: the store of one moment, but for what leaps.
fn renewed(moment: Entries) -> Entries {
    let mut renewal = Renewal::default();
    let mut expected = Entries::new();
    for (key, value) in moment {
        expected.extend(renewal.renew(key, value).expect("rows that decode"));
    }
    expected.extend(renewal.rest().expect("there are ids left"));
    expected
}

async fn read<S: Store>(file: &[u8], store: &S) -> Summary {
    let mut decoder = Decoder::new();
    decoder.feed(file);
    let mut restore = None;
    while let Some(part) = decoder.next_part().expect("it is whole") {
        match part {
            Part::Header(header) => {
                let begun = Restore::begin(store.clone(), &header, None, Uuid::from_u128(1)).await;
                restore = Some(begun.expect("an empty store"));
            }
            Part::Entries(entries) => {
                restore.as_mut().expect("the header came").write(entries).await.expect("it is written");
            }
            Part::End => {}
        }
    }
    restore.expect("the header came").finish().await.expect("it is written");
    decoder.finish().expect("it is whole")
}

async fn history<B: Backend>(before: Vec<Step>, during: Vec<Step>, piece_bytes: usize) {
    let clock = ManualClock::at(NOW_MS);
    let (_origin, store) = B::create(&clock, Version::default());
    let mut world = World::create(store, clock.clone()).await;
    for step in &before {
        world.take(step).await;
    }

    // A copy, with a step after each piece.
    let export = Export::begin(&world.store, Compression::Zstd, "").await.expect("it can be read");
    let mut export = export.in_steps_of(7, piece_bytes);
    let moment = entries_of(&world.store).await;
    let snapshot = export.header().snapshot;
    let mut during = during.iter();
    let mut file = Vec::new();
    while let Some(bytes) = export.next_bytes().await.expect("it can be read") {
        file.extend(bytes);
        if let Some(step) = during.next() {
            world.take(step).await;
        }
    }
    for step in during {
        world.take(step).await;
    }

    let elsewhere = ManualClock::at(clock_now(&world.store) - B::BEHIND_MS);
    let (_copy, store) = B::create(&elsewhere, snapshot);
    let summary = read(&file, &store).await;
    assert_eq!(summary.header.snapshot, snapshot);
    let mut restored = entries_of(&store).await;
    restored.retain(|key, _| Kind::of_key(key) != Some(Kind::FormatVersion));
    assert_eq!(restored, renewed(moment));

    // Its books are those of one moment, its logs are beginnings, and each event is in one place.
    let mut copy = World::open(store, elsewhere, i64::try_from(summary.entries).expect("a few")).await;
    let (transfers, balance) = copy.books().await;
    assert_eq!(balance, ACCOUNTS * BALANCE);
    for id in copy.partitions().collect::<Vec<_>>() {
        assert!(world.log(id).await.starts_with(&copy.log(id).await), "{id:?}");
    }
    let events = copy.events().await;
    assert_eq!(events.len(), transfers);
    assert!(events.values().all(|places| matches!(places, (1, 0) | (0, 1))), "{events:?}");

    // It goes on: what waited comes once, and versions come after those of the copy.
    copy.take(&Step::Transfer { from: 0, to: 1, amount: 1, due_in_ms: None }).await;
    copy.drain().await;
    let events = copy.events().await;
    assert_eq!(events.len(), transfers + 1);
    assert!(events.values().all(|places| *places == (1, 0)), "{events:?}");
    let newest = copy.store.begin().await.expect("it begins").start_version();
    assert!(newest > snapshot);
}

fn clock_now(store: &impl Store) -> i64 {
    store.now_ms()
}

fn block_on(history: impl Future<Output = ()>) {
    tokio::runtime::Builder::new_current_thread().enable_time().build().expect("a runtime").block_on(history);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn a_copy_taken_amid_writes_in_memory_is_one_moment_and_goes_on(
        before in vec(step(), 0..40),
        during in vec(step(), 0..60),
        piece_bytes in 50..2_000_usize,
    ) {
        block_on(history::<InMemory>(before, during, piece_bytes));
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn a_copy_taken_amid_writes_on_disk_is_one_moment_and_goes_on(
        before in vec(step(), 0..40),
        during in vec(step(), 0..60),
        piece_bytes in 50..2_000_usize,
    ) {
        block_on(history::<Embedded>(before, during, piece_bytes));
    }
}

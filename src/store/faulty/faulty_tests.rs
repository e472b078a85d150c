#![allow(clippy::unwrap_used)]

use std::sync::Arc;

use super::*;
use crate::{ManualClock, MemoryStore, TransactionLimits};

fn numbers(from: u128) -> impl FnMut() -> u128 + Send + 'static {
    let mut last = from;
    move || {
        last += 1;
        last
    }
}

fn store() -> FaultyStore<MemoryStore> {
    FaultyStore::new(MemoryStore::new(Arc::new(ManualClock::at(1_000))), numbers(0))
}

fn unavailable() -> ReadError {
    ReadError::Unavailable { reason: "for the test".to_owned() }
}

async fn txn_putting(store: &FaultyStore<MemoryStore>, key: &'static str) -> FaultyTxn<crate::MemoryTxn> {
    let mut txn = store.begin().await.unwrap();
    txn.put(key.into(), "1".into());
    txn
}

async fn get(store: &FaultyStore<MemoryStore>, key: &'static str) -> Option<Bytes> {
    store.begin().await.unwrap().get(key.as_bytes()).await.unwrap()
}

async fn inner_keys(store: &FaultyStore<MemoryStore>) -> usize {
    let mut txn = store.inner().begin().await.unwrap();
    let range = KeyRange::new(vec![0], vec![0xFF; 40]);
    txn.scan_keys(&range, usize::MAX, Direction::Forward).await.unwrap().len()
}

#[tokio::test]
async fn a_refused_commit_says_why_and_applies_nothing() {
    let store = store();
    for error in [
        CommitError::Conflict,
        CommitError::Unavailable { reason: "for the test".to_owned() },
        CommitError::DiskFull { reserve_bytes: 7 },
    ] {
        store.faults().fail_commit(On::next(), CommitFault::Refused(error.clone()));
        assert_eq!(txn_putting(&store, "k").await.commit().await, Err(error));
    }
    assert_eq!(inner_keys(&store).await, 0);
    txn_putting(&store, "k").await.commit().await.unwrap();
}

#[tokio::test]
async fn begins_and_reads_fail_when_it_is_their_turn() {
    let store = store();
    store.faults().fail_begin(On::nth(1), unavailable());
    let mut txn = store.begin().await.unwrap();
    assert_eq!(store.begin().await.err(), Some(unavailable()));
    store.begin().await.unwrap();
    let range = KeyRange::new("a", "c");
    store.faults().fail_read(On::nth(1).touching(range.clone()), unavailable());
    txn.get(b"c").await.unwrap();
    txn.get(b"a").await.unwrap();
    txn.get(b"c").await.unwrap();
    assert_eq!(txn.scan_keys(&KeyRange::new("b", "z"), 1, Direction::Forward).await, Err(unavailable()));
    txn.scan(&range, ScanLimit::count(1), Direction::Forward).await.unwrap();
    store.faults().fail_read(On::next(), ReadError::Damaged { place: "segment 1".to_owned() });
    let damaged = Err(ReadError::Damaged { place: "segment 1".to_owned() });
    assert_eq!(txn.get_many(&["a".into()]).await, damaged);
}

#[tokio::test]
async fn rules_for_one_kind_of_commit_do_not_count_the_others() {
    let store = store();
    let refused = || CommitFault::Refused(CommitError::Conflict);
    store.faults().fail_commit(On::nth(1).touching(KeyRange::prefix(b"b")), refused());
    store.begin().await.unwrap().commit().await.unwrap();
    for (key, commits) in [("a", true), ("b", true), ("a", true), ("b", false), ("b", true)] {
        assert_eq!(txn_putting(&store, key).await.commit().await.is_ok(), commits);
    }
    store.faults().fail_commit(On::nth(0), refused());
    store.faults().fail_commit(On::nth(2), refused());
    for commits in [false, true, false, true] {
        assert_eq!(txn_putting(&store, "k").await.commit().await.is_ok(), commits);
    }
}

#[tokio::test]
async fn a_transaction_held_before_its_begin_sees_what_is_committed_meanwhile() {
    for (point, seen) in [(Point::BeforeBegin, true), (Point::AfterBegin, false)] {
        let store = store();
        let mut gate = store.faults().hold(On::next(), point);
        let held = tokio::spawn({
            let store = store.clone();
            async move { get(&store, "k").await }
        });
        gate.reached().await;
        txn_putting(&store, "k").await.commit().await.unwrap();
        gate.release();
        assert_eq!(held.await.unwrap().is_some(), seen, "{point:?}");
    }
}

#[tokio::test]
async fn a_transaction_held_before_its_commit_has_applied_nothing_and_one_held_after_it_has() {
    for (point, applied) in [(Point::BeforeCommit, false), (Point::AfterCommit, true)] {
        let store = store();
        let mut gate = store.faults().hold(On::next().touching(KeyRange::prefix(b"k")), point);
        let held = tokio::spawn(txn_putting(&store, "k").await.commit());
        txn_putting(&store, "other").await.commit().await.unwrap();
        gate.reached().await;
        assert_eq!(get(&store, "k").await.is_some(), applied, "{point:?}");
        assert!(!held.is_finished());
        gate.release();
        held.await.unwrap().unwrap();
        assert!(get(&store, "k").await.is_some());
    }
}

#[tokio::test]
async fn a_dropped_gate_lets_go() {
    let store = store();
    drop(store.faults().hold(On::next(), Point::BeforeCommit));
    txn_putting(&store, "k").await.commit().await.unwrap();
    let mut gate = store.faults().hold(On::next(), Point::BeforeCommit);
    let held = tokio::spawn(txn_putting(&store, "k").await.commit());
    gate.reached().await;
    drop(gate);
    held.await.unwrap().unwrap();
}

#[tokio::test]
async fn a_transaction_overtaken_at_a_gate_conflicts() {
    let store = store();
    let mut gate = store.faults().hold(On::next(), Point::BeforeCommit);
    let held = tokio::spawn(txn_putting(&store, "k").await.commit());
    gate.reached().await;
    txn_putting(&store, "k").await.commit().await.unwrap();
    gate.release();
    assert_eq!(held.await.unwrap(), Err(CommitError::Conflict));
}

#[tokio::test]
async fn what_is_dropped_is_kept_until_the_safe_point_is_past_the_drop() {
    let store = store();
    txn_putting(&store, "k").await.commit().await.unwrap();
    let dropped_at = store.begin().await.unwrap().start_version();
    store.faults().set_safe_point(dropped_at);
    let range = KeyRange::prefix(b"k");
    assert_eq!(store.drop_range(range.clone(), dropped_at).await, Ok(Dropped::Later));
    assert_eq!(store.faults().take_kept(), [(range.clone(), dropped_at)]);
    assert!(get(&store, "k").await.is_some());
    store.faults().set_safe_point(dropped_at.next());
    assert_eq!(store.drop_range(range, dropped_at).await, Ok(Dropped::Now));
    assert_eq!((get(&store, "k").await, store.faults().take_kept()), (None, vec![]));
}

#[tokio::test]
async fn two_wrappers_over_one_store_fail_apart() {
    let one = store();
    let other = FaultyStore::new(one.inner().clone(), numbers(1 << 64));
    one.faults().go_away();
    txn_putting(&other, "k").await.commit().await.unwrap();
    assert!(one.begin().await.is_err());
    assert!(one.delete_range(KeyRange::prefix(b"k")).await.is_err());
    one.faults().come_back();
    assert!(get(&one, "k").await.is_some());
}

#[tokio::test]
async fn rows_of_answered_commits_do_not_pile_up() {
    let store = store();
    for _ in 0..200 {
        txn_putting(&store, "k").await.commit().await.unwrap();
    }
    assert!(inner_keys(&store).await <= 2, "{} keys", inner_keys(&store).await);
    // Overlapping transactions leave each other's rows alone.
    for _ in 0..20 {
        let open =
            [txn_putting(&store, "a").await, txn_putting(&store, "b").await, txn_putting(&store, "c").await];
        for txn in open {
            txn.commit().await.unwrap();
        }
    }
    let open = [txn_putting(&store, "k").await, txn_putting(&store, "k").await];
    let [first, second] = open;
    first.commit().await.unwrap();
    assert_eq!(second.commit().await, Err(CommitError::Conflict));
    txn_putting(&store, "k").await.commit().await.unwrap();
    assert!(inner_keys(&store).await <= 4 + 2, "{} keys", inner_keys(&store).await);
}

#[tokio::test]
#[should_panic(expected = "belong to the fault wrapper")]
async fn the_wrappers_own_keys_are_not_to_be_written() {
    store().begin().await.unwrap().put(RESERVED_KEYS_START.into(), "1".into());
}

/// The suite on the wrapper without faults.
mod conformance {
    use super::*;
    use crate::conformance::Backend;

    struct FaultyMemory {
        store: FaultyStore<MemoryStore>,
        clock: ManualClock,
    }

    impl Backend for FaultyMemory {
        type Store = FaultyStore<MemoryStore>;

        async fn create() -> Self {
            let clock = ManualClock::at(1_700_000_000_000);
            let memory = MemoryStore::new(Arc::new(clock.clone()));
            Self { store: FaultyStore::new(memory, numbers(0)), clock }
        }

        fn store(&self) -> &Self::Store {
            &self.store
        }

        fn clock(&self) -> &ManualClock {
            &self.clock
        }

        fn limits(&self) -> TransactionLimits {
            TransactionLimits::default()
        }
    }

    crate::conformance_tests!(FaultyMemory);
    crate::conformance_commit_order_tests!(FaultyMemory);
}

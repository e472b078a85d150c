#![allow(clippy::unwrap_used)]

use super::*;
use crate::ManualClock;

fn store() -> MemoryStore {
    MemoryStore::new(Arc::new(ManualClock::at(1_000)))
}

async fn put(store: &MemoryStore, key: &'static str, value: &'static str) {
    let mut txn = store.begin().await.unwrap();
    txn.put(key.into(), value.into());
    txn.commit().await.unwrap();
}

#[tokio::test]
async fn an_overwritten_version_is_dropped_when_no_snapshot_reads_it() {
    let store = store();
    put(&store, "k", "1").await;
    let mut reader = store.begin().await.unwrap();
    put(&store, "k", "2").await;
    put(&store, "k", "3").await;
    assert_eq!(store.kept_versions(), 3);
    assert_eq!(reader.get(b"k").await.unwrap().unwrap(), "1");
    drop(reader);
    assert_eq!(store.kept_versions(), 1);
}

#[tokio::test]
async fn a_removed_key_leaves_nothing_behind() {
    let store = store();
    put(&store, "k", "1").await;
    let mut txn = store.begin().await.unwrap();
    txn.delete("k".into());
    txn.delete("never there".into());
    txn.guard("only guarded".into());
    txn.commit().await.unwrap();
    assert_eq!(store.kept_versions(), 0);
    assert!(store.shared.state().histories.is_empty());
}

#[tokio::test]
async fn what_an_open_transaction_needs_to_see_a_conflict_is_kept() {
    let store = store();
    let mut slow = store.begin().await.unwrap();
    let mut quick = store.begin().await.unwrap();
    quick.delete("k".into());
    quick.guard("g".into());
    quick.commit().await.unwrap();
    slow.put("k".into(), "1".into());
    assert_eq!(slow.commit().await, Err(CommitError::Conflict));
    assert!(store.shared.state().histories.is_empty());
}

#[tokio::test]
async fn a_snapshot_that_is_only_read_holds_up_no_time() {
    let clock = ManualClock::at(1_000_000);
    let store = MemoryStore::new(Arc::new(clock.clone()));
    let reader = store.begin_reading().await.unwrap();
    clock.advance(5_000);
    assert_eq!(store.oldest_open_ms(), clock.now_ms());
    let writer = store.begin().await.unwrap();
    clock.advance(5_000);
    assert_eq!(store.oldest_open_ms(), clock.now_ms() - 5_000);
    drop((reader, writer));
    assert_eq!(store.oldest_open_ms(), clock.now_ms());
}

/// The suite on the store as it is.
mod conformance {
    use super::*;
    use crate::conformance::Backend;

    struct Memory {
        store: MemoryStore,
        clock: ManualClock,
    }

    impl Backend for Memory {
        type Store = MemoryStore;

        async fn create() -> Self {
            let clock = ManualClock::at(1_700_000_000_000);
            Self { store: MemoryStore::new(Arc::new(clock.clone())), clock }
        }

        fn store(&self) -> &MemoryStore {
            &self.store
        }

        fn clock(&self) -> &ManualClock {
            &self.clock
        }

        fn limits(&self) -> TransactionLimits {
            TransactionLimits::default()
        }
    }

    crate::conformance_tests!(Memory);
    crate::conformance_unknown_outcome_tests!(Memory);
    crate::conformance_commit_order_tests!(Memory);
}

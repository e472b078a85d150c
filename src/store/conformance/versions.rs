//! Order versions: what `put_versioned` writes, and how versions rise.

use bytes::Bytes;

use crate::conformance::Backend;
use crate::conformance::steps::{
    begin, commit, entries_now, everything, get, keys_now, number, put, scan, scan_keys, text,
    until_committed,
};
use crate::{Direction, KeyRange, Txn, Version};

/// The key that a versioned put of `version` has.
pub(super) fn versioned_key(prefix: &[u8], version: Version, suffix: &[u8]) -> Bytes {
    [prefix, &version.0.to_be_bytes(), suffix].concat().into()
}

/// Prefix, version as 8 bytes big endian, suffix; and the version is the one that commit returns.
pub async fn a_versioned_key_holds_the_version_of_its_commit<B: Backend>(backend: B) {
    let store = backend.store();
    for suffix in ["", "suffix"] {
        let mut txn = begin(store).await;
        let start_version = txn.start_version();
        txn.put_versioned(text("prefix"), text(suffix), text("value"));
        let version = commit(txn).await.version;
        assert!(version > start_version);
        let key = versioned_key(b"prefix", version, suffix.as_bytes());
        assert_eq!(begin(store).await.get(&key).await, Ok(Some(text("value"))));
    }
    assert_eq!(keys_now(store, &KeyRange::prefix(b"prefix")).await.len(), 2);
}

/// Entries of one transaction keep the order of their suffixes, and lie beside its ordinary writes.
pub async fn one_transaction_has_one_version<B: Backend>(backend: B) {
    let store = backend.store();
    let mut txn = begin(store).await;
    txn.put(text("a"), text("plain"));
    for (prefix, suffix) in [("p", "2"), ("p", "1"), ("q", "1")] {
        txn.put_versioned(text(prefix), text(suffix), text(suffix));
    }
    let version = commit(txn).await.version;
    let expected = [
        (text("a"), text("plain")),
        (versioned_key(b"p", version, b"1"), text("1")),
        (versioned_key(b"p", version, b"2"), text("2")),
        (versioned_key(b"q", version, b"1"), text("1")),
    ];
    assert_eq!(entries_now(store, &everything()).await, expected);
}

/// Higher than its own snapshot, and than all that it contains.
pub async fn a_later_transaction_has_a_higher_version<B: Backend>(backend: B) {
    let store = backend.store();
    let mut last = Version::default();
    for _ in 0..100 {
        let mut txn = begin(store).await;
        assert!(txn.start_version() >= last, "{:?} does not contain {last:?}", txn.start_version());
        txn.put_versioned(text("p"), text(""), text("1"));
        let start_version = txn.start_version();
        let version = commit(txn).await.version;
        assert!(version > last && version > start_version);
        last = version;
    }
}

/// Not at the begin: a transaction that began first and commits last comes last.
pub async fn the_version_is_taken_at_commit<B: Backend>(backend: B) {
    let store = backend.store();
    let mut slow = begin(store).await;
    slow.put_versioned(text("p"), text(""), text("slow"));
    backend.clock().advance(1_000);
    let mut quick = begin(store).await;
    quick.put_versioned(text("p"), text(""), text("quick"));
    let quick = commit(quick).await.version;
    assert!(commit(slow).await.version > quick);
    let values = entries_now(store, &everything()).await.into_iter().map(|(_, value)| value);
    assert_eq!(values.collect::<Vec<_>>(), ["quick", "slow"]);
}

/// Versions order; they do not need a clock that goes on.
pub async fn a_clock_that_stands_still_or_goes_back_does_not_stop_versions<B: Backend>(backend: B) {
    let store = backend.store();
    let mut last = Version::default();
    for _ in 0..3 {
        for _ in 0..10 {
            let version = put(store, "k", "1").await;
            assert!(version > last);
            last = version;
        }
        backend.clock().advance(-3_600_000);
    }
}

/// Many transactions may put under the same prefix and suffix at once.
pub async fn versioned_writes_do_not_conflict<B: Backend>(backend: B) {
    const TASKS: usize = 40;
    let store = backend.store();
    let mut open = Vec::new();
    for _ in 0..TASKS {
        let mut txn = begin(store).await;
        txn.put_versioned(text("p"), text("s"), text("1"));
        open.push(txn);
    }
    let committing: Vec<_> = open.into_iter().map(|txn| tokio::spawn(txn.commit())).collect();
    let mut keys = Vec::new();
    for task in committing {
        let committed = task.await.expect("the task ends").expect("no conflict");
        keys.push(versioned_key(b"p", committed.version, b"s"));
    }
    keys.sort();
    assert_eq!(keys_now(store, &everything()).await, keys);
}

/// Their keys are not known yet.
pub async fn own_versioned_writes_are_not_seen<B: Backend>(backend: B) {
    let store = backend.store();
    let mut txn = begin(store).await;
    txn.put_versioned(text("p"), text(""), text("1"));
    assert_eq!(get(&mut txn, "p").await, None);
    assert_eq!(scan(&mut txn, &everything(), 10, Direction::Forward).await, []);
    assert_eq!(scan_keys(&mut txn, &everything(), 10, Direction::Backward).await, [] as [Bytes; 0]);
    commit(txn).await;
    assert_eq!(keys_now(store, &everything()).await.len(), 1);
}

/// Each of these transactions read what the one before it wrote: so they lie in that order under the prefix.
pub async fn dependent_transactions_stay_in_order_under_concurrency<B: Backend>(backend: B) {
    const TASKS: usize = 8;
    const ROUNDS: usize = 25;
    let store = backend.store();
    let step = |store: B::Store| async move {
        let mut txn = begin(&store).await;
        let count = number(get(&mut txn, "count").await.as_ref()) + 1;
        tokio::task::yield_now().await;
        txn.put(text("count"), text(count.to_string()));
        txn.put_versioned(text("log"), text(""), text(count.to_string()));
        txn.commit().await
    };
    let tasks: Vec<_> = (0..TASKS)
        .map(|_| {
            let store = store.clone();
            tokio::spawn(async move {
                for _ in 0..ROUNDS {
                    until_committed(|| step(store.clone())).await;
                }
            })
        })
        .collect();
    for task in tasks {
        task.await.expect("the task ends");
    }
    let log = entries_now(store, &KeyRange::prefix(b"log")).await;
    let counts: Vec<_> = log.iter().map(|(_, value)| number(Some(value))).collect();
    let expected: Vec<_> = (1..).take(TASKS * ROUNDS).collect();
    assert_eq!(counts, expected);
}

//! For backends whose order versions are their commit order, and which make them by their own clock: a snapshot holds
//! exactly the commits up to its version.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use crate::conformance::Backend;
use crate::conformance::steps::{begin, commit, everything, keys_now, number, put, scan, scan_keys, text};
use crate::{Clock, CommitError, Direction, KeyRange, Store, Txn, Version};

/// A reader that goes on from the last versioned key it saw misses none, while many write: what a relay rests on.
pub async fn nothing_appears_behind_what_was_seen<B: Backend>(backend: B) {
    const TASKS: usize = 6;
    const ROUNDS: usize = 60;
    let store = backend.store();
    let tasks: Vec<_> = (0..TASKS)
        .map(|_| {
            let store = store.clone();
            tokio::spawn(async move {
                for _ in 0..ROUNDS {
                    let mut txn = begin(&store).await;
                    txn.put_versioned(text("p"), text(""), text("1"));
                    tokio::task::yield_now().await;
                    commit(txn).await;
                }
            })
        })
        .collect();
    let mut seen = Vec::new();
    let mut rest = KeyRange::prefix(b"p");
    while seen.len() < TASKS * ROUNDS {
        let page = scan_keys(&mut begin(store).await, &rest, 7, Direction::Forward).await;
        if let Some(last) = page.last() {
            rest.start = KeyRange::successor(last);
        }
        let writers_ended = page.is_empty() && tasks.iter().all(tokio::task::JoinHandle::is_finished);
        if writers_ended && keys_now(store, &rest).await.is_empty() {
            break;
        }
        seen.extend(page);
        tokio::task::yield_now().await;
    }
    for task in tasks {
        task.await.expect("the task ends");
    }
    assert_eq!(seen, keys_now(store, &everything()).await);
}

/// When the clock goes forward they follow it.
pub async fn versions_carry_the_time_of_the_commit<B: Backend>(backend: B) {
    let store = backend.store();
    for _ in 0..3 {
        backend.clock().advance(10_000);
        // Not the store's own time: where that comes over a network it goes on between two looks at it.
        assert_eq!(put(store, "k", "1").await.unix_ms(), backend.clock().now_ms());
    }
}

/// A transaction that committed, as its own task saw it.
struct Record {
    start_version: Version,
    version: Version,
    snapshot: BTreeMap<Bytes, i64>,
    written: BTreeMap<Bytes, Option<i64>>,
}

/// Tasks write at random; afterwards every snapshot is the sum of the commits up to its version, and of two
/// transactions that wrote one key, one began after the other had committed.
pub async fn histories_of_concurrent_transactions_are_snapshot_isolated<B: Backend>(backend: B) {
    const TASKS: u64 = 6;
    const ROUNDS: usize = 60;
    let store = backend.store();
    let tasks: Vec<_> =
        (0..TASKS).map(|task| tokio::spawn(write_at_random(store.clone(), task, ROUNDS))).collect();
    let mut records = Vec::new();
    for task in tasks {
        records.extend(task.await.expect("the task ends"));
    }
    assert!(records.len() >= ROUNDS, "most of {TASKS} * {ROUNDS} transactions conflicted");
    records.sort_by_key(|record| record.version);
    let versions: BTreeSet<_> = records.iter().map(|record| record.version).collect();
    assert_eq!(versions.len(), records.len(), "two commits have one version");
    for record in &records {
        let mut state = BTreeMap::new();
        for earlier in records.iter().filter(|other| other.version <= record.start_version) {
            for (key, value) in &earlier.written {
                match value {
                    Some(value) => state.insert(key.clone(), *value),
                    None => state.remove(key),
                };
            }
        }
        assert_eq!(record.snapshot, state, "the snapshot of {:?}", record.start_version);
        let overlaps =
            |other: &&Record| record.start_version < other.version && other.version < record.version;
        for other in records.iter().filter(overlaps) {
            assert!(record.written.keys().all(|key| !other.written.contains_key(key)), "a lost update");
        }
    }
}

async fn write_at_random(store: impl Store, task: u64, rounds: usize) -> Vec<Record> {
    let mut random = StdRng::seed_from_u64(task);
    let mut value = i64::try_from(task).expect("few tasks") * 1_000_000;
    let mut records = Vec::new();
    for _ in 0..rounds {
        let mut txn = begin(&store).await;
        let start_version = txn.start_version();
        if random.random_bool(0.5) {
            tokio::task::yield_now().await;
        }
        let entries = scan(&mut txn, &everything(), usize::MAX, Direction::Forward).await;
        let snapshot = entries.into_iter().map(|(key, value)| (key, number(Some(&value)))).collect();
        let mut written = BTreeMap::new();
        for _ in 0..random.random_range(1..4) {
            let key = text(format!("k{:02}", random.random_range(0..20)));
            value += 1;
            if random.random_bool(0.25) {
                txn.delete(key.clone());
                written.insert(key, None);
            } else {
                txn.put(key.clone(), text(value.to_string()));
                written.insert(key, Some(value));
            }
        }
        match txn.commit().await {
            Ok(committed) => {
                records.push(Record { start_version, version: committed.version, snapshot, written });
            }
            Err(error) => assert_eq!(error, CommitError::Conflict),
        }
    }
    records
}

//! What a durable store still has when it is opened again.

use bytes::Bytes;

use crate::conformance::DurableBackend;
use crate::conformance::steps::{
    begin, commit, delete, entries, entries_now, everything, keys_now, now, put, put_all, text, value_of,
};
use crate::conformance::unknown_outcome::nonces;
use crate::faulty::{CommitFault, FaultyStore, On};
use crate::{CommitError, KeyRange, Outcome, Store, Txn, Version};

/// Small and big values, overwritten and removed ones, versioned keys.
pub async fn everything_committed_is_there_again<B: DurableBackend>(backend: B) {
    let store = backend.store();
    put_all(store, (0..1_000).map(|at| (format!("small {at:03}"), format!("{at}")))).await;
    put_all(store, (0..1_000).step_by(7).map(|at| (format!("small {at:03}"), "again"))).await;
    for at in 0..10 {
        delete(store, &format!("small {:03}", at * 10)).await;
        let mut txn = begin(store).await;
        txn.put(text(format!("big {at}")), value_of(100_000, at));
        txn.put_versioned(text("versioned"), text("s"), value_of(10, at));
        txn.put_versioned(text("versioned big"), text("s"), value_of(5_000, at));
        commit(txn).await;
    }
    let before = entries_now(store, &everything()).await;
    assert_eq!(before.len(), 1_000 - 10 + 30);
    let backend = backend.reopen().await;
    assert!(entries_now(backend.store(), &everything()).await == before);
}

/// Neither what was dropped nor what is still open.
pub async fn what_was_not_committed_is_not<B: DurableBackend>(backend: B) {
    let store = backend.store();
    put(store, "k", "1").await;
    let mut open = begin(store).await;
    open.put(text("open"), text("1"));
    let mut conflicting = begin(store).await;
    conflicting.put(text("k"), text("2"));
    conflicting.put(text("conflicting"), value_of(10_000, 1));
    put(store, "k", "3").await;
    assert_eq!(conflicting.commit().await, Err(CommitError::Conflict));
    drop(open);
    let backend = backend.reopen().await;
    assert_eq!(entries_now(backend.store(), &everything()).await, entries([("k", "3")]));
}

/// Even when the clock has gone back meanwhile.
pub async fn versions_go_on_rising<B: DurableBackend>(mut backend: B) {
    let mut last = Version::default();
    for _ in 0..4 {
        for _ in 0..3 {
            let mut txn = begin(backend.store()).await;
            assert!(txn.start_version() >= last);
            txn.put_versioned(text("p"), text(""), text("1"));
            let version = commit(txn).await.version;
            assert!(version > last);
            last = version;
        }
        backend.clock().advance(-60_000);
        backend = backend.reopen().await;
    }
    assert_eq!(keys_now(backend.store(), &everything()).await.len(), 12);
}

/// It was durable when the call returned.
pub async fn a_removed_range_stays_removed<B: DurableBackend>(backend: B) {
    let store = backend.store();
    put_all(store, (0..1_500).map(|at| (format!("p{at:04}"), "1"))).await;
    put(store, "q", "1").await;
    store.delete_range(KeyRange::prefix(b"p")).await.expect("the range is removed");
    put(store, "p0007", "new").await;
    let backend = backend.reopen().await;
    let expected = entries([("p0007", "new"), ("q", "1")]);
    assert_eq!(entries_now(backend.store(), &everything()).await, expected);
}

/// The store is the same store as before.
pub async fn conflicts_are_seen_after_reopening<B: DurableBackend>(backend: B) {
    put(backend.store(), "k", "1").await;
    let backend = backend.reopen().await;
    let store = backend.store();
    let mut first = begin(store).await;
    let mut second = begin(store).await;
    first.put(text("k"), text("first"));
    second.put(text("k"), text("second"));
    second.guard(text("g"));
    commit(first).await;
    assert_eq!(second.commit().await, Err(CommitError::Conflict));
    assert_eq!(now(store, "k").await, Some(text("first")));
}

/// With writes in between, and without.
pub async fn a_store_reopened_many_times_keeps_everything<B: DurableBackend>(mut backend: B) {
    let mut expected: Vec<(Bytes, Bytes)> = Vec::new();
    for round in 0..12 {
        if round % 3 != 2 {
            let len = if round % 2 == 0 { 8 } else { 20_000 };
            let (key, value) = (text(format!("k{round:02}")), value_of(len, round));
            let mut txn = begin(backend.store()).await;
            txn.put(key.clone(), value.clone());
            txn.put(text("z"), text(round.to_string()));
            commit(txn).await;
            expected.retain(|(key, _)| *key != "z");
            expected.extend([(key, value), (text("z"), text(round.to_string()))]);
        }
        backend = backend.reopen().await;
        assert!(entries_now(backend.store(), &everything()).await == expected, "round {round}");
    }
}

/// Whoever kept the token can ask for as long as he likes, also the one who has it from the backend itself.
pub async fn what_became_of_a_commit_is_known_after_reopening<B: DurableBackend>(mut backend: B) {
    let mut tokens = Vec::new();
    for round in 0..3 {
        let store = FaultyStore::new(backend.store().clone(), nonces());
        for (fault, outcome) in [
            (CommitFault::LostApplied, Outcome::Applied),
            (CommitFault::LostNotApplied, Outcome::NotApplied),
            (CommitFault::LostLate, Outcome::NotApplied),
        ] {
            store.faults().fail_commit(On::next(), fault);
            let mut txn = begin(&store).await;
            let key = format!("{round} {outcome:?}");
            txn.put(text(&key), text("1"));
            let Err(CommitError::Unknown { token }) = txn.commit().await else { panic!("it was lost") };
            tokens.push((key, token, outcome));
        }
        drop(store);
        backend = backend.reopen().await;
        backend.clock().advance(-1_000);
        let store = FaultyStore::new(backend.store().clone(), nonces());
        for (key, token, outcome) in &tokens {
            assert_eq!(store.outcome(token).await, Ok(*outcome), "{key}");
            assert_eq!(now(&store, key).await.is_some(), *outcome == Outcome::Applied, "{key}");
        }
    }
}

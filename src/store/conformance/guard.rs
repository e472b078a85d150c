//! What is only read can be guarded: of a transaction that guards a key and one that writes it, overlapping, at most one
//! commits.

use crate::conformance::Backend;
use crate::conformance::steps::{
    begin, commit, delete, entries, entries_now, everything, get, now, put, put_all, text, until_committed,
};
use crate::{CommitError, Committed, Store, Txn};

/// Takes one doctor off call if the other is on call.
async fn go_off_call(txn: &mut impl Txn, doctor: &str, other: &str, guarded: bool) -> bool {
    if get(txn, other).await != Some(text("on call")) {
        return false;
    }
    txn.put(text(doctor), text("off"));
    if guarded {
        txn.guard(text(other));
    }
    true
}

/// Snapshot isolation allows it: if this fails, the store checks more than it promises, and guards prove nothing.
pub async fn without_a_guard_write_skew_happens<B: Backend>(backend: B) {
    let store = backend.store();
    put_all(store, [("alice", "on call"), ("bob", "on call")]).await;
    let mut first = begin(store).await;
    let mut second = begin(store).await;
    assert!(go_off_call(&mut first, "alice", "bob", false).await);
    assert!(go_off_call(&mut second, "bob", "alice", false).await);
    commit(first).await;
    commit(second).await;
    assert_eq!(entries_now(store, &everything()).await, entries([("alice", "off"), ("bob", "off")]));
}

/// The same two transactions with guards.
pub async fn guards_prevent_write_skew<B: Backend>(backend: B) {
    let store = backend.store();
    put_all(store, [("alice", "on call"), ("bob", "on call")]).await;
    let mut first = begin(store).await;
    let mut second = begin(store).await;
    assert!(go_off_call(&mut first, "alice", "bob", true).await);
    assert!(go_off_call(&mut second, "bob", "alice", true).await);
    commit(first).await;
    assert_eq!(second.commit().await, Err(CommitError::Conflict));
    assert_eq!(entries_now(store, &everything()).await, entries([("alice", "off"), ("bob", "on call")]));
}

/// Whichever commits first; so it is enough that one of the two guards.
pub async fn of_a_guard_and_a_write_at_most_one_commits<B: Backend>(backend: B) {
    let store = backend.store();
    put(store, "parent", "1").await;
    for writer_deletes in [false, true] {
        for guard_first in [false, true] {
            let mut guarding = begin(store).await;
            guarding.guard(text("parent"));
            guarding.put(text("child"), text("1"));
            let mut writing = begin(store).await;
            if writer_deletes {
                writing.delete(text("parent"));
            } else {
                writing.put(text("parent"), text("2"));
            }
            let loser = if guard_first {
                commit(guarding).await;
                writing.commit().await
            } else {
                commit(writing).await;
                guarding.commit().await
            };
            assert_eq!(loser, Err(CommitError::Conflict), "deletes: {writer_deletes}, first: {guard_first}");
            put(store, "parent", "1").await;
        }
    }
}

/// A guard is on the key, whether or not it is there.
pub async fn a_guarded_key_that_appears_or_goes_conflicts<B: Backend>(backend: B) {
    let store = backend.store();
    put(store, "goes", "1").await;
    for (key, other) in [("appears", Some("1")), ("goes", None)] {
        let mut guarding = begin(store).await;
        guarding.guard(text(key));
        guarding.put(text("written"), text("1"));
        match other {
            Some(value) => drop(put(store, key, value).await),
            None => delete(store, key).await,
        }
        assert_eq!(guarding.commit().await, Err(CommitError::Conflict), "{key}");
    }
    assert_eq!(now(store, "written").await, None);
}

/// A transaction that only guards is a check.
pub async fn a_guard_without_writes_is_checked<B: Backend>(backend: B) {
    let store = backend.store();
    let mut passes = begin(store).await;
    passes.guard(text("k"));
    put(store, "other", "1").await;
    commit(passes).await;
    let mut fails = begin(store).await;
    fails.guard(text("k"));
    put(store, "k", "1").await;
    assert_eq!(fails.commit().await, Err(CommitError::Conflict));
}

/// A guard is not seen by reads, and does not make a key.
pub async fn a_guard_changes_nothing<B: Backend>(backend: B) {
    let store = backend.store();
    put(store, "k", "1").await;
    let mut txn = begin(store).await;
    txn.guard(text("k"));
    txn.guard(text("not there"));
    assert_eq!(get(&mut txn, "k").await, Some(text("1")));
    assert_eq!(get(&mut txn, "not there").await, None);
    commit(txn).await;
    assert_eq!(entries_now(store, &everything()).await, entries([("k", "1")]));
}

/// In whatever order they were asked for.
pub async fn a_guard_on_a_key_that_is_written_too_is_a_write<B: Backend>(backend: B) {
    let store = backend.store();
    for guard_first in [false, true] {
        let write = |txn: &mut <B::Store as Store>::Txn| {
            if guard_first {
                txn.guard(text("k"));
            }
            txn.put(text("k"), text("mine"));
            txn.guard(text("k"));
        };
        let mut passes = begin(store).await;
        write(&mut passes);
        commit(passes).await;
        assert_eq!(now(store, "k").await, Some(text("mine")));
        let mut fails = begin(store).await;
        write(&mut fails);
        put(store, "k", "other").await;
        assert_eq!(fails.commit().await, Err(CommitError::Conflict));
    }
}

/// A guard is over when its transaction is.
pub async fn guards_one_after_the_other_do_not_conflict<B: Backend>(backend: B) {
    let store = backend.store();
    for round in 0..5 {
        let mut guarding = begin(store).await;
        guarding.guard(text("k"));
        guarding.put(text("written"), text(round.to_string()));
        commit(guarding).await;
        if round % 2 == 0 {
            put(store, "k", &round.to_string()).await;
        }
    }
    let mut dropped = begin(store).await;
    dropped.guard(text("k"));
    let mut writing = begin(store).await;
    writing.put(text("k"), text("1"));
    drop(dropped);
    commit(writing).await;
}

/// One of the doctors is on call at any time, however many transactions try otherwise.
pub async fn guards_keep_an_invariant_under_concurrency<B: Backend>(backend: B) {
    const ROUNDS: usize = 60;
    let store = backend.store();
    put_all(store, [("alice", "on call"), ("bob", "on call")]).await;
    let tasks = [("alice", "bob"), ("bob", "alice")].into_iter().cycle().take(4).map(|(doctor, other)| {
        let store = store.clone();
        tokio::spawn(async move {
            for _ in 0..ROUNDS {
                until_committed(|| leave(store.clone(), doctor, other)).await;
                until_committed(|| come_back(store.clone(), doctor)).await;
            }
        })
    });
    for task in tasks.collect::<Vec<_>>() {
        task.await.expect("the task ends");
    }
}

async fn leave<S: Store>(
    store: S,
    doctor: &'static str,
    other: &'static str,
) -> Result<Committed, CommitError> {
    let mut txn = begin(&store).await;
    let on_call = [get(&mut txn, "alice").await, get(&mut txn, "bob").await];
    assert!(on_call.contains(&Some(text("on call"))), "nobody is on call");
    go_off_call(&mut txn, doctor, other, true).await;
    tokio::task::yield_now().await;
    txn.commit().await
}

async fn come_back<S: Store>(store: S, doctor: &'static str) -> Result<Committed, CommitError> {
    let mut txn = begin(&store).await;
    txn.put(text(doctor), text("on call"));
    txn.commit().await
}

//! Of two overlapping transactions that write one key, the first to commit wins, and the other leaves nothing.

use bytes::Bytes;

use crate::conformance::Backend;
use crate::conformance::steps::{
    begin, commit, delete, entries, entries_now, everything, get, now, number, put, put_all, text,
    until_committed,
};
use crate::{CommitError, Txn};

/// No lost updates.
pub async fn the_second_of_two_writers_conflicts<B: Backend>(backend: B) {
    let store = backend.store();
    put(store, "k", "1").await;
    let mut first = begin(store).await;
    let mut second = begin(store).await;
    assert_eq!(get(&mut first, "k").await, get(&mut second, "k").await);
    second.put(text("k"), text("second"));
    first.put(text("k"), text("first"));
    commit(first).await;
    assert_eq!(second.commit().await, Err(CommitError::Conflict));
    assert_eq!(now(store, "k").await, Some(text("first")));
}

/// A write conflicts without a read, whether it puts or deletes, and whether there was anything to delete.
pub async fn blind_writes_conflict<B: Backend>(backend: B) {
    let store = backend.store();
    let apply = |txn: &mut <B::Store as crate::Store>::Txn, key: &Bytes, value: Option<&str>| match value {
        Some(value) => txn.put(key.clone(), text(value)),
        None => txn.delete(key.clone()),
    };
    let cases = [(Some("1"), Some("2")), (Some("1"), None), (None, Some("2")), (None, None)];
    for (case, (of_first, of_second)) in cases.into_iter().enumerate() {
        for existed in [false, true] {
            let key = text(format!("k{case}{existed}"));
            if existed {
                put(store, &format!("k{case}{existed}"), "0").await;
            }
            let mut first = begin(store).await;
            let mut second = begin(store).await;
            apply(&mut first, &key, of_first);
            apply(&mut second, &key, of_second);
            commit(first).await;
            assert_eq!(second.commit().await, Err(CommitError::Conflict), "case {case}, existed: {existed}");
        }
    }
}

/// Conflicts are of keys, not of ranges, stores or neighbours.
pub async fn writers_of_different_keys_do_not_conflict<B: Backend>(backend: B) {
    let store = backend.store();
    let keys = ["k", "k\0", "kk", "l"];
    let mut open = Vec::new();
    for key in keys {
        let mut txn = begin(store).await;
        txn.put(text(key), text(key));
        open.push(txn);
    }
    for txn in open {
        commit(txn).await;
    }
    assert_eq!(entries_now(store, &everything()).await, entries(keys.map(|key| (key, key))));
}

/// All or nothing.
pub async fn nothing_of_a_conflicting_transaction_is_applied<B: Backend>(backend: B) {
    let store = backend.store();
    put_all(store, [("a", "1"), ("b", "1"), ("c", "1")]).await;
    let mut txn = begin(store).await;
    txn.put(text("a"), text("2"));
    txn.put(text("b"), text("2"));
    txn.delete(text("c"));
    txn.put(text("d"), text("2"));
    txn.put_versioned(text("e"), text(""), text("2"));
    put(store, "b", "other").await;
    assert_eq!(txn.commit().await, Err(CommitError::Conflict));
    let expected = entries([("a", "1"), ("b", "other"), ("c", "1")]);
    assert_eq!(entries_now(store, &everything()).await, expected);
}

/// Conflicts are with what a snapshot lacks, not with what it has.
pub async fn a_transaction_that_began_after_a_commit_does_not_conflict_with_it<B: Backend>(backend: B) {
    let store = backend.store();
    let mut early = begin(store).await;
    early.put(text("other"), text("1"));
    for round in 0..20 {
        put(store, "k", &round.to_string()).await;
    }
    delete(store, "k").await;
    put(store, "k", "again").await;
    commit(early).await;
    assert_eq!(now(store, "k").await, Some(text("again")));
}

/// Only commits conflict: not what was dropped, nor what conflicted itself.
pub async fn an_aborted_transaction_conflicts_with_nobody<B: Backend>(backend: B) {
    let store = backend.store();
    let mut survivor = begin(store).await;
    survivor.put(text("k"), text("survivor"));
    let mut dropped = begin(store).await;
    dropped.put(text("k"), text("dropped"));
    drop(dropped);
    let mut conflicting = begin(store).await;
    conflicting.put(text("k"), text("conflicting"));
    conflicting.put(text("x"), text("conflicting"));
    put(store, "x", "1").await;
    assert_eq!(conflicting.commit().await, Err(CommitError::Conflict));
    commit(survivor).await;
    assert_eq!(now(store, "k").await, Some(text("survivor")));
}

/// Snapshot isolation: reads are not checked.
pub async fn what_is_only_read_does_not_conflict<B: Backend>(backend: B) {
    let store = backend.store();
    put(store, "read", "1").await;
    let mut txn = begin(store).await;
    assert_eq!(get(&mut txn, "read").await, Some(text("1")));
    txn.put(text("written"), text("1"));
    put(store, "read", "2").await;
    commit(txn).await;
}

/// A key that looks as before has still been written.
pub async fn a_value_that_was_changed_and_put_back_conflicts<B: Backend>(backend: B) {
    let store = backend.store();
    put(store, "there", "1").await;
    let mut put_back = begin(store).await;
    put_back.put(text("there"), text("mine"));
    let mut gone_again = begin(store).await;
    gone_again.put(text("not there"), text("mine"));
    put(store, "there", "2").await;
    put(store, "there", "1").await;
    put(store, "not there", "1").await;
    delete(store, "not there").await;
    assert_eq!(put_back.commit().await, Err(CommitError::Conflict));
    assert_eq!(gone_again.commit().await, Err(CommitError::Conflict));
    assert_eq!(entries_now(store, &everything()).await, entries([("there", "1")]));
}

/// However many commit at the same time.
pub async fn of_many_writers_of_one_snapshot_one_commits<B: Backend>(backend: B) {
    const WRITERS: usize = 32;
    let store = backend.store();
    for round in 0..10 {
        let mut open = Vec::new();
        for writer in 0..WRITERS {
            let mut txn = begin(store).await;
            txn.put(text("contended"), text(writer.to_string()));
            txn.put(text(format!("{round} by {writer:02}")), text("1"));
            open.push(txn);
        }
        let committing: Vec<_> = open.into_iter().map(|txn| tokio::spawn(txn.commit())).collect();
        let mut winners = Vec::new();
        for (writer, task) in committing.into_iter().enumerate() {
            match task.await.expect("the writer ends") {
                Ok(_) => winners.push(writer),
                Err(error) => assert_eq!(error, CommitError::Conflict),
            }
        }
        let [winner] = winners[..] else { panic!("one wins, not {winners:?}") };
        assert_eq!(number(now(store, "contended").await.as_ref()), i64::try_from(winner).expect("small"));
        for writer in 0..WRITERS {
            let left = now(store, &format!("{round} by {writer:02}")).await;
            assert_eq!(left.is_some(), writer == winner);
        }
    }
}

/// Each increment counts once, with the caller trying again on a conflict.
pub async fn counters_incremented_at_once_lose_no_increment<B: Backend>(backend: B) {
    const TASKS: usize = 8;
    const INCREMENTS: usize = 40;
    let store = backend.store();
    let increment = |store: B::Store, key: String| async move {
        let mut txn = begin(&store).await;
        let value = number(get(&mut txn, &key).await.as_ref());
        tokio::task::yield_now().await;
        txn.put(text(&key), text((value + 1).to_string()));
        txn.commit().await
    };
    let tasks: Vec<_> = (0..TASKS)
        .map(|task| {
            let store = store.clone();
            tokio::spawn(async move {
                for round in 0..INCREMENTS {
                    let key = format!("counter {}", (task + round) % 3);
                    until_committed(|| increment(store.clone(), key.clone())).await;
                }
            })
        })
        .collect();
    for task in tasks {
        task.await.expect("the task ends");
    }
    let mut sum = 0;
    for counter in 0..3 {
        sum += number(now(store, &format!("counter {counter}")).await.as_ref());
    }
    assert_eq!(sum, i64::try_from(TASKS * INCREMENTS).expect("small"));
}

/// A conflict is answered when what came first can be seen: to begin again at once is never in vain.
pub async fn whoever_lost_sees_the_winner_with_the_next_snapshot<B: Backend>(backend: B) {
    const ROUNDS: usize = 100;
    const WRITERS: usize = 8;
    let store = backend.store();
    for round in 0..ROUNDS {
        let mut open = Vec::new();
        for writer in 0..WRITERS {
            let mut txn = begin(store).await;
            txn.put(text(format!("{round}")), text(writer.to_string()));
            open.push(txn);
        }
        let committing = open.into_iter().map(|txn| {
            let store = store.clone();
            tokio::spawn(async move {
                match txn.commit().await {
                    Ok(_) => None,
                    Err(CommitError::Conflict) => Some(now(&store, &format!("{round}")).await),
                    Err(error) => panic!("nothing but conflicts is expected: {error}"),
                }
            })
        });
        let committing: Vec<_> = committing.collect();
        let mut seen = Vec::new();
        for task in committing {
            seen.extend(task.await.expect("the writer ends"));
        }
        assert_eq!(seen.len(), WRITERS - 1);
        let winner = now(store, &format!("{round}")).await;
        assert!(winner.is_some() && seen.iter().all(|seen| *seen == winner), "{seen:?}, not {winner:?}");
    }
}

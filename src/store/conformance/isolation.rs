//! A transaction reads one snapshot: nothing uncommitted, nothing that changes, no phantoms.

use crate::conformance::Backend;
use crate::conformance::steps::{
    begin, commit, delete, entries, entries_now, everything, get, keys_now, now, put, put_all, scan,
    scan_keys, text,
};
use crate::{Direction, Store, Txn};

/// No dirty reads: not by get, get many, scan or scan for keys.
pub async fn what_is_not_committed_is_not_seen<B: Backend>(backend: B) {
    let store = backend.store();
    put(store, "a", "1").await;
    let mut writer = begin(store).await;
    writer.put(text("a"), text("2"));
    writer.put(text("b"), text("2"));
    writer.put_versioned(text("c"), text(""), text("2"));
    assert_eq!(now(store, "a").await, Some(text("1")));
    assert_eq!(now(store, "b").await, None);
    assert_eq!(entries_now(store, &everything()).await, entries([("a", "1")]));
    assert_eq!(keys_now(store, &everything()).await, ["a"]);
    commit(writer).await;
    assert_eq!(now(store, "a").await, Some(text("2")));
    assert_eq!(keys_now(store, &everything()).await.len(), 3);
}

/// A snapshot holds every commit that was acknowledged before it.
pub async fn what_was_committed_before_is_seen<B: Backend>(backend: B) {
    let store = backend.store();
    for round in 0..50 {
        put(store, "k", &round.to_string()).await;
        assert_eq!(now(store, "k").await, Some(text(round.to_string())));
    }
    delete(store, "k").await;
    assert_eq!(now(store, "k").await, None);
}

/// No non-repeatable reads.
pub async fn reads_of_one_transaction_do_not_change<B: Backend>(backend: B) {
    let store = backend.store();
    put_all(store, [("changed", "1"), ("removed", "1")]).await;
    let mut reader = begin(store).await;
    // Two keys are read for the first time only after they have changed.
    assert_eq!(get(&mut reader, "changed").await, Some(text("1")));
    put_all(store, [("changed", "2"), ("added", "2")]).await;
    delete(store, "removed").await;
    assert_eq!(get(&mut reader, "changed").await, Some(text("1")));
    assert_eq!(get(&mut reader, "removed").await, Some(text("1")));
    assert_eq!(get(&mut reader, "added").await, None);
    let keys = ["changed", "removed", "added"].map(text);
    let expected = [Some(text("1")), Some(text("1")), None];
    assert_eq!(reader.get_many(&keys).await.expect("a get"), expected);
}

/// A transaction that only reads sees one snapshot, however much is committed while it is open.
pub async fn what_is_begun_to_read_sees_one_snapshot<B: Backend>(backend: B) {
    let store = backend.store();
    put_all(store, [("a", "0"), ("b", "0"), ("removed", "0")]).await;
    let mut reader = store.begin_reading().await.expect("it begins");
    for round in 1..=200 {
        put_all(store, [("a", &*round.to_string()), ("b", &*round.to_string())]).await;
    }
    delete(store, "removed").await;
    backend.clock().advance(2 * i64::try_from(backend.limits().max_ms).expect("a short time"));
    put(store, "c", "1").await;
    let before = [("a", "0"), ("b", "0"), ("removed", "0")];
    assert_eq!(scan(&mut reader, &everything(), 100, Direction::Forward).await, entries(before));
    assert_eq!(get(&mut reader, "a").await, Some(text("0")));
    reader.commit().await.expect("what only reads has no conflict");
    assert_eq!(now(store, "a").await, Some(text("200")));
}

/// Scans of one snapshot give the same entries, whatever was inserted and removed meanwhile.
pub async fn scans_of_one_transaction_see_no_phantoms<B: Backend>(backend: B) {
    let store = backend.store();
    let before = [("b", "1"), ("d", "1"), ("f", "1")];
    put_all(store, before).await;
    let mut reader = begin(store).await;
    put_all(store, [("a", "2"), ("c", "2"), ("d", "2"), ("g", "2")]).await;
    delete(store, "f").await;
    for _ in 0..2 {
        let forward = scan(&mut reader, &everything(), 10, Direction::Forward).await;
        assert_eq!(forward, entries(before));
        let mut backward = scan(&mut reader, &everything(), 10, Direction::Backward).await;
        backward.reverse();
        assert_eq!(backward, entries(before));
        assert_eq!(scan_keys(&mut reader, &everything(), 10, Direction::Forward).await, ["b", "d", "f"]);
        delete(store, "b").await;
    }
}

/// Dropping rolls back.
pub async fn a_dropped_transaction_leaves_nothing<B: Backend>(backend: B) {
    let store = backend.store();
    put(store, "kept", "1").await;
    let mut dropped = begin(store).await;
    dropped.put(text("new"), text("2"));
    dropped.delete(text("kept"));
    dropped.put_versioned(text("versioned"), text(""), text("2"));
    drop(dropped);
    assert_eq!(entries_now(store, &everything()).await, entries([("kept", "1")]));
}

/// No snapshot lies in the middle of a commit.
pub async fn a_commit_is_seen_whole_or_not_at_all<B: Backend>(backend: B) {
    const ROUNDS: usize = 200;
    const KEYS: [&str; 4] = ["a", "b", "c", "d"];
    let store = backend.store().clone();
    put_all(&store, KEYS.map(|key| (key, "0"))).await;
    let writing = {
        let store = store.clone();
        tokio::spawn(async move {
            for round in 1..=ROUNDS {
                put_all(&store, KEYS.map(|key| (key, round.to_string()))).await;
                tokio::task::yield_now().await;
            }
        })
    };
    let last = text(ROUNDS.to_string());
    loop {
        let mut reader = begin(&store).await;
        let first = get(&mut reader, KEYS[0]).await;
        tokio::task::yield_now().await;
        for (_, value) in scan(&mut reader, &everything(), 10, Direction::Backward).await {
            assert_eq!(Some(value), first);
        }
        if first.as_ref() == Some(&last) {
            break;
        }
    }
    writing.await.expect("the writer ends");
}

/// A snapshot stays as it is while thousands of commits go by.
pub async fn an_old_snapshot_lives_through_many_commits<B: Backend>(backend: B) {
    const KEYS: usize = 16;
    const ROUNDS: usize = 60;
    let store = backend.store();
    let of_round = |round: usize| (0..KEYS).map(move |key| (format!("k{key:03}"), format!("{round}")));
    put_all(store, of_round(0)).await;
    let mut old = begin(store).await;
    let mut middle = None;
    for round in 1..=ROUNDS {
        put_all(store, of_round(round)).await;
        if round == ROUNDS / 2 {
            middle = Some(begin(store).await);
        }
    }
    let mut middle = middle.expect("begun on the way");
    let read = scan(&mut old, &everything(), KEYS * 2, Direction::Forward).await;
    assert_eq!(read, entries(of_round(0)));
    let read = scan(&mut middle, &everything(), KEYS * 2, Direction::Forward).await;
    assert_eq!(read, entries(of_round(ROUNDS / 2)));
    drop(old);
    assert_eq!(get(&mut middle, "k007").await, Some(text((ROUNDS / 2).to_string())));
}

/// A clone is a handle, not a copy.
pub async fn clones_share_one_map<B: Backend>(backend: B) {
    let store = backend.store();
    let clone = store.clone();
    put(&clone, "k", "1").await;
    assert_eq!(now(store, "k").await, Some(text("1")));
    let mut txn = begin(store).await;
    txn.put(text("k"), text("2"));
    put(&clone, "k", "3").await;
    assert_eq!(txn.commit().await, Err(crate::CommitError::Conflict));
    let (before_ms, clone_ms, after_ms) = (store.now_ms(), clone.now_ms(), store.now_ms());
    assert!((before_ms..=after_ms).contains(&clone_ms), "{clone_ms} is not the time of the store");
}

/// A transaction without writes and guards always succeeds.
pub async fn a_reader_commits_whatever_others_wrote<B: Backend>(backend: B) {
    let store = backend.store();
    put(store, "k", "1").await;
    let mut reader = begin(store).await;
    assert_eq!(get(&mut reader, "k").await, Some(text("1")));
    put(store, "k", "2").await;
    commit(reader).await;
    commit(begin(store).await).await;
}

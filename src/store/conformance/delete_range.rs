//! Removing a range outside of any transaction.

use bytes::Bytes;

use crate::conformance::Backend;
use crate::conformance::steps::{
    begin, commit, entries_now, everything, keys_now, put, put_all, text, value_of,
};
use crate::{KeyRange, Store, Txn};

/// Thousands of keys, small values and big ones, up to the edges.
pub async fn every_key_of_the_range_goes_and_no_other<B: Backend>(backend: B) {
    let store = backend.store();
    put_all(store, ["o\u{7F}", "p", "q", "q\0", "r"].map(|key| (key, "1"))).await;
    put_all(store, (0..2_500).map(|at| (format!("p/{at:04}"), "1"))).await;
    let mut txn = begin(store).await;
    for at in 0..20 {
        txn.put(text(format!("p/big/{at:02}")), value_of(50_000, at));
    }
    commit(txn).await;
    store.delete_range(KeyRange::new("p", "q")).await.expect("the range is removed");
    assert_eq!(keys_now(store, &everything()).await, ["o\u{7F}", "q", "q\0", "r"]);
}

/// Nor does one that nothing lies in.
pub async fn an_empty_range_removes_nothing<B: Backend>(backend: B) {
    let store = backend.store();
    put(store, "b", "1").await;
    for (start, end) in [("b", "b"), ("c", "a"), ("ba", "bb")] {
        store.delete_range(KeyRange::new(start, end)).await.expect("nothing to remove");
    }
    assert_eq!(keys_now(store, &everything()).await, ["b"]);
}

/// Removing it leaves no mark.
pub async fn a_removed_range_can_be_written_again<B: Backend>(backend: B) {
    let store = backend.store();
    for round in 0..3 {
        put_all(store, (0..100).map(|at| (format!("p{at:02}"), format!("{round}")))).await;
        assert_eq!(entries_now(store, &everything()).await.len(), 100);
        assert_eq!(entries_now(store, &everything()).await[99], (text("p99"), text(round.to_string())));
        store.delete_range(KeyRange::prefix(b"p")).await.expect("the range is removed");
        assert_eq!(keys_now(store, &everything()).await, [] as [Bytes; 0]);
    }
}

/// What is gone is gone for all that begin later.
pub async fn a_clone_sees_the_range_gone<B: Backend>(backend: B) {
    let store = backend.store();
    let clone = store.clone();
    put_all(store, [("a", "1"), ("b", "1")]).await;
    clone.delete_range(KeyRange::prefix(b"a")).await.expect("the range is removed");
    assert_eq!(keys_now(store, &everything()).await, ["b"]);
}

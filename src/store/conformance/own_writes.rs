//! A transaction sees what it has written itself, in every kind of read.

use crate::conformance::Backend;
use crate::conformance::scan::pages;
use crate::conformance::steps::{
    begin, commit, entries, entries_now, everything, get, now, put_all, scan, scan_keys, text,
};
use crate::{Direction, KeyRange, ScanLimit, Txn};

/// Own puts, over a committed value and over none, and own deletes.
pub async fn a_get_sees_own_writes<B: Backend>(backend: B) {
    let store = backend.store();
    put_all(store, [("overwritten", "1"), ("removed", "1"), ("untouched", "1")]).await;
    let mut txn = begin(store).await;
    assert_eq!(get(&mut txn, "overwritten").await, Some(text("1")));
    txn.put(text("overwritten"), text("2"));
    txn.put(text("new"), text("2"));
    txn.delete(text("removed"));
    txn.delete(text("never there"));
    assert_eq!(get(&mut txn, "overwritten").await, Some(text("2")));
    assert_eq!(get(&mut txn, "new").await, Some(text("2")));
    assert_eq!(get(&mut txn, "removed").await, None);
    assert_eq!(get(&mut txn, "never there").await, None);
    assert_eq!(get(&mut txn, "untouched").await, Some(text("1")));
    commit(txn).await;
    let expected = entries([("new", "2"), ("overwritten", "2"), ("untouched", "1")]);
    assert_eq!(entries_now(store, &everything()).await, expected);
}

/// In reads and at commit.
pub async fn the_last_own_write_of_a_key_counts<B: Backend>(backend: B) {
    let store = backend.store();
    put_all(store, [("a", "0"), ("b", "0")]).await;
    let mut txn = begin(store).await;
    for key in ["a", "new"] {
        txn.put(text(key), text("1"));
        txn.delete(text(key));
        assert_eq!(get(&mut txn, key).await, None);
        txn.put(text(key), text("2"));
        txn.put(text(key), text("3"));
        assert_eq!(get(&mut txn, key).await, Some(text("3")));
    }
    for key in ["b", "gone"] {
        txn.put(text(key), text("1"));
        txn.delete(text(key));
    }
    commit(txn).await;
    assert_eq!(now(store, "b").await, None);
    assert_eq!(entries_now(store, &everything()).await, entries([("a", "3"), ("new", "3")]));
}

/// One answer per key asked for, also for keys asked for twice.
pub async fn get_many_sees_own_writes_in_the_order_asked<B: Backend>(backend: B) {
    let store = backend.store();
    put_all(store, [("a", "1"), ("b", "1"), ("c", "1")]).await;
    let mut txn = begin(store).await;
    txn.put(text("b"), text("2"));
    txn.put(text("d"), text("2"));
    txn.delete(text("c"));
    let asked = ["d", "a", "nowhere", "c", "b", "a"].map(text);
    let expected = [Some("2"), Some("1"), None, None, Some("2"), Some("1")].map(|value| value.map(text));
    assert_eq!(txn.get_many(&asked).await.expect("a get"), expected);
    assert_eq!(txn.get_many(&[]).await.expect("a get"), []);
}

/// Own entries before, between, over and after committed ones, both ways.
pub async fn a_scan_sees_own_writes<B: Backend>(backend: B) {
    let store = backend.store();
    put_all(store, [("b", "1"), ("d", "1"), ("f", "1"), ("h", "1")]).await;
    let mut txn = begin(store).await;
    for key in ["a", "c", "d", "i"] {
        txn.put(text(key), text("2"));
    }
    txn.delete(text("f"));
    txn.delete(text("g"));
    let all = [("a", "2"), ("b", "1"), ("c", "2"), ("d", "2"), ("h", "1"), ("i", "2")];
    for count in 1..=all.len() + 1 {
        let forward = scan(&mut txn, &everything(), count, Direction::Forward).await;
        assert_eq!(forward, entries(all.into_iter().take(count)));
        let backward = scan(&mut txn, &everything(), count, Direction::Backward).await;
        assert_eq!(backward, entries(all.into_iter().rev().take(count)));
    }
    let range = KeyRange::new("c", "h");
    assert_eq!(scan_keys(&mut txn, &range, 10, Direction::Forward).await, ["c", "d"]);
    assert_eq!(scan_keys(&mut txn, &range, 1, Direction::Backward).await, ["d"]);
    let limit = ScanLimit { count: 10, value_bytes: 3 };
    let found = txn.scan(&everything(), limit, Direction::Forward).await.expect("a scan");
    assert_eq!(found, entries([("a", "2"), ("b", "1"), ("c", "2")]));
    commit(txn).await;
    assert_eq!(entries_now(store, &everything()).await, entries(all));
}

/// A run of own deletes at the limit's edge takes no entries away from the answer.
pub async fn own_deletes_do_not_count_towards_a_limit<B: Backend>(backend: B) {
    let store = backend.store();
    put_all(store, (0..500).map(|at| (format!("k{at:03}"), "1"))).await;
    let mut txn = begin(store).await;
    for at in (2..498).filter(|at| *at != 250) {
        txn.delete(text(format!("k{at:03}")));
    }
    let keys = ["k000", "k001", "k250", "k498", "k499"];
    for count in 1..=5 {
        let forward = scan_keys(&mut txn, &everything(), count, Direction::Forward).await;
        assert_eq!(forward, keys[..count]);
        let mut backward = scan_keys(&mut txn, &everything(), count, Direction::Backward).await;
        backward.reverse();
        assert_eq!(backward, keys[5 - count..]);
    }
}

/// Paging through a merge of both.
pub async fn pages_of_own_and_committed_entries_give_each_once<B: Backend>(backend: B) {
    let store = backend.store();
    put_all(store, (0..200).map(|at| (format!("k{at:03}"), "1"))).await;
    let mut txn = begin(store).await;
    let mut expected = Vec::new();
    for at in 0..300 {
        let key = text(format!("k{at:03}"));
        match at % 3 {
            0 => txn.delete(key),
            1 => {
                txn.put(key.clone(), text("2"));
                expected.push(key);
            }
            _ if at < 200 => expected.push(key),
            _ => {}
        }
    }
    for page in [1, 10, 77] {
        assert_eq!(pages(&mut txn, everything(), page, Direction::Forward).await, expected);
        let mut backward = pages(&mut txn, everything(), page, Direction::Backward).await;
        backward.reverse();
        assert_eq!(backward, expected);
    }
}

/// In a store that is empty otherwise.
pub async fn own_writes_alone_can_be_scanned<B: Backend>(backend: B) {
    let store = backend.store();
    let mut txn = begin(store).await;
    txn.delete(text("c"));
    txn.put(text("b"), text("1"));
    txn.put(text("a"), text("1"));
    let found = scan(&mut txn, &everything(), 10, Direction::Backward).await;
    assert_eq!(found, entries([("b", "1"), ("a", "1")]));
    drop(txn);
    assert_eq!(entries_now(store, &everything()).await, []);
}

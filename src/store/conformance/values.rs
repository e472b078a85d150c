//! Sizes: of values, keys and transactions, and their limits.

use bytes::Bytes;

use crate::conformance::Backend;
use crate::conformance::steps::{
    begin, commit, entries_now, everything, keys_now, now, put, scan_keys, text, value_of,
};
use crate::{CommitError, Direction, ScanLimit, Txn};

/// Lengths around those where a backend may store values in another way.
const LENGTHS: [usize; 14] =
    [1, 2, 255, 256, 4_095, 4_096, 4_097, 8_192, 16_383, 16_384, 65_535, 65_536, 100_000, 1 << 20];

/// How far a size is kept from a limit that wrappers take a little of.
const MARGIN_BYTES: usize = 64 << 10;

/// By every kind of read, from its own transaction and from others.
pub async fn values_of_every_size_come_back<B: Backend>(backend: B) {
    let store = backend.store();
    let all: Vec<_> = LENGTHS.into_iter().map(|len| (text(format!("k{len:07}")), value_of(len, 7))).collect();
    let keys: Vec<_> = all.iter().map(|(key, _)| key.clone()).collect();
    let values: Vec<_> = all.iter().map(|(_, value)| Some(value.clone())).collect();
    let mut txn = begin(store).await;
    for (key, value) in &all {
        txn.put(key.clone(), value.clone());
    }
    assert!(txn.get_many(&keys).await.expect("a get") == values);
    commit(txn).await;
    let mut txn = begin(store).await;
    assert!(txn.get_many(&keys).await.expect("a get") == values);
    for (key, value) in &all {
        assert!(txn.get(key).await.expect("a get").as_ref() == Some(value), "{} bytes", value.len());
    }
    assert!(entries_now(store, &everything()).await == all);
}

/// Back and forth, also to nothing.
pub async fn a_key_changes_between_small_and_big_values<B: Backend>(backend: B) {
    let store = backend.store();
    for (round, len) in [10, 100_000, 20, 0, 100_001, 0, 30, 4_096, 4_095].into_iter().enumerate() {
        let value = (len > 0).then(|| value_of(len, u8::try_from(round).expect("few rounds")));
        let mut old = begin(store).await;
        let before = now(store, "k").await;
        let mut txn = begin(store).await;
        match &value {
            Some(value) => txn.put(text("k"), value.clone()),
            None => txn.delete(text("k")),
        }
        assert!(txn.get(b"k").await == Ok(value.clone()));
        commit(txn).await;
        assert!(now(store, "k").await == value, "{len} bytes");
        assert!(old.get(b"k").await == Ok(before), "the snapshot from before {len} bytes");
    }
}

/// So a scan's memory is bounded by what it asks for.
pub async fn big_values_count_towards_a_scans_bytes<B: Backend>(backend: B) {
    let store = backend.store();
    let mut txn = begin(store).await;
    for at in 0..8 {
        txn.put(text(format!("k{at}")), value_of(200_000, at));
    }
    commit(txn).await;
    let mut txn = begin(store).await;
    for (value_bytes, count) in [(1, 1), (200_000, 1), (200_001, 2), (1_000_000, 5), (10_000_000, 8)] {
        for direction in [Direction::Forward, Direction::Backward] {
            let limit = ScanLimit { count: 100, value_bytes };
            let found = txn.scan(&everything(), limit, direction).await.expect("a scan");
            assert_eq!(found.len(), count, "{value_bytes} bytes {direction:?}");
        }
    }
    assert_eq!(scan_keys(&mut txn, &everything(), 100, Direction::Forward).await.len(), 8);
}

/// 12 MiB in 12 values.
pub async fn many_big_values_fit_in_one_transaction<B: Backend>(backend: B) {
    let store = backend.store();
    let all: Vec<_> = (0..12).map(|at| (text(format!("k{at:02}")), value_of(1 << 20, at))).collect();
    let mut txn = begin(store).await;
    for (key, value) in &all {
        txn.put(key.clone(), value.clone());
    }
    commit(txn).await;
    assert!(entries_now(store, &everything()).await == all);
}

/// Put, changed, counted and removed.
pub async fn ten_thousand_keys_fit_in_one_transaction<B: Backend>(backend: B) {
    const KEYS: usize = 10_000;
    let store = backend.store();
    let keys: Vec<_> = (0..KEYS).map(|at| text(format!("k{at:05}"))).collect();
    let mut txn = begin(store).await;
    for key in keys.iter().rev() {
        txn.put(key.clone(), key.clone());
    }
    commit(txn).await;
    let mut txn = begin(store).await;
    let values = txn.get_many(&keys).await.expect("a get");
    assert!(values.iter().zip(&keys).all(|(value, key)| value.as_ref() == Some(key)));
    for key in keys.iter().step_by(2) {
        txn.delete(key.clone());
    }
    commit(txn).await;
    let left: Vec<_> = keys.iter().skip(1).step_by(2).cloned().collect();
    assert!(keys_now(store, &everything()).await == left);
}

/// From 1 to 4,096 bytes, also where they differ in the last byte only.
pub async fn keys_of_every_length_come_back<B: Backend>(backend: B) {
    let store = backend.store();
    let longest = backend.key_max_bytes();
    let mut keys: Vec<Bytes> = Vec::new();
    for len in [1, 2, 255, 256, longest - 1, longest] {
        for last in [1, 0x7F, 0xFE] {
            let mut key = vec![b'k'; len];
            key[len - 1] = last;
            keys.push(key.into());
        }
    }
    keys.sort();
    let mut txn = begin(store).await;
    for key in &keys {
        txn.put(key.clone(), text(key.len().to_string()));
    }
    txn.put_versioned(vec![b'l'; longest - 96].into(), vec![b's'; 88].into(), text("1"));
    commit(txn).await;
    let (versioned, found): (Vec<_>, Vec<_>) =
        keys_now(store, &everything()).await.into_iter().partition(|key| key[0] == b'l');
    assert_eq!(found, keys);
    assert_eq!(versioned.iter().map(Bytes::len).collect::<Vec<_>>(), [longest]);
    let mut txn = begin(store).await;
    for key in &keys {
        assert_eq!(txn.get(key).await, Ok(Some(text(key.len().to_string()))));
    }
}

/// A value of just the limit is not.
pub async fn a_value_over_the_limit_is_refused<B: Backend>(backend: B) {
    let store = backend.store();
    let limit = backend.limits().max_value_bytes;
    put(store, "a", "before").await;
    let mut txn = begin(store).await;
    txn.put(text("a"), text("after"));
    txn.put(text("b"), vec![1; limit + 1].into());
    let refused = CommitError::TooLarge { what: "value bytes", actual: limit + 1, limit };
    assert_eq!(txn.commit().await, Err(refused));
    assert_eq!(now(store, "a").await, Some(text("before")));
    assert_eq!(now(store, "b").await, None);
    let mut txn = begin(store).await;
    txn.put(text("b"), vec![1; limit].into());
    commit(txn).await;
    assert!(now(store, "b").await.is_some_and(|value| value.len() == limit));
}

/// Nothing of it is applied, and the store goes on.
pub async fn a_transaction_over_the_limit_is_refused<B: Backend>(backend: B) {
    let store = backend.store();
    let limit = backend.limits().max_bytes;
    let value_bytes = backend.limits().max_value_bytes.min(1 << 20);
    for (bytes, fits) in [(limit + MARGIN_BYTES, false), (limit - MARGIN_BYTES, true)] {
        let mut txn = begin(store).await;
        for at in 0..bytes / value_bytes {
            txn.put(text(format!("k{at:05}")), vec![1; value_bytes].into());
        }
        if !bytes.is_multiple_of(value_bytes) {
            txn.put(text("rest"), vec![1; bytes % value_bytes].into());
        }
        let answer = txn.commit().await;
        if fits {
            assert!(answer.is_ok(), "{answer:?}");
            continue;
        }
        assert!(matches!(answer, Err(CommitError::TooLarge { what: "transaction bytes", .. })), "{answer:?}");
        assert_eq!(keys_now(store, &everything()).await, [] as [Bytes; 0]);
    }
}

//! What the cases do again and again.

use bytes::Bytes;

use crate::{CommitError, Committed, Direction, KeyRange, ScanLimit, Store, Txn, Version};

/// Bytes of a text.
pub(super) fn text(text: impl AsRef<str>) -> Bytes {
    Bytes::copy_from_slice(text.as_ref().as_bytes())
}

/// A value of `len` bytes that differs from those of other lengths and seeds in most places.
pub(super) fn value_of(len: usize, seed: u8) -> Bytes {
    (0..len).map(|at| (at % 251).to_le_bytes()[0].wrapping_mul(31).wrapping_add(seed)).collect()
}

/// All keys that the cases use.
pub(super) fn everything() -> KeyRange {
    KeyRange::new(vec![0], vec![0xFF; 8])
}

/// A transaction, begun.
pub(super) async fn begin<S: Store>(store: &S) -> S::Txn {
    store.begin().await.expect("a transaction begins")
}

/// Commits what has no reason to fail.
pub(super) async fn commit(txn: impl Txn) -> Committed {
    txn.commit().await.expect("a commit without conflict")
}

/// Puts entries in one transaction.
pub(super) async fn put_all<K: AsRef<str>, V: AsRef<str>>(
    store: &impl Store,
    entries: impl IntoIterator<Item = (K, V)>,
) -> Version {
    let mut txn = begin(store).await;
    for (key, value) in entries {
        txn.put(text(key), text(value));
    }
    commit(txn).await.version
}

/// Puts one entry in a transaction of its own.
pub(super) async fn put(store: &impl Store, key: &str, value: &str) -> Version {
    put_all(store, [(key, value)]).await
}

/// Deletes one key in a transaction of its own.
pub(super) async fn delete(store: &impl Store, key: &str) {
    let mut txn = begin(store).await;
    txn.delete(text(key));
    commit(txn).await;
}

/// Reads a key in a transaction.
pub(super) async fn get(txn: &mut impl Txn, key: &str) -> Option<Bytes> {
    txn.get(key.as_bytes()).await.expect("a get")
}

/// Reads a key as it is now.
pub(super) async fn now(store: &impl Store, key: &str) -> Option<Bytes> {
    get(&mut begin(store).await, key).await
}

/// Scans in a transaction.
pub(super) async fn scan(
    txn: &mut impl Txn,
    range: &KeyRange,
    count: usize,
    direction: Direction,
) -> Vec<(Bytes, Bytes)> {
    txn.scan(range, ScanLimit::count(count), direction).await.expect("a scan")
}

/// Scans for keys in a transaction.
pub(super) async fn scan_keys(
    txn: &mut impl Txn,
    range: &KeyRange,
    count: usize,
    direction: Direction,
) -> Vec<Bytes> {
    txn.scan_keys(range, count, direction).await.expect("a scan for keys")
}

/// Every entry of a range as it is now.
pub(super) async fn entries_now(store: &impl Store, range: &KeyRange) -> Vec<(Bytes, Bytes)> {
    scan(&mut begin(store).await, range, usize::MAX, Direction::Forward).await
}

/// Every key of a range as it is now.
pub(super) async fn keys_now(store: &impl Store, range: &KeyRange) -> Vec<Bytes> {
    scan_keys(&mut begin(store).await, range, usize::MAX, Direction::Forward).await
}

/// Entries as pairs of bytes, to compare with.
pub(super) fn entries<K: AsRef<str>, V: AsRef<str>>(
    pairs: impl IntoIterator<Item = (K, V)>,
) -> Vec<(Bytes, Bytes)> {
    pairs.into_iter().map(|(key, value)| (text(key), text(value))).collect()
}

/// The number that a value spells.
pub(super) fn number(value: Option<&Bytes>) -> i64 {
    value.map_or(0, |value| std::str::from_utf8(value).expect("text").parse().expect("a number"))
}

/// Runs a transaction again until it does not conflict. The body returns what becomes of its transaction.
pub(super) async fn until_committed<F>(mut body: impl FnMut() -> F) -> Committed
where
    F: Future<Output = Result<Committed, CommitError>>,
{
    loop {
        match body().await {
            Ok(committed) => return committed,
            Err(CommitError::Conflict) => tokio::task::yield_now().await,
            Err(error) => panic!("nothing but conflicts is expected: {error}"),
        }
    }
}

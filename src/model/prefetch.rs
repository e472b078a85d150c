//! A transaction whose catalogue rows were read together with the rows of models, in one round.

use std::collections::HashMap;

use bytes::Bytes;
use tidegate_store::{CommitError, Committed, Direction, KeyRange, ReadError, ScanLimit, Txn, Version};

use crate::StoreTrouble;

/// A store's transaction that remembers some small rows of its snapshot. Own writes forget them. What cannot be read is noted.
pub(crate) struct PrefetchTxn<T> {
    inner: T,
    trouble: StoreTrouble,
    kept: HashMap<Bytes, Option<Bytes>>,
}

impl<T: Txn> PrefetchTxn<T> {
    pub(crate) fn new(inner: T, trouble: StoreTrouble) -> Self {
        Self { inner, trouble, kept: HashMap::new() }
    }

    /// The values of `keys`, in their order. Those of `keep` that are not known yet come in the same round, for later
    /// calls of [`get`](Txn::get).
    pub(crate) async fn fetch(
        &mut self,
        mut keys: Vec<Bytes>,
        keep: impl IntoIterator<Item = Bytes>,
    ) -> Result<Vec<Option<Bytes>>, ReadError> {
        let asked = keys.len();
        for key in keep {
            if !self.kept.contains_key(&key) && !keys[asked..].contains(&key) {
                keys.push(key);
            }
        }
        if keys.is_empty() {
            return Ok(vec![]);
        }
        let mut values = self.trouble.noted(self.inner.get_many(&keys).await)?;
        self.kept.extend(keys.drain(asked..).zip(values.drain(asked..)));
        Ok(values)
    }
}

impl<T: Txn> Txn for PrefetchTxn<T> {
    fn start_version(&self) -> Version {
        self.inner.start_version()
    }

    async fn get(&mut self, key: &[u8]) -> Result<Option<Bytes>, ReadError> {
        match self.kept.get(key) {
            Some(value) => Ok(value.clone()),
            None => self.trouble.noted(self.inner.get(key).await),
        }
    }

    async fn get_many(&mut self, keys: &[Bytes]) -> Result<Vec<Option<Bytes>>, ReadError> {
        self.trouble.noted(self.inner.get_many(keys).await)
    }

    async fn scan(
        &mut self,
        range: &KeyRange,
        limit: ScanLimit,
        direction: Direction,
    ) -> Result<Vec<(Bytes, Bytes)>, ReadError> {
        self.trouble.noted(self.inner.scan(range, limit, direction).await)
    }

    async fn scan_keys(
        &mut self,
        range: &KeyRange,
        count: usize,
        direction: Direction,
    ) -> Result<Vec<Bytes>, ReadError> {
        self.trouble.noted(self.inner.scan_keys(range, count, direction).await)
    }

    fn put(&mut self, key: Bytes, value: Bytes) {
        self.kept.remove(&key);
        self.inner.put(key, value);
    }

    fn put_versioned(&mut self, prefix: Bytes, suffix: Bytes, value: Bytes) {
        self.inner.put_versioned(prefix, suffix, value);
    }

    fn delete(&mut self, key: Bytes) {
        self.kept.remove(&key);
        self.inner.delete(key);
    }

    fn guard(&mut self, key: Bytes) {
        self.inner.guard(key);
    }

    fn growing(&mut self) {
        self.inner.growing();
    }

    async fn commit(self) -> Result<Committed, CommitError> {
        self.inner.commit().await
    }
}

#[cfg(test)]
mod tests {
    use tidegate_store::Store;

    use super::*;
    use crate::fixture::memory_store;

    #[tokio::test]
    async fn own_writes_are_seen_over_what_was_fetched_before() {
        let (put, deleted) = (Bytes::from_static(b"put"), Bytes::from_static(b"deleted"));
        let (old, new) = (Bytes::from_static(b"old"), Bytes::from_static(b"new"));
        let store = memory_store();
        let mut txn = store.begin().await.expect("begun");
        txn.put(put.clone(), old.clone());
        txn.put(deleted.clone(), old.clone());
        txn.commit().await.expect("committed");

        let mut txn = PrefetchTxn::new(store.begin().await.expect("begun"), StoreTrouble::default());
        let fetched = txn.fetch(vec![put.clone()], [put.clone(), deleted.clone()]).await.expect("read");
        assert_eq!(fetched, [Some(old.clone())], "only what was asked for is given");
        assert_eq!(txn.get(&deleted).await, Ok(Some(old)));
        txn.put(put.clone(), new.clone());
        txn.delete(deleted.clone());
        assert_eq!(txn.get(&put).await, Ok(Some(new)));
        assert_eq!(txn.get(&deleted).await, Ok(None));
    }
}

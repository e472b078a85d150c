//! A store that puts the tag of applications' own keys in front of every key: what the conformance suite writes is
//! admitted then.

use bytes::{BufMut, Bytes, BytesMut};
use tidegate_format::Kind;
use tidegate_store::{
    CommitError, CommitToken, Committed, Direction, KeyRange, Outcome, ReadError, ScanLimit, Store, Txn,
    Version,
};

/// The store behind the tag.
#[derive(Clone)]
pub(crate) struct UserKeys<S>(pub(crate) S);

/// A transaction behind it.
pub(crate) struct UserKeysTxn<T>(T);

fn tagged(key: &[u8]) -> Bytes {
    let mut tagged = BytesMut::with_capacity(key.len() + 1);
    tagged.put_u8(Kind::User.tag());
    tagged.put_slice(key);
    tagged.freeze()
}

fn tagged_range(range: &KeyRange) -> KeyRange {
    KeyRange::new(tagged(&range.start), tagged(&range.end))
}

impl<S: Store> Store for UserKeys<S> {
    type Txn = UserKeysTxn<S::Txn>;

    async fn begin(&self) -> Result<Self::Txn, ReadError> {
        self.0.begin().await.map(UserKeysTxn)
    }

    async fn begin_reading(&self) -> Result<Self::Txn, ReadError> {
        self.0.begin_reading().await.map(UserKeysTxn)
    }

    async fn delete_range(&self, range: KeyRange) -> Result<(), CommitError> {
        self.0.delete_range(tagged_range(&range)).await
    }

    async fn outcome(&self, token: &CommitToken) -> Result<Outcome, ReadError> {
        self.0.outcome(token).await
    }

    fn now_ms(&self) -> i64 {
        self.0.now_ms()
    }

    fn oldest_open_ms(&self) -> i64 {
        self.0.oldest_open_ms()
    }

    fn clock_steps_back(&self) -> u64 {
        self.0.clock_steps_back()
    }
}

impl<T: Txn> Txn for UserKeysTxn<T> {
    fn start_version(&self) -> Version {
        self.0.start_version()
    }

    async fn get(&mut self, key: &[u8]) -> Result<Option<Bytes>, ReadError> {
        self.0.get(&tagged(key)).await
    }

    async fn get_many(&mut self, keys: &[Bytes]) -> Result<Vec<Option<Bytes>>, ReadError> {
        let keys: Vec<Bytes> = keys.iter().map(|key| tagged(key)).collect();
        self.0.get_many(&keys).await
    }

    async fn scan(
        &mut self,
        range: &KeyRange,
        limit: ScanLimit,
        direction: Direction,
    ) -> Result<Vec<(Bytes, Bytes)>, ReadError> {
        let found = self.0.scan(&tagged_range(range), limit, direction).await?;
        Ok(found.into_iter().map(|(key, value)| (key.slice(1..), value)).collect())
    }

    async fn scan_keys(
        &mut self,
        range: &KeyRange,
        count: usize,
        direction: Direction,
    ) -> Result<Vec<Bytes>, ReadError> {
        let found = self.0.scan_keys(&tagged_range(range), count, direction).await?;
        Ok(found.into_iter().map(|key| key.slice(1..)).collect())
    }

    fn put(&mut self, key: Bytes, value: Bytes) {
        self.0.put(tagged(&key), value);
    }

    fn put_versioned(&mut self, prefix: Bytes, suffix: Bytes, value: Bytes) {
        self.0.put_versioned(tagged(&prefix), suffix, value);
    }

    fn delete(&mut self, key: Bytes) {
        self.0.delete(tagged(&key));
    }

    fn guard(&mut self, key: Bytes) {
        self.0.guard(tagged(&key));
    }

    fn growing(&mut self) {
        self.0.growing();
    }

    async fn commit(self) -> Result<Committed, CommitError> {
        self.0.commit().await
    }
}

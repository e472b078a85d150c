//! One type for the three ways to the store.
//!
//! Async traits are not object-safe, so this is an enum that passes every call on. It adds nothing and keeps nothing.

use bytes::Bytes;
use tidegate_store::{
    AnyStore, AnyTxn, CommitError, CommitToken, Committed, Direction, KeyRange, Outcome, ReadError,
    ScanLimit, Store, Txn, Version,
};

use crate::{RemoteStore, RemoteTxn};

/// The store of an application.
#[derive(Clone)]
pub enum AppStore {
    /// Reached from this process: its own, or TiKV.
    Local(AnyStore),
    /// A broker's, through its port.
    Remote(RemoteStore),
}

/// A transaction of an [`AppStore`].
// It is moved a few times in its life; a box would cost every transaction an allocation.
#[allow(clippy::large_enum_variant)]
pub enum AppTxn {
    /// Of [`AppStore::Local`].
    Local(AnyTxn),
    /// Of [`AppStore::Remote`].
    Remote(RemoteTxn),
}

macro_rules! pass_on {
    ($self:ident, $inner:ident => $call:expr) => {
        match $self {
            Self::Local($inner) => $call,
            Self::Remote($inner) => $call,
        }
    };
}

impl Store for AppStore {
    type Txn = AppTxn;

    async fn begin(&self) -> Result<AppTxn, ReadError> {
        match self {
            Self::Local(store) => store.begin().await.map(AppTxn::Local),
            Self::Remote(store) => store.begin().await.map(AppTxn::Remote),
        }
    }

    async fn begin_reading(&self) -> Result<AppTxn, ReadError> {
        match self {
            Self::Local(store) => store.begin_reading().await.map(AppTxn::Local),
            Self::Remote(store) => store.begin_reading().await.map(AppTxn::Remote),
        }
    }

    async fn delete_range(&self, range: KeyRange) -> Result<(), CommitError> {
        pass_on!(self, store => store.delete_range(range).await)
    }

    async fn outcome(&self, token: &CommitToken) -> Result<Outcome, ReadError> {
        pass_on!(self, store => store.outcome(token).await)
    }

    fn now_ms(&self) -> i64 {
        pass_on!(self, store => store.now_ms())
    }

    fn oldest_open_ms(&self) -> i64 {
        pass_on!(self, store => store.oldest_open_ms())
    }

    fn clock_steps_back(&self) -> u64 {
        pass_on!(self, store => store.clock_steps_back())
    }

    fn order_lag_ms(&self) -> u64 {
        pass_on!(self, store => store.order_lag_ms())
    }

    fn is_shared(&self) -> bool {
        pass_on!(self, store => store.is_shared())
    }
}

impl Txn for AppTxn {
    fn start_version(&self) -> Version {
        pass_on!(self, txn => txn.start_version())
    }

    async fn get(&mut self, key: &[u8]) -> Result<Option<Bytes>, ReadError> {
        pass_on!(self, txn => txn.get(key).await)
    }

    async fn get_many(&mut self, keys: &[Bytes]) -> Result<Vec<Option<Bytes>>, ReadError> {
        pass_on!(self, txn => txn.get_many(keys).await)
    }

    async fn scan(
        &mut self,
        range: &KeyRange,
        limit: ScanLimit,
        direction: Direction,
    ) -> Result<Vec<(Bytes, Bytes)>, ReadError> {
        pass_on!(self, txn => txn.scan(range, limit, direction).await)
    }

    async fn scan_keys(
        &mut self,
        range: &KeyRange,
        count: usize,
        direction: Direction,
    ) -> Result<Vec<Bytes>, ReadError> {
        pass_on!(self, txn => txn.scan_keys(range, count, direction).await)
    }

    fn put(&mut self, key: Bytes, value: Bytes) {
        pass_on!(self, txn => txn.put(key, value));
    }

    fn put_versioned(&mut self, prefix: Bytes, suffix: Bytes, value: Bytes) {
        pass_on!(self, txn => txn.put_versioned(prefix, suffix, value));
    }

    fn delete(&mut self, key: Bytes) {
        pass_on!(self, txn => txn.delete(key));
    }

    fn guard(&mut self, key: Bytes) {
        pass_on!(self, txn => txn.guard(key));
    }

    fn growing(&mut self) {
        pass_on!(self, txn => txn.growing());
    }

    async fn commit(self) -> Result<Committed, CommitError> {
        pass_on!(self, txn => txn.commit().await)
    }
}

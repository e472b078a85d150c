//! The backend that is chosen at run time.
//!
//! Async traits are not object-safe, so this is an enum that passes every call on. It adds nothing and keeps nothing.

use bytes::Bytes;

use crate::{
    CommitError, CommitToken, Committed, Direction, Dropped, EmbeddedStore, FaultyStore, KeyRange,
    MemoryStore, Outcome, ReadError, ScanLimit, Store, TikvStore, Txn, Version,
};

macro_rules! backends {
    ($($(#[$doc:meta])* $name:ident($store:ty),)*) => {
        /// One of the backends.
        #[derive(Clone)]
        pub enum AnyStore { $($(#[$doc])* $name($store),)* }

        /// A transaction of an [`AnyStore`].
        // It is moved a few times in its life; a box would cost every transaction an allocation.
        #[allow(clippy::large_enum_variant)]
        pub enum AnyTxn { $($(#[$doc])* $name(<$store as Store>::Txn),)* }

        $(impl From<$store> for AnyStore {
            fn from(store: $store) -> Self {
                Self::$name(store)
            }
        })*

        impl Store for AnyStore {
            type Txn = AnyTxn;

            async fn begin(&self) -> Result<AnyTxn, ReadError> {
                match self { $(Self::$name(store) => store.begin().await.map(AnyTxn::$name),)* }
            }

            async fn begin_reading(&self) -> Result<AnyTxn, ReadError> {
                match self { $(Self::$name(store) => store.begin_reading().await.map(AnyTxn::$name),)* }
            }

            async fn delete_range(&self, range: KeyRange) -> Result<(), CommitError> {
                match self { $(Self::$name(store) => store.delete_range(range).await,)* }
            }

            async fn drop_range(&self, range: KeyRange, dropped_at: Version) -> Result<Dropped, CommitError> {
                match self { $(Self::$name(store) => store.drop_range(range, dropped_at).await,)* }
            }

            async fn outcome(&self, token: &CommitToken) -> Result<Outcome, ReadError> {
                match self { $(Self::$name(store) => store.outcome(token).await,)* }
            }

            fn now_ms(&self) -> i64 {
                match self { $(Self::$name(store) => store.now_ms(),)* }
            }

            fn oldest_open_ms(&self) -> i64 {
                match self { $(Self::$name(store) => store.oldest_open_ms(),)* }
            }

            fn clock_steps_back(&self) -> u64 {
                match self { $(Self::$name(store) => store.clock_steps_back(),)* }
            }

            fn order_lag_ms(&self) -> u64 {
                match self { $(Self::$name(store) => store.order_lag_ms(),)* }
            }

            fn is_shared(&self) -> bool {
                match self { $(Self::$name(store) => store.is_shared(),)* }
            }
        }

        impl Txn for AnyTxn {
            fn start_version(&self) -> Version {
                match self { $(Self::$name(txn) => txn.start_version(),)* }
            }

            async fn get(&mut self, key: &[u8]) -> Result<Option<Bytes>, ReadError> {
                match self { $(Self::$name(txn) => txn.get(key).await,)* }
            }

            async fn get_many(&mut self, keys: &[Bytes]) -> Result<Vec<Option<Bytes>>, ReadError> {
                match self { $(Self::$name(txn) => txn.get_many(keys).await,)* }
            }

            async fn scan(
                &mut self,
                range: &KeyRange,
                limit: ScanLimit,
                direction: Direction,
            ) -> Result<Vec<(Bytes, Bytes)>, ReadError> {
                match self { $(Self::$name(txn) => txn.scan(range, limit, direction).await,)* }
            }

            async fn scan_keys(
                &mut self,
                range: &KeyRange,
                count: usize,
                direction: Direction,
            ) -> Result<Vec<Bytes>, ReadError> {
                match self { $(Self::$name(txn) => txn.scan_keys(range, count, direction).await,)* }
            }

            fn put(&mut self, key: Bytes, value: Bytes) {
                match self { $(Self::$name(txn) => txn.put(key, value),)* }
            }

            fn put_versioned(&mut self, prefix: Bytes, suffix: Bytes, value: Bytes) {
                match self { $(Self::$name(txn) => txn.put_versioned(prefix, suffix, value),)* }
            }

            fn delete(&mut self, key: Bytes) {
                match self { $(Self::$name(txn) => txn.delete(key),)* }
            }

            fn guard(&mut self, key: Bytes) {
                match self { $(Self::$name(txn) => txn.guard(key),)* }
            }

            fn growing(&mut self) {
                match self { $(Self::$name(txn) => txn.growing(),)* }
            }

            async fn commit(self) -> Result<Committed, CommitError> {
                match self { $(Self::$name(txn) => txn.commit().await,)* }
            }
        }
    };
}

backends! {
    /// In one directory of this machine.
    Embedded(EmbeddedStore),
    /// In memory: gone when its last handle is.
    Memory(MemoryStore),
    /// The same, failing when a test says so.
    Faulty(FaultyStore<MemoryStore>),
    /// In a namespace of a TiKV cluster.
    Tikv(TikvStore),
}

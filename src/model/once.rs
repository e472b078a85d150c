//! Events that are published once by their id.
//!
//! Time is cut into buckets as long as the window. A publication writes its id into the bucket of its time and into the
//! next, and is none if the id is in the bucket of its time already: so an id is remembered for one to two windows,
//! and two transactions on either side of a bucket's beginning write one key and conflict. Buckets that no transaction
//! can look at any more are removed as a whole.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use bytes::Bytes;
use tidegate_format::{EventIdKey, MARKER};
use tidegate_store::{KeyRange, Store, Txn};

use crate::db::Shared;
use crate::{Db, Error, InputError};

/// The shortest window, in milliseconds: as long as a transaction may live.
const WINDOW_MIN_MS: i64 = 60_000;

/// The keys of an id: in the bucket of now, and in the next.
pub(crate) struct OnceKeys {
    now: Bytes,
    next: Bytes,
}

impl OnceKeys {
    pub(crate) fn of(source: &str, id: &str, now_ms: i64, window_ms: i64) -> Result<Self, InputError> {
        let check = |what, text: &str, limit| match text.len() {
            1.. if text.len() <= limit => Ok(()),
            actual => Err(InputError::UniqueId { what, actual, limit }),
        };
        check("unique id", id, EventIdKey::ID_MAX_BYTES)?;
        check("source", source, EventIdKey::SOURCE_MAX_BYTES)?;
        let bucket_ms = bucket(now_ms, window_ms);
        let key = |bucket_ms| EventIdKey { bucket_ms, source: source.to_owned(), id: id.to_owned() }.encode();
        Ok(Self { now: key(bucket_ms), next: key(bucket_ms.saturating_add(window(window_ms))) })
    }

    /// Whether the id was published already.
    pub(crate) async fn is_known(&self, txn: &mut impl Txn) -> Result<bool, Error> {
        Ok(txn.get(&self.now).await?.is_some())
    }

    /// Makes it known.
    pub(crate) fn put(self, txn: &mut impl Txn) {
        txn.put(self.now, MARKER);
        txn.put(self.next, MARKER);
    }
}

fn window(window_ms: i64) -> i64 {
    window_ms.max(WINDOW_MIN_MS)
}

/// When the bucket of a time begins.
fn bucket(now_ms: i64, window_ms: i64) -> i64 {
    now_ms - now_ms.rem_euclid(window(window_ms))
}

/// Which buckets were removed last by this process.
#[derive(Debug)]
pub(crate) struct Expired(AtomicI64);

impl Default for Expired {
    fn default() -> Self {
        Self(AtomicI64::new(i64::MIN))
    }
}

impl<S: Store> Shared<S> {
    /// Removes the ids of buckets that are over, once per bucket and process, without holding anybody up.
    pub(crate) fn expire_unique_ids_in_time(self: &Arc<Self>) {
        let bucket_ms = bucket(self.store.now_ms(), self.settings.unique_id_window_ms);
        if self.expired.0.fetch_max(bucket_ms, Ordering::Relaxed) >= bucket_ms {
            return;
        }
        let shared = self.clone();
        tokio::spawn(async move {
            if let Err(error) = shared.expire_unique_ids().await {
                tracing::warn!(%error, "ids of published events stay for another while");
            }
        });
    }

    async fn expire_unique_ids(&self) -> Result<(), Error> {
        let window_ms = self.settings.unique_id_window_ms;
        // A transaction that began in the bucket before may still look at that one.
        let before_ms = bucket(self.store.now_ms(), window_ms).saturating_sub(window(window_ms));
        let (start, end) = EventIdKey::range_before(before_ms);
        self.store.delete_range(KeyRange { start, end }).await.map_err(Error::Commit)
    }
}

impl<S: Store> Db<S> {
    /// Removes the ids of events published once that are remembered no longer. It is done in the background, too, by
    /// the first such publication of each window.
    ///
    /// # Errors
    /// What the store says.
    pub async fn expire_unique_ids(&self) -> Result<(), Error> {
        self.shared().expire_unique_ids().await
    }
}

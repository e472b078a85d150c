//! Events that are published once by their id.
//!
//! A publication writes a row under its id that says until when it is remembered, and is none while such a row stands:
//! two transactions that publish one id write one key and conflict. A second row has the id by that time, so that what is
//! over is found and removed, by whoever comes by.
//!
//! Always holds: an id is remembered for as long as was promised when it was written, whatever window others have.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use bytes::Bytes;
use tidegate_format::{EventIdKey, MARKER, PublishedKey, PublishedValue};
use tidegate_store::{Direction, KeyRange, Store, Txn};

use crate::db::Shared;
use crate::tx::Open;
use crate::{Db, Error, InputError};

/// The shortest window, in milliseconds: as long as a transaction may live.
const WINDOW_MIN_MS: i64 = 60_000;
/// An id is remembered until a multiple of this, in milliseconds, so that many are over at a time.
const BUCKET_MS: i64 = 60_000;
/// How many ids one transaction removes.
const EXPIRY_IDS: usize = 500;

/// An id that an event is to be published under once.
pub(crate) struct Once {
    key: PublishedKey,
    until_ms: i64,
}

impl Once {
    pub(crate) fn of(source: &str, id: &str, now_ms: i64, window_ms: i64) -> Result<Self, InputError> {
        let check = |what, text: &str, limit| match text.len() {
            1.. if text.len() <= limit => Ok(()),
            actual => Err(InputError::UniqueId { what, actual, limit }),
        };
        check("unique id", id, EventIdKey::ID_MAX_BYTES)?;
        check("source", source, EventIdKey::SOURCE_MAX_BYTES)?;
        let key = PublishedKey { source: source.to_owned(), id: id.to_owned() };
        let end_ms = now_ms.saturating_add(window_ms.max(WINDOW_MIN_MS));
        let until_ms = bucket(end_ms.saturating_add(BUCKET_MS - 1));
        Ok(Self { key, until_ms })
    }

    /// Whether the id was published already.
    pub(crate) async fn is_known(&self, txn: &mut impl Txn, now_ms: i64) -> Result<bool, Error> {
        let found = txn.get(&self.key.encode()).await?.map(PublishedValue::decode).transpose()?;
        Ok(found.is_some_and(|found| found.until_ms > now_ms))
    }

    /// Makes it known.
    pub(crate) fn put(self, txn: &mut impl Txn) {
        let Self { key, until_ms } = self;
        txn.put(key.encode(), PublishedValue { until_ms }.encode());
        txn.put(key.until(until_ms).encode(), MARKER);
    }
}

/// When the bucket of a time begins.
fn bucket(time_ms: i64) -> i64 {
    time_ms - time_ms.rem_euclid(BUCKET_MS)
}

/// Up to which bucket this process has removed what is over.
#[derive(Debug)]
pub(crate) struct Expired(AtomicI64);

impl Default for Expired {
    fn default() -> Self {
        Self(AtomicI64::new(i64::MIN))
    }
}

impl<S: Store> Shared<S> {
    /// Removes the ids whose time is over, once per bucket and process, without holding anybody up.
    pub(crate) fn expire_unique_ids_in_time(self: &Arc<Self>) {
        let bucket_ms = bucket(self.store.now_ms());
        if self.expired.0.fetch_max(bucket_ms, Ordering::Relaxed) >= bucket_ms {
            return;
        }
        let db = Db::of(self.clone());
        tokio::spawn(async move {
            if let Err(error) = db.expire_unique_ids().await {
                tracing::warn!(%error, "ids of published events stay for another while");
            }
        });
    }
}

impl<S: Store> Db<S> {
    /// Removes the ids of events published once that are remembered no longer, those of other sources as well. It is
    /// done in the background, too, by the first such publication of each minute.
    ///
    /// # Errors
    /// What the store says.
    pub async fn expire_unique_ids(&self) -> Result<(), Error> {
        let now_ms = self.now_ms();
        loop {
            let removed = self
                .transaction(|tx| async move {
                    let mut open = tx.lock_to_write().await?;
                    remove_some(&mut open, now_ms).await
                })
                .await?;
            if removed < EXPIRY_IDS {
                return Ok(());
            }
        }
    }
}

/// Removes the first ids whose time is over; how many there were.
async fn remove_some<S: Store>(open: &mut Open<S>, now_ms: i64) -> Result<usize, Error> {
    let (start, end) = EventIdKey::range_before(now_ms);
    let over = open.txn.scan_keys(&KeyRange { start, end }, EXPIRY_IDS, Direction::Forward).await?;
    let keys = over.iter().map(|key| {
        let EventIdKey { source, id, .. } = EventIdKey::decode(key)?;
        Ok(PublishedKey { source, id }.encode())
    });
    let keys = keys.collect::<Result<Vec<Bytes>, Error>>()?;
    let found = open.txn.get_many(&keys).await?;
    for (key, value) in keys.into_iter().zip(found) {
        // It may have been published again since, and is remembered for that.
        if value.map(PublishedValue::decode).transpose()?.is_some_and(|value| value.until_ms < now_ms) {
            open.txn.delete(key);
        }
    }
    let count = over.len();
    over.into_iter().for_each(|key| open.txn.delete(key));
    Ok(count)
}

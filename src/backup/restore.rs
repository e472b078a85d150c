//! From the entries of a backup to a store that is empty.
//!
//! What always holds: the first transaction marks the store as one that is being restored, and the last one takes the
//! mark away, so whatever stops in between leaves a store that says so. Every transaction in between writes only while
//! the mark is its own: of two restores into one store the later one goes on, on a store that it has emptied first.

use bytes::Bytes;
use tidegate_format::{
    ClusterKey, ClusterValue, FormatVersion, FormatVersionKey, OrderVersion, RestoringKey, RestoringValue,
};
use tidegate_store::{CommitError, Direction, KeyRange, Store, Txn, Version, commit_settled};
use uuid::Uuid;

use crate::contents::{Place, kind_of, place_of};
use crate::export::all_keys;
use crate::{Header, Renewal, RestoreError};

/// What one transaction writes at most, unless a single value is larger: below what any store takes, whatever its shape.
const BATCH_BYTES: usize = 2 << 20;
const BATCH_ENTRIES: usize = 4_096;
/// How often a transaction is tried that another one came before.
const COMMIT_ATTEMPTS: usize = 16;
/// How many keys are looked at to find one that makes a store not empty.
const LOOKED_AT: usize = 1_000;

/// A restore under way.
pub struct Restore<S> {
    store: S,
    mark: RestoringValue,
    cluster: Option<Uuid>,
    renewal: Renewal,
    batch: Vec<(Bytes, Bytes)>,
    batch_bytes: usize,
}

/// What was begun.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Restored {
    /// The id of the cluster that a broker on this store serves; none if it will draw one.
    pub cluster: Option<Uuid>,
}

impl<S: Store> Restore<S> {
    /// Begins to restore into a store, which gets the cluster's id `cluster`. What an earlier attempt has left there is
    /// removed. `attempt` is drawn at random for each call.
    ///
    /// # Errors
    /// If the store has anything else in it, is behind the backup's versions, or fails.
    pub async fn begin(
        store: S,
        header: &Header,
        cluster: Option<Uuid>,
        attempt: Uuid,
    ) -> Result<Self, RestoreError> {
        let supported = FormatVersion::SUPPORTED.get();
        if header.store_format != supported {
            return Err(RestoreError::StoreFormat { found: header.store_format, supported });
        }
        let snapshot = OrderVersion(header.snapshot.0);
        let mark = RestoringValue { attempt, snapshot, began_ms: store.now_ms() };
        let was_begun = put_mark(&store, &mark, header.snapshot).await?;
        if was_begun {
            remove_all_but_mark(&store).await?;
        }
        Ok(Self { store, mark, cluster, renewal: Renewal::default(), batch: Vec::new(), batch_bytes: 0 })
    }

    /// Writes entries, the next of the backup in their order.
    ///
    /// # Errors
    /// If they cannot be written. The store is then one that is being restored, for a later attempt.
    pub async fn write(&mut self, entries: Vec<(Bytes, Bytes)>) -> Result<(), RestoreError> {
        for (key, value) in entries {
            if let Some(entry) = self.renewal.renew(key, value)? {
                self.add(entry).await?;
            }
        }
        Ok(())
    }

    /// Makes the store one that can be served: all entries were written, and the file was whole.
    ///
    /// # Errors
    /// As [`write`](Self::write).
    pub async fn finish(mut self) -> Result<Restored, RestoreError> {
        for entry in std::mem::take(&mut self.renewal).rest()? {
            self.add(entry).await?;
        }
        self.commit_batch().await?;
        let cluster = self.cluster.map(|id| ClusterValue { id }.encode());
        self.commit_as_marked(|txn| {
            txn.put(FormatVersionKey.encode(), FormatVersion::SUPPORTED.encode());
            if let Some(cluster) = &cluster {
                txn.put(ClusterKey.encode(), cluster.clone());
            }
            txn.delete(RestoringKey.encode());
        })
        .await?;
        Ok(Restored { cluster: self.cluster })
    }

    async fn add(&mut self, entry: (Bytes, Bytes)) -> Result<(), RestoreError> {
        let bytes = entry.0.len() + entry.1.len();
        if self.batch.len() >= BATCH_ENTRIES || self.batch_bytes + bytes > BATCH_BYTES {
            self.commit_batch().await?;
        }
        self.batch_bytes += bytes;
        self.batch.push(entry);
        Ok(())
    }

    async fn commit_batch(&mut self) -> Result<(), RestoreError> {
        let batch = std::mem::take(&mut self.batch);
        self.batch_bytes = 0;
        if batch.is_empty() {
            return Ok(());
        }
        self.commit_as_marked(|txn| {
            txn.growing();
            for (key, value) in &batch {
                txn.put(key.clone(), value.clone());
            }
        })
        .await
    }

    /// Commits what `fill` writes if the mark is still this restore's.
    async fn commit_as_marked(&self, fill: impl Fn(&mut S::Txn)) -> Result<(), RestoreError> {
        for _ in 0..COMMIT_ATTEMPTS {
            let mut txn = self.store.begin().await?;
            if txn.get(&RestoringKey.encode()).await? != Some(self.mark.encode()) {
                return Err(RestoreError::Replaced);
            }
            txn.guard(RestoringKey.encode());
            fill(&mut txn);
            match commit_settled(&self.store, txn).await {
                Ok(()) => return Ok(()),
                Err(CommitError::Conflict) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Err(CommitError::Conflict.into())
    }
}

/// Marks the store as one that is being restored; whether it was one before.
async fn put_mark<S: Store>(
    store: &S,
    mark: &RestoringValue,
    snapshot: Version,
) -> Result<bool, RestoreError> {
    for _ in 0..COMMIT_ATTEMPTS {
        let mut txn = store.begin().await?;
        if txn.start_version() < snapshot {
            let behind_ms = snapshot.unix_ms() - txn.start_version().unix_ms();
            return Err(RestoreError::VersionsBehind { behind_ms });
        }
        let was_begun = txn.get(&RestoringKey.encode()).await?.is_some();
        if !was_begun {
            check_empty(&mut txn).await?;
        }
        // A broker that begins to use the store at this very moment writes these.
        txn.guard(FormatVersionKey.encode());
        txn.guard(ClusterKey.encode());
        txn.put(RestoringKey.encode(), mark.encode());
        match commit_settled(store, txn).await {
            Ok(()) => return Ok(was_begun),
            Err(CommitError::Conflict) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Err(CommitError::Conflict.into())
}

/// Refuses a store with anything in it but what belongs to processes.
async fn check_empty(txn: &mut impl Txn) -> Result<(), RestoreError> {
    let keys = txn.scan_keys(&all_keys(), LOOKED_AT, Direction::Forward).await?;
    let kinds = keys.iter().map(|key| kind_of(key));
    for kind in kinds {
        match kind {
            Ok(kind) if place_of(kind) == Place::Nowhere => {}
            Ok(kind) => return Err(RestoreError::NotEmpty { kind: kind.name().to_owned() }),
            Err(_) => return Err(RestoreError::NotEmpty { kind: "unknown".to_owned() }),
        }
    }
    Ok(())
}

async fn remove_all_but_mark<S: Store>(store: &S) -> Result<(), RestoreError> {
    let KeyRange { start, end } = all_keys();
    let mark = RestoringKey.encode();
    store.delete_range(KeyRange::new(start, mark.clone())).await?;
    Ok(store.delete_range(KeyRange::new(KeyRange::successor(&mark), end)).await?)
}

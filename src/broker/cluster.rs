//! What the store says of itself before anything else is read: the version of its format, and the cluster's id.

use tidegate_format::{ClusterKey, ClusterValue, FormatError, FormatVersion, FormatVersionKey};
use tidegate_store::{CommitError, ReadError, Store, Txn};
use uuid::Uuid;

use crate::BrokerStore;

/// Why a store cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum StoreUseError {
    /// It was written by a later release, or not by Tidegate.
    #[error("the store cannot be used: {0}")]
    Format(#[from] FormatError),
    /// It cannot be read.
    #[error("the store cannot be read: {0}")]
    Read(#[from] ReadError),
    /// It cannot be written.
    #[error("the store cannot be written: {0}")]
    Commit(#[from] CommitError),
}

/// Checks the store's format and gives the cluster's id; a new store gets both.
///
/// # Errors
/// If the store is of a later format or cannot be used.
pub(crate) async fn open_cluster(store: &BrokerStore) -> Result<Uuid, StoreUseError> {
    let mut txn = store.begin().await?;
    if let Some(version) = txn.get(&FormatVersionKey.encode()).await? {
        FormatVersion::decode(&version)?;
    } else {
        txn.put(FormatVersionKey.encode(), FormatVersion::SUPPORTED.encode());
    }
    let id = match txn.get(&ClusterKey.encode()).await? {
        Some(value) => ClusterValue::decode(value)?.id,
        None => {
            let id = Uuid::new_v4();
            txn.put(ClusterKey.encode(), ClusterValue { id }.encode());
            id
        }
    };
    txn.commit().await?;
    Ok(id)
}

/// Whether the store answers: readiness asks this.
///
/// # Errors
/// Why it does not.
pub(crate) async fn check_readable(store: &BrokerStore) -> Result<(), ReadError> {
    store.begin().await?.get(&ClusterKey.encode()).await.map(drop)
}

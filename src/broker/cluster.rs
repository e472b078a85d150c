//! What the store says of itself before anything else is read: the version of its format, and the cluster's id.

use std::collections::BTreeSet;

use bytes::Bytes;
use tidegate_format::{
    ClusterKey, ClusterValue, FormatError, FormatVersion, FormatVersionKey, Kind, RestoringKey,
};
use tidegate_store::{CommitError, Direction, KeyRange, ReadError, Store, Txn, commit_settled};
use uuid::Uuid;

use crate::BrokerStore;

/// How often opening is tried while others write the same rows.
const OPEN_ATTEMPTS: usize = 16;

/// Why a store cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum StoreUseError {
    /// It was written by a later release, by a version before the first one, or not by Tidegate.
    #[error(
        "the store cannot be used: {0}; run the release that wrote it, or name another store (settings `store`, `data.dir`)"
    )]
    Format(#[from] FormatError),
    /// It has no format version, and something in it that no release has written.
    #[error(
        "the store holds what Tidegate did not write (a key that begins with {first_byte:#04x}): name one that is empty or \
         its own (settings `store`, `data.dir`)"
    )]
    NotOurs {
        /// The first byte of the first such key.
        first_byte: u8,
    },
    /// Not all of a backup was written into it.
    #[error(
        "the store is not whole: a backup was being restored into it, and that did not end; run `tidegate restore` \
         again, which begins anew"
    )]
    Restoring,
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
/// If the store is of another format, is not whole or cannot be used.
pub(crate) async fn open_cluster<S: Store>(store: &S) -> Result<Uuid, StoreUseError> {
    for _ in 0..OPEN_ATTEMPTS {
        match try_open(store).await {
            // Another broker opens it for the first time too, or nothing was applied: read what is there now.
            Err(StoreUseError::Commit(CommitError::Conflict)) => {}
            opened => return opened,
        }
    }
    Err(CommitError::Conflict.into())
}

async fn try_open<S: Store>(store: &S) -> Result<Uuid, StoreUseError> {
    let mut txn = store.begin().await?;
    if txn.get(&RestoringKey.encode()).await?.is_some() {
        return Err(StoreUseError::Restoring);
    }
    if let Some(version) = txn.get(&FormatVersionKey.encode()).await? {
        FormatVersion::decode(&version)?;
    } else {
        check_ours(&mut txn).await?;
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
    commit_settled(store, txn).await?;
    Ok(id)
}

/// Refuses a store in which anything lies that is of no kind of ours. Applications may have written before any broker did.
async fn check_ours(txn: &mut impl Txn) -> Result<(), StoreUseError> {
    let tags: BTreeSet<u8> = Kind::ALL.iter().map(|kind| kind.tag()).collect();
    let mut from = 0;
    // One look at each gap between two kinds.
    for tag in tags.into_iter().chain([u8::MAX]) {
        let gap = KeyRange::new(Bytes::copy_from_slice(&[from]), Bytes::copy_from_slice(&[tag]));
        if from < tag
            && let Some(key) = txn.scan_keys(&gap, 1, Direction::Forward).await?.first()
        {
            return Err(StoreUseError::NotOurs { first_byte: key[0] });
        }
        from = tag.saturating_add(1);
    }
    Ok(())
}

/// Whether the store answers: readiness asks this.
///
/// # Errors
/// Why it does not.
pub(crate) async fn check_readable(store: &BrokerStore) -> Result<(), ReadError> {
    store.begin().await?.get(&ClusterKey.encode()).await.map(drop)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU64, Ordering};

    use bytes::Bytes;
    use tidegate_store::faulty::{CommitFault, On};
    use tidegate_store::{FaultyStore, ManualClock, MemoryStore};

    use super::*;

    fn process(memory: &MemoryStore) -> FaultyStore<MemoryStore> {
        static NONCES: AtomicU64 = AtomicU64::new(1);
        FaultyStore::new(memory.clone(), || u128::from(NONCES.fetch_add(1, Ordering::Relaxed)))
    }

    fn memory() -> MemoryStore {
        MemoryStore::new(Arc::new(ManualClock::at(1_790_000_000_000)))
    }

    #[tokio::test]
    async fn a_store_has_one_id_whatever_becomes_of_the_answers() {
        for fault in [CommitFault::LostApplied, CommitFault::LostNotApplied, CommitFault::LostLate] {
            let memory = memory();
            let store = process(&memory);
            store.faults().fail_commit(On::next(), fault.clone());
            let first = open_cluster(&store).await.expect("settled");
            let _late = store.deliver_late().await;
            assert_eq!(open_cluster(&process(&memory)).await.expect("there"), first, "{fault:?}");
        }
    }

    #[tokio::test]
    async fn who_comes_second_to_a_new_store_takes_the_id_of_the_first() {
        let memory = memory();
        let (one, other) = (process(&memory), process(&memory));
        let (one, other) = tokio::join!(open_cluster(&one), open_cluster(&other));
        assert_eq!(one.expect("opened"), other.expect("opened"));
    }

    #[tokio::test]
    async fn a_new_store_with_something_that_is_not_ours_is_refused_and_one_with_models_is_not() {
        for first_byte in [0_u8, 0x06, 0x34, 0x51, 0xfe] {
            let memory = memory();
            let mut txn = memory.begin().await.expect("in memory");
            txn.put(Bytes::from(vec![first_byte, b'x']), Bytes::from_static(b"theirs"));
            txn.commit().await.expect("nobody else writes");
            let error = open_cluster(&memory).await.expect_err("not ours");
            assert!(
                matches!(error, StoreUseError::NotOurs { first_byte: found } if found == first_byte),
                "{error}"
            );
        }
        let memory = memory();
        let mut txn = memory.begin().await.expect("in memory");
        txn.put(Bytes::from(vec![Kind::Model.tag(), b'x']), Bytes::from_static(b"a model"));
        txn.commit().await.expect("nobody else writes");
        open_cluster(&memory).await.expect("an application came first");
    }

    #[tokio::test]
    async fn a_store_of_another_format_or_with_something_else_in_it_is_refused_and_left_alone() {
        for foreign in [&[0, 0, 0, 9][..], &[0, 0, 0, 1], b"something that is not ours"] {
            let memory = memory();
            let mut txn = memory.begin().await.expect("in memory");
            txn.put(FormatVersionKey.encode(), Bytes::copy_from_slice(foreign));
            txn.commit().await.expect("nobody else writes");
            let error = open_cluster(&memory).await.expect_err("not ours");
            assert!(matches!(error, StoreUseError::Format(_)), "{error}");
            let mut txn = memory.begin().await.expect("in memory");
            assert_eq!(txn.get(&ClusterKey.encode()).await.expect("in memory"), None);
        }
    }
}

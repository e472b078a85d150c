//! Committed offsets as they lie in the store.

use bytes::Bytes;
use tidegate_format::{DoneKey, FormatError, OffsetKey, OffsetValue, ParkedKey, PartitionId, TopicId};
use tidegate_store::{CommitError, Pages, ReadError, Store, Txn, commit_settled};

use super::PAGE;
use super::load::GroupStoreError;

/// One committed offset.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct CommittedOffset {
    pub(crate) id: PartitionId,
    pub(crate) value: OffsetValue,
}

/// What a committed offset takes in a transaction beside its group's id and its metadata, in bytes.
const ROW_BYTES: usize = 96;

impl CommittedOffset {
    /// What it takes in a transaction of its group, roughly.
    pub(crate) fn bytes(&self, group: &str) -> usize {
        ROW_BYTES + group.len() + self.value.metadata.len()
    }
}

/// Why offsets cannot be read.
#[derive(Debug, thiserror::Error)]
pub(crate) enum OffsetReadError {
    #[error(transparent)]
    Read(#[from] ReadError),
    #[error(transparent)]
    Format(#[from] FormatError),
}

/// The offsets that a group has committed: of the partitions in `ids`, in their order and None where there is none; or,
/// without `ids`, all there are.
pub(crate) async fn load_offsets(
    txn: &mut impl Txn,
    group: &str,
    ids: Option<&[PartitionId]>,
) -> Result<Vec<(PartitionId, Option<OffsetValue>)>, OffsetReadError> {
    let Some(ids) = ids else { return load_all(txn, group).await };
    let keys: Vec<_> = ids.iter().map(|id| OffsetKey { group: group.to_owned(), id: *id }.encode()).collect();
    let rows = txn.get_many(&keys).await?;
    let mut offsets = Vec::with_capacity(ids.len());
    for (id, row) in ids.iter().zip(rows) {
        offsets.push((*id, row.map(OffsetValue::decode).transpose()?));
    }
    Ok(offsets)
}

async fn load_all(
    txn: &mut impl Txn,
    group: &str,
) -> Result<Vec<(PartitionId, Option<OffsetValue>)>, OffsetReadError> {
    let mut pages = Pages::new(OffsetKey::range(group), PAGE);
    let mut offsets = Vec::new();
    while let Some(page) = pages.next(txn).await? {
        for (key, row) in page {
            offsets.push((OffsetKey::decode(&key)?.id, Some(OffsetValue::decode(row)?)));
        }
    }
    Ok(offsets)
}

/// Deletes the offsets of a topic in every group, and what workers have noted there, in steps.
pub(super) async fn forget_topic<S: Store>(store: &S, topic: TopicId) -> Result<(), GroupStoreError> {
    forget(store, OffsetKey::all(), topic, |key| Ok(OffsetKey::decode(key)?.id)).await?;
    forget(store, DoneKey::all(), topic, |key| Ok(DoneKey::decode(key)?.id)).await?;
    forget(store, ParkedKey::all(), topic, |key| Ok(ParkedKey::decode(key)?.id)).await
}

/// Deletes the keys of a range that are a topic's.
async fn forget<S: Store>(
    store: &S,
    range: (Bytes, Bytes),
    topic: TopicId,
    id_of: impl Fn(&[u8]) -> Result<PartitionId, FormatError>,
) -> Result<(), GroupStoreError> {
    let mut pages = Pages::new(range, PAGE);
    loop {
        let mut txn = store.begin().await?;
        let mut after = pages.clone();
        let Some(page) = after.next_keys(&mut txn).await? else { return Ok(()) };
        for key in page {
            if id_of(&key)?.topic == topic {
                txn.delete(key);
            }
        }
        match commit_settled(store, txn).await {
            Ok(()) => pages = after,
            // A group has just written one of them, or nothing was applied: this page again.
            Err(CommitError::Conflict) => {}
            Err(error) => return Err(error.into()),
        }
    }
}

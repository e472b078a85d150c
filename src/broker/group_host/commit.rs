//! One turn's changes in one transaction, under the fence.

use std::collections::BTreeMap;

use bytes::Bytes;
use metrics::{counter, histogram};
use tidegate_format::{GroupKey, GroupValue, OffsetKey, OwnerEpoch, PartitionId};
use tidegate_group::Change;
use tidegate_store::{CommitError, Pages, ReadError, Store, Txn, commit_settled};
use tokio::time::Instant;

use super::load::GroupStoreError;
use super::{CommittedOffset, PAGE, Shared, marks};
use crate::metrics::names;

/// What one turn writes: by key, the last of several changes counts.
#[derive(Default)]
pub(super) struct Writes {
    /// The rows of the group and its members.
    group: BTreeMap<Bytes, Option<Bytes>>,
    offsets: BTreeMap<Bytes, Option<Bytes>>,
    /// All that are in the store, before `offsets` are written.
    deletes_all_offsets: bool,
    /// Where workers' marks and parked records are cleared.
    cleared: Vec<PartitionId>,
}

impl Writes {
    pub(super) fn change(&mut self, group: &str, change: &Change) {
        if matches!(change, Change::DeleteGroup) {
            self.offsets.clear();
            self.deletes_all_offsets = true;
        }
        let (key, value) = change.encode(group);
        self.group.insert(key, value);
    }

    pub(super) fn put_offset(&mut self, group: &str, offset: &CommittedOffset) {
        self.offsets.insert(offset_key(group, offset.id), Some(offset.value.encode()));
    }

    /// Sets an offset whatever was before: what workers have noted since does not count any more.
    pub(super) fn reset_offset(&mut self, group: &str, offset: &CommittedOffset) {
        self.put_offset(group, offset);
        self.cleared.push(offset.id);
    }

    pub(super) fn delete_offset(&mut self, group: &str, id: PartitionId) {
        self.cleared.push(id);
        self.offsets.insert(offset_key(group, id), None);
    }

    fn cleared_ranges(&self, group: &str) -> Vec<(Bytes, Bytes)> {
        let all = self.deletes_all_offsets.then(|| marks::of_group(group));
        let some = self.cleared.iter().map(|id| marks::of_partition(group, *id));
        all.into_iter().chain(some).flatten().collect()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.group.is_empty() && self.offsets.is_empty()
    }
}

fn offset_key(group: &str, id: PartitionId) -> Bytes {
    OffsetKey { group: group.to_owned(), id }.encode()
}

/// Commits what a turn writes. `epoch` is the one under which the group was loaded; None if it had no row yet.
pub(super) async fn commit<S: Store>(
    shared: &Shared<S>,
    group: &str,
    epoch: Option<OwnerEpoch>,
    writes: Writes,
) -> Result<(), GroupStoreError> {
    let cleared = writes.cleared_ranges(group);
    let (mut txn, group_key) = loop {
        let mut txn = shared.store.begin().await?;
        let group_key = check_fence(shared, &mut txn, group, epoch).await?;
        if marks::clear(&mut txn, &cleared).await? {
            break (txn, group_key);
        }
        commit_settled(&shared.store, txn).await?;
    };
    if !writes.group.is_empty() {
        // A new coordinator that has read the members since must not miss this change of one.
        txn.guard(group_key);
    }
    if writes.deletes_all_offsets {
        delete_all_offsets(&mut txn, group).await?;
    }
    for (key, value) in writes.group.into_iter().chain(writes.offsets) {
        match value {
            Some(value) => txn.put(key, value),
            None => txn.delete(key),
        }
    }
    let began = Instant::now();
    let committed = commit_settled(&shared.store, txn).await;
    histogram!(names::COMMIT_SECONDS, names::KIND => "group").record(began.elapsed().as_secs_f64());
    if committed == Err(CommitError::Conflict) {
        counter!(names::COMMIT_CONFLICTS, names::KIND => "group").increment(1);
    }
    Ok(committed?)
}

/// Fails unless the group's row is as this coordinator left it. Gives the row's key.
pub(super) async fn check_fence<S: Store>(
    shared: &Shared<S>,
    txn: &mut S::Txn,
    group: &str,
    epoch: Option<OwnerEpoch>,
) -> Result<Bytes, GroupStoreError> {
    let key = GroupKey { group: group.to_owned() }.encode();
    let row = txn.get(&key).await?;
    let found = row.map(GroupValue::decode).transpose()?.map(|row| (row.owner, row.epoch));
    if found == epoch.map(|epoch| (shared.broker, epoch)) { Ok(key) } else { Err(GroupStoreError::Fenced) }
}

async fn delete_all_offsets(txn: &mut impl Txn, group: &str) -> Result<(), ReadError> {
    let mut pages = Pages::new(OffsetKey::range(group), PAGE);
    while let Some(page) = pages.next_keys(txn).await? {
        page.into_iter().for_each(|key| txn.delete(key));
    }
    Ok(())
}

//! Committed offsets past their retention, and groups that have neither members nor offsets.
//!
//! What always holds: an offset is deleted in the transaction that found it old, so one that is committed meanwhile
//! stays.

use tidegate_format::{OffsetKey, OffsetValue, PartitionId};
use tidegate_group::{Command, Group, Ticket};
use tidegate_store::{CommitError, Store, Txn, commit_settled};
use tracing::debug;

use super::commit::check_fence;
use super::load::{GroupStoreError, load_rows};
use super::{Shared, load_offsets, marks};

/// What retention takes for now. Offsets have the times of the store's clock, and a group's own time runs on whatever
/// happens to that: if one of them is ahead, nothing expires before it has by the other.
fn now_ms<S: Store>(shared: &Shared<S>) -> i64 {
    shared.clock.now_ms().min(shared.store.now_ms())
}

/// What there is to do for one group.
struct Plan {
    expired: Vec<PartitionId>,
    /// Nothing is left of it.
    group_goes: bool,
}

impl Plan {
    fn is_empty(&self) -> bool {
        self.expired.is_empty() && !self.group_goes
    }
}

async fn plan<S: Store>(
    shared: &Shared<S>,
    txn: &mut S::Txn,
    group: &Group,
) -> Result<Plan, GroupStoreError> {
    let (expiry, now_ms) = (group.offset_expiry(), now_ms(shared));
    let topics = shared.catalogue.topics();
    let is_read =
        |id: PartitionId| topics.by_id(id.topic).is_some_and(|topic| group.is_subscribed_to(&topic.name));
    let is_expired = |id: PartitionId, value: &OffsetValue| {
        expiry.is_expired(value, now_ms, shared.offsets_retention_ms) && !is_read(id)
    };
    let offsets = load_offsets(txn, group.id(), None).await?;
    let count = offsets.len();
    let expired: Vec<PartitionId> = offsets
        .into_iter()
        .filter(|(id, value)| value.as_ref().is_some_and(|value| is_expired(*id, value)))
        .map(|(id, _)| id)
        .take(marks::CLEAR_MAX)
        .collect();
    Ok(Plan { group_goes: expired.len() == count && group.is_idle(), expired })
}

/// Whether a group that has no host needs one for this.
pub(super) async fn needs_expiry<S: Store>(shared: &Shared<S>, id: &str) -> Result<bool, GroupStoreError> {
    let mut txn = shared.store.begin().await?;
    let Some((row, members)) = load_rows(&mut txn, id).await? else { return Ok(false) };
    let group = Group::load(id.to_owned(), row, members, shared.config, shared.clock.now_ms())?;
    Ok(!plan(shared, &mut txn, &group).await?.is_empty())
}

/// Deletes what is past its retention, for a group that is hosted here. If the group goes too it is not founded any more.
pub(super) async fn expire<S: Store>(shared: &Shared<S>, group: &mut Group) -> Result<(), GroupStoreError> {
    let mut txn = shared.store.begin().await?;
    check_fence(shared, &mut txn, group.id(), Some(group.coordinator().epoch)).await?;
    let plan = plan(shared, &mut txn, group).await?;
    if plan.is_empty() {
        return Ok(());
    }
    let id = group.id().to_owned();
    let ranges: Vec<_> = plan.expired.iter().flat_map(|expired| marks::of_partition(&id, *expired)).collect();
    if !marks::clear(&mut txn, &ranges).await? {
        // The rest goes the next time, and the offsets with it.
        return match commit_settled(&shared.store, txn).await {
            Err(CommitError::Conflict) => Ok(()),
            other => Ok(other?),
        };
    }
    for expired in plan.expired {
        txn.delete(OffsetKey { group: id.clone(), id: expired }.encode());
    }
    if plan.group_goes {
        debug!(group = id, "a group without members and offsets goes");
        // Its answer goes to nobody.
        for change in group.handle(shared.clock.now_ms(), Ticket(0), Command::Delete).changes {
            let (key, value) = change.encode(&id);
            assert!(value.is_none(), "a delete writes nothing");
            txn.delete(key);
        }
    }
    match commit_settled(&shared.store, txn).await {
        // Somebody has just committed one of the offsets: next time. But a group that went has to be loaded again.
        Err(CommitError::Conflict) if !plan.group_goes => Ok(()),
        other => Ok(other?),
    }
}

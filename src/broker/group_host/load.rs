//! A group from the store, taken over: from then on an earlier coordinator's transactions abort.

use tidegate_format::{FormatError, GroupKey, GroupMemberKey, GroupMemberValue, GroupValue, OwnerEpoch};
use tidegate_group::Group;
use tidegate_store::{CommitError, Pages, ReadError, Store, Txn, commit_settled};

use super::{PAGE, Shared};

/// Why a group cannot be loaded, or its changes cannot be committed.
#[derive(Debug, thiserror::Error)]
pub(super) enum GroupStoreError {
    #[error(transparent)]
    Read(#[from] ReadError),
    #[error(transparent)]
    Commit(#[from] CommitError),
    #[error(transparent)]
    Format(#[from] FormatError),
    #[error(transparent)]
    Rows(#[from] tidegate_group::LoadError),
    #[error(transparent)]
    Offsets(#[from] super::offsets::OffsetReadError),
    #[error("another coordinator has taken the group over")]
    Fenced,
}

/// The group of that id, taken over under a new epoch; None if it has no row.
pub(super) async fn load<S: Store>(shared: &Shared<S>, id: &str) -> Result<Option<Group>, GroupStoreError> {
    let mut txn = shared.store.begin().await?;
    let Some((mut row, members)) = load_rows(&mut txn, id).await? else { return Ok(None) };
    row.owner = shared.broker;
    row.epoch = OwnerEpoch(row.epoch.0 + 1);
    txn.put(GroupKey { group: id.to_owned() }.encode(), row.encode());
    commit_settled(&shared.store, txn).await?;
    Ok(Some(Group::load(id.to_owned(), row, members, shared.config, shared.clock.now_ms())?))
}

/// The group of that id as it is in the store, to look at only; None if it has no row.
pub(super) async fn peek<S: Store>(shared: &Shared<S>, id: &str) -> Result<Option<Group>, GroupStoreError> {
    let mut txn = shared.store.begin().await?;
    let Some((row, members)) = load_rows(&mut txn, id).await? else { return Ok(None) };
    Ok(Some(Group::load(id.to_owned(), row, members, shared.config, shared.clock.now_ms())?))
}

/// The rows of a group and its members; None if it has none.
pub(super) async fn load_rows(
    txn: &mut impl Txn,
    id: &str,
) -> Result<Option<(GroupValue, Vec<(String, GroupMemberValue)>)>, GroupStoreError> {
    let Some(row) = txn.get(&GroupKey { group: id.to_owned() }.encode()).await? else { return Ok(None) };
    Ok(Some((GroupValue::decode(row)?, load_members(txn, id).await?)))
}

async fn load_members(
    txn: &mut impl Txn,
    id: &str,
) -> Result<Vec<(String, GroupMemberValue)>, GroupStoreError> {
    let mut pages = Pages::new(GroupMemberKey::range(id), PAGE);
    let mut members = Vec::new();
    while let Some(page) = pages.next(txn).await? {
        for (key, row) in page {
            members.push((GroupMemberKey::decode(&key)?.member, GroupMemberValue::decode(row)?));
        }
    }
    Ok(members)
}

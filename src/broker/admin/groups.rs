//! What the consumer groups are, read from one snapshot of the store.

use tidegate_format::{GroupKey, GroupMemberKey, GroupState, GroupValue};
use tidegate_store::{Pages, Txn};

use super::lag::{FiguresError, PAGE, Shown};

/// One group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct GroupFigures {
    pub(crate) group: String,
    pub(crate) members: u64,
    pub(crate) generation: i32,
    pub(crate) state: GroupState,
}

/// Every group, those without members among them; at most `max`.
pub(crate) async fn load_groups(txn: &mut impl Txn, max: usize) -> Result<Shown<GroupFigures>, FiguresError> {
    let mut pages = Pages::new(GroupKey::all(), PAGE);
    let mut shown = Shown { rows: Vec::new(), truncated: false };
    while let Some(page) = pages.next(txn).await? {
        for (key, row) in page {
            if shown.rows.len() == max {
                shown.truncated = true;
                return Ok(shown);
            }
            let group = GroupKey::decode(&key)?.group;
            let GroupValue { generation, state, .. } = GroupValue::decode(row)?;
            let members = count_members(txn, &group).await?;
            shown.rows.push(GroupFigures { group, members, generation: generation.0, state });
        }
    }
    Ok(shown)
}

async fn count_members(txn: &mut impl Txn, group: &str) -> Result<u64, FiguresError> {
    let mut pages = Pages::new(GroupMemberKey::range(group), PAGE);
    let mut count = 0;
    while let Some(page) = pages.next_keys(txn).await? {
        count += page.len() as u64;
    }
    Ok(count)
}

//! What the consumer groups are, read from one snapshot of the store.

use tidegate_format::{GroupKey, GroupMemberKey, GroupState, GroupValue};
use tidegate_store::{Direction, KeyRange, ScanLimit, Txn};

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
    let (start, end) = GroupKey::all();
    let mut range = KeyRange::new(start, end);
    let mut shown = Shown { rows: Vec::new(), truncated: false };
    loop {
        let page = txn.scan(&range, ScanLimit::count(PAGE), Direction::Forward).await?;
        for (key, row) in &page {
            if shown.rows.len() == max {
                shown.truncated = true;
                return Ok(shown);
            }
            let group = GroupKey::decode(key)?.group;
            let GroupValue { generation, state, .. } = GroupValue::decode(row.clone())?;
            let members = count_members(txn, &group).await?;
            shown.rows.push(GroupFigures { group, members, generation: generation.0, state });
        }
        match page.last() {
            Some((last, _)) if page.len() == PAGE => range.start = KeyRange::successor(last),
            _ => return Ok(shown),
        }
    }
}

async fn count_members(txn: &mut impl Txn, group: &str) -> Result<u64, FiguresError> {
    let (start, end) = GroupMemberKey::range(group);
    let mut range = KeyRange::new(start, end);
    let mut count = 0;
    loop {
        let page = txn.scan_keys(&range, PAGE, Direction::Forward).await?;
        count += page.len() as u64;
        match page.last() {
            Some(last) if page.len() == PAGE => range.start = KeyRange::successor(last),
            _ => return Ok(count),
        }
    }
}

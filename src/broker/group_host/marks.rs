//! What workers leave behind in a group: marks of records that are done, and parked records.
//!
//! They belong to the committed offset that they were made under. So they are cleared, in its transaction, when the offset is
//! set by somebody who is no member of the group, when it is deleted or expires, and when the group is deleted.

use bytes::Bytes;
use tidegate_format::{DoneKey, ParkedKey, PartitionId};
use tidegate_store::{Pages, ReadError, Txn};

use super::PAGE;

/// Rows that are cleared in one transaction: no store finds so many too many, however long the group's name is. Where
/// there are more, the first are cleared in transactions of their own.
pub(super) const CLEAR_MAX: usize = 5_000;

/// Where the rows of a group in a partition are.
pub(super) fn of_partition(group: &str, id: PartitionId) -> [(Bytes, Bytes); 2] {
    [DoneKey::range(group, id), ParkedKey::range(group, id)]
}

/// Where all rows of a group are.
pub(super) fn of_group(group: &str) -> [(Bytes, Bytes); 2] {
    [DoneKey::range_group(group), ParkedKey::range_group(group)]
}

/// Deletes the rows of these ranges, as long as there is room. Says whether that was all.
pub(super) async fn clear(txn: &mut impl Txn, ranges: &[(Bytes, Bytes)]) -> Result<bool, ReadError> {
    let mut room = CLEAR_MAX;
    for range in ranges {
        let mut pages = Pages::new(range.clone(), PAGE);
        while let Some(page) = pages.next_keys(txn).await? {
            if room == 0 {
                return Ok(false);
            }
            room = room.saturating_sub(page.len());
            page.into_iter().for_each(|key| txn.delete(key));
        }
    }
    Ok(true)
}

use tidegate_store::Store;

use super::*;
use crate::fixture::{ID, append_group, batch, memory, own};

#[tokio::test]
async fn an_epoch_ends_where_the_next_one_begins() {
    let (store, _) = memory();
    let mut ends = Vec::new();
    for records in [2, 0, 3] {
        let owner = own(&store, 1).await;
        if records > 0 {
            let _ = append_group(&store, &owner, &[batch(&vec![1; records])]).await.expect("owned");
        }
    }
    let last = own(&store, 1).await;
    let mut txn = store.begin().await.expect("a store that works");
    for asked in -1..=4 {
        let end = epoch_end_offset(&mut txn, ID, OwnerEpoch(asked)).await.expect("intact");
        ends.push(end.map(|end| (end.epoch.0, end.end_offset.0)));
    }
    assert_eq!(last.epoch, OwnerEpoch(3));
    assert_eq!(ends, [None, Some((0, 2)), Some((0, 2)), Some((2, 5)), Some((3, 5)), None]);
}

//! Schedules: cancelled, moved, listed.

use tidegate_store::Store;

use super::*;
use crate::EntryIds;
use crate::fixture::{
    NOW_MS, TOPIC, commit, create_topic, event, memory_store, partition, publish, rows, scheduled, waiting,
};

async fn schedule_some<S: Store>(store: &S, names: &[&str]) {
    create_topic(store, 1).await;
    for name in names {
        publish(store, scheduled(event("k", name), name, NOW_MS + 10)).await.expect("published");
    }
}

#[tokio::test]
async fn cancelling_removes_entry_and_row_and_what_is_gone_is_none() {
    let (store, _) = memory_store();
    schedule_some(&store, &["a", "b"]).await;
    commit(&store, async |_, txn| {
        assert_eq!(cancel(txn, TOPIC, "a").await, Ok(Some(partition(0))));
        assert_eq!(cancel(txn, TOPIC, "a").await, Ok(None), "own writes are seen");
        assert_eq!(cancel(txn, TOPIC, "never-there").await, Ok(None));
        assert_eq!(cancel(txn, TOPIC, "").await, Ok(None));
        assert_eq!(cancel(txn, TOPIC, &"x".repeat(10_000)).await, Ok(None));
    })
    .await;
    assert_eq!(waiting(&store, partition(0)).await, (0, 1, 1));
}

#[tokio::test]
async fn rescheduling_moves_the_entry_and_its_timestamp() {
    let (store, _) = memory_store();
    schedule_some(&store, &["a"]).await;
    for due_ms in [NOW_MS + 99, NOW_MS - 99] {
        commit(&store, async |_, txn| {
            let entry = EntryIds::new(&*txn, 7).next_id();
            assert_eq!(reschedule(txn, TOPIC, "a", due_ms, NOW_MS, entry).await, Ok(Some(partition(0))));
        })
        .await;
        let (key, row) = rows(&store, TimerKey::range(partition(0))).await.remove(0);
        assert_eq!(TimerKey::decode(&key).expect("a key").due_ms, due_ms.max(NOW_MS));
        let value = EventValue::decode(row).expect("an event");
        assert_eq!(value.timestamp_ms, Some(due_ms));
        assert_eq!(value.value.as_deref(), Some(b"a".as_slice()));
        assert_eq!(waiting(&store, partition(0)).await, (0, 1, 1));
    }
}

#[tokio::test]
async fn a_topics_schedules_are_listed_by_name_page_by_page() {
    let (store, _) = memory_store();
    let mut names = vec!["a", "a\0", "a\u{1}b", "b", "ä", "z"];
    schedule_some(&store, &names).await;
    names.sort_unstable();
    let mut txn = store.begin().await.expect("a snapshot");
    for limit in 1..=7 {
        let mut found = Vec::new();
        let mut after = None;
        let mut pages = 0;
        loop {
            pages += 1;
            let page = list(&mut txn, TOPIC, after.as_deref(), limit).await.expect("readable");
            assert!(page.schedules.len() <= limit);
            found.extend(page.schedules.into_iter().map(|scheduled| scheduled.schedule));
            after = page.next;
            if after.is_none() {
                break;
            }
        }
        assert_eq!(found, names, "pages of {limit}");
        assert_eq!(pages, names.len().div_ceil(limit), "none is empty");
    }
    let long = format!("a{}", "z".repeat(5_000));
    let page = list(&mut txn, TOPIC, Some(&long), 10).await.expect("readable");
    assert_eq!(page.schedules.first().map(|scheduled| scheduled.schedule.as_str()), Some("b"));
    let expected = Scheduled { schedule: "b".to_owned(), partition: PartitionIndex(0), due_ms: NOW_MS + 10 };
    assert_eq!(page.schedules.first(), Some(&expected));
}

#[tokio::test]
async fn the_next_due_time_is_that_of_the_entry_due_first() {
    let (store, _) = memory_store();
    create_topic(&store, 1).await;
    let mut txn = store.begin().await.expect("a snapshot");
    assert_eq!(next_due(&mut txn, partition(0)).await, Ok(None));
    for (name, due_ms) in [("a", NOW_MS + 30), ("b", NOW_MS + 10), ("c", NOW_MS + 20)] {
        publish(&store, scheduled(event("k", name), name, due_ms)).await.expect("published");
    }
    let mut txn = store.begin().await.expect("a snapshot");
    assert_eq!(next_due(&mut txn, partition(0)).await, Ok(Some(NOW_MS + 10)));
    assert_eq!(next_due(&mut txn, partition(1)).await, Ok(None));
}

#[test]
fn entries_of_one_millisecond_sort_in_the_order_of_dependent_transactions_and_calls() {
    let (store, _) = memory_store();
    crate::fixture::block_on(async {
        let first = store.begin().await.expect("a snapshot");
        let mut ids = EntryIds::new(&first, u32::MAX);
        let mut all = vec![ids.next_id(), ids.next_id()];
        first.commit().await.expect("nothing to commit");
        let second = store.begin().await.expect("a snapshot");
        let mut ids = EntryIds::new(&second, 0);
        all.extend([ids.next_id(), ids.next_id()]);
        assert!(all.is_sorted_by(|left, right| left < right), "{all:?}");
    });
}

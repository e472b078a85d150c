use tidegate_format::OrderVersion;
use tidegate_store::{ManualClock, MemoryStore, Version, commit_settled};

use super::*;
use crate::fixture::{ID, NOW_MS, append_one, at, batch, faulty, idempotent, memory, own, read_all, state};
use crate::read;

async fn keys(store: &impl Store) -> usize {
    let mut txn = store.begin().await.expect("a store that works");
    let (start, end) = LogKey::range(ID);
    txn.scan_keys(&KeyRange::new(start, end), 1000, Direction::Forward)
        .await
        .expect("a store that works")
        .len()
}

async fn retain_once(store: &impl Store, owner: &Ownership, retention: &Retention, now_ms: i64) -> i64 {
    let mut txn = store.begin().await.expect("a store that works");
    let expected = has_expired_records(&mut txn, ID, retention, now_ms).await.expect("intact");
    let moved = retain(&mut txn, owner, retention, now_ms).await.expect("owned");
    assert_eq!(moved.is_some(), expected, "a look without ownership says the same");
    commit_settled(store, txn).await.expect("owned");
    state(store).await.log_start.0
}

/// Ten batches of one record, a second apart.
async fn ten_seconds() -> (MemoryStore, ManualClock, Ownership) {
    let (store, clock) = memory();
    let owner = own(&store, 1).await;
    for second in 0..10 {
        append_one(&store, &owner, &batch(&[second])).await.expect("owned");
        clock.advance(1000);
    }
    (store, clock, owner)
}

#[tokio::test]
async fn batches_go_by_the_time_they_were_appended_not_by_their_own() {
    let (store, _, owner) = ten_seconds().await;
    let retention = Retention { retention_ms: Some(5000), retention_bytes: None };
    for (now_ms, start) in
        [(5000, 0), (5001, 1), (8500, 4), (8500, 4), (8000, 4), (14_000, 9), (1_000_000, 10)]
    {
        assert_eq!(retain_once(&store, &owner, &retention, NOW_MS + now_ms).await, start, "at {now_ms} ms");
    }
    assert_eq!(state(&store).await.log_bytes, 0);
    append_one(&store, &owner, &batch(&[1])).await.expect("offsets go on");
    assert_eq!(state(&store).await.next_offset, Offset(11));
}

#[tokio::test]
async fn batches_go_as_long_as_enough_bytes_are_left() {
    let (store, _, owner) = ten_seconds().await;
    let one = state(&store).await.log_bytes / 10;
    for (kept, start) in
        [(one * 20, 0), (one * 10, 0), (one * 9 + 1, 0), (one * 9, 1), (one * 2 - 1, 8), (0, 10)]
    {
        let retention = Retention { retention_ms: None, retention_bytes: Some(kept) };
        assert_eq!(retain_once(&store, &owner, &retention, NOW_MS).await, start, "{kept} bytes");
        assert_eq!(state(&store).await.log_bytes, one * (10 - start.unsigned_abs()));
    }
}

#[tokio::test]
async fn without_limits_everything_is_kept() {
    let (store, _, owner) = ten_seconds().await;
    assert_eq!(retain_once(&store, &owner, &Retention::default(), i64::MAX).await, 0);
}

#[tokio::test]
async fn a_sweep_removes_what_lies_below_the_start_and_nothing_else() {
    let (store, _, owner) = ten_seconds().await;
    assert_eq!(sweep(&store, ID).await, Ok(false));
    let mut txn = store.begin().await.expect("a store that works");
    delete_records(&mut txn, &owner, Offset(4)).await.expect("in range");
    commit_settled(&store, txn).await.expect("owned");
    assert_eq!(keys(&store).await, 10, "a crash here leaves them behind");
    assert_eq!(sweep(&store, ID).await, Ok(true));
    assert_eq!(keys(&store).await, 6);
    assert_eq!(sweep(&store, ID).await, Ok(false));
    assert_eq!(read_all(&store, 4).await.len(), 6);
}

#[tokio::test]
async fn a_batch_whose_middle_is_the_start_stays_whole() {
    let (store, _) = memory();
    let owner = own(&store, 1).await;
    append_one(&store, &owner, &batch(&[1, 2, 3])).await.expect("owned");
    let before = state(&store).await.log_bytes;
    let mut txn = store.begin().await.expect("a store that works");
    let after = delete_records(&mut txn, &owner, Offset(2)).await.expect("in range");
    commit_settled(&store, txn).await.expect("owned");
    assert_eq!((after.log_start, after.log_bytes), (Offset(2), before));
    sweep(&store, ID).await.expect("a store that works");
    assert_eq!(read_all(&store, 2).await.len(), 1);
}

#[tokio::test]
async fn deleting_beyond_the_end_or_before_the_start_is_out_of_range() {
    let (store, _, owner) = ten_seconds().await;
    let mut txn = store.begin().await.expect("a store that works");
    let out_of_range = Err(OffsetError::OutOfRange { log_start: Offset(0), high_watermark: Offset(10) });
    assert_eq!(delete_records(&mut txn, &owner, Offset(11)).await, out_of_range);
    assert_eq!(delete_records(&mut txn, &owner, Offset(-1)).await, out_of_range);
}

#[tokio::test]
async fn a_reader_whose_offset_is_swept_away_under_its_snapshot_is_told_so_and_skips_nothing() {
    let (store, _, owner) = ten_seconds().await;
    let process = faulty(&store);
    // As if the range were removed under the open snapshot, which a backend may let it see.
    let mut txn = process.begin().await.expect("a store that works");
    for offset in 0..4 {
        txn.delete(LogKey { id: ID, last_offset: Offset(offset) }.encode());
    }
    let limit = crate::fixture::ALL;
    let gone = read(&mut txn, ID, Offset(2), limit).await;
    assert!(matches!(gone, Err(OffsetError::OutOfRange { .. })), "{gone:?}");
    assert_eq!(read(&mut txn, ID, Offset(4), limit).await.expect("still there").batches.batches.len(), 6);
    assert_eq!(owner.id, ID);
}

#[tokio::test]
async fn silent_producers_are_forgotten_in_bounded_steps() {
    let (store, _) = memory();
    let owner = own(&store, 1).await;
    for producer in 0..10 {
        let sent_ms = NOW_MS + if producer % 2 == 0 { 0 } else { 1000 };
        append_one(&store, &owner, &at(idempotent(producer, 0, 0, 1), sent_ms)).await.expect("owned");
    }
    let mut txn = store.begin().await.expect("a store that works");
    assert_eq!(has_expired_producers(&mut txn, ID, NOW_MS + 999, 1000).await, Ok(false));
    assert_eq!(has_expired_producers(&mut txn, ID, NOW_MS + 1500, 1000).await, Ok(true));
    let (mut from, mut removed, mut steps) = (Some(ProducerId(0)), 0, 0);
    while let Some(next) = from {
        let mut txn = store.begin().await.expect("a store that works");
        let step = expire_producers(&mut txn, &owner, next, 3, NOW_MS + 1500, 1000).await.expect("owned");
        commit_settled(&store, txn).await.expect("owned");
        (from, removed, steps) = (step.next, removed + step.removed, steps + 1);
    }
    assert_eq!((removed, steps), (5, 4));
    let mut txn = store.begin().await.expect("a store that works");
    let (start, end) = ProducerKey::range(ID);
    let left =
        txn.scan_keys(&KeyRange::new(start, end), 100, Direction::Forward).await.expect("a store that works");
    let left: Vec<i64> =
        left.iter().map(|key| ProducerKey::decode(key).expect("a producer").producer.0).collect();
    assert_eq!(left, [1, 3, 5, 7, 9]);
}

#[tokio::test]
async fn the_time_of_an_append_tells_how_long_a_consumer_lags_behind() {
    let (store, _, _) = ten_seconds().await;
    let mut txn = store.begin().await.expect("a store that works");
    let appended =
        crate::append_version_at(&mut txn, ID, Offset(3)).await.expect("intact").expect("in the log");
    assert_eq!(appended.unix_ms(), NOW_MS + 3000);
    assert!(appended >= OrderVersion(Version::first_of_ms(NOW_MS + 3000).0));
    assert_eq!(crate::append_version_at(&mut txn, ID, Offset(10)).await, Ok(None));
}

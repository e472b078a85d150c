use tidegate_format::{LogKey, LogValue, TimestampMaxima};
use tidegate_protocol::batch::{
    BatchOptions, NO_PRODUCER_EPOCH, NO_PRODUCER_ID, NO_SEQUENCE, rewrite_producer,
};
use tidegate_store::{Store, commit_settled};

use super::*;
use crate::fixture::{ID, NOW_MS, RULES, append_group, batch, compressed, memory, own, payload};
use crate::{AdmittedBatch, BatchRules, delete_records};

const ROOM: usize = 1 << 20;

async fn by_timestamp(store: &impl Store, target_ms: i64, room: usize) -> Option<i64> {
    let mut txn = store.begin().await.expect("a store that works");
    find_by_timestamp(&mut txn, ID, target_ms, room).await.expect("intact").map(|found| found.offset.0)
}

async fn max_timestamp(store: &impl Store) -> Option<(i64, i64)> {
    let mut txn = store.begin().await.expect("a store that works");
    let found = find_max_timestamp(&mut txn, ID, ROOM).await.expect("intact");
    found.map(|found| (found.offset.0, found.timestamp_ms))
}

async fn log_of(batches: &[AdmittedBatch]) -> (tidegate_store::MemoryStore, crate::Ownership) {
    let (store, _) = memory();
    let owner = own(&store, 1).await;
    let _ = append_group(&store, &owner, batches).await.expect("owned");
    (store, owner)
}

async fn delete_to(store: &impl Store, owner: &crate::Ownership, to: i64) {
    let mut txn = store.begin().await.expect("a store that works");
    delete_records(&mut txn, owner, Offset(to)).await.expect("in range");
    commit_settled(store, txn).await.expect("owned");
}

#[tokio::test]
async fn the_first_record_at_or_after_a_time_is_found_inside_its_batch() {
    let (store, _) = log_of(&[batch(&[10, 12]), compressed(&[11, 20, 15, 30]), batch(&[25])]).await;
    for (target_ms, offset) in
        [(0, Some(0)), (11, Some(1)), (13, Some(3)), (20, Some(3)), (21, Some(5)), (31, None)]
    {
        assert_eq!(by_timestamp(&store, target_ms, ROOM).await, offset, "at {target_ms}");
    }
    assert_eq!(max_timestamp(&store).await, Some((5, 30)));
}

#[tokio::test]
async fn an_empty_log_and_one_without_timestamps_have_no_offset_for_a_time() {
    let (store, _) = log_of(&[]).await;
    assert_eq!(by_timestamp(&store, 0, ROOM).await, None);
    assert_eq!(max_timestamp(&store).await, None);
    let (store, _) = log_of(&[batch(&[-1, -1])]).await;
    assert_eq!(by_timestamp(&store, 0, ROOM).await, None);
    assert_eq!(max_timestamp(&store).await, None);
}

#[tokio::test]
async fn records_before_the_logs_start_are_not_found_although_their_batch_is_there() {
    let (store, owner) = log_of(&[batch(&[10, 50, 20]), batch(&[30])]).await;
    delete_to(&store, &owner, 2).await;
    assert_eq!(by_timestamp(&store, 0, ROOM).await, Some(2));
    assert_eq!(by_timestamp(&store, 25, ROOM).await, Some(3));
}

#[tokio::test]
async fn a_maximum_that_is_gone_does_not_hide_what_came_after_it() {
    let (store, owner) = log_of(&[batch(&[99]), batch(&[10]), batch(&[40]), batch(&[30])]).await;
    delete_to(&store, &owner, 1).await;
    assert_eq!(by_timestamp(&store, 20, ROOM).await, Some(2));
    assert_eq!(by_timestamp(&store, 50, ROOM).await, None);
    assert_eq!(max_timestamp(&store).await, Some((2, 40)));
}

/// A batch whose header claims this maximum, whatever its records say.
fn claiming(timestamps_ms: &[i64], max_timestamp_ms: i64) -> AdmittedBatch {
    let mut bytes = payload(timestamps_ms, BatchOptions::default()).to_vec();
    bytes[35..43].copy_from_slice(&max_timestamp_ms.to_be_bytes());
    // Gives it the checksum of what it says now.
    let bytes = rewrite_producer(bytes.into(), NO_PRODUCER_ID, NO_PRODUCER_EPOCH, NO_SEQUENCE);
    let batch = crate::fixture::admit(&bytes);
    assert_eq!(batch.header().max_timestamp, max_timestamp_ms);
    batch
}

#[tokio::test]
async fn a_header_that_claims_too_much_hides_nothing() {
    let (store, _) = log_of(&[claiming(&[10], 1_000), batch(&[20]), batch(&[30, 40])]).await;
    for (target_ms, offset) in [(5, Some(0)), (11, Some(1)), (35, Some(3)), (41, None), (1_000, None)] {
        assert_eq!(by_timestamp(&store, target_ms, ROOM).await, offset, "at {target_ms}");
    }
    assert_eq!(max_timestamp(&store).await, Some((3, 40)));
}

#[tokio::test]
async fn a_header_that_claims_too_little_hides_its_own_records_and_not_its_first() {
    let (store, _) = log_of(&[batch(&[10]), claiming(&[20, 60], 5), batch(&[30])]).await;
    for (target_ms, offset) in [(5, Some(0)), (15, Some(1)), (21, Some(3)), (31, None)] {
        assert_eq!(by_timestamp(&store, target_ms, ROOM).await, offset, "at {target_ms}");
    }
}

#[tokio::test]
async fn a_look_up_ends_however_many_headers_claim_what_their_records_do_not_have() {
    let mut batches = vec![claiming(&[10], 1_000); LOOKED_INTO_MAX];
    batches.extend([batch(&[20]), claiming(&[30], 1_000), batch(&[40])]);
    let (store, _) = log_of(&batches).await;
    let looked_into = i64::try_from(LOOKED_INTO_MAX).expect("a small number");
    assert_eq!(by_timestamp(&store, 15, ROOM).await, Some(looked_into), "as many as are looked into");
    assert_eq!(
        by_timestamp(&store, 35, ROOM).await,
        Some(looked_into + 1),
        "an earlier record, none is missed"
    );
    assert_eq!(max_timestamp(&store).await, Some((0, 10)), "of those that were looked at");
}

#[tokio::test]
async fn all_records_of_a_log_append_time_batch_have_its_time() {
    let rules = BatchRules { timestamp_type: TimestampType::LogAppendTime, ..RULES };
    let stamped = |now_ms| {
        let payload = payload(&[1, 2], BatchOptions::default());
        AdmittedBatch::new(&payload, &rules, now_ms).expect("a good batch")
    };
    let (store, owner) = log_of(&[stamped(NOW_MS), stamped(NOW_MS + 5)]).await;
    assert_eq!(by_timestamp(&store, NOW_MS + 1, ROOM).await, Some(2));
    assert_eq!(max_timestamp(&store).await, Some((2, NOW_MS + 5)));
    delete_to(&store, &owner, 3).await;
    assert_eq!(by_timestamp(&store, 0, ROOM).await, Some(3));
}

#[tokio::test]
async fn a_batch_that_takes_more_room_than_allowed_is_found_by_its_first_offset() {
    let (store, _) = log_of(&[batch(&[10]), compressed(&[20; 100])]).await;
    assert_eq!(by_timestamp(&store, 15, 64).await, Some(1));
}

#[tokio::test]
async fn a_row_that_does_not_decode_is_an_error_that_names_it() {
    let (store, _) = log_of(&[batch(&[10]), batch(&[20])]).await;
    let mut txn = store.begin().await.expect("a store that works");
    let value = LogValue {
        append_version: tidegate_format::OrderVersion(1),
        maxima: TimestampMaxima::new(20, []),
        end_bytes: 1,
        batch: Bytes::from_static(b"no batch"),
    };
    txn.put(LogKey { id: ID, last_offset: Offset(1) }.encode(), value.encode());
    commit_settled(&store, txn).await.expect("a store that works");
    let mut txn = store.begin().await.expect("a store that works");
    let error = find_by_timestamp(&mut txn, ID, 15, ROOM).await.expect_err("damaged");
    assert!(error.to_string().contains("offset 1"), "{error}");
}

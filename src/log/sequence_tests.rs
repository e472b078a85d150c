use tidegate_format::Offset;
use tidegate_store::{Store, commit_settled};

use super::*;
use crate::fixture::{NOW_MS, append_group, append_one, at, idempotent, memory, own, sequences, state};
use crate::{AppendError, Appended, Ownership, UNKNOWN_OFFSET};

const PRODUCER: i64 = 42;

/// Sends one batch and tells its offset, or why it was refused.
async fn send(
    store: &impl Store,
    owner: &Ownership,
    epoch: i16,
    first: i32,
    count: usize,
) -> Result<i64, &'static str> {
    match append_one(store, owner, &idempotent(PRODUCER, epoch, first, count)).await {
        Ok(appended) => Ok(appended.base_offset.0),
        Err(AppendError::Sequence(SequenceError::OutOfOrder { .. })) => Err("out of order"),
        Err(AppendError::Sequence(SequenceError::OldEpoch { .. })) => Err("old epoch"),
        Err(AppendError::Log(error)) => panic!("{error}"),
    }
}

/// What a producer sends, one batch after the other, and what it is answered, as Kafka's ProducerStateManager has it.
async fn table(steps: &[(i16, i32, usize, Result<i64, &'static str>)]) {
    let (store, _) = memory();
    let owner = own(&store, 1).await;
    for (number, (epoch, first, count, expected)) in steps.iter().enumerate() {
        let answer = send(&store, &owner, *epoch, *first, *count).await;
        assert_eq!(answer, *expected, "step {number}");
    }
}

const OUT_OF_ORDER: Result<i64, &str> = Err("out of order");
const OLD_EPOCH: Result<i64, &str> = Err("old epoch");

#[tokio::test]
async fn batches_in_sequence_are_appended_one_after_the_other() {
    table(&[(0, 0, 3, Ok(0)), (0, 3, 1, Ok(3)), (0, 4, 2, Ok(4))]).await;
}

#[tokio::test]
async fn a_repeat_of_the_last_five_batches_is_answered_with_its_first_offset() {
    let sent: Vec<_> = (0..7).map(|n| (0, n * 2, 2, Ok(i64::from(n) * 2))).collect();
    let repeated: Vec<_> = (2..7).map(|n| (0, n * 2, 2, Ok(i64::from(n) * 2))).collect();
    let forgotten = [(0, 2, 2, OUT_OF_ORDER), (0, 0, 2, OUT_OF_ORDER)];
    let next = [(0, 14, 1, Ok(14))];
    table(&[sent, repeated, forgotten.to_vec(), next.to_vec()].concat()).await;
}

#[tokio::test]
async fn a_batch_that_only_overlaps_an_earlier_one_is_out_of_order() {
    table(&[(0, 0, 4, Ok(0)), (0, 0, 3, OUT_OF_ORDER), (0, 1, 3, OUT_OF_ORDER), (0, 4, 1, Ok(4))]).await;
}

#[tokio::test]
async fn a_gap_is_out_of_order_and_the_missing_batch_still_fits() {
    table(&[(0, 0, 2, Ok(0)), (0, 5, 1, OUT_OF_ORDER), (0, 2, 3, Ok(2)), (0, 5, 1, Ok(5))]).await;
}

#[tokio::test]
async fn a_producer_that_is_not_known_may_begin_anywhere() {
    table(&[(3, 1000, 2, Ok(0)), (3, 1002, 1, Ok(2)), (3, 0, 1, OUT_OF_ORDER)]).await;
}

#[tokio::test]
async fn a_new_epoch_begins_at_zero_and_shuts_the_old_one_out() {
    table(&[
        (0, 0, 2, Ok(0)),
        (1, 2, 1, OUT_OF_ORDER),
        (1, 0, 1, Ok(2)),
        (0, 2, 1, OLD_EPOCH),
        (0, 0, 2, OLD_EPOCH),
        (1, 0, 1, Ok(2)),
        (1, 1, 1, Ok(3)),
    ])
    .await;
}

#[tokio::test]
async fn sequence_numbers_begin_anew_after_the_largest() {
    let max = i32::MAX;
    table(&[
        (0, max - 1, 1, Ok(0)),
        (0, max, 1, Ok(1)),
        (0, 0, 1, Ok(2)),
        (0, 1, 1, Ok(3)),
        (0, max, 1, Ok(1)),
    ])
    .await;
    table(&[(0, max - 1, 4, Ok(0)), (0, max - 1, 4, Ok(0)), (0, 0, 1, OUT_OF_ORDER), (0, 2, 1, Ok(4))]).await;
}

#[tokio::test]
async fn two_producers_do_not_meet() {
    let (store, _) = memory();
    let owner = own(&store, 1).await;
    for (producer, first, offset) in [(1, 0, 0), (2, 0, 1), (1, 1, 2), (2, 1, 3), (1, 0, 0), (2, 0, 1)] {
        let appended =
            append_one(&store, &owner, &idempotent(producer, 0, first, 1)).await.expect("in order");
        assert_eq!(appended.base_offset, Offset(offset), "producer {producer}, sequence {first}");
    }
}

#[tokio::test]
async fn repeats_within_one_transaction_are_found_and_a_refused_batch_leaves_no_trace() {
    let (store, _) = memory();
    let owner = own(&store, 1).await;
    let group =
        [(0, 2), (0, 2), (9, 1), (2, 1), (2, 1)].map(|(first, count)| idempotent(PRODUCER, 0, first, count));
    let (appends, outcomes) = append_group(&store, &owner, &group).await.expect("a store that works");
    let offsets: Vec<_> =
        outcomes.iter().map(|outcome| outcome.as_ref().ok().map(|a| a.base_offset.0)).collect();
    assert_eq!(offsets, [Some(0), Some(0), None, Some(2), Some(2)]);
    assert_eq!(appends.entries.len(), 2);
    assert_eq!(sequences(&store).await, [0, 2]);
    assert_eq!(state(&store).await.next_offset, Offset(3));
}

#[tokio::test]
async fn what_is_known_of_a_producer_survives_a_new_owner() {
    let (store, _) = memory();
    let first = own(&store, 1).await;
    send(&store, &first, 0, 0, 5).await.expect("the first batch");
    let second = own(&store, 2).await;
    assert_eq!(send(&store, &second, 0, 0, 5).await, Ok(0));
    assert_eq!(send(&store, &second, 0, 6, 1).await, OUT_OF_ORDER);
    assert_eq!(send(&store, &second, 0, 5, 1).await, Ok(5));
    assert_eq!(sequences(&store).await, [0, 5]);
}

#[tokio::test]
async fn a_producer_that_was_silent_for_its_expiration_counts_as_new() {
    let (store, _) = memory();
    let owner = own(&store, 1).await;
    let day_ms = 86_400_000;
    let later = |first, ms| at(idempotent(PRODUCER, 0, first, 1), NOW_MS + ms);
    append_one(&store, &owner, &later(0, 0)).await.expect("known");
    assert!(append_one(&store, &owner, &later(7, day_ms - 1)).await.is_err());
    append_one(&store, &owner, &later(7, day_ms)).await.expect("forgotten, so it may begin anywhere");
    assert!(append_one(&store, &owner, &later(0, day_ms)).await.is_err());
    append_one(&store, &owner, &later(8, day_ms)).await.expect("the next one");
}

#[tokio::test]
async fn a_batch_with_held_records_is_answered_without_offset_and_taken_once() {
    let (store, _) = memory();
    let owner = own(&store, 1).await;
    let whole = idempotent(PRODUCER, 0, 0, 4);
    let rest = crate::fixture::batch(&[NOW_MS]);
    let mut answers = Vec::new();
    for _ in 0..2 {
        let mut txn = store.begin().await.expect("a store that works");
        let mut appender = crate::Appender::begin(&mut txn, &owner).await.expect("owned");
        answers.push(appender.append_held(&mut txn, &whole, Some(&rest)).await.expect("in sequence"));
        let _ = appender.finish(&mut txn);
        commit_settled(&store, txn).await.expect("a store that works");
    }
    let first = Appended { base_offset: UNKNOWN_OFFSET, log_append_time_ms: None, repeated: false };
    assert_eq!(answers, [first, Appended { repeated: true, ..first }]);
    assert_eq!(state(&store).await.next_offset, Offset(1), "only what was not held is in the log, once");
    assert_eq!(send(&store, &owner, 0, 1, 1).await, OUT_OF_ORDER);
    assert_eq!(send(&store, &owner, 0, 4, 1).await, Ok(1));
}

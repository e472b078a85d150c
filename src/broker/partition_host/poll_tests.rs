//! Long polls: woken by appends, bounded in bytes and time.

use std::time::Duration;

use tidegate_format::Offset;
use tidegate_outbox::Wakeup;
use tidegate_store::ReadError;
use tidegate_store::faulty::On;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::fixture::{Broker, START_MS, batch, config, partition};
use super::{PollLimits, Want};
use crate::settings::Settings;

fn want(from: i64) -> Want {
    Want { id: partition(0), from: Offset(from), max_bytes: 1 << 20, epoch: None }
}

fn limits(min_bytes: usize, wait_ms: u64) -> PollLimits {
    PollLimits {
        min_bytes,
        max_bytes: 1 << 20,
        until: Instant::now() + Duration::from_millis(wait_ms),
        cancelled: CancellationToken::new(),
    }
}

#[tokio::test(start_paused = true)]
async fn a_long_poll_is_woken_by_an_append_without_any_time_going_by() {
    let broker = Broker::new(2).await;
    for round in 0..3 {
        let polled = tokio::spawn({
            let hosts = broker.hosts.clone();
            let other = Want { id: partition(1), ..want(0) };
            async move {
                let began = Instant::now();
                let results = hosts.poll(&[other, want(round)], &limits(1, 60_000)).await;
                (began.elapsed(), results)
            }
        });
        tokio::time::sleep(Duration::from_secs(5)).await;
        broker.produce(partition(0), batch("x")).await.expect("a store that works");
        let (took, results) = polled.await.expect("no panic");
        assert_eq!(took, Duration::from_secs(5));
        let read = results[1].as_ref().expect("in range");
        assert_eq!((read.batches.batches.len(), read.high_watermark), (1, Offset(round + 1)));
        assert_eq!(results[0].as_ref().expect("in range").batches.bytes, 0);
    }
}

/// Whoever asked for about as much as a partition may give once waited for its time with a whole log before it.
#[tokio::test(start_paused = true)]
async fn a_long_poll_does_not_wait_for_bytes_that_its_limits_leave_out() {
    let broker = Broker::new(2).await;
    for index in [0, 0, 0, 0, 1, 1] {
        broker.produce(partition(index), batch("x")).await.expect("a store that works");
    }
    let one = broker.hosts.poll(&[want(3)], &limits(1, 0)).await[0].as_ref().expect("in range").batches.bytes;
    let began = Instant::now();
    let most = one * 5 / 2;
    let narrow = Want { max_bytes: most, ..want(0) };
    let results = broker.hosts.poll(&[narrow], &limits(most, 60_000)).await;
    assert_eq!(results[0].as_ref().expect("in range").batches.bytes, one * 2);
    let all = PollLimits { max_bytes: most, ..limits(most, 60_000) };
    let other = Want { id: partition(1), ..want(1) };
    let results = broker.hosts.poll(&[other, want(0)], &all).await;
    assert_eq!(results[1].as_ref().expect("in range").batches.bytes, one);
    assert_eq!(began.elapsed(), Duration::ZERO, "there is as much as was asked for");
    broker.hosts.poll(&[Want { max_bytes: most, ..want(2) }], &limits(most, 60_000)).await;
    assert_eq!(began.elapsed(), Duration::from_secs(60), "there are two batches left, and no more");
}

#[tokio::test(start_paused = true)]
async fn partitions_that_there_is_no_room_for_are_not_read() {
    let settings = Settings { tail_cache_bytes: 0, read_ahead_bytes: 0, ..Settings::default() };
    let broker = Broker::with(4, config(), settings).await;
    for index in 0..4 {
        broker.produce(partition(index), batch("x")).await.expect("a store that works");
    }
    let wants: Vec<Want> = (0..4).map(|index| Want { id: partition(index), ..want(0) }).collect();
    let one =
        broker.hosts.poll(&wants[..1], &limits(1, 0)).await[0].as_ref().expect("in range").batches.bytes;
    // The first is read, and the second to find that it does not fit.
    broker.store.faults().fail_begin(On::nth(2), ReadError::Unavailable { reason: "away".into() });
    let results = broker.hosts.poll(&wants, &PollLimits { max_bytes: one * 3 / 2, ..limits(1, 0) }).await;
    let bytes: Vec<_> = results.iter().map(|read| read.as_ref().map(|read| read.batches.bytes)).collect();
    assert_eq!(bytes, [Ok(one), Ok(0), Ok(0), Ok(0)]);
    assert!(results.iter().flatten().all(|read| read.high_watermark == Offset(1)), "each says where it ends");
}

#[tokio::test(start_paused = true)]
async fn a_long_poll_waits_for_its_bytes_or_its_time() {
    let broker = Broker::new(1).await;
    broker.produce(partition(0), batch("x")).await.expect("a store that works");
    let one = broker.hosts.poll(&[want(0)], &limits(1, 0)).await[0].as_ref().expect("in range").batches.bytes;
    let began = Instant::now();
    let polled = tokio::spawn({
        let hosts = broker.hosts.clone();
        async move { hosts.poll(&[want(0)], &limits(one * 3, 60_000)).await }
    });
    for second in 1..=2 {
        tokio::time::sleep(Duration::from_secs(1)).await;
        assert!(!polled.is_finished(), "second {second}");
        broker.produce(partition(0), batch("x")).await.expect("a store that works");
    }
    let results = polled.await.expect("no panic");
    assert_eq!(results[0].as_ref().expect("in range").batches.bytes, one * 3);
    assert_eq!(began.elapsed(), Duration::from_secs(2));
    let results = broker.hosts.poll(&[want(0)], &limits(one * 4, 1_500)).await;
    assert_eq!(
        results[0].as_ref().expect("in range").batches.bytes,
        one * 3,
        "what there is when the time is up"
    );
    assert_eq!(began.elapsed(), Duration::from_millis(3_500));
}

#[tokio::test(start_paused = true)]
async fn limits_of_a_poll_hold_across_partitions_but_the_first_batch_is_always_given() {
    let broker = Broker::new(3).await;
    for index in 0..3 {
        for _ in 0..3 {
            broker.produce(partition(index), batch("x")).await.expect("a store that works");
        }
    }
    let wants: Vec<Want> = (0..3).map(|index| Want { id: partition(index), ..want(0) }).collect();
    let one = broker.hosts.poll(&wants, &limits(1, 0)).await[0].as_ref().expect("in range").batches.bytes / 3;
    let counts = async |max_bytes, partition_max_bytes| -> Vec<usize> {
        let limits = PollLimits { max_bytes, ..limits(1, 0) };
        let wants: Vec<Want> =
            wants.iter().map(|want| Want { max_bytes: partition_max_bytes, ..*want }).collect();
        let results = broker.hosts.poll(&wants, &limits).await;
        results.iter().map(|result| result.as_ref().expect("in range").batches.batches.len()).collect()
    };
    assert_eq!(counts(usize::MAX, usize::MAX).await, [3, 3, 3]);
    assert_eq!(counts(one * 4, usize::MAX).await, [3, 1, 0]);
    assert_eq!(counts(usize::MAX, one * 2).await, [2, 2, 2]);
    assert_eq!(counts(1, 1).await, [1, 0, 0]);
    assert_eq!(counts(one * 2, 1).await, [1, 0, 0]);
}

#[tokio::test(start_paused = true)]
async fn an_offset_beyond_the_end_or_another_epoch_ends_a_long_poll_at_once() {
    let broker = Broker::new(1).await;
    broker.produce(partition(0), batch("x")).await.expect("a store that works");
    let began = Instant::now();
    let out_of_range = broker.hosts.poll(&[want(2)], &limits(1, 60_000)).await;
    assert!(out_of_range[0].is_err());
    let epoch = Some(tidegate_format::OwnerEpoch(7));
    assert!(broker.hosts.poll(&[Want { epoch, ..want(1) }], &limits(1, 60_000)).await[0].is_err());
    assert_eq!(began.elapsed(), Duration::ZERO);
}

#[tokio::test(start_paused = true)]
async fn a_long_poll_ends_with_its_topic_and_with_the_broker() {
    let broker = Broker::new(1).await;
    broker.produce(partition(0), batch("x")).await.expect("a store that works");
    let began = Instant::now();
    let polled = tokio::spawn({
        let hosts = broker.hosts.clone();
        async move { hosts.poll(&[want(1)], &limits(1, 60_000)).await }
    });
    let cancelled = CancellationToken::new();
    let stopped = tokio::spawn({
        let (hosts, cancelled) = (broker.hosts.clone(), cancelled.clone());
        async move { hosts.poll(&[want(1)], &PollLimits { cancelled, ..limits(1, 60_000) }).await }
    });
    tokio::time::sleep(Duration::from_secs(1)).await;
    cancelled.cancel();
    assert!(stopped.await.expect("no panic")[0].is_ok());
    broker.topics.drop_topic(partition(0).topic);
    broker.hosts.close(&[partition(0)]).await;
    assert!(polled.await.expect("no panic")[0].is_err());
    assert_eq!(began.elapsed(), Duration::from_secs(1));
}

#[tokio::test(start_paused = true)]
async fn what_is_relayed_wakes_long_polls_too() {
    let broker = Broker::new(1).await;
    broker.publish_at(partition(0), START_MS + 5_000, "later").await;
    broker.hosts.committed(&[partition(0)]);
    let began = Instant::now();
    let results = broker.hosts.poll(&[want(0)], &limits(1, 60_000)).await;
    assert_eq!(results[0].as_ref().expect("in range").batches.batches.len(), 1);
    assert!(began.elapsed() < Duration::from_millis(5_005));
}

//! Lateness of schedules while many others wait.

use std::time::Duration;

use tidegate::{Consumer, ConsumerOptions, Producer, ProducerOptions, ProducerRecord, Start, TopicPartition};
use tidegate_broker::settings::StoreAddress;
use tidegate_store::{Clock, SystemClock};

use super::Figure;
use super::figures::{percentiles, rate};
use super::served::Served;

const TOPIC: &str = "later";
const PARTITIONS: i32 = 4;
/// What waits is due this far ahead: not while the bench runs.
const FAR_MS: i64 = 86_400_000;
/// Entries whose lateness is measured, at this rate.
const MEASURED: i64 = 5_000;
const PER_SECOND: i64 = 500;

/// How late entries are at a consumer while `pending` others wait, and what memory those take.
pub(super) async fn lateness(store: &StoreAddress, pending: u32) -> anyhow::Result<Vec<Figure>> {
    let stage = Served::start(store)?;
    stage.create(TOPIC, PARTITIONS, "scheduled").await?;
    let producer = Producer::connect(stage.client(), ProducerOptions::default()).await?;
    let mut rows = vec![stage.resident(format!("broker resident before {pending} schedules"))];
    let began = std::time::Instant::now();
    let now_ms = SystemClock.now_ms();
    for number in 0..i64::from(pending) {
        send(&producer, number, now_ms + FAR_MS + number).await?;
    }
    producer.flush().await;
    let waiting = usize::try_from(pending)?;
    rows.push(rate(format!("schedules produced, {pending}"), waiting, began.elapsed(), "records/s"));
    rows.push(stage.resident(format!("broker resident with {pending} pending")));

    let mut consumer = Consumer::connect(stage.client(), ConsumerOptions::default()).await?;
    let all = (0..PARTITIONS).map(|partition| (TopicPartition::new(TOPIC, partition), Start::Earliest));
    consumer.assign(all)?;
    let first_due_ms = SystemClock.now_ms() + 2_000;
    for number in 0..MEASURED {
        send(&producer, number, first_due_ms + number * 1_000 / PER_SECOND).await?;
    }
    producer.flush().await;
    let mut times = Vec::new();
    for _ in 0..MEASURED {
        let record = consumer.recv().await?;
        let late_ms = SystemClock.now_ms() - record.timestamp_ms;
        anyhow::ensure!(late_ms >= 0, "a record came {} ms early", -late_ms);
        times.push(Duration::from_millis(late_ms.unsigned_abs()));
    }
    rows.extend(percentiles(&format!("schedule lateness with {pending} pending"), times));
    rows.push(stage.resident_at_most(format!("broker resident at most with {pending} pending")));
    drop(consumer);
    producer.close().await;
    stage.stop()?;
    Ok(rows)
}

async fn send(producer: &Producer, number: i64, due_ms: i64) -> anyhow::Result<()> {
    let partition = i32::try_from(number % i64::from(PARTITIONS))?;
    let record = ProducerRecord::to(TOPIC).partition(partition).value(vec![b'x'; 100]).timestamp_ms(due_ms);
    producer.enqueue(record).await?;
    Ok(())
}

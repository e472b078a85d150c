//! Produce and consume with the Rust client.

use std::time::{Duration, Instant};

use tidegate::{Consumer, ConsumerOptions, Producer, ProducerOptions, ProducerRecord, Start, TopicPartition};
use tidegate_broker::settings::StoreAddress;

use super::Figure;
use super::figures::{percentiles, rate, resident};
use super::stage::Stage;

const TOPIC: &str = "bench";
/// Bytes that each throughput row produces.
const PRODUCED_BYTES: usize = 200 << 20;
/// Records whose way from one client to another is measured, one at a time.
const ROUND_TRIPS: usize = 3_000;

/// Records a second, acknowledged by all and on disk; and back.
pub(super) async fn throughput(store: &StoreAddress) -> anyhow::Result<Vec<Figure>> {
    let mut rows = Vec::new();
    for (bytes, name) in [(100, "100 B"), (1024, "1 KiB")] {
        for partitions in [1, 12] {
            let stage = Stage::open(store).await?;
            stage.create(TOPIC, partitions, "immediate").await?;
            let records = (PRODUCED_BYTES / bytes).min(1_000_000);
            let elapsed = produce(&stage, bytes, partitions, records).await?;
            rows.push(rate(format!("produce {name} into {partitions}"), records, elapsed, "records/s"));
            let elapsed = consume(&stage, partitions, records).await?;
            rows.push(rate(format!("consume {name} from {partitions}"), records, elapsed, "records/s"));
            stage.close().await;
        }
    }
    rows.extend(end_to_end(store).await?);
    rows.push(resident("resident after that, clients included"));
    Ok(rows)
}

async fn produce(stage: &Stage, bytes: usize, partitions: i32, records: usize) -> anyhow::Result<Duration> {
    let producer = Producer::connect(stage.client(), ProducerOptions::default()).await?;
    let value = bytes::Bytes::from(vec![b'x'; bytes]);
    let began = Instant::now();
    let mut last = Vec::new();
    for number in 0..records {
        let partition = i32::try_from(number % usize::try_from(partitions)?)?;
        let record = ProducerRecord::to(TOPIC).partition(partition).value(value.clone());
        let receipt = producer.enqueue(record).await?;
        if number + 1_000 >= records {
            last.push(receipt);
        }
    }
    producer.flush().await;
    let elapsed = began.elapsed();
    for receipt in last {
        receipt.wait().await?;
    }
    producer.close().await;
    Ok(elapsed)
}

async fn consume(stage: &Stage, partitions: i32, records: usize) -> anyhow::Result<Duration> {
    let mut consumer = Consumer::connect(stage.client(), ConsumerOptions::default()).await?;
    let began = Instant::now();
    consumer
        .assign((0..partitions).map(|partition| (TopicPartition::new(TOPIC, partition), Start::Earliest)))?;
    let mut count = 0;
    while count < records {
        count += consumer.poll(Duration::from_secs(1)).await?.len();
    }
    Ok(began.elapsed())
}

/// From before the send to the record at a consumer, one record at a time.
async fn end_to_end(store: &StoreAddress) -> anyhow::Result<Vec<Figure>> {
    let stage = Stage::open(store).await?;
    stage.create(TOPIC, 1, "immediate").await?;
    let options = ProducerOptions { linger_ms: 0, ..ProducerOptions::default() };
    let producer = Producer::connect(stage.client(), options).await?;
    let mut consumer = Consumer::connect(stage.client(), ConsumerOptions::default()).await?;
    consumer.assign([(TopicPartition::new(TOPIC, 0), Start::Earliest)])?;
    let mut times = Vec::with_capacity(ROUND_TRIPS);
    for _ in 0..ROUND_TRIPS {
        let began = Instant::now();
        let receipt = producer.enqueue(ProducerRecord::to(TOPIC).value(vec![b'x'; 100])).await?;
        consumer.recv().await?;
        times.push(began.elapsed());
        receipt.wait().await?;
    }
    drop(consumer);
    producer.close().await;
    stage.close().await;
    Ok(percentiles("end to end, one at a time", times))
}

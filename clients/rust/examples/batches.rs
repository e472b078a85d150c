//! A worker for batches, in order, on partitions that it names itself: no group assigns them, and its progress is the
//! committed offset, which the handler's own transaction moves.
//!
//! `cargo run --example batches`

use std::time::Duration;

use tidegate::{AppStore, Event, NewTopic, Outcome, ProducerOptions, ProducerRecord, Tidegate, Tx};

const READINGS: u64 = 1_000;

/// The sum of all readings: a second worker on the same partition could not add one twice.
async fn add(events: Vec<Event>, tx: Tx<AppStore>) -> Result<Outcome, tidegate::model::Error> {
    let mut sum = read(&tx).await?;
    for event in &events {
        // What is no number will not become one. The event alone is a dead letter; the others of its batch come again.
        match event.json::<u64>() {
            Ok(reading) => sum += reading,
            Err(error) => return Ok(Outcome::Reject(error.to_string())),
        }
    }
    tx.user().put("sum", sum.to_string()).await?;
    Ok(Outcome::Ack)
}

async fn read(tx: &Tx<AppStore>) -> Result<u64, tidegate::model::Error> {
    let text = tx.user().get("sum").await?.unwrap_or_default();
    Ok(String::from_utf8_lossy(&text).parse().unwrap_or(0))
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    run().await
}

pub(crate) async fn run() -> Result<(), Box<dyn std::error::Error>> {
    let directory = tempfile::tempdir()?;
    let tidegate = Tidegate::open(directory.path()).await?;
    let topic = NewTopic::new("readings", 2);
    tidegate.admin().await?.create_topic(&topic).await?;

    let producer = tidegate.producer(ProducerOptions::default()).await?;
    for reading in 1..=READINGS {
        let partition = i32::try_from(reading % 2)?;
        let record = ProducerRecord::to("readings").partition(partition).value(reading.to_string());
        producer.enqueue(record).await?;
    }
    producer.send(ProducerRecord::to("readings").partition(0).value("no number")).await?;
    producer.close().await;

    let worker = tidegate.worker()?.group("sums").partitions("readings", [0, 1]).batch_max(100);
    let worker = worker.start_batches(add).await?;
    let sum = async || -> Result<u64, Box<dyn std::error::Error>> {
        let text = tidegate.db().snapshot().await?.user().get("sum").await?.unwrap_or_default();
        Ok(String::from_utf8_lossy(&text).parse().unwrap_or(0))
    };
    while (sum().await?, worker.figures().dead_letters) != (READINGS * (READINGS + 1) / 2, 1) {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    println!("the sum of {READINGS} readings is {}", sum().await?);
    worker.stop().await?;
    tidegate.shutdown().await;
    Ok(())
}

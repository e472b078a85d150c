//! Records that are held until they are due: sent by a producer, moved and cancelled by name.
//!
//! `cargo run --example schedules`

use std::collections::BTreeSet;
use std::time::Duration;

use tidegate::{ConsumerOptions, NewTopic, ProducerOptions, ProducerRecord, Start, Tidegate, TopicPartition};

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    run().await
}

pub(crate) async fn run() -> Result<(), Box<dyn std::error::Error>> {
    let directory = tempfile::tempdir()?;
    let tidegate = Tidegate::open(directory.path()).await?;
    // On such a topic a timestamp that lies ahead is when the record enters the log. Any Kafka client can set one.
    let topic = NewTopic::new("alarms", 1).config("tidegate.delivery", "scheduled");
    tidegate.admin().await?.create_topic(&topic).await?;

    let producer = tidegate.producer(ProducerOptions::default()).await?;
    let alarm = |value: &'static str| ProducerRecord::to("alarms").value(value);
    // What is due is told by the store's clock.
    let clock = async || tidegate.db().transaction(|tx| async move { tx.now_ms().await }).await;
    let now_ms = clock().await?;
    producer.schedule("dentist", now_ms + 3_600_000, alarm("dentist")).await?;
    producer.schedule("breakfast", now_ms + 3_600_000, alarm("breakfast")).await?;
    producer.schedule("lunch", now_ms + 100, alarm("lunch")).await?;
    producer.reschedule("breakfast", now_ms + 50, alarm("breakfast, early")).await?;
    producer.cancel("alarms", "dentist").await?;
    let at_once = producer.send(alarm("now")).await?;
    println!("what is due at once has its offset: {:?}", at_once.offset);

    let mut consumer = tidegate.consumer(ConsumerOptions::default()).await?;
    consumer.assign([(TopicPartition::new("alarms", 0), Start::Earliest)])?;
    let mut alarms = BTreeSet::new();
    for _ in 0..3 {
        let record = tokio::time::timeout(Duration::from_secs(60), consumer.recv()).await??;
        assert!(clock().await? >= record.timestamp_ms, "none comes early");
        alarms.insert(record.value.ok_or("an alarm says what for")?);
    }
    assert!(alarms.iter().eq(["breakfast, early", "lunch", "now"]), "{alarms:?}");
    println!("breakfast, early, and lunch; no dentist");
    consumer.close().await?;
    producer.close().await;
    tidegate.shutdown().await;
    Ok(())
}

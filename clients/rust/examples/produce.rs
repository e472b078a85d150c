//! Sends numbered records to a topic, and prints where they went and how fast.
//!
//! `cargo run --example produce -- 127.0.0.1:9092 flights 100000 zstd`

use std::time::Instant;

use tidegate::{ClientOptions, Producer, ProducerOptions, ProducerRecord};

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let bootstrap = arguments.next().unwrap_or_else(|| "127.0.0.1:9092".into());
    let topic = arguments.next().unwrap_or_else(|| "flights".into());
    let count: usize = arguments.next().map_or(Ok(1000), |count| count.parse())?;
    let compression = arguments.next().map_or(Ok(tidegate::Compression::None), |name| name.parse())?;

    let options = ProducerOptions { compression, ..ProducerOptions::default() };
    let producer = Producer::connect(ClientOptions::new(&bootstrap), options).await?;
    let first =
        producer.send(ProducerRecord::to(&topic).key("first").value("hello").header("trace", "abc")).await?;
    println!("the first record is in partition {} at offset {:?}", first.partition, first.offset);

    let started = Instant::now();
    let mut receipts = Vec::with_capacity(count);
    for number in 0..count {
        let record =
            ProducerRecord::to(&topic).key(format!("key-{}", number % 100)).value(format!("{number:0100}"));
        receipts.push(producer.enqueue(record).await?);
    }
    for receipt in receipts {
        receipt.wait().await?;
    }
    let seconds = started.elapsed().as_secs_f64();
    #[expect(clippy::cast_precision_loss, reason = "for people")]
    let rate = count as f64 / seconds;
    println!("{count} records in {seconds:.3} s, {rate:.0} a second");
    producer.close().await;
    Ok(())
}

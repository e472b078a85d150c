//! Reads a topic as a member of a group until nothing has come for three seconds, and prints what it saw.
//!
//! `cargo run --example consume -- 127.0.0.1:9092 flights my-group [cooperative]`

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use tidegate::{Assignor, AutoOffsetReset, ClientOptions, Consumer, ConsumerOptions};

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let bootstrap = arguments.next().unwrap_or_else(|| "127.0.0.1:9092".into());
    let topic = arguments.next().unwrap_or_else(|| "flights".into());
    let group = arguments.next().unwrap_or_else(|| "example".into());
    let assignor = if arguments.next().is_some() { Assignor::CooperativeSticky } else { Assignor::Range };

    let options = ConsumerOptions {
        auto_offset_reset: AutoOffsetReset::Earliest,
        assignors: vec![assignor],
        ..ConsumerOptions::group(group)
    };
    let mut consumer = Consumer::connect(ClientOptions::new(&bootstrap), options).await?;
    consumer.subscribe([topic])?;

    let mut counts: BTreeMap<i32, u64> = BTreeMap::new();
    let mut assignment = Vec::new();
    let mut first: Option<Instant> = None;
    let mut last = Instant::now();
    loop {
        // Joining may take as long as the brokers wait for others to join.
        let patience = Duration::from_secs(if first.is_some() { 3 } else { 15 });
        let next = tokio::time::timeout(patience, consumer.recv()).await;
        if consumer.assignment() != assignment {
            assignment = consumer.assignment();
            let names: Vec<String> = assignment.iter().map(ToString::to_string).collect();
            println!("assigned: {}", names.join(" "));
        }
        let Ok(record) = next else { break };
        *counts.entry(record?.partition).or_default() += 1;
        first.get_or_insert_with(Instant::now);
        last = Instant::now();
    }
    let seconds = first.map_or(0.0, |first| (last - first).as_secs_f64());
    println!("records by partition: {counts:?}, in {seconds:.3} s");
    consumer.close().await?;
    Ok(())
}

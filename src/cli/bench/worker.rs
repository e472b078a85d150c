//! A worker's events, each exactly once: with and without a row that its handler writes, one after the other and side by side.

use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};
use tidegate::{Event, Outcome, Producer, ProducerOptions, ProducerRecord, Tx, Worker, WorkerBuilder};
use tidegate_broker::BrokerStore;
use tidegate_broker::settings::StoreAddress;
use tidegate_model::{Model, ModelId};

use super::Figure;
use super::figures::rate;
use super::stage::Stage;

/// How long each row is measured.
const MEASURED: Duration = Duration::from_secs(5);
const TOPIC: &str = "events";
const PARTITIONS: i32 = 4;
/// Events that wait, more than are handled in that time, and their keys.
const EVENTS: u32 = 300_000;
const KEYS: u32 = 1_000;

#[derive(Serialize, Deserialize)]
struct Effect {
    id: String,
    note: String,
}

impl Model for Effect {
    const TABLE: &'static str = "effects";

    fn id(&self) -> ModelId {
        self.id.as_str().into()
    }
}

impl Effect {
    fn of(event: &Event) -> Self {
        let record = event.record();
        Self { id: format!("{}/{}", record.partition, record.offset), note: "x".repeat(60) }
    }
}

async fn nothing(_: Event, _: Tx<BrokerStore>) -> Outcome {
    Outcome::Ack
}

async fn row(event: Event, tx: Tx<BrokerStore>) -> Result<(), tidegate_model::Error> {
    tx.insert(&Effect::of(&event)).await
}

async fn rows(events: Vec<Event>, tx: Tx<BrokerStore>) -> Result<(), tidegate_model::Error> {
    for event in &events {
        tx.insert(&Effect::of(event)).await?;
    }
    Ok(())
}

/// Events a second.
pub(super) async fn throughput(address: &StoreAddress) -> anyhow::Result<Vec<Figure>> {
    let mut figures = Vec::new();
    for in_flight in [1, 16, 64] {
        for with_row in [false, true] {
            let stage = filled(address).await?;
            let builder = builder(&stage).concurrency(in_flight);
            let worker = if with_row { builder.start(row).await? } else { builder.start(nothing).await? };
            let what = if with_row { "worker, marker and a row" } else { "worker, marker alone" };
            figures.push(measure(format!("{what}, {in_flight} in flight"), worker).await?);
            stage.close().await;
        }
    }
    let stage = filled(address).await?;
    let worker = builder(&stage).batch_max(100).start_batches(rows).await?;
    figures.push(measure("worker, batches of 100 in order, a row each".to_owned(), worker).await?);
    stage.close().await;
    Ok(figures)
}

fn builder(stage: &Stage) -> WorkerBuilder<BrokerStore> {
    Worker::builder(stage.db(), stage.client()).group("bench").partitions(TOPIC, 0..PARTITIONS)
}

/// A broker whose topic has all events.
async fn filled(address: &StoreAddress) -> anyhow::Result<Stage> {
    let stage = Stage::open(address).await?;
    stage.create(TOPIC, PARTITIONS, "immediate").await?;
    let producer = Producer::connect(stage.client(), ProducerOptions::default()).await?;
    for number in 0..EVENTS {
        let record = ProducerRecord::to(TOPIC).key((number % KEYS).to_string()).value(vec![b'x'; 100]);
        drop(producer.enqueue(record).await?);
    }
    producer.flush().await;
    producer.close().await;
    Ok(stage)
}

async fn measure(what: String, worker: Worker) -> anyhow::Result<Figure> {
    // What is loaded and fetched first is not handling.
    while worker.figures().handled == 0 {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    let (began, before) = (Instant::now(), worker.figures().handled);
    while began.elapsed() < MEASURED && worker.figures().handled < u64::from(EVENTS) {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    let (count, elapsed) = (worker.figures().handled - before, began.elapsed());
    worker.stop().await?;
    Ok(rate(what, usize::try_from(count)?, elapsed, "events/s"))
}

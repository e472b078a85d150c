//! Model transactions: a row, two indexes and an event.

use std::sync::Arc;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};
use tidegate::{AutoOffsetReset, Consumer, ConsumerOptions, Start, Tidegate, TopicPartition};
use tidegate_broker::BrokerStore;
use tidegate_broker::settings::StoreAddress;
use tidegate_model::{Db, Field, Index, Model, ModelId, NewEvent, Write};
use tidegate_store::Store;
use tokio::sync::Mutex;

use super::Figure;
use super::figures::{percentiles, rate};
use super::load::repeat;
use super::stage::Stage;

/// How long each throughput is measured.
const MEASURED: Duration = Duration::from_secs(5);
/// Transactions whose way to a consumer is measured, and how far apart they are.
const DELIVERIES: usize = 3_000;
const DELIVERY_EVERY: Duration = Duration::from_millis(2);
/// Rows that are read: fewer than are written first.
const READ_ROWS: u64 = 100;
const TOPIC: &str = "orders";

#[derive(Serialize, Deserialize)]
struct Order {
    id: u64,
    customer: String,
    placed_ms: i64,
    note: String,
}

impl Order {
    fn new(id: u64) -> Self {
        Self {
            id,
            customer: format!("customer-{}", id % 1_000),
            placed_ms: i64::try_from(id).unwrap_or(i64::MAX),
            note: "x".repeat(60),
        }
    }
}

impl Model for Order {
    const TABLE: &'static str = TOPIC;

    fn id(&self) -> ModelId {
        self.id.to_string().as_str().into()
    }

    fn indexes() -> &'static [Index<Self>] {
        const INDEXES: &[Index<Order>] = &[
            Index::new("by_customer", &[Field::str("customer", |order| Some(&order.customer))]),
            Index::new("by_time", &[Field::i64("placed_ms", |order| Some(order.placed_ms))]),
        ];
        INDEXES
    }

    fn events(&self, _write: Write) -> Vec<NewEvent> {
        vec![NewEvent::new("order.placed")]
    }
}

async fn insert(db: &Db<impl Store>, id: u64) -> anyhow::Result<()> {
    let order = &Order::new(id);
    Ok(db.transaction(|tx| async move { tx.insert(order).await }).await?)
}

/// Transactions a second in process, with so many in flight, the relay moving their events meanwhile.
pub(super) async fn throughput(store: &StoreAddress) -> anyhow::Result<Vec<Figure>> {
    let mut rows = Vec::new();
    for in_flight in [1_u64, 16, 64] {
        let stage = Stage::open(store).await?;
        stage.create(TOPIC, 4, "immediate").await?;
        rows.push(inserts(&stage.db(), in_flight, "").await?);
        stage.close().await;
    }
    Ok(rows)
}

/// The same through the broker's port; and reads by id, there and in process.
pub(super) async fn through_the_port(store: &StoreAddress) -> anyhow::Result<Vec<Figure>> {
    let mut rows = Vec::new();
    for in_flight in [1_u64, 16, 64] {
        let stage = Stage::open(store).await?;
        stage.create(TOPIC, 4, "immediate").await?;
        let tidegate = Tidegate::connect(&stage.address).await?;
        rows.push(inserts(tidegate.db(), in_flight, " through the port").await?);
        rows.push(reads(tidegate.db(), in_flight, " through the port").await?);
        rows.push(reads(&stage.db(), in_flight, "").await?);
        tidegate.shutdown().await;
        stage.close().await;
    }
    Ok(rows)
}

async fn inserts(db: &Db<impl Store>, in_flight: u64, way: &str) -> anyhow::Result<Figure> {
    let db = db.clone();
    let (count, elapsed) = repeat(in_flight, MEASURED, move |id| {
        let db = db.clone();
        async move { insert(&db, id).await }
    })
    .await?;
    let what = format!("model + 2 indexes + event{way}, {in_flight} in flight");
    Ok(rate(what, count, elapsed, "transactions/s"))
}

/// Reads of one of the first rows, each on a snapshot of its own.
async fn reads(db: &Db<impl Store>, in_flight: u64, way: &str) -> anyhow::Result<Figure> {
    let db = db.clone();
    let (count, elapsed) = repeat(in_flight, MEASURED, move |id| {
        let db = db.clone();
        async move {
            let found: Option<Order> =
                db.snapshot().await?.find((id % READ_ROWS).to_string().as_str()).await?;
            anyhow::ensure!(found.is_some(), "a row is missing");
            Ok(())
        }
    })
    .await?;
    Ok(rate(format!("read by id{way}, {in_flight} in flight"), count, elapsed, "reads/s"))
}

/// From the commit's acknowledgement to the record at a consumer, with 500 transactions a second.
pub(super) async fn commit_to_delivery(store: &StoreAddress) -> anyhow::Result<Vec<Figure>> {
    let stage = Stage::open(store).await?;
    stage.create(TOPIC, 1, "immediate").await?;
    let options =
        ConsumerOptions { auto_offset_reset: AutoOffsetReset::Earliest, ..ConsumerOptions::default() };
    let mut consumer = Consumer::connect(stage.client(), options).await?;
    consumer.assign([(TopicPartition::new(TOPIC, 0), Start::Earliest)])?;
    let committed = Arc::new(Mutex::new(vec![None; DELIVERIES]));
    let writer = tokio::spawn(write_paced(stage.db(), committed.clone()));
    let mut arrived = vec![Instant::now(); DELIVERIES];
    for _ in 0..DELIVERIES {
        let record = consumer.recv().await?;
        let order: Order = serde_json::from_slice(&record.value.unwrap_or_default())?;
        arrived[usize::try_from(order.id)?] = Instant::now();
    }
    writer.await??;
    let committed = committed.lock().await;
    // An event can arrive before its writer has been scheduled to see the acknowledgement.
    let times = committed.iter().zip(&arrived).map(|(committed, arrived)| {
        committed.map_or(Duration::ZERO, |committed| arrived.saturating_duration_since(committed))
    });
    let rows = percentiles("commit to delivery at 500 transactions/s", times.collect());
    drop(consumer);
    stage.close().await;
    Ok(rows)
}

async fn write_paced(db: Db<BrokerStore>, committed: Arc<Mutex<Vec<Option<Instant>>>>) -> anyhow::Result<()> {
    let mut ticks = tokio::time::interval(DELIVERY_EVERY);
    for id in 0..DELIVERIES {
        ticks.tick().await;
        insert(&db, u64::try_from(id)?).await?;
        committed.lock().await[id] = Some(Instant::now());
    }
    Ok(())
}

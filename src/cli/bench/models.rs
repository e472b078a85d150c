//! Model transactions: a row, two indexes and an event.

use std::sync::Arc;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};
use tidegate::{AutoOffsetReset, Consumer, ConsumerOptions, Start, TopicPartition};
use tidegate_broker::BrokerStore;
use tidegate_broker::settings::StoreAddress;
use tidegate_model::{Db, Field, Index, Model, ModelId, NewEvent, Write};
use tokio::sync::Mutex;

use super::Figure;
use super::figures::{percentiles, rate};
use super::stage::Stage;

/// How long each throughput is measured.
const MEASURED: Duration = Duration::from_secs(5);
/// Transactions whose way to a consumer is measured, and how far apart they are.
const DELIVERIES: usize = 3_000;
const DELIVERY_EVERY: Duration = Duration::from_millis(2);
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

async fn insert(db: &Db<BrokerStore>, id: u64) -> anyhow::Result<()> {
    let order = &Order::new(id);
    Ok(db.transaction(|tx| async move { tx.insert(order).await }).await?)
}

/// Transactions a second with so many in flight, the relay moving their events meanwhile.
pub(super) async fn throughput(store: &StoreAddress) -> anyhow::Result<Vec<Figure>> {
    let mut rows = Vec::new();
    for in_flight in [1_u64, 16, 64] {
        let stage = Stage::open(store).await?;
        stage.create(TOPIC, 4, "immediate").await?;
        let db = stage.db();
        let began = Instant::now();
        let tasks: Vec<_> = (0..in_flight)
            .map(|task| {
                let db = db.clone();
                tokio::spawn(async move {
                    let mut count = 0;
                    while began.elapsed() < MEASURED {
                        insert(&db, task + count * in_flight).await?;
                        count += 1;
                    }
                    anyhow::Ok(usize::try_from(count)?)
                })
            })
            .collect();
        let mut count = 0;
        for task in tasks {
            count += task.await??;
        }
        let what = format!("model + 2 indexes + event, {in_flight} in flight");
        rows.push(rate(what, count, began.elapsed(), "transactions/s"));
        stage.close().await;
    }
    Ok(rows)
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

//! A worker: each event has its effect once. What it says of an event: done, not now, never; what fails is tried again, and
//! becomes a dead letter in the end, which is sent back when the cause is gone.
//!
//! `cargo run --example worker`

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tidegate::{
    AppStore, DEAD_LETTER_CAUSE, DeadLetters, Event, Model, NewEvent, OpenOptions, Outcome, RetryPolicy,
    Tidegate, Tx, dead_letter_topic, redrive_only,
};

type AnyError = Box<dyn std::error::Error + Send + Sync>;

/// A parcel is announced when it is posted, in the topic that is called as its table.
#[derive(Clone, Debug, Serialize, Deserialize, Model)]
#[model(table = "parcels", events(insert = "parcel.posted"))]
struct Parcel {
    id: String,
    street: String,
    /// When its street is open, in milliseconds since the Unix epoch.
    not_before_ms: i64,
}

/// What the worker makes of it.
#[derive(Clone, Debug, Serialize, Deserialize, Model)]
#[model(table = "deliveries")]
struct Delivery {
    id: String,
    street: String,
}

/// The delivery, the event that follows from it and that this event is done: one transaction, or none of them.
async fn deliver(event: Event, tx: Tx<AppStore>, bridge_is_open: bool) -> Result<Outcome, AnyError> {
    let parcel: Parcel = event.json()?;
    if parcel.street.is_empty() {
        // Trying again would not help.
        return Ok(Outcome::Reject("a parcel without a street".into()));
    }
    if tx.now_ms().await? < parcel.not_before_ms {
        // No failure; later events of this parcel wait, and no others.
        return Ok(Outcome::RetryAt(parcel.not_before_ms));
    }
    if parcel.street == "Bridge Street" && !bridge_is_open {
        return Err("the bridge is closed".into());
    }
    tx.insert(&Delivery { id: parcel.id.clone(), street: parcel.street }).await?;
    tx.publish(NewEvent::new("parcel.delivered").key(parcel.id)).await?;
    Ok(Outcome::Ack)
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    run().await
}

pub(crate) async fn run() -> Result<(), Box<dyn std::error::Error>> {
    let directory = tempfile::tempdir()?;
    let mut options = OpenOptions::new(directory.path());
    // There is nobody to wait for who might join the group as well.
    options.settings.group_initial_rebalance_delay_ms = 0;
    let tidegate = Tidegate::open_with(options).await?;
    let db = tidegate.db();
    let bridge = Arc::new(AtomicBool::new(false));
    // By default 5 times, after 2, 4, 8 seconds and so on.
    let retry = RetryPolicy { retries_max: 2, first_ms: 20, ..RetryPolicy::default() };
    let worker = tidegate.worker()?.group("couriers").topics(["parcels"]).retry(retry).concurrency(4);
    let is_open = bridge.clone();
    let worker = worker.start(move |event, tx| deliver(event, tx, is_open.load(Ordering::Relaxed))).await?;

    let now_ms = db.transaction(|tx| async move { tx.now_ms().await }).await?;
    for (id, street, not_before_ms) in [
        ("1", "High Street", 0),
        ("2", "Market Street", now_ms + 200),
        ("3", "Bridge Street", 0),
        ("4", "", 0),
    ] {
        let parcel = &Parcel { id: id.into(), street: street.into(), not_before_ms };
        db.transaction(|tx| async move { tx.insert(parcel).await }).await?;
    }
    let delivered = async || -> Result<usize, tidegate::model::Error> {
        Ok(db.snapshot().await?.list::<Delivery>().limit(10).fetch().await?.rows.len())
    };
    while (delivered().await?, worker.figures().dead_letters) != (2, 2) {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }

    // Two are dead letters: they say why.
    let letters = dead_letter_topic("parcels", "couriers")?;
    let mut consumer = tidegate.consumer(tidegate::ConsumerOptions::default()).await?;
    consumer.assign([(tidegate::TopicPartition::new(&letters, 0), tidegate::Start::Earliest)])?;
    for _ in 0..2 {
        let letter = tokio::time::timeout(Duration::from_secs(60), consumer.recv()).await??;
        let cause = letter.headers.iter().find(|(name, _)| name == DEAD_LETTER_CAUSE);
        let cause = cause.and_then(|(_, value)| value.as_deref()).unwrap_or_default();
        println!("parcel {:?}: {}", letter.key, String::from_utf8_lossy(cause));
    }
    consumer.close().await?;

    // The cause of one is gone: it is sent back by its key.
    bridge.store(true, Ordering::Relaxed);
    let which = DeadLetters::Key("3".into());
    let sent = redrive_only(tidegate.client_options()?, "parcels", "couriers", &which, None).await?;
    assert_eq!(sent, 1);
    while delivered().await? != 3 {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    println!("3 parcels are delivered");
    worker.stop().await?;
    tidegate.shutdown().await;
    Ok(())
}

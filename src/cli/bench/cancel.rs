//! Cancels against entries that come due, with produce going on beside them.

use std::time::{Duration, Instant};

use tidegate::{Producer, ProducerOptions, ProducerRecord};
use tidegate_broker::settings::StoreAddress;
use tidegate_store::{Clock, SystemClock};
use tokio_util::sync::CancellationToken;

use super::Figure;
use super::figures::{percentiles, rate};
use super::stage::Stage;

const TOPIC: &str = "later";
/// Schedules, all due about when they are cancelled.
const SCHEDULES: usize = 50_000;
/// Produce is measured with a record at a time, this far apart.
const PRODUCE_EVERY: Duration = Duration::from_millis(5);

/// Cancels a second while the entries come due, and the time of a produce on the same topic meanwhile.
pub(super) async fn race(store: &StoreAddress) -> anyhow::Result<Vec<Figure>> {
    let stage = Stage::open(store).await?;
    stage.create(TOPIC, 1, "scheduled").await?;
    let producer = Producer::connect(stage.client(), ProducerOptions::default()).await?;
    let due_ms = SystemClock.now_ms() + 5_000;
    for number in 0..SCHEDULES {
        let due_ms = due_ms + i64::try_from(number / 10)?;
        let record =
            ProducerRecord::to(TOPIC).value("x").timestamp_ms(due_ms).schedule_id(&number.to_string());
        producer.enqueue(record).await?;
    }
    producer.flush().await;
    let until_due = u64::try_from(due_ms - SystemClock.now_ms()).unwrap_or(0);
    tokio::time::sleep(Duration::from_millis(until_due)).await;

    let stop = CancellationToken::new();
    let beside = tokio::spawn(produce_beside(stage.client(), stop.clone()));
    let began = Instant::now();
    for number in 0..SCHEDULES {
        let cancel = ProducerRecord::to(TOPIC).schedule_id(&number.to_string());
        producer.enqueue(cancel).await?;
    }
    producer.flush().await;
    let mut rows = vec![rate("cancels of entries that come due", SCHEDULES, began.elapsed(), "cancels/s")];
    stop.cancel();
    rows.extend(percentiles("produce beside them", beside.await??));
    producer.close().await;
    stage.close().await;
    Ok(rows)
}

/// How long each produce took until it was told to stop.
async fn produce_beside(
    client: tidegate::ClientOptions,
    stop: CancellationToken,
) -> anyhow::Result<Vec<Duration>> {
    let options = ProducerOptions { linger_ms: 0, ..ProducerOptions::default() };
    let producer = Producer::connect(client, options).await?;
    let mut ticks = tokio::time::interval(PRODUCE_EVERY);
    let mut times = Vec::new();
    while stop.run_until_cancelled(ticks.tick()).await.is_some() {
        let began = Instant::now();
        producer.send(ProducerRecord::to(TOPIC).value("x")).await?;
        times.push(began.elapsed());
    }
    producer.close().await;
    Ok(times)
}

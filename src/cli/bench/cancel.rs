//! Cancels against entries that come due at the same time, with produce going on beside them.

use std::time::{Duration, Instant};

use tidegate::{Consumer, ConsumerOptions, Producer, ProducerOptions, ProducerRecord, Start, TopicPartition};
use tidegate_broker::settings::StoreAddress;
use tidegate_store::{Clock, SystemClock};
use tokio_util::sync::CancellationToken;

use super::Figure;
use super::figures::{count, percentiles, rate};
use super::stage::Stage;

const TOPIC: &str = "later";
/// So many cancels are begun in each millisecond: 10,000 a second.
const PER_MS: u32 = 10;
/// Each entry is due at most so long before or after its cancel is begun: about half of them win.
const SPREAD_MS: i64 = 50;
/// Coprime to the span of the spread, so that what is due around one cancel is mixed.
const STRIDE: i64 = 37;
/// One of so many entries is written ahead of all others, to learn how long they will take.
const TRIED: u32 = 20;
/// So many times as long as that suggests they have before the first of them is due, and this much more.
const PATIENCE: u32 = 2;
const LEAD_MIN: Duration = Duration::from_secs(1);
/// When those are due: not while this runs.
const FAR_MS: i64 = 86_400_000;
/// Produce is measured with a record at a time, at most this far apart.
const PRODUCE_EVERY: Duration = Duration::from_millis(3);

/// What the records' values are.
const ENTRY: &str = "entry";
const BESIDE: &str = "beside";
const LAST: &str = "last";

/// Cancels a second that were reached of 10,000, what became of the entries, and the time of a produce into the same
/// partition meanwhile.
pub(super) async fn race(store: &StoreAddress, cancels: u32) -> anyhow::Result<Vec<Figure>> {
    let stage = Stage::open(store).await?;
    stage.create(TOPIC, 1, "scheduled").await?;
    let producer = Producer::connect(stage.client(), ProducerOptions::default()).await?;
    let lead = TRIED * PATIENCE * try_out(&producer, cancels.div_ceil(TRIED)).await? + LEAD_MIN;
    let first_ms = SystemClock.now_ms() + i64::try_from(lead.as_millis())?;
    for number in 0..cancels {
        send_entry(&producer, ENTRY, number, due_ms(first_ms, number)).await?;
    }
    producer.flush().await;
    let written_ms = SystemClock.now_ms();
    anyhow::ensure!(written_ms < first_ms - SPREAD_MS, "entries came due before all of them were written");

    tokio::time::sleep(Duration::from_millis((first_ms - written_ms).unsigned_abs())).await;
    let stop = CancellationToken::new();
    let beside = tokio::spawn(produce_beside(stage.client(), stop.clone()));
    let elapsed = cancel_all(&producer, cancels).await?;
    stop.cancel();
    let times = beside.await??;
    // Due after all others, and behind all that was produced.
    send_entry(&producer, LAST, cancels, SystemClock.now_ms() + 2 * SPREAD_MS).await?;
    producer.flush().await;

    let cancels = usize::try_from(cancels)?;
    let moved = count_moved(&stage, times.len()).await?;
    let mut rows = vec![
        rate("cancels of entries that come due, of 10000/s", cancels, elapsed, "cancels/s"),
        count("of them cancelled", cancels.saturating_sub(moved), "entries"),
        count("of them moved into the log", moved, "entries"),
        count("produced beside them", times.len(), "records"),
    ];
    rows.extend(percentiles("produce beside them", times));
    producer.close().await;
    stage.close().await;
    Ok(rows)
}

/// How long so many entries take to be written. They are replaced by those that come due.
async fn try_out(producer: &Producer, entries: u32) -> anyhow::Result<Duration> {
    let began = Instant::now();
    let far_ms = SystemClock.now_ms() + FAR_MS;
    for number in 0..entries {
        send_entry(producer, ENTRY, number, far_ms).await?;
    }
    producer.flush().await;
    Ok(began.elapsed())
}

/// When an entry is due: about when its cancel is begun.
fn due_ms(first_ms: i64, number: u32) -> i64 {
    let spread_ms = i64::from(number) * STRIDE % (2 * SPREAD_MS + 1) - SPREAD_MS;
    first_ms + i64::from(number / PER_MS) + spread_ms
}

async fn send_entry(
    producer: &Producer,
    value: &'static str,
    number: u32,
    due_ms: i64,
) -> anyhow::Result<()> {
    let record = ProducerRecord::to(TOPIC).value(value).timestamp_ms(due_ms).schedule_id(&number.to_string());
    producer.enqueue(record).await?;
    Ok(())
}

/// Begins the cancels at their pace, and gives how long it took until all were answered.
async fn cancel_all(producer: &Producer, cancels: u32) -> anyhow::Result<Duration> {
    let began = Instant::now();
    let mut ticks = tokio::time::interval(Duration::from_millis(1));
    let mut receipts = Vec::new();
    let mut begun = 0;
    while begun < cancels {
        ticks.tick().await;
        let by_now = began.elapsed().as_millis().saturating_mul(u128::from(PER_MS));
        let by_now = u32::try_from(by_now).unwrap_or(u32::MAX).min(cancels);
        for number in begun..by_now {
            receipts
                .push(producer.enqueue(ProducerRecord::to(TOPIC).schedule_id(&number.to_string())).await?);
        }
        begun = begun.max(by_now);
    }
    for receipt in receipts {
        receipt.wait().await?;
    }
    Ok(began.elapsed())
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
        producer.send(ProducerRecord::to(TOPIC).value(BESIDE)).await?;
        times.push(began.elapsed());
    }
    producer.close().await;
    Ok(times)
}

/// How many entries entered the log, which must have the `produced` records beside them.
async fn count_moved(stage: &Stage, produced: usize) -> anyhow::Result<usize> {
    let mut consumer = Consumer::connect(stage.client(), ConsumerOptions::default()).await?;
    consumer.assign([(TopicPartition::new(TOPIC, 0), Start::Earliest)])?;
    let (mut moved, mut beside) = (0, 0);
    loop {
        let record = consumer.recv().await?;
        match record.value.as_deref() {
            Some(value) if value == ENTRY.as_bytes() => moved += 1,
            Some(value) if value == BESIDE.as_bytes() => beside += 1,
            // Due after all others.
            _ => break,
        }
    }
    anyhow::ensure!(beside == produced, "{beside} of {produced} records are in the log");
    Ok(moved)
}

//! The members of the demo's consumer group.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use anyhow::Context;
use tidegate::{AutoOffsetReset, ClientOptions, Consumer, ConsumerOptions, ConsumerRecord};
use tidegate_store::{Clock, SystemClock};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::flight::{DEPARTED, Flight, SCHEDULED, TOPIC};
use super::ledger::Kind;
use super::{GROUP, SharedLedger, lock};

/// How long one call for records waits.
const POLL: Duration = Duration::from_millis(100);

/// Members that read until they are stopped.
pub(super) struct Readers {
    members: Vec<Member>,
    stop: CancellationToken,
}

struct Member {
    partitions: Arc<AtomicUsize>,
    task: JoinHandle<anyhow::Result<()>>,
}

impl Readers {
    /// Starts so many members; each writes into the ledger what arrives.
    pub(super) async fn start(address: &str, members: usize, ledger: &SharedLedger) -> anyhow::Result<Self> {
        let stop = CancellationToken::new();
        let mut readers = Self { members: Vec::with_capacity(members), stop: stop.clone() };
        for _ in 0..members {
            let options = ConsumerOptions {
                auto_offset_reset: AutoOffsetReset::Earliest,
                auto_commit_interval_ms: 500,
                ..ConsumerOptions::group(GROUP)
            };
            let mut consumer = Consumer::connect(ClientOptions::new(address), options).await?;
            consumer.subscribe([TOPIC])?;
            let partitions = Arc::new(AtomicUsize::new(0));
            let task = tokio::spawn(read(consumer, partitions.clone(), ledger.clone(), stop.clone()));
            readers.members.push(Member { partitions, task });
        }
        Ok(readers)
    }

    /// Waits until each member has partitions, and together they have all.
    pub(super) async fn wait_for_partitions(&self, partitions: i32) {
        let all = usize::try_from(partitions).unwrap_or_default();
        let each = usize::from(all >= self.members.len());
        loop {
            let counts = || self.members.iter().map(|member| member.partitions.load(Ordering::Relaxed));
            if counts().sum::<usize>() == all && counts().all(|count| count >= each) {
                return;
            }
            tokio::time::sleep(POLL / 4).await;
        }
    }

    /// Ends the members; each commits what it has dealt with and leaves the group.
    pub(super) async fn stop(self) -> anyhow::Result<()> {
        self.stop.cancel();
        for member in self.members {
            member.task.await.context("a member of the group panicked")??;
        }
        Ok(())
    }
}

async fn read(
    mut consumer: Consumer,
    partitions: Arc<AtomicUsize>,
    ledger: SharedLedger,
    stop: CancellationToken,
) -> anyhow::Result<()> {
    while !stop.is_cancelled() {
        let records = consumer.poll(POLL).await?;
        partitions.store(consumer.assignment().len(), Ordering::Relaxed);
        let now_ms = SystemClock.now_ms();
        for record in &records {
            let (flight, kind) = parse(record)?;
            let due_ms = (kind == Kind::Departed).then_some(flight.departs_ms);
            lock(&ledger).arrived(flight.id, kind, due_ms, now_ms);
        }
    }
    consumer.close().await?;
    Ok(())
}

/// What a record says: the flight as JSON, and which event by CloudEvents' header.
fn parse(record: &ConsumerRecord) -> anyhow::Result<(Flight, Kind)> {
    let at = || format!("{}-{} at {}", record.topic, record.partition, record.offset);
    let value = record.value.as_ref().with_context(|| format!("{} has no value", at()))?;
    let flight = serde_json::from_slice(value).with_context(|| format!("{} is no flight", at()))?;
    let event_type = record.header("ce_type").map(|name| String::from_utf8_lossy(name).into_owned());
    let kind = match event_type.as_deref() {
        Some(SCHEDULED) => Kind::Scheduled,
        Some(DEPARTED) => Kind::Departed,
        other => anyhow::bail!("{} is of event type {other:?}", at()),
    };
    Ok((flight, kind))
}

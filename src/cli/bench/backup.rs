//! Backup and restore: how fast they are, and what a producer notices of a backup.

use std::time::{Duration, Instant};

use anyhow::Context;
use tidegate::{Producer, ProducerOptions, ProducerRecord};
use tidegate_backup::{Compression, Decoder, Export, Part, Restore};
use tidegate_broker::BrokerStore;
use tidegate_broker::settings::StoreAddress;
use uuid::Uuid;

use super::Figure;
use super::figures::percentiles;
use super::stage::{Stage, fresh_store};

const TOPIC: &str = "bench";
/// What is in the store: records of 1 KiB that do not compress.
const RECORDS: usize = 400_000;
const RECORD_BYTES: usize = 1 << 10;
/// Records that are sent one at a time, to see what each waits.
const PROBES: usize = 2_000;

pub(super) async fn throughput(address: &StoreAddress) -> anyhow::Result<Vec<Figure>> {
    let stage = Stage::open(address).await?;
    stage.create(TOPIC, 4, "immediate").await?;
    fill(&stage).await?;
    let mut rows = percentiles("produce one at a time, no backup", probe(&stage, PROBES).await?);

    let store = stage.store.clone();
    for (name, compression) in [("uncompressed", Compression::None), ("zstd", Compression::Zstd)] {
        let began = Instant::now();
        let bytes = copy(&store, compression, |_| ()).await?;
        rows.push(mib_per_second(&format!("backup, {name}"), bytes, began.elapsed()));
    }

    // Backups one after the other, on a thread of their own, until enough was sent beside them.
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let (beside, handle) = (store.clone(), tokio::runtime::Handle::current());
    let copying = tokio::task::spawn_blocking(move || {
        handle.block_on(async move {
            let mut stopped = stopped;
            let mut copies = 0;
            while stopped.try_recv() == Err(tokio::sync::oneshot::error::TryRecvError::Empty) {
                copy(&beside, Compression::Zstd, |_| ()).await?;
                copies += 1;
            }
            anyhow::Ok(copies)
        })
    });
    let times = probe(&stage, PROBES).await?;
    drop(stop);
    let copies: usize = copying.await??;
    rows.extend(percentiles(&format!("produce one at a time beside {copies} backups"), times));

    let mut file = Vec::new();
    copy(&store, Compression::Zstd, |bytes| file.extend_from_slice(bytes)).await?;
    rows.push(restore(&file, address).await?);
    stage.close().await;
    Ok(rows)
}

/// Copies a store; how many bytes of entries it has.
async fn copy(
    store: &BrokerStore,
    compression: Compression,
    mut take: impl FnMut(&[u8]),
) -> anyhow::Result<u64> {
    let mut export = Export::begin(store, compression, env!("CARGO_PKG_VERSION")).await?;
    let mut decoder = Decoder::new();
    while let Some(bytes) = export.next_bytes().await? {
        take(&bytes);
        decoder.feed(&bytes);
        while decoder.next_part()?.is_some() {}
    }
    Ok(decoder.finish()?.entry_bytes)
}

async fn restore(file: &[u8], address: &StoreAddress) -> anyhow::Result<Figure> {
    let (store, _directory) = fresh_store(address).await?;
    let began = Instant::now();
    let mut decoder = Decoder::new();
    decoder.feed(file);
    let mut restore = None;
    while let Some(part) = decoder.next_part()? {
        match part {
            Part::Header(header) => {
                let begun = Restore::begin(store.clone(), &header, header.cluster, Uuid::new_v4());
                restore = Some(begun.await?);
            }
            Part::Entries(entries) => {
                restore.as_mut().context("the header comes first")?.write(entries).await?;
            }
            Part::End => {}
        }
    }
    restore.context("the header comes first")?.finish().await?;
    let bytes = decoder.finish()?.entry_bytes;
    let figure = mib_per_second("restore", bytes, began.elapsed());
    crate::store::shutdown(&store).await;
    Ok(figure)
}

async fn fill(stage: &Stage) -> anyhow::Result<()> {
    let producer = Producer::connect(stage.client(), ProducerOptions::default()).await?;
    let mut last = None;
    for number in 0..RECORDS {
        let value: Vec<u8> = (0..RECORD_BYTES / 16).flat_map(|_| Uuid::new_v4().into_bytes()).collect();
        let partition = i32::try_from(number % 4)?;
        last = Some(producer.enqueue(ProducerRecord::to(TOPIC).partition(partition).value(value)).await?);
    }
    producer.flush().await;
    last.context("there are records")?.wait().await?;
    producer.close().await;
    Ok(())
}

async fn probe(stage: &Stage, count: usize) -> anyhow::Result<Vec<Duration>> {
    let options = ProducerOptions { linger_ms: 0, ..ProducerOptions::default() };
    let producer = Producer::connect(stage.client(), options).await?;
    let mut times = Vec::with_capacity(count);
    for _ in 0..count {
        let began = Instant::now();
        let record = ProducerRecord::to(TOPIC).partition(0).value(vec![b'x'; 100]);
        producer.enqueue(record).await?.wait().await?;
        times.push(began.elapsed());
    }
    producer.close().await;
    Ok(times)
}

#[expect(clippy::cast_precision_loss, reason = "a rate is shown in whole numbers")]
fn mib_per_second(what: &str, bytes: u64, elapsed: Duration) -> Figure {
    let mib = bytes as f64 / f64::from(1 << 20);
    Figure {
        what: format!("{what}, {mib:.0} MiB"),
        value: format!("{:.0}", mib / elapsed.as_secs_f64()),
        unit: "MiB/s",
    }
}

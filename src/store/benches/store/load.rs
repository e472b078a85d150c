//! Commits a second by kind of transaction and number of committers, on a new store each.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::Result;
use bytes::{BufMut, Bytes, BytesMut};
use tidegate_store::{EmbeddedStore, Store, Txn};

use crate::{BLOCK_BYTES, open, resident_mib, written_bytes};

/// A kind of transaction.
#[derive(Clone, Copy)]
pub(crate) enum Kind {
    /// One key of 20 bytes with a value of 100 bytes.
    Small,
    /// A row of 200 bytes, two index entries and an outbox entry: what a model and its event take.
    ModelAndEvent,
    /// A record batch of 16 KiB and the state of its partition.
    Append,
}

impl Kind {
    pub(crate) const ALL: [Self; 3] = [Self::Small, Self::ModelAndEvent, Self::Append];

    /// What its rows are asked for by.
    pub(crate) fn table(self) -> &'static str {
        match self {
            Self::Small => "load 100 B",
            Self::ModelAndEvent => "load row",
            Self::Append => "load append",
        }
    }

    /// What its rows begin with, how many bytes of values it writes, and with how many committers it is measured.
    fn rows(self) -> (&'static str, u64, &'static [u64]) {
        match self {
            Self::Small => ("100 B", 100, &[1, 16, 64, 128]),
            Self::ModelAndEvent => ("row, 2 indexes, outbox", 502, &[1, 16, 64]),
            Self::Append => ("16 KiB append", 16_384, &[1, 16, 64]),
        }
    }
}

/// What was measured.
struct Measured {
    commits_per_second: u64,
    mean: Duration,
    p50: Duration,
    p99: Duration,
    longest: Duration,
    bytes_per_commit: u64,
    group: u64,
}

/// Prints the table.
pub(crate) async fn measure(dir: &Path, kinds: &[Kind], committers: &[u64], time: Duration) -> Result<()> {
    println!("\n## Commits by committers, each on disk before it is acknowledged\n");
    println!(
        "| transaction | committers | commits/s | MB/s of values | mean | p50 | p99 | max | written/commit | per group | resident |"
    );
    println!("| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |");
    for kind in kinds {
        let (name, value_bytes, measured) = kind.rows();
        for committers in measured.iter().filter(|count| committers.contains(count)) {
            let dir = dir.join("load");
            let store = open(&dir)?;
            let measured = run(&store, *kind, *committers, time).await?;
            let resident = resident_mib()?;
            store.shutdown().await;
            drop(store);
            std::fs::remove_dir_all(&dir)?;
            let ms = |duration: Duration| format!("{:.2} ms", duration.as_secs_f64() * 1e3);
            println!(
                "| {name} | {committers} | {} | {} | {} | {} | {} | {} | {} B | {} | {resident} MiB |",
                measured.commits_per_second,
                measured.commits_per_second * value_bytes / 1_000_000,
                ms(measured.mean),
                ms(measured.p50),
                ms(measured.p99),
                ms(measured.longest),
                measured.bytes_per_commit,
                measured.group,
            );
        }
    }
    Ok(())
}

/// Prints how long a store takes to open after a crash under a load of appends: what a killed process left is copied
/// while it goes on.
pub(crate) async fn measure_opening(dir: &Path, time: Duration) -> Result<()> {
    println!("\n## Opening after a crash under 16 KiB appends\n");
    println!("| crash | journal read | opening |");
    println!("| --- | --- | --- |");
    let (running, crashed) = (dir.join("running"), dir.join("crashed"));
    for crash in 1..=3 {
        let store = open(&running)?;
        run(&store, Kind::Append, 64, time).await?;
        std::fs::create_dir(&crashed)?;
        let mut journal_bytes = 0;
        for entry in std::fs::read_dir(&running)? {
            let entry = entry?;
            let bytes = std::fs::copy(entry.path(), crashed.join(entry.file_name()))?;
            let is_journal = entry.file_name().to_string_lossy().starts_with("journal-");
            journal_bytes += if is_journal { bytes } else { 0 };
        }
        store.shutdown().await;
        drop(store);
        let began = Instant::now();
        let store = open(&crashed)?;
        let opening = began.elapsed();
        store.shutdown().await;
        println!("| {crash} | of {} MiB | {:.0} ms |", journal_bytes >> 20, opening.as_secs_f64() * 1e3);
        std::fs::remove_dir_all(&running)?;
        std::fs::remove_dir_all(&crashed)?;
    }
    Ok(())
}

async fn run(store: &EmbeddedStore, kind: Kind, committers: u64, time: Duration) -> Result<Measured> {
    let before = written_bytes()?;
    let counted = Arc::new(AtomicU64::new(0));
    let began = Instant::now();
    let tasks: Vec<_> = (0..committers)
        .map(|committer| {
            tokio::spawn(commit_until(store.clone(), kind, committer, began + time, counted.clone()))
        })
        .collect();
    let mut latencies = Vec::new();
    for task in tasks {
        latencies.append(&mut task.await??);
    }
    let took = began.elapsed();
    latencies.sort_unstable();
    let commits = latencies.len() as u64;
    let metrics = store.metrics();
    Ok(Measured {
        commits_per_second: u64::try_from(u128::from(commits) * 1_000_000 / took.as_micros())?,
        mean: latencies.iter().sum::<Duration>() / u32::try_from(commits)?,
        p50: latencies[latencies.len() / 2],
        p99: latencies[latencies.len() * 99 / 100],
        longest: latencies[latencies.len() - 1],
        bytes_per_commit: (written_bytes()? - before + metrics.groups * BLOCK_BYTES) / commits,
        group: metrics.commits / metrics.groups,
    })
}

async fn commit_until(
    store: EmbeddedStore,
    kind: Kind,
    committer: u64,
    until: Instant,
    counter: Arc<AtomicU64>,
) -> Result<Vec<Duration>> {
    let mut latencies = Vec::new();
    while Instant::now() < until {
        let number = counter.fetch_add(1, Ordering::Relaxed);
        let began = Instant::now();
        let mut txn = store.begin().await?;
        write(&mut txn, kind, committer, number);
        txn.commit().await?;
        latencies.push(began.elapsed());
    }
    Ok(latencies)
}

fn write(txn: &mut impl Txn, kind: Kind, committer: u64, number: u64) {
    // Spread over the key space, as ids are.
    let id = number.wrapping_mul(0x9E37_79B9_7F4A_7C15);
    match kind {
        Kind::Small => txn.put(key(b"row/", &[id, number]), Bytes::from(vec![1; 100])),
        Kind::ModelAndEvent => {
            txn.put(key(b"row/", &[id, number]), Bytes::from(vec![1; 200]));
            txn.put(key(b"index/1/", &[number, id]), Bytes::from_static(b"1"));
            txn.put(key(b"index/2/", &[id ^ number, id]), Bytes::from_static(b"1"));
            txn.put_versioned(key(b"outbox/", &[committer]), key(b"", &[0]), Bytes::from(vec![1; 300]));
        }
        Kind::Append => {
            txn.put(key(b"log/", &[committer, number]), Bytes::from(vec![1; 16_384]));
            txn.put(key(b"state/", &[committer]), Bytes::from(vec![1; 60]));
        }
    }
}

fn key(prefix: &[u8], numbers: &[u64]) -> Bytes {
    let mut key = BytesMut::from(prefix);
    for number in numbers {
        key.put_u64(*number);
    }
    key.freeze()
}

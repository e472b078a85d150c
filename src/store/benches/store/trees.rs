//! Commits on top of a tree of a given size: what they take, and what they write. Flat is the promise.

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::Result;
use bytes::Bytes;
use tidegate_store::{EmbeddedStore, Store, Txn};

use crate::{BLOCK_BYTES, open, written_bytes};

/// The tree is filled with values just too small to stay in the journal.
pub(crate) const FILL_VALUE_BYTES: u64 = 4_000;
/// How many transactions make the group that is measured beside single ones.
pub(crate) const GROUP: u64 = 100;

/// How many entries make so many GiB.
pub(crate) fn entries(gib: u64) -> u64 {
    (gib << 30) / FILL_VALUE_BYTES
}

/// The key of the n-th entry.
pub(crate) fn fill_key(number: u64) -> [u8; 20] {
    let mut key = *b"row/0000000000000000";
    key[4..12].copy_from_slice(&number.to_be_bytes());
    key
}

/// The number of the n-th entry to be overwritten: all over the tree.
pub(crate) fn scattered(number: u64, entries: u64) -> u64 {
    number.wrapping_mul(0x9E37_79B9_7F4A_7C15) % entries.max(1_000_000)
}

/// Prints the head of the table, and the rows of the embedded store.
pub(crate) async fn measure(dir: &Path, gib: u64, time: Duration) -> Result<()> {
    println!("\n## Small transactions on a tree of {gib} GiB, values of 100 B all over it\n");
    println!("| store | at a time | commits/s | per group | written/commit | opening |");
    println!("| --- | --- | --- | --- | --- | --- |");
    let dir = dir.join("embedded");
    let store = open(&dir)?;
    fill(&store, entries(gib)).await?;
    // Rows begin with all of the fill in the tree.
    store.shutdown().await;
    drop(store);
    for concurrency in [1, GROUP] {
        let began = Instant::now();
        let store = open(&dir)?;
        let opening = began.elapsed();
        let before = written_bytes()?;
        let began = Instant::now();
        let mut groups = 0;
        while began.elapsed() < time {
            let tasks: Vec<_> = (0..concurrency)
                .map(|n| {
                    tokio::spawn(commit_one(store.clone(), scattered(groups * concurrency + n, entries(gib))))
                })
                .collect();
            for task in tasks {
                task.await??;
            }
            groups += 1;
        }
        let took = began.elapsed();
        // What they write in the end is counted with them: closing waits for what is being flushed.
        store.shutdown().await;
        let written = written_bytes()? - before + store.metrics().groups * BLOCK_BYTES;
        let commits = groups * concurrency;
        println!(
            "| embedded | {concurrency} | {:.0} | {:.2} ms | {:.1} KiB | {:.0} ms |",
            commits as f64 / took.as_secs_f64(),
            took.as_secs_f64() * 1e3 / groups as f64,
            written as f64 / commits as f64 / 1_024.0,
            opening.as_secs_f64() * 1e3,
        );
    }
    std::fs::remove_dir_all(&dir)?;
    Ok(())
}

async fn commit_one(store: EmbeddedStore, entry: u64) -> Result<()> {
    let mut txn = store.begin().await?;
    txn.put(Bytes::copy_from_slice(&fill_key(entry)), Bytes::from(vec![2; 100]));
    txn.commit().await?;
    Ok(())
}

async fn fill(store: &EmbeddedStore, entries: u64) -> Result<()> {
    for start in (0..entries).step_by(500) {
        let mut txn = store.begin().await?;
        for number in start..entries.min(start + 500) {
            let value = vec![1; usize::try_from(FILL_VALUE_BYTES)?];
            txn.put(Bytes::copy_from_slice(&fill_key(number)), Bytes::from(value));
        }
        txn.commit().await?;
    }
    Ok(())
}
